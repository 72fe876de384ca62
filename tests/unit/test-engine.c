/*
 * The engine driven by hand: each test is a short story of events, and says which actions follow.
 */

#include "engine-world.h"

/* --- one message -------------------------------------------------------------------------- */

static void test_accepts_when_both_are_done(void **state) {
        World *world = *state;
        Partition *partition = activate(world, 0, 10, 10);
        fetch(world, partition, 10, "a");
        take(world);
        Batch *batch = only(world, ENGINE_SAVE)->batch;
        Run *run = only(world, ENGINE_RESTART)->run;
        assert_string_equal(run_host(run), "a");
        assert_int_equal(batch->parts[0].expected, 10);
        assert_int_equal(batch->parts[0].next, 11);
        saved(world, batch, BATCH_SAVED);
        assert_string_equal(world->finished, "");
        restarted(world, run, OUTCOME_DONE);
        assert_string_equal(world->finished, "A");
        assert_int_equal(engine_in_flight(world->engine), 0);
        /* The look comes first, then the commit of the watermark. */
        only(world, ENGINE_LOOK_COMMITTED);
        commit_answer(world, true, 10, true);
        only(world, ENGINE_COMMIT);
        assert_int_equal(engine_commit(world->engine)->entries[0].offset, 11);
        commit_answer(world, false, 0, true);
        assert_int_equal(partition->committed, 11);
        assert_true(engine_is_committed(world->engine));
}

static void test_nothing_unfinished_is_below_a_commit(void **state) {
        World *world = *state;
        Partition *partition = activate(world, 0, 10, 10);
        fetch(world, partition, 10, "a");
        fetch(world, partition, 13, "b"); /* a gap is no offset */
        take(world);
        Run *a = world->taken[0].run, *b = world->taken[1].run;
        saved(world, only(world, ENGINE_SAVE)->batch, BATCH_SAVED);
        restarted(world, b, OUTCOME_DONE);
        tick(world, 10 * SECOND);
        assert_int_equal(count(world, ENGINE_LOOK_COMMITTED), 0);
        restarted(world, a, OUTCOME_DONE);
        only(world, ENGINE_LOOK_COMMITTED);
        assert_int_equal(engine_commit(world->engine)->entries[0].offset, 14);
        assert_string_equal(world->finished, "AA");
}

static void test_a_failure_is_retried_alone_and_then_rejected(void **state) {
        World *world = *state;
        Partition *partition = activate(world, 0, 0, 0);
        fetch(world, partition, 0, "a");
        take(world);
        Run *run = only(world, ENGINE_RESTART)->run;
        saved(world, only(world, ENGINE_SAVE)->batch, BATCH_SAVED);
        for (int attempt = 1; attempt <= 3; attempt++) {
                assert_int_equal(run->attempt, attempt);
                restarted(world, run, OUTCOME_FAILED);
                if (attempt < 3) {
                        assert_true(engine_deadline(world->engine) > world->now);
                        tick(world, 70 * SECOND);
                        assert_int_equal(count(world, ENGINE_SAVE), 0);
                        run = only(world, ENGINE_RESTART)->run;
                }
        }
        Batch *batch = only(world, ENGINE_REJECT)->batch;
        Message *message = container_of(batch->messages.next, Message, lane_link);
        assert_string_equal(message->fault->reason, "failed");
        assert_string_equal(message->fault->detail, "detail");
        assert_int_equal(message->fault_handler, HANDLER_RESTART);
        assert_string_equal(world->finished, "");
        saved(world, batch, BATCH_SAVED);
        assert_string_equal(world->finished, "J");
}

/* Also beyond backoff_max, which is 60 s here; the attempt after it is the backoff's again. */
static void test_what_an_endpoint_asked_for_is_waited_out(void **state) {
        World *world = *state;
        Partition *partition = activate(world, 0, 0, 0);
        fetch(world, partition, 0, "a");
        take(world);
        Run *run = only(world, ENGINE_RESTART)->run;
        saved(world, only(world, ENGINE_SAVE)->batch, BATCH_SAVED);
        run->retry_after_us = 300 * SECOND;
        restarted(world, run, OUTCOME_NOT_STARTED);
        assert_int_equal(only(world, ENGINE_NOTE)->delay_us, 300 * SECOND);
        tick(world, 300 * SECOND - 1);
        assert_int_equal(count(world, ENGINE_RESTART), 0);
        tick(world, 1);
        run = only(world, ENGINE_RESTART)->run;
        assert_int_equal(run->retry_after_us, 0);
        restarted(world, run, OUTCOME_NOT_STARTED);
        tick(world, 70 * SECOND);
        assert_int_equal(count(world, ENGINE_RESTART), 1);
}

/* @n requests for hosts of their own, whose names begin with @letter; they are saved. Returns the
 * restart that starts, or NULL. */
static Run *fetch_hosts(World *world, Partition *partition, char letter, int n) {
        char host[16];
        for (int i = 0; i < n; i++) {
                snprintf(host, sizeof(host), "%c%d", letter, i);
                fetch(world, partition, partition->next, host);
        }
        take(world);
        Run *run = started(world);
        saved(world, only(world, ENGINE_SAVE)->batch, BATCH_SAVED);
        return run != NULL ? run : started(world);
}

/* Restarts of hosts with an f fail after @fails_us, all others are done after a second. Until
 * @until fresh ones are done; returns how many were tried again meanwhile. */
static int work(World *world, Run *run, int64_t fails_us, int until) {
        int again = 0;
        while (until > 0) {
                if (run == NULL) {
                        tick(world, SECOND);
                } else {
                        bool fails = run_host(run)[0] == 'f';
                        again += run->again;
                        until -= !run->again;
                        world->now += fails ? fails_us : SECOND;
                        restarted(world, run, fails ? OUTCOME_FAILED : OUTCOME_DONE);
                }
                run = started(world);
        }
        return again;
}

static void retries_beside_fresh_ones(World *world, int64_t fails_us, int expected) {
        enum { GOOD = 640 };
        world->config.concurrency = 1;
        world->config.attempts = 1000;
        world->config.in_flight = world->config.waiting = 10000;
        world->config.ack_gap = world->config.batch_rows = 10000;
        world->config.backoff_max_us = SECOND;
        Partition *partition = activate(world, 0, 0, 0);
        Run *run = fetch_hosts(world, partition, 'f', 10);
        for (int i = 0; i < 10; i++) {
                restarted(world, run, OUTCOME_FAILED);
                run = started(world);
        }
        assert_null(run);
        run = fetch_hosts(world, partition, 'g', GOOD);
        int again = work(world, run, fails_us, GOOD);
        assert_in_range(again, expected - 2, expected + 2);
}

static void test_retries_have_one_part_in_64_of_the_slots(void **state) {
        retries_beside_fresh_ones(*state, SECOND, 640 / 63);
}

static void test_retries_have_one_part_in_64_of_the_time(void **state) {
        retries_beside_fresh_ones(*state, 4 * SECOND, 640 / 63 / 4);
}

static void test_retries_fill_half_of_what_may_wait(void **state) {
        World *world = *state;
        world->config.concurrency = 1;
        world->config.waiting = 32;
        world->config.batch_rows = 20;
        Partition *partition = activate(world, 0, 0, 0);
        Run *run = fetch_hosts(world, partition, 'f', 17);
        fetch_hosts(world, partition, 'g', 1);
        for (int i = 0; i < 17; i++) {
                assert_int_equal(run->attempt, 1);
                restarted(world, run, OUTCOME_FAILED);
                run = started(world);
        }
        assert_null(run); /* the good one waits, and it is said */
        bool said = false;
        for (size_t i = 0; i < world->n_taken; i++) {
                said = said || (world->taken[i].type == ENGINE_NOTE &&
                                world->taken[i].note == NOTE_RETRIES_CROWD);
        }
        assert_true(said);
        assert_true(engine_is_reading(world->engine));
        while (run == NULL || run_host(run)[0] == 'f') {
                if (run != NULL) {
                        restarted(world, run, OUTCOME_FAILED);
                        if (count(world, ENGINE_REJECT) > 0) {
                                run = started(world);
                                saved(world, only(world, ENGINE_REJECT)->batch, BATCH_SAVED);
                                run = run != NULL ? run : started(world);
                                continue;
                        }
                } else {
                        tick(world, SECOND);
                }
                run = started(world);
        }
        /* An eighth of the share is free again. */
        assert_string_equal(world->finished, "JJJ");
        assert_string_equal(run_host(run), "g0");
}

/* A table `rejected` that is out of order keeps nobody else from being read or restarted. */
static void test_what_waits_for_its_rejection_is_no_retry(void **state) {
        World *world = *state;
        world->config.concurrency = 1;
        world->config.attempts = 1;
        world->config.in_flight = 5;
        world->config.waiting = 20;
        world->config.batches = 2;
        world->config.batch_rows = 20;
        Partition *partition = activate(world, 0, 0, 0);
        for (int i = 0; i < 12; i++) {
                Run *run = fetch_hosts(world, partition, i < 11 ? 'f' : 'g', 1);
                assert_non_null(run);
                if (i < 11) {
                        restarted(world, run, OUTCOME_FAILED);
                }
        }
        assert_int_equal(engine_waiting(world->engine), 11);
        assert_int_equal(engine_in_flight(world->engine), 1);
        assert_true(engine_is_reading(world->engine));
}

/* The restarts among the actions taken last; returns how many. */
static size_t all_started(World *world, Run **runs) {
        size_t n = 0;
        for (size_t i = 0; i < world->n_taken; i++) {
                if (world->taken[i].type == ENGINE_RESTART) {
                        runs[n++] = world->taken[i].run;
                }
        }
        return n;
}

static void test_retries_have_every_slot_but_a_quarter(void **state) {
        World *world = *state;
        static const size_t limits[][2] = {{16, 12}, {0, 40}};
        Run *runs[40];
        char host[8];
        int64_t offset = 0;
        world->config.batch_rows = 100;
        Partition *partition = activate(world, 0, 0, 0);
        for (int i = 0; i < 2; i++) {
                world->config.concurrency = 0;
                for (int k = 0; k < 40; k++, offset++) {
                        snprintf(host, sizeof(host), "f%d-%d", i, k);
                        fetch(world, partition, offset, host);
                }
                take(world);
                Batch *batch = only(world, ENGINE_SAVE)->batch;
                assert_int_equal(all_started(world, runs), 40);
                saved(world, batch, BATCH_SAVED);
                for (int k = 0; k < 40; k++) {
                        restarted(world, runs[k], OUTCOME_FAILED);
                }
                world->config.concurrency = limits[i][0];
                tick(world, 2 * SECOND);
                assert_int_equal(engine_running(world->engine), limits[i][1]);
                world->config.concurrency = 0;
                for (size_t n = all_started(world, runs); n > 0; n = all_started(world, runs)) {
                        for (size_t k = 0; k < n; k++) {
                                assert_int_equal(engine_restarted(world->engine, runs[k],
                                                                  OUTCOME_DONE, true, NULL,
                                                                  world->now),
                                                 0);
                        }
                        take(world);
                }
                assert_int_equal(engine_running(world->engine), 0);
        }
}

/* Only the time counts in which somebody waited. */
static void test_a_retry_owes_nothing_for_time_that_nobody_wanted(void **state) {
        World *world = *state;
        world->config.concurrency = 1;
        world->config.attempts = 1000;
        world->config.batch_rows = 200;
        world->config.waiting = world->config.ack_gap = world->config.in_flight = 1000;
        Partition *partition = activate(world, 0, 0, 0);
        Run *run = fetch_hosts(world, partition, 'f', 1);
        restarted(world, run, OUTCOME_FAILED);
        tick(world, SECOND);
        run = started(world);
        assert_true(run->again);
        tick(world, 100 * SECOND);
        assert_null(fetch_hosts(world, partition, 'g', 100));
        world->now += SECOND;
        restarted(world, run, OUTCOME_FAILED);
        assert_in_range(work(world, started(world), SECOND, 100), 1, 3);
}

static void test_a_host_is_fresh_again_after_its_retry(void **state) {
        World *world = *state;
        Partition *partition = activate(world, 0, 0, 0);
        fetch(world, partition, 0, "a");
        take(world);
        Run *run = only(world, ENGINE_RESTART)->run;
        uint64_t id = run->id;
        assert_int_equal(run->attempt, 1);
        saved(world, only(world, ENGINE_SAVE)->batch, BATCH_SAVED);
        restarted(world, run, OUTCOME_FAILED);
        tick(world, 2 * SECOND);
        run = only(world, ENGINE_RESTART)->run;
        assert_true(run->again);
        assert_int_equal(run->attempt, 2);
        assert_true(run->id > id);
        id = run->id;
        fetch(world, partition, 1, "a");
        take(world);
        restarted(world, run, OUTCOME_DONE);
        run = only(world, ENGINE_RESTART)->run;
        assert_false(run->again);
        assert_int_equal(run->attempt, 1);
        assert_true(run->id > id);
}

/* The payloads of what is retried, when they are kept. */
static void test_retries_fill_half_of_the_bytes(void **state) {
        World *world = *state;
        world->config.concurrency = 1;
        world->config.keep_payload = true;
        world->config.batch_rows = 40;
        world->config.in_flight_bytes = 32 * strlen("{\"host\":\"f10\"}");
        Partition *partition = activate(world, 0, 0, 0);
        char host[8];
        for (int i = 0; i < 18; i++) {
                snprintf(host, sizeof(host), "%c%d", i < 17 ? 'f' : 'g', i + 10);
                fetch(world, partition, i, host);
        }
        take(world);
        Run *run = only(world, ENGINE_RESTART)->run;
        saved(world, only(world, ENGINE_SAVE)->batch, BATCH_SAVED);
        for (int i = 0; i < 16; i++) {
                restarted(world, run, OUTCOME_FAILED);
                run = started(world);
                assert_non_null(run);
        }
        restarted(world, run, OUTCOME_FAILED); /* 17 of 32: over the half */
        assert_null(started(world));
        run = NULL;
        for (int i = 0, done = 0; i < 100 && done < 3; i++) {
                if (run == NULL) {
                        tick(world, SECOND);
                } else {
                        bool thin = false;
                        assert_true(run->again);
                        restarted(world, run, OUTCOME_DONE);
                        for (size_t k = 0; k < world->n_taken; k++) {
                                thin = thin || (world->taken[k].type == ENGINE_NOTE &&
                                                world->taken[k].note == NOTE_RETRIES_THIN);
                        }
                        assert_int_equal(thin, ++done == 3);
                }
                run = started(world);
        }
        assert_non_null(run);
}

/* More than the table has room for at first. */
static void test_many_hosts_wait(void **state) {
        enum { MANY = 700 };
        World *world = *state;
        world->config.concurrency = 1;
        world->config.batch_rows = world->config.ack_gap = world->config.in_flight = 10000;
        world->config.waiting = 10000;
        Partition *partition = activate(world, 0, 0, 0);
        char host[16];
        for (int i = 0; i < 2 * MANY; i++) {
                snprintf(host, sizeof(host), "h%d", i % MANY);
                fetch(world, partition, i, host);
        }
        take(world);
        Run *run = only(world, ENGINE_RESTART)->run;
        saved(world, only(world, ENGINE_SAVE)->batch, BATCH_SAVED);
        for (int i = 0; i < MANY; i++) {
                snprintf(host, sizeof(host), "h%d", i);
                assert_string_equal(run_host(run), host);
                restarted(world, run, OUTCOME_DONE);
                run = started(world);
        }
        assert_null(run);
        assert_int_equal(engine_totals(world->engine)->runs, MANY);
        assert_int_equal(engine_totals(world->engine)->finished[FINISH_ACCEPTED], 2 * MANY);
}

/* Commands that hang may be all that there is to do: who comes next finds a slot. */
static void test_retries_leave_a_quarter_of_the_slots(void **state) {
        World *world = *state;
        world->config.concurrency = 4;
        world->config.batch_rows = 20;
        Partition *partition = activate(world, 0, 0, 0);
        char host[8];
        for (int i = 0; i < 8; i++) {
                snprintf(host, sizeof(host), "f%d", i);
                fetch(world, partition, i, host);
        }
        take(world);
        Run *runs[8];
        size_t n = 0;
        Batch *batch = only(world, ENGINE_SAVE)->batch;
        for (size_t i = 0; i < world->n_taken; i++) {
                if (world->taken[i].type == ENGINE_RESTART) {
                        runs[n++] = world->taken[i].run;
                }
        }
        saved(world, batch, BATCH_SAVED);
        for (size_t i = 0; i < n; i++) {
                restarted(world, runs[i], OUTCOME_FAILED);
                for (size_t k = 0; k < world->n_taken && n < 8; k++) {
                        if (world->taken[k].type == ENGINE_RESTART) {
                                runs[n++] = world->taken[k].run;
                        }
                }
        }
        tick(world, 70 * SECOND);
        assert_int_equal(engine_running(world->engine), 3);
        assert_non_null(fetch_hosts(world, partition, 'g', 1));
        assert_int_equal(engine_running(world->engine), 4);
}

/* One part in 64 of four slots is one slot, while fresh hosts wait. */
static void test_one_retry_at_a_time_beside_fresh_ones(void **state) {
        World *world = *state;
        Run *runs[16];
        char host[8];
        world->config.concurrency = 4;
        world->config.batch_rows = 20;
        Partition *partition = activate(world, 0, 0, 0);
        for (int i = 0; i < 16; i++) {
                snprintf(host, sizeof(host), "%c%d", i < 4 ? 'f' : 'g', i);
                fetch(world, partition, i, host);
        }
        take(world);
        Batch *batch = only(world, ENGINE_SAVE)->batch;
        assert_int_equal(all_started(world, runs), 4);
        saved(world, batch, BATCH_SAVED);
        for (int round = 0; round < 2; round++) {
                for (int i = 0; i < 4; i++) {
                        assert_int_equal(engine_restarted(world->engine, runs[i],
                                                          round == 0 ? OUTCOME_FAILED
                                                                     : OUTCOME_DONE,
                                                          true, NULL, world->now),
                                         0);
                }
                take(world);
                assert_int_equal(all_started(world, runs), 4);
                int again = 0;
                for (int i = 0; i < 4; i++) {
                        again += runs[i]->again;
                }
                assert_int_equal(again, round);
                tick(world, 2 * SECOND); /* their retries are due */
        }
}

static void test_what_cannot_be_read_is_rejected_with_its_fence(void **state) {
        World *world = *state;
        Partition *partition = activate(world, 0, 0, 0);
        fetch_bytes(world, partition, 0, "not json");
        fetch(world, partition, 1, "a");
        fetch_bytes(world, partition, 2, NULL);
        take(world);
        Batch *batch = only(world, ENGINE_SAVE)->batch;
        Run *run = only(world, ENGINE_RESTART)->run;
        assert_int_equal(batch->rows, 3);
        assert_int_equal(batch->parts[0].next, 3);
        Message *first = container_of(batch->messages.next, Message, lane_link);
        assert_int_equal(first->record, MESSAGE_FAULTY);
        assert_non_null(first->fault);
        saved(world, batch, BATCH_SAVED);
        assert_string_equal(world->finished, "JT");
        restarted(world, run, OUTCOME_DONE);
        assert_string_equal(world->finished, "JTA");
        assert_int_equal(engine_totals(world->engine)->saved_rows, 1);
}

static void test_a_denied_host_is_saved_and_rejected(void **state) {
        World *world = *state;
        Partition *partition = activate(world, 0, 0, 0);
        fetch(world, partition, 0, "bad-1");
        take(world);
        assert_int_equal(count(world, ENGINE_RESTART), 0);
        Batch *batch = only(world, ENGINE_SAVE)->batch;
        saved(world, batch, BATCH_SAVED);
        batch = only(world, ENGINE_REJECT)->batch;
        Message *message = container_of(batch->messages.next, Message, lane_link);
        assert_string_equal(message->fault->reason, "denied");
        saved(world, batch, BATCH_SAVED);
        assert_string_equal(world->finished, "J");
}

static void test_below_the_fence_only_the_restart_runs(void **state) {
        World *world = *state;
        Partition *partition = activate(world, 0, 10, 12);
        fetch(world, partition, 10, "a");
        fetch_bytes(world, partition, 11, "not json");
        take(world);
        assert_int_equal(count(world, ENGINE_SAVE), 0);
        assert_string_equal(world->finished, "");
        Run *run = only(world, ENGINE_RESTART)->run;
        /* Its row in `rejected` may be there or not: the configuration may have changed. */
        saved(world, only(world, ENGINE_REJECT)->batch, BATCH_SAVED);
        assert_string_equal(world->finished, "J");
        restarted(world, run, OUTCOME_DONE);
        assert_string_equal(world->finished, "JA");
}

static void test_a_duplicate_is_counted_and_dropped(void **state) {
        World *world = *state;
        Partition *partition = activate(world, 0, 10, 10);
        fetch(world, partition, 10, "a");
        fetch(world, partition, 10, "a");
        fetch(world, partition, 9, "a");
        assert_int_equal(engine_in_flight(world->engine), 1);
        assert_int_equal(engine_totals(world->engine)->finished[FINISH_DUPLICATE], 2);
}

/* What a transaction leaves at the end of a log: no message comes for it. */
static void test_the_end_of_a_log_is_passed(void **state) {
        World *world = *state;
        Partition *partition = activate(world, 0, 10, 10);
        fetch(world, partition, 10, "a");
        assert_int_equal(engine_ended(world->engine, partition, 11, 1000, world->now), 0);
        assert_int_equal(partition->next, 11);
        assert_int_equal(engine_ended(world->engine, partition, 13, 1000, world->now), 0);
        assert_int_equal(engine_ended(world->engine, partition, 13, 1000, world->now), 0);
        assert_int_equal(engine_in_flight(world->engine), 1);
        take(world);
        Batch *batch = only(world, ENGINE_SAVE)->batch;
        Run *run = only(world, ENGINE_RESTART)->run;
        assert_int_equal(batch->parts[0].expected, 10);
        assert_int_equal(batch->parts[0].next, 13);
        saved(world, batch, BATCH_SAVED);
        /* The message before it still runs. */
        assert_int_equal(partition->offsets.watermark, 10);
        restarted(world, run, OUTCOME_DONE);
        only(world, ENGINE_LOOK_COMMITTED);
        commit_answer(world, true, 10, true);
        assert_int_equal(engine_commit(world->engine)->entries[0].offset, 13);
        commit_answer(world, false, 0, true);
        assert_int_equal(engine_in_flight(world->engine), 0);
        const EngineTotals *totals = engine_totals(world->engine);
        assert_int_equal(totals->received, 1);
        assert_int_equal(totals->finished[FINISH_ACCEPTED], 1);
        assert_int_equal(totals->finished[FINISH_TOMBSTONE], 0);
        /* Nothing of it while the partition is let go; its next owner comes to it. */
        assert_int_equal(engine_revoked(world->engine, &partition, 1, false, world->now), 0);
        assert_int_equal(engine_ended(world->engine, partition, 20, 1000, world->now), 0);
        take(world);
        only(world, ENGINE_UNASSIGN);
        assert_int_equal(count(world, ENGINE_SAVE), 0);
}

/* As the eager protocol does: the group has gone on while the answer was on its way. */
static void test_a_revoke_of_what_is_gone_is_answered_once(void **state) {
        World *world = *state;
        Partition *partition = activate(world, 0, 0, 0);
        EngineAction action;
        bool taken = false;
        fetch(world, partition, 0, "a");
        fetch(world, partition, 1, "a");
        assert_int_equal(engine_revoked(world->engine, &partition, 1, false, world->now), 0);
        assert_int_equal(engine_next_action(world->engine, &action, &taken), 0);
        assert_int_equal(action.type, ENGINE_FINISHED);
        message_free(action.message);
        assert_int_equal(partition->state, PARTITION_GONE);
        assert_int_equal(engine_revoked(world->engine, &partition, 1, true, world->now), 0);
        take(world);
        only(world, ENGINE_UNASSIGN);
        assert_string_equal(world->finished, "L");
}

static void test_the_end_of_a_held_log_comes_again(void **state) {
        World *world = *state;
        world->config.ack_gap = 2;
        Partition *partition = activate(world, 0, 10, 10);
        fetch(world, partition, 10, "a");
        fetch(world, partition, 11, "b");
        take(world);
        only(world, ENGINE_PAUSE);
        fetch(world, partition, 12, "c"); /* was on its way */
        assert_int_equal(engine_ended(world->engine, partition, 15, 1000, world->now), 0);
        assert_int_equal(partition->next, 12);
}

/* --- hosts -------------------------------------------------------------------------------- */

static void test_requests_that_wait_share_a_restart(void **state) {
        World *world = *state;
        Partition *partition = activate(world, 0, 0, 0);
        fetch(world, partition, 0, "a");
        take(world);
        Run *first = only(world, ENGINE_RESTART)->run;
        fetch(world, partition, 1, "a");
        fetch(world, partition, 2, "A.");
        take(world);
        assert_int_equal(count(world, ENGINE_RESTART), 0);
        restarted(world, first, OUTCOME_DONE);
        Run *second = only(world, ENGINE_RESTART)->run;
        assert_int_equal(engine_totals(world->engine)->runs, 2);
        restarted(world, second, OUTCOME_DONE);
        assert_int_equal(count(world, ENGINE_RESTART), 0);
}

static void test_those_who_share_a_restart_do_not_fill_the_intake(void **state) {
        World *world = *state;
        world->config.in_flight = 8;
        world->config.batch_rows = 100;
        Partition *partition = activate(world, 0, 0, 0);
        fetch(world, partition, 0, "a");
        take(world);
        Run *first = only(world, ENGINE_RESTART)->run;
        saved(world, only(world, ENGINE_SAVE)->batch, BATCH_SAVED);
        for (int i = 1; i < 30; i += 5) {
                for (int j = i; j < i + 5; j++) {
                        fetch(world, partition, j, "a");
                }
                take(world);
                saved(world, only(world, ENGINE_SAVE)->batch, BATCH_SAVED);
        }
        restarted(world, first, OUTCOME_DONE);
        Run *second = only(world, ENGINE_RESTART)->run;
        assert_int_equal(engine_in_flight(world->engine), 1);
        assert_int_equal(engine_waiting(world->engine), 29);
        assert_true(engine_is_reading(world->engine));
        restarted(world, second, OUTCOME_DONE);
        assert_int_equal(engine_in_flight(world->engine) + engine_waiting(world->engine), 0);
        assert_int_equal(strlen(world->finished), 31);
}

static void test_a_revoked_partition_is_not_looked_at_again(void **state) {
        World *world = *state;
        Partition *stopped = activate(world, 0, 10, 10), *busy = activate(world, 1, 0, 0);
        PartitionFacts facts = {.committed = 10, .low = 50, .high = 90};
        assert_int_equal(engine_out_of_range(world->engine, stopped, world->now), 0);
        take(world);
        assert_int_equal(engine_looked_up(world->engine, stopped, &facts, world->now), 0);
        take(world);
        assert_int_equal(stopped->state, PARTITION_STOPPED);
        fetch(world, busy, 0, "a");
        take(world);
        Batch *batch = only(world, ENGINE_SAVE)->batch;
        Partition *both[] = {stopped, busy};
        assert_int_equal(engine_revoked(world->engine, both, 2, false, world->now), 0);
        take(world);
        tick(world, 4900000);
        assert_int_equal(count(world, ENGINE_LOOK_UP), 0);
        assert_int_equal(stopped->state, PARTITION_DRAINING);
        saved(world, batch, BATCH_SAVED);
        only(world, ENGINE_UNASSIGN);
}

static void test_a_restart_that_was_ordered_does_not_start_after_a_revoke(void **state) {
        World *world = *state;
        Partition *partition = activate(world, 0, 0, 0);
        EngineAction action;
        bool taken;
        fetch(world, partition, 0, "a");
        fetch(world, partition, 1, "b");
        assert_int_equal(engine_next_action(world->engine, &action, &taken), 0);
        assert_true(taken && action.type == ENGINE_RESTART);
        assert_int_equal(engine_revoked(world->engine, &partition, 1, false, world->now), 0);
        take(world);
        assert_int_equal(count(world, ENGINE_RESTART), 0);
}

static void test_a_failure_after_a_revoke_is_the_next_owners(void **state) {
        World *world = *state;
        Partition *partition = activate(world, 0, 0, 0);
        fetch(world, partition, 0, "a");
        take(world);
        Run *run = only(world, ENGINE_RESTART)->run;
        Batch *batch = only(world, ENGINE_SAVE)->batch;
        restarted(world, run, OUTCOME_FAILED);
        assert_int_equal(engine_revoked(world->engine, &partition, 1, false, world->now), 0);
        take(world);
        saved(world, batch, BATCH_SAVED);
        assert_string_equal(world->finished, "L");
        only(world, ENGINE_UNASSIGN);
}

static void test_a_start_that_cannot_be_committed_is_no_spin(void **state) {
        World *world = *state;
        Partition *partition = NULL;
        PartitionFacts facts = {.committed = -1, .low = 3, .high = 9};
        assert_int_equal(engine_assigned(world->engine, "t", 0, NULL, world->now, &partition), 0);
        take(world);
        assert_int_equal(engine_looked_up(world->engine, partition, &facts, world->now), 0);
        assert_int_equal(engine_source_read(world->engine, partition, &facts, world->now), 0);
        take(world);
        assert_int_equal(engine_adopted(world->engine, partition, ADOPT_OK, 42, world->now), 0);
        take(world);
        only(world, ENGINE_LOOK_COMMITTED);
        commit_answer(world, true, -1, false); /* the group cannot be asked */
        assert_int_equal(engine_totals(world->engine)->commits_failed, 1);
        assert_int_equal(count(world, ENGINE_LOOK_COMMITTED), 0);
        tick(world, SECOND);
        only(world, ENGINE_LOOK_COMMITTED);
        commit_answer(world, true, 7, true); /* somebody else committed: looked up anew */
        assert_int_equal(count(world, ENGINE_LOOK_COMMITTED), 0);
        tick(world, 20 * SECOND);
        only(world, ENGINE_LOOK_UP);
}

/* Most topics begin at 0, and their start is committed like any other. */
static void test_a_start_at_0_that_cannot_be_committed_is_tried_again(void **state) {
        World *world = *state;
        Partition *partition = NULL;
        PartitionFacts facts = {.committed = -1, .low = 0, .high = 9};
        assert_int_equal(engine_assigned(world->engine, "t", 0, NULL, world->now, &partition), 0);
        assert_int_equal(engine_looked_up(world->engine, partition, &facts, world->now), 0);
        assert_int_equal(engine_source_read(world->engine, partition, &facts, world->now), 0);
        assert_int_equal(engine_adopted(world->engine, partition, ADOPT_OK, 42, world->now), 0);
        take(world);
        only(world, ENGINE_LOOK_COMMITTED);
        commit_answer(world, true, -1, false);
        tick(world, SECOND);
        only(world, ENGINE_LOOK_COMMITTED);
        commit_answer(world, true, -1, true);
        only(world, ENGINE_COMMIT);
        assert_int_equal(engine_commit(world->engine)->entries[0].offset, 0);
        commit_answer(world, false, 0, true);
        assert_int_equal(only(world, ENGINE_SEEK)->offset, 0);
}

static void test_concurrency_and_no_host_holds_up_another(void **state) {
        World *world = *state;
        Partition *partition = activate(world, 0, 0, 0);
        fetch(world, partition, 0, "slow");
        fetch(world, partition, 1, "b");
        fetch(world, partition, 2, "c");
        take(world);
        assert_int_equal(count(world, ENGINE_RESTART), 2);
        Run *b = world->taken[1].run;
        assert_string_equal(run_host(b), "b");
        restarted(world, b, OUTCOME_DONE);
        assert_string_equal(run_host(only(world, ENGINE_RESTART)->run), "c");
}

/* --- PostgreSQL --------------------------------------------------------------------------- */

static void test_an_unknown_end_is_settled_by_the_fence(void **state) {
        World *world = *state;
        world->config.restart = false;
        Partition *partition = activate(world, 0, 0, 0);
        for (int i = 0; i < 4; i++) {
                fetch(world, partition, i, "a");
        }
        take(world);
        Batch *batch = only(world, ENGINE_SAVE)->batch;
        saved(world, batch, BATCH_UNKNOWN);
        assert_int_equal(count(world, ENGINE_READ_FENCES), 0);
        tick(world, 100 * SECOND);
        assert_ptr_equal(only(world, ENGINE_READ_FENCES)->batch, batch);
        /* Half of it was saved by somebody: only the rest is sent. */
        int64_t fence = 2;
        assert_int_equal(engine_fences_read(world->engine, batch, &fence, NULL, 0, world->now), 0);
        take(world);
        assert_string_equal(world->finished, "AA");
        assert_ptr_equal(only(world, ENGINE_SAVE)->batch, batch);
        assert_int_equal(batch->parts[0].expected, 2);
        assert_int_equal(batch->parts[0].rows, 2);
        saved(world, batch, BATCH_UNKNOWN);
        tick(world, 100 * SECOND);
        fence = 4;
        assert_int_equal(engine_fences_read(world->engine, batch, &fence, NULL, 0, world->now), 0);
        take(world);
        assert_string_equal(world->finished, "AAAA");
        assert_int_equal(partition->fence, 4);
}

static void test_a_fence_that_went_back_starts_the_partition_anew(void **state) {
        World *world = *state;
        world->config.restart = false;
        Partition *partition = activate(world, 0, 10, 10);
        uint64_t epoch = partition->epoch;
        fetch(world, partition, 10, "a");
        take(world);
        Batch *batch = only(world, ENGINE_SAVE)->batch;
        saved(world, batch, BATCH_FENCE);
        /* Read at once the first time. */
        only(world, ENGINE_READ_FENCES);
        int64_t fence = 7;
        assert_int_equal(engine_fences_read(world->engine, batch, &fence, NULL, 0, world->now), 0);
        take(world);
        assert_string_equal(world->finished, "L");
        only(world, ENGINE_LOOK_UP);
        assert_int_equal(partition->state, PARTITION_LOOKING_UP);
        assert_true(partition->epoch > epoch);
        assert_int_equal(engine_in_flight(world->engine), 0);
}

static void test_an_outage_charges_nobody_and_holds_back_the_rest(void **state) {
        World *world = *state;
        world->config.restart = false;
        world->config.batches = 2;
        Partition *partition = activate(world, 0, 0, 0);
        fetch(world, partition, 0, "a");
        take(world);
        Batch *batch = only(world, ENGINE_SAVE)->batch;
        Partition *other = activate(world, 1, 0, 0);
        saved(world, batch, BATCH_OUTAGE);
        fetch(world, other, 0, "b");
        take(world);
        assert_int_equal(count(world, ENGINE_SAVE), 0);
        int64_t due = engine_deadline(world->engine);
        assert_true(due > world->now && due <= world->now + SECOND);
        tick(world, due - world->now);
        only(world, ENGINE_READ_FENCES);
        only(world, ENGINE_SAVE);
}

static void test_a_refused_row_is_rejected_and_its_neighbours_saved(void **state) {
        World *world = *state;
        world->config.restart = false;
        Partition *partition = activate(world, 0, 0, 0);
        for (int i = 0; i < 3; i++) {
                fetch(world, partition, i, "a");
        }
        take(world);
        Batch *batch = only(world, ENGINE_SAVE)->batch;
        saved(world, batch, BATCH_REFUSED);
        only(world, ENGINE_SAVE_EACH);
        RefusedRow refused = {.source = 1, .offset = 1, .detail = "22P05"};
        assert_int_equal(engine_saved_each(world->engine, batch, BATCH_SAVED, &refused, 1,
                                           world->now),
                         0);
        take(world);
        assert_string_equal(world->finished, "JAA");
        assert_int_equal(count(world, ENGINE_REJECT), 0);
        assert_int_equal(partition->offsets.watermark, 3);
}

static void test_a_table_that_refuses_every_row_is_an_outage(void **state) {
        World *world = *state;
        world->config.restart = false;
        Partition *partition = activate(world, 0, 0, 0);
        fetch(world, partition, 0, "a");
        take(world);
        for (int i = 0; i < 20; i++) {
                Batch *batch = only(world, ENGINE_SAVE)->batch;
                saved(world, batch, BATCH_REFUSED);
                assert_ptr_equal(only(world, ENGINE_SAVE_EACH)->batch, batch);
                assert_int_equal(engine_saved_each(world->engine, batch, BATCH_REFUSED, NULL, 0,
                                                   world->now),
                                 0);
                take(world);
                assert_int_equal(count(world, ENGINE_SAVE), 0);
                tick(world,
                     5 * SECOND); /* five minutes of retry.backoff_max would be far too long */
        }
        saved(world, only(world, ENGINE_SAVE)->batch, BATCH_SAVED);
        assert_string_equal(world->finished, "A");
        assert_int_equal(engine_totals(world->engine)->finished[FINISH_REJECTED], 0);
}

static void test_a_lost_reply_hides_no_refused_row(void **state) {
        World *world = *state;
        world->config.restart = false;
        Partition *partition = activate(world, 0, 0, 0);
        fetch(world, partition, 0, "a");
        fetch(world, partition, 1, "b");
        take(world);
        Batch *batch = only(world, ENGINE_SAVE)->batch;
        saved(world, batch, BATCH_REFUSED);
        only(world, ENGINE_SAVE_EACH);
        assert_int_equal(engine_saved_each(world->engine, batch, BATCH_UNKNOWN, NULL, 0,
                                           world->now),
                         0);
        tick(world, SECOND);
        only(world, ENGINE_READ_FENCES);
        RefusedRow refused = {.source = 1, .offset = 1, .detail = "22P05: no"};
        assert_int_equal(engine_fences_read(world->engine, batch, (int64_t[]){2}, &refused, 1,
                                            world->now),
                         0);
        take(world);
        assert_string_equal(world->finished, "JA");
}

static void test_bad_rows_alone_meet_others(void **state) {
        World *world = *state;
        world->config.restart = false;
        Partition *partition = activate(world, 0, 0, 0);
        fetch(world, partition, 0, "a");
        fetch(world, partition, 1, "a");
        take(world);
        Batch *batch = only(world, ENGINE_SAVE)->batch;
        saved(world, batch, BATCH_REFUSED);
        assert_int_equal(engine_saved_each(world->engine, batch, BATCH_REFUSED, NULL, 0,
                                           world->now),
                         0);
        fetch(world, partition, 2, "a");
        take(world);
        assert_int_equal(count(world, ENGINE_SAVE), 0);
        int64_t due = engine_deadline(world->engine);
        assert_in_range(due - world->now, 1, SECOND / 10);
        assert_int_equal(only(world, ENGINE_NOTE)->delay_us, due - world->now);
        tick(world, due - world->now - 1);
        assert_int_equal(count(world, ENGINE_SAVE), 0);
        tick(world, 1);
        batch = only(world, ENGINE_SAVE)->batch;
        assert_int_equal(batch->rows, 3);
        assert_int_equal(batch->parts[0].expected, 0);
        int64_t offset = 0;
        list_for_each(link, &batch->messages) {
                assert_int_equal(container_of(link, Message, lane_link)->offset, offset++);
        }
        saved(world, batch, BATCH_SAVED);
        assert_string_equal(world->finished, "AAA");
}

/* Two batches, of two partitions; the first one is at the database with the first partition. */
static void two_batches(World *world, Partition *partitions[2], Batch *batches[2]) {
        world->config.restart = false;
        world->config.batches = 2;
        for (int i = 0; i < 2; i++) {
                partitions[i] = activate(world, i, 0, 0);
        }
        for (int i = 0; i < 2; i++) {
                fetch(world, partitions[i], 0, "a");
                take(world);
                batches[i] = only(world, ENGINE_SAVE)->batch;
        }
}

static void test_a_success_ends_the_wait_for_the_database(void **state) {
        World *world = *state;
        Partition *partitions[2];
        Batch *batches[2];
        two_batches(world, partitions, batches);
        for (int i = 0; i < 10; i++) {
                saved(world, batches[0], BATCH_OUTAGE);
                tick(world, 5 * SECOND);
        }
        saved(world, batches[0], BATCH_OUTAGE);
        saved(world, batches[1], BATCH_SAVED);
        fetch(world, partitions[1], 1, "a");
        take(world);
        assert_int_equal(count(world, ENGINE_SAVE), 1);
}

static void test_a_batch_in_trouble_of_its_own_holds_up_no_other(void **state) {
        World *world = *state;
        Partition *partitions[2];
        Batch *batches[2];
        two_batches(world, partitions, batches);
        world->now += SECOND;
        saved(world, batches[1], BATCH_SAVED);
        for (int64_t offset = 1; offset < 20; offset++) {
                saved(world, batches[0], BATCH_OUTAGE); /* its fence is locked */
                fetch(world, partitions[1], offset, "a");
                take(world);
                EngineAction *action = NULL;
                for (size_t i = 0; i < world->n_taken; i++) {
                        action = world->taken[i].type == ENGINE_SAVE &&
                                                 world->taken[i].batch != batches[0]
                                         ? &world->taken[i]
                                         : action;
                }
                assert_non_null(action);
                world->now += 5 * SECOND;
                saved(world, action->batch, BATCH_SAVED);
        }
}

/* With one connection only: the batch that waits to be tried again does not keep it. */
static void test_a_locked_fence_keeps_no_connection(void **state) {
        World *world = *state;
        world->config.restart = false;
        Partition *locked = activate(world, 0, 0, 0);
        Partition *other = activate(world, 1, 0, 0);
        size_t tries = 0;
        fetch(world, locked, 0, "a");
        tick(world, 0);
        for (int i = 0; i < 200; i++) {
                Batch *batch = NULL;
                if (count(world, ENGINE_READ_FENCES) == 1) {
                        batch = only(world, ENGINE_READ_FENCES)->batch;
                        assert_int_equal(engine_fences_read(world->engine, batch, (int64_t[]){0},
                                                            NULL, 0, world->now),
                                         0);
                        take(world);
                }
                if (count(world, ENGINE_SAVE) == 1) {
                        batch = only(world, ENGINE_SAVE)->batch;
                        bool stuck = batch->parts[0].partition == locked;
                        tries += stuck ? 1 : 0;
                        world->now += stuck ? 5 * SECOND : 0; /* lock_timeout */
                        saved(world, batch, stuck ? BATCH_OUTAGE : BATCH_SAVED);
                } else {
                        fetch(world, other, i, "a");
                        tick(world, SECOND);
                }
        }
        assert_true(tries > 10);
        /* All but the newest, which waits for the try that is under way. */
        assert_true(other->next - other->fence <= 1);
        assert_true(other->fence > 50);
}

static void test_a_batch_that_fails_again_is_split(void **state) {
        World *world = *state;
        Partition *partitions[3];
        world->config.restart = false;
        world->config.batches = 3;
        for (int i = 0; i < 3; i++) {
                partitions[i] = activate(world, i, 0, 0);
        }
        for (int i = 0; i < 6; i++) {
                fetch(world, partitions[i % 3], i / 3, "a");
        }
        take(world);
        Batch *batch = only(world, ENGINE_SAVE)->batch;
        int64_t begun_us = batch->begun_us;
        saved(world, batch, BATCH_OUTAGE);
        tick(world, 5 * SECOND);
        const int64_t fences[] = {0, 0, 0};
        assert_int_equal(engine_fences_read(world->engine, batch, fences, NULL, 0, world->now), 0);
        take(world);
        assert_ptr_equal(only(world, ENGINE_SAVE)->batch, batch);
        assert_int_equal(batch->rows, 6);
        saved(world, batch, BATCH_OUTAGE);
        tick(world, 5 * SECOND);
        assert_int_equal(engine_fences_read(world->engine, batch, fences, NULL, 0, world->now), 0);
        take(world);
        assert_int_equal(count(world, ENGINE_SAVE), 3);
        Batch *alone[3];
        for (size_t i = 0, n = 0; i < world->n_taken; i++) {
                if (world->taken[i].type == ENGINE_SAVE) {
                        alone[n++] = world->taken[i].batch;
                }
        }
        for (int i = 0; i < 3; i++) {
                assert_int_equal(alone[i]->n_parts, 1);
                assert_int_equal(alone[i]->rows, 2);
                /* It goes on with the delays where it was, and what was saved since counts. */
                assert_int_equal(alone[i]->failures, 2);
                assert_int_equal(alone[i]->begun_us, begun_us);
                Message *first = container_of(alone[i]->messages.next, Message, lane_link);
                assert_ptr_equal(first->partition, alone[i]->parts[0].partition);
                assert_int_equal(first->offset, 0);
                saved(world, alone[i], BATCH_SAVED);
        }
        assert_string_equal(world->finished, "AAAAAA");
        /* From then on they go together again. */
        world->config.batches = 1;
        for (int i = 0; i < 3; i++) {
                fetch(world, partitions[i], 2, "a");
        }
        take(world);
        assert_int_equal(only(world, ENGINE_SAVE)->batch->n_parts, 3);
}

static void test_a_batch_of_two_that_fails_again_is_split(void **state) {
        World *world = *state;
        world->config.restart = false;
        world->config.batches = 2;
        Partition *one = activate(world, 0, 0, 0), *two = activate(world, 1, 0, 0);
        fetch(world, one, 0, "a");
        fetch(world, two, 0, "a");
        take(world);
        Batch *batch = only(world, ENGINE_SAVE)->batch;
        for (int i = 0; i < 2; i++) {
                saved(world, batch, BATCH_OUTAGE);
                tick(world, 5 * SECOND);
                only(world, ENGINE_READ_FENCES);
                assert_int_equal(engine_fences_read(world->engine, batch, (int64_t[]){0, 0}, NULL,
                                                    0, world->now),
                                 0);
                take(world);
        }
        assert_int_equal(count(world, ENGINE_SAVE), 2);
}

/* What was split off for an outage, and then is refused, still meets the rows of others. */
static void test_bad_rows_of_a_split_batch_meet_others(void **state) {
        World *world = *state;
        world->config.restart = false;
        world->config.batches = 2;
        Partition *one = activate(world, 0, 0, 0), *two = activate(world, 1, 0, 0);
        fetch(world, one, 0, "a");
        fetch(world, two, 0, "a");
        take(world);
        Batch *batch = only(world, ENGINE_SAVE)->batch;
        for (int i = 0; i < 2; i++) {
                saved(world, batch, BATCH_OUTAGE);
                tick(world, 5 * SECOND);
                assert_int_equal(engine_fences_read(world->engine, batch, (int64_t[]){0, 0}, NULL,
                                                    0, world->now),
                                 0);
                take(world);
        }
        assert_int_equal(count(world, ENGINE_SAVE), 2);
        Batch *batches[2] = {NULL, NULL};
        for (size_t i = 0; i < world->n_taken; i++) {
                batch = world->taken[i].type == ENGINE_SAVE ? world->taken[i].batch : NULL;
                if (batch != NULL) {
                        batches[batch->parts[0].partition == two] = batch;
                }
        }
        saved(world, batches[1], BATCH_SAVED);
        saved(world, batches[0], BATCH_REFUSED);
        fetch(world, two, 1, "a");
        assert_int_equal(engine_saved_each(world->engine, batches[0], BATCH_REFUSED, NULL, 0,
                                           world->now),
                         0);
        take(world);
        tick(world, engine_deadline(world->engine) - world->now);
        assert_int_equal(only(world, ENGINE_SAVE)->batch->n_parts, 2);
}

static void
test_the_fence_of_a_quiet_partition_is_looked_at_when_the_database_is_back(void **state) {
        World *world = *state;
        world->config.batches = 2;
        Partition *busy = activate(world, 0, 0, 0);
        Partition *quiet = activate(world, 1, 50, 50);
        Partition *old = activate(world, 2, 50, 50);
        fetch(world, busy, 0, "bad-1");
        take(world);
        Batch *waits = only(world, ENGINE_SAVE)->batch;
        saved(world, waits, BATCH_UNKNOWN);
        assert_int_equal(engine_database_up(world->engine, world->now), 0);
        take(world);
        assert_int_equal(count(world, ENGINE_READ_FENCES), 2);
        Batch *look = NULL;
        for (size_t i = 0; i < world->n_taken; i++) {
                Batch *batch = world->taken[i].batch;
                look = batch != NULL && batch != waits ? batch : look;
        }
        assert_int_equal(look->n_parts, 2);
        assert_ptr_equal(look->parts[0].partition, quiet);
        /* What comes meanwhile waits for the answer. */
        fetch(world, quiet, 50, "bad-1");
        take(world);
        assert_int_equal(count(world, ENGINE_SAVE), 0);
        assert_int_equal(engine_fences_read(world->engine, look, (int64_t[]){50, 40}, NULL, 0,
                                            world->now),
                         0);
        take(world);
        assert_int_equal(only(world, ENGINE_SAVE)->batch->parts[0].expected, 50);
        assert_ptr_equal(only(world, ENGINE_LOOK_UP)->partition, old);
        assert_int_equal(old->state, PARTITION_LOOKING_UP);
}

/* What the database was asked last may be gone when it is time to ask again. */
static void test_rejections_wait_for_the_database_without_a_batch(void **state) {
        World *world = *state;
        Partition *one = activate(world, 0, 0, 0), *two = activate(world, 1, 0, 50);
        fetch(world, one, 0, "bad-1");
        take(world);
        Batch *batch = only(world, ENGINE_SAVE)->batch;
        saved(world, batch, BATCH_OUTAGE);
        int64_t due = batch->retry_us;
        assert_int_equal(engine_deadline(world->engine), due);
        assert_int_equal(engine_revoked(world->engine, &one, 1, true, world->now), 0);
        take(world);
        fetch(world, two, 0, "bad-2"); /* saved before, and still to be rejected */
        take(world);
        assert_int_equal(count(world, ENGINE_REJECT), 0);
        assert_int_equal(engine_deadline(world->engine), due);
        tick(world, due - world->now);
        only(world, ENGINE_REJECT);
}

static void test_what_cannot_be_rejected_holds_up_no_saving(void **state) {
        World *world = *state;
        Partition *partition = activate(world, 0, 0, 0);
        fetch(world, partition, 0, "bad-1");
        take(world);
        saved(world, only(world, ENGINE_SAVE)->batch, BATCH_SAVED);
        Batch *rejects = only(world, ENGINE_REJECT)->batch;
        for (int64_t offset = 1; offset < 10; offset++) {
                saved(world, rejects, BATCH_REFUSED);
                fetch(world, partition, offset, "bad-1");
                take(world);
                saved(world, only(world, ENGINE_SAVE)->batch, BATCH_SAVED);
                tick(world, 5 * SECOND);
                /* One at a time. */
                assert_ptr_equal(only(world, ENGINE_REJECT)->batch, rejects);
        }
}

/* So many rows and no more; so many bytes, and then no further row, so a large one goes alone. */
static void batches_keep_their_size(World *world, EngineActionType type) {
        static const struct {
                size_t rows, bytes, expected;
        } cases[] = {{3, 1 << 20, 3}, {10, 32, 2}, {10, 33, 3}, {10, 1, 1}};
        /* Below the fence what is denied goes to `rejected` at once. */
        Partition *partition = activate(world, 0, 0, type == ENGINE_REJECT ? 1000 : 0);
        for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
                world->config.batch_rows = cases[i].rows;
                world->config.batch_bytes = cases[i].bytes;
                for (int k = 0; k < 5; k++) {
                        fetch_bytes(world, partition, partition->next,
                                    type == ENGINE_REJECT ? "{\"host\":\"bad-1\"}"
                                                          : "{\"host\":\"web-1\"}");
                }
                take(world);
                for (size_t left = 5; left > 0;) {
                        Batch *batch = only(world, type)->batch;
                        size_t rows = 0,
                               expected = left < cases[i].expected ? left : cases[i].expected;
                        list_for_each(link, &batch->messages) {
                                rows++;
                        }
                        assert_int_equal(rows, expected);
                        assert_int_equal(batch->rows, expected);
                        if (type == ENGINE_SAVE) {
                                assert_int_equal(batch->parts[0].rows, expected);
                                assert_int_equal(batch->parts[0].next - batch->parts[0].expected,
                                                 expected);
                        }
                        saved(world, batch, BATCH_SAVED);
                        left -= expected;
                }
        }
}

static void test_batches_keep_their_size(void **state) {
        World *world = *state;
        world->config.restart = false;
        batches_keep_their_size(world, ENGINE_SAVE);
}

static void test_batches_of_rejections_keep_their_size(void **state) {
        batches_keep_their_size(*state, ENGINE_REJECT);
}

/* Each failure is said, and once that it works when nothing that failed is left. */
static void test_it_is_said_when_saving_works_again(void **state) {
        World *world = *state;
        Partition *partitions[2];
        Batch *batches[2];
        two_batches(world, partitions, batches);
        for (int i = 0; i < 2; i++) {
                saved(world, batches[i], BATCH_OUTAGE);
                const EngineAction *note = noted(world, NOTE_BATCH_RETRY);
                assert_non_null(note);
                assert_int_equal(note->offset, 1);
                assert_int_equal(note->delay_us, batches[i]->retry_us - world->now);
                assert_in_range(note->delay_us, 1, SECOND / 10);
        }
        saved(world, batches[0], BATCH_SAVED);
        assert_null(noted(world, NOTE_SAVE_WORKS));
        saved(world, batches[1], BATCH_SAVED);
        assert_non_null(noted(world, NOTE_SAVE_WORKS));
        assert_string_equal(noted(world, NOTE_SAVE_WORKS)->reason, "batches");
        fetch(world, partitions[0], 1, "a");
        take(world);
        saved(world, only(world, ENGINE_SAVE)->batch, BATCH_SAVED);
        assert_null(noted(world, NOTE_SAVE_WORKS));
}

static void test_it_is_said_when_rejecting_works_again(void **state) {
        World *world = *state;
        world->config.batches = 2;
        Partition *partition = activate(world, 0, 0, 10);
        fetch(world, partition, 0, "bad-1");
        take(world);
        Batch *rejects = only(world, ENGINE_REJECT)->batch;
        saved(world, rejects, BATCH_REFUSED);
        assert_non_null(noted(world, NOTE_BATCH_RETRY));
        fetch_bytes(world, partition, 10, NULL);
        take(world);
        saved(world, only(world, ENGINE_SAVE)->batch, BATCH_SAVED);
        assert_null(noted(world, NOTE_SAVE_WORKS));
        tick(world, SECOND);
        saved(world, only(world, ENGINE_REJECT)->batch, BATCH_SAVED);
        assert_string_equal(noted(world, NOTE_SAVE_WORKS)->reason, "rejected messages");
        assert_string_equal(world->finished, "TJ");
}

/* A revoke lets go of a rejection that waits, and waits for one that is at the database. */
static void test_a_revoke_and_a_rejection(void **state) {
        World *world = *state;
        for (int tries = 0; tries < 3; tries++) {
                Partition *partition = activate(world, tries, 0, 10);
                world->finished[0] = '\0';
                fetch(world, partition, 0, "bad-1");
                take(world);
                Batch *batch = only(world, ENGINE_REJECT)->batch;
                if (tries > 0) {
                        saved(world, batch, BATCH_OUTAGE);
                }
                if (tries > 1) {
                        tick(world, SECOND);
                        assert_ptr_equal(only(world, ENGINE_REJECT)->batch, batch);
                }
                assert_int_equal(engine_revoked(world->engine, &partition, 1, false, world->now),
                                 0);
                take(world);
                if (tries == 1) {
                        assert_string_equal(world->finished, "L");
                        only(world, ENGINE_UNASSIGN);
                        tick(world, SECOND);
                        if (count(world, ENGINE_REJECT) > 0) { /* without a row */
                                saved(world, only(world, ENGINE_REJECT)->batch, BATCH_SAVED);
                        }
                        continue;
                }
                assert_string_equal(world->finished, "");
                assert_int_equal(count(world, ENGINE_UNASSIGN), 0);
                saved(world, batch, BATCH_SAVED);
                assert_string_equal(world->finished, "J");
                commit_answer(world, true, 0, true);
                commit_answer(world, false, 0, true);
                only(world, ENGINE_UNASSIGN);
        }
}

/* The refused rows of each partition are its own, also of one that waits in its lane. */
static void test_lost_replies_of_two_partitions(void **state) {
        World *world = *state;
        world->config.restart = false;
        Partition *one = activate(world, 0, 0, 0), *two = activate(world, 1, 0, 0);
        for (int i = 0; i < 3; i++) {
                fetch(world, one, i, "a");
                fetch(world, two, i, "b");
        }
        take(world);
        Batch *batch = only(world, ENGINE_SAVE)->batch;
        fetch(world, two, 3, "b"); /* in its lane: somebody else read and saved it as well */
        fetch(world, two, 4, "b");
        saved(world, batch, BATCH_UNKNOWN);
        tick(world, SECOND);
        only(world, ENGINE_READ_FENCES);
        const RefusedRow refused[] = {{.source = 9, .offset = 0, .detail = "another's"},
                                      {.source = 2, .offset = 1, .detail = "22P05"},
                                      {.source = 1, .offset = 1, .detail = "above the fence"},
                                      {.source = 2, .offset = 3, .detail = "22P05"},
                                      {.source = 2, .offset = 4, .detail = "above the fence"}};
        assert_int_equal(engine_fences_read(world->engine, batch, (int64_t[]){1, 4}, refused, 5,
                                            world->now),
                         0);
        take(world);
        assert_string_equal(world->finished, "JJAAA");
        assert_int_equal(two->offsets.watermark, 4);
        assert_int_equal(one->offsets.watermark, 1);
        /* What moved begins with the first delay again. */
        assert_int_equal(batch->failures, 0);
        assert_int_equal(batch->n_parts, 1);
        assert_int_equal(batch->parts[0].rows, 2);
        saved(world, batch, BATCH_SAVED);
        assert_int_equal(one->offsets.watermark, 3);
}

/* --- limits ------------------------------------------------------------------------------- */

static void test_what_is_too_large_is_kept_in_part(void **state) {
        World *world = *state;
        static char value[70 * 1024];
        world->config.restart = false;
        world->config.message_bytes = 100;
        Partition *partition = activate(world, 0, 0, 0);
        memset(value, 'x', sizeof(value) - 1);
        fetch_bytes(world, partition, 0, value);
        value[200] = '\0';
        fetch_bytes(world, partition, 1, value);
        take(world);
        Batch *batch = only(world, ENGINE_SAVE)->batch;
        const Message *first = container_of(batch->messages.next, Message, lane_link);
        const Message *second = container_of(batch->messages.prev, Message, lane_link);
        assert_int_equal(first->body->value_size, 64 * 1024);
        assert_int_equal(second->body->value_size, 200); /* the limit may be lower than 64 KiB */
        assert_string_equal(second->fault->detail,
                            "200 bytes are over limits.message_bytes (100); the first 200 are "
                            "kept, the SHA-256 of all is "
                            "aa20c23e3201834050679e1d88941b9a6fed0557c9a705cb2c315e2e63fd486d");
}

static void test_the_whole_record_is_kept(void **state) {
        World *world = *state;
        Partition *partition = activate(world, 0, 0, 0);
        static const char value[] = "{\"host\":\"a\"}", headers[] = "[[\"x\",\"y\"]]";
        Record record = {.timestamp_us = 5,
                         .key = (const uint8_t *)"key",
                         .key_size = 3,
                         .value = (const uint8_t *)value,
                         .value_size = sizeof(value) - 1,
                         .headers = headers,
                         .headers_size = sizeof(headers) - 1};
        world->now += SECOND;
        assert_int_equal(engine_fetched(world->engine, partition, &record, 1000, world->now), 0);
        const Message *message = container_of(partition->messages.next, Message, link);
        assert_int_equal(message->received_us, world->now);
        assert_int_equal(message->received_wall_us, 1000);
        assert_int_equal(message->produced_us, 5);
        assert_int_equal(message->body->key_size, 3);
        assert_memory_equal(message->body->key, "key", 3);
        assert_int_equal(message->body->value_size, sizeof(value) - 1);
        assert_memory_equal(message->body->value, value, sizeof(value) - 1);
        assert_int_equal(message->body->headers_size, sizeof(headers) - 1);
        assert_memory_equal(message->body->headers, headers, sizeof(headers) - 1);
        assert_int_equal(engine_in_flight_bytes(world->engine),
                         3 + sizeof(value) - 1 + sizeof(headers) - 1);
}

/* What the message says counts, but not from further ahead than five minutes, nor behind Kafka's.
 */
static void test_when_a_request_was_made(void **state) {
        static const struct {
                const char *said; /* in 1970, like all of them */
                int64_t produced_s, wall_s, requested_s;
        } cases[] = {
                {"00:16:40", 2000, 2000, 1000}, /* before Kafka had it */
                {"00:16:40", 900, 2000, 900},   /* and after: a clock is wrong */
                {"00:16:40", -1, 2000, 1000},   /* a topic without timestamps */
                {"00:16:40", -1, 700, 1000},    /* 300 s ahead is still believed */
                {"00:16:40", -1, 699, -1},      /* no further */
                {"00:16:40", 699, 699, 699},    {NULL, 900, 2000, 900},   {NULL, 0, 2000, 0},
                {"00:00:00", 900, 2000, 0},     {"00:00:01", 0, 2000, 0}, {NULL, -1, 2000, -1},
        };
        World *world = *state;
        Partition *partition = activate(world, 0, 0, 0);
        for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
                char value[128];
                int size =
                        cases[i].said != NULL
                                ? snprintf(value, sizeof(value),
                                           "{\"host\":\"a\",\"requested_at\":\"1970-01-01T%sZ\"}",
                                           cases[i].said)
                                : snprintf(value, sizeof(value), "{\"host\":\"a\"}");
                int64_t produced = cases[i].produced_s, requested = cases[i].requested_s;
                Record record = {.offset = (int64_t)i,
                                 .timestamp_us = produced < 0 ? -1 : produced * SECOND,
                                 .value = (const uint8_t *)value,
                                 .value_size = (size_t)size};
                assert_int_equal(engine_fetched(world->engine, partition, &record,
                                                cases[i].wall_s * SECOND, world->now),
                                 0);
                const Message *message = container_of(partition->messages.prev, Message, link);
                assert_int_equal(message->requested_us, requested < 0 ? -1 : requested * SECOND);
        }
}

static void test_reading_stops_at_the_limit_and_goes_on(void **state) {
        World *world = *state;
        world->config.restart = false;
        world->config.in_flight = 16;
        world->config.batch_rows = 16;
        Partition *partition = activate(world, 0, 0, 0);
        for (int i = 0; i < 16; i++) {
                assert_true(engine_is_reading(world->engine));
                fetch(world, partition, i, "a");
        }
        /* At once, before any action is taken. */
        assert_false(engine_is_reading(world->engine));
        take(world);
        assert_false(only(world, ENGINE_READ)->on);
        assert_int_equal(only(world, ENGINE_NOTE)->note, NOTE_INTAKE_PAUSED);
        saved(world, only(world, ENGINE_SAVE)->batch, BATCH_SAVED);
        assert_true(only(world, ENGINE_READ)->on);
        assert_int_equal(only(world, ENGINE_NOTE)->note, NOTE_INTAKE_RESUMED);
        assert_null(only(world, ENGINE_NOTE)->reason);
        assert_true(engine_is_reading(world->engine));
}

/* It asks for an eighth that is free, of what stopped it. */
static void test_reading_stops_at_so_many_bytes(void **state) {
        World *world = *state;
        world->config.restart = false;
        world->config.batch_rows = 1;
        world->config.in_flight_bytes = 1440;
        Partition *partition = activate(world, 0, 0, 0);
        char value[100];
        snprintf(value, sizeof(value), "{\"host\":\"a\"}%76s", "");
        assert_int_equal(strlen(value), 88);
        memset(value + 88, ' ', 2);
        value[90] = '\0';
        for (int i = 0; i < 16; i++) {
                assert_true(engine_is_reading(world->engine));
                fetch_bytes(world, partition, i, value);
        }
        assert_false(engine_is_reading(world->engine));
        assert_string_equal(engine_paused_by(world->engine), "in_flight_bytes");
        take(world);
        assert_string_equal(only(world, ENGINE_NOTE)->reason, "in_flight_bytes");
        saved(world, only(world, ENGINE_SAVE)->batch, BATCH_SAVED);
        assert_false(engine_is_reading(world->engine));
        saved(world, only(world, ENGINE_SAVE)->batch, BATCH_SAVED); /* now just an eighth is free */
        assert_false(engine_is_reading(world->engine));
        saved(world, only(world, ENGINE_SAVE)->batch, BATCH_SAVED);
        assert_true(engine_is_reading(world->engine));
}

static void test_what_waits_is_no_longer_in_flight_and_lets_go_of_its_payload(void **state) {
        World *world = *state;
        world->config.concurrency = 1;
        Partition *partition = activate(world, 0, 0, 0);
        fetch(world, partition, 0, "a");
        fetch(world, partition, 1, "b");
        take(world);
        Run *run = only(world, ENGINE_RESTART)->run;
        assert_int_equal(engine_waiting(world->engine), 0);
        saved(world, only(world, ENGINE_SAVE)->batch, BATCH_SAVED);
        /* The first runs; the second is saved and waits for the slot. */
        assert_int_equal(engine_in_flight(world->engine), 1);
        assert_int_equal(engine_waiting(world->engine), 1);
        Message *second = container_of(partition->messages.prev, Message, link);
        assert_null(second->body);
        size_t first = container_of(partition->messages.next, Message, link)->bytes;
        assert_int_equal(engine_in_flight_bytes(world->engine), first);
        restarted(world, run, OUTCOME_FAILED);
        /* Now the first waits for its retry, and the second runs. */
        assert_int_equal(engine_in_flight(world->engine), 1);
        assert_int_equal(engine_waiting(world->engine), 1);
        assert_int_equal(engine_in_flight_bytes(world->engine), 0);
        restarted(world, only(world, ENGINE_RESTART)->run, OUTCOME_DONE);
        tick(world, 60 * SECOND);
        restarted(world, only(world, ENGINE_RESTART)->run, OUTCOME_DONE);
        assert_string_equal(world->finished, "AA");
        assert_int_equal(engine_waiting(world->engine) + engine_in_flight(world->engine), 0);
}

static void test_a_payload_that_a_template_reads_is_kept(void **state) {
        World *world = *state;
        world->config.concurrency = 1;
        world->config.keep_payload = true;
        Partition *partition = activate(world, 0, 0, 0);
        fetch(world, partition, 0, "a");
        fetch(world, partition, 1, "b");
        take(world);
        saved(world, only(world, ENGINE_SAVE)->batch, BATCH_SAVED);
        assert_int_equal(engine_waiting(world->engine), 1);
        assert_non_null(container_of(partition->messages.prev, Message, link)->body);
        assert_true(engine_in_flight_bytes(world->engine) > 0);
}

static void test_reading_stops_when_too_many_wait(void **state) {
        World *world = *state;
        world->config.concurrency = 1;
        world->config.waiting = 2;
        Partition *partition = activate(world, 0, 0, 0);
        for (int i = 0; i < 3; i++) {
                fetch(world, partition, i, i == 0 ? "a" : i == 1 ? "b" : "c");
        }
        take(world);
        Run *run = only(world, ENGINE_RESTART)->run;
        assert_true(engine_is_reading(world->engine));
        saved(world, only(world, ENGINE_SAVE)->batch, BATCH_SAVED);
        assert_int_equal(engine_waiting(world->engine), 2);
        assert_false(only(world, ENGINE_READ)->on);
        assert_string_equal(only(world, ENGINE_NOTE)->reason, "waiting");
        restarted(world, run, OUTCOME_DONE);
        assert_true(only(world, ENGINE_READ)->on);
}

/* What is below the fence is saved, and waits for its host as soon as it is read. */
static void test_reading_stops_within_a_burst_of_what_was_saved_before(void **state) {
        World *world = *state;
        world->config.concurrency = 1;
        world->config.waiting = 2;
        Partition *partition = activate(world, 0, 0, 100);
        fetch(world, partition, 0, "a");
        assert_true(engine_is_reading(world->engine));
        fetch(world, partition, 1, "b");
        assert_false(engine_is_reading(world->engine));
        assert_string_equal(engine_paused_by(world->engine), "waiting");
}

static void test_an_eighth_of_what_may_wait_is_free_before_it_is_read_again(void **state) {
        World *world = *state;
        world->config.concurrency = 1;
        world->config.waiting = 16;
        world->config.batch_rows = 20;
        Partition *partition = activate(world, 0, 0, 0);
        for (int i = 0; i < 17; i++) {
                fetch(world, partition, i, (char[]){(char)('a' + i), 0});
        }
        take(world);
        Run *run = only(world, ENGINE_RESTART)->run;
        saved(world, only(world, ENGINE_SAVE)->batch, BATCH_SAVED);
        assert_string_equal(engine_paused_by(world->engine), "waiting");
        for (int i = 0; i < 3; i++) {
                assert_int_equal(engine_waiting(world->engine), 16 - i);
                assert_false(engine_is_reading(world->engine));
                restarted(world, run, OUTCOME_DONE);
                run = only(world, ENGINE_RESTART)->run;
        }
        assert_true(engine_is_reading(world->engine));
}

static void test_the_reason_of_a_pause_follows_the_limits(void **state) {
        World *world = *state;
        world->config.concurrency = 1;
        world->config.in_flight = 16;
        world->config.batch_rows = 16;
        world->config.waiting = 15;
        Partition *partition = activate(world, 0, 0, 0);
        for (int i = 0; i < 16; i++) {
                fetch(world, partition, i, (char[]){(char)('a' + i), 0});
        }
        take(world);
        assert_string_equal(only(world, ENGINE_NOTE)->reason, "in_flight");
        assert_string_equal(engine_paused_by(world->engine), "in_flight");
        saved(world, only(world, ENGINE_SAVE)->batch, BATCH_SAVED);
        assert_int_equal(engine_waiting(world->engine), 15);
        assert_int_equal(count(world, ENGINE_READ), 0);
        assert_string_equal(only(world, ENGINE_NOTE)->reason, "waiting");
        assert_string_equal(engine_paused_by(world->engine), "waiting");
        assert_string_equal(partition_paused_by(partition), "waiting");
}

static void test_only_the_limit_that_stopped_it_asks_for_more_room(void **state) {
        World *world = *state;
        world->config.concurrency = 1;
        world->config.in_flight = 16;
        world->config.batch_rows = 16;
        world->config.waiting = 16;
        Partition *partition = activate(world, 0, 0, 0);
        char host[8] = "a";
        for (int i = 0; i < 16; i++) {
                host[0] = (char)('a' + i);
                fetch(world, partition, i, host);
        }
        take(world);
        assert_false(engine_is_reading(world->engine));
        saved(world, only(world, ENGINE_SAVE)->batch, BATCH_SAVED);
        /* 15 wait, of 16: not an eighth is free, but it is not waiting that stopped it. */
        assert_int_equal(engine_waiting(world->engine), 15);
        assert_true(engine_is_reading(world->engine));
}

static void test_a_pinned_partition_alone_is_held(void **state) {
        World *world = *state;
        world->config.ack_gap = 8;
        Partition *pinned = activate(world, 0, 0, 0);
        Partition *other = activate(world, 1, 0, 0);
        fetch(world, pinned, 0, "slow");
        take(world);
        Run *slow = only(world, ENGINE_RESTART)->run;
        saved(world, only(world, ENGINE_SAVE)->batch, BATCH_SAVED);
        for (int i = 1; i < 12; i++) {
                fetch_bytes(world, pinned, i, NULL);
        }
        fetch_bytes(world, other, 0, NULL);
        take(world);
        assert_ptr_equal(only(world, ENGINE_PAUSE)->partition, pinned);
        assert_int_equal(pinned->next, 8);
        assert_true(engine_is_reading(world->engine));
        saved(world, only(world, ENGINE_SAVE)->batch, BATCH_SAVED);
        assert_int_equal(count(world, ENGINE_RESUME), 0);
        restarted(world, slow, OUTCOME_DONE);
        assert_int_equal(only(world, ENGINE_RESUME)->offset, 8);
        /* Not now: asked again later, and only once at a time. */
        world->now += SECOND / 10;
        assert_int_equal(engine_resumed(world->engine, pinned, false, world->now), 0);
        take(world);
        assert_int_equal(engine_deadline(world->engine), world->now + SECOND / 5);
        assert_int_equal(count(world, ENGINE_RESUME), 0);
        tick(world, SECOND);
        only(world, ENGINE_RESUME);
        tick(world, SECOND);
        assert_int_equal(count(world, ENGINE_RESUME), 0);
        assert_int_equal(engine_resumed(world->engine, pinned, true, world->now), 0);
        fetch(world, pinned, 8, "a");
        take(world);
        only(world, ENGINE_SAVE);
}

/* --- assignments -------------------------------------------------------------------------- */

static void test_a_new_partition_is_adopted_and_committed_first(void **state) {
        World *world = *state;
        Partition *partition = NULL;
        PartitionFacts facts = {.committed = -1, .low = 3, .high = 9};
        char topic[] = "a-topic-with-a-long-name-that-is-copied";
        assert_int_equal(engine_assigned(world->engine, topic, 7, NULL, world->now, &partition), 0);
        memset(topic, 'x', sizeof(topic));
        assert_string_equal(partition->topic, "a-topic-with-a-long-name-that-is-copied");
        assert_int_equal(partition->partition, 7);
        assert_int_equal(partition->committed, -1);
        assert_int_equal(engine_deadline(world->engine), INT64_MAX);
        take(world);
        assert_int_equal(engine_looked_up(world->engine, partition, &facts, world->now), 0);
        take(world);
        assert_int_equal(engine_source_read(world->engine, partition, &facts, world->now), 0);
        take(world);
        assert_int_equal(only(world, ENGINE_ADOPT)->offset, 3);
        assert_int_equal(engine_adopted(world->engine, partition, ADOPT_OK, 42, world->now), 0);
        take(world);
        assert_int_equal(count(world, ENGINE_SEEK), 0);
        only(world, ENGINE_LOOK_COMMITTED);
        commit_answer(world, true, -1, true);
        only(world, ENGINE_COMMIT);
        assert_int_equal(engine_commit(world->engine)->entries[0].offset, 3);
        commit_answer(world, false, 0, true);
        assert_int_equal(only(world, ENGINE_SEEK)->offset, 3);
        assert_int_equal(partition->source, 42);
        assert_string_equal(partition_paused_by(partition), "starting");
        assert_int_equal(engine_sought(world->engine, partition, true, world->now), 0);
        take(world);
        assert_int_equal(only(world, ENGINE_NOTE)->note, NOTE_PARTITION_STARTED);
        assert_int_equal(only(world, ENGINE_NOTE)->offset, 3);
        assert_null(partition_paused_by(partition));
}

/* It is said again when what is found changes, and only then. */
static void test_why_a_partition_stands_still_is_said_once(void **state) {
        World *world = *state;
        Partition *partition = NULL;
        PartitionFacts facts = {.committed = 95,
                                .ours = true,
                                .high = 90,
                                .has_source = true,
                                .source = 1,
                                .fence = 20,
                                .fence_moved = true};
        const struct {
                int64_t committed, fence;
                int32_t source;
                bool said;
        } looks[] = {{95, 20, 1, true}, {95, 20, 1, false}, {96, 20, 1, true}, {96, 21, 1, true},
                     {96, 21, 2, true}, {96, 21, 2, false}, {96, 91, 2, true}};
        assert_int_equal(engine_assigned(world->engine, "t", 0, NULL, world->now, &partition), 0);
        take(world);
        for (size_t i = 0; i < sizeof(looks) / sizeof(*looks); i++) {
                facts.committed = looks[i].committed;
                facts.fence = looks[i].fence;
                facts.source = looks[i].source;
                only(world, ENGINE_LOOK_UP);
                assert_int_equal(engine_looked_up(world->engine, partition, &facts, world->now), 0);
                assert_int_equal(engine_source_read(world->engine, partition, &facts, world->now),
                                 0);
                take(world);
                assert_int_equal(partition->state, PARTITION_STOPPED);
                assert_string_equal(partition_paused_by(partition), "stopped");
                assert_int_equal(count(world, ENGINE_NOTE), looks[i].said);
                if (looks[i].said) {
                        assert_int_equal(only(world, ENGINE_NOTE)->note, NOTE_PARTITION_STOPPED);
                }
                assert_int_equal(engine_deadline(world->engine), world->now + 5 * SECOND);
                tick(world, 5 * SECOND);
        }
}

static void test_a_look_up_that_fails_is_tried_again(void **state) {
        World *world = *state;
        Partition *partition = NULL;
        assert_int_equal(engine_assigned(world->engine, "t", 0, NULL, world->now, &partition), 0);
        take(world);
        world->now += SECOND;
        assert_int_equal(engine_looked_up(world->engine, partition, NULL, world->now), 0);
        take(world);
        assert_int_equal(count(world, ENGINE_LOOK_UP), 0);
        int64_t due = engine_deadline(world->engine);
        assert_in_range(due - world->now, 1, SECOND / 5);
        assert_int_equal(only(world, ENGINE_NOTE)->delay_us, due - world->now);
        tick(world, due - world->now - 1);
        assert_int_equal(count(world, ENGINE_LOOK_UP), 0);
        tick(world, 1);
        assert_ptr_equal(only(world, ENGINE_LOOK_UP)->partition, partition);
}

static void test_a_commit_that_is_gone_stops_the_partition(void **state) {
        World *world = *state;
        world->config.restart = false;
        Partition *partition = activate(world, 0, 10, 10);
        fetch(world, partition, 10, "a");
        take(world);
        saved(world, only(world, ENGINE_SAVE)->batch, BATCH_SAVED);
        only(world, ENGINE_LOOK_COMMITTED);
        commit_answer(world, true, -1, true);
        assert_int_equal(count(world, ENGINE_COMMIT), 0);
        assert_int_equal(engine_totals(world->engine)->commits_failed, 0);
        /* It is looked at anew, and then again and again, since the operator may decide; nothing is
         * said twice. */
        PartitionFacts facts = partition->facts;
        facts.committed = -1;
        for (int i = 0; i < 3; i++) {
                tick(world, i > 0 ? 6 * SECOND : 0);
                assert_int_equal(count(world, ENGINE_LOOK_COMMITTED), 0);
                assert_int_equal(count(world, ENGINE_LOOK_UP), i > 0);
                assert_int_equal(partition->state, PARTITION_LOOKING_UP);
                assert_int_equal(engine_looked_up(world->engine, partition, &facts, world->now), 0);
                take(world);
                facts.fence = 11;
                assert_int_equal(engine_source_read(world->engine, partition, &facts, world->now),
                                 0);
                take(world);
                assert_int_equal(partition->state, PARTITION_STOPPED);
                assert_string_equal(partition->stopped, "topic_recreated_or_offsets_expired");
                assert_int_equal(count(world, ENGINE_NOTE), i == 0);
        }
        /* As `ackd partition` leaves it. */
        facts.is_decided = true;
        facts.decided = 500;
        tick(world, 6 * SECOND);
        assert_int_equal(engine_looked_up(world->engine, partition, &facts, world->now), 0);
        assert_int_equal(engine_source_read(world->engine, partition, &facts, world->now), 0);
        take(world);
        only(world, ENGINE_LOOK_COMMITTED);
        commit_answer(world, true, -1, true);
        assert_int_equal(count(world, ENGINE_MOVE_FENCE), 0);
        commit_answer(world, false, 0, true);
        assert_int_equal(only(world, ENGINE_MOVE_FENCE)->offset, 500);
        assert_int_equal(engine_adopted(world->engine, partition, ADOPT_OK, 1, world->now), 0);
        take(world);
        assert_int_equal(only(world, ENGINE_SEEK)->offset, 500);
        assert_int_equal(partition->fence, 500);
}

/* It may be made yet, and then what was looked up is not true any more. */
static void test_a_commit_of_the_epoch_before_is_waited_for(void **state) {
        World *world = *state;
        world->config.restart = false;
        world->config.batches = 2;
        Partition *partitions[] = {activate(world, 0, 10, 10), activate(world, 1, 10, 10)};
        fetch(world, partitions[0], 10, "a");
        fetch(world, partitions[1], 10, "a");
        take(world);
        saved(world, only(world, ENGINE_SAVE)->batch, BATCH_SAVED);
        commit_answer(world, true, 10, true);
        only(world, ENGINE_COMMIT);
        assert_int_equal(engine_database_up(world->engine, world->now), 0);
        take(world);
        assert_int_equal(engine_fences_read(world->engine, only(world, ENGINE_READ_FENCES)->batch,
                                            (int64_t[]){7, 7}, NULL, 0, world->now),
                         0);
        take(world);
        assert_int_equal(count(world, ENGINE_LOOK_UP), 2);
        PartitionFacts facts = {.committed = 10, .ours = true, .low = 0, .high = 90};
        for (int i = 0; i < 2; i++) {
                assert_int_equal(engine_looked_up(world->engine, partitions[i], &facts, world->now),
                                 0);
                take(world);
                assert_int_equal(count(world, ENGINE_READ_SOURCE), 0);
                assert_int_equal(only(world, ENGINE_NOTE)->note, NOTE_LOOK_UP_FAILED);
        }
        commit_answer(world, false, 0, true);
        assert_int_equal(count(world, ENGINE_LOOK_UP), 0);
        tick(world, SECOND);
        assert_int_equal(count(world, ENGINE_LOOK_UP), 2);
        facts.committed = 11;
        for (int i = 0; i < 2; i++) {
                assert_int_equal(engine_looked_up(world->engine, partitions[i], &facts, world->now),
                                 0);
                take(world);
                only(world, ENGINE_READ_SOURCE);
                assert_int_equal(partitions[i]->facts.committed, 11);
        }
}

/* The operator may want it below what was committed. */
static void test_a_decision_may_go_back(void **state) {
        World *world = *state;
        Partition *partition = NULL;
        PartitionFacts facts = {.committed = 95,
                                .ours = true,
                                .low = 0,
                                .high = 90,
                                .has_source = true,
                                .source = 1,
                                .fence = 20,
                                .fence_moved = true,
                                .is_decided = true,
                                .decided = 30};
        assert_int_equal(engine_assigned(world->engine, "t", 0, NULL, world->now, &partition), 0);
        assert_int_equal(engine_looked_up(world->engine, partition, &facts, world->now), 0);
        assert_int_equal(engine_source_read(world->engine, partition, &facts, world->now), 0);
        take(world);
        assert_int_equal(only(world, ENGINE_NOTE)->note, NOTE_PARTITION_DECIDED);
        assert_int_equal(only(world, ENGINE_NOTE)->offset, 30);
        only(world, ENGINE_LOOK_COMMITTED);
        commit_answer(world, true, 95, true);
        only(world, ENGINE_COMMIT);
        assert_int_equal(engine_commit(world->engine)->entries[0].offset, 30);
        /* It is not cleared before its commit is made; one that is refused is no spin. */
        commit_answer(world, false, 0, false);
        assert_int_equal(count(world, ENGINE_MOVE_FENCE), 0);
        assert_int_equal(count(world, ENGINE_LOOK_COMMITTED), 0);
        tick(world, SECOND);
        commit_answer(world, true, 95, true);
        commit_answer(world, false, 0, true);
        assert_int_equal(partition->committed, 30);
        assert_int_equal(only(world, ENGINE_MOVE_FENCE)->offset, 30);
        assert_int_equal(engine_adopted(world->engine, partition, ADOPT_OK, 1, world->now), 0);
        take(world);
        assert_int_equal(only(world, ENGINE_SEEK)->offset, 30);
        assert_int_equal(partition->fence, 30);
}

/* One that was written down for a dispute that is over must not fire at the next one. */
static void test_a_decision_about_nothing_is_dropped(void **state) {
        World *world = *state;
        Partition *partition = NULL;
        PartitionFacts facts = {.committed = 10, .ours = true, .low = 0, .high = 90};
        assert_int_equal(engine_assigned(world->engine, "t", 0, NULL, world->now, &partition), 0);
        assert_int_equal(engine_looked_up(world->engine, partition, &facts, world->now), 0);
        facts = (PartitionFacts){.has_source = true,
                                 .source = 1,
                                 .fence = 20,
                                 .fence_moved = true,
                                 .is_decided = true,
                                 .decided = 50};
        assert_int_equal(engine_source_read(world->engine, partition, &facts, world->now), 0);
        take(world);
        assert_int_equal(only(world, ENGINE_NOTE)->note, NOTE_DECISION_MOOT);
        assert_int_equal(count(world, ENGINE_LOOK_COMMITTED), 0);
        /* The fence stays where it is: it is only how a decision is cleared. */
        assert_int_equal(only(world, ENGINE_MOVE_FENCE)->offset, 20);
        assert_int_equal(engine_adopted(world->engine, partition, ADOPT_OK, 1, world->now), 0);
        take(world);
        assert_int_equal(only(world, ENGINE_SEEK)->offset, 10);
        assert_int_equal(partition->fence, 20);
}

static void test_a_partition_that_vanishes_is_read_no_further_until_it_is_known(void **state) {
        World *world = *state;
        Partition *partition = activate(world, 0, 10, 10);
        PartitionFacts facts = {.committed = 10, .low = 0, .high = 20};
        fetch(world, partition, 10, "a");
        take(world);
        Run *run = only(world, ENGINE_RESTART)->run;
        saved(world, only(world, ENGINE_SAVE)->batch, BATCH_SAVED);
        assert_int_equal(engine_vanished(world->engine, partition, world->now), 0);
        assert_int_equal(engine_vanished(world->engine, partition, world->now), 0);
        fetch(world, partition, 11, "b");
        take(world);
        only(world, ENGINE_PAUSE);
        only(world, ENGINE_LOOK_UP);
        assert_int_equal(engine_in_flight(world->engine), 1);
        /* Not known yet. */
        assert_int_equal(engine_looked_up(world->engine, partition, NULL, world->now), 0);
        tick(world, 20 * SECOND);
        only(world, ENGINE_LOOK_UP);
        assert_int_equal(count(world, ENGINE_RESUME), 0);
        /* A broker had not heard of it: nothing was lost, and it goes on. */
        assert_int_equal(engine_looked_up(world->engine, partition, &facts, world->now), 0);
        take(world);
        assert_int_equal(only(world, ENGINE_RESUME)->offset, 11);
        assert_int_equal(engine_resumed(world->engine, partition, true, world->now), 0);
        assert_string_equal(world->finished, "");
        /* The next time its commit is gone with it. */
        assert_int_equal(engine_vanished(world->engine, partition, world->now), 0);
        take(world);
        facts.committed = -1;
        assert_int_equal(engine_looked_up(world->engine, partition, &facts, world->now), 0);
        take(world);
        assert_int_equal(partition->state, PARTITION_LOOKING_UP);
        assert_string_equal(world->finished, "L");
        restarted(world, run, OUTCOME_DONE);
        assert_string_equal(world->finished, "L");
}

static void test_out_of_range_stops_with_what_is_there_now(void **state) {
        World *world = *state;
        Partition *partition = activate(world, 0, 10, 10);
        PartitionFacts facts = {.committed = 10, .low = 50, .high = 90};
        fetch(world, partition, 10, "a");
        take(world);
        Run *run = only(world, ENGINE_RESTART)->run;
        saved(world, only(world, ENGINE_SAVE)->batch, BATCH_SAVED);
        assert_int_equal(engine_out_of_range(world->engine, partition, world->now), 0);
        take(world);
        assert_int_equal(engine_looked_up(world->engine, partition, &facts, world->now), 0);
        take(world);
        assert_int_equal(partition->state, PARTITION_STOPPED);
        assert_string_equal(partition->stopped, "out_of_range");
        assert_int_equal(partition->facts.low, 50);
        /* What was under way ends as usual. */
        restarted(world, run, OUTCOME_DONE);
        assert_string_equal(world->finished, "A");
        assert_int_equal(partition->offsets.watermark, 11);
}

static void test_one_commit_is_in_flight_and_a_failed_one_is_made_again(void **state) {
        World *world = *state;
        world->config.restart = false;
        Partition *partition = activate(world, 0, 0, 0);
        fetch(world, partition, 0, "a");
        take(world);
        saved(world, only(world, ENGINE_SAVE)->batch, BATCH_SAVED);
        commit_answer(world, true, 0, true);
        only(world, ENGINE_COMMIT);
        fetch(world, partition, 1, "a");
        take(world);
        saved(world, only(world, ENGINE_SAVE)->batch, BATCH_SAVED);
        tick(world, 10 * SECOND);
        assert_int_equal(count(world, ENGINE_LOOK_COMMITTED) + count(world, ENGINE_COMMIT), 0);
        commit_answer(world, false, 0, false);
        assert_int_equal(partition->committed, 0);
        assert_int_equal(count(world, ENGINE_LOOK_COMMITTED), 0);
        tick(world, SECOND);
        only(world, ENGINE_LOOK_COMMITTED);
        assert_int_equal(engine_commit(world->engine)->entries[0].offset, 2);
}

static void test_commits_keep_their_interval(void **state) {
        World *world = *state;
        world->config.restart = false;
        world->config.commit_interval_us = 3 * SECOND;
        Partition *partition = activate(world, 0, 0, 0);
        save_one(world, partition);
        world->now += SECOND;
        commit_answer(world, true, 0, true);
        world->now += SECOND;
        commit_answer(world, false, 0, true);
        assert_int_equal(engine_totals(world->engine)->commits, 1);
        assert_int_equal(engine_deadline(world->engine), INT64_MAX);
        /* It is told from the answer on. Answers that nobody waits for change nothing. */
        commit_answer(world, false, 0, true);
        commit_answer(world, true, 0, true);
        assert_int_equal(engine_totals(world->engine)->commits, 1);
        tick(world, SECOND);
        save_one(world, partition);
        assert_int_equal(count(world, ENGINE_LOOK_COMMITTED), 0);
        assert_int_equal(engine_deadline(world->engine), world->now + 2 * SECOND);
        tick(world, 2 * SECOND - 1);
        assert_int_equal(count(world, ENGINE_LOOK_COMMITTED), 0);
        tick(world, 1);
        only(world, ENGINE_LOOK_COMMITTED);
        world->now += SECOND;
        assert_int_equal(engine_committed_seen(world->engine, NULL, world->now), 0);
        take(world);
        assert_int_equal(engine_deadline(world->engine), world->now + 3 * SECOND);
        tick(world, 3 * SECOND);
        commit_answer(world, true, 1, true);
        commit_answer(world, false, 0, true);
        assert_int_equal(engine_totals(world->engine)->commits, 2);
        assert_int_equal(engine_totals(world->engine)->commits_failed, 1);
}

/* A partition that starts stands still until its start is committed, and a revoke waits. */
static void test_a_start_and_a_revoke_are_committed_at_once(void **state) {
        World *world = *state;
        world->config.restart = false;
        world->config.commit_interval_us = 100 * SECOND;
        Partition *old = activate(world, 0, 0, 0), *new = NULL;
        save_one(world, old);
        commit_answer(world, true, 0, true);
        only(world, ENGINE_COMMIT);
        PartitionFacts facts = {.committed = -1, .low = 3, .high = 9};
        assert_int_equal(engine_assigned(world->engine, "t", 1, NULL, world->now, &new), 0);
        assert_int_equal(engine_looked_up(world->engine, new, &facts, world->now), 0);
        assert_int_equal(engine_source_read(world->engine, new, &facts, world->now), 0);
        assert_int_equal(engine_adopted(world->engine, new, ADOPT_OK, 42, world->now), 0);
        take(world);
        assert_int_equal(count(world, ENGINE_LOOK_COMMITTED), 0); /* one at a time */
        commit_answer(world, false, 0, true);
        only(world, ENGINE_LOOK_COMMITTED);
        commit_answer(world, true, -1, true);
        save_one(world, old);
        assert_int_equal(engine_revoked(world->engine, &old, 1, false, world->now), 0);
        take(world);
        assert_int_equal(count(world, ENGINE_UNASSIGN), 0);
        commit_answer(world, false, 0, true);
        only(world, ENGINE_LOOK_COMMITTED);
        assert_int_equal(engine_commit(world->engine)->entries[0].offset, 2);
        commit_answer(world, true, 1, true);
        commit_answer(world, false, 0, true);
        only(world, ENGINE_UNASSIGN);
}

static void test_a_commit_without_an_answer_is_a_failure(void **state) {
        World *world = *state;
        Partition *partition = NULL;
        PartitionFacts facts = {.committed = -1, .low = 3, .high = 9};
        assert_int_equal(engine_assigned(world->engine, "t", 0, NULL, world->now, &partition), 0);
        assert_int_equal(engine_looked_up(world->engine, partition, &facts, world->now), 0);
        assert_int_equal(engine_source_read(world->engine, partition, &facts, world->now), 0);
        assert_int_equal(engine_adopted(world->engine, partition, ADOPT_OK, 42, world->now), 0);
        take(world);
        for (int i = 1; i <= 4; i++) {
                only(world, ENGINE_LOOK_COMMITTED);
                if (i % 2) {
                        assert_int_equal(engine_committed_seen(world->engine, NULL, world->now), 0);
                } else {
                        commit_answer(world, true, -1, true);
                        only(world, ENGINE_COMMIT);
                        assert_int_equal(engine_committed(world->engine, NULL, world->now), 0);
                }
                take(world);
                assert_int_equal(only(world, ENGINE_NOTE)->note, NOTE_COMMIT_FAILED);
                assert_int_equal(engine_totals(world->engine)->commits_failed, i);
                /* Not again at once: a broker that is away would be asked for ever. */
                assert_int_equal(count(world, ENGINE_LOOK_COMMITTED), 0);
                assert_int_equal(engine_deadline(world->engine), world->now + SECOND);
                tick(world, SECOND);
        }
        commit_answer(world, true, -1, true);
        commit_answer(world, false, 0, true);
        only(world, ENGINE_SEEK);
        assert_int_equal(engine_totals(world->engine)->commits, 1);
}

static void test_many_partitions_are_one_commit(void **state) {
        enum { MANY = 40 };
        World *world = *state;
        CommitResult results[MANY];
        world->config.restart = false;
        world->config.batch_rows = MANY;
        for (int i = 0; i < MANY; i++) {
                activate(world, i, 0, 0);
                results[i] = (CommitResult){.ok = true};
        }
        list_for_each(link, engine_partitions(world->engine)) {
                fetch(world, container_of(link, Partition, link), 0, "a");
        }
        take(world);
        saved(world, only(world, ENGINE_SAVE)->batch, BATCH_SAVED);
        const Commit *commit = engine_commit(world->engine);
        assert_int_equal(commit->n, MANY);
        assert_int_equal(engine_committed_seen(world->engine, results, world->now), 0);
        take(world);
        results[MANY - 1].ok = false;
        const Partition *last = commit->entries[MANY - 1].partition;
        assert_int_equal(engine_committed(world->engine, results, world->now), 0);
        take(world);
        assert_ptr_equal(only(world, ENGINE_NOTE)->partition, last);
        assert_int_equal(only(world, ENGINE_NOTE)->note, NOTE_COMMIT_FAILED);
        assert_int_equal(only(world, ENGINE_NOTE)->offset, 1);
        assert_int_equal(engine_totals(world->engine)->commits_failed, 1);
        assert_false(engine_is_committed(world->engine));
        tick(world, SECOND);
        assert_int_equal(commit->n, 1);
        assert_ptr_equal(commit->entries[0].partition, last);
}

/* --- revoke and the end ------------------------------------------------------------------- */

static void test_a_revoke_drains_the_database_and_commits(void **state) {
        World *world = *state;
        Partition *partition = activate(world, 0, 0, 0);
        fetch(world, partition, 0, "a");
        take(world);
        Batch *batch = only(world, ENGINE_SAVE)->batch;
        Run *run = only(world, ENGINE_RESTART)->run;
        fetch(world, partition, 1, "b"); /* waits in the lane and for its host */
        assert_int_equal(engine_revoked(world->engine, &partition, 1, false, world->now), 0);
        take(world);
        /* What waited is released; its neighbour is at the database still. */
        assert_string_equal(world->finished, "L");
        assert_int_equal(count(world, ENGINE_UNASSIGN), 0);
        saved(world, batch, BATCH_SAVED);
        assert_string_equal(world->finished, "LL");
        only(world, ENGINE_UNASSIGN);
        /* The restart ends when it ends and touches nothing. */
        restarted(world, run, OUTCOME_DONE);
        assert_string_equal(world->finished, "LL");
        assert_true(engine_is_quiet(world->engine));
}

static void test_a_revoke_does_not_wait_for_ever(void **state) {
        World *world = *state;
        world->config.restart = false;
        Partition *partition = activate(world, 0, 0, 0);
        fetch(world, partition, 0, "a");
        take(world);
        Batch *batch = only(world, ENGINE_SAVE)->batch;
        assert_int_equal(engine_revoked(world->engine, &partition, 1, false, world->now), 0);
        take(world);
        tick(world, 4 * SECOND);
        assert_int_equal(count(world, ENGINE_UNASSIGN), 0);
        tick(world, SECOND);
        assert_string_equal(world->finished, "L");
        only(world, ENGINE_UNASSIGN);
        /* The late end finds nobody; a new assignment is another object. */
        Partition *again = activate(world, 0, 0, 0);
        fetch(world, again, 0, "a");
        saved(world, batch, BATCH_SAVED);
        assert_string_equal(world->finished, "L");
        assert_int_equal(again->fence, 0);
}

/* Not for a commit either: its bound begins when that of the batches is over, and only once. */
static void test_a_revoke_does_not_wait_for_ever_for_a_commit(void **state) {
        World *world = *state;
        world->config.restart = false;
        Partition *partition = activate(world, 0, 0, 0);
        fetch(world, partition, 0, "a");
        take(world);
        saved(world, only(world, ENGINE_SAVE)->batch, BATCH_SAVED);
        commit_answer(world, true, 0, true);
        only(world, ENGINE_COMMIT); /* and no answer */
        partition_ref(partition);
        assert_int_equal(engine_revoked(world->engine, &partition, 1, false, world->now), 0);
        take(world);
        tick(world, 5 * SECOND);
        assert_int_equal(count(world, ENGINE_UNASSIGN), 0);
        tick(world, SECOND);
        assert_int_equal(count(world, ENGINE_UNASSIGN), 0);
        assert_int_equal(engine_deadline(world->engine), world->now + SECOND / 2);
        tick(world, SECOND / 2);
        only(world, ENGINE_UNASSIGN);
        assert_int_equal(partition->state, PARTITION_GONE);
        partition_unref(partition);
}

/* A topic that was made again while it is revoked: nothing is committed, nothing waited for. */
static void test_a_revoke_with_a_commit_that_is_gone_ends_at_once(void **state) {
        World *world = *state;
        world->config.restart = false;
        Partition *partition = activate(world, 0, 0, 0);
        save_one(world, partition);
        only(world, ENGINE_LOOK_COMMITTED);
        assert_int_equal(engine_revoked(world->engine, &partition, 1, false, world->now), 0);
        take(world);
        assert_int_equal(count(world, ENGINE_UNASSIGN), 0);
        commit_answer(world, true, -1, true);
        assert_int_equal(count(world, ENGINE_COMMIT) + count(world, ENGINE_LOOK_COMMITTED), 0);
        only(world, ENGINE_UNASSIGN);
}

static void test_lost_partitions_are_let_go_at_once(void **state) {
        World *world = *state;
        world->config.restart = false;
        Partition *partition = activate(world, 0, 0, 0);
        fetch(world, partition, 0, "a");
        take(world);
        Batch *batch = only(world, ENGINE_SAVE)->batch;
        assert_int_equal(engine_revoked(world->engine, &partition, 1, true, world->now), 0);
        take(world);
        tick(world, 7 * SECOND);
        assert_int_equal(count(world, ENGINE_COMMIT), 0);
        assert_string_equal(world->finished, "L");
        saved(world, batch, BATCH_SAVED);
        assert_int_equal(engine_in_flight(world->engine), 0);
}

static void test_stop_cancels_shields_and_releases(void **state) {
        World *world = *state;
        world->config.concurrency = 1;
        Partition *partition = activate(world, 0, 0, 0);
        fetch(world, partition, 0, "a");
        take(world);
        Batch *batch = only(world, ENGINE_SAVE)->batch;
        Run *run = only(world, ENGINE_RESTART)->run;
        fetch(world, partition, 1, "b");
        assert_int_equal(engine_stop(world->engine, world->now), 0);
        assert_false(engine_is_reading(world->engine));
        take(world);
        assert_string_equal(world->finished, "L");
        assert_false(engine_is_quiet(world->engine));
        fetch(world, partition, 2, "c");
        assert_int_equal(engine_in_flight(world->engine), 1);
        saved(world, batch, BATCH_SAVED);
        assert_false(engine_is_quiet(world->engine));
        restarted(world, run, OUTCOME_DONE);
        assert_string_equal(world->finished, "LA");
        assert_true(engine_is_quiet(world->engine));
        only(world, ENGINE_LOOK_COMMITTED);
        assert_int_equal(engine_release(world->engine, world->now), 0);
        assert_int_equal(engine_flush(world->engine, world->now), 0);
        take(world);
        commit_answer(world, true, 0, true);
        assert_int_equal(engine_commit(world->engine)->entries[0].offset, 1);
        assert_false(engine_is_committed(world->engine));
        commit_answer(world, false, 0, true);
        assert_true(engine_is_committed(world->engine));
}

/* A revoke that is under way waits no longer then. */
static void test_the_end_hurries_a_revoke(void **state) {
        World *world = *state;
        world->config.restart = false;
        Partition *partition = activate(world, 0, 0, 0);
        save_one(world, partition);
        commit_answer(world, true, 0, true);
        only(world, ENGINE_COMMIT); /* and no answer */
        assert_int_equal(engine_revoked(world->engine, &partition, 1, false, world->now), 0);
        take(world);
        assert_int_equal(engine_deadline(world->engine), world->now + 5 * SECOND);
        tick(world, SECOND);
        assert_int_equal(engine_stop(world->engine, world->now), 0);
        assert_int_equal(engine_release(world->engine, world->now), 0);
        take(world);
        assert_int_equal(count(world, ENGINE_UNASSIGN), 0);
        assert_int_equal(engine_deadline(world->engine), world->now + SECOND / 2);
        tick(world, SECOND / 2);
        only(world, ENGINE_UNASSIGN);
        /* What was let go without its commit is not taken for committed. */
        commit_answer(world, false, 0, false);
        assert_false(engine_is_committed(world->engine));
}

static void test_a_flush_commits_at_once(void **state) {
        World *world = *state;
        world->config.restart = false;
        world->config.commit_interval_us = 100 * SECOND;
        Partition *partition = activate(world, 0, 0, 0);
        for (int i = 0; i < 2; i++) {
                save_one(world, partition);
                if (i == 1) {
                        assert_int_equal(count(world, ENGINE_LOOK_COMMITTED), 0);
                        assert_int_equal(engine_flush(world->engine, world->now), 0);
                        assert_false(engine_is_committed(world->engine));
                        take(world);
                }
                only(world, ENGINE_LOOK_COMMITTED);
                commit_answer(world, true, i, true);
                assert_false(engine_is_committed(world->engine));
                commit_answer(world, false, 0, true);
                assert_true(engine_is_committed(world->engine));
        }
        /* With nothing to commit it is over at once. */
        assert_int_equal(engine_flush(world->engine, world->now), 0);
        take(world);
        assert_int_equal(count(world, ENGINE_LOOK_COMMITTED), 0);
        assert_true(engine_is_committed(world->engine));
}

/* Closing the consumer revokes; what is done is committed before. */
static void test_the_last_commit_is_waited_for(void **state) {
        World *world = *state;
        world->config.restart = false;
        Partition *partition = activate(world, 0, 0, 0);
        fetch(world, partition, 0, "a");
        take(world);
        Batch *batch = only(world, ENGINE_SAVE)->batch;
        assert_int_equal(engine_stop(world->engine, world->now), 0);
        take(world);
        saved(world, batch, BATCH_SAVED);
        assert_int_equal(engine_release(world->engine, world->now), 0);
        take(world);
        assert_int_equal(engine_revoked(world->engine, &partition, 1, false, world->now), 0);
        take(world);
        assert_int_equal(count(world, ENGINE_UNASSIGN), 0);
        commit_answer(world, true, 0, true);
        assert_int_equal(count(world, ENGINE_UNASSIGN), 0);
        commit_answer(world, false, 0, true);
        only(world, ENGINE_UNASSIGN);
        assert_true(engine_is_committed(world->engine));
}

static void test_an_unknown_end_during_the_stop_is_released(void **state) {
        World *world = *state;
        Partition *partition = activate(world, 0, 0, 0);
        fetch(world, partition, 0, "a");
        take(world);
        Run *run = only(world, ENGINE_RESTART)->run;
        Batch *batch = only(world, ENGINE_SAVE)->batch;
        saved(world, batch, BATCH_SAVED);
        assert_int_equal(engine_stop(world->engine, world->now), 0);
        restarted(world, run, OUTCOME_UNKNOWN);
        assert_string_equal(world->finished, "L");
        assert_int_equal(partition->offsets.watermark, 0);
}

static void test_a_run_that_nobody_wants_any_more_never_starts(void **state) {
        World *world = *state;
        world->config.concurrency = 0;
        Partition *partition = activate(world, 0, 0, 0);
        for (int i = 0; i < 5; i++) {
                fetch(world, partition, i, (char[]){(char)('a' + i), 0});
        }
        EngineAction action;
        bool taken;
        /* The first action starts the dispatch: all runs are ordered. */
        assert_int_equal(engine_next_action(world->engine, &action, &taken), 0);
        assert_true(taken && action.type == ENGINE_RESTART);
        assert_int_equal(engine_stop(world->engine, world->now), 0);
        take(world);
        assert_int_equal(count(world, ENGINE_RESTART), 0);
        assert_int_equal(count(world, ENGINE_NOTE), 0);
        assert_int_equal(engine_running(world->engine), 1);
        const EngineTotals *totals = engine_totals(world->engine);
        assert_int_equal(totals->outcomes[HANDLER_RESTART][OUTCOME_CANCELLED], 4);
}

/* The driver names it until it was told to let go of it, and then nobody does. */
static void test_what_was_unassigned_lives_until_it_is_let_go(void **state) {
        World *world = *state;
        for (int i = 0; i < 2; i++) {
                Partition *partition = partition_ref(activate(world, i, 0, 0));
                fetch(world, partition, 0, "a"); /* in the lane: it is released first */
                assert_int_equal(engine_revoked(world->engine, &partition, 1, true, world->now), 0);
                EngineAction action = {0};
                bool taken = true;
                while (taken && action.type != ENGINE_UNASSIGN) {
                        assert_int_equal(engine_next_action(world->engine, &action, &taken), 0);
                        if (action.type == ENGINE_FINISHED) {
                                message_free(action.message);
                        }
                }
                assert_true(taken);
                assert_int_equal(partition->references, 2);
                take(world);
                assert_int_equal(partition->references, 1);
                partition_unref(partition);
        }
}

/* For the sanitizer: whatever it is at, all of it is freed. */
static void test_the_engine_frees_what_is_in_it(void **state) {
        World *world = *state;
        world->config.concurrency = 2;
        world->config.batches = 3;
        Partition *partitions[3];
        EngineAction action;
        bool taken;
        for (int i = 0; i < 3; i++) {
                partitions[i] = activate(world, i, 0, 0);
        }
        fetch(world, partitions[0], 0, "a");
        fetch(world, partitions[0], 1, "b");
        fetch(world, partitions[0], 2, "c");
        take(world);
        saved(world, only(world, ENGINE_SAVE)->batch, BATCH_SAVED);
        Run *run = container_of(
                container_of(partitions[0]->messages.next, Message, link)->host_link.next, Run,
                messages);
        restarted(world, run, OUTCOME_FAILED); /* waits for its retry; c runs */
        fetch(world, partitions[0], 3, "d");   /* waits for a slot, and is at the database */
        fetch(world, partitions[1], 0, "b");   /* waits for its host, and its batch for a retry */
        fetch(world, partitions[1], 1, "bad-1");
        take(world);
        saved(world, only(world, ENGINE_SAVE)->batch, BATCH_SAVED);
        fetch(world, partitions[1], 2, "bad-2");
        take(world);
        saved(world, only(world, ENGINE_SAVE)->batch, BATCH_OUTAGE);
        fetch(world, partitions[2], 0, "e"); /* in its lane */
        /* And actions that nobody takes: of messages that ended, of a partition that is let go. */
        Partition *last = activate(world, 3, 0, 0);
        world->config.ack_gap = 1000;
        for (int i = 0; i < 200; i++) {
                fetch_bytes(world, last, i, NULL);
        }
        assert_int_equal(engine_revoked(world->engine, &last, 1, true, world->now), 0);
        do {
                assert_int_equal(engine_next_action(world->engine, &action, &taken), 0);
                assert_true(taken);
        } while (action.type != ENGINE_FINISHED);
        message_free(action.message);
}

/* However many there are. */
static void test_actions_come_in_their_order(void **state) {
        enum { MANY = 500 };
        World *world = *state;
        world->config.batch_rows = world->config.ack_gap = 1000;
        Partition *partition = activate(world, 0, 0, 0);
        for (int i = 0; i < MANY; i++) {
                fetch_bytes(world, partition, i, NULL);
        }
        take(world);
        Batch *batch = only(world, ENGINE_SAVE)->batch;
        assert_int_equal(engine_saved(world->engine, batch, BATCH_SAVED, world->now), 0);
        for (int64_t offset = 0; offset < MANY;) {
                EngineAction action;
                bool taken;
                assert_int_equal(engine_next_action(world->engine, &action, &taken), 0);
                assert_true(taken);
                if (action.type == ENGINE_FINISHED) {
                        assert_int_equal(action.message->offset, offset++);
                        message_free(action.message);
                }
        }
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void) {
        const struct CMUnitTest tests[] = {
                TEST(test_accepts_when_both_are_done),
                TEST(test_nothing_unfinished_is_below_a_commit),
                TEST(test_a_failure_is_retried_alone_and_then_rejected),
                TEST(test_what_an_endpoint_asked_for_is_waited_out),
                TEST(test_retries_have_one_part_in_64_of_the_slots),
                TEST(test_retries_have_one_part_in_64_of_the_time),
                TEST(test_retries_fill_half_of_what_may_wait),
                TEST(test_what_waits_for_its_rejection_is_no_retry),
                TEST(test_retries_leave_a_quarter_of_the_slots),
                TEST(test_retries_have_every_slot_but_a_quarter),
                TEST(test_a_retry_owes_nothing_for_time_that_nobody_wanted),
                TEST(test_a_host_is_fresh_again_after_its_retry),
                TEST(test_retries_fill_half_of_the_bytes),
                TEST(test_many_hosts_wait),
                TEST(test_one_retry_at_a_time_beside_fresh_ones),
                TEST(test_what_cannot_be_read_is_rejected_with_its_fence),
                TEST(test_a_denied_host_is_saved_and_rejected),
                TEST(test_below_the_fence_only_the_restart_runs),
                TEST(test_a_duplicate_is_counted_and_dropped),
                TEST(test_the_end_of_a_log_is_passed),
                TEST(test_the_end_of_a_held_log_comes_again),
                TEST(test_a_revoke_of_what_is_gone_is_answered_once),
                TEST(test_requests_that_wait_share_a_restart),
                TEST(test_those_who_share_a_restart_do_not_fill_the_intake),
                TEST(test_a_revoked_partition_is_not_looked_at_again),
                TEST(test_a_restart_that_was_ordered_does_not_start_after_a_revoke),
                TEST(test_a_failure_after_a_revoke_is_the_next_owners),
                TEST(test_a_start_that_cannot_be_committed_is_no_spin),
                TEST(test_a_start_at_0_that_cannot_be_committed_is_tried_again),
                TEST(test_concurrency_and_no_host_holds_up_another),
                TEST(test_an_unknown_end_is_settled_by_the_fence),
                TEST(test_a_fence_that_went_back_starts_the_partition_anew),
                TEST(test_an_outage_charges_nobody_and_holds_back_the_rest),
                TEST(test_a_refused_row_is_rejected_and_its_neighbours_saved),
                TEST(test_a_table_that_refuses_every_row_is_an_outage),
                TEST(test_a_lost_reply_hides_no_refused_row),
                TEST(test_bad_rows_alone_meet_others),
                TEST(test_a_success_ends_the_wait_for_the_database),
                TEST(test_a_batch_in_trouble_of_its_own_holds_up_no_other),
                TEST(test_a_locked_fence_keeps_no_connection),
                TEST(test_a_batch_that_fails_again_is_split),
                TEST(test_a_batch_of_two_that_fails_again_is_split),
                TEST(test_bad_rows_of_a_split_batch_meet_others),
                TEST(test_the_fence_of_a_quiet_partition_is_looked_at_when_the_database_is_back),
                TEST(test_rejections_wait_for_the_database_without_a_batch),
                TEST(test_what_cannot_be_rejected_holds_up_no_saving),
                TEST(test_batches_keep_their_size),
                TEST(test_batches_of_rejections_keep_their_size),
                TEST(test_it_is_said_when_saving_works_again),
                TEST(test_it_is_said_when_rejecting_works_again),
                TEST(test_a_revoke_and_a_rejection),
                TEST(test_lost_replies_of_two_partitions),
                TEST(test_what_is_too_large_is_kept_in_part),
                TEST(test_the_whole_record_is_kept),
                TEST(test_when_a_request_was_made),
                TEST(test_reading_stops_at_the_limit_and_goes_on),
                TEST(test_reading_stops_at_so_many_bytes),
                TEST(test_what_waits_is_no_longer_in_flight_and_lets_go_of_its_payload),
                TEST(test_a_payload_that_a_template_reads_is_kept),
                TEST(test_reading_stops_when_too_many_wait),
                TEST(test_reading_stops_within_a_burst_of_what_was_saved_before),
                TEST(test_an_eighth_of_what_may_wait_is_free_before_it_is_read_again),
                TEST(test_the_reason_of_a_pause_follows_the_limits),
                TEST(test_only_the_limit_that_stopped_it_asks_for_more_room),
                TEST(test_a_pinned_partition_alone_is_held),
                TEST(test_a_new_partition_is_adopted_and_committed_first),
                TEST(test_why_a_partition_stands_still_is_said_once),
                TEST(test_a_look_up_that_fails_is_tried_again),
                TEST(test_a_commit_that_is_gone_stops_the_partition),
                TEST(test_a_commit_of_the_epoch_before_is_waited_for),
                TEST(test_a_decision_may_go_back),
                TEST(test_a_decision_about_nothing_is_dropped),
                TEST(test_a_partition_that_vanishes_is_read_no_further_until_it_is_known),
                TEST(test_out_of_range_stops_with_what_is_there_now),
                TEST(test_one_commit_is_in_flight_and_a_failed_one_is_made_again),
                TEST(test_commits_keep_their_interval),
                TEST(test_a_start_and_a_revoke_are_committed_at_once),
                TEST(test_a_commit_without_an_answer_is_a_failure),
                TEST(test_many_partitions_are_one_commit),
                TEST(test_a_revoke_drains_the_database_and_commits),
                TEST(test_a_revoke_does_not_wait_for_ever),
                TEST(test_a_revoke_does_not_wait_for_ever_for_a_commit),
                TEST(test_a_revoke_with_a_commit_that_is_gone_ends_at_once),
                TEST(test_lost_partitions_are_let_go_at_once),
                TEST(test_stop_cancels_shields_and_releases),
                TEST(test_the_end_hurries_a_revoke),
                TEST(test_a_flush_commits_at_once),
                TEST(test_the_last_commit_is_waited_for),
                TEST(test_an_unknown_end_during_the_stop_is_released),
                TEST(test_a_run_that_nobody_wants_any_more_never_starts),
                TEST(test_what_was_unassigned_lives_until_it_is_let_go),
                TEST(test_the_engine_frees_what_is_in_it),
                TEST(test_actions_come_in_their_order),
        };
        return cmocka_run_group_tests(tests, NULL, NULL);
}
