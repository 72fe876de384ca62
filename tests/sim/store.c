#include "store.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void *grow(void *array, size_t n, size_t *capacity, size_t size) {
        if (n < *capacity) {
                return array;
        }
        *capacity = *capacity > 0 ? *capacity * 2 : 16;
        return realloc(array, *capacity * size);
}

void store_order_deinit(StoreOrder *order) {
        free(order->rows);
        free(order->fences);
        free(order->refused);
        *order = (StoreOrder){0};
}

void store_deinit(Store *store) {
        for (size_t i = 0; i < store->n; i++) {
                free(store->sources[i].saved);
                free(store->sources[i].rejected);
        }
        free(store->sources);
        free(store->offsets);
        *store = (Store){0};
}

static void *copy_of(const void *from, size_t size) {
        void *to = malloc(size + 1);
        return size > 0 ? memcpy(to, from, size) : to;
}

void store_copy(Store *to, const Store *from) {
        *to = *from;
        to->offsets = NULL;
        to->offsets_capacity = 0;
        to->sources = copy_of(from->sources, from->capacity * sizeof(*from->sources));
        for (size_t i = 0; i < from->n; i++) {
                const StoreSource *source = &from->sources[i];
                to->sources[i].saved =
                        copy_of(source->saved, source->saved_capacity * sizeof(*source->saved));
                to->sources[i].rejected =
                        copy_of(source->rejected,
                                source->rejected_capacity * sizeof(*source->rejected));
        }
}

StoreSource *store_source(const Store *store, int32_t id) {
        for (size_t i = 0; i < store->n; i++) {
                if (store->sources[i].id == id) {
                        return &store->sources[i];
                }
        }
        return NULL;
}

StoreSource *store_live(const Store *store, int32_t partition) {
        for (size_t i = 0; i < store->n; i++) {
                if (store->sources[i].partition == partition && !store->sources[i].retired) {
                        return &store->sources[i];
                }
        }
        return NULL;
}

size_t store_rows(const StoreSource *source, int64_t offset) {
        size_t n = 0;
        for (size_t i = source->n_saved; i-- > 0;) {
                n += source->saved[i] == offset;
        }
        return n;
}

/* Where @offset is, or would be. */
static size_t reject_place(const StoreSource *source, int64_t offset) {
        size_t from = 0, to = source->n_rejected;
        while (from < to) {
                size_t middle = (from + to) / 2;
                if (source->rejected[middle].offset < offset) {
                        from = middle + 1;
                } else {
                        to = middle;
                }
        }
        return from;
}

const StoreReject *store_rejected(const StoreSource *source, int64_t offset) {
        size_t at = reject_place(source, offset);
        return at < source->n_rejected && source->rejected[at].offset == offset
                       ? &source->rejected[at]
                       : NULL;
}

void store_read_source(Store *store, int32_t partition, int64_t committed, PartitionFacts *facts) {
        const StoreSource *source = store_live(store, partition);
        facts->topic_known = true;
        facts->has_source = source != NULL;
        facts->rejected = NULL;
        facts->n_rejected = 0;
        if (source == NULL) {
                return;
        }
        facts->source = source->id;
        facts->fence = source->fence;
        facts->fence_moved = source->moved;
        facts->is_decided = source->is_decided;
        facts->decided = source->is_decided ? source->decided : 0;
        int64_t from = committed >= 0 && committed < source->fence ? committed : source->fence;
        if (store->offsets_capacity < source->n_rejected) {
                store->offsets_capacity = source->n_rejected * 2;
                store->offsets =
                        realloc(store->offsets, store->offsets_capacity * sizeof(*store->offsets));
        }
        for (size_t i = 0; i < source->n_rejected; i++) {
                const StoreReject *reject = &source->rejected[i];
                if (reject->offset >= from && (!reject->by_save || reject->restart_done)) {
                        store->offsets[facts->n_rejected++] = reject->offset;
                }
        }
        facts->rejected = store->offsets;
}

AdoptEnd store_adopt(Store *store, int32_t partition, int64_t next, int32_t *source) {
        if (store_live(store, partition) != NULL) {
                return ADOPT_CHANGED;
        }
        store->sources = grow(store->sources, store->n, &store->capacity, sizeof(*store->sources));
        store->sources[store->n] =
                (StoreSource){.id = ++store->ids, .partition = partition, .fence = next};
        *source = store->sources[store->n++].id;
        return ADOPT_OK;
}

/* move_fence() of schema.sql for one source. */
static bool fence_fits(const Store *store, int32_t id, int64_t expected) {
        const StoreSource *source = store_source(store, id);
        return source != NULL && !source->retired && source->fence == expected;
}

static void fence_move(Store *store, int32_t id, int64_t next) {
        StoreSource *source = store_source(store, id);
        source->fence = next;
        source->moved = true;
}

AdoptEnd store_move_fence(Store *store, int32_t source, int64_t from, int64_t to) {
        if (to < from) {
                return ADOPT_OUTAGE; /* AK003, whatever the source */
        }
        if (!fence_fits(store, source, from)) {
                return ADOPT_CHANGED;
        }
        fence_move(store, source, to);
        store_source(store, source)->is_decided = false;
        return ADOPT_OK;
}

/* The first that can't move says why. */
static BatchEnd fences_end(const Store *store, const StoreOrder *order) {
        for (size_t i = 0; i < order->n_fences; i++) {
                const StoreFence *fence = &order->fences[i];
                if (fence->next < fence->expected) {
                        return BATCH_OUTAGE; /* AK003 */
                }
                if (!fence_fits(store, fence->source, fence->expected)) {
                        return BATCH_FENCE;
                }
        }
        return BATCH_SAVED;
}

static void fences_move(Store *store, const StoreOrder *order) {
        for (size_t i = 0; i < order->n_fences; i++) {
                fence_move(store, order->fences[i].source, order->fences[i].next);
        }
}

static void row_save(Store *store, const StoreRow *row) {
        StoreSource *source = store_source(store, row->source);
        if (source != NULL) {
                source->saved = grow(source->saved, source->n_saved, &source->saved_capacity,
                                     sizeof(*source->saved));
                source->saved[source->n_saved++] = row->offset;
        }
}

/* ON CONFLICT DO NOTHING */
static void row_reject(Store *store, const StoreRow *row, bool by_save) {
        StoreSource *source = store_source(store, row->source);
        if (source == NULL || store_rejected(source, row->offset) != NULL) {
                return;
        }
        source->rejected = grow(source->rejected, source->n_rejected, &source->rejected_capacity,
                                sizeof(*source->rejected));
        size_t at = reject_place(source, row->offset);
        memmove(&source->rejected[at + 1], &source->rejected[at],
                (source->n_rejected - at) * sizeof(*source->rejected));
        source->rejected[at] = (StoreReject){.offset = row->offset,
                                             .by_save = by_save,
                                             .restart_done = row->restart_done,
                                             .save_done = row->save_done,
                                             .value = row->value,
                                             .first_us = row->first_us,
                                             .produced_us = row->produced_us};
        source->n_rejected++;
}

/* What was saved from @committed on and is read no more goes to `rejected`. */
static size_t expire(Store *store, const StoreSource *source, int64_t from, bool anew,
                     int64_t committed) {
        size_t before = source->n_rejected;
        for (size_t i = 0; i < source->n_saved && committed >= 0; i++) {
                if (source->saved[i] >= committed && (anew || source->saved[i] < from)) {
                        row_reject(store,
                                   &(StoreRow){.source = source->id,
                                               .offset = source->saved[i],
                                               .save_done = true},
                                   false);
                }
        }
        return source->n_rejected - before;
}

/* Rows of which the replay is read no more wait for somebody again, unless it is done or has a row
 * of its own. The ledger is not here: only what the row says of the restart. */
static size_t reopen(Store *store, const StoreSource *taker, int64_t from, bool anew,
                     int64_t committed) {
        size_t reopened = 0;
        for (size_t i = 0; i < store->n; i++) {
                for (size_t k = 0; k < store->sources[i].n_rejected; k++) {
                        StoreReject *row = &store->sources[i].rejected[k];
                        int64_t offset = row->replay.offset;
                        bool gone = row->replay.source == taker->id && offset >= committed &&
                                    (anew || offset < from);
                        if (gone && (offset >= taker->fence || !row->restart_done) &&
                            store_rejected(taker, offset) == NULL) {
                                row->replay = (ReplayPlace){0};
                                row->replay_received_us = 0;
                                reopened++;
                        }
                }
        }
        return reopened;
}

size_t store_decide(Store *store, int32_t partition, int64_t from, bool anew, int64_t committed,
                    bool expires) {
        StoreSource *source = store_live(store, partition);
        size_t kept = 0;
        int32_t id;
        if (source != NULL && expires) {
                kept = expire(store, source, from, anew, committed);
                kept += store->reopens ? reopen(store, source, from, anew, committed) : 0;
        }
        if (source != NULL && anew) {
                source->retired = true;
                source = NULL;
        }
        if (source == NULL) {
                (void)store_adopt(store, partition, from, &id);
                source = store_live(store, partition);
        } else if (source->is_decided && source->decided == source->fence && !source->moved) {
                source->fence = from; /* a row that was made for a decision moves with the next */
        }
        source->is_decided = true;
        source->decided = from;
        return kept;
}

static size_t count_rows(const StoreOrder *order, bool poison_only) {
        size_t n = 0;
        for (size_t i = 0; i < order->n_rows; i++) {
                const StoreRow *row = &order->rows[i];
                n += row->record == MESSAGE_ROW && (row->poison || !poison_only);
        }
        return n;
}

BatchEnd store_save(Store *store, const StoreOrder *order) {
        size_t poison = count_rows(order, true);
        if (poison > 0 || (store->broken && count_rows(order, false) > 0)) {
                return BATCH_REFUSED; /* the rows come first, then the fences */
        }
        BatchEnd end = fences_end(store, order);
        if (end != BATCH_SAVED) {
                return end;
        }
        for (size_t i = 0; i < order->n_rows; i++) {
                switch (order->rows[i].record) {
                case MESSAGE_ROW:
                        row_save(store, &order->rows[i]);
                        break;
                case MESSAGE_FAULTY:
                        row_reject(store, &order->rows[i], false);
                        break;
                case MESSAGE_NO_ROW:
                        break;
                }
        }
        fences_move(store, order);
        return BATCH_SAVED;
}

static void order_add_refused(StoreOrder *order, int32_t source, int64_t offset) {
        order->refused = realloc(order->refused, (order->n_refused + 1) * sizeof(*order->refused));
        RefusedRow *refused = &order->refused[order->n_refused++];
        refused->source = source;
        refused->offset = offset;
        snprintf(refused->detail, sizeof(refused->detail), "22P05: poison");
}

BatchEnd store_save_each(Store *store, StoreOrder *order) {
        order->n_refused = 0;
        if (store->broken && count_rows(order, false) > 0) {
                return BATCH_REFUSED; /* the probe too */
        }
        BatchEnd end = fences_end(store, order);
        if (end != BATCH_SAVED) {
                return end;
        }
        for (size_t i = 0; i < order->n_rows; i++) {
                const StoreRow *row = &order->rows[i];
                if (row->record == MESSAGE_ROW && row->poison) {
                        row_reject(store, row, true);
                        order_add_refused(order, row->source, row->offset);
                } else if (row->record == MESSAGE_ROW) {
                        row_save(store, row);
                } else if (row->record == MESSAGE_FAULTY) {
                        row_reject(store, row, false);
                }
        }
        fences_move(store, order);
        return BATCH_SAVED;
}

BatchEnd store_reject(Store *store, const StoreOrder *order) {
        for (size_t i = 0; i < order->n_rows; i++) {
                row_reject(store, &order->rows[i], false);
        }
        return BATCH_SAVED;
}

void store_fences(Store *store, StoreOrder *order, int64_t *fences) {
        order->n_refused = 0;
        for (size_t i = 0; i < order->n_fences; i++) {
                const StoreFence *fence = &order->fences[i];
                const StoreSource *source = store_source(store, fence->source);
                fences[i] = source != NULL && !source->retired ? source->fence : -1;
                for (size_t k = 0; source != NULL && k < source->n_rejected; k++) {
                        const StoreReject *reject = &source->rejected[k];
                        if (reject->by_save && reject->offset >= fence->expected) {
                                order_add_refused(order, source->id, reject->offset);
                        }
                }
        }
}

uint64_t store_value(const char *sha256) {
        char head[17];
        snprintf(head, sizeof(head), "%s", sha256);
        return strtoull(head, NULL, 16);
}

/* The row that the question names, whatever its state; NULL: it is an ordinary message. */
static StoreReject *row_named(const Store *store, const ReplayQuestion *question) {
        const StoreSource *source = store_source(store, question->of.source);
        size_t at = source != NULL ? reject_place(source, question->of.offset) : 0;
        bool itself = question->of.source == question->by.source &&
                      question->of.offset == question->by.offset;
        if (source == NULL || itself || store_source(store, question->by.source) == NULL ||
            at >= source->n_rejected || source->rejected[at].offset != question->of.offset ||
            source->rejected[at].value == 0 ||
            source->rejected[at].value != store_value(question->sha256)) {
                return NULL;
        }
        return &source->rejected[at];
}

static void take_replay(Store *store, const ReplayQuestion *question, int64_t now,
                        ReplayAnswer *answer) {
        StoreReject *row = row_named(store, question);
        *answer = (ReplayAnswer){.verdict = REPLAY_STRAY,
                                 .first_us = -1,
                                 .produced_us = -1,
                                 .received_us = -1};
        if (row == NULL) {
                return;
        }
        if (row->dropped) {
                answer->verdict = REPLAY_DROPPED;
                return;
        }
        if (row->replay.source != 0 && (row->replay.source != question->by.source ||
                                        row->replay.offset != question->by.offset)) {
                answer->verdict = REPLAY_TAKEN;
                return;
        }
        if (row->replay.source == 0) {
                row->replay = question->by;
                row->replay_received_us = now;
        }
        *answer = (ReplayAnswer){.verdict = REPLAY_OURS,
                                 .done = (row->save_done ? 1u << HANDLER_SAVE : 0) |
                                         (row->restart_done ? 1u << HANDLER_RESTART : 0),
                                 .first_us = row->first_us,
                                 .produced_us = row->produced_us,
                                 .received_us = row->replay_received_us};
}

void store_take_replays(Store *store, const ReplayQuestions *asked, int64_t now,
                        ReplayAnswer *answers) {
        for (size_t i = 0; i < asked->n; i++) {
                take_replay(store, &asked->questions[i], now, &answers[i]);
        }
}

void store_drop(Store *store, int32_t id, int64_t offset) {
        const StoreSource *source = store_source(store, id);
        size_t at = source != NULL ? reject_place(source, offset) : 0;
        if (source != NULL && at < source->n_rejected && source->rejected[at].offset == offset) {
                source->rejected[at].dropped = true;
        }
}
