#include "claims.h"

#include <assert.h>
#include <fnmatch.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine-call.h"
#include "granted.h"

/* --- the world's -------------------------------------------------------------------------- */

void claims_world_begin(World *world) {
        static const int64_t cooldowns[] = {0, 2 * SECOND, 15 * SECOND, 60 * SECOND};
        Claims *claims = calloc(1, sizeof(*claims));
        world->claims = claims;
        claims->ledger = sim_ledger_new();
        claims->clock_us = (int64_t)below(world, 100 * SECOND);
        claims->verify = chance(world, 40);
        claims->precheck = chance(world, 30);
        claims->timeout_us = (1 + (int64_t)below(world, 20)) * SECOND;
        claims->verify_us = claims->verify ? (1 + (int64_t)below(world, 20)) * SECOND : 0;
        claims->policy = (LedgerPolicy){
                .action = "exec",
                .cooldown_us = cooldowns[below(world, 4)],
                .max_age_us = chance(world, 30) ? (5 + (int64_t)below(world, 100)) * SECOND : 0,
                .start_within_us = LEDGER_START_WITHIN_US,
                .hold_us = claims->timeout_us + claims->verify_us,
                .host_restarts = chance(world, 15) ? 1 + (int32_t)below(world, 3) : 0,
                .host_period_us = 60 * SECOND,
                .fleet = chance(world, 30) ? (world->big ? 30 : 1) + (int32_t)below(world, 4) : 0,
                .fuse_restarts = chance(world, 15) ? 5 + (int32_t)below(world, 10) : 0,
                .fuse_period_us = 30 * SECOND};
        claims->n_groups = chance(world, 30) && !world->big ? GROUPS : 0;
        claims->groups[0] = (LedgerGroup){"h1*", 1, chance(world, 50) ? 3 * SECOND : 0};
        claims->groups[1] = (LedgerGroup){"h?", chance(world, 50) ? 2 : 0, 1 * SECOND};
}

void claims_world_end(World *world) {
        Claims *claims = world->claims;
        claims_drop_ghosts(world);
        sim_ledger_free(claims->ledger);
        sim_ledger_free(claims->standby);
        granted_free(claims);
        free(claims);
        world->claims = NULL;
}

void claims_standby_copies(World *world) {
        Claims *claims = world->claims;
        sim_ledger_free(claims->standby);
        claims->standby = sim_ledger_copy(claims->ledger);
        claims->standby_us = claims_clock(world);
}

/* A sequence is ahead of what is visible: no id is given twice. */
static void skip_ids(Claims *claims, SimLedger *ledger, int64_t to) {
        const LedgerPolicy policy = {.action = "exec"};
        for (int64_t id = (int64_t)sim_ledger_rows(ledger); id < to; id++) {
                LedgerDecision decision;
                const LedgerRequest nobody = {.source = -1,
                                              .offset = id,
                                              .attempt = 1,
                                              .host = "nobody",
                                              .requested_us = -1,
                                              .received_us = 1,
                                              .suppress = "not_selected"};
                if (sim_ledger_claim(ledger, -1, &policy, &nobody, 1, claims->standby_us, NULL,
                                     &decision) != LEDGER_END_DONE) {
                        abort();
                }
        }
}

void claims_go_back(World *world) {
        Claims *claims = world->claims;
        int64_t rows = (int64_t)sim_ledger_rows(claims->ledger);
        granted_goes_back(world);
        skip_ids(claims, claims->standby, rows);
        sim_ledger_free(claims->ledger);
        claims->ledger = claims->standby;
        claims->standby = NULL;
        claims->clock_us += (int64_t)below(world, 4 * SECOND); /* another server's */
        claims_drop_ghosts(world);
        /* What was put or lifted since then is not known there. */
        for (size_t i = 0; i < claims->n_holds; i++) {
                HoldKnown *hold = &claims->holds[i];
                hold->lifted = true;
                if ((size_t)hold->id <= sim_ledger_holds(claims->ledger)) {
                        sim_ledger_unhold(claims->ledger, hold->id, claims_clock(world));
                }
        }
        claims->fuse_lifted_us = claims_clock(world); /* or later */
}

void claims_lose(World *world) {
        Claims *claims = world->claims;
        sim_ledger_free(claims->standby);
        claims->standby = sim_ledger_new();
        claims->standby_us = 0;
        claims_go_back(world);
}

/* The daemons hear of it, mostly at once, some never: they have lost their connection. */
static void holds_changed(World *world) {
        for (int i = 0; i < DAEMONS; i++) {
                Daemon *daemon = &world->daemons[i];
                if (daemon->phase != DAEMON_DEAD && daemon_is_awake(daemon) &&
                    !world_database_is_away(world) && chance(world, 80)) {
                        cover_all(daemon, EVENT_HOLDS_CHANGED);
                        ENGINE(daemon, engine_holds_changed(daemon->engine, NULL, world->now));
                }
        }
}

void claims_operator_acts(World *world) {
        static const char *const patterns[] = {"*", "h1*", "same", "h?", "web*"};
        Claims *claims = world->claims;
        if (!world->ledger) {
                return;
        }
        for (size_t i = 0; i < claims->n_holds; i++) {
                HoldKnown *hold = &claims->holds[i];
                if (!hold->lifted && chance(world, 60)) {
                        hold->lifted = true;
                        sim_ledger_unhold(claims->ledger, hold->id, claims_clock(world));
                        if (sim_ledger_hold_row(claims->ledger, hold->id).fuse) {
                                claims->fuse_lifted_us = claims_clock(world);
                        }
                        trace(world, "TOOL  the hold on %s is lifted", hold->pattern);
                }
        }
        if (chance(world, 70)) {
                holds_changed(world);
                return;
        }
        int64_t until = chance(world, 50) ? claims_clock(world) + (int64_t)below(world, 20 * SECOND)
                                          : SIM_LEDGER_NEVER;
        HoldKnown *hold = granted_add_hold(claims, (HoldKnown){.until_us = until == SIM_LEDGER_NEVER
                                                                                   ? INT64_MAX
                                                                                   : until});
        strcpy(hold->pattern, patterns[below(world, 5)]);
        hold->id = sim_ledger_hold(claims->ledger, hold->pattern, claims_clock(world), until);
        trace(world, "TOOL  a hold on %s", hold->pattern);
        holds_changed(world);
}

void claims_lift_all(World *world) {
        Claims *claims = world->claims;
        for (size_t i = 0; i < claims->n_holds; i++) {
                HoldKnown *hold = &claims->holds[i];
                if (!hold->lifted) {
                        hold->lifted = true;
                        sim_ledger_unhold(claims->ledger, hold->id, claims_clock(world));
                        if (sim_ledger_hold_row(claims->ledger, hold->id).fuse) {
                                claims->fuse_lifted_us = claims_clock(world);
                        }
                }
        }
}

void claims_check_end(World *world) {
        const Claims *claims = world->claims;
        for (size_t i = 0; i < claims->n_intents; i++) {
                const Intent *intent = &claims->intents[i];
                bool open = intent->told == LEDGER_STATE_INTENDED && !intent->forgotten &&
                            !intent->unclaimed && intent->held_us > claims_clock(world);
                for (int k = 0; k < DAEMONS && open; k++) {
                        const Daemon *daemon = &world->daemons[k];
                        if (daemon->phase != DAEMON_DEAD && !daemon->failed &&
                            daemon->instance == intent->instance &&
                            engine_running(daemon->engine) == 0) {
                                broken(world, 8, "%s: an intent of daemon %d stays open",
                                       intent->host, k);
                        }
                }
        }
}

/* --- a call ------------------------------------------------------------------------------- */

void claims_call_free(LedgerCall *call) {
        if (call == NULL) {
                return;
        }
        for (size_t i = 0; i < call->n; i++) {
                Asked *asked = &call->items[i];
                free(asked->request_id);
                free(asked->before);
                free(asked->found);
                free(asked->messages);
                free(asked->shared);
        }
        free(call->items);
        free(call);
}

static char *copy(const char *text) {
        return text != NULL ? strdup(text) : NULL;
}

static AskedMessage place_of(const Daemon *daemon, int32_t source, int64_t offset) {
        const StoreSource *of = store_source(&daemon->world->store, source);
        AskedMessage message = {.source = source, .incarnation = UINT64_MAX, .offset = offset};
        message.partition = of != NULL ? of->partition : 0;
        const Part *part = of != NULL ? daemon->parts[of->partition] : NULL;
        if (part != NULL && part->user != NULL && part->user->source == source) {
                message.incarnation = part->incarnation;
        }
        return message;
}

static const LedgerGroup *group_of(const Claims *claims, const char *host) {
        for (size_t i = 0; i < claims->n_groups; i++) {
                if (fnmatch(claims->groups[i].name, host, 0) == 0) {
                        return &claims->groups[i];
                }
        }
        return NULL;
}

static void ask_claim(const Claims *claims, Asked *asked, const Run *run) {
        const RunClaim *claim = &run->claim;
        asked->request_id = copy(claim->request_id);
        asked->before = copy(claim->before);
        asked->request = (LedgerRequest){.source = claim->source,
                                         .offset = claim->offset,
                                         .attempt = claim->attempt,
                                         .host = asked->host,
                                         .request_id = asked->request_id,
                                         .requested_us = claim->requested_us,
                                         .received_us = claim->received_us,
                                         .redelivered = claim->redelivered,
                                         .first_us = claim->first_us,
                                         .before = asked->before,
                                         .suppress = claim->suppress != LEDGER_REASON_NONE
                                                             ? ledger_reason_name(claim->suppress)
                                                             : NULL,
                                         .group = group_of(claims, asked->host)};
}

static void ask_end(const Daemon *daemon, Asked *asked, const Run *run) {
        size_t n = 0;
        list_for_each(link, &run->messages) {
                n++;
        }
        asked->shared = calloc(n + 1, sizeof(*asked->shared));
        asked->messages = realloc(asked->messages, (n + 1) * sizeof(*asked->messages));
        n = 0;
        list_for_each(link, &run->messages) {
                const Message *message = container_of(link, Message, host_link);
                if (message == run->leader || run->put_back) {
                        continue;
                }
                asked->messages[1 + n] =
                        place_of(daemon, message->partition->source, message->offset);
                asked->shared[n++] = (LedgerShared){.source = message->partition->source,
                                                    .offset = message->offset,
                                                    .requested_us = message->requested_us,
                                                    .received_us = message_waits_since(message)};
        }
        asked->n_messages = 1 + n;
        asked->finish = (LedgerFinish){.id = run->ledger_id,
                                       .state = run->state,
                                       .verified = run->verified,
                                       .started_us = run->action_started_us,
                                       .ended_us = run->action_ended_us,
                                       .exit_status = LEDGER_NO_STATUS,
                                       .reason = run->reason,
                                       .shared = asked->shared,
                                       .n_shared = n};
}

static void ask(const Daemon *daemon, Question question, Asked *asked, Run *run) {
        *asked = (Asked){.run = run, .n_messages = 1};
        snprintf(asked->host, sizeof(asked->host), "%s", run_host(run));
        asked->messages = calloc(1, sizeof(*asked->messages));
        asked->messages[0] = place_of(daemon, run->claim.source, run->claim.offset);
        if (question == QUESTION_CLAIM) {
                ask_claim(daemon->world->claims, asked, run);
        } else if (question == QUESTION_ACTED) {
                asked->acted = (LedgerActed){.id = run->ledger_id,
                                             .started_us = run->action_started_us,
                                             .ended_us = run->action_ended_us,
                                             .exit_status = LEDGER_NO_STATUS};
        } else {
                ask_end(daemon, asked, run);
        }
}

static int64_t first_receipt(void *user, int32_t source, int64_t offset, int64_t from, int64_t to) {
        World *world = user;
        const StoreSource *of = store_source(&world->store, source);
        if (of == NULL || store_rows(of, offset) == 0) {
                return SIM_LEDGER_NEVER;
        }
        const Fate *fate = world_fate(world, of->partition, offset);
        return fate != NULL && fate->first_us >= from && fate->first_us <= to ? fate->first_us
                                                                              : SIM_LEDGER_NEVER;
}

static LedgerEnd call_server(World *world, LedgerCall *call) {
        Claims *claims = world->claims;
        const SimReceipts receipts = {first_receipt, world};
        LedgerRequest requests[LEDGER_BATCH_MAX];
        LedgerDecision decisions[LEDGER_BATCH_MAX];
        LedgerActed acted[LEDGER_BATCH_MAX];
        LedgerFinish ends[LEDGER_BATCH_MAX];
        LedgerResult results[LEDGER_BATCH_MAX];
        int64_t now = claims_clock(world);
        LedgerEnd end = LEDGER_END_REFUSED;
        for (size_t i = 0; i < call->n; i++) {
                requests[i] = call->items[i].request;
                acted[i] = call->items[i].acted;
                ends[i] = call->items[i].finish;
                /* The row is not there; its id went to nobody else, see skip_ids(). */
                acted[i].id = granted_is_gone(claims, acted[i].id) ? INT64_MAX : acted[i].id;
                ends[i].id = granted_is_gone(claims, ends[i].id) ? INT64_MAX : ends[i].id;
        }
        switch (call->question) {
        case QUESTION_CLAIM:
                end = sim_ledger_claim(claims->ledger, call->instance, &call->policy, requests,
                                       call->n, now, world->save ? &receipts : NULL, decisions);
                break;
        case QUESTION_ACTED:
                end = sim_ledger_acted(claims->ledger, acted, call->n, now, call->sent_us, results);
                break;
        case QUESTION_CONCLUDE:
                end = sim_ledger_finish(claims->ledger, ends, call->n, now, call->sent_us, results);
                break;
        case QUESTIONS:
                break;
        }
        for (size_t i = 0; end == LEDGER_END_DONE && i < call->n; i++) {
                Asked *asked = &call->items[i];
                if (call->question == QUESTION_CLAIM) {
                        asked->decision = decisions[i];
                        asked->found = copy(decisions[i].before);
                        asked->decision.before = asked->found;
                } else {
                        asked->result = results[i];
                }
        }
        return end;
}

/* One transaction at the server. */
static void call_apply(World *world, LedgerCall *call) {
        static const char *const words[] = {"claim", "acted", "conclude"};
        call->applied = true;
        call->end = call_server(world, call);
        if (call->end != LEDGER_END_DONE) {
                return;
        }
        for (size_t i = 0; i < call->n; i++) {
                const Asked *asked = &call->items[i];
                bool claim = call->question == QUESTION_CLAIM;
                if (world->options.trace) {
                        trace(world, "DB    %s %d/%" PRId64 " #%d %s: %s %s, row %" PRId64,
                              words[call->question], asked->messages[0].partition,
                              asked->messages[0].offset, asked->request.attempt, asked->host,
                              claim ? ledger_verdict_name(asked->decision.verdict)
                                    : ledger_state_name(asked->result.state),
                              claim ? ledger_reason_name(asked->decision.reason)
                                    : (asked->result.did ? "" : "already"),
                              claim ? asked->decision.id : asked->result.id);
                }
                if (claim) {
                        granted_decided(world, call, asked);
                } else {
                        granted_told(world, call, asked);
                }
        }
        for (size_t i = 0; call->question == QUESTION_CLAIM && i < call->n; i++) {
                if (call->items[i].decision.fuse_blew) {
                        granted_fuse_blew(world);
                }
        }
}

static void call_goes_on(World *world, LedgerCall *call) {
        Claims *claims = world->claims;
        if (claims->n_ghosts < GHOSTS_MAX) {
                claims->ghosts[claims->n_ghosts++] = call;
        } else {
                claims_call_free(call);
        }
}

void claims_ghost_ends(World *world) {
        Claims *claims = world->claims;
        if (claims->n_ghosts == 0) {
                return;
        }
        size_t i = below(world, claims->n_ghosts);
        LedgerCall *call = claims->ghosts[i];
        claims->ghosts[i] = claims->ghosts[--claims->n_ghosts];
        trace(world, "DB    a ghost of instance %d", call->instance);
        call->is_ghost = true;
        call_apply(world, call);
        claims_call_free(call);
}

void claims_drop_ghosts(World *world) {
        Claims *claims = world->claims;
        while (claims->n_ghosts > 0) {
                claims_call_free(claims->ghosts[--claims->n_ghosts]);
        }
}

/* --- a daemon's questions ----------------------------------------------------------------- */

void claims_begin(Daemon *daemon) {
        World *world = daemon->world;
        Claims *claims = world->claims;
        daemon->instance = ++claims->instances;
        daemon->policy = claims->policy;
        daemon->policy.max_wait_us = daemon->config.max_wait_us;
        memset(daemon->n_gathered, 0, sizeof(daemon->n_gathered));
        if (world->ledger) {
                daemon->config.ledger = true;
                daemon->config.verify = claims->verify;
                daemon->config.check = claims->verify || claims->precheck;
                daemon->config.verify_deadline_us = claims->verify_us;
                daemon->config.cooldown_us = claims->policy.cooldown_us;
        }
}

static void gather(Daemon *daemon, Question question, Run *run) {
        size_t *n = &daemon->n_gathered[question], *capacity = &daemon->gathered_capacity[question];
        if (*n == *capacity) {
                *capacity = 2 * *capacity + 16;
                daemon->gathered[question] =
                        realloc(daemon->gathered[question], *capacity * sizeof(Run *));
        }
        daemon->gathered[question][(*n)++] = run;
}

static int64_t quickly(World *world) {
        return 200 + (int64_t)below(world, chance(world, 90) ? 20 * MS : 3 * SECOND);
}

void claims_ask(Daemon *daemon, const EngineAction *action) {
        World *world = daemon->world;
        Run *run = action->run;
        if (!world->ledger) {
                broken(world, 8, "the ledger is asked, and there is none");
        }
        if (action->type == ENGINE_CHECK || action->type == ENGINE_VERIFY) {
                bool verify = action->type == ENGINE_VERIFY;
                Pending *pending = daemon_awaits(daemon, verify ? PENDING_VERIFY : PENDING_CHECK);
                pending->run = run;
                pending->ready = world->now + quickly(world);
                if (verify && fault(world, 20)) {
                        pending->ready =
                                world->now + (int64_t)below(world, (uint64_t)run->verify_us + 1);
                }
                return;
        }
        gather(daemon,
               action->type == ENGINE_CLAIM   ? QUESTION_CLAIM
               : action->type == ENGINE_ACTED ? QUESTION_ACTED
                                              : QUESTION_CONCLUDE,
               run);
}

/* The runs from @at on that go into one call: as claims_send(). */
static void send_some(Daemon *daemon, Question question, size_t *at) {
        World *world = daemon->world;
        Run **runs = &daemon->gathered[question][*at];
        size_t left = daemon->n_gathered[question] - *at, n = 1;
        while (n < left && n < LEDGER_BATCH_MAX && !runs[0]->alone && !runs[n]->alone) {
                n++;
        }
        LedgerCall *call = calloc(1, sizeof(*call));
        *call = (LedgerCall){.question = question,
                             .instance = daemon->instance,
                             .sent_us = world->now,
                             .policy = daemon->policy,
                             .n = n,
                             .items = calloc(n, sizeof(Asked))};
        for (size_t i = 0; i < n; i++) {
                ask(daemon, question, &call->items[i], runs[i]);
        }
        *at += n;
        Pending *pending = daemon_awaits(daemon, PENDING_LEDGER);
        pending->call = call;
        pending->ready = world->now + quickly(world);
        if (question == QUESTION_CLAIM && fault(world, 2)) {
                pending->ready = world->now + (int64_t)below(world, 10 * SECOND); /* too late? */
        }
        if (!world_database_is_away(world) && chance(world, 30) && !fault(world, 3)) {
                call_apply(world, call); /* only the reply takes its time */
        }
}

void claims_send(Daemon *daemon) {
        for (int question = 0; question < QUESTIONS; question++) {
                for (size_t at = 0; at < daemon->n_gathered[question];) {
                        send_some(daemon, (Question)question, &at);
                }
                daemon->n_gathered[question] = 0;
        }
}

void claims_work(Daemon *daemon, Pending *pending) {
        if (!pending->call->applied && !pending->cut && !world_database_is_away(daemon->world)) {
                call_apply(daemon->world, pending->call);
        }
}

bool claims_has_waited(const Daemon *daemon, const Fate *fate) {
        return daemon->policy.max_wait_us > 0 &&
               claims_clock(daemon->world) >= fate->first_us + daemon->policy.max_wait_us;
}

void claims_life_ends(Daemon *daemon) {
        World *world = daemon->world;
        Claims *claims = world->claims;
        for (size_t i = 0; i < claims->n_intents; i++) {
                Intent *intent = &claims->intents[i];
                if (intent->instance != daemon->instance || intent->real_us < 0) {
                        continue;
                }
                if (intent->real_us > claims_clock(world)) {
                        intent->real_us = -1; /* it was stopped before it started */
                } else if (intent->real_end_us > world->now) {
                        intent->real_end_us = world->now; /* the service leaves no orphans */
                }
        }
}

void claims_abandon(Daemon *daemon, Pending *pending) {
        if (!pending->call->applied && chance(daemon->world, 50)) {
                call_goes_on(daemon->world, pending->call);
                pending->call = NULL;
        }
}

/* --- answers ------------------------------------------------------------------------------ */

static void cover_run(const Daemon *daemon, const Run *run, Event event) {
        cover(event, run->leader != NULL ? run->leader->partition->state : PARTITION_GONE,
              daemon->phase);
}

static void answer_check(Daemon *daemon, const Pending *pending) {
        static const Event events[] = {EVENT_CHECK_GO, EVENT_CHECK_WAIT, EVENT_CHECK_NOT_NEEDED,
                                       EVENT_CHECK_POISON, EVENT_CHECK_CANCELLED};
        World *world = daemon->world;
        Run *run = pending->run;
        CheckResult result = CHECK_GO;
        char before[16];
        bool precheck = world->claims->precheck;
        if (daemon->phase != DAEMON_RUNNING && chance(world, 70)) {
                result = CHECK_CANCELLED;
        } else if (fault(world, 3)) {
                result = CHECK_POISON;
        } else if (precheck && fault(world, 25)) {
                result = chance(world, 70) ? CHECK_WAIT : CHECK_NOT_NEEDED;
        }
        snprintf(before, sizeof(before), "%d", granted_host(world->claims, run_host(run))->boots);
        bool seen = world->claims->verify && result == CHECK_GO && !fault(world, 20);
        cover_run(daemon, run, events[result]);
        ENGINE(daemon, engine_checked(daemon->engine, run, result, seen ? before : NULL,
                                      chance(world, 50) ? "detail" : NULL, world->now));
}

static void answer_verify(Daemon *daemon, const Pending *pending) {
        static const Event events[] = {EVENT_VERIFY_PASSED, EVENT_VERIFY_UNCOMPARED,
                                       EVENT_VERIFY_SAME, EVENT_VERIFY_FAILED,
                                       EVENT_VERIFY_CANCELLED};
        World *world = daemon->world;
        Run *run = pending->run;
        const char *before = run->claim.before;
        VerifyResult result = VERIFY_SAME;
        if (daemon->phase != DAEMON_RUNNING && chance(world, 70)) {
                result = VERIFY_CANCELLED;
        } else if (fault(world, 20)) {
                result = VERIFY_FAILED;
        } else if (before == NULL) {
                result = VERIFY_UNCOMPARED;
        } else if (granted_host(world->claims, run_host(run))->boots != atoi(before)) {
                result = VERIFY_PASSED;
        }
        cover_run(daemon, run, events[result]);
        trace(world, "  %d  run %" PRIu64 " of %s is verified: %d", daemon->slot, run->id,
              run_host(run), result);
        ENGINE(daemon, engine_verified(daemon->engine, run, result,
                                       chance(world, 50) ? "detail" : NULL, world->now));
}

static Event claim_event(LedgerEnd end, const LedgerDecision *decision) {
        static const Event verdicts[] = {EVENT_CLAIM_START,   EVENT_CLAIM_DONE, EVENT_CLAIM_VERIFY,
                                         EVENT_CLAIM_UNKNOWN, EVENT_CLAIM_WAIT, EVENT_CLAIM_REJECT};
        return end == LEDGER_END_DONE      ? verdicts[decision->verdict]
               : end == LEDGER_END_REFUSED ? EVENT_CLAIM_REFUSED
               : end == LEDGER_END_OUTAGE  ? EVENT_CLAIM_OUTAGE
                                           : EVENT_CLAIM_LOST;
}

static void answer_claim(Daemon *daemon, const LedgerCall *call, const Asked *asked,
                         LedgerEnd end) {
        Run *run = asked->run;
        const LedgerDecision *decision = end == LEDGER_END_DONE ? &asked->decision : NULL;
        run->sent_us = call->sent_us;
        cover_run(daemon, run, claim_event(end, decision));
        ENGINE(daemon, engine_claimed(daemon->engine, run, end, decision, daemon->world->now));
}

static void answer_acted(Daemon *daemon, const Asked *asked, LedgerEnd end) {
        static const Event events[] = {EVENT_ACTED, EVENT_ACTED_REFUSED, EVENT_ACTED_OUTAGE,
                                       EVENT_ACTED_LOST};
        cover_run(daemon, asked->run, events[end]);
        ENGINE(daemon, engine_acted(daemon->engine, asked->run, end, daemon->world->now));
}

static void answer_conclude(Daemon *daemon, const Asked *asked, LedgerEnd end) {
        static const Event events[] = {EVENT_CONCLUDED, EVENT_CONCLUDE_REFUSED,
                                       EVENT_CONCLUDE_OUTAGE, EVENT_CONCLUDE_LOST};
        bool otherwise = end == LEDGER_END_DONE && !asked->result.did;
        Intent *intent = granted_find(daemon->world->claims, asked->finish.id);
        if (end == LEDGER_END_REFUSED && asked->run->alone && intent != NULL) {
                intent->unclaimed = true; /* nobody tells its end */
        }
        cover_run(daemon, asked->run, otherwise ? EVENT_CONCLUDED_OTHERWISE : events[end]);
        ENGINE(daemon, engine_concluded(daemon->engine, asked->run, end,
                                        end == LEDGER_END_DONE ? &asked->result : NULL,
                                        daemon->world->now));
}

/* What its owner hears of it. */
static LedgerEnd call_ends(Daemon *daemon, Pending *pending) {
        World *world = daemon->world;
        LedgerCall *call = pending->call;
        bool lost = pending->cut || world_database_is_away(world) || fault(world, 6);
        if (!call->applied &&
            (fault(world, 6) || (world_database_is_away(world) && chance(world, 60)))) {
                return LEDGER_END_OUTAGE;
        }
        if (!call->applied && fault(world, call->n > 1 ? 3 : 1)) {
                return LEDGER_END_REFUSED;
        }
        if (!call->applied && lost && chance(world, 50)) {
                if (chance(world, 60)) {
                        LedgerCall *twin = calloc(1, sizeof(*twin));
                        *twin = *call;
                        call->items = calloc(call->n, sizeof(Asked));
                        for (size_t i = 0; i < call->n; i++) {
                                call->items[i].run = twin->items[i].run;
                        }
                        call_goes_on(world, twin);
                }
                return LEDGER_END_UNKNOWN;
        }
        if (!call->applied) {
                call_apply(world, call);
        }
        return lost && call->end == LEDGER_END_DONE ? LEDGER_END_UNKNOWN : call->end;
}

static void answer_ledger(Daemon *daemon, Pending *pending) {
        LedgerCall *call = pending->call;
        LedgerEnd end = call_ends(daemon, pending);
        trace(daemon->world, "  %d  call of %zu, question %d: end %d", daemon->slot, call->n,
              call->question, end);
        for (size_t i = 0; i < call->n; i++) {
                const Asked *asked = &call->items[i];
                switch (call->question) {
                case QUESTION_CLAIM:
                        answer_claim(daemon, call, asked, end);
                        break;
                case QUESTION_ACTED:
                        answer_acted(daemon, asked, end);
                        break;
                case QUESTION_CONCLUDE:
                        answer_conclude(daemon, asked, end);
                        break;
                case QUESTIONS:
                        break;
                }
        }
}

void claims_answer(Daemon *daemon, Pending *pending) {
        if (pending->kind == PENDING_CHECK) {
                answer_check(daemon, pending);
        } else if (pending->kind == PENDING_VERIFY) {
                answer_verify(daemon, pending);
        } else {
                answer_ledger(daemon, pending);
        }
}

/* --- the action --------------------------------------------------------------------------- */

static Outcome draw_outcome(World *world) {
        static const Outcome outcomes[] = {OUTCOME_FAILED,  OUTCOME_NOT_STARTED, OUTCOME_UNKNOWN,
                                           OUTCOME_UNKNOWN, OUTCOME_OUTAGE,      OUTCOME_POISON,
                                           OUTCOME_INTERNAL};
        return fault(world, 30) ? outcomes[below(world, 7)] : OUTCOME_DONE;
}

bool claims_start(Daemon *daemon, Pending *pending) {
        World *world = daemon->world;
        Claims *claims = world->claims;
        Run *run = pending->run;
        Intent *intent = granted_find(claims, run->ledger_id);
        int64_t at = world->now;
        if (!ledger_may_start(&daemon->policy, run->sent_us, world->now)) {
                cover_run(daemon, run, EVENT_TOO_LATE);
                return false;
        }
        if (world->now - run->sent_us >= LEDGER_START_WITHIN_US) {
                broken(world, 8, "%s is started %" PRId64 " us after its claim", run_host(run),
                       world->now - run->sent_us);
        }
        if (fault(world, 1) && chance(world, 30)) {
                /* It is stopped here, of all places. */
                at += (int64_t)below(world, 30 * SECOND);
                daemon->frozen_until = at > daemon->frozen_until ? at : daemon->frozen_until;
        }
        pending->outcome = draw_outcome(world);
        int64_t takes =
                200 +
                (int64_t)below(world, chance(world, 80) ? 200 * MS : (uint64_t)claims->timeout_us);
        pending->ready = at + takes;
        run->action_started_us = at;
        if (pending->outcome != OUTCOME_DONE && pending->outcome != OUTCOME_FAILED &&
            pending->outcome != OUTCOME_UNKNOWN) {
                return true; /* surely nothing happens */
        }
        if (intent == NULL) {
                if (!granted_is_gone(claims, run->ledger_id)) {
                        broken(world, 8, "%s is restarted without an intent", run_host(run));
                }
                return true;
        }
        HostKnown *host = granted_host(claims, run_host(run));
        host->boots += pending->outcome == OUTCOME_DONE      ? chance(world, 93)
                       : pending->outcome == OUTCOME_UNKNOWN ? chance(world, 50)
                                                             : 0;
        granted_started(world, daemon, run, intent, at, at + takes);
        return true;
}
