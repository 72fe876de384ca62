#include "util/json.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "util/base64.h"
#include "util/utf8.h"

/* How long a character's escape is; 0: it stands for itself. @size: its bytes. */
static size_t escape_one(char out[JSON_ESCAPE_MAX + 1], const uint8_t *p, size_t size,
                         JsonEscape escape) {
        static const char shorts[] = "\bb\ff\nn\rr\tt";
        unsigned code = p[0];
        if (code == '"' || code == '\\') {
                if (escape == JSON_ESCAPE_CONTROL) {
                        return 0;
                }
                out[0] = '\\';
                out[1] = (char)code;
                return 2;
        }
        for (size_t i = 0; i < sizeof(shorts) - 1; i += 2) {
                if (code == (unsigned char)shorts[i]) {
                        out[0] = '\\';
                        out[1] = shorts[i + 1];
                        return 2;
                }
        }
        if (size == 2 && p[0] == 0xc2 && p[1] < 0xa0) {
                code = p[1]; /* C1 controls: U+009B alone begins a terminal sequence */
        } else if (size == 3 && p[0] == 0xe2 && p[1] == 0x80 && (p[2] == 0xa8 || p[2] == 0xa9)) {
                code = 0x2000U | (p[2] & 0x3fU); /* line and paragraph separator */
        } else if (size > 1 || (code >= 0x20 && code != 0x7f)) {
                return 0;
        }
        return (size_t)snprintf(out, JSON_ESCAPE_MAX + 1, "\\u%04x", code);
}

static bool is_plain(uint8_t c) {
        return c >= 0x20 && c < 0x7f && c != '"' && c != '\\';
}

size_t json_escape(char *to, size_t room, const char *from, size_t size, JsonEscape escape,
                   size_t *usedp) {
        const uint8_t *p = (const uint8_t *)from;
        size_t used = 0, written = 0;
        while (used < size) {
                if (is_plain(p[used])) {
                        if (written == room) {
                                break;
                        }
                        to[written++] = (char)p[used++];
                        continue;
                }
                char buffer[JSON_ESCAPE_MAX + 1];
                const char *piece = from + used;
                bool valid = true;
                size_t n = utf8_next(p + used, size - used, &valid), length = n;
                if (!valid) {
                        piece = "\xef\xbf\xbd";
                        length = 3;
                } else if ((length = escape_one(buffer, p + used, n, escape)) > 0) {
                        piece = buffer;
                } else {
                        length = n;
                }
                if (room - written < length) {
                        break;
                }
                memcpy(to + written, piece, length);
                written += length;
                used += n;
        }
        *usedp = used;
        return written;
}

int json_append_string(Buffer *buffer, const char *string, size_t size) {
        size_t start = buffer->size;
        int r = buffer_append_char(buffer, '"');
        while (r == 0 && size > 0) {
                /* Room for a piece with nothing to escape; what is left gets another round. */
                r = buffer_reserve(buffer, size + JSON_ESCAPE_MAX + 1);
                if (r == 0) {
                        size_t used;
                        buffer->size += json_escape((char *)buffer->data + buffer->size,
                                                    buffer->capacity - buffer->size, string, size,
                                                    JSON_ESCAPE_STRING, &used);
                        string += used;
                        size -= used;
                }
        }
        if (r == 0) {
                r = buffer_append_char(buffer, '"');
        }
        if (r != 0) {
                buffer->size = start;
        }
        return r;
}

void json_begin(Json *json, Buffer *buffer) {
        *json = (Json){.buffer = buffer, .start = buffer->size};
}

int json_end(Json *json) {
        if (json->error != 0) {
                json->buffer->size = json->start;
        }
        return json->error;
}

static void json_add(Json *json, const char *data, size_t size) {
        if (json->error == 0) {
                json->error = buffer_append(json->buffer, data, size);
        }
}

/* Before every value and key. */
static void json_next(Json *json) {
        if (json->comma) {
                json_add(json, ",", 1);
        }
        json->comma = true;
}

static void json_open(Json *json, const char *bracket) {
        json_next(json);
        json_add(json, bracket, 1);
        json->comma = false;
}

static void json_close(Json *json, const char *bracket) {
        json_add(json, bracket, 1);
        json->comma = true;
}

void json_begin_object(Json *json) {
        json_open(json, "{");
}

void json_end_object(Json *json) {
        json_close(json, "}");
}

void json_begin_array(Json *json) {
        json_open(json, "[");
}

void json_end_array(Json *json) {
        json_close(json, "]");
}

void json_key(Json *json, const char *key) {
        json_put_text(json, key);
        json_add(json, ":", 1);
        json->comma = false;
}

void json_put_text(Json *json, const char *string) {
        if (string == NULL) {
                json_put_null(json);
                return;
        }
        json_put_string(json, string, strlen(string));
}

void json_put_string(Json *json, const char *string, size_t size) {
        json_next(json);
        if (json->error == 0) {
                json->error = json_append_string(json->buffer, string, size);
        }
}

void json_put_raw(Json *json, const char *value, size_t size) {
        json_next(json);
        json_add(json, value, size);
}

void json_put_int(Json *json, int64_t value) {
        char text[32];
        json_put_raw(json, text, (size_t)snprintf(text, sizeof(text), "%" PRId64, value));
}

void json_put_uint(Json *json, uint64_t value) {
        char text[32];
        json_put_raw(json, text, (size_t)snprintf(text, sizeof(text), "%" PRIu64, value));
}

void json_put_double(Json *json, double value) {
        char text[32];
        if (!isfinite(value)) {
                json_put_null(json);
                return;
        }
        /* The shorter form when it reads back the same: 0.1, not 0.10000000000000001. */
        int n = snprintf(text, sizeof(text), "%.15g", value);
        if (strtod(text, NULL) != value) {
                n = snprintf(text, sizeof(text), "%.17g", value);
        }
        json_put_raw(json, text, (size_t)n);
}

void json_put_bool(Json *json, bool value) {
        json_put_raw(json, value ? "true" : "false", value ? 4 : 5);
}

void json_put_null(Json *json) {
        json_put_raw(json, "null", 4);
}

void json_put_base64(Json *json, const void *data, size_t size) {
        json_next(json);
        json_add(json, "\"", 1);
        if (json->error == 0) {
                json->error = base64_append(json->buffer, data, size);
        }
        json_add(json, "\"", 1);
}
