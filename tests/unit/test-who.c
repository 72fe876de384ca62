#include "test.h"

#include <string.h>
#include <unistd.h>

#include "app/who.h"

static void test_format(void **state) {
        (void)state;
        static const struct {
                const char *sudo_user, *login, *user, *host, *who;
        } rows[] = {
                {NULL, "jo", "jo", "web1", "jo@web1"},
                {"jo", "jo", "root", "web1", "jo@web1 as root"},
                {"jo", NULL, "ackd", "web1", "jo@web1 as ackd"},
                {"", "jo", "root", "web1", "jo@web1 as root"}, /* su */
                {NULL, NULL, "ackd", "web1", "ackd@web1"},     /* cron */
                {NULL, NULL, NULL, "web1", "uid 7@web1"},
                {NULL, "jo", NULL, "web1", "jo@web1 as uid 7"},
                {NULL, "jo", "jo", "", "jo@?"},
                {NULL, NULL, "jo", NULL, "jo@?"},
                {"jo\033[2J\n", "x", "jo2J", "web1", "jo2J@web1"},
                {"DOM\\jo.doe", NULL, "svc$", "web-1.example.com",
                 "DOM\\jo.doe@web-1.example.com as svc$"},
        };
        for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
                char who[WHO_MAX];
                assert_string_equal(who_format(who, rows[i].sudo_user, rows[i].login, rows[i].user,
                                               7, rows[i].host),
                                    rows[i].who);
        }
}

static void test_long_names(void **state) {
        (void)state;
        char who[WHO_MAX], name[1000];
        memset(name, 'x', sizeof(name) - 1);
        name[sizeof(name) - 1] = '\0';
        who_format(who, name, name, "y", 7, name);
        assert_int_equal(strlen(who), 64 + 1 + 64 + strlen(" as y"));
}

static void test_this_process(void **state) {
        (void)state;
        char who[WHO_MAX], host[65] = "";
        gethostname(host, sizeof(host) - 1);
        assert_non_null(strstr(who_calls(who), host));
        assert_true(who[0] != '@');
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_format),
                cmocka_unit_test(test_long_names),
                cmocka_unit_test(test_this_process),
        };
        return cmocka_run_group_tests(tests, NULL, NULL);
}
