#include "core/message.h"

/*
 * Three passes over the bytes, each for what the others can't tell:
 *
 *   the scan     NUL (jansson overlooks one behind a number or a word), UTF-8, depth, and where the
 *                object ends: exact places, nothing allocated, and no recursion before the depth is
 *                known to be small.
 *   jansson      the grammar, duplicate keys, numbers over a double. Its tree is thrown away: it
 *                holds no integer past int64 and no number as it was written. It sees the message
 *                without the content of plain strings, see condense().
 *   the look-up  finds the fields in the text itself, which is valid by then, and so keeps every
 *                digit and knows every place. It is also all that a template's placeholder needs.
 *
 * A string without a backslash is its own bytes; any other is decoded by jansson.
 */

#include <jansson.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "core/json_arena.h"
#include "core/timestamp.h"
#include "util/json.h"
#include "util/utf8.h"

enum {
        QUOTED_MAX = 100, /* bytes of a value that a detail quotes */
        KEYS_TOLD = 5,    /* keys that a detail names when the host's is missing */
        /* Bytes that are condensed on the stack; a longer message is read as a whole. */
        CONDENSE_MAX = 8192,
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
        json_t *owner; /* NULL: it points into the message */
} Text;

static void text_deinit(Text *text) {
        json_decref(text->owner);
}

/* @byte counts from 1; 0: no place. Always MESSAGE_E_POISON, so that the caller can return it. */
__attribute__((format(printf, 4, 5))) static int fault_set(MessageFault *fault, const char *reason,
                                                           size_t byte, const char *format, ...) {
        char text[MESSAGE_DETAIL_MAX];
        int n = byte > 0 ? snprintf(text, sizeof(text), "byte %zu: ", byte) : 0;
        va_list ap;
        va_start(ap, format);
        vsnprintf(text + n, sizeof(text) - (size_t)n, format, ap);
        va_end(ap);
        size_t used;
        size_t size = json_escape(fault->detail, sizeof(fault->detail) - 1, text, strlen(text),
                                  JSON_ESCAPE_CONTROL, &used);
        fault->detail[size] = '\0';
        fault->reason = reason;
        return MESSAGE_E_POISON;
}

/* --- the scan ----------------------------------------------------------------------------- */

static bool is_space(char c) {
        return c == ' ' || c == '\t' || c == '\n' || c == '\r';
}

static bool starts_with(const uint8_t *value, size_t size, const char *magic, size_t magic_size) {
        return size >= magic_size && memcmp(value, magic, magic_size) == 0;
}

/* A first field of bytes, as most protobuf messages have: tag 1, its length, then as much. */
static bool looks_like_protobuf(const uint8_t *value, size_t size) {
        return size >= 2 && value[0] == '\n' && value[1] > 0 && value[1] < ' ' &&
               !is_space((char)value[1]) && value[1] <= size - 2;
}

/* What begins like another format is told by its name. None of these beginnings is JSON. */
static int check_format(const uint8_t *value, size_t size, MessageFault *fault) {
        static const struct {
                const char *magic;
                size_t size;
                const char *reason, *what;
        } formats[] = {
#define MAGIC(text) text, sizeof(text) - 1
                {MAGIC("\xef\xbb\xbf"), "not_json",
                 "a byte order mark, which JSON does not have: produce UTF-8 without it"},
                {MAGIC("\xff\xfe"), "not_utf8", "this looks like UTF-16: produce UTF-8"},
                {MAGIC("\xfe\xff"), "not_utf8", "this looks like UTF-16: produce UTF-8"},
                {MAGIC("\x1f\x8b"), "not_json",
                 "this looks like gzip: leave compression to the producer's compression.type"},
                {MAGIC("\x28\xb5\x2f\xfd"), "not_json",
                 "this looks like zstd: leave compression to the producer's compression.type"},
                {MAGIC("\x04\x22\x4d\x18"), "not_json",
                 "this looks like lz4: leave compression to the producer's compression.type"},
                {MAGIC("\x82SNAPPY"), "not_json",
                 "this looks like snappy: leave compression to the producer's compression.type"},
                {MAGIC("Obj\x01"), "not_json", "this looks like an Avro file: produce plain JSON"},
                {MAGIC("\xac\xed"), "not_json",
                 "this looks like a serialized Java object: produce plain JSON"},
                {MAGIC("<"), "not_json", "this looks like XML: produce plain JSON"},
#undef MAGIC
        };
        for (size_t i = 0; i < sizeof(formats) / sizeof(formats[0]); i++) {
                if (starts_with(value, size, formats[i].magic, formats[i].size)) {
                        return fault_set(fault, formats[i].reason, 1, "%s", formats[i].what);
                }
        }
        if (value[0] == 0 && size >= 5) {
                unsigned id = (unsigned)value[1] << 24 | (unsigned)value[2] << 16 |
                              (unsigned)value[3] << 8 | value[4];
                return fault_set(fault, "not_json", 1,
                                 "leading byte 0: this looks like Schema Registry framing (schema "
                                 "%u): produce plain JSON, without the registry's serializer",
                                 id);
        }
        if (looks_like_protobuf(value, size)) {
                return fault_set(fault, "not_json", 1,
                                 "this looks like protobuf: produce plain JSON");
        }
        return 0;
}

static int nul_fault(MessageFault *fault, const uint8_t *value, size_t size, size_t at) {
        const char *what = "a NUL byte, which PostgreSQL cannot keep in JSON: produce none";
        if (at == 1 && value[0] == '{') {
                what = "a NUL byte: this looks like UTF-16: produce UTF-8";
        } else if (at + 1 == size) {
                what = "a NUL behind the message: produce it without the end of a C string";
        }
        return fault_set(fault, "nul", at + 1, "%s", what);
}

/*
 * Up to the first error in the grammar, this and jansson agree on what is a string; behind it
 * nothing matters. So jansson, which recurses, never sees more than MESSAGE_DEPTH_MAX.
 * *trailingp: where something follows the object; 0: nothing does.
 */
static int scan(const uint8_t *value, size_t size, size_t *trailingp, MessageFault *fault) {
        size_t depth = 0, trailing = 0, n;
        bool in_string = false, closed = false;
        for (size_t i = 0; i < size; i += n) {
                uint8_t c = value[i];
                n = 1;
                if (closed && trailing == 0 && !is_space((char)c)) {
                        trailing = i;
                }
                if (c >= 0x80) {
                        bool valid;
                        n = utf8_next(value + i, size - i, &valid);
                        if (!valid) {
                                return fault_set(fault, "not_utf8", i + 1,
                                                 "0x%02x is not UTF-8 here: produce UTF-8", c);
                        }
                } else if (c == 0) {
                        return nul_fault(fault, value, size, i);
                } else if (c == '"') {
                        in_string = !in_string;
                } else if (in_string) {
                        n = c == '\\' && i + 1 < size && (value[i + 1] == '"' || value[i + 1] == c)
                                    ? 2
                                    : 1;
                } else if ((c == '{' || c == '[') && ++depth > MESSAGE_DEPTH_MAX) {
                        return fault_set(fault, "too_deep", i + 1,
                                         "nested over %d levels deep: produce it flatter",
                                         MESSAGE_DEPTH_MAX);
                } else if ((c == '}' || c == ']') && depth > 0) {
                        closed |= --depth == 0;
                }
        }
        *trailingp = trailing;
        return 0;
}

/* Whether the scan would find nothing: ASCII without a NUL, and fewer brackets than levels allowed.
 * Nearly every message, at a fraction of the scan's cost. */
static bool is_plain(const uint8_t *value, size_t size) {
        uint8_t high = 0;
        size_t nuls = 0, brackets = 0;
        for (size_t i = 0; i < size; i++) {
                high |= value[i];
                nuls += value[i] == 0;
                brackets += (value[i] | 0x20) == '{'; /* and '[', which differs by that bit */
        }
        return high < 0x80 && nuls == 0 && brackets <= MESSAGE_DEPTH_MAX;
}

/* --- the grammar -------------------------------------------------------------------------- */

/* jansson tells of a failed allocation only by saying nothing. */
static bool is_no_memory(const json_error_t *error) {
        return error->text[0] == '\0' || json_error_code(error) == json_error_out_of_memory;
}

static int grammar_fault(MessageFault *fault, const json_error_t *error, size_t trailing) {
        size_t byte = error->position > 0 ? (size_t)error->position : 1;
        const char *reason = "not_json", *remedy = "produce one JSON object a message";
        /* Not a switch: most of its codes belong to other functions. */
        enum json_error_code code = json_error_code(error);
        if (code == json_error_end_of_input_expected) {
                return fault_set(fault, "trailing_bytes", trailing > 0 ? trailing + 1 : byte,
                                 "something follows the JSON value: produce one object a message");
        }
        if (code == json_error_duplicate_key) {
                reason = "duplicate_key";
                remedy = "produce each key once";
        } else if (code == json_error_numeric_overflow) {
                reason = "number_overflow";
                remedy = "produce it as a string";
        } else if (code == json_error_null_character || code == json_error_null_byte_in_key) {
                reason = "nul";
                remedy = "produce no NUL";
        } else if (code == json_error_invalid_utf8) {
                reason = "not_utf8";
                remedy = "produce UTF-8";
        } else if (code == json_error_stack_overflow) {
                reason = "too_deep";
                remedy = "produce it flatter";
        }
        return fault_set(fault, reason, byte, "%s: %s", error->text, remedy);
}

static const char *type_name(char first) {
        switch (first) {
        case '{':
                return "an object";
        case '[':
                return "an array";
        case '"':
                return "a string";
        case 't':
        case 'f':
                return "a boolean";
        case 'n':
                return "null";
        default:
                return "a number";
        }
}

/*
 * Writes @value to @out with "" for each string that is a value and holds nothing but plain ASCII:
 * there is nothing in it that jansson could find wrong, and it would look at each byte of it four
 * times, which is most of what reading a message costs. Keys stay, since they may be there twice.
 * So one text is taken exactly when the other is; places differ. Returns its size, at most @size.
 */
static size_t condense(const uint8_t *value, size_t size, char *out) {
        size_t n = 0;
        for (size_t i = 0; i < size;) {
                size_t from = i++;
                if (value[from] != '"') {
                        out[n++] = (char)value[from];
                        continue;
                }
                while (i < size && value[i] != '"' && value[i] != '\\' && value[i] >= ' ') {
                        i++;
                }
                bool plain = i < size && value[i] == '"';
                while (i < size && value[i] != '"') {
                        i += value[i] == '\\' ? 2 : 1;
                }
                i = i < size ? i + 1 : size;
                size_t next = i;
                while (next < size && is_space((char)value[next])) {
                        next++;
                }
                if (plain && (next == size || value[next] != ':')) {
                        out[n++] = '"';
                        out[n++] = '"';
                        continue;
                }
                memcpy(out + n, value + from, i - from);
                n += i - from;
        }
        return n;
}

static json_t *load(const char *text, size_t size, json_error_t *error) {
        /* Integers as doubles, so that those past int64 are taken. */
        return json_loadb(text, size,
                          JSON_REJECT_DUPLICATES | JSON_DECODE_ANY | JSON_DECODE_INT_AS_REAL,
                          error);
}

/* NULL: see @error, whose place is one in @value. */
static json_t *load_message(const uint8_t *value, size_t size, bool plain, json_error_t *error) {
        char text[CONDENSE_MAX];
        json_t *json = NULL;
        if (plain && size <= sizeof(text)) {
                json = load(text, condense(value, size, text), error);
        }
        return json != NULL ? json : load((const char *)value, size, error);
}

/* *rootp: the first byte of the object. */
static int check(const uint8_t *value, size_t size, size_t *rootp, MessageFault *fault) {
        size_t root = 0, trailing = 0;
        while (root < size && is_space((char)value[root])) {
                root++;
        }
        bool plain = is_plain(value, size);
        int r = root < size && value[0] != '{' ? check_format(value, size, fault) : 0;
        if (r == 0 && !plain) {
                r = scan(value, size, &trailing, fault);
        }
        if (r != 0) {
                return r;
        }
        if (root == size) {
                return fault_set(fault, "empty", 0,
                                 "the message has no content (%zu bytes): produce a JSON object",
                                 size);
        }
        json_error_t error;
        json_arena_begin();
        json_t *json = load_message(value, size, plain, &error);
        if (json == NULL && is_no_memory(&error)) {
                r = error_origin(-ENOMEM);
        } else if (json == NULL) {
                r = scan(value, size, &trailing, fault);
                r = r != 0 ? r : grammar_fault(fault, &error, trailing);
        } else if (!json_is_object(json)) {
                r = fault_set(fault, "not_object", root + 1,
                              "the message is %s: produce a JSON object",
                              type_name((char)value[root]));
        } else if (json_object_size(json) == 0) {
                r = fault_set(fault, "empty", root + 1,
                              "the object has no fields: produce at least the host's");
        } else {
                *rootp = root;
        }
        json_arena_end(json);
        return r;
}

/* --- the look-up -------------------------------------------------------------------------- */

/* None of these reads outside of its range, whatever the bytes are; what they find in a text that
 * is not JSON means nothing. NULL: there is no such thing. */

static const char *skip_space(const char *p, const char *end) {
        while (p < end && is_space(*p)) {
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
        while (p < end && !is_space(*p) && *p != ',' && *p != '}' && *p != ']') {
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
        json_t *json = json_loadb(token.data, token.size, JSON_DECODE_ANY, &error);
        if (json == NULL) {
                return is_no_memory(&error) ? error_origin(-ENOMEM) : MESSAGE_E_POISON;
        }
        *text = (Text){
                .data = json_string_value(json),
                .size = json_string_length(json),
                .owner = json,
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

int message_lookup(const uint8_t *payload, size_t size, const char *path, Buffer *out) {
        const char *end = (const char *)payload + size;
        Token object = {.data = skip_space((const char *)payload, end)};
        if (object.data == end || *object.data != '{') {
                return MESSAGE_E_POISON;
        }
        object.size = (size_t)(end - object.data);
        Token token;
        int r = find(object, path, strlen(path), &token);
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
                sizes[i] = paths[i] != NULL ? strlen(paths[i]) : 0;
                if (sizes[i] > 0 && memchr(paths[i], '.', sizes[i]) != NULL) {
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
        return fault_set(reader->fault, "no_host", 0,
                         "there is no field \"%s\" (the fields begin with %s): produce it, or say "
                         "in message.host where the host is",
                         path, keys);
}

static int read_host(const Reader *reader, const char *path, Request *request) {
        Token token = reader->found[FIELD_HOST];
        if (token.data == NULL) {
                return no_host(reader, path != NULL ? path : "");
        }
        if (token.data[0] != '"') {
                return fault_set(reader->fault, token.data[0] == 'n' ? "no_host" : "bad_host",
                                 byte_of(reader, token), "the host is %s: produce a string",
                                 type_name(token.data[0]));
        }
        CLEANUP(text_deinit) Text text = {0};
        const char *why = NULL;
        int r = text_init(&text, token);
        if (r == 0 && host_canonical(text.data, text.size, request->host, &why) != 0) {
                r = fault_set(reader->fault, "bad_host", byte_of(reader, token),
                              "the host \"%.*s\" %s: produce a host name or an IP address",
                              text.size < QUOTED_MAX ? (int)text.size : QUOTED_MAX, text.data, why);
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
        } else if (token.data[0] != '-' && (token.data[0] < '0' || token.data[0] > '9')) {
                return fault_set(reader->fault, "bad_id", byte_of(reader, token),
                                 "the id is %s: produce a string or a number",
                                 type_name(token.data[0]));
        }
        if (text.size > MESSAGE_ID_MAX) {
                return fault_set(reader->fault, "bad_id", byte_of(reader, token),
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
                return fault_set(reader->fault, "bad_requested_at", byte_of(reader, token),
                                 "the time is %s: produce an RFC 3339 string, or say in "
                                 "message.requested_at where it is",
                                 type_name(token.data[0]));
        }
        CLEANUP(text_deinit) Text text = {0};
        int r = text_init(&text, token);
        if (r != 0 || text.size == 0) {
                return r;
        }
        int64_t time_us;
        if (timestamp_parse(text.data, text.size, &time_us) != 0) {
                return fault_set(reader->fault, "bad_requested_at", byte_of(reader, token),
                                 "the time \"%.*s\" is not RFC 3339: produce it like "
                                 "2024-05-06T07:08:09Z",
                                 text.size < QUOTED_MAX ? (int)text.size : QUOTED_MAX, text.data);
        }
        /* -1 means none, and what is older than 1970 is just old. */
        request->requested_us = time_us > 0 ? time_us : 0;
        return 0;
}

int message_decode(const MessageFormat *format, const uint8_t *value, size_t size, Request *request,
                   MessageFault *fault) {
        size_t root = 0;
        int r = check(value, size, &root, fault);
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
