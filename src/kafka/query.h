#pragma once

/*
 * One question to Kafka for a command that may block; the daemon asks through its consumer.
 */

#include <stdbool.h>
#include <stdint.h>

#include "kafka/consumer.h"

typedef struct QueryPartition {
        int64_t committed; /* by the group of the settings; -1: none */
        bool ours;         /* its metadata is CONSUMER_METADATA */
        int64_t low, high; /* both ends of the log */
        char *cluster_id;  /* the caller's: free() */
} QueryPartition;

enum {
        QUERY_E_CONFIG = 1,      /* librdkafka refuses a setting */
        QUERY_E_UNREACHABLE = 2, /* no answer within the limit */
        QUERY_E_UNKNOWN = 3,     /* there is no such topic or partition */
};

/* Calls @each with the name of every setting that librdkafka knows; the name is valid during it. */
void query_settings(void (*each)(void *user, const char *name), void *user);

/* Blocks for @limit_us at most, four times over. Joins no group. *@errorp: a malloc'd sentence on a
 * positive result. -ENOMEM. */
MUST_CHECK int query_partition(const ConsumerSetting *settings, size_t n_settings,
                               const char *topic, int32_t partition, int64_t limit_us,
                               QueryPartition *answer, char **errorp);

/* A topic, as Kafka knows it now. */
typedef struct QueryTopic {
        const char *name;   /* of the question */
        int32_t partitions; /* 0: there is no such topic, or see error */
        const char *error;  /* why it does not say, static; NULL: it does */
} QueryTopic;

/* Asks about @n topics, which are not made by that, and for the cluster's id: the caller's, free().
 * Blocks for @limit_us at most, once for each topic; the first without an answer ends it. Joins no
 * group. QUERY_E_CONFIG, QUERY_E_UNREACHABLE with a malloc'd sentence in *@errorp; -ENOMEM. */
MUST_CHECK int query_topics(const ConsumerSetting *settings, size_t n_settings, QueryTopic *topics,
                            size_t n, int64_t limit_us, char **cluster_idp, char **errorp);
