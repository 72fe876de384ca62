#pragma once

/*
 * One line of the log, in a fixed piece of memory: no allocation, and a bound for everything that
 * comes from outside. A line ends with its only newline, whatever the strings hold.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "telemetry/log.h"

/* The message may take twice its length in escapes before it is cut, each of six fields, the
 * event and the instance 1 KiB; the rest is names, numbers and colours. */
#define LINE_MAX_BYTES ((size_t)2 * LOG_MESSAGE_MAX + 8 * 1024 + 1024)

typedef struct Line {
        size_t size;
        char data[LINE_MAX_BYTES];
} Line;

typedef struct LineStyle {
        bool json;
        bool colours;         /* only of text */
        const char *instance; /* NULL: left out */
} LineStyle;

/* @wall_us: since 1970. @size: of @message; @cut: some of it is missing already. */
void line_format(Line *line, const LineStyle *style, int64_t wall_us, LogLevel level,
                 const char *event, const LogFields *fields, const char *message, size_t size,
                 bool cut);
