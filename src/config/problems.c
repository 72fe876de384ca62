#include "config/problems.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

ConfigOrigin source_origin(const Source *source, const YamlNode *node) {
        ConfigOrigin origin = source->origin;
        if (origin.kind == CONFIG_FROM_FILE && node != NULL) {
                origin.line = node->line;
                origin.column = node->column;
        }
        return origin;
}

int problem_append_place(const ConfigOrigin *origin, Buffer *out) {
        switch (origin->kind) {
        case CONFIG_FROM_DEFAULT:
                return buffer_append_string(out, "the default");
        case CONFIG_FROM_FILE:
                return origin->line == 0 ? buffer_append_string(out, origin->name)
                                         : buffer_printf(out, "%s:%u:%u", origin->name,
                                                         origin->line, origin->column);
        case CONFIG_FROM_ENVIRONMENT:
                return buffer_append_string(out, origin->name);
        case CONFIG_FROM_OPTION:
                return buffer_printf(out, "-o %s", origin->name);
        }
        return 0;
}

static int print_origin(const ConfigOrigin *origin, Buffer *out) {
        if (origin->kind == CONFIG_FROM_DEFAULT) {
                return 0;
        }
        int r = problem_append_place(origin, out);
        return r != 0 ? r : buffer_append_string(out, ": ");
}

/* An option's name is the key's path, with which most texts begin: it is not said twice. */
static const char *without_name(const ConfigOrigin *origin, const char *text) {
        size_t size = origin->kind == CONFIG_FROM_OPTION ? strlen(origin->name) : 0;
        return size > 0 && strncmp(text, origin->name, size) == 0 &&
                               strncmp(text + size, ": ", 2) == 0
                       ? text + size + 2
                       : text;
}

static char *format_text(const ConfigOrigin *origin, const char *format, va_list ap) {
        CLEANUP(buffer_deinit) Buffer text = BUFFER_INIT;
        CLEANUP(buffer_deinit) Buffer what = BUFFER_INIT;
        const char *string = buffer_vprintf(&what, format, ap) == 0 ? buffer_string(&what) : NULL;
        if (string == NULL || print_origin(origin, &text) != 0 ||
            buffer_append_string(&text, without_name(origin, string)) != 0 ||
            buffer_string(&text) == NULL) {
                return NULL;
        }
        return (char *)steal(text.data);
}

void problem_add(ConfigProblems *problems, const ConfigOrigin *origin, const char *format, ...) {
        if (problems->n >= PROBLEMS_MAX) {
                problems->more++;
                return;
        }
        if (problems->items == NULL) {
                problems->items = calloc(PROBLEMS_MAX, sizeof(*problems->items));
        }
        char *text = NULL;
        if (problems->items != NULL) {
                va_list ap;
                va_start(ap, format);
                text = format_text(origin, format, ap);
                va_end(ap);
        }
        if (text == NULL) {
                problems->more++;
                return;
        }
        problems->items[problems->n++] = (ConfigProblem){.text = text, .origin = *origin};
}

static bool comes_before(const ConfigOrigin *a, const ConfigOrigin *b) {
        if (a->kind != b->kind) {
                return a->kind < b->kind;
        }
        if (a->line != b->line) {
                return a->line < b->line;
        }
        return a->column < b->column;
}

/* By insertion: few, nearly in order, and those of one place stay in theirs. */
void problems_sort(ConfigProblems *problems) {
        for (size_t i = 1; i < problems->n; i++) {
                ConfigProblem problem = problems->items[i];
                size_t j = i;
                for (; j > 0 && comes_before(&problem.origin, &problems->items[j - 1].origin);
                     j--) {
                        problems->items[j] = problems->items[j - 1];
                }
                problems->items[j] = problem;
        }
}

const char *problem_value(const char *text, char out[PROBLEM_VALUE]) {
        size_t most = PROBLEM_VALUE - sizeof("\"…\"");
        size_t size = strlen(text);
        bool cut = size > most;
        if (cut) {
                size = most;
                while (size > 0 && ((unsigned char)text[size] & 0xc0) == 0x80) {
                        size--; /* not in the middle of a character */
                }
        }
        char *p = out;
        *p++ = '"';
        for (size_t i = 0; i < size; i++) {
                unsigned char c = (unsigned char)text[i];
                *p++ = c < ' ' || c == 0x7f ? '?' : (char)c;
        }
        strcpy(p, cut ? "…\"" : "\"");
        return out;
}

static void problems_deinit(ConfigProblems *problems) {
        for (size_t i = 0; i < problems->n; i++) {
                free(problems->items[i].text);
        }
        free(problems->items);
        *problems = (ConfigProblems){0};
}

void config_errors_deinit(ConfigErrors *errors) {
        problems_deinit(&errors->errors);
        problems_deinit(&errors->warnings);
}
