#include "app/document.h"

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
