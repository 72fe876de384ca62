/*
 * `given` and `ended` count pages: the newest one handed over, and the newest one that the thread
 * is done with. Everything below `lock` is guarded by it; the thread writes the file without it,
 * from `own`, which nobody else touches.
 */

#include "telemetry/textfile.h"

#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

struct Textfile {
        char *path;
        char *temporary;
        pthread_t thread;
        Buffer own;         /* the thread's, as is what follows: what it writes */
        struct stat before; /* the file that it wrote last */
        bool wrote;         /* there is one */
        bool crowded;       /* another writes to this path as well: said */

        pthread_mutex_t lock;
        pthread_cond_t changed; /* CLOCK_MONOTONIC */
        Log *log;
        Buffer newest;
        uint64_t given, ended;
        bool busy;   /* the thread is at the disk */
        bool failed; /* the last try */
        bool stop;   /* when the thread is busy, it owns the Textfile from now on */
};

/* 0, or an errno. */
static int write_all(int fd, const Buffer *page) {
        size_t written = 0;
        while (written < page->size) {
                ssize_t n = write(fd, page->data + written, page->size - written);
                if (n >= 0) {
                        written += (size_t)n;
                } else if (errno != EINTR) {
                        return errno;
                }
        }
        return 0;
}

/* Whether what lies there is not what was put there last. The number of a file can be used again,
 * its time tells then. */
static bool is_replaced(const char *path, const struct stat *before) {
        struct stat now;
        return stat(path, &now) == 0 &&
               (now.st_ino != before->st_ino || now.st_dev != before->st_dev ||
                now.st_mtim.tv_sec != before->st_mtim.tv_sec ||
                now.st_mtim.tv_nsec != before->st_mtim.tv_nsec);
}

static int write_file(const char *path, const char *temporary, const Buffer *page,
                      struct stat *written) {
        /* EXCL: never through a link that somebody put there. A leftover of a crash goes first. */
        if (unlink(temporary) < 0 && errno != ENOENT) {
                return errno;
        }
        int fd = open(temporary, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
        if (fd < 0) {
                return errno;
        }
        int error = write_all(fd, page);
        if (error == 0 && fstat(fd, written) < 0) {
                error = errno;
        }
        /* Some file systems tell of a full disk only here. */
        if (close(fd) < 0 && error == 0) {
                error = errno;
        }
        if (error == 0 && rename(temporary, path) < 0) {
                error = errno;
        }
        if (error != 0) {
                unlink(temporary);
        }
        return error;
}

static void textfile_destroy(Textfile *file) {
        pthread_cond_destroy(&file->changed);
        pthread_mutex_destroy(&file->lock);
        buffer_deinit(&file->own);
        buffer_deinit(&file->newest);
        free(file->path);
        free(file->temporary);
        free(file);
}

/* A failure is told once, until it works again. */
static void tell(Textfile *file, int error) {
        if (error != 0 && !file->failed) {
                log_warning(file->log, "metrics.textfile_failed", FIELDS(.error = strerror(error)),
                            "the metrics cannot be written to %s; trying again with every page",
                            file->path);
        } else if (error == 0 && file->failed) {
                log_info(file->log, "metrics.textfile_works", FIELDS(),
                         "the metrics are written to %s again", file->path);
        }
        file->failed = error != 0;
}

/* Once: two daemons with one path take turns, and every counter leaps to and fro. */
static void tell_crowded(Textfile *file) {
        log_warning(file->log, "metrics.textfile_crowded", FIELDS(),
                    "somebody else writes to %s as well, so its metrics are those of now one and "
                    "now the other; give each daemon a metrics.textfile of its own",
                    file->path);
}

static void *textfile_thread(void *user) {
        Textfile *file = user;
        pthread_mutex_lock(&file->lock);
        while (!file->stop) {
                if (file->given == file->ended) {
                        pthread_cond_wait(&file->changed, &file->lock);
                        continue;
                }
                Buffer taken = file->newest;
                file->newest = file->own;
                file->own = taken;
                uint64_t number = file->given;
                file->busy = true;
                pthread_mutex_unlock(&file->lock);
                bool crowded = file->wrote && is_replaced(file->path, &file->before);
                int error = write_file(file->path, file->temporary, &file->own, &file->before);
                pthread_mutex_lock(&file->lock);
                file->busy = false;
                if (file->stop) {
                        /* Left behind: the log may be gone by now. */
                        pthread_mutex_unlock(&file->lock);
                        textfile_destroy(file);
                        return NULL;
                }
                tell(file, error);
                file->wrote = error == 0;
                if (crowded && !file->crowded) {
                        file->crowded = true;
                        tell_crowded(file);
                }
                file->ended = number;
                pthread_cond_broadcast(&file->changed);
        }
        pthread_mutex_unlock(&file->lock);
        return NULL;
}

static int make_paths(Textfile *file, const char *path) {
        file->path = strdup(path);
        if (file->path == NULL || asprintf(&file->temporary, "%s.tmp", path) < 0) {
                file->temporary = NULL;
                return error_origin(-ENOMEM);
        }
        return 0;
}

int textfile_new(Textfile **filep, const char *path, Log *log) {
        Textfile *file = calloc(1, sizeof(*file));
        if (file == NULL) {
                return error_origin(-ENOMEM);
        }
        pthread_condattr_t attributes;
        pthread_mutex_init(&file->lock, NULL);
        pthread_condattr_init(&attributes);
        pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
        pthread_cond_init(&file->changed, &attributes);
        pthread_condattr_destroy(&attributes);
        file->log = log;
        int r = make_paths(file, path);
        if (r == 0) {
                sigset_t all, before;
                sigfillset(&all);
                pthread_sigmask(SIG_SETMASK, &all, &before);
                r = -pthread_create(&file->thread, NULL, textfile_thread, file);
                pthread_sigmask(SIG_SETMASK, &before, NULL);
                if (r != 0) {
                        r = error_origin(r);
                }
        }
        if (r != 0) {
                textfile_destroy(file);
                return r;
        }
        pthread_setname_np(file->thread, "ackd-textfile");
        *filep = file;
        return 0;
}

void textfile_free(Textfile *file) {
        if (file == NULL) {
                return;
        }
        pthread_mutex_lock(&file->lock);
        file->stop = true;
        bool busy = file->busy;
        pthread_t thread = file->thread;
        pthread_cond_broadcast(&file->changed);
        pthread_mutex_unlock(&file->lock);
        if (busy) {
                pthread_detach(thread);
        } else {
                pthread_join(thread, NULL);
                textfile_destroy(file);
        }
}

void textfile_write(Textfile *file, Buffer *page) {
        pthread_mutex_lock(&file->lock);
        Buffer before = file->newest;
        file->newest = *page;
        *page = before;
        file->given++;
        pthread_cond_broadcast(&file->changed);
        pthread_mutex_unlock(&file->lock);
        buffer_clear(page);
}

bool textfile_flush(Textfile *file, int64_t limit_us) {
        struct timespec deadline;
        clock_gettime(CLOCK_MONOTONIC, &deadline);
        deadline.tv_sec += limit_us / 1000000;
        deadline.tv_nsec += limit_us % 1000000 * 1000;
        if (deadline.tv_nsec >= 1000000000) {
                deadline.tv_sec++;
                deadline.tv_nsec -= 1000000000;
        }
        pthread_mutex_lock(&file->lock);
        uint64_t number = file->given;
        while (file->ended < number &&
               pthread_cond_timedwait(&file->changed, &file->lock, &deadline) != ETIMEDOUT) {
        }
        bool written = file->ended >= number && !file->failed;
        pthread_mutex_unlock(&file->lock);
        return written;
}
