#pragma once

/*
 * The engine as a person sees it: how many messages stand where, which are the oldest, what each of
 * them waits for and since when.
 *
 * Reading costs what is told, not what there is: counts are kept by whoever changes a state, and
 * the oldest of 100,000 messages are found by a merge of the partitions' lists. Pure; nothing here
 * changes the engine.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/engine.h"
#include "util/buffer.h"

enum {
        INSPECT_MESSAGES_MAX = 1000,
        /* Messages passed on the way that are none (Message.gap) and are not told: a bound for a
         * log full of aborted transactions. */
        INSPECT_PASSED_MAX = 20000,
        INSPECT_DETAIL_MAX = 400, /* bytes of a detail with its NUL; longer ones are cut */
};

/* A handler of a message. */
typedef struct InspectedHandler {
        HandlerState state;
        Outcome outcome; /* of the newest attempt; OUTCOME_NONE: there was none */
        int attempts, charged;
        RestartWait waits_for; /* also while it is asked again whether that is over */
        int64_t since_us;      /* of the state, or of the wait, as the engine's @now */
        int64_t again_us;      /* when it is tried, or asked for, again; INT64_MAX: not known */
        const Run *run;        /* that it is in; NULL: none. Valid until the engine's next event */
        const char *detail;    /* a line for people; NULL: nothing. Valid likewise */
} InspectedHandler;

void inspect_handler(const Message *message, HandlerId handler, InspectedHandler *out);

/* "checking", "claiming", … Static. */
const char *run_phase_name(RunPhase phase);
/* "queued", "asking", … Static. "done": HANDLER_OFF. */
const char *handler_state_name(HandlerState state);

/* How many messages' @handler is in @state. */
size_t engine_states(const Engine *engine, HandlerId handler, HandlerState state);

/* Failures in a row of what waits to be tried again at PostgreSQL, the most of any batch, and of
 * @rows rows in all; 0: nothing failed. Walks over the batches, a few. */
unsigned engine_save_failures(const Engine *engine, size_t *rows);

/* The runs under way, Run.link; valid until the engine's next event. */
const List *engine_runs(const Engine *engine);

/* Whether the ledger did not answer the newest question. */
bool engine_ledger_is_away(const Engine *engine);

/* Whether the newest commit was not confirmed. */
bool engine_commit_has_failed(const Engine *engine);

/* A copy of a message, which outlives the engine's next event. */
typedef struct InspectedMessage {
        int32_t partition;
        int64_t offset;
        int64_t received_us, received_wall_us;
        bool saved;             /* below the fence */
        size_t topic, host, id; /* where they begin in Inspection.text; INSPECT_NONE: none */
        struct {
                InspectedHandler is; /* without run and detail, see below */
                bool runs;
                RunPhase phase;
                uint64_t run_id;
                size_t detail;
        } handlers[HANDLER_COUNT];
} InspectedMessage;

#define INSPECT_NONE SIZE_MAX

typedef struct Inspection {
        InspectedMessage *messages; /* the oldest first, by receipt */
        size_t n;
        size_t total;   /* messages that there are */
        size_t touched; /* partitions and messages that were looked at, to measure what it costs */
        Buffer text;    /* C strings */
} Inspection;

/* Copies the @most oldest messages. {0} at first. -ENOMEM. */
MUST_CHECK int inspect_messages(Inspection *inspection, const Engine *engine, size_t most);
void inspection_deinit(Inspection *inspection);

/* A string of the copy; NULL for INSPECT_NONE. */
const char *inspection_text(const Inspection *inspection, size_t at);
