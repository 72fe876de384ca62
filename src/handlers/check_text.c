#include "handlers/check_text.h"

#include <stdbool.h>
#include <string.h>

#include "util/sha256.h"
#include "util/utf8.h"

enum {
        TAIL_MAX = 128, /* of "\n[… bytes, SHA-256 …]" */
};

/* C0 but for newline and tab, DEL, and C1, which is two bytes of UTF-8. */
static bool is_control(const uint8_t *data, size_t size) {
        if (size == 1) {
                return (data[0] < ' ' && data[0] != '\n' && data[0] != '\t') || data[0] == 0x7f;
        }
        return size == 2 && data[0] == 0xc2 && data[1] < 0xa0;
}

static int append_character(const uint8_t *data, size_t size, bool valid, Buffer *out) {
        if (valid && !is_control(data, size)) {
                int r = data[0] == '\\' ? buffer_append_char(out, '\\') : 0;
                return r == 0 ? buffer_append(out, data, size) : r;
        }
        int r = 0;
        for (size_t i = 0; i < size && r == 0; i++) {
                r = buffer_printf(out, "\\x%02X", data[i]);
        }
        return r;
}

/* How much of @data is text when the white space at its end is cut. */
static size_t trimmed(const uint8_t *data, size_t size) {
        while (size > 0 &&
               (data[size - 1] == ' ' || (data[size - 1] >= '\t' && data[size - 1] <= '\r'))) {
                size--;
        }
        return size;
}

static int append_tail(const uint8_t *data, size_t size, Buffer *out) {
        char hash[SHA256_TEXT_SIZE];
        int r = sha256_text(data, size, hash);
        return r == 0 ? buffer_printf(out, "\n[%zu bytes, SHA-256 %s]", size, hash) : r;
}

int check_text(const uint8_t *data, size_t size, Buffer *out) {
        size_t before = out->size;
        size_t cut = before; /* the end of the last character with which the tail still fits */
        int r = 0;
        size = trimmed(data, size);
        for (size_t i = 0; i < size && r == 0 && out->size - before <= CHECK_TEXT_MAX;) {
                bool valid = true;
                size_t n = utf8_next(data + i, size - i, &valid);
                r = append_character(data + i, n, valid, out);
                if (out->size - before <= CHECK_TEXT_MAX - TAIL_MAX) {
                        cut = out->size;
                }
                i += n;
        }
        if (r == 0 && out->size - before > CHECK_TEXT_MAX) {
                out->size = cut;
                r = append_tail(data, size, out);
        }
        if (r != 0) {
                out->size = before;
        }
        return r;
}
