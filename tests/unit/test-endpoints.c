#include "test.h"

#include <stdio.h>
#include <string.h>

#include "handlers/actions/endpoints.h"

#define API "https://api.example.com"

static Endpoints endpoints;

static int setup(void **state) {
        (void)state;
        endpoints = (Endpoints){0};
        return 0;
}

static EndpointState ended(const char *name, const char *host, bool not_started) {
        return endpoints_ended(&endpoints, name, host, not_started);
}

static void test_names(void **state) {
        (void)state;
        static const struct {
                const char *url, *name;
        } table[] = {
                {"https://api.example.com/v1/x", API},
                {"https://api.example.com?x", API},
                {"https://api.example.com", API},
                {"http://[::1]:80/x", "http://[::1]:80"},
                {"nonsense/x", "nonsense"},
        };
        char name[ENDPOINT_NAME_SIZE], longer[1000];
        for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
                endpoint_name(table[i].url, name);
                assert_string_equal(name, table[i].name);
        }
        memset(longer, 'a', sizeof(longer) - 1);
        longer[sizeof(longer) - 1] = '\0';
        endpoint_name(longer, name);
        assert_int_equal(strlen(name), ENDPOINT_NAME_SIZE - 1);
}

static void test_three_hosts_in_a_row(void **state) {
        (void)state;
        assert_int_equal(ended(API, "a", true), ENDPOINT_FINE);
        assert_int_equal(ended(API, "b", true), ENDPOINT_FINE);
        assert_int_equal(ended(API, "c", true), ENDPOINT_OUT);
        assert_int_equal(ended(API, "a", true), ENDPOINT_OUT);
        assert_int_equal(ended(API, "a", false), ENDPOINT_BACK);
        assert_int_equal(ended(API, "a", true), ENDPOINT_FINE); /* from the beginning */
        assert_int_equal(ended(API, "b", true), ENDPOINT_FINE);
}

static void test_the_same_hosts_again_and_again(void **state) {
        (void)state;
        for (int i = 0; i < 10; i++) {
                assert_int_equal(ended(API, "a", true), ENDPOINT_FINE);
                assert_int_equal(ended(API, "b", true), ENDPOINT_FINE);
        }
}

static void test_one_that_works_ends_the_row(void **state) {
        (void)state;
        assert_int_equal(ended(API, "a", true), ENDPOINT_FINE);
        assert_int_equal(ended(API, "b", true), ENDPOINT_FINE);
        assert_int_equal(ended(API, "x", false), ENDPOINT_FINE);
        assert_int_equal(ended(API, "c", true), ENDPOINT_FINE);
}

static void test_endpoints_are_apart(void **state) {
        (void)state;
        char name[32];
        for (int i = 0; i < 10; i++) {
                snprintf(name, sizeof(name), "https://bmc%d", i);
                assert_int_equal(ended(name, name, true), ENDPOINT_FINE);
        }
        assert_int_equal(ended(API, "a", true), ENDPOINT_FINE);
        assert_int_equal(ended(API, "b", true), ENDPOINT_FINE);
        assert_int_equal(ended("http://api.example.com", "c", true), ENDPOINT_FINE);
        assert_int_equal(ended(API, "c", true), ENDPOINT_OUT);
}

/* Of more than it can remember it forgets the one that was not used for the longest time. */
static void test_forgets(void **state) {
        (void)state;
        char name[32];
        (void)ended(API, "a", true);
        (void)ended(API, "b", true);
        (void)ended(API, "c", true);
        for (int i = 0; i < ENDPOINTS_MAX - 1; i++) {
                snprintf(name, sizeof(name), "https://bmc%d", i);
                (void)ended(name, name, true);
        }
        assert_int_equal(ended(API, "d", true), ENDPOINT_OUT);
        for (int i = 0; i < ENDPOINTS_MAX; i++) {
                snprintf(name, sizeof(name), "https://other%d", i);
                (void)ended(name, name, true);
                (void)ended("https://works", "a", false); /* takes no place */
        }
        assert_int_equal(ended(API, "d", true), ENDPOINT_FINE);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test_setup(test_names, setup),
                cmocka_unit_test_setup(test_three_hosts_in_a_row, setup),
                cmocka_unit_test_setup(test_the_same_hosts_again_and_again, setup),
                cmocka_unit_test_setup(test_one_that_works_ends_the_row, setup),
                cmocka_unit_test_setup(test_endpoints_are_apart, setup),
                cmocka_unit_test_setup(test_forgets, setup),
        };
        return cmocka_run_group_tests(tests, NULL, NULL);
}
