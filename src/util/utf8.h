#pragma once

/*
 * UTF-8 as Unicode 15 defines it (table 3-7): no overlong forms, no surrogates, nothing above
 * U+10FFFF. NUL is a character like any other here.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

bool utf8_is_valid(const void *data, size_t size);

/*
 * How many bytes the character at the start of @data takes; @size is at least 1. When it is broken,
 * *validp is false and the bytes are those that one U+FFFD stands for (the "maximal subpart", so
 * that every program shows the same number of them).
 */
size_t utf8_next(const void *data, size_t size, bool *validp);
