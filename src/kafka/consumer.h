#pragma once

/*
 * The consumer: librdkafka on the loop.
 *
 * Three queues of librdkafka's are served by the loop, each by a descriptor that librdkafka makes
 * readable: the consumer queue (rebalances, errors), the queue to which the queues of all assigned
 * partitions are forwarded (messages and partition errors), and the replies to commits; the log
 * queue feeds the log. One helper thread makes the look-ups that block and only posts their
 * results.
 *
 * Back-pressure is to leave the forwarded queue unread (consumer_read): pausing costs about a
 * second each time. The consumer queue is always served, so rebalances are answered.
 *
 * An assignment: the queues are forwarded anew, the partitions are paused and assigned, and
 * `assigned` is called. The application looks them up and starts each with consumer_start(). A
 * revoke calls `revoked`; the application answers with consumer_unassign() when it has drained.
 * Everything here runs on the loop's thread unless it says otherwise.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/message.h"
#include "telemetry/log.h"
#include "util/error.h"
#include "util/loop.h"

typedef struct Consumer Consumer;

/* One partition of the present assignment, from `assigned` to the end of consumer_unassign(). */
typedef struct ConsumerPartition {
        const char *topic;
        int32_t partition;
        void *user; /* the application's; NULL at first */
} ConsumerPartition;

/* What Kafka knows of a partition. */
typedef struct ConsumerLookUp {
        ConsumerPartition *partition;
        bool ok;           /* false: could not be answered now; the rest says nothing */
        int64_t committed; /* -1: the group has none */
        bool ours;         /* its metadata is CONSUMER_METADATA */
        int64_t low, high; /* the ends of the log; only from consumer_look_up() */
} ConsumerLookUp;

typedef struct ConsumerOffset {
        ConsumerPartition *partition;
        int64_t offset;
        bool ok;           /* in a reply: this partition's own result */
        const char *error; /* in a reply that is not ok; librdkafka's words, static */
} ConsumerOffset;

/* What goes with every commit, to know our own from those that an operator's tool made. */
#define CONSUMER_METADATA "ackd"

typedef struct ConsumerEvents {
        /* Newly assigned, paused, reading from nowhere yet. The objects are the consumer's. */
        void (*assigned)(void *user, ConsumerPartition **partitions, size_t n);
        /* Answer with consumer_unassign(), now or later. @lost: owned by somebody else already. */
        void (*revoked)(void *user, ConsumerPartition **partitions, size_t n, bool lost);
        /* One message; @record is valid during the call. Called for many in a row. */
        void (*fetched)(void *user, ConsumerPartition *partition, const Record *record);
        /* All below @end was delivered, and what lies between the last message and it is none: the
         * markers of transactions, aborted messages. Only when there is such a thing. */
        void (*ended)(void *user, ConsumerPartition *partition, int64_t end);
        /* Replies to consumer_look_up() and consumer_look_committed(), one call for each.
         * Partitions that were unassigned meanwhile are answered too when @n would be 0: n may be
         * smaller than what was asked for. */
        void (*looked_up)(void *user, const ConsumerLookUp *results, size_t n);
        void (*looked_committed)(void *user, const ConsumerLookUp *results, size_t n);
        /* Reply to consumer_commit(): every partition that is still assigned. */
        void (*committed)(void *user, const ConsumerOffset *results, size_t n);
        /* The position does not exist in the log. */
        void (*out_of_range)(void *user, ConsumerPartition *partition);
        /* Kafka does not know the partition (any more): it was deleted, or a broker has not heard
         * of it yet. */
        void (*vanished)(void *user, ConsumerPartition *partition);
        /* librdkafka cannot go on. @fenced: another member has our group.instance.id. What is
         * assigned is lost and no `revoked` follows; consumer_close() is through at once. */
        void (*fatal)(void *user, bool fenced, const char *error);
        /* consumer_close() is through. */
        void (*closed)(void *user);
} ConsumerEvents;

typedef struct ConsumerSetting {
        const char *name, *value;
} ConsumerSetting;

typedef struct ConsumerOptions {
        const ConsumerSetting *settings; /* the section `kafka`, librdkafka's names */
        size_t n_settings;
        const char *const *topics; /* NULL-terminated; ^… is a regex */
        const char *const
                *exclude;   /* topics that a regex must not match; NULL-terminated or NULL */
        size_t queue_bytes; /* librdkafka's own prefetch, bounded to this */
} ConsumerOptions;

enum {
        CONSUMER_E_CONFIG = 1, /* librdkafka refuses a setting; *@errorp says which and why */
};

/*
 * Makes the handle and the helper thread; connects, but does not join the group. *@errorp: a
 * malloc'd sentence on CONSUMER_E_CONFIG. Signals must be blocked before (librdkafka's threads
 * inherit).
 */
MUST_CHECK int consumer_new(Consumer **consumerp, Loop *loop, Log *log,
                            const ConsumerOptions *options, const ConsumerEvents *events,
                            void *user, char **errorp);

/* One thing that is wrong: a sentence that begins with "kafka.NAME: ", and that name; NULL: it is
 * about a topic, and begins with "consume.topics: ". Borrowed for the call. */
typedef void (*ConsumerRefused)(void *user, const char *setting, const char *error);

/* Whether librdkafka takes the settings, the producer's too, and the topics' patterns are valid,
 * without connecting. Everything that is wrong is told before CONSUMER_E_CONFIG is returned. */
MUST_CHECK int consumer_check(const ConsumerOptions *options, ConsumerRefused refused, void *user);

/* Frees what can be freed without waiting. librdkafka's handle is destroyed only after `closed`;
 * before that it is left to the end of the process, since destroying it can hang. NULL is allowed.
 */
void consumer_free(Consumer *consumer);

/* Joins the group. CONSUMER_E_CONFIG: a topic pattern is not valid, *@errorp as above. */
MUST_CHECK int consumer_subscribe(Consumer *consumer, char **errorp);

/* Whether the queue of messages is read; at first it is. */
void consumer_read(Consumer *consumer, bool on);

/* Asks for the committed offset and its metadata and both ends of the log. Answered once, by
 * `looked_up`, in 10 s at most. */
MUST_CHECK int consumer_look_up(Consumer *consumer, ConsumerPartition *const *partitions, size_t n);

/* The same for the committed offset alone, which takes 0.2 ms: before a commit. */
MUST_CHECK int consumer_look_committed(Consumer *consumer, ConsumerPartition *const *partitions,
                                       size_t n);

/* Seeks to @offset and resumes; waits for librdkafka's own thread, which takes microseconds.
 * CONSUMER_E_SEEK: not now; try again later. After `out_of_range` it is the first answer, and the
 * fetchers begin anew: all of them with the eager protocol. */
enum {
        CONSUMER_E_SEEK = 2,
};
MUST_CHECK int consumer_start(Consumer *consumer, ConsumerPartition *partition, int64_t offset);

/* Stops reading it; consumer_start() reads it again. What was prefetched is dropped. */
void consumer_pause(Consumer *consumer, ConsumerPartition *partition);

/* One at a time: not again before `committed`. */
MUST_CHECK int consumer_commit(Consumer *consumer, const ConsumerOffset *offsets, size_t n);

/* Lets go of what the newest `revoked` named; its objects are freed. */
MUST_CHECK int consumer_unassign(Consumer *consumer);

/* Leaves the group: unsubscribes, serves until everything is revoked (`revoked` is called when
 * something is assigned), closes the consumer's queue, then calls `closed`. It can hang with the
 * coordinator gone: the caller has a deadline and does not wait any longer. */
void consumer_close(Consumer *consumer);

/* Newest known end of the log, -1: not known. No I/O. */
int64_t consumer_high(const Consumer *consumer, const ConsumerPartition *partition);

/* The end of the log at the newest consumer_look_up(); -1: that could not tell, or there was none.
 */
int64_t consumer_looked_high(const ConsumerPartition *partition);

/* The cluster's id, NULL until it is known (from the first look-up at the latest). */
const char *consumer_cluster_id(const Consumer *consumer);

/* What is wrong, for people, until it is known to be over. */
typedef enum ConsumerTroubleKind {
        CONSUMER_DOWN,            /* no broker answers */
        CONSUMER_AUTH,            /* none lets us in: credentials, certificates */
        CONSUMER_GROUP_FORBIDDEN, /* no right to the consumer group */
        CONSUMER_TOPIC_MISSING,   /* one of the topics does not exist, or must not be seen */
        CONSUMER_TOPIC_FORBIDDEN, /* no right to read one of the topics */
} ConsumerTroubleKind;

typedef struct ConsumerTrouble {
        ConsumerTroubleKind kind;
        int64_t since_us;  /* loop_now(); 0: there is none */
        const char *topic; /* of the last two; NULL otherwise */
        char error[256];   /* librdkafka's words, the newest */
} ConsumerTrouble;

/* The next one behind *@cursor, which is 0 at first; NULL: there are no more. Valid until the
 * consumer is called again. */
const ConsumerTrouble *consumer_next_trouble(const Consumer *consumer, size_t *cursor);

/* loop_now() of when Kafka was reached, or lost; 0: it was never reached. */
int64_t consumer_reach_since(const Consumer *consumer);

/* Whether a broker has been reached since the last time that all were down. */
bool consumer_is_up(const Consumer *consumer);
bool consumer_has_joined(
        const Consumer *consumer); /* was assigned, perhaps nothing, and not revoked */

/* librdkafka's, for people. Static. */
const char *consumer_library_version(void);
