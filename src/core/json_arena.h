#pragma once

/*
 * jansson's memory while a message is looked at: some thirty small blocks a message, all of them
 * thrown away together a moment later. A malloc and a free each are a sixth of what reading costs.
 *
 * When there is no memory, jansson is left at once, by longjmp(): it overlooks that its text did
 * not grow, and then takes a string without one of its bytes, or looks for the quote behind its
 * end.
 *
 * jansson's allocator belongs to the process and is given no context, hence the one arena here, for
 * the thread that reads messages. Elsewhere and otherwise it is malloc and free.
 */

#include <jansson.h>
#include <stddef.h>

#include "util/error.h"

/* As json_loadb(): 0, with *@jsonp NULL when the text is wrong, which @error tells; or -ENOMEM.
 * There is one tree at a time. */
MUST_CHECK int json_arena_load(const char *text, size_t size, size_t flags, json_t **jsonp,
                               json_error_t *error);

/* The tree is gone. It has no other owner. */
void json_arena_clear(void);
