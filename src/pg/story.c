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

/* --- rows of `messages` -------------------------------------------------------------------- */

/* $1 to $3: as in story.sql. */
#define FOUND "SELECT coalesce(json_agg(x), '[]') FROM ("
#define COLUMNS                                                                                    \
        "m.source, m.\"offset\", m.host, m.request_id, m.produced_at, m.received_at"               \
        " FROM messages m WHERE "
#define OF " WHERE x.host = $1 OR x.source = ANY ($2::integer[]) AND x.\"offset\" = $3::bigint"
/* Of a receipt that is known: the ledger has the first one, and the row can be another instance's.
 */
static const char saved_near[] = FOUND
        "SELECT DISTINCT ON (1, 2) f.* FROM (SELECT source, \"offset\", at FROM ("
        "SELECT x.source, x.\"offset\", x.received_at AS at FROM restarts x" OF " UNION "
        "SELECT x.source, x.\"offset\", coalesce(x.received_at, x.rejected_at) FROM rejected x" OF
        ") k ORDER BY at DESC LIMIT 50) k, LATERAL (SELECT " COLUMNS
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
        const char *values[6]; /* $1 to $6 of story.sql */
        char offset[NUMBER_MAX], cooldown[NUMBER_MAX], rows[NUMBER_MAX];
        char *sources, *source_ids; /* JSON; an array */
        char *saved;                /* JSON */
        bool finished;              /* `messages` was searched to the end */
} Reading;

static PGresult *ask(Reading *reading, const char *sql, int n) {
        return PQexecParams(reading->connection, sql, n, NULL, reading->values, NULL, NULL, 0);
}

static int check(const Reading *reading, const PGresult *result, char **errorp) {
        return blocking_check_rights(reading->connection, reading->schema, RIGHTS_READ, result,
                                     errorp);
}

/* The one value of a result, which it takes over: the caller's. */
static int take(const Reading *reading, PGresult *result, int column, char **valuep,
                char **errorp) {
        int r = check(reading, result, errorp);
        char *value = r == 0 ? strdup(PQgetvalue(result, 0, column)) : NULL;
        r = r == 0 && value == NULL ? error_origin(-ENOMEM) : r;
        if (r == 0) {
                free(*valuep);
                *valuep = value;
        }
        PQclear(result);
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
        PGresult *result =
                PQexecParams(reading->connection, sources_of, 3, NULL, values, NULL, NULL, 0);
        int r = check(reading, result, errorp);
        if (r == 0) {
                reading->source_ids = strdup(PQgetvalue(result, 0, 1));
                r = reading->source_ids == NULL ? error_origin(-ENOMEM) : 0;
        }
        if (r != 0) {
                PQclear(result);
                return r;
        }
        return take(reading, result, 0, &reading->sources, errorp);
}

/* Adds to what was found. Too long is no error: then it is not known. */
static int search(Reading *reading, const char *sql, char **errorp) {
        PGresult *result = ask(reading, sql, 3);
        const char *state = PQresultErrorField(result, PG_DIAG_SQLSTATE);
        if (state != NULL && strcmp(state, "57014") == 0) {
                reading->finished = false;
                PQclear(result);
                return 0;
        }
        char *found = NULL;
        int r = take(reading, result, 0, &found, errorp);
        if (r == 0 && strcmp(found, "[]") != 0) {
                /* Two lists become one: the last bracket of the first, the first of the second. */
                char *both = NULL;
                int n = strcmp(reading->saved, "[]") == 0
                                ? asprintf(&both, "%s", found)
                                : asprintf(&both, "%.*s, %s", (int)strlen(reading->saved) - 1,
                                           reading->saved, found + 1);
                if (n < 0) {
                        free(found);
                        return error_origin(-ENOMEM);
                }
                free(reading->saved);
                reading->saved = both;
        }
        free(found);
        return r;
}

static int read_saved(Reading *reading, char **errorp) {
        bool host = reading->of->host != NULL;
        reading->saved = strdup("[]");
        if (reading->saved == NULL) {
                return error_origin(-ENOMEM);
        }
        reading->finished = true;
        int r = set_limit(reading, STORY_SCAN_MS, errorp);
        /* A table that was not analyzed yet would be read as a whole. */
        r = r != 0 ? r : command(reading, "SET enable_seqscan = off", errorp);
        r = r != 0 ? r : search(reading, saved_near, errorp);
        r = r != 0 ? r : command(reading, "SET enable_seqscan = on", errorp);
        if (r == 0 && host) {
                r = search(reading, saved_recently, errorp);
        } else if (r == 0 && strcmp(reading->saved, "[]") == 0) {
                r = search(reading, saved_anywhere, errorp);
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
        int r = take(reading, ask(reading, (const char *)sql.data, 6), 0, &story, errorp);
        if (r == 0) {
                /* Into the same object. */
                r = buffer_printf(out, "{\"sources\": %s, \"messages_searched\": %s, %s",
                                  reading->sources != NULL ? reading->sources : "null",
                                  reading->finished ? "true" : "false", story + 1);
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
        r = read_saved(reading, errorp);
        if (r != 0) {
                return r;
        }
        reading->values[3] = reading->saved;
        reading->values[4] = reading->cooldown;
        reading->values[5] = reading->rows;
        return read_story(reading, out, errorp);
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
        free(reading.saved);
        return r;
}
