#pragma once

/*
 * The ledger of restarts: who may restart a host now. It lives in PostgreSQL, with its clock, for
 * all instances (src/pg/ledger.sql; docs/ledger.md explains tables and order). This file only asks:
 *
 *   claim    may this message restart its host?  LEDGER_VERDICT_START: the intent is durable, go
 *   acted    the action ended well, its verification is still to come
 *   finish   how it ended, for the message that claimed and for those that shared its restart
 *
 *   claim --start--> action --> [acted --> verify -->] finish
 *     |
 *     +-- done, reject: over    +-- wait: ask again     +-- verify, unknown: an earlier restart of
 *                                                           this message, see LedgerVerdict
 *
 * What a caller must do, and nobody else can:
 *
 * 1. Start an action only while ledger_may_start() says so and the assignment is still the one of
 *    the claim. Otherwise finish it as LEDGER_STATE_NOT_STARTED, which gives back the cool-down.
 * 2. After LEDGER_END_UNKNOWN ask the same again: same message, same attempt, same Ledger. A claim
 *    that was granted comes back with the same id; acted and finish say the same as the first time.
 *    A claim that is no longer wanted is asked again all the same, and then finished not_started:
 *    left alone it holds its host until `held_until`, and is an unknown from then on.
 * 3. Number the claims of a message: LedgerRequest.attempt.
 *
 * Every call is a batch in one statement and one transaction, goes ahead of the batches of saves,
 * copies what it is given, and is answered once, never synchronously, on the loop's thread. Nothing
 * is repeated or logged here. statement_timeout and the pool's deadline apply.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/claim.h"
#include "pg/connection.h"
#include "util/error.h"

typedef struct Ledger Ledger;

enum {
        LEDGER_BATCH_MAX = 256, /* requests or ends in one call: one transaction holds its hosts */
        LEDGER_SHARED_MAX = 4096, /* messages that share, in one call; the rest go in another one */
        LEDGER_START_WITHIN_US = 5 * 1000 * 1000, /* design: a grant older than this is void */
};

/* --- asking ------------------------------------------------------------------------------- */

/* What the configuration says, in µs; a count of 0 is no limit, a time of 0 is none. All but the
 * windows and the precheck, which are asked before. */
typedef struct LedgerPolicy {
        const char *action;      /* "exec", "http": kept in the row */
        int64_t cooldown_us;     /* from a start of the host to its next one */
        int64_t max_age_us;      /* from requested_us to the first receipt; older: stale */
        int64_t max_wait_us;     /* from the first receipt on; longer: LEDGER_VERDICT_REJECT */
        int64_t start_within_us; /* LEDGER_START_WITHIN_US */
        int64_t hold_us;         /* timeout + kill_after + verify's deadline: the intent is held for
                                    start_within_us more than this */
        int32_t host_restarts;   /* per_host: done and unknown ones in the period */
        int64_t host_period_us;
        int32_t fleet;         /* fleet_concurrency */
        int32_t fuse_restarts; /* fuse: starts in the period, since its hold was lifted last */
        int64_t fuse_period_us;
} LedgerPolicy;

/* The first entry of `groups` that matches the host. */
typedef struct LedgerGroup {
        const char *name;    /* its pattern: two instances with the same one mean the same group */
        int32_t concurrency; /* 0: no limit */
        int64_t quiet_us;    /* quiet_time: after the end of any restart in it; 0: none */
} LedgerGroup;

typedef struct LedgerRequest {
        int32_t source; /* partitions.id */
        int64_t offset;
        /* Numbers the claims of a message from 1 on: one more than the last whose end the caller
         * has seen (after LEDGER_REASON_ATTEMPT: LedgerDecision.attempt + 1), and the same again
         * while it waits or a reply was lost. A claim that is executed late, when nobody waits for
         * it any more, is told from a new one by it. After an unknown, the next number says that
         * on_unknown decided for a retry. */
        int32_t attempt;
        const char *host;       /* canonical: the ledger compares bytes */
        const char *request_id; /* the message's id; NULL: none */
        int64_t requested_us; /* µs since 1970, the smaller of the message's and Kafka's; -1: none;
                                 such a request is never stale or superseded */
        int64_t received_us;  /* µs since 1970, the first receipt that is known here */
        /* It lies below the fence that the assignment found: an earlier owner received it first,
         * and when that matters (it is older than max_age or max_wait) the claim looks for the time
         * in `messages`. LedgerDecision.received_us is the answer: once that is earlier, this is
         * false; a request that is young now may be old when it is asked again. */
        bool redelivered;
        /* Of a replay: when the message that it stands for was received first, which is when
         * max_age judges its age; max_wait counts from received_us. 0: it is none. */
        int64_t first_us;
        const char *before; /* the output of verify's check before the action; NULL: there is none,
                               and an unknown can't be verified */
        /* A guard without PostgreSQL found that there is nothing to do: "not_selected",
         * "not_needed". Suppressed with this reason, unless this message has a restart already that
         * says more. NULL: no. */
        const char *suppress;
        const LedgerGroup *group; /* NULL: in none */
} LedgerRequest;

typedef struct LedgerActed {
        int64_t id;
        int64_t started_us;  /* CLOCK_BOOTTIME, when the action started; 0: not known here */
        int64_t ended_us;    /* CLOCK_BOOTTIME; 0: now */
        int32_t exit_status; /* or the HTTP status; LEDGER_NO_STATUS */
        const char *output;  /* NULL: none; what is no UTF-8 is repaired */
} LedgerActed;

/* A message whose request shared a restart: it gets a row of its own with the same state. */
typedef struct LedgerShared {
        int32_t source;
        int64_t offset;
        const char *request_id; /* NULL: none */
        int64_t requested_us;   /* as in LedgerRequest */
        int64_t received_us;
} LedgerShared;

typedef struct LedgerFinish {
        int64_t id; /* of a claim, or what LEDGER_VERDICT_VERIFY and LEDGER_VERDICT_UNKNOWN gave */
        LedgerState state; /* DONE, FAILED, NOT_STARTED or UNKNOWN */
        /* DONE because verify says so, at ended_us: what was requested until then is superseded.
         * False: only what was requested before the intent. */
        bool verified;
        int64_t started_us;  /* as in LedgerActed; the cool-down counts from it, and while nobody
                                reported it from the last moment that it could have been */
        int64_t ended_us;    /* CLOCK_BOOTTIME; 0: now */
        int32_t exit_status; /* or the HTTP status; LEDGER_NO_STATUS: keeps what acted wrote */
        const char *reason;  /* a word for people ("timeout", "shutdown"); NULL: none */
        const char *output;  /* NULL: keeps what acted wrote */
        /* Each message once. A second finish adds those that are missing. */
        const LedgerShared *shared;
        size_t n_shared;
} LedgerFinish;

/* --- answers ------------------------------------------------------------------------------ */

/* Borrowed for the call. Arrays are in the order of what was asked. */
typedef struct LedgerAnswer {
        LedgerEnd end;
        const PgFailure *failure; /* unless DONE; its SQLSTATE's meaning is in pg/sqlstate.h */
        int64_t sent_us;          /* CLOCK_BOOTTIME when it was sent; 0: it never was */
        size_t n;                 /* as it was asked; the arrays are NULL unless DONE */
        const LedgerDecision *decisions; /* of claims */
        const LedgerResult *results;     /* of acted and finish */
} LedgerAnswer;

typedef void (*LedgerAnswered)(void *user, const LedgerAnswer *answer);

/* --- functions ---------------------------------------------------------------------------- */

/* Makes a ledger with an instance of its own, a random UUID: one a process, never kept, or a
 * successor would inherit a dead one's intents. @schema and @instance_name (for people) are copied.
 * SCHEMA_E_NAME, -ENOMEM, -errno of getrandom. */
MUST_CHECK int ledger_new(Ledger **ledgerp, PgPool *pool, const char *schema,
                          const char *instance_name);
/* After the pool, whose end answers what is open. NULL is allowed. */
void ledger_free(Ledger *ledger);

/* The UUID as text, as it stands in restarts.instance; the ledger's. */
const char *ledger_instance(const Ledger *ledger);

/* @n is 1 to LEDGER_BATCH_MAX, LedgerFinish.n_shared together at most LEDGER_SHARED_MAX; several
 * requests for one host, or of one message, may be in one batch and are decided in their order.
 * -ENOMEM: nothing was asked. */
MUST_CHECK int ledger_claim(Ledger *ledger, const LedgerPolicy *policy,
                            const LedgerRequest *requests, size_t n, LedgerAnswered answered,
                            void *user);
MUST_CHECK int ledger_acted(Ledger *ledger, const LedgerActed *items, size_t n,
                            LedgerAnswered answered, void *user);
MUST_CHECK int ledger_finish(Ledger *ledger, const LedgerFinish *items, size_t n,
                             LedgerAnswered answered, void *user);

/* CLOCK_BOOTTIME in µs: it goes on while the machine sleeps, and a grant gets older. Any thread. */
int64_t ledger_clock(void);

/* Whether the action of a grant may still start; to be asked last, right before it. @sent_us:
 * LedgerAnswer.sent_us of the claim. @now_us: ledger_clock(). Pure. */
static inline bool ledger_may_start(const LedgerPolicy *policy, int64_t sent_us, int64_t now_us) {
        return now_us - sent_us < policy->start_within_us;
}
