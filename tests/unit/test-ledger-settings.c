#include "config-load.h"

#include "app/ledger_settings.h"

#define SECOND INT64_C(1000000)
#define MINUTE (60 * SECOND)
#define HOUR   (60 * MINUTE)

static Config *load_text(const char *text) {
        ConfigErrors errors = {0};
        ConfigSources sources = {.file = "t.yaml"};
        Config *config = NULL;
        write_file(text, strlen(text));
        assert_int_equal(config_load(&config, &sources, &errors), 0);
        config_errors_deinit(&errors);
        return config;
}

static LedgerPolicy policy(const char *text) {
        LedgerSettings settings;
        Config *config = load_text(text);
        assert_true(ledger_settings_wanted(config));
        assert_int_equal(ledger_settings_init(&settings, config), 0);
        LedgerPolicy made = settings.policy;
        ledger_settings_deinit(&settings);
        config_free(config);
        return made;
}

static void test_wanted(void **state) {
        (void)state;
        static const struct {
                const char *text;
                bool wanted;
        } table[] = {
                {SAVE, false},
                {RESTART, true},
                {"handlers: {restart-host: {action: http, allow: [a], http: {url: "
                 "'https://a.example.com/{{host}}'}}}\n",
                 true},
                {"handlers: {restart-host: {action: dry-run, allow: [a]}}\n", false},
        };
        for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
                Config *config = load_text(table[i].text);
                assert_int_equal(ledger_settings_wanted(config), table[i].wanted);
                config_free(config);
        }
}

static void test_defaults(void **state) {
        (void)state;
        LedgerPolicy made = policy(RESTART);
        assert_string_equal(made.action, "exec");
        assert_int_equal(made.cooldown_us, 15 * MINUTE);
        assert_int_equal(made.max_age_us, HOUR);
        assert_int_equal(made.max_wait_us, 4 * HOUR);
        assert_int_equal(made.start_within_us, LEDGER_START_WITHIN_US);
        assert_int_equal(made.hold_us, 65 * SECOND);
        assert_int_equal(made.host_restarts, 3);
        assert_int_equal(made.host_period_us, 6 * HOUR);
        assert_int_equal(made.fleet, 5);
        assert_int_equal(made.fuse_restarts, 30);
        assert_int_equal(made.fuse_period_us, 10 * MINUTE);
}

static void test_policy(void **state) {
        (void)state;
        LedgerPolicy made = policy(
                "handlers:\n  restart-host:\n    action: http\n    allow: [a]\n"
                "    http: {url: 'https://a.example.com/{{host}}', timeout: 7s, "
                "connect_timeout: 3s}\n"
                "    cooldown: 1s\n    max_age: 2s\n    max_wait: 3s\n    fleet_concurrency: 0\n"
                "    per_host: {restarts: 1000000, period: 4s}\n"
                "    fuse: {restarts: 1000000, period: 5s}\n");
        assert_string_equal(made.action, "http");
        assert_int_equal(made.cooldown_us, SECOND);
        assert_int_equal(made.max_age_us, 2 * SECOND);
        assert_int_equal(made.max_wait_us, 3 * SECOND);
        assert_int_equal(made.hold_us, 7 * SECOND);
        assert_int_equal(made.host_restarts, 1000000);
        assert_int_equal(made.host_period_us, 4 * SECOND);
        assert_int_equal(made.fleet, 0);
        assert_int_equal(made.fuse_restarts, 1000000);
        assert_int_equal(made.fuse_period_us, 5 * SECOND);
}

static void test_groups(void **state) {
        (void)state;
        LedgerSettings settings;
        Config *config = load_text(RESTART "    groups:\n"
                                           "      - {match: 'etcd-1.*', concurrency: 0, "
                                           "quiet_time: 7m}\n"
                                           "      - {match: 'ETCD-*', concurrency: 2}\n"
                                           "      - {match: '10.0.?.*', concurrency: 1000000, "
                                           "quiet_time: 1s}\n");
        assert_int_equal(ledger_settings_init(&settings, config), 0);
        static const struct {
                const char *host, *group; /* NULL: in none */
                int concurrency;
                int64_t quiet_us;
        } table[] = {
                {"etcd-1.example.com", "etcd-1.*", 0, 7 * MINUTE},
                {"etcd-10.example.com", "etcd-*", 2, 0},
                {"etcd-", "etcd-*", 2, 0},
                {"a-etcd-1", NULL, 0, 0},
                {"10.0.9.1", "10.0.?.*", 1000000, SECOND},
                {"10.0.10.1", NULL, 0, 0},
        };
        for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
                const LedgerGroup *group = ledger_settings_group(&settings, table[i].host);
                assert_int_equal(group == NULL, table[i].group == NULL);
                if (group != NULL) {
                        assert_string_equal(group->name, table[i].group);
                        assert_int_equal(group->concurrency, table[i].concurrency);
                        assert_int_equal(group->quiet_us, table[i].quiet_us);
                }
        }
        ledger_settings_deinit(&settings);
        ledger_settings_deinit(&settings); /* as after a failed init */
        assert_null(ledger_settings_group(&settings, "etcd-1.example.com"));
        config_free(config);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_wanted),
                cmocka_unit_test(test_defaults),
                cmocka_unit_test(test_policy),
                cmocka_unit_test(test_groups),
        };
        return cmocka_run_group_tests(tests, set_up, tear_down);
}
