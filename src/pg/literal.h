#pragma once

/*
 * Values as SQL text, for the statements that travel beside a COPY: a simple query of several
 * statements takes no parameters. Every literal is written as E'…', which reads the same whatever
 * standard_conforming_strings is. All add to the end of @sql; -ENOMEM.
 */

#include <stddef.h>
#include <stdint.h>

#include "util/buffer.h"
#include "util/error.h"

/* bytea; NULL: null. */
MUST_CHECK int literal_append_bytes(Buffer *sql, const void *data, size_t size);

/* text; NULL: null. What is no UTF-8 becomes U+FFFD, and so does NUL. */
MUST_CHECK int literal_append_text(Buffer *sql, const char *text, size_t size);
MUST_CHECK int literal_append_string(Buffer *sql, const char *string);

/* timestamptz from µs since 1970; null for what has no year of one to six digits, -1 included:
 * Kafka has no timestamps before 1970. */
MUST_CHECK int literal_append_time(Buffer *sql, int64_t time_us);
