#include "core/claim.h"

#include <stddef.h>
#include <string.h>

static const char *const reason_names[LEDGER_REASON_COUNT] = {
        [LEDGER_REASON_NONE] = "",
        [LEDGER_REASON_DUPLICATE] = "duplicate",
        [LEDGER_REASON_SUPERSEDED] = "superseded",
        [LEDGER_REASON_STALE] = "stale",
        [LEDGER_REASON_COOLDOWN] = "cooldown",
        [LEDGER_REASON_NOT_SELECTED] = "not_selected",
        [LEDGER_REASON_NOT_NEEDED] = "not_needed",
        [LEDGER_REASON_HANDLED] = "handled",
        [LEDGER_REASON_OTHER] = "other",
        [LEDGER_REASON_RUNNING] = "running",
        [LEDGER_REASON_ATTEMPT] = "attempt",
        [LEDGER_REASON_HOLD] = "hold",
        [LEDGER_REASON_GROUP] = "group",
        [LEDGER_REASON_QUIET_TIME] = "quiet_time",
        [LEDGER_REASON_FLEET] = "fleet",
        [LEDGER_REASON_FUSE] = "fuse",
        [LEDGER_REASON_HOST_LIMIT] = "host_limit",
        [LEDGER_REASON_WAITED_TOO_LONG] = "waited_too_long",
};

static const char *const state_names[LEDGER_STATE_COUNT] = {
        [LEDGER_STATE_NONE] = "",           [LEDGER_STATE_INTENDED] = "intended",
        [LEDGER_STATE_ACTED] = "acted",     [LEDGER_STATE_DONE] = "done",
        [LEDGER_STATE_FAILED] = "failed",   [LEDGER_STATE_NOT_STARTED] = "not_started",
        [LEDGER_STATE_UNKNOWN] = "unknown", [LEDGER_STATE_SUPPRESSED] = "suppressed",
};

static const char *const verdict_names[] = {
        [LEDGER_VERDICT_START] = "start",   [LEDGER_VERDICT_DONE] = "done",
        [LEDGER_VERDICT_VERIFY] = "verify", [LEDGER_VERDICT_UNKNOWN] = "unknown",
        [LEDGER_VERDICT_WAIT] = "wait",     [LEDGER_VERDICT_REJECT] = "reject",
};

enum {
        VERDICTS = sizeof(verdict_names) / sizeof(verdict_names[0]),
};

const char *ledger_reason_name(LedgerReason reason) {
        return reason_names[reason];
}

const char *ledger_state_name(LedgerState state) {
        return state_names[state];
}

const char *ledger_verdict_name(LedgerVerdict verdict) {
        return verdict_names[verdict];
}

/* @none: it is not among them. */
static size_t find_word(const char *word, const char *const *words, size_t n, size_t none) {
        for (size_t i = 0; i < n; i++) {
                if (strcmp(word, words[i]) == 0) {
                        return i;
                }
        }
        return none;
}

LedgerReason ledger_reason_parse(const char *word) {
        return (LedgerReason)find_word(word, reason_names, LEDGER_REASON_COUNT,
                                       LEDGER_REASON_OTHER);
}

LedgerState ledger_state_parse(const char *word) {
        return (LedgerState)find_word(word, state_names, LEDGER_STATE_COUNT, LEDGER_STATE_NONE);
}

bool ledger_verdict_parse(const char *word, LedgerVerdict *verdict) {
        size_t found = find_word(word, verdict_names, VERDICTS, VERDICTS);
        if (found == VERDICTS) {
                return false;
        }
        *verdict = (LedgerVerdict)found;
        return true;
}
