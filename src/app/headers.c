#include "app/headers.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "util/base64.h"

void headers_deinit(Headers *headers) {
        json_decref(headers->json);
        free(headers->items);
        buffer_deinit(&headers->bytes);
        *headers = (Headers){0};
}

/* The bytes go to the end of Headers.bytes, which may move: until all are read, nothing points to
 * them. */
static int read_bytes(Headers *headers, const json_t *value, size_t *sizep) {
        const json_t *text = json_object_get(value, "base64");
        size_t at = headers->bytes.size;
        if (!json_is_string(text)) {
                return HEADERS_E_INVALID;
        }
        int r = base64_decode(&headers->bytes, json_string_value(text), json_string_length(text));
        *sizep = headers->bytes.size - at;
        return r > 0 ? HEADERS_E_INVALID : r;
}

/* A name of which the bytes are kept, with its NUL. */
static int read_name(Headers *headers, const json_t *name) {
        size_t size = 0;
        int r = json_is_object(name) ? read_bytes(headers, name, &size) : HEADERS_E_INVALID;
        if (r == 0 && size > 0 &&
            memchr(headers->bytes.data + headers->bytes.size - size, '\0', size) != NULL) {
                return HEADERS_E_INVALID;
        }
        return r != 0 ? r : buffer_append_char(&headers->bytes, '\0');
}

static int read_one(Headers *headers, const json_t *pair, const char *without) {
        const json_t *name = json_array_get(pair, 0), *value = json_array_get(pair, 1);
        ProducerHeader header = {.name = json_string_value(name)};
        if (json_array_size(pair) != 2) {
                return HEADERS_E_INVALID;
        }
        if (header.name == NULL) {
                int r = read_name(headers, name);
                if (r != 0) {
                        return r;
                }
        } else if (without != NULL && strcmp(header.name, without) == 0) {
                return 0;
        }
        if (json_is_object(value)) {
                int r = read_bytes(headers, value, &header.size);
                if (r != 0) {
                        return r;
                }
        } else if (json_is_string(value)) {
                header.value = json_string_value(value);
                header.size = json_string_length(value);
        } else if (!json_is_null(value)) {
                return HEADERS_E_INVALID;
        }
        headers->items[headers->n++] = header;
        return 0;
}

/* Those of `bytes` have no name or value yet, and no null has a size. */
static void place_bytes(Headers *headers) {
        size_t at = 0;
        for (size_t i = 0; i < headers->n; i++) {
                ProducerHeader *header = &headers->items[i];
                if (header->name == NULL) {
                        header->name = (const char *)headers->bytes.data + at;
                        at += strlen(header->name) + 1;
                }
                if (header->value == NULL && header->size > 0) {
                        header->value = headers->bytes.data + at;
                        at += header->size;
                }
        }
}

int headers_read(Headers *headers, const char *text, size_t size, const char *without,
                 size_t more) {
        Headers got = {0};
        json_t *json = text != NULL ? json_loadb(text, size, 0, NULL) : json_array();
        int r = json_is_array(json) ? 0 : HEADERS_E_INVALID;
        got.json = json;
        got.items = calloc(json_array_size(json) + more + 1, sizeof(*got.items));
        if (got.items == NULL || (text == NULL && json == NULL)) {
                r = error_origin(-ENOMEM);
        }
        for (size_t i = 0; r == 0 && i < json_array_size(json); i++) {
                r = read_one(&got, json_array_get(json, i), without);
        }
        if (r != 0) {
                headers_deinit(&got);
                return r;
        }
        place_bytes(&got);
        *headers = got;
        return 0;
}
