/*
 * The world is not believed either: the simulated PostgreSQL beside a real one. A sequence of
 * operations, all of it from its seed, is given to the Store and, through ackd's own code, to the
 * server that ACKD_TEST_DSN names; every answer is compared, and at the end of each sequence all
 * that the tables hold. Where they differ, the simulation is wrong.
 *
 * A sequence has a topic of its own and is read back by it; numbers of sources are the simulation's
 * in everything that is printed.
 */

#include "../unit/pg-batch.h"
#include "handlers/save.h"
#include "pg/decision.h"
#include "pg/replays.h"
#include "pg/sources.h"
#include "store.h"
#include "twin.h"

#define DATABASE "ackd_test_store_twin"
#define CLUSTER  "cluster"
#define GROUP    "group"

enum {
        PARTITIONS = 3,           /* of a topic, at most */
        SOURCES = 32,             /* that a sequence makes */
        NOBODY = 1000,            /* the simulation's number of a source that never was, */
        REAL_NOBODY = 2000000000, /* and PostgreSQL's */
        EMPTY_AFTER = 200,        /* sequences: the tables stay small */
        DEPTH = 100000,           /* deeper than PostgreSQL's stack */
};

static struct {
        PgTest test;
        Sources *sources;
        Save *save;
        Replays *replays;
        Decider *decider;
        char topic[32];
        Store store;
        int32_t real[SOURCES]; /* of source i + 1 */
        int n_partitions;
        int64_t base;  /* offsets are near it */
        size_t broken; /* the breakage that is in place */
        bool answered;
        char *deep;
} own;

static TwinReached reached[] = {
        {"read", "no source", 0}, {"read", "moved", 0},      {"read", "decided", 0},
        {"read", "rejected", 0},  {"adopt", "ok", 0},        {"adopt", "changed", 0},
        {"move", "ok", 0},        {"move", "changed", 0},    {"move", "outage", 0},
        {"decide", "refused", 0}, {"decide", "0 kept", 0},   {"decide", "1 kept", 0},
        {"batch", "saved", 0},    {"batch", "refused", 0},   {"batch", "fence", 0},
        {"batch", "outage", 0},   {"each", "saved", 0},      {"each", "saved ", 0},
        {"each", "refused", 0},   {"each", "fence", 0},      {"each", "outage", 0},
        {"fences", "-1", 0},      {"fences", "refused ", 0}, {"reject", "saved", 0},
        {"reject", "outage", 0},  {"replays", "ours", 0},    {"replays", "ours 3", 0},
        {"replays", "taken", 0},  {"replays", "dropped", 0}, {"replays", "stray", 0},
};

static bool is_answered(void *user) {
        (void)user;
        return own.answered;
}

/* @r: of the call that asked. */
static void wait_answer(int r) {
        if (r != 0 || !pg_test_until(&own.test, is_answered, NULL)) {
                pg_test_die(text_of(&twin.what), "PostgreSQL did not answer");
        }
        own.answered = false;
}

static void answered(void) {
        own.answered = true;
        loop_stop(&own.test.loop);
}

/* --- sources ------------------------------------------------------------------------------ */

static int32_t real_of(int32_t source) {
        return source == NOBODY ? REAL_NOBODY : own.real[source - 1];
}

static int32_t simulated_of(int32_t real) {
        for (size_t i = 0; i < own.store.n; i++) {
                if (own.real[i] == real) {
                        return own.store.sources[i].id;
                }
        }
        return real == REAL_NOBODY ? NOBODY : -1;
}

/* Mostly a live one, if there is any. */
static int32_t some_source(void) {
        for (int i = 0; i < 4 && own.store.n > 0 && !chance(3); i++) {
                const StoreSource *source = &own.store.sources[below(own.store.n)];
                if (!source->retired || chance(25)) {
                        return source->id;
                }
        }
        return NOBODY;
}

static int64_t some_offset(void) {
        return own.base + (int64_t)below(12);
}

static int64_t some_committed(void) {
        return chance(25) ? -1 : some_offset();
}

/* Where the fence is, or not. */
static int64_t expected_of(int32_t id) {
        const StoreSource *source = store_source(&own.store, id);
        return source != NULL && !chance(12) ? source->fence : some_offset();
}

static SourceName name_of(int32_t partition) {
        return (SourceName){CLUSTER, own.topic, partition};
}

/* --- reading and moving ------------------------------------------------------------------- */

static const char *const adopt_names[] = {
        [ADOPT_OK] = "ok", [ADOPT_CHANGED] = "changed", [ADOPT_OUTAGE] = "outage"};

static void say_facts(Side side, const PartitionFacts *facts) {
        if (!facts->has_source) {
                SAY(side, "no source, %d decided, %zu rejected", facts->is_decided,
                    facts->n_rejected);
                return;
        }
        SAY(side, "source %d fence %" PRId64 "%s",
            side == REAL ? simulated_of(facts->source) : facts->source, facts->fence,
            facts->fence_moved ? " moved" : "");
        if (facts->is_decided) {
                SAY(side, " decided %" PRId64, facts->decided);
        }
        for (size_t i = 0; i < facts->n_rejected; i++) {
                SAY(side, "%s %" PRId64, i == 0 ? " rejected" : "", facts->rejected[i]);
        }
}

static void on_read(void *user, const PartitionFacts *facts) {
        (void)user;
        if (facts != NULL) {
                say_facts(REAL, facts);
        } else {
                SAY(REAL, "no answer");
        }
        answered();
}

static void read_source(void) {
        int32_t partition = (int32_t)below((uint64_t)own.n_partitions);
        int64_t committed = some_committed();
        SourceName name = name_of(partition);
        PartitionFacts facts = {0};
        add(&twin.what, "read partition %d committed %" PRId64, partition, committed);
        store_read_source(&own.store, partition, committed, &facts);
        say_facts(SIMULATED, &facts);
        wait_answer(sources_read(own.sources, &name, committed, on_read, NULL));
        compare();
}

static void on_adopted(void *user, AdoptEnd end, int32_t source) {
        int32_t *id = user;
        SAY(REAL, "%s", adopt_names[end]);
        *id = source;
        answered();
}

static void adopt(void) {
        int32_t partition = (int32_t)below((uint64_t)own.n_partitions), id = 0, real = 0;
        int64_t next = some_offset();
        SourceName name = name_of(partition);
        add(&twin.what, "adopt partition %d at %" PRId64, partition, next);
        AdoptEnd end = store_adopt(&own.store, partition, next, &id);
        SAY(SIMULATED, "%s", adopt_names[end]);
        wait_answer(sources_adopt(own.sources, &name, next, on_adopted, &real));
        if (end == ADOPT_OK) {
                own.real[id - 1] = real;
        }
        compare();
}

static void move_fence(void) {
        int32_t id = some_source(), real = 0;
        int64_t from = expected_of(id), to = from + (int64_t)below(7) - 2;
        add(&twin.what, "move the fence of %d from %" PRId64 " to %" PRId64, id, from, to);
        SAY(SIMULATED, "%s", adopt_names[store_move_fence(&own.store, id, from, to)]);
        wait_answer(sources_move_fence(own.sources, real_of(id), from, to, on_adopted, &real));
        compare();
}

/* --- deciding ----------------------------------------------------------------------------- */

/* What the operator was shown: the live source, mostly. */
static int32_t some_shown(int32_t live) {
        if (!chance(10)) {
                return live;
        }
        return live != 0 && chance(50) ? 0 : some_source();
}

static void decide(void) {
        int32_t partition = (int32_t)below((uint64_t)own.n_partitions);
        const StoreSource *source = store_live(&own.store, partition);
        int32_t live = source != NULL ? source->id : 0, shown = some_shown(live);
        int64_t committed = some_committed();
        Decision decision = {.from = some_offset(),
                             .anew = chance(40),
                             .who = "me",
                             .why = "why",
                             .expires = chance(50)};
        SourceName name = name_of(partition);
        PartitionFacts facts = {.committed = committed, .has_source = shown != 0};
        facts.source = shown != 0 ? real_of(shown) : 0;
        add(&twin.what, "decide partition %d from %" PRId64 "%s%s, shown %d committed %" PRId64,
            partition, decision.from, decision.anew ? " anew" : "",
            decision.expires ? " expires" : "", shown, committed);
        char *error = NULL;
        int64_t kept = 0;
        int r = decider_write(own.decider, &name, &facts, &decision, &kept, &error);
        if (r == 0) {
                SAY(REAL, "%" PRId64 " kept, ", kept);
                r = decider_read(own.decider, &name, &facts, &error);
        }
        SAY(REAL, "%s", r != 0 ? "refused" : "");
        if (shown != live) {
                SAY(SIMULATED, "refused");
        } else {
                size_t n = store_decide(&own.store, partition, decision.from, decision.anew,
                                        committed, decision.expires);
                SAY(SIMULATED, "%zu kept, ", n);
                source = store_live(&own.store, partition);
                if (source->id != live) {
                        own.real[source->id - 1] = facts.source;
                }
                PartitionFacts simulated = {0};
                store_read_source(&own.store, partition, -1, &simulated);
                simulated.n_rejected = 0; /* the command does not ask for them */
                say_facts(SIMULATED, &simulated);
        }
        if (r == 0) {
                say_facts(REAL, &facts);
        }
        free(error);
        compare();
}

/* --- breaking the table ------------------------------------------------------------------- */

/* Each refuses every row of `messages` as it comes. (Of a deferred constraint the server speaks at
 * the commit, so a batch that finds its fence elsewhere ends with that.) */
static const struct {
        const char *name, *breaks, *mends;
} breakages[] = {
        {"nothing", NULL, NULL},
        {"a CHECK", "ALTER TABLE messages ADD CONSTRAINT never CHECK (false) NOT VALID",
         "ALTER TABLE messages DROP CONSTRAINT never"},
        {"a column",
         "ALTER TABLE messages ADD extra int NOT NULL DEFAULT 0; ALTER TABLE messages ALTER extra "
         "DROP DEFAULT",
         "ALTER TABLE messages DROP extra"},
        {"a trigger that checks",
         "CREATE TRIGGER never BEFORE INSERT ON messages FOR EACH ROW EXECUTE FUNCTION "
         "never('23514')",
         "DROP TRIGGER never ON messages"},
        {"a trigger after each row",
         "CREATE TRIGGER never AFTER INSERT ON messages FOR EACH ROW EXECUTE FUNCTION "
         "never('22023')",
         "DROP TRIGGER never ON messages"},
};

static void break_table(void) {
        if (own.broken != 0) {
                pg_test_exec(own.test.sql, breakages[own.broken].mends);
                own.broken = 0;
        } else {
                own.broken = 1 + below(sizeof(breakages) / sizeof(breakages[0]) - 1);
                pg_test_exec(own.test.sql, breakages[own.broken].breaks);
        }
        own.store.broken = own.broken != 0;
        add(&twin.what, "messages is refused by %s", breakages[own.broken].name);
        compare();
}

/* --- batches ------------------------------------------------------------------------------ */

/* What a row may be like. */
static const struct {
        const char *name, *json, *id, *host, *headers;
        bool poison, deep;
} contents[] = {
        {"good", "{\"a\":1}", NULL, "web", NULL, false, false},
        {"good with all", "{\"a\":1}", "id \xc3\xa4 '\\", "web", "[[\"a\",\"b\"]]", false, false},
        {"\\u0000", "{\"a\":\"\\u0000\"}", NULL, "web", NULL, false, false},
        {"a lone surrogate", "{\"a\":\"\\ud800\"}", NULL, "web", NULL, false, false},
        {"1e999999", "{\"a\":1e999999}", NULL, NULL, NULL, false, false},
        {"invalid UTF-8", "{\"a\":\"\xff\"}", NULL, "web", NULL, true, false},
        {"a cut character", "{\"a\":\"\xe2\x82\"}", NULL, "web", NULL, true, false},
        {"a surrogate in UTF-8", "{\"a\":\"\xed\xa0\x80\"}", NULL, "web", NULL, true, false},
        {"no JSON", "{\"a\":", NULL, "web", NULL, true, false},
        {"trailing bytes", "{} {}", NULL, "web", NULL, true, false},
        {"empty", "", NULL, "web", NULL, true, false},
        {"no value", NULL, NULL, "web", NULL, true, false},
        {"a bad id", "{}", "\xc0\x80", "web", NULL, true, false},
        {"a bad host", "{}", NULL, "\xff", NULL, true, false},
        {"bad headers", "{}", NULL, "web", "no json \xff", true, false},
        {"a host that a CHECK refuses", "{}", NULL, "nowhere", NULL, true, false},
        {"a host that a trigger refuses", "{}", NULL, "anywhere", NULL, true, false},
        {"too deep", NULL, NULL, "web", NULL, true, true},
};

enum {
        CONTENTS = sizeof(contents) / sizeof(contents[0]),
        GOOD_CONTENTS = 5, /* the first ones */
};

typedef enum Call {
        CALL_SAVE,
        CALL_EACH,
        CALL_FENCES,
        CALL_REJECT,
        CALLS,
} Call;

static const char *const call_names[] = {"batch", "each", "fences", "reject"};

static int (*const calls[])(Save *, Batch *) = {save_batch, save_batch_each, save_read_fences,
                                                save_reject};

static const char *const end_names[] = {[BATCH_SAVED] = "saved",
                                        [BATCH_REFUSED] = "refused",
                                        [BATCH_FENCE] = "fence",
                                        [BATCH_OUTAGE] = "outage",
                                        [BATCH_UNKNOWN] = "unknown"};

static int compare_refused(const void *a, const void *b) {
        const RefusedRow *x = a, *y = b;
        if (x->source != y->source) {
                return x->source < y->source ? -1 : 1;
        }
        return x->offset < y->offset ? -1 : x->offset > y->offset;
}

static void say_refused(Side side, const RefusedRow *rows, size_t n) {
        RefusedRow *sorted = malloc((n + 1) * sizeof(*sorted));
        for (size_t i = 0; i < n; i++) {
                sorted[i] = rows[i];
                sorted[i].source = side == REAL ? simulated_of(rows[i].source) : rows[i].source;
        }
        qsort(sorted, n, sizeof(*sorted), compare_refused);
        for (size_t i = 0; i < n; i++) {
                SAY(side, " %d:%" PRId64, sorted[i].source, sorted[i].offset);
        }
        free(sorted);
}

static void on_saved(void *user, Batch *batch, BatchEnd end) {
        (void)user;
        (void)batch;
        SAY(REAL, "%s", end_names[end]);
        answered();
}

static void on_saved_each(void *user, Batch *batch, BatchEnd end, const RefusedRow *refused,
                          size_t n_refused) {
        on_saved(user, batch, end);
        say_refused(REAL, refused, n_refused);
}

static void on_fences_read(void *user, Batch *batch, const int64_t *fences,
                           const RefusedRow *refused, size_t n_refused) {
        (void)user;
        SAY(REAL, "fences");
        for (size_t i = 0; fences != NULL && i < batch->n_parts; i++) {
                SAY(REAL, " %" PRId64, fences[i]);
        }
        SAY(REAL, fences != NULL ? "; refused" : " no answer");
        say_refused(REAL, refused, n_refused);
        answered();
}

static const SaveEvents events = {on_saved, on_saved_each, on_fences_read};

static MessageRecord some_record(void) {
        uint64_t n = below(10);
        return n < 7 ? MESSAGE_ROW : n < 9 ? MESSAGE_FAULTY : MESSAGE_NO_ROW;
}

/* Some are done. One that has not ended is not, nor one that failed. */
static HandlerTask some_restart(void) {
        static const HandlerTask tasks[] = {
                {HANDLER_OFF, OUTCOME_DONE, 0, 0, 0},
                {HANDLER_QUEUED, OUTCOME_DONE, 0, 0, 0},
                {HANDLER_ENDED, OUTCOME_FAILED, 1, 2, 0},
                {HANDLER_ENDED, OUTCOME_SUPPRESSED, 0, 1, 0},
                {HANDLER_ENDED, OUTCOME_DONE, 0, 1, 0},
                {HANDLER_ENDED, OUTCOME_DONE, 1, 2, 0},
        };
        return tasks[below(sizeof(tasks) / sizeof(tasks[0]))];
}

static size_t some_content(unsigned percent_poison) {
        size_t i = chance(percent_poison) ? GOOD_CONTENTS + below(CONTENTS - GOOD_CONTENTS)
                                          : below(GOOD_CONTENTS);
        return contents[i].deep && !chance(10) ? 0 : i; /* it is large */
}

/* Messages of a part rise, not always from its fence on. */
static int64_t next_offset(const TestBatch *batch, const BatchPart *part, Call call) {
        const Message *last = batch->n_messages > 0 ? batch->messages[batch->n_messages - 1] : NULL;
        if (last != NULL && last->partition == part->partition) {
                return last->offset + 1 + (chance(10) ? (int64_t)below(4) : 0);
        }
        return call == CALL_REJECT || chance(10) ? some_offset() : part->expected;
}

static uint64_t value_of(const MessageBody *body) {
        char sha256[SHA256_TEXT_SIZE];
        if (body->value == NULL || sha256_text(body->value, body->value_size, sha256) != 0) {
                return 0;
        }
        return store_value(sha256);
}

/* A message of part @i, and its row in the order. */
static void add_message(TestBatch *batch, size_t i, StoreOrder *order, Call call,
                        unsigned percent_poison) {
        size_t like = some_content(percent_poison);
        const char *json = contents[like].deep ? own.deep : contents[like].json;
        BatchPart *part = &batch->parts[i];
        int64_t next = part->next, offset = next_offset(batch, part, call);
        MessageRecord record = some_record();
        Message *message = test_batch_add(batch, i, record, json, json != NULL ? strlen(json) : 0);
        part->next = next; /* which it has moved */
        message->offset = offset;
        message->id = contents[like].id;
        message->host = contents[like].host;
        message->body->headers = contents[like].headers;
        message->body->headers_size =
                contents[like].headers != NULL ? strlen(contents[like].headers) : 0;
        message->produced_us = chance(10) ? -1 : chance(5) ? INT64_MAX / 1000 * 1000 : loop_wall();
        message->handlers[HANDLER_RESTART] = some_restart();
        if (record == MESSAGE_FAULTY || call == CALL_REJECT) {
                test_message_set_fault(message, "not_json", "a 'reason' \xff");
        }
        if (call == CALL_REJECT) {
                message->fault_handler = chance(60) ? HANDLER_RESTART : HANDLER_COUNT;
                if (chance(40)) {
                        free(steal(message->body)); /* it waited, and let go of it */
                }
        }
        bool saved = call == CALL_REJECT && chance(60);
        if (saved) {
                message->handlers[HANDLER_SAVE] = (HandlerTask){HANDLER_ENDED, OUTCOME_DONE, 0, 1};
        }
        const HandlerTask *restart = &message->handlers[HANDLER_RESTART];
        bool done = restart->state == HANDLER_ENDED && outcome_is_success(restart->outcome);
        order->rows[order->n_rows++] = (StoreRow){
                .source = simulated_of(part->partition->source),
                .offset = offset,
                .record = call == CALL_REJECT ? MESSAGE_FAULTY : record,
                .poison = contents[like].poison,
                .restart_done = done,
                .save_done = record == MESSAGE_ROW && saved,
                .value = message->body != NULL ? value_of(message->body) : 0,
        };
        static const char *const records[] = {
                [MESSAGE_ROW] = "", [MESSAGE_FAULTY] = " faulty", [MESSAGE_NO_ROW] = " no row"};
        add(&twin.what, "%s %" PRId64 "%s%s %s", order->n_rows == 1 ? ":" : ",", offset,
            records[record], done ? " restarted" : "", contents[like].name);
}

/* A part of @id: what is released before it is sent takes its fence with it. */
static void add_part(TestBatch *batch, int32_t id, StoreOrder *order, Call call,
                     unsigned percent_poison) {
        int64_t expected = expected_of(id);
        size_t i =
                test_batch_add_part(batch, test_partition_new(own.topic, 0, real_of(id)), expected);
        size_t rows = chance(10) ? 0 : 1 + below(4);
        BatchPart *part = &batch->parts[i];
        part->next = expected + (int64_t)rows;
        if (chance(8)) {
                part->next = expected + (int64_t)below(6) - 2;
        }
        add(&twin.what, "%s %d from %" PRId64 " to %" PRId64, i > 0 ? ";" : "", id, expected,
            part->next);
        size_t from = order->n_rows;
        for (size_t n = 0; n < rows && call != CALL_FENCES; n++) {
                add_message(batch, i, order, call, percent_poison);
        }
        bool whole = order->n_rows == from || call == CALL_REJECT || !chance(4);
        if (!whole) {
                list_unlink(&batch->messages[batch->n_messages - 1]->lane_link);
                add(&twin.what, " (released)");
                order->n_rows = from;
        }
        if (whole) {
                order->fences[order->n_fences++] = (StoreFence){id, expected, part->next};
        }
}

static void give_simulated(Call call, StoreOrder *order) {
        Store *store = &own.store;
        int64_t fences[TEST_PARTS];
        BatchEnd end = BATCH_OUTAGE; /* nothing is left to be sent */
        switch (call) {
        case CALL_SAVE:
                end = order->n_fences > 0 ? store_save(store, order) : end;
                break;
        case CALL_EACH:
                end = order->n_fences > 0 ? store_save_each(store, order) : end;
                break;
        case CALL_REJECT:
                end = order->n_rows > 0 ? store_reject(store, order) : end;
                break;
        case CALL_FENCES:
                store_fences(store, order, fences);
                SAY(SIMULATED, "fences");
                for (size_t i = 0; i < order->n_fences; i++) {
                        SAY(SIMULATED, " %" PRId64, fences[i]);
                }
                SAY(SIMULATED, "; refused");
                say_refused(SIMULATED, order->refused, order->n_refused);
                return;
        case CALLS:
                break;
        }
        SAY(SIMULATED, "%s", end_names[end]);
        if (call == CALL_EACH && end == BATCH_SAVED) {
                say_refused(SIMULATED, order->refused, order->n_refused);
        }
}

static void give_batch(Call call) {
        TestBatch batch;
        StoreRow rows[TEST_PARTS * 4];
        StoreFence fences[TEST_PARTS];
        StoreOrder order = {.rows = rows, .fences = fences};
        unsigned percent_poison = chance(50) ? 0 : chance(70) ? 30 : 100;
        test_batch_init(&batch, call == CALL_REJECT ? BATCH_REJECT : BATCH_SAVE);
        add(&twin.what, "%s", call_names[call]);
        /* In the order of their sources. */
        for (size_t i = 0; i < own.store.n && batch.batch.n_parts < TEST_PARTS - 1; i++) {
                const StoreSource *source = &own.store.sources[i];
                if (chance(source->retired ? 8 : 60)) {
                        add_part(&batch, source->id, &order, call, percent_poison);
                }
        }
        if (batch.batch.n_parts == 0 || chance(2)) {
                add_part(&batch,
                         own.store.n > 0 && batch.batch.n_parts == 0 ? some_source() : NOBODY,
                         &order, call, percent_poison);
        }
        give_simulated(call, &order);
        wait_answer(calls[call](own.save, &batch.batch));
        free(order.refused);
        test_batch_deinit(&batch);
        for (size_t i = 0; i < batch.batch.n_parts; i++) {
                free(batch.partitions[i]);
        }
        compare();
}

/* --- replays ------------------------------------------------------------------------------ */

static void say_answers(Side side, const ReplayQuestions *asked, const ReplayAnswer *answers) {
        SAY(side, answers != NULL ? "replays" : "replays: no answer");
        for (size_t i = 0; answers != NULL && i < asked->n; i++) {
                SAY(side, "%s %s", i > 0 ? ";" : "", replay_verdict_name(answers[i].verdict));
                if (answers[i].verdict == REPLAY_OURS && answers[i].done != 0) {
                        SAY(side, " %u", answers[i].done);
                }
        }
}

static void on_replays_read(void *user, ReplayQuestions *asked, const ReplayAnswer *answers) {
        (void)user;
        say_answers(REAL, asked, answers);
        answered();
}

/* One of its rows in `rejected`; NULL: it has none. */
static const StoreReject *some_row(const StoreSource *source) {
        return source != NULL && source->n_rejected > 0
                       ? &source->rejected[below(source->n_rejected)]
                       : NULL;
}

static void some_question(ReplayQuestion *simulated, ReplayQuestion *real) {
        const StoreSource *source = store_source(&own.store, some_source());
        const StoreReject *row = some_row(source);
        bool fits = row != NULL && row->value != 0 && !chance(10);
        *simulated =
                (ReplayQuestion){.by = {some_source(), chance(50) ? own.base : some_offset()},
                                 .of = {source != NULL ? source->id : NOBODY,
                                        row != NULL && !chance(10) ? row->offset : some_offset()}};
        *real = *simulated;
        real->by.source = real_of(simulated->by.source);
        real->of.source = real_of(simulated->of.source);
        /* Both compare all of it, of which the simulation keeps the head alone. */
        snprintf(simulated->sha256, sizeof(simulated->sha256), "%016" PRIx64,
                 fits ? row->value : UINT64_C(1));
        snprintf(real->sha256, sizeof(real->sha256), "%s", simulated->sha256);
        add(&twin.what, " %d:%" PRId64 " of %d:%" PRId64 "%s", simulated->by.source,
            simulated->by.offset, simulated->of.source, simulated->of.offset,
            fits ? "" : " (another value)");
}

/* The server compares the whole of the hash: it is looked up there. */
static void complete_hash(ReplayQuestion *real) {
        char sql[256];
        snprintf(
                sql, sizeof(sql),
                "SELECT coalesce((SELECT encode(sha256(value), 'hex') FROM rejected WHERE source = "
                "%d AND \"offset\" = %" PRId64 "), '')",
                real->of.source, real->of.offset);
        const char *hash = pg_test_value(own.test.sql, sql);
        if (strncmp(hash, real->sha256, 16) == 0) {
                snprintf(real->sha256, sizeof(real->sha256), "%.64s", hash);
        }
}

static void ask_replays(void) {
        size_t n = 1 + below(4);
        ReplayQuestions *simulated =
                calloc(1, sizeof(*simulated) + n * sizeof(*simulated->questions));
        ReplayQuestions *real = calloc(1, sizeof(*real) + n * sizeof(*real->questions));
        ReplayAnswer answers[4];
        simulated->n = real->n = n;
        add(&twin.what, "replays");
        for (size_t i = 0; i < n; i++) {
                some_question(&simulated->questions[i], &real->questions[i]);
                complete_hash(&real->questions[i]);
        }
        store_take_replays(&own.store, simulated, 1, answers);
        say_answers(SIMULATED, simulated, answers);
        wait_answer(replays_ask(own.replays, real));
        free(simulated);
        free(real);
        compare();
}

static void drop(void) {
        const StoreSource *source = store_source(&own.store, some_source());
        const StoreReject *row = some_row(source);
        char sql[128];
        if (row == NULL) {
                return;
        }
        snprintf(sql, sizeof(sql),
                 "UPDATE rejected SET dropped_at = now() WHERE source = %d AND \"offset\" = "
                 "%" PRId64,
                 real_of(source->id), row->offset);
        pg_test_exec(own.test.sql, sql);
        store_drop(&own.store, source->id, row->offset);
}

/* --- what the tables hold ----------------------------------------------------------------- */

static const char contents_sql[] =
        "PREPARE contents (text) AS SELECT coalesce(string_agg(format('%s: partition %s fence "
        "%s%s%s%s; saved%s; rejected%s', n, partition, next_offset, CASE WHEN updated_at <> "
        "created_at THEN ' moved' END, CASE WHEN retired_at IS NOT NULL THEN ' retired' END, "
        "' decided ' || decided_from, "
        "(SELECT string_agg(format(' %s', m.\"offset\"), '' ORDER BY m.\"offset\") FROM messages m "
        "WHERE m.source = id), "
        "(SELECT string_agg(format(' %s%s%s', r.\"offset\", CASE WHEN r.handler = 'save' THEN "
        "' by save' END, CASE WHEN 'restart-host' = ANY(r.handlers_done) THEN ' restarted' END) || "
        "CASE WHEN r.dropped_at IS NOT NULL THEN ' dropped' ELSE '' END || CASE WHEN "
        "r.replay_source IS NOT NULL THEN format(' replayed as %s:%s', (SELECT count(*) FROM "
        "partitions q WHERE q.topic = $1 AND q.id <= r.replay_source), r.replay_offset) ELSE '' "
        "END, "
        "',' ORDER BY r.\"offset\") FROM rejected r WHERE r.source = id)), E'\\n      ' ORDER BY "
        "id), '') FROM (SELECT *, row_number() OVER (ORDER BY id) n FROM partitions WHERE topic = "
        "$1) p";

static int compare_offsets(const void *a, const void *b) {
        int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
        return x < y ? -1 : x > y;
}

/* As contents_sql does. */
static void say_contents(void) {
        for (size_t i = 0; i < own.store.n; i++) {
                StoreSource *source = &own.store.sources[i];
                SAY(SIMULATED, "%s%d: partition %d fence %" PRId64 "%s%s", i > 0 ? "\n      " : "",
                    source->id, source->partition, source->fence, source->moved ? " moved" : "",
                    source->retired ? " retired" : "");
                if (source->is_decided) {
                        SAY(SIMULATED, " decided %" PRId64, source->decided);
                }
                SAY(SIMULATED, "; saved");
                if (source->n_saved > 0) {
                        qsort(source->saved, source->n_saved, sizeof(*source->saved),
                              compare_offsets);
                }
                for (size_t k = 0; k < source->n_saved; k++) {
                        SAY(SIMULATED, " %" PRId64, source->saved[k]);
                }
                SAY(SIMULATED, "; rejected");
                for (size_t k = 0; k < source->n_rejected; k++) {
                        const StoreReject *reject = &source->rejected[k];
                        SAY(SIMULATED, "%s %" PRId64 "%s%s", k > 0 ? "," : "", reject->offset,
                            reject->by_save ? " by save" : "",
                            reject->restart_done ? " restarted" : "");
                        SAY(SIMULATED, "%s", reject->dropped ? " dropped" : "");
                        if (reject->replay.source != 0) {
                                SAY(SIMULATED, " replayed as %d:%" PRId64, reject->replay.source,
                                    reject->replay.offset);
                        }
                }
        }
}

static void compare_contents(void) {
        char sql[64];
        snprintf(sql, sizeof(sql), "EXECUTE contents ('%s')", own.topic);
        PGresult *result = PQexec(own.test.sql, sql);
        if (PQresultStatus(result) != PGRES_TUPLES_OK) {
                pg_test_die(sql, PQerrorMessage(own.test.sql));
        }
        SAY(REAL, "%s", PQgetvalue(result, 0, 0));
        PQclear(result);
        say_contents();
        add(&twin.what, "all that is there");
        compare();
}

/* --- sequences ---------------------------------------------------------------------------- */

static void operate(void) {
        uint64_t n = below(100);
        twin.n++;
        twin.operations++;
        if (own.broken != 0 && chance(35)) {
                break_table();
        } else if (n < 16) {
                read_source();
        } else if (n < 26) {
                adopt();
        } else if (n < 34) {
                move_fence();
        } else if (n < 43) {
                decide();
        } else if (n < 45 && own.broken == 0) {
                break_table();
        } else if (n < 56) {
                ask_replays();
        } else if (n < 58) {
                drop();
        } else {
                give_batch(n < 69   ? CALL_SAVE
                           : n < 85 ? CALL_EACH
                           : n < 92 ? CALL_FENCES
                                    : CALL_REJECT);
        }
}

static void run_sequence(uint64_t seed) {
        twin.seed = twin.random = seed;
        twin.n = 0;
        snprintf(own.topic, sizeof(own.topic), "topic-%" PRIu64, seed);
        own.store.reopens = true;
        own.n_partitions = 1 + (int)below(PARTITIONS);
        own.base = chance(90) ? (int64_t)below(3) : INT64_C(1) << 40;
        for (int i = 0; i < own.n_partitions && !chance(20); i++) {
                adopt();
        }
        for (size_t i = 4 + below(9); i > 0 && own.store.n < SOURCES; i--) {
                operate();
        }
        if (own.broken != 0) {
                break_table();
        }
        compare_contents();
        store_deinit(&own.store);
}

/* Tables that are not logged need no fsync, and answer as others do. The two hosts are what a site
 * has added. */
static const char prepare_sql[] =
        "DO $$ DECLARE t text; BEGIN FOR t IN SELECT c.oid::regclass::text FROM pg_class c WHERE "
        "relnamespace = 'ackd'::regnamespace AND relkind = 'r' LOOP EXECUTE 'ALTER TABLE ' || t || "
        "' SET UNLOGGED'; END LOOP; END $$; "
        "ALTER TABLE messages ADD CONSTRAINT site CHECK (host <> 'nowhere'); "
        "CREATE FUNCTION never() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE 'never' USING "
        "ERRCODE = TG_ARGV[0]; END $$; "
        "CREATE FUNCTION judge() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN IF new.host = "
        "'anywhere' THEN RAISE check_violation; END IF; RETURN new; END $$; "
        "CREATE TRIGGER judge BEFORE INSERT ON messages FOR EACH ROW EXECUTE FUNCTION judge(); "
        "SET synchronous_commit = off";

static void begin(void) {
        char *error = NULL;
        pg_test_init(&own.test, DATABASE);
        pg_test_exec(own.test.sql, prepare_sql);
        pg_test_exec(own.test.sql, contents_sql);
        pg_test_open_default(&own.test, 1, 30 * 1000 * 1000);
        captured.level = LOG_ERROR;
        if (sources_new(&own.sources, own.test.pool, NULL, "ackd", GROUP, "me") != 0 ||
            replays_new(&own.replays, own.test.pool, NULL, "ackd", on_replays_read, NULL) != 0 ||
            save_new(&own.save, own.test.pool, NULL, "ackd", false, &events, NULL) != 0 ||
            decider_open(&own.decider, own.test.operate_dsn, NULL, "ackd", GROUP, &error) != 0) {
                pg_test_die("cannot begin", error != NULL ? error : "no memory");
        }
        own.deep = malloc(2 * DEPTH + 1);
        memset(own.deep, '[', DEPTH);
        memset(own.deep + DEPTH, ']', DEPTH);
        own.deep[2 * DEPTH] = '\0';
}

static void end(void) {
        pg_test_close(&own.test);
        save_free(own.save);
        replays_free(own.replays);
        sources_free(own.sources);
        decider_close(own.decider);
        pg_test_deinit(&own.test, DATABASE);
        free(own.deep);
}

int main(int argc, char **argv) {
        twin.program = "test-store-twin";
        twin.real = "PostgreSQL";
        twin.reached = reached;
        twin.n_reached = sizeof(reached) / sizeof(reached[0]);
        twin.enough = 1000;
        twin.sequences = 10000;
        twin_options(argc, argv);
        begin();
        int64_t began = loop_now();
        for (uint64_t i = 0; i < twin.sequences; i++) {
                if (i % EMPTY_AFTER == EMPTY_AFTER - 1) {
                        pg_test_exec(own.test.sql, "TRUNCATE messages, rejected, partitions");
                }
                run_sequence(twin.first + i);
        }
        twin_print_end(began);
        end();
        bool all = twin_print_reached();
        twin_deinit();
        return all ? 0 : 1;
}
