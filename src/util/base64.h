#pragma once

#include <stddef.h>

#include "util/buffer.h"

/* Adds @data in base64 (RFC 4648, section 4: padded, no line breaks). -ENOMEM, and then the buffer
 * is as it was. */
MUST_CHECK int base64_append(Buffer *buffer, const void *data, size_t size);

enum {
        BASE64_E_INVALID = 1,
};

/* Adds what @size bytes of such base64 stand for. BASE64_E_INVALID, -ENOMEM: the buffer is as it
 * was. */
MUST_CHECK int base64_decode(Buffer *buffer, const char *text, size_t size);
