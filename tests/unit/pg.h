#pragma once

/*
 * What tests with a real PostgreSQL share: a database of the program's own on the server that
 * ACKD_TEST_DSN names, a loop with a deadline, and batches made by hand. Its functions end the
 * program when the server does not do what a test takes for granted.
 */

#include <libpq-fe.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "capture.h"
#include "core/engine.h"
#include "pg/connection.h"
#include "pg/schema.h"
#include "util/loop.h"

enum {
        PG_TEST_DEADLINE_US = 60 * 1000 * 1000,
        PG_TEST_CHECK_US = 5 * 1000,
};

typedef struct PgTest {
        char dsn[512];         /* of the database made for this program */
        char run_dsn[600];     /* of it, as a role with what a daemon needs, and no more */
        char operate_dsn[600]; /* the same for who operates */
        PGconn *sql;           /* a connection to it, for the test itself */
        Loop loop;
        PgPool *pool;
        LoopTimer check;
        int64_t deadline;
        bool (*condition)(void *user);
        void *user;
        bool timed_out;
        int ups, downs;
        char why[512];
} PgTest;

static inline void pg_test_die(const char *what, const char *why) {
        fprintf(stderr, "%s: %s\n", what, why);
        exit(1);
}

static inline const char *pg_test_server(void) {
        const char *dsn = getenv("ACKD_TEST_DSN");
        if (dsn == NULL || dsn[0] == '\0') {
                pg_test_die("ACKD_TEST_DSN is not set",
                            "this program needs a PostgreSQL; scripts/test pg starts one and runs "
                            "it, or: scripts/local-postgres start, and set it to the dsn");
        }
        return dsn;
}

static inline PGconn *pg_test_connect(const char *dsn) {
        PGconn *connection = PQconnectdb(dsn);
        if (PQstatus(connection) != CONNECTION_OK) {
                pg_test_die("cannot connect", PQerrorMessage(connection));
        }
        return connection;
}

/* Runs statements that must succeed. */
static inline void pg_test_exec(PGconn *connection, const char *sql) {
        PGresult *result = PQexec(connection, sql);
        if (PQresultStatus(result) != PGRES_COMMAND_OK &&
            PQresultStatus(result) != PGRES_TUPLES_OK) {
                fprintf(stderr, "%s\n", sql);
                pg_test_die("failed", PQerrorMessage(connection));
        }
        PQclear(result);
}

/* The SQLSTATE of a statement, "" when it succeeded. */
static inline const char *pg_test_sqlstate(PGconn *connection, const char *sql, char out[6]) {
        PGresult *result = PQexec(connection, sql);
        const char *sqlstate = PQresultErrorField(result, PG_DIAG_SQLSTATE);
        snprintf(out, 6, "%s", sqlstate != NULL ? sqlstate : "");
        PQclear(result);
        return out;
}

/* The first value of a query. */
static inline const char *pg_test_value(PGconn *connection, const char *sql) {
        static char value[4096];
        PGresult *result = PQexec(connection, sql);
        if (PQresultStatus(result) != PGRES_TUPLES_OK || PQntuples(result) < 1) {
                fprintf(stderr, "%s\n", sql);
                pg_test_die("gave no row", PQerrorMessage(connection));
        }
        snprintf(value, sizeof(value), "%s",
                 PQgetisnull(result, 0, 0) ? "NULL" : PQgetvalue(result, 0, 0));
        PQclear(result);
        return value;
}

static inline void pg_test_make_database(const char *name, const char *options, char *dsn,
                                         size_t size) {
        char sql[512];
        PGconn *server = pg_test_connect(pg_test_server());
        PQsetNoticeProcessor(server, NULL, NULL);
        snprintf(sql, sizeof(sql), "DROP DATABASE IF EXISTS %s WITH (FORCE)", name);
        pg_test_exec(server, "SET client_min_messages = error");
        pg_test_exec(server, sql);
        snprintf(sql, sizeof(sql), "CREATE DATABASE %s %s", name, options);
        pg_test_exec(server, sql);
        PQfinish(server);
        snprintf(dsn, size, "%s dbname=%s", pg_test_server(), name);
}

static inline void pg_test_drop_database(const char *name) {
        char sql[256];
        PGconn *server = pg_test_connect(pg_test_server());
        snprintf(sql, sizeof(sql), "DROP DATABASE IF EXISTS %s WITH (FORCE)", name);
        pg_test_exec(server, sql);
        PQfinish(server);
}

/* The roles of one database, which has its own prefix: they belong to the whole server. */
static inline void pg_test_drop_roles(const char *prefix) {
        static const char *const ends[] = {"daemon", "operator", "owner", "run", "read", "operate"};
        PGconn *server = pg_test_connect(pg_test_server());
        pg_test_exec(server, "SET client_min_messages = error");
        for (size_t i = 0; i < sizeof(ends) / sizeof(ends[0]); i++) {
                char sql[256];
                snprintf(sql, sizeof(sql), "DROP ROLE IF EXISTS %s_%s", prefix, ends[i]);
                pg_test_exec(server, sql);
        }
        PQfinish(server);
}

/* A database of @name, with the schema and its roles. */
static inline void pg_test_init(PgTest *test, const char *name) {
        char *error = NULL;
        char sql[512];
        *test = (PgTest){0};
        pg_test_make_database(name, "", test->dsn, sizeof(test->dsn));
        pg_test_drop_roles(name);
        if (schema_init(test->dsn, NULL, "ackd", name, &error) != 0) {
                pg_test_die("schema_init", error != NULL ? error : "no memory");
        }
        test->sql = pg_test_connect(test->dsn);
        pg_test_exec(test->sql, "SET search_path = ackd; SET client_min_messages = error");
        snprintf(sql, sizeof(sql),
                 "CREATE ROLE %s_daemon LOGIN IN ROLE %s_run; "
                 "CREATE ROLE %s_operator LOGIN IN ROLE %s_operate",
                 name, name, name, name);
        pg_test_exec(test->sql, sql);
        snprintf(test->run_dsn, sizeof(test->run_dsn), "%s user=%s_daemon", test->dsn, name);
        snprintf(test->operate_dsn, sizeof(test->operate_dsn), "%s user=%s_operator", test->dsn,
                 name);
}

static inline void pg_test_deinit(PgTest *test, const char *name) {
        PQfinish(test->sql);
        pg_test_drop_database(name);
        pg_test_drop_roles(name);
}

/* --- the loop ----------------------------------------------------------------------------- */

static inline void pg_test_on_up(void *user, bool up, const char *why) {
        PgTest *test = user;
        if (up) {
                test->ups++;
        } else {
                test->downs++;
                snprintf(test->why, sizeof(test->why), "%s", why);
        }
}

static inline void pg_test_on_check(LoopTimer *timer) {
        PgTest *test = container_of(timer, PgTest, check);
        test->timed_out = loop_now() > test->deadline;
        if (test->timed_out || test->condition(test->user)) {
                loop_stop(&test->loop);
                return;
        }
        loop_timer_set(&test->check, PG_TEST_CHECK_US);
}

/* Turns the loop until @condition holds. False: not within the deadline. */
static inline bool pg_test_until(PgTest *test, bool (*condition)(void *user), void *user) {
        test->condition = condition;
        test->user = user;
        test->deadline = loop_now() + PG_TEST_DEADLINE_US;
        test->timed_out = false;
        loop_timer_set(&test->check, 0);
        loop_run(&test->loop);
        loop_timer_stop(&test->check);
        return !test->timed_out;
}

static inline bool pg_test_is_up(void *user) {
        return pg_pool_is_up(user);
}

static inline void pg_test_open(PgTest *test, const PgOptions *options) {
        char *error = NULL;
        test->ups = test->downs = 0;
        test->why[0] = '\0';
        captured.n = 0;
        captured.level = LOG_INFO;
        if (loop_init(&test->loop) != 0) {
                pg_test_die("loop_init", "failed");
        }
        loop_timer_init(&test->check, &test->loop, "check", pg_test_on_check);
        if (pg_pool_new(&test->pool, &test->loop, NULL, options, pg_test_on_up, test, &error) !=
            0) {
                pg_test_die("pg_pool_new", error != NULL ? error : "no memory");
        }
}

/* A pool of @connections to the program's database. */
static inline void pg_test_open_default(PgTest *test, size_t connections,
                                        int64_t statement_timeout_us) {
        PgOptions options = {.dsn = test->run_dsn,
                             .schema = "ackd",
                             .application_name = "ackd test",
                             .connections = connections,
                             .statement_timeout_us = statement_timeout_us};
        pg_test_open(test, &options);
        if (!pg_test_until(test, pg_test_is_up, test->pool)) {
                pg_test_die("the pool", "did not come up");
        }
}

static inline void pg_test_close(PgTest *test) {
        pg_pool_free(test->pool);
        test->pool = NULL;
        loop_deinit(&test->loop);
}

/* --- an operation made of SQL ------------------------------------------------------------- */

typedef struct PgTestOperation {
        PgOperation operation;
        const char *sql; /* NULL: nothing to send */
        const Buffer *copy;
        int results;
        int ends;
        char value[256]; /* the first of the last result */
        PgEnd end;
        PgFailure failure;
        char message[512];
} PgTestOperation;

static inline int pg_test_begin(PgOperation *operation, PGconn *connection, const Buffer **copy) {
        PgTestOperation *o = container_of(operation, PgTestOperation, operation);
        if (o->sql == NULL) {
                return PG_E_NOTHING;
        }
        *copy = o->copy;
        return PQsendQuery(connection, o->sql) == 1 ? 0 : PG_E_SEND;
}

static inline void pg_test_result(PgOperation *operation, const PGresult *result) {
        PgTestOperation *o = container_of(operation, PgTestOperation, operation);
        o->results++;
        if (PQntuples(result) > 0) {
                snprintf(o->value, sizeof(o->value), "%s", PQgetvalue(result, 0, 0));
        }
}

static inline void pg_test_end(PgOperation *operation, PgEnd end, const PgFailure *failure) {
        PgTestOperation *o = container_of(operation, PgTestOperation, operation);
        o->ends++;
        o->end = end;
        o->failure = *failure;
        snprintf(o->message, sizeof(o->message), "%s", failure->message);
}

static const PgOperationInterface pg_test_interface = {"test", pg_test_begin, pg_test_result,
                                                       pg_test_end};

static inline void pg_test_operation_init(PgTestOperation *o, const char *sql) {
        *o = (PgTestOperation){.sql = sql};
        pg_operation_init(&o->operation, &pg_test_interface);
}

static inline bool pg_test_ended(void *user) {
        return ((PgTestOperation *)user)->ends > 0;
}

/* Submits and waits for the end. */
static inline bool pg_test_run(PgTest *test, PgTestOperation *o, const char *sql) {
        pg_test_operation_init(o, sql);
        pg_pool_submit(test->pool, &o->operation, false);
        return pg_test_until(test, pg_test_ended, o);
}
