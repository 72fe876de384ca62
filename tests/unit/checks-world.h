#pragma once

/* What the tests of checks share: a loop, a folder, checks by /bin/sh or by requests, and what
 * ended. No descriptor and no child stays behind. */

#include "test.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "capture.h"
#include "fds.h"
#include "handlers/checks.h"

enum {
        MS = 1000,
        SECOND = 1000000,
        DEADLINE = 30 * SECOND, /* of a test that hangs */
        ENDS = 64,              /* of one test */
};

typedef struct End {
        bool verify;
        int result; /* CheckedResult or VerifiedResult */
        bool has_text;
        char text[8192]; /* before, or output */
        char detail[CHECK_DETAIL + 512];
        unsigned looks;
        bool watched;
        int64_t at_us;
} End;

typedef struct World {
        Loop loop;
        Checks *checks;
        char folder[64];
        ExecOptions exec[2]; /* of precheck and of verify */
        const char *argv[2][8];
        ChecksOptions options;
        LoopTimer deadline;
        LoopTimer step;
        void (*on_step)(struct World *world);
        size_t wanted;
        size_t n;
        End ends[ENDS];
        size_t fds;
        int64_t started_us;
} World;

static const ActionRequest plain = {.run = 1,
                                    .host = "web1.example.com",
                                    .id = "r-1",
                                    .attempt = 2};
static const int status_0[] = {0}, status_1[] = {1}, status_75[] = {75};

static inline void on_world_deadline(LoopTimer *timer) {
        (void)timer;
        fail_msg("the loop did not stop");
}

static inline void on_world_step(LoopTimer *timer) {
        World *world = container_of(timer, World, step);
        world->on_step(world);
}

static inline int world_setup(void **state) {
        static World world;
        world = (World){.folder = "/tmp/test-checks-XXXXXX"};
        memset(&captured, 0, sizeof(captured));
        captured.level = LOG_INFO;
        world.options = (ChecksOptions){
                .go = {status_0, 1},
                .not_needed = {status_1, 1},
                .wait = {status_75, 1},
                .done = {status_0, 1},
                .interval_us = 20 * MS,
        };
        world.fds = count_fds();
        *state = &world;
        if (mkdtemp(world.folder) == NULL || loop_init(&world.loop) != 0) {
                return -1;
        }
        loop_timer_init(&world.deadline, &world.loop, "deadline", on_world_deadline);
        loop_timer_init(&world.step, &world.loop, "step", on_world_step);
        return 0;
}

static inline int world_teardown(void **state) {
        World *world = *state;
        char command[128];
        checks_free(world->checks);
        loop_timer_stop(&world->deadline);
        loop_timer_stop(&world->step);
        loop_deinit(&world->loop);
        snprintf(command, sizeof(command), "rm -rf %s", world->folder);
        bool removed = system(command) == 0;
        bool children = waitpid(-1, NULL, WNOHANG) != -1 || errno != ECHILD;
        return removed && !children && count_fds() == world->fds ? 0 : -1;
}

/* A script for /bin/sh; $1 is the folder, $2 the host. */
static inline void world_script(World *world, int check, const char *script, int64_t timeout_us) {
        const char *const argv[] = {"/bin/sh", "-c", script, "sh", world->folder, "{{host}}", NULL};
        memcpy(world->argv[check], argv, sizeof(argv));
        world->exec[check] = (ExecOptions){.argv = world->argv[check],
                                           .timeout_us = timeout_us,
                                           .kill_after_us = 100 * MS};
        CheckOptions *options = check == 0 ? &world->options.precheck : &world->options.verify;
        options->exec = &world->exec[check];
}

static inline void world_precheck(World *world, const char *script) {
        world_script(world, 0, script, 10 * SECOND);
}

static inline void world_verify(World *world, const char *script) {
        world_script(world, 1, script, 10 * SECOND);
}

static inline void world_make(World *world) {
        Buffer why = BUFFER_INIT;
        assert_int_equal(checks_new(&world->checks, &world->loop, NULL, &world->options, &why), 0);
        assert_int_equal(why.size, 0);
        world->started_us = loop_now();
}

static inline void world_ended(World *world, End end, const char *text) {
        assert_true(world->n < ENDS);
        end.has_text = text != NULL;
        end.at_us = loop_now();
        snprintf(end.text, sizeof(end.text), "%s", text != NULL ? text : "");
        world->ends[world->n++] = end;
        if (world->n == world->wanted) {
                loop_stop(&world->loop);
        }
}

static inline void on_checked(void *user, const Checked *checked) {
        End end = {.result = (int)checked->result};
        snprintf(end.detail, sizeof(end.detail), "%s", checked->detail);
        world_ended(user, end, checked->before);
}

static inline void on_verified(void *user, const Verified *verified) {
        End end = {.verify = true,
                   .result = (int)verified->result,
                   .looks = verified->looks,
                   .watched = verified->watched};
        snprintf(end.detail, sizeof(end.detail), "%s", verified->detail);
        world_ended(user, end, verified->output);
}

static inline void world_before(World *world, const ActionRequest *request) {
        size_t n = world->n, running = checks_running(world->checks);
        assert_int_equal(checks_before(world->checks, request, on_checked, world), 0);
        assert_int_equal(world->n, n);
        assert_int_equal(checks_running(world->checks), running + 1);
}

static inline void world_look(World *world, const char *before, int64_t deadline_us) {
        size_t n = world->n;
        assert_int_equal(checks_verify(world->checks, &plain, before, deadline_us, on_verified,
                                       world),
                         0);
        assert_int_equal(world->n, n);
}

/* Until so many have ended. */
static inline void world_run(World *world, size_t wanted) {
        world->wanted = wanted;
        loop_timer_set(&world->deadline, DEADLINE);
        loop_run(&world->loop);
        loop_timer_stop(&world->deadline);
        assert_int_equal(world->n, wanted);
}

static inline const End *world_once(World *world) {
        world_before(world, &plain);
        world_run(world, world->n + 1);
        assert_int_equal(checks_running(world->checks), 0);
        return &world->ends[world->n - 1];
}

static inline const End *world_verify_once(World *world, const char *before, int64_t deadline_us) {
        world_look(world, before, deadline_us);
        world_run(world, world->n + 1);
        assert_int_equal(checks_running(world->checks), 0);
        return &world->ends[world->n - 1];
}

static inline void expect(const End *end, int result, const char *text, const char *detail) {
        if (end->result != result || strcmp(end->detail, detail) != 0) {
                fail_msg("%d: \"%s\"; expected %d: \"%s\"", end->result, end->detail, result,
                         detail);
        }
        assert_int_equal(end->has_text, text != NULL);
        assert_string_equal(end->text, text != NULL ? text : "");
}

static inline void world_write(World *world, const char *name, const char *text) {
        char path[128];
        snprintf(path, sizeof(path), "%s/%s", world->folder, name);
        FILE *file = fopen(path, "w");
        assert_non_null(file);
        assert_true(fputs(text, file) >= 0);
        assert_int_equal(fclose(file), 0);
}

/* Turns the loop until a script has made the file. */
static inline void world_wait_for(World *world, const char *file) {
        char path[128];
        int64_t until = loop_now() + DEADLINE;
        snprintf(path, sizeof(path), "%s/%s", world->folder, file);
        while (access(path, F_OK) != 0) {
                ev_run(world->loop.ev, EVRUN_NOWAIT);
                assert_true(loop_now() < until);
        }
}

/* How many lines scripts have written to the file. */
static inline size_t world_lines(World *world, const char *file) {
        char path[128];
        size_t n = 0;
        snprintf(path, sizeof(path), "%s/%s", world->folder, file);
        FILE *stream = fopen(path, "r");
        for (int c; stream != NULL && (c = getc(stream)) != EOF;) {
                n += c == '\n';
        }
        if (stream != NULL) {
                fclose(stream);
        }
        return n;
}
