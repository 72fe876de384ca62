#include "handlers/claims.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "pg/sqlstate.h"
#include "util/list.h"
#include "util/loop.h"

typedef enum Question {
        QUESTION_CLAIM,
        QUESTION_ACTED,
        QUESTION_CONCLUDE,
        QUESTIONS,
} Question;

enum {
        /* An outage is said at once, and then every so often, not with each question. */
        SAY_AGAIN_US = 10 * 1000000,
};

/* A question about one run. The end of a run that very many share takes several calls. */
typedef struct Item {
        Run *run;
        unsigned open; /* calls without an answer */
        LedgerEnd end; /* the worst one so far */
        LedgerResult result;
} Item;

typedef struct Gathered {
        Item **items;
        size_t n, capacity;
} Gathered;

struct Claims {
        Ledger *ledger;
        PgPool *pool; /* NULL: closed */
        Log *log;
        ClaimsOptions options;
        const ClaimsEvents *events;
        void *user;
        Gathered gathered[QUESTIONS];
        char said[6]; /* the SQLSTATE that was said last; "-": none */
        int64_t said_us;
        List calls; /* Call.link */
};

/* What is under way. */
typedef struct Call {
        Claims *claims;
        List link;
        Question question;
        size_t n;
        Item *items[LEDGER_BATCH_MAX];
} Call;

int claims_new(Claims **claimsp, PgPool *pool, Log *log, const ClaimsOptions *options,
               const ClaimsEvents *events, void *user) {
        Claims *claims = calloc(1, sizeof(*claims));
        if (claims == NULL) {
                return error_origin(-ENOMEM);
        }
        claims->options = *options;
        claims->log = log;
        claims->pool = pool;
        claims->events = events;
        claims->user = user;
        strcpy(claims->said, "-");
        list_init(&claims->calls);
        int r = ledger_new(&claims->ledger, pool, options->schema, options->instance);
        if (r != 0) {
                free(claims);
                return r;
        }
        log_info(log, "ledger.instance", FIELDS(),
                 "in the ledger of restarts this process is %s (restarts.instance)",
                 ledger_instance(claims->ledger));
        *claimsp = claims;
        return 0;
}

static void call_free(Call *call) {
        list_unlink(&call->link);
        free(call);
}

void claims_free(Claims *claims) {
        if (claims == NULL) {
                return;
        }
        ledger_free(claims->ledger);
        list_for_each_safe(link, &claims->calls) {
                call_free(container_of(link, Call, link));
        }
        for (size_t i = 0; i < QUESTIONS; i++) {
                for (size_t j = 0; j < claims->gathered[i].n; j++) {
                        free(claims->gathered[i].items[j]);
                }
                free(claims->gathered[i].items);
        }
        free(claims);
}

/* --- answers ------------------------------------------------------------------------------ */

static const char *what(Question question) {
        switch (question) {
        case QUESTION_CLAIM:
                return "asking whether hosts may be restarted";
        case QUESTION_ACTED:
                return "writing down that actions ended well";
        case QUESTION_CONCLUDE:
                return "writing down how restarts ended";
        case QUESTIONS:
                break;
        }
        return "";
}

static const char *next_step(const Call *call, LedgerEnd end) {
        Question question = call->question;
        if (end == LEDGER_END_REFUSED && !call->items[0]->run->alone) {
                return "asking one by one";
        }
        if (end == LEDGER_END_REFUSED) {
                return "it waits and is asked again, and no message is rejected for it: look at "
                       "the "
                       "ledger's tables";
        }
        return question == QUESTION_CLAIM ? "no restart starts until it answers; asking again"
                                          : "nothing is acked before it is there; trying again";
}

static void log_failure(Claims *claims, const Call *call, const LedgerAnswer *answer) {
        const PgFailure *failure = answer->failure;
        const char *sqlstate = failure->sqlstate;
        const char *remedy = sqlstate_remedy(sqlstate);
        LogLevel level = sqlstate_is_alarm(sqlstate) || answer->end == LEDGER_END_REFUSED
                                 ? LOG_ERROR
                                 : LOG_WARNING;
        if (claims->pool == NULL) {
                level = LOG_DEBUG; /* the shutdown says what is left */
        } else if (strcmp(claims->said, sqlstate) == 0 &&
                   loop_now() - claims->said_us < SAY_AGAIN_US) {
                level = LOG_DEBUG;
        } else {
                snprintf(claims->said, sizeof(claims->said), "%s", sqlstate);
                claims->said_us = loop_now();
        }
        log_write(claims->log, level, "ledger.failed",
                  FIELDS(.handler = "restart-host", .error = failure->message),
                  "%s (%zu at once) failed: %s%s%s; %s%s%s", what(call->question), call->n,
                  sqlstate, sqlstate[0] != '\0' ? ": " : "", failure->message,
                  next_step(call, answer->end), remedy != NULL ? "; " : "",
                  remedy != NULL ? remedy : "");
}

static void item_answer(Claims *claims, Question question, Item *item,
                        const LedgerDecision *decision) {
        Run *run = item->run;
        LedgerEnd end = item->end;
        LedgerResult result = item->result;
        if (--item->open > 0) {
                return;
        }
        free(item);
        switch (question) {
        case QUESTION_CLAIM:
                claims->events->claimed(claims->user, run, end, decision);
                return;
        case QUESTION_ACTED:
                claims->events->acted(claims->user, run, end);
                return;
        case QUESTION_CONCLUDE:
                claims->events->concluded(claims->user, run, end,
                                          end == LEDGER_END_DONE ? &result : NULL);
                return;
        case QUESTIONS:
                return;
        }
}

static void on_answer(void *user, const LedgerAnswer *answer) {
        Call *call = user;
        Claims *claims = call->claims;
        if (answer->end != LEDGER_END_DONE) {
                log_failure(claims, call, answer);
        }
        for (size_t i = 0; i < call->n; i++) {
                Item *item = call->items[i];
                if (call->question == QUESTION_CLAIM) {
                        item->run->sent_us = answer->sent_us;
                        item->run->start_by_us =
                                answer->sent_us + claims->options.policy->start_within_us;
                }
                if (answer->end != LEDGER_END_DONE) {
                        item->end = answer->end;
                } else if (answer->results != NULL) {
                        item->result = answer->results[i];
                }
                item_answer(claims, call->question, item,
                            answer->decisions != NULL ? &answer->decisions[i] : NULL);
        }
        call_free(call);
}

/* --- questions ---------------------------------------------------------------------------- */

static int gather(Claims *claims, Question question, Run *run) {
        Gathered *gathered = &claims->gathered[question];
        if (gathered->n == gathered->capacity) {
                size_t capacity = gathered->capacity > 0 ? gathered->capacity * 2 : 16;
                Item **items = realloc(gathered->items, capacity * sizeof(Item *));
                if (items == NULL) {
                        return error_origin(-ENOMEM);
                }
                gathered->items = items;
                gathered->capacity = capacity;
        }
        Item *item = calloc(1, sizeof(*item));
        if (item == NULL) {
                return error_origin(-ENOMEM);
        }
        *item = (Item){.run = run, .end = LEDGER_END_DONE};
        gathered->items[gathered->n++] = item;
        return 0;
}

int claims_claim(Claims *claims, Run *run) {
        return gather(claims, QUESTION_CLAIM, run);
}

int claims_acted(Claims *claims, Run *run) {
        return gather(claims, QUESTION_ACTED, run);
}

int claims_conclude(Claims *claims, Run *run) {
        return gather(claims, QUESTION_CONCLUDE, run);
}

static LedgerRequest request_of(const Claims *claims, const Run *run) {
        const RunClaim *claim = &run->claim;
        bool suppress = claim->suppress != LEDGER_REASON_NONE;
        return (LedgerRequest){
                .source = claim->source,
                .offset = claim->offset,
                .attempt = claim->attempt,
                .host = run_host(run),
                .request_id = claim->request_id,
                .requested_us = claim->requested_us,
                .received_us = claim->received_us,
                .redelivered = claim->redelivered,
                .first_us = claim->first_us,
                .before = claim->before,
                .suppress = suppress ? ledger_reason_name(claim->suppress) : NULL,
                .group = claims->options.group(claims->options.data, run_host(run)),
        };
}

static LedgerActed acted_of(const Run *run) {
        return (LedgerActed){.id = run->ledger_id,
                             .started_us = run->action_started_us,
                             .ended_us = run->action_ended_us,
                             .exit_status = run->exit_status,
                             .output = run->output};
}

/* Without those that share it. */
static LedgerFinish finish_of(const Run *run) {
        return (LedgerFinish){.id = run->ledger_id,
                              .state = run->state,
                              .verified = run->verified && !run->unwatched,
                              .started_us = run->action_started_us,
                              .ended_us = run->action_ended_us,
                              .exit_status = run->exit_status,
                              .reason = run->reason,
                              .output = run->output};
}

/* Whether it gets a row of its own that says the same. */
static bool shares(const Run *run, const Message *message) {
        return message != run->leader && !run->put_back;
}

static size_t count_shared(const Run *run) {
        size_t n = 0;
        list_for_each(link, &run->messages) {
                n += shares(run, container_of(link, Message, host_link));
        }
        return n;
}

static int send(Call *call) {
        Claims *claims = call->claims;
        const LedgerPolicy *policy = claims->options.policy;
        union {
                LedgerRequest requests[LEDGER_BATCH_MAX];
                LedgerActed acted[LEDGER_BATCH_MAX];
        } *asked = calloc(1, sizeof(*asked));
        int r = asked == NULL ? error_origin(-ENOMEM) : 0;
        for (size_t i = 0; r == 0 && i < call->n; i++) {
                if (call->question == QUESTION_CLAIM) {
                        asked->requests[i] = request_of(claims, call->items[i]->run);
                } else {
                        asked->acted[i] = acted_of(call->items[i]->run);
                }
                call->items[i]->open++;
        }
        if (r == 0) {
                r = call->question == QUESTION_CLAIM
                            ? ledger_claim(claims->ledger, policy, asked->requests, call->n,
                                           on_answer, call)
                            : ledger_acted(claims->ledger, asked->acted, call->n, on_answer, call);
        }
        free(asked);
        return r;
}

static int call_new(Call **callp, Claims *claims, Question question) {
        Call *call = calloc(1, sizeof(*call));
        if (call == NULL) {
                return error_origin(-ENOMEM);
        }
        call->claims = claims;
        call->question = question;
        list_push_back(&claims->calls, &call->link);
        *callp = call;
        return 0;
}

/* The items from *@at on that go into one call. */
static size_t items_together(const Gathered *gathered, size_t at) {
        size_t n = 1;
        while (at + n < gathered->n && n < LEDGER_BATCH_MAX && !gathered->items[at]->run->alone &&
               !gathered->items[at + n]->run->alone) {
                n++;
        }
        return n;
}

static int send_questions(Claims *claims, Question question) {
        Gathered *gathered = &claims->gathered[question];
        size_t at = 0;
        int r = 0;
        while (r == 0 && at < gathered->n) {
                Call *call = NULL;
                r = call_new(&call, claims, question);
                if (r != 0) {
                        break;
                }
                call->n = items_together(gathered, at);
                memcpy(call->items, &gathered->items[at], call->n * sizeof(Item *));
                at += call->n;
                r = send(call);
        }
        gathered->n = 0;
        return r;
}

/* One call with the ends of @n runs, of whose shared messages those from @from on are told, as many
 * as there is room for. *@nextp: where the next call for the last one goes on; 0: all are told. */
static int send_ends(Claims *claims, Item **items, size_t n, size_t from, size_t *nextp) {
        Call *call = NULL;
        LedgerFinish *ends = calloc(n, sizeof(*ends));
        LedgerShared *shared = calloc(LEDGER_SHARED_MAX, sizeof(*shared));
        size_t used = 0;
        int r = ends == NULL || shared == NULL ? error_origin(-ENOMEM) : 0;
        r = r == 0 ? call_new(&call, claims, QUESTION_CONCLUDE) : r;
        *nextp = 0;
        for (size_t i = 0; r == 0 && i < n; i++) {
                const Run *run = items[i]->run;
                size_t seen = 0, first = used;
                ends[i] = finish_of(run);
                list_for_each(link, &run->messages) {
                        const Message *message = container_of(link, Message, host_link);
                        if (!shares(run, message) || seen++ < from) {
                                continue;
                        }
                        if (used == LEDGER_SHARED_MAX) {
                                *nextp = seen - 1;
                                break;
                        }
                        shared[used++] =
                                (LedgerShared){.source = message->partition->source,
                                               .offset = message->offset,
                                               .request_id = message->id,
                                               .requested_us = message->requested_us,
                                               .received_us = message_waits_since(message)};
                }
                ends[i].shared = &shared[first];
                ends[i].n_shared = used - first;
                items[i]->open++;
                call->items[call->n++] = items[i];
        }
        r = r == 0 ? ledger_finish(claims->ledger, ends, n, on_answer, call) : r;
        free(shared);
        free(ends);
        return r;
}

/* Ends that have few who share go together; one that has very many takes calls of its own. */
static int send_all_ends(Claims *claims) {
        Gathered *gathered = &claims->gathered[QUESTION_CONCLUDE];
        size_t at = 0;
        int r = 0;
        while (r == 0 && at < gathered->n) {
                size_t most = items_together(gathered, at), n = 0, used = 0, next = 0;
                while (n < most) {
                        size_t more = count_shared(gathered->items[at + n]->run);
                        if (n > 0 && used + more > LEDGER_SHARED_MAX) {
                                break;
                        }
                        used += more;
                        n++;
                }
                do {
                        r = send_ends(claims, &gathered->items[at], n, next, &next);
                } while (r == 0 && next > 0);
                at += n;
        }
        gathered->n = 0;
        return r;
}

/* Without a connection a claim would wait in a queue, and keep a slot for as long. */
static void turn_down(Claims *claims) {
        Gathered *gathered = &claims->gathered[QUESTION_CLAIM];
        size_t n = gathered->n;
        gathered->n = 0;
        for (size_t i = 0; i < n; i++) {
                Run *run = gathered->items[i]->run;
                free(gathered->items[i]);
                claims->events->claimed(claims->user, run, LEDGER_END_OUTAGE, NULL);
        }
}

void claims_close(Claims *claims) {
        claims->pool = NULL;
}

int claims_send(Claims *claims) {
        if (claims->pool == NULL) {
                return 0;
        }
        if (!pg_pool_is_up(claims->pool)) {
                turn_down(claims);
        }
        int r = send_questions(claims, QUESTION_CLAIM);
        r = r == 0 ? send_questions(claims, QUESTION_ACTED) : r;
        return r == 0 ? send_all_ends(claims) : r;
}

bool claims_may_start(const Claims *claims, const Run *run) {
        return ledger_may_start(claims->options.policy, run->sent_us, ledger_clock());
}
