#include "app/action.h"

#include <stdlib.h>
#include <string.h>

#include "handlers/actions/dry_run.h"
#include "handlers/actions/exec.h"
#include "handlers/actions/http.h"

enum {
        OUTPUT_BYTES = 4096, /* kept of what a command or an endpoint said */
};

/* Borrows everything, as the next one. */
static ExecOptions exec_options(const ConfigExec *exec) {
        return (ExecOptions){
                .argv = (const char *const *)exec->argv,
                .timeout_us = exec->timeout_us,
                .kill_after_us = exec->kill_after_us,
                .done = {exec->status.done.items, exec->status.done.n},
                .not_started = {exec->status.not_started.items, exec->status.not_started.n},
                .unknown = {exec->status.unknown.items, exec->status.unknown.n},
                .output_bytes = OUTPUT_BYTES,
        };
}

static HttpStatuses statuses(const ConfigStatuses *from) {
        return (HttpStatuses){from->items, from->n};
}

/* @headers has room for all of them. */
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
                const ExecOptions exec = exec_options(&restart->exec);
                return exec_new(actionp, loop, log, &exec, why);
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

/* @r as it is, or ACTION_E_CONFIG with the sentence. */
static int tell(int r, Buffer *why, char **errorp) {
        if (r > 0) {
                const char *sentence = buffer_string(why);
                *errorp = sentence != NULL ? strdup(sentence) : NULL;
                return ACTION_E_CONFIG;
        }
        return r;
}

int action_new(Action **actionp, Loop *loop, Log *log, const ConfigRestart *restart,
               char **errorp) {
        CLEANUP(buffer_deinit) Buffer why = BUFFER_INIT;
        return tell(make(actionp, loop, log, restart, &why), &why, errorp);
}

static CheckStatuses check_statuses(const ConfigStatuses *from) {
        return (CheckStatuses){from->items, from->n};
}

/* What options of a check point to. */
typedef struct CheckParts {
        ExecOptions exec;
        HttpOptions http;
        HttpHeader *headers;
} CheckParts;

static int check_options(const ConfigCheck *check, CheckParts *parts, CheckOptions *options) {
        if (!check->enabled) {
                return 0;
        }
        if (check->exec.argv != NULL) {
                parts->exec = exec_options(&check->exec);
                options->exec = &parts->exec;
                return 0;
        }
        parts->headers = calloc(check->http.headers.n + 1, sizeof(*parts->headers));
        if (parts->headers == NULL) {
                return error_origin(-ENOMEM);
        }
        parts->http = http_options(&check->http, parts->headers);
        options->http = &parts->http;
        return 0;
}

int action_new_checks(Checks **checksp, Loop *loop, Log *log, const ConfigRestart *restart,
                      char **errorp) {
        CLEANUP(buffer_deinit) Buffer why = BUFFER_INIT;
        CheckParts parts[2] = {0};
        ChecksOptions options = {
                .go = check_statuses(&restart->precheck.status.go),
                .not_needed = check_statuses(&restart->precheck.status.not_needed),
                .wait = check_statuses(&restart->precheck.status.wait),
                .done = check_statuses(&restart->verify.status.done),
                .interval_us = restart->verify.interval_us,
        };
        int r = check_options(&restart->precheck.check, &parts[0], &options.precheck);
        r = r == 0 ? check_options(&restart->verify.check, &parts[1], &options.verify) : r;
        r = r == 0 ? checks_new(checksp, loop, log, &options, &why) : r;
        free(parts[0].headers);
        free(parts[1].headers);
        return tell(r, &why, errorp);
}

static bool reads_payload(const ConfigExec *exec, const ConfigHttp *http) {
        static const char field[] = "{{message.";
        for (char **argument = exec->argv; argument != NULL && *argument != NULL; argument++) {
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

bool action_reads_payload(const ConfigRestart *restart) {
        const ConfigCheck *precheck = &restart->precheck.check, *verify = &restart->verify.check;
        return reads_payload(&restart->exec, &restart->http) ||
               (precheck->enabled && reads_payload(&precheck->exec, &precheck->http)) ||
               (verify->enabled && reads_payload(&verify->exec, &verify->http));
}
