/* The producer against librdkafka's mock cluster. */

#include "test.h"

#include <librdkafka/rdkafka.h>
#include <librdkafka/rdkafka_mock.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "kafka/producer.h"
#include "telemetry/log.h"
#include "util/loop.h"

#define SECOND INT64_C(1000000)

enum {
        PARTITION = 4, /* of the topic "many"; the key would choose another */
};

static int n_logged;

bool log_wants(const Log *log, LogLevel level) {
        (void)log;
        return level > LOG_DEBUG;
}

void log_write(Log *log, LogLevel level, const char *event, const LogFields *fields,
               const char *format, ...) {
        (void)log;
        (void)event;
        (void)fields;
        (void)format;
        n_logged += level >= LOG_WARNING;
}

static struct {
        Loop loop;
        LoopTimer ticker;
        rd_kafka_t *rk;
        rd_kafka_mock_cluster_t *cluster;
        const char *servers;
} world;

typedef struct Sink {
        Producer *producer;
        size_t delivered, failed, rooms, flushed, left;
        uintptr_t opaque;
        const char *error;
        ProducerFault fault;
} Sink;

static void on_ticker(LoopTimer *timer) {
        loop_timer_set(timer, 10000);
}

#define wait_for(condition, seconds)                                                               \
        do {                                                                                       \
                int64_t until_ = loop_now() + (seconds)*SECOND;                                    \
                while (!(condition)) {                                                             \
                        if (loop_now() > until_) {                                                 \
                                fail_msg("not within %d s: %s", (int)(seconds), #condition);       \
                        }                                                                          \
                        ev_run(world.loop.ev, EVRUN_ONCE);                                         \
                }                                                                                  \
        } while (0)

static void on_delivered(void *user, void *opaque, const char *error) {
        Sink *sink = user;
        sink->opaque = (uintptr_t)opaque;
        sink->error = error;
        sink->fault = producer_fault(sink->producer);
        if (error == NULL) {
                sink->delivered++;
        } else {
                sink->failed++;
        }
}

static void on_room(void *user) {
        ((Sink *)user)->rooms++;
}

static void on_flushed(void *user, size_t left) {
        Sink *sink = user;
        sink->flushed++;
        sink->left = left;
}

static const ProducerEvents events = {
        .delivered = on_delivered,
        .room = on_room,
        .flushed = on_flushed,
};

static void open_sink(Sink *sink, const char *servers, const char *name, const char *value) {
        const ConsumerSetting settings[] = {
                {"bootstrap.servers", servers},
                /* A consumer's: left out, or librdkafka warns of each. */
                {"group.id", "g"},
                {"session.timeout.ms", "6000"},
                {name, value},
        };
        char *error = NULL;
        *sink = (Sink){0};
        assert_int_equal(producer_new(&sink->producer, &world.loop, NULL, settings,
                                      name != NULL ? 4 : 3, &events, sink, &error),
                         0);
}

static int send_one(Sink *sink, const char *topic, const void *value, size_t size,
                    uintptr_t opaque) {
        const char *error = NULL;
        ProducerMessage message = {.topic = topic,
                                   .partition = -1,
                                   .value = value,
                                   .value_size = size};
        int r = producer_send(sink->producer, &message, (void *)opaque, &error);
        assert_true(r != PRODUCER_E_REFUSED || error != NULL);
        return r;
}

static void test_settings(void **state) {
        (void)state;
        const ConsumerSetting settings[] = {{"linger.ms", "soon"}};
        Producer *producer = NULL;
        char *error = NULL;
        assert_int_equal(producer_new(&producer, &world.loop, NULL, settings, 1, &events, NULL,
                                      &error),
                         PRODUCER_E_CONFIG);
        assert_non_null(strstr(error, "kafka.linger.ms: "));
        assert_null(producer);
        free(error);
        producer_free(NULL);
        /* Whoever sets acks is not overruled. */
        Sink sink;
        open_sink(&sink, world.servers, "acks", "1");
        producer_free(sink.producer);
}

/* What arrives is what was sent, and nothing that the consumer alone knows was complained of. */
static void test_delivered(void **state) {
        (void)state;
        Sink sink;
        char why[256];
        const ProducerHeader headers[] = {{"a", "1", 1}, {"b", NULL, 0}};
        const ProducerMessage message = {
                .topic = "many",
                .partition = PARTITION,
                .key = "k",
                .key_size = 1,
                .value = "v\0w",
                .value_size = 3,
                .headers = headers,
                .n_headers = 2,
        };
        const char *error = NULL;
        n_logged = 0;
        open_sink(&sink, world.servers, NULL, NULL);
        assert_int_equal(producer_send(sink.producer, &message, (void *)7, &error), 0);
        assert_int_equal(producer_pending(sink.producer), 1);
        producer_flush(sink.producer, 10 * SECOND);
        wait_for(sink.flushed == 1, 12);
        assert_int_equal(sink.left, 0);
        assert_int_equal(sink.delivered, 1);
        assert_int_equal(sink.opaque, 7);
        assert_null(sink.error);
        assert_int_equal(n_logged, 0);
        /* Nothing to wait for: told all the same, and not from inside. */
        producer_flush(sink.producer, 10 * SECOND);
        assert_int_equal(sink.flushed, 1);
        wait_for(sink.flushed == 2, 2);
        producer_free(sink.producer);

        rd_kafka_conf_t *conf = rd_kafka_conf_new();
        rd_kafka_conf_set(conf, "bootstrap.servers", world.servers, NULL, 0);
        rd_kafka_conf_set(conf, "group.id", "reads", NULL, 0);
        rd_kafka_t *rk = rd_kafka_new(RD_KAFKA_CONSUMER, conf, why, sizeof(why));
        rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(1);
        rd_kafka_topic_partition_list_add(list, "many", PARTITION)->offset = 0;
        rd_kafka_assign(rk, list);
        rd_kafka_topic_partition_list_destroy(list);
        rd_kafka_message_t *got = rd_kafka_consumer_poll(rk, 10000);
        assert_non_null(got);
        assert_int_equal(got->err, 0);
        assert_int_equal(got->len, 3);
        assert_memory_equal(got->payload, "v\0w", 3);
        assert_int_equal(got->key_len, 1);
        rd_kafka_headers_t *all;
        const void *value;
        size_t size;
        assert_int_equal(rd_kafka_message_headers(got, &all), 0);
        assert_int_equal(rd_kafka_header_cnt(all), 2);
        assert_int_equal(rd_kafka_header_get_last(all, "a", &value, &size), 0);
        assert_int_equal(size, 1);
        assert_int_equal(rd_kafka_header_get_last(all, "b", &value, &size), 0);
        assert_null(value);
        rd_kafka_message_destroy(got);
        rd_kafka_destroy(rk);
}

static void test_refused(void **state) {
        (void)state;
        Sink sink;
        const size_t over = 32 * 1024 * 1024 + 1; /* the queue would never have room for it */
        char *large = calloc(1, over);
        /* Below that the broker is the judge, whatever is set. */
        open_sink(&sink, world.servers, "message.max.bytes", "1000000");
        assert_int_equal(send_one(&sink, "t", large, over, 0), PRODUCER_E_REFUSED);
        assert_int_equal(producer_fault(sink.producer), PRODUCER_FAULT_TOO_LARGE);
        assert_int_equal(producer_pending(sink.producer), 0);
        assert_int_equal(send_one(&sink, "t", large, 2000000, 7), 0);
        wait_for(sink.delivered == 1, 10);
        producer_free(sink.producer);
        free(large);
}

static void test_failed(void **state) {
        (void)state;
        Sink sink;
        open_sink(&sink, world.servers, NULL, NULL);
        /* Produce is request 0. */
        rd_kafka_mock_push_request_errors(world.cluster, 0, 1,
                                          RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED);
        assert_int_equal(send_one(&sink, "t", "x", 1, 9), 0);
        wait_for(sink.failed == 1, 10);
        assert_int_equal(sink.opaque, 9);
        assert_non_null(strstr(sink.error, "authorization"));
        assert_int_equal(sink.fault, PRODUCER_FAULT_FORBIDDEN);
        assert_int_equal(producer_pending(sink.producer), 0);
        producer_free(sink.producer);
        open_sink(&sink, world.servers, "enable.idempotence", "false");
        rd_kafka_mock_push_request_errors(world.cluster, 0, 1, RD_KAFKA_RESP_ERR_INVALID_RECORD);
        assert_int_equal(send_one(&sink, "t", "x", 1, 10), 0);
        wait_for(sink.failed == 1, 10);
        assert_int_equal(sink.fault, PRODUCER_FAULT_OTHER);
        assert_int_equal(send_one(&sink, "t", "x", 1, 11), 0);
        wait_for(sink.delivered == 1, 10);
        assert_int_equal(sink.fault, PRODUCER_FAULT_NONE);
        producer_free(sink.producer);
}

/* The first one waits for the topic; from then on librdkafka refuses at once, and once it freed the
 * headers twice: 4627. */
static void test_no_topic(void **state) {
        (void)state;
        Sink sink;
        const ProducerHeader headers[] = {{"a", "1", 1}, {"b", NULL, 0}};
        const ProducerMessage message = {.topic = "missing",
                                         .value = "x",
                                         .value_size = 1,
                                         .headers = headers,
                                         .n_headers = 2};
        const char *error = NULL;
        rd_kafka_mock_topic_set_error(world.cluster, "missing",
                                      RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART);
        open_sink(&sink, world.servers, "topic.metadata.propagation.max.ms", "100");
        assert_int_equal(producer_send(sink.producer, &message, NULL, &error), 0);
        wait_for(sink.failed == 1, 20);
        assert_int_equal(sink.fault, PRODUCER_FAULT_NO_TOPIC);
        for (int i = 0; i < 10; i++) {
                error = NULL;
                assert_int_equal(producer_send(sink.producer, &message, NULL, &error),
                                 PRODUCER_E_REFUSED);
                assert_non_null(error);
                assert_int_equal(producer_fault(sink.producer), PRODUCER_FAULT_NO_TOPIC);
        }
        assert_int_equal(producer_pending(sink.producer), 0);
        producer_free(sink.producer);
}

/* Nobody takes anything: it is full at its bound, a flush ends at its limit, freeing is quick. */
static void test_no_broker(void **state) {
        (void)state;
        Sink sink;
        char value[1024] = {0};
        size_t n = 0;
        open_sink(&sink, "127.0.0.1:1", NULL, NULL);
        while (send_one(&sink, "t", value, sizeof(value), n) == 0) {
                n++;
                assert_true(n <= 40000);
        }
        assert_true(n > 20000 && n * sizeof(value) <= 33 << 20);
        assert_int_equal(send_one(&sink, "t", value, sizeof(value), n), PRODUCER_E_FULL);
        int64_t began = loop_now();
        producer_flush(sink.producer, SECOND / 2);
        wait_for(sink.flushed == 1, 3);
        assert_true(loop_now() - began >= SECOND / 2);
        assert_int_equal(sink.left, n);
        began = loop_now();
        producer_free(sink.producer);
        assert_true(loop_now() - began < 3 * SECOND);
        assert_int_equal(sink.rooms, 0);
}

/* More than fits: every message is taken sooner or later, and answered once. */
static void test_back_pressure(void **state) {
        (void)state;
        Sink sink;
        char value[1024] = {0};
        const size_t total = 60000;
        size_t sent = 0, rooms = 0;
        open_sink(&sink, world.servers, NULL, NULL);
        while (sent < total) {
                int r = send_one(&sink, "many", value, sizeof(value), sent);
                if (r == PRODUCER_E_FULL) {
                        wait_for(sink.rooms > rooms, 20);
                        rooms = sink.rooms;
                        continue;
                }
                assert_int_equal(r, 0);
                sent++;
        }
        producer_flush(sink.producer, 20 * SECOND);
        wait_for(sink.flushed == 1, 22);
        assert_int_equal(sink.delivered, total);
        assert_int_equal(sink.failed, 0);
        assert_true(sink.rooms > 0);
        producer_free(sink.producer);
}

static int setup(void **state) {
        (void)state;
        sigset_t all;
        char why[256];
        assert_int_equal(loop_init(&world.loop), 0);
        loop_timer_init(&world.ticker, &world.loop, "ticker", on_ticker);
        loop_timer_set(&world.ticker, 10000);
        sigfillset(&all);
        pthread_sigmask(SIG_SETMASK, &all, NULL);
        rd_kafka_conf_t *conf = rd_kafka_conf_new();
        rd_kafka_conf_set(conf, "test.mock.num.brokers", "1", NULL, 0);
        rd_kafka_conf_set(conf, "log_level", "2", NULL, 0);
        world.rk = rd_kafka_new(RD_KAFKA_PRODUCER, conf, why, sizeof(why));
        world.cluster = rd_kafka_handle_mock_cluster(world.rk);
        world.servers = rd_kafka_mock_cluster_bootstraps(world.cluster);
        rd_kafka_mock_topic_create(world.cluster, "t", 1, 1);
        rd_kafka_mock_topic_create(world.cluster, "many", 6, 1);
        return 0;
}

static int teardown(void **state) {
        (void)state;
        rd_kafka_destroy(world.rk);
        loop_timer_stop(&world.ticker);
        loop_deinit(&world.loop);
        return 0;
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_settings),  cmocka_unit_test(test_delivered),
                cmocka_unit_test(test_refused),   cmocka_unit_test(test_failed),
                cmocka_unit_test(test_no_topic),  cmocka_unit_test(test_back_pressure),
                cmocka_unit_test(test_no_broker),
        };
        return cmocka_run_group_tests(tests, setup, teardown);
}
