/* The consumer against a broker that works; see kafka-client.h. */

#include "kafka-client.h"
#include "kafka/consumer_private.h"

enum {
        MANY = 20000, /* messages of the test of back-pressure */
};

static Client messages, many, seeks, range, sticky;

static void test_settings(void **state) {
        (void)state;
        Client client = {0};
        char *error = NULL;
        assert_int_equal(try_new(&client, "127.0.0.1:1", "g", "t", "no.such.thing", "1", &error),
                         CONSUMER_E_CONFIG);
        assert_non_null(strstr(error, "kafka.no.such.thing: "));
        free(error);
        error = NULL;
        assert_int_equal(try_new(&client, "127.0.0.1:1", "g", "t", "session.timeout.ms", "10s",
                                 &error),
                         CONSUMER_E_CONFIG);
        assert_non_null(strstr(error, "kafka.session.timeout.ms: 10s would be taken as 10"));
        free(error);
        error = NULL;
        assert_int_equal(try_new(&client, "127.0.0.1:1", "", "t", NULL, NULL, &error),
                         CONSUMER_E_CONFIG);
        assert_non_null(strstr(error, "kafka.group.id"));
        free(error);
        error = NULL;
        assert_int_equal(try_new(&client, "127.0.0.1:1", "g", "^(", NULL, NULL, &error),
                         CONSUMER_E_CONFIG);
        assert_non_null(strstr(error, "consume.topics: \"^(\""));
        free(error);
        error = NULL;
        assert_int_equal(try_new(&client, "", "g", "t", NULL, NULL, &error), CONSUMER_E_CONFIG);
        assert_non_null(strstr(error, "kafka.bootstrap.servers"));
        free(error);
        /* What ackd owns stays its own, whatever is set. */
        assert_int_equal(try_new(&client, "127.0.0.1:1", "g", "^t", "enable.auto.commit", "true",
                                 &error),
                         0);
        close_client(&client, 5);
        consumer_free(NULL);
}

static void add_line(void *user, const char *setting, const char *error) {
        Buffer *lines = user;
        assert_int_equal(buffer_printf(lines, "%s| %s\n", setting != NULL ? setting : "-", error),
                         0);
}

/* Everything that is wrong is told, the producer's settings too. */
static void test_check(void **state) {
        (void)state;
        Buffer lines = BUFFER_INIT;
        ConsumerSetting settings[] = {
                {"no.such.thing", "1"},
                {"session.timeout.ms", "10s"},
                {"linger.ms", "often"},
                {"bootstrap.servers", ""},
        };
        const char *const topics[] = {"t", "^(", "^[", NULL};
        ConsumerOptions options = {.settings = settings,
                                   .n_settings = sizeof(settings) / sizeof(settings[0]),
                                   .topics = topics,
                                   .queue_bytes = 1 << 20};
        assert_int_equal(consumer_check(&options, add_line, &lines), CONSUMER_E_CONFIG);
        static const char *const expected[] = {
                "group.id| kafka.group.id: it is needed",
                "bootstrap.servers| kafka.bootstrap.servers: it is needed",
                "-| consume.topics: \"^(\" is no regular expression: ",
                "-| consume.topics: \"^[\" is no regular expression: ",
                "no.such.thing| kafka.no.such.thing: ",
                "session.timeout.ms| kafka.session.timeout.ms: 10s would be taken as 10",
                "linger.ms| kafka.linger.ms: ",
        };
        const char *text = buffer_string(&lines);
        assert_non_null(text);
        for (size_t i = 0; i < sizeof(expected) / sizeof(expected[0]); i++) {
                assert_memory_equal(text, expected[i], strlen(expected[i]));
                text = strchr(text, '\n');
                assert_non_null(text);
                text++;
        }
        assert_string_equal(text, "");
        buffer_clear(&lines);
        settings[0] = (ConsumerSetting){"group.id", "g"};
        settings[1].value = "10000";
        settings[2].value = "10";
        settings[3] = (ConsumerSetting){"metadata.broker.list", "127.0.0.1:1"};
        options.topics = (const char *const[]){"t", "^t", NULL};
        assert_int_equal(consumer_check(&options, add_line, &lines), 0);
        assert_int_equal(lines.size, 0);
        buffer_deinit(&lines);
}

static void expect_setting(const Client *client, const char *name, const char *expected) {
        char value[64];
        size_t size = sizeof(value);
        assert_int_equal(rd_kafka_conf_get(rd_kafka_conf(client->consumer->rk), name, value, &size),
                         RD_KAFKA_CONF_OK);
        assert_string_equal(value, expected);
}

/* What librdkafka works with, asked of itself: a cap that it does not know is memory without a
 * limit. */
static void test_owned_settings(void **state) {
        (void)state;
        static const ConsumerSetting asked[] = {
                {"bootstrap.servers", "127.0.0.1:1"}, {"group.id", "g"},
                {"queued.min.messages", "1000000"},   {"queued.max.messages.kbytes", "2000000"},
                {"fetch.max.bytes", "104857600"},     {"enable.auto.commit", "true"},
                {"enable.auto.offset.store", "true"}, {"auto.offset.reset", "latest"},
                {"enable.partition.eof", "false"},    {"log.queue", "false"},
        };
        static const ConsumerSetting owned[] = {
                {"queued.min.messages", "20000"}, {"queued.max.messages.kbytes", "16384"},
                {"fetch.max.bytes", "8388608"},   {"enable.auto.commit", "false"},
                {"auto.offset.reset", "error"},   {"enable.auto.offset.store", "false"},
                {"enable.partition.eof", "true"}, {"log.queue", "true"},
        };
        static const char *const topics[] = {"t", NULL};
        const ConsumerOptions options = {.settings = asked,
                                         .n_settings = sizeof(asked) / sizeof(asked[0]),
                                         .topics = topics,
                                         .queue_bytes = 16 << 20};
        Client client = {0};
        char *error = NULL;
        assert_int_equal(consumer_new(&client.consumer, &world.loop, NULL, &options, &events,
                                      &client, &error),
                         0);
        for (size_t i = 0; i < sizeof(owned) / sizeof(owned[0]); i++) {
                expect_setting(&client, owned[i].name, owned[i].value);
        }
        close_client(&client, 5);
}

/* A fetch must have room for the largest message, or librdkafka refuses the configuration. */
static void test_fetch_takes_the_largest_message(void **state) {
        (void)state;
        Client client = {0};
        char *error = NULL;
        assert_int_equal(try_new(&client, "127.0.0.1:1", "g", "t", "message.max.bytes", "20000000",
                                 &error),
                         0);
        expect_setting(&client, "fetch.max.bytes", "20000000");
        close_client(&client, 5);
}

static void test_message(void **state) {
        (void)state;
        Client *client = &messages;
        rd_kafka_headers_t *headers = rd_kafka_headers_new(4);
        rd_kafka_header_add(headers, "trace", -1, "a\"b", -1);
        rd_kafka_header_add(headers, "raw", -1, "\xff\x00", 2);
        rd_kafka_header_add(headers, "none", -1, NULL, 0);
        wait_for(client->n_assigned == 1, 15);
        rd_kafka_producev(world.rk, RD_KAFKA_V_TOPIC("messages"), RD_KAFKA_V_KEY("k", 1),
                          RD_KAFKA_V_VALUE("v\0w", 3), RD_KAFKA_V_MSGFLAGS(RD_KAFKA_MSG_F_COPY),
                          RD_KAFKA_V_TIMESTAMP(INT64_C(1700000000123)), RD_KAFKA_V_HEADERS(headers),
                          RD_KAFKA_V_END);
        rd_kafka_flush(world.rk, 5000);
        wait_for(received(client) == 1, 5);
        assert_string_equal(client->key, "k");
        assert_int_equal(client->value_size, 3);
        assert_memory_equal(client->value, "v\0w", 3);
        assert_int_equal(client->timestamp_us, INT64_C(1700000000123000));
        assert_string_equal(client->headers,
                            "[[\"trace\",\"a\\\"b\"],[\"raw\",{\"base64\":\"/wA=\"}],"
                            "[\"none\",null]]");
        /* A tombstone without a key or headers. */
        rd_kafka_producev(world.rk, RD_KAFKA_V_TOPIC("messages"), RD_KAFKA_V_VALUE(NULL, 0),
                          RD_KAFKA_V_END);
        rd_kafka_flush(world.rk, 5000);
        wait_for(received(client) == 2, 5);
        assert_false(client->has_key);
        assert_false(client->has_value);
        assert_null(client->headers);
        assert_true(consumer_is_up(client->consumer));
        assert_true(consumer_has_joined(client->consumer));
        assert_non_null(consumer_cluster_id(client->consumer));
        wait_for(consumer_high(client->consumer, client->seen[0].partition) == 2, 5);
        assert_int_equal(client->seen[0].ended,
                         0); /* where messages end, they tell it themselves */
}

static void commit(Client *client, Seen *seen, int64_t offset) {
        int before = client->committed;
        ConsumerOffset one = {.partition = seen->partition, .offset = offset};
        assert_int_equal(consumer_commit(client->consumer, &one, 1), 0);
        assert_int_equal(client->committed, before); /* never from inside */
        wait_for(client->committed == before + 1, 10);
}

static void look_committed(Client *client, Seen *seen) {
        int before = client->looked_committed;
        client->look = (ConsumerLookUp){0};
        assert_int_equal(consumer_look_committed(client->consumer, &seen->partition, 1), 0);
        wait_for(client->looked_committed == before + 1, 11);
}

static void test_commit(void **state) {
        (void)state;
        Client *client = &messages;
        Seen *seen = &client->seen[0];
        look_committed(client, seen);
        assert_true(client->look.ok);
        assert_int_equal(client->look.committed, -1);
        commit(client, seen, 2);
        assert_true(client->all_ok);
        assert_int_equal(client->offset.offset, 2);
        assert_ptr_equal(client->offset.partition, seen->partition);
        look_committed(client, seen);
        assert_int_equal(client->look.committed, 2);
        assert_true(client->look.ours);
        int before = client->looked_up;
        client->no_start = true;
        assert_int_equal(consumer_look_up(client->consumer, &seen->partition, 1), 0);
        wait_for(client->looked_up == before + 1, 10);
        client->no_start = false;
        assert_int_equal(client->look.low, 0);
        assert_int_equal(client->look.high, 2);
        assert_int_equal(client->look.committed, 2);
        /* A refusal by the broker: OffsetCommit is request 8. */
        rd_kafka_mock_push_request_errors(world.cluster, 8, 1,
                                          RD_KAFKA_RESP_ERR_OFFSET_METADATA_TOO_LARGE);
        commit(client, seen, 2);
        assert_false(client->all_ok);
        assert_non_null(client->offset.error);
        commit(client, seen, 2);
        assert_true(client->all_ok);
}

static void test_back_pressure(void **state) {
        (void)state;
        Client *client = &many;
        wait_for(client->n_assigned == 6, 15);
        client->stop_every = 200;
        for (int32_t i = 0; i < 6; i++) {
                produce("many", i, i < 2 ? MANY / 6 + 1 : MANY / 6);
        }
        int64_t until = loop_now() + 30 * SECOND;
        while (received(client) < MANY) {
                assert_true(loop_now() < until);
                turn();
                if (client->stopped) {
                        /* The rest is not handed out while it is not read, not even later. */
                        int64_t before = received(client);
                        if (client->stops % 20 == 0) {
                                wait_ms(100);
                        }
                        turn();
                        assert_int_equal(received(client), before);
                        client->stopped = false;
                        consumer_read(client->consumer, true);
                }
        }
        wait_ms(300);
        assert_int_equal(received(client), MANY);
        assert_true(client->stops >= 90);
        assert_int_equal(client->revokes, 0);
        client->stop_every = 0;
}

static void test_seek(void **state) {
        (void)state;
        Client *client = &seeks;
        wait_for(client->n_assigned == 1, 15);
        produce("seeks", 0, 3000);
        Seen *seen = &client->seen[0];
        wait_for(seen->next == 3000, 10);
        /* Below and above, with a full prefetch in between: the first message is the one asked
         * for, and the rest follows without a gap (on_fetched() looks). */
        static const int64_t to[] = {10, 2500, 0, 2999, 1500, 1499, 1500, 1, 2000, 700};
        for (size_t i = 0; i < 12; i++) {
                int64_t offset = to[i % 10];
                start(client, seen, offset);
                wait_for(seen->first >= 0, 5);
                assert_int_equal(seen->first, offset);
        }
        wait_for(seen->next == 3000, 10);
        /* Two in a row: the newer one counts. */
        start(client, seen, 100);
        start(client, seen, 2000);
        wait_for(seen->next == 3000, 10);
        assert_int_equal(seen->first, 2000);
        int64_t before = seen->received;
        wait_ms(200);
        assert_int_equal(seen->received, before);
}

static void test_pause(void **state) {
        (void)state;
        Client *client = &seeks;
        Seen *seen = &client->seen[0];
        start(client, seen, 0);
        wait_for(seen->received > 0 && seen->first == 0, 5);
        consumer_pause(client->consumer, seen->partition);
        consumer_pause(client->consumer, seen->partition);
        int64_t before = seen->received;
        produce("seeks", 0, 10);
        wait_ms(500);
        assert_int_equal(seen->received, before);
        start(client, seen, 2990);
        wait_for(seen->next == 3010, 5);
        assert_int_equal(seen->first, 2990);
}

/* librdkafka gives the partition up; it is read again all the same, and of its neighbour, which
 * reads on meanwhile, nothing is lost and nothing comes twice (on_fetched() looks). */
static void revive(Client *client, const char *topic) {
        wait_for(client->n_assigned == 2 && client->looked_up > 0, 15);
        Seen *lost = seen_of(client, topic, 0), *neighbour = seen_of(client, topic, 1);
        produce(topic, 0, 5);
        produce(topic, 1, 2000);
        start(client, neighbour, 0);
        for (int round = 1; round <= 3; round++) {
                start(client, lost, 1000);
                wait_for(lost->out_of_range == round, 10);
                wait_ms(100);
                assert_int_equal(lost->out_of_range, round);
                assert_int_equal(lost->received, 5 * (round - 1));
                produce(topic, 1, 500);
                assert_int_equal(consumer_start(client->consumer, lost->partition, 0),
                                 CONSUMER_E_SEEK);
                produce(topic, 1, 500);
                start(client, lost, 0);
                wait_for(lost->received == 5 * round, 10);
                assert_int_equal(lost->first, 0);
        }
        produce(topic, 0, 1);
        wait_for(lost->next == 6 && neighbour->next == 5000, 10);
        wait_ms(200);
        assert_int_equal(received(client), 16 + 5000);
        assert_int_equal(client->revokes, 0);
        close_client(client, 10);
}

static void test_out_of_range(void **state) {
        (void)state;
        /* See setup(): a commit as an operator's tool makes it, which is not ours. */
        wait_for(range.looked_up > 0, 15);
        assert_true(range.look.ok);
        assert_false(range.look.ours);
        revive(&range, "range");
}

static void test_out_of_range_cooperative(void **state) {
        (void)state;
        revive(&sticky, "sticky");
}

static void test_regex(void **state) {
        (void)state;
        Client client = {0};
        open_client(&client, world.servers, "regex", "^regex\\..*", NULL, NULL);
        wait_for(client.n_assigned > 0, 15);
        wait_ms(200);
        assert_int_equal(client.n_assigned, 1);
        assert_string_equal(client.seen[0].topic, "regex.requests");
        close_client(&client, 10);
}

/* Whatever librdkafka has under way for an assignment, its answer never overrides the start. (With
 * partitions assigned at END and the start before the answer, the rest of the log was skipped.) */
static void test_start_at_once(void **state) {
        (void)state;
        Client client = {.blind = true};
        for (int i = 0; i < 20; i++) {
                produce("slow", 0, 1); /* a fetch brings one batch */
        }
        rd_kafka_mock_broker_set_rtt(world.cluster, 1, 100);
        open_client(&client, world.servers, "slow", "slow", NULL, NULL);
        wait_for(client.n_assigned == 1, 15);
        wait_for(client.seen[0].next == 20, 10);
        assert_int_equal(client.seen[0].received, 20);
        rd_kafka_mock_broker_set_rtt(world.cluster, 1, 0);
        close_client(&client, 10);
}

/* Commits for a group that has no member. */
static void commit_as_a_tool(const char *group, const char *topic, int64_t offset) {
        char why[256];
        rd_kafka_conf_t *conf = rd_kafka_conf_new();
        rd_kafka_conf_set(conf, "bootstrap.servers", world.servers, NULL, 0);
        rd_kafka_conf_set(conf, "group.id", group, NULL, 0);
        rd_kafka_t *rk = rd_kafka_new(RD_KAFKA_CONSUMER, conf, why, sizeof(why));
        rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(1);
        rd_kafka_topic_partition_list_add(list, topic, 0)->offset = offset;
        assert_int_equal(rd_kafka_commit(rk, list, 0), 0);
        rd_kafka_topic_partition_list_destroy(list);
        rd_kafka_destroy(rk);
}

static int setup(void **state) {
        (void)state;
        world_init();
        make_topic("messages", 1);
        make_topic("many", 6);
        make_topic("seeks", 1);
        make_topic("range", 2);
        make_topic("sticky", 2);
        make_topic("slow", 1);
        make_topic("regex.requests", 1);
        make_topic("regex.dead-letters", 1);
        commit_as_a_tool("range", "range", 3);
        range.no_start = sticky.no_start = true;
        open_client(&messages, world.servers, "messages", "messages", NULL, NULL);
        open_client(&many, world.servers, "many", "many", NULL, NULL);
        open_client(&seeks, world.servers, "seeks", "seeks", NULL, NULL);
        open_client(&range, world.servers, "range", "range", NULL, NULL);
        open_client(&sticky, world.servers, "sticky", "sticky", "partition.assignment.strategy",
                    "cooperative-sticky");
        return 0;
}

static int teardown(void **state) {
        (void)state;
        close_client(&messages, 10);
        close_client(&many, 10);
        close_client(&seeks, 10);
        world_deinit();
        return 0;
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_settings),
                cmocka_unit_test(test_check),
                cmocka_unit_test(test_owned_settings),
                cmocka_unit_test(test_fetch_takes_the_largest_message),
                cmocka_unit_test(test_message),
                cmocka_unit_test(test_commit),
                cmocka_unit_test(test_back_pressure),
                cmocka_unit_test(test_seek),
                cmocka_unit_test(test_pause),
                cmocka_unit_test(test_out_of_range),
                cmocka_unit_test(test_out_of_range_cooperative),
                cmocka_unit_test(test_regex),
                cmocka_unit_test(test_start_at_once),
        };
        return cmocka_run_group_tests(tests, setup, teardown);
}
