/* Dead letters: what a filter chooses, how it is read, and the marks. */

#include "pg-ledger.h"

#include <pthread.h>

#include "pg/blocking.h"
#include "pg/dead_letters.h"

#define DATABASE "ackd_test_dead_letters"

#define HOUR (INT64_C(3600) * 1000000)

static DeadLetterDesk *desk;

static DeadLetterDesk *open_desk(const char *group) {
        DeadLetterDesk *opened = NULL;
        char *error = NULL;
        if (dead_letters_open(&opened, "ackd dead-letter", test.dsn, NULL, "ackd", group, &error) !=
            0) {
                pg_test_die("dead_letters_open", error != NULL ? error : "no memory");
        }
        return opened;
}

static int setup(void **state) {
        (void)state;
        pg_test_init(&test, DATABASE);
        pg_test_exec(
                test.sql,
                "INSERT INTO partitions (cluster_id, group_id, topic, partition, next_offset,"
                " instance, created_at, updated_at, retired_at) VALUES"
                " ('c', 'g', 't', 0, 9, 'i', now(), now(), now()), ('c', 'g', 't', 0, 9, 'i', "
                "now(),"
                " now(), NULL), ('c', 'g', 't', 1, 9, 'i', now(), now(), NULL), ('c', 'g', 'u', 0, "
                "9,"
                " 'i', now(), now(), NULL), ('c', 'other', 't', 0, 9, 'i', now(), now(), NULL);"
                "INSERT INTO rejected (source, \"offset\", key, value, headers, host, handler, "
                "reason,"
                " detail, handlers_done, rejected_at) VALUES"
                " (1, 5, NULL, 'old', NULL, 'a1.x', 'restart-host', 'failed', NULL, '{save}',"
                "  now() - interval '9 hours'),"
                " (2, 5, '\\x00ff', '\\x7b00ff', '[[\"a\",\"1\"]]', 'a1.x', 'restart-host', "
                "'failed',"
                "  'it''s \"odd\" \\ text', '{save,restart-host}', now() - interval '3 hours'),"
                " (2, 6, NULL, NULL, NULL, NULL, NULL, 'not_json', NULL, '{}',"
                "  now() - interval '3 hours'),"
                " (3, 5, NULL, 'v', NULL, 'b2.x', 'save', 'refused', NULL, '{}',"
                "  now() - interval '1 hour'),"
                " (4, 0, NULL, 'v', NULL, 'A9.x', 'restart-host', 'unknown', NULL, '{save}', "
                "now()),"
                " (5, 1, NULL, 'v', NULL, 'a1.x', 'restart-host', 'failed', NULL, '{save}', "
                "now())");
        desk = open_desk("g");
        return 0;
}

static int teardown(void **state) {
        (void)state;
        dead_letters_close(desk);
        pg_test_deinit(&test, DATABASE);
        return 0;
}

/* "2/5 2/6": the keys that it chooses, in order. */
static const char *chosen(const DeadLetterFilter *filter) {
        static char text[4096];
        char *error = NULL;
        uint64_t n = 0, seen = 0;
        int r = dead_letters_select(desk, filter, &n, &error);
        if (r != 0) {
                fail_msg("%s", error);
        }
        text[0] = '\0';
        for (;;) {
                DeadLetterPage page = {0};
                assert_int_equal(dead_letters_next(desk, 2, 1, false, &page, &error), 0);
                if (page.n == 0) {
                        break;
                }
                for (size_t i = 0; i < page.n; i++, seen++) {
                        size_t at = strlen(text);
                        snprintf(text + at, sizeof(text) - at, "%s%d/%lld", at > 0 ? " " : "",
                                 (int)page.items[i].key.source,
                                 (long long)page.items[i].key.offset);
                        assert_null(page.items[i].value);
                }
                dead_letter_page_deinit(&page);
        }
        assert_int_equal(seen, n);
        return text;
}

#define WORDS(...)                                                                                 \
        {                                                                                          \
                (const char *[]){__VA_ARGS__},                                                     \
                        sizeof((const char *[]){__VA_ARGS__}) / sizeof(const char *)               \
        }

static void test_filters(void **state) {
        (void)state;
        DeadLetterFilter f = {0};
        assert_string_equal(chosen(&f), "1/5 2/5 2/6 3/5 4/0");
        assert_string_equal(chosen(&(DeadLetterFilter){.topics = WORDS("u")}), "4/0");
        assert_string_equal(chosen(&(DeadLetterFilter){.topics = WORDS("u", "t")}),
                            "1/5 2/5 2/6 3/5 4/0");
        assert_string_equal(chosen(&(DeadLetterFilter){.hosts = WORDS("a*")}), "1/5 2/5");
        assert_string_equal(chosen(&(DeadLetterFilter){.hosts = WORDS("?2.x", "a1.x")}),
                            "1/5 2/5 3/5");
        assert_string_equal(chosen(&(DeadLetterFilter){.reasons = WORDS("not_json", "unknown")}),
                            "2/6 4/0");
        assert_string_equal(chosen(&(DeadLetterFilter){.handlers = WORDS("message")}), "2/6");
        assert_string_equal(chosen(&(DeadLetterFilter){.handlers = WORDS("save", "message")}),
                            "2/6 3/5");
        assert_string_equal(chosen(&(DeadLetterFilter){.age_us = 2 * HOUR}), "3/5 4/0");
        assert_string_equal(chosen(&(DeadLetterFilter){.since_us = 1}), "1/5 2/5 2/6 3/5 4/0");
        assert_string_equal(chosen(&(DeadLetterFilter){.since_us = INT64_C(4102444800000000)}), "");
        /* All have to fit. */
        assert_string_equal(chosen(&(DeadLetterFilter){.hosts = WORDS("a*"), .age_us = 4 * HOUR}),
                            "2/5");
        /* Nothing that anybody types is SQL, or an array. */
        assert_string_equal(chosen(&(DeadLetterFilter){
                                    .reasons = WORDS("'); DROP", "\\", "\"},{", "NULL", "")}),
                            "");
}

static void test_places(void **state) {
        (void)state;
        const DeadLetterPlace places[] = {
                {"t", 0, 5}, {NULL, 3, 5}, {"t", 0, 7}, {NULL, 5, 1}, {"u", 0, 0}};
        bool missing[5];
        char *error = NULL;
        /* A place may be that of several incarnations of its topic; a source names one. */
        DeadLetterFilter f = {.places = places, .n_places = 5, .which = DEAD_LETTERS_ALL};
        assert_string_equal(chosen(&f), "1/5 2/5 3/5 4/0");
        f.n_places = 1;
        assert_string_equal(chosen(&f), "1/5 2/5");
        f.n_places = 5;
        assert_int_equal(dead_letters_missing(desk, &f, missing, &error), 0);
        const bool expected[] = {false, false, true, true, false};
        assert_memory_equal(missing, expected, sizeof(missing));
}

static void test_a_row_as_it_is(void **state) {
        (void)state;
        char *error = NULL;
        uint64_t n = 0;
        DeadLetterPage page = {0};
        const DeadLetterPlace places[] = {{NULL, 2, 5}, {NULL, 2, 6}};
        const DeadLetterFilter f = {.places = places, .n_places = 2};
        assert_int_equal(dead_letters_select(desk, &f, &n, &error), 0);
        assert_int_equal(n, 2);
        /* One at least, whatever its size. */
        assert_int_equal(dead_letters_next(desk, 10, 1, true, &page, &error), 0);
        assert_int_equal(page.n, 1);
        const DeadLetter *letter = &page.items[0];
        assert_int_equal(letter->message_key_size, 2);
        assert_memory_equal(letter->message_key, "\0\xff", 2);
        assert_int_equal(letter->value_size, 3);
        assert_memory_equal(letter->value, "{\0\xff", 3);
        assert_string_equal(letter->headers, "[[\"a\",\"1\"]]");
        assert_int_equal(letter->headers_size, 11);
        assert_string_equal(letter->detail, "it's \"odd\" \\ text");
        assert_string_equal(letter->handlers_done, "save,restart-host");
        assert_string_equal(letter->topic, "t");
        assert_false(letter->retired);
        assert_null(letter->replayed_at);
        assert_null(letter->taken);
        assert_int_equal(strlen(letter->rejected_at), strlen("2026-11-26T09:00:00Z"));
        dead_letter_page_deinit(&page);
        assert_int_equal(dead_letters_next(desk, 10, 1, true, &page, &error), 0);
        assert_int_equal(page.n, 1);
        assert_null(page.items[0].value);
        assert_int_equal(page.items[0].value_size, -1);
        assert_null(page.items[0].host);
        assert_null(page.items[0].handler);
        dead_letter_page_deinit(&page);
        assert_int_equal(dead_letters_next(desk, 10, 1, true, &page, &error), 0);
        assert_int_equal(page.n, 0);
}

static void test_counts(void **state) {
        (void)state;
        char *error = NULL;
        DeadLetterCounts counts = {0};
        const DeadLetterFilter f = {0};
        assert_int_equal(dead_letters_reasons(desk, &f, &counts, &error), 0);
        assert_int_equal(counts.total, 5);
        assert_int_equal(counts.n, 4);
        assert_string_equal(counts.items[0].word, "failed");
        assert_int_equal(counts.items[0].n, 2);
        dead_letter_counts_deinit(&counts);
        assert_int_equal(dead_letters_topics(desk, &f, &counts, &error), 0);
        assert_int_equal(counts.n, 2);
        assert_string_equal(counts.items[0].word, "t");
        dead_letter_counts_deinit(&counts);
        assert_int_equal(dead_letters_others(desk, &counts, &error), 0);
        assert_int_equal(counts.n, 1);
        assert_string_equal(counts.items[0].word, "other");
        dead_letter_counts_deinit(&counts);
}

static void test_marks(void **state) {
        (void)state;
        char *error = NULL;
        uint64_t n = 0;
        const DeadLetterKey keys[] = {{2, 5}, {3, 5}}, dropped[] = {{2, 5}, {4, 0}};
        assert_int_equal(dead_letters_mark(desk, keys, 2, "jo@here", NULL, &error), 0);
        expect_sql(
                "SELECT string_agg(source || '/' || \"offset\" || replayed_by, ' ' ORDER BY source)"
                " FROM rejected WHERE replayed_at IS NOT NULL AND replayed_why IS NULL",
                "2/5jo@here 3/5jo@here");
        /* What is replayed is not dropped. */
        assert_int_equal(dead_letters_drop(desk, dropped, 2, "ann", "it's old", &n, &error), 0);
        assert_int_equal(n, 1);
        expect_sql("SELECT dropped_by || dropped_why FROM rejected WHERE dropped_at IS NOT NULL",
                   "annit's old");
        assert_string_equal(chosen(&(DeadLetterFilter){0}), "1/5 2/6");
        DeadLetterFilter f = {.which = DEAD_LETTERS_AGAIN};
        assert_string_equal(chosen(&f), "1/5 2/5 2/6 3/5");
        f.which = DEAD_LETTERS_ALL;
        assert_string_equal(chosen(&f), "1/5 2/5 2/6 3/5 4/0");
        /* A daemon has taken one. */
        pg_test_exec(test.sql, "UPDATE rejected SET replay_source = 4, replay_offset = 77"
                               " WHERE source = 3");
        f.which = DEAD_LETTERS_AGAIN;
        assert_string_equal(chosen(&f), "1/5 2/5 2/6");
        const DeadLetterPlace place = {"t", 1, 5};
        f = (DeadLetterFilter){.places = &place, .n_places = 1, .which = DEAD_LETTERS_ALL};
        DeadLetterPage page = {0};
        assert_int_equal(dead_letters_select(desk, &f, &n, &error), 0);
        assert_int_equal(dead_letters_next(desk, 1, 1, false, &page, &error), 0);
        assert_string_equal(page.items[0].taken, "u/0/77");
        assert_string_equal(page.items[0].replayed_by, "jo@here");
        dead_letter_page_deinit(&page);
        /* Back again. */
        assert_int_equal(dead_letters_undrop(desk, &dropped[1], 1, &error), 0);
        assert_string_equal(chosen(&(DeadLetterFilter){0}), "1/5 2/6 4/0");
        pg_test_exec(test.sql, "UPDATE rejected SET replayed_at = NULL, replay_source = NULL");
}

static void *mark_two(void *user) {
        const DeadLetterKey keys[] = {{4, 0}, {1, 5}, {3, 5}};
        char *error = NULL;
        *(int *)user = dead_letters_mark(desk, keys, 3, "jo", "x", &error);
        free(error);
        return NULL;
}

/* A daemon takes the same rows at this moment, in their order: neither stops the other. */
static void test_marks_lock_in_order(void **state) {
        (void)state;
        PGconn *daemon = pg_test_connect(test.dsn);
        pthread_t thread;
        int result = -1;
        /* The first in order lies behind the others, where a scan comes to it last. */
        pg_test_exec(test.sql, "UPDATE rejected SET detail = detail WHERE source = 1");
        pg_test_exec(daemon, "SET search_path = ackd; BEGIN;"
                             "SELECT FROM rejected WHERE source = 1 FOR UPDATE");
        assert_int_equal(pthread_create(&thread, NULL, mark_two, &result), 0);
        int64_t deadline = loop_now() + PG_TEST_DEADLINE_US;
        while (strcmp(pg_test_value(test.sql, "SELECT count(*) FROM pg_stat_activity WHERE"
                                              " wait_event_type = 'Lock'"
                                              " AND datname = current_database()"),
                      "1") != 0) {
                assert_true(loop_now() < deadline);
        }
        pg_test_exec(daemon, "SELECT FROM rejected WHERE source IN (3, 4) FOR UPDATE NOWAIT;"
                             "COMMIT");
        PQfinish(daemon);
        pthread_join(thread, NULL);
        assert_int_equal(result, 0);
        pg_test_exec(test.sql, "UPDATE rejected SET replayed_at = NULL");
}

/* What is rejected after it was made is not in it, and what others do does not disturb it. */
static void test_a_selection_is_fixed(void **state) {
        (void)state;
        char *error = NULL;
        uint64_t n = 0;
        DeadLetterPage page = {0};
        pg_test_exec(test.sql, "INSERT INTO rejected (source, \"offset\", reason)"
                               " SELECT 4, g, 'many' FROM generate_series(100, 1299) g");
        const DeadLetterFilter f = {.reasons = WORDS("many")};
        assert_int_equal(dead_letters_select(desk, &f, &n, &error), 0);
        assert_int_equal(n, 1200);
        pg_test_exec(test.sql, "INSERT INTO rejected (source, \"offset\", reason)"
                               " VALUES (4, 2000, 'many')");
        size_t seen = 0;
        for (int64_t next = 100;; seen += page.n) {
                assert_int_equal(dead_letters_next(desk, 100, 1, false, &page, &error), 0);
                if (page.n == 0) {
                        break;
                }
                for (size_t i = 0; i < page.n; i++, next++) {
                        assert_int_equal(page.items[i].key.offset, next);
                }
                DeadLetterKey last = page.items[page.n - 1].key;
                assert_int_equal(dead_letters_mark(desk, &last, 1, "jo", "x", &error), 0);
                size_t n_page = page.n;
                dead_letter_page_deinit(&page);
                page.n = n_page;
        }
        assert_int_equal(seen, 1200);
        pg_test_exec(test.sql, "DELETE FROM rejected WHERE reason = 'many'");
}

static void test_one_at_a_time(void **state) {
        (void)state;
        char *error = NULL;
        DeadLetterDesk *second = open_desk("g"), *elsewhere = open_desk("other");
        assert_int_equal(dead_letters_lock(desk, "jo@here", &error), 0);
        assert_int_equal(dead_letters_lock(second, "ann@there", &error), DEAD_LETTERS_E_BUSY);
        assert_non_null(strstr(error, "ackd dead-letter by jo@here"));
        free(error);
        assert_int_equal(dead_letters_lock(elsewhere, "ann@there", &error), 0);
        dead_letters_close(elsewhere);
        /* It goes with its connection, however that ends. */
        pg_test_exec(test.sql, "SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity"
                               " WHERE application_name = 'ackd dead-letter by jo@here'");
        assert_int_equal(dead_letters_lock(second, "ann@there", &error), 0);
        DeadLetterPage page = {0};
        assert_int_equal(dead_letters_next(desk, 1, 1, false, &page, &error), BLOCKING_E_CONNECT);
        assert_non_null(error);
        free(error);
        dead_letters_close(second);
        dead_letters_close(desk);
        desk = open_desk("g");
}

static void test_no_schema(void **state) {
        (void)state;
        char *error = NULL;
        uint64_t n = 0;
        DeadLetterDesk *none = NULL;
        assert_int_equal(dead_letters_open(&none, "x", test.dsn, NULL, "nobody", "g", &error), 0);
        assert_int_equal(dead_letters_select(none, &(DeadLetterFilter){0}, &n, &error),
                         BLOCKING_E_REFUSED);
        assert_non_null(strstr(error, "run: ackd init-db"));
        free(error);
        dead_letters_close(none);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_filters),
                cmocka_unit_test(test_places),
                cmocka_unit_test(test_a_row_as_it_is),
                cmocka_unit_test(test_counts),
                cmocka_unit_test(test_marks),
                cmocka_unit_test(test_marks_lock_in_order),
                cmocka_unit_test(test_a_selection_is_fixed),
                cmocka_unit_test(test_one_at_a_time),
                cmocka_unit_test(test_no_schema),
        };
        return cmocka_run_group_tests(tests, setup, teardown);
}
