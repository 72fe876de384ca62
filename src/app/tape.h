#pragma once

/*
 * The tape: every observation of the engine (core/observation.h) as a line of a file, for tests and
 * for reports of bugs. tests/sim/tape-read.h reads it, sim-judge judges it.
 *
 *      ackd-tape 1
 *      limits concurrency=8 in_flight=10000 …
 *      fetched 81234567 p0 e1 o17 a43 ttopic
 *      >save 81234700 i1 [0,1,17] [0,1,0,17,18,0,1]
 *      >restart 81234702 i1 ta.example.com [0,1,17]
 *
 * A word, for an action with > before it; the time; then what is not 0: k kind (not of an action),
 * + ok, p partition (when there is one), e epoch, o offset, i id, a b c d, n numbers, t text; and
 * the items, partition,epoch,offset,a,b,c,d, each without the zeros at its end.
 */

#include "core/engine.h"

enum {
        TAPE_FORMAT = 1,
        TAPE_ACTIONS = ENGINE_NOTE + 1,
};

extern const char *const tape_words[OBSERVED_TYPES];      /* OBSERVED_ACTION: NULL */
extern const char *const tape_action_words[TAPE_ACTIONS]; /* without > */

/* What the header says of the engine's configuration: whatever is a number or a bool there. */
typedef struct TapeLimit {
        const char *name; /* NULL: the end */
        size_t at, size;  /* in EngineConfig */
} TapeLimit;

extern const TapeLimit tape_limits[];
int64_t tape_limit_get(const TapeLimit *limit, const EngineConfig *config);
void tape_limit_set(const TapeLimit *limit, EngineConfig *config, int64_t value);

typedef struct Tape Tape;

/*
 * Begins the file NAME.PID, which must not be there: several daemons, and the lives of one, may
 * have the same NAME. -ENOMEM; TAPE_E_OPEN: *@errorp is a malloc'd sentence.
 */
enum {
        TAPE_E_OPEN = 1,
};
MUST_CHECK int tape_new(Tape **tapep, const char *name, const EngineConfig *config, char **errorp);

/* EngineConfig.observe; the observer is the Tape. The lines are in the file when it is freed, and
 * before, about ten times a second, whenever the engine has no action left. */
void tape_observe(void *tape, const Observation *seen);

/* NULL is allowed. 0, or the errno of what could not be written: the file is cut there. */
int tape_free(Tape *tape);
