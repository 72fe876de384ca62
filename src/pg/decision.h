#pragma once

/*
 * The operator's decision about a partition that stopped: kept in its row of `partitions`, found by
 * the daemon that has the partition, and done with when it is committed.
 *
 * Everything here blocks: it is for the command, not for a loop. *@errorp is a malloc'd sentence on
 * a positive result; -ENOMEM.
 */

#include <stdbool.h>
#include <stdint.h>

#include "core/assignment.h"
#include "pg/sources.h"
#include "util/error.h"

/* A connection. */
typedef struct Decider Decider;

typedef struct Decision {
        int64_t from;    /* the next offset to read */
        bool anew;       /* the topic was made again: a new source */
        const char *who; /* user@host */
        const char *why;
        bool expires; /* what was saved and never acked, and is read no more, goes to `rejected` */
        bool dead_letters; /* ... and from there to the dead-letter topic */
} Decision;

enum {
        DECISION_E_CONNECT = 1, /* PostgreSQL can't be reached, or does not let us in */
        DECISION_E_REFUSED = 2, /* it said no */
};

/* @schema, a checked name, and @group are borrowed. */
MUST_CHECK int decider_open(Decider **deciderp, const char *dsn, const char *password,
                            const char *schema, const char *group, char **errorp);
/* NULL is allowed. */
void decider_close(Decider *decider);

/* What PostgreSQL knows of the partition; the fields of Kafka are -1. */
MUST_CHECK int decider_read(Decider *decider, const SourceName *name, PartitionFacts *facts,
                            char **errorp);

/* Writes it down, if the live source is still that of @facts. *@keptp: rows of `rejected` that were
 * made, see Decision.expires, or opened again as their replay was never acked. */
MUST_CHECK int decider_write(Decider *decider, const SourceName *name, const PartitionFacts *facts,
                             const Decision *decision, int64_t *keptp, char **errorp);
