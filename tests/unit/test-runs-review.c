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

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup_ledger, teardown)

int main(void) {
        const struct CMUnitTest tests[] = {
                TEST(test_what_is_given_back_is_not_counted),
        };
        return cmocka_run_group_tests(tests, NULL, NULL);
}
