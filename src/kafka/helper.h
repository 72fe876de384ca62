#pragma once

/*
 * The helper thread: makes the look-ups that block, one after the other, and posts their results to
 * the loop.
 *
 * A request belongs to the helper from helper_ask() until `answered`, which frees nothing: the
 * request is freed after it returns. Every request is answered by its deadline: one that waited
 * behind others until then is answered without being made, and each call into librdkafka gets the
 * time that is left. (rd_kafka_query_watermark_offsets is not used: 2.0.2 ignores its timeout once
 * the request is under way. rd_kafka_offsets_for_times asks the same question of all partitions at
 * once, one request for each leader, and keeps to it.)
 */

#include <librdkafka/rdkafka.h>
#include <stdbool.h>
#include <stdint.h>

#include "util/error.h"
#include "util/list.h"
#include "util/loop.h"

typedef struct Helper Helper;

typedef enum HelperKind {
        HELPER_LOOK_UP,        /* committed offsets and both ends of the log */
        HELPER_LOOK_COMMITTED, /* committed offsets */
        HELPER_WAKE,           /* any answer of each leader: wakes its fetcher */
        HELPER_PROBE,          /* whether a broker answers */
        HELPER_TOPICS,         /* whether each topic exists: its err, or `error` */
} HelperKind;

typedef struct HelperRequest {
        HelperKind kind;
        int64_t deadline_us; /* loop_now() */
        /* What is asked about, and for the first two kinds the answer: offset, metadata, err. */
        rd_kafka_topic_partition_list_t *partitions;
        uint64_t *ids;             /* the asker's, one for each partition */
        int64_t *low;              /* LOOK_UP: one for each; -1: not known */
        int64_t *high;             /* likewise */
        char *cluster_id;          /* LOOK_UP, PROBE: NULL when it is not known */
        rd_kafka_resp_err_t error; /* the first; of all partitions or of one */
        List link;
} HelperRequest;

/* On the loop's thread. */
typedef void (*HelperAnswered)(void *user, HelperRequest *request);

/* @rk outlives the helper. All signals are blocked in the thread. Negative errno. */
MUST_CHECK int helper_new(Helper **helperp, Loop *loop, rd_kafka_t *rk, HelperAnswered answered,
                          void *user);

/* Ends the thread; what was not answered never is. It may be in a call that blocks: true when it
 * ended within @limit_us; otherwise false, and the thread frees what is its own when its call
 * returns, and @rk must be left alone until then, which is the end of the process. NULL: true. */
bool helper_free(Helper *helper, int64_t limit_us);

/* @partitions entries of each array; NULL: no memory. */
HelperRequest *helper_request_new(HelperKind kind, size_t n_partitions, int64_t limit_us);
void helper_request_free(HelperRequest *request);

/* Takes over @request. */
void helper_ask(Helper *helper, HelperRequest *request);

/* Destroys @rk on a thread of its own, since that joins librdkafka's threads, one of which may be
 * in getaddrinfo(); waits @limit_us for it. False: it is still under way, or there was no thread
 * for it; the end of the process ends it. */
bool helper_destroy_handle(rd_kafka_t *rk, int64_t limit_us);
