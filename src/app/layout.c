#include "app/layout.h"

#include <langinfo.h>
#include <stdio.h>
#include <string.h>
#include <wchar.h>

#include "util/json.h"
#include "util/utf8.h"

static const char *const sequences[] = {
        [STYLE_PLAIN] = "",        [STYLE_STRONG] = "\033[1m",   [STYLE_DIM] = "\033[2m",
        [STYLE_GOOD] = "\033[32m", [STYLE_WARNING] = "\033[33m", [STYLE_ERROR] = "\033[1;31m",
};

static void keep(Layout *layout, int r) {
        if (r < 0 && layout->error == 0) {
                layout->error = r;
        }
}

static void put(Layout *layout, const char *text, size_t size) {
        if (layout->error == 0) {
                keep(layout, buffer_append(layout->out, text, size));
        }
}

static void put_blanks(Layout *layout, int n) {
        for (; n > 0; n--) {
                put(layout, " ", 1);
                layout->column++;
        }
}

static void put_cells(Layout *layout, const char *text, size_t size, int cells) {
        for (; layout->fresh && layout->margin > 0; layout->margin--) {
                put(layout, " ", 1);
        }
        put(layout, text, size);
        layout->column += cells;
        layout->fresh = false;
}

/* Before the first thing of a line. */
static void set_margin(Layout *layout, int cells) {
        layout->fresh = true;
        layout->margin = layout->column = cells;
}

static void style_begin(Layout *layout, Style style) {
        if (layout->colour) {
                put(layout, sequences[style], strlen(sequences[style]));
        }
}

static void style_end(Layout *layout, Style style) {
        if (layout->colour && style != STYLE_PLAIN) {
                put(layout, "\033[0m", 4);
        }
}

/* --- characters --------------------------------------------------------------------------- */

static uint32_t code_point(const char *p, size_t n) {
        static const uint8_t lead[] = {0, 0x7f, 0x1f, 0x0f, 0x07};
        uint32_t code = (uint8_t)p[0] & lead[n];
        for (size_t i = 1; i < n; i++) {
                code = code << 6 | ((uint8_t)p[i] & 0x3f);
        }
        return code;
}

/* What turns the direction of the text round shows another name than the one that is there. */
static bool turns(uint32_t code) {
        return code == 0x61c || code == 0x200e || code == 0x200f || code == 0xfeff ||
               (code >= 0x202a && code <= 0x202e) || (code >= 0x2066 && code <= 0x2069);
}

static int add_character(Layout *layout, const char *p, size_t n) {
        uint32_t code = code_point(p, n);
        if (n == 1) {
                return buffer_append_char(&layout->text, *p);
        }
        if (layout->utf8 && !turns(code) && wcwidth((wchar_t)code) >= 0) {
                return buffer_append(&layout->text, p, n);
        }
        if (code == 0x2026) {
                return buffer_append_string(&layout->text, "...");
        }
        return buffer_printf(&layout->text, "\\u%04x", (unsigned)code);
}

/* Into layout->text, with a NUL behind it. NULL: no memory, or it failed before. */
static const char *escape(Layout *layout, const char *text) {
        size_t left = strlen(text);
        buffer_clear(&layout->text);
        while (left > 0 && layout->error == 0) {
                char plain[128];
                size_t used = 0;
                size_t n =
                        json_escape(plain, sizeof(plain), text, left, JSON_ESCAPE_CONTROL, &used);
                for (size_t i = 0; i < n;) {
                        bool valid = true;
                        size_t size = utf8_next(plain + i, n - i, &valid);
                        keep(layout, add_character(layout, plain + i, size));
                        i += size;
                }
                text += used;
                left -= used;
        }
        if (layout->error == 0 && buffer_string(&layout->text) == NULL) {
                keep(layout, error_origin(-ENOMEM));
        }
        return layout->error == 0 ? (const char *)layout->text.data : NULL;
}

/* Bytes of the first character of escaped text, and its cells. */
static size_t character(const char *p, int *cells) {
        bool valid = true;
        size_t n = utf8_next(p, strlen(p), &valid);
        *cells = n == 1 ? 1 : wcwidth((wchar_t)code_point(p, n));
        *cells = *cells < 0 ? 1 : *cells;
        return n;
}

static int cells_of(const char *text, size_t size) {
        int total = 0, cells = 0;
        for (size_t i = 0; i < size; total += cells) {
                i += character(text + i, &cells);
        }
        return total;
}

int layout_width(Layout *layout, const char *text) {
        const char *escaped = escape(layout, text);
        return escaped != NULL ? cells_of(escaped, strlen(escaped)) : 0;
}

/* --- lines -------------------------------------------------------------------------------- */

void layout_begin(Layout *layout, Buffer *out, int columns, bool colour) {
        *layout = (Layout){
                .out = out,
                .start = out->size,
                .columns = columns <= 0                 ? INT32_MAX
                           : columns < LAYOUT_NARROWEST ? LAYOUT_NARROWEST
                                                        : columns,
                .colour = colour,
                .utf8 = strcmp(nl_langinfo(CODESET), "UTF-8") == 0,
        };
}

static void end_line(Layout *layout) {
        if (layout->open && !layout->fresh) {
                put(layout, "\n", 1);
        }
        layout->open = false;
        layout->column = 0;
}

int layout_end(Layout *layout) {
        end_line(layout);
        buffer_deinit(&layout->text);
        if (layout->error < 0) {
                layout->out->size = layout->start;
        }
        return layout->error;
}

void layout_line(Layout *layout, int first, int rest) {
        end_line(layout);
        layout->open = true;
        /* In a narrow window the text needs the room. */
        layout->indent = rest > layout->columns / 4 ? layout->columns / 4 : rest;
        set_margin(layout, first > layout->columns / 4 ? layout->columns / 4 : first);
}

void layout_blank(Layout *layout) {
        end_line(layout);
        put(layout, "\n", 1);
}

static void wrap(Layout *layout) {
        put(layout, "\n", 1);
        set_margin(layout, layout->indent);
}

/* A word that fits into no line. */
static void put_broken(Layout *layout, const char *word, size_t size) {
        for (size_t i = 0; i < size;) {
                int cells = 0;
                size_t n = character(word + i, &cells);
                if (layout->column + cells > layout->columns) {
                        wrap(layout);
                }
                put_cells(layout, word + i, n, cells);
                i += n;
        }
}

static void put_word(Layout *layout, const char *word, size_t size, bool gap) {
        int cells = cells_of(word, size);
        if (layout->column + (gap ? 1 : 0) + cells <= layout->columns) {
                put_blanks(layout, gap ? 1 : 0);
                put_cells(layout, word, size, cells);
                return;
        }
        if (!layout->fresh) {
                wrap(layout);
        }
        put_broken(layout, word, size);
}

/* Escaped text, the first word @gap blanks behind what is there. */
static void put_words(Layout *layout, Style style, const char *text) {
        bool gap = false;
        style_begin(layout, style);
        while (*text != '\0') {
                text += strspn(text, " ");
                size_t size = strcspn(text, " ");
                if (size > 0) {
                        put_word(layout, text, size, gap);
                        gap = true;
                }
                text += size;
        }
        style_end(layout, style);
}

static void put_gap(Layout *layout, int cells, int gap) {
        if (layout->fresh) {
                return;
        }
        if (layout->column + gap + cells > layout->columns) {
                wrap(layout);
        } else {
                put_blanks(layout, gap);
        }
}

void layout_words(Layout *layout, Style style, const char *text) {
        const char *escaped = escape(layout, text);
        if (escaped != NULL) {
                put_gap(layout, cells_of(escaped, strcspn(escaped, " ")), 1);
                put_words(layout, style, escaped);
        }
}

void layout_item(Layout *layout, Style style, const char *format, ...) {
        CLEANUP(buffer_deinit) Buffer text = BUFFER_INIT;
        va_list ap;
        va_start(ap, format);
        keep(layout, buffer_vprintf(&text, format, ap));
        va_end(ap);
        const char *plain = buffer_string(&text);
        if (plain == NULL) {
                keep(layout, error_origin(-ENOMEM));
                return;
        }
        const char *escaped = escape(layout, plain);
        if (escaped != NULL) {
                put_gap(layout, cells_of(escaped, strlen(escaped)), 2);
                put_words(layout, style, escaped);
        }
}

void layout_cell(Layout *layout, Style style, int width, bool right, const char *text) {
        const char *escaped = escape(layout, text);
        if (escaped == NULL) {
                return;
        }
        int cells = cells_of(escaped, strlen(escaped));
        put_blanks(layout, layout->fresh ? 0 : 2);
        put_blanks(layout, right ? width - cells : 0);
        style_begin(layout, style);
        put_cells(layout, escaped, strlen(escaped), cells);
        style_end(layout, style);
        put_blanks(layout, right ? 0 : width - cells);
}

void layout_verbatim(Layout *layout, Style style, int indent, const char *text) {
        end_line(layout);
        const char *escaped = escape(layout, text);
        if (escaped == NULL) {
                return;
        }
        int cells = cells_of(escaped, strlen(escaped));
        int room = layout->columns - cells;
        layout->open = true;
        set_margin(layout, room >= indent ? indent : room > 0 ? room : 0);
        style_begin(layout, style);
        put_cells(layout, escaped, strlen(escaped), cells);
        style_end(layout, style);
}

int layout_room(const Layout *layout) {
        return layout->columns - layout->column;
}

/* --- ages --------------------------------------------------------------------------------- */

const char *age_text(double seconds, char out[AGE_TEXT]) {
        /* Not a number compares false; the upper bound keeps the conversion defined. */
        if (!(seconds > 0)) {
                seconds = 0;
        }
        long long s = seconds < 1e15 ? (long long)seconds : (long long)1e15;
        if (seconds < 1) {
                snprintf(out, AGE_TEXT, "%.1fs", (double)(int)(seconds * 10) / 10);
        } else if (s < 60) {
                snprintf(out, AGE_TEXT, "%llds", s);
        } else if (s < 3600) {
                snprintf(out, AGE_TEXT, "%lldm%02llds", s / 60, s % 60);
        } else if (s < 86400) {
                snprintf(out, AGE_TEXT, "%lldh%02lldm", s / 3600, s / 60 % 60);
        } else {
                snprintf(out, AGE_TEXT, "%lldd%02lldh", s / 86400, s / 3600 % 24);
        }
        return out;
}
