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

#include "pg/connection.h"
#include "util/error.h"

typedef struct Ledger Ledger;

enum {
        LEDGER_BATCH_MAX = 256, /* requests or ends in one call: one transaction holds its hosts */
        LEDGER_SHARED_MAX = 4096, /* messages that share, in one call; the rest go in another one */
        LEDGER_DETAIL_MAX = 256,  /* bytes of LedgerDecision.detail with its NUL */
        LEDGER_NO_STATUS = -1,    /* there is no exit status */
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
         * in `messages`. LedgerDecision.received_us is the answer: with it, this is false. */
        bool redelivered;
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

typedef enum LedgerState {
        LEDGER_STATE_NONE, /* there is no such row */
        LEDGER_STATE_INTENDED,
        LEDGER_STATE_ACTED,
        LEDGER_STATE_DONE,
        LEDGER_STATE_FAILED,
        LEDGER_STATE_NOT_STARTED,
        LEDGER_STATE_UNKNOWN,
        LEDGER_STATE_SUPPRESSED,
        LEDGER_STATE_COUNT,
} LedgerState;

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

typedef enum LedgerVerdict {
        /* The intent is durable. Start the action, or finish(NOT_STARTED). `renewed`: an earlier
         * claim of this attempt had been granted and its reply was lost. */
        LEDGER_VERDICT_START,
        /* Nothing is left to do: the message counts as done. Its restart is done
         * (LEDGER_REASON_NONE) or it was suppressed; `suppressed_now`: by this very claim, to be
         * counted. */
        LEDGER_VERDICT_DONE,
        /* An action for this message ended well and nobody said what verify found. Verify, with
         * `before` and what is left of its deadline after `acted_age_us`, then finish. */
        LEDGER_VERDICT_VERIFY,
        /* An earlier restart for this message has no known end. With a `before`, verify can tell;
         * otherwise on_unknown decides: reject; done: finish(DONE); retry: claim the next attempt.
         */
        LEDGER_VERDICT_UNKNOWN,
        LEDGER_VERDICT_WAIT,   /* ask again in `again_us`; no attempt is charged, no row written */
        LEDGER_VERDICT_REJECT, /* host_limit, waited_too_long: no row written; it can be replayed */
} LedgerVerdict;

/* Why; the words (ledger_reason_name) are those of the columns, metrics and documents. */
typedef enum LedgerReason {
        LEDGER_REASON_NONE,
        LEDGER_REASON_DUPLICATE,    /* done: the same request id is done on this host */
        LEDGER_REASON_SUPERSEDED,   /* done: requested before a restart that is done */
        LEDGER_REASON_STALE,        /* done: older than max_age at its first receipt */
        LEDGER_REASON_COOLDOWN,     /* done: after a restart that is done; wait: any other */
        LEDGER_REASON_NOT_SELECTED, /* done: LedgerRequest.suppress */
        LEDGER_REASON_NOT_NEEDED,   /* done: LedgerRequest.suppress */
        LEDGER_REASON_OTHER,        /* done: a word that this version does not know */
        LEDGER_REASON_RUNNING,      /* wait: the host has an open intent */
        LEDGER_REASON_ATTEMPT,      /* wait: number the claim LedgerDecision.attempt + 1 */
        LEDGER_REASON_HOLD,         /* wait: a person's hold */
        LEDGER_REASON_GROUP,        /* wait */
        LEDGER_REASON_QUIET_TIME,   /* wait: of its group */
        LEDGER_REASON_FLEET,        /* wait */
        LEDGER_REASON_FUSE,         /* wait: the fuse blew; `fuse_blew`: just now, to be alarmed */
        LEDGER_REASON_HOST_LIMIT,   /* reject */
        LEDGER_REASON_WAITED_TOO_LONG, /* reject; `detail` says for what it waited */
        LEDGER_REASON_COUNT,
} LedgerReason;

/* Borrowed for the call. */
typedef struct LedgerDecision {
        LedgerVerdict verdict;
        LedgerReason reason;
        int64_t id;           /* of the row: START, DONE, VERIFY, UNKNOWN; 0: none */
        int32_t attempt;      /* of this message's newest row; 0: it has none */
        int64_t again_us;     /* WAIT: not before; the moment itself where it is known, otherwise a
                                 second or two: something may end at any time */
        int64_t received_us;  /* µs since 1970: the first receipt, for the next time */
        int64_t acted_age_us; /* VERIFY, UNKNOWN: since acted, by the server's clock; -1: not acted
                               */
        const char *before;   /* VERIFY, UNKNOWN; NULL: there was none */
        bool suppressed_now;  /* DONE */
        bool renewed;         /* START */
        bool fuse_blew;       /* WAIT: this claim made the fuse's hold */
        char detail[LEDGER_DETAIL_MAX]; /* for people, one line: by whom it is held and since when
                                         */
} LedgerDecision;

/* Of acted and finish. */
typedef struct LedgerResult {
        int64_t id;
        /* The row says what was asked for, by this call or by an earlier one. False: it had ended
         * otherwise, and nothing was changed; `state` is what counts. */
        bool did;
        LedgerState state;
} LedgerResult;

typedef enum LedgerEnd {
        LEDGER_END_DONE,    /* committed, and here is what was decided */
        LEDGER_END_REFUSED, /* rolled back for the sake of an item (SQLSTATE class 22, 23, 54): ask
                           one by one; when it is alone, the fault is its own */
        LEDGER_END_OUTAGE,  /* rolled back or never sent, for no item's fault: nobody is charged */
        LEDGER_END_UNKNOWN, /* the reply was lost: perhaps committed. Rule 2 above */
} LedgerEnd;

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

/* "host_limit"; static. */
const char *ledger_reason_name(LedgerReason reason);
/* "not_started"; static. "" for LEDGER_STATE_NONE. */
const char *ledger_state_name(LedgerState state);
