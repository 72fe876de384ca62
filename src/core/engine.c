/*
 * Events come in here or in the file of what they are about; actions leave here.
 *
 * engine_next_action() dispatches only when the queue is empty: a burst of events (messages, above
 * all) is digested before anything is started, so batches and runs take what the whole burst
 * brought.
 */

#include "core/engine.h"

#include <stdlib.h>

#include "core/observe.h"
#include "core/state.h"

enum {
        ACTIONS_MIN = 64, /* a power of two */
        /* Reading goes on when an eighth of a limit is free, so that it does not flap. */
        RESUME_SHARE = 8,
};

const char *handler_name(HandlerId id) {
        switch (id) {
        case HANDLER_SAVE:
                return "save";
        case HANDLER_RESTART:
                return "restart-host";
        case HANDLER_COUNT:
                break;
        }
        return "?";
}

const char *finish_name(Finish finish) {
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

int engine_new(Engine **enginep, const EngineConfig *config, uint64_t seed) {
        Engine *engine = calloc(1, sizeof(*engine));
        if (engine == NULL) {
                return error_origin(-ENOMEM);
        }
        engine->config = config;
        engine->random = seed;
        engine->reading = true;
        engine->commit_due_us = INT64_MAX;
        engine->commit_last_us = INT64_MIN / 2;
        list_init(&engine->partitions);
        list_init(&engine->gone);
        list_init(&engine->rejects);
        list_init(&engine->received);
        list_init(&engine->batches);
        list_init(&engine->fresh);
        list_init(&engine->again);
        list_init(&engine->runs);
        list_init(&engine->aside);
        list_init(&engine->undecided);
        list_init(&engine->replays_later);
        int r = hosts_init(engine);
        if (r != 0) {
                free(engine);
                return r;
        }
        *enginep = engine;
        return 0;
}

static void partitions_free(List *partitions) {
        list_for_each_safe(link, partitions) {
                list_unlink(link);
                partition_unref(container_of(link, Partition, link));
        }
}

void engine_free(Engine *engine) {
        if (engine == NULL) {
                return;
        }
        EngineAction action;
        engine->stopping = true;
        for (; engine->actions_count > 0; engine->actions_count--) {
                action = engine->actions[engine->actions_head];
                engine->actions_head = (engine->actions_head + 1) & (engine->actions_capacity - 1);
                if (action.type == ENGINE_FINISHED) {
                        message_free(action.message);
                }
                partition_unref(action.partition);
                free(action.owned);
        }
        partition_unref(engine->held);
        free(engine->held_text);
        for (size_t i = 0; i < engine->commit.n; i++) {
                partition_unref(engine->commit.entries[i].partition);
        }
        free(engine->commit.entries);
        list_for_each_safe(link, &engine->partitions) {
                Partition *partition = container_of(link, Partition, link);
                list_for_each_safe(message_link, &partition->messages) {
                        Message *message = container_of(message_link, Message, link);
                        list_unlink(&message->link);
                        list_unlink(&message->lane_link);
                        list_unlink(&message->wait_link);
                        heap_remove(&engine->retries, &message->retry);
                        hosts_remove(message);
                        replays_remove(message);
                        message_free(message);
                }
        }
        list_for_each_safe(link, &engine->batches) {
                Batch *batch = container_of(link, Batch, link);
                list_unlink(&batch->link);
                batch_free(batch);
        }
        hosts_free(engine);
        partitions_free(&engine->partitions);
        partitions_free(&engine->gone);
        heap_deinit(&engine->retries);
        free(engine->asking);
        free(engine->observed);
        free(engine->actions);
        free(engine);
}

int engine_act(Engine *engine, const EngineAction *action) {
        if (engine->actions_count == engine->actions_capacity) {
                size_t capacity =
                        engine->actions_capacity > 0 ? engine->actions_capacity * 2 : ACTIONS_MIN;
                EngineAction *actions = malloc(capacity * sizeof(*actions));
                if (actions == NULL) {
                        return error_origin(-ENOMEM);
                }
                for (size_t i = 0; i < engine->actions_count; i++) {
                        actions[i] = engine->actions[(engine->actions_head + i) &
                                                     (engine->actions_capacity - 1)];
                }
                free(engine->actions);
                engine->actions = actions;
                engine->actions_capacity = capacity;
                engine->actions_head = 0;
        }
        size_t at =
                (engine->actions_head + engine->actions_count++) & (engine->actions_capacity - 1);
        engine->actions[at] = *action;
        if (action->partition != NULL) {
                partition_ref(action->partition);
        }
        return 0;
}

static const char *limit_name(LimitKind limit) {
        switch (limit) {
        case LIMIT_NONE:
                break;
        case LIMIT_COUNT:
                return "in_flight";
        case LIMIT_BYTES:
                return "in_flight_bytes";
        case LIMIT_WAITING:
                return "waiting";
        }
        return NULL;
}

/* Only the limit that stopped the intake asks for more than a place: the others may be just below.
 */
static bool is_reached(const Engine *engine, LimitKind limit, size_t used, size_t most) {
        size_t more = !engine->reading && engine->stopped_by == limit ? most / RESUME_SHARE : 0;
        return used + more >= most;
}

static LimitKind limit_reached(const Engine *engine) {
        const EngineConfig *config = engine->config;
        if (is_reached(engine, LIMIT_COUNT, engine->in_flight, config->in_flight)) {
                return LIMIT_COUNT;
        }
        if (is_reached(engine, LIMIT_BYTES, engine->in_flight_bytes, config->in_flight_bytes)) {
                return LIMIT_BYTES;
        }
        return is_reached(engine, LIMIT_WAITING, engine->waiting, config->waiting) ? LIMIT_WAITING
                                                                                   : LIMIT_NONE;
}

static int intake_dispatch(Engine *engine) {
        LimitKind limit = limit_reached(engine);
        bool want = limit == LIMIT_NONE && !engine->stopping;
        bool changes = want != engine->reading;
        if (!changes && (want || limit == engine->stopped_by)) {
                return 0;
        }
        engine->reading = want;
        engine->stopped_by = limit;
        int r = changes ? engine_act(engine, &(EngineAction){.type = ENGINE_READ, .on = want}) : 0;
        if (r != 0 || engine->stopping) {
                return r;
        }
        return engine_act(engine,
                          &(EngineAction){.type = ENGINE_NOTE,
                                          .note = want ? NOTE_INTAKE_RESUMED : NOTE_INTAKE_PAUSED,
                                          .reason = limit_name(limit)});
}

static int engine_dispatch(Engine *engine) {
        int r = cancel_dispatch(engine);
        if (r != 0 || engine->cancelling) {
                return r; /* nothing starts before everything that must not is cancelled */
        }
        r = partitions_dispatch(engine);
        if (r == 0) {
                r = commits_dispatch(engine);
        }
        if (r == 0) {
                r = hosts_dispatch(engine);
        }
        if (r == 0) {
                r = replays_dispatch(engine);
        }
        if (r == 0) {
                r = lanes_dispatch(engine);
        }
        return r == 0 ? intake_dispatch(engine) : r;
}

static int action_take(Engine *engine, EngineAction *action, bool *taken) {
        *taken = false;
        while (engine->actions_count > 0) {
                *action = engine->actions[engine->actions_head];
                engine->actions_head = (engine->actions_head + 1) & (engine->actions_capacity - 1);
                engine->actions_count--;
                engine->held = action->partition;
                engine->held_text = action->owned;
                engine->unassigned = action->type == ENGINE_UNASSIGN;
                int r = action->run != NULL ? run_may_go(engine, action, taken) : 0;
                if (r != 0 || *taken) {
                        return r;
                }
                if (action->run != NULL) {
                        continue;
                }
                *taken = true;
                return 0;
        }
        return 0;
}

int engine_next_action(Engine *engine, EngineAction *action, bool *takenp) {
        if (engine->unassigned) {
                engine->unassigned = false;
                partitions_free(&engine->gone);
        }
        partition_unref(engine->held);
        free(engine->held_text);
        engine->held = NULL;
        engine->held_text = NULL;
        int r = action_take(engine, action, takenp);
        for (bool again = true; r == 0 && !*takenp && again;) {
                r = engine_dispatch(engine);
                again = engine->cancelling;
                if (r == 0) {
                        r = action_take(engine, action, takenp);
                }
        }
        if (r == 0 && observes(engine)) {
                if (*takenp) {
                        observe_action_(engine, action);
                } else {
                        observe_quiet_(engine);
                }
        }
        return r;
}

static int64_t sooner(int64_t a, int64_t b) {
        return a < b ? a : b;
}

int64_t engine_deadline(const Engine *engine) {
        int64_t due = INT64_MAX;
        HeapNode *first = heap_first(&engine->retries);
        if (first != NULL && !engine->stopping) {
                due = first->key;
        }
        due = engine->stopping ? due : sooner(due, waits_deadline(engine));
        due = engine->stopping ? due : sooner(due, hosts_deadline(engine));
        due = engine->stopping ? due : sooner(due, replays_deadline(engine));
        first = heap_first(&engine->run_retries);
        due = first != NULL ? sooner(due, first->key) : due;
        list_for_each(link, &engine->batches) {
                int64_t retry = container_of(link, Batch, link)->retry_us;
                due = retry > engine->now ? sooner(due, retry) : due; /* or it waits for its turn */
        }
        list_for_each(link, &engine->partitions) {
                const Partition *partition = container_of(link, Partition, link);
                if (!engine->stopping) {
                        due = sooner(due, partition->retry_us);
                        due = partition->held && partition->resume_us > engine->now
                                      ? sooner(due, partition->resume_us)
                                      : due;
                }
                if (engine->database_us > engine->now && !list_is_empty(&partition->lane)) {
                        due = sooner(due, engine->database_us);
                }
        }
        if (engine->database_us > engine->now && !list_is_empty(&engine->rejects)) {
                due = sooner(due, engine->database_us);
        }
        if (engine->commit.state == COMMIT_IDLE) {
                due = sooner(due, engine->commit_due_us);
        }
        if (engine->draining) {
                due = sooner(due, engine->drain_until_us);
        }
        return due;
}

int engine_tick(Engine *engine, int64_t now) {
        engine->now = now;
        observe(engine, OBSERVED_TICK);
        return 0;
}

int engine_fetched(Engine *engine, Partition *partition, const Record *record, int64_t wall,
                   int64_t now) {
        engine->now = now;
        if (observes(engine)) {
                observe_fetched_(engine, partition, record);
        }
        if (partition->state != PARTITION_ACTIVE || engine->stopping) {
                /* It is uncommitted and comes again when somebody reads from there. */
                return 0;
        }
        if (partition->held) {
                return 0; /* read again from `next` when its watermark has moved on */
        }
        if (record->offset < partition->next) {
                engine->totals.received++;
                engine->totals.finished[FINISH_DUPLICATE]++;
                return 0;
        }
        partition->next = record->offset + 1;
        if (partition_has_rejected(partition, record->offset)) {
                return partition_pass(partition, record->offset);
        }
        int r = message_admit(partition, record, wall);
        r = r != 0 ? r : partition_admitted(partition);
        /* At once, not with the other actions: whoever reads asks after every message. */
        if (r == 0 && engine->reading && limit_reached(engine) != LIMIT_NONE) {
                return intake_dispatch(engine);
        }
        return r;
}

int engine_ended(Engine *engine, Partition *partition, int64_t end, int64_t wall, int64_t now) {
        engine->now = now;
        observe_partition(engine, partition, .type = OBSERVED_ENDED, .offset = end);
        if (partition->state != PARTITION_ACTIVE || engine->stopping || partition->held ||
            end <= partition->next) {
                return 0;
        }
        /* Like a tombstone in the last place: the fence moves with the watermark, since a commit
         * above the fence would look as if PostgreSQL had gone back. */
        partition->next = end;
        int r = message_admit_gap(partition, end - 1, wall);
        return r != 0 ? r : partition_admitted(partition);
}

/* --- the end ------------------------------------------------------------------------------ */

static void cancel_all(Engine *engine, unsigned reach) {
        list_for_each(link, &engine->partitions) {
                partition_cancel(container_of(link, Partition, link), reach);
        }
}

int engine_stop(Engine *engine, int64_t now) {
        engine->now = now;
        observe(engine, OBSERVED_STOP);
        engine->stopping = true;
        int r = lanes_stop(engine);
        cancel_all(engine, 0);
        return r != 0 ? r : intake_dispatch(engine);
}

bool engine_is_quiet(const Engine *engine) {
        return list_is_empty(&engine->runs) && engine->n_batches == 0 && !engine->cancelling;
}

int engine_release(Engine *engine, int64_t now) {
        engine->now = now;
        observe(engine, OBSERVED_RELEASE);
        engine->released = true;
        if (engine->draining && !engine->drain_hurried) {
                engine->drain_hurried = true;
                engine->drain_until_us = now + 500 * 1000;
        }
        cancel_all(engine, CANCEL_RUN | CANCEL_BATCH);
        return 0;
}

int engine_flush(Engine *engine, int64_t now) {
        engine->now = now;
        observe(engine, OBSERVED_FLUSH);
        engine->flush = true;
        return 0;
}

bool engine_is_committed(const Engine *engine) {
        if (engine->flush || engine->unconfirmed || engine->commit.state != COMMIT_IDLE) {
                return false;
        }
        list_for_each(link, &engine->partitions) {
                const Partition *partition = container_of(link, Partition, link);
                if (partition->offsets.watermark > partition->committed) {
                        return false;
                }
        }
        return true;
}

/* --- to be read --------------------------------------------------------------------------- */

const Commit *engine_commit(const Engine *engine) {
        return &engine->commit;
}

const EngineTotals *engine_totals(const Engine *engine) {
        return &engine->totals;
}

size_t engine_in_flight(const Engine *engine) {
        return engine->in_flight;
}

size_t engine_waiting(const Engine *engine) {
        return engine->waiting;
}

size_t engine_in_flight_bytes(const Engine *engine) {
        return engine->in_flight_bytes;
}

size_t engine_running(const Engine *engine) {
        return engine->n_runs;
}

bool engine_is_reading(const Engine *engine) {
        return engine->reading;
}

const char *engine_paused_by(const Engine *engine) {
        return engine->reading ? NULL : limit_name(engine->stopped_by);
}

const char *partition_paused_by(const Partition *partition) {
        switch (partition->state) {
        case PARTITION_LOOKING_UP:
        case PARTITION_READING:
        case PARTITION_ADOPTING:
        case PARTITION_COMMITTING:
        case PARTITION_SEEKING:
                return "starting";
        case PARTITION_STOPPED:
                return "stopped";
        case PARTITION_ACTIVE:
                return partition->held ? partition->held_for : engine_paused_by(partition->engine);
        case PARTITION_DRAINING:
        case PARTITION_GONE:
                break;
        }
        return NULL;
}

const List *engine_partitions(const Engine *engine) {
        return &engine->partitions;
}
