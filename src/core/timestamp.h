#pragma once

/*
 * Times as messages write them: RFC 3339, which is the part of ISO 8601 that every producer can
 * write and no reader can misunderstand. The C library reads no offsets and no fractions, and takes
 * more than it should.
 */

#include <stddef.h>
#include <stdint.h>

#include "util/error.h"

enum {
        TIMESTAMP_E_INVALID = 1,
};

/*
 * µs since 1970, negative before it. 0 or TIMESTAMP_E_INVALID. @size bytes, no NUL needed. A blank
 * may stand for the T, letters have no case, a leap second is the second after it, and digits
 * behind the microsecond are dropped. Pure.
 */
MUST_CHECK int timestamp_parse(const char *text, size_t size, int64_t *time_us);
