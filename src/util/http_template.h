#pragma once

/*
 * A templated HTTP request: method, URL, headers, body. Compiled once, expanded for each request.
 *
 * The values cannot leave their places: in the URL as util/url_template.h says; in a header no
 * control character (and so no further header); in a body by its content type. JSON: a placeholder
 * stands within a string and is escaped; application/x-www-form-urlencoded: escaped; text/plain: as
 * it is; in any other type only {{host}} and {{host.label}}, whose bytes are harmless everywhere.
 *
 * A JSON body without a Content-Type gets `application/json`.
 */

#include <stdbool.h>
#include <stddef.h>

#include "util/buffer.h"
#include "util/error.h"
#include "util/template.h"
#include "util/url_template.h"

typedef struct HttpHeader {
        const char *name, *value; /* the value is a template */
} HttpHeader;

/* Templates. Borrowed for the call that takes it. */
typedef struct HttpSource {
        const char *method; /* "POST" */
        const char *url;
        const HttpHeader *headers;
        size_t n_headers;
        const char *body; /* "": none */
} HttpSource;

/* Which part of it is at fault. */
typedef enum HttpPart {
        HTTP_PART_URL,
        HTTP_PART_HEADERS,
        HTTP_PART_BODY,
} HttpPart;

/* How a value is written into the body. */
typedef enum HttpBody {
        HTTP_BODY_JSON,
        HTTP_BODY_FORM,
        HTTP_BODY_TEXT,
        HTTP_BODY_OTHER,
} HttpBody;

typedef struct HttpLine {
        char *name;
        Template *value;
        size_t start; /* in HttpTemplate.lines, of the newest expansion */
} HttpLine;

typedef struct HttpTemplate {
        char *method;
        UrlTemplate *url_template;
        HttpLine *headers;
        size_t n_headers;
        Template *body_template; /* NULL: no body */
        HttpBody body_kind;
        Buffer value; /* the one that is just written */
        /* The newest expansion: */
        Buffer url;   /* with a NUL, not counted */
        Buffer lines; /* the headers' values, a NUL behind each */
        Buffer body;  /* any bytes */
} HttpTemplate;

enum {
        HTTP_TEMPLATE_E_INVALID = 1, /* @why: a sentence part for the operator, "is …" */
        HTTP_TEMPLATE_E_POISON = 2,  /* this request can never be expanded; @why: a sentence */

        HTTP_VALUE_BYTES_MAX = 8000,       /* of a header's value: what most servers take */
        HTTP_BODY_BYTES_MAX = 1024 * 1024, /* of an expanded body */
};

/* *@partp is told with HTTP_TEMPLATE_E_INVALID. @why as above; NULL: not wanted. A zeroed template
 * is what deinit leaves. 0, HTTP_TEMPLATE_E_INVALID, -ENOMEM. Pure. */
MUST_CHECK int http_template_init(HttpTemplate *template, const HttpSource *source, HttpPart *partp,
                                  Buffer *why);
void http_template_deinit(HttpTemplate *template);

/* 0, HTTP_TEMPLATE_E_POISON, -ENOMEM. @why is cleared first. */
MUST_CHECK int http_template_expand(HttpTemplate *template, TemplateLookup lookup, void *user,
                                    Buffer *why);

/* A header's value in the newest expansion, with a NUL. */
const char *http_template_header(const HttpTemplate *template, size_t index);

/* Appends the newest expansion as a line for people, control characters escaped, the values of
 * headers that hold secrets masked; @authorization ("Basic", "Bearer"; NULL: none) is what comes
 * from a file, and is shown masked. -ENOMEM. */
MUST_CHECK int http_template_print(const HttpTemplate *template, const char *authorization,
                                   Buffer *out);

/* One header: its name and its value as a template. As http_template_init(). */
MUST_CHECK int http_header_check(const char *name, const char *value, Buffer *why);

/* Whether a header of this name holds a secret: recognised generously, since what is masked without
 * need costs a look into the file and what is not masked ends in a ticket. */
bool http_header_is_secret(const char *name);
