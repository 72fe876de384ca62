/* What a row of `rejected` says to a message that names it, and that it says the same again. */

#include "test.h"

#include "pg-batch.h"
#include "pg/replays.h"
#include "util/sha256.h"

#define DATABASE "ackd_test_replays"

enum {
        SOURCES = 5,
        QUESTIONS = 4,
};

static PgTest test;
static Replays *replays;
/* Two partitions of one topic, another topic, another group, another cluster. */
static int32_t sources[SOURCES];

typedef struct Answered {
        int n;
        bool has_answers;
        ReplayAnswer answers[QUESTIONS];
} Answered;

static Answered answered;

static void on_read(void *user, ReplayQuestions *asked, const ReplayAnswer *answers) {
        assert_ptr_equal(user, &answered);
        answered.n++;
        answered.has_answers = answers != NULL;
        for (size_t i = 0; answers != NULL && i < asked->n; i++) {
                answered.answers[i] = answers[i];
        }
}

static bool is_answered(void *user) {
        (void)user;
        return answered.n > 0;
}

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

static int begin(void **state) {
        static const char *const names[SOURCES] = {"'c', 'g', 't', 0", "'c', 'g', 't', 1",
                                                   "'c', 'g', 'u', 0", "'c', 'h', 't', 0",
                                                   "'d', 'g', 't', 0"};
        char sql[128];
        (void)state;
        pg_test_exec(test.sql, "TRUNCATE rejected, partitions, restarts RESTART IDENTITY");
        for (int i = 0; i < SOURCES; i++) {
                snprintf(sql, sizeof(sql), "SELECT adopt(%s, 0, 'i')", names[i]);
                sources[i] = (int32_t)atoi(pg_test_value(test.sql, sql));
        }
        pg_test_open_default(&test, 1, 30 * 1000 * 1000);
        return replays_new(&replays, test.pool, NULL, "ackd", on_read, &answered);
}

static int end(void **state) {
        (void)state;
        pg_test_close(&test);
        replays_free(replays);
        return 0;
}

/* A row of the partition t/0 at @offset, with "value" as its value. */
static void reject(int64_t offset, const char *done) {
        char sql[512];
        snprintf(sql, sizeof(sql),
                 "INSERT INTO rejected (source, \"offset\", value, reason, handlers_done, "
                 "produced_at, received_at, rejected_at) VALUES (%d, %lld, 'value', 'failed', "
                 "'%s', 'epoch'::timestamptz + interval '100 s', 'epoch'::timestamptz + interval "
                 "'200 s', 'epoch'::timestamptz + interval '300 s')",
                 (int)sources[0], (long long)offset, done);
        pg_test_exec(test.sql, sql);
}

static ReplayQuestion question(int by, int64_t by_offset, int64_t of_offset) {
        ReplayQuestion one = {.by = {sources[by], by_offset}, .of = {sources[0], of_offset}};
        assert_int_equal(sha256_text("value", 5, one.sha256), 0);
        return one;
}

static void ask_many(const ReplayQuestion *questions, size_t n) {
        ReplayQuestions *asked = calloc(1, sizeof(*asked) + n * sizeof(*questions));
        assert_non_null(asked);
        asked->n = n;
        memcpy(asked->questions, questions, n * sizeof(*questions));
        answered = (Answered){0};
        assert_int_equal(replays_ask(replays, asked), 0);
        assert_int_equal(answered.n, 0); /* never at once */
        assert_true(pg_test_until(&test, is_answered, NULL));
        assert_int_equal(answered.n, 1);
        free(asked);
}

static const ReplayAnswer *ask(ReplayQuestion one) {
        ask_many(&one, 1);
        assert_true(answered.has_answers);
        return &answered.answers[0];
}

static void is_stray(ReplayQuestion one) {
        const ReplayAnswer *answer = ask(one);
        assert_int_equal(answer->verdict, REPLAY_STRAY);
        assert_int_not_equal(answer->detail[0], '\0');
}

static void expect(const char *sql, const char *value) {
        assert_string_equal(pg_test_value(test.sql, sql), value);
}

static void test_the_first_one_takes_it(void **state) {
        (void)state;
        reject(7, "{save}");
        const ReplayAnswer *answer = ask(question(1, 50, 7));
        assert_int_equal(answer->verdict, REPLAY_OURS);
        assert_int_equal(answer->done, 1u << HANDLER_SAVE);
        assert_int_equal(answer->first_us, 200 * 1000000);
        assert_int_equal(answer->produced_us, 100 * 1000000);
        int64_t received = answer->received_us;
        assert_true(received > loop_wall() - 60 * 1000000 && received < loop_wall() + 60 * 1000000);
        expect("SELECT replay_source || '/' || replay_offset || ' ' || (replayed_at = "
               "replay_received_at) FROM rejected",
               "2/50 true");
        /* The reply was lost, or the daemon died: the same again, later. */
        answer = ask(question(1, 50, 7));
        assert_int_equal(answer->verdict, REPLAY_OURS);
        assert_int_equal(answer->done, 1u << HANDLER_SAVE);
        assert_int_equal(answer->received_us, received);
        /* Produced twice. */
        answer = ask(question(1, 51, 7));
        assert_int_equal(answer->verdict, REPLAY_TAKEN);
        assert_string_equal(answer->detail, "t/0/7 is replayed by t/1/50");
        answer = ask(question(0, 50, 7));
        assert_int_equal(answer->verdict, REPLAY_TAKEN);
}

/* The command has written down when and why it was produced again. */
static void test_when_it_was_replayed_stays(void **state) {
        (void)state;
        reject(7, "{}");
        pg_test_exec(test.sql, "UPDATE rejected SET replayed_at = 'epoch'");
        assert_int_equal(ask(question(1, 50, 7))->verdict, REPLAY_OURS);
        expect("SELECT replayed_at = 'epoch' AND replay_received_at > now() - interval '1 min' "
               "FROM rejected",
               "t");
}

static void test_what_is_done(void **state) {
        static const struct {
                const char *words;
                unsigned done;
        } rows[] = {
                {"{}", 0},
                {"{save}", 1u << HANDLER_SAVE},
                {"{restart-host}", 1u << HANDLER_RESTART},
                {"{save,restart-host}", 1u << HANDLER_SAVE | 1u << HANDLER_RESTART},
                {"{other,saved,save,restart}", 1u << HANDLER_SAVE},
        };
        (void)state;
        for (int i = 0; i < (int)(sizeof(rows) / sizeof(rows[0])); i++) {
                reject(i, rows[i].words);
                assert_int_equal(ask(question(1, 50 + i, i))->done, rows[i].done);
        }
}

static void test_dropped(void **state) {
        (void)state;
        reject(7, "{save}");
        pg_test_exec(test.sql, "UPDATE rejected SET dropped_at = '2026-01-02 03:04:05+00', "
                               "dropped_by = 'me'");
        const ReplayAnswer *answer = ask(question(1, 50, 7));
        assert_int_equal(answer->verdict, REPLAY_DROPPED);
        assert_string_equal(answer->detail, "t/0/7 was dropped by me at 2026-01-02T03:04:05Z");
        expect("SELECT replay_source IS NULL AND replayed_at IS NULL FROM rejected", "t");
}

/* Whoever makes the header up takes no row with it. */
static void test_stray(void **state) {
        (void)state;
        reject(7, "{save}");
        is_stray(question(1, 50, 8)); /* no such row */
        is_stray(question(0, 7, 7));  /* itself */
        is_stray(question(2, 50, 7)); /* another topic */
        is_stray(question(3, 50, 7)); /* another group */
        is_stray(question(4, 50, 7)); /* another cluster */
        ReplayQuestion other = question(1, 50, 7);
        other.of.source = 99;
        is_stray(other);
        other = question(1, 50, 7);
        other.sha256[0] ^= 1; /* another message */
        is_stray(other);
        other = question(1, 50, 7);
        other.by.source = 99;
        is_stray(other);
        expect("SELECT replay_source IS NULL AND replayed_at IS NULL FROM rejected", "t");
        pg_test_exec(test.sql, "UPDATE rejected SET value = NULL");
        is_stray(question(1, 50, 7));
}

/* A source that was retired since is a source all the same. */
static void test_a_row_of_the_topic_before(void **state) {
        (void)state;
        reject(7, "{save}");
        pg_test_exec(test.sql, "UPDATE partitions SET retired_at = now() WHERE id = 1");
        assert_int_equal(ask(question(1, 50, 7))->verdict, REPLAY_OURS);
}

static void test_several_at_once(void **state) {
        (void)state;
        reject(7, "{save}");
        reject(8, "{restart-host}");
        const ReplayQuestion questions[QUESTIONS] = {question(1, 53, 8), question(1, 51, 9),
                                                     question(1, 52, 7), question(1, 50, 8)};
        ask_many(questions, QUESTIONS);
        assert_true(answered.has_answers);
        assert_int_equal(answered.answers[0].verdict, REPLAY_OURS);
        assert_int_equal(answered.answers[0].done, 1u << HANDLER_RESTART);
        assert_int_equal(answered.answers[1].verdict, REPLAY_STRAY);
        assert_int_equal(answered.answers[2].verdict, REPLAY_OURS);
        assert_int_equal(answered.answers[2].done, 1u << HANDLER_SAVE);
        assert_int_equal(answered.answers[3].verdict, REPLAY_TAKEN);
}

/* --- what the ledger says of a restart that was under way when the row was written -------- */

/* A row of the ledger for the message at @offset of t/@partition. */
static void restart(int partition, int64_t offset, int attempt, const char *restart_state,
                    const char *held) {
        char sql[512];
        snprintf(
                sql, sizeof(sql),
                "INSERT INTO restarts (source, \"offset\", attempt, host, received_at, state, "
                "action, instance, instance_name, intended_at, held_until) VALUES (%d, %lld, %d, "
                "'h', now(), '%s', 'exec', gen_random_uuid(), 'one', now(), now() + interval '%s')",
                (int)sources[partition], (long long)offset, attempt, restart_state, held);
        pg_test_exec(test.sql, sql);
}

static void is(ReplayQuestion one, ReplayVerdict verdict, unsigned done) {
        const ReplayAnswer *answer = ask(one);
        assert_int_equal(answer->verdict, verdict);
        if (verdict == REPLAY_OURS || verdict == REPLAY_UNKNOWN) {
                assert_int_equal(answer->done, done);
                assert_int_equal(answer->first_us, 200 * 1000000);
        }
}

static void test_each_state_of_its_restart(void **state) {
        static const struct {
                const char *state, *held;
                ReplayVerdict verdict;
                unsigned done;
        } rows[] = {
                {"done", "1 min", REPLAY_OURS, 1u << HANDLER_RESTART},
                {"suppressed", "1 min", REPLAY_OURS, 1u << HANDLER_RESTART},
                {"failed", "1 min", REPLAY_OURS, 0},
                {"not_started", "1 min", REPLAY_OURS, 0},
                {"intended", "1 min", REPLAY_LATER, 0},
                {"acted", "1 min", REPLAY_LATER, 0},
                {"intended", "-1 s", REPLAY_UNKNOWN, 0},
                {"acted", "-1 s", REPLAY_UNKNOWN, 0},
                {"unknown", "1 min", REPLAY_UNKNOWN, 0},
        };
        (void)state;
        for (int i = 0; i < (int)(sizeof(rows) / sizeof(rows[0])); i++) {
                reject(i, "{}");
                restart(0, i, 1, rows[i].state, rows[i].held);
                is(question(1, 50 + i, i), rows[i].verdict, rows[i].done);
                is(question(1, 50 + i, i), rows[i].verdict, rows[i].done);
                is(question(1, 80 + i, i), REPLAY_TAKEN, 0);
        }
        assert_int_equal(ask(question(1, 58, 8))->verdict, REPLAY_UNKNOWN);
        assert_string_equal(answered.answers[0].detail,
                            "t/0/8: its restart (restarts.id 9) by one is unknown");
}

/* The newest one counts, and one that is done before all. What it shared has a row of its own. */
static void test_several_restarts(void **state) {
        (void)state;
        reject(7, "{}");
        restart(0, 7, 1, "unknown", "-1 s");
        restart(0, 7, 2, "failed", "-1 s");
        is(question(1, 50, 7), REPLAY_OURS, 0);
        restart(0, 7, 3, "unknown", "-1 s");
        pg_test_exec(test.sql, "UPDATE restarts SET shared_with = 1 WHERE attempt = 3");
        is(question(1, 50, 7), REPLAY_UNKNOWN, 0);
        pg_test_exec(test.sql, "UPDATE restarts SET state = 'done' WHERE attempt = 1");
        is(question(1, 50, 7), REPLAY_OURS, 1u << HANDLER_RESTART);
}

/* The row has it already: nothing is waited for. */
static void test_a_restart_that_the_row_has(void **state) {
        (void)state;
        reject(7, "{restart-host}");
        restart(0, 7, 1, "unknown", "1 min");
        is(question(1, 50, 7), REPLAY_OURS, 1u << HANDLER_RESTART);
}

/* Somebody has looked at the host: it runs, but for what is known by now. */
static void test_the_operators_word(void **state) {
        (void)state;
        reject(7, "{save}");
        restart(0, 7, 1, "unknown", "1 min");
        pg_test_exec(test.sql, "UPDATE rejected SET reason = 'unknown'");
        is(question(1, 50, 7), REPLAY_OURS, 1u << HANDLER_SAVE);
        pg_test_exec(test.sql, "UPDATE restarts SET state = 'done'");
        is(question(1, 50, 7), REPLAY_OURS, 1u << HANDLER_SAVE | 1u << HANDLER_RESTART);
}

/* A replay that was rejected again before anything was started for it: the first one's counts. */
static void test_the_restart_of_the_first_one(void **state) {
        (void)state;
        reject(7, "{}");
        restart(0, 7, 1, "unknown", "1 min");
        is(question(0, 50, 7), REPLAY_UNKNOWN, 0);
        reject(50, "{}");
        is(question(1, 60, 50), REPLAY_UNKNOWN, 0);
        restart(0, 50, 1, "not_started", "-1 s");
        is(question(1, 60, 50), REPLAY_UNKNOWN, 0);
        restart(0, 50, 2, "failed", "-1 s");
        is(question(1, 60, 50), REPLAY_OURS, 0);
        pg_test_exec(test.sql, "DELETE FROM restarts WHERE \"offset\" = 50");
        pg_test_exec(test.sql, "UPDATE rejected SET reason = 'unknown' WHERE \"offset\" = 50");
        is(question(1, 60, 50), REPLAY_OURS, 0);
        /* Rows that name each other, which only a person can have made, hold up nobody. */
        pg_test_exec(test.sql, "DELETE FROM restarts");
        pg_test_exec(test.sql, "UPDATE rejected SET reason = 'failed'");
        pg_test_exec(test.sql, "UPDATE rejected SET replay_source = 1, replay_offset = 7 "
                               "WHERE \"offset\" = 50");
        is(question(0, 50, 7), REPLAY_OURS, 0);
}

/* Without the time of its receipt, from before there was this column. */
static void test_no_receipt(void **state) {
        (void)state;
        reject(7, "{}");
        pg_test_exec(test.sql, "UPDATE rejected SET received_at = NULL, produced_at = NULL");
        const ReplayAnswer *answer = ask(question(1, 50, 7));
        assert_int_equal(answer->first_us, 300 * 1000000);
        assert_int_equal(answer->produced_us, -1);
}

static bool waits_for_row(void *user) {
        (void)user;
        return strcmp(pg_test_value(test.sql,
                                    "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = "
                                    "'Lock' AND query LIKE '%take_replays%' AND pid <> "
                                    "pg_backend_pid()"),
                      "1") == 0;
}

/* Two daemons have a copy each: whoever comes second waits, and sees what the first one did. */
static void test_two_at_once(void **state) {
        (void)state;
        reject(7, "{save}");
        PGconn *other = pg_test_connect(test.dsn);
        ReplayQuestion one = question(1, 50, 7);
        char sql[256];
        pg_test_exec(other, "SET search_path = ackd; BEGIN");
        snprintf(sql, sizeof(sql), "SELECT take_replays('{1}', '{7}', '{2}', '{51}', '{%s}')",
                 one.sha256);
        pg_test_exec(other, sql);
        ReplayQuestions *asked = calloc(1, sizeof(*asked) + sizeof(one));
        assert_non_null(asked);
        asked->n = 1;
        asked->questions[0] = one;
        answered = (Answered){0};
        assert_int_equal(replays_ask(replays, asked), 0);
        assert_true(pg_test_until(&test, waits_for_row, NULL));
        assert_int_equal(answered.n, 0);
        pg_test_exec(other, "COMMIT");
        assert_true(pg_test_until(&test, is_answered, NULL));
        assert_int_equal(answered.answers[0].verdict, REPLAY_TAKEN);
        free(asked);
        PQfinish(other);
}

/* Anything that PostgreSQL says but an answer is an outage. */
static void test_no_answer(void **state) {
        (void)state;
        ReplayQuestion one = question(1, 50, 7);
        pg_test_exec(test.sql, "ALTER FUNCTION take_replays RENAME TO taken_away");
        ask_many(&one, 1);
        assert_false(answered.has_answers);
        pg_test_exec(test.sql, "ALTER FUNCTION taken_away RENAME TO take_replays");
        pg_test_exec(test.sql, "ALTER TABLE rejected RENAME TO gone");
        ask_many(&one, 1);
        assert_false(answered.has_answers);
        pg_test_exec(test.sql, "ALTER TABLE gone RENAME TO rejected");
        is_stray(one);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, begin, end)

int main(void) {
        const struct CMUnitTest tests[] = {
                TEST(test_the_first_one_takes_it),
                TEST(test_when_it_was_replayed_stays),
                TEST(test_what_is_done),
                TEST(test_dropped),
                TEST(test_stray),
                TEST(test_a_row_of_the_topic_before),
                TEST(test_several_at_once),
                TEST(test_each_state_of_its_restart),
                TEST(test_several_restarts),
                TEST(test_a_restart_that_the_row_has),
                TEST(test_the_operators_word),
                TEST(test_the_restart_of_the_first_one),
                TEST(test_no_receipt),
                TEST(test_two_at_once),
                TEST(test_no_answer),
        };
        return cmocka_run_group_tests(tests, setup, teardown);
}
