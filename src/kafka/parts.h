#pragma once

/*
 * The partitions of the present assignment, sorted by topic and number. An object lives from its
 * assignment to its unassignment; the same partition handed back is another one, with another id,
 * so that a late result can never touch it.
 */

#include <librdkafka/rdkafka.h>
#include <stdbool.h>
#include <stdint.h>

#include "kafka/consumer.h"
#include "util/error.h"

typedef struct Part {
        ConsumerPartition partition; /* what the application sees */
        uint64_t id;                 /* never used again in this consumer */
        const rd_kafka_topic_t *rkt; /* of its messages; borrowed, to be compared only */
        int64_t next;                /* the lowest offset that is delivered */
        int64_t high;                /* the end of the log at the newest look-up; -1: none */
        int64_t committing;          /* the offset in the commit under way; -1: not in it */
        bool paused;                 /* by us: only then is it resumed */
        bool revoked;                /* named by the revoke that waits for its answer */
        unsigned refused;            /* starts in a row, for want of a fetcher */
        char topic[];
} Part;

typedef struct Parts {
        Part **all;
        size_t n, capacity;
        Part *last; /* the newest hit of parts_find_message() */
        uint64_t newest_id;
} Parts;

void parts_deinit(Parts *parts);

/* *@partp: the new one. -EEXIST without an origin: it is there already, *@partp untouched. */
MUST_CHECK int parts_add(Parts *parts, const char *topic, int32_t partition, Part **partp);

/* NULL: not assigned. */
Part *parts_find(const Parts *parts, const char *topic, int32_t partition);
Part *parts_find_id(const Parts *parts, const char *topic, int32_t partition, uint64_t id);

/* The same for a message: they come in runs of one partition, so the last hit is tried first. */
Part *parts_find_message(Parts *parts, const rd_kafka_topic_t *rkt, int32_t partition);

/* Frees those that are revoked, or all of them. */
void parts_remove(Parts *parts, bool all);
