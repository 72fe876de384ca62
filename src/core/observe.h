#pragma once

/* Where the engine's files say what they are told: one call at the head of each event. Without
 * EngineConfig.observe it costs a look at a pointer. */

#include "core/observation.h"
#include "core/state.h"

/* The functions below are only called when somebody observes; they are not for use elsewhere. */
void observe_tell(Engine *engine, Observation *observation);
void observe_partition_(Engine *engine, const Partition *partition, Observation observation);
void observe_facts_(Engine *engine, const Partition *partition, ObservationType type,
                    const PartitionFacts *facts);
void observe_fetched_(Engine *engine, const Partition *partition, const Record *record);
void observe_batch_(Engine *engine, const Batch *batch, Observation observation,
                    const int64_t *fences, const RefusedRow *refused, size_t n_refused);
void observe_replays_read_(Engine *engine, const ReplayQuestions *asked,
                           const ReplayAnswer *answers);
void observe_commit_(Engine *engine, ObservationType type, const CommitResult *results);
void observe_revoked_(Engine *engine, Partition *const *partitions, size_t n, bool lost);
/* Of the run; @kind, @ok and @a as OBSERVED_… says. */
void observe_run(Engine *engine, const Run *run, ObservationType type, int kind, bool ok,
                 int64_t a);
void observe_claimed(Engine *engine, const Run *run, LedgerEnd end, const LedgerDecision *decision);
void observe_action_(Engine *engine, const EngineAction *action);
void observe_quiet_(Engine *engine);

static inline bool observes(const Engine *engine) {
        return __builtin_expect(engine->config->observe != NULL, 0);
}

static inline void observe(Engine *engine, ObservationType type) {
        if (observes(engine)) {
                observe_tell(engine, &(Observation){.type = type, .partition = -1});
        }
}

/* observe_partition(engine, partition, .type = …, …) */
#define observe_partition(engine, partition, ...)                                                  \
        do {                                                                                       \
                if (observes(engine)) {                                                            \
                        observe_partition_(engine, partition, (Observation){__VA_ARGS__});         \
                }                                                                                  \
        } while (0)

#define observe_batch(engine, batch, fences, refused, n, ...)                                      \
        do {                                                                                       \
                if (observes(engine)) {                                                            \
                        observe_batch_(engine, batch, (Observation){.partition = -1, __VA_ARGS__}, \
                                       fences, refused, n);                                        \
                }                                                                                  \
        } while (0)
