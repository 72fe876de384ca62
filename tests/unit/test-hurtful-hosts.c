/*
 * Each entry of tests/hurtful-hosts.json, which says what it is made of, through all that a host
 * goes through on its way to a command or an endpoint: it is refused, or it is one name, which is
 * one inert argument, one part of a URL, one value of a header and one string of JSON. The system
 * test test_hurtful_hosts.py sends the same ones through a daemon.
 */

#include "test.h"

#include <jansson.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/message.h"
#include "handlers/actions/command.h"
#include "handlers/actions/lookup.h"
#include "util/http_template.h"

enum {
        LEAST = 90, /* entries; fewer, and the file is not the one that was meant */
        PREFIX = sizeof("https://") - 1,
};

static const MessageFormat format = {.host = "host", .id = "id", .requested_at = "requested_at"};

/* What the first placeholder of a URL stands for is written like this. */
static const char *const urls[] = {
        "https://{{host}}/x",
        "https://{{host.label}}-bmc.example.com/x",
        "https://api.example.com/hosts/{{host}}",
        "https://api.example.com/reset?host={{host}}",
};

static void append_hex(Buffer *out, const char *hex) {
        unsigned byte;
        for (; sscanf(hex, "%2x", &byte) == 1; hex += 2) {
                assert_int_equal(buffer_append_char(out, (char)byte), 0);
        }
}

/* {"id": "1", "host": …} with the value as the entry has it. */
static void write_message(const json_t *entry, Buffer *out) {
        const char *value = json_string_value(json_object_get(entry, "value"));
        buffer_clear(out);
        assert_int_equal(buffer_append_string(out, "{\"id\": \"1\", \"host\": "), 0);
        if (value != NULL) {
                assert_int_equal(buffer_append_string(out, value), 0);
        } else {
                append_hex(out, json_string_value(json_object_get(entry, "bytes")));
        }
        assert_int_equal(buffer_append_string(out, "}"), 0);
}

static const char *text_of(const json_t *entry, const char *key) {
        return json_string_value(json_object_get(entry, key));
}

/* Whatever was written, nothing but these is left of it, and it cannot pass for an option. */
static void check_bytes(const char *host) {
        size_t size = strlen(host);
        assert_in_range(size, 1, HOST_SIZE - 1);
        assert_int_equal(strspn(host, "abcdefghijklmnopqrstuvwxyz0123456789-.:"), size);
        assert_true(host[0] != '-' && host[0] != '.');
        assert_null(strstr(host, ".."));
}

static void check_command(const ActionRequest *request) {
        static const char *const argv[] = {"/usr/bin/ssh", "{{host}}", "--host={{host}}",
                                           "{{message.host}}", NULL};
        Command command;
        assert_int_equal(command_init(&command, argv, NULL), 0);
        assert_int_equal(command_expand(&command, request, NULL), 0);
        assert_string_equal(command.argv[1], request->host);
        assert_true(command.argv[1][0] != '-');
        assert_memory_equal(command.argv[2], "--host=", 7);
        assert_string_equal(command.argv[2] + 7, request->host);
        assert_true(command.argv[3][0] != '-'); /* as it was written */
        assert_null(command.argv[4]);
        command_deinit(&command);
}

/* The first label of the host, or the refusal of an address. */
static void check_label(const ActionRequest *request) {
        static const char *const argv[] = {"/usr/bin/ipmitool", "-H", "{{host.label}}-bmc", NULL};
        Command command;
        Buffer why = BUFFER_INIT;
        assert_int_equal(command_init(&command, argv, NULL), 0);
        int r = command_expand(&command, request, &why);
        if (host_is_address(request->host)) {
                assert_int_equal(r, COMMAND_E_POISON);
                assert_non_null(strstr(buffer_string(&why), "IP address"));
        } else {
                size_t label = strcspn(request->host, ".");
                assert_int_equal(r, 0);
                assert_memory_equal(command.argv[2], request->host, label);
                assert_string_equal(command.argv[2] + label, "-bmc");
        }
        buffer_deinit(&why);
        command_deinit(&command);
}

/* What stands in a URL for a host: a colon is escaped, all else is its own. */
static void append_segment(Buffer *out, const char *host) {
        for (const char *p = host; *p != '\0'; p++) {
                assert_int_equal(*p == ':' ? buffer_append_string(out, "%3A")
                                           : buffer_append_char(out, *p),
                                 0);
        }
}

/* NULL: the URL is refused. The caller frees it. */
static char *expected_url(size_t index, const char *host) {
        Buffer out = BUFFER_INIT;
        bool address = host_is_address(host);
        int label = (int)strcspn(host, ".");
        switch (index) {
        case 0:
                assert_int_equal(buffer_printf(&out,
                                               strchr(host, ':') != NULL ? "https://[%s]/x"
                                                                         : "https://%s/x",
                                               host),
                                 0);
                break;
        case 1:
                if (address || label + strlen("-bmc") > 63) {
                        return NULL;
                }
                assert_int_equal(buffer_printf(&out, "https://%.*s-bmc.example.com/x", label, host),
                                 0);
                break;
        case 2:
                assert_int_equal(buffer_append_string(&out, "https://api.example.com/hosts/"), 0);
                append_segment(&out, host);
                break;
        default:
                assert_int_equal(buffer_append_string(&out, "https://api.example.com/reset?host="),
                                 0);
                append_segment(&out, host);
        }
        return buffer_string(&out);
}

static void check_url(const ActionRequest *request, size_t index) {
        UrlTemplate *template = NULL;
        Buffer out = BUFFER_INIT;
        const char *placeholder = NULL, *why = NULL;
        char *expected = expected_url(index, request->host);
        assert_int_equal(url_template_new(&template, urls[index], NULL), 0);
        int r = url_template_expand(template, action_look_up, (void *)request, &out, &placeholder,
                                    &why);
        if (expected == NULL) {
                assert_int_equal(r, URL_TEMPLATE_E_POISON);
                assert_non_null(why);
        } else {
                assert_int_equal(r, 0);
                assert_string_equal(buffer_string(&out), expected);
                assert_true(out.size > PREFIX);
        }
        free(expected);
        buffer_deinit(&out);
        url_template_free(template);
}

static void check_request(const ActionRequest *request) {
        static const HttpHeader headers[] = {{"X-Host", "{{host}}"}};
        const HttpSource source = {.method = "POST",
                                   .url = "https://api.example.com/reset",
                                   .headers = headers,
                                   .n_headers = 1,
                                   .body = "{\"host\": \"{{host}}\", \"url\": \"//{{host}}/\"}"};
        HttpTemplate template;
        HttpPart part;
        Buffer why = BUFFER_INIT;
        json_error_t error;
        assert_int_equal(http_template_init(&template, &source, &part, NULL), 0);
        assert_int_equal(http_template_expand(&template, action_look_up, (void *)request, &why), 0);
        assert_string_equal(http_template_header(&template, 0), request->host);
        json_t *body = json_loadb((const char *)template.body.data, template.body.size, 0, &error);
        assert_non_null(body);
        assert_int_equal(json_object_size(body), 2);
        assert_string_equal(text_of(body, "host"), request->host);
        json_decref(body);
        buffer_deinit(&why);
        http_template_deinit(&template);
}

/* A host that is taken is named once: whoever reads the name again gets the same. */
static void check_again(const char *host) {
        char again[HOST_SIZE];
        const char *why = NULL;
        assert_int_equal(host_canonical(host, strlen(host), again, &why), 0);
        assert_string_equal(again, host);
}

static void check_taken(const Request *read, const Buffer *message) {
        const ActionRequest request = {.run = 1,
                                       .host = read->host,
                                       .id = read->id,
                                       .payload = message->data,
                                       .payload_size = message->size,
                                       .attempt = 1};
        check_bytes(read->host);
        check_again(read->host);
        check_command(&request);
        check_label(&request);
        for (size_t i = 0; i < sizeof(urls) / sizeof(urls[0]); i++) {
                check_url(&request, i);
        }
        check_request(&request);
}

/* Whether it is what the entry says; if not, it is told. */
static bool check_entry(const json_t *entry) {
        Buffer message = BUFFER_INIT;
        Request request = {.host = "untouched"};
        MessageFault fault = {0};
        const char *host = text_of(entry, "host"), *reason = text_of(entry, "reason");
        write_message(entry, &message);
        int r = message_decode(&format, message.data, message.size, &request, &fault);
        bool good = host != NULL ? r == 0 && strcmp(request.host, host) == 0
                                 : r == MESSAGE_E_POISON && strcmp(fault.reason, reason) == 0 &&
                                           strstr(fault.detail, text_of(entry, "says")) != NULL;
        if (!good) {
                print_error("%s: expected %s, got %s: %s\n", text_of(entry, "why"),
                            host != NULL ? host : reason, r == 0 ? request.host : fault.reason,
                            fault.detail);
        } else if (host != NULL) {
                check_taken(&request, &message);
        } else {
                assert_string_equal(request.host, "untouched");
        }
        buffer_deinit(&message);
        return good;
}

static void test_hurtful_hosts(void **state) {
        (void)state;
        json_error_t error;
        size_t wrong = 0;
        const char *path = getenv("HURTFUL_HOSTS");
        json_t *entries = path != NULL ? json_load_file(path, 0, &error) : NULL;
        if (entries == NULL) {
                fail_msg("HURTFUL_HOSTS must name tests/hurtful-hosts.json: %s",
                         path != NULL ? error.text : "it is not set");
        }
        assert_true(json_array_size(entries) >= LEAST);
        for (size_t i = 0; i < json_array_size(entries); i++) {
                wrong += check_entry(json_array_get(entries, i)) ? 0 : 1;
        }
        json_decref(entries);
        assert_int_equal(wrong, 0);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_hurtful_hosts),
        };
        return cmocka_run_group_tests(tests, NULL, NULL);
}
