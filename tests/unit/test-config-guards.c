/* The keys `when`, `windows`, `max_wait` and `allow_self` of restart-host. */

#include "config-load.h"

#define BEGIN "handlers:\n  restart-host:\n    action: dry-run\n    allow: [a]\n"
#define WHEN  "; allowed: fields of a message and their values, such as {type: restart}\n"
#define FIELDS                                                                                     \
        "; allowed: text, a number, true, false or null; a field below another is named by a "     \
        "dotted path, such as target.type\n"
#define WINDOW                                                                                     \
        "; allowed: a list of windows, such as [{days: mon-fri, from: \"22:00\", to: \"05:00\", "  \
        "zone: Europe/Berlin}]\n"
#define DAYS   "; allowed: days of the week, such as mon-fri or sat,sun\n"
#define FROM   "; allowed: a time of the day, 00:00 to 23:59\n"
#define TO     "; allowed: a time of the day, 00:00 to 24:00\n"
#define ZONE   "; allowed: a zone, such as Europe/Berlin or UTC\n"
#define WARNED "warning: t.yaml:5:14: " R ".windows: no window is open for up to "
#define WAIT                                                                                       \
        " a request is rejected, \"waited_too_long\"; a longer max_wait lets all of them wait\n"

static void test_when(void **state) {
        (void)state;
        static const Wrong table[] = {
                {BEGIN "    when: restart\n", "t.yaml:5:11: " R ".when: is text" WHEN},
                {BEGIN "    when: [type]\n", "t.yaml:5:11: " R ".when: is a list" WHEN},
                {BEGIN "    when:\n", "t.yaml:5:10: " R ".when: has no value" WHEN},
                {BEGIN "    when: {a..b: 1}\n",
                 "t.yaml:5:12: " R ".when: \"a..b\" is no dotted path into a message" WHEN},
                {BEGIN "    when: {a: {b: 1}, c: [1]}\n",
                 "t.yaml:5:15: " R ".when: \"a\" is a section" FIELDS "t.yaml:5:26: " R
                 ".when: \"c\" is a list" FIELDS},
                {BEGIN "    wehn: {}\n",
                 "t.yaml:5:5: unknown key \"handlers.restart-host.wehn\"; did you mean \"when\"? "
                 "known in handlers.restart-host: action allow allow_self concurrency cooldown "
                 "deny exec fleet_concurrency fuse groups http max_age max_wait on_unknown "
                 "per_host "
                 "precheck verify when windows\n"},
        };
        CHECK(table);
        Config *config = load(BEGIN "    when: {type: restart, meta.n: 1.50, a: -0, b: \"1\", "
                                    "c: true, d: false, e: null, f: ~, g: 'true', h: 01, i: yes, "
                                    "j: 1e+5, k: 1e, l: .5, m: '', o: -}\n",
                              NULL, NULL, "");
        static const struct {
                const char *path;
                ConfigWhenType type;
                const char *text;
        } expected[] = {
                {"type", CONFIG_WHEN_TEXT, "restart"}, {"meta.n", CONFIG_WHEN_NUMBER, "1.50"},
                {"a", CONFIG_WHEN_NUMBER, "-0"},       {"b", CONFIG_WHEN_TEXT, "1"},
                {"c", CONFIG_WHEN_TRUE, "true"},       {"d", CONFIG_WHEN_FALSE, "false"},
                {"e", CONFIG_WHEN_NULL, ""},           {"f", CONFIG_WHEN_NULL, ""},
                {"g", CONFIG_WHEN_TEXT, "true"},       {"h", CONFIG_WHEN_TEXT, "01"},
                {"i", CONFIG_WHEN_TEXT, "yes"},        {"j", CONFIG_WHEN_NUMBER, "1e+5"},
                {"k", CONFIG_WHEN_TEXT, "1e"},         {"l", CONFIG_WHEN_TEXT, ".5"},
                {"m", CONFIG_WHEN_TEXT, ""},           {"o", CONFIG_WHEN_TEXT, "-"},
        };
        const ConfigWhen *when = &config->handlers.restart.when;
        assert_int_equal(when->n, sizeof(expected) / sizeof(expected[0]));
        for (size_t i = 0; i < when->n; i++) {
                assert_string_equal(when->items[i].path, expected[i].path);
                assert_int_equal(when->items[i].type, expected[i].type);
                assert_string_equal(when->items[i].text, expected[i].text);
        }
        config_free(config);
}

static void test_wrong_windows(void **state) {
        (void)state;
        static const Wrong table[] = {
                {BEGIN "    windows: {}\n", "t.yaml:5:14: " R ".windows: is a section" WINDOW},
                {BEGIN "    windows: [night]\n", "t.yaml:5:15: " R ".windows: is text" WINDOW},
                {BEGIN "    windows: [{}]\n",
                 "t.yaml:5:15: " R ".windows: a window without days" DAYS "t.yaml:5:15: " R
                 ".windows: a window without from" FROM "t.yaml:5:15: " R
                 ".windows: a window without to" TO "t.yaml:5:15: " R
                 ".windows: a window without zone" ZONE},
                {BEGIN "    windows: [{days: mo-fri, from: 9:00, to: \"24:01\", zone: Mars/Base, "
                       "form: 1}]\n",
                 "t.yaml:5:22: " R ".windows: \"mo-fri\" is nothing for days" DAYS "t.yaml:5:36: " R
                 ".windows: \"9:00\" is nothing for from" FROM "t.yaml:5:46: " R
                 ".windows: \"24:01\" is nothing for to" TO "t.yaml:5:61: " R
                 ".windows: \"Mars/Base\" is no zone of /usr/share/zoneinfo" ZONE "t.yaml:5:72: " R
                 ".windows: unknown key \"form\"; did you mean \"from\"? known in "
                 "a window: days from to zone\n"},
                {BEGIN "    windows: [{days: [mon], from: \"24:00\", to: , zone: ../passwd}]\n",
                 "t.yaml:5:22: " R ".windows: days is a list" DAYS "t.yaml:5:35: " R
                 ".windows: \"24:00\" is nothing for from" FROM "t.yaml:5:48: " R
                 ".windows: to has no value" TO "t.yaml:5:56: " R
                 ".windows: \"../passwd\" is not the name of a zone" ZONE},
                {BEGIN "    windows: [{days: mon, from: 10:00, to: 10:00, zone: UTC}]\n",
                 "t.yaml:5:15: " R
                 ".windows: a window whose from and to are the same; allowed: two "
                 "times; a whole day is from: \"00:00\", to: \"24:00\"\n"},
                {BEGIN "    max_wait: 0\n",
                 "t.yaml:5:15: " R ".max_wait: \"0\" is out of range; allowed: a duration, 1s to "
                 "366d\n"},
                {BEGIN "    allow_self: maybe\n",
                 "t.yaml:5:17: " R ".allow_self: \"maybe\" is unknown; allowed: false | true\n"},
        };
        CHECK(table);
}

static void test_days_and_times(void **state) {
        (void)state;
        static const struct {
                const char *text;
                unsigned days; /* 0: refused */
        } rows[] = {
                {"mon", 1},          {"sun", 64},        {"mon-fri", 31},
                {"sat,sun", 96},     {"mon-sun", 127},   {"fri-mon", 113},
                {"Mon, WED - x", 0}, {"Mon, WED", 5},    {"mon,wed-thu", 13},
                {"mon-mon", 1},      {"sun-sat", 127},   {"", 0},
                {"monday", 0},       {"mon-", 0},        {"-mon", 0},
                {"mon,,tue", 0},     {"mon,", 0},        {",mon", 0},
                {"mon tue", 0},      {"mon-tue-wed", 0}, {"mon,mon", 1},
                {" mon ", 1},        {"m", 0},           {"mon-fr", 0},
        };
        for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
                char text[300], expected[300] = "";
                snprintf(text, sizeof(text),
                         BEGIN "    max_wait: 7d\n    windows: [{days: '%s', from: 01:00, to: "
                               "'24:00', zone: UTC}]\n",
                         rows[i].text);
                if (rows[i].days == 0) {
                        snprintf(expected, sizeof(expected),
                                 "t.yaml:6:22: " R ".windows: \"%s\" is nothing for days" DAYS,
                                 rows[i].text);
                }
                Config *config = load(text, NULL, NULL, expected);
                if (config != NULL) {
                        const ConfigWindow *window = &config->handlers.restart.windows.items[0];
                        assert_int_equal(window->days, rows[i].days);
                        assert_int_equal(window->from_s, 3600);
                        assert_int_equal(window->to_s, 86400);
                        assert_string_equal(window->zone, "UTC");
                }
                config_free(config);
        }
}

/* What one window leaves shut, beside max_wait. */
static void test_too_short_a_wait(void **state) {
        (void)state;
        static const Wrong table[] = {
                {BEGIN "    windows: [{days: mon-fri, from: '22:00', to: '05:00', zone: "
                       "Europe/Berlin}]\n",
                 WARNED "65h, and after max_wait (4h)" WAIT},
                {BEGIN "    windows: [{days: mon-fri, from: '22:00', to: '05:00', zone: UTC}]\n"
                       "    max_wait: 65h\n",
                 ""},
                {BEGIN "    windows: [{days: mon-sun, from: '00:00', to: '24:00', zone: UTC}]\n",
                 ""},
                {BEGIN "    windows: [{days: sun, from: '23:00', to: '01:00', zone: UTC}]\n",
                 WARNED "166h, and after max_wait (4h)" WAIT},
                {BEGIN "    windows: [{days: mon-sun, from: '00:00', to: '12:00', zone: UTC}, "
                       "{days: mon-sun, from: '12:30', to: '24:00', zone: UTC}]\n",
                 ""},
                /* Nobody can say. */
                {BEGIN "    windows: [{days: mon, from: '00:00', to: '12:00', zone: UTC}, "
                       "{days: mon, from: '00:00', to: '12:00', zone: Europe/Berlin}]\n",
                 ""},
        };
        CHECK(table);
}

static void test_defaults_and_sources(void **state) {
        (void)state;
        Config *config = load(BEGIN, NULL, NULL, "");
        const ConfigRestart *restart = &config->handlers.restart;
        assert_int_equal(restart->when.n, 0);
        assert_int_equal(restart->windows.n, 0);
        assert_int_equal(restart->max_wait_us, INT64_C(4) * 3600 * 1000000);
        assert_int_equal(restart->allow_self, CONFIG_FALSE);
        config_free(config);
        /* As with a list, the later source's is the whole of it. */
        config = load(BEGIN "    when: {a: b, c: d}\n    allow_self: true\n",
                      (const char *const[]){"ACKD__HANDLERS__RESTART_HOST__WHEN={x: y}", NULL},
                      (const char *const[]){"handlers.restart-host.windows=[{days: mon-sun, from: "
                                            "'00:00', to: '24:00', zone: UTC}]",
                                            NULL},
                      "");
        restart = &config->handlers.restart;
        assert_int_equal(restart->when.n, 1);
        assert_string_equal(restart->when.items[0].path, "x");
        assert_int_equal(restart->windows.n, 1);
        assert_int_equal(restart->allow_self, CONFIG_TRUE);
        config_free(config);
}

static void test_print(void **state) {
        (void)state;
        Config *config =
                load(BEGIN "    when: {type: restart, 'a b': '1', num: 1.0, x: ~, z: true}\n"
                           "    windows: [{days: 'fri-mon,wed', from: 22:00, to: 05:30, "
                           "zone: Europe/Berlin}, {days: tue, from: 00:00, to: 24:00, "
                           "zone: UTC}]\n    max_wait: 8d\n",
                     NULL, NULL, "");
        char *text = print(config);
        assert_non_null(strstr(text,
                               "    when: {type: restart, \"a b\": \"1\", num: 1.0, x: null, z: "
                               "true}  # t.yaml:5\n"));
        assert_non_null(strstr(text,
                               "    windows: [{days: \"mon,wed,fri-sun\", from: \"22:00\", to: "
                               "\"05:30\", zone: Europe/Berlin}, {days: \"tue\", from: "
                               "\"00:00\", to: \"24:00\", zone: UTC}]  # t.yaml:6\n"));
        free(text);
        config_free(config);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_when),           cmocka_unit_test(test_wrong_windows),
                cmocka_unit_test(test_days_and_times), cmocka_unit_test(test_too_short_a_wait),
                cmocka_unit_test(test_print),          cmocka_unit_test(test_defaults_and_sources),
        };
        return cmocka_run_group_tests(tests, set_up, tear_down);
}
