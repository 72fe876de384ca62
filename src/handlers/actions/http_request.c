/*
 * What libcurl is told about a request, and what it calls while that is on its way. The options
 * that decide about its being sent twice or unseen are argued for at the top of http.c.
 */

#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>

#include "handlers/actions/http_private.h"
#include "handlers/actions/secret.h"
#include "pg/ledger.h"
#include "util/base64.h"

enum {
        /* How long authorities are kept: reading the system's takes 30 to 40 ms of the loop. */
        CA_CACHE_S = 60,
        CA_CACHE_SYSTEM_S = 600,
};

/* --- what libcurl calls ---------------------------------------------------------------------- */

/* libcurl keeps no errno of a socket that could not be made. */
static curl_socket_t on_open(void *user, curlsocktype purpose, struct curl_sockaddr *address) {
        HttpTransfer *transfer = user;
        (void)purpose;
        int fd = socket(address->family, address->socktype | SOCK_CLOEXEC, address->protocol);
        transfer->socket_errno = fd < 0 ? errno : 0;
        return fd < 0 ? CURL_SOCKET_BAD : fd;
}

static int on_prereq(void *user, char *remote, char *local, int remote_port, int local_port) {
        HttpTransfer *transfer = user;
        (void)remote;
        (void)local;
        (void)remote_port;
        (void)local_port;
        if (transfer->state != HTTP_CONNECTING) {
                return CURL_PREREQFUNC_ABORT; /* once and never again */
        }
        if (transfer->start_by_us > 0 && ledger_clock() >= transfer->start_by_us) {
                transfer->late = true;
                return CURL_PREREQFUNC_ABORT;
        }
        transfer->state = HTTP_SENT;
        transfer->sent_us = loop_now();
        return CURL_PREREQFUNC_OK;
}

static size_t on_header(char *data, size_t one, size_t size, void *user) {
        HttpTransfer *transfer = user;
        long status = 0;
        transfer->header_bytes += size * one;
        if (transfer->header_bytes > HTTP_HEADER_BYTES_MAX) {
                return 0;
        }
        /* The empty line: a status alone may belong to a header that was cut off, and 1xx is not
         * the last word. */
        if (*data == '\r' || *data == '\n') {
                (void)curl_easy_getinfo(transfer->easy, CURLINFO_RESPONSE_CODE, &status);
                if (status >= 200 && status < HTTP_STATUS_COUNT && transfer->status == 0) {
                        transfer->status = (int)status;
                        transfer->state = HTTP_ANSWERED;
                }
        }
        return size * one;
}

static size_t on_body(char *data, size_t one, size_t size, void *user) {
        HttpTransfer *transfer = user;
        transfer->body_bytes += size * one;
        output_add(&transfer->written, (const uint8_t *)data, size * one);
        return transfer->body_bytes > HTTP_RESPONSE_BYTES_MAX ? 0 : size * one;
}

static void on_tls(const SSL *tls, int where, int value) {
        HttpTransfer *transfer = SSL_CTX_get_app_data(SSL_get_SSL_CTX(tls));
        if (transfer != NULL && where == SSL_CB_READ_ALERT && value >> 8 == SSL3_AL_FATAL) {
                transfer->alert = value & 0xff;
        }
}

static CURLcode on_tls_context(CURL *easy, void *context, void *user) {
        HttpTransfer *transfer = user;
        (void)easy;
        if (transfer->tls != NULL || SSL_CTX_up_ref(context) != 1) {
                return CURLE_FAILED_INIT;
        }
        transfer->tls = context;
        SSL_CTX_set_app_data(transfer->tls, transfer);
        SSL_CTX_set_info_callback(transfer->tls, on_tls);
        SSL_CTX_set_post_handshake_auth(transfer->tls, 0);
        SSL_CTX_set_options(transfer->tls, SSL_OP_NO_RENEGOTIATION);
        return CURLE_OK;
}

/* --- what it is told ---------------------------------------------------------------------- */

static int transfer_add_line(HttpTransfer *transfer, const char *line) {
        struct curl_slist *headers = curl_slist_append(transfer->headers, line);
        if (headers == NULL) {
                return error_origin(-ENOMEM);
        }
        transfer->headers = headers;
        return 0;
}

/* "Authorization: …" from the files as they are now. SECRET_E_UNFIT: the detail says why not. */
static int transfer_authorize(HttpTransfer *transfer) {
        Http *http = transfer->http;
        CLEANUP(buffer_deinit) Buffer line = BUFFER_INIT;
        bool bearer = *http->bearer_file != '\0';
        const char *file = bearer ? http->bearer_file : http->password_file;
        const char *why = "";
        if (*file == '\0') {
                return 0;
        }
        int r = bearer ? 0 : buffer_printf(&http->secret, "%s:", http->user);
        r = r == 0 ? secret_read(file, &http->secret, &why) : r;
        r = r == 0 ? buffer_append_string(&line, bearer ? "Authorization: Bearer "
                                                        : "Authorization: Basic ")
                   : r;
        r = r == 0 ? buffer_reserve(&line, 2 * http->secret.size + 8) : r; /* never moved */
        if (r == 0) {
                r = bearer ? buffer_append(&line, http->secret.data, http->secret.size)
                           : base64_append(&line, http->secret.data, http->secret.size);
        }
        const char *text = r == 0 ? buffer_string(&line) : NULL;
        if (r == 0) {
                r = text != NULL ? transfer_add_line(transfer, text) : error_origin(-ENOMEM);
        }
        if (r > 0) {
                http_transfer_say(transfer, "auth.%s: %s: %s",
                                  bearer ? "bearer_file" : "password_file", file, why);
        }
        secret_wipe(&http->secret);
        secret_wipe(&line);
        return r;
}

static int transfer_add_headers(HttpTransfer *transfer) {
        const HttpTemplate *template = &transfer->http->template;
        CLEANUP(buffer_deinit) Buffer line = BUFFER_INIT;
        bool type = false;
        int r = 0;
        for (size_t i = 0; i < template->n_headers && r == 0; i++) {
                const char *name = template->headers[i].name;
                const char *value = http_template_header(template, i);
                type = type || strcasecmp(name, "Content-Type") == 0;
                buffer_clear(&line);
                /* To libcurl "Name:" means "leave it out", and "Name;" an empty value. */
                r = *value != '\0' ? buffer_printf(&line, "%s: %s", name, value)
                                   : buffer_printf(&line, "%s;", name);
                const char *text = r == 0 ? buffer_string(&line) : NULL;
                r = text != NULL ? transfer_add_line(transfer, text) : error_origin(-ENOMEM);
        }
        /* libcurl's own: a form, which it is not; and a wait for "100 Continue". */
        r = r == 0 && !type ? transfer_add_line(transfer, "Content-Type:") : r;
        return r == 0 ? transfer_add_line(transfer, "Expect:") : r;
}

/* Keeps the first failure. */
#define SET(option, value)                                                                         \
        do {                                                                                       \
                if (code == CURLE_OK) {                                                            \
                        code = curl_easy_setopt(easy, option, value);                              \
                }                                                                                  \
        } while (0)

static CURLcode set_request(HttpTransfer *transfer, CURL *easy) {
        const HttpTemplate *template = &transfer->http->template;
        CURLcode code = CURLE_OK;
        SET(CURLOPT_URL, (const char *)template->url.data);
        SET(CURLOPT_HTTPHEADER, transfer->headers);
        SET(CURLOPT_USERAGENT, "ackd");
        if (strcmp(template->method, "GET") == 0) {
                SET(CURLOPT_HTTPGET, 1L);
                return code;
        }
        SET(CURLOPT_POST, 1L);
        SET(CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t) template->body.size);
        SET(CURLOPT_COPYPOSTFIELDS,
            template->body.size > 0 ? (const char *)template->body.data : "");
        if (strcmp(template->method, "POST") != 0) {
                SET(CURLOPT_CUSTOMREQUEST, template->method);
        }
        return code;
}

static CURLcode set_transfer(HttpTransfer *transfer, CURL *easy) {
        CURLcode code = CURLE_OK;
        SET(CURLOPT_PRIVATE, transfer);
        SET(CURLOPT_ERRORBUFFER, transfer->error);
        SET(CURLOPT_OPENSOCKETFUNCTION, on_open);
        SET(CURLOPT_OPENSOCKETDATA, transfer);
        SET(CURLOPT_PREREQFUNCTION, on_prereq);
        SET(CURLOPT_PREREQDATA, transfer);
        SET(CURLOPT_HEADERFUNCTION, on_header);
        SET(CURLOPT_HEADERDATA, transfer);
        SET(CURLOPT_WRITEFUNCTION, on_body);
        SET(CURLOPT_WRITEDATA, transfer);
        SET(CURLOPT_NOSIGNAL, 1L);
        SET(CURLOPT_QUICK_EXIT, 1L);
        SET(CURLOPT_PROTOCOLS_STR, "http,https");
        SET(CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1);
        SET(CURLOPT_FRESH_CONNECT, 1L);
        SET(CURLOPT_FORBID_REUSE, 1L);
        SET(CURLOPT_FOLLOWLOCATION, 0L);
        SET(CURLOPT_PATH_AS_IS, 1L);
        SET(CURLOPT_DISALLOW_USERNAME_IN_URL, 1L);
        SET(CURLOPT_PROXY, "");
        SET(CURLOPT_CONNECTTIMEOUT_MS, (long)((transfer->http->connect_timeout_us + 999) / 1000));
        return code;
}

static CURLcode set_tls(HttpTransfer *transfer, CURL *easy) {
        const Http *http = transfer->http;
        CURLcode code = CURLE_OK;
        SET(CURLOPT_SSL_CTX_FUNCTION, on_tls_context);
        SET(CURLOPT_SSL_CTX_DATA, transfer);
        SET(CURLOPT_SSLVERSION, (long)CURL_SSLVERSION_TLSv1_2);
        SET(CURLOPT_SSL_VERIFYPEER, 1L);
        SET(CURLOPT_SSL_VERIFYHOST, 2L);
        SET(CURLOPT_CA_CACHE_TIMEOUT,
            (long)(*http->ca_file != '\0' ? CA_CACHE_S : CA_CACHE_SYSTEM_S));
        if (*http->ca_file != '\0') {
                SET(CURLOPT_CAPATH, NULL); /* these and no others */
                SET(CURLOPT_CAINFO, http->ca_file);
        }
        if (*http->cert_file != '\0') {
                SET(CURLOPT_SSLCERT, http->cert_file);
                SET(CURLOPT_SSLKEY, *http->key_file != '\0' ? http->key_file : http->cert_file);
                SET(CURLOPT_KEYPASSWD, ""); /* or OpenSSL asks the terminal for one */
        }
        return code;
}

int http_transfer_set_up(HttpTransfer *transfer) {
        int r = transfer_add_headers(transfer);
        r = r == 0 ? transfer_authorize(transfer) : r;
        if (r != 0) {
                return r;
        }
        CURL *easy = transfer->easy = curl_easy_init();
        if (easy == NULL) {
                return error_origin(-ENOMEM);
        }
        CURLcode code = set_request(transfer, easy);
        code = code == CURLE_OK ? set_transfer(transfer, easy) : code;
        code = code == CURLE_OK ? set_tls(transfer, easy) : code;
        if (code == CURLE_OK) {
                CURLMcode added = curl_multi_add_handle(transfer->http->multi, easy);
                if (added == CURLM_OK) {
                        return 0;
                }
                code = CURLE_OUT_OF_MEMORY;
        }
        if (code == CURLE_OUT_OF_MEMORY) {
                return error_origin(-ENOMEM);
        }
        http_transfer_say(transfer, "libcurl refuses an option: %s", curl_easy_strerror(code));
        return (int)code;
}
