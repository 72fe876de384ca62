#include "test.h"

#include <stdio.h>
#include <string.h>

#include "config/yaml.h"
#include "util/buffer.h"

static void report(void *user, const YamlError *error) {
        assert_int_equal(buffer_printf(user, "%u:%u: %s\n", error->line, error->column,
                                       error->what),
                         0);
}

/* Type, place and content of everything, in one line. */
static void dump(const YamlNode *node, Buffer *out) {
        int r = buffer_printf(out, "%u:%u", node->line, node->column);
        switch (node->type) {
        case YAML_NONE:
                r |= buffer_append_string(out, "~");
                break;
        case YAML_TEXT:
                r |= buffer_printf(out, node->quoted ? "'%s'" : "=%s", node->text);
                break;
        case YAML_LIST:
                r |= buffer_append_string(out, "[");
                for (size_t i = 0; i < node->n; i++) {
                        r |= i > 0 ? buffer_append_string(out, " ") : 0;
                        dump(node->items[i], out);
                }
                r |= buffer_append_string(out, "]");
                break;
        case YAML_MAP:
                r |= buffer_append_string(out, "{");
                for (size_t i = 0; i < node->n; i++) {
                        r |= buffer_printf(out, "%s%s ", i > 0 ? " " : "",
                                           node->pairs[i].key->text);
                        dump(node->pairs[i].value, out);
                }
                r |= buffer_append_string(out, "}");
                break;
        }
        assert_int_equal(r, 0);
}

/* The tree, or what was reported. */
static void check(const char *text, size_t size, int result, const char *expected) {
        YamlDocument document = {0};
        Buffer out = BUFFER_INIT;
        assert_int_equal(yaml_read(&document, text, size, report, &out), result);
        if (result == 0) {
                dump(document.root, &out);
        }
        assert_string_equal(buffer_string(&out), expected);
        buffer_deinit(&out);
        yaml_document_deinit(&document);
}

static void test_reads(void **state) {
        (void)state;
        static const struct {
                const char *text, *tree;
        } table[] = {
                {"", "1:1~"},
                {"# nothing\n", "1:1~"},
                {"---\n", "2:1~"},
                {"a: 1\nb:\n  c: 'x'\n  d: [1, \"2\", ~]\n",
                 "1:1{a 1:4=1 b 3:3{c 3:6'x' d 4:6[4:7=1 4:10'2' 4:15~]}}"},
                {"\xef\xbb\xbf"
                 "a: b\n",
                 "1:1{a 1:4=b}"}, /* a BOM is no content */
                {"a: &x {k: 1}\nb: *x\n", "1:1{a 1:4{k 1:11=1} b 1:4{k 1:11=1}}"},
                {"a: &x 1\nb: &x 2\nc: *x\n", "1:1{a 1:4=1 b 2:4=2 c 2:4=2}"},
                {"a: |\n  two\n  lines\n", "1:1{a 1:4'two\nlines\n'}"},
                {"null: 1\n", "1:1{null 1:7=1}"},
                {"\xc3\xa9: \xe2\x82\xac x\n", "1:1{\xc3\xa9 1:4=\xe2\x82\xac x}"},
                {"a: ! 5\n", "1:1{a 1:4=5}"},
        };
        for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
                check(table[i].text, strlen(table[i].text), 0, table[i].tree);
        }
}

static void test_wrong(void **state) {
        (void)state;
        static const struct {
                const char *text, *error;
        } table[] = {
                {"a: 1\n b: 2\n",
                 "2:3: not valid YAML: mapping values are not allowed in this context\n"},
                {"a: [1, 2\nb: 3\n", "2:2: not valid YAML: did not find expected ',' or ']' while "
                                     "parsing a flow sequence that began in line 1\n"},
                {"\xc3\xa9: x\na:\n\tb: 1\n", "3:1: a tab; YAML indents with spaces\n"},
                {"a: 'x\n", "2:1: not valid YAML: found unexpected end of stream while scanning a "
                            "quoted scalar that began in line 1\n"},
                {"a: 1\n---\nb: 2\n", "2:1: a second document begins here; only one is read\n"},
                {"a: *x\n", "1:4: an alias without an anchor before it; text that begins with * "
                            "needs quotes\n"},
                {"a: &x [*x]\n", "1:8: an alias without an anchor before it; text that begins with "
                                 "* needs quotes\n"},
                {"b: &x {c: 1}\na:\n  <<: *x\n",
                 "3:3: merge keys (<<) are not supported; write the values out\n"},
                {"a: !!str 5\n",
                 "1:4: tags (!…) are not supported; text that begins with ! needs quotes\n"},
                {"a: !x [1]\n",
                 "1:4: tags (!…) are not supported; text that begins with ! needs quotes\n"},
                {"a: \"x\\0y\"\n", "1:4: text must not hold a NUL (\\0)\n"},
                {"? [a]\n: 1\n", "1:3: a key must be text; a placeholder is written in quotes: "
                                 "\"{{host}}\"\n"},
                {"argv: [/bin/x, {{host}}]\n",
                 "1:17: a key must be text; a placeholder is written in quotes: \"{{host}}\"\n"},
                {"a: 1\nb: \xff\n", "2:4: not UTF-8 text (invalid leading UTF-8 octet, byte 9)\n"},
                {"a: \x01\n", "1:4: not UTF-8 text (control characters are not allowed, byte 4)\n"},
        };
        for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
                check(table[i].text, strlen(table[i].text), YAML_E_SYNTAX, table[i].error);
        }
}

/* They are all found, and the first one counts. */
static void test_duplicates(void **state) {
        (void)state;
        static const char text[] = "a: 1\nb: 2\na: 3\n'b': 4\n";
        check(text, strlen(text), 0,
              "3:1: \"a\" is here twice; first in line 1\n"
              "4:1: \"b\" is here twice; first in line 2\n"
              "1:1{a 1:4=1 b 2:4=2}");
}

static void test_bounds(void **state) {
        (void)state;
        Buffer text = BUFFER_INIT;
        for (int i = 0; i < 100000; i++) {
                assert_int_equal(buffer_append_char(&text, '['), 0);
        }
        check((char *)text.data, text.size, YAML_E_SYNTAX,
              "1:33: nested too deeply: no configuration goes below 32\n");
        buffer_clear(&text);
        assert_int_equal(buffer_append_string(&text, "["), 0);
        for (int i = 0; i < 20000; i++) {
                assert_int_equal(buffer_append_string(&text, "x,"), 0);
        }
        check((char *)text.data, text.size, YAML_E_SYNTAX,
              "1:20000: too much: no configuration has over 10000 values\n");
        buffer_clear(&text);
        assert_int_equal(buffer_reserve(&text, YAML_SIZE_MAX + 1), 0);
        memset(text.data, '#', YAML_SIZE_MAX + 1);
        check((char *)text.data, YAML_SIZE_MAX + 1, YAML_E_SYNTAX,
              "1:1: over 1 MiB: this is no configuration of ackd's\n");
        check((char *)text.data, YAML_SIZE_MAX, 0, "1:1~");
        buffer_deinit(&text);
}

/* 9 levels of 9 aliases would be 400 million nodes: the level that goes too far is named. */
static void test_bomb(void **state) {
        (void)state;
        Buffer text = BUFFER_INIT;
        assert_int_equal(buffer_append_string(&text, "a0: &a0 [x]\n"), 0);
        for (int i = 1; i <= 9; i++) {
                assert_int_equal(buffer_printf(&text, "a%d: &a%d [", i, i), 0);
                for (int j = 0; j < 9; j++) {
                        assert_int_equal(buffer_printf(&text, "*a%d%s", i - 1, j < 8 ? "," : ""),
                                         0);
                }
                assert_int_equal(buffer_append_string(&text, "]\n"), 0);
        }
        check((char *)text.data, text.size, YAML_E_SYNTAX,
              "8:5: too much: over 4 MiB with every alias written out\n");
        /* One long text is as bad as many short ones. */
        buffer_clear(&text);
        assert_int_equal(buffer_append_string(&text, "a: &a "), 0);
        for (int i = 0; i < 100000; i++) {
                assert_int_equal(buffer_append_char(&text, 'x'), 0);
        }
        assert_int_equal(buffer_append_string(&text, "\nb: ["), 0);
        for (int i = 0; i < 50; i++) {
                assert_int_equal(buffer_append_string(&text, "*a,"), 0);
        }
        assert_int_equal(buffer_append_string(&text, "]\n"), 0);
        check((char *)text.data, text.size, YAML_E_SYNTAX,
              "2:4: too much: over 4 MiB with every alias written out\n");
        buffer_deinit(&text);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_reads),      cmocka_unit_test(test_wrong),
                cmocka_unit_test(test_duplicates), cmocka_unit_test(test_bounds),
                cmocka_unit_test(test_bomb),
        };
        return cmocka_run_group_tests(tests, NULL, NULL);
}
