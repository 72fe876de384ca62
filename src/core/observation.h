#pragma once

/*
 * What goes into the engine and comes out of it, flat: no pointer into the engine, so that it can
 * be written down, read again, and judged by somebody who does not believe the engine's own books.
 *
 * EngineConfig.observe is called for every event before the engine looks at it, for every action
 * when it is taken, and when no action is left. The simulation judges each one; the daemon writes
 * them to a file when ACKD_TAPE names one (app/tape.h), and the same judge reads that.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef enum ObservationType {
        /* events, in the order of engine.h */
        OBSERVED_TICK,
        OBSERVED_ASSIGNED,      /* */
        OBSERVED_LOOKED_UP,     /* a: committed, b: ours, c: low, d: high; ok */
        OBSERVED_SOURCE_READ,   /* a: source or -1, b: fence, c: it moved, d: decided; ok; items:
                                offsets that are rejected already */
        OBSERVED_ADOPTED,       /* kind: AdoptEnd, a: source */
        OBSERVED_SOUGHT,        /* ok */
        OBSERVED_RESUMED,       /* ok */
        OBSERVED_VANISHED,      /* */
        OBSERVED_OUT_OF_RANGE,  /* */
        OBSERVED_FETCHED,       /* offset, a: size of the value, -1: none; b: it is a replay of c, a
                                   source, and d, an offset */
        OBSERVED_ENDED,         /* offset: the end */
        OBSERVED_SAVED,         /* id: batch, kind: BatchEnd */
        OBSERVED_DATABASE_UP,   /* */
        OBSERVED_FENCES_READ,   /* id: batch, ok; items: parts, offset: the fence */
        OBSERVED_SAVED_EACH,    /* id: batch, kind: BatchEnd; items: refused rows, a: source */
        OBSERVED_REPLAYS_READ,  /* ok: answered; items: the questions, offset: of the message, a:
                                   its source, b: ReplayVerdict, c: handlers done, d: whether it
                                   is still in the engine */
        OBSERVED_CHECKED,       /* id: run, kind: CheckResult, ok: with a `before` */
        OBSERVED_CLAIMED,       /* id: run, kind: LedgerVerdict, -1: none; ok: with a `before`,
                                   a: LedgerEnd, b: LedgerReason, c: the row's id, d: again_us;
                                   numbers: renewed */
        OBSERVED_TOO_LATE,      /* id: run */
        OBSERVED_RESTARTED,     /* id: run, kind: Outcome, ok: charged, a: Run.retry_after_us */
        OBSERVED_ACTED,         /* id: run, kind: LedgerEnd */
        OBSERVED_VERIFIED,      /* id: run, kind: VerifyResult */
        OBSERVED_CONCLUDED,     /* id: run, kind: LedgerEnd, ok: the row says so, a: LedgerState */
        OBSERVED_HOLDS_CHANGED, /* */
        OBSERVED_COMMITTED_SEEN, /* ok; items: entries, offset: what Kafka has, a: ok */
        OBSERVED_COMMITTED,      /* the same */
        OBSERVED_REVOKED,        /* ok: not lost; items */
        OBSERVED_STOP,           /* */
        OBSERVED_RELEASE,        /* */
        OBSERVED_FLUSH,          /* */
        /* what comes out */
        OBSERVED_ACTION, /* kind: EngineActionType; see observe_action() for each */
        OBSERVED_QUIET,  /* no action is left; items: the partitions, offset: watermark,
                            a: committed, b: in the ack gap, c: state, d: held; numbers */
        OBSERVED_TYPES,
} ObservationType;

/* Of a message, a part of a batch, an entry of a commit or a partition. */
typedef struct ObservedItem {
        uint64_t epoch;
        int32_t partition;
        int64_t offset;
        int64_t a, b, c, d;
} ObservedItem;

enum {
        OBSERVED_NUMBERS = 16,
};

/* Of OBSERVED_QUIET, in this order. */
typedef enum ObservedNumber {
        NUMBER_IN_FLIGHT,
        NUMBER_BYTES,
        NUMBER_WAITING,
        NUMBER_RUNS,
        NUMBER_BATCHES, /* under way */
        NUMBER_READING,
        NUMBER_DEADLINE,
        NUMBER_RECEIVED,
        NUMBER_FINISHED, /* and the next: as Finish */
} ObservedNumber;

typedef struct Observation {
        ObservationType type;
        int kind;
        bool ok;
        int64_t now;
        int32_t partition; /* with `epoch`: which one; -1: none */
        uint64_t epoch;    /* of an assignment; unique in the process */
        int64_t offset;
        uint64_t id; /* of a batch or a run; unique in the process, each among its like */
        int64_t a, b, c, d;
        const char *text; /* the topic of `partition`; of a run its host; NULL: none */
        const ObservedItem *items;
        size_t n_items;
        int64_t numbers[OBSERVED_NUMBERS];
} Observation;

/* Everything is borrowed for the call. */
typedef void (*Observe)(void *observer, const Observation *observation);
