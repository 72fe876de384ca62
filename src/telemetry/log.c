/*
 * Two locks' worth of work with one lock, which nobody holds for longer than a copy:
 *
 *   callers      format a line on their stack, then copy it into the ring under the lock
 *   the thread   copies whole lines from the ring to its stage, gives their room back under the
 *                lock, and writes the stage without it
 *
 * A line in the ring has an Entry before it. Positions only grow; their place in the ring is the
 * remainder. [head, tail) belongs to the thread, which reads it without the lock; the rest to the
 * callers.
 *
 * Lines that were dropped for want of room are counted in `untold`, which moves into the Entry of
 * the next line that fits, so that the thread tells of them in the right place; what the descriptor
 * refused it adds itself. So the sum of what is told and of what is still to be told is right, also
 * when the telling is refused.
 *
 * The Log belongs to log_free()'s caller until that gives up waiting (`abandoned`); then it belongs
 * to the thread.
 */

#include "telemetry/log.h"

#include <assert.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "telemetry/line.h"

typedef struct Entry {
        uint32_t size;    /* of the line behind it */
        uint32_t dropped; /* lines that are missing before it */
} Entry;

/* What goes into one write(): one long line at least, and the line that tells of drops. */
#define STAGE_MAX (2 * LINE_MAX_BYTES)

struct Log {
        int fd; /* our own; -1: there is nothing to write to */
        LineStyle style;
        _Atomic LogLevel level;
        atomic_uint_fast64_t dropped;
        char *instance;
        pthread_t thread;

        pthread_mutex_t lock;
        pthread_cond_t filled; /* the thread waits for lines, or for the end */
        pthread_cond_t ended;  /* log_free() waits for the thread; CLOCK_MONOTONIC */
        uint64_t head, tail;
        uint32_t untold;
        bool sleeping; /* the thread waits on `filled` */
        bool stop;     /* the thread ends when the ring is empty */
        bool done;     /* it has */
        bool abandoned;

        /* The thread's own. */
        struct {
                size_t size;
                size_t report; /* size of the line at its start that tells of `told`; 0: none */
                uint64_t told;
                uint64_t lost; /* dropped, and neither told nor being told */
                bool torn;     /* the last thing written is half a line */
                char data[STAGE_MAX];
        } stage;

        size_t capacity;
        char ring[];
};

static int64_t wall_us(void) {
        struct timespec ts;
        clock_gettime(CLOCK_REALTIME, &ts);
        return (int64_t)ts.tv_sec * 1000000 + ts.tv_nsec / 1000;
}

/* --- the ring --------------------------------------------------------------------------------- */

static void ring_put(Log *log, uint64_t position, const void *data, size_t size) {
        size_t at = position % log->capacity, first = log->capacity - at;
        if (first > size) {
                first = size;
        }
        memcpy(log->ring + at, data, first);
        memcpy(log->ring, (const char *)data + first, size - first);
}

static void ring_get(const Log *log, uint64_t position, void *data, size_t size) {
        size_t at = position % log->capacity, first = log->capacity - at;
        if (first > size) {
                first = size;
        }
        memcpy(data, log->ring + at, first);
        memcpy((char *)data + first, log->ring, size - first);
}

static void log_push(Log *log, const Line *line) {
        bool wake = false;
        pthread_mutex_lock(&log->lock);
        size_t used = (size_t)(log->tail - log->head);
        if (log->capacity - used < sizeof(Entry) + line->size) {
                log->untold++;
                atomic_fetch_add_explicit(&log->dropped, 1, memory_order_relaxed);
        } else {
                Entry entry = {.size = (uint32_t)line->size, .dropped = log->untold};
                ring_put(log, log->tail, &entry, sizeof(entry));
                ring_put(log, log->tail + sizeof(entry), line->data, line->size);
                log->tail += sizeof(entry) + line->size;
                log->untold = 0;
                wake = log->sleeping;
                log->sleeping = false;
        }
        pthread_mutex_unlock(&log->lock);
        if (wake) {
                pthread_cond_signal(&log->filled);
        }
}

/* --- the thread ------------------------------------------------------------------------------- */

/* Begins the stage with a line that tells of `lost`. */
static void stage_report(Log *log) {
        Line line;
        char message[128];
        int n = snprintf(message, sizeof(message),
                         "%" PRIu64 " %s dropped here: whoever reads the log was too slow or gone",
                         log->stage.lost, log->stage.lost == 1 ? "line was" : "lines were");
        line_format(&line, &log->style, wall_us(), LOG_WARNING, "log.dropped", FIELDS(), message,
                    (size_t)n, false);
        memcpy(log->stage.data + log->stage.size, line.data, line.size);
        log->stage.report = log->stage.size + line.size;
        log->stage.size += line.size;
        log->stage.told = log->stage.lost;
        log->stage.lost = 0;
}

/* Takes lines in [head, tail): as many as one write() of PIPE_BUF bytes holds, so that on a pipe
 * nobody else's output comes in between, but at least one. Returns the new head. */
static uint64_t stage_fill(Log *log, uint64_t head, uint64_t tail) {
        log->stage.size = 0;
        log->stage.report = 0;
        log->stage.told = 0;
        if (log->stage.torn) {
                log->stage.data[log->stage.size++] = '\n';
        }
        if (head == tail && log->stage.lost > 0) {
                stage_report(log);
        }
        for (bool first = true; head < tail; first = false) {
                Entry entry;
                ring_get(log, head, &entry, sizeof(entry));
                if (!first && (entry.dropped > 0 || log->stage.size + entry.size > PIPE_BUF)) {
                        break;
                }
                log->stage.lost += entry.dropped;
                if (log->stage.lost > 0) {
                        stage_report(log);
                }
                ring_get(log, head + sizeof(entry), log->stage.data + log->stage.size, entry.size);
                log->stage.size += entry.size;
                head += sizeof(entry) + entry.size;
        }
        return head;
}

/* How much of the stage was written. */
static size_t stage_write(Log *log) {
        size_t written = 0;
        while (written < log->stage.size) {
                ssize_t n = write(log->fd, log->stage.data + written, log->stage.size - written);
                if (n >= 0) {
                        written += (size_t)n;
                } else if (errno == EAGAIN) {
                        /* Whoever shares the open file made it non-blocking. */
                        struct pollfd wait = {.fd = log->fd, .events = POLLOUT};
                        (void)!poll(&wait, 1, -1);
                } else if (errno != EINTR) {
                        break;
                }
        }
        return written;
}

/* Counts what the descriptor refused. No second try: a full disk or a closed reader must not make
 * the thread spin, and the next line is the next try. */
static void stage_lose(Log *log, size_t written) {
        uint64_t lines = 0;
        for (size_t i = written; i < log->stage.size; i++) {
                lines += log->stage.data[i] == '\n';
        }
        if (log->stage.torn && written == 0) {
                lines--; /* the newline that was to end the torn line */
        }
        if (written < log->stage.report) {
                lines--; /* the report is none of the callers' lines */
                log->stage.lost += log->stage.told;
        }
        log->stage.lost += lines;
        atomic_fetch_add_explicit(&log->dropped, lines, memory_order_relaxed);
        if (written > 0) {
                log->stage.torn = log->stage.data[written - 1] != '\n';
        }
}

static void log_destroy(Log *log) {
        pthread_cond_destroy(&log->ended);
        pthread_cond_destroy(&log->filled);
        pthread_mutex_destroy(&log->lock);
        if (log->fd >= 0) {
                close(log->fd);
        }
        free(log->instance);
        free(log);
}

static void *log_thread(void *user) {
        Log *log = user;
        pthread_mutex_lock(&log->lock);
        while (!log->abandoned) {
                /* Drops are told as soon as there is room, even if nobody has more to say. */
                if (log->head == log->tail && log->untold == 0) {
                        if (log->stop) {
                                break;
                        }
                        log->sleeping = true;
                        pthread_cond_wait(&log->filled, &log->lock);
                        continue;
                }
                uint64_t head = log->head, tail = log->tail;
                if (head == tail) {
                        log->stage.lost += log->untold;
                        log->untold = 0;
                }
                pthread_mutex_unlock(&log->lock);
                head = stage_fill(log, head, tail);
                pthread_mutex_lock(&log->lock);
                log->head = head;
                pthread_mutex_unlock(&log->lock);
                size_t written = stage_write(log);
                if (written < log->stage.size) {
                        stage_lose(log, written);
                } else {
                        log->stage.torn = false;
                }
                pthread_mutex_lock(&log->lock);
        }
        log->done = true;
        bool abandoned = log->abandoned;
        pthread_cond_signal(&log->ended);
        pthread_mutex_unlock(&log->lock);
        if (abandoned) {
                log_destroy(log);
        }
        return NULL;
}

/* --- the callers ------------------------------------------------------------------------------ */

static bool wants_colours(int fd) {
        const char *no_color = getenv("NO_COLOR");
        return isatty(fd) && (no_color == NULL || *no_color == '\0');
}

static void make_locks(Log *log) {
        pthread_condattr_t attributes;
        pthread_mutex_init(&log->lock, NULL);
        pthread_cond_init(&log->filled, NULL);
        pthread_condattr_init(&attributes);
        pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
        pthread_cond_init(&log->ended, &attributes);
        pthread_condattr_destroy(&attributes);
}

int log_new(Log **logp, int fd, LogFormat format, LogLevel level, const char *instance,
            size_t capacity) {
        assert(capacity >= LOG_CAPACITY_MIN);
        Log *log = calloc(1, sizeof(*log) + capacity);
        if (log == NULL) {
                return error_origin(-ENOMEM);
        }
        log->level = level;
        log->capacity = capacity;
        log->style.json = format == LOG_JSON || (format == LOG_AUTO && !isatty(fd));
        log->style.colours = !log->style.json && wants_colours(fd);
        make_locks(log);
        /* A duplicate, so that a thread that outlives log_free() never writes into whatever got the
         * number of a descriptor that was closed meanwhile. */
        log->fd = fcntl(fd, F_DUPFD_CLOEXEC, 3);
        if (log->fd < 0 && errno != EBADF) {
                int r = error_origin(-errno);
                log_destroy(log);
                return r;
        }
        if (instance != NULL && *instance != '\0') {
                log->instance = strdup(instance);
                if (log->instance == NULL) {
                        log_destroy(log);
                        return error_origin(-ENOMEM);
                }
                log->style.instance = log->instance;
        }
        /* SIGPIPE among them: a reader that is gone must be an error here, not the end of ackd. */
        sigset_t all, before;
        sigfillset(&all);
        pthread_sigmask(SIG_SETMASK, &all, &before);
        int r = pthread_create(&log->thread, NULL, log_thread, log);
        pthread_sigmask(SIG_SETMASK, &before, NULL);
        if (r != 0) {
                log_destroy(log);
                return error_origin(-r);
        }
        pthread_setname_np(log->thread, "ackd-log");
        *logp = log;
        return 0;
}

void log_free(Log *log, int64_t limit_us) {
        if (log == NULL) {
                return;
        }
        struct timespec deadline;
        clock_gettime(CLOCK_MONOTONIC, &deadline);
        deadline.tv_sec += limit_us / 1000000;
        deadline.tv_nsec += limit_us % 1000000 * 1000;
        if (deadline.tv_nsec >= 1000000000) {
                deadline.tv_sec++;
                deadline.tv_nsec -= 1000000000;
        }
        pthread_mutex_lock(&log->lock);
        log->stop = true;
        pthread_cond_signal(&log->filled);
        while (!log->done &&
               pthread_cond_timedwait(&log->ended, &log->lock, &deadline) != ETIMEDOUT) {
        }
        bool done = log->done;
        log->abandoned = !done;
        pthread_t thread = log->thread;
        pthread_mutex_unlock(&log->lock);
        if (done) {
                pthread_join(thread, NULL);
                log_destroy(log);
        } else {
                /* It is stuck in write() and can't be made to leave it, so it keeps the Log and
                 * frees it should it ever return. The log is not ours any more. */
                pthread_detach(thread);
        }
}

void log_write(Log *log, LogLevel level, const char *event, const LogFields *fields,
               const char *format, ...) {
        if (!log_wants(log, level)) {
                return;
        }
        int saved = errno;
        char message[LOG_MESSAGE_MAX + 1];
        va_list ap;
        va_start(ap, format);
        int n = vsnprintf(message, sizeof(message), format, ap);
        va_end(ap);
        bool cut = n < 0 || n > LOG_MESSAGE_MAX;
        size_t size = n < 0 ? 0 : cut ? LOG_MESSAGE_MAX : (size_t)n;
        Line line;
        line_format(&line, &log->style, wall_us(), level, event, fields, message, size, cut);
        log_push(log, &line);
        errno = saved;
}

bool log_wants(const Log *log, LogLevel level) {
        return log != NULL && level >= atomic_load_explicit(&log->level, memory_order_relaxed);
}

void log_set_level(Log *log, LogLevel level) {
        atomic_store_explicit(&log->level, level, memory_order_relaxed);
}

uint64_t log_dropped(const Log *log) {
        return log != NULL ? atomic_load_explicit(&log->dropped, memory_order_relaxed) : 0;
}

static const char *const level_names[] = {
        [LOG_DEBUG] = "debug",
        [LOG_INFO] = "info",
        [LOG_WARNING] = "warning",
        [LOG_ERROR] = "error",
};

const char *log_level_name(LogLevel level) {
        return level_names[level];
}

int log_level_parse(const char *name) {
        for (size_t i = 0; i < sizeof(level_names) / sizeof(level_names[0]); i++) {
                if (strcmp(name, level_names[i]) == 0) {
                        return (int)i;
                }
        }
        return -1;
}
