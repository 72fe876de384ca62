/*
 * One daemon: a real engine and what app/pipeline.c does with it. Events come in bursts, then a
 * turn takes the actions; what a question or an order points to is looked at only then, as
 * saves_submit() and friends do.
 */

#include <arpa/inet.h>
#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "claims.h"
#include "core/backoff.h"
#include "engine-call.h"
#include "granted.h"
#include "guards.h"
#include "memory.h"
#include "messages.h"
#include "world.h"

enum {
        LOOKS_A_SECOND = 60, /* more of them is a spin */
        SPIN = 1000,
        TURN_MAX = 200000,
        LAST_COMMIT_US = 1500 * MS,
        LEAVE_US = 1500 * MS,
        LONG_PATH = 1501,
        MINUTE_US = 60 * SECOND,
};

static const char *const allow[] = {"nobody*x", "h?",  "h??", "h???", "S*e", "*eb*",
                                    "*.*.*",    "*:*", "?a",  "x.0*", NULL};
static const char *const deny[] = {"bad-*", NULL};

static void say(const Daemon *daemon, const char *text) {
        trace(daemon->world, "  %d  %s", daemon->slot, text);
}

/* So many allocations succeed; -1: all. */
int64_t daemon_memory(World *world) {
        bool scarce = world->options.oom && below(world, world->scarcity) == 0;
        return scarce ? (int64_t)below(world, 6) : -1;
}

void daemon_fails(Daemon *daemon, int r, const char *call) {
        if (!daemon->world->options.oom) {
                broken(daemon->world, 0, "daemon %d: %s: %d", daemon->slot, call, r);
        }
        trace(daemon->world, "  %d  no memory in %s", daemon->slot, call);
        if (!daemon->failed) {
                daemon->failed = true;
                (void)!engine_stop(daemon->engine, daemon->world->now); /* as pipeline_fail() */
        }
}

bool daemon_is_awake(const Daemon *daemon) {
        return daemon->phase != DAEMON_DEAD && daemon->world->now >= daemon->frozen_until;
}

static bool is_cut(const Daemon *daemon) {
        return daemon->world->now < daemon->cut_until || world_kafka_is_away(daemon->world);
}

static Part *part_of(const Daemon *daemon, int number, uint64_t id) {
        Part *part = daemon->parts[number];
        return part != NULL && part->id == id ? part : NULL;
}

static bool part_is_ours(const Part *part) {
        return part != NULL && part->user != NULL && !part->revoked;
}

/* What became of it; NULL: it is of a log that is no more. */
static Fate *fate_of(const Daemon *daemon, const Message *message) {
        int number = message->partition->partition;
        const Part *part = daemon->parts[number];
        return part != NULL && part == message->partition->handle &&
                               part->incarnation == daemon->world->broker.logs[number].incarnation
                       ? world_fate(daemon->world, number, message->offset)
                       : NULL;
}

/* --- judged ------------------------------------------------------------------------------- */

static void on_broken(void *user, int invariant, const char *what) {
        const Daemon *daemon = user;
        broken(daemon->world, invariant, "daemon %d: %s", daemon->slot, what);
}

static void on_observed(void *user, const Observation *seen) {
        Daemon *daemon = user;
        World *world = daemon->world;
        int64_t failing = memory_world();
        mix(world,
            (uint64_t)seen->type << 32 ^ (uint64_t)seen->kind << 16 ^ (uint64_t)daemon->slot);
        mix(world, (uint64_t)seen->now);
        mix(world, seen->epoch ^ (uint64_t)seen->offset << 20 ^ seen->id << 40);
        for (size_t i = 0; i < seen->n_items; i++) {
                mix(world, seen->items[i].epoch ^ (uint64_t)seen->items[i].offset << 20);
        }
        if (!daemon->failed) {
                judge_see(daemon->judge, seen);
        }
        memory_engine(failing);
}

/* --- what is under way -------------------------------------------------------------------- */

Pending *daemon_awaits(Daemon *daemon, PendingKind kind) {
        World *world = daemon->world;
        assert(daemon->n_pending < PENDING_MAX);
        Pending *pending = &daemon->pending[daemon->n_pending++];
        int64_t latency = 200 + (int64_t)below(world, chance(world, 90) ? 20 * MS : 3 * SECOND);
        if (chance(world, 20)) {
                latency = 200 + (int64_t)below(world, 1 * MS);
        }
        if (kind == PENDING_BATCH && world->sluggish && world->faults && chance(world, 30)) {
                latency = (int64_t)below(world, 60 * SECOND);
        }
        *pending = (Pending){.kind = kind, .ready = world->now + latency};
        return pending;
}

static void pending_take(Daemon *daemon, size_t i, Pending *out) {
        *out = daemon->pending[i];
        daemon->pending[i] = daemon->pending[--daemon->n_pending];
}

static void pending_free(Pending *pending) {
        partition_unref(pending->partition);
        free(pending->answers);
        claims_call_free(pending->call);
        store_order_deinit(&pending->order);
}

/* As pg/rejected.c. */
static bool is_done(const Message *message, HandlerId id) {
        const HandlerTask *task = &message->handlers[id];
        if (replay_is_ours(message) && (message->replay->done & 1u << id) != 0) {
                return true;
        }
        if (id == HANDLER_SAVE && message->record != MESSAGE_ROW) {
                return false;
        }
        return task->state == HANDLER_ENDED ? outcome_is_success(task->outcome)
                                            : task->state == HANDLER_OFF && id == HANDLER_SAVE;
}

/* What the batch is when a connection is free for it: as pg/saves.c. False: nothing to send. */
static bool order_make(Daemon *daemon, Pending *pending) {
        const Batch *batch = pending->batch;
        StoreOrder *order = &pending->order;
        size_t n = 0;
        list_for_each(link, &batch->messages) {
                n++;
        }
        order->rows = calloc(n + 1, sizeof(*order->rows));
        order->fences = calloc(batch->n_parts + 1, sizeof(*order->fences));
        list_for_each(link, &batch->messages) {
                const Message *message = container_of(link, Message, lane_link);
                const Partition *partition = message->partition;
                const Fate *fate = fate_of(daemon, message);
                bool whole = pending->type == ENGINE_REJECT;
                for (size_t i = 0; i < batch->n_parts && !whole; i++) {
                        size_t rows = 0;
                        list_for_each(other, &batch->messages) {
                                rows += container_of(other, Message, lane_link)->partition ==
                                        batch->parts[i].partition;
                        }
                        whole = batch->parts[i].partition == partition &&
                                batch->parts[i].rows == rows;
                }
                if (!whole || pending->type == ENGINE_READ_FENCES) {
                        continue;
                }
                if (pending->type == ENGINE_REJECT && message->fault == NULL) {
                        broken(daemon->world, 1, "a rejection without a reason");
                }
                if (message->body == NULL && !message->saved) {
                        broken(daemon->world, 12, "%" PRId64 " has let go of what is to be saved",
                               message->offset);
                }
                order->rows[order->n_rows++] =
                        (StoreRow){.source = partition->source,
                                   .offset = message->offset,
                                   .record = pending->type == ENGINE_REJECT ? MESSAGE_FAULTY
                                                                            : message->record,
                                   .poison = fate != NULL && fate->kind == POISON,
                                   .restart_done = is_done(message, HANDLER_RESTART),
                                   .save_done = is_done(message, HANDLER_SAVE),
                                   .value = fate != NULL ? world_value(fate) : 0,
                                   .first_us = replay_is_ours(message) ? message->replay->first_us
                                                                       : message->received_wall_us,
                                   .produced_us = message->produced_us};
        }
        if (pending->type == ENGINE_REJECT) {
                return order->n_rows > 0;
        }
        for (size_t i = 0; i < batch->n_parts; i++) {
                const BatchPart *part = &batch->parts[i];
                size_t rows = 0;
                list_for_each(link, &batch->messages) {
                        rows += container_of(link, Message, lane_link)->partition ==
                                part->partition;
                }
                if (pending->type != ENGINE_READ_FENCES && rows != part->rows) {
                        continue;
                }
                if (order->n_fences > 0 && pending->type != ENGINE_READ_FENCES &&
                    part->partition->source <= order->fences[order->n_fences - 1].source) {
                        broken(daemon->world, 2, "fences are not in the order of their sources");
                }
                order->fences[order->n_fences++] =
                        (StoreFence){part->partition->source, part->expected, part->next};
        }
        return order->n_fences > 0;
}

static void cover_batch(const Daemon *daemon, const Batch *batch, Event event) {
        for (size_t i = 0; i < batch->n_parts; i++) {
                cover(event, batch->parts[i].partition->state, daemon->phase);
        }
        if (batch->kind == BATCH_REJECT) {
                list_for_each(link, &batch->messages) {
                        cover(event, container_of(link, Message, lane_link)->partition->state,
                              daemon->phase);
                }
        }
}

static void answer_look_up(Daemon *daemon, const Pending *pending) {
        const BrokerLog *log = &daemon->world->broker.logs[pending->number];
        Part *part = part_of(daemon, pending->number, pending->part);
        PartitionFacts facts = {.committed = log->committed,
                                .ours = log->ours,
                                .low = log->low,
                                .high = log->high};
        if (part != NULL) {
                bool failed = is_cut(daemon) || fault(daemon->world, 15);
                cover(failed ? EVENT_LOOK_UP_FAILED : EVENT_LOOKED_UP, part->user->state,
                      daemon->phase);
                ENGINE(daemon, engine_looked_up(daemon->engine, part->user, failed ? NULL : &facts,
                                                daemon->world->now));
        }
}

static void answer_source(Daemon *daemon, const Pending *pending) {
        Partition *partition = pending->partition;
        PartitionFacts facts = {0};
        bool failed = fault(daemon->world, 15);
        store_read_source(&daemon->world->store, pending->number, partition->facts.committed,
                          &facts);
        facts.topic_known = daemon->world->now > daemon->world->began + 60 * (int64_t)SECOND;
        if (facts.has_source && daemon->world->claims != NULL) {
                facts.claimed = sim_ledger_claimed(daemon->world->claims->ledger, facts.source);
        }
        cover(failed ? EVENT_SOURCE_FAILED : EVENT_SOURCE_READ, partition->state, daemon->phase);
        ENGINE(daemon, engine_source_read(daemon->engine, partition, failed ? NULL : &facts,
                                          daemon->world->now));
}

/* The server's part, of which the reply may be lost. */
static void replays_apply(Daemon *daemon, Pending *pending) {
        World *world = daemon->world;
        if (pending->answers != NULL || pending->cut || world_database_is_away(world)) {
                return;
        }
        pending->answers = calloc(pending->replays->n, sizeof(*pending->answers));
        store_take_replays(&world->store, pending->replays, claims_clock(world), pending->answers);
}

static void answer_replays(Daemon *daemon, Pending *pending) {
        World *world = daemon->world;
        bool lost = fault(world, 15);
        if (!lost || chance(world, 50)) {
                replays_apply(daemon, pending);
        }
        lost = lost || pending->cut || pending->answers == NULL;
        for (size_t i = 0; i < pending->replays->n && !lost; i++) {
                trace(world, "  %d    replay %d/%" PRId64 " of %d/%" PRId64 ": %s", daemon->slot,
                      pending->replays->questions[i].by.source,
                      pending->replays->questions[i].by.offset,
                      pending->replays->questions[i].of.source,
                      pending->replays->questions[i].of.offset,
                      replay_verdict_name(pending->answers[i].verdict));
        }
        cover_all(daemon, lost ? EVENT_REPLAYS_FAILED : EVENT_REPLAYS_READ);
        ENGINE(daemon, engine_replays_read(daemon->engine, pending->replays,
                                           lost ? NULL : pending->answers, world->now));
}

static void answer_adopt(Daemon *daemon, const Pending *pending) {
        World *world = daemon->world;
        Log *log = &world->logs[pending->number];
        AdoptEnd end = ADOPT_OUTAGE;
        int32_t source = pending->source;
        /* A late one for a topic that was made again leaves a fence that never moved: the new topic
         * goes on there once it has grown past it, see plan_without_commit(). */
        bool applied = !fault(world, 10) &&
                       pending->incarnation == world->broker.logs[pending->number].incarnation;
        if (applied && pending->kind == PENDING_ADOPT) {
                end = store_adopt(&world->store, pending->number, pending->offset, &source);
                log->incarnation = end == ADOPT_OK ? pending->incarnation : log->incarnation;
                for (size_t i = 0; i < log->n && end == ADOPT_OK; i++) {
                        Fate *fate = &log->fates[i]; /* consume.start: latest */
                        fate->excused = fate->excused ||
                                        (world->start_latest && fate->offset < pending->offset);
                }
        } else if (applied) {
                end = store_move_fence(&world->store, pending->source, pending->from,
                                       pending->offset);
                for (size_t i = 0; i < log->n && end == ADOPT_OK; i++) {
                        Fate *fate = &log->fates[i]; /* the operator skipped them */
                        fate->excused = fate->excused || fate->offset < pending->offset;
                }
        }
        if (fault(world, 10)) {
                end = ADOPT_OUTAGE; /* the reply is lost */
        }
        cover(end == ADOPT_OK        ? EVENT_ADOPTED
              : end == ADOPT_CHANGED ? EVENT_ADOPT_CHANGED
                                     : EVENT_ADOPT_OUTAGE,
              pending->partition->state, daemon->phase);
        ENGINE(daemon,
               engine_adopted(daemon->engine, pending->partition, end,
                              pending->kind == PENDING_ADOPT ? source : pending->partition->source,
                              world->now));
}

static void answer_batch(Daemon *daemon, Pending *pending) {
        static const Event save_events[] = {EVENT_SAVED, EVENT_SAVE_REFUSED, EVENT_SAVE_FENCE,
                                            EVENT_SAVE_OUTAGE, EVENT_SAVE_UNKNOWN};
        static const Event each_events[] = {EVENT_SAVED_EACH, EVENT_EACH_REFUSED, EVENT_EACH_FENCE,
                                            EVENT_EACH_OUTAGE, EVENT_EACH_UNKNOWN};
        World *world = daemon->world;
        Batch *batch = pending->batch;
        BatchEnd end = BATCH_SAVED;
        bool lost = pending->cut || world_database_is_away(world) ||
                    fault(world, pending->type == ENGINE_SAVE_EACH ? 30 : 8);
        if (pending->applied) {
                end = lost && pending->end == BATCH_SAVED ? BATCH_UNKNOWN : pending->end;
        } else if (!pending->begun || fault(world, 8) ||
                   (pending->type != ENGINE_READ_FENCES &&
                    world_is_locked(world, &pending->order))) {
                end = BATCH_OUTAGE; /* also: there was nothing left to send */
        } else if (lost && chance(world, 40)) {
                end = BATCH_UNKNOWN;
                if (pending->type != ENGINE_READ_FENCES && chance(world, 60)) {
                        world_ghost(world, pending->type, &pending->order);
                }
        } else if (pending->type == ENGINE_REJECT && fault(world, 3)) {
                end = BATCH_REFUSED; /* a constraint on `rejected`, say */
        } else if (pending->type != ENGINE_READ_FENCES) {
                end = world_transact(world, pending->type, &pending->order);
                end = lost && end == BATCH_SAVED ? BATCH_UNKNOWN : end;
        }
        if (world->options.trace) {
                trace(world, "  %d  batch %" PRIu64 " ends: action %d, end %d, %zu rows",
                      daemon->slot, batch->id, pending->type, end, pending->order.n_rows);
        }
        if (pending->type == ENGINE_READ_FENCES) {
                int64_t fences[BROKER_PARTITIONS];
                bool read = end == BATCH_SAVED && !lost;
                if (read) {
                        store_fences(&world->store, &pending->order, fences);
                }
                cover_batch(daemon, batch, read ? EVENT_FENCES_READ : EVENT_FENCES_FAILED);
                ENGINE(daemon, engine_fences_read(daemon->engine, batch, read ? fences : NULL,
                                                  pending->order.refused, pending->order.n_refused,
                                                  world->now));
        } else if (pending->type == ENGINE_SAVE_EACH) {
                cover_batch(daemon, batch, each_events[end]);
                ENGINE(daemon, engine_saved_each(daemon->engine, batch, end, pending->order.refused,
                                                 end == BATCH_SAVED ? pending->order.n_refused : 0,
                                                 world->now));
        } else {
                bool rejects = batch->kind == BATCH_REJECT;
                cover_batch(daemon, batch,
                            !rejects               ? save_events[end]
                            : end == BATCH_SAVED   ? EVENT_REJECTED
                            : end == BATCH_UNKNOWN ? EVENT_REJECT_UNKNOWN
                                                   : EVENT_REJECT_OUTAGE);
                ENGINE(daemon, engine_saved(daemon->engine, batch, end, world->now));
        }
}

static void answer_run(Daemon *daemon, const Pending *pending) {
        static const Outcome outcomes[] = {OUTCOME_FAILED,     OUTCOME_NOT_STARTED,
                                           OUTCOME_UNKNOWN,    OUTCOME_OUTAGE,
                                           OUTCOME_POISON,     OUTCOME_INTERNAL,
                                           OUTCOME_SUPPRESSED, OUTCOME_DONE};
        static const Event events[] = {EVENT_RUN_FAILED,     EVENT_RUN_NOT_STARTED,
                                       EVENT_RUN_UNKNOWN,    EVENT_RUN_OUTAGE,
                                       EVENT_RUN_POISON,     EVENT_RUN_INTERNAL,
                                       EVENT_RUN_SUPPRESSED, EVENT_RUN_DONE};
        World *world = daemon->world;
        bool ledger = world->ledger;
        size_t which = ledger || !fault(world, 35) ? 7 : below(world, 7);
        while (ledger && outcomes[which] != pending->outcome) {
                which--;
        }
        Outcome outcome = outcomes[which];
        bool good = outcome_is_success(outcome) ||
                    (outcome == OUTCOME_UNKNOWN && world->on_unknown == ON_UNKNOWN_DONE);
        trace(world, "  %d  run %" PRIu64 " of %s ends: %s", daemon->slot, pending->run->id,
              run_host(pending->run), outcome_name(outcome));
        if (list_is_empty(&pending->run->messages)) {
                cover(events[which], PARTITION_GONE, daemon->phase);
        }
        list_for_each(link, &pending->run->messages) {
                const Message *message = container_of(link, Message, host_link);
                Fate *fate = fate_of(daemon, message);
                cover(events[which], message->partition->state, daemon->phase);
                if (good && fate != NULL && !ledger) {
                        fate->restarts++;
                }
        }
        if (outcome == OUTCOME_NOT_STARTED && chance(world, 30)) {
                pending->run->retry_after_us = (int64_t)below(world, 60 * SECOND);
        }
        pending->run->action_ended_us = world->now;
        ENGINE(daemon, engine_restarted(daemon->engine, pending->run, outcome, chance(world, 80),
                                        chance(world, 90) ? "detail" : NULL, world->now));
}

static CommitResult *result_of(const Daemon *daemon, CommitResult *results, const Part *part) {
        const Commit *commit = engine_commit(daemon->engine);
        for (size_t i = 0; part != NULL && i < commit->n; i++) {
                if (commit->entries[i].partition == part->user) {
                        return &results[i];
                }
        }
        return NULL;
}

static void cover_commit(const Daemon *daemon, const CommitResult *results, bool looked) {
        const Commit *commit = engine_commit(daemon->engine);
        for (size_t i = 0; i < commit->n; i++) {
                Event ok = !looked                 ? EVENT_COMMITTED
                           : results[i].offset < 0 ? EVENT_SEEN_GONE
                                                   : EVENT_SEEN;
                cover(results[i].ok ? ok
                      : looked      ? EVENT_SEEN_FAILED
                                    : EVENT_COMMIT_FAILED,
                      commit->entries[i].partition->state, daemon->phase);
        }
}

static void answer_looked(Daemon *daemon, const Pending *pending) {
        CommitResult results[4 * BROKER_PARTITIONS] = {{0}};
        World *world = daemon->world;
        bool none = is_cut(daemon) || fault(world, 6);
        for (size_t i = 0; i < pending->n; i++) {
                int number = pending->numbers[i];
                CommitResult *result =
                        result_of(daemon, results, part_of(daemon, number, pending->parts[i]));
                if (result != NULL) {
                        *result = (CommitResult){.offset = world->broker.logs[number].committed,
                                                 .ok = !none && !fault(world, 3)};
                }
        }
        daemon->looking = false;
        cover_commit(daemon, results, true);
        ENGINE(daemon,
               engine_committed_seen(daemon->engine, none && chance(world, 50) ? NULL : results,
                                     world->now));
}

/* At the broker, with or without a reply. */
static void commit_apply(Daemon *daemon, Pending *pending) {
        World *world = daemon->world;
        bool refused = is_cut(daemon) || fault(world, 8);
        pending->applied = true;
        for (size_t i = 0; i < pending->n && !refused; i++) {
                int number = pending->numbers[i];
                if (fault(world, 6) ||
                    !broker_commit(&world->broker, daemon->slot, pending->member,
                                   pending->generation, number, pending->offsets[i])) {
                        continue;
                }
                pending->answered[i] = true;
                world_committed(world, daemon, number, pending->offsets[i]);
        }
}

static void answer_commit(Daemon *daemon, Pending *pending) {
        CommitResult results[4 * BROKER_PARTITIONS] = {{0}};
        World *world = daemon->world;
        bool lost = is_cut(daemon) || fault(world, 6);
        if (!pending->applied) {
                commit_apply(daemon, pending);
        }
        for (size_t i = 0; i < pending->n; i++) {
                Part *part = part_of(daemon, pending->numbers[i], pending->parts[i]);
                CommitResult *result = result_of(daemon, results, part);
                if (result != NULL) {
                        *result = (CommitResult){.offset = pending->offsets[i],
                                                 .ok = pending->answered[i] && !lost};
                }
        }
        daemon->committing = false;
        cover_commit(daemon, results, false);
        ENGINE(daemon, engine_committed(daemon->engine, lost && chance(world, 50) ? NULL : results,
                                        world->now));
}

static size_t at_the_database(const Daemon *daemon) {
        size_t n = 0;
        for (size_t i = 0; i < daemon->n_pending; i++) {
                n += daemon->pending[i].kind == PENDING_BATCH && daemon->pending[i].begun;
        }
        return n;
}

/* It needs a connection to PostgreSQL, and has to wait for one. True: it does. */
static bool waits_for_a_connection(Daemon *daemon, Pending *one) {
        World *world = daemon->world;
        bool question = one->kind == PENDING_READ_SOURCE || one->kind == PENDING_ADOPT ||
                        one->kind == PENDING_MOVE_FENCE ||
                        (one->kind == PENDING_REPLAYS && one->answers == NULL);
        bool batch = one->kind == PENDING_BATCH && !one->begun;
        if (world_database_is_away(world) && (question || batch)) {
                one->ready = world->now + 100 * MS;
                return true;
        }
        if (!batch || fault(world, 3)) {
                return false;
        }
        if (at_the_database(daemon) >= daemon->config.batches) {
                one->ready = world->now + 1 * MS;
                return true;
        }
        if (!order_make(daemon, one)) {
                return false;
        }
        one->begun = true;
        if (one->type != ENGINE_READ_FENCES && chance(world, 30) &&
            !world_is_locked(world, &one->order)) {
                /* It is through at once, and only the reply takes its time. */
                one->applied = true;
                one->end = world_transact(world, one->type, &one->order);
        }
        one->ready =
                world->now + 200 + (int64_t)below(world, chance(world, 95) ? 30 * MS : 9 * SECOND);
        return true;
}

void daemon_loses_connections(Daemon *daemon) {
        for (size_t i = 0; i < daemon->n_pending; i++) {
                Pending *one = &daemon->pending[i];
                one->cut = one->cut || (one->kind == PENDING_BATCH && one->begun) ||
                           one->kind == PENDING_LEDGER || one->kind == PENDING_REPLAYS;
        }
}

void daemon_server_works(Daemon *daemon) {
        for (size_t i = 0; i < daemon->n_pending; i++) {
                Pending *one = &daemon->pending[i];
                if (one->kind == PENDING_BATCH && one->begun && !one->applied &&
                    one->type != ENGINE_READ_FENCES && chance(daemon->world, 50) &&
                    !world_is_locked(daemon->world, &one->order)) {
                        one->applied = true;
                        one->end = world_transact(daemon->world, one->type, &one->order);
                        return;
                }
                if (one->kind == PENDING_COMMIT && !one->applied && chance(daemon->world, 50)) {
                        commit_apply(daemon, one);
                        return;
                }
                if (one->kind == PENDING_REPLAYS && chance(daemon->world, 50)) {
                        replays_apply(daemon, one);
                        return;
                }
                if (one->kind == PENDING_LEDGER && chance(daemon->world, 50)) {
                        claims_work(daemon, one);
                        return;
                }
        }
}

bool daemon_answer(Daemon *daemon) {
        World *world = daemon->world;
        size_t ready[PENDING_MAX], n = 0;
        for (size_t i = 0; i < daemon->n_pending; i++) {
                if (daemon->pending[i].ready <= world->now) {
                        ready[n++] = i;
                }
        }
        if (n == 0) {
                return false;
        }
        size_t at = ready[below(world, n)];
        if (waits_for_a_connection(daemon, &daemon->pending[at])) {
                return true;
        }
        Pending pending;
        pending_take(daemon, at, &pending);
        switch (pending.kind) {
        case PENDING_LOOK_UP:
                answer_look_up(daemon, &pending);
                break;
        case PENDING_READ_SOURCE:
                answer_source(daemon, &pending);
                break;
        case PENDING_ADOPT:
        case PENDING_MOVE_FENCE:
                answer_adopt(daemon, &pending);
                break;
        case PENDING_BATCH:
                answer_batch(daemon, &pending);
                break;
        case PENDING_REPLAYS:
                answer_replays(daemon, &pending);
                break;
        case PENDING_RUN:
                answer_run(daemon, &pending);
                break;
        case PENDING_CHECK:
        case PENDING_VERIFY:
        case PENDING_LEDGER:
                claims_answer(daemon, &pending);
                break;
        case PENDING_LOOK_COMMITTED:
                answer_looked(daemon, &pending);
                break;
        case PENDING_COMMIT:
                answer_commit(daemon, &pending);
                break;
        }
        pending_free(&pending);
        return true;
}

/* --- messages ----------------------------------------------------------------------------- */

/* LONG_PATH times x, and @behind. A key of that, all of it escaped, is more than jansson's arena
 * holds. */
static const char *path_of(char path[LONG_PATH + 3], const char *behind) {
        memset(path, 'x', LONG_PATH);
        strcpy(path + LONG_PATH, behind);
        return path;
}

/* A template finds nothing wrong in what is no message, and does no harm. */
static void check_lookup_in(const Daemon *daemon, const char *value, size_t size) {
        static const char *const paths[] = {"host", "meta.id", "requested_at", "meta",
                                            "x",    "x.host",  ".host",        ""};
        World *world = daemon->world;
        char long_path[LONG_PATH + 3];
        const char *path = paths[below(world, sizeof(paths) / sizeof(paths[0]))];
        Buffer found = {0};
        path = chance(world, 10) ? path_of(long_path, "") : path;
        size = chance(world, 50) ? below(world, size + 1) : size;
        uint8_t *copy = malloc(size + 1); /* as large as it is, for the sanitizer */
        memcpy(copy + 1, value, size);
        bool scarce = chance(world, 50);
        memory_engine(scarce ? (int64_t)below(world, 4) : -1);
        int r = message_lookup(copy + 1, size, path, &found);
        memory_world();
        if (r != 0 && r != MESSAGE_E_POISON && !(r == -ENOMEM && scarce)) {
                broken(world, 8, "{%s} of %.*s: %d", path, (int)size, value, r);
        }
        buffer_deinit(&found);
        free(copy);
}

/* Without memory it is read as ever, or not at all. */
static void check_read(const Daemon *daemon, const OddMessage *odd, const Record *record) {
        World *world = daemon->world;
        MessageFormat format = daemon->config.format;
        char id_path[LONG_PATH + 3], time_path[LONG_PATH + 3];
        Request request;
        MessageFault fault = {0};
        if (odd->host != NULL && chance(world, 20)) { /* then nothing is wrong with either */
                format.id = path_of(id_path, "");
                format.requested_at = chance(world, 50) ? path_of(time_path, ".x") : "";
        }
        bool scarce = chance(world, 50);
        memory_engine(scarce ? (int64_t)below(world, 4) : -1);
        int r = message_decode(&format, record->value, record->value_size, &request, &fault);
        memory_world();
        bool read = odd->host != NULL ? r == 0 && strcmp(request.host, odd->host) == 0
                                      : r == MESSAGE_E_POISON && fault.reason != NULL;
        if (!read && !(r == -ENOMEM && scarce)) {
                broken(world, 8, "%s is read as %s: %d, %s", odd->value,
                       r == 0 ? request.host : "none", r,
                       fault.reason != NULL ? fault.reason : "no reason");
        }
}

int64_t record_value(RecordKind kind, int32_t host, int64_t like, char *to) {
        size_t size = BIG_BYTES_MAX;
        switch (kind) {
        case GOOD:
        case POISON:
                /* some are sent twice */
                return sprintf(to, "{\"host\":\"h%d\",\"meta\":{\"id\":%d}}", host, (int)like / 2);
        case GOOD_SAME:
                return sprintf(to, "{\"host\":\"same\"}");
        case UNWANTED:
                return sprintf(to, "{\"host\":\"h%d\",\"unwanted\":%s}", host,
                               (const char *const[]){"true", "0", "\"\""}[like % 3]);
        case DENIED:
                return sprintf(to, "{\"host\":\"%s%dx\"}", host < 6 ? "bad-x.y.z" : "zz", host);
        case NOT_JSON:
                return sprintf(to, "what?");
        case BIG:
                size = like % 10 != 0 ? ODD_BYTES_MAX + 1 + (size_t)(like % 100) : size;
                memset(to, 'x', size);
                to[size] = '\0';
                return (int64_t)size;
        case ODD_GOOD:
        case ODD_BAD:
                return (int64_t)odd_write(odd_message((size_t)host), to);
        case TOMBSTONE:
        case RECORD_KINDS:
                break;
        }
        to[0] = '\0';
        return -1;
}

static void fetch_one(Daemon *daemon, Part *part, const BrokerRecord *record) {
        World *world = daemon->world;
        char value[BIG_BYTES_MAX + 1], headers[96];
        Record out = {.offset = record->offset,
                      .timestamp_us = -1,
                      .value = (const uint8_t *)value,
                      .key = (const uint8_t *)"k",
                      .key_size = chance(world, 50)};
        Fate *fate = part->incarnation == world->broker.logs[part->partition].incarnation
                             ? world_fate(world, part->partition, record->offset)
                             : NULL;
        if (fate != NULL) {
                int64_t wall = world->now + daemon->wall_skew, clock = claims_clock(world);
                wall = clock < wall ? clock : wall; /* the ledger believes no later one */
                out.timestamp_us = fate->produced_us;
                fate->first_us = wall < fate->first_us ? wall : fate->first_us;
        }
        if (chance(world, 10)) {
                out.key = NULL;
                out.key_size = 0;
        }
        if (chance(world, 10)) {
                out.headers = "[[\"a\",\"b\"]]";
                out.headers_size = strlen(out.headers);
        }
        int64_t like = fate != NULL ? fate->like : record->offset;
        int64_t size = record_value((RecordKind)record->kind, record->host, like, value);
        out.value = size >= 0 ? out.value : NULL;
        out.value_size = size >= 0 ? (size_t)size : 0;
        if (record->kind == ODD_GOOD || record->kind == ODD_BAD) {
                check_lookup_in(daemon, value, out.value_size);
                check_read(daemon, odd_message((size_t)record->host), &out);
        }
        if (fate != NULL && fate->replay) {
                if (fate->of.source == 0) {
                        snprintf(headers, sizeof(headers), "[[\"ackd-replay\",\"%" PRId64 "\"]]",
                                 fate->of.offset);
                } else {
                        snprintf(headers, sizeof(headers),
                                 "[[\"a\",null],[\"ackd-replay\",\"%" PRId32 "/%" PRId64 "\"]]",
                                 fate->of.source, fate->of.offset);
                }
                out.headers = headers;
                out.headers_size = strlen(headers);
        }
        part->highest = record->offset > part->highest ? record->offset : part->highest;
        cover(EVENT_FETCHED, part->user->state, daemon->phase);
        /* A grant makes what waited count again, in the middle of a burst. */
        bool full = engine_in_flight(daemon->engine) >= daemon->config.in_flight;
        ENGINE(daemon, engine_fetched(daemon->engine, part->user, &out,
                                      world->now + daemon->wall_skew, world->now));
        if (!daemon->failed && !full && engine_is_reading(daemon->engine) &&
            (engine_in_flight(daemon->engine) >= daemon->config.in_flight ||
             engine_in_flight_bytes(daemon->engine) >= daemon->config.in_flight_bytes)) {
                broken(world, 13, "%zu in flight, %zu bytes, and more is read",
                       engine_in_flight(daemon->engine), engine_in_flight_bytes(daemon->engine));
        }
        daemon->reading = daemon->reading && engine_is_reading(daemon->engine);
}

/* Up to the end of the log there is no message, but offsets: markers, and what was aborted. */
static void fetch_end(Daemon *daemon, Part *part) {
        World *world = daemon->world;
        int64_t high = world->broker.logs[part->partition].high;
        if (high > part->position || chance(world, 5)) { /* also when nothing is new there */
                part->position = high;
                part->highest = high - 1;
                cover(EVENT_ENDED, part->user->state, daemon->phase);
                ENGINE(daemon, engine_ended(daemon->engine, part->user, high,
                                            world->now + daemon->wall_skew, world->now));
        }
}

void daemon_fetch(Daemon *daemon, int number) {
        World *world = daemon->world;
        Part *part = daemon->parts[number];
        if (!part_is_ours(part) || part->paused || part->lost_place || is_cut(daemon) ||
            daemon->failed) {
                return;
        }
        if (!broker_in_range(&world->broker, number, part->position)) {
                part->lost_place = true; /* librdkafka gives it up until it is sought anew */
                daemon_doubt(daemon, number, true);
                return;
        }
        for (size_t n = 1 + below(world, world->big ? 2000 : 20);
             n > 0 && daemon->reading && !daemon->failed; n--) {
                const BrokerRecord *record = broker_fetch(&world->broker, number, part->position);
                if (record == NULL) {
                        fetch_end(daemon, part);
                        return;
                }
                if (fault(world, 3)) { /* a duplicate, whoever is to blame */
                        fetch_one(daemon, part, record);
                }
                if (!daemon->failed && daemon->reading) {
                        fetch_one(daemon, part, record);
                        part->position = record->offset + 1;
                }
        }
}

void daemon_stray(Daemon *daemon, int number) {
        Part *part = daemon->parts[number];
        if (part == NULL || part->user == NULL || daemon->failed || part->position <= 0 ||
            (!part->revoked && !part->paused && daemon->phase == DAEMON_RUNNING)) {
                return;
        }
        const BrokerRecord *record = broker_fetch(&daemon->world->broker, number, part->position);
        if (record != NULL && part->user->state != PARTITION_GONE) {
                fetch_one(daemon, part, record);
        } else if (record == NULL && part->user->state != PARTITION_GONE) {
                int64_t high = daemon->world->broker.logs[number].high;
                cover(EVENT_ENDED, part->user->state, daemon->phase);
                ENGINE(daemon,
                       engine_ended(daemon->engine, part->user, high,
                                    daemon->world->now + daemon->wall_skew, daemon->world->now));
        }
}

void daemon_doubt(Daemon *daemon, int number, bool out_of_range) {
        Part *part = daemon->parts[number];
        if (!part_is_ours(part)) {
                return;
        }
        trace(daemon->world, "  %d  partition %d %s", daemon->slot, number,
              out_of_range ? "is out of range" : "vanished");
        cover(out_of_range ? EVENT_OUT_OF_RANGE : EVENT_VANISHED, part->user->state, daemon->phase);
        if (out_of_range) {
                ENGINE(daemon, engine_out_of_range(daemon->engine, part->user, daemon->world->now));
        } else {
                ENGINE(daemon, engine_vanished(daemon->engine, part->user, daemon->world->now));
        }
}

void daemon_database_up(Daemon *daemon) {
        say(daemon, "the database is up");
        cover_all(daemon, EVENT_DATABASE_UP);
        ENGINE(daemon, engine_database_up(daemon->engine, daemon->world->now));
}

/* --- the group ---------------------------------------------------------------------------- */

static void assigned(Daemon *daemon, unsigned partitions) {
        World *world = daemon->world;
        for (int i = 0; i < BROKER_PARTITIONS && !daemon->failed; i++) {
                if ((partitions & 1u << i) == 0) {
                        continue;
                }
                if (daemon->parts[i] != NULL) {
                        broken(world, 0, "the world gives partition %d out twice", i);
                }
                Part *part = calloc(1, sizeof(*part));
                *part = (Part){.id = ++world->part_ids,
                               .partition = i,
                               .paused = true,
                               .highest = -1};
                daemon->parts[i] = part;
                trace(world, "  %d  assigned %d", daemon->slot, i);
                cover(EVENT_ASSIGNED, PARTITION_LOOKING_UP, daemon->phase);
                ENGINE(daemon,
                       engine_assigned(daemon->engine, "t", i, part, world->now, &part->user));
                if (part->user == NULL) {
                        daemon->parts[i] = NULL;
                        free(part);
                }
        }
}

static void revoked(Daemon *daemon, unsigned partitions, bool lost) {
        Partition *list[BROKER_PARTITIONS];
        size_t n = 0;
        for (int i = 0; i < BROKER_PARTITIONS; i++) {
                Part *part = daemon->parts[i];
                if (part == NULL || (partitions & 1u << i) == 0 || part->revoked) {
                        continue;
                }
                part->revoked = true;
                if (part->user != NULL) {
                        cover(lost ? EVENT_LOST : EVENT_REVOKED, part->user->state, daemon->phase);
                        list[n++] = part->user;
                }
        }
        trace(daemon->world, "  %d  revoked %zu%s", daemon->slot, n, lost ? ", lost" : "");
        daemon->revoking = true;
        daemon->disturbed = true;
        ENGINE(daemon, engine_revoked(daemon->engine, list, n, lost, daemon->world->now));
}

/* ENGINE_UNASSIGN: the objects of the revoke are freed. */
static void unassign(Daemon *daemon) {
        World *world = daemon->world;
        unsigned given = 0;
        daemon->revoking = false;
        for (int i = 0; i < BROKER_PARTITIONS; i++) {
                Part *part = daemon->parts[i];
                if (part == NULL || !part->revoked) {
                        continue;
                }
                list_for_each(link, engine_partitions(daemon->engine)) {
                        if (container_of(link, Partition, link)->handle == part) {
                                broken(world, 15,
                                       "partition %d is unassigned, and the engine has it still",
                                       i);
                        }
                }
                for (size_t k = 0; k < daemon->n_look_ups; k++) {
                        if (daemon->look_ups[k] == part) {
                                broken(world, 15,
                                       "partition %d is looked up and unassigned in one turn", i);
                        }
                }
                given |= 1u << i;
                daemon->parts[i] = NULL;
                free(part);
        }
        if (world->broker.members[daemon->slot].id == daemon->member && daemon->member != 0) {
                broker_given_back(&world->broker, daemon->slot, given, world->now);
        }
}

/* What the coordinator says, one thing after the other. */
static void hear(Daemon *daemon) {
        World *world = daemon->world;
        BrokerTell told;
        if (daemon->revoking || is_cut(daemon) ||
            !broker_told(&world->broker, daemon->slot, daemon->member, world->now, &told)) {
                return;
        }
        switch (told.type) {
        case TELL_ASSIGN:
                assigned(daemon, told.partitions);
                return;
        case TELL_REVOKE:
                revoked(daemon, told.partitions, false);
                return;
        case TELL_LOST:
                daemon->member = 0;
                revoked(daemon, ~0u, true);
                return;
        }
}

/* --- actions, as app/pipeline.c carries them out ------------------------------------------ */

static void ask(Daemon *daemon, const EngineAction *action, PendingKind kind) {
        Partition *partition = action->partition;
        if (partition->state != PARTITION_READING && partition->state != PARTITION_ADOPTING) {
                return;
        }
        Pending *pending = daemon_awaits(daemon, kind);
        pending->partition = partition_ref(partition);
        pending->number = partition->partition;
        pending->incarnation = daemon->world->broker.logs[pending->number].incarnation;
        pending->offset = action->offset;
        pending->source = partition->source;
        pending->from = partition->fence;
}

static void commit_send(Daemon *daemon, bool look) {
        World *world = daemon->world;
        const Commit *commit = engine_commit(daemon->engine);
        Pending made = {.kind = look ? PENDING_LOOK_COMMITTED : PENDING_COMMIT,
                        .member = daemon->member,
                        .generation = world->broker.members[daemon->slot].generation};
        if (daemon->committing || daemon->looking) {
                broken(world, 5, "two commits in flight");
        }
        for (size_t i = 0; i < commit->n; i++) {
                const CommitEntry *entry = &commit->entries[i];
                if (entry->partition->state == PARTITION_GONE) {
                        continue;
                }
                const Part *part = entry->partition->handle;
                if (daemon->parts[entry->partition->partition] != part) {
                        broken(world, 5, "a commit for a partition that is not ours");
                }
                made.numbers[made.n] = part->partition;
                made.parts[made.n] = part->id;
                made.offsets[made.n++] = entry->offset;
                trace(world, "  %d    %s %d: %" PRId64, daemon->slot, look ? "look at" : "commit",
                      part->partition, entry->offset);
        }
        if (made.n == 0) {
                if (look) {
                        ENGINE(daemon, engine_committed_seen(daemon->engine, NULL, world->now));
                } else {
                        ENGINE(daemon, engine_committed(daemon->engine, NULL, world->now));
                }
                return;
        }
        Pending *pending = daemon_awaits(daemon, made.kind);
        made.ready = pending->ready;
        *pending = made;
        if (!look) {
                daemon->committing = true;
                return;
        }
        daemon->looking = true;
        if (world->now - daemon->window >= SECOND) {
                daemon->window = world->now;
                daemon->looks = 0;
        }
        if (++daemon->looks > LOOKS_A_SECOND) {
                broken(world, 19, "%d looks at the committed offsets in a second: a spin",
                       daemon->looks);
        }
}

/* Seeks, and reads again. */
static bool seek(Daemon *daemon, Part *part, int64_t offset) {
        bool ok = !part->revoked && !fault(daemon->world, 10);
        if (ok) {
                part->position = offset;
                part->paused = part->lost_place = false;
        }
        return ok;
}

static bool has_host(RecordKind kind) {
        return kind == GOOD || kind == GOOD_SAME || kind == ODD_GOOD || kind == UNWANTED;
}

static void check_finished(Daemon *daemon, const Message *message, Finish finish) {
        World *world = daemon->world;
        int number = message->partition->partition;
        const Fate *fate = fate_of(daemon, message);
        const StoreSource *source = store_source(&world->store, message->partition->source);
        if (finish == FINISH_RELEASED || fate == NULL || world->logs[number].remade ||
            source == NULL || fate->excused || fate->lost) {
                return;
        }
        const char *reason = message->fault != NULL ? message->fault->reason : "";
        /* The ledger knows of earlier receipts, and has a clock of its own. */
        bool ledger = world->ledger && claims_has_waited(daemon, fate);
        if (strcmp(reason, "waited_too_long") == 0 && !ledger &&
            world->now < message->received_us + daemon->config.max_wait_us) {
                broken(world, 17, "%" PRId64 " waited for %" PRId64 " us and is rejected for that",
                       fate->offset, world->now - message->received_us);
        }
        if ((strcmp(reason, "self") == 0) != (world->restart && guards_is_self(world, fate)) &&
            (strcmp(reason, "self") == 0 ||
             (finish == FINISH_REJECTED && fate->kind != POISON && has_host(fate->kind)))) {
                broken(world, 8, "%" PRId64 " is rejected: \"%s\"", fate->offset, reason);
        }
        if (finish == FINISH_REJECTED && store_rejected(source, fate->offset) == NULL) {
                broken(world, 1, "partition %d, %" PRId64 " is rejected without its row", number,
                       fate->offset);
        }
        /* What was below the fence from the beginning of the world is taken for saved; so is its
         * replay. */
        bool saved_before = replay_is_ours(message) && (message->replay->done & 1u << HANDLER_SAVE);
        if (finish == FINISH_ACCEPTED && fate->kind == POISON && !saved_before &&
            message->handlers[HANDLER_SAVE].state != HANDLER_OFF && world->save) {
                broken(world, 12, "partition %d, %" PRId64 " is refused and told as accepted",
                       number, fate->offset);
        }
        if (finish == FINISH_ACCEPTED && !source->retired &&
            !world_is_resolved(world, number, fate)) {
                broken(world, 12, "partition %d, %" PRId64 " is accepted and not resolved", number,
                       fate->offset);
        }
}

/* The templates of a command find in the payload what the message was read as. */
static void check_lookup(const Daemon *daemon, const Run *run, const MessageBody *body) {
        World *world = daemon->world;
        const char *path = daemon->config.format.host;
        Buffer found = {0};
        char host[HOST_SIZE];
        const char *why;
        uint8_t address[16];
        int r = message_lookup(body->value, body->value_size, path, &found);
        bool read = r == 0 && host_canonical((const char *)found.data, found.size, host, &why) == 0;
        if (!read || strcmp(host, run_host(run)) != 0) {
                broken(world, 8, "{%s} of a message for %s is %.*s", path, run_host(run),
                       (int)found.size, (const char *)found.data);
        }
        bool is_address =
                inet_pton(AF_INET, host, address) == 1 || inet_pton(AF_INET6, host, address) == 1;
        if (host_is_address(host) != is_address) {
                broken(world, 8, "whether %s is an address", host);
        }
        buffer_deinit(&found);
        if (message_lookup(body->value, body->value_size, "nowhere.to.be", &found) == 0) {
                broken(world, 8, "{nowhere.to.be} is found");
        }
        buffer_deinit(&found);
}

/* The host that is restarted is the one that each message means. */
static void check_hosts(const Daemon *daemon, const Run *run) {
        if (daemon->failed) {
                return;
        }
        list_for_each(link, &run->messages) {
                const Message *message = container_of(link, Message, host_link);
                const Fate *fate = fate_of(daemon, message);
                char host[16];
                if (message->body != NULL) {
                        check_lookup(daemon, run, message->body);
                }
                if (fate == NULL) {
                        continue;
                }
                const Log *log = &daemon->world->logs[message->partition->partition];
                const BrokerLog *kafka = &daemon->world->broker.logs[message->partition->partition];
                const BrokerMember *member = &daemon->world->broker.members[daemon->slot];
                bool owned = member->id == daemon->member && daemon->member != 0 &&
                             (member->owned & 1u << message->partition->partition) != 0;
                if (owned && fate->offset < kafka->committed && !log->reset && !log->remade &&
                    (!log->went_back || daemon->world->ledger)) {
                        broken(daemon->world, 3,
                               "%" PRId64 " is restarted again, committed is %" PRId64,
                               fate->offset, kafka->committed);
                }
                if (fate->offset < log->skipped) {
                        broken(daemon->world, 3,
                               "%" PRId64 " was skipped by the operator, and is restarted",
                               fate->offset);
                }
                const StoreReject *row = NULL;
                ReplayVerdict replay = world_replay(&daemon->world->store,
                                                    message->partition->partition, fate, &row);
                bool done = replay == REPLAY_TAKEN ||
                            (replay == REPLAY_OURS && row->restart_done && row->replay.source != 0);
                if (done && !log->went_back) {
                        broken(daemon->world, 20, "%s is restarted for the replay %" PRId64 ", %s",
                               run_host(run), fate->offset,
                               replay == REPLAY_TAKEN ? "which is a duplicate" : "and was before");
                }
                const char *meant = guards_meant(fate, host);
                if (!guards_may_restart(daemon->world, fate)) {
                        broken(daemon->world, 8, "%s is restarted for %" PRId64 ", against a guard",
                               meant, fate->offset);
                }
                if (strcmp(meant, run_host(run)) != 0) {
                        broken(daemon->world, 8, "%s is restarted for a message that means %s",
                               run_host(run), meant);
                }
        }
}

static void restart(Daemon *daemon, Run *run) {
        World *world = daemon->world;
        Pending *pending = daemon_awaits(daemon, PENDING_RUN);
        pending->run = run;
        check_hosts(daemon, run);
        if (!guards_are_open(daemon)) {
                broken(world, 8, "%s is restarted outside of a window", run_host(run));
        }
        trace(world, "  %d    run %" PRIu64 " of %s, attempt %d", daemon->slot, run->id,
              run_host(run), run->attempt);
        if (world->ledger && !claims_start(daemon, pending)) {
                daemon->n_pending--;
                ENGINE(daemon, engine_too_late(daemon->engine, run, world->now));
        }
}

static void carry_out(Daemon *daemon, const EngineAction *action) {
        World *world = daemon->world;
        Partition *partition = action->partition;
        Part *part = partition != NULL ? partition->handle : NULL;
        Pending *pending;
        switch (action->type) {
        case ENGINE_LOOK_UP:
                if (partition->state == PARTITION_LOOKING_UP || partition->doubted) {
                        daemon->look_ups[daemon->n_look_ups++] = part;
                }
                return;
        case ENGINE_READ_SOURCE:
                ask(daemon, action, PENDING_READ_SOURCE);
                return;
        case ENGINE_ADOPT:
                ask(daemon, action, PENDING_ADOPT);
                return;
        case ENGINE_MOVE_FENCE:
                ask(daemon, action, PENDING_MOVE_FENCE);
                return;
        case ENGINE_SEEK:
                if (partition->state == PARTITION_SEEKING) {
                        bool ok = seek(daemon, part, action->offset);
                        part->incarnation = world->broker.logs[part->partition].incarnation;
                        cover(ok ? EVENT_SOUGHT : EVENT_SEEK_FAILED, partition->state,
                              daemon->phase);
                        ENGINE(daemon, engine_sought(daemon->engine, partition, ok, world->now));
                }
                return;
        case ENGINE_PAUSE:
                if (partition->state == PARTITION_ACTIVE || partition->state == PARTITION_STOPPED ||
                    partition->state == PARTITION_LOOKING_UP) {
                        part->paused = true;
                }
                return;
        case ENGINE_RESUME:
                if (partition->state == PARTITION_ACTIVE) {
                        bool ok = seek(daemon, part, action->offset);
                        cover(ok ? EVENT_RESUMED : EVENT_RESUME_FAILED, partition->state,
                              daemon->phase);
                        ENGINE(daemon, engine_resumed(daemon->engine, partition, ok, world->now));
                }
                return;
        case ENGINE_READ:
                daemon->reading = action->on;
                return;
        case ENGINE_SAVE:
        case ENGINE_SAVE_EACH:
        case ENGINE_READ_FENCES:
        case ENGINE_REJECT:
                pending = daemon_awaits(daemon, PENDING_BATCH);
                pending->type = action->type;
                pending->batch = action->batch;
                return;
        case ENGINE_ASK_REPLAYS:
                pending = daemon_awaits(daemon, PENDING_REPLAYS);
                pending->replays = action->replays;
                return;
        case ENGINE_CHECK:
        case ENGINE_CLAIM:
        case ENGINE_ACTED:
        case ENGINE_VERIFY:
        case ENGINE_CONCLUDE:
                claims_ask(daemon, action);
                return;
        case ENGINE_RESTART:
                restart(daemon, action->run);
                return;
        case ENGINE_LOOK_COMMITTED:
                commit_send(daemon, true);
                return;
        case ENGINE_COMMIT:
                commit_send(daemon, false);
                return;
        case ENGINE_UNASSIGN:
                say(daemon, "  unassign");
                unassign(daemon);
                return;
        case ENGINE_FINISHED:
                trace(world, "  %d    finished %d/%" PRId64 ": %s %s", daemon->slot,
                      action->message->partition->partition, action->message->offset,
                      finish_name(action->finish),
                      action->message->fault != NULL ? action->message->fault->reason : "");
                if (!daemon->failed) {
                        check_finished(daemon, action->message, action->finish);
                }
                message_free(action->message);
                return;
        case ENGINE_NOTE:
                trace(world, "  %d    note %d %s%s%s", daemon->slot, action->note,
                      action->message != NULL ? handler_name(action->handler) : "",
                      partition != NULL ? " " : "",
                      partition != NULL ? partition_state_name(partition->state) : "");
                return;
        }
}

/* What the operator is told of a partition agrees with what it is. */
static void check_told(const Daemon *daemon, const Partition *partition) {
        World *world = daemon->world;
        const Offsets *offsets = &partition->offsets;
        const char *paused = partition_paused_by(partition);
        bool reads = partition->state == PARTITION_ACTIVE && !partition->held &&
                     engine_is_reading(daemon->engine);
        bool ending = partition->state == PARTITION_DRAINING || partition->state == PARTITION_GONE;
        if (!ending && !daemon->failed && daemon->phase == DAEMON_RUNNING &&
            reads != (paused == NULL)) {
                broken(world, 14, "partition %d, %s: paused by %s", partition->partition,
                       partition_state_name(partition->state), paused != NULL ? paused : "nothing");
        }
        if (partition->state == PARTITION_STOPPED &&
            *assignment_explain(partition->stopped) == '\0') {
                broken(world, 14, "%s is not explained", partition->stopped);
        }
        /* Of what is above the watermark the oldest is not resolved: else it would be below. */
        size_t gap = offsets_gap(offsets), stranded = offsets_stranded(offsets);
        if (offsets_oldest(offsets) < 0 ? gap != 0 : stranded >= gap) {
                broken(world, 1,
                       "partition %d: %zu admitted, %zu of them resolved, oldest %" PRId64,
                       partition->partition, gap, stranded, offsets_oldest(offsets));
        }
}

/* What waits for something is counted there, waits no longer than it may, and for no window that
 * is open. */
static void check_waits(const Daemon *daemon) {
        World *world = daemon->world;
        size_t counts[WAIT_REASONS] = {0};
        bool due = engine_deadline(daemon->engine) <= world->now;
        if (daemon->failed || daemon->phase != DAEMON_RUNNING) {
                return;
        }
        if (engine_waits(daemon->engine, WAIT_WINDOW) > 0) {
                int64_t opens = guards_open_in(daemon, MINUTE_US);
                if (opens == 0) {
                        broken(world, 14, "a window is open, and a restart waits for one");
                }
                if (engine_deadline(daemon->engine) > world->now + opens) {
                        broken(world, 19,
                               "a window opens in %" PRId64 " us, or may, and nobody is told",
                               opens);
                }
        }
        list_for_each(link, engine_partitions(daemon->engine)) {
                const Partition *partition = container_of(link, Partition, link);
                list_for_each(message_link, &partition->messages) {
                        const Message *message = container_of(message_link, Message, link);
                        RestartWait wait = message_waits_for(message);
                        int64_t waited = world->now - message->received_us;
                        counts[wait]++;
                        /* What only has to be written down as suppressed is no restart, and its own
                         * ends by itself. */
                        bool own = message->own_runs;
                        bool undecided = message->handlers[HANDLER_RESTART].state ==
                                         HANDLER_UNDECIDED; /* it waits for PostgreSQL */
                        if (wait != WAIT_NONE && !own && !undecided &&
                            message->suppress == LEDGER_REASON_NONE &&
                            daemon->config.max_wait_us > 0 && !due &&
                            waited >= daemon->config.max_wait_us) {
                                broken(world, 19,
                                       "%" PRId64 " waits for a %s, since %" PRId64 " us",
                                       message->offset, restart_wait_name(wait), waited);
                        }
                }
        }
        for (int i = WAIT_NONE + 1; i < WAIT_REASONS; i++) {
                if (engine_waits(daemon->engine, (RestartWait)i) != counts[i]) {
                        broken(world, 18, "%zu wait for a %s, and %zu are counted", counts[i],
                               restart_wait_name((RestartWait)i),
                               engine_waits(daemon->engine, (RestartWait)i));
                }
        }
}

void daemon_turn(Daemon *daemon) {
        World *world = daemon->world;
        EngineAction action;
        bool taken = true;
        uint64_t n = 0;
        /* A turn may be too long: the rest is for the next. */
        uint64_t limit = chance(world, 25) ? 1 + below(world, 8) : UINT64_MAX;
        engine_clock(daemon->engine, world->now + daemon->wall_skew, world->now);
        while (taken && n < limit) {
                taken = false;
                ENGINE(daemon, engine_next_action(daemon->engine, &action, &taken));
                if (taken) {
                        carry_out(daemon, &action);
                }
                if (++n > TURN_MAX) {
                        broken(world, 19, "a turn that does not end");
                }
        }
        for (size_t i = 0; i < daemon->n_look_ups; i++) {
                const Part *part = daemon->look_ups[i];
                Pending *pending = daemon_awaits(daemon, PENDING_LOOK_UP);
                pending->number = part->partition;
                pending->part = part->id;
        }
        daemon->n_look_ups = 0;
        claims_send(daemon);
        daemon->partial = taken;
        if (!taken && world->events % 8 == 0) { /* it looks at every message */
                check_waits(daemon);
        }
        if (taken && daemon->windows.n > 0 && fault(world, 10)) {
                guards_set_clock(daemon); /* what is ordered already may not begin any more */
        }
        list_for_each(link, engine_partitions(daemon->engine)) {
                check_told(daemon, container_of(link, Partition, link));
        }
}

void daemon_tick(Daemon *daemon) {
        World *world = daemon->world;
        if (engine_deadline(daemon->engine) > world->now) {
                return;
        }
        cover_all(daemon, EVENT_TICK);
        ENGINE(daemon, engine_tick(daemon->engine, world->now));
        daemon_turn(daemon);
        if (!daemon->failed && engine_deadline(daemon->engine) <= world->now) {
                /* At once again: allowed now and then, a spin when it goes on. */
                daemon->spins = daemon->spin_at == world->now ? daemon->spins + 1 : 0;
                daemon->spin_at = world->now;
                if (daemon->spins > SPIN) {
                        broken(world, 19, "the deadline does not pass");
                }
        }
}

/* When something of it is due; what is overdue while it sleeps is due when it wakes. */
int64_t daemon_deadline(const Daemon *daemon) {
        if (daemon->phase == DAEMON_DEAD) {
                return INT64_MAX;
        }
        int64_t due = engine_deadline(daemon->engine);
        if (daemon->phase != DAEMON_RUNNING && daemon->phase_until < due) {
                due = daemon->phase_until;
        }
        for (size_t i = 0; i < daemon->n_pending; i++) {
                due = daemon->pending[i].ready < due ? daemon->pending[i].ready : due;
        }
        return due > daemon->frozen_until ? due : daemon->frozen_until;
}

/* --- a life ------------------------------------------------------------------------------- */

void daemon_begin(Daemon *daemon) {
        static const size_t counts[] = {1, 4, 16, 64};
        World *world = daemon->world;
        int slot = daemon->slot;
        daemon->phase = DAEMON_RUNNING;
        daemon->failed = daemon->revoking = daemon->looking = daemon->committing = false;
        daemon->partial = daemon->disturbed = false;
        daemon->reading = true;
        daemon->frozen_until = daemon->cut_until = 0;
        daemon->n_pending = daemon->n_look_ups = 0;
        daemon->window = daemon->spin_at = 0;
        daemon->wall_skew =
                chance(world, 20) ? (int64_t)below(world, 2 * DAY) * SECOND - (int64_t)DAY * SECOND
                                  : 0;
        guards_make_windows(daemon);
        daemon->config =
                (EngineConfig){.format = {"host", "meta.id", "requested_at"},
                               .start_latest = world->start_latest,
                               .save = world->save,
                               .restart = world->restart,
                               .allow = allow,
                               .deny = deny,
                               .self = world->spares ? guards_self : NULL,
                               .when = guards_when,
                               .n_when = world->selects,
                               .max_wait_us = chance(world, 30) ? guards_max_wait(world) : 0,
                               .on_unknown = world->on_unknown,
                               .concurrency = below(world, 4) * (world->big ? 40 : 1),
                               .in_flight = world->big ? 4000 : counts[below(world, 4)],
                               .in_flight_bytes =
                                       chance(world, 50) ? 1 << 20 : 100 + below(world, 8000),
                               .waiting = world->big ? 4000 : counts[below(world, 4)],
                               .ack_gap = chance(world, 50) ? 1 << 20 : 4 + below(world, 20),
                               .keep_payload = chance(world, 30),
                               .message_bytes = ODD_BYTES_MAX,
                               .batches = 1 + below(world, chance(world, 80) ? 3 : 10),
                               .batch_rows = world->big ? 500 : 1 + below(world, 8),
                               .batch_bytes = chance(world, 50) ? 1 << 20 : 100,
                               .attempts = 1 + (int)below(world, 3),
                               .backoff_us = chance(world, 50) ? SECOND : 10 * MS,
                               .backoff_max_us = chance(world, 50) ? 20 * SECOND : 2 * SECOND,
                               .commit_interval_us = chance(world, 70) ? SECOND : 10 * SECOND,
                               .drain_us = 5 * SECOND,
                               .observe = chance(world, 95) ? on_observed : NULL,
                               .observer = daemon};
        const EngineConfig *config = &daemon->config;
        daemon->config.windows = daemon->windows.all;
        daemon->config.n_windows = daemon->windows.n;
        claims_begin(daemon);
        JudgeLimits limits = judge_limits(config);
        limits.steady = false; /* see granted.h, which knows the server's clock */
        daemon->judge = judge_new(&limits, on_broken, daemon);
        uint64_t seed = below(world, UINT64_MAX);
        memory_engine(daemon_memory(world));
        int r = engine_new(&daemon->engine, &daemon->config, seed);
        if (r != 0) {
                memory_world();
                if (!world->options.oom) {
                        broken(world, 0, "no engine");
                }
                r = engine_new(&daemon->engine, &daemon->config, seed);
        }
        memory_world();
        if (r != 0) {
                broken(world, 0, "no engine");
        }
        trace(world, "  %d  BEGINS", slot);
        daemon->member = broker_join(&world->broker, slot, world->now);
}

/* Everything that is under way ends without a word to the engine; at the database it may go on. */
static void life_end(Daemon *daemon) {
        World *world = daemon->world;
        while (daemon->n_pending > 0) {
                Pending pending;
                pending_take(daemon, daemon->n_pending - 1, &pending);
                if (pending.kind == PENDING_BATCH && pending.begun && !pending.applied &&
                    pending.type != ENGINE_READ_FENCES && chance(world, 50)) {
                        world_ghost(world, pending.type, &pending.order);
                }
                if (pending.kind == PENDING_COMMIT && !pending.applied && chance(world, 50)) {
                        commit_apply(daemon, &pending);
                }
                if (pending.kind == PENDING_REPLAYS && chance(world, 50)) {
                        replays_apply(daemon, &pending); /* the server does not see the crash */
                }
                if (pending.kind == PENDING_LEDGER) {
                        claims_abandon(daemon, &pending);
                }
                pending_free(&pending);
        }
        claims_life_ends(daemon);
        engine_free(daemon->engine);
        guards_free_windows(daemon);
        judge_free(daemon->judge);
        daemon->engine = NULL;
        daemon->judge = NULL;
        daemon->n_look_ups = 0;
        for (size_t i = 0; i < sizeof(daemon->gathered) / sizeof(daemon->gathered[0]); i++) {
                free(daemon->gathered[i]);
                daemon->gathered[i] = NULL;
                daemon->gathered_capacity[i] = 0;
        }
        for (int i = 0; i < BROKER_PARTITIONS; i++) {
                free(daemon->parts[i]);
                daemon->parts[i] = NULL;
        }
        daemon->phase = DAEMON_DEAD;
}

void daemon_crash(Daemon *daemon) {
        say(daemon, "CRASH");
        cover_all(daemon, EVENT_CRASH);
        life_end(daemon); /* the coordinator notices when its session is over */
}

void daemon_stop(Daemon *daemon) {
        World *world = daemon->world;
        say(daemon, "STOP");
        cover_all(daemon, EVENT_STOP);
        daemon->phase = DAEMON_STOPPING;
        daemon->phase_until = world->now + (int64_t)below(world, 20 * SECOND);
        ENGINE(daemon, engine_stop(daemon->engine, world->now));
        daemon->reading = false;
}

static void release(Daemon *daemon) {
        World *world = daemon->world;
        trace(world, "  %d  RELEASE %zu", daemon->slot, engine_in_flight(daemon->engine));
        cover_all(daemon, EVENT_RELEASE);
        daemon->phase = DAEMON_FLUSHING;
        daemon->phase_until = world->now + LAST_COMMIT_US;
        ENGINE(daemon, engine_release(daemon->engine, world->now));
        for (int i = 0;
             i < 1000 && engine_in_flight(daemon->engine) + engine_waiting(daemon->engine) > 0;
             i++) {
                daemon_turn(daemon);
        }
        if (engine_in_flight(daemon->engine) + engine_waiting(daemon->engine) != 0 &&
            !daemon->failed) {
                broken(world, 16, "%zu in flight after the release",
                       engine_in_flight(daemon->engine));
        }
        for (int i = 0; i < BROKER_PARTITIONS; i++) {
                const Part *part = daemon->parts[i];
                bool ours = part_is_ours(part) && part->user->committed != INT64_MAX;
                daemon->marks[i] = ours ? part->user->offsets.watermark : -1;
        }
        daemon->disturbed = daemon->revoking;
        cover_all(daemon, EVENT_FLUSH);
        ENGINE(daemon, engine_flush(daemon->engine, world->now));
}

static void leave(Daemon *daemon) {
        World *world = daemon->world;
        bool committed = engine_is_committed(daemon->engine);
        trace(world, "  %d  LEAVE, %scommitted", daemon->slot, committed ? "" : "not ");
        for (int i = 0; i < BROKER_PARTITIONS && committed && !daemon->failed; i++) {
                const BrokerLog *log = &world->broker.logs[i];
                const Log *mine = &world->logs[i];
                if (log->committed >= 0 && log->committed < daemon->marks[i] && !mine->reset &&
                    !mine->remade && !daemon->disturbed) {
                        broken(world, 16,
                               "partition %d: confirmed, but %" PRId64 " is not %" PRId64, i,
                               log->committed, daemon->marks[i]);
                }
        }
        daemon->phase = DAEMON_LEAVING;
        daemon->phase_until = world->now + LEAVE_US;
        if (!daemon->revoking) {
                revoked(daemon, ~0u, daemon->member == 0);
        }
        daemon_turn(daemon);
        daemon_turn(daemon);
}

static void gone(Daemon *daemon) {
        World *world = daemon->world;
        if (daemon->revoking && !daemon->failed && !world->options.oom && !daemon->disturbed) {
                broken(world, 16, "leaving waits for a drain");
        }
        if (world->broker.members[daemon->slot].id == daemon->member && daemon->member != 0 &&
            !is_cut(daemon)) {
                broker_leave(&world->broker, daemon->slot, world->now);
        }
        life_end(daemon);
        say(daemon, "ENDS");
}

bool daemon_works(const Daemon *daemon) {
        for (size_t i = 0; i < daemon->n_pending; i++) {
                PendingKind kind = daemon->pending[i].kind;
                if (kind == PENDING_RUN || kind == PENDING_BATCH || kind == PENDING_CHECK ||
                    kind == PENDING_VERIFY || kind == PENDING_LEDGER) {
                        return true;
                }
        }
        return false;
}

void daemon_live(Daemon *daemon) {
        World *world = daemon->world;
        bool over = world->now >= daemon->phase_until;
        if (!is_cut(daemon) && daemon->member != 0 &&
            world->broker.members[daemon->slot].id == daemon->member) {
                broker_heartbeat(&world->broker, daemon->slot, world->now);
        }
        if (daemon->phase != DAEMON_LEAVING) {
                hear(daemon);
        }
        if (daemon->phase == DAEMON_RUNNING && daemon->member == 0 && !daemon->revoking &&
            !is_cut(daemon)) {
                daemon->member = broker_join(&world->broker, daemon->slot, world->now);
        }
        switch (daemon->phase) {
        case DAEMON_DEAD:
                return;
        case DAEMON_RUNNING:
                if (daemon->failed) {
                        daemon_stop(daemon); /* the global handler */
                }
                return;
        case DAEMON_STOPPING:
                if (engine_is_quiet(daemon->engine) && !daemon->failed && daemon_works(daemon)) {
                        broken(world, 16, "it says that nothing is under way");
                }
                if (over || engine_is_quiet(daemon->engine)) {
                        release(daemon);
                }
                return;
        case DAEMON_FLUSHING:
                if (over || engine_is_committed(daemon->engine)) {
                        leave(daemon);
                }
                return;
        case DAEMON_LEAVING:
                if (over || !daemon->revoking) {
                        gone(daemon);
                }
                return;
        }
}
