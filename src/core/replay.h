#pragma once

/*
 * A replay: a rejected message that an operator had produced again. Its header names the row of the
 * table `rejected` that it stands for, and only that row, never the header, says which handlers are
 * done; docs/rejected.md explains it. What is asked of the row, and what it says, in words that the
 * engine, PostgreSQL's side (pg/replays.h) and the simulation share.
 */

#include <stddef.h>
#include <stdint.h>

#include "util/error.h"
#include "util/sha256.h"

#define REPLAY_HEADER_NAME "ackd-replay"

enum {
        REPLAY_DETAIL_MAX = 256, /* bytes of ReplayAnswer.detail with its NUL */
        REPLAY_QUESTIONS_MAX = 500,
};

/* A message, as the tables name it: partitions.id and offset. */
typedef struct ReplayPlace {
        int32_t source;
        int64_t offset;
} ReplayPlace;

typedef enum ReplayHeader {
        REPLAY_HEADER_NONE,
        REPLAY_HEADER_FOUND,
        REPLAY_HEADER_MALFORMED, /* there, but not SOURCE/OFFSET in decimal */
} ReplayHeader;

/* Looks for the header in Record.headers; of several the last one counts, as usual with Kafka's. A
 * message without it costs one search for its name. Any bytes do no harm. */
ReplayHeader replay_header_read(const char *headers, size_t size, ReplayPlace *place);

/* What the row says to the message that names it. */
typedef enum ReplayVerdict {
        REPLAY_OURS,    /* it stands for the row, now or since before: what is not done runs */
        REPLAY_TAKEN,   /* another message does: this one is its duplicate */
        REPLAY_DROPPED, /* the operator dropped the row: nothing is to be done */
        REPLAY_LATER,   /* it stands for the row, whose restart still runs: to be asked again */
        REPLAY_UNKNOWN, /* the same, and nobody knows how that restart ended: none starts for it */
        REPLAY_STRAY,   /* no such row, or one of another group or cluster: an ordinary message */
        REPLAY_VERDICTS,
} ReplayVerdict;

/* "ours"; static. */
const char *replay_verdict_name(ReplayVerdict verdict);

typedef struct ReplayAnswer {
        ReplayVerdict verdict;
        /* REPLAY_OURS, REPLAY_UNKNOWN: */
        unsigned done;       /* handlers that are done: 1 << HandlerId */
        int64_t first_us;    /* when the message was received first, as the row knows, and */
        int64_t produced_us; /* Kafka's timestamp of that; -1: none. µs since 1970, as */
        int64_t received_us; /* when the replay was received first, by whichever daemon */
        char detail[REPLAY_DETAIL_MAX]; /* for people, one line: by what it is taken, … */
} ReplayAnswer;
