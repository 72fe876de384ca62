#include "handlers/actions/spawn.h"

#include <fcntl.h>
#include <fnmatch.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum {
        OWN_MAX = 3, /* variables of a request */
};

/* What a child must not see: what systemd gave the daemon alone (a child that answers NOTIFY_SOCKET
 * speaks for it), secrets, and our own names, which would be stale in a daemon started by ackd. */
static const char *const private_names[] = {
        "ACKD_ATTEMPT=*", "ACKD_HOST=*",     "ACKD_REQUEST_ID=*", "ACKD__*",
        "LISTEN_*",       "NOTIFY_SOCKET=*", "PG*PASSWORD=*",     "WATCHDOG_*",
};

static bool is_private(const char *variable) {
        for (size_t i = 0; i < sizeof(private_names) / sizeof(private_names[0]); i++) {
                if (fnmatch(private_names[i], variable, 0) == 0) {
                        return true;
                }
        }
        return false;
}

static int spawn_inherit(Spawn *spawn) {
        for (char **variable = environ; variable != NULL && *variable != NULL; variable++) {
                if (is_private(*variable)) {
                        continue;
                }
                int r = buffer_append(&spawn->inherited, *variable, strlen(*variable) + 1);
                if (r != 0) {
                        return r;
                }
                spawn->n_inherited++;
        }
        spawn->environment = calloc(OWN_MAX + spawn->n_inherited + 1, sizeof(char *));
        return spawn->environment == NULL ? error_origin(-ENOMEM) : 0;
}

static int spawn_set_attributes(Spawn *spawn) {
        sigset_t all, none;
        int r = posix_spawnattr_init(&spawn->attributes);
        if (r != 0) {
                return error_origin(-r);
        }
        spawn->has_attributes = true;
        sigfillset(&all);
        sigemptyset(&none);
        /* A session and not only a group: without a terminal ssh cannot ask for a password, and
         * nothing is stopped for reading it. exec resets handlers, but what is ignored stays so. */
        r = posix_spawnattr_setflags(&spawn->attributes, POSIX_SPAWN_SETSID |
                                                                 POSIX_SPAWN_SETSIGMASK |
                                                                 POSIX_SPAWN_SETSIGDEF);
        r = r != 0 ? r : posix_spawnattr_setsigmask(&spawn->attributes, &none);
        r = r != 0 ? r : posix_spawnattr_setsigdefault(&spawn->attributes, &all);
        return r != 0 ? error_origin(-r) : 0;
}

int spawn_init(Spawn *spawn) {
        *spawn = (Spawn){.null_fd = -1};
        int fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
        if (fd < 0) {
                return error_origin(-errno);
        }
        /* Never 0 to 2, which are written over in the child before it is used there. */
        spawn->null_fd = fcntl(fd, F_DUPFD_CLOEXEC, 3);
        int error = errno;
        close(fd);
        if (spawn->null_fd < 0) {
                return error_origin(-error);
        }
        int r = spawn_set_attributes(spawn);
        return r != 0 ? r : spawn_inherit(spawn);
}

void spawn_deinit(Spawn *spawn) {
        if (spawn->has_attributes) {
                posix_spawnattr_destroy(&spawn->attributes);
        }
        if (spawn->null_fd >= 0) {
                close(spawn->null_fd);
        }
        buffer_deinit(&spawn->inherited);
        buffer_deinit(&spawn->own);
        free(spawn->environment);
        *spawn = (Spawn){.null_fd = -1};
}

/* The request's variables, and behind them what is inherited. */
static int spawn_set_environment(Spawn *spawn, const ActionRequest *request) {
        size_t n = 0;
        buffer_clear(&spawn->own);
        int r = buffer_printf(&spawn->own, "ACKD_HOST=%s%cACKD_ATTEMPT=%d%c", request->host, '\0',
                              request->attempt, '\0');
        if (r == 0 && request->id != NULL) {
                r = buffer_printf(&spawn->own, "ACKD_REQUEST_ID=%s%c", request->id, '\0');
        }
        if (r != 0) {
                return r;
        }
        for (char *at = (char *)spawn->own.data, *end = at + spawn->own.size; at < end;
             at += strlen(at) + 1) {
                spawn->environment[n++] = at;
        }
        char *at = (char *)spawn->inherited.data;
        for (size_t i = 0; i < spawn->n_inherited; i++, at += strlen(at) + 1) {
                spawn->environment[n++] = at;
        }
        spawn->environment[n] = NULL;
        return 0;
}

/* The errno of what failed, 0: there is a child. */
static int spawn_child(Spawn *spawn, char *const *argv, int output, int errors, pid_t *pidp) {
        posix_spawn_file_actions_t actions;
        int r = posix_spawn_file_actions_init(&actions);
        if (r != 0) {
                return r;
        }
        /* stdin last: a pipe itself may have become 0 in a daemon that was started without. The
         * rest is closed by number: librdkafka's pipes and sockets lack CLOEXEC. */
        r = posix_spawn_file_actions_adddup2(&actions, output, STDOUT_FILENO);
        r = r != 0 ? r : posix_spawn_file_actions_adddup2(&actions, errors, STDERR_FILENO);
        r = r != 0 ? r : posix_spawn_file_actions_adddup2(&actions, spawn->null_fd, STDIN_FILENO);
        r = r != 0 ? r : posix_spawn_file_actions_addclosefrom_np(&actions, 3);
        r = r != 0 ? r : posix_spawn_file_actions_addchdir_np(&actions, "/");
        r = r != 0 ? r
                   : posix_spawn(pidp, argv[0], &actions, &spawn->attributes, argv,
                                 spawn->environment);
        posix_spawn_file_actions_destroy(&actions);
        return r;
}

/* A pipe, of which our end alone does not block: the child's writes must not fail. Its end to write
 * to is never below 3, or the other pipe's dup2 would write it over. errno, 0: it is there; what is
 * open of it is the caller's either way. */
static int pipe_open(int pipes[2]) {
        if (pipe2(pipes, O_CLOEXEC) != 0) {
                return errno;
        }
        if (fcntl(pipes[0], F_SETFL, O_NONBLOCK) != 0) {
                return errno;
        }
        if (pipes[1] < 3) {
                int moved = fcntl(pipes[1], F_DUPFD_CLOEXEC, 3);
                if (moved < 0) {
                        return errno;
                }
                close(pipes[1]);
                pipes[1] = moved;
        }
        return 0;
}

static void pipe_close(const int pipes[2]) {
        for (int i = 0; i < 2; i++) {
                if (pipes[i] >= 0) {
                        close(pipes[i]);
                }
        }
}

int spawn_start(Spawn *spawn, char *const *argv, const ActionRequest *request, pid_t *pidp,
                int *outputp, int *errorsp, int *errorp) {
        int output[2] = {-1, -1}, errors[2] = {-1, -1};
        pid_t pid = -1;
        int r = spawn_set_environment(spawn, request);
        if (r != 0) {
                return r;
        }
        int error = pipe_open(output);
        if (error == 0 && errorsp != NULL) {
                error = pipe_open(errors);
        }
        if (error == 0) {
                error = spawn_child(spawn, argv, output[1], errorsp != NULL ? errors[1] : output[1],
                                    &pid);
        }
        if (error != 0) {
                pipe_close(output);
                pipe_close(errors);
                *errorp = error;
                return SPAWN_E_REFUSED;
        }
        close(output[1]);
        *pidp = pid;
        *outputp = output[0];
        if (errorsp != NULL) {
                close(errors[1]);
                *errorsp = errors[0];
        }
        return 0;
}
