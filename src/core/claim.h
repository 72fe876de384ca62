#pragma once

/*
 * What the ledger of restarts answers, in words that the engine, PostgreSQL's side (pg/ledger.h)
 * and the simulation share. docs/ledger.md explains them.
 */

#include <stdbool.h>
#include <stdint.h>

enum {
        LEDGER_DETAIL_MAX = 256, /* bytes of LedgerDecision.detail with its NUL */
        LEDGER_NO_STATUS = -1,   /* there is no exit status */
};

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
        LEDGER_REASON_HANDLED, /* done: LedgerRequest.suppress; it was committed, and PostgreSQL has
                                  lost what became of it */
        LEDGER_REASON_OTHER,   /* done: a word that this version does not know */
        LEDGER_REASON_RUNNING, /* wait: the host has an open intent */
        LEDGER_REASON_ATTEMPT, /* wait: number the claim LedgerDecision.attempt + 1 */
        LEDGER_REASON_HOLD,    /* wait: a person's hold */
        LEDGER_REASON_GROUP,   /* wait */
        LEDGER_REASON_QUIET_TIME, /* wait: of its group */
        LEDGER_REASON_FLEET,      /* wait */
        LEDGER_REASON_FUSE,       /* wait: the fuse blew; `fuse_blew`: just now, to be alarmed */
        LEDGER_REASON_HOST_LIMIT, /* reject */
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

/* "host_limit"; static. */
const char *ledger_reason_name(LedgerReason reason);
/* "not_started"; static. "" for LEDGER_STATE_NONE. */
const char *ledger_state_name(LedgerState state);
/* "start"; static. */
const char *ledger_verdict_name(LedgerVerdict verdict);

/* The other way round: a word that this version does not know is LEDGER_REASON_OTHER, no state, and
 * no verdict (false). */
LedgerReason ledger_reason_parse(const char *word);
LedgerState ledger_state_parse(const char *word);
bool ledger_verdict_parse(const char *word, LedgerVerdict *verdict);
