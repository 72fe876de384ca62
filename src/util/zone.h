#pragma once

/*
 * Time zones: the offset from UTC that is in force at an instant, from the bytes of a file of the
 * system's database (TZif of version 2 or later, RFC 8536 and its successor 9636).
 *
 * A file lists the changes that are known and ends with a rule in POSIX's notation (TZ), which
 * holds for ever after the last of them. Pure: reading the file is config/zones.h's.
 */

#include <stddef.h>
#include <stdint.h>

#include "util/error.h"

enum {
        ZONE_SIZE_MAX = 256 * 1024, /* bytes of a file; the largest of Debian 12 has 3.5 KB */
};

typedef struct Zone Zone;

enum {
        ZONE_E_INVALID = 1,
};

/* ZONE_E_INVALID: *@whyp is a static sentence part such as "is cut short"; or -ENOMEM. Any bytes do
 * no harm. */
MUST_CHECK int zone_parse(Zone **zonep, const uint8_t *data, size_t size, const char **whyp);
void zone_free(Zone *zone); /* NULL is allowed */

/*
 * Seconds to be added to UTC at @time (seconds since 1970). It is the same until *@untilp, which is
 * later than @time and need not change it; INT64_MAX: for ever. Beyond 10^13 seconds, which is the
 * year 318857, nothing changes any more. At most some hundred steps.
 */
int32_t zone_offset(const Zone *zone, int64_t time, int64_t *untilp);

/* What every zone can do without: UTC. Static; zone_free() does nothing with it. */
const Zone *zone_utc(void);
