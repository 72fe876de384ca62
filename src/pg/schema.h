#pragma once

/*
 * The schema: one SQL text, schema.sql with ledger.sql and roles.sql inside, embedded at build
 * time, with the schema's name put in (pg/schema_text.h). It is idempotent and upgrades what an
 * older version made, so init-db runs exactly what --print prints. It runs in one transaction under
 * an advisory lock: two at once are harmless.
 *
 * A daemon only checks (schema_check) and makes the monthly partitions of `messages` ahead
 * (schema_make_partitions): after the check, then once a day.
 */

#include <stdbool.h>

#include "pg/connection.h"
#include "telemetry/log.h"
#include "util/buffer.h"
#include "util/error.h"

enum {
        SCHEMA_VERSION = 2,      /* 2: the ledger of restarts */
        SCHEMA_MONTHS_AHEAD = 3, /* partitions of `messages` beside those of this and last month */
        SCHEMA_NAME_MAX = 63,    /* PostgreSQL's NAMEDATALEN less one */
        SCHEMA_ROLES_MAX = 55,   /* with room for "_operate" */
};

enum {
        SCHEMA_E_NAME = 1,    /* not a plain identifier */
        SCHEMA_E_CONNECT = 2, /* PostgreSQL can't be reached, or does not let us in */
        SCHEMA_E_REFUSED = 3, /* it said no: not UTF8, no right, a newer version's schema */
};

/* Letters, digits and underscores, no digit first, at most SCHEMA_NAME_MAX, not pg_…. Pure. */
bool schema_name_is_valid(const char *schema);

/* Adds the name in double quotes. SCHEMA_E_NAME, -ENOMEM. */
MUST_CHECK int schema_append_name(Buffer *sql, const char *schema);

/* Whether the names of roles can begin so: as schema_name_is_valid(), at most SCHEMA_ROLES_MAX.
 * Pure. */
bool schema_roles_are_valid(const char *roles);

/* Adds the SQL, with its BEGIN and COMMIT. @roles: it makes ROLES_owner, _run, _read and _operate;
 * NULL: those that the schema has already get what is new. SCHEMA_E_NAME, -ENOMEM. */
MUST_CHECK int schema_sql(const char *schema, const char *roles, Buffer *sql);

/* Makes or upgrades the schema. Blocks: for the command init-db, not for a loop. @password NULL:
 * what libpq finds. @roles as for schema_sql(). *@errorp: a malloc'd sentence with the remedy when
 * the result is positive. */
MUST_CHECK int schema_init(const char *dsn, const char *password, const char *schema,
                           const char *roles, char **errorp);

typedef enum SchemaEnd {
        SCHEMA_OK,
        SCHEMA_WRONG,     /* missing, or not for us: a person must act, as with the next four */
        SCHEMA_OLD,       /* of an older version */
        SCHEMA_NEWER,     /* of a newer one */
        SCHEMA_ENCODING,  /* the database is not UTF8 */
        SCHEMA_FORBIDDEN, /* a right lacks */
        SCHEMA_OUTAGE,    /* could not be asked */
} SchemaEnd;

/* @why: a sentence with the remedy, valid during the call; NULL with SCHEMA_OK. */
typedef void (*SchemaAnswer)(void *user, SchemaEnd end, const char *why);

/* Asks for the version, and whether the database is UTF8 and we have the rights of
 * RIGHTS_RUN; answered once, never at
 * once, after the connection came up (as long as that takes). Logs nothing: the caller does.
 * SCHEMA_E_NAME, -ENOMEM. */
MUST_CHECK int schema_check(PgPool *pool, const char *schema, SchemaAnswer answer, void *user);

/* Makes the partitions of SCHEMA_MONTHS_AHEAD months; safe when many do it at once, and costs
 * little when there is nothing to make. */
MUST_CHECK int schema_make_partitions(PgPool *pool, const char *schema, SchemaAnswer answer,
                                      void *user);
