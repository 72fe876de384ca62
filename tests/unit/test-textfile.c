#include "test.h"

#include <dirent.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "telemetry/textfile.h"

#define SECOND 1000000

/* The disk: rename() is ours, and can hang. */
static pthread_mutex_t disk_lock = PTHREAD_MUTEX_INITIALIZER;
static atomic_int disk_waiting, disk_passed;

int rename(const char *from, const char *to) {
        atomic_fetch_add(&disk_waiting, 1);
        pthread_mutex_lock(&disk_lock);
        int r = renameat(AT_FDCWD, from, AT_FDCWD, to);
        pthread_mutex_unlock(&disk_lock);
        atomic_fetch_sub(&disk_waiting, 1);
        atomic_fetch_add(&disk_passed, 1);
        return r;
}

typedef struct Fixture {
        char folder[64];
        char path[128];
        int fds[2]; /* the log's */
        Log *log;
} Fixture;

static int64_t now_us(void) {
        struct timespec ts;
        clock_gettime(CLOCK_MONOTONIC, &ts);
        return (int64_t)ts.tv_sec * 1000000 + ts.tv_nsec / 1000;
}

static int setup(void **state) {
        Fixture *fixture = calloc(1, sizeof(*fixture));
        assert_non_null(fixture);
        snprintf(fixture->folder, sizeof(fixture->folder), "/tmp/test-textfile-XXXXXX");
        assert_non_null(mkdtemp(fixture->folder));
        snprintf(fixture->path, sizeof(fixture->path), "%s/ackd.prom", fixture->folder);
        assert_int_equal(pipe(fixture->fds), 0);
        assert_int_equal(log_new(&fixture->log, fixture->fds[1], LOG_TEXT, LOG_INFO, NULL,
                                 LOG_CAPACITY_MIN),
                         0);
        *state = fixture;
        return 0;
}

static int teardown(void **state) {
        Fixture *fixture = *state;
        log_free(fixture->log, SECOND);
        close(fixture->fds[0]);
        close(fixture->fds[1]);
        unlink(fixture->path);
        rmdir(fixture->folder);
        free(fixture);
        return 0;
}

static void give(Textfile *file, const char *text) {
        Buffer page = BUFFER_INIT;
        assert_int_equal(buffer_append_string(&page, text), 0);
        textfile_write(file, &page);
        assert_int_equal(page.size, 0);
        buffer_deinit(&page);
}

static void check_content(const char *path, const char *expected) {
        char text[256];
        FILE *file = fopen(path, "r");
        assert_non_null(file);
        text[fread(text, 1, sizeof(text) - 1, file)] = '\0';
        fclose(file);
        assert_string_equal(text, expected);
}

static void check_files(const char *path, int expected) {
        DIR *folder = opendir(path);
        int n = 0;
        assert_non_null(folder);
        for (struct dirent *entry; (entry = readdir(folder)) != NULL;) {
                n += entry->d_name[0] != '.';
        }
        closedir(folder);
        assert_int_equal(n, expected);
}

/* One line of the log that has @event, before any other. */
static void check_log(Fixture *fixture, const char *event) {
        char line[1024];
        size_t n = 0;
        while (n < sizeof(line) - 1) {
                struct pollfd wait = {.fd = fixture->fds[0], .events = POLLIN};
                assert_int_equal(poll(&wait, 1, 10000), 1);
                assert_int_equal(read(fixture->fds[0], line + n, 1), 1);
                if (line[n++] == '\n') {
                        break;
                }
        }
        line[n] = '\0';
        if (strstr(line, event) == NULL) {
                fail_msg("not %s: %s", event, line);
        }
}

/* Nothing has been logged: a line of ours is the first to come. */
static void check_quiet(Fixture *fixture) {
        log_info(fixture->log, "test.mark", FIELDS(), "mark");
        check_log(fixture, "test.mark");
}

static void test_writes(void **state) {
        Fixture *fixture = *state;
        Textfile *file;
        struct stat st;
        assert_int_equal(textfile_new(&file, fixture->path, fixture->log), 0);
        assert_true(textfile_flush(file, 0)); /* there is nothing to wait for */
        give(file, "one\n");
        assert_true(textfile_flush(file, 10 * SECOND));
        check_content(fixture->path, "one\n");
        give(file, "two\n");
        give(file, "three\n");
        assert_true(textfile_flush(file, 10 * SECOND));
        check_content(fixture->path, "three\n");
        assert_int_equal(stat(fixture->path, &st), 0);
        mode_t mask = umask(022);
        umask(mask);
        assert_int_equal(st.st_mode & 0777, 0644 & ~mask); /* node_exporter is another user */
        textfile_free(file);
        check_files(fixture->folder, 1);
}

/* Another process that writes into the file (the clock may be coarse, so its time is set), or puts
 * one of the same time in its place. */
static void write_as_another(const char *path, bool replace) {
        struct stat st;
        assert_int_equal(stat(path, &st), 0);
        struct timespec times[2] = {st.st_mtim, st.st_mtim};
        if (!replace) {
                times[1].tv_sec -= 1;
        } else {
                char aside[200];
                snprintf(aside, sizeof(aside), "%s.aside", path);
                FILE *other = fopen(aside, "w");
                assert_non_null(other);
                assert_int_equal(fclose(other), 0);
                assert_int_equal(renameat(AT_FDCWD, aside, AT_FDCWD, path), 0);
        }
        assert_int_equal(utimensat(AT_FDCWD, path, times, 0), 0);
}

static void test_crowded(void **state) {
        Fixture *fixture = *state;
        for (int replace = 0; replace <= 1; replace++) {
                Textfile *file;
                assert_int_equal(textfile_new(&file, fixture->path, fixture->log), 0);
                give(file, "one\n"); /* over what lies there from before */
                assert_true(textfile_flush(file, 10 * SECOND));
                give(file, "two\n");
                assert_true(textfile_flush(file, 10 * SECOND));
                assert_int_equal(unlink(fixture->path), 0); /* nobody else writes */
                give(file, "three\n");
                assert_true(textfile_flush(file, 10 * SECOND));
                check_quiet(fixture);
                write_as_another(fixture->path, replace);
                give(file, "four\n");
                assert_true(textfile_flush(file, 10 * SECOND));
                check_log(fixture, "metrics.textfile_crowded");
                write_as_another(fixture->path, replace);
                give(file, "five\n");
                assert_true(textfile_flush(file, 10 * SECOND));
                check_quiet(fixture); /* it was said */
                check_content(fixture->path, "five\n");
                textfile_free(file);
        }
}

/* A crash, or somebody with a link, left something where the temporary file goes. */
static void test_leftover(void **state) {
        Fixture *fixture = *state;
        Textfile *file;
        char temporary[160], victim[160];
        snprintf(temporary, sizeof(temporary), "%s.tmp", fixture->path);
        snprintf(victim, sizeof(victim), "%s/victim", fixture->folder);
        FILE *stream = fopen(victim, "w");
        assert_non_null(stream);
        fputs("mine", stream);
        fclose(stream);
        assert_int_equal(symlink(victim, temporary), 0);
        assert_int_equal(textfile_new(&file, fixture->path, fixture->log), 0);
        give(file, "page\n");
        assert_true(textfile_flush(file, 10 * SECOND));
        check_content(fixture->path, "page\n");
        check_content(victim, "mine");
        textfile_free(file);
        unlink(victim);
        check_files(fixture->folder, 1);
}

static void test_failure_is_told_once(void **state) {
        Fixture *fixture = *state;
        Textfile *file;
        assert_int_equal(rmdir(fixture->folder), 0);
        assert_int_equal(textfile_new(&file, fixture->path, fixture->log), 0);
        for (int i = 0; i < 3; i++) {
                give(file, "page\n");
                assert_false(textfile_flush(file, 10 * SECOND));
        }
        assert_int_equal(mkdir(fixture->folder, 0700), 0);
        for (int i = 0; i < 3; i++) {
                give(file, "page\n");
                assert_true(textfile_flush(file, 10 * SECOND));
        }
        assert_int_equal(rmdir(fixture->folder) < 0, 1);
        unlink(fixture->path);
        assert_int_equal(rmdir(fixture->folder), 0);
        give(file, "page\n");
        assert_false(textfile_flush(file, 10 * SECOND));
        check_log(fixture, "metrics.textfile_failed");
        check_log(fixture, "metrics.textfile_works");
        check_log(fixture, "metrics.textfile_failed");
        textfile_free(file);
}

static void test_disk_hangs(void **state) {
        Fixture *fixture = *state;
        Textfile *file;
        assert_int_equal(textfile_new(&file, fixture->path, fixture->log), 0);
        pthread_mutex_lock(&disk_lock);
        int passed = atomic_load(&disk_passed);
        give(file, "one\n");
        while (atomic_load(&disk_waiting) == 0) {
                sched_yield();
        }
        /* Neither writing nor the end waits for the disk; a flush does for its limit. */
        int64_t began = now_us();
        for (int i = 0; i < 100; i++) {
                give(file, "more\n");
        }
        assert_false(textfile_flush(file, 50000));
        int64_t took = now_us() - began;
        assert_true(took >= 49000);
        assert_true(took < 5 * SECOND);
        textfile_free(file);
        /* The thread that was left behind comes back: it logs nothing, and writes no more pages. */
        pthread_mutex_unlock(&disk_lock);
        while (atomic_load(&disk_passed) == passed) {
                sched_yield();
        }
        check_content(fixture->path, "one\n");
}

static void test_null(void **state) {
        (void)state;
        textfile_free(NULL);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test_setup_teardown(test_writes, setup, teardown),
                cmocka_unit_test_setup_teardown(test_crowded, setup, teardown),
                cmocka_unit_test_setup_teardown(test_leftover, setup, teardown),
                cmocka_unit_test_setup_teardown(test_failure_is_told_once, setup, teardown),
                cmocka_unit_test_setup_teardown(test_disk_hangs, setup, teardown),
                cmocka_unit_test(test_null),
        };
        return cmocka_run_group_tests(tests, NULL, NULL);
}
