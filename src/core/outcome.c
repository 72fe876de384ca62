#include "core/outcome.h"

#include <stddef.h>

const char *outcome_name(Outcome outcome) {
        switch (outcome) {
        case OUTCOME_NONE:
                return "none";
        case OUTCOME_DONE:
                return "done";
        case OUTCOME_SUPPRESSED:
                return "suppressed";
        case OUTCOME_FAILED:
                return "failed";
        case OUTCOME_NOT_STARTED:
                return "not_started";
        case OUTCOME_UNKNOWN:
                return "unknown";
        case OUTCOME_OUTAGE:
                return "outage";
        case OUTCOME_POISON:
                return "poison";
        case OUTCOME_INTERNAL:
                return "internal";
        case OUTCOME_CANCELLED:
                return "cancelled";
        case OUTCOME_COUNT:
                break;
        }
        return "?";
}

bool outcome_is_success(Outcome outcome) {
        return outcome == OUTCOME_DONE || outcome == OUTCOME_SUPPRESSED;
}

static Verdict retry_while_left(int charged, int attempts) {
        return charged < attempts ? VERDICT_RETRY : VERDICT_REJECT;
}

Verdict outcome_verdict(Outcome outcome, OnUnknown on_unknown, int charged, int attempts) {
        switch (outcome) {
        case OUTCOME_NONE:
        case OUTCOME_COUNT:
                return VERDICT_NONE;
        case OUTCOME_DONE:
        case OUTCOME_SUPPRESSED:
                return VERDICT_ACCEPT;
        case OUTCOME_FAILED:
        case OUTCOME_NOT_STARTED:
                return retry_while_left(charged, attempts);
        case OUTCOME_UNKNOWN:
                switch (on_unknown) {
                case ON_UNKNOWN_REJECT:
                        return VERDICT_REJECT;
                case ON_UNKNOWN_RETRY:
                        return retry_while_left(charged, attempts);
                case ON_UNKNOWN_DONE:
                        return VERDICT_ACCEPT;
                }
                return VERDICT_REJECT;
        case OUTCOME_OUTAGE:
                /* Whatever was charged before: an outage alone never rejects a message. */
                return VERDICT_RETRY;
        case OUTCOME_POISON:
        case OUTCOME_INTERNAL:
                return VERDICT_REJECT;
        case OUTCOME_CANCELLED:
                return VERDICT_RELEASE;
        }
        return VERDICT_NONE;
}

bool outcome_is_charged(Outcome outcome) {
        switch (outcome) {
        case OUTCOME_FAILED:
        case OUTCOME_NOT_STARTED:
        case OUTCOME_UNKNOWN:
                return true;
        case OUTCOME_NONE:
        case OUTCOME_DONE:
        case OUTCOME_SUPPRESSED:
        case OUTCOME_OUTAGE:
        case OUTCOME_POISON:
        case OUTCOME_INTERNAL:
        case OUTCOME_CANCELLED:
        case OUTCOME_COUNT:
                break;
        }
        return false;
}

/* Higher beats lower; NONE stands above all, since the verdict waits for every handler. */
static int verdict_rank(Verdict verdict) {
        switch (verdict) {
        case VERDICT_ACCEPT:
                return 0;
        case VERDICT_RETRY:
                return 1;
        case VERDICT_REJECT:
                return 2;
        case VERDICT_RELEASE:
                return 3;
        case VERDICT_NONE:
                break;
        }
        return 4;
}

Verdict verdict_combine(Verdict a, Verdict b) {
        return verdict_rank(a) >= verdict_rank(b) ? a : b;
}
