/*
 * A restart: asked for, carried out, verified, written down.
 *
 *   checking --go--> claiming --start--> acting --> [verifying] --> ending --> its messages have
 *      |                |  |               |                          |        an outcome
 *      +-- wait --------+  +-- done, reject: of the leader alone      |
 *      |                                                              |
 *      +--> its messages wait again <------- not started -------------+
 *
 * The ledger is asked for one message, the leader; what it says of that message's past (done,
 * suppressed, rejected, unknown) concerns the leader alone, and the others are asked for by
 * another one. Only `start` is for all of them, and for those that came until then.
 *
 * What has to hold, and where:
 *
 *   a claim whose reply was lost may have been granted: it is asked again until there is an answer,
 *   also by an engine that stops, and also when its messages are gone (Run.doubt)
 *   what is granted and not started is given back, before anything else is asked for the host
 *   (run_give_back)
 *   no message has an outcome before the ledger has the end (engine_concluded)
 *   the host is nobody else's, here, until then (Host.run)
 *
 * Without a ledger (a dry run) there are only acting and its end.
 */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/backoff.h"
#include "core/observe.h"
#include "core/state.h"

enum {
        /* Until the ledger is asked again after an outage, or after a reply was lost. */
        ASK_BACKOFF_US = 500 * 1000,
        ASK_BACKOFF_MAX_US = 5 * 1000 * 1000,
        PRECHECK_AGAIN_US = 10 * 1000 * 1000, /* as verify's interval */
        TOO_LATE_AGAIN_US = 5 * 1000 * 1000,  /* as long as a grant is good for */
        RENUMBERED_MAX = 4, /* claims whose number was taken, in a row, before one waits */
        RENUMBERED_US = 1000 * 1000,
        RECEIPT_SKEW_US = 2 * 1000 * 1000, /* by which the server's clock may be behind */
};

/* --- making and freeing ------------------------------------------------------------------- */

static int claim_init(RunClaim *claim, const Message *leader) {
        *claim = (RunClaim){.source = leader->partition->source,
                            .offset = leader->offset,
                            .attempt = leader->claim,
                            .requested_us = leader->requested_us,
                            .received_us = message_waits_since(leader),
                            .first_us = replay_is_ours(leader) ? leader->replay->first_us : 0,
                            .redelivered = leader->redelivered,
                            .suppress = leader->suppress};
        if (leader->id != NULL) {
                claim->request_id = strdup(leader->id);
                return claim->request_id == NULL ? error_origin(-ENOMEM) : 0;
        }
        return 0;
}

void run_free(Engine *engine, Run *run) {
        list_unlink(&run->link);
        heap_remove(&engine->run_retries, &run->retry);
        free(run->claim.request_id);
        free(run->claim.before);
        free(run->output);
        free(run->detail);
        free(run->aside);
        free(run);
}

const char *run_host(const Run *run) {
        return run->host != NULL ? run->host->name : run->aside;
}

int run_note(Engine *engine, EngineAction *action, const char *host, const char *text) {
        size_t host_size = strlen(host) + 1;
        size_t text_size = text != NULL && text[0] != '\0' ? strlen(text) + 1 : 0;
        char *owned = malloc(host_size + text_size);
        if (owned == NULL) {
                return error_origin(-ENOMEM);
        }
        memcpy(owned, host, host_size);
        if (text_size > 0) {
                memcpy(owned + host_size, text, text_size);
        }
        action->type = ENGINE_NOTE;
        action->host = owned;
        action->text = text_size > 0 ? owned + host_size : NULL;
        action->owned = owned;
        int r = engine_act(engine, action);
        if (r != 0) {
                free(owned);
        }
        return r;
}

static int run_ask(Engine *engine, Run *run, RunPhase phase) {
        static const EngineActionType questions[] = {[RUN_CHECKING] = ENGINE_CHECK,
                                                     [RUN_CLAIMING] = ENGINE_CLAIM,
                                                     [RUN_ACTING] = ENGINE_RESTART,
                                                     [RUN_VERIFYING] = ENGINE_VERIFY,
                                                     [RUN_ENDING] = ENGINE_CONCLUDE};
        if (run->phase != phase) {
                run->failures = 0;
                run->alone = false;
        }
        run->phase = phase;
        return engine_act(engine, &(EngineAction){.type = questions[phase], .run = run});
}

/* All of its messages' restarts are under way. */
static int run_act(Engine *engine, Run *run) {
        list_for_each(link, &run->messages) {
                Message *message = container_of(link, Message, host_link);
                /* 10,000 requests for one host are one restart in flight, not the end of intake. */
                message->shares = link != run->messages.next;
                message_set_state(message, HANDLER_RESTART, HANDLER_RUNNING);
        }
        if (run->host != NULL) {
                run->host->since_wait = WAIT_NONE;
        }
        engine->totals.runs++;
        return run_ask(engine, run, RUN_ACTING);
}

int run_start(Engine *engine, Host *host, Message *aside) {
        const Message *first =
                aside != NULL ? aside : list_first(&host->waiting, Message, host_link);
        const EngineConfig *config = engine->config;
        Run *run = calloc(1, sizeof(*run));
        if (run == NULL) {
                return error_origin(-ENOMEM);
        }
        list_init(&run->messages);
        list_init(&run->link);
        heap_node_init(&run->retry);
        run->aside = aside != NULL ? strdup(aside->host) : NULL;
        int r = config->ledger ? claim_init(&run->claim, first) : 0;
        if (r != 0 || (aside != NULL && run->aside == NULL)) {
                run_free(engine, run);
                return error_origin(-ENOMEM);
        }
        run->id = ++engine->run_ids;
        run->started_us = engine->now;
        run->verifies = config->ledger && config->verify;
        run->exit_status = LEDGER_NO_STATUS;
        run->host = host;
        host_begin(engine, run, aside);
        run->leader = list_first(&run->messages, Message, host_link);
        list_push_back(&engine->runs, &run->link);
        if (!config->ledger) {
                return run_act(engine, run);
        }
        list_for_each(link, &run->messages) {
                message_set_state(container_of(link, Message, host_link), HANDLER_RESTART,
                                  HANDLER_ASKING);
        }
        return run_ask(engine, run, config->check && host != NULL ? RUN_CHECKING : RUN_CLAIMING);
}

/* --- what becomes of its messages --------------------------------------------------------- */

/* Its message waits again, as if it had never been in it; or, when it has waited too long, it is
 * put into @over. */
static void run_take_out(Engine *engine, Run *run, Message *message, List *over) {
        if (!wait_is_over(message)) {
                host_take_back(engine, run, message);
                return;
        }
        list_unlink(&message->host_link);
        message->target = NULL;
        message->run = NULL;
        message->shares = false;
        /* It was no attempt, also when it was about to be one. */
        message_set_state(message, HANDLER_RESTART, HANDLER_ASKING);
        list_push_front(over, &message->host_link);
}

static int end_waits(List *over, RestartWait wait) {
        int r = 0;
        while (!list_is_empty(over)) {
                Message *message = list_first(over, Message, host_link);
                list_unlink(&message->host_link);
                int one = wait_end(message, wait);
                r = r == 0 ? one : r; /* none may stay in this list */
        }
        return r;
}

/* None of its messages was restarted: they wait again. */
static int run_put_back(Engine *engine, Run *run, RestartWait wait, int64_t delay) {
        List over;
        int r = 0;
        list_init(&over);
        for (List *link = run->messages.prev, *before; link != &run->messages; link = before) {
                Message *message = container_of(link, Message, host_link);
                before = link->prev;
                if (run->host != NULL || delay == 0 || wait_is_over(message)) {
                        run_take_out(engine, run, message, &over);
                        continue;
                }
                list_unlink(&message->host_link);
                message->run = NULL;
                message_set_state(message, HANDLER_RESTART, HANDLER_WAITING);
                r = heap_insert(&engine->retries, &message->retry, engine->now + delay);
        }
        int released = host_release(engine, run, wait, delay);
        r = r == 0 ? released : r;
        run_free(engine, run);
        int ended = end_waits(&over, wait);
        return r == 0 ? ended : r;
}

/* The others wait for what becomes of the leader. */
static int run_keep_leader(Engine *engine, Run *run) {
        List over;
        list_init(&over);
        for (List *link = run->messages.prev, *before; link != &run->messages; link = before) {
                Message *message = container_of(link, Message, host_link);
                before = link->prev;
                if (message != run->leader) {
                        run_take_out(engine, run, message, &over);
                }
        }
        return end_waits(&over, WAIT_HOST);
}

static Message *run_drop_leader(Run *run) {
        Message *leader = run->leader;
        list_unlink(&leader->host_link);
        leader->target = NULL;
        leader->run = NULL;
        run->leader = NULL;
        return leader;
}

/* The leader's handler has ended, and nothing was done for it by this run. */
static int leader_ends(Engine *engine, Run *run, Outcome outcome, const char *reason,
                       const char *detail) {
        Message *leader = run_drop_leader(run);
        bool poison = outcome == OUTCOME_POISON;
        leader->handlers[HANDLER_RESTART].reason = reason;
        int r = poison ? message_blame(leader, HANDLER_RESTART, reason, detail) : 0;
        r = r == 0 ? message_outcome(leader, HANDLER_RESTART, outcome, !poison, detail) : r;
        r = r == 0 ? message_settle(leader) : r;
        int rest = run_put_back(engine, run, WAIT_NONE, 0);
        return r == 0 ? rest : r;
}

/* The run's end is that of all its messages. @detail: a line for people. */
static int run_resolve(Engine *engine, Run *run, const char *detail) {
        List messages;
        int64_t not_before = run->retry_after_us > 0 ? engine->now + run->retry_after_us : 0;
        bool acted = run->outcome != OUTCOME_NOT_STARTED && run->outcome != OUTCOME_OUTAGE;
        int r = 0;
        if (engine->config->ledger && acted) {
                not_before = (run->acting_us > 0 ? run->acting_us : engine->now) +
                             engine->config->cooldown_us;
        }
        list_init(&messages);
        list_splice_back(&messages, &run->messages);
        /* The messages are the run's no longer: whatever settling one does to the others, it finds
         * them in this list, and their host stays until the run is freed. */
        while (!list_is_empty(&messages)) {
                Message *message = list_first(&messages, Message, host_link);
                list_unlink(&message->host_link);
                if (message == run->leader && run->ledger_id != 0) {
                        message->claim = run->claim.attempt + 1;
                }
                message->target = NULL;
                message->run = NULL;
                message->shares = false;
                message->handlers[HANDLER_RESTART].not_before_us = not_before;
                int one = message_outcome(message, HANDLER_RESTART, run->outcome, run->charged,
                                          detail);
                one = one == 0 ? message_settle(message) : one;
                r = r == 0 ? one : r; /* none may stay in this list */
        }
        run->leader = NULL;
        engine->totals.restarts[run->outcome] += run->outcome != OUTCOME_CANCELLED;
        host_account(engine, run);
        int released = host_release(engine, run, WAIT_NONE, 0);
        run_free(engine, run);
        return r == 0 ? released : r;
}

static int set_detail(Run *run, const char *detail) {
        free(run->detail);
        run->detail = strdup(detail != NULL ? detail : "");
        return run->detail == NULL ? error_origin(-ENOMEM) : 0;
}

/* --- asking again ------------------------------------------------------------------------- */

static int run_again_later(Engine *engine, Run *run) {
        int64_t delay =
                backoff_delay(ASK_BACKOFF_US, ASK_BACKOFF_MAX_US, run->failures++, &engine->random);
        return heap_insert(&engine->run_retries, &run->retry, engine->now + delay);
}

int runs_dispatch(Engine *engine) {
        int r = 0;
        while (r == 0) {
                HeapNode *first = heap_first(&engine->run_retries);
                if (first == NULL || first->key > engine->now) {
                        break;
                }
                Run *run = container_of(first, Run, retry);
                heap_remove(&engine->run_retries, first);
                r = run->phase == RUN_VERIFYING
                            ? engine_act(engine, &(EngineAction){.type = ENGINE_ACTED, .run = run})
                            : run_ask(engine, run, run->phase);
        }
        return r;
}

/* The ledger answered, or it did not. */
static int ledger_answers(Engine *engine, bool answers) {
        if (answers) {
                bool was_away = engine->ledger_failures > 0;
                engine->ledger_failures = 0;
                return was_away ? engine_act(engine, &(EngineAction){.type = ENGINE_NOTE,
                                                                     .note = NOTE_LEDGER_BACK})
                                : 0;
        }
        int64_t delay = backoff_delay(ASK_BACKOFF_US, ASK_BACKOFF_MAX_US, engine->ledger_failures,
                                      &engine->random);
        if (engine->ledger_us < engine->now + delay) {
                engine->ledger_us = engine->now + delay;
        }
        return engine->ledger_failures++ > 0
                       ? 0
                       : engine_act(engine, &(EngineAction){.type = ENGINE_NOTE,
                                                            .note = NOTE_LEDGER_AWAY,
                                                            .delay_us = delay});
}

/* --- the end of a run --------------------------------------------------------------------- */

static int conclude(Engine *engine, Run *run, LedgerState state, const char *reason) {
        run->state = state;
        run->reason = reason;
        return run_ask(engine, run, RUN_ENDING);
}

/* Granted, and surely not started. */
static int run_give_back(Engine *engine, Run *run, const char *reason) {
        run->put_back = true;
        engine->totals.runs -= run->phase == RUN_ACTING; /* it was no attempt at a restart */
        int r = run_note(engine, &(EngineAction){.note = NOTE_NOT_STARTED, .reason = reason},
                         run_host(run), NULL);
        return r == 0 ? conclude(engine, run, LEDGER_STATE_NOT_STARTED, reason) : r;
}

/* An intent of this process, and no reply was lost: it was granted to a run that is over here.
 * Either that one started and PostgreSQL has forgotten how it ended (it went back in time), or a
 * claim was carried out late. Nobody can tell, so what holds for an unknown restart decides. */
static int run_doubt(Engine *engine, Run *run) {
        run->put_back = true;
        int r = run_note(engine, &(EngineAction){.note = NOTE_GRANTED_BEFORE}, run_host(run), NULL);
        return r == 0 ? conclude(engine, run, LEDGER_STATE_UNKNOWN, "granted_before") : r;
}

static LedgerState outcome_state(Outcome outcome) {
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

static Outcome state_outcome(LedgerState state) {
        switch (state) {
        case LEDGER_STATE_DONE:
        case LEDGER_STATE_SUPPRESSED:
                return OUTCOME_DONE;
        case LEDGER_STATE_FAILED:
                return OUTCOME_FAILED;
        case LEDGER_STATE_NOT_STARTED:
                return OUTCOME_NOT_STARTED;
        case LEDGER_STATE_NONE:
        case LEDGER_STATE_INTENDED:
        case LEDGER_STATE_ACTED:
        case LEDGER_STATE_UNKNOWN:
        case LEDGER_STATE_COUNT:
                break;
        }
        return OUTCOME_UNKNOWN;
}

/* Its outcome is known, and the ledger is to know it. */
static int run_ended(Engine *engine, Run *run) {
        LedgerState state = outcome_state(run->outcome);
        const char *reason = run->reason;
        if (run->outcome == OUTCOME_UNKNOWN && engine->config->on_unknown == ON_UNKNOWN_DONE) {
                return conclude(engine, run, LEDGER_STATE_DONE, "on_unknown");
        }
        if (run->was_unknown && run->outcome == OUTCOME_UNKNOWN) {
                return run_resolve(engine, run, run->detail); /* as the row says already */
        }
        return conclude(engine, run, state, reason);
}

/* --- may it start? ------------------------------------------------------------------------ */

/* Whether somebody still waits for its outcome. */
static bool run_is_wanted(const Engine *engine, const Run *run) {
        if (engine->stopping) {
                return false;
        }
        if (engine->config->ledger) {
                /* What was granted was granted to this assignment. What was revoked may not be
                 * cancelled yet. */
                return run->leader != NULL && run->leader->partition->state != PARTITION_DRAINING;
        }
        list_for_each(link, &run->messages) {
                const Message *message = container_of(link, Message, host_link);
                if (message->partition->state != PARTITION_DRAINING) {
                        return true;
                }
        }
        return false;
}

static int verify_ends(Engine *engine, Run *run, VerifyResult result, const char *detail);

static int restart_may_go(Engine *engine, Run *run, bool *goesp) {
        bool ledger = engine->config->ledger;
        if (!run_is_wanted(engine, run)) {
                if (ledger) {
                        return run_give_back(engine, run,
                                             engine->stopping ? "shutdown" : "revoked");
                }
                run->outcome = OUTCOME_CANCELLED;
                return run_resolve(engine, run, NULL);
        }
        if (!windows_are_open(engine)) { /* it has shut meanwhile */
                if (ledger) {
                        return run_give_back(engine, run, "window");
                }
                engine->totals.runs--;
                return run_put_back(engine, run, WAIT_NONE, 0);
        }
        run->acting_us = engine->now;
        *goesp = true;
        return 0;
}

int run_may_go(Engine *engine, const EngineAction *action, bool *goesp) {
        Run *run = action->run;
        EngineActionType type = action->type;
        bool asks = type == ENGINE_CHECK || type == ENGINE_CLAIM;
        if (type == ENGINE_RESTART) {
                return restart_may_go(engine, run, goesp);
        }
        if (type == ENGINE_VERIFY && engine->stopping) {
                return verify_ends(engine, run, VERIFY_CANCELLED, NULL);
        }
        if (asks && !run->doubt && !run_is_wanted(engine, run)) {
                return run_put_back(engine, run, WAIT_NONE, 0);
        }
        engine->totals.claims += type == ENGINE_CLAIM;
        run->sent = run->sent || type == ENGINE_CLAIM;
        run->holds = engine->holds;
        *goesp = true;
        return 0;
}

/* Why a host has to wait is said when it is news. */
static int host_told(Engine *engine, Run *run, RestartWait wait, const char *detail,
                     int64_t delay) {
        if (run->host == NULL || run->host->told == wait) {
                return 0;
        }
        run->host->told = wait;
        return run_note(engine,
                        &(EngineAction){.note = NOTE_RESTART_WAITS,
                                        .reason = restart_wait_name(wait),
                                        .offset = (int64_t)engine->n_waits[wait],
                                        .delay_us = delay},
                        run_host(run), detail);
}

int engine_checked(Engine *engine, Run *run, CheckResult result, const char *before,
                   const char *detail, int64_t now) {
        engine->now = now;
        if (observes(engine)) {
                observe_run(engine, run, OBSERVED_CHECKED, result, before != NULL, 0);
        }
        if (result == CHECK_CANCELLED || !run_is_wanted(engine, run)) {
                return run_put_back(engine, run, WAIT_NONE, 0);
        }
        if (result == CHECK_POISON) {
                return leader_ends(engine, run, OUTCOME_POISON, "refused", detail);
        }
        if (result == CHECK_WAIT) {
                int r = host_told(engine, run, WAIT_PRECHECK, detail, PRECHECK_AGAIN_US);
                return r == 0 ? run_put_back(engine, run, WAIT_PRECHECK, PRECHECK_AGAIN_US) : r;
        }
        if (result == CHECK_NOT_NEEDED) {
                run->claim.suppress = LEDGER_REASON_NOT_NEEDED;
        }
        if (before != NULL) {
                run->claim.before = strdup(before);
                if (run->claim.before == NULL) {
                        return error_origin(-ENOMEM);
                }
        }
        return run_ask(engine, run, RUN_CLAIMING);
}

static RestartWait reason_wait(LedgerReason reason) {
        static const RestartWait waits[LEDGER_REASON_COUNT] = {
                [LEDGER_REASON_COOLDOWN] = WAIT_COOLDOWN,
                [LEDGER_REASON_HOLD] = WAIT_HOLD,
                [LEDGER_REASON_GROUP] = WAIT_GROUP,
                [LEDGER_REASON_QUIET_TIME] = WAIT_QUIET_TIME,
                [LEDGER_REASON_FLEET] = WAIT_FLEET,
                [LEDGER_REASON_FUSE] = WAIT_FUSE,
        };
        return waits[reason] != WAIT_NONE ? waits[reason] : WAIT_RUNNING;
}

static int decided_wait(Engine *engine, Run *run, const LedgerDecision *decision) {
        if (decision->reason == LEDGER_REASON_ATTEMPT && run->leader != NULL) {
                run->leader->claim = run->claim.attempt = decision->attempt + 1;
                if (run->failures++ < RENUMBERED_MAX) {
                        return run_ask(engine, run, RUN_CLAIMING);
                }
        }
        int64_t again = decision->again_us > 0 ? decision->again_us : RENUMBERED_US;
        RestartWait wait = reason_wait(decision->reason);
        int r = host_told(engine, run, wait, decision->detail, again);
        if ((wait == WAIT_HOLD || wait == WAIT_FUSE) && run->holds != engine->holds) {
                again = 0; /* perhaps it was lifted behind this answer's back */
        }
        return r == 0 ? run_put_back(engine, run, wait, again) : r;
}

/* Nothing is left to do for the leader. */
static int decided_done(Engine *engine, Run *run, const LedgerDecision *decision) {
        bool suppressed = decision->reason != LEDGER_REASON_NONE;
        const char *reason = suppressed ? ledger_reason_name(decision->reason) : NULL;
        int r = suppressed ? run_note(engine,
                                      &(EngineAction){.note = NOTE_SUPPRESSED, .reason = reason},
                                      run_host(run), decision->detail)
                           : 0;
        return r == 0 ? leader_ends(engine, run, suppressed ? OUTCOME_SUPPRESSED : OUTCOME_DONE,
                                    reason, NULL)
                      : r;
}

static int run_verify(Engine *engine, Run *run, int64_t time) {
        run->verify_open = true;
        run->verify_us = time > 0 ? time : 0;
        return run_ask(engine, run, RUN_VERIFYING);
}

/* An earlier process restarted the leader's host: VERIFY, or UNKNOWN with a `before`. */
static int look_back(Engine *engine, Run *run, const LedgerDecision *decision, int64_t time) {
        free(run->claim.before);
        run->claim.before = decision->before != NULL ? strdup(decision->before) : NULL;
        if (decision->before != NULL && run->claim.before == NULL) {
                return error_origin(-ENOMEM);
        }
        run->claim.attempt = decision->attempt;
        message_set_state(run->leader, HANDLER_RESTART, HANDLER_RUNNING);
        int r = run_keep_leader(engine, run);
        return r == 0 ? run_verify(engine, run, time) : r;
}

static int decided_verify(Engine *engine, Run *run, const LedgerDecision *decision) {
        const EngineConfig *config = engine->config;
        run->acted = true;
        if (config->verify) {
                return look_back(engine, run, decision,
                                 config->verify_deadline_us - decision->acted_age_us);
        }
        run->claim.attempt = decision->attempt;
        run->outcome = OUTCOME_DONE;
        message_set_state(run->leader, HANDLER_RESTART, HANDLER_RUNNING);
        int r = run_keep_leader(engine, run);
        /* Verify was taken away since. */
        return r == 0 ? conclude(engine, run, LEDGER_STATE_DONE, NULL) : r;
}

static int decided_unknown(Engine *engine, Run *run, const LedgerDecision *decision) {
        const EngineConfig *config = engine->config;
        run->was_unknown = true;
        if (config->verify && decision->before != NULL) {
                return look_back(engine, run, decision, config->verify_deadline_us);
        }
        run->claim.attempt = decision->attempt;
        run->outcome = OUTCOME_UNKNOWN;
        run->charged = true;
        char detail[MESSAGE_DETAIL_MAX];
        snprintf(detail, sizeof(detail),
                 "an earlier restart for this message (restarts.id %lld) has no known end%s%s",
                 (long long)decision->id, decision->detail[0] != '\0' ? ": " : "",
                 decision->detail);
        message_set_state(run->leader, HANDLER_RESTART, HANDLER_RUNNING);
        int r = run_keep_leader(engine, run);
        r = r == 0 ? set_detail(run, detail) : r;
        return r == 0 ? run_ended(engine, run) : r;
}

/* What the claim has done, whatever becomes of its message: nobody else is told. */
static int decided_did(Engine *engine, const Run *run, const LedgerDecision *decision) {
        bool suppressed = decision->verdict == LEDGER_VERDICT_DONE &&
                          decision->reason != LEDGER_REASON_NONE && decision->suppressed_now;
        engine->totals.suppressed[decision->reason] += suppressed;
        return decision->fuse_blew ? run_note(engine, &(EngineAction){.note = NOTE_FUSE_BLEW},
                                              run_host(run), decision->detail)
                                   : 0;
}

static int decided(Engine *engine, Run *run, const LedgerDecision *decision) {
        Message *leader = run->leader;
        bool asked_again = run->doubt;
        run->doubt = false;
        run->ledger_id = decision->id;
        int r = decided_did(engine, run, decision);
        if (r != 0) {
                return r;
        }
        if (leader != NULL) {
                /* It looks for an earlier receipt only when the request is old, and is to be asked
                 * until it has found one. */
                leader->redelivered =
                        leader->redelivered &&
                        decision->received_us > leader->received_wall_us - RECEIPT_SKEW_US;
                if (replay_is_ours(leader)) {
                        leader->replay->received_us = decision->received_us;
                } else {
                        leader->received_wall_us = decision->received_us;
                }
                leader->own_runs = decision->verdict == LEDGER_VERDICT_WAIT &&
                                   decision->reason == LEDGER_REASON_RUNNING &&
                                   decision->attempt > 0;
        }
        if (decision->verdict == LEDGER_VERDICT_START) {
                if (decision->renewed && !asked_again) {
                        return run_doubt(engine, run);
                }
                if (run->claim.suppress != LEDGER_REASON_NONE) {
                        /* A claim with this number whose reply was lost came before. */
                        return run_give_back(engine, run, ledger_reason_name(run->claim.suppress));
                }
                if (!run_is_wanted(engine, run)) {
                        return run_give_back(engine, run,
                                             engine->stopping ? "shutdown" : "revoked");
                }
                host_join(engine, run);
                run->host->told = WAIT_NONE;
                return run_act(engine, run);
        }
        if (leader == NULL || engine->stopping) {
                return run_put_back(engine, run, WAIT_NONE, 0);
        }
        switch (decision->verdict) {
        case LEDGER_VERDICT_START:
                break;
        case LEDGER_VERDICT_DONE:
                return decided_done(engine, run, decision);
        case LEDGER_VERDICT_WAIT:
                return decided_wait(engine, run, decision);
        case LEDGER_VERDICT_REJECT:
                return leader_ends(engine, run, OUTCOME_POISON,
                                   ledger_reason_name(decision->reason), decision->detail);
        case LEDGER_VERDICT_VERIFY:
        case LEDGER_VERDICT_UNKNOWN:
                if (!run_is_wanted(engine, run)) {
                        return run_put_back(engine, run, WAIT_NONE, 0);
                }
                return decision->verdict == LEDGER_VERDICT_VERIFY
                               ? decided_verify(engine, run, decision)
                               : decided_unknown(engine, run, decision);
        }
        return error_origin(-ENOTRECOVERABLE);
}

int engine_claimed(Engine *engine, Run *run, LedgerEnd end, const LedgerDecision *decision,
                   int64_t now) {
        engine->now = now;
        if (observes(engine)) {
                observe_claimed(engine, run, end, decision);
        }
        int r = ledger_answers(engine, end == LEDGER_END_DONE || end == LEDGER_END_REFUSED);
        if (r != 0) {
                return r;
        }
        switch (end) {
        case LEDGER_END_DONE:
                return decided(engine, run, decision);
        case LEDGER_END_OUTAGE:
                return run->doubt ? run_again_later(engine, run)
                                  : run_put_back(engine, run, WAIT_NONE, 0);
        case LEDGER_END_UNKNOWN:
                run->doubt = true;
                return run_again_later(engine, run);
        case LEDGER_END_REFUSED:
                if (!run->alone) {
                        run->alone = true;
                        return run_ask(engine, run, RUN_CLAIMING);
                }
                /* No message can bring it about: the fault is the table's, and as an outage it is
                 * waited out. */
                return run_put_back(engine, run, WAIT_POSTGRES, TOO_LATE_AGAIN_US);
        }
        return error_origin(-ENOTRECOVERABLE);
}

/* --- it was carried out ------------------------------------------------------------------- */

int engine_too_late(Engine *engine, Run *run, int64_t now) {
        engine->now = now;
        if (observes(engine)) {
                observe_run(engine, run, OBSERVED_TOO_LATE, 0, false, 0);
        }
        run->too_late = true;
        return run_give_back(engine, run, "too_late");
}

/* The action ended well; its messages wait for what verify finds. */
static int run_acted(Engine *engine, Run *run) {
        run->acted = run->acted_open = true;
        int r = engine_act(engine, &(EngineAction){.type = ENGINE_ACTED, .run = run});
        if (r != 0 || !engine->stopping) {
                return r == 0 ? run_verify(engine, run, engine->config->verify_deadline_us) : r;
        }
        /* Whoever owns the message next verifies. */
        run->phase = RUN_VERIFYING;
        run->outcome = OUTCOME_CANCELLED;
        return 0;
}

int engine_restarted(Engine *engine, Run *run, Outcome outcome, bool charged, const char *detail,
                     int64_t now) {
        const EngineConfig *config = engine->config;
        engine->now = now;
        if (observes(engine)) {
                observe_run(engine, run, OBSERVED_RESTARTED, (int)outcome, charged,
                            run->retry_after_us);
        }
        run->outcome = outcome;
        run->charged = charged;
        if (!config->ledger) {
                return run_resolve(engine, run, detail);
        }
        int r = set_detail(run, detail);
        if (r != 0) {
                return r;
        }
        if (config->verify && outcome == OUTCOME_DONE) {
                return run_acted(engine, run);
        }
        if (config->verify && outcome == OUTCOME_UNKNOWN && run->claim.before != NULL &&
            !engine->stopping) {
                return run_verify(engine, run, config->verify_deadline_us);
        }
        run->put_back = outcome == OUTCOME_CANCELLED;
        return run_ended(engine, run);
}

/* Verify has said what it found, and the ledger that it knows of the action's end. */
static int verified(Engine *engine, Run *run) {
        if (run->outcome != OUTCOME_CANCELLED) {
                return run_ended(engine, run);
        }
        /* A verification that the shutdown ended is left to the next owner, who finds the row. */
        return run->acted || run->was_unknown
                       ? run_resolve(engine, run, run->detail)
                       : conclude(engine, run, LEDGER_STATE_UNKNOWN, "shutdown");
}

int engine_acted(Engine *engine, Run *run, LedgerEnd end, int64_t now) {
        engine->now = now;
        if (observes(engine)) {
                observe_run(engine, run, OBSERVED_ACTED, end, false, 0);
        }
        int r = ledger_answers(engine, end == LEDGER_END_DONE || end == LEDGER_END_REFUSED);
        if (r != 0) {
                return r;
        }
        bool away = end == LEDGER_END_OUTAGE || end == LEDGER_END_UNKNOWN;
        /* Once verify has spoken, the end says all. */
        bool needed = run->verify_open || run->outcome == OUTCOME_CANCELLED;
        if (away && needed) {
                return run_again_later(engine, run);
        }
        if (end == LEDGER_END_REFUSED && needed && !run->alone) {
                run->alone = true;
                return engine_act(engine, &(EngineAction){.type = ENGINE_ACTED, .run = run});
        }
        run->acted_open = false;
        return run->verify_open ? 0 : verified(engine, run);
}

static int verify_ends(Engine *engine, Run *run, VerifyResult result, const char *detail) {
        run->verify_open = false;
        run->verified = result == VERIFY_PASSED;
        run->outcome = OUTCOME_UNKNOWN;
        run->charged = true;
        switch (result) {
        case VERIFY_PASSED:
                run->outcome = OUTCOME_DONE;
                break;
        case VERIFY_UNCOMPARED:
                run->outcome = run->acted ? OUTCOME_DONE : OUTCOME_UNKNOWN;
                break;
        case VERIFY_SAME:
                /* What ended unknown may still have its effect. */
                run->outcome = run->acted ? OUTCOME_FAILED : OUTCOME_UNKNOWN;
                break;
        case VERIFY_FAILED:
                break;
        case VERIFY_CANCELLED:
                run->outcome = OUTCOME_CANCELLED;
                break;
        }
        run->reason = run->outcome == OUTCOME_DONE ? NULL : "verify";
        int r = set_detail(run, detail);
        if (run->acted_open && run->outcome != OUTCOME_CANCELLED &&
            heap_node_is_linked(&run->retry)) {
                heap_remove(&engine->run_retries, &run->retry);
                run->acted_open = false;
        }
        return r != 0 || run->acted_open ? r : verified(engine, run);
}

int engine_verified(Engine *engine, Run *run, VerifyResult result, const char *detail,
                    int64_t now) {
        engine->now = now;
        if (observes(engine)) {
                observe_run(engine, run, OBSERVED_VERIFIED, result, false, 0);
        }
        return verify_ends(engine, run, result, detail);
}

/* --- it is written down ------------------------------------------------------------------- */

/* The row had ended otherwise, by a person's hand or since its time was over. */
static int ended_otherwise(Engine *engine, Run *run, LedgerState state) {
        if (!run->put_back) {
                run->outcome = state_outcome(state);
                run->charged = true;
        }
        return run_note(engine,
                        &(EngineAction){.note = NOTE_ENDED_OTHERWISE,
                                        .reason = ledger_state_name(state)},
                        run_host(run), ledger_state_name(run->state));
}

static int run_over(Engine *engine, Run *run) {
        if (!run->put_back) {
                return run_resolve(engine, run, run->detail);
        }
        /* A number beyond that of an unknown one would say that on_unknown has decided. */
        if (run->leader != NULL && run->state == LEDGER_STATE_NOT_STARTED) {
                run->leader->claim = run->claim.attempt + 1;
        }
        /* A ledger that takes too long to be of use is not asked again at once. */
        return run->too_late ? run_put_back(engine, run, WAIT_POSTGRES, TOO_LATE_AGAIN_US)
                             : run_put_back(engine, run, WAIT_NONE, 0);
}

/* Each message that shared an unknown end has a row of its own now, which took the number of its
 * next claim. Claimed again with that one, the same end would be found and charged a second time.
 * After any other end there may be no row, if one of its own says unknown: a number beyond that one
 * would say that it was decided upon. The ledger tells then. */
static void number_shared(Run *run) {
        list_for_each(link, &run->messages) {
                Message *message = container_of(link, Message, host_link);
                message->claim += message != run->leader;
        }
}

int engine_concluded(Engine *engine, Run *run, LedgerEnd end, const LedgerResult *result,
                     int64_t now) {
        engine->now = now;
        if (observes(engine)) {
                observe_run(engine, run, OBSERVED_CONCLUDED, end, result != NULL && result->did,
                            result != NULL ? (int64_t)result->state : 0);
        }
        int r = ledger_answers(engine, end == LEDGER_END_DONE || end == LEDGER_END_REFUSED);
        if (r != 0) {
                return r;
        }
        switch (end) {
        case LEDGER_END_DONE:
                if (result->did && result->state == LEDGER_STATE_UNKNOWN && !run->put_back) {
                        number_shared(run);
                }
                r = result->did ? 0 : ended_otherwise(engine, run, result->state);
                return r == 0 ? run_over(engine, run) : r;
        case LEDGER_END_OUTAGE:
        case LEDGER_END_UNKNOWN:
                return run_again_later(engine, run);
        case LEDGER_END_REFUSED:
                if (!run->alone) {
                        run->alone = true;
                        return run_ask(engine, run, RUN_ENDING);
                }
                if (run->output != NULL) {
                        free(steal(run->output));
                        return run_ask(engine, run, RUN_ENDING);
                }
                /* It is told for as long as it takes: were the message resolved or claimed again,
                 * the intent that stays open would be taken for this process' next one. */
                return run_again_later(engine, run);
        }
        return error_origin(-ENOTRECOVERABLE);
}

size_t engine_open_entries(const Engine *engine) {
        size_t n = 0;
        list_for_each(link, &engine->runs) {
                const Run *run = container_of(link, Run, link);
                bool claimed = run->phase == RUN_CLAIMING && run->sent;
                bool open = run->phase == RUN_VERIFYING ? run->acted_open : run->ledger_id != 0;
                n += claimed || open;
        }
        return n;
}
