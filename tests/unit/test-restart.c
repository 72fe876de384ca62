/* With an action of the test's, so that every outcome can be had. */

#include "test.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "capture.h"
#include "handlers/restart.h"

/* The engine's own is not needed to have a run. */
struct Host {
        const char *name;
};

const char *run_host(const Run *run) {
        return run->host->name;
}

const char *handler_name(HandlerId id) {
        return id == HANDLER_RESTART ? "restart-host" : "save";
}

typedef struct Started {
        ActionEnd end;
        void *user;
        ActionRequest request;
        char id[64];
        bool has_id;
} Started;

typedef struct FakeAction {
        Action action;
        Started started[8];
        size_t n;
        int fails;           /* what start returns */
        int64_t returned_us; /* when it did last, by the clock of the ledger */
        int terminated, killed, freed;
} FakeAction;

typedef struct World {
        FakeAction fake;
        Restart *restart;
        struct Host hosts[8];
        Run runs[8];
        size_t n_ended;
        Run *ended;
        Outcome outcome;
        bool charged;
        char detail[64];
        int64_t duration_us;
        int64_t retry_after_us;
} World;

static int fake_start(Action *action, const ActionRequest *request, ActionEnd end, void *user) {
        FakeAction *fake = container_of(action, FakeAction, action);
        if (fake->fails != 0) {
                return fake->fails;
        }
        Started *started = &fake->started[fake->n++];
        *started = (Started){.end = end, .user = user, .request = *request};
        started->has_id = request->id != NULL;
        snprintf(started->id, sizeof(started->id), "%s", request->id != NULL ? request->id : "");
        action->running++;
        usleep(1000);
        fake->returned_us = ledger_clock();
        return 0;
}

static void fake_terminate(Action *action) {
        container_of(action, FakeAction, action)->terminated++;
}

static void fake_kill(Action *action) {
        container_of(action, FakeAction, action)->killed++;
}

static void fake_free(Action *action) {
        container_of(action, FakeAction, action)->freed++;
}

static const ActionInterface fake_interface = {
        .name = "fake",
        .start = fake_start,
        .terminate = fake_terminate,
        .kill = fake_kill,
        .free = fake_free,
};

static const ActionInterface pretending_interface = {
        .name = "fake-dry",
        .pretends = true,
        .start = fake_start,
        .terminate = fake_terminate,
        .kill = fake_kill,
        .free = fake_free,
};

static void on_ended(void *user, Run *run, Outcome outcome, bool charged, const char *detail,
                     int64_t duration_us, int64_t retry_after_us) {
        World *world = user;
        world->n_ended++;
        world->ended = run;
        world->outcome = outcome;
        world->charged = charged;
        world->duration_us = duration_us;
        world->retry_after_us = retry_after_us;
        snprintf(world->detail, sizeof(world->detail), "%s", detail);
}

static int setup(void **state) {
        static const char *const names[] = {"web1", "web2", "web3", "web4"};
        static World world;
        world = (World){.fake.action.interface = &fake_interface};
        memset(&captured, 0, sizeof(captured));
        captured.level = LOG_INFO;
        for (size_t i = 0; i < 4; i++) {
                world.hosts[i].name = names[i];
                world.runs[i] = (Run){.host = &world.hosts[i],
                                      .id = i,
                                      .attempt = (int)i + 1,
                                      .started_us = loop_now()};
                list_init(&world.runs[i].messages);
        }
        *state = &world;
        return restart_new(&world.restart, NULL, &world.fake.action, on_ended, &world);
}

static int teardown(void **state) {
        World *world = *state;
        restart_free(world->restart);
        restart_free(NULL);
        return world->fake.freed == 1 ? 0 : -1;
}

static void end(World *world, size_t i, const ActionResult *result) {
        world->fake.action.running--;
        world->fake.started[i].end(world->fake.started[i].user, result);
}

static void test_a_run_goes_through(void **state) {
        World *world = *state;
        static uint8_t value[] = "{}";
        Message first = {0}, second = {0};
        MessageBody body = {.value = value, .value_size = 2};
        first.id = "r-1";
        first.body = &body;
        second.id = "r-2";
        list_push_back(&world->runs[1].messages, &first.host_link);
        list_push_back(&world->runs[1].messages, &second.host_link);
        assert_int_equal(restart_start(world->restart, &world->runs[1]), 0);
        const Started *started = &world->fake.started[0];
        assert_string_equal(started->request.host, "web2");
        assert_string_equal(started->id, "r-1");
        assert_ptr_equal(started->request.payload, value);
        assert_int_equal(started->request.payload_size, 2);
        assert_int_equal(started->request.attempt, 2);
        assert_int_equal(started->request.run, 1);
        assert_int_equal(restart_running(world->restart), 1);
        assert_int_equal(captured.n, 1);
        assert_int_equal(captured.lines[0].level, LOG_INFO);
        assert_string_equal(captured.lines[0].event, "restart.started");
        assert_string_equal(captured.lines[0].text, "restart of web2: fake, request r-1");
        captured.n = 0;

        /* Both messages were released meanwhile. */
        list_init(&world->runs[1].messages);
        end(world, 0,
            &(ActionResult){.outcome = OUTCOME_DONE,
                            .charged = true,
                            .detail = "exit status 0",
                            .duration_us = 1234567,
                            .retry_after_us = 30000000});
        assert_int_equal(world->n_ended, 1);
        assert_ptr_equal(world->ended, &world->runs[1]);
        assert_int_equal(world->outcome, OUTCOME_DONE);
        assert_true(world->charged);
        assert_int_equal(world->duration_us, 1234567);
        assert_int_equal(world->retry_after_us, 30000000);
        assert_string_equal(world->detail, "exit status 0");
        assert_int_equal(restart_running(world->restart), 0);
        assert_int_equal(captured.n, 1);
        assert_int_equal(captured.lines[0].level, LOG_INFO);
        assert_string_equal(captured.lines[0].event, "restart.done");
        assert_string_equal(captured.lines[0].text,
                            "restart of web2: done after 1.235 s: exit status 0");
        assert_string_equal(captured.lines[0].host, "web2");
        assert_string_equal(captured.lines[0].outcome, "done");
        assert_int_equal(captured.lines[0].attempt, 2);
}

static void test_a_run_without_messages(void **state) {
        World *world = *state;
        captured.level = LOG_DEBUG;
        assert_int_equal(restart_start(world->restart, &world->runs[0]), 0);
        assert_false(world->fake.started[0].has_id);
        assert_null(world->fake.started[0].request.payload);
        assert_string_equal(captured.lines[0].event, "restart.started");
}

static void test_what_is_logged(void **state) {
        World *world = *state;
        static const struct {
                Outcome outcome;
                LogLevel level;
                const char *event, *output, *tail;
        } cases[] = {
                {OUTCOME_DONE, LOG_INFO, "restart.done", "fine\n", "x"},
                {OUTCOME_FAILED, LOG_WARNING, "restart.failed", NULL, "x"},
                {OUTCOME_FAILED, LOG_WARNING, "restart.failed", " \n \n", "x"},
                {OUTCOME_FAILED, LOG_WARNING, "restart.failed", "a\nno route\r\n \n",
                 "; last line of its output: no route"},
                {OUTCOME_UNKNOWN, LOG_WARNING, "restart.unknown", "\x1b[31mred\xff \xc3\xbc",
                 "output: \\u001b[31mred\xef\xbf\xbd \xc3\xbc"},
                {OUTCOME_NOT_STARTED, LOG_WARNING, "restart.not_started", "", "x"},
                {OUTCOME_POISON, LOG_WARNING, "restart.failed", "", "x"},
        };
        for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
                world->fake.n = 0;
                captured.n = 0;
                assert_int_equal(restart_start(world->restart, &world->runs[0]), 0);
                captured.n = 0;
                end(world, 0,
                    &(ActionResult){.outcome = cases[i].outcome,
                                    .charged = true,
                                    .detail = "x",
                                    .output = (const uint8_t *)cases[i].output,
                                    .output_size =
                                            cases[i].output != NULL ? strlen(cases[i].output) : 0});
                const CapturedLine *line = &captured.lines[0];
                assert_int_equal(captured.n, 1);
                assert_int_equal(line->level, cases[i].level);
                assert_string_equal(line->event, cases[i].event);
                assert_string_equal(line->text + strlen(line->text) - strlen(cases[i].tail),
                                    cases[i].tail);
        }
}

/* What never began for our own want (no descriptor, no such program) was said by the action, once
 * for all hosts; a warning for each of 10,000 waiting messages would bury it. */
static void test_our_own_failure_is_no_line_a_host(void **state) {
        World *world = *state;
        assert_int_equal(restart_start(world->restart, &world->runs[0]), 0);
        captured.n = 0;
        end(world, 0,
            &(ActionResult){.outcome = OUTCOME_NOT_STARTED, .charged = false, .detail = "x"});
        assert_int_equal(captured.n, 0);
        assert_int_equal(world->n_ended, 1);
}

static void test_a_long_line_is_cut(void **state) {
        World *world = *state;
        static uint8_t output[5000];
        memset(output, '\x7f', sizeof(output));
        assert_int_equal(restart_start(world->restart, &world->runs[0]), 0);
        captured.n = 0;
        end(world, 0,
            &(ActionResult){.outcome = OUTCOME_FAILED,
                            .detail = "x",
                            .output = output,
                            .output_size = sizeof(output)});
        assert_in_range(strlen(captured.lines[0].text), 200, 300);
}

static void test_a_pretending_action_has_said_it(void **state) {
        World *world = *state;
        world->fake.action.interface = &pretending_interface;
        assert_int_equal(restart_start(world->restart, &world->runs[0]), 0);
        assert_int_equal(restart_start(world->restart, &world->runs[1]), 0);
        end(world, 0, &(ActionResult){.outcome = OUTCOME_DONE, .detail = "x"});
        assert_int_equal(captured.n, 0);
        end(world, 1, &(ActionResult){.outcome = OUTCOME_POISON, .detail = "x"});
        assert_int_equal(captured.n, 1);
        assert_int_equal(world->n_ended, 2);
}

static void test_what_runs_is_listed(void **state) {
        World *world = *state;
        RestartRunning running;
        const List *cursor = NULL;
        char hosts[64] = "";
        assert_false(restart_next(world->restart, &cursor, &running));
        for (size_t i = 0; i < 4; i++) {
                assert_int_equal(restart_start(world->restart, &world->runs[i]), 0);
        }
        end(world, 1, &(ActionResult){.outcome = OUTCOME_DONE, .detail = "x"});
        cursor = NULL;
        while (restart_next(world->restart, &cursor, &running)) {
                strcat(hosts, running.host);
                strcat(hosts, " ");
                assert_int_equal(running.since_us, world->runs[running.attempt - 1].started_us);
                assert_in_range(running.attempt, 1, 4);
        }
        assert_string_equal(hosts, "web1 web3 web4 ");
        assert_int_equal(restart_running(world->restart), 3);
}

static void test_terminate_and_kill(void **state) {
        World *world = *state;
        restart_terminate(world->restart);
        assert_int_equal(world->fake.terminated, 1);
        restart_kill(world->restart);
        assert_int_equal(world->fake.killed, 1);
}

/* Verify has still to tell whether it is done. The row of the ledger is named, and who shares it.
 */
static void test_what_the_ledger_knows_is_named(void **state) {
        World *world = *state;
        Message first = {.id = "r-1"}, second = {.id = "r-2"};
        Run *run = &world->runs[0];
        list_push_back(&run->messages, &first.host_link);
        list_push_back(&run->messages, &second.host_link);
        run->ledger_id = 44;
        run->verifies = true;
        assert_int_equal(restart_start(world->restart, run), 0);
        assert_string_equal(captured.lines[0].text,
                            "restart of web1: fake, request r-1 (restarts.id 44, 2 requests share "
                            "it)");
        end(world, 0, &(ActionResult){.outcome = OUTCOME_DONE, .detail = "x"});
        assert_string_equal(captured.lines[1].event, "restart.acted");
        assert_string_equal(captured.lines[1].outcome, "acted");
        assert_string_equal(captured.lines[1].text,
                            "restart of web1: acted after 0.000 s: x; verify has still to tell "
                            "(restarts.id 44, 2 requests share it)");
        list_init(&run->messages);
}

/* Its host's cool-down counts from it: when nothing of it can have happened later. */
static void test_when_it_started(void **state) {
        World *world = *state;
        Run *run = &world->runs[0];
        run->ledger_id = 1;
        assert_int_equal(restart_start(world->restart, run), 0);
        int64_t started = run->action_started_us;
        assert_true(started >= world->fake.returned_us);
        assert_true(started <= ledger_clock());
        end(world, 0, &(ActionResult){.outcome = OUTCOME_DONE, .detail = "x", .begun_after_us = 7});
        assert_int_equal(run->action_started_us, started + 7);
        assert_true(run->action_ended_us >= started);
}

static void test_no_memory_is_passed_on(void **state) {
        World *world = *state;
        world->fake.fails = -ENOMEM;
        assert_int_equal(restart_start(world->restart, &world->runs[0]), -ENOMEM);
        const List *cursor = NULL;
        RestartRunning running;
        assert_false(restart_next(world->restart, &cursor, &running));
        world->fake.fails = 0;
        assert_int_equal(restart_start(world->restart, &world->runs[0]), 0);
}

int main(void) {
#define TEST(function) cmocka_unit_test_setup_teardown(function, setup, teardown)
        const struct CMUnitTest tests[] = {
                TEST(test_a_run_goes_through),
                TEST(test_a_run_without_messages),
                TEST(test_what_is_logged),
                TEST(test_a_long_line_is_cut),
                TEST(test_our_own_failure_is_no_line_a_host),
                TEST(test_a_pretending_action_has_said_it),
                TEST(test_what_runs_is_listed),
                TEST(test_terminate_and_kill),
                TEST(test_what_the_ledger_knows_is_named),
                TEST(test_when_it_started),
                TEST(test_no_memory_is_passed_on),
        };
        return cmocka_run_group_tests(tests, NULL, NULL);
}
