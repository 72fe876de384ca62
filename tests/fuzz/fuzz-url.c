/*
 * Templates of URLs, and of HTTP requests: any text compiles or is refused with a reason; whatever
 * the values are, an expansion keeps the template's scheme, slashes and last label of the domain,
 * and no line gets an end.
 */

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "util/http_template.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

typedef struct Values {
        const uint8_t *data;
        size_t size;
} Values;

/* Every value is what follows the template in the input. A host is canonical when it gets here, and
 * nothing but one may be the whole authority. */
static int look_up(void *user, TemplateField field, const char *path, Buffer *out) {
        const Values *values = user;
        (void)path;
        return field == TEMPLATE_HOST ? buffer_append_string(out, "2001:db8::1")
                                      : buffer_append(out, values->data, values->size);
}

static size_t count(const char *text, size_t size, char c) {
        size_t n = 0;
        for (size_t i = 0; i < size; i++) {
                n += text[i] == c;
        }
        return n;
}

static void check_url(const char *text, const char *url, size_t size) {
        size_t scheme = strncmp(text, "https", 5) == 0 ? strlen("https://") : strlen("http://");
        assert(size > scheme && memcmp(url, text, scheme) == 0);
        assert(count(url, size, '/') == count(text, strlen(text), '/'));
        assert(count(url, size, '?') == count(text, strlen(text), '?'));
        for (size_t i = 0; i < size; i++) {
                assert((unsigned char)url[i] > ' ' && (unsigned char)url[i] < 0x7f &&
                       url[i] != '#');
        }
        const char *authority = url + scheme;
        assert(memchr(authority, '@', strcspn(authority, "/?")) == NULL);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
        size_t length = size > 0 ? data[0] : 0;
        length = length < size ? length : size > 0 ? size - 1 : 0;
        char *text = strndup(size > 0 ? (const char *)data + 1 : "", length);
        Values values = {.data = data + (size > 0) + length, .size = size - (size > 0) - length};
        const HttpHeader header = {"X-Test", text};
        HttpTemplate template;
        HttpPart part = HTTP_PART_URL;
        Buffer why = BUFFER_INIT;
        UrlTemplate *url = NULL;

        int r = url_template_new(&url, text, &why);
        assert(r == 0 || (r == URL_TEMPLATE_E_INVALID && why.size > 0));
        if (r == 0) {
                Buffer out = BUFFER_INIT;
                const char *placeholder, *said;
                if (url_template_expand(url, look_up, &values, &out, &placeholder, &said) == 0) {
                        assert(buffer_string(&out) != NULL);
                        check_url(text, (const char *)out.data, out.size);
                }
                buffer_deinit(&out);
        }
        url_template_free(url);
        buffer_clear(&why);
        HttpSource source = {.method = "POST",
                             .url = "http://a/",
                             .headers = &header,
                             .n_headers = 1,
                             .body = text};
        r = http_template_init(&template, &source, &part, &why);
        assert(r == 0 || (r == HTTP_TEMPLATE_E_INVALID && why.size > 0));
        if (r == 0) {
                Buffer line = BUFFER_INIT;
                if (http_template_expand(&template, look_up, &values, &why) == 0) {
                        const char *value = http_template_header(&template, 0);
                        assert(strpbrk(value, "\r\n") == NULL);
                        assert(http_template_print(&template, "Basic", &line) == 0);
                        assert(memchr(line.data, '\n', line.size) == NULL);
                }
                buffer_deinit(&line);
                http_template_deinit(&template);
        }
        buffer_deinit(&why);
        free(text);
        return 0;
}
