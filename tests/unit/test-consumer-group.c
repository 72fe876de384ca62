/* The consumer in a group: rebalances, eager and cooperative, and closing; see kafka-client.h. */

#include "kafka-client.h"

static Client eager_first, eager_second, cooperative_first, cooperative_second, closing, held;

/* The second joins a group that reads; the first drains for longer than the session; every
 * message comes exactly once to those who commit; what comes back is read again. */
static void rebalance(Client *first, Client *second, const char *group, const char *topic,
                      const char *strategy, bool all) {
        wait_for(first->n_assigned == 4, 15);
        for (int32_t i = 0; i < 4; i++) {
                produce(topic, i, 100);
        }
        wait_for(received(first) == 400, 10);
        first->from_commit = second->from_commit = true;
        first->hold = true;
        open_client(second, world.servers, group, topic, "partition.assignment.strategy", strategy);
        wait_for(first->revoke_waits, 15);
        assert_int_equal(first->n_assigned, all ? 0 : 2);
        /* While it waits, nothing moves; commits still go through. */
        for (int32_t i = 0; i < 4; i++) {
                produce(topic, i, 10);
        }
        int64_t before = received(first);
        wait_ms(1000);
        if (all) {
                assert_int_equal(received(first), before);
        }
        assert_int_equal(second->n_assigned, 0);
        first->hold = false;
        let_go(first);
        wait_for(first->n_assigned == 2 && second->n_assigned == 2, 20);
        wait_for(received(second) >= 220, 10);
        /* What the second had comes back, and is read. */
        close_client(second, 10);
        wait_for(first->n_assigned == 4, 20);
        int64_t next = 110;
        produce(topic, 0, 1);
        produce(topic, 1, 1);
        produce(topic, 2, 1);
        produce(topic, 3, 1);
        for (size_t i = 0; i < 4; i++) {
                wait_for(first->seen[i].next == next + 1, 10);
        }
        close_client(first, 10);
}

static void test_rebalance(void **state) {
        (void)state;
        rebalance(&eager_first, &eager_second, "eager", "eager", "range", true);
}

static void test_rebalance_cooperative(void **state) {
        (void)state;
        rebalance(&cooperative_first, &cooperative_second, "cooperative", "cooperative",
                  "cooperative-sticky", false);
}

static void test_close(void **state) {
        (void)state;
        /* While joining. */
        Client joining = {0};
        open_client(&joining, world.servers, "joining", "closing", NULL, NULL);
        wait_ms(1000);
        close_client(&joining, 10);
        assert_int_equal(joining.assignments, 0);
        /* With partitions: they are revoked first, and that may wait. */
        Client *client = &closing;
        wait_for(client->n_assigned == 2, 15);
        client->hold = true;
        consumer_close(client->consumer);
        consumer_close(client->consumer);
        wait_for(client->revoke_waits, 5);
        wait_ms(300);
        assert_int_equal(client->closed, 0);
        let_go(client);
        close_client(client, 10);
        assert_int_equal(client->revokes, 1);
        /* Never answered: it is freed all the same. */
        client = &held;
        wait_for(client->n_assigned == 2, 15);
        client->hold = true;
        consumer_close(client->consumer);
        wait_for(client->revoke_waits, 5);
        int64_t began = loop_now();
        consumer_free(client->consumer);
        assert_true(loop_now() - began < SECOND);
}

static int setup(void **state) {
        (void)state;
        world_init();
        make_topic("eager", 4);
        make_topic("cooperative", 4);
        make_topic("closing", 2);
        make_topic("held", 2);
        open_client(&eager_first, world.servers, "eager", "eager", "partition.assignment.strategy",
                    "range");
        open_client(&cooperative_first, world.servers, "cooperative", "cooperative",
                    "partition.assignment.strategy", "cooperative-sticky");
        open_client(&closing, world.servers, "closing", "closing", NULL, NULL);
        open_client(&held, world.servers, "held", "held", NULL, NULL);
        return 0;
}

static int teardown(void **state) {
        (void)state;
        world_deinit();
        return 0;
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_close),
                cmocka_unit_test(test_rebalance),
                cmocka_unit_test(test_rebalance_cooperative),
        };
        return cmocka_run_group_tests(tests, setup, teardown);
}
