#include "test.h"

#include <stdlib.h>

#include "util/heap.h"
#include "util/list.h"

typedef struct Timer {
        int name;
        HeapNode node;
} Timer;

static void check(const Heap *heap) {
        for (size_t i = 0; i < heap->size; i++) {
                assert_int_equal(heap->nodes[i]->index, i);
                if (i > 0) {
                        assert_true(heap->nodes[(i - 1) / 2]->key <= heap->nodes[i]->key);
                }
        }
}

static void test_order(void **state) {
        (void)state;
        Heap heap = HEAP_INIT;
        Timer timers[200];
        srand(1);
        for (int i = 0; i < 200; i++) {
                timers[i].name = i;
                heap_node_init(&timers[i].node);
                assert_false(heap_node_is_linked(&timers[i].node));
                assert_int_equal(heap_insert(&heap, &timers[i].node, rand() % 50 - 25), 0);
                assert_true(heap_node_is_linked(&timers[i].node));
                check(&heap);
        }
        int64_t last = INT64_MIN;
        for (int i = 0; i < 200; i++) {
                HeapNode *first = heap_first(&heap);
                assert_non_null(first);
                assert_true(first->key >= last);
                last = first->key;
                Timer *timer = container_of(first, Timer, node);
                assert_ptr_equal(timer, &timers[timer->name]);
                heap_remove(&heap, first);
                assert_false(heap_node_is_linked(first));
                check(&heap);
        }
        assert_null(heap_first(&heap));
        heap_deinit(&heap);
}

static void test_moves_and_removals_anywhere(void **state) {
        (void)state;
        enum { N = 100 };
        Heap heap = HEAP_INIT;
        HeapNode nodes[N];
        for (int i = 0; i < N; i++) {
                heap_node_init(&nodes[i]);
        }
        srand(2);
        for (int step = 0; step < 20000; step++) {
                HeapNode *node = &nodes[rand() % N];
                if (!heap_node_is_linked(node)) {
                        assert_int_equal(heap_insert(&heap, node, rand()), 0);
                } else if (rand() % 2 == 0) {
                        heap_update(&heap, node, rand());
                } else {
                        heap_remove(&heap, node);
                }
                check(&heap);
                int64_t lowest = INT64_MAX;
                size_t size = 0;
                for (int i = 0; i < N; i++) {
                        if (heap_node_is_linked(&nodes[i])) {
                                size++;
                                lowest = nodes[i].key < lowest ? nodes[i].key : lowest;
                        }
                }
                assert_int_equal(heap.size, size);
                assert_true(size == 0 ? heap_first(&heap) == NULL
                                      : heap_first(&heap)->key == lowest);
        }
        heap_deinit(&heap);
}

static void test_removing_what_is_not_in_it(void **state) {
        (void)state;
        Heap heap = HEAP_INIT;
        HeapNode node;
        heap_node_init(&node);
        heap_remove(&heap, &node);
        assert_int_equal(heap_insert(&heap, &node, 1), 0);
        heap_remove(&heap, &node);
        heap_remove(&heap, &node);
        assert_int_equal(heap.size, 0);
        heap_deinit(&heap);
}

static void test_deinit_lets_the_nodes_go(void **state) {
        (void)state;
        Heap heap = HEAP_INIT;
        HeapNode a, b;
        heap_node_init(&a);
        heap_node_init(&b);
        assert_int_equal(heap_insert(&heap, &a, INT64_MAX), 0);
        assert_int_equal(heap_insert(&heap, &b, INT64_MIN), 0);
        assert_ptr_equal(heap_first(&heap), &b);
        heap_deinit(&heap);
        assert_false(heap_node_is_linked(&a));
        assert_false(heap_node_is_linked(&b));
        assert_null(heap_first(&heap));
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_order),
                cmocka_unit_test(test_moves_and_removals_anywhere),
                cmocka_unit_test(test_removing_what_is_not_in_it),
                cmocka_unit_test(test_deinit_lets_the_nodes_go),
        };
        return cmocka_run_group_tests(tests, NULL, NULL);
}
