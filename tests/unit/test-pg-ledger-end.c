/* How restarts end: acted, finish, messages that shared; and what the layer says when PostgreSQL
 * says no, or nothing. */

#include "pg-ledger.h"

#define DATABASE "ackd_test_ledger_end"

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

/* --- finish ------------------------------------------------------------------------------- */

static void test_ends(void **state) {
        (void)state;
        static const LedgerState ends[] = {LEDGER_STATE_DONE, LEDGER_STATE_FAILED,
                                           LEDGER_STATE_NOT_STARTED, LEDGER_STATE_UNKNOWN};
        char *names[] = {"a", "b", "c", "d"};
        for (size_t i = 0; i < 4; i++) {
                int64_t id = start(ours, request(names[i], (int64_t)i));
                LedgerFinish end = ended(id, ends[i]);
                end.exit_status = 3;
                end.reason = "a reason";
                end.output = "out'\\put \xff";
                end.started_us = ends[i] == LEDGER_STATE_NOT_STARTED ? 0 : ledger_clock();
                /* A second one, after a lost reply, says the same and changes nothing. */
                char first[1024], sql[256];
                snprintf(
                        sql, sizeof(sql),
                        "SELECT r::text || h::text FROM restarts r JOIN hosts h USING (host) WHERE "
                        "r.id = %lld",
                        (long long)id);
                for (int again = 0; again < 2; again++) {
                        const LedgerResult *result = finish(again == 0 ? ours : other, end);
                        assert_true(result->did);
                        assert_int_equal(result->state, ends[i]);
                        assert_string_equal(state_of(id), ledger_state_name(ends[i]));
                        if (again == 0) {
                                snprintf(first, sizeof(first), "%.1000s",
                                         pg_test_value(test.sql, sql));
                        }
                        expect_sql(sql, first);
                }
                /* Nobody is turned over by another end, but an unknown. */
                const LedgerResult *result =
                        finish(other, ended(id, i == 0 ? LEDGER_STATE_FAILED : LEDGER_STATE_DONE));
                assert_int_equal(result->did, ends[i] == LEDGER_STATE_UNKNOWN);
                assert_int_equal(result->state,
                                 ends[i] == LEDGER_STATE_UNKNOWN ? LEDGER_STATE_DONE : ends[i]);
        }
        expect_sql("SELECT string_agg(concat_ws(' ', exit_status, output, started_at IS NULL, "
                   "ended_at - intended_at < '30 s'), ', ' ORDER BY host) FROM restarts",
                   "3 out'\\put \xef\xbf\xbd f t, 3 out'\\put \xef\xbf\xbd f t, 3 out'\\put "
                   "\xef\xbf\xbd t t, 3 out'\\put \xef\xbf\xbd f t");
        expect_sql("SELECT count(*) FROM hosts WHERE open_id IS NOT NULL", "0");
        const LedgerResult *result = finish(ours, ended(4711, LEDGER_STATE_DONE));
        assert_false(result->did);
        assert_int_equal(result->state, LEDGER_STATE_NONE);
}

static void test_not_started_gives_back_the_cooldown(void **state) {
        (void)state;
        /* The first start of a host. */
        finish_as(ours, start(ours, request(HOST, 1)), LEDGER_STATE_NOT_STARTED);
        expect_sql("SELECT last_id IS NULL AND last_start_at IS NULL FROM hosts", "t");
        int64_t id = start(other, request(HOST, 2));
        finish_as(other, id, LEDGER_STATE_FAILED);
        pass("16 min");
        /* A later one: the cool-down is that of the start before. */
        finish_as(ours, start(ours, request(HOST, 3)), LEDGER_STATE_NOT_STARTED);
        char sql[96];
        snprintf(sql, sizeof(sql), "SELECT last_id = %lld FROM hosts", (long long)id);
        expect_sql(sql, "t");
        start(ours, request(HOST, 4));
}

/* Two that turn out not to have started, in the wrong order: neither's start comes back. */
static void test_not_started_late(void **state) {
        (void)state;
        policy.cooldown_us = MINUTE;
        int64_t one = start(ours, request(HOST, 1));
        pass("3 min");
        int64_t two = start(other, request(HOST, 2));
        assert_string_equal(state_of(one), "unknown");
        const LedgerResult *result = finish(ours, ended(one, LEDGER_STATE_NOT_STARTED));
        assert_true(result->did);
        expect(claim(ours, request(HOST, 3)), LEDGER_VERDICT_WAIT, LEDGER_REASON_RUNNING);
        finish_as(other, two, LEDGER_STATE_NOT_STARTED);
        expect_sql("SELECT last_id IS NULL FROM hosts", "t");
        start(ours, request(HOST, 3));
}

static void test_finish_after_it_became_unknown(void **state) {
        (void)state;
        static const LedgerState ends[] = {LEDGER_STATE_DONE, LEDGER_STATE_FAILED,
                                           LEDGER_STATE_NOT_STARTED, LEDGER_STATE_UNKNOWN};
        policy.cooldown_us = 0;
        for (size_t i = 0; i < 4; i++) {
                pg_test_exec(test.sql, "TRUNCATE restarts, hosts");
                int64_t id = start(ours, request(HOST, 1));
                pass("1 h");
                int64_t next = start(other, request(HOST, 2));
                assert_string_equal(state_of(id), "unknown");
                for (int again = 0; again < 2; again++) {
                        const LedgerResult *result = finish(ours, ended(id, ends[i]));
                        assert_true(result->did);
                        assert_int_equal(result->state, ends[i]);
                }
                /* The intent that is open now is another one's. */
                char sql[96];
                snprintf(sql, sizeof(sql), "SELECT open_id = %lld FROM hosts", (long long)next);
                expect_sql(sql, "t");
                expect_sql("SELECT ended_at IS NOT NULL FROM restarts WHERE \"offset\" = 1", "t");
                assert_string_equal(state_of(next), "intended");
        }
}

/* Only its end can tell that it was done: then it suppresses. */
static void test_unknown_that_was_done(void **state) {
        (void)state;
        LedgerRequest late = request(HOST, 2);
        late.requested_us = late.received_us;
        int64_t id = start(ours, request(HOST, 1));
        finish_as(ours, id, LEDGER_STATE_UNKNOWN);
        expect(claim(ours, late), LEDGER_VERDICT_WAIT, LEDGER_REASON_COOLDOWN);
        LedgerFinish done = ended(id, LEDGER_STATE_DONE);
        done.verified = true;
        assert_true(finish(other, done)->did);
        expect(claim(ours, late), LEDGER_VERDICT_DONE, LEDGER_REASON_SUPERSEDED);
        expect(claim(ours, request(HOST, 1)), LEDGER_VERDICT_DONE, LEDGER_REASON_NONE);
}

/* Whoever started it saw it come back. A successor sees only that it is back, perhaps for long:
 * what was requested meanwhile may be about what happened since. */
static void test_what_a_successor_verified(void **state) {
        (void)state;
        for (int watched = 0; watched < 2; watched++) {
                pg_test_exec(test.sql, "TRUNCATE restarts, hosts");
                LedgerFinish done = ended(start(ours, request(HOST, 1)), LEDGER_STATE_DONE);
                done.verified = true;
                done.started_us = watched ? asked.sent_us : 0;
                pass("1 h");
                assert_true(finish(watched ? ours : other, done)->did);
                LedgerRequest later = request(HOST, 2);
                later.requested_us = later.received_us - 30 * 60 * INT64_C(1000000);
                if (watched) {
                        expect(claim(ours, later), LEDGER_VERDICT_DONE, LEDGER_REASON_SUPERSEDED);
                } else {
                        start(ours, later);
                }
        }
}

static bool is_over(void *user) {
        return loop_now() > *(const int64_t *)user;
}

/* The times of an end are how long ago something was when it was sent. That it waits for a lock
 * makes nothing later: what was requested meanwhile would be superseded, and the cool-down longer.
 */
static void test_finish_that_waits_for_a_lock(void **state) {
        (void)state;
        LedgerFinish done = ended(start(ours, request(HOST, 1)), LEDGER_STATE_DONE);
        done.verified = true;
        done.started_us = done.ended_us = ledger_clock();
        pg_test_exec(test.sql, "BEGIN; SELECT FROM hosts FOR UPDATE");
        asked = (Asked){0};
        assert_int_equal(ledger_finish(ours, &done, 1, on_answered, &asked), 0);
        int64_t until = loop_now() + 2 * SECOND;
        assert_true(pg_test_until(&test, is_over, &until));
        pg_test_exec(test.sql, "COMMIT");
        wait_for_answer();
        assert_true(asked.results[0].did);
        expect_sql("SELECT r.started_at < r.intended_at + '1 s' AND r.ended_at < r.intended_at + "
                   "'1 s' "
                   "AND h.covers_until < r.intended_at + '1 s' AND h.last_start_at = r.started_at "
                   "FROM restarts r JOIN hosts h USING (host)",
                   "t");
}

/* Another restart started since: what verify sees may be its work. The process's own word counts.
 */
static void test_unknown_that_another_start_followed(void **state) {
        (void)state;
        int64_t id = start(ours, request(HOST, 1));
        finish_as(ours, id, LEDGER_STATE_UNKNOWN);
        pass("1 h");
        finish_as(other, start(other, request(HOST, 2)), LEDGER_STATE_FAILED);
        LedgerFinish done = ended(id, LEDGER_STATE_DONE);
        done.verified = true;
        const LedgerResult *result = finish(other, done);
        assert_false(result->did);
        assert_int_equal(result->state, LEDGER_STATE_UNKNOWN);
        assert_string_equal(state_of(id), "unknown");
        expect_sql("SELECT covers_until FROM hosts", "NULL");
        done.verified = false;
        assert_true(finish(other, done)->did);
}

/* An older restart that comes to light as done does not hide a younger one. */
static void test_done_late(void **state) {
        (void)state;
        int64_t id = start(ours, request(HOST, 1));
        pass("1 h");
        finish_as(ours, start(ours, request(HOST, 2)), LEDGER_STATE_FAILED);
        finish_as(ours, id, LEDGER_STATE_DONE);
        expect(claim(ours, request(HOST, 3)), LEDGER_VERDICT_WAIT, LEDGER_REASON_COOLDOWN);
}

/* --- acted -------------------------------------------------------------------------------- */

static void test_acted(void **state) {
        (void)state;
        int64_t id = start(ours, request(HOST, 1));
        LedgerActed acted = {.id = id,
                             .started_us = asked.sent_us + 1,
                             .ended_us = ledger_clock(),
                             .exit_status = 0,
                             .output = "restarting"};
        for (int again = 0; again < 2; again++) {
                const LedgerResult *result = act(ours, acted);
                assert_true(result->did);
                assert_int_equal(result->id, id);
                assert_int_equal(result->state, LEDGER_STATE_ACTED);
        }
        expect_sql("SELECT concat_ws(' ', state, exit_status, output, ended_at, acted_at < "
                   "clock_timestamp(), started_at < intended_at + interval '1 s') FROM restarts",
                   "acted 0 restarting t t");
        expect_sql("SELECT h.open_id = r.id AND h.last_start_at = r.started_at FROM hosts h, "
                   "restarts r",
                   "t");
        /* It acted: it can't have been without effect. */
        assert_false(finish(ours, ended(id, LEDGER_STATE_NOT_STARTED))->did);
        LedgerFinish done = ended(id, LEDGER_STATE_DONE);
        done.verified = true;
        assert_true(finish(ours, done)->did);
        /* What acted wrote stays. */
        expect_sql("SELECT concat_ws(' ', state, exit_status, output, acted_at <= ended_at) FROM "
                   "restarts",
                   "done 0 restarting t");
        const LedgerResult *result = act(ours, acted);
        assert_false(result->did);
        assert_int_equal(result->state, LEDGER_STATE_DONE);
}

static void test_acted_in_a_batch(void **state) {
        (void)state;
        LedgerActed items[3] = {{.id = start(ours, request("b", 1)), .exit_status = 7},
                                {.id = 4711, .exit_status = 8},
                                {.id = start(ours, request("a", 2)), .exit_status = 9}};
        asked = (Asked){0};
        assert_int_equal(ledger_acted(ours, items, 3, on_answered, &asked), 0);
        wait_for_answer();
        assert_true(asked.results[0].did && asked.results[2].did);
        assert_false(asked.results[1].did);
        expect_sql("SELECT string_agg(host || exit_status, ' ' ORDER BY host) FROM restarts",
                   "a9 b7");
}

/* --- messages that shared ----------------------------------------------------------------- */

static void test_shared(void **state) {
        (void)state;
        int64_t now = loop_wall();
        LedgerShared shared[] = {{1, 2, "id", now - SECOND, now}, {2, 3, NULL, -1, now}};
        policy.host_restarts = 2;
        policy.host_period_us = 60 * (int64_t)MINUTE;
        policy.fuse_restarts = 2;
        policy.fuse_period_us = 60 * (int64_t)MINUTE;
        LedgerFinish done = ended(start(ours, request(HOST, 1)), LEDGER_STATE_DONE);
        done.exit_status = 0;
        done.shared = shared;
        done.n_shared = 1;
        assert_true(finish(ours, done)->did);
        /* More of them, and again after a lost reply. */
        done.n_shared = 2;
        assert_true(finish(ours, done)->did);
        assert_true(finish(ours, done)->did);
        expect_sql("SELECT string_agg(concat_ws(' ', s.source, s.\"offset\", s.attempt, s.state, "
                   "s.request_id, s.exit_status, s.requested_at IS NULL), ', ' ORDER BY s.id) FROM "
                   "restarts s JOIN restarts r ON r.id = s.shared_with",
                   "1 2 1 done id 0 f, 2 3 1 done 0 t");
        LedgerRequest two = request(HOST, 2);
        expect(claim(other, two), LEDGER_VERDICT_DONE, LEDGER_REASON_NONE);
        two.offset = 3;
        two.source = 2;
        expect(claim(other, two), LEDGER_VERDICT_DONE, LEDGER_REASON_NONE);
        /* Its request id is done, and it was one restart for all limits. */
        pass("16 min");
        LedgerRequest same = request(HOST, 4);
        same.request_id = "id";
        expect(claim(other, same), LEDGER_VERDICT_DONE, LEDGER_REASON_DUPLICATE);
        start(other, request(HOST, 5));
}

/* Shared, and nobody knows: the outcome that comes to light is that of all. */
static void test_shared_unknown(void **state) {
        (void)state;
        LedgerShared shared[] = {{1, 2, NULL, -1, 0}, {1, 3, NULL, -1, 0}};
        LedgerRequest one = request(HOST, 1);
        one.before = "boot-1";
        int64_t id = start(ours, one);
        LedgerFinish end = ended(id, LEDGER_STATE_UNKNOWN);
        end.shared = shared;
        end.n_shared = 2;
        assert_true(finish(ours, end)->did);
        const LedgerDecision *decision = claim(other, request(HOST, 2));
        expect(decision, LEDGER_VERDICT_UNKNOWN, LEDGER_REASON_NONE);
        assert_int_not_equal(decision->id, id);
        assert_string_equal(decision->before, "boot-1");
        finish_as(other, decision->id, LEDGER_STATE_DONE);
        assert_string_equal(state_of(id), "done");
        expect_sql("SELECT count(*) FROM restarts WHERE state = 'done'", "3");
        expect_sql("SELECT h.done_id = r.id FROM hosts h, restarts r WHERE shared_with IS NULL",
                   "t");
        expect(claim(ours, request(HOST, 3)), LEDGER_VERDICT_DONE, LEDGER_REASON_NONE);
}

/* A message that failed together with others claims again by itself. */
static void test_shared_failed(void **state) {
        (void)state;
        LedgerShared shared[] = {{1, 2, NULL, -1, 0}};
        LedgerFinish end = ended(start(ours, request(HOST, 1)), LEDGER_STATE_FAILED);
        end.shared = shared;
        end.n_shared = 1;
        assert_true(finish(ours, end)->did);
        pass("16 min");
        const LedgerDecision *decision = claim(other, request(HOST, 2));
        expect(decision, LEDGER_VERDICT_WAIT, LEDGER_REASON_ATTEMPT);
        LedgerRequest two = request(HOST, 2);
        two.attempt = decision->attempt + 1;
        int64_t id = start(other, two);
        /* And may share with another one then. */
        finish_as(other, id, LEDGER_STATE_FAILED);
        pass("16 min");
        LedgerRequest one = request(HOST, 1);
        one.attempt = 2;
        end = ended(start(ours, one), LEDGER_STATE_DONE);
        end.shared = shared;
        end.n_shared = 1;
        assert_true(finish(ours, end)->did);
        expect_sql("SELECT string_agg(attempt || state, ' ' ORDER BY attempt) FROM restarts WHERE "
                   "\"offset\" = 2",
                   "1failed 2failed 3done");
}

/* What others' restart came to does not hide that nobody knows of its own: it is still unknown. */
static void test_shared_hides_no_unknown(void **state) {
        static const LedgerState states[] = {LEDGER_STATE_FAILED, LEDGER_STATE_NOT_STARTED};
        (void)state;
        LedgerShared shared[] = {{1, 2, NULL, -1, 0}};
        int64_t id = start(other, request(HOST, 2));
        pass("16 min");
        for (size_t i = 0; i < 2; i++) {
                LedgerFinish end = ended(start(ours, request(HOST, 10 + (int64_t)i)), states[i]);
                end.shared = shared;
                end.n_shared = 1;
                assert_true(finish(ours, end)->did);
                pass("16 min");
                const LedgerDecision *decision = claim(ours, request(HOST, 2));
                expect(decision, LEDGER_VERDICT_UNKNOWN, LEDGER_REASON_NONE);
                assert_int_equal(decision->id, id);
        }
        LedgerFinish end = ended(start(ours, request(HOST, 20)), LEDGER_STATE_DONE);
        end.shared = shared;
        end.n_shared = 1;
        assert_true(finish(ours, end)->did);
        expect(claim(ours, request(HOST, 2)), LEDGER_VERDICT_DONE, LEDGER_REASON_NONE);
}

/* --- refused, outages, lost replies ------------------------------------------------------- */

static void ask(const LedgerRequest *requests, size_t n) {
        asked = (Asked){0};
        assert_int_equal(ledger_claim(ours, &policy, requests, n, on_answered, &asked), 0);
        wait_for_answer();
}

static void test_refused(void **state) {
        (void)state;
        pg_test_exec(test.sql,
                     "ALTER TABLE restarts ADD CONSTRAINT no CHECK (1 / (host <> 'bad')::int > 0)");
        LedgerRequest requests[] = {request("good", 1), request("bad", 2)};
        ask(requests, 2);
        assert_int_equal(asked.end, LEDGER_END_REFUSED);
        assert_string_equal(asked.sqlstate, "22012");
        expect_sql("SELECT count(*) FROM restarts", "0");
        /* One by one it is seen whose fault it is. */
        ask(&requests[0], 1);
        assert_int_equal(asked.end, LEDGER_END_DONE);
        ask(&requests[1], 1);
        assert_int_equal(asked.end, LEDGER_END_REFUSED);
        pg_test_exec(test.sql, "ALTER TABLE restarts DROP CONSTRAINT no");
}

static void test_outages(void **state) {
        (void)state;
        LedgerRequest one = request(HOST, 1);
        policy.fleet = 1;
        pg_test_exec(test.sql, "ALTER SCHEMA ackd RENAME TO away");
        ask(&one, 1);
        assert_int_equal(asked.end, LEDGER_END_OUTAGE);
        assert_true(sqlstate_is_alarm(asked.sqlstate));
        pg_test_exec(test.sql, "ALTER SCHEMA away RENAME TO ackd; DELETE FROM fleet");
        ask(&one, 1);
        assert_int_equal(asked.end, LEDGER_END_OUTAGE);
        assert_string_equal(asked.sqlstate, SQLSTATE_MISUSE);
        /* Somebody holds the fleet: lock_timeout. */
        pg_test_exec(test.sql, "INSERT INTO fleet DEFAULT VALUES");
        pg_test_exec(test.sql, "BEGIN; SELECT FROM fleet FOR UPDATE");
        ask(&one, 1);
        assert_int_equal(asked.end, LEDGER_END_OUTAGE);
        assert_string_equal(asked.sqlstate, "55P03");
        pg_test_exec(test.sql, "ROLLBACK");
        char sqlstate[6];
        pg_test_exec(test.sql, "BEGIN ISOLATION LEVEL REPEATABLE READ");
        assert_string_equal(
                pg_test_sqlstate(
                        test.sql,
                        "SELECT claim('{1}', '{1}', '{1}', '{h}', '{NULL}', '{NULL}', "
                        "'{now}', '{false}', '{NULL}', '{NULL}', '{NULL}', '{NULL}', '{0}', '{0}', "
                        "gen_random_uuid(), 'i', 'exec', '0', '0', '0', '5 s', '5 s', 0, "
                        "'0', 1, 1, '1 s')",
                        sqlstate),
                SQLSTATE_MISUSE);
        pg_test_exec(test.sql, "ROLLBACK");
        /* A database with another default is no hindrance. */
        pg_test_exec(test.sql, "ALTER DATABASE " DATABASE
                               " SET default_transaction_isolation = 'serializable'");
        pg_test_close(&test);
        pg_test_open_default(&test, 1, 30 * SECOND);
        ledger_free(ours);
        assert_int_equal(ledger_new(&ours, test.pool, "ackd", "ours"), 0);
        ask(&one, 1);
        assert_int_equal(asked.end, LEDGER_END_DONE);
        pg_test_exec(test.sql, "ALTER DATABASE " DATABASE " RESET default_transaction_isolation");
        Ledger *none = NULL;
        assert_int_equal(ledger_new(&none, test.pool, "a-b", "x"), SCHEMA_E_NAME);
        ledger_free(none);
}

static bool holds(void *user) {
        return strcmp(pg_test_value(test.sql, user), "t") == 0;
}

static char waits_for_lock[] = "SELECT EXISTS (SELECT FROM pg_stat_activity WHERE "
                               "datname = current_database() AND application_name = 'ackd test' "
                               "AND wait_event_type = 'Lock')";

/* The backend dies under a claim: nobody knows, and asked again it is the same claim. */
static void test_lost(void **state) {
        (void)state;
        LedgerRequest one = request(HOST, 1);
        policy.fleet = 1;
        pg_test_exec(test.sql, "BEGIN; SELECT FROM fleet FOR UPDATE");
        asked = (Asked){0};
        assert_int_equal(ledger_claim(ours, &policy, &one, 1, on_answered, &asked), 0);
        assert_true(pg_test_until(&test, holds, waits_for_lock));
        pg_test_exec(test.sql, "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE "
                               "datname = current_database() AND application_name = 'ackd test'");
        wait_for_answer();
        assert_int_equal(asked.end, LEDGER_END_UNKNOWN);
        assert_int_not_equal(asked.sent_us, 0);
        pg_test_exec(test.sql, "ROLLBACK");
        start(ours, one);
        expect_sql("SELECT count(*) FROM restarts", "1");
}

static void test_closing(void **state) {
        (void)state;
        LedgerRequest one = request(HOST, 1);
        policy.fleet = 1;
        pg_test_exec(test.sql, "BEGIN; SELECT FROM fleet FOR UPDATE");
        asked = (Asked){0};
        assert_int_equal(ledger_claim(ours, &policy, &one, 1, on_answered, &asked), 0);
        assert_true(pg_test_until(&test, holds, waits_for_lock));
        Asked waiting = {0};
        assert_int_equal(ledger_claim(ours, &policy, &one, 1, on_answered, &waiting), 0);
        pg_test_close(&test);
        assert_int_equal(asked.end, LEDGER_END_UNKNOWN);
        assert_int_equal(waiting.answers, 1);
        assert_int_equal(waiting.end, LEDGER_END_OUTAGE);
        assert_int_equal(waiting.sent_us, 0); /* never was */
        pg_test_exec(test.sql, "ROLLBACK");
        pg_test_open_default(&test, 1, 30 * SECOND);
}

static void test_words(void **state) {
        (void)state;
        for (int i = 1; i < LEDGER_REASON_COUNT; i++) {
                assert_true(strlen(ledger_reason_name((LedgerReason)i)) > 0);
        }
        assert_string_equal(ledger_reason_name(LEDGER_REASON_QUIET_TIME), "quiet_time");
        assert_string_equal(ledger_state_name(LEDGER_STATE_NOT_STARTED), "not_started");
        assert_string_equal(ledger_state_name(LEDGER_STATE_NONE), "");
}

static const struct CMUnitTest tests[] = {
        TEST(test_ends),
        TEST(test_not_started_gives_back_the_cooldown),
        TEST(test_not_started_late),
        TEST(test_finish_after_it_became_unknown),
        TEST(test_unknown_that_was_done),
        TEST(test_what_a_successor_verified),
        TEST(test_finish_that_waits_for_a_lock),
        TEST(test_unknown_that_another_start_followed),
        TEST(test_done_late),
        TEST(test_acted),
        TEST(test_acted_in_a_batch),
        TEST(test_shared),
        TEST(test_shared_unknown),
        TEST(test_shared_failed),
        TEST(test_shared_hides_no_unknown),
        TEST(test_refused),
        TEST(test_outages),
        TEST(test_lost),
        TEST(test_closing),
        TEST(test_words),
};

int main(void) {
        return cmocka_run_group_tests(tests, setup, teardown);
}
