/*
 * What a person sees of the engine: the counts, what each message waits for and since when, and the
 * oldest messages, at a cost that does not grow with what there is.
 */

#include "engine-world.h"

#include <stdlib.h>

#include "core/inspect.h"

static int setup_ledger(void **state) {
        int r = setup(state);
        World *world = *state;
        world->config.ledger = true;
        return r;
}

/* The counts are those of a walk over all messages. */
static void counts_agree(const World *world) {
        size_t n[HANDLER_COUNT][HANDLER_STATES] = {0};
        size_t all = 0;
        list_for_each(partition_link, engine_partitions(world->engine)) {
                const Partition *partition = container_of(partition_link, Partition, link);
                size_t own = 0;
                list_for_each(link, &partition->messages) {
                        const Message *message = container_of(link, Message, link);
                        own += !message->gap;
                        for (int i = 0; i < HANDLER_COUNT && !message->gap; i++) {
                                n[i][message->handlers[i].state]++;
                        }
                }
                assert_int_equal(partition->n_messages, own);
                all += own;
        }
        for (int i = 0; i < HANDLER_COUNT; i++) {
                size_t sum = 0;
                for (int s = 0; s < HANDLER_STATES; s++) {
                        assert_int_equal(engine_states(world->engine, (HandlerId)i,
                                                       (HandlerState)s),
                                         n[i][s]);
                        sum += n[i][s];
                }
                assert_int_equal(sum, all);
        }
        assert_int_equal(all, engine_in_flight(world->engine) + engine_waiting(world->engine));
}

static void test_counts(void **state) {
        World *world = *state;
        Partition *partition = activate(world, 0, 0, 0);
        fetch(world, partition, 0, "a");
        fetch(world, partition, 1, "a");
        fetch(world, partition, 2, "b");
        fetch_bytes(world, partition, 3, NULL);
        fetch_bytes(world, partition, 4, "{}");
        assert_int_equal(engine_ended(world->engine, partition, 9, 1000, world->now), 0);
        counts_agree(world);
        assert_int_equal(engine_states(world->engine, HANDLER_SAVE, HANDLER_QUEUED), 5);
        assert_int_equal(engine_states(world->engine, HANDLER_RESTART, HANDLER_OFF), 2);
        take(world);
        counts_agree(world);
        assert_int_equal(engine_states(world->engine, HANDLER_SAVE, HANDLER_RUNNING), 5);
        assert_int_equal(engine_states(world->engine, HANDLER_RESTART, HANDLER_RUNNING), 3);
        Batch *batch = only(world, ENGINE_SAVE)->batch;
        Run *run = NULL;
        for (size_t i = 0; i < world->n_taken; i++) {
                run = world->taken[i].type == ENGINE_RESTART ? world->taken[i].run : run;
        }
        saved(world, batch, BATCH_SAVED);
        counts_agree(world);
        assert_string_equal(run_host(run), "b");
        restarted(world, run, OUTCOME_FAILED);
        counts_agree(world);
        assert_int_equal(engine_states(world->engine, HANDLER_RESTART, HANDLER_WAITING), 1);
        assert_int_equal(engine_stop(world->engine, world->now), 0);
        take(world);
        assert_int_equal(engine_release(world->engine, world->now), 0);
        take(world);
        counts_agree(world);
        assert_int_equal(engine_states(world->engine, HANDLER_RESTART, HANDLER_RUNNING), 0);
}

static InspectedHandler restart_of(const Partition *partition) {
        InspectedHandler out;
        inspect_handler(list_first(&partition->messages, Message, link), HANDLER_RESTART, &out);
        return out;
}

static void has_to_wait(World *world, LedgerReason reason, int64_t again_us) {
        LedgerDecision decision = {.verdict = LEDGER_VERDICT_WAIT,
                                   .reason = reason,
                                   .again_us = again_us,
                                   .received_us = 1000};
        assert_int_equal(engine_claimed(world->engine, only(world, ENGINE_CLAIM)->run,
                                        LEDGER_END_DONE, &decision, world->now),
                         0);
        take(world);
}

/* A wait begins when it is heard of first, however often it is asked for in between, and anew when
 * it is for something else. */
static void test_since_of_a_wait(void **state) {
        World *world = *state;
        Partition *partition = activate(world, 0, 0, 0);
        fetch(world, partition, 0, "a");
        take(world);
        int64_t asked = world->now;
        InspectedHandler is = restart_of(partition);
        assert_int_equal(is.state, HANDLER_ASKING);
        assert_int_equal(is.run->phase, RUN_CLAIMING);
        assert_int_equal(is.since_us, asked);
        assert_int_equal(is.waits_for, WAIT_NONE);
        world->now += SECOND;
        int64_t held = world->now;
        has_to_wait(world, LEDGER_REASON_HOLD, 5 * SECOND);
        for (int i = 0; i < 3; i++) {
                is = restart_of(partition);
                assert_int_equal(is.state, HANDLER_QUEUED);
                assert_int_equal(is.waits_for, WAIT_HOLD);
                assert_int_equal(is.since_us, held);
                assert_int_equal(is.again_us, world->now + 5 * SECOND);
                tick(world, 5 * SECOND);
                is = restart_of(partition);
                assert_int_equal(is.state, HANDLER_ASKING);
                assert_int_equal(is.waits_for, WAIT_HOLD);
                assert_int_equal(is.since_us, held);
                has_to_wait(world, LEDGER_REASON_HOLD, 5 * SECOND);
        }
        tick(world, 5 * SECOND);
        has_to_wait(world, LEDGER_REASON_FLEET, 5 * SECOND);
        is = restart_of(partition);
        assert_int_equal(is.waits_for, WAIT_FLEET);
        assert_int_equal(is.since_us, world->now);
        tick(world, 5 * SECOND);
        LedgerDecision start = {.verdict = LEDGER_VERDICT_START, .id = 7, .received_us = 1000};
        assert_int_equal(engine_claimed(world->engine, only(world, ENGINE_CLAIM)->run,
                                        LEDGER_END_DONE, &start, world->now),
                         0);
        take(world);
        is = restart_of(partition);
        assert_int_equal(is.state, HANDLER_RUNNING);
        assert_int_equal(is.waits_for, WAIT_NONE);
        assert_int_equal(is.since_us, world->now);
        assert_string_equal(run_phase_name(is.run->phase), "acting");

        /* What comes meanwhile waits for the host, since it came. */
        tick(world, 3 * SECOND);
        fetch(world, partition, 1, "a");
        const Message *second = container_of(partition->messages.prev, Message, link);
        tick(world, 3 * SECOND);
        inspect_handler(second, HANDLER_RESTART, &is);
        assert_int_equal(is.waits_for, WAIT_HOST);
        assert_int_equal(is.since_us, second->received_us);
}

static void test_retry(void **state) {
        World *world = *state;
        Partition *partition = activate(world, 0, 0, 0);
        fetch(world, partition, 0, "a");
        take(world);
        saved(world, only(world, ENGINE_SAVE)->batch, BATCH_SAVED);
        tick(world, SECOND);
        Run *run = container_of(partition->messages.next, Message, link)->run;
        restarted(world, run, OUTCOME_FAILED);
        InspectedHandler is = restart_of(partition);
        assert_int_equal(is.state, HANDLER_WAITING);
        assert_int_equal(is.waits_for, WAIT_RETRY);
        assert_int_equal(is.since_us, world->now);
        assert_int_equal(is.outcome, OUTCOME_FAILED);
        assert_int_equal(is.charged, 1);
        assert_true(is.again_us > world->now && is.again_us <= world->now + 2 * SECOND);
}

static void test_oldest(void **state) {
        World *world = *state;
        Inspection inspection = {0};
        Partition *partitions[3];
        world->config.save = true;
        for (int i = 0; i < 3; i++) {
                partitions[i] = activate(world, i, 0, 0);
        }
        /* In turn, an instant apart, with a gap before each. */
        for (int i = 0; i < 12; i++) {
                Partition *partition = partitions[i % 3];
                char host[16];
                snprintf(host, sizeof(host), "h%d", i);
                assert_int_equal(engine_ended(world->engine, partition, partition->next + 1, 1000,
                                              world->now),
                                 0);
                fetch(world, partition, partition->next, host);
                world->now++;
        }
        assert_int_equal(inspect_messages(&inspection, world->engine, 10), 0);
        assert_int_equal(inspection.n, 10);
        assert_int_equal(inspection.total, 12);
        for (size_t i = 0; i < inspection.n; i++) {
                char host[16];
                const InspectedMessage *message = &inspection.messages[i];
                snprintf(host, sizeof(host), "h%d", (int)i);
                assert_string_equal(inspection_text(&inspection, message->host), host);
                assert_string_equal(inspection_text(&inspection, message->topic), "t");
                assert_null(inspection_text(&inspection, message->id));
                assert_int_equal(message->partition, (int)i % 3);
                assert_int_equal(message->offset, 1 + 2 * ((int)i / 3));
        }
        inspection_deinit(&inspection);
        assert_int_equal(inspect_messages(&inspection, world->engine, 0), 0);
        assert_int_equal(inspection.n, 0);
        assert_int_equal(inspection.total, 12);
        inspection_deinit(&inspection);
}

/* What it costs is what is told, not what there is. */
static void test_cost(void **state) {
        enum { N = 100000, TOLD = 1000, PARTITIONS = 4 };
        World *world = *state;
        Partition *partitions[PARTITIONS];
        Inspection inspection = {0};
        world->config.in_flight = world->config.waiting = world->config.ack_gap = 2 * N;
        world->config.in_flight_bytes = 1 << 30;
        world->config.batch_rows = 2 * N;
        world->config.batch_bytes = 1 << 30;
        world->config.ledger = true;
        for (int i = 0; i < PARTITIONS; i++) {
                partitions[i] = activate(world, i, 0, 0);
        }
        for (int i = 0; i < N; i++) {
                Partition *partition = partitions[i % PARTITIONS];
                fetch(world, partition, partition->next, "a");
        }
        take(world);
        saved(world, only(world, ENGINE_SAVE)->batch, BATCH_SAVED);
        assert_int_equal(engine_waiting(world->engine), N);
        assert_int_equal(inspect_messages(&inspection, world->engine, TOLD), 0);
        assert_int_equal(inspection.n, TOLD);
        assert_int_equal(inspection.total, N);
        assert_true(inspection.touched <= TOLD + 2 * PARTITIONS);
        inspection_deinit(&inspection);
}

/* A log full of what is no message has a bound too. */
static void test_gaps_are_bounded(void **state) {
        enum { N = 2 * INSPECT_PASSED_MAX };
        World *world = *state;
        Inspection inspection = {0};
        world->config.in_flight = world->config.waiting = world->config.ack_gap = 2 * N;
        Partition *partition = activate(world, 0, 0, 0);
        for (int i = 0; i < N; i++) {
                assert_int_equal(engine_ended(world->engine, partition, partition->next + 1, 1000,
                                              world->now),
                                 0);
        }
        fetch(world, partition, partition->next, "a");
        assert_int_equal(inspect_messages(&inspection, world->engine, 10), 0);
        assert_int_equal(inspection.n, 0);
        assert_int_equal(inspection.total, 1);
        assert_true(inspection.touched <= INSPECT_PASSED_MAX + 2);
        inspection_deinit(&inspection);
}

static void test_save_failures(void **state) {
        World *world = *state;
        size_t rows;
        Partition *partition = activate(world, 0, 0, 0);
        fetch(world, partition, 0, "a");
        take(world);
        assert_int_equal(engine_save_failures(world->engine, &rows), 0);
        saved(world, only(world, ENGINE_SAVE)->batch, BATCH_OUTAGE);
        assert_int_equal(engine_save_failures(world->engine, &rows), 1);
        assert_int_equal(rows, 1);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test_setup_teardown(test_counts, setup, teardown),
                cmocka_unit_test_setup_teardown(test_since_of_a_wait, setup_ledger, teardown),
                cmocka_unit_test_setup_teardown(test_retry, setup, teardown),
                cmocka_unit_test_setup_teardown(test_oldest, setup, teardown),
                cmocka_unit_test_setup_teardown(test_cost, setup, teardown),
                cmocka_unit_test_setup_teardown(test_gaps_are_bounded, setup, teardown),
                cmocka_unit_test_setup_teardown(test_save_failures, setup, teardown),
        };
        return cmocka_run_group_tests(tests, NULL, NULL);
}
