#pragma once

/*
 * The status document (the answer of the control socket) for people: one who was paged at 3 a.m.
 * and reads from the top. What is wrong comes first, each trouble with the command that helps on a
 * line of its own.
 */

#include <jansson.h>
#include <stdbool.h>

#include "app/layout.h"
#include "util/buffer.h"

/* Adds to @out, lines of @columns cells (0: no limit; the commands alone may be longer); @colour:
 * with escape sequences. What the document lacks is left out. -ENOMEM, and then the buffer is as it
 * was. Pure but for the locale (app/layout.h). */
MUST_CHECK int status_text(Buffer *out, const json_t *document, int columns, bool colour);

/* One of a document's messages: its line, and one for each handler that is not done. @document has
 * the time ("now"). */
void status_text_message(Layout *layout, const json_t *document, const json_t *object);
