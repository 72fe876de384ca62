#include "app/document.h"

#include <stdio.h>

static int refuse(int r, const char *format, const char *detail, char **errorp) {
        char *error = NULL;
        if (asprintf(&error, format, detail) < 0) {
                return error_origin(-ENOMEM);
        }
        *errorp = error;
        return r;
}

int document_parse(const Buffer *answer, json_t **documentp, char **errorp) {
        json_error_t error;
        json_t *document = json_loadb((const char *)answer->data, answer->size, 0, &error);
        if (document == NULL || !json_is_object(document)) {
                int r = refuse(DOCUMENT_E_FOREIGN,
                               "what listens at the control socket is no ackd: its answer is no "
                               "JSON object (%s)",
                               document == NULL ? error.text : "another value", errorp);
                json_decref(document);
                return r;
        }
        const char *refusal = document_text(document, "error");
        if (refusal != NULL) {
                int r = refuse(DOCUMENT_E_REFUSED, "the daemon refuses: %s", refusal, errorp);
                json_decref(document);
                return r;
        }
        *documentp = document;
        return 0;
}

const char *document_text(const json_t *object, const char *key) {
        return json_string_value(json_object_get(object, key));
}

long long document_int(const json_t *object, const char *key) {
        return json_integer_value(json_object_get(object, key));
}

double document_number(const json_t *object, const char *key) {
        return json_number_value(json_object_get(object, key));
}

bool document_bool(const json_t *object, const char *key) {
        return json_is_true(json_object_get(object, key));
}

bool document_has(const json_t *object, const char *key) {
        const json_t *value = json_object_get(object, key);
        return value != NULL && !json_is_null(value);
}
