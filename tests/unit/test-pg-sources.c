#include "test.h"

#include "pg.h"
#include "pg/decision.h"
#include "pg/sources.h"

#define DATABASE "ackd_test_sources"

static PgTest test;
static Sources *sources;

typedef struct Answer {
        int n;
        bool has_facts;
        PartitionFacts facts;
        int64_t rejected[8]; /* the facts' own are borrowed */
        AdoptEnd end;
        int32_t source;
} Answer;

static void on_read(void *user, const PartitionFacts *facts) {
        Answer *answer = user;
        answer->n++;
        answer->has_facts = facts != NULL;
        if (facts != NULL) {
                answer->facts = *facts;
                assert_true(facts->n_rejected <= 8);
                memcpy(answer->rejected, facts->rejected, facts->n_rejected * sizeof(int64_t));
        }
}

static void on_adopted(void *user, AdoptEnd end, int32_t source) {
        Answer *answer = user;
        answer->n++;
        answer->end = end;
        answer->source = source;
}

static bool is_answered(void *user) {
        return ((Answer *)user)->n > 0;
}

static int setup(void **state) {
        (void)state;
        pg_test_init(&test, DATABASE);
        pg_test_open_default(&test, 1, 30 * 1000 * 1000);
        return sources_new(&sources, test.pool, NULL, "ackd", "gro'up", "me");
}

static int teardown(void **state) {
        (void)state;
        pg_test_close(&test);
        sources_free(sources);
        sources_free(NULL);
        pg_test_deinit(&test, DATABASE);
        return 0;
}

static Answer read_from(const char *topic, int32_t partition, int64_t committed) {
        Answer answer = {0};
        SourceName name = {"cluster", topic, partition};
        assert_int_equal(sources_read(sources, &name, committed, on_read, &answer), 0);
        assert_int_equal(answer.n, 0);
        assert_true(pg_test_until(&test, is_answered, &answer));
        assert_int_equal(answer.n, 1);
        return answer;
}

static Answer read_source(const char *topic, int32_t partition) {
        return read_from(topic, partition, -1);
}

static Answer adopt(const char *topic, int32_t partition, int64_t next) {
        Answer answer = {0};
        SourceName name = {"cluster", topic, partition};
        assert_int_equal(sources_adopt(sources, &name, next, on_adopted, &answer), 0);
        assert_true(pg_test_until(&test, is_answered, &answer));
        assert_int_equal(answer.n, 1);
        return answer;
}

static Answer move_fence(int32_t source, int64_t from, int64_t to) {
        Answer answer = {0};
        assert_int_equal(sources_move_fence(sources, source, from, to, on_adopted, &answer), 0);
        assert_true(pg_test_until(&test, is_answered, &answer));
        return answer;
}

static void test_story(void **state) {
        (void)state;
        const int64_t far = INT64_C(9000000000000);
        Answer answer = read_source("a'topic", 0);
        assert_true(answer.has_facts);
        assert_false(answer.facts.has_source);
        assert_false(answer.facts.topic_known);
        assert_int_equal(answer.facts.committed, -1);

        answer = adopt("a'topic", 0, far);
        assert_int_equal(answer.end, ADOPT_OK);
        int32_t source = answer.source;
        assert_true(source > 0);
        assert_string_equal(pg_test_value(test.sql, "SELECT instance || ' ' || group_id FROM "
                                                    "partitions"),
                            "me gro'up");

        answer = read_source("a'topic", 0);
        assert_true(answer.facts.has_source);
        assert_int_equal(answer.facts.source, source);
        assert_int_equal(answer.facts.fence, far);
        assert_false(answer.facts.fence_moved);
        assert_false(answer.facts.topic_known); /* it is the topic's only one */

        answer = move_fence(source, far, far + 5);
        assert_int_equal(answer.end, ADOPT_OK);
        assert_int_equal(answer.source, source);
        answer = read_source("a'topic", 0);
        assert_int_equal(answer.facts.fence, far + 5);
        assert_true(answer.facts.fence_moved);

        /* Another partition of the topic: in the first minute the whole group is new. */
        answer = read_source("a'topic", 1);
        assert_false(answer.facts.has_source);
        assert_false(answer.facts.topic_known);
        assert_string_equal(pg_test_value(test.sql, "UPDATE partitions SET created_at = created_at "
                                                    "- interval '61 s' RETURNING 'older'"),
                            "older");
        answer = read_source("a'topic", 1);
        assert_true(answer.facts.topic_known);
        assert_false(read_source("another", 0).facts.topic_known);
}

static void test_changed(void **state) {
        (void)state;
        Answer answer = adopt("changed", 0, 10);
        int32_t source = answer.source;
        assert_int_equal(adopt("changed", 0, 10).end, ADOPT_CHANGED);
        assert_int_equal(move_fence(source, 9, 20).end, ADOPT_CHANGED);
        assert_int_equal(move_fence(source + 1000, 10, 20).end, ADOPT_CHANGED);
        assert_int_equal(read_source("changed", 0).facts.fence, 10);
        /* Retired: the next one is a new source. */
        pg_test_exec(test.sql, "UPDATE partitions SET retired_at = now() WHERE topic = 'changed'");
        assert_false(read_source("changed", 0).facts.has_source);
        answer = adopt("changed", 0, 0);
        assert_int_equal(answer.end, ADOPT_OK);
        assert_int_not_equal(answer.source, source);
}

static void test_what_was_rejected(void **state) {
        (void)state;
        int32_t source = adopt("rejected", 0, 10).source;
        char sql[256];
        snprintf(sql, sizeof(sql),
                 "INSERT INTO rejected (source, \"offset\", reason) VALUES (%d, 9, 'x'), (%d, 3, "
                 "'x'), "
                 "(%d, 7, 'x'), (%d, 8, 'x')",
                 source, source, source, source + 1000);
        pg_test_exec(test.sql, sql);
        /* Refused while its restart was to come: it is not through. */
        pg_test_exec(test.sql,
                     "INSERT INTO rejected (source, \"offset\", reason, handler) SELECT id, 6, "
                     "'x', 'save' FROM partitions WHERE topic = 'rejected'");
        assert_int_equal(read_source("rejected", 0).facts.n_rejected, 0);
        assert_int_equal(read_from("rejected", 0, 10).facts.n_rejected, 0);
        Answer answer = read_from("rejected", 0, 4);
        assert_int_equal(answer.facts.n_rejected, 2);
        assert_int_equal(answer.rejected[0], 7);
        assert_int_equal(answer.rejected[1], 9);
        assert_int_equal(read_from("rejected", 0, 0).facts.n_rejected, 3);
        assert_int_equal(read_from("rejected", 1, 0).facts.n_rejected, 0);
        /* PostgreSQL went back: it is read again from the fence on. */
        pg_test_exec(test.sql, "UPDATE partitions SET next_offset = 8 WHERE topic = 'rejected'");
        assert_int_equal(read_from("rejected", 0, 10).facts.n_rejected, 1);
}

static Decider *open_decider(void) {
        Decider *decider = NULL;
        char *error = NULL;
        assert_int_equal(decider_open(&decider, "host=/nowhere", NULL, "ackd", "g", &error),
                         DECISION_E_CONNECT);
        assert_non_null(error);
        free(error);
        assert_int_equal(decider_open(&decider, test.operate_dsn, NULL, "ackd", "gro'up", &error),
                         0);
        return decider;
}

/* A row that is made for a decision begins where it says, and moves with the next one; whoever
 * looked before somebody else decided writes nothing. */
static void test_decision(void **state) {
        (void)state;
        SourceName name = {"cluster", "decided", 2};
        Decision decision = {.from = 10, .who = "me@here", .why = "it's needed"};
        PartitionFacts before = {0}, facts = {0};
        int64_t kept = -1;
        char *error = NULL;
        Decider *decider = open_decider();
        assert_int_equal(decider_read(decider, &name, &before, &error), 0);
        assert_false(before.has_source);
        assert_int_equal(decider_write(decider, &name, &before, &decision, &kept, &error), 0);
        assert_int_equal(kept, 0);
        facts = read_source("decided", 2).facts;
        assert_true(facts.has_source && facts.is_decided && !facts.fence_moved);
        assert_int_equal(facts.fence, 10);
        assert_int_equal(facts.decided, 10);
        decision.from = 20;
        assert_int_equal(decider_write(decider, &name, &before, &decision, &kept, &error),
                         DECISION_E_REFUSED);
        assert_non_null(strstr(error, "was none a moment ago"));
        free(error);
        assert_int_equal(decider_write(decider, &name, &facts, &decision, &kept, &error), 0);
        facts = read_source("decided", 2).facts;
        assert_int_equal(facts.fence, 20);
        assert_int_equal(facts.decided, 20);
        /* Done; who decided stays, and a fence of its own is left where it is by the next one. */
        assert_int_equal(move_fence(facts.source, 20, 20).end, ADOPT_OK);
        facts = read_source("decided", 2).facts;
        assert_false(facts.is_decided);
        assert_string_equal(pg_test_value(test.sql, "SELECT decided_by || ' ' || decided_why FROM "
                                                    "partitions WHERE topic = 'decided'"),
                            "me@here it's needed");
        decision.from = 5;
        assert_int_equal(decider_write(decider, &name, &facts, &decision, &kept, &error), 0);
        assert_int_equal(read_source("decided", 2).facts.fence, 20);
        decider_close(decider);
        decider_close(NULL);
}

/* What is saved, not known to be acked and read no more is kept; what was rejected stays as it is.
 */
static void test_decision_keeps_what_it_skips(void **state) {
        (void)state;
        SourceName name = {"cluster", "skips", 0};
        Decision decision = {.from = 7, .who = "me", .why = "w", .expires = true};
        PartitionFacts facts = {0};
        int64_t kept = -1;
        char *error = NULL;
        Decider *decider = open_decider();
        assert_int_equal(adopt("skips", 0, 0).end, ADOPT_OK);
        assert_int_equal(decider_read(decider, &name, &facts, &error), 0);
        pg_test_exec(test.sql, "INSERT INTO messages SELECT id, o, 'k', 'h' || o, NULL, "
                               "'{ \"host\" : 1}', '[[\"a\",null]]', now(), now() FROM partitions, "
                               "generate_series(0, 9) o WHERE topic = 'skips'");
        pg_test_exec(test.sql, "INSERT INTO rejected (source, \"offset\", reason) SELECT id, 4, "
                               "'first' FROM partitions WHERE topic = 'skips'");
        /* Without a commit nobody knows what was acked, but for what the ledger has no good end of.
         */
        pg_test_exec(test.sql,
                     "INSERT INTO restarts (source, \"offset\", attempt, host, received_at, state, "
                     "action, instance, instance_name) SELECT id, o, a, 'h', now(), "
                     "(ARRAY['unknown', 'failed', 'done', 'suppressed'])[o + a], 'exec', "
                     "gen_random_uuid(), 'i' FROM partitions, (VALUES (0, 1), (1, 1), (1, 2), "
                     "(3, 1)) v(o, a) WHERE topic = 'skips'");
        facts.committed = -1;
        assert_int_equal(decider_write(decider, &name, &facts, &decision, &kept, &error), 0);
        assert_int_equal(kept, 1);
        assert_string_equal(pg_test_value(test.sql, "SELECT string_agg(\"offset\"::text, ',') FROM "
                                                    "rejected_messages WHERE topic = 'skips' AND "
                                                    "reason = 'expired'"),
                            "0");
        facts.committed = 2;
        assert_int_equal(decider_write(decider, &name, &facts, &decision, &kept, &error), 0);
        assert_int_equal(kept, 3);
        assert_string_equal(
                pg_test_value(
                        test.sql,
                        "SELECT string_agg(concat_ws(' ', \"offset\", host, reason, handler, "
                        "handlers_done, convert_from(value, 'UTF8'), "
                        "convert_from(key, 'UTF8'), headers), ', ' ORDER BY \"offset\") FROM "
                        "rejected_messages WHERE topic = 'skips' AND \"offset\" BETWEEN 1 AND "
                        "5"),
                "2 h2 expired restart-host {save} { \"host\" : 1} k [[\"a\",null]], 4 first {}, "
                "5 h5 expired restart-host {save} { \"host\" : 1} k [[\"a\",null]]");
        /* Of a topic that was made again nothing is read any more. */
        decision.anew = true;
        decision.from = 0;
        assert_int_equal(decider_write(decider, &name, &facts, &decision, &kept, &error), 0);
        assert_int_equal(kept, 3);
        assert_int_not_equal(read_source("skips", 0).facts.source, facts.source);
        decider_close(decider);
}

/* A replay whose message was saved before has no row but the one that was replayed. */
static void test_decision_opens_replays_again(void **state) {
        (void)state;
        SourceName name = {"cluster", "replays", 0};
        Decision decision = {.from = 8, .who = "me", .why = "w", .expires = true};
        PartitionFacts facts = {0};
        int64_t kept = -1;
        char *error = NULL;
        Decider *decider = open_decider();
        assert_int_equal(adopt("replays", 0, 0).end, ADOPT_OK);
        assert_int_equal(decider_read(decider, &name, &facts, &error), 0);
        /* 1 to 4 were replayed as 5 to 8: 5 is acked, 7 was rejected again, 8 is read. */
        pg_test_exec(test.sql,
                     "INSERT INTO rejected (source, \"offset\", reason, detail, replayed_at, "
                     "replay_source, replay_offset) SELECT id, o, 'failed', 'd', now(), id, o + 4 "
                     "FROM partitions, generate_series(1, 4) o WHERE topic = 'replays'");
        pg_test_exec(test.sql, "INSERT INTO rejected (source, \"offset\", reason) SELECT id, 7, "
                               "'failed' FROM partitions WHERE topic = 'replays'");
        facts.committed = 6;
        assert_int_equal(decider_write(decider, &name, &facts, &decision, &kept, &error), 0);
        assert_int_equal(kept, 1);
        assert_string_equal(
                pg_test_value(test.sql,
                              "SELECT string_agg(concat_ws(' ', \"offset\", detail), ', ' "
                              "ORDER BY \"offset\") FROM rejected_messages WHERE topic = "
                              "'replays' AND replayed_at IS NULL AND replay_source IS "
                              "NULL"),
                "2 d; replayed as replays/0/6, whose ack is not confirmed, and me (w) decided to "
                "go "
                "on at offset 8, 7");
        decider_close(decider);
}

static void test_outage(void **state) {
        (void)state;
        pg_test_exec(test.sql, "ALTER TABLE partitions RENAME TO elsewhere");
        captured.n = 0;
        assert_false(read_source("outage", 3).has_facts);
        assert_int_equal(captured.n, 1);
        assert_int_equal(captured.lines[0].level, LOG_ERROR);
        assert_non_null(strstr(captured.lines[0].text, "42P01"));
        assert_non_null(strstr(captured.lines[0].text, "run: ackd init-db"));
        assert_int_equal(adopt("outage", 0, 1).end, ADOPT_OUTAGE);
        assert_int_equal(move_fence(1, 1, 2).end, ADOPT_OUTAGE);
        pg_test_exec(test.sql, "ALTER TABLE elsewhere RENAME TO partitions");
        assert_true(read_source("outage", 3).has_facts);
}

/* What is still open when the pool closes is answered. */
static void test_close(void **state) {
        (void)state;
        Answer answer = {0}, adopted = {0};
        SourceName name = {"cluster", "close", 0};
        assert_int_equal(sources_read(sources, &name, -1, on_read, &answer), 0);
        assert_int_equal(sources_adopt(sources, &name, 0, on_adopted, &adopted), 0);
        pg_test_close(&test);
        assert_int_equal(answer.n, 1);
        assert_false(answer.has_facts);
        assert_int_equal(adopted.n, 1);
        assert_int_equal(adopted.end, ADOPT_OUTAGE);
        pg_test_open_default(&test, 1, 30 * 1000 * 1000);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_story),
                cmocka_unit_test(test_changed),
                cmocka_unit_test(test_what_was_rejected),
                cmocka_unit_test(test_decision),
                cmocka_unit_test(test_decision_keeps_what_it_skips),
                cmocka_unit_test(test_decision_opens_replays_again),
                cmocka_unit_test(test_outage),
                cmocka_unit_test(test_close),
        };
        return cmocka_run_group_tests(tests, setup, teardown);
}
