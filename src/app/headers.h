#pragma once

/* The headers of a message as the tables keep them (core/message.h), for a producer: what was read
 * from Kafka can be sent again byte for byte, nulls and repeated names included. */

#include <stddef.h>

#include "kafka/producer.h"
#include "util/buffer.h"
#include "util/error.h"

typedef struct Headers {
        ProducerHeader *items; /* what they point to is this object's */
        size_t n;
        void *json;
        Buffer bytes;
} Headers;

enum {
        HEADERS_E_INVALID = 1, /* it is not what ackd writes */
};

/* @text NULL: none. Those with the name @without (NULL: none) are left out; room for @more is left
 * behind the last. HEADERS_E_INVALID; -ENOMEM. */
MUST_CHECK int headers_read(Headers *headers, const char *text, size_t size, const char *without,
                            size_t more);
void headers_deinit(Headers *headers); /* a zeroed one is allowed */
