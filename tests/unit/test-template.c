#include "test.h"

#include <stdlib.h>
#include <string.h>

#include "util/template.h"

/* What the callback knows; a NULL is missing. */
typedef struct Values {
        const char *host, *id, *path, *message;
        size_t message_size; /* 0: that of the string */
        int error;           /* of a message's value, instead of one */
} Values;

static int look_up(void *user, TemplateField field, const char *path, Buffer *out) {
        const Values *values = user;
        const char *value = NULL;
        switch (field) {
        case TEMPLATE_HOST:
                value = values->host;
                break;
        case TEMPLATE_ID:
                value = values->id;
                break;
        case TEMPLATE_MESSAGE:
                if (values->error != 0) {
                        /* What it began to add must not stay. */
                        assert_int_equal(buffer_append_string(out, "half"), 0);
                        return values->error;
                }
                assert_string_equal(path, values->path);
                value = values->message;
                if (values->message_size > 0) {
                        return buffer_append(out, value, values->message_size);
                }
                break;
        }
        if (field != TEMPLATE_MESSAGE) {
                assert_null(path);
        }
        return value != NULL ? buffer_append_string(out, value) : TEMPLATE_E_MISSING;
}

static int expand(const char *text, Values *values, Buffer *out, char failed[64]) {
        Template *template = NULL;
        char *error = NULL;
        assert_int_equal(template_new(&template, text, &error), 0);
        assert_null(error);
        const char *placeholder = NULL;
        int r = template_expand(template, look_up, values, out, &placeholder);
        if (failed != NULL) {
                strcpy(failed, placeholder != NULL ? placeholder : "");
        }
        template_free(template);
        return r;
}

static void test_expands(void **state) {
        (void)state;
        Values values = {.host = "web-1.example.com",
                         .id = "a b",
                         .path = "target.rack-2",
                         .message = "{{host}} $(x)"};
        static const struct {
                const char *text, *expected;
        } table[] = {
                {"", ""},
                {"plain", "plain"},
                {"{{host}}", "web-1.example.com"},
                {"{{host.label}}-bmc", "web-1-bmc"},
                {"{{id}}", "a b"},
                {"x{{id}}{{id}}y", "xa ba by"},
                {"{{message.target.rack-2}}", "{{host}} $(x)"}, /* a value is not expanded again */
                {"{ {host} } }}", "{ {host} } }}"},
                {"--at={{host}}:22", "--at=web-1.example.com:22"},
        };
        for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
                Buffer out = BUFFER_INIT;
                assert_int_equal(expand(table[i].text, &values, &out, NULL), 0);
                assert_string_equal(buffer_string(&out), table[i].expected);
                buffer_deinit(&out);
        }
}

static void test_adds_to_what_is_there(void **state) {
        (void)state;
        Values values = {.host = "h"};
        Buffer out = BUFFER_INIT;
        assert_int_equal(buffer_append_string(&out, "a.b:"), 0);
        assert_int_equal(expand("{{host.label}}.{{host}}", &values, &out, NULL), 0);
        assert_string_equal(buffer_string(&out), "a.b:h.h");
        buffer_deinit(&out);
}

static void test_label_of_an_address(void **state) {
        (void)state;
        static const char *const addresses[] = {"10.0.0.1", "2001:db8::1", "::1",
                                                "255.255.255.255"};
        for (size_t i = 0; i < sizeof(addresses) / sizeof(addresses[0]); i++) {
                Values values = {.host = addresses[i]};
                Buffer out = BUFFER_INIT;
                char failed[64];
                assert_int_equal(expand("x{{host.label}}", &values, &out, failed),
                                 TEMPLATE_E_ADDRESS);
                assert_string_equal(failed, "{{host.label}}");
                assert_int_equal(out.size, 0);
                assert_int_equal(expand("{{host}}", &values, &out, NULL), 0);
                assert_string_equal(buffer_string(&out), addresses[i]);
                buffer_deinit(&out);
        }
        Values values = {.host = "10.0.0.1.example.com"};
        Buffer out = BUFFER_INIT;
        assert_int_equal(expand("{{host.label}}", &values, &out, NULL), 0);
        assert_string_equal(buffer_string(&out), "10");
        buffer_deinit(&out);
}

static void test_failures_leave_no_trace(void **state) {
        (void)state;
        Buffer out = BUFFER_INIT;
        assert_int_equal(buffer_append_string(&out, "kept"), 0);
        char failed[64];
        Values missing = {.host = "h"};
        assert_int_equal(expand("{{host}} {{id}}", &missing, &out, failed), TEMPLATE_E_MISSING);
        assert_string_equal(failed, "{{id}}");
        assert_string_equal(buffer_string(&out), "kept");
        Values nul = {.path = "a", .message = "x\0y", .message_size = 3};
        assert_int_equal(expand("{{message.a}}", &nul, &out, failed), TEMPLATE_E_NUL);
        assert_string_equal(buffer_string(&out), "kept");
        Values fatal = {.error = -ENOMEM};
        assert_int_equal(expand("{{message.a}}", &fatal, &out, failed), -ENOMEM);
        assert_string_equal(buffer_string(&out), "kept");
        Values empty = {.path = "a", .message = ""};
        assert_int_equal(expand("{{message.a}}", &empty, &out, failed), 0);
        assert_string_equal(buffer_string(&out), "kept");
        buffer_deinit(&out);
}

#define KNOWN "known: {{host}}, {{host.label}}, {{id}}, {{message.PATH}}"

static void test_wrong_templates(void **state) {
        (void)state;
        static const struct {
                const char *text, *error;
        } bad[] = {
                {"{{hots}}", "an unknown placeholder {{hots}} at byte 1; " KNOWN},
                {"ab {{ host }}", "an unknown placeholder {{ host }} at byte 4; " KNOWN},
                {"{{}}", "an unknown placeholder {{}} at byte 1; " KNOWN},
                {"{{Host}}", "an unknown placeholder {{Host}} at byte 1; " KNOWN},
                {"{{message}}", "an unknown placeholder {{message}} at byte 1; " KNOWN},
                {"{{message.}}", "an unknown placeholder {{message.}} at byte 1; " KNOWN},
                {"{{message..a}}", "an unknown placeholder {{message..a}} at byte 1; " KNOWN},
                {"{{message.a.}}", "an unknown placeholder {{message.a.}} at byte 1; " KNOWN},
                {"{{message.a b}}", "an unknown placeholder {{message.a b}} at byte 1; " KNOWN},
                {"{{host}}{{host.name}}", "an unknown placeholder {{host.name}} at byte 9; " KNOWN},
                {"a{{host", "an unclosed placeholder {{host at byte 2; " KNOWN},
                {"{{host}", "an unclosed placeholder {{host} at byte 1; " KNOWN},
                {"{{", "an unclosed placeholder {{ at byte 1; " KNOWN},
                {"{{host {{id}}", "an unknown placeholder {{host {{id}} at byte 1; " KNOWN},
        };
        for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
                Template *template = NULL;
                char *error = NULL;
                assert_int_equal(template_new(&template, bad[i].text, &error), TEMPLATE_E_SYNTAX);
                assert_null(template);
                assert_string_equal(error, bad[i].error);
                free(error);
        }
        template_free(NULL);
}

static void test_literal(void **state) {
        (void)state;
        Template *template = NULL;
        char *error = NULL;
        assert_int_equal(template_new(&template, "no } braces {", &error), 0);
        assert_true(template_is_literal(template));
        template_free(template);
        assert_int_equal(template_new(&template, "a{{id}}", &error), 0);
        assert_false(template_is_literal(template));
        template_free(template);
}

static void test_pieces(void **state) {
        (void)state;
        Values values = {.host = "web1.example.com", .id = "7"};
        Template *template = NULL;
        char *error = NULL;
        Buffer out = BUFFER_INIT;
        assert_int_equal(template_new(&template, "a{{host.label}}{{id}}b", &error), 0);
        assert_int_equal(template_count(template), 4);
        TemplatePiece piece = template_piece(template, 0);
        assert_true(piece.literal);
        assert_null(piece.name);
        assert_int_equal(piece.size, 1);
        assert_int_equal(*piece.text, 'a');
        piece = template_piece(template, 1);
        assert_false(piece.literal);
        assert_true(piece.label);
        assert_int_equal(piece.field, TEMPLATE_HOST);
        assert_string_equal(piece.name, "{{host.label}}");
        piece = template_piece(template, 2);
        assert_false(piece.label);
        assert_int_equal(piece.field, TEMPLATE_ID);
        assert_int_equal(template_expand_piece(template, 1, look_up, &values, &out), 0);
        assert_string_equal(buffer_string(&out), "web1");
        values.id = NULL;
        assert_int_equal(template_expand_piece(template, 2, look_up, &values, &out),
                         TEMPLATE_E_MISSING);
        assert_string_equal(buffer_string(&out), "web1");
        buffer_deinit(&out);
        template_free(template);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_expands),
                cmocka_unit_test(test_adds_to_what_is_there),
                cmocka_unit_test(test_label_of_an_address),
                cmocka_unit_test(test_failures_leave_no_trace),
                cmocka_unit_test(test_wrong_templates),
                cmocka_unit_test(test_literal),
                cmocka_unit_test(test_pieces),
        };
        return cmocka_run_group_tests(tests, NULL, NULL);
}
