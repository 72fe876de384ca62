#pragma once

/*
 * The log: a ring and a writer thread.
 *
 * log_write() formats into the ring and returns; the writer thread alone touches the descriptor.
 * When the ring is full the line is dropped and counted, and the next line that fits is preceded by
 * one that says how many are missing. Nothing here ever blocks the caller, whatever reads the other
 * end.
 *
 * An event's name is stable (`partition.stopped`): scripts and alerts match it. The text is for
 * people and says what happens next. Log once, where a thing is handled.
 */

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "util/error.h"

typedef enum LogLevel {
        LOG_DEBUG,
        LOG_INFO,
        LOG_WARNING,
        LOG_ERROR,
} LogLevel;

typedef enum LogFormat {
        LOG_AUTO, /* text on a terminal, JSON otherwise */
        LOG_TEXT,
        LOG_JSON,
} LogFormat;

/* The facts of a line beside its text; what is not set is left out. Borrowed for the call. */
typedef struct LogFields {
        const char *topic;
        int32_t partition; /* -1: none */
        int64_t offset;    /* -1: none */
        const char *host;
        const char *handler;
        int attempt; /* 0: none */
        const char *outcome;
        const char *error;
} LogFields;

/* FIELDS(.topic = t, .partition = 3): a LogFields with the rest left out. FIELDS(): nothing set. */
#define FIELDS(...) (&(LogFields){.partition = -1, .offset = -1, __VA_ARGS__})

typedef struct Log Log;

#define LOG_CAPACITY_MIN ((size_t)64 * 1024)

/* Of the text of a line, in bytes; what is longer is cut, and ends with a mark. */
#define LOG_MESSAGE_MAX 4096

/*
 * Starts the writer thread on a duplicate of @fd, which stays the caller's; a closed one is allowed
 * (ackd 2>&-): every line is dropped then. It is made neither blocking nor non-blocking: the thread
 * may block. @instance is copied and stands in every line; NULL or empty: it is left
 * out. @capacity is the ring's size in bytes, at least LOG_CAPACITY_MIN. All signals are blocked in
 * the thread. Colours: text on a terminal, unless NO_COLOR is set (no-color.org). Negative errno.
 */
MUST_CHECK int log_new(Log **logp, int fd, LogFormat format, LogLevel level, const char *instance,
                       size_t capacity);

/* Writes what is left, for @limit_us at most, and ends the thread; what could not be written by
 * then is dropped with the ring. No other thread may use the log any more. NULL is
 * allowed. */
void log_free(Log *log, int64_t limit_us);

/* Any thread; never blocks; keeps errno. A level below the log's costs one comparison. @event is
 * at most 64 bytes. A NULL log is one that wants nothing. */
void log_write(Log *log, LogLevel level, const char *event, const LogFields *fields,
               const char *format, ...) __attribute__((format(printf, 5, 6)));

#define log_debug(log, event, fields, ...)                                                         \
        (log_wants((log), LOG_DEBUG) ? log_write((log), LOG_DEBUG, (event), (fields), __VA_ARGS__) \
                                     : (void)0)
#define log_info(log, event, fields, ...) log_write((log), LOG_INFO, (event), (fields), __VA_ARGS__)
#define log_warning(log, event, fields, ...)                                                       \
        log_write((log), LOG_WARNING, (event), (fields), __VA_ARGS__)
#define log_error(log, event, fields, ...)                                                         \
        log_write((log), LOG_ERROR, (event), (fields), __VA_ARGS__)

bool log_wants(const Log *log, LogLevel level);
void log_set_level(Log *log, LogLevel level);

/* Lines dropped so far: for want of room, or because the descriptor refused them. Any thread. */
uint64_t log_dropped(const Log *log);

/* "debug", "info", …; the reverse yields -1 for an unknown name. */
const char *log_level_name(LogLevel level);
int log_level_parse(const char *name);
