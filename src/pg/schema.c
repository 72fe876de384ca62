#include "pg/schema.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "pg/rights.h"
#include "pg/schema_text.h"
#include "pg/sqlstate.h"

/* --- the text ----------------------------------------------------------------------------- */

bool schema_name_is_valid(const char *schema) {
        static const char letters[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz_";
        static const char digits[] = "0123456789";
        size_t size = strlen(schema);
        if (size == 0 || size > SCHEMA_NAME_MAX || strchr(letters, schema[0]) == NULL) {
                return false;
        }
        for (const char *c = schema; *c != '\0'; c++) {
                if (strchr(letters, *c) == NULL && strchr(digits, *c) == NULL) {
                        return false;
                }
        }
        return strncasecmp(schema, "pg_", 3) != 0;
}

int schema_append_name(Buffer *sql, const char *schema) {
        if (!schema_name_is_valid(schema)) {
                return SCHEMA_E_NAME;
        }
        return buffer_printf(sql, "\"%s\"", schema);
}

bool schema_roles_are_valid(const char *roles) {
        return schema_name_is_valid(roles) && strlen(roles) <= SCHEMA_ROLES_MAX;
}

int schema_sql(const char *schema, const char *roles, Buffer *sql) {
        SchemaText text = {.schema = schema, .roles = roles != NULL ? roles : ""};
        if (!schema_name_is_valid(schema) || (roles != NULL && !schema_roles_are_valid(roles))) {
                return SCHEMA_E_NAME;
        }
        return schema_text_append(&text, SCHEMA_TEXT_INIT, sql);
}

/* --- init-db ------------------------------------------------------------------------------ */

static int refuse(char **errorp, int r, const char *text, const char *remedy) {
        int n = (int)strlen(text);
        while (n > 0 && (text[n - 1] == '\n' || text[n - 1] == ' ')) {
                n--;
        }
        bool has = remedy != NULL && remedy[0] != '\0';
        int written = asprintf(errorp, "%.*s%s%s", n, text, has ? "; " : "", has ? remedy : "");
        return written < 0 ? error_origin(-ENOMEM) : r;
}

static void ignore_notice(void *user, const PGresult *result) {
        (void)user;
        (void)result;
}

/* Runs the text; it is several statements, the first error ends it. */
static int run(PGconn *connection, const char *sql, char **errorp) {
        PQsetNoticeReceiver(connection, ignore_notice, NULL);
        PGresult *result = PQexec(connection, sql);
        int r = 0;
        if (PQresultStatus(result) != PGRES_COMMAND_OK &&
            PQresultStatus(result) != PGRES_TUPLES_OK) {
                const char *sqlstate = PQresultErrorField(result, PG_DIAG_SQLSTATE);
                const char *primary = PQresultErrorField(result, PG_DIAG_MESSAGE_PRIMARY);
                const char *hint = PQresultErrorField(result, PG_DIAG_MESSAGE_HINT);
                if (hint == NULL && sqlstate != NULL && strcmp(sqlstate, SQLSTATE_NO_RIGHT) == 0) {
                        hint = "run it as the database's owner, or as the role that the schema's "
                               "tables belong to";
                }
                r = refuse(errorp, SCHEMA_E_REFUSED,
                           primary != NULL ? primary : PQerrorMessage(connection), hint);
        }
        PQclear(result);
        return r;
}

static int init_connected(PGconn *connection, const char *schema, const char *roles,
                          char **errorp) {
        Buffer sql = BUFFER_INIT;
        int r = SCHEMA_E_CONNECT;
        if (PQstatus(connection) == CONNECTION_BAD) {
                r = refuse(errorp, r, PQerrorMessage(connection),
                           PQconnectionNeedsPassword(connection)
                                   ? "set postgres.password_file"
                                   : sqlstate_remedy(sqlstate_guess(PQerrorMessage(connection))));
        } else {
                r = schema_sql(schema, roles, &sql);
                if (r == 0 && buffer_string(&sql) == NULL) {
                        r = -ENOMEM;
                }
                if (r == 0) {
                        r = run(connection, (const char *)sql.data, errorp);
                }
        }
        buffer_deinit(&sql);
        return r;
}

int schema_init(const char *dsn, const char *password, const char *schema, const char *roles,
                char **errorp) {
        const char *const keywords[] = {"connect_timeout",
                                        "fallback_application_name",
                                        "target_session_attrs",
                                        "dbname",
                                        "client_encoding",
                                        "password",
                                        NULL};
        const char *const values[] = {"10",   "ackd init-db", "read-write", dsn,
                                      "UTF8", password,       NULL};
        if (!schema_name_is_valid(schema)) {
                return refuse(errorp, SCHEMA_E_NAME, "the schema's name is no plain identifier",
                              "letters, digits and underscores, at most 63");
        }
        if (roles != NULL && !schema_roles_are_valid(roles)) {
                return refuse(errorp, SCHEMA_E_NAME, "the roles' names can't begin so",
                              "letters, digits and underscores, at most 55");
        }
        PGconn *connection = PQconnectdbParams(keywords, values, 1);
        if (connection == NULL) {
                return error_origin(-ENOMEM);
        }
        int r = init_connected(connection, schema, roles, errorp);
        PQfinish(connection);
        return r;
}

/* --- what a daemon asks ------------------------------------------------------------------- */

typedef struct SchemaQuestion {
        PgOperation operation;
        SchemaAnswer answer;
        void *user;
        bool checks;
        SchemaEnd end; /* of an answer; `why` says it */
        char schema[SCHEMA_NAME_MAX + 1];
        char lacks[768]; /* which rights, and what gives them; "": none */
        char why[768];
} SchemaQuestion;

static int schema_begin(PgOperation *operation, PGconn *connection, const Buffer **copy) {
        SchemaQuestion *question = container_of(operation, SchemaQuestion, operation);
        CLEANUP(buffer_deinit) Buffer sql = BUFFER_INIT;
        int r;
        (void)copy;
        question->lacks[0] = '\0';
        question->end = SCHEMA_OK;
        if (question->checks) {
                /* The rights first, in a statement of its own: the second one is refused without
                 * them. */
                r = rights_append_query(&sql, question->schema, RIGHTS_RUN);
                r = r != 0 ? r
                           : buffer_printf(&sql,
                                           "; SELECT version, current_setting('server_encoding') = "
                                           "'UTF8' FROM \"%s\".schema_version",
                                           question->schema);
        } else {
                r = buffer_printf(&sql, "SELECT \"%s\".make_partitions(%d)", question->schema,
                                  SCHEMA_MONTHS_AHEAD);
        }
        if (r != 0 || buffer_string(&sql) == NULL) {
                return error_origin(-ENOMEM);
        }
        return PQsendQuery(connection, (const char *)sql.data) == 1 ? 0 : PG_E_SEND;
}

static void schema_result(PgOperation *operation, const PGresult *result) {
        SchemaQuestion *question = container_of(operation, SchemaQuestion, operation);
        if (!question->checks) {
                return;
        }
        if (PQnfields(result) == 1) {
                if (PQntuples(result) == 1) {
                        snprintf(question->lacks, sizeof(question->lacks), "%s",
                                 PQgetvalue(result, 0, 0));
                }
                return;
        }
        int version = PQntuples(result) == 1 ? atoi(PQgetvalue(result, 0, 0)) : 0;
        if (version < SCHEMA_VERSION) {
                question->end = SCHEMA_OLD;
                snprintf(question->why, sizeof(question->why),
                         "schema \"%s\" has version %d, and this ackd needs %d; run: ackd init-db",
                         question->schema, version, SCHEMA_VERSION);
        } else if (version > SCHEMA_VERSION) {
                question->end = SCHEMA_NEWER;
                snprintf(question->why, sizeof(question->why),
                         "schema \"%s\" has version %d, made by a newer ackd; this one knows %d: "
                         "update it",
                         question->schema, version, SCHEMA_VERSION);
        } else if (strcmp(PQgetvalue(result, 0, 1), "t") != 0) {
                question->end = SCHEMA_ENCODING;
                snprintf(question->why, sizeof(question->why),
                         "the database's encoding is not UTF8; make another: createdb "
                         "--encoding=UTF8 --template=template0 NAME");
        } else if (question->lacks[0] != '\0') {
                question->end = SCHEMA_FORBIDDEN;
                snprintf(question->why, sizeof(question->why), "%s", question->lacks);
        }
}

static void schema_end(PgOperation *operation, PgEnd end, const PgFailure *failure) {
        SchemaQuestion *question = container_of(operation, SchemaQuestion, operation);
        SchemaEnd answer = SCHEMA_OUTAGE;
        switch (end) {
        case PG_OK:
                answer = question->end;
                break;
        case PG_REFUSED:
                answer = strcmp(failure->sqlstate, SQLSTATE_NO_RIGHT) == 0 ? SCHEMA_FORBIDDEN
                         : sqlstate_is_alarm(failure->sqlstate)            ? SCHEMA_WRONG
                                                                           : SCHEMA_OUTAGE;
                break;
        case PG_LOST:
        case PG_DROPPED:
                break;
        }
        if (end == PG_REFUSED && question->lacks[0] != '\0' &&
            strcmp(failure->sqlstate, SQLSTATE_NO_RIGHT) == 0) {
                snprintf(question->why, sizeof(question->why), "%s", question->lacks);
        } else if (end != PG_OK) {
                const char *remedy = sqlstate_remedy(failure->sqlstate);
                snprintf(question->why, sizeof(question->why), "%.150s%s%s", failure->message,
                         remedy != NULL ? "; " : "", remedy != NULL ? remedy : "");
        }
        question->answer(question->user, answer, answer == SCHEMA_OK ? NULL : question->why);
        free(question);
}

static const PgOperationInterface check_interface = {"schema_check", schema_begin, schema_result,
                                                     schema_end};
static const PgOperationInterface partitions_interface = {"make_partitions", schema_begin, NULL,
                                                          schema_end};

static int ask(PgPool *pool, const char *schema, bool checks, SchemaAnswer answer, void *user) {
        if (!schema_name_is_valid(schema)) {
                return SCHEMA_E_NAME;
        }
        SchemaQuestion *question = calloc(1, sizeof(*question));
        if (question == NULL) {
                return error_origin(-ENOMEM);
        }
        pg_operation_init(&question->operation, checks ? &check_interface : &partitions_interface);
        question->checks = checks;
        question->answer = answer;
        question->user = user;
        snprintf(question->schema, sizeof(question->schema), "%s", schema);
        pg_pool_submit(pool, &question->operation, true);
        return 0;
}

int schema_check(PgPool *pool, const char *schema, SchemaAnswer answer, void *user) {
        return ask(pool, schema, true, answer, user);
}

int schema_make_partitions(PgPool *pool, const char *schema, SchemaAnswer answer, void *user) {
        return ask(pool, schema, false, answer, user);
}
