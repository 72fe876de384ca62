#pragma once

/*
 * COPY's binary format (PostgreSQL: "COPY", "Binary Format"), all big-endian: a header, rows of
 * counted fields, a trailer. A row's size is known before it is written: the caller reserves it
 * once and then fills it field by field without a check, since rows are the hot path. Each put
 * function returns where the next one writes.
 *
 * Types: text and json are their bare bytes, bytea too; timestamptz is µs since 2000.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "util/buffer.h"
#include "util/error.h"

enum {
        BINARY_ROW_SIZE = 2,   /* of a row's head, the count of its fields */
        BINARY_FIELD_SIZE = 4, /* of a field's head, its length */
};

/* The first timestamptz that PostgreSQL has, 4714-11-24 BC, in µs since 1970. Its last one lies
 * beyond what an int64 can say from 1970 on. */
#define BINARY_TIME_MIN INT64_C(-210866803200000000)

/* µs from 1970 to 2000, PostgreSQL's epoch */
#define BINARY_EPOCH INT64_C(946684800000000)

/* Header and trailer; -ENOMEM. */
MUST_CHECK int binary_append_header(Buffer *copy);
MUST_CHECK int binary_append_trailer(Buffer *copy);

/* Whether PostgreSQL can hold it. @time_us: since 1970. */
static inline bool binary_time_is_valid(int64_t time_us) {
        return time_us >= BINARY_TIME_MIN;
}

static inline uint8_t *binary_put16(uint8_t *at, uint16_t value) {
        value = __builtin_bswap16(value);
        memcpy(at, &value, sizeof(value));
        return at + sizeof(value);
}

static inline uint8_t *binary_put32(uint8_t *at, uint32_t value) {
        value = __builtin_bswap32(value);
        memcpy(at, &value, sizeof(value));
        return at + sizeof(value);
}

static inline uint8_t *binary_put64(uint8_t *at, uint64_t value) {
        value = __builtin_bswap64(value);
        memcpy(at, &value, sizeof(value));
        return at + sizeof(value);
}

static inline uint8_t *binary_put_row(uint8_t *at, uint16_t fields) {
        return binary_put16(at, fields);
}

static inline uint8_t *binary_put_null(uint8_t *at) {
        return binary_put32(at, UINT32_MAX);
}

static inline uint8_t *binary_put_int4(uint8_t *at, int32_t value) {
        return binary_put32(binary_put32(at, 4), (uint32_t)value);
}

static inline uint8_t *binary_put_int8(uint8_t *at, int64_t value) {
        return binary_put64(binary_put32(at, 8), (uint64_t)value);
}

/* @data NULL: null. @size fits an int32: message_bytes sees to it. */
static inline uint8_t *binary_put_bytes(uint8_t *at, const void *data, size_t size) {
        if (data == NULL) {
                return binary_put_null(at);
        }
        at = binary_put32(at, (uint32_t)size);
        memcpy(at, data, size);
        return at + size;
}

/* µs since 1970; what PostgreSQL can't hold becomes null: a message is worth more than the odd
 * clock of its producer. */
static inline uint8_t *binary_put_time(uint8_t *at, int64_t time_us) {
        if (!binary_time_is_valid(time_us)) {
                return binary_put_null(at);
        }
        return binary_put_int8(at, time_us - BINARY_EPOCH);
}
