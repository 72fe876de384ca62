/*
 * The simulated ledger beside the real one, as test-store-twin has the other tables: a sequence of
 * operations, all of it from its seed, is given to the SimLedger and, through ackd's own code, to
 * the server that ACKD_TEST_DSN names; every answer is compared, and at the end of each sequence
 * all that the tables hold. Where they differ, one of them is not what docs/ledger.md says.
 *
 * Times are compared to the microsecond: both sides are told what time it is. It mostly moves to
 * where something ends, or to a microsecond beside it, since that is where < and <= part.
 */

#include "ledger-twin-draw.h"
#include "ledger-twin.h"

enum {
        EMPTY_AFTER = 100, /* sequences: the tables are made anew, so that they stay small */
};

static TwinReached reached[] = {
        {"claim", "start", 0},
        {"claim", "start renewed", 0},
        {"claim", "done none", 0},
        {"claim", "done duplicate now", 0},
        {"claim", "done superseded now", 0},
        {"claim", "done stale now", 0},
        {"claim", "done cooldown now", 0},
        {"claim", "done not_selected now", 0},
        {"claim", "done not_needed now", 0},
        {"claim", "done other now", 0},
        {"claim", "verify", 0},
        {"claim", "unknown", 0},
        {"claim", "before", 0},
        {"claim", "wait running", 0},
        {"claim", "wait cooldown", 0},
        {"claim", "wait attempt", 0},
        {"claim", "wait hold", 0},
        {"claim", "wait group", 0},
        {"claim", "wait quiet_time", 0},
        {"claim", "wait fleet", 0},
        {"claim", "wait fuse", 0},
        {"claim", "blew", 0},
        {"claim", "reject host_limit", 0},
        {"claim", "reject waited_too_long", 0},
        {"claim again", "start renewed", 0},
        {"claim again", "now", 0},
        {"acted", "did acted", 0},
        {"acted", "not, done", 0},
        {"acted", "none", 0},
        {"finish", "did done", 0},
        {"finish", "did failed", 0},
        {"finish", "did not_started", 0},
        {"finish", "did unknown", 0},
        {"finish", "not, done", 0},
        {"finish", "not, failed", 0},
        {"finish", "not, acted", 0},
        {"finish", "not, suppressed", 0},
        {"finish", "none", 0},
        {"finish", "refused", 0},
        {"finish again", "did done", 0},
};

static void tell_policy(const LedgerPolicy *policy) {
        add(&twin.what,
            " (cooldown %" PRId64 " max_age %" PRId64 " max_wait %" PRId64 " within %" PRId64
            " hold %" PRId64 " ms; per_host %d in %" PRId64 ", fleet %d, fuse %d in %" PRId64 ")",
            policy->cooldown_us / MS, policy->max_age_us / MS, policy->max_wait_us / MS,
            policy->start_within_us / MS, policy->hold_us / MS, policy->host_restarts,
            policy->host_period_us / MS, policy->fleet, policy->fuse_restarts,
            policy->fuse_period_us / MS);
}

static void tell_claim(const Call *call) {
        tell_policy(&call->policy);
        for (size_t i = 0; i < call->n; i++) {
                const LedgerRequest *request = &call->requests[i];
                add(&twin.what, "\n      %d:%" PRId64 "/%d %s", request->source, request->offset,
                    request->attempt, request->host);
                add(&twin.what, " request %s requested %" PRId64 " received %" PRId64 "%s",
                    request->request_id != NULL ? request->request_id : "-",
                    request->requested_us - EPOCH_US, request->received_us - EPOCH_US,
                    request->redelivered ? " redelivered" : "");
                if (request->first_us > 0) {
                        add(&twin.what, " replay of %" PRId64, request->first_us - EPOCH_US);
                }
                add(&twin.what, " before %s", request->before != NULL ? request->before : "-");
                if (request->suppress != NULL) {
                        add(&twin.what, " suppress %s", request->suppress);
                }
                if (request->group != NULL) {
                        add(&twin.what, " group %s %d quiet %" PRId64, request->group->name,
                            request->group->concurrency, request->group->quiet_us / MS);
                }
        }
}

/* --- claim -------------------------------------------------------------------------------- */

static const char *const verdict_names[] = {
        [LEDGER_VERDICT_START] = "start",   [LEDGER_VERDICT_DONE] = "done",
        [LEDGER_VERDICT_VERIFY] = "verify", [LEDGER_VERDICT_UNKNOWN] = "unknown",
        [LEDGER_VERDICT_WAIT] = "wait",     [LEDGER_VERDICT_REJECT] = "reject",
};

/* All but what is for people; again_us means something to those who wait. */
static void say_decision(Side side, const LedgerDecision *decision) {
        const char *reason = ledger_reason_name(decision->reason);
        SAY(side, "\n      %s", verdict_names[decision->verdict]);
        if (decision->reason != LEDGER_REASON_NONE || decision->verdict == LEDGER_VERDICT_DONE) {
                SAY(side, " %s", reason[0] != '\0' ? reason : "none");
        }
        SAY(side, "%s%s%s", decision->renewed ? " renewed" : "",
            decision->suppressed_now ? " now" : "", decision->fuse_blew ? " blew" : "");
        SAY(side, " row %" PRId64 " attempt %d", decision->id, decision->attempt);
        say_time(side, "received", decision->received_us);
        if (decision->verdict == LEDGER_VERDICT_WAIT) {
                SAY(side, " again in %" PRId64, decision->again_us);
        }
        SAY(side, " acted %" PRId64, decision->acted_age_us);
        if (decision->before != NULL) {
                SAY(side, " before %s", decision->before);
        }
}

static const char *const end_names[] = {[LEDGER_END_DONE] = "",
                                        [LEDGER_END_REFUSED] = "refused",
                                        [LEDGER_END_OUTAGE] = "outage",
                                        [LEDGER_END_UNKNOWN] = "lost"};

static void on_claimed(void *user, const LedgerAnswer *answer) {
        (void)user;
        SAY(REAL, "%s", end_names[answer->end]);
        if (answer->failure != NULL) {
                SAY(REAL, " %s", answer->failure->message);
        }
        for (size_t i = 0; answer->decisions != NULL && i < answer->n; i++) {
                say_decision(REAL, &answer->decisions[i]);
        }
        real_answered();
}

static int64_t first_receipt(void *user, int32_t source, int64_t offset, int64_t from_us,
                             int64_t to_us) {
        int64_t first = SIM_LEDGER_NEVER;
        (void)user;
        for (size_t i = 0; i < own.n_receipts; i++) {
                const Receipt *receipt = &own.receipts[i];
                if (receipt->source == source && receipt->offset == offset &&
                    receipt->at >= from_us && receipt->at <= to_us &&
                    (first == SIM_LEDGER_NEVER || receipt->at < first)) {
                        first = receipt->at;
                }
        }
        return first;
}

static void give_claim(const Call *call, const char *how) {
        LedgerDecision decisions[BATCH];
        SimReceipts receipts = {first_receipt, NULL};
        add(&twin.what, "claim%s by %d", how, call->instance);
        tell_claim(call);
        LedgerEnd end = sim_ledger_claim(own.ledger, call->instance, &call->policy, call->requests,
                                         call->n, real.now, &receipts, decisions);
        SAY(SIMULATED, "%s", end_names[end]);
        for (size_t i = 0; i < call->n; i++) {
                say_decision(SIMULATED, &decisions[i]);
        }
        real_tell_time();
        real_wait(ledger_claim(real.instances[call->instance], &call->policy, call->requests,
                               call->n, on_claimed, NULL));
        compare();
}

/* Mostly about few hosts and messages, so that they meet. */
static void claim(void) {
        Call *call = &own.last;
        size_t n = chance(50) ? 1 : 1 + below(BATCH);
        int instance = 0;
        *call = (Call){.kind = CLAIM, .policy = own.policy};
        while (call->n < n) {
                add_request(call, &ANY(own.messages), &instance);
        }
        call->instance = instance;
        give_claim(call, "");
}

/* --- acted, finish ------------------------------------------------------------------------ */

static void say_result(Side side, const LedgerResult *result) {
        SAY(side, "\n      %" PRId64 " %s%s", result->id,
            result->state == LEDGER_STATE_NONE ? "none"
            : result->did                      ? "did "
                                               : "not, ",
            ledger_state_name(result->state));
}

static void on_ended(void *user, const LedgerAnswer *answer) {
        (void)user;
        SAY(REAL, "%s", end_names[answer->end]);
        for (size_t i = 0; answer->results != NULL && i < answer->n; i++) {
                say_result(REAL, &answer->results[i]);
        }
        real_answered();
}

static void say_ends(LedgerEnd end, const LedgerResult *results, size_t n) {
        SAY(SIMULATED, "%s", end_names[end]);
        for (size_t i = 0; end == LEDGER_END_DONE && i < n; i++) {
                say_result(SIMULATED, &results[i]);
        }
}

static void tell_times(int64_t started_us, int64_t ended_us) {
        if (started_us != 0) {
                add(&twin.what, " started %" PRId64 " ago", real.clock - started_us);
        }
        if (ended_us != 0) {
                add(&twin.what, " ended %" PRId64 " ago", real.clock - ended_us);
        }
}

static void give_acted(const Call *call, const char *how) {
        LedgerResult results[BATCH];
        add(&twin.what, "acted%s", how);
        for (size_t i = 0; i < call->n; i++) {
                const LedgerActed *item = &call->acted[i];
                add(&twin.what, "\n      %" PRId64 " status %d", item->id, item->exit_status);
                tell_times(item->started_us, item->ended_us);
        }
        LedgerEnd end =
                sim_ledger_acted(own.ledger, call->acted, call->n, real.now, real.clock, results);
        say_ends(end, results, call->n);
        real_tell_time();
        real_wait(
                ledger_acted(real.instances[call->instance], call->acted, call->n, on_ended, NULL));
        compare();
}

static void tell_finish(const Call *call) {
        for (size_t i = 0; i < call->n; i++) {
                const LedgerFinish *item = &call->ends[i];
                add(&twin.what, "\n      %" PRId64 " %s%s status %d for %s", item->id,
                    ledger_state_name(item->state), item->verified ? " verified" : "",
                    item->exit_status, item->reason != NULL ? item->reason : "-");
                tell_times(item->started_us, item->ended_us);
                for (size_t k = 0; k < item->n_shared; k++) {
                        add(&twin.what, "%s %d:%" PRId64, k == 0 ? " shared by" : ",",
                            item->shared[k].source, item->shared[k].offset);
                }
        }
}

static void give_finish(const Call *call, const char *how) {
        LedgerResult results[BATCH];
        add(&twin.what, "finish%s", how);
        tell_finish(call);
        LedgerEnd end =
                sim_ledger_finish(own.ledger, call->ends, call->n, real.now, real.clock, results);
        say_ends(end, results, call->n);
        real_tell_time();
        real_wait(
                ledger_finish(real.instances[call->instance], call->ends, call->n, on_ended, NULL));
        compare();
        if (end == LEDGER_END_REFUSED) {
                real_number_from(sim_ledger_rows(own.ledger), sim_ledger_holds(own.ledger));
        }
}

static void acted(void) {
        Call *call = &own.last;
        *call = (Call){.kind = ACTED, .instance = (int)below(INSTANCES)};
        call->n = chance(70) ? 1 : 1 + below(BATCH);
        for (size_t i = 0; i < call->n; i++) {
                int64_t id = some_id();
                call->acted[i] = (LedgerActed){.id = id,
                                               .started_us = some_clock(id),
                                               .ended_us = some_clock(id),
                                               .exit_status = some_status(),
                                               .output = ANY(outputs)};
        }
        give_acted(call, "");
}

static void finish(void) {
        Call *call = &own.last;
        *call = (Call){.kind = FINISH, .instance = (int)below(INSTANCES)};
        call->n = chance(70) ? 1 : 1 + below(BATCH);
        for (size_t i = 0; i < call->n; i++) {
                int64_t id = some_id();
                LedgerFinish *item = &call->ends[i];
                *item = (LedgerFinish){.id = id,
                                       .state = some_end(),
                                       .verified = chance(30),
                                       .started_us = some_clock(id),
                                       .ended_us = some_clock(id),
                                       .exit_status = some_status(),
                                       .reason = ANY(reasons),
                                       .output = ANY(outputs)};
                if (chance(35)) {
                        add_shared(item, call->shared[i]);
                }
        }
        give_finish(call, "");
}

/* The reply was lost; mostly by the same process. */
static void ask_again(void) {
        Call *call = &own.last;
        if (chance(10)) {
                call->instance = (int)below(INSTANCES);
        }
        switch (call->kind) {
        case CLAIM:
                give_claim(call, " again");
                break;
        case ACTED:
                give_acted(call, " again");
                break;
        case FINISH:
                give_finish(call, " again");
                break;
        case NO_CALL:
                break;
        }
}

/* --- holds -------------------------------------------------------------------------------- */

static void hold(void) {
        const char *pattern = ANY(patterns);
        int64_t until = some_until();
        real_tell_time();
        add(&twin.what, "hold '%s' until %" PRId64, pattern,
            until != SIM_LEDGER_NEVER ? until - EPOCH_US : until);
        (void)sim_ledger_hold(own.ledger, pattern, real.now, until);
        real_sql("INSERT INTO holds (pattern, why, who, until) VALUES ('%s', 'why', 'who', "
                 "test_at(%" PRId64 "))",
                 pattern, until);
        compare();
}

static void end_hold(void) {
        size_t n = sim_ledger_holds(own.ledger);
        if (n == 0) {
                hold();
                return;
        }
        int64_t id = 1 + (int64_t)below(n), until = some_until();
        real_tell_time();
        if (chance(75)) {
                add(&twin.what, "unhold %" PRId64, id);
                sim_ledger_unhold(own.ledger, id, real.now);
                real_sql("UPDATE holds SET lifted_at = test_now() WHERE id = %" PRId64
                         " AND lifted_at IS NULL",
                         id);
        } else {
                add(&twin.what, "hold %" PRId64 " until %" PRId64, id, until - EPOCH_US);
                sim_ledger_hold_until(own.ledger, id, until);
                real_sql("UPDATE holds SET until = test_at(%" PRId64 ") WHERE id = %" PRId64, until,
                         id);
        }
        compare();
}

/* --- time, messages, failover ------------------------------------------------------------- */

static void move_time(void) {
        int64_t to = real.now + (chance(70) ? some_span(4 * (int64_t)SECOND)
                                            : some_span(90 * (int64_t)SECOND));
        for (int i = 0; i < 4 && chance(70); i++) {
                int64_t moment = beside(some_moment());
                if (moment > real.now && moment < real.now + 300 * (int64_t)SECOND) {
                        to = moment;
                        break;
                }
        }
        add(&twin.what, "%" PRId64 " µs pass: it is %" PRId64, to - real.now, to - EPOCH_US);
        real.clock += to - real.now;
        real.now = to;
        compare();
}

/* A message was saved, lately or about a week ago. */
static void save(void) {
        const TestMessage *message = &ANY(own.messages);
        if (own.n_receipts == RECEIPTS) {
                return;
        }
        int64_t at = real.now - some_span(40 * SECOND);
        if (chance(15)) {
                at = beside(real.now - 7 * DAY_US) + some_span(20 * SECOND);
        } else if (chance(25) && message->met && message->requested >= 0) {
                at = beside(message->requested - 3600 * (int64_t)SECOND);
        }
        own.receipts[own.n_receipts++] = (Receipt){message->source, message->offset, at};
        add(&twin.what, "%d:%" PRId64 " was saved at %" PRId64, message->source, message->offset,
            at - EPOCH_US);
        real_sql("INSERT INTO messages (source, \"offset\", payload, received_at) VALUES (%d, "
                 "%" PRId64 ", '{}', test_at(%" PRId64 "))",
                 message->source, message->offset, at);
        compare();
}

/* PostgreSQL goes back to an earlier moment: to a standby, whose clock is another, or a backup. */
static void fail_over(void) {
        if (own.kept == NULL) {
                if (chance(40)) {
                        hold();
                }
                own.kept = sim_ledger_copy(own.ledger);
                add(&twin.what, "what is there is kept");
                real_keep();
                compare();
                return;
        }
        int64_t back = chance(50) ? 0 : some_span(20 * SECOND);
        sim_ledger_free(own.ledger);
        own.ledger = own.kept;
        own.kept = chance(50) ? sim_ledger_copy(own.ledger) : NULL;
        add(&twin.what, "back to what was kept, and %" PRId64 " µs", back);
        real.now -= back;
        real_go_back();
        real_number_from(sim_ledger_rows(own.ledger), sim_ledger_holds(own.ledger));
        compare();
        if (chance(40)) {
                hold(); /* perhaps since before one that is older by its number */
        }
}

/* --- sequences ---------------------------------------------------------------------------- */

static void operate(void) {
        uint64_t n = below(100);
        twin.n++;
        twin.operations++;
        if (n < 37) {
                claim();
        } else if (n < 55) {
                move_time();
        } else if (n < 59) {
                acted();
        } else if (n < 76) {
                finish();
        } else if (n < 82) {
                ask_again();
        } else if (n < 86) {
                hold();
        } else if (n < 90) {
                end_hold();
        } else if (n < 92) {
                change_policy();
        } else if (n < 97) {
                save();
        } else {
                fail_over();
        }
        if (twin.trace) {
                compare_contents(own.ledger);
        }
}

static void run_sequence(uint64_t seed) {
        twin.seed = twin.random = seed;
        twin.n = 0;
        real_empty(seed % EMPTY_AFTER == 0);
        real.now = EPOCH_US;
        real.clock = 3600 * (int64_t)SECOND;
        own.n_receipts = 0;
        own.last.kind = NO_CALL;
        own.ledger = sim_ledger_new();
        make_messages();
        change_policy();
        for (size_t i = 10 + below(50); i > 0; i--) {
                operate();
        }
        compare_contents(own.ledger);
        sim_ledger_free(own.ledger);
        sim_ledger_free(own.kept);
        own.kept = NULL;
}

int main(int argc, char **argv) {
        twin.program = "test-ledger-twin";
        twin.real = "PostgreSQL";
        twin.reached = reached;
        twin.n_reached = sizeof(reached) / sizeof(reached[0]);
        twin.enough = 400;
        twin.sequences = 400;
        twin_options(argc, argv);
        real_begin();
        int64_t began = loop_now();
        for (uint64_t i = 0; i < twin.sequences; i++) {
                run_sequence(twin.first + i);
        }
        twin_print_end(began);
        real_end();
        bool all = twin_print_reached();
        twin_deinit();
        return all ? 0 : 1;
}
