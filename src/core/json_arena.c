/* See json_arena.h. What does not fit comes from malloc, so a long message is only slower. */

#include "core/json_arena.h"

#include <setjmp.h>
#include <stdalign.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>

#include "util/list.h"

enum {
        ARENA_BYTES = 32 * 1024, /* a request of 205 bytes takes 1.5 KiB */
        ARENA_ALIGN = alignof(max_align_t),
};

/* What did not fit. */
typedef struct Block {
        List link;
        alignas(max_align_t) uint8_t data[];
} Block;

static _Thread_local struct {
        alignas(max_align_t) uint8_t data[ARENA_BYTES];
        size_t used; /* a multiple of ARENA_ALIGN */
        List blocks;
        jmp_buf no_memory;
        bool open; /* in json_arena_load() */
} arena;

static void *arena_malloc(size_t size) {
        if (!arena.open) {
                return malloc(size);
        }
        if (size <= ARENA_BYTES - arena.used) {
                void *room = arena.data + arena.used;
                arena.used += (size + ARENA_ALIGN - 1) & ~(size_t)(ARENA_ALIGN - 1);
                return room;
        }
        Block *block = malloc(sizeof(*block) + size);
        if (block == NULL) {
                longjmp(arena.no_memory, 1);
        }
        list_push_back(&arena.blocks, &block->link);
        return block->data;
}

static void arena_free(void *data) {
        uintptr_t at = (uintptr_t)data - (uintptr_t)arena.data;
        if (!arena.open) {
                free(data);
        } else if (at >= ARENA_BYTES) {
                Block *block = container_of(data, Block, data);
                list_unlink(&block->link);
                free(block);
        }
}

int json_arena_load(const char *text, size_t size, size_t flags, json_t **jsonp,
                    json_error_t *error) {
        json_set_alloc_funcs(arena_malloc, arena_free);
        list_init(&arena.blocks);
        arena.used = 0;
        arena.open = true;
        if (setjmp(arena.no_memory) != 0) {
                json_arena_clear();
                return error_origin(-ENOMEM);
        }
        *jsonp = json_loadb(text, size, flags, error);
        arena.open = false;
        return 0;
}

void json_arena_clear(void) {
        arena.open = false;
        list_for_each_safe(link, &arena.blocks) {
                free(container_of(link, Block, link));
        }
        list_init(&arena.blocks);
}
