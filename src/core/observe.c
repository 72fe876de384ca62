/* Makes observations of the engine's events and actions: see core/observation.h. */

#include "core/observe.h"

#include <stdlib.h>

/* Without memory: one that is not told; whoever judges misses it. */
static ObservedItem *item_add(Engine *engine) {
        static ObservedItem untold;
        if (engine->n_observed == engine->observed_capacity) {
                size_t capacity =
                        engine->observed_capacity > 0 ? engine->observed_capacity * 2 : 64;
                ObservedItem *items = realloc(engine->observed, capacity * sizeof(*items));
                if (items == NULL) {
                        return &untold;
                }
                engine->observed = items;
                engine->observed_capacity = capacity;
        }
        ObservedItem *item = &engine->observed[engine->n_observed++];
        *item = (ObservedItem){0};
        return item;
}

static ObservedItem *item_add_partition(Engine *engine, const Partition *partition) {
        ObservedItem *item = item_add(engine);
        item->partition = partition->partition;
        item->epoch = partition->epoch;
        return item;
}

static void item_add_message(Engine *engine, const Message *message) {
        const HandlerTask *restart = &message->handlers[HANDLER_RESTART];
        ObservedItem *item = item_add_partition(engine, message->partition);
        item->offset = message->offset;
        item->a = restart->attempts;
        item->b = restart->charged;
        item->c = message->record;
}

void observe_tell(Engine *engine, Observation *observation) {
        observation->now = engine->now;
        observation->items = engine->observed;
        observation->n_items = engine->n_observed;
        engine->config->observe(engine->config->observer, observation);
        engine->n_observed = 0;
}

void observe_partition_(Engine *engine, const Partition *partition, Observation observation) {
        observation.partition = partition->partition;
        observation.epoch = partition->epoch;
        observation.text = partition->topic;
        observe_tell(engine, &observation);
}

void observe_facts_(Engine *engine, const Partition *partition, ObservationType type,
                    const PartitionFacts *facts) {
        Observation observation = {.type = type, .ok = facts != NULL};
        if (facts != NULL && type == OBSERVED_LOOKED_UP) {
                observation.a = facts->committed;
                observation.b = facts->ours;
                observation.c = facts->low;
                observation.d = facts->high;
        } else if (facts != NULL) {
                observation.a = facts->has_source ? facts->source : -1;
                observation.b = facts->fence;
                observation.c = facts->fence_moved;
                observation.d = facts->is_decided;
                for (size_t i = 0; i < facts->n_rejected; i++) {
                        ObservedItem *item = item_add(engine);
                        item->offset = facts->rejected[i];
                }
        }
        observe_partition_(engine, partition, observation);
}

void observe_fetched_(Engine *engine, const Partition *partition, const Record *record) {
        ReplayPlace of = {0};
        bool names = record->value != NULL &&
                     replay_header_read(record->headers, record->headers_size, &of) ==
                             REPLAY_HEADER_FOUND;
        observe_partition_(engine, partition,
                           (Observation){.type = OBSERVED_FETCHED,
                                         .offset = record->offset,
                                         .a = record->value != NULL ? (int64_t)record->value_size
                                                                    : -1,
                                         .b = names,
                                         .c = of.source,
                                         .d = of.offset});
}

void observe_batch_(Engine *engine, const Batch *batch, Observation observation,
                    const int64_t *fences, const RefusedRow *refused, size_t n_refused) {
        for (size_t i = 0; fences != NULL && i < batch->n_parts; i++) {
                ObservedItem *item = item_add_partition(engine, batch->parts[i].partition);
                item->epoch = batch->parts[i].epoch;
                item->offset = fences[i];
        }
        for (size_t i = 0; refused != NULL && i < n_refused; i++) {
                ObservedItem *item = item_add(engine);
                item->partition = -1;
                item->a = refused[i].source;
                item->offset = refused[i].offset;
        }
        observation.id = batch->id;
        observe_tell(engine, &observation);
}

void observe_replays_read_(Engine *engine, const ReplayQuestions *asked,
                           const ReplayAnswer *answers) {
        for (size_t i = 0; i < asked->n; i++) {
                ObservedItem *item = item_add(engine);
                item->partition = -1;
                item->offset = asked->questions[i].by.offset;
                item->a = asked->questions[i].by.source;
                item->b = answers != NULL ? (int64_t)answers[i].verdict : -1;
                item->c = answers != NULL ? answers[i].done : 0;
                item->d = asked->questions[i].message != NULL;
        }
        observe_tell(engine, &(Observation){.type = OBSERVED_REPLAYS_READ,
                                            .partition = -1,
                                            .ok = answers != NULL});
}

/* An item a question: its place, then the row's: a source, b and c. */
static void observe_ask_replays(Engine *engine, const EngineAction *action) {
        for (size_t i = 0; i < action->replays->n; i++) {
                const ReplayQuestion *question = &action->replays->questions[i];
                ObservedItem *item = item_add(engine);
                item->partition = -1;
                item->offset = question->by.offset;
                item->a = question->by.source;
                item->b = question->of.source;
                item->c = question->of.offset;
        }
}

void observe_commit_(Engine *engine, ObservationType type, const CommitResult *results) {
        const Commit *commit = &engine->commit;
        for (size_t i = 0; i < commit->n; i++) {
                ObservedItem *item = item_add_partition(engine, commit->entries[i].partition);
                item->offset = results != NULL ? results[i].offset : -1;
                item->a = results != NULL && results[i].ok;
                item->b = commit->entries[i].offset;
        }
        observe_tell(engine, &(Observation){.type = type, .partition = -1, .ok = results != NULL});
}

void observe_revoked_(Engine *engine, Partition *const *partitions, size_t n, bool lost) {
        for (size_t i = 0; i < n; i++) {
                (void)item_add_partition(engine, partitions[i]);
        }
        observe_tell(engine,
                     &(Observation){.type = OBSERVED_REVOKED, .partition = -1, .ok = !lost});
}

void observe_run(Engine *engine, const Run *run, ObservationType type, int kind, bool ok,
                 int64_t a) {
        observe_tell(engine, &(Observation){.type = type,
                                            .partition = -1,
                                            .id = run->id,
                                            .kind = kind,
                                            .ok = ok,
                                            .a = a});
}

void observe_claimed(Engine *engine, const Run *run, LedgerEnd end,
                     const LedgerDecision *decision) {
        Observation observation = {
                .type = OBSERVED_CLAIMED, .partition = -1, .id = run->id, .kind = -1, .a = end};
        if (decision != NULL) {
                observation.kind = decision->verdict;
                observation.ok = decision->before != NULL;
                observation.b = decision->reason;
                observation.c = decision->id;
                observation.d = decision->again_us;
                observation.numbers[0] = decision->renewed;
        }
        observe_tell(engine, &observation);
}

/* Messages of a run; what is asked of the ledger, and what it is told. */
static void observe_run_action(Engine *engine, const EngineAction *action,
                               Observation *observation) {
        const Run *run = action->run;
        observation->id = run->id;
        observation->text = run_host(run);
        list_for_each(link, &run->messages) {
                item_add_message(engine, container_of(link, Message, host_link));
        }
        observation->a = run->ledger_id;
        observation->b = run->put_back;
        observation->c = run->state;
        observation->d = run->outcome;
        observation->numbers[0] = run->claim.source;
        observation->numbers[1] = run->claim.offset;
        observation->numbers[2] = run->claim.attempt;
        observation->numbers[3] = run->claim.suppress;
        observation->numbers[4] = run->doubt;
        observation->numbers[5] = run->verified;
        observation->numbers[6] = run->verify_us;
}

/* Rows and parts of a batch: an item a message, then one a part with d = 1, a and b its fences. */
static void observe_order(Engine *engine, const Batch *batch, Observation *observation) {
        observation->id = batch->id;
        list_for_each(link, &batch->messages) {
                item_add_message(engine, container_of(link, Message, lane_link));
        }
        for (size_t i = 0; i < batch->n_parts; i++) {
                const BatchPart *part = &batch->parts[i];
                ObservedItem *item = item_add_partition(engine, part->partition);
                item->epoch = part->epoch;
                item->a = part->expected;
                item->b = part->next;
                item->d = 1;
        }
}

static void observe_finished(const EngineAction *action, Observation *observation) {
        const Message *message = action->message;
        const HandlerTask *save = &message->handlers[HANDLER_SAVE];
        const HandlerTask *restart = &message->handlers[HANDLER_RESTART];
        observation->offset = message->offset;
        observation->a = action->finish;
        observation->b = message->fault_kept;
        observation->c = message->record;
        observation->numbers[0] = save->state;
        observation->numbers[1] = save->outcome;
        observation->numbers[2] = restart->state;
        observation->numbers[3] = restart->outcome;
        observation->numbers[4] = restart->charged;
        observation->numbers[5] = message->gap;
        observation->numbers[6] = message->replay != NULL ? message->replay->verdict + 1 : 0;
        observation->numbers[7] = message->replay != NULL ? message->replay->done : 0;
}

/*
 * partition, offset: as in the action. SAVE, SAVE_EACH, READ_FENCES, REJECT: id and items, see
 * observe_order(). CHECK, CLAIM, RESTART, ACTED, VERIFY, CONCLUDE: id, text, items: messages, see
 * observe_run_action(). LOOK_COMMITTED, COMMIT: items: entries. ASK_REPLAYS: items, see
 * observe_ask_replays().
 * READ: ok. FINISHED: offset, a: Finish, b: its row in `rejected` is durable, c: MessageRecord,
 * numbers: of save, then of restart: state, outcome; charged attempts, whether it is a gap; of a
 * replay ReplayVerdict + 1 and the handlers that were done. NOTE:
 * a: EngineNote, b: delay, c: of a retried message its offset, d: its handler.
 */
void observe_action_(Engine *engine, const EngineAction *action) {
        Observation observation = {.type = OBSERVED_ACTION,
                                   .kind = action->type,
                                   .partition = -1,
                                   .ok = action->on,
                                   .offset = action->offset};
        const Partition *partition =
                action->message != NULL ? action->message->partition : action->partition;
        if (partition != NULL) {
                observation.partition = partition->partition;
                observation.epoch = partition->epoch;
                observation.text = partition->topic;
        }
        switch (action->type) {
        case ENGINE_SAVE:
        case ENGINE_SAVE_EACH:
        case ENGINE_READ_FENCES:
        case ENGINE_REJECT:
                observe_order(engine, action->batch, &observation);
                break;
        case ENGINE_CHECK:
        case ENGINE_CLAIM:
        case ENGINE_RESTART:
        case ENGINE_ACTED:
        case ENGINE_VERIFY:
        case ENGINE_CONCLUDE:
                observe_run_action(engine, action, &observation);
                break;
        case ENGINE_ASK_REPLAYS:
                observe_ask_replays(engine, action);
                break;
        case ENGINE_LOOK_COMMITTED:
        case ENGINE_COMMIT:
                for (size_t i = 0; i < engine->commit.n; i++) {
                        const CommitEntry *entry = &engine->commit.entries[i];
                        ObservedItem *item = item_add_partition(engine, entry->partition);
                        item->offset = entry->offset;
                        item->a = entry->partition->state;
                }
                break;
        case ENGINE_FINISHED:
                observe_finished(action, &observation);
                break;
        case ENGINE_NOTE:
                observation.a = action->note;
                observation.b = action->delay_us;
                observation.c = action->message != NULL ? action->message->offset : -1;
                observation.d = action->handler;
                break;
        case ENGINE_LOOK_UP:
        case ENGINE_READ_SOURCE:
        case ENGINE_ADOPT:
        case ENGINE_MOVE_FENCE:
        case ENGINE_SEEK:
        case ENGINE_PAUSE:
        case ENGINE_RESUME:
        case ENGINE_READ:
        case ENGINE_UNASSIGN:
                break;
        }
        observe_tell(engine, &observation);
}

void observe_quiet_(Engine *engine) {
        Observation observation = {.type = OBSERVED_QUIET, .partition = -1};
        int64_t *numbers = observation.numbers;
        size_t batches = 0;
        list_for_each(link, &engine->batches) {
                batches += container_of(link, Batch, link)->retry_us == INT64_MAX ? 1 : 0;
        }
        list_for_each(link, &engine->partitions) {
                const Partition *partition = container_of(link, Partition, link);
                ObservedItem *item = item_add_partition(engine, partition);
                item->offset = partition->offsets.watermark;
                item->a = partition->committed;
                item->b = (int64_t)offsets_gap(&partition->offsets);
                item->c = partition->state;
                item->d = partition->held;
        }
        numbers[NUMBER_IN_FLIGHT] = (int64_t)engine->in_flight;
        numbers[NUMBER_BYTES] = (int64_t)engine->in_flight_bytes;
        numbers[NUMBER_WAITING] = (int64_t)engine->waiting;
        numbers[NUMBER_RUNS] = (int64_t)engine->n_runs;
        numbers[NUMBER_BATCHES] = (int64_t)batches;
        numbers[NUMBER_READING] = engine->reading;
        numbers[NUMBER_DEADLINE] = engine_deadline(engine);
        numbers[NUMBER_RECEIVED] = (int64_t)engine->totals.received;
        for (int i = 0; i < FINISH_COUNT; i++) {
                numbers[NUMBER_FINISHED + i] = (int64_t)engine->totals.finished[i];
        }
        observe_tell(engine, &observation);
}
