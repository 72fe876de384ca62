#include "test.h"

#include <string.h>

#include "util/sha256.h"

/* FIPS 180-4's examples. */
static void test_vectors(void **state) {
        (void)state;
        static const struct {
                const char *data, *text;
        } vectors[] = {
                {"", "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"},
                {"abc", "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"},
                {"abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq",
                 "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1"},
        };
        for (size_t i = 0; i < sizeof(vectors) / sizeof(vectors[0]); i++) {
                char text[SHA256_TEXT_SIZE];
                assert_int_equal(sha256_text(vectors[i].data, strlen(vectors[i].data), text), 0);
                assert_string_equal(text, vectors[i].text);
        }
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_vectors),
        };
        return cmocka_run_group_tests(tests, NULL, NULL);
}
