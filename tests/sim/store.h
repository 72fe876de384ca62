#pragma once

/*
 * PostgreSQL as ackd sees it: the tables partitions, messages and rejected, and the functions of
 * schema.sql. Pure: every call is one transaction, all or nothing; when it happens and whether its
 * reply arrives is the caller's. test-store-twin gives the same calls to a real one.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/engine.h"

typedef struct StoreReject {
        int64_t offset;
        bool by_save;      /* handler is 'save' */
        bool restart_done; /* 'restart-host' is in handlers_done, */
        bool save_done;    /* 'save' is */
        bool dropped;
        uint64_t value; /* stands for its value, see store_value(); 0: not known here */
        int64_t first_us, produced_us;
        ReplayPlace replay; /* the message that stands for it; its source 0: none */
        int64_t replay_received_us;
} StoreReject;

/* A row of `partitions`, with what the other tables have of it. */
typedef struct StoreSource {
        int32_t id;
        int32_t partition;
        int64_t fence;
        bool moved; /* since the row was made */
        bool retired;
        bool is_decided;
        int64_t decided;
        int64_t *saved; /* offsets of `messages`, as they came */
        size_t n_saved, saved_capacity;
        StoreReject *rejected; /* rising */
        size_t n_rejected, rejected_capacity;
} StoreSource;

typedef struct Store {
        StoreSource *sources;
        size_t n, capacity;
        int32_t ids;
        bool broken;      /* the table messages refuses every row, good or bad */
        bool reopens;     /* store_decide() opens rows again as decide() does; the worlds have their
                             ledger elsewhere, which it would have to ask, and leave them */
        int64_t *offsets; /* what store_read_source() lends */
        size_t offsets_capacity;
} Store;

typedef struct StoreRow {
        int32_t source;
        int64_t offset;
        MessageRecord record;
        bool poison; /* PostgreSQL refuses it */
        bool restart_done, save_done;
        uint64_t value; /* as in StoreReject */
        int64_t first_us, produced_us;
} StoreRow;

typedef struct StoreFence {
        int32_t source;
        int64_t expected, next;
} StoreFence;

/* What one transaction is to do. */
typedef struct StoreOrder {
        StoreRow *rows;
        size_t n_rows;
        StoreFence *fences;
        size_t n_fences;
        RefusedRow *refused; /* the answer of store_save_each() */
        size_t n_refused;
} StoreOrder;

void store_order_deinit(StoreOrder *order);

void store_deinit(Store *store);
/* A copy of everything: what a standby has, or a backup. */
void store_copy(Store *to, const Store *from);

StoreSource *store_source(const Store *store, int32_t id);      /* NULL: none */
StoreSource *store_live(const Store *store, int32_t partition); /* NULL: none */
size_t store_rows(const StoreSource *source, int64_t offset);   /* in `messages` */
const StoreReject *store_rejected(const StoreSource *source, int64_t offset);

/* What stands for a value: from its SHA-256 as text. */
uint64_t store_value(const char *sha256);

/* sources_read(): the fields that come from PostgreSQL; @committed as in PartitionFacts. Lends
 * `rejected` until the next call. topic_known is true. */
void store_read_source(Store *store, int32_t partition, int64_t committed, PartitionFacts *facts);
/* sources_adopt(): ADOPT_CHANGED when there is a live one. */
AdoptEnd store_adopt(Store *store, int32_t partition, int64_t next, int32_t *source);
/* sources_move_fence(); ADOPT_OUTAGE: not back. */
AdoptEnd store_move_fence(Store *store, int32_t source, int64_t from, int64_t to);
/* ackd partition: decide() about the live source, if there is one. What @expires is kept in
 * `rejected`; returns how many. @committed -1: none. */
size_t store_decide(Store *store, int32_t partition, int64_t from, bool anew, int64_t committed,
                    bool expires);

/* SAVES_BATCH, SAVES_EACH, SAVES_REJECT; BATCH_OUTAGE: a fence can't go back. Fences come in the
 * order of their sources; the rows go first, so what refuses them is said before a fence is. */
BatchEnd store_save(Store *store, const StoreOrder *order);
BatchEnd store_save_each(Store *store, StoreOrder *order);
BatchEnd store_reject(Store *store, const StoreOrder *order);
/* SAVES_FENCES: of the order's fences, in their order; the refused rows go to the order. */
void store_fences(Store *store, StoreOrder *order, int64_t *fences);
/* replays_ask(), with the topic, the group and the cluster of everything the same; @now: the
 * server's clock. Answers have no detail. */
void store_take_replays(Store *store, const ReplayQuestions *asked, int64_t now,
                        ReplayAnswer *answers);
/* `ackd dead-letter drop` */
void store_drop(Store *store, int32_t source, int64_t offset);
