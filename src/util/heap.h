#pragma once

/*
 * A binary min-heap of embedded nodes: what is due first stands first. Inserting, moving and
 * removing cost O(log n). The heap owns nothing but its array, which never shrinks.
 *
 * Invariant: nodes[i]->index == i for every node in it; a node that is in no heap has SIZE_MAX
 * there. Equal keys come out in an order that depends only on what was done before, so a run can be
 * repeated.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "util/error.h"

typedef struct HeapNode {
        int64_t key;  /* changed only by heap_insert() and heap_update() */
        size_t index; /* SIZE_MAX: in no heap */
} HeapNode;

typedef struct Heap {
        HeapNode **nodes;
        size_t size;
        size_t capacity;
} Heap;

#define HEAP_INIT                                                                                  \
        { 0 }

/* The nodes that are still in it are taken out. */
void heap_deinit(Heap *heap);

void heap_node_init(HeapNode *node);
bool heap_node_is_linked(const HeapNode *node);

/* @node is in no heap. -ENOMEM, and then nothing changed. */
MUST_CHECK int heap_insert(Heap *heap, HeapNode *node, int64_t key);

/* @node is in this heap. */
void heap_update(Heap *heap, HeapNode *node, int64_t key);

/* Does nothing when @node is in no heap. */
void heap_remove(Heap *heap, HeapNode *node);

/* The node with the lowest key, which stays where it is; NULL: the heap is empty. */
HeapNode *heap_first(const Heap *heap);
