#pragma once

/*
 * An action is a way to restart a host. It is started for a run and ends once, never synchronously.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "core/outcome.h"
#include "telemetry/log.h"
#include "util/error.h"
#include "util/loop.h"

typedef struct Action Action;

/* What the templates can name. Borrowed for the call of start. */
typedef struct ActionRequest {
        uint64_t run;           /* for the log */
        const char *host;       /* canonical */
        const char *id;         /* NULL: none */
        const uint8_t *payload; /* for {{message.a.b}}; NULL: none */
        size_t payload_size;
        int attempt;
        /* It has to begin before (CLOCK_BOOTTIME in µs), or not at all: the ledger's grant is over
         * then. 0: at any time. */
        int64_t start_by_us;
} ActionRequest;

enum {
        ACTION_DETAIL_MAX =
                512, /* bytes of ActionResult.detail with its NUL; longer ones are cut */
};

typedef struct ActionResult {
        Outcome outcome;
        bool charged; /* false: the failure was ours (no descriptor, no process to be had) */
        int status;   /* exit status, signal + 128; HTTP status; -1: none */
        const char *
                detail; /* a line for people, never NULL: "exit status 3", "timed out after 60 s" */
        const uint8_t *output; /* of stdout and stderr, or a body; bounded; any bytes; NULL: none */
        size_t output_size;
        bool whole; /* that is all of it: nothing was left out, and nothing was cut off */
        const uint8_t *errors; /* of stderr alone, as output; NULL: none, or it is in the output */
        size_t errors_size;
        int64_t duration_us;
        /* From start to the moment when it began to have an effect, at the latest: a request leaves
         * when its endpoint was found and is connected. 0: when start returned. */
        int64_t begun_after_us;
        /* How long whoever was asked wants to be left alone before the next attempt (Retry-After);
         * only with not_started. 0: nothing was said. At most ACTION_RETRY_AFTER_MAX_US. */
        int64_t retry_after_us;
} ActionResult;

/* What asks for more than a day is broken, or means "never". */
#define ACTION_RETRY_AFTER_MAX_US (24 * 3600 * INT64_C(1000000))

/* @user is what start was given; @result is valid during the call, which may start other requests
 * but must not free the action. */
typedef void (*ActionEnd)(void *user, const ActionResult *result);

typedef struct ActionInterface {
        const char *name; /* "exec", "http", "dry-run" */
        bool pretends;    /* changes nothing and says itself what it would do */
        /* Positive never: what cannot be started ends with an outcome. -ENOMEM is fatal. */
        int (*start)(Action *action, const ActionRequest *request, ActionEnd end, void *user);
        /* Asks everything that runs to end (TERM); what cannot be asked, as a request that was
         * sent, goes on. */
        void (*terminate)(Action *action);
        /* Ends everything that runs now (KILL); each still gives its outcome, `unknown`. */
        void (*kill)(Action *action);
        /* Ends everything that runs and reports none of it; NULL is allowed. */
        void (*free)(Action *action);
        /* The process of what was started with this @user; 0: none. NULL: there never is one. */
        pid_t (*pid)(const Action *action, const void *user);
} ActionInterface;

/* Embedded first in each action. */
struct Action {
        const ActionInterface *interface;
        size_t running; /* started and not yet reported */
};
