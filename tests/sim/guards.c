#include "guards.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "messages.h"

enum {
        MINUTE = 60,
        HOUR = 60 * MINUTE,
        NEAR = 5 * MINUTE, /* how long it goes on and off */
};

const char *const guards_self[] = {"h7", "web6", "192.0.2.1", NULL};
const MessageCondition guards_when[1] = {{.path = "unwanted", .type = MESSAGE_NULL}};

/* --- windows ------------------------------------------------------------------------------ */

static void put(uint8_t **at, uint64_t value, int bytes) {
        while (bytes-- > 0) {
                *(*at)++ = (uint8_t)(value >> 8 * bytes);
        }
}

static void put_header(uint8_t **at, uint64_t times, uint64_t types) {
        memcpy(*at, "TZif2", 5);
        memset(*at + 5, 0, 39);
        *at += 32;
        put(at, times, 4);
        put(at, types, 4);
        put(at, 1, 4);
}

/* A file with one change. */
static Zone *make_zone(const SimWindows *windows) {
        uint8_t file[256], *at = file;
        const char *why = NULL;
        Zone *zone = NULL;
        put_header(&at, 0, 0);
        put(&at, 0, 1);
        put_header(&at, 1, 2);
        put(&at, (uint64_t)windows->change, 8);
        put(&at, 1, 1);
        put(&at, (uint64_t)windows->before, 4);
        put(&at, 0, 2);
        put(&at, (uint64_t)windows->after, 4);
        put(&at, 0, 2);
        put(&at, 0, 1);
        put(&at, '\n', 1);
        put(&at, '\n', 1);
        if (zone_parse(&zone, file, (size_t)(at - file), &why) != 0) {
                abort();
        }
        return zone;
}

static int64_t day_of(int64_t local) {
        return (local - (local % WINDOW_DAY_SECONDS + WINDOW_DAY_SECONDS) % WINDOW_DAY_SECONDS) /
               WINDOW_DAY_SECONDS;
}

static void add_window(SimWindows *windows, unsigned days, int64_t from, int64_t to) {
        int32_t opens = (int32_t)(from - day_of(from) * WINDOW_DAY_SECONDS);
        int32_t shuts = (int32_t)(to - day_of(to) * WINDOW_DAY_SECONDS);
        if (opens != shuts) {
                windows->all[windows->n++] = (Window){days, opens, shuts, windows->zone};
        }
}

/*
 * Open and shut in turn for some minutes from now on, of which the clock may leave out an hour, or
 * show one twice. Before, and after, it is open for hours, so that everything comes to its end.
 */
void guards_make_windows(Daemon *daemon) {
        static const int32_t offsets[] = {0, HOUR, HOUR / 2, -5 * HOUR, -4 * HOUR, 45 * MINUTE};
        World *world = daemon->world;
        SimWindows *windows = &daemon->windows;
        *windows = (SimWindows){0};
        if (!world->windows) {
                return;
        }
        int64_t wall = (world->now + daemon->wall_skew) / SECOND;
        size_t pair = below(world, 3) * 2;
        bool falls = chance(world, 50);
        windows->change = wall + (int64_t)below(world, 2 * NEAR);
        windows->before = offsets[pair + falls];
        windows->after = offsets[pair + !falls];
        windows->zone = make_zone(windows);
        int64_t local = wall + windows->before, from = local;
        uint64_t longest = chance(world, 50) ? 8 : MINUTE;
        while (windows->n < SIM_WINDOWS - 2 && from < local + NEAR) {
                int64_t opens = from + 1 + (int64_t)below(world, longest);
                from = opens + 1 + (int64_t)below(world, longest);
                unsigned days = chance(world, 80) ? WINDOW_EVERY_DAY
                                                  : (unsigned)below(world, WINDOW_EVERY_DAY + 1);
                add_window(windows, days, opens, from);
        }
        add_window(windows, WINDOW_EVERY_DAY, local - 3 * HOUR, local);
        add_window(windows, WINDOW_EVERY_DAY, from + MINUTE, local + 20 * HOUR);
}

void guards_free_windows(Daemon *daemon) {
        zone_free(daemon->windows.zone);
        daemon->windows = (SimWindows){0};
}

static bool is_open(const SimWindows *windows, int64_t wall_us) {
        int64_t wall = wall_us / SECOND - (wall_us % SECOND < 0);
        int64_t local = wall + (wall < windows->change ? windows->before : windows->after);
        int64_t day = day_of(local), time = local - day * WINDOW_DAY_SECONDS;
        /* Day 4 was a Monday. */
        unsigned today = (unsigned)((day - 4) % 7 + 7) % 7, yesterday = (today + 6) % 7;
        for (size_t i = 0; i < windows->n; i++) {
                const Window *window = &windows->all[i];
                bool opened = (window->days & 1u << today) != 0 && time >= window->from;
                bool before = (window->days & 1u << yesterday) != 0 && window->to < window->from;
                if ((opened && (time < window->to || window->to < window->from)) ||
                    (before && time < window->to)) {
                        return true;
                }
        }
        return windows->n == 0;
}

bool guards_are_open(const Daemon *daemon) {
        return is_open(&daemon->windows, daemon->world->now + daemon->wall_skew);
}

/* Second by second: all of them begin and end with one. */
int64_t guards_open_in(const Daemon *daemon, int64_t at_most) {
        int64_t wall = daemon->world->now + daemon->wall_skew;
        int64_t part = (wall % SECOND + SECOND) % SECOND;
        if (is_open(&daemon->windows, wall)) {
                return 0;
        }
        for (int64_t in = SECOND - part; in < at_most; in += SECOND) {
                if (is_open(&daemon->windows, wall + in)) {
                        return in;
                }
        }
        return at_most;
}

void guards_set_clock(Daemon *daemon) {
        World *world = daemon->world;
        int64_t far = chance(world, 50) ? 20 : 1200;
        daemon->wall_skew += ((int64_t)below(world, (uint64_t)far) - far / 2) * SECOND;
        trace(world, "  %d  its clock is set", daemon->slot);
}

int64_t guards_max_wait(World *world) {
        return (1 + (int64_t)below(world, chance(world, 50) ? 20 : 200)) * SECOND;
}

/* --- records ------------------------------------------------------------------------------ */

const char *guards_meant(const Fate *fate, char out[16]) {
        switch (fate->kind) {
        case ODD_GOOD:
                return odd_message((size_t)fate->host)->host;
        case GOOD_SAME:
                return "same";
        case GOOD:
        case UNWANTED:
        case TOMBSTONE:
        case NOT_JSON:
        case DENIED:
        case BIG:
        case POISON:
        case ODD_BAD:
        case RECORD_KINDS:
                break;
        }
        snprintf(out, 16, "h%d", fate->host);
        return out;
}

bool guards_is_self(const World *world, const Fate *fate) {
        char out[16];
        const char *host = guards_meant(fate, out);
        bool self =
                strcmp(host, "::1") == 0 || strcmp(host, "::") == 0 || strcmp(host, "0.0.0.0") == 0;
        for (size_t i = 0; guards_self[i] != NULL; i++) {
                self = self || strcmp(host, guards_self[i]) == 0;
        }
        return world->spares && self;
}

bool guards_may_restart(const World *world, const Fate *fate) {
        return !guards_is_self(world, fate) && !(world->selects && fate->kind == UNWANTED);
}
