/*
 * The yardstick: the barest pipeline that the machine allows, without one feature. It consumes,
 * decodes with jansson, saves by COPY with the fences last, and commits once a second; then it
 * prints what that took. What ackd costs beyond it is the price of ackd's promises.
 *
 * One libev thread. The partitions' queues are forwarded to one queue, which is polled message by
 * message; each row is encoded straight into the buffer that the next COPY sends, so nothing is
 * held but those buffers: one fills while the other is at the database. With several connections
 * each has its own partitions, since the fences of a partition move in order.
 *
 * It writes ackd's own tables, made by `ackd init-db`, so that PostgreSQL has the same to do for
 * both. Whatever fails ends it with 1.
 */

#include <endian.h>
#include <errno.h>
#include <ev.h>
#include <getopt.h>
#include <inttypes.h>
#include <jansson.h>
#include <libpq-fe.h>
#include <librdkafka/rdkafka.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

enum {
        PARTITIONS_MAX = 64,
        CONNECTIONS_MAX = 8,
        TURN = 100, /* messages between two looks at the sockets: half a millisecond */
        /* librdkafka 2.0.2's fetcher sleeps up to a second above it, see wake(). */
        QUEUED_MIN = 20000,
        TIMEOUT_MS = 20000,
        COLUMNS = 9,
        ROW_FIXED = 2 + COLUMNS * 4 + 4 + 3 * 8,
        QUERY_SIZE = 4096,
};

/* PostgreSQL counts from 2000. */
#define EPOCH_US INT64_C(946684800000000)

typedef struct Options {
        const char *servers, *group, *topic, *dsn;
        int64_t messages;
        size_t connections, rows, in_flight;
} Options;

typedef struct Part {
        int32_t source;
        int64_t fence;       /* in PostgreSQL */
        int64_t next, moved; /* behind what is in `filling`, and in `sending` */
} Part;

typedef struct Rows {
        uint8_t *data;
        size_t size, capacity, n;
} Rows;

typedef struct Connection {
        PGconn *pg;
        ev_io io;
        Rows filling, sending;
        bool busy, moved; /* a batch is at the database; its fences' answer came */
} Connection;

typedef struct Bare {
        Options options;
        struct ev_loop *ev;
        rd_kafka_t *rk;
        rd_kafka_queue_t *messages, *events;
        ev_io messages_io, events_io;
        ev_idle more; /* the queue is to be read although nobody says so again */
        ev_timer commit;
        Part parts[PARTITIONS_MAX];
        int32_t n_parts;
        Connection connections[CONNECTIONS_MAX];
        size_t in_flight;
        int64_t saved, saved_first;
        struct timespec began, ended, cpu_began, cpu_ended;
        bool wakes, was_full;
        sem_t wake;
        atomic_bool waking;
} Bare;

static void die(const char *format, ...) __attribute__((format(printf, 1, 2), noreturn));
static void die(const char *format, ...) {
        va_list ap;

        va_start(ap, format);
        fputs("bare: ", stderr);
        vfprintf(stderr, format, ap);
        fputc('\n', stderr);
        va_end(ap);
        exit(1);
}

static void check(rd_kafka_resp_err_t error, const char *what) {
        if (error) {
                die("%s: %s", what, rd_kafka_err2str(error));
        }
}

/* --- rows --------------------------------------------------------------------------------- */

static void rows_reserve(Rows *rows, size_t size) {
        if (rows->size + size > rows->capacity) {
                rows->capacity = 2 * (rows->capacity + size);
                rows->data = realloc(rows->data, rows->capacity);
                if (!rows->data) {
                        die("no memory");
                }
        }
}

static uint8_t *put16(uint8_t *at, uint16_t value) {
        value = htobe16(value);
        return (uint8_t *)memcpy(at, &value, sizeof(value)) + sizeof(value);
}

static uint8_t *put32(uint8_t *at, uint32_t value) {
        value = htobe32(value);
        return (uint8_t *)memcpy(at, &value, sizeof(value)) + sizeof(value);
}

static uint8_t *put64(uint8_t *at, uint64_t value) {
        value = htobe64(value);
        return (uint8_t *)memcpy(at, &value, sizeof(value)) + sizeof(value);
}

static uint8_t *put_int8(uint8_t *at, int64_t value) {
        return put64(put32(at, 8), (uint64_t)value);
}

static uint8_t *put_bytes(uint8_t *at, const void *data, size_t size) {
        if (!data) {
                return put32(at, UINT32_MAX);
        }
        return (uint8_t *)memcpy(put32(at, (uint32_t)size), data, size) + size;
}

static void rows_begin(Rows *rows) {
        static const uint8_t header[19] = "PGCOPY\n\377\r\n";

        rows->size = rows->n = 0;
        rows_reserve(rows, sizeof(header));
        memcpy(rows->data, header, sizeof(header));
        rows->size = sizeof(header);
}

static void rows_add(Rows *rows, int32_t source, const rd_kafka_message_t *message, json_t *host,
                     json_t *id) {
        struct timespec now;
        rd_kafka_timestamp_type_t type;
        size_t host_size = json_string_length(host), id_size = json_string_length(id);
        uint8_t *at;

        clock_gettime(CLOCK_REALTIME, &now);
        rows_reserve(rows, ROW_FIXED + message->key_len + host_size + id_size + message->len);
        at = put16(rows->data + rows->size, COLUMNS);
        at = put32(put32(at, 4), (uint32_t)source);
        at = put_int8(at, message->offset);
        at = put_bytes(at, message->key, message->key_len);
        at = put_bytes(at, json_string_value(host), host_size);
        at = put_bytes(at, json_string_value(id), id_size);
        at = put_bytes(at, message->payload, message->len);
        at = put_bytes(at, NULL, 0);
        at = put_int8(at, rd_kafka_message_timestamp(message, &type) * 1000 - EPOCH_US);
        at = put_int8(at, now.tv_sec * INT64_C(1000000) + now.tv_nsec / 1000 - EPOCH_US);
        rows->size = (size_t)(at - rows->data);
        rows->n++;
}

/* --- PostgreSQL --------------------------------------------------------------------------- */

static Connection *connection_of(Bare *bare, int32_t partition) {
        return &bare->connections[(size_t)partition % bare->options.connections];
}

static void append(char query[QUERY_SIZE], const char *format, ...)
        __attribute__((format(printf, 2, 3)));
static void append(char query[QUERY_SIZE], const char *format, ...) {
        size_t size = strlen(query);
        va_list ap;

        va_start(ap, format);
        vsnprintf(query + size, QUERY_SIZE - size, format, ap);
        va_end(ap);
}

static void flush(Bare *bare, Connection *connection) {
        int unsent = PQflush(connection->pg);
        int events = unsent > 0 ? EV_READ | EV_WRITE : EV_READ;

        if (unsent < 0) {
                die("%s", PQerrorMessage(connection->pg));
        }
        if (connection->io.events != events) {
                ev_io_stop(bare->ev, &connection->io);
                ev_io_set(&connection->io, connection->io.fd, events);
                ev_io_start(bare->ev, &connection->io);
        }
}

/* The cheapest order that is right: the rows, then the fences, in one transaction. */
static void batch_send(Bare *bare, Connection *connection) {
        char query[QUERY_SIZE] = "COPY ackd.messages (source, \"offset\", key, host, request_id, "
                                 "payload, headers, produced_at, received_at) FROM STDIN "
                                 "(FORMAT binary); SELECT ackd.move_fence('{";
        char expected[QUERY_SIZE] = "", next[QUERY_SIZE] = "";
        Rows rows = connection->filling;
        const char *separator = "";

        if (connection->busy || rows.n == 0) {
                return;
        }
        connection->filling = connection->sending;
        connection->sending = rows;
        rows_begin(&connection->filling);
        for (int32_t i = 0; i < bare->n_parts; i++) {
                Part *part = &bare->parts[i];
                if (connection_of(bare, i) == connection && part->next > part->fence) {
                        append(query, "%s%" PRId32, separator, part->source);
                        append(expected, "%s%" PRId64, separator, part->fence);
                        append(next, "%s%" PRId64, separator, part->next);
                        part->moved = part->next;
                        separator = ",";
                }
        }
        append(query, "}', '{%s}', '{%s}')", expected, next);
        connection->busy = true;
        connection->moved = false;
        if (!PQsendQuery(connection->pg, query)) {
                die("%s", PQerrorMessage(connection->pg));
        }
        flush(bare, connection);
}

static void batch_copy(Connection *connection) {
        const Rows *rows = &connection->sending;

        if (PQputCopyData(connection->pg, (const char *)rows->data, (int)rows->size) != 1 ||
            PQputCopyData(connection->pg, "\377\377", 2) != 1 ||
            PQputCopyEnd(connection->pg, NULL) != 1) {
                die("%s", PQerrorMessage(connection->pg));
        }
}

static void batch_saved(Bare *bare, Connection *connection) {
        if (!connection->moved) {
                die("the fences were not moved");
        }
        connection->busy = false;
        for (int32_t i = 0; i < bare->n_parts; i++) {
                if (connection_of(bare, i) == connection) {
                        bare->parts[i].fence = bare->parts[i].moved;
                }
        }
        clock_gettime(CLOCK_MONOTONIC, &bare->ended);
        if (bare->saved == 0) {
                bare->saved_first = (int64_t)connection->sending.n;
                bare->began = bare->ended;
                clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &bare->cpu_began);
        }
        bare->saved += (int64_t)connection->sending.n;
        bare->in_flight -= connection->sending.n;
        if (bare->saved >= bare->options.messages) {
                ev_break(bare->ev, EVBREAK_ALL);
        }
        batch_send(bare, connection);
        ev_idle_start(bare->ev, &bare->more);
}

static void on_pg(struct ev_loop *ev, ev_io *io, int events) {
        Bare *bare = ev_userdata(ev);
        Connection *connection = io->data;

        if ((events & EV_READ) && !PQconsumeInput(connection->pg)) {
                die("%s", PQerrorMessage(connection->pg));
        }
        while (connection->busy && !PQisBusy(connection->pg)) {
                PGresult *result = PQgetResult(connection->pg);
                if (!result) {
                        batch_saved(bare, connection);
                        continue;
                }
                ExecStatusType status = PQresultStatus(result);
                if (status == PGRES_COPY_IN) {
                        batch_copy(connection);
                } else if (status == PGRES_TUPLES_OK) {
                        connection->moved = true;
                } else if (status != PGRES_COMMAND_OK) {
                        die("%s", PQresultErrorMessage(result));
                }
                PQclear(result);
                if (status == PGRES_COPY_IN) {
                        break; /* PQgetResult() would say COPY_IN until the data is sent */
                }
        }
        flush(bare, connection);
}

static void connect_all(Bare *bare) {
        for (size_t i = 0; i < bare->options.connections; i++) {
                Connection *connection = &bare->connections[i];
                connection->pg = PQconnectdb(bare->options.dsn);
                if (PQstatus(connection->pg) != CONNECTION_OK) {
                        die("%s", PQerrorMessage(connection->pg));
                }
                rows_begin(&connection->filling);
                rows_begin(&connection->sending);
        }
}

static void adopt(Bare *bare) {
        PGconn *pg = bare->connections[0].pg;

        for (int32_t i = 0; i < bare->n_parts; i++) {
                char partition[16];
                snprintf(partition, sizeof(partition), "%" PRId32, i);
                const char *values[] = {bare->options.group, bare->options.topic, partition};
                PGresult *result =
                        PQexecParams(pg, "SELECT ackd.adopt('bare', $1, $2, $3::int, 0, 'bare')", 3,
                                     NULL, values, NULL, NULL, 0);
                if (PQresultStatus(result) != PGRES_TUPLES_OK || PQgetisnull(result, 0, 0)) {
                        die("the group must be a new one: %s", PQerrorMessage(pg));
                }
                bare->parts[i].source = (int32_t)strtol(PQgetvalue(result, 0, 0), NULL, 10);
                PQclear(result);
        }
        for (size_t i = 0; i < bare->options.connections; i++) {
                Connection *connection = &bare->connections[i];
                PQsetnonblocking(connection->pg, 1);
                ev_io_init(&connection->io, on_pg, PQsocket(connection->pg), EV_READ);
                connection->io.data = connection;
                ev_io_start(bare->ev, &connection->io);
        }
}

/* --- Kafka -------------------------------------------------------------------------------- */

/* Any answer on the leader's connection wakes the fetcher; this one blocks, so a thread asks. */
static void *wake(void *argument) {
        Bare *bare = argument;
        int64_t low, high;

        for (;;) {
                if (sem_wait(&bare->wake) == 0) {
                        rd_kafka_query_watermark_offsets(bare->rk, bare->options.topic, 0, &low,
                                                         &high, TIMEOUT_MS);
                        atomic_store(&bare->waking, false);
                }
        }
        return NULL;
}

/* Once each time that it falls below: asking all the time would cost as much as it brings. */
static void wake_when_low(Bare *bare) {
        if (!bare->wakes) {
                return;
        }
        if (rd_kafka_queue_length(bare->messages) >= QUEUED_MIN) {
                bare->was_full = true;
        } else if (bare->was_full && !atomic_load(&bare->waking)) {
                bare->was_full = false;
                atomic_store(&bare->waking, true);
                sem_post(&bare->wake);
        }
}

static void on_message(Bare *bare, const rd_kafka_message_t *message) {
        Part *part = &bare->parts[message->partition];
        json_error_t error;
        json_t *json, *host;

        check(message->err, "consume");
        json = json_loadb(message->payload, message->len, JSON_REJECT_DUPLICATES, &error);
        host = json_object_get(json, "host");
        if (!json_is_string(host)) {
                die("offset %" PRId64 " is no request", message->offset);
        }
        rows_add(&connection_of(bare, message->partition)->filling, part->source, message, host,
                 json_object_get(json, "id"));
        json_decref(json);
        part->next = message->offset + 1;
        bare->in_flight++;
}

static bool has_room(const Bare *bare) {
        for (size_t i = 0; i < bare->options.connections; i++) {
                if (bare->connections[i].filling.n >= bare->options.rows) {
                        return false;
                }
        }
        return bare->in_flight < bare->options.in_flight;
}

static void read_messages(Bare *bare) {
        bool more = true;

        for (int i = 0; i < TURN && more && has_room(bare); i++) {
                rd_kafka_event_t *event = rd_kafka_queue_poll(bare->messages, 0);
                if (rd_kafka_event_type(event) == RD_KAFKA_EVENT_FETCH) {
                        on_message(bare, rd_kafka_event_message_next(event));
                }
                more = event != NULL;
                rd_kafka_event_destroy(event);
        }
        for (size_t i = 0; i < bare->options.connections; i++) {
                batch_send(bare, &bare->connections[i]);
        }
        if (!more || !has_room(bare)) {
                ev_idle_stop(bare->ev, &bare->more);
        } else {
                ev_idle_start(bare->ev, &bare->more);
        }
        wake_when_low(bare);
}

static void on_more(struct ev_loop *ev, ev_idle *idle, int events) {
        (void)idle;
        (void)events;
        read_messages(ev_userdata(ev));
}

static void drain_fd(int fd) {
        uint64_t count;

        if (read(fd, &count, sizeof(count)) < 0 && errno != EAGAIN) {
                die("eventfd: %s", strerror(errno));
        }
}

static void on_messages(struct ev_loop *ev, ev_io *io, int events) {
        (void)events;
        drain_fd(io->fd);
        read_messages(ev_userdata(ev));
}

static void on_rebalance(Bare *bare, rd_kafka_event_t *event) {
        rd_kafka_topic_partition_list_t *list = rd_kafka_event_topic_partition_list(event);

        if (rd_kafka_event_error(event) != RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS) {
                die("partitions were revoked: the group must have no other member");
        }
        for (int i = 0; i < list->cnt; i++) {
                rd_kafka_queue_t *queue =
                        rd_kafka_queue_get_partition(bare->rk, list->elems[i].topic,
                                                     list->elems[i].partition);
                rd_kafka_queue_forward(queue, bare->messages);
                rd_kafka_queue_destroy(queue);
                list->elems[i].offset = RD_KAFKA_OFFSET_BEGINNING;
                bare->n_parts++;
        }
        if (bare->n_parts > PARTITIONS_MAX) {
                die("more than %d partitions", PARTITIONS_MAX);
        }
        adopt(bare);
        check(rd_kafka_assign(bare->rk, list), "assign");
}

static void on_events(struct ev_loop *ev, ev_io *io, int events) {
        Bare *bare = ev_userdata(ev);
        rd_kafka_event_t *event;

        (void)events;
        drain_fd(io->fd);
        while ((event = rd_kafka_queue_poll(bare->events, 0)) != NULL) {
                if (rd_kafka_event_type(event) == RD_KAFKA_EVENT_REBALANCE) {
                        on_rebalance(bare, event);
                } else if (rd_kafka_event_type(event) == RD_KAFKA_EVENT_ERROR) {
                        die("%s", rd_kafka_event_error_string(event));
                }
                rd_kafka_event_destroy(event);
        }
}

static void commit(Bare *bare, bool async) {
        rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(bare->n_parts);

        for (int32_t i = 0; i < bare->n_parts; i++) {
                rd_kafka_topic_partition_list_add(list, bare->options.topic, i)->offset =
                        bare->parts[i].fence;
        }
        if (bare->saved > 0) {
                check(rd_kafka_commit(bare->rk, list, async), "commit");
        }
        rd_kafka_topic_partition_list_destroy(list);
}

static void on_commit(struct ev_loop *ev, ev_timer *timer, int events) {
        (void)timer;
        (void)events;
        commit(ev_userdata(ev), true);
}

static void set(rd_kafka_conf_t *conf, const char *name, const char *value) {
        char error[512];

        if (rd_kafka_conf_set(conf, name, value, error, sizeof(error)) != RD_KAFKA_CONF_OK) {
                die("%s", error);
        }
}

static void watch(Bare *bare, ev_io *io, rd_kafka_queue_t *queue,
                  void (*callback)(struct ev_loop *ev, ev_io *io, int events)) {
        uint64_t one = 1;
        int fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);

        if (fd < 0) {
                die("eventfd: %s", strerror(errno));
        }
        rd_kafka_queue_io_event_enable(queue, fd, &one, sizeof(one));
        ev_io_init(io, callback, fd, EV_READ);
        ev_io_start(bare->ev, io);
        /* What came before the descriptor was enabled is told by nobody. */
        ev_feed_event(bare->ev, io, EV_READ);
}

static void subscribe(Bare *bare) {
        rd_kafka_conf_t *conf = rd_kafka_conf_new();
        rd_kafka_topic_partition_list_t *topics = rd_kafka_topic_partition_list_new(1);
        pthread_t thread;
        char error[512];

        set(conf, "bootstrap.servers", bare->options.servers);
        set(conf, "group.id", bare->options.group);
        set(conf, "enable.auto.commit", "false");
        set(conf, "enable.auto.offset.store", "false");
        set(conf, "queued.min.messages", "20000");
        set(conf, "queued.max.messages.kbytes", "65536");
        set(conf, "fetch.max.bytes", "33554432");
        bare->wakes = rd_kafka_conf_set(conf, "fetch.queue.backoff.ms", "10", error,
                                        sizeof(error)) != RD_KAFKA_CONF_OK;
        rd_kafka_conf_set_events(conf, RD_KAFKA_EVENT_FETCH | RD_KAFKA_EVENT_REBALANCE |
                                               RD_KAFKA_EVENT_ERROR);
        bare->rk = rd_kafka_new(RD_KAFKA_CONSUMER, conf, error, sizeof(error));
        if (!bare->rk) {
                die("%s", error);
        }
        check(rd_kafka_poll_set_consumer(bare->rk), "poll_set_consumer");
        bare->events = rd_kafka_queue_get_consumer(bare->rk);
        bare->messages = rd_kafka_queue_new(bare->rk);
        watch(bare, &bare->events_io, bare->events, on_events);
        watch(bare, &bare->messages_io, bare->messages, on_messages);
        sem_init(&bare->wake, 0, 0);
        if (pthread_create(&thread, NULL, wake, bare) != 0) {
                die("no thread");
        }
        rd_kafka_topic_partition_list_add(topics, bare->options.topic, RD_KAFKA_PARTITION_UA);
        check(rd_kafka_subscribe(bare->rk, topics), "subscribe");
        rd_kafka_topic_partition_list_destroy(topics);
}

/* --- the whole ---------------------------------------------------------------------------- */

static const char usage[] =
        "usage: bare --brokers HOST:PORT --topic TOPIC --group GROUP --dsn DSN --messages N\n"
        "            [--connections 1] [--rows 5000] [--in-flight 10000]\n"
        "\n"
        "Saves N messages of the topic from its beginning, with a new group, in the tables that\n"
        "`ackd init-db` made, as fast as it can, and prints what that took, as JSON; from the\n"
        "first batch that was saved to the last. `scripts/bench throughput` measures ackd with "
        "it.\n";

static int64_t number(const char *text, int64_t most) {
        char *end;
        int64_t value = strtoll(text, &end, 10);

        if (!*text || *end || value < 1 || value > most) {
                die("'%s' is no number from 1 to %" PRId64, text, most);
        }
        return value;
}

static Options parse(int argc, char **argv) {
        static const struct option known[] = {
                {"brokers", required_argument, NULL, 'b'},
                {"topic", required_argument, NULL, 't'},
                {"group", required_argument, NULL, 'g'},
                {"dsn", required_argument, NULL, 'd'},
                {"messages", required_argument, NULL, 'm'},
                {"connections", required_argument, NULL, 'c'},
                {"rows", required_argument, NULL, 'r'},
                {"in-flight", required_argument, NULL, 'i'},
                {"help", no_argument, NULL, 'h'},
                {NULL, 0, NULL, 0},
        };
        /* The best of what was tried: one transaction for all partitions, the fewest of them. */
        Options options = {.connections = 1, .rows = 5000, .in_flight = 10000};
        int c;

        while ((c = getopt_long(argc, argv, "h", known, NULL)) != -1) {
                switch (c) {
                case 'b':
                        options.servers = optarg;
                        break;
                case 't':
                        options.topic = optarg;
                        break;
                case 'g':
                        options.group = optarg;
                        break;
                case 'd':
                        options.dsn = optarg;
                        break;
                case 'm':
                        options.messages = number(optarg, INT64_MAX);
                        break;
                case 'c':
                        options.connections = (size_t)number(optarg, CONNECTIONS_MAX);
                        break;
                case 'r':
                        options.rows = (size_t)number(optarg, 1000000);
                        break;
                case 'i':
                        options.in_flight = (size_t)number(optarg, 1000000);
                        break;
                case 'h':
                        fputs(usage, stdout);
                        exit(0);
                default:
                        fputs(usage, stderr);
                        exit(64);
                }
        }
        if (!options.servers || !options.topic || !options.group || !options.dsn ||
            !options.messages || optind < argc) {
                fputs(usage, stderr);
                exit(64);
        }
        return options;
}

static double seconds(const struct timespec *from, const struct timespec *to) {
        return (double)(to->tv_sec - from->tv_sec) + (double)(to->tv_nsec - from->tv_nsec) / 1e9;
}

/* Not ru_maxrss, which counts what the process was before exec. */
static long peak_kib(void) {
        FILE *file = fopen("/proc/self/status", "re");
        char line[256];
        long peak = 0;

        while (file && fgets(line, sizeof(line), file)) {
                if (sscanf(line, "VmHWM: %ld", &peak) == 1) {
                        break;
                }
        }
        if (file) {
                fclose(file);
        }
        return peak;
}

static void report(const Bare *bare) {
        double took = seconds(&bare->began, &bare->ended);
        double cpu = seconds(&bare->cpu_began, &bare->cpu_ended);
        int64_t n = bare->saved - bare->saved_first;

        printf("{\"messages\": %" PRId64 ", \"seconds\": %.3f, \"messages_per_second\": %.0f, "
               "\"cpu_us_per_message\": %.2f, \"peak_rss_kib\": %ld, \"connections\": %zu, "
               "\"rows\": %zu, \"in_flight\": %zu}\n",
               bare->saved, took, took > 0 ? (double)n / took : 0.,
               n > 0 ? cpu * 1e6 / (double)n : 0., peak_kib(), bare->options.connections,
               bare->options.rows, bare->options.in_flight);
}

int main(int argc, char **argv) {
        static Bare bare;

        bare.options = parse(argc, argv);
        bare.ev = ev_default_loop(0);
        ev_set_userdata(bare.ev, &bare);
        connect_all(&bare);
        ev_idle_init(&bare.more, on_more);
        ev_timer_init(&bare.commit, on_commit, 1., 1.);
        ev_timer_start(bare.ev, &bare.commit);
        subscribe(&bare);
        ev_run(bare.ev, 0);
        clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &bare.cpu_ended);
        commit(&bare, false);
        report(&bare);
        fflush(stdout);
        /* The group is left by its timeout: closing would only wait. */
        _exit(0);
}
