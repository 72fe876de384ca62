#pragma once

/*
 * The world: one Kafka (broker.h), one PostgreSQL (store.h), several daemons (each a real engine
 * and a twin of app/pipeline.c), the hosts that they restart, an operator with his tools, and time.
 * Everything follows from the seed.
 *
 * Nothing arrives when it was sent: every question and answer is a Pending with a time of its own,
 * and among those that are due any may be next. A reply can be lost before what was asked for
 * happened, after it, or while it still goes on: a ghost, which is applied later, when somebody
 * else may be at work already. Daemons crash at any point, also in the middle of a turn, are
 * stopped for minutes, or are cut off from Kafka or PostgreSQL.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "broker.h"
#include "core/engine.h"
#include "judge.h"
#include "pg/ledger.h"
#include "store.h"

enum {
        MS = 1000,
        SECOND = 1000000,
        DAEMONS = 3,
        PENDING_MAX = 2048,
        GHOSTS_MAX = 64,
        HEAL_US = 900 * SECOND,
        BIG_BYTES_MAX = 64 * 1024 + 1, /* more than is kept of a message that is too large */
        DAY = 86400,
};

typedef enum RecordKind {
        GOOD,
        GOOD_SAME, /* all for one host */
        TOMBSTONE,
        NOT_JSON,
        DENIED,
        BIG,      /* over message_bytes */
        POISON,   /* PostgreSQL refuses it */
        ODD_GOOD, /* `host` is its number, see messages.h */
        ODD_BAD,
        UNWANTED, /* a field says so: no restart, where the world selects */
        RECORD_KINDS,
} RecordKind;

/* What became of a record, known to nobody in the world. */
typedef struct Fate {
        int64_t offset;
        RecordKind kind;
        int32_t host;
        int restarts;   /* that ended well with this message among those that asked; with a ledger:
                           how often it said so */
        bool lost;      /* PostgreSQL lost what was known of it: it is to be done again */
        bool excused;   /* it is gone from the log, or the operator skipped it */
        bool replay;    /* it has the header, which names */
        ReplayPlace of; /* this; its source 0: nothing, it is malformed */
        int64_t like;   /* its value is that of the message at this offset; mostly its own */
        int64_t produced_us; /* Kafka's timestamp; -1: none */
        int64_t first_us;    /* the earliest receipt, by the clock of who had it, or the server's
                                when that is earlier; INT64_MAX: none */
} Fate;

/* A partition as the world knows it, beside Broker.logs. */
typedef struct Log {
        Fate *fates; /* by offset */
        size_t n, capacity;
        size_t resolved;      /* so many of the first are known to be resolved or excused */
        bool remade, reset;   /* the operator has to say something */
        bool went_back;       /* PostgreSQL did: what is committed may be done again */
        bool restored;        /* a database that came back has a decision that was obeyed */
        bool cut;             /* it lost its end: nothing is produced until he has */
        int64_t committed;    /* as the group has it; to see that it never goes down */
        int64_t skipped;      /* the operator's tool skipped what is below */
        int64_t decided_us;   /* newest decision */
        uint64_t incarnation; /* to which the live source belongs */
} Log;

/* What kafka/parts.h calls a part: the driver's object of an assignment. */
typedef struct Part {
        uint64_t id;
        int partition;
        Partition *user;
        int64_t position, highest; /* ever fetched */
        bool paused, revoked, lost_place;
        uint64_t incarnation; /* of the log, when it was sought */
} Part;

typedef enum PendingKind {
        PENDING_LOOK_UP,
        PENDING_READ_SOURCE,
        PENDING_ADOPT,
        PENDING_MOVE_FENCE,
        PENDING_BATCH,
        PENDING_REPLAYS,
        PENDING_RUN,
        PENDING_CHECK,
        PENDING_VERIFY,
        PENDING_LEDGER,
        PENDING_LOOK_COMMITTED,
        PENDING_COMMIT,
} PendingKind;

typedef struct Pending {
        PendingKind kind;
        int64_t ready;
        bool begun;   /* BATCH: it has a connection, */
        bool cut;     /* and lost it */
        bool applied; /* at the server, whatever becomes of the reply */
        BatchEnd end; /* when applied */
        EngineActionType type;
        Batch *batch;
        Run *run;
        ReplayQuestions *replays; /* REPLAYS; what the server answered, when applied: */
        ReplayAnswer *answers;
        struct LedgerCall *call; /* LEDGER */
        Outcome outcome;         /* RUN, with a ledger: how it ends */
        Partition *partition;    /* a reference */
        uint64_t part;           /* Part.id */
        int number;              /* of the partition */
        int64_t offset, from;
        int32_t source;
        uint64_t incarnation; /* of the log, when it was asked */
        StoreOrder order;
        size_t n; /* LOOK_COMMITTED, COMMIT */
        uint64_t parts[BROKER_PARTITIONS];
        int numbers[BROKER_PARTITIONS];
        int64_t offsets[BROKER_PARTITIONS];
        bool answered[BROKER_PARTITIONS]; /* COMMIT: the broker took it */
        uint64_t member;
        int64_t generation;
} Pending;

typedef enum DaemonPhase {
        DAEMON_DEAD,
        DAEMON_RUNNING,
        DAEMON_STOPPING, /* what is shielded may end */
        DAEMON_FLUSHING, /* released; the last commit */
        DAEMON_LEAVING,  /* the revoke that closing brings */
} DaemonPhase;

typedef struct World World;

enum {
        SIM_WINDOWS = 24,
};

/* Of a daemon, in a zone whose offset changes once; see guards.h. */
typedef struct SimWindows {
        Window all[SIM_WINDOWS];
        size_t n; /* 0: always open */
        Zone *zone;
        int64_t change; /* seconds since 1970 */
        int32_t before, after;
} SimWindows;

typedef struct Daemon {
        World *world;
        int slot;
        DaemonPhase phase;
        int64_t phase_until;
        Engine *engine;
        EngineConfig config;
        Judge *judge;
        bool failed; /* no memory: it can only stop */
        bool reading;
        bool revoking;
        bool partial; /* its turn was cut short */
        bool looking, committing;
        int64_t wall_skew; /* of its clock */
        SimWindows windows;
        int64_t frozen_until, cut_until; /* SIGSTOP; off from Kafka */
        uint64_t member;
        Part *parts[BROKER_PARTITIONS];
        Part *look_ups[64];
        size_t n_look_ups;
        Pending pending[PENDING_MAX];
        size_t n_pending;
        int64_t marks[BROKER_PARTITIONS]; /* watermarks when the last commit began */
        bool disturbed;                   /* a revoke came in between */
        int64_t window;                   /* looks at the committed offsets in this second */
        int looks;
        int32_t instance; /* of the ledger: one a life */
        LedgerPolicy policy;
        Run **gathered[3]; /* of this turn, by Question */
        size_t n_gathered[3], gathered_capacity[3];
        int64_t spin_at; /* ticks at one instant */
        int spins;
} Daemon;

/* What the seed decides for all daemons. */
typedef struct WorldOptions {
        uint64_t seed;
        uint64_t steps;
        bool trace;
        bool oom; /* allocations of the engine fail now and then */
} WorldOptions;

struct World {
        WorldOptions options;
        uint64_t random;
        uint64_t hash; /* of everything that happened */
        bool faults;   /* things go wrong */
        int64_t began, now;
        int64_t kafka_back, database_back, table_back; /* away, or broken, until then */
        Broker broker;
        Store store;
        Store standby; /* a copy of some time ago */
        bool has_standby;
        StoreOrder ghosts[GHOSTS_MAX];
        EngineActionType ghost_types[GHOSTS_MAX];
        size_t n_ghosts;
        Log logs[BROKER_PARTITIONS];
        Daemon daemons[DAEMONS];
        uint64_t part_ids;
        bool save, restart, start_latest;
        bool big;           /* thousands of messages, hundreds of hosts, high limits */
        bool sluggish;      /* the database answers late, now and then by a minute */
        unsigned scarcity;  /* with WorldOptions.oom: one event in so many is given too little */
        unsigned roughness; /* percent of the usual chance that something goes wrong */
        int32_t locked;     /* somebody has a lock on this source's row, until then */
        int64_t locked_until;
        OnUnknown on_unknown;
        bool spares;           /* the machine itself is not restarted */
        bool selects;          /* `when` */
        bool windows;          /* restarts may start at certain times only */
        bool ledger;           /* it is asked before each restart */
        struct Claims *claims; /* see claims.h */
        uint64_t events;
};

/* --- world.c --- */

/* Runs one seed; a broken rule ends the process. Returns the hash of all that happened. */
uint64_t world_run(const WorldOptions *options, uint64_t *events);

__attribute__((format(printf, 2, 3))) void trace(const World *world, const char *format, ...);
__attribute__((format(printf, 3, 4), noreturn)) void broken(const World *world, int invariant,
                                                            const char *format, ...);
uint64_t below(World *world, uint64_t n);
bool chance(World *world, unsigned percent);
bool fault(World *world, unsigned percent); /* the same, while things go wrong */
void mix(World *world, uint64_t value);     /* into the hash */

Fate *world_fate(World *world, int partition, int64_t offset); /* NULL: none */
bool world_is_resolved(const World *world, int partition, const Fate *fate);
/* What the row that it names says to it, as things stand; *@rowp: that row, NULL: it is an ordinary
 * message. Nobody takes it by that. REPLAY_OURS also when it is free. */
uint64_t world_value(const Fate *fate); /* as StoreReject.value */
ReplayVerdict world_replay(const Store *store, int partition, const Fate *fate,
                           const StoreReject **rowp);
/* The broker takes a commit: invariants 1, 4 and 5. */
void world_committed(World *world, const Daemon *daemon, int partition, int64_t offset);
/* Whether somebody's lock holds it up. */
bool world_is_locked(const World *world, const StoreOrder *order);
/* One transaction at the server: invariant 2. */
BatchEnd world_transact(World *world, EngineActionType type, StoreOrder *order);
void world_ghost(World *world, EngineActionType type, StoreOrder *order);
bool world_kafka_is_away(const World *world);
bool world_database_is_away(const World *world);

/* --- daemon.c --- */

void daemon_begin(Daemon *daemon);
void daemon_crash(Daemon *daemon); /* kill -9 */
void daemon_stop(Daemon *daemon);  /* a signal */
/* One of the things that are due; false: nothing is. */
bool daemon_answer(Daemon *daemon);
void daemon_fetch(Daemon *daemon, int partition);
void daemon_turn(Daemon *daemon);
/* A restart or a batch of it is under way. */
bool daemon_works(const Daemon *daemon);
/* Goes on with the shutdown, hears what the coordinator says. */
void daemon_live(Daemon *daemon);
void daemon_tick(Daemon *daemon);
int64_t daemon_deadline(const Daemon *daemon);
void daemon_database_up(Daemon *daemon);
/* A message of a burst that was read before its partition was paused or revoked, or after the stop.
 */
void daemon_stray(Daemon *daemon, int partition);
void daemon_doubt(Daemon *daemon, int partition, bool out_of_range);
bool daemon_is_awake(const Daemon *daemon);
/* One more answer on its way; with the time that it takes. */
Pending *daemon_awaits(Daemon *daemon, PendingKind kind);
/* The value of a record of this kind; returns its size. @to has room for BIG_BYTES_MAX + 1. NULL
 * value: TOMBSTONE, -1. */
int64_t record_value(RecordKind kind, int32_t host, int64_t like, char *to);
/* See engine-call.h. */
int64_t daemon_memory(World *world);
void daemon_fails(Daemon *daemon, int r, const char *call);
/* To PostgreSQL: no reply comes any more of what was sent. */
void daemon_loses_connections(Daemon *daemon);
/* Something of its batches at the server goes on while nobody looks. */
void daemon_server_works(Daemon *daemon);

/* --- coverage.c --- */

/* What happened, in which state: events by partition state, and by the daemon's phase. */
typedef enum Event {
        EVENT_ASSIGNED,
        EVENT_LOOKED_UP,
        EVENT_LOOK_UP_FAILED,
        EVENT_SOURCE_READ,
        EVENT_SOURCE_FAILED,
        EVENT_ADOPTED,
        EVENT_ADOPT_CHANGED,
        EVENT_ADOPT_OUTAGE,
        EVENT_SOUGHT,
        EVENT_SEEK_FAILED,
        EVENT_RESUMED,
        EVENT_RESUME_FAILED,
        EVENT_VANISHED,
        EVENT_OUT_OF_RANGE,
        EVENT_FETCHED,
        EVENT_ENDED,
        EVENT_SAVED,
        EVENT_SAVE_REFUSED,
        EVENT_SAVE_FENCE,
        EVENT_SAVE_OUTAGE,
        EVENT_SAVE_UNKNOWN,
        EVENT_SAVED_EACH,
        EVENT_EACH_REFUSED,
        EVENT_EACH_FENCE,
        EVENT_EACH_OUTAGE,
        EVENT_EACH_UNKNOWN,
        EVENT_FENCES_READ,
        EVENT_FENCES_FAILED,
        EVENT_REJECTED,
        EVENT_REJECT_OUTAGE,
        EVENT_REJECT_UNKNOWN,
        EVENT_REPLAYS_READ,
        EVENT_REPLAYS_FAILED,
        EVENT_RUN_DONE,
        EVENT_RUN_FAILED,
        EVENT_RUN_NOT_STARTED,
        EVENT_RUN_UNKNOWN,
        EVENT_RUN_OUTAGE,
        EVENT_RUN_POISON,
        EVENT_RUN_INTERNAL,
        EVENT_RUN_SUPPRESSED,
        EVENT_CHECK_GO,
        EVENT_CHECK_WAIT,
        EVENT_CHECK_NOT_NEEDED,
        EVENT_CHECK_POISON,
        EVENT_CHECK_CANCELLED,
        EVENT_CLAIM_START,
        EVENT_CLAIM_DONE,
        EVENT_CLAIM_VERIFY,
        EVENT_CLAIM_UNKNOWN,
        EVENT_CLAIM_WAIT,
        EVENT_CLAIM_REJECT,
        EVENT_CLAIM_REFUSED,
        EVENT_CLAIM_OUTAGE,
        EVENT_CLAIM_LOST,
        EVENT_TOO_LATE,
        EVENT_ACTED,
        EVENT_ACTED_REFUSED,
        EVENT_ACTED_OUTAGE,
        EVENT_ACTED_LOST,
        EVENT_VERIFY_PASSED,
        EVENT_VERIFY_UNCOMPARED,
        EVENT_VERIFY_SAME,
        EVENT_VERIFY_FAILED,
        EVENT_VERIFY_CANCELLED,
        EVENT_CONCLUDED,
        EVENT_CONCLUDED_OTHERWISE,
        EVENT_CONCLUDE_REFUSED,
        EVENT_CONCLUDE_OUTAGE,
        EVENT_CONCLUDE_LOST,
        EVENT_HOLDS_CHANGED,
        EVENT_SEEN,
        EVENT_SEEN_GONE,
        EVENT_SEEN_FAILED,
        EVENT_COMMITTED,
        EVENT_COMMIT_FAILED,
        EVENT_REVOKED,
        EVENT_LOST,
        EVENT_DATABASE_UP,
        EVENT_TICK,
        EVENT_STOP,
        EVENT_RELEASE,
        EVENT_FLUSH,
        EVENT_CRASH,
        EVENTS,
} Event;

const char *event_name(Event event);
void cover(Event event, PartitionState state, DaemonPhase phase);
/* Of everything that concerns all partitions of the daemon. */
void cover_all(const Daemon *daemon, Event event);
/* Lines of "cover EVENT STATE N N": how often while the daemon ran, and while it ended. */
void coverage_print(void);
