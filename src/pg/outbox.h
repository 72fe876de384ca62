#pragma once

/*
 * The rows of `rejected` that are to go to the dead-letter topic: taken under a lease, marked when
 * they are delivered or could not be. See core/feed.h for the lease.
 *
 *   outbox_take    rows of one group and cluster that are due, nobody else's, at most so many and
 * so many bytes: each is leased and its attempt counted, in one statement. Nothing is locked or
 * held afterwards. outbox_mark    delivered: 'sent'; otherwise the error, and when it is due again
 *
 * One of them at a time, behind all other work of the pool. Answered once, never synchronously, on
 * the loop's thread. Nothing is repeated or logged here.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "pg/connection.h"
#include "util/error.h"

typedef struct Outbox Outbox;

/* Texts are UTF-8; each NULL where the column is null. */
typedef struct OutboxRow {
        int32_t source;
        int64_t offset;
        const uint8_t *key; /* NULL: none */
        size_t key_size;
        const uint8_t *value; /* NULL: it is not there any more */
        size_t value_size;
        const char *headers; /* JSON, as in core/message.h; NULL: none */
        size_t headers_size;
        const char *topic, *partition; /* where it came from; "3" */
        const char *host, *handler, *reason, *detail, *attempts;
        const char *handlers_done;             /* "save,restart-host"; "": none */
        const char *produced_at, *rejected_at; /* "2026-11-26T22:00:00Z" */
        unsigned tries;                        /* of the outbox, this one included */
} OutboxRow;

typedef struct OutboxMark {
        int32_t source;
        int64_t offset;
        const char *error; /* NULL: delivered */
        int64_t retry_us;  /* with an error: due after so long */
} OutboxMark;

typedef struct OutboxEvents {
        /* What was taken, in the order of source and offset, valid until the next call of
         * outbox_take() or outbox_free(). @failure: unless PG_OK; then @n is 0. */
        void (*taken)(void *user, PgEnd end, const PgFailure *failure, const OutboxRow *rows,
                      size_t n);
        /* @pending: how many rows still wait, with PG_OK; it stops at 10,000. Not PG_OK: nobody
         * knows whether they are marked; the same again does no harm. */
        void (*marked)(void *user, PgEnd end, const PgFailure *failure, size_t pending);
} OutboxEvents;

typedef struct OutboxTake {
        const char *cluster, *group; /* rows of others are left to them */
        size_t rows, bytes;
        int64_t lease_us;
} OutboxTake;

/* @schema, a checked name, and @events are borrowed. -ENOMEM. */
MUST_CHECK int outbox_new(Outbox **outboxp, PgPool *pool, const char *schema,
                          const OutboxEvents *events, void *user);
/* After the pool, whose end answers what is open. NULL is allowed. */
void outbox_free(Outbox *outbox);

/* Whether one of the two is under way: then neither may be called. */
bool outbox_is_busy(const Outbox *outbox);

/* Copies what it is given; -ENOMEM: nothing was asked. */
MUST_CHECK int outbox_take(Outbox *outbox, const OutboxTake *take);
MUST_CHECK int outbox_mark(Outbox *outbox, const OutboxMark *marks, size_t n);
/* Takes back what has not begun; it is not answered. False: there is none. */
bool outbox_withdraw(Outbox *outbox);
