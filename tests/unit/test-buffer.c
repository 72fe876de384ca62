#include "test.h"

#include <string.h>

#include "util/buffer.h"

static void test_grows_and_keeps(void **state) {
        (void)state;
        Buffer buffer = BUFFER_INIT;
        for (int i = 0; i < 1000; i++) {
                assert_int_equal(buffer_printf(&buffer, "%03d,", i), 0);
        }
        assert_int_equal(buffer.size, 4000);
        assert_memory_equal(buffer.data + 3996, "999,", 4);
        buffer_consume(&buffer, 3996);
        assert_string_equal(buffer_string(&buffer), "999,");
        assert_int_equal(buffer.size, 4);
        uint8_t *data = buffer.data;
        buffer_clear(&buffer);
        assert_int_equal(buffer_append_string(&buffer, "x"), 0);
        assert_ptr_equal(buffer.data, data);
        buffer_deinit(&buffer);
}

static void test_refuses_what_cannot_fit(void **state) {
        (void)state;
        Buffer buffer = BUFFER_INIT;
        assert_int_equal(buffer_append_string(&buffer, "kept"), 0);
        assert_int_equal(buffer_reserve(&buffer, SIZE_MAX - 2), -ENOMEM);
        assert_string_equal(buffer_string(&buffer), "kept");
        buffer_deinit(&buffer);
}

static void test_consume_more_than_there_is(void **state) {
        (void)state;
        Buffer buffer = BUFFER_INIT;
        assert_int_equal(buffer_append_string(&buffer, "abc"), 0);
        buffer_consume(&buffer, 7);
        assert_int_equal(buffer.size, 0);
        buffer_deinit(&buffer);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_grows_and_keeps),
                cmocka_unit_test(test_refuses_what_cannot_fit),
                cmocka_unit_test(test_consume_more_than_there_is),
        };
        return cmocka_run_group_tests(tests, NULL, NULL);
}
