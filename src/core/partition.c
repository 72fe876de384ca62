/*
 * An assignment, from `assigned` to `unassign`, and the commits.
 *
 * One question is under way for a partition at any time, and its state names it; an answer that
 * finds the partition in another state is late and is dropped. Nothing here guesses: where Kafka
 * and PostgreSQL disagree, assignment_plan() says what follows.
 *
 * A partition that starts anew while it is assigned (partition_restart) gets a new epoch, like one
 * that was handed back.
 *
 * Commits: exactly one is in flight, since asynchronous commits overtake each other. Each is
 * preceded by a look at what Kafka has: a commit of ours that is gone means that the topic was made
 * again, and committing would hide it.
 */

#include <stdlib.h>
#include <string.h>

#include "core/assignment.h"
#include "core/backoff.h"
#include "core/observe.h"
#include "core/state.h"

enum {
        /* Between two attempts to look a partition up; the group waits for nobody meanwhile. */
        LOOK_UP_BACKOFF_US = 200 * 1000,
        LOOK_UP_BACKOFF_MAX_US = 10 * 1000000,
        /* After the drain's bound: for the commit of what did end in time. */
        LAST_COMMIT_US = 1500 * 1000,
        CLOSING_US = 500 * 1000,
        /* How often a stopped partition is looked at: the operator may have decided. */
        STOPPED_AGAIN_US = 5 * 1000000,
        /* Messages cancelled between two looks at anything else. */
        CANCEL_PIECE = 1000,
        RESUME_AGAIN_US = 200 * 1000,
        /* A held partition is read again when this share of the gap is gone. */
        RESUME_SHARE = 8,
};

Partition *partition_ref(Partition *partition) {
        partition->references++;
        return partition;
}

void partition_unref(Partition *partition) {
        if (partition == NULL || --partition->references > 0) {
                return;
        }
        offsets_deinit(&partition->offsets);
        free(partition->rejected);
        free(partition);
}

const char *partition_state_name(PartitionState state) {
        switch (state) {
        case PARTITION_LOOKING_UP:
                return "looking_up";
        case PARTITION_READING:
                return "reading";
        case PARTITION_ADOPTING:
                return "adopting";
        case PARTITION_COMMITTING:
                return "committing";
        case PARTITION_SEEKING:
                return "seeking";
        case PARTITION_ACTIVE:
                return "active";
        case PARTITION_STOPPED:
                return "stopped";
        case PARTITION_DRAINING:
                return "draining";
        case PARTITION_GONE:
                return "gone";
        }
        return "?";
}

int partition_note(Partition *partition, EngineNote note, int64_t offset, int64_t delay_us) {
        return engine_act(partition->engine, &(EngineAction){.type = ENGINE_NOTE,
                                                             .note = note,
                                                             .partition = partition,
                                                             .offset = offset,
                                                             .delay_us = delay_us});
}

/* Once, until what is found changes. It is looked at again: the operator may decide meanwhile. */
static int partition_say_stopped(Partition *partition) {
        const PartitionFacts *facts = &partition->facts, *told = &partition->told;
        partition->retry_us = partition->engine->now + STOPPED_AGAIN_US;
        if (partition->told_stopped != NULL &&
            strcmp(partition->told_stopped, partition->stopped) == 0 &&
            told->committed == facts->committed && told->source == facts->source &&
            told->fence == facts->fence) {
                return 0;
        }
        partition->told_stopped = partition->stopped;
        partition->told = *facts;
        return partition_note(partition, NOTE_PARTITION_STOPPED, partition->start, 0);
}

/* The one place that changes a partition's state; entering one asks its question. */
int partition_set_state(Partition *partition, PartitionState state) {
        EngineAction action = {.partition = partition, .offset = partition->start};

        partition->state = state;
        partition->retry_us = INT64_MAX; /* a question of the state before is not asked again */
        switch (state) {
        case PARTITION_LOOKING_UP:
                action.type = ENGINE_LOOK_UP;
                return engine_act(partition->engine, &action);
        case PARTITION_READING:
                action.type = ENGINE_READ_SOURCE;
                return engine_act(partition->engine, &action);
        case PARTITION_ADOPTING:
                action.type = partition->facts.has_source ? ENGINE_MOVE_FENCE : ENGINE_ADOPT;
                if (partition->facts.has_source && action.offset < partition->fence) {
                        action.offset = partition->fence; /* what is saved stays saved */
                }
                return engine_act(partition->engine, &action);
        case PARTITION_SEEKING:
                action.type = ENGINE_SEEK;
                return engine_act(partition->engine, &action);
        case PARTITION_ACTIVE:
                return partition_note(partition, NOTE_PARTITION_STARTED, partition->start, 0);
        case PARTITION_STOPPED:
                return partition_say_stopped(partition);
        case PARTITION_COMMITTING:
                partition->engine->commit_due_us = partition->engine->now;
                return 0;
        case PARTITION_DRAINING:
        case PARTITION_GONE:
                return 0;
        }
        return error_origin(-ENOTRECOVERABLE);
}

int engine_assigned(Engine *engine, const char *topic, int32_t number, void *handle, int64_t now,
                    Partition **partitionp) {
        engine->now = now;
        size_t size = strlen(topic) + 1;
        Partition *partition = calloc(1, sizeof(*partition) + size);
        if (partition == NULL) {
                return error_origin(-ENOMEM);
        }
        memcpy(partition->topic, topic, size);
        partition->engine = engine;
        partition->references = 1;
        partition->epoch = ++engine->epochs;
        partition->partition = number;
        partition->handle = handle;
        partition->committed = -1;
        offsets_init(&partition->offsets, -1);
        list_init(&partition->messages);
        list_init(&partition->lane);
        list_push_back(&engine->partitions, &partition->link);
        observe_partition(engine, partition, .type = OBSERVED_ASSIGNED);
        *partitionp = partition;
        return partition_set_state(partition, PARTITION_LOOKING_UP);
}

/* The question could not be answered: it is asked again, from the first one on. */
int partition_try_again(Partition *partition) {
        Engine *engine = partition->engine;
        int64_t delay = backoff_delay(LOOK_UP_BACKOFF_US, LOOK_UP_BACKOFF_MAX_US,
                                      partition->failures++, &engine->random);
        partition->retry_us = engine->now + delay;
        return partition_note(partition, NOTE_LOOK_UP_FAILED, partition->start, delay);
}

/* Still the same partition: it goes on. Otherwise it starts anew, or stops. */
static int partition_end_doubt(Partition *partition, const PartitionFacts *facts) {
        if (facts == NULL) {
                return partition_try_again(partition);
        }
        partition->failures = 0;
        if (facts->committed < 0 && partition->committed >= 0) {
                return partition_restart(partition);
        }
        partition->doubted = false;
        if (!partition->lost) {
                return 0; /* partition_resume() reads it again */
        }
        partition->facts.committed = facts->committed;
        partition->facts.low = facts->low;
        partition->facts.high = facts->high;
        int r = partition_release(partition, 0);
        return r != 0 ? r : partition_stop(partition, "out_of_range");
}

int engine_looked_up(Engine *engine, Partition *partition, const PartitionFacts *facts,
                     int64_t now) {
        engine->now = now;
        if (observes(engine)) {
                observe_facts_(engine, partition, OBSERVED_LOOKED_UP, facts);
        }
        if (partition->doubted && !engine->stopping) {
                return partition_end_doubt(partition, facts);
        }
        if (engine->stopping || partition->state != PARTITION_LOOKING_UP ||
            partition->retry_us != INT64_MAX) {
                return 0;
        }
        if (facts == NULL || commit_names(partition)) {
                /* A commit of the epoch before, still under way, may change what was read. */
                return partition_try_again(partition);
        }
        partition->facts = (PartitionFacts){.committed = facts->committed,
                                            .ours = facts->ours,
                                            .low = facts->low,
                                            .high = facts->high};
        return partition_set_state(partition, PARTITION_READING);
}

int partition_stop(Partition *partition, const char *reason) {
        partition->stopped = reason;
        return partition_set_state(partition, PARTITION_STOPPED);
}

/* Keeps a copy of what is rejected already. */
static int partition_set_rejected(Partition *partition, const PartitionFacts *facts) {
        int64_t *rejected = malloc(facts->n_rejected * sizeof(*rejected) + 1);
        if (rejected == NULL) {
                return error_origin(-ENOMEM);
        }
        for (size_t i = 0; i < facts->n_rejected; i++) {
                rejected[i] = facts->rejected[i];
        }
        free(partition->rejected);
        partition->rejected = rejected;
        partition->n_rejected = facts->n_rejected;
        partition->rejected_at = 0;
        return 0;
}

bool partition_has_rejected(Partition *partition, int64_t offset) {
        while (partition->rejected_at < partition->n_rejected &&
               partition->rejected[partition->rejected_at] < offset) {
                partition->rejected_at++;
        }
        /* Above the fence it has to go to the database all the same, so that the fence moves. */
        return partition->rejected_at < partition->n_rejected &&
               partition->rejected[partition->rejected_at] == offset && offset < partition->fence;
}

int partition_pass(Partition *partition, int64_t offset) {
        uint64_t sequence;
        int r = offsets_admit(&partition->offsets, offset, &sequence);
        if (r != 0) {
                return r;
        }
        offsets_resolve(&partition->offsets, sequence);
        partition->engine->totals.received++;
        partition->engine->totals.finished[FINISH_DUPLICATE]++;
        commit_schedule(partition);
        return partition_admitted(partition);
}

int engine_source_read(Engine *engine, Partition *partition, const PartitionFacts *facts,
                       int64_t now) {
        engine->now = now;
        if (observes(engine)) {
                observe_facts_(engine, partition, OBSERVED_SOURCE_READ, facts);
        }
        if (engine->stopping || partition->state != PARTITION_READING ||
            partition->retry_us != INT64_MAX) {
                return 0;
        }
        if (facts == NULL) {
                return partition_try_again(partition);
        }
        PartitionFacts *known = &partition->facts;
        known->has_source = facts->has_source;
        known->source = facts->source;
        known->fence = facts->fence;
        known->fence_moved = facts->fence_moved;
        known->topic_known = facts->topic_known;
        known->is_decided = facts->is_decided;
        known->decided = facts->decided;
        partition->failures = 0;
        partition->source = facts->source;
        partition->fence = facts->fence;
        partition->claimed = facts->claimed;
        partition->committed = known->committed;

        AssignmentPlan plan = assignment_plan(known, engine->config->start_latest);
        partition->start = plan.offset;
        partition->decided = plan.decided || plan.moot;
        int r = partition_set_rejected(partition, facts);
        if (r == 0 && (plan.decided || plan.moot)) {
                r = partition_note(partition,
                                   plan.moot ? NOTE_DECISION_MOOT : NOTE_PARTITION_DECIDED,
                                   plan.offset, 0);
        }
        if (r != 0) {
                return r;
        }
        partition->handled = plan.went_back ? known->committed : 0;
        if (plan.went_back) {
                r = partition_note(partition, NOTE_PARTITION_WENT_BACK, plan.offset, 0);
        } else if (plan.skipped) {
                r = partition_note(partition, NOTE_PARTITION_SKIPPED, plan.offset, 0);
        }
        if (r != 0) {
                return r;
        }
        switch (plan.step) {
        case ASSIGNMENT_START:
                return partition_set_state(partition, plan.commit_now ? PARTITION_COMMITTING
                                                      : plan.moot     ? PARTITION_ADOPTING
                                                                      : PARTITION_SEEKING);
        case ASSIGNMENT_ADOPT:
        case ASSIGNMENT_MOVE_FENCE:
                return partition_set_state(partition, PARTITION_ADOPTING);
        case ASSIGNMENT_STOP:
                return partition_stop(partition, plan.stopped);
        }
        return error_origin(-ENOTRECOVERABLE);
}

int engine_adopted(Engine *engine, Partition *partition, AdoptEnd end, int32_t source,
                   int64_t now) {
        engine->now = now;
        observe_partition(engine, partition, .type = OBSERVED_ADOPTED, .kind = end, .a = source);
        if (engine->stopping || partition->state != PARTITION_ADOPTING ||
            partition->retry_us != INT64_MAX) {
                return 0;
        }
        switch (end) {
        case ADOPT_OK:
                break;
        case ADOPT_CHANGED:
        case ADOPT_OUTAGE:
                return partition_try_again(partition);
        }
        bool made = !partition->facts.has_source;
        partition->source = source;
        if (made || partition->fence < partition->start) {
                partition->fence = partition->start;
        }
        /* A source that was made is committed at once, so that "no commit" always means something.
         */
        return partition_set_state(partition, made ? PARTITION_COMMITTING : PARTITION_SEEKING);
}

int engine_sought(Engine *engine, Partition *partition, bool ok, int64_t now) {
        engine->now = now;
        observe_partition(engine, partition, .type = OBSERVED_SOUGHT, .ok = ok);
        if (partition->state != PARTITION_SEEKING || partition->retry_us != INT64_MAX) {
                return 0;
        }
        if (!ok) {
                return partition_try_again(partition);
        }
        partition->next = partition->start;
        partition->told_stopped = NULL;
        partition->held = partition->resuming = false;
        offsets_deinit(&partition->offsets);
        offsets_init(&partition->offsets, partition->start);
        return partition_set_state(partition, PARTITION_ACTIVE);
}

static int partition_hold(Partition *partition, const char *reason) {
        partition->held = true;
        partition->held_for = reason;
        int r = engine_act(partition->engine,
                           &(EngineAction){.type = ENGINE_PAUSE, .partition = partition});
        return r != 0 ? r : partition_note(partition, NOTE_PARTITION_HELD, partition->next, 0);
}

int partition_admitted(Partition *partition) {
        if (offsets_gap(&partition->offsets) < partition->engine->config->ack_gap) {
                return 0;
        }
        return partition_hold(partition, "ack_gap");
}

static int partition_resume(Partition *partition) {
        size_t limit = partition->engine->config->ack_gap;
        if (!partition->held || partition->doubted || partition->resuming ||
            partition->engine->stopping || partition->state != PARTITION_ACTIVE ||
            partition->resume_us > partition->engine->now ||
            offsets_gap(&partition->offsets) > limit - (limit + RESUME_SHARE - 1) / RESUME_SHARE) {
                return 0;
        }
        partition->resuming = true;
        return engine_act(partition->engine, &(EngineAction){.type = ENGINE_RESUME,
                                                             .partition = partition,
                                                             .offset = partition->next});
}

int engine_resumed(Engine *engine, Partition *partition, bool ok, int64_t now) {
        engine->now = now;
        observe_partition(engine, partition, .type = OBSERVED_RESUMED, .ok = ok);
        if (!partition->resuming) {
                return 0;
        }
        partition->resuming = false;
        if (partition->doubted) {
                /* It was doubted meanwhile: it is read, but not admitted. */
                return engine_act(engine,
                                  &(EngineAction){.type = ENGINE_PAUSE, .partition = partition});
        }
        if (!ok) {
                partition->resume_us = now + RESUME_AGAIN_US;
                return 0;
        }
        partition->held = false;
        return partition_note(partition, NOTE_PARTITION_RESUMED, partition->next, 0);
}

int partition_release(Partition *partition, unsigned reach) {
        int r = lane_abandon_retry(partition);
        if (r != 0) {
                return r;
        }
        list_for_each_safe(link, &partition->messages) {
                r = message_cancel(container_of(link, Message, link), reach);
                if (r != 0) {
                        return r;
                }
        }
        return 0;
}

void partition_cancel(Partition *partition, unsigned reach) {
        partition->cancel_reach = reach | (partition->cancelling ? partition->cancel_reach : 0);
        partition->cancelling = partition->engine->cancelling = true;
        partition->cancel_from = INT64_MIN;
}

/* Cancels what is left of @budget messages. */
static int partition_cancel_piece(Partition *partition, size_t *budget) {
        list_for_each_safe(link, &partition->messages) {
                Message *message = container_of(link, Message, link);
                if (message->offset < partition->cancel_from) {
                        continue;
                }
                if (*budget == 0) {
                        partition->cancel_from = message->offset;
                        return 0;
                }
                (*budget)--;
                int r = message_cancel(message, partition->cancel_reach);
                if (r != 0) {
                        return r;
                }
        }
        partition->cancelling = false;
        return 0;
}

int cancel_dispatch(Engine *engine) {
        size_t budget = CANCEL_PIECE;
        if (!engine->cancelling) {
                return 0;
        }
        engine->cancelling = false;
        list_for_each(link, &engine->partitions) {
                Partition *partition = container_of(link, Partition, link);
                int r = partition->cancelling ? partition_cancel_piece(partition, &budget) : 0;
                if (r != 0) {
                        return r;
                }
                engine->cancelling = engine->cancelling || partition->cancelling;
        }
        return 0;
}

static int partition_doubt(Partition *partition) {
        int r = 0;
        if (partition->state != PARTITION_ACTIVE || partition->doubted) {
                return 0;
        }
        partition->doubted = true;
        if (!partition->held) {
                r = partition_hold(partition, "vanished");
        }
        return r != 0 ? r
                      : engine_act(partition->engine,
                                   &(EngineAction){.type = ENGINE_LOOK_UP, .partition = partition});
}

int engine_vanished(Engine *engine, Partition *partition, int64_t now) {
        engine->now = now;
        observe_partition(engine, partition, .type = OBSERVED_VANISHED);
        return partition_doubt(partition);
}

int engine_out_of_range(Engine *engine, Partition *partition, int64_t now) {
        engine->now = now;
        observe_partition(engine, partition, .type = OBSERVED_OUT_OF_RANGE);
        if (partition->state == PARTITION_SEEKING) {
                return partition_stop(partition, "out_of_range");
        }
        partition->lost = partition->state == PARTITION_ACTIVE;
        return partition_doubt(partition);
}

int partition_restart(Partition *partition) {
        int r = partition_release(partition, CANCEL_RUN | CANCEL_BATCH);
        if (r != 0) {
                return r;
        }
        /* A batch that is still under way belongs to the epoch before. */
        partition->batch = NULL;
        partition->doubted = partition->lost = partition->save_alone = false;
        if (partition->state == PARTITION_ACTIVE && !partition->held) {
                r = engine_act(partition->engine,
                               &(EngineAction){.type = ENGINE_PAUSE, .partition = partition});
                if (r != 0) {
                        return r;
                }
        }
        partition->epoch = ++partition->engine->epochs;
        offsets_deinit(&partition->offsets);
        offsets_init(&partition->offsets, -1);
        return partition_set_state(partition, PARTITION_LOOKING_UP);
}

/* --- revoke ------------------------------------------------------------------------------- */

static int partition_let_go(Partition *partition) {
        Engine *engine = partition->engine;
        engine->unconfirmed =
                engine->unconfirmed ||
                (engine->released && partition->offsets.watermark > partition->committed);
        int r = partition_release(partition, CANCEL_RUN | CANCEL_BATCH);
        if (r == 0) {
                r = partition_set_state(partition, PARTITION_GONE);
        }
        list_unlink(&partition->link);
        list_push_back(&partition->engine->gone, &partition->link); /* the driver names it still */
        return r;
}

int engine_revoked(Engine *engine, Partition *const *partitions, size_t n, bool lost, int64_t now) {
        engine->now = now;
        if (observes(engine)) {
                observe_revoked_(engine, partitions, n, lost);
        }
        engine->totals.rebalances++;
        bool gone = true;
        for (size_t i = 0; i < n; i++) {
                gone = gone && partitions[i]->state == PARTITION_GONE;
        }
        if (gone && n > 0) {
                return 0; /* lost while ENGINE_UNASSIGN was on its way: it answers this one, too */
        }
        engine->draining = true;
        engine->drain_hurried = engine->released;
        engine->drain_until_us = now + (engine->released ? CLOSING_US : engine->config->drain_us);
        int r = 0;
        for (size_t i = 0; i < n; i++) {
                Partition *partition = partitions[i];
                /* A restart under way goes on; whoever owns the partition next finds how it ended.
                 */
                int one = lane_abandon_retry(partition);
                r = r == 0 ? one : r; /* none may stay assigned: the driver lets go of all */
                partition->doubted = false;
                partition_cancel(partition, CANCEL_RUN | (lost ? CANCEL_BATCH : 0));
                one = partition_set_state(partition, PARTITION_DRAINING);
                r = r == 0 ? one : r;
                if (lost) {
                        /* Somebody else owns it: nothing of it is committed or waited for. */
                        partition->committed = INT64_MAX;
                        partition->batch = NULL;
                }
        }
        engine->commit_due_us = now;
        return r;
}

/* Whether a revoked partition still has something to wait for. */
static bool partition_drains(const Partition *partition) {
        const Engine *engine = partition->engine;
        if (engine->released) {
                /* The end: closing drains nothing again, but a final commit may be under way. */
                return partition->offsets.watermark > partition->committed &&
                       (engine->flush || engine->commit.state != COMMIT_IDLE);
        }
        return partition->batch != NULL || !list_is_empty(&partition->messages) ||
               partition->offsets.watermark > partition->committed ||
               engine->commit.state != COMMIT_IDLE;
}

/* The bound is over: what is still at the database is let go, and what is done gets a last commit.
 */
static int revoke_hurry(Engine *engine) {
        engine->drain_hurried = true;
        engine->drain_until_us = engine->now + LAST_COMMIT_US;
        list_for_each(link, &engine->partitions) {
                Partition *partition = container_of(link, Partition, link);
                if (partition->state != PARTITION_DRAINING || partition->batch == NULL) {
                        continue;
                }
                int r = partition_note(partition, NOTE_DRAIN_TIMEOUT, partition->fence, 0);
                if (r == 0) {
                        r = partition_release(partition, CANCEL_RUN | CANCEL_BATCH);
                }
                if (r != 0) {
                        return r;
                }
                partition->batch = NULL;
        }
        engine->flush = true;
        return 0;
}

static int revoke_dispatch(Engine *engine) {
        if (engine->now >= engine->drain_until_us && !engine->drain_hurried) {
                int r = revoke_hurry(engine);
                if (r != 0) {
                        return r;
                }
        }
        list_for_each(link, &engine->partitions) {
                Partition *partition = container_of(link, Partition, link);
                if (partition->state == PARTITION_DRAINING && partition_drains(partition) &&
                    engine->now < engine->drain_until_us) {
                        return 0;
                }
        }
        list_for_each_safe(link, &engine->partitions) {
                Partition *partition = container_of(link, Partition, link);
                if (partition->state == PARTITION_DRAINING) {
                        int r = partition_let_go(partition);
                        if (r != 0) {
                                return r;
                        }
                }
        }
        engine->draining = false;
        return engine_act(engine, &(EngineAction){.type = ENGINE_UNASSIGN});
}

static int partition_look_again(Partition *partition) {
        if (partition->doubted) {
                return engine_act(partition->engine,
                                  &(EngineAction){.type = ENGINE_LOOK_UP, .partition = partition});
        }
        if (partition->state == PARTITION_STOPPED && !list_is_empty(&partition->messages)) {
                /* What is in flight ends first. */
                partition->retry_us = partition->engine->now + STOPPED_AGAIN_US;
                return 0;
        }
        return partition_restart(partition);
}

int partitions_dispatch(Engine *engine) {
        int r = 0;
        list_for_each(link, &engine->partitions) {
                Partition *partition = container_of(link, Partition, link);
                if (partition->retry_us <= engine->now && !engine->stopping) {
                        partition->retry_us = INT64_MAX;
                        r = partition_look_again(partition);
                } else {
                        r = partition_resume(partition);
                }
                if (r != 0) {
                        return r;
                }
        }
        return engine->draining ? revoke_dispatch(engine) : 0;
}
