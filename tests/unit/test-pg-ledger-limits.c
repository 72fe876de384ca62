/* Claims: limits, waiting, batches. */

#include "pg-ledger.h"

#define DATABASE "ackd_test_ledger_limits"

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

/* --- 6: limits ---------------------------------------------------------------------------- */

static void test_host_limit(void **state) {
        (void)state;
        policy.host_restarts = 3;
        policy.host_period_us = 360 * (int64_t)MINUTE;
        static const LedgerState ends[] = {LEDGER_STATE_DONE, LEDGER_STATE_FAILED,
                                           LEDGER_STATE_NOT_STARTED, LEDGER_STATE_UNKNOWN,
                                           LEDGER_STATE_DONE};
        for (int i = 0; i < 5; i++) {
                finish_as(ours, start(ours, request(HOST, i)), ends[i]);
                pass("20 min");
        }
        const LedgerDecision *decision = claim(ours, request(HOST, 10));
        expect(decision, LEDGER_VERDICT_REJECT, LEDGER_REASON_HOST_LIMIT);
        assert_non_null(strstr(decision->detail, "3 restarts of this host in 06:00:00"));
        expect_sql("SELECT count(*) FROM restarts WHERE \"offset\" = 10", "0");
        start(ours, request("web2", 11));
        pass("4 h 30 min"); /* the first is out of the period */
        start(ours, request(HOST, 12));
}

static void test_group(void **state) {
        (void)state;
        LedgerGroup etcd = {"etcd-*", 1, 5 * (int64_t)MINUTE}, pairs = {"db-*", 2, 0};
        LedgerRequest one = request("etcd-1", 1), two = request("etcd-2", 2);
        one.group = two.group = &etcd;
        int64_t id = start(ours, one);
        const LedgerDecision *decision = claim(other, two);
        expect(decision, LEDGER_VERDICT_WAIT, LEDGER_REASON_GROUP);
        assert_string_equal(decision->detail, "1 of 1 of group etcd-* run");
        start(ours, request("web1", 3)); /* in no group */
        LedgerRequest db = request("db-1", 4);
        db.group = &pairs;
        start(ours, db);
        db.host = "db-2";
        db.offset = 5;
        start(ours, db);
        db.host = "db-3";
        db.offset = 6;
        expect(claim(ours, db), LEDGER_VERDICT_WAIT, LEDGER_REASON_GROUP);

        pass("1 min");
        finish_as(ours, id, LEDGER_STATE_DONE);
        decision = claim(other, two);
        expect(decision, LEDGER_VERDICT_WAIT, LEDGER_REASON_QUIET_TIME);
        assert_true(decision->again_us > 4 * (int64_t)MINUTE);
        assert_true(decision->again_us <= 5 * (int64_t)MINUTE);
        pass("4 min 50 s");
        expect(claim(other, two), LEDGER_VERDICT_WAIT, LEDGER_REASON_QUIET_TIME);
        pass("10 s");
        id = start(other, two);
        /* Surely without effect: nothing to be quiet after. */
        finish_as(other, id, LEDGER_STATE_NOT_STARTED);
        two.attempt = 2;
        start(other, two);
        /* Without an end it is quiet after the hold. */
        pass("5 min");
        LedgerRequest three = request("etcd-3", 7);
        three.group = &etcd;
        expect(claim(ours, three), LEDGER_VERDICT_WAIT, LEDGER_REASON_QUIET_TIME);
        expect(claim(ours, two), LEDGER_VERDICT_UNKNOWN, LEDGER_REASON_NONE);
        pass("2 min 6 s");
        start(ours, three);
}

static void test_fleet(void **state) {
        (void)state;
        policy.fleet = 3;
        int64_t ids[3];
        char *names[] = {"a", "b", "c", "d", "e"};
        for (int i = 0; i < 3; i++) {
                ids[i] = start(i == 1 ? other : ours, request(names[i], i));
        }
        const LedgerDecision *decision = claim(ours, request("d", 3));
        expect(decision, LEDGER_VERDICT_WAIT, LEDGER_REASON_FLEET);
        assert_string_equal(decision->detail, "3 of 3 run");
        assert_int_equal(decision->again_us, SECOND);
        finish_as(ours, ids[0], LEDGER_STATE_FAILED);
        ids[0] = start(ours, request("d", 3));
        /* An unknown counts until its hold ends, and no longer. */
        finish_as(ours, ids[0], LEDGER_STATE_UNKNOWN);
        act(other, (LedgerActed){.id = ids[1], .exit_status = 0});
        expect(claim(ours, request("e", 4)), LEDGER_VERDICT_WAIT, LEDGER_REASON_FLEET);
        pass("2 min 6 s");
        start(ours, request("e", 4));
        start(ours, request("f", 5));
        start(ours, request("g", 6));
        expect(claim(ours, request("h", 7)), LEDGER_VERDICT_WAIT, LEDGER_REASON_FLEET);
}

static void test_fuse(void **state) {
        (void)state;
        policy.fuse_restarts = 3;
        policy.fuse_period_us = 10 * (int64_t)MINUTE;
        static const LedgerState ends[] = {LEDGER_STATE_DONE, LEDGER_STATE_FAILED,
                                           LEDGER_STATE_NOT_STARTED, LEDGER_STATE_UNKNOWN};
        char *names[] = {"a", "b", "c", "d"};
        for (int i = 0; i < 4; i++) {
                finish_as(ours, start(ours, request(names[i], i)), ends[i]);
        }
        const LedgerDecision *decision = claim(ours, request("e", 4));
        expect(decision, LEDGER_VERDICT_WAIT, LEDGER_REASON_FUSE);
        assert_true(decision->fuse_blew);
        expect_sql("SELECT concat_ws(' ', pattern, who, why, fuse, until) FROM holds",
                   "* ackd (ours) the fuse: 3 restarts in 00:10:00 t");
        /* It stays, and is made once. */
        pass("1 h");
        decision = claim(other, request("f", 5));
        expect(decision, LEDGER_VERDICT_WAIT, LEDGER_REASON_FUSE);
        assert_false(decision->fuse_blew);
        expect_sql("SELECT count(*) FROM holds", "1");
}

static void test_fuse_counts_anew(void **state) {
        (void)state;
        policy.fuse_restarts = 2;
        policy.fuse_period_us = 10 * (int64_t)MINUTE;
        start(ours, request("a", 1));
        start(ours, request("b", 2));
        expect(claim(ours, request("c", 3)), LEDGER_VERDICT_WAIT, LEDGER_REASON_FUSE);
        pg_test_exec(test.sql, "UPDATE holds SET lifted_at = clock_timestamp(), lifted_by = 'jo'");
        start(ours, request("c", 3));
        start(ours, request("d", 4));
        const LedgerDecision *decision = claim(ours, request("e", 5));
        expect(decision, LEDGER_VERDICT_WAIT, LEDGER_REASON_FUSE);
        assert_true(decision->fuse_blew);
        expect_sql("SELECT count(*) FROM holds", "2");
        pg_test_exec(test.sql, "UPDATE holds SET lifted_at = now() WHERE lifted_at IS NULL");
        pass("11 min"); /* out of the period */
        pg_test_exec(test.sql, "TRUNCATE holds");
        start(ours, request("e", 5));
}

/* --- waiting ------------------------------------------------------------------------------ */

static void test_max_wait(void **state) {
        (void)state;
        policy.max_wait_us = 10 * (int64_t)MINUTE;
        policy.fleet = 1;
        int64_t id = start(ours, request("a", 1));
        LedgerRequest two = request("b", 2);
        two.received_us -= 9 * (int64_t)MINUTE + 59 * (int64_t)SECOND + 700 * 1000;
        const LedgerDecision *decision = claim(ours, two);
        expect(decision, LEDGER_VERDICT_WAIT, LEDGER_REASON_FLEET);
        assert_true(decision->again_us <= 300 * 1000); /* then it is over */
        two.received_us -= SECOND;
        decision = claim(ours, two);
        expect(decision, LEDGER_VERDICT_REJECT, LEDGER_REASON_WAITED_TOO_LONG);
        assert_non_null(strstr(decision->detail, "at last for: fleet (1 of 1 run)"));
        two.host = "a";
        expect(claim(ours, two), LEDGER_VERDICT_REJECT, LEDGER_REASON_WAITED_TOO_LONG);
        /* Its own restart is under way: that ends by itself, and is no wait for a turn. */
        LedgerRequest one = request("a", 1);
        one.received_us = two.received_us;
        expect(claim(other, one), LEDGER_VERDICT_WAIT, LEDGER_REASON_RUNNING);
        finish_as(ours, id, LEDGER_STATE_FAILED);
        pass("10 min");
        one.received_us = loop_wall(); /* the ledger knows better */
        one.attempt = 2;
        expect(claim(other, one), LEDGER_VERDICT_REJECT, LEDGER_REASON_WAITED_TOO_LONG);
        policy.max_wait_us = 0;
        expect(claim(other, one), LEDGER_VERDICT_WAIT, LEDGER_REASON_COOLDOWN);
        /* A receipt in the future is a clock that goes wrong. */
        policy.max_wait_us = 10 * (int64_t)MINUTE;
        two.host = "a";
        two.offset = 9;
        two.received_us = loop_wall() + 1000 * (int64_t)MINUTE;
        decision = claim(ours, two);
        expect(decision, LEDGER_VERDICT_WAIT, LEDGER_REASON_COOLDOWN);
        assert_true(decision->received_us <= loop_wall());
        assert_true(decision->again_us <= policy.max_wait_us);
}

/* What waits is asked again every few seconds: it leaves nothing behind. */
static void test_waiting_writes_nothing(void **state) {
        (void)state;
        policy.fleet = 1;
        start(ours, request("a", 1));
        LedgerRequest requests[] = {request("a", 2), request("b", 3), request("c", 4)};
        claim_many(ours, requests, 3);
        static const char versions[] =
                "SELECT string_agg(x, ' ') FROM (SELECT xmin::text || ctid x FROM restarts UNION "
                "ALL "
                "SELECT xmin::text || ctid FROM hosts UNION ALL SELECT xmin::text || ctid FROM "
                "fleet UNION ALL SELECT xmin::text || ctid FROM holds) y";
        char before[1024];
        snprintf(before, sizeof(before), "%.1000s", pg_test_value(test.sql, versions));
        for (int i = 0; i < 20; i++) {
                claim_many(ours, requests, 3);
                expect(&asked.decisions[0], LEDGER_VERDICT_WAIT, LEDGER_REASON_RUNNING);
                expect(&asked.decisions[2], LEDGER_VERDICT_WAIT, LEDGER_REASON_FLEET);
        }
        expect_sql(versions, before);
}

static void test_batch(void **state) {
        (void)state;
        enum { N = LEDGER_BATCH_MAX };
        static LedgerRequest requests[N];
        static char names[N][16];
        policy.fleet = 3;
        for (int i = 0; i < N; i++) {
                snprintf(names[i], sizeof(names[i]), "h%d", (N - 1 - i) / 2);
                requests[i] = request(names[i], i);
        }
        claim_many(ours, requests, N);
        int starts = 0;
        for (int i = 0; i < N; i++) {
                const LedgerDecision *decision = &asked.decisions[i];
                if (decision->verdict == LEDGER_VERDICT_START) {
                        starts++;
                        /* The first for a host in the order of asking; hosts by their names. */
                        assert_int_equal(i % 2, 0);
                        assert_true(strcmp(names[i], "h0") == 0 || strcmp(names[i], "h1") == 0 ||
                                    strcmp(names[i], "h10") == 0);
                        expect(&asked.decisions[i + 1], LEDGER_VERDICT_WAIT, LEDGER_REASON_RUNNING);
                }
        }
        assert_int_equal(starts, 3);
}

static const struct CMUnitTest tests[] = {
        TEST(test_host_limit),
        TEST(test_group),
        TEST(test_fleet),
        TEST(test_fuse),
        TEST(test_fuse_counts_anew),
        TEST(test_max_wait),
        TEST(test_waiting_writes_nothing),
        TEST(test_batch),
};

int main(void) {
        return cmocka_run_group_tests(tests, setup, teardown);
}
