#pragma once

/*
 * What the daemon says of its messages: the lines in the log, the counters, the page of metrics.
 */

#include <stdbool.h>
#include <stdint.h>

#include "config/config.h"
#include "core/engine.h"
#include "kafka/consumer.h"
#include "pg/holds_watch.h"
#include "pg/rejected_counts.h"
#include "telemetry/log.h"
#include "telemetry/metrics.h"
#include "telemetry/textfile.h"
#include "util/loop.h"
#include "util/reminder.h"

typedef struct ReportTopic {
        char *name;
        uint64_t received;
} ReportTopic;

enum {
        REPORT_CALLBACKS_MAX = 32, /* the loop has fewer names */
        REPORT_HOSTS_MAX = 10,     /* of what the shutdown gave back, named in its line */
};

/* How often a callback was slow. */
typedef struct ReportCallback {
        const char *name; /* NULL: unused */
        uint64_t count;
        int64_t longest_us, last_us; /* last: loop_now() */
} ReportCallback;

typedef struct Report {
        Loop *loop;
        Log *log;
        const Config *config;
        const Engine *engine;           /* NULL until there is one */
        const Consumer *consumer;       /* likewise */
        const HoldsWatch *holds;        /* likewise */
        const RejectedCounts *rejected; /* likewise */
        bool postgres_up;
        int64_t started_wall_us;
        int64_t progress_wall_us; /* when a message was finished last; 0: never */
        ReportTopic *topics;      /* few: those of consume.topics */
        size_t n_topics;
        size_t last_topic; /* of the newest message: they come in runs */
        MetricsHistogram handler_duration[HANDLER_COUNT];
        MetricsHistogram ack_duration;
        MetricsHistogram restart_duration;
        MetricsHistogram batch_rows;
        int64_t paused_us; /* since when the intake stands still */
        bool paused_said;  /* ... and the log says so */
        LoopTimer paused_timer;
        Reminder look_ups; /* what could not be answered about partitions */
        Reminder replays;  /* headers that name nothing */
        uint64_t restarts[OUTCOME_COUNT];
        ReportCallback slow[REPORT_CALLBACKS_MAX];
        Buffer released_hosts; /* " a, b": of the first that were released */
        size_t n_released_hosts;
        bool checks;        /* debug.checks */
        bool closed;        /* Kafka and PostgreSQL are left: whether they are up is moot */
        Textfile *textfile; /* NULL: not configured */
        LoopTimer timer;
        MetricsPage page;
} Report;

void report_init(Report *report, Loop *loop, Log *log, const Config *config);
/* Begins to write the textfile, when one is configured; engine and consumer are set. */
MUST_CHECK int report_start(Report *report);
void report_deinit(Report *report);

/* One message came, before it is looked at. -ENOMEM. */
MUST_CHECK int report_received(Report *report, const char *topic);
/* A batch of @rows is saved. */
void report_batch(Report *report, size_t rows);
/* A restart ended. */
void report_restart(Report *report, Outcome outcome, int64_t duration_us);
/* A message left the engine: a debug line with each handler's outcome, a warning when rejected. */
void report_finished(Report *report, const Message *message, Finish finish);
/* Something that the engine noticed. */
void report_note(Report *report, const EngineAction *action);
/* The group takes these away, before the engine is told; @leaving: at the end, by our own wish. */
void report_revoked(const Report *report, Partition *const *partitions, size_t n, bool lost,
                    bool leaving);
/* How many messages are behind the watermark. False: nobody knows. */
bool report_lag(const Report *report, const Partition *partition, double *lag);
/* A callback of the loop took long. @name is kept. */
void report_slow(Report *report, const char *name, int64_t duration_us);
/* Writes the last page, within @limit_us; false: it could not. True without a textfile. */
bool report_flush(Report *report, int64_t limit_us);

/* Writes everything that is counted into Report.page (app/page.c). 0 or -ENOMEM. */
MUST_CHECK int report_page(Report *report);
