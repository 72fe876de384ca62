#include "core/backoff.h"

uint64_t random_next(uint64_t *state) {
        /* SplitMix64 (Steele, Lea, Flood 2014): a counter and a mixing function, so every seed has
         * the full period. */
        uint64_t z = *state += 0x9e3779b97f4a7c15U;
        z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9U;
        z = (z ^ (z >> 27)) * 0x94d049bb133111ebU;
        return z ^ (z >> 31);
}

int64_t backoff_delay(int64_t base_us, int64_t max_us, unsigned attempt, uint64_t *random) {
        int64_t ceiling = max_us;
        if (base_us <= 0) {
                ceiling = 0;
        } else if (attempt < 63 && base_us <= max_us >> attempt) {
                ceiling = base_us << attempt;
        }
        /* Drawn in any case, so that a changed setting doesn't shift the sequence of everything
         * else. The bias of the remainder is about @ceiling / 2^64: no delay shows it. */
        uint64_t draw = random_next(random);
        int64_t delay = ceiling > 0 ? (int64_t)(draw % ((uint64_t)ceiling + 1)) : 0;
        return delay > BACKOFF_MIN_US ? delay : BACKOFF_MIN_US;
}
