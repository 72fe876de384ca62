/* How fast the dead-letter topic is fed. */

#include "test.h"

#include "core/feed.h"

enum {
        DRAWS = 2000,
};

static void test_lease(void **state) {
        (void)state;
        int64_t asked = 77;
        int64_t last = FEED_LEASE_US - FEED_DELIVERY_US - FEED_MARK_US;
        assert_true(last > 0);
        assert_true(feed_may_send(asked, asked));
        assert_true(feed_may_send(asked, asked + last));
        assert_false(feed_may_send(asked, asked + last + 1));
}

/* Full jitter below a ceiling that doubles from 1 s to 5 min. */
static void test_retry(void **state) {
        (void)state;
        Feed feed = {.random = 1};
        static const struct {
                unsigned attempts;
                int64_t ceiling;
        } table[] = {{0, 1000000},   {1, 1000000},    {2, 2000000},
                     {9, 256000000}, {10, 300000000}, {4000000000U, 300000000}};
        for (size_t i = 0; i < sizeof(table) / sizeof(*table); i++) {
                int64_t least = INT64_MAX, most = 0;
                for (int n = 0; n < DRAWS; n++) {
                        int64_t delay = feed_retry(&feed, table[i].attempts);
                        least = delay < least ? delay : least;
                        most = delay > most ? delay : most;
                }
                assert_true(least > 0 && least < table[i].ceiling / 10);
                assert_true(most <= table[i].ceiling && most > table[i].ceiling / 10 * 9);
        }
}

static void test_goes_on_while_there_is_something(void **state) {
        (void)state;
        Feed feed = {.random = 2};
        assert_int_equal(feed_rows(&feed), FEED_ROWS_MAX);
        assert_int_equal(feed_next(&feed, &(FeedResult){.taken = 64, .delivered = 64}), 0);
        /* Some refused for their own sake hold up nobody. */
        assert_int_equal(feed_next(&feed, &(FeedResult){.taken = 3, .delivered = 1}), 0);
        for (int i = 0; i < DRAWS; i++) {
                int64_t look = feed_next(&feed, &(FeedResult){0});
                assert_true(look >= FEED_LOOK_US / 2 && look <= FEED_LOOK_US);
        }
        assert_true(feed_is_awake(&feed));
}

/* One row asks; news do not hurry it; the delays grow up to their bound; one that arrives ends it.
 */
static void test_trouble(void **state) {
        (void)state;
        Feed feed = {.random = 3};
        static const FeedResult failed = {.taken = 64, .delivered = 1, .topic_faults = 63};
        static const FeedResult one = {.taken = 1, .topic_faults = 1};
        assert_true(feed_next(&feed, &failed) <= FEED_BACKOFF_US);
        assert_int_equal(feed_rows(&feed), 1);
        assert_false(feed_is_awake(&feed));
        int64_t most = 0;
        for (int i = 0; i < DRAWS; i++) {
                int64_t delay = feed_next(&feed, &one);
                assert_true(delay > 0 && delay <= FEED_TROUBLE_MAX_US);
                most = delay > most ? delay : most;
        }
        assert_true(most > FEED_TROUBLE_MAX_US / 2);
        /* Nothing is due: that says nothing. */
        (void)feed_next(&feed, &(FeedResult){0});
        assert_int_equal(feed_rows(&feed), 1);
        assert_int_equal(feed_next(&feed, &(FeedResult){.taken = 1, .delivered = 1}), 0);
        assert_int_equal(feed_rows(&feed), FEED_ROWS_MAX);
        assert_true(feed_is_awake(&feed));
}

/* Whatever the words were, a take of which nothing arrived slows down. */
static void test_nothing_arrived(void **state) {
        (void)state;
        Feed feed = {.random = 4};
        assert_true(feed_next(&feed, &(FeedResult){.taken = 2}) > 0);
        assert_int_equal(feed_rows(&feed), 1);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_lease),
                cmocka_unit_test(test_retry),
                cmocka_unit_test(test_goes_on_while_there_is_something),
                cmocka_unit_test(test_trouble),
                cmocka_unit_test(test_nothing_arrived),
        };
        return cmocka_run_group_tests(tests, NULL, NULL);
}
