#pragma once

/*
 * Windows: the hours of the week in which restarts may start. Pure: the wall clock goes in, and
 * whether a window is open, and until when that is so, comes out.
 *
 * A window goes by what a clock on the wall of its zone shows: it is open while that reads a time
 * from `from` on and before `to`. `to` before `from` is the next day's, and such a window belongs
 * to the day on which it opens: with `fri`, 22:00 to 05:00 is Friday's night. So at a change of the
 * clocks:
 *
 *   a `from` that the clock leaps over    it opens when the gap ends
 *   both in the gap                       it does not open on that day
 *   an hour that comes twice              it is open both times, and shut in between if what lies
 *                                         in between is not in it
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "util/zone.h"

enum {
        WINDOW_DAY_SECONDS = 24 * 60 * 60,
        WINDOW_EVERY_DAY = (1 << 7) - 1,
};

typedef struct Window {
        unsigned days; /* bit 0: it opens on Mondays, … bit 6: on Sundays */
        int32_t from;  /* seconds of the day, before 24:00 */
        int32_t to;    /* not `from`; up to 24:00 */
        const Zone *zone;
} Window;

typedef struct WindowsState {
        bool open;
        /* µs since 1970, later than what was asked for. Shut: when the next one opens. Open: it is
         * so until then, perhaps longer. INT64_MAX: for ever. */
        int64_t until_us;
} WindowsState;

/* Whether one of @n windows is open at @wall_us since 1970; without windows: always. Bounded: at
 * most a few hundred steps a window. */
WindowsState windows_at(const Window *windows, size_t n, int64_t wall_us);
