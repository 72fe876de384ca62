#include "util/shell.h"

#include <string.h>

static int append_plain_or_not(Buffer *out, const char *word) {
        static const char plain[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"
                                    "_-./:@%+=,";
        if (word[0] != '\0' && strspn(word, plain) == strlen(word)) {
                return buffer_append_string(out, word);
        }
        int r = buffer_append_char(out, '\'');
        for (const char *p = word; r == 0 && *p != '\0'; p++) {
                r = *p == '\'' ? buffer_append_string(out, "'\\''") : buffer_append_char(out, *p);
        }
        return r == 0 ? buffer_append_char(out, '\'') : r;
}

int shell_append(Buffer *out, const char *word) {
        size_t start = out->size;
        int r = append_plain_or_not(out, word);
        if (r != 0) {
                out->size = start;
        }
        return r;
}
