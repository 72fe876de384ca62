/* Real children, and what they see and leave behind. */

#include "test.h"

#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "capture.h"
#include "fds.h"
#include "handlers/actions/exec.h"

enum {
        MS = 1000,
        SECOND = 1000000,
        DEADLINE = 30 * SECOND, /* of a test that hangs */
};

typedef struct Ended {
        Outcome outcome;
        bool charged;
        int status;
        char detail[ACTION_DETAIL_MAX];
        uint8_t output[8192];
        size_t output_size;
        bool whole;
        char errors[4096];
        size_t errors_size;
        int64_t duration_us;
} Ended;

typedef struct World {
        Loop loop;
        Action *action;
        LoopTimer deadline;
        LoopTimer step;
        void (*on_step)(struct World *world);
        size_t wanted;
        size_t n;
        size_t again; /* how many more to start, one at each end */
        Ended last;
        bool errors_apart; /* for make() */
} World;

static bool pidfd_fails;
static struct rlimit limit_before;

/* In place of libc's. */
int pidfd_open(pid_t pid, unsigned int flags);
int pidfd_open(pid_t pid, unsigned int flags) {
        if (pidfd_fails) {
                errno = EMFILE;
                return -1;
        }
        return (int)syscall(SYS_pidfd_open, pid, flags);
}

static void on_deadline(LoopTimer *timer) {
        (void)timer;
        fail_msg("the loop did not stop");
}

static void on_step(LoopTimer *timer) {
        World *world = container_of(timer, World, step);
        world->on_step(world);
}

static int setup(void **state) {
        static World world;
        world = (World){0};
        memset(&captured, 0, sizeof(captured));
        pidfd_fails = false;
        getrlimit(RLIMIT_NOFILE, &limit_before);
        *state = &world;
        if (loop_init(&world.loop) != 0) {
                return -1;
        }
        loop_timer_init(&world.deadline, &world.loop, "deadline", on_deadline);
        loop_timer_init(&world.step, &world.loop, "step", on_step);
        return 0;
}

static void free_action(World *world) {
        if (world->action != NULL) {
                world->action->interface->free(world->action);
                world->action = NULL;
        }
}

static int teardown(void **state) {
        World *world = *state;
        setrlimit(RLIMIT_NOFILE, &limit_before);
        signal(SIGCHLD, SIG_DFL);
        signal(SIGPIPE, SIG_DFL);
        free_action(world);
        loop_timer_stop(&world->deadline);
        loop_timer_stop(&world->step);
        loop_deinit(&world->loop);
        /* Neither a zombie nor anything that runs. */
        return waitpid(-1, NULL, WNOHANG) == -1 && errno == ECHILD ? 0 : -1;
}

static void make_with(World *world, const char *const *argv, int64_t timeout, int64_t kill_after) {
        static const int done[] = {0}, not_started[] = {75, 76}, unknown[] = {255};
        const ExecOptions options = {
                .argv = argv,
                .timeout_us = timeout,
                .kill_after_us = kill_after,
                .done = {done, 1},
                .not_started = {not_started, 2},
                .unknown = {unknown, 1},
                .output_bytes = 4096,
                .errors_apart = world->errors_apart,
        };
        Buffer why = BUFFER_INIT;
        free_action(world);
        assert_int_equal(exec_new(&world->action, &world->loop, NULL, &options, &why), 0);
        buffer_deinit(&why);
}

static void make(World *world, const char *script, int64_t timeout, int64_t kill_after) {
        make_with(world, (const char *const[]){"/bin/sh", "-c", script, NULL}, timeout, kill_after);
}

static const ActionRequest plain = {.run = 1, .host = "web1.example.com", .attempt = 1};

static void start(World *world, const ActionRequest *request);

static void on_end(void *user, const ActionResult *result) {
        World *world = user;
        Ended *last = &world->last;
        last->outcome = result->outcome;
        last->charged = result->charged;
        last->status = result->status;
        last->duration_us = result->duration_us;
        last->output_size = result->output_size;
        assert_non_null(result->detail);
        assert_true(result->output_size < sizeof(last->output));
        assert_int_equal(result->output == NULL, result->output_size == 0);
        last->whole = result->whole;
        last->errors_size = result->errors_size;
        snprintf(last->errors, sizeof(last->errors), "%.*s", (int)result->errors_size,
                 result->errors != NULL ? (const char *)result->errors : "");
        snprintf(last->detail, sizeof(last->detail), "%s", result->detail);
        if (result->output_size > 0) {
                memcpy(last->output, result->output, result->output_size);
        }
        last->output[result->output_size] = '\0';
        world->n++;
        if (world->again > 0) {
                world->again--;
                start(world, &plain);
        }
        if (world->n == world->wanted) {
                loop_stop(&world->loop);
        }
}

static void start(World *world, const ActionRequest *request) {
        size_t before = world->n;
        size_t running = world->action->running;
        assert_int_equal(world->action->interface->start(world->action, request, on_end, world), 0);
        assert_int_equal(world->n, before);
        assert_int_equal(world->action->running, running + 1);
}

static void run_until(World *world, size_t wanted) {
        world->wanted = wanted;
        loop_timer_set(&world->deadline, DEADLINE);
        loop_run(&world->loop);
        loop_timer_stop(&world->deadline);
        assert_int_equal(world->n, wanted);
}

static const Ended *run(World *world, const ActionRequest *request) {
        world->n = 0;
        start(world, request);
        run_until(world, 1);
        assert_int_equal(world->action->running, 0);
        return &world->last;
}

static const Ended *run_script(World *world, const char *script) {
        make(world, script, 20 * SECOND, SECOND);
        return run(world, &plain);
}

static void test_errors_apart(void **state) {
        World *world = *state;
        const Ended *last = run_script(world, "echo out; echo err >&2; echo out");
        assert_string_equal(last->output, "out\nerr\nout\n");
        assert_int_equal(last->errors_size, 0);
        assert_true(last->whole);
        world->errors_apart = true;
        last = run_script(world, "echo out; echo err >&2; echo out; exit 3");
        assert_int_equal(last->outcome, OUTCOME_FAILED);
        assert_string_equal(last->output, "out\nout\n");
        assert_string_equal(last->errors, "err\n");
        last = run_script(world, "echo err >&2");
        assert_int_equal(last->output_size, 0);
        assert_string_equal(last->errors, "err\n");
        assert_true(last->whole);
}

/* Neither pipe holds up the other, and each is bounded by itself. */
static void test_errors_that_flood(void **state) {
        World *world = *state;
        world->errors_apart = true;
        const Ended *last = run_script(world, "head -c 3000000 /dev/zero >&2; echo out; head -c "
                                              "300000 /dev/zero >&2; echo err >&2");
        assert_int_equal(last->outcome, OUTCOME_DONE);
        assert_string_equal(last->output, "out\n");
        assert_true(last->whole);
        assert_in_range(last->errors_size, 2048, 2200);
        last = run_script(world, "head -c 3000000 /dev/zero; echo err >&2");
        assert_false(last->whole);
        assert_string_equal(last->errors, "err\n");
        last = run_script(world, "head -c 4096 /dev/zero");
        assert_true(last->whole);
        last = run_script(world, "head -c 4097 /dev/zero");
        assert_false(last->whole);
}

/* A daemon that was started without descriptors: the pipes are not among the first three. */
static void test_errors_apart_without_the_first_descriptors(void **state) {
        World *world = *state;
        int kept[3];
        for (int i = 0; i < 3; i++) {
                kept[i] = fcntl(i, F_DUPFD_CLOEXEC, 10);
                close(i);
        }
        world->errors_apart = true;
        const Ended *last = run_script(world, "cat; echo out; echo err >&2");
        bool right = strcmp((const char *)last->output, "out\n") == 0 &&
                     strcmp(last->errors, "err\n") == 0;
        for (int i = 0; i < 3; i++) {
                dup2(kept[i], i);
                close(kept[i]);
        }
        assert_true(right);
}

/* Or a zombie whose reaper is not us. */
static void wait_until_gone(pid_t pid) {
        int64_t deadline = loop_now() + 10 * SECOND;
        while (kill(pid, 0) == 0) {
                char path[64], text[256] = "";
                snprintf(path, sizeof(path), "/proc/%d/stat", (int)pid);
                int fd = open(path, O_RDONLY | O_CLOEXEC);
                if (fd >= 0) {
                        ssize_t n = read(fd, text, sizeof(text) - 1);
                        close(fd);
                        const char *state = n > 0 ? strrchr(text, ')') : NULL;
                        if (state != NULL && state[2] == 'Z') {
                                return;
                        }
                }
                assert_true(loop_now() < deadline);
                usleep(1000);
        }
}

static void test_exit_statuses(void **state) {
        static const struct {
                const char *script;
                Outcome outcome;
                int status;
                const char *detail;
        } cases[] = {
                {"exit 0", OUTCOME_DONE, 0, "exit status 0"},
                {"exit 3", OUTCOME_FAILED, 3, "exit status 3"},
                {"exit 76", OUTCOME_NOT_STARTED, 76, "exit status 76"},
                {"exit 255", OUTCOME_UNKNOWN, 255, "exit status 255"},
                {"kill -KILL $$", OUTCOME_UNKNOWN, 137, "killed by signal 9 (KILL)"},
                {"kill -SEGV $$", OUTCOME_UNKNOWN, 139, "killed by signal 11 (SEGV)"},
        };
        for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
                const Ended *ended = run_script(*state, cases[i].script);
                assert_int_equal(ended->outcome, cases[i].outcome);
                assert_int_equal(ended->status, cases[i].status);
                assert_string_equal(ended->detail, cases[i].detail);
                assert_true(ended->charged);
        }
}

static void test_output_of_both_streams_is_kept(void **state) {
        const Ended *ended = run_script(*state, "echo out; echo err >&2; exit 1");
        assert_string_equal((const char *)ended->output, "out\nerr\n");
        assert_int_equal(run_script(*state, "exit 1")->output_size, 0);
}

static void test_timeout_with_term_honoured(void **state) {
        World *world = *state;
        make(world, "sleep 30", 100 * MS, 10 * SECOND);
        const Ended *ended = run(world, &plain);
        assert_int_equal(ended->outcome, OUTCOME_UNKNOWN);
        assert_int_equal(ended->status, 128 + SIGTERM);
        assert_string_equal(ended->detail,
                            "timed out after 0.1 s, ended by TERM, signal 15 (TERM)");
        assert_true(ended->charged);
        assert_in_range(ended->duration_us, 100 * MS, 9 * SECOND);
}

static void test_timeout_with_term_ignored(void **state) {
        World *world = *state;
        make(world, "trap '' TERM; echo began; while :; do sleep 0.05; done", SECOND, 200 * MS);
        const Ended *ended = run(world, &plain);
        assert_int_equal(ended->outcome, OUTCOME_UNKNOWN);
        assert_int_equal(ended->status, 128 + SIGKILL);
        assert_string_equal(ended->detail, "timed out after 1 s, ended by KILL, signal 9 (KILL)");
        assert_string_equal((const char *)ended->output, "began\n");
        assert_true(ended->duration_us >= SECOND + 200 * MS);
}

static void test_a_stopped_command_takes_the_term(void **state) {
        World *world = *state;
        make(world, "trap 'exit 3' TERM; kill -STOP $$; sleep 30", SECOND, 10 * SECOND);
        const Ended *ended = run(world, &plain);
        assert_string_equal(ended->detail, "timed out after 1 s, ended by TERM, exit status 3");
        assert_int_equal(ended->outcome, OUTCOME_UNKNOWN);
}

static void test_a_stall_makes_no_timeout(void **state) {
        World *world = *state;
        make(world, "exit 3", 10 * MS, 10 * MS);
        start(world, &plain);
        usleep(300 * MS); /* the loop stands; the command ends long before its time is up */
        run_until(world, 1);
        assert_string_equal(world->last.detail, "exit status 3");
}

static void test_done_late(void **state) {
        World *world = *state;
        make(world, "trap 'exit 0' TERM; sleep 30 & wait", SECOND, 10 * SECOND);
        const Ended *ended = run(world, &plain);
        assert_int_equal(ended->outcome, OUTCOME_DONE);
        assert_string_equal(ended->detail, "done late: timed out after 1 s, then exit status 0");
}

static void test_a_status_after_term_proves_nothing(void **state) {
        World *world = *state;
        make(world, "trap 'exit 75' TERM; sleep 30 & wait", SECOND, 10 * SECOND);
        assert_int_equal(run(world, &plain)->outcome, OUTCOME_UNKNOWN);
}

static void test_a_grandchild_holds_the_pipe(void **state) {
        World *world = *state;
        const Ended *ended = run_script(world, "sleep 30 & echo $!; exit 0");
        assert_int_equal(ended->outcome, OUTCOME_DONE);
        assert_true(ended->duration_us < 10 * SECOND);
        pid_t grandchild = atoi((const char *)ended->output);
        assert_true(grandchild > 1);
        wait_until_gone(grandchild);
}

static void test_a_grandchild_in_a_session_of_its_own(void **state) {
        /* Out of reach of the group's KILL; the pipe that it holds is closed all the same. */
        const Ended *ended =
                run_script(*state, "exec 4>&1; left=$(setsid sh -c 'echo $$ >&4; exec >&4; while "
                                   "echo x; do sleep 0.01; done' &); exit 0");
        assert_int_equal(ended->outcome, OUTCOME_DONE);
        assert_true(ended->duration_us < 10 * SECOND);
        pid_t grandchild = atoi((const char *)ended->output);
        assert_true(grandchild > 1);
        wait_until_gone(grandchild);
}

static void test_grandchildren_that_ignore_term(void **state) {
        World *world = *state;
        make(world, "(trap '' TERM; echo $$; while :; do sleep 0.05; done) & sleep 30", SECOND,
             10 * SECOND);
        const Ended *ended = run(world, &plain);
        assert_string_equal(ended->detail, "timed out after 1 s, ended by TERM, signal 15 (TERM)");
        assert_true(ended->duration_us < 9 * SECOND);
        /* Its leader took the TERM; the group is gone with it. */
        int64_t deadline = loop_now() + 10 * SECOND;
        pid_t group = atoi((const char *)ended->output);
        assert_true(group > 1);
        while (kill(-group, 0) == 0) {
                assert_true(loop_now() < deadline);
                usleep(1000);
        }
        assert_int_equal(errno, ESRCH);
}

static void test_closed_output(void **state) {
        World *world = *state;
        const Ended *ended = run_script(world, "echo before; exec >&- 2>&-; sleep 0.1; exit 3");
        assert_int_equal(ended->status, 3);
        assert_string_equal((const char *)ended->output, "before\n");
        make(world, "exec >&- 2>&-; exec sleep 30", 300 * MS, 10 * SECOND);
        assert_int_equal(run(world, &plain)->status, 128 + SIGTERM);
}

static void test_flood_without_end(void **state) {
        World *world = *state;
        make(world, "while :; do echo xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx; done", SECOND,
             10 * SECOND);
        const Ended *ended = run(world, &plain);
        assert_int_equal(ended->outcome, OUTCOME_UNKNOWN);
        assert_int_equal(ended->status, 128 + SIGTERM);
        assert_in_range(ended->duration_us, SECOND, 9 * SECOND);
        assert_in_range(ended->output_size, 4096, 4096 + 64);
}

static void test_flood(void **state) {
        const Ended *ended =
                run_script(*state, "echo first; head -c 100000000 /dev/zero | tr '\\0' x;"
                                   "echo; echo last; exit 9");
        const char *output = (const char *)ended->output;
        assert_int_equal(ended->status, 9);
        assert_in_range(ended->output_size, 4096, 4096 + 64);
        assert_memory_equal(output, "first\nxxx", 9);
        assert_string_equal(output + ended->output_size - 7, "x\nlast\n");
        assert_non_null(strstr(output, "x\n[99995916 bytes left out]\nx"));
}

static void test_what_was_written_before_the_end_is_read(void **state) {
        /* More than one turn reads, all of it in the pipe when the command ends. */
        const Ended *ended =
                run_script(*state, "head -c 65000 /dev/zero | tr '\\0' x; echo; echo last");
        assert_string_equal((const char *)ended->output + ended->output_size - 7, "x\nlast\n");
}

static void test_many(void **state) {
        World *world = *state;
        make_with(world, (const char *const[]){"/bin/true", NULL}, 20 * SECOND, SECOND);
        (void)run(world, &plain);
        size_t fds = count_fds();
        world->n = 0;
        world->again = 1000 - 16;
        for (int i = 0; i < 16; i++) {
                start(world, &plain);
        }
        run_until(world, 1000);
        assert_int_equal(world->action->running, 0);
        assert_int_equal(count_fds(), fds);
        assert_int_equal(waitpid(-1, NULL, WNOHANG), -1);
        assert_int_equal(errno, ECHILD);
        assert_int_equal(captured.n, 0);
}

static void test_arguments_stay_what_they_are(void **state) {
        World *world = *state;
        static const char *const values[] = {
                "a b", "'\"`", "$(touch /tmp/x);|&", "-oProxyCommand=x", "a\nb", "", "\x01\xff%s{{",
        };
        make_with(world,
                  (const char *const[]){"/bin/sh", "-c", "printf '<%s>' \"$@\"", "sh", "{{id}}",
                                        "x{{id}}y", "{{host}}", NULL},
                  20 * SECOND, SECOND);
        for (size_t i = 0; i < sizeof(values) / sizeof(values[0]); i++) {
                char expected[256];
                const ActionRequest request = {.host = "-host x", .id = values[i], .attempt = 1};
                snprintf(expected, sizeof(expected), "<%s><x%sy><-host x>", values[i], values[i]);
                assert_string_equal((const char *)run(world, &request)->output, expected);
        }
}

static void test_what_cannot_be_expanded_is_poison(void **state) {
        World *world = *state;
        const ActionRequest address = {.host = "10.0.0.1", .attempt = 1};
        make_with(world, (const char *const[]){"/bin/echo", "{{host.label}}", NULL}, SECOND, 0);
        const Ended *ended = run(world, &address);
        assert_int_equal(ended->outcome, OUTCOME_POISON);
        assert_true(ended->charged);
        assert_int_equal(ended->status, -1);
        assert_non_null(strstr(ended->detail, "argv[1]: {{host.label}}: "));
}

static void test_templates_are_checked(void **state) {
        World *world = *state;
        const char *const argv[] = {"ssh", "{{host}}", NULL};
        const ExecOptions options = {.argv = argv, .timeout_us = SECOND};
        assert_int_equal(exec_new(&world->action, &world->loop, NULL, &options, NULL),
                         EXEC_E_TEMPLATE);
        assert_null(world->action);
}

static void test_programs_that_cannot_be_run(void **state) {
        World *world = *state;
        static const struct {
                const char *program, *detail, *remedy;
        } cases[] = {
                {"/nonexistent/ipmitool",
                 "could not start /nonexistent/ipmitool: No such file or directory",
                 "/nonexistent/ipmitool: No such file or directory; install it"},
                {"/etc/passwd", "could not start /etc/passwd: Permission denied",
                 "let the user that ackd runs as execute it"},
        };
        for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
                size_t fds = count_fds();
                captured.n = 0;
                make_with(world, (const char *const[]){cases[i].program, NULL}, SECOND, SECOND);
                for (int n = 0; n < 3; n++) {
                        const Ended *ended = run(world, &plain);
                        assert_int_equal(ended->outcome, OUTCOME_NOT_STARTED);
                        assert_false(ended->charged);
                        assert_int_equal(ended->status, -1);
                        assert_string_equal(ended->detail, cases[i].detail);
                }
                assert_int_equal(captured.n, 1);
                assert_int_equal(captured.lines[0].level, LOG_ERROR);
                assert_string_equal(captured.lines[0].event, "exec.not_started");
                assert_non_null(strstr(captured.lines[0].text, cases[i].remedy));
                free_action(world);
                assert_int_equal(count_fds(), fds);
        }
}

static void test_no_descriptors(void **state) {
        World *world = *state;
        enum { LIMIT = 256 };
        int fds[LIMIT], n = 0;
        const struct rlimit few = {LIMIT, limit_before.rlim_max};
        make_with(world, (const char *const[]){"/bin/true", NULL}, 20 * SECOND, SECOND);
        (void)run(world, &plain);
        assert_int_equal(setrlimit(RLIMIT_NOFILE, &few), 0);
        while ((fds[n] = fcntl(0, F_DUPFD_CLOEXEC, 0)) >= 0) {
                n++;
        }
        assert_true(n > 2);
        /* None, one, and two, which are as many as it takes. */
        for (int i = 0; i < 3; i++) {
                const Ended *ended = run(world, &plain);
                assert_int_equal(ended->outcome, i < 2 ? OUTCOME_NOT_STARTED : OUTCOME_DONE);
                assert_int_equal(ended->charged, i == 2);
                close(fds[--n]);
        }
        while (n > 0) {
                close(fds[--n]);
        }
        assert_int_equal(captured.n, 2);
        assert_non_null(strstr(captured.lines[0].text, "LimitNOFILE"));
        assert_string_equal(captured.lines[1].event, "exec.started_again");
        /* At the limit again at once: two lines more would come for every request. */
        assert_int_equal(setrlimit(RLIMIT_NOFILE, &(struct rlimit){3, few.rlim_max}), 0);
        assert_int_equal(run(world, &plain)->outcome, OUTCOME_NOT_STARTED);
        assert_int_equal(setrlimit(RLIMIT_NOFILE, &few), 0);
        assert_int_equal(run(world, &plain)->outcome, OUTCOME_DONE);
        assert_int_equal(captured.n, 2);
}

static void test_without_a_pidfd(void **state) {
        World *world = *state;
        pidfd_fails = true;
        assert_int_equal(run_script(world, "exit 3")->status, 3);
        make(world, "sleep 30", 100 * MS, 10 * SECOND);
        assert_int_equal(run(world, &plain)->status, 128 + SIGTERM);
}

static void terminate_now(World *world) {
        world->action->interface->terminate(world->action);
}

static void kill_now(World *world) {
        world->action->interface->terminate(world->action);
        world->action->interface->kill(world->action);
        world->action->interface->kill(world->action);
}

static void test_terminate(void **state) {
        World *world = *state;
        make(world, "trap 'exit 0' TERM; [ $ACKD_ATTEMPT = 1 ] || trap - TERM; sleep 30 & wait",
             20 * SECOND, SECOND);
        const ActionRequest second = {.host = "web2", .attempt = 2};
        world->on_step = terminate_now;
        loop_timer_set(&world->step, SECOND);
        start(world, &plain);
        run_until(world, 1);
        assert_int_equal(world->last.outcome, OUTCOME_DONE);
        assert_string_equal(world->last.detail, "done late: stopped, then exit status 0");
        loop_timer_set(&world->step, SECOND);
        const Ended *ended = run(world, &second);
        assert_int_equal(ended->outcome, OUTCOME_UNKNOWN);
        assert_string_equal(ended->detail, "stopped, ended by TERM, signal 15 (TERM)");
}

static void test_kill(void **state) {
        World *world = *state;
        make(world, "trap '' TERM; while :; do sleep 1; done", 20 * SECOND, SECOND);
        world->on_step = kill_now;
        loop_timer_set(&world->step, SECOND);
        start(world, &plain);
        start(world, &plain);
        start(world, &plain);
        run_until(world, 3);
        assert_int_equal(world->last.outcome, OUTCOME_UNKNOWN);
        assert_string_equal(world->last.detail, "stopped, ended by KILL, signal 9 (KILL)");
}

static void test_terminate_is_followed_by_the_timeout(void **state) {
        World *world = *state;
        make(world, "trap '' TERM; while :; do sleep 0.1; done", SECOND + 300 * MS, 100 * MS);
        world->on_step = terminate_now;
        loop_timer_set(&world->step, SECOND);
        const Ended *ended = run(world, &plain);
        assert_string_equal(ended->detail, "stopped, ended by KILL, signal 9 (KILL)");
}

static void test_free_with_running_children(void **state) {
        World *world = *state;
        size_t fds = count_fds();
        make(world, "trap '' TERM; sleep 30 & wait; while :; do sleep 1; done", 20 * SECOND,
             SECOND);
        for (int i = 0; i < 8; i++) {
                start(world, &plain);
        }
        int64_t began = loop_now();
        free_action(world);
        assert_true(loop_now() - began < SECOND);
        assert_int_equal(world->n, 0);
        assert_int_equal(count_fds(), fds);
        assert_int_equal(waitpid(-1, NULL, WNOHANG), -1);
        assert_int_equal(errno, ECHILD);
}

static void test_ignored_sigchld(void **state) {
        signal(SIGCHLD, SIG_IGN);
        assert_int_equal(run_script(*state, "exit 3")->status, 3);
        signal(SIGCHLD, SIG_DFL);
}

/* A process that holds the child the way a debugger does: dead, it can't be reaped. */
static pid_t hold(pid_t child, int *release) {
        int ready[2], done[2];
        char c;
        assert_int_equal(pipe2(ready, O_CLOEXEC), 0);
        assert_int_equal(pipe2(done, O_CLOEXEC), 0);
        pid_t pid = fork();
        if (pid == 0) {
                close(done[1]);
                c = ptrace(PTRACE_SEIZE, child, 0, 0) == 0 ? 'y' : 'n';
                if (write(ready[1], &c, 1) != 1) {
                        _exit(1);
                }
                _exit(read(done[0], &c, 1) == 0 ? 0 : 1);
        }
        close(done[0]);
        close(ready[1]);
        assert_int_equal(read(ready[0], &c, 1), 1);
        close(ready[0]);
        *release = done[1];
        if (c != 'y') {
                close(*release);
                waitpid(pid, NULL, 0);
                return -1;
        }
        return pid;
}

static pid_t only_child(void) {
        char path[64], text[64] = "";
        snprintf(path, sizeof(path), "/proc/self/task/%d/children", (int)getpid());
        int fd = open(path, O_RDONLY | O_CLOEXEC);
        if (fd >= 0) {
                (void)!read(fd, text, sizeof(text) - 1);
                close(fd);
        }
        return atoi(text);
}

static void stop_when_reaped(World *world) {
        if (captured.n > 0) {
                loop_stop(&world->loop);
        } else {
                loop_timer_set(&world->step, 10 * MS);
        }
}

static void test_a_process_that_does_not_end_is_left_behind(void **state) {
        World *world = *state;
        int release = -1;
        make(world, "sleep 30", 100 * MS, 100 * MS);
        start(world, &plain);
        pid_t child = only_child();
        pid_t holder = child > 0 ? hold(child, &release) : -1;
        if (holder < 0) {
                fail_msg("a process cannot be held by ptrace here, as a debugger does");
        }
        uint64_t turns = world->loop.turns;
        run_until(world, 1);
        assert_int_equal(world->last.outcome, OUTCOME_UNKNOWN);
        assert_non_null(strstr(world->last.detail,
                               "timed out after 0.1 s, and KILL does not end it: process"));
        assert_int_equal(world->action->running, 0);
        /* It was looked at now and then, not all the time. */
        assert_true(world->loop.turns - turns < 1000);
        assert_int_equal(captured.n, 0);
        close(release);
        assert_int_equal(waitpid(holder, NULL, 0), holder);
        world->on_step = stop_when_reaped;
        loop_timer_set(&world->step, 0);
        loop_timer_set(&world->deadline, DEADLINE);
        loop_run(&world->loop);
        assert_string_equal(captured.lines[0].event, "exec.abandoned_ended");
}

int main(void) {
#define TEST(function) cmocka_unit_test_setup_teardown(function, setup, teardown)
        const struct CMUnitTest tests[] = {
                TEST(test_exit_statuses),
                TEST(test_output_of_both_streams_is_kept),
                TEST(test_timeout_with_term_honoured),
                TEST(test_timeout_with_term_ignored),
                TEST(test_a_stopped_command_takes_the_term),
                TEST(test_a_stall_makes_no_timeout),
                TEST(test_done_late),
                TEST(test_a_status_after_term_proves_nothing),
                TEST(test_a_grandchild_holds_the_pipe),
                TEST(test_a_grandchild_in_a_session_of_its_own),
                TEST(test_grandchildren_that_ignore_term),
                TEST(test_closed_output),
                TEST(test_flood_without_end),
                TEST(test_flood),
                TEST(test_what_was_written_before_the_end_is_read),
                TEST(test_many),
                TEST(test_arguments_stay_what_they_are),
                TEST(test_what_cannot_be_expanded_is_poison),
                TEST(test_templates_are_checked),
                TEST(test_programs_that_cannot_be_run),
                TEST(test_no_descriptors),
                TEST(test_without_a_pidfd),
                TEST(test_terminate),
                TEST(test_kill),
                TEST(test_terminate_is_followed_by_the_timeout),
                TEST(test_free_with_running_children),
                TEST(test_errors_apart),
                TEST(test_errors_that_flood),
                TEST(test_errors_apart_without_the_first_descriptors),
                TEST(test_ignored_sigchld),
                TEST(test_a_process_that_does_not_end_is_left_behind),
        };
        return cmocka_run_group_tests(tests, NULL, NULL);
}
