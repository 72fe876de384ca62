/* How rejected messages are named. */

#include "test.h"

#include <stdio.h>
#include <string.h>

#include "app/dead_letter_place.h"

static void expect(const char *text, const char *topic, int32_t number, int64_t offset) {
        char name[TOPIC_NAME_MAX];
        DeadLetterPlace place = {0};
        assert_true(dead_letter_place_parse(text, name, &place));
        if (topic == NULL) {
                assert_null(place.topic);
        } else {
                assert_string_equal(place.topic, topic);
        }
        assert_int_equal(place.number, number);
        assert_int_equal(place.offset, offset);
}

static void test_places(void **state) {
        (void)state;
        char longest[300], name[TOPIC_NAME_MAX];
        DeadLetterPlace place;
        expect("host-restarts/3/17", "host-restarts", 3, 17);
        expect("a.B_c-9/0/0", "a.B_c-9", 0, 0);
        expect("12/345", NULL, 12, 345);
        expect("1/2/3", "1", 2, 3); /* a topic may be called so */
        expect("t/2147483647/9223372036854775807", "t", INT32_MAX, INT64_MAX);
        memset(longest, 'x', sizeof(longest));
        strcpy(longest + 249, "/1/2");
        assert_true(dead_letter_place_parse(longest, name, &place));
        assert_int_equal(strlen(place.topic), 249);
        memset(longest, 'x', sizeof(longest));
        strcpy(longest + 250, "/1/2");
        assert_false(dead_letter_place_parse(longest, name, &place));
}

static void test_no_places(void **state) {
        (void)state;
        static const char *const bad[] = {
                "",
                "t",
                "t/",
                "t/1",
                "t/1/",
                "/1/2",
                "t//2",
                "t/1/-2",
                "t/+1/2",
                "t/1/2 ",
                "t/1/x",
                "a/b/1/2",
                "t\n/1/2",
                "1/2/",
                "t/1/0x2",
                "t é/1/2",
                "t/2147483648/1",
                "t/1/9223372036854775808",
                "2147483648/1",
        };
        for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
                char name[TOPIC_NAME_MAX];
                DeadLetterPlace place;
                if (dead_letter_place_parse(bad[i], name, &place)) {
                        fail_msg("\"%s\" is taken", bad[i]);
                }
        }
}

static void test_since(void **state) {
        (void)state;
        static const char *const bad[] = {"",           "2",
                                          "0s",         "h",
                                          "36501d",     "yesterday",
                                          "2026-11-26", "2026-11-26T09:00:00"};
        int64_t age = 7, since = 7;
        assert_true(dead_letter_since_parse("2h", &age, &since));
        assert_int_equal(age, INT64_C(7200) * 1000000);
        assert_int_equal(since, 0);
        assert_true(dead_letter_since_parse("2026-11-26T10:00:00+01:00", &age, &since));
        assert_int_equal(age, 0);
        assert_int_equal(since, INT64_C(1795683600) * 1000000);
        for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
                assert_false(dead_letter_since_parse(bad[i], &age, &since));
        }
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_places),
                cmocka_unit_test(test_no_places),
                cmocka_unit_test(test_since),
        };
        return cmocka_run_group_tests(tests, NULL, NULL);
}
