/*
 * A restart command that restarts nothing: restarter DIR HOST [ID]
 *
 * It appends "HOST ID TIME PID PARENT" to DIR/restarts and to the disk (TIME in µs since 1970; ID
 * "-" when there is none, and with "?" for what is no plain ASCII; PARENT is the daemon's pid, or
 * another one when it is dead already). Then it does what the host's name asks for, up to its first
 * hyphen:
 *
 *     exit3-…     exits with that status
 *     hold-…      waits until somebody writes to the FIFO DIR/HOST
 *     hang-…      runs for an hour
 *     stubborn-…  the same, and ignores TERM
 *     flood-…     writes 10 MB to stdout
 *
 * Any other name: it is done at once.
 */

#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static void die(const char *what) {
        perror(what);
        exit(99);
}

static bool record(int dir, const char *host, const char *id) {
        char line[2048];
        struct timespec now;
        int fd = openat(dir, "restarts", O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0644);
        int size;

        clock_gettime(CLOCK_REALTIME, &now);
        size = snprintf(line, sizeof(line), "%s %s %" PRId64 " %d %d\n", host, id,
                        (int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000, (int)getpid(),
                        (int)getppid());
        /* One write, so that lines of several processes never mix. */
        return fd >= 0 && write(fd, line, (size_t)size) == size && fdatasync(fd) == 0;
}

static void hold(int dir, const char *host) {
        int fd = openat(dir, host, O_RDONLY);
        char byte;

        if (fd < 0 || read(fd, &byte, 1) != 1) {
                die(host);
        }
}

static void flood(void) {
        static const char line[] = "all work and no play makes a dull log, and a long one it is\n";

        for (size_t written = 0; written < 10000000; written += sizeof(line) - 1) {
                if (fputs(line, stdout) < 0) {
                        die("stdout");
                }
        }
}

static bool named(const char *host, const char *word) {
        size_t size = strlen(word);

        return strncmp(host, word, size) == 0 && host[size] == '-';
}

int main(int argc, char **argv) {
        const char *host = argc > 2 ? argv[2] : NULL;
        int dir = argc > 1 ? open(argv[1], O_RDONLY | O_DIRECTORY) : -1;

        if (!host) {
                fprintf(stderr, "usage: restarter DIR HOST [ID]\n");
                return 64;
        }
        for (char *p = argc > 3 ? argv[3] : argv[0]; *p; p++) {
                *p = *p > ' ' && *p < 127 ? *p : '?';
        }
        if (named(host, "stubborn")) {
                signal(SIGTERM, SIG_IGN);
        }
        if (dir < 0 || !record(dir, host, argc > 3 && *argv[3] ? argv[3] : "-")) {
                die(argv[1]);
        }
        if (named(host, "hold")) {
                hold(dir, host);
        } else if (named(host, "hang") || named(host, "stubborn")) {
                for (unsigned left = 3600; left > 0;) {
                        left = sleep(left);
                }
        } else if (named(host, "flood")) {
                flood();
        } else if (strncmp(host, "exit", 4) == 0) {
                return atoi(host + 4);
        }
        return 0;
}
