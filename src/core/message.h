#pragma once

/*
 * A message: what came from Kafka (Record, borrowed for a call), and what is read out of it
 * (Request). The payload itself is never changed: PostgreSQL gets it byte for byte.
 */

#include <stddef.h>
#include <stdint.h>

#include "core/host.h"
#include "util/error.h"

enum {
        MESSAGE_DEPTH_MAX = 64,   /* nesting of a payload; deeper ones are refused */
        MESSAGE_ID_MAX = 512,     /* bytes of a request id; longer ones are refused */
        MESSAGE_DETAIL_MAX = 512, /* bytes of MessageFault.detail */
};

/* One message as Kafka delivered it; nothing is owned. */
typedef struct Record {
        int64_t offset;
        int64_t timestamp_us; /* Kafka's, since 1970; -1: none */
        const uint8_t *key;   /* NULL: no key */
        size_t key_size;
        const uint8_t *value; /* NULL: a tombstone */
        size_t value_size;
        const char *headers; /* JSON text: [["name","text"],["name",{"base64":"…"}]]; NULL: none */
        size_t headers_size;
} Record;

/* Where the fields are: dotted paths. A key that itself holds dots wins. Borrowed for its life. */
typedef struct MessageFormat {
        const char *host;
        const char *id;
        const char *requested_at;
} MessageFormat;

typedef struct Request {
        char host[HOST_SIZE];        /* canonical, NUL-terminated */
        char id[MESSAGE_ID_MAX + 1]; /* as written; a number keeps its digits */
        size_t id_size;              /* 0: none */
        int64_t requested_us;        /* since 1970; -1: the message has none */
} Request;

/* Why a message cannot be handled. */
typedef struct MessageFault {
        const char *reason; /* stable word for the column `reason`, static: "not_json", … */
        char detail[MESSAGE_DETAIL_MAX]; /* for people: names the byte and the remedy; UTF-8,
                                            escaped */
} MessageFault;

enum {
        MESSAGE_E_POISON = 1, /* the fault says why; it never will work */
};

/*
 * Reads @value. 0, MESSAGE_E_POISON with @fault filled, or -ENOMEM. Bounded by MESSAGE_DEPTH_MAX
 * whatever the bytes are. Refused: not a JSON object, an empty object, duplicate keys, trailing
 * bytes, NUL (raw or \u0000), invalid UTF-8, depth over 64, numbers that overflow a double, a host
 * that is missing, no string, or not in the grammar of core/host.h. An integer past int64 is taken.
 */
MUST_CHECK int message_decode(const MessageFormat *format, const uint8_t *value, size_t size,
                              Request *request, MessageFault *fault);

/* RFC 3339 to µs since 1970; 0 or MESSAGE_E_POISON. @size bytes, no NUL needed. */
MUST_CHECK int message_parse_time(const char *text, size_t size, int64_t *time_us);
