#include "pg/sources.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "pg/schema.h"
#include "pg/sqlstate.h"
#include "util/reminder.h"

enum {
        SQL_MAX = 2048,
        PARAMETERS_MAX = 6,
        NUMBER_MAX = 24,
};

struct Sources {
        PgPool *pool;
        Log *log;
        const char *group;
        const char *instance;
        Reminder decisions; /* who made them, and why */
        char schema[SCHEMA_NAME_MAX + 1];
};

typedef enum QuestionKind {
        QUESTION_READ,
        QUESTION_ADOPT,
        QUESTION_MOVE_FENCE,
} QuestionKind;

typedef struct Question {
        PgOperation operation;
        Sources *sources;
        QuestionKind kind;
        SourceRead read;
        SourceAdopted adopted;
        void *user;
        int32_t partition;
        int32_t source;
        int64_t from, to;
        PartitionFacts facts; /* the answer */
        int64_t *rejected;    /* PartitionFacts.rejected */
        bool answered;
        const char *topic; /* in text */
        const char *cluster;
        char text[];
} Question;

/* $1 cluster, $2 group, $3 topic, $4 partition. A row whether there is a source or not. A topic is
 * known by a source of another partition that is a minute old: those of a group that starts for the
 * first time are made one after the other, by several daemons, and none of them was "added".
 * $5: rejected messages from this offset on, or from the fence on when that is lower; one whose row
 * was refused while its restart was still to come is not through. */
static const char read_sql[] =
        "SELECT p.id, p.next_offset, p.updated_at <> p.created_at, p.decided_from,"
        " EXISTS (SELECT FROM \"%1$s\".partitions o WHERE o.cluster_id = $1 AND o.group_id = $2"
        " AND o.topic = $3 AND o.partition <> $4::int"
        " AND o.created_at < clock_timestamp() - interval '1 minute'),"
        " (SELECT array_agg(r.\"offset\" ORDER BY r.\"offset\") FROM \"%1$s\".rejected r"
        " WHERE r.source = p.id AND r.\"offset\" >= least($5::bigint, p.next_offset)"
        " AND (r.handler IS DISTINCT FROM 'save' OR 'restart-host' = ANY(r.handlers_done))),"
        " p.decided_by, p.decided_why,"
        " (SELECT max(r.\"offset\") + 1 FROM \"%1$s\".restarts r WHERE r.source = p.id)"
        " FROM (SELECT) one LEFT JOIN \"%1$s\".partitions p ON p.cluster_id = $1"
        " AND p.group_id = $2 AND p.topic = $3 AND p.partition = $4::int"
        " AND p.retired_at IS NULL";
static const char adopt_sql[] = "SELECT \"%1$s\".adopt($1, $2, $3, $4, $5, $6)";
static const char move_sql[] = "SELECT \"%1$s\".skip_to($1::int, $2::bigint, $3::bigint)";

static int question_begin(PgOperation *operation, PGconn *connection, const Buffer **copy) {
        Question *question = container_of(operation, Question, operation);
        const char *format = NULL;
        const char *values[PARAMETERS_MAX] = {question->cluster, question->sources->group,
                                              question->topic};
        char numbers[3][NUMBER_MAX];
        char sql[SQL_MAX];
        int n = 0;
        (void)copy;
        question->answered = false;
        switch (question->kind) {
        case QUESTION_READ:
                format = read_sql;
                n = 5;
                break;
        case QUESTION_ADOPT:
                format = adopt_sql;
                n = 6;
                break;
        case QUESTION_MOVE_FENCE:
                format = move_sql;
                n = 3;
                break;
        }
        if (question->kind == QUESTION_MOVE_FENCE) {
                snprintf(numbers[0], NUMBER_MAX, "%" PRId32, question->source);
                snprintf(numbers[1], NUMBER_MAX, "%" PRId64, question->from);
                snprintf(numbers[2], NUMBER_MAX, "%" PRId64, question->to);
                values[0] = numbers[0];
                values[1] = numbers[1];
                values[2] = numbers[2];
        } else {
                snprintf(numbers[0], NUMBER_MAX, "%" PRId32, question->partition);
                snprintf(numbers[1], NUMBER_MAX, "%" PRId64, question->to);
                values[3] = numbers[0];
                values[4] = numbers[1];
                values[5] = question->sources->instance;
        }
        snprintf(sql, sizeof(sql), format, question->sources->schema);
        int sent = PQsendQueryParams(connection, sql, n, NULL, values, NULL, NULL, 0);
        return sent == 1 ? 0 : PG_E_SEND;
}

/* "{1,2}"; -ENOMEM. */
static int read_rejected(Question *question, const char *text) {
        size_t n = 0;
        for (const char *p = text; *p != '\0'; p++) {
                n += *p == ',' || *p == '{';
        }
        free(question->rejected);
        question->rejected = malloc(n * sizeof(*question->rejected) + 1);
        if (question->rejected == NULL) {
                return error_origin(-ENOMEM);
        }
        char *end = NULL;
        for (size_t i = 0; i < n; i++) {
                question->rejected[i] = strtoll(text + 1, &end, 10);
                text = end;
        }
        question->facts.rejected = question->rejected;
        question->facts.n_rejected = n;
        return 0;
}

PGresult *sources_ask(PGconn *connection, const char *schema, const char *group,
                      const SourceName *name) {
        const char *format = read_sql;
        char sql[SQL_MAX], partition[NUMBER_MAX];
        const char *values[] = {name->cluster, group, name->topic, partition, NULL};
        snprintf(sql, sizeof(sql), format, schema);
        snprintf(partition, sizeof(partition), "%" PRId32, name->partition);
        return PQexecParams(connection, sql, 5, NULL, values, NULL, NULL, 0);
}

void sources_answer(const PGresult *result, PartitionFacts *facts) {
        *facts = (PartitionFacts){.committed = -1, .low = -1, .high = -1};
        facts->has_source = PQgetisnull(result, 0, 0) == 0;
        facts->is_decided = PQgetisnull(result, 0, 3) == 0;
        if (facts->is_decided) {
                facts->decided = strtoll(PQgetvalue(result, 0, 3), NULL, 10);
        }
        facts->topic_known = PQgetvalue(result, 0, 4)[0] == 't';
        if (facts->has_source) {
                facts->source = (int32_t)strtol(PQgetvalue(result, 0, 0), NULL, 10);
                facts->fence = strtoll(PQgetvalue(result, 0, 1), NULL, 10);
                facts->fence_moved = PQgetvalue(result, 0, 2)[0] == 't';
                facts->claimed = strtoll(PQgetvalue(result, 0, 8), NULL, 10); /* null: 0 */
        }
}

/* Who wants it, and why: the row knows, and the engine need not. */
static void log_decision(const Question *question, const char *who, const char *why) {
        const PartitionFacts *facts = &question->facts;
        char key[512];
        snprintf(key, sizeof(key), "%d %s %s", (int)facts->source, who, why);
        if (facts->is_decided && reminder_is_due(&question->sources->decisions, key, loop_now())) {
                log_info(question->sources->log, "partition.decision",
                         FIELDS(.topic = question->topic, .partition = question->partition,
                                .offset = facts->decided),
                         "%s decided where it goes on: offset %lld; why: %s", who,
                         (long long)facts->decided, why);
        }
}

static void question_result(PgOperation *operation, const PGresult *result) {
        Question *question = container_of(operation, Question, operation);
        PartitionFacts *facts = &question->facts;
        if (PQntuples(result) != 1) {
                return;
        }
        question->answered = true;
        bool is_null = PQgetisnull(result, 0, 0) != 0;
        switch (question->kind) {
        case QUESTION_READ:
                sources_answer(result, facts);
                question->answered = read_rejected(question, PQgetvalue(result, 0, 5)) == 0;
                log_decision(question, PQgetvalue(result, 0, 6), PQgetvalue(result, 0, 7));
                return;
        case QUESTION_ADOPT:
                facts->has_source = !is_null;
                facts->source = is_null ? 0 : (int32_t)strtol(PQgetvalue(result, 0, 0), NULL, 10);
                return;
        case QUESTION_MOVE_FENCE:
                facts->has_source = true;
                facts->source = question->source;
                return;
        }
}

static const char *question_name(QuestionKind kind) {
        switch (kind) {
        case QUESTION_READ:
                return "reading the source";
        case QUESTION_ADOPT:
                return "making the row of the source";
        case QUESTION_MOVE_FENCE:
                return "moving the fence";
        }
        return "";
}

static void question_log(const Question *question, PgEnd end, const PgFailure *failure) {
        if (end == PG_OK || end == PG_DROPPED) {
                return;
        }
        const char *remedy = sqlstate_remedy(failure->sqlstate);
        bool named = question->kind != QUESTION_MOVE_FENCE;
        log_write(question->sources->log,
                  sqlstate_is_alarm(failure->sqlstate) ? LOG_ERROR : LOG_WARNING, "postgres.source",
                  FIELDS(.topic = named ? question->topic : NULL,
                         .partition = named ? question->partition : -1, .error = failure->message),
                  "%s failed: %s%s%s; it is looked up again%s%s", question_name(question->kind),
                  failure->sqlstate, failure->sqlstate[0] != '\0' ? ": " : "", failure->message,
                  remedy != NULL ? "; " : "", remedy != NULL ? remedy : "");
}

static void question_end(PgOperation *operation, PgEnd end, const PgFailure *failure) {
        Question *question = container_of(operation, Question, operation);
        bool ok = end == PG_OK && question->answered;
        question_log(question, end, failure);
        if (question->kind == QUESTION_READ) {
                question->read(question->user, ok ? &question->facts : NULL);
        } else {
                AdoptEnd adopt = ADOPT_OUTAGE;
                if (ok) {
                        adopt = question->facts.has_source ? ADOPT_OK : ADOPT_CHANGED;
                } else if (end == PG_REFUSED && strcmp(failure->sqlstate, SQLSTATE_FENCE) == 0) {
                        adopt = ADOPT_CHANGED;
                }
                question->adopted(question->user, adopt,
                                  adopt == ADOPT_OK ? question->facts.source : 0);
        }
        free(question->rejected);
        free(question);
}

static const PgOperationInterface question_interface = {"source", question_begin, question_result,
                                                        question_end};

static int question_new(Question **questionp, Sources *sources, QuestionKind kind,
                        const SourceName *name, void *user) {
        size_t topic_size = strlen(name->topic) + 1;
        size_t cluster_size = strlen(name->cluster) + 1;
        Question *question = calloc(1, sizeof(*question) + topic_size + cluster_size);
        if (question == NULL) {
                return error_origin(-ENOMEM);
        }
        pg_operation_init(&question->operation, &question_interface);
        question->sources = sources;
        question->kind = kind;
        question->user = user;
        question->partition = name->partition;
        question->topic = memcpy(question->text, name->topic, topic_size);
        question->cluster = memcpy(question->text + topic_size, name->cluster, cluster_size);
        *questionp = question;
        return 0;
}

int sources_new(Sources **sourcesp, PgPool *pool, Log *log, const char *schema, const char *group,
                const char *instance) {
        if (!schema_name_is_valid(schema)) {
                return SCHEMA_E_NAME;
        }
        Sources *sources = calloc(1, sizeof(*sources));
        if (sources == NULL) {
                return error_origin(-ENOMEM);
        }
        sources->pool = pool;
        sources->log = log;
        sources->group = group;
        sources->instance = instance;
        snprintf(sources->schema, sizeof(sources->schema), "%s", schema);
        *sourcesp = sources;
        return 0;
}

void sources_free(Sources *sources) {
        free(sources);
}

int sources_read(Sources *sources, const SourceName *name, int64_t committed, SourceRead answer,
                 void *user) {
        Question *question = NULL;
        int r = question_new(&question, sources, QUESTION_READ, name, user);
        if (r != 0) {
                return r;
        }
        question->read = answer;
        question->to = committed >= 0 ? committed : INT64_MAX;
        pg_pool_submit(sources->pool, &question->operation, true);
        return 0;
}

int sources_adopt(Sources *sources, const SourceName *name, int64_t next, SourceAdopted answer,
                  void *user) {
        Question *question = NULL;
        int r = question_new(&question, sources, QUESTION_ADOPT, name, user);
        if (r != 0) {
                return r;
        }
        question->adopted = answer;
        question->to = next;
        pg_pool_submit(sources->pool, &question->operation, true);
        return 0;
}

int sources_move_fence(Sources *sources, int32_t source, int64_t from, int64_t to,
                       SourceAdopted answer, void *user) {
        Question *question = NULL;
        SourceName nobody = {"", "", -1};
        int r = question_new(&question, sources, QUESTION_MOVE_FENCE, &nobody, user);
        if (r != 0) {
                return r;
        }
        question->adopted = answer;
        question->source = source;
        question->from = from;
        question->to = to;
        pg_pool_submit(sources->pool, &question->operation, true);
        return 0;
}
