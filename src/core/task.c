/*
 * A message: admitted, handled, judged, gone.
 *
 * Its handlers are independent: each has its own state, and the verdict waits for all of them, so
 * one's failure neither hides nor stops another's. message_settle() is the only place where a
 * verdict is acted on.
 *
 * Invariants: a message is linked where its handlers' states say and nowhere else; its offset is
 * resolved exactly when it ends other than released; a cancelled handler never leads to a commit, a
 * charge or a rejection.
 */

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/backoff.h"
#include "core/state.h"
#include "util/sha256.h"

enum {
        /* What is kept of a value that is over `message_bytes`. */
        KEPT_BYTES = 64 * 1024,
        /* A request that claims to come from further ahead has a wrong clock: Kafka's counts. */
        FUTURE_US = 5 * 60 * 1000000,
};

void message_free(Message *message) {
        partition_unref(message->partition);
        free(message->body);
        free(message->fault);
        free(message->replay);
        free(message);
}

static size_t value_kept(const Record *record, size_t limit) {
        return record->value_size <= limit || record->value_size < KEPT_BYTES ? record->value_size
                                                                              : KEPT_BYTES;
}

static MessageBody *body_new(const Record *record, size_t limit) {
        size_t value_size = value_kept(record, limit);
        size_t size = record->key_size + value_size + record->headers_size;
        MessageBody *body = malloc(sizeof(*body) + size);
        if (body == NULL) {
                return NULL;
        }
        uint8_t *data = body->data;
        *body = (MessageBody){0};
        if (record->key != NULL) {
                body->key = memcpy(data, record->key, record->key_size);
                body->key_size = record->key_size;
                data += record->key_size;
        }
        if (record->value != NULL) {
                body->value = memcpy(data, record->value, value_size);
                body->value_size = value_size;
                data += value_size;
        }
        if (record->headers != NULL) {
                body->headers = memcpy(data, record->headers, record->headers_size);
                body->headers_size = record->headers_size;
        }
        return body;
}

/* What waits and is saved lets go of its payload, which PostgreSQL has: received_wall_us finds it,
 * or Replay.of, when an earlier message of which it is a replay was saved. */
static void message_let_go(Message *message) {
        Engine *engine = message->partition->engine;
        if (!message->saved || engine->config->keep_payload) {
                return;
        }
        /* What is retried was let go of when it waited for the first time. */
        assert(!message->retries || message->bytes == 0);
        engine->in_flight_bytes -= message->bytes;
        message->bytes = 0;
        free(steal(message->body));
}

static void message_set_waits(Message *message, bool waits) {
        Engine *engine = message->partition->engine;
        if (waits == message->waits) {
                return;
        }
        message->waits = waits;
        if (waits) {
                engine->in_flight--;
                engine->waiting++;
                message_let_go(message);
        } else {
                engine->waiting--;
                engine->in_flight++;
        }
}

void message_set_state(Message *message, HandlerId handler, HandlerState state) {
        const HandlerTask *save = &message->handlers[HANDLER_SAVE];
        const HandlerTask *restart = &message->handlers[HANDLER_RESTART];

        HandlerTask *task = &message->handlers[handler];
        Engine *engine = message->partition->engine;
        engine->n_states[handler][task->state] -= !message->gap;
        engine->n_states[handler][state] += !message->gap;
        task->since_us = task->state != state ? engine->now : task->since_us;
        task->state = state;
        bool waits = (save->state == HANDLER_OFF || save->state == HANDLER_ENDED) &&
                     (restart->state == HANDLER_QUEUED || restart->state == HANDLER_WAITING ||
                      restart->state == HANDLER_ASKING ||
                      (restart->state == HANDLER_RUNNING && message->shares));
        message_set_waits(message, waits);
}

int message_blame(Message *message, HandlerId handler, const char *reason, const char *detail) {
        if (message->fault != NULL) {
                return 0;
        }
        MessageFault *fault = calloc(1, sizeof(*fault));
        if (fault == NULL) {
                return error_origin(-ENOMEM);
        }
        fault->reason = reason;
        if (detail != NULL) {
                strncpy(fault->detail, detail, sizeof(fault->detail) - 1);
        }
        message->fault = fault;
        message->fault_handler = handler;
        return 0;
}

/* Reads the record and makes the message of it. What cannot be read is a message too, with a fault.
 */
static int message_new(Message **messagep, Partition *partition, const Record *record) {
        const EngineConfig *config = partition->engine->config;
        Request request = {.requested_us = -1};
        MessageFault fault = {0};

        if (record->value == NULL) {
                /* A tombstone: nothing to read. */
        } else if (record->value_size > config->message_bytes) {
                char sha256[SHA256_TEXT_SIZE];
                int r = sha256_text(record->value, record->value_size, sha256);
                if (r != 0) {
                        return r;
                }
                fault.reason = "too_large";
                snprintf(fault.detail, sizeof(fault.detail),
                         "%zu bytes are over limits.message_bytes (%zu); the first %zu are kept, "
                         "the SHA-256 of all is %s",
                         record->value_size, config->message_bytes,
                         value_kept(record, config->message_bytes), sha256);
        } else {
                int r = message_decode(&config->format, record->value, record->value_size, &request,
                                       &fault);
                if (r < 0) {
                        return r;
                }
                if (r > 0 && fault.reason == NULL) {
                        fault.reason = "internal"; /* this one's alone: the others go on */
                }
        }
        size_t host_size = strlen(request.host) + 1;
        Message *message = calloc(1, sizeof(*message) + host_size + request.id_size + 1);
        if (message == NULL) {
                return error_origin(-ENOMEM);
        }
        memcpy(message->text, request.host, host_size);
        memcpy(message->text + host_size, request.id, request.id_size);
        message->host = request.host[0] != '\0' ? message->text : NULL;
        message->id = request.id_size > 0 ? message->text + host_size : NULL;
        message->requested_us = request.requested_us;
        message->partition = partition_ref(partition);
        message->offset = record->offset;
        message->produced_us = record->timestamp_us;
        message->tombstone = record->value == NULL;
        message->fault_handler = HANDLER_COUNT;
        message->claim = 1;
        heap_node_init(&message->retry);
        list_init(&message->link);
        list_init(&message->lane_link);
        list_init(&message->host_link);
        list_init(&message->wait_link);
        message->body = body_new(record, config->message_bytes);
        int r = message->body == NULL ? error_origin(-ENOMEM) : replay_init(message, record);
        if (r == 0 && fault.reason != NULL) {
                message->record = MESSAGE_FAULTY;
                r = message_blame(message, HANDLER_COUNT, fault.reason, fault.detail);
        } else {
                message->record =
                        record->value != NULL && config->save ? MESSAGE_ROW : MESSAGE_NO_ROW;
        }
        if (r != 0) {
                message_free(message);
                return r;
        }
        *messagep = message;
        return 0;
}

/* Nothing is to be done for the message's host: that counts as success. */
static int message_suppress(Message *message, LedgerReason reason) {
        list_unlink(&message->wait_link);
        if (message->partition->engine->config->ledger) {
                message->suppress = reason; /* which is written down */
                return hosts_add(message);
        }
        message->partition->engine->totals.suppressed[reason]++;
        message->handlers[HANDLER_RESTART].reason = ledger_reason_name(reason);
        return message_outcome(message, HANDLER_RESTART, OUTCOME_SUPPRESSED, false, NULL);
}

/* Since when it waits. A replay is in its place already, unless the time was over before its row
 * was asked: then it is the first to be ended. */
static void message_count_wait(Message *message) {
        Engine *engine = message->partition->engine;
        if (engine->config->max_wait_us <= 0 || list_is_linked(&message->wait_link)) {
                return;
        }
        if (message->replay != NULL && message->replay->verdict != REPLAY_VERDICTS) {
                list_push_front(&engine->received, &message->wait_link);
        } else {
                list_push_back(&engine->received, &message->wait_link);
        }
}

int message_start_restart(Message *message, const char *unknown) {
        Engine *engine = message->partition->engine;
        const EngineConfig *config = engine->config;
        const MessageBody *body = message->body; /* what is not queued yet has let go of nothing */
        const char *detail = NULL;
        const char *reason = guard_host(config, message->host, &detail);
        if (reason != NULL) {
                int r = message_blame(message, HANDLER_RESTART, reason, detail);
                return r != 0 ? r
                              : message_outcome(message, HANDLER_RESTART, OUTCOME_POISON, false,
                                                detail);
        }
        if (config->ledger && message->offset < message->partition->handled) {
                return message_suppress(message, LEDGER_REASON_HANDLED);
        }
        int selected = message_matches(body->value, body->value_size, config->when, config->n_when);
        if (selected <= 0) {
                return selected < 0 ? selected
                                    : message_suppress(message, LEDGER_REASON_NOT_SELECTED);
        }
        message_count_wait(message);
        if (unknown != NULL) {
                message_set_state(message, HANDLER_RESTART, HANDLER_RUNNING); /* an attempt */
                return message_outcome(message, HANDLER_RESTART, OUTCOME_UNKNOWN, true, unknown);
        }
        return hosts_add(message);
}

static int admit(Partition *partition, const Record *record, int64_t wall, bool gap) {
        Engine *engine = partition->engine;
        Message *message = NULL;
        int r = message_new(&message, partition, record);
        if (r != 0) {
                return r;
        }
        r = offsets_admit(&partition->offsets, record->offset, &message->sequence);
        if (r != 0) {
                message_free(message);
                return r;
        }
        message->received_us = engine->now;
        message->received_wall_us = wall;
        if (message->requested_us > wall + FUTURE_US ||
            (message->produced_us >= 0 &&
             (message->requested_us < 0 || message->produced_us < message->requested_us))) {
                message->requested_us = message->produced_us;
        }
        message->bytes =
                message->body->key_size + message->body->value_size + message->body->headers_size;
        list_push_back(&partition->messages, &message->link);
        message->gap = gap;
        partition->n_messages += !gap;
        for (int i = 0; i < HANDLER_COUNT; i++) {
                message->handlers[i].since_us = engine->now;
                engine->n_states[i][HANDLER_OFF] += !gap;
        }
        message->redelivered = record->offset < partition->fence;
        message->asks = message->redelivered || record->offset < partition->claimed;
        engine->totals.received += !gap;
        engine->in_flight += !gap;
        engine->in_flight_bytes += message->bytes;

        /* Below the fence it is saved, or a tombstone, or it has its row in `rejected`; one that
         * could be read when it was saved and cannot now (another configuration) gets one. */
        if (record->offset >= partition->fence) {
                message_set_state(message, HANDLER_SAVE, HANDLER_QUEUED);
                list_push_back(&partition->lane, &message->lane_link);
        }
        bool restarts = engine->config->restart && message->record != MESSAGE_FAULTY &&
                        record->value != NULL;
        if (message->replay != NULL) {
                if (restarts) {
                        message_count_wait(message);
                }
                replays_add(message, restarts);
                return 0;
        }
        r = replay_malformed(message);
        if (r == 0 && restarts) {
                message_set_state(message, HANDLER_RESTART,
                                  HANDLER_QUEUED); /* not off, should this fail */
                r = message_start_restart(message, NULL);
        }
        return r == 0 ? message_settle(message) : r;
}

int message_admit_gap(Partition *partition, int64_t offset, int64_t wall) {
        const Record nothing = {.offset = offset, .timestamp_us = -1};
        return admit(partition, &nothing, wall, true);
}

int message_admit(Partition *partition, const Record *record, int64_t wall) {
        return admit(partition, record, wall, false);
}

int64_t message_waits_since(const Message *message) {
        return replay_is_ours(message) ? message->replay->received_us : message->received_wall_us;
}

static const char *outcome_reason(Outcome outcome) {
        return outcome == OUTCOME_POISON ? "refused" : outcome_name(outcome);
}

int message_outcome(Message *message, HandlerId handler, Outcome outcome, bool charged,
                    const char *detail) {
        Engine *engine = message->partition->engine;
        const EngineConfig *config = engine->config;
        HandlerTask *task = &message->handlers[handler];

        task->outcome = outcome;
        task->ended_us = engine->now;
        /* A restart that a guard refused, or that waited too long, was no attempt. */
        if (outcome != OUTCOME_CANCELLED &&
            (handler != HANDLER_RESTART || task->state == HANDLER_RUNNING)) {
                task->attempts++;
        }
        if (charged && outcome_is_charged(outcome)) {
                task->charged++;
        }
        engine->totals.outcomes[handler][outcome] += !message->gap;
        message_set_state(message, handler, HANDLER_ENDED);
        if (outcome_verdict(outcome, config->on_unknown, task->charged, config->attempts) ==
            VERDICT_REJECT) {
                return message_blame(message, handler, outcome_reason(outcome), detail);
        }
        return 0;
}

static int message_retry(Message *message) {
        Engine *engine = message->partition->engine;
        const EngineConfig *config = engine->config;
        for (int i = 0; i < HANDLER_COUNT; i++) {
                HandlerTask *task = &message->handlers[i];
                if (task->state != HANDLER_ENDED || outcome_is_success(task->outcome)) {
                        continue;
                }
                unsigned attempt =
                        (unsigned)task->attempts - 1; /* what was cancelled is not retried */
                int64_t delay = backoff_delay(config->backoff_us, config->backoff_max_us, attempt,
                                              &engine->random);
                /* The cool-down takes the place of the backoff. */
                bool cooled = config->ledger && config->cooldown_us > 0 &&
                              task->outcome != OUTCOME_NOT_STARTED &&
                              task->outcome != OUTCOME_OUTAGE;
                if (cooled || task->not_before_us > engine->now + delay) {
                        int64_t left = task->not_before_us - engine->now;
                        delay = left > BACKOFF_MIN_US ? left : BACKOFF_MIN_US;
                }
                message_set_state(message, (HandlerId)i, HANDLER_WAITING);
                retries_count(message, true);
                int r = heap_insert(&engine->retries, &message->retry, engine->now + delay);
                if (r != 0) {
                        return r;
                }
                return engine_act(engine, &(EngineAction){.type = ENGINE_NOTE,
                                                          .note = NOTE_RETRY,
                                                          .message = message,
                                                          .handler = (HandlerId)i,
                                                          .delay_us = delay});
        }
        return error_origin(-ENOTRECOVERABLE);
}

static Verdict message_verdict(const Message *message) {
        const EngineConfig *config = message->partition->engine->config;
        Verdict verdict = message->record == MESSAGE_FAULTY ? VERDICT_REJECT : VERDICT_ACCEPT;
        for (int i = 0; i < HANDLER_COUNT; i++) {
                const HandlerTask *task = &message->handlers[i];
                Verdict own = VERDICT_NONE;
                if (task->state == HANDLER_OFF) {
                        own = VERDICT_ACCEPT;
                } else if (task->state == HANDLER_ENDED) {
                        own = outcome_verdict(task->outcome, config->on_unknown, task->charged,
                                              config->attempts);
                }
                verdict = verdict_combine(verdict, own);
        }
        return verdict;
}

int message_settle(Message *message) {
        Engine *engine = message->partition->engine;
        message->verdict = message_verdict(message);
        switch (message->verdict) {
        case VERDICT_NONE:
                return 0;
        case VERDICT_ACCEPT:
                return message_finish(message, message->duplicate   ? FINISH_DUPLICATE
                                               : message->tombstone ? FINISH_TOMBSTONE
                                                                    : FINISH_ACCEPTED);
        case VERDICT_RETRY:
                /* Whoever owns it next tries again. */
                if (engine->stopping || message->partition->state == PARTITION_DRAINING) {
                        return message_finish(message, FINISH_RELEASED);
                }
                return wait_is_over(message) ? wait_end(message, WAIT_RETRY)
                                             : message_retry(message);
        case VERDICT_REJECT:
                if (message->fault_kept) {
                        return message_finish(message, FINISH_REJECTED);
                }
                if (engine->stopping) {
                        return message_finish(message, FINISH_RELEASED);
                }
                /* Nothing is left to be done but its row: it is no retry any more, and with
                 * `rejected` out of order it must not keep others from being read. */
                retries_count(message, false);
                message_set_waits(message, true);
                list_push_back(&engine->rejects, &message->lane_link);
                return 0;
        case VERDICT_RELEASE:
                return message_finish(message, FINISH_RELEASED);
        }
        return error_origin(-ENOTRECOVERABLE);
}

int message_cancel(Message *message, unsigned reach) {
        HandlerTask *save = &message->handlers[HANDLER_SAVE];
        HandlerTask *restart = &message->handlers[HANDLER_RESTART];
        int r = 0;

        if (message->verdict == VERDICT_REJECT) {
                /* Its handlers have ended; its row waits to be written, or is being written. */
                return message->fault_sent && (reach & CANCEL_BATCH) == 0
                               ? 0
                               : message_finish(message, FINISH_RELEASED);
        }
        if (save->state == HANDLER_QUEUED || save->state == HANDLER_UNDECIDED ||
            (save->state == HANDLER_RUNNING && (reach & CANCEL_BATCH) != 0)) {
                list_unlink(&message->lane_link);
                r = message_outcome(message, HANDLER_SAVE, OUTCOME_CANCELLED, false, NULL);
        }
        if (r == 0 && (restart->state == HANDLER_QUEUED || restart->state == HANDLER_WAITING ||
                       restart->state == HANDLER_ASKING || restart->state == HANDLER_UNDECIDED ||
                       (restart->state == HANDLER_RUNNING && (reach & CANCEL_RUN) != 0))) {
                RestartWait wait = message_waits_for(message);
                restart->reason = wait != WAIT_NONE ? restart_wait_name(wait) : NULL;
                hosts_remove(message);
                heap_remove(&message->partition->engine->retries, &message->retry);
                r = message_outcome(message, HANDLER_RESTART, OUTCOME_CANCELLED, false, NULL);
        }
        return r != 0 ? r : message_settle(message);
}

int message_finish(Message *message, Finish finish) {
        Partition *partition = message->partition;
        Engine *engine = partition->engine;

        for (int i = 0; i < HANDLER_COUNT; i++) {
                engine->n_states[i][message->handlers[i].state] -= !message->gap;
        }
        partition->n_messages -= !message->gap;

        hosts_remove(message);
        replays_remove(message);
        heap_remove(&engine->retries, &message->retry);
        list_unlink(&message->lane_link);
        list_unlink(&message->wait_link);
        list_unlink(&message->link);
        retries_count(message, false);
        if (message->waits) {
                engine->waiting--;
        } else {
                engine->in_flight -= !message->gap;
        }
        engine->in_flight_bytes -= message->bytes;
        engine->totals.finished[finish] += !message->gap;
        if (finish != FINISH_RELEASED) {
                offsets_resolve(&partition->offsets, message->sequence);
                commit_schedule(partition);
        }
        int r = engine_act(engine, &(EngineAction){.type = ENGINE_FINISHED,
                                                   .finish = finish,
                                                   .message = message,
                                                   .partition = partition});
        if (r != 0) {
                message_free(message); /* nobody else would */
        }
        return r;
}
