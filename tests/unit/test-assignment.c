#include "test.h"

#include <stdbool.h>
#include <string.h>

#include "core/assignment.h"

typedef struct Row {
        const char *name;
        PartitionFacts facts;
        bool latest;
        AssignmentPlan plan;
} Row;

#define NONE          .committed = -1
#define OURS(c)       .committed = (c), .ours = true
#define FOREIGN(c)    .committed = (c), .ours = false
#define LOG(l, h)     .low = (l), .high = (h)
#define FENCE(f)      .has_source = true, .source = 7, .fence = (f), .fence_moved = true
#define FRESH(f)      .has_source = true, .source = 7, .fence = (f), .fence_moved = false
#define START(o)      .step = ASSIGNMENT_START, .offset = (o)
#define ADOPT(o)      .step = ASSIGNMENT_ADOPT, .offset = (o), .commit_now = true
#define MOVE_FENCE(o) .step = ASSIGNMENT_MOVE_FENCE, .offset = (o), .skipped = true
#define STOP(reason)  .step = ASSIGNMENT_STOP, .offset = -1, .stopped = (reason)

#define WANTED(o)  .is_decided = true, .decided = (o)
#define DECIDED(o) .step = ASSIGNMENT_START, .offset = (o), .decided = true, .commit_now = true
#define GONE       "topic_recreated_or_offsets_expired"
#define DATABASE   "database_lost"
#define BELOW      "log_ends_below_fence"
#define RANGE      "out_of_range"

static const Row rows[] = {
        /* neither */
        {"a new group, earliest", {NONE, LOG(10, 90)}, false, {ADOPT(10)}},
        {"a new group, latest", {NONE, LOG(10, 90)}, true, {ADOPT(90)}},
        {"a partition was added", {NONE, LOG(0, 90), .topic_known = true}, true, {ADOPT(0)}},
        {"added, earliest", {NONE, LOG(0, 90), .topic_known = true}, false, {ADOPT(0)}},
        {"an empty topic", {NONE, LOG(0, 0)}, true, {ADOPT(0)}},

        /* a row alone */
        {"crash before the first commit, latest",
         {NONE, LOG(0, 90), FRESH(10)},
         true,
         {START(10), .commit_now = true}},
        {"crash, at the low end",
         {NONE, LOG(10, 90), FRESH(10)},
         false,
         {START(10), .commit_now = true}},
        {"crash, and made again", {NONE, LOG(0, 90), FRESH(10)}, false, {STOP(GONE)}},
        {"crash, of an empty topic",
         {NONE, LOG(10, 10), FRESH(10)},
         false,
         {START(10), .commit_now = true}},
        {"crash, expired meanwhile", {NONE, LOG(11, 90), FRESH(10)}, false, {STOP(GONE)}},
        {"crash, the log is shorter now", {NONE, LOG(0, 9), FRESH(10)}, false, {STOP(GONE)}},
        {"offsets expired", {NONE, LOG(0, 90), FENCE(10)}, false, {STOP(GONE)}},
        {"made again", {NONE, LOG(0, 5), FENCE(10)}, false, {STOP(GONE)}},
        {"made again, topic known",
         {NONE, LOG(0, 5), FENCE(10), .topic_known = true},
         false,
         {STOP(GONE)}},

        /* a commit alone */
        {"the database is another one", {OURS(20), LOG(10, 90)}, false, {STOP(DATABASE)}},
        {"the same, out of range", {OURS(5), LOG(10, 90)}, false, {STOP(DATABASE)}},
        {"another program's group", {FOREIGN(20), LOG(10, 90)}, false, {ADOPT(20)}},
        {"the commit wins over latest", {FOREIGN(20), LOG(10, 90)}, true, {ADOPT(20)}},
        {"it begins at offset 0", {FOREIGN(0), LOG(0, 90)}, false, {ADOPT(0)}},
        {"at the low end", {FOREIGN(10), LOG(10, 90)}, false, {ADOPT(10)}},
        {"at the high end", {FOREIGN(90), LOG(10, 90)}, false, {ADOPT(90)}},
        {"below the log", {FOREIGN(9), LOG(10, 90)}, false, {STOP(RANGE)}},
        {"above the log", {FOREIGN(91), LOG(10, 90)}, false, {STOP(RANGE)}},

        /* both, the commit at or below the fence */
        {"everyday life", {OURS(20), LOG(10, 90), FENCE(30)}, false, {START(20)}},
        {"all is handled", {OURS(30), LOG(10, 90), FENCE(30)}, false, {START(30)}},
        {"nothing is left", {OURS(90), LOG(10, 90), FENCE(90)}, true, {START(90)}},
        {"committed, nothing saved yet", {OURS(10), LOG(10, 90), FRESH(10)}, false, {START(10)}},
        {"the operator went back", {FOREIGN(20), LOG(10, 90), FENCE(30)}, false, {START(20)}},
        {"the oldest that is left", {OURS(10), LOG(10, 90), FENCE(30)}, false, {START(10)}},
        {"expired before it was handled", {OURS(9), LOG(10, 90), FENCE(30)}, false, {STOP(RANGE)}},
        {"both expired", {OURS(5), LOG(10, 90), FENCE(9)}, false, {STOP(RANGE)}},
        {"the log lost its end", {OURS(20), LOG(10, 29), FENCE(30)}, false, {STOP(BELOW)}},
        {"it lost the commit as well", {OURS(20), LOG(0, 15), FENCE(30)}, false, {STOP(BELOW)}},
        {"and the operator went back", {FOREIGN(0), LOG(0, 15), FENCE(30)}, false, {STOP(BELOW)}},
        {"the log ends at the fence", {OURS(20), LOG(10, 30), FENCE(30)}, false, {START(20)}},
        {"an emptied topic", {OURS(30), LOG(30, 30), FENCE(30)}, false, {START(30)}},

        /* both, the commit above the fence, ours */
        {"PostgreSQL went back",
         {OURS(50), LOG(10, 90), FENCE(30)},
         false,
         {START(30), .went_back = true}},
        {"to where its row was made",
         {OURS(50), LOG(10, 90), FRESH(10)},
         false,
         {START(10), .went_back = true}},
        {"to the low end",
         {OURS(50), LOG(30, 90), FENCE(30)},
         false,
         {START(30), .went_back = true}},
        {"further than the log reaches", {OURS(50), LOG(31, 90), FENCE(30)}, false, {STOP(RANGE)}},
        {"and the log lost its end", {OURS(50), LOG(10, 49), FENCE(30)}, false, {STOP(RANGE)}},
        {"and lost the fence as well", {OURS(50), LOG(10, 29), FENCE(30)}, false, {STOP(BELOW)}},
        {"the commit is the end",
         {OURS(90), LOG(10, 90), FENCE(30)},
         false,
         {START(30), .went_back = true}},

        /* the operator has decided */
        {"go on ahead", {OURS(5), LOG(10, 90), FENCE(30), WANTED(40)}, false, {DECIDED(40)}},
        {"handle some again", {OURS(5), LOG(10, 90), FENCE(30), WANTED(10)}, false, {DECIDED(10)}},
        {"the old one expired", {OURS(5), LOG(10, 90), FENCE(9), WANTED(10)}, false, {DECIDED(10)}},
        {"offsets expired, and he knows",
         {NONE, LOG(0, 90), FENCE(10), WANTED(8)},
         false,
         {DECIDED(8)}},
        {"made again, and nobody had read of it",
         {NONE, LOG(0, 90), FRESH(0), WANTED(0)},
         false,
         {DECIDED(0)}},
        {"another database, further on",
         {OURS(20), LOG(10, 90), FRESH(40), WANTED(40)},
         false,
         {DECIDED(40)}},
        {"another database, back",
         {OURS(20), LOG(10, 90), FRESH(10), WANTED(10)},
         false,
         {DECIDED(10)}},
        {"made again, all of it", {OURS(50), LOG(0, 7), FRESH(0), WANTED(0)}, false, {DECIDED(0)}},
        {"crash before it is done",
         {OURS(40), LOG(10, 90), FENCE(30), WANTED(40)},
         false,
         {DECIDED(40)}},
        {"the same, below the fence",
         {OURS(20), LOG(10, 90), FENCE(30), WANTED(20)},
         false,
         {DECIDED(20)}},
        {"outside the log",
         {OURS(50), LOG(0, 7), FRESH(6), WANTED(8)},
         false,
         {STOP("decided_out_of_range")}},
        {"expired again",
         {NONE, LOG(9, 20), FRESH(8), WANTED(8)},
         false,
         {STOP("decided_out_of_range")}},
        {"an old fence beyond the log",
         {NONE, LOG(0, 7), FENCE(30), WANTED(0)},
         false,
         {STOP(GONE)}},
        {"a log that lost its end",
         {OURS(20), LOG(0, 25), FENCE(30), WANTED(5)},
         false,
         {STOP(BELOW)}},

        /* the operator has decided, and nothing is in dispute */
        {"everyday life, decided",
         {OURS(20), LOG(10, 90), FENCE(30), WANTED(40)},
         false,
         {START(20), .moot = true}},
        {"crash before the first commit, decided",
         {NONE, LOG(5, 90), FRESH(5), WANTED(9)},
         false,
         {START(5), .commit_now = true, .moot = true}},
        {"went back, decided",
         {OURS(50), LOG(10, 90), FENCE(30), WANTED(40)},
         false,
         {START(30), .went_back = true, .moot = true}},
        {"skipped by a tool, decided",
         {FOREIGN(50), LOG(10, 90), FENCE(30), WANTED(40)},
         false,
         {MOVE_FENCE(50), .moot = true}},

        /* both, the commit above the fence, not ours */
        {"the operator skipped", {FOREIGN(50), LOG(10, 90), FENCE(30)}, false, {MOVE_FENCE(50)}},
        {"past what expired", {FOREIGN(50), LOG(40, 90), FENCE(30)}, false, {MOVE_FENCE(50)}},
        {"to the low end", {FOREIGN(40), LOG(40, 90), FENCE(30)}, false, {MOVE_FENCE(40)}},
        {"to the end", {FOREIGN(90), LOG(10, 90), FENCE(30)}, false, {MOVE_FENCE(90)}},
        {"too far", {FOREIGN(91), LOG(10, 90), FENCE(30)}, false, {STOP(RANGE)}},
        {"not far enough", {FOREIGN(39), LOG(40, 90), FENCE(30)}, false, {STOP(RANGE)}},
        {"beyond a log that lost its end",
         {FOREIGN(50), LOG(0, 20), FENCE(30)},
         false,
         {STOP(BELOW)}},
};

static void test_the_table(void **state) {
        (void)state;
        for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
                const Row *row = &rows[i];
                AssignmentPlan plan = assignment_plan(&row->facts, row->latest);
                const char *stopped = plan.stopped != NULL ? plan.stopped : "-";
                const char *expected = row->plan.stopped != NULL ? row->plan.stopped : "-";
                if (plan.step != row->plan.step || plan.offset != row->plan.offset ||
                    strcmp(stopped, expected) != 0 || plan.went_back != row->plan.went_back ||
                    plan.skipped != row->plan.skipped || plan.decided != row->plan.decided ||
                    plan.moot != row->plan.moot || plan.commit_now != row->plan.commit_now) {
                        fail_msg("%s: step %d at %ld, %s", row->name, (int)plan.step,
                                 (long)plan.offset, stopped);
                }
        }
}

/* A decision changes nothing unless without it the partition stands still, or it is under way. */
static void test_decisions_of_a_small_world(void **state) {
        (void)state;
        for (unsigned bits = 0; bits < 4; bits++) {
                for (int n = 0; n < 6 * 6 * 6 * 6 * 6; n++) {
                        PartitionFacts f = {
                                .committed = n % 6 - 1,
                                .low = n / 6 % 6,
                                .high = n / 36 % 6,
                                .fence = n / 216 % 6,
                                .ours = bits & 1,
                                .has_source = true,
                                .fence_moved = bits & 2,
                        };
                        if (f.low > f.high) {
                                continue;
                        }
                        AssignmentPlan without = assignment_plan(&f, false);
                        f.is_decided = true;
                        f.decided = n / 1296;
                        AssignmentPlan plan = assignment_plan(&f, false);
                        bool begun = f.ours && f.committed == f.decided;
                        bool made = !f.fence_moved && f.fence == f.decided;
                        if (without.step != ASSIGNMENT_STOP && !begun && !made) {
                                assert_true(plan.moot && !plan.decided);
                                assert_int_equal(plan.step, without.step);
                                assert_int_equal(plan.offset, without.offset);
                                continue;
                        }
                        assert_false(plan.moot);
                        if (plan.step != ASSIGNMENT_STOP) {
                                assert_true(plan.decided && plan.commit_now);
                                assert_int_equal(plan.offset, f.decided);
                                assert_in_range(plan.offset, f.low, f.high);
                                assert_true(f.fence <= f.high);
                        }
                }
        }
}

static void test_explanations(void **state) {
        (void)state;
        static const char *const words[] = {GONE, DATABASE, BELOW, RANGE, "decided_out_of_range"};
        static const char *const parts[] = {"has no commit", "postgres.dsn", "fewer messages",
                                            "next message to read", "decided on"};
        for (size_t i = 0; i < 5; i++) {
                assert_non_null(strstr(assignment_explain(words[i]), parts[i]));
                for (size_t j = 0; j < i; j++) {
                        assert_string_not_equal(assignment_explain(words[i]),
                                                assignment_explain(words[j]));
                }
        }
}

/* Whatever is found in a small world: never a start outside the log, and no commit or saved row
 * above the point where reading begins, unless somebody decided so. */
static void test_all_of_a_small_world(void **state) {
        (void)state;
        for (unsigned bits = 0; bits < 32; bits++) {
                for (int n = 0; n < 6 * 6 * 6 * 6; n++) {
                        PartitionFacts f = {
                                .committed = n % 6 - 1,
                                .low = n / 6 % 6,
                                .high = n / 36 % 6,
                                .fence = n / 216,
                                .ours = bits & 1,
                                .has_source = bits & 2,
                                .fence_moved = bits & 4,
                                .topic_known = bits & 8,
                        };
                        if (f.low > f.high) {
                                continue;
                        }
                        AssignmentPlan plan = assignment_plan(&f, bits & 16);
                        assert_int_equal(plan.step == ASSIGNMENT_STOP, plan.stopped != NULL);
                        if (plan.step == ASSIGNMENT_STOP) {
                                assert_int_equal(plan.offset, -1);
                                continue;
                        }
                        assert_in_range(plan.offset, f.low, f.high);
                        assert_int_equal(plan.step == ASSIGNMENT_ADOPT, !f.has_source);
                        assert_int_equal(plan.commit_now, f.committed < 0 || !f.has_source);
                        if (plan.step == ASSIGNMENT_START) {
                                /* No row of the source is skipped. */
                                assert_true(plan.offset <= f.fence);
                                assert_true(f.fence <= f.high);
                        }
                        if (f.committed >= 0) {
                                assert_true(plan.offset <= f.committed);
                                assert_int_equal(plan.offset < f.committed, plan.went_back);
                        }
                }
        }
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_the_table),
                cmocka_unit_test(test_all_of_a_small_world),
                cmocka_unit_test(test_decisions_of_a_small_world),
                cmocka_unit_test(test_explanations),
        };
        return cmocka_run_group_tests(tests, NULL, NULL);
}
