#include "util/http_template.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "util/json.h"
#include "util/json_syntax.h"

#define MASK "******"

DEFINE_CLEANUP(Template *, template_free)

void http_template_deinit(HttpTemplate *template) {
        free(template->method);
        url_template_free(template->url_template);
        for (size_t i = 0; template->headers != NULL && i < template->n_headers; i++) {
                free(template->headers[i].name);
                template_free(template->headers[i].value);
        }
        free(template->headers);
        template_free(template->body_template);
        buffer_deinit(&template->value);
        buffer_deinit(&template->url);
        buffer_deinit(&template->lines);
        buffer_deinit(&template->body);
        *template = (HttpTemplate){0};
}

/* --- what the operator wrote ----------------------------------------------------------------- */

static int unfit(Buffer *why, const char *format, ...) __attribute__((format(printf, 2, 3)));
static int unfit(Buffer *why, const char *format, ...) {
        if (why == NULL) {
                return HTTP_TEMPLATE_E_INVALID;
        }
        va_list ap;
        va_start(ap, format);
        int r = buffer_vprintf(why, format, ap);
        va_end(ap);
        return r != 0 ? r : HTTP_TEMPLATE_E_INVALID;
}

static int compile(Template **templatep, const char *text, Buffer *why) {
        char *error = NULL;
        int r = template_new(templatep, text, &error);
        if (r == TEMPLATE_E_SYNTAX) {
                r = unfit(why, "has %s", error);
                free(error);
        }
        return r;
}

bool http_header_is_secret(const char *name) {
        static const char *const words[] = {"auth",  "cookie", "credential", "key",
                                            "passw", "secret", "session",    "token"};
        for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++) {
                if (strcasestr(name, words[i]) != NULL) {
                        return true;
                }
        }
        return false;
}

/* What frames the message, or says where it goes, is not the operator's to write. */
static bool is_framing(const char *name) {
        static const char *const names[] = {"Connection", "Content-Length",
                                            "Expect",     "Host",
                                            "Keep-Alive", "TE",
                                            "Trailer",    "Transfer-Encoding",
                                            "Upgrade",    "Proxy-Connection"};
        for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
                if (strcasecmp(names[i], name) == 0) {
                        return true;
                }
        }
        return false;
}

/* RFC 9110, 5.5: visible bytes, blanks, tabs, and those over 0x7f. */
static bool is_value(const char *value, size_t size) {
        for (size_t i = 0; i < size; i++) {
                unsigned char c = (unsigned char)value[i];
                if ((c < ' ' && c != '\t') || c == 0x7f) {
                        return false;
                }
        }
        return true;
}

static int check_header(const char *name, const char *value, Template **valuep, Buffer *why) {
        if (*name == '\0' ||
            name[strspn(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
                              "!#$%&'*+-.^_`|~")] != '\0') {
                return unfit(why, "is not a name of a header");
        }
        if (is_framing(name)) {
                return unfit(why, "is a header that ackd writes itself");
        }
        if (!is_value(value, strlen(value))) {
                return unfit(why, "has a control character in its value");
        }
        return compile(valuep, value, why);
}

int http_header_check(const char *name, const char *value, Buffer *why) {
        CLEANUP(cleanup_template_free) Template *template = NULL;
        return check_header(name, value, &template, why);
}

static int add_header(HttpTemplate *template, const char *name, const char *value, Buffer *why) {
        HttpLine *line = &template->headers[template->n_headers];
        for (size_t i = 0; i < template->n_headers; i++) {
                if (strcasecmp(template->headers[i].name, name) == 0) {
                        return unfit(why, "has %s twice", name);
                }
        }
        int r = check_header(name, value, &line->value, why);
        if (r != 0) {
                return r;
        }
        template->n_headers++;
        line->name = strdup(name);
        return line->name == NULL ? error_origin(-ENOMEM) : 0;
}

static int init_headers(HttpTemplate *template, const HttpSource *source, Buffer *why) {
        int r = 0;
        template->headers = calloc(source->n_headers + 1, sizeof(*template->headers));
        if (template->headers == NULL) {
                return error_origin(-ENOMEM);
        }
        for (size_t i = 0; i < source->n_headers && r == 0; i++) {
                r = add_header(template, source->headers[i].name, source->headers[i].value, why);
        }
        return r;
}

static const char *find_type(const HttpSource *source) {
        for (size_t i = 0; i < source->n_headers; i++) {
                if (strcasecmp(source->headers[i].name, "Content-Type") == 0) {
                        return source->headers[i].value;
                }
        }
        return NULL;
}

static bool is_type(const char *type, size_t size, const char *wanted) {
        return strlen(wanted) == size && strncasecmp(type, wanted, size) == 0;
}

/* @type NULL: there is none, and the body says itself what it is. */
static HttpBody body_kind(const char *type, const char *body) {
        if (type == NULL) {
                char first = body[strspn(body, " \t\r\n")];
                return first == '{' || first == '[' ? HTTP_BODY_JSON : HTTP_BODY_TEXT;
        }
        size_t size = strcspn(type, "; \t");
        if (is_type(type, size, "application/json") ||
            (size > 5 && strncasecmp(type + size - 5, "+json", 5) == 0)) {
                return HTTP_BODY_JSON;
        }
        if (is_type(type, size, "application/x-www-form-urlencoded")) {
                return HTTP_BODY_FORM;
        }
        return is_type(type, size, "text/plain") ? HTTP_BODY_TEXT : HTTP_BODY_OTHER;
}

/* Whether the text behind @inside's literals ends within a string; a backslash must not stand
 * before a placeholder. False: it does. */
static bool walk_string(const char *text, size_t size, bool *inside) {
        bool escaped = false;
        for (size_t i = 0; i < size; i++) {
                if (escaped) {
                        escaped = false;
                } else if (*inside && text[i] == '\\') {
                        escaped = true;
                } else if (text[i] == '"') {
                        *inside = !*inside;
                }
        }
        return !escaped;
}

/* JSON when each placeholder is an x. */
static int check_json(const Template *body, Buffer *why) {
        CLEANUP(buffer_deinit) Buffer sample = BUFFER_INIT;
        bool inside = false, whole = true;
        int r = 0;
        for (size_t i = 0; i < template_count(body) && r == 0; i++) {
                TemplatePiece piece = template_piece(body, i);
                if (piece.literal) {
                        whole = walk_string(piece.text, piece.size, &inside);
                        r = buffer_append(&sample, piece.text, piece.size);
                        continue;
                }
                if (!inside || !whole) {
                        return unfit(why,
                                     "has %s outside of a string; in a JSON body a placeholder "
                                     "stands between quotes",
                                     piece.name);
                }
                r = buffer_append_char(&sample, 'x');
        }
        size_t at = 0;
        if (r == 0 && !json_syntax_is_valid((const char *)sample.data, sample.size, &at)) {
                int shown = sample.size - at > 20 ? 20 : (int)(sample.size - at);
                return shown == 0 ? unfit(why, "is to be JSON and ends too early")
                                  : unfit(why, "is to be JSON and is not, at \"%.*s\"", shown,
                                          (const char *)sample.data + at);
        }
        return r;
}

static int check_body(const HttpTemplate *template, Buffer *why) {
        const Template *body = template->body_template;
        if (template->body_kind == HTTP_BODY_JSON) {
                return check_json(body, why);
        }
        for (size_t i = 0; i < template_count(body); i++) {
                TemplatePiece piece = template_piece(body, i);
                if (template->body_kind == HTTP_BODY_OTHER && !piece.literal &&
                    piece.field != TEMPLATE_HOST) {
                        return unfit(why,
                                     "has %s, which cannot be escaped for this Content-Type; only "
                                     "for JSON, application/x-www-form-urlencoded and text/plain",
                                     piece.name);
                }
        }
        return 0;
}

static int init_body(HttpTemplate *template, const HttpSource *source, Buffer *why) {
        const char *type = find_type(source);
        if (source->body[0] == '\0') {
                return 0;
        }
        if (strcmp(source->method, "GET") == 0) {
                return unfit(why, "is not sent with the method GET; leave it out");
        }
        if (type != NULL && strstr(type, "{{") != NULL) {
                return unfit(why, "needs a Content-Type without placeholders");
        }
        int r = compile(&template->body_template, source->body, why);
        if (r != 0) {
                return r;
        }
        template->body_kind = body_kind(type, source->body);
        r = check_body(template, why);
        if (r == 0 && type == NULL && template->body_kind == HTTP_BODY_JSON) {
                r = add_header(template, "Content-Type", "application/json", NULL);
        }
        return r;
}

static int init(HttpTemplate *template, const HttpSource *source, HttpPart *partp, Buffer *why) {
        *partp = HTTP_PART_URL;
        template->method = strdup(source->method);
        if (template->method == NULL) {
                return error_origin(-ENOMEM);
        }
        int r = url_template_new(&template->url_template, source->url, why);
        if (r != 0) {
                return r < 0 ? r : HTTP_TEMPLATE_E_INVALID;
        }
        *partp = HTTP_PART_HEADERS;
        r = init_headers(template, source, why);
        if (r != 0) {
                return r;
        }
        *partp = HTTP_PART_BODY;
        return init_body(template, source, why);
}

int http_template_init(HttpTemplate *template, const HttpSource *source, HttpPart *partp,
                       Buffer *why) {
        HttpTemplate new = {0};
        HttpPart part;
        int r = init(&new, source, &part, why);
        if (r != 0) {
                http_template_deinit(&new);
                *partp = r > 0 ? part : *partp;
                return r;
        }
        *template = new;
        return 0;
}

/* --- a request ------------------------------------------------------------------------------- */

static int poison(Buffer *why, const char *where, const char *placeholder, const char *what) {
        int r = buffer_printf(why, "%s%s%s: %s", where, *placeholder != '\0' ? ": " : "",
                              placeholder, what);
        return r != 0 ? r : HTTP_TEMPLATE_E_POISON;
}

static int expand_url(HttpTemplate *template, TemplateLookup lookup, void *user, Buffer *why) {
        const char *placeholder, *what;
        buffer_clear(&template->url);
        int r = url_template_expand(template->url_template, lookup, user, &template->url,
                                    &placeholder, &what);
        if (r > 0) {
                return poison(why, "url", placeholder, what);
        }
        return r == 0 && buffer_string(&template->url) == NULL ? error_origin(-ENOMEM) : r;
}

static int expand_headers(HttpTemplate *template, TemplateLookup lookup, void *user, Buffer *why) {
        Buffer *lines = &template->lines;
        buffer_clear(lines);
        int r = buffer_reserve(lines, 1); /* so that there is something to point at */
        if (r != 0) {
                return r;
        }
        for (size_t i = 0; i < template->n_headers; i++) {
                HttpLine *line = &template->headers[i];
                const char *placeholder = "";
                line->start = lines->size;
                r = template_expand(line->value, lookup, user, lines, &placeholder);
                size_t size = lines->size - line->start;
                const char *what = r > 0 ? template_error_text(r)
                                   : r == 0 && !is_value((char *)lines->data + line->start, size)
                                           ? "a value has a control character, which no header "
                                             "holds"
                                   : size > HTTP_VALUE_BYTES_MAX ? "is longer than 8000 bytes"
                                                                 : NULL;
                if (r >= 0 && what != NULL) {
                        const char *colon = *placeholder != '\0' ? placeholder : line->name;
                        return poison(why, "headers", colon, what);
                }
                r = r == 0 ? buffer_append_char(lines, '\0') : r;
                if (r != 0) {
                        return r;
                }
        }
        return 0;
}

static int append_json(Buffer *out, const Buffer *value) {
        size_t used = 0;
        int r = buffer_reserve(out, value->size * JSON_ESCAPE_MAX);
        if (r == 0) {
                out->size += json_escape((char *)out->data + out->size,
                                         value->size * JSON_ESCAPE_MAX, (const char *)value->data,
                                         value->size, JSON_ESCAPE_STRING, &used);
        }
        return r;
}

static int write_value(HttpTemplate *template) {
        const Buffer *value = &template->value;
        switch (template->body_kind) {
        case HTTP_BODY_JSON:
                return value->size > 0 ? append_json(&template->body, value) : 0;
        case HTTP_BODY_FORM:
                return url_append_escaped(&template->body, value->data, value->size);
        case HTTP_BODY_TEXT:
        case HTTP_BODY_OTHER:
                break;
        }
        return buffer_append(&template->body, value->data, value->size);
}

static int expand_body(HttpTemplate *template, TemplateLookup lookup, void *user, Buffer *why) {
        const Template *body = template->body_template;
        buffer_clear(&template->body);
        for (size_t i = 0; body != NULL && i < template_count(body); i++) {
                TemplatePiece piece = template_piece(body, i);
                int r;
                if (piece.literal) {
                        r = buffer_append(&template->body, piece.text, piece.size);
                } else {
                        buffer_clear(&template->value);
                        r = template_expand_piece(body, i, lookup, user, &template->value);
                        if (r > 0) {
                                return poison(why, "body", piece.name, template_error_text(r));
                        }
                        r = r == 0 ? write_value(template) : r;
                }
                if (r != 0) {
                        return r;
                }
        }
        return template->body.size > HTTP_BODY_BYTES_MAX
                       ? poison(why, "body", "", "it is longer than 1 MiB")
                       : 0;
}

int http_template_expand(HttpTemplate *template, TemplateLookup lookup, void *user, Buffer *why) {
        buffer_clear(why);
        int r = expand_url(template, lookup, user, why);
        r = r == 0 ? expand_headers(template, lookup, user, why) : r;
        return r == 0 ? expand_body(template, lookup, user, why) : r;
}

const char *http_template_header(const HttpTemplate *template, size_t index) {
        return (const char *)template->lines.data + template->headers[index].start;
}

/* --- for people ------------------------------------------------------------------------------ */

static int print_escaped(Buffer *out, const char *text, size_t size) {
        size_t used = 0;
        int r = buffer_reserve(out, size * JSON_ESCAPE_MAX);
        if (r == 0 && size > 0) {
                out->size += json_escape((char *)out->data + out->size, size * JSON_ESCAPE_MAX,
                                         text, size, JSON_ESCAPE_CONTROL, &used);
        }
        return r;
}

int http_template_print(const HttpTemplate *template, const char *authorization, Buffer *out) {
        const char *before = " with";
        int r = buffer_printf(out, "%s %s", template->method, (const char *)template->url.data);
        for (size_t i = 0; i < template->n_headers && r == 0; i++) {
                const char *name = template->headers[i].name;
                const char *value =
                        http_header_is_secret(name) ? MASK : http_template_header(template, i);
                r = buffer_printf(out, "%s %s: ", before, name);
                r = r == 0 ? print_escaped(out, value, strlen(value)) : r;
                before = ",";
        }
        if (r == 0 && authorization != NULL) {
                r = buffer_printf(out, "%s Authorization: %s " MASK, before, authorization);
                before = ",";
        }
        if (r == 0 && template->body_template != NULL) {
                r = buffer_printf(out, "%s the body ", before);
                r = r == 0 ? print_escaped(out, (const char *)template->body.data,
                                           template->body.size)
                           : r;
        }
        return r;
}
