#include "test.h"

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "util/buffer.h"
#include "util/zone.h"

/* --- files made by hand ------------------------------------------------------------------- */

typedef struct File {
        const char *magic; /* five bytes: "TZif2" */
        const int64_t *times;
        size_t n_times;
        const int32_t *offsets; /* one for before the first, and one for each time */
        const char *rule;
        uint32_t leaps;
} File;

static void put(Buffer *out, uint64_t value, int bytes) {
        while (bytes-- > 0) {
                assert_int_equal(buffer_append_char(out,
                                                    bytes < 8 ? (char)(value >> 8 * bytes) : 0),
                                 0);
        }
}

static void put_header(Buffer *out, const char *magic, uint32_t leaps, size_t times, size_t types) {
        assert_int_equal(buffer_append(out, magic, 5), 0);
        put(out, 0, 8);
        put(out, 0, 7);
        put(out, 0, 4);     /* isut */
        put(out, 0, 4);     /* isstd */
        put(out, leaps, 4); /* leap seconds */
        put(out, times, 4);
        put(out, types, 4);
        put(out, 4, 4); /* letters */
}

static Buffer make(const File *file) {
        Buffer out = BUFFER_INIT;
        size_t types = file->n_times + 1;
        put_header(&out, file->magic, 0, 1, 1);
        put(&out, 0, 4 + 1 + 6 + 4);
        put_header(&out, file->magic, file->leaps, file->n_times, types);
        for (size_t i = 0; i < file->n_times; i++) {
                put(&out, (uint64_t)file->times[i], 8);
        }
        for (size_t i = 0; i < file->n_times; i++) {
                put(&out, i + 1, 1);
        }
        for (size_t i = 0; i < types; i++) {
                put(&out, (uint32_t)file->offsets[i], 4);
                put(&out, 0, 2);
        }
        put(&out, 0x41424300, 4);
        for (uint32_t i = 0; i < file->leaps; i++) {
                put(&out, 0, 12);
        }
        assert_int_equal(buffer_printf(&out, "\n%s\n", file->rule), 0);
        return out;
}

static const int64_t some_times[] = {1000, 5000};
static const int32_t some_offsets[] = {-3600, 7200, 3600};
static const File some = {
        .magic = "TZif2", .times = some_times, .n_times = 2, .offsets = some_offsets, .rule = ""};

static Zone *parse(const File *file) {
        Buffer data = make(file);
        Zone *zone = NULL;
        const char *why = NULL;
        if (zone_parse(&zone, data.data, data.size, &why) != 0) {
                fail_msg("%s: %s", file->rule, why);
        }
        buffer_deinit(&data);
        return zone;
}

static void refuse(const File *file, const char *expected) {
        Buffer data = make(file);
        Zone *zone = NULL;
        const char *why = NULL;
        assert_int_equal(zone_parse(&zone, data.data, data.size, &why), ZONE_E_INVALID);
        assert_string_equal(why, expected);
        assert_null(zone);
        buffer_deinit(&data);
}

static void expect(const Zone *zone, int64_t time, int32_t offset, int64_t until) {
        int64_t found = 0;
        int32_t is = zone_offset(zone, time, &found);
        if (is != offset || found != until) {
                fail_msg("at %lld: %d until %lld, not %d until %lld", (long long)time, (int)is,
                         (long long)found, (int)offset, (long long)until);
        }
}

static void test_changes(void **state) {
        (void)state;
        Zone *zone = parse(&some);
        expect(zone, INT64_MIN, -3600, 1000);
        expect(zone, -1, -3600, 1000);
        expect(zone, 999, -3600, 1000);
        expect(zone, 1000, 7200, 5000);
        expect(zone, 4999, 7200, 5000);
        expect(zone, 5000, 3600, INT64_MAX);
        expect(zone, INT64_MAX, 3600, INT64_MAX);
        zone_free(zone);
        zone_free(NULL);
        expect(zone_utc(), 0, 0, INT64_MAX);
        zone_free((Zone *)zone_utc());
}

/* --- the rule ----------------------------------------------------------------------------- */

static const int32_t zero[] = {0};

static Zone *rule(const char *text) {
        const File file = {.magic = "TZif3", .offsets = zero, .rule = text};
        return parse(&file);
}

/* date -u -d 'YYYY-MM-DD HH:MM' +%s gave the numbers. */
static void test_rules(void **state) {
        (void)state;
        Zone *zone = rule("CET-1CEST,M3.5.0,M10.5.0/3");
        expect(zone, 1711846799, 3600, 1711846800); /* 2024-03-31 01:00 */
        expect(zone, 1711846800, 7200, 1729990800); /* 2024-10-27 01:00 */
        expect(zone, 1729990800, 3600, 1743296400); /* 2025-03-30 01:00 */
        expect(zone, 7265725199, 3600, 7265725200); /* 2200-03-30 01:00 */
        expect(zone, 7265725200, 7200, 7283869200); /* 2200-10-26 01:00 */
        zone_free(zone);
}

static void test_rules_far_away(void **state) {
        (void)state;
        /* Begins and ends in the other order; half an hour. */
        Zone *zone = rule("<+1030>-10:30<+11>-11,M10.1.0,M4.1.0");
        expect(zone, 1712415599, 39600, 1712415600); /* 2024-04-06 15:00 */
        expect(zone, 1712415600, 37800, 1728142200); /* 2024-10-05 15:30 */
        expect(zone, 1728142200, 39600, 1743865200); /* 2025-04-05 15:00 */
        zone_free(zone);
        /* No daylight saving. */
        zone = rule("IST-5:30");
        expect(zone, 1711846800, 19800, INT64_MAX);
        zone_free(zone);
        /* Julian days: February 29th is not counted by J60, and is by 60. */
        zone = rule("AAA0BBB,J60/0,J300/0");
        expect(zone, 1709251199, 0, 1709251200); /* 2024-03-01 */
        zone_free(zone);
        zone = rule("AAA0BBB,59/0,J300/0");
        expect(zone, 1709164799, 0, 1709164800); /* 2024-02-29 */
        zone_free(zone);
        /* A time that lies days off its day, and an offset that is given. */
        zone = rule("AAA3BBB1:30,M1.1.0/-25,M6.1.1/50");
        int64_t until = 0;
        assert_int_equal(zone_offset(zone, 1704506399, &until), -3 * 3600);
        assert_int_equal(until, 1704506400);    /* 2024-01-06 02:00 */
        expect(zone, until, -5400, 1717558200); /* 2024-06-05 03:30 */
        zone_free(zone);
        /* Daylight saving for ever: one year's end is the next one's beginning. */
        zone = rule("XXX3EDT4,0/0,J365/23");
        for (int64_t time = 1700000000; time < 1800000000; time += 86400 * 7 + 1) {
                assert_int_equal(zone_offset(zone, time, &until), -4 * 3600);
                assert_true(until > time);
        }
        zone_free(zone);
}

static void test_rules_that_are_none(void **state) {
        (void)state;
        static const char *const rules[] = {
                "CET",
                "CE-1",
                "CET-1CEST",
                "CET-1CEST,M3.5.0",
                "CET-1CEST,M3.5.0,",
                "CET-1CEST,M3.5.0M10.5.0/3",
                "CET-1CEST,M3.5.0,M10.5.0/3x",
                "CET-1CEST,M13.5.0,M10.5.0/3",
                "CET-1CEST,M0.5.0,M10.5.0/3",
                "CET-1CEST,M3.6.0,M10.5.0/3",
                "CET-1CEST,M3.0.0,M10.5.0/3",
                "CET-1CEST,M3.5.7,M10.5.0/3",
                "CET-1CEST,M3.5,M10.5.0/3",
                "CET-1CEST,J0,M10.5.0/3",
                "CET-1CEST,J366,M10.5.0/3",
                "CET-1CEST,366,M10.5.0/3",
                "CET-1CEST,M3.5.0/168,M10.5.0/3",
                "CET-1CEST,M3.5.0/2:60,M10.5.0/3",
                "CET-25",
                "CET-1:60",
                "CET-",
                "<CET-1",
                "<>-1",
                "-1",
                "CET-99999999999999999999",
        };
        for (size_t i = 0; i < sizeof(rules) / sizeof(rules[0]); i++) {
                const File file = {.magic = "TZif3", .offsets = zero, .rule = rules[i]};
                Buffer data = make(&file);
                Zone *zone = NULL;
                const char *why = NULL;
                if (zone_parse(&zone, data.data, data.size, &why) != ZONE_E_INVALID) {
                        fail_msg("\"%s\" is taken", rules[i]);
                }
                assert_string_equal(why, "has a rule for the future that is not POSIX's");
                buffer_deinit(&data);
        }
}

/* --- corrupt files ------------------------------------------------------------------------ */

static void test_what_is_no_zone(void **state) {
        (void)state;
        File file = some;
        file.magic = "TZip2";
        refuse(&file, "is no file of a time zone");
        file.magic = "TZif\0";
        refuse(&file, "is of version 1, which has no rule for the future");
        file = some;
        file.leaps = 2;
        refuse(&file, "counts leap seconds, which the system's clock does not");
        static const int64_t falling[] = {5000, 5000};
        file = some;
        file.times = falling;
        refuse(&file, "has changes that are out of order");
        static const int32_t far[] = {0, 26 * 3600, 0}, low[] = {0, 0, -25 * 3600};
        file = some;
        file.offsets = far;
        refuse(&file, "has an offset of more than a day");
        file.offsets = low;
        refuse(&file, "has an offset of more than a day");
}

/* A part of a file is never a file. */
static void test_what_is_cut_short(void **state) {
        (void)state;
        Buffer data = make(&some);
        for (size_t size = 0; size < data.size; size++) {
                uint8_t *copy = malloc(size + 1); /* of its own, so that a sanitizer sees its end */
                Zone *zone = NULL;
                const char *why = NULL;
                memcpy(copy, data.data, size);
                copy = realloc(copy, size > 0 ? size : 1);
                assert_int_equal(zone_parse(&zone, copy, size, &why), ZONE_E_INVALID);
                assert_non_null(why);
                free(copy);
        }
        buffer_deinit(&data);
}

/* Whatever one byte becomes: it is refused, or what it means is bounded. */
static void test_what_is_damaged(void **state) {
        (void)state;
        Buffer data = make(&some);
        for (size_t at = 0; at < data.size; at++) {
                for (int value = 0; value < 256; value++) {
                        uint8_t before = data.data[at];
                        Zone *zone = NULL;
                        const char *why = NULL;
                        data.data[at] = (uint8_t)value;
                        if (zone_parse(&zone, data.data, data.size, &why) == 0) {
                                int64_t until = 0;
                                int32_t offset = zone_offset(zone, 2000, &until);
                                assert_in_range(offset + 25 * 3600, 0, 51 * 3600);
                                assert_true(until > 2000);
                                zone_free(zone);
                        }
                        data.data[at] = before;
                }
        }
        buffer_deinit(&data);
}

/* Tables that claim to be as large as 32 bits can say. */
static void test_what_is_too_large(void **state) {
        (void)state;
        Buffer data = make(&some);
        size_t second = 44 + 4 + 1 + 6 + 4;
        for (size_t at = 20; at < 44; at++) {
                Zone *zone = NULL;
                const char *why = NULL;
                uint8_t before = data.data[second + at];
                data.data[second + at] = 0xff;
                assert_int_equal(zone_parse(&zone, data.data, data.size, &why), ZONE_E_INVALID);
                data.data[second + at] = before;
                before = data.data[at];
                data.data[at] = 0xff;
                assert_int_equal(zone_parse(&zone, data.data, data.size, &why), ZONE_E_INVALID);
                data.data[at] = before;
        }
        buffer_deinit(&data);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_changes),         cmocka_unit_test(test_rules),
                cmocka_unit_test(test_rules_far_away),  cmocka_unit_test(test_rules_that_are_none),
                cmocka_unit_test(test_what_is_no_zone), cmocka_unit_test(test_what_is_cut_short),
                cmocka_unit_test(test_what_is_damaged), cmocka_unit_test(test_what_is_too_large),
        };
        return cmocka_run_group_tests(tests, NULL, NULL);
}
