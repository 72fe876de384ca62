/*
 * Zone files: whatever the bytes are, they are refused with a reason, or what is asked of the zone
 * is bounded and moves forward. The windows in it as well.
 */

#include <assert.h>
#include <stdint.h>

#include "core/windows.h"
#include "util/zone.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_offsets(const Zone *zone) {
        int64_t time = -4000000000;
        for (int i = 0; i < 200; i++) {
                int64_t until = 0, again = 0;
                int32_t offset = zone_offset(zone, time, &until);
                assert(offset > -25 * 3600 && offset < 26 * 3600 && until > time);
                if (until == INT64_MAX) {
                        return;
                }
                /* The same up to the end of it. */
                assert(zone_offset(zone, until - 1, &again) == offset && again == until);
                time = i % 8 == 7 ? until + 1000000000 : until;
        }
}

static void check_windows(const Zone *zone) {
        const Window windows[] = {{WINDOW_EVERY_DAY, 2 * 3600, 3 * 3600, zone},
                                  {1 << 4, 22 * 3600, 5 * 3600, zone}};
        int64_t wall = 1700000000000000;
        for (int i = 0; i < 50; i++) {
                WindowsState at = windows_at(windows, 2, wall);
                assert(at.until_us > wall);
                if (at.until_us == INT64_MAX) {
                        return;
                }
                /* Shut up to the moment at which one opens, or at which it has to be asked again.
                 */
                WindowsState before = windows_at(windows, 2, at.until_us - 1);
                assert(at.open == before.open && (at.open || before.until_us >= at.until_us));
                wall = at.until_us;
        }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
        Zone *zone = NULL;
        const char *why = NULL;
        int r = zone_parse(&zone, data, size, &why);
        if (r == 0) {
                check_offsets(zone);
                check_windows(zone);
        } else {
                assert(r == ZONE_E_INVALID && why != NULL && *why != '\0');
        }
        zone_free(zone);
        return 0;
}
