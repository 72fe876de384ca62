#pragma once

/*
 * A queue of librdkafka's on the loop.
 *
 * librdkafka writes to the descriptor only when the queue goes from empty to non-empty, once until
 * it is polled again, and ignores failed writes. So the descriptor is an eventfd that never blocks,
 * a serve goes on until the queue is empty or puts itself on the next turn, and the owner calls
 * queue_serve() from a slow timer as well.
 *
 * A queue that is not read is not polled at all: whatever was polled must be delivered.
 */

#include <librdkafka/rdkafka.h>
#include <stdbool.h>
#include <stdint.h>

#include "util/error.h"
#include "util/loop.h"

typedef struct Queue Queue;

struct Queue {
        rd_kafka_queue_t *queue; /* owned */
        int fd;                  /* -1: none */
        bool reading;
        LoopIo io;
        LoopSoon soon;
        /* Takes one event, which is destroyed afterwards; may call queue_read(). It must not free
         * the queue. */
        void (*event)(Queue *queue, rd_kafka_event_t *event);
        void (*served)(Queue *queue); /* after each serve; NULL: nothing to do */
};

/* Takes over @handle, also on failure; polls it once in the next turn. @name must outlive the
 * queue. Negative errno. */
MUST_CHECK int queue_init(Queue *queue, Loop *loop, const char *name, rd_kafka_queue_t *handle,
                          void (*event)(Queue *queue, rd_kafka_event_t *event));

/* Takes it off the loop, closes the descriptor, which librdkafka does not use any more then, and
 * lets go of librdkafka's queue: what still comes for it is dropped. Never blocks. A queue of zeros
 * is allowed. */
void queue_deinit(Queue *queue);

/* Whether it is polled; at first it is. Turned on, it is polled in the next turn. */
void queue_read(Queue *queue, bool on);

/* Polls it now, for a bounded number of events and time, if it is read. */
void queue_serve(Queue *queue);
