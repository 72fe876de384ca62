#include "test.h"

#include <string.h>

#include "util/base64.h"

/* RFC 4648, section 10. */
static void test_vectors(void **state) {
        (void)state;
        static const char *const vectors[][2] = {
                {"", ""},
                {"f", "Zg=="},
                {"fo", "Zm8="},
                {"foo", "Zm9v"},
                {"foob", "Zm9vYg=="},
                {"fooba", "Zm9vYmE="},
                {"foobar", "Zm9vYmFy"},
        };
        for (size_t i = 0; i < sizeof(vectors) / sizeof(vectors[0]); i++) {
                Buffer buffer = BUFFER_INIT;
                assert_int_equal(base64_append(&buffer, vectors[i][0], strlen(vectors[i][0])), 0);
                assert_string_equal(buffer_string(&buffer), vectors[i][1]);
                buffer_deinit(&buffer);
        }
}

static void test_every_digit_and_appends(void **state) {
        (void)state;
        static const uint8_t data[] = {0x00, 0x10, 0x83, 0xff, 0xfe, 0xfb, 0xef, 0xbe};
        Buffer buffer = BUFFER_INIT;
        assert_int_equal(buffer_append_string(&buffer, "x:"), 0);
        assert_int_equal(base64_append(&buffer, data, sizeof(data)), 0);
        assert_string_equal(buffer_string(&buffer), "x:ABCD//77774=");
        buffer_deinit(&buffer);
}

static void test_too_much(void **state) {
        (void)state;
        Buffer buffer = BUFFER_INIT;
        assert_int_equal(base64_append(&buffer, "", SIZE_MAX), -ENOMEM);
        assert_int_equal(buffer.size, 0);
        buffer_deinit(&buffer);
}

/* Whatever was written reads back, and nothing else is taken. */
static void test_decode(void **state) {
        (void)state;
        static const char *const bad[] = {"Z",    "Zg",       "Zg=",    "Z===",
                                          "====", "Zg==Zg==", "Zm9v\n", "Zm-v"};
        uint8_t data[300];
        for (size_t n = 0; n < sizeof(data); n++) {
                Buffer text = BUFFER_INIT, back = BUFFER_INIT;
                data[n] = (uint8_t)(n * 37);
                assert_int_equal(base64_append(&text, data, n), 0);
                assert_int_equal(base64_decode(&back, (const char *)text.data, text.size), 0);
                assert_int_equal(back.size, n);
                if (n > 0) {
                        assert_memory_equal(back.data, data, n);
                }
                buffer_deinit(&text);
                buffer_deinit(&back);
        }
        for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
                Buffer back = BUFFER_INIT;
                assert_int_equal(base64_decode(&back, bad[i], strlen(bad[i])), BASE64_E_INVALID);
                assert_int_equal(back.size, 0);
                buffer_deinit(&back);
        }
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_vectors),
                cmocka_unit_test(test_every_digit_and_appends),
                cmocka_unit_test(test_too_much),
                cmocka_unit_test(test_decode),
        };
        return cmocka_run_group_tests(tests, NULL, NULL);
}
