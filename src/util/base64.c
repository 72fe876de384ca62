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
