#pragma once

/*
 * Reads a JSON document that another program wrote: what is missing or has another type is NULL, 0,
 * false or empty, so that a newer or an older ackd is shown as far as it can be. What is returned
 * belongs to the document.
 */

#include <jansson.h>
#include <stdbool.h>

#include "util/buffer.h"

enum {
        DOCUMENT_E_REFUSED = 1, /* it is {"error": "a sentence"} */
        DOCUMENT_E_FOREIGN,     /* it is no JSON object */
};

/* The answer of a control socket. 0: the caller's *@documentp; positive: *@errorp is a malloc'd
 * sentence; -ENOMEM. */
MUST_CHECK int document_parse(const Buffer *answer, json_t **documentp, char **errorp);

const char *document_text(const json_t *object, const char *key); /* NULL: none */
long long document_int(const json_t *object, const char *key);
double document_number(const json_t *object, const char *key);
bool document_bool(const json_t *object, const char *key);
/* Whether it is there and is not null. */
bool document_has(const json_t *object, const char *key);
