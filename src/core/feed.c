#include "core/feed.h"

#include "core/backoff.h"

_Static_assert(FEED_DELIVERY_US + FEED_MARK_US < FEED_LEASE_US, "a lease outlives a delivery");

size_t feed_rows(const Feed *feed) {
        return feed->troubles > 0 ? 1 : FEED_ROWS_MAX;
}

bool feed_may_send(int64_t asked_us, int64_t now_us) {
        return now_us - asked_us + FEED_DELIVERY_US + FEED_MARK_US <= FEED_LEASE_US;
}

int64_t feed_retry(Feed *feed, unsigned attempts) {
        return backoff_delay(FEED_BACKOFF_US, FEED_BACKOFF_MAX_US, attempts > 0 ? attempts - 1 : 0,
                             &feed->random);
}

int64_t feed_next(Feed *feed, const FeedResult *result) {
        if (result->taken == 0) {
                return feed_look(feed);
        }
        if (result->topic_faults == 0 && result->delivered > 0) {
                feed->troubles = 0;
                return 0; /* there may be more; the empty take after the last one ends it */
        }
        /* A take of which nothing arrived is no better, whatever the words: it may be something
         * that nobody listed. */
        unsigned before = feed->troubles;
        feed->troubles += feed->troubles < 63;
        return backoff_delay(FEED_BACKOFF_US, FEED_TROUBLE_MAX_US, before, &feed->random);
}

bool feed_is_awake(const Feed *feed) {
        return feed->troubles == 0;
}

int64_t feed_look(Feed *feed) {
        int64_t half = FEED_LOOK_US / 2;
        return half + (int64_t)(random_next(&feed->random) % (uint64_t)(half + 1));
}
