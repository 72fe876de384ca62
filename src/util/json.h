#pragma once

/*
 * Writes JSON into a Buffer. jansson reads it, and no name here may be one of jansson's, which
 * would be linked in its place.
 *
 * The writers return nothing: the first failure is kept and makes the rest do nothing, and
 * json_end() tells it. What is written is always valid UTF-8 and fits on one line, whatever the
 * strings hold: control characters (those of C1, DEL and the line separators too, since a terminal
 * or a log viewer may act on them) become \u00xx, and each broken piece of UTF-8 becomes U+FFFD.
 *
 *      Json json;
 *      json_begin(&json, &buffer);
 *      json_begin_object(&json);
 *      json_key(&json, "offset");
 *      json_put_int(&json, 42);
 *      json_end_object(&json);
 *      r = json_end(&json);
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "util/buffer.h"

typedef struct Json {
        Buffer *buffer;
        size_t start; /* buffer->size before */
        bool comma;   /* the next value needs one before it */
        int error;    /* negative errno of the first failure */
} Json;

void json_begin(Json *json, Buffer *buffer);
/* 0, or the first failure (-ENOMEM); then the buffer is as it was before json_begin(). */
MUST_CHECK int json_end(Json *json);

void json_begin_object(Json *json);
void json_end_object(Json *json);
void json_begin_array(Json *json);
void json_end_array(Json *json);

/* The next value belongs to @key. */
void json_key(Json *json, const char *key);

void json_put_text(Json *json, const char *string); /* NULL: null */
void json_put_string(Json *json, const char *string, size_t size);
void json_put_int(Json *json, int64_t value);
void json_put_uint(Json *json, uint64_t value);
void json_put_double(Json *json, double value); /* reads back the same; null: not finite */
void json_put_bool(Json *json, bool value);
void json_put_null(Json *json);
/* A value that is JSON already. */
void json_put_raw(Json *json, const char *value, size_t size);
/* A string with @data in base64. */
void json_put_base64(Json *json, const void *data, size_t size);

/* Adds @string with its quotes. -ENOMEM, and then the buffer is as it was. */
MUST_CHECK int json_append_string(Buffer *buffer, const char *string, size_t size);

typedef enum JsonEscape {
        JSON_ESCAPE_STRING,  /* for the inside of a JSON string */
        JSON_ESCAPE_CONTROL, /* for people: as above, but quotes and backslashes stay */
} JsonEscape;

/* The most bytes that one byte can become. */
#define JSON_ESCAPE_MAX 6

/*
 * Escapes as many whole characters of @from as fit into @room bytes at @to. Returns the number of
 * bytes written; *usedp: how many of @from's they stand for. No NUL is added.
 */
size_t json_escape(char *to, size_t room, const char *from, size_t size, JsonEscape escape,
                   size_t *usedp);
