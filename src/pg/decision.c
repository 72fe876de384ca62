#include "pg/decision.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "pg/blocking.h"

enum {
        NUMBER_MAX = 24,
        SQL_MAX = 256,
};

struct Decider {
        PGconn *connection;
        const char *schema, *group;
};

static int check(const Decider *decider, const PGresult *result, char **errorp) {
        int r = blocking_check_rights(decider->connection, decider->schema, RIGHTS_OPERATE, result,
                                      errorp);
        return r > 0 ? DECISION_E_REFUSED : r;
}

int decider_open(Decider **deciderp, const char *dsn, const char *password, const char *schema,
                 const char *group, char **errorp) {
        Decider *decider = calloc(1, sizeof(*decider));
        if (decider == NULL) {
                return error_origin(-ENOMEM);
        }
        *decider = (Decider){.schema = schema, .group = group};
        int r = blocking_connect(&decider->connection, "ackd partition", dsn, password, errorp);
        if (r != 0) {
                decider_close(decider);
                return r > 0 ? DECISION_E_CONNECT : r;
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
        int r = check(decider, result, errorp);
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
                 "$10::bigint, $11::bool, $12)",
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
                                decision->expires ? "t" : "f",
                                decision->dead_letters ? "pending" : "none"};
        PGresult *result = PQexecParams(decider->connection, sql, 12, NULL, values, NULL, NULL, 0);
        int r = check(decider, result, errorp);
        if (r == 0) {
                *keptp = strtoll(PQgetvalue(result, 0, 0), NULL, 10);
        }
        PQclear(result);
        return r;
}
