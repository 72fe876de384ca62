#include "app/daemon.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "app/control_service.h"
#include "app/pipeline.h"
#include "app/report.h"
#include "app/shutdown.h"
#include "app/signals.h"
#include "app/state_log.h"
#include "app/status.h"
#include "core/inspect.h"
#include "pg/connection.h"
#include "pg/schema.h"
#include "util/list.h"
#include "util/reminder.h"

enum {
        SCHEMA_AGAIN_US = 5 * 1000000,      /* between two looks at a schema that is not right */
        PARTITIONS_AGAIN_US = 60 * 1000000, /* after partitions could not be made */
        LOG_RING_BYTES = 4 * 1024 * 1024,
        LOG_FLUSH_US = 500000,
        LINE_MAX_BYTES = 512,
        CHECKED_MAX = 10, /* messages that debug.checks names at the end */
};

#define PARTITIONS_EVERY_US (INT64_C(24) * 3600 * 1000000)

typedef struct Daemon {
        const Config *config;
        Loop loop;
        Log *log;
        Signals signals;
        PgPool *pool;
        Report report;
        Pipeline pipeline;
        Shutdown shutdown;
        Status status;
        ControlService control;
        StatusJob *state; /* for SIGUSR1; NULL: none is under way */
        LoopTimer schema_timer;
        LoopTimer partitions_timer;
        bool joined;          /* the schema was right and the group was asked to let us in */
        Reminder schema_said; /* why the schema is not right */
} Daemon;

/* --- the global handler ------------------------------------------------------------------- */

/* An error that nobody handled and that belongs to no message. */
static void on_failed(void *user, int error, const char *what) {
        Daemon *daemon = user;
        const ErrorOrigin *origin = error_last();
        char line[LINE_MAX_BYTES];
        if (origin->error == error && origin->file != NULL) {
                snprintf(line, sizeof(line), "unexpected error: %s: %s (%s at %s:%d)", what,
                         strerror(-error), origin->function, origin->file, origin->line);
        } else {
                snprintf(line, sizeof(line), "unexpected error: %s: %s", what, strerror(-error));
        }
        log_error(daemon->log, "daemon.unexpected", FIELDS(.error = strerror(-error)),
                  "%s; shutting down", line);
        shutdown_begin(&daemon->shutdown, EXIT_UNEXPECTED, line);
}

static void on_fenced(void *user, const char *what) {
        Daemon *daemon = user;
        log_error(daemon->log, "kafka.fenced", FIELDS(.error = what),
                  "another member of the group has our group.instance.id; shutting down, and a "
                  "restart will not help until one of the two has another");
        shutdown_begin(&daemon->shutdown, EXIT_FENCED,
                       "fenced by another member with the same group.instance.id");
}

static void on_turned(void *user) {
        Daemon *daemon = user;
        shutdown_turn(&daemon->shutdown);
}

/* --- signals ------------------------------------------------------------------------------ */

static void on_state(void *user, Buffer *document) {
        Daemon *daemon = user;
        daemon->state = NULL;
        if (document == NULL || state_log(daemon->log, document) != 0) {
                log_warning(daemon->log, "state.memory", FIELDS(), "no memory to tell the state");
        }
}

static void on_signal(void *user, int number, const char *sender) {
        Daemon *daemon = user;
        char line[LINE_MAX_BYTES];
        if (number == SIGUSR1) {
                if (daemon->state == NULL &&
                    status_make(&daemon->state, &daemon->status, STATUS_MESSAGES_DEFAULT, on_state,
                                daemon) != 0) {
                        on_state(daemon, NULL);
                }
                return;
        }
        snprintf(line, sizeof(line), "%s from %s%s", signal_name(number), sender,
                 number == SIGHUP ? "; ackd stops on SIGHUP, it does not reload" : "");
        if (!shutdown_has_begun(&daemon->shutdown)) {
                shutdown_begin(&daemon->shutdown, EXIT_OK, line);
        } else if (number != SIGHUP && shutdown_hurry(&daemon->shutdown)) {
                log_warning(daemon->log, "shutdown.hurried", FIELDS(),
                            "%s, after the first signal: the grace is over, what runs is killed",
                            line);
        } else {
                log_info(daemon->log, "shutdown.signal_again", FIELDS(),
                         "%s: the shutdown goes on as it is; %s", line,
                         daemon->shutdown.hurried ? "the grace is over already"
                         : number == SIGHUP
                                 ? "SIGHUP never ends the grace"
                                 : "within 1 s of the first signal it counts as the same: send it "
                                   "again to end the grace");
        }
}

/* --- PostgreSQL, before the group is joined ----------------------------------------------- */

static void on_pool_up(void *user, bool up, const char *why) {
        Daemon *daemon = user;
        (void)why; /* the pool has logged it */
        daemon->report.postgres_up = up;
        if (up) {
                if (!daemon->joined) {
                        /* That it is back is half of the news. */
                        reminder_forget(&daemon->schema_said);
                }
                pipeline_database_up(&daemon->pipeline);
        }
}

static void on_notified(void *user, const char *payload) {
        Daemon *daemon = user;
        holds_watch_notified(&daemon->pipeline.holds, payload);
}

static void on_partitions(void *user, SchemaEnd end, const char *why) {
        Daemon *daemon = user;
        if (end != SCHEMA_OK) {
                log_error(daemon->log, "schema.partitions", FIELDS(.error = why),
                          "the coming months' partitions of messages could not be made; trying "
                          "again in 60 s. Saving stops when the last one is over");
        }
        loop_timer_set(&daemon->partitions_timer,
                       end == SCHEMA_OK ? PARTITIONS_EVERY_US : PARTITIONS_AGAIN_US);
}

static void on_partitions_timer(LoopTimer *timer) {
        Daemon *daemon = container_of(timer, Daemon, partitions_timer);
        if (shutdown_has_begun(&daemon->shutdown)) {
                return;
        }
        int r = schema_make_partitions(daemon->pool, daemon->config->postgres.schema, on_partitions,
                                       daemon);
        if (r != 0) {
                on_failed(daemon, r < 0 ? r : -EINVAL, "making partitions");
        }
}

static void join(Daemon *daemon) {
        char *error = NULL;
        daemon->joined = true;
        loop_timer_set(&daemon->partitions_timer, 0);
        int r = pipeline_start(&daemon->pipeline, &error);
        if (r > 0) {
                log_error(daemon->log, "kafka.topics", FIELDS(.error = error),
                          "the topics cannot be subscribed to; mend consume.topics");
                shutdown_begin(&daemon->shutdown, EXIT_CONFIG,
                               "consume.topics cannot be subscribed to");
        } else if (r < 0) {
                on_failed(daemon, r, "joining the group");
        } else {
                log_info(daemon->log, "daemon.ready", FIELDS(),
                         "the schema is right; joining the consumer group");
        }
        free(error);
}

static void on_schema(void *user, SchemaEnd end, const char *why) {
        Daemon *daemon = user;
        if (shutdown_has_begun(&daemon->shutdown)) {
                return;
        }
        status_schema(&daemon->status, end, why);
        if (end == SCHEMA_OK) {
                join(daemon);
                return;
        }
        if (reminder_is_due(&daemon->schema_said, why, loop_time(&daemon->loop))) {
                log_write(daemon->log, end == SCHEMA_OUTAGE ? LOG_WARNING : LOG_ERROR,
                          "schema.not_ready", FIELDS(),
                          "%s; looking again every 5 s, nothing is consumed until then", why);
        }
        loop_timer_set(&daemon->schema_timer, SCHEMA_AGAIN_US);
}

static void on_schema_timer(LoopTimer *timer) {
        Daemon *daemon = container_of(timer, Daemon, schema_timer);
        if (shutdown_has_begun(&daemon->shutdown)) {
                return;
        }
        int r = schema_check(daemon->pool, daemon->config->postgres.schema, on_schema, daemon);
        if (r != 0) {
                on_failed(daemon, r < 0 ? r : -EINVAL, "looking at the schema");
        }
}

/* --- life --------------------------------------------------------------------------------- */

static void on_slow(void *user, const char *name, int64_t duration_us) {
        Daemon *daemon = user;
        report_slow(&daemon->report, name, duration_us);
}

static LogFormat log_format(ConfigLogFormat format) {
        switch (format) {
        case CONFIG_LOG_AUTO:
                return LOG_AUTO;
        case CONFIG_LOG_TEXT:
                return LOG_TEXT;
        case CONFIG_LOG_JSON:
                return LOG_JSON;
        }
        return LOG_AUTO;
}

static LogLevel log_level(ConfigLogLevel level) {
        switch (level) {
        case CONFIG_LOG_DEBUG:
                return LOG_DEBUG;
        case CONFIG_LOG_INFO:
                return LOG_INFO;
        case CONFIG_LOG_WARNING:
                return LOG_WARNING;
        case CONFIG_LOG_ERROR:
                return LOG_ERROR;
        }
        return LOG_INFO;
}

static int daemon_init(Daemon *daemon, const Config *config, char **errorp) {
        static const PipelineEvents events = {.failed = on_failed,
                                              .fenced = on_fenced,
                                              .turned = on_turned};

        *daemon = (Daemon){.config = config};
        int r = loop_init(&daemon->loop);
        if (r == 0) {
                r = log_new(&daemon->log, STDERR_FILENO, log_format(config->log.format),
                            log_level(config->log.level), config->instance, LOG_RING_BYTES);
        }
        if (r == 0) {
                r = signals_init(&daemon->signals, &daemon->loop, on_signal, daemon);
        }
        if (r != 0) {
                return r;
        }
        daemon->loop.slow = on_slow;
        daemon->loop.slow_user = daemon;
        daemon->loop.slow_us = config->debug.slow_callback_us;
        loop_timer_init(&daemon->schema_timer, &daemon->loop, "schema", on_schema_timer);
        loop_timer_init(&daemon->partitions_timer, &daemon->loop, "partitions",
                        on_partitions_timer);
        report_init(&daemon->report, &daemon->loop, daemon->log, config);
        PgOptions options = {.dsn = config->postgres.dsn,
                             .password_file = config->postgres.password_file,
                             .schema = config->postgres.schema,
                             .application_name = config->instance,
                             .connections = config->postgres.connections,
                             .statement_timeout_us = config->postgres.statement_timeout_us,
                             .channel = HOLDS_CHANNEL,
                             .notified = on_notified};
        r = pg_pool_new(&daemon->pool, &daemon->loop, daemon->log, &options, on_pool_up, daemon,
                        errorp);
        if (r != 0) {
                return r;
        }
        PipelineParts parts = {.loop = &daemon->loop,
                               .log = daemon->log,
                               .config = config,
                               .report = &daemon->report,
                               .pool = daemon->pool};
        r = pipeline_init(&daemon->pipeline, &parts, &events, daemon, errorp);
        if (r != 0) {
                return r;
        }
        shutdown_init(&daemon->shutdown, &daemon->pipeline, &daemon->report, &daemon->pool);
        daemon->status = (Status){.loop = &daemon->loop,
                                  .log = daemon->log,
                                  .config = config,
                                  .pipeline = &daemon->pipeline,
                                  .report = &daemon->report,
                                  .poolp = &daemon->pool,
                                  .shutdown = &daemon->shutdown};
        return status_init(&daemon->status);
}

/* --- debug.checks ------------------------------------------------------------------------- */

static void on_misused(void *user, const char *function) {
        Daemon *daemon = user;
        log_error(daemon->log, "debug.thread", FIELDS(),
                  "%s was called by a thread that is not the loop's: a bug of ackd (debug.checks); "
                  "it is said once for each function",
                  function);
}

static void on_checks(void *user, bool on) {
        Daemon *daemon = user;
        daemon->status.checks = on;
        daemon->report.checks = on;
        loop_check(&daemon->loop, on);
}

/* What is still there when everything should have ended. */
static void check_end(Daemon *daemon) {
        Inspection inspection = {0};
        if (!daemon->status.checks || daemon->pipeline.engine == NULL ||
            inspect_messages(&inspection, daemon->pipeline.engine, CHECKED_MAX) != 0) {
                inspection_deinit(&inspection);
                return;
        }
        for (size_t i = 0; i < inspection.n; i++) {
                const InspectedMessage *message = &inspection.messages[i];
                log_error(
                        daemon->log, "debug.message",
                        FIELDS(.topic = inspection_text(&inspection, message->topic),
                               .partition = message->partition, .offset = message->offset,
                               .host = inspection_text(&inspection, message->host)),
                        "%zu messages never ended, this is one of them: save %s, restart-host %s: "
                        "a bug of ackd (debug.checks)",
                        inspection.total,
                        handler_state_name(message->handlers[HANDLER_SAVE].is.state),
                        handler_state_name(message->handlers[HANDLER_RESTART].is.state));
        }
        inspection_deinit(&inspection);
}

/* After everything was freed; only their names are read. */
static void check_watchers(Daemon *daemon) {
        for (size_t i = 0; daemon->status.checks && i < daemon->loop.n_started; i++) {
                log_error(
                        daemon->log, "debug.watcher", FIELDS(),
                        "the watcher %s is still started at the end: a bug of ackd (debug.checks)",
                        daemon->loop.started[i].name);
        }
}

static void daemon_deinit(Daemon *daemon) {
        check_end(daemon);
        control_service_stop(&daemon->control);
        status_deinit(&daemon->status);
        /* What is freed after the pool answers to it no more; see pg_pool_free(). */
        pg_pool_free(daemon->pool);
        pipeline_deinit(&daemon->pipeline);
        shutdown_deinit(&daemon->shutdown);
        report_deinit(&daemon->report);
        if (daemon->schema_timer.loop != NULL) {
                loop_timer_stop(&daemon->schema_timer);
                loop_timer_stop(&daemon->partitions_timer);
        }
        signals_deinit(&daemon->signals);
        check_watchers(daemon);
        loop_deinit(&daemon->loop);
        log_free(daemon->log, LOG_FLUSH_US);
}

static void announce(Daemon *daemon) {
        const Config *config = daemon->config;
        const ConfigRestart *restart = &config->handlers.restart;
        log_info(daemon->log, "daemon.start", FIELDS(),
                 "ackd " ACKD_VERSION " as %s, pid %d: handlers%s%s, waiting for PostgreSQL and "
                 "Kafka",
                 config->instance, (int)getpid(), config->handlers.save.enabled ? " save" : "",
                 restart->enabled ? restart->action == CONFIG_ACTION_DRY_RUN
                                            ? " restart-host (dry-run: nothing is restarted)"
                                    : restart->action == CONFIG_ACTION_HTTP ? " restart-host (http)"
                                                                            : " restart-host (exec)"
                                  : "");
        if (daemon->signals.hup_ignored) {
                log_info(daemon->log, "daemon.nohup", FIELDS(),
                         "SIGHUP was ignored by whoever started ackd (nohup) and stays ignored");
        }
}

int daemon_run(const Config *config, const ConfigProblems *warnings) {
        Daemon daemon;
        char *error = NULL;
        int r = daemon_init(&daemon, config, &error);
        if (r == 0) {
                const char *debug = getenv("ACKD_DEBUG");
                daemon.loop.misused = on_misused;
                daemon.loop.misused_user = &daemon;
                on_checks(&daemon, config->debug.checks == CONFIG_TRUE ||
                                           (debug != NULL && strcmp(debug, "1") == 0));
                r = control_service_start(&daemon.control, &daemon.status, on_checks, &daemon,
                                          &error);
        }
        if (r != 0) {
                if (error != NULL) {
                        fprintf(stderr, "ackd: %s\n", error);
                } else {
                        const ErrorOrigin *origin = error_last();
                        fprintf(stderr, "ackd: cannot start: %s (%s)\n",
                                strerror(r < 0 ? -r : EINVAL),
                                origin->function != NULL ? origin->function : "?");
                }
                free(error);
                daemon_deinit(&daemon);
                return r > 0 ? EXIT_CONFIG : EXIT_UNEXPECTED;
        }
        announce(&daemon);
        for (size_t i = 0; i < warnings->n; i++) {
                log_warning(daemon.log, "config.warning", FIELDS(), "%s", warnings->items[i].text);
        }
        loop_timer_set(&daemon.schema_timer, 0);
        loop_run(&daemon.loop);
        int status = daemon.shutdown.status;
        daemon_deinit(&daemon);
        return status;
}
