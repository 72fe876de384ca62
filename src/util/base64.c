#include "util/base64.h"

int base64_append(Buffer *buffer, const void *data, size_t size) {
        static const char digits[] =
                "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
        if (size == 0) {
                return 0;
        }
        if (size > SIZE_MAX / 2) {
                return error_origin(-ENOMEM);
        }
        int r = buffer_reserve(buffer, (size + 2) / 3 * 4);
        if (r != 0) {
                return r;
        }
        const uint8_t *p = data;
        uint8_t *to = buffer->data + buffer->size;
        for (; size >= 3; size -= 3, p += 3) {
                *to++ = (uint8_t)digits[p[0] >> 2];
                *to++ = (uint8_t)digits[(p[0] & 3) << 4 | p[1] >> 4];
                *to++ = (uint8_t)digits[(p[1] & 15) << 2 | p[2] >> 6];
                *to++ = (uint8_t)digits[p[2] & 63];
        }
        if (size > 0) {
                uint8_t second = size == 2 ? p[1] : 0;
                *to++ = (uint8_t)digits[p[0] >> 2];
                *to++ = (uint8_t)digits[(p[0] & 3) << 4 | second >> 4];
                *to++ = size == 2 ? (uint8_t)digits[(second & 15) << 2] : '=';
                *to++ = '=';
        }
        buffer->size = (size_t)(to - buffer->data);
        return 0;
}

/* -1: no digit. */
static int digit_value(char c) {
        return c >= 'A' && c <= 'Z'   ? c - 'A'
               : c >= 'a' && c <= 'z' ? c - 'a' + 26
               : c >= '0' && c <= '9' ? c - '0' + 52
               : c == '+'             ? 62
               : c == '/'             ? 63
                                      : -1;
}

int base64_decode(Buffer *buffer, const char *text, size_t size) {
        size_t padding = 0;
        if (size % 4 != 0) {
                return BASE64_E_INVALID;
        }
        while (padding < 2 && padding < size && text[size - 1 - padding] == '=') {
                padding++;
        }
        for (size_t i = 0; i < size - padding; i++) {
                if (digit_value(text[i]) < 0) {
                        return BASE64_E_INVALID;
                }
        }
        int r = buffer_reserve(buffer, size / 4 * 3);
        if (r != 0) {
                return r;
        }
        for (size_t i = 0; i < size; i += 4) {
                uint32_t bits = 0;
                for (size_t k = 0; k < 4; k++) {
                        int value = i + k < size - padding ? digit_value(text[i + k]) : 0;
                        bits = bits << 6 | (uint32_t)value;
                }
                buffer->data[buffer->size++] = (uint8_t)(bits >> 16);
                buffer->data[buffer->size++] = (uint8_t)(bits >> 8);
                buffer->data[buffer->size++] = (uint8_t)bits;
        }
        buffer->size -= padding;
        return 0;
}
