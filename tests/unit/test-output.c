#include "test.h"

#include <stdio.h>
#include <string.h>

#include "handlers/actions/output.h"

static const char alphabet[] = "abcdefghijklmnopqrstuvwxyz";

/* Adds @n letters in pieces of @piece; yields what is printed. */
static const char *print(size_t half, size_t n, size_t piece) {
        static Buffer buffer;
        static char text[256];
        uint8_t kept[64];
        Output output;
        output_init(&output, kept, half);
        for (size_t at = 0; at < n; at += piece) {
                output_add(&output, (const uint8_t *)alphabet + at,
                           n - at < piece ? n - at : piece);
        }
        assert_int_equal(output.written, n);
        buffer_clear(&buffer);
        assert_int_equal(output_print(&output, &buffer), 0);
        snprintf(text, sizeof(text), "%s", buffer_string(&buffer));
        buffer_deinit(&buffer);
        return text;
}

static void test_everything_while_it_fits(void **state) {
        (void)state;
        assert_string_equal(print(4, 0, 1), "");
        assert_string_equal(print(4, 3, 2), "abc");
        assert_string_equal(print(4, 4, 4), "abcd");
        assert_string_equal(print(4, 7, 7), "abcdefg");
        assert_string_equal(print(4, 8, 3), "abcdefgh");
}

static void test_both_ends_of_more_however_it_comes(void **state) {
        (void)state;
        for (size_t half = 1; half <= 8; half++) {
                for (size_t n = 2 * half + 1; n <= 26; n++) {
                        for (size_t piece = 1; piece <= n; piece++) {
                                char expected[256];
                                snprintf(expected, sizeof(expected),
                                         "%.*s\n[%zu bytes left out]\n%.*s", (int)half, alphabet,
                                         n - 2 * half, (int)half, alphabet + n - half);
                                assert_string_equal(print(half, n, piece), expected);
                        }
                }
        }
}

static void test_last_line(void **state) {
        (void)state;
        static const char *const cases[][2] = {
                {"", ""},      {" \r\n\n", ""},      {"a", "a"},
                {"a\nb", "b"}, {"a\n b \n\n", " b"}, {"\x1b\xff", "\\u001b\xef\xbf\xbd"},
        };
        char line[OUTPUT_LINE];
        for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
                output_last_line((const uint8_t *)cases[i][0], strlen(cases[i][0]), line);
                assert_string_equal(line, cases[i][1]);
        }
        output_last_line(NULL, 0, line);
        assert_string_equal(line, "");
        uint8_t long_one[1000];
        memset(long_one, 'x', sizeof(long_one));
        output_last_line(long_one, sizeof(long_one), line);
        assert_int_equal(strlen(line), OUTPUT_LINE - 1);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_everything_while_it_fits),
                cmocka_unit_test(test_both_ends_of_more_however_it_comes),
                cmocka_unit_test(test_last_line),
        };
        return cmocka_run_group_tests(tests, NULL, NULL);
}
