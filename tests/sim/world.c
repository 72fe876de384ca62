#include "world.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "claims.h"
#include "core/backoff.h"
#include "guards.h"
#include "messages.h"
#include "util/sha256.h"

enum {
        TURNS_MAX = 400000,
        DECIDE_AGAIN_US = 10 * SECOND,
};

/* --- telling ------------------------------------------------------------------------------ */

void trace(const World *world, const char *format, ...) {
        if (!world->options.trace) {
                return;
        }
        va_list ap;
        va_start(ap, format);
        printf("%10.4f ", (double)world->now / 1e6);
        vprintf(format, ap);
        putchar('\n');
        va_end(ap);
}

void broken(const World *world, int invariant, const char *format, ...) {
        va_list ap;
        fflush(stdout);
        fprintf(stderr, "BROKEN: invariant %d: ", invariant);
        va_start(ap, format);
        vfprintf(stderr, format, ap);
        va_end(ap);
        fprintf(stderr,
                "\n  at %.4f s; replay: scripts/sim --seed %" PRIu64 " --steps %" PRIu64
                "%s --trace\n",
                (double)world->now / 1e6, world->options.seed, world->options.steps,
                world->options.oom ? " --oom" : "");
        exit(1);
}

uint64_t below(World *world, uint64_t n) {
        return n > 0 ? random_next(&world->random) % n : 0;
}

bool chance(World *world, unsigned percent) {
        return below(world, 100) < percent;
}

bool fault(World *world, unsigned percent) {
        return below(world, 10000) < (uint64_t)percent * world->roughness && world->faults;
}

void mix(World *world, uint64_t value) {
        world->hash = (world->hash ^ value) * UINT64_C(0x100000001b3);
        world->hash ^= world->hash >> 29;
}

bool world_kafka_is_away(const World *world) {
        return world->now < world->kafka_back;
}

bool world_database_is_away(const World *world) {
        return world->now < world->database_back;
}

/* --- what became of a record -------------------------------------------------------------- */

Fate *world_fate(World *world, int partition, int64_t offset) {
        const Log *log = &world->logs[partition];
        size_t from = 0, to = log->n;
        while (from < to) {
                size_t middle = (from + to) / 2;
                if (log->fates[middle].offset < offset) {
                        from = middle + 1;
                } else {
                        to = middle;
                }
        }
        return from < log->n && log->fates[from].offset == offset ? &log->fates[from] : NULL;
}

/* Whether its row in `messages` belongs there. */
static bool has_row(const World *world, RecordKind kind) {
        return world->save && (kind == GOOD || kind == GOOD_SAME || kind == DENIED ||
                               kind == ODD_GOOD || kind == UNWANTED);
}

/* What is compared of its value, see store_value(). */
uint64_t world_value(const Fate *fate) {
        static char value[BIG_BYTES_MAX + 1];
        char sha256[SHA256_TEXT_SIZE];
        int64_t size = record_value(fate->kind, fate->host, fate->like, value);
        /* What is kept of one that is too large. */
        size = size > BIG_BYTES_MAX - 1 ? BIG_BYTES_MAX - 1 : size;
        if (size < 0 || sha256_text(value, (size_t)size, sha256) != 0) {
                return 0;
        }
        return store_value(sha256);
}

ReplayVerdict world_replay(const Store *store, int partition, const Fate *fate,
                           const StoreReject **rowp) {
        *rowp = NULL;
        if (!fate->replay) {
                return REPLAY_STRAY;
        }
        const StoreSource *mine = store_live(store, partition);
        const StoreSource *source = store_source(store, fate->of.source);
        const StoreReject *row = source != NULL ? store_rejected(source, fate->of.offset) : NULL;
        if (row == NULL || mine == NULL || fate->kind == TOMBSTONE || row->value == 0 ||
            (source == mine && fate->of.offset == fate->offset) ||
            row->value != world_value(fate)) {
                return REPLAY_STRAY;
        }
        *rowp = row;
        if (row->dropped) {
                return REPLAY_DROPPED;
        }
        return row->replay.source == 0 || (row->replay.source == mine->id &&
                                           row->replay.offset == fate->offset)
                       ? REPLAY_OURS
                       : REPLAY_TAKEN;
}

bool world_is_resolved(const World *world, int partition, const Fate *fate) {
        const StoreSource *source = store_live(&world->store, partition);
        const StoreReject *row = NULL;
        ReplayVerdict replay = world_replay(&world->store, partition, fate, &row);
        bool taken = row != NULL && row->replay.source != 0;
        bool save_done = replay == REPLAY_OURS && taken && row->save_done;
        bool restarted =
                fate->restarts > 0 || (replay == REPLAY_OURS && taken && row->restart_done);
        bool rejected = source != NULL && store_rejected(source, fate->offset) != NULL;
        bool saved = !world->save || save_done ||
                     (source != NULL && store_rows(source, fate->offset) > 0);
        if (replay == REPLAY_TAKEN || replay == REPLAY_DROPPED) {
                return true; /* nothing of it is to be done */
        }
        switch (fate->kind) {
        case TOMBSTONE:
                return true;
        case NOT_JSON:
        case ODD_BAD:
        case BIG:
                return rejected;
        case DENIED:
                return world->restart ? rejected : saved;
        case POISON:
                return rejected || (saved && (!world->restart || restarted));
        case GOOD:
        case GOOD_SAME:
        case ODD_GOOD:
        case UNWANTED:
                if (world->restart && !guards_may_restart(world, fate)) {
                        return rejected || (saved && !guards_is_self(world, fate));
                }
                return rejected || (saved && (!world->restart || restarted));
        case RECORD_KINDS:
                break;
        }
        return false;
}

/* What was known of its records may have changed. */
static void doubt_all(World *world) {
        for (int i = 0; i < BROKER_PARTITIONS; i++) {
                world->logs[i].resolved = 0;
        }
}

/* The source of the partition belongs to the log as it is now. */
static bool source_is_current(const World *world, int partition) {
        return world->logs[partition].incarnation == world->broker.logs[partition].incarnation;
}

void world_committed(World *world, const Daemon *daemon, int partition, int64_t offset) {
        Log *log = &world->logs[partition];
        const StoreSource *source = store_live(&world->store, partition);
        trace(world, "KAFKA partition %d: committed %" PRId64, partition, offset);
        /* A commit of its own generation may arrive when it has given the partition back already;
         * nobody else has it before the next one begins. */
        for (int i = 0; i < BROKER_MEMBERS; i++) {
                if (i != daemon->slot && world->broker.members[i].owned & 1u << partition) {
                        broken(world, 5, "daemon %d commits partition %d, which %d owns",
                               daemon->slot, partition, i);
                }
        }
        if (offset < log->committed && !log->reset && !log->remade) {
                broken(world, 4, "partition %d: committed %" PRId64 " after %" PRId64, partition,
                       offset, log->committed);
        }
        log->committed = offset;
        log->reset = source != NULL && source->is_decided;
        if (log->remade || (source != NULL && source->is_decided)) {
                return;
        }
        while (log->resolved < log->n && log->fates[log->resolved].offset < offset) {
                const Fate *fate = &log->fates[log->resolved];
                if (!fate->excused && !fate->lost && !world_is_resolved(world, partition, fate)) {
                        broken(world, 1,
                               "partition %d: committed %" PRId64 ", but %" PRId64
                               " (kind %d) is not resolved: %d restarts",
                               partition, offset, fate->offset, fate->kind, fate->restarts);
                }
                log->resolved++;
        }
}

/* --- the database ------------------------------------------------------------------------- */

/* It is a replay of what is saved, or a duplicate of one. */
static bool needs_no_row(const World *world, int partition, const Fate *fate) {
        const StoreReject *row = NULL;
        ReplayVerdict replay = world_replay(&world->store, partition, fate, &row);
        return replay == REPLAY_TAKEN || replay == REPLAY_DROPPED ||
               (replay == REPLAY_OURS && row->replay.source != 0 && row->save_done);
}

static void check_order(World *world, const StoreOrder *order) {
        for (size_t i = 0; i < order->n_rows; i++) {
                const StoreSource *source = store_source(&world->store, order->rows[i].source);
                if (source != NULL && store_rows(source, order->rows[i].offset) > 1) {
                        broken(world, 2, "partition %d: the row of %" PRId64 " is doubled",
                               source->partition, order->rows[i].offset);
                }
                const Fate *of =
                        source != NULL && !source->retired &&
                                        source_is_current(world, source->partition)
                                ? world_fate(world, source->partition, order->rows[i].offset)
                                : NULL;
                const StoreReject *row = NULL;
                if (of != NULL && order->rows[i].record == MESSAGE_ROW &&
                    !world->logs[source->partition].went_back &&
                    world_replay(&world->store, source->partition, of, &row) == REPLAY_OURS &&
                    row->replay.source != 0 && row->save_done) {
                        broken(world, 20, "partition %d: %" PRId64 " is saved, and was, elsewhere",
                               source->partition, of->offset);
                }
        }
        for (size_t i = 0; i < order->n_fences; i++) {
                const StoreFence *fence = &order->fences[i];
                const StoreSource *source = store_source(&world->store, fence->source);
                if (source == NULL || source->retired ||
                    !source_is_current(world, source->partition)) {
                        continue;
                }
                const Log *log = &world->logs[source->partition];
                for (size_t k = 0; k < log->n; k++) {
                        const Fate *fate = &log->fates[k];
                        if (fate->offset >= fence->expected && fate->offset < fence->next &&
                            !fate->excused &&
                            (has_row(world, fate->kind) || fate->kind == BIG ||
                             fate->kind == NOT_JSON) &&
                            !needs_no_row(world, source->partition, fate) &&
                            /* What an answer of before said was saved, elsewhere. */
                            !(fate->replay && log->went_back) &&
                            store_rows(source, fate->offset) == 0 &&
                            store_rejected(source, fate->offset) == NULL) {
                                broken(world, 2,
                                       "partition %d: the fence passes %" PRId64 " without its row",
                                       source->partition, fate->offset);
                        }
                }
        }
}

bool world_is_locked(const World *world, const StoreOrder *order) {
        for (size_t i = 0; world->now < world->locked_until && i < order->n_fences; i++) {
                if (order->fences[i].source == world->locked) {
                        return true;
                }
        }
        return false;
}

BatchEnd world_transact(World *world, EngineActionType type, StoreOrder *order) {
        BatchEnd end;
        world->store.broken = world->now < world->table_back;
        if (type == ENGINE_REJECT) {
                return store_reject(&world->store, order);
        }
        end = type == ENGINE_SAVE ? store_save(&world->store, order)
                                  : store_save_each(&world->store, order);
        if (end == BATCH_SAVED) {
                check_order(world, order);
        }
        return end;
}

void world_ghost(World *world, EngineActionType type, StoreOrder *order) {
        if (world->n_ghosts < GHOSTS_MAX) {
                world->ghost_types[world->n_ghosts] = type;
                world->ghosts[world->n_ghosts++] = *order;
                *order = (StoreOrder){0};
        }
}

static void ghost_ends(World *world) {
        if (world->n_ghosts == 0) {
                return;
        }
        size_t i = below(world, world->n_ghosts);
        BatchEnd end = world_transact(world, world->ghost_types[i], &world->ghosts[i]);
        trace(world, "DB    a ghost ends: %d", end);
        store_order_deinit(&world->ghosts[i]);
        world->ghosts[i] = world->ghosts[--world->n_ghosts];
        world->ghost_types[i] = world->ghost_types[world->n_ghosts];
}

static void standby_copies(World *world) {
        if (world->has_standby) {
                store_deinit(&world->standby);
        }
        store_copy(&world->standby, &world->store);
        claims_standby_copies(world);
        world->has_standby = true;
}

/* A failover to a standby that lacks the newest rows, or a restore. */
static void database_goes_back(World *world) {
        if (!world->has_standby) {
                return;
        }
        for (int p = 0; p < world->broker.n_partitions; p++) {
                const StoreSource *was = store_live(&world->store, p);
                const StoreSource *is = store_live(&world->standby, p);
                if (was != NULL && (is == NULL || is->id != was->id)) {
                        return; /* a source would be gone that somebody decided on: another story */
                }
                if (is != NULL && !is->moved && world->logs[p].remade) {
                        return; /* see may_be_remade() */
                }
        }
        trace(world, "DB    goes back");
        for (int p = 0; p < world->broker.n_partitions; p++) {
                const StoreSource *was = store_live(&world->store, p);
                const StoreSource *is = store_live(&world->standby, p);
                Log *log = &world->logs[p];
                log->went_back = true;
                /* It is obeyed once more, as soon as somebody looks. */
                log->restored = log->restored || (is != NULL && is->is_decided);
                log->reset = log->reset || log->restored;
                for (size_t i = 0; was != NULL && i < log->n; i++) {
                        Fate *fate = &log->fates[i];
                        bool lost = store_rows(was, fate->offset) > store_rows(is, fate->offset) ||
                                    (store_rejected(was, fate->offset) != NULL &&
                                     store_rejected(is, fate->offset) == NULL);
                        /* A row of `rejected` below the fence that came back is missed by nobody.
                         */
                        const StoreReject *row = NULL;
                        ReplayVerdict before = world_replay(&world->store, p, fate, &row);
                        bool taken = row != NULL && row->replay.source != 0;
                        lost = lost || world_replay(&world->standby, p, fate, &row) != before ||
                               (row != NULL && row->replay.source != 0) != taken;
                        fate->excused = fate->excused || (lost && fate->offset < is->fence);
                        fate->lost = fate->lost || lost;
                }
        }
        world->standby.ids = world->store.ids; /* a sequence is ahead of what is visible */
        store_deinit(&world->store);
        world->store = world->standby;
        world->has_standby = false;
        while (world->n_ghosts > 0) {
                store_order_deinit(&world->ghosts[--world->n_ghosts]);
        }
        claims_go_back(world);
        for (int i = 0; i < DAEMONS; i++) {
                daemon_loses_connections(&world->daemons[i]);
        }
        doubt_all(world);
        for (int p = 0; p < BROKER_PARTITIONS; p++) {
                world->logs[p].skipped = 0;
        }
        mix(world, 77);
}

/* --- Kafka -------------------------------------------------------------------------------- */

/* The newest record of the log: @fate says which one it is. */
static void produced(World *world, int partition, Fate fate) {
        Log *log = &world->logs[partition];
        if (log->n == log->capacity) {
                log->capacity = log->capacity > 0 ? log->capacity * 2 : 64;
                log->fates = realloc(log->fates, log->capacity * sizeof(*log->fates));
        }
        fate.offset = world->broker.logs[partition].high - 1;
        fate.like = fate.like >= 0 ? fate.like : fate.offset;
        fate.produced_us = chance(world, 90) ? world->now : -1;
        fate.first_us = INT64_MAX;
        log->fates[log->n++] = fate;
}

/* What was rejected is produced again, sometimes twice, or dropped; sometimes somebody makes a
 * header up. */
static void replay(World *world, int partition) {
        if (world->store.n == 0 || world->logs[partition].cut) {
                return;
        }
        const StoreSource *source = &world->store.sources[below(world, world->store.n)];
        if (source->n_rejected == 0) {
                return;
        }
        const StoreReject *row = &source->rejected[below(world, source->n_rejected)];
        const Fate *old = source->partition < world->broker.n_partitions && !source->retired &&
                                          source_is_current(world, source->partition)
                                  ? world_fate(world, source->partition, row->offset)
                                  : NULL;
        if (old == NULL) {
                return; /* nobody has its value any more */
        }
        if (chance(world, 10)) {
                trace(world, "TOOL  drops %d/%" PRId64, source->id, row->offset);
                store_drop(&world->store, source->id, row->offset);
                return;
        }
        Fate fate = {.kind = old->kind,
                     .host = old->host,
                     .replay = true,
                     .of = {source->id, row->offset},
                     .like = old->like};
        if (chance(world, 5)) {
                fate.of.source = 0;
        } else if (chance(world, 5)) { /* of something else */
                fate.of.offset += (int64_t)below(world, 5) - 2;
                fate.of.source += (int32_t)below(world, 2);
        }
        for (int n = chance(world, 25) ? 2 : 1; n > 0; n--) {
                broker_produce(&world->broker, partition, 0, fate.kind, fate.host);
                produced(world, partition, fate);
                trace(world, "TOOL  replays %d/%" PRId64 " as %d/%" PRId64, fate.of.source,
                      fate.of.offset, partition, world->broker.logs[partition].high - 1);
                partition = (int)below(world, (uint64_t)world->broker.n_partitions);
                if (world->logs[partition].cut) {
                        return;
                }
        }
}

static void produce(World *world, int partition) {
        Log *log = &world->logs[partition];
        if (log->cut) {
                return;
        }
        for (size_t n = 1 + below(world, world->big ? 800 : 8); n > 0; n--) {
                unsigned dice = (unsigned)below(world, 100);
                RecordKind kind = dice < 46   ? GOOD
                                  : dice < 50 ? UNWANTED
                                  : dice < 58 ? ODD_GOOD
                                  : dice < 66 ? ODD_BAD
                                  : dice < 78 ? GOOD_SAME
                                  : dice < 83 ? TOMBSTONE
                                  : dice < 88 ? NOT_JSON
                                  : dice < 93 ? DENIED
                                  : dice < 96 ? BIG
                                              : POISON;
                int host = (int)(kind == ODD_GOOD || kind == ODD_BAD
                                         ? odd_pick(kind == ODD_GOOD, below(world, 1000))
                                         : below(world, world->big ? 300 : 12));
                int64_t gap = chance(world, 20) ? (int64_t)below(world, 5) : 0;
                broker_produce(&world->broker, partition, gap, kind, host);
                produced(world, partition, (Fate){.kind = kind, .host = host, .like = -1});
        }
        if (chance(world, 20)) { /* the marker of a transaction, or one that was aborted */
                world->broker.logs[partition].high += 1 + (int64_t)below(world, 3);
        }
}

static Daemon *owner_of(World *world, int partition) {
        for (int i = 0; i < DAEMONS; i++) {
                if (world->daemons[i].phase != DAEMON_DEAD &&
                    world->daemons[i].parts[partition] != NULL) {
                        return &world->daemons[i];
                }
        }
        return NULL;
}

/* Nobody has the partition, and nothing of it is on its way. */
static bool is_idle(World *world, int partition) {
        if (owner_of(world, partition) != NULL) {
                return false;
        }
        for (int i = 0; i < BROKER_MEMBERS; i++) {
                if (world->broker.members[i].owned & 1u << partition) {
                        return false;
                }
        }
        return true;
}

static bool something_is_sent(const World *world) {
        for (int i = 0; i < DAEMONS; i++) {
                for (size_t k = 0; k < world->daemons[i].n_pending; k++) {
                        if (world->daemons[i].pending[k].kind == PENDING_BATCH) {
                                return true;
                        }
                }
        }
        return world->n_ghosts > 0;
}

/* Nothing is on its way that would hide it: between the look at the committed offset and the commit
 * a topic that is made again can't be told from the old one (librdkafka 2.0.2 has no topic ids). */
static bool may_lose_its_commit(World *world, int partition) {
        const Daemon *owner = owner_of(world, partition);
        for (int i = 0; i < DAEMONS; i++) {
                const Daemon *daemon = &world->daemons[i];
                if (daemon->phase != DAEMON_DEAD &&
                    engine_commit(daemon->engine)->state != COMMIT_IDLE) {
                        return false;
                }
        }
        if (owner == NULL) {
                return is_idle(world, partition);
        }
        const Part *part = owner->parts[partition];
        return part->user != NULL && part->user->state == PARTITION_ACTIVE &&
               store_live(&world->store, partition) != NULL && part->user->committed >= 0 &&
               world->broker.logs[partition].committed >= 0;
}

/* Nor its first batch, sent or to be sent: with a fence that never moved the new topic keeps the
 * source, and the old one's rows could still come in below it. Nor after a start at the latest
 * offset, see plan_without_commit(). */
static bool may_be_remade(World *world, int partition) {
        const Daemon *owner = owner_of(world, partition);
        const StoreSource *source = store_live(&world->store, partition);
        if (source != NULL && !source->moved &&
            (world->start_latest || something_is_sent(world) ||
             (owner != NULL && !list_is_empty(&owner->parts[partition]->user->messages)))) {
                return false;
        }
        return may_lose_its_commit(world, partition);
}

static void remake(World *world, int partition) {
        Log *log = &world->logs[partition];
        const StoreSource *source = store_live(&world->store, partition);
        trace(world, "KAFKA partition %d is made again", partition);
        broker_remake(&world->broker, partition);
        log->n = log->resolved = 0;
        log->skipped = 0;
        log->committed = -1;
        log->remade = source != NULL;
        log->cut = false;
        mix(world, 78);
        for (int i = 0; i < DAEMONS; i++) {
                if (daemon_is_awake(&world->daemons[i]) && chance(world, 50)) {
                        daemon_doubt(&world->daemons[i], partition, false);
                }
        }
}

/* An unclean election: the log lost its end. Nobody has the partition, or who has it would not know
 * until it reads there. */
static void lose_end(World *world, int partition) {
        BrokerLog *kafka = &world->broker.logs[partition];
        const StoreSource *source = store_live(&world->store, partition);
        Log *log = &world->logs[partition];
        if (kafka->n == 0 || source == NULL || !is_idle(world, partition)) {
                return;
        }
        int64_t high = kafka->records[below(world, kafka->n)].offset;
        if (high >= source->fence || high < kafka->committed) {
                return;
        }
        trace(world, "KAFKA partition %d now ends at %" PRId64, partition, high);
        broker_truncate(&world->broker, partition, high);
        while (log->n > 0 && log->fates[log->n - 1].offset >= high) {
                log->n--;
        }
        log->resolved = 0;
        log->cut = true;
        mix(world, 81);
}

/* Another database, or an emptied one. */
static void lose_database(World *world) {
        trace(world, "DB    is empty");
        for (int p = 0; p < BROKER_PARTITIONS; p++) {
                Log *log = &world->logs[p];
                for (size_t i = 0; i < log->n; i++) {
                        Fate *fate = &log->fates[i];
                        fate->excused = fate->excused || fate->offset < world->broker.logs[p].high;
                        fate->restarts = 0;
                }
                log->went_back = true;
                log->reset = true;
                log->skipped = 0;
        }
        /* The ids go on: that a source of the new one has the id and the fence of another one of
         * the old one, under a daemon that runs, is left out. */
        int32_t ids = world->store.ids;
        store_deinit(&world->store);
        world->store.ids = ids;
        if (world->has_standby) {
                store_deinit(&world->standby);
                world->has_standby = false;
        }
        while (world->n_ghosts > 0) {
                store_order_deinit(&world->ghosts[--world->n_ghosts]);
        }
        claims_lose(world);
        mix(world, 82);
}

/* The group's offsets expire, though it has members (a broker that lost its offsets topic). */
static void expire_offsets(World *world, int partition) {
        const StoreSource *source = store_live(&world->store, partition);
        bool latest = world->start_latest && source != NULL && !source->moved;
        if (!may_lose_its_commit(world, partition) || world->logs[partition].remade ||
            world->logs[partition].cut || latest) {
                return;
        }
        trace(world, "KAFKA partition %d: its committed offset is gone", partition);
        world->broker.logs[partition].committed = -1;
        world->broker.logs[partition].ours = false;
        world->logs[partition].committed = -1;
        world->logs[partition].skipped = 0;
        mix(world, 83);
}

/* Offsets moved by a tool: forward or back, never out of the log. */
static void reset_offset(World *world, int partition) {
        const BrokerLog *kafka = &world->broker.logs[partition];
        Log *log = &world->logs[partition];
        int64_t to = kafka->low + (int64_t)below(world, (uint64_t)(kafka->high - kafka->low) + 1);
        int64_t from = kafka->committed;
        if (!broker_reset(&world->broker, partition, to)) {
                return; /* the group has a member, if only a dead one */
        }
        trace(world, "TOOL  partition %d: committed %" PRId64 " -> %" PRId64, partition, from, to);
        for (size_t i = 0; i < log->n; i++) {
                Fate *fate = &log->fates[i];
                fate->excused = fate->excused || fate->offset < to;
        }
        const StoreSource *source = store_live(&world->store, partition);
        log->skipped = source != NULL && !source->is_decided && to > source->fence ? to : 0;
        log->committed = to;
        log->reset = true;
        mix(world, 79);
}

/* Retention, or a compaction, takes what nobody has read. */
static void lose_records(World *world, int partition) {
        BrokerLog *kafka = &world->broker.logs[partition];
        Log *log = &world->logs[partition];
        if (kafka->n == 0) {
                return;
        }
        if (chance(world, 50)) {
                int64_t low = kafka->records[below(world, kafka->n)].offset;
                trace(world, "KAFKA partition %d now begins at %" PRId64, partition, low);
                broker_expire(&world->broker, partition, low);
                for (size_t i = 0; i < log->n; i++) {
                        log->fates[i].excused = log->fates[i].excused || log->fates[i].offset < low;
                }
        } else {
                size_t i = below(world, kafka->n);
                Fate *fate = world_fate(world, partition, kafka->records[i].offset);
                bool offered = false; /* then it comes again, and the judge waits for it */
                for (int k = 0; k < DAEMONS; k++) {
                        const Part *part = world->daemons[k].parts[partition];
                        offered = offered ||
                                  (part != NULL && kafka->records[i].offset <= part->highest);
                }
                if (!offered) {
                        trace(world, "KAFKA partition %d: compacted %" PRId64, partition,
                              kafka->records[i].offset);
                        fate->excused = true;
                        broker_compact(&world->broker, partition, i);
                }
        }
}

/* --- the operator ------------------------------------------------------------------------- */

/* The partition stands still and nothing of it is under way at its owner. */
static bool may_be_decided(World *world, int partition) {
        const Daemon *daemon = owner_of(world, partition);
        const Part *part = daemon != NULL ? daemon->parts[partition] : NULL;
        const BrokerLog *kafka = &world->broker.logs[partition];
        PartitionFacts facts = {.committed = kafka->committed,
                                .ours = kafka->ours,
                                .low = kafka->low,
                                .high = kafka->high};
        store_read_source(&world->store, partition, facts.committed, &facts);
        if (assignment_plan(&facts, world->start_latest).step != ASSIGNMENT_STOP) {
                return false; /* the command looks for itself, and refuses */
        }
        if (part == NULL || part->revoked || part->user == NULL ||
            part->user->state != PARTITION_STOPPED || daemon->committing || daemon->looking) {
                return false;
        }
        return list_is_empty(&part->user->messages) &&
               part->user->offsets.watermark <= part->user->committed;
}

/* ackd partition: with --new-topic a new source. The daemon looks every 5 s. */
static void decide(World *world, int partition) {
        const BrokerLog *kafka = &world->broker.logs[partition];
        Log *log = &world->logs[partition];
        bool anew = log->remade || log->cut || store_live(&world->store, partition) == NULL ||
                    !source_is_current(world, partition) || chance(world, 50);
        int64_t from = kafka->low + (int64_t)below(world, (uint64_t)(kafka->high - kafka->low) + 1);
        store_decide(&world->store, partition, from, anew, kafka->committed, world->restart);
        if (anew) {
                log->incarnation = kafka->incarnation;
                log->remade = log->cut = false;
        }
        log->reset = true;
        log->skipped = 0;
        log->decided_us = world->now;
        log->resolved = 0;
        for (size_t i = 0; i < log->n; i++) {
                Fate *fate = &log->fates[i];
                fate->excused = fate->excused || fate->offset < from;
                fate->restarts = anew ? 0 : fate->restarts;
        }
        trace(world, "TOOL  partition %d: decided from %" PRId64 "%s", partition, from,
              anew ? ", anew" : "");
        mix(world, 80);
}

static void operator_acts(World *world, int partition) {
        if (may_be_decided(world, partition)) {
                decide(world, partition);
        }
        if (world->logs[partition].remade || world->logs[partition].cut) {
                return; /* with a tool's commit nobody could tell that it was made again */
        }
        /* A tool is let in only while nobody is a member, which is rare. */
        if (chance(world, 20) && may_be_remade(world, partition)) {
                remake(world, partition);
        } else if (chance(world, broker_is_empty(&world->broker) ? 80 : 10) &&
                   is_idle(world, partition)) {
                reset_offset(world, partition);
        } else if (chance(world, 40)) {
                expire_offsets(world, partition);
        } else if (chance(world, 30)) {
                lose_end(world, partition);
        }
}

/* --- one step ----------------------------------------------------------------------------- */

/* Mostly one that lives: a world in which nothing happens proves nothing. */
static Daemon *some_daemon(World *world) {
        size_t first = below(world, DAEMONS);
        for (size_t i = 0; chance(world, 90) && i < DAEMONS; i++) {
                Daemon *daemon = &world->daemons[(first + i) % DAEMONS];
                if (daemon->phase != DAEMON_DEAD && daemon_is_awake(daemon)) {
                        return daemon;
                }
        }
        return &world->daemons[first];
}

/* Until when something is away. Mostly short, or nothing would ever be done in between. */
static int64_t a_while(World *world) {
        return world->now + (int64_t)below(world, chance(world, 70) ? 2 * SECOND : 30 * SECOND);
}

/* Whoever is awake hears, ticks and goes on with its shutdown. */
static void everybody_lives(World *world) {
        broker_tick(&world->broker, world->now);
        for (int i = 0; i < DAEMONS; i++) {
                Daemon *daemon = &world->daemons[i];
                if (!daemon_is_awake(daemon)) {
                        continue;
                }
                daemon_live(daemon);
                if (daemon->phase != DAEMON_DEAD) {
                        daemon_tick(daemon);
                }
        }
}

static void advance(World *world, int64_t at_most) {
        int64_t to = world->now + at_most;
        int64_t due = broker_deadline(&world->broker);
        for (int i = 0; i < DAEMONS; i++) {
                int64_t other = daemon_deadline(&world->daemons[i]);
                due = other < due ? other : due;
        }
        if (due < to) {
                to = due > world->now ? due : world->now;
        }
        world->now = to;
        everybody_lives(world);
}

static void trouble(World *world, Daemon *daemon, int partition) {
        switch (below(world, 17)) {
        case 0:
                world->kafka_back = a_while(world);
                trace(world, "KAFKA is away");
                break;
        case 1:
                world->database_back = a_while(world);
                trace(world, "DB    is away");
                break;
        case 2:
                world->table_back = a_while(world);
                trace(world, "DB    the table refuses every row");
                break;
        case 3:
                daemon->cut_until = a_while(world);
                trace(world, "  %d  is cut off", daemon->slot);
                break;
        case 4:
                daemon->frozen_until = a_while(world);
                trace(world, "  %d  is frozen", daemon->slot);
                break;
        case 5:
                for (int i = 0; i < 3 && daemon_is_awake(daemon); i++) {
                        daemon_stray(daemon, partition);
                }
                if (daemon_is_awake(daemon) && chance(world, 50)) {
                        daemon_doubt(daemon, partition, chance(world, 65));
                }
                break;
        case 6:
        case 7:
                if (daemon_is_awake(daemon) && !world_database_is_away(world)) {
                        daemon_database_up(daemon);
                }
                break;
        case 8:
                standby_copies(world);
                break;
        case 9:
                if (chance(world, 30)) {
                        database_goes_back(world);
                }
                break;
        case 10:
                lose_records(world, partition);
                break;
        case 11:
                broker_add_partition(&world->broker, world->now);
                break;
        case 12:
                if (world->store.n > 0) {
                        world->locked = 1 + (int32_t)below(world, (uint64_t)world->store.ids);
                        world->locked_until = a_while(world);
                        trace(world, "DB    somebody locks source %d", world->locked);
                }
                break;
        case 13:
                if (chance(world, 3)) {
                        lose_database(world);
                }
                break;
        case 14:
                guards_set_clock(daemon);
                break;
        case 15:
        case 16:
                claims_operator_acts(world);
                break;
        }
}

/* Between two disturbances something has to get done, in some worlds more than in others. */
static bool disturbs(World *world) {
        return below(world, 400) < 20 + world->roughness / 2;
}

static void some_answers(World *world, Daemon *daemon) {
        for (uint64_t n = 1 + below(world, 6); n > 0 && daemon_is_awake(daemon); n--) {
                daemon_answer(daemon);
        }
}

static void step(World *world) {
        unsigned dice = (unsigned)below(world, 1000);
        Daemon *daemon = some_daemon(world);
        int partition = (int)below(world, (uint64_t)world->broker.n_partitions);
        bool awake = daemon_is_awake(daemon);
        mix(world, dice);
        if (dice < 430) {
                for (int i = 0; i < DAEMONS; i++) {
                        some_answers(world, &world->daemons[i]);
                }
        } else if (dice < 640) {
                if (awake && daemon->phase == DAEMON_RUNNING) {
                        for (int i = 0; i < BROKER_PARTITIONS; i++) {
                                daemon_fetch(daemon, (partition + i) % world->broker.n_partitions);
                        }
                }
        } else if (dice < 692) {
                produce(world, partition);
        } else if (dice < 700) {
                for (uint64_t n = 1 + below(world, 4); n > 0; n--) {
                        replay(world, (int)below(world, (uint64_t)world->broker.n_partitions));
                }
        } else if (dice < 715) {
                ghost_ends(world);
                claims_ghost_ends(world);
        } else if (dice < 735) {
                daemon_server_works(daemon);
        } else if (dice < 738) {
                if (awake) {
                        daemon_stray(daemon, partition);
                }
        } else if (dice < 746) {
                operator_acts(world, partition);
        } else if (dice < 763) {
                if (disturbs(world)) {
                        trouble(world, daemon, partition);
                }
        } else if (dice < 772) {
                if (daemon->phase == DAEMON_DEAD) {
                        daemon_begin(daemon);
                } else if (disturbs(world) && chance(world, 30)) {
                        daemon_crash(daemon);
                } else if (daemon->phase == DAEMON_RUNNING && awake && disturbs(world)) {
                        daemon_stop(daemon);
                }
        }
        for (int i = 0; i < DAEMONS; i++) {
                if (daemon_is_awake(&world->daemons[i]) && chance(world, 60)) {
                        daemon_turn(&world->daemons[i]);
                }
        }
        if (chance(world, 70)) {
                advance(world, chance(world, 80) ? (int64_t)below(world, 30 * MS)
                                                 : (int64_t)below(world, 4 * SECOND));
        }
}

/* --- the end ------------------------------------------------------------------------------ */

static bool log_is_done(World *world, int partition) {
        const BrokerLog *kafka = &world->broker.logs[partition];
        const Daemon *owner = owner_of(world, partition);
        const Part *part = owner != NULL ? owner->parts[partition] : NULL;
        const StoreSource *source = store_live(&world->store, partition);
        if (part == NULL || part->revoked || part->user->state != PARTITION_ACTIVE ||
            owner->failed) {
                return false;
        }
        /* That its commit is gone is seen with the next one, and there is nothing to commit. */
        bool expired = kafka->committed < 0 && !world->logs[partition].remade;
        int64_t committed = expired ? part->user->committed : kafka->committed;
        return committed >= kafka->high && source != NULL && source->fence >= kafka->committed;
}

static void say_where_it_stands(World *world) {
        for (int i = 0; i < world->broker.n_partitions; i++) {
                const BrokerLog *kafka = &world->broker.logs[i];
                const Daemon *owner = owner_of(world, i);
                const Partition *p = owner != NULL ? owner->parts[i]->user : NULL;
                const StoreSource *source = store_live(&world->store, i);
                fprintf(stderr,
                        "  %d: daemon %d, %s%s%s, committed %" PRId64 ", log %" PRId64
                        " to %" PRId64 ", fence %" PRId64 ", watermark %" PRId64 "%s\n",
                        i, owner != NULL ? owner->slot : -1,
                        p != NULL ? partition_state_name(p->state) : "-",
                        p != NULL && p->state == PARTITION_STOPPED ? " " : "",
                        p != NULL && p->state == PARTITION_STOPPED ? p->stopped : "",
                        kafka->committed, kafka->low, kafka->high,
                        source != NULL ? source->fence : -1, p != NULL ? p->offsets.watermark : -1,
                        world->logs[i].remade ? ", made again" : "");
        }
}

static void database_is_up(World *world) {
        for (int i = 0; i < DAEMONS; i++) {
                Daemon *daemon = &world->daemons[i];
                if (daemon->phase == DAEMON_RUNNING && !daemon->failed) {
                        daemon_database_up(daemon);
                }
        }
}

/* What stands still is given to the operator; everything must come to its end. */
static void catch_up(World *world) {
        int64_t until = world->now + HEAL_US;
        for (int p = 0; p < BROKER_PARTITIONS; p++) {
                until += (int64_t)world->logs[p].n * 3 * SECOND; /* a daemon may take one by one */
        }
        int64_t renewed = world->now;
        uint64_t turns = 0;
        for (bool done = false; !done;) {
                done = true;
                for (int i = 0; i < DAEMONS; i++) {
                        Daemon *daemon = &world->daemons[i];
                        if (daemon->phase == DAEMON_DEAD && i == 0) {
                                daemon_begin(daemon);
                        }
                        if (daemon->phase == DAEMON_DEAD) {
                                continue;
                        }
                        for (int p = 0;
                             p < world->broker.n_partitions && daemon->phase == DAEMON_RUNNING;
                             p++) {
                                daemon_fetch(daemon, p);
                        }
                        for (int n = 0;
                             n < 20 && daemon->phase != DAEMON_DEAD && daemon_answer(daemon); n++) {
                        }
                        daemon_turn(daemon);
                }
                for (int p = 0; p < world->broker.n_partitions; p++) {
                        if (may_be_decided(world, p) &&
                            world->now > world->logs[p].decided_us + DECIDE_AGAIN_US) {
                                decide(world, p);
                                done = false;
                        }
                        done = done && log_is_done(world, p);
                }
                while (world->n_ghosts > 0) {
                        ghost_ends(world);
                }
                for (int i = 0; i < DAEMONS; i++) {
                        done = done && (world->daemons[i].phase == DAEMON_DEAD ||
                                        !daemon_works(&world->daemons[i]));
                }
                claims_drop_ghosts(world);
                claims_lift_all(world);
                if (world->now > until || ++turns > TURNS_MAX) {
                        say_where_it_stands(world);
                        broken(world, 19, "the lag does not reach 0");
                }
                if (!done) {
                        advance(world, SECOND);
                }
                if (!done && world->now >= renewed + 60 * SECOND) {
                        renewed = world->now;
                        /* A connection is renewed now and then. Who was about to start when the
                         * database went back has looked before, and with nothing to save it is
                         * only then that he looks again. */
                        database_is_up(world);
                }
        }
}

/* Every fault ends. */
static void heal(World *world) {
        if (chance(world, 30)) {
                database_goes_back(world);
        }
        world->faults = false;
        world->kafka_back = world->database_back = world->table_back = world->locked_until = 0;
        trace(world, "HEAL");
        for (int i = 0; i < DAEMONS; i++) {
                world->daemons[i].frozen_until = world->daemons[i].cut_until = 0;
        }
        database_is_up(world);
        for (int p = 0; p < world->broker.n_partitions; p++) {
                Daemon *owner = owner_of(world, p);
                if (world->logs[p].remade && owner != NULL && owner->phase == DAEMON_RUNNING) {
                        daemon_doubt(owner, p, false); /* Kafka tells sooner or later */
                }
        }
        if (chance(world, 20)) {
                standby_copies(world);
                catch_up(world);
                /* A failover while nobody has anything to save: it is noticed all the same. */
                database_goes_back(world);
                database_is_up(world);
        }
        catch_up(world);
        claims_check_end(world);
        for (int p = 0; p < world->broker.n_partitions; p++) {
                const Log *log = &world->logs[p];
                const StoreSource *source = store_live(&world->store, p);
                const Daemon *owner = owner_of(world, p);
                if (source == NULL || source->fence < world->broker.logs[p].committed) {
                        broken(world, 2, "partition %d is committed beyond its fence", p);
                }
                if (source->is_decided && !log->restored) {
                        broken(world, 4, "partition %d: what was decided can be obeyed again", p);
                }
                if (owner->parts[p]->user->save_alone) {
                        broken(world, 19, "partition %d does not share its batches again", p);
                }
                for (size_t k = 0; k < log->n; k++) {
                        const Fate *fate = &log->fates[k];
                        /* What was committed before PostgreSQL lost it was handled, and only its
                         * row is owed. */
                        bool saved = !world->save || store_rows(source, fate->offset) > 0 ||
                                     store_rejected(source, fate->offset) != NULL ||
                                     needs_no_row(world, p, fate);
                        if (!fate->excused && !(fate->lost && saved) &&
                            !world_is_resolved(world, p, fate)) {
                                broken(world, 3, "partition %d: %" PRId64 " was never resolved", p,
                                       fate->offset);
                        }
                }
        }
}

static void everybody_stops(World *world) {
        for (int i = 0; i < DAEMONS; i++) {
                Daemon *daemon = &world->daemons[i];
                daemon->frozen_until = 0;
                if (daemon->phase == DAEMON_RUNNING) {
                        daemon_stop(daemon);
                }
        }
        for (uint64_t turns = 0;; turns++) {
                bool all = true;
                for (int i = 0; i < DAEMONS; i++) {
                        Daemon *daemon = &world->daemons[i];
                        for (int n = 0;
                             n < 20 && daemon->phase != DAEMON_DEAD && daemon_answer(daemon); n++) {
                        }
                        if (daemon->phase != DAEMON_DEAD) {
                                daemon_turn(daemon);
                                all = false;
                        }
                }
                if (all) {
                        return;
                }
                if (turns > TURNS_MAX) {
                        broken(world, 16, "a stop that does not end");
                }
                advance(world, SECOND);
        }
}

uint64_t world_run(const WorldOptions *options, uint64_t *events) {
        static World world;
        memset(&world, 0, sizeof(world));
        world.options = *options;
        world.random = options->seed * 7919 + 1;
        world.hash = UINT64_C(0xcbf29ce484222325);
        world.began = world.now = 1000 * 1000 * (int64_t)SECOND;
        world.faults = true;
        world.save = !chance(&world, 15);
        world.restart = !chance(&world, 15);
        world.big = below(&world, 200) == 0;
        world.roughness = (unsigned)below(&world, 5) * 80;
        world.start_latest = chance(&world, 15);
        world.on_unknown = (OnUnknown)below(&world, 3);
        world.sluggish = chance(&world, 10);
        world.spares = chance(&world, 40);
        world.selects = chance(&world, 40);
        world.windows = chance(&world, 30);
        world.ledger = world.restart && chance(&world, 85);
        claims_world_begin(&world);
        static const unsigned scarcities[] = {10, 50, 400, 4000};
        world.scarcity = scarcities[below(&world, 4)];
        bool wide = below(&world, 50) == 0;
        broker_init(&world.broker, wide ? BROKER_PARTITIONS : 1 + (int)below(&world, 6));
        world.broker.cooperative = chance(&world, 40);
        world.broker.assignor = chance(&world, 50) ? ASSIGNOR_RANGE : ASSIGNOR_ROUNDROBIN;
        for (int i = 0; i < BROKER_PARTITIONS; i++) {
                world.logs[i].committed = -1;
        }
        for (int i = 0; i < world.broker.n_partitions; i++) {
                world.broker.logs[i].low = world.broker.logs[i].high = (int64_t)below(&world, 100);
                produce(&world, i);
        }
        for (int i = 0; i < DAEMONS; i++) {
                world.daemons[i].world = &world;
                world.daemons[i].slot = i;
        }
        daemon_begin(&world.daemons[0]);
        for (uint64_t i = 0; i < options->steps; i++) {
                step(&world);
        }
        world.options.oom = false;
        heal(&world);
        everybody_stops(&world);
        while (world.n_ghosts > 0) {
                store_order_deinit(&world.ghosts[--world.n_ghosts]);
        }
        for (int i = 0; i < BROKER_PARTITIONS; i++) {
                free(world.logs[i].fates);
        }
        store_deinit(&world.store);
        if (world.has_standby) {
                store_deinit(&world.standby);
        }
        broker_deinit(&world.broker);
        claims_world_end(&world);
        *events = world.events;
        return world.hash;
}
