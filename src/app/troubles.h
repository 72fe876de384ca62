#pragma once

/*
 * What is wrong now, and the command that helps: derived from what the parts know of themselves,
 * for a person who was paged at 3 a.m. Words are stable (docs/status.md lists them).
 *
 * Pure: everything goes in, nothing is asked. What a trouble names (hosts, patterns, files) is
 * quoted for a shell.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "config/config.h"
#include "core/engine.h"
#include "kafka/consumer.h"
#include "pg/connection.h"
#include "pg/holds_watch.h"
#include "pg/psql.h"
#include "pg/rejected_counts.h"
#include "pg/schema.h"
#include "util/buffer.h"

enum {
        TROUBLE_PINNED_US = 60 * 1000000, /* the oldest message is older, and others wait for it */
        TROUBLE_PINNED_MAX = 10,          /* partitions that are told one by one */
        TROUBLE_RUN_US = 60 * 1000000,    /* a restart that runs for longer */
        TROUBLE_RUNS_MAX = 10,            /* those that are told one by one */
        TROUBLE_HOLDS_MAX = 20,           /* holds, likewise */
        TROUBLE_RECENT_US = 10 * 60 * 1000000 /* how long a slow callback is told */
};

#define TROUBLE_FORGOTTEN_US (INT64_C(24) * 3600 * 1000000) /* a hold that is older */

typedef struct TroubleSlow {
        const char *callback;
        uint64_t count;
        int64_t longest_us, last_us; /* last: as `now_us` */
} TroubleSlow;

/* All borrowed for the call. Times are loop_now(), and 0 where a thing is not so. */
typedef struct TroubleFacts {
        const Config *config;
        int64_t now_us, wall_us;
        bool stopping; /* the shutdown has begun: what it closes is no trouble */
        const Engine *engine;
        const ConsumerTrouble *const *kafka; /* NULL-terminated; NULL: none */
        PgPoolStatus postgres;
        PgPlace place;          /* of postgres.dsn */
        SchemaEnd schema;       /* as it was looked at last; SCHEMA_OK also before */
        const char *schema_why; /* its sentence */
        int64_t schema_us;
        const WatchedHold *holds;
        size_t n_holds, n_in_force;
        const RejectedCounts *rejected; /* NULL: not known */
        int64_t intake_us;              /* since when the intake stands still */
        const TroubleSlow *slow;
        size_t n_slow;
        uint64_t log_dropped;                      /* lines, in the last TROUBLE_RECENT_US */
        pid_t (*pid)(void *user, uint64_t run_id); /* of a restart; 0: none; NULL: nobody knows */
        void *user;
} TroubleFacts;

typedef struct Trouble {
        const char *word;                 /* static */
        bool error;                       /* otherwise a warning */
        int64_t since_us;                 /* loop_now(); 0: not known */
        Buffer where, text, remedy, note; /* empty: nothing */
} Trouble;

typedef struct Troubles {
        Trouble *items; /* errors first */
        size_t n, capacity;
        int error; /* -ENOMEM */
} Troubles;

/* {0} at first. -ENOMEM. */
MUST_CHECK int troubles_find(Troubles *troubles, const TroubleFacts *facts);
void troubles_deinit(Troubles *troubles);
