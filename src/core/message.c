#include "core/message.h"

/*
 * grammar_check() says whether it is a message. The look-up then finds the fields in the text
 * itself, which is valid by then, and so keeps every digit and knows every place. It is also all
 * that a template's placeholder needs. A string without a backslash is its own bytes; any other is
 * decoded by jansson.
 */

#include <jansson.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "core/grammar.h"
#include "core/json_arena.h"
#include "core/timestamp.h"

enum {
        QUOTED_MAX = 100, /* bytes of a value that a detail quotes */
        KEYS_TOLD = 5,    /* keys that a detail names when the host's is missing */
};

/* A value as it stands in the text. */
typedef struct Token {
        const char *data;
        size_t size;
        bool escaped; /* of a key: whether a backslash is in it */
} Token;

/* A string's content. */
typedef struct Text {
        const char *data;
        size_t size;
        bool decoded; /* it is in the arena; else it is part of the message */
} Text;

static void text_deinit(Text *text) {
        if (text->decoded) {
                json_arena_clear();
        }
}

/* --- the look-up -------------------------------------------------------------------------- */

/* None of these reads outside of its range, whatever the bytes are; what they find in a text that
 * is not JSON means nothing. NULL: there is no such thing. */

static const char *skip_space(const char *p, const char *end) {
        while (p < end && grammar_is_space(*p)) {
                p++;
        }
        return p;
}

static const char *skip_string(const char *p, const char *end, bool *escapedp) {
        for (p++; p < end; p++) {
                if (*p == '"') {
                        return p + 1;
                }
                if (*p == '\\') {
                        *escapedp = true;
                        if (++p == end) {
                                return NULL;
                        }
                }
        }
        return NULL;
}

static const char *skip_nested(const char *p, const char *end) {
        size_t depth = 0;
        bool escaped;
        while (p < end) {
                if (*p == '"') {
                        p = skip_string(p, end, &escaped);
                        if (p == NULL) {
                                return NULL;
                        }
                        continue;
                }
                if (*p == '{' || *p == '[') {
                        depth++;
                } else if ((*p == '}' || *p == ']') && --depth == 0) {
                        return p + 1;
                }
                p++;
        }
        return NULL;
}

static const char *skip_value(const char *p, const char *end) {
        if (p == end) {
                return NULL;
        }
        bool escaped;
        if (*p == '"') {
                return skip_string(p, end, &escaped);
        }
        if (*p == '{' || *p == '[') {
                return skip_nested(p, end);
        }
        const char *from = p;
        while (p < end && !grammar_is_space(*p) && *p != ',' && *p != '}' && *p != ']') {
                p++;
        }
        return p > from ? p : NULL;
}

/* Takes the member at *@pp, which stands behind the brace or the comma; false: there is none. */
static bool next_member(const char **pp, const char *end, Token *key, Token *value) {
        const char *p = skip_space(*pp, end);
        key->data = p;
        key->escaped = false;
        if (p == end || *p != '"' || (p = skip_string(p, end, &key->escaped)) == NULL) {
                return false;
        }
        key->size = (size_t)(p - key->data);
        p = skip_space(p, end);
        if (p == end || *p != ':') {
                return false;
        }
        value->data = skip_space(p + 1, end);
        value->escaped = false;
        p = skip_value(value->data, end);
        if (p == NULL) {
                return false;
        }
        value->size = (size_t)(p - value->data);
        p = skip_space(p, end);
        *pp = p < end && *p == ',' ? p + 1 : p;
        return true;
}

/* @token is a string with its quotes. */
static int text_init(Text *text, Token token) {
        if (memchr(token.data, '\\', token.size) == NULL) {
                *text = (Text){.data = token.data + 1, .size = token.size - 2};
                return 0;
        }
        json_error_t error;
        json_t *json;
        int r = json_arena_load(token.data, token.size, JSON_DECODE_ANY, &json, &error);
        if (r != 0 || json == NULL) {
                return r != 0 ? r : MESSAGE_E_POISON;
        }
        *text = (Text){
                .data = json_string_value(json),
                .size = json_string_length(json),
                .decoded = true,
        };
        return 0;
}

static int is_key(Token token, const char *key, size_t size) {
        size_t inner = token.size - 2;
        if (!token.escaped) {
                return inner == size && memcmp(token.data + 1, key, size) == 0;
        }
        /* An escape is longer than what it stands for, up to six times: few keys are decoded. */
        if (inner <= size || inner / 6 > size) {
                return 0;
        }
        CLEANUP(text_deinit) Text text = {0};
        int r = text_init(&text, token);
        if (r < 0) {
                return r;
        }
        return r == 0 && text.size == size && memcmp(text.data, key, size) == 0;
}

/* 1: found, 0: not, -ENOMEM. */
static int find_member(Token object, const char *key, size_t size, Token *found) {
        const char *p = object.data + 1;
        Token name, value;
        while (next_member(&p, object.data + object.size, &name, &value)) {
                int r = is_key(name, key, size);
                if (r > 0) {
                        *found = value;
                }
                if (r != 0) {
                        return r;
                }
        }
        return 0;
}

/* The longest key comes first, so one that itself holds dots wins; when it leads nowhere, the
 * shorter ones are tried. Recurses once a dot of the path, which is the configuration's. */
static int find(Token object, const char *path, size_t size, Token *found) {
        const char *dot = path + size;
        while (dot != NULL && dot > path) {
                size_t key = (size_t)(dot - path);
                Token value;
                int r = find_member(object, path, key, &value);
                if (r > 0 && key == size) {
                        *found = value;
                        return 1;
                }
                if (r > 0) {
                        r = value.data[0] == '{' ? find(value, dot + 1, size - key - 1, found) : 0;
                }
                if (r != 0) {
                        return r;
                }
                dot = memrchr(path, '.', key);
        }
        return 0;
}

/* As find(), in a whole message. */
static int find_in(const uint8_t *payload, size_t size, const char *path, Token *found) {
        const char *end = (const char *)payload + size;
        Token object = {.data = skip_space((const char *)payload, end)};
        if (object.data == end || *object.data != '{') {
                return 0;
        }
        object.size = (size_t)(end - object.data);
        return find(object, path, strlen(path), found);
}

/* 1: it is equal, 0: it is not, -ENOMEM. */
static int token_is(Token token, const MessageCondition *condition) {
        size_t size = strlen(condition->text != NULL ? condition->text : "");
        char first = token.data[0];
        switch (condition->type) {
        case MESSAGE_NULL:
                return first == 'n';
        case MESSAGE_FALSE:
                return first == 'f';
        case MESSAGE_TRUE:
                return first == 't';
        case MESSAGE_NUMBER:
                return token.size == size && memcmp(token.data, condition->text, size) == 0;
        case MESSAGE_TEXT:
                break;
        }
        if (first != '"') {
                return 0;
        }
        CLEANUP(text_deinit) Text text = {0};
        int r = text_init(&text, token);
        return r < 0 ? r
                     : r == 0 && text.size == size && memcmp(text.data, condition->text, size) == 0;
}

int message_matches(const uint8_t *payload, size_t size, const MessageCondition *conditions,
                    size_t n) {
        for (size_t i = 0; i < n; i++) {
                Token token;
                int r = find_in(payload, size, conditions[i].path, &token);
                r = r > 0    ? token_is(token, &conditions[i])
                    : r == 0 ? conditions[i].type == MESSAGE_NULL
                             : r;
                if (r <= 0) {
                        return r;
                }
        }
        return 1;
}

int message_lookup(const uint8_t *payload, size_t size, const char *path, Buffer *out) {
        Token token;
        int r = find_in(payload, size, path, &token);
        if (r < 0) {
                return r;
        }
        if (r == 0) {
                return MESSAGE_E_POISON;
        }
        switch (token.data[0]) {
        case '{':
        case '[':
        case 'n':
                return MESSAGE_E_POISON;
        case '"':
                break;
        default:
                return buffer_append(out, token.data, token.size);
        }
        CLEANUP(text_deinit) Text text = {0};
        r = text_init(&text, token);
        return r == 0 ? buffer_append(out, text.data, text.size) : r;
}

/* --- the fields --------------------------------------------------------------------------- */

typedef enum Field {
        FIELD_HOST,
        FIELD_ID,
        FIELD_REQUESTED,
        FIELD_COUNT,
} Field;

typedef struct Reader {
        const char *value; /* the whole message, for places */
        Token object;
        MessageFault *fault;
        Token found[FIELD_COUNT]; /* data NULL: it is not there */
} Reader;

static size_t byte_of(const Reader *reader, Token token) {
        return (size_t)(token.data - reader->value) + 1;
}

/* Finds all fields whose paths are plain keys in one walk over the members, the others one by one.
 * -ENOMEM. */
static int reader_find(Reader *reader, const char *const paths[FIELD_COUNT]) {
        const char *p = reader->object.data + 1, *end = reader->object.data + reader->object.size;
        size_t sizes[FIELD_COUNT];
        Token key, value;
        for (int i = 0; i < FIELD_COUNT; i++) {
                sizes[i] = strlen(paths[i]);
                if (memchr(paths[i], '.', sizes[i]) != NULL) {
                        int r = find(reader->object, paths[i], sizes[i], &reader->found[i]);
                        if (r < 0) {
                                return r;
                        }
                        sizes[i] = 0;
                }
        }
        while (next_member(&p, end, &key, &value)) {
                for (int i = 0; i < FIELD_COUNT; i++) {
                        int r = sizes[i] > 0 ? is_key(key, paths[i], sizes[i]) : 0;
                        if (r < 0) {
                                return r;
                        }
                        if (r > 0) {
                                reader->found[i] = value;
                        }
                }
        }
        return 0;
}

static int no_host(const Reader *reader, const char *path) {
        char keys[160] = "";
        size_t size = 0;
        const char *p = reader->object.data + 1;
        Token key, value;
        for (int i = 0; i < KEYS_TOLD && size < sizeof(keys); i++) {
                if (!next_member(&p, reader->object.data + reader->object.size, &key, &value)) {
                        break;
                }
                int n = snprintf(keys + size, sizeof(keys) - size, "%s%.*s", i > 0 ? ", " : "",
                                 key.size < 40 ? (int)key.size : 40, key.data);
                size += (size_t)n;
        }
        return grammar_fault_set(
                reader->fault, "no_host", 0,
                "there is no field \"%s\" (the fields begin with %s): produce it, or say "
                "in message.host where the host is",
                path, keys);
}

static int read_host(const Reader *reader, const char *path, Request *request) {
        Token token = reader->found[FIELD_HOST];
        if (token.data == NULL) {
                return no_host(reader, path);
        }
        if (token.data[0] != '"') {
                return grammar_fault_set(reader->fault,
                                         token.data[0] == 'n' ? "no_host" : "bad_host",
                                         byte_of(reader, token), "the host is %s: produce a string",
                                         grammar_type(token.data[0]));
        }
        CLEANUP(text_deinit) Text text = {0};
        const char *why = NULL;
        int r = text_init(&text, token);
        if (r == 0 && host_canonical(text.data, text.size, request->host, &why) != 0) {
                r = grammar_fault_set(reader->fault, "bad_host", byte_of(reader, token),
                                      "the host \"%.*s\" %s: produce a host name or an IP address",
                                      text.size < QUOTED_MAX ? (int)text.size : QUOTED_MAX,
                                      text.data, why);
        }
        return r;
}

static int read_id(const Reader *reader, Request *request) {
        Token token = reader->found[FIELD_ID];
        if (token.data == NULL || token.data[0] == 'n') {
                return 0;
        }
        CLEANUP(text_deinit) Text text = {.data = token.data, .size = token.size};
        if (token.data[0] == '"') {
                int r = text_init(&text, token);
                if (r != 0) {
                        return r;
                }
        } else if (token.data[0] > '9') { /* a number begins with a digit or a minus */
                return grammar_fault_set(reader->fault, "bad_id", byte_of(reader, token),
                                         "the id is %s: produce a string or a number",
                                         grammar_type(token.data[0]));
        }
        if (text.size > MESSAGE_ID_MAX) {
                return grammar_fault_set(reader->fault, "bad_id", byte_of(reader, token),
                                         "the id has %zu bytes: produce at most %d", text.size,
                                         MESSAGE_ID_MAX);
        }
        memcpy(request->id, text.data, text.size);
        request->id[text.size] = '\0';
        request->id_size = text.size;
        return 0;
}

static int read_requested(const Reader *reader, Request *request) {
        Token token = reader->found[FIELD_REQUESTED];
        if (token.data == NULL || token.data[0] == 'n') {
                return 0;
        }
        if (token.data[0] != '"') {
                return grammar_fault_set(reader->fault, "bad_requested_at", byte_of(reader, token),
                                         "the time is %s: produce an RFC 3339 string, or say in "
                                         "message.requested_at where it is",
                                         grammar_type(token.data[0]));
        }
        CLEANUP(text_deinit) Text text = {0};
        int r = text_init(&text, token);
        if (r != 0 || text.size == 0) {
                return r;
        }
        int64_t time_us;
        if (timestamp_parse(text.data, text.size, &time_us) != 0) {
                return grammar_fault_set(reader->fault, "bad_requested_at", byte_of(reader, token),
                                         "the time \"%.*s\" is not RFC 3339: produce it like "
                                         "2024-05-06T07:08:09Z",
                                         text.size < QUOTED_MAX ? (int)text.size : QUOTED_MAX,
                                         text.data);
        }
        /* -1 means none, and what is older than 1970 is just old. */
        request->requested_us = time_us > 0 ? time_us : 0;
        return 0;
}

int message_decode(const MessageFormat *format, const uint8_t *value, size_t size, Request *request,
                   MessageFault *fault) {
        size_t root = 0;
        int r = grammar_check(value, size, &root, fault);
        if (r != 0) {
                return r;
        }
        Reader reader = {
                .value = (const char *)value,
                .object = {.data = (const char *)value + root, .size = size - root},
                .fault = fault,
        };
        Request read;
        read.id[0] = '\0';
        read.id_size = 0;
        read.requested_us = -1;
        const char *const paths[FIELD_COUNT] = {[FIELD_HOST] = format->host,
                                                [FIELD_ID] = format->id,
                                                [FIELD_REQUESTED] = format->requested_at};
        r = reader_find(&reader, paths);
        r = r != 0 ? r : read_host(&reader, format->host, &read);
        r = r != 0 ? r : read_id(&reader, &read);
        r = r != 0 ? r : read_requested(&reader, &read);
        if (r == 0) {
                *request = read;
        }
        return r;
}
