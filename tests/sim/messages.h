#pragma once

/* Messages that are unusual, and what has to become of them: good ones in every spelling, and bad
 * ones of every kind. The world knows the answers by this table, not by the code under test. */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct OddMessage {
        const char *value;
        size_t size;
        const char *host; /* in its canonical form; NULL: it is rejected */
} OddMessage;

const OddMessage *odd_message(size_t i);
/* One of the good or of the bad ones: its number. */
size_t odd_pick(bool good, uint64_t dice);
