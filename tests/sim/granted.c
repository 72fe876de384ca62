#include "granted.h"

#include <fnmatch.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

int64_t claims_clock(const World *world) {
        return world->now + world->claims->clock_us;
}

void granted_free(Claims *claims) {
        for (size_t i = 0; i < claims->n_intents; i++) {
                free(claims->intents[i].request_id);
                free(claims->intents[i].shared);
        }
        free(claims->intents);
        free(claims->holds);
        free(claims->hosts);
}

Intent *granted_find(Claims *claims, int64_t id) {
        for (size_t i = claims->n_intents; i-- > 0;) {
                if (claims->intents[i].id == id && !claims->intents[i].gone) {
                        return &claims->intents[i];
                }
        }
        return NULL;
}

bool granted_is_gone(const Claims *claims, int64_t id) {
        for (size_t i = claims->n_intents; i-- > 0;) {
                if (claims->intents[i].id == id) {
                        return claims->intents[i].gone;
                }
        }
        return false;
}

HostKnown *granted_host(Claims *claims, const char *host) {
        for (size_t i = 0; i < claims->n_hosts; i++) {
                if (strcmp(claims->hosts[i].host, host) == 0) {
                        return &claims->hosts[i];
                }
        }
        if (claims->n_hosts == claims->hosts_capacity) {
                claims->hosts_capacity = 2 * claims->hosts_capacity + 16;
                claims->hosts =
                        realloc(claims->hosts, claims->hosts_capacity * sizeof(*claims->hosts));
        }
        HostKnown *known = &claims->hosts[claims->n_hosts++];
        *known = (HostKnown){.boots = 1};
        strcpy(known->host, host);
        return known;
}

HoldKnown *granted_add_hold(Claims *claims, HoldKnown hold) {
        if (claims->n_holds == claims->holds_capacity) {
                claims->holds_capacity = 2 * claims->holds_capacity + 8;
                claims->holds =
                        realloc(claims->holds, claims->holds_capacity * sizeof(*claims->holds));
        }
        claims->holds[claims->n_holds] = hold;
        return &claims->holds[claims->n_holds++];
}

static bool is_same(const AskedMessage *a, const AskedMessage *b) {
        return a->source == b->source && a->offset == b->offset;
}

/* Whether it asked for the intent: its own, or one that it was told to share. */
static bool asked_for(const Intent *intent, const AskedMessage *message) {
        bool asked = is_same(&intent->leader, message);
        for (size_t i = 0; i < intent->n_shared && !asked; i++) {
                asked = is_same(&intent->shared[i], message);
        }
        return asked;
}

static bool is_untold(const Intent *intent) {
        return intent->told == LEDGER_STATE_INTENDED || intent->told == LEDGER_STATE_ACTED;
}

/* It may have had an effect, as far as anybody can know. */
static bool counts(const Intent *intent) {
        return !intent->forgotten && intent->told != LEDGER_STATE_NOT_STARTED;
}

/* When it began, at the earliest. */
static int64_t began(const Intent *intent) {
        return intent->real_us >= 0 && !intent->late ? intent->real_us : intent->intended_us;
}

/* --- the grant ---------------------------------------------------------------------------- */

static void check_holds(World *world, const char *host, int64_t t) {
        const Claims *claims = world->claims;
        for (size_t i = 0; i < claims->n_holds; i++) {
                const HoldKnown *hold = &claims->holds[i];
                if (!hold->lifted && hold->until_us > t && fnmatch(hold->pattern, host, 0) == 0) {
                        broken(world, 8, "%s is granted, and \"%s\" is held", host, hold->pattern);
                }
        }
}

/* How many stand beside it. What the ledger dates later than it was, it counts longer. */
static void check_limits(World *world, const LedgerCall *call, const Asked *asked, int64_t t) {
        const Claims *claims = world->claims;
        const LedgerPolicy *policy = &call->policy;
        const LedgerGroup *group = asked->request.group;
        int32_t fleet = 0, in_group = 0, of_host = 0, fuse = 0;
        for (size_t i = 0; i < claims->n_intents; i++) {
                const Intent *other = &claims->intents[i];
                bool same = strcmp(other->host, asked->host) == 0;
                bool of_group = group != NULL && other->group == group->name;
                bool runs = (is_untold(other) || other->told == LEDGER_STATE_UNKNOWN) &&
                            other->held_us > t;
                if (!counts(other) || other->id == asked->decision.id) {
                        continue;
                }
                fleet += runs;
                in_group += runs && of_group;
                of_host += same && other->told != LEDGER_STATE_FAILED &&
                           (!is_untold(other) || other->held_us <= t) &&
                           began(other) > t - policy->host_period_us;
                fuse += began(other) > t - policy->fuse_period_us &&
                        other->intended_us > claims->fuse_lifted_us;
                if (of_group && group->quiet_us > 0 && !is_untold(other) && other->told_us <= t &&
                    other->told_us > t - group->quiet_us && other->real_end_us > 0 &&
                    other->real_end_us + claims->clock_us > t - group->quiet_us) {
                        broken(world, 13, "%s is granted in the quiet time of %s", asked->host,
                               group->name);
                }
        }
        if ((policy->fleet > 0 && fleet >= policy->fleet) ||
            (group != NULL && group->concurrency > 0 && in_group >= group->concurrency) ||
            (policy->host_restarts > 0 && of_host >= policy->host_restarts) ||
            (policy->fuse_restarts > 0 && fuse >= policy->fuse_restarts)) {
                broken(world, 13,
                       "%s is granted beside %d (of its group %d, of the host %d, for the fuse %d)",
                       asked->host, fleet, in_group, of_host, fuse);
        }
}

static Intent *add_intent(Claims *claims) {
        if (claims->n_intents == claims->intents_capacity) {
                claims->intents_capacity = 2 * claims->intents_capacity + 64;
                claims->intents = realloc(claims->intents,
                                          claims->intents_capacity * sizeof(*claims->intents));
        }
        return &claims->intents[claims->n_intents++];
}

static void granted(World *world, const LedgerCall *call, const Asked *asked) {
        Claims *claims = world->claims;
        int64_t t = claims_clock(world);
        Intent *intent = granted_find(claims, asked->decision.id);
        for (size_t i = 0; i < claims->n_intents; i++) {
                const Intent *other = &claims->intents[i];
                if (!counts(other) || other == intent || strcmp(other->host, asked->host) != 0) {
                        continue;
                }
                if (is_untold(other) && other->held_us > t) {
                        broken(world, 7, "%s is granted, and somebody has it until %" PRId64,
                               asked->host, other->held_us - t);
                }
                if (!other->late && t < began(other) + call->policy.cooldown_us) {
                        broken(world, 7, "%s is granted %" PRId64 " us after its last start",
                               asked->host, t - began(other));
                }
        }
        if (intent == NULL) {
                check_holds(world, asked->host, t);
                check_limits(world, call, asked, t);
                intent = add_intent(claims);
                *intent =
                        (Intent){.id = asked->decision.id,
                                 .group = asked->request.group != NULL ? asked->request.group->name
                                                                       : NULL,
                                 .leader = asked->messages[0],
                                 .instance = call->instance,
                                 .told = LEDGER_STATE_INTENDED,
                                 .real_us = -1};
                strcpy(intent->host, asked->host);
                if (asked->request_id != NULL) {
                        intent->request_id = strdup(asked->request_id);
                }
        } else if (call->is_ghost) {
                /* The same claim was asked again and granted: it is held anew, whatever it does. */
                intent->held_us = t + call->policy.start_within_us + call->policy.hold_us;
                return;
        } else if (!intent->forgotten &&
                   (intent->instance != call->instance || intent->told != LEDGER_STATE_INTENDED ||
                    intent->real_us >= 0)) {
                broken(world, 8, "%s: what was granted before is granted again", asked->host);
        }
        intent->unclaimed = call->is_ghost;
        intent->intended_us = t;
        intent->held_us = t + call->policy.start_within_us + call->policy.hold_us;
}

/* Only a restart that is done is a reason. */
static void suppressed(World *world, const Asked *asked) {
        const Claims *claims = world->claims;
        LedgerReason reason = asked->decision.reason;
        if (reason != LEDGER_REASON_DUPLICATE && reason != LEDGER_REASON_SUPERSEDED &&
            reason != LEDGER_REASON_COOLDOWN) {
                return;
        }
        for (size_t i = 0; i < claims->n_intents; i++) {
                const Intent *other = &claims->intents[i];
                if (!other->gone && other->told == LEDGER_STATE_DONE &&
                    strcmp(other->host, asked->host) == 0) {
                        return;
                }
        }
        broken(world, 9, "%s: a request is suppressed (%s), and no restart of it is done",
               asked->host, ledger_reason_name(reason));
}

static void resolve(World *world, const AskedMessage *message) {
        const BrokerLog *log = &world->broker.logs[message->partition];
        const StoreSource *source = store_source(&world->store, message->source);
        Fate *fate = log->incarnation == message->incarnation && source != NULL && !source->retired
                             ? world_fate(world, message->partition, message->offset)
                             : NULL;
        if (fate != NULL) {
                fate->restarts++;
        }
}

void granted_decided(World *world, const LedgerCall *call, const Asked *asked) {
        const LedgerDecision *decision = &asked->decision;
        if (decision->verdict == LEDGER_VERDICT_START) {
                granted(world, call, asked);
        } else if (decision->verdict == LEDGER_VERDICT_DONE) {
                suppressed(world, asked);
                resolve(world, &asked->messages[0]);
        }
}

void granted_fuse_blew(World *world) {
        Claims *claims = world->claims;
        trace(world, "DB    the fuse blows");
        granted_add_hold(claims, (HoldKnown){.id = (int64_t)sim_ledger_holds(claims->ledger),
                                             .pattern = "*",
                                             .until_us = INT64_MAX});
}

/* --- the end ------------------------------------------------------------------------------ */

void granted_told(World *world, const LedgerCall *call, const Asked *asked) {
        Claims *claims = world->claims;
        bool acted = call->question == QUESTION_ACTED;
        int64_t id = acted ? asked->acted.id : asked->finish.id;
        if (id > 0 && id <= (int64_t)sim_ledger_rows(claims->ledger)) {
                /* A row that shares stands for the one whose restart it shared. */
                int64_t of = sim_ledger_row(claims->ledger, id).shared_with;
                id = of != 0 ? of : id;
        }
        Intent *intent = granted_find(claims, id);
        LedgerState state = acted ? LEDGER_STATE_ACTED : asked->finish.state;
        /* A row that a database lost is an unknown. So stays one whose host another restart began
         * on meanwhile, whatever verify says. */
        bool unknown = (asked->result.state == LEDGER_STATE_NONE && granted_is_gone(claims, id)) ||
                       (asked->result.state == LEDGER_STATE_UNKNOWN && !asked->result.did);
        bool passes = unknown && world->on_unknown == ON_UNKNOWN_DONE;
        if (!acted && (passes || asked->result.state == LEDGER_STATE_DONE ||
                       asked->result.state == LEDGER_STATE_SUPPRESSED)) {
                for (size_t i = 0; i < asked->n_messages; i++) {
                        resolve(world, &asked->messages[i]);
                }
        }
        if (intent == NULL || !asked->result.did || asked->result.state != state ||
            intent->told == state) {
                return;
        }
        if (state == LEDGER_STATE_NOT_STARTED && intent->real_us >= 0) {
                broken(world, 9, "%s: its restart did start, and is given back", intent->host);
        }
        if (state != LEDGER_STATE_NOT_STARTED && intent->real_us >= 0 && !intent->late &&
            intent->real_end_us > world->now) {
                broken(world, 2, "%s: the end \"%s\" is written before its action has ended",
                       intent->host, ledger_state_name(state));
        }
        intent->told = state;
        intent->told_us = claims_clock(world);
        if (acted) {
                return;
        }
        size_t n = asked->n_messages > 0 ? asked->n_messages - 1 : 0;
        intent->shared = realloc(intent->shared, (intent->n_shared + n + 1) * sizeof(AskedMessage));
        memcpy(&intent->shared[intent->n_shared], &asked->messages[1], n * sizeof(AskedMessage));
        intent->n_shared += n;
}

void granted_goes_back(World *world) {
        Claims *claims = world->claims;
        int64_t rows = (int64_t)sim_ledger_rows(claims->standby);
        for (size_t i = 0; i < claims->n_intents; i++) {
                Intent *intent = &claims->intents[i];
                if (intent->gone) {
                        continue;
                }
                intent->gone = intent->id > rows;
                intent->forgotten = intent->forgotten || intent->gone ||
                                    intent->told_us >= claims->standby_us ||
                                    intent->intended_us >= claims->standby_us;
                if (!intent->gone) {
                        SimLedgerRow row = sim_ledger_row(claims->standby, intent->id);
                        bool no_end = row.state == LEDGER_STATE_UNKNOWN &&
                                      row.ended_us == SIM_LEDGER_NEVER;
                        intent->told = no_end ? LEDGER_STATE_INTENDED : row.state;
                        intent->held_us = row.held_until_us; /* that it was renewed is forgotten */
                }
        }
}

/* --- the start ---------------------------------------------------------------------------- */

/* Whether the same reason led to a restart before. */
static void check_reason(World *world, const Intent *intent, const Intent *other) {
        int64_t t = claims_clock(world);
        bool same_request = intent->request_id != NULL && other->request_id != NULL &&
                            strcmp(intent->request_id, other->request_id) == 0 &&
                            strcmp(intent->host, other->host) == 0;
        if (asked_for(other, &intent->leader)) {
                bool decided = other->told == LEDGER_STATE_FAILED ||
                               (world->on_unknown == ON_UNKNOWN_RETRY &&
                                (other->told == LEDGER_STATE_UNKNOWN ||
                                 (is_untold(other) && other->held_us <= t)));
                if (!decided) {
                        broken(world, 9, "%s is restarted again for %d/%" PRId64 ", before: %s",
                               intent->host, intent->leader.partition, intent->leader.offset,
                               ledger_state_name(other->told));
                }
        } else if (same_request && other->told == LEDGER_STATE_DONE &&
                   other->told_us < intent->intended_us) {
                broken(world, 9, "%s is restarted again for \"%s\", which is done", intent->host,
                       intent->request_id);
        }
}

void granted_started(World *world, const Daemon *daemon, const Run *run, Intent *intent, int64_t at,
                     int64_t end_us) {
        Claims *claims = world->claims;
        int64_t t = at + claims->clock_us;
        if (!intent->forgotten && (intent->instance != daemon->instance ||
                                   intent->told != LEDGER_STATE_INTENDED || intent->real_us >= 0)) {
                broken(world, 8, "%s is restarted with an intent that is %s", run_host(run),
                       intent->instance != daemon->instance ? "somebody else's" : "used up");
        }
        intent->late = at - run->sent_us >= LEDGER_START_WITHIN_US;
        claims->late += intent->late;
        for (size_t i = 0; i < claims->n_intents && !intent->late && !intent->forgotten; i++) {
                const Intent *other = &claims->intents[i];
                if (other == intent || other->real_us < 0 || other->forgotten || other->late ||
                    strcmp(other->host, intent->host) != 0) {
                        continue;
                }
                if (other->real_end_us > at) {
                        broken(world, 7, "%s is restarted while a restart of it goes on",
                               intent->host);
                }
                if (t < other->real_us + daemon->policy.cooldown_us) {
                        broken(world, 7, "%s is restarted again after %" PRId64 " us", intent->host,
                               t - other->real_us);
                }
                check_reason(world, intent, other);
        }
        if (!intent->late && !intent->forgotten && t >= intent->held_us) {
                broken(world, 8, "%s is restarted, and is held no more", intent->host);
        }
        intent->real_us = t;
        intent->real_end_us = end_us;
}
