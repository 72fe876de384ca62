#pragma once

/*
 * The engine: the one place that decides.
 *
 * It is pure: an event and the time go in, actions come out, and nothing here touches Kafka,
 * PostgreSQL, a process or a clock. Whoever drives it (app/pipeline, or the simulation) reports
 * what happened with the event functions, then takes actions with engine_next_action() until there
 * are none, and calls engine_tick() at engine_deadline().
 *
 * What it owns:
 *
 *   Partition   one assignment of one partition, from `assigned` until it was unassigned and
 *               nothing refers to it any more. The same partition handed back is another object, so
 *               a late result can never touch a newer assignment.
 *   Message     a task: one record on its way through its handlers. It belongs to its partition, is
 *               linked where it waits, and leaves the engine with ENGINE_FINISHED.
 *   Batch       rows and fences that go to PostgreSQL in one transaction.
 *   Run         one restart of one host, from the question whether it may start until its end is
 *               written down; shared by the messages that asked for it before it started.
 *
 * Whoever carries out actions holds Batch, Run and (counted) Partition pointers across events,
 * never a Message: a message can be released while its batch or its run is still under way.
 *
 * Events return 0 or a negative errno, which is fatal: no memory, or an impossible state. @now is
 * CLOCK_MONOTONIC in µs and never goes back. Single-threaded.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/assignment.h"
#include "core/claim.h"
#include "core/message.h"
#include "core/observation.h"
#include "core/offsets.h"
#include "core/outcome.h"
#include "core/replay.h"
#include "core/windows.h"
#include "util/error.h"
#include "util/heap.h"
#include "util/list.h"

typedef struct Engine Engine;
typedef struct Partition Partition;
typedef struct Message Message;
typedef struct MessageBody MessageBody;
typedef struct Batch Batch;
typedef struct Run Run;
typedef struct Host Host;

/* In the order in which a message's outcomes are told. */
typedef enum HandlerId {
        HANDLER_SAVE,
        HANDLER_RESTART,
        HANDLER_COUNT,
} HandlerId;

const char *handler_name(HandlerId id); /* "save", "restart-host" */

/* Everything that the engine is told once. Strings are borrowed for the engine's life. */
typedef struct EngineConfig {
        MessageFormat format;
        bool start_latest;        /* where a group without a past begins */
        bool save;                /* rows are written; without it only the fence moves */
        bool restart;             /* hosts are restarted */
        const char *const *allow; /* globs on canonical names, NULL-terminated */
        const char *const *deny;
        const char *const *self; /* canonical names and addresses of this machine, which is never
                                    restarted; NULL-terminated; NULL: it may be */
        const MessageCondition *when; /* all have to hold, or the restart is suppressed */
        size_t n_when;
        const Window *windows; /* restarts start in one of these; none: always */
        size_t n_windows;
        int64_t max_wait_us; /* from the receipt; what waits then is rejected; 0: never */
        OnUnknown on_unknown;
        bool ledger; /* it is asked before each restart; false: a dry run */
        bool check;  /* precheck, or verify's look before the action: ENGINE_CHECK */
        bool verify;
        int64_t verify_deadline_us; /* from the end of the action */
        int64_t cooldown_us;        /* a retry comes no earlier after the start before it */
        size_t concurrency;         /* restarts at once, verification included; 0: no limit */
        size_t in_flight;           /* messages worked on */
        size_t in_flight_bytes;
        size_t waiting;       /* messages that are saved and wait: for a window, a slot, a retry */
        size_t ack_gap;       /* messages of a partition beyond its watermark */
        bool keep_payload;    /* a template reads it: what waits may not let go of it */
        size_t message_bytes; /* a value over it is rejected, its first 64 KiB kept */
        size_t batches;       /* at PostgreSQL at once: its connections */
        size_t batch_rows;
        size_t batch_bytes;
        int attempts;           /* charged attempts of a handler before its message is rejected */
        int64_t backoff_us;     /* of a retry: full jitter in [0, backoff * 2^n], at most */
        int64_t backoff_max_us; /* this */
        int64_t commit_interval_us;
        int64_t drain_us; /* how long a revoke waits for batches at the database */
        Observe observe;  /* NULL: nobody wants to know */
        void *observer;
} EngineConfig;

/* --- what it owns ------------------------------------------------------------------------- */

/* The bytes of a record: a copy, since a held librdkafka message pins its whole fetch buffer. */
struct MessageBody {
        const uint8_t *key; /* NULL: none */
        size_t key_size;
        const uint8_t *value; /* NULL: a tombstone */
        size_t value_size;    /* of what is kept: 64 KiB of a value over `message_bytes` */
        const char *headers;  /* JSON text, see Record; NULL: none */
        size_t headers_size;
        uint8_t data[];
};

typedef enum HandlerState {
        HANDLER_OFF,       /* not configured, or its work is known to be done: counts as done */
        HANDLER_QUEUED,    /* waits for a batch; a restart: see message_waits_for() */
        HANDLER_RUNNING,   /* in a batch at the database, or its host is being restarted */
        HANDLER_WAITING,   /* for its next attempt */
        HANDLER_ENDED,     /* has an outcome */
        HANDLER_ASKING,    /* a restart: in a run that may not start yet */
        HANDLER_UNDECIDED, /* of a replay: its row is asked whether it is done already */
} HandlerState;

enum {
        HANDLER_STATES = HANDLER_UNDECIDED + 1,
};

typedef struct HandlerTask {
        HandlerState state;
        Outcome outcome;       /* of the newest attempt */
        int charged;           /* attempts charged so far */
        int attempts;          /* attempts made so far */
        int64_t since_us;      /* when it came into its state, as @now */
        int64_t ended_us;      /* of the newest attempt, as @now */
        int64_t not_before_us; /* the next attempt, as @now; 0: its backoff decides */
        const char *reason; /* why it was suppressed, or what it waited for when it was cancelled;
                               static; NULL: neither */
} HandlerTask;

/* What a restart that has not started waits for. */
typedef enum RestartWait {
        WAIT_NONE,       /* it does not: it runs, has ended, or is none */
        WAIT_WINDOW,     /* restarts may not start now */
        WAIT_SLOT,       /* `concurrency` */
        WAIT_HOST,       /* another restart of its host is under way here */
        WAIT_RETRY,      /* it failed: its next attempt */
        WAIT_POSTGRES,   /* the ledger cannot be asked */
        WAIT_PRECHECK,   /* precheck says so */
        WAIT_RUNNING,    /* the ledger says so, here and below: another instance restarts it */
        WAIT_COOLDOWN,   /* of a restart of its host that is not done */
        WAIT_HOLD,       /* a person's */
        WAIT_GROUP,      /* `groups` */
        WAIT_QUIET_TIME, /* of its group */
        WAIT_FLEET,      /* `fleet_concurrency` */
        WAIT_FUSE,       /* it blew */
        WAIT_REASONS,
} RestartWait;

const char *restart_wait_name(RestartWait wait); /* "window", … as in the metrics */

/* What of a message goes into the database when the fence moves over it. */
typedef enum MessageRecord {
        MESSAGE_ROW,    /* a row in `messages` */
        MESSAGE_FAULTY, /* a row in `rejected`: it cannot be handled at all */
        MESSAGE_NO_ROW, /* a tombstone, or `save` is not configured */
} MessageRecord;

/* What makes a message a replay: see core/replay.h. */
typedef struct Replay {
        ReplayPlace of;
        ReplayVerdict verdict;           /* REPLAY_VERDICTS: not decided */
        unsigned done;                   /* of REPLAY_OURS, as ReplayAnswer.done */
        int64_t first_us;                /* the same */
        int64_t received_us;             /* the same: max_wait counts from it */
        bool restarts;                   /* undecided, and its restart is one that waits */
        RestartWait wait;                /* for this */
        int64_t again_us;                /* while it is in Engine.replays_later */
        struct ReplayQuestion *question; /* that is under way; NULL: none */
} Replay;

struct Message {
        Partition *partition;
        int64_t offset;
        uint64_t sequence;        /* its place in Partition.offsets */
        int64_t received_us;      /* @now of its first receipt by this process */
        int64_t received_wall_us; /* since 1970; the ledger may know of an earlier receipt */
        int64_t produced_us;      /* Kafka's timestamp since 1970; -1: none */
        int64_t requested_us; /* since 1970: the smaller of the request's and Kafka's; -1: none */
        HeapNode retry;       /* in Engine.retries: when its next attempt is due */
        MessageRecord record;
        Verdict verdict;
        HandlerTask handlers[HANDLER_COUNT];
        MessageBody *body;       /* NULL: let go of, it is saved */
        MessageFault *fault;     /* why it is rejected; NULL: it is not */
        HandlerId fault_handler; /* HANDLER_COUNT: the message itself */
        bool fault_kept;         /* its row in `rejected` is durable */
        bool fault_sent;         /* its row is in a batch that is under way */
        bool tombstone;          /* it has no value */
        bool gap;                /* it is none, see engine_ended(): not counted */
        bool saved;       /* its row was written by this process: the payload can be read back */
        bool waits;       /* counts in `waiting`, not in `in_flight` */
        bool shares;      /* its run counts by another message */
        bool retries;     /* it failed before: counts in Engine.retrying */
        bool redelivered; /* received first by somebody else, or before; see LedgerRequest */
        bool asks;        /* it has perhaps a row in the ledger: it shares nobody's restart */
        bool own_runs;    /* so the ledger said last: its own restart is under way elsewhere */
        bool duplicate;   /* a replay of what is done or dropped: nothing of it runs */
        bool malformed_replay; /* its header names no row: an ordinary message */
        Replay *replay;        /* NULL: it is none */
        int32_t claim;         /* LedgerRequest.attempt of its next claim */
        LedgerReason suppress; /* a guard without database found that there is nothing to do */
        Host *target;          /* in the engine, while its restart waits or runs */
        Run *run;              /* the one that it is in; NULL: in none */
        size_t bytes;          /* what it counts against in_flight_bytes */
        List link;             /* Partition.messages, in offset order */
        List lane_link;        /* Partition.lane, Batch.messages or Engine.rejects */
        List host_link;        /* Host.waiting, Run.messages, Engine.aside, .undecided or
                                  .replays_later */
        List wait_link;        /* Engine.received, while `max_wait` may end its wait */
        const char *id;        /* as written; NULL: none */
        const char *host;      /* canonical; NULL: it could not be read */
        char text[];           /* both */
};

typedef enum PartitionState {
        PARTITION_LOOKING_UP, /* Kafka is asked for the committed offset and the ends of the log */
        PARTITION_READING,    /* PostgreSQL is asked for the source and its fence */
        PARTITION_ADOPTING, /* its row is made, or its fence moved to where the operator wants it */
        PARTITION_COMMITTING, /* the start is committed for the first time */
        PARTITION_SEEKING,
        PARTITION_ACTIVE,   /* messages flow */
        PARTITION_STOPPED,  /* Kafka and PostgreSQL disagree: the operator decides */
        PARTITION_DRAINING, /* revoked: batches at the database may end */
        PARTITION_GONE,     /* unassigned; lives until nothing refers to it */
} PartitionState;

const char *partition_state_name(PartitionState state);

struct Partition {
        Engine *engine;
        unsigned references;
        uint64_t epoch; /* of this assignment; never used again in this process */
        PartitionState state;
        const char *stopped; /* reason word of PARTITION_STOPPED, static */
        PartitionFacts facts;
        int32_t source;
        int64_t start;     /* where reading begins */
        bool decided;      /* the operator's decision is to be cleared, once `start` is committed */
        int64_t next;      /* the lowest offset that is admitted */
        int64_t fence;     /* newest known to have been committed by PostgreSQL */
        int64_t committed; /* newest confirmed by Kafka; -1: none */
        int64_t claimed;   /* messages below have perhaps been asked for in the ledger before */
        int64_t handled;   /* PostgreSQL went back: messages below were handled, and it forgot */
        int64_t *rejected; /* as PartitionFacts.rejected; those before rejected_at are passed */
        size_t n_rejected, rejected_at;
        Offsets offsets;
        List messages;          /* Message.link: in flight, in offset order */
        size_t n_messages;      /* of them, without those that are none (Message.gap) */
        List lane;              /* Message.lane_link: waiting to be saved, in offset order */
        Batch *batch;           /* at the database; at most one, since fences move in order */
        bool save_alone;        /* no other partition's rows go with it until one was saved: */
        unsigned save_failures; /* the batch that was split had so many */
        int64_t save_begun_us;  /* and began then */
        int64_t retry_us;       /* when a failed look-up is tried again; INT64_MAX: none due */
        unsigned failures;      /* look-ups in a row */
        bool cancelling;        /* its messages are being cancelled, piece by piece */
        unsigned cancel_reach;  /* how far, see core/state.h */
        int64_t cancel_from;    /* the next piece begins at this offset */
        bool held;              /* nothing more of it is read, for this reason: */
        const char *held_for;   /* "ack_gap" or "vanished", static */
        bool doubted;           /* held until Kafka has said whether it is still the same one */
        bool lost;              /* its position is not in the log */
        bool resuming;          /* the driver was asked to read it again */
        int64_t resume_us;      /* not before, after it could not */
        PartitionFacts told;    /* with which it was said last that it is stopped */
        const char *told_stopped;
        List link;    /* Engine.partitions */
        void *handle; /* the driver's */
        int32_t partition;
        char topic[];
};

Partition *partition_ref(Partition *partition);
void partition_unref(Partition *partition); /* NULL is allowed */

typedef enum BatchKind {
        BATCH_SAVE,   /* rows and fences, one transaction */
        BATCH_REJECT, /* rows of `rejected` for messages whose fence has passed */
        BATCH_KINDS,
} BatchKind;

/* One partition's share of a batch. */
typedef struct BatchPart {
        Partition *partition; /* a reference */
        uint64_t epoch;       /* of the assignment that it was formed for */
        int64_t expected;     /* the fence before */
        int64_t next;         /* and after */
        size_t rows; /* its messages; fewer in Batch.messages: some were released meanwhile */
} BatchPart;

struct Batch {
        BatchKind kind;
        uint64_t id;   /* unique in this process */
        List messages; /* Message.lane_link, by partition, each in offset order */
        size_t rows;   /* messages when it was formed */
        size_t n_parts;
        BatchPart *parts; /* ordered by source, as the fences are locked */
        unsigned failures;
        int64_t begun_us; /* when it was sent first */
        int64_t retry_us; /* INT64_MAX: it is under way */
        bool read_fences; /* what became of it is not known: the fences are read before it is sent
                             again */
        List link;        /* Engine.batches */
};

/* One operation at PostgreSQL: of each message, what the row says that it names. It belongs to the
 * engine until it is answered. */
typedef struct ReplayQuestion {
        ReplayPlace by, of;
        char sha256[SHA256_TEXT_SIZE]; /* of its value: that of the row has to be the same */
        Message *message;              /* the engine's alone; NULL: it has left */
} ReplayQuestion;

typedef struct ReplayQuestions {
        size_t n;
        ReplayQuestion questions[];
} ReplayQuestions;

/* How far a run is. Each phase but the last has one question under way (or about to be), and its
 * answer decides on the next. */
typedef enum RunPhase {
        RUN_CHECKING,  /* ENGINE_CHECK */
        RUN_CLAIMING,  /* ENGINE_CLAIM */
        RUN_ACTING,    /* ENGINE_RESTART */
        RUN_VERIFYING, /* ENGINE_VERIFY, and ENGINE_ACTED beside it when the action ended well */
        RUN_ENDING,    /* ENGINE_CONCLUDE */
} RunPhase;

/* What the ledger is asked, of the message that leads the run. A copy: a question whose answer was
 * lost is asked again also when the message is gone. */
typedef struct RunClaim {
        int32_t source;
        int64_t offset;
        int32_t attempt;
        char *request_id; /* NULL: none */
        int64_t requested_us;
        int64_t received_us;
        int64_t first_us; /* of a replay, see LedgerRequest; 0: it is none */
        bool redelivered;
        char *before;          /* what verify's check said before the action; NULL: nothing */
        LedgerReason suppress; /* LEDGER_REASON_NONE: it is to be restarted */
} RunClaim;

struct Run {
        Host *host;         /* NULL: it only asks for a row that says it was suppressed */
        char *aside;        /* then its canonical host; otherwise see run_host() */
        uint64_t id;        /* unique in this process */
        int attempt;        /* 1 for the first of this group of messages */
        bool again;         /* one of its messages has failed before */
        int64_t started_us; /* the run; its action: */
        int64_t acting_us;  /* 0: not yet */
        List messages; /* Message.host_link; the first lends its id and payload to the templates */
        List link;     /* Engine.runs */
        RunPhase phase;
        Message *leader; /* the claim is its; NULL: it has left the engine, or the run */
        RunClaim claim;
        bool sent;         /* the claim is on its way, or was */
        uint64_t holds;    /* changes of holds that were known then, see engine_holds_changed() */
        bool doubt;        /* a reply to it was lost: it may have been granted */
        bool alone;        /* asked by itself, since a batch with it was refused */
        bool verifies;     /* when its action ends well, verify decides */
        bool acted;        /* it ended well */
        bool acted_open;   /* ... and the ledger has not said yet that it knows */
        bool verify_open;  /* ENGINE_VERIFY is under way */
        bool was_unknown;  /* an earlier process' restart, the ledger's row says unknown */
        int64_t ledger_id; /* of the row; 0: none */
        int64_t verify_us; /* how long verify may take from now on; for ENGINE_VERIFY */
        HeapNode retry;    /* in Engine.run_retries: when its question is asked again */
        unsigned failures; /* of that question in a row */
        /* How it ended, for ENGINE_CONCLUDE: */
        LedgerState state;
        bool verified;
        const char *reason; /* static; NULL: none */
        bool put_back;      /* it did not start: its messages wait again */
        bool too_late;      /* ... as the grant was too old */
        Outcome outcome;    /* otherwise: theirs */
        bool charged;
        char *detail; /* for people; NULL: nothing */
        /* The driver's, for engine_restarted(): what the endpoint asked for (Retry-After). The next
         * attempt of its messages begins no earlier; 0: nothing was said. */
        int64_t retry_after_us;
        /* The driver's, for the ledger: times of CLOCK_BOOTTIME in µs, 0: not known. */
        int64_t sent_us;     /* the claim that was granted */
        int64_t start_by_us; /* its action may start before */
        int64_t action_started_us, action_ended_us;
        int exit_status; /* LEDGER_NO_STATUS: none */
        bool unwatched;  /* verify passed, and since when is not known: it covers no request */
        char *output;    /* freed with the run; NULL: none */
        void *driver;
};

const char *run_host(const Run *run);

/* --- actions ------------------------------------------------------------------------------ */

typedef enum EngineActionType {
        ENGINE_LOOK_UP,     /* partition: ask Kafka -> engine_looked_up */
        ENGINE_READ_SOURCE, /* partition: ask PostgreSQL -> engine_source_read */
        ENGINE_ADOPT,       /* partition: make the row of its source with next_offset = offset
                               -> engine_adopted */
        ENGINE_MOVE_FENCE,  /* partition: from `fence` to offset, a decision is done with
  -> engine_adopted */
        ENGINE_SEEK,        /* partition: to offset, then resume -> engine_sought */
        ENGINE_PAUSE,       /* partition: read no more of it */
        ENGINE_RESUME,      /* partition: seek to offset and read again -> engine_resumed */
        ENGINE_READ,        /* on: whether the queue of messages is read */
        ENGINE_SAVE,        /* batch -> engine_saved */
        ENGINE_SAVE_EACH,   /* batch: row by row -> engine_saved_each */
        ENGINE_READ_FENCES, /* batch -> engine_fences_read */
        ENGINE_REJECT,      /* batch -> engine_saved */
        ENGINE_ASK_REPLAYS, /* replays -> engine_replays_read */
        ENGINE_CHECK,       /* run: precheck, then verify's look before -> engine_checked */
        ENGINE_CLAIM,       /* run: may it start? -> engine_claimed */
        ENGINE_RESTART,     /* run -> engine_restarted, or engine_too_late */
        ENGINE_ACTED,       /* run: the ledger is told that the action ended well -> engine_acted */
        ENGINE_VERIFY,      /* run: for Run.verify_us -> engine_verified */
        ENGINE_CONCLUDE,    /* run: the ledger is told the end -> engine_concluded */
        ENGINE_LOOK_COMMITTED, /* engine->commit: what Kafka has now -> engine_committed_seen */
        ENGINE_COMMIT,         /* engine->commit -> engine_committed */
        ENGINE_UNASSIGN,       /* what was revoked is drained and committed: let it go */
        ENGINE_FINISHED,       /* message: it left the engine; free it with message_free() */
        ENGINE_NOTE,           /* note: something for the log */
} EngineActionType;

typedef enum EngineNote {
        NOTE_PARTITION_STARTED,   /* partition, offset: messages flow from here */
        NOTE_PARTITION_STOPPED,   /* partition: see Partition.stopped and .facts */
        NOTE_PARTITION_WENT_BACK, /* partition, offset: PostgreSQL lost rows, read again from here
                                   */
        NOTE_PARTITION_SKIPPED,   /* partition, offset: somebody moved the committed offset ahead */
        NOTE_PARTITION_DECIDED,   /* partition, offset: it goes on where the operator wants it */
        NOTE_DECISION_MOOT,       /* partition: what the operator decided is dropped */
        NOTE_LOOK_UP_FAILED,      /* partition, delay_us: tried again after it */
        NOTE_BATCH_RETRY,         /* offset: how many rows; delay_us: when they are tried again */
        NOTE_SAVE_WORKS,          /* reason: what is taken again, for the log: "batches" */
        NOTE_COMMIT_FAILED,       /* partition: its own error; the next commit covers it */
        NOTE_INTAKE_PAUSED,       /* reason: "in_flight", "in_flight_bytes" or "waiting" */
        NOTE_INTAKE_RESUMED,
        NOTE_PARTITION_HELD,    /* partition: see Partition.held_for */
        NOTE_PARTITION_RESUMED, /* partition: the same */
        NOTE_RETRY,             /* message, handler, delay_us */
        NOTE_RETRIES_CROWD,     /* offset: messages that are retried; nothing fresh starts */
        NOTE_RETRIES_THIN,      /* the same; it does again */
        NOTE_DRAIN_TIMEOUT,     /* partition: revoked with a batch still at the database */
        NOTE_WINDOWS_SHUT,      /* offset: requests that wait; until when: engine_windows() */
        NOTE_WINDOWS_OPEN,      /* offset: requests that have waited */
        NOTE_RESTART_WAITS, /* host, reason: a RestartWait's name, text; delay_us: when it is asked
                               again; offset: requests that wait for it already. When the reason is
                               another one than before */
        NOTE_FUSE_BLEW,     /* host: whose claim blew it; text */
        NOTE_SUPPRESSED,    /* message, host, reason, text: counts as done */
        NOTE_LEDGER_AWAY,   /* delay_us: it is asked again after it */
        NOTE_LEDGER_BACK,
        NOTE_NOT_STARTED,     /* host, reason: granted, and given back */
        NOTE_GRANTED_BEFORE,  /* host: to this process, nobody knows how that ended: unknown */
        NOTE_ENDED_OTHERWISE, /* host, reason: the state that the ledger has, text: ours */
        NOTE_REPLAY, /* message, reason: "malformed", or what replay_verdict_name() calls all but
                        REPLAY_OURS and REPLAY_UNKNOWN; text */
} EngineNote;

typedef enum Finish {
        FINISH_ACCEPTED,
        FINISH_REJECTED,
        FINISH_RELEASED,
        FINISH_DUPLICATE, /* below the next expected offset, or rejected by an earlier owner of the
                             partition: only counted. A Message.duplicate */
        FINISH_TOMBSTONE,
        FINISH_COUNT,
} Finish;

const char *finish_name(Finish finish); /* "accepted", … as in the metrics */

typedef struct EngineAction {
        EngineActionType type;
        EngineNote note;
        Finish finish;
        HandlerId handler;
        bool on;
        Partition *partition;
        Message *message;
        Batch *batch;
        Run *run;
        ReplayQuestions *replays;
        int64_t offset;
        int64_t delay_us;
        const char *reason; /* static */
        const char *host;   /* of a note about a host, canonical; NULL: of none. It and text are */
        const char *text;   /* for people, NULL: nothing; valid until the next action is taken */
        void *owned;        /* the engine's: what both point to */
} EngineAction;

typedef struct CommitEntry {
        Partition *partition; /* a reference */
        int64_t offset;
} CommitEntry;

typedef enum CommitState {
        COMMIT_IDLE,
        COMMIT_LOOKING,
        COMMIT_SENT,
} CommitState;

typedef struct Commit {
        CommitState state;
        size_t n;
        size_t capacity;
        CommitEntry *entries;
} Commit;

/* Of everything since the start; never reset. */
typedef struct EngineTotals {
        uint64_t received;
        uint64_t finished[FINISH_COUNT];
        uint64_t outcomes[HANDLER_COUNT][OUTCOME_COUNT];
        uint64_t saved_rows;
        uint64_t commits, commits_failed;
        uint64_t suppressed[LEDGER_REASON_COUNT];
        uint64_t claims;
        uint64_t runs;
        uint64_t restarts[OUTCOME_COUNT]; /* how they ended, verification included */
        uint64_t rebalances;
} EngineTotals;

/* --- events ------------------------------------------------------------------------------- */

/* @seed: of the jitter. The engine keeps a pointer to @config. */
MUST_CHECK int engine_new(Engine **enginep, const EngineConfig *config, uint64_t seed);
void engine_free(Engine *engine);

/*
 * Takes the oldest action; *@takenp false: there is none, and nothing can start until the next
 * event. What a question or an order points to stays valid until the event that answers it; a
 * note's partition and message until the next call.
 */
MUST_CHECK int engine_next_action(Engine *engine, EngineAction *action, bool *takenp);

/* What the wall clock says, in µs since 1970. To be told before the actions of a turn are taken,
 * for the windows: without it they are shut. It may go back. It is no observation: nothing else
 * depends on it. */
void engine_clock(Engine *engine, int64_t wall, int64_t now);

/* When engine_tick() is due; INT64_MAX: not at all. */
int64_t engine_deadline(const Engine *engine);
MUST_CHECK int engine_tick(Engine *engine, int64_t now);

/* A partition was assigned and stands still. The Partition belongs to the engine; the driver keeps
 * it in its own books until ENGINE_UNASSIGN. */
MUST_CHECK int engine_assigned(Engine *engine, const char *topic, int32_t partition, void *handle,
                               int64_t now, Partition **partitionp);

/* Each of these answers one action. @facts NULL: the question could not be answered now. */
MUST_CHECK int engine_looked_up(Engine *engine, Partition *partition, const PartitionFacts *facts,
                                int64_t now);
MUST_CHECK int engine_source_read(Engine *engine, Partition *partition, const PartitionFacts *facts,
                                  int64_t now);

typedef enum AdoptEnd {
        ADOPT_OK,
        ADOPT_CHANGED, /* somebody else moved it meanwhile: it is looked up anew */
        ADOPT_OUTAGE,
} AdoptEnd;
MUST_CHECK int engine_adopted(Engine *engine, Partition *partition, AdoptEnd end, int32_t source,
                              int64_t now);
MUST_CHECK int engine_sought(Engine *engine, Partition *partition, bool ok, int64_t now);

MUST_CHECK int engine_resumed(Engine *engine, Partition *partition, bool ok, int64_t now);

/* Kafka does not know the partition: read no further until its commit is known to be there still; a
 * topic that was made again must not be taken for the old one. */
MUST_CHECK int engine_vanished(Engine *engine, Partition *partition, int64_t now);

/* Kafka says that the position does not exist (any more). Stops the partition, after a look at what
 * there is. */
MUST_CHECK int engine_out_of_range(Engine *engine, Partition *partition, int64_t now);

/* @record is copied. @wall: since 1970. */
MUST_CHECK int engine_fetched(Engine *engine, Partition *partition, const Record *record,
                              int64_t wall, int64_t now);

/* All below @end was fetched: what no message stands for (transactions leave such offsets) is
 * passed too, or the lag would never be 0, and a log that expires would end above the commit. */
MUST_CHECK int engine_ended(Engine *engine, Partition *partition, int64_t end, int64_t wall,
                            int64_t now);

typedef enum BatchEnd {
        BATCH_SAVED,   /* the transaction is known to have been committed */
        BATCH_REFUSED, /* rolled back for the sake of a row: SQLSTATE class 22, 23 (not 23514), 54
                        */
        BATCH_FENCE,   /* rolled back: a fence was not where it was expected */
        BATCH_OUTAGE,  /* rolled back or never begun, for no row's fault */
        BATCH_UNKNOWN, /* the connection was lost: perhaps committed */
} BatchEnd;
MUST_CHECK int engine_saved(Engine *engine, Batch *batch, BatchEnd end, int64_t now);

/* PostgreSQL is there again, perhaps another one, or restored to an older state: what waits is
 * tried at once, and each fence is looked at, also of a partition that has nothing to save. */
MUST_CHECK int engine_database_up(Engine *engine, int64_t now);

typedef struct RefusedRow {
        int32_t source;
        int64_t offset;
        char detail[MESSAGE_DETAIL_MAX];
} RefusedRow;
/* One fence for each of Batch.parts, in their order; -1: there is no such source. NULL: outage.
 * @refused: rows from the expected fence on that were refused row by row, ours or a predecessor's.
 */
MUST_CHECK int engine_fences_read(Engine *engine, Batch *batch, const int64_t *fences,
                                  const RefusedRow *refused, size_t n_refused, int64_t now);

/* The batch went row by row: what was refused is in `rejected`, the rest in `messages`, and the
 * fences moved. @end as above; REFUSED here: PostgreSQL refuses any row, which is the fault of none
 * (nothing was committed). */
MUST_CHECK int engine_saved_each(Engine *engine, Batch *batch, BatchEnd end,
                                 const RefusedRow *refused, size_t n_refused, int64_t now);

/* One answer for each of @asked, in their order; NULL: none came, they are asked again, and nobody
 * is charged. Frees @asked. */
MUST_CHECK int engine_replays_read(Engine *engine, ReplayQuestions *asked,
                                   const ReplayAnswer *answers, int64_t now);

/* @detail: for people, NULL or a line; copied. @charged: false when the failure was ours, such as
 * a process that could not be spawned for want of descriptors. Without a ledger this frees the run.
 */
MUST_CHECK int engine_restarted(Engine *engine, Run *run, Outcome outcome, bool charged,
                                const char *detail, int64_t now);

/* Precheck, and verify's check for `before`. */
typedef enum CheckResult {
        CHECK_GO,
        CHECK_WAIT,
        CHECK_NOT_NEEDED,
        CHECK_POISON,    /* it can never be asked for the leader */
        CHECK_CANCELLED, /* the shutdown ended it */
} CheckResult;
/* @before: what verify's check said, NULL: nothing; @detail: a line for people; both copied. */
MUST_CHECK int engine_checked(Engine *engine, Run *run, CheckResult result, const char *before,
                              const char *detail, int64_t now);

/* What the ledger says to the claim. @decision: of LEDGER_END_DONE, otherwise NULL. */
MUST_CHECK int engine_claimed(Engine *engine, Run *run, LedgerEnd end,
                              const LedgerDecision *decision, int64_t now);

/* The action was not started: too much time has passed since the claim was sent. */
MUST_CHECK int engine_too_late(Engine *engine, Run *run, int64_t now);

MUST_CHECK int engine_acted(Engine *engine, Run *run, LedgerEnd end, int64_t now);

typedef enum VerifyResult {
        VERIFY_PASSED,
        VERIFY_UNCOMPARED, /* the check passed, and there was no `before` */
        VERIFY_SAME,       /* until the deadline it passed with the same output: not restarted */
        VERIFY_FAILED,     /* at the deadline it did not pass */
        VERIFY_CANCELLED,  /* the shutdown ended it: whoever owns the message next verifies */
} VerifyResult;
/* @detail: a line for people, copied. */
MUST_CHECK int engine_verified(Engine *engine, Run *run, VerifyResult result, const char *detail,
                               int64_t now);

/* The end is written down. @result: of LEDGER_END_DONE, otherwise NULL: it is told again. */
MUST_CHECK int engine_concluded(Engine *engine, Run *run, LedgerEnd end, const LedgerResult *result,
                                int64_t now);

/* A hold was lifted or is over: the hosts that wait for one and match its @pattern (NULL: all) are
 * asked for again now, not only when their turn comes. Harmless when nothing has changed. */
MUST_CHECK int engine_holds_changed(Engine *engine, const char *pattern, int64_t now);

typedef struct CommitResult {
        int64_t offset; /* committed_seen: what Kafka has, -1: none */
        bool ok;
} CommitResult;
/* One result for each of engine_commit()->entries, in their order; NULL: no answer. */
MUST_CHECK int engine_committed_seen(Engine *engine, const CommitResult *results, int64_t now);
MUST_CHECK int engine_committed(Engine *engine, const CommitResult *results, int64_t now);
const Commit *engine_commit(const Engine *engine);

/* ENGINE_UNASSIGN follows when what these partitions have at the database has ended and is
 * committed, at once when they are @lost. */
MUST_CHECK int engine_revoked(Engine *engine, Partition *const *partitions, size_t n, bool lost,
                              int64_t now);

/* --- the end ------------------------------------------------------------------------------ */

/* No message is admitted and nothing starts any more; what has not started is cancelled; batches at
 * the database and runs may end. */
MUST_CHECK int engine_stop(Engine *engine, int64_t now);
/* Whether neither a batch nor a run is under way. */
bool engine_is_quiet(const Engine *engine);
/* What is left is released. Runs and batches that end later touch nothing. */
MUST_CHECK int engine_release(Engine *engine, int64_t now);
/* Commits every watermark now, after the commit that is under way. engine_is_committed(): whether
 * every watermark is confirmed. */
MUST_CHECK int engine_flush(Engine *engine, int64_t now);
bool engine_is_committed(const Engine *engine);

/* --- to be read --------------------------------------------------------------------------- */

const EngineTotals *engine_totals(const Engine *engine);
size_t engine_in_flight(const Engine *engine);
size_t engine_waiting(const Engine *engine);
size_t engine_in_flight_bytes(const Engine *engine);
size_t engine_running(const Engine *engine); /* runs under way */
/* Of them, those whose ledger entry would stay without its end if the process ended now. */
size_t engine_open_entries(const Engine *engine);
/* Requests for a restart that wait for this. */
size_t engine_waits(const Engine *engine, RestartWait wait);
RestartWait message_waits_for(const Message *message);
/* Whether it stands for a row of `rejected`. */
bool replay_is_ours(const Message *message);
/* And that row says that it is saved: what it holds stands there, see Replay.of. */
bool replay_is_saved(const Message *message);
/* Since when max_wait counts, since 1970: its first receipt by whoever, as far as it is known. */
int64_t message_waits_since(const Message *message);
/* Whether restarts may start, as it was when actions were taken last; see windows_at(). */
WindowsState engine_windows(const Engine *engine);
bool engine_is_reading(const Engine *engine);
/* Why the partition is not read: "starting", "stopped", Partition.held_for, or the limit that has
 * stopped the intake; NULL: it is read. Static. */
const char *partition_paused_by(const Partition *partition);
/* The limit that has stopped the intake: "in_flight", "in_flight_bytes" or "waiting"; NULL: none.
 * Static. */
const char *engine_paused_by(const Engine *engine);
/* The partitions, Partition.link. */
const List *engine_partitions(const Engine *engine);

/* Of an ENGINE_FINISHED. */
void message_free(Message *message);
