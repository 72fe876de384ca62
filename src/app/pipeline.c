#include "app/pipeline.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "app/commands.h"
#include "app/restarts.h"
#include "util/list.h"

enum {
        /* How long a turn carries out actions: a spawn takes 0.5 ms, and there may be many. */
        TURN_US = 2000,
        TURN_ACTIONS = 64, /* between two looks at the clock; */
        TURN_RESTART = 16, /* a restart counts as so many */
};

/* What an answer from PostgreSQL about a partition is given with. */
typedef struct Call {
        Pipeline *pipeline;
        Partition *partition; /* a reference */
} Call;

static void pipeline_fail(Pipeline *pipeline, int error, const char *what) {
        if (!pipeline->failed) {
                pipeline->failed = true;
                pipeline->events.failed(pipeline->user, error, what);
                /* At once, not with the shutdown's step: what the error left half done, a message
                 * that was taken out of its lane, say, must not be built upon by a next batch. */
                if (engine_stop(pipeline->engine, loop_time(pipeline->loop)) != 0) {
                        log_error(pipeline->log, "engine.stop", FIELDS(),
                                  "no memory to cancel all that waits: the shutdown goes on, and "
                                  "what is left is released, uncommitted, with its end");
                }
        }
}

void pipeline_after(Pipeline *pipeline, int r, const char *what) {
        if (r < 0) {
                pipeline_fail(pipeline, r, what);
        }
        loop_soon_set(&pipeline->soon);
}

void pipeline_turn(Pipeline *pipeline) {
        loop_soon_set(&pipeline->soon);
}

/* --- from Kafka --------------------------------------------------------------------------- */

static void on_assigned(void *user, ConsumerPartition **partitions, size_t n) {
        Pipeline *pipeline = user;
        int r = 0;
        log_info(pipeline->log, "kafka.assigned", FIELDS(),
                 "assigned %zu partition%s; reading where each one stands", n, n == 1 ? "" : "s");
        for (size_t i = 0; i < n && r == 0; i++) {
                Partition *partition = NULL;
                r = engine_assigned(pipeline->engine, partitions[i]->topic,
                                    partitions[i]->partition, partitions[i],
                                    loop_time(pipeline->loop), &partition);
                partitions[i]->user = partition;
        }
        pipeline_after(pipeline, r, "assignment");
}

static void on_revoked(void *user, ConsumerPartition **partitions, size_t n, bool lost) {
        Pipeline *pipeline = user;
        Partition **list = calloc(n > 0 ? n : 1, sizeof(Partition *));
        if (list == NULL) {
                pipeline_after(pipeline, error_origin(-ENOMEM), "revoke");
                return;
        }
        size_t known = 0;
        for (size_t i = 0; i < n; i++) {
                if (partitions[i]->user != NULL) {
                        list[known++] = partitions[i]->user;
                }
        }
        report_revoked(pipeline->report, list, known, lost, pipeline->leaving);
        pipeline_after(pipeline,
                       engine_revoked(pipeline->engine, list, known, lost,
                                      loop_time(pipeline->loop)),
                       "revoke");
        free(list);
}

static void on_fetched(void *user, ConsumerPartition *source, const Record *record) {
        Pipeline *pipeline = user;
        if (pipeline->failed) {
                return; /* whatever comes behind one that could not be admitted would hide it */
        }
        uint64_t before = engine_totals(pipeline->engine)->received;
        int r = engine_fetched(pipeline->engine, source->user, record,
                               loop_time_wall(pipeline->loop), loop_time(pipeline->loop));
        if (r == 0 && engine_totals(pipeline->engine)->received != before) {
                r = report_received(pipeline->report, source->topic);
        }
        if (!engine_is_reading(pipeline->engine)) {
                consumer_read(pipeline->consumer, false);
        }
        pipeline_after(pipeline, r, "message");
}

static void on_ended(void *user, ConsumerPartition *source, int64_t end) {
        Pipeline *pipeline = user;
        if (!pipeline->failed) {
                pipeline_after(pipeline,
                               engine_ended(pipeline->engine, source->user, end,
                                            loop_time_wall(pipeline->loop),
                                            loop_time(pipeline->loop)),
                               "end of a log");
        }
}

static void on_looked_up(void *user, const ConsumerLookUp *results, size_t n) {
        Pipeline *pipeline = user;
        int r = 0;
        for (size_t i = 0; i < n && r == 0; i++) {
                PartitionFacts facts = {.committed = results[i].committed,
                                        .ours = results[i].ours,
                                        .low = results[i].low,
                                        .high = results[i].high};
                r = engine_looked_up(pipeline->engine, results[i].partition->user,
                                     results[i].ok ? &facts : NULL, loop_time(pipeline->loop));
        }
        pipeline_after(pipeline, r, "look-up");
}

/* One result for each entry of the commit; a partition that was let go meanwhile has none. */
static CommitResult *commit_results(Pipeline *pipeline) {
        const Commit *commit = engine_commit(pipeline->engine);
        CommitResult *results = calloc(commit->n > 0 ? commit->n : 1, sizeof(*results));
        if (results == NULL) {
                pipeline_after(pipeline, error_origin(-ENOMEM), "commit");
        }
        return results;
}

static void commit_result_set(Pipeline *pipeline, CommitResult *results,
                              const ConsumerPartition *source, CommitResult result) {
        const Commit *commit = engine_commit(pipeline->engine);
        for (size_t i = 0; i < commit->n; i++) {
                if (commit->entries[i].partition == source->user) {
                        results[i] = result;
                }
        }
}

static void on_looked_committed(void *user, const ConsumerLookUp *seen, size_t n) {
        Pipeline *pipeline = user;
        CommitResult *results = commit_results(pipeline);
        if (results == NULL) {
                return;
        }
        for (size_t i = 0; i < n; i++) {
                commit_result_set(pipeline, results, seen[i].partition,
                                  (CommitResult){.offset = seen[i].committed, .ok = seen[i].ok});
        }
        pipeline_after(pipeline,
                       engine_committed_seen(pipeline->engine, results, loop_time(pipeline->loop)),
                       "commit");
        free(results);
}

static void on_committed(void *user, const ConsumerOffset *offsets, size_t n) {
        Pipeline *pipeline = user;
        CommitResult *results = commit_results(pipeline);
        if (results == NULL) {
                return;
        }
        for (size_t i = 0; i < n; i++) {
                commit_result_set(pipeline, results, offsets[i].partition,
                                  (CommitResult){.offset = offsets[i].offset, .ok = offsets[i].ok});
                if (!offsets[i].ok) {
                        log_warning(pipeline->log, "commit.refused",
                                    FIELDS(.topic = offsets[i].partition->topic,
                                           .partition = offsets[i].partition->partition,
                                           .offset = offsets[i].offset, .error = offsets[i].error),
                                    "Kafka did not take the commit; the next one covers it");
                }
        }
        pipeline_after(pipeline,
                       engine_committed(pipeline->engine, results, loop_time(pipeline->loop)),
                       "commit");
        free(results);
}

static void on_out_of_range(void *user, ConsumerPartition *source) {
        Pipeline *pipeline = user;
        pipeline_after(pipeline,
                       engine_out_of_range(pipeline->engine, source->user,
                                           loop_time(pipeline->loop)),
                       "out of range");
}

static void on_vanished(void *user, ConsumerPartition *source) {
        Pipeline *pipeline = user;
        pipeline_after(pipeline,
                       engine_vanished(pipeline->engine, source->user, loop_time(pipeline->loop)),
                       "vanished partition");
}

static void on_fatal(void *user, bool fenced, const char *error) {
        Pipeline *pipeline = user;
        pipeline->dead = true;
        if (fenced) {
                pipeline->events.fenced(pipeline->user, error);
                return;
        }
        pipeline_fail(pipeline, -EIO, error);
}

static void on_closed(void *user) {
        Pipeline *pipeline = user;
        pipeline->closed = true;
        pipeline_turn(pipeline);
}

static const ConsumerEvents consumer_events = {
        .assigned = on_assigned,
        .revoked = on_revoked,
        .fetched = on_fetched,
        .ended = on_ended,
        .looked_up = on_looked_up,
        .looked_committed = on_looked_committed,
        .committed = on_committed,
        .out_of_range = on_out_of_range,
        .vanished = on_vanished,
        .fatal = on_fatal,
        .closed = on_closed,
};

/* --- from PostgreSQL ----------------------------------------------------- */

static void on_saved(void *user, Batch *batch, BatchEnd end) {
        Pipeline *pipeline = user;
        if (end == BATCH_SAVED && batch->kind == BATCH_SAVE) {
                report_batch(pipeline->report, batch->rows);
        }
        pipeline_after(pipeline,
                       engine_saved(pipeline->engine, batch, end, loop_time(pipeline->loop)),
                       "save");
}

static void on_saved_each(void *user, Batch *batch, BatchEnd end, const RefusedRow *refused,
                          size_t n) {
        Pipeline *pipeline = user;
        pipeline_after(pipeline,
                       engine_saved_each(pipeline->engine, batch, end, refused, n,
                                         loop_time(pipeline->loop)),
                       "save row by row");
}

static void on_fences_read(void *user, Batch *batch, const int64_t *fences,
                           const RefusedRow *refused, size_t n_refused) {
        Pipeline *pipeline = user;
        pipeline_after(pipeline,
                       engine_fences_read(pipeline->engine, batch, fences, refused, n_refused,
                                          loop_time(pipeline->loop)),
                       "reading the fences");
}

static void on_replays_read(void *user, ReplayQuestions *asked, const ReplayAnswer *answers) {
        Pipeline *pipeline = user;
        pipeline_after(pipeline,
                       engine_replays_read(pipeline->engine, asked, answers,
                                           loop_time(pipeline->loop)),
                       "reading what replays stand for");
}

static void on_hold_ended(void *user, const char *pattern) {
        Pipeline *pipeline = user;
        pipeline_after(pipeline,
                       engine_holds_changed(pipeline->engine, pattern, loop_time(pipeline->loop)),
                       "the end of a hold");
}

static void on_feeder_turned(void *user) {
        Pipeline *pipeline = user;
        pipeline->events.turned(pipeline->user);
}

void pipeline_database_up(Pipeline *pipeline) {
        holds_watch_up(&pipeline->holds);
        rejected_counter_wake(&pipeline->rejected);
        dead_letter_feeder_wake(pipeline->feeder);
        pipeline_after(pipeline, engine_database_up(pipeline->engine, loop_time(pipeline->loop)),
                       "PostgreSQL is back");
}

static int call_new(Pipeline *pipeline, Partition *partition, Call **callp) {
        Call *call = calloc(1, sizeof(*call));
        if (call == NULL) {
                return error_origin(-ENOMEM);
        }
        call->pipeline = pipeline;
        call->partition = partition_ref(partition);
        *callp = call;
        return 0;
}

static void call_free(Call *call) {
        partition_unref(call->partition);
        free(call);
}

static void on_source_read(void *user, const PartitionFacts *facts) {
        Call *call = user;
        Pipeline *pipeline = call->pipeline;
        pipeline_after(pipeline,
                       engine_source_read(pipeline->engine, call->partition, facts,
                                          loop_time(pipeline->loop)),
                       "reading a source");
        call_free(call);
}

static void on_adopted(void *user, AdoptEnd end, int32_t source) {
        Call *call = user;
        Pipeline *pipeline = call->pipeline;
        if (call->partition->facts.has_source) {
                source = call->partition->source; /* its fence was moved, it stays what it is */
        }
        pipeline_after(pipeline,
                       engine_adopted(pipeline->engine, call->partition, end, source,
                                      loop_time(pipeline->loop)),
                       "making a source");
        call_free(call);
}

/* --- what the engine says ----------------------------------------------------------------- */

static int look_up_later(Pipeline *pipeline, Partition *partition) {
        if (pipeline->n_look_ups == pipeline->look_ups_capacity) {
                size_t capacity =
                        pipeline->look_ups_capacity > 0 ? pipeline->look_ups_capacity * 2 : 16;
                ConsumerPartition **look_ups =
                        realloc(pipeline->look_ups, capacity * sizeof(ConsumerPartition *));
                if (look_ups == NULL) {
                        return error_origin(-ENOMEM);
                }
                pipeline->look_ups = look_ups;
                pipeline->look_ups_capacity = capacity;
        }
        pipeline->look_ups[pipeline->n_look_ups++] = partition->handle;
        return 0;
}

static int look_up_now(Pipeline *pipeline) {
        size_t n = pipeline->n_look_ups;
        pipeline->n_look_ups = 0;
        return n > 0 ? consumer_look_up(pipeline->consumer, pipeline->look_ups, n) : 0;
}

static int ask_source(Pipeline *pipeline, const EngineAction *action) {
        Partition *partition = action->partition;
        SourceName name = {.cluster = consumer_cluster_id(pipeline->consumer),
                           .topic = partition->topic,
                           .partition = partition->partition};
        Call *call = NULL;
        if (partition->state != PARTITION_READING && partition->state != PARTITION_ADOPTING) {
                return 0; /* revoked meanwhile */
        }
        if (name.cluster == NULL) {
                return action->type == ENGINE_READ_SOURCE
                               ? engine_source_read(pipeline->engine, partition, NULL,
                                                    loop_time(pipeline->loop))
                               : engine_adopted(pipeline->engine, partition, ADOPT_OUTAGE, 0,
                                                loop_time(pipeline->loop));
        }
        int r = call_new(pipeline, partition, &call);
        if (r != 0) {
                return r;
        }
        if (action->type == ENGINE_READ_SOURCE) {
                r = sources_read(pipeline->sources, &name, partition->facts.committed,
                                 on_source_read, call);
        } else if (action->type == ENGINE_ADOPT) {
                r = sources_adopt(pipeline->sources, &name, action->offset, on_adopted, call);
        } else {
                r = sources_move_fence(pipeline->sources, partition->source, partition->fence,
                                       action->offset, on_adopted, call);
        }
        if (r != 0) {
                call_free(call);
        }
        return r;
}

static int seek(Pipeline *pipeline, const EngineAction *action) {
        int r = consumer_start(pipeline->consumer, action->partition->handle, action->offset);
        return r < 0 ? r
                     : engine_sought(pipeline->engine, action->partition, r == 0,
                                     loop_time(pipeline->loop));
}

static int resume(Pipeline *pipeline, const EngineAction *action) {
        if (action->partition->state != PARTITION_ACTIVE) {
                return 0;
        }
        int r = consumer_start(pipeline->consumer, action->partition->handle, action->offset);
        return r < 0 ? r
                     : engine_resumed(pipeline->engine, action->partition, r == 0,
                                      loop_time(pipeline->loop));
}

/* Sends the entries of the commit, or asks what Kafka has of them. */
static int commit_send(Pipeline *pipeline, bool look) {
        const Commit *commit = engine_commit(pipeline->engine);
        ConsumerOffset *offsets = calloc(commit->n, sizeof(*offsets));
        ConsumerPartition **partitions = calloc(commit->n, sizeof(ConsumerPartition *));
        size_t n = 0;
        int r = offsets == NULL || partitions == NULL ? error_origin(-ENOMEM) : 0;
        for (size_t i = 0; i < commit->n && r == 0; i++) {
                const CommitEntry *entry = &commit->entries[i];
                if (entry->partition->state == PARTITION_GONE) {
                        continue;
                }
                partitions[n] = entry->partition->handle;
                offsets[n++] = (ConsumerOffset){.partition = entry->partition->handle,
                                                .offset = entry->offset};
        }
        if (r == 0 && (n == 0 || pipeline->dead)) {
                r = look ? engine_committed_seen(pipeline->engine, NULL, loop_time(pipeline->loop))
                         : engine_committed(pipeline->engine, NULL, loop_time(pipeline->loop));
        } else if (r == 0) {
                r = look ? consumer_look_committed(pipeline->consumer, partitions, n)
                         : consumer_commit(pipeline->consumer, offsets, n);
        }
        free(offsets);
        free(partitions);
        return r;
}

static int carry_out(Pipeline *pipeline, const EngineAction *action) {
        switch (action->type) {
        case ENGINE_LOOK_UP:
                return action->partition->state == PARTITION_LOOKING_UP ||
                                       action->partition->doubted
                               ? look_up_later(pipeline, action->partition)
                               : 0;
        case ENGINE_READ_SOURCE:
        case ENGINE_ADOPT:
        case ENGINE_MOVE_FENCE:
                return ask_source(pipeline, action);
        case ENGINE_SEEK:
                return action->partition->state == PARTITION_SEEKING ? seek(pipeline, action) : 0;
        case ENGINE_PAUSE:
                if (action->partition->state != PARTITION_GONE) {
                        consumer_pause(pipeline->consumer, action->partition->handle);
                }
                return 0;
        case ENGINE_RESUME:
                return resume(pipeline, action);
        case ENGINE_READ:
                consumer_read(pipeline->consumer, action->on);
                return 0;
        case ENGINE_SAVE:
                return save_batch(pipeline->save, action->batch);
        case ENGINE_SAVE_EACH:
                return save_batch_each(pipeline->save, action->batch);
        case ENGINE_READ_FENCES:
                return save_read_fences(pipeline->save, action->batch);
        case ENGINE_REJECT:
                return save_reject(pipeline->save, action->batch);
        case ENGINE_ASK_REPLAYS:
                return replays_ask(pipeline->replays, action->replays);
        case ENGINE_CHECK:
        case ENGINE_CLAIM:
        case ENGINE_RESTART:
        case ENGINE_ACTED:
        case ENGINE_VERIFY:
        case ENGINE_CONCLUDE:
                return restarts_carry_out(pipeline, action);
        case ENGINE_LOOK_COMMITTED:
                return commit_send(pipeline, true);
        case ENGINE_COMMIT:
                return commit_send(pipeline, false);
        case ENGINE_UNASSIGN:
                return consumer_unassign(pipeline->consumer);
        case ENGINE_FINISHED:
                if (!action->message->gap) {
                        report_finished(pipeline->report, action->message, action->finish);
                }
                if (action->finish == FINISH_REJECTED) {
                        rejected_counter_wake(&pipeline->rejected);
                        dead_letter_feeder_wake(pipeline->feeder);
                }
                message_free(action->message);
                return 0;
        case ENGINE_NOTE:
                report_note(pipeline->report, action);
                return 0;
        }
        return error_origin(-ENOTRECOVERABLE);
}

static void on_soon(LoopSoon *soon) {
        Pipeline *pipeline = container_of(soon, Pipeline, soon);
        int64_t began = loop_now();
        EngineAction action;
        bool taken = true;
        int r = 0;
        unsigned n = 0;
        engine_clock(pipeline->engine, loop_time_wall(pipeline->loop), loop_time(pipeline->loop));
        while (r >= 0 && taken) {
                r = engine_next_action(pipeline->engine, &action, &taken);
                if (r == 0 && taken) {
                        r = carry_out(pipeline, &action);
                }
                n += action.type == ENGINE_RESTART ? TURN_RESTART : 1;
                if (taken && n >= TURN_ACTIONS) {
                        n = 0;
                        if (loop_now() - began > TURN_US) {
                                loop_soon_set(soon); /* the rest in the next turn */
                                break;
                        }
                }
        }
        if (r >= 0) {
                r = look_up_now(pipeline);
        }
        if (r >= 0) {
                r = restarts_send(pipeline);
        }
        if (r < 0) {
                pipeline_fail(pipeline, r, "carrying out what the engine said");
        }
        int64_t due = engine_deadline(pipeline->engine);
        if (due == INT64_MAX) {
                loop_timer_stop(&pipeline->timer);
        } else {
                loop_timer_set(&pipeline->timer, due - loop_now());
        }
        pipeline->events.turned(pipeline->user);
}

static void on_timer(LoopTimer *timer) {
        Pipeline *pipeline = container_of(timer, Pipeline, timer);
        pipeline_after(pipeline, engine_tick(pipeline->engine, loop_time(pipeline->loop)),
                       "what was due");
}

/* --- life --------------------------------------------------------------------------------- */

/* For tests and reports of bugs: see app/tape.h. */
static int pipeline_tape(Pipeline *pipeline, char **errorp) {
        const char *name = getenv("ACKD_TAPE");
        if (name == NULL || name[0] == '\0') {
                return 0;
        }
        int r = tape_new(&pipeline->tape, name, &pipeline->settings.engine, errorp);
        if (r == 0) {
                pipeline->settings.engine.observe = tape_observe;
                pipeline->settings.engine.observer = pipeline->tape;
        }
        return r > 0 ? PIPELINE_E_CONFIG : r;
}

static int pipeline_consumer(Pipeline *pipeline, char **errorp) {
        const Config *config = pipeline->config;
        ConsumerSetting *settings = kafka_settings(config);
        if (settings == NULL) {
                return error_origin(-ENOMEM);
        }
        /* The configuration's check has refused it; librdkafka's patterns may see more in one. */
        const char *exclude[] = {config->consume.dead_letter_topic, NULL};
        ConsumerOptions options = {.settings = settings,
                                   .n_settings = config->kafka.n,
                                   .topics = (const char *const *)config->consume.topics,
                                   .exclude = exclude[0][0] != '\0' ? exclude : NULL,
                                   .queue_bytes = config->limits.in_flight_bytes};
        int r = consumer_new(&pipeline->consumer, pipeline->loop, pipeline->log, &options,
                             &consumer_events, pipeline, errorp);
        free(settings);
        return r > 0 ? PIPELINE_E_CONFIG : r;
}

static int pipeline_feeder(Pipeline *pipeline) {
        DeadLetterFeederParts parts = {.loop = pipeline->loop,
                                       .log = pipeline->log,
                                       .config = pipeline->config,
                                       .consumer = pipeline->consumer,
                                       .counter = &pipeline->rejected,
                                       .pool = pipeline->pool,
                                       .turned = on_feeder_turned,
                                       .user = pipeline};
        return pipeline->config->consume.dead_letter_topic[0] != '\0'
                       ? dead_letter_feeder_new(&pipeline->feeder, &parts)
                       : 0;
}

int pipeline_init(Pipeline *pipeline, const PipelineParts *parts, const PipelineEvents *events,
                  void *user, char **errorp) {
        static const SaveEvents save_events = {.saved = on_saved,
                                               .saved_each = on_saved_each,
                                               .fences_read = on_fences_read};
        const Config *config = parts->config;

        *pipeline = (Pipeline){.loop = parts->loop,
                               .log = parts->log,
                               .config = config,
                               .report = parts->report,
                               .pool = parts->pool,
                               .events = *events,
                               .user = user};
        loop_soon_init(&pipeline->soon, parts->loop, "pipeline", on_soon);
        loop_timer_init(&pipeline->timer, parts->loop, "pipeline.timer", on_timer);
        holds_watch_init(&pipeline->holds, parts->loop, parts->log, config->postgres.schema,
                         on_hold_ended, pipeline);
        rejected_counter_init(&pipeline->rejected, parts->loop, parts->log, config->postgres.schema,
                              NULL, NULL);
        int r = engine_settings_init(&pipeline->settings, config, parts->log);
        if (r == 0) {
                r = pipeline_tape(pipeline, errorp);
        }
        if (r == 0) {
                r = engine_new(&pipeline->engine, &pipeline->settings.engine,
                               (uint64_t)loop_wall() ^ (uint64_t)loop_now() << 20);
        }
        if (r == 0) {
                r = restarts_init(pipeline, errorp);
        }
        if (r == 0) {
                r = sources_new(&pipeline->sources, parts->pool, parts->log,
                                config->postgres.schema, config_group(config), config->instance);
        }
        if (r == 0) {
                r = replays_new(&pipeline->replays, parts->pool, parts->log,
                                config->postgres.schema, on_replays_read, pipeline);
        }
        if (r == 0) {
                r = save_new(&pipeline->save, parts->pool, parts->log, config->postgres.schema,
                             config->consume.dead_letter_topic[0] != '\0', &save_events, pipeline);
        }
        if (r == 0) {
                r = pipeline_consumer(pipeline, errorp);
        }
        if (r == 0) {
                r = pipeline_feeder(pipeline);
        }
        if (r == 0) {
                parts->report->engine = pipeline->engine;
                parts->report->holds = &pipeline->holds;
                parts->report->rejected = &pipeline->rejected.counts;
                parts->report->consumer = pipeline->consumer;
                r = report_start(parts->report);
        }
        return r > 0 ? PIPELINE_E_CONFIG : r;
}

void pipeline_deinit(Pipeline *pipeline) {
        if (pipeline->loop == NULL) {
                return;
        }
        loop_soon_stop(&pipeline->soon);
        loop_timer_stop(&pipeline->timer);
        holds_watch_stop(&pipeline->holds);
        rejected_counter_stop(&pipeline->rejected);
        dead_letter_feeder_free(pipeline->feeder);
        consumer_free(pipeline->consumer);
        restarts_deinit(pipeline);
        save_free(pipeline->save);
        replays_free(pipeline->replays);
        sources_free(pipeline->sources);
        engine_free(pipeline->engine);
        engine_settings_deinit(&pipeline->settings);
        int error = tape_free(pipeline->tape);
        if (error != 0) {
                log_warning(pipeline->log, "daemon.tape", FIELDS(.error = strerror(error)),
                            "the file of ACKD_TAPE is not complete");
        }
        free(pipeline->look_ups);
        pipeline->loop = NULL;
}

int pipeline_start(Pipeline *pipeline, char **errorp) {
        holds_watch_start(&pipeline->holds, pipeline->pool);
        rejected_counter_start(&pipeline->rejected, pipeline->pool);
        dead_letter_feeder_start(pipeline->feeder);
        int r = consumer_subscribe(pipeline->consumer, errorp);
        return r > 0 ? PIPELINE_E_CONFIG : r;
}
