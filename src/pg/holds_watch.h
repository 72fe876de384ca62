#pragma once

/*
 * What a daemon knows of the holds in force: how many there are, and the news of each, which it
 * logs. Whether a host is held it never decides: that is the ledger's, at each claim.
 *
 * It reads the table at the start, whenever PostgreSQL is there again, at each notification (the
 * trigger of ledger.sql sends one with the commit of every change), and when the first of the holds
 * ends by itself. No polling: what was missed is found when the connection is back.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "pg/connection.h"
#include "telemetry/log.h"
#include "util/loop.h"
#include "util/reminder.h"

/* For PgOptions.channel. */
#define HOLDS_CHANNEL "ackd_holds"

enum {
        HOLDS_WATCHED_MAX = 200, /* what of so many becomes is logged; all are counted */
};

#define HOLDS_REMIND_US (INT64_C(3600) * 1000000)

/* One that was in force when they were read last. */
typedef struct WatchedHold {
        int64_t id;
        bool seen; /* in the answer that is read now */
        bool fuse;
        char *pattern, *who, *why; /* owned */
        char since[32], until[32]; /* RFC 3339; until "": no end */
} WatchedHold;

typedef struct HoldsWatch {
        Loop *loop;
        Log *log;
        PgPool *pool;
        const char *schema;
        /* One that was in force is not any more: its pattern, NULL for any; valid during the call.
         */
        void (*ended)(void *user, const char *pattern);
        void *user;
        int64_t remind_us; /* how often the log says that the fuse's hold is in force */
        size_t in_force;   /* as it was read last */
        PgOperation operation;
        bool asking;     /* the operation is under way */
        bool again;      /* ... and something happened since it was asked for */
        bool began;      /* holds_watch_start() */
        bool has_fuse;   /* a hold of the fuse is in force, since `fuse_since` */
        int64_t ends_us; /* so long after it was read the first one ends; -1: none does */
        char fuse_since[32];
        int64_t newest; /* holds.id, of all that there are; INT64_MAX: not known */
        size_t n_ended; /* in the answer that is read now */
        WatchedHold known[HOLDS_WATCHED_MAX];
        size_t n_known;
        LoopSoon soon;
        LoopTimer timer; /* the next one ends, or the question is asked again */
        LoopTimer reminder;
        Reminder said; /* why it cannot be read */
} HoldsWatch;

/* Strings are borrowed. */
void holds_watch_init(HoldsWatch *watch, Loop *loop, Log *log, const char *schema,
                      void (*ended)(void *user, const char *pattern), void *user);
/* The table is there: it is read now, and from now on. */
void holds_watch_start(HoldsWatch *watch, PgPool *pool);
/* Before the pool is freed. */
void holds_watch_stop(HoldsWatch *watch);

/* A notification came; @payload: whose. */
void holds_watch_notified(HoldsWatch *watch, const char *payload);
/* PostgreSQL is there again: notifications were missed. */
void holds_watch_up(HoldsWatch *watch);
