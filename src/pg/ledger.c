/*
 * A call is one simple query: arrays as literals, then what changes until it is sent. Not the
 * extended protocol: there the function runs at Execute and its locks live until Sync, and a
 * process that is stopped between the two would hold the lock of the fleet.
 */

#include "pg/ledger.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>

#include "pg/literal.h"
#include "pg/schema.h"
#include "pg/sqlstate.h"

enum {
        UUID_SIZE = 37, /* as text, with its NUL */
};

struct Ledger {
        PgPool *pool;
        char *instance_name;
        char instance[UUID_SIZE];
        char schema[SCHEMA_NAME_MAX + 3]; /* quoted */
};

typedef enum CallKind {
        CALL_CLAIM,
        CALL_ACTED,
        CALL_FINISH,
} CallKind;

typedef struct Call {
        PgOperation operation;
        CallKind kind;
        LedgerAnswered answered;
        void *user;
        Buffer sql; /* all but the clock, which is added when it is sent */
        size_t n;
        size_t taken; /* items with an answer */
        int64_t sent_us;
        LedgerDecision *decisions; /* CALL_CLAIM */
        char **befores;            /* CALL_CLAIM: what LedgerDecision.before points to */
        LedgerResult *results;     /* the others */
        bool failed;               /* no memory for the answer */
} Call;

/* The index of a word, or @none. */
/* --- what is sent ------------------------------------------------------------------------- */

/* An array's elements: one function a column, one call an item. */
typedef struct Column {
        const char *type;
        int (*append)(Buffer *sql, const void *item);
} Column;

static int append_null(Buffer *sql) {
        return buffer_append_string(sql, "NULL");
}

static int append_int(Buffer *sql, int64_t value) {
        return buffer_printf(sql, "%" PRId64, value);
}

/* ARRAY[…]::type, */
static int append_array(Buffer *sql, const Column *column, const void *items, size_t n,
                        size_t size) {
        int r = buffer_append_string(sql, "ARRAY[");
        for (size_t i = 0; i < n && r == 0; i++) {
                r = i > 0 ? buffer_append_char(sql, ',') : 0;
                r = r != 0 ? r : column->append(sql, (const char *)items + i * size);
        }
        return r != 0 ? r : buffer_printf(sql, "]::%s[],", column->type);
}

static int append_interval(Buffer *sql, int64_t us, char end) {
        return buffer_printf(sql, "'%" PRId64 " us'::interval%c", us, end);
}

#define COLUMN(name, Type, expression)                                                             \
        static int name(Buffer *sql, const void *p) {                                              \
                const Type *item = p;                                                              \
                return expression;                                                                 \
        }

COLUMN(claim_source, LedgerRequest, append_int(sql, item->source))
COLUMN(claim_offset, LedgerRequest, append_int(sql, item->offset))
COLUMN(claim_attempt, LedgerRequest, append_int(sql, item->attempt))
COLUMN(claim_host, LedgerRequest, literal_append_string(sql, item->host))
COLUMN(claim_request_id, LedgerRequest, literal_append_string(sql, item->request_id))
COLUMN(claim_requested, LedgerRequest, literal_append_time(sql, item->requested_us))
COLUMN(claim_received, LedgerRequest, literal_append_time(sql, item->received_us))
COLUMN(claim_redelivered, LedgerRequest,
       buffer_append_string(sql, item->redelivered ? "true" : "false"))
COLUMN(claim_first, LedgerRequest,
       literal_append_time(sql, item->first_us > 0 ? item->first_us : -1))
COLUMN(claim_before, LedgerRequest, literal_append_string(sql, item->before))
COLUMN(claim_suppress, LedgerRequest, literal_append_string(sql, item->suppress))
COLUMN(claim_group, LedgerRequest,
       literal_append_string(sql, item->group != NULL ? item->group->name : NULL))
COLUMN(claim_group_limit, LedgerRequest,
       append_int(sql, item->group != NULL ? item->group->concurrency : 0))
COLUMN(claim_quiet, LedgerRequest,
       append_interval(sql, item->group != NULL ? item->group->quiet_us : 0, ' '))

/* In the order of the parameters of claim(). */
static const Column claim_columns[] = {
        {"int", claim_source},           {"bigint", claim_offset},
        {"int", claim_attempt},          {"text", claim_host},
        {"text", claim_request_id},      {"timestamptz", claim_requested},
        {"timestamptz", claim_received}, {"bool", claim_redelivered},
        {"timestamptz", claim_first},    {"text", claim_before},
        {"text", claim_suppress},        {"text", claim_group},
        {"int", claim_group_limit},      {"interval", claim_quiet},
};

/* acted and finish have these in common; 0 and LEDGER_NO_STATUS mean null. */
static int append_clock(Buffer *sql, int64_t us) {
        return us == 0 ? append_null(sql) : append_int(sql, us);
}

static int append_status(Buffer *sql, int32_t status) {
        return status == LEDGER_NO_STATUS ? append_null(sql) : append_int(sql, status);
}

COLUMN(acted_id, LedgerActed, append_int(sql, item->id))
COLUMN(acted_started, LedgerActed, append_clock(sql, item->started_us))
COLUMN(acted_ended, LedgerActed, append_clock(sql, item->ended_us))
COLUMN(acted_status, LedgerActed, append_status(sql, item->exit_status))
COLUMN(acted_output, LedgerActed, literal_append_string(sql, item->output))

static const Column acted_columns[] = {
        {"bigint", acted_id},  {"bigint", acted_started}, {"bigint", acted_ended},
        {"int", acted_status}, {"text", acted_output},
};

COLUMN(finish_id, LedgerFinish, append_int(sql, item->id))
COLUMN(finish_state, LedgerFinish, literal_append_string(sql, ledger_state_name(item->state)))
COLUMN(finish_verified, LedgerFinish, buffer_append_string(sql, item->verified ? "true" : "false"))
COLUMN(finish_started, LedgerFinish, append_clock(sql, item->started_us))
COLUMN(finish_ended, LedgerFinish, append_clock(sql, item->ended_us))
COLUMN(finish_status, LedgerFinish, append_status(sql, item->exit_status))
COLUMN(finish_reason, LedgerFinish, literal_append_string(sql, item->reason))
COLUMN(finish_output, LedgerFinish, literal_append_string(sql, item->output))

static const Column finish_columns[] = {
        {"bigint", finish_id},      {"text", finish_state},   {"bool", finish_verified},
        {"bigint", finish_started}, {"bigint", finish_ended}, {"int", finish_status},
        {"text", finish_reason},    {"text", finish_output},
};

/* A message that shares, and the item (from 1 on) whose restart it shared. */
typedef struct SharedItem {
        size_t item;
        const LedgerShared *shared;
} SharedItem;

COLUMN(shared_item, SharedItem, append_int(sql, (int64_t)item->item))
COLUMN(shared_source, SharedItem, append_int(sql, item->shared->source))
COLUMN(shared_offset, SharedItem, append_int(sql, item->shared->offset))
COLUMN(shared_request_id, SharedItem, literal_append_string(sql, item->shared->request_id))
COLUMN(shared_requested, SharedItem, literal_append_time(sql, item->shared->requested_us))
COLUMN(shared_received, SharedItem, literal_append_time(sql, item->shared->received_us))

static const Column shared_columns[] = {
        {"int", shared_item},
        {"int", shared_source},
        {"bigint", shared_offset},
        {"text", shared_request_id},
        {"timestamptz", shared_requested},
        {"timestamptz", shared_received},
};

static int append_columns(Buffer *sql, const Column *columns, size_t n_columns, const void *items,
                          size_t n, size_t size) {
        int r = 0;
        for (size_t i = 0; i < n_columns && r == 0; i++) {
                r = append_array(sql, &columns[i], items, n, size);
        }
        return r;
}

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

static int append_head(Buffer *sql, const Ledger *ledger, const char *select,
                       const char *function) {
        return buffer_printf(sql, "SELECT %s FROM %s.%s(", select, ledger->schema, function);
}

static int build_claim(Buffer *sql, const Ledger *ledger, const LedgerPolicy *policy,
                       const LedgerRequest *requests, size_t n) {
        static const char select[] = "item, verdict, why, row_id, last_attempt, again_us, first_us,"
                                     " acted_age_us, before_, flag, detail";
        int r = append_head(sql, ledger, select, "claim");
        r = r != 0 ? r
                   : append_columns(sql, claim_columns, COUNT(claim_columns), requests, n,
                                    sizeof(*requests));
        r = r != 0 ? r : buffer_printf(sql, "'%s'::uuid,", ledger->instance);
        r = r != 0 ? r : literal_append_string(sql, ledger->instance_name);
        r = r != 0 ? r : buffer_append_char(sql, ',');
        r = r != 0 ? r : literal_append_string(sql, policy->action);
        r = r != 0 ? r : buffer_append_char(sql, ',');
        r = r != 0 ? r : append_interval(sql, policy->cooldown_us, ',');
        r = r != 0 ? r : append_interval(sql, policy->max_age_us, ',');
        r = r != 0 ? r : append_interval(sql, policy->max_wait_us, ',');
        r = r != 0 ? r : append_interval(sql, policy->start_within_us, ',');
        r = r != 0 ? r : append_interval(sql, policy->hold_us, ',');
        r = r != 0 ? r : buffer_printf(sql, "%" PRId32 ",", policy->host_restarts);
        r = r != 0 ? r : append_interval(sql, policy->host_period_us, ',');
        r = r != 0 ? r
                   : buffer_printf(sql, "%" PRId32 ",%" PRId32 ",", policy->fleet,
                                   policy->fuse_restarts);
        return r != 0 ? r : append_interval(sql, policy->fuse_period_us, ')');
}

static int build_acted(Buffer *sql, const Ledger *ledger, const LedgerActed *items, size_t n) {
        int r = append_head(sql, ledger, "item, did, state_now", "acted");
        return r != 0 ? r
                      : append_columns(sql, acted_columns, COUNT(acted_columns), items, n,
                                       sizeof(*items));
}

static int build_finish(Buffer *sql, const Ledger *ledger, const LedgerFinish *items, size_t n) {
        SharedItem *shared = NULL;
        size_t n_shared = 0;
        for (size_t i = 0; i < n; i++) {
                n_shared += items[i].n_shared;
        }
        assert(n_shared <= LEDGER_SHARED_MAX);
        if (n_shared > 0) {
                shared = malloc(n_shared * sizeof(*shared));
                if (shared == NULL) {
                        return error_origin(-ENOMEM);
                }
        }
        size_t at = 0;
        for (size_t i = 0; i < n; i++) {
                for (size_t j = 0; j < items[i].n_shared; j++) {
                        shared[at++] = (SharedItem){i + 1, &items[i].shared[j]};
                }
        }
        int r = append_head(sql, ledger, "item, did, state_now", "finish");
        r = r != 0 ? r
                   : append_columns(sql, finish_columns, COUNT(finish_columns), items, n,
                                    sizeof(*items));
        r = r != 0 ? r
                   : append_columns(sql, shared_columns, COUNT(shared_columns), shared, n_shared,
                                    sizeof(*shared));
        free(shared);
        return r;
}

/* acted and finish are told times of our clock, which the server can't know: it gets this clock's
 * time with them, as late as possible. */
static int call_begin(PgOperation *operation, PGconn *connection, const Buffer **copy) {
        Call *call = container_of(operation, Call, operation);
        int64_t now = ledger_clock();
        (void)copy;
        int r = call->kind == CALL_CLAIM ? 0 : buffer_printf(&call->sql, "%" PRId64 ")", now);
        if (r == 0 && buffer_string(&call->sql) == NULL) {
                r = -ENOMEM;
        }
        if (r != 0) {
                return r;
        }
        call->sent_us = now;
        return PQsendQuery(connection, (const char *)call->sql.data) == 1 ? 0 : PG_E_SEND;
}

/* --- what comes back ---------------------------------------------------------------------- */

static int64_t get_int(const PGresult *result, int row, int column, int64_t none) {
        return PQgetisnull(result, row, column)
                       ? none
                       : strtoll(PQgetvalue(result, row, column), NULL, 10);
}

/* Copies what fits, whole characters. */
static void copy_text(char *out, size_t size, const char *text) {
        size_t n = strlen(text);
        if (n >= size) {
                n = size - 1;
                while (n > 0 && ((unsigned char)text[n] & 0xc0) == 0x80) {
                        n--;
                }
        }
        memcpy(out, text, n);
        out[n] = '\0';
}

enum DecisionColumn {
        DECISION_ITEM,
        DECISION_VERDICT,
        DECISION_WHY,
        DECISION_ID,
        DECISION_ATTEMPT,
        DECISION_AGAIN,
        DECISION_FIRST,
        DECISION_ACTED_AGE,
        DECISION_BEFORE,
        DECISION_FLAG,
        DECISION_DETAIL,
};

static void take_flag(LedgerDecision *decision, bool flag) {
        switch (decision->verdict) {
        case LEDGER_VERDICT_START:
                decision->renewed = flag;
                break;
        case LEDGER_VERDICT_DONE:
                decision->suppressed_now = flag;
                break;
        case LEDGER_VERDICT_WAIT:
        case LEDGER_VERDICT_REJECT:
                decision->fuse_blew = flag;
                break;
        case LEDGER_VERDICT_VERIFY:
        case LEDGER_VERDICT_UNKNOWN:
                break;
        }
}

/* False: no memory, or a word that no version of claim() says. */
static bool take_decision(const PGresult *result, int row, LedgerDecision *decision,
                          char **before) {
        LedgerVerdict verdict;
        if (!ledger_verdict_parse(PQgetvalue(result, row, DECISION_VERDICT), &verdict)) {
                return false;
        }
        *decision = (LedgerDecision){
                .verdict = verdict,
                .reason = ledger_reason_parse(PQgetvalue(result, row, DECISION_WHY)),
                .attempt = (int32_t)get_int(result, row, DECISION_ATTEMPT, 0),
                .again_us = get_int(result, row, DECISION_AGAIN, 0),
                .received_us = get_int(result, row, DECISION_FIRST, 0),
                .acted_age_us = -1,
        };
        copy_text(decision->detail, sizeof(decision->detail),
                  PQgetvalue(result, row, DECISION_DETAIL));
        take_flag(decision, PQgetvalue(result, row, DECISION_FLAG)[0] == 't');
        bool looks_back = verdict == LEDGER_VERDICT_VERIFY || verdict == LEDGER_VERDICT_UNKNOWN;
        if (looks_back || verdict == LEDGER_VERDICT_START || verdict == LEDGER_VERDICT_DONE) {
                decision->id = get_int(result, row, DECISION_ID, 0);
        }
        if (looks_back) {
                decision->acted_age_us = get_int(result, row, DECISION_ACTED_AGE, -1);
        }
        if (looks_back && !PQgetisnull(result, row, DECISION_BEFORE)) {
                *before = strdup(PQgetvalue(result, row, DECISION_BEFORE));
                decision->before = *before;
                return *before != NULL;
        }
        return true;
}

static void take_result(const PGresult *result, int row, LedgerResult *taken) {
        taken->did = PQgetvalue(result, row, 1)[0] == 't';
        taken->state = ledger_state_parse(PQgetvalue(result, row, 2));
}

static void call_result(PgOperation *operation, const PGresult *result) {
        Call *call = container_of(operation, Call, operation);
        for (int row = 0; row < PQntuples(result); row++) {
                size_t i = (size_t)get_int(result, row, 0, 0) - 1;
                if (i >= call->n) {
                        call->failed = true;
                        return;
                }
                if (call->kind != CALL_CLAIM) {
                        take_result(result, row, &call->results[i]);
                } else if (!take_decision(result, row, &call->decisions[i], &call->befores[i])) {
                        call->failed = true;
                }
                call->taken++;
        }
}

static void call_free(Call *call) {
        if (call == NULL) {
                return;
        }
        for (size_t i = 0; call->befores != NULL && i < call->n; i++) {
                free(call->befores[i]);
        }
        buffer_deinit(&call->sql);
        free(call->befores);
        free(call->decisions);
        free(call->results);
        free(call);
}

static LedgerEnd find_end(PgEnd end, const char *sqlstate) {
        switch (sqlstate_batch_end(end, sqlstate)) {
        case BATCH_SAVED:
                return LEDGER_END_DONE;
        case BATCH_REFUSED:
                return LEDGER_END_REFUSED;
        case BATCH_FENCE:
        case BATCH_OUTAGE:
                return LEDGER_END_OUTAGE;
        case BATCH_UNKNOWN:
                return LEDGER_END_UNKNOWN;
        }
        return LEDGER_END_UNKNOWN;
}

static void call_end(PgOperation *operation, PgEnd end, const PgFailure *failure) {
        Call *call = container_of(operation, Call, operation);
        PgFailure unread = {"", "the answer of the ledger could not be read"};
        /* It is committed, and what was decided is not known here: asked again, it is said again.
         */
        if (end == PG_OK && (call->failed || call->taken != call->n)) {
                end = PG_LOST;
                failure = &unread;
        }
        bool done = end == PG_OK;
        LedgerAnswer answer = {.end = find_end(end, failure->sqlstate),
                               .failure = done ? NULL : failure,
                               .sent_us = call->sent_us,
                               .n = call->n,
                               .decisions = done ? call->decisions : NULL,
                               .results = done ? call->results : NULL};
        call->answered(call->user, &answer);
        call_free(call);
}

/* --- public ------------------------------------------------------------------------------- */

static const PgOperationInterface call_interfaces[] = {
        [CALL_CLAIM] = {"claim", call_begin, call_result, call_end},
        [CALL_ACTED] = {"acted", call_begin, call_result, call_end},
        [CALL_FINISH] = {"finish", call_begin, call_result, call_end},
};

static int call_new(Call **callp, CallKind kind, size_t n, LedgerAnswered answered, void *user) {
        assert(n > 0 && n <= LEDGER_BATCH_MAX);
        Call *call = calloc(1, sizeof(*call));
        if (call == NULL) {
                return error_origin(-ENOMEM);
        }
        pg_operation_init(&call->operation, &call_interfaces[kind]);
        call->kind = kind;
        call->answered = answered;
        call->user = user;
        call->n = n;
        bool claims = kind == CALL_CLAIM;
        call->decisions = claims ? calloc(n, sizeof(*call->decisions)) : NULL;
        call->befores = claims ? calloc(n, sizeof(*call->befores)) : NULL;
        call->results = claims ? NULL : calloc(n, sizeof(*call->results));
        if (claims ? call->decisions == NULL || call->befores == NULL : call->results == NULL) {
                call_free(call);
                return error_origin(-ENOMEM);
        }
        *callp = call;
        return 0;
}

/* Takes the call over. @r: what building it said. */
static int call_submit(Ledger *ledger, Call *call, int r) {
        if (r != 0) {
                call_free(call);
                return r;
        }
        pg_pool_submit(ledger->pool, &call->operation, true);
        return 0;
}

int ledger_claim(Ledger *ledger, const LedgerPolicy *policy, const LedgerRequest *requests,
                 size_t n, LedgerAnswered answered, void *user) {
        Call *call;
        int r = call_new(&call, CALL_CLAIM, n, answered, user);
        if (r != 0) {
                return r;
        }
        return call_submit(ledger, call, build_claim(&call->sql, ledger, policy, requests, n));
}

int ledger_acted(Ledger *ledger, const LedgerActed *items, size_t n, LedgerAnswered answered,
                 void *user) {
        Call *call;
        int r = call_new(&call, CALL_ACTED, n, answered, user);
        if (r != 0) {
                return r;
        }
        for (size_t i = 0; i < n; i++) {
                call->results[i].id = items[i].id;
        }
        return call_submit(ledger, call, build_acted(&call->sql, ledger, items, n));
}

int ledger_finish(Ledger *ledger, const LedgerFinish *items, size_t n, LedgerAnswered answered,
                  void *user) {
        Call *call;
        int r = call_new(&call, CALL_FINISH, n, answered, user);
        if (r != 0) {
                return r;
        }
        for (size_t i = 0; i < n; i++) {
                call->results[i].id = items[i].id;
        }
        return call_submit(ledger, call, build_finish(&call->sql, ledger, items, n));
}

/* Version 4: random. */
static int make_uuid(char out[UUID_SIZE]) {
        uint8_t b[16];
        if (getrandom(b, sizeof(b), 0) != (ssize_t)sizeof(b)) {
                return error_origin(-errno);
        }
        b[6] = (uint8_t)((b[6] & 0x0f) | 0x40);
        b[8] = (uint8_t)((b[8] & 0x3f) | 0x80);
        char *at = out;
        for (size_t i = 0; i < sizeof(b); i++) {
                bool dash = i == 4 || i == 6 || i == 8 || i == 10;
                at += sprintf(at, "%s%02x", dash ? "-" : "", b[i]);
        }
        return 0;
}

int ledger_new(Ledger **ledgerp, PgPool *pool, const char *schema, const char *instance_name) {
        if (!schema_name_is_valid(schema)) {
                return SCHEMA_E_NAME;
        }
        Ledger *ledger = calloc(1, sizeof(*ledger));
        if (ledger == NULL) {
                return error_origin(-ENOMEM);
        }
        ledger->pool = pool;
        ledger->instance_name = strdup(instance_name);
        snprintf(ledger->schema, sizeof(ledger->schema), "\"%s\"", schema);
        int r = ledger->instance_name == NULL ? error_origin(-ENOMEM) : make_uuid(ledger->instance);
        if (r != 0) {
                ledger_free(ledger);
                return r;
        }
        *ledgerp = ledger;
        return 0;
}

void ledger_free(Ledger *ledger) {
        if (ledger != NULL) {
                free(ledger->instance_name);
                free(ledger);
        }
}

const char *ledger_instance(const Ledger *ledger) {
        return ledger->instance;
}

int64_t ledger_clock(void) {
        struct timespec now;
        clock_gettime(CLOCK_BOOTTIME, &now);
        return (int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000;
}
