#pragma once

/*
 * What the tests of the consumer share: librdkafka's mock cluster (real TCP on loopback), and a
 * client, which does what the application does. A group's first join takes the mock 3 s, so clients
 * join in the setup, all at once, each with a group and a topic of its own.
 */

#include "test.h"

#ifdef __clang__
#pragma clang diagnostic ignored                                                                   \
        "-Wgnu-statement-expression" /* in RD_KAFKA_V_TOPIC() and the like */
#endif
#include <librdkafka/rdkafka.h>
#include <librdkafka/rdkafka_mock.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "kafka/consumer.h"
#include "telemetry/log.h"
#include "util/loop.h"

enum {
        PARTS_MAX = 16,
};

#define SECOND INT64_C(1000000)

/* --- a log that counts -------------------------------------------------------------------- */

static struct {
        int down, up, missing, not_joined;
        bool verbose;
} logged;

bool log_wants(const Log *log, LogLevel level) {
        (void)log;
        return level > LOG_DEBUG || logged.verbose;
}

void log_write(Log *log, LogLevel level, const char *event, const LogFields *fields,
               const char *format, ...) {
        (void)log;
        (void)level;
        logged.down += strcmp(event, "kafka.down") == 0;
        logged.up += strcmp(event, "kafka.up") == 0;
        logged.missing += strcmp(event, "kafka.error") == 0 && fields->topic != NULL &&
                          strcmp(fields->topic, "nowhere") == 0;
        logged.not_joined += strcmp(event, "kafka.not_joined") == 0;
        if (logged.verbose) {
                va_list ap;
                va_start(ap, format);
                fprintf(stderr, "# %s %s: ", event, fields->topic ? fields->topic : "");
                vfprintf(stderr, format, ap);
                fputc('\n', stderr);
                va_end(ap);
        }
}

/* --- a client: what the application does -------------------------------------------------- */

typedef struct Seen {
        ConsumerPartition *partition; /* NULL: not assigned */
        char topic[64];
        int32_t number;
        int64_t next;     /* -1: any offset is right */
        int64_t received; /* over all assignments */
        int64_t first;    /* the first offset after the newest start */
        int out_of_range;
        int64_t ended; /* the newest end of a log that no message told */
} Seen;

typedef struct Client {
        const char *name;
        Consumer *consumer;
        bool hold;        /* a revoke waits for the test */
        bool blind;       /* starts at 0 without a look-up */
        bool no_start;    /* assigned partitions are not started */
        bool from_commit; /* starts at the committed offset; else at the low end */
        int stop_every;   /* back-pressure: stops reading after so many */
        bool stopped;     /* and nothing may come until it goes on */
        int stops;
        size_t n;
        Seen seen[PARTS_MAX];
        size_t n_assigned; /* now */
        int assignments, revokes, lost, fatals, fenced, closed;
        bool revoke_waits;
        int looked_up, looked_committed, committed;
        ConsumerLookUp look;   /* the first of the newest look */
        ConsumerOffset offset; /* the first of the newest reply */
        bool all_ok;
        char *key, *value, *headers; /* of the newest message */
        size_t value_size;
        bool has_value, has_key;
        int64_t timestamp_us;
} Client;

static struct {
        Loop loop;
        LoopTimer ticker;
        rd_kafka_t *rk; /* produces, and carries the cluster */
        rd_kafka_mock_cluster_t *cluster;
        const char *servers;
} world;

static void on_ticker(LoopTimer *timer) {
        loop_timer_set(timer, 10000);
}

__attribute__((unused)) static void turn(void) {
        ev_run(world.loop.ev, EVRUN_ONCE);
}

/* Turns the loop until the condition holds. */
#define wait_for(condition, seconds)                                                               \
        do {                                                                                       \
                int64_t until_ = loop_now() + (seconds)*SECOND;                                    \
                while (!(condition)) {                                                             \
                        if (loop_now() > until_) {                                                 \
                                fail_msg("not within %d s: %s", (int)(seconds), #condition);       \
                        }                                                                          \
                        turn();                                                                    \
                }                                                                                  \
        } while (0)

__attribute__((unused)) static void wait_ms(int ms) {
        int64_t until = loop_now() + ms * 1000;
        while (loop_now() < until) {
                turn();
        }
}

static Seen *seen_of(Client *client, const char *topic, int32_t number) {
        for (size_t i = 0; i < client->n; i++) {
                if (strcmp(client->seen[i].topic, topic) == 0 && client->seen[i].number == number) {
                        return &client->seen[i];
                }
        }
        assert_true(client->n < PARTS_MAX);
        Seen *seen = &client->seen[client->n++];
        *seen = (Seen){.number = number, .next = -1, .first = -1};
        snprintf(seen->topic, sizeof(seen->topic), "%s", topic);
        return seen;
}

static void start(Client *client, Seen *seen, int64_t offset) {
        seen->next = offset;
        seen->first = -1;
        int r = 1;
        for (int i = 0; r != 0 && i < 100; i++) {
                r = consumer_start(client->consumer, seen->partition, offset);
                if (r != 0) {
                        wait_ms(20);
                }
        }
        assert_int_equal(r, 0);
}

static void on_assigned(void *user, ConsumerPartition **partitions, size_t n) {
        Client *client = user;
        client->assignments++;
        for (size_t i = 0; i < n; i++) {
                Seen *seen = seen_of(client, partitions[i]->topic, partitions[i]->partition);
                assert_null(partitions[i]->user);
                assert_null(seen->partition);
                seen->partition = partitions[i];
                partitions[i]->user = seen;
        }
        client->n_assigned += n;
        if (client->blind) {
                assert_int_equal(n, 1);
                start(client, partitions[0]->user, 0);
                return;
        }
        assert_int_equal(consumer_look_up(client->consumer, partitions, n), 0);
}

static void on_revoked(void *user, ConsumerPartition **partitions, size_t n, bool lost) {
        Client *client = user;
        assert_true(n > 0);
        client->revokes++;
        client->lost += lost;
        for (size_t i = 0; i < n; i++) {
                Seen *seen = partitions[i]->user;
                seen->partition = NULL;
        }
        client->n_assigned -= n;
        client->revoke_waits = true;
        if (!client->hold) {
                client->revoke_waits = false;
                assert_int_equal(consumer_unassign(client->consumer), 0);
        }
}

__attribute__((unused)) static void let_go(Client *client) {
        client->revoke_waits = false;
        assert_int_equal(consumer_unassign(client->consumer), 0);
}

static char *copy(const void *data, size_t size) {
        char *text = calloc(1, size + 1);
        if (size > 0) {
                memcpy(text, data, size);
        }
        return text;
}

static void on_fetched(void *user, ConsumerPartition *partition, const Record *record) {
        Client *client = user;
        Seen *seen = partition->user;
        assert_false(client->stopped);
        assert_ptr_equal(seen->partition, partition);
        if (seen->next >= 0) {
                assert_int_equal(record->offset, seen->next); /* the mock's log has no gaps */
        }
        seen->next = record->offset + 1;
        if (seen->first < 0) {
                seen->first = record->offset;
        }
        seen->received++;
        free(client->key);
        free(client->value);
        free(client->headers);
        client->has_key = record->key != NULL;
        client->has_value = record->value != NULL;
        client->key = copy(record->key, record->key_size);
        client->value = copy(record->value, record->value_size);
        client->value_size = record->value_size;
        client->headers =
                record->headers != NULL ? copy(record->headers, record->headers_size) : NULL;
        client->timestamp_us = record->timestamp_us;
        if (client->stop_every > 0 && seen->received % client->stop_every == 0) {
                client->stopped = true;
                client->stops++;
                consumer_read(client->consumer, false);
        }
}

static void on_looked_up(void *user, const ConsumerLookUp *results, size_t n) {
        Client *client = user;
        client->looked_up++;
        for (size_t i = 0; i < n; i++) {
                Seen *seen = results[i].partition->user;
                client->look = results[i];
                if (seen->partition == NULL) {
                        assert_int_equal(consumer_start(client->consumer, results[i].partition, 0),
                                         CONSUMER_E_SEEK); /* a revoke waits */
                } else if (!results[i].ok) {
                        assert_int_equal(consumer_look_up(client->consumer, &seen->partition, 1),
                                         0);
                } else if (!client->no_start) {
                        int64_t from = client->from_commit && results[i].committed >= 0
                                               ? results[i].committed
                                               : results[i].low;
                        start(client, seen, from);
                }
        }
}

static void on_looked_committed(void *user, const ConsumerLookUp *results, size_t n) {
        Client *client = user;
        if (n > 0) {
                client->look = results[0];
        }
        client->looked_committed++;
}

static void on_committed(void *user, const ConsumerOffset *results, size_t n) {
        Client *client = user;
        client->all_ok = true;
        for (size_t i = 0; i < n; i++) {
                client->all_ok = client->all_ok && results[i].ok;
                assert_true(results[i].ok || results[i].error != NULL);
        }
        if (n > 0) {
                client->offset = results[0];
        }
        client->committed++;
}

static void on_ended(void *user, ConsumerPartition *partition, int64_t end) {
        (void)user;
        ((Seen *)partition->user)->ended = end;
}

static void on_vanished(void *user, ConsumerPartition *partition) {
        (void)user;
        (void)partition;
}

static void on_out_of_range(void *user, ConsumerPartition *partition) {
        (void)user;
        ((Seen *)partition->user)->out_of_range++;
}

static void on_fatal(void *user, bool fenced, const char *error) {
        Client *client = user;
        assert_non_null(error);
        client->fatals++;
        client->fenced += fenced;
}

static void on_closed(void *user) {
        ((Client *)user)->closed++;
}

static const ConsumerEvents events = {
        .assigned = on_assigned,
        .revoked = on_revoked,
        .fetched = on_fetched,
        .ended = on_ended,
        .looked_up = on_looked_up,
        .looked_committed = on_looked_committed,
        .committed = on_committed,
        .out_of_range = on_out_of_range,
        .vanished = on_vanished,
        .fatal = on_fatal,
        .closed = on_closed,
};

static int try_new(Client *client, const char *servers, const char *group, const char *topic,
                   const char *name, const char *value, char **errorp) {
        const ConsumerSetting settings[] = {
                {"bootstrap.servers", servers},
                {"group.id", group},
                {"session.timeout.ms", "6000"},
                {"heartbeat.interval.ms", "300"},
                {"reconnect.backoff.max.ms", "500"},
                {"linger.ms", "5"}, /* a producer's: left out, or librdkafka warns */
                {name, value},
        };
        const char *const topics[] = {topic, NULL};
        const char *const exclude[] = {"regex.dead-letters", NULL};
        const ConsumerOptions options = {
                .settings = settings,
                .n_settings = name != NULL ? 7 : 6,
                .topics = topics,
                .exclude = exclude,
                .queue_bytes = 16 << 20,
        };
        return consumer_new(&client->consumer, &world.loop, NULL, &options, &events, client,
                            errorp);
}

static void open_client(Client *client, const char *servers, const char *group, const char *topic,
                        const char *name, const char *value) {
        char *error = NULL;
        client->name = group;
        assert_int_equal(try_new(client, servers, group, topic, name, value, &error), 0);
        assert_int_equal(consumer_subscribe(client->consumer, &error), 0);
}

/* Closes in order and frees. */
static void close_client(Client *client, int seconds) {
        int64_t began = loop_now();
        consumer_close(client->consumer);
        wait_for(client->closed > 0, seconds);
        assert_int_equal(client->closed, 1);
        consumer_free(client->consumer);
        assert_true(loop_now() - began < (seconds + 4) * SECOND);
        client->consumer = NULL;
        free(client->key);
        free(client->value);
        free(client->headers);
        client->key = client->value = client->headers = NULL;
}

__attribute__((unused)) static int64_t received(const Client *client) {
        int64_t n = 0;
        for (size_t i = 0; i < client->n; i++) {
                n += client->seen[i].received;
        }
        return n;
}

/* --- producing ---------------------------------------------------------------------------- */

__attribute__((unused)) static void produce(const char *topic, int32_t partition, int n) {
        char value[64];
        for (int i = 0; i < n; i++) {
                int size = snprintf(value, sizeof(value), "{\"host\":\"h%d\"}", i);
                rd_kafka_resp_err_t err =
                        rd_kafka_producev(world.rk, RD_KAFKA_V_TOPIC(topic),
                                          RD_KAFKA_V_PARTITION(partition),
                                          RD_KAFKA_V_MSGFLAGS(RD_KAFKA_MSG_F_COPY),
                                          RD_KAFKA_V_VALUE(value, (size_t)size), RD_KAFKA_V_END);
                assert_int_equal(err, 0);
        }
        assert_int_equal(rd_kafka_flush(world.rk, 10000), 0);
}

static rd_kafka_t *new_carrier(void) {
        char why[256];
        rd_kafka_conf_t *conf = rd_kafka_conf_new();
        rd_kafka_conf_set(conf, "test.mock.num.brokers", "1", NULL, 0);
        rd_kafka_conf_set(conf, "log_level", "2", NULL, 0);
        rd_kafka_conf_set(conf, "linger.ms", "1", NULL, 0);
        rd_kafka_t *rk = rd_kafka_new(RD_KAFKA_PRODUCER, conf, why, sizeof(why));
        assert_non_null(rk);
        return rk;
}

static void world_init(void) {
        sigset_t all;
        logged.verbose = getenv("VERBOSE") != NULL;
        assert_int_equal(loop_init(&world.loop), 0);
        loop_timer_init(&world.ticker, &world.loop, "ticker", on_ticker);
        loop_timer_set(&world.ticker, 10000);
        sigfillset(&all);
        pthread_sigmask(SIG_SETMASK, &all, NULL); /* librdkafka's threads inherit it */
        world.rk = new_carrier();
        world.cluster = rd_kafka_handle_mock_cluster(world.rk);
        world.servers = rd_kafka_mock_cluster_bootstraps(world.cluster);
}

static void world_deinit(void) {
        rd_kafka_destroy(world.rk);
        loop_timer_stop(&world.ticker);
        loop_deinit(&world.loop);
}

static void make_topic(const char *name, int partitions) {
        assert_int_equal(rd_kafka_mock_topic_create(world.cluster, name, partitions, 1), 0);
}
