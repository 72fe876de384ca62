#pragma once

/* Messages that are unusual, and what has to become of them: good ones in every spelling, and bad
 * ones of every kind. The world knows the answers by this table, not by the code under test. */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
        ODD_BYTES_MAX = 12 * 1024,
};

typedef struct OddMessage {
        const char *value;
        size_t size;
        const char *host; /* in its canonical form; NULL: it is rejected */
        const char *more; /* each @ of the value is this, so many times; NULL: it is an @ */
        int times;
} OddMessage;

const OddMessage *odd_message(size_t i);
/* Returns its size, at most ODD_BYTES_MAX. */
size_t odd_write(const OddMessage *odd, char *to);
/* One of the good or of the bad ones: its number. */
size_t odd_pick(bool good, uint64_t dice);
