#pragma once

/*
 * SHA-256 of bytes, as text.
 */

#include <stddef.h>

#include "util/error.h"

enum {
        SHA256_TEXT_SIZE = 2 * 32 + 1, /* hexadecimal, with its NUL */
};

/* 500 MB/s on a slow machine. -ENOMEM. */
MUST_CHECK int sha256_text(const void *data, size_t size, char text[SHA256_TEXT_SIZE]);
