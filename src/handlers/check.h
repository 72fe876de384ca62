#pragma once

/*
 * A check of restart-host as it was configured: a command or a request that changes nothing, run by
 * the action `exec` or `http`.
 *
 * Whether it succeeded is told from its status, and only when it ended by itself. So the actions
 * are made without any status that means something to them: what came to a status is `failed`, and
 * whatever did not (timed out, killed, lost, not started) is something else. A command that hangs,
 * and exits 0 when it is told to end, has said nothing.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "handlers/actions/action.h"
#include "handlers/actions/exec.h"
#include "handlers/actions/http.h"
#include "util/buffer.h"

enum {
        CHECK_E_TEMPLATE = 1, /* it cannot be made so; @why says it in a sentence */

        CHECK_OUTPUT_MAX = 64 * 1024, /* bytes that can be compared */
        CHECK_DETAIL = ACTION_DETAIL_MAX + 320,
};

typedef struct CheckStatuses {
        const int *values; /* exit statuses, or HTTP statuses */
        size_t n;
} CheckStatuses;

/* One of the two, or neither: there is no such check. Their own lists of statuses, output_bytes and
 * errors_apart are not used. */
typedef struct CheckOptions {
        const ExecOptions *exec;
        const HttpOptions *http;
} CheckOptions;

typedef struct Check {
        Action *action;     /* NULL: there is none */
        int64_t longest_us; /* that one run can take */
        bool reads_payload; /* a template names a field of the message */
} Check;

/* @compared: what it says counts, and not only how it ends. @why: NULL: not wanted. 0,
 * CHECK_E_TEMPLATE, negative errno. */
MUST_CHECK int check_init(Check *check, Loop *loop, Log *log, const CheckOptions *options,
                          bool compared, Buffer *why);
/* As ActionInterface.free. */
void check_deinit(Check *check);

/* Whether it ended by itself, with one of these statuses. */
bool check_ended_with(const ActionResult *result, const CheckStatuses *statuses);

/* "exit status 255; last line of its output: no route to host". */
void check_describe(const ActionResult *result, char detail[CHECK_DETAIL]);
