#include "test.h"

#include <jansson.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "telemetry/line.h"

#define WALL INT64_C(1795347596123456) /* 2026-11-22T11:39:56.123456Z */

static const LineStyle text_style = {0};
static const LineStyle json_style = {.json = true};

static const char *format(Line *line, const LineStyle *style, LogLevel level,
                          const LogFields *fields, const char *message) {
        line_format(line, style, WALL, level, "test.event", fields, message, strlen(message),
                    false);
        assert_true(line->size < sizeof(line->data));
        assert_ptr_equal(memchr(line->data, '\n', line->size), line->data + line->size - 1);
        line->data[line->size] = '\0';
        return line->data;
}

static json_t *parse(const Line *line) {
        json_error_t error;
        json_t *json = json_loadb(line->data, line->size, JSON_REJECT_DUPLICATES, &error);
        if (json == NULL) {
                fail_msg("%s: %.*s", error.text, (int)line->size, line->data);
        }
        return json;
}

static void test_text(void **state) {
        (void)state;
        Line line;
        assert_string_equal(format(&line, &text_style, LOG_INFO, FIELDS(), "hello"),
                            "2026-11-22T11:39:56.123Z INFO  hello  event=test.event\n");
        assert_string_equal(
                format(&line, &text_style, LOG_WARNING,
                       FIELDS(.topic = "t", .partition = 0, .offset = 0, .host = "h",
                              .handler = "save", .attempt = 1, .outcome = "failed",
                              .error = "no \"space\" left"),
                       "C:\\x \"quoted\""),
                "2026-11-22T11:39:56.123Z WARN  C:\\x \"quoted\"  event=test.event topic=t "
                "partition=0 offset=0 host=h handler=save attempt=1 outcome=failed "
                "error=\"no \\\"space\\\" left\"\n");
        LineStyle style = {.instance = "ackd@2"};
        assert_string_equal(format(&line, &style, LOG_ERROR, FIELDS(.host = ""), "x"),
                            "2026-11-22T11:39:56.123Z ERROR x  event=test.event host=\"\" "
                            "instance=ackd@2\n");
        assert_string_equal(format(&line, &text_style, LOG_DEBUG, FIELDS(), "a\nb\x1b[2J\r\x7f"),
                            "2026-11-22T11:39:56.123Z DEBUG a\\nb\\u001b[2J\\r\\u007f  "
                            "event=test.event\n");
}

static void test_colours(void **state) {
        (void)state;
        Line line;
        LineStyle style = {.colours = true};
        assert_string_equal(format(&line, &style, LOG_ERROR, FIELDS(), "x"),
                            "2026-11-22T11:39:56.123Z \033[31mERROR\033[0m x\033[2m  "
                            "event=test.event\033[0m\n");
        assert_string_equal(format(&line, &style, LOG_INFO, FIELDS(), "\033[31m"),
                            "2026-11-22T11:39:56.123Z INFO  \\u001b[31m\033[2m  "
                            "event=test.event\033[0m\n");
}

static void test_json(void **state) {
        (void)state;
        Line line;
        assert_string_equal(format(&line, &json_style, LOG_INFO, FIELDS(), "hello"),
                            "{\"ts\":\"2026-11-22T11:39:56.123456Z\",\"level\":\"info\","
                            "\"event\":\"test.event\",\"msg\":\"hello\"}\n");
        LineStyle style = {.json = true, .instance = "i"};
        assert_string_equal(
                format(&line, &style, LOG_WARNING,
                       FIELDS(.topic = "t", .partition = 0, .offset = INT64_MAX, .host = "h",
                              .handler = "save", .attempt = 2, .outcome = "failed", .error = "e"),
                       "m"),
                "{\"ts\":\"2026-11-22T11:39:56.123456Z\",\"level\":\"warning\","
                "\"event\":\"test.event\",\"msg\":\"m\",\"topic\":\"t\",\"partition\":0,"
                "\"offset\":9223372036854775807,\"host\":\"h\",\"handler\":\"save\",\"attempt\":2,"
                "\"outcome\":\"failed\",\"instance\":\"i\",\"error\":\"e\"}\n");
}

static void test_json_escapes(void **state) {
        (void)state;
        Line line;
        const char *nasty = "\"\\\n\x1b\x01\xff\xc3\xbc{}";
        format(&line, &json_style, LOG_INFO, FIELDS(.host = nasty, .error = nasty), nasty);
        json_t *json = parse(&line);
        const char *clean = "\"\\\n\x1b\x01\xef\xbf\xbd\xc3\xbc{}";
        assert_string_equal(json_string_value(json_object_get(json, "msg")), clean);
        assert_string_equal(json_string_value(json_object_get(json, "host")), clean);
        assert_string_equal(json_string_value(json_object_get(json, "error")), clean);
        json_decref(json);
}

/* Everything at its worst: each byte becomes six, each field is far too long. */
static void test_bounds(void **state) {
        (void)state;
        static char huge[20000];
        memset(huge, 1, sizeof(huge) - 1);
        LogFields fields = {.topic = huge,
                            .partition = INT32_MAX,
                            .offset = INT64_MAX,
                            .host = huge,
                            .handler = huge,
                            .attempt = INT32_MAX,
                            .outcome = huge,
                            .error = huge};
        for (int json = 0; json < 2; json++) {
                Line line;
                LineStyle style = {.json = json == 1, .colours = json == 0, .instance = huge};
                line_format(&line, &style, WALL, LOG_ERROR, huge, &fields, huge, sizeof(huge) - 1,
                            true);
                assert_true(line.size > 2 * LOG_MESSAGE_MAX);
                assert_true(line.size < sizeof(line.data));
                assert_ptr_equal(memchr(line.data, '\n', line.size), line.data + line.size - 1);
                assert_non_null(memmem(line.data, line.size, "…[cut]", strlen("…[cut]")));
                if (json) {
                        json_decref(parse(&line));
                }
        }
}

static void test_cut_between_characters(void **state) {
        (void)state;
        static const struct {
                const char *text, *expected;
        } cases[] = {
                {"ab", "ab"},
                {"a\xc3", "a"},
                {"a\xc3\xbc", "a\xc3\xbc"},
                {"a\xf0\x9f\x98", "a"},
                {"a\xf0\x9f\x98\x80", "a\xf0\x9f\x98\x80"},
                {"", ""},
        };
        for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
                Line line;
                char expected[64];
                line_format(&line, &json_style, WALL, LOG_INFO, "e", FIELDS(), cases[i].text,
                            strlen(cases[i].text), true);
                json_t *json = parse(&line);
                snprintf(expected, sizeof(expected), "%s…[cut]", cases[i].expected);
                assert_string_equal(json_string_value(json_object_get(json, "msg")), expected);
                json_decref(json);
        }
}

/* Against gmtime_r(), a step that meets every day and every time of day. */
static void test_time(void **state) {
        (void)state;
        for (int64_t s = 0; s < INT64_C(7258118400); s += 86399 * 7 + 13) {
                Line line;
                struct tm tm;
                char expected[64];
                time_t t = (time_t)s;
                line_format(&line, &text_style, s * 1000000 + 999999, LOG_INFO, "e", FIELDS(), "",
                            0, false);
                strftime(expected, sizeof(expected), "%Y-%m-%dT%H:%M:%S.999Z ", gmtime_r(&t, &tm));
                assert_memory_equal(line.data, expected, strlen(expected));
        }
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_text),   cmocka_unit_test(test_colours),
                cmocka_unit_test(test_json),   cmocka_unit_test(test_json_escapes),
                cmocka_unit_test(test_bounds), cmocka_unit_test(test_cut_between_characters),
                cmocka_unit_test(test_time),
        };
        return cmocka_run_group_tests(tests, NULL, NULL);
}
