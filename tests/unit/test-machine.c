#include "test.h"

#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "app/machine.h"
#include "core/host.h"

static bool has(char *const *names, const char *name) {
        for (; *names != NULL; names++) {
                if (strcmp(*names, name) == 0) {
                        return true;
                }
        }
        return false;
}

static void test_names(void **state) {
        (void)state;
        char hostname[HOST_SIZE] = "", canonical[HOST_SIZE];
        const char *why = NULL;
        char **names = NULL;
        bool complete = false;
        assert_int_equal(machine_names(&names, &complete), 0);
        assert_int_equal(gethostname(hostname, sizeof(hostname) - 1), 0);
        if (host_canonical(hostname, strlen(hostname), canonical, &why) == 0) {
                assert_true(has(names, canonical));
                canonical[strcspn(canonical, ".")] = '\0';
                assert_true(host_is_address(hostname) || has(names, canonical));
        }
        /* What the loopback interface has, where there is one. */
        assert_true(access("/sys/class/net/lo", F_OK) != 0 || has(names, "127.0.0.1") ||
                    has(names, "::1"));
        for (char **name = names; *name != NULL; name++) {
                assert_int_equal(host_canonical(*name, strlen(*name), canonical, &why), 0);
                assert_string_equal(*name, canonical);
                assert_false(has(name + 1, *name));
        }
        machine_names_free(names);
        machine_names_free(NULL);
}

int main(void) {
        const struct CMUnitTest tests[] = {cmocka_unit_test(test_names)};
        return cmocka_run_group_tests(tests, NULL, NULL);
}
