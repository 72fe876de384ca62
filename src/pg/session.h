#pragma once

/*
 * One connection of a pool and what it does now.
 *
 *   DOWN --timer--> RESOLVING --> CONNECTING --> PREPARING --> IDLE <--> BUSY
 *     ^                 |              |             |          |         |
 *     +-----------------+--------------+-------------+----------+---------+
 *
 * Every state but DOWN and IDLE has a deadline. Whatever goes wrong drops the session: its watcher
 * is stopped, the connection finished, the timer set for the next attempt. A session is never
 * repaired: after a lost statement nobody knows what the server still does with it.
 */

#include <libpq-fe.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "pg/connection.h"
#include "pg/parameters.h"
#include "pg/resolve.h"
#include "telemetry/log.h"
#include "util/buffer.h"
#include "util/loop.h"

enum {
        SESSION_WHY_MAX = 512,
};

typedef enum SessionState {
        SESSION_DOWN, /* until the timer */
        SESSION_RESOLVING,
        SESSION_CONNECTING,
        SESSION_PREPARING, /* connected; its settings are sent */
        SESSION_IDLE,
        SESSION_BUSY, /* with `operation` */
} SessionState;

typedef struct Session Session;

/* What all sessions of a pool share, and whom they tell. */
typedef struct SessionShared {
        Loop *loop;
        Log *log;
        Parameters parameters;
        Resolver *resolver; /* NULL: nothing to look up */
        Buffer setup;       /* the SQL that prepares a session, a C string */
        int64_t statement_timeout_us;
        uint64_t random;
        bool closing; /* nothing is tried again */
        /* It became idle; @first: it has just come up. */
        void (*idle)(Session *session, bool first);
        /* It is down and will try again; @sqlstate "": none. Not while closing. */
        void (*down)(Session *session, bool was_up, const char *sqlstate, const char *why);
        /* An operation was answered; @sqlstate NULL: it went well. */
        void (*answered)(Session *session, const char *operation, const char *sqlstate,
                         const char *why);
        /* A notification came; it may come on every session. NULL: nobody listens. */
        void (*notified)(Session *session, const char *payload);
} SessionShared;

struct Session {
        SessionShared *shared;
        SessionState state;
        PGconn *connection;
        LoopIo io;
        LoopTimer timer; /* the next attempt, or the deadline */
        ResolveWaiter waiter;
        unsigned failures;             /* attempts in a row that ended badly */
        int64_t up_since;              /* of IDLE and BUSY */
        char parting[SESSION_WHY_MAX]; /* what the server said before it ended the session */

        /* of the statement under way */
        PgOperation *operation; /* NULL while PREPARING */
        const Buffer *copy;
        size_t copied;
        bool copying; /* the server takes COPY data now */
        bool failed;  /* `sqlstate` and `message` are set */
        bool fatal;
        char sqlstate[6];
        char message[SESSION_WHY_MAX];
};

/* Begins to connect in the next turn. */
void session_init(Session *session, SessionShared *shared);

/* Gives an idle session an operation, which ends in a later turn, or at once when there is nothing
 * to send. */
void session_begin(Session *session, PgOperation *operation);

/* Closes it, whatever it does; an operation ends with PG_LOST. Tries again, unless closing. */
void session_drop(Session *session, const char *sqlstate, const char *why);

/* Ends an operation without a session. */
void session_end_operation(PgOperation *operation, PgEnd end, const char *sqlstate,
                           const char *message);
