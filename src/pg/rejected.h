#pragma once

/*
 * The table `rejected`: statements for messages that will not be handled further. A row resolves
 * its message; a second one for the same message is ignored, the first reason stands.
 *
 * Nothing in a row may make it fail: text that is no UTF-8 is repaired, headers that are no JSON
 * become null.
 *
 * @schema is quoted. @pending: the row is to go to the dead-letter topic. All add to the end of
 * @sql; -ENOMEM.
 */

#include <stdbool.h>
#include <stdint.h>

#include "core/engine.h"
#include "util/buffer.h"
#include "util/error.h"

/* INSERT … VALUES row, row, … ON CONFLICT DO NOTHING: head, rows, tail. A row is made of the
 * message's body. */
MUST_CHECK int rejected_append_head(Buffer *sql, const char *schema);
MUST_CHECK int rejected_append_row(Buffer *sql, const char *schema, const Message *message,
                                   bool pending, bool first);
MUST_CHECK int rejected_append_tail(Buffer *sql);

/* The same for messages that let go of their bodies: key, value and headers come from `messages`,
 * or from the row of `rejected` that a replay stands for, when that says that it is saved. The rows
 * were received between @from_us and @to_us (µs since 1970): that finds them without an index on
 * their offsets, and in one pass for all of them. */
MUST_CHECK int rejected_append_saved_head(Buffer *sql, const char *schema);
MUST_CHECK int rejected_append_saved_row(Buffer *sql, const Message *message, bool pending,
                                         bool first);
MUST_CHECK int rejected_append_saved_tail(Buffer *sql, const char *schema, int64_t from_us,
                                          int64_t to_us);

/* When it was received first, by whoever, as far as it is known; a replay that stands for a row is
 * as old as that. µs since 1970. */
int64_t rejected_received_us(const Message *message);

/* A literal: the handlers that are done, 'save,restart-host'. */
MUST_CHECK int rejected_append_done(Buffer *sql, const Message *message);
