/*
 * Every callback passes through a trampoline that reads the clock before and after: libev's own
 * cached time is as old as the turn and would blame the last callback for all of them.
 */

#include "util/loop.h"

#include <assert.h>
#include <stdlib.h>
#include <time.h>

#define LOOP_STRING_(x) #x
#define LOOP_STRING(x)  LOOP_STRING_(x)

static int64_t clock_us(clockid_t id) {
        struct timespec ts;
        clock_gettime(id, &ts);
        return (int64_t)ts.tv_sec * 1000000 + ts.tv_nsec / 1000;
}

/* --- checks ------------------------------------------------------------------------------- */

static bool checks(const Loop *loop) {
        return atomic_load_explicit(&loop->checks, memory_order_relaxed);
}

static void check_thread(Loop *loop, LoopSite site) {
        static const char *const names[LOOP_SITES] = {
                [LOOP_SITE_RUN] = "loop_run",
                [LOOP_SITE_STOP] = "loop_stop",
                [LOOP_SITE_IO_START] = "loop_io_start",
                [LOOP_SITE_IO_WANT] = "loop_io_want",
                [LOOP_SITE_IO_STOP] = "loop_io_stop",
                [LOOP_SITE_TIMER_SET] = "loop_timer_set",
                [LOOP_SITE_TIMER_STOP] = "loop_timer_stop",
                [LOOP_SITE_SOON_SET] = "loop_soon_set",
                [LOOP_SITE_SOON_STOP] = "loop_soon_stop",
                [LOOP_SITE_WAKE_START] = "loop_wake_start",
                [LOOP_SITE_WAKE_STOP] = "loop_wake_stop",
        };
        if (checks(loop) && !pthread_equal(loop->thread, pthread_self()) &&
            !atomic_exchange(&loop->said[site], true) && loop->misused != NULL) {
                loop->misused(loop->misused_user, names[site]);
        }
}

/* Without memory it is not kept: an aid, no promise. */
static void note_started(Loop *loop, const void *watcher, const char *name) {
        if (!checks(loop) || !pthread_equal(loop->thread, pthread_self())) {
                return;
        }
        for (size_t i = 0; i < loop->n_started; i++) {
                if (loop->started[i].watcher == watcher) {
                        return;
                }
        }
        if (loop->n_started == loop->started_capacity) {
                size_t capacity = loop->started_capacity > 0 ? loop->started_capacity * 2 : 64;
                LoopStarted *started = reallocarray(loop->started, capacity, sizeof(*started));
                if (started == NULL) {
                        return;
                }
                loop->started = started;
                loop->started_capacity = capacity;
        }
        loop->started[loop->n_started++] = (LoopStarted){watcher, name};
}

static void note_stopped(Loop *loop, const void *watcher) {
        for (size_t i = 0; i < loop->n_started; i++) {
                if (loop->started[i].watcher == watcher) {
                        loop->started[i] = loop->started[--loop->n_started];
                        return;
                }
        }
}

void loop_check(Loop *loop, bool on) {
        atomic_store(&loop->checks, on);
        loop->n_started = 0;
}

/* --- clocks ------------------------------------------------------------------------------- */

int64_t loop_now(void) {
        return clock_us(CLOCK_MONOTONIC);
}

int64_t loop_wall(void) {
        return clock_us(CLOCK_REALTIME);
}

int64_t loop_time(const Loop *loop) {
        return loop->time_us;
}

int64_t loop_time_wall(const Loop *loop) {
        return loop->time_wall_us;
}

static void loop_look(Loop *loop) {
        loop->time_us = loop_now();
        loop->time_wall_us = loop_wall();
}

static void loop_account(Loop *loop, const char *name) {
        int64_t took = loop_now() - loop->time_us;
        loop->busy_us += took;
        if (loop->slow_us > 0 && took >= loop->slow_us) {
                loop->slow(loop->slow_user, name, took);
        }
}

static void on_io(struct ev_loop *ev, ev_io *watcher, int events) {
        (void)ev;
        LoopIo *io = container_of(watcher, LoopIo, watcher);
        /* The callback may free the watcher: nothing of it is read afterwards. */
        Loop *loop = io->loop;
        const char *name = io->name;
        loop_look(loop);
        io->callback(io, events);
        loop_account(loop, name);
}

static void on_timer(struct ev_loop *ev, ev_timer *watcher, int events) {
        (void)ev;
        (void)events;
        LoopTimer *timer = container_of(watcher, LoopTimer, watcher);
        Loop *loop = timer->loop;
        const char *name = timer->name;
        note_stopped(loop, timer);
        loop_look(loop);
        timer->callback(timer);
        loop_account(loop, name);
}

static void on_wake(struct ev_loop *ev, ev_async *watcher, int events) {
        (void)ev;
        (void)events;
        LoopWake *wake = container_of(watcher, LoopWake, watcher);
        Loop *loop = wake->loop;
        const char *name = wake->name;
        loop_look(loop);
        wake->callback(wake);
        loop_account(loop, name);
}

/* Before the loop would block: what was put off runs now. What it puts off itself waits for the
 * next turn, which the idle watcher makes come at once. */
static void on_prepare(struct ev_loop *ev, ev_prepare *watcher, int events) {
        (void)events;
        Loop *loop = container_of(watcher, Loop, prepare);
        List now;
        loop->turns++;
        list_init(&now);
        list_splice_back(&now, &loop->soon);
        while (!list_is_empty(&now)) {
                LoopSoon *soon = container_of(now.next, LoopSoon, link);
                const char *name = soon->name;
                loop_look(loop);
                list_unlink(&soon->link);
                note_stopped(loop, soon);
                soon->callback(soon);
                loop_account(loop, name);
        }
        if (list_is_empty(&loop->soon)) {
                ev_idle_stop(ev, &loop->idle);
        } else {
                ev_idle_start(ev, &loop->idle);
        }
}

static void on_idle(struct ev_loop *ev, ev_idle *watcher, int events) {
        (void)ev;
        (void)watcher;
        (void)events;
}

int loop_init(Loop *loop) {
        *loop = (Loop){.thread = pthread_self()};
        list_init(&loop->soon);
        loop->ev = ev_loop_new(EVFLAG_NOENV | EVFLAG_NOSIGMASK);
        if (loop->ev == NULL) {
                return error_origin(-EMFILE);
        }
        ev_prepare_init(&loop->prepare, on_prepare);
        ev_prepare_start(loop->ev, &loop->prepare);
        ev_idle_init(&loop->idle, on_idle);
        loop_look(loop);
        return 0;
}

void loop_deinit(Loop *loop) {
        if (loop->ev == NULL) {
                return;
        }
        ev_prepare_stop(loop->ev, &loop->prepare);
        ev_idle_stop(loop->ev, &loop->idle);
        ev_loop_destroy(loop->ev);
        free(loop->started);
        loop->ev = NULL;
}

const char *loop_library_version(void) {
        /* The library has no string of its own; its ABI is that of the header. */
        static_assert(EV_VERSION_MAJOR == 4, "libev 4");
        return LOOP_STRING(EV_VERSION_MAJOR) "." LOOP_STRING(EV_VERSION_MINOR);
}

void loop_run(Loop *loop) {
        check_thread(loop, LOOP_SITE_RUN);
        ev_run(loop->ev, 0);
}

void loop_stop(Loop *loop) {
        check_thread(loop, LOOP_SITE_STOP);
        ev_break(loop->ev, EVBREAK_ALL);
}

void loop_io_init(LoopIo *io, Loop *loop, const char *name,
                  void (*callback)(LoopIo *io, int events)) {
        ev_init(&io->watcher, on_io);
        io->watcher.fd = -1;
        io->loop = loop;
        io->name = name;
        io->callback = callback;
}

void loop_io_start(LoopIo *io, int fd, int events) {
        check_thread(io->loop, LOOP_SITE_IO_START);
        note_started(io->loop, io, io->name);
        if (ev_is_active(&io->watcher)) {
                return;
        }
        ev_io_set(&io->watcher, fd, events);
        ev_io_start(io->loop->ev, &io->watcher);
}

void loop_io_want(LoopIo *io, int events) {
        int fd = io->watcher.fd;
        check_thread(io->loop, LOOP_SITE_IO_WANT);
        if ((io->watcher.events & (EV_READ | EV_WRITE)) == events) {
                return;
        }
        ev_io_stop(io->loop->ev, &io->watcher);
        ev_io_set(&io->watcher, fd, events);
        ev_io_start(io->loop->ev, &io->watcher);
}

void loop_io_stop(LoopIo *io) {
        if (io->loop != NULL) {
                check_thread(io->loop, LOOP_SITE_IO_STOP);
                note_stopped(io->loop, io);
                ev_io_stop(io->loop->ev, &io->watcher);
        }
}

void loop_timer_init(LoopTimer *timer, Loop *loop, const char *name,
                     void (*callback)(LoopTimer *timer)) {
        ev_init(&timer->watcher, on_timer);
        timer->loop = loop;
        timer->name = name;
        timer->callback = callback;
}

void loop_timer_set(LoopTimer *timer, int64_t delay_us) {
        struct ev_loop *ev = timer->loop->ev;
        check_thread(timer->loop, LOOP_SITE_TIMER_SET);
        note_started(timer->loop, timer, timer->name);
        ev_timer_stop(ev, &timer->watcher);
        /* libev counts from its cached time, which can lie well back in a busy turn. */
        ev_now_update(ev);
        ev_timer_set(&timer->watcher, delay_us > 0 ? (double)delay_us / 1e6 : 0., 0.);
        ev_timer_start(ev, &timer->watcher);
}

void loop_timer_stop(LoopTimer *timer) {
        if (timer->loop != NULL) {
                check_thread(timer->loop, LOOP_SITE_TIMER_STOP);
                note_stopped(timer->loop, timer);
                ev_timer_stop(timer->loop->ev, &timer->watcher);
        }
}

bool loop_timer_is_set(const LoopTimer *timer) {
        return ev_is_active(&timer->watcher);
}

void loop_wake_init(LoopWake *wake, Loop *loop, const char *name,
                    void (*callback)(LoopWake *wake)) {
        ev_init(&wake->watcher, on_wake);
        wake->loop = loop;
        wake->name = name;
        wake->callback = callback;
}

void loop_wake_start(LoopWake *wake) {
        check_thread(wake->loop, LOOP_SITE_WAKE_START);
        note_started(wake->loop, wake, wake->name);
        if (!ev_is_active(&wake->watcher)) {
                ev_async_start(wake->loop->ev, &wake->watcher);
                ev_unref(wake->loop->ev);
        }
}

void loop_wake_send(LoopWake *wake) {
        ev_async_send(wake->loop->ev, &wake->watcher);
}

void loop_wake_stop(LoopWake *wake) {
        if (wake->loop != NULL && ev_is_active(&wake->watcher)) {
                check_thread(wake->loop, LOOP_SITE_WAKE_STOP);
                note_stopped(wake->loop, wake);
                ev_ref(wake->loop->ev);
                ev_async_stop(wake->loop->ev, &wake->watcher);
        }
}

void loop_soon_init(LoopSoon *soon, Loop *loop, const char *name,
                    void (*callback)(LoopSoon *soon)) {
        list_init(&soon->link);
        soon->loop = loop;
        soon->name = name;
        soon->callback = callback;
}

void loop_soon_set(LoopSoon *soon) {
        if (list_is_linked(&soon->link)) {
                return;
        }
        check_thread(soon->loop, LOOP_SITE_SOON_SET);
        note_started(soon->loop, soon, soon->name);
        list_push_back(&soon->loop->soon, &soon->link);
        ev_idle_start(soon->loop->ev, &soon->loop->idle);
}

void loop_soon_stop(LoopSoon *soon) {
        if (soon->loop != NULL) {
                check_thread(soon->loop, LOOP_SITE_SOON_STOP);
                note_stopped(soon->loop, soon);
                list_unlink(&soon->link);
        }
}
