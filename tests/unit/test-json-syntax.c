#include "test.h"

#include <string.h>

#include "util/json_syntax.h"

static void test_valid(void **state) {
        (void)state;
        static const char *const valid[] = {
                "{}",
                " [ ] ",
                "{\"a\": {\"b\": [1, -0, 0.5e+10, 2E3, 1e-1]}, \"c\": null}",
                "\"\\u00e9\\\"\\\\\\/\\b\\f\\n\\r\\t\"",
                "true",
                "[false,\n\tnull]\r\n",
                "10",
        };
        for (size_t i = 0; i < sizeof(valid) / sizeof(valid[0]); i++) {
                size_t at = 77;
                assert_true(json_syntax_is_valid(valid[i], strlen(valid[i]), &at));
                assert_int_equal(at, 77);
        }
}

static void test_invalid(void **state) {
        (void)state;
        static const struct {
                const char *text;
                size_t at;
        } invalid[] = {
                {"", 0},          {"{", 1},       {"{\"a\"}", 4},     {"{\"a\":}", 5},
                {"{a: 1}", 1},    {"[1,]", 3},    {"{\"a\":1,}", 7},  {"[1 2]", 3},
                {"01", 1},        {"1.", 2},      {"-", 1},           {"1e", 2},
                {"\"", 1},        {"\"\\x\"", 2}, {"\"\\u12g4\"", 5}, {"\"a\nb\"", 2},
                {"nul", 0},       {"{} x", 3},    {"[1}", 2},         {"'a'", 0},
                {"{\"a\" 1}", 5}, {"\"\\", 2},
        };
        for (size_t i = 0; i < sizeof(invalid) / sizeof(invalid[0]); i++) {
                size_t at = 77;
                assert_false(json_syntax_is_valid(invalid[i].text, strlen(invalid[i].text), &at));
                assert_int_equal(at, invalid[i].at);
        }
        size_t at = 0;
        assert_false(json_syntax_is_valid("[\0]", 3, &at)); /* a NUL is a byte like others */
        assert_int_equal(at, 1);
}

static void test_depth(void **state) {
        (void)state;
        char deep[2 * JSON_SYNTAX_DEPTH + 2];
        size_t at = 0;
        memset(deep, '[', JSON_SYNTAX_DEPTH + 1);
        memset(deep + JSON_SYNTAX_DEPTH + 1, ']', JSON_SYNTAX_DEPTH + 1);
        assert_false(json_syntax_is_valid(deep, sizeof(deep), &at));
        assert_int_equal(at, JSON_SYNTAX_DEPTH);
        assert_true(json_syntax_is_valid(deep + 1, sizeof(deep) - 2, &at));
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_valid),
                cmocka_unit_test(test_invalid),
                cmocka_unit_test(test_depth),
        };
        return cmocka_run_group_tests(tests, NULL, NULL);
}
