#include "test.h"

#include <jansson.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "util/json.h"

static void test_shapes(void **state) {
        (void)state;
        Buffer buffer = BUFFER_INIT;
        Json json;
        assert_int_equal(buffer_append_string(&buffer, "before:"), 0);
        json_begin(&json, &buffer);
        json_begin_object(&json);
        json_key(&json, "a");
        json_begin_array(&json);
        json_put_int(&json, INT64_MIN);
        json_put_uint(&json, UINT64_MAX);
        json_put_bool(&json, true);
        json_put_bool(&json, false);
        json_put_null(&json);
        json_begin_object(&json);
        json_end_object(&json);
        json_begin_array(&json);
        json_end_array(&json);
        json_end_array(&json);
        json_key(&json, "t");
        json_put_text(&json, "x");
        json_key(&json, "n");
        json_put_text(&json, NULL);
        json_key(&json, "raw");
        json_put_raw(&json, "{\"in\":1}", 8);
        json_key(&json, "b");
        json_put_base64(&json, "foo", 3);
        json_end_object(&json);
        assert_int_equal(json_end(&json), 0);
        assert_string_equal(
                buffer_string(&buffer),
                "before:{\"a\":[-9223372036854775808,18446744073709551615,true,false,"
                "null,{},[]],\"t\":\"x\",\"n\":null,\"raw\":{\"in\":1},\"b\":\"Zm9v\"}");
        buffer_deinit(&buffer);
}

static void check_double(double value, const char *expected) {
        Buffer buffer = BUFFER_INIT;
        Json json;
        json_begin(&json, &buffer);
        json_put_double(&json, value);
        assert_int_equal(json_end(&json), 0);
        assert_string_equal(buffer_string(&buffer), expected);
        buffer_deinit(&buffer);
}

static void test_doubles(void **state) {
        (void)state;
        check_double(0, "0");
        check_double(0.1, "0.1");
        check_double(-2.5, "-2.5");
        check_double(1e300, "1e+300");
        check_double(1.0 / 3, "0.33333333333333331");
        check_double(1795347596.123456, "1795347596.123456");
        check_double((double)NAN, "null");
        check_double((double)INFINITY, "null");
}

static void check_string(const char *text, size_t size, const char *expected) {
        Buffer buffer = BUFFER_INIT;
        assert_int_equal(json_append_string(&buffer, text, size), 0);
        assert_string_equal(buffer_string(&buffer), expected);
        json_t *read = json_loadb((const char *)buffer.data, buffer.size,
                                  JSON_DECODE_ANY | JSON_ALLOW_NUL, NULL);
        assert_non_null(read);
        json_decref(read);
        buffer_deinit(&buffer);
}

#define CHECK_STRING(text, expected) check_string(text, sizeof(text) - 1, expected)

static void test_strings(void **state) {
        (void)state;
        CHECK_STRING("", "\"\"");
        CHECK_STRING("a\"b\\c/", "\"a\\\"b\\\\c/\"");
        CHECK_STRING("\b\f\n\r\t", "\"\\b\\f\\n\\r\\t\"");
        CHECK_STRING("\0\x01\x1b[2J\x7f", "\"\\u0000\\u0001\\u001b[2J\\u007f\"");
        CHECK_STRING("\xc2\x9b"
                     "31m",
                     "\"\\u009b31m\"");
        CHECK_STRING("\xc2\xa0\xe2\x80\xa7", "\"\xc2\xa0\xe2\x80\xa7\"");
        CHECK_STRING("\xe2\x80\xa8\xe2\x80\xa9", "\"\\u2028\\u2029\"");
        CHECK_STRING("gr\xc3\xbc\xc3\x9f \xf0\x9f\x98\x80",
                     "\"gr\xc3\xbc\xc3\x9f \xf0\x9f\x98\x80\"");
        CHECK_STRING("a\xff\xfe"
                     "b\xe2\x82",
                     "\"a\xef\xbf\xbd\xef\xbf\xbd"
                     "b\xef\xbf\xbd\"");
        CHECK_STRING("\xed\xa0\x80", "\"\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\"");
}

/* Whatever the bytes, the result parses, and valid text comes back as it was. */
static void test_random_bytes(void **state) {
        (void)state;
        uint64_t seed = 42;
        for (int i = 0; i < 3000; i++) {
                char text[64];
                size_t size = (size_t)i % sizeof(text);
                for (size_t j = 0; j < size; j++) {
                        seed = seed * 6364136223846793005U + 1442695040888963407U;
                        text[j] = (char)(seed >> 56);
                        if (i % 2 == 0) {
                                text[j] &= 0x7f;
                        }
                }
                Buffer buffer = BUFFER_INIT;
                assert_int_equal(json_append_string(&buffer, text, size), 0);
                json_t *read = json_loadb((const char *)buffer.data, buffer.size,
                                          JSON_DECODE_ANY | JSON_ALLOW_NUL, NULL);
                assert_non_null(read);
                if (i % 2 == 0) {
                        assert_int_equal(json_string_length(read), size);
                        assert_memory_equal(json_string_value(read), text, size);
                }
                json_decref(read);
                buffer_deinit(&buffer);
        }
}

static void test_escape_stops_at_the_room(void **state) {
        (void)state;
        char to[8];
        size_t used;
        assert_int_equal(json_escape(to, 8,
                                     "abc\x01"
                                     "def",
                                     7, JSON_ESCAPE_STRING, &used),
                         3);
        assert_int_equal(used, 3);
        assert_int_equal(json_escape(to, 8,
                                     "ab\x01"
                                     "def",
                                     6, JSON_ESCAPE_STRING, &used),
                         8);
        assert_int_equal(used, 3);
        assert_memory_equal(to, "ab\\u0001", 8);
        /* A character is never cut in two. */
        assert_int_equal(json_escape(to, 2, "a\xc3\xbc", 3, JSON_ESCAPE_STRING, &used), 1);
        assert_int_equal(used, 1);
        assert_int_equal(json_escape(to, 8, "\"\\\n", 3, JSON_ESCAPE_CONTROL, &used), 4);
        assert_memory_equal(to, "\"\\\\n", 4);
}

static void test_a_failure_is_kept_and_undone(void **state) {
        (void)state;
        Buffer buffer = BUFFER_INIT;
        Json json;
        assert_int_equal(buffer_append_string(&buffer, "kept"), 0);
        json_begin(&json, &buffer);
        json_begin_array(&json);
        json_put_base64(&json, "", SIZE_MAX);
        json_put_int(&json, 1);
        json_end_array(&json);
        assert_int_equal(json_end(&json), -ENOMEM);
        assert_string_equal(buffer_string(&buffer), "kept");
        buffer_deinit(&buffer);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_shapes),
                cmocka_unit_test(test_doubles),
                cmocka_unit_test(test_strings),
                cmocka_unit_test(test_random_bytes),
                cmocka_unit_test(test_escape_stops_at_the_room),
                cmocka_unit_test(test_a_failure_is_kept_and_undone),
        };
        return cmocka_run_group_tests(tests, NULL, NULL);
}
