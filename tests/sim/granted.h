#pragma once

/* The world's books of what the ledger granted, and of what was started for real. */

#include "claims.h"

enum {
        GROUPS = 2,
};

/* What was granted, and what became of it. Times are the ledger's where nothing else is said. */
typedef struct Intent {
        int64_t id;
        char host[HOST_SIZE];
        const char *group; /* NULL: none */
        char *request_id;  /* NULL: none */
        AskedMessage leader;
        int32_t instance;
        int64_t intended_us, held_us;
        bool gone;            /* a database that went back has no row of it, */
        bool forgotten;       /* or lacks what was said of it last: nothing is judged by it */
        LedgerState told;     /* INTENDED, until somebody says more and it is durable */
        int64_t told_us;      /* when; then the intent's end, unless it is ACTED */
        int64_t real_us;      /* the action started for real; -1: it did not (yet, or surely) */
        int64_t real_end_us;  /* and was over: the world's time */
        bool unclaimed;       /* nobody knows that he has it, or he cannot tell its end */
        bool late;            /* its process was stopped between the last look and the spawn */
        AskedMessage *shared; /* that were told to share it */
        size_t n_shared;
} Intent;

typedef struct HoldKnown {
        int64_t id; /* -1: the fuse's */
        char pattern[16];
        int64_t until_us; /* INT64_MAX */
        bool lifted;
} HoldKnown;

/* A host as it really is. */
typedef struct HostKnown {
        char host[HOST_SIZE];
        int boots;
} HostKnown;

typedef struct Claims {
        SimLedger *ledger, *standby;
        int64_t clock_us;   /* what the server's clock is ahead of the world's */
        int64_t standby_us; /* when the copy was made */
        int64_t fuse_lifted_us;
        int32_t instances;
        LedgerPolicy policy; /* but for max_wait */
        LedgerGroup groups[GROUPS];
        size_t n_groups;
        bool verify, precheck;
        int64_t timeout_us, verify_us;
        Intent *intents;
        size_t n_intents, intents_capacity;
        HoldKnown *holds;
        size_t n_holds, holds_capacity;
        HostKnown *hosts;
        size_t n_hosts, hosts_capacity;
        LedgerCall *ghosts[GHOSTS_MAX];
        size_t n_ghosts;
        uint64_t late; /* what could not be closed */
} Claims;

void granted_free(Claims *claims);
/* NULL: none, or one that is gone. */
Intent *granted_find(Claims *claims, int64_t id);
bool granted_is_gone(const Claims *claims, int64_t id);
HostKnown *granted_host(Claims *claims, const char *host);

HoldKnown *granted_add_hold(Claims *claims, HoldKnown hold);

/* The ledger decided so, now: invariants 7, 8, 9. */
void granted_decided(World *world, const LedgerCall *call, const Asked *asked);
/* After all of a call, in which the order is the ledger's. */
void granted_fuse_blew(World *world);
/* It was told so, and says this. */
void granted_told(World *world, const LedgerCall *call, const Asked *asked);
/* The action starts for real, at world time @at: invariants 7, 8, 9. @late: see Intent. */
void granted_started(World *world, const Daemon *daemon, const Run *run, Intent *intent, int64_t at,
                     int64_t end_us);
/* Rows that are newer than the standby are gone. */
void granted_goes_back(World *world);
