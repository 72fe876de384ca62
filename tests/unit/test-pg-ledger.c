/* Claims: each step of the order and each reason, all but the limits (test-pg-ledger-limits). How
 * restarts end: test-pg-ledger-end. */

#include "pg-ledger.h"

#define DATABASE "ackd_test_ledger"

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

/* --- 7: the intent ------------------------------------------------------------------------ */

static void test_start(void **state) {
        (void)state;
        LedgerRequest one = request(HOST, 7);
        one.request_id = "it's \\ an id";
        one.before = "boot-1";
        one.requested_us = one.received_us - SECOND;
        int64_t before = ledger_clock();
        int64_t id = start(ours, one);
        assert_true(asked.sent_us >= before && asked.sent_us <= ledger_clock());
        assert_true(ledger_may_start(&policy, asked.sent_us, asked.sent_us + 4999999));
        assert_false(ledger_may_start(&policy, asked.sent_us, asked.sent_us + 5000000));
        assert_int_equal(asked.decisions[0].attempt, 1);
        assert_int_equal(asked.decisions[0].received_us, one.received_us);
        assert_false(asked.decisions[0].renewed);
        expect_sql("SELECT concat_ws(' ', source, \"offset\", attempt, host, request_id, state, "
                   "action, instance_name, before, held_until - intended_at, started_at - "
                   "intended_at, received_at - requested_at) FROM restarts",
                   "1 7 1 web1.example.com it's \\ an id intended exec ours boot-1 00:02:05 "
                   "00:00:05 00:00:01");
        char sql[160];
        snprintf(sql, sizeof(sql), "SELECT instance = '%s' FROM restarts", ledger_instance(ours));
        expect_sql(sql, "t");
        assert_string_not_equal(ledger_instance(ours), ledger_instance(other));
        snprintf(sql, sizeof(sql),
                 "SELECT h.open_id = %lld AND h.last_id = r.id AND h.held_until = r.held_until AND "
                 "h.last_start_at = r.started_at FROM hosts h, restarts r",
                 (long long)id);
        expect_sql(sql, "t");
}

/* --- 1: what the own row says ------------------------------------------------------------- */

static void test_own_row_is_done(void **state) {
        (void)state;
        int64_t id = start(ours, request(HOST, 1));
        finish_as(ours, id, LEDGER_STATE_DONE);
        for (int i = 0; i < 2; i++) {
                const LedgerDecision *decision = claim(i == 0 ? ours : other, request(HOST, 1));
                expect(decision, LEDGER_VERDICT_DONE, LEDGER_REASON_NONE);
                assert_int_equal(decision->id, id);
                assert_false(decision->suppressed_now);
                assert_non_null(strstr(decision->detail, "by ours"));
        }
        expect_sql("SELECT count(*) FROM restarts", "1");
}

static void test_own_row_is_suppressed(void **state) {
        (void)state;
        finish_as(ours, start(ours, request(HOST, 1)), LEDGER_STATE_DONE);
        const LedgerDecision *decision = claim(ours, request(HOST, 2));
        expect(decision, LEDGER_VERDICT_DONE, LEDGER_REASON_COOLDOWN);
        assert_true(decision->suppressed_now);
        int64_t id = decision->id;
        pass("1 day");
        /* The reply was lost: it is counted once, by whoever suppressed it. */
        decision = claim(ours, request(HOST, 2));
        expect(decision, LEDGER_VERDICT_DONE, LEDGER_REASON_COOLDOWN);
        assert_true(decision->suppressed_now);
        assert_int_equal(decision->id, id);
        decision = claim(other, request(HOST, 2));
        expect(decision, LEDGER_VERDICT_DONE, LEDGER_REASON_COOLDOWN);
        assert_false(decision->suppressed_now);
        expect_sql("SELECT count(*) FROM restarts", "2");
}

static void test_acted_is_only_verified(void **state) {
        (void)state;
        LedgerRequest one = request(HOST, 1);
        one.before = "boot-1";
        int64_t id = start(ours, one);
        assert_true(act(ours, (LedgerActed){.id = id, .exit_status = 0})->did);
        for (int i = 0; i < 3; i++) {
                const LedgerDecision *decision = claim(i == 0 ? ours : other, request(HOST, 1));
                expect(decision, LEDGER_VERDICT_VERIFY, LEDGER_REASON_NONE);
                assert_int_equal(decision->id, id);
                assert_string_equal(decision->before, "boot-1");
                assert_true(decision->acted_age_us >= (i == 2 ? 10 * (int64_t)MINUTE : 0));
                assert_true(decision->acted_age_us < 11 * (int64_t)MINUTE);
                if (i == 1) {
                        pass("10 min"); /* past its hold */
                }
        }
        /* Others wait for it, and when it is held no longer it is unknown. */
        expect(claim(other, request(HOST, 2)), LEDGER_VERDICT_WAIT, LEDGER_REASON_COOLDOWN);
        assert_string_equal(state_of(id), "unknown");
        const LedgerDecision *decision = claim(other, request(HOST, 1));
        expect(decision, LEDGER_VERDICT_UNKNOWN, LEDGER_REASON_NONE);
        assert_string_equal(decision->before, "boot-1");
        assert_true(decision->acted_age_us >= 10 * (int64_t)MINUTE);
}

static void test_lost_reply_of_a_claim(void **state) {
        (void)state;
        int64_t id = start(ours, request(HOST, 1));
        pass("1 min");
        LedgerRequest again = request(HOST, 1);
        again.before = "boot-2";
        assert_int_equal(start(ours, again), id);
        assert_true(asked.decisions[0].renewed);
        /* Its hold and its cool-down begin anew: it starts after this grant. */
        expect_sql("SELECT held_until - intended_at = '2 min 5 s' AND intended_at > "
                   "clock_timestamp() - interval '30 s' AND before = 'boot-2' FROM restarts",
                   "t");
        expect_sql("SELECT h.held_until = r.held_until AND h.last_start_at = r.started_at FROM "
                   "hosts h, restarts r",
                   "t");
        expect_sql("SELECT count(*) FROM restarts", "1");
}

/* A successor of a process must not inherit its intent, nor does another attempt. */
static void test_intent_of_another_instance(void **state) {
        (void)state;
        start(ours, request(HOST, 1));
        const LedgerDecision *decision = claim(other, request(HOST, 1));
        expect(decision, LEDGER_VERDICT_WAIT, LEDGER_REASON_RUNNING);
        assert_non_null(strstr(decision->detail, "intended by ours since 2"));
        assert_true(decision->again_us > 0 && decision->again_us <= 2 * SECOND);
        LedgerRequest second = request(HOST, 1);
        second.attempt = 2;
        expect(claim(ours, second), LEDGER_VERDICT_WAIT, LEDGER_REASON_RUNNING);
        expect_sql("SELECT count(*) FROM restarts", "1");
}

/* --- 2 and 3: intents without an end ------------------------------------------------------ */

static void test_no_end(void **state) {
        (void)state;
        LedgerRequest one = request(HOST, 1);
        one.before = "boot-1";
        int64_t id = start(ours, one);
        pass("2 min 4 s");
        expect(claim(other, request(HOST, 1)), LEDGER_VERDICT_WAIT, LEDGER_REASON_RUNNING);
        pass("1 s");
        const LedgerDecision *decision = claim(other, request(HOST, 1));
        expect(decision, LEDGER_VERDICT_UNKNOWN, LEDGER_REASON_NONE);
        assert_int_equal(decision->id, id);
        assert_int_equal(decision->attempt, 1);
        assert_string_equal(decision->before, "boot-1");
        assert_int_equal(decision->acted_age_us, -1);
        expect_sql("SELECT state || ' ' || reason FROM restarts", "unknown no_end");
        expect_sql("SELECT open_id FROM hosts", "NULL");
        expect(claim(ours, request(HOST, 1)), LEDGER_VERDICT_UNKNOWN, LEDGER_REASON_NONE);
        /* Also its own instance, in a higher attempt, when nobody has seen it yet. */
        id = start(ours, request("web2", 2));
        pass("1 hour");
        LedgerRequest second = request("web2", 2);
        second.attempt = 2;
        decision = claim(ours, second);
        expect(decision, LEDGER_VERDICT_UNKNOWN, LEDGER_REASON_NONE);
        assert_int_equal(decision->id, id);
        assert_null(decision->before);
}

/* What the host says now may be the work of another restart: it proves nothing of this one. */
static void test_an_unknown_before_another_start(void **state) {
        (void)state;
        LedgerRequest one = request(HOST, 1);
        one.before = "boot-1";
        int64_t id = start(ours, one);
        finish_as(ours, id, LEDGER_STATE_UNKNOWN);
        pass("16 min");
        const LedgerDecision *decision = claim(other, request(HOST, 1));
        expect(decision, LEDGER_VERDICT_UNKNOWN, LEDGER_REASON_NONE);
        assert_string_equal(decision->before, "boot-1");
        /* One that never started has changed nothing. */
        int64_t next = start(other, request(HOST, 2));
        finish_as(other, next, LEDGER_STATE_NOT_STARTED);
        assert_string_equal(claim(ours, request(HOST, 1))->before, "boot-1");
        LedgerRequest third = request(HOST, 3);
        next = start(other, third);
        finish_as(other, next, LEDGER_STATE_FAILED);
        decision = claim(ours, request(HOST, 1));
        expect(decision, LEDGER_VERDICT_UNKNOWN, LEDGER_REASON_NONE);
        assert_int_equal(decision->id, id);
        assert_null(decision->before);
}

static void test_retry_of_an_unknown(void **state) {
        (void)state;
        int64_t id = start(ours, request(HOST, 1));
        finish_as(ours, id, LEDGER_STATE_UNKNOWN);
        LedgerRequest second = request(HOST, 1);
        second.attempt = 2;
        expect(claim(ours, second), LEDGER_VERDICT_WAIT, LEDGER_REASON_COOLDOWN);
        pass("16 min");
        expect(claim(ours, request(HOST, 1)), LEDGER_VERDICT_UNKNOWN, LEDGER_REASON_NONE);
        assert_int_not_equal(start(ours, second), id);
        expect_sql("SELECT string_agg(attempt || state, ' ' ORDER BY attempt) FROM restarts",
                   "1unknown 2intended");
}

/* A claim that is executed when its attempt is over gets nothing: nobody waits for it. */
static void test_attempt_is_not_new(void **state) {
        (void)state;
        finish_as(ours, start(ours, request(HOST, 1)), LEDGER_STATE_NOT_STARTED);
        for (int i = 0; i < 2; i++) {
                const LedgerDecision *decision = claim(i == 0 ? ours : other, request(HOST, 1));
                expect(decision, LEDGER_VERDICT_WAIT, LEDGER_REASON_ATTEMPT);
                assert_int_equal(decision->attempt, 1);
                assert_int_equal(decision->again_us, 0);
        }
        LedgerRequest second = request(HOST, 1);
        second.attempt = asked.decisions[0].attempt + 1;
        start(other, second);
}

/* --- 4: nothing to do --------------------------------------------------------------------- */

static void test_duplicate(void **state) {
        (void)state;
        policy.cooldown_us = 0;
        LedgerRequest one = request(HOST, 1), two = request(HOST, 2),
                      elsewhere = request("web2", 3);
        one.request_id = two.request_id = elsewhere.request_id = "id";
        int64_t id = start(ours, one);
        finish_as(ours, id, LEDGER_STATE_FAILED);
        id = start(ours, two);
        finish_as(ours, id, LEDGER_STATE_DONE);
        one.attempt = 2;
        pass("1 min");
        const LedgerDecision *decision = claim(other, one);
        expect(decision, LEDGER_VERDICT_DONE, LEDGER_REASON_DUPLICATE);
        assert_true(decision->suppressed_now);
        assert_non_null(strstr(decision->detail, "by ours"));
        expect_sql("SELECT state || ' ' || reason || ' ' || attempt || ' ' || instance_name FROM "
                   "restarts ORDER BY id DESC LIMIT 1",
                   "suppressed duplicate 2 other");
        /* One id for many hosts is one request for each. */
        start(ours, elsewhere);
}

static void test_superseded(void **state) {
        (void)state;
        int64_t id = start(ours, request(HOST, 1));
        int64_t intended = atoll(pg_test_value(
                test.sql,
                "SELECT (extract(epoch FROM intended_at) * 1000000)::bigint FROM restarts"));
        LedgerRequest before = request(HOST, 2), after = request(HOST, 3);
        before.requested_us = intended;
        after.requested_us = intended + 1;
        LedgerFinish failed = ended(id, LEDGER_STATE_FAILED);
        finish(ours, failed);
        /* Only done supersedes. */
        expect(claim(ours, before), LEDGER_VERDICT_WAIT, LEDGER_REASON_COOLDOWN);
        finish_as(ours, start(ours, request("web2", 4)), LEDGER_STATE_DONE);
        expect(claim(ours, before), LEDGER_VERDICT_WAIT, LEDGER_REASON_COOLDOWN);
        pg_test_exec(test.sql, "TRUNCATE restarts, hosts");
        id = start(ours, request(HOST, 1));
        intended = atoll(pg_test_value(
                test.sql,
                "SELECT (extract(epoch FROM intended_at) * 1000000)::bigint FROM restarts"));
        before.requested_us = intended;
        after.requested_us = intended + 1;
        finish_as(ours, id, LEDGER_STATE_DONE);
        policy.cooldown_us = 0;
        expect(claim(ours, before), LEDGER_VERDICT_DONE, LEDGER_REASON_SUPERSEDED);
        pg_test_exec(test.sql, "UPDATE hosts SET last_start_at = now() - interval '1 s'");
        start(ours, after);
}

/* With a check, what was requested while it restarted is served by it too. */
static void test_superseded_by_the_verified_end(void **state) {
        (void)state;
        policy.cooldown_us = 0;
        int64_t id = start(ours, request(HOST, 1));
        pass("1 min");
        LedgerFinish done = ended(id, LEDGER_STATE_DONE);
        done.verified = true;
        done.started_us = ledger_clock() - 59 * (int64_t)SECOND;
        done.ended_us = ledger_clock() - 20 * (int64_t)SECOND;
        int64_t now = loop_wall();
        assert_true(finish(ours, done)->did);
        LedgerRequest one = request(HOST, 2);
        one.requested_us = now - 21 * (int64_t)SECOND;
        expect(claim(ours, one), LEDGER_VERDICT_DONE, LEDGER_REASON_SUPERSEDED);
        LedgerRequest two = request(HOST, 3);
        two.requested_us = now - 15 * (int64_t)SECOND;
        start(ours, two);
}

static void test_stale(void **state) {
        (void)state;
        policy.max_age_us = 60 * (int64_t)MINUTE;
        LedgerRequest one = request(HOST, 1);
        one.requested_us = one.received_us - 61 * (int64_t)MINUTE;
        expect(claim(ours, one), LEDGER_VERDICT_DONE, LEDGER_REASON_STALE);
        /* Who waited is not stale: only the first receipt counts. */
        LedgerRequest waited = request(HOST, 2);
        waited.requested_us = waited.received_us - 100 * (int64_t)MINUTE;
        waited.received_us -= 99 * (int64_t)MINUTE;
        finish_as(ours, start(ours, waited), LEDGER_STATE_FAILED);
        /* A new owner, who knows a later receipt, finds the first one in the ledger. */
        waited.received_us = loop_wall();
        waited.attempt = 2;
        pass("20 min");
        start(other, waited);
        assert_true(asked.decisions[0].received_us < loop_wall() - 90 * (int64_t)MINUTE);
        policy.max_age_us = 0;
        LedgerRequest old = request("web2", 3);
        old.requested_us = 1;
        start(ours, old);
}

/* A replay is as old as the message that it stands for was when that was received. */
static void test_a_replay_is_not_stale(void **state) {
        (void)state;
        policy.max_age_us = 60 * (int64_t)MINUTE;
        policy.max_wait_us = 240 * (int64_t)MINUTE;
        LedgerRequest one = request(HOST, 1);
        one.requested_us = one.received_us - 600 * (int64_t)MINUTE;
        one.first_us = one.requested_us + 59 * (int64_t)MINUTE;
        int64_t id = start(ours, one);
        /* How long it waits counts from its own receipt, which is what the row keeps. */
        assert_true(asked.decisions[0].received_us > loop_wall() - MINUTE);
        finish_as(ours, id, LEDGER_STATE_FAILED);
        pass("20 min");
        one.attempt = 2;
        start(other, one);
        one.offset = 2;
        one.host = "web2";
        one.attempt = 1;
        one.first_us = one.requested_us + 61 * (int64_t)MINUTE;
        expect(claim(ours, one), LEDGER_VERDICT_DONE, LEDGER_REASON_STALE);
}

/* Its first receipt is found in `messages`, when it was received before and that matters. */
static void test_first_receipt_in_messages(void **state) {
        (void)state;
        policy.max_age_us = 60 * (int64_t)MINUTE;
        policy.max_wait_us = 240 * (int64_t)MINUTE;
        pg_test_exec(test.sql,
                     "INSERT INTO messages (source, \"offset\", payload, received_at) SELECT 1, o, "
                     "'{}', now() - interval '118 min' FROM generate_series(1, 9) o");
        LedgerRequest requests[3];
        for (int i = 0; i < 3; i++) {
                char *names[] = {"a", "b", "c"};
                requests[i] = request(names[i], i + 1);
                requests[i].requested_us = requests[i].received_us - 120 * (int64_t)MINUTE;
                requests[i].redelivered = i != 1;
        }
        requests[2].requested_us = requests[2].received_us - SECOND; /* it does not matter */
        claim_many(ours, requests, 3);
        expect(&asked.decisions[0], LEDGER_VERDICT_START, LEDGER_REASON_NONE);
        expect(&asked.decisions[1], LEDGER_VERDICT_DONE, LEDGER_REASON_STALE);
        expect(&asked.decisions[2], LEDGER_VERDICT_START, LEDGER_REASON_NONE);
        int64_t age = loop_wall() - asked.decisions[0].received_us;
        assert_true(age > 118 * (int64_t)MINUTE && age < 119 * (int64_t)MINUTE);
        /* max_wait counts from there as well. */
        policy.max_wait_us = 110 * (int64_t)MINUTE;
        pg_test_exec(test.sql, "INSERT INTO holds (pattern, why, who) VALUES ('*', 'w', 'w')");
        LedgerRequest waits = request("d", 4);
        waits.requested_us = requests[0].requested_us;
        waits.redelivered = true;
        expect(claim(ours, waits), LEDGER_VERDICT_REJECT, LEDGER_REASON_WAITED_TOO_LONG);
}

static void test_order_of_suppressions(void **state) {
        (void)state;
        policy.max_age_us = MINUTE;
        LedgerRequest one = request(HOST, 1);
        one.request_id = "id";
        finish_as(ours, start(ours, one), LEDGER_STATE_DONE);
        LedgerRequest two = request(HOST, 2);
        two.requested_us = two.received_us - 60 * (int64_t)MINUTE;
        two.request_id = "id";
        expect(claim(ours, two), LEDGER_VERDICT_DONE, LEDGER_REASON_DUPLICATE);
        two.offset = 3;
        two.request_id = "another";
        expect(claim(ours, two), LEDGER_VERDICT_DONE, LEDGER_REASON_SUPERSEDED);
        two.offset = 4;
        two.requested_us = -1;
        expect(claim(ours, two), LEDGER_VERDICT_DONE, LEDGER_REASON_COOLDOWN);
        /* Stale before holds and the cool-down. */
        pg_test_exec(test.sql, "INSERT INTO holds (pattern, why, who) VALUES ('*', 'w', 'w'); "
                               "UPDATE hosts SET covers_until = NULL");
        two.offset = 5;
        two.requested_us = two.received_us - 60 * (int64_t)MINUTE;
        expect(claim(ours, two), LEDGER_VERDICT_DONE, LEDGER_REASON_STALE);
        two.offset = 6;
        two.requested_us = -1;
        expect(claim(ours, two), LEDGER_VERDICT_WAIT, LEDGER_REASON_HOLD);
}

/* What guards without PostgreSQL found; a restart that there is says more. */
static void test_suppressed_before(void **state) {
        (void)state;
        LedgerRequest one = request(HOST, 1);
        one.suppress = "not_needed";
        const LedgerDecision *decision = claim(ours, one);
        expect(decision, LEDGER_VERDICT_DONE, LEDGER_REASON_NOT_NEEDED);
        assert_true(decision->suppressed_now);
        LedgerRequest two = request(HOST, 2);
        int64_t id = start(ours, two);
        act(ours, (LedgerActed){.id = id, .exit_status = LEDGER_NO_STATUS});
        two.suppress = "not_selected";
        expect(claim(other, two), LEDGER_VERDICT_VERIFY, LEDGER_REASON_NONE);
        LedgerRequest three = request("web2", 3);
        three.suppress = "not_selected";
        expect(claim(other, three), LEDGER_VERDICT_DONE, LEDGER_REASON_NOT_SELECTED);
        LedgerRequest four = request("web2", 4);
        four.suppress = "a word of a later version";
        expect(claim(other, four), LEDGER_VERDICT_DONE, LEDGER_REASON_OTHER);
}

/* --- 5: holds and the cool-down ----------------------------------------------------------- */

/* What a person writes may be for ever: it waits as for anything else. */
static void test_for_ever(void **state) {
        (void)state;
        pg_test_exec(test.sql, "INSERT INTO holds (pattern, why, who, until) "
                               "VALUES ('*', 'w', 'jo', 'infinity')");
        const LedgerDecision *decision = claim(ours, request(HOST, 1));
        expect(decision, LEDGER_VERDICT_WAIT, LEDGER_REASON_HOLD);
        assert_int_equal(decision->again_us, 5 * SECOND);
        pg_test_exec(test.sql, "UPDATE holds SET lifted_at = now()");
        pg_test_exec(test.sql, "UPDATE hosts SET last_start_at = 'infinity'");
        expect(claim(ours, request(HOST, 1)), LEDGER_VERDICT_WAIT, LEDGER_REASON_COOLDOWN);
        pg_test_exec(test.sql, "UPDATE hosts SET open_id = 4711, held_until = 'infinity'");
        decision = claim(ours, request(HOST, 1));
        expect(decision, LEDGER_VERDICT_WAIT, LEDGER_REASON_RUNNING);
        assert_int_equal(decision->again_us, 2 * SECOND);
}

static void test_holds(void **state) {
        (void)state;
        static const struct {
                const char *pattern, *host;
                bool holds;
        } cases[] = {
                {"*", "a", true},
                {"web?.example.com", HOST, true},
                {"WEB*", HOST, true},
                {"web1.example.com", HOST, true},
                {"web1", HOST, false},
                {"web1*com", HOST, true},
                {"web??.example.com", HOST, false},
                {"web_.example.com", HOST, false},
                {"web%", HOST, false},
                {"web!*", HOST, false},
                {"web[0-9]*", HOST, false},
                {"*\\", HOST, false},
        };
        for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
                char sql[256];
                snprintf(sql, sizeof(sql), "SELECT glob_matches('%s', '%s')", cases[i].pattern,
                         cases[i].host);
                expect_sql(sql, cases[i].holds ? "t" : "f");
        }
        pg_test_exec(test.sql, "INSERT INTO holds (pattern, why, who, until) VALUES ('web?.*', "
                               "'move of the rack', 'jo', now() + interval '1 h')");
        const LedgerDecision *decision = claim(ours, request(HOST, 1));
        expect(decision, LEDGER_VERDICT_WAIT, LEDGER_REASON_HOLD);
        assert_int_equal(decision->again_us, 5 * SECOND);
        assert_non_null(strstr(decision->detail, "web?.*, by jo since 2"));
        assert_non_null(strstr(decision->detail, "move of the rack"));
        start(ours, request("db1", 2));
        pass("61 min"); /* it ended by itself */
        start(ours, request(HOST, 1));
        pg_test_exec(test.sql, "UPDATE holds SET until = NULL; TRUNCATE restarts, hosts");
        expect(claim(ours, request(HOST, 1)), LEDGER_VERDICT_WAIT, LEDGER_REASON_HOLD);
        pg_test_exec(test.sql, "UPDATE holds SET lifted_at = now(), lifted_by = 'jo'");
        start(ours, request(HOST, 1));
}

static void test_cooldown(void **state) {
        (void)state;
        static const LedgerState ends[] = {LEDGER_STATE_DONE, LEDGER_STATE_FAILED,
                                           LEDGER_STATE_UNKNOWN};
        for (size_t i = 0; i < 3; i++) {
                pg_test_exec(test.sql, "TRUNCATE restarts, hosts");
                LedgerFinish end = ended(start(ours, request(HOST, 1)), ends[i]);
                end.started_us = ledger_clock();
                finish(ours, end);
                LedgerRequest two = request(HOST, 2);
                const LedgerDecision *decision = claim(other, two);
                expect(decision, i == 0 ? LEDGER_VERDICT_DONE : LEDGER_VERDICT_WAIT,
                       LEDGER_REASON_COOLDOWN);
                if (i > 0) {
                        assert_true(decision->again_us > 14 * (int64_t)MINUTE);
                        assert_true(decision->again_us <= 15 * (int64_t)MINUTE);
                        pass("14 min 50 s");
                        expect(claim(other, two), LEDGER_VERDICT_WAIT, LEDGER_REASON_COOLDOWN);
                        pass("11 s");
                        start(other, two);
                }
        }
}

/* The own failed attempt waits out the cool-down and never suppresses itself. */
static void test_own_failed_attempt(void **state) {
        (void)state;
        LedgerRequest one = request(HOST, 1);
        one.request_id = "id";
        one.requested_us = one.received_us - SECOND;
        for (int attempt = 1; attempt <= 3; attempt++) {
                one.attempt = attempt;
                finish_as(ours, start(ours, one), LEDGER_STATE_FAILED);
                one.attempt = attempt + 1;
                expect(claim(ours, one), LEDGER_VERDICT_WAIT, LEDGER_REASON_COOLDOWN);
                pass("16 min");
        }
}

/* Nobody reported when the action started: the last moment that it could have counts. */
static void test_cooldown_counts_from_the_start(void **state) {
        (void)state;
        policy.hold_us = SECOND;
        int64_t id = start(ours, request(HOST, 1));
        pass("15 min 3 s");
        const LedgerDecision *decision = claim(other, request(HOST, 2));
        expect(decision, LEDGER_VERDICT_WAIT, LEDGER_REASON_COOLDOWN);
        assert_true(decision->again_us <= 2 * SECOND);
        /* It comes to light that it had started at once. */
        LedgerFinish end = ended(id, LEDGER_STATE_FAILED);
        end.started_us = ledger_clock() - 15 * (int64_t)MINUTE - 3 * (int64_t)SECOND;
        assert_true(finish(ours, end)->did);
        start(other, request(HOST, 2));
}

static const struct CMUnitTest tests[] = {
        TEST(test_start),
        TEST(test_own_row_is_done),
        TEST(test_own_row_is_suppressed),
        TEST(test_acted_is_only_verified),
        TEST(test_lost_reply_of_a_claim),
        TEST(test_intent_of_another_instance),
        TEST(test_no_end),
        TEST(test_an_unknown_before_another_start),
        TEST(test_retry_of_an_unknown),
        TEST(test_attempt_is_not_new),
        TEST(test_duplicate),
        TEST(test_superseded),
        TEST(test_superseded_by_the_verified_end),
        TEST(test_stale),
        TEST(test_a_replay_is_not_stale),
        TEST(test_first_receipt_in_messages),
        TEST(test_order_of_suppressions),
        TEST(test_suppressed_before),
        TEST(test_holds),
        TEST(test_for_ever),
        TEST(test_cooldown),
        TEST(test_own_failed_attempt),
        TEST(test_cooldown_counts_from_the_start),
};

int main(void) {
        return cmocka_run_group_tests(tests, setup, teardown);
}
