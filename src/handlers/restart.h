#pragma once

/*
 * The handler restart-host: carries out ENGINE_RESTART with the configured action and tells how it
 * ended. It decides nothing: what a failure leads to is the engine's affair.
 *
 * It holds Run pointers, never a Message: a message may be released while its run goes on, and a
 * run may have no message left when it ends.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/engine.h"
#include "core/outcome.h"
#include "handlers/actions/action.h"
#include "pg/ledger.h"
#include "telemetry/log.h"
#include "util/error.h"
#include "util/list.h"

typedef struct Restart Restart;

/* @detail: a line for people, valid during the call. @retry_after_us: see ActionResult. The run is
 * the engine's again. */
typedef void (*RestartEnded)(void *user, Run *run, Outcome outcome, bool charged,
                             const char *detail, int64_t duration_us, int64_t retry_after_us);

/* Takes the action over, also when it fails. */
MUST_CHECK int restart_new(Restart **restartp, Log *log, Action *action, RestartEnded ended,
                           void *user);
/* Ends everything that runs and reports none of it. NULL is allowed. */
void restart_free(Restart *restart);

/* Answers ENGINE_RESTART: @ended follows once, never during the call. The run's first message lends
 * its id and payload to the templates for the length of the call. -ENOMEM. */
MUST_CHECK int restart_start(Restart *restart, Run *run);

/* What the templates can name, of the run's first message; borrowed from the run. */
ActionRequest restart_request(const Run *run);

/* For the shutdown: TERM, and KILL, to everything that runs. Each run still ends with @ended. */
void restart_terminate(Restart *restart);
void restart_kill(Restart *restart);

/* The process that carries it out, for people; 0: none. */
pid_t restart_pid(const Restart *restart, uint64_t run_id);

/* Runs under way. */
size_t restart_running(const Restart *restart);

typedef struct RestartRunning {
        const char *host; /* canonical; the run's */
        int attempt;
        int64_t since_us; /* CLOCK_MONOTONIC */
} RestartRunning;

/* The runs under way, the oldest first: *@cursor is NULL at first; false: there are no more.
 * Nothing may be started or end in between. */
bool restart_next(const Restart *restart, const List **cursor, RestartRunning *running);
