/* Holds: what the commands do to them, what a claim makes of it, and what a daemon hears. */

#include "pg-ledger.h"

#include "pg/blocking.h"
#include "pg/holds.h"
#include "pg/holds_watch.h"

#define DATABASE "ackd_test_holds"

static HoldsDesk *desk;
static HoldsWatch watch;
static char endings[256]; /* what was told: each pattern, '-' for any, with a blank */

static int setup(void **state) {
        char *error = NULL;
        (void)state;
        pg_test_init(&test, DATABASE);
        return holds_open(&desk, "ackd hold", test.operate_dsn, NULL, "ackd", &error);
}

static int teardown(void **state) {
        (void)state;
        holds_close(desk);
        pg_test_deinit(&test, DATABASE);
        return 0;
}

/* --- the commands ------------------------------------------------------------------------- */

static int64_t make(const char *pattern, const char *why, int64_t for_us) {
        HoldList made = {0};
        char *error = NULL;
        assert_int_equal(holds_make(desk, pattern, "jo@here", why, for_us, &made, &error), 0);
        assert_int_equal(made.n, 1);
        assert_string_equal(made.items[0].pattern, pattern);
        assert_string_equal(made.items[0].who, "jo@here");
        assert_string_equal(made.items[0].why, why);
        assert_int_equal(made.items[0].until != NULL, for_us > 0);
        assert_false(made.items[0].fuse);
        int64_t id = made.items[0].id;
        hold_list_deinit(&made);
        return id;
}

static size_t lift_of(const char *pattern, HoldsOf of) {
        HoldList lifted = {0};
        char *error = NULL;
        assert_int_equal(holds_lift(desk, pattern, of, "ann@there", &lifted, &error), 0);
        size_t n = lifted.n;
        for (size_t i = 0; i < n; i++) {
                assert_string_equal(lifted.items[i].lifted_by, "ann@there");
                assert_non_null(lifted.items[i].lifted_at);
        }
        hold_list_deinit(&lifted);
        return n;
}

static size_t lift(const char *pattern) {
        return lift_of(pattern, HOLDS_OF_EITHER);
}

static size_t in_force(void) {
        HoldList list = {0};
        char *error = NULL;
        assert_int_equal(holds_list(desk, &list, &error), 0);
        size_t n = list.n;
        hold_list_deinit(&list);
        return n;
}

static void test_make_list_lift(void **state) {
        (void)state;
        HoldList list = {0};
        char *error = NULL;
        make("db*.example.com", "it's \\ moved; \"why\"\nnot", 0);
        make("*", "a short one", 2 * MINUTE);
        pg_test_exec(test.sql, "INSERT INTO hosts (host, open_id, held_until) VALUES "
                               "('db1.example.com', 7, now() + interval '1 minute'), "
                               "('db2.example.com', 8, now() - interval '1 minute'), "
                               "('web1.example.com', NULL, NULL)");
        assert_int_equal(holds_list(desk, &list, &error), 0);
        assert_int_equal(list.n, 2);
        assert_string_equal(list.items[0].why, "it's \\ moved; \"why\"\nnot");
        assert_null(list.items[0].until);
        assert_null(list.items[0].lifted_at);
        assert_int_equal(list.items[0].hosts, 2);
        assert_int_equal(list.items[1].hosts, 3);
        assert_int_equal(strlen(list.items[1].until), strlen("2026-11-26T09:00:00Z"));
        hold_list_deinit(&list);
        expect_sql("SELECT until - since FROM holds WHERE pattern = '*'", "00:02:00");

        HoldReach reach = {0};
        assert_int_equal(holds_reach(desk, "db?.example.com", &reach, &error), 0);
        assert_int_equal(reach.hosts, 2);
        assert_int_equal(reach.known, 3);
        assert_int_equal(reach.running, 1);

        /* That of one pattern alone, and once. */
        assert_int_equal(lift("db1.example.com"), 0);
        assert_int_equal(lift("db*.example.com"), 1);
        assert_int_equal(lift("db*.example.com"), 0);
        assert_int_equal(in_force(), 1);
        assert_int_equal(holds_last(desk, "db*.example.com", &list, &error), 0);
        assert_int_equal(list.n, 1);
        assert_string_equal(list.items[0].lifted_by, "ann@there");
        hold_list_deinit(&list);
        assert_int_equal(holds_last(desk, "*", &list, &error), 0);
        assert_int_equal(list.n, 0);
        hold_list_deinit(&list);
}

static void test_it_ends_by_itself(void **state) {
        (void)state;
        HoldList last = {0};
        char *error = NULL;
        make("a", "x", MINUTE);
        make("a", "y", 10 * MINUTE);
        pass("5 minutes");
        assert_int_equal(in_force(), 1);
        assert_int_equal(lift("a"), 1);
        pass("10 minutes");
        assert_int_equal(lift("a"), 0);
        /* What was over is not lifted by whoever comes later. */
        expect_sql("SELECT string_agg(why, ',') FROM holds WHERE lifted_at IS NULL", "x");
        assert_int_equal(holds_last(desk, "a", &last, &error), 0);
        assert_string_equal(last.items[0].why, "y");
        hold_list_deinit(&last);
}

/* One that was written by hand may have capitals, as docs/ledger.md once showed. */
static void test_by_hand(void **state) {
        (void)state;
        pg_test_exec(test.sql, "INSERT INTO holds (pattern, why, who) VALUES ('DB*', 'w', 'jo')");
        assert_int_equal(lift("db*"), 1);
}

static void test_refusals(void **state) {
        (void)state;
        HoldsDesk *none = NULL;
        HoldList list = {0};
        char *error = NULL;
        assert_int_equal(holds_open(&none, "ackd hold", "host=/nowhere", NULL, "ackd", &error),
                         BLOCKING_E_CONNECT);
        assert_non_null(error);
        free(error);
        assert_int_equal(holds_open(&none, "ackd hold", test.dsn, NULL, "other", &error), 0);
        assert_int_equal(holds_list(none, &list, &error), BLOCKING_E_REFUSED);
        assert_non_null(strstr(error, "run: ackd init-db"));
        free(error);
        holds_close(none);
        holds_close(NULL);
        hold_list_deinit(&list);
}

/* --- a claim ------------------------------------------------------------------------------ */

static void test_a_claim_heeds_it(void **state) {
        (void)state;
        make("web*", "storage is moved", 0);
        const LedgerDecision *decision = claim(ours, request(HOST, 1));
        expect(decision, LEDGER_VERDICT_WAIT, LEDGER_REASON_HOLD);
        assert_non_null(strstr(decision->detail, "web*, by jo@here since "));
        assert_non_null(strstr(decision->detail, ": storage is moved"));
        start(other, request("db1.example.com", 2));
        assert_int_equal(lift("web*"), 1);
        start(ours, request(HOST, 1));
}

/* Lifted like any other, and then it counts anew. */
static void test_the_fuse(void **state) {
        (void)state;
        HoldList list = {0};
        char *error = NULL;
        policy.fuse_restarts = 2;
        policy.fuse_period_us = 10 * (int64_t)MINUTE;
        start(ours, request("a", 1));
        start(ours, request("b", 2));
        assert_true(claim(ours, request("c", 3))->fuse_blew);
        expect(claim(other, request("d", 4)), LEDGER_VERDICT_WAIT, LEDGER_REASON_FUSE);
        assert_int_equal(holds_list(desk, &list, &error), 0);
        assert_int_equal(list.n, 1);
        assert_true(list.items[0].fuse);
        assert_string_equal(list.items[0].pattern, "*");
        assert_string_equal(list.items[0].who, "ackd (ours)");
        assert_non_null(strstr(list.items[0].why, "the fuse: 2 restarts in 00:10:00"));
        hold_list_deinit(&list);
        assert_int_equal(lift("*"), 1);
        start(ours, request("c", 3));
        start(ours, request("d", 4));
        assert_true(claim(ours, request("e", 5))->fuse_blew);
}

/* --- a daemon ----------------------------------------------------------------------------- */

static void on_ended(void *user, const char *pattern) {
        size_t n = strlen(endings);
        assert_ptr_equal(user, &watch);
        snprintf(endings + n, sizeof(endings) - n, "%s ", pattern != NULL ? pattern : "-");
}

static void on_notified(void *user, const char *payload) {
        assert_ptr_equal(user, &test);
        holds_watch_notified(&watch, payload);
}

/* As a daemon begins, with @connections. */
static void listen_to(size_t connections) {
        PgOptions options = {.dsn = test.run_dsn,
                             .schema = "ackd",
                             .application_name = "ackd watch",
                             .connections = connections,
                             .statement_timeout_us = 30 * SECOND,
                             .channel = HOLDS_CHANNEL,
                             .notified = on_notified};
        pg_test_open(&test, &options);
        holds_watch_init(&watch, &test.loop, NULL, "ackd", on_ended, &watch);
        watch.remind_us = 20 * 1000;
        assert_true(pg_test_until(&test, pg_test_is_up, test.pool));
}

static int watch_begin(void **state) {
        (void)state;
        pg_test_exec(test.sql, "TRUNCATE restarts, hosts, holds RESTART IDENTITY");
        listen_to(2);
        return 0;
}

static int watch_end(void **state) {
        (void)state;
        holds_watch_stop(&watch);
        pg_test_close(&test);
        return 0;
}

static bool knows(void *user) {
        return watch.in_force == *(size_t *)user && !watch.asking;
}

/* Turns the loop until it knows of so many. @within: µs. */
static void wait_known(size_t n, int64_t within_us) {
        int64_t began = loop_now();
        endings[0] = '\0';
        assert_true(pg_test_until(&test, knows, &n));
        assert_true(loop_now() - began < within_us);
}

static int said(const char *event, const char *part) {
        int n = 0;
        for (size_t i = 0; i < captured.n && i < 16; i++) {
                const CapturedLine *line = &captured.lines[i];
                n += strcmp(line->event, event) == 0 && strstr(line->text, part) != NULL;
        }
        return n;
}

static void test_watch(void **state) {
        (void)state;
        make("db*", "before it began", 0);
        holds_watch_start(&watch, test.pool);
        wait_known(1, 10 * SECOND);
        assert_int_equal(said("holds.changed", "a hold on db* by jo@here since "), 1);
        assert_int_equal(said("holds.changed", ": before it began; restarts of these hosts wait"),
                         1);
        captured.n = 0;
        make("web*", "news", 0);
        wait_known(2, SECOND);
        assert_int_equal(said("holds.changed", "a hold on web* by jo@here"), 1);
        assert_int_equal(captured.n, 1); /* also with two connections that hear of it */
        assert_string_equal(endings, "");
        captured.n = 0;
        assert_int_equal(lift("db*"), 1);
        wait_known(1, SECOND);
        assert_int_equal(said("holds.changed", "(before it began) was lifted by ann@there"), 1);
        assert_int_equal(captured.n, 1);
        assert_string_equal(endings, "db* ");
        captured.n = 0;
        pg_test_exec(test.sql, "DELETE FROM holds");
        wait_known(0, SECOND);
        assert_int_equal(said("holds.changed", "was deleted"), 1);
        assert_string_equal(endings, "- ");
        pg_test_exec(test.sql, "INSERT INTO holds (pattern, why, who) VALUES ('x', 'w', 'hand')");
        wait_known(1, SECOND);
        captured.n = 0;
        pg_test_exec(test.sql, "UPDATE holds SET lifted_at = now()");
        wait_known(0, SECOND);
        assert_int_equal(said("holds.changed", "(w) was lifted; restarts"), 1);
        pg_test_exec(test.sql, "INSERT INTO holds (pattern, why, who) VALUES ('x', 'w', 'hand')");
        wait_known(1, SECOND);
        pg_test_exec(test.sql, "TRUNCATE holds");
        wait_known(0, SECOND);
}

static void test_watch_until(void **state) {
        (void)state;
        holds_watch_start(&watch, test.pool);
        make("a", "short", 300 * 1000);
        make("b", "longer", 30 * (int64_t)MINUTE);
        wait_known(2, SECOND);
        assert_int_equal(said("holds.changed", " until 20"), 2);
        captured.n = 0;
        wait_known(1, SECOND); /* nobody tells */
        assert_int_equal(said("holds.changed", "(short) is over by itself"), 1);
        assert_string_equal(endings, "a ");
        assert_true(loop_timer_is_set(&watch.timer));
}

/* More than are told of one by one. */
static void test_watch_many(void **state) {
        (void)state;
        pg_test_exec(test.sql, "INSERT INTO holds (pattern, why, who) SELECT 'h' || i, 'w', 'jo' "
                               "FROM generate_series(1, 250) i");
        holds_watch_start(&watch, test.pool);
        wait_known(250, 10 * SECOND);
        assert_int_equal(watch.n_known, HOLDS_WATCHED_MAX);
        assert_int_equal(captured.n, HOLDS_WATCHED_MAX + 1); /* and "connected" */
        pg_test_exec(test.sql,
                     "UPDATE holds SET lifted_at = now(), lifted_by = 'x' WHERE id > 200");
        wait_known(200, SECOND);
        assert_string_equal(endings, "- ");
        pg_test_exec(test.sql, "UPDATE holds SET lifted_at = now() WHERE id BETWEEN 101 AND 109");
        wait_known(191, SECOND);
        assert_string_equal(endings, "h101 h102 h103 h104 h105 h106 h107 h108 - ");
        pg_test_exec(test.sql, "DELETE FROM holds WHERE id <= 100");
        wait_known(91, SECOND);
        assert_int_equal(watch.n_known, 91);
}

/* It came and went before anybody looked: who was held by it hears of it all the same. */
static void test_watch_of_a_short_one(void **state) {
        (void)state;
        make("old*", "w", 0);
        assert_int_equal(lift("old*"), 1);
        make("a*", "w", 0);
        holds_watch_start(&watch, test.pool);
        wait_known(1, 10 * SECOND);
        assert_string_equal(endings, ""); /* what was over before is history */
        captured.n = 0;
        pg_test_exec(test.sql, "BEGIN; INSERT INTO holds (pattern, why, who) VALUES ('b*', 'w', "
                               "'jo'); UPDATE holds SET lifted_at = now() WHERE pattern = 'b*'; "
                               "INSERT INTO holds (pattern, why, who) VALUES ('c*', 'w', 'jo'); "
                               "COMMIT");
        wait_known(2, SECOND);
        assert_string_equal(endings, "b* ");
        assert_int_equal(said("holds.changed", "the hold on b* by jo"), 1);
        assert_int_equal(said("holds.changed", "a hold on c* by jo"), 1);
        assert_int_equal(captured.n, 2);
}

/* Another schema's are none of ours, and nothing is asked without news. */
static void test_watch_of_others(void **state) {
        (void)state;
        PgTestOperation o;
        size_t none = 0;
        pg_test_exec(test.sql, "NOTIFY ackd_holds, 'ackd'"); /* before the start */
        assert_true(pg_test_run(&test, &o, "SELECT pg_sleep(0.02)"));
        holds_watch_start(&watch, test.pool);
        assert_true(pg_test_until(&test, knows, &none));
        pg_test_exec(test.sql, "ALTER TABLE holds DISABLE TRIGGER ALL; "
                               "INSERT INTO holds (pattern, why, who) VALUES ('a', 'w', 'jo'); "
                               "ALTER TABLE holds ENABLE TRIGGER ALL; "
                               "NOTIFY ackd_holds, 'ackd2'; NOTIFY ackd_holds; NOTIFY ackd_hold");
        assert_true(pg_test_run(&test, &o, "SELECT pg_sleep(0.1)"));
        assert_int_equal(watch.in_force, 0);
        pg_test_exec(test.sql, "NOTIFY ackd_holds, 'ackd'");
        wait_known(1, SECOND);
}

static bool came_back(void *user) {
        return test.ups > *(int *)user;
}

/* All connections are lost, and a hold is lifted meanwhile. */
static void test_watch_comes_back(void **state) {
        (void)state;
        make("a", "w", 0);
        holds_watch_start(&watch, test.pool);
        wait_known(1, 10 * SECOND);
        captured.n = 0;
        int ups = test.ups;
        pg_test_exec(test.sql, "BEGIN; LOCK TABLE holds; "
                               "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                               "WHERE application_name = 'ackd watch'; "
                               "UPDATE holds SET lifted_at = now(), lifted_by = 'x'; COMMIT");
        assert_true(pg_test_until(&test, came_back, &ups));
        /* As the daemon does it. */
        endings[0] = '\0';
        holds_watch_up(&watch);
        size_t none = 0;
        assert_true(pg_test_until(&test, knows, &none));
        assert_int_equal(said("holds.changed", "was lifted by x"), 1);
        assert_string_equal(endings, "a ");
        /* And it listens again. */
        make("b", "w", 0);
        wait_known(1, SECOND);
}

/* The only connection is busy: it hears of it when its statement has ended. */
static void test_watch_with_one_connection(void **state) {
        (void)state;
        watch_end(state);
        listen_to(1);
        holds_watch_start(&watch, test.pool);
        PgTestOperation o;
        assert_true(pg_test_run(&test, &o, "SELECT 1"));
        pg_test_operation_init(&o, "SELECT pg_sleep(0.3)");
        pg_pool_submit(test.pool, &o.operation, false);
        assert_false(pg_test_ended(&o));
        make("a", "w", 0);
        wait_known(1, 5 * SECOND);
        assert_true(pg_test_ended(&o));
}

static bool reminded(void *user) {
        return said("holds.fuse", "") >= *(int *)user;
}

static void test_watch_reminds_of_the_fuse(void **state) {
        (void)state;
        int twice = 2;
        holds_watch_start(&watch, test.pool);
        make("*", "a person's own is no fuse", 0);
        wait_known(1, SECOND);
        assert_false(loop_timer_is_set(&watch.reminder));
        captured.n = 0;
        pg_test_exec(test.sql, "INSERT INTO holds (pattern, why, who, fuse) VALUES "
                               "('*', 'the fuse: 30 restarts', 'ackd (one)', true)");
        wait_known(2, SECOND);
        assert_int_equal(said("holds.changed", "the fuse: 30 restarts; "), 1);
        assert_int_equal(said("holds.changed", "ackd unhold --fuse"), 1);
        assert_true(pg_test_until(&test, reminded, &twice));
        assert_int_equal(captured.lines[1].level, LOG_WARNING);
        assert_non_null(strstr(captured.lines[1].text, "ackd unhold --fuse"));
        assert_int_equal(lift("*"), 0); /* a person's and the fuse's: which? */
        assert_int_equal(lift_of("*", HOLDS_OF_FUSE), 1);
        assert_int_equal(lift_of("*", HOLDS_OF_FUSE), 0);
        assert_int_equal(lift("*"), 1);
        wait_known(0, SECOND);
        assert_false(loop_timer_is_set(&watch.reminder));
}

static bool is_unread(void *user) {
        (void)user;
        return said("holds.unread", "run: ackd init-db") > 0;
}

static void test_watch_cannot_read(void **state) {
        (void)state;
        make("a", "w", 0);
        holds_watch_start(&watch, test.pool);
        wait_known(1, 10 * SECOND);
        captured.n = 0;
        pg_test_exec(test.sql, "ALTER TABLE holds RENAME TO held; NOTIFY ackd_holds, 'ackd'");
        assert_true(pg_test_until(&test, is_unread, NULL));
        assert_int_equal(watch.in_force, 1);
        assert_true(loop_timer_is_set(&watch.timer));
        pg_test_exec(test.sql, "ALTER TABLE held RENAME TO holds; DELETE FROM holds");
        wait_known(0, SECOND);
        assert_int_equal(said("holds.unread", ""), 1);
}

#define WATCH(function) cmocka_unit_test_setup_teardown(function, watch_begin, watch_end)

int main(void) {
        const struct CMUnitTest tests[] = {
                TEST(test_make_list_lift),
                TEST(test_it_ends_by_itself),
                TEST(test_by_hand),
                TEST(test_refusals),
                TEST(test_a_claim_heeds_it),
                TEST(test_the_fuse),
                WATCH(test_watch),
                WATCH(test_watch_until),
                WATCH(test_watch_many),
                WATCH(test_watch_of_a_short_one),
                WATCH(test_watch_of_others),
                WATCH(test_watch_comes_back),
                WATCH(test_watch_with_one_connection),
                WATCH(test_watch_reminds_of_the_fuse),
                WATCH(test_watch_cannot_read),
        };
        return cmocka_run_group_tests(tests, setup, teardown);
}
