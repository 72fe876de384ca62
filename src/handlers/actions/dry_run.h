#pragma once

/*
 * The action `dry-run`: says what would be done and does nothing. It is quick enough to show how
 * fast everything else is: no allocation in the steady state, one callback for all that was
 * started in a turn.
 */

#include "handlers/actions/action.h"
#include "handlers/actions/http.h"
#include "util/buffer.h"

enum {
        DRY_RUN_E_TEMPLATE = 1, /* argv or the request cannot be used; @why says it in a sentence */
};

/* @argv: the templates that exec would run, NULL-terminated, not kept; NULL: there are none. @http:
 * what http would send, likewise, and shown when there is no @argv; secrets are masked, and their
 * files not read. A request for which they cannot be expanded ends as it would there. @why as for
 * exec_new(). */
MUST_CHECK int dry_run_new(Action **actionp, Loop *loop, Log *log, const char *const *argv,
                           const HttpOptions *http, Buffer *why);
