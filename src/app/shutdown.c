#include "app/shutdown.h"

#include <stdarg.h>

#include "util/list.h"

enum {
        SECOND_SIGNAL_US =
                1000000, /* sooner, it is the same gesture: a terminal's, a supervisor's */
        METRICS_FLUSH_US = 400000, /* of the step's 500 ms */
        KILLED_US = 500000,        /* to see the end of what was killed, or of a last batch */
};

struct ShutdownStep {
        const char *name;
        const char *event; /* of its line */
        int64_t limit_us;  /* 0: the grace, and a second for what KILL ends */
        /* Starts the step. */
        void (*begin)(Shutdown *shutdown);
        /* Whether it is through. NULL: at once. */
        bool (*is_done)(Shutdown *shutdown);
        /* Adds to Shutdown.what what happened; NULL: begin has said it. @in_time: it ended within
         * its limit. */
        void (*end)(Shutdown *shutdown, bool in_time);
};

__attribute__((format(printf, 2, 3))) static void say(Shutdown *shutdown, const char *format, ...) {
        va_list ap;
        va_start(ap, format);
        int r = buffer_vprintf(&shutdown->what, format, ap);
        va_end(ap);
        if (r != 0) {
                buffer_clear(&shutdown->what); /* no memory for a sentence: the step counts */
        }
}

static void worsen(Shutdown *shutdown, int status) {
        /* What happened first names the cause: 70 and 76 stay. */
        if (shutdown->status == EXIT_OK) {
                shutdown->status = status;
        }
}

/* --- the steps, top to bottom ------------------------------------------------------------- */

static void intake_begin(Shutdown *shutdown) {
        if (shutdown->pipeline->consumer != NULL) {
                consumer_read(shutdown->pipeline->consumer, false);
        }
        dead_letter_feeder_stop(shutdown->pipeline->feeder);
}

static void intake_end(Shutdown *shutdown, bool in_time) {
        (void)in_time;
        const Engine *engine = shutdown->pipeline->engine;
        say(shutdown, "no more is read; %zu in flight, %zu waiting", engine_in_flight(engine),
            engine_waiting(engine));
}

static int64_t grace(const Shutdown *shutdown) {
        return shutdown->hurried ? 0 : shutdown->config->shutdown.grace_us;
}

/* What is taken back of a message: all of it, its save alone, or what was to follow a failure. */
static void count_open(Shutdown *shutdown, const Message *message) {
        const HandlerTask *save = &message->handlers[HANDLER_SAVE];
        const HandlerTask *restart = &message->handlers[HANDLER_RESTART];
        const Batch *batch = message->partition->batch;
        /* Without a connection, or after a failure, a batch is not at the database. */
        bool saving = save->state == HANDLER_RUNNING && batch != NULL &&
                      batch->retry_us == INT64_MAX && pg_pool_is_up(*shutdown->poolp);
        if (saving || restart->state == HANDLER_RUNNING) {
                return;
        }
        if (restart->attempts == 0) {
                shutdown->waiting++;
        } else if (restart->state == HANDLER_ENDED && outcome_is_success(restart->outcome)) {
                shutdown->unsaved++;
        } else {
                shutdown->failed++;
        }
}

/* What is given back counts from here: an error stops the engine before the step "cancel". */
static void count_begin(Shutdown *shutdown) {
        const Engine *engine = shutdown->pipeline->engine;
        shutdown->unknown_before = shutdown->report->restarts[OUTCOME_UNKNOWN];
        shutdown->released_before = engine_totals(engine)->finished[FINISH_RELEASED];
        buffer_clear(&shutdown->report->released_hosts);
        shutdown->report->n_released_hosts = 0;
        list_for_each(partition_link, engine_partitions(engine)) {
                const Partition *partition = container_of(partition_link, Partition, link);
                list_for_each(link, &partition->messages) {
                        count_open(shutdown, container_of(link, Message, link));
                }
        }
}

static void cancel_begin(Shutdown *shutdown) {
        Engine *engine = shutdown->pipeline->engine;
        size_t running = engine_running(engine);
        if (engine_stop(engine, loop_time(shutdown->pipeline->loop)) != 0) {
                worsen(shutdown, EXIT_UNEXPECTED);
        }
        if (shutdown->pipeline->checks != NULL) {
                /* They change nothing, and whoever owns the message next looks again. */
                checks_cancel(shutdown->pipeline->checks);
        }
        if (running > 0) {
                log_info(shutdown->log, "shutdown.grace", FIELDS(),
                         "waiting up to %lld s for %zu restart%s under way; a SIGTERM or SIGINT "
                         "that comes 1 s after the first signal or later ends them",
                         (long long)(grace(shutdown) / 1000000), running, running == 1 ? "" : "s");
        }
        pipeline_turn(shutdown->pipeline);
}

/* Shielded work may end within the grace: TERM in time for it to be KILLed at the grace. */
static bool cancel_is_done(Shutdown *shutdown) {
        Pipeline *pipeline = shutdown->pipeline;
        int64_t passed = loop_now() - shutdown->step_us;
        int64_t kill_at = grace(shutdown);
        const ConfigRestart *config = &shutdown->config->handlers.restart;
        /* A request that was sent cannot be asked to end. */
        bool asks = config->action == CONFIG_ACTION_EXEC;
        int64_t term_at = kill_at - (asks ? config->exec.kill_after_us : 0);

        if (engine_is_quiet(pipeline->engine)) {
                return true;
        }
        if (pipeline->restart == NULL || restart_running(pipeline->restart) == 0) {
                if (engine_open_entries(pipeline->engine) > 0) {
                        return false; /* the ledger is to know how they ended */
                }
                /* Only a batch is left; without a connection it is not at the database. */
                return shutdown->hurried || !pg_pool_is_up(*shutdown->poolp);
        }
        if (passed >= kill_at && !shutdown->killed) {
                shutdown->killed = true;
                shutdown->killed_us = loop_now();
                restart_kill(pipeline->restart);
        } else if (passed >= term_at && !shutdown->terminated && !shutdown->killed) {
                shutdown->terminated = true;
                restart_terminate(pipeline->restart);
        }
        if (!shutdown->killed) {
                loop_timer_set(&shutdown->timer,
                               (shutdown->terminated ? kill_at : term_at) - passed);
        }
        return false;
}

static void cancel_end(Shutdown *shutdown, bool in_time) {
        Pipeline *pipeline = shutdown->pipeline;
        size_t running = pipeline->restart != NULL ? restart_running(pipeline->restart) : 0;
        uint64_t interrupted =
                shutdown->report->restarts[OUTCOME_UNKNOWN] - shutdown->unknown_before;
        say(shutdown, "%zu that had not started are given back", shutdown->waiting);
        if (shutdown->unsaved > 0) {
                say(shutdown, ", %zu whose restart is done are saved by the next owner",
                    shutdown->unsaved);
        }
        if (shutdown->failed > 0) {
                say(shutdown, ", %zu whose restart failed are not tried again", shutdown->failed);
        }
        if (interrupted > 0) {
                bool forced = shutdown->terminated || shutdown->killed;
                say(shutdown, ", %llu running restart%s ended unknown, %s",
                    (unsigned long long)interrupted, interrupted == 1 ? "" : "s",
                    forced ? "by force at the end of the grace" : "by themselves");
                if (forced) {
                        worsen(shutdown, EXIT_UNCONFIRMED);
                }
        }
        if (running > 0) {
                say(shutdown, ", %zu running restarts did not end", running);
                worsen(shutdown, EXIT_UNCONFIRMED);
        } else if (!in_time && engine_open_entries(pipeline->engine) > 0) {
                say(shutdown, ", PostgreSQL was not told how %zu restarts ended",
                    engine_open_entries(pipeline->engine));
        } else if (!in_time) {
                /* Not our loss: PostgreSQL has it whole or not at all, and the fence will tell. */
                say(shutdown, ", a batch is still at the database and left to it");
        } else if (interrupted == 0) {
                say(shutdown, ", what was running has ended");
        }
}

static void nack_begin(Shutdown *shutdown) {
        Engine *engine = shutdown->pipeline->engine;
        if (engine_release(engine, loop_time(shutdown->pipeline->loop)) != 0) {
                worsen(shutdown, EXIT_UNEXPECTED);
        }
        pipeline_turn(shutdown->pipeline);
}

static bool nack_is_done(Shutdown *shutdown) {
        const Engine *engine = shutdown->pipeline->engine;
        return engine_in_flight(engine) + engine_waiting(engine) == 0;
}

/* Finished messages behind an unfinished one: they are not committed, so they are handled again. */
static size_t stranded(const Engine *engine) {
        size_t n = 0;
        list_for_each(link, engine_partitions(engine)) {
                n += offsets_stranded(&container_of(link, Partition, link)->offsets);
        }
        return n;
}

static void nack_end(Shutdown *shutdown, bool in_time) {
        const Report *report = shutdown->report;
        uint64_t released = engine_totals(shutdown->pipeline->engine)->finished[FINISH_RELEASED] -
                            shutdown->released_before;
        (void)in_time;
        say(shutdown, "%llu released: uncommitted, delivered again", (unsigned long long)released);
        if (report->released_hosts.size > 0) {
                say(shutdown, ";%.*s%s", (int)report->released_hosts.size,
                    (const char *)report->released_hosts.data,
                    released > REPORT_HOSTS_MAX ? " and others" : "");
        }
}

static void commit_begin(Shutdown *shutdown) {
        const Engine *engine = shutdown->pipeline->engine;
        shutdown->stranded = stranded(engine);
        shutdown->nothing = list_is_empty(engine_partitions(engine));
        if (engine_flush(shutdown->pipeline->engine, loop_time(shutdown->pipeline->loop)) != 0) {
                worsen(shutdown, EXIT_UNEXPECTED);
        }
        pipeline_turn(shutdown->pipeline);
}

static bool commit_is_done(Shutdown *shutdown) {
        return shutdown->pipeline->dead || engine_is_committed(shutdown->pipeline->engine);
}

static void commit_end(Shutdown *shutdown, bool in_time) {
        if (engine_is_committed(shutdown->pipeline->engine)) {
                say(shutdown,
                    shutdown->nothing ? "nothing to commit: no partition is ours" : "confirmed");
                if (shutdown->stranded > 0) {
                        say(shutdown,
                            "; %zu finished behind an unfinished one: uncommitted and delivered "
                            "again, what is done of them is known",
                            shutdown->stranded);
                }
                return;
        }
        (void)in_time;
        say(shutdown, "not confirmed%s: what was done since the last commit is delivered again",
            shutdown->pipeline->dead ? ", librdkafka has given up" : "");
        worsen(shutdown, EXIT_UNCONFIRMED);
}

static void leave_begin(Shutdown *shutdown) {
        shutdown->pipeline->leaving = true;
        if (shutdown->pipeline->consumer != NULL) {
                consumer_close(shutdown->pipeline->consumer);
        } else {
                shutdown->pipeline->closed = true;
        }
}

static bool leave_is_done(Shutdown *shutdown) {
        return shutdown->pipeline->closed;
}

static void leave_end(Shutdown *shutdown, bool in_time) {
        if (shutdown->pipeline->dead) {
                say(shutdown, "the consumer is closed");
        } else if (!in_time) {
                say(shutdown, "the group's coordinator did not answer; it will notice that this "
                              "member is gone");
        } else {
                say(shutdown,
                    shutdown->nothing ? "no partition was ours" : "left the consumer group");
        }
}

/* What is on its way to the dead-letter topic is worth a moment: or it would be sent again. */
static void database_begin(Shutdown *shutdown) {
        dead_letter_feeder_close(shutdown->pipeline->feeder);
}

static bool database_is_done(Shutdown *shutdown) {
        return dead_letter_feeder_is_quiet(shutdown->pipeline->feeder) ||
               !pg_pool_is_up(*shutdown->poolp);
}

static void close_database(Shutdown *shutdown) {
        shutdown->report->closed = true;
        shutdown->open_entries = engine_open_entries(shutdown->pipeline->engine);
        if (shutdown->pipeline->claims != NULL) {
                claims_close(shutdown->pipeline->claims);
        }
        holds_watch_stop(&shutdown->pipeline->holds);
        rejected_counter_stop(&shutdown->pipeline->rejected);
        pg_pool_free(*shutdown->poolp);
        *shutdown->poolp = NULL;
}

static void database_end(Shutdown *shutdown, bool in_time) {
        size_t letters = dead_letter_feeder_open(shutdown->pipeline->feeder);
        (void)in_time;
        close_database(shutdown);
        say(shutdown, "connections closed");
        if (letters > 0) {
                say(shutdown,
                    "; %zu on the way to the dead-letter topic are sent again in a minute, by any "
                    "instance",
                    letters);
        }
        if (shutdown->open_entries > 0) {
                say(shutdown,
                    "; %zu restart%s without a confirmed end in the ledger: unknown once "
                    "restarts.held_until is over, then on_unknown or verify decides",
                    shutdown->open_entries, shutdown->open_entries == 1 ? " is" : "s are");
                worsen(shutdown, EXIT_UNCONFIRMED);
                shutdown->alarm = true;
        }
}

static void metrics_begin(Shutdown *shutdown) {
        if (!report_flush(shutdown->report, METRICS_FLUSH_US)) {
                say(shutdown, "the textfile is not up to date; ");
        }
}

static void metrics_end(Shutdown *shutdown, bool in_time) {
        (void)in_time;
        const EngineTotals *totals = engine_totals(shutdown->pipeline->engine);
        say(shutdown,
            "%llu received, %llu saved, %llu attempts at restarts, %llu accepted, %llu rejected, "
            "%llu "
            "released, "
            "%llu duplicates, %llu tombstones, %llu commits",
            (unsigned long long)totals->received, (unsigned long long)totals->saved_rows,
            (unsigned long long)totals->runs, (unsigned long long)totals->finished[FINISH_ACCEPTED],
            (unsigned long long)totals->finished[FINISH_REJECTED],
            (unsigned long long)totals->finished[FINISH_RELEASED],
            (unsigned long long)totals->finished[FINISH_DUPLICATE],
            (unsigned long long)totals->finished[FINISH_TOMBSTONE],
            (unsigned long long)totals->commits);
}

static void complete_end(Shutdown *shutdown, bool in_time) {
        (void)in_time;
        say(shutdown, "exit status %d after %.3f s", shutdown->status,
            (double)(loop_now() - shutdown->began_us) / 1e6);
}

static const ShutdownStep steps[] = {
        {"signal", "shutdown.signal", 0, NULL, NULL, NULL},
        {"intake", "shutdown.intake", 100000, intake_begin, NULL, intake_end},
        {"cancel", "shutdown.cancel", 0, cancel_begin, cancel_is_done, cancel_end},
        {"nack", "shutdown.nack", 200000, nack_begin, nack_is_done, nack_end},
        {"commit", "shutdown.commit", 1500000, commit_begin, commit_is_done, commit_end},
        {"leave", "shutdown.leave", 1500000, leave_begin, leave_is_done, leave_end},
        {"database", "shutdown.database", 500000, database_begin, database_is_done, database_end},
        {"metrics", "shutdown.metrics", 500000, metrics_begin, NULL, metrics_end},
        {"complete", "shutdown.complete", 100000, NULL, NULL, complete_end},
};

enum {
        STEPS = sizeof(steps) / sizeof(steps[0]),
        STEP_COMMIT = 4,
};

/* --- running them ------------------------------------------------------------------------- */

static int64_t step_limit(const Shutdown *shutdown) {
        int64_t limit = steps[shutdown->step].limit_us;
        if (limit == 0) {
                limit = (shutdown->killed ? shutdown->killed_us - shutdown->step_us
                                          : grace(shutdown)) +
                        KILLED_US;
        }
        if (shutdown->hurried && shutdown->step == STEP_COMMIT) {
                limit = 1000000;
        }
        return limit;
}

static void step_end(Shutdown *shutdown, bool in_time) {
        const ShutdownStep *step = &steps[shutdown->step];
        if (step->end != NULL) {
                step->end(shutdown, in_time);
        }
        const char *what = buffer_string(&shutdown->what);
        log_write(shutdown->log, in_time && !shutdown->alarm ? LOG_INFO : LOG_WARNING, step->event,
                  FIELDS(), "shutdown: %s: %s", step->name, what != NULL ? what : "done");
        buffer_clear(&shutdown->what);
        shutdown->alarm = false;
}

static void step_begin(Shutdown *shutdown) {
        const ShutdownStep *step = &steps[shutdown->step];
        shutdown->step_us = loop_now();
        loop_timer_set(&shutdown->timer, step_limit(shutdown));
        if (step->begin != NULL) {
                step->begin(shutdown);
        }
}

void shutdown_turn(Shutdown *shutdown) {
        if (shutdown->step < 0 || shutdown->running) {
                return;
        }
        shutdown->running = true;
        while (shutdown->step < STEPS) {
                const ShutdownStep *step = &steps[shutdown->step];
                bool done = step->is_done == NULL || step->is_done(shutdown);
                if (!done && loop_now() - shutdown->step_us < step_limit(shutdown)) {
                        break;
                }
                step_end(shutdown, done);
                if (++shutdown->step < STEPS) {
                        step_begin(shutdown);
                }
        }
        shutdown->running = false;
        if (shutdown->step == STEPS) {
                loop_timer_stop(&shutdown->timer);
                loop_stop(shutdown->loop);
        }
}

static void on_timer(LoopTimer *timer) {
        Shutdown *shutdown = container_of(timer, Shutdown, timer);
        shutdown_turn(shutdown);
        if (shutdown->step < STEPS && shutdown->step >= 0) {
                int64_t left = step_limit(shutdown) - (loop_now() - shutdown->step_us);
                if (!loop_timer_is_set(timer)) {
                        loop_timer_set(timer, left > 1000 ? left : 1000);
                }
        }
}

void shutdown_init(Shutdown *shutdown, Pipeline *pipeline, Report *report, PgPool **poolp) {
        *shutdown = (Shutdown){.pipeline = pipeline,
                               .loop = pipeline->loop,
                               .log = pipeline->log,
                               .config = pipeline->config,
                               .report = report,
                               .poolp = poolp,
                               .step = -1};
        loop_timer_init(&shutdown->timer, pipeline->loop, "shutdown", on_timer);
}

void shutdown_deinit(Shutdown *shutdown) {
        if (shutdown->loop != NULL) {
                loop_timer_stop(&shutdown->timer);
        }
        buffer_deinit(&shutdown->what);
}

const char *shutdown_step_name(const Shutdown *shutdown) {
        return shutdown->step < 0       ? NULL
               : shutdown->step < STEPS ? steps[shutdown->step].name
                                        : "complete";
}

bool shutdown_has_begun(const Shutdown *shutdown) {
        return shutdown->step >= 0;
}

void shutdown_begin(Shutdown *shutdown, int status, const char *why) {
        worsen(shutdown, status);
        if (shutdown_has_begun(shutdown)) {
                return;
        }
        shutdown->began_us = loop_now();
        shutdown->step = 0;
        count_begin(shutdown);
        step_begin(shutdown);
        say(shutdown, "%s", why);
        /* In the next turn: whoever called is in the middle of something. */
        loop_timer_set(&shutdown->timer, 0);
}

bool shutdown_hurry(Shutdown *shutdown) {
        if (!shutdown_has_begun(shutdown) || shutdown->hurried ||
            loop_now() - shutdown->began_us < SECOND_SIGNAL_US) {
                return false;
        }
        shutdown->hurried = true;
        loop_timer_set(&shutdown->timer, 0);
        return true;
}
