#include "test.h"

#include <stdlib.h>
#include <string.h>

#include "util/url_template.h"

typedef struct Values {
        const char *host, *id, *message;
        size_t message_size; /* 0: strlen() */
} Values;

static int look_up(void *user, TemplateField field, const char *path, Buffer *out) {
        const Values *values = user;
        (void)path;
        const char *value = field == TEMPLATE_HOST ? values->host
                            : field == TEMPLATE_ID ? values->id
                                                   : values->message;
        if (value == NULL) {
                return TEMPLATE_E_MISSING;
        }
        return buffer_append(out, value,
                             field == TEMPLATE_MESSAGE && values->message_size > 0
                                     ? values->message_size
                                     : strlen(value));
}

/* "URL", or "!placeholder: why". The caller frees it. */
static char *expand(const char *text, Values values) {
        UrlTemplate *template = NULL;
        Buffer out = BUFFER_INIT;
        const char *placeholder = NULL, *why = NULL;
        assert_int_equal(url_template_new(&template, text, NULL), 0);
        int r = url_template_expand(template, look_up, &values, &out, &placeholder, &why);
        if (r != 0) {
                assert_int_equal(r, URL_TEMPLATE_E_POISON);
                assert_int_equal(out.size, 0);
                assert_int_equal(buffer_printf(&out, "!%s: %s", placeholder, why), 0);
        }
        url_template_free(template);
        return buffer_string(&out);
}

#define WEB                                                                                        \
        { .host = "web1.prod.example.com", .id = "a b/c", .message = "r-1" }

static void test_expands(void **state) {
        (void)state;
        static const struct {
                const char *text;
                Values values;
                const char *expected;
        } table[] = {
                {"https://{{host.label}}-bmc.mgmt.example.com/redfish/v1/Systems/1", WEB,
                 "https://web1-bmc.mgmt.example.com/redfish/v1/Systems/1"},
                {"https://{{host}}:8443/x", WEB, "https://web1.prod.example.com:8443/x"},
                {"https://{{host}}/x", {.host = "10.0.0.1"}, "https://10.0.0.1/x"},
                {"https://{{host}}:8443/x",
                 {.host = "2001:db8::1"},
                 "https://[2001:db8::1]:8443/x"},
                {"https://{{host}}", {.host = "::1"}, "https://[::1]"},
                {"http://[::1]:80/a", WEB, "http://[::1]:80/a"},
                {"http://api.example.com/hosts/{{host}}/reset", WEB,
                 "http://api.example.com/hosts/web1.prod.example.com/reset"},
                {"http://api.example.com/h/{{host}}.json",
                 {.host = "2001:db8::1"},
                 "http://api.example.com/h/2001%3Adb8%3A%3A1.json"},
                {"http://a/{{id}}", WEB, "http://a/a%20b%2Fc"},
                {"http://a/x?id={{id}}&m={{message.m}}", WEB, "http://a/x?id=a%20b%2Fc&m=r-1"},
                {"http://a/x?id={{id}}", {.id = ""}, "http://a/x?id="},
                {"http://a?id={{id}}", {.id = "&x=1#?"}, "http://a?id=%26x%3D1%23%3F"},
                {"http://a/{{id}}", {.id = "%2e%2e"}, "http://a/%252e%252e"},
                {"http://a/{{id}}", {.id = "\xc3\xa9\n\x7f"}, "http://a/%C3%A9%0A%7F"},
                {"http://rack-{{message.rack}}.pdu.example.com:1/{{host}}", WEB,
                 "http://rack-r-1.pdu.example.com:1/web1.prod.example.com"},
                {"http://a.{{host.label}}.example.com/", WEB, "http://a.web1.example.com/"},
                {"http://a/x..y/{{id}}..", {.id = "z"}, "http://a/x..y/z.."},
                {"http://a/%7e/b;c=1,2@x:y", WEB, "http://a/%7e/b;c=1,2@x:y"},
        };
        for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
                char *url = expand(table[i].text, table[i].values);
                assert_string_equal(url, table[i].expected);
                free(url);
        }
}

static void test_poison(void **state) {
        (void)state;
        static char longer[URL_BYTES_MAX + 1];
        memset(longer, 'a', URL_BYTES_MAX);
        const struct {
                const char *text;
                Values values;
                const char *expected;
        } table[] = {
                {"http://{{host}}.example.com/", WEB, "!{{host}}: the value has a dot"},
                {"http://{{host}}.example.com/",
                 {.host = "10.0.0.1"},
                 "!{{host}}: the value has a"},
                {"http://{{host}}-x.example.com/",
                 {.host = "::1"},
                 "!{{host}}: the value has a byte"},
                {"http://{{host.label}}.example.com/",
                 {.host = "10.0.0.1"},
                 "!{{host.label}}: the host is an IP address"},
                {"http://{{host.label}}.example.com/",
                 {.host = "::1"},
                 "!{{host.label}}: the host is an IP address"},
                {"http://{{id}}.example.com/", {.id = "evil.com/"}, "!{{id}}: the value has a dot"},
                {"http://{{id}}.example.com/", {.id = "x@y"}, "!{{id}}: the value has a byte"},
                {"http://{{id}}.example.com/", {.id = "x:1"}, "!{{id}}: the value has a byte"},
                {"http://{{id}}.example.com/", {.id = "-x"}, "!: a label of the URL's host"},
                {"http://{{id}}.example.com/", {.id = "x-"}, "!: a label of the URL's host"},
                {"http://a{{id}}.example.com/",
                 {.id = "012345678901234567890123456789012345678901234567890123456789012"},
                 "!: a label of the URL's host"},
                {"http://{{id}}.example.com/", {.id = ""}, "!{{id}}: the value is empty"},
                {"http://{{id}}.example.com/", {0}, "!{{id}}: the message has no such value"},
                {"http://a/{{id}}/b", {.id = ".."}, "!: a path segment of the URL is . or .."},
                {"http://a/{{id}}", {.id = "."}, "!: a path segment of the URL is . or .."},
                {"http://a/.{{id}}?x", {.id = "."}, "!: a path segment of the URL is . or .."},
                {"http://a/%2E{{id}}", {.id = "."}, "!: a path segment of the URL is . or .."},
                {"http://a/{{id}}", {.id = ""}, "!{{id}}: the value is empty"},
                {"http://a/{{id}}", {.id = longer}, "!: the URL is longer than 8000 bytes"},
                {"http://a/{{message.m}}",
                 {.message = "a\0b", .message_size = 3},
                 "!{{message.m}}: the value holds a NUL"},
        };
        for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
                char *said = expand(table[i].text, table[i].values);
                assert_int_equal(strncmp(said, table[i].expected, strlen(table[i].expected)), 0);
                free(said);
        }
}

static void test_wrong(void **state) {
        (void)state;
        static const struct {
                const char *text, *why;
        } table[] = {
                {"", "begins with neither"},
                {"ftp://a/", "begins with neither"},
                {"{{message.url}}", "begins with neither"},
                {"{{id}}://a/", "begins with neither"},
                {"http://", "has no host"},
                {"http://:80/", "has no host"},
                {"http:///x", "has no host"},
                {"http://u:p@a/", "has a user in it"},
                {"http://a:x/", "has no port"},
                {"http://a:/", "has no port"},
                {"http://a:0/", "has no port"},
                {"http://a:65536/", "has no port"},
                {"http://a:{{id}}/", "has no port"},
                {"http://2001:db8::1/", "has an IPv6 address without brackets"},
                {"http://[2001:db8::1/", "has a [ in its host"},
                {"http://[{{host}}]/", "has no IPv6 address"},
                {"http://[::1]x/", "has something behind"},
                {"http://{{host.label}}/", "lets a message choose the machine"},
                {"http://{{id}}:80/", "lets a message choose the machine"},
                {"http://a.{{message.domain}}/", "lets a message choose the machine"},
                {"http://a.b-{{id}}/", "lets a message choose the machine"},
                {"http://10.0.0.{{id}}/", "lets a message choose the machine"},
                {"http://{{id}}.0.0.1/", "has a placeholder in an IP address"},
                {"http://a..b/", "has an empty label"},
                {"http://a./", "has an empty label"},
                {"http://{{host}}./", "has an empty label"},
                {"http://-a/", "has a label"},
                {"http://a b/", "has a byte in its host"},
                {"http://\xc3\xa9.example.com/", "has a byte in its host"},
                {"http://a\\b/", "has a byte in its host"},
                {"http://a/#x", "has a fragment"},
                {"http://a#x", "has a fragment"},
                {"http://a/b c", "has a byte that must be escaped"},
                {"http://a/\xc3\xa9", "has a byte that must be escaped"},
                {"http://a/%zz", "has a % without"},
                {"http://a/%{{id}}", "has a % without"},
                {"http://a/../b", "has a . or .. as a path segment"},
                {"http://a/b/%2e%2E", "has a . or .. as a path segment"},
                {"http://a/./b", "has a . or .. as a path segment"},
                {"http://a/{{hots}}", "has an unknown placeholder {{hots}}"},
                {"http://a/\1", "has a control character"},
        };
        for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
                UrlTemplate *template = NULL;
                Buffer why = BUFFER_INIT;
                assert_int_equal(url_template_new(&template, table[i].text, &why),
                                 URL_TEMPLATE_E_INVALID);
                assert_null(template);
                const char *said = buffer_string(&why);
                assert_int_equal(strncmp(said, table[i].why, strlen(table[i].why)), 0);
                buffer_deinit(&why);
        }
        url_template_free(NULL);
}

static void test_scheme(void **state) {
        (void)state;
        UrlTemplate *template = NULL;
        assert_int_equal(url_template_new(&template, "https://a", NULL), 0);
        assert_true(url_template_is_https(template));
        url_template_free(template);
        assert_int_equal(url_template_new(&template, "http://a", NULL), 0);
        assert_false(url_template_is_https(template));
        url_template_free(template);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_expands),
                cmocka_unit_test(test_poison),
                cmocka_unit_test(test_wrong),
                cmocka_unit_test(test_scheme),
        };
        return cmocka_run_group_tests(tests, NULL, NULL);
}
