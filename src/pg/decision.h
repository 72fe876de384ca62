#pragma once

/*
 * The operator's decision about a partition that stopped: kept in its row of `partitions`, found by
 * the daemon that has the partition, and done with when it is committed.
 */

#include <stdbool.h>
#include <stdint.h>

#include "pg/connection.h"
#include "util/error.h"

typedef struct Decision {
        const char *cluster, *group, *topic;
        int32_t partition;
        int64_t from;    /* the next offset to read */
        bool anew;       /* the topic was made again: a new source */
        const char *who; /* user@host */
        const char *why;
} Decision;

enum {
        DECISION_E_CONNECT = 1, /* PostgreSQL can't be reached, or does not let us in */
        DECISION_E_REFUSED = 2, /* it said no */
};

/* Writes it down. Blocks: for the command, not for a loop. @schema is a checked name. *@errorp: a
 * malloc'd sentence on a positive result. -ENOMEM. */
MUST_CHECK int decision_write(const char *dsn, const char *password, const char *schema,
                              const Decision *decision, char **errorp);
