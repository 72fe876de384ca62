/*
 * A restart that the ledger is asked for, at the edges: what is counted and told when the message
 * is gone, and what becomes of those that share it or wait behind it.
 */

#include "engine-world.h"

static int setup_ledger(void **state) {
        int r = setup(state);
        World *world = *state;
        world->config.ledger = true;
        world->config.cooldown_us = 10 * SECOND;
        world->config.verify_deadline_us = 30 * SECOND;
        return r;
}

static void claimed(World *world, Run *run, LedgerDecision decision) {
        decision.received_us = 1000;
        assert_int_equal(engine_claimed(world->engine, run, LEDGER_END_DONE, &decision, world->now),
                         0);
        take(world);
}

static void granted(World *world, Run *run, int64_t id) {
        claimed(world, run,
                (LedgerDecision){.verdict = LEDGER_VERDICT_START,
                                 .id = id,
                                 .attempt = run->claim.attempt});
        assert_ptr_equal(started(world), run);
}

static void concluded(World *world, Run *run, LedgerState state) {
        const LedgerResult result = {.id = run->ledger_id, .did = true, .state = state};
        assert_int_equal(run->state, state);
        assert_int_equal(engine_concluded(world->engine, run, LEDGER_END_DONE, &result, world->now),
                         0);
        take(world);
}

/* Messages for @host at the offsets from @partition->next on, saved; the claim of the first run. */
static Run *asked(World *world, Partition *partition, const char *host, int n) {
        for (int i = 0; i < n; i++) {
                fetch(world, partition, partition->next, host);
        }
        take(world);
        Run *run = only(world, ENGINE_CLAIM)->run;
        Batch *batch = only(world, ENGINE_SAVE)->batch;
        assert_int_equal(engine_saved(world->engine, batch, BATCH_SAVED, world->now), 0);
        take(world);
        return run;
}

static Message *last_of(const Partition *partition) {
        return container_of(partition->messages.prev, Message, link);
}

static void revoke(World *world, Partition *partition) {
        assert_int_equal(engine_revoked(world->engine, &partition, 1, false, world->now), 0);
        take(world);
}

/* What was granted and given back is no attempt at a restart, whatever the reason. */
static void test_what_is_given_back_is_not_counted(void **state) {
        World *world = *state;
        Partition *partition = activate(world, 0, 0, 0);
        Run *run = asked(world, partition, "a", 1);
        assert_int_equal(engine_claimed(world->engine, run, LEDGER_END_DONE,
                                        &(LedgerDecision){.verdict = LEDGER_VERDICT_START, .id = 7},
                                        world->now),
                         0);
        assert_int_equal(engine_stop(world->engine, world->now), 0);
        take(world);
        assert_int_equal(count(world, ENGINE_RESTART), 0);
        assert_ptr_equal(only(world, ENGINE_CONCLUDE)->run, run);
        assert_int_equal(engine_totals(world->engine)->runs, 0);
        concluded(world, run, LEDGER_STATE_NOT_STARTED);
        assert_int_equal(engine_release(world->engine, world->now), 0);
        take(world);
        assert_string_equal(world->finished, "L");
        assert_int_equal(engine_totals(world->engine)->runs, 0);
        assert_true(engine_is_quiet(world->engine));
}

/* A wait that is over when a grant is given back was no attempt either. */
static void test_waiting_too_long_is_no_attempt(void **state) {
        World *world = *state;
        world->config.max_wait_us = 60 * SECOND;
        Partition *partition = activate(world, 0, 0, 0);
        Run *run = asked(world, partition, "a", 2);
        granted(world, run, 7);
        world->now += 61 * SECOND;
        assert_int_equal(engine_too_late(world->engine, run, world->now), 0);
        take(world);
        concluded(world, run, LEDGER_STATE_NOT_STARTED);
        for (int i = 0; i < 2; i++) {
                const Message *message = i == 0 ? list_first(&partition->messages, Message, link)
                                                : last_of(partition);
                assert_string_equal(message->fault->reason, "waited_too_long");
                assert_int_equal(message->handlers[HANDLER_RESTART].attempts, 0);
        }
        assert_int_equal(engine_totals(world->engine)->runs, 0);
}

/* While the leader's past is looked into, the others' waits may end. */
static void test_who_waits_behind_a_look_back_has_an_end(void **state) {
        World *world = *state;
        world->config.max_wait_us = 60 * SECOND;
        world->config.verify = true;
        Partition *partition = activate(world, 0, 0, 0);
        Run *run = asked(world, partition, "a", 2);
        assert_int_equal(engine_claimed(world->engine, run, LEDGER_END_UNKNOWN, NULL, world->now),
                         0);
        take(world);
        tick(world, 61 * SECOND);
        assert_ptr_equal(only(world, ENGINE_CLAIM)->run, run);
        claimed(world, run,
                (LedgerDecision){.verdict = LEDGER_VERDICT_VERIFY, .id = 7, .attempt = 1});
        assert_ptr_equal(only(world, ENGINE_VERIFY)->run, run);
        tick(world, SECOND);
        assert_non_null(last_of(partition)->fault);
        assert_string_equal(last_of(partition)->fault->reason, "waited_too_long");
        assert_int_equal(engine_verified(world->engine, run, VERIFY_PASSED, "", world->now), 0);
        take(world);
        concluded(world, run, LEDGER_STATE_DONE);
        assert_string_equal(world->finished, "A");
}

/* The row of a message that shared a restart takes the number of its next claim. Claimed again with
 * the old one, an unknown end would be found, and charged, a second time. */
static void test_who_shared_numbers_its_next_claim(void **state) {
        World *world = *state;
        world->config.on_unknown = ON_UNKNOWN_RETRY;
        Partition *first = activate(world, 0, 0, 0), *second = activate(world, 1, 0, 0);
        fetch(world, first, 0, "a");
        fetch(world, second, 0, "a");
        take(world);
        Run *run = only(world, ENGINE_CLAIM)->run;
        saved(world, only(world, ENGINE_SAVE)->batch, BATCH_SAVED);
        granted(world, run, 7);
        restarted(world, run, OUTCOME_UNKNOWN);
        concluded(world, run, LEDGER_STATE_UNKNOWN);
        assert_int_equal(last_of(first)->claim, 2);
        assert_int_equal(last_of(second)->claim, 2);
        revoke(world, first);
        tick(world, 11 * SECOND);
        Run *next = only(world, ENGINE_CLAIM)->run;
        assert_int_equal(next->claim.source, 2);
        assert_int_equal(next->claim.attempt, 2);
}

/* Nor for certain after a failure: the ledger writes none for a message with an unknown restart of
 * its own, and a number beyond that one would say that on_unknown decided to repeat it. */
static void test_who_shared_a_failure_keeps_its_number(void **state) {
        World *world = *state;
        Partition *first = activate(world, 0, 0, 0), *second = activate(world, 1, 0, 0);
        fetch(world, first, 0, "a");
        fetch(world, second, 0, "a");
        take(world);
        Run *run = only(world, ENGINE_CLAIM)->run;
        saved(world, only(world, ENGINE_SAVE)->batch, BATCH_SAVED);
        granted(world, run, 7);
        restarted(world, run, OUTCOME_FAILED);
        concluded(world, run, LEDGER_STATE_FAILED);
        assert_int_equal(last_of(first)->claim, 2);
        assert_int_equal(last_of(second)->claim, 1);
        revoke(world, first);
        tick(world, 11 * SECOND);
        Run *next = only(world, ENGINE_CLAIM)->run;
        assert_int_equal(next->claim.attempt, 1);
        claimed(world, next,
                (LedgerDecision){.verdict = LEDGER_VERDICT_UNKNOWN, .id = 3, .attempt = 1});
        assert_null(started(world));
        assert_string_equal(last_of(second)->fault->reason, "unknown");
}

/* It has no row when the end was another one, and none when nothing was started. */
static void test_who_has_no_row_keeps_its_number(void **state) {
        World *world = *state;
        Partition *partition = activate(world, 0, 0, 0);
        Run *run = asked(world, partition, "a", 2);
        granted(world, run, 7);
        assert_int_equal(engine_too_late(world->engine, run, world->now), 0);
        take(world);
        concluded(world, run, LEDGER_STATE_NOT_STARTED);
        assert_int_equal(list_first(&partition->messages, Message, link)->claim, 2);
        assert_int_equal(last_of(partition)->claim, 1);
        tick(world, engine_deadline(world->engine) - world->now);
        Run *next = only(world, ENGINE_CLAIM)->run;
        granted(world, next, 8);
        restarted(world, next, OUTCOME_DONE);
        const LedgerResult result = {.id = 8, .did = false, .state = LEDGER_STATE_FAILED};
        assert_int_equal(engine_concluded(world->engine, next, LEDGER_END_DONE, &result,
                                          world->now),
                         0);
        take(world);
        assert_int_equal(list_first(&partition->messages, Message, link)->claim, 3);
        assert_int_equal(last_of(partition)->claim, 1);
}

/* The fuse is for all: that it blew is told also when the message whose claim blew it is gone. The
 * same with a row that was written. */
static void test_what_a_claim_did_is_told_without_its_message(void **state) {
        World *world = *state;
        Partition *partition = activate(world, 0, 0, 0);
        fetch(world, partition, 0, "a");
        fetch(world, partition, 1, "b");
        take(world);
        Run *runs[2];
        size_t n = 0;
        for (size_t i = 0; i < world->n_taken; i++) {
                if (world->taken[i].type == ENGINE_CLAIM) {
                        runs[n++] = world->taken[i].run;
                }
        }
        assert_int_equal(n, 2);
        saved(world, only(world, ENGINE_SAVE)->batch, BATCH_SAVED);
        revoke(world, partition);
        claimed(world, runs[0],
                (LedgerDecision){.verdict = LEDGER_VERDICT_WAIT,
                                 .reason = LEDGER_REASON_FUSE,
                                 .again_us = SECOND,
                                 .fuse_blew = true});
        assert_non_null(noted(world, NOTE_FUSE_BLEW));
        claimed(world, runs[1],
                (LedgerDecision){.verdict = LEDGER_VERDICT_DONE,
                                 .reason = LEDGER_REASON_STALE,
                                 .suppressed_now = true});
        assert_int_equal(engine_totals(world->engine)->suppressed[LEDGER_REASON_STALE], 1);
        assert_true(engine_is_quiet(world->engine));
}

/* That an action ended well was refused together with others: it is told by itself. A shutdown
 * would leave the row without it, and nobody would know. */
static void test_a_refused_acted_is_told_alone(void **state) {
        World *world = *state;
        world->config.verify = true;
        Partition *partition = activate(world, 0, 0, 0);
        Run *run = asked(world, partition, "a", 1);
        granted(world, run, 7);
        assert_int_equal(engine_stop(world->engine, world->now), 0);
        take(world);
        restarted(world, run, OUTCOME_DONE);
        assert_ptr_equal(only(world, ENGINE_ACTED)->run, run);
        assert_false(run->alone);
        assert_int_equal(engine_acted(world->engine, run, LEDGER_END_REFUSED, world->now), 0);
        take(world);
        assert_ptr_equal(only(world, ENGINE_ACTED)->run, run);
        assert_true(run->alone);
        assert_int_equal(engine_open_entries(world->engine), 1);
        assert_int_equal(engine_acted(world->engine, run, LEDGER_END_DONE, world->now), 0);
        take(world);
        assert_string_equal(world->finished, "L");
        assert_true(engine_is_quiet(world->engine));
}

/* Alone the fault is its own; and once verify has spoken, the end says all. */
static void test_a_refused_acted_is_given_up(void **state) {
        World *world = *state;
        world->config.verify = true;
        for (int spoken = 0; spoken < 2; spoken++) {
                Partition *partition = activate(world, 0, 0, 0);
                Run *run = asked(world, partition, "a", 1);
                granted(world, run, 7);
                restarted(world, run, OUTCOME_DONE);
                only(world, ENGINE_ACTED);
                only(world, ENGINE_VERIFY);
                if (spoken) {
                        assert_int_equal(engine_verified(world->engine, run, VERIFY_PASSED, "",
                                                         world->now),
                                         0);
                        take(world);
                }
                assert_int_equal(engine_acted(world->engine, run, LEDGER_END_REFUSED, world->now),
                                 0);
                take(world);
                if (!spoken) {
                        only(world, ENGINE_ACTED);
                        assert_int_equal(engine_acted(world->engine, run, LEDGER_END_REFUSED,
                                                      world->now),
                                         0);
                        take(world);
                        assert_int_equal(count(world, ENGINE_ACTED), 0);
                        assert_int_equal(engine_verified(world->engine, run, VERIFY_PASSED, "",
                                                         world->now),
                                         0);
                        take(world);
                }
                assert_int_equal(count(world, ENGINE_ACTED), 0);
                assert_ptr_equal(only(world, ENGINE_CONCLUDE)->run, run);
                assert_false(run->alone);
                concluded(world, run, LEDGER_STATE_DONE);
                assert_string_equal(world->finished, "A");
                memset(world->finished, 0, sizeof(world->finished));
                void *again = NULL;
                engine_free(world->engine);
                assert_int_equal(setup_ledger(&again), 0);
                world->config.verify = true;
        }
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup_ledger, teardown)

int main(void) {
        const struct CMUnitTest tests[] = {
                TEST(test_what_is_given_back_is_not_counted),
                TEST(test_waiting_too_long_is_no_attempt),
                TEST(test_who_waits_behind_a_look_back_has_an_end),
                TEST(test_who_shared_numbers_its_next_claim),
                TEST(test_who_shared_a_failure_keeps_its_number),
                TEST(test_who_has_no_row_keeps_its_number),
                TEST(test_what_a_claim_did_is_told_without_its_message),
                TEST(test_a_refused_acted_is_told_alone),
                TEST(test_a_refused_acted_is_given_up),
        };
        return cmocka_run_group_tests(tests, NULL, NULL);
}
