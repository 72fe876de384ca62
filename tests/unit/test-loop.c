#include "test.h"

#include <fcntl.h>
#include <pthread.h>
#include <string.h>
#include <unistd.h>

#include "util/loop.h"

typedef struct World {
        Loop loop;
        LoopTimer timer;
        LoopSoon soon, other;
        LoopWake wake;
        LoopIo io;
        char story[64];
        const char *slow;
        int64_t slow_us;
} World;

static void tell(World *world, const char *what) {
        strncat(world->story, what, sizeof(world->story) - strlen(world->story) - 1);
}

static void on_timer(LoopTimer *timer) {
        World *world = container_of(timer, World, timer);
        tell(world, "timer ");
        loop_stop(&world->loop);
}

static void on_soon(LoopSoon *soon) {
        World *world = container_of(soon, World, soon);
        tell(world, "soon ");
        loop_soon_set(&world->other);
}

static void on_other(LoopSoon *soon) {
        tell(container_of(soon, World, other), "other ");
}

static void on_wake(LoopWake *wake) {
        World *world = container_of(wake, World, wake);
        tell(world, "wake ");
        loop_stop(&world->loop);
}

static void on_io(LoopIo *io, int events) {
        World *world = container_of(io, World, io);
        char c;
        assert_int_equal(events, LOOP_READ);
        assert_int_equal(read(io->watcher.fd, &c, 1), 1);
        tell(world, "io ");
        loop_stop(&world->loop);
}

static void on_slow(void *user, const char *name, int64_t duration_us) {
        World *world = user;
        world->slow = name;
        world->slow_us = duration_us;
}

static void on_sleepy_timer(LoopTimer *timer) {
        World *world = container_of(timer, World, timer);
        int64_t end = loop_now() + 3000;
        while (loop_now() < end) {
        }
        loop_stop(&world->loop);
}

static int setup(void **state) {
        static World world;
        world = (World){0};
        *state = &world;
        return loop_init(&world.loop);
}

static int teardown(void **state) {
        World *world = *state;
        loop_deinit(&world->loop);
        return 0;
}

static void test_soon_runs_before_a_timer_and_in_turns(void **state) {
        World *world = *state;
        loop_timer_init(&world->timer, &world->loop, "timer", on_timer);
        loop_soon_init(&world->soon, &world->loop, "soon", on_soon);
        loop_soon_init(&world->other, &world->loop, "other", on_other);
        loop_timer_set(&world->timer, 20000);
        loop_soon_set(&world->soon);
        loop_soon_set(&world->soon);
        loop_run(&world->loop);
        assert_string_equal(world->story, "soon other timer ");
}

static void test_soon_can_be_taken_back(void **state) {
        World *world = *state;
        loop_timer_init(&world->timer, &world->loop, "timer", on_timer);
        loop_soon_init(&world->other, &world->loop, "other", on_other);
        loop_soon_set(&world->other);
        loop_soon_stop(&world->other);
        loop_timer_set(&world->timer, 0);
        loop_run(&world->loop);
        assert_string_equal(world->story, "timer ");
}

static void *send_wake(void *user) {
        loop_wake_send(user);
        return NULL;
}

static void test_wake_from_a_thread(void **state) {
        World *world = *state;
        pthread_t thread;
        loop_wake_init(&world->wake, &world->loop, "wake", on_wake);
        loop_wake_start(&world->wake);
        /* The wake alone does not keep the loop alive; this timer does. */
        loop_timer_init(&world->timer, &world->loop, "timer", on_timer);
        loop_timer_set(&world->timer, 10000000);
        assert_int_equal(pthread_create(&thread, NULL, send_wake, &world->wake), 0);
        loop_run(&world->loop);
        pthread_join(thread, NULL);
        loop_wake_stop(&world->wake);
        loop_timer_stop(&world->timer);
        assert_string_equal(world->story, "wake ");
}

static void test_io_wants(void **state) {
        World *world = *state;
        int pipes[2];
        assert_int_equal(pipe2(pipes, O_CLOEXEC), 0);
        loop_io_init(&world->io, &world->loop, "io", on_io);
        loop_io_start(&world->io, pipes[0], LOOP_WRITE);
        loop_io_want(&world->io, LOOP_READ);
        assert_int_equal(write(pipes[1], "x", 1), 1);
        loop_run(&world->loop);
        loop_io_stop(&world->io);
        close(pipes[0]);
        close(pipes[1]);
        assert_string_equal(world->story, "io ");
}

static void test_slow_callbacks_are_named(void **state) {
        World *world = *state;
        world->loop.slow = on_slow;
        world->loop.slow_user = world;
        world->loop.slow_us = 2000;
        loop_timer_init(&world->timer, &world->loop, "sleepy", on_sleepy_timer);
        loop_timer_set(&world->timer, 0);
        loop_run(&world->loop);
        assert_string_equal(world->slow, "sleepy");
        assert_true(world->slow_us >= 3000);
        assert_true(world->loop.busy_us >= 3000);
}

/* --- loop_check() ------------------------------------------------------------------------- */

static const char *misused[4];
static size_t n_misused;

static void on_misused(void *user, const char *function) {
        (void)user;
        misused[n_misused++] = function;
}

static void on_nothing(LoopTimer *timer) {
        (void)timer;
}

static void *misuse(void *user) {
        LoopTimer *timer = user;
        loop_timer_stop(timer);
        loop_timer_stop(timer);
        return NULL;
}

static void test_checks(void **state) {
        (void)state;
        Loop loop;
        LoopTimer timer;
        pthread_t thread;
        assert_int_equal(loop_init(&loop), 0);
        loop.misused = on_misused;
        loop_timer_init(&timer, &loop, "late", on_nothing);
        for (int on = 0; on < 2; on++) {
                loop_check(&loop, on == 1);
                loop_timer_set(&timer, 1000000);
                assert_int_equal(loop.n_started, on);
                loop_timer_stop(&timer);
                assert_int_equal(loop.n_started, 0);
                assert_int_equal(pthread_create(&thread, NULL, misuse, &timer), 0);
                assert_int_equal(pthread_join(thread, NULL), 0);
                assert_int_equal(n_misused, on); /* once for each function */
        }
        assert_string_equal(misused[0], "loop_timer_stop");
        loop_timer_set(&timer, 1000000);
        loop_timer_set(&timer, 1000000); /* moved: it is one all the same */
        assert_int_equal(loop.n_started, 1);
        assert_string_equal(loop.started[0].name, "late");
        loop_timer_stop(&timer);
        loop_deinit(&loop);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test_setup_teardown(test_soon_runs_before_a_timer_and_in_turns, setup,
                                                teardown),
                cmocka_unit_test_setup_teardown(test_soon_can_be_taken_back, setup, teardown),
                cmocka_unit_test_setup_teardown(test_wake_from_a_thread, setup, teardown),
                cmocka_unit_test_setup_teardown(test_io_wants, setup, teardown),
                cmocka_unit_test_setup_teardown(test_slow_callbacks_are_named, setup, teardown),
                cmocka_unit_test(test_checks),
        };
        return cmocka_run_group_tests(tests, NULL, NULL);
}
