#include "test.h"

#include <stdbool.h>

#include "core/backoff.h"
#include "core/offsets.h"

static void test_an_empty_one(void **state) {
        (void)state;
        Offsets offsets;
        offsets_init(&offsets, 42);
        assert_int_equal(offsets.watermark, 42);
        assert_int_equal(offsets_oldest(&offsets), -1);
        assert_int_equal(offsets_gap(&offsets), 0);
        offsets_deinit(&offsets);
}

static void test_the_watermark_waits_for_the_oldest(void **state) {
        (void)state;
        Offsets offsets;
        uint64_t s[4];
        offsets_init(&offsets, 10);
        for (int i = 0; i < 4; i++) {
                assert_int_equal(offsets_admit(&offsets, 10 + i, &s[i]), 0);
        }
        offsets_resolve(&offsets, s[2]);
        offsets_resolve(&offsets, s[1]);
        assert_int_equal(offsets.watermark, 10);
        assert_int_equal(offsets_oldest(&offsets), 10);
        assert_int_equal(offsets_gap(&offsets), 4);
        offsets_resolve(&offsets, s[0]);
        assert_int_equal(offsets.watermark, 13);
        assert_int_equal(offsets_oldest(&offsets), 13);
        assert_int_equal(offsets_gap(&offsets), 1);
        offsets_resolve(&offsets, s[3]);
        assert_int_equal(offsets.watermark, 14);
        assert_int_equal(offsets_oldest(&offsets), -1);
        offsets_deinit(&offsets);
}

/* Compaction and transaction markers leave offsets that never come. */
static void test_gaps_are_crossed(void **state) {
        (void)state;
        Offsets offsets;
        uint64_t a, b, c;
        offsets_init(&offsets, 0);
        assert_int_equal(offsets_admit(&offsets, 5, &a), 0);
        assert_int_equal(offsets_admit(&offsets, 1000, &b), 0);
        assert_int_equal(offsets_admit(&offsets, INT64_MAX - 1, &c), 0);
        offsets_resolve(&offsets, a);
        assert_int_equal(offsets.watermark, 6);
        offsets_resolve(&offsets, c);
        offsets_resolve(&offsets, b);
        assert_int_equal(offsets.watermark, INT64_MAX);
        offsets_deinit(&offsets);
}

/* Against the plain definition, with the ring wrapping and growing at odd places. */
static void test_against_a_model(void **state) {
        (void)state;
        enum { N = 3000 };
        static int64_t offset[N];
        static uint64_t sequence[N];
        static bool resolved[N];
        for (uint64_t seed = 0; seed < 20; seed++) {
                uint64_t random = seed;
                Offsets offsets;
                offsets_init(&offsets, 0);
                size_t admitted = 0, left = 0;
                int64_t last = -1, watermark = 0;
                size_t bias = 1 + random_next(&random) % 9;
                while (admitted < N || left > 0) {
                        if (admitted < N && (left == 0 || random_next(&random) % 10 < bias)) {
                                last += 1 + (int64_t)(random_next(&random) % 4);
                                offset[admitted] = last;
                                resolved[admitted] = false;
                                assert_int_equal(offsets_admit(&offsets, last, &sequence[admitted]),
                                                 0);
                                admitted++;
                                left++;
                        } else {
                                size_t i = random_next(&random) % admitted;
                                while (resolved[i]) {
                                        i = (i + 1) % admitted;
                                }
                                resolved[i] = true;
                                left--;
                                offsets_resolve(&offsets, sequence[i]);
                        }
                        size_t oldest = 0;
                        while (oldest < admitted && resolved[oldest]) {
                                oldest++;
                        }
                        if (oldest > 0) {
                                watermark = offset[oldest - 1] + 1;
                        }
                        assert_int_equal(offsets.watermark, watermark);
                        assert_int_equal(offsets_gap(&offsets), admitted - oldest);
                        size_t stranded = 0;
                        for (size_t i = oldest; i < admitted; i++) {
                                stranded += resolved[i];
                        }
                        assert_int_equal(offsets_stranded(&offsets), stranded);
                        assert_int_equal(offsets_oldest(&offsets),
                                         oldest < admitted ? offset[oldest] : -1);
                }
                offsets_deinit(&offsets);
        }
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_an_empty_one),
                cmocka_unit_test(test_the_watermark_waits_for_the_oldest),
                cmocka_unit_test(test_gaps_are_crossed),
                cmocka_unit_test(test_against_a_model),
        };
        return cmocka_run_group_tests(tests, NULL, NULL);
}
