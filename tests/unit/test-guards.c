/*
 * What keeps a restart from starting, in the engine: each test is a short story. The windows
 * themselves are test-windows', the engine's other stories test-engine's.
 */

#include "test.h"

#include <stdio.h>
#include <string.h>

#include "core/engine.h"

enum {
        SECOND = 1000000,
        MINUTE = 60,
        HOUR = 60 * MINUTE,
        TAKEN_MAX = 256,
};

static const char *const all_hosts[] = {"*", NULL};
static const char *const bad_hosts[] = {"bad-*", NULL};
static const char *const self[] = {"me", "me.example.com", "192.0.2.7", "2001:db8::7", NULL};
static const MessageCondition selects[] = {{"kind.of", MESSAGE_TEXT, "restart"}};

/* Open from 01:00 to 02:00. */
static const Window night[] = {{WINDOW_EVERY_DAY, HOUR, 2 * HOUR, NULL}};

typedef struct World {
        EngineConfig config;
        Window window;
        Engine *engine;
        Partition *partition;
        int64_t now;
        int64_t wall; /* less now */
        EngineAction taken[TAKEN_MAX];
        size_t n_taken;
        char finished[TAKEN_MAX]; /* a letter a message, in the order in which they ended */
        char reason[64], detail[MESSAGE_DETAIL_MAX]; /* of the newest that was rejected */
        const char *word;                            /* HandlerTask.reason of the newest */
} World;

static void take(World *world) {
        static const char letters[FINISH_COUNT] = {[FINISH_ACCEPTED] = 'A',
                                                   [FINISH_REJECTED] = 'J',
                                                   [FINISH_RELEASED] = 'L',
                                                   [FINISH_TOMBSTONE] = 'T'};
        EngineAction action;
        bool taken = true;
        world->n_taken = 0;
        engine_clock(world->engine, world->now + world->wall, world->now);
        while (assert_int_equal(engine_next_action(world->engine, &action, &taken), 0), taken) {
                assert_true(world->n_taken < TAKEN_MAX);
                world->taken[world->n_taken++] = action;
                if (action.type == ENGINE_FINISHED) {
                        const MessageFault *fault = action.message->fault;
                        world->finished[strlen(world->finished)] = letters[action.finish];
                        world->word = action.message->handlers[HANDLER_RESTART].reason;
                        snprintf(world->reason, sizeof(world->reason), "%s",
                                 fault != NULL ? fault->reason : "");
                        snprintf(world->detail, sizeof(world->detail), "%s",
                                 fault != NULL ? fault->detail : "");
                        message_free(action.message);
                }
        }
}

static size_t count(const World *world, EngineActionType type) {
        size_t n = 0;
        for (size_t i = 0; i < world->n_taken; i++) {
                n += world->taken[i].type == type;
        }
        return n;
}

static bool noted(const World *world, EngineNote note) {
        for (size_t i = 0; i < world->n_taken; i++) {
                if (world->taken[i].type == ENGINE_NOTE && world->taken[i].note == note) {
                        return true;
                }
        }
        return false;
}

/* The first of its type among those taken last. */
static const EngineAction *taken(const World *world, EngineActionType type) {
        for (size_t i = 0; i < world->n_taken; i++) {
                if (world->taken[i].type == type) {
                        return &world->taken[i];
                }
        }
        fail_msg("no action %d", type);
        return NULL;
}

static void tick(World *world, int64_t us) {
        world->now += us;
        assert_int_equal(engine_tick(world->engine, world->now), 0);
        take(world);
}

static int setup(void **state) {
        static World world;
        world = (World){.now = 100 * (int64_t)SECOND};
        world.window = night[0];
        world.window.zone = zone_utc();
        world.config = (EngineConfig){.format = {"host", "id", "requested_at"},
                                      .save = true,
                                      .restart = true,
                                      .allow = all_hosts,
                                      .deny = bad_hosts,
                                      .self = self,
                                      .concurrency = 2,
                                      .in_flight = 100,
                                      .in_flight_bytes = 1 << 20,
                                      .message_bytes = 1 << 16,
                                      .waiting = 100,
                                      .ack_gap = 100,
                                      .batches = 1,
                                      .batch_rows = 100,
                                      .batch_bytes = 1 << 20,
                                      .attempts = 3,
                                      .backoff_us = SECOND,
                                      .backoff_max_us = 60 * (int64_t)SECOND,
                                      .commit_interval_us = SECOND,
                                      .drain_us = 5 * (int64_t)SECOND};
        *state = &world;
        return engine_new(&world.engine, &world.config, 1);
}

static int teardown(void **state) {
        World *world = *state;
        engine_free(world->engine);
        return 0;
}

/* A partition whose messages flow from offset 0. */
static void activate(World *world) {
        Partition *partition = NULL;
        PartitionFacts facts = {.committed = 0,
                                .ours = true,
                                .high = 1000,
                                .has_source = true,
                                .source = 1,
                                .fence_moved = true,
                                .topic_known = true};
        Engine *engine = world->engine;
        assert_int_equal(engine_assigned(engine, "t", 0, NULL, world->now, &partition), 0);
        take(world);
        assert_int_equal(engine_looked_up(engine, partition, &facts, world->now), 0);
        take(world);
        assert_int_equal(engine_source_read(engine, partition, &facts, world->now), 0);
        take(world);
        assert_int_equal(engine_sought(engine, partition, true, world->now), 0);
        take(world);
        world->partition = partition;
}

static void fetch_value(World *world, const char *value) {
        Record record = {.offset = world->partition->next,
                         .timestamp_us = -1,
                         .value = (const uint8_t *)value,
                         .value_size = strlen(value)};
        assert_int_equal(engine_fetched(world->engine, world->partition, &record,
                                        world->now + world->wall, world->now),
                         0);
}

static void fetch(World *world, const char *host) {
        char value[128];
        snprintf(value, sizeof(value), "{\"host\":\"%s\"}", host);
        fetch_value(world, value);
}

/* What was sent last is saved. */
static void save(World *world) {
        const EngineAction *action = taken(world, ENGINE_SAVE);
        assert_int_equal(engine_saved(world->engine, action->batch, BATCH_SAVED, world->now), 0);
        take(world);
}

static void keep_rejected(World *world) {
        const EngineAction *action = taken(world, ENGINE_REJECT);
        assert_int_equal(engine_saved(world->engine, action->batch, BATCH_SAVED, world->now), 0);
        take(world);
}

static void restarted(World *world, Run *run, Outcome outcome) {
        assert_int_equal(engine_restarted(world->engine, run, outcome, true, "detail", world->now),
                         0);
        take(world);
}

static size_t waits(const World *world, RestartWait wait) {
        return engine_waits(world->engine, wait);
}

static const Message *first_message(const World *world) {
        return container_of(world->partition->messages.next, Message, link);
}

/* --- self and when ------------------------------------------------------------------------ */

static void test_the_machine_itself_is_spared(void **state) {
        static const char *const hosts[] = {"me",        "ME.example.com.", "192.0.2.7",
                                            "127.0.0.1", "127.1.2.3",       "localhost",
                                            "::1",       "2001:DB8::7",     "::ffff:192.0.2.7",
                                            "0.0.0.0",   "a.localhost",     "ip6-loopback"};
        World *world = *state;
        activate(world);
        for (size_t i = 0; i < sizeof(hosts) / sizeof(hosts[0]); i++) {
                fetch(world, hosts[i]);
                take(world);
                assert_int_equal(count(world, ENGINE_RESTART), 0);
                save(world);
                keep_rejected(world);
                assert_string_equal(world->reason, "self");
                assert_non_null(strstr(world->detail, "handlers.restart-host.allow_self: true"));
        }
        assert_string_equal(world->finished, "JJJJJJJJJJJJ");
        fetch(world, "me2");
        fetch(world, "128.0.0.1");
        take(world);
        assert_int_equal(count(world, ENGINE_RESTART), 2);
}

static void test_the_machine_itself_may_be_allowed(void **state) {
        World *world = *state;
        world->config.self = NULL;
        activate(world);
        fetch(world, "me");
        fetch(world, "localhost");
        take(world);
        assert_int_equal(count(world, ENGINE_RESTART), 2);
}

static void test_deny_comes_before_self_and_self_before_when(void **state) {
        static const char *const more[] = {"bad-me", "me", NULL};
        World *world = *state;
        world->config.self = more;
        world->config.when = selects;
        world->config.n_when = 1;
        activate(world);
        fetch(world, "bad-me");
        take(world);
        save(world);
        keep_rejected(world);
        assert_string_equal(world->reason, "denied");
        fetch(world, "me");
        take(world);
        save(world);
        keep_rejected(world);
        assert_string_equal(world->reason, "self");
}

static void test_what_is_not_selected_is_saved_and_accepted(void **state) {
        World *world = *state;
        const EngineTotals *totals = engine_totals(world->engine);
        world->config.when = selects;
        world->config.n_when = 1;
        activate(world);
        fetch_value(world, "{\"host\":\"a\",\"kind\":{\"of\":\"other\"}}");
        take(world);
        assert_int_equal(count(world, ENGINE_RESTART), 0);
        assert_string_equal(world->finished, ""); /* it is not saved yet */
        save(world);
        assert_string_equal(world->finished, "A");
        assert_string_equal(world->word, "not_selected");
        assert_int_equal(totals->suppressed[LEDGER_REASON_NOT_SELECTED], 1);
        assert_int_equal(totals->outcomes[HANDLER_RESTART][OUTCOME_SUPPRESSED], 1);
        fetch_value(world, "{\"host\":\"a\",\"kind\":{\"of\":\"restart\"}}");
        take(world);
        assert_int_equal(count(world, ENGINE_RESTART), 1);
        assert_int_equal(totals->suppressed[LEDGER_REASON_NOT_SELECTED], 1);
}

/* --- windows ------------------------------------------------------------------------------ */

static void use_window(World *world, int64_t wall) {
        world->config.windows = &world->window;
        world->config.n_windows = 1;
        world->wall = wall * SECOND - world->now;
        activate(world);
}

static void test_a_restart_waits_for_its_window(void **state) {
        World *world = *state;
        use_window(world, HOUR - 90); /* 00:58:30 */
        fetch(world, "a");
        fetch(world, "b");
        fetch(world, "a");
        take(world);
        assert_int_equal(count(world, ENGINE_RESTART), 0);
        assert_int_equal(waits(world, WAIT_WINDOW), 3);
        assert_int_equal(message_waits_for(first_message(world)), WAIT_WINDOW);
        assert_int_equal(engine_waiting(world->engine), 0);
        save(world);
        /* It lets go of its payload and of its place. */
        assert_int_equal(engine_waiting(world->engine), 3);
        assert_int_equal(engine_in_flight(world->engine), 0);
        assert_int_equal(engine_in_flight_bytes(world->engine), 0);
        assert_null(first_message(world)->body);
        assert_false(engine_windows(world->engine).open);
        assert_int_equal(engine_windows(world->engine).until_us, HOUR * (int64_t)SECOND);
        /* Asked again after a minute, since the clock may be set, and then when it opens. */
        assert_int_equal(engine_deadline(world->engine), world->now + 60 * (int64_t)SECOND);
        tick(world, 60 * (int64_t)SECOND);
        assert_int_equal(count(world, ENGINE_RESTART), 0);
        assert_int_equal(engine_deadline(world->engine), world->now + 30 * (int64_t)SECOND);
        tick(world, 30 * (int64_t)SECOND);
        assert_true(noted(world, NOTE_WINDOWS_OPEN));
        assert_int_equal(count(world, ENGINE_RESTART), 2);
        assert_int_equal(waits(world, WAIT_WINDOW), 0);
        const Run *run = taken(world, ENGINE_RESTART)->run;
        assert_string_equal(run_host(run), "a");
        assert_int_equal(run->attempt, 1); /* waiting was none */
        restarted(world, taken(world, ENGINE_RESTART)->run, OUTCOME_DONE);
        assert_string_equal(world->finished, "AA");
}

static void test_what_runs_when_it_shuts_goes_on(void **state) {
        World *world = *state;
        use_window(world, 2 * HOUR - 1);
        fetch(world, "a");
        take(world);
        Run *run = taken(world, ENGINE_RESTART)->run;
        save(world);
        world->now += SECOND;
        fetch(world, "a");
        fetch(world, "b");
        take(world);
        assert_true(noted(world, NOTE_WINDOWS_SHUT));
        assert_int_equal(count(world, ENGINE_RESTART), 0);
        assert_int_equal(waits(world, WAIT_HOST), 1);
        assert_int_equal(waits(world, WAIT_WINDOW), 1);
        save(world);
        restarted(world, run, OUTCOME_FAILED);
        assert_int_equal(waits(world, WAIT_HOST), 0);
        assert_int_equal(waits(world, WAIT_WINDOW), 2);
        assert_int_equal(waits(world, WAIT_RETRY), 1);
        tick(world, 60 * (int64_t)SECOND); /* its retry is due, and waits too */
        assert_int_equal(count(world, ENGINE_RESTART), 0);
        assert_int_equal(waits(world, WAIT_RETRY), 0);
        assert_int_equal(waits(world, WAIT_WINDOW), 3);
}

/* A run that is ordered, and whose window shuts before the order is taken. */
static void test_an_order_of_before_is_not_carried_out(void **state) {
        World *world = *state;
        EngineAction action;
        bool is_taken = false;
        use_window(world, 2 * HOUR - 1);
        fetch(world, "b");
        fetch(world, "a");
        engine_clock(world->engine, world->now + world->wall, world->now);
        assert_int_equal(engine_next_action(world->engine, &action, &is_taken), 0);
        assert_true(is_taken && action.type == ENGINE_RESTART);
        fetch(world, "a"); /* behind it */
        assert_int_equal(waits(world, WAIT_HOST), 1);
        world->now += SECOND;
        take(world);
        assert_int_equal(count(world, ENGINE_RESTART), 0);
        assert_int_equal(waits(world, WAIT_WINDOW), 2);
        assert_int_equal(waits(world, WAIT_HOST), 0);
        assert_int_equal(engine_running(world->engine), 1);
        assert_int_equal(engine_totals(world->engine)->runs, 1);
        save(world);
        /* Both of them in one, in the order in which they came. */
        tick(world, 23 * HOUR * (int64_t)SECOND);
        const Run *run = taken(world, ENGINE_RESTART)->run;
        assert_string_equal(run_host(run), "a");
        assert_int_equal(run->attempt, 1);
        assert_int_equal(container_of(run->messages.next, Message, host_link)->offset, 1);
        assert_int_equal(container_of(run->messages.prev, Message, host_link)->offset, 2);
}

static void test_the_clock_may_be_set(void **state) {
        World *world = *state;
        use_window(world, 90 * MINUTE);
        fetch(world, "a");
        take(world);
        assert_int_equal(count(world, ENGINE_RESTART), 1);
        world->wall += HOUR * (int64_t)SECOND;
        fetch(world, "b");
        take(world);
        assert_int_equal(count(world, ENGINE_RESTART), 0);
        world->wall -= HOUR * (int64_t)SECOND;
        take(world);
        assert_int_equal(count(world, ENGINE_RESTART), 1);
        world->wall -= HOUR * (int64_t)SECOND;
        fetch(world, "c");
        take(world);
        assert_int_equal(count(world, ENGINE_RESTART), 0);
}

static void test_waiting_ends_with_the_assignment_and_with_the_daemon(void **state) {
        World *world = *state;
        use_window(world, 0);
        fetch(world, "a");
        fetch(world, "b");
        take(world);
        save(world);
        Partition *partition = world->partition;
        assert_int_equal(engine_revoked(world->engine, &partition, 1, false, world->now), 0);
        take(world);
        assert_string_equal(world->finished, "LL");
        assert_string_equal(world->word, "window");
        assert_int_equal(waits(world, WAIT_WINDOW), 0);
        activate(world);
        fetch(world, "a");
        take(world);
        assert_int_equal(engine_stop(world->engine, world->now), 0);
        take(world);
        assert_int_equal(waits(world, WAIT_WINDOW), 0);
        assert_int_equal(engine_release(world->engine, world->now), 0);
        take(world);
        assert_string_equal(world->finished, "LLL");
}

static void test_without_the_time_no_window_is_open(void **state) {
        World *world = *state;
        EngineAction action;
        bool is_taken = true;
        activate(world);
        engine_free(world->engine);
        world->config.windows = &world->window;
        world->config.n_windows = 1;
        assert_int_equal(engine_new(&world->engine, &world->config, 1), 0);
        assert_int_equal(engine_next_action(world->engine, &action, &is_taken), 0);
        assert_false(is_taken);
        assert_true(engine_deadline(world->engine) == INT64_MAX);
}

/* --- max_wait ----------------------------------------------------------------------------- */

static void test_a_wait_ends_after_max_wait(void **state) {
        World *world = *state;
        world->config.max_wait_us = 10 * (int64_t)SECOND;
        use_window(world, 0);
        fetch(world, "a");
        take(world);
        save(world);
        world->now += SECOND;
        fetch(world, "b");
        take(world);
        save(world);
        assert_int_equal(engine_deadline(world->engine), world->now + 9 * (int64_t)SECOND);
        tick(world, 9 * (int64_t)SECOND - 1);
        assert_int_equal(count(world, ENGINE_REJECT), 0);
        tick(world, 1);
        keep_rejected(world);
        assert_string_equal(world->finished, "J");
        assert_string_equal(world->reason, "waited_too_long");
        assert_string_equal(world->detail,
                            "it was received 10s ago (handlers.restart-host.max_wait)"
                            " and still waited for a window to open");
        assert_int_equal(waits(world, WAIT_WINDOW), 1);
        tick(world, SECOND);
        keep_rejected(world);
        assert_string_equal(world->finished, "JJ");
}

static void test_a_wait_ends_before_it_is_saved(void **state) {
        World *world = *state;
        world->config.max_wait_us = 10 * (int64_t)SECOND;
        use_window(world, 0);
        fetch(world, "a");
        take(world);
        Batch *batch = taken(world, ENGINE_SAVE)->batch;
        tick(world, 10 * (int64_t)SECOND);
        assert_int_equal(count(world, ENGINE_REJECT), 0); /* its row in `messages` comes first */
        assert_int_equal(engine_saved(world->engine, batch, BATCH_SAVED, world->now), 0);
        take(world);
        keep_rejected(world);
        assert_string_equal(world->finished, "J");
}

static void test_what_runs_is_not_ended_and_not_tried_again(void **state) {
        World *world = *state;
        world->config.max_wait_us = 10 * (int64_t)SECOND;
        world->config.concurrency = 1;
        activate(world);
        fetch(world, "a");
        fetch(world, "b");
        take(world);
        Run *run = taken(world, ENGINE_RESTART)->run;
        save(world);
        tick(world, 11 * (int64_t)SECOND);
        keep_rejected(world); /* b, for want of a slot */
        assert_non_null(strstr(world->detail, "a free slot (concurrency)"));
        restarted(world, run, OUTCOME_FAILED);
        keep_rejected(world);
        assert_string_equal(world->finished, "JJ");
        assert_string_equal(world->reason, "waited_too_long");
        assert_non_null(strstr(world->detail, "its next attempt"));
        fetch(world, "c");
        take(world);
        run = taken(world, ENGINE_RESTART)->run;
        save(world);
        tick(world, 11 * (int64_t)SECOND);
        restarted(world, run, OUTCOME_DONE);
        assert_string_equal(world->finished, "JJA");
}

static void test_a_retry_ends_after_max_wait(void **state) {
        World *world = *state;
        world->config.max_wait_us = 2 * (int64_t)SECOND;
        world->config.backoff_us = world->config.backoff_max_us = 1000 * (int64_t)SECOND;
        activate(world);
        fetch(world, "a");
        take(world);
        Run *run = taken(world, ENGINE_RESTART)->run;
        save(world);
        restarted(world, run, OUTCOME_OUTAGE);
        assert_int_equal(waits(world, WAIT_RETRY), 1);
        tick(world, 2 * (int64_t)SECOND);
        assert_int_equal(waits(world, WAIT_RETRY), 0);
        const Batch *batch = taken(world, ENGINE_REJECT)->batch;
        const Message *message = container_of(batch->messages.next, Message, lane_link);
        assert_int_equal(message->handlers[HANDLER_RESTART].attempts, 1);
        keep_rejected(world);
        assert_string_equal(world->finished, "J");
        assert_true(engine_deadline(world->engine) == INT64_MAX); /* nothing is forgotten in it */
}

/* More of them than one turn ends, and none is forgotten. */
static void test_many_waits_end_in_pieces(void **state) {
        enum { MANY = 2500 };
        World *world = *state;
        world->config.max_wait_us = 10 * (int64_t)SECOND;
        world->config.in_flight = world->config.waiting = world->config.ack_gap = 2 * MANY;
        world->config.batch_rows = MANY;
        use_window(world, 0);
        for (int i = 0; i < MANY; i++) {
                fetch(world, "a");
        }
        take(world);
        save(world);
        assert_int_equal(waits(world, WAIT_WINDOW), MANY);
        tick(world, 10 * (int64_t)SECOND);
        for (int i = 0; waits(world, WAIT_WINDOW) > 0 && i < MANY; i++) {
                assert_true(engine_deadline(world->engine) <= world->now);
                tick(world, 0);
        }
        assert_int_equal(waits(world, WAIT_WINDOW), 0);
        assert_true(engine_deadline(world->engine) > world->now);
}

int main(void) {
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
        const struct CMUnitTest tests[] = {
                TEST(test_the_machine_itself_is_spared),
                TEST(test_the_machine_itself_may_be_allowed),
                TEST(test_deny_comes_before_self_and_self_before_when),
                TEST(test_what_is_not_selected_is_saved_and_accepted),
                TEST(test_a_restart_waits_for_its_window),
                TEST(test_what_runs_when_it_shuts_goes_on),
                TEST(test_an_order_of_before_is_not_carried_out),
                TEST(test_the_clock_may_be_set),
                TEST(test_waiting_ends_with_the_assignment_and_with_the_daemon),
                TEST(test_without_the_time_no_window_is_open),
                TEST(test_a_wait_ends_after_max_wait),
                TEST(test_a_wait_ends_before_it_is_saved),
                TEST(test_what_runs_is_not_ended_and_not_tried_again),
                TEST(test_a_retry_ends_after_max_wait),
                TEST(test_many_waits_end_in_pieces),
        };
        return cmocka_run_group_tests(tests, NULL, NULL);
}
