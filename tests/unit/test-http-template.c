#include "test.h"

#include <stdlib.h>
#include <string.h>

#include "util/http_template.h"

static const char *id = "7\"\\\n&";

static int look_up(void *user, TemplateField field, const char *path, Buffer *out) {
        (void)user;
        (void)path;
        switch (field) {
        case TEMPLATE_HOST:
                return buffer_append_string(out, "web1.example.com");
        case TEMPLATE_ID:
                return buffer_append_string(out, id);
        case TEMPLATE_MESSAGE:
                break;
        }
        return TEMPLATE_E_MISSING;
}

static HttpSource source(const char *body, const HttpHeader *headers, size_t n) {
        return (HttpSource){.method = "POST",
                            .url = "https://{{host.label}}.example.com/x",
                            .headers = headers,
                            .n_headers = n,
                            .body = body};
}

/* The line for people, or "!why". */
static char *printed(const HttpSource *from, const char *authorization) {
        HttpTemplate template;
        HttpPart part;
        Buffer out = BUFFER_INIT, why = BUFFER_INIT;
        assert_int_equal(http_template_init(&template, from, &part, NULL), 0);
        int r = http_template_expand(&template, look_up, NULL, &why);
        if (r == 0) {
                assert_int_equal(http_template_print(&template, authorization, &out), 0);
        } else {
                assert_int_equal(r, HTTP_TEMPLATE_E_POISON);
                assert_int_equal(buffer_printf(&out, "!%s", buffer_string(&why)), 0);
        }
        buffer_deinit(&why);
        http_template_deinit(&template);
        return buffer_string(&out);
}

#define PRINTS(expected, authorization, body, ...)                                                 \
        do {                                                                                       \
                const HttpHeader headers_[] = {__VA_ARGS__};                                       \
                HttpSource source_ =                                                               \
                        source((body), headers_, sizeof(headers_) / sizeof(headers_[0]) - 1);      \
                char *said_ = printed(&source_, (authorization));                                  \
                assert_string_equal(said_, (expected));                                            \
                free(said_);                                                                       \
        } while (0)
#define POST "POST https://web1.example.com/x"
#define END                                                                                        \
        { NULL, NULL }

static void test_expands(void **state) {
        (void)state;
        PRINTS(POST, NULL, "", END);
        PRINTS(POST " with X-A: web1.example.com, X-B: ", NULL, "", {"X-A", "{{host}}"},
               {"X-B", ""}, END);
        PRINTS(POST " with Content-Type: application/json, the body "
                    "{\"id\": \"7\\\"\\\\\\n&\", \"h\": \"web1\"}",
               NULL, "{\"id\": \"{{id}}\", \"h\": \"{{host.label}}\"}", END);
        PRINTS(POST " with content-type: application/vnd.x+json; charset=utf-8, the body "
                    "\"7\\\"\\\\\\n&\"",
               NULL, "\"{{id}}\"", {"content-type", "application/vnd.x+json; charset=utf-8"}, END);
        PRINTS(POST " with Content-Type: application/x-www-form-urlencoded, the body "
                    "id=7%22%5C%0A%26",
               NULL, "id={{id}}", {"Content-Type", "application/x-www-form-urlencoded"}, END);
        PRINTS(POST " with the body restart 7\"\\\\n&", NULL, "restart {{id}}", END);
        PRINTS(POST " with Content-Type: text/xml, the body <h>web1.example.com</h>", NULL,
               "<h>{{host}}</h>", {"Content-Type", "text/xml"}, END);
}

static void test_masks(void **state) {
        (void)state;
        PRINTS(POST " with X-Auth-Token: ******, Authorization: Basic ******", "Basic", "",
               {"X-Auth-Token", "hunter2"}, END);
        assert_true(http_header_is_secret("Authorization"));
        assert_true(http_header_is_secret("cookie"));
        assert_true(http_header_is_secret("X-API-Key"));
        assert_false(http_header_is_secret("Content-Type"));
        assert_false(http_header_is_secret("Accept"));
}

static void test_poison(void **state) {
        (void)state;
        PRINTS("!headers: X-A: a value has a control character, which no header holds", NULL, "",
               {"X-A", "{{id}}"}, END);
        PRINTS("!headers: {{message.a}}: the message has no such value", NULL, "",
               {"X-A", "{{message.a}}"}, END);
        PRINTS("!body: {{message.a}}: the message has no such value", NULL, "\"{{message.a}}\"",
               {"Content-Type", "application/json"}, END);
        HttpSource from = source("", NULL, 0);
        from.url = "http://a/{{message.a}}";
        char *said = printed(&from, NULL);
        assert_string_equal(said, "!url: {{message.a}}: the message has no such value");
        free(said);
}

static void test_bounds(void **state) {
        (void)state;
        size_t size = HTTP_BODY_BYTES_MAX + 1;
        char *longer = malloc(size + 1);
        memset(longer, 'a', size);
        longer[size] = '\0';
        PRINTS("!body: it is longer than 1 MiB", NULL, longer, END);
        longer[HTTP_VALUE_BYTES_MAX + 1] = '\0';
        PRINTS("!headers: X-A: is longer than 8000 bytes", NULL, "", {"X-A", longer}, END);
        free(longer);
}

static void test_again(void **state) {
        (void)state;
        const HttpHeader headers[] = {{"X-A", "{{host}}"}};
        HttpSource from = source("{\"h\": \"{{host}}\"}", headers, 1);
        HttpTemplate template;
        HttpPart part;
        Buffer why = BUFFER_INIT;
        assert_int_equal(http_template_init(&template, &from, &part, NULL), 0);
        for (int i = 0; i < 2; i++) {
                assert_int_equal(http_template_expand(&template, look_up, NULL, &why), 0);
                assert_string_equal((char *)template.url.data, "https://web1.example.com/x");
                assert_int_equal(template.n_headers, 2);
                assert_string_equal(http_template_header(&template, 0), "web1.example.com");
                assert_string_equal(http_template_header(&template, 1), "application/json");
                assert_string_equal(buffer_string(&template.body), "{\"h\": \"web1.example.com\"}");
        }
        buffer_deinit(&why);
        http_template_deinit(&template);
}

static void test_wrong(void **state) {
        (void)state;
        const struct {
                HttpSource source;
                HttpPart part;
                const char *why;
        } table[] = {
                {{"POST", "x", NULL, 0, ""}, HTTP_PART_URL, "begins with neither"},
                {{"GET", "http://a", NULL, 0, "x"}, HTTP_PART_BODY, "is not sent with the method"},
                {{"POST", "http://a", NULL, 0, "{\"a\": {{id}}}"},
                 HTTP_PART_BODY,
                 "has {{id}} outside of a string"},
                {{"POST", "http://a", NULL, 0, "{\"a\": \"\\{{id}}\"}"},
                 HTTP_PART_BODY,
                 "has {{id}} outside of a string"},
                {{"POST", "http://a", NULL, 0, "{\"a\": \"{{id}}\""},
                 HTTP_PART_BODY,
                 "is to be JSON and ends too early"},
                {{"POST", "http://a", NULL, 0, "{\"a\": 1,}"},
                 HTTP_PART_BODY,
                 "is to be JSON and is not, at \"}\""},
                {{"POST", "http://a", NULL, 0, "{{hots}}"}, HTTP_PART_BODY, "has an unknown"},
                {{"POST", "http://a", (HttpHeader[]){{"Content-Type", "text/xml"}}, 1, "<{{id}}>"},
                 HTTP_PART_BODY,
                 "has {{id}}, which cannot be escaped"},
                {{"POST", "http://a", (HttpHeader[]){{"Content-Type", "{{id}}"}}, 1, "x"},
                 HTTP_PART_BODY,
                 "needs a Content-Type without placeholders"},
                {{"POST", "http://a", (HttpHeader[]){{"X-A", "1"}, {"x-a", "2"}}, 2, ""},
                 HTTP_PART_HEADERS,
                 "has x-a twice"},
                {{"POST", "http://a", (HttpHeader[]){{"X A", "1"}}, 1, ""},
                 HTTP_PART_HEADERS,
                 "is not a name of a header"},
                {{"POST", "http://a", (HttpHeader[]){{"X-A", "1\r\nX-B: 2"}}, 1, ""},
                 HTTP_PART_HEADERS,
                 "has a control character"},
                {{"POST", "http://a", (HttpHeader[]){{"content-length", "1"}}, 1, ""},
                 HTTP_PART_HEADERS,
                 "is a header that ackd writes itself"},
                {{"POST", "http://a", (HttpHeader[]){{"X-A", "{{hots}}"}}, 1, ""},
                 HTTP_PART_HEADERS,
                 "has an unknown placeholder"},
        };
        for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
                HttpTemplate template;
                HttpPart part;
                Buffer why = BUFFER_INIT;
                assert_int_equal(http_template_init(&template, &table[i].source, &part, &why),
                                 HTTP_TEMPLATE_E_INVALID);
                assert_int_equal(part, table[i].part);
                const char *said = buffer_string(&why);
                assert_int_equal(strncmp(said, table[i].why, strlen(table[i].why)), 0);
                buffer_deinit(&why);
        }
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_expands), cmocka_unit_test(test_masks),
                cmocka_unit_test(test_poison),  cmocka_unit_test(test_bounds),
                cmocka_unit_test(test_again),   cmocka_unit_test(test_wrong),
        };
        return cmocka_run_group_tests(tests, NULL, NULL);
}
