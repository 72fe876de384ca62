/* The rules of restarts. Each is asked before the books know what is seen. */

#include "judge-books.h"

#include <inttypes.h>
#include <string.h>

#include "core/backoff.h"

enum {
        ASK_MOST_US = 5 * 1000 * 1000, /* until a question without an answer is asked again */
};

void runs_one_at_a_time(Judge *judge, const Observation *seen) {
        if (!seen_is_towards_a_start(seen) || run_is_aside(seen)) {
                return;
        }
        for (const RunKnown *run = judge->hosts[runs_hash(seen->text)]; run != NULL;
             run = run->next_host) {
                if (run->id != seen->id && !run->aside && !run_may_be_over(run) &&
                    strcmp(run->host, seen->text) == 0) {
                        judge_broken(judge, 7, "%s is restarted while a restart of it is under way",
                                     seen->text);
                }
        }
        const StartKnown *start =
                seen->kind == ENGINE_RESTART ? *runs_start(judge, seen->text) : NULL;
        if (judge->limits.steady && start != NULL &&
            seen->now < start->us + judge->limits.cooldown_us) {
                judge_broken(judge, 7, "%s is restarted again after %" PRId64 " us", seen->text,
                             seen->now - start->us);
        }
}

static void message_is_wanted(Judge *judge, const Observation *seen, const ObservedItem *item) {
        const Known *known = judge_known_of(judge, item);
        bool elsewhere = known != NULL && known->in_run != seen->id && runs_have(judge, known);
        if (known == NULL || known->resolved || known->released || known->restarted ||
            known->refused || elsewhere) {
                judge_broken(judge, 8, "%s is restarted for %" PRId64 ", which %s", seen->text,
                             item->offset,
                             known == NULL ? "was never fetched"
                             : elsewhere   ? "is in another restart"
                                           : "is done");
        }
}

void runs_are_wanted(Judge *judge, const Observation *seen) {
        if (!seen_is_towards_a_start(seen)) {
                return;
        }
        const RunKnown *run = runs_find(judge, seen->id);
        bool doubt = run != NULL && run->doubt && seen->kind == ENGINE_CLAIM;
        bool starts = seen->kind == ENGINE_RESTART;
        bool wanted = doubt;
        if (judge->stopped && !doubt) {
                judge_broken(judge, 8, "%s is restarted after the stop", seen->text);
        }
        /* One that opens is told of after what is granted meanwhile was started. */
        bool begins = judge->limits.ledger ? run == NULL && !run_is_aside(seen) : starts;
        if (judge->shut && begins) {
                judge_broken(judge, 8, "%s is restarted, and no window is open", seen->text);
        }
        if (!judge->limits.restart) {
                judge_broken(judge, 8, "%s is restarted without a handler for it", seen->text);
        }
        for (size_t i = 0; i < seen->n_items; i++) {
                const ObservedItem *item = &seen->items[i];
                const Epoch *epoch = judge_epoch(judge, item->epoch);
                /* What the ledger granted, it granted to one assignment. */
                bool counts =
                        run == NULL || !judge->limits.ledger ||
                        (item->epoch == run->leader.epoch && item->offset == run->leader.offset);
                message_is_wanted(judge, seen, item);
                wanted = wanted || (counts && epoch != NULL && epoch->phase == PHASE_ASSIGNED);
        }
        if (!wanted) {
                judge_broken(judge, 15, "%s is restarted for nobody, or for what was revoked",
                             seen->text);
        }
}

/* Which number its claim has. */
static void claim_is_numbered(Judge *judge, const Observation *seen, const RunKnown *run) {
        if (run != NULL && run->attempt != 0) {
                bool same = seen->numbers[0] == run->source &&
                            seen->numbers[1] == run->leader.offset &&
                            (seen->numbers[2] == run->attempt || run->step == STEP_CLAIM_ANEW) &&
                            seen->numbers[3] == run->suppress;
                if (!same) {
                        judge_broken(judge, 8, "%s: another claim is asked again than was sent",
                                     seen->text);
                }
                return;
        }
        const Known *known = seen->n_items > 0 ? judge_known_of(judge, &seen->items[0]) : NULL;
        if (known == NULL || seen->items[0].offset != seen->numbers[1]) {
                judge_broken(judge, 8, "%s: the claim is not that of its first message",
                             seen->text);
        } else if (known->claim != 0 && known->claim != seen->numbers[2]) {
                judge_broken(judge, 8,
                             "%s: claim %" PRId64 " of %" PRId64 ", which should be number %d",
                             seen->text, seen->numbers[2], known->offset, known->claim);
        }
}

static void claim_has_its_place(Judge *judge, const Observation *seen, const RunKnown *run) {
        bool checks = judge->limits.check && !run_is_aside(seen);
        bool fits = run == NULL ? !checks
                                : run->step == STEP_CHECKED || run->step == STEP_DOUBT ||
                                          run->step == STEP_CLAIM_ANEW;
        if (!judge->limits.ledger || !fits) {
                judge_broken(judge, 8, "%s: a claim %s", seen->text,
                             run == NULL ? "without a check" : "that nothing led to");
        }
        claim_is_numbered(judge, seen, run);
}

/* What the run's end has to be; at the shutdown nobody verifies any more. */
static bool ends_as(const Judge *judge, const RunKnown *run, const Observation *seen) {
        LedgerState state = run->state;
        switch (run->step) {
        case STEP_GRANTED:
                return seen->b &&
                       seen->c == (run->doubted ? LEDGER_STATE_UNKNOWN : LEDGER_STATE_NOT_STARTED);
        case STEP_VERIFYING:
                return judge->stopped && run->verify == ASK_NOW && !run->ended_well &&
                       seen->c == LEDGER_STATE_UNKNOWN && !seen->b;
        case STEP_ENDS:
        case STEP_TELL_AGAIN:
                return seen->c == (int64_t)state && (seen->b != 0) == run->put_back &&
                       (seen->numbers[5] != 0) == run->verified;
        case STEP_CHECKING:
        case STEP_CHECKED:
        case STEP_CLAIMING:
        case STEP_DOUBT:
        case STEP_CLAIM_ANEW:
        case STEP_ACTING:
        case STEP_ENDING:
                break;
        }
        return false;
}

static void action_has_its_place(Judge *judge, const Observation *seen) {
        const JudgeLimits *limits = &judge->limits;
        const RunKnown *run = runs_find(judge, seen->id);
        bool verifies = run != NULL && run->step == STEP_VERIFYING;
        switch (seen->kind) {
        case ENGINE_CHECK:
                if (!limits->ledger || !limits->check || run != NULL) {
                        judge_broken(judge, 8, "%s is checked, and should not be", seen->text);
                }
                break;
        case ENGINE_CLAIM:
                claim_has_its_place(judge, seen, run);
                break;
        case ENGINE_RESTART:
                if (limits->ledger ? run == NULL || run->step != STEP_GRANTED : run != NULL) {
                        judge_broken(judge, 8, "%s is restarted, and nobody said that it may be",
                                     seen->text);
                }
                break;
        case ENGINE_ACTED:
                if (!verifies || (run->acted != ASK_NOW && run->acted != ASK_AGAIN)) {
                        judge_broken(judge, 2, "%s: its action ended well, is told out of place",
                                     seen->text);
                }
                break;
        case ENGINE_VERIFY:
                if (!verifies || run->verify != ASK_NOW || judge->stopped || seen->numbers[6] < 0 ||
                    seen->numbers[6] > limits->verify_deadline_us) {
                        judge_broken(judge, 9, "%s is verified, and should not be", seen->text);
                }
                break;
        case ENGINE_CONCLUDE:
                if (run == NULL || !ends_as(judge, run, seen)) {
                        judge_broken(
                                judge, 2, "%s: the end \"%s\"%s is told at step %d, not \"%s\"",
                                seen->text, ledger_state_name((LedgerState)seen->c),
                                seen->b ? ", given back," : "", run != NULL ? (int)run->step : -1,
                                ledger_state_name(run != NULL ? run->state : LEDGER_STATE_NONE));
                }
                if (run != NULL && seen->a != run->ledger_id) {
                        judge_broken(judge, 2, "%s: the end of another row is told", seen->text);
                }
                break;
        }
}

/* An answer, and nobody asked. */
static bool is_unasked(const RunKnown *run, ObservationType type) {
        return (type == OBSERVED_CHECKED && run->step != STEP_CHECKING) ||
               (type == OBSERVED_CLAIMED && run->step != STEP_CLAIMING) ||
               (type == OBSERVED_RESTARTED && run->step != STEP_ACTING) ||
               (type == OBSERVED_TOO_LATE && run->step != STEP_ACTING) ||
               (type == OBSERVED_ACTED && run->acted != ASK_OPEN) ||
               (type == OBSERVED_VERIFIED && run->verify != ASK_OPEN) ||
               (type == OBSERVED_CONCLUDED && run->step != STEP_ENDING);
}

/* No action is left, and the run waits for one. */
static void run_goes_on(Judge *judge, const RunKnown *run) {
        bool asks =
                run->step == STEP_VERIFYING &&
                (run->acted == ASK_NOW || (run->verify == ASK_NOW && run_is_wanted(judge, run)));
        if (run->step == STEP_GRANTED || run->step == STEP_ENDS || asks) {
                judge_broken(judge, 2, "%s: %s", run->host,
                             run->step == STEP_GRANTED ? "it was granted, and nothing follows"
                             : asks                    ? "it is not verified"
                                                       : "its end is not told");
        }
}

void runs_follow_the_ledger(Judge *judge, const Observation *seen) {
        if (seen_is_of_a_run(seen)) {
                action_has_its_place(judge, seen);
        }
        const RunKnown *of = seen->type != OBSERVED_ACTION ? runs_find(judge, seen->id) : NULL;
        if (of != NULL && is_unasked(of, seen->type)) {
                judge_broken(judge, 2, "%s: an answer at step %d, which nobody asked for", of->host,
                             (int)of->step);
        }
        if (seen->type == OBSERVED_QUIET) {
                for (const RunKnown *run = judge->touched; run != NULL; run = run->next_touched) {
                        run_goes_on(judge, run);
                }
        }
}

void runs_repeat_nothing_unknown(Judge *judge, const Observation *seen) {
        if (!seen_is_towards_a_start(seen) || judge->limits.on_unknown == ON_UNKNOWN_RETRY) {
                return;
        }
        for (size_t i = 0; i < seen->n_items; i++) {
                const Known *known = judge_known_of(judge, &seen->items[i]);
                if (known != NULL && known->outcome == OUTCOME_UNKNOWN) {
                        judge_broken(judge, 9, "%s is restarted again after an unknown end",
                                     seen->text);
                }
        }
}

/* Calls for each message that is new in its run. */
#define for_each_joining(judge, seen, known)                                                       \
        for (size_t i_ = 0; seen_is_towards_a_start(seen) && i_ < (seen)->n_items; i_++)           \
                for (const Known *known = judge_known_of(judge, &(seen)->items[i_]);               \
                     known != NULL && known->in_run != (seen)->id; known = NULL)

void runs_wait(Judge *judge, const Observation *seen) {
        for_each_joining(judge, seen, known) {
                int64_t least = known->after_us > BACKOFF_MIN_US ? known->after_us : BACKOFF_MIN_US;
                if (known->ended_us >= 0 && seen->now < known->ended_us + least) {
                        judge_broken(judge, 10,
                                     "%s: an attempt %" PRId64 " us after the one before",
                                     seen->text, seen->now - known->ended_us);
                }
        }
}

void judge_count_unknown(Known *known, int64_t charged) {
        if (known->unknown && charged == known->charged + 1) {
                known->charged++;
                known->attempts++;
        }
        known->unknown = false;
}

void runs_are_charged(Judge *judge, const Observation *seen) {
        for (size_t i = 0; seen_is_of_a_run(seen) && i < seen->n_items; i++) {
                const ObservedItem *item = &seen->items[i];
                Known *known = judge_known_of(judge, item);
                if (known == NULL) {
                        continue;
                }
                judge_count_unknown(known, item->b);
                if (seen_is_towards_a_start(seen) && known->charged >= judge->limits.attempts) {
                        judge_broken(judge, 11, "%s: attempt %d of %d", seen->text,
                                     known->charged + 1, judge->limits.attempts);
                }
                if (known->charged != item->b || known->attempts != item->a) {
                        judge_broken(judge, 11,
                                     "%s: %" PRId64 " attempts, %" PRId64
                                     " charged, there were %d, %d charged",
                                     seen->text, item->a, item->b, known->attempts, known->charged);
                }
        }
}

void runs_fit_in(Judge *judge, const Observation *seen) {
        size_t concurrency = judge->limits.concurrency;
        bool first = seen_is_towards_a_start(seen) && !run_is_aside(seen) &&
                     runs_find(judge, seen->id) == NULL;
        if (first && concurrency > 0 && judge->n_slots - judge->n_maybe >= concurrency) {
                judge_broken(judge, 13, "%zu restarts at once",
                             judge->n_slots - judge->n_maybe + 1);
        }
}

void runs_are_not_early(Judge *judge, const Observation *seen) {
        for_each_joining(judge, seen, known) {
                bool lifted = known->held && known->holds != judge->holds; /* perhaps */
                if (seen->now < known->due_us && !lifted) {
                        judge_broken(judge, 17, "%s is tried again %" PRId64 " us early",
                                     seen->text, known->due_us - seen->now);
                }
        }
}

void runs_are_counted(Judge *judge, const Observation *seen) {
        if (seen->type != OBSERVED_QUIET) {
                return;
        }
        size_t over = 0; /* which look as if they went on */
        for (const RunKnown *run = judge->touched; run != NULL; run = run->next_touched) {
                over += !run->aside && run->step == STEP_VERIFYING && run->verify == ASK_NOW &&
                        run->acted != ASK_OPEN && run->acted != ASK_AGAIN;
        }
        if (seen->numbers[NUMBER_RUNS] != (int64_t)(judge->n_slots - judge->n_maybe - over)) {
                judge_broken(judge, 18, "%" PRId64 " restarts are counted, %zu are under way",
                             seen->numbers[NUMBER_RUNS], judge->n_slots - judge->n_maybe - over);
        }
}

void runs_are_not_forgotten(Judge *judge, const Observation *seen) {
        if (seen->type == OBSERVED_QUIET && judge->n_asking > 0 &&
            seen->numbers[NUMBER_DEADLINE] > seen->now + ASK_MOST_US) {
                judge_broken(judge, 19, "%zu restarts ask the ledger again, and nobody is told",
                             judge->n_asking);
        }
}
