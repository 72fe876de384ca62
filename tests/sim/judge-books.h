#pragma once

/*
 * The judge's books, and what its files share; nobody else includes it.
 *
 *   judge.c       partitions, batches, commits, messages, the shutdown
 *   judge-runs.c  the rules of restarts, and of what the ledger of restarts is asked
 *   judge-run-books.c  what happened to them, from the first question until the ledger has the end
 */

#include "judge.h"

/* Of a replay: what is known of the row that it names. */
typedef enum ReplayKnown {
        REPLAYED_NOT,  /* it is none, or its row answered that it is an ordinary message */
        REPLAYED_OPEN, /* its row has not answered */
        REPLAYED_OURS,
        REPLAYED_DUPLICATE,
} ReplayKnown;

/* A message as the judge knows it. */
typedef struct Known {
        int64_t offset;
        bool resolved, released;
        bool passed;    /* when it was read: handled before. Not when its partition was held, which
                           is not told: it comes again */
        bool gap;       /* no message stands there: the end of the log is behind it */
        bool restarted; /* a run with it ended well, or so that it counts as well; or the ledger
                           says that nothing is left to do */
        bool refused;   /* it is to be rejected: the ledger, or its check, says so */
        bool aside;     /* it is only to be written down as suppressed: no restart that waits */
        ReplayKnown replay;
        unsigned done;                       /* of REPLAYED_OURS: 1 << HandlerId */
        bool unknown;                        /* its row says that: an attempt more, unless a guard
                                                 refuses it; see judge_count_unknown() */
        int charged, attempts;               /* by the judge's own count */
        int32_t claim;                       /* the number of its next claim; 0: any */
        int64_t fetched_us, fetched_last_us; /* what was read while its partition was held, which
                                                 is not told, was received later */
        int64_t ended_us;                    /* of the newest run with it; -1: none */
        int64_t after_us;                    /* from then on to its next attempt, at least */
        int64_t due_us;                      /* of its retry, or of the next question; -1: none */
        bool held;                           /* it waits for a hold, */
        uint64_t holds;                      /* since Judge.holds was this */
        uint64_t in_run;                     /* 0: none */
        Outcome outcome;                     /* of the newest run with it */
} Known;

typedef enum Phase {
        PHASE_ASSIGNED,
        PHASE_REVOKED,
        PHASE_GONE,
} Phase;

/* An assignment: one epoch of one partition. */
typedef struct Epoch {
        uint64_t epoch;
        int32_t partition;
        int32_t source; /* -1: not known yet */
        char *topic;
        Phase phase;
        bool revoked_quiet; /* and everything from before was told */
        bool gone;          /* the look found no commit of ours */
        bool unseen;        /* the look gave no answer for it */
        bool adopt_failed;  /* and was not looked up since */
        bool doubted;       /* vanished or out of range, and not looked up since */
        bool out_of_range;  /* not in its log */
        bool lost, lost_quiet, starting, decided, active, paused,
                dead;      /* dead: a newer epoch of the same assignment */
        int64_t looked;    /* the committed offset that was looked up, */
        bool flux;         /* while a commit of the partition was under way */
        int64_t confirmed; /* newest commit that Kafka confirmed */
        int64_t fence;
        int64_t saving; /* a batch may move the fence up to here; -1: none is under way */
        int64_t start;
        int64_t *passed; /* rejected by somebody before; sorted */
        size_t n_passed;
        Known *known; /* by offset */
        size_t n, capacity;
        size_t checked; /* of them, below a commit: resolved, and stay so */
} Epoch;

/* How far a run is. Those with a * are over when no action follows. */
typedef enum Step {
        STEP_CHECKING,
        STEP_CHECKED,    /* * go: a claim */
        STEP_CLAIMING,   /* */
        STEP_DOUBT,      /* the reply was lost: the same again, in a while */
        STEP_CLAIM_ANEW, /* * the same again at once, or with another number */
        STEP_GRANTED,    /* it starts, or is given back */
        STEP_ACTING,     /* */
        STEP_VERIFYING,  /* ACTED and VERIFY, in any order */
        STEP_ENDS,       /* its end is to be told */
        STEP_ENDING,     /* */
        STEP_TELL_AGAIN, /* the same end, in a while or at once */
} Step;

/* A question that is asked beside another one. */
typedef enum Ask {
        ASK_NOT,
        ASK_NOW,   /* it is to be asked */
        ASK_OPEN,  /* */
        ASK_AGAIN, /* in a while */
        ASK_OVER,
} Ask;

typedef struct RunKnown {
        struct RunKnown *next; /* in its bucket, by id */
        struct RunKnown *next_host;
        uint64_t id;
        char host[256];
        Step step;
        bool aside;          /* only for a row in the ledger: no slot */
        bool before;         /* there is something to compare with */
        bool alone;          /* a question was refused */
        bool acted_alone;    /* ... the one that its action ended well */
        bool doubt;          /* a reply to its claim was lost */
        bool doubted;        /* granted, though none was lost: to whom, nobody knows */
        bool was_unknown;    /* the ledger's row says so */
        bool put_back;       /* granted, and not started */
        ObservedItem leader; /* its message */
        int64_t source, attempt, suppress; /* of its claim */
        int64_t ledger_id;                 /* 0: none */
        int64_t acting_us, retry_after_us; /* 0: not */
        uint64_t holds;                    /* Judge.holds when the claim was sent */
        Ask acted, verify;
        VerifyResult result;
        bool ended_well; /* the action */
        Outcome outcome; /* what is told to the ledger, */
        bool charged;
        LedgerState state; /* in its words */
        bool verified;
        bool touched; /* in Judge.touched */
        struct RunKnown *next_touched;
        size_t n;
        ObservedItem *items; /* its messages */
} RunKnown;

enum {
        RUN_BUCKETS = 256, /* there may be thousands of runs without `concurrency` */
};

enum {
        FAILURES = 32,
        LAST_COMMIT_US = 1500 * 1000, /* of a revoke whose bound is over */
        ASK_TURN_US = 4000,           /* hosts that wait are asked for in turn, so far apart */
};

/* An action of a host that surely began, or may have. */
typedef struct StartKnown {
        struct StartKnown *next;
        int64_t us;
        char host[];
} StartKnown;

typedef struct BatchKnown {
        uint64_t id;
        int kind; /* EngineActionType */
        size_t n;
        ObservedItem *items;
} BatchKnown;

struct Judge {
        JudgeLimits limits;
        JudgeBroken broken;
        void *user;
        Epoch *epochs; /* by number */
        size_t n_epochs, epochs_capacity;
        RunKnown *runs[RUN_BUCKETS], *hosts[RUN_BUCKETS];
        RunKnown *touched;               /* since an action was left */
        size_t n_slots;                  /* runs that take one; of them, */
        size_t n_maybe;                  /* those that may be over */
        uint64_t holds;                  /* how often they changed */
        size_t n_asking;                 /* runs that ask something again, in a while */
        StartKnown *starts[RUN_BUCKETS]; /* of a host the newest, by its bucket */
        BatchKnown *batches;
        size_t n_batches, batches_capacity;
        bool look_open, looked, committing; /* of the commit in flight */
        uint64_t *committed;                /* its epochs */
        size_t n_committed, committed_capacity;
        bool stopped, stopped_quiet, released, reading, revoking, flushed;
        bool shut;                    /* it was told that no window is open */
        bool asking_replays;          /* and what they stand for is to be answered */
        bool replays_seen;            /* since this judge looks on */
        int64_t revoked_us, hurry_us; /* the revoke came, its bound was over; -1: not */
        bool revoke_failed;           /* a commit failed since then */
        bool flush_failed;
        struct {
                uint64_t batch;
                int64_t us;
        } failures[FAILURES]; /* of batches; a ring */
        size_t n_failures;
        struct {
                uint64_t epoch;
                int64_t offset, from_us, us; /* it is due between these */
                bool ask;                    /* in turn with others, see ASK_TURN_US */
        } * retries;                         /* that are to come */
        size_t n_retries, retries_capacity;
        int64_t now;
        uint64_t finished[FINISH_COUNT];
};

void judge_broken(Judge *judge, int invariant, const char *format, ...)
        __attribute__((format(printf, 3, 4)));

/* NULL: nobody knows it; here and below. */
Epoch *judge_epoch(const Judge *judge, uint64_t epoch);
Known *judge_known(const Epoch *epoch, int64_t offset);
Known *judge_known_of(const Judge *judge, const ObservedItem *item);
/* Whether what waits since then has waited as long as it may, at @now. */
bool judge_has_waited(const Judge *judge, int64_t since, int64_t now);
/* Its retry, or the next question for it, is due from @from_us on, and told of until @us. */
void judge_due(Judge *judge, uint64_t epoch, int64_t offset, int64_t from_us, int64_t us, bool ask);
/* It is tried again, or has ended. */
void judge_forget_due(Judge *judge, uint64_t epoch, int64_t offset);

/* --- judge-run-books.c --- */

/* An action that may lead to a start. */
static inline bool seen_is_towards_a_start(const Observation *seen) {
        return seen->type == OBSERVED_ACTION &&
               (seen->kind == ENGINE_CHECK || seen->kind == ENGINE_CLAIM ||
                seen->kind == ENGINE_RESTART);
}

static inline bool seen_is_of_a_run(const Observation *seen) {
        return seen_is_towards_a_start(seen) ||
               (seen->type == OBSERVED_ACTION &&
                (seen->kind == ENGINE_ACTED || seen->kind == ENGINE_VERIFY ||
                 seen->kind == ENGINE_CONCLUDE));
}

/* Its messages have nothing to be restarted for. */
static inline bool run_is_aside(const Observation *seen) {
        return seen->kind == ENGINE_CLAIM && (seen->numbers[3] == LEDGER_REASON_NOT_SELECTED ||
                                              seen->numbers[3] == LEDGER_REASON_HANDLED);
}

size_t runs_hash(const char *host);
RunKnown *runs_find(const Judge *judge, uint64_t id);
/* It is over when no action of it follows. */
bool run_may_be_over(const RunKnown *run);
/* Whether somebody waits for what becomes of the leader. */
bool run_is_wanted(const Judge *judge, const RunKnown *run);
/* Where the newest action of the host is, or belongs. */
StartKnown **runs_start(Judge *judge, const char *host);
/* Whether the message is in a run that has not ended. */
bool runs_have(const Judge *judge, const Known *known);
void runs_book(Judge *judge, const Observation *seen);
void runs_free(Judge *judge);

/* --- judge-runs.c --- */

/* Its rules, in the order of what may be broken. */
void runs_one_at_a_time(Judge *judge, const Observation *seen);
void runs_are_wanted(Judge *judge, const Observation *seen);
void runs_follow_the_ledger(Judge *judge, const Observation *seen);
void runs_repeat_nothing_unknown(Judge *judge, const Observation *seen);
void runs_wait(Judge *judge, const Observation *seen);
void runs_are_charged(Judge *judge, const Observation *seen);

/* At the first look at its attempts, of which @charged are charged. */
void judge_count_unknown(Known *known, int64_t charged);
void runs_fit_in(Judge *judge, const Observation *seen);
void runs_are_not_early(Judge *judge, const Observation *seen);
void runs_are_counted(Judge *judge, const Observation *seen);
void runs_are_not_forgotten(Judge *judge, const Observation *seen);
