#pragma once

/*
 * A message of librdkafka's as a Record. Nothing is copied but the headers, which become JSON text
 * in a buffer that is used again.
 */

#include <librdkafka/rdkafka.h>

#include "core/message.h"
#include "util/buffer.h"
#include "util/error.h"

/* @record is valid until @message is destroyed or @headers is used again. -ENOMEM. */
MUST_CHECK int convert_record(Record *record, const rd_kafka_message_t *message, Buffer *headers);

/* [["name","text"],["name",{"base64":"…"}],["name",null]]: text is what is valid UTF-8 without a
 * NUL, since PostgreSQL takes \u0000 in json and then refuses to read it. Adds to @buffer. */
MUST_CHECK int convert_headers(const rd_kafka_headers_t *headers, Buffer *buffer);
