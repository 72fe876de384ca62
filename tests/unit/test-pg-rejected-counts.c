/* The counts of the table rejected, as a daemon reads them. */

#include "test.h"

#include "pg.h"
#include "pg/rejected_counts.h"

#define DATABASE "ackd_test_rejected_counts"

static PgTest test;
static RejectedCounter counter;
static int readings;

static void on_changed(void *user) {
        (void)user;
        readings++;
}

static int begin(void **state) {
        (void)state;
        pg_test_exec(test.sql, "TRUNCATE rejected");
        pg_test_open_default(&test, 1, 10 * 1000 * 1000);
        readings = 0;
        rejected_counter_init(&counter, &test.loop, NULL, "ackd", on_changed, NULL);
        return 0;
}

static int end(void **state) {
        (void)state;
        rejected_counter_stop(&counter);
        pg_test_close(&test);
        return 0;
}

static bool has_read(void *user) {
        return readings >= *(int *)user;
}

static const RejectedCounts *read_again(void) {
        int next = readings + 1;
        if (counter.began) {
                rejected_counter_wake(&counter);
        } else {
                rejected_counter_start(&counter, test.pool);
        }
        assert_true(pg_test_until(&test, has_read, &next));
        assert_false(counter.asking);
        assert_true(loop_timer_is_set(&counter.timer));
        return &counter.counts;
}

static void test_counts(void **state) {
        (void)state;
        const RejectedCounts *counts = read_again();
        assert_int_equal(counts->open + counts->unknown + counts->outbox_pending, 0);
        assert_true(counts->as_of_us > 0);
        assert_string_equal(counts->outbox_error, "");
        pg_test_exec(test.sql,
                     "INSERT INTO rejected (source, \"offset\", reason, outbox, outbox_after, "
                     "outbox_error, replayed_at, dropped_at) VALUES "
                     "(1, 1, 'unknown', 'none', NULL, NULL, NULL, NULL), "
                     "(1, 2, 'unknown', 'pending', now(), 'earlier', now(), NULL), "
                     "(1, 3, 'unknown', 'sent', NULL, NULL, NULL, now()), "
                     "(1, 4, 'not_json', 'pending', now() + interval '1 s', 'later', NULL, NULL), "
                     "(1, 5, 'not_json', 'pending', NULL, NULL, NULL, NULL), "
                     "(1, 6, 'failed', 'sent', NULL, 'of old', now(), now())");
        counts = read_again();
        assert_int_equal(counts->open, 3);
        assert_int_equal(counts->unknown, 1);
        assert_int_equal(counts->outbox_pending, 3);
        assert_string_equal(counts->outbox_error, "later");
        assert_false(counts->capped);
}

/* Each look ends at its bound. */
static void test_bounded(void **state) {
        (void)state;
        pg_test_exec(test.sql, "INSERT INTO rejected (source, \"offset\", reason, dropped_at) "
                               "SELECT 1, i, 'unknown', now() FROM generate_series(1, 20000) i");
        pg_test_exec(test.sql,
                     "INSERT INTO rejected (source, \"offset\", reason, outbox) "
                     "SELECT 2, i, 'not_json', 'pending' FROM generate_series(1, 10500) i");
        const RejectedCounts *counts = read_again();
        assert_int_equal(counts->open, REJECTED_COUNTED_MAX);
        assert_int_equal(counts->unknown, 0);
        assert_int_equal(counts->outbox_pending, REJECTED_COUNTED_MAX);
        assert_true(counts->capped);
        pg_test_exec(test.sql, "DELETE FROM rejected WHERE source = 2");
        assert_false(read_again()->capped);
}

/* What happens while it is read is read after it. */
static void test_wake_while_asking(void **state) {
        (void)state;
        int first = readings + 1;
        read_again();
        PgTestOperation o;
        pg_test_operation_init(&o, "SELECT pg_sleep(0.2)");
        pg_pool_submit(test.pool, &o.operation, false);
        rejected_counter_wake(&counter);
        rejected_counter_wake(&counter);
        int second = first + 1;
        assert_true(pg_test_until(&test, has_read, &second));
        counter.asking = true;
        rejected_counter_wake(&counter);
        assert_true(counter.again);
        counter.asking = false;
        counter.again = false;
}

static bool is_said(void *user) {
        (void)user;
        return captured.n > 0;
}

static void test_cannot_be_read(void **state) {
        (void)state;
        read_again();
        captured.n = 0;
        pg_test_exec(test.sql, "ALTER TABLE rejected RENAME TO other");
        rejected_counter_wake(&counter);
        assert_true(pg_test_until(&test, is_said, NULL));
        assert_string_equal(captured.lines[0].event, "rejected.uncounted");
        assert_non_null(strstr(captured.lines[0].text, "ackd init-db"));
        pg_test_exec(test.sql, "ALTER TABLE other RENAME TO rejected");
        int before = readings;
        read_again();
        assert_int_equal(readings, before + 1);
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

#define COUNT(function) cmocka_unit_test_setup_teardown(function, begin, end)

int main(void) {
        const struct CMUnitTest tests[] = {
                COUNT(test_counts),
                COUNT(test_bounded),
                COUNT(test_wake_while_asking),
                COUNT(test_cannot_be_read),
        };
        return cmocka_run_group_tests(tests, setup, teardown);
}
