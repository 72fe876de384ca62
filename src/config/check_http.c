#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "config/checker.h"
#include "config/problems.h"
#include "util/http_template.h"

#define HTTP RESTART ".http"

static void check_statuses(const Checker *checker, const ConfigHttp *http) {
        const CheckerStatuses lists[] = {
                {HTTP ".status.done", &http->status.done},
                {HTTP ".status.failed", &http->status.failed},
                {HTTP ".status.not_started", &http->status.not_started},
                {HTTP ".status.unknown", &http->status.unknown},
        };
        checker_statuses(checker, lists, 4);
}

/* An error at @path, which somebody wrote. */
static void error_at(const Checker *checker, const char *path, const char *what) {
        problem_add(&checker->errors->errors, checker_origin(checker->config, path), "%s: %s", path,
                    what);
}

static void warn_at(const Checker *checker, const char *path, const char *what) {
        problem_add(&checker->errors->warnings, checker_origin(checker->config, path), "%s: %s",
                    path, what);
}

static bool has_header(const ConfigHttp *http, const char *name) {
        for (size_t i = 0; i < http->headers.n; i++) {
                if (strcasecmp(http->headers.items[i].name, name) == 0) {
                        return true;
                }
        }
        return false;
}

static void check_auth(const Checker *checker, const ConfigHttp *http) {
        bool user = *http->auth.user != '\0', password = *http->auth.password_file != '\0';
        bool bearer = *http->auth.bearer_file != '\0';
        if (user && !password && checker_is_good(checker, HTTP ".auth.password_file")) {
                error_at(checker, HTTP ".auth.user", "there is no auth.password_file for it");
        }
        if (password && !user && checker_is_good(checker, HTTP ".auth.user")) {
                error_at(checker, HTTP ".auth.password_file", "there is no auth.user for it");
        }
        if (bearer && (user || password)) {
                error_at(checker, HTTP ".auth.bearer_file",
                         "there is a user or a password too; allowed: one way to authenticate");
        }
        if (!has_header(http, "Authorization")) {
                return;
        }
        if (bearer || password) {
                error_at(checker, HTTP ".headers",
                         "Authorization is what auth makes; allowed: one "
                         "of the two");
        } else {
                warn_at(checker, HTTP ".headers",
                        "Authorization holds a secret; in a file of auth it is out of sight, and "
                        "can be changed without a restart");
        }
}

static void check_tls(const Checker *checker, const ConfigHttp *http) {
        bool plain = http->url != NULL && strncmp(http->url, "http://", 7) == 0;
        static const char *const paths[] = {HTTP ".tls.ca_file", HTTP ".tls.cert_file",
                                            HTTP ".tls.key_file"};
        const char *const files[] = {http->tls.ca_file, http->tls.cert_file, http->tls.key_file};
        for (size_t i = 0; plain && i < 3; i++) {
                if (*files[i] != '\0') {
                        error_at(checker, paths[i], "the url has no TLS; allowed: with https");
                }
        }
        if (!plain && *http->tls.key_file != '\0' && *http->tls.cert_file == '\0' &&
            checker_is_good(checker, HTTP ".tls.cert_file")) {
                error_at(checker, HTTP ".tls.key_file", "there is no tls.cert_file for it");
        }
        if (plain && (*http->auth.password_file != '\0' || *http->auth.bearer_file != '\0')) {
                warn_at(checker, HTTP ".url",
                        "has no TLS: whoever is on the way can read the secret of auth");
        }
}

static bool names_host(const ConfigHttp *http) {
        bool named = strstr(http->url, "{{") != NULL || strstr(http->body, "{{") != NULL;
        for (size_t i = 0; i < http->headers.n; i++) {
                named = named || strstr(http->headers.items[i].value, "{{") != NULL;
        }
        return named;
}

/* What url, headers, method and body are together; each alone was checked when it was read. */
static int check_request(const Checker *checker, const ConfigHttp *http) {
        static const char *const paths[] = {[HTTP_PART_URL] = HTTP ".url",
                                            [HTTP_PART_HEADERS] = HTTP ".headers",
                                            [HTTP_PART_BODY] = HTTP ".body"};
        CLEANUP(buffer_deinit) Buffer why = BUFFER_INIT;
        HttpTemplate template = {0};
        HttpPart part = HTTP_PART_URL;
        HttpHeader *headers = calloc(http->headers.n + 1, sizeof(*headers));
        if (headers == NULL) {
                return error_origin(-ENOMEM);
        }
        for (size_t i = 0; i < http->headers.n; i++) {
                headers[i] =
                        (HttpHeader){http->headers.items[i].name, http->headers.items[i].value};
        }
        HttpSource source = {
                .method = http->method,
                .url = http->url,
                .headers = headers,
                .n_headers = http->headers.n,
                .body = http->body,
        };
        int r = http_template_init(&template, &source, &part, &why);
        free(headers);
        if (r == 0) {
                http_template_deinit(&template);
                return 0;
        }
        const char *text = r > 0 ? buffer_string(&why) : NULL;
        if (text == NULL) {
                return r < 0 ? r : error_origin(-ENOMEM);
        }
        error_at(checker, paths[part], text);
        return 0;
}

int check_http(const Checker *checker) {
        const ConfigHttp *http = &checker->config->handlers.restart.http;
        bool good = http->url != NULL && checker_is_good(checker, HTTP ".url") &&
                    checker_is_good(checker, HTTP ".method") &&
                    checker_is_good(checker, HTTP ".headers") &&
                    checker_is_good(checker, HTTP ".body");
        check_statuses(checker, http);
        check_auth(checker, http);
        check_tls(checker, http);
        if (good && !names_host(http)) {
                warn_at(checker, HTTP ".url",
                        "no {{host}} in it, nor in headers and body, so the request is the same "
                        "for every host");
        }
        return good ? check_request(checker, http) : 0;
}

void check_http_machine(const Config *config, ConfigErrors *errors) {
        const ConfigHttp *http = &config->handlers.restart.http;
        const struct {
                const char *key, *path;
        } files[] = {
                {HTTP ".auth.bearer_file", http->auth.bearer_file},
                {HTTP ".auth.password_file", http->auth.password_file},
                {HTTP ".tls.ca_file", http->tls.ca_file},
                {HTTP ".tls.cert_file", http->tls.cert_file},
                {HTTP ".tls.key_file", http->tls.key_file},
        };
        for (size_t i = 0; i < sizeof(files) / sizeof(files[0]); i++) {
                if (*files[i].path != '\0') {
                        checker_warn_access(config, errors, files[i].key, files[i].path, R_OK,
                                            "no host can be restarted");
                }
        }
}
