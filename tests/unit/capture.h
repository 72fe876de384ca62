#pragma once

/* A log for tests of what logs: the lines stay here. Included by a program that links the real one
 * for nothing else, since log_write() and log_wants() are defined by it. */

#include <stdio.h>
#include <string.h>

#include "telemetry/log.h"

typedef struct CapturedLine {
        LogLevel level;
        char event[64];
        char text[1024];
        char host[256];
        char outcome[32];
        int attempt;
} CapturedLine;

static struct {
        LogLevel level;
        size_t n;
        CapturedLine lines[16]; /* the first ones */
} captured;

bool log_wants(const Log *log, LogLevel level) {
        (void)log;
        return level >= captured.level;
}

void log_write(Log *log, LogLevel level, const char *event, const LogFields *fields,
               const char *format, ...) {
        (void)log;
        if (level < captured.level) {
                return;
        }
        if (captured.n < sizeof(captured.lines) / sizeof(captured.lines[0])) {
                CapturedLine *line = &captured.lines[captured.n];
                va_list ap;
                *line = (CapturedLine){.level = level, .attempt = fields->attempt};
                snprintf(line->event, sizeof(line->event), "%s", event);
                snprintf(line->host, sizeof(line->host), "%s", fields->host ? fields->host : "");
                snprintf(line->outcome, sizeof(line->outcome), "%s",
                         fields->outcome ? fields->outcome : "");
                va_start(ap, format);
                vsnprintf(line->text, sizeof(line->text), format, ap);
                va_end(ap);
        }
        captured.n++;
}
