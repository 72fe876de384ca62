#include "test.h"

#include <malloc.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/grammar.h"
#include "core/message.h"
#include "util/utf8.h"

static const MessageFormat format = {.host = "host", .id = "id", .requested_at = "requested_at"};

static int decode(const char *text, size_t size, Request *request, MessageFault *fault) {
        /* Exactly as large as it is, so that the sanitizer sees a read behind it. */
        uint8_t *copy = malloc(size > 0 ? size : 1);
        assert_non_null(copy);
        memcpy(copy, text, size);
        int r = message_decode(&format, copy, size, request, fault);
        free(copy);
        return r;
}

/* What every fault must be: a reason, and a detail that a log, a terminal and a text column take.
 */
static void check_fault(const MessageFault *fault) {
        size_t size = strlen(fault->detail);
        assert_true(size > 0 && size < MESSAGE_DETAIL_MAX);
        assert_true(utf8_is_valid(fault->detail, size));
        for (size_t i = 0; i < size; i++) {
                uint8_t c = (uint8_t)fault->detail[i];
                assert_true(c >= ' ' && c != 0x7f);
        }
        for (const char *p = fault->reason; *p != '\0'; p++) {
                assert_true((*p >= 'a' && *p <= 'z') || (*p >= '0' && *p <= '9') || *p == '_');
        }
}

static void refused(const char *text, size_t size, const char *reason, const char *part) {
        Request request = {.host = "untouched", .id_size = 99};
        MessageFault fault;
        memset(&fault, 'x', sizeof(fault)); /* it may come from anywhere */
        int r = decode(text, size, &request, &fault);
        if (r != MESSAGE_E_POISON || strcmp(fault.reason, reason) != 0 ||
            strstr(fault.detail, part) == NULL) {
                fail_msg("%.*s: %d, %s: %s", (int)size, text, r,
                         fault.reason != NULL ? fault.reason : "-", fault.detail);
        }
        check_fault(&fault);
        assert_string_equal(request.host, "untouched");
        assert_int_equal(request.id_size, 99);
}

static void taken(const char *text, const char *host, const char *id, int64_t requested_us) {
        Request request;
        MessageFault fault = {0};
        int r = decode(text, strlen(text), &request, &fault);
        if (r != 0) {
                fail_msg("%s: %d, %s: %s", text, r, fault.reason, fault.detail);
        }
        assert_string_equal(request.host, host);
        assert_string_equal(request.id, id);
        assert_int_equal(request.id_size, strlen(id));
        assert_int_equal(request.requested_us, requested_us);
}

static void test_taken(void **state) {
        (void)state;
        taken("{\"host\":\"web1\"}", "web1", "", -1);
        taken(" \t\r\n{ \"host\" : \"WEB1.Example.COM.\" } \n", "web1.example.com", "", -1);
        taken("{\"host\":\"::FFFF:10.0.0.1\"}", "10.0.0.1", "", -1);
        taken("{\"host\":\"web1\",\"id\":\"a1\",\"requested_at\":\"2024-05-06T07:08:09Z\"}", "web1",
              "a1", 1714979289000000);
        taken("{\"requested_at\":\"1950-01-01T00:00:00Z\",\"host\":\"web1\"}", "web1", "", 0);
        taken("{\"requested_at\":\"1970-01-01T00:00:00.000001Z\",\"host\":\"web1\"}", "web1", "",
              1);
        /* Every byte of a key may be escaped. */
        taken("{\"\\u0068\\u006f\\u0073\\u0074\":\"web1\",\"i\\u0064\":\"7\"}", "web1", "7", -1);
        taken("{\"x\":{\"host\":\"no\"},\"y\":[{\"host\":\"no\"}],\"host\":\"yes\"}", "yes", "",
              -1);
        taken("{\"x\":\"\\\"host\\\":\\\"no\\\"\",\"host\":\"yes\"}", "yes", "", -1);
        taken("{\"h\\u006fst\":\"w\\u0065b1\",\"\\u0069d\":\"\\ud83d\\ude00\\n\"}", "web1",
              "\xf0\x9f\x98\x80\n", -1);
        taken("{\"host\":\"web1\",\"reason\":\"\xc3\xbc \\u00fc \\\\\",\"x\":[1,2.5,true,null]}",
              "web1", "", -1);
}

static void test_what_is_null_or_empty_is_not_there(void **state) {
        (void)state;
        taken("{\"host\":\"web1\",\"id\":null,\"requested_at\":null}", "web1", "", -1);
        taken("{\"host\":\"web1\",\"id\":\"\",\"requested_at\":\"\"}", "web1", "", -1);
}

static void test_numbers_keep_their_digits(void **state) {
        (void)state;
        static const char *const numbers[] = {
                "0",
                "-0",
                "7",
                "9223372036854775807",
                "9223372036854775808",
                "-9223372036854775809",
                "123456789012345678901234567890",
                "1.50",
                "1e3",
                "1E+308",
                "1e-999999",
        };
        for (size_t i = 0; i < sizeof(numbers) / sizeof(numbers[0]); i++) {
                char text[128];
                snprintf(text, sizeof(text), "{\"host\":\"web1\",\"id\":%s}", numbers[i]);
                taken(text, "web1", numbers[i], -1);
                snprintf(text, sizeof(text), "{\"id\": %s ,\"n\":[%s], \"host\":\"web1\"}",
                         numbers[i], numbers[i]);
                taken(text, "web1", numbers[i], -1);
        }
}

#define REFUSED(text, reason, part) refused(text, sizeof(text) - 1, reason, part)

static void test_refused_grammar(void **state) {
        (void)state;
        REFUSED("", "empty", "0 bytes");
        REFUSED(" \n\t", "empty", "3 bytes");
        REFUSED("{}", "empty", "byte 1");
        REFUSED(" { }", "empty", "byte 2");
        REFUSED("hello", "not_json", "hello");
        REFUSED("{", "not_json", "byte 1");
        REFUSED("{\"host\":\"web1\"", "not_json", "byte 14");
        REFUSED("{\"host\":\"web1", "not_json", "byte 13");
        REFUSED("{\"host\":\"web1\",}", "not_json", "byte 16");
        REFUSED("{'host':'web1'}", "not_json", "byte 2");
        REFUSED("{\"host\":web1}", "not_json", "web");
        REFUSED("{\"host\":\"web1\",\"x\":NaN}", "not_json", "NaN");
        REFUSED("{\"host\":\"web1\",\"x\":Infinity}", "not_json", "Infinity");
        REFUSED("{\"host\":\"web1\",\"x\":01}", "not_json", "byte");
        REFUSED("{\"host\":\"web1\",\"x\":\"\n\"}", "not_json", "newline");
        REFUSED("{\"host\":\"web1\",\"x\":\"\\ud800\"}", "not_json", "Unicode");
        REFUSED("{\"host\":\"web1\",\"x\":\"\\q\"}", "not_json", "escape");
        REFUSED("{\"host\":\"\x1b[31m\"}", "not_json", "control character");
        REFUSED("[{\"host\":\"web1\"}]", "not_object", "an array");
        REFUSED("\"host\"", "not_object", "a string");
        REFUSED("42", "not_object", "a number");
        REFUSED("-1", "not_object", "a number");
        REFUSED("true", "not_object", "a boolean");
        REFUSED("null", "not_object", "null");
        REFUSED("{\"host\":\"web1\"} x", "trailing_bytes", "byte 17");
        REFUSED("{\"host\":\"web1\"}{\"host\":\"web2\"}", "trailing_bytes", "byte 16");
        REFUSED("{\"host\":\"web1\"}\n,", "trailing_bytes", "byte 17");
        REFUSED("1 2", "trailing_bytes", "byte 3");
        REFUSED("{\"host\":\"web1\",\"host\":\"web2\"}", "duplicate_key", "host");
        REFUSED("{\"host\":\"web1\",\"h\\u006fst\":\"web2\"}", "duplicate_key", "byte");
        REFUSED("{\"host\":\"web1\",\"x\":[{\"a\":1,\"a\":1}]}", "duplicate_key", "byte");
        REFUSED("{\"host\":\"web1\",\"x\":1e999999}", "number_overflow", "1e999999");
        REFUSED("{\"host\":\"web1\",\"x\":-1e400}", "number_overflow", "byte");
}

static void test_refused_bytes(void **state) {
        (void)state;
        REFUSED("{\"host\":\"we\0b1\"}", "nul", "byte 12");
        REFUSED("{\"host\":\"web1\"}\0", "nul", "C string");
        REFUSED("{\"host\":\"web1\"}\n\0\0", "nul", "byte 17");
        REFUSED("{\"host\":\"web1\",\"x\":1\0}", "nul", "byte 21");
        REFUSED("{\"host\":\"web1\",\"x\":null\0}", "nul", "byte 24");
        REFUSED("\0", "nul", "byte 1");
        REFUSED("{\"host\":\"web1\",\"x\":\"\\u0000\"}", "nul", "byte");
        REFUSED("{\"host\":\"web1\",\"\\u0000\":1}", "nul", "byte");
        REFUSED("{\"host\":\"web1\",\"x\":\"a\\u0000b\"}", "nul", "byte");
        REFUSED("{\"host\":\"b\xfc"
                "cher\"}",
                "not_utf8", "byte 11: 0xfc");
        REFUSED("{\"host\":\"\xc0\xaf\"}", "not_utf8", "byte 10");
        REFUSED("{\"host\":\"\xed\xa0\x80\"}", "not_utf8", "byte 10");
        REFUSED("{\"host\":\"\xf0\x9f\"}", "not_utf8", "byte 10");
        REFUSED("{\"host\":\"\xc3", "not_utf8", "byte 10");
}

static void test_other_formats_are_named(void **state) {
        (void)state;
        REFUSED("\xef\xbb\xbf{\"host\":\"web1\"}", "not_json", "byte order mark");
        REFUSED("\0\0\0\0\x2a\x02\x08web1", "not_json",
                "leading byte 0: this looks like Schema Registry framing (schema 42)");
        REFUSED("\0\xff\xff\xff\xff{\"host\":\"web1\"}", "not_json", "schema 4294967295");
        REFUSED("\xff\xfe{\0", "not_utf8", "UTF-16");
        REFUSED("\xfe\xff\0{", "not_utf8", "UTF-16");
        REFUSED("{\0\"\0", "nul", "UTF-16");
        REFUSED("\x1f\x8b\x08\0", "not_json", "gzip");
        REFUSED("\x28\xb5\x2f\xfd\x04", "not_json", "zstd");
        REFUSED("\x04\x22\x4d\x18", "not_json", "lz4");
        REFUSED("\x82SNAPPY\0", "not_json", "snappy");
        REFUSED("Obj\x01\x04", "not_json", "Avro");
        REFUSED("\xac\xed\0\x05t", "not_json", "Java");
        REFUSED("<host>web1</host>", "not_json", "XML");
        REFUSED("\n\x04web1", "not_json", "protobuf");
        taken("\n\n{\"host\":\"web1\"}", "web1", "", -1);
}

static void test_refused_fields(void **state) {
        (void)state;
        REFUSED("{\"hostname\":\"web1\",\"id\":1}", "no_host", "\"hostname\", \"id\"");
        REFUSED("{\"Host\":\"web1\"}", "no_host", "message.host");
        REFUSED("{\"host\":null}", "no_host", "byte 9: the host is null");
        REFUSED("{\"host\":42}", "bad_host", "byte 9: the host is a number");
        REFUSED("{\"host\":-1}", "bad_host", "a number");
        REFUSED("{\"host\":true}", "bad_host", "a boolean");
        REFUSED("{\"host\":[\"web1\"]}", "bad_host", "an array");
        REFUSED("{\"host\":{\"name\":\"web1\"}}", "bad_host", "an object");
        REFUSED("{\"host\":\"\"}", "bad_host", "is empty");
        REFUSED("{\"host\":\"-oProxyCommand=reboot\"}", "bad_host", "byte 9");
        REFUSED("{\"host\":\"../web1\"}", "bad_host", "../web1");
        REFUSED("{\"host\":\"web1\\n\"}", "bad_host", "web1\\n");
        REFUSED("{\"host\":\"\\u001b[31m\\u009b\\u202e\"}", "bad_host", "\\u001b[31m\\u009b");
        REFUSED("{\"host\":\"web%31\"}", "bad_host", "web%31");
        REFUSED("{\"host\":\"010.1.1.1\"}", "bad_host", "IPv4");
        REFUSED("{\"host\":\"web1\",\"id\":true}", "bad_id", "byte 21: the id is a boolean");
        REFUSED("{\"host\":\"web1\",\"id\":[1]}", "bad_id", "an array");
        REFUSED("{\"host\":\"web1\",\"id\":{}}", "bad_id", "an object");
        REFUSED("{\"host\":\"web1\",\"requested_at\":1714979289}", "bad_requested_at",
                "byte 31: the time is a number");
        REFUSED("{\"host\":\"web1\",\"requested_at\":\"yesterday\"}", "bad_requested_at",
                "yesterday");
}

/* The whole of what is told, with its place. */
static void test_what_is_told(void **state) {
        (void)state;
#define TOLD(text, reason, detail)                                                                 \
        { text, sizeof(text) - 1, reason, detail }
#define FIRST_32 "0123456789abcdef0123456789abcdef"
        static const struct {
                const char *text;
                size_t size;
                const char *reason, *detail;
        } rows[] = {
                /* the format, by its first bytes */
                TOLD("\xef\xbb\xbf{}", "not_json",
                     "byte 1: a byte order mark, which JSON does not have: produce UTF-8 without "
                     "it"),
                TOLD("\xff\xfe{", "not_utf8", "byte 1: this looks like UTF-16: produce UTF-8"),
                TOLD("\xfe\xff{", "not_utf8", "byte 1: this looks like UTF-16: produce UTF-8"),
                TOLD("\x1f\x8b", "not_json",
                     "byte 1: this looks like gzip: leave compression to the producer's "
                     "compression.type"),
                TOLD("\x28\xb5\x2f\xfd", "not_json",
                     "byte 1: this looks like zstd: leave compression to the producer's "
                     "compression.type"),
                TOLD("\x04\x22\x4d\x18", "not_json",
                     "byte 1: this looks like lz4: leave compression to the producer's "
                     "compression.type"),
                TOLD("\x82SNAPPY", "not_json",
                     "byte 1: this looks like snappy: leave compression to the producer's "
                     "compression.type"),
                TOLD("Obj\x01", "not_json",
                     "byte 1: this looks like an Avro file: produce plain JSON"),
                TOLD("\xac\xed", "not_json",
                     "byte 1: this looks like a serialized Java object: produce plain JSON"),
                TOLD("<", "not_json", "byte 1: this looks like XML: produce plain JSON"),
                TOLD("\0\1\2\3\4", "not_json",
                     "byte 1: leading byte 0: this looks like Schema Registry framing (schema "
                     "16909060): produce plain JSON, without the registry's serializer"),
                TOLD("\0\xff\xfe\xfd\xfc", "not_json",
                     "byte 1: leading byte 0: this looks like Schema Registry framing (schema "
                     "4294901244): produce plain JSON, without the registry's serializer"),
                TOLD("\0\1\2\3", "nul",
                     "byte 1: a NUL byte, which PostgreSQL cannot keep in JSON: produce none"),
                TOLD("\n\4web1", "not_json",
                     "byte 1: this looks like protobuf: produce plain JSON"),
                TOLD("\n\1w", "not_json", "byte 1: this looks like protobuf: produce plain JSON"),
                TOLD("\n\5web1", "not_json",
                     "byte 2: invalid token near '\\u0005': produce one JSON object a message"),
                TOLD("\n\x1f" FIRST_32, "not_json",
                     "byte 1: this looks like protobuf: produce plain JSON"),
                TOLD("\n\x21" FIRST_32 "x", "not_json",
                     "byte 2: invalid token near '!': produce one JSON object a message"),
                TOLD("\n\0", "nul",
                     "byte 2: a NUL behind the message: produce it without the end of a C string"),
                TOLD("\n\1", "not_json",
                     "byte 2: invalid token near '\\u0001': produce one JSON object a message"),
                /* bytes */
                TOLD("{\0h", "nul", "byte 2: a NUL byte: this looks like UTF-16: produce UTF-8"),
                TOLD("[\0h", "nul",
                     "byte 2: a NUL byte, which PostgreSQL cannot keep in JSON: produce none"),
                TOLD(" {\0h", "nul",
                     "byte 3: a NUL byte, which PostgreSQL cannot keep in JSON: produce none"),
                TOLD("{}\0", "nul",
                     "byte 3: a NUL behind the message: produce it without the end of a C string"),
                TOLD("{}\0 ", "nul",
                     "byte 3: a NUL byte, which PostgreSQL cannot keep in JSON: produce none"),
                TOLD("\0", "nul",
                     "byte 1: a NUL behind the message: produce it without the end of a C string"),
                TOLD("\x80", "not_utf8", "byte 1: 0x80 is not UTF-8 here: produce UTF-8"),
                TOLD("{\"a\":\"\x80\"}", "not_utf8",
                     "byte 7: 0x80 is not UTF-8 here: produce UTF-8"),
                TOLD("{\"a\":\"\xc3\xbc\xff\"}", "not_utf8",
                     "byte 9: 0xff is not UTF-8 here: produce UTF-8"),
                TOLD("{\"a\":\"\x7f\x80\"}", "not_utf8",
                     "byte 8: 0x80 is not UTF-8 here: produce UTF-8"),
                TOLD("{\"a\":\"\\u0000\"}", "nul",
                     "byte 13: \\u0000 is not allowed without JSON_ALLOW_NUL near '\"\\u0000\"': "
                     "produce no NUL"),
                TOLD("{\"\\u0000\":1}", "nul",
                     "byte 9: NUL byte in object key not supported near '\"\\u0000\"': produce no "
                     "NUL"),
                TOLD("<{", "not_json", "byte 1: this looks like XML: produce plain JSON"),
                TOLD("[", "not_json",
                     "byte 1: ']' expected near end of file: produce one JSON object a message"),
                TOLD("{\"a\":\"\xc3\xbc\\", "not_json",
                     "byte 9: invalid escape near '\"\xc3\xbc\\': produce one JSON object a "
                     "message"),
                TOLD("{\"a\":[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[",
                     "too_deep", "byte 69: nested over 64 levels deep: produce it flatter"),
                /* what follows */
                TOLD("{\"a\":1} xyz uvw", "trailing_bytes",
                     "byte 9: something follows the JSON value: produce one object a message"),
                TOLD("{\"a\":{}} xyz", "trailing_bytes",
                     "byte 10: something follows the JSON value: produce one object a message"),
                TOLD("{\"a\":[{}]}\n\t xyz", "trailing_bytes",
                     "byte 14: something follows the JSON value: produce one object a message"),
                TOLD("{\"a\":\"}\"} xyz", "trailing_bytes",
                     "byte 11: something follows the JSON value: produce one object a message"),
                TOLD("{\"a\":\"\xc3\xbc\\\\\"} xyz", "trailing_bytes",
                     "byte 14: something follows the JSON value: produce one object a message"),
                TOLD("{\"a\":\"\xc3\xbc\\\"}\"} xyz", "trailing_bytes",
                     "byte 15: something follows the JSON value: produce one object a message"),
                TOLD("{\"a\":\"\\n}\"} xyz", "trailing_bytes",
                     "byte 13: something follows the JSON value: produce one object a message"),
                TOLD("] {\"a\":1}", "not_json",
                     "byte 1: unexpected token near ']': produce one JSON object a message"),
                TOLD("{\"a\":1}} xyz", "trailing_bytes",
                     "byte 8: something follows the JSON value: produce one object a message"),
                /* the grammar */
                TOLD("", "empty", "the message has no content (0 bytes): produce a JSON object"),
                TOLD(" \n", "empty", "the message has no content (2 bytes): produce a JSON object"),
                TOLD("{}", "empty",
                     "byte 1: the object has no fields: produce at least the host's"),
                TOLD("\t\n {}", "empty",
                     "byte 4: the object has no fields: produce at least the host's"),
                TOLD(" []", "not_object", "byte 2: the message is an array: produce a JSON object"),
                TOLD("  \"a\"", "not_object",
                     "byte 3: the message is a string: produce a JSON object"),
                TOLD(" false", "not_object",
                     "byte 2: the message is a boolean: produce a JSON object"),
                TOLD("true", "not_object",
                     "byte 1: the message is a boolean: produce a JSON object"),
                TOLD("null", "not_object", "byte 1: the message is null: produce a JSON object"),
                TOLD("-1", "not_object", "byte 1: the message is a number: produce a JSON object"),
                TOLD("{\"a\":1,\"a\":2}", "duplicate_key",
                     "byte 10: duplicate object key near '\"a\"': produce each key once"),
                TOLD("{\"a\":1e999}", "number_overflow",
                     "byte 10: real number overflow near '1e999': produce it as a string"),
                TOLD("{\"a\":01}", "not_json",
                     "byte 6: invalid token near '0': produce one JSON object a message"),
                TOLD("{\"a\":\"\\x\"}", "not_json",
                     "byte 8: invalid escape near '\"\\x': produce one JSON object a message"),
                TOLD("{\"a\":\"0123456789\" 1}", "not_json",
                     "byte 19: '}' expected near '1': produce one JSON object a message"),
                TOLD("{\"a\":\"0123456789\\", "not_json",
                     "byte 17: invalid escape near '\"0123456789\\': produce one JSON object a "
                     "message"),
                TOLD("{\"a\":\"0123456789\\\"", "not_json",
                     "byte 18: premature end of input near '\"0123456789\\\"': produce one JSON "
                     "object a message"),
                /* the fields */
                TOLD("{\"a\":1}", "no_host",
                     "there is no field \"host\" (the fields begin with \"a\"): produce it, or say "
                     "in message.host where the host is"),
                TOLD("{\"a\":1,\"b\":1,\"c\":1,\"d\":1,\"e\":1,\"f\":1}", "no_host",
                     "there is no field \"host\" (the fields begin with \"a\", \"b\", \"c\", "
                     "\"d\", \"e\"): produce it, or say in message.host where the host is"),
                TOLD("{\"" FIRST_32 "0123456\":1,\"" FIRST_32 "01234567\":1}", "no_host",
                     "there is no field \"host\" (the fields begin with \"" FIRST_32
                     "0123456, \"" FIRST_32
                     "0123456): produce it, or say in message.host where the host is"),
                TOLD("{\"" FIRST_32 "01234567\":1,\"b" FIRST_32 "01234567\":1,\"c" FIRST_32
                     "01234567\":1,\"d" FIRST_32 "01234567\":1,\"e\":1}",
                     "no_host",
                     "there is no field \"host\" (the fields begin with \"" FIRST_32
                     "0123456, \"b" FIRST_32 "012345, \"c" FIRST_32
                     "012345, \"d0123456789abcdef0123456789abcde): produce it, or say in "
                     "message.host where the host is"),
                TOLD(" {\"host\":null}", "no_host", "byte 10: the host is null: produce a string"),
                TOLD("{\"host\":7}", "bad_host", "byte 9: the host is a number: produce a string"),
                TOLD("{\"host\":[]}", "bad_host", "byte 9: the host is an array: produce a string"),
                TOLD("{\"host\":{}}", "bad_host",
                     "byte 9: the host is an object: produce a string"),
                TOLD("{\"host\":false}", "bad_host",
                     "byte 9: the host is a boolean: produce a string"),
                TOLD("{\"host\":\"a b\"}", "bad_host",
                     "byte 9: the host \"a b\" holds a byte that no host name has (letters, "
                     "digits, hyphens and dots are allowed): produce a host name or an IP address"),
                TOLD("{\"host\":\"" FIRST_32 FIRST_32 FIRST_32 "_23.\"}", "bad_host",
                     "byte 9: the host \"" FIRST_32 FIRST_32 FIRST_32
                     "_23.\" holds a byte that no host name has (letters, digits, hyphens and dots "
                     "are allowed): produce a host name or an IP address"),
                TOLD("{\"host\":\"" FIRST_32 FIRST_32 FIRST_32 "_234.\"}", "bad_host",
                     "byte 9: the host \"" FIRST_32 FIRST_32 FIRST_32
                     "_234\" holds a byte that no host name has (letters, digits, hyphens and dots "
                     "are allowed): produce a host name or an IP address"),
                TOLD("{\"host\":\"a\",\"id\":true}", "bad_id",
                     "byte 18: the id is a boolean: produce a string or a number"),
                TOLD("{\"host\":\"a\",\"id\":[]}", "bad_id",
                     "byte 18: the id is an array: produce a string or a number"),
                TOLD("{\"host\":\"a\",\"id\":{}}", "bad_id",
                     "byte 18: the id is an object: produce a string or a number"),
                TOLD("{\"host\":\"a\",\"requested_at\":7}", "bad_requested_at",
                     "byte 28: the time is a number: produce an RFC 3339 string, or say in "
                     "message.requested_at where it is"),
                TOLD("{\"host\":\"a\",\"requested_at\":true}", "bad_requested_at",
                     "byte 28: the time is a boolean: produce an RFC 3339 string, or say in "
                     "message.requested_at where it is"),
                TOLD("{\"host\":\"a\",\"requested_at\":\"now\"}", "bad_requested_at",
                     "byte 28: the time \"now\" is not RFC 3339: produce it like "
                     "2024-05-06T07:08:09Z"),
                TOLD("{\"host\":\"a\",\"requested_at\":\"" FIRST_32 FIRST_32 FIRST_32 "0123\"}",
                     "bad_requested_at",
                     "byte 28: the time \"" FIRST_32 FIRST_32 FIRST_32
                     "0123\" is not RFC 3339: produce it like 2024-05-06T07:08:09Z"),
                TOLD("{\"host\":\"a\",\"requested_at\":\"" FIRST_32 FIRST_32 FIRST_32 "01234\"}",
                     "bad_requested_at",
                     "byte 28: the time \"" FIRST_32 FIRST_32 FIRST_32
                     "0123\" is not RFC 3339: produce it like 2024-05-06T07:08:09Z"),
        };
#undef TOLD
#undef FIRST_32
        for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
                Request request;
                MessageFault fault;
                memset(&fault, 'x', sizeof(fault));
                int r = decode(rows[i].text, rows[i].size, &request, &fault);
                assert_int_equal(r, MESSAGE_E_POISON);
                assert_string_equal(fault.reason, rows[i].reason);
                assert_string_equal(fault.detail, rows[i].detail);
        }
}

static void test_sizes(void **state) {
        (void)state;
        char text[1024], id[600];
        memset(id, 'x', sizeof(id));
        Request request;
        MessageFault fault;
        int n = snprintf(text, sizeof(text), "{\"host\":\"web1\",\"id\":\"%.*s\"}", MESSAGE_ID_MAX,
                         id);
        assert_int_equal(decode(text, (size_t)n, &request, &fault), 0);
        assert_int_equal(request.id_size, MESSAGE_ID_MAX);
        assert_int_equal(request.id[MESSAGE_ID_MAX], '\0');
        n = snprintf(text, sizeof(text), "{\"host\":\"web1\",\"id\":\"%.*s\"}", MESSAGE_ID_MAX + 1,
                     id);
        refused(text, (size_t)n, "bad_id", "513 bytes");
        memset(id, '1', sizeof(id));
        n = snprintf(text, sizeof(text), "{\"host\":\"web1\",\"id\":0.%.*s}", MESSAGE_ID_MAX, id);
        refused(text, (size_t)n, "bad_id", "514 bytes");

        /* Detail and host stay within their bounds, whatever is quoted. */
        memset(id, 0x01, sizeof(id));
        n = snprintf(text, sizeof(text), "{\"host\":\"");
        for (int i = 0; i < 100; i++) {
                n += snprintf(text + n, sizeof(text) - (size_t)n, "\\u0001");
        }
        n += snprintf(text + n, sizeof(text) - (size_t)n, "\"}");
        refused(text, (size_t)n, "bad_host", "\\u0001\\u0001");
        memset(text, 'a', sizeof(text));
        memcpy(text, "{\"host\":\"", 9);
        memcpy(text + sizeof(text) - 2, "\"}", 2);
        refused(text, sizeof(text), "bad_host", "253");
        for (size_t i = 8; i + 3 < sizeof(text); i += 3) {
                memcpy(text + i, "\xe2\x82\xac", 3);
        }
        text[8] = '"';
        memcpy(text + 9, "ab", 2);
        refused(text, sizeof(text), "bad_host", "\xe2\x82\xac");
}

static void test_depth(void **state) {
        (void)state;
        static char text[200100];
        for (int depth = 62; depth <= 65; depth++) {
                size_t n = (size_t)sprintf(text, "{\"host\":\"web1\",\"x\":");
                memset(text + n, '[', (size_t)depth);
                memset(text + n + depth, ']', (size_t)depth);
                n += (size_t)depth * 2;
                text[n++] = '}';
                text[n] = '\0';
                if (depth + 1 <= MESSAGE_DEPTH_MAX) {
                        taken(text, "web1", "", -1);
                } else {
                        refused(text, n, "too_deep", "byte 83");
                }
        }
        memset(text, '[', 100000);
        refused(text, 100000, "too_deep", "byte 65");
        for (int i = 0; i < 20000; i++) {
                memcpy(text + i * 5, "{\"a\":", 5);
        }
        refused(text, 100000, "too_deep", "byte 321");
        /* Brackets in strings are no depth. */
        size_t n = (size_t)sprintf(text, "{\"host\":\"web1\",\"x\":\"\\\\\\\"");
        memset(text + n, '[', 1000);
        strcpy(text + n + 1000, "\"}");
        taken(text, "web1", "", -1);
}

static void decode_at(const char *host, const char *text, const char *expected) {
        MessageFormat other = {.host = host, .id = "id", .requested_at = "requested_at"};
        Request request;
        MessageFault fault = {0};
        int r = message_decode(&other, (const uint8_t *)text, strlen(text), &request, &fault);
        if (expected == NULL) {
                assert_int_equal(r, MESSAGE_E_POISON);
                assert_string_equal(fault.reason, "no_host");
                check_fault(&fault);
                return;
        }
        assert_int_equal(r, 0);
        assert_string_equal(request.host, expected);
}

static void test_paths(void **state) {
        (void)state;
        decode_at("target.fqdn", "{\"target\":{\"fqdn\":\"web1\"}}", "web1");
        decode_at("target.fqdn", "{\"target.fqdn\":\"dots\",\"target\":{\"fqdn\":\"web1\"}}",
                  "dots");
        decode_at("target.fqdn", "{\"target\":{\"fqdn\":\"web1\"},\"target.fqdn\":\"dots\"}",
                  "dots");
        decode_at("a.b.c", "{\"a.b\":{\"c\":\"one\"},\"a\":{\"b.c\":\"two\"}}", "one");
        decode_at("a.b.c", "{\"a\":{\"b.c\":\"two\",\"b\":{\"c\":\"three\"}}}", "two");
        decode_at("a.b.c", "{\"a\":{\"b\":{\"c\":\"three\"}}}", "three");
        decode_at("a.b.c", "{\"a.b\":{\"x\":1},\"a\":{\"b\":{\"c\":\"three\"}}}", "three");
        decode_at("a.b.c", "{\"a.b\":7,\"a\":{\"b\":{\"c\":\"three\"}}}", "three");
        decode_at("a.b.c", "{\"a\":{\"b\":\"c\"}}", NULL);
        decode_at("a.b", "{\"a\":[{\"b\":\"web1\"}]}", NULL);
        decode_at("a", "{\"aa\":\"x\",\"\":\"y\"}", NULL);
        decode_at("a.", "{\"a\":{\"\":\"x\"}}", NULL);
        decode_at(".a", "{\"\":{\"a\":\"x\"}}", NULL);
        decode_at("a..b", "{\"a\":{\"\":{\"b\":\"x\"}}}", NULL);
        decode_at("", "{\"\":\"x\"}", NULL);
        decode_at("caf\xc3\xa9", "{\"caf\\u00e9\":\"web1\"}", "web1");
        decode_at("a\"b", "{\"a\\\"b\":\"web1\"}", "web1");
        decode_at("a\\b", "{\"a\\\\b\":\"web1\"}", "web1");
        decode_at("\xf0\x9f\x98\x80", "{\"\\ud83d\\ude00\":\"web1\"}", "web1");
}

static void test_lookup(void **state) {
        (void)state;
        static const char text[] =
                " {\"s\":\"te\\nxt\",\"plain\":\"x\",\"n\":12345678901234567890,\"f\":-1.50e1,"
                "\"t\":true,\"no\":false,\"z\":null,\"o\":{\"p\":{\"q\":\"deep\"}},\"a\":[1],"
                "\"e\":\"\"} ";
        static const char *const rows[][2] = {
                {"s", "te\nxt"},   {"plain", "x"}, {"n", "12345678901234567890"},
                {"f", "-1.50e1"},  {"t", "true"},  {"no", "false"},
                {"o.p.q", "deep"}, {"e", ""},      {"z", NULL},
                {"o", NULL},       {"o.p", NULL},  {"a", NULL},
                {"missing", NULL}, {"s.x", NULL},  {"o.p.q.r", NULL},
                {"", NULL},
        };
        Buffer out = BUFFER_INIT;
        for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
                buffer_clear(&out);
                assert_int_equal(buffer_append_string(&out, "before "), 0);
                int r = message_lookup((const uint8_t *)text, sizeof(text) - 1, rows[i][0], &out);
                assert_int_equal(r, rows[i][1] != NULL ? 0 : MESSAGE_E_POISON);
                char expected[64];
                snprintf(expected, sizeof(expected), "before %s",
                         rows[i][1] != NULL ? rows[i][1] : "");
                assert_string_equal(buffer_string(&out), expected);
        }
        buffer_deinit(&out);
}

static bool holds(const char *path, MessageType type, const char *value) {
        static const char text[] =
                "{\"s\":\"restart\",\"esc\":\"re\\u0073tart\",\"n\":1,\"f\":1.0,\"t\":true,"
                "\"no\":false,\"z\":null,\"o\":{\"p\":\"deep\"},\"a\":[1],\"e\":\"\",\"o.q\":"
                "\"dots\","
                "\"one\":\"1\",\"word\":\"true\"}";
        const MessageCondition condition = {path, type, value};
        int r = message_matches((const uint8_t *)text, sizeof(text) - 1, &condition, 1);
        assert_in_range(r, 0, 1);
        return r == 1;
}

static void test_conditions(void **state) {
        (void)state;
        assert_true(holds("s", MESSAGE_TEXT, "restart"));
        assert_true(holds("esc", MESSAGE_TEXT, "restart"));
        assert_false(holds("s", MESSAGE_TEXT, "Restart"));
        assert_false(holds("s", MESSAGE_TEXT, "restart "));
        assert_false(holds("s", MESSAGE_TEXT, ""));
        assert_true(holds("e", MESSAGE_TEXT, ""));
        assert_true(holds("o.p", MESSAGE_TEXT, "deep"));
        assert_true(holds("o.q", MESSAGE_TEXT, "dots"));
        assert_false(holds("o.r", MESSAGE_TEXT, "deep"));
        /* Numbers as they are written, and never as text. */
        assert_true(holds("n", MESSAGE_NUMBER, "1"));
        assert_false(holds("n", MESSAGE_NUMBER, "1.0"));
        assert_true(holds("f", MESSAGE_NUMBER, "1.0"));
        assert_false(holds("n", MESSAGE_TEXT, "1"));
        assert_false(holds("one", MESSAGE_NUMBER, "1"));
        assert_true(holds("one", MESSAGE_TEXT, "1"));
        assert_true(holds("t", MESSAGE_TRUE, NULL));
        assert_false(holds("t", MESSAGE_FALSE, NULL));
        assert_true(holds("no", MESSAGE_FALSE, NULL));
        assert_false(holds("word", MESSAGE_TRUE, NULL));
        assert_true(holds("word", MESSAGE_TEXT, "true"));
        /* What is null and what is not there is the same, as for id and requested_at. */
        assert_true(holds("z", MESSAGE_NULL, NULL));
        assert_true(holds("missing", MESSAGE_NULL, NULL));
        assert_true(holds("o.p.q", MESSAGE_NULL, NULL));
        assert_false(holds("e", MESSAGE_NULL, NULL));
        assert_false(holds("o", MESSAGE_NULL, NULL));
        assert_false(holds("z", MESSAGE_TEXT, "null"));
        assert_false(holds("missing", MESSAGE_TEXT, ""));
        /* An object or an array equals nothing. */
        assert_false(holds("o", MESSAGE_TEXT, "{"));
        assert_false(holds("a", MESSAGE_NUMBER, "1"));
}

static void test_all_conditions_have_to_hold(void **state) {
        (void)state;
        static const char text[] = "{\"a\":\"x\",\"b\":2}";
        const MessageCondition conditions[] = {{"a", MESSAGE_TEXT, "x"},
                                               {"b", MESSAGE_NUMBER, "2"},
                                               {"c", MESSAGE_TRUE, NULL}};
        const uint8_t *payload = (const uint8_t *)text;
        assert_int_equal(message_matches(payload, sizeof(text) - 1, conditions, 3), 0);
        assert_int_equal(message_matches(payload, sizeof(text) - 1, conditions, 2), 1);
        assert_int_equal(message_matches(payload, sizeof(text) - 1, NULL, 0), 1);
}

/* What is no JSON is told, where it stands in the way. */
static void test_lookup_of_what_cannot_be_read(void **state) {
        (void)state;
        static const char *const rows[][2] = {
                {"{\"k\":\"\\q\"}", "k"},
                {"{\"k\":\"\\ud800\"}", "k"},
                {"{\"k\":", "k"},
                {"{\"k\" 1}", "k"},
                {"{\"k", "k"},
                {"{k:1}", "k"},
                {"", "k"},
                {" ", "k"},
                {"[\"k\",1]", "k"},
                {"{\"a\":{\"k\":1", "a.b"},
                {"{\"k\":}", "k"},
        };
        for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
                Buffer out = BUFFER_INIT;
                int r = message_lookup((const uint8_t *)rows[i][0], strlen(rows[i][0]), rows[i][1],
                                       &out);
                if (r != MESSAGE_E_POISON || buffer_string(&out)[0] != '\0') {
                        fail_msg("%s: %d, %s", rows[i][0], r, buffer_string(&out));
                }
                buffer_deinit(&out);
        }
}

/* Bytes that were never checked do no harm: the sanitizer watches. */
static void test_lookup_in_broken_text(void **state) {
        (void)state;
        static const char text[] = "{\"a\\\"b\":{\"x\":[1,{\"y\":\"\\u0041\"}]},\"k\":\"v\\\\\"}";
        for (size_t size = 0; size < sizeof(text); size++) {
                for (size_t broken = 0; broken <= size; broken++) {
                        uint8_t *copy = malloc(size > 0 ? size : 1);
                        assert_non_null(copy);
                        memcpy(copy, text, size);
                        if (broken < size) {
                                copy[broken] = (uint8_t) "\"\\{}[],:\0"[broken % 9];
                        }
                        Buffer out = BUFFER_INIT;
                        int r = message_lookup(copy, size, "k", &out);
                        assert_true(r == 0 || r == MESSAGE_E_POISON);
                        r = message_lookup(copy, size, "a\"b.x", &out);
                        assert_true(r == 0 || r == MESSAGE_E_POISON);
                        const MessageCondition condition = {"k", MESSAGE_TEXT, "v\\"};
                        r = message_matches(copy, size, &condition, 1);
                        assert_in_range(r, 0, MESSAGE_E_POISON);
                        buffer_deinit(&out);
                        free(copy);
                }
        }
}

static void refused_text(const char *text, const char *reason, const char *part) {
        refused(text, strlen(text), reason, part);
}

/* jansson sees them without the content of plain strings. */
static void test_what_strings_hold_changes_nothing(void **state) {
        (void)state;
        taken("{\"host\":\"web1\",\"x\":\"{[,:\",\"y\" : \"}]\"}", "web1", "", -1);
        taken("{\"x\":\"host\",\"host\":\"web1\",\"y\":[\"\",\"\"]}", "web1", "", -1);
        taken("{\"x\":\"a\\\"b\\\\\",\"host\":\"web1\",\"y\":\"\\\\\\\"\"}", "web1", "", -1);
        /* Keys are looked at, and each place is one in the message. */
        refused_text("{\"a\":\"0123456789\",\"a\" :\"0123456789\"}", "duplicate_key", "byte 21");
        refused_text("{\"a\":\"0123456789\",\"b\":\"0123456789\" oops}", "not_json", "byte 39");
        refused_text("{\"a\":\"0123456789\",\"b\":\"01234\t6789\"}", "not_json", "byte 28");
        refused_text("{\"a\":\"0123456789\",\"b\":\"\\x\"}", "not_json", "byte 25");
        refused_text("{\"a\":\"0123456789", "not_json", "byte 16");
        refused_text("{\"a\":\"0123456789\\", "not_json", "byte 17");
        refused_text("{\"a\":\"0123456789\"} x", "trailing_bytes", "byte 20");
        refused_text("\"0123456789\"", "not_object", "a string");
}

static void test_a_detail_is_cut(void **state) {
        (void)state;
        static char path[600];
        memset(path, 'p', sizeof(path) - 1);
        MessageFormat other = {.host = path, .id = "id", .requested_at = "requested_at"};
        static const char text[] = "{\"a\":1}";
        Request request;
        MessageFault fault;
        memset(&fault, 'x', sizeof(fault));
        assert_int_equal(message_decode(&other, (const uint8_t *)text, sizeof(text) - 1, &request,
                                        &fault),
                         MESSAGE_E_POISON);
        assert_int_equal(strlen(fault.detail), MESSAGE_DETAIL_MAX - 1);
        assert_memory_equal(fault.detail, "there is no field \"ppp", 22);
}

/* What jansson sees first. That it is all that it sees shows nowhere else, only in the time. */
static void test_condensed(void **state) {
        (void)state;
        static const char *const rows[][2] = {
                {"", ""},
                {"x", "x"},
                {"{}", "{}"},
                {"{\"a\":\"text\"}", "{\"a\":\"\"}"},
                {"{\"a\" : \"te:xt\" , \"b\":[\"x\",\"\", 1]}",
                 "{\"a\" : \"\" , \"b\":[\"\",\"\", 1]}"},
                {"{\"key\"\t\r\n :\"\"}", "{\"key\"\t\r\n :\"\"}"},
                {"{\"a\":\" ~\x7f\"}", "{\"a\":\"\"}"},
                /* These are looked at, and what stands behind them is condensed again. */
                {"[\"a\\nb\",\"c\"]", "[\"a\\nb\",\"\"]"},
                {"[\"a\\\"b\",\"c\"]", "[\"a\\\"b\",\"\"]"},
                {"[\"a\\\\\",\"c\"]", "[\"a\\\\\",\"\"]"},
                {"[\"a\x1f\",\"c\"]", "[\"a\x1f\",\"\"]"},
                {"[\"a\x1f\\\"b\",\"c\"]", "[\"a\x1f\\\"b\",\"\"]"},
                /* and what has no end */
                {"[\"abc", "[\"abc"},
                {"[\"abc\\", "[\"abc\\"},
                {"[\"abc\\\"", "[\"abc\\\""},
                {"\"", "\""},
                {"\"abc\"", "\"\""},
                {"\"abc\" ", "\"\" "},
        };
        for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
                /* Exactly as large as they are, so that the sanitizer sees what is beyond. */
                size_t size = strlen(rows[i][0]);
                char *from = malloc(size + (size == 0)), *to = malloc(size + (size == 0));
                assert_true(from != NULL && to != NULL);
                memcpy(from, rows[i][0], size);
                size_t n = grammar_condense((const uint8_t *)from, size, to);
                if (n != strlen(rows[i][1]) || memcmp(to, rows[i][1], n) != 0) {
                        fail_msg("%s: %.*s", rows[i][0], (int)n, to);
                }
                free(from);
                free(to);
        }
}

/* Its tree does not fit into what is kept for jansson, and must not stay behind. */
static void test_a_long_message_leaves_nothing_behind(void **state) {
        enum { VALUES = 20000 };
        (void)state;
        static char text[64 + 2 * VALUES];
        size_t size = (size_t)sprintf(text, "{\"host\":\"web1\",\"values\":[1");
        for (int i = 0; i < VALUES; i++) {
                size += (size_t)sprintf(text + size, ",1");
        }
        size_t before = 0; /* what malloc() keeps for itself counts, so the first rounds differ */
        for (int i = 0; i < 4; i++) {
                before = mallinfo2().uordblks;
                memcpy(text + size, "]}", 3);
                taken(text, "web1", "", -1);
                memcpy(text + size, "]]", 3);
                refused(text, size + 2, "not_json", "");
        }
        assert_int_equal(mallinfo2().uordblks, before);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_taken),
                cmocka_unit_test(test_what_is_null_or_empty_is_not_there),
                cmocka_unit_test(test_numbers_keep_their_digits),
                cmocka_unit_test(test_refused_grammar),
                cmocka_unit_test(test_refused_bytes),
                cmocka_unit_test(test_other_formats_are_named),
                cmocka_unit_test(test_refused_fields),
                cmocka_unit_test(test_what_is_told),
                cmocka_unit_test(test_sizes),
                cmocka_unit_test(test_depth),
                cmocka_unit_test(test_paths),
                cmocka_unit_test(test_lookup),
                cmocka_unit_test(test_conditions),
                cmocka_unit_test(test_all_conditions_have_to_hold),
                cmocka_unit_test(test_lookup_of_what_cannot_be_read),
                cmocka_unit_test(test_lookup_in_broken_text),
                cmocka_unit_test(test_what_strings_hold_changes_nothing),
                cmocka_unit_test(test_condensed),
                cmocka_unit_test(test_a_detail_is_cut),
                cmocka_unit_test(test_a_long_message_leaves_nothing_behind),
        };
        return cmocka_run_group_tests(tests, NULL, NULL);
}
