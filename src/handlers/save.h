#pragma once

/*
 * The handler "save": carries out what the engine wants of PostgreSQL for a batch.
 *
 * A batch is one simple query, so one transaction: the rows by binary COPY, rows of `rejected` for
 * what can't be handled, and the fences last, by a function that raises when one did not move. What
 * is sent is built when a connection is free for it. A partition that lost messages by then (they
 * were released) is left out with its fence; with nothing left the batch ends as an outage.
 *
 * Each call is answered by exactly one event, never synchronously. Failures are logged here, once,
 * with what PostgreSQL said. A Batch stays valid until it was answered.
 */

#include <stddef.h>
#include <stdint.h>

#include "core/engine.h"
#include "pg/connection.h"
#include "telemetry/log.h"
#include "util/error.h"

typedef struct Save Save;

typedef struct SaveEvents {
        /* ENGINE_SAVE and ENGINE_REJECT -> engine_saved() */
        void (*saved)(void *user, Batch *batch, BatchEnd end);
        /* ENGINE_SAVE_EACH -> engine_saved_each(); @refused is valid during the call */
        void (*saved_each)(void *user, Batch *batch, BatchEnd end, const RefusedRow *refused,
                           size_t n_refused);
        /* ENGINE_READ_FENCES -> engine_fences_read(), as there; valid during the call */
        void (*fences_read)(void *user, Batch *batch, const int64_t *fences,
                            const RefusedRow *refused, size_t n_refused);
} SaveEvents;

/* @schema and @events are borrowed. @dead_letters: what is rejected is to go to the dead-letter
 * topic. SCHEMA_E_NAME of pg/schema.h, -ENOMEM. */
MUST_CHECK int save_new(Save **savep, PgPool *pool, Log *log, const char *schema, bool dead_letters,
                        const SaveEvents *events, void *user);
/* After the pool: freeing that answers what is open. NULL is allowed. */
void save_free(Save *save);

/* One for each action; -ENOMEM. */
MUST_CHECK int save_batch(Save *save, Batch *batch);       /* ENGINE_SAVE */
MUST_CHECK int save_batch_each(Save *save, Batch *batch);  /* ENGINE_SAVE_EACH */
MUST_CHECK int save_read_fences(Save *save, Batch *batch); /* ENGINE_READ_FENCES */
MUST_CHECK int save_reject(Save *save, Batch *batch);      /* ENGINE_REJECT */
