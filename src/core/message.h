#pragma once

/*
 * A message: what came from Kafka (Record, borrowed for a call), and what is read out of it
 * (Request). The payload itself is never changed: PostgreSQL gets it byte for byte.
 */

#include <stddef.h>
#include <stdint.h>

#include "core/host.h"
#include "util/buffer.h"
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
        const char *headers; /* JSON text: [["name","text"],["name",{"base64":"…"}]]; a name that is
                              * no UTF-8 is such an object too; NULL: none */
        size_t headers_size;
} Record;

/* Where the fields are: dotted paths. A key that itself holds dots wins. Borrowed for its life. */
typedef struct MessageFormat {
        const char *host;
        const char *id;
        const char *requested_at;
} MessageFormat;

/* What a field of a message is compared with. */
typedef enum MessageType {
        MESSAGE_NULL, /* also: there is no such field */
        MESSAGE_FALSE,
        MESSAGE_TRUE,
        MESSAGE_NUMBER, /* equal when it is written alike: 1 is not 1.0 */
        MESSAGE_TEXT,
} MessageType;

/* Borrowed for its life. */
typedef struct MessageCondition {
        const char *path; /* as in MessageFormat */
        MessageType type;
        const char *text; /* of a number, as written; of a text, its content; otherwise unused */
} MessageCondition;

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
 * whatever the bytes are. An integer past int64 is taken. Refused, with their reasons:
 *
 *   empty             no bytes but white space, or an object without fields
 *   not_json          the grammar, a byte order mark, or another format, which is named
 *   not_object        JSON, but no object
 *   duplicate_key     at any depth
 *   too_deep          over MESSAGE_DEPTH_MAX
 *   nul               as a byte or as \u0000: PostgreSQL keeps neither
 *   not_utf8
 *   trailing_bytes    anything but white space behind the object
 *   number_overflow   a number that no double holds
 *   no_host           missing or null
 *   bad_host          no string, or not in the grammar of core/host.h
 *   bad_id            neither string nor number, or over MESSAGE_ID_MAX
 *   bad_requested_at  there, but no RFC 3339 string
 *
 * `id` and `requested_at` that are null or "" are not there. A time that cannot be read is refused
 * rather than ignored: an old request must not pass for a new one and restart a host, and a
 * rejected message is kept and can be replayed.
 */
MUST_CHECK int message_decode(const MessageFormat *format, const uint8_t *value, size_t size,
                              Request *request, MessageFault *fault);

/*
 * Adds the text of the field at @path, as in MessageFormat, to @out: of a string its content, of a
 * number or a boolean what is written. MESSAGE_E_POISON: there is none, or it is null, an object or
 * an array; -ENOMEM. @payload was taken by message_decode(); what is found in other bytes means
 * nothing, but they do no harm.
 */
MUST_CHECK int message_lookup(const uint8_t *payload, size_t size, const char *path, Buffer *out);

/* Whether all of @n conditions hold for @payload, which message_decode() has taken: 1 or 0, or
 * -ENOMEM. Without conditions: 1. */
MUST_CHECK int message_matches(const uint8_t *payload, size_t size,
                               const MessageCondition *conditions, size_t n);
