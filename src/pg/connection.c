/*
 * The pool: the operations that wait, the sessions that take them, and what the log says of both.
 *
 * What an operation's callbacks submit begins in a later turn, so nothing here is entered twice.
 */

#include "pg/connection.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "pg/schema.h"
#include "pg/session.h"
#include "pg/sqlstate.h"
#include "util/reminder.h"

enum {
        LOCK_TIMEOUT_MS = 5000,
};

struct PgPool {
        SessionShared shared;
        PgUp up;
        void (*notified)(void *user, const char *payload);
        void *user;
        LoopSoon dispatch;
        List urgent, queue; /* PgOperation.link; urgent goes first, see next_list() */
        bool passed;        /* the newest that began was urgent, and passed one that waits */
        size_t n_up;        /* sessions IDLE or BUSY */
        size_t n_queued;    /* operations in both */
        int64_t down_at;    /* since when none is up */
        int64_t up_at;      /* since when one is */
        PgTrouble trouble;  /* of connections */
        PgTrouble refused[PG_REFUSED_MAX];
        bool standby, read_only;
        bool was_up;
        Reminder said; /* why none is up, or one is not */
        size_t n_sessions;
        Session sessions[];
};

static PgPool *pool_of(Session *session) {
        return container_of(session->shared, PgPool, shared);
}

/* --- coming and going --------------------------------------------------------------------- */

static void log_down(PgPool *pool, bool was_up, const char *sqlstate, const char *why) {
        const char *remedy = sqlstate_remedy(sqlstate);
        LogLevel level = sqlstate_is_alarm(sqlstate) ? LOG_ERROR : LOG_WARNING;
        if (strstr(why, "no password supplied") != NULL) { /* libpq's own, without an SQLSTATE */
                level = LOG_ERROR;
                remedy = "set postgres.password_file";
        }
        /* The last session may end for the reason that was said of the first. */
        bool last = was_up && pool->n_up == 0;
        if (!reminder_is_due(&pool->said, why, loop_now()) && !last) {
                return;
        }
        const char *code = strstr(why, sqlstate) == NULL ? sqlstate : "";
        const char *code_colon = code[0] != '\0' ? ": " : "";
        const char *colon = remedy != NULL ? "; " : "";
        remedy = remedy != NULL ? remedy : "";
        if (pool->n_up > 0) {
                log_write(pool->shared.log, level, "postgres.connection", FIELDS(.error = why),
                          "%s PostgreSQL (%zu of %zu are up): %s%s%s; trying again%s%s",
                          was_up ? "lost a connection to" : "cannot make another connection to",
                          pool->n_up, pool->n_sessions, code, code_colon, why, colon, remedy);
                return;
        }
        log_write(pool->shared.log, level, "postgres.down", FIELDS(.error = why),
                  "%s PostgreSQL: %s%s%s; restarts and what is to be saved wait, trying again "
                  "until it is there"
                  "%s%s",
                  was_up ? "lost" : "cannot reach", code, code_colon, why, colon, remedy);
}

static void trouble_set(PgTrouble *trouble, const char *operation, const char *sqlstate,
                        const char *why) {
        bool same = trouble->since_us != 0 && strcmp(trouble->sqlstate, sqlstate) == 0;
        trouble->since_us = same ? trouble->since_us : loop_now();
        trouble->operation = operation;
        snprintf(trouble->sqlstate, sizeof(trouble->sqlstate), "%s", sqlstate);
        snprintf(trouble->why, sizeof(trouble->why), "%s", why);
}

/* What a row is refused for, and a fence that somebody else moved, are everyday life. */
static bool is_trouble(const char *sqlstate) {
        return !sqlstate_is_row_fault(sqlstate) && strcmp(sqlstate, SQLSTATE_FENCE) != 0;
}

static void on_answered(Session *session, const char *operation, const char *sqlstate,
                        const char *why) {
        PgPool *pool = pool_of(session);
        PgTrouble *unused = NULL;
        bool went_well = sqlstate == NULL || !is_trouble(sqlstate);
        for (size_t i = 0; i < PG_REFUSED_MAX; i++) {
                PgTrouble *trouble = &pool->refused[i];
                if (trouble->since_us == 0) {
                        unused = unused == NULL ? trouble : unused;
                } else if (strcmp(trouble->operation, operation) == 0) {
                        if (went_well) {
                                trouble->since_us = 0;
                        } else {
                                trouble_set(trouble, operation, sqlstate, why);
                        }
                        return;
                }
        }
        if (!went_well && unused != NULL) {
                trouble_set(unused, operation, sqlstate, why);
        }
}

static void on_down(Session *session, bool was_up, const char *sqlstate, const char *why) {
        PgPool *pool = pool_of(session);
        trouble_set(&pool->trouble, NULL, sqlstate, why);
        bool last = was_up && --pool->n_up == 0;
        if (last) {
                pool->down_at = loop_now();
        }
        log_down(pool, was_up, sqlstate, why);
        if (last && pool->up != NULL) {
                pool->up(pool->user, false, why);
        }
}

static void pool_came_up(PgPool *pool, Session *session) {
        int version = PQserverVersion(session->connection);
        if (!pool->was_up) {
                log_info(pool->shared.log, "postgres.up", FIELDS(),
                         "connected to PostgreSQL %d.%d at %s, database %s", version / 10000,
                         version % 10000, PQhost(session->connection), PQdb(session->connection));
        } else {
                log_info(pool->shared.log, "postgres.up", FIELDS(),
                         "PostgreSQL is back after %.1f s; what waits for it is tried again",
                         (double)(loop_now() - pool->down_at) / 1e6);
        }
        pool->was_up = true;
        pool->up_at = loop_now();
        if (pool->up != NULL) {
                pool->up(pool->user, true, NULL);
        }
}

static bool pool_is_waited_for(const PgPool *pool) {
        return !list_is_empty(&pool->urgent) || !list_is_empty(&pool->queue);
}

static bool is_on(const Session *session, const char *parameter) {
        const char *value = PQparameterStatus(session->connection, parameter);
        return value != NULL && strcmp(value, "on") == 0;
}

static void on_idle(Session *session, bool first) {
        PgPool *pool = pool_of(session);
        if (pool_is_waited_for(pool)) {
                loop_soon_set(&pool->dispatch);
        }
        if (first) {
                reminder_forget(&pool->said);
                pool->standby = is_on(session, "in_hot_standby");
                pool->read_only = is_on(session, "default_transaction_read_only");
                if (++pool->n_up == 1) {
                        pool_came_up(pool, session);
                }
                if (pool->n_up == pool->n_sessions) {
                        pool->trouble.since_us = 0;
                }
        }
}

static void on_notified(Session *session, const char *payload) {
        PgPool *pool = pool_of(session);
        pool->notified(pool->user, payload);
}

/* --- operations --------------------------------------------------------------------------- */

/* Of which the next one begins. What is urgent passes one that is not, but not two in a row: with
 * hosts enough, claims come without an end, and nothing would be saved any more. */
static List *next_list(PgPool *pool) {
        bool both = !list_is_empty(&pool->urgent) && !list_is_empty(&pool->queue);
        List *list = list_is_empty(&pool->urgent) || (both && pool->passed) ? &pool->queue
                                                                            : &pool->urgent;
        pool->passed = both && list == &pool->urgent;
        return list;
}

/* One for each idle session; what is still queued then waits for the next turn. */
static void on_dispatch(LoopSoon *soon) {
        PgPool *pool = container_of(soon, PgPool, dispatch);
        bool idle = false;
        for (size_t i = 0; i < pool->n_sessions && pool_is_waited_for(pool); i++) {
                Session *session = &pool->sessions[i];
                if (session->state != SESSION_IDLE) {
                        continue;
                }
                PgOperation *operation = container_of(next_list(pool)->next, PgOperation, link);
                list_unlink(&operation->link);
                pool->n_queued--;
                session_begin(session, operation);
                idle = idle || session->state == SESSION_IDLE;
        }
        /* A session that found nothing to send is still idle. */
        if (idle && pool_is_waited_for(pool)) {
                loop_soon_set(&pool->dispatch);
        }
}

void pg_operation_init(PgOperation *operation, const PgOperationInterface *interface) {
        operation->interface = interface;
        list_init(&operation->link);
}

void pg_pool_submit(PgPool *pool, PgOperation *operation, bool first) {
        if (pool->shared.closing) {
                return;
        }
        list_push_back(first ? &pool->urgent : &pool->queue, &operation->link);
        pool->n_queued++;
        if (pool->n_up > 0) {
                loop_soon_set(&pool->dispatch);
        }
}

bool pg_pool_withdraw(PgPool *pool, PgOperation *operation) {
        if (!list_is_linked(&operation->link)) {
                return false;
        }
        list_unlink(&operation->link);
        pool->n_queued--;
        return true;
}

/* --- the pool ----------------------------------------------------------------------------- */

/* As a statement and not as startup parameters: PgBouncer refuses `options`. A commit that is not
 * on disk when it is reported would let offsets be committed for rows that a crash takes back. A
 * snapshot older than a lock would let the ledger count what was. */
static int make_setup(Buffer *setup, const PgOptions *options) {
        long long timeout_ms = options->statement_timeout_us / 1000;
        int r = buffer_append_string(setup, "SET search_path = ");
        r = r != 0 ? r : schema_append_name(setup, options->schema);
        r = r != 0 ? r
                   : buffer_printf(setup,
                                   ", pg_temp; SET client_encoding = 'UTF8';"
                                   " SET default_transaction_isolation = 'read committed';"
                                   " SET standard_conforming_strings = on;"
                                   " SET statement_timeout = %lld; SET lock_timeout = %d;"
                                   " SET idle_in_transaction_session_timeout = %lld;"
                                   " SELECT set_config('synchronous_commit', 'on', false)"
                                   " WHERE current_setting('synchronous_commit') = 'off'",
                                   timeout_ms, LOCK_TIMEOUT_MS, timeout_ms);
        if (r == 0 && options->channel != NULL) {
                r = buffer_printf(setup, "; LISTEN \"%s\"", options->channel);
        }
        if (r == 0 && buffer_string(setup) == NULL) {
                r = -ENOMEM;
        }
        return r;
}

int pg_check(const PgOptions *options, char **errorp) {
        Parameters parameters = {0};
        int r = parameters_init(&parameters, options->dsn, options->password_file,
                                options->application_name, errorp);
        parameters_deinit(&parameters);
        return r > 0 ? PG_E_DSN : r;
}

static int pool_init(PgPool *pool, const PgOptions *options, char **errorp) {
        SessionShared *shared = &pool->shared;
        int r = parameters_init(&shared->parameters, options->dsn, options->password_file,
                                options->application_name, errorp);
        if (r != 0) {
                return r < 0 ? r : PG_E_DSN;
        }
        r = make_setup(&shared->setup, options);
        if (r > 0) {
                int n = asprintf(errorp, "postgres.schema: \"%s\" is no plain identifier",
                                 options->schema);
                return n < 0 ? error_origin(-ENOMEM) : PG_E_DSN;
        }
        if (r == 0 && parameters_need_resolving(&shared->parameters)) {
                r = resolver_new(&shared->resolver, shared->loop,
                                 parameters_get(&shared->parameters, "host"),
                                 parameters_get(&shared->parameters, "port"));
        }
        return r;
}

int pg_pool_new(PgPool **poolp, Loop *loop, Log *log, const PgOptions *options, PgUp up, void *user,
                char **errorp) {
        PgPool *pool = calloc(1, sizeof(*pool) + options->connections * sizeof(Session));
        if (pool == NULL) {
                return error_origin(-ENOMEM);
        }
        pool->shared.loop = loop;
        pool->shared.log = log;
        pool->shared.statement_timeout_us = options->statement_timeout_us;
        pool->shared.idle = on_idle;
        pool->shared.down = on_down;
        pool->shared.answered = on_answered;
        pool->shared.notified = options->notified != NULL ? on_notified : NULL;
        pool->notified = options->notified;
        pool->up = up;
        pool->user = user;
        pool->down_at = loop_now();
        list_init(&pool->urgent);
        list_init(&pool->queue);
        loop_soon_init(&pool->dispatch, loop, "postgres.dispatch", on_dispatch);
        if (getrandom(&pool->shared.random, sizeof(pool->shared.random), GRND_NONBLOCK) < 0) {
                pool->shared.random = (uint64_t)loop_now();
        }
        int r = pool_init(pool, options, errorp);
        if (r != 0) {
                pg_pool_free(pool);
                return r;
        }
        pool->n_sessions = options->connections;
        for (size_t i = 0; i < pool->n_sessions; i++) {
                session_init(&pool->sessions[i], &pool->shared);
        }
        *poolp = pool;
        return 0;
}

void pg_pool_free(PgPool *pool) {
        if (pool == NULL) {
                return;
        }
        pool->shared.closing = true;
        loop_soon_stop(&pool->dispatch);
        list_splice_back(&pool->urgent, &pool->queue);
        while (!list_is_empty(&pool->urgent)) {
                PgOperation *operation = container_of(pool->urgent.next, PgOperation, link);
                list_unlink(&operation->link);
                session_end_operation(operation, PG_DROPPED, "", "shutting down");
        }
        for (size_t i = 0; i < pool->n_sessions; i++) {
                session_drop(&pool->sessions[i], "", "shutting down");
        }
        resolver_free(pool->shared.resolver);
        parameters_deinit(&pool->shared.parameters);
        buffer_deinit(&pool->shared.setup);
        free(pool);
}

bool pg_pool_is_up(const PgPool *pool) {
        return pool->n_up > 0;
}

void pg_pool_status(const PgPool *pool, PgPoolStatus *status) {
        *status = (PgPoolStatus){0};
        if (pool == NULL) {
                return;
        }
        status->connections = pool->n_sessions;
        status->connected = pool->n_up;
        status->queued = pool->n_queued;
        status->since_us = pool->n_up > 0 ? pool->up_at : pool->down_at;
        status->down = pool->trouble;
        status->standby = pool->standby;
        status->read_only = pool->read_only;
        for (size_t i = 0; i < pool->n_sessions; i++) {
                status->busy += pool->sessions[i].state == SESSION_BUSY;
        }
        for (size_t i = 0; i < PG_REFUSED_MAX; i++) {
                if (pool->refused[i].since_us != 0) {
                        status->refused[status->n_refused++] = pool->refused[i];
                }
        }
}

int pg_library_version(void) {
        return PQlibVersion();
}
