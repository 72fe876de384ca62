#pragma once

/*
 * How fast the dead-letter topic is fed: when the table is looked at, how much is taken, when what
 * could not be delivered is tried again. Pure; app/dead_letter_feeder.c asks it.
 *
 * A row that is taken is leased: nobody else takes it for FEED_LEASE_US, so that nothing is locked
 * while Kafka is asked. What the lease covers: the answer of PostgreSQL, the delivery
 * (FEED_DELIVERY_US at most), and the mark. Whatever dies meanwhile, the row is taken again when
 * the lease is over: at least once.
 *
 * Two kinds of failure. One that every record would meet (no such topic, no right, no broker) slows
 * down the whole feed, and one row alone asks whether it is over: the others must not be charged.
 * One that is a row's own delays that row alone.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
        FEED_ROWS_MAX = 64,
        FEED_BYTES_MAX = 4 * 1024 * 1024, /* of a take, but for one row that is larger by itself */
};

#define FEED_LEASE_US       (INT64_C(60) * 1000000)
#define FEED_DELIVERY_US    (INT64_C(30) * 1000000) /* the producer's message.timeout.ms */
#define FEED_MARK_US        (INT64_C(10) * 1000000) /* of the lease, for the mark */
#define FEED_LOOK_US        (INT64_C(5) * 1000000)
#define FEED_BACKOFF_US     (INT64_C(1) * 1000000)
#define FEED_BACKOFF_MAX_US (INT64_C(300) * 1000000) /* of a row */
#define FEED_TROUBLE_MAX_US (INT64_C(30) * 1000000)  /* of the feed */

typedef enum FeedFault {
        FEED_DELIVERED,
        FEED_ROW,   /* this record is refused, others may not be */
        FEED_TOPIC, /* the topic, the right or the brokers: any record would fail */
} FeedFault;

/* What became of a take. */
typedef struct FeedResult {
        size_t taken, delivered;
        size_t topic_faults;
} FeedResult;

typedef struct Feed {
        unsigned troubles; /* takes in a row of which nothing arrived */
        uint64_t random;   /* any seed */
} Feed;

/* Rows of the next take. */
size_t feed_rows(const Feed *feed);

/* Whether the lease of what was asked for at @asked_us outlives its delivery; otherwise it is left
 * to be taken again. */
bool feed_may_send(int64_t asked_us, int64_t now_us);

/* µs from now on, after which a row that could not be delivered for the @attempts-th time (from 1)
 * is taken again: full jitter up to 1 s, doubled up to 5 min. */
int64_t feed_retry(Feed *feed, unsigned attempts);

/* After a take: µs until the next one; 0: at once. */
int64_t feed_next(Feed *feed, const FeedResult *result);

/* Rows were written here: whether a look is due at once. */
bool feed_is_awake(const Feed *feed);

/* µs until a look without news, half jittered: instances that started together drift apart. */
int64_t feed_look(Feed *feed);
