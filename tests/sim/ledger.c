/*
 * claim() of src/pg/ledger.sql, step by step and in its words, so that both can be read side by
 * side; ledger-end.c has the rest. A comparison with a null is false there; here SIM_LEDGER_NEVER
 * is smaller than every time, and where that is not the same it is asked for first.
 */

#include "ledger.h"

#include <assert.h>
#include <string.h>

#include "core/host.h"
#include "ledger-table.h"

enum {
        SECOND_US = 1000 * 1000,
};

static const int64_t HOUR_US = 3600 * INT64_C(1000000);

/* --- words -------------------------------------------------------------------------------- */

/* Of a suppressed row. */
static LedgerReason reason_of(const char *word) {
        for (int i = LEDGER_REASON_DUPLICATE; i < LEDGER_REASON_OTHER; i++) {
                if (strcmp(ledger_reason_name((LedgerReason)i), word) == 0) {
                        return (LedgerReason)i;
                }
        }
        return LEDGER_REASON_OTHER;
}

/* --- claim -------------------------------------------------------------------------------- */

/* One request. */
typedef struct Claim {
        SimLedger *ledger;
        const LedgerPolicy *policy;
        const LedgerRequest *request;
        int32_t instance;
        int64_t t;
        int64_t requested;
        int64_t first; /* receipt */
        HostId host;
        RowId own;
        bool bounded; /* by max_wait */
        LedgerDecision *decision;
} Claim;

static LedgerHost *host_of(const Claim *claim) {
        return &claim->ledger->hosts[claim->host - 1];
}

/* NULL: the message has no row. */
static const LedgerRow *own_of(const Claim *claim) {
        return claim->own != 0 ? table_row(claim->ledger, claim->own) : NULL;
}

static bool decide(Claim *claim, LedgerVerdict verdict, LedgerReason reason) {
        claim->decision->verdict = verdict;
        claim->decision->reason = reason;
        return true;
}

static bool decide_wait(Claim *claim, LedgerReason reason, int64_t again_us) {
        claim->decision->again_us = again_us;
        return decide(claim, LEDGER_VERDICT_WAIT, reason);
}

/* verify and unknown: what the message's own row says; whether with its `before`, which proves
 * nothing after another start. */
static bool decide_looking_back(Claim *claim, LedgerVerdict verdict) {
        const LedgerRow *own = own_of(claim);
        RowId restart = own->shared_with != 0 ? (RowId)own->shared_with : claim->own;
        bool compares = verdict == LEDGER_VERDICT_VERIFY || host_of(claim)->last == restart;
        claim->decision->id = claim->own;
        claim->decision->before = compares ? "" : NULL;
        claim->decision->acted_age_us = own->acted != SIM_LEDGER_NEVER ? claim->t - own->acted : -1;
        return decide(claim, verdict, LEDGER_REASON_NONE);
}

/* The row that this claim leaves behind. */
static RowId add_own(Claim *claim, LedgerState state, const char *reason) {
        SimLedger *ledger = claim->ledger;
        const LedgerRequest *request = claim->request;
        int64_t start_by = claim->t + claim->policy->start_within_us;
        bool intended = state == LEDGER_STATE_INTENDED;
        LedgerRow row = {
                .source = request->source,
                .offset = request->offset,
                .attempt = request->attempt,
                .host = claim->host,
                .group = table_group(ledger, request->group != NULL ? request->group->name : NULL),
                .request_id = table_text(ledger, request->request_id),
                .requested = claim->requested,
                .received = claim->first,
                .state = state,
                .reason = table_text(ledger, reason),
                .instance = claim->instance,
                .before = intended ? table_text(ledger, request->before) : 0,
                .intended = intended ? claim->t : SIM_LEDGER_NEVER,
                .started = intended ? start_by : SIM_LEDGER_NEVER,
                .held = intended ? start_by + claim->policy->hold_us : SIM_LEDGER_NEVER,
                .acted = SIM_LEDGER_NEVER,
                .ended = intended ? SIM_LEDGER_NEVER : claim->t,
                .exit_status = LEDGER_NO_STATUS,
        };
        claim->decision->attempt = request->attempt;
        claim->decision->id = table_add_row(ledger, &row);
        return (RowId)claim->decision->id;
}

static bool decide_suppressed(Claim *claim, LedgerReason reason, const char *word) {
        add_own(claim, LEDGER_STATE_SUPPRESSED, word != NULL ? word : ledger_reason_name(reason));
        claim->decision->suppressed_now = true;
        return decide(claim, LEDGER_VERDICT_DONE, reason);
}

/* The reply was lost, nothing was started: all its time begins anew. */
static bool renew(Claim *claim) {
        LedgerRow row = *own_of(claim);
        LedgerHost *host = host_of(claim);
        row.intended = claim->t;
        row.started = claim->t + claim->policy->start_within_us;
        row.held = row.started + claim->policy->hold_us;
        row.before = table_text(claim->ledger, claim->request->before);
        table_put_row(claim->ledger, claim->own, &row);
        host->held = row.held;
        host->last_start = row.started;
        claim->decision->id = claim->own;
        claim->decision->renewed = true;
        return decide(claim, LEDGER_VERDICT_START, LEDGER_REASON_NONE);
}

/* Each step returns whether it has an answer. */
typedef bool (*Step)(Claim *claim);

/* 1. What this message's own row says. */
static bool step_own_row(Claim *claim) {
        const LedgerRow *own = own_of(claim);
        if (own == NULL) {
                return false;
        }
        bool same = own->instance == claim->instance && own->attempt == claim->request->attempt;
        if (own->state == LEDGER_STATE_DONE || own->state == LEDGER_STATE_SUPPRESSED) {
                bool suppressed = own->state == LEDGER_STATE_SUPPRESSED;
                claim->decision->id = claim->own;
                claim->decision->suppressed_now = suppressed && same; /* its reply was lost */
                return decide(claim, LEDGER_VERDICT_DONE,
                              suppressed ? reason_of(table_text_of(claim->ledger, own->reason))
                                         : LEDGER_REASON_NONE);
        }
        if (own->state == LEDGER_STATE_ACTED) {
                return decide_looking_back(claim, LEDGER_VERDICT_VERIFY);
        }
        const LedgerHost *host = host_of(claim);
        if (own->state == LEDGER_STATE_INTENDED && same && host->open == claim->own &&
            host->held > claim->t) {
                return renew(claim);
        }
        return false;
}

/* 2. The host's open intent. */
static bool step_open_intent(Claim *claim) {
        LedgerHost *host = host_of(claim);
        RowId open = host->open;
        if (open == 0) {
                return false;
        }
        if (host->held > claim->t) {
                claim->bounded = open != claim->own;
                return decide_wait(claim, LEDGER_REASON_RUNNING,
                                   earlier(host->held - claim->t, 2 * SECOND_US));
        }
        LedgerRow row = *table_row(claim->ledger, open);
        if (row.state == LEDGER_STATE_INTENDED || row.state == LEDGER_STATE_ACTED) {
                row.state = LEDGER_STATE_UNKNOWN;
                row.reason = table_text(claim->ledger, "no_end");
                table_put_row(claim->ledger, open, &row);
        }
        host->open = 0;
        host->held = SIM_LEDGER_NEVER;
        return open == claim->own && decide_looking_back(claim, LEDGER_VERDICT_UNKNOWN);
}

/* 3. Its own restart of which nobody knows; any other attempt has to be new. */
static bool step_attempt(Claim *claim) {
        const LedgerRow *own = own_of(claim);
        if (own == NULL || claim->request->attempt > own->attempt) {
                return false;
        }
        if (own->state == LEDGER_STATE_UNKNOWN) {
                return decide_looking_back(claim, LEDGER_VERDICT_UNKNOWN);
        }
        claim->bounded = false;
        return decide_wait(claim, LEDGER_REASON_ATTEMPT, 0);
}

/* 4. Nothing is to be done. */
static bool step_nothing_to_do(Claim *claim) {
        const LedgerRequest *request = claim->request;
        if (request->suppress != NULL) {
                return decide_suppressed(claim, reason_of(request->suppress), request->suppress);
        }
        TextId request_id = table_text(claim->ledger, request->request_id);
        if (request_id != 0 && table_is_done(claim->ledger, claim->host, request_id)) {
                return decide_suppressed(claim, LEDGER_REASON_DUPLICATE, NULL);
        }
        if (claim->requested == SIM_LEDGER_NEVER) {
                return false;
        }
        if (claim->requested <= host_of(claim)->covers) {
                return decide_suppressed(claim, LEDGER_REASON_SUPERSEDED, NULL);
        }
        int64_t max_age = claim->policy->max_age_us;
        int64_t first =
                request->first_us > 0 ? least(claim->first, request->first_us) : claim->first;
        if (max_age > 0 && first - claim->requested > max_age) {
                return decide_suppressed(claim, LEDGER_REASON_STALE, NULL);
        }
        return false;
}

/* 5. A hold: a person's before the fuse's, then the oldest. */
static bool step_hold(Claim *claim) {
        SimLedger *ledger = claim->ledger;
        const char *name = table_text_of(ledger, host_of(claim)->name);
        const LedgerHold *stop = NULL;
        for (size_t i = 0; i < ledger->n_holds; i++) {
                const LedgerHold *hold = &ledger->holds[i];
                if (hold->lifted == SIM_LEDGER_NEVER &&
                    (hold->until == SIM_LEDGER_NEVER || hold->until > claim->t) &&
                    (stop == NULL || hold->fuse < stop->fuse ||
                     (hold->fuse == stop->fuse && hold->since < stop->since)) &&
                    host_matches(table_text_of(ledger, hold->pattern), name)) {
                        stop = hold;
                }
        }
        if (stop == NULL) {
                return false;
        }
        int64_t again = 5 * (int64_t)SECOND_US;
        if (stop->until != SIM_LEDGER_NEVER) {
                again = earlier(again, stop->until - claim->t);
        }
        return decide_wait(claim, stop->fuse ? LEDGER_REASON_FUSE : LEDGER_REASON_HOLD, again);
}

/* and the cool-down. */
static bool step_cooldown(Claim *claim) {
        const LedgerHost *host = host_of(claim);
        int64_t cooldown = claim->policy->cooldown_us;
        if (host->last_start == SIM_LEDGER_NEVER || host->last_start <= claim->t - cooldown) {
                return false;
        }
        if (host->last == host->done) {
                return decide_suppressed(claim, LEDGER_REASON_COOLDOWN, NULL);
        }
        /* A clock that was set back does not make it longer than it is. */
        int64_t started = least(host->last_start, claim->t + claim->policy->start_within_us);
        return decide_wait(claim, LEDGER_REASON_COOLDOWN, started + cooldown - claim->t);
}

/* 6. Limits: done and unknown ones of the host, */
static bool step_host_limit(Claim *claim) {
        const LedgerPolicy *policy = claim->policy;
        int32_t n = 0;
        if (policy->host_restarts <= 0) {
                return false;
        }
        const Moments *starts = &host_of(claim)->starts;
        size_t after = moments_after(starts, claim->t - policy->host_period_us);
        for (; after > 0; after--) {
                const LedgerRow *row =
                        table_row(claim->ledger, starts->items[starts->n - after].row);
                n += row->state == LEDGER_STATE_DONE || row->state == LEDGER_STATE_UNKNOWN;
        }
        return n >= policy->host_restarts &&
               decide(claim, LEDGER_VERDICT_REJECT, LEDGER_REASON_HOST_LIMIT);
}

/* what is held of the group, */
static bool step_group(Claim *claim) {
        const SimLedger *ledger = claim->ledger;
        const LedgerGroup *asked = claim->request->group;
        int32_t n = 0;
        if (asked == NULL || asked->concurrency <= 0) {
                return false;
        }
        GroupId group = table_group(claim->ledger, asked->name);
        for (size_t after = moments_after(&ledger->held, claim->t); after > 0; after--) {
                const Moment *moment = &ledger->held.items[ledger->held.n - after];
                n += table_row(ledger, moment->row)->group == group;
        }
        return n >= asked->concurrency && decide_wait(claim, LEDGER_REASON_GROUP, SECOND_US);
}

/* when one of the group ended last, */
static bool step_quiet_time(Claim *claim) {
        const LedgerGroup *asked = claim->request->group;
        if (asked == NULL || asked->quiet_us <= 0) {
                return false;
        }
        GroupId group = table_group(claim->ledger, asked->name);
        const Moments *ends = &claim->ledger->groups[group - 1].ends;
        size_t before = ends->n - moments_after(ends, claim->t);
        int64_t last = before > 0 ? ends->items[before - 1].at : SIM_LEDGER_NEVER;
        return before > 0 && last > claim->t - asked->quiet_us &&
               decide_wait(claim, LEDGER_REASON_QUIET_TIME, last + asked->quiet_us - claim->t);
}

/* what is held of all, */
static bool step_fleet(Claim *claim) {
        int32_t limit = claim->policy->fleet;
        return limit > 0 && moments_after(&claim->ledger->held, claim->t) >= (size_t)limit &&
               decide_wait(claim, LEDGER_REASON_FLEET, SECOND_US);
}

/* When a hold of the fuse ended last. */
static int64_t fuse_lifted(const SimLedger *ledger, int64_t t) {
        int64_t lifted = SIM_LEDGER_NEVER;
        for (size_t i = 0; i < ledger->n_holds; i++) {
                const LedgerHold *hold = &ledger->holds[i];
                int64_t end = hold->lifted != SIM_LEDGER_NEVER ? hold->lifted : hold->until;
                if (hold->fuse && end <= t) {
                        lifted = later(lifted, end);
                }
        }
        return lifted;
}

/* and what started since. */
static bool step_fuse(Claim *claim) {
        SimLedger *ledger = claim->ledger;
        const LedgerPolicy *policy = claim->policy;
        int32_t n = 0;
        if (policy->fuse_restarts <= 0) {
                return false;
        }
        int64_t lifted = fuse_lifted(ledger, claim->t);
        size_t after = moments_after(&ledger->starts, claim->t - policy->fuse_period_us);
        for (; after > 0; after--) {
                const Moment *moment = &ledger->starts.items[ledger->starts.n - after];
                n += table_row(ledger, moment->row)->intended > lifted;
        }
        if (n < policy->fuse_restarts) {
                return false;
        }
        LedgerHold hold = {.pattern = table_text(ledger, "*"),
                           .fuse = true,
                           .since = claim->t,
                           .until = SIM_LEDGER_NEVER,
                           .lifted = SIM_LEDGER_NEVER};
        table_add_hold(ledger, &hold);
        claim->decision->fuse_blew = true;
        return decide_wait(claim, LEDGER_REASON_FUSE, 5 * (int64_t)SECOND_US);
}

/* 7. The intent. */
static bool step_intent(Claim *claim) {
        RowId id = add_own(claim, LEDGER_STATE_INTENDED, NULL);
        const LedgerRow *row = table_row(claim->ledger, id);
        LedgerHost *host = host_of(claim);
        host->open = host->last = id;
        host->held = row->held;
        host->last_start = row->started;
        return decide(claim, LEDGER_VERDICT_START, LEDGER_REASON_NONE);
}

static const Step steps[] = {
        step_own_row,    step_open_intent, step_attempt,    step_nothing_to_do,
        step_hold,       step_cooldown,    step_host_limit, step_group,
        step_quiet_time, step_fleet,       step_fuse,       step_intent,
};

/* max_wait ends every wait but that for the message's own restart. */
static void bound_wait(Claim *claim) {
        int64_t max_wait = claim->policy->max_wait_us;
        LedgerDecision *decision = claim->decision;
        if (decision->verdict != LEDGER_VERDICT_WAIT || !claim->bounded || max_wait <= 0) {
                return;
        }
        int64_t left = claim->first + max_wait - claim->t;
        if (left <= 0) {
                (void)decide(claim, LEDGER_VERDICT_REJECT, LEDGER_REASON_WAITED_TOO_LONG);
                decision->again_us = 0;
        } else {
                decision->again_us = earlier(decision->again_us, left);
        }
}

/* The message's row that counts: one that is done or suppressed, otherwise the newest. */
static RowId find_own(const SimLedger *ledger, const LedgerRequest *request) {
        RowId newest = table_newest(ledger, request->source, request->offset);
        for (RowId id = newest; id != 0;) {
                const LedgerRow *row = table_row(ledger, id);
                if (row->state == LEDGER_STATE_DONE || row->state == LEDGER_STATE_SUPPRESSED) {
                        return id;
                }
                id = row->older_of_message;
        }
        return newest;
}

/* @claim: what is the same for all; @first: first_receipts() of the request. */
static void claim_one(Claim claim, const LedgerRequest *request, int64_t first,
                      LedgerDecision *decision) {
        claim.request = request;
        claim.requested = time_of(request->requested_us);
        claim.host = table_host(claim.ledger, request->host);
        claim.own = find_own(claim.ledger, request);
        claim.bounded = true;
        claim.decision = decision;
        const LedgerRow *own = own_of(&claim);
        claim.first = least(least(own != NULL ? own->received : SIM_LEDGER_NEVER, first), claim.t);
        *decision = (LedgerDecision){.attempt = own != NULL ? own->attempt : 0,
                                     .received_us = claim.first,
                                     .acted_age_us = -1};
        size_t i = 0;
        while (!steps[i](&claim)) {
                i++;
        }
        bound_wait(&claim);
}

static void first_receipts(const LedgerPolicy *policy, const LedgerRequest *requests, size_t n,
                           int64_t t, const SimReceipts *receipts, int64_t *firsts) {
        int64_t matters = policy->max_age_us > 0 ? policy->max_age_us : INT64_MAX;
        int64_t since = INT64_MAX;
        if (policy->max_wait_us > 0) {
                matters = earlier(matters, policy->max_wait_us);
        }
        for (size_t i = 0; i < n; i++) {
                int64_t requested = time_of(requests[i].requested_us);
                firsts[i] = time_of(requests[i].received_us);
                bool is_old = requested == SIM_LEDGER_NEVER || requested < t - matters;
                if (requests[i].redelivered && matters != INT64_MAX && is_old) {
                        since = earlier(since,
                                        requested != SIM_LEDGER_NEVER ? requested : INT64_MIN);
                }
        }
        if (since == INT64_MAX || receipts == NULL) {
                return;
        }
        since = later(since != INT64_MIN ? since - HOUR_US : since, t - 7 * 24 * HOUR_US);
        for (size_t i = 0; i < n; i++) {
                if (requests[i].redelivered) {
                        int64_t saved = receipts->first(receipts->user, requests[i].source,
                                                        requests[i].offset, since, t);
                        firsts[i] = least(firsts[i], saved);
                }
        }
}

LedgerEnd sim_ledger_claim(SimLedger *ledger, int32_t instance, const LedgerPolicy *policy,
                           const LedgerRequest *requests, size_t n, int64_t now_us,
                           const SimReceipts *receipts, LedgerDecision *decisions) {
        const char *names[LEDGER_BATCH_MAX];
        size_t order[LEDGER_BATCH_MAX];
        int64_t firsts[LEDGER_BATCH_MAX];
        assert(n > 0 && n <= LEDGER_BATCH_MAX);
        for (size_t i = 0; i < n; i++) {
                names[i] = requests[i].host;
        }
        first_receipts(policy, requests, n, now_us, receipts, firsts);
        table_sort_by_name(names, n, order);
        Claim claim = {.ledger = ledger, .policy = policy, .instance = instance, .t = now_us};
        for (size_t k = 0; k < n; k++) {
                size_t i = order[k];
                claim_one(claim, &requests[i], firsts[i], &decisions[i]);
        }
        /* Now that no text is added any more. */
        for (size_t i = 0; i < n; i++) {
                if (decisions[i].before != NULL) {
                        const LedgerRow *row = table_row(ledger, (RowId)decisions[i].id);
                        decisions[i].before = table_text_of(ledger, row->before);
                }
        }
        return LEDGER_END_DONE;
}
