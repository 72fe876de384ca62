#include "telemetry/line.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "util/json.h"
#include "util/utf8.h"

/* Of a field, escaped. */
#define VALUE_MAX 1000
#define CUT_MARK  "…[cut]"

#define COLOUR_DIM    "\033[2m"
#define COLOUR_RED    "\033[31m"
#define COLOUR_YELLOW "\033[33m"
#define COLOUR_OFF    "\033[0m"

static void line_add(Line *line, const char *data, size_t size) {
        assert(size <= sizeof(line->data) - line->size);
        memcpy(line->data + line->size, data, size);
        line->size += size;
}

static void line_text(Line *line, const char *text) {
        line_add(line, text, strlen(text));
}

static void line_number(Line *line, int64_t value) {
        char digits[24];
        line_add(line, digits, (size_t)snprintf(digits, sizeof(digits), "%" PRId64, value));
}

/* What comes from outside: escaped, at most @room bytes, and then the mark. */
static void line_escape(Line *line, const char *text, size_t size, size_t room, JsonEscape escape,
                        bool cut) {
        size_t used;
        assert(room <= sizeof(line->data) - line->size);
        line->size += json_escape(line->data + line->size, room, text, size, escape, &used);
        if (cut || used < size) {
                line_text(line, CUT_MARK);
        }
}

/* Without the piece of a character at the end, which the cut has left. */
static size_t whole_characters(const char *text, size_t size) {
        size_t start = size;
        while (start > 0 && size - start < 3 && (text[start - 1] & 0xc0) == 0x80) {
                start--;
        }
        bool valid = true;
        if (start > 0) {
                (void)utf8_next(text + start - 1, size - start + 1, &valid);
        }
        return valid ? size : start - 1;
}

static void put_digits(char *to, int n, unsigned value) {
        while (n-- > 0) {
                to[n] = (char)('0' + value % 10);
                value /= 10;
        }
}

/* RFC 3339 in UTC. gmtime_r() takes the lock of the time zone, and is several times as slow. */
static void line_time(Line *line, int64_t wall_us, bool microseconds) {
        char text[] = "0000-00-00T00:00:00.000000Z";
        int64_t seconds = wall_us / 1000000;
        unsigned us = (unsigned)(wall_us % 1000000);
        unsigned of_day = (unsigned)(seconds % 86400);
        /* Days to a civil date, counting years from March so that the leap day is the last one. */
        unsigned days = (unsigned)(seconds / 86400) + 719468;
        unsigned era = days / 146097, of_era = days % 146097;
        unsigned year = (of_era - of_era / 1460 + of_era / 36524 - of_era / 146096) / 365;
        unsigned of_year = of_era - (365 * year + year / 4 - year / 100);
        unsigned month = (5 * of_year + 2) / 153;
        unsigned day = of_year - (153 * month + 2) / 5 + 1;
        month = month < 10 ? month + 3 : month - 9;
        put_digits(text, 4, era * 400 + year + (month <= 2));
        put_digits(text + 5, 2, month);
        put_digits(text + 8, 2, day);
        put_digits(text + 11, 2, of_day / 3600);
        put_digits(text + 14, 2, of_day / 60 % 60);
        put_digits(text + 17, 2, of_day % 60);
        put_digits(text + 20, 6, us);
        if (microseconds) {
                line_add(line, text, 27);
        } else {
                line_add(line, text, 23);
                line_add(line, "Z", 1);
        }
}

static void json_field(Line *line, const char *name, const char *value) {
        if (value == NULL) {
                return;
        }
        line_text(line, ",\"");
        line_text(line, name);
        line_text(line, "\":\"");
        line_escape(line, value, strlen(value), VALUE_MAX, JSON_ESCAPE_STRING, false);
        line_add(line, "\"", 1);
}

static void json_number_field(Line *line, const char *name, int64_t value, bool is_set) {
        if (!is_set) {
                return;
        }
        line_text(line, ",\"");
        line_text(line, name);
        line_text(line, "\":");
        line_number(line, value);
}

static bool needs_quotes(const char *value) {
        for (const char *p = value; *p != '\0'; p++) {
                if (*p <= ' ' || *p == '"' || *p == '\\' || *p == '=' || *p == 0x7f) {
                        return true;
                }
        }
        return *value == '\0';
}

static void text_field(Line *line, const char *name, const char *value) {
        if (value == NULL) {
                return;
        }
        bool quotes = needs_quotes(value);
        line_add(line, " ", 1);
        line_text(line, name);
        line_text(line, quotes ? "=\"" : "=");
        line_escape(line, value, strlen(value), VALUE_MAX, JSON_ESCAPE_STRING, false);
        line_text(line, quotes ? "\"" : "");
}

static void text_number_field(Line *line, const char *name, int64_t value, bool is_set) {
        if (!is_set) {
                return;
        }
        line_add(line, " ", 1);
        line_text(line, name);
        line_add(line, "=", 1);
        line_number(line, value);
}

static void fields_add(Line *line, const LineStyle *style, const LogFields *fields) {
        void (*text)(Line *, const char *, const char *) = style->json ? json_field : text_field;
        void (*number)(Line *, const char *, int64_t, bool) =
                style->json ? json_number_field : text_number_field;
        text(line, "topic", fields->topic);
        number(line, "partition", fields->partition, fields->partition >= 0);
        number(line, "offset", fields->offset, fields->offset >= 0);
        text(line, "host", fields->host);
        text(line, "handler", fields->handler);
        number(line, "attempt", fields->attempt, fields->attempt > 0);
        text(line, "outcome", fields->outcome);
        text(line, "instance", style->instance);
        text(line, "error", fields->error);
}

static void format_json(Line *line, const LineStyle *style, int64_t wall_us, LogLevel level,
                        const char *event, const LogFields *fields, const char *message,
                        size_t size, bool cut) {
        line_text(line, "{\"ts\":\"");
        line_time(line, wall_us, true);
        line_add(line, "\"", 1);
        json_field(line, "level", log_level_name(level));
        json_field(line, "event", event);
        line_text(line, ",\"msg\":\"");
        line_escape(line, message, size, (size_t)2 * LOG_MESSAGE_MAX, JSON_ESCAPE_STRING, cut);
        line_add(line, "\"", 1);
        fields_add(line, style, fields);
        line_text(line, "}\n");
}

/* One width, so that the messages stand in a column. */
static const char *text_level(LogLevel level, const char **colourp) {
        *colourp = "";
        switch (level) {
        case LOG_DEBUG:
                *colourp = COLOUR_DIM;
                return "DEBUG";
        case LOG_INFO:
                return "INFO ";
        case LOG_WARNING:
                *colourp = COLOUR_YELLOW;
                return "WARN ";
        case LOG_ERROR:
                *colourp = COLOUR_RED;
                return "ERROR";
        }
        return "?    ";
}

static void format_text(Line *line, const LineStyle *style, int64_t wall_us, LogLevel level,
                        const char *event, const LogFields *fields, const char *message,
                        size_t size, bool cut) {
        const char *colour, *name = text_level(level, &colour);
        bool coloured = style->colours && *colour != '\0';
        line_time(line, wall_us, false);
        line_add(line, " ", 1);
        line_text(line, coloured ? colour : "");
        line_text(line, name);
        line_text(line, coloured ? COLOUR_OFF : "");
        line_add(line, " ", 1);
        line_escape(line, message, size, (size_t)2 * LOG_MESSAGE_MAX, JSON_ESCAPE_CONTROL, cut);
        /* Two blanks: where the sentence ends and the facts begin. */
        line_text(line, style->colours ? COLOUR_DIM " " : " ");
        text_field(line, "event", event);
        fields_add(line, style, fields);
        line_text(line, style->colours ? COLOUR_OFF "\n" : "\n");
}

void line_format(Line *line, const LineStyle *style, int64_t wall_us, LogLevel level,
                 const char *event, const LogFields *fields, const char *message, size_t size,
                 bool cut) {
        line->size = 0;
        if (cut) {
                size = whole_characters(message, size);
        }
        (style->json ? format_json : format_text)(line, style, wall_us, level, event, fields,
                                                  message, size, cut);
}
