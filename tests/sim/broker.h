#pragma once

/*
 * Kafka as a consumer sees it: one topic, its log, one group with its coordinator. Pure: time comes
 * in, what is to be told to a member is put into its inbox; when it is read, or whether its replies
 * arrive, is the caller's. Recorded traces of a real broker are replayed against it
 * (test-broker-twin).
 *
 * The group protocol as a member sees it:
 *   eager        a rebalance asks everybody to give everything back; who has done so joins again;
 *                when all have, or after the time for it, a new generation begins
 *   cooperative  everybody joins again at once and keeps what it has; who has too much gives that
 *                back and joins again, and then it is given out
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
        BROKER_PARTITIONS = 6, /* at most */
        BROKER_MEMBERS = 4,
        BROKER_INBOX = 16,
};

typedef struct BrokerRecord {
        int64_t offset;
        int32_t kind; /* the world's */
        int32_t host;
} BrokerRecord;

/* One partition: its log and the group's committed offset. */
typedef struct BrokerLog {
        BrokerRecord *records; /* rising; there may be gaps */
        size_t n, capacity;
        int64_t low, high;
        int64_t committed;    /* -1: none */
        bool ours;            /* its metadata is ackd's */
        uint64_t incarnation; /* changes when the topic is made again */
} BrokerLog;

typedef enum BrokerTellType {
        TELL_REVOKE, /* give these back, then broker_given_back() */
        TELL_ASSIGN, /* these are yours now */
        TELL_LOST,   /* you are no member any more: everything belongs to somebody else */
} BrokerTellType;

typedef struct BrokerTell {
        BrokerTellType type;
        uint64_t member;     /* to this incarnation of the member */
        unsigned partitions; /* a bit each */
        int64_t at_us;       /* not to be seen before */
} BrokerTell;

typedef struct BrokerMember {
        uint64_t id;        /* 0: no member */
        int64_t generation; /* of its assignment; -1: none yet */
        unsigned owned;
        unsigned giving_back; /* cooperative: asked for already */
        bool rejoined;
        int64_t seen_us; /* newest heartbeat */
        BrokerTell inbox[BROKER_INBOX];
        size_t n_inbox;
} BrokerMember;

typedef enum BrokerAssignor {
        ASSIGNOR_RANGE,
        ASSIGNOR_ROUNDROBIN, /* with one topic as RANGE, but one partition each in turn */
} BrokerAssignor;

typedef struct Broker {
        BrokerLog logs[BROKER_PARTITIONS];
        int n_partitions;
        bool cooperative;
        BrokerAssignor assignor;
        int64_t session_us, rebalance_us;
        BrokerMember members[BROKER_MEMBERS];
        uint64_t ids; /* of members */
        int64_t generation;
        bool preparing; /* waits for the members to join again */
        int64_t prepare_until_us;
        uint64_t incarnations;
} Broker;

void broker_init(Broker *broker, int partitions);
void broker_deinit(Broker *broker);

/* --- the log --- */

/* Appends a record after @gap offsets that hold nothing (control records, aborted, compacted). */
void broker_produce(Broker *broker, int partition, int64_t gap, int32_t kind, int32_t host);
/* The record at or after @offset; NULL: none yet. */
const BrokerRecord *broker_fetch(const Broker *broker, int partition, int64_t offset);
/* Whether @offset is a position in the log: [low, high]. */
bool broker_in_range(const Broker *broker, int partition, int64_t offset);
void broker_compact(Broker *broker, int partition, size_t index); /* removes one record */
void broker_expire(Broker *broker, int partition, int64_t low);   /* retention */
/* An unclean election: what is at @high and above is gone. */
void broker_truncate(Broker *broker, int partition, int64_t high);
/* Deleted and made again; the group's offsets go with it. */
void broker_remake(Broker *broker, int partition);
void broker_add_partition(Broker *broker, int64_t now);

/* --- the group --- */

/* Joins as a new member in @slot; its id. */
uint64_t broker_join(Broker *broker, int slot, int64_t now);
void broker_leave(Broker *broker, int slot, int64_t now);
void broker_heartbeat(Broker *broker, int slot, int64_t now);
/* What it was told to give back is given back: it joins again. */
void broker_given_back(Broker *broker, int slot, unsigned partitions, int64_t now);
/* Expires sessions and ends rebalances. */
void broker_tick(Broker *broker, int64_t now);
/* When broker_tick() has something to do; INT64_MAX: nothing. */
int64_t broker_deadline(const Broker *broker);
/* The oldest thing that member @id in @slot is told by now; false: nothing. */
bool broker_told(Broker *broker, int slot, uint64_t id, int64_t now, BrokerTell *tell);

/* A commit of one partition; false: refused (not its generation, not its partition). */
bool broker_commit(Broker *broker, int slot, uint64_t id, int64_t generation, int partition,
                   int64_t offset);
/* A tool's, while nobody is a member of the group, or of a partition nobody has. */
void broker_reset(Broker *broker, int partition, int64_t offset);
