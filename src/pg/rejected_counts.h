#pragma once

/*
 * How many rows of `rejected` wait for somebody: for a person (neither replayed nor dropped) or for
 * the dead-letter topic. For the metrics and the status; nothing is decided by it.
 *
 * They are read at the start, every 15 s, and soon after rows were written here. Each count is one
 * look at a partial index and ends at REJECTED_COUNTED_MAX. One statement at a time, behind all
 * other work of the pool.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "pg/connection.h"
#include "telemetry/log.h"
#include "util/loop.h"
#include "util/reminder.h"

enum {
        REJECTED_COUNTED_MAX = 10000,
        REJECTED_ERROR_MAX = 256, /* bytes of RejectedCounts.outbox_error */
};

typedef struct RejectedCounts {
        size_t open;           /* neither replayed nor dropped */
        size_t unknown;        /* those of them whose reason is "unknown": a host to look at */
        size_t outbox_pending; /* not in the dead-letter topic yet */
        bool capped;           /* there is one that stopped at REJECTED_COUNTED_MAX: at least so
                                  many */
        int64_t as_of_us;      /* µs since 1970, when they were read; 0: never, all are 0 */
        char outbox_error[REJECTED_ERROR_MAX]; /* why a pending row could not be delivered the last
                                                  time, of the newest that could not; "": none */
} RejectedCounts;

typedef struct RejectedCounter {
        Loop *loop;
        Log *log;
        PgPool *pool;
        const char *schema;
        RejectedCounts counts;       /* as they were read last */
        void (*changed)(void *user); /* they were read */
        void *user;
        PgOperation operation;
        RejectedCounts reading; /* of the statement under way */
        bool asking;            /* it is under way */
        bool again;             /* ... and rows were written since it was asked for */
        bool soon;              /* the timer is set for such rows */
        bool began;
        LoopTimer timer;
        Reminder said; /* why they cannot be read */
} RejectedCounter;

/* Strings are borrowed. @changed: after each time that they were read, on the loop's thread; NULL
 * is allowed. */
void rejected_counter_init(RejectedCounter *counter, Loop *loop, Log *log, const char *schema,
                           void (*changed)(void *user), void *user);
/* The table is there: it is read now, and from now on. */
void rejected_counter_start(RejectedCounter *counter, PgPool *pool);
/* Before the pool is freed. */
void rejected_counter_stop(RejectedCounter *counter);

/* Rows were written, or PostgreSQL is there again: read within a second. */
void rejected_counter_wake(RejectedCounter *counter);
