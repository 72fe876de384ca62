#pragma once

/*
 * What the daemon says of its messages: the lines in the log, the counters, the page of metrics.
 */

#include <stdbool.h>
#include <stdint.h>

#include "config/config.h"
#include "core/engine.h"
#include "kafka/consumer.h"
#include "telemetry/log.h"
#include "util/loop.h"

typedef struct ReportTopic {
        char *name;
        uint64_t received;
} ReportTopic;

typedef struct Report {
        Loop *loop;
        Log *log;
        const Config *config;
        const Engine *engine;     /* NULL until there is one */
        const Consumer *consumer; /* likewise */
        bool postgres_up;
        int64_t started_wall_us;
        int64_t progress_wall_us; /* when a message was finished last; 0: never */
        ReportTopic *topics;      /* few: those of consume.topics */
        size_t n_topics;
        const char *last_topic; /* of the newest message, and its place: messages come in runs */
        size_t last_topic_index;
        uint64_t restarts[OUTCOME_COUNT];
        uint64_t slow_callbacks;
        LoopTimer timer;
        Buffer page;
} Report;

MUST_CHECK int report_init(Report *report, Loop *loop, Log *log, const Config *config);
void report_deinit(Report *report);

/* One message came, before it is looked at. */
void report_received(Report *report, const char *topic);
/* A batch of @rows is saved. */
void report_batch(Report *report, size_t rows);
/* A restart ended. */
void report_restart(Report *report, Outcome outcome, int64_t duration_us);
/* A message left the engine: a debug line with each handler's outcome, a warning when rejected. */
void report_finished(Report *report, const Message *message, Finish finish);
/* Something that the engine noticed. */
void report_note(Report *report, const EngineAction *action);
/* The state of everything, to the log. */
void report_state(const Report *report);
/* The last page, within @limit_us. */
void report_flush(Report *report, int64_t limit_us);
