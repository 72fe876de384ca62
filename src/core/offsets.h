#pragma once

/*
 * The offsets of one assigned partition: which are in flight, which are resolved, and the watermark
 * below which all are.
 *
 * Model: a ring of the offsets admitted and not yet passed by the watermark, in their order. An
 * offset's place is its sequence number; offsets have gaps (compaction, transaction markers),
 * sequence numbers have none. Adding and resolving cost a few instructions each, whatever is in
 * flight.
 *
 * Invariants: admitted offsets strictly increase; the watermark never decreases; it never passes
 * an offset that was admitted and not resolved.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "util/error.h"

typedef struct Offsets {
        uint64_t *ring;    /* offset << 1 | resolved */
        size_t capacity;   /* a power of two, or 0 */
        uint64_t head;     /* sequence of the oldest one in the ring */
        uint64_t tail;     /* sequence of the next one */
        int64_t watermark; /* the offset to commit: everything below it is resolved */
} Offsets;

/* @start: nothing below it will be admitted; the first watermark. */
void offsets_init(Offsets *offsets, int64_t start);
void offsets_deinit(Offsets *offsets);

/* Admits @offset, which is higher than every one before; *@sequencep names it. -ENOMEM. */
MUST_CHECK int offsets_admit(Offsets *offsets, int64_t offset, uint64_t *sequencep);

/* Once for each one admitted. */
void offsets_resolve(Offsets *offsets, uint64_t sequence);

/* The oldest offset that is not resolved; -1: all are. */
int64_t offsets_oldest(const Offsets *offsets);

/* How many at or above the watermark are resolved: finished, and uncommitted because of an older
 * one. Walks over all of them. */
size_t offsets_stranded(const Offsets *offsets);

/* How many are admitted at or above the watermark, resolved or not: the ack gap. */
size_t offsets_gap(const Offsets *offsets);
