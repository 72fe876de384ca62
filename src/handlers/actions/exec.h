#pragma once

/*
 * The action `exec`: a command a request, without a shell.
 *
 * The outcome follows the exit status by the tables of the configuration; a status in none of them
 * is `failed`. What was timed out, killed or lost is `unknown`, unless the command ended with a
 * status of `done` all the same: then it is done, late. What could not be spawned had no effect:
 * `not_started`, charged to nobody.
 *
 * A command is the leader of a session of its own. When it ends, what is left of its process group
 * is killed: an action that should outlive its command must leave the group (setsid, systemd-run,
 * a job on the other host).
 */

#include "handlers/actions/action.h"
#include "util/buffer.h"

typedef struct ExecStatus {
        const int *values; /* 0 to 255 */
        size_t n;
} ExecStatus;

/* Copied: nothing is borrowed after exec_new(). */
typedef struct ExecOptions {
        const char *const *argv; /* templates, NULL-terminated; the first is an absolute path */
        int64_t timeout_us;      /* then TERM to the group */
        int64_t kill_after_us;   /* after TERM, then KILL */
        ExecStatus done;
        ExecStatus not_started;
        ExecStatus unknown;
        size_t output_bytes; /* kept of stdout and stderr: the first half and the last */
        bool errors_apart;   /* stderr is no part of the output: see ActionResult.errors */
} ExecOptions;

enum {
        EXEC_E_TEMPLATE = 1, /* argv cannot be used; @why says it in a sentence */
};

/*
 * @why gets a sentence for people with EXEC_E_TEMPLATE; NULL: not wanted. An inherited "ignore" of
 * SIGCHLD is set back for the process, or every exit status would be lost. Negative errno.
 */
MUST_CHECK int exec_new(Action **actionp, Loop *loop, Log *log, const ExecOptions *options,
                        Buffer *why);
