#pragma once

/*
 * The client's side of the control socket (telemetry/control.h): where a daemon listens, and one
 * request with its answer. For commands: it blocks.
 */

#include <sys/types.h>

#include "config/config.h"
#include "util/buffer.h"
#include "util/error.h"

enum {
        CONTROL_E_ABSENT = 1, /* there is no such socket */
        CONTROL_E_REFUSED,    /* nobody listens at it any more */
        CONTROL_E_PERMISSION, /* it is not for this user */
        CONTROL_E_SILENT,     /* the process lives and does not answer */
        CONTROL_E_BROKEN,     /* it closed the connection before the answer was whole */
        CONTROL_E_OTHER,
};

/* Who holds the other end. */
typedef struct ControlPeer {
        pid_t pid;  /* 0: not known, or a process that this one cannot see (of a container) */
        char state; /* of /proc/PID/stat when it did not answer: 'T' is stopped; '\0': not asked */
} ControlPeer;

/*
 * Where the daemon of @config listens: control.socket, else INSTANCE.sock in $RUNTIME_DIRECTORY,
 * else in /run/ackd. @instance: another one's socket in the same directory; NULL: that of @config.
 * *@pathp is malloc'd. -ENOMEM.
 */
MUST_CHECK int control_socket_path(const Config *config, const char *instance, char **pathp);

/*
 * Sends @request, one line of JSON, and adds the whole answer to @answer, without its newline.
 * An answer that takes over 2 s to begin, or to go on, is CONTROL_E_SILENT. @peer NULL: nobody
 * asks. 0; -ENOMEM; positive: *@errorp is a malloc'd text for people of one or more lines, which
 * says what to do; what was added to @answer is taken back.
 */
MUST_CHECK int control_ask(const char *path, const char *request, Buffer *answer, ControlPeer *peer,
                           char **errorp);
