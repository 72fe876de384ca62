#pragma once

/*
 * The ledger of restarts in the world: what a simulated daemon asks of it (a twin of
 * handlers/claims.c and of the actions themselves), how the questions fare on their way, and the
 * world's own books of what was granted and what was started.
 *
 * The books do not believe the ledger (ledger.h): whether a host may be restarted now is reckoned
 * anew from what was granted, started and told, with the ledger's clock. What a standby did not
 * know when it took over is excused.
 *
 * What cannot be closed is counted, not judged: a process that is stopped between its last look at
 * the clock and the spawn.
 */

#include "ledger.h"
#include "world.h"

typedef enum Question {
        QUESTION_CLAIM,
        QUESTION_ACTED,
        QUESTION_CONCLUDE,
        QUESTIONS,
} Question;

/* A message, wherever its daemon is by then. */
typedef struct AskedMessage {
        int32_t source; /* another one after `ackd partition --new-topic`, though it is the same */
        int partition;
        uint64_t incarnation; /* of its log; UINT64_MAX: it is no more */
        int64_t offset;
} AskedMessage;

typedef struct Asked {
        Run *run; /* while the daemon lives */
        char host[HOST_SIZE];
        char *request_id, *before, *found; /* `found`: LedgerDecision.before */
        LedgerRequest request;
        LedgerActed acted;
        LedgerFinish finish;
        LedgerDecision decision;
        LedgerResult result;
        AskedMessage *messages; /* of the leader, then those that share */
        LedgerShared *shared;
        size_t n_messages;
} Asked;

/* One call of pg/ledger.h. */
typedef struct LedgerCall {
        Question question;
        int32_t instance;
        int64_t sent_us;
        LedgerPolicy policy;
        bool applied;
        bool is_ghost; /* nobody waits for it any more */
        LedgerEnd end;
        size_t n;
        Asked *items;
} LedgerCall;

void claims_call_free(LedgerCall *call); /* NULL is allowed */

/* --- the world's --- */

void claims_world_begin(World *world);
void claims_world_end(World *world);
int64_t claims_clock(const World *world); /* the server's */
/* One that was sent by somebody who does not wait for it any more is carried out. */
void claims_ghost_ends(World *world);
void claims_drop_ghosts(World *world);
/* The standby of store.h has this too. */
void claims_standby_copies(World *world);
void claims_go_back(World *world);
void claims_lose(World *world); /* another database */
/* Somebody puts a hold on hosts, or lifts one. */
void claims_operator_acts(World *world);
/* Every hold is lifted. */
void claims_lift_all(World *world);
/* Whether every life's intents have ended, but for what the dead left. */
void claims_check_end(World *world);

/* --- a daemon's --- */

/* Before the engine is made. */
void claims_begin(Daemon *daemon);
/* CHECK, CLAIM, ACTED, VERIFY, CONCLUDE. */
void claims_ask(Daemon *daemon, const EngineAction *action);
/* What was gathered goes out: at the end of a turn. */
void claims_send(Daemon *daemon);
/* RESTART. False: it is too late for it. */
bool claims_start(Daemon *daemon, Pending *pending);

void claims_answer(Daemon *daemon, Pending *pending);
/* The server carries it out while the reply takes its time. */
void claims_work(Daemon *daemon, Pending *pending);
/* Whether max_wait is over for it, by the ledger's clock. */
bool claims_has_waited(const Daemon *daemon, const Fate *fate);
/* Its life is over, and its actions with it. */
void claims_life_ends(Daemon *daemon);
/* The same: what is under way may go on at the server. */
void claims_abandon(Daemon *daemon, Pending *pending);
