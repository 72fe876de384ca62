/* What waits for a hold is asked for again as soon as holds changed, and nothing else is. */

#include "engine-world.h"

#include <stdlib.h>

enum {
        AGAIN_US = 5 * SECOND,
        SPACING_US = 4000,
        CROWD = 400,
};

static int setup_ledger(void **state) {
        int r = setup(state);
        World *world = *state;
        if (r != 0) {
                return r;
        }
        world->config.ledger = true;
        world->config.concurrency = 0;
        world->config.in_flight = 2 * CROWD;
        world->config.waiting = 2 * CROWD;
        world->config.ack_gap = 2 * CROWD;
        world->config.batch_rows = 2 * CROWD;
        return 0;
}

/* The runs whose claim was taken last. */
static size_t claims(const World *world, Run **runs) {
        size_t n = 0;
        for (size_t i = 0; i < world->n_taken; i++) {
                if (world->taken[i].type == ENGINE_CLAIM) {
                        runs[n++] = world->taken[i].run;
                }
        }
        return n;
}

static void answer(World *world, Run *run, LedgerReason reason) {
        LedgerDecision decision = {.verdict = reason == LEDGER_REASON_NONE ? LEDGER_VERDICT_START
                                                                           : LEDGER_VERDICT_WAIT,
                                   .reason = reason,
                                   .id = reason == LEDGER_REASON_NONE ? 1 : 0,
                                   .attempt = reason == LEDGER_REASON_NONE ? 1 : 0,
                                   .again_us = AGAIN_US,
                                   .received_us = 1000,
                                   .acted_age_us = -1};
        assert_int_equal(engine_claimed(world->engine, run, LEDGER_END_DONE, &decision, world->now),
                         0);
}

static void changed_of(World *world, const char *pattern) {
        assert_int_equal(engine_holds_changed(world->engine, pattern, world->now), 0);
        take(world);
}

static void changed(World *world) {
        changed_of(world, NULL);
}

/* @n requests, each for a host of its own; all are saved. Returns the claims. */
static size_t fetch_hosts(World *world, Partition *partition, int n, Run **runs) {
        char host[16];
        for (int i = 0; i < n; i++) {
                snprintf(host, sizeof(host), "h%d", (int)partition->next);
                fetch(world, partition, partition->next, host);
        }
        take(world);
        size_t found = claims(world, runs);
        saved(world, only(world, ENGINE_SAVE)->batch, BATCH_SAVED);
        return found;
}

static void test_a_held_host_is_asked_for_at_once(void **state) {
        static const LedgerReason held[] = {LEDGER_REASON_HOLD, LEDGER_REASON_FUSE};
        World *world = *state;
        Partition *partition = activate(world, 0, 0, 0);
        Run *run = NULL;
        assert_int_equal(fetch_hosts(world, partition, 1, &run), 1);
        for (int i = 0; i < 2; i++) {
                answer(world, run, held[i]);
                take(world);
                tick(world, AGAIN_US - 1);
                assert_int_equal(claims(world, &run), 0);
                changed(world);
                assert_int_equal(claims(world, &run), 1);
        }
        answer(world, run, LEDGER_REASON_NONE);
        take(world);
        assert_string_equal(run_host(only(world, ENGINE_RESTART)->run), "h0");
}

/* A hold has nothing to do with them. */
static void test_others_wait_on(void **state) {
        static const LedgerReason reasons[] = {LEDGER_REASON_COOLDOWN, LEDGER_REASON_FLEET,
                                               LEDGER_REASON_RUNNING, LEDGER_REASON_GROUP,
                                               LEDGER_REASON_QUIET_TIME};
        World *world = *state;
        Partition *partition = activate(world, 0, 0, 0);
        Run *runs[5];
        assert_int_equal(fetch_hosts(world, partition, 5, runs), 5);
        for (int i = 0; i < 5; i++) {
                answer(world, runs[i], reasons[i]);
        }
        take(world);
        int64_t due = engine_deadline(world->engine);
        changed(world);
        assert_int_equal(claims(world, runs), 0);
        assert_int_equal(engine_deadline(world->engine), due);
}

/* One after the other, and before those that wait for anything else. */
static void test_a_crowd_is_asked_for_in_turn(void **state) {
        static Run *runs[CROWD];
        World *world = *state;
        Partition *partition = activate(world, 0, 0, 0);
        assert_int_equal(fetch_hosts(world, partition, CROWD, runs), CROWD);
        for (int i = 0; i < CROWD; i++) {
                answer(world, runs[i], i % 4 == 3 ? LEDGER_REASON_HOLD : LEDGER_REASON_COOLDOWN);
        }
        take(world);
        assert_int_equal(engine_waits(world->engine, WAIT_HOLD), CROWD / 4);
        changed(world);
        for (int i = 0; i < CROWD / 4; i++) {
                assert_int_equal(claims(world, runs), 1);
                assert_int_equal(run_host(runs[0])[0], 'h');
                assert_int_equal(atoi(run_host(runs[0]) + 1) % 4, 3);
                tick(world, SPACING_US);
        }
        assert_int_equal(engine_waits(world->engine, WAIT_HOLD), 0);
        assert_int_equal(claims(world, runs), 0);
}

/* Of those that are held only those of the hold that was lifted, before all others. */
static void test_of_one_hold(void **state) {
        static Run *runs[CROWD];
        World *world = *state;
        Partition *partition = activate(world, 0, 0, 0);
        assert_int_equal(fetch_hosts(world, partition, CROWD, runs), CROWD);
        for (int i = 0; i < CROWD; i++) {
                answer(world, runs[i], LEDGER_REASON_HOLD);
        }
        take(world);
        changed_of(world, "web*");
        assert_int_equal(claims(world, runs), 0);
        changed_of(world, "H39?");
        for (int i = 0; i < 10; i++) {
                assert_int_equal(claims(world, runs), 1);
                assert_int_equal(strncmp(run_host(runs[0]), "h39", 3), 0);
                tick(world, SPACING_US);
        }
        assert_int_equal(claims(world, runs), 0);
        /* And so when all are asked for already. */
        changed(world);
        assert_int_equal(claims(world, runs), 1);
        changed_of(world, "h38?");
        assert_int_equal(claims(world, runs), 1);
        assert_int_equal(strncmp(run_host(runs[0]), "h38", 3), 0);
}

/* Whoever is due before is not put off, however often holds change. */
static void test_nobody_is_put_off(void **state) {
        World *world = *state;
        Partition *partition = activate(world, 0, 0, 0);
        Run *runs[3];
        size_t asked = 0;
        assert_int_equal(fetch_hosts(world, partition, 3, runs), 3);
        for (int i = 0; i < 3; i++) {
                answer(world, runs[i], LEDGER_REASON_HOLD);
        }
        take(world);
        for (int i = 0; i < 2 * SPACING_US / 500 + 1; i++) {
                changed(world);
                asked += claims(world, runs);
                tick(world, 500);
                asked += claims(world, runs);
        }
        assert_int_equal(asked, 3);
}

/* It was decided before the hold was lifted, and comes after the news. */
static void test_an_answer_that_is_overtaken(void **state) {
        World *world = *state;
        Partition *partition = activate(world, 0, 0, 0);
        Run *run = NULL;
        assert_int_equal(fetch_hosts(world, partition, 1, &run), 1);
        changed(world);
        answer(world, run, LEDGER_REASON_HOLD);
        take(world);
        assert_int_equal(claims(world, &run), 1);
        /* This one was asked behind it. */
        answer(world, run, LEDGER_REASON_HOLD);
        take(world);
        assert_int_equal(claims(world, &run), 0);
        tick(world, AGAIN_US);
        assert_int_equal(claims(world, &run), 1);
        /* For what else it waits has nothing to do with it. */
        changed(world);
        answer(world, run, LEDGER_REASON_FLEET);
        take(world);
        assert_int_equal(claims(world, &run), 0);
}

static void test_nobody_waits(void **state) {
        World *world = *state;
        take(world);
        changed(world);
        assert_int_equal(world->n_taken, 0);
        assert_int_equal(engine_stop(world->engine, world->now), 0);
        take(world);
        changed(world);
        assert_int_equal(world->n_taken, 0);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test_setup_teardown(test_a_held_host_is_asked_for_at_once, setup_ledger,
                                                teardown),
                cmocka_unit_test_setup_teardown(test_others_wait_on, setup_ledger, teardown),
                cmocka_unit_test_setup_teardown(test_a_crowd_is_asked_for_in_turn, setup_ledger,
                                                teardown),
                cmocka_unit_test_setup_teardown(test_of_one_hold, setup_ledger, teardown),
                cmocka_unit_test_setup_teardown(test_nobody_is_put_off, setup_ledger, teardown),
                cmocka_unit_test_setup_teardown(test_an_answer_that_is_overtaken, setup_ledger,
                                                teardown),
                cmocka_unit_test_setup_teardown(test_nobody_waits, setup_ledger, teardown),
        };
        return cmocka_run_group_tests(tests, NULL, NULL);
}
