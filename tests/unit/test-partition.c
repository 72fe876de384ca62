/*
 * Assignments: what an answer changes in the state that waits for it, that it changes nothing in
 * any other, and what is told.
 */

#include "engine-world.h"

/* A partition that disagrees with nobody: committed at its fence. */
static PartitionFacts facts_at(int64_t offset) {
        return (PartitionFacts){.committed = offset,
                                .ours = true,
                                .low = 0,
                                .high = 1000000,
                                .has_source = true,
                                .source = 1,
                                .fence = offset,
                                .fence_moved = true,
                                .topic_known = true};
}

static Partition *assign(World *world, int number) {
        Partition *partition = NULL;
        assert_int_equal(engine_assigned(world->engine, "t", number, NULL, world->now, &partition),
                         0);
        take(world);
        return partition;
}

static void looked_up(World *world, Partition *partition, const PartitionFacts *facts) {
        assert_int_equal(engine_looked_up(world->engine, partition, facts, world->now), 0);
        take(world);
}

static void source_read(World *world, Partition *partition, const PartitionFacts *facts) {
        assert_int_equal(engine_source_read(world->engine, partition, facts, world->now), 0);
        take(world);
}

/* Exactly these notes were taken last: of one partition, without a delay. */
static void noted_of(World *world, const Partition *partition, EngineNote note, int64_t offset) {
        const EngineAction *action = noted(world, note);
        assert_non_null(action);
        assert_ptr_equal(action->partition, partition);
        assert_int_equal(action->offset, offset);
        assert_int_equal(action->delay_us, 0);
        assert_null(action->message);
        assert_null(action->reason);
}

/* The delay of the only note, which says that a question is asked again. */
static int64_t asked_again(World *world, const Partition *partition) {
        const EngineAction *action = only(world, ENGINE_NOTE);
        assert_int_equal(action->note, NOTE_LOOK_UP_FAILED);
        assert_ptr_equal(action->partition, partition);
        assert_int_equal(action->offset, partition->start);
        assert_int_equal(partition->retry_us, world->now + action->delay_us);
        assert_int_equal(engine_deadline(world->engine), partition->retry_us);
        return action->delay_us;
}

/* --- answers that nobody waits for -------------------------------------------------------- */

typedef enum Where {
        LOOKING_UP,
        LOOKING_UP_LATER,
        READING,
        READING_LATER,
        ADOPTING,
        ADOPTING_LATER,
        COMMITTING,
        COMMITTING_LATER,
        SEEKING,
        SEEKING_LATER,
        ACTIVE,
        HELD,
        STOPPED,
        DRAINING,
        N_WHERE,
} Where;

static Partition *reach(World *world, Where where) {
        PartitionFacts facts = facts_at(10);
        Partition *partition = assign(world, 0);
        if (where == LOOKING_UP) {
                return partition;
        }
        looked_up(world, partition, where == LOOKING_UP_LATER ? NULL : &facts);
        if (where <= READING) {
                return partition;
        }
        facts.has_source = where > COMMITTING_LATER;
        facts.ours = where > COMMITTING_LATER;
        partition->facts.ours = facts.ours;
        if (where == STOPPED) {
                facts.fence = facts.high + 1;
        }
        source_read(world, partition, where == READING_LATER ? NULL : &facts);
        if (where == READING_LATER || where == ADOPTING || where == STOPPED) {
                return partition;
        }
        if (where <= COMMITTING_LATER) {
                assert_int_equal(engine_adopted(world->engine, partition,
                                                where == ADOPTING_LATER ? ADOPT_OUTAGE : ADOPT_OK,
                                                1, world->now),
                                 0);
                take(world);
                if (where == COMMITTING_LATER) {
                        commit_answer(world, true, 11, true); /* somebody else's */
                }
                return partition;
        }
        if (where >= ACTIVE || where == SEEKING_LATER) {
                assert_int_equal(engine_sought(world->engine, partition, where >= ACTIVE,
                                               world->now),
                                 0);
                take(world);
        }
        if (where == HELD || where == DRAINING) {
                world->config.ack_gap = 1;
                fetch(world, partition, 10, "a");
                take(world);
        }
        if (where == DRAINING) {
                assert_int_equal(engine_revoked(world->engine, &partition, 1, false, world->now),
                                 0);
                take(world);
        }
        return partition;
}

enum {
        A_LOOK_UP = 1 << 0,
        A_SOURCE = 1 << 1,
        AN_ADOPTION = 1 << 2,
        A_SEEK = 1 << 3,
        A_RESUME = 1 << 4,
        A_DOUBT = 1 << 5,
        A_RANGE = 1 << 6,
        A_RECORD = 1 << 7,
        AN_END = 1 << 8,
        N_ANSWERS = 9,
};

static int answer(World *world, Partition *partition, int which, bool good) {
        Engine *engine = world->engine;
        PartitionFacts facts = facts_at(20);
        const Record record = {.offset = 30, .timestamp_us = 5};
        world->now++;
        switch (1 << which) {
        case A_LOOK_UP:
                return engine_looked_up(engine, partition, good ? &facts : NULL, world->now);
        case A_SOURCE:
                return engine_source_read(engine, partition, good ? &facts : NULL, world->now);
        case AN_ADOPTION:
                return engine_adopted(engine, partition, good ? ADOPT_OK : ADOPT_OUTAGE, 77,
                                      world->now);
        case A_SEEK:
                return engine_sought(engine, partition, good, world->now);
        case A_RESUME:
                return engine_resumed(engine, partition, good, world->now);
        case A_DOUBT:
                return engine_vanished(engine, partition, world->now);
        case A_RANGE:
                return engine_out_of_range(engine, partition, world->now);
        case A_RECORD:
                return engine_fetched(engine, partition, &record, 1000, world->now);
        case AN_END:
                return engine_ended(engine, partition, 40, 1000, world->now);
        }
        return -1;
}

static void test_only_what_is_waited_for_changes_anything(void **state) {
        World *world = *state;
        static const struct {
                PartitionState state;
                int waits, stopping; /* for these; and while the engine stops */
        } rows[N_WHERE] = {
                [LOOKING_UP] = {PARTITION_LOOKING_UP, A_LOOK_UP, 0},
                [LOOKING_UP_LATER] = {PARTITION_LOOKING_UP, 0, 0},
                [READING] = {PARTITION_READING, A_SOURCE, 0},
                [READING_LATER] = {PARTITION_READING, 0, 0},
                [ADOPTING] = {PARTITION_ADOPTING, AN_ADOPTION, 0},
                [ADOPTING_LATER] = {PARTITION_ADOPTING, 0, 0},
                [COMMITTING] = {PARTITION_COMMITTING, 0, 0},
                [COMMITTING_LATER] = {PARTITION_COMMITTING, 0, 0},
                [SEEKING] = {PARTITION_SEEKING, A_SEEK | A_RANGE, A_SEEK | A_RANGE},
                [SEEKING_LATER] = {PARTITION_SEEKING, A_RANGE, A_RANGE},
                [ACTIVE] = {PARTITION_ACTIVE, A_DOUBT | A_RANGE | A_RECORD | AN_END,
                            A_DOUBT | A_RANGE},
                [HELD] = {PARTITION_ACTIVE, A_DOUBT | A_RANGE, A_DOUBT | A_RANGE},
                [STOPPED] = {PARTITION_STOPPED, 0, 0},
                [DRAINING] = {PARTITION_DRAINING, 0, 0},
        };
        for (int where = 0; where < N_WHERE; where++) {
                for (int i = 0; i < 4 * N_ANSWERS; i++) {
                        int which = i / 4;
                        bool good = (i & 1) != 0, stopping = (i & 2) != 0;
                        Partition *partition = reach(world, (Where)where);
                        assert_int_equal(partition->state, rows[where].state);
                        if (stopping) {
                                assert_int_equal(engine_stop(world->engine, world->now), 0);
                                take(world);
                        }
                        Partition before = *partition;
                        EngineTotals totals = *engine_totals(world->engine);
                        int64_t deadline = engine_deadline(world->engine);
                        assert_int_equal(answer(world, partition, which, good), 0);
                        int waits = stopping ? rows[where].stopping : rows[where].waits;
                        if ((waits & 1 << which) != 0) {
                                assert_true(memcmp(&before, partition, sizeof(before)) != 0);
                        } else {
                                if (memcmp(&before, partition, sizeof(before)) != 0) {
                                        fail_msg("answer %d in state %d", which, where);
                                }
                                assert_memory_equal(&totals, engine_totals(world->engine),
                                                    sizeof(totals));
                                take(world);
                                if (world->n_taken != 0) {
                                        fail_msg("answer %d in state %d: action %d", which, where,
                                                 world->taken[0].type);
                                }
                                assert_int_equal(engine_deadline(world->engine), deadline);
                        }
                        take(world);
                        renew(world);
                }
        }
}

/* --- looking up --------------------------------------------------------------------------- */

/* Each failure may wait twice as long as the one before, up to ten seconds. */
static void test_questions_wait_longer_and_longer(void **state) {
        World *world = *state;
        PartitionFacts facts = facts_at(10);
        Partition *partition = assign(world, 0);
        int64_t most = 0;
        for (int i = 0; i < 40; i++) {
                int64_t bound = i < 6 ? (SECOND / 5) << i : 10 * SECOND;
                /* What is answered in between changes nothing, while the last one fails. */
                looked_up(world, partition, i % 2 ? &facts : NULL);
                if (i % 2) {
                        source_read(world, partition, NULL);
                }
                int64_t delay = asked_again(world, partition);
                assert_in_range(delay, 1, bound);
                most = delay > most ? delay : most;
                tick(world, delay);
                assert_ptr_equal(only(world, ENGINE_LOOK_UP)->partition, partition);
        }
        assert_true(most > 5 * SECOND);
        /* An answer to the last one begins anew. */
        for (int i = 0; i < 40; i++) {
                facts = facts_at(10);
                facts.has_source = facts.ours = false;
                looked_up(world, partition, &facts);
                source_read(world, partition, &facts);
                assert_int_equal(engine_adopted(world->engine, partition,
                                                i % 2 ? ADOPT_CHANGED : ADOPT_OUTAGE, 1,
                                                world->now),
                                 0);
                take(world);
                int64_t delay = asked_again(world, partition);
                assert_in_range(delay, 1, SECOND / 5);
                tick(world, delay);
        }
}

static void test_a_doubt_that_is_over_begins_anew(void **state) {
        World *world = *state;
        PartitionFacts facts = facts_at(10);
        Partition *partition = activate(world, 0, 10, 10);
        for (int i = 0; i < 40; i++) {
                assert_int_equal(engine_vanished(world->engine, partition, world->now), 0);
                take(world);
                only(world, ENGINE_PAUSE);
                noted_of(world, partition, NOTE_PARTITION_HELD, 10);
                assert_string_equal(partition_paused_by(partition), "vanished");
                looked_up(world, partition, NULL);
                int64_t delay = asked_again(world, partition);
                assert_in_range(delay, 1, SECOND / 5);
                tick(world, delay);
                only(world, ENGINE_LOOK_UP);
                assert_int_equal(count(world, ENGINE_RESUME), 0);
                looked_up(world, partition, &facts);
                assert_int_equal(only(world, ENGINE_RESUME)->offset, 10);
                assert_int_equal(engine_resumed(world->engine, partition, true, world->now), 0);
                take(world);
                noted_of(world, partition, NOTE_PARTITION_RESUMED, 10);
                assert_null(partition_paused_by(partition));
        }
}

/* What is planned is told once, with its offset. */
static void test_what_is_planned_is_told(void **state) {
        World *world = *state;
        enum { NOTHING = -1 };
        static const struct {
                int64_t committed, fence, decided;
                bool ours, known, latest;
                int note;
                int64_t offset; /* where it begins */
                PartitionState next;
        } rows[] = {
                {10, 10, -1, true, true, false, NOTHING, 10, PARTITION_SEEKING},
                {10, 20, -1, true, true, false, NOTHING, 10, PARTITION_SEEKING},
                {30, 20, -1, true, true, false, NOTE_PARTITION_WENT_BACK, 20, PARTITION_SEEKING},
                {30, 20, -1, false, true, false, NOTE_PARTITION_SKIPPED, 30, PARTITION_ADOPTING},
                {10, 20, 50, true, true, false, NOTE_DECISION_MOOT, 10, PARTITION_ADOPTING},
                {95, 20, 50, true, true, false, NOTE_PARTITION_DECIDED, 50, PARTITION_COMMITTING},
                {-1, 20, -1, true, true, false, NOTE_PARTITION_STOPPED, -1, PARTITION_STOPPED},
                {-1, -1, -1, false, true, false, NOTHING, 5, PARTITION_ADOPTING},
                {-1, -1, -1, false, true, true, NOTHING, 5, PARTITION_ADOPTING},
                {-1, -1, -1, false, false, true, NOTHING, 90, PARTITION_ADOPTING},
                {-1, -1, -1, false, false, false, NOTHING, 5, PARTITION_ADOPTING},
        };
        for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
                PartitionFacts facts = {.committed = rows[i].committed,
                                        .ours = rows[i].ours,
                                        .low = 5,
                                        .high = 90};
                world->config.start_latest = rows[i].latest;
                Partition *partition = assign(world, (int)i);
                looked_up(world, partition, &facts);
                facts = (PartitionFacts){.has_source = rows[i].fence >= 0,
                                         .source = 7,
                                         .fence = rows[i].fence,
                                         .fence_moved = rows[i].fence >= 0,
                                         .topic_known = rows[i].known,
                                         .is_decided = rows[i].decided >= 0,
                                         .decided = rows[i].decided};
                source_read(world, partition, &facts);
                assert_int_equal(count(world, ENGINE_NOTE), rows[i].note != NOTHING);
                if (rows[i].note != NOTHING) {
                        noted_of(world, partition, (EngineNote)rows[i].note, rows[i].offset);
                }
                assert_int_equal(partition->state, rows[i].next);
                assert_int_equal(partition->start, rows[i].offset);
                const PartitionFacts *known = &partition->facts;
                assert_int_equal(known->committed, rows[i].committed);
                assert_int_equal(known->ours, rows[i].ours);
                assert_int_equal(known->low, 5);
                assert_int_equal(known->high, 90);
                assert_int_equal(known->has_source, facts.has_source);
                assert_int_equal(known->source, 7);
                assert_int_equal(known->fence, facts.fence);
                assert_int_equal(known->fence_moved, facts.fence_moved);
                assert_int_equal(known->topic_known, facts.topic_known);
                assert_int_equal(known->is_decided, facts.is_decided);
                assert_int_equal(known->decided, facts.decided);
        }
}

static void test_a_partition_that_starts_or_stops_says_so(void **state) {
        World *world = *state;
        Partition *partition = reach(world, SEEKING);
        PartitionFacts facts = facts_at(10);
        assert_int_equal(partition->facts.committed, 10);
        world->now += SECOND;
        assert_int_equal(engine_sought(world->engine, partition, false, world->now), 0);
        take(world);
        tick(world, asked_again(world, partition));
        for (int i = 0; i < 2; i++) {
                looked_up(world, partition, &facts);
                source_read(world, partition, &facts);
                world->now += SECOND;
                assert_int_equal(engine_sought(world->engine, partition, true, world->now), 0);
                take(world);
                noted_of(world, partition, NOTE_PARTITION_STARTED, 10);
                /* For the same reason each time: it is said again, as it has run in between. */
                world->now += SECOND;
                assert_int_equal(engine_out_of_range(world->engine, partition, world->now), 0);
                take(world);
                noted_of(world, partition, NOTE_PARTITION_HELD, 10);
                looked_up(world, partition, &facts);
                noted_of(world, partition, NOTE_PARTITION_STOPPED, 10);
                assert_int_equal(engine_deadline(world->engine), world->now + 5 * SECOND);
                tick(world, 5 * SECOND);
                only(world, ENGINE_LOOK_UP);
                /* It is not read since it stopped: nobody pauses it again. */
                assert_int_equal(count(world, ENGINE_PAUSE), 0);
        }
        /* A position that is not there is none to seek. */
        looked_up(world, partition, &facts);
        source_read(world, partition, &facts);
        assert_int_equal(engine_out_of_range(world->engine, partition, world->now), 0);
        take(world);
        assert_string_equal(partition->stopped, "out_of_range");
        assert_int_equal(partition->state, PARTITION_STOPPED);
}

/* What is in flight ends first. */
static void test_a_stopped_partition_with_messages_is_looked_at_later(void **state) {
        World *world = *state;
        PartitionFacts facts = facts_at(10);
        Partition *partition = activate(world, 0, 10, 10);
        fetch(world, partition, 10, "a");
        take(world);
        Run *run = only(world, ENGINE_RESTART)->run;
        saved(world, only(world, ENGINE_SAVE)->batch, BATCH_SAVED);
        assert_int_equal(engine_out_of_range(world->engine, partition, world->now), 0);
        take(world);
        looked_up(world, partition, &facts);
        uint64_t epoch = partition->epoch;
        for (int i = 0; i < 3; i++) {
                assert_int_equal(engine_deadline(world->engine), world->now + 5 * SECOND);
                tick(world, 5 * SECOND);
                assert_int_equal(world->n_taken, 0);
        }
        restarted(world, run, OUTCOME_DONE);
        assert_string_equal(world->finished, "A");
        tick(world, 5 * SECOND - 1);
        assert_int_equal(count(world, ENGINE_LOOK_UP), 0);
        tick(world, 1);
        only(world, ENGINE_LOOK_UP);
        assert_int_equal(partition->epoch, epoch + 1);
}

/* --- what is rejected already ------------------------------------------------------------- */

static void test_what_was_rejected_before_is_passed(void **state) {
        World *world = *state;
        world->config.restart = false;
        world->config.commit_interval_us = SECOND;
        static const int64_t before[] = {11, 13, 14, 20, 21}, after[] = {12};
        Partition *partition = assign(world, 0);
        for (int round = 0; round < 2; round++) {
                PartitionFacts facts = facts_at(10);
                facts.fence = 20;
                facts.rejected = round == 0 ? before : after;
                facts.n_rejected = round == 0 ? 5 : 1;
                looked_up(world, partition, &facts);
                source_read(world, partition, &facts);
                assert_int_equal(engine_sought(world->engine, partition, true, world->now), 0);
                take(world);
                uint64_t passed = engine_totals(world->engine)->finished[FINISH_DUPLICATE];
                memset(world->finished, 0, sizeof(world->finished));
                for (int64_t offset = 10; offset < 16; offset++) {
                        fetch(world, partition, offset, "a");
                }
                take(world);
                /* Nothing is left to be done for the others below the fence. */
                assert_string_equal(world->finished, round == 0 ? "AAA" : "AAAAA");
                assert_int_equal(engine_totals(world->engine)->finished[FINISH_DUPLICATE] - passed,
                                 facts.n_rejected == 5 ? 3 : 1);
                assert_int_equal(partition->offsets.watermark, 16);
                if (round == 0) {
                        /* At the fence there is no row yet, whatever is said. */
                        fetch(world, partition, 20, "a");
                        take(world);
                        saved(world, only(world, ENGINE_SAVE)->batch, BATCH_SAVED);
                        assert_string_equal(world->finished, "AAAA");
                }
                assert_int_equal(engine_vanished(world->engine, partition, world->now), 0);
                take(world);
                facts.committed = -1; /* it starts anew */
                looked_up(world, partition, &facts);
                only(world, ENGINE_LOOK_UP);
                if (engine_commit(world->engine)->n > 0) {
                        commit_answer(world, true, -1, true);
                }
        }
}

/* What is passed is committed like anything else, though no message ends. */
static void test_what_is_passed_alone_is_committed(void **state) {
        World *world = *state;
        static const int64_t rejected[] = {10};
        Partition *partition = assign(world, 0);
        PartitionFacts facts = facts_at(10);
        facts.fence = 20;
        facts.rejected = rejected;
        facts.n_rejected = 1;
        looked_up(world, partition, &facts);
        source_read(world, partition, &facts);
        assert_int_equal(engine_sought(world->engine, partition, true, world->now), 0);
        take(world);
        fetch(world, partition, 10, "a");
        take(world);
        only(world, ENGINE_LOOK_COMMITTED);
        assert_int_equal(engine_commit(world->engine)->entries[0].offset, 11);
}

/* --- held and resumed --------------------------------------------------------------------- */

/* It is held when so many are beyond the watermark, and read again when an eighth of them, but at
 * least one, is gone. */
static void test_the_gap_holds_and_lets_go(void **state) {
        World *world = *state;
        static const struct {
                size_t gap, resumes; /* with so many left */
        } rows[] = {{1, 0}, {2, 1}, {7, 6}, {8, 7}, {9, 7}, {16, 14}, {17, 14}};
        world->config.batch_rows = 1;
        for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
                world->config.ack_gap = rows[i].gap;
                Partition *partition = activate(world, (int)i, 0, 0);
                for (size_t k = 0; k < rows[i].gap; k++) {
                        assert_false(partition->held);
                        fetch_bytes(world, partition, (int64_t)k, NULL);
                }
                assert_true(partition->held);
                take(world);
                assert_ptr_equal(only(world, ENGINE_PAUSE)->partition, partition);
                noted_of(world, partition, NOTE_PARTITION_HELD, (int64_t)rows[i].gap);
                assert_string_equal(partition_paused_by(partition), "ack_gap");
                for (size_t left = rows[i].gap; left > rows[i].resumes; left--) {
                        assert_int_equal(count(world, ENGINE_RESUME), 0);
                        saved(world, only(world, ENGINE_SAVE)->batch, BATCH_SAVED);
                }
                assert_ptr_equal(only(world, ENGINE_RESUME)->partition, partition);
                Batch *batch = rows[i].resumes > 0 ? only(world, ENGINE_SAVE)->batch : NULL;
                /* Not now: in a fifth of a second. */
                assert_int_equal(engine_resumed(world->engine, partition, false, world->now), 0);
                take(world);
                tick(world, SECOND / 5 - 1);
                assert_int_equal(count(world, ENGINE_RESUME), 0);
                tick(world, 1);
                only(world, ENGINE_RESUME);
                assert_int_equal(engine_resumed(world->engine, partition, true, world->now), 0);
                take(world);
                noted_of(world, partition, NOTE_PARTITION_RESUMED, (int64_t)rows[i].gap);
                world->config.batch_rows = 100;
                while (batch != NULL) {
                        saved(world, batch, BATCH_SAVED);
                        batch = count(world, ENGINE_SAVE) ? only(world, ENGINE_SAVE)->batch : NULL;
                }
                world->config.batch_rows = 1;
        }
}

/* A resume that is answered when the partition is doubted: it is read, and must not be. */
static void test_a_doubt_during_a_resume_pauses_again(void **state) {
        World *world = *state;
        world->config.ack_gap = 1;
        Partition *partition = activate(world, 0, 0, 0);
        fetch_bytes(world, partition, 0, NULL);
        take(world);
        saved(world, only(world, ENGINE_SAVE)->batch, BATCH_SAVED);
        only(world, ENGINE_RESUME);
        assert_int_equal(engine_vanished(world->engine, partition, world->now), 0);
        take(world);
        assert_int_equal(count(world, ENGINE_PAUSE), 0); /* it is held */
        only(world, ENGINE_LOOK_UP);
        assert_int_equal(engine_resumed(world->engine, partition, true, world->now), 0);
        take(world);
        assert_ptr_equal(only(world, ENGINE_PAUSE)->partition, partition);
        assert_int_equal(count(world, ENGINE_NOTE) + count(world, ENGINE_RESUME), 0);
        assert_true(partition->held);
}

/* The time of a resume comes, and it is doubted: nothing is due before Kafka has answered. */
static void test_a_resume_that_is_due_in_doubt(void **state) {
        World *world = *state;
        world->config.ack_gap = 1;
        Partition *partition = activate(world, 0, 0, 0);
        fetch_bytes(world, partition, 0, NULL);
        take(world);
        saved(world, only(world, ENGINE_SAVE)->batch, BATCH_SAVED);
        commit_answer(world, true, 0, true);
        commit_answer(world, false, 0, true);
        assert_int_equal(engine_resumed(world->engine, partition, false, world->now), 0);
        assert_int_equal(engine_vanished(world->engine, partition, world->now), 0);
        take(world);
        assert_int_equal(engine_deadline(world->engine), world->now + SECOND / 5);
        tick(world, SECOND / 5);
        assert_int_equal(world->n_taken, 0);
        assert_int_equal(engine_deadline(world->engine), INT64_MAX);
}

/* --- starting anew ------------------------------------------------------------------------ */

/* It is read no further meanwhile: paused, unless it is already. */
static void test_what_starts_anew_is_paused(void **state) {
        World *world = *state;
        world->config.restart = false;
        for (int held = 0; held < 2; held++) {
                Partition *partition = activate(world, held, 10, 10);
                world->config.ack_gap = held ? 1 : 100;
                memset(world->finished, 0, sizeof(world->finished));
                fetch(world, partition, 10, "a");
                take(world);
                assert_int_equal(count(world, ENGINE_PAUSE), held);
                Batch *batch = only(world, ENGINE_SAVE)->batch;
                uint64_t epoch = partition->epoch;
                saved(world, batch, BATCH_FENCE);
                assert_int_equal(engine_fences_read(world->engine, batch, (int64_t[]){9}, NULL, 0,
                                                    world->now),
                                 0);
                take(world);
                assert_int_equal(count(world, ENGINE_PAUSE), !held);
                assert_ptr_equal(only(world, ENGINE_LOOK_UP)->partition, partition);
                assert_string_equal(world->finished, "L");
                assert_int_equal(partition->epoch, epoch + 1);
                assert_null(partition->batch);
                assert_int_equal(partition->offsets.watermark, -1);
                assert_int_equal(count(world, ENGINE_NOTE), 0);
                /* It can be read and saved again, and is not held any more. */
                PartitionFacts facts = facts_at(9);
                looked_up(world, partition, &facts);
                source_read(world, partition, &facts);
                assert_int_equal(engine_sought(world->engine, partition, true, world->now), 0);
                take(world);
                assert_null(partition_paused_by(partition));
                memset(world->finished, 0, sizeof(world->finished));
                fetch(world, partition, 9, "a");
                take(world);
                saved(world, only(world, ENGINE_SAVE)->batch, BATCH_SAVED);
                assert_string_equal(world->finished, "A");
        }
}

/* A batch that is under way when its partition starts anew is nobody's: the next one need not wait
 * for it, and what it says changes nothing. */
static void test_a_batch_of_the_epoch_before_changes_nothing(void **state) {
        World *world = *state;
        world->config.restart = false;
        world->config.batches = 2;
        for (int end = 0; end < 4; end++) {
                Partition *partition = activate(world, end, 10, 10);
                PartitionFacts facts = facts_at(10);
                fetch(world, partition, 10, "a");
                take(world);
                Batch *old = only(world, ENGINE_SAVE)->batch;
                assert_int_equal(engine_vanished(world->engine, partition, world->now), 0);
                take(world);
                facts.committed = -1;
                looked_up(world, partition, &facts);
                facts.committed = 10;
                looked_up(world, partition, &facts);
                source_read(world, partition, &facts);
                assert_int_equal(engine_sought(world->engine, partition, true, world->now), 0);
                fetch(world, partition, 10, "b");
                take(world);
                Batch *batch = only(world, ENGINE_SAVE)->batch;
                memset(world->finished, 0, sizeof(world->finished));
                if (end == 3) {
                        const RefusedRow refused = {.source = partition->source,
                                                    .offset = 10,
                                                    .detail = "no"};
                        assert_int_equal(engine_fences_read(world->engine, old, (int64_t[]){99},
                                                            &refused, 1, world->now),
                                         0);
                        take(world);
                } else {
                        saved(world, old,
                              end == 0   ? BATCH_SAVED
                              : end == 1 ? BATCH_UNKNOWN
                                         : BATCH_FENCE);
                }
                assert_string_equal(world->finished, "");
                assert_int_equal(partition->fence, 10);
                assert_ptr_equal(partition->batch, batch);
                assert_int_equal(count(world, ENGINE_NOTE), 0);
                saved(world, batch, BATCH_SAVED);
                assert_string_equal(world->finished, "A");
                assert_int_equal(partition->fence, 11);
                assert_true(engine_is_quiet(world->engine));
                if (engine_commit(world->engine)->n > 0) {
                        commit_answer(world, true, 10, true);
                        commit_answer(world, false, 0, true);
                }
                tick(world, SECOND);
                if (engine_commit(world->engine)->n > 0) {
                        commit_answer(world, true, 10, true);
                        commit_answer(world, false, 0, true);
                }
        }
}

/* --- revoke ------------------------------------------------------------------------------- */

static void revoked(World *world, Partition *partition, bool lost) {
        assert_int_equal(engine_revoked(world->engine, &partition, 1, lost, world->now), 0);
        take(world);
}

static void test_revokes_are_counted(void **state) {
        World *world = *state;
        for (int i = 1; i <= 3; i++) {
                revoked(world, activate(world, i, 0, 0), i == 2);
                only(world, ENGINE_UNASSIGN);
                assert_int_equal(engine_totals(world->engine)->rebalances, i);
                assert_true(list_is_empty(engine_partitions(world->engine)));
        }
}

/* What is not committed yet is, whatever its interval. */
static void test_a_revoke_commits_what_waits_for_its_interval(void **state) {
        World *world = *state;
        world->config.restart = false;
        world->config.commit_interval_us = 100 * SECOND;
        Partition *partition = activate(world, 0, 0, 0);
        save_one(world, partition);
        commit_answer(world, true, 0, true);
        commit_answer(world, false, 0, true);
        save_one(world, partition);
        assert_int_equal(count(world, ENGINE_LOOK_COMMITTED), 0);
        world->now += SECOND;
        revoked(world, partition, false);
        only(world, ENGINE_LOOK_COMMITTED);
        assert_int_equal(count(world, ENGINE_UNASSIGN), 0);
        commit_answer(world, true, 1, true);
        commit_answer(world, false, 0, true);
        only(world, ENGINE_UNASSIGN);
}

/* Of what somebody else owns, nothing is waited for and nothing committed. */
static void test_what_is_lost_is_let_go_at_once(void **state) {
        World *world = *state;
        world->config.restart = false;
        Partition *partition = activate(world, 0, 0, 0);
        save_one(world, partition);
        commit_answer(world, true, 0, true);
        fetch(world, partition, 1, "a");
        take(world);
        Batch *batch = only(world, ENGINE_SAVE)->batch;
        commit_answer(world, false, 0, true);
        fetch(world, partition, 2, "a");
        take(world);
        revoked(world, partition, true);
        assert_string_equal(world->finished, "ALL");
        only(world, ENGINE_UNASSIGN);
        assert_int_equal(count(world, ENGINE_LOOK_COMMITTED) + count(world, ENGINE_NOTE), 0);
        saved(world, batch, BATCH_SAVED);
        assert_string_equal(world->finished, "ALL");
        assert_true(engine_is_quiet(world->engine));
}

static void test_a_drain_that_lasts_too_long_is_said(void **state) {
        World *world = *state;
        world->config.restart = false;
        world->config.batches = 2;
        Partition *slow = activate(world, 0, 0, 0), *quick = activate(world, 1, 0, 0),
                  *kept = activate(world, 2, 0, 0);
        Partition *two[] = {quick, slow};
        fetch(world, slow, 0, "a");
        take(world);
        fetch(world, kept, 0, "a");
        take(world);
        Batch *batch = only(world, ENGINE_SAVE)->batch;
        world->now += SECOND;
        assert_int_equal(engine_revoked(world->engine, two, 2, false, world->now), 0);
        take(world);
        assert_int_equal(engine_deadline(world->engine), world->now + 5 * SECOND);
        tick(world, 5 * SECOND - 1);
        assert_int_equal(world->n_taken, 0);
        tick(world, 1);
        noted_of(world, slow, NOTE_DRAIN_TIMEOUT, 0);
        assert_int_equal(count(world, ENGINE_NOTE), 1);
        assert_string_equal(world->finished, "L");
        only(world, ENGINE_UNASSIGN);
        /* Who was not revoked goes on. */
        assert_int_equal(kept->state, PARTITION_ACTIVE);
        saved(world, batch, BATCH_SAVED);
        assert_string_equal(world->finished, "LA");
}

/* Then what is done is committed once more, though the last commit has just failed. */
static void test_a_drain_that_lasts_too_long_commits_once_more(void **state) {
        World *world = *state;
        world->config.restart = false;
        world->config.commit_interval_us = 100 * SECOND;
        Partition *partition = activate(world, 0, 0, 0);
        save_one(world, partition);
        revoked(world, partition, false);
        commit_answer(world, true, 0, true);
        commit_answer(world, false, 0, false);
        tick(world, 5 * SECOND - 1);
        assert_int_equal(world->n_taken, 0);
        tick(world, 1);
        only(world, ENGINE_LOOK_COMMITTED);
        assert_int_equal(count(world, ENGINE_UNASSIGN) + count(world, ENGINE_NOTE), 0);
        assert_int_equal(engine_deadline(world->engine), world->now + 3 * SECOND / 2);
        tick(world, 3 * SECOND / 2 - 1);
        assert_int_equal(count(world, ENGINE_UNASSIGN), 0);
        tick(world, 1);
        only(world, ENGINE_UNASSIGN);
}

/* The end takes nothing from the bound of that commit, and adds nothing. */
static void test_the_end_of_a_drain_that_lasts_too_long(void **state) {
        World *world = *state;
        world->config.restart = false;
        Partition *partition = activate(world, 0, 0, 0);
        save_one(world, partition);
        commit_answer(world, true, 0, true);
        revoked(world, partition, false);
        tick(world, 5 * SECOND);
        world->now += SECOND / 10;
        assert_int_equal(engine_stop(world->engine, world->now), 0);
        assert_int_equal(engine_release(world->engine, world->now), 0);
        take(world);
        assert_int_equal(count(world, ENGINE_UNASSIGN), 0);
        assert_int_equal(engine_deadline(world->engine), world->now + 14 * SECOND / 10);
        commit_answer(world, false, 0, true);
        only(world, ENGINE_UNASSIGN);
        assert_int_equal(engine_deadline(world->engine), INT64_MAX);
}

/* At the end a revoke waits for half a second, for a commit that is under way, and no longer. */
static void test_a_revoke_at_the_end_is_short(void **state) {
        World *world = *state;
        world->config.restart = false;
        Partition *partition = activate(world, 0, 0, 0);
        save_one(world, partition);
        commit_answer(world, true, 0, true);
        assert_int_equal(engine_stop(world->engine, world->now), 0);
        assert_int_equal(engine_release(world->engine, world->now), 0);
        take(world);
        world->now += SECOND;
        revoked(world, partition, false);
        assert_int_equal(count(world, ENGINE_UNASSIGN), 0);
        assert_int_equal(engine_deadline(world->engine), world->now + SECOND / 2);
        tick(world, SECOND / 2 - 1);
        assert_int_equal(count(world, ENGINE_UNASSIGN), 0);
        tick(world, 1);
        only(world, ENGINE_UNASSIGN);
}

/* A commit at 0 is one, and one that is gone as well. */
static void test_a_doubt_at_0(void **state) {
        World *world = *state;
        PartitionFacts facts = facts_at(0);
        Partition *partition = activate(world, 0, 0, 0);
        assert_int_equal(engine_vanished(world->engine, partition, world->now), 0);
        take(world);
        looked_up(world, partition, &facts);
        only(world, ENGINE_RESUME);
        assert_int_equal(engine_resumed(world->engine, partition, true, world->now), 0);
        assert_int_equal(engine_vanished(world->engine, partition, world->now), 0);
        take(world);
        facts.committed = -1;
        looked_up(world, partition, &facts);
        only(world, ENGINE_LOOK_UP);
        assert_int_equal(partition->state, PARTITION_LOOKING_UP);
        assert_int_equal(count(world, ENGINE_RESUME), 0);
        /* Out of range: what is there now is kept. */
        partition = activate(world, 1, 10, 10);
        assert_int_equal(engine_out_of_range(world->engine, partition, world->now), 0);
        take(world);
        looked_up(world, partition, &(PartitionFacts){.committed = 7, .low = 50, .high = 91});
        assert_int_equal(partition->state, PARTITION_STOPPED);
        assert_int_equal(partition->facts.committed, 7);
        assert_int_equal(partition->facts.low, 50);
        assert_int_equal(partition->facts.high, 91);
}

/* More messages than are cancelled at once: each is, and those that run are let be. */
static void test_many_are_cancelled(void **state) {
        enum { MANY = 2500 };
        World *world = *state;
        world->config.concurrency = 0;
        world->config.ack_gap = world->config.in_flight = world->config.waiting = 10000;
        world->config.in_flight_bytes = 1 << 30;
        char host[16];
        Partition *one = activate(world, 0, 0, MANY), *two = activate(world, 1, 0, MANY);
        for (int i = 0; i < MANY; i++) {
                snprintf(host, sizeof(host), "h%d", i);
                fetch(world, one, i, host);
        }
        take(world);
        assert_int_equal(count(world, ENGINE_RESTART), MANY);
        for (int i = 0; i < MANY; i++) {
                snprintf(host, sizeof(host), "h%d", i);
                fetch(world, two, i, host);
        }
        take(world);
        assert_int_equal(count(world, ENGINE_RESTART), 0);
        assert_int_equal(engine_stop(world->engine, world->now), 0);
        take(world);
        assert_int_equal(strlen(world->finished), MANY);
        assert_int_equal(strspn(world->finished, "L"), MANY);
        assert_true(list_is_empty(&two->messages));
        assert_int_equal(engine_in_flight(world->engine), MANY);
        assert_int_equal(engine_running(world->engine), MANY);
        assert_int_equal(engine_release(world->engine, world->now), 0);
        take(world);
        assert_int_equal(strlen(world->finished), 2 * MANY);
        assert_int_equal(engine_in_flight(world->engine), 0);
}

/* Between two pieces, whoever looks for something else to do finds it. */
static void test_a_thousand_are_cancelled_at_a_time(void **state) {
        enum { MANY = 2500 };
        World *world = *state;
        world->config.restart = false;
        world->config.batches = 0;
        world->config.ack_gap = world->config.in_flight = 10000;
        Partition *partition = activate(world, 0, 0, 0);
        for (int i = 0; i < MANY; i++) {
                fetch(world, partition, i, "a");
        }
        take(world);
        assert_int_equal(engine_stop(world->engine, world->now), 0);
        for (size_t ended = 0; ended < MANY;) {
                EngineAction action;
                bool taken;
                assert_int_equal(engine_next_action(world->engine, &action, &taken), 0);
                assert_true(taken);
                if (action.type == ENGINE_FINISHED) {
                        assert_int_equal(action.message->offset, ended);
                        message_free(action.message);
                        size_t piece = ended++ / 1000 + 1;
                        assert_int_equal(engine_in_flight(world->engine),
                                         piece < 3 ? MANY - 1000 * piece : 0);
                        assert_int_equal(engine_is_quiet(world->engine), piece == 3);
                }
        }
        take(world);
        assert_int_equal(world->n_taken, 0);
}

/* What was to be cancelled further still is, when less is asked for before it was. */
static void test_a_cancellation_reaches_as_far_as_any(void **state) {
        World *world = *state;
        world->config.restart = false;
        Partition *partition = activate(world, 0, 0, 0);
        fetch(world, partition, 0, "a");
        take(world);
        Batch *batch = only(world, ENGINE_SAVE)->batch;
        assert_int_equal(engine_release(world->engine, world->now), 0);
        assert_int_equal(engine_stop(world->engine, world->now), 0);
        take(world);
        assert_string_equal(world->finished, "L");
        saved(world, batch, BATCH_SAVED);
        assert_true(engine_is_quiet(world->engine));
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void) {
        const struct CMUnitTest tests[] = {
                TEST(test_only_what_is_waited_for_changes_anything),
                TEST(test_questions_wait_longer_and_longer),
                TEST(test_a_doubt_that_is_over_begins_anew),
                TEST(test_what_is_planned_is_told),
                TEST(test_a_partition_that_starts_or_stops_says_so),
                TEST(test_a_stopped_partition_with_messages_is_looked_at_later),
                TEST(test_what_was_rejected_before_is_passed),
                TEST(test_what_is_passed_alone_is_committed),
                TEST(test_the_gap_holds_and_lets_go),
                TEST(test_a_doubt_during_a_resume_pauses_again),
                TEST(test_a_resume_that_is_due_in_doubt),
                TEST(test_what_starts_anew_is_paused),
                TEST(test_a_batch_of_the_epoch_before_changes_nothing),
                TEST(test_revokes_are_counted),
                TEST(test_a_revoke_commits_what_waits_for_its_interval),
                TEST(test_what_is_lost_is_let_go_at_once),
                TEST(test_a_drain_that_lasts_too_long_is_said),
                TEST(test_a_drain_that_lasts_too_long_commits_once_more),
                TEST(test_the_end_of_a_drain_that_lasts_too_long),
                TEST(test_a_revoke_at_the_end_is_short),
                TEST(test_a_doubt_at_0),
                TEST(test_many_are_cancelled),
                TEST(test_a_thousand_are_cancelled_at_a_time),
                TEST(test_a_cancellation_reaches_as_far_as_any),
        };
        return cmocka_run_group_tests(tests, NULL, NULL);
}
