#include "app/control_client.h"

#include <dirent.h>
#include <fcntl.h>
#include <grp.h>
#include <poll.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

enum {
        WAIT_MS = 2000, /* for the answer to begin, and to go on */
        OTHERS_MAX = 8, /* sockets beside the one that is missing that are named */
        READ_BYTES = 65536,
        ANSWER_MAX = 64 * 1024 * 1024, /* no daemon of ours says more */
};

#define SUFFIX ".sock"

typedef struct Asking {
        const char *path;
        int fd;
        ControlPeer peer;
        Buffer why;
} Asking;

int control_socket_path(const Config *config, const char *instance, char **pathp) {
        const char *folder = getenv("RUNTIME_DIRECTORY");
        char *path = NULL;
        int n;
        if (config->control.socket[0] != '\0') {
                const char *slash = strrchr(config->control.socket, '/');
                n = instance == NULL ? asprintf(&path, "%s", config->control.socket)
                                     : asprintf(&path, "%.*s%s" SUFFIX,
                                                (int)(slash + 1 - config->control.socket),
                                                config->control.socket, instance);
        } else {
                /* systemd names several, with colons between them; the first is ours. */
                size_t size = folder != NULL ? strcspn(folder, ":") : 0;
                n = asprintf(&path, "%.*s/%s" SUFFIX, size > 0 ? (int)size : 9,
                             size > 0 ? folder : "/run/ackd",
                             instance != NULL ? instance : config->instance);
        }
        if (n < 0) {
                return error_origin(-ENOMEM);
        }
        *pathp = path;
        return 0;
}

/* --- what went wrong, and what helps ------------------------------------------------------ */

#define SAY(asking, ...)                                                                           \
        do {                                                                                       \
                if (buffer_printf(&(asking)->why, __VA_ARGS__) != 0) {                             \
                        return error_origin(-ENOMEM);                                              \
                }                                                                                  \
        } while (0)

/* The instances whose sockets lie beside it. */
static int say_others(Asking *asking) {
        char folder[sizeof(((struct sockaddr_un *)NULL)->sun_path)];
        snprintf(folder, sizeof(folder), "%s", asking->path);
        char *slash = strrchr(folder, '/');
        slash[slash == folder ? 1 : 0] = '\0';
        DIR *directory = opendir(folder);
        size_t n = 0;
        int r = 0;
        for (struct dirent *entry; r == 0 && directory != NULL && n < OTHERS_MAX &&
                                   (entry = readdir(directory)) != NULL;) {
                size_t size = strlen(entry->d_name);
                if (entry->d_name[0] != '.' && size > strlen(SUFFIX) &&
                    strcmp(entry->d_name + size - strlen(SUFFIX), SUFFIX) == 0) {
                        r = buffer_printf(&asking->why, "%s%.*s",
                                          n++ > 0 ? ", " : "\nIn the same directory are those of: ",
                                          (int)(size - strlen(SUFFIX)), entry->d_name);
                }
        }
        if (directory != NULL) {
                closedir(directory);
        }
        if (r == 0 && n > 0) {
                r = buffer_append_string(&asking->why, "; choose one with -i INSTANCE");
        }
        return r;
}

static int explain_absent(Asking *asking) {
        SAY(asking,
            "there is no control socket %s: is the daemon running? Or it runs without one "
            "(control.none in its log says why).\n"
            "Which socket is asked follows from the instance's name: -i INSTANCE names another "
            "one, -c FILE its configuration, and -o control.socket=PATH the socket itself.",
            asking->path);
        int r = say_others(asking);
        return r != 0 ? r : CONTROL_E_ABSENT;
}

static int explain_refused(Asking *asking) {
        SAY(asking,
            "nobody listens at the control socket %s: the daemon that made it has ended without "
            "its shutdown.\nThe next one of this instance replaces the file; start it "
            "(systemctl start ackd).",
            asking->path);
        int r = say_others(asking);
        return r != 0 ? r : CONTROL_E_REFUSED;
}

static int explain_permission(Asking *asking) {
        struct stat status;
        if (stat(asking->path, &status) != 0) {
                SAY(asking,
                    "the directory of the control socket %s is not for this user: ask as root "
                    "(sudo), or as the user of the daemon",
                    asking->path);
                return CONTROL_E_PERMISSION;
        }
        const struct passwd *user = getpwuid(status.st_uid);
        SAY(asking, "the control socket %s is for its user and group alone: ", asking->path);
        if (user != NULL) {
                SAY(asking, "user %s, ", user->pw_name);
        } else {
                SAY(asking, "user id %u, ", (unsigned)status.st_uid);
        }
        const struct group *group = getgrgid(status.st_gid);
        if (group != NULL) {
                SAY(asking,
                    "group %s.\nAsk as root (sudo), or join the group: "
                    "usermod -aG %s NAME, and log in again",
                    group->gr_name, group->gr_name);
        } else {
                SAY(asking, "group id %u.\nAsk as root (sudo)", (unsigned)status.st_gid);
        }
        return CONTROL_E_PERMISSION;
}

/* The letter in /proc/PID/stat behind the command's name, which may hold anything. */
static char process_state(pid_t pid) {
        char name[64], line[512];
        snprintf(name, sizeof(name), "/proc/%d/stat", (int)pid);
        FILE *file = fopen(name, "re");
        size_t n = file != NULL ? fread(line, 1, sizeof(line) - 1, file) : 0;
        if (file != NULL) {
                fclose(file);
        }
        line[n] = '\0';
        const char *end = strrchr(line, ')');
        return end != NULL && end[1] == ' ' ? end[2] : '\0';
}

static int explain_silent(Asking *asking) {
        int pid = (int)asking->peer.pid;
        asking->peer.state = pid > 0 ? process_state(asking->peer.pid) : '\0';
        SAY(asking, "the daemon at %s has not answered within %d s", asking->path, WAIT_MS / 1000);
        if (pid <= 0) {
                SAY(asking, "; it is stopped, or its loop stands (ps shows its state, T is "
                            "stopped: kill -CONT PID)");
        } else if (asking->peer.state == 'T' || asking->peer.state == 't') {
                SAY(asking, ": process %d is stopped (%s).\nLet it go on: kill -CONT %d", pid,
                    asking->peer.state == 't' ? "by a debugger" : "SIGSTOP, or Ctrl-Z", pid);
        } else if (asking->peer.state == 'Z' || asking->peer.state == 'X') {
                SAY(asking, ": process %d has ended, and its parent has not noticed", pid);
        } else if (asking->peer.state == 'D') {
                SAY(asking,
                    ": process %d hangs in the kernel (state D: a disk, a network file system).\n"
                    "What it waits for: cat /proc/%d/wchan; dmesg says what the kernel thinks",
                    pid, pid);
        } else {
                SAY(asking,
                    ": process %d lives (state %c). Too many clients ask it at once (ss -xp src %s "
                    "lists them), or its loop stands, and no message goes on: /livez and its log "
                    "tell.\n"
                    "If it stands, where: gdb -p %d -batch -ex 'thread apply all bt'. If it does "
                    "not come back, kill -ABRT %d ends it with a core dump for the report of the "
                    "bug, and its supervisor starts it again: what was not acknowledged is "
                    "delivered again",
                    pid, asking->peer.state != '\0' ? asking->peer.state : '?', asking->path, pid,
                    pid);
        }
        return CONTROL_E_SILENT;
}

static int explain_broken(Asking *asking) {
        SAY(asking,
            "the daemon at %s closed the connection before its answer was whole: it has just "
            "ended, or takes no more requests. Ask again; its log says what happened",
            asking->path);
        return CONTROL_E_BROKEN;
}

static int explain_other(Asking *asking, const char *what, int error) {
        SAY(asking, "the control socket %s: %s: %s", asking->path, what, strerror(error));
        return CONTROL_E_OTHER;
}

/* --- asking ------------------------------------------------------------------------------- */

static int ask_connect(Asking *asking) {
        struct sockaddr_un address = {.sun_family = AF_UNIX};
        const struct timeval limit = {.tv_sec = WAIT_MS / 1000};
        struct ucred credentials;
        socklen_t size = sizeof(credentials);
        if (strlen(asking->path) >= sizeof(address.sun_path)) {
                return explain_other(asking, "cannot be reached", ENAMETOOLONG);
        }
        strcpy(address.sun_path, asking->path);
        asking->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
        /* A connect blocks while the queue of a daemon that stands is full; this bounds it. */
        if (asking->fd < 0 ||
            setsockopt(asking->fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof(limit)) != 0) {
                return explain_other(asking, "socket", errno);
        }
        if (connect(asking->fd, (const struct sockaddr *)&address, sizeof(address)) != 0) {
                switch (errno) {
                case ENOENT:
                case ENOTDIR:
                        return explain_absent(asking);
                case ECONNREFUSED:
                        return explain_refused(asking);
                case EACCES:
                case EPERM:
                        return explain_permission(asking);
                case EAGAIN:
                        return explain_silent(asking);
                default:
                        return explain_other(asking, "connect", errno);
                }
        }
        if (getsockopt(asking->fd, SOL_SOCKET, SO_PEERCRED, &credentials, &size) == 0) {
                asking->peer.pid = credentials.pid;
        }
        return 0;
}

static int ask_send(Asking *asking, const char *request) {
        CLEANUP(buffer_deinit) Buffer line = BUFFER_INIT;
        int r = buffer_printf(&line, "%s\n", request);
        while (r == 0 && line.size > 0) {
                ssize_t n = send(asking->fd, line.data, line.size, MSG_NOSIGNAL);
                if (n >= 0) {
                        buffer_consume(&line, (size_t)n);
                } else if (errno == EPIPE || errno == ECONNRESET) {
                        break; /* it may have answered without waiting for the request */
                } else if (errno != EINTR) {
                        return errno == EAGAIN ? explain_silent(asking)
                                               : explain_other(asking, "send", errno);
                }
        }
        return r;
}

static int ask_receive(Asking *asking, Buffer *answer) {
        struct pollfd wait = {.fd = asking->fd, .events = POLLIN};
        size_t start = answer->size;
        for (;;) {
                int n = poll(&wait, 1, WAIT_MS);
                if (n < 0 && errno == EINTR) {
                        continue;
                }
                if (n <= 0) {
                        return n == 0 ? explain_silent(asking)
                                      : explain_other(asking, "poll", errno);
                }
                int r = buffer_reserve(answer, READ_BYTES);
                if (r != 0) {
                        return r;
                }
                ssize_t got = recv(asking->fd, answer->data + answer->size, READ_BYTES, 0);
                if (got < 0 && (errno == EINTR || errno == EAGAIN)) {
                        continue;
                }
                if (got <= 0) {
                        break;
                }
                answer->size += (size_t)got;
                if (answer->size - start > ANSWER_MAX) {
                        return explain_other(asking, "answer", EMSGSIZE);
                }
        }
        if (answer->size == start || answer->data[answer->size - 1] != '\n') {
                return explain_broken(asking);
        }
        answer->size--;
        return 0;
}

int control_ask(const char *path, const char *request, Buffer *answer, ControlPeer *peer,
                char **errorp) {
        Asking asking = {.path = path, .fd = -1};
        size_t start = answer->size;
        int r = ask_connect(&asking);
        r = r == 0 ? ask_send(&asking, request) : r;
        r = r == 0 ? ask_receive(&asking, answer) : r;
        if (r != 0) {
                answer->size = start;
        }
        if (r > 0) {
                const char *why = buffer_string(&asking.why);
                char *error = why != NULL ? strdup(why) : NULL;
                if (error != NULL) {
                        *errorp = error;
                } else {
                        r = error_origin(-ENOMEM);
                }
        }
        if (peer != NULL) {
                *peer = asking.peer;
        }
        if (asking.fd >= 0) {
                close(asking.fd);
        }
        buffer_deinit(&asking.why);
        return r;
}
