#pragma once

/*
 * The inside of the consumer, shared by consumer.c (its life and what the application asks for) and
 * events.c (what librdkafka and the helper thread tell).
 */

#include <librdkafka/rdkafka.h>
#include <stdbool.h>
#include <stdint.h>

#include "kafka/consumer.h"
#include "kafka/helper.h"
#include "kafka/parts.h"
#include "kafka/queue.h"
#include "kafka/relay.h"
#include "util/buffer.h"
#include "util/loop.h"

typedef enum ConsumerState {
        CONSUMER_OPEN,
        CONSUMER_UNSUBSCRIBING, /* consumer_close(): what is assigned is being revoked */
        CONSUMER_CLOSING,       /* librdkafka leaves the group */
        CONSUMER_CLOSED,        /* the handle can be destroyed */
} ConsumerState;

/* Whether brokers answer. Errors only make us ask; the answer decides, so that one idle connection
 * that was closed is not told as an outage. */
typedef enum ConsumerReach {
        CONSUMER_REACH_UNKNOWN, /* at the start */
        CONSUMER_REACH_UP,
        CONSUMER_REACH_SUSPECT, /* was up; a connection failed, an answer is awaited */
        CONSUMER_REACH_DOWN,    /* told as `kafka.down` */
} ConsumerReach;

enum {
        CONSUMER_QUEUED_MIN = 20000, /* messages; above it 2.0.2's fetcher sleeps up to a second */
        CONSUMER_REFUSED_MAX = 4,    /* starts; a fetcher that begins refuses one or two */
};

struct Consumer {
        Loop *loop;
        Log *log;
        const ConsumerEvents *events;
        void *user;
        rd_kafka_t *rk;
        Helper *helper;
        Queue main;     /* rebalances, errors */
        Queue messages; /* the partitions' queues are forwarded to it */
        Queue replies;  /* to commits: behind prefetched messages they would wait */
        Queue lines;    /* librdkafka's log: on the main queue, debug lines can starve the rest */
        LoopTimer timer;
        LoopSoon soon; /* `closed`, and the reply to a commit that failed at once */
        Parts parts;
        Relay relay;
        Buffer headers;
        ConsumerState state;
        ConsumerReach reach;
        bool probing;    /* a HELPER_PROBE is under way */
        int silent;      /* probes without an answer since the newest answer */
        int64_t away_us; /* loop_now() when it was suspected, for how long it was away */
        bool joined;
        bool fatal;     /* told */
        bool scattered; /* the partitions' queues are to be forwarded anew */
        /* The revoke that waits for consumer_unassign(); NULL: none. */
        rd_kafka_topic_partition_list_t *revoking;
        /* An assignment that came before that answer; it is taken after it. NULL: none. */
        rd_kafka_topic_partition_list_t *early;
        bool committing;
        rd_kafka_resp_err_t commit_error; /* it failed at once: replied in the next turn */
        /* Wake-ups of the fetcher, only for versions without fetch.queue.backoff.ms. */
        bool wakes;
        bool waking;          /* one is under way */
        bool was_full;        /* the queue held CONSUMER_QUEUED_MIN since the newest one */
        size_t delivered;     /* bytes since then */
        size_t queue_bytes;   /* as configured */
        char *cluster_id;     /* NULL: not known yet */
        char last_error[256]; /* of a connection; for `kafka.down` */
        const char **topics;  /* copies, NULL-terminated */
        bool *missing;        /* one for each: Kafka said that it, or another one, does not exist */
        int64_t missing_us;   /* when that was said last, or asked; 0: nothing is missing */
        ConsumerTrouble *troubles; /* by kind up to CONSUMER_TOPIC_MISSING, then one a topic */
        bool topic_trouble;        /* one of a topic is among them */
        int64_t reach_us;          /* see consumer_reach_since() */
        int64_t apart_us; /* since when it is not in the group, or that was said; 0: it is */
};

void consumer_set_state(Consumer *consumer, ConsumerState state);

/* What ackd owns or prefers, behind the user's settings; positive: refused, *@errorp says why. */
MUST_CHECK int consumer_set_owned(rd_kafka_conf_t *conf, Consumer *consumer,
                                  const ConsumerOptions *options, char **errorp);

/* After the last revoke: asks librdkafka to leave the group. */
void consumer_close_queue(Consumer *consumer);
void consumer_check_closed(Consumer *consumer);

/* What cannot go on ends in `fatal`, once. */
void consumer_fail(Consumer *consumer, bool fenced, const char *error);

/* Asks whether a broker answers, unless that is known or being asked. */
void consumer_probe(Consumer *consumer);

/* While a topic does not exist, or the group does not let us in, an idle daemon looks healthy: it
 * is said once a minute. */
void consumer_remind(Consumer *consumer);

/* Queue.event and the like. */
void consumer_on_main(Queue *queue, rd_kafka_event_t *event);
void consumer_on_message(Queue *queue, rd_kafka_event_t *event);
void consumer_on_messages_served(Queue *queue);
void consumer_on_reply(Queue *queue, rd_kafka_event_t *event);
void consumer_on_line(Queue *queue, rd_kafka_event_t *event);
void consumer_on_answer(void *user, HelperRequest *request);

/* `committed` for all that are in the commit; @replies NULL: all failed with @error. */
void consumer_reply(Consumer *consumer, rd_kafka_resp_err_t error,
                    const rd_kafka_topic_partition_list_t *replies);

/* Answers librdkafka's revoke. */
int consumer_let_go(Consumer *consumer);

/* Takes the assignment that came too early, when there is one and its time has come. */
void consumer_take_early(Consumer *consumer);

bool consumer_is_cooperative(const Consumer *consumer);

/* --- trouble.c --- */

MUST_CHECK int consumer_troubles_init(Consumer *consumer);
void consumer_troubles_deinit(Consumer *consumer);
/* Not of a topic. */
void consumer_trouble_set(Consumer *consumer, ConsumerTroubleKind kind, const char *error);
void consumer_trouble_clear(Consumer *consumer, ConsumerTroubleKind kind);
/* Of one of the topics that are subscribed to by name; of another one: nothing. @topic NULL: the
 * one that @error names. */
void consumer_topic_trouble_set(Consumer *consumer, ConsumerTroubleKind kind, const char *topic,
                                const char *error);
/* It exists and is read. */
void consumer_topic_trouble_clear(Consumer *consumer, const char *topic);

/* Adds to the assignment, or replaces it, as the group's protocol wants it. NULL: it went well. */
rd_kafka_error_t *consumer_assign(Consumer *consumer, const rd_kafka_topic_partition_list_t *list);

/* Forwards the queue of a partition to the one that is read. */
void consumer_forward(Consumer *consumer, const rd_kafka_topic_partition_t *one);

/* Logs and forgets; true: there was none. */
bool consumer_went_well(Consumer *consumer, rd_kafka_error_t *error, const char *what);
