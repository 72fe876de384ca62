/*
 * Restarts, as the judge sees them: from the first question until the ledger has the end.
 *
 * Some runs end without an action: their messages wait again, or have left. The judge cannot see
 * that at once: such a run is over when all actions were taken and none was its own.
 */

#include "judge-books.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
        PRECHECK_AGAIN_US = 10 * 1000 * 1000, /* a host that precheck holds up is checked again */
};

/* --- books -------------------------------------------------------------------------------- */

size_t runs_hash(const char *host) {
        uint32_t hash = 2166136261u;
        for (; *host != '\0'; host++) {
                hash = (hash ^ (unsigned char)*host) * 16777619u;
        }
        return hash % RUN_BUCKETS;
}

/* It is over when no action of it follows. */
bool run_may_be_over(const RunKnown *run) {
        return run->step == STEP_CHECKED || run->step == STEP_CLAIM_ANEW;
}

/* It waits for its time to ask again. */
static bool asks_again(const RunKnown *run) {
        return run->step == STEP_DOUBT || run->step == STEP_TELL_AGAIN ||
               (run->step == STEP_VERIFYING && run->acted == ASK_AGAIN);
}

RunKnown *runs_find(const Judge *judge, uint64_t id) {
        RunKnown *run = judge->runs[id % RUN_BUCKETS];
        while (run != NULL && run->id != id) {
                run = run->next;
        }
        return run;
}

static void count(Judge *judge, const RunKnown *run, size_t n) {
        judge->n_slots += run->aside ? 0 : n;
        judge->n_maybe += !run->aside && run_may_be_over(run) ? n : 0;
        judge->n_asking += asks_again(run) ? n : 0;
}

static void set_step(Judge *judge, RunKnown *run, Step step) {
        count(judge, run, (size_t)-1);
        run->step = step;
        count(judge, run, 1);
}

static void set_acted(Judge *judge, RunKnown *run, Ask ask) {
        count(judge, run, (size_t)-1);
        run->acted = ask;
        count(judge, run, 1);
}

/* To be looked at when no action is left. */
static void touch(Judge *judge, RunKnown *run) {
        if (!run->touched) {
                run->touched = true;
                run->next_touched = judge->touched;
                judge->touched = run;
        }
}

static RunKnown *add_run(Judge *judge, const Observation *seen) {
        RunKnown *run = calloc(1, sizeof(*run));
        RunKnown **bucket = &judge->runs[seen->id % RUN_BUCKETS];
        run->id = seen->id;
        run->aside = run_is_aside(seen);
        run->outcome = OUTCOME_NONE;
        snprintf(run->host, sizeof(run->host), "%s", seen->text);
        run->next = *bucket;
        *bucket = run;
        bucket = &judge->hosts[runs_hash(run->host)];
        run->next_host = *bucket;
        *bucket = run;
        count(judge, run, 1);
        return run;
}

static void let_go(Judge *judge, const RunKnown *run, const ObservedItem *item) {
        Known *known = judge_known_of(judge, item);
        if (known != NULL && known->in_run == run->id) {
                known->in_run = 0;
        }
}

static void run_free(RunKnown *run) {
        free(run->items);
        free(run);
}

/* Its messages are their own again. */
static void run_over(Judge *judge, RunKnown *run) {
        RunKnown **at = &judge->runs[run->id % RUN_BUCKETS];
        for (size_t i = 0; i < run->n; i++) {
                let_go(judge, run, &run->items[i]);
        }
        while (*at != run) {
                at = &(*at)->next;
        }
        *at = run->next;
        at = &judge->hosts[runs_hash(run->host)];
        while (*at != run) {
                at = &(*at)->next_host;
        }
        *at = run->next_host;
        for (at = &judge->touched; run->touched && *at != NULL;) {
                if (*at == run) {
                        *at = run->next_touched;
                        break;
                }
                at = &(*at)->next_touched;
        }
        count(judge, run, (size_t)-1);
        run_free(run);
}

void runs_free(Judge *judge) {
        for (size_t i = 0; i < RUN_BUCKETS; i++) {
                for (RunKnown *run = judge->runs[i]; run != NULL;) {
                        RunKnown *next = run->next;
                        run_free(run);
                        run = next;
                }
                for (StartKnown *start = judge->starts[i]; start != NULL;) {
                        StartKnown *next = start->next;
                        free(start);
                        start = next;
                }
        }
}

bool runs_have(const Judge *judge, const Known *known) {
        const RunKnown *run = known->in_run != 0 ? runs_find(judge, known->in_run) : NULL;
        return run != NULL && !run_may_be_over(run);
}

StartKnown **runs_start(Judge *judge, const char *host) {
        StartKnown **at = &judge->starts[runs_hash(host)];
        while (*at != NULL && strcmp((*at)->host, host) != 0) {
                at = &(*at)->next;
        }
        return at;
}

static Known *leader_of(const Judge *judge, const RunKnown *run) {
        return run->leader.epoch != 0 ? judge_known_of(judge, &run->leader) : NULL;
}

/* Whether somebody waits for what becomes of the leader. */
bool run_is_wanted(const Judge *judge, const RunKnown *run) {
        const Epoch *epoch = judge_epoch(judge, run->leader.epoch);
        const Known *known = leader_of(judge, run);
        return !judge->stopped && known != NULL && !known->released && epoch != NULL &&
               epoch->phase == PHASE_ASSIGNED && !epoch->dead;
}

static LedgerState state_of(Outcome outcome) {
        switch (outcome) {
        case OUTCOME_DONE:
        case OUTCOME_SUPPRESSED:
                return LEDGER_STATE_DONE;
        case OUTCOME_FAILED:
                return LEDGER_STATE_FAILED;
        case OUTCOME_NOT_STARTED:
        case OUTCOME_OUTAGE:
        case OUTCOME_POISON:
        case OUTCOME_INTERNAL:
        case OUTCOME_CANCELLED:
                return LEDGER_STATE_NOT_STARTED;
        case OUTCOME_NONE:
        case OUTCOME_UNKNOWN:
        case OUTCOME_COUNT:
                break;
        }
        return LEDGER_STATE_UNKNOWN;
}

static Outcome outcome_of(int64_t state) {
        return state == LEDGER_STATE_DONE || state == LEDGER_STATE_SUPPRESSED ? OUTCOME_DONE
               : state == LEDGER_STATE_FAILED                                 ? OUTCOME_FAILED
               : state == LEDGER_STATE_NOT_STARTED                            ? OUTCOME_NOT_STARTED
                                                                              : OUTCOME_UNKNOWN;
}

/* The run's end is that of one of its messages. */
static void end_of(Judge *judge, RunKnown *run, const ObservedItem *item) {
        const JudgeLimits *limits = &judge->limits;
        Known *known = judge_known_of(judge, item);
        Outcome outcome = run->outcome;
        bool acted = outcome != OUTCOME_NOT_STARTED && outcome != OUTCOME_OUTAGE;
        if (known == NULL || known->in_run != run->id) {
                return;
        }
        known->in_run = 0;
        known->ended_us = judge->now;
        known->after_us = run->retry_after_us;
        if (limits->ledger && acted) {
                known->after_us = (run->acting_us > 0 ? run->acting_us : judge->now) +
                                  limits->cooldown_us - judge->now;
        }
        known->outcome = outcome;
        known->attempts += outcome != OUTCOME_CANCELLED;
        known->restarted = outcome_is_success(outcome) ||
                           (outcome == OUTCOME_UNKNOWN && limits->on_unknown == ON_UNKNOWN_DONE);
        known->charged +=
                run->charged && (outcome == OUTCOME_FAILED || outcome == OUTCOME_NOT_STARTED ||
                                 outcome == OUTCOME_UNKNOWN);
}

static void run_ends(Judge *judge, RunKnown *run) {
        for (size_t i = 0; i < run->n; i++) {
                end_of(judge, run, &run->items[i]);
        }
        run_over(judge, run);
}

/* The outcome is known, and the ledger is to know it. */
static void is_to_be_told(Judge *judge, RunKnown *run) {
        run->state = state_of(run->outcome);
        if (run->outcome == OUTCOME_UNKNOWN && judge->limits.on_unknown == ON_UNKNOWN_DONE) {
                run->state = LEDGER_STATE_DONE;
        } else if (run->outcome == OUTCOME_UNKNOWN && run->was_unknown) {
                run_ends(judge, run); /* as it says already */
                return;
        }
        set_step(judge, run, STEP_ENDS);
}

/* --- keeping the books -------------------------------------------------------------------- */

static void book_items(Judge *judge, RunKnown *run, const Observation *seen) {
        for (size_t i = 0; i < run->n; i++) {
                let_go(judge, run, &run->items[i]);
        }
        run->n = seen->n_items;
        run->items = realloc(run->items, run->n * sizeof(ObservedItem) + 1);
        for (size_t i = 0; i < run->n; i++) {
                run->items[i] = seen->items[i];
                Known *known = judge_known_of(judge, &run->items[i]);
                if (known != NULL) {
                        known->in_run = run->id;
                        known->due_us = -1;
                        judge_forget_due(judge, run->items[i].epoch, run->items[i].offset);
                }
        }
}

static void book_claim(const Judge *judge, RunKnown *run, const Observation *seen) {
        run->holds = judge->holds;
        run->source = seen->numbers[0];
        run->attempt = seen->numbers[2];
        run->suppress = seen->numbers[3];
        Known *known = leader_of(judge, run);
        if (known != NULL && run->aside) {
                known->aside = true;
        }
}

static void book_start(Judge *judge, RunKnown *run, const Observation *seen) {
        StartKnown **at = runs_start(judge, seen->text);
        run->acting_us = seen->now;
        if (!judge->limits.ledger) {
                return;
        }
        if (*at == NULL) {
                size_t size = strlen(seen->text) + 1;
                *at = calloc(1, sizeof(**at) + size);
                memcpy((*at)->host, seen->text, size);
        }
        (*at)->us = seen->now;
}

/* It surely did not start. */
static void forget_start(Judge *judge, const RunKnown *run) {
        StartKnown **at = runs_start(judge, run->host), *start = *at;
        if (start != NULL && start->us == run->acting_us) {
                *at = start->next;
                free(start);
        }
}

static void book_action(Judge *judge, const Observation *seen) {
        RunKnown *run = runs_find(judge, seen->id);
        if (run == NULL) {
                if (!seen_is_towards_a_start(seen)) {
                        return;
                }
                run = add_run(judge, seen);
                if (seen->n_items > 0) {
                        run->leader = seen->items[0];
                }
        }
        book_items(judge, run, seen);
        touch(judge, run);
        switch (seen->kind) {
        case ENGINE_CHECK:
                set_step(judge, run, STEP_CHECKING);
                break;
        case ENGINE_CLAIM:
                book_claim(judge, run, seen);
                set_step(judge, run, STEP_CLAIMING);
                break;
        case ENGINE_RESTART:
                book_start(judge, run, seen);
                set_step(judge, run, STEP_ACTING);
                break;
        case ENGINE_ACTED:
                set_acted(judge, run, ASK_OPEN);
                break;
        case ENGINE_VERIFY:
                run->verify = ASK_OPEN;
                break;
        case ENGINE_CONCLUDE:
                run->put_back = seen->b != 0;
                run->state = (LedgerState)seen->c;
                if (run->step == STEP_VERIFYING) {
                        run->outcome = OUTCOME_UNKNOWN;
                        run->charged = true;
                }
                set_step(judge, run, STEP_ENDING);
                break;
        }
}

/* The leader has to wait; the others of its host wait with it. @held: by a hold, which may be
 * lifted: it may be asked for earlier. */
static void asked_again(Judge *judge, RunKnown *run, int64_t delay, bool held) {
        Known *known = leader_of(judge, run);
        ObservedItem leader = run->leader;
        bool wanted = run_is_wanted(judge, run);          /* otherwise it is cancelled */
        bool lifted = held && run->holds != judge->holds; /* perhaps */
        int64_t due = judge->now + delay;
        run_over(judge, run);
        if (!wanted || lifted) {
                return;
        }
        known->due_us = due;
        known->held = held;
        known->holds = judge->holds;
        if (!judge_has_waited(judge, known->fetched_us, due)) {
                judge_due(judge, leader.epoch, leader.offset, due, due, true);
        }
}

static void book_checked(Judge *judge, RunKnown *run, const Observation *seen) {
        Known *known = leader_of(judge, run);
        run->before = seen->ok;
        switch ((CheckResult)seen->kind) {
        case CHECK_GO:
        case CHECK_NOT_NEEDED:
                set_step(judge, run, STEP_CHECKED);
                return;
        case CHECK_POISON:
                if (known != NULL && run_is_wanted(judge, run)) {
                        known->refused = true;
                }
                break;
        case CHECK_WAIT:
                asked_again(judge, run, PRECHECK_AGAIN_US, false);
                return;
        case CHECK_CANCELLED:
                break;
        }
        run_over(judge, run);
}

/* What an earlier process did for the leader is looked at. */
static void look_back(Judge *judge, RunKnown *run, const Observation *seen) {
        const JudgeLimits *limits = &judge->limits;
        Known *known = leader_of(judge, run);
        bool unknown = seen->kind == LEDGER_VERDICT_UNKNOWN;
        if (!run_is_wanted(judge, run)) {
                run_over(judge, run);
                return;
        }
        for (size_t i = 0; i < run->n; i++) {
                if (run->items[i].epoch != run->leader.epoch ||
                    run->items[i].offset != run->leader.offset) {
                        let_go(judge, run, &run->items[i]);
                }
        }
        known->claim = 0;
        run->was_unknown = unknown;
        run->ended_well = !unknown;
        run->before = seen->ok;
        run->charged = true;
        if (limits->verify && (!unknown || run->before)) {
                run->verify = ASK_NOW;
                set_step(judge, run, STEP_VERIFYING);
                return;
        }
        run->outcome = unknown ? OUTCOME_UNKNOWN : OUTCOME_DONE;
        is_to_be_told(judge, run);
}

static void book_decided(Judge *judge, RunKnown *run, const Observation *seen) {
        Known *known = leader_of(judge, run);
        run->ledger_id = seen->c;
        switch ((LedgerVerdict)seen->kind) {
        case LEDGER_VERDICT_START:
                if (known != NULL) {
                        known->claim = (int32_t)run->attempt + !run->doubted;
                }
                set_step(judge, run, STEP_GRANTED);
                return;
        case LEDGER_VERDICT_DONE:
                if (known != NULL && !known->released) {
                        known->restarted = true;
                }
                break;
        case LEDGER_VERDICT_REJECT:
                if (known != NULL && !judge->stopped) {
                        known->refused = true;
                }
                break;
        case LEDGER_VERDICT_WAIT:
                if (seen->b == LEDGER_REASON_ATTEMPT) {
                        if (known != NULL) {
                                known->claim = 0;
                        }
                        set_step(judge, run, STEP_CLAIM_ANEW);
                } else {
                        asked_again(judge, run, seen->d,
                                    seen->b == LEDGER_REASON_HOLD || seen->b == LEDGER_REASON_FUSE);
                }
                return;
        case LEDGER_VERDICT_VERIFY:
        case LEDGER_VERDICT_UNKNOWN:
                look_back(judge, run, seen);
                return;
        }
        run_over(judge, run);
}

static void book_claimed(Judge *judge, RunKnown *run, const Observation *seen) {
        run->doubted = seen->numbers[0] != 0 && !run->doubt;
        if (seen->a != LEDGER_END_UNKNOWN && seen->a != LEDGER_END_OUTAGE) {
                run->doubt = run->doubt && seen->a != LEDGER_END_DONE;
        }
        switch ((LedgerEnd)seen->a) {
        case LEDGER_END_DONE:
                book_decided(judge, run, seen);
                return;
        case LEDGER_END_UNKNOWN:
                run->doubt = true;
                set_step(judge, run, STEP_DOUBT);
                return;
        case LEDGER_END_OUTAGE:
                if (run->doubt) {
                        set_step(judge, run, STEP_DOUBT);
                        return;
                }
                break;
        case LEDGER_END_REFUSED:
                if (!run->alone) {
                        run->alone = true;
                        set_step(judge, run, STEP_CLAIM_ANEW);
                        return;
                }
                break;
        }
        run_over(judge, run);
}

static void book_restarted(Judge *judge, RunKnown *run, const Observation *seen) {
        const JudgeLimits *limits = &judge->limits;
        run->outcome = (Outcome)seen->kind;
        run->charged = seen->ok;
        run->retry_after_us = seen->a;
        if (!limits->ledger) {
                run_ends(judge, run);
                return;
        }
        if (state_of(run->outcome) == LEDGER_STATE_NOT_STARTED) {
                forget_start(judge, run);
        }
        if (limits->verify && run->outcome == OUTCOME_DONE) {
                run->ended_well = true;
                run->verify = judge->stopped ? ASK_OVER : ASK_NOW;
                run->result = VERIFY_CANCELLED;
                set_step(judge, run, STEP_VERIFYING);
                set_acted(judge, run, ASK_NOW);
                return;
        }
        if (limits->verify && run->outcome == OUTCOME_UNKNOWN && run->before && !judge->stopped) {
                run->verify = ASK_NOW;
                set_step(judge, run, STEP_VERIFYING);
                return;
        }
        run->put_back = run->outcome == OUTCOME_CANCELLED;
        is_to_be_told(judge, run);
}

static Outcome verified_outcome(const RunKnown *run) {
        switch (run->result) {
        case VERIFY_PASSED:
                return OUTCOME_DONE;
        case VERIFY_UNCOMPARED:
                return run->ended_well ? OUTCOME_DONE : OUTCOME_UNKNOWN;
        case VERIFY_SAME:
                return run->ended_well ? OUTCOME_FAILED : OUTCOME_UNKNOWN;
        case VERIFY_FAILED:
                break;
        case VERIFY_CANCELLED:
                return OUTCOME_CANCELLED;
        }
        return OUTCOME_UNKNOWN;
}

/* What verify found counts when the ledger knows of the action's end, or cannot be told now. */
static void is_verified(Judge *judge, RunKnown *run) {
        Outcome outcome = verified_outcome(run);
        bool left = outcome == OUTCOME_CANCELLED; /* to the next owner, who must find it */
        if (run->verify != ASK_OVER || run->acted == ASK_NOW || run->acted == ASK_OPEN ||
            (run->acted == ASK_AGAIN && left)) {
                return;
        }
        run->outcome = outcome;
        run->charged = true;
        run->verified = run->result == VERIFY_PASSED;
        if (left && (run->ended_well || run->was_unknown)) {
                run_ends(judge, run);
        } else if (left) {
                run->state = LEDGER_STATE_UNKNOWN; /* whatever on_unknown says */
                set_step(judge, run, STEP_ENDS);
        } else {
                is_to_be_told(judge, run);
        }
}

static void book_acted(Judge *judge, RunKnown *run, const Observation *seen) {
        bool answered = seen->kind == LEDGER_END_DONE || seen->kind == LEDGER_END_REFUSED;
        bool left = run->verify != ASK_OVER || verified_outcome(run) == OUTCOME_CANCELLED;
        if (seen->kind == LEDGER_END_REFUSED && left && !run->acted_alone) {
                run->acted_alone = true; /* refused together with others: told by itself */
                set_acted(judge, run, ASK_NOW);
                return;
        }
        set_acted(judge, run, answered ? ASK_OVER : ASK_AGAIN);
        is_verified(judge, run);
}

static void book_verified(Judge *judge, RunKnown *run, const Observation *seen) {
        run->verify = ASK_OVER;
        run->result = (VerifyResult)seen->kind;
        is_verified(judge, run);
}

/* Who shared an unknown end has a row of its own, which took the number of its next claim. */
static void book_shared(Judge *judge, const RunKnown *run) {
        for (size_t i = 0; i < run->n; i++) {
                const ObservedItem *item = &run->items[i];
                bool leads = item->epoch == run->leader.epoch && item->offset == run->leader.offset;
                Known *known = judge_known_of(judge, item);
                if (!leads && known != NULL && known->in_run == run->id && known->claim != 0) {
                        known->claim++;
                }
        }
}

static void book_concluded(Judge *judge, RunKnown *run, const Observation *seen) {
        switch ((LedgerEnd)seen->kind) {
        case LEDGER_END_DONE:
                if (run->put_back) {
                        run_over(judge, run);
                        return;
                }
                if (seen->ok && seen->a == LEDGER_STATE_UNKNOWN) {
                        book_shared(judge, run);
                } else if (!seen->ok) {
                        run->outcome = outcome_of(seen->a);
                        run->charged = true;
                }
                run_ends(judge, run);
                return;
        case LEDGER_END_OUTAGE:
        case LEDGER_END_UNKNOWN:
        case LEDGER_END_REFUSED:
                set_step(judge, run, STEP_TELL_AGAIN);
                return;
        }
}

static void book_quiet(Judge *judge) {
        while (judge->touched != NULL) {
                RunKnown *run = judge->touched;
                judge->touched = run->next_touched;
                run->touched = false;
                if (run_may_be_over(run)) {
                        run_over(judge, run);
                } else if (run->step == STEP_VERIFYING && run->verify == ASK_NOW) {
                        run->verify = ASK_OVER; /* it stops, or the message is gone */
                        run->result = VERIFY_CANCELLED;
                        is_verified(judge, run);
                }
        }
}

static void book_too_late(Judge *judge, RunKnown *run, const Observation *seen) {
        (void)seen;
        forget_start(judge, run);
        run->put_back = true;
        run->state = LEDGER_STATE_NOT_STARTED;
        set_step(judge, run, STEP_ENDS);
}

static void (*const books[OBSERVED_TYPES])(Judge *judge, RunKnown *run, const Observation *seen) = {
        [OBSERVED_CHECKED] = book_checked,     [OBSERVED_CLAIMED] = book_claimed,
        [OBSERVED_TOO_LATE] = book_too_late,   [OBSERVED_RESTARTED] = book_restarted,
        [OBSERVED_ACTED] = book_acted,         [OBSERVED_VERIFIED] = book_verified,
        [OBSERVED_CONCLUDED] = book_concluded,
};

/* What waits for one is asked for at once. */
static void book_holds(Judge *judge) {
        judge->holds++;
        for (size_t i = 0; i < judge->n_retries; i++) {
                const ObservedItem item = {.epoch = judge->retries[i].epoch,
                                           .offset = judge->retries[i].offset};
                Known *known = judge->retries[i].ask ? judge_known_of(judge, &item) : NULL;
                if (known != NULL && known->held) {
                        judge->retries[i].from_us = judge->now;
                }
        }
}

void runs_book(Judge *judge, const Observation *seen) {
        if (seen->type == OBSERVED_HOLDS_CHANGED) {
                book_holds(judge);
                return;
        }
        if (seen->type == OBSERVED_QUIET) {
                book_quiet(judge);
                return;
        }
        if (seen_is_of_a_run(seen)) {
                book_action(judge, seen);
                return;
        }
        RunKnown *run = runs_find(judge, seen->id);
        if (run == NULL) {
                return; /* the judge came late */
        }
        touch(judge, run);
        books[seen->type](judge, run, seen);
}
