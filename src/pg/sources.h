#pragma once

/*
 * The table `partitions`: a row is a source, one incarnation of a partition for one cluster and
 * group, with its fence. Everything below the fence is saved.
 *
 * Questions go ahead of batches. While PostgreSQL is away they wait; each is answered once, never
 * synchronously, by its callback on the loop's thread. A question can't be taken back: whoever asks
 * keeps what @user points to until the answer (a Partition with partition_ref()).
 */

#include <stdint.h>

#include "core/engine.h"
#include "pg/connection.h"
#include "telemetry/log.h"
#include "util/error.h"

typedef struct Sources Sources;

typedef struct SourceName {
        const char *cluster; /* Kafka's cluster id */
        const char *topic;
        int32_t partition;
} SourceName;

/* What `partitions` and `rejected` know is filled; NULL: it could not be answered. Valid during the
 * call. */
typedef void (*SourceRead)(void *user, const PartitionFacts *facts);
/* @source is set with ADOPT_OK. */
typedef void (*SourceAdopted)(void *user, AdoptEnd end, int32_t source);

/* Strings are borrowed. @instance is remembered in the rows that are made. */
MUST_CHECK int sources_new(Sources **sourcesp, PgPool *pool, Log *log, const char *schema,
                           const char *group, const char *instance);
/* After the pool: freeing that answers what is open. NULL is allowed. */
void sources_free(Sources *sources);

/* @name is copied. @committed: the group's offset, from which on it is told what was rejected; -1:
 * none. -ENOMEM. */
MUST_CHECK int sources_read(Sources *sources, const SourceName *name, int64_t committed,
                            SourceRead answer, void *user);

/* The same question for a command, which may block and has a connection of its own; the caller's
 * result. sources_answer() fills what SourceRead gets from a result of PGRES_TUPLES_OK. */
PGresult *sources_ask(PGconn *connection, const char *schema, const char *group,
                      const SourceName *name);
void sources_answer(const PGresult *result, PartitionFacts *facts);

/* Makes the row with @next as its fence. ADOPT_CHANGED: there is one already. */
MUST_CHECK int sources_adopt(Sources *sources, const SourceName *name, int64_t next,
                             SourceAdopted answer, void *user);

/* Moves a fence without rows, to where an operator skipped. ADOPT_CHANGED: it is not at @from. */
MUST_CHECK int sources_move_fence(Sources *sources, int32_t source, int64_t from, int64_t to,
                                  SourceAdopted answer, void *user);
