/* See queue.h for the model. */

#include "kafka/queue.h"

#include <sys/eventfd.h>
#include <unistd.h>

enum {
        QUEUE_EVENTS = 500,   /* polled in a turn at most; a message takes 0.3 to 1 µs here */
        QUEUE_TURN_US = 2000, /* and for this long, since `event` does the application's work */
        QUEUE_CLOCK = 16,     /* events between two looks at the clock */
};

void queue_serve(Queue *queue) {
        int64_t began = loop_now();
        int n = 0;

        while (queue->reading) {
                if (n == QUEUE_EVENTS ||
                    (n % QUEUE_CLOCK == QUEUE_CLOCK - 1 && loop_now() - began > QUEUE_TURN_US)) {
                        loop_soon_set(&queue->soon);
                        break;
                }
                rd_kafka_event_t *event = rd_kafka_queue_poll(queue->queue, 0);
                if (event == NULL) {
                        break;
                }
                queue->event(queue, event);
                rd_kafka_event_destroy(event);
                n++;
        }
        if (queue->served != NULL) {
                queue->served(queue);
        }
}

static void on_readable(LoopIo *io, int events) {
        (void)events;
        Queue *queue = container_of(io, Queue, io);
        uint64_t count;
        /* Emptied also when the queue is not read, or the loop would spin. queue_read() polls. */
        ssize_t r = read(queue->fd, &count, sizeof(count));
        (void)r;
        queue_serve(queue);
}

static void on_soon(LoopSoon *soon) {
        queue_serve(container_of(soon, Queue, soon));
}

int queue_init(Queue *queue, Loop *loop, const char *name, rd_kafka_queue_t *handle,
               void (*event)(Queue *queue, rd_kafka_event_t *event)) {
        uint64_t one = 1;

        *queue = (Queue){.queue = handle, .fd = -1, .reading = true, .event = event};
        loop_io_init(&queue->io, loop, name, on_readable);
        loop_soon_init(&queue->soon, loop, name, on_soon);
        if (handle == NULL) {
                return error_origin(-ENOMEM);
        }
        queue->fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
        if (queue->fd < 0) {
                return error_origin(-errno);
        }
        rd_kafka_queue_io_event_enable(handle, queue->fd, &one, sizeof(one));
        loop_io_start(&queue->io, queue->fd, LOOP_READ);
        /* What came before the descriptor was enabled is told by nobody. */
        loop_soon_set(&queue->soon);
        return 0;
}

void queue_deinit(Queue *queue) {
        if (queue->queue == NULL) {
                return;
        }
        loop_soon_stop(&queue->soon);
        loop_io_stop(&queue->io);
        if (queue->fd >= 0) {
                /* Or librdkafka would write into whatever gets this number next. */
                rd_kafka_queue_io_event_enable(queue->queue, -1, NULL, 0);
                close(queue->fd);
        }
        rd_kafka_queue_destroy(queue->queue);
        *queue = (Queue){.fd = -1};
}

void queue_read(Queue *queue, bool on) {
        if (on && !queue->reading) {
                loop_soon_set(&queue->soon);
        }
        queue->reading = on;
}
