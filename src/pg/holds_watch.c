#include "pg/holds_watch.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "pg/sqlstate.h"

enum {
        AGAIN_US = 5 * 1000000, /* after it could not be read */
        SPARE_US = 20 * 1000,   /* the server's clock and ours do not tick alike */
        ENDED_MAX = 8,          /* told one by one; more at once are told as any */
};

/* Longer ones are asked for in between, since a clock may be set. */
#define LATEST_US (INT64_C(3600) * 1000000)

static int watch_begin(PgOperation *operation, PGconn *connection, const Buffer **copy) {
        HoldsWatch *watch = container_of(operation, HoldsWatch, operation);
        CLEANUP(buffer_deinit) Buffer sql = BUFFER_INIT;
        (void)copy;
        watch->again = false;
        for (size_t i = 0; i < watch->n_known; i++) {
                watch->known[i].seen = false;
        }
        /* Those in force, what became of those that were, and of those that came and went since. */
        int r = buffer_printf(
                &sql,
                "WITH c AS MATERIALIZED (SELECT clock_timestamp() AS t),"
                " f AS MATERIALIZED (SELECT h.* FROM \"%s\".holds h, c WHERE h.lifted_at IS NULL"
                " AND (h.until IS NULL OR h.until > c.t)),"
                " n AS (SELECT (SELECT count(*) FROM f) AS n, (SELECT"
                " (extract(epoch FROM min(f.until) - max(c.t)) * 1000000)::bigint FROM f, c) AS us,"
                " (SELECT utc_text(min(f.since)) FROM f WHERE f.fuse) AS fuse,"
                " (SELECT max(id) FROM \"%s\".holds) AS newest),"
                " s AS ((SELECT id FROM f ORDER BY id LIMIT %d) UNION ALL (SELECT id FROM"
                " \"%s\".holds WHERE id > %" PRId64 " ORDER BY id LIMIT %d))"
                " SELECT n.n, n.us, n.fuse, h.id, f.id IS NOT NULL, h.pattern, h.who,"
                " utc_text(h.since), utc_text(h.until), h.why, h.fuse,"
                " CASE WHEN h.lifted_at IS NULL THEN 'is over by itself'"
                " ELSE 'was lifted' || coalesce(' by ' || h.lifted_by, '') END, n.newest"
                " FROM n LEFT JOIN \"%s\".holds h ON h.id IN (SELECT id FROM s) OR h.id = ANY('{",
                watch->schema, watch->schema, HOLDS_WATCHED_MAX, watch->schema, watch->newest,
                HOLDS_WATCHED_MAX, watch->schema);
        for (size_t i = 0; r == 0 && i < watch->n_known; i++) {
                r = buffer_printf(&sql, "%s%" PRId64, i > 0 ? "," : "", watch->known[i].id);
        }
        r = r != 0 ? r : buffer_append_string(&sql, "}') LEFT JOIN f ON f.id = h.id ORDER BY h.id");
        if (r != 0 || buffer_string(&sql) == NULL) {
                return error_origin(-ENOMEM);
        }
        return PQsendQuery(connection, (const char *)sql.data) == 1 ? 0 : PG_E_SEND;
}

static WatchedHold *watch_find(HoldsWatch *watch, int64_t id) {
        for (size_t i = 0; i < watch->n_known; i++) {
                if (watch->known[i].id == id) {
                        return &watch->known[i];
                }
        }
        return NULL;
}

static void tell_new(HoldsWatch *watch, const PGresult *result, int row) {
        const char *until = PQgetvalue(result, row, 8);
        bool fuse = PQgetvalue(result, row, 10)[0] == 't';
        log_info(watch->log, "holds.changed", FIELDS(),
                 "a hold on %s by %s since %s%s%s: %s; restarts of these hosts wait, on every "
                 "instance, saving goes on%s",
                 PQgetvalue(result, row, 5), PQgetvalue(result, row, 6), PQgetvalue(result, row, 7),
                 until[0] != '\0' ? " until " : "", until, PQgetvalue(result, row, 9),
                 fuse ? ". A person lifts it: ackd unhold --fuse" : "");
}

static void tell_ended(HoldsWatch *watch, const PGresult *result, int row) {
        log_info(watch->log, "holds.changed", FIELDS(),
                 "the hold on %s by %s since %s (%s) %s; restarts that waited for it are asked for "
                 "now",
                 PQgetvalue(result, row, 5), PQgetvalue(result, row, 6), PQgetvalue(result, row, 7),
                 PQgetvalue(result, row, 9), PQgetvalue(result, row, 11));
}

/* @pattern NULL: not known. */
static void watch_ended(HoldsWatch *watch, const char *pattern) {
        if (pattern == NULL || watch->n_ended++ < ENDED_MAX) {
                watch->ended(watch->user, pattern);
        }
}

static void hold_deinit(WatchedHold *hold) {
        free(hold->pattern);
        free(hold->who);
        free(hold->why);
        *hold = (WatchedHold){0};
}

/* Without memory the texts are NULL: they are for people alone. */
static void hold_read(WatchedHold *hold, int64_t id, const PGresult *result, int row) {
        *hold = (WatchedHold){.id = id,
                              .seen = true,
                              .fuse = PQgetvalue(result, row, 10)[0] == 't',
                              .pattern = strdup(PQgetvalue(result, row, 5)),
                              .who = strdup(PQgetvalue(result, row, 6)),
                              .why = strdup(PQgetvalue(result, row, 9))};
        snprintf(hold->since, sizeof(hold->since), "%s", PQgetvalue(result, row, 7));
        snprintf(hold->until, sizeof(hold->until), "%s", PQgetvalue(result, row, 8));
}

static void watch_row(HoldsWatch *watch, const PGresult *result, int row) {
        int64_t id = strtoll(PQgetvalue(result, row, 3), NULL, 10);
        bool in_force = PQgetvalue(result, row, 4)[0] == 't';
        WatchedHold *hold = watch_find(watch, id);
        if (hold != NULL && in_force) {
                hold->seen = true;
        } else if (!in_force) {
                if (hold != NULL) {
                        hold->id = 0; /* so that it is not taken for one whose row is gone */
                }
                tell_ended(watch, result, row);
                watch_ended(watch, PQgetvalue(result, row, 5));
        } else if (watch->n_known < HOLDS_WATCHED_MAX) {
                hold_read(&watch->known[watch->n_known++], id, result, row);
                tell_new(watch, result, row);
        }
}

static void watch_forget(HoldsWatch *watch) {
        size_t kept = 0;
        for (size_t i = 0; i < watch->n_known; i++) {
                WatchedHold *hold = &watch->known[i];
                if (hold->seen) {
                        WatchedHold moved = *hold;
                        *hold = (WatchedHold){0};
                        watch->known[kept++] = moved;
                        continue;
                }
                if (hold->id != 0) {
                        log_info(watch->log, "holds.changed", FIELDS(),
                                 "the row of a hold (holds.id %" PRId64 ") was deleted; restarts "
                                 "that waited for it are asked for now",
                                 hold->id);
                        watch->n_ended = ENDED_MAX + 1;
                }
                hold_deinit(hold);
        }
        watch->n_known = kept;
}

static void watch_result(PgOperation *operation, const PGresult *result) {
        HoldsWatch *watch = container_of(operation, HoldsWatch, operation);
        int n = PQntuples(result);
        if (n == 0) {
                return;
        }
        size_t in_force = (size_t)strtoll(PQgetvalue(result, 0, 0), NULL, 10);
        /* Of more than are watched some may have ended that nobody here knew. */
        watch->n_ended = watch->in_force > HOLDS_WATCHED_MAX && in_force < watch->in_force
                                 ? ENDED_MAX + 1
                                 : 0;
        watch->in_force = in_force;
        watch->ends_us =
                PQgetisnull(result, 0, 1) ? -1 : strtoll(PQgetvalue(result, 0, 1), NULL, 10);
        watch->has_fuse = !PQgetisnull(result, 0, 2);
        snprintf(watch->fuse_since, sizeof(watch->fuse_since), "%s", PQgetvalue(result, 0, 2));
        watch->newest = strtoll(PQgetvalue(result, 0, 12), NULL, 10);
        for (int row = 0; row < n; row++) {
                if (!PQgetisnull(result, row, 3)) {
                        watch_row(watch, result, row);
                }
        }
        watch_forget(watch);
        if (watch->n_ended > ENDED_MAX) {
                watch_ended(watch, NULL);
        }
}

static void watch_ask(HoldsWatch *watch) {
        if (!watch->began) {
                return;
        }
        if (watch->asking) {
                watch->again = true;
                return;
        }
        watch->asking = true;
        loop_timer_stop(&watch->timer);
        pg_pool_submit(watch->pool, &watch->operation, true);
}

static void watch_remind(HoldsWatch *watch) {
        if (!watch->has_fuse) {
                loop_timer_stop(&watch->reminder);
        } else if (!loop_timer_is_set(&watch->reminder)) {
                loop_timer_set(&watch->reminder, watch->remind_us);
        }
}

static void watch_failed(HoldsWatch *watch, const PgFailure *failure) {
        const char *remedy = sqlstate_remedy(failure->sqlstate);
        /* That PostgreSQL is away, the pool has said. */
        if (sqlstate_is_alarm(failure->sqlstate) &&
            reminder_is_due(&watch->said, failure->message, loop_time(watch->loop))) {
                log_warning(
                        watch->log, "holds.unread", FIELDS(.error = failure->message),
                        "the table holds cannot be read%s%s; trying again every 5 s. ackd_holds "
                        "says what was so before; the ledger itself heeds every hold",
                        remedy != NULL ? ": " : "", remedy != NULL ? remedy : "");
        }
        loop_timer_set(&watch->timer, AGAIN_US);
}

static void watch_end(PgOperation *operation, PgEnd end, const PgFailure *failure) {
        HoldsWatch *watch = container_of(operation, HoldsWatch, operation);
        watch->asking = false;
        if (!watch->began) {
                return;
        }
        if (end != PG_OK) {
                watch_failed(watch, failure);
                return;
        }
        reminder_forget(&watch->said);
        watch_remind(watch);
        if (watch->again) {
                watch_ask(watch);
        } else if (watch->ends_us >= 0) {
                loop_timer_set(&watch->timer,
                               watch->ends_us < LATEST_US ? watch->ends_us + SPARE_US : LATEST_US);
        }
}

static const PgOperationInterface watch_interface = {"holds", watch_begin, watch_result, watch_end};

static void on_soon(LoopSoon *soon) {
        watch_ask(container_of(soon, HoldsWatch, soon));
}

static void on_timer(LoopTimer *timer) {
        watch_ask(container_of(timer, HoldsWatch, timer));
}

static void on_reminder(LoopTimer *timer) {
        HoldsWatch *watch = container_of(timer, HoldsWatch, reminder);
        log_warning(watch->log, "holds.fuse", FIELDS(.handler = "restart-host"),
                    "the fuse blew at %s and nobody has lifted its hold: no host is restarted, "
                    "saving goes on; when the cause is known: ackd unhold --fuse",
                    watch->fuse_since);
        loop_timer_set(timer, watch->remind_us);
}

void holds_watch_init(HoldsWatch *watch, Loop *loop, Log *log, const char *schema,
                      void (*ended)(void *user, const char *pattern), void *user) {
        *watch = (HoldsWatch){.loop = loop,
                              .log = log,
                              .schema = schema,
                              .ended = ended,
                              .user = user,
                              .remind_us = HOLDS_REMIND_US,
                              .newest = INT64_MAX};
        pg_operation_init(&watch->operation, &watch_interface);
        loop_soon_init(&watch->soon, loop, "holds", on_soon);
        loop_timer_init(&watch->timer, loop, "holds.timer", on_timer);
        loop_timer_init(&watch->reminder, loop, "holds.reminder", on_reminder);
}

void holds_watch_start(HoldsWatch *watch, PgPool *pool) {
        watch->pool = pool;
        watch->began = true;
        watch_ask(watch);
}

void holds_watch_stop(HoldsWatch *watch) {
        if (watch->loop == NULL) {
                return;
        }
        watch->began = false;
        for (size_t i = 0; i < watch->n_known; i++) {
                hold_deinit(&watch->known[i]);
        }
        watch->n_known = 0;
        loop_soon_stop(&watch->soon);
        loop_timer_stop(&watch->timer);
        loop_timer_stop(&watch->reminder);
}

void holds_watch_notified(HoldsWatch *watch, const char *payload) {
        if (watch->began && strcmp(payload, watch->schema) == 0) {
                loop_soon_set(&watch->soon);
        }
}

void holds_watch_up(HoldsWatch *watch) {
        if (watch->began) {
                loop_soon_set(&watch->soon);
        }
}
