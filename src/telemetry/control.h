#pragma once

/*
 * The control socket: a stream socket in the file system at which a daemon is asked.
 *
 * One request a connection: the client sends one line (or ends its side), is given one answer, and
 * the connection is closed. Nothing blocks: whatever the clients do or leave undone, each of them
 * has its slot for CONTROL_DEADLINE_US at most, and who comes while all slots are taken waits in
 * the kernel's queue, until one is free or has been taken for CONTROL_IDLE_US by a client that has
 * sent no whole request, which is closed. Whoever may open the file may ask; who it was is the
 * caller's to log.
 *
 * All on the loop's thread.
 */

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "telemetry/log.h"
#include "util/buffer.h"
#include "util/error.h"
#include "util/loop.h"
#include "util/user.h"

enum {
        CONTROL_CLIENTS_MAX = 16,
        CONTROL_REQUEST_MAX = 4096,        /* bytes of a request, with its newline */
        CONTROL_DEADLINE_US = 5 * 1000000, /* of a client, from its accept to its last byte */
        CONTROL_IDLE_US = 250 * 1000, /* without a whole request, while others wait for a slot */
};

typedef struct Control Control;
typedef struct ControlClient ControlClient;

/* Who asks, as the kernel says. */
typedef struct ControlAsker {
        pid_t pid; /* 0: of another pid namespace */
        uid_t uid;
        char user[USER_TEXT_MAX]; /* "user jo" */
} ControlAsker;

typedef struct ControlEvents {
        /* A request, without its newline; valid during the call, and not NUL-terminated. To be
         * answered once, with control_answer(), now or in a later turn. */
        void (*asked)(void *user, ControlClient *client, const char *request, size_t size);
        /* The client is gone before it was answered: its pointer is not valid any more. */
        void (*dropped)(void *user, ControlClient *client);
} ControlEvents;

enum {
        CONTROL_E_IN_USE = 1, /* a living process listens at this path */
        CONTROL_E_PATH = 2,   /* it cannot be made there: no such directory, no right, a file */
};

/*
 * Listens at @path (borrowed), mode 0660, group the process'. A socket that nobody listens at any
 * more is replaced. Before other threads make files: the umask is changed for a moment.
 * Positive: *@errorp is a malloc'd sentence.
 */
MUST_CHECK int control_new(Control **controlp, Loop *loop, Log *log, const char *path,
                           const ControlEvents *events, void *user, char **errorp);
/* Closes what there is, `dropped` is called; removes the socket if it is still its own. NULL is
 * allowed. */
void control_free(Control *control);

/* Valid as long as the client. */
const ControlAsker *control_asker(const ControlClient *client);

/* Takes what @answer holds, which is empty afterwards. It should end with a newline: that tells the
 * client that it is whole. The client's pointer is not valid any more. */
void control_answer(ControlClient *client, Buffer *answer);
