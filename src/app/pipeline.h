#pragma once

/*
 * The pipeline: what happens to a message, top to bottom.
 *
 *      Kafka --fetch--> engine --+--> save (batches) ------+--> engine --> commit
 *                                +--> restart-host (runs) -+
 *
 * It reports to the engine what Kafka, PostgreSQL and the commands did, and carries out what the
 * engine says. It decides nothing. Actions are taken at the end of a turn of the loop, so that a
 * burst of messages becomes one batch.
 */

#include <stdbool.h>

#include "app/dead_letter_feeder.h"
#include "app/engine_settings.h"
#include "app/ledger_settings.h"
#include "app/report.h"
#include "app/tape.h"
#include "config/config.h"
#include "core/engine.h"
#include "handlers/checks.h"
#include "handlers/claims.h"
#include "handlers/restart.h"
#include "handlers/save.h"
#include "kafka/consumer.h"
#include "pg/holds_watch.h"
#include "pg/rejected_counts.h"
#include "pg/replays.h"
#include "pg/sources.h"
#include "telemetry/log.h"
#include "util/loop.h"

typedef struct PipelineEvents {
        /* The engine failed or the consumer cannot go on: the global handler's. @what: a line. */
        void (*failed)(void *user, int error, const char *what);
        /* Another member took our group.instance.id. */
        void (*fenced)(void *user, const char *what);
        /* Something happened that the shutdown may have waited for. */
        void (*turned)(void *user);
} PipelineEvents;

typedef struct Pipeline {
        Loop *loop;
        Log *log;
        const Config *config;
        EngineSettings settings;
        LedgerSettings ledger; /* when `claims` is there */
        Engine *engine;
        Tape *tape; /* NULL: ACKD_TAPE is not set */
        Report *report;
        Consumer *consumer;
        PgPool *pool;
        Sources *sources;
        Replays *replays;
        HoldsWatch holds;
        RejectedCounter rejected;
        DeadLetterFeeder *feeder; /* NULL: no topic for them is configured */
        Save *save;
        Restart *restart;
        Checks *checks; /* NULL: neither precheck nor verify is configured */
        Claims *claims; /* NULL: restarts are not asked for, as in a dry run */
        LoopSoon soon;
        LoopTimer timer;
        ConsumerPartition **look_ups; /* gathered during a turn, asked for together */
        size_t n_look_ups, look_ups_capacity;
        PipelineEvents events;
        void *user;
        bool failed;
        bool dead;    /* librdkafka cannot go on: no commit can succeed any more */
        bool leaving; /* the consumer was told to leave the group */
        bool closed;  /* it has left it */
} Pipeline;

/* The parts that it drives are given by the daemon and borrowed. */
typedef struct PipelineParts {
        Loop *loop;
        Log *log;
        const Config *config;
        Report *report;
        PgPool *pool;
} PipelineParts;

/* -ENOMEM and other fatal errors; positive: *@errorp is a malloc'd sentence, the configuration's
 * fault. */
enum {
        PIPELINE_E_CONFIG = 1,
};
MUST_CHECK int pipeline_init(Pipeline *pipeline, const PipelineParts *parts,
                             const PipelineEvents *events, void *user, char **errorp);
/* After the pool is freed. Takes half-built ones. */
void pipeline_deinit(Pipeline *pipeline);

/* The schema is right: joins the group. PIPELINE_E_CONFIG as above. */
MUST_CHECK int pipeline_start(Pipeline *pipeline, char **errorp);

/* PostgreSQL is there again. */
void pipeline_database_up(Pipeline *pipeline);

/* After the daemon called an engine function itself: what follows from it is carried out soon. */
void pipeline_turn(Pipeline *pipeline);

/* Every event ends here: a fatal error (@r < 0, in @what) goes to the global handler, the rest to
 * the next turn. */
void pipeline_after(Pipeline *pipeline, int r, const char *what);
