#pragma once

/*
 * jansson's memory while a message is looked at: some thirty small blocks a message, all of them
 * thrown away together a moment later. A malloc and a free each are a sixth of what reading costs.
 *
 * jansson's allocator belongs to the process and is given no context, hence the one arena here, for
 * the thread that reads messages. Elsewhere and outside of begin and end it is malloc and free.
 */

#include <jansson.h>

void json_arena_begin(void);

/* Ends what json_arena_begin() began. @json, which was made in between, is gone with it; NULL is
 * allowed. */
void json_arena_end(json_t *json);
