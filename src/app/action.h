#pragma once

/* The action that the configuration asks for, and its checks. */

#include "config/config.h"
#include "handlers/actions/action.h"
#include "handlers/checks.h"

enum {
        ACTION_E_CONFIG = 1, /* it cannot be made so; *@errorp: a malloc'd sentence, or NULL */
};

/* The caller owns *@actionp (ActionInterface.free). 0, ACTION_E_CONFIG, negative errno. */
MUST_CHECK int action_new(Action **actionp, Loop *loop, Log *log, const ConfigRestart *restart,
                          char **errorp);

/* The same for precheck and verify, of which each may be missing: see checks_has_precheck(). */
MUST_CHECK int action_new_checks(Checks **checksp, Loop *loop, Log *log,
                                 const ConfigRestart *restart, char **errorp);

/* Whether a template of the action, or of a check, names a field of the message, which must then
 * stay in memory. */
bool action_reads_payload(const ConfigRestart *restart);
