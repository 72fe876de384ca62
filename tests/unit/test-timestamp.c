#include "test.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "core/backoff.h"
#include "core/timestamp.h"

/* Of exactly so many bytes, so that the sanitizer sees what is read behind them. */
static int parse(const char *text, size_t size, int64_t *us) {
        char *copy = malloc(size > 0 ? size : 1);
        assert_non_null(copy);
        memcpy(copy, text, size);
        int r = timestamp_parse(copy, size, us);
        free(copy);
        return r;
}

static void test_valid(void **state) {
        (void)state;
        struct {
                const char *text;
                int64_t us;
        } rows[] = {
                {"1970-01-01T00:00:00Z", 0},
                {"1970-01-01T00:00:00.000001Z", 1},
                {"1969-12-31T23:59:59.999999Z", -1},
                {"1969-12-31T23:59:59Z", -1000000},
                {"2024-05-06T07:08:09Z", 1714979289000000},
                {"2024-05-06t07:08:09z", 1714979289000000},
                {"2024-05-06 07:08:09Z", 1714979289000000},
                {"2024-05-06T07:08:09.5Z", 1714979289500000},
                {"2024-05-06T07:08:09.123456789123456789Z", 1714979289123456},
                {"2024-05-06T09:08:09+02:00", 1714979289000000},
                {"2024-05-06T01:38:09-05:30", 1714979289000000},
                {"2024-05-06T07:08:09-00:00", 1714979289000000},
                {"2024-02-29T00:00:00Z", 1709164800000000},
                {"2000-02-29T00:00:00Z", 951782400000000},
                {"2016-12-31T23:59:60Z", 1483228800000000},
                {"2016-12-31T15:59:60.5-08:00", 1483228800500000},
                {"0000-01-01T00:00:00Z", -62167219200000000},
                {"9999-12-31T23:59:59.999999Z", 253402300799999999},
        };
        for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
                int64_t us = 42;
                if (parse(rows[i].text, strlen(rows[i].text), &us) != 0 || us != rows[i].us) {
                        fail_msg("%s: %ld", rows[i].text, (long)us);
                }
        }
}

static void test_invalid(void **state) {
        (void)state;
        static const char *const rows[] = {
                "",
                "2024",
                "2024-05-06",
                "2024-05-06T07:08",
                "2024-05-06T07:08:09",
                "2024-05-06T07:08:09 Z",
                "2024-05-06T07:08:09ZZ",
                " 2024-05-06T07:08:09Z",
                "2024-05-06T07:08:09.Z",
                "2024-05-06T07:08:09,5Z",
                "2024-05-06T07:08:09+0200",
                "2024-05-06T07:08:09+02",
                "2024-05-06T07:08:09+24:00",
                "2024-05-06T07:08:09+02:60",
                "2024-05-06T24:00:00Z",
                "2024-05-06T07:60:09Z",
                "2024-05-06T07:08:61Z",
                "2024-05-06T07:08:60Z",
                "2024-00-06T07:08:09Z",
                "2024-13-06T07:08:09Z",
                "2024-05-00T07:08:09Z",
                "2024-04-31T07:08:09Z",
                "2023-02-29T07:08:09Z",
                "1900-02-29T07:08:09Z",
                "24-05-06T07:08:09Z",
                "20240506T070809Z",
                "+2024-05-06T07:08:09Z",
                "12024-05-06T07:08:09Z",
                "2024-5-6T07:08:09Z",
                "2024-05-06T-7:08:09Z",
                "1714979289",
                "2024-05-06T07:08:09.",
                "2024-05-06T07:08:09.5",
                "2024-05-06T07:08:09+",
                "2024-05-06T07:08:09+0",
                "2024-05-06T07:08:09+02:",
                "2024-05-06T07:08:09+02:0",
                "2024-05-06T07:08:0",
                "2024-05-06T",
                "2024-05-",
                "202",
                "yesterday",
        };
        for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
                int64_t us = 42;
                if (parse(rows[i], strlen(rows[i]), &us) != TIMESTAMP_E_INVALID) {
                        fail_msg("%s: %ld", rows[i], (long)us);
                }
                assert_int_equal(us, 42);
        }
        int64_t us;
        assert_int_equal(parse("2024-05-06T07:08:09\0", 20, &us), TIMESTAMP_E_INVALID);
        assert_int_equal(parse("2024-05-06T07:08:09Z", 19, &us), TIMESTAMP_E_INVALID);
}

static void test_against_the_library(void **state) {
        (void)state;
        uint64_t random = 11;
        for (int i = 0; i < 20000; i++) {
                time_t t = (time_t)(random_next(&random) % 253402300800);
                struct tm tm;
                char text[64];
                gmtime_r(&t, &tm);
                strftime(text, sizeof(text), "%Y-%m-%dT%H:%M:%SZ", &tm);
                int64_t us;
                assert_int_equal(parse(text, strlen(text), &us), 0);
                assert_int_equal(us, t * 1000000);
        }
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_valid),
                cmocka_unit_test(test_invalid),
                cmocka_unit_test(test_against_the_library),
        };
        return cmocka_run_group_tests(tests, NULL, NULL);
}
