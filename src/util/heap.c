#include "util/heap.h"

#include <assert.h>
#include <stdlib.h>

enum {
        HEAP_FIRST = 16, /* capacity at the first insertion */
};

void heap_node_init(HeapNode *node) {
        *node = (HeapNode){.index = SIZE_MAX};
}

bool heap_node_is_linked(const HeapNode *node) {
        return node->index != SIZE_MAX;
}

void heap_deinit(Heap *heap) {
        for (size_t i = 0; i < heap->size; i++) {
                heap->nodes[i]->index = SIZE_MAX;
        }
        free(heap->nodes);
        *heap = (Heap)HEAP_INIT;
}

static void heap_put(Heap *heap, size_t index, HeapNode *node) {
        heap->nodes[index] = node;
        node->index = index;
}

/* Moves @node, whose place is @index, towards the top until its parent is no higher. */
static void heap_raise(Heap *heap, size_t index, HeapNode *node) {
        while (index > 0) {
                size_t parent = (index - 1) / 2;
                if (heap->nodes[parent]->key <= node->key) {
                        break;
                }
                heap_put(heap, index, heap->nodes[parent]);
                index = parent;
        }
        heap_put(heap, index, node);
}

/* Moves @node, whose place is @index, downwards until no child is lower. */
static void heap_sink(Heap *heap, size_t index, HeapNode *node) {
        for (;;) {
                size_t child = index * 2 + 1;
                if (child >= heap->size) {
                        break;
                }
                if (child + 1 < heap->size &&
                    heap->nodes[child + 1]->key < heap->nodes[child]->key) {
                        child++;
                }
                if (node->key <= heap->nodes[child]->key) {
                        break;
                }
                heap_put(heap, index, heap->nodes[child]);
                index = child;
        }
        heap_put(heap, index, node);
}

static void heap_place(Heap *heap, size_t index, HeapNode *node) {
        if (index > 0 && node->key < heap->nodes[(index - 1) / 2]->key) {
                heap_raise(heap, index, node);
        } else {
                heap_sink(heap, index, node);
        }
}

int heap_insert(Heap *heap, HeapNode *node, int64_t key) {
        assert(!heap_node_is_linked(node));
        if (heap->size == heap->capacity) {
                size_t capacity = heap->capacity > 0 ? heap->capacity * 2 : HEAP_FIRST;
                HeapNode **nodes = reallocarray(heap->nodes, capacity, sizeof(HeapNode *));
                if (nodes == NULL) {
                        return error_origin(-ENOMEM);
                }
                heap->nodes = nodes;
                heap->capacity = capacity;
        }
        node->key = key;
        heap_raise(heap, heap->size++, node);
        return 0;
}

void heap_update(Heap *heap, HeapNode *node, int64_t key) {
        assert(node->index < heap->size && heap->nodes[node->index] == node);
        node->key = key;
        heap_place(heap, node->index, node);
}

void heap_remove(Heap *heap, HeapNode *node) {
        if (!heap_node_is_linked(node)) {
                return;
        }
        assert(node->index < heap->size && heap->nodes[node->index] == node);
        size_t hole = node->index;
        node->index = SIZE_MAX;
        HeapNode *last = heap->nodes[--heap->size];
        if (last != node) {
                heap_place(heap, hole, last);
        }
}

HeapNode *heap_first(const Heap *heap) {
        return heap->size > 0 ? heap->nodes[0] : NULL;
}
