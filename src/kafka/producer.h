#pragma once

/*
 * The producer: librdkafka on the loop, for `ackd produce` and the dead-letter topic.
 *
 * Every message that producer_send() took is answered once by `delivered`, or counted by
 * producer_free(). Memory is bounded: at 32 MiB or 100,000 messages producer_send() says
 * PRODUCER_E_FULL, and `room` tells when half of them are gone. By default acks=all and idempotent,
 * so that what is delivered is on all replicas in sync, once and in order. How large a
 * record may be, up to these 32 MiB, is the broker's decision, whatever message.max.bytes says.
 * Everything runs on the loop's thread.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "kafka/consumer.h"
#include "telemetry/log.h"
#include "util/error.h"
#include "util/loop.h"

typedef struct Producer Producer;

typedef struct ProducerHeader {
        const char *name;
        const void *value; /* NULL: a null header */
        size_t size;
} ProducerHeader;

/* Borrowed for the call: librdkafka copies. */
typedef struct ProducerMessage {
        const char *topic;
        int32_t partition; /* -1: by the key, or any */
        const void *key;   /* NULL: none */
        size_t key_size;
        const void *value; /* NULL: a tombstone */
        size_t value_size;
        const ProducerHeader *headers;
        size_t n_headers;
} ProducerMessage;

typedef struct ProducerEvents {
        /* What became of a message; @opaque as it was given. @error NULL: it is delivered;
         * otherwise librdkafka's words, static, and whether it arrived is not known for a timeout.
         */
        void (*delivered)(void *user, void *opaque, const char *error);
        /* After PRODUCER_E_FULL: half of it is free again. NULL is allowed. */
        void (*room)(void *user);
        /* After producer_flush(): @left were not answered in time. Called last in its turn: the
         * application may free the producer. NULL is allowed. */
        void (*flushed)(void *user, size_t left);
        /* librdkafka cannot go on: what is left fails. NULL is allowed. */
        void (*fatal)(void *user, const char *error);
} ProducerEvents;

/* What an error says, for whoever decides by it. */
typedef enum ProducerFault {
        PRODUCER_FAULT_NONE,
        PRODUCER_FAULT_TOO_LARGE, /* the record, for the topic or for librdkafka */
        PRODUCER_FAULT_NO_TOPIC,
        PRODUCER_FAULT_FORBIDDEN,
        PRODUCER_FAULT_AWAY,  /* no broker took it in time */
        PRODUCER_FAULT_OTHER, /* the record or the topic is not as the brokers want it */
} ProducerFault;

enum {
        PRODUCER_E_CONFIG = 1, /* librdkafka refuses a setting; *@errorp says which and why */
        PRODUCER_E_FULL = 2,   /* not taken: wait for `room` */
        PRODUCER_E_REFUSED =
                3, /* it never will be taken (too large, …); *@errorp says why, static */
};

/* @settings: the section `kafka`; what belongs to a consumer is left out. *@errorp: a malloc'd
 * sentence on PRODUCER_E_CONFIG. Connects. Signals must be blocked before. */
MUST_CHECK int producer_new(Producer **producerp, Loop *loop, Log *log,
                            const ConsumerSetting *settings, size_t n_settings,
                            const ProducerEvents *events, void *user, char **errorp);

/* Drops what was not delivered, without `delivered`, and frees; waits 2 s at most for librdkafka's
 * threads, which are left to the end of the process then. NULL is allowed. */
void producer_free(Producer *producer);
/* The same, waits @limit_us at most. */
void producer_free_within(Producer *producer, int64_t limit_us);

/* Hands one over. The reason of PRODUCER_E_REFUSED is static. */
MUST_CHECK int producer_send(Producer *producer, const ProducerMessage *message, void *opaque,
                             const char **errorp);

/* Of the error that `delivered` tells just now, or producer_send() with PRODUCER_E_REFUSED told. */
ProducerFault producer_fault(const Producer *producer);

/* Calls `flushed` when everything is answered, or after @limit_us. It does not keep more from being
 * sent. A second call moves the limit. */
void producer_flush(Producer *producer, int64_t limit_us);

/* Messages that were taken and are not answered. */
size_t producer_pending(const Producer *producer);
