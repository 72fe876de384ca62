#include "core/assignment.h"

#include <stddef.h>
#include <string.h>

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
                 * was made loses nothing. A row is made where the log begins, which never goes
                 * down: one that begins lower now was made again. (After a start at the latest
                 * offset that can't be told.) A fence that moved had commits, and they are gone. */
                if (facts->fence_moved || !in_log(facts, facts->fence) ||
                    (!start_latest && facts->low < facts->fence)) {
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

static AssignmentPlan plan_undecided(const PartitionFacts *facts, bool start_latest) {
        if (facts->committed < 0) {
                return plan_without_commit(facts, start_latest);
        }
        if (!facts->has_source) {
                return plan_without_source(facts);
        }
        return plan_with_both(facts);
}

/* The operator has said where it goes on: a fence below it moves there, one above it stays, so that
 * what is saved is not saved again. @plan: without him. */
static AssignmentPlan plan_decided(const PartitionFacts *facts, const AssignmentPlan *plan) {
        /* Its commit is made and its end was not: a crash in between. */
        bool begun = facts->ours && facts->committed == facts->decided;
        /* The row was made for it, and without a fence of its own it disputes nothing. */
        bool made = !facts->fence_moved && facts->fence == facts->decided;
        if (plan->step != ASSIGNMENT_STOP && !begun && !made) {
                AssignmentPlan moot = *plan;
                moot.moot = true;
                return moot;
        }
        if (facts->fence > facts->high) {
                return *plan; /* no offset helps: only a new source does */
        }
        if (!in_log(facts, facts->decided)) {
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
        AssignmentPlan plan = plan_undecided(facts, start_latest);
        return facts->has_source && facts->is_decided ? plan_decided(facts, &plan) : plan;
}

const char *assignment_explain(const char *stopped) {
        if (strcmp(stopped, "database_lost") == 0) {
                return "the group has commits of ours, but this database has no row for the "
                       "partition; look whether postgres.dsn is the right database";
        }
        if (strcmp(stopped, "log_ends_below_fence") == 0) {
                return "the topic has fewer messages than were saved from it: it was made again, "
                       "or lost its end";
        }
        if (strcmp(stopped, "out_of_range") == 0) {
                return "the next message to read is not in the topic (see where the log begins and "
                       "ends: retention, or a topic made again)";
        }
        if (strcmp(stopped, "decided_out_of_range") == 0) {
                return "the offset that was decided on is not in the topic any more";
        }
        return "messages were saved from it, but the group has no commit: the topic was made "
               "again, or the group's offsets expired";
}
