#pragma once

/*
 * What really happened, kept outside the database: every start of an action with its moment, and
 * what became of it. The judge reads it at the end and knows nothing of the ledger but its
 * promises. Times are CLOCK_BOOTTIME in µs. Any thread.
 */

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "pg/ledger.h"

typedef struct JournalStart {
        int64_t id; /* restarts.id */
        int host;
        int64_t offset;     /* of the message */
        unsigned request;   /* its id; 0: none */
        int64_t asked_us;   /* when the claim was sent */
        int64_t granted_us; /* when its answer was there */
        int64_t start_us;
        int64_t end_us;      /* when the action ends, whether or not its session lives then */
        bool renewed;        /* granted already when its reply was lost */
        LedgerState outcome; /* confirmed by the ledger; NONE: nobody said */
        int64_t confirmed_us;
} JournalStart;

/* A hold that a person or the fuse put on a host; -1: on all. Certain from @began_us to @ended_us.
 */
typedef struct JournalHold {
        int host;
        int64_t began_us;  /* it was committed before */
        int64_t ended_us;  /* it was lifted after; 0: still there */
        int64_t lifted_us; /* lifting it was committed before */
        bool fuse;
} JournalHold;

typedef struct Journal {
        pthread_mutex_t mutex;
        JournalStart *starts;
        size_t n_starts, starts_capacity;
        JournalHold *holds;
        size_t n_holds, holds_capacity;
} Journal;

/* What the ledger promised; as in LedgerPolicy. */
typedef struct JournalRules {
        int hosts;
        int grouped; /* hosts 0 to grouped - 1 are one group */
        LedgerGroup group;
        LedgerPolicy policy;
        int64_t tolerance_us; /* by which two clocks of one machine may differ in a cool-down */
} JournalRules;

void journal_init(Journal *journal);
void journal_deinit(Journal *journal);

/* Adds one; returns its index. */
size_t journal_start(Journal *journal, const JournalStart *start);
void journal_confirm(Journal *journal, size_t index, LedgerState outcome, int64_t now_us);
/* The same for all starts of a message, when its end was found by somebody else. */
void journal_confirm_id(Journal *journal, int64_t id, LedgerState outcome, int64_t now_us);
size_t journal_hold(Journal *journal, const JournalHold *hold);
void journal_lift(Journal *journal, size_t index, int64_t ended_us, int64_t lifted_us);

/* Prints each broken promise; returns how many. Sorts the journal. */
unsigned journal_judge(Journal *journal, const JournalRules *rules);
