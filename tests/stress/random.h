#pragma once

/* xorshift64*: each thread has its own, so that a seed says what each of them wants to do. */

#include <stdbool.h>
#include <stdint.h>

static inline uint64_t random_next(uint64_t *state) {
        uint64_t x = *state != 0 ? *state : UINT64_C(0x9e3779b97f4a7c15);
        x ^= x >> 12;
        x ^= x << 25;
        x ^= x >> 27;
        *state = x;
        return x * UINT64_C(0x2545f4914f6cdd1d);
}

/* 0 to @n - 1. */
static inline unsigned random_below(uint64_t *state, unsigned n) {
        return (unsigned)((random_next(state) >> 33) % n);
}

static inline bool random_percent(uint64_t *state, unsigned percent) {
        return random_below(state, 100) < percent;
}
