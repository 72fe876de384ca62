#include "config-load.h"

#include <errno.h>
#include <sys/stat.h>

#include "config/keys.h"

static void test_defaults(void **state) {
        (void)state;
        Config *config = load(SAVE, NULL, NULL, "");
        assert_true(config->handlers.save.enabled);
        assert_false(config->handlers.restart.enabled);
        assert_string_not_equal(config->instance, "");
        assert_int_equal(config->kafka.n, 2);
        assert_string_equal(config->kafka.items[0].name, "bootstrap.servers");
        assert_string_equal(config->kafka.items[0].value, "localhost:9092");
        assert_string_equal(config->kafka.items[1].name, "group.id");
        assert_string_equal(config->kafka.items[1].value, "ackd");
        assert_string_equal(config->consume.topics[0], "host-restarts");
        assert_null(config->consume.topics[1]);
        assert_int_equal(config->consume.start, CONFIG_START_EARLIEST);
        assert_int_equal(config->consume.commit_interval_us, 1000000);
        assert_string_equal(config->message.host, "host");
        assert_string_equal(config->message.id, "id");
        assert_string_equal(config->message.requested_at, "requested_at");
        assert_string_equal(config->postgres.dsn, "host=/run/postgresql dbname=ackd");
        assert_string_equal(config->postgres.password_file, "");
        assert_string_equal(config->postgres.schema, "ackd");
        assert_int_equal(config->postgres.connections, 2);
        assert_int_equal(config->postgres.batch_rows, 2000);
        assert_int_equal(config->postgres.batch_bytes, 4 << 20);
        assert_int_equal(config->postgres.statement_timeout_us, 30000000);
        assert_int_equal(config->limits.in_flight, 10000);
        assert_int_equal(config->limits.in_flight_bytes, 64 << 20);
        assert_int_equal(config->limits.message_bytes, 1 << 20);
        assert_int_equal(config->retry.attempts, 5);
        assert_int_equal(config->retry.backoff_us, 1000000);
        assert_int_equal(config->retry.backoff_max_us, 300000000);
        assert_true(config->shutdown.grace_auto);
        assert_int_equal(config->shutdown.grace_us, 10000000);
        assert_int_equal(config->log.level, CONFIG_LOG_INFO);
        assert_int_equal(config->log.format, CONFIG_LOG_AUTO);
        assert_string_equal(config->metrics.textfile, "");
        assert_int_equal(config->metrics.interval_us, 15000000);
        assert_int_equal(config->debug.slow_callback_us, 100000);
        config_free(config);
}

static void test_restart(void **state) {
        (void)state;
        Config *config = load(RESTART "      status: {not_started: [3, 75], unknown: []}\n"
                                      "    deny: [db-*, '10.0.0.?', 'fe80::*']\n"
                                      "    on_unknown: done\n",
                              NULL, NULL, "");
        const ConfigRestart *restart = &config->handlers.restart;
        assert_true(restart->enabled);
        assert_false(config->handlers.save.enabled);
        assert_int_equal(restart->action, CONFIG_ACTION_EXEC);
        assert_string_equal(restart->allow[0], "*.example.com");
        assert_string_equal(restart->deny[2], "fe80::*");
        assert_null(restart->deny[3]);
        assert_string_equal(restart->exec.argv[1], "{{host}}");
        assert_int_equal(restart->exec.timeout_us, 60000000);
        assert_int_equal(restart->exec.kill_after_us, 5000000);
        assert_int_equal(restart->exec.status.done.n, 1);
        assert_int_equal(restart->exec.status.not_started.items[1], 75);
        assert_int_equal(restart->exec.status.unknown.n, 0);
        assert_int_equal(restart->on_unknown, CONFIG_ON_UNKNOWN_DONE);
        assert_int_equal(restart->concurrency, 16);
        assert_int_equal(config->shutdown.grace_us, 75000000); /* auto: 60 s, 5 s and 10 s */
        config_free(config);
        config = load("handlers: {restart-host: {action: dry-run, allow: [a]}}\n", NULL, NULL, "");
        assert_int_equal(config->shutdown.grace_us, 10000000);
        assert_null(config->handlers.restart.exec.argv);
        config_free(config);
}

static void test_unknown_keys(void **state) {
        (void)state;
        static const Wrong table[] = {
                {SAVE "retyr: {}\n",
                 "t.yaml:2:1: unknown key \"retyr\"; did you mean \"retry\"? " TOP},
                {SAVE "xyz: 1\n", "t.yaml:2:1: unknown key \"xyz\"; " TOP},
                {SAVE "retry:\n  atempts: 3\n",
                 "t.yaml:3:3: unknown key \"retry.atempts\"; did you mean \"attempts\"? known in "
                 "retry: attempts backoff backoff_max\n"},
                {SAVE "postgres: {in_flight: 3}\n",
                 "t.yaml:2:12: unknown key \"postgres.in_flight\"; did you mean "
                 "\"limits.in_flight\"? known in postgres: batch_bytes batch_rows connections dsn "
                 "password_file schema statement_timeout\n"},
                {SAVE "retry.attempts: 3\n",
                 "t.yaml:2:1: unknown key \"retry.attempts\"; its parts are nested, not joined: "
                 "retry: and below it attempts\n"},
                {"handlers: {save: {}, restart_host: {}}\n",
                 "t.yaml:1:22: unknown key \"handlers.restart_host\"; did you mean "
                 "\"restart-host\"? known in handlers: restart-host save\n"},
                {"handlers: {save: {fast: true}}\n",
                 "t.yaml:1:19: unknown key \"handlers.save.fast\"; allowed: no key\n"},
                /* Keys of later versions are unknown until they work. */
                {SAVE "control: {socket: x}\n", "t.yaml:2:19: control.socket: \"x\" is not an "
                                                "absolute path; allowed: an absolute path "
                                                "of at most 107 bytes, or \"\"\n"},
                {SAVE "http: {listen: x}\n",
                 "t.yaml:2:1: unknown key \"http\"; known here: consume control debug handlers "
                 "instance "
                 "kafka limits log message metrics postgres retry shutdown\n"},
                {SAVE "limits: {rate: 3}\n",
                 "t.yaml:2:10: unknown key \"limits.rate\"; known in limits: ack_gap in_flight "
                 "in_flight_bytes message_bytes waiting\n"},
                {SAVE "\"a\\u001b[31m\": 1\n", "t.yaml:2:1: unknown key \"a?[31m\"; " TOP},
                {SAVE "null: 1\n", "t.yaml:2:1: unknown key \"null\"; " TOP},
        };
        CHECK(table);
}

/* Everything that is wrong at once, from top to bottom. */
static void test_all_at_once(void **state) {
        (void)state;
        config_free(load("retry: {attempts: 0}\n"
                         "log: {level: x}\n"
                         "log: {}\n"
                         "handlers:\n"
                         "  restart-host: {allow: []}\n"
                         "nonsense: 1\n",
                         (const char *[]){"ACKD__LOG__LEVEL=loud", NULL},
                         (const char *[]){"log.format=xml", NULL},
                         "t.yaml:1:19: retry.attempts: \"0\" is out of range; allowed: a whole "
                         "number, 1 to 1000\n"
                         "t.yaml:2:14: log.level: \"x\" is unknown; allowed: debug | info | "
                         "warning | error\n"
                         "t.yaml:3:1: \"log\" is here twice; first in line 2\n"
                         "t.yaml:5:3: " R ".action is missing; allowed: exec | http | dry-run\n"
                         "t.yaml:5:25: " R ".allow: is empty; allowed: a list of globs, such as "
                         "[\"*.prod.example.com\"]\n"
                         "t.yaml:6:1: unknown key \"nonsense\"; " TOP
                         "ACKD__LOG__LEVEL: log.level: \"loud\" is unknown; allowed: debug | info "
                         "| warning | error\n"
                         "-o log.format: \"xml\" is unknown; allowed: auto | text | "
                         "json\n"));
}

static void test_at_most_a_hundred(void **state) {
        (void)state;
        Buffer text = BUFFER_INIT;
        for (int i = 0; i < 150; i++) {
                assert_int_equal(buffer_printf(&text, "zz%d: 1\n", i), 0);
        }
        write_file((char *)text.data, text.size);
        buffer_deinit(&text);
        ConfigSources sources = {.file = "t.yaml"};
        Config *config = NULL;
        ConfigErrors errors = {0};
        assert_int_equal(config_load(&config, &sources, &errors), CONFIG_E_INVALID);
        assert_null(config);
        assert_int_equal(errors.errors.n, 100);
        assert_int_equal(errors.errors.more, 51); /* 50 keys, and no handler */
        config_errors_deinit(&errors);
}

static void test_files(void **state) {
        (void)state;
        unlink("t.yaml");
        config_free(load(NULL, NULL, NULL,
                         "t.yaml: cannot be read: No such file or directory; -c FILE or "
                         "ACKD_CONFIG names another; an example is installed with the "
                         "documentation\n"));
        assert_int_equal(mkdir("t.yaml", 0700), 0);
        config_free(load(NULL, NULL, NULL,
                         "t.yaml: cannot be read: Is a directory; name the file in it\n"));
        assert_int_equal(rmdir("t.yaml"), 0);
        if (geteuid() != 0) { /* root may read everything */
                write_file(SAVE, strlen(SAVE));
                assert_int_equal(chmod("t.yaml", 0), 0);
                config_free(load(NULL, NULL, NULL,
                                 "t.yaml: cannot be read: Permission denied; let the user that "
                                 "runs ackd read it, and nobody else if it holds secrets\n"));
                unlink("t.yaml");
        }
        /* What cannot be read says nothing about what is missing; the rest is still looked at. */
        config_free(load("a: [\n", NULL, (const char *[]){"foo=1", NULL},
                         "t.yaml:2:1: not valid YAML: did not find expected node content while "
                         "parsing a flow node that began in line 2\n"
                         "-o foo: names no key; `ackd print-config --defaults` lists all\n"));
        config_free(load("handlers:\n\tsave: {}\n", NULL, NULL,
                         "t.yaml:2:1: a tab; YAML indents with spaces\n"));
        config_free(load(SAVE "---\n" SAVE, NULL, NULL,
                         "t.yaml:2:1: a second document begins here; only one is read\n"));
        config_free(load("\xef\xbb\xbf" SAVE, NULL, NULL, ""));
        config_free(load("s: &x {}\nhandlers: {save: *x}\n", NULL, NULL,
                         "t.yaml:1:1: unknown key \"s\"; " TOP));
        config_free(load("handlers: {save: &x {}, restart-host: {action: dry-run, allow: &h [a], "
                         "deny: *h}}\n",
                         NULL, NULL, ""));
        static const char nul[] = "handlers:\0 {save: {}}\n";
        write_file(nul, sizeof(nul) - 1);
        config_free(load(NULL, NULL, NULL,
                         "t.yaml:1:10: not UTF-8 text (control characters are not allowed, byte "
                         "10)\n"));
}

static void test_which_file(void **state) {
        (void)state;
        write_file(SAVE "instance: it\n", strlen(SAVE "instance: it\n"));
        ConfigErrors errors = {0};
        Config *config = NULL;
        const char *const environment[] = {"ACKD_CONFIG=t.yaml", NULL};
        ConfigSources sources = {.environment = environment};
        assert_int_equal(config_load(&config, &sources, &errors), 0);
        assert_string_equal(config->instance, "it");
        config_free(config);
        /* -c wins. */
        config = NULL;
        sources.file = "missing.yaml";
        assert_int_equal(config_load(&config, &sources, &errors), CONFIG_E_INVALID);
        assert_null(config);
        config_errors_deinit(&errors);
        /* Without any file, the environment may say everything. */
        if (access(CONFIG_FILE, F_OK) != 0) {
                const char *const all[] = {"ACKD_CONFIG=", "ACKD__HANDLERS__SAVE={}", NULL};
                sources = (ConfigSources){.environment = all};
                assert_int_equal(config_load(&config, &sources, &errors), 0);
                assert_true(config->handlers.save.enabled);
                config_free(config);
                config = NULL;
                sources = (ConfigSources){0};
                assert_int_equal(config_load(&config, &sources, &errors), CONFIG_E_INVALID);
                assert_int_equal(errors.errors.n, 1);
                assert_string_equal(
                        errors.errors.items[0].text,
                        "no configuration: there is no /etc/ackd/ackd.yaml, and no handler is "
                        "named elsewhere; write it, or name another with -c FILE or ACKD_CONFIG. "
                        "ackd.yaml in share/doc/ackd/examples (in the sources: config) is one to "
                        "copy, with every key");
                config_errors_deinit(&errors);
        }
}

static void test_order_of_sources(void **state) {
        (void)state;
        static const char text[] = SAVE "retry: {attempts: 2, backoff: 2s, backoff_max: 1m}\n"
                                        "consume: {topics: [a, b]}\n"
                                        "kafka: {group.id: file, x_y: 1}\n";
        static const char *const environment[] = {
                "PATH=/bin",
                "ACKD_DEBUG=1",
                "ACKD__RETRY__ATTEMPTS=3",
                "ACKD__RETRY__BACKOFF=3s",
                "ACKD__CONSUME__TOPICS=[c]",
                "ACKD__KAFKA__BOOTSTRAP_SERVERS=env:9092",
                "ACKD__KAFKA__X_Y=2",
                "ACKD__KAFKA__SASL_PASSWORD=p",
                "ACKD__INSTANCE=",
                "ACKD__HANDLERS__RESTART_HOST={action: dry-run, allow: [x]}",
                "ACKD__HANDLERS__RESTART_HOST__EXEC__KILL_AFTER=7s",
                NULL,
        };
        static const char *const options[] = {"retry.attempts=4",
                                              "retry.attempts=5",
                                              "kafka.group.id=option",
                                              "handlers.restart-host.deny=[y]",
                                              "postgres.dsn=host=h port=1",
                                              NULL};
        Config *config = load(text, environment, options, "");
        assert_int_equal(config->retry.attempts, 5);
        assert_int_equal(config->retry.backoff_us, 3000000);
        assert_int_equal(config->retry.backoff_max_us, 60000000);
        assert_string_equal(config->consume.topics[0], "c"); /* replaced, not added to */
        assert_null(config->consume.topics[1]);
        static const char *const kafka[][2] = {{"bootstrap.servers", "env:9092"},
                                               {"group.id", "option"},
                                               {"x_y", "2"},
                                               {"sasl.password", "p"}};
        assert_int_equal(config->kafka.n, 4);
        for (size_t i = 0; i < 4; i++) {
                assert_string_equal(config->kafka.items[i].name, kafka[i][0]);
                assert_string_equal(config->kafka.items[i].value, kafka[i][1]);
        }
        assert_true(config->handlers.restart.enabled);
        assert_string_equal(config->handlers.restart.allow[0], "x");
        assert_string_equal(config->handlers.restart.deny[0], "y");
        assert_int_equal(config->handlers.restart.exec.kill_after_us, 7000000);
        assert_string_equal(config->postgres.dsn, "host=h port=1");
        const ConfigOrigin *origin = &config->origins[key_index(key_find("retry.backoff"))];
        assert_int_equal(origin->kind, CONFIG_FROM_ENVIRONMENT);
        assert_string_equal(origin->name, "ACKD__RETRY__BACKOFF");
        origin = &config->origins[key_index(key_find("retry.backoff_max"))];
        assert_int_equal(origin->kind, CONFIG_FROM_FILE);
        assert_string_equal(origin->name, "t.yaml");
        assert_int_equal(origin->line, 2);
        assert_int_equal(origin->column, 48);
        origin = &config->origins[key_index(key_find("retry.attempts"))];
        assert_int_equal(origin->kind, CONFIG_FROM_OPTION);
        assert_string_equal(origin->name, "retry.attempts");
        origin = &config->origins[key_index(key_find("log.level"))];
        assert_int_equal(origin->kind, CONFIG_FROM_DEFAULT);
        config_free(config);
}

#define LISTS  "`ackd print-config --defaults` lists all\n"
#define QUOTES "; the value is YAML: text with special characters needs quotes in it\n"

/* They look like keys and are none; whoever set them believes that they count. */
static void test_ignored_variables(void **state) {
        (void)state;
        config_free(load(SAVE,
                         (const char *[]){"ACKD_CONFIG=x", "ACKD_DEBUG=1", "ACKD_BUILD=b",
                                          "ACKD_RETRY_ATTEMPTS=3", "ACKD_Retry__Attempts=3",
                                          "ACKD_HANDLERS_RESTART_HOST_EXEC__KILL_AFTER=1s",
                                          "ACKD_KAFKA__GROUP_ID=x", "ACKD_TEST__THING=y", NULL},
                         NULL,
                         "warning: ACKD_RETRY_ATTEMPTS: is ignored: keys are named with two _, as "
                         "in ACKD__RETRY__ATTEMPTS\n"
                         "warning: ACKD_Retry__Attempts: is ignored: keys are named with two _, as "
                         "in ACKD__RETRY__ATTEMPTS\n"
                         "warning: ACKD_HANDLERS_RESTART_HOST_EXEC__KILL_AFTER: is ignored: keys "
                         "are named with two _, as in "
                         "ACKD__HANDLERS__RESTART_HOST__EXEC__KILL_AFTER\n"
                         "warning: ACKD_KAFKA__GROUP_ID: is ignored: keys are named with two _, as "
                         "in ACKD__KAFKA__GROUP_ID\n"));
}

static void test_wrong_variables(void **state) {
        (void)state;
        static const struct {
                const char *variables[3], *expected;
        } table[] = {
                {{"ACKD__RETRY__ATEMPTS=3"},
                 "ACKD__RETRY__ATEMPTS: names no key; did you mean ACKD__RETRY__ATTEMPTS? " LISTS},
                {{"ACKD__RETRY_ATTEMPTS=3"},
                 "ACKD__RETRY_ATTEMPTS: names no key; did you mean ACKD__RETRY__ATTEMPTS? " LISTS},
                {{"ACKD__HANDLERS__RESTART_HOST__EXEC__TIMEOT=3"},
                 "ACKD__HANDLERS__RESTART_HOST__EXEC__TIMEOT: names no key; did you mean "
                 "ACKD__HANDLERS__RESTART_HOST__EXEC__TIMEOUT? " LISTS},
                {{"ACKD__X=3"}, "ACKD__X: names no key; " LISTS},
                {{"ACKD__=3"}, "ACKD__: names no key; " LISTS},
                {{"ACKD__RETRY__ATTEMPTS=x"},
                 "ACKD__RETRY__ATTEMPTS: retry.attempts: \"x\" is not a whole number; allowed: a "
                 "whole number, 1 to 1000\n"},
                {{"ACKD__RETRY__ATTEMPTS="},
                 "ACKD__RETRY__ATTEMPTS: retry.attempts: has no value; allowed: a whole number, 1 "
                 "to 1000\n"},
                {{"ACKD__RETRY={atempts: 3}"},
                 "ACKD__RETRY: unknown key \"retry.atempts\"; did you mean \"attempts\"? known in "
                 "retry: attempts backoff backoff_max\n"},
                {{"ACKD__RETRY__ATTEMPTS=2", "ACKD__RETRY={attempts: 3}"},
                 "ACKD__RETRY: sets retry.attempts, and so does ACKD__RETRY__ATTEMPTS; allowed: "
                 "one of them\n"},
                {{"ACKD__KAFKA__A_B=2", "ACKD__KAFKA={a.b: 3}"},
                 "ACKD__KAFKA: sets a.b, and so does ACKD__KAFKA__A_B; allowed: one of them\n"},
                {{"ACKD__KAFKA__C_D=1"},
                 "ACKD__KAFKA__C_D: ambiguous: it spells kafka's c.d and c_d; -o kafka.c_d=… is "
                 "exact\n"},
                {{"ACKD__KAFKA__GROUP__ID=1"},
                 "ACKD__KAFKA__GROUP__ID: under kafka a single _ stands for each dot, such as "
                 "ACKD__KAFKA__GROUP_ID\n"},
                {{"ACKD__KAFKA__LOG_QUEUE=true"},
                 "ACKD__KAFKA__LOG_QUEUE: kafka: \"log.queue\" is ackd's own and cannot be set; "
                 "librdkafka's log goes into ackd's\n"},
                {{"ACKD__KAFKA__SASL_PASSWORD=@secret"},
                 "ACKD__KAFKA__SASL_PASSWORD: not valid YAML: found character that cannot start "
                 "any token while scanning for the next token that began in line 1" QUOTES},
                {{"ACKD__KAFKA__SASL_PASSWORD=a: b"},
                 "ACKD__KAFKA__SASL_PASSWORD: kafka: \"sasl.password\" is a section; allowed: text "
                 "or a number, under the whole name with its dots, such as bootstrap.servers\n"},
        };
        for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
                config_free(load(SAVE "kafka: {c.d: 1, c_d: 2}\n", table[i].variables, NULL,
                                 table[i].expected));
        }
}

static void test_wrong_options(void **state) {
        (void)state;
        static const struct {
                const char *option, *expected;
        } table[] = {
                {"retry.atempts=3",
                 "-o retry.atempts: names no key; did you mean retry.attempts? " LISTS},
                {"=3", "-o : names no key; " LISTS},
                {"retry.attempts", "-o retry.attempts: has no value; write -o "
                                   "retry.attempts=VALUE\n"},
                {"nonsense", "-o nonsense: is not KEY=VALUE, such as retry.attempts=3; " LISTS},
                {"retry.atempts", "-o retry.atempts: is not KEY=VALUE, such as retry.attempts=3; "
                                  "did you mean retry.attempts? " LISTS},
                {"", "-o : is not KEY=VALUE, such as retry.attempts=3; " LISTS},
                {"retry.attempts=0", "-o retry.attempts: \"0\" is out of range; "
                                     "allowed: a whole number, 1 to 1000\n"},
                {"consume.topics=a", "-o consume.topics: is not a list; allowed: a "
                                     "list of topics, such as [host-restarts]\n"},
                {"consume.topics=[a", "-o consume.topics: not valid YAML: did not find expected "
                                      "',' or ']' while parsing a flow sequence that began in "
                                      "line 1" QUOTES},
                {"kafka.queued.min.messages=1",
                 "-o kafka.queued.min.messages: kafka: \"queued.min.messages\" is ackd's own and "
                 "cannot be set; see limits.in_flight_bytes\n"},
                {"retry=3", "-o retry: text where a section is expected; known in it: "
                            "attempts backoff backoff_max\n"},
        };
        for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
                config_free(load(SAVE, NULL, (const char *[]){table[i].option, NULL},
                                 table[i].expected));
        }
}

/* A remedy names the file, and is pasted in any directory. */
static void test_file_is_absolute(void **state) {
        (void)state;
        char expected[8192];
        Config *config = load(SAVE, NULL, NULL, "");
        char *here = getcwd(NULL, 0);
        assert_non_null(here);
        snprintf(expected, sizeof(expected), "%s/t.yaml", here);
        free(here);
        assert_string_equal(config->file, expected);
        config_free(config);
}

/* A check is one of two, and none by default: its keys stand in comments. */
static bool is_shown(const char *text, const char *path) {
        char name[64];
        bool check = strncmp(path, "handlers.restart-host.precheck.", 31) == 0 ||
                     strncmp(path, "handlers.restart-host.verify.", 29) == 0;
        snprintf(name, sizeof(name), "%s:", strrchr(path, '.') + 1);
        return check && strstr(text, name) != NULL;
}

/* The example that is installed has every key, so that it shows what there is. */
static void test_example(void **state) {
        (void)state;
        char path[8192];
        const char *slash = strrchr(__FILE__, '/');
        assert_non_null(slash);
        snprintf(path, sizeof(path), "%s/%.*s/../../config/ackd.yaml",
                 __FILE__[0] == '/' ? "" : start, (int)(slash - __FILE__), __FILE__);
        ConfigSources sources = {.file = path};
        ConfigErrors errors = {0};
        Config *config = NULL;
        int r = config_load(&config, &sources, &errors);
        char *findings = join(&errors);
        assert_string_equal(findings, "");
        assert_int_equal(r, 0);
        char text[16384];
        FILE *file = fopen(path, "r");
        assert_non_null(file);
        size_t size = fread(text, 1, sizeof(text) - 1, file);
        assert_in_range(size, 1, sizeof(text) - 2);
        text[size] = '\0';
        fclose(file);
        for (size_t i = 0; i < n_keys; i++) {
                if (keys[i].type != KEY_KAFKA && config->origins[i].kind != CONFIG_FROM_FILE &&
                    !is_shown(text, keys[i].path)) {
                        fail_msg("config/ackd.yaml lacks %s", keys[i].path);
                }
        }
        free(findings);
        config_free(config);
        config_errors_deinit(&errors);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_defaults),          cmocka_unit_test(test_restart),
                cmocka_unit_test(test_unknown_keys),      cmocka_unit_test(test_all_at_once),
                cmocka_unit_test(test_at_most_a_hundred), cmocka_unit_test(test_files),
                cmocka_unit_test(test_which_file),        cmocka_unit_test(test_order_of_sources),
                cmocka_unit_test(test_wrong_variables),   cmocka_unit_test(test_wrong_options),
                cmocka_unit_test(test_file_is_absolute),  cmocka_unit_test(test_example),
                cmocka_unit_test(test_ignored_variables),
        };
        return cmocka_run_group_tests(tests, set_up, tear_down);
}
