/*
 * A job carries one batch through one operation. Jobs and their buffers are used again, so that a
 * batch in steady state allocates nothing.
 */

#include "pg/saves.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "pg/binary.h"
#include "pg/literal.h"
#include "pg/rejected.h"
#include "pg/schema.h"

enum {
        COLUMNS = 9,             /* of a row of `messages` */
        KEEP_SIZE = 1024 * 1024, /* a larger buffer of SQL was needed for rare statements */
        LEFT_OUT = -1,
};

typedef struct Job {
        PgOperation operation;
        Saves *saves;
        SavesKind kind;
        Batch *batch;
        Buffer copy;
        Buffer sql;
        ssize_t *parts; /* messages seen of each of Batch.parts, or LEFT_OUT */
        size_t parts_capacity;
        size_t rows;
        size_t left_out;
        int64_t *fences;
        RefusedRow *refused;
        size_t n_refused;
        bool failed; /* no memory for the answer */
        List link;   /* Saves.idle, or itself */
} Job;

struct Saves {
        PgPool *pool;
        bool dead_letters; /* what is rejected is to go to the topic */
        SavesEnd end;
        void *user;
        List idle;                        /* Job.link */
        char schema[SCHEMA_NAME_MAX + 3]; /* quoted */
};

/* --- parts -------------------------------------------------------------------------------- */

/* The part of a message; messages come by part, so the next one's is mostly the same. */
static size_t find_part(const Batch *batch, const Message *message, size_t hint) {
        for (size_t i = 0; i < batch->n_parts; i++) {
                size_t at = (hint + i) % batch->n_parts;
                if (batch->parts[at].partition == message->partition) {
                        return at;
                }
        }
        return batch->n_parts;
}

/* Decides which parts go. */
static int job_count_parts(Job *job) {
        const Batch *batch = job->batch;
        if (batch->n_parts > job->parts_capacity) {
                ssize_t *parts = realloc(job->parts, batch->n_parts * sizeof(*parts));
                if (parts == NULL) {
                        return error_origin(-ENOMEM);
                }
                job->parts = parts;
                job->parts_capacity = batch->n_parts;
        }
        for (size_t i = 0; i < batch->n_parts; i++) {
                job->parts[i] = 0;
        }
        size_t part = 0;
        list_for_each(link, &batch->messages) {
                const Message *message = container_of(link, Message, lane_link);
                part = find_part(batch, message, part);
                if (part == batch->n_parts) {
                        return error_origin(-EINVAL);
                }
                job->parts[part]++;
        }
        job->left_out = 0;
        for (size_t i = 0; i < batch->n_parts; i++) {
                if ((size_t)job->parts[i] != batch->parts[i].rows) {
                        job->parts[i] = LEFT_OUT;
                        job->left_out++;
                }
        }
        return job->left_out == batch->n_parts ? PG_E_NOTHING : 0;
}

/* --- what is sent ------------------------------------------------------------------------- */

static int append_row(Buffer *copy, const Message *message) {
        const MessageBody *body = message->body;
        size_t host_size = message->host != NULL ? strlen(message->host) : 0;
        size_t id_size = message->id != NULL ? strlen(message->id) : 0;
        size_t size = BINARY_ROW_SIZE + COLUMNS * BINARY_FIELD_SIZE + 4 + 3 * 8 + body->key_size +
                      host_size + id_size + body->value_size + body->headers_size;
        int r = buffer_reserve(copy, size);
        if (r != 0) {
                return r;
        }
        uint8_t *at = copy->data + copy->size;
        at = binary_put_row(at, COLUMNS);
        at = binary_put_int4(at, message->partition->source);
        at = binary_put_int8(at, message->offset);
        at = binary_put_bytes(at, body->key, body->key_size);
        at = binary_put_bytes(at, message->host, host_size);
        at = binary_put_bytes(at, message->id, id_size);
        at = binary_put_bytes(at, body->value, body->value_size);
        at = binary_put_bytes(at, body->headers, body->headers_size);
        /* Kafka's "none" is -1, and there is nothing before 1970. */
        at = message->produced_us < 0 ? binary_put_null(at)
                                      : binary_put_time(at, message->produced_us);
        at = binary_put_time(at, message->received_wall_us);
        copy->size = (size_t)(at - copy->data);
        return 0;
}

/* Rows into `copy`, rows of `rejected` into `sql`. @rows gets the number of the former. */
static int job_append_messages(Job *job, bool copying, size_t *rows) {
        const Batch *batch = job->batch;
        size_t part = 0, faulty = 0;
        int r = 0;
        *rows = 0;
        list_for_each(link, &batch->messages) {
                const Message *message = container_of(link, Message, lane_link);
                part = find_part(batch, message, part);
                if (job->parts[part] == LEFT_OUT) {
                        continue;
                }
                switch (message->record) {
                case MESSAGE_ROW:
                        r = copying ? append_row(&job->copy, message) : 0;
                        (*rows)++;
                        break;
                case MESSAGE_FAULTY:
                        r = faulty > 0 ? 0 : rejected_append_head(&job->sql, job->saves->schema);
                        r = r != 0 ? r
                                   : rejected_append_row(&job->sql, job->saves->schema, message,
                                                         job->saves->dead_letters, faulty == 0);
                        faulty++;
                        break;
                case MESSAGE_NO_ROW:
                        break;
                }
                if (r != 0) {
                        return r;
                }
                job->rows++;
        }
        return faulty > 0 ? rejected_append_tail(&job->sql) : 0;
}

typedef enum PartColumn {
        PART_SOURCE,
        PART_EXPECTED,
        PART_NEXT,
} PartColumn;

/* '{1,2}' of the parts that go. */
static int job_append_parts(Job *job, PartColumn column) {
        const Batch *batch = job->batch;
        bool first = true;
        int r = buffer_append_string(&job->sql, "'{");
        for (size_t i = 0; i < batch->n_parts && r == 0; i++) {
                const BatchPart *part = &batch->parts[i];
                int64_t value = 0;
                if (job->parts[i] == LEFT_OUT) {
                        continue;
                }
                switch (column) {
                case PART_SOURCE:
                        value = part->partition->source;
                        break;
                case PART_EXPECTED:
                        value = part->expected;
                        break;
                case PART_NEXT:
                        value = part->next;
                        break;
                }
                r = buffer_printf(&job->sql, "%s%" PRId64, first ? "" : ",", value);
                first = false;
        }
        return r != 0 ? r : buffer_append_string(&job->sql, "}'");
}

static int job_append_fences(Job *job) {
        int r = job_append_parts(job, PART_SOURCE);
        r = r != 0 ? r : buffer_append_char(&job->sql, ',');
        r = r != 0 ? r : job_append_parts(job, PART_EXPECTED);
        r = r != 0 ? r : buffer_append_char(&job->sql, ',');
        return r != 0 ? r : job_append_parts(job, PART_NEXT);
}

/* The COPY's statement stands before what job_append_messages() added to `sql`. */
static int job_build_batch(Job *job, const Buffer **copy) {
        static const char columns[] = "(source,\"offset\",key,host,request_id,payload,headers,"
                                      "produced_at,received_at) FROM STDIN (FORMAT binary); ";
        size_t rows;
        int r = job_count_parts(job);
        if (r != 0) {
                return r;
        }
        r = buffer_printf(&job->sql, "COPY %s.messages %s", job->saves->schema, columns);
        size_t skip = job->sql.size;
        r = r != 0 ? r : binary_append_header(&job->copy);
        r = r != 0 ? r : job_append_messages(job, true, &rows);
        r = r != 0 ? r : binary_append_trailer(&job->copy);
        if (r != 0) {
                return r;
        }
        if (rows == 0) {
                buffer_consume(&job->sql, skip);
        } else {
                *copy = &job->copy;
        }
        r = buffer_printf(&job->sql, "SELECT %s.move_fence(", job->saves->schema);
        r = r != 0 ? r : job_append_fences(job);
        return r != 0 ? r : buffer_append_char(&job->sql, ')');
}

/* The arrays of save_each, in the order of its parameters. */
typedef enum EachColumn {
        EACH_SOURCE,
        EACH_OFFSET,
        EACH_KEY,
        EACH_HOST,
        EACH_REQUEST_ID,
        EACH_PAYLOAD,
        EACH_HEADERS,
        EACH_PRODUCED,
        EACH_RECEIVED,
        EACH_DONE,
        EACH_FIRST,
        EACH_COUNT,
} EachColumn;

static const char *const each_types[EACH_COUNT] = {
        [EACH_SOURCE] = "int[]",
        [EACH_OFFSET] = "bigint[]",
        [EACH_KEY] = "bytea[]",
        [EACH_HOST] = "bytea[]",
        [EACH_REQUEST_ID] = "bytea[]",
        [EACH_PAYLOAD] = "bytea[]",
        [EACH_HEADERS] = "bytea[]",
        [EACH_PRODUCED] = "timestamptz[]",
        [EACH_RECEIVED] = "timestamptz[]",
        [EACH_DONE] = "text[]",
        [EACH_FIRST] = "timestamptz[]",
};

static int append_text_bytes(Buffer *sql, const char *text) {
        return literal_append_bytes(sql, text, text != NULL ? strlen(text) : 0);
}

static int append_each(Buffer *sql, const Message *message, EachColumn column) {
        const MessageBody *body = message->body;
        switch (column) {
        case EACH_SOURCE:
                return buffer_printf(sql, "%" PRId32, message->partition->source);
        case EACH_OFFSET:
                return buffer_printf(sql, "%" PRId64, message->offset);
        case EACH_KEY:
                return literal_append_bytes(sql, body->key, body->key_size);
        case EACH_HOST:
                return append_text_bytes(sql, message->host);
        case EACH_REQUEST_ID:
                return append_text_bytes(sql, message->id);
        case EACH_PAYLOAD:
                return literal_append_bytes(sql, body->value, body->value_size);
        case EACH_HEADERS:
                return literal_append_bytes(sql, body->headers, body->headers_size);
        case EACH_PRODUCED:
                return literal_append_time(sql, message->produced_us);
        case EACH_RECEIVED:
                return literal_append_time(sql, message->received_wall_us);
        case EACH_DONE:
                return rejected_append_done(sql, message);
        case EACH_FIRST:
                return literal_append_time(sql, rejected_received_us(message));
        case EACH_COUNT:
                break;
        }
        return 0;
}

static int job_append_each_column(Job *job, EachColumn column) {
        Buffer *sql = &job->sql;
        size_t part = 0;
        bool first = true;
        int r = buffer_append_string(sql, "ARRAY[");
        list_for_each(link, &job->batch->messages) {
                const Message *message = container_of(link, Message, lane_link);
                part = find_part(job->batch, message, part);
                if (job->parts[part] == LEFT_OUT || message->record != MESSAGE_ROW) {
                        continue;
                }
                r = r != 0 || first ? r : buffer_append_char(sql, ',');
                r = r != 0 ? r : append_each(sql, message, column);
                first = false;
        }
        return r != 0 ? r : buffer_printf(sql, "]::%s,", each_types[column]);
}

static int job_build_each(Job *job) {
        size_t rows;
        int r = job_count_parts(job);
        if (r != 0) {
                return r;
        }
        r = job_append_messages(job, false, &rows);
        r = r != 0 ? r
                   : buffer_printf(&job->sql,
                                   "SELECT source, \"offset\", code, message FROM %s.save_each(",
                                   job->saves->schema);
        for (int column = 0; column < EACH_COUNT && r == 0; column++) {
                r = job_append_each_column(job, (EachColumn)column);
        }
        r = r != 0 ? r : job_append_fences(job);
        return r != 0 ? r
                      : buffer_append_string(&job->sql,
                                             job->saves->dead_letters ? ",'pending')" : ",'none')");
}

/* What was refused row by row before the reply was lost, ours or a predecessor's. The detail begins
 * with the SQLSTATE. */
static int job_append_refused(Job *job) {
        const Batch *batch = job->batch;
        int r = buffer_printf(
                &job->sql,
                "; SELECT source, \"offset\", left(detail, 5), substr(detail, 8) FROM "
                "%s.rejected WHERE handler = 'save' AND (false",
                job->saves->schema);
        for (size_t i = 0; i < batch->n_parts && r == 0; i++) {
                const BatchPart *part = &batch->parts[i];
                r = buffer_printf(&job->sql,
                                  " OR (source = %" PRId32 " AND \"offset\" >= %" PRId64 ")",
                                  part->partition->source, part->expected);
        }
        return r != 0 ? r : buffer_append_char(&job->sql, ')');
}

static int job_build_fences(Job *job) {
        const Batch *batch = job->batch;
        int r = buffer_append_string(&job->sql,
                                     "SELECT coalesce(p.next_offset, -1) FROM unnest('{");
        for (size_t i = 0; i < batch->n_parts && r == 0; i++) {
                r = buffer_printf(&job->sql, "%s%" PRId32, i > 0 ? "," : "",
                                  batch->parts[i].partition->source);
        }
        r = r != 0 ? r
                   : buffer_printf(&job->sql,
                                   "}'::int[]) WITH ORDINALITY f(id, i) LEFT JOIN %s.partitions "
                                   "p ON p.id = f.id AND p.retired_at IS NULL ORDER BY f.i",
                                   job->saves->schema);
        return r != 0 ? r : job_append_refused(job);
}

/* Of what has its body. */
static int job_append_rejected(Job *job) {
        const char *schema = job->saves->schema;
        bool first = true;
        int r = 0;
        list_for_each(link, &job->batch->messages) {
                const Message *message = container_of(link, Message, lane_link);
                if (message->body == NULL) {
                        continue;
                }
                r = r == 0 && first ? rejected_append_head(&job->sql, schema) : r;
                r = r != 0 ? r
                           : rejected_append_row(&job->sql, schema, message,
                                                 job->saves->dead_letters, first);
                first = false;
                job->rows++;
        }
        return r != 0 || first ? r : rejected_append_tail(&job->sql);
}

/* Of what let go of it. */
static int job_append_rejected_saved(Job *job) {
        const char *schema = job->saves->schema;
        int64_t from = INT64_MAX, to = 0;
        bool first = true;
        int r = 0;
        list_for_each(link, &job->batch->messages) {
                const Message *message = container_of(link, Message, lane_link);
                if (message->body != NULL) {
                        continue;
                }
                r = r == 0 && first ? rejected_append_saved_head(&job->sql, schema) : r;
                r = r != 0 ? r
                           : rejected_append_saved_row(&job->sql, message, job->saves->dead_letters,
                                                       first);
                from = message->received_wall_us < from ? message->received_wall_us : from;
                to = message->received_wall_us > to ? message->received_wall_us : to;
                first = false;
                job->rows++;
        }
        return r != 0 || first ? r : rejected_append_saved_tail(&job->sql, schema, from, to);
}

static int job_build_reject(Job *job) {
        int r = job_append_rejected(job);
        r = r != 0 ? r : job_append_rejected_saved(job);
        return r == 0 && job->rows == 0 ? PG_E_NOTHING : r;
}

static int job_begin(PgOperation *operation, PGconn *connection, const Buffer **copy) {
        Job *job = container_of(operation, Job, operation);
        int r = 0;
        buffer_clear(&job->copy);
        buffer_clear(&job->sql);
        job->rows = 0;
        switch (job->kind) {
        case SAVES_BATCH:
                r = job_build_batch(job, copy);
                break;
        case SAVES_EACH:
                r = job_build_each(job);
                break;
        case SAVES_FENCES:
                r = job_build_fences(job);
                break;
        case SAVES_REJECT:
                r = job_build_reject(job);
                break;
        }
        if (r == 0 && buffer_string(&job->sql) == NULL) {
                r = -ENOMEM;
        }
        if (r != 0) {
                return r;
        }
        return PQsendQuery(connection, (const char *)job->sql.data) == 1 ? 0 : PG_E_SEND;
}

/* --- what comes back ---------------------------------------------------------------------- */

static void job_take_fences(Job *job, const PGresult *result) {
        size_t n = job->batch->n_parts;
        if ((size_t)PQntuples(result) != n) {
                return;
        }
        job->fences = malloc((n > 0 ? n : 1) * sizeof(*job->fences));
        for (size_t i = 0; i < n && job->fences != NULL; i++) {
                job->fences[i] = strtoll(PQgetvalue(result, (int)i, 0), NULL, 10);
        }
}

static void job_take_refused(Job *job, const PGresult *result) {
        size_t n = (size_t)PQntuples(result);
        if (n == 0) {
                return;
        }
        free(job->refused);
        job->n_refused = 0;
        job->refused = calloc(n, sizeof(*job->refused));
        if (job->refused == NULL) {
                job->failed = true;
                return;
        }
        for (size_t i = 0; i < n; i++) {
                RefusedRow *row = &job->refused[i];
                row->source = (int32_t)strtol(PQgetvalue(result, (int)i, 0), NULL, 10);
                row->offset = strtoll(PQgetvalue(result, (int)i, 1), NULL, 10);
                snprintf(row->detail, sizeof(row->detail), "%s: %s", PQgetvalue(result, (int)i, 2),
                         PQgetvalue(result, (int)i, 3));
        }
        job->n_refused = n;
}

static void job_result(PgOperation *operation, const PGresult *result) {
        Job *job = container_of(operation, Job, operation);
        if (PQresultStatus(result) != PGRES_TUPLES_OK) {
                return;
        }
        switch (job->kind) {
        case SAVES_FENCES:
                if (job->fences == NULL) {
                        job_take_fences(job, result);
                } else {
                        job_take_refused(job, result);
                }
                break;
        case SAVES_EACH:
                job_take_refused(job, result);
                break;
        case SAVES_BATCH:
        case SAVES_REJECT:
                break;
        }
}

static void job_free(Job *job) {
        buffer_deinit(&job->copy);
        buffer_deinit(&job->sql);
        free(job->parts);
        free(job->fences);
        free(job->refused);
        free(job);
}

static void job_end(PgOperation *operation, PgEnd end, const PgFailure *failure) {
        Job *job = container_of(operation, Job, operation);
        Saves *saves = job->saves;
        PgFailure no_memory = {"", "out of memory in this process"};
        /* It is committed, but which rows were refused is not known here: not known at all, then.
         */
        if (end == PG_OK && (job->failed || (job->kind == SAVES_FENCES && job->fences == NULL))) {
                end = PG_LOST;
                failure = &no_memory;
        }
        SavesAnswer answer = {.kind = job->kind,
                              .end = end,
                              .failure = failure,
                              .rows = job->rows,
                              .left_out = job->left_out,
                              .fences = end == PG_OK ? job->fences : NULL,
                              .refused = end == PG_OK ? job->refused : NULL,
                              .n_refused = end == PG_OK ? job->n_refused : 0};
        saves->end(saves->user, job->batch, &answer);
        job->batch = NULL;
        free(steal(job->fences));
        free(steal(job->refused));
        job->n_refused = 0;
        job->failed = false;
        if (job->sql.capacity > KEEP_SIZE) {
                buffer_deinit(&job->sql);
        }
        list_push_front(&saves->idle, &job->link);
}

static const PgOperationInterface job_interfaces[] = {
        [SAVES_BATCH] = {"save", job_begin, job_result, job_end},
        [SAVES_EACH] = {"save_each", job_begin, job_result, job_end},
        [SAVES_FENCES] = {"read_fences", job_begin, job_result, job_end},
        [SAVES_REJECT] = {"reject", job_begin, job_result, job_end},
};

/* --- public ------------------------------------------------------------------------------- */

int saves_new(Saves **savesp, PgPool *pool, const char *schema, bool dead_letters, SavesEnd end,
              void *user) {
        if (!schema_name_is_valid(schema)) {
                return SCHEMA_E_NAME;
        }
        Saves *saves = calloc(1, sizeof(*saves));
        if (saves == NULL) {
                return error_origin(-ENOMEM);
        }
        saves->pool = pool;
        saves->dead_letters = dead_letters;
        saves->end = end;
        saves->user = user;
        list_init(&saves->idle);
        snprintf(saves->schema, sizeof(saves->schema), "\"%s\"", schema);
        *savesp = saves;
        return 0;
}

void saves_free(Saves *saves) {
        if (saves == NULL) {
                return;
        }
        while (!list_is_empty(&saves->idle)) {
                Job *job = container_of(saves->idle.next, Job, link);
                list_unlink(&job->link);
                job_free(job);
        }
        free(saves);
}

int saves_submit(Saves *saves, SavesKind kind, Batch *batch) {
        Job *job = list_first(&saves->idle, Job, link);
        if (job != NULL) {
                list_unlink(&job->link);
        } else {
                job = calloc(1, sizeof(*job));
                if (job == NULL) {
                        return error_origin(-ENOMEM);
                }
                list_init(&job->link);
                job->saves = saves;
        }
        job->kind = kind;
        job->batch = batch;
        job->left_out = 0;
        pg_operation_init(&job->operation, &job_interfaces[kind]);
        /* What became of a batch is asked before the next one goes. */
        pg_pool_submit(saves->pool, &job->operation, kind == SAVES_FENCES);
        return 0;
}
