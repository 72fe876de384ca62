#include "config-load.h"

#include "config/keys.h"

static void test_masks(void **state) {
        (void)state;
        static const char *const dsns[][2] = {
                {"", ""},
                {"host=h dbname=d", "host=h dbname=d"},
                {"host=h password=secret user=u", "host=h password=****** user=u"},
                {" password = 'a b\\'c d'  user=u ", " password = ******  user=u"},
                {"password=a\\ b user=u", "password=****** user=u"},
                {"sslpassword=x", "sslpassword=******"},
                {"PASSWORD=x", "PASSWORD=******"},
                {"password=''", "password=******"},
                {"user=u password='never closed host=h", "user=u ******"},
                {"user=u nonsense password=x", "user=u ******"},
                {"passfile=/x hostaddr=::1", "passfile=/x hostaddr=::1"},
                {"dbname=postgresql://u:p@h/d host=x", "dbname=****** host=x"},
                {"postgresql://h/d", "postgresql://h/d"},
                {"postgresql://u@h:5432/d?sslmode=require",
                 "postgresql://u@h:5432/d?sslmode=require"},
                {"postgresql://u:p@h:5432/d", "postgresql://u:******@h:5432/d"},
                {"postgres://u:p/w@x?y@h/d", "postgres://u:******@h/d"},
                {"postgresql://h/d?user=u&password=p&sslmode=x",
                 "postgresql://h/d?user=u&password=******&sslmode=x"},
                {"postgresql://h/d?sslpassword=p", "postgresql://h/d?sslpassword=******"},
                {"postgresql://h/d?%70assword=p", "postgresql://h/d?%70assword=******"},
                {"postgresql://u:p@h/d?password=q", "postgresql://u:******@h/d?password=******"},
        };
        for (size_t i = 0; i < sizeof(dsns) / sizeof(dsns[0]); i++) {
                Buffer out = BUFFER_INIT;
                assert_int_equal(config_mask_dsn(dsns[i][0], &out), 0);
                assert_string_equal(buffer_string(&out), dsns[i][1]);
                buffer_deinit(&out);
        }
        static const char *const secret[] = {"sasl.password",
                                             "ssl.key.password",
                                             "ssl.keystore.password",
                                             "ssl.key.pem",
                                             "sasl.oauthbearer.client.secret",
                                             "sasl.oauthbearer.config",
                                             "x.secret"};
        for (size_t i = 0; i < sizeof(secret) / sizeof(secret[0]); i++) {
                assert_true(config_is_secret(secret[i]));
        }
        assert_false(config_is_secret("bootstrap.servers"));
        assert_false(config_is_secret("ssl.key.location"));
        assert_false(config_is_secret("sasl.username"));
}

static void test_prints(void **state) {
        (void)state;
        Config *config = load("kafka:\n"
                              "  sasl.password: hunter2\n"
                              "  client.secret: ''\n"
                              "postgres: {dsn: 'postgresql://u:hunter2@h/d'}\n"
                              "instance: i\n" RESTART,
                              (const char *[]){"ACKD__LOG__LEVEL=debug", NULL},
                              (const char *[]){"retry.backoff=90s", NULL},
                              "warning: t.yaml:4:17: postgres.dsn: holds a password; in "
                              "postgres.password_file it is out of sight, and can be changed "
                              "without a restart\n");
        char *text = print(config);
        assert_string_equal(text, "consume:\n"
                                  "  commit_interval: 1s  # default\n"
                                  "  dead_letter_topic: \"\"  # default\n"
                                  "  start: earliest  # default\n"
                                  "  topics: [host-restarts]  # default\n"
                                  "control:\n"
                                  "  socket: \"\"  # default\n"
                                  "debug:\n"
                                  "  checks: false  # default\n"
                                  "  slow_callback: 100ms  # default\n"
                                  "handlers:\n"
                                  "  restart-host:  # t.yaml:7\n"
                                  "    action: exec  # t.yaml:8\n"
                                  "    allow: [\"*.example.com\"]  # t.yaml:9\n"
                                  "    allow_self: false  # default\n"
                                  "    concurrency: 16  # default\n"
                                  "    cooldown: 15m  # default\n"
                                  "    deny: []  # default\n"
                                  "    exec:\n"
                                  "      argv: [/bin/reboot-it, \"{{host}}\"]  # t.yaml:11\n"
                                  "      kill_after: 5s  # default\n"
                                  "      status:\n"
                                  "        done: [0]  # default\n"
                                  "        not_started: []  # default\n"
                                  "        unknown: [255]  # default\n"
                                  "      timeout: 1m  # default\n"
                                  "    fleet_concurrency: 5  # default\n"
                                  "    fuse:\n"
                                  "      period: 10m  # default\n"
                                  "      restarts: 30  # default\n"
                                  "    groups: []  # default\n"
                                  "    http:\n"
                                  "      auth:\n"
                                  "        bearer_file: \"\"  # default\n"
                                  "        password_file: \"\"  # default\n"
                                  "        user: \"\"  # default\n"
                                  "      body: \"\"  # default\n"
                                  "      connect_timeout: 10s  # default\n"
                                  "      headers: {}  # default\n"
                                  "      method: POST  # default\n"
                                  "      status:\n"
                                  "        done: [200, 202, 204]  # default\n"
                                  "        failed: []  # default\n"
                                  "        not_started: [429, 503]  # default\n"
                                  "        unknown: []  # default\n"
                                  "      timeout: 30s  # default\n"
                                  "      tls:\n"
                                  "        ca_file: \"\"  # default\n"
                                  "        cert_file: \"\"  # default\n"
                                  "        key_file: \"\"  # default\n"
                                  "    max_age: 1h  # default\n"
                                  "    max_wait: 4h  # default\n"
                                  "    on_unknown: reject  # default\n"
                                  "    per_host:\n"
                                  "      period: 6h  # default\n"
                                  "      restarts: 3  # default\n"
                                  "    when: {}  # default\n"
                                  "    windows: []  # default\n"
                                  "instance: i  # t.yaml:5\n"
                                  "kafka:\n"
                                  "  bootstrap.servers: localhost:9092  # default\n"
                                  "  group.id: ackd  # default\n"
                                  "  sasl.password: \"******\"  # t.yaml:2\n"
                                  "  client.secret: \"\"  # t.yaml:3\n"
                                  "limits:\n"
                                  "  ack_gap: 100000  # default\n"
                                  "  in_flight: 10000  # default\n"
                                  "  in_flight_bytes: 64MiB  # default\n"
                                  "  message_bytes: 1MiB  # default\n"
                                  "  waiting: 100000  # default\n"
                                  "log:\n"
                                  "  format: auto  # default\n"
                                  "  level: debug  # environment ACKD__LOG__LEVEL\n"
                                  "message:\n"
                                  "  host: host  # default\n"
                                  "  id: id  # default\n"
                                  "  requested_at: requested_at  # default\n"
                                  "metrics:\n"
                                  "  interval: 15s  # default\n"
                                  "  textfile: \"\"  # default\n"
                                  "postgres:\n"
                                  "  batch_bytes: 4MiB  # default\n"
                                  "  batch_rows: 2000  # default\n"
                                  "  connections: 2  # default\n"
                                  "  dsn: \"postgresql://u:******@h/d\"  # t.yaml:4\n"
                                  "  password_file: \"\"  # default\n"
                                  "  schema: ackd  # default\n"
                                  "  statement_timeout: 30s  # default\n"
                                  "retry:\n"
                                  "  attempts: 5  # default\n"
                                  "  backoff: 90s  # -o retry.backoff\n"
                                  "  backoff_max: 5m  # default\n"
                                  "shutdown:\n"
                                  "  grace: auto  # default\n");
        free(text);
        config_free(config);
}

/* A copy of what is printed, without the comments that say where it came from. */
static char *without_comments(const char *text) {
        Buffer out = BUFFER_INIT;
        while (*text != '\0') {
                size_t line = strcspn(text, "\n");
                const char *comment = memmem(text, line, "  # ", 4);
                size_t size = comment != NULL ? (size_t)(comment - text) : line;
                assert_int_equal(buffer_append(&out, text, size), 0);
                assert_int_equal(buffer_append_char(&out, '\n'), 0);
                text += line + 1;
        }
        return buffer_string(&out);
}

static void test_print_can_be_fed_back(void **state) {
        (void)state;
        static const char *const texts[] = {
                SAVE,
                RESTART,
                RESTART "    when: {a.b: 'x y', c: 'true', d: true, e: ~, f: '1', g: 1.0, h: ''}\n"
                        "    windows: [{days: sun-tue, from: 22:00, to: 05:00, zone: "
                        "Asia/Kolkata}]\n"
                        "    groups: [{match: 'A*', concurrency: 1, quiet_time: 90s}, {match: no, "
                        "concurrency: 2}, {match: '12', concurrency: 0, quiet_time: 1ms}]\n",
                RESTART "    precheck: {}\n    verify:\n"
                        "      http: {url: 'https://{{host}}/x', headers: {Accept: text/plain}}\n",
                RESTART "    precheck: {exec: {argv: [/bin/x, '{{id}}']}, status: {wait: [3]}}\n"
                        "    verify: {exec: {argv: [/bin/x, '{{host}}']}, interval: 3s}\n",
                "handlers:\n  save:\n" /* everything that quoting could get wrong */
                "  restart-host:\n    action: exec\n    allow: [a, '*.b']\n    deny: ['::1', no]\n"
                "    exec:\n      argv: [/bin/x, '', ' ', 'a b', '{{host}}', 'it''s', '\"', "
                "\"\\\\\", \"\\t\\n\\u0085\\u2028\\ufeff\\u00e9\\U0001f600\\x7f\\x9f\", 'yes', "
                "'null', '~', '12', '-', '#', 'a #b', 'a: b', '*a', '&a', '!a', '%', '@', '`', "
                "'[', '}', ',', '--', 'x:', '-oA=b', '012', '0x1', '1:30', '.', '...', '---', "
                "'<<', '=', '?', '|', '>']\n"
                "kafka: {'a b': ' c ', 'k: #': 'v: #', x: 'on'}\n"
                "shutdown: {grace: 1234567us}\n"
                "limits: {message_bytes: 1025B}\n"
                "postgres: {dsn: \"host='a b' user=\\\"x\\\"\"}\n",
        };
        for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
                write_file(texts[i], strlen(texts[i]));
                ConfigSources sources = {.file = "t.yaml"};
                ConfigErrors errors = {0};
                Config *first = NULL, *second = NULL;
                assert_int_equal(config_load(&first, &sources, &errors), 0);
                char *printed = print(first);
                write_file(printed, strlen(printed));
                assert_int_equal(config_load(&second, &sources, &errors), 0);
                char *again = print(second);
                char *a = without_comments(printed), *b = without_comments(again);
                assert_string_equal(a, b);
                char **x = first->handlers.restart.exec.argv;
                char **y = second->handlers.restart.exec.argv;
                for (size_t j = 0; x != NULL && x[j] != NULL; j++) {
                        assert_string_equal(x[j], y[j]);
                }
                free(a);
                free(b);
                free(printed);
                free(again);
                config_free(first);
                config_free(second);
                config_errors_deinit(&errors);
        }
}

/* Every key with its help; with a handler added it can be read. */
static void test_print_defaults(void **state) {
        (void)state;
        Buffer out = BUFFER_INIT;
        assert_int_equal(config_print_defaults(&out), 0);
        for (size_t i = 0; i < n_keys; i++) {
                assert_non_null(memmem(out.data, out.size, keys[i].help, strlen(keys[i].help)));
        }
        assert_int_equal(buffer_append_string(&out, SAVE), 0);
        Config *read = load(buffer_string(&out), NULL, NULL, "");
        Config *defaults = load(SAVE, NULL, NULL, "");
        char *a = print(read), *b = print(defaults);
        char *c = without_comments(a), *d = without_comments(b);
        assert_string_equal(c, d);
        free(a);
        free(b);
        free(c);
        free(d);
        config_free(read);
        config_free(defaults);
        buffer_deinit(&out);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_masks),
                cmocka_unit_test(test_prints),
                cmocka_unit_test(test_print_can_be_fed_back),
                cmocka_unit_test(test_print_defaults),
        };
        return cmocka_run_group_tests(tests, set_up, tear_down);
}
