#pragma once

/*
 * Templates of http and https URLs: a value can change what it stands for and nothing else.
 *
 *   https://{{host}}:8443/…                 the whole host: an IPv6 address gets its brackets
 *   https://{{host.label}}-bmc.example.com/…  part of one label, under a domain that is literal
 *   https://api.example.com/v1/{{host}}/…   (part of) one path segment, escaped
 *   https://api.example.com/reset?id={{id}} escaped
 *
 * Scheme, port, the last label of the domain and the slashes are always literal, so a message
 * chooses neither another machine than the operator's template allows nor another path on it. No
 * user or password (they would stand in every log), no fragment, no "." or ".." segments.
 */

#include <stddef.h>

#include "util/buffer.h"
#include "util/error.h"
#include "util/template.h"

typedef struct UrlTemplate UrlTemplate;

enum {
        URL_TEMPLATE_E_INVALID = 1, /* @why: a sentence part for the operator */
        URL_TEMPLATE_E_POISON = 2,  /* this request can never be expanded */

        URL_BYTES_MAX = 8000, /* of an expanded URL: RFC 9110, 4.1 wants so many supported */
};

/* @why gets "has …" or "is …"; NULL: not wanted. 0, URL_TEMPLATE_E_INVALID, -ENOMEM. Pure. */
MUST_CHECK int url_template_new(UrlTemplate **templatep, const char *text, Buffer *why);
void url_template_free(UrlTemplate *template); /* NULL is allowed */

/* Adds the URL to the end of @out, no NUL behind it. URL_TEMPLATE_E_POISON: @out is as it was,
 * *@why is a static sentence part and *@placeholder the template's, "" when it is no single one's
 * fault. */
MUST_CHECK int url_template_expand(UrlTemplate *template, TemplateLookup lookup, void *user,
                                   Buffer *out, const char **placeholder, const char **why);

/* Whether the scheme is https. */
bool url_template_is_https(const UrlTemplate *template);

/* Adds @data as it stands in a path segment, a query, or a form: everything but letters, digits and
 * - . _ ~ as %XX. -ENOMEM, and then @out is as it was. */
MUST_CHECK int url_append_escaped(Buffer *out, const void *data, size_t size);
