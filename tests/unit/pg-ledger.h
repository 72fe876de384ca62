#pragma once

/* What the tests of the ledger share: two instances on one database, calls that wait for their
 * answer, and time that passes when a test wants it to: everything in the tables gets older. */

#include "test.h"

#include "pg.h"
#include "pg/ledger.h"
#include "pg/sqlstate.h"

enum {
        SECOND = 1000 * 1000,
        MINUTE = 60 * SECOND,
};

#define HOST "web1.example.com"

static PgTest test;
static Ledger *ours, *other; /* two instances */
static LedgerPolicy policy;

typedef struct Asked {
        int answers;
        LedgerEnd end;
        char sqlstate[6];
        int64_t sent_us;
        size_t n;
        LedgerDecision decisions[LEDGER_BATCH_MAX];
        char befores[LEDGER_BATCH_MAX][64];
        LedgerResult results[LEDGER_BATCH_MAX];
} Asked;

static Asked asked;

static inline void on_answered(void *user, const LedgerAnswer *answer) {
        Asked *to = user;
        to->answers++;
        to->end = answer->end;
        to->sent_us = answer->sent_us;
        to->n = answer->n;
        snprintf(to->sqlstate, sizeof(to->sqlstate), "%s",
                 answer->failure != NULL ? answer->failure->sqlstate : "");
        for (size_t i = 0; answer->decisions != NULL && i < answer->n; i++) {
                to->decisions[i] = answer->decisions[i];
                if (answer->decisions[i].before != NULL) {
                        snprintf(to->befores[i], sizeof(to->befores[i]), "%s",
                                 answer->decisions[i].before);
                        to->decisions[i].before = to->befores[i];
                }
        }
        for (size_t i = 0; answer->results != NULL && i < answer->n; i++) {
                to->results[i] = answer->results[i];
        }
}

static inline bool is_answered(void *user) {
        return ((Asked *)user)->answers > 0;
}

static inline void wait_for_answer(void) {
        assert_int_equal(asked.answers, 0); /* never at once */
        assert_true(pg_test_until(&test, is_answered, &asked));
        assert_int_equal(asked.answers, 1);
}

/* --- asking ------------------------------------------------------------------------------- */

static inline LedgerRequest request(const char *host, int64_t offset) {
        return (LedgerRequest){.source = 1,
                               .offset = offset,
                               .attempt = 1,
                               .host = host,
                               .requested_us = -1,
                               .received_us = loop_wall()};
}

static inline void claim_many(Ledger *ledger, const LedgerRequest *requests, size_t n) {
        asked = (Asked){0};
        assert_int_equal(ledger_claim(ledger, &policy, requests, n, on_answered, &asked), 0);
        wait_for_answer();
        assert_string_equal(asked.sqlstate, "");
        assert_int_equal(asked.end, LEDGER_END_DONE);
        assert_int_equal(asked.n, n);
}

static inline const LedgerDecision *claim(Ledger *ledger, LedgerRequest one) {
        claim_many(ledger, &one, 1);
        return &asked.decisions[0];
}

static inline void expect(const LedgerDecision *decision, LedgerVerdict verdict,
                          LedgerReason reason) {
        if (decision->verdict != verdict || decision->reason != reason) {
                print_message("verdict %d, reason %s: %s\n", (int)decision->verdict,
                              ledger_reason_name(decision->reason), decision->detail);
        }
        assert_int_equal(decision->verdict, verdict);
        assert_int_equal(decision->reason, reason);
}

static inline int64_t start(Ledger *ledger, LedgerRequest one) {
        const LedgerDecision *decision = claim(ledger, one);
        expect(decision, LEDGER_VERDICT_START, LEDGER_REASON_NONE);
        assert_int_not_equal(decision->id, 0);
        return decision->id;
}

static inline LedgerFinish ended(int64_t id, LedgerState state) {
        return (LedgerFinish){.id = id, .state = state, .exit_status = LEDGER_NO_STATUS};
}

static inline const LedgerResult *finish(Ledger *ledger, LedgerFinish one) {
        asked = (Asked){0};
        assert_int_equal(ledger_finish(ledger, &one, 1, on_answered, &asked), 0);
        wait_for_answer();
        assert_string_equal(asked.sqlstate, "");
        assert_int_equal(asked.end, LEDGER_END_DONE);
        assert_int_equal(asked.results[0].id, one.id);
        return &asked.results[0];
}

/* It must do so, and say so. */
static inline void finish_as(Ledger *ledger, int64_t id, LedgerState state) {
        const LedgerResult *result = finish(ledger, ended(id, state));
        assert_true(result->did);
        assert_int_equal(result->state, state);
}

static inline const LedgerResult *act(Ledger *ledger, LedgerActed one) {
        asked = (Asked){0};
        assert_int_equal(ledger_acted(ledger, &one, 1, on_answered, &asked), 0);
        wait_for_answer();
        assert_int_equal(asked.end, LEDGER_END_DONE);
        return &asked.results[0];
}

/* --- looking ------------------------------------------------------------------------------ */

static inline void expect_sql(const char *sql, const char *value) {
        assert_string_equal(pg_test_value(test.sql, sql), value);
}

static inline const char *state_of(int64_t id) {
        char sql[96];
        snprintf(sql, sizeof(sql), "SELECT state FROM restarts WHERE id = %lld", (long long)id);
        return pg_test_value(test.sql, sql);
}

/* Lets time pass: everything that was written was written so much earlier. */
static inline void pass(const char *interval) {
        char sql[1024];
        snprintf(
                sql, sizeof(sql),
                "WITH d(d) AS (VALUES (interval '%s')), "
                "r AS (UPDATE restarts SET received_at = received_at - d, intended_at = "
                "intended_at - d, started_at = started_at - d, held_until = held_until - d, "
                "acted_at = acted_at - d, ended_at = ended_at - d FROM d), "
                "h AS (UPDATE hosts SET held_until = held_until - d, last_start_at = last_start_at "
                "- d, done_start_at = done_start_at - d, covers_until = covers_until - d FROM d) "
                "UPDATE holds SET since = since - d, until = until - d, lifted_at = lifted_at - d "
                "FROM d",
                interval);
        pg_test_exec(test.sql, sql);
}

/* --- fixture ------------------------------------------------------------------------------ */

static inline int ledger_begin(void **state) {
        (void)state;
        pg_test_exec(test.sql, "TRUNCATE restarts, hosts, holds, messages RESTART IDENTITY");
        policy = (LedgerPolicy){.action = "exec",
                                .cooldown_us = 15 * (int64_t)MINUTE,
                                .start_within_us = LEDGER_START_WITHIN_US,
                                .hold_us = 2 * (int64_t)MINUTE};
        pg_test_open_default(&test, 1, 30 * SECOND);
        assert_int_equal(ledger_new(&ours, test.pool, "ackd", "ours"), 0);
        return ledger_new(&other, test.pool, "ackd", "other");
}

static inline int ledger_end(void **state) {
        (void)state;
        pg_test_close(&test);
        ledger_free(ours);
        ledger_free(other);
        return 0;
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, ledger_begin, ledger_end)
