/*
 * What waits for PostgreSQL.
 *
 * A lane is one partition's messages that the fence has not passed, in offset order. A batch takes
 * the front of several lanes, at most one batch a lane at a time: each partition's rows are saved
 * in offset order, and its fence moves once a batch, in the same transaction. Batches form while
 * all connections are busy; nothing lingers.
 *
 * A batch that did not end well is never guessed about: its fences are read, and they say what was
 * saved. At or above the new one: all of it. In between: the rows below it, and the rest is sent
 * again. Below the one that was expected: PostgreSQL went back in time, and the partition starts
 * anew from what is there.
 *
 * Invariants: a message's save is done only when its fence is known to have moved over it; a lane's
 * rows are all at or above its partition's fence.
 */

#include <stdlib.h>

#include "core/backoff.h"
#include "core/observe.h"
#include "core/state.h"

enum {
        /* Between two tries of a batch. Not `retry.backoff`, which is for what a person would wait
         * for: an outage is over sooner than five minutes later. */
        BACKOFF_US = 100 * 1000,
        BACKOFF_MAX_US = 5 * 1000000,
        /* From so many failures on, a batch of several partitions goes on as one for each. */
        SPLIT_AFTER = 2,
};

void batch_free(Batch *batch) {
        for (size_t i = 0; i < batch->n_parts; i++) {
                partition_unref(batch->parts[i].partition);
        }
        free(batch->parts);
        free(batch);
}

/* The one place that takes a batch out of the engine. */
static void batch_end(Engine *engine, Batch *batch) {
        for (size_t i = 0; i < batch->n_parts; i++) {
                if (batch->parts[i].partition->batch == batch) {
                        batch->parts[i].partition->batch = NULL;
                }
        }
        list_unlink(&batch->link);
        engine->n_batches--;
        batch_free(batch);
}

static Batch *batch_new(Engine *engine, BatchKind kind, size_t parts) {
        Batch *batch = calloc(1, sizeof(*batch));
        if (batch == NULL) {
                return NULL;
        }
        batch->kind = kind;
        batch->id = ++engine->batch_ids;
        batch->retry_us = INT64_MAX;
        batch->begun_us = engine->now;
        list_init(&batch->messages);
        batch->parts = parts > 0 ? calloc(parts, sizeof(*batch->parts)) : NULL;
        if (parts > 0 && batch->parts == NULL) {
                free(batch);
                return NULL;
        }
        list_push_back(&engine->batches, &batch->link);
        engine->n_batches++;
        return batch;
}

static int message_saved(Message *message) {
        list_unlink(&message->lane_link);
        if (message->record == MESSAGE_ROW) {
                message->partition->engine->totals.saved_rows++;
        }
        message->fault_kept = message->fault_kept || message->record == MESSAGE_FAULTY;
        int r = message_outcome(message, HANDLER_SAVE,
                                message->record == MESSAGE_FAULTY ? OUTCOME_POISON : OUTCOME_DONE,
                                true, NULL);
        return r != 0 ? r : message_settle(message);
}

int lane_saved_below(Partition *partition, int64_t fence) {
        list_for_each_safe(link, &partition->lane) {
                Message *message = container_of(link, Message, lane_link);
                if (message->offset >= fence) {
                        break;
                }
                int r = message_saved(message);
                if (r != 0) {
                        return r;
                }
        }
        return 0;
}

/* --- forming ------------------------------------------------------------------------------ */

/* Whether nothing of it is at the database. */
static bool fence_is_idle(const Partition *partition) {
        return partition->state == PARTITION_ACTIVE && partition->batch == NULL;
}

/* What is undecided may need no row, and the fence must not pass it before that is known. */
static bool message_is_ready(const Message *message) {
        return message->handlers[HANDLER_SAVE].state != HANDLER_UNDECIDED;
}

static bool lane_is_ready(const Partition *partition) {
        const Message *first = list_first(&partition->lane, Message, lane_link);
        return fence_is_idle(partition) && first != NULL && message_is_ready(first);
}

/* Parts stand by source, the order in which fences are locked. */
static void batch_add_part(Batch *batch, const BatchPart *part) {
        partition_ref(part->partition);
        part->partition->batch = batch;
        size_t at = batch->n_parts++;
        for (; at > 0 && batch->parts[at - 1].partition->source > part->partition->source; at--) {
                batch->parts[at] = batch->parts[at - 1];
        }
        batch->parts[at] = *part;
}

/* Rows of a batch that is not under way go back to where they came from. */
static void batch_put_back(Batch *batch) {
        while (!list_is_empty(&batch->messages)) {
                Message *message = container_of(batch->messages.prev, Message, lane_link);
                list_unlink(&message->lane_link);
                list_push_front(&message->partition->lane, &message->lane_link);
                message_set_state(message, HANDLER_SAVE, HANDLER_QUEUED);
        }
}

/* Takes what fits from the front of the partition's lane. */
static void batch_take(Batch *batch, Partition *partition, size_t *bytes) {
        const EngineConfig *config = partition->engine->config;
        BatchPart part = {.partition = partition,
                          .epoch = partition->epoch,
                          .expected = partition->fence};
        while (!list_is_empty(&partition->lane) && batch->rows < config->batch_rows &&
               (batch->rows == 0 || *bytes < config->batch_bytes)) {
                Message *message = container_of(partition->lane.next, Message, lane_link);
                if (!message_is_ready(message)) {
                        break;
                }
                list_unlink(&message->lane_link);
                list_push_back(&batch->messages, &message->lane_link);
                message_set_state(message, HANDLER_SAVE, HANDLER_RUNNING);
                *bytes += message->bytes;
                batch->rows++;
                part.rows++;
                part.next = message->offset + 1;
        }
        if (part.rows > 0) {
                batch_add_part(batch, &part);
                if (partition->save_alone) {
                        batch->failures = partition->save_failures;
                        batch->begun_us = partition->save_begun_us;
                }
        }
}

static int save_begin(Engine *engine, bool *begun) {
        size_t ready = 0;
        *begun = false;
        list_for_each(link, &engine->partitions) {
                ready += lane_is_ready(container_of(link, Partition, link)) ? 1 : 0;
        }
        if (ready == 0) {
                return 0;
        }
        Batch *batch = batch_new(engine, BATCH_SAVE, ready);
        if (batch == NULL) {
                return error_origin(-ENOMEM);
        }
        /* Who was served goes to the end, so that no partition is served last for ever. */
        List served;
        size_t bytes = 0;
        bool alone = false;
        list_init(&served);
        list_for_each_safe(link, &engine->partitions) {
                Partition *partition = container_of(link, Partition, link);
                bool joins = batch->n_parts == 0 || (!alone && !partition->save_alone);
                if (lane_is_ready(partition) && joins) {
                        alone = partition->save_alone;
                        batch_take(batch, partition, &bytes);
                }
                if (partition->batch == batch) {
                        list_unlink(&partition->link);
                        list_push_back(&served, &partition->link);
                }
        }
        list_splice_back(&engine->partitions, &served);
        *begun = true;
        return engine_act(engine, &(EngineAction){.type = ENGINE_SAVE, .batch = batch});
}

static int reject_begin(Engine *engine) {
        Batch *batch = batch_new(engine, BATCH_REJECT, 0);
        if (batch == NULL) {
                return error_origin(-ENOMEM);
        }
        size_t bytes = 0;
        while (!list_is_empty(&engine->rejects) && batch->rows < engine->config->batch_rows &&
               (batch->rows == 0 || bytes < engine->config->batch_bytes)) {
                Message *message = container_of(engine->rejects.next, Message, lane_link);
                list_unlink(&message->lane_link);
                list_push_back(&batch->messages, &message->lane_link);
                message->fault_sent = true;
                bytes += message->bytes;
                batch->rows++;
        }
        return engine_act(engine, &(EngineAction){.type = ENGINE_REJECT, .batch = batch});
}

static int batch_again(Engine *engine, Batch *batch) {
        batch->retry_us = INT64_MAX;
        list_for_each(link, &batch->messages) {
                container_of(link, Message, lane_link)->fault_sent = batch->kind == BATCH_REJECT;
        }
        EngineActionType type = batch->read_fences          ? ENGINE_READ_FENCES
                                : batch->kind == BATCH_SAVE ? ENGINE_SAVE
                                                            : ENGINE_REJECT;
        return engine_act(engine, &(EngineAction){.type = type, .batch = batch});
}

/* The one that waits for its retry longest, if it may be tried again now. */
static Batch *retry_due(const Engine *engine) {
        Batch *due = NULL;
        list_for_each(link, &engine->batches) {
                Batch *batch = container_of(link, Batch, link);
                if (batch->retry_us <= engine->now &&
                    (due == NULL || batch->retry_us < due->retry_us)) {
                        due = batch;
                }
        }
        return due;
}

/* Begins what was not tried yet. */
static int fresh_begin(Engine *engine, bool *begun) {
        *begun = false;
        if (engine->now < engine->database_us) {
                return 0;
        }
        bool rejecting = false;
        list_for_each(link, &engine->batches) {
                rejecting = rejecting || container_of(link, Batch, link)->kind == BATCH_REJECT;
        }
        if (!rejecting && !list_is_empty(&engine->rejects)) {
                *begun = true;
                return reject_begin(engine);
        }
        return save_begin(engine, begun);
}

/* What waits for its retry has no connection meanwhile: a fence that somebody locks, or rejected
 * rows that nobody takes, hold up nothing that can be saved. When both want the last connection,
 * they have it in turn. */
int lanes_dispatch(Engine *engine) {
        size_t busy = 0;
        bool begun = true;
        int r = 0;
        list_for_each(link, &engine->batches) {
                busy += container_of(link, Batch, link)->retry_us == INT64_MAX ? 1 : 0;
        }
        while (r == 0 && begun && !engine->stopping && busy++ < engine->config->batches) {
                Batch *due = retry_due(engine);
                begun = false;
                if (due == NULL || engine->fresh_first) {
                        r = fresh_begin(engine, &begun);
                        engine->fresh_first = engine->fresh_first && !begun;
                }
                if (r == 0 && !begun && due != NULL) {
                        engine->fresh_first = begun = true;
                        r = batch_again(engine, due);
                }
        }
        return r;
}

/* --- ending ------------------------------------------------------------------------------- */

/* Takes part @i out of the batch; its messages are not in it any more. */
static void batch_drop_part(Batch *batch, size_t i) {
        Partition *partition = batch->parts[i].partition;
        if (partition->batch == batch) {
                partition->batch = NULL;
        }
        for (batch->n_parts--; i < batch->n_parts; i++) {
                batch->parts[i] = batch->parts[i + 1];
        }
        partition_unref(partition);
}

/* The rows of one partition that are below @fence are saved. */
static int batch_saved_below(Batch *batch, const Partition *partition, int64_t fence) {
        list_for_each_safe(link, &batch->messages) {
                Message *message = container_of(link, Message, lane_link);
                if (message->partition == partition && message->offset < fence) {
                        int r = message_saved(message);
                        if (r != 0) {
                                return r;
                        }
                }
        }
        return 0;
}

/* Whether its partition is still the assignment that it was formed for. */
static bool part_is_current(const BatchPart *part) {
        return part->epoch == part->partition->epoch;
}

/* Whether rows of @kind that failed are still to be saved. */
static bool kind_is_in_trouble(const Engine *engine, BatchKind kind) {
        bool trouble = false;
        list_for_each(link, &engine->batches) {
                const Batch *batch = container_of(link, Batch, link);
                trouble = trouble || (batch->kind == kind && batch->failures > 0);
        }
        list_for_each(link, &engine->partitions) {
                const Partition *partition = container_of(link, Partition, link);
                trouble = trouble || (kind == BATCH_SAVE && partition->save_alone &&
                                      partition->state == PARTITION_ACTIVE);
        }
        return trouble;
}

static int note_works(Engine *engine, BatchKind kind) {
        if (!engine->trouble[kind] || kind_is_in_trouble(engine, kind)) {
                return 0;
        }
        engine->trouble[kind] = false;
        return engine_act(engine,
                          &(EngineAction){.type = ENGINE_NOTE,
                                          .note = NOTE_SAVE_WORKS,
                                          .reason = kind == BATCH_SAVE ? "batches"
                                                                       : "rejected messages"});
}

static int batch_saved(Engine *engine, Batch *batch) {
        int r = 0;
        BatchKind kind = batch->kind;
        engine->mixed = 0;
        engine->database_us = engine->saved_us = engine->now;
        for (size_t i = 0; i < batch->n_parts; i++) {
                BatchPart *part = &batch->parts[i];
                if (part_is_current(part)) {
                        part->partition->fence = part->next;
                        part->partition->save_alone = false;
                }
        }
        while (!list_is_empty(&batch->messages)) {
                Message *message = container_of(batch->messages.next, Message, lane_link);
                int one;
                if (batch->kind == BATCH_SAVE) {
                        message->saved = message->record == MESSAGE_ROW || replay_is_saved(message);
                        one = message_saved(message);
                } else {
                        message->fault_kept = true;
                        one = message_finish(message, FINISH_REJECTED);
                }
                r = r == 0 ? one : r; /* none may stay in this list */
        }
        batch_end(engine, batch);
        return r != 0 ? r : note_works(engine, kind);
}

/* Drops what need not be tried again: parts that were revoked meanwhile, messages that were
 * released. The whole batch goes when nothing is left, and when the daemon is stopping. */
static int batch_prune(Engine *engine, Batch *batch, bool *gone) {
        int r = 0;
        list_for_each_safe(link, &batch->messages) {
                Message *message = container_of(link, Message, lane_link);
                if (r == 0 && (engine->stopping || message->partition->state != PARTITION_ACTIVE)) {
                        message->fault_sent = false;
                        r = message_cancel(message, CANCEL_RUN | CANCEL_BATCH);
                }
        }
        for (size_t i = batch->n_parts; r == 0 && i-- > 0;) {
                if (engine->stopping || !part_is_current(&batch->parts[i]) ||
                    batch->parts[i].partition->state != PARTITION_ACTIVE) {
                        batch_drop_part(batch, i);
                }
        }
        *gone = r == 0 && list_is_empty(&batch->messages);
        if (*gone) {
                batch_end(engine, batch);
        }
        return r;
}

static int batch_failed(Engine *engine, Batch *batch, bool read_fences, bool at_once) {
        bool gone = false;
        int r = batch_prune(engine, batch, &gone);
        if (r != 0 || gone) {
                return r;
        }
        int64_t delay = at_once ? 0
                                : backoff_delay(BACKOFF_US, BACKOFF_MAX_US, batch->failures,
                                                &engine->random);
        batch->failures++;
        engine->trouble[batch->kind] = true;
        list_for_each(link, &batch->messages) {
                container_of(link, Message, lane_link)->fault_sent = false;
        }
        batch->read_fences = read_fences && batch->kind == BATCH_SAVE;
        batch->retry_us = engine->now + delay;
        /* What was saved since it began shows that the trouble is this batch's own: a lock on one
         * of its fences, say. */
        if (batch->kind == BATCH_SAVE && engine->saved_us < batch->begun_us &&
            engine->database_us < batch->retry_us) {
                engine->database_us = batch->retry_us;
        }
        return engine_act(engine, &(EngineAction){.type = ENGINE_NOTE,
                                                  .note = NOTE_BATCH_RETRY,
                                                  .offset = (int64_t)batch->rows,
                                                  .delay_us = delay});
}

int lanes_stop(Engine *engine) {
        list_for_each_safe(link, &engine->batches) {
                Batch *batch = container_of(link, Batch, link);
                bool gone = false;
                int r = batch->retry_us != INT64_MAX ? batch_prune(engine, batch, &gone) : 0;
                if (r != 0) {
                        return r;
                }
        }
        return 0;
}

int engine_saved(Engine *engine, Batch *batch, BatchEnd end, int64_t now) {
        engine->now = now;
        observe_batch(engine, batch, NULL, NULL, 0, .type = OBSERVED_SAVED, .kind = end);
        switch (end) {
        case BATCH_SAVED:
                return batch_saved(engine, batch);
        case BATCH_REFUSED:
                if (batch->kind == BATCH_SAVE && !engine->released) {
                        return engine_act(engine, &(EngineAction){.type = ENGINE_SAVE_EACH,
                                                                  .batch = batch});
                }
                return batch_failed(engine, batch, false, false);
        case BATCH_FENCE:
                return batch_failed(engine, batch, true, batch->failures == 0);
        case BATCH_OUTAGE:
        case BATCH_UNKNOWN:
                return batch_failed(engine, batch, true, false);
        }
        return error_origin(-EINVAL);
}

/* @messages: linked by lane_link. */
static int row_refused(const List *messages, const RefusedRow *refused) {
        list_for_each_safe(link, messages) {
                Message *message = container_of(link, Message, lane_link);
                if (message->partition->source != refused->source ||
                    message->offset != refused->offset) {
                        continue;
                }
                list_unlink(&message->lane_link);
                message->fault_kept = true;
                int r = message_outcome(message, HANDLER_SAVE, OUTCOME_POISON, true,
                                        refused->detail);
                return r != 0 ? r : message_settle(message);
        }
        return 0;
}

/* A table that refuses every row is nobody's own fault: an outage. But a few bad rows alone would
 * keep a batch of their own for ever, so they go back to their lanes and meet others in the next.
 */
static int batch_mix(Engine *engine, Batch *batch) {
        bool gone = false;
        int r = batch_prune(engine, batch, &gone);
        if (r != 0 || gone) {
                return r;
        }
        int64_t delay = backoff_delay(BACKOFF_US, BACKOFF_MAX_US, engine->mixed++, &engine->random);
        engine->database_us = engine->now + delay;
        engine->trouble[BATCH_SAVE] = true;
        r = engine_act(engine, &(EngineAction){.type = ENGINE_NOTE,
                                               .note = NOTE_BATCH_RETRY,
                                               .offset = (int64_t)batch->rows,
                                               .delay_us = delay});
        for (size_t i = 0; i < batch->n_parts; i++) {
                batch->parts[i].partition->save_alone = false; /* or they would meet nobody */
        }
        batch_put_back(batch);
        batch_end(engine, batch);
        return r;
}

int engine_saved_each(Engine *engine, Batch *batch, BatchEnd end, const RefusedRow *refused,
                      size_t n_refused, int64_t now) {
        engine->now = now;
        observe_batch(engine, batch, NULL, refused, n_refused, .type = OBSERVED_SAVED_EACH,
                      .kind = end);
        if (end == BATCH_REFUSED) {
                return batch_mix(engine, batch);
        }
        if (end != BATCH_SAVED) {
                return batch_failed(engine, batch, true, false);
        }
        for (size_t i = 0; i < n_refused; i++) {
                int r = row_refused(&batch->messages, &refused[i]);
                if (r != 0) {
                        return r;
                }
        }
        return batch_saved(engine, batch);
}

/* What was refused before the reply was lost: otherwise it would be told as saved. */
static int batch_refused_below(Batch *batch, const int64_t *fences, const RefusedRow *refused,
                               size_t n_refused) {
        for (size_t i = 0; i < n_refused; i++) {
                size_t part = 0;
                while (part < batch->n_parts &&
                       batch->parts[part].partition->source != refused[i].source) {
                        part++;
                }
                if (part == batch->n_parts || !part_is_current(&batch->parts[part]) ||
                    refused[i].offset >= fences[part]) {
                        continue;
                }
                int r = row_refused(&batch->messages, &refused[i]);
                r = r != 0 ? r : row_refused(&batch->parts[part].partition->lane, &refused[i]);
                if (r != 0) {
                        return r;
                }
        }
        return 0;
}

/* What one partition's rows suffer from is not for the others to share. */
static void batch_split(Engine *engine, Batch *batch) {
        for (size_t i = 0; i < batch->n_parts; i++) {
                Partition *partition = batch->parts[i].partition;
                partition->save_alone = true;
                partition->save_failures = batch->failures;
                partition->save_begun_us = batch->begun_us;
        }
        batch_put_back(batch);
        batch_end(engine, batch);
}

int engine_fences_read(Engine *engine, Batch *batch, const int64_t *fences,
                       const RefusedRow *refused, size_t n_refused, int64_t now) {
        engine->now = now;
        observe_batch(engine, batch, fences, NULL, 0, .type = OBSERVED_FENCES_READ,
                      .ok = fences != NULL);
        if (fences == NULL) {
                return batch_failed(engine, batch, true, false);
        }
        bool changed = false;
        int told = batch_refused_below(batch, fences, refused, n_refused);
        if (told != 0) {
                return told;
        }
        for (size_t i = batch->n_parts; i-- > 0;) {
                BatchPart *part = &batch->parts[i];
                Partition *partition = part->partition;
                int64_t fence = fences[i];
                int r = 0;
                if (!part_is_current(part)) {
                        continue; /* batch_prune() drops it */
                }
                if (fence < part->expected) {
                        /* PostgreSQL went back in time, or the source was retired. */
                        r = partition->state == PARTITION_ACTIVE ? partition_restart(partition) : 0;
                } else {
                        changed = changed || fence > part->expected;
                        partition->fence = part->expected = fence;
                        r = batch_saved_below(batch, partition, fence);
                        if (r == 0) {
                                r = lane_saved_below(partition, fence);
                        }
                        if (fence >= part->next) {
                                /* With nothing left it shares the next batch. */
                                partition->save_alone &= !list_is_empty(&partition->lane);
                                batch_drop_part(batch, i);
                        }
                }
                if (r != 0) {
                        return r;
                }
        }
        bool gone = false;
        batch->read_fences = false;
        int r = batch_prune(engine, batch, &gone);
        if (r != 0 || gone) {
                return r;
        }
        for (size_t i = 0; i < batch->n_parts; i++) {
                BatchPart *part = &batch->parts[i];
                part->rows = 0;
                list_for_each(link, &batch->messages) {
                        part->rows += container_of(link, Message, lane_link)->partition ==
                                      part->partition;
                }
        }
        if (changed) {
                batch->failures = 0;
        }
        if (batch->n_parts > 1 && batch->failures >= SPLIT_AFTER) {
                batch_split(engine, batch);
                return 0;
        }
        return batch_again(engine, batch);
}

int engine_database_up(Engine *engine, int64_t now) {
        size_t n = 0;
        engine->now = engine->database_us = now;
        observe(engine, OBSERVED_DATABASE_UP);
        hosts_ledger_is_back(engine);
        replays_database_is_back(engine);
        list_for_each(link, &engine->batches) {
                Batch *batch = container_of(link, Batch, link);
                batch->retry_us = batch->retry_us != INT64_MAX ? now : INT64_MAX;
        }
        list_for_each(link, &engine->partitions) {
                n += fence_is_idle(container_of(link, Partition, link)) ? 1 : 0;
        }
        if (n == 0 || engine->stopping) {
                return 0;
        }
        Batch *batch = batch_new(engine, BATCH_SAVE, n);
        if (batch == NULL) {
                return error_origin(-ENOMEM);
        }
        list_for_each(link, &engine->partitions) {
                Partition *partition = container_of(link, Partition, link);
                if (fence_is_idle(partition)) {
                        batch_add_part(batch, &(BatchPart){.partition = partition,
                                                           .epoch = partition->epoch,
                                                           .expected = partition->fence,
                                                           .next = partition->fence});
                }
        }
        return engine_act(engine, &(EngineAction){.type = ENGINE_READ_FENCES, .batch = batch});
}

int lane_abandon_retry(Partition *partition) {
        Batch *batch = partition->batch;
        if (batch == NULL || batch->retry_us == INT64_MAX) {
                return 0;
        }
        int r = 0;
        list_for_each_safe(link, &batch->messages) {
                Message *message = container_of(link, Message, lane_link);
                if (r == 0 && message->partition == partition) {
                        r = message_cancel(message, CANCEL_RUN | CANCEL_BATCH);
                }
        }
        for (size_t i = 0; i < batch->n_parts; i++) {
                if (batch->parts[i].partition == partition) {
                        batch_drop_part(batch, i);
                        break;
                }
        }
        if (r == 0 && batch->n_parts == 0) {
                batch_end(partition->engine, batch);
        }
        return r;
}
