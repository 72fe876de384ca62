#include "test.h"

#include <string.h>

#include "util/utf8.h"

static size_t count_broken(const char *text, size_t size) {
        size_t broken = 0;
        for (size_t i = 0; i < size;) {
                bool valid;
                i += utf8_next(text + i, size - i, &valid);
                broken += !valid;
        }
        return broken;
}

static void check(const char *text, size_t size, size_t broken) {
        assert_int_equal(count_broken(text, size), broken);
        assert_int_equal(utf8_is_valid(text, size), broken == 0);
}

#define CHECK(literal, broken) check(literal, sizeof(literal) - 1, broken)

static void test_valid(void **state) {
        (void)state;
        CHECK("", 0);
        CHECK("plain", 0);
        CHECK("a\0b", 0);
        CHECK("\xc2\x80", 0);
        CHECK("\xdf\xbf", 0);
        CHECK("\xe0\xa0\x80", 0);
        CHECK("\xed\x9f\xbf", 0);
        CHECK("\xee\x80\x80", 0);
        CHECK("\xf0\x90\x80\x80", 0);
        CHECK("\xf4\x8f\xbf\xbf", 0);
        CHECK("gr\xc3\xbc\xc3\x9f", 0);
}

static void test_broken(void **state) {
        (void)state;
        CHECK("\x80", 1);
        CHECK("\xff\xfe", 2);
        CHECK("\xc0\xaf", 2);         /* overlong "/" */
        CHECK("\xc1\xbf", 2);         /* overlong */
        CHECK("\xe0\x9f\xbf", 3);     /* overlong */
        CHECK("\xf0\x8f\xbf\xbf", 4); /* overlong */
        CHECK("\xed\xa0\x80", 3);     /* a surrogate */
        CHECK("\xf4\x90\x80\x80", 4); /* above U+10FFFF */
        CHECK("\xf5\x80", 2);
        CHECK("\xe2\x82", 1); /* cut: one maximal subpart */
        CHECK("\xf0\x9f\x98", 1);
        CHECK("\xf0\x9f\x98x", 1);
        CHECK("\xc3", 1);
        /* The example of the Unicode standard, section 3.9, table 3-11. */
        CHECK("\x61\xf1\x80\x80\xe1\x80\xc2\x62\x80\x63\x80\xbf\x64", 6);
}

/* Every sequence of up to three bytes and many of four, against the definition by code points. */
static void test_all_code_points(void **state) {
        (void)state;
        for (uint32_t code = 0x80; code <= 0x1fffff; code++) {
                uint8_t p[4];
                size_t n;
                if (code < 0x800) {
                        n = 2;
                        p[0] = (uint8_t)(0xc0 | code >> 6);
                } else if (code < 0x10000) {
                        n = 3;
                        p[0] = (uint8_t)(0xe0 | code >> 12);
                } else {
                        n = 4;
                        p[0] = (uint8_t)(0xf0 | code >> 18);
                }
                for (size_t i = 1; i < n; i++) {
                        p[i] = (uint8_t)(0x80 | (code >> (6 * (n - 1 - i)) & 0x3f));
                }
                bool expected = code <= 0x10ffff && (code < 0xd800 || code > 0xdfff);
                if (utf8_is_valid(p, n) != expected) {
                        fail_msg("U+%04X is told wrongly", code);
                }
        }
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_valid),
                cmocka_unit_test(test_broken),
                cmocka_unit_test(test_all_code_points),
        };
        return cmocka_run_group_tests(tests, NULL, NULL);
}
