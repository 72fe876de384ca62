#pragma once

/*
 * What an SQLSTATE means. One rule: only what is known to be a row's own fault is that row's fault;
 * everything else is an outage, so that a wrong schema or a full disk never rejects a message.
 *
 *   22, 23, 54    the row's, without 23514, which is also "no partition of relation found for row":
 *                 save_each() lets it out only for that
 *                 (23503 too: no foreign key is ours, so one that refuses single rows was added for
 *                 the sake of rows, and one that refuses all of them is AK002)
 *   AK001         a fence was not where it was expected (ours, from move_fence)
 *   AK002         the table refuses every row: not their fault (ours, from save_each)
 *   the rest      an outage: waited out, nobody is charged
 *
 * Pure; any thread.
 */

#include <stdbool.h>

#include "core/engine.h"
#include "pg/connection.h"

/* Raised by the functions of schema.sql. AK003: they were called wrongly. */
#define SQLSTATE_FENCE       "AK001"
#define SQLSTATE_ALL_REFUSED "AK002"
#define SQLSTATE_MISUSE      "AK003"

#define SQLSTATE_READ_ONLY     "25006"
#define SQLSTATE_OUT_OF_MEMORY "53200"
#define SQLSTATE_NO_PARTITION  "23514"
#define SQLSTATE_NO_RIGHT      "42501"

/* Whether the class says that one row is at fault. */
bool sqlstate_is_row_fault(const char *sqlstate);

/* How a batch ended whose operation ended so. BATCH_FENCE and BATCH_REFUSED say that everything was
 * rolled back; PG_LOST is BATCH_UNKNOWN. AK002 is BATCH_REFUSED too. */
BatchEnd sqlstate_batch_end(PgEnd end, const char *sqlstate);

/* Whether waiting alone will not help: somebody must change a right, the schema, a password. */
bool sqlstate_is_alarm(const char *sqlstate);

/* Of a refused connection, by the server's words: libpq keeps it to itself when it connects in one
 * call. Static; "" when the words say nothing, or are not English. */
const char *sqlstate_guess(const char *message);

/* What a person can do about it, as the end of a sentence ("run: ackd init-db"); NULL: nothing is
 * known to help but waiting. */
const char *sqlstate_remedy(const char *sqlstate);
