#include "pg/holds.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "pg/blocking.h"
#include "pg/schema.h"
#include "util/buffer.h"

enum {
        NUMBER_MAX = 24,
};

struct HoldsDesk {
        PGconn *connection;
        char schema[SCHEMA_NAME_MAX + 1];
};

/* Their columns, in the order of read_list(); @h: a row of holds. */
#define COLUMNS                                                                                    \
        " h.id, h.pattern, h.why, h.who, utc_text(h.since), utc_text(h.until),"                    \
        " utc_text(h.lifted_at), h.lifted_by, h.fuse"
#define IN_FORCE " h.lifted_at IS NULL AND (h.until IS NULL OR h.until > clock_timestamp())"
/* Also one that was written by hand. */
#define HAS_PATTERN " lower(h.pattern COLLATE \"C\") = lower($1 COLLATE \"C\")"

static int set_up(HoldsDesk *desk, const char *schema, char **errorp) {
        CLEANUP(buffer_deinit) Buffer sql = BUFFER_INIT;
        /* A hold that was reported is on disk, whatever the database's own setting is. */
        int r = buffer_append_string(&sql, "SELECT set_config('synchronous_commit', 'on', false), "
                                           "set_config('search_path', '");
        r = r != 0 ? r : schema_append_name(&sql, schema);
        r = r != 0 ? r : buffer_append_string(&sql, ", pg_temp', false)");
        if (r != 0 || buffer_string(&sql) == NULL) {
                return error_origin(-ENOMEM);
        }
        PGresult *result = PQexec(desk->connection, (const char *)sql.data);
        r = blocking_check(result, errorp);
        PQclear(result);
        return r;
}

int holds_open(HoldsDesk **deskp, const char *program, const char *dsn, const char *password,
               const char *schema, char **errorp) {
        HoldsDesk *desk = calloc(1, sizeof(*desk));
        if (desk == NULL) {
                return error_origin(-ENOMEM);
        }
        snprintf(desk->schema, sizeof(desk->schema), "%s", schema);
        int r = blocking_connect(&desk->connection, program, dsn, password, errorp);
        r = r != 0 ? r : set_up(desk, schema, errorp);
        if (r != 0) {
                holds_close(desk);
                return r;
        }
        *deskp = desk;
        return 0;
}

void holds_close(HoldsDesk *desk) {
        if (desk != NULL) {
                PQfinish(desk->connection);
                free(desk);
        }
}

void hold_list_deinit(HoldList *list) {
        PQclear(list->result);
        free(list->items);
        *list = (HoldList){0};
}

static const char *text_at(const PGresult *result, int row, int column) {
        return PQgetisnull(result, row, column) ? NULL : PQgetvalue(result, row, column);
}

static int check(const HoldsDesk *desk, RightsPart part, const PGresult *result, char **errorp) {
        return blocking_check_rights(desk->connection, desk->schema, part, result, errorp);
}

/* Takes the result over. */
static int read_list(const HoldsDesk *desk, RightsPart part, PGresult *result, HoldList *list,
                     char **errorp) {
        int r = check(desk, part, result, errorp);
        int n = r == 0 ? PQntuples(result) : 0;
        Hold *items = r == 0 ? calloc((size_t)n + 1, sizeof(*items)) : NULL;
        if (items == NULL) {
                PQclear(result);
                return r != 0 ? r : error_origin(-ENOMEM);
        }
        for (int i = 0; i < n; i++) {
                items[i] = (Hold){.id = strtoll(PQgetvalue(result, i, 0), NULL, 10),
                                  .pattern = PQgetvalue(result, i, 1),
                                  .why = PQgetvalue(result, i, 2),
                                  .who = PQgetvalue(result, i, 3),
                                  .since = PQgetvalue(result, i, 4),
                                  .until = text_at(result, i, 5),
                                  .lifted_at = text_at(result, i, 6),
                                  .lifted_by = text_at(result, i, 7),
                                  .fuse = PQgetvalue(result, i, 8)[0] == 't'};
                if (PQnfields(result) > 9) {
                        items[i].hosts = strtoll(PQgetvalue(result, i, 9), NULL, 10);
                }
        }
        *list = (HoldList){.items = items, .n = (size_t)n, .result = result};
        return 0;
}

static PGresult *ask(HoldsDesk *desk, const char *sql, int n, const char *const *values) {
        return PQexecParams(desk->connection, sql, n, NULL, values, NULL, NULL, 0);
}

int holds_make(HoldsDesk *desk, const char *pattern, const char *who, const char *why,
               int64_t for_us, HoldList *made, char **errorp) {
        char time[NUMBER_MAX];
        snprintf(time, sizeof(time), "%" PRId64, for_us);
        const char *values[] = {pattern, who, why, for_us > 0 ? time : NULL};
        return read_list(desk, RIGHTS_OPERATE,
                         ask(desk,
                             "INSERT INTO holds AS h (pattern, who, why, since, until)"
                             " SELECT $1, $2, $3, t, t + $4::bigint * interval '1 microsecond'"
                             " FROM (SELECT clock_timestamp()) c(t) RETURNING" COLUMNS,
                             4, values),
                         made, errorp);
}

int holds_reach(HoldsDesk *desk, const char *pattern, HoldReach *reach, char **errorp) {
        PGresult *result =
                ask(desk,
                    "SELECT count(*) FILTER (WHERE m), count(*), count(*) FILTER (WHERE m AND"
                    " open_id IS NOT NULL AND held_until > clock_timestamp())"
                    " FROM (SELECT x.*, glob_matches($1, x.host) AS m FROM hosts x) x",
                    1, &pattern);
        int r = check(desk, RIGHTS_READ, result, errorp);
        if (r == 0) {
                *reach = (HoldReach){.hosts = strtoll(PQgetvalue(result, 0, 0), NULL, 10),
                                     .known = strtoll(PQgetvalue(result, 0, 1), NULL, 10),
                                     .running = strtoll(PQgetvalue(result, 0, 2), NULL, 10)};
        }
        PQclear(result);
        return r;
}

int holds_list(HoldsDesk *desk, HoldList *list, char **errorp) {
        return read_list(desk, RIGHTS_READ,
                         ask(desk,
                             "SELECT" COLUMNS ", (SELECT count(*) FROM hosts x"
                             " WHERE glob_matches(h.pattern, x.host))"
                             " FROM holds h WHERE" IN_FORCE " ORDER BY h.since, h.id",
                             0, NULL),
                         list, errorp);
}

int holds_lift(HoldsDesk *desk, const char *pattern, HoldsOf of, const char *who, HoldList *lifted,
               char **errorp) {
        const char *fuse = of == HOLDS_OF_EITHER ? NULL : of == HOLDS_OF_FUSE ? "t" : "f";
        const char *values[] = {pattern, who, fuse};
        return read_list(desk, RIGHTS_OPERATE,
                         ask(desk,
                             "UPDATE holds h SET lifted_at = clock_timestamp(), lifted_by = $2"
                             " WHERE" IN_FORCE " AND" HAS_PATTERN
                             " AND CASE WHEN $3::boolean IS NOT NULL THEN h.fuse = $3::boolean"
                             " ELSE (SELECT bool_and(h.fuse) = bool_or(h.fuse) FROM holds h"
                             " WHERE" IN_FORCE " AND" HAS_PATTERN ") END RETURNING" COLUMNS,
                             3, values),
                         lifted, errorp);
}

int holds_last(HoldsDesk *desk, const char *pattern, HoldList *last, char **errorp) {
        return read_list(desk, RIGHTS_READ,
                         ask(desk,
                             "SELECT" COLUMNS " FROM holds h WHERE NOT (" IN_FORCE
                             ") AND" HAS_PATTERN
                             " ORDER BY coalesce(h.lifted_at, h.until) DESC LIMIT 1",
                             1, &pattern),
                         last, errorp);
}
