#pragma once

/*
 * How a handler ended, and what becomes of the message. The words of the verdicts are KIP-932's.
 */

#include <stdbool.h>

#include "util/error.h"

/* Ordered by name nowhere: the order is that of the documentation. */
typedef enum Outcome {
        OUTCOME_NONE,        /* has not ended */
        OUTCOME_DONE,        /* it did its work */
        OUTCOME_SUPPRESSED,  /* a guard found that there is nothing to do; counts as success */
        OUTCOME_FAILED,      /* it ran and failed */
        OUTCOME_NOT_STARTED, /* surely without effect */
        OUTCOME_UNKNOWN,     /* perhaps with an effect: timed out, killed, lost reply */
        OUTCOME_OUTAGE,      /* not the message's fault */
        OUTCOME_POISON,      /* it never will work */
        OUTCOME_INTERNAL,    /* our own error, which belongs to this message */
        OUTCOME_CANCELLED,   /* stopped by the shutdown or a revoke */
        OUTCOME_COUNT,
} Outcome;

typedef enum Verdict {
        VERDICT_NONE,    /* a handler has not ended */
        VERDICT_ACCEPT,  /* all done */
        VERDICT_RETRY,   /* what is not done runs again */
        VERDICT_REJECT,  /* kept in `rejected`, can be replayed */
        VERDICT_RELEASE, /* uncommitted: delivered again */
} Verdict;

/* What an `unknown` means: the key `on_unknown`. */
typedef enum OnUnknown {
        ON_UNKNOWN_REJECT,
        ON_UNKNOWN_RETRY,
        ON_UNKNOWN_DONE,
} OnUnknown;

const char *outcome_name(Outcome outcome);

/* Whether the outcome leaves nothing to do for its handler. */
bool outcome_is_success(Outcome outcome);

/*
 * The verdict that one handler's outcome asks for, after @charged attempts, this one included if it
 * is charged, of @attempts allowed. Design: the table "outcome, verdict, attempt".
 */
Verdict outcome_verdict(Outcome outcome, OnUnknown on_unknown, int charged, int attempts);

/* Whether the outcome uses up one of `retry.attempts`. An outage and a cancellation never do. */
bool outcome_is_charged(Outcome outcome);

/* The verdict of two handlers together: release beats reject beats retry beats accept, and any of
 * them waits for the handler that has not ended. */
Verdict verdict_combine(Verdict a, Verdict b);
