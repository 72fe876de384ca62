#include "test.h"

#include <stdlib.h>
#include <string.h>

#include "capture.h"
#include "handlers/actions/dry_run.h"

typedef struct World {
        Loop loop;
        Action *action;
        size_t n;
        size_t wanted;
        size_t again; /* how many more to start, one at each end */
        uint64_t turns;
        Outcome outcome;
        bool charged;
        int status;
        char detail[256];
} World;

static const ActionRequest plain = {.host = "web1.example.com", .id = "a b", .attempt = 2};

static int setup(void **state) {
        static World world;
        world = (World){0};
        memset(&captured, 0, sizeof(captured));
        *state = &world;
        return loop_init(&world.loop);
}

static int teardown(void **state) {
        World *world = *state;
        if (world->action != NULL) {
                world->action->interface->free(world->action);
        }
        loop_deinit(&world->loop);
        return 0;
}

static void start(World *world, const ActionRequest *request);

static void on_end(void *user, const ActionResult *result) {
        World *world = user;
        world->outcome = result->outcome;
        world->charged = result->charged;
        world->status = result->status;
        assert_true(result->duration_us >= 0);
        assert_int_equal(result->output_size, 0);
        snprintf(world->detail, sizeof(world->detail), "%s", result->detail);
        world->n++;
        if (world->again > 0) {
                world->again--;
                start(world, &plain);
        }
        if (world->n == world->wanted) {
                world->turns = world->loop.turns;
                loop_stop(&world->loop);
        }
}

static void start(World *world, const ActionRequest *request) {
        size_t before = world->n;
        assert_int_equal(world->action->interface->start(world->action, request, on_end, world), 0);
        assert_int_equal(world->n, before);
}

static void run(World *world, size_t wanted) {
        world->wanted = wanted;
        loop_run(&world->loop);
        assert_int_equal(world->n, wanted);
        assert_int_equal(world->action->running, 0);
}

static void make(World *world, const char *const *argv) {
        assert_int_equal(dry_run_new(&world->action, &world->loop, NULL, argv, NULL, NULL), 0);
        assert_true(world->action->interface->pretends);
}

static void test_says_it_and_does_nothing(void **state) {
        World *world = *state;
        captured.level = LOG_INFO;
        make(world, NULL);
        start(world, &plain);
        assert_int_equal(world->action->running, 1);
        run(world, 1);
        assert_int_equal(world->outcome, OUTCOME_DONE);
        assert_true(world->charged);
        assert_int_equal(world->status, -1);
        assert_string_equal(world->detail, "dry run: nothing was done");
        assert_int_equal(captured.n, 1);
        assert_int_equal(captured.lines[0].level, LOG_INFO);
        assert_string_equal(captured.lines[0].event, "restart.dry_run");
        assert_string_equal(captured.lines[0].text, "would restart web1.example.com");
        assert_string_equal(captured.lines[0].host, "web1.example.com");
        assert_int_equal(captured.lines[0].attempt, 2);
}

static void test_shows_the_command(void **state) {
        World *world = *state;
        const ActionRequest odd = {.host = "web1", .id = "x\n\"$(y)", .attempt = 1};
        make(world, (const char *const[]){"/usr/bin/ssh", "--", "{{host.label}}", "{{id}}", NULL});
        start(world, &plain);
        start(world, &odd);
        run(world, 2);
        assert_string_equal(captured.lines[0].text,
                            "would restart web1.example.com with /usr/bin/ssh -- web1 \"a b\"");
        assert_string_equal(captured.lines[1].text,
                            "would restart web1 with /usr/bin/ssh -- web1 \"x\\n\\\"$(y)\"");
}

static const HttpHeader headers[] = {{"X-Auth-Token", "hunter2"}, {"X-Id", "{{id}}"}};
static const HttpOptions http = {
        .request = {.method = "POST",
                    .url = "https://{{host.label}}-bmc.example.com/reset",
                    .headers = headers,
                    .n_headers = 2,
                    .body = "{\"ResetType\": \"GracefulRestart\"}"},
        .user = "admin",
        .password_file = "/nonexistent", /* is not needed to say what would be done */
        .bearer_file = "",
};

static void test_shows_the_request(void **state) {
        World *world = *state;
        assert_int_equal(dry_run_new(&world->action, &world->loop, NULL, NULL, &http, NULL), 0);
        start(world, &plain);
        run(world, 1);
        assert_int_equal(world->outcome, OUTCOME_DONE);
        assert_string_equal(captured.lines[0].text,
                            "would restart web1.example.com with POST "
                            "https://web1-bmc.example.com/reset with X-Auth-Token: ******, "
                            "X-Id: a b, Content-Type: application/json, "
                            "Authorization: Basic ******, the body "
                            "{\"ResetType\": \"GracefulRestart\"}");
}

static void test_poison_as_http_would(void **state) {
        World *world = *state;
        const ActionRequest address = {.host = "10.0.0.1", .id = "7", .attempt = 1};
        assert_int_equal(dry_run_new(&world->action, &world->loop, NULL, NULL, &http, NULL), 0);
        start(world, &address);
        run(world, 1);
        assert_int_equal(world->outcome, OUTCOME_POISON);
        assert_non_null(strstr(world->detail, "url: {{host.label}}: "));
}

static void test_poison_as_exec_would(void **state) {
        World *world = *state;
        const ActionRequest address = {.host = "10.0.0.1", .attempt = 1};
        make(world, (const char *const[]){"/usr/bin/ssh", "{{host.label}}", NULL});
        captured.level = LOG_ERROR; /* also when nobody would see the line */
        start(world, &address);
        run(world, 1);
        assert_int_equal(world->outcome, OUTCOME_POISON);
        assert_non_null(strstr(world->detail, "argv[1]: {{host.label}}: "));
        start(world, &plain);
        run(world, 2);
        assert_int_equal(world->outcome, OUTCOME_DONE);
}

static void test_templates_are_checked(void **state) {
        World *world = *state;
        const char *const argv[] = {"/bin/echo", "{{hots}}", NULL};
        Buffer why = BUFFER_INIT;
        assert_int_equal(dry_run_new(&world->action, &world->loop, NULL, argv, NULL, &why),
                         DRY_RUN_E_TEMPLATE);
        assert_null(world->action);
        assert_non_null(strstr(buffer_string(&why), "{{hots}}"));
        buffer_deinit(&why);
}

static void test_all_of_a_turn_end_together(void **state) {
        World *world = *state;
        make(world, NULL);
        for (int i = 0; i < 10000; i++) {
                start(world, &plain);
        }
        uint64_t turns = world->loop.turns;
        run(world, 10000);
        assert_int_equal(world->turns, turns + 1);
}

static void test_what_an_end_starts_waits_for_the_next_turn(void **state) {
        World *world = *state;
        make(world, NULL);
        world->again = 3;
        start(world, &plain);
        uint64_t turns = world->loop.turns;
        run(world, 4);
        assert_int_equal(world->turns, turns + 4);
}

static void test_terminate_and_kill_change_nothing(void **state) {
        World *world = *state;
        make(world, NULL);
        start(world, &plain);
        world->action->interface->terminate(world->action);
        world->action->interface->kill(world->action);
        run(world, 1);
        assert_int_equal(world->outcome, OUTCOME_DONE);
}

static void test_free_while_it_runs(void **state) {
        World *world = *state;
        const ActionRequest address = {.host = "10.0.0.1", .attempt = 1};
        make(world, (const char *const[]){"/usr/bin/ssh", "{{host.label}}", NULL});
        start(world, &plain);
        start(world, &address);
        world->action->interface->free(world->action);
        world->action = NULL;
        assert_int_equal(world->n, 0);
}

int main(void) {
#define TEST(function) cmocka_unit_test_setup_teardown(function, setup, teardown)
        const struct CMUnitTest tests[] = {
                TEST(test_says_it_and_does_nothing),
                TEST(test_shows_the_command),
                TEST(test_shows_the_request),
                TEST(test_poison_as_http_would),
                TEST(test_poison_as_exec_would),
                TEST(test_templates_are_checked),
                TEST(test_all_of_a_turn_end_together),
                TEST(test_what_an_end_starts_waits_for_the_next_turn),
                TEST(test_terminate_and_kill_change_nothing),
                TEST(test_free_while_it_runs),
        };
        return cmocka_run_group_tests(tests, NULL, NULL);
}
