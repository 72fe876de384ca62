#include "util/utf8.h"

/* How many bytes follow the lead byte, and what the first of them may be; the others are always
 * 80..BF. -1: no lead byte. */
static int follow(uint8_t lead, uint8_t *lowp, uint8_t *highp) {
        *lowp = 0x80;
        *highp = 0xbf;
        if (lead < 0x80) {
                return 0;
        }
        if (lead < 0xc2) {
                return -1;
        }
        if (lead < 0xe0) {
                return 1;
        }
        if (lead < 0xf0) {
                *lowp = lead == 0xe0 ? 0xa0 : 0x80;
                *highp = lead == 0xed ? 0x9f : 0xbf;
                return 2;
        }
        if (lead < 0xf5) {
                *lowp = lead == 0xf0 ? 0x90 : 0x80;
                *highp = lead == 0xf4 ? 0x8f : 0xbf;
                return 3;
        }
        return -1;
}

size_t utf8_next(const void *data, size_t size, bool *validp) {
        const uint8_t *p = data;
        uint8_t low, high;
        int n = follow(p[0], &low, &high);
        if (n < 0) {
                *validp = false;
                return 1;
        }
        for (size_t i = 1; i <= (size_t)n; i++) {
                if (i >= size || p[i] < low || p[i] > high) {
                        *validp = false;
                        return i;
                }
                low = 0x80;
                high = 0xbf;
        }
        *validp = true;
        return (size_t)n + 1;
}

bool utf8_is_valid(const void *data, size_t size) {
        const uint8_t *p = data;
        for (size_t i = 0; i < size;) {
                bool valid = true;
                i += p[i] < 0x80 ? 1 : utf8_next(p + i, size - i, &valid);
                if (!valid) {
                        return false;
                }
        }
        return true;
}
