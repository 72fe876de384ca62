#pragma once

/*
 * The ledger of restarts as PostgreSQL keeps it: the tables restarts, hosts and holds, and the
 * functions claim, acted and finish of src/pg/ledger.sql. Pure: every call is one transaction, all
 * or nothing, and at one moment; when it happens, in which order and whether its reply arrives is
 * the caller's. test-ledger-twin gives the same calls to a real one.
 *
 * What is for people alone is left out: LedgerDecision.detail is empty, there is no action, no name
 * of an instance, no reason of a hold. The row of `fleet` is a lock, and here nobody waits.
 *
 * Times are µs since 1970 by the server's clock, where nothing else is said; SIM_LEDGER_NEVER is
 * null. They may go back: after a failover it is another server's clock.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "pg/ledger.h"

typedef struct SimLedger SimLedger;

enum {
        SIM_LEDGER_NEVER = -1,
};

/* A row of `restarts`. Its texts are the ledger's, and live until something is written to it. */
typedef struct SimLedgerRow {
        int64_t id; /* from 1 on, without gaps: a call that is refused takes its numbers back */
        int32_t source;
        int64_t offset;
        int32_t attempt;
        const char *host;
        const char *group; /* NULL: null, here and below */
        const char *request_id;
        int64_t requested_us;
        int64_t received_us;
        LedgerState state;
        const char *reason;
        int64_t shared_with; /* 0: null */
        int32_t instance;
        const char *before;
        int64_t intended_us, held_until_us, started_us, acted_us, ended_us;
        int32_t exit_status; /* LEDGER_NO_STATUS: null */
        const char *output;
} SimLedgerRow;

/* A row of `hosts`. The ids are 0 for null. */
typedef struct SimLedgerHost {
        const char *host; /* the ledger's */
        int64_t open_id, held_until_us;
        int64_t last_id, last_start_us;
        int64_t done_id, done_start_us;
        int64_t covers_until_us;
} SimLedgerHost;

/* A row of `holds`. */
typedef struct SimLedgerHold {
        int64_t id;
        const char *pattern; /* the ledger's */
        bool fuse;
        int64_t since_us, until_us, lifted_us;
} SimLedgerHold;

/* What a claim asks of the table `messages`: the smallest received_at of the message's rows that
 * lies in @from_us..@to_us, ends included (@from_us may be INT64_MIN); SIM_LEDGER_NEVER: none. */
typedef struct SimReceipts {
        int64_t (*first)(void *user, int32_t source, int64_t offset, int64_t from_us,
                         int64_t to_us);
        void *user;
} SimReceipts;

/* These end the program when there is no memory. */
SimLedger *sim_ledger_new(void);
void sim_ledger_free(SimLedger *ledger); /* NULL is allowed */
/* All that it holds at this moment, to be freed by the caller: what a standby has, or a backup. */
SimLedger *sim_ledger_copy(const SimLedger *ledger);

/*
 * As ledger_claim(), ledger_acted() and ledger_finish(), and what they say about their arguments
 * holds here too. @instance: the process, any number. @receipts: NULL when nothing was saved.
 * LedgerDecision.before lives until the next call that writes. @clock_us: CLOCK_BOOTTIME of the
 * caller when it sends, of which started_us and ended_us are times.
 *
 * LEDGER_END_DONE, or LEDGER_END_REFUSED when an item of finish shares with one message twice; then
 * nothing has changed and @results is not written.
 */
MUST_CHECK LedgerEnd sim_ledger_claim(SimLedger *ledger, int32_t instance,
                                      const LedgerPolicy *policy, const LedgerRequest *requests,
                                      size_t n, int64_t now_us, const SimReceipts *receipts,
                                      LedgerDecision *decisions);
MUST_CHECK LedgerEnd sim_ledger_acted(SimLedger *ledger, const LedgerActed *items, size_t n,
                                      int64_t now_us, int64_t clock_us, LedgerResult *results);
MUST_CHECK LedgerEnd sim_ledger_finish(SimLedger *ledger, const LedgerFinish *items, size_t n,
                                       int64_t now_us, int64_t clock_us, LedgerResult *results);

/* An operator's hold; returns its id. @until_us may be SIM_LEDGER_NEVER. */
int64_t sim_ledger_hold(SimLedger *ledger, const char *pattern, int64_t now_us, int64_t until_us);
/* It gets another end, which ends a fuse's hold as lifting does. */
void sim_ledger_hold_until(SimLedger *ledger, int64_t id, int64_t until_us);
/* Lifts it, or the fuse's; one that was lifted stays as it is. */
void sim_ledger_unhold(SimLedger *ledger, int64_t id, int64_t now_us);

/* For judges. Rows have the ids 1 to n, and so have holds; hosts come in the order in which they
 * were first asked for, from 0 on. */
size_t sim_ledger_rows(const SimLedger *ledger);
SimLedgerRow sim_ledger_row(const SimLedger *ledger, int64_t id);
size_t sim_ledger_hosts(const SimLedger *ledger);
SimLedgerHost sim_ledger_host(const SimLedger *ledger, size_t i);
/* False: it has no row. */
bool sim_ledger_find_host(const SimLedger *ledger, const char *name, SimLedgerHost *host);
size_t sim_ledger_holds(const SimLedger *ledger);
SimLedgerHold sim_ledger_hold_row(const SimLedger *ledger, int64_t id);
/* No row is of a message of the source from this offset on. */
int64_t sim_ledger_claimed(const SimLedger *ledger, int32_t source);
/* The largest attempt of a message; 0: it has no row. */
int32_t sim_ledger_attempts(const SimLedger *ledger, int32_t source, int64_t offset);
