#pragma once

/* The engine driven by hand: what its tests share. */

#include "test.h"

#include <stdio.h>
#include <string.h>

#include "core/engine.h"

enum {
        SECOND = 1000000,
        TAKEN_MAX = 8192,
};

static const char *const all_hosts[] = {"*", NULL};
static const char *const bad_hosts[] = {"bad-*", NULL};

typedef struct World {
        EngineConfig config;
        Engine *engine;
        int64_t now;
        EngineAction taken[TAKEN_MAX];
        size_t n_taken;
        char finished[TAKEN_MAX]; /* a letter a message, in the order in which they ended */
} World;

static inline int setup(void **state) {
        static World world;
        world = (World){.now = 100 * SECOND};
        world.config = (EngineConfig){.format = {"host", "id", "requested_at"},
                                      .save = true,
                                      .restart = true,
                                      .allow = all_hosts,
                                      .deny = bad_hosts,
                                      .concurrency = 2,
                                      .in_flight = 100,
                                      .in_flight_bytes = 1 << 20,
                                      .message_bytes = 1 << 16,
                                      .waiting = 100,
                                      .ack_gap = 100,
                                      .batches = 1,
                                      .batch_rows = 10,
                                      .batch_bytes = 1 << 20,
                                      .attempts = 3,
                                      .backoff_us = SECOND,
                                      .backoff_max_us = 60 * SECOND,
                                      .commit_interval_us = SECOND,
                                      .drain_us = 5 * SECOND};
        *state = &world;
        return engine_new(&world.engine, &world.config, 1);
}

static inline int teardown(void **state) {
        World *world = *state;
        engine_free(world->engine);
        return 0;
}

/* In place of the one before. */
static inline void renew(World *world) {
        void *again = NULL;
        engine_free(world->engine);
        assert_int_equal(setup(&again), 0);
        assert_ptr_equal(again, world);
}

/* Takes every action; messages that ended are noted by a letter and freed. */
static inline void take(World *world) {
        static const char letters[FINISH_COUNT] = {[FINISH_ACCEPTED] = 'A',
                                                   [FINISH_REJECTED] = 'J',
                                                   [FINISH_RELEASED] = 'L',
                                                   [FINISH_DUPLICATE] = 'D',
                                                   [FINISH_TOMBSTONE] = 'T'};
        bool taken = true;
        world->n_taken = 0;
        while (taken) {
                EngineAction action;
                assert_int_equal(engine_next_action(world->engine, &action, &taken), 0);
                if (!taken) {
                        break;
                }
                assert_true(world->n_taken < TAKEN_MAX);
                world->taken[world->n_taken++] = action;
                if (action.type == ENGINE_FINISHED) {
                        size_t n = strlen(world->finished);
                        world->finished[n] = letters[action.finish];
                        message_free(action.message);
                }
        }
}

/* The only action of its type among those taken last. */
static inline EngineAction *only(World *world, EngineActionType type) {
        EngineAction *found = NULL;
        for (size_t i = 0; i < world->n_taken; i++) {
                if (world->taken[i].type == type) {
                        assert_null(found);
                        found = &world->taken[i];
                }
        }
        assert_non_null(found);
        return found;
}

static inline size_t count(const World *world, EngineActionType type) {
        size_t n = 0;
        for (size_t i = 0; i < world->n_taken; i++) {
                n += world->taken[i].type == type;
        }
        return n;
}

static inline void tick(World *world, int64_t us) {
        world->now += us;
        assert_int_equal(engine_tick(world->engine, world->now), 0);
        take(world);
}

static inline void commit_answer(World *world, bool seen, int64_t offset, bool ok) {
        CommitResult results[8];
        const Commit *commit = engine_commit(world->engine);
        for (size_t i = 0; i < commit->n; i++) {
                results[i] = (CommitResult){.offset = offset, .ok = ok};
        }
        if (seen) {
                assert_int_equal(engine_committed_seen(world->engine, results, world->now), 0);
        } else {
                assert_int_equal(engine_committed(world->engine, results, world->now), 0);
        }
        take(world);
}

/* A partition that was committed before: messages flow from @committed, the fence is at @fence. */
static inline Partition *activate(World *world, int number, int64_t committed, int64_t fence) {
        Partition *partition = NULL;
        PartitionFacts facts = {.committed = committed,
                                .ours = true,
                                .low = 0,
                                .high = 1000000,
                                .has_source = true,
                                .source = number + 1,
                                .fence = fence,
                                .fence_moved = true,
                                .topic_known = true};
        assert_int_equal(engine_assigned(world->engine, "t", number, NULL, world->now, &partition),
                         0);
        take(world);
        assert_ptr_equal(only(world, ENGINE_LOOK_UP)->partition, partition);
        assert_int_equal(engine_looked_up(world->engine, partition, &facts, world->now), 0);
        take(world);
        only(world, ENGINE_READ_SOURCE);
        assert_int_equal(engine_source_read(world->engine, partition, &facts, world->now), 0);
        take(world);
        assert_int_equal(only(world, ENGINE_SEEK)->offset, committed);
        assert_int_equal(engine_sought(world->engine, partition, true, world->now), 0);
        take(world);
        assert_int_equal(partition->state, PARTITION_ACTIVE);
        return partition;
}

static inline void fetch_bytes(World *world, Partition *partition, int64_t offset,
                               const char *value) {
        Record record = {.offset = offset,
                         .timestamp_us = 5,
                         .value = (const uint8_t *)value,
                         .value_size = value != NULL ? strlen(value) : 0};
        assert_int_equal(engine_fetched(world->engine, partition, &record, 1000, world->now), 0);
}

static inline void fetch(World *world, Partition *partition, int64_t offset, const char *host) {
        char value[128];
        snprintf(value, sizeof(value), "{\"host\":\"%s\"}", host);
        fetch_bytes(world, partition, offset, value);
}

static inline void saved(World *world, Batch *batch, BatchEnd end) {
        assert_int_equal(engine_saved(world->engine, batch, end, world->now), 0);
        take(world);
}

static inline void restarted(World *world, Run *run, Outcome outcome) {
        assert_int_equal(engine_restarted(world->engine, run, outcome, true, "detail", world->now),
                         0);
        take(world);
}

/* The only restart among the actions taken last, or NULL. */
static inline Run *started(World *world) {
        return count(world, ENGINE_RESTART) > 0 ? only(world, ENGINE_RESTART)->run : NULL;
}

/* The only note of its kind among the actions taken last, or NULL. */
static inline const EngineAction *noted(const World *world, EngineNote note) {
        const EngineAction *found = NULL;
        for (size_t i = 0; i < world->n_taken; i++) {
                if (world->taken[i].type == ENGINE_NOTE && world->taken[i].note == note) {
                        assert_null(found);
                        found = &world->taken[i];
                }
        }
        return found;
}

/* Nothing but a message that is saved. */
static inline void save_one(World *world, Partition *partition) {
        fetch(world, partition, partition->next, "a");
        take(world);
        Batch *batch = only(world, ENGINE_SAVE)->batch;
        assert_int_equal(engine_saved(world->engine, batch, BATCH_SAVED, world->now), 0);
        take(world);
}
