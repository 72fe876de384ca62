#pragma once

/*
 * What an assigned partition does first: the table "an assignment finds: committed, fence, it
 * does" of the design, as a pure function.
 *
 * Kafka's committed offset and PostgreSQL's fence are two records of one progress, and no
 * transaction spans both. The fence moves first (it says what is saved), the commit follows it (it
 * says what is handled). So a commit at or below the fence is everyday life, and anything else is
 * news: a step of whoever runs the cluster, or a loss. A loss is never guessed away. Whenever going
 * on could skip or repeat messages that nobody decided about, the partition stands still until the
 * operator has spoken.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* What is found about a partition when it is assigned. */
typedef struct PartitionFacts {
        int64_t committed; /* -1: the group has none */
        bool ours;         /* the commit's metadata is ours */
        int64_t low, high; /* both ends of the log; high is the next offset to be written */
        bool has_source;
        int32_t source;
        int64_t fence;    /* everything below it is saved */
        bool fence_moved; /* since its row was made */
        bool topic_known; /* the group has a source of another partition of this topic */
        bool is_decided;  /* the operator has said where it goes on (`ackd partition`): */
        int64_t decided;  /* here */
        /* The offsets from the committed one on that have a row in `rejected`, rising; borrowed for
         * the length of a call. */
        const int64_t *rejected;
        size_t n_rejected;
        int64_t claimed; /* no message from this offset on has a row in `restarts` */
} PartitionFacts;

typedef enum AssignmentStep {
        ASSIGNMENT_START,      /* seek to `offset` */
        ASSIGNMENT_ADOPT,      /* make the source's row with next_offset = `offset`, then commit it,
                                  then start there */
        ASSIGNMENT_MOVE_FENCE, /* the operator skipped: move the fence to `offset`, then start there
                                */
        ASSIGNMENT_STOP,       /* stand still: `stopped` says why */
} AssignmentStep;

typedef struct AssignmentPlan {
        AssignmentStep step;
        int64_t offset;      /* where reading begins; -1: ASSIGNMENT_STOP */
        const char *stopped; /* reason word, static; NULL: it is not stopped */
        bool went_back;      /* PostgreSQL lost rows that were committed as handled: alarm */
        bool skipped;        /* somebody moved the committed offset past the fence */
        bool decided;        /* `offset` is the operator's: once committed, the decision is done */
        bool moot;           /* he had decided, but nothing is in dispute (any more): his decision
                                is cleared, or it would fire at a later dispute */
        bool commit_now;     /* `offset` is committed before reading, so that the next assignment
                                never finds "none" for a partition that was begun */
} AssignmentPlan;

/* @start_latest: the key `consume.start`. Pure. */
AssignmentPlan assignment_plan(const PartitionFacts *facts, bool start_latest);

/* What a reason word of AssignmentPlan.stopped means, for people. Static. */
const char *assignment_explain(const char *stopped);
