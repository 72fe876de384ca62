#include "test.h"

#include "handlers/save.h"
#include "pg-batch.h"

#define DATABASE "ackd_test_save"

enum {
        SECOND = 1000 * 1000,
        FIRST = 100, /* the first offset of every source here */
};

/* What the last call was answered with. */
typedef struct Answer {
        int n;
        Batch *batch;
        BatchEnd end;
        bool each;
        size_t n_refused;
        RefusedRow refused[TEST_MESSAGES];
        bool has_fences;
        int64_t fences[TEST_PARTS];
} Answer;

static PgTest test;
static Save *save;
static Answer answer;

/* Two sources and a batch of both; each test has its own. */
static Partition *one, *two;
static TestBatch batch;

static void on_saved(void *user, Batch *ended, BatchEnd end) {
        assert_ptr_equal(user, &answer);
        answer.n++;
        answer.batch = ended;
        answer.end = end;
}

static void on_saved_each(void *user, Batch *ended, BatchEnd end, const RefusedRow *refused,
                          size_t n_refused) {
        on_saved(user, ended, end);
        answer.each = true;
        answer.n_refused = n_refused;
        assert_true(n_refused <= TEST_MESSAGES);
        for (size_t i = 0; i < n_refused; i++) {
                answer.refused[i] = refused[i];
        }
}

static void on_fences_read(void *user, Batch *ended, const int64_t *fences,
                           const RefusedRow *refused, size_t n_refused) {
        on_saved_each(user, ended, BATCH_SAVED, refused, n_refused);
        answer.has_fences = fences != NULL;
        for (size_t i = 0; fences != NULL && i < ended->n_parts; i++) {
                answer.fences[i] = fences[i];
        }
}

static const SaveEvents events = {on_saved, on_saved_each, on_fences_read};

static int setup(void **state) {
        (void)state;
        pg_test_init(&test, DATABASE);
        return 0;
}

static int teardown(void **state) {
        (void)state;
        pg_test_deinit(&test, DATABASE);
        return 0;
}

static int begin_with(int64_t statement_timeout_us) {
        static int topics;
        char topic[32];
        snprintf(topic, sizeof(topic), "topic%d", topics++);
        pg_test_exec(test.sql, "TRUNCATE messages, rejected, partitions RESTART IDENTITY");
        one = test_partition_new(topic, 0, test_source_new(&test, topic, 0, FIRST));
        two = test_partition_new(topic, 1, test_source_new(&test, topic, 1, FIRST));
        test_batch_init(&batch, BATCH_SAVE);
        assert_int_equal(test_batch_add_part(&batch, one, FIRST), 0);
        assert_int_equal(test_batch_add_part(&batch, two, FIRST), 1);
        pg_test_open_default(&test, 1, statement_timeout_us);
        return save_new(&save, test.pool, NULL, "ackd", false, &events, &answer);
}

static int begin(void **state) {
        (void)state;
        return begin_with(30 * SECOND);
}

static int begin_impatient(void **state) {
        (void)state;
        return begin_with(2 * SECOND);
}

static int end(void **state) {
        (void)state;
        pg_test_close(&test);
        save_free(save);
        test_batch_deinit(&batch);
        free(one);
        free(two);
        return 0;
}

static bool is_answered(void *user) {
        (void)user;
        return answer.n > 0;
}

static void ask(int (*call)(Save *, Batch *)) {
        answer = (Answer){0};
        assert_int_equal(call(save, &batch.batch), 0);
        assert_int_equal(answer.n, 0); /* never at once */
}

static void run(int (*call)(Save *, Batch *)) {
        ask(call);
        assert_true(pg_test_until(&test, is_answered, NULL));
        assert_int_equal(answer.n, 1);
        assert_ptr_equal(answer.batch, &batch.batch);
}

static void expect(const char *sql, const char *value) {
        assert_string_equal(pg_test_value(test.sql, sql), value);
}

/* Rows in `messages`, in `rejected`, and both fences. */
static void expect_state(int saved, int rejected, int64_t fence_one, int64_t fence_two) {
        char sql[512], expected[128];
        snprintf(sql, sizeof(sql),
                 "SELECT (SELECT count(*) FROM messages) || ' ' || (SELECT count(*) FROM rejected)"
                 " || ' ' || (SELECT string_agg(next_offset::text, ' ' ORDER BY id) FROM "
                 "partitions)");
        snprintf(expected, sizeof(expected), "%d %d %lld %lld", saved, rejected,
                 (long long)fence_one, (long long)fence_two);
        expect(sql, expected);
}

/* --- what goes well ----------------------------------------------------------------------- */

static void test_rows(void **state) {
        (void)state;
        static const uint8_t key[] = {0, 0xff, 'k', '\'', '\\'};
        static const char headers[] = "[[\"a\",\"b\"],[\"c\",{\"base64\":\"/w==\"}]]";
        Message *message = test_batch_add_json(&batch, 0, "{ \"host\" : \"web\",  \"n\":1.0 }");
        message->id = "id \xc3\xa4 'quoted' \\ \t";
        message->body->key = key;
        message->body->key_size = sizeof(key);
        message->body->headers = headers;
        message->body->headers_size = sizeof(headers) - 1;
        message->received_wall_us = loop_wall();
        message->produced_us = INT64_C(1700000000123456);
        char received[64];
        snprintf(received, sizeof(received), "%lld", (long long)message->received_wall_us);
        Message *bare = test_batch_add_json(&batch, 0, "{}");
        bare->host = NULL;
        bare->produced_us = -1;
        test_batch_add_json(&batch, 1, "{\"x\":2}");
        run(save_batch);
        assert_int_equal(answer.end, BATCH_SAVED);
        assert_false(answer.each);
        expect_state(3, 0, FIRST + 2, FIRST + 1);
        expect("SELECT payload FROM messages WHERE source = 1 AND \"offset\" = 100",
               "{ \"host\" : \"web\",  \"n\":1.0 }");
        expect("SELECT request_id FROM messages WHERE source = 1 AND \"offset\" = 100",
               "id \xc3\xa4 'quoted' \\ \t");
        expect("SELECT encode(key, 'hex') || ' ' || headers::text FROM messages WHERE source = 1 "
               "AND \"offset\" = 100",
               "00ff6b275c [[\"a\",\"b\"],[\"c\",{\"base64\":\"/w==\"}]]");
        expect("SELECT (extract(epoch FROM produced_at) * 1000000)::bigint FROM messages WHERE "
               "source = 1 AND \"offset\" = 100",
               "1700000000123456");
        expect("SELECT (extract(epoch FROM received_at) * 1000000)::bigint FROM messages WHERE "
               "source = 1 AND \"offset\" = 100",
               received);
        expect("SELECT count(*) FROM messages WHERE \"offset\" = 101 AND host IS NULL AND key IS "
               "NULL AND request_id IS NULL AND headers IS NULL AND produced_at IS NULL",
               "1");
        expect("SELECT partition || topic FROM saved_messages WHERE payload::jsonb ? 'x'",
               pg_test_value(test.sql, "SELECT '1' || topic FROM partitions LIMIT 1"));
        assert_int_equal(captured.n, 1); /* connected, and nothing else */
}

static void test_faulty_and_no_row(void **state) {
        (void)state;
        static const uint8_t bytes[] = {'{', 0, 0xff, '\''};
        Message *faulty = test_batch_add(&batch, 0, MESSAGE_FAULTY, bytes, sizeof(bytes));
        test_message_set_fault(faulty, "not_json", "byte 1 'is' a \\NUL\xff");
        faulty->host = NULL;
        faulty->body->headers = "[[\"a\",\"b\"]]";
        faulty->body->headers_size = strlen(faulty->body->headers);
        test_batch_add_json(&batch, 0, "{}");
        test_batch_add(&batch, 0, MESSAGE_NO_ROW, NULL, 0);
        Message *large = test_batch_add(&batch, 1, MESSAGE_FAULTY, "xxxx", 4);
        test_message_set_fault(large, "too_large", "too large");
        large->body->headers = "no json \xff";
        large->body->headers_size = strlen(large->body->headers);
        run(save_batch);
        assert_int_equal(answer.end, BATCH_SAVED);
        expect_state(1, 2, FIRST + 3, FIRST + 1);
        expect("SELECT encode(value, 'hex') || ' ' || reason || ' ' || detail || ' ' || headers "
               "FROM rejected WHERE source = 1",
               "7b00ff27 not_json byte 1 'is' a \\NUL\xef\xbf\xbd [[\"a\",\"b\"]]");
        expect("SELECT count(*) FROM rejected WHERE source = 1 AND host IS NULL AND handler IS "
               "NULL AND attempts = 0 AND handlers_done = '{}' AND outbox = 'none' AND "
               "produced_at = 'epoch'::timestamptz + interval '1700000000 s 100 us' AND "
               "rejected_at > now() - interval '1 min' AND received_at > now() - interval '1 "
               "min'",
               "1");
        expect("SELECT detail FROM rejected WHERE source = 2", "too large");
        expect("SELECT headers IS NULL AND host = 'web100' FROM rejected WHERE source = 2", "t");
}

/* Nothing to copy: only the fence moves. */
static void test_only_no_rows(void **state) {
        (void)state;
        test_batch_add(&batch, 0, MESSAGE_NO_ROW, NULL, 0);
        test_batch_add(&batch, 1, MESSAGE_NO_ROW, "{}", 2);
        run(save_batch);
        assert_int_equal(answer.end, BATCH_SAVED);
        expect_state(0, 0, FIRST + 1, FIRST + 1);
}

static void test_large_payload(void **state) {
        (void)state;
        size_t size = 3 * 1024 * 1024;
        char *json = malloc(size + 1);
        memset(json, 'x', size);
        memcpy(json, "{\"a\":\"", 6);
        memcpy(json + size - 2, "\"}", 3);
        for (int i = 0; i < 4; i++) {
                test_batch_add(&batch, 0, MESSAGE_ROW, json, size);
        }
        test_batch_add_json(&batch, 1, "{}");
        free(json);
        run(save_batch);
        assert_int_equal(answer.end, BATCH_SAVED);
        expect("SELECT sum(length(payload::text)) FROM messages WHERE source = 1", "12582912");
        /* The same size row by row: a poison row among them. */
        for (size_t i = 0; i < 2; i++) {
                batch.parts[i].expected = batch.parts[i].next;
                batch.parts[i].next = batch.parts[i].expected + (i == 0 ? 4 : 1);
        }
        for (size_t i = 0; i < batch.n_messages; i++) {
                batch.messages[i]->offset += i < 4 ? 4 : 1;
        }
        ((uint8_t *)(uintptr_t)batch.messages[1]->body->value)[7] = 0xff;
        run(save_batch);
        assert_int_equal(answer.end, BATCH_REFUSED);
        run(save_batch_each);
        assert_int_equal(answer.end, BATCH_SAVED);
        assert_int_equal(answer.n_refused, 1);
        expect_state(9, 1, FIRST + 8, FIRST + 2);
        expect("SELECT length(value) FROM rejected", "3145728");
}

/* A batch after another uses the same job; nothing of the first is left. */
static void test_again(void **state) {
        (void)state;
        for (int i = 0; i < 3; i++) {
                test_batch_deinit(&batch);
                list_init(&batch.batch.messages);
                for (size_t p = 0; p < 2; p++) {
                        batch.parts[p].expected = batch.parts[p].next;
                        batch.parts[p].rows = 0;
                        test_batch_add_json(&batch, p, "{}");
                }
                run(save_batch);
                assert_int_equal(answer.end, BATCH_SAVED);
                expect_state(2 * (i + 1), 0, FIRST + i + 1, FIRST + i + 1);
        }
}

/* --- what was released meanwhile ---------------------------------------------------------- */

static void test_part_that_lost_messages(void **state) {
        (void)state;
        test_batch_add_json(&batch, 0, "{}");
        test_batch_add_json(&batch, 0, "{}");
        test_batch_add_json(&batch, 1, "{}");
        ask(save_batch);
        list_unlink(&batch.messages[1]->lane_link);
        assert_true(pg_test_until(&test, is_answered, NULL));
        assert_int_equal(answer.end, BATCH_SAVED);
        expect_state(1, 0, FIRST, FIRST + 1);
}

static void test_all_parts_lost_messages(void **state) {
        (void)state;
        test_batch_add_json(&batch, 0, "{}");
        test_batch_add_json(&batch, 1, "{}");
        static int (*const calls[])(Save *, Batch *) = {save_batch, save_batch_each};
        for (size_t i = 0; i < 2; i++) {
                ask(calls[i]);
                list_unlink(&batch.messages[0]->lane_link);
                list_unlink(&batch.messages[1]->lane_link);
                assert_true(pg_test_until(&test, is_answered, NULL));
                assert_int_equal(answer.end, BATCH_OUTAGE);
        }
        expect_state(0, 0, FIRST, FIRST);
        assert_int_equal(captured.n, 1);
}

/* --- fences ------------------------------------------------------------------------------- */

/* Neither the rows nor the other partition's fence. */
static void test_fence_elsewhere(void **state) {
        (void)state;
        for (int moved = 0; moved < 2; moved++) {
                char sql[128];
                snprintf(sql, sizeof(sql),
                         "UPDATE partitions SET next_offset = 100 + (id = %d)::int", moved + 1);
                pg_test_exec(test.sql, sql);
                if (moved == 0) {
                        test_batch_add_json(&batch, 0, "{}");
                        Message *faulty = test_batch_add(&batch, 1, MESSAGE_FAULTY, "x", 1);
                        test_message_set_fault(faulty, "not_json", "");
                        test_batch_add_json(&batch, 1, "{}");
                }
                run(save_batch);
                assert_int_equal(answer.end, BATCH_FENCE);
                expect_state(0, 0, FIRST + (moved == 0), FIRST + (moved == 1));
                run(save_batch_each);
                assert_int_equal(answer.end, BATCH_FENCE);
                expect_state(0, 0, FIRST + (moved == 0), FIRST + (moved == 1));
        }
        assert_int_equal(captured.lines[1].level, LOG_WARNING);
        assert_non_null(strstr(captured.lines[1].text, "AK001: the fence of source 1 was expected "
                                                       "at 100 and found at 101"));
        assert_non_null(strstr(captured.lines[1].text, "reading the fences"));
}

static void test_read_fences(void **state) {
        (void)state;
        pg_test_exec(test.sql, "UPDATE partitions SET next_offset = 123456789012 WHERE id = 2");
        run(save_read_fences);
        assert_true(answer.has_fences);
        assert_int_equal(answer.fences[0], FIRST);
        assert_int_equal(answer.fences[1], INT64_C(123456789012));
        pg_test_exec(test.sql, "UPDATE partitions SET retired_at = now() WHERE id = 1");
        run(save_read_fences);
        assert_int_equal(answer.fences[0], -1);
        two->source = 77;
        run(save_read_fences);
        assert_int_equal(answer.fences[1], -1);
        pg_test_exec(test.sql, "ALTER TABLE partitions RENAME TO elsewhere");
        run(save_read_fences);
        assert_false(answer.has_fences);
        pg_test_exec(test.sql, "ALTER TABLE elsewhere RENAME TO partitions");
}

/* --- poison ------------------------------------------------------------------------------- */

typedef struct Poison {
        const char *name, *json, *id, *sqlstate;
        bool saved; /* type json takes it */
} Poison;

static const Poison poisons[] = {
        {"invalid UTF-8", "{\"a\":\"\xff\"}", NULL, "22021", false},
        {"cut character", "{\"a\":\"\xe2\x82\"}", NULL, "22021", false},
        {"surrogate in UTF-8", "{\"a\":\"\xed\xa0\x80\"}", NULL, "22021", false},
        {"not JSON", "{\"a\":", NULL, "22P02", false},
        {"trailing bytes", "{} {}", NULL, "22P02", false},
        {"empty", "", NULL, "22P02", false},
        {"bad id", "{}", "\xc0\x80", "22021", false},
        {"\\u0000", "{\"a\":\"\\u0000\"}", NULL, "", true},
        {"lone surrogate", "{\"a\":\"\\ud800\"}", NULL, "", true},
        {"1e999999", "{\"a\":1e999999}", NULL, "", true},
};

/* Row @at of 3 in the second part is the poison; two more are faulty and empty. */
static void make_poisoned(const Poison *poison, size_t at) {
        pg_test_exec(test.sql, "TRUNCATE messages, rejected; UPDATE partitions SET next_offset = "
                               "100");
        test_batch_deinit(&batch);
        list_init(&batch.batch.messages);
        for (size_t i = 0; i < 2; i++) {
                batch.parts[i].next = FIRST;
                batch.parts[i].rows = 0;
        }
        test_batch_add_json(&batch, 0, "{\"good\":1}");
        for (size_t i = 0; i < 3; i++) {
                Message *message =
                        test_batch_add_json(&batch, 1, i == at ? poison->json : "{\"good\":1}");
                message->id = i == at ? poison->id : "id";
                message->body->headers = "[]";
                message->body->headers_size = 2;
        }
        Message *faulty = test_batch_add(&batch, 1, MESSAGE_FAULTY, "x", 1);
        test_message_set_fault(faulty, "not_json", "");
        test_batch_add(&batch, 1, MESSAGE_NO_ROW, NULL, 0);
}

static void test_poison_in_each_position(void **state) {
        (void)state;
        for (size_t i = 0; i < sizeof(poisons) / sizeof(poisons[0]); i++) {
                const Poison *poison = &poisons[i];
                for (size_t at = 0; at < 3; at++) {
                        make_poisoned(poison, at);
                        run(save_batch);
                        if (poison->saved) {
                                assert_int_equal(answer.end, BATCH_SAVED);
                                expect_state(4, 1, FIRST + 1, FIRST + 5);
                                continue;
                        }
                        assert_int_equal(answer.end, BATCH_REFUSED);
                        expect_state(0, 0, FIRST, FIRST);
                        run(save_batch_each);
                        assert_true(answer.each);
                        assert_int_equal(answer.end, BATCH_SAVED);
                        assert_int_equal(answer.n_refused, 1);
                        assert_int_equal(answer.refused[0].source, two->source);
                        assert_int_equal(answer.refused[0].offset, FIRST + at);
                        assert_memory_equal(answer.refused[0].detail, poison->sqlstate, 5);
                        expect_state(3, 2, FIRST + 1, FIRST + 5);
                        expect("SELECT count(*) FROM messages WHERE payload::text = "
                               "'{\"good\":1}'",
                               "3");
                        expect("SELECT handler || ' ' || reason || ' ' || attempts || ' ' || "
                               "headers FROM rejected WHERE handler IS NOT NULL",
                               "save refused 1 []");
                        expect("SELECT length(value) FROM rejected WHERE handler IS NOT NULL",
                               pg_test_value(test.sql, "SELECT max(length(value)) FROM rejected "
                                                       "WHERE reason = 'refused'"));
                }
        }
}

/* Deeper than PostgreSQL's stack: 54001. */
static void test_depth(void **state) {
        (void)state;
        size_t depth = 100000;
        char *deep = malloc(2 * depth);
        memset(deep, '[', depth);
        memset(deep + depth, ']', depth);
        test_batch_add_json(&batch, 0, "{}");
        test_batch_add(&batch, 0, MESSAGE_ROW, deep, 2 * depth);
        test_batch_add_json(&batch, 1, "{}");
        run(save_batch);
        assert_int_equal(answer.end, BATCH_REFUSED);
        run(save_batch_each);
        assert_int_equal(answer.end, BATCH_SAVED);
        assert_int_equal(answer.n_refused, 1);
        assert_memory_equal(answer.refused[0].detail, "54001: stack depth", 18);
        expect_state(2, 1, FIRST + 2, FIRST + 1);
        free(deep);
}

/* Many of them, in the order of their offsets, and what was done already. */
static void test_half_are_poison(void **state) {
        (void)state;
        for (int i = 0; i < 100; i++) {
                Message *message = test_batch_add_json(&batch, 0, i % 2 == 0 ? "{}" : "nonsense");
                message->handlers[HANDLER_RESTART].state = HANDLER_ENDED;
                message->handlers[HANDLER_RESTART].outcome =
                        i % 4 == 1 ? OUTCOME_DONE : OUTCOME_FAILED;
        }
        test_batch_add_json(&batch, 1, "{}");
        run(save_batch_each);
        assert_int_equal(answer.end, BATCH_SAVED);
        assert_int_equal(answer.n_refused, 50);
        for (size_t i = 0; i < 50; i++) {
                assert_int_equal(answer.refused[i].offset, FIRST + 2 * i + 1);
        }
        expect_state(51, 50, FIRST + 100, FIRST + 1);
        expect("SELECT count(*) FROM rejected WHERE handlers_done = '{restart-host}'", "25");
        expect("SELECT count(*) FROM rejected WHERE handlers_done = '{}'", "25");
        expect("SELECT count(*) FROM rejected WHERE received_at > now() - interval '1 min'", "50");
}

/* A replay that is rejected again is as old as what it stands for, and has what that had. */
static void test_a_replay_is_rejected_again(void **state) {
        (void)state;
        Replay replay = {.verdict = REPLAY_OURS,
                         .done = 1u << HANDLER_RESTART,
                         .first_us = INT64_C(1700000000000000)};
        test_batch_add_json(&batch, 0, "nonsense")->replay = &replay;
        test_batch_add_json(&batch, 0, "{}");
        run(save_batch_each);
        assert_int_equal(answer.n_refused, 1);
        expect("SELECT handlers_done::text || ' ' || extract(epoch FROM received_at)::bigint FROM "
               "rejected",
               "{restart-host} 1700000000");

        /* Its row is elsewhere: only the fence moves, and it can be rejected from its own bytes. */
        replay.done = 1u << HANDLER_SAVE;
        pg_test_exec(test.sql, "TRUNCATE rejected");
        list_unlink(&batch.messages[0]->lane_link);
        list_unlink(&batch.messages[1]->lane_link);
        Message *message = test_batch_add(&batch, 0, MESSAGE_NO_ROW, "{\"a\":1}", 7);
        message->replay = &replay;
        batch.batch.kind = BATCH_REJECT;
        message->fault_handler = HANDLER_RESTART;
        message->handlers[HANDLER_SAVE] = (HandlerTask){HANDLER_ENDED, OUTCOME_DONE, 1, 1};
        message->handlers[HANDLER_RESTART] = (HandlerTask){HANDLER_ENDED, OUTCOME_FAILED, 5, 7};
        test_message_set_fault(message, "failed", "exit status 3");
        run(save_reject);
        assert_int_equal(answer.end, BATCH_SAVED);
        expect("SELECT convert_from(value, 'UTF8') || ' ' || handlers_done::text || ' ' || "
               "extract(epoch FROM received_at)::bigint FROM rejected",
               "{\"a\":1} {save} 1700000000");
}

/* The table takes another row, so they are at fault, however many they are. */
static void test_every_row_refused(void **state) {
        (void)state;
        for (int i = 0; i < 3; i++) {
                test_batch_add_json(&batch, 0, "nonsense");
        }
        test_batch_add(&batch, 1, MESSAGE_NO_ROW, NULL, 0);
        run(save_batch_each);
        assert_int_equal(answer.end, BATCH_SAVED);
        assert_int_equal(answer.n_refused, 3);
        expect_state(0, 3, FIRST + 3, FIRST + 1);
}

/* A column that somebody added: every row's fault, so nobody's. */
static void test_broken_table(void **state) {
        (void)state;
        pg_test_exec(test.sql, "ALTER TABLE messages ADD extra int NOT NULL DEFAULT 0; ALTER TABLE "
                               "messages ALTER extra DROP DEFAULT");
        test_batch_add_json(&batch, 0, "{}");
        test_batch_add_json(&batch, 1, "{}");
        run(save_batch);
        assert_int_equal(answer.end, BATCH_REFUSED);
        run(save_batch_each);
        assert_int_equal(answer.end, BATCH_REFUSED);
        expect_state(0, 0, FIRST, FIRST);
        pg_test_exec(test.sql, "ALTER TABLE messages DROP extra");
}

/* At low traffic each batch has one row: a mass rejection, one by one. */
static void test_broken_table_and_one_row(void **state) {
        (void)state;
        pg_test_exec(test.sql, "ALTER TABLE messages ADD extra int NOT NULL DEFAULT 0; ALTER TABLE "
                               "messages ALTER extra DROP DEFAULT");
        test_batch_add_json(&batch, 0, "{}");
        batch.batch.n_parts = 1;
        run(save_batch);
        assert_int_equal(answer.end, BATCH_REFUSED);
        run(save_batch_each);
        assert_int_equal(answer.end, BATCH_REFUSED);
        assert_non_null(strstr(captured.lines[captured.n - 1].text, "AK002"));
        expect_state(0, 0, FIRST, FIRST);
        pg_test_exec(test.sql, "ALTER TABLE messages DROP extra");
}

/* 23514 with a name is a constraint's, without one a missing partition. */
static void test_check_constraint(void **state) {
        (void)state;
        pg_test_exec(test.sql,
                     "ALTER TABLE messages ADD CONSTRAINT site CHECK (payload->>'site' <> "
                     "'nowhere')");
        test_batch_add_json(&batch, 0, "{}");
        test_batch_add_json(&batch, 0, "{\"site\":\"nowhere\"}");
        batch.batch.n_parts = 1;
        run(save_batch);
        assert_int_equal(answer.end, BATCH_REFUSED);
        run(save_batch_each);
        assert_int_equal(answer.end, BATCH_SAVED);
        assert_int_equal(answer.n_refused, 1);
        assert_int_equal(answer.refused[0].offset, FIRST + 1);
        expect_state(1, 1, FIRST + 2, FIRST);
        pg_test_exec(test.sql, "ALTER TABLE messages DROP CONSTRAINT site");
}

/* What a trigger raises names neither: the row's fault too. */
static void test_trigger_that_checks(void **state) {
        (void)state;
        pg_test_exec(test.sql,
                     "CREATE FUNCTION judge() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN IF "
                     "new.payload->>'site' = 'nowhere' THEN RAISE check_violation; END IF; RETURN "
                     "new; END $$; CREATE TRIGGER judge BEFORE INSERT ON messages FOR EACH ROW "
                     "EXECUTE FUNCTION judge()");
        test_batch_add_json(&batch, 0, "{}");
        test_batch_add_json(&batch, 0, "{\"site\":\"nowhere\"}");
        batch.batch.n_parts = 1;
        run(save_batch);
        assert_int_equal(answer.end, BATCH_REFUSED);
        run(save_batch_each);
        assert_int_equal(answer.end, BATCH_SAVED);
        assert_int_equal(answer.n_refused, 1);
        expect_state(1, 1, FIRST + 2, FIRST);
        pg_test_exec(test.sql, "DROP FUNCTION judge CASCADE");
}

/* Of a deferred one the server speaks at the commit, when nobody can tell any more whose it was. */
static void test_deferred_constraint(void **state) {
        (void)state;
        pg_test_exec(test.sql,
                     "CREATE FUNCTION late() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN IF "
                     "NEW.payload->>'site' = 'nowhere' THEN RAISE 'late' USING ERRCODE = '23503'; "
                     "END IF; RETURN NULL; END $$; CREATE CONSTRAINT TRIGGER late AFTER INSERT ON "
                     "messages DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION late()");
        test_batch_add_json(&batch, 0, "{}");
        test_batch_add_json(&batch, 0, "{\"site\":\"nowhere\"}");
        batch.batch.n_parts = 1;
        run(save_batch);
        assert_int_equal(answer.end, BATCH_REFUSED);
        run(save_batch_each);
        assert_int_equal(answer.end, BATCH_SAVED);
        assert_int_equal(answer.n_refused, 1);
        assert_int_equal(answer.refused[0].offset, FIRST + 1);
        expect_state(1, 1, FIRST + 2, FIRST);
        pg_test_exec(test.sql, "DROP FUNCTION late() CASCADE");
}

static void test_single_row_refused(void **state) {
        (void)state;
        test_batch_add_json(&batch, 0, "nonsense");
        batch.batch.n_parts = 1;
        run(save_batch);
        assert_int_equal(answer.end, BATCH_REFUSED);
        run(save_batch_each);
        assert_int_equal(answer.end, BATCH_SAVED);
        assert_int_equal(answer.n_refused, 1);
        expect_state(0, 1, FIRST + 1, FIRST);
}

/* --- outages ------------------------------------------------------------------------------ */

/* 1998 has no partition of the table. A batch goes row by row first: 23514 could be one row's. */
static void test_missing_partition(void **state) {
        (void)state;
        test_batch_add_json(&batch, 0, "{}");
        test_batch_add_json(&batch, 1, "{}");
        batch.messages[0]->received_wall_us = INT64_C(900000000000000);
        captured.n = 0;
        run(save_batch);
        assert_int_equal(answer.end, BATCH_REFUSED);
        assert_int_equal(captured.n, 0);
        run(save_batch_each);
        assert_int_equal(answer.end, BATCH_OUTAGE);
        assert_int_equal(answer.n_refused, 0);
        assert_int_equal(captured.lines[0].level, LOG_ERROR);
        assert_non_null(strstr(captured.lines[0].text, "23514"));
        assert_non_null(strstr(captured.lines[0].text, "(2 messages)"));
        assert_non_null(strstr(captured.lines[0].text, "run: ackd init-db"));
        /* The same again is not said again for a while. */
        captured.n = 0;
        run(save_batch_each);
        assert_int_equal(answer.end, BATCH_OUTAGE);
        assert_int_equal(captured.n, 0);
        expect_state(0, 0, FIRST, FIRST);
}

static void test_missing_schema(void **state) {
        (void)state;
        pg_test_exec(test.sql, "ALTER SCHEMA ackd RENAME TO away");
        test_batch_add_json(&batch, 0, "{}");
        test_batch_add_json(&batch, 1, "{}");
        run(save_batch);
        assert_int_equal(answer.end, BATCH_OUTAGE);
        assert_int_equal(captured.lines[1].level, LOG_ERROR);
        assert_non_null(strstr(captured.lines[1].text, "run: ackd init-db"));
        pg_test_exec(test.sql, "ALTER SCHEMA away RENAME TO ackd");
        run(save_batch);
        assert_int_equal(answer.end, BATCH_SAVED);
}

static bool holds(void *user) {
        return strcmp(pg_test_value(test.sql, user), "t") == 0;
}

/* Another daemon holds the fence: the batch waits for 2 s, its statement_timeout here. */
static void test_fence_is_held(void **state) {
        (void)state;
        test_batch_add_json(&batch, 0, "{}");
        test_batch_add_json(&batch, 1, "{}");
        pg_test_exec(test.sql, "BEGIN; SELECT FROM partitions FOR UPDATE");
        run(save_batch);
        assert_int_equal(answer.end, BATCH_OUTAGE);
        pg_test_exec(test.sql, "ROLLBACK");
        expect_state(0, 0, FIRST, FIRST);
        run(save_batch);
        assert_int_equal(answer.end, BATCH_SAVED);
        expect_state(2, 0, FIRST + 1, FIRST + 1);
}

/* --- what nobody knows -------------------------------------------------------------------- */

static char waits_for_fence[] = "SELECT EXISTS (SELECT FROM pg_stat_activity WHERE "
                                "datname = current_database() AND application_name = 'ackd test' "
                                "AND wait_event_type = 'Lock')";

static void terminate_backends(void) {
        pg_test_exec(test.sql, "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE "
                               "datname = current_database() AND application_name = 'ackd test'");
}

static void test_backend_killed_before_the_commit(void **state) {
        (void)state;
        test_batch_add_json(&batch, 0, "{}");
        test_batch_add_json(&batch, 1, "{}");
        pg_test_exec(test.sql, "BEGIN; SELECT FROM partitions FOR UPDATE");
        ask(save_batch);
        assert_true(pg_test_until(&test, holds, waits_for_fence));
        terminate_backends();
        assert_true(pg_test_until(&test, is_answered, NULL));
        assert_int_equal(answer.end, BATCH_UNKNOWN);
        pg_test_exec(test.sql, "ROLLBACK");
        run(save_read_fences);
        assert_int_equal(answer.fences[0], FIRST);
        assert_int_equal(answer.fences[1], FIRST);
        expect_state(0, 0, FIRST, FIRST);
        run(save_batch);
        assert_int_equal(answer.end, BATCH_SAVED);
}

/* --- rejected later ----------------------------------------------------------------------- */

static void test_reject(void **state) {
        (void)state;
        test_batch_add_json(&batch, 0, "{\"a\": 1}");
        test_batch_add_json(&batch, 0, "{\"b\": 2}");
        test_batch_add_json(&batch, 1, "{}");
        batch.messages[1]->body->key = (const uint8_t *)"key";
        batch.messages[1]->body->key_size = 3;
        run(save_batch);
        assert_int_equal(answer.end, BATCH_SAVED);

        batch.batch.kind = BATCH_REJECT;
        for (size_t i = 0; i < 2; i++) {
                Message *message = batch.messages[i];
                message->fault_handler = HANDLER_RESTART;
                message->handlers[HANDLER_SAVE] = (HandlerTask){HANDLER_ENDED, OUTCOME_DONE, 1, 1};
                message->handlers[HANDLER_RESTART] =
                        (HandlerTask){HANDLER_ENDED, OUTCOME_FAILED, 5, 7};
                test_message_set_fault(message, "failed", "exit status 3");
        }
        list_unlink(&batch.messages[2]->lane_link);
        MessageBody *body = steal(batch.messages[1]->body); /* it waited, and let go of it */
        for (int again = 0; again < 2; again++) {
                run(save_reject);
                assert_int_equal(answer.end, BATCH_SAVED);
                expect_state(3, 2, FIRST + 2, FIRST + 1);
        }
        expect("SELECT string_agg(convert_from(value, 'UTF8') || ' ' || handler || ' ' || reason "
               "|| "
               "' ' || detail || ' ' || attempts || ' ' || handlers_done::text, '; ' ORDER BY "
               "\"offset\") FROM rejected",
               "{\"a\": 1} restart-host failed exit status 3 7 {save}; {\"b\": 2} restart-host "
               "failed exit status 3 7 {save}");
        expect("SELECT convert_from(key, 'UTF8') FROM rejected WHERE \"offset\" = 101", "key");
        expect("SELECT count(*) FROM rejected r JOIN messages m USING (source, \"offset\", "
               "received_at)",
               "2");
        batch.messages[1]->body = body;

        list_unlink(&batch.messages[0]->lane_link);
        list_unlink(&batch.messages[1]->lane_link);
        run(save_reject);
        assert_int_equal(answer.end, BATCH_OUTAGE); /* nothing is left of it */
}

/* A replay of what was saved let go of its body as well: its row has it from the one it stands for.
 */
static void test_reject_a_replay_that_let_go(void **state) {
        Replay replay = {.of = {77, 5},
                         .verdict = REPLAY_OURS,
                         .done = 1u << HANDLER_SAVE,
                         .first_us = 1000000};
        (void)state;
        pg_test_exec(test.sql, "INSERT INTO rejected (source, \"offset\", key, value, headers, "
                               "reason) VALUES (77, 5, 'k', '{\"of\":  77}', '[[\"a\",null]]', "
                               "'failed')");
        test_batch_add_json(&batch, 0, "{\"a\": 1}");
        Message *message = test_batch_add(&batch, 0, MESSAGE_NO_ROW, "{\"of\":  77}", 12);
        test_batch_add_json(&batch, 1, "{}");
        run(save_batch);
        assert_int_equal(answer.end, BATCH_SAVED);
        batch.batch.kind = BATCH_REJECT;
        list_unlink(&batch.messages[2]->lane_link);
        message->replay = &replay;
        MessageBody *bodies[2];
        for (size_t i = 0; i < 2; i++) {
                batch.messages[i]->fault_handler = HANDLER_RESTART;
                batch.messages[i]->handlers[HANDLER_SAVE] =
                        (HandlerTask){HANDLER_ENDED, OUTCOME_DONE, 1, 1};
                test_message_set_fault(batch.messages[i], "failed", "exit status 3");
                bodies[i] = steal(batch.messages[i]->body);
        }
        run(save_reject);
        assert_int_equal(answer.end, BATCH_SAVED);
        expect("SELECT string_agg(concat_ws(' ', convert_from(key, 'UTF8'), convert_from(value, "
               "'UTF8'), headers, handlers_done::text), '; ' ORDER BY \"offset\") FROM rejected "
               "WHERE source <> 77",
               "{\"a\": 1} {save}; k {\"of\":  77} [[\"a\",null]] {save}");
        message->replay = NULL;
        for (size_t i = 0; i < 2; i++) {
                batch.messages[i]->body = bodies[i];
        }
}

/* With a dead-letter topic, whichever way a row comes into the table. */
static void test_pending(void **state) {
        (void)state;
        save_free(save);
        assert_int_equal(save_new(&save, test.pool, NULL, "ackd", true, &events, &answer), 0);
        test_batch_add_json(&batch, 0, "{}");
        test_batch_add_json(&batch, 0, "{}");
        test_message_set_fault(test_batch_add(&batch, 0, MESSAGE_FAULTY, "x", 1), "not_json", "x");
        test_batch_add_json(&batch, 1, "nonsense");
        run(save_batch);
        assert_int_equal(answer.end, BATCH_REFUSED);
        run(save_batch_each);
        assert_int_equal(answer.end, BATCH_SAVED);
        expect("SELECT count(*) FROM rejected WHERE outbox = 'pending'", "2");
        batch.batch.kind = BATCH_REJECT;
        for (size_t i = 0; i < 2; i++) {
                batch.messages[i]->fault_handler = HANDLER_RESTART;
                test_message_set_fault(batch.messages[i], "failed", "exit status 3");
        }
        list_unlink(&batch.messages[2]->lane_link);
        list_unlink(&batch.messages[3]->lane_link);
        MessageBody *body = steal(batch.messages[1]->body); /* it waited, and let go of it */
        run(save_reject);
        assert_int_equal(answer.end, BATCH_SAVED);
        expect("SELECT count(*) FROM rejected WHERE outbox = 'pending' AND value IS NOT NULL", "4");
        batch.messages[1]->body = body;
}

static void test_closing(void **state) {
        (void)state;
        test_batch_add_json(&batch, 0, "{}");
        test_batch_add_json(&batch, 1, "{}");
        pg_test_exec(test.sql, "BEGIN; SELECT FROM partitions FOR UPDATE");
        ask(save_batch);
        assert_true(pg_test_until(&test, holds, waits_for_fence));
        TestBatch waiting;
        test_batch_init(&waiting, BATCH_SAVE);
        test_batch_add_part(&waiting, one, FIRST + 1);
        assert_int_equal(save_batch(save, &waiting.batch), 0);
        pg_test_close(&test);
        assert_int_equal(answer.n, 2);
        assert_ptr_equal(answer.batch, &batch.batch);
        assert_int_equal(answer.end, BATCH_UNKNOWN);
        pg_test_exec(test.sql, "ROLLBACK");
        pg_test_open_default(&test, 1, 30 * SECOND);
}

#define TEST(function)           cmocka_unit_test_setup_teardown(function, begin, end)
#define TEST_IMPATIENT(function) cmocka_unit_test_setup_teardown(function, begin_impatient, end)

int main(void) {
        const struct CMUnitTest tests[] = {
                TEST(test_rows),
                TEST(test_faulty_and_no_row),
                TEST(test_only_no_rows),
                TEST(test_large_payload),
                TEST(test_again),
                TEST(test_part_that_lost_messages),
                TEST(test_all_parts_lost_messages),
                TEST(test_fence_elsewhere),
                TEST(test_read_fences),
                TEST(test_poison_in_each_position),
                TEST(test_depth),
                TEST(test_half_are_poison),
                TEST(test_a_replay_is_rejected_again),
                TEST(test_pending),
                TEST(test_every_row_refused),
                TEST(test_broken_table),
                TEST(test_broken_table_and_one_row),
                TEST(test_check_constraint),
                TEST(test_deferred_constraint),
                TEST(test_trigger_that_checks),
                TEST(test_single_row_refused),
                TEST(test_missing_partition),
                TEST(test_missing_schema),
                TEST_IMPATIENT(test_fence_is_held),
                TEST(test_backend_killed_before_the_commit),
                TEST(test_reject),
                TEST(test_reject_a_replay_that_let_go),
                TEST(test_closing),
        };
        return cmocka_run_group_tests(tests, setup, teardown);
}
