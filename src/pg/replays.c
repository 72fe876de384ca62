#include "pg/replays.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "pg/schema.h"
#include "pg/sqlstate.h"
#include "util/buffer.h"
#include "util/reminder.h"

enum {
        SQL_MAX = 256,
        PARAMETERS = 5,
};

struct Replays {
        PgPool *pool;
        Log *log;
        ReplaysRead answer;
        void *user;
        Reminder said; /* why there was no answer */
        char schema[SCHEMA_NAME_MAX + 1];
};

typedef struct Question {
        PgOperation operation;
        Replays *replays;
        ReplayQuestions *asked;
        size_t answered;
        ReplayAnswer answers[];
} Question;

/* In the order of the parameters of take_replays(). */
static int append_item(Buffer *array, const ReplayQuestion *item, int parameter) {
        switch (parameter) {
        case 0:
                return buffer_printf(array, "%" PRId32, item->of.source);
        case 1:
                return buffer_printf(array, "%" PRId64, item->of.offset);
        case 2:
                return buffer_printf(array, "%" PRId32, item->by.source);
        case 3:
                return buffer_printf(array, "%" PRId64, item->by.offset);
        default:
                return buffer_append_string(array, item->sha256);
        }
}

/* "{1,2}". */
static int append_array(Buffer *array, const ReplayQuestions *asked, int parameter) {
        int r = buffer_append_char(array, '{');
        for (size_t i = 0; i < asked->n && r == 0; i++) {
                r = i > 0 ? buffer_append_char(array, ',') : 0;
                r = r != 0 ? r : append_item(array, &asked->questions[i], parameter);
        }
        r = r != 0 ? r : buffer_append_char(array, '}');
        return r == 0 && buffer_string(array) == NULL ? error_origin(-ENOMEM) : r;
}

static int question_begin(PgOperation *operation, PGconn *connection, const Buffer **copy) {
        Question *question = container_of(operation, Question, operation);
        Buffer arrays[PARAMETERS] = {0};
        const char *values[PARAMETERS];
        char sql[SQL_MAX];
        int r = 0;
        (void)copy;
        question->answered = 0;
        for (int i = 0; i < PARAMETERS && r == 0; i++) {
                r = append_array(&arrays[i], question->asked, i);
                values[i] = (const char *)arrays[i].data;
        }
        snprintf(sql, sizeof(sql),
                 "SELECT item, verdict, done, first_us, produced_us, received_us, detail FROM "
                 "\"%s\".take_replays($1::int[], $2::bigint[], $3::int[], $4::bigint[], "
                 "$5::text[])",
                 question->replays->schema);
        if (r == 0 &&
            PQsendQueryParams(connection, sql, PARAMETERS, NULL, values, NULL, NULL, 0) != 1) {
                r = PG_E_SEND;
        }
        for (int i = 0; i < PARAMETERS; i++) {
                buffer_deinit(&arrays[i]);
        }
        return r;
}

/* "save,restart-host"; a word of another version means nothing to this one. */
static unsigned read_done(const char *text) {
        unsigned done = 0;
        while (*text != '\0') {
                size_t size = strcspn(text, ",");
                for (int id = 0; id < HANDLER_COUNT; id++) {
                        const char *name = handler_name((HandlerId)id);
                        done |= strlen(name) == size && memcmp(name, text, size) == 0 ? 1u << id
                                                                                      : 0;
                }
                text += size + (text[size] == ',');
        }
        return done;
}

static bool read_verdict(const char *word, ReplayVerdict *verdict) {
        for (int i = 0; i < REPLAY_VERDICTS; i++) {
                if (strcmp(replay_verdict_name((ReplayVerdict)i), word) == 0) {
                        *verdict = (ReplayVerdict)i;
                        return true;
                }
        }
        return false;
}

static int64_t read_time(const PGresult *result, int row, int column) {
        return PQgetisnull(result, row, column)
                       ? -1
                       : strtoll(PQgetvalue(result, row, column), NULL, 10);
}

static void question_result(PgOperation *operation, const PGresult *result) {
        Question *question = container_of(operation, Question, operation);
        for (int row = 0; row < PQntuples(result); row++) {
                size_t item = strtoul(PQgetvalue(result, row, 0), NULL, 10) - 1;
                ReplayVerdict verdict;
                if (item >= question->asked->n ||
                    !read_verdict(PQgetvalue(result, row, 1), &verdict)) {
                        continue; /* one without an answer: all are asked again */
                }
                ReplayAnswer *answer = &question->answers[item];
                *answer = (ReplayAnswer){.verdict = verdict,
                                         .done = read_done(PQgetvalue(result, row, 2)),
                                         .first_us = read_time(result, row, 3),
                                         .produced_us = read_time(result, row, 4),
                                         .received_us = read_time(result, row, 5)};
                snprintf(answer->detail, sizeof(answer->detail), "%s", PQgetvalue(result, row, 6));
                question->answered++;
        }
}

static void log_failure(Replays *replays, const Question *question, const PgFailure *failure) {
        const char *remedy = sqlstate_remedy(failure->sqlstate);
        if (!reminder_is_due(&replays->said, failure->message, loop_now())) {
                return;
        }
        log_write(replays->log, sqlstate_is_alarm(failure->sqlstate) ? LOG_ERROR : LOG_WARNING,
                  "replay.failed", FIELDS(.error = failure->message),
                  "asking the table rejected for %zu replayed messages failed: %s%s%s; they wait "
                  "and are asked for again%s%s",
                  question->asked->n, failure->sqlstate, failure->sqlstate[0] != '\0' ? ": " : "",
                  failure->message, remedy != NULL ? "; " : "", remedy != NULL ? remedy : "");
}

static void question_end(PgOperation *operation, PgEnd end, const PgFailure *failure) {
        Question *question = container_of(operation, Question, operation);
        Replays *replays = question->replays;
        bool ok = end == PG_OK && question->answered == question->asked->n;
        if (end == PG_REFUSED || end == PG_LOST) {
                log_failure(replays, question, failure);
        } else if (ok) {
                reminder_forget(&replays->said);
        }
        replays->answer(replays->user, question->asked, ok ? question->answers : NULL);
        free(question);
}

static const PgOperationInterface question_interface = {"replay", question_begin, question_result,
                                                        question_end};

int replays_new(Replays **replaysp, PgPool *pool, Log *log, const char *schema, ReplaysRead answer,
                void *user) {
        if (!schema_name_is_valid(schema)) {
                return SCHEMA_E_NAME;
        }
        Replays *replays = calloc(1, sizeof(*replays));
        if (replays == NULL) {
                return error_origin(-ENOMEM);
        }
        replays->pool = pool;
        replays->log = log;
        replays->answer = answer;
        replays->user = user;
        snprintf(replays->schema, sizeof(replays->schema), "%s", schema);
        *replaysp = replays;
        return 0;
}

void replays_free(Replays *replays) {
        free(replays);
}

int replays_ask(Replays *replays, ReplayQuestions *asked) {
        Question *question = calloc(1, sizeof(*question) + asked->n * sizeof(ReplayAnswer));
        if (question == NULL) {
                return error_origin(-ENOMEM);
        }
        pg_operation_init(&question->operation, &question_interface);
        question->replays = replays;
        question->asked = asked;
        pg_pool_submit(replays->pool, &question->operation, true);
        return 0;
}
