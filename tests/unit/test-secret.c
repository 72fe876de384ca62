#include "test.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "handlers/actions/secret.h"

static char folder[] = "/tmp/test-secret-XXXXXX", file[64];

static int setup(void **state) {
        (void)state;
        return mkdtemp(folder) == NULL || snprintf(file, sizeof(file), "%s/s", folder) < 0 ? -1 : 0;
}

static int teardown(void **state) {
        (void)state;
        unlink(file);
        return rmdir(folder);
}

static void write_secret(const char *text, size_t size) {
        FILE *stream = fopen(file, "w");
        assert_non_null(stream);
        assert_int_equal(fwrite(text, 1, size, stream), size);
        assert_int_equal(fclose(stream), 0);
}

static void test_reads(void **state) {
        (void)state;
        static const struct {
                const char *text, *secret;
        } table[] = {{"hunter2", "hunter2"},
                     {"hunter2\n", "hunter2"},
                     {"hunter2\r\n", "hunter2"},
                     {" a b ", " a b "}, /* blanks are its own */
                     {"p\xc3\xa4ss", "p\xc3\xa4ss"}};
        for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
                Buffer out = BUFFER_INIT;
                const char *why = NULL;
                write_secret(table[i].text, strlen(table[i].text));
                assert_int_equal(buffer_append_string(&out, "u:"), 0);
                assert_int_equal(secret_read(file, &out, &why), 0);
                assert_string_equal(buffer_string(&out) + 2, table[i].secret);
                secret_wipe(&out);
                assert_int_equal(out.size, 0);
                for (size_t j = 0; j < out.capacity; j++) {
                        assert_int_equal(out.data[j], 0);
                }
                buffer_deinit(&out);
        }
}

/* The reason, and nothing left of what was read. */
static void refused(const char *path, const char *reason) {
        Buffer out = BUFFER_INIT;
        const char *why = NULL;
        assert_int_equal(buffer_append_string(&out, "u:"), 0);
        assert_int_equal(secret_read(path, &out, &why), SECRET_E_UNFIT);
        assert_string_equal(why, reason);
        assert_int_equal(out.size, 2);
        assert_null(memmem(out.data, out.capacity, "hunter2", 7));
        buffer_deinit(&out);
}

static void test_refuses(void **state) {
        (void)state;
        static char large[SECRET_BYTES_MAX + 2];
        static const char control[] = "has a control character in it, or more than one line";
        write_secret("", 0);
        refused(file, "is empty");
        write_secret("\n", 1);
        refused(file, "is empty");
        write_secret("hunter2\nhunter2\n", 16);
        refused(file, control);
        write_secret("hunter2\n\n", 9);
        refused(file, control);
        write_secret("hunter2\0", 8);
        refused(file, control);
        memset(large, 'x', sizeof(large));
        memcpy(large, "hunter2", 7);
        write_secret(large, sizeof(large));
        refused(file, "holds more than 16 KiB");
        unlink(file);
        refused(file, "No such file or directory");
        refused(folder, "is no regular file");
        refused("/dev/zero", "is no regular file");
        assert_int_equal(mkfifo(file, 0600), 0);
        refused(file, "is no regular file");
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_reads),
                cmocka_unit_test(test_refuses),
        };
        return cmocka_run_group_tests(tests, setup, teardown);
}
