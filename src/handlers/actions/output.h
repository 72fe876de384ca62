#pragma once

/*
 * What a command wrote: its first bytes and its last, in memory that does not grow, however much
 * it writes. The beginning says what was tried, the end how it failed.
 */

#include <stddef.h>
#include <stdint.h>

#include "util/buffer.h"
#include "util/error.h"

typedef struct Output {
        size_t half;      /* bytes kept of either end; at least 1 */
        uint64_t written; /* bytes that were added */
        uint8_t *kept;    /* 2 * half bytes, the owner's: the first ones, and a ring of the last */
} Output;

enum {
        OUTPUT_MARK = 64,  /* bytes that the line for what was left out needs at most */
        OUTPUT_LINE = 200, /* of a last line, in the log, with its NUL */
};

void output_init(Output *output, uint8_t *kept, size_t half);
void output_add(Output *output, const uint8_t *data, size_t size);

/* Appends what was kept, in its order, a line in the middle says how much is missing. -ENOMEM;
 * never when there is room for 2 * half + OUTPUT_MARK. */
MUST_CHECK int output_print(const Output *output, Buffer *out);

/* The last line of @data that is not blank, escaped, its end cut off when it is long; "": there is
 * none. @data: NULL when @size is 0. */
void output_last_line(const uint8_t *data, size_t size, char line[OUTPUT_LINE]);
