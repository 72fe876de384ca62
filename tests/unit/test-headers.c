/* Headers as the tables keep them, read back. */

#include "test.h"

#include <string.h>

#include "app/headers.h"

static int read_text(Headers *headers, const char *text, const char *without) {
        return headers_read(headers, text, strlen(text), without, 1);
}

static void expect(const ProducerHeader *header, const char *name, const char *value, size_t size) {
        assert_string_equal(header->name, name);
        if (value == NULL) {
                assert_null(header->value);
                return;
        }
        assert_non_null(header->value);
        assert_int_equal(header->size, size);
        assert_memory_equal(header->value, value, size);
}

static void test_every_kind(void **state) {
        (void)state;
        Headers headers = {0};
        assert_int_equal(read_text(&headers,
                                   "[[\"a\",\"1\"],[\"a\",\"\"],[\"n\",null],[\"b\",{\"base64\":"
                                   "\"AP8=\"}],[\"c\",{\"base64\":\"/wA=\"}],"
                                   "[\"t\",\"\\u0001\xc3\xa4\"],[{\"base64\":\"bv/+\"},"
                                   "{\"base64\":\"AP8=\"}],[{\"base64\":\"/w==\"},null]]",
                                   NULL),
                         0);
        assert_int_equal(headers.n, 8);
        expect(&headers.items[0], "a", "1", 1);
        expect(&headers.items[1], "a", "", 0);
        expect(&headers.items[2], "n", NULL, 0);
        expect(&headers.items[3], "b", "\0\xff", 2);
        expect(&headers.items[4], "c", "\xff\0", 2);
        expect(&headers.items[5], "t", "\1\xc3\xa4", 3);
        expect(&headers.items[6], "n\xff\xfe", "\0\xff", 2);
        expect(&headers.items[7], "\xff", NULL, 0);
        headers_deinit(&headers);
}

static void test_none_and_left_out(void **state) {
        (void)state;
        Headers headers = {0};
        assert_int_equal(headers_read(&headers, NULL, 0, "x", 1), 0);
        assert_int_equal(headers.n, 0);
        headers.items[headers.n++] = (ProducerHeader){.name = "x"}; /* there is room */
        headers_deinit(&headers);
        assert_int_equal(read_text(&headers, "[[\"x\",\"1\"],[\"y\",\"2\"],[\"x\",null]]", "x"), 0);
        assert_int_equal(headers.n, 1);
        expect(&headers.items[0], "y", "2", 1);
        headers_deinit(&headers);
}

static void test_what_ackd_does_not_write(void **state) {
        (void)state;
        static const char *const bad[] = {
                "",
                "{}",
                "[1]",
                "[[]]",
                "[[\"a\"]]",
                "[[1,\"b\"]]",
                "[[\"a\",1]]",
                "[[\"a\",{}]]",
                "[[\"a\",{\"base64\":\"x\"}]]",
                "[[{\"base64\":\"AP8=\"},\"a\"]]", /* a name has no NUL */
                "[[{},\"a\"]]",
        };
        for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
                Headers headers = {0};
                assert_int_equal(read_text(&headers, bad[i], NULL), HEADERS_E_INVALID);
                assert_null(headers.items);
        }
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_every_kind),
                cmocka_unit_test(test_none_and_left_out),
                cmocka_unit_test(test_what_ackd_does_not_write),
        };
        return cmocka_run_group_tests(tests, NULL, NULL);
}
