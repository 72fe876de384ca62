#pragma once

/*
 * Batches on their way into the tables `messages` and `rejected`, under the fences of `partitions`.
 *
 *   SAVES_BATCH   COPY messages (binary); INSERT rejected; SELECT move_fence(…), one simple query.
 *                 The fence goes last: a row lock that is taken before a COPY outlives a client
 *                 that is stopped in the middle of it. Saved means that the SELECT's tuples came
 *                 and the results ended.
 *   SAVES_EACH    the same row by row, by the function save_each
 *   SAVES_FENCES  what became of a batch
 *   SAVES_REJECT  rows of `rejected` for messages whose fence has passed
 *
 * What is sent is made when a connection is free for it, of what is in Batch.messages then.
 * Messages are released at any time: a part that lost some is left out with its fence.
 *
 * Each call is answered once, never synchronously; a Batch is in one call at a time.
 */

#include <stddef.h>
#include <stdint.h>

#include "core/engine.h"
#include "pg/connection.h"
#include "util/error.h"

typedef struct Saves Saves;

typedef enum SavesKind {
        SAVES_BATCH,
        SAVES_EACH,
        SAVES_FENCES,
        SAVES_REJECT,
} SavesKind;

/* All borrowed for the call. */
typedef struct SavesAnswer {
        SavesKind kind;
        PgEnd end;
        const PgFailure *failure; /* unless PG_OK */
        size_t rows;              /* messages that were sent */
        size_t left_out;          /* parts */
        const int64_t *fences; /* SAVES_FENCES and PG_OK: one for each part, -1: no such source */
        const RefusedRow *refused; /* SAVES_EACH and PG_OK */
        size_t n_refused;
} SavesAnswer;

typedef void (*SavesEnd)(void *user, Batch *batch, const SavesAnswer *answer);

/* @dead_letters: what is rejected is to go to the dead-letter topic. SCHEMA_E_NAME, -ENOMEM. */
MUST_CHECK int saves_new(Saves **savesp, PgPool *pool, const char *schema, bool dead_letters,
                         SavesEnd end, void *user);
/* After the pool. NULL is allowed. */
void saves_free(Saves *saves);

MUST_CHECK int saves_submit(Saves *saves, SavesKind kind, Batch *batch);
