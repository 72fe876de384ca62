#include "util/template.h"

#include <arpa/inet.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/*
 * A template is an array of parts, in order, without gaps: a literal is a run of `text`, and so is
 * a placeholder with its braces.
 */

typedef enum PartKind {
        PART_LITERAL,
        PART_HOST,
        PART_LABEL,
        PART_ID,
        PART_MESSAGE,
} PartKind;

typedef struct Part {
        PartKind kind;
        size_t start, size; /* in Template.text: the literal, or all of "{{…}}" */
        char *path;         /* PART_MESSAGE: "a.b"; otherwise NULL */
        char *name;         /* "{{message.a.b}}"; NULL for a literal */
} Part;

struct Template {
        char *text;
        size_t n_parts;
        Part *parts;
};

DEFINE_CLEANUP(Template *, template_free)

void template_free(Template *template) {
        if (template == NULL) {
                return;
        }
        for (size_t i = 0; i < template->n_parts; i++) {
                free(template->parts[i].path);
                free(template->parts[i].name);
        }
        free(template->parts);
        free(template->text);
        free(template);
}

static bool is_path(const char *text, size_t size) {
        if (size == 0 || text[0] == '.' || text[size - 1] == '.') {
                return false;
        }
        for (size_t i = 0; i < size; i++) {
                unsigned char c = (unsigned char)text[i];
                if (c <= ' ' || c == '{' || c == 0x7f || (c == '.' && text[i + 1] == '.')) {
                        return false;
                }
        }
        return true;
}

/* @text is what stands between the braces. */
static bool parse_placeholder(const char *text, size_t size, PartKind *kind, const char **path) {
        static const struct {
                const char *name;
                PartKind kind;
        } known[] = {
                {"host", PART_HOST},
                {"host.label", PART_LABEL},
                {"id", PART_ID},
        };
        for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++) {
                if (strlen(known[i].name) == size && memcmp(known[i].name, text, size) == 0) {
                        *kind = known[i].kind;
                        return true;
                }
        }
        size_t prefix = strlen("message.");
        if (size > prefix && memcmp(text, "message.", prefix) == 0 &&
            is_path(text + prefix, size - prefix)) {
                *kind = PART_MESSAGE;
                *path = text + prefix;
                return true;
        }
        return false;
}

static int syntax_error(char **errorp, const char *what, const char *start, size_t size,
                        const char *text) {
        char *error = NULL;
        int shown = size > 60 ? 60 : (int)size;
        if (asprintf(&error, "%s %.*s at byte %zu; known: " TEMPLATE_KNOWN, what, shown, start,
                     (size_t)(start - text) + 1) < 0) {
                return error_origin(-ENOMEM);
        }
        *errorp = error;
        return TEMPLATE_E_SYNTAX;
}

static void add_literal(Template *template, size_t start, size_t size) {
        if (size > 0) {
                template->parts[template->n_parts++] =
                        (Part){.kind = PART_LITERAL, .start = start, .size = size};
        }
}

static int add_placeholder(Template *template, size_t start, size_t size, PartKind kind,
                           const char *path, size_t path_size) {
        Part *part = &template->parts[template->n_parts++];
        *part = (Part){.kind = kind, .start = start, .size = size};
        part->name = strndup(template->text + start, size);
        if (part->name == NULL) {
                return error_origin(-ENOMEM);
        }
        if (path != NULL) {
                part->path = strndup(path, path_size);
                if (part->path == NULL) {
                        return error_origin(-ENOMEM);
                }
        }
        return 0;
}

static int parse(Template *template, char **errorp) {
        const char *text = template->text;
        const char *p = text;
        for (;;) {
                const char *open = strstr(p, "{{");
                if (open == NULL) {
                        add_literal(template, (size_t)(p - text), strlen(p));
                        return 0;
                }
                add_literal(template, (size_t)(p - text), (size_t)(open - p));
                const char *inside = open + 2;
                const char *close = strstr(inside, "}}");
                if (close == NULL) {
                        return syntax_error(errorp, "an unclosed placeholder", open, strlen(open),
                                            text);
                }
                PartKind kind = PART_LITERAL;
                const char *path = NULL;
                size_t size = (size_t)(close + 2 - open);
                if (!parse_placeholder(inside, (size_t)(close - inside), &kind, &path)) {
                        return syntax_error(errorp, "an unknown placeholder", open, size, text);
                }
                int r = add_placeholder(template, (size_t)(open - text), size, kind, path,
                                        path != NULL ? (size_t)(close - path) : 0);
                if (r != 0) {
                        return r;
                }
                p = close + 2;
        }
}

int template_new(Template **templatep, const char *text, char **errorp) {
        CLEANUP(cleanup_template_free) Template *template = calloc(1, sizeof(*template));
        if (template == NULL) {
                return error_origin(-ENOMEM);
        }
        size_t most = 1; /* every "{{" makes two parts at most, and one is left at the end */
        for (const char *p = strstr(text, "{{"); p != NULL; p = strstr(p + 2, "{{")) {
                most += 2;
        }
        template->text = strdup(text);
        template->parts = calloc(most, sizeof(*template->parts));
        if (template->text == NULL || template->parts == NULL) {
                return error_origin(-ENOMEM);
        }
        int r = parse(template, errorp);
        if (r != 0) {
                return r;
        }
        *templatep = steal(template);
        return 0;
}

bool template_is_literal(const Template *template) {
        for (size_t i = 0; i < template->n_parts; i++) {
                if (template->parts[i].kind != PART_LITERAL) {
                        return false;
                }
        }
        return true;
}

/* Cuts the value that begins at @start behind its first label. */
static int cut_label(Buffer *out, size_t start) {
        char address[INET_ADDRSTRLEN];
        struct in_addr ignored;
        size_t size = out->size - start;
        if (size == 0) {
                return TEMPLATE_E_MISSING;
        }
        if (memchr(out->data + start, ':', size) != NULL) {
                return TEMPLATE_E_ADDRESS;
        }
        if (size < sizeof(address)) {
                memcpy(address, out->data + start, size);
                address[size] = '\0';
                if (inet_pton(AF_INET, address, &ignored) == 1) {
                        return TEMPLATE_E_ADDRESS;
                }
        }
        const uint8_t *dot = memchr(out->data + start, '.', size);
        if (dot != NULL) {
                out->size = (size_t)(dot - out->data);
        }
        return 0;
}

static int look_up(const Part *part, TemplateLookup lookup, void *user, Buffer *out) {
        switch (part->kind) {
        case PART_LITERAL:
                break;
        case PART_HOST:
        case PART_LABEL:
                return lookup(user, TEMPLATE_HOST, NULL, out);
        case PART_ID:
                return lookup(user, TEMPLATE_ID, NULL, out);
        case PART_MESSAGE:
                return lookup(user, TEMPLATE_MESSAGE, part->path, out);
        }
        return error_origin(-EINVAL);
}

static int expand_part(const Template *template, const Part *part, TemplateLookup lookup,
                       void *user, Buffer *out) {
        if (part->kind == PART_LITERAL) {
                return buffer_append(out, template->text + part->start, part->size);
        }
        size_t start = out->size;
        int r = look_up(part, lookup, user, out);
        if (r != 0) {
                return r;
        }
        /* exec would end the argument there, and so change what the command sees. */
        if (out->size > start && memchr(out->data + start, '\0', out->size - start) != NULL) {
                return TEMPLATE_E_NUL;
        }
        return part->kind == PART_LABEL ? cut_label(out, start) : 0;
}

int template_expand(const Template *template, TemplateLookup lookup, void *user, Buffer *out,
                    const char **placeholderp) {
        size_t before = out->size;
        for (size_t i = 0; i < template->n_parts; i++) {
                const Part *part = &template->parts[i];
                int r = expand_part(template, part, lookup, user, out);
                if (r != 0) {
                        out->size = before;
                        if (placeholderp != NULL) {
                                *placeholderp = part->name;
                        }
                        return r;
                }
        }
        return 0;
}

size_t template_count(const Template *template) {
        return template->n_parts;
}

TemplatePiece template_piece(const Template *template, size_t index) {
        const Part *part = &template->parts[index];
        TemplatePiece piece = {
                .literal = part->kind == PART_LITERAL,
                .label = part->kind == PART_LABEL,
                .text = template->text + part->start,
                .size = part->size,
                .name = part->name,
        };
        piece.field = part->kind == PART_ID        ? TEMPLATE_ID
                      : part->kind == PART_MESSAGE ? TEMPLATE_MESSAGE
                                                   : TEMPLATE_HOST;
        return piece;
}

int template_expand_piece(const Template *template, size_t index, TemplateLookup lookup, void *user,
                          Buffer *out) {
        size_t before = out->size;
        int r = expand_part(template, &template->parts[index], lookup, user, out);
        if (r != 0) {
                out->size = before;
        }
        return r;
}

const char *template_error_text(int error) {
        switch (error) {
        case TEMPLATE_E_SYNTAX:
                return "is not a placeholder";
        case TEMPLATE_E_MISSING:
                return "the message has no such value";
        case TEMPLATE_E_NUL:
                return "the value holds a NUL byte, which no argument can hold";
        case TEMPLATE_E_ADDRESS:
                return "the host is an IP address, which has no label";
        default:
                return "cannot be expanded";
        }
}
