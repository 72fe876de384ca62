/*
 * A session is what a daemon is to the ledger: it takes messages, claims them in batches, acts, and
 * says how it ended, over a connection that breaks. It dies at every point where a daemon can die:
 * in the middle of a claim, between grant and start, while the action runs (which goes on to its
 * end), between acted and verified. Then another incarnation, with another Ledger, takes its place,
 * and others find its messages.
 */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "pg/connection.h"
#include "random.h"
#include "util/loop.h"
#include "world.h"

enum {
        BATCH_MAX = 4,
        SHARED_MAX = 2,
        ANSWER_DEADLINE_US = 60 * 1000 * 1000,
        MS = 1000,
};

typedef struct Session {
        World *world;
        uint64_t random;
        uint64_t incarnation;
        Loop loop;
        PgPool *pool;
        Ledger *ledger;
        LoopTimer timer;
        bool dead;
        /* the last answer */
        bool answered;
        LedgerEnd end;
        int64_t sent_us;
        LedgerDecision decisions[BATCH_MAX];
        bool has_before[BATCH_MAX];
        LedgerResult result;
} Session;

static bool percent(Session *session, unsigned p) {
        return random_percent(&session->random, p);
}

/* --- the loop ----------------------------------------------------------------------------- */

static void on_timer(LoopTimer *timer) {
        Session *session = container_of(timer, Session, timer);
        loop_stop(&session->loop);
}

static void nap(Session *session, int64_t us) {
        loop_timer_set(&session->timer, us);
        loop_run(&session->loop);
}

static void on_answer(void *user, const LedgerAnswer *answer) {
        Session *session = user;
        session->answered = true;
        session->end = answer->end;
        session->sent_us = answer->sent_us;
        for (size_t i = 0; answer->decisions != NULL && i < answer->n; i++) {
                session->decisions[i] = answer->decisions[i];
                session->has_before[i] = answer->decisions[i].before != NULL;
                session->decisions[i].before = NULL;
        }
        if (answer->results != NULL) {
                session->result = answer->results[0];
        }
        loop_stop(&session->loop);
}

/* An answer that may not be; the run has failed. */
static void wrong(Session *session, const char *what, const char *detail) {
        world_count(session->world, FIGURE_WRONG);
        printf("WRONG: %s: %s\n", what, detail);
}

/* Waits for the answer to what was submitted; true: ask again. */
static bool must_ask_again(Session *session, int r) {
        if (r != 0) {
                wrong(session, "no memory", "");
                exit(1);
        }
        session->answered = false;
        loop_timer_set(&session->timer, ANSWER_DEADLINE_US);
        loop_run(&session->loop);
        loop_timer_stop(&session->timer);
        if (!session->answered) {
                wrong(session, "no answer", "within its deadline");
                exit(1);
        }
        switch (session->end) {
        case LEDGER_END_DONE:
                return false;
        case LEDGER_END_REFUSED:
                wrong(session, "refused", "");
                exit(1);
        case LEDGER_END_OUTAGE:
                world_count(session->world, FIGURE_OUTAGES);
                return true;
        case LEDGER_END_UNKNOWN:
                world_count(session->world, FIGURE_LOST);
                return true;
        }
        return true;
}

/* --- ends --------------------------------------------------------------------------------- */

/* What is said again and again until it is heard. False: the session died over it. */
static bool finish(Session *session, const LedgerFinish *item) {
        do {
                if (percent(session, 1)) {
                        session->dead = true;
                        world_count(session->world, FIGURE_DIED_RUNNING);
                        return false;
                }
        } while (must_ask_again(session,
                                ledger_finish(session->ledger, item, 1, on_answer, session)));
        if (!session->result.did) {
                wrong(session, "finish was refused", ledger_state_name(session->result.state));
        }
        if (session->result.did && percent(session, 5)) {
                /* Said twice, it is heard twice. */
                while (must_ask_again(session, ledger_finish(session->ledger, item, 1, on_answer,
                                                             session))) {
                }
                if (!session->result.did || session->result.state != item->state) {
                        wrong(session, "a second finish says something else",
                              ledger_state_name(session->result.state));
                }
        }
        return true;
}

static void retry(Session *session, Message *message, int attempt) {
        message->attempt = attempt;
        message->numbered_by = session->incarnation;
        world_release(session->world, message, 0);
}

/* After a finish that was heard. */
static void settle(Session *session, Message *message, LedgerState state, int attempt) {
        World *world = session->world;
        switch (state) {
        case LEDGER_STATE_DONE:
                world_count(world, FIGURE_DONE);
                if (percent(session, 15)) { /* not committed, and delivered again */
                        message->numbered_by = 0;
                        world_release(world, message, 0);
                } else {
                        world_resolve(world, message);
                }
                return;
        case LEDGER_STATE_UNKNOWN:
                world_count(world, FIGURE_UNKNOWN);
                /* Asked with the same number it is unknown, with the next one it is a retry. */
                retry(session, message, attempt + (percent(session, 30) ? 1 : 0));
                return;
        case LEDGER_STATE_FAILED:
                world_count(world, FIGURE_FAILED);
                retry(session, message, attempt + 1);
                return;
        case LEDGER_STATE_NOT_STARTED:
                world_count(world, FIGURE_NOT_STARTED);
                retry(session, message, attempt + 1);
                return;
        case LEDGER_STATE_NONE:
        case LEDGER_STATE_INTENDED:
        case LEDGER_STATE_ACTED:
        case LEDGER_STATE_SUPPRESSED:
        case LEDGER_STATE_COUNT:
                break;
        }
        world_release(world, message, 0);
}

static void not_started(Session *session, Message *message, const LedgerDecision *decision) {
        LedgerFinish item = {.id = decision->id,
                             .state = LEDGER_STATE_NOT_STARTED,
                             .exit_status = LEDGER_NO_STATUS};
        if (finish(session, &item)) {
                settle(session, message, item.state, decision->attempt);
        } else {
                world_release(session->world, message, 0);
        }
}

/* --- one restart -------------------------------------------------------------------------- */

static bool act_and_die(Session *session, int64_t id, int64_t start_us) {
        LedgerActed item = {.id = id,
                            .started_us = start_us,
                            .ended_us = ledger_clock(),
                            .exit_status = 0};
        while (must_ask_again(session,
                              ledger_acted(session->ledger, &item, 1, on_answer, session))) {
        }
        if (!session->result.did) {
                wrong(session, "acted was refused", ledger_state_name(session->result.state));
        }
        session->dead = percent(session, 15);
        if (session->dead) {
                world_count(session->world, FIGURE_DIED_ACTED);
        }
        return session->dead;
}

static LedgerState random_end(Session *session) {
        unsigned p = random_below(&session->random, 100);
        return p < 65 ? LEDGER_STATE_DONE : p < 85 ? LEDGER_STATE_FAILED : LEDGER_STATE_UNKNOWN;
}

/* The action is over; says so, also for others that waited for the host. */
static void end_restart(Session *session, Message *message, const LedgerDecision *decision,
                        size_t index, int64_t start_us, int64_t end_us) {
        World *world = session->world;
        Message *others[SHARED_MAX];
        LedgerShared shared[SHARED_MAX];
        LedgerFinish item = {.id = decision->id,
                             .state = random_end(session),
                             .started_us = start_us,
                             .ended_us = end_us,
                             .exit_status = 0};
        if (item.state == LEDGER_STATE_DONE && percent(session, 30)) {
                item.verified = true;
                if (act_and_die(session, item.id, start_us)) {
                        world_release(world, message, 0);
                        return;
                }
                item.ended_us = ledger_clock();
        }
        size_t n = percent(session, 20) ? world_take(world, message->host, others, SHARED_MAX) : 0;
        for (size_t i = 0; i < n; i++) {
                shared[i] = (LedgerShared){.source = 1,
                                           .offset = others[i]->offset,
                                           .requested_us = others[i]->requested_us,
                                           .received_us = others[i]->received_us};
        }
        item.shared = shared;
        item.n_shared = n;
        bool heard = finish(session, &item);
        if (heard) {
                journal_confirm(&world->journal, index, item.state, ledger_clock());
        }
        for (size_t i = 0; i < n; i++) {
                world_count(world, FIGURE_SHARED);
                if (heard && item.state == LEDGER_STATE_DONE) {
                        world_resolve(world, others[i]);
                } else {
                        world_release(world, others[i], 0);
                }
        }
        if (heard) {
                settle(session, message, item.state, decision->attempt);
        } else {
                world_release(world, message, 0);
        }
}

static void restart(Session *session, Message *message, const LedgerDecision *decision,
                    int64_t sent_us, int64_t granted_us) {
        World *world = session->world;
        const LedgerPolicy *policy = &world->rules.policy;
        if (percent(session, 3)) {
                session->dead = true;
                world_count(world, FIGURE_DIED_GRANTED);
                world_release(world, message, 0);
                return;
        }
        bool late = percent(session, 25);
        if (late) { /* it stands still for a while */
                nap(session, (int64_t)random_below(&session->random,
                                                   (unsigned)(policy->start_within_us * 5 / 4)));
        }
        int64_t now = ledger_clock();
        if (!ledger_may_start(policy, sent_us, now)) {
                world_count(world, FIGURE_TOO_LATE);
                not_started(session, message, decision);
                return;
        }
        if (percent(session, 5)) { /* could not be spawned */
                not_started(session, message, decision);
                return;
        }
        int64_t end = now + (int64_t)random_below(&session->random, (unsigned)policy->hold_us / 4);
        if (percent(session, 30)) {
                end = now + policy->hold_us; /* it uses all its time */
        }
        size_t index =
                journal_start(&world->journal, &(JournalStart){.id = decision->id,
                                                               .host = message->host,
                                                               .offset = message->offset,
                                                               .request = message->request,
                                                               .asked_us = sent_us,
                                                               .granted_us = granted_us,
                                                               .start_us = now,
                                                               .end_us = end,
                                                               .renewed = decision->renewed});
        world_count(world, FIGURE_STARTS);
        /* Who starts late and never says so is what a cool-down from the grant would overlook. */
        if (percent(session, late ? 30 : 5)) {
                session->dead = true;
                world_count(world, FIGURE_DIED_RUNNING);
                world_release(world, message, 0);
                return;
        }
        nap(session, end - now);
        if (percent(session, 12)) { /* stands still, perhaps until nobody waits for it any more */
                nap(session,
                    (int64_t)random_below(&session->random, (unsigned)(5 * policy->hold_us / 2)));
        }
        end_restart(session, message, decision, index, now, end);
}

/* --- verdicts ----------------------------------------------------------------------------- */

static void resolve_unknown(Session *session, Message *message, const LedgerDecision *decision,
                            bool has_before) {
        World *world = session->world;
        unsigned p = random_below(&session->random, 100);
        world_count(world, FIGURE_RESOLVED_UNKNOWN);
        if (p < 20) {
                world_resolve(world, message); /* rejected */
        } else if (p < 60) {
                retry(session, message, decision->attempt + 1);
        } else {
                LedgerFinish item = {.id = decision->id,
                                     .state = has_before ? LEDGER_STATE_DONE : LEDGER_STATE_FAILED,
                                     .verified = has_before,
                                     .exit_status = LEDGER_NO_STATUS};
                if (!finish(session, &item)) {
                        world_release(world, message, 0);
                        return;
                }
                journal_confirm_id(&world->journal, item.id, item.state, ledger_clock());
                settle(session, message, item.state, decision->attempt);
        }
}

static void verify(Session *session, Message *message, const LedgerDecision *decision) {
        LedgerFinish item = {.id = decision->id,
                             .state = LEDGER_STATE_DONE,
                             .verified = true,
                             .exit_status = LEDGER_NO_STATUS};
        world_count(session->world, FIGURE_VERIFIED_LATER);
        if (!finish(session, &item)) {
                world_release(session->world, message, 0);
                return;
        }
        journal_confirm_id(&session->world->journal, item.id, item.state, ledger_clock());
        settle(session, message, item.state, decision->attempt);
}

static void wait_for_turn(Session *session, Message *message, const LedgerDecision *decision) {
        World *world = session->world;
        world_count(world, FIGURE_WAITS);
        if (decision->fuse_blew) {
                world_count(world, FIGURE_FUSE);
        }
        if (decision->reason == LEDGER_REASON_ATTEMPT) {
                retry(session, message, decision->attempt + 1);
                return;
        }
        int64_t longest = 20 * MS + (int64_t)random_below(&session->random, 40 * MS);
        world_release(world, message, decision->again_us < longest ? decision->again_us : longest);
}

static void carry_out(Session *session, Message *message, size_t i, int64_t sent_us,
                      int64_t granted_us) {
        World *world = session->world;
        const LedgerDecision decision = session->decisions[i];
        atomic_fetch_add(&world->reasons[decision.reason], 1);
        switch (decision.verdict) {
        case LEDGER_VERDICT_START:
                if (decision.renewed) {
                        world_count(world, FIGURE_RENEWED);
                }
                restart(session, message, &decision, sent_us, granted_us);
                return;
        case LEDGER_VERDICT_DONE:
                if (decision.suppressed_now) {
                        world_count(world, FIGURE_SUPPRESSED);
                }
                world_resolve(world, message);
                return;
        case LEDGER_VERDICT_VERIFY:
                verify(session, message, &decision);
                return;
        case LEDGER_VERDICT_UNKNOWN:
                resolve_unknown(session, message, &decision, session->has_before[i]);
                return;
        case LEDGER_VERDICT_WAIT:
                wait_for_turn(session, message, &decision);
                return;
        case LEDGER_VERDICT_REJECT:
                world_count(world, FIGURE_REJECTED);
                world_resolve(world, message);
                return;
        }
}

/* --- claims ------------------------------------------------------------------------------- */

static LedgerRequest make_request(Session *session, Message *message, char *host, char *id) {
        if (message->numbered_by != session->incarnation) {
                message->numbered_by = session->incarnation;
                message->attempt = 1;
        }
        world_host_name(message->host, host);
        snprintf(id, HOST_NAME_SIZE, "r%u", message->request);
        return (LedgerRequest){
                .source = 1,
                .offset = message->offset,
                .attempt = message->attempt,
                .host = host,
                .request_id = message->request != 0 ? id : NULL,
                .requested_us = message->requested_us,
                .received_us = message->received_us,
                .before = message->offset % 2 == 0 ? "boot" : NULL,
                .group = message->host < session->world->rules.grouped
                                 ? &session->world->rules.group
                                 : NULL,
        };
}

static void claim(Session *session) {
        World *world = session->world;
        Message *messages[BATCH_MAX];
        LedgerRequest requests[BATCH_MAX];
        char hosts[BATCH_MAX][HOST_NAME_SIZE], ids[BATCH_MAX][HOST_NAME_SIZE];
        /* It acts on one after the other, so of many some grants get too old. */
        size_t most = percent(session, 15) ? BATCH_MAX : 1;
        size_t n = world_take(world, -1, messages, most);
        if (n == 0) {
                nap(session, 2 * MS);
                return;
        }
        for (size_t i = 0; i < n; i++) {
                requests[i] = make_request(session, messages[i], hosts[i], ids[i]);
        }
        int r;
        do {
                r = ledger_claim(session->ledger, &world->rules.policy, requests, n, on_answer,
                                 session);
                if (r == 0 && percent(session, 1)) {
                        nap(session, (int64_t)random_below(&session->random, 3 * MS));
                        session->dead = true;
                        world_count(world, FIGURE_DIED_IN_CLAIM);
                        break;
                }
        } while (must_ask_again(session, r));
        int64_t sent = session->sent_us, granted = ledger_clock();
        for (size_t i = 0; i < n; i++) {
                if (session->dead) {
                        world_release(world, messages[i], 0);
                } else {
                        carry_out(session, messages[i], i, sent, granted);
                }
        }
}

static void on_up(void *user, bool up, const char *why) {
        (void)user;
        (void)up;
        (void)why;
}

static void live(Session *session) {
        World *world = session->world;
        char *error = NULL, name[32];
        snprintf(name, sizeof(name), "session %llu", (unsigned long long)session->incarnation);
        PgOptions options = {.dsn = world->dsn,
                             .schema = "ackd",
                             .application_name = "ackd stress",
                             .connections = 1,
                             .statement_timeout_us = 30 * 1000 * MS};
        if (loop_init(&session->loop) != 0 ||
            pg_pool_new(&session->pool, &session->loop, NULL, &options, on_up, NULL, &error) != 0 ||
            ledger_new(&session->ledger, session->pool, "ackd", name) != 0) {
                printf("cannot begin: %s\n", error != NULL ? error : "");
                exit(1);
        }
        loop_timer_init(&session->timer, &session->loop, "stress", on_timer);
        session->dead = false;
        while (!session->dead && !atomic_load(&world->stop)) {
                claim(session);
        }
        loop_timer_stop(&session->timer);
        pg_pool_free(session->pool);
        ledger_free(session->ledger);
        loop_deinit(&session->loop);
}

void *session_run(void *user) {
        SessionArguments *arguments = user;
        Session *session = calloc(1, sizeof(*session));
        if (session == NULL) {
                perror("calloc");
                exit(1);
        }
        session->world = arguments->world;
        session->random = arguments->world->seed * 1000003 + (uint64_t)arguments->index + 1;
        while (!atomic_load(&session->world->stop)) {
                session->incarnation = atomic_fetch_add(&session->world->incarnations, 1) + 1;
                live(session);
        }
        free(session);
        free(arguments);
        return NULL;
}
