#include "util/buffer.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void buffer_deinit(Buffer *buffer) {
        free(buffer->data);
        *buffer = (Buffer)BUFFER_INIT;
}

void buffer_clear(Buffer *buffer) {
        buffer->size = 0;
}

int buffer_reserve(Buffer *buffer, size_t more) {
        if (more <= buffer->capacity - buffer->size) {
                return 0;
        }
        if (more > SIZE_MAX / 4 || buffer->size > SIZE_MAX / 4) {
                return error_origin(-ENOMEM);
        }
        size_t capacity = buffer->capacity > 0 ? buffer->capacity : 64;
        while (capacity - buffer->size < more) {
                capacity *= 2;
        }
        uint8_t *data = realloc(buffer->data, capacity);
        if (data == NULL) {
                return error_origin(-ENOMEM);
        }
        buffer->data = data;
        buffer->capacity = capacity;
        return 0;
}

int buffer_append(Buffer *buffer, const void *data, size_t size) {
        if (size == 0) {
                return 0;
        }
        int r = buffer_reserve(buffer, size);
        if (r != 0) {
                return r;
        }
        memcpy(buffer->data + buffer->size, data, size);
        buffer->size += size;
        return 0;
}

int buffer_append_string(Buffer *buffer, const char *string) {
        return buffer_append(buffer, string, strlen(string));
}

int buffer_append_char(Buffer *buffer, char c) {
        return buffer_append(buffer, &c, 1);
}

int buffer_printf(Buffer *buffer, const char *format, ...) {
        va_list ap;
        va_start(ap, format);
        int r = buffer_vprintf(buffer, format, ap);
        va_end(ap);
        return r;
}

int buffer_vprintf(Buffer *buffer, const char *format, va_list ap) {
        va_list again;
        va_copy(again, ap);
        int n = vsnprintf(NULL, 0, format, again);
        va_end(again);
        if (n < 0) {
                return error_origin(-EINVAL);
        }
        int r = buffer_reserve(buffer, (size_t)n + 1);
        if (r != 0) {
                return r;
        }
        vsnprintf((char *)buffer->data + buffer->size, (size_t)n + 1, format, ap);
        buffer->size += (size_t)n;
        return 0;
}

void buffer_consume(Buffer *buffer, size_t size) {
        if (size >= buffer->size) {
                buffer->size = 0;
                return;
        }
        memmove(buffer->data, buffer->data + size, buffer->size - size);
        buffer->size -= size;
}

char *buffer_string(Buffer *buffer) {
        if (buffer_reserve(buffer, 1) != 0) {
                return NULL;
        }
        buffer->data[buffer->size] = '\0';
        return (char *)buffer->data;
}
