#include "test.h"

#include "pg.h"
#include "pg/binary.h"

#define DATABASE "ackd_test_connection"

enum {
        SECOND = 1000 * 1000,
};

static PgTest test;
static PgTestOperation o;

static int setup(void **state) {
        (void)state;
        pg_test_init(&test, DATABASE);
        /* These tests do with the server what no daemon may. */
        snprintf(test.run_dsn, sizeof(test.run_dsn), "%s", test.dsn);
        pg_test_exec(test.sql, "CREATE TABLE t (n int8, filler text); "
                               "CREATE TABLE parent (id int PRIMARY KEY); "
                               "CREATE TABLE child (id int REFERENCES parent DEFERRABLE INITIALLY "
                               "DEFERRED)");
        return 0;
}

static int teardown(void **state) {
        (void)state;
        pg_test_deinit(&test, DATABASE);
        return 0;
}

static void expect_ok(const char *sql, const char *value) {
        assert_true(pg_test_run(&test, &o, sql));
        assert_int_equal(o.ends, 1);
        assert_int_equal(o.end, PG_OK);
        assert_string_equal(o.failure.sqlstate, "");
        if (value != NULL) {
                assert_string_equal(o.value, value);
        }
}

static void expect_refused(const char *sql, const char *sqlstate, const char *part) {
        assert_true(pg_test_run(&test, &o, sql));
        assert_int_equal(o.ends, 1);
        assert_int_equal(o.end, PG_REFUSED);
        assert_string_equal(o.failure.sqlstate, sqlstate);
        assert_non_null(strstr(o.message, part));
}

static const CapturedLine *find_line(const char *part) {
        size_t n = captured.n < 16 ? captured.n : 16;
        for (size_t i = 0; i < n; i++) {
                if (strstr(captured.lines[i].text, part) != NULL) {
                        return &captured.lines[i];
                }
        }
        return NULL;
}

static bool is_logged(void *user) {
        return find_line(user) != NULL;
}

static void test_results(void **state) {
        (void)state;
        pg_test_open_default(&test, 1, 30 * SECOND);
        assert_int_equal(test.ups, 1);
        assert_non_null(find_line("connected to PostgreSQL"));
        expect_ok("SELECT 41 + 1", "42");
        expect_ok("SELECT 1; SELECT 2; SELECT 3", "3");
        assert_int_equal(o.results, 3);
        expect_refused("SELECT 1/0", "22012", "division by zero");
        expect_refused("SELECT 1; SELECT 1/0; SELECT 2", "22012", "division");
        assert_int_equal(o.results, 1);
        expect_refused("nonsense", "42601", "syntax error");
        expect_ok("SELECT 1", "1");
        assert_int_equal(test.downs, 0); /* the session outlived them all */

        assert_true(pg_test_run(&test, &o, NULL));
        assert_int_equal(o.end, PG_DROPPED);
        expect_ok("", NULL);
        pg_test_close(&test);
}

static void test_settings(void **state) {
        (void)state;
        pg_test_exec(test.sql, "ALTER DATABASE " DATABASE " SET synchronous_commit = off; "
                               "ALTER DATABASE " DATABASE " SET standard_conforming_strings = off");
        pg_test_open_default(&test, 1, 30 * SECOND);
        expect_ok("SHOW search_path", "ackd, pg_temp");
        expect_ok("SHOW statement_timeout", "30s");
        expect_ok("SHOW lock_timeout", "5s");
        expect_ok("SHOW idle_in_transaction_session_timeout", "30s");
        expect_ok("SHOW client_encoding", "UTF8");
        expect_ok("SHOW standard_conforming_strings", "on");
        expect_ok("SHOW synchronous_commit", "on");
        expect_ok("SHOW application_name", "ackd test");
        pg_test_close(&test);
        /* What is stricter than "on" is left alone. */
        pg_test_exec(test.sql, "ALTER DATABASE " DATABASE " RESET ALL; ALTER DATABASE " DATABASE
                               " SET synchronous_commit = remote_apply");
        pg_test_open_default(&test, 1, 30 * SECOND);
        expect_ok("SHOW synchronous_commit", "remote_apply");
        pg_test_close(&test);
        pg_test_exec(test.sql, "ALTER DATABASE " DATABASE " RESET ALL");
}

static void test_bad_options(void **state) {
        (void)state;
        PgPool *pool = NULL;
        Loop loop;
        char *error = NULL;
        PgOptions options = {.dsn = "hots=x", .schema = "ackd", .connections = 1};
        assert_int_equal(loop_init(&loop), 0);
        assert_int_equal(pg_pool_new(&pool, &loop, NULL, &options, NULL, NULL, &error), PG_E_DSN);
        assert_non_null(strstr(error, "hots"));
        free(error);
        options.dsn = "";
        options.schema = "a-b";
        assert_int_equal(pg_pool_new(&pool, &loop, NULL, &options, NULL, NULL, &error), PG_E_DSN);
        assert_non_null(strstr(error, "a-b"));
        free(error);
        assert_null(pool);
        pg_pool_free(NULL);
        loop_deinit(&loop);
}

/* --- COPY --------------------------------------------------------------------------------- */

static void append_copy_row(Buffer *copy, int64_t n, const char *filler, size_t size) {
        assert_int_equal(buffer_reserve(copy, 32 + size), 0);
        uint8_t *at = copy->data + copy->size;
        at = binary_put_row(at, 2);
        at = binary_put_int8(at, n);
        at = binary_put_bytes(at, filler, size);
        copy->size = (size_t)(at - copy->data);
}

/* @rows of @size bytes of text; the one at @bad has bytes that are no UTF-8. */
static void make_copy(Buffer *copy, int rows, size_t size, int bad) {
        char *filler = malloc(size);
        assert_int_equal(binary_append_header(copy), 0);
        for (int i = 0; i < rows; i++) {
                memset(filler, i == bad ? 0xff : 'x', size);
                append_copy_row(copy, i, filler, size);
        }
        assert_int_equal(binary_append_trailer(copy), 0);
        free(filler);
}

static void run_copy(const char *then, int rows, size_t size, int bad) {
        char sql[256];
        Buffer copy = BUFFER_INIT;
        make_copy(&copy, rows, size, bad);
        snprintf(sql, sizeof(sql), "COPY t FROM STDIN (FORMAT binary); %s", then);
        pg_test_operation_init(&o, sql);
        o.copy = &copy;
        pg_pool_submit(test.pool, &o.operation, false);
        assert_true(pg_test_until(&test, pg_test_ended, &o));
        assert_int_equal(o.ends, 1);
        buffer_deinit(&copy);
}

static void test_copy(void **state) {
        (void)state;
        pg_test_open_default(&test, 1, 30 * SECOND);
        run_copy("SELECT count(*) FROM t", 3, 10, -1);
        assert_int_equal(o.end, PG_OK);
        assert_string_equal(o.value, "3");
        assert_int_equal(o.results, 2);
        /* No rows, and far more than a socket holds. */
        run_copy("SELECT count(*) FROM t", 0, 0, -1);
        assert_string_equal(o.value, "3");
        run_copy("SELECT count(*) FROM t", 2000, 16 * 1024, -1);
        assert_int_equal(o.end, PG_OK);
        assert_string_equal(o.value, "2003");
        /* One row of 8 MiB. */
        run_copy("SELECT max(length(filler)) FROM t", 1, 8 * 1024 * 1024, -1);
        assert_string_equal(o.value, "8388608");
        pg_test_exec(test.sql, "TRUNCATE t");
        assert_int_equal(test.downs, 0);
        pg_test_close(&test);
}

static void test_copy_fails(void **state) {
        (void)state;
        pg_test_open_default(&test, 1, 30 * SECOND);
        static const int positions[] = {0, 50, 99};
        for (size_t i = 0; i < 3; i++) {
                /* Small ones are over before the error comes; of large ones most is still to go. */
                run_copy("SELECT 1", 100, 100, positions[i]);
                assert_int_equal(o.end, PG_REFUSED);
                assert_string_equal(o.failure.sqlstate, "22021");
                run_copy("SELECT 1", 100, 100 * 1024, positions[i]);
                assert_int_equal(o.end, PG_REFUSED);
                assert_string_equal(o.failure.sqlstate, "22021");
        }
        /* An error after the COPY takes its rows back, and one at the commit too. */
        run_copy("SELECT 1/0", 10, 10, -1);
        assert_int_equal(o.end, PG_REFUSED);
        assert_string_equal(o.failure.sqlstate, "22012");
        run_copy("INSERT INTO child VALUES (1); SELECT 1", 10, 10, -1);
        assert_int_equal(o.end, PG_REFUSED);
        assert_string_equal(o.failure.sqlstate, "23503");
        /* The statement never becomes a COPY. */
        pg_test_operation_init(&o, "COPY nothing FROM STDIN (FORMAT binary)");
        Buffer copy = BUFFER_INIT;
        make_copy(&copy, 1, 1, -1);
        o.copy = &copy;
        pg_pool_submit(test.pool, &o.operation, false);
        assert_true(pg_test_until(&test, pg_test_ended, &o));
        assert_string_equal(o.failure.sqlstate, "42P01");
        buffer_deinit(&copy);
        expect_ok("SELECT count(*) FROM t", "0");
        assert_int_equal(test.downs, 0);
        pg_test_close(&test);
}

/* Answers that no operation asked for end the session, not the daemon. */
static void test_strange_statements(void **state) {
        (void)state;
        pg_test_open_default(&test, 1, 30 * SECOND);
        assert_true(pg_test_run(&test, &o, "COPY t FROM STDIN"));
        assert_int_equal(o.end, PG_LOST);
        expect_ok("SELECT 1", "1");
        assert_true(pg_test_run(&test, &o, "COPY t TO STDOUT"));
        assert_int_equal(o.end, PG_LOST);
        expect_ok("SELECT 1", "1");
        expect_ok("BEGIN; SELECT 7", "7"); /* left open: the next one gets another session */
        expect_ok("SELECT txid_current_if_assigned() IS NULL", "t");
        assert_int_equal(test.downs, 3);
        pg_test_close(&test);
}

/* --- what breaks -------------------------------------------------------------------------- */

static void terminate_backends(void) {
        pg_test_exec(test.sql, "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE "
                               "datname = current_database() AND application_name = 'ackd test'");
}

static bool is_running(void *user) {
        return strcmp(pg_test_value(test.sql, user), "t") == 0;
}

static char sleeping_sql[] =
        "SELECT EXISTS (SELECT FROM pg_stat_activity WHERE application_name = "
        "'ackd test' AND datname = current_database() AND wait_event = 'PgSleep')";

static void test_backend_terminated(void **state) {
        (void)state;
        pg_test_open_default(&test, 1, 30 * SECOND);
        pg_test_operation_init(&o, "SELECT pg_sleep(60)");
        pg_pool_submit(test.pool, &o.operation, false);
        assert_true(pg_test_until(&test, is_running, sleeping_sql));
        terminate_backends();
        assert_true(pg_test_until(&test, pg_test_ended, &o));
        /* FATAL has an SQLSTATE, and all the same nobody can say what became of it. */
        assert_int_equal(o.end, PG_LOST);
        assert_string_equal(o.failure.sqlstate, "");
        assert_non_null(strstr(o.message, "terminating connection"));
        assert_int_equal(test.downs, 1);
        expect_ok("SELECT 1", "1");
        assert_int_equal(test.ups, 2);
        const CapturedLine *down = find_line("lost PostgreSQL: 57P01: terminating connection");
        assert_non_null(down);
        assert_int_equal(down->level, LOG_WARNING);
        assert_string_equal(down->event, "postgres.down");
        assert_non_null(find_line("PostgreSQL is back after"));
        assert_int_equal(captured.n, 3); /* connected, lost, back */
        pg_test_close(&test);
}

static bool is_down(void *user) {
        (void)user;
        return test.downs > 0;
}

static void test_idle_session_terminated(void **state) {
        (void)state;
        pg_test_open_default(&test, 1, 30 * SECOND);
        terminate_backends();
        assert_true(pg_test_until(&test, is_down, NULL));
        assert_non_null(strstr(test.why, "terminating connection"));
        assert_true(pg_test_until(&test, pg_test_is_up, test.pool));
        expect_ok("SELECT 1", "1");
        pg_test_close(&test);
}

static void test_one_of_two_lost(void **state) {
        (void)state;
        pg_test_open_default(&test, 2, 30 * SECOND);
        static char two[] = "SELECT count(*) = 2 FROM pg_stat_activity WHERE application_name = "
                            "'ackd test' AND datname = current_database() AND state = 'idle'";
        assert_true(pg_test_until(&test, is_running, two));
        expect_ok("SELECT 1", "1");
        pg_test_exec(test.sql, "SELECT pg_terminate_backend(max(pid)) FROM pg_stat_activity WHERE "
                               "datname = current_database() AND application_name = 'ackd test'");
        assert_true(
                pg_test_until(&test, is_logged, "lost a connection to PostgreSQL (1 of 2 are up)"));
        expect_ok("SELECT 1", "1");
        assert_true(pg_test_until(&test, is_running, two));
        assert_int_equal(test.downs, 0);
        assert_true(pg_pool_is_up(test.pool));
        pg_test_close(&test);
}

static void test_statement_timeout(void **state) {
        (void)state;
        pg_test_open_default(&test, 1, SECOND / 5);
        expect_refused("SELECT pg_sleep(60)", "57014", "statement timeout");
        expect_ok("SELECT 1", "1");
        assert_int_equal(test.downs, 0);
        pg_test_close(&test);
}

static void test_lock_timeout(void **state) {
        (void)state;
        pg_test_open_default(&test, 1, 30 * SECOND);
        pg_test_exec(test.sql, "BEGIN; LOCK TABLE t");
        expect_refused("INSERT INTO t VALUES (1, '')", "55P03", "lock timeout");
        pg_test_exec(test.sql, "ROLLBACK");
        pg_test_close(&test);
}

/* --- read-only ---------------------------------------------------------------------------- */

static void test_becomes_read_only(void **state) {
        (void)state;
        pg_test_open_default(&test, 1, 30 * SECOND);
        expect_ok("SET default_transaction_read_only = on", NULL);
        expect_refused("INSERT INTO t VALUES (1, '')", "25006", "read-only");
        assert_int_equal(test.downs, 1);
        /* Another session is another server, after a failover. */
        expect_ok("INSERT INTO t VALUES (1, '') RETURNING n", "1");
        pg_test_exec(test.sql, "TRUNCATE t");
        pg_test_close(&test);
}

static void test_read_only_server(void **state) {
        (void)state;
        PgOptions options = {.dsn = test.dsn,
                             .schema = "ackd",
                             .application_name = "ackd test",
                             .connections = 2,
                             .statement_timeout_us = SECOND};
        pg_test_exec(test.sql,
                     "ALTER DATABASE " DATABASE " SET default_transaction_read_only = on");
        pg_test_open(&test, &options);
        pg_test_operation_init(&o, "SELECT 5");
        pg_pool_submit(test.pool, &o.operation, false);
        static const char *part = "session is read-only";
        while (find_line(part) == NULL) {
                assert_true(pg_test_until(&test, is_running, "SELECT true"));
        }
        assert_false(pg_pool_is_up(test.pool));
        assert_int_equal(o.ends, 0);
        pg_test_exec(test.sql, "SET default_transaction_read_only = off; ALTER DATABASE " DATABASE
                               " RESET default_transaction_read_only");
        assert_true(pg_test_until(&test, pg_test_ended, &o));
        assert_int_equal(o.end, PG_OK);
        pg_test_close(&test);
}

/* --- what does not connect ---------------------------------------------------------------- */

static int64_t alarm_until;
static bool is_over(void *user) {
        (void)user;
        return loop_now() > alarm_until;
}

static void test_alarms_at_connect(void **state) {
        (void)state;
        char dsn[600];
        snprintf(dsn, sizeof(dsn), "%s dbname=ackd_test_missing", test.dsn);
        PgOptions options = {.dsn = dsn,
                             .schema = "ackd",
                             .application_name = "ackd test",
                             .connections = 2,
                             .statement_timeout_us = SECOND};
        pg_test_open(&test, &options);
        assert_true(pg_test_until(&test, is_logged, "createdb"));
        const CapturedLine *line = find_line("createdb");
        assert_int_equal(line->level, LOG_ERROR);
        assert_non_null(strstr(line->text, "3D000"));
        assert_non_null(strstr(line->text, "run: ackd init-db"));
        assert_null(strstr(line->text, "LOCATION"));
        /* Both sessions try for a while and say no more. */
        uint64_t turns = test.loop.turns;
        alarm_until = loop_now() + 2 * SECOND;
        assert_true(pg_test_until(&test, is_over, NULL));
        assert_int_equal(captured.n, 1);
        assert_in_range(test.loop.turns - turns, 1, 1500);
        pg_test_close(&test);

        snprintf(dsn, sizeof(dsn), "%s user=ackd_test_absent", test.dsn);
        pg_test_open(&test, &options);
        assert_true(pg_test_until(&test, is_logged, "ackd_test_absent"));
        assert_int_equal(captured.lines[0].level, LOG_ERROR);
        assert_non_null(strstr(captured.lines[0].text, "28000"));
        assert_non_null(strstr(captured.lines[0].text, "password_file"));
        pg_test_close(&test);

        options.dsn = test.dsn;
        options.password_file = "/nowhere/secret";
        pg_test_open(&test, &options);
        assert_true(pg_test_until(&test, is_logged, "/nowhere/secret: No such file"));
        assert_int_equal(captured.lines[0].level, LOG_ERROR);
        pg_test_close(&test);

        options.dsn = "host=/nowhere";
        options.password_file = NULL;
        pg_test_open(&test, &options);
        assert_true(pg_test_until(&test, is_logged, "cannot reach PostgreSQL"));
        assert_int_equal(captured.lines[0].level, LOG_WARNING);
        pg_test_close(&test);
}

/* --- the queue ---------------------------------------------------------------------------- */

enum {
        ORDER_MAX = 6,
};

static bool all_ended(void *user) {
        PgTestOperation *operations = user;
        for (int i = 0; i < ORDER_MAX; i++) {
                if (operations[i].ends == 0) {
                        return false;
                }
        }
        return true;
}

/* Claims come without an end, and batches are saved all the same: they take turns. */
static void test_order(void **state) {
        (void)state;
        static const char *const turns[ORDER_MAX] = {"2", "4", "1", "3", "5", "6"};
        PgTestOperation operations[ORDER_MAX];
        pg_test_exec(test.sql, "DROP SEQUENCE IF EXISTS turn; CREATE SEQUENCE turn");
        pg_test_open_default(&test, 1, 30 * SECOND);
        for (int i = 0; i < ORDER_MAX; i++) {
                pg_test_operation_init(&operations[i], "SELECT nextval('turn')");
                pg_pool_submit(test.pool, &operations[i].operation, i >= 2);
                assert_int_equal(operations[i].ends, 0); /* never at once */
        }
        assert_true(pg_test_until(&test, all_ended, operations));
        for (int i = 0; i < ORDER_MAX; i++) {
                assert_string_equal(operations[i].value, turns[i]);
        }
        pg_test_close(&test);
}

static void test_withdraw_and_close(void **state) {
        (void)state;
        PgTestOperation running, waiting, withdrawn;
        pg_test_open_default(&test, 1, 30 * SECOND);
        pg_test_operation_init(&running, "SELECT pg_sleep(60)");
        pg_test_operation_init(&waiting, "SELECT 1");
        pg_test_operation_init(&withdrawn, "SELECT 1");
        assert_false(pg_pool_withdraw(test.pool, &withdrawn.operation));
        pg_pool_submit(test.pool, &running.operation, false);
        assert_true(pg_test_until(&test, is_running, sleeping_sql));
        assert_false(pg_pool_withdraw(test.pool, &running.operation));
        pg_pool_submit(test.pool, &waiting.operation, false);
        pg_pool_submit(test.pool, &withdrawn.operation, false);
        assert_true(pg_pool_withdraw(test.pool, &withdrawn.operation));
        pg_test_close(&test);
        assert_int_equal(running.ends, 1);
        assert_int_equal(running.end, PG_LOST);
        assert_int_equal(waiting.ends, 1);
        assert_int_equal(waiting.end, PG_DROPPED);
        assert_int_equal(withdrawn.ends, 0);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_results),
                cmocka_unit_test(test_settings),
                cmocka_unit_test(test_bad_options),
                cmocka_unit_test(test_copy),
                cmocka_unit_test(test_copy_fails),
                cmocka_unit_test(test_strange_statements),
                cmocka_unit_test(test_backend_terminated),
                cmocka_unit_test(test_idle_session_terminated),
                cmocka_unit_test(test_one_of_two_lost),
                cmocka_unit_test(test_statement_timeout),
                cmocka_unit_test(test_lock_timeout),
                cmocka_unit_test(test_becomes_read_only),
                cmocka_unit_test(test_read_only_server),
                cmocka_unit_test(test_alarms_at_connect),
                cmocka_unit_test(test_order),
                cmocka_unit_test(test_withdraw_and_close),
        };
        return cmocka_run_group_tests(tests, setup, teardown);
}
