#pragma once

/*
 * The zone files of the system: /usr/share/zoneinfo (Debian's package tzdata), or the folder that
 * TZDIR names, as for the C library.
 */

#include "util/buffer.h"
#include "util/error.h"
#include "util/zone.h"

enum {
        ZONES_E_UNFIT = 1,
};

/* Reads the file of the zone @name, such as Europe/Berlin; UTC needs none. ZONES_E_UNFIT: there is
 * none that can be used, and @why got a sentence part ("is no zone of /usr/share/zoneinfo"); a name
 * that could lead out of the folder is never opened. Or -ENOMEM. zone_free() it. */
MUST_CHECK int zones_load(Zone **zonep, const char *name, Buffer *why);
