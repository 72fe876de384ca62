#pragma once

/*
 * Kafka as a consumer sees it: one topic, its log, one group with its coordinator. Pure: time comes
 * in, what is to be told to a member is put into its inbox; when it is read, or whether its replies
 * arrive, is the caller's. It answers what a real one answered: the traces of one are replayed
 * against it (test-broker-twin).
 *
 * The group protocol as a member sees it:
 *   eager        a rebalance asks everybody to give everything back; who has done so joins again;
 *                when all have, or after the time for it, a new generation begins
 *   cooperative  everybody joins again when it hears of the rebalance, and keeps what it has; who
 *                has too much gives that back and joins again, and then it is given out
 * Either way one that is silent, or has not given back what it was asked for, holds everybody up.
 * Who joins again does so on its only connection: a commit behind it comes too late.
 *
 * Left out on purpose:
 *   - the time between the end of a rebalance and the leader's plan (commits are refused with
 *     REBALANCE_IN_PROGRESS then): a generation begins with its assignments
 *   - librdkafka 2.0.2 takes a refused commit for the loss of everything (its issue 4059) and joins
 *     again; here the next heartbeat tells
 *   - one that is cut off hears of its loss from the coordinator, not from its own clock
 *   - that a new topic is another for the leader, that it hears of new partitions only when it asks
 *     for metadata, and may plan twice then; a partition may be made again alone
 *   - offsets that go some 25 ms after their topic does: here at once
 *   - open transactions, which hide what lies behind them; leader elections; more than one topic;
 *     static members; the protocol of KIP-848; expiry of offsets
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
        BROKER_PARTITIONS = 18, /* at most */
        BROKER_SLOTS = 4,       /* of the caller's, one for each that may be a member */
        BROKER_MEMBERS = 8,     /* with those that died and whose sessions go on */
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
        char metadata[16];    /* the commit's */
        bool ours;            /* it is ackd's */
        uint64_t incarnation; /* changes when the topic is made again */
} BrokerLog;

typedef enum BrokerAnswer {
        BROKER_OK,
        BROKER_UNKNOWN_MEMBER,
        BROKER_ILLEGAL_GENERATION,
        BROKER_NO_GROUP,
        BROKER_SUBSCRIBED, /* a tool's: the group has members */
        BROKER_OUT_OF_RANGE,
} BrokerAnswer;

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

typedef enum BrokerAssignor { /* of an eager group; a cooperative one's is cooperative-sticky */
                              ASSIGNOR_RANGE,
                              ASSIGNOR_ROUNDROBIN, /* with one topic as RANGE, but one partition
                                                      each in turn */
} BrokerAssignor;

typedef struct Broker {
        BrokerLog logs[BROKER_PARTITIONS];
        int n_partitions;
        bool cooperative;
        BrokerAssignor assignor;
        bool by_slot; /* members' ids sort by their slots, not by who came first */
        int64_t session_us, rebalance_us;
        BrokerMember members[BROKER_MEMBERS];
        bool founded; /* somebody joined or committed */
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
/* The next @n offsets hold nothing. */
void broker_skip(Broker *broker, int partition, int64_t n);
/* The record at or after @offset; NULL: none yet. */
const BrokerRecord *broker_fetch(const Broker *broker, int partition, int64_t offset);
/* Whether @offset is a position in the log: [low, high]. */
bool broker_in_range(const Broker *broker, int partition, int64_t offset);
void broker_compact(Broker *broker, int partition, size_t index); /* removes one record */
/* Retention, or a tool: nothing below @low is left. */
BrokerAnswer broker_expire(Broker *broker, int partition, int64_t low);
/* An unclean election: what is at @high and above is gone. */
void broker_truncate(Broker *broker, int partition, int64_t high);
/* Deleted and made again; the group's offsets go with it. */
void broker_remake(Broker *broker, int partition);
void broker_add_partition(Broker *broker, int64_t now);

/* --- the group --- */

/* Joins as a new member in @slot; its id. One that was there before and did not leave keeps its
 * place in the group until its session is over. */
uint64_t broker_join(Broker *broker, int slot, int64_t now);
void broker_leave(Broker *broker, int slot, int64_t now);
/* It hears of a rebalance by this, and joins again if it has nothing to do before. */
void broker_heartbeat(Broker *broker, int slot, int64_t now);
/* What it was told to give back is given back: it joins again. */
void broker_given_back(Broker *broker, int slot, unsigned partitions, int64_t now);
/* Expires sessions and ends rebalances. */
void broker_tick(Broker *broker, int64_t now);
/* When broker_tick() has something to do; INT64_MAX: nothing. */
int64_t broker_deadline(const Broker *broker);
/* The oldest thing that member @id in @slot is told by now; false: nothing. */
bool broker_told(Broker *broker, int slot, uint64_t id, int64_t now, BrokerTell *tell);

/* A commit of one partition, by ackd, on its connection; false: refused. */
bool broker_commit(Broker *broker, int slot, uint64_t id, int64_t generation, int partition,
                   int64_t offset);
/* The same by anybody: whoever has a place in the group, with its generation, may commit what it
 * likes, owned or not, within the log or not. */
BrokerAnswer broker_commit_as(Broker *broker, uint64_t id, int64_t generation, int partition,
                              int64_t offset, const char *metadata);
bool broker_is_empty(const Broker *broker); /* of members, dead ones too */
/* A tool's; refused while anybody has a place in the group. */
BrokerAnswer broker_alter(Broker *broker, int partition, int64_t offset, const char *metadata);
BrokerAnswer broker_forget(Broker *broker, int partition);
/* broker_alter() without metadata; false: refused. */
bool broker_reset(Broker *broker, int partition, int64_t offset);
