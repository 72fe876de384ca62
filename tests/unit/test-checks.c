/* With real children; test-checks-http.c has requests. */

#include "checks-world.h"
#include "handlers/check_text.h"

/* The first looks still see the host as it was. */
#define RESTARTS_AT_4                                                                              \
        "echo x >>$1/looks; if [ $(wc -l <$1/looks) -ge 4 ]; then echo new; else echo old; fi"

/* --- before the claim ------------------------------------------------------------------------ */

static void test_without_checks(void **state) {
        World *world = *state;
        world_make(world);
        assert_false(checks_has_precheck(world->checks));
        assert_false(checks_has_verify(world->checks));
        expect(world_once(world), CHECKED_GO, NULL, "no check is configured");
        assert_int_equal(captured.n, 0);
}

static void test_precheck_statuses(void **state) {
        static const struct {
                const char *script;
                int result;
                const char *detail, *event;
        } cases[] = {
                {"exit 0", CHECKED_GO, "precheck: exit status 0", "precheck.go"},
                {"echo why >&2; exit 1", CHECKED_NOT_NEEDED,
                 "precheck: exit status 1; last line of its output: why", "precheck.not_needed"},
                {"echo a; echo 'on call'; exit 75", CHECKED_WAIT,
                 "precheck: exit status 75; last line of its output: on call", "precheck.wait"},
                {"exit 3", CHECKED_WAIT, "precheck: exit status 3", "precheck.failed"},
                {"exit 3", CHECKED_WAIT, "precheck: exit status 3", "precheck.wait"},
                {"kill -KILL $$", CHECKED_WAIT, "precheck: killed by signal 9 (KILL)",
                 "precheck.failed"},
                /* 128 + 1 is no exit status here. */
                {"kill -HUP $$", CHECKED_WAIT, "precheck: killed by signal 1 (HUP)",
                 "precheck.failed"},
        };
        World *world = *state;
        captured.level = LOG_DEBUG;
        world_precheck(world, "eval \"$(cat $1/script)\"");
        world_make(world);
        assert_true(checks_has_precheck(world->checks));
        for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
                world_write(world, "script", cases[i].script);
                captured.n = 0;
                expect(world_once(world), cases[i].result, NULL, cases[i].detail);
                assert_string_equal(captured.lines[captured.n - 1].event, cases[i].event);
                assert_string_equal(captured.lines[captured.n - 1].host, "web1.example.com");
                assert_int_equal(captured.lines[captured.n - 1].attempt, 2);
        }
}

/* Who is told to end and says "go" has not said it. */
static void test_precheck_hangs(void **state) {
        World *world = *state;
        world_script(world, 0,
                     "exec 2>/dev/null; trap 'echo asked; exit 0' TERM; while :; do sleep 0.01; "
                     "done",
                     100 * MS);
        world_make(world);
        expect(world_once(world), CHECKED_WAIT, NULL,
               "precheck: timed out after 0.1 s, ended by TERM, exit status 0; last line of its "
               "output: asked");
        assert_string_equal(captured.lines[0].event, "precheck.failed");
        assert_int_equal(captured.lines[0].level, LOG_WARNING);
}

static void test_precheck_cannot_be_started(void **state) {
        World *world = *state;
        world_precheck(world, "");
        world->argv[0][0] = "/nonexistent";
        world_make(world);
        expect(world_once(world), CHECKED_WAIT, NULL,
               "precheck: could not start /nonexistent: No such file or directory");
}

static void test_what_can_never_be_checked(void **state) {
        World *world = *state;
        ActionRequest request = plain;
        world_precheck(world, "exit 0");
        world_verify(world, "echo x");
        world->argv[1][5] = "{{id}}";
        world_make(world);
        request.id = NULL;
        world_before(world, &request);
        world_run(world, 1);
        expect(&world->ends[0], CHECKED_POISON, NULL,
               "verify: argv[5]: {{id}}: the message has no such value");
        /* Found by a new owner: without hope, so at once. */
        assert_int_equal(checks_verify(world->checks, &request, "x", 60 * SECOND, on_verified,
                                       world),
                         0);
        world_run(world, 2);
        assert_int_equal(world->ends[1].result, VERIFIED_FAILED);
        assert_in_range(world->ends[1].looks, 1, 1);
}

static void test_before(void **state) {
        static const struct {
                const char *script, *before, *detail;
        } cases[] = {
                {"echo 5d2c; echo ' '; echo warning: new key >&2", "5d2c",
                 "before: it says \"5d2c\""},
                {"printf 'a\\nb'", "a\nb", "before: it says \"a\\nb\""},
                {"printf '\\377\\0'", "\\xFF\\x00", "before: it says \"\\xFF\\x00\""},
                {"exit 0", NULL, "before: exit status 0, and no output to compare with"},
                {"echo warning >&2", NULL, "before: exit status 0, and no output to compare with"},
                {"echo 5d2c; exit 255", NULL,
                 "before: exit status 255; last line of its output: 5d2c"},
                {"echo 5d2c; echo no route >&2; exit 255", NULL,
                 "before: exit status 255; last line of its output: no route"},
                {"head -c 70000 /dev/zero | tr '\\0' x; echo; echo end", NULL,
                 "before: exit status 0; its output is over 64 KiB; last line of its output: end"},
        };
        World *world = *state;
        world_verify(world, "eval \"$(cat $1/script)\"");
        world_make(world);
        assert_true(checks_has_verify(world->checks));
        for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
                world_write(world, "script", cases[i].script);
                captured.n = 0;
                expect(world_once(world), CHECKED_GO, cases[i].before, cases[i].detail);
                assert_int_equal(captured.n, cases[i].before == NULL);
        }
        assert_string_equal(captured.lines[0].event, "verify.no_before");
        assert_int_equal(captured.lines[0].level, LOG_INFO);
}

static void test_a_long_before(void **state) {
        World *world = *state;
        world_verify(world, "head -c 60000 /dev/zero | tr '\\0' x");
        world_make(world);
        const End *end = world_once(world);
        assert_int_equal(end->result, CHECKED_GO);
        assert_in_range(strlen(end->text), 3000, CHECK_TEXT_MAX);
        char before[sizeof(end->text)];
        snprintf(before, sizeof(before), "%s", end->text);
        assert_int_equal(world_verify_once(world, before, 0)->result, VERIFIED_SAME);
}

static void test_precheck_then_before(void **state) {
        World *world = *state;
        world_precheck(world, "echo p >>$1/order; [ ! -e $1/no ] || exit 75");
        world_verify(world, "echo v >>$1/order; cat $1/order | tr -d '\\n'; echo $2");
        world_make(world);
        expect(world_once(world), CHECKED_GO, "pvweb1.example.com",
               "before: it says \"pvweb1.example.com\"");
        world_write(world, "no", "");
        assert_int_equal(world_once(world)->result, CHECKED_WAIT);
        assert_int_equal(world_lines(world, "order"), 3);
}

/* The second step comes when the caller's request is long gone. */
static void test_request_is_copied(void **state) {
        World *world = *state;
        char host[] = "web7", id[] = "r-7";
        uint8_t payload[] = "{\"a\": {\"b\": \"seven\"}}";
        world_precheck(world, "sleep 0.01");
        world_verify(world, "echo $2 $3 $4 $ACKD_REQUEST_ID $ACKD_ATTEMPT");
        world->argv[1][6] = "{{id}}";
        world->argv[1][7] = "{{message.a.b}}";
        const char *argv[9];
        memcpy(argv, world->argv[1], sizeof(world->argv[1]));
        argv[8] = NULL;
        world->exec[1].argv = argv;
        world_make(world);
        world_before(world, &(ActionRequest){.host = host,
                                             .id = id,
                                             .payload = payload,
                                             .payload_size = sizeof(payload) - 1,
                                             .attempt = 3});
        memset(host, 'x', sizeof(host) - 1);
        memset(id, 'x', sizeof(id) - 1);
        memset(payload, 'x', sizeof(payload) - 1);
        world_run(world, 1);
        expect(&world->ends[0], CHECKED_GO, "web7 r-7 seven r-7 3",
               "before: it says \"web7 r-7 seven r-7 3\"");
}

/* --- after the action ------------------------------------------------------------------------ */

static void test_verify_passes(void **state) {
        World *world = *state;
        world_verify(world, RESTARTS_AT_4);
        world_make(world);
        expect(world_once(world), CHECKED_GO, "old", "before: it says \"old\"");
        const End *end = world_verify_once(world, world->ends[0].text, 20 * SECOND);
        expect(end, VERIFIED_PASSED, "new", "look 3 says \"new\", before: \"old\"");
        assert_int_equal(end->looks, 3);
        assert_true(end->watched);
        assert_true(end->at_us - world->started_us >= 3 * 20 * MS);
        assert_string_equal(captured.lines[captured.n - 1].event, "verify.passed");
        assert_string_equal(
                captured.lines[captured.n - 1].text,
                "web1.example.com: it was restarted: look 3 says \"new\", before: \"old\"");
}

/* The host is away first, and hangs. */
static void test_verify_passes_after_failures(void **state) {
        World *world = *state;
        world_script(world, 1,
                     "echo x >>$1/looks; case $(wc -l <$1/looks) in 1) echo old ;; 2) exit 255 ;; "
                     "3) sleep 60 ;; *) echo new ;; esac",
                     100 * MS);
        world_make(world);
        const End *end = world_verify_once(world, "old", 20 * SECOND);
        expect(end, VERIFIED_PASSED, "new", "look 4 says \"new\", before: \"old\"");
}

static void test_verify_same(void **state) {
        World *world = *state;
        world_verify(world, "echo x >>$1/looks; echo old; echo $$ >&2");
        world->options.interval_us = 100 * MS;
        world_make(world);
        const End *end = world_verify_once(world, "old", 2 * SECOND);
        assert_int_equal(end->result, VERIFIED_SAME);
        assert_string_equal(end->text, "old");
        assert_in_range(end->looks, 2, 20);
        assert_int_equal(world_lines(world, "looks"), end->looks);
        assert_true(end->at_us - world->started_us <= 3 * SECOND);
        assert_int_equal(captured.lines[captured.n - 1].level, LOG_WARNING);
        assert_string_equal(captured.lines[captured.n - 1].event, "verify.same");
}

/* What counts is the last look: the host went down, and has not come back. */
static void test_verify_fails(void **state) {
        World *world = *state;
        world_verify(world, "echo x >>$1/looks; if [ $(wc -l <$1/looks) -ge 2 ]; then echo 'no "
                            "route' >&2; exit 255; fi; echo old");
        world->options.interval_us = 100 * MS;
        world_make(world);
        const End *end = world_verify_once(world, "old", 2 * SECOND);
        assert_int_equal(end->result, VERIFIED_FAILED);
        assert_string_equal(end->text, "old");
        assert_non_null(
                strstr(end->detail, ": exit status 255; last line of its output: no route"));
        assert_string_equal(captured.lines[captured.n - 1].event, "verify.failed");
}

/* A host that answers nothing has not shown that it was restarted. */
static void test_verify_says_nothing(void **state) {
        World *world = *state;
        world_verify(world, "exit 0");
        world_make(world);
        expect(world_verify_once(world, "old", 0), VERIFIED_FAILED, "",
               "look 1 succeeded and says nothing; before: \"old\"");
}

static void test_verify_without_before(void **state) {
        World *world = *state;
        world_verify(world, "echo x");
        world_make(world);
        expect(world_verify_once(world, NULL, 10 * SECOND), VERIFIED_PASSED_UNCOMPARED, "x",
               "look 1 succeeded and says \"x\"; nothing to compare with");
        assert_string_equal(captured.lines[captured.n - 1].event, "verify.uncompared");
}

/* Its time is over: once, at once, and with all the time that it takes. */
static void test_verify_after_the_deadline(void **state) {
        World *world = *state;
        world_verify(world, "echo x >>$1/looks; sleep 0.1; echo old");
        world->options.interval_us = 60 * SECOND;
        world_make(world);
        expect(world_verify_once(world, "old", 0), VERIFIED_SAME, "old",
               "look 1 says \"old\", as before");
        expect(world_verify_once(world, "older", -60 * SECOND), VERIFIED_PASSED, "old",
               "look 1 says \"old\", before: \"older\"");
        assert_int_equal(world_lines(world, "looks"), 2);
}

/* A deadline before the first interval is over, as a new owner may find it: one look in time. */
static void test_verify_shortly_before_the_deadline(void **state) {
        World *world = *state;
        world_verify(world, "echo x >>$1/looks; echo old");
        world->options.interval_us = 60 * SECOND;
        world_make(world);
        const End *end = world_verify_once(world, "old", 2 * SECOND);
        expect(end, VERIFIED_SAME, "old", "look 1 says \"old\", as before");
        assert_in_range(end->at_us - world->started_us, 900 * MS, 2 * SECOND - 1);
}

/* It ends by the deadline whatever its check does, and the check goes on by itself. */
static void test_verify_is_cut_off(void **state) {
        World *world = *state;
        world_script(world, 1,
                     "echo x >>$1/looks; while [ ! -e $1/go ]; do sleep 0.01; done; echo new",
                     10 * SECOND);
        world_make(world);
        const End *end = world_verify_once(world, "old", SECOND);
        expect(end, VERIFIED_FAILED, NULL, "look 1 did not end by the deadline");
        assert_in_range(end->at_us - world->started_us, SECOND, 5 * SECOND);
        assert_int_equal(world_lines(world, "looks"), 1);
        const List *cursor = NULL;
        CheckRunning running;
        assert_false(checks_next(world->checks, &cursor, &running));
        assert_int_equal(checks_running(world->checks), 0);
        /* The one that was left ends in its own time, and is no news. */
        world_write(world, "go", "");
        expect(world_verify_once(world, NULL, 0), VERIFIED_PASSED_UNCOMPARED, "new",
               "look 1 succeeded and says \"new\"; nothing to compare with");
        assert_int_equal(world->n, 2);
}

/* The loop stands still over the deadline: a look all the same. */
static void test_verify_after_a_stall(void **state) {
        World *world = *state;
        world_verify(world, "echo new");
        world_make(world);
        world_look(world, "old", 100 * MS);
        usleep(300 * MS);
        world_run(world, 1);
        expect(&world->ends[0], VERIFIED_PASSED, "new", "look 1 says \"new\", before: \"old\"");
        assert_false(world->ends[0].watched);
}

/* --- all of them ----------------------------------------------------------------------------- */

static void test_cancel(void **state) {
        World *world = *state;
        world_precheck(world, "touch $1/precheck; [ $2 = web1.example.com ] || exec sleep 60");
        world_verify(world, "touch $1/verify; trap '' TERM; sleep 60");
        world_make(world);
        ActionRequest other = plain;
        other.host = "web2";
        world_before(world, &other);           /* in the precheck */
        world_before(world, &plain);           /* in the check for `before` */
        world_look(world, "old", 60 * SECOND); /* and in a look */
        world_look(world, "old", 0);
        world_wait_for(world, "precheck");
        world_wait_for(world, "verify");
        int64_t begin = loop_now();
        checks_cancel(world->checks);
        assert_int_equal(world->n, 0);
        assert_int_equal(checks_running(world->checks), 4);
        world_run(world, 4);
        assert_true(loop_now() - begin < 5 * SECOND);
        for (size_t i = 0; i < 4; i++) {
                assert_int_equal(world->ends[i].result, world->ends[i].verify
                                                                ? (int)VERIFIED_CANCELLED
                                                                : (int)CHECKED_CANCELLED);
                assert_false(world->ends[i].has_text && !world->ends[i].verify);
        }
        assert_int_equal(checks_running(world->checks), 0);
}

static void test_cancel_in_the_first_turn(void **state) {
        World *world = *state;
        world_make(world);
        world_before(world, &plain);
        checks_cancel(world->checks);
        world_run(world, 1);
        expect(&world->ends[0], CHECKED_CANCELLED, NULL, "precheck: cancelled");
        /* What comes later is not cancelled. */
        assert_int_equal(world_once(world)->result, CHECKED_GO);
        checks_cancel(world->checks);
}

static void on_step_cancel(World *world) {
        checks_cancel(world->checks);
}

/* Both in one turn: a look that was killed has not failed. */
static void test_cancel_at_the_deadline(void **state) {
        World *world = *state;
        world_verify(world, "touch $1/looks; exec sleep 60");
        world->on_step = on_step_cancel;
        world_make(world);
        world_look(world, "old", SECOND);
        world_wait_for(world, "looks");
        int64_t left = world->started_us + SECOND - loop_now();
        loop_timer_set(&world->step, left + 10 * MS);
        usleep((useconds_t)(left > 0 ? left + 50 * MS : 0));
        world_run(world, 1);
        expect(&world->ends[0], VERIFIED_CANCELLED, NULL, "verify: cancelled");
}

static void test_cancel_between_two_looks(void **state) {
        World *world = *state;
        world_verify(world, "echo old");
        world->options.interval_us = 60 * SECOND;
        world_make(world);
        world_look(world, "old", 600 * SECOND);
        ev_run(world->loop.ev, EVRUN_NOWAIT);
        checks_cancel(world->checks);
        world_run(world, 1);
        expect(&world->ends[0], VERIFIED_CANCELLED, NULL, "verify: cancelled");
        assert_int_equal(world->ends[0].looks, 0);
        assert_true(world->ends[0].at_us - world->started_us < 10 * SECOND);
}

/* What is freed in the middle tells nothing more, and leaves nothing. */
static void test_free_while_it_runs(void **state) {
        World *world = *state;
        world_precheck(world, "touch $1/precheck; sleep 60");
        world_verify(world, "touch $1/verify; sleep 60");
        world_make(world);
        world_before(world, &plain);
        world_look(world, "old", 60 * SECOND);
        world_look(world, "old", 100 * MS); /* is left at its deadline */
        world_wait_for(world, "precheck");
        world_wait_for(world, "verify");
        world_run(world, 1);
        checks_free(world->checks);
        world->checks = NULL;
        checks_free(NULL);
        ev_run(world->loop.ev, EVRUN_NOWAIT);
        assert_int_equal(world->n, 1);
}

static void on_restart_step(World *world) {
        world_look(world, "old", 0);
}

/* The receiver starts the next one. */
static void on_checked_go_on(void *user, const Checked *checked) {
        World *world = user;
        on_checked(user, checked);
        on_restart_step(world);
}

static void test_the_receiver_may_start(void **state) {
        World *world = *state;
        world_verify(world, "echo new");
        world_make(world);
        assert_int_equal(checks_before(world->checks, &plain, on_checked_go_on, world), 0);
        world_run(world, 2);
        assert_int_equal(world->ends[1].result, VERIFIED_PASSED);
}

static void on_verified_cancel(void *user, const Verified *verified) {
        World *world = user;
        on_verified(user, verified);
        checks_cancel(world->checks);
}

static void test_the_receiver_may_cancel(void **state) {
        World *world = *state;
        captured.level = LOG_DEBUG;
        world_precheck(world, "exec sleep 60");
        world_verify(world, "echo new");
        world->options.interval_us = 60 * SECOND;
        world_make(world);
        assert_int_equal(checks_verify(world->checks, &plain, "old", 0, on_verified_cancel, world),
                         0);
        world_look(world, "old", 600 * SECOND);
        world_before(world, &plain);
        world_run(world, 3);
        assert_int_equal(world->ends[0].result, VERIFIED_PASSED);
        assert_int_equal(world->ends[1].result, VERIFIED_CANCELLED);
        assert_int_equal(world->ends[2].result, CHECKED_CANCELLED);
        assert_string_equal(captured.lines[captured.n - 1].event, "check.cancelled");
}

static void test_what_runs_is_listed(void **state) {
        World *world = *state;
        world_precheck(world, "exec sleep 60");
        world_verify(world, "echo x >>$1/looks; echo old");
        world_make(world);
        world_look(world, "old", 60 * SECOND);
        world_before(world, &plain);
        while (world_lines(world, "looks") < 2) {
                ev_run(world->loop.ev, EVRUN_ONCE);
        }
        const List *cursor = NULL;
        CheckRunning running;
        assert_true(checks_next(world->checks, &cursor, &running));
        assert_string_equal(check_step_name(running.step), "verify");
        assert_string_equal(running.host, "web1.example.com");
        assert_int_equal(running.attempt, 2);
        assert_in_range(running.looks, 1, 2);
        assert_non_null(strstr(running.detail, "says \"old\", as before"));
        assert_int_equal(running.deadline_us, running.since_us + 60 * SECOND);
        assert_true(checks_next(world->checks, &cursor, &running));
        assert_string_equal(check_step_name(running.step), "precheck");
        assert_int_equal(running.deadline_us, 0);
        assert_string_equal(running.detail, "");
        assert_false(checks_next(world->checks, &cursor, &running));
        assert_string_equal(check_step_name(CHECK_BEFORE), "before");
}

static void test_many_at_once(void **state) {
        World *world = *state;
        world_precheck(world, "exit 0");
        world_verify(world, "echo $2");
        world_make(world);
        for (int i = 0; i < 40; i++) {
                char host[32];
                ActionRequest request = plain;
                snprintf(host, sizeof(host), "web%d", i);
                request.host = host;
                world_before(world, &request);
        }
        world_run(world, 40);
        for (int i = 0; i < 40; i++) {
                char detail[64];
                snprintf(detail, sizeof(detail), "before: it says \"%s\"", world->ends[i].text);
                expect(&world->ends[i], CHECKED_GO, world->ends[i].text, detail);
                for (int j = 0; j < i; j++) {
                        assert_string_not_equal(world->ends[i].text, world->ends[j].text);
                }
        }
}

static void test_cannot_be_made(void **state) {
        World *world = *state;
        Buffer why = BUFFER_INIT;
        Checks *checks = NULL;
        world_precheck(world, "exit 0");
        world_verify(world, "echo {{hots}}");
        assert_int_equal(checks_new(&checks, &world->loop, NULL, &world->options, &why),
                         CHECKS_E_TEMPLATE);
        assert_null(checks);
        assert_non_null(strstr(buffer_string(&why), "argv[2]: "));
        buffer_deinit(&why);
        world->argv[1][0] = "sh";
        assert_int_equal(checks_new(&checks, &world->loop, NULL, &world->options, NULL),
                         CHECKS_E_TEMPLATE);
}

int main(void) {
#define TEST(function) cmocka_unit_test_setup_teardown(function, world_setup, world_teardown)
        const struct CMUnitTest tests[] = {
                TEST(test_without_checks),
                TEST(test_precheck_statuses),
                TEST(test_precheck_hangs),
                TEST(test_precheck_cannot_be_started),
                TEST(test_what_can_never_be_checked),
                TEST(test_before),
                TEST(test_a_long_before),
                TEST(test_precheck_then_before),
                TEST(test_request_is_copied),
                TEST(test_verify_passes),
                TEST(test_verify_passes_after_failures),
                TEST(test_verify_same),
                TEST(test_verify_fails),
                TEST(test_verify_says_nothing),
                TEST(test_verify_without_before),
                TEST(test_verify_after_the_deadline),
                TEST(test_verify_shortly_before_the_deadline),
                TEST(test_verify_is_cut_off),
                TEST(test_verify_after_a_stall),
                TEST(test_cancel),
                TEST(test_cancel_in_the_first_turn),
                TEST(test_cancel_at_the_deadline),
                TEST(test_cancel_between_two_looks),
                TEST(test_free_while_it_runs),
                TEST(test_the_receiver_may_start),
                TEST(test_the_receiver_may_cancel),
                TEST(test_what_runs_is_listed),
                TEST(test_many_at_once),
                TEST(test_cannot_be_made),
        };
        return cmocka_run_group_tests(tests, NULL, NULL);
}
