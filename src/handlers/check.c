#include "handlers/check.h"

#include <stdio.h>
#include <string.h>

#include "handlers/actions/output.h"

enum {
        LAST_LINE_BYTES = 4096, /* kept of what is not compared */
        HTTP_STATUS_MIN = 200,
        HTTP_STATUS_MAX = 599,
};

static bool names_message(const char *template) {
        return template != NULL && strstr(template, "{{message.") != NULL;
}

/* What ssh says on stderr is not what the host says: that it has learnt a key, it says once. */
static int init_exec(Check *check, Loop *loop, Log *log, const ExecOptions *from, bool compared,
                     Buffer *why) {
        ExecOptions options = *from;
        options.done = options.not_started = options.unknown = (ExecStatus){0};
        options.output_bytes = compared ? CHECK_OUTPUT_MAX : LAST_LINE_BYTES;
        options.errors_apart = compared;
        for (size_t i = 0; options.argv[i] != NULL; i++) {
                check->reads_payload = check->reads_payload || names_message(options.argv[i]);
        }
        check->longest_us = options.timeout_us + options.kill_after_us;
        return exec_new(&check->action, loop, log, &options, why);
}

static int init_http(Check *check, Loop *loop, Log *log, const HttpOptions *from, bool compared,
                     Buffer *why) {
        int all[HTTP_STATUS_MAX - HTTP_STATUS_MIN + 1];
        size_t n = sizeof(all) / sizeof(all[0]);
        for (size_t i = 0; i < n; i++) {
                all[i] = HTTP_STATUS_MIN + (int)i;
        }
        HttpOptions options = *from;
        const HttpSource *request = &options.request;
        options.done = options.not_started = options.unknown = (HttpStatuses){0};
        options.failed = (HttpStatuses){all, n};
        options.output_bytes = compared ? CHECK_OUTPUT_MAX : LAST_LINE_BYTES;
        check->reads_payload = names_message(request->url) || names_message(request->body);
        for (size_t i = 0; i < request->n_headers; i++) {
                check->reads_payload =
                        check->reads_payload || names_message(request->headers[i].value);
        }
        check->longest_us = options.timeout_us;
        return http_new(&check->action, loop, log, &options, why);
}

int check_init(Check *check, Loop *loop, Log *log, const CheckOptions *options, bool compared,
               Buffer *why) {
        int r = 0;
        *check = (Check){0};
        if (options->exec != NULL) {
                r = init_exec(check, loop, log, options->exec, compared, why);
        } else if (options->http != NULL) {
                r = init_http(check, loop, log, options->http, compared, why);
        }
        return r > 0 ? CHECK_E_TEMPLATE : r;
}

void check_deinit(Check *check) {
        if (check->action != NULL) {
                check->action->interface->free(check->action);
                check->action = NULL;
        }
}

bool check_ended_with(const ActionResult *result, const CheckStatuses *statuses) {
        for (size_t i = 0; result->outcome == OUTCOME_FAILED && i < statuses->n; i++) {
                if (statuses->values[i] == result->status) {
                        return true;
                }
        }
        return false;
}

void check_describe(const ActionResult *result, char detail[CHECK_DETAIL]) {
        char line[OUTPUT_LINE];
        output_last_line(result->errors, result->errors_size, line);
        if (line[0] == '\0') {
                output_last_line(result->output, result->output_size, line);
        }
        snprintf(detail, CHECK_DETAIL, "%s%s%s%s", result->detail,
                 result->output_size > CHECK_OUTPUT_MAX ? "; its output is over 64 KiB" : "",
                 line[0] != '\0' ? "; last line of its output: " : "", line);
}
