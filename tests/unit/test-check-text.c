#include "test.h"

#include <string.h>

#include "handlers/check_text.h"
#include "util/utf8.h"

#define BYTES(text) (const uint8_t *)(text), sizeof(text) - 1

static void test_texts(void **state) {
        (void)state;
        static const struct {
                const char *data;
                size_t size;
                const char *text;
        } cases[] = {
                {"", 0, ""},
                {" \r\n\t\v\f", 6, ""},
                {"a\n", 2, "a"},
                {" a b \t c\r\n\n", 11, " a b \t c"},
                {"1\n2\n", 4, "1\n2"},
                {"a\0b", 3, "a\\x00b"},
                {"a\r\nb", 4, "a\\x0D\nb"},
                {"\x1b[0m\x7f", 5, "\\x1B[0m\\x7F"},
                {"\\x00", 4, "\\\\x00"}, /* is not the text of a NUL */
                {"\xc3\xbc \xe2\x82\xac", 6, "\xc3\xbc \xe2\x82\xac"},
                {"\xc2\x85", 2, "\\xC2\\x85"},
                {"\xff\xc3", 2, "\\xFF\\xC3"},
                {"\xed\xa0\x80", 3, "\\xED\\xA0\\x80"}, /* a surrogate */
        };
        for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
                Buffer out = BUFFER_INIT;
                assert_int_equal(check_text((const uint8_t *)cases[i].data, cases[i].size, &out),
                                 0);
                assert_string_equal(buffer_string(&out), cases[i].text);
                buffer_deinit(&out);
        }
}

static void test_adds_to_the_end(void **state) {
        (void)state;
        Buffer out = BUFFER_INIT;
        assert_int_equal(check_text(BYTES("a "), &out), 0);
        assert_int_equal(check_text(BYTES("b "), &out), 0);
        assert_int_equal(check_text(NULL, 0, &out), 0);
        assert_string_equal(buffer_string(&out), "ab");
        buffer_deinit(&out);
}

static void test_every_pair_of_bytes_has_a_text_of_its_own(void **state) {
        (void)state;
        Buffer one = BUFFER_INIT, two = BUFFER_INIT;
        for (unsigned a = 0; a < 256; a++) {
                for (unsigned b = 0; b < 256; b++) {
                        const uint8_t data[] = {(uint8_t)a, (uint8_t)b, '.'};
                        buffer_clear(&one);
                        assert_int_equal(check_text(data, 3, &one), 0);
                        assert_true(utf8_is_valid(one.data, one.size));
                        assert_null(memchr(one.data, '\0', one.size));
                        assert_true(two.size != one.size ||
                                    memcmp(one.data, two.data, one.size) != 0);
                        buffer_clear(&two);
                        assert_int_equal(buffer_append(&two, one.data, one.size), 0);
                }
        }
        buffer_deinit(&one);
        buffer_deinit(&two);
}

/* The text of @size times @c and a last byte. */
static void make(uint8_t c, uint8_t last, size_t size, Buffer *out) {
        Buffer data = BUFFER_INIT;
        for (size_t i = 0; i + 1 < size; i++) {
                assert_int_equal(buffer_append_char(&data, (char)c), 0);
        }
        assert_int_equal(buffer_append_char(&data, (char)last), 0);
        buffer_clear(out);
        assert_int_equal(check_text(data.data, data.size, out), 0);
        assert_true(out->size <= CHECK_TEXT_MAX);
        assert_true(utf8_is_valid(out->data, out->size));
        buffer_deinit(&data);
}

static void test_long_ones(void **state) {
        (void)state;
        static const size_t sizes[] = {1020, 1024, 1025, 4000, 4095, 4096, 4097, 5000, 65536};
        static const uint8_t bytes[] = {'a', 0xff, 0x01, '\\', 0xc3};
        Buffer one = BUFFER_INIT, two = BUFFER_INIT, again = BUFFER_INIT;
        for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
                for (size_t j = 0; j < sizeof(bytes); j++) {
                        make(bytes[j], 'x', sizes[i], &one);
                        make(bytes[j], 'y', sizes[i], &two);
                        make(bytes[j], 'x', sizes[i], &again);
                        assert_true(one.size == again.size &&
                                    memcmp(one.data, again.data, one.size) == 0);
                        assert_true(one.size != two.size ||
                                    memcmp(one.data, two.data, one.size) != 0);
                }
        }
        make('a', 'a', 4096, &one);
        assert_int_equal(one.size, 4096);
        assert_null(memmem(one.data, one.size, "SHA", 3));
        make('a', 'a', 4097, &one);
        assert_non_null(strstr(buffer_string(&one), "aaaa\n[4097 bytes, SHA-256 "));
        /* Of two bytes each: a cut in the middle would be no UTF-8. */
        Buffer umlauts = BUFFER_INIT;
        for (size_t i = 0; i < 5000; i++) {
                assert_int_equal(buffer_append_string(&umlauts, i == 0 ? "a" : "\xc3\xbc"), 0);
        }
        buffer_clear(&one);
        assert_int_equal(check_text(umlauts.data, umlauts.size, &one), 0);
        assert_true(utf8_is_valid(one.data, one.size));
        assert_in_range(one.size, 3900, CHECK_TEXT_MAX);
        buffer_deinit(&umlauts);
        buffer_deinit(&one);
        buffer_deinit(&two);
        buffer_deinit(&again);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_texts),
                cmocka_unit_test(test_adds_to_the_end),
                cmocka_unit_test(test_every_pair_of_bytes_has_a_text_of_its_own),
                cmocka_unit_test(test_long_ones),
        };
        return cmocka_run_group_tests(tests, NULL, NULL);
}
