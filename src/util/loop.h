#pragma once

/*
 * The event loop: libev, and a name and a stopwatch for every callback.
 *
 * One thread owns a loop and everything that hangs on it; only loop_wake_send() may be called from
 * elsewhere. Watchers are embedded in their owner and recovered with container_of(). Every callback
 * carries the name under which it appears when it was slow. A watcher is stopped before its
 * descriptor is closed and before its owner is freed.
 */

#include <ev.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "util/error.h"
#include "util/list.h"

typedef struct Loop Loop;

enum {
        LOOP_READ = EV_READ,
        LOOP_WRITE = EV_WRITE,
};

/* Called after a callback that took @duration_us, when that is at least Loop.slow_us. */
typedef void (*LoopSlow)(void *user, const char *name, int64_t duration_us);

/* The functions that only the loop's thread may call, for loop_check(). */
typedef enum LoopSite {
        LOOP_SITE_RUN,
        LOOP_SITE_STOP,
        LOOP_SITE_IO_START,
        LOOP_SITE_IO_WANT,
        LOOP_SITE_IO_STOP,
        LOOP_SITE_TIMER_SET,
        LOOP_SITE_TIMER_STOP,
        LOOP_SITE_SOON_SET,
        LOOP_SITE_SOON_STOP,
        LOOP_SITE_WAKE_START,
        LOOP_SITE_WAKE_STOP,
        LOOP_SITES,
} LoopSite;

/* A watcher that is started, as loop_check() keeps it. */
typedef struct LoopStarted {
        const void *watcher; /* only to be compared: it may be freed */
        const char *name;
} LoopStarted;

struct Loop {
        struct ev_loop *ev;
        /* Of loop_check(): */
        atomic_bool checks;
        pthread_t thread; /* that made it */
        void (*misused)(void *user, const char *function);
        void *misused_user;
        atomic_bool said[LOOP_SITES];
        LoopStarted *started;
        size_t n_started, started_capacity;
        LoopSlow slow;
        void *slow_user;
        int64_t slow_us; /* 0: never reported */
        uint64_t turns;  /* how often the loop went round */
        int64_t busy_us; /* spent in callbacks since the start */
        int64_t time_us; /* see loop_time() */
        int64_t time_wall_us;
        List soon; /* LoopSoon.link, waiting for the next turn */
        ev_prepare prepare;
        ev_idle idle; /* keeps the turn from blocking while `soon` is not empty */
};

typedef struct LoopIo {
        ev_io watcher;
        Loop *loop;
        const char *name;
        void (*callback)(struct LoopIo *io, int events);
} LoopIo;

typedef struct LoopTimer {
        ev_timer watcher;
        Loop *loop;
        const char *name;
        void (*callback)(struct LoopTimer *timer);
} LoopTimer;

/* Wakes the loop from another thread. Wake-ups coalesce: the callback drains everything. */
typedef struct LoopWake {
        ev_async watcher;
        Loop *loop;
        const char *name;
        void (*callback)(struct LoopWake *wake);
} LoopWake;

/* Runs the callback once, in the next turn: for a start() that knows its result at once. */
typedef struct LoopSoon {
        List link;
        Loop *loop;
        const char *name;
        void (*callback)(struct LoopSoon *soon);
} LoopSoon;

MUST_CHECK int loop_init(Loop *loop);
void loop_deinit(Loop *loop);

/*
 * Debugging aids, from now on or no longer: the first call of each function from a thread that is
 * not the one that made the loop is told to Loop.misused (from that thread; set it before), and the
 * watchers that are started are kept in Loop.started, for whoever looks what was left at the end.
 * Costs a comparison a call while it is off.
 */
void loop_check(Loop *loop, bool on);

/* Turns until loop_stop(). */
void loop_run(Loop *loop);
void loop_stop(Loop *loop);

/* "4.33": libev's, for people. Static. */
const char *loop_library_version(void);

/* CLOCK_MONOTONIC in µs, read now (about 20 ns). Any thread. */
int64_t loop_now(void);

/* Wall clock in µs since 1970. Any thread. */
int64_t loop_wall(void);

/* The two clocks as they were when the callback that runs began, a few ms ago at most: for what is
 * done with every message, where the looks at the clock add up. Never goes back from one callback
 * to the next. Loop thread. */
int64_t loop_time(const Loop *loop);
int64_t loop_time_wall(const Loop *loop);

/* @name must outlive the watcher. init does not start. start on a started one does nothing,
 * likewise stop on a stopped one. */
void loop_io_init(LoopIo *io, Loop *loop, const char *name,
                  void (*callback)(LoopIo *io, int events));
void loop_io_start(LoopIo *io, int fd, int events);
/* Changes what a started watcher waits for; the same events again cost nothing. */
void loop_io_want(LoopIo *io, int events);
void loop_io_stop(LoopIo *io);

void loop_timer_init(LoopTimer *timer, Loop *loop, const char *name,
                     void (*callback)(LoopTimer *timer));
/* Fires once, @delay_us from now (at the next turn when it is 0 or less); an armed one is moved. */
void loop_timer_set(LoopTimer *timer, int64_t delay_us);
void loop_timer_stop(LoopTimer *timer);
bool loop_timer_is_set(const LoopTimer *timer);

void loop_wake_init(LoopWake *wake, Loop *loop, const char *name, void (*callback)(LoopWake *wake));
void loop_wake_start(LoopWake *wake); /* does not keep loop_run() alive */
void loop_wake_send(LoopWake *wake);  /* any thread */
void loop_wake_stop(LoopWake *wake);

void loop_soon_init(LoopSoon *soon, Loop *loop, const char *name, void (*callback)(LoopSoon *soon));
void loop_soon_set(LoopSoon *soon); /* once, however often it is set before the turn */
void loop_soon_stop(LoopSoon *soon);
