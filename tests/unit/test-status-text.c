/*
 * The screen of `ackd status`, against golden texts: tests/unit/status/NAME.json becomes
 * NAME.COLUMNS.txt. A line of the golden file that has to change is changed by hand, after a look
 * at the text that a failure prints.
 */

#include <jansson.h>
#include <locale.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "app/layout.h"
#include "app/status_text.h"
#include "test.h"

static json_t *document_of(const char *name) {
        char path[512];
        json_error_t error;
        snprintf(path, sizeof(path), "%s/%s.json", getenv("STATUS_DOCUMENTS"), name);
        json_t *document = json_load_file(path, 0, &error);
        if (document == NULL) {
                fail_msg("%s:%d: %s", path, error.line, error.text);
        }
        return document;
}

/* The caller's. */
static char *text_of(const json_t *document, int columns, bool colour) {
        Buffer out = BUFFER_INIT;
        assert_int_equal(status_text(&out, document, columns, colour), 0);
        assert_non_null(buffer_string(&out));
        return (char *)out.data;
}

static void check_golden(const char *name, int columns) {
        char path[512];
        char expected[32768];
        snprintf(path, sizeof(path), "%s/%s.%d.txt", getenv("STATUS_DOCUMENTS"), name, columns);
        json_t *document = document_of(name);
        char *text = text_of(document, columns, false);
        FILE *file = fopen(path, "r");
        size_t n = file != NULL ? fread(expected, 1, sizeof(expected) - 1, file) : 0;
        if (file != NULL) {
                fclose(file);
        }
        expected[n] = '\0';
        if (strcmp(text, expected) != 0) {
                fail_msg("%s should be:\n%s", path, text);
        }
        free(text);
        json_decref(document);
}

static void test_golden(void **state) {
        (void)state;
        static const char *const names[] = {"well", "trouble", "start"};
        static const int columns[] = {40, 80, 200};
        for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
                for (size_t c = 0; c < sizeof(columns) / sizeof(columns[0]); c++) {
                        check_golden(names[i], columns[c]);
                }
        }
}

/* No limit stops it, but it reads nothing where it has not joined, or Kafka is away. */
static void test_reading_is_said_of_a_member(void **state) {
        (void)state;
        static const char *const keys[] = {"joined", "up"};
        for (size_t i = 0; i < sizeof(keys) / sizeof(keys[0]); i++) {
                json_t *document = document_of("well");
                char *text = text_of(document, 80, false);
                assert_non_null(strstr(text, "reading"));
                free(text);
                json_object_set_new(json_object_get(document, "kafka"), keys[i], json_false());
                text = text_of(document, 80, false);
                assert_null(strstr(text, "reading"));
                free(text);
                json_decref(document);
        }
}

/* Whatever the width: no line is longer, but for the commands, which are there in one piece. */
static void test_every_width_fits(void **state) {
        (void)state;
        json_t *document = document_of("trouble");
        const json_t *list = json_object_get(document, "troubles");
        for (int columns = LAYOUT_NARROWEST; columns < 220; columns++) {
                char *text = text_of(document, columns, false);
                size_t i;
                json_t *trouble;
                json_array_foreach(list, i, trouble) {
                        const char *remedy = json_string_value(json_object_get(trouble, "remedy"));
                        assert_non_null(strstr(text, remedy));
                }
                for (char *line = strtok(text, "\n"); line != NULL; line = strtok(NULL, "\n")) {
                        bool command = strncmp(line + strspn(line, " "), "psql ", 5) == 0 ||
                                       strncmp(line + strspn(line, " "), "ackd ", 5) == 0;
                        if (!command && strlen(line) > (size_t)columns) {
                                fail_msg("%d columns: %s", columns, line);
                        }
                }
                free(text);
        }
        json_decref(document);
}

/* Without the escape sequences the text is the same, and nothing else of ESC is in it. */
static void test_colour_adds_only_sequences(void **state) {
        (void)state;
        json_t *document = document_of("trouble");
        char *plain = text_of(document, 80, false);
        char *coloured = text_of(document, 80, true);
        size_t n = 0;
        assert_null(strchr(plain, '\033'));
        for (const char *c = coloured; *c != '\0'; c++) {
                if (*c == '\033') {
                        assert_int_equal(c[1], '[');
                        c += strcspn(c, "m");
                        continue;
                }
                coloured[n++] = *c;
        }
        coloured[n] = '\0';
        assert_string_equal(coloured, plain);
        free(plain);
        free(coloured);
        json_decref(document);
}

/* What another ackd, or none at all, might answer: no crash, no "(null)". */
static void test_anything_is_shown(void **state) {
        (void)state;
        static const char *const documents[] = {
                "{}",
                "[]",
                "{\"instance\":7,\"kafka\":[],\"troubles\":{},\"messages\":7}",
                "{\"troubles\":[{},7,null],\"partitions\":[{},null,{\"stopped\":{},"
                "\"pinned_by\":{}}],\"messages\":[{\"handlers\":[{},7]},9],\"holds\":[{}],"
                "\"rejected\":{\"open\":1},\"limits\":{\"x\":7},\"windows\":{},\"kafka\":{},"
                "\"postgres\":{},\"intake\":{},\"loop\":{\"slow\":[{}]},\"shutdown\":{},"
                "\"handlers\":[{\"queued\":1}]}",
        };
        for (size_t i = 0; i < sizeof(documents) / sizeof(documents[0]); i++) {
                json_t *document = json_loads(documents[i], 0, NULL);
                assert_non_null(document);
                char *text = text_of(document, 80, true);
                assert_null(strstr(text, "(null)"));
                free(text);
                json_decref(document);
        }
}

static char *words_of(const char *text, int columns) {
        Buffer out = BUFFER_INIT;
        Layout layout;
        layout_begin(&layout, &out, columns, false);
        layout_line(&layout, 0, 2);
        layout_words(&layout, STYLE_PLAIN, text);
        assert_int_equal(layout_end(&layout), 0);
        assert_non_null(buffer_string(&out));
        return (char *)out.data;
}

static void check_words(const char *text, int columns, const char *expected) {
        char *out = words_of(text, columns);
        assert_string_equal(out, expected);
        free(out);
}

static void test_wrap(void **state) {
        (void)state;
        check_words("one two", 0, "one two\n");
        check_words("0123456789 0123456789", 20, "0123456789\n  0123456789\n");
        check_words("0123456789012345678901234567890123456789", 20,
                    "01234567890123456789\n  012345678901234567\n  89\n");
        check_words("", 20, "");
        check_words("a\nb\tc\033[2J\x7f", 0, "a\\nb\\tc\\u001b[2J\\u007f\n");
}

static void test_escapes_by_locale(void **state) {
        (void)state;
        assert_non_null(setlocale(LC_CTYPE, "C"));
        check_words("\xc3\xbc \xe2\x80\xa6", 0, "\\u00fc ...\n");
        if (setlocale(LC_CTYPE, "C.UTF-8") == NULL) {
                fail_msg("this machine has no locale C.UTF-8");
        }
        check_words("\xc3\xbc \xe2\x80\xa6", 0, "\xc3\xbc \xe2\x80\xa6\n");
        /* Turned round, and broken. */
        check_words("\xe2\x80\xae \xff", 0, "\\u202e \xef\xbf\xbd\n");
        /* A wide character takes two cells, and is not cut into halves. */
        check_words("\xe6\xbc\xa2\xe6\xbc\xa2\xe6\xbc\xa2\xe6\xbc\xa2\xe6\xbc\xa2\xe6\xbc\xa2"
                    "\xe6\xbc\xa2\xe6\xbc\xa2\xe6\xbc\xa2\xe6\xbc\xa2\xe6\xbc\xa2",
                    20,
                    "\xe6\xbc\xa2\xe6\xbc\xa2\xe6\xbc\xa2\xe6\xbc\xa2\xe6\xbc\xa2\xe6\xbc\xa2"
                    "\xe6\xbc\xa2\xe6\xbc\xa2\xe6\xbc\xa2\xe6\xbc\xa2\n  \xe6\xbc\xa2\n");
        assert_non_null(setlocale(LC_CTYPE, "C"));
}

static void test_ages(void **state) {
        (void)state;
        static const struct {
                double seconds;
                const char *text;
        } ages[] = {{-1, "0.0s"},   {0.45, "0.4s"},   {12.9, "12s"},
                    {192, "3m12s"}, {7380, "2h03m"},  {446400, "5d04h"},
                    {59.99, "59s"}, {3599, "59m59s"}, {1e30, "11574074074d01h"}};
        char out[AGE_TEXT];
        for (size_t i = 0; i < sizeof(ages) / sizeof(ages[0]); i++) {
                assert_string_equal(age_text(ages[i].seconds, out), ages[i].text);
        }
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_golden),
                cmocka_unit_test(test_reading_is_said_of_a_member),
                cmocka_unit_test(test_every_width_fits),
                cmocka_unit_test(test_colour_adds_only_sequences),
                cmocka_unit_test(test_anything_is_shown),
                cmocka_unit_test(test_wrap),
                cmocka_unit_test(test_escapes_by_locale),
                cmocka_unit_test(test_ages),
        };
        return cmocka_run_group_tests(tests, NULL, NULL);
}
