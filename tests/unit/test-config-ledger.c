/* The keys of restart-host that the ledger of restarts needs. */

#include "config-load.h"

#include "config/groups.h"

#define BEGIN "handlers:\n  restart-host:\n    action: dry-run\n    allow: [a]\n"
#define GROUPS                                                                                     \
        "; allowed: a list of groups, such as [{match: \"etcd-*\", concurrency: 1, quiet_time: "   \
        "5m}]\n"
#define MATCH       "; allowed: a glob on canonical names, such as \"etcd-*\"\n"
#define CONCURRENCY "; allowed: a whole number, 0 to 1000000 (0: no limit)\n"
#define QUIET       "; allowed: a duration, 0s to 366d\n"
#define PERIOD      "; allowed: a duration, 1s to 366d\n"
#define COUNT       "; allowed: a whole number, 0 to 1000000\n"
#define NOTHING                                                                                    \
        ".groups: a group with neither a concurrency nor a quiet_time limits nothing; allowed: a " \
        "concurrency from 1 on, a quiet_time, or both\n"
#define TWICE                                                                                      \
        " stands in a group before this one, which could never match; allowed: each pattern "      \
        "once\n"
#define SHADOWED "; the narrower pattern has to come first\n"
#define SHADOW   " never applies: every host that it matches belongs to the group before it, "

#define SECOND INT64_C(1000000)
#define MINUTE (60 * SECOND)
#define HOUR   (60 * MINUTE)

static void test_wrong_numbers(void **state) {
        (void)state;
        static const Wrong table[] = {
                {BEGIN "    cooldown: 5\n    max_age: -1s\n    fleet_concurrency: -1\n",
                 "t.yaml:5:15: " R ".cooldown: \"5\" has no unit, such as 10s" QUIET
                 "t.yaml:6:14: " R ".max_age: \"-1s\" is negative" QUIET "t.yaml:7:24: " R
                 ".fleet_concurrency: \"-1\" is out of range" COUNT},
                {BEGIN "    per_host: {restarts: 1000001, period: 0}\n"
                       "    fuse: {restarts: x, period: 367d}\n",
                 "t.yaml:5:26: " R ".per_host.restarts: \"1000001\" is out of range" COUNT
                 "t.yaml:5:43: " R ".per_host.period: \"0\" is out of range" PERIOD
                 "t.yaml:6:22: " R ".fuse.restarts: \"x\" is not a whole number" COUNT
                 "t.yaml:6:33: " R ".fuse.period: \"367d\" is out of range" PERIOD},
                {BEGIN "    per_host: 3\n    fuse: {restart: 1}\n",
                 "t.yaml:5:15: " R ".per_host: text where a section is expected; known in it: "
                 "period restarts\n"
                 "t.yaml:6:12: unknown key \"handlers.restart-host.fuse.restart\"; did you mean "
                 "\"restarts\"? known in handlers.restart-host.fuse: period restarts\n"},
        };
        CHECK(table);
}

static void test_wrong_groups(void **state) {
        (void)state;
        static const Wrong table[] = {
                {BEGIN "    groups: {}\n", "t.yaml:5:13: " R ".groups: is a section" GROUPS},
                {BEGIN "    groups: [etcd]\n", "t.yaml:5:14: " R ".groups: is text" GROUPS},
                {BEGIN "    groups:\n", "t.yaml:5:12: " R ".groups: has no value" GROUPS},
                {BEGIN "    groups: [{}]\n",
                 "t.yaml:5:14: " R ".groups: a group without match" MATCH "t.yaml:5:14: " R
                 ".groups: a group without concurrency" CONCURRENCY},
                /* It would let all of them begin at once. */
                {BEGIN "    groups: [{match: a, quiet_time: 5m}]\n",
                 "t.yaml:5:14: " R ".groups: a group without concurrency" CONCURRENCY},
                {BEGIN "    groups: [{match: 'a[', concurrency: x, quiet_tiem: 1}]\n",
                 "t.yaml:5:22: " R
                 ".groups: \"a[\" holds a bracket or !; only * and ? are special" MATCH
                 "t.yaml:5:41: " R
                 ".groups: \"x\" is nothing for concurrency: it is not a whole number" CONCURRENCY
                 "t.yaml:5:44: " R ".groups: unknown key \"quiet_tiem\"; did you mean "
                 "\"quiet_time\"? known in a group: match concurrency quiet_time\n"},
                {BEGIN "    groups: [{match: [], concurrency: \"1\", quiet_time: 3}]\n",
                 "t.yaml:5:22: " R ".groups: match is a list" MATCH "t.yaml:5:39: " R
                 ".groups: \"1\" is nothing for concurrency: it is text because of its "
                 "quotes" CONCURRENCY "t.yaml:5:56: " R
                 ".groups: \"3\" is nothing for quiet_time: it has no unit, such as 10s" QUIET},
                {BEGIN "    groups: [{match: '', concurrency: 1000001, quiet_time: 367d}, "
                       "{match: a., concurrency: -1}]\n",
                 "t.yaml:5:22: " R ".groups: \"\" is empty" MATCH "t.yaml:5:39: " R
                 ".groups: \"1000001\" is nothing for concurrency: it is out of range" CONCURRENCY
                 "t.yaml:5:60: " R
                 ".groups: \"367d\" is nothing for quiet_time: it is out of range" QUIET
                 "t.yaml:5:75: " R
                 ".groups: \"a.\" ends with a dot, which canonical names never do" MATCH
                 "t.yaml:5:92: " R
                 ".groups: \"-1\" is nothing for concurrency: it is out of range" CONCURRENCY},
                {BEGIN "    groups: [{match: a, concurrency: 0}, {match: b, concurrency: 0, "
                       "quiet_time: 0}]\n",
                 "t.yaml:5:14: " R NOTHING "t.yaml:5:42: " R NOTHING},
                /* Names are compared without case; what else is wrong is said as well. */
                {BEGIN "    groups: [{match: a*, concurrency: 1}, {match: A*, concurrency: 2}, "
                       "{match: b, concurrency: 1}, {match: a*, concurrency: x}]\n",
                 "t.yaml:5:51: " R ".groups: \"a*\"" TWICE "t.yaml:5:108: " R
                 ".groups: \"a*\"" TWICE "t.yaml:5:125: " R
                 ".groups: \"x\" is nothing for concurrency: it is not a whole number" CONCURRENCY},
        };
        CHECK(table);
}

static void test_too_many_groups(void **state) {
        (void)state;
        for (int n = 100; n <= 101; n++) {
                Buffer text = BUFFER_INIT;
                assert_int_equal(buffer_append_string(&text, BEGIN "    groups:\n"), 0);
                for (int i = 0; i < n; i++) {
                        assert_int_equal(buffer_printf(&text,
                                                       "    - {match: a%d, concurrency: 1}\n", i),
                                         0);
                }
                config_free(load(buffer_string(&text), NULL, NULL,
                                 n == 100 ? ""
                                          : "t.yaml:6:5: " R
                                            ".groups: has over 100 groups; allowed: fewer\n"));
                buffer_deinit(&text);
        }
}

static void test_shadows(void **state) {
        (void)state;
        static const Wrong table[] = {
                {BEGIN "    groups: [{match: '*', concurrency: 1}, {match: a, concurrency: 1}]\n",
                 "warning: t.yaml:5:52: " R ".groups: \"a\"" SHADOW "\"*\"" SHADOWED},
                {BEGIN "    groups: [{match: a, concurrency: 1}, {match: '*', concurrency: 1}]\n",
                 ""},
                {BEGIN "    groups: [{match: 'x*', concurrency: 1}, {match: 'a*.z', concurrency: "
                       "1}, {match: 'A?*b.z', concurrency: 1}]\n",
                 "warning: t.yaml:5:86: " R ".groups: \"a?*b.z\"" SHADOW "\"a*.z\"" SHADOWED},
        };
        CHECK(table);
        static const struct {
                const char *first, *second;
                bool shadows;
        } rows[] = {
                {"*", "*a", true},       {"**", "*", true},        {"?", "a", true},
                {"?", "?", true},        {"?", "*", false},        {"??", "a?", true},
                {"a*", "a", true},       {"a*", "ab*c?", true},    {"a*", "*", false},
                {"a*", "b*", false},     {"*a", "*ba", true},      {"*a", "*b", false},
                {"a*b*c", "abc", true},  {"a*b*c", "axbxc", true}, {"a*b*c", "a*c", false},
                {"a*c", "a*b*c", true},  {"*b*", "a*b*c", true},   {"?*", "*", false},
                {"*?", "a*", false},     {"a", "ab", false},       {"ab", "a", false},
                {"*.a.*", "x.a", false}, {"a?c", "abc", true},     {"a?c", "a*c", false},
        };
        for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
                ConfigGroup items[] = {{.match = (char *)rows[i].first},
                                       {.match = (char *)rows[i].second}};
                ConfigGroups groups = {.items = items, .n = 2};
                assert_null(groups_shadow(&groups, 0));
                assert_int_equal(groups_shadow(&groups, 1) == &items[0], rows[i].shadows);
        }
}

static void test_warnings(void **state) {
        (void)state;
        static const Wrong table[] = {
                {BEGIN "    cooldown: 0\n    max_age: 0\n",
                 "warning: t.yaml:5:15: " R ".cooldown: 0: a host may be restarted again at once, "
                 "by a second request or by the next attempt\n"
                 "warning: t.yaml:6:14: " R ".max_age: 0: no request is too old: what lay in the "
                 "topic for days restarts its host\n"},
                {BEGIN "    max_age: 59s\n",
                 "warning: t.yaml:5:14: " R ".max_age: 59s: requests get older than this while "
                 "ackd is restarted or the group rebalances, and are suppressed, \"stale\", and "
                 "acked\n"},
                {BEGIN "    max_age: 1m\n", ""},
                {BEGIN "    cooldown: 4h\n    per_host: {period: 1d}\n",
                 "warning: t.yaml:5:15: " R ".cooldown: 4h is not shorter than max_wait (4h): a "
                 "restart that failed waits it out before it is tried again, and is rejected "
                 "before, \"waited_too_long\"; a longer max_wait lets it be tried again\n"},
                {BEGIN "    cooldown: 239m\n    per_host: {period: 1d}\n", ""},
                /* At what was written. */
                {BEGIN "    max_wait: 15m\n",
                 "warning: t.yaml:5:15: " R ".cooldown: 15m is not shorter than max_wait (15m): a "
                 "restart that failed waits it out before it is tried again, and is rejected "
                 "before, \"waited_too_long\"; a longer max_wait lets it be tried again\n"},
                {BEGIN "    groups: [{match: 'A*', concurrency: 1, quiet_time: 4h}, {match: b, "
                       "concurrency: 1, quiet_time: 239m}]\n",
                 "warning: t.yaml:5:22: " R ".groups: the quiet_time of \"a*\", 4h, is not shorter "
                 "than max_wait (4h): what comes right after a restart of the group is rejected, "
                 "\"waited_too_long\"; a longer max_wait lets it wait\n"},
                {BEGIN "    fuse: {restarts: 0}\n",
                 "warning: t.yaml:5:22: " R ".fuse.restarts: 0: there is no fuse, so nothing stops "
                 "a flood of requests before it has restarted every host\n"},
                {BEGIN "    fleet_concurrency: 31\n",
                 "warning: t.yaml:5:24: " R ".fuse.restarts: 30 is fewer than fleet_concurrency "
                 "(31): restarts that may run at once blow the fuse, which stops all of them until "
                 "a person lifts its hold\n"},
                {BEGIN "    fleet_concurrency: 30\n", ""},
                {BEGIN "    fleet_concurrency: 0\n    fuse: {restarts: 15}\n",
                 "warning: t.yaml:6:22: " R ".fuse.restarts: 15 is fewer than concurrency (16): "
                 "restarts that may run at once blow the fuse, which stops all of them until a "
                 "person lifts its hold\n"},
                {BEGIN "    per_host: {restarts: 2, period: 30m}\n",
                 "warning: t.yaml:5:26: " R ".per_host: 2 restarts in 30m limit nothing: with a "
                 "cool-down of 15m a host is restarted at most 2 times in it\n"},
                {BEGIN "    per_host: {restarts: 1, period: 30m}\n", ""},
                {BEGIN "    per_host: {restarts: 0, period: 30m}\n", ""},
                {BEGIN "    per_host: {restarts: 2, period: 1801s}\n", ""},
                /* What was refused is not judged. */
                {BEGIN "    fuse: {restarts: 3, period: 1}\n    fleet_concurrency: x\n"
                       "    cooldown: 20h\n    max_wait: 1\n    per_host: {restarts: x}\n",
                 "t.yaml:5:33: " R ".fuse.period: \"1\" has no unit, such as 10s" PERIOD
                 "t.yaml:6:24: " R ".fleet_concurrency: \"x\" is not a whole number" COUNT
                 "t.yaml:8:15: " R ".max_wait: \"1\" has no unit, such as 10s" PERIOD
                 "t.yaml:9:26: " R ".per_host.restarts: \"x\" is not a whole number" COUNT},
        };
        CHECK(table);
}

static void test_defaults_and_sources(void **state) {
        (void)state;
        Config *config = load(BEGIN, NULL, NULL, "");
        const ConfigRestart *restart = &config->handlers.restart;
        assert_int_equal(restart->max_age_us, HOUR);
        assert_int_equal(restart->cooldown_us, 15 * MINUTE);
        assert_int_equal(restart->per_host.restarts, 3);
        assert_int_equal(restart->per_host.period_us, 6 * HOUR);
        assert_int_equal(restart->fleet_concurrency, 5);
        assert_int_equal(restart->groups.n, 0);
        assert_int_equal(restart->fuse.restarts, 30);
        assert_int_equal(restart->fuse.period_us, 10 * MINUTE);
        config_free(config);
        /* A section is merged, a list replaced. */
        config = load(BEGIN
                      "    per_host: {restarts: 2}\n    groups: [{match: x, concurrency: 1}]\n",
                      (const char *const[]){"ACKD__HANDLERS__RESTART_HOST__PER_HOST__PERIOD=7h",
                                            "ACKD__HANDLERS__RESTART_HOST__MAX_AGE=2h", NULL},
                      (const char *const[]){"handlers.restart-host.groups=[{match: 'Etcd-*', "
                                            "concurrency: 2, quiet_time: 5m}]",
                                            "handlers.restart-host.fuse.restarts=31", NULL},
                      "");
        restart = &config->handlers.restart;
        assert_int_equal(restart->per_host.restarts, 2);
        assert_int_equal(restart->per_host.period_us, 7 * HOUR);
        assert_int_equal(restart->max_age_us, 2 * HOUR);
        assert_int_equal(restart->fuse.restarts, 31);
        assert_int_equal(restart->groups.n, 1);
        assert_string_equal(restart->groups.items[0].match, "etcd-*");
        assert_int_equal(restart->groups.items[0].concurrency, 2);
        assert_int_equal(restart->groups.items[0].quiet_us, 5 * MINUTE);
        config_free(config);
        assert_null(load(BEGIN, NULL,
                         (const char *const[]){"handlers.restart-host.groups=[{match: 'a'}]", NULL},
                         "-o handlers.restart-host.groups: a group without "
                         "concurrency" CONCURRENCY));
}

static void test_print(void **state) {
        (void)state;
        Config *config = load(BEGIN "    groups:\n"
                                    "      - {quiet_time: 90s, match: 'DB?.*', concurrency: 0}\n"
                                    "      - {match: x, concurrency: 3, quiet_time: 0}\n",
                              NULL, NULL, "");
        char *text = print(config);
        assert_non_null(strstr(text, "    groups: [{match: \"db?.*\", concurrency: 0, quiet_time: "
                                     "90s}, {match: x, concurrency: 3}]  # t.yaml:6\n"));
        assert_non_null(strstr(text, "    per_host:\n      period: 6h  # default\n"
                                     "      restarts: 3  # default\n"));
        free(text);
        config_free(config);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_wrong_numbers),   cmocka_unit_test(test_wrong_groups),
                cmocka_unit_test(test_too_many_groups), cmocka_unit_test(test_shadows),
                cmocka_unit_test(test_warnings),        cmocka_unit_test(test_defaults_and_sources),
                cmocka_unit_test(test_print),
        };
        return cmocka_run_group_tests(tests, set_up, tear_down);
}
