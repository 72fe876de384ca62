#pragma once

/*
 * Delays before a retry, and the random numbers behind them.
 *
 * Exponential with full jitter: a uniform draw from zero to the ceiling spreads a herd better than
 * jitter around a fixed delay does, since nobody waits for the same instant.
 */

#include <stdint.h>

enum {
        BACKOFF_MIN_US = 1000, /* so that an unlucky draw is never a busy loop */
};

/* The next number of the sequence that *@state began with: the same on every machine, so that a
 * simulation can be repeated from its seed. Any seed will do, 0 included. Not for secrets. */
uint64_t random_next(uint64_t *state);

/*
 * Microseconds to wait before the retry after @attempt earlier ones (0: the first): uniform in
 * [0, min(@max_us, @base_us * 2^@attempt)], and never less than BACKOFF_MIN_US, even where @max_us
 * is. Any @attempt; nothing overflows.
 */
int64_t backoff_delay(int64_t base_us, int64_t max_us, unsigned attempt, uint64_t *random);
