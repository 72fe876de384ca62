#pragma once

/*
 * A command line of templates, compiled once and expanded for each request. A template is one
 * argument, whatever it expands to: there is no shell and nothing is split.
 *
 * The expanded arguments lie in one buffer that is used again, so expanding allocates nothing in
 * the steady state. They are valid until the next expansion.
 */

#include "handlers/actions/action.h"
#include "util/buffer.h"
#include "util/template.h"

typedef struct Command {
        Template **templates;
        size_t n;
        Buffer text;    /* the arguments, a NUL behind each */
        size_t *starts; /* of each in text */
        char **argv;    /* n pointers into text and a NULL; of the newest expansion */
} Command;

enum {
        COMMAND_E_TEMPLATE = 1, /* @why: a sentence for the operator */
        COMMAND_E_POISON = 2,   /* this request can never be expanded; @why names the placeholder */

        /* Linux takes at most 128 KiB for one argument (MAX_ARG_STRLEN); here that is the limit of
         * all together, so that "too long" is always known to be the request's own fault. */
        COMMAND_BYTES_MAX = 128 * 1024,
};

/* @templates: NULL-terminated, borrowed for the call. @why is cleared and filled on a positive
 * result; NULL: not wanted. 0, COMMAND_E_TEMPLATE, -ENOMEM. */
MUST_CHECK int command_init(Command *command, const char *const *templates, Buffer *why);
void command_deinit(Command *command);

/* 0, COMMAND_E_POISON with @why filled, -ENOMEM. */
MUST_CHECK int command_expand(Command *command, const ActionRequest *request, Buffer *why);

/* Appends the newest expansion as a line for people: arguments that need it are quoted, control
 * characters escaped. -ENOMEM. */
MUST_CHECK int command_print(const Command *command, Buffer *out);
