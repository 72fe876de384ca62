/*
 * A restart command that restarts nothing: restarter DIR HOST [ID [NOTE [MS [STATUS]]]]
 *
 * It appends "HOST ID TIME PID PARENT BOOTTIME FORKED NOTE" to DIR/restarts and to the disk (TIME
 * in µs since 1970; ID "-" when there is none, and with "?" for what is no plain ASCII; PARENT is
 * the daemon's pid, or another one when it is dead already; BOOTTIME in µs of CLOCK_BOOTTIME, and
 * FORKED of the same clock: when the kernel made the process, to its tick of 10 ms). With MS it
 * runs so many milliseconds, appends a like line to DIR/ends and exits with STATUS. Otherwise it
 * does what the host's name asks for, up to its first hyphen:
 *
 *     exit3-…     exits with that status
 *     hold-…      waits until somebody writes to the FIFO DIR/HOST
 *     hang-…      runs for an hour
 *     stubborn-…  the same, and ignores TERM
 *     late-…      the same, and exits with 0 on TERM
 *     mute-…      the same, with stdout and stderr closed
 *     crowd-…     the same, with four children that ignore TERM
 *     stopped-…   stops itself, as with SIGSTOP
 *     crash-…     ends by SIGSEGV
 *     closed-…    closes stdout and stderr, and is done
 *     flood-…     writes 10 MB to stdout
 *     endless-…   writes to stdout as long as somebody reads
 *     orphan-…    is done, and leaves a child that holds stdout and ignores TERM
 *     escape-…    is done, and leaves a child in a session of its own that writes to stdout as long
 * as somebody reads
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
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

static void die(const char *what) {
        perror(what);
        exit(99);
}

static int64_t clock_us(clockid_t clock) {
        struct timespec now;

        clock_gettime(clock, &now);
        return (int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000;
}

/* The 22nd field of /proc/self/stat; the second one is a name, which may have blanks. */
static int64_t forked_us(void) {
        char text[1024];
        int fd = open("/proc/self/stat", O_RDONLY | O_CLOEXEC);
        ssize_t size = fd >= 0 ? read(fd, text, sizeof(text) - 1) : -1;
        char *at;

        if (size < 0) {
                die("/proc/self/stat");
        }
        close(fd);
        text[size] = '\0';
        at = strrchr(text, ')');
        for (int field = 2; at && field < 22; field++) {
                at = strchr(at + 1, ' ');
        }
        return at ? strtoll(at, NULL, 10) * (1000000 / sysconf(_SC_CLK_TCK)) : -1;
}

static bool record(int dir, const char *file, const char *host, const char *id, const char *note) {
        char line[2048];
        int fd = openat(dir, file, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0644);
        int size =
                snprintf(line, sizeof(line), "%s %s %" PRId64 " %d %d %" PRId64 " %" PRId64 " %s\n",
                         host, id, clock_us(CLOCK_REALTIME), (int)getpid(), (int)getppid(),
                         clock_us(CLOCK_BOOTTIME), forked_us(), note);

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

static void hang(void) {
        for (unsigned left = 3600; left > 0;) {
                left = sleep(left);
        }
}

/* Until SIGPIPE. */
static void write_for_ever(unsigned pause_us) {
        static char page[4096];

        memset(page, 'x', sizeof(page));
        while (write(STDOUT_FILENO, page, sizeof(page)) > 0) {
                usleep(pause_us);
        }
        _exit(0);
}

static void on_term(int number) {
        (void)number;
        _exit(0);
}

static void leave_children(int count, void (*live)(void)) {
        for (int i = 0; i < count; i++) {
                pid_t pid = fork();

                if (pid < 0) {
                        die("fork");
                }
                if (pid == 0) {
                        live();
                        _exit(0);
                }
        }
}

static void ignore_and_hang(void) {
        signal(SIGTERM, SIG_IGN);
        hang();
}

static void escape(void) {
        setsid();
        write_for_ever(1000);
}

static void crash(void) {
        const struct rlimit no_core = {0, 0};

        setrlimit(RLIMIT_CORE, &no_core);
        raise(SIGSEGV);
}

static void close_output(void) {
        close(STDOUT_FILENO);
        close(STDERR_FILENO);
}

static bool named(const char *host, const char *word) {
        size_t size = strlen(word);

        return strncmp(host, word, size) == 0 && host[size] == '-';
}

/* The exit status. */
static int behave(int dir, const char *host) {
        if (named(host, "mute") || named(host, "closed")) {
                close_output();
        }
        if (named(host, "crowd")) {
                leave_children(4, ignore_and_hang);
        }
        if (named(host, "hold")) {
                hold(dir, host);
        } else if (named(host, "hang") || named(host, "stubborn") || named(host, "late") ||
                   named(host, "mute") || named(host, "crowd")) {
                hang();
        } else if (named(host, "stopped")) {
                raise(SIGSTOP);
        } else if (named(host, "crash")) {
                crash();
        } else if (named(host, "flood")) {
                flood();
        } else if (named(host, "endless")) {
                write_for_ever(0);
        } else if (named(host, "orphan")) {
                leave_children(1, ignore_and_hang);
        } else if (named(host, "escape")) {
                leave_children(1, escape);
        } else if (strncmp(host, "exit", 4) == 0) {
                return atoi(host + 4);
        }
        return 0;
}

/* As a number of milliseconds says. */
static int run_for(int dir, char **argv, int argc) {
        int64_t ms = strtoll(argv[5], NULL, 10);
        struct timespec time = {.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000};

        while (nanosleep(&time, &time) != 0) {
        }
        if (!record(dir, "ends", argv[2], argv[3], argv[4])) {
                die(argv[1]);
        }
        return argc > 6 ? atoi(argv[6]) : 0;
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
        } else if (named(host, "late")) {
                signal(SIGTERM, on_term);
        }
        if (dir < 0 || !record(dir, "restarts", host, argc > 3 && *argv[3] ? argv[3] : "-",
                               argc > 4 ? argv[4] : "-")) {
                die(argv[1]);
        }
        return argc > 5 ? run_for(dir, argv, argc) : behave(dir, host);
}
