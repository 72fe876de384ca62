/* What a child sees, told by itself. */

#include "test.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "handlers/actions/spawn.h"

typedef struct World {
        Spawn spawn;
        char output[16384];
        size_t size;
} World;

static const ActionRequest plain = {.host = "web1", .attempt = 7};

static int setup(void **state) {
        static World world;
        *state = &world;
        return spawn_init(&world.spawn);
}

static int teardown(void **state) {
        World *world = *state;
        spawn_deinit(&world->spawn);
        spawn_deinit(&world->spawn);
        return waitpid(-1, NULL, WNOHANG) == -1 && errno == ECHILD ? 0 : -1;
}

/* Runs @argv to its end. */
static void run(World *world, const char *const *argv, const ActionRequest *request) {
        int output = -1, error = 0, status;
        pid_t pid = -1;
        int r = spawn_start(&world->spawn, (char *const *)argv, request, &pid, &output, NULL,
                            &error);
        assert_int_equal(r, 0);
        world->size = 0;
        for (;;) {
                struct pollfd poll_fd = {.fd = output, .events = POLLIN};
                assert_int_equal(poll(&poll_fd, 1, 30000), 1);
                size_t room = sizeof(world->output) - 1 - world->size;
                ssize_t n = read(output, world->output + world->size, room);
                assert_true(n >= 0);
                if (n == 0) {
                        break;
                }
                world->size += (size_t)n;
        }
        world->output[world->size] = '\0';
        close(output);
        assert_int_equal(waitpid(pid, &status, 0), pid);
        assert_int_equal(status, 0);
}

static const char *find_variable(const World *world, const char *name) {
        size_t n = strlen(name);
        const char *end = world->output + world->size;
        for (const char *at = world->output; at < end; at += strlen(at) + 1) {
                if (strncmp(at, name, n) == 0 && at[n] == '=') {
                        return at + n + 1;
                }
        }
        return NULL;
}

static void test_environment(void **state) {
        World *world = *state;
        static const char *const argv[] = {"/usr/bin/env", "-0", NULL};
        static const char *const private_names[] = {
                "NOTIFY_SOCKET",       "WATCHDOG_USEC", "WATCHDOG_PID",     "LISTEN_FDS",
                "ACKD__RETRY__LIMIT_", "PGPASSWORD",    "PGSSLKEYPASSWORD",
        };
        size_t n = sizeof(private_names) / sizeof(private_names[0]);
        for (size_t i = 0; i < n; i++) {
                setenv(private_names[i], "secret", 1);
        }
        setenv("ACKD_REQUEST_ID", "stale", 1);
        setenv("ACKD_CONFIG", "/etc/x.yaml", 1);
        setenv("PGHOST", "db", 1);
        spawn_deinit(&world->spawn);
        assert_int_equal(spawn_init(&world->spawn), 0);
        ActionRequest request = {.host = "web1", .id = "a\n=b \xff", .attempt = 7};
        run(world, argv, &request);
        assert_string_equal(find_variable(world, "ACKD_HOST"), "web1");
        assert_string_equal(find_variable(world, "ACKD_REQUEST_ID"), "a\n=b \xff");
        assert_string_equal(find_variable(world, "ACKD_ATTEMPT"), "7");
        assert_string_equal(find_variable(world, "ACKD_CONFIG"), "/etc/x.yaml");
        assert_string_equal(find_variable(world, "PGHOST"), "db");
        assert_non_null(find_variable(world, "PATH"));
        for (size_t i = 0; i < n; i++) {
                assert_null(find_variable(world, private_names[i]));
                unsetenv(private_names[i]);
        }
        run(world, argv, &plain);
        assert_null(find_variable(world, "ACKD_REQUEST_ID"));
        unsetenv("ACKD_REQUEST_ID");
        unsetenv("ACKD_CONFIG");
        unsetenv("PGHOST");
}

static void test_directory_and_descriptors(void **state) {
        World *world = *state;
        /* Without CLOEXEC, as librdkafka's pipes. */
        int fd = open("/dev/null", O_RDONLY);
        assert_true(fd >= 0);
        run(world,
            (const char *const[]){"/bin/sh", "-c",
                                  "pwd; readlink /proc/$$/fd/0; ls /proc/$$/fd | tr '\\n' ' '",
                                  NULL},
            &plain);
        close(fd);
        assert_string_equal(world->output, "/\n/dev/null\n0 1 2 ");
}

static void test_signals(void **state) {
        World *world = *state;
        sigset_t set, before;
        char blocked[32], ignored[32];
        signal(SIGPIPE, SIG_IGN);
        signal(SIGHUP, SIG_IGN);
        sigfillset(&set);
        sigprocmask(SIG_BLOCK, &set, &before);
        run(world,
            (const char *const[]){"/bin/grep", "-E", "SigBlk|SigIgn", "/proc/self/status", NULL},
            &plain);
        signal(SIGPIPE, SIG_DFL);
        signal(SIGHUP, SIG_DFL);
        sigprocmask(SIG_SETMASK, &before, NULL);
        assert_int_equal(sscanf(world->output, "SigBlk: %31s SigIgn: %31s", blocked, ignored), 2);
        assert_int_equal(strtoull(blocked, NULL, 16), 0);
        /* glibc ignores its own two, 32 and 33, in every child. */
        assert_int_equal(strtoull(ignored, NULL, 16) & ~0x180000000ULL, 0);
}

static void test_a_session_of_its_own(void **state) {
        World *world = *state;
        int pid = 0, group = 0, session = 0, terminal = -1;
        run(world,
            (const char *const[]){"/bin/sh", "-c", "echo $$; cut -d' ' -f5-7 /proc/$$/stat", NULL},
            &plain);
        assert_int_equal(sscanf(world->output, "%d %d %d %d", &pid, &group, &session, &terminal),
                         4);
        assert_int_equal(group, pid);
        assert_int_equal(session, pid);
        assert_int_equal(terminal, 0);
}

/* A daemon that was started with its standard descriptors closed. */
static void test_without_standard_descriptors(void **state) {
        World *world = *state;
        int saved[3];
        spawn_deinit(&world->spawn);
        for (int i = 0; i < 3; i++) {
                saved[i] = fcntl(i, F_DUPFD_CLOEXEC, 10);
                assert_true(saved[i] >= 10);
        }
        for (int i = 0; i < 3; i++) {
                close(i);
        }
        int r = spawn_init(&world->spawn);
        int output = -1, error = 0;
        pid_t pid = -1;
        const char *const argv[] = {"/bin/sh", "-c",
                                    "echo out; echo err >&2; readlink /proc/$$/fd/0", NULL};
        r = r != 0 ? r
                   : spawn_start(&world->spawn, (char *const *)argv, &plain, &pid, &output, NULL,
                                 &error);
        if (r == 0) {
                (void)waitpid(pid, NULL, 0);
                ssize_t n = read(output, world->output, sizeof(world->output) - 1);
                world->output[n > 0 ? n : 0] = '\0';
                close(output);
        }
        for (int i = 0; i < 3; i++) {
                dup2(saved[i], i);
                close(saved[i]);
        }
        assert_int_equal(r, 0);
        assert_string_equal(world->output, "out\nerr\n/dev/null\n");
}

static void test_refused(void **state) {
        World *world = *state;
        int output = -1, error = 0;
        pid_t pid = -1;
        const char *const argv[] = {"/nonexistent", NULL};
        assert_int_equal(spawn_start(&world->spawn, (char *const *)argv, &plain, &pid, &output,
                                     NULL, &error),
                         SPAWN_E_REFUSED);
        assert_int_equal(error, ENOENT);
        assert_int_equal(pid, -1);
        assert_int_equal(output, -1);
}

int main(void) {
#define TEST(function) cmocka_unit_test_setup_teardown(function, setup, teardown)
        const struct CMUnitTest tests[] = {
                TEST(test_environment),
                TEST(test_directory_and_descriptors),
                TEST(test_signals),
                TEST(test_a_session_of_its_own),
                TEST(test_without_standard_descriptors),
                TEST(test_refused),
        };
        return cmocka_run_group_tests(tests, NULL, NULL);
}
