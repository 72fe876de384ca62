#include "util/url_template.h"

#include <arpa/inet.h>
#include <stdlib.h>
#include <string.h>

/*
 * What is literal is checked once, on the text with each placeholder replaced by one MARK, which no
 * URL holds. What the values make of it is checked at each expansion: a value is only ever written
 * in the form of its place, and the path as a whole must have no dot segment.
 */

#define HTTPS   "https://"
#define HTTP    "http://"
#define LETTERS "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
#define DIGITS  "0123456789"
#define LABEL   LETTERS DIGITS "-_"

enum {
        MARK = '\1',
        LABEL_MAX = 63, /* RFC 1035 */
};

typedef enum UrlPlace {
        URL_WHOLE_HOST,
        URL_LABEL,
        URL_PATH,
        URL_QUERY,
} UrlPlace;

struct UrlTemplate {
        Template *template;
        UrlPlace *places; /* of each placeholder; in the order of the pieces, literals left out */
        size_t scheme;    /* bytes of it */
        Buffer value;     /* the one that is just written */
};

DEFINE_CLEANUP(UrlTemplate *, url_template_free)

void url_template_free(UrlTemplate *template) {
        if (template == NULL) {
                return;
        }
        template_free(template->template);
        free(template->places);
        buffer_deinit(&template->value);
        free(template);
}

static int unfit(Buffer *why, const char *text) {
        int r = why != NULL ? buffer_append_string(why, text) : 0;
        return r != 0 ? r : URL_TEMPLATE_E_INVALID;
}

int url_append_escaped(Buffer *out, const void *data, size_t size) {
        static const char hex[] = "0123456789ABCDEF";
        const uint8_t *p = data;
        int r = buffer_reserve(out, 3 * size);
        for (size_t i = 0; i < size && r == 0; i++) {
                char escaped[] = {'%', hex[p[i] >> 4], hex[p[i] & 15]};
                bool plain = p[i] != '\0' && strchr(LETTERS DIGITS "-._~", p[i]) != NULL;
                r = plain ? buffer_append_char(out, (char)p[i])
                          : buffer_append(out, escaped, sizeof(escaped));
        }
        return r;
}

/* Whether the segment is "." or "..", a dot written as %2e too: servers take both for the same. */
static bool is_dot_segment(const char *segment, size_t size) {
        size_t dots = 0;
        for (size_t i = 0; i < size; dots++) {
                if (segment[i] == '.') {
                        i++;
                } else if (size - i >= 3 && strncasecmp(segment + i, "%2e", 3) == 0) {
                        i += 3;
                } else {
                        return false;
                }
        }
        return dots == 1 || dots == 2;
}

static bool has_dot_segment(const char *path, size_t size) {
        const char *end = path + size;
        while (path < end) {
                const char *slash = memchr(path, '/', (size_t)(end - path));
                const char *segment_end = slash != NULL ? slash : end;
                if (is_dot_segment(path, (size_t)(segment_end - path))) {
                        return true;
                }
                path = segment_end + 1;
        }
        return false;
}

/* --- the literal text ------------------------------------------------------------------------ */

static int check_port(const char *port, Buffer *why) {
        size_t size = strlen(port);
        if (size == 0 || size > 5 || strspn(port, DIGITS) != size || atoi(port) < 1 ||
            atoi(port) > 65535) {
                return unfit(why, "has no port from 1 to 65535 behind the colon");
        }
        return 0;
}

static int check_label(const char *label, size_t size, Buffer *why) {
        if (size == 0) {
                return unfit(why, "has an empty label in its host");
        }
        for (size_t i = 0; i < size; i++) {
                if (label[i] != MARK && (label[i] == '\0' || strchr(LABEL, label[i]) == NULL)) {
                        return unfit(why, "has a byte in its host that no host name has");
                }
        }
        if (size > LABEL_MAX || label[0] == '-' || label[size - 1] == '-') {
                return unfit(why, "has a label in its host that is over 63 bytes, or begins or "
                                  "ends with a hyphen");
        }
        return 0;
}

static int check_labels(const char *host, Buffer *why) {
        const char *label = host;
        for (;;) {
                size_t size = strcspn(label, ".");
                int r = check_label(label, size, why);
                if (r != 0) {
                        return r;
                }
                if (label[size] == '\0') {
                        break;
                }
                label += size + 1;
        }
        if (strchr(host, MARK) == NULL) {
                return 0;
        }
        if (strchr(label, MARK) != NULL) {
                return unfit(why, "lets a message choose the machine: a placeholder is part of a "
                                  "label under a literal domain, as in "
                                  "https://{{host.label}}-bmc.example.com; or {{host}} alone");
        }
        /* 10.0.0.{{id}} and {{id}}.0.0.1 are addresses, of which no part is a domain. */
        return strspn(label, DIGITS) == strlen(label)
                       ? unfit(why, "has a placeholder in an IP address")
                       : 0;
}

static int check_literal_ipv6(char *host, char **rest, Buffer *why) {
        struct in6_addr ignored;
        char *close = strchr(host, ']');
        if (close == NULL) {
                return unfit(why, "has a [ in its host and no ]");
        }
        *close = '\0';
        *rest = close + 1;
        return inet_pton(AF_INET6, host + 1, &ignored) == 1
                       ? 0
                       : unfit(why, "has no IPv6 address between its brackets");
}

/* @authority may be changed. *@wholep: the host is {{host}}, or whatever stands alone. */
static int check_authority(char *authority, bool *wholep, Buffer *why) {
        char *rest = authority + strcspn(authority, ":");
        int r;
        if (strchr(authority, '@') != NULL) {
                return unfit(why, "has a user in it; credentials belong into auth");
        }
        if (*authority == '[') {
                r = check_literal_ipv6(authority, &rest, why);
                if (r != 0 || *rest == '\0') {
                        return r;
                }
                return *rest == ':' ? check_port(rest + 1, why)
                                    : unfit(why, "has something behind its IPv6 address");
        }
        bool port = *rest == ':';
        *rest = '\0';
        *wholep = authority[0] == MARK && authority[1] == '\0';
        if (*authority == '\0') {
                return unfit(why, "has no host");
        }
        r = *wholep ? 0 : check_labels(authority, why);
        if (r == 0 && port && strchr(rest + 1, ':') != NULL) {
                return unfit(why, "has an IPv6 address without brackets, or two ports");
        }
        return r == 0 && port ? check_port(rest + 1, why) : r;
}

static int check_path(const char *path, Buffer *why) {
        for (const char *p = path; *p != '\0'; p++) {
                if (*p == '#') {
                        return unfit(why, "has a fragment (#), which is never sent");
                }
                if (*p == '%' && (strspn(p + 1, DIGITS "abcdefABCDEF") < 2)) {
                        return unfit(why, "has a % without two hexadecimal digits behind it");
                }
                if (*p != MARK && strchr(LETTERS DIGITS "-._~!$&'()*+,;=:@/%?", *p) == NULL) {
                        return unfit(why, "has a byte that must be escaped (%20 for a blank)");
                }
        }
        return has_dot_segment(path, strcspn(path, "?"))
                       ? unfit(why, "has a . or .. as a path segment")
                       : 0;
}

/* Gives each placeholder its place: they are the MARKs of the skeleton in their order. */
static void place(UrlTemplate *template, const char *skeleton, const char *path, bool whole) {
        const char *query = strchr(path, '?');
        size_t n = 0;
        for (const char *p = strchr(skeleton, MARK); p != NULL; p = strchr(p + 1, MARK)) {
                template->places[n++] = p < path ? whole ? URL_WHOLE_HOST : URL_LABEL
                                        : query != NULL &&p >= query ? URL_QUERY
                                                                     : URL_PATH;
        }
}

static int check_whole(const UrlTemplate *template, Buffer *why) {
        TemplatePiece piece = template_piece(template->template, 1); /* behind the scheme */
        return piece.field == TEMPLATE_HOST && !piece.label
                       ? 0
                       : unfit(why, "lets a message choose the machine: only {{host}} may stand "
                                    "for the whole host");
}

static int check(UrlTemplate *template, char *skeleton, Buffer *why) {
        bool whole = false;
        template->scheme = strncmp(skeleton, HTTPS, strlen(HTTPS)) == 0 ? strlen(HTTPS)
                           : strncmp(skeleton, HTTP, strlen(HTTP)) == 0 ? strlen(HTTP)
                                                                        : 0;
        if (template->scheme == 0) {
                return unfit(why, "begins with neither https:// nor http://");
        }
        char *authority = skeleton + template->scheme;
        char *path = authority + strcspn(authority, "/?#");
        char *copy = strndup(authority, (size_t)(path - authority));
        if (copy == NULL) {
                return error_origin(-ENOMEM);
        }
        int r = check_authority(copy, &whole, why);
        free(copy);
        r = r == 0 && whole ? check_whole(template, why) : r;
        r = r == 0 ? check_path(path, why) : r;
        if (r == 0) {
                place(template, skeleton, path, whole);
        }
        return r;
}

int url_template_new(UrlTemplate **templatep, const char *text, Buffer *why) {
        CLEANUP(cleanup_url_template_free) UrlTemplate *template = calloc(1, sizeof(*template));
        CLEANUP(buffer_deinit) Buffer skeleton = BUFFER_INIT;
        char *error = NULL;
        if (template == NULL) {
                return error_origin(-ENOMEM);
        }
        int r = template_new(&template->template, text, &error);
        if (r == TEMPLATE_E_SYNTAX) {
                r = why != NULL ? buffer_printf(why, "has %s", error) : 0;
                free(error);
                return r != 0 ? r : URL_TEMPLATE_E_INVALID;
        }
        if (r == 0 && strchr(text, MARK) != NULL) {
                return unfit(why, "has a control character");
        }
        size_t count = r == 0 ? template_count(template->template) : 0;
        template->places = calloc(count + 1, sizeof(*template->places));
        if (r != 0 || template->places == NULL) {
                return r != 0 ? r : error_origin(-ENOMEM);
        }
        for (size_t i = 0; i < count && r == 0; i++) {
                TemplatePiece piece = template_piece(template->template, i);
                r = piece.literal ? buffer_append(&skeleton, piece.text, piece.size)
                                  : buffer_append_char(&skeleton, MARK);
        }
        char *whole = r == 0 ? buffer_string(&skeleton) : NULL;
        if (whole == NULL) {
                return error_origin(-ENOMEM);
        }
        r = check(template, whole, why);
        if (r == 0) {
                *templatep = steal(template);
        }
        return r;
}

bool url_template_is_https(const UrlTemplate *template) {
        return template->scheme == strlen(HTTPS);
}

/* --- the values ------------------------------------------------------------------------------ */

/* NULL: it is fit. */
static const char *label_fault(const Buffer *value) {
        for (size_t i = 0; i < value->size; i++) {
                char c = (char)value->data[i];
                if (c == '.') {
                        return "the value has a dot, and one label is wanted; {{host.label}} is a "
                               "host's first";
                }
                if (c == '\0' || strchr(LABEL, c) == NULL) {
                        return "the value has a byte that no host name has (an IPv6 address can "
                               "be no part of a label)";
                }
        }
        return NULL;
}

/* Writes template->value as its place wants it. NULL: done. */
static const char *write_value(UrlTemplate *template, UrlPlace where, Buffer *out, int *r) {
        const Buffer *value = &template->value;
        bool brackets = false;
        const char *fault = NULL;
        if (value->size == 0 && where != URL_QUERY) {
                return "the value is empty";
        }
        switch (where) {
        case URL_WHOLE_HOST:
                brackets = memchr(value->data, ':', value->size) != NULL;
                *r = brackets ? buffer_append_char(out, '[') : 0;
                *r = *r == 0 ? buffer_append(out, value->data, value->size) : *r;
                *r = *r == 0 && brackets ? buffer_append_char(out, ']') : *r;
                break;
        case URL_LABEL:
                fault = label_fault(value);
                *r = fault == NULL ? buffer_append(out, value->data, value->size) : 0;
                break;
        case URL_PATH:
        case URL_QUERY:
                *r = url_append_escaped(out, value->data, value->size);
                break;
        }
        return fault;
}

/* What the values together can have made wrong. */
static const char *whole_fault(const UrlTemplate *template, const char *url, size_t size) {
        const char *label = url + template->scheme, *end = url + size;
        if (size > URL_BYTES_MAX) {
                return "the URL is longer than 8000 bytes";
        }
        const char *path = label;
        while (path < end && strchr("/?", *path) == NULL) {
                path++;
        }
        while (label < path && *label != '[' && *label != ':') {
                const char *dot = label;
                while (dot < path && strchr(".:", *dot) == NULL) {
                        dot++;
                }
                if (dot - label > LABEL_MAX || *label == '-' || dot[-1] == '-') {
                        return "a label of the URL's host is over 63 bytes, or begins or ends with "
                               "a hyphen";
                }
                label = dot < path && *dot == '.' ? dot + 1 : path;
        }
        const char *query = memchr(path, '?', (size_t)(end - path));
        return has_dot_segment(path, (size_t)((query != NULL ? query : end) - path))
                       ? "a path segment of the URL is . or .."
                       : NULL;
}

static int expand(UrlTemplate *template, TemplateLookup lookup, void *user, Buffer *out,
                  const char **placeholder, const char **why) {
        size_t before = out->size, n = 0;
        for (size_t i = 0; i < template_count(template->template); i++) {
                TemplatePiece piece = template_piece(template->template, i);
                int r = 0;
                if (piece.literal) {
                        r = buffer_append(out, piece.text, piece.size);
                } else {
                        buffer_clear(&template->value);
                        r = template_expand_piece(template->template, i, lookup, user,
                                                  &template->value);
                        *placeholder = piece.name;
                        *why = r > 0    ? template_error_text(r)
                               : r == 0 ? write_value(template, template->places[n++], out, &r)
                                        : NULL;
                }
                if (r != 0 || *why != NULL) {
                        return r < 0 ? r : URL_TEMPLATE_E_POISON;
                }
        }
        *placeholder = "";
        /* A NUL would end it, and strchr() above would take one for a find. */
        *why = whole_fault(template, (const char *)out->data + before, out->size - before);
        return *why != NULL ? URL_TEMPLATE_E_POISON : 0;
}

int url_template_expand(UrlTemplate *template, TemplateLookup lookup, void *user, Buffer *out,
                        const char **placeholder, const char **why) {
        size_t before = out->size;
        *why = NULL;
        int r = expand(template, lookup, user, out, placeholder, why);
        if (r != 0) {
                out->size = before;
        }
        return r;
}
