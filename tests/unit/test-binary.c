#include "test.h"

#include <stdio.h>
#include <string.h>

#include "pg/binary.h"
#include "pg/literal.h"

static void test_header_and_trailer(void **state) {
        (void)state;
        Buffer copy = BUFFER_INIT;
        assert_int_equal(binary_append_header(&copy), 0);
        assert_int_equal(copy.size, 19);
        assert_memory_equal(copy.data, "PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0", 19);
        assert_int_equal(binary_append_trailer(&copy), 0);
        assert_memory_equal(copy.data + 19, "\xff\xff", 2);
        buffer_deinit(&copy);
}

static void test_fields(void **state) {
        (void)state;
        uint8_t out[128];
        uint8_t *at = binary_put_row(out, 6);
        at = binary_put_int4(at, -2);
        at = binary_put_int8(at, INT64_C(0x0102030405060708));
        at = binary_put_bytes(at, "ab", 2);
        at = binary_put_bytes(at, "", 0);
        at = binary_put_bytes(at, NULL, 0);
        at = binary_put_null(at);
        static const uint8_t expected[] = {0, 6, 0,    0,    0,    4,    0xff, 0xff, 0xff, 0xfe,
                                           0, 0, 0,    8,    1,    2,    3,    4,    5,    6,
                                           7, 8, 0,    0,    0,    2,    'a',  'b',  0,    0,
                                           0, 0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff};
        assert_int_equal(at - out, sizeof(expected));
        assert_memory_equal(out, expected, sizeof(expected));
}

static void test_times(void **state) {
        (void)state;
        uint8_t out[16];
        /* PostgreSQL's epoch is 0. */
        assert_int_equal(binary_put_time(out, BINARY_EPOCH) - out, 12);
        assert_memory_equal(out, "\0\0\0\x08\0\0\0\0\0\0\0\0", 12);
        assert_int_equal(binary_put_time(out, BINARY_EPOCH - 1) - out, 12);
        assert_memory_equal(out + 4, "\xff\xff\xff\xff\xff\xff\xff\xff", 8);
        /* What it has no timestamp for is null. */
        assert_int_equal(binary_put_time(out, BINARY_TIME_MIN) - out, 12);
        assert_int_equal(binary_put_time(out, BINARY_TIME_MIN - 1) - out, 4);
        assert_int_equal(binary_put_time(out, INT64_MIN) - out, 4);
        assert_memory_equal(out, "\xff\xff\xff\xff", 4);
        assert_int_equal(binary_put_time(out, INT64_MAX) - out, 12);
}

static void expect_literal(Buffer *sql, const char *expected) {
        assert_string_equal(buffer_string(sql), expected);
        buffer_clear(sql);
}

static void test_literals(void **state) {
        (void)state;
        Buffer sql = BUFFER_INIT;
        assert_int_equal(literal_append_bytes(&sql, "\x01\xfe'", 3), 0);
        expect_literal(&sql, "E'\\\\x01fe27'");
        assert_int_equal(literal_append_bytes(&sql, "", 0), 0);
        expect_literal(&sql, "E'\\\\x'");
        assert_int_equal(literal_append_bytes(&sql, NULL, 0), 0);
        expect_literal(&sql, "NULL");

        assert_int_equal(literal_append_string(&sql, "a'b\\c\n"), 0);
        expect_literal(&sql, "E'a''b\\\\c\n'");
        assert_int_equal(literal_append_string(&sql, NULL), 0);
        expect_literal(&sql, "NULL");
        /* A quote can't be swallowed by a broken character before it. */
        assert_int_equal(literal_append_string(&sql, "\xe2\x82'; DROP TABLE x; --"), 0);
        expect_literal(&sql, "E'\xef\xbf\xbd''; DROP TABLE x; --'");
        assert_int_equal(literal_append_text(&sql, "x\0y", 3), 0);
        expect_literal(&sql, "E'x\xef\xbf\xbdy'");
        buffer_deinit(&sql);
}

static void test_literal_times(void **state) {
        (void)state;
        Buffer sql = BUFFER_INIT;
        assert_int_equal(literal_append_time(&sql, 0), 0);
        expect_literal(&sql, "'1970-01-01 00:00:00.000000+00'");
        assert_int_equal(literal_append_time(&sql, INT64_C(1700000000123456)), 0);
        expect_literal(&sql, "'2023-11-14 22:13:20.123456+00'");
        assert_int_equal(literal_append_time(&sql, -1), 0);
        expect_literal(&sql, "NULL");
        assert_int_equal(literal_append_time(&sql, INT64_MAX), 0);
        expect_literal(&sql, "'294247-01-10 04:00:54.775807+00'");
        buffer_deinit(&sql);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_header_and_trailer),
                cmocka_unit_test(test_fields),
                cmocka_unit_test(test_times),
                cmocka_unit_test(test_literals),
                cmocka_unit_test(test_literal_times),
        };
        return cmocka_run_group_tests(tests, NULL, NULL);
}
