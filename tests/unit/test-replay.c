/* The header of a replay: what is taken for one, and what is not. */

#include "test.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/replay.h"

/* In memory of its size alone, so that a sanitizer sees every byte too many. */
static ReplayHeader read_text(const char *headers, ReplayPlace *place) {
        size_t size = strlen(headers);
        char *copy = malloc(size > 0 ? size : 1);
        assert_non_null(copy);
        memcpy(copy, headers, size);
        ReplayHeader found = replay_header_read(copy, size, place);
        free(copy);
        return found;
}

static void is_place(const char *headers, int32_t source, int64_t offset) {
        ReplayPlace place = {0};
        assert_int_equal(read_text(headers, &place), REPLAY_HEADER_FOUND);
        assert_int_equal(place.source, source);
        assert_int_equal(place.offset, offset);
}

static void test_places(void **state) {
        (void)state;
        is_place("[[\"ackd-replay\",\"3/17\"]]", 3, 17);
        is_place("[[\"a\",\"b\"],[\"ackd-replay\",\"0/0\"],[\"c\",null]]", 0, 0);
        is_place("[[\"ackd-replay\",\"2147483647/9223372036854775807\"]]", INT32_MAX, INT64_MAX);
        is_place("[[\"ackd-replay\",\"007/0000000000000000000000000000042\"]]", 7, 42);
}

/* A replay of a replay may still have the older one. */
static void test_the_last_one_counts(void **state) {
        ReplayPlace place = {0};
        (void)state;
        is_place("[[\"ackd-replay\",\"3/17\"],[\"ackd-replay\",\"4/18\"]]", 4, 18);
        is_place("[[\"ackd-replay\",\"rubbish\"],[\"ackd-replay\",\"4/18\"]]", 4, 18);
        assert_int_equal(read_text("[[\"ackd-replay\",\"4/18\"],[\"ackd-replay\",\"x\"]]", &place),
                         REPLAY_HEADER_MALFORMED);
}

static void test_no_header(void **state) {
        static const char *const none[] = {
                "",
                "[]",
                "[",
                "[[\"ackd-replays\",\"3/17\"]]",
                "[[\"xackd-replay\",\"3/17\"]]",
                "[[\"ACKD-REPLAY\",\"3/17\"]]",
                "[[\"a\",\"ackd-replay\"]]",
                /* A text that only looks like one: its quotes are escaped. */
                "[[\"a\",\"[\\\"ackd-replay\\\",\\\"3/17\\\"]\"]]",
        };
        ReplayPlace place = {.source = 5, .offset = 6};
        (void)state;
        for (size_t i = 0; i < sizeof(none) / sizeof(none[0]); i++) {
                assert_int_equal(read_text(none[i], &place), REPLAY_HEADER_NONE);
        }
        assert_int_equal(replay_header_read(NULL, 0, &place), REPLAY_HEADER_NONE);
        assert_int_equal(place.source, 5);
        assert_int_equal(place.offset, 6);
}

static void test_malformed(void **state) {
        static const char *const values[] = {
                "\"\"",
                "\"/\"",
                "\"3\"",
                "\"3/\"",
                "\"/17\"",
                "\"3/17 \"",
                "\" 3/17\"",
                "\"3/17/1\"",
                "\"-3/17\"",
                "\"+3/17\"",
                "\"3/-1\"",
                "\"0x3/17\"",
                "\"3.0/17\"",
                "\"2147483648/17\"",
                "null",
                "\"3/9223372036854775808\"",
                "{\"base64\":\"Mw==\"}",
                "\"3\\/17\"",
                "\"99999999999999999999999/1\"",
        };
        ReplayPlace place = {.source = 5, .offset = 6};
        char headers[128];
        (void)state;
        for (size_t i = 0; i < sizeof(values) / sizeof(values[0]); i++) {
                snprintf(headers, sizeof(headers), "[[\"ackd-replay\",%s]]", values[i]);
                assert_int_equal(read_text(headers, &place), REPLAY_HEADER_MALFORMED);
        }
        assert_int_equal(place.source, 5);
        assert_int_equal(place.offset, 6);
}

/* Wherever it ends, nothing behind it is read. */
static void test_cut_anywhere(void **state) {
        static const char headers[] = "[[\"ackd-replay\",\"3/17\"]]";
        char cut[sizeof(headers)];
        ReplayPlace place;
        (void)state;
        for (size_t n = 0; n < sizeof(headers) - 2; n++) {
                memcpy(cut, headers, n);
                cut[n] = '\0';
                ReplayHeader expected = n < sizeof("[[\"ackd-replay\",") - 1
                                                ? REPLAY_HEADER_NONE
                                                : REPLAY_HEADER_MALFORMED;
                assert_int_equal(read_text(cut, &place), expected);
        }
}

static void test_names(void **state) {
        (void)state;
        assert_string_equal(replay_verdict_name(REPLAY_OURS), "ours");
        assert_string_equal(replay_verdict_name(REPLAY_TAKEN), "taken");
        assert_string_equal(replay_verdict_name(REPLAY_DROPPED), "dropped");
        assert_string_equal(replay_verdict_name(REPLAY_STRAY), "stray");
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_places),       cmocka_unit_test(test_the_last_one_counts),
                cmocka_unit_test(test_no_header),    cmocka_unit_test(test_malformed),
                cmocka_unit_test(test_cut_anywhere), cmocka_unit_test(test_names),
        };
        return cmocka_run_group_tests(tests, NULL, NULL);
}
