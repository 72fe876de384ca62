/* See json_arena.h. What does not fit comes from malloc, so a long message is only slower. */

#include "core/json_arena.h"

#include <stdalign.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

enum {
        ARENA_BYTES = 32 * 1024, /* a request of 205 bytes takes 1.5 KiB */
        ARENA_ALIGN = alignof(max_align_t),
};

static _Thread_local struct {
        alignas(max_align_t) uint8_t data[ARENA_BYTES];
        size_t used;
        size_t outside; /* blocks of malloc's since json_arena_begin() */
        bool open;
} arena;

static void *arena_malloc(size_t size) {
        size_t room = (size + ARENA_ALIGN - 1) & ~(size_t)(ARENA_ALIGN - 1);
        if (!arena.open || room < size || room > ARENA_BYTES - arena.used) {
                arena.outside++;
                return malloc(size);
        }
        void *block = arena.data + arena.used;
        arena.used += room;
        return block;
}

static void arena_free(void *block) {
        uintptr_t at = (uintptr_t)block - (uintptr_t)arena.data;
        if (at >= ARENA_BYTES) {
                free(block);
        }
}

void json_arena_begin(void) {
        json_set_alloc_funcs(arena_malloc, arena_free);
        arena.used = arena.outside = 0;
        arena.open = true;
}

void json_arena_end(json_t *json) {
        if (arena.outside > 0) {
                json_decref(json);
        }
        arena.open = false;
}
