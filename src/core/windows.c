/*
 * Between two changes of a zone's offset its clock runs as any other, so each such stretch is
 * looked at by itself, in the time that the clock shows.
 */

#include "core/windows.h"

enum {
        DAY = WINDOW_DAY_SECONDS,
        WEEK_DAYS = 7,
        /* Stretches that are looked at for the next opening: some years of any real zone. With more
         * of them, the answer is the end of the last one, when it has to be asked again. */
        STRETCHES_MAX = 24,
};

#define SECOND_US INT64_C(1000000)

static int64_t floor_div(int64_t a, int64_t b) {
        return a / b - (a % b < 0);
}

/* Whether it opens on the day with this number; day 0, 1970-01-01, was a Thursday. */
static bool opens_on(const Window *window, int64_t day) {
        int64_t weekday = (day + 3) % WEEK_DAYS;
        return (window->days >> (weekday < 0 ? weekday + WEEK_DAYS : weekday) & 1) != 0;
}

/* When it shuts by the clock of its zone, which reads @local seconds; @local: it is not open. */
static int64_t shuts_at(const Window *window, int64_t local) {
        int64_t day = floor_div(local, DAY), time = local - day * DAY;
        bool night = window->to < window->from;
        if (opens_on(window, day) && time >= window->from && (night || time < window->to)) {
                return (day + night) * DAY + window->to;
        }
        if (night && opens_on(window, day - 1) && time < window->to) {
                return day * DAY + window->to;
        }
        return local;
}

/* When it opens next by that clock, after @local; INT64_MAX: it never does. */
static int64_t opens_at(const Window *window, int64_t local) {
        int64_t day = floor_div(local, DAY);
        for (int64_t i = 0; i <= WEEK_DAYS; i++) {
                int64_t opens = (day + i) * DAY + window->from;
                if (opens > local && opens_on(window, day + i)) {
                        return opens;
                }
        }
        return INT64_MAX;
}

/* Seconds of both clocks, as windows_at(). */
static int64_t window_at(const Window *window, int64_t time, bool *open) {
        int64_t until = INT64_MAX;
        int64_t offset = zone_offset(window->zone, time, &until);
        int64_t shuts = shuts_at(window, time + offset);
        *open = shuts > time + offset;
        if (*open) {
                return shuts - offset < until ? shuts - offset : until;
        }
        for (int i = 0; i < STRETCHES_MAX; i++) {
                int64_t opens = opens_at(window, time + offset);
                if (opens == INT64_MAX || opens - offset < until) {
                        return opens == INT64_MAX ? opens : opens - offset;
                }
                time = until;
                offset = zone_offset(window->zone, time, &until);
                if (shuts_at(window, time + offset) > time + offset) {
                        return time;
                }
        }
        return time;
}

WindowsState windows_at(const Window *windows, size_t n, int64_t wall_us) {
        WindowsState state = {.open = n == 0, .until_us = INT64_MAX};
        int64_t time = floor_div(wall_us, SECOND_US);
        for (size_t i = 0; i < n; i++) {
                bool open = false;
                int64_t until = window_at(&windows[i], time, &open);
                int64_t until_us = until < INT64_MAX / SECOND_US ? until * SECOND_US : INT64_MAX;
                if (open && (!state.open || until_us > state.until_us)) {
                        state = (WindowsState){.open = true, .until_us = until_us};
                } else if (!open && !state.open && until_us < state.until_us) {
                        state.until_us = until_us;
                }
        }
        return state;
}
