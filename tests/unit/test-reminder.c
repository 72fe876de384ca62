#include "test.h"

#include <stdio.h>

#include "util/reminder.h"

#define SECOND INT64_C(1000000)

static void test_at_once_and_then_once_a_minute(void **state) {
        (void)state;
        Reminder reminder = {0};
        int said = 0;
        for (int64_t second = 1000; second <= 1600; second++) {
                said += reminder_is_due(&reminder, "away", second * SECOND);
        }
        assert_int_equal(said, 11);
        assert_false(reminder_is_due(&reminder, "away", 1660 * SECOND - 1));
        assert_true(reminder_is_due(&reminder, "away", 1660 * SECOND));
}

static void test_each_has_its_own_minute(void **state) {
        (void)state;
        Reminder reminder = {0};
        assert_true(reminder_is_due(&reminder, "a", 0));
        assert_true(reminder_is_due(&reminder, "", 30 * SECOND));
        assert_false(reminder_is_due(&reminder, "a", 59 * SECOND));
        assert_true(reminder_is_due(&reminder, "a", 60 * SECOND));
        assert_false(reminder_is_due(&reminder, "", 60 * SECOND));
        assert_true(reminder_is_due(&reminder, "", 90 * SECOND));
}

static void test_what_was_forgotten_is_news(void **state) {
        (void)state;
        Reminder reminder = {0};
        assert_true(reminder_is_due(&reminder, "a", 0));
        reminder_forget(&reminder);
        assert_true(reminder_is_due(&reminder, "a", 1));
        assert_false(reminder_is_due(&reminder, "a", 2));
}

static void test_the_oldest_goes(void **state) {
        (void)state;
        Reminder reminder = {0};
        char what[16];
        for (int i = 0; i <= REMINDER_SEEN; i++) {
                snprintf(what, sizeof(what), "%d", i);
                assert_true(reminder_is_due(&reminder, what, i * SECOND));
        }
        assert_false(reminder_is_due(&reminder, "1", 50 * SECOND));
        assert_true(reminder_is_due(&reminder, "0", 50 * SECOND));
        assert_true(reminder_is_due(&reminder, "1", 50 * SECOND));
}

static void test_every(void **state) {
        (void)state;
        Reminder reminder = {0};
        const int64_t hour = INT64_C(3600) * 1000000;
        assert_true(reminder_is_due_every(&reminder, "a", 5, hour));
        assert_false(reminder_is_due_every(&reminder, "a", hour, hour));
        assert_true(reminder_is_due_every(&reminder, "b", hour, hour));
        assert_true(reminder_is_due_every(&reminder, "a", 5 + hour, hour));
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_every),
                cmocka_unit_test(test_at_once_and_then_once_a_minute),
                cmocka_unit_test(test_each_has_its_own_minute),
                cmocka_unit_test(test_what_was_forgotten_is_news),
                cmocka_unit_test(test_the_oldest_goes),
        };
        return cmocka_run_group_tests(tests, NULL, NULL);
}
