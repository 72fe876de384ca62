#include "test.h"

#include "pg/sqlstate.h"

static void test_row_faults(void **state) {
        (void)state;
        static const char *const faults[] = {"22P05", "22021", "22P02", "22003", "22008",
                                             "23502", "23505", "54000", "54001"};
        static const char *const others[] = {"23514", "25006", "40001", "40P01", "42501", "53100",
                                             "53300", "55P03", "57014", "57P01", "57P03", "08006",
                                             "3F000", "28P01", "XX000", "AK001", ""};
        for (size_t i = 0; i < sizeof(faults) / sizeof(faults[0]); i++) {
                assert_true(sqlstate_is_row_fault(faults[i]));
                assert_int_equal(sqlstate_batch_end(PG_REFUSED, faults[i]), BATCH_REFUSED);
        }
        for (size_t i = 0; i < sizeof(others) / sizeof(others[0]); i++) {
                assert_false(sqlstate_is_row_fault(others[i]));
        }
}

static void test_batch_end(void **state) {
        (void)state;
        static const char *const outages[] = {"23514", "25006", "40001", "40P01", "42501", "42P01",
                                              "53100", "53300", "55P03", "57014", "57P01", "57P03",
                                              "08006", "3F000", "28P01", "XX000", "AK003", ""};
        for (size_t i = 0; i < sizeof(outages) / sizeof(outages[0]); i++) {
                assert_int_equal(sqlstate_batch_end(PG_REFUSED, outages[i]), BATCH_OUTAGE);
        }
        assert_int_equal(sqlstate_batch_end(PG_OK, ""), BATCH_SAVED);
        assert_int_equal(sqlstate_batch_end(PG_LOST, ""), BATCH_UNKNOWN);
        assert_int_equal(sqlstate_batch_end(PG_LOST, "22P05"), BATCH_UNKNOWN);
        assert_int_equal(sqlstate_batch_end(PG_DROPPED, ""), BATCH_OUTAGE);
        assert_int_equal(sqlstate_batch_end(PG_REFUSED, SQLSTATE_FENCE), BATCH_FENCE);
        assert_int_equal(sqlstate_batch_end(PG_REFUSED, SQLSTATE_ALL_REFUSED), BATCH_REFUSED);
}

static void test_alarms_have_remedies(void **state) {
        (void)state;
        static const char *const alarms[] = {"28P01", "28000", "3D000", "3F000", "42501",
                                             "42P01", "23514", "53100", "AK002", "AK003"};
        static const char *const quiet[] = {"57P03", "40001", "55P03", "22P05",
                                            "AK001", "53300", ""};
        for (size_t i = 0; i < sizeof(alarms) / sizeof(alarms[0]); i++) {
                assert_true(sqlstate_is_alarm(alarms[i]));
                assert_non_null(sqlstate_remedy(alarms[i]));
        }
        for (size_t i = 0; i < sizeof(quiet) / sizeof(quiet[0]); i++) {
                assert_false(sqlstate_is_alarm(quiet[i]));
        }
        assert_null(sqlstate_remedy("57P03"));
        assert_null(sqlstate_remedy(""));
        /* The narrower entry wins. */
        assert_ptr_not_equal(sqlstate_remedy("42501"), sqlstate_remedy("42P01"));
}

/* What PostgreSQL 15 says to who may not come in. */
static void test_guess(void **state) {
        (void)state;
        static const struct {
                const char *message, *sqlstate;
        } table[] = {
                {"connection to server at \"db\" (192.0.2.1), port 5432 failed: FATAL:  password "
                 "authentication failed for user \"ackd\"\n",
                 "28P01"},
                {"FATAL:  Peer authentication failed for user \"ackd\"", "28000"},
                {"FATAL:  no pg_hba.conf entry for host \"192.0.2.1\", user \"a\"", "28000"},
                {"FATAL:  role \"ackd\" does not exist", "28000"},
                {"FATAL:  database \"ackd\" does not exist", "3D000"},
                {"failed: session is read-only", "25006"},
                {"FATAL:  sorry, too many clients already", "53300"},
                {"failed: Connection refused", ""},
                {"FATAL:  database \"ackd\" is being accessed", ""},
                {"", ""},
        };
        for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
                assert_string_equal(sqlstate_guess(table[i].message), table[i].sqlstate);
        }
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_row_faults),
                cmocka_unit_test(test_batch_end),
                cmocka_unit_test(test_alarms_have_remedies),
                cmocka_unit_test(test_guess),
        };
        return cmocka_run_group_tests(tests, NULL, NULL);
}
