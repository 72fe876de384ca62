/*
 * The engine in a small random world: a broker, a database, commands, a clock, one member of a
 * group that loses and gets back its partitions, other members that work meanwhile, stops and
 * crashes.
 *
 *   engine-random [--seeds N] [--first S] [--seed S] [--steps N] [--trace] [--oom]
 *
 * Everything follows from the seed. The driver does what app/pipeline.c does: events come in
 * bursts, then a turn takes all actions; what a question or an order points to is looked at only
 * then, as save_begin and friends do. A broken rule prints its number, the seed and the command
 * that shows it, and ends the process. The rules:
 *
 *    1 below a committed offset everything is resolved    2 a fence that says saved: the row is
 * there 3 what is not resolved is admitted again             4 a commit never goes down 5 one
 * commit in flight, of what is ours              6 admitted offsets rise 7 no two restarts of a
 * host at once                  8 nothing starts after a stop 10 a retry waits as long as it should
 * 11 attempts are bounded 12 accepted means done                               13 the limits hold
 *   14 with room, reading goes on                        15 nothing of what was let go
 *   16 the shutdown's steps say what is true             18 received = finished + in flight +
 * waiting 19 once faults stop, the lag reaches 0; no spin
 *
 * The database is a list of rows and a fence a partition. An order is applied as one transaction:
 * all or nothing, under its fences. A reply can be lost before the transaction, after it, or while
 * it still goes on: a ghost, which is applied later, when somebody else may already be at work. For
 * a while the table may refuse every row, good or bad.
 */

#include <assert.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/backoff.h"
#include "core/engine.h"

enum {
        MS = 1000,
        SECOND = 1000000,
        LOGS = 4,
        RECORDS_MAX = 4000,
        PENDING_MAX = 4096,
        GHOSTS_MAX = 64,
        LOOKS_A_SECOND = 60, /* more of them is a spin */
        HEAL_US = 900 * SECOND,
};

typedef enum RecordKind {
        GOOD,
        GOOD_SAME,
        TOMBSTONE,
        NOT_JSON,
        DENIED,
        BIG,
        POISON,
        KINDS
} RecordKind;

typedef struct LogRecord {
        int64_t offset;
        RecordKind kind;
        int host;
        int rows;       /* in `messages` */
        bool rejected;  /* has its row */
        int restarts;   /* that ended well with this message among those that asked */
        bool excused;   /* PostgreSQL lost what was known of it */
        uint64_t epoch; /* of the assignment that was told that it is rejected */
} LogRecord;

/* A partition, at the broker and at the database. */
typedef struct Log {
        int index;
        LogRecord *records;
        size_t n;
        int64_t low, high;
        int64_t committed;
        bool ours;
        bool has_source, fence_moved;
        int32_t source;
        int64_t fence;
        int generation;     /* how often the topic was made again */
        int64_t snapshot;   /* a fence that a standby has; -1: none */
        bool remade, reset; /* the operator has to say something */
        bool decided;       /* and has, while healing */
        bool is_decided;    /* `ackd partition`: it goes on there */
        int64_t decided_from;
        struct Part *part; /* assigned to us; NULL: not */
} Log;

/* What kafka/parts.h calls a Part: the driver's object of an assignment. */
typedef struct Part {
        Log *log;
        uint64_t id;
        Partition *user;
        int64_t position;
        bool paused, revoked;
} Part;

typedef struct Row {
        Log *log;
        LogRecord *record;
        int32_t source;
        MessageRecord kind;
} Row;

typedef struct Fence {
        Log *log;
        int32_t source;
        int64_t expected, next;
        int generation; /* of the log: what is for an older one is not looked at */
} Fence;

/* A transaction as it was sent. */
typedef struct Transaction {
        EngineActionType type;
        Row *rows;
        size_t n_rows;
        Fence *fences;
        size_t n_fences;
        RefusedRow *refused;
        size_t n_refused;
} Transaction;

typedef enum PendingKind {
        LOOK_UP,
        READ_SOURCE,
        ADOPT,
        MOVE_FENCE,
        BATCH,
        RUN,
        LOOK_COMMITTED,
        COMMIT,
} PendingKind;

typedef struct Pending {
        PendingKind kind;
        int64_t ready;
        bool begun; /* BATCH: it has a connection */
        bool applied;
        BatchEnd end; /* when applied */
        EngineActionType type;
        Batch *batch;
        Run *run;
        Partition *partition; /* a reference */
        uint64_t part_id;
        Log *log;
        int64_t offset, from;
        int generation;
        int32_t source;
        Transaction transaction;
        size_t n; /* LOOK_COMMITTED, COMMIT */
        uint64_t ids[LOGS];
        Log *logs[LOGS];
        int64_t offsets[LOGS];
} Pending;

typedef struct World {
        uint64_t seed, random;
        bool trace, oom, faults, stopping, dead, partial;
        int64_t now, wall;
        int64_t kafka_back, database_back; /* away until then */
        int64_t table_back;                /* refuses every row until then */
        EngineConfig config;
        Engine *engine;
        bool reading;
        bool revoking;
        Log logs[LOGS];
        uint64_t part_ids;
        int32_t sources;
        Pending pending[PENDING_MAX];
        size_t n_pending;
        Transaction ghosts[GHOSTS_MAX];
        size_t n_ghosts;
        Part *look_ups[64];
        size_t n_look_ups;
        bool committing, looking;
        int64_t window;
        int looks;
        uint64_t lives, events;
        uint64_t n_steps;
} World;

static struct Coverage {
        uint64_t actions[ENGINE_NOTE + 1], notes[NOTE_DRAIN_TIMEOUT + 1], finishes[FINISH_COUNT];
        uint64_t ends[2][BATCH_UNKNOWN + 1], revokes, lost, stops, crashes, ghosts, restores, oom,
                heals;
        uint64_t events;
        uint64_t stop_reasons[4], unpaused_stops, decided, log_ends;
} coverage;

static const char *const allow[] = {"*", NULL};
static const char *const deny[] = {"bad-*", NULL};

static World world;

/* --- telling ------------------------------------------------------------------------------ */

__attribute__((format(printf, 1, 2))) static void trace(const char *format, ...) {
        if (!world.trace) {
                return;
        }
        va_list ap;
        va_start(ap, format);
        printf("%10.4f ", (double)world.now / 1e6);
        vprintf(format, ap);
        putchar('\n');
        va_end(ap);
}

__attribute__((format(printf, 2, 3), noreturn)) static void broken(int rule, const char *format,
                                                                   ...) {
        va_list ap;
        fflush(stdout);
        fprintf(stderr, "BROKEN: invariant %d: ", rule);
        va_start(ap, format);
        vfprintf(stderr, format, ap);
        va_end(ap);
        fprintf(stderr, "\n  at %.4f s; replay: engine-random --seed %" PRIu64 "%s --trace\n",
                (double)world.now / 1e6, world.seed, world.oom ? " --oom" : "");
        exit(1);
}

static uint64_t below(uint64_t n) {
        return n > 0 ? random_next(&world.random) % n : 0;
}

static bool chance(unsigned percent) {
        return below(100) < percent;
}

/* Only while things go wrong at all. */
static bool fault(unsigned percent) {
        return chance(percent) && world.faults;
}

/* --- memory that runs out ----------------------------------------------------------------- */

static int64_t oom_after = -1; /* allocations until one fails; -1: never */
void *__real_malloc(size_t size);
void *__real_calloc(size_t n, size_t size);
void *__real_realloc(void *p, size_t size);
void *__wrap_malloc(size_t size);
void *__wrap_calloc(size_t n, size_t size);
void *__wrap_realloc(void *p, size_t size);
static bool oom_now(void) {
        return oom_after >= 0 && oom_after-- == 0;
}
void *__wrap_malloc(size_t size) {
        return oom_now() ? NULL : __real_malloc(size);
}
void *__wrap_calloc(size_t n, size_t size) {
        return oom_now() ? NULL : __real_calloc(n, size);
}
void *__wrap_realloc(void *p, size_t size) {
        return oom_now() ? NULL : __real_realloc(p, size);
}

/* The engine is given memory that may run out; the world is not. */
#define ENGINE(call)                                                                               \
        do {                                                                                       \
                int64_t kept_ = oom_after;                                                         \
                if (world.oom && kept_ < 0 && below(400) == 0) {                                   \
                        oom_after = (int64_t)below(6);                                             \
                }                                                                                  \
                int r_ = (call);                                                                   \
                oom_after = -1;                                                                    \
                world.events++;                                                                    \
                if (r_ < 0) {                                                                      \
                        if (!world.oom) {                                                          \
                                broken(0, "%s: %d", #call, r_);                                    \
                        }                                                                          \
                        trace("no memory in %s", #call);                                           \
                        coverage.oom++;                                                            \
                        world.dead = true;                                                         \
                }                                                                                  \
        } while (0)

/* --- what must always hold ---------------------------------------------------------------- */

static bool is_resolved(const LogRecord *record) {
        const EngineConfig *config = &world.config;
        bool saved = !config->save || record->rows > 0;
        switch (record->kind) {
        case TOMBSTONE:
                return true;
        case NOT_JSON:
        case BIG:
        case DENIED:
                if (record->kind == DENIED && !config->restart) {
                        return saved;
                }
                return record->rejected;
        case GOOD:
        case GOOD_SAME:
        case POISON:
                return record->rejected || (saved && (!config->restart || record->restarts > 0));
        case KINDS:
                break;
        }
        return false;
}

static LogRecord *find_record(Log *log, int64_t offset) {
        for (size_t i = 0; i < log->n; i++) {
                if (log->records[i].offset == offset) {
                        return &log->records[i];
                }
        }
        return NULL;
}

static Log *log_of(const Partition *partition) {
        return &world.logs[partition->partition];
}

static void check_commit(const Log *log, int64_t offset) {
        if (offset < log->committed && !log->reset && !log->remade) {
                broken(4, "partition %d: committed %" PRId64 " after %" PRId64, log->index, offset,
                       log->committed);
        }
        for (size_t i = 0; i < log->n && !log->is_decided; i++) {
                const LogRecord *record = &log->records[i];
                if (record->offset < offset && !record->excused && !is_resolved(record)) {
                        broken(1,
                               "partition %d: committed %" PRId64 ", but %" PRId64
                               " (kind %d) is not resolved: rows %d rejected %d restarts %d",
                               log->index, offset, record->offset, record->kind, record->rows,
                               record->rejected, record->restarts);
                }
        }
}

static void check_always(void) {
        const EngineTotals *totals = engine_totals(world.engine);
        uint64_t finished = 0;
        size_t messages = 0, bytes = 0;
        for (int i = 0; i < FINISH_COUNT; i++) {
                finished += totals->finished[i];
        }
        if (world.dead) {
                return;
        }
        size_t inside = engine_in_flight(world.engine) + engine_waiting(world.engine);
        if (totals->received != finished + inside) {
                broken(18, "received %" PRIu64 ", finished %" PRIu64 ", inside %zu",
                       totals->received, finished, inside);
        }
        list_for_each(link, engine_partitions(world.engine)) {
                const Partition *partition = container_of(link, Partition, link);
                const Part *part = partition->handle;
                if (partition->state == PARTITION_GONE || log_of(partition)->part != part ||
                    part->user != partition) { /* a freed Part is for the sanitizer */
                        broken(15, "partition %d (%s) is the engine's, but not assigned",
                               partition->partition, partition_state_name(partition->state));
                }
                if (offsets_gap(&partition->offsets) > world.config.ack_gap) {
                        broken(13, "an ack gap of %zu", offsets_gap(&partition->offsets));
                }
                list_for_each(message_link, &partition->messages) {
                        messages += !container_of(message_link, Message, link)->gap;
                        bytes += container_of(message_link, Message, link)->bytes;
                }
        }
        if (messages != inside || bytes != engine_in_flight_bytes(world.engine)) {
                broken(18, "%zu messages in lists, %zu counted", messages, inside);
        }
        /* What waited and runs now counts in `in_flight` again: all that share one run. */
        size_t slack = world.config.waiting + world.config.in_flight + 64;
        if (engine_in_flight(world.engine) > world.config.in_flight + slack ||
            bytes > world.config.in_flight_bytes + 1024) {
                broken(13, "%zu messages, %zu bytes in flight", engine_in_flight(world.engine),
                       bytes);
        }
        if (engine_waiting(world.engine) > world.config.waiting + world.config.in_flight + 64) {
                broken(13, "%zu waiting", engine_waiting(world.engine));
        }
        if (!world.partial && messages == 0 && !engine_is_reading(world.engine) &&
            !world.stopping) {
                broken(14, "not reading with nothing in flight");
        }
        if (!world.partial && world.reading != engine_is_reading(world.engine)) {
                broken(14, "the queue is %sread, the engine thinks otherwise",
                       world.reading ? "" : "not ");
        }
        if (world.config.concurrency > 0 &&
            engine_running(world.engine) > world.config.concurrency) {
                broken(13, "%zu runs", engine_running(world.engine));
        }
}

/* After a whole turn: nothing waits for something that will not come. */
static void check_waits(void) {
        list_for_each(link, engine_partitions(world.engine)) {
                const Partition *partition = container_of(link, Partition, link);
                const Part *part = partition->handle;
                if (partition->state == PARTITION_ACTIVE && !partition->held && part->paused &&
                    !world.stopping && !world.dead) {
                        broken(14, "partition %d is active and paused", partition->partition);
                }
                if (partition->state != PARTITION_ACTIVE && !part->paused && !part->revoked &&
                    partition->state == PARTITION_STOPPED) {
                        coverage.unpaused_stops++;
                }
        }
}

static void check_finished(const Message *message, Finish finish) {
        Log *log = log_of(message->partition);
        LogRecord *record = find_record(log, message->offset);
        coverage.finishes[finish]++;
        if (finish == FINISH_RELEASED || record == NULL || log->remade) {
                return;
        }
        if (finish == FINISH_REJECTED && !record->rejected && !record->excused) {
                broken(1, "partition %d, %" PRId64 " is rejected without its row", log->index,
                       record->offset);
        }
        if (finish == FINISH_ACCEPTED && !record->excused && record->kind == POISON &&
            message->handlers[HANDLER_SAVE].state != HANDLER_OFF && world.config.save) {
                broken(12, "partition %d, %" PRId64 " is refused and told as accepted", log->index,
                       record->offset);
        }
        if (finish == FINISH_ACCEPTED && !record->excused && !is_resolved(record)) {
                broken(12, "partition %d, %" PRId64 " is accepted: rows %d restarts %d", log->index,
                       record->offset, record->rows, record->restarts);
        }
}

/* --- the database ------------------------------------------------------------------------- */

static void transaction_deinit(Transaction *transaction) {
        free(transaction->rows);
        free(transaction->fences);
        free(transaction->refused);
        *transaction = (Transaction){0};
}

/* What the batch is when a connection is free for it: as pg/saves.c. False: nothing to send. */
static bool transaction_make(Transaction *transaction, EngineActionType type, const Batch *batch) {
        size_t n = 0;
        list_for_each(link, &batch->messages) {
                n++;
        }
        *transaction = (Transaction){.type = type};
        transaction->rows = calloc(n + 1, sizeof(Row));
        transaction->fences = calloc(batch->n_parts + 1, sizeof(Fence));
        if (type == ENGINE_REJECT) {
                list_for_each(link, &batch->messages) {
                        const Message *message = container_of(link, Message, lane_link);
                        Log *log = log_of(message->partition);
                        assert(message->fault != NULL);
                        transaction->rows[transaction->n_rows++] =
                                (Row){.log = log,
                                      .source = message->partition->source,
                                      .record = find_record(log, message->offset),
                                      .kind = MESSAGE_FAULTY};
                }
                return n > 0;
        }
        for (size_t i = 0; i < batch->n_parts; i++) {
                const BatchPart *part = &batch->parts[i];
                size_t rows = 0;
                int64_t last = -1;
                list_for_each(link, &batch->messages) {
                        const Message *message = container_of(link, Message, lane_link);
                        rows += message->partition == part->partition;
                }
                if (type == ENGINE_READ_FENCES || rows == part->rows) {
                        transaction->fences[transaction->n_fences++] =
                                (Fence){log_of(part->partition), part->partition->source,
                                        part->expected, part->next,
                                        log_of(part->partition)->generation};
                }
                if (rows != part->rows || type == ENGINE_READ_FENCES) {
                        continue;
                }
                if (i > 0 && part->partition->source <= batch->parts[i - 1].partition->source) {
                        broken(2, "fences are not in the order of their sources");
                }
                list_for_each(link, &batch->messages) {
                        const Message *message = container_of(link, Message, lane_link);
                        Log *log = log_of(message->partition);
                        if (message->partition != part->partition) {
                                continue;
                        }
                        if (message->offset <= last || message->offset < part->expected ||
                            message->offset >= part->next) {
                                broken(6, "a batch is not in order, or not between its fences");
                        }
                        last = message->offset;
                        if (message->gap) {
                                continue;
                        }
                        transaction->rows[transaction->n_rows++] =
                                (Row){.log = log,
                                      .source = message->partition->source,
                                      .record = find_record(log, message->offset),
                                      .kind = message->record};
                }
        }
        return transaction->n_fences > 0;
}

static bool fences_fit(const Transaction *transaction) {
        for (size_t i = 0; i < transaction->n_fences; i++) {
                const Fence *fence = &transaction->fences[i];
                if (!fence->log->has_source || fence->log->source != fence->source ||
                    fence->log->generation != fence->generation ||
                    fence->log->fence != fence->expected) {
                        return false;
                }
        }
        return true;
}

static void refuse(Transaction *transaction, const Row *row) {
        transaction->refused =
                realloc(transaction->refused, (transaction->n_refused + 1) * sizeof(RefusedRow));
        transaction->refused[transaction->n_refused++] = (RefusedRow){.source = row->source,
                                                                      .offset = row->record->offset,
                                                                      .detail = "22P05: poison"};
}

static BatchEnd transaction_apply(Transaction *transaction) {
        size_t poison = 0, rows = 0;
        if (!fences_fit(transaction)) {
                return BATCH_FENCE;
        }
        for (size_t i = 0; i < transaction->n_rows; i++) {
                const Row *row = &transaction->rows[i];
                if (row->record == NULL || !row->log->has_source ||
                    row->log->source != row->source) {
                        return transaction->type == ENGINE_REJECT ? BATCH_SAVED : BATCH_FENCE;
                }
                if (row->kind == MESSAGE_ROW && transaction->type != ENGINE_REJECT) {
                        poison += row->record->kind == POISON;
                        rows++;
                }
        }
        bool broken_table = world.now < world.table_back && rows > 0;
        if ((transaction->type == ENGINE_SAVE && poison > 0) || broken_table) {
                return BATCH_REFUSED;
        }
        for (size_t i = 0; i < transaction->n_rows; i++) {
                const Row *row = &transaction->rows[i];
                if (row->kind == MESSAGE_FAULTY) {
                        row->record->rejected = true;
                } else if (row->kind == MESSAGE_ROW && row->record->kind == POISON) {
                        row->record->rejected = true;
                        refuse(transaction, row);
                } else if (row->kind == MESSAGE_ROW && ++row->record->rows > 1) {
                        broken(2, "partition %d: the row of %" PRId64 " is doubled",
                               row->log->index, row->record->offset);
                }
        }
        for (size_t i = 0; i < transaction->n_fences; i++) {
                const Fence *fence = &transaction->fences[i];
                if (fence->next < fence->expected) {
                        broken(2, "a fence moves back");
                }
                for (size_t k = 0; k < fence->log->n; k++) {
                        LogRecord *record = &fence->log->records[k];
                        bool row = record->kind != TOMBSTONE && record->kind != NOT_JSON &&
                                   record->kind != BIG && world.config.save;
                        if (record->offset >= fence->expected && record->offset < fence->next &&
                            row && record->rows == 0 && !record->rejected) {
                                broken(2,
                                       "partition %d: the fence passes %" PRId64 " without its row",
                                       fence->log->index, record->offset);
                        }
                }
                fence->log->fence = fence->next;
                fence->log->fence_moved = true;
        }
        return BATCH_SAVED;
}

/* A failover to a standby that lacks the last rows. */
static void database_goes_back(Log *log) {
        if (log->snapshot < 0 || log->snapshot >= log->fence || !log->has_source) {
                return;
        }
        trace("DB   partition %d goes back from %" PRId64 " to %" PRId64, log->index, log->fence,
              log->snapshot);
        coverage.restores++;
        for (size_t i = 0; i < log->n; i++) {
                LogRecord *record = &log->records[i];
                if (record->offset >= log->snapshot) {
                        record->excused = record->excused || record->rows > 0 || record->rejected;
                        record->rows = 0;
                        record->rejected = false;
                }
        }
        log->fence = log->snapshot;
        for (size_t i = 0; i < world.n_ghosts; i++) {
                transaction_deinit(&world.ghosts[i]);
        }
        world.n_ghosts = 0;
}

static void ghost_lives(Transaction *transaction) {
        if (world.n_ghosts < GHOSTS_MAX) {
                world.ghosts[world.n_ghosts++] = *transaction;
                *transaction = (Transaction){0};
                coverage.ghosts++;
        }
}

static void ghost_ends(void) {
        if (world.n_ghosts == 0) {
                return;
        }
        size_t i = below(world.n_ghosts);
        BatchEnd end = transaction_apply(&world.ghosts[i]);
        trace("DB   a ghost ends: %d", end);
        transaction_deinit(&world.ghosts[i]);
        world.ghosts[i] = world.ghosts[--world.n_ghosts];
}

/* --- the broker --------------------------------------------------------------------------- */

static void produce(Log *log) {
        for (size_t n = 1 + below(8); n > 0 && log->n < RECORDS_MAX; n--) {
                LogRecord *record = &log->records[log->n++];
                log->high += chance(20) ? (int64_t)below(5) : 0;
                unsigned dice = (unsigned)below(100);
                *record = (LogRecord){.offset = log->high++,
                                      .kind = dice < 60   ? GOOD
                                              : dice < 78 ? GOOD_SAME
                                              : dice < 83 ? TOMBSTONE
                                              : dice < 88 ? NOT_JSON
                                              : dice < 93 ? DENIED
                                              : dice < 96 ? BIG
                                                          : POISON,
                                      .host = (int)below(12)};
        }
        log->high += chance(20) ? (int64_t)below(5) : 0; /* as transactions leave it */
}

static void fetch(Part *part, const LogRecord *record) {
        char value[400];
        Record out = {.offset = record->offset,
                      .timestamp_us = 5,
                      .value = (const uint8_t *)value,
                      .key = (const uint8_t *)"k",
                      .key_size = chance(50)};
        switch (record->kind) {
        case GOOD:
        case POISON:
                snprintf(value, sizeof(value), "{\"host\":\"h%d\",\"id\":%d}", record->host,
                         (int)record->offset);
                break;
        case GOOD_SAME:
                snprintf(value, sizeof(value), "{\"host\":\"same\"}");
                break;
        case DENIED:
                snprintf(value, sizeof(value), "{\"host\":\"bad-%d\"}", record->host);
                break;
        case NOT_JSON:
                snprintf(value, sizeof(value), "what?");
                break;
        case BIG:
                memset(value, 'x', sizeof(value) - 1);
                value[sizeof(value) - 1] = '\0';
                break;
        case TOMBSTONE:
        case KINDS:
                out.value = NULL;
                value[0] = '\0';
                break;
        }
        out.value_size = out.value != NULL ? strlen(value) : 0;
        Partition *partition = part->user;
        int64_t next = partition->next;
        bool active = partition->state == PARTITION_ACTIVE && !partition->held && !world.stopping;
        ENGINE(engine_fetched(world.engine, partition, &out, world.wall, world.now));
        if (active && record->offset >= next && partition->next <= record->offset && !world.dead) {
                broken(6, "next did not rise");
        }
        world.reading = world.reading && engine_is_reading(world.engine);
}

static void fetch_some(void) {
        Part *part = world.logs[below(LOGS)].part;
        if (part == NULL || part->paused || part->revoked || part->user == NULL) {
                return;
        }
        for (size_t n = 1 + below(20); n > 0 && world.reading && !world.dead; n--) {
                const LogRecord *record = NULL;
                for (size_t i = 0; i < part->log->n && record == NULL; i++) {
                        if (part->log->records[i].offset >= part->position) {
                                record = &part->log->records[i];
                        }
                }
                if (record == NULL) {
                        if (part->position < part->log->high) {
                                part->position = part->log->high;
                                coverage.log_ends++;
                                ENGINE(engine_ended(world.engine, part->user, part->position,
                                                    world.wall, world.now));
                        }
                        return;
                }
                if (fault(3)) { /* a duplicate, whoever is to blame */
                        fetch(part, record);
                }
                if (!world.dead && world.reading) {
                        fetch(part, record);
                        part->position = record->offset + 1;
                }
        }
}

static void assign(Log *log) {
        if (log->part != NULL || world.revoking) {
                return;
        }
        Part *part = calloc(1, sizeof(*part));
        *part = (Part){.log = log, .id = ++world.part_ids, .paused = true};
        log->part = part;
        trace("EVENT assigned %d", log->index);
        ENGINE(engine_assigned(world.engine, "t", log->index, part, world.now, &part->user));
        if (part->user == NULL) {
                log->part = NULL;
                free(part);
        }
}

static void revoke(bool all, bool lost) {
        Partition *list[LOGS];
        size_t n = 0;
        if (world.revoking) {
                return;
        }
        for (int i = 0; i < LOGS; i++) {
                Part *part = world.logs[i].part;
                if (part != NULL && (all || chance(50))) {
                        part->revoked = true;
                        if (part->user != NULL) {
                                list[n++] = part->user;
                        }
                }
        }
        if (n == 0) {
                for (int i = 0; i < LOGS; i++) {
                        if (world.logs[i].part != NULL) {
                                world.logs[i].part->revoked = false;
                        }
                }
                return;
        }
        trace("EVENT revoked %zu%s", n, lost ? ", lost" : "");
        coverage.revokes++;
        coverage.lost += lost;
        world.revoking = true;
        ENGINE(engine_revoked(world.engine, list, n, lost, world.now));
}

/* ENGINE_UNASSIGN: the objects of the revoke are freed. */
static void unassign(void) {
        if (!world.revoking) {
                broken(15, "unassign without a revoke");
        }
        world.revoking = false;
        for (int i = 0; i < LOGS; i++) {
                Part *part = world.logs[i].part;
                if (part == NULL || !part->revoked) {
                        continue;
                }
                list_for_each(link, engine_partitions(world.engine)) {
                        if (container_of(link, Partition, link)->handle == part) {
                                broken(15,
                                       "partition %d is unassigned, and the engine has it still "
                                       "(%s)",
                                       i,
                                       partition_state_name(
                                               container_of(link, Partition, link)->state));
                        }
                }
                for (size_t k = 0; k < world.n_look_ups; k++) {
                        if (world.look_ups[k] == part) {
                                broken(15, "partition %d is looked up and unassigned in one turn",
                                       i);
                        }
                }
                world.logs[i].part = NULL;
                free(part);
        }
}

/* Another member has the partition for a while, does some work, and commits. */
static void other_member(Log *log) {
        if (log->part != NULL || !log->has_source || log->committed < 0 || log->remade ||
            log->is_decided || log->committed > log->fence) {
                return; /* a real one would see that something has to be decided */
        }
        size_t n = below(6);
        int64_t to = log->fence;
        for (size_t i = 0; i < log->n && n > 0; i++) {
                LogRecord *record = &log->records[i];
                if (record->offset < log->fence) {
                        continue;
                }
                if (record->kind == NOT_JSON || record->kind == BIG || record->kind == POISON ||
                    record->kind == DENIED) {
                        record->rejected = true;
                }
                if (record->kind == GOOD || record->kind == GOOD_SAME || record->kind == DENIED) {
                        record->rows += world.config.save;
                }
                if (record->rows > 1) {
                        broken(2, "the world doubled a row");
                }
                to = record->offset + 1;
                n--;
        }
        log->fence_moved = log->fence_moved || to > log->fence;
        log->fence = to;
        int64_t committed = log->committed;
        for (size_t i = 0; i < log->n && chance(90); i++) {
                LogRecord *record = &log->records[i];
                if (record->offset >= committed && record->offset < log->fence) {
                        record->restarts++;
                        committed = is_resolved(record) || record->excused ? record->offset + 1
                                                                           : committed;
                        if (!is_resolved(record)) {
                                break;
                        }
                }
        }
        trace("OTHER partition %d: fence %" PRId64 ", committed %" PRId64 " -> %" PRId64,
              log->index, log->fence, log->committed, committed);
        log->committed = committed;
        log->ours = true;
}

/* --- what is under way -------------------------------------------------------------------- */

static Pending *pending_add(PendingKind kind) {
        assert(world.n_pending < PENDING_MAX);
        Pending *pending = &world.pending[world.n_pending++];
        int64_t latency = 200 + (int64_t)below(chance(90) ? 20 * MS : 3 * SECOND);
        if (world.now < world.kafka_back || chance(20)) {
                latency = 200 + (int64_t)below(1 * MS);
        }
        *pending = (Pending){.kind = kind, .ready = world.now + latency};
        return pending;
}

static void pending_remove(size_t i, Pending *out) {
        *out = world.pending[i];
        world.pending[i] = world.pending[--world.n_pending];
}

static void pending_free(Pending *pending) {
        partition_unref(pending->partition);
        transaction_deinit(&pending->transaction);
}

static Part *part_of_id(const Log *log, uint64_t id) {
        return log->part != NULL && log->part->id == id ? log->part : NULL;
}

static bool kafka_is_away(void) {
        return world.now < world.kafka_back;
}

static bool database_is_away(void) {
        return world.now < world.database_back;
}

static void answer_look_up(Pending *pending) {
        Part *part = part_of_id(pending->log, pending->part_id);
        PartitionFacts facts = {.committed = pending->log->committed,
                                .ours = pending->log->ours,
                                .low = pending->log->low,
                                .high = pending->log->high};
        if (part != NULL) {
                ENGINE(engine_looked_up(world.engine, part->user,
                                        kafka_is_away() || fault(15) ? NULL : &facts, world.now));
        }
}

static void answer_source(Pending *pending) {
        static int64_t rejected[RECORDS_MAX];
        Log *log = pending->log;
        const Partition *partition = pending->partition;
        bool lost = fault(15);
        size_t n = 0;
        for (size_t i = 0; i < log->n && log->has_source; i++) {
                LogRecord *record = &log->records[i];
                if (record->rejected && record->kind != POISON &&
                    record->offset >= partition->facts.committed) {
                        rejected[n++] = record->offset;
                        record->epoch = lost || record->offset >= log->fence ? 0 : partition->epoch;
                }
        }
        PartitionFacts facts = {.has_source = log->has_source,
                                .source = log->source,
                                .fence = log->fence,
                                .fence_moved = log->fence_moved,
                                .topic_known = true,
                                .is_decided = log->is_decided,
                                .decided = log->decided_from,
                                .rejected = rejected,
                                .n_rejected = n};
        ENGINE(engine_source_read(world.engine, pending->partition, lost ? NULL : &facts,
                                  world.now));
}

static void answer_adopt(Pending *pending) {
        Log *log = pending->log;
        AdoptEnd end = ADOPT_OK;
        /* A late one for a topic that was made again leaves the fence that never moved: see there.
         */
        bool applied = !fault(10) && pending->generation == log->generation;
        if (applied && pending->kind == ADOPT) {
                if (log->has_source) {
                        end = ADOPT_CHANGED;
                } else {
                        log->has_source = true;
                        log->source = ++world.sources;
                        log->fence = pending->offset;
                        log->fence_moved = false;
                        log->snapshot = -1;
                }
        } else if (applied) {
                if (log->source != pending->source || log->fence != pending->from) {
                        end = ADOPT_CHANGED;
                        log->is_decided = log->is_decided && log->source != pending->source;
                } else {
                        for (size_t i = 0; i < log->n; i++) { /* the operator skipped them */
                                LogRecord *record = &log->records[i];
                                record->excused =
                                        record->excused || record->offset < pending->offset;
                        }
                        log->fence = pending->offset;
                        log->fence_moved = true;
                        log->is_decided = false;
                }
        }
        if (!applied || fault(10)) {
                end = ADOPT_OUTAGE;
        }
        ENGINE(engine_adopted(world.engine, pending->partition, end,
                              pending->kind == ADOPT ? log->source : pending->partition->source,
                              world.now));
}

/* 0: not now. */
static size_t at_the_database(void) {
        size_t n = 0;
        for (size_t i = 0; i < world.n_pending; i++) {
                n += world.pending[i].kind == BATCH && world.pending[i].begun;
        }
        return n;
}

/* As the table `rejected` tells it: of handler save. */
static size_t refused_before(const Batch *batch, RefusedRow *refused) {
        size_t n = 0;
        for (size_t i = 0; i < batch->n_parts; i++) {
                const BatchPart *part = &batch->parts[i];
                const Log *log = log_of(part->partition);
                for (size_t k = 0; k < log->n && log->source == part->partition->source; k++) {
                        const LogRecord *record = &log->records[k];
                        if (record->kind == POISON && record->rejected &&
                            record->offset >= part->expected) {
                                refused[n++] = (RefusedRow){.source = log->source,
                                                            .offset = record->offset,
                                                            .detail = "22P05: poison"};
                        }
                }
        }
        return n;
}

static void answer_batch(Pending *pending) {
        Transaction *transaction = &pending->transaction;
        BatchEnd end = BATCH_SAVED;
        bool lost = database_is_away() || fault(8);
        if (pending->applied) {
                end = lost && pending->end == BATCH_SAVED ? BATCH_UNKNOWN : pending->end;
        } else if (!pending->begun) {
                end = BATCH_OUTAGE; /* PG_E_NOTHING, or PostgreSQL is away */
        } else if (fault(8)) {
                end = BATCH_OUTAGE;
        } else if (lost && chance(40)) {
                end = BATCH_UNKNOWN;
                if (pending->type != ENGINE_READ_FENCES && chance(60)) {
                        ghost_lives(transaction);
                }
        } else if (pending->type != ENGINE_READ_FENCES) {
                end = transaction_apply(transaction);
                end = lost && end == BATCH_SAVED ? BATCH_UNKNOWN : end;
        }
        coverage.ends[pending->batch->kind][end]++;
        trace("EVENT batch %p %s ends: %d (%zu rows)", (void *)pending->batch,
              pending->type == ENGINE_SAVE          ? "save"
              : pending->type == ENGINE_SAVE_EACH   ? "save_each"
              : pending->type == ENGINE_READ_FENCES ? "read_fences"
                                                    : "reject",
              end, transaction->n_rows);
        if (pending->type == ENGINE_READ_FENCES) {
                int64_t fences[LOGS];
                size_t n = pending->batch->n_parts;
                for (size_t i = 0; i < n; i++) {
                        const Partition *partition = pending->batch->parts[i].partition;
                        const Log *log = log_of(partition);
                        fences[i] = log->has_source && log->source == partition->source ? log->fence
                                                                                        : -1;
                        trace("      fence of %d is %" PRId64, log->index, fences[i]);
                }
                static RefusedRow refused[RECORDS_MAX];
                n = refused_before(pending->batch, refused);
                ENGINE(engine_fences_read(world.engine, pending->batch,
                                          end == BATCH_SAVED ? fences : NULL, refused, n,
                                          world.now));
        } else if (pending->type == ENGINE_SAVE_EACH) {
                ENGINE(engine_saved_each(world.engine, pending->batch, end, transaction->refused,
                                         end == BATCH_SAVED ? transaction->n_refused : 0,
                                         world.now));
        } else {
                ENGINE(engine_saved(world.engine, pending->batch, end, world.now));
        }
}

static void answer_run(Pending *pending) {
        static const Outcome outcomes[] = {OUTCOME_FAILED,    OUTCOME_NOT_STARTED, OUTCOME_UNKNOWN,
                                           OUTCOME_OUTAGE,    OUTCOME_POISON,      OUTCOME_INTERNAL,
                                           OUTCOME_SUPPRESSED};
        Outcome outcome = fault(35) ? outcomes[below(7)] : OUTCOME_DONE;
        bool good = outcome_is_success(outcome) ||
                    (outcome == OUTCOME_UNKNOWN && world.config.on_unknown == ON_UNKNOWN_DONE);
        trace("EVENT run %" PRIu64 " of %s ends: %s", pending->run->id, run_host(pending->run),
              outcome_name(outcome));
        list_for_each(link, &pending->run->messages) {
                const Message *message = container_of(link, Message, host_link);
                LogRecord *record = find_record(log_of(message->partition), message->offset);
                if (good && record != NULL) {
                        record->restarts++;
                }
        }
        ENGINE(engine_restarted(world.engine, pending->run, outcome, chance(80), "detail",
                                world.now));
}

static CommitResult *result_of(CommitResult *results, const Part *part) {
        const Commit *commit = engine_commit(world.engine);
        for (size_t i = 0; part != NULL && i < commit->n; i++) {
                if (commit->entries[i].partition == part->user) {
                        return &results[i];
                }
        }
        return NULL;
}

static void answer_looked(Pending *pending) {
        CommitResult results[4 * LOGS] = {{0}};
        bool none = kafka_is_away() || fault(6);
        for (size_t i = 0; i < pending->n; i++) {
                CommitResult *result =
                        result_of(results, part_of_id(pending->logs[i], pending->ids[i]));
                if (result != NULL) {
                        *result = (CommitResult){.offset = pending->logs[i]->committed,
                                                 .ok = !none && !fault(3)};
                }
        }
        world.looking = false;
        ENGINE(engine_committed_seen(world.engine, results, world.now));
}

static void answer_commit(Pending *pending) {
        CommitResult results[4 * LOGS] = {{0}};
        bool lost = fault(6), refused = kafka_is_away() || fault(6);
        for (size_t i = 0; i < pending->n; i++) {
                Log *log = pending->logs[i];
                Part *part = part_of_id(log, pending->ids[i]);
                bool ok = !refused && !fault(3);
                if (ok && part != NULL) { /* a broker refuses an old generation */
                        check_commit(log, pending->offsets[i]);
                        trace("KAFKA partition %d: committed %" PRId64 "%s", log->index,
                              pending->offsets[i], lost ? ", and the reply is lost" : "");
                        log->committed = pending->offsets[i];
                        log->ours = true;
                        log->reset = false;
                }
                CommitResult *result = result_of(results, part);
                if (result != NULL) {
                        *result = (CommitResult){.offset = pending->offsets[i], .ok = ok && !lost};
                }
        }
        world.committing = false;
        ENGINE(engine_committed(world.engine, results, world.now));
}

/* Something that is under way ends, or a batch is given a connection. */
static bool answer_one(void) {
        size_t ready[PENDING_MAX], n = 0;
        for (size_t i = 0; i < world.n_pending; i++) {
                if (world.pending[i].ready <= world.now) {
                        ready[n++] = i;
                }
        }
        if (n == 0) {
                return false;
        }
        size_t at = ready[below(n)];
        Pending *one = &world.pending[at], pending;
        if (database_is_away() &&
            (one->kind == READ_SOURCE || one->kind == ADOPT || one->kind == MOVE_FENCE ||
             (one->kind == BATCH && !one->begun))) {
                one->ready = world.now + 100 * MS; /* it waits for a connection */
                return true;
        }
        if (one->kind == BATCH && !one->begun && !fault(3)) {
                if (at_the_database() >= world.config.batches) {
                        one->ready = world.now + 1 * MS;
                        return true;
                }
                if (transaction_make(&one->transaction, one->type, one->batch)) {
                        one->begun = true;
                        if (one->type != ENGINE_READ_FENCES && chance(30)) {
                                /* It is through at once, and only the reply takes its time. */
                                one->applied = true;
                                one->end = transaction_apply(&one->transaction);
                        }
                        one->ready =
                                world.now + 200 + (int64_t)below(chance(95) ? 30 * MS : 9 * SECOND);
                        return true;
                }
        }
        pending_remove(at, &pending);
        switch (pending.kind) {
        case LOOK_UP:
                answer_look_up(&pending);
                break;
        case READ_SOURCE:
                answer_source(&pending);
                break;
        case ADOPT:
        case MOVE_FENCE:
                answer_adopt(&pending);
                break;
        case BATCH:
                answer_batch(&pending);
                break;
        case RUN:
                answer_run(&pending);
                break;
        case LOOK_COMMITTED:
                answer_looked(&pending);
                break;
        case COMMIT:
                answer_commit(&pending);
                break;
        }
        pending_free(&pending);
        return true;
}

/* --- actions, as app/pipeline.c carries them out ------------------------------------------ */

static void ask(const EngineAction *action, PendingKind kind) {
        Partition *partition = action->partition;
        if (partition->state != PARTITION_READING && partition->state != PARTITION_ADOPTING) {
                return;
        }
        Pending *pending = pending_add(kind);
        pending->partition = partition_ref(partition);
        pending->log = log_of(partition);
        pending->generation = pending->log->generation;
        pending->offset = action->offset;
        pending->source = partition->source;
        pending->from = partition->fence;
}

static void order(const EngineAction *action) {
        for (size_t i = 0; i < world.n_pending; i++) {
                if (world.pending[i].kind == BATCH && world.pending[i].batch == action->batch) {
                        broken(2, "a batch is under way twice");
                }
        }
        Pending *pending = pending_add(BATCH);
        pending->type = action->type;
        pending->batch = action->batch;
}

static void commit_send(bool look) {
        const Commit *commit = engine_commit(world.engine);
        Pending made = {.kind = look ? LOOK_COMMITTED : COMMIT};
        if (world.committing || world.looking) {
                broken(5, "two commits in flight");
        }
        for (size_t i = 0; i < commit->n; i++) {
                const CommitEntry *entry = &commit->entries[i];
                if (entry->partition->state == PARTITION_GONE) {
                        continue;
                }
                const Part *part = entry->partition->handle;
                if (log_of(entry->partition)->part != part) {
                        broken(5, "a commit for a partition that is not ours");
                }
                assert(made.n < LOGS);
                made.logs[made.n] = part->log;
                made.ids[made.n] = part->id;
                made.offsets[made.n++] = entry->offset;
                trace("      %s %d: %" PRId64, look ? "look at" : "commit", part->log->index,
                      entry->offset);
        }
        if (made.n == 0) {
                if (look) {
                        ENGINE(engine_committed_seen(world.engine, NULL, world.now));
                } else {
                        ENGINE(engine_committed(world.engine, NULL, world.now));
                }
                return;
        }
        Pending *pending = pending_add(made.kind);
        made.ready = pending->ready;
        *pending = made;
        if (look) {
                world.looking = true;
                if (world.now - world.window >= SECOND) {
                        world.window = world.now;
                        world.looks = 0;
                }
                if (++world.looks > LOOKS_A_SECOND) {
                        broken(19, "%d looks at the committed offsets in a second: a spin",
                               world.looks);
                }
        } else {
                world.committing = true;
        }
}

static void start_run(Run *run) {
        if (world.stopping) {
                broken(8, "a restart starts after the stop");
        }
        bool wanted = false;
        for (size_t i = 0; i < world.n_pending; i++) {
                if (world.pending[i].kind == RUN &&
                    strcmp(run_host(world.pending[i].run), run_host(run)) == 0) {
                        broken(7, "two restarts of %s at once", run_host(run));
                }
        }
        list_for_each(link, &run->messages) {
                const Message *message = container_of(link, Message, host_link);
                const HandlerTask *task = &message->handlers[HANDLER_RESTART];
                const LogRecord *record = find_record(log_of(message->partition), message->offset);
                if (record != NULL && record->epoch == message->partition->epoch) {
                        broken(3, "%" PRId64 " was rejected before and is handled again",
                               message->offset);
                }
                if (task->charged >= world.config.attempts) {
                        broken(11, "an attempt too many");
                }
                if (task->attempts > 0 && world.now < task->ended_us + BACKOFF_MIN_US) {
                        broken(10, "a retry after %" PRId64 " us", world.now - task->ended_us);
                }
                PartitionState state = message->partition->state;
                wanted = wanted || state == PARTITION_ACTIVE || state == PARTITION_STOPPED;
        }
        if (!wanted) { /* whoever owns them next starts it too */
                broken(15, "a restart of %s for nobody, or for what was revoked", run_host(run));
        }
        Pending *pending = pending_add(RUN);
        pending->run = run;
        trace("      run %" PRIu64 " of %s, attempt %d", run->id, run_host(run), run->attempt);
}

static void carry_out(const EngineAction *action) {
        Partition *partition = action->partition;
        Part *part = partition != NULL ? partition->handle : NULL;
        coverage.actions[action->type]++;
        switch (action->type) {
        case ENGINE_LOOK_UP:
                if (partition->state == PARTITION_LOOKING_UP || partition->doubted) {
                        world.look_ups[world.n_look_ups++] = part;
                }
                return;
        case ENGINE_READ_SOURCE:
                ask(action, READ_SOURCE);
                return;
        case ENGINE_ADOPT:
                ask(action, ADOPT);
                return;
        case ENGINE_MOVE_FENCE:
                ask(action, MOVE_FENCE);
                return;
        case ENGINE_SEEK:
                if (partition->state == PARTITION_SEEKING) {
                        bool ok = !part->revoked && !fault(10);
                        if (ok) {
                                part->position = action->offset;
                                part->paused = false;
                        }
                        ENGINE(engine_sought(world.engine, partition, ok, world.now));
                }
                return;
        case ENGINE_PAUSE:
                if (partition->state == PARTITION_ACTIVE) {
                        part->paused = true;
                }
                return;
        case ENGINE_RESUME:
                if (partition->state == PARTITION_ACTIVE) {
                        bool ok = !part->revoked && !fault(10);
                        if (ok) {
                                part->position = action->offset;
                                part->paused = false;
                        }
                        ENGINE(engine_resumed(world.engine, partition, ok, world.now));
                }
                return;
        case ENGINE_READ:
                world.reading = action->on;
                return;
        case ENGINE_SAVE:
        case ENGINE_SAVE_EACH:
        case ENGINE_READ_FENCES:
        case ENGINE_REJECT:
                order(action);
                return;
        case ENGINE_RESTART:
                start_run(action->run);
                return;
        case ENGINE_LOOK_COMMITTED:
                commit_send(true);
                return;
        case ENGINE_COMMIT:
                commit_send(false);
                return;
        case ENGINE_UNASSIGN:
                trace("      unassign");
                unassign();
                return;
        case ENGINE_FINISHED:
                trace("      finished %d/%" PRId64 ": %s", action->message->partition->partition,
                      action->message->offset, finish_name(action->finish));
                check_finished(action->message, action->finish);
                message_free(action->message);
                return;
        case ENGINE_NOTE:
                coverage.notes[action->note]++;
                trace("      note %d%s%s", action->note, partition != NULL ? " " : "",
                      partition != NULL ? partition_state_name(partition->state) : "");
                if (action->note == NOTE_RETRY &&
                    (action->delay_us < BACKOFF_MIN_US ||
                     action->delay_us > world.config.backoff_max_us)) {
                        broken(10, "a delay of %" PRId64, action->delay_us);
                }
                return;
        }
}

static void turn(void) {
        EngineAction action;
        bool taken = true;
        uint64_t n = 0;
        /* A turn may be too long: the rest is for the next. */
        uint64_t limit = chance(25) ? 1 + below(8) : UINT64_MAX;
        while (taken && n < limit) {
                taken = false;
                ENGINE(engine_next_action(world.engine, &action, &taken));
                if (taken) {
                        carry_out(&action);
                }
                if (++n > 200000) {
                        broken(19, "a turn that does not end");
                }
        }
        for (size_t i = 0; i < world.n_look_ups; i++) {
                Part *part = world.look_ups[i];
                Pending *pending = pending_add(LOOK_UP);
                pending->log = part->log;
                pending->part_id = part->id;
        }
        world.n_look_ups = 0;
        world.partial = taken;
        check_always();
        if (!world.partial) {
                check_waits();
        }
}

/* --- time --------------------------------------------------------------------------------- */

static void advance(int64_t at_most) {
        int64_t to = world.now + at_most;
        int64_t due = engine_deadline(world.engine);
        for (size_t i = 0; i < world.n_pending; i++) {
                if (world.pending[i].ready > world.now && world.pending[i].ready < to) {
                        to = world.pending[i].ready;
                }
        }
        if (due < to) {
                to = due > world.now ? due : world.now;
        }
        world.now = to;
        world.wall = to;
        if (due <= world.now) {
                ENGINE(engine_tick(world.engine, world.now));
                turn();
                if (!world.dead && engine_deadline(world.engine) <= world.now) {
                        /* At once again: allowed now and then, a spin when it goes on. */
                        static int64_t at, n;
                        n = at == world.now ? n + 1 : 0;
                        at = world.now;
                        if (n > 1000) {
                                broken(19, "the deadline does not pass");
                        }
                }
        }
}

/* --- lives -------------------------------------------------------------------------------- */

static void life_begin(void) {
        static const size_t counts[] = {1, 4, 16, 64};
        world.lives++;
        EngineConfig old = world.config;
        world.config = (EngineConfig){.format = {"host", "id", "requested_at"},
                                      .save = world.lives > 1 ? old.save : !chance(15),
                                      .restart = world.lives > 1 ? old.restart : !chance(15),
                                      .allow = allow,
                                      .deny = deny,
                                      .on_unknown = (OnUnknown)below(3),
                                      .concurrency = below(4),
                                      .in_flight = counts[below(4)],
                                      .in_flight_bytes = chance(50) ? 1 << 20 : 500,
                                      .waiting = counts[below(4)],
                                      .ack_gap = chance(50) ? 1 << 20 : 4 + below(20),
                                      .keep_payload = chance(30),
                                      .message_bytes = 200,
                                      .batches = 1 + below(3),
                                      .batch_rows = 1 + below(8),
                                      .batch_bytes = chance(50) ? 1 << 20 : 100,
                                      .attempts = 1 + (int)below(3),
                                      .backoff_us = chance(50) ? SECOND : 10 * MS,
                                      .backoff_max_us = 20 * SECOND,
                                      .commit_interval_us = chance(70) ? SECOND : 10 * SECOND,
                                      .drain_us = 5 * SECOND};
        if (engine_new(&world.engine, &world.config, random_next(&world.random)) != 0) {
                broken(0, "no engine");
        }
        world.reading = true;
        world.stopping = world.dead = world.revoking = false;
        world.committing = world.looking = false;
}

/* Everything that is under way ends without a word to the engine; at the database it may go on. */
static void life_end(void) {
        while (world.n_pending > 0) {
                Pending pending;
                pending_remove(world.n_pending - 1, &pending);
                if (pending.kind == BATCH && pending.begun && !pending.applied &&
                    pending.type != ENGINE_READ_FENCES && chance(50)) {
                        ghost_lives(&pending.transaction);
                }
                pending_free(&pending);
        }
        engine_free(world.engine);
        world.engine = NULL;
        world.n_look_ups = 0;
        for (int i = 0; i < LOGS; i++) {
                for (size_t k = 0; k < world.logs[i].n; k++) {
                        world.logs[i].records[k].epoch = 0; /* the next life counts from 1 again */
                }
                free(world.logs[i].part);
                world.logs[i].part = NULL;
        }
}

/* As app/shutdown.c: stop, wait a while, release, flush, leave. */
static void life_stop(void) {
        trace("STOP");
        coverage.stops++;
        ENGINE(engine_stop(world.engine, world.now));
        world.stopping = true;
        world.reading = false;
        int64_t grace = world.now + (int64_t)below(20 * SECOND);
        bool whole = chance(50);
        int64_t marks[LOGS];
        int idle = 0;
        while ((whole || world.now < grace) && !engine_is_quiet(world.engine)) {
                if (chance(50)) {
                        turn();
                }
                if (fault(1)) {
                        revoke(chance(50), chance(20));
                }
                if (!answer_one()) {
                        int64_t before = world.now;
                        turn();
                        advance(SECOND);
                        idle = world.now == before && world.n_pending == 0 ? idle + 1 : 0;
                        if (idle > 1000 && whole && !world.dead) {
                                broken(16, "the stop waits for nothing");
                        }
                        if (idle > 1000) {
                                break;
                        }
                        if (world.dead && world.n_pending == 0) {
                                break;
                        }
                }
        }
        if (chance(50)) {
                turn();
        }
        trace("RELEASE %zu", engine_in_flight(world.engine));
        ENGINE(engine_release(world.engine, world.now));
        for (int i = 0;
             i < 1000 && engine_in_flight(world.engine) + engine_waiting(world.engine) > 0; i++) {
                turn();
        }
        if (engine_in_flight(world.engine) + engine_waiting(world.engine) != 0 && !world.dead) {
                broken(16, "%zu in flight after the release", engine_in_flight(world.engine));
        }
        for (int i = 0; i < LOGS; i++) {
                const Part *part = world.logs[i].part;
                const Partition *partition = part != NULL && !part->revoked ? part->user : NULL;
                bool ours = partition != NULL && partition->committed != INT64_MAX;
                marks[i] = ours ? partition->offsets.watermark : -1;
        }
        trace("FLUSH");
        ENGINE(engine_flush(world.engine, world.now));
        int64_t until = world.now + 1500 * MS;
        bool disturbed = world.revoking;
        while (!engine_is_committed(world.engine) && world.now < until) {
                turn();
                if (fault(1)) {
                        revoke(true, false);
                        disturbed = true;
                }
                if (!answer_one()) {
                        advance(100 * MS);
                }
        }
        bool committed = engine_is_committed(world.engine);
        trace("LEAVE, %s", committed ? "committed" : "not committed");
        for (int i = 0; i < LOGS && committed && !world.dead; i++) {
                if (world.logs[i].committed < marks[i] && !world.logs[i].reset &&
                    !world.logs[i].remade) {
                        broken(16, "partition %d: confirmed, but %" PRId64 " is not %" PRId64 "%s",
                               i, world.logs[i].committed, marks[i],
                               disturbed ? " (a revoke came meanwhile)" : "");
                }
        }
        revoke(true, false);
        turn();
        turn();
        until = world.now + SECOND;
        while (world.revoking && world.now < until) {
                if (!answer_one()) {
                        advance(100 * MS);
                }
                turn();
        }
        if (world.revoking && !world.dead) {
                broken(16, "leaving waits for a drain");
        }
        life_end();
}

static void operator_acts(Log *log) {
        const Partition *partition =
                log->part != NULL && !log->part->revoked ? log->part->user : NULL;
        if (partition != NULL && partition->state == PARTITION_COMMITTING && log->committed < 0) {
                trace("ZOMBIE partition %d: committed %" PRId64, log->index, partition->start);
                log->committed = partition->start; /* a member that does not know that it is none */
                log->ours = true;
        }
        if (partition != NULL && partition->state == PARTITION_STOPPED && !world.revoking &&
            !world.committing && !world.looking && list_is_empty(&partition->messages) &&
            partition->offsets.watermark <= partition->committed) {
                /* ackd partition: with --new-topic a new source, while we look at it every 5 s */
                bool anew = log->remade || !log->has_source || chance(50);
                int64_t from = log->low + (int64_t)below((uint64_t)(log->high - log->low) + 1);
                if (anew) {
                        log->source = ++world.sources;
                        log->fence = from;
                        log->fence_moved = log->remade = false;
                        log->snapshot = -1;
                }
                log->has_source = log->reset = log->is_decided = true;
                log->decided_from = from;
                for (size_t i = 0; i < log->n; i++) {
                        LogRecord *record = &log->records[i];
                        record->excused = record->excused || record->offset < from;
                        if (anew) {
                                record->rows = record->restarts = 0;
                                record->rejected = false;
                        }
                }
                trace("DECIDED partition %d (%s): from %" PRId64 "%s", log->index,
                      partition->stopped, from, anew ? ", anew" : "");
                coverage.decided++;
        }
        if (log->part != NULL) {
                return;
        }
        if (log->remade) {
                return; /* with a tool's commit nobody could tell that it was made again */
        }
        if (chance(30)) { /* offsets moved by a tool: forward or back, never below the log */
                int64_t to = log->low + (int64_t)below((uint64_t)(log->high - log->low) + 1);
                trace("TOOL partition %d: committed %" PRId64 " -> %" PRId64, log->index,
                      log->committed, to);
                for (size_t i = 0; i < log->n; i++) {
                        LogRecord *record = &log->records[i];
                        record->excused = record->excused || record->offset < to;
                }
                log->committed = to;
                log->ours = false;
                log->reset = true;
        } else if (chance(20)) { /* the topic is made again */
                trace("TOPIC %d is made again", log->index);
                log->n = 0;
                log->low = 0;
                log->high = 0;
                log->committed = -1;
                log->generation++;
                log->remade = log->has_source;
                /* Otherwise assignment_plan() goes on at the fence: a finding of its own. */
                log->fence_moved = true;
        }
}

/* Every fault ends; what stands still is given to the operator; everything must come to its end. */
static void heal(void) {
        coverage.heals++;
        world.faults = false;
        world.kafka_back = world.database_back = world.table_back = 0;
        trace("HEAL");
        ENGINE(engine_database_up(world.engine, world.now));
        for (int i = 0; i < LOGS; i++) {
                world.logs[i].snapshot = -1;
        }
        int64_t until = world.now + HEAL_US;
        uint64_t steps = 0;
        for (;;) {
                bool done = true;
                turn();
                for (int i = 0; i < LOGS; i++) {
                        Log *log = &world.logs[i];
                        int64_t end = log->n > 0 ? log->high : log->committed;
                        if (log->part == NULL && log->decided && !world.committing) {
                                /* ackd partition: a new source from the beginning of the log */
                                log->decided = log->has_source = log->remade = false;
                                log->is_decided = false;
                                log->committed = -1;
                                for (size_t k = 0; k < log->n; k++) {
                                        log->records[k].rows = 0;
                                        log->records[k].rejected = false;
                                }
                        }
                        if (log->part == NULL && !world.revoking && !log->decided) {
                                assign(log);
                        }
                        Partition *partition = log->part != NULL ? log->part->user : NULL;
                        if (partition != NULL && partition->state == PARTITION_STOPPED &&
                            !world.revoking && !world.committing && !world.looking &&
                            list_is_empty(&partition->messages) &&
                            partition->offsets.watermark <= partition->committed) {
                                trace("OPERATOR partition %d: %s", i, partition->stopped);
                                log->decided = true;
                                log->part->revoked = true;
                                world.revoking = true;
                                coverage.stop_reasons[i % 4]++;
                                ENGINE(engine_revoked(world.engine, &partition, 1, false,
                                                      world.now));
                                turn();
                                done = false;
                        }
                        done = done && partition != NULL && partition->state == PARTITION_ACTIVE &&
                               log->committed >= end;
                }
                if (done) {
                        break;
                }
                if (world.now > until || ++steps > 400000) {
                        for (int i = 0; i < LOGS; i++) {
                                const Log *log = &world.logs[i];
                                const Partition *p = log->part != NULL ? log->part->user : NULL;
                                fprintf(stderr,
                                        "  %d: %s committed %" PRId64 " high %" PRId64
                                        " fence %" PRId64 " watermark %" PRId64 "\n",
                                        i, p != NULL ? partition_state_name(p->state) : "-",
                                        log->committed, log->high, log->fence,
                                        p != NULL ? p->offsets.watermark : -1);
                        }
                        broken(19,
                               "the lag does not reach 0: %zu in flight, %zu pending, reading %d",
                               engine_in_flight(world.engine), world.n_pending, world.reading);
                }
                for (int i = 0; i < 10; i++) {
                        fetch_some();
                }
                if (!answer_one()) {
                        advance(SECOND);
                }
        }
        for (int i = 0; i < LOGS; i++) {
                for (size_t k = 0; k < world.logs[i].n; k++) {
                        const LogRecord *record = &world.logs[i].records[k];
                        if (!record->excused && !is_resolved(record)) {
                                broken(3, "partition %d: %" PRId64 " was never resolved", i,
                                       record->offset);
                        }
                }
        }
        world.faults = true;
}

static void step(void) {
        unsigned dice = (unsigned)below(1000);
        Log *log = &world.logs[below(LOGS)];
        if (dice < 420) {
                answer_one();
        } else if (dice < 620) {
                fetch_some();
        } else if (dice < 680) {
                produce(log);
        } else if (dice < 715) {
                assign(log);
        } else if (dice < 723) {
                revoke(chance(60), chance(20));
        } else if (dice < 735) {
                ghost_ends();
        } else if (dice < 745) {
                other_member(log);
        } else if (dice < 750) {
                log->snapshot = log->fence;
        } else if (dice < 752) {
                database_goes_back(log);
        } else if (dice < 758) {
                operator_acts(log);
        } else if (dice < 759) {
                int64_t back = world.now + (int64_t)below(30 * SECOND);
                trace("AWAY");
                *(chance(50)   ? &world.kafka_back
                  : chance(60) ? &world.database_back
                               : &world.table_back) = back;
        } else if (dice == 761 && !database_is_away()) {
                trace("EVENT the database is up");
                ENGINE(engine_database_up(world.engine, world.now));
        } else if (dice < 760 && log->part != NULL && !log->part->paused && !log->part->revoked) {
                bool lost = chance(30);
                trace("EVENT %s %d", lost ? "out of range" : "vanished", log->index);
                if (lost) {
                        ENGINE(engine_out_of_range(world.engine, log->part->user, world.now));
                } else {
                        ENGINE(engine_vanished(world.engine, log->part->user, world.now));
                }
        } else {
                advance(chance(70) ? (int64_t)below(30 * MS) : (int64_t)below(4 * SECOND));
        }
        if (chance(60) && !world.dead) {
                turn();
        }
}

static void run_seed(uint64_t seed, uint64_t steps, bool tracing, bool oom) {
        LogRecord *records[LOGS];
        world = (World){.seed = seed, .random = seed * 7919 + 1, .trace = tracing, .oom = oom};
        world.now = world.wall = 1000 * (int64_t)SECOND;
        world.faults = true;
        for (int i = 0; i < LOGS; i++) {
                records[i] = calloc(RECORDS_MAX, sizeof(LogRecord));
                world.logs[i] =
                        (Log){.index = i, .records = records[i], .committed = -1, .snapshot = -1};
                world.logs[i].low = world.logs[i].high = (int64_t)below(100);
                produce(&world.logs[i]);
        }
        life_begin();
        for (uint64_t i = 0; i < steps; i++) {
                step();
                if (world.dead || below(400) == 0) {
                        if (!world.dead && chance(40)) {
                                coverage.crashes++;
                                trace("CRASH");
                                life_end();
                        } else {
                                life_stop();
                        }
                        life_begin();
                }
        }
        world.oom = false;
        if (!world.dead) {
                heal();
        }
        life_stop();
        while (world.n_ghosts > 0) {
                transaction_deinit(&world.ghosts[--world.n_ghosts]);
        }
        for (int i = 0; i < LOGS; i++) {
                free(records[i]);
        }
        coverage.events += world.events;
}

int main(int argc, char **argv) {
        uint64_t seeds = 200, first = 1, steps = 1500;
        bool tracing = false, oom = false;
        for (int i = 1; i < argc; i++) {
                const char *value = i + 1 < argc ? argv[i + 1] : "0";
                if (strcmp(argv[i], "--seeds") == 0) {
                        seeds = strtoull(value, NULL, 10), i++;
                } else if (strcmp(argv[i], "--seed") == 0) {
                        first = strtoull(value, NULL, 10), seeds = 1, i++;
                } else if (strcmp(argv[i], "--first") == 0) {
                        first = strtoull(value, NULL, 10), i++;
                } else if (strcmp(argv[i], "--steps") == 0) {
                        steps = strtoull(value, NULL, 10), i++;
                } else if (strcmp(argv[i], "--trace") == 0) {
                        tracing = true;
                } else if (strcmp(argv[i], "--oom") == 0) {
                        oom = true;
                }
        }
        for (uint64_t i = 0; i < seeds; i++) {
                run_seed(first + i, steps, tracing, oom);
        }
        printf("%" PRIu64 " seeds, %" PRIu64 " events: no rule broken\nactions:", seeds,
               coverage.events);
        for (size_t i = 0; i <= ENGINE_NOTE; i++) {
                printf(" %" PRIu64, coverage.actions[i]);
        }
        printf("\nnotes:");
        for (size_t i = 0; i <= NOTE_DRAIN_TIMEOUT; i++) {
                printf(" %" PRIu64, coverage.notes[i]);
        }
        printf("\nfinished:");
        for (int i = 0; i < FINISH_COUNT; i++) {
                printf(" %s %" PRIu64, finish_name((Finish)i), coverage.finishes[i]);
        }
        for (int k = 0; k < 2; k++) {
                printf("\n%s ends (saved refused fence outage unknown):",
                       k == 0 ? "save" : "reject");
                for (size_t i = 0; i <= BATCH_UNKNOWN; i++) {
                        printf(" %" PRIu64, coverage.ends[k][i]);
                }
        }
        printf("\nrevokes %" PRIu64 " (lost %" PRIu64 ") stops %" PRIu64 " crashes %" PRIu64
               " ghosts %" PRIu64 " restores %" PRIu64 " oom %" PRIu64 " heals %" PRIu64
               " decided %" PRIu64 " log ends %" PRIu64 "\n",
               coverage.revokes, coverage.lost, coverage.stops, coverage.crashes, coverage.ghosts,
               coverage.restores, coverage.oom, coverage.heals, coverage.decided,
               coverage.log_ends);
        return 0;
}
