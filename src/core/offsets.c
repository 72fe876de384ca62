#include "core/offsets.h"

#include <assert.h>
#include <stdlib.h>

enum {
        OFFSETS_FIRST = 64, /* capacity when the first one is admitted */
};

static uint64_t *offsets_at(const Offsets *offsets, uint64_t sequence) {
        return &offsets->ring[sequence & (offsets->capacity - 1)];
}

void offsets_init(Offsets *offsets, int64_t start) {
        *offsets = (Offsets){.watermark = start};
}

void offsets_deinit(Offsets *offsets) {
        free(offsets->ring);
        *offsets = (Offsets){0};
}

/* Doubles the ring. A sequence keeps its meaning, only its place moves. */
static int offsets_grow(Offsets *offsets) {
        Offsets grown = *offsets;
        grown.capacity = offsets->capacity > 0 ? offsets->capacity * 2 : OFFSETS_FIRST;
        if (grown.capacity > SIZE_MAX / sizeof(*grown.ring)) {
                return error_origin(-ENOMEM);
        }
        grown.ring = malloc(grown.capacity * sizeof(*grown.ring));
        if (grown.ring == NULL) {
                return error_origin(-ENOMEM);
        }
        for (uint64_t s = offsets->head; s != offsets->tail; s++) {
                *offsets_at(&grown, s) = *offsets_at(offsets, s);
        }
        free(offsets->ring);
        *offsets = grown;
        return 0;
}

int offsets_admit(Offsets *offsets, int64_t offset, uint64_t *sequencep) {
        assert(offset >= offsets->watermark);
        assert(offsets->head == offsets->tail ||
               (uint64_t)offset > *offsets_at(offsets, offsets->tail - 1) >> 1);
        if (offsets->tail - offsets->head == offsets->capacity) {
                int r = offsets_grow(offsets);
                if (r != 0) {
                        return r;
                }
        }
        *sequencep = offsets->tail;
        *offsets_at(offsets, offsets->tail++) = (uint64_t)offset << 1;
        return 0;
}

void offsets_resolve(Offsets *offsets, uint64_t sequence) {
        assert(sequence - offsets->head < offsets->tail - offsets->head);
        uint64_t *entry = offsets_at(offsets, sequence);
        assert((*entry & 1) == 0);
        *entry |= 1;

        /* Each one is passed once, so a long run of these costs no more than its admissions did. */
        while (offsets->head != offsets->tail) {
                uint64_t oldest = *offsets_at(offsets, offsets->head);
                if ((oldest & 1) == 0) {
                        break;
                }
                offsets->watermark = (int64_t)(oldest >> 1) + 1;
                offsets->head++;
        }
}

int64_t offsets_oldest(const Offsets *offsets) {
        if (offsets->head == offsets->tail) {
                return -1;
        }
        return (int64_t)(*offsets_at(offsets, offsets->head) >> 1);
}

size_t offsets_gap(const Offsets *offsets) {
        return offsets->tail - offsets->head;
}

size_t offsets_stranded(const Offsets *offsets) {
        size_t n = 0;
        for (uint64_t i = offsets->head; i < offsets->tail; i++) {
                n += offsets->ring[i & (offsets->capacity - 1)] & 1;
        }
        return n;
}
