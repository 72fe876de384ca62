#pragma once

/*
 * Asks the ledger of restarts for the engine: the questions of a turn go together, in as few calls
 * as its limits allow. It decides nothing, and repeats nothing: what an outage leads to is the
 * engine's affair.
 */

#include <stdint.h>

#include "core/engine.h"
#include "pg/ledger.h"
#include "telemetry/log.h"
#include "util/error.h"

typedef struct Claims Claims;

typedef struct ClaimsEvents {
        /* Run.sent_us is set. */
        void (*claimed)(void *user, Run *run, LedgerEnd end, const LedgerDecision *decision);
        void (*acted)(void *user, Run *run, LedgerEnd end);
        void (*concluded)(void *user, Run *run, LedgerEnd end, const LedgerResult *result);
} ClaimsEvents;

/* Borrowed for its life. */
typedef struct ClaimsOptions {
        const char *schema;
        const char *instance; /* for people */
        const LedgerPolicy *policy;
        /* The group of a canonical host, NULL: none. */
        const LedgerGroup *(*group)(const void *data, const char *host);
        const void *data;
} ClaimsOptions;

/* -ENOMEM, -errno. */
MUST_CHECK int claims_new(Claims **claimsp, PgPool *pool, Log *log, const ClaimsOptions *options,
                          const ClaimsEvents *events, void *user);
/* After the pool, whose end answers what is open. NULL is allowed. */
void claims_free(Claims *claims);

/* The pool is about to be freed: what is asked from now on is never answered. */
void claims_close(Claims *claims);

/* Answer ENGINE_CLAIM, ENGINE_ACTED and ENGINE_CONCLUDE: the event follows once, after
 * claims_send(). -ENOMEM. */
MUST_CHECK int claims_claim(Claims *claims, Run *run);
MUST_CHECK int claims_acted(Claims *claims, Run *run);
MUST_CHECK int claims_conclude(Claims *claims, Run *run);
/* Asks what has been gathered; to be called once a turn. What is written down for the messages that
 * share a run is read now. -ENOMEM. */
MUST_CHECK int claims_send(Claims *claims);

/* Whether the granted run may still start; to be asked right before it. Design: a grant is good for
 * five seconds. */
bool claims_may_start(const Claims *claims, const Run *run);
