/*
 * Replays: what is done of them is asked before anything is.
 *
 *   admitted, undecided --> Engine.undecided --> a question to PostgreSQL --> decided
 *                                 ^                        |
 *                                 +--- no answer, later ---+
 *
 * All handlers of a message that names a row of `rejected` are HANDLER_UNDECIDED until the row has
 * answered. It keeps its place in its lane, which forms no batch beyond it; its restart is queued
 * nowhere. The questions of a turn go together, one operation at a time. Asking has the effect that
 * the row is this message's from then on, and asking again gives the same answer: what was lost is
 * asked again, and what a message asked that is gone meanwhile does no harm, since the same one
 * comes again. While the restart of the rejected message itself runs still, the answer is `later`:
 * this one is asked again, and nobody else waits for it.
 *
 * Invariants: a message is undecided exactly while it is in Engine.undecided, Engine.replays_later
 * or Engine.asking; a message that leaves the engine leaves all three.
 */

#include <stdlib.h>
#include <string.h>

#include "core/backoff.h"
#include "core/observe.h"
#include "core/state.h"

enum {
        /* Until they are asked again without an answer, as for the ledger. */
        ASK_BACKOFF_US = 500 * 1000,
        ASK_BACKOFF_MAX_US = 5 * 1000 * 1000,
        LATER_US = 2 * 1000 * 1000, /* as for the ledger, when another one's restart runs */
};

/* @reason: static; @detail: a line for people, copied; "": none. */
static int replay_note(Message *message, const char *reason, const char *detail) {
        char *owned = detail[0] != '\0' ? strdup(detail) : NULL;
        if (detail[0] != '\0' && owned == NULL) {
                return error_origin(-ENOMEM);
        }
        int r = engine_act(message->partition->engine, &(EngineAction){.type = ENGINE_NOTE,
                                                                       .note = NOTE_REPLAY,
                                                                       .message = message,
                                                                       .reason = reason,
                                                                       .text = owned,
                                                                       .owned = owned});
        if (r != 0) {
                free(owned);
        }
        return r;
}

int replay_init(Message *message, const Record *record) {
        ReplayPlace of;
        if (record->value == NULL) {
                return 0; /* nothing would run for it anyway */
        }
        switch (replay_header_read(record->headers, record->headers_size, &of)) {
        case REPLAY_HEADER_NONE:
                return 0;
        case REPLAY_HEADER_MALFORMED:
                message->malformed_replay = true;
                return 0;
        case REPLAY_HEADER_FOUND:
                break;
        }
        message->replay = calloc(1, sizeof(*message->replay));
        if (message->replay == NULL) {
                return error_origin(-ENOMEM);
        }
        message->replay->of = of;
        message->replay->verdict = REPLAY_VERDICTS;
        return 0;
}

bool replay_is_ours(const Message *message) {
        return message->replay != NULL && message->replay->verdict == REPLAY_OURS;
}

bool replay_is_saved(const Message *message) {
        return replay_is_ours(message) && (message->replay->done & 1u << HANDLER_SAVE) != 0;
}

int replay_malformed(Message *message) {
        return message->malformed_replay ? replay_note(message, "malformed", "") : 0;
}

void replays_add(Message *message, bool restarts) {
        Engine *engine = message->partition->engine;
        message_set_state(message, HANDLER_SAVE, HANDLER_UNDECIDED);
        if (restarts) {
                message_set_state(message, HANDLER_RESTART, HANDLER_UNDECIDED);
                message->replay->restarts = true;
                message->replay->wait = WAIT_POSTGRES;
                engine->n_waits[WAIT_POSTGRES]++;
        }
        list_push_back(&engine->undecided, &message->host_link);
}

void replays_remove(Message *message) {
        Replay *replay = message->replay;
        if (replay == NULL) {
                return;
        }
        if (replay->question != NULL) {
                replay->question->message = NULL;
                replay->question = NULL;
        }
        message->partition->engine->n_waits[replay->wait] -= replay->restarts;
        replay->restarts = false;
}

/* --- asking ------------------------------------------------------------------------------- */

static void take_due(Engine *engine) {
        while (!list_is_empty(&engine->replays_later)) {
                Message *message = list_first(&engine->replays_later, Message, host_link);
                if (message->replay->again_us > engine->now) {
                        return;
                }
                list_unlink(&message->host_link);
                list_push_back(&engine->undecided, &message->host_link);
        }
}

int replays_dispatch(Engine *engine) {
        size_t n = 0;
        take_due(engine);
        if (engine->asking != NULL || engine->stopping || engine->now < engine->replays_us ||
            list_is_empty(&engine->undecided)) {
                return 0;
        }
        list_for_each(link, &engine->undecided) {
                if (++n == REPLAY_QUESTIONS_MAX) {
                        break;
                }
        }
        ReplayQuestions *asking = calloc(1, sizeof(*asking) + n * sizeof(asking->questions[0]));
        if (asking == NULL) {
                return error_origin(-ENOMEM);
        }
        engine->asking = asking;
        int r = 0;
        while (r == 0 && asking->n < n) {
                Message *message = list_first(&engine->undecided, Message, host_link);
                ReplayQuestion *question = &asking->questions[asking->n++];
                list_unlink(&message->host_link);
                message->replay->question = question;
                *question = (ReplayQuestion){.by = {.source = message->partition->source,
                                                    .offset = message->offset},
                                             .of = message->replay->of,
                                             .message = message};
                /* What is undecided was let go of by nobody. */
                r = sha256_text(message->body->value, message->body->value_size, question->sha256);
        }
        return r != 0 ? r
                      : engine_act(engine,
                                   &(EngineAction){.type = ENGINE_ASK_REPLAYS, .replays = asking});
}

int64_t replays_deadline(const Engine *engine) {
        const Message *later = list_first(&engine->replays_later, Message, host_link);
        if (engine->asking != NULL) {
                return INT64_MAX;
        }
        if (!list_is_empty(&engine->undecided)) {
                return engine->replays_us > engine->now ? engine->replays_us : INT64_MAX;
        }
        if (later == NULL) {
                return INT64_MAX;
        }
        return later->replay->again_us > engine->replays_us ? later->replay->again_us
                                                            : engine->replays_us;
}

void replays_database_is_back(Engine *engine) {
        engine->replays_us = engine->now;
}

/* They wait where they were. */
static void ask_again_later(Engine *engine, ReplayQuestions *asked) {
        for (size_t i = asked->n; i-- > 0;) {
                Message *message = asked->questions[i].message;
                if (message != NULL) {
                        message->replay->question = NULL;
                        list_push_front(&engine->undecided, &message->host_link);
                }
        }
        engine->replays_us =
                engine->now + backoff_delay(ASK_BACKOFF_US, ASK_BACKOFF_MAX_US,
                                            engine->replay_failures++, &engine->random);
}

/* --- the answer --------------------------------------------------------------------------- */

/* The message stands for the row: it is as old as that one, and what is done is not done again. */
static void replay_ours(Message *message, const ReplayAnswer *answer) {
        Replay *replay = message->replay;
        HandlerTask *restart = &message->handlers[HANDLER_RESTART];
        int64_t produced = answer->produced_us;
        replay->done = answer->done;
        replay->first_us = answer->first_us;
        message->redelivered = false; /* the row knows of earlier receipts */
        replay->received_us = answer->received_us < message->received_wall_us
                                      ? answer->received_us
                                      : message->received_wall_us;
        if (produced >= 0 && (message->produced_us < 0 || produced < message->produced_us)) {
                message->produced_us = produced;
        }
        if (produced >= 0 && (message->requested_us < 0 || produced < message->requested_us)) {
                message->requested_us = produced;
        }
        if (message->record == MESSAGE_ROW && (answer->done & 1u << HANDLER_SAVE) != 0) {
                message->record = MESSAGE_NO_ROW; /* `messages` has it at its first place */
        }
        if (restart->state == HANDLER_UNDECIDED && (answer->done & 1u << HANDLER_RESTART) != 0) {
                list_unlink(&message->wait_link);
                message_set_state(message, HANDLER_RESTART, HANDLER_OFF);
        }
}

/* Only the fence and the watermark pass it. */
static int replay_duplicate(Message *message, const ReplayAnswer *answer) {
        message->duplicate = true;
        message->record = MESSAGE_NO_ROW;
        free(steal(message->fault));
        message->fault_handler = HANDLER_COUNT;
        list_unlink(&message->wait_link);
        if (message->handlers[HANDLER_RESTART].state == HANDLER_UNDECIDED) {
                message_set_state(message, HANDLER_RESTART, HANDLER_OFF);
        }
        return replay_note(message, replay_verdict_name(answer->verdict), answer->detail);
}

/* The restart of the rejected message still runs. It is told once. */
static int replay_later(Message *message, const ReplayAnswer *answer) {
        Engine *engine = message->partition->engine;
        Replay *replay = message->replay;
        bool told = replay->again_us > 0;
        replay->question = NULL;
        replay->again_us = engine->now + LATER_US;
        list_push_back(&engine->replays_later, &message->host_link);
        engine->n_waits[replay->wait] -= replay->restarts;
        replay->wait = WAIT_RUNNING;
        engine->n_waits[WAIT_RUNNING] += replay->restarts;
        return told ? 0
                    : replay_note(message, replay_verdict_name(answer->verdict), answer->detail);
}

static int replay_decide(Message *message, const ReplayAnswer *answer) {
        int r = 0;
        bool unknown = answer->verdict == REPLAY_UNKNOWN;
        message->replay->verdict = unknown ? REPLAY_OURS : answer->verdict;
        switch (answer->verdict) {
        case REPLAY_OURS:
        case REPLAY_UNKNOWN:
                replay_ours(message, answer);
                break;
        case REPLAY_TAKEN:
        case REPLAY_DROPPED:
                r = replay_duplicate(message, answer);
                break;
        case REPLAY_LATER: /* see replay_later() */
        case REPLAY_STRAY:
        case REPLAY_VERDICTS:
                r = replay_note(message, replay_verdict_name(answer->verdict), answer->detail);
                break;
        }
        if (message->handlers[HANDLER_SAVE].state == HANDLER_UNDECIDED) {
                bool waits = list_is_linked(&message->lane_link);
                message_set_state(message, HANDLER_SAVE, waits ? HANDLER_QUEUED : HANDLER_OFF);
        }
        if (message->handlers[HANDLER_RESTART].state == HANDLER_UNDECIDED) {
                /* Not undecided, should this fail: it is in no list. */
                message_set_state(message, HANDLER_RESTART, HANDLER_QUEUED);
                r = r == 0 ? message_start_restart(message, unknown ? answer->detail : NULL) : r;
        }
        return r == 0 ? message_settle(message) : r;
}

int engine_replays_read(Engine *engine, ReplayQuestions *asked, const ReplayAnswer *answers,
                        int64_t now) {
        int r = 0;
        engine->now = now;
        if (observes(engine)) {
                observe_replays_read_(engine, asked, answers);
        }
        engine->asking = NULL;
        if (answers == NULL) {
                ask_again_later(engine, asked);
                free(asked);
                return 0;
        }
        engine->replay_failures = 0;
        engine->replays_us = now;
        for (size_t i = 0; i < asked->n; i++) {
                Message *message = asked->questions[i].message;
                int one = 0;
                if (message != NULL && answers[i].verdict == REPLAY_LATER) {
                        one = replay_later(message, &answers[i]);
                } else if (message != NULL) {
                        replays_remove(message);
                        one = replay_decide(message, &answers[i]);
                }
                r = r == 0 ? one : r; /* none may stay undecided and in no list */
        }
        free(asked);
        return r;
}
