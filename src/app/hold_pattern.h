#pragma once

/* What a person types behind `ackd hold`, as the ledger compares it. */

#include "util/buffer.h"
#include "util/error.h"

enum {
        HOLD_E_PATTERN = 1,
        HOLD_PATTERN_MAX = 256, /* bytes with the NUL: the grammar of `allow` allows 255 */
};

/* A glob of the grammar of `allow`, in lower case; a name or an address without * and ? in its
 * canonical form, since no other would ever be met. HOLD_E_PATTERN: *@why gets the end of a
 * sentence that begins with it ("holds a byte that no host name has"); -ENOMEM. Pure. */
MUST_CHECK int hold_pattern(const char *text, char out[HOLD_PATTERN_MAX], Buffer *why);
