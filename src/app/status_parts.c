#include "app/status_parts.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "app/commands.h"
#include "util/list.h"

static void put_text(Json *json, const char *key, const char *text) {
        json_key(json, key);
        json_put_text(json, text);
}

static void put_count(Json *json, const char *key, uint64_t n) {
        json_key(json, key);
        json_put_uint(json, n);
}

static void put_offset(Json *json, const char *key, int64_t offset) {
        json_key(json, key);
        if (offset < 0) {
                json_put_null(json);
        } else {
                json_put_int(json, offset);
        }
}

static void put_bool(Json *json, const char *key, bool value) {
        json_key(json, key);
        json_put_bool(json, value);
}

void status_put_time(Json *json, int64_t wall_us) {
        struct tm tm;
        char text[48];
        time_t seconds = (time_t)(wall_us / 1000000);
        if (wall_us == INT64_MAX || gmtime_r(&seconds, &tm) == NULL) {
                json_put_null(json);
                return;
        }
        size_t n = strftime(text, sizeof(text), "%Y-%m-%dT%H:%M:%S", &tm);
        snprintf(text + n, sizeof(text) - n, ".%03dZ", (int)(wall_us % 1000000 / 1000));
        json_put_text(json, text);
}

void status_put_seconds(Json *json, const char *key, int64_t us) {
        json_key(json, key);
        json_put_double(json, (double)us / 1e6);
}

static void put_since(Json *json, int64_t since_us, int64_t now) {
        if (since_us != 0) {
                status_put_seconds(json, "since_s", now - since_us);
        } else {
                put_text(json, "since_s", NULL);
        }
}

/* --- Kafka and PostgreSQL ----------------------------------------------------------------- */

static void put_kafka(const Status *status, Json *json, int64_t now) {
        const Consumer *consumer = status->pipeline->consumer;
        const Config *config = status->config;
        const char *servers = "";
        size_t cursor = 0;
        const ConsumerTrouble *trouble = consumer_next_trouble(consumer, &cursor);
        for (size_t i = 0; i < config->kafka.n; i++) {
                if (strcmp(config->kafka.items[i].name, "bootstrap.servers") == 0 ||
                    strcmp(config->kafka.items[i].name, "metadata.broker.list") == 0) {
                        servers = config->kafka.items[i].value;
                }
        }
        json_key(json, "kafka");
        json_begin_object(json);
        put_bool(json, "up", consumer_is_up(consumer));
        put_since(json, consumer_reach_since(consumer), now);
        put_text(json, "error", trouble != NULL ? trouble->error : NULL);
        put_text(json, "servers", servers);
        put_text(json, "group", config_group(config));
        put_bool(json, "joined", consumer_has_joined(consumer));
        json_end_object(json);
}

static void put_postgres(const Status *status, Json *json, int64_t now) {
        PgPoolStatus pool;
        pg_pool_status(*status->poolp, &pool);
        const PgTrouble *trouble = pool.down.since_us != 0 ? &pool.down
                                   : pool.n_refused > 0    ? &pool.refused[0]
                                                           : NULL;
        json_key(json, "postgres");
        json_begin_object(json);
        put_bool(json, "up", pool.connected > 0);
        put_since(json, pool.since_us, now);
        put_text(json, "error", trouble != NULL ? trouble->why : NULL);
        put_text(json, "sqlstate",
                 trouble != NULL && trouble->sqlstate[0] != '\0' ? trouble->sqlstate : NULL);
        put_count(json, "connections", status->config->postgres.connections);
        put_count(json, "connected", pool.connected);
        put_count(json, "busy", pool.busy);
        put_count(json, "queued", pool.queued);
        json_end_object(json);
}

void status_put_outside(const Status *status, Json *json, int64_t now) {
        put_kafka(status, json, now);
        put_postgres(status, json, now);
}

/* --- the work ----------------------------------------------------------------------------- */

static void put_limit(Json *json, const char *key, size_t used, size_t limit) {
        json_key(json, key);
        json_begin_object(json);
        put_count(json, "used", used);
        put_count(json, "limit", limit);
        json_end_object(json);
}

static void put_handlers(const Status *status, Json *json) {
        const Engine *engine = status->pipeline->engine;
        const bool on[HANDLER_COUNT] = {status->config->handlers.save.enabled,
                                        status->config->handlers.restart.enabled};
        static const HandlerState order[HANDLER_STATES] = {HANDLER_QUEUED,  HANDLER_ASKING,
                                                           HANDLER_RUNNING, HANDLER_WAITING,
                                                           HANDLER_ENDED,   HANDLER_UNDECIDED,
                                                           HANDLER_OFF};
        json_key(json, "handlers");
        json_begin_array(json);
        for (int h = 0; h < HANDLER_COUNT; h++) {
                if (!on[h]) {
                        continue;
                }
                json_begin_object(json);
                put_text(json, "handler", handler_name((HandlerId)h));
                for (int s = 0; s < HANDLER_STATES; s++) {
                        put_count(json, handler_state_name(order[s]),
                                  engine_states(engine, (HandlerId)h, order[s]));
                }
                json_end_object(json);
        }
        json_end_array(json);
}

static void put_waits(const Status *status, Json *json) {
        const Engine *engine = status->pipeline->engine;
        json_key(json, "waits");
        json_begin_object(json);
        for (int i = WAIT_NONE + 1; i < WAIT_REASONS; i++) {
                put_count(json, restart_wait_name((RestartWait)i),
                          engine_waits(engine, (RestartWait)i));
        }
        json_end_object(json);
        json_key(json, "windows");
        if (status->config->handlers.restart.windows.n == 0) {
                json_put_null(json);
                return;
        }
        WindowsState windows = engine_windows(engine);
        json_begin_object(json);
        put_bool(json, "open", windows.open);
        json_key(json, "until");
        status_put_time(json, windows.until_us > 0 ? windows.until_us : INT64_MAX);
        json_end_object(json);
}

static void put_totals(const EngineTotals *totals, Json *json) {
        json_key(json, "totals");
        json_begin_object(json);
        put_count(json, "received", totals->received);
        for (int i = 0; i < FINISH_COUNT; i++) {
                put_count(json, finish_name((Finish)i), totals->finished[i]);
        }
        put_count(json, "saved_rows", totals->saved_rows);
        put_count(json, "commits", totals->commits);
        put_count(json, "commits_failed", totals->commits_failed);
        put_count(json, "rebalances", totals->rebalances);
        json_key(json, "restarts");
        json_begin_object(json);
        for (int i = OUTCOME_NONE + 1; i < OUTCOME_COUNT; i++) {
                put_count(json, outcome_name((Outcome)i), totals->restarts[i]);
        }
        json_end_object(json);
        json_key(json, "suppressed");
        json_begin_object(json);
        for (int i = LEDGER_REASON_DUPLICATE; i <= LEDGER_REASON_OTHER; i++) {
                put_count(json, ledger_reason_name((LedgerReason)i), totals->suppressed[i]);
        }
        json_end_object(json);
        json_end_object(json);
}

void status_put_work(const Status *status, Json *json, int64_t now) {
        const Engine *engine = status->pipeline->engine;
        const ConfigLimits *limits = &status->config->limits;
        const char *by = engine_paused_by(engine);
        json_key(json, "intake");
        json_begin_object(json);
        put_bool(json, "reading", engine_is_reading(engine));
        put_text(json, "paused_by", by);
        put_since(json, by != NULL ? status->report->paused_us : 0, now);
        json_end_object(json);
        json_key(json, "limits");
        json_begin_object(json);
        put_limit(json, "in_flight", engine_in_flight(engine), limits->in_flight);
        put_limit(json, "in_flight_bytes", engine_in_flight_bytes(engine), limits->in_flight_bytes);
        put_limit(json, "waiting", engine_waiting(engine), limits->waiting);
        put_limit(json, "concurrency", engine_running(engine),
                  status->config->handlers.restart.concurrency);
        json_end_object(json);
        put_handlers(status, json);
        put_waits(status, json);
        put_totals(engine_totals(engine), json);
}

/* --- partitions --------------------------------------------------------------------------- */

static bool is_in_trouble(const Partition *partition, int64_t now) {
        const Message *first = list_first(&partition->messages, Message, link);
        return partition->state != PARTITION_ACTIVE || partition->held || partition->doubted ||
               (first != NULL && now - first->received_us >= 60 * INT64_C(1000000));
}

typedef struct Ranked {
        const Partition *partition;
        bool trouble;
        size_t gap;
} Ranked;

static int compare(const void *a, const void *b) {
        const Ranked *one = a, *other = b;
        if (one->trouble != other->trouble) {
                return one->trouble ? -1 : 1;
        }
        if (one->gap != other->gap) {
                return one->gap > other->gap ? -1 : 1;
        }
        int topics = strcmp(one->partition->topic, other->partition->topic);
        return topics != 0 ? topics
                           : (one->partition->partition > other->partition->partition) -
                                     (one->partition->partition < other->partition->partition);
}

static void put_stopped(const Partition *partition, Json *json) {
        const PartitionFacts *facts = &partition->facts;
        json_key(json, "stopped");
        if (partition->state != PARTITION_STOPPED || partition->stopped == NULL) {
                json_put_null(json);
                return;
        }
        json_begin_object(json);
        put_text(json, "reason", partition->stopped);
        put_text(json, "text", assignment_explain(partition->stopped));
        put_offset(json, "log_low", facts->low);
        put_offset(json, "log_high", facts->high);
        put_offset(json, "committed", facts->committed);
        put_offset(json, "fence", facts->has_source ? partition->fence : -1);
        json_end_object(json);
}

static void put_pinned(const Partition *partition, Json *json, int64_t now) {
        const Message *first = list_first(&partition->messages, Message, link);
        json_key(json, "pinned_by");
        if (first == NULL || first->gap) {
                json_put_null(json);
                return;
        }
        InspectedHandler is;
        const HandlerTask *restart = &first->handlers[HANDLER_RESTART];
        bool restarts = restart->state != HANDLER_OFF && restart->state != HANDLER_ENDED;
        HandlerId handler = restarts ? HANDLER_RESTART : HANDLER_SAVE;
        inspect_handler(first, handler, &is);
        json_begin_object(json);
        put_offset(json, "offset", first->offset);
        put_text(json, "host", first->host);
        status_put_seconds(json, "age_s", now - first->received_us);
        put_text(json, "handler", handler_name(handler));
        put_text(json, "state", handler_state_name(is.state));
        put_text(json, "waits_for",
                 is.waits_for != WAIT_NONE ? restart_wait_name(is.waits_for) : NULL);
        put_since(json, is.since_us, now);
        json_end_object(json);
}

static void put_partition(const Status *status, const Partition *partition, Json *json,
                          int64_t now) {
        double lag;
        json_begin_object(json);
        put_text(json, "topic", partition->topic);
        json_key(json, "partition");
        json_put_int(json, partition->partition);
        put_text(json, "state", partition_state_name(partition->state));
        put_text(json, "paused_by", partition_paused_by(partition));
        json_key(json, "source");
        json_put_int(json, partition->source);
        put_offset(json, "watermark", partition->offsets.watermark);
        put_offset(json, "committed",
                   partition->committed != INT64_MAX ? partition->committed : -1);
        put_offset(json, "fence", partition->fence);
        put_count(json, "gap", offsets_gap(&partition->offsets));
        json_key(json, "lag");
        if (report_lag(status->report, partition, &lag)) {
                json_put_int(json, (int64_t)lag);
        } else {
                json_put_null(json);
        }
        put_count(json, "in_flight", partition->n_messages);
        put_stopped(partition, json);
        put_pinned(partition, json, now);
        json_end_object(json);
}

int status_put_partitions(const Status *status, Json *json, int64_t now) {
        const List *partitions = engine_partitions(status->pipeline->engine);
        size_t n = 0;
        list_for_each(link, partitions) {
                n++;
        }
        Ranked *ranked = calloc(n + 1, sizeof(*ranked));
        if (ranked == NULL) {
                return error_origin(-ENOMEM);
        }
        n = 0;
        list_for_each(link, partitions) {
                const Partition *partition = container_of(link, Partition, link);
                ranked[n++] = (Ranked){partition, is_in_trouble(partition, now),
                                       offsets_gap(&partition->offsets)};
        }
        qsort(ranked, n, sizeof(*ranked), compare);
        put_count(json, "partitions_total", n);
        json_key(json, "partitions");
        json_begin_array(json);
        for (size_t i = 0; i < n && i < STATUS_PARTITIONS_MAX; i++) {
                put_partition(status, ranked[i].partition, json, now);
        }
        json_end_array(json);
        free(ranked);
        return 0;
}

/* --- holds, rejected messages ------------------------------------------------------------- */

void status_put_kept(const Status *status, Json *json) {
        const HoldsWatch *holds = &status->pipeline->holds;
        const RejectedCounts *counts = &status->pipeline->rejected.counts;
        put_count(json, "holds_total", holds->in_force);
        json_key(json, "holds");
        json_begin_array(json);
        for (size_t i = 0; i < holds->n_known; i++) {
                const WatchedHold *hold = &holds->known[i];
                json_begin_object(json);
                put_text(json, "pattern", hold->pattern);
                put_text(json, "who", hold->who);
                put_text(json, "why", hold->why);
                put_text(json, "since", hold->since);
                put_text(json, "until", hold->until[0] != '\0' ? hold->until : NULL);
                put_bool(json, "fuse", hold->fuse);
                json_end_object(json);
        }
        json_end_array(json);
        json_key(json, "rejected");
        if (counts->as_of_us == 0) {
                json_put_null(json);
                return;
        }
        json_begin_object(json);
        put_count(json, "open", counts->open);
        put_count(json, "unknown", counts->unknown);
        put_count(json, "outbox_pending", counts->outbox_pending);
        put_text(json, "outbox_error",
                 counts->outbox_error[0] != '\0' ? counts->outbox_error : NULL);
        json_key(json, "as_of");
        status_put_time(json, counts->as_of_us);
        put_bool(json, "capped", counts->capped);
        json_end_object(json);
}

/* --- messages ----------------------------------------------------------------------------- */

static void put_message_handler(const Status *status, Json *json, const Inspection *inspection,
                                const InspectedMessage *message, HandlerId handler, int64_t now) {
        const InspectedHandler *is = &message->handlers[handler].is;
        const Restart *restart = status->pipeline->restart;
        bool runs = message->handlers[handler].runs;
        pid_t pid = runs && message->handlers[handler].phase == RUN_ACTING && restart != NULL
                            ? restart_pid(restart, message->handlers[handler].run_id)
                            : 0;
        json_begin_object(json);
        put_text(json, "handler", handler_name(handler));
        put_text(json, "state", handler_state_name(is->state));
        put_text(json, "outcome", is->outcome != OUTCOME_NONE ? outcome_name(is->outcome) : NULL);
        put_count(json, "attempts", (uint64_t)is->attempts);
        put_count(json, "charged", (uint64_t)is->charged);
        put_since(json, is->since_us, now);
        put_text(json, "waits_for",
                 is->waits_for != WAIT_NONE ? restart_wait_name(is->waits_for) : NULL);
        if (is->again_us != INT64_MAX) {
                status_put_seconds(json, "retry_in_s", is->again_us > now ? is->again_us - now : 0);
        } else {
                put_text(json, "retry_in_s", NULL);
        }
        put_text(json, "phase", runs ? run_phase_name(message->handlers[handler].phase) : NULL);
        json_key(json, "pid");
        if (pid > 0) {
                json_put_int(json, pid);
        } else {
                json_put_null(json);
        }
        put_text(json, "detail", inspection_text(inspection, message->handlers[handler].detail));
        json_end_object(json);
}

void status_put_message(const Status *status, Json *json, const Inspection *inspection, size_t i,
                        int64_t now) {
        const InspectedMessage *message = &inspection->messages[i];
        const bool on[HANDLER_COUNT] = {status->config->handlers.save.enabled,
                                        status->config->handlers.restart.enabled};
        json_begin_object(json);
        put_text(json, "topic", inspection_text(inspection, message->topic));
        json_key(json, "partition");
        json_put_int(json, message->partition);
        put_offset(json, "offset", message->offset);
        put_text(json, "host", inspection_text(inspection, message->host));
        put_text(json, "id", inspection_text(inspection, message->id));
        json_key(json, "received_at");
        status_put_time(json, message->received_wall_us);
        status_put_seconds(json, "age_s", now - message->received_us);
        put_bool(json, "saved", message->saved);
        json_key(json, "handlers");
        json_begin_array(json);
        for (int h = 0; h < HANDLER_COUNT; h++) {
                if (on[h]) {
                        put_message_handler(status, json, inspection, message, (HandlerId)h, now);
                }
        }
        json_end_array(json);
        json_end_object(json);
}
