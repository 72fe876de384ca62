#include "pg/rejected_counts.h"

#include <stdio.h>
#include <stdlib.h>

#include "pg/sqlstate.h"

enum {
        EVERY_US = 15 * 1000000,
        ERRORS_MAX = 1000, /* pending rows that are looked at for an error */
        WAKE_US = 1000000, /* rows come in bursts: one look covers them */
};

/* The setting is this statement's alone: a table that was not analyzed yet would be read as a
 * whole. */
static int counter_begin(PgOperation *operation, PGconn *connection, const Buffer **copy) {
        RejectedCounter *counter = container_of(operation, RejectedCounter, operation);
        CLEANUP(buffer_deinit) Buffer sql = BUFFER_INIT;
        const char *schema = counter->schema;
        (void)copy;
        int r = buffer_printf(
                &sql,
                "SELECT set_config('enable_seqscan', 'off', true); SELECT"
                " (SELECT count(*) FROM (SELECT FROM \"%s\".rejected WHERE replayed_at IS NULL"
                " AND dropped_at IS NULL LIMIT %d) o),"
                " (SELECT count(*) FROM (SELECT FROM \"%s\".rejected WHERE reason = 'unknown'"
                " AND replayed_at IS NULL AND dropped_at IS NULL LIMIT %d) u),"
                " (SELECT count(*) FROM (SELECT FROM \"%s\".rejected WHERE outbox = 'pending'"
                " LIMIT %d) p),"
                /* What failed is due latest, and so stands before what was not tried yet. */
                " (SELECT outbox_error FROM (SELECT outbox_error FROM \"%s\".rejected WHERE outbox"
                " = 'pending' ORDER BY coalesce(outbox_after, '-infinity') DESC LIMIT %d) e WHERE"
                " outbox_error IS NOT NULL LIMIT 1)",
                schema, REJECTED_COUNTED_MAX, schema, REJECTED_COUNTED_MAX, schema,
                REJECTED_COUNTED_MAX, schema, ERRORS_MAX);
        if (r != 0 || buffer_string(&sql) == NULL) {
                return error_origin(-ENOMEM);
        }
        return PQsendQuery(connection, (const char *)sql.data) == 1 ? 0 : PG_E_SEND;
}

static size_t take_count(RejectedCounts *counts, const PGresult *result, int column) {
        size_t n = (size_t)strtoull(PQgetvalue(result, 0, column), NULL, 10);
        counts->capped = counts->capped || n >= REJECTED_COUNTED_MAX;
        return n;
}

static void counter_result(PgOperation *operation, const PGresult *result) {
        RejectedCounter *counter = container_of(operation, RejectedCounter, operation);
        if (PQntuples(result) != 1 || PQnfields(result) != 4) {
                return; /* of the setting */
        }
        RejectedCounts *counts = &counter->reading;
        *counts = (RejectedCounts){.as_of_us = loop_time_wall(counter->loop)};
        counts->open = take_count(counts, result, 0);
        counts->unknown = take_count(counts, result, 1);
        counts->outbox_pending = take_count(counts, result, 2);
        snprintf(counts->outbox_error, sizeof(counts->outbox_error), "%s",
                 PQgetvalue(result, 0, 3));
}

static void counter_failed(RejectedCounter *counter, const PgFailure *failure) {
        const char *remedy = sqlstate_remedy(failure->sqlstate);
        /* That PostgreSQL is away, the pool has said. */
        if (sqlstate_is_alarm(failure->sqlstate) &&
            reminder_is_due(&counter->said, failure->message, loop_time(counter->loop))) {
                log_warning(counter->log, "rejected.uncounted", FIELDS(.error = failure->message),
                            "the rows of the table rejected cannot be counted%s%s; trying again "
                            "every %d s, and ackd_restarts_unknown and ackd_dead_letters_pending "
                            "say what was so before",
                            remedy != NULL ? ": " : "", remedy != NULL ? remedy : "",
                            EVERY_US / 1000000);
        }
}

static void counter_end(PgOperation *operation, PgEnd end, const PgFailure *failure) {
        RejectedCounter *counter = container_of(operation, RejectedCounter, operation);
        counter->asking = false;
        if (!counter->began) {
                return;
        }
        counter->soon = counter->again;
        counter->again = false;
        loop_timer_set(&counter->timer, counter->soon ? WAKE_US : EVERY_US);
        if (end != PG_OK) {
                counter_failed(counter, failure);
                return;
        }
        reminder_forget(&counter->said);
        counter->counts = counter->reading;
        if (counter->changed != NULL) {
                counter->changed(counter->user);
        }
}

static const PgOperationInterface counter_interface = {"count_rejected", counter_begin,
                                                       counter_result, counter_end};

static void on_timer(LoopTimer *timer) {
        RejectedCounter *counter = container_of(timer, RejectedCounter, timer);
        if (!counter->asking) {
                counter->asking = true;
                pg_pool_submit(counter->pool, &counter->operation, false);
        }
}

void rejected_counter_init(RejectedCounter *counter, Loop *loop, Log *log, const char *schema,
                           void (*changed)(void *user), void *user) {
        *counter = (RejectedCounter){
                .loop = loop, .log = log, .schema = schema, .changed = changed, .user = user};
        pg_operation_init(&counter->operation, &counter_interface);
        loop_timer_init(&counter->timer, loop, "rejected.counts", on_timer);
}

void rejected_counter_start(RejectedCounter *counter, PgPool *pool) {
        counter->pool = pool;
        counter->began = true;
        loop_timer_set(&counter->timer, 0);
}

void rejected_counter_stop(RejectedCounter *counter) {
        if (counter->loop != NULL) {
                counter->began = false;
                loop_timer_stop(&counter->timer);
        }
}

void rejected_counter_wake(RejectedCounter *counter) {
        if (!counter->began) {
                return;
        }
        if (counter->asking) {
                counter->again = true;
        } else if (!counter->soon) {
                counter->soon = true;
                loop_timer_set(&counter->timer, WAKE_US);
        }
}
