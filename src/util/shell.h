#pragma once

/* Words of a command line that people paste into a shell. */

#include "util/buffer.h"

/* Adds @word so that a POSIX shell takes it as this one word: as it is when it is plain, else in
 * single quotes. -ENOMEM. Pure. */
MUST_CHECK int shell_append(Buffer *out, const char *word);
