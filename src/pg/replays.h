#pragma once

/*
 * Replays at the table `rejected`: what the row says that a message names in its header; see
 * core/replay.h and docs/rejected.md.
 *
 * Questions go ahead of batches. While PostgreSQL is away they wait; each is answered once, never
 * synchronously, by the callback on the loop's thread.
 */

#include "core/engine.h"
#include "pg/connection.h"
#include "telemetry/log.h"
#include "util/error.h"

typedef struct Replays Replays;

/* @answers: one for each of @asked, in their order, valid during the call; NULL: there is none. */
typedef void (*ReplaysRead)(void *user, ReplayQuestions *asked, const ReplayAnswer *answers);

/* Strings are borrowed. SCHEMA_E_NAME, -ENOMEM. */
MUST_CHECK int replays_new(Replays **replaysp, PgPool *pool, Log *log, const char *schema,
                           ReplaysRead answer, void *user);
/* After the pool: freeing that answers what is open. NULL is allowed. */
void replays_free(Replays *replays);

/* @asked is borrowed until the answer. -ENOMEM. */
MUST_CHECK int replays_ask(Replays *replays, ReplayQuestions *asked);
