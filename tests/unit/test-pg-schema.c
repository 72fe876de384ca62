#include "test.h"

#include <pthread.h>

#include "pg.h"

#define DATABASE "ackd_test_schema"
#define VERSION  "2" /* SCHEMA_VERSION */

enum {
        THREADS = 8,
};

static PgTest test;

static int setup(void **state) {
        (void)state;
        pg_test_init(&test, DATABASE);
        return 0;
}

static int teardown(void **state) {
        (void)state;
        pg_test_deinit(&test, DATABASE);
        return 0;
}

static void test_names(void **state) {
        (void)state;
        static const char *const good[] = {"ackd", "_a", "Ackd2", "a"};
        static const char *const bad[] = {
                "",
                "2a",
                "a-b",
                "a b",
                "a\"b",
                "a'b",
                "pg_x",
                "PG_x",
                "a.b",
                "\xc3\xa4",
                "a;b",
                "a@",
                "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"};
        for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
                assert_true(schema_name_is_valid(good[i]));
        }
        for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
                assert_false(schema_name_is_valid(bad[i]));
        }
}

static void test_sql(void **state) {
        (void)state;
        Buffer sql = BUFFER_INIT;
        assert_int_equal(schema_sql("no-name", NULL, &sql), SCHEMA_E_NAME);
        assert_int_equal(sql.size, 0);
        assert_int_equal(schema_sql("Mine", NULL, &sql), 0);
        const char *text = buffer_string(&sql);
        assert_non_null(strstr(text, "CREATE SCHEMA \"Mine\";"));
        assert_null(strstr(text, "@schema@"));
        assert_null(strstr(text, "@version@"));
        assert_null(strstr(text, "@name@"));
        assert_null(strstr(text, "@months@"));
        assert_null(strstr(text, "@ledger@"));
        assert_non_null(strstr(text, "CREATE TABLE IF NOT EXISTS restarts"));
        assert_non_null(strstr(text, "COMMIT;"));
        buffer_deinit(&sql);
}

static void test_twice_and_two_schemas(void **state) {
        (void)state;
        char *error = NULL;
        pg_test_exec(test.sql, "INSERT INTO partitions (cluster_id, group_id, topic, partition, "
                               "next_offset, instance, created_at, updated_at) "
                               "VALUES ('c', 'g', 'kept', 0, 5, 'i', now(), now())");
        assert_int_equal(schema_init(test.dsn, NULL, "ackd", NULL, &error), 0);
        assert_int_equal(schema_init(test.dsn, NULL, "Other", NULL, &error), 0);
        assert_int_equal(schema_init(test.dsn, NULL, "Other", NULL, &error), 0);
        assert_string_equal(
                pg_test_value(test.sql, "SELECT next_offset FROM partitions WHERE topic = 'kept'"),
                "5");
        assert_string_equal(pg_test_value(test.sql, "SELECT count(*) FROM \"Other\".partitions"),
                            "0");
        assert_string_equal(pg_test_value(test.sql, "SELECT version FROM schema_version"), VERSION);
        assert_int_equal(schema_init(test.dsn, NULL, "a-b", NULL, &error), SCHEMA_E_NAME);
        assert_non_null(strstr(error, "identifier"));
        free(error);
}

/* Version 1 had no ledger; what it saved stays. */
static void test_upgrade(void **state) {
        (void)state;
        char *error = NULL;
        static const char count[] =
                "SELECT count(*) FROM pg_class c JOIN pg_namespace n ON n.oid = "
                "c.relnamespace WHERE nspname = 'ackd' AND relkind IN ('r', 'i')";
        int fresh = atoi(pg_test_value(test.sql, count));
        pg_test_exec(test.sql,
                     "DROP FUNCTION claim, acted, finish, settle, limit_against, suppression, "
                     "first_receipts, lock_host, holder_text, utc_text, glob_matches; DROP TABLE "
                     "restarts, hosts, holds, fleet; UPDATE schema_version SET version = 1; "
                     "INSERT INTO messages (source, \"offset\", payload, received_at) "
                     "VALUES (1, 1, '{}', now())");
        for (int i = 0; i < 2; i++) {
                assert_int_equal(schema_init(test.dsn, NULL, "ackd", NULL, &error), 0);
                assert_string_equal(pg_test_value(test.sql, "SELECT version FROM schema_version"),
                                    VERSION);
                assert_int_equal(atoi(pg_test_value(test.sql, count)), fresh);
                assert_string_equal(pg_test_value(test.sql, "SELECT count(*) FROM messages"), "1");
                assert_string_equal(pg_test_value(test.sql, "SELECT count(*) FROM fleet"), "1");
        }
        /* What it brought is used: a row stays at the next init-db. */
        pg_test_exec(test.sql, "SELECT lock_host('kept.example.com')");
        assert_int_equal(schema_init(test.dsn, NULL, "ackd", NULL, &error), 0);
        assert_string_equal(pg_test_value(test.sql, "SELECT host FROM hosts"), "kept.example.com");
        pg_test_exec(test.sql, "TRUNCATE messages, hosts");
        /* Version 2 as it was before it was released: nobody was told of holds. */
        static const char tells[] =
                "SELECT count(*) FROM pg_trigger WHERE tgrelid = 'holds'::regclass";
        pg_test_exec(test.sql, "DROP FUNCTION tell_holds CASCADE");
        assert_string_equal(pg_test_value(test.sql, tells), "0");
        assert_int_equal(schema_init(test.dsn, NULL, "ackd", NULL, &error), 0);
        assert_string_equal(pg_test_value(test.sql, tells), "1");
}

/* Whoever looks with psql finds an explanation of every table and of what is not plain. */
static void test_comments(void **state) {
        (void)state;
        assert_string_equal(pg_test_value(test.sql,
                                          "SELECT count(*) FROM unnest(ARRAY['restarts', 'hosts', "
                                          "'holds', 'fleet']) t WHERE obj_description(t::regclass, "
                                          "'pg_class') IS NULL"),
                            "0");
        assert_string_equal(
                pg_test_value(test.sql, "SELECT col_description('restarts'::regclass, attnum) FROM "
                                        "pg_attribute WHERE attrelid = 'restarts'::regclass AND "
                                        "attname = 'held_until'"),
                "until then nobody else may restart the host, unless it ends before");
}

static void *init_in_thread(void *user) {
        (void)user;
        char *error = NULL;
        int r = schema_init(test.dsn, NULL, "together", NULL, &error);
        return r == 0 ? NULL : error;
}

static void test_many_at_once(void **state) {
        (void)state;
        pthread_t threads[THREADS];
        for (int i = 0; i < THREADS; i++) {
                assert_int_equal(pthread_create(&threads[i], NULL, init_in_thread, NULL), 0);
        }
        for (int i = 0; i < THREADS; i++) {
                void *error;
                pthread_join(threads[i], &error);
                assert_null(error);
        }
}

static void test_refusals(void **state) {
        (void)state;
        char dsn[512];
        char *error = NULL;
        pg_test_make_database(DATABASE "_ascii",
                              "TEMPLATE template0 ENCODING 'SQL_ASCII' LC_COLLATE 'C' LC_CTYPE 'C'",
                              dsn, sizeof(dsn));
        assert_int_equal(schema_init(dsn, NULL, "ackd", NULL, &error), SCHEMA_E_REFUSED);
        assert_non_null(strstr(error, "SQL_ASCII"));
        assert_non_null(strstr(error, "createdb --encoding=UTF8"));
        free(error);
        PGconn *sql = pg_test_connect(dsn);
        assert_string_equal(pg_test_value(sql, "SELECT to_regnamespace('ackd')"), "NULL");
        PQfinish(sql);
        pg_test_drop_database(DATABASE "_ascii");

        pg_test_exec(test.sql, "UPDATE schema_version SET version = 99");
        assert_int_equal(schema_init(test.dsn, NULL, "ackd", NULL, &error), SCHEMA_E_REFUSED);
        assert_non_null(strstr(error, "version 99"));
        free(error);
        pg_test_exec(test.sql, "UPDATE schema_version SET version = " VERSION);

        assert_int_equal(schema_init("host=/nowhere", NULL, "ackd", NULL, &error),
                         SCHEMA_E_CONNECT);
        assert_non_null(strstr(error, "/nowhere"));
        free(error);
}

static void test_right_is_missing(void **state) {
        (void)state;
        char dsn[600];
        char *error = NULL;
        pg_test_exec(test.sql, "DROP ROLE IF EXISTS ackd_test_nobody; "
                               "CREATE ROLE ackd_test_nobody LOGIN");
        snprintf(dsn, sizeof(dsn), "%s user=ackd_test_nobody", test.dsn);
        assert_int_equal(schema_init(dsn, NULL, "fresh", NULL, &error), SCHEMA_E_REFUSED);
        assert_non_null(strstr(error, "permission denied"));
        assert_non_null(strstr(error, "owner"));
        free(error);
        pg_test_exec(test.sql, "DROP ROLE ackd_test_nobody");
}

/* --- monthly partitions ------------------------------------------------------------------- */

static const char count_sql[] =
        "SELECT count(*) FROM pg_inherits WHERE inhparent = 'ackd.messages'::regclass";

static void test_partitions(void **state) {
        (void)state;
        /* Last month, this one, three ahead. */
        assert_string_equal(pg_test_value(test.sql, count_sql), "5");
        assert_string_equal(pg_test_value(test.sql, "SELECT make_partitions(3)"), "0");
        assert_string_equal(pg_test_value(test.sql, "SELECT make_partitions(5)"), "2");
        assert_string_equal(pg_test_value(test.sql, count_sql), "7");
        /* No gap between them, whatever the session's time zone is. */
        pg_test_exec(test.sql, "SET timezone = 'Pacific/Auckland'");
        assert_string_equal(pg_test_value(test.sql, "SELECT make_partitions(6)"), "1");
        pg_test_exec(test.sql,
                     "INSERT INTO messages (source, \"offset\", payload, received_at) "
                     "SELECT 0, 0, '{}', date_trunc('month', now() AT TIME ZONE 'UTC') AT TIME "
                     "ZONE 'UTC' + make_interval(months => m) + s * interval '1 microsecond' "
                     "FROM generate_series(0, 6) m, unnest(ARRAY[-1, 0, 1]) s");
        pg_test_exec(test.sql, "TRUNCATE messages; RESET timezone");
        char sqlstate[6];
        assert_string_equal(pg_test_sqlstate(test.sql, "SELECT make_partitions(-1)", sqlstate),
                            "AK003");
        assert_string_equal(pg_test_sqlstate(test.sql, "SELECT make_partitions(1000000)", sqlstate),
                            "AK003");
}

static void *partitions_in_thread(void *user) {
        (void)user;
        PGconn *sql = pg_test_connect(test.dsn);
        int made = atoi(pg_test_value(sql, "SELECT 0 * count(*) FROM pg_class"));
        char value[6];
        PGresult *result = PQexec(sql, "SELECT ackd.make_partitions(40)");
        if (PQresultStatus(result) == PGRES_TUPLES_OK) {
                snprintf(value, sizeof(value), "%s", PQgetvalue(result, 0, 0));
                made = atoi(value);
        } else {
                fprintf(stderr, "%s", PQerrorMessage(sql));
                made = -1000;
        }
        PQclear(result);
        PQfinish(sql);
        return (void *)(intptr_t)made;
}

static void test_partitions_by_many(void **state) {
        (void)state;
        pthread_t threads[THREADS];
        int before = atoi(pg_test_value(test.sql, count_sql));
        int made = 0;
        for (int i = 0; i < THREADS; i++) {
                assert_int_equal(pthread_create(&threads[i], NULL, partitions_in_thread, NULL), 0);
        }
        for (int i = 0; i < THREADS; i++) {
                void *one;
                pthread_join(threads[i], &one);
                made += (int)(intptr_t)one;
        }
        assert_int_equal(made, 42 - before);
        assert_string_equal(pg_test_value(test.sql, count_sql), "42");
}

/* A daemon that is frozen in the middle of a COPY holds up neither new partitions nor init-db. */
static void test_partitions_beside_a_copy(void **state) {
        (void)state;
        char *error = NULL;
        PGconn *frozen = pg_test_connect(test.dsn);
        PGresult *result = PQexec(frozen, "COPY ackd.messages (source, \"offset\", payload, "
                                          "received_at) FROM STDIN");
        assert_int_equal(PQresultStatus(result), PGRES_COPY_IN);
        PQclear(result);
        const char row[] = "1\t1\t{}\tnow\n";
        assert_int_equal(PQputCopyData(frozen, row, sizeof(row) - 1), 1);
        assert_int_equal(PQflush(frozen), 0);
        pg_test_exec(test.sql, "SET lock_timeout = '3s'");
        assert_string_equal(pg_test_value(test.sql, "SELECT make_partitions(41)"), "1");
        int64_t began = loop_now();
        assert_int_equal(schema_init(test.dsn, NULL, "ackd", NULL, &error), 0);
        assert_true(loop_now() - began < 10 * 1000 * 1000);
        PQfinish(frozen);
}

/* A role without the right to make tables makes partitions all the same, and no more. */
static void test_partitions_by_another_role(void **state) {
        (void)state;
        pg_test_exec(test.sql, "SET ROLE " DATABASE "_run");
        char sqlstate[6];
        assert_string_equal(pg_test_sqlstate(test.sql, "CREATE TABLE ackd.x ()", sqlstate),
                            "42501");
        assert_string_equal(pg_test_value(test.sql, "SELECT make_partitions(42)"), "1");
        pg_test_exec(test.sql, "INSERT INTO messages (source, \"offset\", payload, received_at) "
                               "VALUES (1, 1, '{}', now() + interval '42 months')");
        pg_test_exec(test.sql, "SELECT adopt('c', 'g', 'role', 0, 0, 'i')");
        pg_test_exec(test.sql, "SELECT move_fence(ARRAY[id], '{0}', '{1}') FROM partitions WHERE "
                               "topic = 'role'");
        pg_test_exec(test.sql,
                     "SELECT claim('{1}', '{1}', '{1}', '{h}', '{NULL}', '{NULL}', '{now}', "
                     "'{false}', '{NULL}', '{NULL}', '{NULL}', '{NULL}', '{0}', '{0}', "
                     "gen_random_uuid(), 'i', "
                     "'exec', '0', '0', '0', '5 s', '5 s', 0, '0', 1, 1, '1 s')");
        pg_test_exec(test.sql, "RESET ROLE; TRUNCATE messages, hosts, restarts");
}

/* --- fences ------------------------------------------------------------------------------- */

static int new_source(const char *topic, int partition, int next) {
        char sql[256];
        snprintf(sql, sizeof(sql), "SELECT adopt('c', 'g', '%s', %d, %d, 'i')", topic, partition,
                 next);
        return atoi(pg_test_value(test.sql, sql));
}

static int fence(int source) {
        char sql[128];
        snprintf(sql, sizeof(sql), "SELECT next_offset FROM partitions WHERE id = %d", source);
        return atoi(pg_test_value(test.sql, sql));
}

static const char *move(int a, int b, int expected_a, int expected_b) {
        static char sqlstate[6];
        char sql[256];
        snprintf(sql, sizeof(sql), "SELECT move_fence('{%d,%d}', '{%d,%d}', '{%d,%d}')", a, b,
                 expected_a, expected_b, expected_a + 10, expected_b + 10);
        return pg_test_sqlstate(test.sql, sql, sqlstate);
}

static void test_fences(void **state) {
        (void)state;
        int a = new_source("fences", 0, 100), b = new_source("fences", 1, 200);
        assert_string_equal(move(a, b, 100, 200), "");
        assert_int_equal(fence(a), 110);
        assert_int_equal(fence(b), 210);
        /* Either both or none, whichever of them is wrong, in either order. */
        assert_string_equal(move(a, b, 110, 200), "AK001");
        assert_string_equal(move(a, b, 100, 210), "AK001");
        assert_string_equal(move(b, a, 210, 100), "AK001");
        assert_string_equal(move(a, a, 110, 110), "AK001");
        assert_string_equal(move(a, 0, 110, 0), "AK001");
        assert_int_equal(fence(a), 110);
        assert_int_equal(fence(b), 210);
        assert_string_equal(move(b, a, 210, 110), "");
        pg_test_exec(test.sql, "UPDATE partitions SET retired_at = now() WHERE topic = 'fences' "
                               "AND partition = 1");
        assert_string_equal(move(a, b, 120, 220), "AK001");
        assert_int_equal(fence(a), 120);
}

static void test_fence_misuse(void **state) {
        (void)state;
        char sqlstate[6];
        int a = new_source("misuse", 0, 5);
        assert_int_not_equal(a, 0);
        static const char *const calls[] = {"SELECT move_fence('{1}', '{1,2}', '{1}')",
                                            "SELECT move_fence('{}', '{}', '{}')",
                                            "SELECT move_fence(NULL, NULL, NULL)",
                                            "SELECT move_fence('{1}', '{NULL}', '{1}')",
                                            "SELECT move_fence('{1}', '{5}', '{4}')"};
        for (size_t i = 0; i < sizeof(calls) / sizeof(calls[0]); i++) {
                assert_string_equal(pg_test_sqlstate(test.sql, calls[i], sqlstate), "AK003");
        }
}

static void test_adopt(void **state) {
        (void)state;
        int a = new_source("adopt", 0, 7);
        assert_int_equal(fence(a), 7);
        /* There is a live one. */
        assert_string_equal(pg_test_value(test.sql,
                                          "SELECT adopt('c', 'g', 'adopt', 0, 9, 'other')"),
                            "NULL");
        assert_int_equal(fence(a), 7);
        pg_test_exec(test.sql, "UPDATE partitions SET retired_at = now() WHERE topic = 'adopt'");
        assert_int_not_equal(new_source("adopt", 0, 9), a);
        /* Another cluster or group is another source. */
        assert_string_not_equal(pg_test_value(test.sql, "SELECT adopt('d','g','adopt',0,0,'i')"),
                                "NULL");
        assert_string_not_equal(pg_test_value(test.sql, "SELECT adopt('c','h','adopt',0,0,'i')"),
                                "NULL");
}

/* --- what a daemon asks ------------------------------------------------------------------- */

typedef struct Answer {
        int n;
        SchemaEnd end;
        char why[512];
} Answer;

static void on_answer(void *user, SchemaEnd end, const char *why) {
        Answer *answer = user;
        answer->n++;
        answer->end = end;
        snprintf(answer->why, sizeof(answer->why), "%s", why != NULL ? why : "");
}

static bool is_answered(void *user) {
        return ((Answer *)user)->n > 0;
}

static void check(const char *schema, Answer *answer) {
        *answer = (Answer){0};
        assert_int_equal(schema_check(test.pool, schema, on_answer, answer), 0);
        assert_int_equal(answer->n, 0);
        assert_true(pg_test_until(&test, is_answered, answer));
        assert_int_equal(answer->n, 1);
}

static void test_check(void **state) {
        (void)state;
        Answer answer;
        pg_test_open_default(&test, 1, 30 * 1000 * 1000);
        check("ackd", &answer);
        assert_int_equal(answer.end, SCHEMA_OK);
        check("missing", &answer);
        assert_int_equal(answer.end, SCHEMA_WRONG);
        assert_non_null(strstr(answer.why, "run: ackd init-db"));
        pg_test_exec(test.sql, "UPDATE schema_version SET version = 0");
        check("ackd", &answer);
        assert_int_equal(answer.end, SCHEMA_OLD);
        assert_non_null(strstr(answer.why, "run: ackd init-db"));
        pg_test_exec(test.sql, "UPDATE schema_version SET version = 7");
        check("ackd", &answer);
        assert_int_equal(answer.end, SCHEMA_NEWER);
        assert_non_null(strstr(answer.why, "newer"));
        pg_test_exec(test.sql, "UPDATE schema_version SET version = " VERSION);
        assert_int_equal(schema_check(test.pool, "a-b", on_answer, &answer), SCHEMA_E_NAME);

        answer = (Answer){0};
        assert_int_equal(schema_make_partitions(test.pool, "ackd", on_answer, &answer), 0);
        assert_true(pg_test_until(&test, is_answered, &answer));
        assert_int_equal(answer.end, SCHEMA_OK);

        /* What is open when the pool closes is answered. */
        answer = (Answer){0};
        assert_int_equal(schema_check(test.pool, "ackd", on_answer, &answer), 0);
        pg_test_close(&test);
        assert_int_equal(answer.n, 1);
        assert_int_equal(answer.end, SCHEMA_OUTAGE);
}

/* Which right on what, whose, and what gives it. */
static void test_check_of_rights(void **state) {
        (void)state;
        Answer answer;
        pg_test_open_default(&test, 1, 30 * 1000 * 1000);
        pg_test_exec(test.sql, "REVOKE EXECUTE ON FUNCTION claim FROM " DATABASE "_run");
        check("ackd", &answer);
        assert_int_equal(answer.end, SCHEMA_FORBIDDEN);
        assert_string_equal(answer.why, "role \"" DATABASE "_daemon\" lacks EXECUTE on function "
                                        "ackd.claim; run: ackd init-db");
        pg_test_exec(test.sql, "REVOKE " DATABASE "_run FROM " DATABASE "_daemon");
        check("ackd", &answer);
        assert_int_equal(answer.end, SCHEMA_FORBIDDEN);
        assert_non_null(strstr(answer.why, "lacks USAGE on schema ackd, "));
        assert_non_null(strstr(answer.why, "GRANT " DATABASE "_run TO " DATABASE "_daemon"));
        pg_test_exec(test.sql, "GRANT " DATABASE "_run TO " DATABASE "_daemon; "
                               "GRANT EXECUTE ON FUNCTION claim TO " DATABASE "_run");
        check("ackd", &answer);
        assert_int_equal(answer.end, SCHEMA_OK);
        pg_test_close(&test);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_names),
                cmocka_unit_test(test_sql),
                cmocka_unit_test(test_twice_and_two_schemas),
                cmocka_unit_test(test_upgrade),
                cmocka_unit_test(test_comments),
                cmocka_unit_test(test_many_at_once),
                cmocka_unit_test(test_refusals),
                cmocka_unit_test(test_right_is_missing),
                cmocka_unit_test(test_partitions),
                cmocka_unit_test(test_partitions_by_many),
                cmocka_unit_test(test_partitions_beside_a_copy),
                cmocka_unit_test(test_partitions_by_another_role),
                cmocka_unit_test(test_fences),
                cmocka_unit_test(test_fence_misuse),
                cmocka_unit_test(test_adopt),
                cmocka_unit_test(test_check),
                cmocka_unit_test(test_check_of_rights),
        };
        return cmocka_run_group_tests(tests, setup, teardown);
}
