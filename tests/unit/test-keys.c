#include "test.h"

#include <limits.h>
#include <string.h>

#include "config/keys.h"

static void test_table_is_sorted(void **state) {
        (void)state;
        for (size_t i = 1; i < n_keys; i++) {
                assert_true(strcmp(keys[i - 1].path, keys[i].path) < 0);
        }
        for (size_t i = 0; i < n_keys; i++) {
                assert_ptr_equal(key_find(keys[i].path), &keys[i]);
                assert_int_equal(key_index(&keys[i]), i);
        }
}

static void test_table_is_whole(void **state) {
        (void)state;
        for (size_t i = 0; i < n_keys; i++) {
                const Key *key = &keys[i];
                Buffer expected = BUFFER_INIT;
                assert_true(strlen(key->path) < 64); /* key_distance() sees no longer names */
                assert_string_equal(key->path + strspn(key->path, "abcdefghijklmnopqrstuvwxyz_-."),
                                    "");
                assert_null(strstr(key->path, "__")); /* a variable could not say it */
                assert_non_null(key->help);
                assert_true(key->help[strlen(key->help) - 1] == '.');
                assert_int_equal(key_expected(key, &expected), 0);
                assert_true(expected.size > 0);
                buffer_deinit(&expected);
                if (key->type == KEY_COUNT || key->type == KEY_SIZE || key->type == KEY_DURATION) {
                        assert_true(key->min < key->max);
                }
        }
}

/* Two keys that one variable spells would be ambiguous. */
static void test_variables_are_unique(void **state) {
        (void)state;
        for (size_t i = 0; i < n_keys; i++) {
                for (size_t j = i + 1; j < n_keys; j++) {
                        const char *a = keys[i].path, *b = keys[j].path;
                        for (; *a != '\0' &&
                               (*a == *b || (*a == '-' && *b == '_') || (*a == '_' && *b == '-'));
                             a++, b++) {
                        }
                        assert_true(*a != '\0' || *b != '\0');
                }
        }
}

static void test_sections(void **state) {
        (void)state;
        assert_true(key_is_section(""));
        assert_true(key_is_section("retry"));
        assert_true(key_is_section("handlers.restart-host.exec.status"));
        assert_false(key_is_section("retry.attempts"));
        assert_false(key_is_section("ret"));
        assert_false(key_is_section("handlers.save"));
        assert_false(key_is_section("retry."));
        assert_null(key_find("retry"));
        assert_null(key_find(""));
        Buffer names = BUFFER_INIT;
        assert_int_equal(key_names("handlers.restart-host.exec", &names), 0);
        assert_string_equal(buffer_string(&names), "argv kill_after status timeout");
        buffer_clear(&names);
        assert_int_equal(key_names("", &names), 0);
        assert_string_equal(
                buffer_string(&names),
                "consume control debug handlers instance kafka limits log message metrics "
                "postgres retry shutdown");
        buffer_deinit(&names);
}

static void test_distance(void **state) {
        (void)state;
        assert_int_equal(key_distance("", ""), 0);
        assert_int_equal(key_distance("abc", "abc"), 0);
        assert_int_equal(key_distance("abc", "ABC"), 0);
        assert_int_equal(key_distance("retyr", "retry"), 1); /* two neighbours swapped */
        assert_int_equal(key_distance("atempts", "attempts"), 1);
        assert_int_equal(key_distance("", "abc"), 3);
        assert_int_equal(key_distance("kitten", "sitting"), 3);
        assert_int_equal(key_distance("ca", "abc"), 3);
        char longest[65];
        memset(longest, 'x', 64);
        longest[64] = '\0';
        assert_true(key_distance(longest, "x") == UINT_MAX);
        assert_int_equal(key_distance(longest + 1, longest + 2), 1);
}

static void test_nearest(void **state) {
        (void)state;
        static const struct {
                const char *section, *name, *nearest;
        } table[] = {
                {"", "retyr", "retry"},
                {"", "postgresql", "postgres"},
                {"", "handler", "handlers"},
                {"", "xyz", ""},
                {"retry", "attempt", "attempts"},
                {"retry", "max_backoff", ""},
                {"handlers", "restart_host", "restart-host"},
                {"postgres", "in_flight", "limits.in_flight"}, /* right, but elsewhere */
                {"", "argv", "handlers.restart-host.exec.argv"},
                {"limits", "inflight", "in_flight"},
                {"log", "x", ""},
        };
        for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
                Buffer out = BUFFER_INIT;
                assert_int_equal(key_nearest(table[i].section, table[i].name, &out), 0);
                assert_string_equal(buffer_string(&out), table[i].nearest);
                buffer_deinit(&out);
        }
        Buffer out = BUFFER_INIT;
        assert_int_equal(key_nearest_path("limit.inflight", &out), 0);
        assert_string_equal(buffer_string(&out), "limits.in_flight");
        buffer_clear(&out);
        assert_int_equal(key_nearest_path("something.else.entirely", &out), 0);
        assert_int_equal(out.size, 0);
        buffer_deinit(&out);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_table_is_sorted),
                cmocka_unit_test(test_table_is_whole),
                cmocka_unit_test(test_variables_are_unique),
                cmocka_unit_test(test_sections),
                cmocka_unit_test(test_distance),
                cmocka_unit_test(test_nearest),
        };
        return cmocka_run_group_tests(tests, NULL, NULL);
}
