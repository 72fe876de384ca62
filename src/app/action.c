#include "app/action.h"

#include <stdlib.h>
#include <string.h>

#include "handlers/actions/dry_run.h"
#include "handlers/actions/exec.h"
#include "handlers/actions/http.h"

enum {
        OUTPUT_BYTES = 4096, /* kept of what a command or an endpoint said */
};

static int make_exec(Action **actionp, Loop *loop, Log *log, const ConfigExec *exec, Buffer *why) {
        const ExecOptions options = {
                .argv = (const char *const *)exec->argv,
                .timeout_us = exec->timeout_us,
                .kill_after_us = exec->kill_after_us,
                .done = {exec->status.done.items, exec->status.done.n},
                .not_started = {exec->status.not_started.items, exec->status.not_started.n},
                .unknown = {exec->status.unknown.items, exec->status.unknown.n},
                .output_bytes = OUTPUT_BYTES,
        };
        return exec_new(actionp, loop, log, &options, why);
}

static HttpStatuses statuses(const ConfigStatuses *from) {
        return (HttpStatuses){from->items, from->n};
}

/* Borrows everything; @headers has room for all of them. */
static HttpOptions http_options(const ConfigHttp *http, HttpHeader *headers) {
        for (size_t i = 0; i < http->headers.n; i++) {
                headers[i] =
                        (HttpHeader){http->headers.items[i].name, http->headers.items[i].value};
        }
        return (HttpOptions){
                .request = {.method = http->method,
                            .url = http->url,
                            .headers = headers,
                            .n_headers = http->headers.n,
                            .body = http->body},
                .timeout_us = http->timeout_us,
                .connect_timeout_us = http->connect_timeout_us,
                .done = statuses(&http->status.done),
                .not_started = statuses(&http->status.not_started),
                .unknown = statuses(&http->status.unknown),
                .failed = statuses(&http->status.failed),
                .ca_file = http->tls.ca_file,
                .cert_file = http->tls.cert_file,
                .key_file = http->tls.key_file,
                .user = http->auth.user,
                .password_file = http->auth.password_file,
                .bearer_file = http->auth.bearer_file,
                .output_bytes = OUTPUT_BYTES,
        };
}

static int make(Action **actionp, Loop *loop, Log *log, const ConfigRestart *restart, Buffer *why) {
        if (restart->action == CONFIG_ACTION_EXEC) {
                return make_exec(actionp, loop, log, &restart->exec, why);
        }
        HttpHeader *headers = calloc(restart->http.headers.n + 1, sizeof(*headers));
        if (headers == NULL) {
                return error_origin(-ENOMEM);
        }
        HttpOptions http = http_options(&restart->http, headers);
        int r = restart->action == CONFIG_ACTION_HTTP
                        ? http_new(actionp, loop, log, &http, why)
                        : dry_run_new(actionp, loop, log, (const char *const *)restart->exec.argv,
                                      http.request.url != NULL ? &http : NULL, why);
        free(headers);
        return r;
}

int action_new(Action **actionp, Loop *loop, Log *log, const ConfigRestart *restart,
               char **errorp) {
        CLEANUP(buffer_deinit) Buffer why = BUFFER_INIT;
        int r = make(actionp, loop, log, restart, &why);
        if (r > 0) {
                const char *sentence = buffer_string(&why);
                *errorp = sentence != NULL ? strdup(sentence) : NULL;
                return ACTION_E_CONFIG;
        }
        return r;
}

bool action_reads_payload(const ConfigRestart *restart) {
        static const char field[] = "{{message.";
        const ConfigHttp *http = &restart->http;
        for (char **argument = restart->exec.argv; argument != NULL && *argument != NULL;
             argument++) {
                if (strstr(*argument, field) != NULL) {
                        return true;
                }
        }
        for (size_t i = 0; i < http->headers.n; i++) {
                if (strstr(http->headers.items[i].value, field) != NULL) {
                        return true;
                }
        }
        return strstr(http->body, field) != NULL ||
               (http->url != NULL && strstr(http->url, field) != NULL);
}
