#pragma once

/*
 * Connections to PostgreSQL on the loop, and the operations that wait for one.
 *
 * A pool of a fixed number of connections. Each is a small state machine: down, resolving,
 * connecting, idle, busy. A connection that fails is made again after a backoff with jitter; what
 * waits for one just waits longer. Nothing blocks: host names are resolved in a thread of their own
 * (PQconnectStart would block on DNS), connecting and every operation have a deadline of the
 * pool's own, after which the connection is dropped (PQcancel blocks).
 *
 * An operation is embedded in its owner. It waits in the pool's queue, is given an idle connection
 * (`begin` sends; what is sent is made then, so that a batch forms while it waits), sees each
 * result, and ends once.
 */

#include <libpq-fe.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "telemetry/log.h"
#include "util/buffer.h"
#include "util/error.h"
#include "util/list.h"
#include "util/loop.h"

typedef struct PgPool PgPool;
typedef struct PgOperation PgOperation;

/* How an operation ended. What an SQLSTATE means is decided in pg/sqlstate.h. */
typedef enum PgEnd {
        PG_OK,      /* every statement succeeded, and the server said that it is through */
        PG_REFUSED, /* the server said no; PgFailure has its SQLSTATE; nothing was committed */
        PG_LOST,    /* the connection broke, the deadline passed, or the server ended the session
                       (severity FATAL, which can come after a commit): nobody knows */
        PG_DROPPED, /* the pool was closed before it began */
} PgEnd;

typedef struct PgFailure {
        char sqlstate[6];    /* "" with PG_LOST */
        const char *message; /* the server's or libpq's first line; valid during the call */
} PgFailure;

typedef struct PgOperationInterface {
        const char *name; /* for the log and for slow callbacks: "save" */
        /*
         * Sends one statement or one simple query of several (PQsendQuery, PQsendQueryParams). When
         * one of them is a COPY FROM STDIN, `copy` is set to what is to be sent (binary, with its
         * header and trailer); it stays the operation's until the end. PG_E_NOTHING: there is
         * nothing to send any more, it ends with PG_DROPPED. PG_E_SEND: libpq refused, it ends with
         * PG_LOST and the connection is made again. A negative errno: it ends with PG_REFUSED and
         * the SQLSTATE of "out of memory", 53200: an outage like the server's own.
         */
        int (*begin)(PgOperation *operation, PGconn *connection, const Buffer **copy);
        /* Each result that holds tuples or says COMMAND_OK; borrowed. NULL: not needed. */
        void (*result)(PgOperation *operation, const PGresult *result);
        /* Exactly once for each one that was queued. May queue it again. */
        void (*end)(PgOperation *operation, PgEnd end, const PgFailure *failure);
} PgOperationInterface;

struct PgOperation {
        const PgOperationInterface *interface;
        List link; /* PgPool's queue, or itself */
};

typedef struct PgOptions {
        const char *dsn; /* as libpq takes it */
        const char *
                password_file; /* "" or NULL: none. Read at each connect, a final newline dropped */
        const char *schema;    /* for search_path */
        const char *application_name;
        size_t connections;
        int64_t statement_timeout_us; /* the server's; the pool's own deadline is 5 s longer */
        /* LISTENs to this channel, a plain identifier; NULL: to none. All connections do: a busy
         * one hears of nothing before its statement has ended, and one that is lost is lost with
         * what it did not tell. So a notification comes several times, and none comes while no
         * connection is up: whoever needs it looks when the pool comes up. */
        const char *channel;
        /* @payload: valid during the call, in which no operation begins; with the pool's @user. */
        void (*notified)(void *user, const char *payload);
} PgOptions;

/* Called when the first connection is up and when the last one is gone, with the reason. */
typedef void (*PgUp)(void *user, bool up, const char *why);

/* Begins to connect. Strings are borrowed. PG_E_DSN: *@errorp is a malloc'd sentence. */
enum {
        PG_E_DSN = 1,
        PG_E_NOTHING = 2,
        PG_E_SEND = 3,
};
MUST_CHECK int pg_pool_new(PgPool **poolp, Loop *loop, Log *log, const PgOptions *options, PgUp up,
                           void *user, char **errorp);

/* Whether libpq takes the connection string and the schema's name is one, without connecting.
 * PG_E_DSN with *@errorp as above. */
MUST_CHECK int pg_check(const PgOptions *options, char **errorp);

/* Ends what waits with PG_DROPPED and what runs with PG_LOST, closes; what `end` submits then is
 * ignored. Not from within an operation's callback. NULL is allowed. */
void pg_pool_free(PgPool *pool);

void pg_operation_init(PgOperation *operation, const PgOperationInterface *interface);
/* Behind what waits already; with @first (look-ups and ledger entries) behind those that are first
 * too, of which each passes one that is not: neither keeps the other waiting for ever. Never begins
 * synchronously. */
void pg_pool_submit(PgPool *pool, PgOperation *operation, bool first);
/* Takes back one that has not begun; false: it has. */
bool pg_pool_withdraw(PgPool *pool, PgOperation *operation);

bool pg_pool_is_up(const PgPool *pool);

enum {
        PG_TROUBLE_WHY = 256,
        PG_REFUSED_MAX = 8, /* kinds of operations that are refused; the pool has fewer */
};

/* What is wrong, until it is no more. */
typedef struct PgTrouble {
        char sqlstate[6];         /* "": none was given */
        char why[PG_TROUBLE_WHY]; /* the newest words of the server or of libpq, one line */
        const char *operation;    /* PgOperationInterface.name; NULL: of a connection */
        int64_t since_us;         /* loop_now(); 0: there is none */
} PgTrouble;

/* For people: a copy. */
typedef struct PgPoolStatus {
        size_t connections, connected, busy;
        size_t queued;    /* operations that wait for a connection */
        int64_t since_us; /* loop_now() of when the first connection came up, or the last one went
                           */
        PgTrouble down;   /* why a connection cannot be made, or was lost */
        /* Operations that the server refuses, for no row's fault, since they went well last. */
        PgTrouble refused[PG_REFUSED_MAX];
        size_t n_refused;
        bool standby;   /* the server said so when it was connected to last (PostgreSQL 14 on) */
        bool read_only; /* default_transaction_read_only, likewise */
} PgPoolStatus;

/* @pool NULL: it was freed, all is 0. */
void pg_pool_status(const PgPool *pool, PgPoolStatus *status);

/* libpq's, as libpq numbers it: 150013 is 15.13. */
int pg_library_version(void);
