#pragma once

/*
 * Text for a terminal: words that wrap, items that stay whole, and lines that never wrap.
 *
 * What comes from outside may hold anything, so all of it is escaped: control characters and those
 * that turn the direction of text round become \uXXXX, broken UTF-8 becomes U+FFFD. Other
 * characters stay as they are where the locale (LC_CTYPE) has UTF-8, and become \uXXXX where it has
 * not.
 *
 * The calls return nothing: the first failure is kept and makes the rest do nothing, and
 * layout_end() tells it.
 *
 *      layout_begin(&layout, &buffer, 80, false);
 *      layout_line(&layout, 0, 4);
 *      layout_item(&layout, STYLE_STRONG, "%s", topic);
 *      layout_item(&layout, STYLE_PLAIN, "lag %d", lag);
 *      r = layout_end(&layout);
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "util/buffer.h"

typedef enum Style {
        STYLE_PLAIN,
        STYLE_STRONG, /* bold */
        STYLE_DIM,
        STYLE_GOOD,
        STYLE_WARNING,
        STYLE_ERROR,
} Style;

enum {
        AGE_TEXT = 24, /* bytes of an age with its NUL */
        LAYOUT_NARROWEST = 20,
};

typedef struct Layout {
        Buffer *out;
        Buffer text; /* scratch: one escaped piece */
        size_t start;
        int columns;
        int column;  /* cells of this line, its margin included */
        int indent;  /* of the lines that follow when this one is full */
        bool colour; /* escape sequences for the styles */
        bool utf8;
        bool open;  /* a line was begun */
        bool fresh; /* and nothing is in it yet; it is not written when that remains so */
        int margin; /* blanks before the first thing in it */
        int error;
} Layout;

/* @columns: cells in a line; 0: no limit; fewer than LAYOUT_NARROWEST count as that. */
void layout_begin(Layout *layout, Buffer *out, int columns, bool colour);
/* Ends the line. 0, or the first failure (-ENOMEM); then the buffer is as it was before. */
MUST_CHECK int layout_end(Layout *layout);

/* Begins a line, @first cells in; when it wraps, the next ones begin @rest cells in. */
void layout_line(Layout *layout, int first, int rest);
/* A line without anything. */
void layout_blank(Layout *layout);
/* Words behind what the line holds, wrapped at blanks; a word longer than a line is broken. */
void layout_words(Layout *layout, Style style, const char *text);
/* Two blanks behind what the line holds, on the next line when it does not fit on this one. */
void layout_item(Layout *layout, Style style, const char *format, ...)
        __attribute__((format(printf, 3, 4)));
/* Exactly @width cells (cut never, so more when it is longer), @right: to the right. */
void layout_cell(Layout *layout, Style style, int width, bool right, const char *text);
/* A line of its own that is never broken, so that it can be copied: as far in as fits. */
void layout_verbatim(Layout *layout, Style style, int indent, const char *text);

/* How many cells are left in this line. */
int layout_room(const Layout *layout);
/* How many cells it takes, escaped as it would be. */
int layout_width(Layout *layout, const char *text);

/* "0.4s", "12s", "3m12s", "2h03m", "5d04h"; what is negative is 0. Yields @out. Pure. */
const char *age_text(double seconds, char out[AGE_TEXT]);
