#pragma once

/*
 * The status document: everything that a person asks of a running daemon, as JSON (docs/status.md).
 *
 * It is of one instant: what is told of messages is copied at once, at most INSPECT_MESSAGES_MAX of
 * them, and everything else is counted already. Writing it down takes the longest, so that is done
 * in pieces, one a turn of the loop.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "app/pipeline.h"
#include "app/report.h"
#include "app/shutdown.h"
#include "pg/psql.h"
#include "pg/schema.h"
#include "util/list.h"
#include "util/loop.h"

enum {
        STATUS_MESSAGES_DEFAULT = 100,
        STATUS_PIECE = 50, /* messages that a turn writes down */
        STATUS_PARTITIONS_MAX = 200,
        STATUS_WHY_MAX = 768,
};

typedef struct StatusJob StatusJob;

/* Parts are borrowed. */
typedef struct Status {
        Loop *loop;
        Log *log;
        const Config *config;
        const Pipeline *pipeline;
        const Report *report;
        PgPool *const *poolp; /* the daemon's; what it points to is NULL once it is freed */
        const Shutdown *shutdown;
        PgPlace place;
        int64_t started_us, started_wall_us;
        bool ready; /* the schema was right: the group was asked to let us in */
        bool checks;
        SchemaEnd schema; /* as it was looked at last */
        char schema_why[STATUS_WHY_MAX];
        int64_t schema_us;       /* since when it is not right */
        uint64_t dropped;        /* lines of the log, as they were seen last, */
        uint64_t dropped_before; /* before the newest of them were seen, */
        int64_t dropped_us;      /* and when that was */
        List jobs;               /* StatusJob.link */
} Status;

/* Who wants a document is called once, in a later turn. @document: its content may be taken; it
 * ends with a newline; NULL: there was no memory. */
typedef void (*StatusDone)(void *user, Buffer *document);

/* The rest of the fields is set by the caller before. -ENOMEM. */
MUST_CHECK int status_init(Status *status);
/* Ends what is under way without telling. Takes half-built ones. */
void status_deinit(Status *status);

/* What the schema looked like. @why NULL with SCHEMA_OK. */
void status_schema(Status *status, SchemaEnd end, const char *why);

/* @messages: how many of them are told at most. -ENOMEM. */
MUST_CHECK int status_make(StatusJob **jobp, Status *status, size_t messages, StatusDone done,
                           void *user);
/* Not after `done`. */
void status_cancel(StatusJob *job);
