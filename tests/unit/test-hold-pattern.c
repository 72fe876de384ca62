#include "test.h"

#include <string.h>

#include "app/hold_pattern.h"

static void test_patterns(void **state) {
        (void)state;
        static const struct {
                const char *text, *pattern, *why; /* pattern NULL: refused, for this */
        } rows[] = {
                {"db*.example.com", "db*.example.com", NULL},
                {"DB*.Example.COM", "db*.example.com", NULL},
                {"*", "*", NULL},
                {"2001:DB8::*", "2001:db8::*", NULL},
                {"10.0.?.*", "10.0.?.*", NULL},
                /* One host: as the ledger knows it. */
                {"DB1.Example.COM.", "db1.example.com", NULL},
                {"2001:0DB8::0001", "2001:db8::1", NULL},
                {"", NULL, "is empty"},
                {"db 1", NULL, "holds a byte"},
                {"db[12]*", NULL, "holds a bracket or !; only * and ? are special"},
                {"db{1,2}", NULL, "holds a bracket"},
                {"db*_1", NULL, "holds a byte that no host name has"},
                {"db*.", NULL, "ends with a dot"},
                {"db\xc3\xbc*", NULL, "holds a byte that no host name has"},
        };
        for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
                Buffer why = BUFFER_INIT;
                char out[HOLD_PATTERN_MAX] = "untouched";
                int r = hold_pattern(rows[i].text, out, &why);
                assert_int_equal(r, rows[i].pattern != NULL ? 0 : HOLD_E_PATTERN);
                assert_string_equal(out, rows[i].pattern != NULL ? rows[i].pattern : "untouched");
                if (rows[i].why != NULL && strstr(buffer_string(&why), rows[i].why) == NULL) {
                        fail_msg("%s: %s", rows[i].text, (char *)why.data);
                }
                buffer_deinit(&why);
        }
}

static void test_lengths(void **state) {
        (void)state;
        char text[300], out[HOLD_PATTERN_MAX];
        Buffer why = BUFFER_INIT;
        memset(text, '*', sizeof(text));
        text[255] = '\0';
        assert_int_equal(hold_pattern(text, out, &why), 0);
        assert_int_equal(strlen(out), 255);
        text[255] = '*';
        text[256] = '\0';
        assert_int_equal(hold_pattern(text, out, &why), HOLD_E_PATTERN);
        memset(text, 'a', 290);
        text[290] = '\0';
        assert_int_equal(hold_pattern(text, out, &why), HOLD_E_PATTERN);
        buffer_deinit(&why);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_patterns),
                cmocka_unit_test(test_lengths),
        };
        return cmocka_run_group_tests(tests, NULL, NULL);
}
