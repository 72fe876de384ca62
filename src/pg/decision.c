#include "pg/decision.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "pg/sqlstate.h"

enum {
        NUMBER_MAX = 24,
        SQL_MAX = 256,
};

struct Decider {
        PGconn *connection;
        const char *schema, *group;
};

static int refuse(int r, const char *text, const char *remedy, char **errorp) {
        int n = (int)strcspn(text, "\n");
        int written = asprintf(errorp, "%.*s%s%s", n, text, remedy != NULL ? "; " : "",
                               remedy != NULL ? remedy : "");
        return written < 0 ? error_origin(-ENOMEM) : r;
}

/* Whether it has what was asked for; if not, why. */
static int check(const PGresult *result, char **errorp) {
        if (PQresultStatus(result) == PGRES_TUPLES_OK) {
                return 0;
        }
        const char *state = PQresultErrorField(result, PG_DIAG_SQLSTATE);
        /* No such schema, table or function. */
        bool missing =
                state != NULL && (strcmp(state, "3F000") == 0 || strcmp(state, "42P01") == 0 ||
                                  strcmp(state, "42883") == 0);
        return refuse(DECISION_E_REFUSED, PQresultErrorMessage(result),
                      missing ? "run: ackd init-db" : NULL, errorp);
}

int decider_open(Decider **deciderp, const char *dsn, const char *password, const char *schema,
                 const char *group, char **errorp) {
        const char *const keywords[] = {"connect_timeout",
                                        "fallback_application_name",
                                        "target_session_attrs",
                                        "dbname",
                                        "client_encoding",
                                        "password",
                                        NULL};
        const char *const values[] = {"10",   "ackd partition", "read-write", dsn,
                                      "UTF8", password,         NULL};
        Decider *decider = calloc(1, sizeof(*decider));
        if (decider == NULL) {
                return error_origin(-ENOMEM);
        }
        *decider = (Decider){.schema = schema, .group = group};
        decider->connection = PQconnectdbParams(keywords, values, 1);
        int r = decider->connection == NULL ? error_origin(-ENOMEM) : 0;
        if (r == 0 && PQstatus(decider->connection) == CONNECTION_BAD) {
                const char *why = PQerrorMessage(decider->connection);
                const char *remedy = PQconnectionNeedsPassword(decider->connection)
                                             ? "set postgres.password_file"
                                             : sqlstate_remedy(sqlstate_guess(why));
                r = refuse(DECISION_E_CONNECT, why, remedy, errorp);
        }
        if (r != 0) {
                decider_close(decider);
                return r;
        }
        /* All of `messages` is read. */
        PQclear(PQexec(decider->connection, "SET statement_timeout = 0"));
        *deciderp = decider;
        return 0;
}

void decider_close(Decider *decider) {
        if (decider != NULL) {
                PQfinish(decider->connection);
                free(decider);
        }
}

int decider_read(Decider *decider, const SourceName *name, PartitionFacts *facts, char **errorp) {
        PGresult *result = sources_ask(decider->connection, decider->schema, decider->group, name);
        int r = check(result, errorp);
        if (r == 0) {
                sources_answer(result, facts);
        }
        PQclear(result);
        return r;
}

int decider_write(Decider *decider, const SourceName *name, const PartitionFacts *facts,
                  const Decision *decision, int64_t *keptp, char **errorp) {
        char sql[SQL_MAX], partition[NUMBER_MAX], from[NUMBER_MAX], source[NUMBER_MAX],
                committed[NUMBER_MAX];
        snprintf(sql, sizeof(sql),
                 "SELECT \"%s\".decide($1, $2, $3, $4::int, $5::bigint, $6::bool, $7, $8, $9::int, "
                 "$10::bigint, $11::bool)",
                 decider->schema);
        snprintf(partition, sizeof(partition), "%" PRId32, name->partition);
        snprintf(from, sizeof(from), "%" PRId64, decision->from);
        snprintf(source, sizeof(source), "%" PRId32, facts->source);
        snprintf(committed, sizeof(committed), "%" PRId64, facts->committed);
        const char *values[] = {name->cluster,
                                decider->group,
                                name->topic,
                                partition,
                                from,
                                decision->anew ? "t" : "f",
                                decision->who,
                                decision->why,
                                facts->has_source ? source : NULL,
                                facts->committed >= 0 ? committed : NULL,
                                decision->expires ? "t" : "f"};
        PGresult *result = PQexecParams(decider->connection, sql, 11, NULL, values, NULL, NULL, 0);
        int r = check(result, errorp);
        if (r == 0) {
                *keptp = strtoll(PQgetvalue(result, 0, 0), NULL, 10);
        }
        PQclear(result);
        return r;
}
