#include "pg/story.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "pg/blocking.h"
#include "pg/schema.h"

extern const char story_sql_text[];
extern const size_t story_sql_text_size;

enum {
        NUMBER_MAX = 24,
};
_Static_assert(STORY_ROWS_MAX == 50, "the queries below say so");

/* $1 to $4: as in story.sql. */

/* Rows of the ledger: of restarts that began, which an index has by host, and all of them. */
static const char began[] =
        "SELECT coalesce(array_agg(x.id), '{}'), count(*) FROM (SELECT id FROM restarts WHERE "
        "host = $1 AND started_at IS NOT NULL AND shared_with IS NULL ORDER BY started_at DESC "
        "LIMIT 50) x WHERE $2::integer[] IS NULL AND $3::bigint IS NULL";
static const char all[] =
        "SELECT coalesce((array_agg(x.id ORDER BY x.id DESC))[:50], '{}'), count(*) FROM restarts "
        "x "
        "WHERE x.host = $1 OR x.source = ANY ($2::integer[]) AND x.\"offset\" = $3::bigint";

/* Where messages are that the ledger or `rejected` knows, and about when they were received. */
static const char known[] =
        "SELECT coalesce(json_agg(k), '[]') FROM (SELECT x.source, x.\"offset\", x.received_at AS "
        "at "
        "FROM restarts x WHERE x.id = ANY ($4::bigint[]) UNION SELECT x.source, x.\"offset\", "
        "coalesce(x.received_at, x.rejected_at) FROM rejected x WHERE x.host = $1 OR x.source = "
        "ANY ($2::integer[]) AND x.\"offset\" = $3::bigint ORDER BY at DESC LIMIT 50) k";

#define FOUND "SELECT coalesce(json_agg(x), '[]') FROM ("
#define COLUMNS                                                                                    \
        "m.source, m.\"offset\", m.host, m.request_id, m.produced_at, m.received_at"               \
        " FROM messages m WHERE "
/* $1: known. The ledger has the first receipt, and the row can be another instance's. */
static const char saved_near[] =
        FOUND "SELECT DISTINCT ON (1, 2) f.* FROM json_to_recordset($1::json) AS k(source integer, "
              "\"offset\" bigint, at timestamptz), LATERAL (SELECT " COLUMNS
              "m.received_at BETWEEN k.at - interval '10 minutes' AND k.at + interval '1 minute' "
              "AND m.source = k.source AND m.\"offset\" = k.\"offset\" LIMIT 1) f) x";
static const char saved_recently[] =
        FOUND "SELECT " COLUMNS "m.host = $1 AND m.received_at > now() - interval '1 day' "
              "AND $2::integer[] IS NULL AND $3::bigint IS NULL "
              "ORDER BY m.received_at DESC LIMIT 50) x";
static const char saved_anywhere[] =
        FOUND "SELECT " COLUMNS "m.source = ANY ($2::integer[]) AND m.\"offset\" = $3::bigint "
              "AND $1::text IS NULL LIMIT 50) x";

/* Of a message: its sources, as JSON and as an array. */
static const char sources_of[] =
        "SELECT coalesce(json_agg(json_build_object('source', id, 'group', group_id, 'topic', "
        "topic, 'partition', partition, 'next_offset', next_offset, 'retired_at', "
        "utc_text(retired_at)) ORDER BY id), '[]'), coalesce(array_agg(id), '{}') "
        "FROM partitions WHERE topic = $1 AND partition = $2::integer AND group_id = $3";

typedef struct Reading {
        PGconn *connection;
        const char *schema;
        const StoryOf *of;
        const char *values[8]; /* $1 to $8 of story.sql */
        char offset[NUMBER_MAX], cooldown[NUMBER_MAX], rows[NUMBER_MAX];
        char *sources, *source_ids; /* JSON; an array */
        char *ids, *total;          /* of the ledger's rows: an array, and how many there are */
        char *known, *saved;        /* JSON */
        bool ledger_searched;       /* to the end */
        bool messages_searched;
} Reading;

static PGresult *ask(Reading *reading, const char *sql, int n, const char *const *values) {
        return PQexecParams(reading->connection, sql, n, NULL, values, NULL, NULL, 0);
}

static int check(const Reading *reading, const PGresult *result, char **errorp) {
        return blocking_check_rights(reading->connection, reading->schema, RIGHTS_READ, result,
                                     errorp);
}

static bool took_too_long(const PGresult *result) {
        const char *state = PQresultErrorField(result, PG_DIAG_SQLSTATE);
        return state != NULL && strcmp(state, "57014") == 0;
}

/* A value of the one row of a result: *@valuep is the caller's, what was there is freed. */
static int take(const Reading *reading, const PGresult *result, int column, char **valuep,
                char **errorp) {
        int r = check(reading, result, errorp);
        char *value = r == 0 ? strdup(PQgetvalue(result, 0, column)) : NULL;
        r = r == 0 && value == NULL ? error_origin(-ENOMEM) : r;
        if (r == 0) {
                free(*valuep);
                *valuep = value;
        }
        return r;
}

static int command(Reading *reading, const char *sql, char **errorp) {
        PGresult *result = PQexec(reading->connection, sql);
        int r = PQresultStatus(result) == PGRES_COMMAND_OK ? 0 : check(reading, result, errorp);
        PQclear(result);
        return r;
}

static int set_limit(Reading *reading, int ms, char **errorp) {
        char sql[64];
        snprintf(sql, sizeof(sql), "SET statement_timeout = %d", ms);
        return command(reading, sql, errorp);
}

static int set_up(Reading *reading, const char *schema, char **errorp) {
        CLEANUP(buffer_deinit) Buffer sql = BUFFER_INIT;
        reading->schema = schema;
        int r = buffer_append_string(&sql, "SELECT set_config('search_path', '");
        r = r != 0 ? r : schema_append_name(&sql, schema);
        r = r != 0 ? r : buffer_append_string(&sql, ", pg_temp', false)");
        if (r != 0 || buffer_string(&sql) == NULL) {
                return error_origin(-ENOMEM);
        }
        PGresult *result = PQexec(reading->connection, (const char *)sql.data);
        r = check(reading, result, errorp);
        PQclear(result);
        return r != 0 ? r : set_limit(reading, STORY_LIMIT_MS, errorp);
}

static int read_sources(Reading *reading, char **errorp) {
        char partition[NUMBER_MAX];
        snprintf(partition, sizeof(partition), "%" PRId32, reading->of->partition);
        const char *values[] = {reading->of->topic, partition, reading->of->group};
        PGresult *result = ask(reading, sources_of, 3, values);
        int r = take(reading, result, 0, &reading->sources, errorp);
        r = r != 0 ? r : take(reading, result, 1, &reading->source_ids, errorp);
        PQclear(result);
        return r;
}

/* Two values. 0 also when it took too long, which is no error: then they stay, and *@finishedp is
 * false. */
static int take_two(Reading *reading, const char *sql, bool *finishedp, char **errorp) {
        PGresult *result = ask(reading, sql, 3, reading->values);
        int r = 0;
        *finishedp = !took_too_long(result);
        if (*finishedp) {
                r = take(reading, result, 0, &reading->ids, errorp);
                r = r != 0 ? r : take(reading, result, 1, &reading->total, errorp);
        }
        PQclear(result);
        return r;
}

/* The ledger has no index by host alone: it would cost each claim. */
static int read_ledger(Reading *reading, char **errorp) {
        int r = set_limit(reading, STORY_SCAN_MS, errorp);
        r = r != 0 ? r : take_two(reading, began, &reading->ledger_searched, errorp);
        r = r != 0 ? r : take_two(reading, all, &reading->ledger_searched, errorp);
        r = r != 0 ? r : set_limit(reading, STORY_LIMIT_MS, errorp);
        if (r == 0 && reading->ids == NULL) {
                /* Not even the index answered. */
                reading->ids = strdup("{}");
                reading->total = strdup("0");
                r = reading->ids == NULL || reading->total == NULL ? error_origin(-ENOMEM) : 0;
        }
        return r;
}

/* Two lists become one: the last bracket of the first, the first of the second. */
static int add_saved(Reading *reading, const char *found) {
        char *both = NULL;
        if (strcmp(found, "[]") == 0) {
                return 0;
        }
        int n = strcmp(reading->saved, "[]") == 0
                        ? asprintf(&both, "%s", found)
                        : asprintf(&both, "%.*s, %s", (int)strlen(reading->saved) - 1,
                                   reading->saved, found + 1);
        if (n < 0) {
                return error_origin(-ENOMEM);
        }
        free(reading->saved);
        reading->saved = both;
        return 0;
}

static int search(Reading *reading, const char *sql, int n, const char *const *values,
                  char **errorp) {
        PGresult *result = ask(reading, sql, n, values);
        char *found = NULL;
        int r = 0;
        if (took_too_long(result)) {
                reading->messages_searched = false;
        } else {
                r = take(reading, result, 0, &found, errorp);
                r = r != 0 ? r : add_saved(reading, found);
        }
        free(found);
        PQclear(result);
        return r;
}

static int read_known(Reading *reading, char **errorp) {
        PGresult *result = ask(reading, known, 4, reading->values);
        int r = take(reading, result, 0, &reading->known, errorp);
        PQclear(result);
        return r;
}

static int read_saved(Reading *reading, char **errorp) {
        reading->saved = strdup("[]");
        if (reading->saved == NULL) {
                return error_origin(-ENOMEM);
        }
        reading->messages_searched = true;
        const char *values[] = {reading->known};
        int r = set_limit(reading, STORY_SCAN_MS, errorp);
        /* A table that was not analyzed yet would be read as a whole. */
        r = r != 0 ? r : command(reading, "SET enable_seqscan = off", errorp);
        r = r != 0 ? r : search(reading, saved_near, 1, values, errorp);
        r = r != 0 ? r : command(reading, "SET enable_seqscan = on", errorp);
        if (r == 0 && reading->of->host != NULL) {
                r = search(reading, saved_recently, 3, reading->values, errorp);
        } else if (r == 0 && strcmp(reading->saved, "[]") == 0) {
                r = search(reading, saved_anywhere, 3, reading->values, errorp);
        }
        return r != 0 ? r : set_limit(reading, STORY_LIMIT_MS, errorp);
}

static int read_story(Reading *reading, Buffer *out, char **errorp) {
        CLEANUP(buffer_deinit) Buffer sql = BUFFER_INIT;
        char *story = NULL;
        if (buffer_append(&sql, story_sql_text, story_sql_text_size) != 0 ||
            buffer_string(&sql) == NULL) {
                return error_origin(-ENOMEM);
        }
        PGresult *result = ask(reading, (const char *)sql.data, 8, reading->values);
        int r = take(reading, result, 0, &story, errorp);
        PQclear(result);
        if (r == 0) {
                /* Into the same object. */
                r = buffer_printf(out,
                                  "{\"sources\": %s, \"ledger_searched\": %s, "
                                  "\"messages_searched\": %s, %s",
                                  reading->sources != NULL ? reading->sources : "null",
                                  reading->ledger_searched ? "true" : "false",
                                  reading->messages_searched ? "true" : "false", story + 1);
        }
        free(story);
        return r;
}

static int read_all(Reading *reading, const char *schema, Buffer *out, char **errorp) {
        const StoryOf *of = reading->of;
        int r = set_up(reading, schema, errorp);
        r = r == 0 && of->host == NULL ? read_sources(reading, errorp) : r;
        if (r != 0) {
                return r;
        }
        snprintf(reading->offset, sizeof(reading->offset), "%" PRId64, of->offset);
        snprintf(reading->cooldown, sizeof(reading->cooldown), "%" PRId64, of->cooldown_us);
        snprintf(reading->rows, sizeof(reading->rows), "%d", STORY_ROWS_MAX);
        reading->values[0] = of->host;
        reading->values[1] = of->host == NULL ? reading->source_ids : NULL;
        reading->values[2] = of->host == NULL ? reading->offset : NULL;
        r = read_ledger(reading, errorp);
        reading->values[3] = reading->ids;
        r = r != 0 ? r : read_known(reading, errorp);
        r = r != 0 ? r : read_saved(reading, errorp);
        reading->values[4] = reading->saved;
        reading->values[5] = reading->cooldown;
        reading->values[6] = reading->rows;
        reading->values[7] = reading->total;
        return r != 0 ? r : read_story(reading, out, errorp);
}

int story_read(const StoryOf *of, const char *dsn, const char *password, const char *schema,
               Buffer *out, char **errorp) {
        Reading reading = {.of = of};
        int r = blocking_connect(&reading.connection, "ackd status", dsn, password, errorp);
        if (r == BLOCKING_E_CONNECT) {
                /* One that takes no writes can tell as much. */
                char *error = NULL;
                int second = blocking_connect_reader(&reading.connection, "ackd status", dsn,
                                                     password, &error);
                if (second == 0) {
                        free(*errorp);
                        *errorp = NULL;
                        r = 0;
                }
                free(error);
        }
        r = r == 0 ? read_all(&reading, schema, out, errorp) : r;
        PQfinish(reading.connection);
        free(reading.sources);
        free(reading.source_ids);
        free(reading.ids);
        free(reading.total);
        free(reading.known);
        free(reading.saved);
        return r;
}
