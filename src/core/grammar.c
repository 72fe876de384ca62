/*
 * Two passes over the bytes, each for what the other can't tell:
 *
 *   the scan     NUL (jansson overlooks one behind a number or a word), UTF-8, depth, and where the
 *                object ends: exact places, nothing allocated, and no recursion before the depth is
 *                known to be small.
 *   jansson      the grammar, duplicate keys, numbers over a double. Its tree is thrown away: it
 *                holds no integer past int64 and no number as it was written. It sees the message
 *                without the content of plain strings, see grammar_condense().
 */

#include "core/grammar.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "core/json_arena.h"
#include "util/json.h"
#include "util/utf8.h"

enum {
        /* Bytes that are condensed on the stack; a longer message is read as a whole. */
        CONDENSE_MAX = 8192,
};

int grammar_fault_set(MessageFault *fault, const char *reason, size_t byte, const char *format,
                      ...) {
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

static bool starts_with(const uint8_t *value, size_t size, const char *magic, size_t magic_size) {
        return size >= magic_size && memcmp(value, magic, magic_size) == 0;
}

/* A first field of bytes, as most protobuf messages have: tag 1, its length, then as much. */
static bool looks_like_protobuf(const uint8_t *value, size_t size) {
        return size >= 2 && value[0] == '\n' && value[1] > 0 && value[1] < ' ' &&
               !grammar_is_space((char)value[1]) && value[1] <= size - 2;
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
                        return grammar_fault_set(fault, formats[i].reason, 1, "%s",
                                                 formats[i].what);
                }
        }
        if (value[0] == 0 && size >= 5) {
                unsigned id = (unsigned)value[1] << 24 | (unsigned)value[2] << 16 |
                              (unsigned)value[3] << 8 | value[4];
                return grammar_fault_set(
                        fault, "not_json", 1,
                        "leading byte 0: this looks like Schema Registry framing (schema "
                        "%u): produce plain JSON, without the registry's serializer",
                        id);
        }
        if (looks_like_protobuf(value, size)) {
                return grammar_fault_set(fault, "not_json", 1,
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
        return grammar_fault_set(fault, "nul", at + 1, "%s", what);
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
                if (closed && trailing == 0 && !grammar_is_space((char)c)) {
                        trailing = i;
                }
                if (c >= 0x80) {
                        bool valid;
                        n = utf8_next(value + i, size - i, &valid);
                        if (!valid) {
                                return grammar_fault_set(fault, "not_utf8", i + 1,
                                                         "0x%02x is not UTF-8 here: produce UTF-8",
                                                         c);
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
                        return grammar_fault_set(fault, "too_deep", i + 1,
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

const char *grammar_type(char first) {
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

static int grammar_fault(MessageFault *fault, const json_error_t *error, size_t trailing) {
        size_t byte = (size_t)error->position;
        const char *reason = "not_json", *remedy = "produce one JSON object a message";
        /* Not a switch: most of its codes belong to other functions. */
        enum json_error_code code = json_error_code(error);
        if (code == json_error_end_of_input_expected) {
                return grammar_fault_set(
                        fault, "trailing_bytes", trailing > 0 ? trailing + 1 : byte,
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
        }
        return grammar_fault_set(fault, reason, byte, "%s: %s", error->text, remedy);
}

/* Nothing in what is left out could jansson find wrong, and it would look at each byte of it four
 * times, which is most of what reading a message costs. Keys stay, since they may be there twice.
 */
size_t grammar_condense(const uint8_t *value, size_t size, char *out) {
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
                while (next < size && grammar_is_space((char)value[next])) {
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

static int load(const char *text, size_t size, json_t **jsonp, json_error_t *error) {
        /* Integers as doubles, so that those past int64 are taken. */
        return json_arena_load(text, size,
                               JSON_REJECT_DUPLICATES | JSON_DECODE_ANY | JSON_DECODE_INT_AS_REAL,
                               jsonp, error);
}

/* 0 or -ENOMEM. *@jsonp is NULL: see @error, whose place is one in @value. */
static int load_message(const uint8_t *value, size_t size, bool plain, json_t **jsonp,
                        json_error_t *error) {
        char text[CONDENSE_MAX];
        if (plain && size <= sizeof(text)) {
                int r = load(text, grammar_condense(value, size, text), jsonp, error);
                if (r != 0 || *jsonp != NULL) {
                        return r;
                }
        }
        return load((const char *)value, size, jsonp, error);
}

int grammar_check(const uint8_t *value, size_t size, size_t *rootp, MessageFault *fault) {
        size_t root = 0, trailing = 0;
        while (root < size && grammar_is_space((char)value[root])) {
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
                return grammar_fault_set(
                        fault, "empty", 0,
                        "the message has no content (%zu bytes): produce a JSON object", size);
        }
        json_t *json;
        json_error_t error;
        r = load_message(value, size, plain, &json, &error);
        if (r != 0) {
                return r;
        }
        if (json == NULL) {
                /* It finds nothing else in what is plain, but where the object ends. */
                (void)scan(value, size, &trailing, fault);
                r = grammar_fault(fault, &error, trailing);
        } else if (json_typeof(json) != JSON_OBJECT) {
                r = grammar_fault_set(fault, "not_object", root + 1,
                                      "the message is %s: produce a JSON object",
                                      grammar_type((char)value[root]));
        } else if (json_object_size(json) == 0) {
                r = grammar_fault_set(fault, "empty", root + 1,
                                      "the object has no fields: produce at least the host's");
        } else {
                *rootp = root;
        }
        json_arena_clear();
        return r;
}
