/*
 * What waits for PostgreSQL: who shares a batch, in which order, what a failure does to it, and how
 * long what failed waits.
 */

#include "engine-world.h"

static int setup_lanes(void **state) {
        int r = setup(state);
        World *world = *state;
        world->config.restart = false;
        return r;
}

static void fetch_n(World *world, Partition *partition, int n) {
        for (int i = 0; i < n; i++) {
                fetch(world, partition, partition->next, "a");
        }
}

static void fences_read(World *world, Batch *batch, const int64_t *fences) {
        assert_int_equal(engine_fences_read(world->engine, batch, fences, NULL, 0, world->now), 0);
        take(world);
}

static void saved_each(World *world, Batch *batch, BatchEnd end, const RefusedRow *refused,
                       size_t n) {
        assert_int_equal(engine_saved_each(world->engine, batch, end, refused, n, world->now), 0);
        take(world);
}

/* "0:10-12 2:10-11": the numbers of its partitions, and the fences. Rows stand in that order. */
static void is_batch(const Batch *batch, const char *expected) {
        char text[256] = "";
        size_t size = 0, rows = 0;
        for (size_t i = 0; i < batch->n_parts; i++) {
                const BatchPart *part = &batch->parts[i];
                size += (size_t)snprintf(text + size, sizeof(text) - size, "%s%d:%ld-%ld",
                                         i > 0 ? " " : "", part->partition->partition,
                                         (long)part->expected, (long)part->next);
                size_t n = 0;
                int64_t offset = part->expected;
                list_for_each(link, &batch->messages) {
                        const Message *message = container_of(link, Message, lane_link);
                        if (message->partition == part->partition) {
                                assert_int_equal(message->offset, offset++);
                                n++;
                        }
                }
                assert_int_equal(n, part->rows);
                assert_int_equal(offset, part->next);
                rows += n;
        }
        size_t all = 0;
        list_for_each(link, &batch->messages) {
                all++;
        }
        assert_int_equal(rows, all);
        assert_string_equal(text, expected);
}

/* The batches of the orders of a type that were taken last; returns how many. */
static size_t ordered(const World *world, EngineActionType type, Batch **batches) {
        size_t n = 0;
        for (size_t i = 0; i < world->n_taken; i++) {
                if (world->taken[i].type == type) {
                        batches[n++] = world->taken[i].batch;
                }
        }
        return n;
}

/* How many rows are said to wait, and that it is as long as the batch does. */
static int64_t later(World *world, const Batch *batch, size_t rows) {
        const EngineAction *note = noted(world, NOTE_BATCH_RETRY);
        assert_non_null(note);
        assert_int_equal(note->offset, rows);
        assert_null(note->partition);
        if (batch != NULL) {
                assert_int_equal(batch->retry_us, world->now + note->delay_us);
        }
        return note->delay_us;
}

/* --- who goes with whom ------------------------------------------------------------------- */

/* Who was served goes to the end. */
static void test_partitions_are_served_in_turn(void **state) {
        static const char *const expected[] = {
                "0:0-2", "1:0-2", "2:0-2", "0:2-4", "1:2-4", "2:2-4", "0:4-5", "1:4-5", "2:4-5",
        };
        static const char *const together[] = {
                "0:0-3", "1:0-3", "2:0-3", "0:3-5 1:3-4", "1:4-5 2:3-5",
        };
        World *world = *state;
        for (int round = 0; round < 2; round++) {
                Partition *partitions[3];
                size_t n = round == 0 ? 9 : 5;
                world->config.batch_rows = round == 0 ? 2 : 3;
                for (int i = 0; i < 3; i++) {
                        partitions[i] = activate(world, i, 0, 0);
                }
                for (int i = 0; i < 3; i++) {
                        fetch_n(world, partitions[i], 5);
                }
                for (size_t i = 0; i < n; i++) {
                        if (i == 0) {
                                take(world);
                        }
                        Batch *batch = only(world, ENGINE_SAVE)->batch;
                        if (round == 0) {
                                /* One goes with another's last row. */
                                if (i == 6) {
                                        is_batch(batch, "0:4-5 1:4-5");
                                        saved(world, batch, BATCH_SAVED);
                                        is_batch(only(world, ENGINE_SAVE)->batch, "2:4-5");
                                        saved(world, only(world, ENGINE_SAVE)->batch, BATCH_SAVED);
                                        break;
                                }
                                is_batch(batch, expected[i]);
                        } else {
                                is_batch(batch, together[i]);
                        }
                        saved(world, batch, BATCH_SAVED);
                }
                assert_int_equal(count(world, ENGINE_SAVE), 0);
                renew(world);
                world->config.restart = false;
        }
}

/* Parts stand by source, whoever was served first. */
static void test_parts_stand_by_source(void **state) {
        World *world = *state;
        static const int numbers[] = {2, 0, 3, 1};
        Partition *partitions[4];
        for (int i = 0; i < 4; i++) {
                partitions[i] = activate(world, numbers[i], 10, 10);
        }
        for (int i = 0; i < 4; i++) {
                fetch(world, partitions[i], 10, "a");
        }
        take(world);
        Batch *batch = only(world, ENGINE_SAVE)->batch;
        is_batch(batch, "0:10-11 1:10-11 2:10-11 3:10-11");
        /* Whichever is over, the others keep their places and their fences. */
        saved(world, batch, BATCH_UNKNOWN);
        tick(world, SECOND);
        fences_read(world, batch, (int64_t[]){10, 11, 10, 10});
        is_batch(only(world, ENGINE_SAVE)->batch, "0:10-11 2:10-11 3:10-11");
        saved(world, batch, BATCH_UNKNOWN);
        tick(world, SECOND);
        fences_read(world, batch, (int64_t[]){11, 10, 10});
        is_batch(only(world, ENGINE_SAVE)->batch, "2:10-11 3:10-11");
        assert_null(partitions[1]->batch);
        assert_null(partitions[3]->batch);
        assert_ptr_equal(partitions[0]->batch, batch);
        saved(world, batch, BATCH_SAVED);
        assert_string_equal(world->finished, "AAAA");
        for (int i = 0; i < 4; i++) {
                assert_int_equal(partitions[i]->fence, 11);
                assert_null(partitions[i]->batch);
        }
}

/* Partitions 0, 1, 2 and 3, of which 0 and 2 are in trouble of their own. */
static void split(World *world, Partition *partitions[4]) {
        const int64_t zeros[2] = {0, 0};
        partitions[0] = activate(world, 0, 0, 0);
        partitions[2] = activate(world, 2, 0, 0);
        fetch_n(world, partitions[0], 1);
        fetch_n(world, partitions[2], 1);
        take(world);
        Batch *batch = only(world, ENGINE_SAVE)->batch;
        for (int i = 0; i < 2; i++) {
                saved(world, batch, BATCH_OUTAGE);
                tick(world, 5 * SECOND);
                only(world, ENGINE_READ_FENCES);
                if (i == 1) {
                        world->config.batches = 0; /* nothing begins yet */
                }
                fences_read(world, batch, zeros);
        }
        partitions[1] = activate(world, 1, 0, 0);
        partitions[3] = activate(world, 3, 0, 0);
        fetch_n(world, partitions[1], 1);
        fetch_n(world, partitions[3], 1);
        assert_true(partitions[0]->save_alone && partitions[2]->save_alone);
        assert_false(partitions[1]->save_alone || partitions[3]->save_alone);
}

static void test_what_is_in_trouble_goes_alone(void **state) {
        World *world = *state;
        Partition *partitions[4];
        Batch *batches[4];
        split(world, partitions);
        world->config.batches = 4;
        take(world);
        assert_int_equal(ordered(world, ENGINE_SAVE, batches), 3);
        is_batch(batches[0], "0:0-1");
        is_batch(batches[1], "2:0-1");
        is_batch(batches[2], "1:0-1 3:0-1");
        assert_int_equal(batches[0]->failures, 2);
        assert_int_equal(batches[1]->failures, 2);
        assert_int_equal(batches[2]->failures, 0);
        assert_true(batches[0]->begun_us < batches[2]->begun_us);
        /* It works again when both have been saved. */
        saved(world, batches[2], BATCH_SAVED);
        assert_null(noted(world, NOTE_SAVE_WORKS));
        saved(world, batches[1], BATCH_SAVED);
        assert_null(noted(world, NOTE_SAVE_WORKS));
        saved(world, batches[0], BATCH_SAVED);
        assert_string_equal(noted(world, NOTE_SAVE_WORKS)->reason, "batches");
        for (int i = 0; i < 4; i++) {
                assert_false(partitions[i]->save_alone);
        }
}

/* One that was saved with the fence that is read shares the next batch, unless more waits. */
static void test_what_was_saved_alone_is_alone_no_more(void **state) {
        World *world = *state;
        Partition *partitions[4];
        Batch *batches[4];
        for (int more = 0; more < 2; more++) {
                split(world, partitions);
                world->config.batches = 4;
                take(world);
                assert_int_equal(ordered(world, ENGINE_SAVE, batches), 3);
                fetch_n(world, partitions[0], more);
                saved(world, batches[0], BATCH_UNKNOWN);
                tick(world, 5 * SECOND);
                fences_read(world, batches[0], (int64_t[]){1});
                assert_int_equal(partitions[0]->fence, 1);
                assert_int_equal(partitions[0]->save_alone, more);
                assert_true(partitions[2]->save_alone);
                if (more) {
                        is_batch(only(world, ENGINE_SAVE)->batch, "0:1-2");
                }
                renew(world);
                world->config.restart = false;
        }
}

/* Whoever is revoked is in nobody's way, and the trouble is over with it. */
static void test_trouble_ends_with_its_partition(void **state) {
        World *world = *state;
        Partition *partitions[4];
        split(world, partitions);
        assert_int_equal(engine_revoked(world->engine,
                                        (Partition *[]){partitions[0], partitions[2]}, 2, true,
                                        world->now),
                         0);
        take(world);
        world->config.batches = 4;
        tick(world, SECOND);
        Batch *batch = only(world, ENGINE_SAVE)->batch;
        is_batch(batch, "1:0-1 3:0-1");
        saved(world, batch, BATCH_SAVED);
        assert_non_null(noted(world, NOTE_SAVE_WORKS));
}

/* Who has not failed says nothing of whether it works. */
static void test_it_works_though_another_is_under_way(void **state) {
        World *world = *state;
        Batch *batches[2];
        world->config.batches = 2;
        for (int i = 0; i < 2; i++) {
                fetch_n(world, activate(world, i, 0, 0), 1);
                take(world);
                batches[i] = only(world, ENGINE_SAVE)->batch;
        }
        saved(world, batches[0], BATCH_OUTAGE);
        tick(world, SECOND);
        fences_read(world, batches[0], (int64_t[]){0});
        saved(world, batches[0], BATCH_SAVED);
        assert_non_null(noted(world, NOTE_SAVE_WORKS));
        saved(world, batches[1], BATCH_SAVED);
        assert_null(noted(world, NOTE_SAVE_WORKS));
}

/* What is left of each is counted anew. */
static void test_fences_in_between(void **state) {
        World *world = *state;
        Partition *partitions[3];
        for (int i = 0; i < 3; i++) {
                partitions[i] = activate(world, i, 0, 0);
        }
        for (int i = 0; i < 3; i++) {
                fetch_n(world, partitions[i], 3);
        }
        take(world);
        Batch *batch = only(world, ENGINE_SAVE)->batch;
        saved(world, batch, BATCH_UNKNOWN);
        tick(world, SECOND);
        fences_read(world, batch, (int64_t[]){1, 2, 0});
        is_batch(only(world, ENGINE_SAVE)->batch, "0:1-3 1:2-3 2:0-3");
        assert_string_equal(world->finished, "AAA");
        commit_answer(world, true, 0, true);
        commit_answer(world, false, 0, true);
        /* One goes back, one that was revoked as well, and one goes on. */
        saved(world, batch, BATCH_UNKNOWN);
        tick(world, SECOND);
        only(world, ENGINE_READ_FENCES);
        assert_int_equal(engine_revoked(world->engine, &partitions[2], 1, false, world->now), 0);
        take(world);
        fences_read(world, batch, (int64_t[]){0, 2, -1});
        assert_string_equal(world->finished, "AAALLLLL");
        is_batch(only(world, ENGINE_SAVE)->batch, "1:2-3");
        assert_ptr_equal(only(world, ENGINE_LOOK_UP)->partition, partitions[0]);
        only(world, ENGINE_UNASSIGN);
        saved(world, batch, BATCH_SAVED);
        assert_string_equal(world->finished, "AAALLLLLA");
}

/* --- how long it waits -------------------------------------------------------------------- */

/* Each failure may wait twice as long, from a tenth of a second to five. */
static void test_batches_wait_longer_and_longer(void **state) {
        World *world = *state;
        Partition *partition = activate(world, 0, 0, 0);
        for (int round = 0; round < 30; round++) {
                fetch_n(world, partition, 2);
                take(world);
                Batch *batch = only(world, ENGINE_SAVE)->batch;
                uint64_t id = batch->id;
                int64_t most = 0;
                int n = round == 0 ? 40 : 3;
                for (int i = 0; i < n; i++) {
                        bool read = i % 3 == 2;
                        if (read) {
                                fences_read(world, batch, NULL);
                        } else {
                                saved(world, batch, i % 3 == 1 ? BATCH_UNKNOWN : BATCH_OUTAGE);
                        }
                        int64_t delay = later(world, batch, 2);
                        assert_in_range(delay, 1, i < 6 ? (SECOND / 10) << i : 5 * SECOND);
                        most = delay > most ? delay : most;
                        assert_int_equal(engine_deadline(world->engine), world->now + delay);
                        tick(world, delay - 1);
                        assert_int_equal(count(world, ENGINE_READ_FENCES), 0);
                        tick(world, 1);
                        assert_ptr_equal(only(world, ENGINE_READ_FENCES)->batch, batch);
                        if (i % 3 != 1) {
                                fences_read(world, batch, (int64_t[]){partition->fence});
                                assert_ptr_equal(only(world, ENGINE_SAVE)->batch, batch);
                        }
                        assert_int_equal(batch->id, id);
                }
                assert_true(round > 0 || most > 2 * SECOND);
                saved(world, batch, BATCH_SAVED);
                assert_non_null(noted(world, NOTE_SAVE_WORKS));
        }
}

/* A fence that is not where it was expected is read at once, the first time. */
static void test_a_fence_is_read_at_once_the_first_time(void **state) {
        World *world = *state;
        Partition *partition = activate(world, 0, 0, 0);
        fetch_n(world, partition, 1);
        take(world);
        Batch *batch = only(world, ENGINE_SAVE)->batch;
        for (int i = 0; i < 5; i++) {
                saved(world, batch, BATCH_FENCE);
                int64_t delay = noted(world, NOTE_BATCH_RETRY)->delay_us;
                assert_int_equal(count(world, ENGINE_READ_FENCES), i == 0);
                if (i > 0) {
                        assert_true(delay > 0);
                        tick(world, delay);
                } else {
                        assert_int_equal(delay, 0);
                }
                only(world, ENGINE_READ_FENCES);
                fences_read(world, batch, (int64_t[]){0});
                only(world, ENGINE_SAVE);
        }
}

/* A table that refuses every row: what is saved in between ends the wait, and it is said. */
static void test_mixed_batches_wait_longer_and_longer(void **state) {
        World *world = *state;
        Partition *partition = activate(world, 0, 0, 0);
        for (int round = 0; round < 30; round++) {
                fetch_n(world, partition, 2);
                int64_t most = 0;
                take(world);
                for (int i = 0; i < (round == 0 ? 40 : 2); i++) {
                        Batch *batch = only(world, ENGINE_SAVE)->batch;
                        saved(world, batch, BATCH_REFUSED);
                        assert_ptr_equal(only(world, ENGINE_SAVE_EACH)->batch, batch);
                        assert_int_equal(count(world, ENGINE_NOTE), 0);
                        saved_each(world, batch, BATCH_REFUSED, NULL, 0);
                        int64_t delay = later(world, NULL, 2);
                        assert_in_range(delay, 1, i < 6 ? (SECOND / 10) << i : 5 * SECOND);
                        most = delay > most ? delay : most;
                        assert_int_equal(engine_deadline(world->engine), world->now + delay);
                        assert_null(partition->batch);
                        assert_true(engine_is_quiet(world->engine));
                        tick(world, delay - 1);
                        assert_int_equal(count(world, ENGINE_SAVE), 0);
                        tick(world, 1);
                }
                assert_true(round > 0 || most > 2 * SECOND);
                saved(world, only(world, ENGINE_SAVE)->batch, BATCH_SAVED);
                assert_string_equal(noted(world, NOTE_SAVE_WORKS)->reason, "batches");
                assert_int_equal(count(world, ENGINE_NOTE), 1);
        }
        assert_int_equal(engine_totals(world->engine)->saved_rows, 60);
        assert_int_equal(engine_totals(world->engine)->outcomes[HANDLER_SAVE][OUTCOME_DONE], 60);
}

/* The one that is due longest goes first; what is fresh has the next connection. */
static void test_retries_and_fresh_batches_take_turns(void **state) {
        World *world = *state;
        Partition *partitions[5];
        Batch *batches[5];
        world->config.batches = 4;
        for (int i = 0; i < 5; i++) {
                partitions[i] = activate(world, i, 0, 0);
        }
        for (int i = 0; i < 4; i++) {
                fetch_n(world, partitions[i], 1);
                take(world);
                batches[i] = only(world, ENGINE_SAVE)->batch;
        }
        saved(world, batches[3], BATCH_SAVED); /* so it is no outage of the database */
        world->config.batches = 0;
        static const int order[] = {1, 2, 0};
        for (int i = 0; i < 3; i++) {
                saved(world, batches[order[i]], BATCH_OUTAGE);
                world->now += SECOND;
        }
        world->config.batch_rows = 1;
        fetch_n(world, partitions[3], 3);
        tick(world, 10 * SECOND);
        world->config.batches = 1;
        for (int i = 0; i < 3; i++) {
                tick(world, 0);
                assert_int_equal(count(world, ENGINE_SAVE), 0);
                batches[4] = only(world, ENGINE_READ_FENCES)->batch;
                assert_ptr_equal(batches[4], batches[order[i]]);
                fences_read(world, batches[4], NULL);
                assert_int_equal(count(world, ENGINE_READ_FENCES), 0);
                batches[4] = only(world, ENGINE_SAVE)->batch;
                assert_int_equal(batches[4]->failures, 0);
                assert_int_equal(engine_saved(world->engine, batches[4], BATCH_SAVED, world->now),
                                 0);
        }
        /* Nothing is fresh: then the retries go on. */
        tick(world, 10 * SECOND);
        fences_read(world, only(world, ENGINE_READ_FENCES)->batch, NULL);
        only(world, ENGINE_READ_FENCES);
}

/* --- the end of some of it ---------------------------------------------------------------- */

/* A batch that waits for its retry: one partition of it is revoked. */
static void test_a_revoke_takes_its_part_out_of_a_retry(void **state) {
        World *world = *state;
        Partition *partitions[3];
        for (int i = 0; i < 3; i++) {
                partitions[i] = activate(world, i, 0, 0);
        }
        for (int i = 0; i < 3; i++) {
                fetch_n(world, partitions[i], 2);
        }
        take(world);
        Batch *batch = only(world, ENGINE_SAVE)->batch;
        is_batch(batch, "0:0-2 1:0-2 2:0-2");
        saved(world, batch, BATCH_OUTAGE);
        assert_int_equal(engine_revoked(world->engine, &partitions[1], 1, false, world->now), 0);
        take(world);
        only(world, ENGINE_UNASSIGN);
        assert_string_equal(world->finished, "LL");
        tick(world, SECOND);
        assert_ptr_equal(only(world, ENGINE_READ_FENCES)->batch, batch);
        is_batch(batch, "0:0-2 2:0-2");
        fences_read(world, batch, (int64_t[]){0, 0});
        assert_ptr_equal(only(world, ENGINE_SAVE)->batch, batch);
        saved(world, batch, BATCH_OUTAGE);
        assert_int_equal(engine_revoked(world->engine,
                                        (Partition *[]){partitions[0], partitions[2]}, 2, false,
                                        world->now),
                         0);
        take(world);
        only(world, ENGINE_UNASSIGN);
        assert_string_equal(world->finished, "LLLLLL");
        assert_true(engine_is_quiet(world->engine));
        assert_int_equal(engine_deadline(world->engine), INT64_MAX);
}

/* What is under way when one of its partitions is revoked: when it fails, the rest goes on. */
static void test_a_failed_batch_goes_on_without_what_was_revoked(void **state) {
        World *world = *state;
        static const BatchEnd ends[] = {BATCH_OUTAGE, BATCH_UNKNOWN, BATCH_FENCE};
        for (int i = 0; i < 3; i++) {
                Partition *gone = activate(world, 2 * i, 0, 0),
                          *kept = activate(world, 2 * i + 1, 0, 0);
                memset(world->finished, 0, sizeof(world->finished));
                fetch_n(world, gone, 1);
                fetch_n(world, kept, 1);
                take(world);
                Batch *batch = only(world, ENGINE_SAVE)->batch;
                assert_int_equal(batch->n_parts, 2);
                assert_int_equal(engine_revoked(world->engine, &gone, 1, false, world->now), 0);
                take(world);
                assert_int_equal(count(world, ENGINE_UNASSIGN), 0);
                saved(world, batch, ends[i]);
                only(world, ENGINE_UNASSIGN);
                assert_string_equal(world->finished, "L");
                assert_int_equal(batch->n_parts, 1);
                if (count(world, ENGINE_READ_FENCES) == 0) {
                        tick(world, 5 * SECOND);
                }
                only(world, ENGINE_READ_FENCES);
                fences_read(world, batch, (int64_t[]){0});
                saved(world, only(world, ENGINE_SAVE)->batch, BATCH_SAVED);
                assert_string_equal(world->finished, "LA");
                tick(world, SECOND);
                if (engine_commit(world->engine)->n > 0) {
                        commit_answer(world, true, 0, true);
                        commit_answer(world, false, 0, true);
                }
        }
}

/* The stop gives up what waits for a retry, and lets end what is at the database. */
static void test_the_stop_and_the_batches(void **state) {
        World *world = *state;
        Partition *partitions[3];
        Batch *batches[3];
        world->config.batches = 3;
        for (int i = 0; i < 3; i++) {
                partitions[i] = activate(world, i, 0, 0);
                fetch_n(world, partitions[i], 1);
                take(world);
                batches[i] = only(world, ENGINE_SAVE)->batch;
        }
        saved(world, batches[0], BATCH_OUTAGE);
        saved(world, batches[2], BATCH_OUTAGE);
        assert_false(engine_is_quiet(world->engine));
        assert_int_equal(engine_stop(world->engine, world->now), 0);
        take(world);
        assert_string_equal(world->finished, "LL");
        assert_null(partitions[0]->batch);
        assert_null(partitions[2]->batch);
        assert_false(engine_is_quiet(world->engine));
        /* Nothing is tried again: it ends with the first failure. */
        saved(world, batches[1], BATCH_UNKNOWN);
        assert_string_equal(world->finished, "LLL");
        assert_true(engine_is_quiet(world->engine));
        assert_int_equal(count(world, ENGINE_NOTE), 0);
        assert_int_equal(engine_database_up(world->engine, world->now), 0);
        take(world);
        assert_int_equal(world->n_taken, 0);
}

/* What went back to its lane is in no batch: the stop takes it. */
static void test_the_stop_takes_what_went_back(void **state) {
        World *world = *state;
        Partition *partitions[4];
        split(world, partitions);
        assert_true(engine_is_quiet(world->engine));
        assert_int_equal(engine_stop(world->engine, world->now), 0);
        take(world);
        assert_string_equal(world->finished, "LLLL");
        renew(world);
        world->config.restart = false;
        Partition *partition = activate(world, 0, 0, 0);
        fetch_n(world, partition, 2);
        take(world);
        Batch *batch = only(world, ENGINE_SAVE)->batch;
        saved(world, batch, BATCH_REFUSED);
        saved_each(world, batch, BATCH_REFUSED, NULL, 0);
        assert_int_equal(engine_stop(world->engine, world->now), 0);
        take(world);
        assert_string_equal(world->finished, "LL");
        assert_int_equal(engine_deadline(world->engine), INT64_MAX);
}

/* Refused, but nobody waits any more: it is not tried row by row. */
static void test_after_the_release_nothing_is_tried_row_by_row(void **state) {
        World *world = *state;
        for (int released = 0; released < 2; released++) {
                Partition *partition = activate(world, released, 0, 0);
                fetch_n(world, partition, 1);
                take(world);
                Batch *batch = only(world, ENGINE_SAVE)->batch;
                assert_int_equal(engine_stop(world->engine, world->now), 0);
                if (released) {
                        assert_int_equal(engine_release(world->engine, world->now), 0);
                }
                saved(world, batch, BATCH_REFUSED);
                assert_int_equal(count(world, ENGINE_SAVE_EACH), !released);
                if (!released) {
                        saved_each(world, batch, BATCH_REFUSED, NULL, 0);
                        assert_string_equal(world->finished, "L");
                }
                assert_true(engine_is_quiet(world->engine));
                renew(world);
                world->config.restart = false;
        }
}

/* --- rows that are refused ---------------------------------------------------------------- */

/* Exactly the row that is named, by its source and its offset. */
static void test_only_the_row_that_is_named_is_refused(void **state) {
        World *world = *state;
        Partition *one = activate(world, 0, 0, 0), *two = activate(world, 1, 0, 0);
        fetch_n(world, one, 3);
        fetch_n(world, two, 3);
        take(world);
        Batch *batch = only(world, ENGINE_SAVE)->batch;
        saved(world, batch, BATCH_REFUSED);
        const RefusedRow refused[] = {{.source = 2, .offset = 0, .detail = "first"},
                                      {.source = 1, .offset = 2, .detail = "last"},
                                      {.source = 3, .offset = 1, .detail = "nobody's"},
                                      {.source = 1, .offset = 7, .detail = "nobody's"}};
        assert_int_equal(engine_saved_each(world->engine, batch, BATCH_SAVED, refused, 4,
                                           world->now),
                         0);
        EngineAction action;
        bool taken = true;
        char ended[1024] = "";
        while (taken) {
                assert_int_equal(engine_next_action(world->engine, &action, &taken), 0);
                if (taken && action.type == ENGINE_FINISHED) {
                        const MessageFault *fault = action.message->fault;
                        size_t size = strlen(ended);
                        snprintf(ended + size, sizeof(ended) - size, "%d:%ld%.20s ",
                                 action.partition->partition, (long)action.message->offset,
                                 fault != NULL ? fault->detail : "");
                        assert_int_equal(action.finish,
                                         fault != NULL ? FINISH_REJECTED : FINISH_ACCEPTED);
                        assert_true(fault == NULL || strcmp(fault->reason, "refused") == 0);
                        assert_true(fault == NULL || action.message->fault_handler == HANDLER_SAVE);
                        message_free(action.message);
                }
        }
        assert_string_equal(ended, "1:0first 0:2last 0:0 0:1 1:1 1:2 ");
        const EngineTotals *totals = engine_totals(world->engine);
        assert_int_equal(totals->saved_rows, 4);
        assert_int_equal(totals->outcomes[HANDLER_SAVE][OUTCOME_DONE], 4);
        assert_int_equal(totals->outcomes[HANDLER_SAVE][OUTCOME_POISON], 2);
        assert_int_equal(totals->finished[FINISH_ACCEPTED], 4);
        assert_int_equal(totals->finished[FINISH_REJECTED], 2);
}

/* Its row in `rejected` is there already, so the restart's end is all that is waited for. */
static void test_what_is_refused_has_its_row(void **state) {
        World *world = *state;
        world->config.restart = true;
        static const Outcome outcomes[] = {OUTCOME_DONE, OUTCOME_POISON};
        for (int i = 0; i < 2; i++) {
                Partition *partition = activate(world, i, 0, 0);
                memset(world->finished, 0, sizeof(world->finished));
                fetch_n(world, partition, 1);
                take(world);
                Batch *batch = only(world, ENGINE_SAVE)->batch;
                Run *run = only(world, ENGINE_RESTART)->run;
                saved(world, batch, BATCH_REFUSED);
                const RefusedRow refused = {.source = i + 1, .offset = 0, .detail = "no"};
                saved_each(world, batch, BATCH_SAVED, &refused, 1);
                assert_string_equal(world->finished, "");
                restarted(world, run, outcomes[i]);
                assert_int_equal(count(world, ENGINE_REJECT), 0);
                assert_string_equal(world->finished, "J");
                assert_int_equal(partition->fence, 1);
                tick(world, SECOND);
                if (engine_commit(world->engine)->n > 0) {
                        commit_answer(world, true, 0, true);
                        commit_answer(world, false, 0, true);
                }
        }
}

/* A fault is kept with the fence; its outcome is the save's. */
static void test_outcomes_of_what_is_saved(void **state) {
        World *world = *state;
        Partition *partition = activate(world, 0, 0, 0);
        fetch_bytes(world, partition, 0, "not json");
        fetch_bytes(world, partition, 1, NULL);
        fetch(world, partition, 2, "a");
        assert_int_equal(engine_ended(world->engine, partition, 9, 1000, world->now), 0);
        take(world);
        world->now += SECOND;
        saved(world, only(world, ENGINE_SAVE)->batch, BATCH_SAVED);
        assert_string_equal(world->finished, "JTAT");
        const EngineTotals *totals = engine_totals(world->engine);
        EngineTotals expected = {.received = 3, .saved_rows = 1};
        expected.finished[FINISH_REJECTED] = expected.finished[FINISH_TOMBSTONE] =
                expected.finished[FINISH_ACCEPTED] = 1;
        expected.outcomes[HANDLER_SAVE][OUTCOME_POISON] = 1;
        expected.outcomes[HANDLER_SAVE][OUTCOME_DONE] = 2;
        assert_memory_equal(totals, &expected, sizeof(expected));
}

/* --- the database is back ----------------------------------------------------------------- */

static void test_what_waits_is_tried_at_once_when_the_database_is_back(void **state) {
        World *world = *state;
        Partition *partition = activate(world, 0, 0, 0);
        fetch_n(world, partition, 1);
        take(world);
        Batch *batch = only(world, ENGINE_SAVE)->batch;
        for (int i = 0; i < 8; i++) {
                saved(world, batch, BATCH_OUTAGE);
                tick(world, 5 * SECOND);
                fences_read(world, batch, (int64_t[]){0});
        }
        /* One that is under way stays so. */
        world->now += SECOND;
        assert_int_equal(engine_database_up(world->engine, world->now), 0);
        take(world);
        assert_int_equal(world->n_taken, 0);
        assert_int_equal(batch->retry_us, INT64_MAX);
        saved(world, batch, BATCH_OUTAGE);
        assert_int_equal(count(world, ENGINE_READ_FENCES), 0);
        assert_int_equal(engine_database_up(world->engine, ++world->now), 0);
        take(world);
        assert_ptr_equal(only(world, ENGINE_READ_FENCES)->batch, batch);
        /* And with it what is fresh. */
        Partition *other = activate(world, 1, 0, 0);
        world->config.batches = 2;
        fetch_n(world, other, 1);
        take(world);
        is_batch(only(world, ENGINE_SAVE)->batch, "1:0-1");
}

/* Only what is idle is looked at, each fence once. */
static void test_idle_fences_are_looked_at(void **state) {
        World *world = *state;
        Partition *partitions[4];
        for (int i = 0; i < 4; i++) {
                partitions[i] = activate(world, i, 10 * i, 10 * i);
        }
        world->config.batches = 2;
        fetch_n(world, partitions[2], 1);
        take(world);
        assert_int_equal(engine_out_of_range(world->engine, partitions[1], world->now), 0);
        take(world);
        PartitionFacts facts = {.committed = 10, .low = 50, .high = 90};
        assert_int_equal(engine_looked_up(world->engine, partitions[1], &facts, world->now), 0);
        take(world);
        assert_int_equal(engine_database_up(world->engine, world->now), 0);
        take(world);
        Batch *look = only(world, ENGINE_READ_FENCES)->batch;
        is_batch(look, "0:0-0 3:30-30");
        /* What comes meanwhile waits; one fence has moved on, the other has not. */
        fetch_n(world, partitions[0], 4);
        fetch_n(world, partitions[3], 1);
        take(world);
        assert_int_equal(count(world, ENGINE_SAVE), 0);
        assert_int_equal(engine_database_up(world->engine, world->now), 0);
        take(world);
        assert_int_equal(world->n_taken, 0); /* nothing is idle */
        fences_read(world, look, (int64_t[]){3, 30});
        assert_string_equal(world->finished, "AAA");
        is_batch(only(world, ENGINE_SAVE)->batch, "0:3-4 3:30-31");
        assert_int_equal(partitions[0]->fence, 3);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup_lanes, teardown)

int main(void) {
        const struct CMUnitTest tests[] = {
                TEST(test_partitions_are_served_in_turn),
                TEST(test_parts_stand_by_source),
                TEST(test_what_is_in_trouble_goes_alone),
                TEST(test_what_was_saved_alone_is_alone_no_more),
                TEST(test_trouble_ends_with_its_partition),
                TEST(test_it_works_though_another_is_under_way),
                TEST(test_fences_in_between),
                TEST(test_batches_wait_longer_and_longer),
                TEST(test_a_fence_is_read_at_once_the_first_time),
                TEST(test_mixed_batches_wait_longer_and_longer),
                TEST(test_retries_and_fresh_batches_take_turns),
                TEST(test_a_revoke_takes_its_part_out_of_a_retry),
                TEST(test_a_failed_batch_goes_on_without_what_was_revoked),
                TEST(test_the_stop_and_the_batches),
                TEST(test_the_stop_takes_what_went_back),
                TEST(test_after_the_release_nothing_is_tried_row_by_row),
                TEST(test_only_the_row_that_is_named_is_refused),
                TEST(test_what_is_refused_has_its_row),
                TEST(test_outcomes_of_what_is_saved),
                TEST(test_what_waits_is_tried_at_once_when_the_database_is_back),
                TEST(test_idle_fences_are_looked_at),
        };
        return cmocka_run_group_tests(tests, NULL, NULL);
}
