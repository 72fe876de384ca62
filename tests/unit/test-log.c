#include "test.h"

#include <fcntl.h>
#include <jansson.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "telemetry/log.h"
#include "util/buffer.h"

#define SECOND 1000000

static int64_t now_us(void) {
        struct timespec ts;
        clock_gettime(CLOCK_MONOTONIC, &ts);
        return (int64_t)ts.tv_sec * 1000000 + ts.tv_nsec / 1000;
}

static Log *start(int fd, LogFormat format, LogLevel level, size_t capacity) {
        Log *log = NULL;
        assert_int_equal(log_new(&log, fd, format, level, "unit", capacity), 0);
        assert_non_null(log);
        return log;
}

/* Reads until @needle was seen, the end of the file, or 10 s. */
static bool read_until(int fd, Buffer *buffer, const char *needle) {
        int64_t deadline = now_us() + 10 * SECOND;
        for (;;) {
                if (needle != NULL && buffer->size > 0 &&
                    memmem(buffer->data, buffer->size, needle, strlen(needle)) != NULL) {
                        return true;
                }
                struct pollfd wait = {.fd = fd, .events = POLLIN};
                int64_t left = deadline - now_us();
                assert_true(left > 0);
                if (poll(&wait, 1, (int)(left / 1000) + 1) <= 0) {
                        continue;
                }
                assert_int_equal(buffer_reserve(buffer, 65536), 0);
                ssize_t n = read(fd, buffer->data + buffer->size, 65536);
                assert_true(n >= 0);
                if (n == 0) {
                        return false;
                }
                buffer->size += (size_t)n;
        }
}

/* Logs until the pipe has no room, and then until the ring has none: the thread is stuck for good.
 */
static void fill(Log *log, int pipe_end) {
        int64_t deadline = now_us() + 10 * SECOND;
        struct pollfd wait = {.fd = pipe_end, .events = POLLOUT};
        while (poll(&wait, 1, 0) == 1) {
                assert_true(now_us() < deadline);
                log_info(log, "fill", FIELDS(), "%0100d", 0);
        }
        for (uint64_t before = log_dropped(log); log_dropped(log) == before;) {
                assert_true(now_us() < deadline);
                log_info(log, "fill", FIELDS(), "%0100d", 0);
        }
}

static json_t *next_line(const Buffer *buffer, size_t *positionp) {
        if (*positionp == buffer->size) {
                return NULL;
        }
        const char *line = (const char *)buffer->data + *positionp;
        const char *end = memchr(line, '\n', buffer->size - *positionp);
        assert_non_null(end);
        json_error_t error;
        json_t *json = json_loadb(line, (size_t)(end - line), JSON_REJECT_DUPLICATES, &error);
        if (json == NULL) {
                fail_msg("%s: %.*s", error.text, (int)(end - line), line);
        }
        *positionp += (size_t)(end - line) + 1;
        return json;
}

static const char *text_of(const json_t *json, const char *key) {
        return json_string_value(json_object_get(json, key));
}

static void test_writes_what_is_wanted(void **state) {
        (void)state;
        int fds[2];
        Buffer buffer = BUFFER_INIT;
        assert_int_equal(pipe(fds), 0);
        Log *log = start(fds[1], LOG_AUTO, LOG_INFO, LOG_CAPACITY_MIN); /* a pipe: JSON */
        assert_false(log_wants(log, LOG_DEBUG));
        log_debug(log, "no", FIELDS(), "not wanted");
        log_write(log, LOG_DEBUG, "no", FIELDS(), "not wanted");
        errno = EXDEV;
        log_info(log, "one", FIELDS(.host = "h"), "first %d", 1);
        assert_int_equal(errno, EXDEV);
        log_set_level(log, LOG_DEBUG);
        log_debug(log, "two", FIELDS(), "second");
        log_set_level(log, LOG_ERROR);
        log_warning(log, "no", FIELDS(), "not wanted");
        log_error(log, "three", FIELDS(), "third");
        log_free(log, 10 * SECOND);
        close(fds[1]); /* the log has closed its own by now, so this is the end of the pipe */
        assert_false(read_until(fds[0], &buffer, NULL));
        static const char *const expected[][3] = {{"one", "info", "first 1"},
                                                  {"two", "debug", "second"},
                                                  {"three", "error", "third"}};
        size_t position = 0;
        for (size_t i = 0; i < 3; i++) {
                json_t *json = next_line(&buffer, &position);
                assert_string_equal(text_of(json, "event"), expected[i][0]);
                assert_string_equal(text_of(json, "level"), expected[i][1]);
                assert_string_equal(text_of(json, "msg"), expected[i][2]);
                assert_string_equal(text_of(json, "instance"), "unit");
                json_decref(json);
        }
        assert_null(next_line(&buffer, &position));
        close(fds[0]);
        buffer_deinit(&buffer);
}

static void test_cuts_long_messages(void **state) {
        (void)state;
        int fds[2];
        Buffer buffer = BUFFER_INIT;
        static char longest[LOG_MESSAGE_MAX + 2];
        assert_int_equal(pipe(fds), 0);
        Log *log = start(fds[1], LOG_JSON, LOG_INFO, LOG_CAPACITY_MIN);
        memset(longest, 'x', LOG_MESSAGE_MAX);
        log_info(log, "fits", FIELDS(), "%s", longest);
        longest[LOG_MESSAGE_MAX] = 'y';
        log_info(log, "cut", FIELDS(), "%s", longest);
        log_free(log, 10 * SECOND);
        close(fds[1]);
        assert_false(read_until(fds[0], &buffer, NULL));
        size_t position = 0;
        json_t *json = next_line(&buffer, &position);
        assert_int_equal(strlen(text_of(json, "msg")), LOG_MESSAGE_MAX);
        json_decref(json);
        json = next_line(&buffer, &position);
        const char *message = text_of(json, "msg");
        assert_string_equal(message + strspn(message, "x"), "…[cut]");
        assert_int_equal(strspn(message, "x"), LOG_MESSAGE_MAX);
        json_decref(json);
        close(fds[0]);
        buffer_deinit(&buffer);
}

/* The sum of what arrived and of what is said to be missing is what was logged, in order. */
static uint64_t check_complete(const Buffer *buffer, uint64_t *reportsp) {
        size_t position = 0;
        uint64_t missing = 0, lines = 0;
        *reportsp = 0;
        for (json_t *json; (json = next_line(buffer, &position)) != NULL; json_decref(json)) {
                if (strcmp(text_of(json, "event"), "log.dropped") == 0) {
                        uint64_t n = strtoull(text_of(json, "msg"), NULL, 10);
                        assert_true(n > 0);
                        assert_string_equal(text_of(json, "level"), "warning");
                        missing += n;
                        (*reportsp)++;
                } else {
                        lines++;
                }
        }
        return lines + missing;
}

static void test_stuck_reader(void **state) {
        (void)state;
        int fds[2];
        Buffer buffer = BUFFER_INIT;
        uint64_t logged = 0, reports;
        assert_int_equal(pipe(fds), 0);
        Log *log = start(fds[1], LOG_JSON, LOG_INFO, LOG_CAPACITY_MIN);
        /* Many times what pipe and ring hold; were it to wait for the reader, it would wait for
         * ever. */
        int64_t began = now_us();
        for (; logged < 20000; logged++) {
                log_info(log, "line", FIELDS(.offset = (int64_t)logged), "%0100d", 0);
        }
        assert_true(now_us() - began < 10 * SECOND);
        uint64_t dropped = log_dropped(log);
        assert_true(dropped > 10000);
        /* The reader comes back: the report arrives although nobody logs any more. */
        assert_true(read_until(fds[0], &buffer, "log.dropped"));
        log_info(log, "last", FIELDS(), "after it");
        logged++;
        assert_true(read_until(fds[0], &buffer, "\"last\""));
        log_free(log, 10 * SECOND);
        close(fds[1]);
        assert_false(read_until(fds[0], &buffer, NULL));
        assert_int_equal(check_complete(&buffer, &reports), logged);
        assert_true(reports >= 1);
        close(fds[0]);
        buffer_deinit(&buffer);
}

/* The report stands where the lines are missing: the next line that fits comes right behind it. */
static void test_report_stands_in_its_place(void **state) {
        (void)state;
        int fds[2];
        Buffer buffer = BUFFER_INIT;
        uint64_t reports;
        assert_int_equal(pipe(fds), 0);
        Log *log = start(fds[1], LOG_JSON, LOG_INFO, LOG_CAPACITY_MIN);
        uint64_t offset = 0;
        /* Reads a little, now and then, so that lines fit again while the ring holds others. */
        for (int round = 0; round < 20; round++) {
                uint64_t before = log_dropped(log);
                while (log_dropped(log) == before) {
                        log_info(log, "line", FIELDS(.offset = (int64_t)offset++), "%0100d", 0);
                }
                assert_int_equal(buffer_reserve(&buffer, 16384), 0);
                ssize_t n = read(fds[0], buffer.data + buffer.size, 16384);
                assert_true(n > 0);
                buffer.size += (size_t)n;
        }
        /* What the thread still has to write does not fit into the pipe. */
        log_info(log, "end", FIELDS(), "end");
        uint64_t end_dropped = 0;
        while (memmem(buffer.data, buffer.size, "\"end\"", 5) == NULL) {
                struct pollfd wait = {.fd = fds[0], .events = POLLIN};
                if (poll(&wait, 1, 100) == 0) {
                        /* "end" itself was dropped; now there is room. */
                        end_dropped++;
                        log_info(log, "end", FIELDS(), "end");
                        continue;
                }
                assert_int_equal(buffer_reserve(&buffer, 65536), 0);
                ssize_t n = read(fds[0], buffer.data + buffer.size, 65536);
                assert_true(n > 0);
                buffer.size += (size_t)n;
        }
        log_free(log, 10 * SECOND);
        close(fds[1]);
        assert_false(read_until(fds[0], &buffer, NULL));

        size_t position = 0;
        int64_t expected = 0;
        for (json_t *json; (json = next_line(&buffer, &position)) != NULL; json_decref(json)) {
                const char *event = text_of(json, "event");
                if (strcmp(event, "log.dropped") == 0) {
                        expected += (int64_t)strtoull(text_of(json, "msg"), NULL, 10);
                } else if (strcmp(event, "line") == 0) {
                        assert_int_equal(json_integer_value(json_object_get(json, "offset")),
                                         expected);
                        expected++;
                }
        }
        assert_int_equal(check_complete(&buffer, &reports), offset + 1 + end_dropped);
        assert_true(reports > 1);
        close(fds[0]);
        buffer_deinit(&buffer);
}

static void wait_for_drops(const Log *log, uint64_t n) {
        int64_t deadline = now_us() + 10 * SECOND;
        while (log_dropped(log) < n) {
                assert_true(now_us() < deadline);
                usleep(1000);
        }
        assert_int_equal(log_dropped(log), n);
}

/* SIGPIPE keeps its default action here: were it not blocked in the thread, the test would die. */
static void test_reader_is_gone(void **state) {
        (void)state;
        int fds[2];
        assert_int_equal(pipe(fds), 0);
        Log *log = start(fds[1], LOG_TEXT, LOG_INFO, LOG_CAPACITY_MIN);
        close(fds[0]);
        for (uint64_t i = 1; i <= 3; i++) {
                log_info(log, "line", FIELDS(), "x");
                wait_for_drops(log, i);
        }
        log_free(log, SECOND);
        close(fds[1]);
}

static void test_descriptor_is_closed(void **state) {
        (void)state;
        int fds[2];
        assert_int_equal(pipe(fds), 0);
        close(fds[0]);
        close(fds[1]);
        Log *log = start(fds[1], LOG_AUTO, LOG_INFO, LOG_CAPACITY_MIN);
        log_info(log, "line", FIELDS(), "x");
        wait_for_drops(log, 1);
        log_free(log, SECOND);
}

/* A descriptor that refuses and then works again: a FIFO whose reader leaves and comes back. */
static void test_works_again(void **state) {
        (void)state;
        char folder[] = "/tmp/test-log-XXXXXX", path[64];
        Buffer buffer = BUFFER_INIT;
        uint64_t reports;
        assert_non_null(mkdtemp(folder));
        snprintf(path, sizeof(path), "%s/fifo", folder);
        assert_int_equal(mkfifo(path, 0600), 0);
        int reader = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
        int writer = open(path, O_WRONLY | O_CLOEXEC);
        assert_true(reader >= 0 && writer >= 0);
        Log *log = start(writer, LOG_JSON, LOG_INFO, LOG_CAPACITY_MIN);
        close(reader);
        log_info(log, "line", FIELDS(), "1");
        wait_for_drops(log, 1);
        log_info(log, "line", FIELDS(), "2");
        wait_for_drops(log, 2);
        reader = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
        assert_true(reader >= 0);
        log_info(log, "line", FIELDS(), "3");
        assert_true(read_until(reader, &buffer, "\"3\""));
        assert_int_equal(check_complete(&buffer, &reports), 3);
        assert_int_equal(reports, 1);
        assert_int_equal(log_dropped(log), 2);
        log_free(log, SECOND);
        close(writer);
        close(reader);
        unlink(path);
        rmdir(folder);
        buffer_deinit(&buffer);
}

static void test_non_blocking_descriptor(void **state) {
        (void)state;
        int fds[2];
        Buffer buffer = BUFFER_INIT;
        uint64_t reports;
        assert_int_equal(pipe2(fds, O_NONBLOCK), 0);
        Log *log = start(fds[1], LOG_JSON, LOG_INFO, (size_t)1024 * 1024);
        for (int i = 0; i < 3000; i++) {
                log_info(log, "line", FIELDS(), "%0100d", 0);
        }
        log_info(log, "last", FIELDS(), "x");
        assert_true(read_until(fds[0], &buffer, "\"last\""));
        log_free(log, SECOND);
        assert_int_equal(check_complete(&buffer, &reports), 3001);
        assert_int_equal(reports, 0);
        close(fds[0]);
        close(fds[1]);
        buffer_deinit(&buffer);
}

static void test_free_with_a_stuck_thread(void **state) {
        (void)state;
        int fds[2];
        assert_int_equal(pipe(fds), 0);
        Log *log = start(fds[1], LOG_JSON, LOG_INFO, LOG_CAPACITY_MIN);
        fill(log, fds[1]);
        int64_t began = now_us();
        log_free(log, 50000);
        int64_t took = now_us() - began;
        assert_true(took >= 49000);
        assert_true(took < 2 * SECOND);
        /* It wakes up now, frees the log, and closes its descriptor: the end of the file. */
        close(fds[1]);
        Buffer buffer = BUFFER_INIT;
        assert_false(read_until(fds[0], &buffer, NULL));
        close(fds[0]);
        buffer_deinit(&buffer);
}

typedef struct Crowd {
        Log *log;
        int number;
} Crowd;

#define CROWD       4
#define CROWD_LINES 5000

static void *crowd_thread(void *user) {
        Crowd *crowd = user;
        char host[16];
        snprintf(host, sizeof(host), "h%d", crowd->number);
        for (int i = 0; i < CROWD_LINES; i++) {
                log_info(crowd->log, "line", FIELDS(.host = host, .offset = i), "%s %0*d", host,
                         i % 50 + 1, i);
        }
        return NULL;
}

/* Many threads and a reader that keeps up more or less: each thread's lines are whole and in order,
 * and none is missing that was not told. */
static void test_many_threads(void **state) {
        (void)state;
        int fds[2];
        Buffer buffer = BUFFER_INIT;
        uint64_t reports;
        Crowd crowd[CROWD];
        pthread_t threads[CROWD];
        assert_int_equal(pipe(fds), 0);
        Log *log = start(fds[1], LOG_JSON, LOG_INFO, LOG_CAPACITY_MIN);
        for (int i = 0; i < CROWD; i++) {
                crowd[i] = (Crowd){.log = log, .number = i};
                assert_int_equal(pthread_create(&threads[i], NULL, crowd_thread, &crowd[i]), 0);
        }
        /* Reads until all have ended. */
        for (int i = 0; i < CROWD;) {
                struct pollfd wait = {.fd = fds[0], .events = POLLIN};
                if (poll(&wait, 1, 1) == 1) {
                        assert_int_equal(buffer_reserve(&buffer, 65536), 0);
                        ssize_t n = read(fds[0], buffer.data + buffer.size, 65536);
                        assert_true(n > 0);
                        buffer.size += (size_t)n;
                } else if (pthread_tryjoin_np(threads[i], NULL) == 0) {
                        i++;
                }
        }
        log_free(log, 10 * SECOND);
        close(fds[1]);
        assert_false(read_until(fds[0], &buffer, NULL));
        assert_int_equal(check_complete(&buffer, &reports), CROWD * CROWD_LINES);
        size_t position = 0;
        int64_t next[CROWD] = {0};
        for (json_t *json; (json = next_line(&buffer, &position)) != NULL; json_decref(json)) {
                const char *host = text_of(json, "host");
                if (host != NULL) {
                        int64_t offset = json_integer_value(json_object_get(json, "offset"));
                        assert_true(offset >= next[host[1] - '0']);
                        next[host[1] - '0'] = offset + 1;
                }
        }
        close(fds[0]);
        buffer_deinit(&buffer);
}

static void check_terminal(const char *no_color, const char *expected) {
        Buffer buffer = BUFFER_INIT;
        int terminal = posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC);
        assert_true(terminal >= 0);
        assert_int_equal(grantpt(terminal), 0);
        assert_int_equal(unlockpt(terminal), 0);
        int fd = open(ptsname(terminal), O_RDWR | O_NOCTTY | O_CLOEXEC);
        assert_true(fd >= 0);
        if (no_color != NULL) {
                assert_int_equal(setenv("NO_COLOR", no_color, 1), 0);
        } else {
                assert_int_equal(unsetenv("NO_COLOR"), 0);
        }
        Log *log = start(fd, LOG_AUTO, LOG_INFO, LOG_CAPACITY_MIN);
        log_error(log, "line", FIELDS(), "text");
        assert_true(read_until(terminal, &buffer, "\n"));
        assert_non_null(memmem(buffer.data, buffer.size, expected, strlen(expected)));
        log_free(log, SECOND);
        close(fd);
        close(terminal);
        buffer_deinit(&buffer);
}

static void test_terminal(void **state) {
        (void)state;
        check_terminal(NULL, "\033[31mERROR\033[0m text");
        check_terminal("", "\033[31mERROR\033[0m text");
        check_terminal("1", " ERROR text  event=line instance=unit");
        unsetenv("NO_COLOR");
}

static void test_level_names(void **state) {
        (void)state;
        for (int level = LOG_DEBUG; level <= LOG_ERROR; level++) {
                assert_int_equal(log_level_parse(log_level_name((LogLevel)level)), level);
        }
        assert_int_equal(log_level_parse("warn"), -1);
        assert_int_equal(log_level_parse(""), -1);
}

static void test_null(void **state) {
        (void)state;
        assert_false(log_wants(NULL, LOG_ERROR));
        log_error(NULL, "x", FIELDS(), "x");
        assert_int_equal(log_dropped(NULL), 0);
        log_free(NULL, 0);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_writes_what_is_wanted),
                cmocka_unit_test(test_cuts_long_messages),
                cmocka_unit_test(test_stuck_reader),
                cmocka_unit_test(test_report_stands_in_its_place),
                cmocka_unit_test(test_reader_is_gone),
                cmocka_unit_test(test_descriptor_is_closed),
                cmocka_unit_test(test_works_again),
                cmocka_unit_test(test_non_blocking_descriptor),
                cmocka_unit_test(test_free_with_a_stuck_thread),
                cmocka_unit_test(test_many_threads),
                cmocka_unit_test(test_terminal),
                cmocka_unit_test(test_level_names),
                cmocka_unit_test(test_null),
        };
        return cmocka_run_group_tests(tests, NULL, NULL);
}
