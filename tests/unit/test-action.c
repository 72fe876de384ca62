/* From the configuration to what runs. */

#include "config-load.h"

#include "app/action.h"
#include "util/loop.h"

static const ActionRequest plain = {.host = "web1.example.com", .id = "r-1", .attempt = 1};

typedef struct World {
        Loop loop;
        CheckedResult checked;
        VerifiedResult verified;
        char before[256];
} World;

static void on_checked(void *user, const Checked *checked) {
        World *world = user;
        world->checked = checked->result;
        snprintf(world->before, sizeof(world->before), "%s",
                 checked->before != NULL ? checked->before : "");
        loop_stop(&world->loop);
}

static void on_verified(void *user, const Verified *verified) {
        World *world = user;
        world->verified = verified->result;
        loop_stop(&world->loop);
}

static Checks *make(World *world, const char *text) {
        Checks *checks = NULL;
        char *error = NULL;
        Config *config = load(text, NULL, NULL, "");
        assert_int_equal(action_new_checks(&checks, &world->loop, NULL, &config->handlers.restart,
                                           &error),
                         0);
        config_free(config); /* nothing of it is borrowed */
        return checks;
}

static void before(World *world, Checks *checks) {
        assert_int_equal(checks_before(checks, &plain, on_checked, world), 0);
        loop_run(&world->loop);
}

static void test_checks(void **state) {
        (void)state;
        World world = {0};
        assert_int_equal(loop_init(&world.loop), 0);
        Checks *checks =
                make(&world, RESTART
                     "    precheck: {exec: {argv: [/bin/sh, -c, 'exit 3', '{{host}}']}, status: "
                     "{go: [3]}}\n"
                     "    verify:\n"
                     "      exec:\n"
                     "        argv: [/bin/sh, -c, 'cat /proc/sys/kernel/random/boot_id; exit 7', "
                     "'{{host}}']\n"
                     "      status: {done: [7]}\n");
        assert_true(checks_has_precheck(checks) && checks_has_verify(checks));
        before(&world, checks);
        assert_int_equal(world.checked, CHECKED_GO);
        assert_int_equal(strlen(world.before), 36);
        assert_int_equal(checks_verify(checks, &plain, world.before, 0, on_verified, &world), 0);
        loop_run(&world.loop);
        assert_int_equal(world.verified, VERIFIED_SAME);
        checks_free(checks);
        loop_deinit(&world.loop);
}

static void test_http_check(void **state) {
        (void)state;
        World world = {0};
        assert_int_equal(loop_init(&world.loop), 0);
        /* Port 1 of the loopback: refused. */
        Checks *checks = make(&world, RESTART
                              "    precheck:\n"
                              "      http: {url: 'http://127.0.0.1:1/{{host}}', headers: {A: "
                              "'{{id}}'}}\n");
        assert_true(checks_has_precheck(checks) && !checks_has_verify(checks));
        before(&world, checks);
        assert_int_equal(world.checked, CHECKED_WAIT);
        checks_free(checks);
        loop_deinit(&world.loop);
}

static void test_no_checks(void **state) {
        (void)state;
        World world = {0};
        assert_int_equal(loop_init(&world.loop), 0);
        Checks *checks = make(&world, RESTART);
        assert_false(checks_has_precheck(checks) || checks_has_verify(checks));
        before(&world, checks);
        assert_int_equal(world.checked, CHECKED_GO);
        checks_free(checks);
        loop_deinit(&world.loop);
}

static void test_who_reads_the_payload(void **state) {
        (void)state;
        static const struct {
                const char *text;
                bool reads;
        } cases[] = {
                {RESTART, false},
                {RESTART "    precheck: {exec: {argv: [/bin/sh, '{{host}}', '{{id}}']}}\n", false},
                {RESTART "    precheck: {exec: {argv: [/bin/sh, '{{message.a}}']}}\n", true},
                {RESTART "    verify: {http: {url: 'https://{{host}}/{{message.a}}'}}\n", true},
                {RESTART "    verify: {http: {url: 'https://{{host}}/', headers: {A: "
                         "'{{message.a}}'}}}\n",
                 true},
        };
        for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
                Config *config = load(cases[i].text, NULL, NULL, "");
                assert_int_equal(action_reads_payload(&config->handlers.restart), cases[i].reads);
                config_free(config);
        }
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_checks),
                cmocka_unit_test(test_http_check),
                cmocka_unit_test(test_no_checks),
                cmocka_unit_test(test_who_reads_the_payload),
        };
        return cmocka_run_group_tests(tests, set_up, tear_down);
}
