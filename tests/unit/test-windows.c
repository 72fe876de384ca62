#include "test.h"

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "core/windows.h"

#define FOLDER "/usr/share/zoneinfo/"

enum {
        HOUR = 3600,
        DAYS = WINDOW_DAY_SECONDS,
};

static const int64_t SECOND = 1000000;

typedef enum Where {
        BERLIN,
        NEW_YORK,
        LORD_HOWE, /* half an hour of daylight saving, south of the equator */
        KOLKATA,   /* none, and half an hour off */
        ZONES,
} Where;

static const char *const names[ZONES] = {"Europe/Berlin", "America/New_York", "Australia/Lord_Howe",
                                         "Asia/Kolkata"};
static Zone *zones[ZONES];

static int set_up(void **state) {
        static uint8_t data[ZONE_SIZE_MAX];
        (void)state;
        for (int i = 0; i < ZONES; i++) {
                char path[128];
                const char *why = NULL;
                snprintf(path, sizeof(path), "%s%s", FOLDER, names[i]);
                FILE *file = fopen(path, "re");
                if (file == NULL) {
                        fprintf(stderr, "%s is not there: install tzdata\n", path);
                        return -1;
                }
                size_t size = fread(data, 1, sizeof(data), file);
                fclose(file);
                if (zone_parse(&zones[i], data, size, &why) != 0) {
                        fprintf(stderr, "%s %s\n", path, why);
                        return -1;
                }
        }
        return 0;
}

static int tear_down(void **state) {
        (void)state;
        for (int i = 0; i < ZONES; i++) {
                zone_free(zones[i]);
        }
        return 0;
}

/* "2024-03-31 00:59:59", UTC; µs since 1970. */
static int64_t instant(const char *text) {
        struct tm tm = {0};
        const char *end = strptime(text, "%Y-%m-%d %H:%M:%S", &tm);
        if (end == NULL || *end != '\0') {
                fail_msg("%s", text);
        }
        return (int64_t)timegm(&tm) * SECOND;
}

static const char *show(int64_t wall_us, char out[32]) {
        time_t seconds = (time_t)(wall_us / SECOND);
        struct tm tm;
        strftime(out, 32, "%Y-%m-%d %H:%M:%S", gmtime_r(&seconds, &tm));
        return out;
}

static unsigned days_of(const char *text) {
        static const char all[] = "montuewedthufrisatsun";
        unsigned days = 0;
        for (; *text != '\0'; text += 3) {
                days |= 1u << (strstr(all, (char[]){text[0], text[1], text[2], '\0'}) - all) / 3;
        }
        return days;
}

static int32_t seconds_of(const char *text) {
        return (text[0] - '0') * 10 * HOUR + (text[1] - '0') * HOUR + (text[3] - '0') * 600 +
               (text[4] - '0') * 60;
}

/* A window, the first instant of a stretch (UTC), and what it is from there on until the next. */
typedef struct Row {
        Where zone;
        const char *days, *from, *to;
        const char *at;
        bool open;
        const char *until;
} Row;

#define EVERY "montuewedthufrisatsun"

/* Which is right was worked out with `TZ=ZONE date -d @SECONDS`. */
static const Row rows[] = {
        /* A night belongs to the day on which it opens. Berlin, in winter: UTC+1. */
        {BERLIN, "montuewedthufri", "22:00", "05:00", "2024-01-05 20:59:59", false,
         "2024-01-05 21:00:00"}, /* Friday 22:00 */
        {BERLIN, "montuewedthufri", "22:00", "05:00", "2024-01-05 21:00:00", true,
         "2024-01-06 04:00:00"}, /* to Saturday 05:00 */
        {BERLIN, "montuewedthufri", "22:00", "05:00", "2024-01-06 03:59:59", true,
         "2024-01-06 04:00:00"},
        {BERLIN, "montuewedthufri", "22:00", "05:00", "2024-01-06 04:00:00", false,
         "2024-01-08 21:00:00"}, /* Monday; Sunday night is Sunday's */
        {BERLIN, "sun", "22:00", "05:00", "2024-01-08 03:59:59", true, "2024-01-08 04:00:00"},
        {BERLIN, "sun", "22:00", "05:00", "2024-01-08 04:00:00", false, "2024-01-14 21:00:00"},
        {BERLIN, "mon", "00:00", "24:00", "2024-01-07 22:59:59", false, "2024-01-07 23:00:00"},
        {BERLIN, "mon", "00:00", "24:00", "2024-01-07 23:00:00", true, "2024-01-08 23:00:00"},
        {BERLIN, "mon", "00:00", "24:00", "2024-01-08 23:00:00", false, "2024-01-14 23:00:00"},
        {BERLIN, "mon", "23:59", "00:00", "2024-01-08 22:59:00", true, "2024-01-08 23:00:00"},
        /* Summer begins in Berlin: 2024-03-31 01:00 UTC, 02:00 is followed by 03:00. */
        {BERLIN, EVERY, "02:30", "03:30", "2024-03-31 00:59:59", false,
         "2024-03-31 01:00:00"}, /* the gap has `from`: it opens when the gap ends */
        {BERLIN, EVERY, "02:30", "03:30", "2024-03-31 01:00:00", true, "2024-03-31 01:30:00"},
        {BERLIN, EVERY, "02:30", "03:30", "2024-03-31 01:30:00", false, "2024-04-01 00:30:00"},
        {BERLIN, EVERY, "01:30", "02:30", "2024-03-31 00:30:00", true,
         "2024-03-31 01:00:00"}, /* the gap has `to`: it shuts when the gap begins */
        {BERLIN, EVERY, "01:30", "02:30", "2024-03-31 01:00:00", false, "2024-03-31 23:30:00"},
        {BERLIN, EVERY, "02:00", "03:00", "2024-03-30 02:00:00", false,
         "2024-04-01 00:00:00"}, /* the gap has both: not on that day */
        {BERLIN, EVERY, "02:15", "02:45", "2024-03-31 00:59:59", false, "2024-04-01 00:15:00"},
        {BERLIN, "sat", "22:00", "05:00", "2024-03-30 21:00:00", true, "2024-03-31 01:00:00"},
        {BERLIN, "sat", "22:00", "05:00", "2024-03-31 01:00:00", true, "2024-03-31 03:00:00"},
        {BERLIN, "sat", "22:00", "05:00", "2024-03-31 03:00:00", false, "2024-04-06 20:00:00"},
        /* Summer ends in Berlin: 2024-10-27 01:00 UTC, 03:00 is followed by 02:00. */
        {BERLIN, EVERY, "02:15", "02:45", "2024-10-27 00:14:59", false, "2024-10-27 00:15:00"},
        {BERLIN, EVERY, "02:15", "02:45", "2024-10-27 00:15:00", true, "2024-10-27 00:45:00"},
        {BERLIN, EVERY, "02:15", "02:45", "2024-10-27 00:45:00", false,
         "2024-10-27 01:15:00"}, /* and once more */
        {BERLIN, EVERY, "02:15", "02:45", "2024-10-27 01:15:00", true, "2024-10-27 01:45:00"},
        {BERLIN, EVERY, "02:15", "02:45", "2024-10-27 01:45:00", false, "2024-10-28 01:15:00"},
        {BERLIN, EVERY, "02:00", "03:00", "2024-10-27 00:00:00", true, "2024-10-27 01:00:00"},
        {BERLIN, EVERY, "02:00", "03:00", "2024-10-27 01:00:00", true, "2024-10-27 02:00:00"},
        {BERLIN, EVERY, "02:00", "03:00", "2024-10-27 02:00:00", false, "2024-10-28 01:00:00"},
        {BERLIN, EVERY, "02:30", "04:00", "2024-10-27 00:30:00", true,
         "2024-10-27 01:00:00"}, /* back to 02:00, which is not in it */
        {BERLIN, EVERY, "02:30", "04:00", "2024-10-27 01:00:00", false, "2024-10-27 01:30:00"},
        {BERLIN, EVERY, "02:30", "04:00", "2024-10-27 01:30:00", true, "2024-10-27 03:00:00"},
        {BERLIN, EVERY, "01:00", "02:30", "2024-10-26 23:00:00", true, "2024-10-27 00:30:00"},
        {BERLIN, EVERY, "01:00", "02:30", "2024-10-27 00:30:00", false,
         "2024-10-27 01:00:00"}, /* it opens again in the middle */
        {BERLIN, EVERY, "01:00", "02:30", "2024-10-27 01:00:00", true, "2024-10-27 01:30:00"},
        /* New York: 2024-03-10 07:00 UTC and 2024-11-03 06:00 UTC. */
        {NEW_YORK, "sun", "02:30", "04:00", "2024-03-10 06:59:59", false, "2024-03-10 07:00:00"},
        {NEW_YORK, "sun", "02:30", "04:00", "2024-03-10 07:00:00", true, "2024-03-10 08:00:00"},
        {NEW_YORK, "sun", "02:30", "04:00", "2024-03-10 08:00:00", false, "2024-03-17 06:30:00"},
        {NEW_YORK, "sat", "20:00", "02:00", "2024-11-03 00:00:00", true, "2024-11-03 06:00:00"},
        {NEW_YORK, "sat", "20:00", "02:00", "2024-11-03 06:00:00", true,
         "2024-11-03 07:00:00"}, /* the second 01:00 to 02:00 */
        {NEW_YORK, "sat", "20:00", "02:00", "2024-11-03 07:00:00", false, "2024-11-10 01:00:00"},
        {NEW_YORK, "sun", "01:30", "01:40", "2024-11-03 05:40:00", false, "2024-11-03 06:30:00"},
        {NEW_YORK, "sun", "01:30", "01:40", "2024-11-03 06:30:00", true, "2024-11-03 06:40:00"},
        {NEW_YORK, "sun", "01:30", "01:40", "2024-11-03 06:40:00", false, "2024-11-10 06:30:00"},
        /* Lord Howe: 2024-04-06 15:00 UTC, 02:00 to 01:30; 2024-10-05 15:30 UTC, 02:00 to 02:30. */
        {LORD_HOWE, "sun", "01:45", "02:15", "2024-04-06 14:45:00", true, "2024-04-06 15:00:00"},
        {LORD_HOWE, "sun", "01:45", "02:15", "2024-04-06 15:00:00", false, "2024-04-06 15:15:00"},
        {LORD_HOWE, "sun", "01:45", "02:15", "2024-04-06 15:15:00", true, "2024-04-06 15:45:00"},
        {LORD_HOWE, "sun", "01:45", "02:15", "2024-04-06 15:45:00", false, "2024-04-13 15:15:00"},
        {LORD_HOWE, "sun", "02:15", "02:45", "2024-10-05 15:29:59", false, "2024-10-05 15:30:00"},
        {LORD_HOWE, "sun", "02:15", "02:45", "2024-10-05 15:30:00", true, "2024-10-05 15:45:00"},
        {LORD_HOWE, "sun", "02:15", "02:45", "2024-10-05 15:45:00", false, "2024-10-12 15:15:00"},
        {LORD_HOWE, "sun", "02:00", "02:30", "2024-10-05 15:29:59", false, "2024-10-12 15:00:00"},
        /* Kolkata never changes: UTC+5:30. */
        {KOLKATA, "sun", "02:30", "04:00", "2024-03-30 20:59:59", false, "2024-03-30 21:00:00"},
        {KOLKATA, "sun", "02:30", "04:00", "2024-03-30 21:00:00", true, "2024-03-30 22:30:00"},
        {KOLKATA, "sun", "02:30", "04:00", "2024-10-26 21:00:00", true, "2024-10-26 22:30:00"},
        {KOLKATA, "sun", "02:30", "04:00", "2024-10-26 22:30:00", false, "2024-11-02 21:00:00"},
        /* By the rule at the end of the file, long after its last change. */
        {BERLIN, EVERY, "02:30", "03:30", "2124-03-26 00:59:59", false, "2124-03-26 01:00:00"},
        {BERLIN, EVERY, "02:15", "02:45", "2124-10-29 00:45:00", false, "2124-10-29 01:15:00"},
        {NEW_YORK, "sun", "02:30", "04:00", "2124-03-12 06:59:59", false, "2124-03-12 07:00:00"},
        /* And long before the first one: local mean time, 53 min 28 s ahead. */
        {BERLIN, EVERY, "00:00", "12:00", "1850-01-01 23:06:31", false, "1850-01-01 23:06:32"},
};

static Window window_of(const Row *row) {
        return (Window){.days = days_of(row->days),
                        .from = seconds_of(row->from),
                        .to = seconds_of(row->to),
                        .zone = zones[row->zone]};
}

static void test_table(void **state) {
        (void)state;
        for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
                const Row *row = &rows[i];
                Window window = window_of(row);
                char until[32];
                WindowsState at = windows_at(&window, 1, instant(row->at));
                if (at.open != row->open || at.until_us != instant(row->until)) {
                        fail_msg("row %zu, %s %s %s-%s at %s: %s until %s", i, names[row->zone],
                                 row->days, row->from, row->to, row->at, at.open ? "open" : "shut",
                                 show(at.until_us, until));
                }
        }
}

/* Whatever the window: from an instant to what is said of it, each second is the same, and then it
 * is different or a change of the offset is there. Held against the C library's own clock. */
static void test_against_the_clock_on_the_wall(void **state) {
        (void)state;
        static const char *const starts[] = {"2024-03-09 00:00:00", "2024-03-30 00:00:00",
                                             "2024-04-05 00:00:00", "2024-10-04 00:00:00",
                                             "2024-10-26 00:00:00", "2024-11-02 00:00:00"};
        uint32_t random = 1;
        for (int n = 0; n < 400; n++) {
                random = random * 1664525 + 1013904223;
                int32_t from = (int32_t)(random >> 8) % (24 * 60) * 60;
                if (n % 2 == 0) {
                        from %= 4 * HOUR; /* near the changes */
                }
                random = random * 1664525 + 1013904223;
                int32_t to = from + 60 * (1 + (int32_t)(random >> 8) % (23 * 60));
                to = to > DAYS ? to - DAYS : to;
                Where zone = (Where)(n % ZONES);
                Window window = {.days = 1 + random % WINDOW_EVERY_DAY,
                                 .from = from,
                                 .to = to,
                                 .zone = zones[zone]};
                assert_int_equal(setenv("TZ", names[zone], 1), 0);
                tzset();
                int64_t time = instant(starts[n / ZONES % 6]) / SECOND, end = time + 3 * DAYS;
                WindowsState at = windows_at(&window, 1, time * SECOND);
                for (; time < end; time += 60) {
                        time_t seconds = (time_t)time;
                        struct tm tm;
                        assert_non_null(localtime_r(&seconds, &tm));
                        int32_t clock = tm.tm_hour * HOUR + tm.tm_min * 60 + tm.tm_sec;
                        unsigned today = (unsigned)(tm.tm_wday + 6) % 7;
                        unsigned yesterday = (unsigned)(tm.tm_wday + 5) % 7;
                        bool night = to < from;
                        bool open = ((window.days >> today & 1) && clock >= from &&
                                     (night || clock < to)) ||
                                    (night && (window.days >> yesterday & 1) && clock < to);
                        if (time * SECOND >= at.until_us) {
                                bool before = at.open;
                                int64_t until = at.until_us;
                                at = windows_at(&window, 1, time * SECOND);
                                /* Shut means shut until it opens. */
                                assert_true(before || (at.open && until == time * SECOND));
                        }
                        if (at.open != open) {
                                char out[32];
                                fail_msg("%s %02x %d-%d at %s: %s", names[zone], window.days, from,
                                         to, show(time * SECOND, out), at.open ? "open" : "shut");
                        }
                }
        }
        unsetenv("TZ");
        tzset();
}

static void test_several(void **state) {
        (void)state;
        const Window windows[] = {
                {WINDOW_EVERY_DAY, 1 * HOUR, 2 * HOUR, zone_utc()},
                {WINDOW_EVERY_DAY, 1 * HOUR + 1800, 3 * HOUR, zone_utc()},
                {1 << 3, 10 * HOUR, 11 * HOUR, zones[KOLKATA]}, /* Thursday 04:30 UTC */
        };
        const int64_t hour = HOUR * SECOND; /* 1970-01-01 was a Thursday */
        WindowsState at = windows_at(windows, 3, 0);
        assert_false(at.open);
        assert_int_equal(at.until_us, hour);
        at = windows_at(windows, 3, hour);
        assert_true(at.open);
        assert_int_equal(at.until_us, 2 * hour);
        at = windows_at(windows, 3, 2 * hour - 1);
        assert_true(at.open);
        assert_int_equal(at.until_us, 3 * hour); /* the other one stays open */
        at = windows_at(windows, 3, 3 * hour);
        assert_false(at.open);
        assert_int_equal(at.until_us, 4 * hour + hour / 2);
        at = windows_at(windows, 3, 4 * hour + hour / 2);
        assert_true(at.open);
        at = windows_at(windows, 3, 6 * hour);
        assert_false(at.open);
        assert_int_equal(at.until_us, 25 * hour);
        /* Before 1970, and in the middle of a second. */
        at = windows_at(windows, 2, -22 * hour - 1);
        assert_true(at.open);
        assert_int_equal(at.until_us, -21 * hour);
}

static void test_always_and_never(void **state) {
        (void)state;
        WindowsState at = windows_at(NULL, 0, 1);
        assert_true(at.open);
        assert_int_equal(at.until_us, INT64_MAX);
        const Window none = {0, 0, HOUR, zone_utc()};
        at = windows_at(&none, 1, 1);
        assert_false(at.open);
        assert_int_equal(at.until_us, INT64_MAX);
        const Window daily = {WINDOW_EVERY_DAY, 0, HOUR, zones[BERLIN]};
        static const int64_t ends[] = {INT64_MIN, INT64_MIN + 1, INT64_MAX - 1};
        for (size_t i = 0; i < sizeof(ends) / sizeof(ends[0]); i++) {
                at = windows_at(&daily, 1, ends[i]);
                assert_true(at.until_us > ends[i]);
        }
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_table),
                cmocka_unit_test(test_against_the_clock_on_the_wall),
                cmocka_unit_test(test_several),
                cmocka_unit_test(test_always_and_never),
        };
        return cmocka_run_group_tests(tests, set_up, tear_down);
}
