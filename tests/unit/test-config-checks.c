#include "config-load.h"

#define PRECHECK "handlers.restart-host.precheck"
#define VERIFY   "handlers.restart-host.verify"

/* In line 7. */
#define EXEC "exec: {argv: [/bin/c, '{{host}}']}"
#define HTTP "http: {url: 'https://{{host}}/b'}"

static void test_none(void **state) {
        (void)state;
        static const char *const texts[] = {
                RESTART,
                RESTART "    precheck: {}\n    verify: {}\n",
                RESTART "    precheck:\n    verify:\n",
        };
        for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
                Config *config = load(texts[i], NULL, NULL, "");
                assert_false(config->handlers.restart.precheck.check.enabled);
                assert_false(config->handlers.restart.verify.check.enabled);
                assert_int_equal(config->handlers.restart.verify.deadline_us, 600000000);
                char *text = print(config);
                assert_null(strstr(text, "precheck"));
                assert_null(strstr(text, "verify"));
                free(text);
                config_free(config);
        }
}

static void expect(const ConfigStatuses *statuses, int first, size_t n) {
        assert_int_equal(statuses->n, n);
        assert_int_equal(statuses->items[0], first);
}

static void test_exec(void **state) {
        (void)state;
        Config *config = load(RESTART "    precheck: {" EXEC "}\n    verify: {" EXEC
                                      ", interval: 3s, deadline: 7m}\n",
                              NULL, NULL, "");
        const ConfigPrecheck *precheck = &config->handlers.restart.precheck;
        const ConfigVerify *verify = &config->handlers.restart.verify;
        assert_true(precheck->check.enabled);
        assert_true(verify->check.enabled);
        assert_string_equal(precheck->check.exec.argv[0], "/bin/c");
        assert_string_equal(verify->check.exec.argv[1], "{{host}}");
        assert_null(precheck->check.http.url);
        assert_int_equal(precheck->check.exec.timeout_us, 30000000);
        assert_int_equal(precheck->check.exec.kill_after_us, 5000000);
        assert_int_equal(precheck->check.exec.status.done.n, 0);
        expect(&precheck->status.go, 0, 1);
        expect(&precheck->status.not_needed, 1, 1);
        expect(&precheck->status.wait, 75, 1);
        expect(&verify->status.done, 0, 1);
        assert_int_equal(verify->interval_us, 3000000);
        assert_int_equal(verify->deadline_us, 420000000);
        /* Neither is waited for by a shutdown. */
        assert_int_equal(config->shutdown.grace_us, 75000000);
        config_free(config);
}

static void test_http(void **state) {
        (void)state;
        static const char *const options[] = {PRECHECK ".status.wait=[429, 503]", NULL};
        Config *config = load(RESTART "    precheck: {" HTTP "}\n    verify: {" HTTP
                                      ", status: {done: [200, 204]}}\n",
                              NULL, options, "");
        const ConfigPrecheck *precheck = &config->handlers.restart.precheck;
        const ConfigVerify *verify = &config->handlers.restart.verify;
        assert_null(precheck->check.exec.argv);
        assert_string_equal(precheck->check.http.url, "https://{{host}}/b");
        assert_string_equal(precheck->check.http.method, "GET");
        assert_int_equal(precheck->check.http.timeout_us, 30000000);
        assert_int_equal(precheck->check.http.status.done.n, 0);
        expect(&precheck->status.go, 200, 1);
        expect(&precheck->status.not_needed, 404, 1);
        expect(&precheck->status.wait, 429, 2);
        expect(&verify->status.done, 200, 2);
        char *text = print(config);
        assert_non_null(strstr(text, "    precheck:  # t.yaml:7\n      exec:\n"));
        assert_non_null(strstr(text, "        url: \"https://{{host}}/b\"  # t.yaml:7\n      "
                                     "status:\n        go: [200]  # default\n        not_needed: "
                                     "[404]  # default\n        wait: [429, 503]  # -o " PRECHECK
                                     ".status.wait\n"));
        assert_non_null(strstr(text, "    verify:  # t.yaml:8\n      deadline: 10m  # default\n"));
        free(text);
        config_free(config);
}

static void test_wrong(void **state) {
        (void)state;
        static const Wrong table[] = {
                {RESTART "    precheck: {status: {go: [0]}}\n",
                 "t.yaml:7:5: " PRECHECK ": there is neither an exec.argv nor an http.url in it; "
                 "allowed: one of the two, or {} for no check\n"},
                {RESTART "    verify:\n      interval: 3s\n",
                 "t.yaml:7:5: " VERIFY ": there is neither an exec.argv nor an http.url in it; "
                 "allowed: one of the two, or {} for no check\n"},
                {RESTART "    verify: {" HTTP ", " EXEC "}\n",
                 "t.yaml:7:26: " VERIFY
                 ".http.url: there is an exec.argv too; allowed: one of the two\n"},
                {RESTART "    verify: {exec: {argv: [c]}}\n",
                 "t.yaml:7:28: " VERIFY
                 ".exec.argv: \"c\" is not the absolute path of a program" ARGV},
                {RESTART "    verify: {" EXEC ", status: {done: [0, 404]}}\n",
                 "t.yaml:7:65: " VERIFY ".status.done: 404 is no exit status; allowed: 0 to 255\n"},
                {RESTART "    precheck: {" HTTP ", status: {go: [0]}}\n",
                 "t.yaml:7:64: " PRECHECK ".status.go: 0 is no HTTP status; allowed: 200 to 599\n"},
                {RESTART "    precheck: {" EXEC ", status: {go: [600]}}\n",
                 "t.yaml:7:66: " PRECHECK
                 ".status.go: \"600\" is out of range; allowed: a list of exit statuses (0 to 255) "
                 "or, with http, HTTP statuses (200 to 599)\n"},
                {RESTART "    precheck: {" EXEC ", status: {go: [0, 1]}}\n",
                 "t.yaml:7:65: " PRECHECK ".status.go: 1 is also in " PRECHECK
                 ".status.not_needed; allowed: in one of them\n"},
                /* What a request must be, as that of the action. */
                {RESTART "    precheck: {http: {url: 'https://{{host}}/', body: x}}\n",
                 "t.yaml:7:55: " PRECHECK
                 ".http.body: is not sent with the method GET; leave it out\n"},
                {RESTART "    verify: {http: {url: 'https://{{host}}/', auth: {user: u}}}\n",
                 "t.yaml:7:60: " VERIFY ".http.auth.user: there is no auth.password_file for it\n"},
                {RESTART "    verify: {exec: {argv: [/bin/c, '{{hots}}']}}\n",
                 "t.yaml:7:36: " VERIFY
                 ".exec.argv: \"{{hots}}\" has an unknown placeholder {{hots}} at byte 1; known: "
                 "{{host}}, {{host.label}}, {{id}}, {{message.PATH}}\n"},
                {RESTART "    verfiy: {}\n",
                 "t.yaml:7:5: unknown key \"handlers.restart-host.verfiy\"; did you mean "
                 "\"verify\"? known in handlers.restart-host: action allow allow_self concurrency "
                 "cooldown deny exec fleet_concurrency fuse groups http max_age max_wait "
                 "on_unknown per_host precheck verify when windows\n"},
        };
        CHECK(table);
}

static void test_warnings(void **state) {
        (void)state;
        static const Wrong table[] = {
                {RESTART "    verify: {exec: {argv: [/bin/c]}}\n",
                 "warning: t.yaml:7:27: " VERIFY
                 ".exec.argv: no {{host}} in it, so the command is the same for every host\n"},
                {RESTART "    precheck: {http: {url: 'https://a.example.com/'}}\n",
                 "warning: t.yaml:7:28: " PRECHECK
                 ".http.url: no {{host}} in it, nor in headers and body, so the request is the "
                 "same for every host\n"},
                {RESTART "    verify: {" EXEC ", deadline: 34s}\n",
                 "warning: t.yaml:7:60: " VERIFY
                 ".deadline: 34s is shorter than the timeout of the check with its kill_after "
                 "(35s): a look that hangs is given up, and the outcome of the restart is "
                 "unknown\n"},
                {RESTART "    verify: {" HTTP ", deadline: 29s}\n",
                 "warning: t.yaml:7:59: " VERIFY
                 ".deadline: 29s is shorter than the timeout of the check (30s): a look that hangs "
                 "is given up, and the outcome of the restart is unknown\n"},
                {RESTART "    verify: {" EXEC ", interval: 11m}\n",
                 "warning: t.yaml:7:60: " VERIFY
                 ".deadline: 10m is shorter than interval (11m), so there is only one look\n"},
                {RESTART "    verify: {" EXEC ", interval: 1m, deadline: 1m}\n", ""},
                /* As in the action: an argument may be code to what is run. */
                {RESTART "    precheck: {exec: {argv: [/bin/sh, -c, 'x {{host}}']}}\n",
                 "warning: t.yaml:7:29: " PRECHECK
                 ".exec.argv: {{host}} stands in the code of sh -c, and becomes a part of it; "
                 "write \"$1\" there, and give it behind the code as an argument of its own: -c, "
                 "'CODE \"$1\"', sh, \"{{host}}\"\n"},
        };
        CHECK(table);
}

static void test_machine(void **state) {
        (void)state;
        Config *config = load(RESTART "    precheck: {exec: {argv: [/nonexistent, '{{host}}']}}\n"
                                      "    verify: {http: {url: 'https://{{host}}/', tls: "
                                      "{ca_file: /nonexistent}}}\n",
                              NULL, NULL, "");
        ConfigErrors errors = {0};
        config->handlers.restart.action = CONFIG_ACTION_DRY_RUN;
        config_check_machine(config, &errors);
        char *findings = join(&errors);
        assert_string_equal(findings,
                            "warning: t.yaml:7:29: " PRECHECK
                            ".exec.argv: /nonexistent: No such file or directory; every restart "
                            "waits\n"
                            "warning: t.yaml:8:62: " VERIFY
                            ".http.tls.ca_file: /nonexistent: No such file or directory; no "
                            "restart can be verified\n");
        free(findings);
        config_errors_deinit(&errors);
        config_free(config);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_none),     cmocka_unit_test(test_exec),
                cmocka_unit_test(test_http),     cmocka_unit_test(test_wrong),
                cmocka_unit_test(test_warnings), cmocka_unit_test(test_machine),
        };
        return cmocka_run_group_tests(tests, set_up, tear_down);
}
