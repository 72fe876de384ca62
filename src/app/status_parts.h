#pragma once

/* The parts of the status document; status.c puts them together. */

#include "app/status.h"
#include "core/inspect.h"
#include "util/json.h"

/* µs since 1970 as RFC 3339, in UTC, to the millisecond; INT64_MAX: null. */
void status_put_time(Json *json, int64_t wall_us);
/* A key with seconds. */
void status_put_seconds(Json *json, const char *key, int64_t us);

/* Kafka and PostgreSQL. */
void status_put_outside(const Status *status, Json *json, int64_t now);
/* Intake, limits, handlers, waits, windows, totals. */
void status_put_work(const Status *status, Json *json, int64_t now);
/* The first STATUS_PARTITIONS_MAX of them: those with a trouble, then by their gap. -ENOMEM. */
MUST_CHECK int status_put_partitions(const Status *status, Json *json, int64_t now);
/* Holds and rejected messages. */
void status_put_kept(const Status *status, Json *json);
/* The @i-th message of the copy. */
void status_put_message(const Status *status, Json *json, const Inspection *inspection, size_t i,
                        int64_t now);
