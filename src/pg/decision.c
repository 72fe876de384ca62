#include "pg/decision.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

enum {
        NUMBER_MAX = 24,
        SQL_MAX = 256,
};

static int refuse(int r, const char *text, const char *remedy, char **errorp) {
        int n = (int)strcspn(text, "\n");
        return asprintf(errorp, "%.*s%s", n, text, remedy) < 0 ? error_origin(-ENOMEM) : r;
}

static int write_down(PGconn *connection, const char *schema, const Decision *decision,
                      char **errorp) {
        char sql[SQL_MAX], partition[NUMBER_MAX], from[NUMBER_MAX];
        snprintf(sql, sizeof(sql),
                 "SELECT \"%s\".decide($1, $2, $3, $4::int, $5::bigint, $6::bool, $7, $8)", schema);
        snprintf(partition, sizeof(partition), "%" PRId32, decision->partition);
        snprintf(from, sizeof(from), "%" PRId64, decision->from);
        const char *values[] = {
                decision->cluster,          decision->group, decision->topic, partition, from,
                decision->anew ? "t" : "f", decision->who,   decision->why};
        PGresult *result = PQexecParams(connection, sql, 8, NULL, values, NULL, NULL, 0);
        int r = 0;
        if (PQresultStatus(result) != PGRES_TUPLES_OK) {
                const char *state = PQresultErrorField(result, PG_DIAG_SQLSTATE);
                /* No such schema, no such function. */
                bool missing = state != NULL &&
                               (strcmp(state, "3F000") == 0 || strcmp(state, "42883") == 0);
                r = refuse(DECISION_E_REFUSED, PQresultErrorMessage(result),
                           missing ? "; run: ackd init-db" : "", errorp);
        }
        PQclear(result);
        return r;
}

int decision_write(const char *dsn, const char *password, const char *schema,
                   const Decision *decision, char **errorp) {
        const char *const keywords[] = {"connect_timeout",
                                        "fallback_application_name",
                                        "target_session_attrs",
                                        "dbname",
                                        "client_encoding",
                                        "password",
                                        NULL};
        const char *const values[] = {"10",   "ackd partition", "read-write", dsn,
                                      "UTF8", password,         NULL};
        PGconn *connection = PQconnectdbParams(keywords, values, 1);
        if (connection == NULL) {
                return error_origin(-ENOMEM);
        }
        int r = PQstatus(connection) == CONNECTION_BAD
                        ? refuse(DECISION_E_CONNECT, PQerrorMessage(connection), "", errorp)
                        : write_down(connection, schema, decision, errorp);
        PQfinish(connection);
        return r;
}
