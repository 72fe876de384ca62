#pragma once

/*
 * The table `rejected`: statements for messages that will not be handled further. A row resolves
 * its message; a second one for the same message is ignored, the first reason stands.
 *
 * Nothing in a row may make it fail: text that is no UTF-8 is repaired, headers that are no JSON
 * become null.
 *
 * @schema is quoted. All add to the end of @sql; -ENOMEM.
 */

#include <stdbool.h>

#include "core/engine.h"
#include "util/buffer.h"
#include "util/error.h"

/* INSERT … VALUES row, row, … ON CONFLICT DO NOTHING: head, rows, tail. A row is made of the
 * message's body. */
MUST_CHECK int rejected_append_head(Buffer *sql, const char *schema);
MUST_CHECK int rejected_append_row(Buffer *sql, const char *schema, const Message *message,
                                   bool first);
MUST_CHECK int rejected_append_tail(Buffer *sql);

/* One statement for a message that let go of its body: key, value and headers come from
 * `messages`, where the time of its receipt finds it. */
MUST_CHECK int rejected_append_saved(Buffer *sql, const char *schema, const Message *message);

/* A literal of text[] elements: the handlers that are done, "save,restart-host". */
MUST_CHECK int rejected_append_done(Buffer *sql, const Message *message);
