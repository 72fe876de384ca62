#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "config/checker.h"
#include "config/keys.h"
#include "config/problems.h"
#include "util/http_template.h"

/* One request, of the action or of a check. */
typedef struct Request {
        const Checker *checker;
        const char *section;
        const ConfigHttp *http;
} Request;

/* The path of a key of it, such as "auth.user". */
static const char *key_path(const char *section, const char *name, char path[KEY_PATH]) {
        snprintf(path, KEY_PATH, "%s.http.%s", section, name);
        return path;
}

static bool is_good(const Request *request, const char *name) {
        char path[KEY_PATH];
        return checker_is_good(request->checker, key_path(request->section, name, path));
}

static void add(const Request *request, ConfigProblems *problems, const char *name,
                const char *what) {
        char path[KEY_PATH];
        key_path(request->section, name, path);
        problem_add(problems, checker_origin(request->checker->config, path), "%s: %s", path, what);
}

/* An error at a key that somebody wrote. */
static void error_at(const Request *request, const char *name, const char *what) {
        add(request, &request->checker->errors->errors, name, what);
}

static void warn_at(const Request *request, const char *name, const char *what) {
        add(request, &request->checker->errors->warnings, name, what);
}

static bool has_header(const ConfigHttp *http, const char *name) {
        for (size_t i = 0; i < http->headers.n; i++) {
                if (strcasecmp(http->headers.items[i].name, name) == 0) {
                        return true;
                }
        }
        return false;
}

static void check_auth(const Request *request) {
        const ConfigHttp *http = request->http;
        bool user = *http->auth.user != '\0', password = *http->auth.password_file != '\0';
        bool bearer = *http->auth.bearer_file != '\0';
        if (user && !password && is_good(request, "auth.password_file")) {
                error_at(request, "auth.user", "there is no auth.password_file for it");
        }
        if (password && !user && is_good(request, "auth.user")) {
                error_at(request, "auth.password_file", "there is no auth.user for it");
        }
        if (bearer && (user || password)) {
                error_at(request, "auth.bearer_file",
                         "there is a user or a password too; allowed: one way to authenticate");
        }
        if (!has_header(http, "Authorization")) {
                return;
        }
        if (bearer || password) {
                error_at(request, "headers",
                         "Authorization is what auth makes; allowed: one "
                         "of the two");
        } else {
                warn_at(request, "headers",
                        "Authorization holds a secret; in a file of auth it is out of sight, and "
                        "can be changed without a restart");
        }
}

static void check_tls(const Request *request) {
        const ConfigHttp *http = request->http;
        bool plain = http->url != NULL && strncmp(http->url, "http://", 7) == 0;
        static const char *const paths[] = {"tls.ca_file", "tls.cert_file", "tls.key_file"};
        const char *const files[] = {http->tls.ca_file, http->tls.cert_file, http->tls.key_file};
        for (size_t i = 0; plain && i < 3; i++) {
                if (*files[i] != '\0') {
                        error_at(request, paths[i], "the url has no TLS; allowed: with https");
                }
        }
        if (!plain && *http->tls.key_file != '\0' && *http->tls.cert_file == '\0' &&
            is_good(request, "tls.cert_file")) {
                error_at(request, "tls.key_file", "there is no tls.cert_file for it");
        }
        if (plain && (*http->auth.password_file != '\0' || *http->auth.bearer_file != '\0')) {
                warn_at(request, "url",
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
static int check_request(const Request *request) {
        const ConfigHttp *http = request->http;
        static const char *const paths[] = {[HTTP_PART_URL] = "url",
                                            [HTTP_PART_HEADERS] = "headers",
                                            [HTTP_PART_BODY] = "body"};
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
        error_at(request, paths[part], text);
        return 0;
}

int check_http(const Checker *checker, const char *section, const ConfigHttp *http) {
        const Request request = {.checker = checker, .section = section, .http = http};
        bool good = http->url != NULL && is_good(&request, "url") && is_good(&request, "method") &&
                    is_good(&request, "headers") && is_good(&request, "body");
        check_auth(&request);
        check_tls(&request);
        if (good && !names_host(http)) {
                warn_at(&request, "url",
                        "no {{host}} in it, nor in headers and body, so the request is the same "
                        "for every host");
        }
        return good ? check_request(&request) : 0;
}

void check_http_machine(const Config *config, ConfigErrors *errors, const char *section,
                        const ConfigHttp *http, const char *follows) {
        const struct {
                const char *name, *file;
        } files[] = {
                {"auth.bearer_file", http->auth.bearer_file},
                {"auth.password_file", http->auth.password_file},
                {"tls.ca_file", http->tls.ca_file},
                {"tls.cert_file", http->tls.cert_file},
                {"tls.key_file", http->tls.key_file},
        };
        for (size_t i = 0; i < sizeof(files) / sizeof(files[0]); i++) {
                char path[KEY_PATH];
                if (*files[i].file != '\0') {
                        checker_warn_access(config, errors, key_path(section, files[i].name, path),
                                            files[i].file, R_OK, follows);
                }
        }
}
