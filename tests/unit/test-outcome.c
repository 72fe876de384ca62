#include "test.h"

#include <string.h>

#include "core/outcome.h"

static const Outcome all[] = {
        OUTCOME_NONE,    OUTCOME_DONE,   OUTCOME_SUPPRESSED, OUTCOME_FAILED,   OUTCOME_NOT_STARTED,
        OUTCOME_UNKNOWN, OUTCOME_OUTAGE, OUTCOME_POISON,     OUTCOME_INTERNAL, OUTCOME_CANCELLED,
};
#define N_ALL (sizeof(all) / sizeof(all[0]))

static void test_the_table(void **state) {
        (void)state;
        struct {
                Outcome outcome;
                OnUnknown on_unknown;
                int charged;
                Verdict verdict;
        } rows[] = {
                {OUTCOME_NONE, ON_UNKNOWN_REJECT, 0, VERDICT_NONE},
                {OUTCOME_DONE, ON_UNKNOWN_REJECT, 9, VERDICT_ACCEPT},
                {OUTCOME_SUPPRESSED, ON_UNKNOWN_REJECT, 9, VERDICT_ACCEPT},
                {OUTCOME_FAILED, ON_UNKNOWN_REJECT, 0, VERDICT_RETRY},
                {OUTCOME_FAILED, ON_UNKNOWN_REJECT, 4, VERDICT_RETRY},
                {OUTCOME_FAILED, ON_UNKNOWN_REJECT, 5, VERDICT_REJECT},
                {OUTCOME_FAILED, ON_UNKNOWN_REJECT, 6, VERDICT_REJECT},
                {OUTCOME_NOT_STARTED, ON_UNKNOWN_DONE, 4, VERDICT_RETRY},
                {OUTCOME_NOT_STARTED, ON_UNKNOWN_DONE, 5, VERDICT_REJECT},
                {OUTCOME_UNKNOWN, ON_UNKNOWN_REJECT, 1, VERDICT_REJECT},
                {OUTCOME_UNKNOWN, ON_UNKNOWN_RETRY, 4, VERDICT_RETRY},
                {OUTCOME_UNKNOWN, ON_UNKNOWN_RETRY, 5, VERDICT_REJECT},
                {OUTCOME_UNKNOWN, ON_UNKNOWN_DONE, 5, VERDICT_ACCEPT},
                {OUTCOME_OUTAGE, ON_UNKNOWN_REJECT, 99, VERDICT_RETRY},
                {OUTCOME_POISON, ON_UNKNOWN_RETRY, 0, VERDICT_REJECT},
                {OUTCOME_INTERNAL, ON_UNKNOWN_RETRY, 0, VERDICT_REJECT},
                {OUTCOME_CANCELLED, ON_UNKNOWN_REJECT, 99, VERDICT_RELEASE},
        };
        for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
                Verdict verdict =
                        outcome_verdict(rows[i].outcome, rows[i].on_unknown, rows[i].charged, 5);
                if (verdict != rows[i].verdict) {
                        fail_msg("row %zu (%s): %d, not %d", i, outcome_name(rows[i].outcome),
                                 verdict, rows[i].verdict);
                }
        }
}

static void test_what_is_charged_and_what_is_success(void **state) {
        (void)state;
        for (size_t i = 0; i < N_ALL; i++) {
                Outcome o = all[i];
                assert_int_equal(outcome_is_success(o),
                                 o == OUTCOME_DONE || o == OUTCOME_SUPPRESSED);
                assert_int_equal(outcome_is_charged(o), o == OUTCOME_FAILED ||
                                                                o == OUTCOME_NOT_STARTED ||
                                                                o == OUTCOME_UNKNOWN);
        }
}

static void test_what_is_free_never_rejects(void **state) {
        (void)state;
        for (size_t i = 0; i < N_ALL; i++) {
                if (!outcome_is_charged(all[i])) {
                        assert_int_equal(outcome_verdict(all[i], ON_UNKNOWN_RETRY, 0, 1),
                                         outcome_verdict(all[i], ON_UNKNOWN_RETRY, 1000, 1));
                }
        }
}

static void test_combine(void **state) {
        (void)state;
        /* Weakest first. */
        static const Verdict order[] = {
                VERDICT_ACCEPT, VERDICT_RETRY, VERDICT_REJECT, VERDICT_RELEASE, VERDICT_NONE,
        };
        for (size_t i = 0; i < 5; i++) {
                for (size_t j = 0; j < 5; j++) {
                        assert_int_equal(verdict_combine(order[i], order[j]), order[i > j ? i : j]);
                }
        }
}

static void test_names(void **state) {
        (void)state;
        for (size_t i = 0; i < N_ALL; i++) {
                for (size_t j = 0; j < i; j++) {
                        assert_string_not_equal(outcome_name(all[i]), outcome_name(all[j]));
                }
        }
        assert_string_equal(outcome_name(OUTCOME_NOT_STARTED), "not_started");
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_the_table),
                cmocka_unit_test(test_what_is_charged_and_what_is_success),
                cmocka_unit_test(test_what_is_free_never_rejects),
                cmocka_unit_test(test_combine),
                cmocka_unit_test(test_names),
        };
        return cmocka_run_group_tests(tests, NULL, NULL);
}
