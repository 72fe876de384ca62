#pragma once

/* What the sessions of a stress run share: the messages, who works on which, the journal, figures.
 */

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "journal.h"

enum {
        HOST_NAME_SIZE = 32,
        HISTORY = 40, /* messages that may be repeated */
};

/* A message lives until it is resolved; then its place gets a new one. */
typedef struct Message {
        int64_t offset;
        int host;
        unsigned request;     /* 0: none */
        int64_t requested_us; /* µs since 1970; -1: none */
        int64_t received_us;
        int attempt;
        uint64_t numbered_by; /* the incarnation that knows the attempt; others begin at 1 */
        bool taken;
        int64_t not_before_us; /* CLOCK_BOOTTIME */
} Message;

typedef enum Figure {
        FIGURE_STARTS,
        FIGURE_RENEWED,
        FIGURE_LOST,
        FIGURE_OUTAGES,
        FIGURE_KILLED,
        FIGURE_DIED_IN_CLAIM,
        FIGURE_DIED_GRANTED,
        FIGURE_DIED_RUNNING,
        FIGURE_DIED_ACTED,
        FIGURE_TOO_LATE,
        FIGURE_DONE,
        FIGURE_FAILED,
        FIGURE_NOT_STARTED,
        FIGURE_UNKNOWN,
        FIGURE_VERIFIED_LATER,
        FIGURE_RESOLVED_UNKNOWN,
        FIGURE_SHARED,
        FIGURE_SUPPRESSED,
        FIGURE_REJECTED,
        FIGURE_WAITS,
        FIGURE_FUSE,
        FIGURE_HOLDS,
        FIGURE_WRONG, /* answers that may not be */
        FIGURE_COUNT,
} Figure;

typedef struct World {
        JournalRules rules;
        uint64_t seed;
        char dsn[512]; /* through the proxy */
        Journal journal;
        atomic_bool stop;
        atomic_uint figures[FIGURE_COUNT];
        atomic_uint reasons[LEDGER_REASON_COUNT]; /* of waits, suppressions and rejections */
        atomic_ullong incarnations;
        pthread_mutex_t mutex; /* of what follows */
        Message *messages;
        size_t n_messages;
        int64_t next_offset;
        int hosts[HISTORY]; /* of the last messages, by their offset */
        uint64_t random;
} World;

static inline void world_count(World *world, Figure figure) {
        atomic_fetch_add(&world->figures[figure], 1);
}

void world_host_name(int host, char name[HOST_NAME_SIZE]);

/* Ends the program when there is no memory. */
void world_init(World *world, size_t n_messages);
void world_deinit(World *world);

/* Takes up to @max messages that are due, of @host alone unless it is -1; returns how many. */
size_t world_take(World *world, int host, Message **messages, size_t max);
/* Lets go of one, to be taken again after @delay_us. */
void world_release(World *world, Message *message, int64_t delay_us);
/* It is resolved; a new one takes its place. */
void world_resolve(World *world, Message *message);

/* A session: its thread's function; @user is a SessionArguments, which it frees. */
typedef struct SessionArguments {
        World *world;
        int index;
} SessionArguments;
void *session_run(void *user);
