#include "test.h"

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "config/zones.h"

static char folder[] = "/tmp/test-zones-XXXXXX";

static int set_up(void **state) {
        (void)state;
        return mkdtemp(folder) == NULL || setenv("TZDIR", folder, 1) != 0 ? -1 : 0;
}

static int tear_down(void **state) {
        (void)state;
        return rmdir(folder);
}

static const char *in_folder(const char *name) {
        static char path[256];
        snprintf(path, sizeof(path), "%s/%s", folder, name);
        return path;
}

static void write_file(const char *name, const void *data, size_t size) {
        FILE *file = fopen(in_folder(name), "we");
        assert_non_null(file);
        assert_int_equal(fwrite(data, 1, size, file), size);
        assert_int_equal(fclose(file), 0);
}

static void refuse(const char *name, const char *expected) {
        CLEANUP(buffer_deinit) Buffer why = BUFFER_INIT;
        Zone *zone = NULL;
        assert_int_equal(zones_load(&zone, name, &why), ZONES_E_UNFIT);
        assert_null(zone);
        assert_string_equal(buffer_string(&why), expected);
}

/* Two and a quarter hours ahead, for ever. */
static const char good[] = "TZif2\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0"
                           "\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0"
                           "TZif2\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0"
                           "\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\1\0\0\0\4"
                           "\0\0\x1f\xa4\0\0"
                           "ABC\0"
                           "\n<x>-2:15\n";

static void test_reads(void **state) {
        (void)state;
        CLEANUP(buffer_deinit) Buffer why = BUFFER_INIT;
        Zone *zone = NULL;
        int64_t until = 0;
        assert_int_equal(mkdir(in_folder("Some"), 0700), 0);
        write_file("Some/Where_1", good, sizeof(good) - 1);
        assert_int_equal(zones_load(&zone, "Some/Where_1", &why), 0);
        assert_int_equal(zone_offset(zone, 0, &until), 8100);
        assert_true(until == INT64_MAX);
        zone_free(zone);
        /* It needs no file. */
        assert_int_equal(zones_load(&zone, "UTC", &why), 0);
        assert_int_equal(zone_offset(zone, 0, &until), 0);
        zone_free(zone);
        assert_int_equal(why.size, 0);
        char expected[128];
        snprintf(expected, sizeof(expected), "is no zone of %s", folder);
        refuse("Some", expected);
        refuse("Some/Where_1/X", expected);
        unlink(in_folder("Some/Where_1"));
        assert_int_equal(rmdir(in_folder("Some")), 0);
}

/* None of these is opened, whatever is there. */
static void test_names(void **state) {
        (void)state;
        static const char *const names[] = {
                "",
                "/etc/localtime",
                "../zoneinfo/UTC",
                "Europe/../../etc/passwd",
                "Europe/",
                "Europe//Berlin",
                "./UTC",
                ".",
                "..",
                "Europe/.hidden",
                "-",
                "a b",
                "Europe\\x",
                "a\n",
                "%s",
                "5",
                "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
                "Europe/Ber.lin"};
        for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
                refuse(names[i], "is not the name of a zone");
        }
}

static void test_files(void **state) {
        (void)state;
        static char large[ZONE_SIZE_MAX + 1];
        char expected[160];
        snprintf(expected, sizeof(expected), "is no zone of %s", folder);
        refuse("Nowhere", expected);
        write_file("Bad", "TZif", 4);
        refuse("Bad", "has a file that cannot be used: it is no file of a time zone");
        write_file("Bad", "", 0);
        refuse("Bad", "has a file that cannot be used: it is no file of a time zone");
        write_file("Bad", good, sizeof(good) - 2);
        refuse("Bad", "has a file that cannot be used: it is cut short");
        write_file("Bad", large, sizeof(large));
        refuse("Bad", "has a file that is too large for a zone's");
        unlink(in_folder("Bad"));
        /* It would be read for ever. */
        assert_int_equal(mkfifo(in_folder("Fifo"), 0600), 0);
        snprintf(expected, sizeof(expected), "cannot be read in %s: Invalid argument", folder);
        refuse("Fifo", expected);
        unlink(in_folder("Fifo"));
}

static void test_no_database(void **state) {
        (void)state;
        assert_int_equal(setenv("TZDIR", "/nowhere/at/all", 1), 0);
        refuse("Europe/Berlin", "cannot be looked up: there is no /nowhere/at/all; install tzdata");
        assert_int_equal(setenv("TZDIR", folder, 1), 0);
}

/* Every file of the system's database that is one can be read, and agrees with the C library. */
static void test_the_systems_own(void **state) {
        (void)state;
        static const char *const names[] = {"Europe/Berlin",       "America/New_York",
                                            "Australia/Lord_Howe", "Asia/Kolkata",
                                            "Africa/Casablanca",   "America/Argentina/San_Luis",
                                            "Antarctica/Troll",    "Etc/GMT+12",
                                            "Pacific/Apia",        "Europe/Dublin"};
        assert_int_equal(unsetenv("TZDIR"), 0);
        for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
                CLEANUP(buffer_deinit) Buffer why = BUFFER_INIT;
                Zone *zone = NULL;
                if (zones_load(&zone, names[i], &why) != 0) {
                        fail_msg("%s %s", names[i], buffer_string(&why));
                }
                assert_int_equal(setenv("TZ", names[i], 1), 0);
                tzset();
                for (int64_t time = -3000000000; time < 9000000000; time += 1234567) {
                        struct tm tm;
                        time_t seconds = (time_t)time;
                        int64_t until = 0;
                        assert_non_null(localtime_r(&seconds, &tm));
                        int32_t offset = zone_offset(zone, time, &until);
                        if (offset != tm.tm_gmtoff || until <= time) {
                                fail_msg("%s at %lld: %d, not %ld", names[i], (long long)time,
                                         (int)offset, tm.tm_gmtoff);
                        }
                }
                zone_free(zone);
        }
        assert_int_equal(unsetenv("TZ"), 0);
        tzset();
        assert_int_equal(setenv("TZDIR", folder, 1), 0);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_reads),           cmocka_unit_test(test_names),
                cmocka_unit_test(test_files),           cmocka_unit_test(test_no_database),
                cmocka_unit_test(test_the_systems_own),
        };
        return cmocka_run_group_tests(tests, set_up, tear_down);
}
