#pragma once

/*
 * What a check said, as text that can be compared, shown, and kept in PostgreSQL (type text, UTF8).
 *
 * White space at the end is cut. Control characters (but for newline and tab), DEL and bytes that
 * are no UTF-8 become \xNN, and a backslash becomes two: so different outputs have different texts.
 * What would be longer than CHECK_TEXT_MAX is its beginning and, in brackets, the size and the
 * SHA-256 of all of it.
 */

#include <stddef.h>
#include <stdint.h>

#include "util/buffer.h"

enum {
        CHECK_TEXT_MAX = 4096, /* bytes */
};

/* Appends the text of @data. -ENOMEM, and then the buffer is as it was. */
MUST_CHECK int check_text(const uint8_t *data, size_t size, Buffer *out);
