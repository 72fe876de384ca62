#include "handlers/save.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "pg/saves.h"
#include "pg/sqlstate.h"
#include "util/loop.h"

/* What was said last of a failure. */
typedef struct Said {
        char sqlstate[6]; /* "-": nothing yet */
        int64_t at_us;
} Said;

struct Save {
        Saves *saves;
        Log *log;
        const SaveEvents *events;
        void *user;
        Said rows, rejected; /* two tables: that one works again says nothing of the other */
};

enum {
        /* An outage is said at once, and then every so often, not with each batch that waits. */
        SAY_AGAIN_US = 10 * 1000000,
};

static const char *what(SavesKind kind) {
        switch (kind) {
        case SAVES_BATCH:
                return "saving a batch";
        case SAVES_EACH:
                return "saving row by row";
        case SAVES_FENCES:
                return "reading the fences";
        case SAVES_REJECT:
                return "keeping rejected messages";
        }
        return "";
}

/* The end of the sentence. */
static const char *next_step(SavesKind kind, BatchEnd end) {
        switch (end) {
        case BATCH_SAVED:
                return "";
        case BATCH_REFUSED:
                return kind == SAVES_BATCH ? "nothing was saved, going on row by row"
                                           : "nothing was saved, it waits and is tried again";
        case BATCH_FENCE:
                return "nothing was saved, reading the fences";
        case BATCH_OUTAGE:
                return "nothing was saved, it waits and is sent again";
        case BATCH_UNKNOWN:
                return kind == SAVES_FENCES   ? "asking again before the next batch"
                       : kind == SAVES_REJECT ? "sent again, a second time changes nothing"
                                              : "reading the fences to know";
        }
        return "";
}

static Said *said_of(Save *save, SavesKind kind) {
        return kind == SAVES_REJECT ? &save->rejected : &save->rows;
}

/* Both a constraint that somebody added, which is the row's fault, and a missing partition, which
 * is nobody's. save_each() knows by the constraint's name. */
static bool is_perhaps_a_row(const char *sqlstate) {
        return strcmp(sqlstate, SQLSTATE_NO_PARTITION) == 0;
}

static void log_failure(Save *save, BatchEnd end, const SavesAnswer *answer) {
        const PgFailure *failure = answer->failure;
        const char *sqlstate = failure->sqlstate;
        Said *said = said_of(save, answer->kind);
        const char *remedy = sqlstate_remedy(sqlstate);
        LogLevel level = sqlstate_is_alarm(sqlstate) ? LOG_ERROR : LOG_WARNING;
        if (answer->end == PG_DROPPED) { /* released meanwhile, or the end of the daemon */
                log_debug(save->log, "save.dropped", FIELDS(.handler = "save"),
                          "%s did not begin: %s", what(answer->kind), failure->message);
                return;
        }
        if (answer->kind == SAVES_EACH && end == BATCH_REFUSED) {
                level = LOG_ERROR;
        }
        if (answer->kind == SAVES_BATCH && is_perhaps_a_row(sqlstate)) {
                level = LOG_DEBUG; /* row by row will tell */
        } else if (strcmp(said->sqlstate, sqlstate) == 0 &&
                   loop_now() - said->at_us < SAY_AGAIN_US) {
                level = LOG_DEBUG;
        } else {
                snprintf(said->sqlstate, sizeof(said->sqlstate), "%s", sqlstate);
                said->at_us = loop_now();
        }
        log_write(save->log, level, "save.failed",
                  FIELDS(.handler = "save", .error = failure->message),
                  "%s (%zu messages) failed: %s%s%s; %s%s%s", what(answer->kind), answer->rows,
                  sqlstate, sqlstate[0] != '\0' ? ": " : "", failure->message,
                  next_step(answer->kind, end), remedy != NULL ? "; " : "",
                  remedy != NULL ? remedy : "");
}

static void log_refused(Save *save, const SavesAnswer *answer) {
        if (answer->n_refused == 0) {
                return;
        }
        const RefusedRow *first = &answer->refused[0];
        log_warning(save->log, "save.refused",
                    FIELDS(.offset = first->offset, .handler = "save", .error = first->detail),
                    "PostgreSQL refused %zu of %zu messages; they are kept in the table rejected, "
                    "the others are saved",
                    answer->n_refused, answer->rows);
}

static void on_end(void *user, Batch *batch, const SavesAnswer *answer) {
        Save *save = user;
        const char *sqlstate = answer->end == PG_OK ? "" : answer->failure->sqlstate;
        BatchEnd end = sqlstate_batch_end(answer->end, sqlstate);
        if (answer->kind == SAVES_BATCH && end == BATCH_OUTAGE && is_perhaps_a_row(sqlstate)) {
                end = BATCH_REFUSED;
        }
        if (end != BATCH_SAVED) {
                log_failure(save, end, answer);
        }
        switch (answer->kind) {
        case SAVES_BATCH:
        case SAVES_REJECT:
                save->events->saved(save->user, batch, end);
                return;
        case SAVES_EACH:
                log_refused(save, answer);
                save->events->saved_each(save->user, batch, end, answer->refused,
                                         answer->n_refused);
                return;
        case SAVES_FENCES:
                save->events->fences_read(save->user, batch, answer->fences, answer->refused,
                                          answer->n_refused);
                return;
        }
}

int save_new(Save **savep, PgPool *pool, Log *log, const char *schema, bool dead_letters,
             const SaveEvents *events, void *user) {
        Save *save = calloc(1, sizeof(*save));
        if (save == NULL) {
                return error_origin(-ENOMEM);
        }
        save->log = log;
        strcpy(save->rows.sqlstate, "-");
        strcpy(save->rejected.sqlstate, "-");
        save->events = events;
        save->user = user;
        int r = saves_new(&save->saves, pool, schema, dead_letters, on_end, save);
        if (r != 0) {
                free(save);
                return r;
        }
        *savep = save;
        return 0;
}

void save_free(Save *save) {
        if (save == NULL) {
                return;
        }
        saves_free(save->saves);
        free(save);
}

int save_batch(Save *save, Batch *batch) {
        return saves_submit(save->saves, SAVES_BATCH, batch);
}

int save_batch_each(Save *save, Batch *batch) {
        return saves_submit(save->saves, SAVES_EACH, batch);
}

int save_read_fences(Save *save, Batch *batch) {
        return saves_submit(save->saves, SAVES_FENCES, batch);
}

int save_reject(Save *save, Batch *batch) {
        return saves_submit(save->saves, SAVES_REJECT, batch);
}
