#include "config-load.h"

#define HTTP "handlers.restart-host.http"

/* With some of its keys, in line 6. */
#define BEGIN                                                                                      \
        "handlers:\n"                                                                              \
        "  restart-host:\n"                                                                        \
        "    action: http\n"                                                                       \
        "    allow: ['*.example.com']\n"                                                           \
        "    http:\n"
#define URL "      url: 'https://{{host.label}}-bmc.example.com/x'\n"

static void test_loads(void **state) {
        (void)state;
        Config *config = load(BEGIN URL "      method: PUT\n"
                                        "      headers: {X-A: 1, Accept: 'a/b; {{id}}'}\n"
                                        "      body: '{\"h\": \"{{host}}\"}'\n"
                                        "      timeout: 7s\n"
                                        "      status: {done: [200, 409], failed: [500]}\n"
                                        "      tls: {ca_file: /ca, cert_file: /c, key_file: /k}\n"
                                        "      auth: {user: u, password_file: /p}\n",
                              NULL, NULL, "");
        const ConfigHttp *http = &config->handlers.restart.http;
        assert_int_equal(config->handlers.restart.action, CONFIG_ACTION_HTTP);
        assert_string_equal(http->url, "https://{{host.label}}-bmc.example.com/x");
        assert_string_equal(http->method, "PUT");
        assert_int_equal(http->headers.n, 2);
        assert_string_equal(http->headers.items[0].name, "X-A");
        assert_string_equal(http->headers.items[0].value, "1");
        assert_string_equal(http->headers.items[1].value, "a/b; {{id}}");
        assert_string_equal(http->body, "{\"h\": \"{{host}}\"}");
        assert_int_equal(http->timeout_us, 7000000);
        assert_int_equal(http->connect_timeout_us, 10000000);
        assert_int_equal(http->status.done.items[1], 409);
        assert_int_equal(http->status.failed.items[0], 500);
        assert_int_equal(http->status.not_started.n, 2);
        assert_int_equal(http->status.unknown.n, 0);
        assert_string_equal(http->tls.key_file, "/k");
        assert_string_equal(http->auth.user, "u");
        assert_string_equal(http->auth.bearer_file, "");
        assert_int_equal(config->shutdown.grace_us, 17000000); /* auto */
        config_free(config);
}

static void test_replaces_headers(void **state) {
        (void)state;
        static const char *const options[] = {HTTP ".headers={X-B: 2}", NULL};
        Config *config = load(BEGIN URL "      headers: {X-A: 1}\n", NULL, options, "");
        assert_int_equal(config->handlers.restart.http.headers.n, 1);
        assert_string_equal(config->handlers.restart.http.headers.items[0].name, "X-B");
        config_free(config);
}

static void test_prints(void **state) {
        (void)state;
        Config *config = load(BEGIN URL "      headers: {X-Auth-Token: hunter2, X-A: 'a: b'}\n"
                                        "      auth: {bearer_file: /b}\n",
                              NULL, NULL, "");
        char *text = print(config);
        assert_non_null(
                strstr(text,
                       "      headers: {X-Auth-Token: \"******\", X-A: \"a: b\"}  # t.yaml:7\n"));
        assert_non_null(strstr(text, "        bearer_file: /b  # t.yaml:8\n"));
        assert_null(strstr(text, "hunter2"));
        free(text);
        config_free(config);
}

#define HEADERS_ "; allowed: a section of names and texts, such as {Accept: application/json}\n"
#define URL_                                                                                       \
        "; allowed: an http or https URL, such as https://{{host.label}}-bmc.example.com/reset\n"

static void test_wrong_values(void **state) {
        (void)state;
        static const Wrong table[] = {
                {BEGIN "      url: 'ftp://x'\n", "t.yaml:6:12: " HTTP ".url: \"ftp://x\" begins "
                                                 "with neither https:// nor http://" URL_},
                {BEGIN "      url: 'http://{{id}}/'\n",
                 "t.yaml:6:12: " HTTP
                 ".url: \"http://{{id}}/\" lets a message choose the machine: only {{host}} may "
                 "stand for the whole host" URL_},
                {BEGIN "      url: 'http://{{hots}}/'\n",
                 "t.yaml:6:12: " HTTP
                 ".url: \"http://{{hots}}/\" has an unknown placeholder {{hots}} at byte 8; known: "
                 "{{host}}, {{host.label}}, {{id}}, {{message.PATH}}\n"},
                {BEGIN URL "      method: HEAD\n",
                 "t.yaml:7:15: " HTTP ".method: \"HEAD\" is no method for this; allowed: DELETE | "
                 "GET | PATCH | POST | PUT\n"},
                {BEGIN URL "      headers: [X]\n",
                 "t.yaml:7:16: " HTTP ".headers: is a list" HEADERS_},
                {BEGIN URL "      headers: {'X A': 1, Host: x, X-B: [1], X-C: \"a\\nb\"}\n",
                 "t.yaml:7:24: " HTTP ".headers: \"X A\" is not a name of a header" HEADERS_
                 "t.yaml:7:33: " HTTP
                 ".headers: \"Host\" is a header that ackd writes itself" HEADERS_
                 "t.yaml:7:41: " HTTP ".headers: \"X-B\" is a list" HEADERS_ "t.yaml:7:51: " HTTP
                 ".headers: \"X-C\" has a control character in its value" HEADERS_},
                {BEGIN URL "      status: {done: [199, 600]}\n",
                 "t.yaml:7:23: " HTTP ".status.done: \"199\" is out of range; allowed: a list of "
                 "HTTP statuses from 200 to 599, such as [200]\n"
                 "t.yaml:7:28: " HTTP ".status.done: \"600\" is out of range; allowed: a list of "
                 "HTTP statuses from 200 to 599, such as [200]\n"},
                {BEGIN URL "      auth: {user: 'a:b', password_file: /p}\n",
                 "t.yaml:7:20: " HTTP ".auth.user: \"a:b\" holds a colon or a control character; "
                 "allowed: a name without a colon\n"},
                {BEGIN URL "      tls: {ca_file: ca.pem}\n",
                 "t.yaml:7:22: " HTTP ".tls.ca_file: \"ca.pem\" is not an absolute path; allowed: "
                 "an absolute path, or \"\" for none\n"},
        };
        CHECK(table);
}

static void test_contradictions(void **state) {
        (void)state;
        static const Wrong table[] = {
                {BEGIN URL "      body: '{\"a\": {{id}}}'\n",
                 "t.yaml:7:13: " HTTP ".body: has {{id}} outside of a string; in a JSON body a "
                 "placeholder stands between quotes\n"},
                {BEGIN URL "      body: '{\"a\"}'\n",
                 "t.yaml:7:13: " HTTP ".body: is to be JSON and is not, at \"}\"\n"},
                {BEGIN URL "      body: '<{{id}}>'\n      headers: {Content-Type: text/xml}\n",
                 "t.yaml:7:13: " HTTP ".body: has {{id}}, which cannot be escaped for this "
                 "Content-Type; only for JSON, application/x-www-form-urlencoded and text/plain\n"},
                {BEGIN URL "      method: GET\n      body: x\n",
                 "t.yaml:8:13: " HTTP ".body: is not sent with the method GET; leave it out\n"},
                {BEGIN URL "      headers: {X-A: 1, x-a: 2}\n",
                 "t.yaml:7:16: " HTTP ".headers: has x-a twice\n"},
                {BEGIN URL "      auth: {user: u}\n",
                 "t.yaml:7:20: " HTTP ".auth.user: there is no auth.password_file for it\n"},
                {BEGIN URL "      auth: {password_file: /p}\n",
                 "t.yaml:7:29: " HTTP ".auth.password_file: there is no auth.user for it\n"},
                {BEGIN URL "      auth: {user: u, password_file: /p, bearer_file: /b}\n",
                 "t.yaml:7:55: " HTTP ".auth.bearer_file: there is a user or a password too; "
                 "allowed: one way to authenticate\n"},
                {BEGIN URL "      auth: {bearer_file: /b}\n      headers: {authorization: x}\n",
                 "t.yaml:8:16: " HTTP ".headers: Authorization is what auth makes; allowed: one of "
                 "the two\n"},
                {BEGIN URL "      tls: {key_file: /k}\n",
                 "t.yaml:7:23: " HTTP ".tls.key_file: there is no tls.cert_file for it\n"},
                {BEGIN "      url: 'http://{{host}}/'\n      tls: {ca_file: /c}\n",
                 "t.yaml:7:22: " HTTP ".tls.ca_file: the url has no TLS; allowed: with https\n"},
                {BEGIN URL "      status: {failed: [200]}\n",
                 "t.yaml:7:24: " HTTP ".status.done: 200 is also in " HTTP ".status.failed; "
                 "allowed: in one of them\n"},
        };
        CHECK(table);
}

static void test_warnings(void **state) {
        (void)state;
        static const Wrong table[] = {
                {BEGIN "      url: 'https://bmc.example.com/'\n",
                 "warning: t.yaml:6:12: " HTTP ".url: no {{host}} in it, nor in headers and body, "
                 "so the request is the same for every host\n"},
                {BEGIN "      url: 'http://{{host}}/'\n      auth: {bearer_file: /b}\n",
                 "warning: t.yaml:6:12: " HTTP ".url: has no TLS: whoever is on the way can read "
                 "the secret of auth\n"},
                {BEGIN URL "      headers: {Authorization: Basic x}\n",
                 "warning: t.yaml:7:16: " HTTP ".headers: Authorization holds a secret; in a file "
                 "of auth it is out of sight, and can be changed without a restart\n"},
                {BEGIN URL "shutdown: {grace: 29s}\n",
                 "warning: t.yaml:7:19: shutdown.grace: 29s is shorter than a restart (30s): a "
                 "shutdown kills restarts, and their outcome is unknown\n"},
        };
        CHECK(table);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_loads),          cmocka_unit_test(test_replaces_headers),
                cmocka_unit_test(test_prints),         cmocka_unit_test(test_wrong_values),
                cmocka_unit_test(test_contradictions), cmocka_unit_test(test_warnings),
        };
        return cmocka_run_group_tests(tests, set_up, tear_down);
}
