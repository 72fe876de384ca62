#pragma once

/* The words behind "ackd unhold" that lift one hold and no other's, for remedies. */

#include <string.h>

#include "util/shell.h"

/* Adds a blank and them, quoted for a shell; they come last. A person's hold may have the fuse's
 * glob, so there it is said whose is meant. -ENOMEM. Pure. */
MUST_CHECK static inline int hold_words(Buffer *out, const char *pattern, bool fuse) {
        if (fuse) {
                return buffer_append_string(out, " --fuse");
        }
        int r = buffer_append_string(out, strcmp(pattern, "*") == 0 ? " --hold "
                                          : pattern[0] == '-'       ? " -- "
                                                                    : " ");
        return r == 0 ? shell_append(out, pattern) : r;
}
