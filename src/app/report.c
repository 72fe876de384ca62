#include "app/report.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "util/list.h"

/* --- lines -------------------------------------------------------------------------------- */

static const char *task_word(const HandlerTask *task) {
        switch (task->state) {
        case HANDLER_OFF:
                return "off";
        case HANDLER_QUEUED:
                return "queued";
        case HANDLER_RUNNING:
                return "running";
        case HANDLER_WAITING:
                return "waiting";
        case HANDLER_ENDED:
                return outcome_name(task->outcome);
        }
        return "?";
}

static const char *finish_name(Finish finish) {
        switch (finish) {
        case FINISH_ACCEPTED:
                return "accepted";
        case FINISH_REJECTED:
                return "rejected";
        case FINISH_RELEASED:
                return "released";
        case FINISH_DUPLICATE:
                return "duplicate";
        case FINISH_TOMBSTONE:
                return "tombstone";
        case FINISH_COUNT:
                break;
        }
        return "?";
}

void report_finished(Report *report, const Message *message, Finish finish) {
        const Partition *partition = message->partition;
        int64_t now = loop_now();

        report->progress_wall_us = loop_wall();
        if (finish == FINISH_REJECTED && message->fault != NULL) {
                log_warning(report->log, "message.rejected",
                            FIELDS(.topic = partition->topic, .partition = partition->partition,
                                   .offset = message->offset, .host = message->host,
                                   .handler = message->fault_handler < HANDLER_COUNT
                                                      ? handler_name(message->fault_handler)
                                                      : NULL),
                            "rejected (%s): %s; kept in the table rejected", message->fault->reason,
                            message->fault->detail);
        }
        if (!log_wants(report->log, LOG_DEBUG)) {
                return;
        }
        char outcomes[128];
        snprintf(outcomes, sizeof(outcomes), "%s=%s %s=%s", handler_name(HANDLER_SAVE),
                 report->config->handlers.save.enabled ? task_word(&message->handlers[HANDLER_SAVE])
                                                       : "off",
                 handler_name(HANDLER_RESTART), task_word(&message->handlers[HANDLER_RESTART]));
        log_write(report->log, LOG_DEBUG,
                  finish == FINISH_RELEASED ? "message.nacked" : "message.acked",
                  FIELDS(.topic = partition->topic, .partition = partition->partition,
                         .offset = message->offset, .host = message->host,
                         .outcome = finish_name(finish)),
                  "%s: %s after %.3f s", finish == FINISH_RELEASED ? "nacked" : "acked", outcomes,
                  (double)(now - message->received_us) / 1e6);
}

/* What a person can do about a partition that stands still. */
static const char *stopped_remedy(const char *reason) {
        if (strcmp(reason, "database_lost") == 0) {
                return "the group has commits of ours, but this database has no row for the "
                       "partition: is postgres.dsn the right database?";
        }
        if (strcmp(reason, "log_ends_below_fence") == 0) {
                return "the topic has fewer messages than were saved from it: it was made again";
        }
        if (strcmp(reason, "out_of_range") == 0) {
                return "the next message to read is no longer in the topic: its retention is over";
        }
        return "messages were saved from it, but the group has no commit: the topic was made "
               "again, or the group's offsets expired";
}

static void note_partition(Report *report, const EngineAction *action) {
        const Partition *partition = action->partition;
        const PartitionFacts *facts = &partition->facts;
        LogFields *fields = FIELDS(.topic = partition->topic, .partition = partition->partition,
                                   .offset = action->offset);

        if (action->note == NOTE_PARTITION_STARTED) {
                log_info(report->log, "partition.started", fields,
                         "reading from offset %lld (committed %lld, saved below %lld)",
                         (long long)partition->start, (long long)facts->committed,
                         (long long)partition->fence);
        } else if (action->note == NOTE_PARTITION_STOPPED) {
                fields->offset = -1;
                log_error(report->log, "partition.stopped", fields,
                          "stopped (%s): %s. Kafka: committed %lld, log from %lld to %lld; "
                          "PostgreSQL: saved below %lld. Nothing of it is read until this is "
                          "resolved; other partitions go on",
                          partition->stopped, stopped_remedy(partition->stopped),
                          (long long)facts->committed, (long long)facts->low,
                          (long long)facts->high,
                          (long long)(facts->has_source ? facts->fence : -1));
        } else if (action->note == NOTE_PARTITION_WENT_BACK) {
                log_error(report->log, "partition.went_back", fields,
                          "PostgreSQL went back in time: saved below %lld, but %lld was committed; "
                          "reading again from %lld, restarts may be repeated",
                          (long long)facts->fence, (long long)facts->committed,
                          (long long)action->offset);
        } else {
                log_warning(report->log, "partition.skipped", fields,
                            "somebody moved the committed offset from %lld to %lld: what lies "
                            "between is skipped",
                            (long long)facts->fence, (long long)action->offset);
        }
}

void report_note(Report *report, const EngineAction *action) {
        const Partition *partition = action->partition;
        const Message *message = action->message;
        double delay = (double)action->delay_us / 1e6;

        switch (action->note) {
        case NOTE_PARTITION_STARTED:
        case NOTE_PARTITION_STOPPED:
        case NOTE_PARTITION_WENT_BACK:
        case NOTE_PARTITION_SKIPPED:
                note_partition(report, action);
                return;
        case NOTE_LOOK_UP_FAILED:
                log_warning(report->log, "partition.look_up",
                            FIELDS(.topic = partition->topic, .partition = partition->partition),
                            "where it stands could not be read (%s); trying again in %.1f s",
                            partition_state_name(partition->state), delay);
                return;
        case NOTE_BATCH_RETRY:
                log_info(report->log, "save.retry", FIELDS(),
                         "%lld rows were not saved; trying again in %.1f s, no attempt is charged",
                         (long long)action->offset, delay);
                return;
        case NOTE_COMMIT_FAILED:
                log_warning(report->log, "commit.failed",
                            FIELDS(.topic = partition != NULL ? partition->topic : NULL,
                                   .partition = partition != NULL ? partition->partition : -1,
                                   .offset = partition != NULL ? action->offset : -1),
                            "the commit was not confirmed; the next one covers it");
                return;
        case NOTE_INTAKE_PAUSED:
                log_debug(report->log, "intake.paused", FIELDS(),
                          "no more is read: limits.%s is reached; goes on by itself",
                          action->reason);
                return;
        case NOTE_INTAKE_RESUMED:
                log_debug(report->log, "intake.resumed", FIELDS(), "reading again");
                return;
        case NOTE_RETRY:
                log_info(report->log, "message.retry",
                         FIELDS(.topic = message->partition->topic,
                                .partition = message->partition->partition,
                                .offset = message->offset, .host = message->host,
                                .handler = handler_name(action->handler),
                                .attempt = message->handlers[action->handler].attempts,
                                .outcome =
                                        outcome_name(message->handlers[action->handler].outcome)),
                         "trying again in %.1f s", delay);
                return;
        case NOTE_DRAIN_TIMEOUT:
                log_warning(report->log, "partition.drain_timeout",
                            FIELDS(.topic = partition->topic, .partition = partition->partition),
                            "revoked with a batch still at the database: let go; the next owner "
                            "reads from the fence what became of it");
                return;
        }
}

void report_state(const Report *report) {
        const Engine *engine = report->engine;
        int64_t now = loop_now();
        log_info(report->log, "state.summary", FIELDS(),
                 "%zu in flight (%zu bytes), %zu restarts running, PostgreSQL %s, Kafka %s, %s",
                 engine_in_flight(engine), engine_in_flight_bytes(engine), engine_running(engine),
                 report->postgres_up ? "up" : "away",
                 consumer_is_up(report->consumer) ? "up" : "away",
                 engine_is_reading(engine) ? "reading" : "not reading: a limit is reached");
        list_for_each(link, engine_partitions(engine)) {
                const Partition *partition = container_of(link, Partition, link);
                const Message *oldest =
                        list_is_empty(&partition->messages)
                                ? NULL
                                : container_of(partition->messages.next, Message, link);
                log_info(report->log, "state.partition",
                         FIELDS(.topic = partition->topic, .partition = partition->partition,
                                .offset = oldest != NULL ? oldest->offset : -1,
                                .host = oldest != NULL ? oldest->host : NULL),
                         "%s: committed %lld, saved below %lld, %zu beyond the watermark%s",
                         partition_state_name(partition->state), (long long)partition->committed,
                         (long long)partition->fence, offsets_gap(&partition->offsets),
                         oldest == NULL ? "" : "; the oldest in flight:");
                if (oldest != NULL) {
                        log_info(report->log, "state.oldest",
                                 FIELDS(.topic = partition->topic,
                                        .partition = partition->partition, .offset = oldest->offset,
                                        .host = oldest->host),
                                 "save %s, restart-host %s, for %.1f s",
                                 task_word(&oldest->handlers[HANDLER_SAVE]),
                                 task_word(&oldest->handlers[HANDLER_RESTART]),
                                 (double)(now - oldest->received_us) / 1e6);
                }
        }
}

int report_init(Report *report, Loop *loop, Log *log, const Config *config) {
        *report = (Report){.loop = loop,
                           .log = log,
                           .config = config,
                           .started_wall_us = loop_wall()};
        return 0;
}
void report_deinit(Report *report) {
        free(report->topics);
}
void report_received(Report *report, const char *topic) {
        (void)report;
        (void)topic;
}
void report_batch(Report *report, size_t rows) {
        (void)report;
        (void)rows;
}
void report_restart(Report *report, Outcome outcome, int64_t duration_us) {
        (void)duration_us;
        report->restarts[outcome]++;
}
void report_flush(Report *report, int64_t limit_us) {
        (void)report;
        (void)limit_us;
}
