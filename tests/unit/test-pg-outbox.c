/* The outbox of the dead-letter topic, against a real PostgreSQL. */

#include "test.h"

#include "core/feed.h"
#include "pg.h"
#include "pg/outbox.h"

#define DATABASE "ackd_test_outbox"

static PgTest test;
static Outbox *outbox;

static struct {
        int takes, marks;
        PgEnd end;
        char sqlstate[6];
        const OutboxRow *rows;
        size_t n, pending;
} answer;

static void on_taken(void *user, PgEnd end, const PgFailure *failure, const OutboxRow *rows,
                     size_t n) {
        (void)user;
        answer.takes++;
        answer.end = end;
        snprintf(answer.sqlstate, sizeof(answer.sqlstate), "%s", failure->sqlstate);
        answer.rows = rows;
        answer.n = n;
}

static void on_marked(void *user, PgEnd end, const PgFailure *failure, size_t pending) {
        (void)user;
        answer.marks++;
        answer.end = end;
        snprintf(answer.sqlstate, sizeof(answer.sqlstate), "%s", failure->sqlstate);
        answer.pending = pending;
}

static const OutboxEvents events = {.taken = on_taken, .marked = on_marked};

static int begin(void **state) {
        (void)state;
        pg_test_exec(test.sql,
                     "TRUNCATE rejected, partitions; INSERT INTO partitions (id, cluster_id, "
                     "group_id, topic, partition, next_offset, instance, created_at, updated_at) "
                     "OVERRIDING SYSTEM VALUE VALUES (1, 'c', 'g', 't', 0, 0, 'i', now(), now()), "
                     "(2, 'c', 'g', 't', 1, 0, 'i', now(), now()), "
                     "(3, 'c', 'other', 't', 0, 0, 'i', now(), now()), "
                     "(4, 'other', 'g', 't', 0, 0, 'i', now(), now())");
        pg_test_open_default(&test, 1, 10 * 1000 * 1000);
        memset(&answer, 0, sizeof(answer));
        return outbox_new(&outbox, test.pool, "ackd", &events, NULL);
}

static int end(void **state) {
        (void)state;
        pg_test_close(&test);
        outbox_free(outbox);
        return 0;
}

static bool is_idle(void *user) {
        return !outbox_is_busy(user);
}

static size_t take(size_t rows, size_t bytes) {
        OutboxTake what = {.cluster = "c",
                           .group = "g",
                           .rows = rows,
                           .bytes = bytes,
                           .lease_us = FEED_LEASE_US};
        int takes = answer.takes;
        assert_int_equal(outbox_take(outbox, &what), 0);
        assert_int_equal(answer.takes, takes); /* never synchronously */
        assert_true(outbox_is_busy(outbox));
        assert_true(pg_test_until(&test, is_idle, outbox));
        assert_int_equal(answer.takes, takes + 1);
        return answer.n;
}

static size_t mark(const OutboxMark *marks, size_t n) {
        assert_int_equal(outbox_mark(outbox, marks, n), 0);
        assert_true(pg_test_until(&test, is_idle, outbox));
        return answer.pending;
}

static void pending(int source, int from, int to) {
        char sql[256];
        snprintf(sql, sizeof(sql),
                 "INSERT INTO rejected (source, \"offset\", reason, value, outbox) SELECT %d, i, "
                 "'r', repeat('x', 100)::bytea, 'pending' FROM generate_series(%d, %d) i",
                 source, from, to);
        pg_test_exec(test.sql, sql);
}

static void test_all_of_a_row(void **state) {
        (void)state;
        pg_test_exec(test.sql,
                     "INSERT INTO rejected (source, \"offset\", key, value, headers, host, "
                     "handler, reason, detail, attempts, handlers_done, produced_at, rejected_at, "
                     "outbox) VALUES (2, 9000000000, '\\x006bff', '\\x00ff7b', "
                     "'[[\"a\", {\"base64\": \"AA==\"}]]', 'h', 'restart-host', 'failed', E'd\\t', "
                     "5, '{save,restart-host}', '2026-11-26 21:00Z', '2026-11-26 22:00:01Z', "
                     "'pending'), (1, 7, NULL, NULL, NULL, NULL, NULL, 'empty', NULL, 0, '{}', "
                     "NULL, '2026-11-26 22:00Z', 'pending')");
        assert_int_equal(take(64, 1000), 2);
        const OutboxRow *row = &answer.rows[0];
        assert_int_equal(row->source, 1);
        assert_int_equal(row->offset, 7);
        assert_null(row->key);
        assert_null(row->value);
        assert_null(row->headers);
        assert_null(row->host);
        assert_null(row->handler);
        assert_null(row->detail);
        assert_null(row->produced_at);
        assert_string_equal(row->handlers_done, "");
        assert_string_equal(row->reason, "empty");
        row = &answer.rows[1];
        assert_int_equal(row->source, 2);
        assert_true(row->offset == INT64_C(9000000000));
        assert_int_equal(row->key_size, 3);
        assert_memory_equal(row->key, "\0k\xff", 3);
        assert_int_equal(row->value_size, 3);
        assert_memory_equal(row->value, "\0\xff{", 3);
        assert_string_equal(row->headers, "[[\"a\", {\"base64\": \"AA==\"}]]");
        assert_int_equal(row->headers_size, strlen(row->headers));
        assert_string_equal(row->topic, "t");
        assert_string_equal(row->partition, "1");
        assert_string_equal(row->host, "h");
        assert_string_equal(row->handler, "restart-host");
        assert_string_equal(row->reason, "failed");
        assert_string_equal(row->detail, "d\t");
        assert_string_equal(row->attempts, "5");
        assert_string_equal(row->handlers_done, "save,restart-host");
        assert_string_equal(row->produced_at, "2026-11-26T21:00:00Z");
        assert_string_equal(row->rejected_at, "2026-11-26T22:00:01Z");
        assert_int_equal(row->tries, 1);
}

static void test_lease(void **state) {
        (void)state;
        pending(1, 1, 3);
        assert_int_equal(take(64, 1000), 3);
        assert_string_equal(pg_test_value(test.sql,
                                          "SELECT bool_and(outbox_after > now() + interval '50 s' "
                                          "AND outbox_after < now() + interval '61 s' AND "
                                          "outbox_attempts = 1 AND outbox = 'pending') FROM "
                                          "rejected"),
                            "t");
        assert_int_equal(take(64, 1000), 0);
        pg_test_exec(test.sql, "UPDATE rejected SET outbox_after = now() - interval '1 s' WHERE "
                               "\"offset\" = 2");
        assert_int_equal(take(64, 1000), 1);
        assert_int_equal(answer.rows[0].offset, 2);
        assert_int_equal(answer.rows[0].tries, 2);
}

static void test_bounds(void **state) {
        (void)state;
        pending(1, 1, 10);
        assert_int_equal(take(4, 100000), 4);
        assert_int_equal(take(64, 350), 3); /* of 100 bytes each */
        assert_int_equal(take(64, 10), 1);  /* one that is larger by itself */
        assert_int_equal(take(64, 1000), 2);
        assert_int_equal(take(64, 1000), 0);
        assert_string_equal(pg_test_value(test.sql, "SELECT sum(outbox_attempts) FROM rejected"),
                            "10");
}

static void test_others_rows(void **state) {
        (void)state;
        pending(3, 1, 2);
        pending(4, 1, 2);
        pg_test_exec(test.sql, "INSERT INTO rejected (source, \"offset\", reason, outbox) VALUES "
                               "(1, 1, 'r', 'none'), (1, 2, 'r', 'sent')");
        assert_int_equal(take(64, 1000), 0);
        assert_int_equal(answer.end, PG_OK);
        pending(2, 5, 5);
        assert_int_equal(take(64, 1000), 1);
}

/* Somebody else is at a row: it is left to him, nobody waits. */
static void test_locked(void **state) {
        (void)state;
        pending(1, 1, 3);
        pg_test_exec(test.sql, "BEGIN; SELECT 1 FROM rejected WHERE \"offset\" = 2 FOR UPDATE");
        assert_int_equal(take(64, 1000), 2);
        assert_int_equal(answer.rows[0].offset, 1);
        assert_int_equal(answer.rows[1].offset, 3);
        pg_test_exec(test.sql, "COMMIT");
        assert_int_equal(take(64, 1000), 1);
}

static void test_mark(void **state) {
        (void)state;
        pending(1, 1, 4);
        assert_int_equal(take(64, 1000), 4);
        const OutboxMark marks[] = {{.source = 1, .offset = 1},
                                    {.source = 1, .offset = 2, .error = "it's \\ no", 5000000},
                                    {.source = 1, .offset = 3},
                                    {.source = 9, .offset = 3}};
        assert_int_equal(mark(marks, 4), 2);
        assert_int_equal(answer.end, PG_OK);
        assert_string_equal(
                pg_test_value(test.sql,
                              "SELECT string_agg(\"offset\" || outbox || coalesce(outbox_error, "
                              "'-') || (dead_lettered_at IS NOT NULL) || (outbox_after IS NULL), "
                              "' ' ORDER BY \"offset\") FROM rejected"),
                "1sent-truetrue 2pendingit's \\ nofalsefalse 3sent-truetrue 4pending-falsefalse");
        assert_string_equal(pg_test_value(test.sql, "SELECT outbox_after BETWEEN now() + interval "
                                                    "'3 s' AND now() + interval '5 s' FROM "
                                                    "rejected WHERE \"offset\" = 2"),
                            "t");
        /* Again, after an answer that was lost: nothing changes. */
        pg_test_exec(test.sql, "UPDATE rejected SET dead_lettered_at = '2026-01-01Z' WHERE "
                               "\"offset\" = 1");
        assert_int_equal(mark(marks, 1), 2);
        assert_string_equal(pg_test_value(test.sql,
                                          "SELECT dead_lettered_at = '2026-01-01Z' FROM rejected "
                                          "WHERE \"offset\" = 1"),
                            "t");
        /* And one that failed before arrives: its error goes. */
        assert_int_equal(mark(&(OutboxMark){.source = 1, .offset = 2}, 1), 1);
        assert_string_equal(pg_test_value(test.sql, "SELECT count(*) FROM rejected WHERE "
                                                    "outbox_error IS NOT NULL"),
                            "0");
}

/* A person's transaction holds a row: the connection is not given away to wait for it. */
static void test_mark_of_a_locked_row(void **state) {
        (void)state;
        pending(1, 1, 1);
        assert_int_equal(take(64, 1000), 1);
        pg_test_exec(test.sql, "BEGIN; SELECT 1 FROM rejected FOR UPDATE");
        mark(&(OutboxMark){.source = 1, .offset = 1}, 1);
        assert_int_equal(answer.end, PG_REFUSED);
        assert_string_equal(answer.sqlstate, "55P03");
        pg_test_exec(test.sql, "COMMIT");
        assert_int_equal(mark(&(OutboxMark){.source = 1, .offset = 1}, 1), 0);
        /* The setting was that statement's alone. */
        PgTestOperation o;
        assert_true(pg_test_run(&test, &o, "SHOW lock_timeout"));
        assert_string_equal(o.value, "5s");
}

static void test_cannot_be_read(void **state) {
        (void)state;
        pg_test_exec(test.sql, "ALTER TABLE rejected RENAME TO other");
        assert_int_equal(take(64, 1000), 0);
        assert_int_equal(answer.end, PG_REFUSED);
        assert_string_equal(answer.sqlstate, "42P01");
        pg_test_exec(test.sql, "ALTER TABLE other RENAME TO rejected");
}

static void test_withdraw_and_the_end(void **state) {
        (void)state;
        OutboxTake what = {.cluster = "c", .group = "g", .rows = 1, .bytes = 1, .lease_us = 1};
        assert_false(outbox_withdraw(outbox));
        assert_int_equal(outbox_take(outbox, &what), 0);
        assert_true(outbox_withdraw(outbox));
        assert_false(outbox_is_busy(outbox));
        PgTestOperation o;
        assert_true(pg_test_run(&test, &o, "SELECT 1"));
        assert_int_equal(answer.takes, 0);
        assert_int_equal(outbox_take(outbox, &what), 0);
        pg_pool_free(test.pool);
        test.pool = NULL;
        assert_int_equal(answer.takes, 1);
        assert_int_equal(answer.end, PG_DROPPED);
        assert_int_equal(answer.n, 0);
}

/* With many that wait, only what is taken is looked at: the index gives it in its order. */
static void test_plan(void **state) {
        (void)state;
        pending(1, 1, 20000);
        pg_test_exec(test.sql, "UPDATE rejected SET outbox_after = now() + interval '1 h' WHERE "
                               "\"offset\" <= 19990");
        pg_test_exec(test.sql, "ANALYZE rejected; SELECT pg_stat_force_next_flush()");
        const char *reads = "SELECT sum(seq_tup_read) FROM pg_stat_user_tables WHERE relname = "
                            "'rejected'";
        char before[4096];
        snprintf(before, sizeof(before), "%s", pg_test_value(test.sql, reads));
        assert_int_equal(take(64, 100000), 10);
        PgTestOperation o;
        assert_true(pg_test_run(&test, &o, "SELECT pg_stat_force_next_flush()"));
        assert_string_equal(pg_test_value(test.sql, reads), before);
}

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

#define OUTBOX(function) cmocka_unit_test_setup_teardown(function, begin, end)

int main(void) {
        const struct CMUnitTest tests[] = {
                OUTBOX(test_all_of_a_row),
                OUTBOX(test_lease),
                OUTBOX(test_bounds),
                OUTBOX(test_others_rows),
                OUTBOX(test_locked),
                OUTBOX(test_mark),
                OUTBOX(test_mark_of_a_locked_row),
                OUTBOX(test_cannot_be_read),
                OUTBOX(test_withdraw_and_the_end),
                OUTBOX(test_plan),
        };
        return cmocka_run_group_tests(tests, setup, teardown);
}
