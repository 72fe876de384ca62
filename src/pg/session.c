#include "pg/session.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "core/backoff.h"
#include "pg/sqlstate.h"

enum {
        CONNECT_DEADLINE_US = 10 * 1000 * 1000,
        OPERATION_GRACE_US = 5 * 1000 * 1000, /* over statement_timeout */
        BACKOFF_BASE_US = 200 * 1000,
        BACKOFF_FLOOR_US = 100 * 1000,
        BACKOFF_MAX_US = 5 * 1000 * 1000,
        STABLE_US = 5 * 1000 * 1000, /* up for so long: the next backoff begins anew */
        SLICE = 64 * 1024,           /* of COPY data handed to libpq at once */
        SLICES_A_TURN = 16,          /* so that one callback stays short */
};

/* --- text --------------------------------------------------------------------------------- */

/* One line: runs of white space become one blank. */
static void one_line(char *out, size_t size, const char *text) {
        size_t n = 0;
        bool blank = false;
        for (; *text != '\0' && n + 2 < size; text++) {
                if (*text == '\n' || *text == '\t' || *text == ' ') {
                        blank = n > 0;
                        continue;
                }
                if (blank) {
                        out[n++] = ' ';
                        blank = false;
                }
                out[n++] = *text;
        }
        out[n] = '\0';
}

static void first_line(char *out, size_t size, const char *text) {
        size_t n = strcspn(text, "\n");
        n = n < size ? n : size - 1;
        memcpy(out, text, n);
        out[n] = '\0';
}

/* libpq tells the SQLSTATE of a failed connect nowhere but in its verbose text: "FATAL:  28P01: ".
 * The word before it is translated. */
static void find_sqlstate(const char *text, char sqlstate[6]) {
        sqlstate[0] = '\0';
        for (const char *at = strstr(text, ": "); at != NULL; at = strstr(at + 1, ": ")) {
                const char *code = at + 2 + strspn(at + 2, " ");
                /* The digit tells it from the severity itself. */
                if (strspn(code, "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ") == 5 &&
                    strcspn(code, "0123456789") < 5 && strncmp(code + 5, ": ", 2) == 0) {
                        memcpy(sqlstate, code, 5);
                        sqlstate[5] = '\0';
                        return;
                }
        }
        /* What target_session_attrs asks for, libpq itself refuses, without one. */
        if (strstr(text, "session is read-only") != NULL) {
                memcpy(sqlstate, SQLSTATE_READ_ONLY, sizeof(SQLSTATE_READ_ONLY));
        }
}

/* --- going down --------------------------------------------------------------------------- */

static int64_t next_delay(Session *session) {
        int64_t delay = backoff_delay(BACKOFF_BASE_US, BACKOFF_MAX_US, session->failures,
                                      &session->shared->random);
        session->failures++;
        return delay > BACKOFF_FLOOR_US ? delay : BACKOFF_FLOOR_US;
}

void session_end_operation(PgOperation *operation, PgEnd end, const char *sqlstate,
                           const char *message) {
        PgFailure failure = {.message = message};
        snprintf(failure.sqlstate, sizeof(failure.sqlstate), "%s", sqlstate);
        operation->interface->end(operation, end, &failure);
}

void session_drop(Session *session, const char *sqlstate, const char *text) {
        SessionShared *shared = session->shared;
        PgOperation *operation = steal(session->operation);
        bool was_up = session->state == SESSION_IDLE || session->state == SESSION_BUSY;
        char code[6], why[SESSION_WHY_MAX];
        /* Both may lie in what is closed now. */
        snprintf(code, sizeof(code), "%s", sqlstate);
        one_line(why, sizeof(why), text[0] != '\0' ? text : "the connection was closed");
        if (was_up && loop_now() - session->up_since >= STABLE_US) {
                session->failures = 0;
        }
        session->state = SESSION_DOWN;
        session->copy = NULL;
        session->copying = false;
        resolve_waiter_cancel(&session->waiter);
        loop_io_stop(&session->io);
        loop_timer_stop(&session->timer);
        PQfinish(steal(session->connection));
        if (!shared->closing) {
                loop_timer_set(&session->timer, next_delay(session));
                shared->down(session, was_up, code, why);
        }
        if (operation != NULL) {
                session_end_operation(operation, PG_LOST, "", why);
        }
}

/* With the reason that the server gave, if it gave one before it closed, or else libpq's. */
static void session_broke(Session *session) {
        char sqlstate[6] = "";
        char why[SESSION_WHY_MAX];
        if (session->failed && session->fatal) {
                memcpy(sqlstate, session->sqlstate, sizeof(sqlstate));
                snprintf(why, sizeof(why), "%s", session->message);
        } else if (session->parting[0] != '\0') {
                snprintf(why, sizeof(why), "%s", session->parting);
        } else {
                first_line(why, sizeof(why), PQerrorMessage(session->connection));
        }
        session_drop(session, sqlstate, why);
}

/* --- a statement under way ---------------------------------------------------------------- */

static void session_became_idle(Session *session) {
        bool first = session->state == SESSION_PREPARING;
        session->state = SESSION_IDLE;
        session->copy = NULL;
        loop_timer_stop(&session->timer);
        loop_io_want(&session->io, LOOP_READ);
        if (first) {
                session->up_since = loop_now();
                session->parting[0] = '\0';
        }
        session->shared->idle(session, first);
}

/* All results are in. */
static void session_finished(Session *session) {
        PgOperation *operation = session->operation;
        /* FATAL ends the session, and it can come after the commit: so nobody knows. */
        if (PQstatus(session->connection) == CONNECTION_BAD || session->fatal) {
                session_broke(session);
                return;
        }
        if (session->state == SESSION_PREPARING) {
                if (session->failed) {
                        session_drop(session, session->sqlstate, session->message);
                } else {
                        session_became_idle(session);
                }
                return;
        }
        char sqlstate[6], message[SESSION_WHY_MAX];
        bool failed = session->failed;
        memcpy(sqlstate, session->sqlstate, sizeof(sqlstate));
        memcpy(message, session->message, sizeof(message));
        session->operation = NULL;
        /* The server became a standby, or a statement left a transaction open: a session like
         * that is of no use to the next operation. */
        if (failed && strcmp(sqlstate, SQLSTATE_READ_ONLY) == 0) {
                session_drop(session, sqlstate, message);
        } else if (PQtransactionStatus(session->connection) != PQTRANS_IDLE) {
                session_drop(session, "", "a transaction was left open");
        } else {
                session_became_idle(session);
        }
        session->shared->answered(session, operation->interface->name, failed ? sqlstate : NULL,
                                  message);
        session_end_operation(operation, failed ? PG_REFUSED : PG_OK, failed ? sqlstate : "",
                              failed ? message : "");
}

/* The first error counts: what follows are its consequences. */
static void session_note_error(Session *session, const PGresult *result) {
        const char *sqlstate = PQresultErrorField(result, PG_DIAG_SQLSTATE);
        const char *severity = PQresultErrorField(result, PG_DIAG_SEVERITY_NONLOCALIZED);
        const char *primary = PQresultErrorField(result, PG_DIAG_MESSAGE_PRIMARY);
        if (severity != NULL &&
            (strcmp(severity, "FATAL") == 0 || strcmp(severity, "PANIC") == 0)) {
                session->fatal = true;
        }
        if (session->failed) {
                return;
        }
        session->failed = true;
        snprintf(session->sqlstate, sizeof(session->sqlstate), "%s",
                 sqlstate != NULL ? sqlstate : "");
        first_line(session->message, sizeof(session->message),
                   primary != NULL ? primary : PQresultErrorMessage(result));
}

/* Hands over what the server takes now. False: the session is gone. */
static bool session_push(Session *session) {
        PGconn *connection = session->connection;
        const Buffer *copy = session->copy;
        for (int slices = 0; session->copying && slices < SLICES_A_TURN; slices++) {
                size_t left = copy->size - session->copied;
                size_t n = left < SLICE ? left : SLICE;
                int r = n > 0 ? PQputCopyData(connection,
                                              (const char *)copy->data + session->copied, (int)n)
                              : PQputCopyEnd(connection, NULL);
                if (r == 0) { /* would block */
                        break;
                }
                if (r < 0) {
                        session_broke(session);
                        return false;
                }
                session->copied += n;
                session->copying = n > 0;
                /* The end travels with the last slice. Not 0: a socket's buffer is full, or an
                 * error */
                bool last = session->copying && session->copied == copy->size;
                if (!last && PQflush(connection) != 0) {
                        break;
                }
        }
        return true;
}

/* Looks at a result. False: the session is gone. */
static bool session_result(Session *session, const PGresult *result) {
        ExecStatusType status = PQresultStatus(result);
        PgOperation *operation = session->operation;
        if (status == PGRES_TUPLES_OK || status == PGRES_COMMAND_OK) {
                if (operation != NULL && operation->interface->result != NULL && !session->failed) {
                        operation->interface->result(operation, result);
                }
                return true;
        }
        if (status == PGRES_COPY_IN && session->copy != NULL) {
                session->copying = true;
                session->copied = 0;
                return true;
        }
        if (status == PGRES_FATAL_ERROR || status == PGRES_BAD_RESPONSE) {
                session_note_error(session, result);
                return true;
        }
        if (status == PGRES_EMPTY_QUERY || status == PGRES_NONFATAL_ERROR) {
                return true;
        }
        session_drop(session, "", "an answer that nobody asked for");
        return false;
}

/* Sends what can be sent, takes what has come, and waits for the rest. */
static void session_turn(Session *session) {
        if (session->copying && !session_push(session)) {
                return;
        }
        while (!session->copying && !PQisBusy(session->connection)) {
                PGresult *result = PQgetResult(session->connection);
                if (result == NULL) {
                        session_finished(session);
                        return;
                }
                bool alive = session_result(session, result);
                PQclear(result);
                if (!alive || (session->copying && !session_push(session))) {
                        return;
                }
        }
        int unsent = PQflush(session->connection);
        if (unsent < 0) {
                /* What the server said before it closed is still to be read. */
                if (PQconsumeInput(session->connection) == 0 || session->copying) {
                        session_broke(session);
                        return;
                }
        }
        if (PQstatus(session->connection) == CONNECTION_BAD) {
                session_broke(session);
                return;
        }
        bool wants_write = unsent > 0 || session->copying;
        loop_io_want(&session->io, wants_write ? LOOP_READ | LOOP_WRITE : LOOP_READ);
}

static void session_clear_statement(Session *session) {
        session->copy = NULL;
        session->copied = 0;
        session->copying = false;
        session->failed = false;
        session->fatal = false;
        session->sqlstate[0] = '\0';
        session->message[0] = '\0';
}

void session_begin(Session *session, PgOperation *operation) {
        session_clear_statement(session);
        int r = operation->interface->begin(operation, session->connection, &session->copy);
        if (r == PG_E_NOTHING) {
                session_end_operation(operation, PG_DROPPED, "", "there was nothing left to send");
                return;
        }
        if (r < 0) {
                session_end_operation(operation, PG_REFUSED, SQLSTATE_OUT_OF_MEMORY,
                                      "out of memory in this process");
                return;
        }
        session->operation = operation;
        session->state = SESSION_BUSY;
        if (r == PG_E_SEND) {
                session_broke(session);
                return;
        }
        loop_timer_set(&session->timer, session->shared->statement_timeout_us + OPERATION_GRACE_US);
        session_turn(session);
}

/* --- coming up ---------------------------------------------------------------------------- */

static void session_connect(Session *session, const ParametersPlace *place);

static void session_resolved(ResolveWaiter *waiter, const ResolvedAddress *addresses, size_t n,
                             const char *why) {
        Session *session = container_of(waiter, Session, waiter);
        Buffer hosts = BUFFER_INIT, hostaddrs = BUFFER_INIT, ports = BUFFER_INIT;
        if (n == 0) {
                session_drop(session, "", why);
                return;
        }
        /* Each attempt begins with another address: the deadline is that of all together, and one
         * that does not answer at all would use it up every time. */
        if (resolved_join(addresses, n, session->failures, &hosts, &hostaddrs, &ports) != 0) {
                session_drop(session, "", "out of memory in this process");
        } else {
                ParametersPlace place = {(const char *)hosts.data, (const char *)hostaddrs.data,
                                         (const char *)ports.data};
                session_connect(session, &place);
        }
        buffer_deinit(&hosts);
        buffer_deinit(&hostaddrs);
        buffer_deinit(&ports);
}

/* libpq hands notices to its receiver, FATAL ones too when no statement is under way. */
static void on_notice(void *user, const PGresult *result) {
        Session *session = user;
        const char *severity = PQresultErrorField(result, PG_DIAG_SEVERITY_NONLOCALIZED);
        const char *primary = PQresultErrorField(result, PG_DIAG_MESSAGE_PRIMARY);
        if (primary == NULL) {
                primary = PQresultErrorMessage(result);
        }
        if (severity != NULL && strcmp(severity, "FATAL") == 0) {
                first_line(session->parting, sizeof(session->parting), primary);
        }
        log_debug(session->shared->log, "postgres.notice", FIELDS(), "PostgreSQL says: %s: %s",
                  severity != NULL ? severity : "NOTICE", primary);
}

static void session_start(Session *session) {
        SessionShared *shared = session->shared;
        loop_timer_set(&session->timer, CONNECT_DEADLINE_US);
        session->parting[0] = '\0';
        session_clear_statement(session);
        if (shared->resolver == NULL) {
                session_connect(session, &(ParametersPlace){0});
                return;
        }
        session->state = SESSION_RESOLVING;
        int r = resolver_ask(shared->resolver, &session->waiter);
        if (r != 0) {
                session_drop(session, "", "no thread to look up host names");
        }
}

static void session_connect(Session *session, const ParametersPlace *place) {
        session->state = SESSION_CONNECTING;
        int r = parameters_connect(&session->shared->parameters, place, false,
                                   &session->connection);
        if (r != 0) {
                char why[SESSION_WHY_MAX];
                snprintf(why, sizeof(why), "postgres.password_file %s: %s",
                         session->shared->parameters.password_file, strerror(errno));
                session_drop(session, r > 0 ? "28000" : "",
                             r > 0 ? why : "out of memory in this process");
                return;
        }
        if (PQstatus(session->connection) == CONNECTION_BAD) {
                session_drop(session, "", PQerrorMessage(session->connection));
                return;
        }
        PQsetErrorVerbosity(session->connection, PQERRORS_VERBOSE); /* for find_sqlstate() */
        PQsetNoticeReceiver(session->connection, on_notice, session);
        loop_io_start(&session->io, PQsocket(session->connection), LOOP_WRITE);
}

static void session_connected(Session *session) {
        PGconn *connection = session->connection;
        PQsetErrorVerbosity(connection, PQERRORS_DEFAULT);
        session->state = SESSION_PREPARING;
        session_clear_statement(session);
        if (PQsetnonblocking(connection, 1) != 0 ||
            PQsendQuery(connection, (const char *)session->shared->setup.data) != 1) {
                session_broke(session);
                return;
        }
        loop_io_start(&session->io, PQsocket(connection), LOOP_READ);
        session_turn(session);
}

/* libpq closes one socket and opens another when it goes on to the next address: the watcher must
 * not see that, and the descriptor is asked for anew each time. */
static void session_poll(Session *session) {
        PGconn *connection = session->connection;
        loop_io_stop(&session->io);
        PostgresPollingStatusType status = PQconnectPoll(connection);
        if (status == PGRES_POLLING_READING || status == PGRES_POLLING_WRITING) {
                loop_io_start(&session->io, PQsocket(connection),
                              status == PGRES_POLLING_READING ? LOOP_READ : LOOP_WRITE);
                return;
        }
        if (status == PGRES_POLLING_OK) {
                session_connected(session);
                return;
        }
        char sqlstate[6], text[SESSION_WHY_MAX];
        find_sqlstate(PQerrorMessage(connection), sqlstate);
        one_line(text, sizeof(text), PQerrorMessage(connection));
        char *location = strstr(text, " LOCATION: "); /* where in the server's source */
        if (location != NULL) {
                *location = '\0';
        }
        session_drop(session, sqlstate, text);
}

/* They come between statements, and libpq keeps them while it looks for anything else. */
static void session_hand_out(Session *session) {
        PGnotify *notify;
        while (session->connection != NULL && session->shared->notified != NULL &&
               (notify = PQnotifies(session->connection)) != NULL) {
                session->shared->notified(session, notify->extra);
                PQfreemem(notify);
        }
}

static void on_io(LoopIo *io, int events) {
        Session *session = container_of(io, Session, io);
        switch (session->state) {
        case SESSION_CONNECTING:
                session_poll(session);
                return;
        case SESSION_PREPARING:
        case SESSION_BUSY:
                if ((events & LOOP_READ) != 0 && PQconsumeInput(session->connection) == 0) {
                        /* Results that came before the end are still told, the last is an error. */
                        if (session->copying) {
                                session_broke(session);
                                return;
                        }
                }
                session_turn(session);
                session_hand_out(session);
                return;
        case SESSION_IDLE:
                /* A notification, a notice, a changed parameter, or the end. */
                if (PQconsumeInput(session->connection) == 0 ||
                    PQstatus(session->connection) == CONNECTION_BAD) {
                        (void)PQisBusy(session->connection); /* reads the server's last words */
                        session_broke(session);
                        return;
                }
                (void)PQisBusy(session->connection);
                session_hand_out(session);
                return;
        case SESSION_DOWN:
        case SESSION_RESOLVING:
                return; /* nothing is watched */
        }
}

static void on_timer(LoopTimer *timer) {
        Session *session = container_of(timer, Session, timer);
        switch (session->state) {
        case SESSION_DOWN:
                session_start(session);
                return;
        case SESSION_RESOLVING:
                session_drop(session, "", "looking up its host name takes longer than 10 s");
                return;
        case SESSION_CONNECTING:
        case SESSION_PREPARING:
                session_drop(session, "", "connecting takes longer than 10 s");
                return;
        case SESSION_BUSY: {
                char why[SESSION_WHY_MAX];
                snprintf(why, sizeof(why), "no answer to \"%s\" in %lld s",
                         session->operation->interface->name,
                         (long long)((session->shared->statement_timeout_us + OPERATION_GRACE_US) /
                                     1000000));
                session_drop(session, "", why);
                return;
        }
        case SESSION_IDLE:
                return;
        }
}

void session_init(Session *session, SessionShared *shared) {
        *session = (Session){.shared = shared};
        loop_io_init(&session->io, shared->loop, "postgres.io", on_io);
        loop_timer_init(&session->timer, shared->loop, "postgres.timer", on_timer);
        resolve_waiter_init(&session->waiter, session_resolved);
        loop_timer_set(&session->timer, 0);
}
