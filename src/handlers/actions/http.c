/*
 * The life of a request
 *
 *   CONNECTING  name, connection, TLS; nothing of the request was given to the connection
 *   SENT        the request may be on its way
 *   ANSWERED    the final status and all its headers have come: the outcome is known
 *   ENDED       libcurl has let go of it; the outcome is told in the next turn
 *
 * Whether a request was sent decides between "try again" and "perhaps it restarted the host", so it
 * must never be no when it was yes. libcurl calls CURLOPT_PREREQFUNCTION on a connection that is
 * complete, TLS included, right before it writes the first byte of a request (lib/multi.c, at
 * MSTATE_DO). So:
 *
 * 1. Before that call no byte of the request has left: not_started is sure. Time stamps and byte
 *    counts come after the write, and a write that fails may have handed over a part.
 * 2. From that call on it may have left: unknown, without an answer. That is too careful when the
 *    connection breaks in this very moment, and never the other way round.
 * 3. libcurl may not send it again by itself: a connection of its own for each request (it repeats
 *    what it sent on a reused one that was closed), HTTP/1.1 (it repeats streams of HTTP/2 that are
 *    refused), no redirects; and a second call of the function ends the transfer.
 * 4. With TLS 1.3 the client is through before the server has judged its certificate, so the
 *    request is written first, and then comes the server's alert. Such an alert proves that nothing
 *    was done: it answers our Certificate message (RFC 8446, 4.4.2.4, 6.2), the only one we send is
 *    that of the handshake (post-handshake authentication and renegotiation are switched off), and
 *    a server reads no request before the handshake's end. Without this, a client certificate that
 *    expires would make every request `unknown`. An alert that is lost, since a reset came first,
 *    proves nothing: unknown.
 *
 * No proxy, whatever the environment says: between the connection and the endpoint it would answer
 * in the endpoint's name, and "refused" would come as a 502 after the request was sent.
 *
 * The whole time is our own timer's, so that a transfer ends also when libcurl loses it. libcurl
 * waits for its resolver's threads when a transfer ends, unless CURLOPT_QUICK_EXIT is set; then
 * getaddrinfo() is left to end in its own time.
 */

#include "handlers/actions/http.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "handlers/actions/http_private.h"
#include "handlers/actions/lookup.h"
#include "util/json.h"

enum {
        OUTPUT_HALF_MAX = 1 << 20,
};

/* Who ended it. */
typedef enum HttpCause {
        CAUSE_ITSELF,
        CAUSE_TIMEOUT,
        CAUSE_STOP, /* by terminate or kill */
} HttpCause;

static void on_deadline(LoopTimer *timer);
static void on_soon(LoopSoon *soon);

static double seconds(int64_t us) {
        return (double)us / 1e6;
}

/* --- a transfer ------------------------------------------------------------------------------ */

static HttpTransfer *transfer_new(Http *http, ActionEnd end, void *user) {
        HttpTransfer *transfer = malloc(sizeof(*transfer) + 2 * http->half);
        if (transfer == NULL) {
                return NULL;
        }
        *transfer = (HttpTransfer){
                .http = http,
                .end = end,
                .user = user,
                .alert = -1,
                .charged = true,
                .started_us = loop_now(),
        };
        list_init(&transfer->link);
        output_init(&transfer->written, transfer->kept, http->half);
        loop_timer_init(&transfer->deadline, http->loop, "http.deadline", on_deadline);
        loop_soon_init(&transfer->soon, http->loop, "http.ended", on_soon);
        return transfer;
}

/* Closes its connection, and everything of libcurl's and OpenSSL's that knows it. */
static void transfer_detach(HttpTransfer *transfer) {
        if (transfer->tls != NULL) {
                /* A connection may be shut down later than its transfer ends. */
                SSL_CTX_set_app_data(transfer->tls, NULL);
                SSL_CTX_free(transfer->tls);
                transfer->tls = NULL;
        }
        if (transfer->easy != NULL) {
                (void)curl_multi_remove_handle(transfer->http->multi, transfer->easy);
                curl_easy_cleanup(transfer->easy);
                transfer->easy = NULL;
        }
        for (struct curl_slist *line = transfer->headers; line != NULL; line = line->next) {
                explicit_bzero(line->data, strlen(line->data)); /* one may hold a secret */
        }
        curl_slist_free_all(transfer->headers);
        transfer->headers = NULL;
}

static void transfer_free(HttpTransfer *transfer) {
        if (transfer == NULL) {
                return;
        }
        list_unlink(&transfer->link);
        loop_timer_stop(&transfer->deadline);
        loop_soon_stop(&transfer->soon);
        transfer_detach(transfer);
        free(transfer);
}

static void on_soon(LoopSoon *soon) {
        HttpTransfer *transfer = container_of(soon, HttpTransfer, soon);
        Http *http = transfer->http;
        buffer_clear(&http->output);
        bool has_output =
                output_print(&transfer->written, &http->output) == 0 && http->output.size > 0;
        ActionResult result = {
                .outcome = transfer->outcome,
                .charged = transfer->charged,
                .status = transfer->status > 0 ? transfer->status : -1,
                .detail = transfer->detail,
                .output = has_output ? http->output.data : NULL,
                .output_size = has_output ? http->output.size : 0,
                .whole = transfer->whole && transfer->written.written <= 2 * http->half,
                .duration_us = loop_now() - transfer->started_us,
                .begun_after_us =
                        transfer->sent_us > 0 ? transfer->sent_us - transfer->started_us : 0,
                .retry_after_us = transfer->retry_after_us,
        };
        list_unlink(&transfer->link);
        http->action.running--;
        transfer->end(transfer->user, &result);
        transfer_free(transfer);
}

/* Its outcome is known: it is told in the next turn, with nothing of it left open by then. */
static void transfer_finish(HttpTransfer *transfer) {
        loop_timer_stop(&transfer->deadline);
        transfer_detach(transfer);
        transfer->state = HTTP_ENDED;
        loop_soon_set(&transfer->soon);
}

/* What others wrote (names in certificates) may hold anything. */
void http_transfer_say(HttpTransfer *transfer, const char *format, ...) {
        char text[ACTION_DETAIL_MAX];
        va_list ap;
        size_t used = 0;
        va_start(ap, format);
        vsnprintf(text, sizeof(text), format, ap);
        va_end(ap);
        size_t size = json_escape(transfer->detail, sizeof(transfer->detail) - 1, text,
                                  strlen(text), JSON_ESCAPE_CONTROL, &used);
        transfer->detail[size] = '\0';
}

/* --- how it ended ---------------------------------------------------------------------------- */

/* libcurl says that it could not connect, and the system why. */
static int system_error(const HttpTransfer *transfer, CURLcode code) {
        long error = 0;
        if (code != CURLE_COULDNT_CONNECT) {
                return 0;
        }
        (void)curl_easy_getinfo(transfer->easy, CURLINFO_OS_ERRNO, &error);
        return transfer->socket_errno != 0 ? transfer->socket_errno : (int)error;
}

/* What went wrong, for people; @out is used when it takes more than one sentence. */
static const char *error_text(const HttpTransfer *transfer, CURLcode code,
                              char out[ACTION_DETAIL_MAX]) {
        const char *text = transfer->error[0] != '\0' ? transfer->error : curl_easy_strerror(code);
        const char *system = strerrordesc_np(system_error(transfer, code));
        if (transfer->header_bytes > HTTP_HEADER_BYTES_MAX) {
                return "its headers do not end";
        }
        if (system_error(transfer, code) == 0 || system == NULL) {
                return text;
        }
        snprintf(out, ACTION_DETAIL_MAX, "%s (%s)", text, system);
        return out;
}

/* Whether it failed for want of something here, which no host and no endpoint is to blame for. */
static bool is_ours(const HttpTransfer *transfer, CURLcode code) {
        int error = system_error(transfer, code);
        if (code == CURLE_OUT_OF_MEMORY || code == CURLE_FAILED_INIT ||
            code == CURLE_SSL_CERTPROBLEM || code == CURLE_SSL_CACERT_BADFILE) {
                return true;
        }
        return error == EMFILE || error == ENFILE || error == ENOBUFS || error == ENOMEM ||
               error == EADDRNOTAVAIL;
}

/* What an alert says that answers our Certificate message (see 4.); NULL: it is another. */
static const char *certificate_alert(int alert) {
        switch (alert) {
        case SSL_AD_BAD_CERTIFICATE:
                return "bad certificate";
        case SSL_AD_UNSUPPORTED_CERTIFICATE:
                return "unsupported certificate";
        case SSL_AD_CERTIFICATE_REVOKED:
                return "certificate revoked";
        case SSL_AD_CERTIFICATE_EXPIRED:
                return "certificate expired";
        case SSL_AD_CERTIFICATE_UNKNOWN:
                return "certificate unknown";
        case SSL_AD_UNKNOWN_CA:
                return "unknown CA";
        case SSL_AD_CERTIFICATE_REQUIRED:
                return "certificate required";
        default:
                return NULL;
        }
}

static void http_say_ours(Http *http, const char *what) {
        if (reminder_is_due(&http->said, what, loop_now())) {
                log_error(http->log, "http.not_started", FIELDS(.error = what),
                          "no request can be sent: %s; the requests are tried again", what);
        }
}

/* Nothing was sent, and it is our own fault: charged to nobody, said once for all. */
static void transfer_refuse(HttpTransfer *transfer) {
        transfer->outcome = OUTCOME_NOT_STARTED;
        transfer->charged = false;
        transfer->ours = true;
        http_say_ours(transfer->http, transfer->detail);
}

static void judge_answer(HttpTransfer *transfer, HttpCause cause, CURLcode code) {
        char text[ACTION_DETAIL_MAX];
        curl_off_t wait = 0;
        transfer->outcome = transfer->http->outcomes[transfer->status];
        if (transfer->outcome == OUTCOME_NOT_STARTED &&
            curl_easy_getinfo(transfer->easy, CURLINFO_RETRY_AFTER, &wait) == CURLE_OK &&
            wait > 0) {
                int64_t most = ACTION_RETRY_AFTER_MAX_US / 1000000;
                transfer->retry_after_us = (wait < most ? wait : most) * 1000000;
        }
        if (transfer->retry_after_us > 0) {
                http_transfer_say(transfer, "HTTP %d, try again after %g s", transfer->status,
                                  seconds(transfer->retry_after_us));
        } else if (transfer->body_bytes > HTTP_RESPONSE_BYTES_MAX) {
                http_transfer_say(transfer, "HTTP %d; its body is over 1 MiB, the rest was dropped",
                                  transfer->status);
        } else if (cause == CAUSE_TIMEOUT) {
                http_transfer_say(transfer, "HTTP %d; its body did not end in %g s",
                                  transfer->status, seconds(transfer->http->timeout_us));
        } else if (cause == CAUSE_ITSELF && code != CURLE_OK) {
                http_transfer_say(transfer, "HTTP %d; its body was cut off: %s", transfer->status,
                                  error_text(transfer, code, text));
        } else {
                http_transfer_say(transfer, "HTTP %d", transfer->status);
        }
}

/* The outcome of what has ended, or is to end now; @code is libcurl's with CAUSE_ITSELF. */
static void transfer_judge(HttpTransfer *transfer, HttpCause cause, CURLcode code) {
        char what[64], text[ACTION_DETAIL_MAX];
        bool sent = transfer->state == HTTP_SENT;
        if (transfer->status > 0) {
                judge_answer(transfer, cause, code);
                return;
        }
        if (cause == CAUSE_ITSELF) {
                const char *refused = certificate_alert(transfer->alert);
                transfer->outcome = sent && refused == NULL ? OUTCOME_UNKNOWN : OUTCOME_NOT_STARTED;
                if (transfer->late) {
                        http_transfer_say(transfer, "connected only after the ledger's grant was "
                                                    "over; nothing was sent");
                        return;
                }
                http_transfer_say(transfer, "%s%s",
                                  refused != NULL ? "the server refused the client's certificate: "
                                  : sent          ? "the request was sent, and no answer came: "
                                                  : "",
                                  refused != NULL ? refused : error_text(transfer, code, text));
                if (!sent && is_ours(transfer, code)) {
                        transfer_refuse(transfer);
                }
                return;
        }
        if (cause == CAUSE_TIMEOUT) {
                snprintf(what, sizeof(what), "timed out after %g s",
                         seconds(transfer->http->timeout_us));
        } else {
                snprintf(what, sizeof(what), "stopped");
        }
        transfer->outcome = sent ? OUTCOME_UNKNOWN : OUTCOME_NOT_STARTED;
        transfer->charged = sent || cause == CAUSE_TIMEOUT;
        http_transfer_say(transfer,
                          sent ? "%s; the request was sent, and no answer came"
                               : "%s before the request was sent",
                          what);
}

/* Many hosts that could not be restarted at one endpoint are its trouble: nobody is charged. */
static void transfer_blame(HttpTransfer *transfer) {
        Http *http = transfer->http;
        EndpointState state = endpoints_ended(&http->endpoints, transfer->endpoint, transfer->host,
                                              transfer->outcome == OUTCOME_NOT_STARTED);
        if (state == ENDPOINT_BACK) {
                log_info(http->log, "http.endpoint_back", FIELDS(), "%s answers again",
                         transfer->endpoint);
        }
        if (state != ENDPOINT_OUT) {
                return;
        }
        transfer->charged = false;
        if (reminder_is_due(&http->said, transfer->endpoint, loop_now())) {
                log_warning(http->log, "http.endpoint_out", FIELDS(.error = transfer->detail),
                            "%s: no request gets through there: %s; all are tried again, and none "
                            "is charged an attempt",
                            transfer->endpoint, transfer->detail);
        }
}

static void transfer_end(HttpTransfer *transfer, HttpCause cause, CURLcode code) {
        transfer->whole = cause == CAUSE_ITSELF && code == CURLE_OK;
        transfer_judge(transfer, cause, code);
        if (!transfer->ours && cause != CAUSE_STOP) {
                transfer_blame(transfer);
        }
        transfer_finish(transfer);
}

static void on_deadline(LoopTimer *timer) {
        transfer_end(container_of(timer, HttpTransfer, deadline), CAUSE_TIMEOUT, CURLE_OK);
}

/* --- libcurl in the loop --------------------------------------------------------------------- */

static void http_drain(Http *http) {
        CURLMsg *message;
        int left;
        while ((message = curl_multi_info_read(http->multi, &left)) != NULL) {
                HttpTransfer *transfer = NULL;
                CURLcode code = message->data.result; /* gone with the handle */
                if (message->msg == CURLMSG_DONE &&
                    curl_easy_getinfo(message->easy_handle, CURLINFO_PRIVATE, &transfer) ==
                            CURLE_OK) {
                        transfer_end(transfer, CAUSE_ITSELF, code);
                }
        }
}

static void http_act(Http *http, curl_socket_t fd, int events) {
        int running;
        /* What it returns concerns the handle, not a transfer; a transfer that is lost by that ends
         * at its deadline. */
        (void)curl_multi_socket_action(http->multi, fd, events, &running);
        http_drain(http);
}

static void on_io(LoopIo *io, int events) {
        HttpSocket *socket = container_of(io, HttpSocket, io);
        http_act(socket->http, socket->fd,
                 ((events & LOOP_READ) != 0 ? CURL_CSELECT_IN : 0) |
                         ((events & LOOP_WRITE) != 0 ? CURL_CSELECT_OUT : 0));
}

static void on_timer(LoopTimer *timer) {
        http_act(container_of(timer, Http, timer), CURL_SOCKET_TIMEOUT, 0);
}

static int on_curl_timer(CURLM *multi, long timeout_ms, void *user) {
        Http *http = user;
        (void)multi;
        if (timeout_ms < 0) {
                loop_timer_stop(&http->timer);
        } else {
                loop_timer_set(&http->timer, (int64_t)timeout_ms * 1000);
        }
        return 0;
}

static void socket_free(HttpSocket *socket) {
        loop_io_stop(&socket->io);
        list_unlink(&socket->link);
        free(socket);
}

/* -1: no memory; libcurl then gives up the whole handle, and the next start says so. */
static int on_curl_socket(CURL *easy, curl_socket_t fd, int what, void *user, void *known) {
        Http *http = user;
        HttpSocket *socket = known;
        int events = ((what & CURL_POLL_IN) != 0 ? LOOP_READ : 0) |
                     ((what & CURL_POLL_OUT) != 0 ? LOOP_WRITE : 0);
        (void)easy;
        if (what == CURL_POLL_REMOVE) {
                if (socket != NULL) {
                        socket_free(socket);
                }
                return 0;
        }
        if (socket != NULL) {
                loop_io_want(&socket->io, events);
                return 0;
        }
        socket = calloc(1, sizeof(*socket));
        if (socket == NULL) {
                return -1;
        }
        socket->http = http;
        socket->fd = fd;
        list_push_back(&http->sockets, &socket->link);
        loop_io_init(&socket->io, http->loop, "http.socket", on_io);
        loop_io_start(&socket->io, fd, events);
        return curl_multi_assign(http->multi, fd, socket) == CURLM_OK ? 0 : -1;
}

/* --- a start --------------------------------------------------------------------------------- */

static int http_start(Action *action, const ActionRequest *request, ActionEnd end, void *user) {
        Http *http = container_of(action, Http, action);
        HttpTransfer *transfer = transfer_new(http, end, user);
        if (transfer == NULL) {
                return error_origin(-ENOMEM);
        }
        snprintf(transfer->host, sizeof(transfer->host), "%s", request->host);
        transfer->start_by_us = request->start_by_us;
        int r = http_template_expand(&http->template, action_look_up, (void *)request, &http->why);
        bool poison = r == HTTP_TEMPLATE_E_POISON;
        if (poison) {
                transfer->outcome = OUTCOME_POISON;
                http_transfer_say(transfer, "%.*s", (int)http->why.size,
                                  (const char *)http->why.data);
        } else if (r == 0) {
                endpoint_name((const char *)http->template.url.data, transfer->endpoint);
                r = http_transfer_set_up(transfer);
        }
        if (r < 0) {
                transfer_free(transfer);
                return r;
        }
        list_push_back(&http->transfers, &transfer->link);
        action->running++;
        if (r > 0) {
                if (!poison) {
                        transfer_refuse(transfer);
                }
                transfer_finish(transfer);
                return 0;
        }
        loop_timer_set(&transfer->deadline, http->timeout_us);
        return 0;
}

static void http_terminate(Action *action) {
        Http *http = container_of(action, Http, action);
        list_for_each(link, &http->transfers) {
                HttpTransfer *transfer = container_of(link, HttpTransfer, link);
                if (transfer->state == HTTP_CONNECTING) {
                        transfer_end(transfer, CAUSE_STOP, CURLE_OK);
                }
        }
}

static void http_kill(Action *action) {
        Http *http = container_of(action, Http, action);
        list_for_each(link, &http->transfers) {
                HttpTransfer *transfer = container_of(link, HttpTransfer, link);
                if (transfer->state != HTTP_ENDED) {
                        transfer_end(transfer, CAUSE_STOP, CURLE_OK);
                }
        }
}

/* --- life ------------------------------------------------------------------------------------ */

static void http_free(Action *action) {
        if (action == NULL) {
                return;
        }
        Http *http = container_of(action, Http, action);
        list_for_each_safe(link, &http->transfers) {
                transfer_free(container_of(link, HttpTransfer, link));
        }
        if (http->multi != NULL) {
                (void)curl_multi_cleanup(http->multi);
        }
        list_for_each_safe(socket_link, &http->sockets) {
                socket_free(container_of(socket_link, HttpSocket, link));
        }
        loop_timer_stop(&http->timer);
        http_template_deinit(&http->template);
        char *texts[] = {http->ca_file, http->cert_file,     http->key_file,
                         http->user,    http->password_file, http->bearer_file};
        for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
                free(texts[i]);
        }
        buffer_deinit(&http->why);
        buffer_deinit(&http->secret);
        buffer_deinit(&http->output);
        if (http->global) {
                curl_global_cleanup();
        }
        free(http);
}

static const ActionInterface http_interface = {
        .name = "http",
        .start = http_start,
        .terminate = http_terminate,
        .kill = http_kill,
        .free = http_free,
};

static void http_map(Http *http, const HttpStatuses *statuses, Outcome outcome) {
        for (size_t i = 0; i < statuses->n; i++) {
                if (statuses->values[i] >= 200 && statuses->values[i] < HTTP_STATUS_COUNT) {
                        http->outcomes[statuses->values[i]] = outcome;
                }
        }
}

static void http_map_all(Http *http, const HttpOptions *options) {
        for (int i = 0; i < HTTP_STATUS_COUNT; i++) {
                /* RFC 9110, 15: a status of no class is a server's error too. */
                http->outcomes[i] = i >= 500 ? OUTCOME_UNKNOWN : OUTCOME_FAILED;
        }
        http_map(http, &options->failed, OUTCOME_FAILED);
        http_map(http, &options->unknown, OUTCOME_UNKNOWN);
        http_map(http, &options->not_started, OUTCOME_NOT_STARTED);
        http_map(http, &options->done, OUTCOME_DONE);
}

static int http_copy(Http *http, const HttpOptions *options) {
        const char *const from[] = {options->ca_file, options->cert_file,     options->key_file,
                                    options->user,    options->password_file, options->bearer_file};
        char **const to[] = {&http->ca_file, &http->cert_file,     &http->key_file,
                             &http->user,    &http->password_file, &http->bearer_file};
        for (size_t i = 0; i < sizeof(to) / sizeof(to[0]); i++) {
                *to[i] = strdup(from[i]);
                if (*to[i] == NULL) {
                        return error_origin(-ENOMEM);
                }
        }
        return 0;
}

/* A write to a connection that is gone must be an error and not the end of the process: with
 * CURLOPT_NOSIGNAL libcurl leaves that to its caller. */
static int ignore_sigpipe(void) {
        struct sigaction action;
        if (sigaction(SIGPIPE, NULL, &action) != 0) {
                return error_origin(-errno);
        }
        if (action.sa_handler != SIG_DFL) {
                return 0;
        }
        action = (struct sigaction){.sa_handler = SIG_IGN};
        return sigaction(SIGPIPE, &action, NULL) != 0 ? error_origin(-errno) : 0;
}

static int http_init_curl(Http *http) {
        if (curl_global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK) {
                return error_origin(-ENOMEM);
        }
        http->global = true;
        if ((curl_version_info(CURLVERSION_NOW)->features & CURL_VERSION_ASYNCHDNS) == 0) {
                return error_origin(-ENOSYS); /* a look-up of a name would hold up the loop */
        }
        http->multi = curl_multi_init();
        if (http->multi == NULL ||
            curl_multi_setopt(http->multi, CURLMOPT_SOCKETFUNCTION, on_curl_socket) != CURLM_OK ||
            curl_multi_setopt(http->multi, CURLMOPT_SOCKETDATA, http) != CURLM_OK ||
            curl_multi_setopt(http->multi, CURLMOPT_TIMERFUNCTION, on_curl_timer) != CURLM_OK ||
            curl_multi_setopt(http->multi, CURLMOPT_TIMERDATA, http) != CURLM_OK) {
                return error_origin(-ENOMEM);
        }
        return ignore_sigpipe();
}

static int http_init(Http *http, const HttpOptions *options, Buffer *why) {
        static const char *const parts[] = {[HTTP_PART_URL] = "url",
                                            [HTTP_PART_HEADERS] = "headers",
                                            [HTTP_PART_BODY] = "body"};
        CLEANUP(buffer_deinit) Buffer fault = BUFFER_INIT;
        HttpPart part = HTTP_PART_URL;
        int r = http_template_init(&http->template, &options->request, &part, &fault);
        if (r > 0) {
                r = why != NULL ? buffer_printf(why, "%s: %.*s", parts[part], (int)fault.size,
                                                (const char *)fault.data)
                                : 0;
                return r != 0 ? r : HTTP_E_TEMPLATE;
        }
        r = r == 0 ? http_copy(http, options) : r;
        return r == 0 ? http_init_curl(http) : r;
}

int http_new(Action **actionp, Loop *loop, Log *log, const HttpOptions *options, Buffer *why) {
        Http *http = calloc(1, sizeof(*http));
        if (http == NULL) {
                return error_origin(-ENOMEM);
        }
        http->action.interface = &http_interface;
        http->loop = loop;
        http->log = log;
        http->timeout_us = options->timeout_us;
        http->connect_timeout_us = options->connect_timeout_us;
        http->half = options->output_bytes > 1 ? options->output_bytes / 2 : 1;
        http->half = http->half < OUTPUT_HALF_MAX ? http->half : OUTPUT_HALF_MAX;
        list_init(&http->sockets);
        list_init(&http->transfers);
        loop_timer_init(&http->timer, loop, "http.timer", on_timer);
        http_map_all(http, options);
        int r = http_init(http, options, why);
        if (r != 0) {
                http_free(&http->action);
                return r;
        }
        *actionp = &http->action;
        return 0;
}

const char *http_authorization(const HttpOptions *options) {
        return *options->bearer_file != '\0'     ? "Bearer"
               : *options->password_file != '\0' ? "Basic"
                                                 : NULL;
}

const char *http_library_version(void) {
        return curl_version_info(CURLVERSION_NOW)->version;
}
