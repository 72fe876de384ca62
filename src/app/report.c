#include "app/report.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "util/list.h"

enum {
        /* The intake has stood still for so long when the log says so. */
        REPORT_PAUSE_US = 5 * 1000000,
        /* Numbers of partitions that a line names. */
        REPORT_PARTITIONS_MAX = 10,
};

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
        case HANDLER_ASKING:
                return "asking";
        case HANDLER_UNDECIDED:
                return "undecided";
        case HANDLER_ENDED:
                return outcome_name(task->outcome);
        }
        return "?";
}

/* A replay runs what the row that it stands for does not have. */
static bool done_before(const Message *message, HandlerId id) {
        return replay_is_ours(message) && (message->replay->done & 1u << id) != 0;
}

/* What is below the fence was saved before. */
static const char *save_word(const Report *report, const Message *message) {
        const HandlerTask *task = &message->handlers[HANDLER_SAVE];
        return !report->config->handlers.save.enabled                             ? "off"
               : task->state == HANDLER_OFF || done_before(message, HANDLER_SAVE) ? "done before"
                                                                                  : task_word(task);
}

/* The restart's, with the reason: "waiting (window)", "suppressed (not_selected)". */
static const char *restart_word(const Message *message, char out[64]) {
        const HandlerTask *task = &message->handlers[HANDLER_RESTART];
        RestartWait wait = message_waits_for(message);
        if (done_before(message, HANDLER_RESTART)) {
                return "done before";
        }
        if (wait != WAIT_NONE) {
                snprintf(out, 64, "waiting (%s)", restart_wait_name(wait));
        } else if (task->state == HANDLER_ENDED && task->reason != NULL) {
                snprintf(out, 64, "%s (%s)", task_word(task), task->reason);
        } else {
                return task_word(task);
        }
        return out;
}

/* "2026-11-26T22:00:00Z"; "never" for INT64_MAX. */
static const char *instant_text(int64_t wall_us, char out[32]) {
        struct tm tm;
        time_t seconds = (time_t)(wall_us / 1000000);
        if (wall_us == INT64_MAX || gmtime_r(&seconds, &tm) == NULL ||
            strftime(out, 32, "%Y-%m-%dT%H:%M:%SZ", &tm) == 0) {
                snprintf(out, 32, "never");
        }
        return out;
}

/* A message ends when each of its handlers has: anything else is a bug. */
static void check_outcomes(const Report *report, const Message *message) {
        for (int i = 0; i < HANDLER_COUNT; i++) {
                HandlerState state = message->handlers[i].state;
                if (state != HANDLER_OFF && state != HANDLER_ENDED) {
                        log_error(report->log, "debug.outcome",
                                  FIELDS(.topic = message->partition->topic,
                                         .partition = message->partition->partition,
                                         .offset = message->offset, .host = message->host,
                                         .handler = handler_name((HandlerId)i)),
                                  "the message ended, and its handler gave no outcome: a bug of "
                                  "ackd (debug.checks)");
                }
        }
}

void report_finished(Report *report, const Message *message, Finish finish) {
        const Partition *partition = message->partition;
        int64_t now = loop_time(report->loop);

        report->progress_wall_us = loop_time_wall(report->loop);
        if (report->checks) {
                check_outcomes(report, message);
        }
        if (finish == FINISH_RELEASED && message->host != NULL &&
            report->n_released_hosts < REPORT_HOSTS_MAX &&
            buffer_printf(&report->released_hosts, "%s %s", report->n_released_hosts > 0 ? "," : "",
                          message->host) == 0) {
                report->n_released_hosts++;
        }
        if (finish != FINISH_RELEASED) {
                metrics_observe(&report->ack_duration, now - message->received_us);
        }
        for (int i = 0; i < HANDLER_COUNT; i++) {
                const HandlerTask *task = &message->handlers[i];
                if (task->state == HANDLER_ENDED && task->outcome != OUTCOME_CANCELLED) {
                        metrics_observe(&report->handler_duration[i],
                                        task->ended_us - message->received_us);
                }
        }
        if (finish == FINISH_REJECTED && message->fault != NULL) {
                HandlerId at = message->fault_handler; /* HANDLER_COUNT: the message itself */
                const HandlerTask *handler = at < HANDLER_COUNT ? &message->handlers[at] : NULL;
                log_warning(report->log, "message.rejected",
                            FIELDS(.topic = partition->topic, .partition = partition->partition,
                                   .offset = message->offset, .host = message->host,
                                   .handler = handler != NULL ? handler_name(at) : NULL,
                                   .attempt = handler != NULL ? handler->attempts : 0),
                            "rejected (%s): %s; kept in the table rejected", message->fault->reason,
                            message->fault->detail);
        }
        if (!log_wants(report->log, LOG_DEBUG)) {
                return;
        }
        char outcomes[192], restart[64];
        snprintf(outcomes, sizeof(outcomes), "%s=%s %s=%s", handler_name(HANDLER_SAVE),
                 save_word(report, message), handler_name(HANDLER_RESTART),
                 restart_word(message, restart));
        log_write(report->log, LOG_DEBUG,
                  finish == FINISH_RELEASED ? "message.nacked" : "message.acked",
                  FIELDS(.topic = partition->topic, .partition = partition->partition,
                         .offset = message->offset, .host = message->host,
                         .outcome = finish_name(finish)),
                  "%s: %s after %.3f s", finish == FINISH_RELEASED ? "nacked" : "acked", outcomes,
                  (double)(now - message->received_us) / 1e6);
}

/* "committed 5", or that there is none. */
static const char *committed_text(int64_t committed, char out[32]) {
        snprintf(out, 32, committed < 0 ? "no commit" : "committed %lld", (long long)committed);
        return out;
}

static void note_stopped(Report *report, const Partition *partition, LogFields *fields) {
        const PartitionFacts *facts = &partition->facts;
        /* What is written to it from now on would be taken for saved, wherever it is read from. */
        bool only_anew = facts->has_source && partition->fence > facts->high;
        char committed[32];
        log_error(report->log, "partition.stopped", fields,
                  "stopped (%s): %s. Kafka: %s, log from %lld to %lld; PostgreSQL: saved below "
                  "%lld. Nothing of it is read until you decide: ackd partition %s/%d %s --why "
                  "TEXT; other partitions go on",
                  partition->stopped, assignment_explain(partition->stopped),
                  committed_text(facts->committed, committed), (long long)facts->low,
                  (long long)facts->high, (long long)partition->fence, partition->topic,
                  (int)partition->partition,
                  only_anew ? "--new-topic" : "--from OFFSET (or --new-topic)");
}

static void note_partition(Report *report, const EngineAction *action) {
        const Partition *partition = action->partition;
        const PartitionFacts *facts = &partition->facts;
        char committed[32];
        LogFields *fields = FIELDS(.topic = partition->topic, .partition = partition->partition,
                                   .offset = action->offset);

        if (action->note == NOTE_PARTITION_STARTED) {
                if (facts->committed < 0 && !partition->decided) {
                        log_info(report->log, "partition.started", fields,
                                 "the group has no past here: reading from offset %lld, %lld "
                                 "messages lie ahead (consume.start)",
                                 (long long)partition->start,
                                 (long long)(facts->high - partition->start));
                        return;
                }
                log_info(report->log, "partition.started", fields,
                         "reading from offset %lld (%s, saved below %lld)",
                         (long long)partition->start,
                         committed_text(partition->committed, committed),
                         (long long)partition->fence);
        } else if (action->note == NOTE_PARTITION_STOPPED) {
                fields->offset = -1;
                note_stopped(report, partition, fields);
        } else if (action->note == NOTE_PARTITION_WENT_BACK) {
                log_error(report->log, "partition.went_back", fields,
                          "PostgreSQL went back in time: saved below %lld, but %lld was committed; "
                          "reading again from %lld. What was committed is saved again, and no host "
                          "is restarted for it (suppressed, \"handled\"); what it knew of restarts "
                          "since then, cool-downs too, is gone",
                          (long long)facts->fence, (long long)facts->committed,
                          (long long)action->offset);
        } else if (action->note == NOTE_DECISION_MOOT) {
                log_warning(report->log, "partition.decision_dropped", fields,
                            "it was decided that it goes on at offset %lld, but nothing is in "
                            "dispute (%s, saved below %lld): the decision is dropped",
                            (long long)facts->decided, committed_text(facts->committed, committed),
                            (long long)facts->fence);
        } else if (action->note == NOTE_PARTITION_DECIDED) {
                log_warning(report->log, "partition.decided", fields,
                            "goes on at offset %lld, as was decided (%s, saved below %lld, log "
                            "from %lld to %lld)",
                            (long long)action->offset, committed_text(facts->committed, committed),
                            (long long)facts->fence, (long long)facts->low, (long long)facts->high);
        } else {
                log_warning(report->log, "partition.skipped", fields,
                            "somebody moved the committed offset from %lld to %lld: what lies "
                            "between is skipped",
                            (long long)facts->fence, (long long)action->offset);
        }
}

/* In a burst the intake stops and goes on many times a second; only one that stays stopped is said,
 * see on_paused_timer(). */
static void note_intake(Report *report, const EngineAction *action) {
        int64_t now = loop_time(report->loop);
        if (action->note == NOTE_INTAKE_PAUSED) {
                /* Another limit may have taken over: it stands still since the first one. */
                report->paused_us = report->paused_us > 0 ? report->paused_us : now;
                if (!loop_timer_is_set(&report->paused_timer) && !report->paused_said) {
                        loop_timer_set(&report->paused_timer, REPORT_PAUSE_US);
                }
                return;
        }
        if (report->paused_said) {
                log_info(report->log, "intake.resumed", FIELDS(), "reading again after %.1f s",
                         (double)(now - report->paused_us) / 1e6);
        }
        report->paused_us = 0;
        report->paused_said = false;
}

static size_t limit_of(const Config *config, const char *name) {
        return strcmp(name, "in_flight") == 0         ? config->limits.in_flight
               : strcmp(name, "in_flight_bytes") == 0 ? config->limits.in_flight_bytes
                                                      : config->limits.waiting;
}

static void on_paused_timer(LoopTimer *timer) {
        Report *report = container_of(timer, Report, paused_timer);
        const Engine *engine = report->engine;
        const char *limit = engine_paused_by(engine);
        if (limit == NULL || report->paused_us == 0) {
                return;
        }
        int64_t since = loop_time(report->loop) - report->paused_us;
        if (since < REPORT_PAUSE_US) { /* it went on in between */
                loop_timer_set(timer, REPORT_PAUSE_US - since);
                return;
        }
        report->paused_said = true;
        log_warning(report->log, "intake.paused", FIELDS(),
                    "nothing is read for %.0f s: limits.%s (%zu) is reached; reading goes on by "
                    "itself when an eighth of it is free. %zu in flight, %zu waiting, %zu restarts "
                    "running; PostgreSQL is %s, Kafka is %s",
                    (double)since / 1e6, limit, limit_of(report->config, limit),
                    engine_in_flight(engine), engine_waiting(engine), engine_running(engine),
                    report->postgres_up ? "up" : "away",
                    consumer_is_up(report->consumer) ? "up" : "away");
}

static void note_held(Report *report, const EngineAction *action) {
        const Partition *partition = action->partition;
        bool gap = strcmp(partition->held_for, "ack_gap") == 0;
        if (action->note == NOTE_PARTITION_RESUMED) {
                log_info(report->log, "partition.resumed",
                         FIELDS(.topic = partition->topic, .partition = partition->partition,
                                .offset = action->offset),
                         "%s; reading on",
                         gap ? "below limits.ack_gap again" : "Kafka knows the partition again");
                return;
        }
        log_warning(report->log, "partition.held",
                    FIELDS(.topic = partition->topic, .partition = partition->partition,
                           .offset = offsets_oldest(&partition->offsets)),
                    gap ? "limits.ack_gap is reached: a message is pinned and everything behind "
                          "it waits to be acked; this partition is read again when it moves"
                        : "Kafka does not know the partition: nothing more of it is read until it "
                          "has said whether it is still the same one");
}

/* The question that has failed, as what is not known or done. */
static const char *question(const Partition *partition) {
        switch (partition->state) {
        case PARTITION_LOOKING_UP:
                return "Kafka does not say what is committed, and where the log begins and ends";
        case PARTITION_READING:
                return "PostgreSQL does not say how far it is saved";
        case PARTITION_ADOPTING:
                return "PostgreSQL does not take where it begins";
        case PARTITION_COMMITTING:
                return "Kafka does not take the commit of where it begins";
        case PARTITION_SEEKING:
                return "librdkafka cannot begin to read it yet";
        case PARTITION_ACTIVE:
                return "Kafka does not say whether it is still the same one";
        case PARTITION_STOPPED:
        case PARTITION_DRAINING:
        case PARTITION_GONE:
                break;
        }
        return "it cannot be looked at";
}

/* The next partition of the topic with the same trouble, by its number; -1: there is no other. */
static int32_t next_in_trouble(const Report *report, const Partition *partition, int32_t after) {
        int32_t next = -1;
        list_for_each(link, engine_partitions(report->engine)) {
                const Partition *one = container_of(link, Partition, link);
                if (one->failures > 0 && one->state == partition->state && one->partition > after &&
                    (next < 0 || one->partition < next) &&
                    strcmp(one->topic, partition->topic) == 0) {
                        next = one->partition;
                }
        }
        return next;
}

/* Attempts follow each other within milliseconds, and a topic has many partitions: one line for all
 * that have the same trouble, and then one a minute. */
static void note_look_up(Report *report, const EngineAction *action) {
        const Partition *partition = action->partition;
        const char *what = question(partition);
        CLEANUP(buffer_deinit) Buffer numbers = BUFFER_INIT;
        char key[512];
        int n = 0, r = 0;

        log_debug(report->log, "partition.look_up",
                  FIELDS(.topic = partition->topic, .partition = partition->partition),
                  "%s; asked again in %.3f s", what, (double)action->delay_us / 1e6);
        snprintf(key, sizeof(key), "%s %s", what, partition->topic);
        if (!reminder_is_due(&report->look_ups, key, loop_time(report->loop))) {
                return;
        }
        int32_t number = next_in_trouble(report, partition, -1);
        for (; number >= 0 && n < REPORT_PARTITIONS_MAX && r == 0; n++) {
                r = buffer_printf(&numbers, "%s %d", n > 0 ? "," : "", (int)number);
                number = next_in_trouble(report, partition, number);
        }
        const char *list = r == 0 ? buffer_string(&numbers) : NULL;
        log_warning(report->log, "partition.look_up",
                    FIELDS(.topic = partition->topic,
                           .partition = n == 1 ? partition->partition : -1),
                    "partition%s%s%s of %s: %s; asked again until it is answered",
                    n == 1 ? "" : "s", list != NULL ? list : "", number >= 0 ? " and others" : "",
                    partition->topic, what);
}

static void note_windows(const Report *report, const EngineAction *action) {
        char until[32];
        LogFields *fields = FIELDS(.handler = handler_name(HANDLER_RESTART));
        if (action->note == NOTE_WINDOWS_OPEN) {
                log_info(report->log, "windows.open", fields,
                         "a window is open: restarts start again, %lld requests have waited",
                         (long long)action->offset);
                return;
        }
        log_info(report->log, "windows.shut", fields,
                 "no window is open: no restart starts before %s, %lld requests wait; saving goes "
                 "on",
                 instant_text(engine_windows(report->engine).until_us, until),
                 (long long)action->offset);
}

/* What the ledger said of a host. */
static void note_ledger(Report *report, const EngineAction *action) {
        const LogFields *fields = FIELDS(.host = action->host, .handler = "restart-host");
        const char *text = action->text != NULL ? action->text : "";
        const char *colon = action->text != NULL ? ": " : "";
        if (action->note == NOTE_RESTART_WAITS) {
                /* What keeps many hosts waiting is said of the first one. */
                static const char one_host[] = "cooldown running precheck";
                bool news = action->offset == 0 || strstr(one_host, action->reason) != NULL;
                log_write(report->log, news ? LOG_INFO : LOG_DEBUG, "restart.waits", fields,
                          "restart of %s waits (%s)%s%s; asked again in %.1f s, or later when many "
                          "wait; no attempt is charged",
                          action->host, action->reason, colon, text,
                          (double)action->delay_us / 1e6);
        } else if (action->note == NOTE_FUSE_BLEW) {
                log_error(report->log, "restart.fuse", fields,
                          "the fuse blew at the restart of %s%s%s; saving goes on; `ackd holds` "
                          "shows it, `ackd unhold --fuse` lifts it",
                          action->host, colon, text);
        } else if (action->note == NOTE_SUPPRESSED) {
                log_write(report->log,
                          strcmp(action->reason, "not_selected") == 0 ? LOG_DEBUG : LOG_INFO,
                          "restart.suppressed", fields,
                          "restart of %s suppressed (%s)%s%s; it counts as done", action->host,
                          action->reason, colon, text);
        } else if (action->note == NOTE_GRANTED_BEFORE) {
                log_warning(report->log, "restart.doubted", fields,
                            "the ledger says that this process was allowed to restart %s already, "
                            "and not how that ended (PostgreSQL went back in time?): it is taken "
                            "for unknown, and verify or on_unknown decides",
                            action->host);
        } else if (action->note == NOTE_NOT_STARTED) {
                log_info(report->log, "restart.given_back", fields,
                         "restart of %s was granted and not started (%s); its cool-down is given "
                         "back",
                         action->host, action->reason);
        } else {
                log_warning(report->log, "restart.ended_otherwise", fields,
                            "the ledger already has another end of the restart of %s: %s, not %s; "
                            "what the ledger has counts",
                            action->host, action->reason, text);
        }
}

/* What nobody has asked for is said once in a while: a producer may copy headers. */
static void note_replay(Report *report, const EngineAction *action) {
        const Message *message = action->message;
        const LogFields *fields =
                FIELDS(.topic = message->partition->topic,
                       .partition = message->partition->partition, .offset = message->offset,
                       .host = message->host, .error = action->text);
        if (message->duplicate) {
                log_info(report->log, "replay.duplicate", fields,
                         "a replay of nothing: %s; none of its handlers runs",
                         action->text != NULL ? action->text : action->reason);
                return;
        }
        if (message->replay != NULL && message->replay->again_us > 0) {
                log_info(report->log, "replay.waits", fields,
                         "a replay waits until it is known how the restart before it ends: %s",
                         action->text != NULL ? action->text : action->reason);
                return;
        }
        bool due = reminder_is_due(&report->replays, action->reason, loop_now());
        log_write(report->log, due ? LOG_WARNING : LOG_DEBUG, "replay.ignored", fields,
                  "the header " REPLAY_HEADER_NAME " is ignored, and the message handled as any "
                  "other: %s",
                  action->text != NULL ? action->text : "it is not SOURCE/OFFSET, two numbers");
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
        case NOTE_PARTITION_DECIDED:
        case NOTE_DECISION_MOOT:
                note_partition(report, action);
                return;
        case NOTE_LOOK_UP_FAILED:
                note_look_up(report, action);
                return;
        case NOTE_BATCH_RETRY:
                log_debug(report->log, "save.retry", FIELDS(),
                          "%lld rows were not saved; trying again in %.1f s, no attempt is charged",
                          (long long)action->offset, delay);
                return;
        case NOTE_SAVE_WORKS:
                log_info(report->log, "save.works", FIELDS(.handler = "save"),
                         "PostgreSQL takes %s again", action->reason);
                return;
        case NOTE_COMMIT_FAILED:
                /* What one partition's commit was refused for, the pipeline has said with its
                 * error. */
                if (partition == NULL) {
                        log_warning(report->log, "commit.failed", FIELDS(),
                                    "the commit was not confirmed; the next one covers it");
                }
                return;
        case NOTE_INTAKE_PAUSED:
        case NOTE_INTAKE_RESUMED:
                note_intake(report, action);
                return;
        case NOTE_PARTITION_HELD:
        case NOTE_PARTITION_RESUMED:
                note_held(report, action);
                return;
        case NOTE_RETRIES_CROWD:
                log_warning(report->log, "retries.crowd", FIELDS(.handler = "restart-host"),
                            "%lld messages have failed and are tried again, half of what "
                            "limits.waiting or limits.in_flight_bytes allows: no other restart "
                            "starts until some of them are done or rejected; saving goes on",
                            (long long)action->offset);
                return;
        case NOTE_RETRIES_THIN:
                log_info(report->log, "retries.thin", FIELDS(.handler = "restart-host"),
                         "%lld messages are tried again; other restarts start again",
                         (long long)action->offset);
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
                         "trying again in %.3f s", delay);
                return;
        case NOTE_WINDOWS_SHUT:
        case NOTE_WINDOWS_OPEN:
                note_windows(report, action);
                return;
        case NOTE_RESTART_WAITS:
        case NOTE_FUSE_BLEW:
        case NOTE_SUPPRESSED:
        case NOTE_NOT_STARTED:
        case NOTE_GRANTED_BEFORE:
        case NOTE_ENDED_OTHERWISE:
                note_ledger(report, action);
                return;
        case NOTE_REPLAY:
                note_replay(report, action);
                return;
        case NOTE_LEDGER_AWAY:
                log_debug(report->log, "ledger.away", FIELDS(.handler = "restart-host"),
                          "the ledger does not answer: no restart starts; asked again in %.1f s",
                          delay);
                return;
        case NOTE_LEDGER_BACK:
                log_info(report->log, "ledger.works", FIELDS(.handler = "restart-host"),
                         "the ledger of restarts answers again");
                return;
        case NOTE_DRAIN_TIMEOUT:
                log_warning(report->log, "partition.drain_timeout",
                            FIELDS(.topic = partition->topic, .partition = partition->partition),
                            "revoked with a batch still at the database: let go; the next owner "
                            "reads from the fence what became of it");
                return;
        }
}

static int compare_hosts(const void *a, const void *b) {
        return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* How many restarts are under way for messages of these. Requests for one host share one. */
static size_t count_restarts(Partition *const *partitions, size_t n) {
        size_t running = 0, hosts = 0, capacity = 0;
        for (size_t i = 0; i < n; i++) {
                list_for_each(link, &partitions[i]->messages) {
                        capacity++;
                }
        }
        const char **names = calloc(capacity + 1, sizeof(*names));
        for (size_t i = 0; names != NULL && i < n; i++) {
                list_for_each(link, &partitions[i]->messages) {
                        const Message *message = container_of(link, Message, link);
                        if (message->handlers[HANDLER_RESTART].state == HANDLER_RUNNING) {
                                names[running++] = message->host;
                        }
                }
        }
        if (running > 0) {
                qsort(names, running, sizeof(*names), compare_hosts);
        }
        for (size_t i = 0; i < running; i++) {
                hosts += i == 0 || strcmp(names[i], names[i - 1]) != 0;
        }
        free(names);
        return hosts;
}

void report_revoked(const Report *report, Partition *const *partitions, size_t n, bool lost,
                    bool leaving) {
        size_t restarts = count_restarts(partitions, n);
        char under_way[160] = "";
        if (restarts > 0) {
                snprintf(under_way, sizeof(under_way),
                         "; %zu restart%s under way go%s on here, and the ledger tells the next "
                         "owner how %s",
                         restarts, restarts == 1 ? "" : "s", restarts == 1 ? "es" : "",
                         restarts == 1 ? "it ends" : "they end");
        }
        log_write(report->log, LOG_INFO, "kafka.revoked", FIELDS(), "%zu partition%s %s; %s%s", n,
                  n == 1 ? "" : "s", lost ? "lost" : "revoked",
                  lost      ? "nothing of them is committed any more"
                  : leaving ? "this member leaves the group"
                            : "what is at the database is drained and committed first",
                  under_way);
}

/* --- counters ----------------------------------------------------------------------------- */

/* Adds a topic with nothing received, or finds it, as Report.last_topic. */
static int find_topic(Report *report, const char *topic) {
        if (report->last_topic < report->n_topics &&
            strcmp(report->topics[report->last_topic].name, topic) == 0) {
                return 0;
        }
        for (size_t i = 0; i < report->n_topics; i++) {
                if (strcmp(report->topics[i].name, topic) == 0) {
                        report->last_topic = i;
                        return 0;
                }
        }
        char *name = strdup(topic);
        ReportTopic *topics =
                name != NULL ? realloc(report->topics, (report->n_topics + 1) * sizeof(*topics))
                             : NULL;
        if (topics == NULL) {
                free(name);
                return error_origin(-ENOMEM);
        }
        report->topics = topics;
        report->last_topic = report->n_topics;
        topics[report->n_topics++] = (ReportTopic){.name = name};
        return 0;
}

int report_received(Report *report, const char *topic) {
        int r = find_topic(report, topic);
        if (r == 0) {
                report->topics[report->last_topic].received++;
        }
        return r;
}

void report_batch(Report *report, size_t rows) {
        metrics_observe(&report->batch_rows, (int64_t)rows);
}

void report_restart(Report *report, Outcome outcome, int64_t duration_us) {
        report->restarts[outcome]++;
        metrics_observe(&report->restart_duration, duration_us);
}

void report_slow(Report *report, const char *name, int64_t duration_us) {
        log_warning(report->log, "loop.slow", FIELDS(),
                    "the callback %s held up the loop for %lld ms (debug.slow_callback)", name,
                    (long long)(duration_us / 1000));
        for (size_t i = 0; i < REPORT_CALLBACKS_MAX; i++) {
                ReportCallback *callback = &report->slow[i];
                if (callback->name == NULL || strcmp(callback->name, name) == 0) {
                        callback->name = name;
                        callback->count++;
                        callback->last_us = loop_now();
                        if (duration_us > callback->longest_us) {
                                callback->longest_us = duration_us;
                        }
                        return;
                }
        }
}

/* --- the page ----------------------------------------------------------------------------- */

static int write_page(Report *report) {
        int r = report_page(report);
        if (r == 0) {
                textfile_write(report->textfile, &report->page.text);
        }
        return r;
}

static void on_timer(LoopTimer *timer) {
        Report *report = container_of(timer, Report, timer);
        if (write_page(report) != 0) {
                log_warning(report->log, "metrics.memory", FIELDS(),
                            "no memory for the page of metrics; trying again at the next interval");
        }
        loop_timer_set(timer, report->config->metrics.interval_us);
}

bool report_flush(Report *report, int64_t limit_us) {
        if (report->textfile == NULL) {
                return true;
        }
        loop_timer_stop(&report->timer);
        return write_page(report) == 0 && textfile_flush(report->textfile, limit_us);
}

void report_init(Report *report, Loop *loop, Log *log, const Config *config) {
        *report = (Report){.loop = loop, .log = log, .config = config};
        metrics_page_init(&report->page);
        metrics_histogram_init(&report->ack_duration, &metrics_scale_duration);
        metrics_histogram_init(&report->restart_duration, &metrics_scale_duration);
        metrics_histogram_init(&report->batch_rows, &metrics_scale_rows);
        for (int i = 0; i < HANDLER_COUNT; i++) {
                metrics_histogram_init(&report->handler_duration[i], &metrics_scale_duration);
        }
        loop_timer_init(&report->timer, loop, "metrics", on_timer);
        loop_timer_init(&report->paused_timer, loop, "paused", on_paused_timer);
}

int report_start(Report *report) {
        /* A series that appears with 1 has no rate. What a pattern matches is not known yet. */
        for (char **topic = report->config->consume.topics; *topic != NULL; topic++) {
                int r = (*topic)[0] != '^' ? find_topic(report, *topic) : 0;
                if (r != 0) {
                        return r;
                }
        }
        if (report->config->metrics.textfile[0] == '\0') {
                return 0;
        }
        int r = textfile_new(&report->textfile, report->config->metrics.textfile, report->log);
        if (r == 0) {
                loop_timer_set(&report->timer, 0);
        }
        return r;
}

void report_deinit(Report *report) {
        if (report->loop == NULL) {
                return;
        }
        loop_timer_stop(&report->timer);
        loop_timer_stop(&report->paused_timer);
        textfile_free(report->textfile);
        metrics_page_deinit(&report->page);
        buffer_deinit(&report->released_hosts);
        for (size_t i = 0; i < report->n_topics; i++) {
                free(report->topics[i].name);
        }
        free(report->topics);
        report->loop = NULL;
}
