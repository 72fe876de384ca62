#include "app/status.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "app/commands.h"
#include "app/status_parts.h"
#include "app/troubles.h"
#include "core/inspect.h"
#include "handlers/restart.h"
#include "util/json.h"

enum {
        KAFKA_TROUBLES_MAX = 32,
};

struct StatusJob {
        Status *status;
        List link;
        LoopSoon soon;
        StatusDone done;
        void *user;
        size_t most;
        bool begun;
        Inspection inspection;
        int64_t now_us; /* of the instant that it tells */
        size_t told;    /* messages that are written down */
        Buffer document;
        Json json;
};

int status_init(Status *status) {
        list_init(&status->jobs);
        status->started_us = loop_now();
        status->started_wall_us = loop_wall();
        int r = pg_place(&status->place, status->config->postgres.dsn);
        return r < 0 ? r : 0; /* what cannot be read, the pool has refused */
}

void status_deinit(Status *status) {
        if (status->loop == NULL) {
                return;
        }
        list_for_each_safe(link, &status->jobs) {
                status_cancel(container_of(link, StatusJob, link));
        }
        pg_place_deinit(&status->place);
        status->loop = NULL;
}

void status_schema(Status *status, SchemaEnd end, const char *why) {
        if (end == SCHEMA_OK) {
                status->ready = true;
                status->schema_us = 0;
        } else if (status->schema_us == 0 || status->schema != end) {
                status->schema_us = loop_now();
        }
        status->schema = end;
        snprintf(status->schema_why, sizeof(status->schema_why), "%s", why != NULL ? why : "");
}

/* --- the process -------------------------------------------------------------------------- */

static void put_key_text(Json *json, const char *key, const char *text) {
        json_key(json, key);
        json_put_text(json, text);
}

/* What a start still waits for; NULL: it is through. */
static const char *waiting_for(const Status *status, char out[STATUS_WHY_MAX + 128]) {
        const Consumer *consumer = status->pipeline->consumer;
        PgPoolStatus pool;
        if (shutdown_has_begun(status->shutdown)) {
                return NULL;
        }
        if (!status->ready) {
                pg_pool_status(*status->poolp, &pool);
                if (pool.connected == 0) {
                        snprintf(out, STATUS_WHY_MAX + 128, "PostgreSQL%s%s",
                                 pool.down.since_us != 0 ? ": " : "", pool.down.why);
                } else {
                        snprintf(out, STATUS_WHY_MAX + 128, "the schema%s%s",
                                 status->schema_why[0] != '\0' ? ": " : "", status->schema_why);
                }
                return out;
        }
        if (!consumer_has_joined(consumer)) {
                return consumer_is_up(consumer) ? "the consumer group to let it in" : "Kafka";
        }
        return NULL;
}

static void put_process(const Status *status, Json *json, int64_t now) {
        const Config *config = status->config;
        const ConfigRestart *restart = &config->handlers.restart;
        char waits[STATUS_WHY_MAX + 128];
        const char *waiting = waiting_for(status, waits);
        const char *step = shutdown_step_name(status->shutdown);

        put_key_text(json, "version", ACKD_VERSION);
        put_key_text(json, "instance", config->instance);
        json_key(json, "pid");
        json_put_int(json, getpid());
        put_key_text(json, "config_file", config->file);
        json_key(json, "started_at");
        status_put_time(json, status->started_wall_us);
        json_key(json, "now");
        status_put_time(json, loop_wall());
        status_put_seconds(json, "uptime_s", now - status->started_us);
        put_key_text(json, "state",
                     step != NULL      ? "stopping"
                     : waiting != NULL ? "starting"
                                       : "running");
        put_key_text(json, "waiting_for", waiting);
        json_key(json, "shutdown");
        if (step != NULL) {
                json_begin_object(json);
                put_key_text(json, "step", step);
                status_put_seconds(json, "since_s", now - status->shutdown->step_us);
                json_end_object(json);
        } else {
                json_put_null(json);
        }
        json_key(json, "handlers_on");
        json_begin_array(json);
        if (config->handlers.save.enabled) {
                json_put_text(json, handler_name(HANDLER_SAVE));
        }
        if (restart->enabled) {
                json_put_text(json, handler_name(HANDLER_RESTART));
        }
        json_end_array(json);
        put_key_text(json, "action",
                     !restart->enabled                       ? NULL
                     : restart->action == CONFIG_ACTION_EXEC ? "exec"
                     : restart->action == CONFIG_ACTION_HTTP ? "http"
                                                             : "dry-run");
}

static void put_loop(const Status *status, Json *json, int64_t now) {
        const Loop *loop = status->loop;
        json_key(json, "loop");
        json_begin_object(json);
        json_key(json, "turns");
        json_put_uint(json, loop->turns);
        status_put_seconds(json, "busy_s", loop->busy_us);
        json_key(json, "slow");
        json_begin_array(json);
        for (size_t i = 0; i < REPORT_CALLBACKS_MAX && status->report->slow[i].name != NULL; i++) {
                const ReportCallback *slow = &status->report->slow[i];
                json_begin_object(json);
                put_key_text(json, "callback", slow->name);
                json_key(json, "count");
                json_put_uint(json, slow->count);
                status_put_seconds(json, "longest_s", slow->longest_us);
                status_put_seconds(json, "last_s", now - slow->last_us);
                json_end_object(json);
        }
        json_end_array(json);
        json_end_object(json);
        int level = LOG_DEBUG;
        while (level < LOG_ERROR && !log_wants(status->log, (LogLevel)level)) {
                level++;
        }
        json_key(json, "log");
        json_begin_object(json);
        put_key_text(json, "level", log_level_name((LogLevel)level));
        json_key(json, "dropped");
        json_put_uint(json, log_dropped(status->log));
        json_end_object(json);
        json_key(json, "debug");
        json_begin_object(json);
        json_key(json, "checks");
        json_put_bool(json, status->checks);
        json_end_object(json);
}

/* --- troubles ----------------------------------------------------------------------------- */

/* Lines that were dropped within the last 10 minutes, as far as somebody has asked. */
static uint64_t recently_dropped(Status *status, int64_t now) {
        uint64_t dropped = log_dropped(status->log);
        if (dropped != status->dropped) {
                status->dropped_before = status->dropped;
                status->dropped = dropped;
                status->dropped_us = now;
        }
        return status->dropped_us != 0 && now - status->dropped_us <= TROUBLE_RECENT_US
                       ? status->dropped - status->dropped_before
                       : 0;
}

static pid_t pid_of(void *user, uint64_t run_id) {
        const Status *status = user;
        const Restart *restart = status->pipeline->restart;
        return restart != NULL ? restart_pid(restart, run_id) : 0;
}

static void put_trouble(Json *json, Trouble *trouble, int64_t now) {
        const struct {
                const char *key;
                const Buffer *text;
        } parts[] = {{"where", &trouble->where},
                     {"text", &trouble->text},
                     {"remedy", &trouble->remedy},
                     {"note", &trouble->note}};
        json_begin_object(json);
        put_key_text(json, "word", trouble->word);
        put_key_text(json, "severity", trouble->error ? "error" : "warning");
        json_key(json, "since_s");
        if (trouble->since_us != 0) {
                json_put_double(json, (double)(now - trouble->since_us) / 1e6);
        } else {
                json_put_null(json);
        }
        for (size_t i = 0; i < sizeof(parts) / sizeof(parts[0]); i++) {
                json_key(json, parts[i].key);
                if (parts[i].text->size > 0) {
                        json_put_string(json, (const char *)parts[i].text->data,
                                        parts[i].text->size);
                } else {
                        json_put_null(json);
                }
        }
        json_end_object(json);
}

static int put_troubles(Status *status, Json *json, int64_t now) {
        const Report *report = status->report;
        const Pipeline *pipeline = status->pipeline;
        const ConsumerTrouble *kafka[KAFKA_TROUBLES_MAX + 1] = {NULL};
        TroubleSlow slow[REPORT_CALLBACKS_MAX];
        Troubles troubles = {0};
        TroubleFacts facts = {.config = status->config,
                              .now_us = now,
                              .wall_us = loop_wall(),
                              .stopping = shutdown_has_begun(status->shutdown),
                              .engine = pipeline->engine,
                              .kafka = kafka,
                              .place = status->place,
                              .schema = status->schema,
                              .schema_why = status->schema_why,
                              .schema_us = status->schema_us,
                              .holds = pipeline->holds.known,
                              .n_holds = pipeline->holds.n_known,
                              .n_in_force = pipeline->holds.in_force,
                              .rejected = &pipeline->rejected.counts,
                              .intake_us = report->paused_us,
                              .slow = slow,
                              .log_dropped = recently_dropped(status, now),
                              .pid = pid_of,
                              .user = status};
        size_t cursor = 0, n = 0;
        pg_pool_status(*status->poolp, &facts.postgres);
        while (n < KAFKA_TROUBLES_MAX &&
               (kafka[n] = consumer_next_trouble(pipeline->consumer, &cursor)) != NULL) {
                n++;
        }
        for (; facts.n_slow < REPORT_CALLBACKS_MAX && report->slow[facts.n_slow].name != NULL;
             facts.n_slow++) {
                const ReportCallback *callback = &report->slow[facts.n_slow];
                slow[facts.n_slow] = (TroubleSlow){callback->name, callback->count,
                                                   callback->longest_us, callback->last_us};
        }
        int r = troubles_find(&troubles, &facts);
        json_key(json, "troubles");
        json_begin_array(json);
        for (size_t i = 0; r == 0 && i < troubles.n; i++) {
                put_trouble(json, &troubles.items[i], now);
        }
        json_end_array(json);
        troubles_deinit(&troubles);
        return r;
}

/* --- a document, piece by piece ----------------------------------------------------------- */

static int job_begin(StatusJob *job) {
        Status *status = job->status;
        Json *json = &job->json;
        job->now_us = loop_now();
        job->begun = true;
        int r = inspect_messages(&job->inspection, status->pipeline->engine, job->most);
        if (r != 0) {
                return r;
        }
        json_begin(json, &job->document);
        json_begin_object(json);
        put_process(status, json, job->now_us);
        r = put_troubles(status, json, job->now_us);
        status_put_outside(status, json, job->now_us);
        status_put_work(status, json, job->now_us);
        r = r == 0 ? status_put_partitions(status, json, job->now_us) : r;
        status_put_kept(status, json);
        put_loop(status, json, job->now_us);
        json_key(json, "messages_total");
        json_put_uint(json, job->inspection.total);
        json_key(json, "messages");
        json_begin_array(json);
        return r;
}

static int job_end(StatusJob *job) {
        json_end_array(&job->json);
        json_end_object(&job->json);
        int r = json_end(&job->json);
        return r == 0 ? buffer_append_char(&job->document, '\n') : r;
}

static void job_free(StatusJob *job) {
        list_unlink(&job->link);
        loop_soon_stop(&job->soon);
        inspection_deinit(&job->inspection);
        buffer_deinit(&job->document);
        free(job);
}

static void on_soon(LoopSoon *soon) {
        StatusJob *job = container_of(soon, StatusJob, soon);
        int r = job->begun ? 0 : job_begin(job);
        for (int i = 0; r == 0 && i < STATUS_PIECE && job->told < job->inspection.n; i++) {
                status_put_message(job->status, &job->json, &job->inspection, job->told++,
                                   job->now_us);
        }
        if (r == 0 && job->told < job->inspection.n) {
                loop_soon_set(soon);
                return;
        }
        r = r == 0 ? job_end(job) : r;
        list_unlink(&job->link); /* from here on it is not cancelled any more */
        job->done(job->user, r == 0 ? &job->document : NULL);
        job_free(job);
}

int status_make(StatusJob **jobp, Status *status, size_t messages, StatusDone done, void *user) {
        StatusJob *job = calloc(1, sizeof(*job));
        if (job == NULL) {
                return error_origin(-ENOMEM);
        }
        job->status = status;
        job->most = messages;
        job->done = done;
        job->user = user;
        list_init(&job->link);
        list_push_back(&status->jobs, &job->link);
        loop_soon_init(&job->soon, status->loop, "status", on_soon);
        loop_soon_set(&job->soon);
        *jobp = job;
        return 0;
}

void status_cancel(StatusJob *job) {
        job_free(job);
}
