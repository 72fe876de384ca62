#pragma once

/*
 * Templates: literal text and placeholders, compiled once, expanded for each request.
 *
 * `{{host}}`, `{{host.label}}` (the first label), `{{id}}`, `{{message.a.b}}`; nothing else may
 * stand between two braces. One template yields one run of bytes, whatever the values hold: an
 * argument that is made of it stays one argument, also when it is empty or holds spaces.
 */

#include <stdbool.h>
#include <stddef.h>

#include "util/buffer.h"
#include "util/error.h"

/* What is looked up; `{{host.label}}` asks for the host and cuts it here. */
typedef enum TemplateField {
        TEMPLATE_HOST,
        TEMPLATE_ID,
        TEMPLATE_MESSAGE, /* with a dotted path */
} TemplateField;

#define TEMPLATE_KNOWN "{{host}}, {{host.label}}, {{id}}, {{message.PATH}}"

typedef struct Template Template;

enum {
        TEMPLATE_E_SYNTAX = 1, /* template_new: an unknown or unclosed placeholder */
        TEMPLATE_E_MISSING,    /* expansion: there is no such value, says the callback */
        TEMPLATE_E_NUL,        /* a value holds a NUL, which no argument can hold */
        TEMPLATE_E_ADDRESS,    /* {{host.label}} of an IP address, which has no labels */
};

/* TEMPLATE_E_SYNTAX: *@errorp is a malloc'd sentence that names the byte (from 1) and what is
 * known. */
MUST_CHECK int template_new(Template **templatep, const char *text, char **errorp);
void template_free(Template *template); /* NULL is allowed */

/* Whether it has no placeholder. */
bool template_is_literal(const Template *template);

/* Adds the value to the end of @out: 0, TEMPLATE_E_MISSING, or negative. @path is that of a
 * TEMPLATE_MESSAGE, otherwise NULL. */
typedef int (*TemplateLookup)(void *user, TemplateField field, const char *path, Buffer *out);

/* Adds the expansion to the end of @out, no NUL behind it; what the callback returned, or one of
 * TEMPLATE_E_*, and then @out is as it was. *@placeholderp (NULL: not wanted) is then the
 * placeholder that failed, "{{id}}"; it is the template's. */
MUST_CHECK int template_expand(const Template *template, TemplateLookup lookup, void *user,
                               Buffer *out, const char **placeholderp);

/*
 * The pieces a template is made of, in their order and without gaps, for those who write a value in
 * another form than it has (a URL, JSON). What is pointed to is the template's.
 */
typedef struct TemplatePiece {
        bool literal;
        bool label;          /* {{host.label}} */
        TemplateField field; /* of a placeholder */
        const char *text;    /* the literal, or the placeholder with its braces; @size bytes */
        size_t size;
        const char *name; /* of a placeholder: "{{id}}", with a NUL; NULL: a literal */
} TemplatePiece;

size_t template_count(const Template *template);
TemplatePiece template_piece(const Template *template, size_t index);

/* Adds the value of one piece as it is, as template_expand() does for all of them. */
MUST_CHECK int template_expand_piece(const Template *template, size_t index, TemplateLookup lookup,
                                     void *user, Buffer *out);

/* "there is no such value in the message", for people; static. @error is a TEMPLATE_E_*. */
const char *template_error_text(int error);
