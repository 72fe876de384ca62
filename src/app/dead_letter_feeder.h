#pragma once

/*
 * The feeder of the dead-letter topic: from the table `rejected`, the durable outbox, to Kafka.
 *
 *   IDLE --timer, wake--> TAKING --rows--> SENDING --all answered--> MARKING --> IDLE
 *
 * Nothing waits for it: a message is acked by its row. Its statements go behind all other work of
 * the pool, one at a time, and no connection or lock is held while Kafka is asked. What dies
 * between delivery and mark is sent again when its lease is over (core/feed.h): at least once.
 *
 * 1. A record that is too large for the topic goes again without its value.
 * 2. A delivery report that comes after it was given up belongs to nobody: the generation tells.
 * 3. A mark that PostgreSQL does not take is repeated until the lease is over.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "config/config.h"
#include "core/feed.h"
#include "kafka/consumer.h"
#include "kafka/producer.h"
#include "pg/outbox.h"
#include "pg/rejected_counts.h"
#include "telemetry/log.h"
#include "util/loop.h"
#include "util/reminder.h"

typedef struct DeadLetterFeeder DeadLetterFeeder;

/* Borrowed for its life. */
typedef struct DeadLetterFeederParts {
        Loop *loop;
        Log *log;
        const Config *config;     /* with consume.dead_letter_topic */
        const Consumer *consumer; /* knows the cluster */
        RejectedCounter *counter; /* is woken when rows were marked */
        PgPool *pool;
        /* It has become quiet; see dead_letter_feeder_is_quiet(). */
        void (*turned)(void *user);
        void *user;
} DeadLetterFeederParts;

/* Connects to nothing yet. -ENOMEM. */
MUST_CHECK int dead_letter_feeder_new(DeadLetterFeeder **feederp,
                                      const DeadLetterFeederParts *parts);
/* After the pool. Waits 0.2 s at most for librdkafka's threads. NULL is allowed. */
void dead_letter_feeder_free(DeadLetterFeeder *feeder);

/* The table is there. NULL is allowed, here and below. */
void dead_letter_feeder_start(DeadLetterFeeder *feeder);
/* Rows were written here, or PostgreSQL is there again. */
void dead_letter_feeder_wake(DeadLetterFeeder *feeder);

/* The shutdown begins: nothing more is taken. */
void dead_letter_feeder_stop(DeadLetterFeeder *feeder);
/* What is on its way to Kafka gets 0.2 s more; then what was delivered is marked. */
void dead_letter_feeder_close(DeadLetterFeeder *feeder);
/* Nothing is on its way, and no mark is open. */
bool dead_letter_feeder_is_quiet(const DeadLetterFeeder *feeder);
/* Rows that were delivered, perhaps, and are not marked: they are sent again. */
size_t dead_letter_feeder_open(const DeadLetterFeeder *feeder);
