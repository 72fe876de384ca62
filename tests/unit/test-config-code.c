/* What is said of placeholders that become code. */

#include "config-load.h"

#define A R ".exec.argv"

/* The findings of a configuration with these arguments, as YAML. */
static void check_argv(const char *argv, const char *expected) {
        char text[1000];
        snprintf(text, sizeof(text),
                 "handlers: {restart-host: {action: exec, allow: [a], exec: {argv:\n%s}}}\n", argv);
        config_free(load(text, NULL, NULL, expected));
}

static void test_code(void **state) {
        (void)state;
        static const char *const codes[] = {
                "[/bin/sh, -c, 'reboot {{host}}']",
                "[/bin/sh, -ec, 'reboot {{host}}']",
                "[/bin/sh, -e, -c, 'reboot {{host}}']",
                "[/bin/sh, -c, -e, 'reboot {{host}}']",
                "[/bin/sh, -eo, pipefail, -c, 'reboot {{host}}', sh, x]",
                "[/bin/sh, +e, -o, errexit, -c, 'reboot {{host}}']",
                "[/usr/bin/env, A=b, sh, -c, 'reboot {{host}}']",
                "[/usr/bin/sudo, -n, /bin/sh, --, sh, -c, 'reboot {{host}}']",
        };
        static const char said[] =
                "warning: t.yaml:2:1: " A
                ": {{host}} stands in the code of sh -c, and becomes a part of it; write \"$1\" "
                "there, and give it behind the code as an argument of its own: -c, 'CODE \"$1\"', "
                "sh, \"{{host}}\"\n";
        for (size_t i = 0; i < sizeof(codes) / sizeof(codes[0]); i++) {
                check_argv(codes[i], said);
        }
        check_argv("[/usr/bin/bash, -lc, 'echo a; log {{message.why}} {{host}}']",
                   "warning: t.yaml:2:1: " A
                   ": {{message.why}} stands in the code of bash -c, and becomes a part of it; "
                   "write \"$1\" there, and give it behind the code as an argument of its own: -c, "
                   "'CODE \"$1\"', bash, \"{{message.why}}\"\n");
}

static void test_no_code(void **state) {
        (void)state;
        static const char *const fine[] = {
                "[/bin/sh, -c, 'reboot \"$1\"', sh, '{{host}}']",
                "[/bin/sh, /opt/script, -c, '{{host}}']",
                "[/bin/sh, -x, '{{host}}']",
                "[/bin/sh, --norc, '{{host}}']",
                "[/bin/sh, -c, true, '{{host}}', -o]",
                "[/opt/reboot, -c, '{{host}} {{message.a}}']",
                "[/opt/sh-like, -c, '{{host}}']",
                "[/usr/bin/ssh, -o, 'User={{message.user}}', --, '{{host}}', sudo, reboot]",
                "[/usr/bin/ssh, '{{host}}', sudo, reboot, '{{host.label}}']",
                "[/opt/tool, '{{host}}', '{{message.a}}']",
        };
        for (size_t i = 0; i < sizeof(fine) / sizeof(fine[0]); i++) {
                check_argv(fine[i], "");
        }
        check_argv("[/bin/sh, -c]", "warning: t.yaml:2:1: " A ": no {{host}} in it, so the command "
                                    "is the same for every host\n");
}

static void test_ssh(void **state) {
        (void)state;
        check_argv("[/usr/bin/ssh, --, '{{host}}', reboot, '--why={{message.why}}', '{{id}}']",
                   "warning: t.yaml:2:1: " A
                   ": {{message.why}}: ssh gives what stands behind the host to a shell there, so "
                   "what a message brings is run as code; of the placeholders only {{host}} and "
                   "{{host.label}} are safe in it\n");
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_code),
                cmocka_unit_test(test_no_code),
                cmocka_unit_test(test_ssh),
        };
        return cmocka_run_group_tests(tests, set_up, tear_down);
}
