#pragma once

/*
 * What a child gets: a session of its own, default signals, an empty signal mask, /dev/null as
 * stdin, one pipe as stdout and stderr, or one for each, no other descriptor, / as its directory,
 * and the daemon's environment without what is the daemon's alone.
 *
 * posix_spawn, since the cost of fork grows with the parent (88/s with 500 MB) and only a few
 * calls are allowed between fork and exec in a program with threads.
 */

#include <spawn.h>
#include <stdbool.h>
#include <sys/types.h>

#include "handlers/actions/action.h"
#include "util/buffer.h"

typedef struct Spawn {
        posix_spawnattr_t attributes;
        bool has_attributes;
        int null_fd;
        Buffer inherited;   /* NAME=value, a NUL behind each: copied, since environ can change */
        size_t n_inherited; /* how many */
        Buffer own;         /* ACKD_HOST and so on, of the newest request */
        char **environment; /* own, inherited, NULL */
} Spawn;

enum {
        SPAWN_E_REFUSED = 1, /* there is no process; *@errorp says why (errno) */
};

/* Negative errno; spawn_deinit() is allowed after a failure. */
MUST_CHECK int spawn_init(Spawn *spawn);
void spawn_deinit(Spawn *spawn);

/* Runs argv[0], an absolute path, there is no search. *@pidp leads a session and a process group
 * of this number. *@outputp: the pipe's end to read from, non-blocking, the caller's; *@errorsp:
 * that of stderr; NULL: it goes where stdout goes. 0, SPAWN_E_REFUSED, -ENOMEM. */
MUST_CHECK int spawn_start(Spawn *spawn, char *const *argv, const ActionRequest *request,
                           pid_t *pidp, int *outputp, int *errorsp, int *errorp);
