#pragma once

/*
 * Durations and sizes as people write them: `250ms 10s 5m 2h 7d`, `64KiB 1MiB`. A whole number and
 * one unit, nothing between them; what is formatted parses to the same value.
 */

#include <stddef.h>
#include <stdint.h>

#include "util/error.h"

enum {
        DURATION_TEXT = 32, /* bytes for the longest text of either kind, with its NUL */
};

enum {
        DURATION_E_SYNTAX = 1, /* no number, no unit, an unknown unit, something behind it */
        DURATION_E_RANGE,      /* does not fit */
};

/* Units us, ms, s, m, h, d; only 0 needs none. Positive DURATION_E_*, then *@why is a static
 * sentence part ("has no unit, such as 10s"). Pure. */
MUST_CHECK int duration_parse(const char *text, int64_t *us, const char **why);

/* The largest unit that divides @us; @us is not negative. Yields @out. */
const char *duration_format(int64_t us, char out[DURATION_TEXT]);

/* Units B, KiB, MiB, GiB, TiB; a number alone is bytes. As duration_parse(). */
MUST_CHECK int size_parse(const char *text, size_t *bytes, const char **why);
const char *size_format(size_t bytes, char out[DURATION_TEXT]);
