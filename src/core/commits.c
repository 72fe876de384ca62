/*
 * Commits.
 *
 * Exactly one is in flight, since asynchronous commits overtake each other. Each is preceded by a
 * look at what Kafka has: a commit of ours that is gone means that the topic was made again, and
 * committing would hide it.
 *
 * Invariant: only the watermark is committed, or the start of a partition that begins; never below
 * what Kafka confirmed, unless the operator decided so.
 */

#include <stdlib.h>
#include <string.h>

#include "core/observe.h"
#include "core/state.h"

/* The offset to commit for a partition; -1: none. */
static int64_t partition_commit_offset(const Partition *partition) {
        switch (partition->state) {
        case PARTITION_COMMITTING:
                /* Not while it waits to be looked up anew. */
                return partition->retry_us == INT64_MAX ? partition->start : -1;
        case PARTITION_ACTIVE:
        case PARTITION_DRAINING:
        case PARTITION_STOPPED:
                return partition->offsets.watermark > partition->committed
                               ? partition->offsets.watermark
                               : -1;
        case PARTITION_LOOKING_UP:
        case PARTITION_READING:
        case PARTITION_ADOPTING:
        case PARTITION_SEEKING:
        case PARTITION_GONE:
                return -1;
        }
        return -1;
}

bool commit_names(const Partition *partition) {
        const Commit *commit = &partition->engine->commit;
        for (size_t i = 0; i < commit->n; i++) {
                /* Also of an assignment before, which was let go without an answer. */
                const Partition *named = commit->entries[i].partition;
                if (named->partition == partition->partition &&
                    strcmp(named->topic, partition->topic) == 0) {
                        return true;
                }
        }
        return false;
}

void commit_schedule(Partition *partition) {
        Engine *engine = partition->engine;
        if (partition_commit_offset(partition) >= 0) {
                /* A start is committed at once, since its partition stands still until then, and at
                 * a drain; not after a failure, or a broker that says no would be asked for ever.
                 */
                int64_t next =
                        (partition->state == PARTITION_COMMITTING || engine->draining) &&
                                        !engine->commit_failed
                                ? engine->now
                                : engine->commit_last_us + engine->config->commit_interval_us;
                next = next > engine->now ? next : engine->now;
                engine->commit_due_us = next < engine->commit_due_us ? next : engine->commit_due_us;
        }
}

static void commit_clear(Engine *engine) {
        for (size_t i = 0; i < engine->commit.n; i++) {
                partition_unref(engine->commit.entries[i].partition);
        }
        engine->commit.n = 0;
        engine->commit.state = COMMIT_IDLE;
        engine->commit_last_us = engine->now;
        engine->commit_due_us = INT64_MAX;
        list_for_each(link, &engine->partitions) {
                commit_schedule(container_of(link, Partition, link));
        }
}

static int commit_begin(Engine *engine) {
        Commit *commit = &engine->commit;
        list_for_each(link, &engine->partitions) {
                Partition *partition = container_of(link, Partition, link);
                int64_t offset = partition_commit_offset(partition);
                if (offset < 0) {
                        continue;
                }
                if (commit->n == commit->capacity) {
                        size_t capacity = commit->capacity > 0 ? commit->capacity * 2 : 16;
                        CommitEntry *entries =
                                realloc(commit->entries, capacity * sizeof(*entries));
                        if (entries == NULL) {
                                return error_origin(-ENOMEM);
                        }
                        commit->entries = entries;
                        commit->capacity = capacity;
                }
                commit->entries[commit->n++] =
                        (CommitEntry){.partition = partition_ref(partition), .offset = offset};
        }
        engine->commit_due_us = INT64_MAX;
        if (commit->n == 0) {
                return 0;
        }
        commit->state = COMMIT_LOOKING;
        return engine_act(engine, &(EngineAction){.type = ENGINE_LOOK_COMMITTED});
}

static int commit_fail(Engine *engine) {
        engine->totals.commits_failed++;
        engine->commit_failed = true;
        int r = engine_act(engine,
                           &(EngineAction){.type = ENGINE_NOTE, .note = NOTE_COMMIT_FAILED});
        commit_clear(engine);
        return r;
}

/* Whether the entry may still be committed, given what Kafka has now. */
static int commit_check(Partition *partition, const CommitResult *seen, bool *keep) {
        *keep = false;
        if (!seen->ok || partition_commit_offset(partition) < 0) {
                return 0;
        }
        if (partition->state == PARTITION_COMMITTING) {
                if (seen->offset != partition->facts.committed) {
                        /* Somebody else committed since it was looked up. */
                        return partition_try_again(partition);
                }
        } else if (seen->offset < 0) {
                /* Our commit is gone: the topic was made again, or the group's offsets expired.
                 * Committing would make it again and hide that; looked at anew, it stops. */
                partition->committed = INT64_MAX;
                return partition->state == PARTITION_DRAINING
                               ? partition_release(partition, CANCEL_RUN | CANCEL_BATCH)
                               : partition_restart(partition);
        }
        *keep = true;
        return 0;
}

int engine_committed_seen(Engine *engine, const CommitResult *results, int64_t now) {
        Commit *commit = &engine->commit;
        engine->now = now;
        if (observes(engine)) {
                observe_commit_(engine, OBSERVED_COMMITTED_SEEN, results);
        }
        if (commit->state != COMMIT_LOOKING) {
                return 0;
        }
        if (results == NULL) {
                return commit_fail(engine);
        }
        size_t kept = 0;
        bool failed = false;
        int r = 0;
        for (size_t i = 0; i < commit->n; i++) {
                Partition *partition = commit->entries[i].partition;
                bool keep = false;
                failed = failed || !results[i].ok;
                if (r == 0) {
                        r = commit_check(partition, &results[i], &keep);
                }
                if (!keep) {
                        partition_unref(partition);
                        continue;
                }
                commit->entries[kept++] =
                        (CommitEntry){.partition = partition,
                                      .offset = partition_commit_offset(partition)};
        }
        commit->n = kept;
        if (r != 0 || kept == 0) {
                engine->commit_failed = failed;
                engine->totals.commits_failed += failed;
                commit_clear(engine);
                return r;
        }
        commit->state = COMMIT_SENT;
        return engine_act(engine, &(EngineAction){.type = ENGINE_COMMIT});
}

int engine_committed(Engine *engine, const CommitResult *results, int64_t now) {
        Commit *commit = &engine->commit;
        engine->now = now;
        if (observes(engine)) {
                observe_commit_(engine, OBSERVED_COMMITTED, results);
        }
        if (commit->state != COMMIT_SENT) {
                return 0;
        }
        if (results == NULL) {
                return commit_fail(engine);
        }
        int r = 0;
        bool failed = false;
        for (size_t i = 0; i < commit->n && r == 0; i++) {
                Partition *partition = commit->entries[i].partition;
                if (!results[i].ok) {
                        failed = true;
                        r = partition_note(partition, NOTE_COMMIT_FAILED, commit->entries[i].offset,
                                           0);
                        continue;
                }
                if (partition->state == PARTITION_COMMITTING ||
                    commit->entries[i].offset > partition->committed) {
                        partition->committed = commit->entries[i].offset;
                }
                if (partition->state == PARTITION_COMMITTING && !engine->stopping) {
                        /* A decision is done with only after its commit: a crash in between finds
                         * it again. */
                        r = partition_set_state(partition, partition->decided ? PARTITION_ADOPTING
                                                                              : PARTITION_SEEKING);
                }
        }
        engine->commit_failed = failed;
        if (failed) {
                engine->totals.commits_failed++;
        } else {
                engine->totals.commits++;
        }
        commit_clear(engine);
        return r;
}

int commits_dispatch(Engine *engine) {
        if (engine->commit.state != COMMIT_IDLE ||
            (engine->commit_due_us > engine->now && !engine->flush)) {
                return 0;
        }
        engine->flush = false;
        return commit_begin(engine);
}
