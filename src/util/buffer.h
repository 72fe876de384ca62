#pragma once

/*
 * A growable run of bytes, embedded in its owner. It grows by doubling and keeps its memory when it
 * is cleared, so a buffer that is used again allocates nothing.
 */

#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include "util/error.h"

typedef struct Buffer {
        uint8_t *data; /* NULL until something was added; not NUL-terminated */
        size_t size;
        size_t capacity;
} Buffer;

#define BUFFER_INIT                                                                                \
        { 0 }

void buffer_deinit(Buffer *buffer);

/* Empties it and keeps the memory. */
void buffer_clear(Buffer *buffer);

/* Makes room for @more bytes behind the last. -ENOMEM. */
MUST_CHECK int buffer_reserve(Buffer *buffer, size_t more);

/* Each adds to the end; -ENOMEM, and then the buffer is as it was. */
MUST_CHECK int buffer_append(Buffer *buffer, const void *data, size_t size);
MUST_CHECK int buffer_append_string(Buffer *buffer, const char *string);
MUST_CHECK int buffer_append_char(Buffer *buffer, char c);
MUST_CHECK int buffer_printf(Buffer *buffer, const char *format, ...)
        __attribute__((format(printf, 2, 3)));
MUST_CHECK int buffer_vprintf(Buffer *buffer, const char *format, va_list ap);

/* Drops the first @size bytes. */
void buffer_consume(Buffer *buffer, size_t size);

/* The content as a C string: a NUL is put behind the last byte and not counted. NULL: no memory. */
MUST_CHECK char *buffer_string(Buffer *buffer);
