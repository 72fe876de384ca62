#include "test.h"

#include "core/backoff.h"

static void test_the_sequence_is_the_published_one(void **state) {
        (void)state;
        /* SplitMix64's reference output for seed 1234567. */
        uint64_t random = 1234567;
        assert_true(random_next(&random) == 6457827717110365317U);
        assert_true(random_next(&random) == 3203168211198807973U);
        assert_true(random_next(&random) == 9817491932198370423U);
}

static void test_bounds(void **state) {
        (void)state;
        uint64_t random = 0;
        for (unsigned attempt = 0; attempt < 200; attempt++) {
                int64_t ceiling = attempt < 9 ? 1000000LL << attempt : 300000000;
                for (int i = 0; i < 200; i++) {
                        int64_t delay = backoff_delay(1000000, 300000000, attempt, &random);
                        assert_in_range(delay, BACKOFF_MIN_US, ceiling);
                }
        }
}

static void test_the_jitter_is_full(void **state) {
        (void)state;
        uint64_t random = 7;
        int low = 0, high = 0;
        int64_t sum = 0;
        for (int i = 0; i < 10000; i++) {
                int64_t delay = backoff_delay(1000000, 300000000, 3, &random);
                low += delay < 800000;
                high += delay > 7200000;
                sum += delay;
        }
        assert_in_range(low, 900, 1100); /* a tenth of 8 s each: five standard deviations */
        assert_in_range(high, 900, 1100);
        assert_in_range(sum / 10000, 3850000, 4150000);
}

static void test_extremes(void **state) {
        (void)state;
        uint64_t random = 1;
        assert_int_equal(backoff_delay(0, 0, 0, &random), BACKOFF_MIN_US);
        assert_int_equal(backoff_delay(0, 5000000, 70, &random), BACKOFF_MIN_US);
        assert_int_equal(backoff_delay(-1, -1, 3, &random), BACKOFF_MIN_US);
        assert_int_equal(backoff_delay(1, 1, 0, &random), BACKOFF_MIN_US);
        unsigned attempts[] = {0, 1, 61, 62, 63, 64, 1000000, UINT32_MAX};
        for (size_t i = 0; i < sizeof(attempts) / sizeof(attempts[0]); i++) {
                for (int j = 0; j < 100; j++) {
                        assert_true(backoff_delay(INT64_MAX, INT64_MAX, attempts[i], &random) >=
                                    BACKOFF_MIN_US);
                        assert_true(backoff_delay(1, INT64_MAX, attempts[i], &random) >=
                                    BACKOFF_MIN_US);
                        assert_in_range(backoff_delay(INT64_MAX, 2000, attempts[i], &random),
                                        BACKOFF_MIN_US, 2000);
                }
        }
}

static void test_the_same_seed_gives_the_same_delays(void **state) {
        (void)state;
        uint64_t a = 99, b = 99;
        for (unsigned i = 0; i < 50; i++) {
                assert_int_equal(backoff_delay(1000000, 300000000, i, &a),
                                 backoff_delay(1000000, 300000000, i, &b));
        }
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_the_sequence_is_the_published_one),
                cmocka_unit_test(test_bounds),
                cmocka_unit_test(test_the_jitter_is_full),
                cmocka_unit_test(test_extremes),
                cmocka_unit_test(test_the_same_seed_gives_the_same_delays),
        };
        return cmocka_run_group_tests(tests, NULL, NULL);
}
