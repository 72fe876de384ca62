#include "pg/blocking.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "pg/sqlstate.h"

static int refuse(int r, const char *text, const char *remedy, char **errorp) {
        int n = (int)strcspn(text, "\n");
        int written = asprintf(errorp, "%.*s%s%s", n, text, remedy != NULL ? "; " : "",
                               remedy != NULL ? remedy : "");
        return written < 0 ? error_origin(-ENOMEM) : r;
}

static int connect_to(const char *kind, PGconn **connectionp, const char *program, const char *dsn,
                      const char *password, char **errorp) {
        const char *const keywords[] = {"connect_timeout",
                                        "fallback_application_name",
                                        "target_session_attrs",
                                        "dbname",
                                        "client_encoding",
                                        "password",
                                        NULL};
        const char *const values[] = {"10", program, kind, dsn, "UTF8", password, NULL};
        PGconn *connection = PQconnectdbParams(keywords, values, 1);
        if (connection == NULL) {
                return error_origin(-ENOMEM);
        }
        if (PQstatus(connection) == CONNECTION_BAD) {
                const char *why = PQerrorMessage(connection);
                const char *remedy = PQconnectionNeedsPassword(connection)
                                             ? "set postgres.password_file"
                                             : sqlstate_remedy(sqlstate_guess(why));
                int r = refuse(BLOCKING_E_CONNECT, why, remedy, errorp);
                PQfinish(connection);
                return r;
        }
        *connectionp = connection;
        return 0;
}

int blocking_connect(PGconn **connectionp, const char *program, const char *dsn,
                     const char *password, char **errorp) {
        return connect_to("read-write", connectionp, program, dsn, password, errorp);
}

int blocking_connect_reader(PGconn **connectionp, const char *program, const char *dsn,
                            const char *password, char **errorp) {
        return connect_to("any", connectionp, program, dsn, password, errorp);
}

static const char *sqlstate_of(const PGresult *result) {
        const char *state = PQresultErrorField(result, PG_DIAG_SQLSTATE);
        return state != NULL ? state : "";
}

/* No such schema, table or function. So it looks too to who may not use the schema. */
static bool is_missing(const char *state) {
        return strcmp(state, "3F000") == 0 || strcmp(state, "42P01") == 0 ||
               strcmp(state, "42883") == 0;
}

int blocking_check(const PGresult *result, char **errorp) {
        if (PQresultStatus(result) == PGRES_TUPLES_OK) {
                return 0;
        }
        const char *state = sqlstate_of(result);
        const char *remedy = is_missing(state) ? "run: ackd init-db"
                             : strcmp(state, SQLSTATE_NO_RIGHT) == 0
                                     ? "docs/roles.md says which role has the right"
                                     : NULL;
        return refuse(BLOCKING_E_REFUSED, PQresultErrorMessage(result), remedy, errorp);
}

int blocking_check_rights(PGconn *connection, const char *schema, RightsPart part,
                          const PGresult *result, char **errorp) {
        const char *state = sqlstate_of(result);
        bool denied = strcmp(state, SQLSTATE_NO_RIGHT) == 0;
        char *lacks = denied || is_missing(state) ? rights_lacking(connection, schema, part) : NULL;
        if (lacks == NULL) {
                return blocking_check(result, errorp);
        }
        const char *why = denied ? PQresultErrorField(result, PG_DIAG_MESSAGE_PRIMARY) : NULL;
        int written =
                asprintf(errorp, "%s%s%s", why != NULL ? why : "", why != NULL ? ": " : "", lacks);
        free(lacks);
        return written < 0 ? error_origin(-ENOMEM) : BLOCKING_E_REFUSED;
}
