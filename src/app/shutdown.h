#pragma once

/*
 * The shutdown: one table of steps, run from top to bottom. Each has its own limit, each runs even
 * if the one before it failed or ran out of time, each says in one line what happened.
 */

#include <stdbool.h>

#include "app/exit_status.h"
#include "app/pipeline.h"
#include "util/buffer.h"
#include "util/loop.h"

typedef struct Shutdown Shutdown;
typedef struct ShutdownStep ShutdownStep;

struct Shutdown {
        Pipeline *pipeline;
        Loop *loop;
        Log *log;
        const Config *config;
        Report *report;
        PgPool **poolp;   /* the daemon's; cleared when it is closed */
        LoopTimer timer;  /* the limit of the step, or an instant within it */
        int step;         /* in the table; -1: not begun */
        bool running;     /* inside shutdown_turn(), which is not entered twice */
        int64_t began_us; /* the shutdown */
        int64_t step_us;  /* the step */
        bool hurried;     /* the second signal: the grace is over */
        bool terminated, killed;
        int64_t killed_us;
        bool alarm;          /* what the step found is a warning, though it ended in time */
        size_t open_entries; /* restarts whose end the ledger has not confirmed */
        uint64_t released_before;
        size_t waiting;          /* messages whose restart had not started when it began, */
        size_t unsaved;          /* was done, and whose save had not begun, */
        size_t failed;           /* or had failed */
        size_t stranded;         /* finished, but behind an unfinished one */
        bool nothing;            /* no partition was assigned at the final commit */
        uint64_t unknown_before; /* restarts that ended unknown before what runs was told to end */
        int status;
        Buffer what; /* of the step: what happened */
};

void shutdown_init(Shutdown *shutdown, Pipeline *pipeline, Report *report, PgPool **poolp);
void shutdown_deinit(Shutdown *shutdown);

bool shutdown_has_begun(const Shutdown *shutdown);
/* The step that it is at, static; NULL: it has not begun. Since when: Shutdown.step_us. */
const char *shutdown_step_name(const Shutdown *shutdown);

/* Begins it. @status: EXIT_OK for a signal; the worse of it and what the steps find becomes
 * the exit status. @why: the line of the first step. Once begun, only @status counts. */
void shutdown_begin(Shutdown *shutdown, int status, const char *why);

/* A second signal ends the grace; less than 1 s after the first it is the same gesture and does
 * nothing. Whether it did. */
bool shutdown_hurry(Shutdown *shutdown);

/* After anything that a step may wait for. Ends the loop after the last step. */
void shutdown_turn(Shutdown *shutdown);
