/*
 * A slot is free, reads a request, waits for its answer, or writes it:
 *
 *   FREE --accept--> READING --line, end of its side--> ASKED --control_answer()--> WRITING
 *     ^                 |                                 |                            |
 *     +-----------------+----------- deadline, error -----+----------------------------+
 *
 * When all slots are taken and one more client waits, the oldest that is READING makes way for it:
 * connections that ask for nothing must not make a healthy daemon look dead.
 *
 * While a client is ASKED its descriptor is not watched: the end of its side is no reason to drop
 * it (nc -N ends it behind the request), and one that is gone is noticed when it is written to.
 */

#include "telemetry/control.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "util/json.h"
#include "util/list.h"

enum {
        BACKLOG = 64,
        ACCEPT_AGAIN_US = 500 * 1000, /* after there were no descriptors */
        WRITE_A_TURN = 256 * 1024,    /* bytes; so that one callback stays short */
        LOCK_TRIES = 20,
        LOCK_WAIT_US = 10 * 1000,
        DRAIN_BYTES = 64 * 1024,
        DRAIN_TRIES = 4,
};

typedef enum ClientState {
        CLIENT_FREE,
        CLIENT_READING,
        CLIENT_ASKED,
        CLIENT_WRITING,
} ClientState;

struct ControlClient {
        Control *control;
        ClientState state;
        int fd;
        LoopIo io;
        LoopTimer timer;
        ControlAsker asker;
        int64_t since_us; /* its accept */
        size_t size;      /* of the request so far */
        char request[CONTROL_REQUEST_MAX];
        Buffer answer;
        size_t written;
};

struct Control {
        Loop *loop;
        Log *log;
        const char *path;
        ControlEvents events;
        void *user;
        int fd;
        dev_t device; /* of the socket's file, to remove none but this one */
        ino_t inode;
        LoopIo io;
        LoopTimer timer; /* accepts again */
        ControlClient clients[CONTROL_CLIENTS_MAX];
};

/* --- a client ----------------------------------------------------------------------------- */

static void accept_again(Control *control) {
        if (control->fd >= 0) {
                loop_io_start(&control->io, control->fd, LOOP_READ);
        }
}

static void client_close(ControlClient *client) {
        Control *control = client->control;
        bool asked = client->state == CLIENT_ASKED;
        if (client->state == CLIENT_FREE) {
                return;
        }
        client->state = CLIENT_FREE;
        loop_io_stop(&client->io);
        loop_timer_stop(&client->timer);
        /* What the client sent and nobody read would turn its answer into an error (unix(7)). */
        char rest[DRAIN_BYTES];
        for (int i = 0; i < DRAIN_TRIES &&
                        recv(client->fd, rest, sizeof(rest), MSG_DONTWAIT) == (ssize_t)sizeof(rest);
             i++) {
        }
        close(client->fd);
        client->fd = -1;
        buffer_deinit(&client->answer);
        client->answer = (Buffer){0};
        if (asked) {
                control->events.dropped(control->user, client);
        }
        accept_again(control);
}

static void client_write(ControlClient *client) {
        size_t most = WRITE_A_TURN;
        while (client->written < client->answer.size && most > 0) {
                size_t left = client->answer.size - client->written;
                ssize_t n = send(client->fd, client->answer.data + client->written,
                                 left < most ? left : most, MSG_NOSIGNAL | MSG_DONTWAIT);
                if (n < 0 && errno == EINTR) {
                        continue;
                }
                if (n < 0 && errno == EAGAIN) {
                        break;
                }
                if (n <= 0) {
                        client_close(client); /* gone: it did not wait for the rest */
                        return;
                }
                client->written += (size_t)n;
                most -= (size_t)n;
        }
        if (client->written == client->answer.size) {
                client_close(client);
                return;
        }
        loop_io_start(&client->io, client->fd, LOOP_WRITE);
        loop_io_want(&client->io, LOOP_WRITE);
}

void control_answer(ControlClient *client, Buffer *answer) {
        client->answer = *answer;
        *answer = (Buffer){0};
        client->written = 0;
        client->state = CLIENT_WRITING;
        client_write(client);
}

static void client_refuse(ControlClient *client, const char *error) {
        Buffer answer = BUFFER_INIT;
        int r = buffer_append_string(&answer, "{\"error\":");
        r = r == 0 ? json_append_string(&answer, error, strlen(error)) : r;
        r = r == 0 ? buffer_append_string(&answer, "}\n") : r;
        if (r != 0) {
                buffer_deinit(&answer);
                client_close(client);
                return;
        }
        control_answer(client, &answer);
}

static void client_ask(ControlClient *client, size_t size) {
        Control *control = client->control;
        loop_io_stop(&client->io);
        client->state = CLIENT_ASKED;
        control->events.asked(control->user, client, client->request, size);
}

static void client_read(ControlClient *client) {
        for (;;) {
                char *to = client->request + client->size;
                ssize_t n =
                        recv(client->fd, to, sizeof(client->request) - client->size, MSG_DONTWAIT);
                if (n < 0 && errno == EINTR) {
                        continue;
                }
                if (n < 0 && errno == EAGAIN) {
                        return;
                }
                if (n < 0 || (n == 0 && client->size == 0)) {
                        client_close(client); /* it only looked whether somebody listens */
                        return;
                }
                const char *end = n > 0 ? memchr(to, '\n', (size_t)n) : NULL;
                client->size += (size_t)n;
                if (n == 0 || end != NULL) {
                        client_ask(client,
                                   end != NULL ? (size_t)(end - client->request) : client->size);
                        return;
                }
                if (client->size == sizeof(client->request)) {
                        client_refuse(client, "the request is longer than 4096 bytes");
                        return;
                }
        }
}

static void on_client(LoopIo *io, int events) {
        ControlClient *client = container_of(io, ControlClient, io);
        (void)events;
        if (client->state == CLIENT_READING) {
                client_read(client);
        } else if (client->state == CLIENT_WRITING) {
                client_write(client);
        }
}

static void client_drop(ControlClient *client, const char *why) {
        log_debug(client->control->log, "control.dropped", FIELDS(),
                  "a client of the control socket (pid %d, %s) was given up: %s",
                  (int)client->asker.pid, client->asker.user, why);
        client_close(client);
}

static void on_deadline(LoopTimer *timer) {
        ControlClient *client = container_of(timer, ControlClient, timer);
        client_drop(client, client->state == CLIENT_READING ? "it sent no whole request within 5 s"
                            : client->state == CLIENT_WRITING
                                    ? "it did not read its answer within 5 s"
                                    : "its answer was not ready within 5 s");
}

/* --- accepting ---------------------------------------------------------------------------- */

static void client_begin(ControlClient *client, int fd) {
        struct ucred credentials = {0};
        socklen_t size = sizeof(credentials);
        client->fd = fd;
        client->state = CLIENT_READING;
        client->size = 0;
        client->since_us = loop_now();
        client->asker = (ControlAsker){0};
        if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &credentials, &size) == 0) {
                client->asker.pid = credentials.pid;
                client->asker.uid = credentials.uid;
                user_text(client->asker.user, credentials.uid);
        }
        loop_timer_set(&client->timer, CONTROL_DEADLINE_US);
        loop_io_start(&client->io, fd, LOOP_READ);
        client_read(client);
}

static ControlClient *client_free(Control *control) {
        for (size_t i = 0; i < CONTROL_CLIENTS_MAX; i++) {
                if (control->clients[i].state == CLIENT_FREE) {
                        return &control->clients[i];
                }
        }
        return NULL;
}

static ControlClient *client_oldest_reading(Control *control) {
        ControlClient *oldest = NULL;
        for (size_t i = 0; i < CONTROL_CLIENTS_MAX; i++) {
                ControlClient *client = &control->clients[i];
                if (client->state == CLIENT_READING &&
                    (oldest == NULL || client->since_us < oldest->since_us)) {
                        oldest = client;
                }
        }
        return oldest;
}

/* For one that waits in the queue: a free slot, or that of a client that asks for nothing. NULL:
 * none yet; a slot that is freed, or the timer, accepts again. */
static ControlClient *client_for_next(Control *control) {
        ControlClient *client = client_free(control);
        if (client != NULL) {
                return client;
        }
        client = client_oldest_reading(control);
        if (client == NULL) {
                return NULL;
        }
        int64_t left_us = client->since_us + CONTROL_IDLE_US - loop_now();
        if (left_us > 0) {
                loop_timer_set(&control->timer, left_us);
                return NULL;
        }
        client_drop(client, "it sent no whole request, and others wait");
        return client;
}

/* One a call: only then does one wait for whom a slot may be taken away. */
static void on_accept(LoopIo *io, int events) {
        Control *control = container_of(io, Control, io);
        ControlClient *client = client_for_next(control);
        (void)events;
        if (client == NULL) {
                loop_io_stop(&control->io);
                return;
        }
        int fd = accept4(control->fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
        if (fd >= 0) {
                client_begin(client, fd);
        } else if (errno != EAGAIN && errno != EINTR && errno != ECONNABORTED) {
                /* No descriptors: it would be called again at once, for ever. */
                loop_io_stop(&control->io);
                loop_timer_set(&control->timer, ACCEPT_AGAIN_US);
        }
}

static void on_accept_again(LoopTimer *timer) {
        accept_again(container_of(timer, Control, timer));
}

/* --- opening ------------------------------------------------------------------------------ */

__attribute__((format(printf, 3, 4))) static int refuse(char **errorp, int result,
                                                        const char *format, ...) {
        va_list ap;
        char *text = NULL;
        va_start(ap, format);
        int n = vasprintf(&text, format, ap);
        va_end(ap);
        if (n < 0) {
                return error_origin(-ENOMEM);
        }
        *errorp = text;
        return result;
}

/* Whether somebody listens at the socket: 0: nobody does. */
static int probe(const char *path, const struct sockaddr_un *address, char **errorp) {
        struct ucred credentials;
        socklen_t size = sizeof(credentials);
        int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
        if (fd < 0) {
                return error_origin(-errno);
        }
        int r = 0;
        if (connect(fd, (const struct sockaddr *)address, sizeof(*address)) == 0 &&
            getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &credentials, &size) == 0) {
                r = refuse(errorp, CONTROL_E_IN_USE,
                           "process %d already listens at the control socket %s: it is a daemon "
                           "of the same instance. End that one (kill -TERM %d), or give this one "
                           "another name (instance)",
                           (int)credentials.pid, path, (int)credentials.pid);
        } else if (errno != ECONNREFUSED && errno != ENOENT) {
                /* A full queue, no right to ask: it is somebody's. */
                r = refuse(errorp, CONTROL_E_IN_USE,
                           "another process' socket is at %s (connect: %s): end that one, or give "
                           "this instance another name",
                           path, strerror(errno));
        }
        close(fd);
        return r;
}

/* Makes way for the new socket: removes one that nobody listens at. */
static int clear(const char *path, const struct sockaddr_un *address, char **errorp) {
        struct stat status;
        if (lstat(path, &status) != 0) {
                return errno == ENOENT ? 0
                                       : refuse(errorp, CONTROL_E_PATH,
                                                "the control socket %s cannot be made: %s", path,
                                                strerror(errno));
        }
        if (!S_ISSOCK(status.st_mode)) {
                return refuse(errorp, CONTROL_E_PATH,
                              "the control socket %s cannot be made: a file that is no socket is "
                              "there; remove it, or name another path (control.socket)",
                              path);
        }
        int r = probe(path, address, errorp);
        if (r == 0 && unlink(path) != 0 && errno != ENOENT) {
                return refuse(errorp, CONTROL_E_PATH,
                              "the control socket %s of a process that has ended cannot be "
                              "replaced: %s",
                              path, strerror(errno));
        }
        return r;
}

/* The directory, locked so that of two that start at once neither removes the socket of the other:
 * no lock file that could stay behind. One that is locked for long is taken all the same. -1: it
 * cannot be opened. */
static int lock_folder(const char *path) {
        const char *slash = strrchr(path, '/');
        char folder[sizeof(((struct sockaddr_un *)NULL)->sun_path)];
        snprintf(folder, sizeof(folder), "%.*s", slash > path ? (int)(slash - path) : 1, path);
        int fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        const struct timespec wait = {.tv_nsec = LOCK_WAIT_US * 1000L};
        for (int i = 0; fd >= 0 && i < LOCK_TRIES && flock(fd, LOCK_EX | LOCK_NB) != 0; i++) {
                nanosleep(&wait, NULL);
        }
        return fd;
}

static int listen_at(Control *control, const struct sockaddr_un *address, char **errorp) {
        struct stat status;
        control->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
        if (control->fd < 0) {
                return error_origin(-errno);
        }
        /* The mode from the start: after a chmod it would be too late for who came before. */
        mode_t mask = umask(0117);
        int bound = bind(control->fd, (const struct sockaddr *)address, sizeof(*address));
        int error = errno;
        umask(mask);
        if (bound != 0 || listen(control->fd, BACKLOG) != 0) {
                error = bound != 0 ? error : errno;
                return refuse(errorp, CONTROL_E_PATH, "the control socket %s cannot be made: %s",
                              control->path, strerror(error));
        }
        if (lstat(control->path, &status) == 0) {
                control->device = status.st_dev;
                control->inode = status.st_ino;
        }
        return 0;
}

static int control_listen(Control *control, char **errorp) {
        struct sockaddr_un address = {.sun_family = AF_UNIX};
        if (strlen(control->path) >= sizeof(address.sun_path)) {
                return refuse(errorp, CONTROL_E_PATH,
                              "the control socket %s cannot be made: the path is longer than %zu "
                              "bytes; name a shorter one (control.socket)",
                              control->path, sizeof(address.sun_path) - 1);
        }
        strcpy(address.sun_path, control->path);
        int folder = lock_folder(control->path);
        int r = clear(control->path, &address, errorp);
        r = r == 0 ? listen_at(control, &address, errorp) : r;
        if (folder >= 0) {
                close(folder);
        }
        return r;
}

int control_new(Control **controlp, Loop *loop, Log *log, const char *path,
                const ControlEvents *events, void *user, char **errorp) {
        Control *control = calloc(1, sizeof(*control));
        if (control == NULL) {
                return error_origin(-ENOMEM);
        }
        *control = (Control){
                .loop = loop, .log = log, .path = path, .events = *events, .user = user, .fd = -1};
        loop_io_init(&control->io, loop, "control", on_accept);
        loop_timer_init(&control->timer, loop, "control.accept", on_accept_again);
        for (size_t i = 0; i < CONTROL_CLIENTS_MAX; i++) {
                ControlClient *client = &control->clients[i];
                client->control = control;
                client->fd = -1;
                loop_io_init(&client->io, loop, "control.client", on_client);
                loop_timer_init(&client->timer, loop, "control.deadline", on_deadline);
        }
        int r = control_listen(control, errorp);
        if (r != 0) {
                control_free(control);
                return r;
        }
        accept_again(control);
        *controlp = control;
        return 0;
}

void control_free(Control *control) {
        struct stat status;
        if (control == NULL) {
                return;
        }
        int fd = control->fd;
        control->fd = -1; /* nobody is accepted any more */
        loop_io_stop(&control->io);
        loop_timer_stop(&control->timer);
        for (size_t i = 0; i < CONTROL_CLIENTS_MAX; i++) {
                client_close(&control->clients[i]);
        }
        if (control->inode != 0 && lstat(control->path, &status) == 0 &&
            status.st_dev == control->device && status.st_ino == control->inode) {
                unlink(control->path);
        }
        if (fd >= 0) {
                close(fd);
        }
        free(control);
}

const ControlAsker *control_asker(const ControlClient *client) {
        return &client->asker;
}
