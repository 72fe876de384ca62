/* The consumer without a broker, or with one that refuses it; see kafka-client.h. */

#include "kafka-client.h"

#include "kafka/consumer_private.h"

static Client down, fenced;

static void look_committed(Client *client, Seen *seen) {
        int before = client->looked_committed;
        client->look = (ConsumerLookUp){0};
        assert_int_equal(consumer_look_committed(client->consumer, &seen->partition, 1), 0);
        wait_for(client->looked_committed == before + 1, 11);
}

static void test_fenced(void **state) {
        (void)state;
        Client *client = &fenced;
        wait_for(client->n_assigned == 1 && client->looked_up > 0, 15);
        for (int i = 0; client->fatals == 0 && i < 20; i++) {
                /* Heartbeat is request 12. */
                rd_kafka_mock_push_request_errors(world.cluster, 12, 1,
                                                  RD_KAFKA_RESP_ERR_FENCED_INSTANCE_ID);
                wait_ms(400);
        }
        assert_int_equal(client->fatals, 1);
        assert_int_equal(client->fenced, 1);
        rd_kafka_mock_clear_request_errors(world.cluster, 12);
        close_client(client, 5);
}

static void test_broker_down(void **state) {
        (void)state;
        Client *client = &down;
        open_client(client, world.servers, "down", "down", NULL, NULL);
        wait_for(client->n_assigned == 1 && client->looked_up > 0, 20);
        assert_true(consumer_is_up(client->consumer));
        int downs = logged.down, ups = logged.up;
        rd_kafka_mock_broker_set_down(world.cluster, 1);
        wait_for(!consumer_is_up(client->consumer), 10);
        wait_ms(1500);
        assert_int_equal(logged.down, downs + 1); /* told once */
        assert_int_equal(logged.up, ups);
        rd_kafka_mock_broker_set_up(world.cluster, 1);
        wait_for(consumer_is_up(client->consumer), 10);
        assert_int_equal(logged.up, ups + 1);
        wait_for(client->n_assigned == 1, 20);
        look_committed(client, &client->seen[0]);
        assert_true(client->look.ok);
        /* Gone for good: an answer comes all the same, and the close does not hang its owner. */
        rd_kafka_mock_broker_set_down(world.cluster, 1);
        int64_t began = loop_now();
        look_committed(client, &client->seen[0]);
        assert_false(client->look.ok);
        assert_true(loop_now() - began < 11 * SECOND);
        consumer_close(client->consumer);
        wait_ms(500);
        began = loop_now();
        consumer_free(client->consumer);
        assert_true(loop_now() - began < 4 * SECOND);
}

/* Nobody listens: close and free at once, in whatever state. */
static void test_no_broker(void **state) {
        (void)state;
        int downs = logged.down;
        Client client = {0}, unsubscribed = {0}, unclosed = {0};
        char *error = NULL;
        assert_int_equal(try_new(&unsubscribed, "127.0.0.1:1", "g", "t", NULL, NULL, &error), 0);
        close_client(&unsubscribed, 5);
        open_client(&unclosed, "127.0.0.1:1", "g", "t", NULL, NULL);
        int64_t began = loop_now();
        consumer_free(unclosed.consumer);
        assert_true(loop_now() - began < SECOND);
        open_client(&client, "127.0.0.1:1", "g", "t", NULL, NULL);
        wait_for(logged.down == downs + 1, 10);
        assert_false(consumer_is_up(client.consumer));
        assert_false(consumer_has_joined(client.consumer));
        close_client(&client, 5);
}

/* librdkafka tells once that a topic does not exist; an idle daemon would look healthy. */
static void test_no_topic(void **state) {
        (void)state;
        Client client = {0};
        rd_kafka_mock_broker_set_up(world.cluster, 1);
        rd_kafka_mock_topic_set_error(world.cluster, "nowhere",
                                      RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART);
        open_client(&client, world.servers, "lonely", "nowhere",
                    "topic.metadata.refresh.interval.ms", "500");
        wait_for(client.consumer->missing_us > 0, 20);
        int before = logged.missing;
        for (int i = 1; i <= 2; i++) {
                client.consumer->missing_us -= 60 * SECOND;
                wait_for(logged.missing == before + i, 10);
        }
        assert_int_equal(logged.not_joined, 0); /* for the same reason */
        rd_kafka_mock_topic_set_error(world.cluster, "nowhere", RD_KAFKA_RESP_ERR_NO_ERROR);
        client.consumer->missing_us -= 60 * SECOND;
        wait_for(!client.consumer->missing[0], 10);
        assert_int_equal(logged.missing, before + 2);
        assert_int_equal(logged.not_joined, 0);
        close_client(&client, 5);
}

/* A pattern that matches nothing is no error for librdkafka. */
static void test_no_match(void **state) {
        (void)state;
        Client client = {0};
        open_client(&client, world.servers, "lonely too", "^nothing-like-it", NULL, NULL);
        wait_for(consumer_is_up(client.consumer), 10);
        client.consumer->apart_us -= 60 * SECOND;
        wait_for(logged.not_joined == 1, 10);
        close_client(&client, 5);
}

static int setup(void **state) {
        (void)state;
        world_init();
        make_topic("down", 1);
        make_topic("fenced", 1);
        open_client(&fenced, world.servers, "fenced", "fenced", "group.instance.id", "one");
        return 0;
}

static int teardown(void **state) {
        (void)state;
        world_deinit();
        return 0;
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_fenced),    cmocka_unit_test(test_broker_down),
                cmocka_unit_test(test_no_broker), cmocka_unit_test(test_no_topic),
                cmocka_unit_test(test_no_match),
        };
        return cmocka_run_group_tests(tests, setup, teardown);
}
