#include "core/assignment.h"

#include <stddef.h>

static AssignmentPlan plan_stop(const char *reason) {
        return (AssignmentPlan){.step = ASSIGNMENT_STOP, .offset = -1, .stopped = reason};
}

static bool in_log(const PartitionFacts *facts, int64_t offset) {
        return facts->low <= offset && offset <= facts->high;
}

static AssignmentPlan plan_without_commit(const PartitionFacts *facts, bool start_latest) {
        if (facts->has_source) {
                /* A crash between making the row and the first commit leaves just this: a fence
                 * that never moved, and no commit. Nothing was read, so beginning where the row
                 * was made loses nothing. (A topic made again looks the same once it has grown
                 * past that offset; nothing of the old one was saved, so nothing old is taken for
                 * done.) A fence that moved had commits, and they are gone. */
                if (facts->fence_moved || !in_log(facts, facts->fence)) {
                        return plan_stop("topic_recreated_or_offsets_expired");
                }
                return (AssignmentPlan){
                        .step = ASSIGNMENT_START,
                        .offset = facts->fence,
                        .commit_now = true,
                };
        }
        /* Partitions that were added to a topic hold messages from before anybody saw them, so the
         * latest offset is only for a topic without a past. */
        bool latest = start_latest && !facts->topic_known;
        return (AssignmentPlan){
                .step = ASSIGNMENT_ADOPT,
                .offset = latest ? facts->high : facts->low,
                .commit_now = true,
        };
}

static AssignmentPlan plan_without_source(const PartitionFacts *facts) {
        if (facts->ours) {
                /* Another database, or an emptied one. What is above the commit could be saved a
                 * second time, what is below it could be missing: neither is ours to choose. */
                return plan_stop("database_lost");
        }
        if (!in_log(facts, facts->committed)) {
                return plan_stop("out_of_range");
        }
        return (AssignmentPlan){
                .step = ASSIGNMENT_ADOPT,
                .offset = facts->committed,
                .commit_now = true, /* with our metadata: from here on it is ours */
        };
}

static AssignmentPlan plan_with_both(const PartitionFacts *facts) {
        /* The log lost what was saved (an unclean election), or it is another log. In both cases
         * new messages would come below the fence and be taken for saved. It comes before the test
         * of the range, as the commit lies at most at the fence in most of these cases and the
         * fence is what explains them. */
        if (facts->high < facts->fence) {
                return plan_stop("log_ends_below_fence");
        }
        if (!in_log(facts, facts->committed)) {
                return plan_stop("out_of_range");
        }
        if (facts->committed <= facts->fence) {
                return (AssignmentPlan){.step = ASSIGNMENT_START, .offset = facts->committed};
        }
        if (!facts->ours) {
                return (AssignmentPlan){
                        .step = ASSIGNMENT_MOVE_FENCE,
                        .offset = facts->committed,
                        .skipped = true,
                };
        }
        if (facts->fence < facts->low) {
                return plan_stop("out_of_range");
        }
        /* The higher commit stays where it is: it is all that still tells which messages had been
         * handled before PostgreSQL lost them, should this process die on the way. */
        return (AssignmentPlan){
                .step = ASSIGNMENT_START,
                .offset = facts->fence,
                .went_back = true,
        };
}

/* The operator has said where it goes on, whatever else is found: a fence below it moves there, one
 * above it stays, so that what is saved is not saved again. */
static AssignmentPlan plan_decided(const PartitionFacts *facts) {
        if (!in_log(facts, facts->decided) || facts->fence > facts->high) {
                return plan_stop("decided_out_of_range");
        }
        return (AssignmentPlan){
                .step = ASSIGNMENT_START,
                .offset = facts->decided,
                .commit_now = true,
                .decided = true,
        };
}

AssignmentPlan assignment_plan(const PartitionFacts *facts, bool start_latest) {
        if (facts->has_source && facts->is_decided) {
                return plan_decided(facts);
        }
        if (facts->committed < 0) {
                return plan_without_commit(facts, start_latest);
        }
        if (!facts->has_source) {
                return plan_without_source(facts);
        }
        return plan_with_both(facts);
}
