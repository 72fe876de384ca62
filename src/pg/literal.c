#include "pg/literal.h"

#include <stdbool.h>
#include <string.h>
#include <time.h>

#include "util/utf8.h"

static int append_null(Buffer *sql) {
        return buffer_append_string(sql, "NULL");
}

int literal_append_bytes(Buffer *sql, const void *data, size_t size) {
        static const char digits[] = "0123456789abcdef";
        static const char head[] = "E'\\\\x";
        const uint8_t *bytes = data;
        if (data == NULL) {
                return append_null(sql);
        }
        int r = buffer_reserve(sql, sizeof(head) + 2 * size + 1);
        if (r != 0) {
                return r;
        }
        uint8_t *at = sql->data + sql->size;
        memcpy(at, head, sizeof(head) - 1);
        at += sizeof(head) - 1;
        for (size_t i = 0; i < size; i++) {
                *at++ = (uint8_t)digits[bytes[i] >> 4];
                *at++ = (uint8_t)digits[bytes[i] & 15];
        }
        *at++ = '\'';
        sql->size = (size_t)(at - sql->data);
        return 0;
}

int literal_append_text(Buffer *sql, const char *text, size_t size) {
        if (text == NULL) {
                return append_null(sql);
        }
        size_t before = sql->size;
        int r = buffer_append_string(sql, "E'");
        for (size_t i = 0; i < size && r == 0;) {
                bool valid;
                size_t n = utf8_next(text + i, size - i, &valid);
                if (!valid || text[i] == '\0') {
                        r = buffer_append_string(sql, "\xef\xbf\xbd");
                } else {
                        if (text[i] == '\'' || text[i] == '\\') {
                                r = buffer_append_char(sql, text[i]);
                        }
                        r = r != 0 ? r : buffer_append(sql, text + i, n);
                }
                i += n;
        }
        r = r != 0 ? r : buffer_append_char(sql, '\'');
        if (r != 0) {
                sql->size = before;
        }
        return r;
}

int literal_append_string(Buffer *sql, const char *string) {
        return literal_append_text(sql, string, string != NULL ? strlen(string) : 0);
}

int literal_append_time(Buffer *sql, int64_t time_us) {
        time_t seconds = (time_t)(time_us / 1000000);
        struct tm tm;
        if (time_us < 0 || gmtime_r(&seconds, &tm) == NULL) {
                return append_null(sql);
        }
        return buffer_printf(sql, "'%04d-%02d-%02d %02d:%02d:%02d.%06d+00'", tm.tm_year + 1900,
                             tm.tm_mon + 1, tm.tm_mday, tm.tm_hour, tm.tm_min, tm.tm_sec,
                             (int)(time_us % 1000000));
}
