#include "pg/outbox.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "pg/literal.h"
#include "pg/schema.h"

enum {
        MARK_LOCK_MS = 1000, /* a person's transaction may hold a row; the connection is needed */
        PENDING_MAX = 10000,
        NUMBER_MAX = 24,
        PARAMETERS = 5,
};

/* The columns of a taken row, all but key and value as text: in binary, too, that is its bytes. */
enum {
        COLUMN_SOURCE,
        COLUMN_OFFSET,
        COLUMN_KEY,
        COLUMN_VALUE,
        COLUMN_HEADERS,
        COLUMN_TOPIC,
        COLUMN_PARTITION,
        COLUMN_HOST,
        COLUMN_HANDLER,
        COLUMN_REASON,
        COLUMN_DETAIL,
        COLUMN_ATTEMPTS,
        COLUMN_DONE,
        COLUMN_PRODUCED_AT,
        COLUMN_REJECTED_AT,
        COLUMN_TRIES,
        COLUMN_COUNT,
};

struct Outbox {
        PgPool *pool;
        const OutboxEvents *events;
        void *user;
        char schema[SCHEMA_NAME_MAX + 3]; /* quoted */
        PgOperation operation;
        bool busy;
        bool marking;
        bool failed;   /* no memory for the answer */
        Buffer sql;    /* of a mark */
        char *cluster; /* of a take, with all that follows */
        char *group;
        size_t rows, bytes;
        int64_t lease_us;
        OutboxRow *taken;
        uint8_t *bytes_of_taken;
        size_t n;
        size_t pending;
};

/* --- taking ------------------------------------------------------------------------------- */

/* The index gives what is due in its order, so that only those are looked at that are taken. What
 * does not fit is let go with the statement. */
static int take_sql(const Outbox *outbox, Buffer *sql) {
        return buffer_printf(
                sql,
                "WITH due AS MATERIALIZED (SELECT source, \"offset\","
                " coalesce(octet_length(key), 0)::bigint + coalesce(octet_length(value), 0)"
                " + coalesce(octet_length(headers::text), 0) AS size FROM %s.rejected"
                " WHERE outbox = 'pending' AND coalesce(outbox_after, '-infinity') <= now()"
                " AND source = ANY (ARRAY(SELECT id FROM %s.partitions WHERE cluster_id = $1 AND"
                " group_id = $2)) ORDER BY coalesce(outbox_after, '-infinity') LIMIT $3::bigint"
                " FOR UPDATE SKIP LOCKED),"
                " sized AS (SELECT source, \"offset\", sum(size) OVER w AS upto,"
                " row_number() OVER w AS nth FROM due WINDOW w AS (ORDER BY source, \"offset\")),"
                " taken AS (UPDATE %s.rejected r SET outbox_after = now() + $5::bigint *"
                " interval '1 microsecond', outbox_attempts = outbox_attempts + 1"
                " FROM sized s, %s.partitions p WHERE r.source = s.source AND"
                " r.\"offset\" = s.\"offset\" AND p.id = r.source AND"
                " (s.upto <= $4::bigint OR s.nth = 1)"
                " RETURNING r.*, p.topic, p.partition)"
                " SELECT source::text, \"offset\"::text, key, value, headers::text, topic,"
                " partition::text, host, handler, reason, detail, attempts::text,"
                " array_to_string(handlers_done, ','), %s.utc_text(produced_at),"
                " %s.utc_text(rejected_at), outbox_attempts::text"
                " FROM taken ORDER BY taken.source, taken.\"offset\"",
                outbox->schema, outbox->schema, outbox->schema, outbox->schema, outbox->schema,
                outbox->schema);
}

static int send_take(Outbox *outbox, PGconn *connection) {
        CLEANUP(buffer_deinit) Buffer sql = BUFFER_INIT;
        char rows[NUMBER_MAX], bytes[NUMBER_MAX], lease[NUMBER_MAX];
        int r = take_sql(outbox, &sql);
        if (r != 0 || buffer_string(&sql) == NULL) {
                return error_origin(-ENOMEM);
        }
        snprintf(rows, sizeof(rows), "%zu", outbox->rows);
        snprintf(bytes, sizeof(bytes), "%zu", outbox->bytes);
        snprintf(lease, sizeof(lease), "%" PRId64, outbox->lease_us);
        const char *values[PARAMETERS] = {outbox->cluster, outbox->group, rows, bytes, lease};
        /* Binary results: key and value would come as hexadecimal otherwise. */
        return PQsendQueryParams(connection, (const char *)sql.data, PARAMETERS, NULL, values, NULL,
                                 NULL, 1) == 1
                       ? 0
                       : PG_E_SEND;
}

static void drop_taken(Outbox *outbox) {
        free(steal(outbox->taken));
        free(steal(outbox->bytes_of_taken));
        outbox->n = 0;
}

/* One field into the block at *@at, with a NUL behind it; NULL for null. */
static const uint8_t *copy_field(const PGresult *result, int row, int column, uint8_t **at) {
        if (PQgetisnull(result, row, column)) {
                return NULL;
        }
        size_t size = (size_t)PQgetlength(result, row, column);
        uint8_t *to = *at;
        memcpy(to, PQgetvalue(result, row, column), size);
        to[size] = '\0';
        *at = to + size + 1;
        return to;
}

static void copy_row(OutboxRow *row, const PGresult *result, int i, uint8_t **at) {
        const char *texts[COLUMN_COUNT];
        for (int column = 0; column < COLUMN_COUNT; column++) {
                texts[column] = (const char *)copy_field(result, i, column, at);
        }
        *row = (OutboxRow){.source = (int32_t)strtol(texts[COLUMN_SOURCE], NULL, 10),
                           .offset = strtoll(texts[COLUMN_OFFSET], NULL, 10),
                           .key = (const uint8_t *)texts[COLUMN_KEY],
                           .key_size = (size_t)PQgetlength(result, i, COLUMN_KEY),
                           .value = (const uint8_t *)texts[COLUMN_VALUE],
                           .value_size = (size_t)PQgetlength(result, i, COLUMN_VALUE),
                           .headers = texts[COLUMN_HEADERS],
                           .headers_size = (size_t)PQgetlength(result, i, COLUMN_HEADERS),
                           .topic = texts[COLUMN_TOPIC],
                           .partition = texts[COLUMN_PARTITION],
                           .host = texts[COLUMN_HOST],
                           .handler = texts[COLUMN_HANDLER],
                           .reason = texts[COLUMN_REASON],
                           .detail = texts[COLUMN_DETAIL],
                           .attempts = texts[COLUMN_ATTEMPTS],
                           .handlers_done = texts[COLUMN_DONE],
                           .produced_at = texts[COLUMN_PRODUCED_AT],
                           .rejected_at = texts[COLUMN_REJECTED_AT],
                           .tries = (unsigned)strtoul(texts[COLUMN_TRIES], NULL, 10)};
}

static void take_result(Outbox *outbox, const PGresult *result) {
        int n = PQntuples(result);
        size_t size = 1;
        if (PQnfields(result) != COLUMN_COUNT || n == 0) {
                return;
        }
        for (int row = 0; row < n; row++) {
                for (int column = 0; column < COLUMN_COUNT; column++) {
                        size += (size_t)PQgetlength(result, row, column) + 1;
                }
        }
        outbox->taken = calloc((size_t)n, sizeof(*outbox->taken));
        outbox->bytes_of_taken = malloc(size);
        outbox->failed = outbox->taken == NULL || outbox->bytes_of_taken == NULL;
        if (outbox->failed) {
                drop_taken(outbox);
                return;
        }
        uint8_t *at = outbox->bytes_of_taken;
        for (int row = 0; row < n; row++) {
                copy_row(&outbox->taken[row], result, row, &at);
        }
        outbox->n = (size_t)n;
}

/* --- marking ------------------------------------------------------------------------------ */

static int append_marks(Buffer *sql, const OutboxMark *marks, size_t n) {
        int r = 0;
        for (size_t i = 0; r == 0 && i < n; i++) {
                r = buffer_printf(sql, "%s(%" PRId32 ", %" PRId64 "::bigint, ", i > 0 ? ", " : "",
                                  marks[i].source, marks[i].offset);
                r = r != 0 ? r : literal_append_string(sql, marks[i].error);
                r = r != 0 ? r
                           : buffer_printf(sql, "::text, %" PRId64 "::bigint)", marks[i].retry_us);
        }
        return r;
}

static int mark_sql(Outbox *outbox, const OutboxMark *marks, size_t n) {
        Buffer *sql = &outbox->sql;
        buffer_clear(sql);
        int r = buffer_printf(sql,
                              "SELECT set_config('lock_timeout', '%d', true),"
                              " set_config('enable_seqscan', 'off', true);"
                              " UPDATE %s.rejected r SET outbox_error = m.error, outbox = CASE WHEN"
                              " m.error IS NULL THEN 'sent' ELSE 'pending' END, dead_lettered_at ="
                              " CASE WHEN m.error IS NULL THEN now() END, outbox_after = CASE WHEN"
                              " m.error IS NOT NULL THEN now() + m.retry * interval"
                              " '1 microsecond' END FROM (VALUES ",
                              MARK_LOCK_MS, outbox->schema);
        r = r != 0 ? r : append_marks(sql, marks, n);
        return r != 0 ? r
                      : buffer_printf(sql,
                                      ") m(source, \"offset\", error, retry) WHERE r.source ="
                                      " m.source AND r.\"offset\" = m.\"offset\" AND r.outbox ="
                                      " 'pending'; SELECT count(*) FROM (SELECT FROM %s.rejected"
                                      " WHERE outbox = 'pending' LIMIT %d) p",
                                      outbox->schema, PENDING_MAX);
}

static void mark_result(Outbox *outbox, const PGresult *result) {
        if (PQresultStatus(result) == PGRES_TUPLES_OK && PQnfields(result) == 1) {
                outbox->pending = (size_t)strtoull(PQgetvalue(result, 0, 0), NULL, 10);
        }
}

/* --- the operation ------------------------------------------------------------------------ */

static int outbox_begin(PgOperation *operation, PGconn *connection, const Buffer **copy) {
        Outbox *outbox = container_of(operation, Outbox, operation);
        (void)copy;
        if (!outbox->marking) {
                return send_take(outbox, connection);
        }
        if (buffer_string(&outbox->sql) == NULL) {
                return error_origin(-ENOMEM);
        }
        return PQsendQuery(connection, (const char *)outbox->sql.data) == 1 ? 0 : PG_E_SEND;
}

static void outbox_result(PgOperation *operation, const PGresult *result) {
        Outbox *outbox = container_of(operation, Outbox, operation);
        if (outbox->marking) {
                mark_result(outbox, result);
        } else {
                take_result(outbox, result);
        }
}

static void outbox_end(PgOperation *operation, PgEnd end, const PgFailure *failure) {
        Outbox *outbox = container_of(operation, Outbox, operation);
        static const PgFailure no_memory = {"53200", "out of memory in this process"};
        outbox->busy = false;
        if (outbox->marking) {
                outbox->events->marked(outbox->user, end, failure, outbox->pending);
                return;
        }
        if (end == PG_OK && outbox->failed) {
                end = PG_LOST;
                failure = &no_memory;
        }
        if (end != PG_OK) {
                drop_taken(outbox); /* whether they are leased is not known: so not ours */
        }
        outbox->events->taken(outbox->user, end, failure, outbox->taken, outbox->n);
}

static const PgOperationInterface outbox_interface = {"outbox", outbox_begin, outbox_result,
                                                      outbox_end};

static void submit(Outbox *outbox, bool marking) {
        outbox->busy = true;
        outbox->marking = marking;
        outbox->failed = false;
        pg_operation_init(&outbox->operation, &outbox_interface);
        pg_pool_submit(outbox->pool, &outbox->operation, false);
}

/* --- public ------------------------------------------------------------------------------- */

int outbox_new(Outbox **outboxp, PgPool *pool, const char *schema, const OutboxEvents *events,
               void *user) {
        Outbox *outbox = calloc(1, sizeof(*outbox));
        if (outbox == NULL) {
                return error_origin(-ENOMEM);
        }
        outbox->pool = pool;
        outbox->events = events;
        outbox->user = user;
        snprintf(outbox->schema, sizeof(outbox->schema), "\"%s\"", schema);
        pg_operation_init(&outbox->operation, &outbox_interface);
        *outboxp = outbox;
        return 0;
}

void outbox_free(Outbox *outbox) {
        if (outbox == NULL) {
                return;
        }
        drop_taken(outbox);
        buffer_deinit(&outbox->sql);
        free(outbox->cluster);
        free(outbox->group);
        free(outbox);
}

bool outbox_is_busy(const Outbox *outbox) {
        return outbox->busy;
}

int outbox_take(Outbox *outbox, const OutboxTake *take) {
        char *cluster = strdup(take->cluster);
        char *group = strdup(take->group);
        if (cluster == NULL || group == NULL) {
                free(cluster);
                free(group);
                return error_origin(-ENOMEM);
        }
        free(outbox->cluster);
        free(outbox->group);
        outbox->cluster = cluster;
        outbox->group = group;
        outbox->rows = take->rows;
        outbox->bytes = take->bytes;
        outbox->lease_us = take->lease_us;
        drop_taken(outbox);
        submit(outbox, false);
        return 0;
}

int outbox_mark(Outbox *outbox, const OutboxMark *marks, size_t n) {
        int r = mark_sql(outbox, marks, n);
        if (r == 0) {
                submit(outbox, true);
        }
        return r;
}

bool outbox_withdraw(Outbox *outbox) {
        if (!outbox->busy || !pg_pool_withdraw(outbox->pool, &outbox->operation)) {
                return false;
        }
        outbox->busy = false;
        return true;
}
