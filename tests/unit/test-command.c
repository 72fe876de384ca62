#include "test.h"

#include <stdlib.h>
#include <string.h>

#include "handlers/actions/command.h"

static const char payload[] = "{\"a\": {\"b\": \"x y\"}, \"n\": 12345678901234567890}";

static const ActionRequest request = {
        .host = "web1.example.com",
        .id = "r \"1\"",
        .payload = (const uint8_t *)payload,
        .payload_size = sizeof(payload) - 1,
        .attempt = 1,
};

static void test_templates_are_checked(void **state) {
        (void)state;
        static const struct {
                const char *argv[3];
                const char *why;
        } cases[] = {
                {{NULL}, "absolute path"},
                {{"ssh", "{{host}}"}, "absolute path"},
                {{"/opt/{{host}}/restart"}, "without placeholders"},
                {{"/bin/echo", "{{hots}}"}, "{{hots}}"},
                {{"/bin/echo", "{{host"}, "argv[1]: "},
        };
        for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
                Command command = {0};
                Buffer why = BUFFER_INIT;
                assert_int_equal(command_init(&command, cases[i].argv, &why), COMMAND_E_TEMPLATE);
                assert_null(command.templates);
                assert_non_null(strstr(buffer_string(&why), cases[i].why));
                assert_int_equal(command_init(&command, cases[i].argv, NULL), COMMAND_E_TEMPLATE);
                buffer_deinit(&why);
        }
}

static void test_expands_and_expands_again(void **state) {
        (void)state;
        static const char *const argv[] = {"/bin/x",
                                           "{{host}}",
                                           "{{host.label}}",
                                           "-i{{id}},{{id}}",
                                           "{{message.a.b}}",
                                           "{{message.n}}",
                                           "",
                                           NULL};
        static const char *const expected[] = {"/bin/x", "web1.example.com",
                                               "web1",   "-ir \"1\",r \"1\"",
                                               "x y",    "12345678901234567890",
                                               ""};
        Command command;
        Buffer line = BUFFER_INIT;
        assert_int_equal(command_init(&command, argv, NULL), 0);
        for (int round = 0; round < 3; round++) {
                assert_int_equal(command_expand(&command, &request, NULL), 0);
                for (size_t i = 0; i < 7; i++) {
                        assert_string_equal(command.argv[i], expected[i]);
                }
                assert_null(command.argv[7]);
        }
        assert_int_equal(command_print(&command, &line), 0);
        assert_string_equal(buffer_string(&line),
                            "/bin/x web1.example.com web1 \"-ir \\\"1\\\",r \\\"1\\\"\" \"x y\" "
                            "12345678901234567890 \"\"");
        buffer_deinit(&line);
        command_deinit(&command);
}

static void expect_poison(const char *template, const ActionRequest *poison, const char *expected) {
        Command command;
        Buffer why = BUFFER_INIT;
        assert_int_equal(command_init(&command, (const char *const[]){"/bin/x", template, NULL},
                                      NULL),
                         0);
        assert_int_equal(command_expand(&command, poison, NULL), COMMAND_E_POISON);
        assert_int_equal(command_expand(&command, poison, &why), COMMAND_E_POISON);
        assert_non_null(strstr(buffer_string(&why), expected));
        buffer_deinit(&why);
        /* The next request is none the worse. */
        assert_int_equal(command_expand(&command, &request, NULL),
                         strstr(template, ".gone") != NULL ? COMMAND_E_POISON : 0);
        command_deinit(&command);
}

static void test_what_cannot_be_expanded(void **state) {
        (void)state;
        const ActionRequest bare = {.host = "10.0.0.1", .attempt = 1};
        expect_poison("{{host.label}}", &bare, "argv[1]: {{host.label}}: ");
        expect_poison("x{{id}}", &bare, "argv[1]: {{id}}: ");
        expect_poison("{{message.a.b}}", &bare, "argv[1]: {{message.a.b}}: ");
        expect_poison("{{message.a.gone}}", &request, "argv[1]: {{message.a.gone}}: ");
}

static void test_what_is_too_long(void **state) {
        (void)state;
        char *id = malloc(COMMAND_BYTES_MAX);
        assert_non_null(id);
        memset(id, 'x', COMMAND_BYTES_MAX);
        id[COMMAND_BYTES_MAX - 1] = '\0';
        const ActionRequest big = {.host = "web1", .id = id, .attempt = 1};
        expect_poison("{{id}}", &big, "longer than 131072 bytes");
        free(id);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_templates_are_checked),
                cmocka_unit_test(test_expands_and_expands_again),
                cmocka_unit_test(test_what_cannot_be_expanded),
                cmocka_unit_test(test_what_is_too_long),
        };
        return cmocka_run_group_tests(tests, NULL, NULL);
}
