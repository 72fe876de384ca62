#include "test.h"

#include "util/duration.h"

static void test_durations(void **state) {
        (void)state;
        static const struct {
                const char *text;
                int64_t us;
        } good[] = {
                {"0", 0},
                {"0s", 0},
                {"1us", 1},
                {"250ms", 250000},
                {"10s", 10000000},
                {"5m", 300000000},
                {"2h", 7200000000},
                {"7d", 604800000000},
                {"90s", 90000000},
                {"1500ms", 1500000},
                {"106751991d", 106751991 * 86400000000},
        };
        for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
                int64_t us = -1;
                const char *why = NULL;
                assert_int_equal(duration_parse(good[i].text, &us, &why), 0);
                assert_int_equal(us, good[i].us);
                /* What is formatted is the same duration, if not the same text. */
                char text[DURATION_TEXT];
                int64_t again = -1;
                assert_int_equal(duration_parse(duration_format(us, text), &again, &why), 0);
                assert_int_equal(again, us);
        }
}

static void test_wrong_durations(void **state) {
        (void)state;
        static const struct {
                const char *text;
                int error;
                const char *why;
        } bad[] = {
                {"", DURATION_E_SYNTAX, "does not begin with a number"},
                {"s", DURATION_E_SYNTAX, "does not begin with a number"},
                {" 1s", DURATION_E_SYNTAX, "does not begin with a number"},
                {"+1s", DURATION_E_SYNTAX, "does not begin with a number"},
                {"-1s", DURATION_E_SYNTAX, "is negative"},
                {"10", DURATION_E_SYNTAX, "has no unit, such as 10s"},
                {"010s", DURATION_E_SYNTAX, "begins with a superfluous 0"},
                {"1.5s", DURATION_E_SYNTAX, "has a fraction; use a smaller unit"},
                {"1 s", DURATION_E_SYNTAX, "has an unknown unit; known: ms s m h d"},
                {"1h30m", DURATION_E_SYNTAX, "has an unknown unit; known: ms s m h d"},
                {"1w", DURATION_E_SYNTAX, "has an unknown unit; known: ms s m h d"},
                {"1S", DURATION_E_SYNTAX, "has an unknown unit; known: ms s m h d"},
                {"106751992d", DURATION_E_RANGE, "is too large"},
                {"9223372036854775808us", DURATION_E_RANGE, "is too large"},
                {"18446744073709551616us", DURATION_E_RANGE, "is too large"},
                {"99999999999999999999999999999999s", DURATION_E_RANGE, "is too large"},
        };
        for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
                int64_t us = 42;
                const char *why = NULL;
                assert_int_equal(duration_parse(bad[i].text, &us, &why), bad[i].error);
                assert_string_equal(why, bad[i].why);
                assert_int_equal(us, 42);
        }
}

static void test_formats_durations(void **state) {
        (void)state;
        char text[DURATION_TEXT];
        assert_string_equal(duration_format(0, text), "0s");
        assert_string_equal(duration_format(65000000, text), "65s");
        assert_string_equal(duration_format(60000000, text), "1m");
        assert_string_equal(duration_format(86400000000, text), "1d");
        assert_string_equal(duration_format(1001, text), "1001us");
        assert_string_equal(duration_format(INT64_MAX, text), "9223372036854775807us");
}

static void test_sizes(void **state) {
        (void)state;
        static const struct {
                const char *text;
                size_t bytes;
        } good[] = {
                {"0", 0},
                {"1", 1},
                {"512B", 512},
                {"64KiB", 65536},
                {"1MiB", 1048576},
                {"3GiB", (size_t)3 << 30},
                {"2TiB", (size_t)2 << 40},
                {"18446744073709551615", SIZE_MAX},
        };
        for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
                size_t bytes = 42;
                const char *why = NULL;
                assert_int_equal(size_parse(good[i].text, &bytes, &why), 0);
                assert_true(bytes == good[i].bytes);
                char text[DURATION_TEXT];
                size_t again = 42;
                assert_int_equal(size_parse(size_format(bytes, text), &again, &why), 0);
                assert_true(again == bytes);
        }
        char text[DURATION_TEXT];
        assert_string_equal(size_format(1536, text), "1536B");
        assert_string_equal(size_format(1 << 20, text), "1MiB");
        assert_string_equal(size_format(0, text), "0B");
}

static void test_wrong_sizes(void **state) {
        (void)state;
        static const char *const bad[] = {
                "",     "MiB",   "1MB",         "1kb", "1 KiB", "1.5", "-1",
                "0x10", "1KiBs", "16777216TiB", "01",  "1kib",  "1e3", "18446744073709551616"};
        for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
                size_t bytes = 42;
                const char *why = NULL;
                assert_true(size_parse(bad[i], &bytes, &why) > 0);
                assert_non_null(why);
                assert_int_equal(bytes, 42);
        }
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_durations),         cmocka_unit_test(test_wrong_durations),
                cmocka_unit_test(test_formats_durations), cmocka_unit_test(test_sizes),
                cmocka_unit_test(test_wrong_sizes),
        };
        return cmocka_run_group_tests(tests, NULL, NULL);
}
