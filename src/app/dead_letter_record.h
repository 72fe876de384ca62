#pragma once

/*
 * A row of the outbox as a record of the dead-letter topic: key, value and headers as they came,
 * and behind them headers of ours that say why, where from, and what is done. docs/rejected.md has
 * the list.
 */

#include <stdbool.h>

#include "app/headers.h"
#include "pg/outbox.h"
#include "util/error.h"
#include "util/sha256.h"

/* What is the same for all; borrowed. */
typedef struct DeadLetterFrom {
        const char *topic; /* the dead-letter topic */
        const char *group, *instance;
} DeadLetterFrom;

typedef struct DeadLetterRecord {
        ProducerMessage message; /* points into the rest and into the row */
        Headers headers;
        char offset[24], source[24];
        char omitted[64 + SHA256_TEXT_SIZE];
} DeadLetterRecord;

/* Into a zeroed one. @omit: without its value, whose size and SHA-256 a header gives instead; then,
 * and where the value is not known any more, it is empty and not null: a null one would delete the
 * key in a compacted topic. Headers that are not as they should be are left out, and a header says
 * so. -ENOMEM: to be deinited all the same. */
MUST_CHECK int dead_letter_record_init(DeadLetterRecord *record, const OutboxRow *row,
                                       const DeadLetterFrom *from, bool omit);
void dead_letter_record_deinit(DeadLetterRecord *record);
