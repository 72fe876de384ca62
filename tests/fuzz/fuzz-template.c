/*
 * Templates: any text compiles or is refused with a reason; an expansion is the literal text with
 * the values in between, or nothing at all.
 */

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "util/template.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

typedef struct Values {
        const uint8_t *data;
        size_t size;
        size_t added;
} Values;

/* Every value is what follows the template in the input. */
static int look_up(void *user, TemplateField field, const char *path, Buffer *out) {
        Values *values = user;
        assert((field == TEMPLATE_MESSAGE) == (path != NULL));
        assert(path == NULL || (*path != '\0' && *path != '.' && strstr(path, "..") == NULL));
        values->added += values->size;
        return buffer_append(out, values->data, values->size);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
        size_t length = size > 0 ? data[0] : 0;
        length = length < size ? length : size > 0 ? size - 1 : 0;
        char *text = strndup(size > 0 ? (const char *)data + 1 : "", length);
        Values values = {.data = data + (size > 0) + length, .size = size - (size > 0) - length};
        Template *template = NULL;
        char *error = NULL;
        int r = template_new(&template, text, &error);
        if (r == 0) {
                Buffer out = BUFFER_INIT;
                const char *placeholder = NULL;
                assert(buffer_append_string(&out, "kept") == 0);
                r = template_expand(template, look_up, &values, &out, &placeholder);
                assert(r >= 0 && r != TEMPLATE_E_SYNTAX);
                assert(out.size >= 4 && memcmp(out.data, "kept", 4) == 0);
                if (r == 0) {
                        assert(out.size <= 4 + strlen(text) + values.added);
                        assert(memchr(out.data + 4, '\0', out.size - 4) == NULL);
                } else {
                        assert(out.size == 4 && placeholder != NULL);
                }
                if (template_is_literal(template)) {
                        assert(r == 0 && out.size == 4 + strlen(text));
                        assert(memcmp(out.data + 4, text, strlen(text)) == 0);
                }
                buffer_deinit(&out);
        } else {
                assert(r == TEMPLATE_E_SYNTAX && error != NULL && template == NULL);
                free(error);
        }
        template_free(template);
        free(text);
        return 0;
}
