#pragma once

/*
 * What the engine's files share; nobody else includes it.
 *
 *   engine.c     events, the queue of actions, what is due
 *   guards.c     what keeps a restart from starting: who may, when, for how long it waits
 *   task.c       a message: admitted, its handlers' outcomes, its verdict, its end
 *   partition.c  an assignment: looked up, started, stopped, drained
 *   commits.c    what is committed, and when
 *   replays.c    what is asked of the rows that replays name, and what follows
 *   lanes.c      what waits for PostgreSQL: batches, fences, rejected rows
 *   hosts.c      what waits for a host, and whose turn it is
 *   runs.c       a restart: asked for, carried out, verified, written down
 *
 * An event changes states and links; engine_dispatch() then starts whatever has become possible.
 */

#include "core/engine.h"

struct Host {
        struct Host *next; /* in its bucket */
        Run *run;          /* the restart that is asked for or under way, or NULL */
        List waiting;      /* Message.host_link */
        List link;         /* Engine.fresh or .again, while it has waiting messages and no run */
        size_t n_waiting;
        bool again;             /* one of those that wait has failed before */
        HeapNode ask;           /* in Engine.asks while it has to wait for this: */
        RestartWait wait;       /* WAIT_NONE: it need not */
        RestartWait told;       /* what was said last of it */
        RestartWait since_wait; /* for what it had to wait last, however often it was asked for in
                                   between; WAIT_NONE: it was restarted since, or never */
        int64_t since_us;       /* since when */
        size_t hash;
        char name[];
};

/* What stopped the intake. */
typedef enum LimitKind {
        LIMIT_NONE,
        LIMIT_COUNT,
        LIMIT_BYTES,
        LIMIT_WAITING,
} LimitKind;

struct Engine {
        const EngineConfig *config;
        int64_t now; /* of the newest event */
        uint64_t random;
        EngineAction *actions; /* a ring */
        size_t actions_capacity, actions_head, actions_count;
        List gone;       /* Partition.link: let go, until ENGINE_UNASSIGN was carried out */
        bool unassigned; /* the newest action is ENGINE_UNASSIGN */
        List partitions; /* Partition.link; in the order in which batches serve them */
        uint64_t epochs, batch_ids;
        Heap retries; /* Message.retry */
        List rejects; /* Message.lane_link: waiting for a row in `rejected` */
        List batches; /* Batch.link: under way, or waiting to be tried again */
        size_t n_batches;
        Host **buckets;
        size_t n_buckets, mask; /* mask + 1: a power of two, for so many is room */
        size_t n_hosts;
        size_t n_waits[WAIT_REASONS]; /* messages in all Host.waiting: WAIT_HOST, or why their host
                                         has to wait, or WAIT_SLOT. Engine.aside, and what is
                                         undecided: Replay.wait */
        Heap asks;                    /* Host.ask: when it is asked again whether it may start */
        List aside;                   /* Message.host_link: to be written down as suppressed */
        size_t n_aside;               /* runs for these */
        List undecided;               /* Message.host_link: replays to be asked for */
        List replays_later;           /* the same, in the order of Replay.again_us */
        ReplayQuestions *asking;      /* under way; NULL: none */
        int64_t replays_us;           /* none are asked for before */
        unsigned replay_failures;     /* in a row */
        Heap run_retries;             /* Run.retry */
        int64_t ledger_us;            /* it is asked for nothing new before */
        unsigned ledger_failures;     /* in a row */
        List received; /* Message.wait_link: in the order in which they came; with `max_wait` */
        bool clock_known;
        int64_t wall_ahead_us;   /* the wall clock, less @now */
        WindowsState windows;    /* as they were when the wall clock said */
        int64_t windows_from_us; /* this */
        int64_t windows_ask_us;  /* when they are to be asked again while they are shut */
        bool shut;               /* no restart starts: no window is open */
        List fresh; /* Host.link: to be restarted, in the order in which they became ready */
        List again; /* Host.link: the same, but restarting failed before */
        List runs;  /* Run.link */
        size_t n_runs, n_runs_again; /* with a host: they take slots */
        int64_t no_fresh_us;         /* when no fresh host was waiting, last */
        int64_t debt_us; /* of slots' time that retries owe to fresh work, see hosts.c */
        size_t retrying; /* messages that failed and are not resolved */
        size_t retrying_bytes;
        bool retries_crowd; /* they have their share: nothing fresh starts */
        uint64_t run_ids;
        uint64_t holds; /* how often they changed */
        size_t in_flight, in_flight_bytes, waiting;
        size_t n_states[HANDLER_COUNT][HANDLER_STATES]; /* messages, see message_set_state() */
        LimitKind stopped_by;
        bool reading, stopping, released, flush;
        bool cancelling;  /* a partition is */
        bool unconfirmed; /* let go at the end before its last commit was confirmed */
        Commit commit;
        int64_t commit_due_us; /* INT64_MAX: nothing to commit */
        int64_t commit_last_us;
        bool commit_failed; /* the newest one */
        bool draining;      /* a revoke is being answered */
        bool drain_hurried; /* its bound is over, only a last commit is waited for */
        int64_t drain_until_us;
        unsigned mixed;      /* batches in a row of which PostgreSQL refused every row */
        int64_t database_us; /* no batch begins before: PostgreSQL refused one for no row's fault */
        int64_t saved_us;    /* when one was saved last */
        bool trouble[BATCH_KINDS]; /* one failed since NOTE_SAVE_WORKS */
        bool fresh_first;          /* the last connection went to a retry */
        Partition *held;           /* of the newest action: a reference until the next is taken */
        void *held_text;           /* the same: EngineAction.owned */
        EngineTotals totals;
        ObservedItem *observed; /* of the observation that is being made */
        size_t n_observed, observed_capacity;
};

/* Appends an action. -ENOMEM. */
MUST_CHECK int engine_act(Engine *engine, const EngineAction *action);

/* --- task.c --- */

/* Makes the message of @record and puts it where its handlers find it. */
MUST_CHECK int message_admit(Partition *partition, const Record *record, int64_t wall);

/* The same for an offset that no message stands for: only the fence and the watermark pass it. */
MUST_CHECK int message_admit_gap(Partition *partition, int64_t offset, int64_t wall);

/* The fault becomes the message's, unless it has one: the first is the cause. @reason is static,
 * @detail is copied. */
MUST_CHECK int message_blame(Message *message, HandlerId handler, const char *reason,
                             const char *detail);

/* Its restart, whose handler is queued: a guard ends it, or it waits for its host. @unknown: it
 * ends as one of which nobody knows whether it was done before, and this is why; NULL: it does not.
 */
MUST_CHECK int message_start_restart(Message *message, const char *unknown);

/* The one place that changes a handler's state. */
void message_set_state(Message *message, HandlerId handler, HandlerState state);

/* One handler of @message has ended; @detail is copied when the message is rejected for it. */
MUST_CHECK int message_outcome(Message *message, HandlerId handler, Outcome outcome, bool charged,
                               const char *detail);

/* Acts on the verdict, when there is one. The message may be gone afterwards. */
MUST_CHECK int message_settle(Message *message);

/* How far a cancellation reaches beyond what has not started. */
enum {
        CANCEL_RUN = 1 << 0,   /* a restart under way goes on without this message */
        CANCEL_BATCH = 1 << 1, /* so does a batch at the database */
};

/* Cancels what has not started, and as @reach says, then settles it. */
MUST_CHECK int message_cancel(Message *message, unsigned reach);

/* Ends it: unlinked everywhere, resolved unless it is released, counted, ENGINE_FINISHED. */
MUST_CHECK int message_finish(Message *message, Finish finish);

/* --- partition.c --- */

/* Acts on what is due and on what the newest event made possible. */
MUST_CHECK int partitions_dispatch(Engine *engine);
MUST_CHECK int partition_set_state(Partition *partition, PartitionState state);

/* From the beginning: everything of this partition is released and it is looked up anew. */
MUST_CHECK int partition_restart(Partition *partition);

/* Cancels all of the partition's messages as message_cancel() does, in pieces: 100,000 at once
 * would hold up the loop for 80 ms. Engine.cancelling until it is through. */
void partition_cancel(Partition *partition, unsigned reach);
MUST_CHECK int cancel_dispatch(Engine *engine);

/* Whether the offset, which is higher than any asked for before, has its row in `rejected`. */
bool partition_has_rejected(Partition *partition, int64_t offset);
/* Resolves what has it without handling it. */
MUST_CHECK int partition_pass(Partition *partition, int64_t offset);

/* A message was admitted: whether its partition has to wait. */
MUST_CHECK int partition_admitted(Partition *partition);

/* Cancels all of its messages at once, see message_cancel(). */
MUST_CHECK int partition_release(Partition *partition, unsigned reach);
MUST_CHECK int partition_stop(Partition *partition, const char *reason);
/* A question could not be answered: it is asked again, from the first one on. */
MUST_CHECK int partition_try_again(Partition *partition);
MUST_CHECK int partition_note(Partition *partition, EngineNote note, int64_t offset,
                              int64_t delay_us);

/* --- commits.c --- */

MUST_CHECK int commits_dispatch(Engine *engine);
/* Whether a commit that is under way has an offset of it. */
bool commit_names(const Partition *partition);
/* A watermark has moved. */
void commit_schedule(Partition *partition);

/* --- lanes.c --- */

MUST_CHECK int lanes_dispatch(Engine *engine);
/* Gives up the batches that wait to be tried again. */
MUST_CHECK int lanes_stop(Engine *engine);
/* What stays in the lane below @fence is saved already. */
MUST_CHECK int lane_saved_below(Partition *partition, int64_t fence);
void batch_free(Batch *batch);
/* Takes the partition's part out of a batch that is not under way (it waits to be tried again). */
MUST_CHECK int lane_abandon_retry(Partition *partition);

/* --- replays.c --- */

/* Reads the header of a message that is being made. */
MUST_CHECK int replay_init(Message *message, const Record *record);
/* Says that it can't be read, if so. */
MUST_CHECK int replay_malformed(Message *message);
/* The message, a replay, is admitted: nothing of it runs until its row was asked. @restarts: it has
 * a restart to be decided upon. */
void replays_add(Message *message, bool restarts);
/* It leaves, or is decided: no answer finds it. */
void replays_remove(Message *message);
MUST_CHECK int replays_dispatch(Engine *engine);
/* When they are asked for again; INT64_MAX: nothing waits so. */
int64_t replays_deadline(const Engine *engine);
void replays_database_is_back(Engine *engine);

/* --- guards.c --- */

/* Why no restart of this canonical host may ever start here, with *@detail a line for people, both
 * static; NULL: it may. */
const char *guard_host(const EngineConfig *config, const char *host, const char **detail);
/* Whether a restart may start now, by the wall clock. */
bool windows_are_open(Engine *engine);
/* The same, and it is told when it has changed. */
MUST_CHECK int windows_dispatch(Engine *engine, bool *openp);
/* Whether `max_wait` is over for the message. */
bool wait_is_over(const Message *message);
/* Its restart has waited too long for @wait: it is rejected. The message may be gone afterwards. */
MUST_CHECK int wait_end(Message *message, RestartWait wait);
/* Ends the waits that are over. */
MUST_CHECK int waits_dispatch(Engine *engine);
/* When one is over, or the windows are to be asked again; INT64_MAX: nothing waits so. */
int64_t waits_deadline(const Engine *engine);

/* --- hosts.c --- */

MUST_CHECK int hosts_init(Engine *engine);
MUST_CHECK int hosts_add(Message *message);
/* Takes a message out of Host.waiting, Run.messages or Engine.aside. */
void hosts_remove(Message *message);
MUST_CHECK int hosts_dispatch(Engine *engine);
/* When a host is asked for again, or one may be that waits for the ledger; INT64_MAX: never. */
int64_t hosts_deadline(const Engine *engine);
/* The ledger answers again, or it was told that it might: what waits for it is tried at once. */
void hosts_ledger_is_back(Engine *engine);
/* Whether the message counts as one that is retried. */
void retries_count(Message *message, bool retries);
void hosts_free(Engine *engine);

/* Takes a slot, and what waits for the run's host, or @aside alone. */
void host_begin(Engine *engine, Run *run, Message *aside);
/* What has come since then joins it, but for who has to be asked for alone. */
void host_join(Engine *engine, Run *run);
/* Out of the run, to wait again before all that came later. */
void host_take_back(Engine *engine, Run *run, Message *message);
/* The run is over: its host may have another one, after @delay when @wait says for what;
 * 0: before all that wait. */
MUST_CHECK int host_release(Engine *engine, Run *run, RestartWait wait, int64_t delay);
/* The slots' time that a run took while fresh hosts waited for a slot. */
void host_account(Engine *engine, const Run *run);

/* --- runs.c --- */

/* A run for those that wait for @host, or for @aside alone, which is to be written down as
 * suppressed: the first question is asked. */
MUST_CHECK int run_start(Engine *engine, Host *host, Message *aside);
/* Asks again what is due. */
MUST_CHECK int runs_dispatch(Engine *engine);
/* Before a run's action is taken: false: it is not to be carried out, and something else was done.
 */
MUST_CHECK int run_may_go(Engine *engine, const EngineAction *action, bool *goesp);
/* Takes a run out of the engine; its messages have left it. */
void run_free(Engine *engine, Run *run);
/* Appends a note about a host; @text NULL: none. Both are copied. */
MUST_CHECK int run_note(Engine *engine, EngineAction *action, const char *host, const char *text);
