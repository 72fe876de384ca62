#pragma once

/*
 * The real side of test-ledger-twin: a PostgreSQL whose ledger goes by a clock that the test sets.
 * Its SQL is the production one, but for words that are put in other places when it is installed:
 * clock_timestamp() becomes a function that reads a table, and where two rows are alike and either
 * would do, the order is said. Of CLOCK_BOOTTIME, of which pg/ledger.c tells the server, the linker
 * puts __wrap_clock_gettime() in the place of the real one.
 */

#include <time.h>

#include "../unit/pg.h"
#include "ledger.h"
#include "twin.h"

#define DATABASE "ackd_test_ledger_twin"

enum {
        INSTANCES = 3,
};

static const int64_t EPOCH_US = INT64_C(1800000000) * 1000000; /* what times are told from */

static struct {
        PgTest test;
        Ledger *instances[INSTANCES];
        int64_t now;   /* the server's clock */
        int64_t told;  /* what the server was told that it is */
        int64_t clock; /* CLOCK_BOOTTIME of all instances */
        bool answered;
} real;

int __real_clock_gettime(clockid_t id, struct timespec *now);
int __wrap_clock_gettime(clockid_t id, struct timespec *now);

int __wrap_clock_gettime(clockid_t id, struct timespec *now) {
        if (id != CLOCK_BOOTTIME) {
                return __real_clock_gettime(id, now);
        }
        *now = (struct timespec){real.clock / 1000000, real.clock % 1000000 * 1000};
        return 0;
}

/* --- installing --------------------------------------------------------------------------- */

static const struct {
        const char *word, *instead;
} replacements[] = {
        {"clock_timestamp()", "ackd.test_now()"},
        {"statement_timestamp()", "ackd.test_now()"},
        {"ORDER BY y.started_at DESC", "ORDER BY y.started_at DESC, y.id DESC"},
        {"ORDER BY x.fuse, x.since", "ORDER BY x.fuse, x.since, x.id"},
};

/* Ends the program when the word is not there. */
static inline void replace_word(Buffer *sql, const char *word, const char *instead) {
        Buffer to = BUFFER_INIT;
        const char *at = text_of(sql), *found;
        if (strstr(at, word) == NULL) {
                pg_test_die(word, "is not in the SQL any more: what stands there now?");
        }
        for (; (found = strstr(at, word)) != NULL; at = found + strlen(word)) {
                add(&to, "%.*s%s", (int)(found - at), at, instead);
        }
        add(&to, "%s", at);
        buffer_deinit(sql);
        *sql = to;
}

/* Tables that are not logged need no fsync, and answer as others do. `messages` takes what came at
 * any time. What was at a moment (a standby, a backup) is kept in tables of its own. */
static const char before_sql[] =
        "ALTER DATABASE " DATABASE " SET TimeZone = 'UTC'; "
        "CREATE SCHEMA ackd; "
        "CREATE TABLE ackd.test_clock (at timestamptz) WITH (fillfactor = 10); "
        "INSERT INTO ackd.test_clock VALUES (NULL); "
        "CREATE FUNCTION ackd.test_now() RETURNS timestamptz LANGUAGE sql VOLATILE AS "
        "'SELECT at FROM ackd.test_clock'; "
        "CREATE FUNCTION ackd.test_us(at timestamptz) RETURNS bigint LANGUAGE sql IMMUTABLE AS "
        "'SELECT (extract(epoch FROM at) * 1000000)::bigint'; "
        "CREATE FUNCTION ackd.test_at(us bigint) RETURNS timestamptz LANGUAGE sql IMMUTABLE AS "
        "$$SELECT CASE WHEN us >= 0 THEN '1970-01-01Z'::timestamptz + us * interval '1 us' END$$";
static const char after_sql[] =
        "SET search_path = ackd; SET client_min_messages = error; "
        "SET synchronous_commit = off; "
        "CREATE TABLE messages_other PARTITION OF messages DEFAULT; "
        "CREATE TABLE kept_restarts AS TABLE restarts; "
        "CREATE TABLE kept_hosts AS TABLE hosts; "
        "CREATE TABLE kept_holds AS TABLE holds; "
        "DO $$ DECLARE t text; BEGIN FOR t IN SELECT c.oid::regclass::text FROM pg_class c WHERE "
        "relnamespace = 'ackd'::regnamespace AND relkind = 'r' LOOP EXECUTE 'ALTER TABLE ' || t || "
        "' SET UNLOGGED'; END LOOP; END $$";

static inline void real_begin(void) {
        Buffer sql = BUFFER_INIT;
        PgTest *test = &real.test;
        pg_test_make_database(DATABASE, "", test->dsn, sizeof(test->dsn));
        snprintf(test->run_dsn, sizeof(test->run_dsn), "%s", test->dsn);
        PGconn *connection = pg_test_connect(test->dsn);
        pg_test_exec(connection, before_sql);
        PQfinish(connection);
        test->sql = pg_test_connect(test->dsn);
        PQsetNoticeProcessor(test->sql, NULL, NULL);
        if (schema_sql("ackd", NULL, &sql) != 0) {
                pg_test_die("schema_sql", "no memory");
        }
        for (size_t i = 0; i < sizeof(replacements) / sizeof(replacements[0]); i++) {
                replace_word(&sql, replacements[i].word, replacements[i].instead);
        }
        pg_test_exec(test->sql, text_of(&sql));
        pg_test_exec(test->sql, after_sql);
        buffer_deinit(&sql);
        pg_test_open_default(test, 1, 30 * 1000 * 1000);
        captured.level = LOG_ERROR;
        for (int i = 0; i < INSTANCES; i++) {
                if (ledger_new(&real.instances[i], test->pool, "ackd", "someone") != 0) {
                        pg_test_die("ledger_new", "failed");
                }
        }
}

static inline void real_end(void) {
        pg_test_close(&real.test);
        for (int i = 0; i < INSTANCES; i++) {
                ledger_free(real.instances[i]);
        }
        pg_test_deinit(&real.test, DATABASE);
}

/* --- statements of the test itself -------------------------------------------------------- */

__attribute__((format(printf, 1, 2))) static inline void real_sql(const char *format, ...) {
        char sql[1024];
        va_list ap;
        va_start(ap, format);
        vsnprintf(sql, sizeof(sql), format, ap);
        va_end(ap);
        pg_test_exec(real.test.sql, sql);
}

/* Empty tables, as after init-db. Mostly without a TRUNCATE, which costs more. */
static inline void real_empty(bool truncate) {
        real_sql("%s", truncate ? "TRUNCATE restarts, hosts, holds, messages"
                                : "DELETE FROM restarts; DELETE FROM hosts; DELETE FROM holds; "
                                  "DELETE FROM messages");
        real_sql("SELECT setval('restarts_id_seq', 1, false), setval('holds_id_seq', 1, false)");
}

/* The numbers of rows go on behind @rows and @holds: those of a call that was rolled back are lost
 * to PostgreSQL, and do not matter. */
static inline void real_number_from(size_t rows, size_t holds) {
        real_sql("SELECT setval('restarts_id_seq', %zu, false), setval('holds_id_seq', %zu, false)",
                 rows + 1, holds + 1);
}

static inline void real_keep(void) {
        real_sql("DELETE FROM kept_restarts; DELETE FROM kept_hosts; DELETE FROM kept_holds; "
                 "INSERT INTO kept_restarts TABLE restarts; INSERT INTO kept_hosts TABLE hosts; "
                 "INSERT INTO kept_holds TABLE holds");
}

static inline void real_go_back(void) {
        real_sql("DELETE FROM restarts; DELETE FROM hosts; DELETE FROM holds; "
                 "INSERT INTO restarts OVERRIDING SYSTEM VALUE TABLE kept_restarts; "
                 "INSERT INTO hosts TABLE kept_hosts; "
                 "INSERT INTO holds OVERRIDING SYSTEM VALUE TABLE kept_holds");
}

/* Before anything is asked. */
static inline void real_tell_time(void) {
        if (real.told != real.now) {
                real_sql("UPDATE test_clock SET at = test_at(%" PRId64 ")", real.now);
                real.told = real.now;
        }
}

/* --- asking ------------------------------------------------------------------------------- */

static inline bool real_is_answered(void *user) {
        (void)user;
        return real.answered;
}

static inline void real_answered(void) {
        real.answered = true;
        loop_stop(&real.test.loop);
}

/* @r: of the call that asked. */
static inline void real_wait(int r) {
        if (r != 0 || !pg_test_until(&real.test, real_is_answered, NULL)) {
                pg_test_die(text_of(&twin.what), "PostgreSQL did not answer");
        }
        real.answered = false;
}

/* --- telling ------------------------------------------------------------------------------ */

/* A time since EPOCH_US. */
static inline void say_time(Side side, const char *what, int64_t us) {
        if (us == SIM_LEDGER_NEVER) {
                SAY(side, " %s -", what);
        } else {
                SAY(side, " %s %" PRId64, what, us - EPOCH_US);
        }
}

static inline void say_text(Side side, const char *what, const char *text) {
        SAY(side, " %s%s%s", what, text != NULL ? " " : "", text != NULL ? text : "-");
}

static inline int instance_of(const char *uuid) {
        for (int i = 0; i < INSTANCES; i++) {
                if (strcmp(ledger_instance(real.instances[i]), uuid) == 0) {
                        return i;
                }
        }
        return -1;
}

static inline int64_t column_int(const PGresult *result, int row, int column, int64_t none) {
        return PQgetisnull(result, row, column)
                       ? none
                       : strtoll(PQgetvalue(result, row, column), NULL, 10);
}

static inline const char *column_text(const PGresult *result, int row, int column) {
        return PQgetisnull(result, row, column) ? NULL : PQgetvalue(result, row, column);
}

static inline PGresult *real_rows(const char *sql) {
        PGresult *result = PQexec(real.test.sql, sql);
        if (PQresultStatus(result) != PGRES_TUPLES_OK) {
                pg_test_die(sql, PQerrorMessage(real.test.sql));
        }
        return result;
}

static inline LedgerState state_of_name(const char *name) {
        for (int i = 0; i < LEDGER_STATE_COUNT; i++) {
                if (strcmp(ledger_state_name((LedgerState)i), name) == 0) {
                        return (LedgerState)i;
                }
        }
        return LEDGER_STATE_NONE;
}

static inline void say_row(Side side, const SimLedgerRow *row) {
        SAY(side, "\n      %" PRId64 ": %d:%" PRId64 "/%d %s %s by %d", row->id, row->source,
            row->offset, row->attempt, row->host, ledger_state_name(row->state), row->instance);
        say_text(side, "for", row->reason);
        say_text(side, "group", row->group);
        say_text(side, "request", row->request_id);
        SAY(side, " shared %" PRId64 " status %d", row->shared_with, row->exit_status);
        say_text(side, "before", row->before);
        say_text(side, "output", row->output);
        say_time(side, "requested", row->requested_us);
        say_time(side, "received", row->received_us);
        say_time(side, "intended", row->intended_us);
        say_time(side, "started", row->started_us);
        say_time(side, "acted", row->acted_us);
        say_time(side, "ended", row->ended_us);
        say_time(side, "held", row->held_until_us);
}

static inline void say_host(Side side, const SimLedgerHost *host) {
        SAY(side, "\n      %s open %" PRId64 " last %" PRId64 " done %" PRId64, host->host,
            host->open_id, host->last_id, host->done_id);
        say_time(side, "held", host->held_until_us);
        say_time(side, "last", host->last_start_us);
        say_time(side, "done", host->done_start_us);
        say_time(side, "covers", host->covers_until_us);
}

static inline void say_hold(Side side, const SimLedgerHold *hold) {
        SAY(side, "\n      hold %" PRId64 " on %s%s", hold->id, hold->pattern,
            hold->fuse ? " by the fuse" : "");
        say_time(side, "since", hold->since_us);
        say_time(side, "until", hold->until_us);
        say_time(side, "lifted", hold->lifted_us);
}

static inline void say_real_restarts(void) {
        PGresult *result = real_rows(
                "SELECT id, source, \"offset\", attempt, host, host_group, request_id, "
                "test_us(requested_at), test_us(received_at), state, reason, shared_with, instance,"
                " before, test_us(intended_at), test_us(held_until), test_us(started_at), "
                "test_us(acted_at), test_us(ended_at), exit_status, output FROM restarts "
                "ORDER BY id");
        for (int i = 0; i < PQntuples(result); i++) {
                SimLedgerRow row = {
                        .id = column_int(result, i, 0, 0),
                        .source = (int32_t)column_int(result, i, 1, 0),
                        .offset = column_int(result, i, 2, 0),
                        .attempt = (int32_t)column_int(result, i, 3, 0),
                        .host = column_text(result, i, 4),
                        .group = column_text(result, i, 5),
                        .request_id = column_text(result, i, 6),
                        .requested_us = column_int(result, i, 7, SIM_LEDGER_NEVER),
                        .received_us = column_int(result, i, 8, SIM_LEDGER_NEVER),
                        .state = state_of_name(PQgetvalue(result, i, 9)),
                        .reason = column_text(result, i, 10),
                        .shared_with = column_int(result, i, 11, 0),
                        .instance = instance_of(PQgetvalue(result, i, 12)),
                        .before = column_text(result, i, 13),
                        .intended_us = column_int(result, i, 14, SIM_LEDGER_NEVER),
                        .held_until_us = column_int(result, i, 15, SIM_LEDGER_NEVER),
                        .started_us = column_int(result, i, 16, SIM_LEDGER_NEVER),
                        .acted_us = column_int(result, i, 17, SIM_LEDGER_NEVER),
                        .ended_us = column_int(result, i, 18, SIM_LEDGER_NEVER),
                        .exit_status = (int32_t)column_int(result, i, 19, LEDGER_NO_STATUS),
                        .output = column_text(result, i, 20),
                };
                say_row(REAL, &row);
        }
        PQclear(result);
}

static inline void say_real_hosts(void) {
        PGresult *result = real_rows(
                "SELECT host, open_id, test_us(held_until), last_id, test_us(last_start_at), "
                "done_id, test_us(done_start_at), test_us(covers_until) FROM hosts "
                "ORDER BY host COLLATE \"C\"");
        for (int i = 0; i < PQntuples(result); i++) {
                SimLedgerHost host = {
                        .host = column_text(result, i, 0),
                        .open_id = column_int(result, i, 1, 0),
                        .held_until_us = column_int(result, i, 2, SIM_LEDGER_NEVER),
                        .last_id = column_int(result, i, 3, 0),
                        .last_start_us = column_int(result, i, 4, SIM_LEDGER_NEVER),
                        .done_id = column_int(result, i, 5, 0),
                        .done_start_us = column_int(result, i, 6, SIM_LEDGER_NEVER),
                        .covers_until_us = column_int(result, i, 7, SIM_LEDGER_NEVER),
                };
                say_host(REAL, &host);
        }
        PQclear(result);
}

static inline void say_real_holds(void) {
        PGresult *result = real_rows("SELECT id, pattern, fuse, test_us(since), test_us(until), "
                                     "test_us(lifted_at) FROM holds ORDER BY id");
        for (int i = 0; i < PQntuples(result); i++) {
                SimLedgerHold hold = {
                        .id = column_int(result, i, 0, 0),
                        .pattern = column_text(result, i, 1),
                        .fuse = PQgetvalue(result, i, 2)[0] == 't',
                        .since_us = column_int(result, i, 3, SIM_LEDGER_NEVER),
                        .until_us = column_int(result, i, 4, SIM_LEDGER_NEVER),
                        .lifted_us = column_int(result, i, 5, SIM_LEDGER_NEVER),
                };
                say_hold(REAL, &hold);
        }
        PQclear(result);
}

static inline int compare_hosts(const void *a, const void *b) {
        return strcmp(((const SimLedgerHost *)a)->host, ((const SimLedgerHost *)b)->host);
}

static inline void say_simulated(const SimLedger *ledger) {
        SimLedgerHost hosts[64];
        size_t n_hosts = sim_ledger_hosts(ledger);
        for (int64_t id = 1; (uint64_t)id <= sim_ledger_rows(ledger); id++) {
                SimLedgerRow row = sim_ledger_row(ledger, id);
                say_row(SIMULATED, &row);
        }
        for (size_t i = 0; i < n_hosts; i++) {
                hosts[i] = sim_ledger_host(ledger, i);
        }
        if (n_hosts > 0) {
                qsort(hosts, n_hosts, sizeof(*hosts), compare_hosts);
        }
        for (size_t i = 0; i < n_hosts; i++) {
                say_host(SIMULATED, &hosts[i]);
        }
        for (int64_t id = 1; (uint64_t)id <= sim_ledger_holds(ledger); id++) {
                SimLedgerHold hold = sim_ledger_hold_row(ledger, id);
                say_hold(SIMULATED, &hold);
        }
}

/* All that the tables hold. */
static inline void compare_contents(const SimLedger *ledger) {
        add(&twin.what, "all that is there");
        say_simulated(ledger);
        say_real_restarts();
        say_real_hosts();
        say_real_holds();
        compare();
}
