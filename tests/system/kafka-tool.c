/*
 * What the system tests do to Kafka beside ackd: make topics, produce, look at offsets.
 *
 * Java's tools take 1.6 s a call and no Python client in Debian 12 speaks to Kafka 4; this takes
 * some ten milliseconds. Results are JSON on stdout; whatever fails ends it with 1.
 *
 * `produce` reads records from stdin until its end. Each is a Head and its bytes: the key, the
 * value, and for each header two int32 sizes, the name and the value. A size of -1 is a null.
 * It writes an array of [partition, offset], in the order of the input.
 */

#include <inttypes.h>
#include <librdkafka/rdkafka.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum {
        TIMEOUT_MS = 20000,
        SIZE_MAX_READ = 64 << 20, /* bytes; a larger size is a broken input */
};

/* Little-endian, as every machine that these tests run on is. */
typedef struct __attribute__((packed)) Head {
        int32_t partition; /* -1: by the key */
        int64_t timestamp; /* ms since 1970; 0: now */
        int32_t key_size;
        int32_t value_size;
        int32_t n_headers;
} Head;

typedef struct Place {
        int32_t partition; /* -1: not delivered yet */
        int64_t offset;
} Place;

/* Delivery reports need to find the places although the array moves as it grows. */
typedef struct Places {
        Place *data;
        size_t n, capacity;
} Places;

typedef struct Command {
        const char *name;
        const char *usage;
        int least, most; /* arguments */
        rd_kafka_type_t type;
        bool transactional;
        void (*run)(rd_kafka_t *rk, int argc, char **argv);
} Command;

static void die(const char *format, ...) __attribute__((format(printf, 1, 2), noreturn));
static void die(const char *format, ...) {
        va_list ap;

        va_start(ap, format);
        fputs("kafka-tool: ", stderr);
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

static void check_error(rd_kafka_error_t *error, const char *what) {
        if (error) {
                die("%s: %s", what, rd_kafka_error_string(error));
        }
}

static int64_t number(const char *text) {
        char *end;
        int64_t value = strtoll(text, &end, 10);

        if (!*text || *end) {
                die("'%s' is no number", text);
        }
        return value;
}

static void delivered(rd_kafka_t *rk, const rd_kafka_message_t *message, void *user) {
        Places *places = user;
        Place *place = &places->data[(size_t)(uintptr_t)message->_private];

        (void)rk;
        check(message->err, "delivery");
        *place = (Place){message->partition, message->offset};
}

/* Takes what it is given and never lets go, for it is served only until the first assignment. */
static void rebalanced(rd_kafka_t *rk, rd_kafka_resp_err_t what,
                       rd_kafka_topic_partition_list_t *partitions, void *user) {
        (void)user;
        if (what == RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS) {
                check(rd_kafka_assign(rk, partitions), "assign");
        }
}

static void set(rd_kafka_conf_t *conf, const char *name, const char *value) {
        char error[512];

        if (rd_kafka_conf_set(conf, name, value, error, sizeof(error)) != RD_KAFKA_CONF_OK) {
                die("%s", error);
        }
}

/* @name: a consumer's group, a producer's transactions. */
static rd_kafka_t *client(const Command *command, const char *servers, const char *name,
                          Places *places) {
        rd_kafka_conf_t *conf = rd_kafka_conf_new();
        rd_kafka_t *rk;
        char error[512];

        set(conf, "bootstrap.servers", servers);
        set(conf, "log_level", "0");
        if (command->type == RD_KAFKA_CONSUMER) {
                set(conf, "group.id", name);
                set(conf, "enable.auto.commit", "false");
                set(conf, "enable.partition.eof", "true");
                rd_kafka_conf_set_rebalance_cb(conf, rebalanced);
        } else {
                set(conf, "enable.idempotence", "true");
                if (command->transactional) {
                        set(conf, "transactional.id", name);
                }
                set(conf, "linger.ms", "5");
                set(conf, "queue.buffering.max.messages", "1000000");
                set(conf, "message.max.bytes", "100000000");
                rd_kafka_conf_set_opaque(conf, places);
                rd_kafka_conf_set_dr_msg_cb(conf, delivered);
        }
        rk = rd_kafka_new(command->type, conf, error, sizeof(error));
        if (!rk) {
                die("%s", error);
        }
        return rk;
}

/* The topic's partitions, each with a leader; -1: it does not exist (yet). */
static int partition_count(rd_kafka_t *rk, const char *topic) {
        rd_kafka_topic_t *rkt = rd_kafka_topic_new(rk, topic, NULL);
        const struct rd_kafka_metadata *metadata;
        int n;

        check(rd_kafka_metadata(rk, 0, rkt, &metadata, TIMEOUT_MS), "metadata");
        n = metadata->topics[0].err ? -1 : metadata->topics[0].partition_cnt;
        for (int i = 0; i < n; i++) {
                if (metadata->topics[0].partitions[i].leader < 0) {
                        n = -1;
                }
        }
        rd_kafka_metadata_destroy(metadata);
        rd_kafka_topic_destroy(rkt);
        return n;
}

/* Whether every leader answers for its partition. */
static bool is_ready(rd_kafka_t *rk, const char *topic, int partitions) {
        bool ready = partition_count(rk, topic) == partitions;

        for (int i = 0; i < partitions && ready; i++) {
                int64_t low, high;

                ready = !rd_kafka_query_watermark_offsets(rk, topic, i, &low, &high, TIMEOUT_MS);
        }
        return ready;
}

static rd_kafka_topic_partition_list_t *partitions_of(rd_kafka_t *rk, const char *topic) {
        rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(8);
        int n = partition_count(rk, topic);

        if (n < 0) {
                die("topic %s: does not exist", topic);
        }
        for (int i = 0; i < n; i++) {
                rd_kafka_topic_partition_list_add(list, topic, i);
        }
        return list;
}

static rd_kafka_event_t *admin_reply(rd_kafka_queue_t *queue, const char *what) {
        rd_kafka_event_t *event = rd_kafka_queue_poll(queue, TIMEOUT_MS);

        if (!event) {
                die("%s: no answer", what);
        }
        if (rd_kafka_event_error(event)) {
                die("%s: %s", what, rd_kafka_event_error_string(event));
        }
        return event;
}

/* --- commands ----------------------------------------------------------------------------- */

static void create(rd_kafka_t *rk, int argc, char **argv) {
        int n = (int)number(argv[1]);
        char error[512];
        rd_kafka_NewTopic_t *topic =
                rd_kafka_NewTopic_new(argv[0], n, -1 /* the broker's default */, error,
                                      sizeof(error));
        rd_kafka_queue_t *queue = rd_kafka_queue_new(rk);
        const rd_kafka_topic_result_t **results;
        rd_kafka_event_t *event;
        size_t n_results;

        if (!topic) {
                die("%s", error);
        }
        for (int i = 2; i < argc; i++) {
                char *value = strchr(argv[i], '=');

                if (!value) {
                        die("'%s' is not NAME=VALUE", argv[i]);
                }
                *value++ = '\0';
                check(rd_kafka_NewTopic_set_config(topic, argv[i], value), argv[i]);
        }
        rd_kafka_CreateTopics(rk, &topic, 1, NULL, queue);
        event = admin_reply(queue, "create");
        results = rd_kafka_CreateTopics_result_topics(rd_kafka_event_CreateTopics_result(event),
                                                      &n_results);
        if (rd_kafka_topic_result_error(results[0])) {
                die("create: %s", rd_kafka_topic_result_error_string(results[0]));
        }
        rd_kafka_event_destroy(event);
        /* The answer comes before every broker knows the topic. */
        while (!is_ready(rk, argv[0], n)) {
                rd_kafka_poll(rk, 10);
        }
        rd_kafka_NewTopic_destroy(topic);
        rd_kafka_queue_destroy(queue);
}

static void delete (rd_kafka_t *rk, int argc, char **argv) {
        rd_kafka_DeleteTopic_t *topic = rd_kafka_DeleteTopic_new(argv[0]);
        rd_kafka_queue_t *queue = rd_kafka_queue_new(rk);
        const rd_kafka_topic_result_t **results;
        rd_kafka_event_t *event;
        size_t n;

        (void)argc;
        rd_kafka_DeleteTopics(rk, &topic, 1, NULL, queue);
        event = admin_reply(queue, "delete");
        results =
                rd_kafka_DeleteTopics_result_topics(rd_kafka_event_DeleteTopics_result(event), &n);
        if (rd_kafka_topic_result_error(results[0])) {
                die("delete: %s", rd_kafka_topic_result_error_string(results[0]));
        }
        rd_kafka_event_destroy(event);
        while (partition_count(rk, argv[0]) >= 0) {
                rd_kafka_poll(rk, 10);
        }
        rd_kafka_DeleteTopic_destroy(topic);
        rd_kafka_queue_destroy(queue);
}

/* Makes the topic larger. */
static void grow(rd_kafka_t *rk, int argc, char **argv) {
        int n = (int)number(argv[1]);
        char error[512];
        rd_kafka_NewPartitions_t *partitions =
                rd_kafka_NewPartitions_new(argv[0], (size_t)n, error, sizeof(error));
        rd_kafka_queue_t *queue = rd_kafka_queue_new(rk);
        const rd_kafka_topic_result_t **results;
        rd_kafka_event_t *event;
        size_t n_results;

        (void)argc;
        if (!partitions) {
                die("%s", error);
        }
        rd_kafka_CreatePartitions(rk, &partitions, 1, NULL, queue);
        event = admin_reply(queue, "grow");
        results = rd_kafka_CreatePartitions_result_topics(rd_kafka_event_CreatePartitions_result(
                                                                  event),
                                                          &n_results);
        if (rd_kafka_topic_result_error(results[0])) {
                die("grow: %s", rd_kafka_topic_result_error_string(results[0]));
        }
        rd_kafka_event_destroy(event);
        while (!is_ready(rk, argv[0], n)) {
                rd_kafka_poll(rk, 10);
        }
        rd_kafka_NewPartitions_destroy(partitions);
        rd_kafka_queue_destroy(queue);
}

/* Deletes what lies below an offset, as retention does. */
static void trim(rd_kafka_t *rk, int argc, char **argv) {
        rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(1);
        rd_kafka_queue_t *queue = rd_kafka_queue_new(rk);
        rd_kafka_DeleteRecords_t *records;
        rd_kafka_event_t *event;

        (void)argc;
        rd_kafka_topic_partition_list_add(list, argv[0], (int32_t)number(argv[1]))->offset =
                number(argv[2]);
        records = rd_kafka_DeleteRecords_new(list);
        rd_kafka_DeleteRecords(rk, &records, 1, NULL, queue);
        event = admin_reply(queue, "trim");
        check(rd_kafka_DeleteRecords_result_offsets(rd_kafka_event_DeleteRecords_result(event))
                      ->elems[0]
                      .err,
              "trim");
        rd_kafka_event_destroy(event);
        rd_kafka_DeleteRecords_destroy(records);
        rd_kafka_topic_partition_list_destroy(list);
        rd_kafka_queue_destroy(queue);
}

/* Deletes a commit, as its expiry does; works only while the group has no member. */
static void forget(rd_kafka_t *rk, int argc, char **argv) {
        rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(1);
        rd_kafka_queue_t *queue = rd_kafka_queue_new(rk);
        rd_kafka_DeleteConsumerGroupOffsets_t *offsets;
        const rd_kafka_group_result_t **groups;
        rd_kafka_event_t *event;
        size_t n;

        (void)argc;
        rd_kafka_topic_partition_list_add(list, argv[1], (int32_t)number(argv[2]));
        offsets = rd_kafka_DeleteConsumerGroupOffsets_new(argv[0], list);
        rd_kafka_DeleteConsumerGroupOffsets(rk, &offsets, 1, NULL, queue);
        event = admin_reply(queue, "forget");
        groups = rd_kafka_DeleteConsumerGroupOffsets_result_groups(
                rd_kafka_event_DeleteConsumerGroupOffsets_result(event), &n);
        if (rd_kafka_group_result_error(groups[0])) {
                die("forget: %s", rd_kafka_error_string(rd_kafka_group_result_error(groups[0])));
        }
        check(rd_kafka_group_result_partitions(groups[0])->elems[0].err, "forget");
        rd_kafka_event_destroy(event);
        rd_kafka_DeleteConsumerGroupOffsets_destroy(offsets);
        rd_kafka_topic_partition_list_destroy(list);
        rd_kafka_queue_destroy(queue);
}

/* False: the input ends here. */
static bool read_exactly(void *data, size_t size) {
        size_t n = fread(data, 1, size, stdin);

        if (n != size && (n > 0 || !feof(stdin))) {
                die("the input ends in the middle of a record");
        }
        return n == size;
}

/* NULL for a null; otherwise malloc'd, with a NUL behind it. */
static char *read_bytes(int32_t size) {
        char *data;

        if (size < 0) {
                return NULL;
        }
        if (size > SIZE_MAX_READ || !(data = malloc((size_t)size + 1))) {
                die("a record has %" PRId32 " bytes", size);
        }
        if (size > 0 && !read_exactly(data, (size_t)size)) {
                die("the input ends in the middle of a record");
        }
        data[size] = '\0';
        return data;
}

static rd_kafka_headers_t *read_headers(int32_t n) {
        rd_kafka_headers_t *headers = rd_kafka_headers_new((size_t)n);

        for (int32_t i = 0; i < n; i++) {
                int32_t sizes[2];
                char *name, *value;

                if (!read_exactly(sizes, sizeof(sizes))) {
                        die("the input ends in the middle of a record");
                }
                name = read_bytes(sizes[0]);
                value = read_bytes(sizes[1]);
                check(rd_kafka_header_add(headers, name, sizes[0], value, sizes[1]), "header");
                free(name);
                free(value);
        }
        return headers;
}

static size_t places_add(Places *places) {
        if (places->n == places->capacity) {
                places->capacity = places->capacity ? 2 * places->capacity : 1024;
                places->data = realloc(places->data, places->capacity * sizeof(Place));
                if (!places->data) {
                        die("no memory");
                }
        }
        places->data[places->n].partition = -1;
        return places->n++;
}

/* False: the queue is full. Takes the headers when it is not. */
static bool produce_one(rd_kafka_t *rk, const char *topic, const Head *head, void *key, void *value,
                        rd_kafka_headers_t *headers, size_t index) {
        /* The macros of rd_kafka_producev() are not pedantic C. */
        const rd_kafka_vu_t what[] = {
                {.vtype = RD_KAFKA_VTYPE_TOPIC, .u.cstr = topic},
                {.vtype = RD_KAFKA_VTYPE_PARTITION, .u.i32 = head->partition},
                {.vtype = RD_KAFKA_VTYPE_TIMESTAMP, .u.i64 = head->timestamp},
                {.vtype = RD_KAFKA_VTYPE_KEY, .u.mem = {key, key ? (size_t)head->key_size : 0}},
                {.vtype = RD_KAFKA_VTYPE_VALUE,
                 .u.mem = {value, value ? (size_t)head->value_size : 0}},
                {.vtype = RD_KAFKA_VTYPE_HEADERS, .u.headers = headers},
                {.vtype = RD_KAFKA_VTYPE_MSGFLAGS, .u.i = RD_KAFKA_MSG_F_COPY},
                {.vtype = RD_KAFKA_VTYPE_OPAQUE, .u.ptr = (void *)(uintptr_t)index},
        };
        rd_kafka_error_t *error = rd_kafka_produceva(rk, what, sizeof(what) / sizeof(*what));

        if (!error) {
                return true;
        }
        if (rd_kafka_error_code(error) != RD_KAFKA_RESP_ERR__QUEUE_FULL) {
                die("produce: %s", rd_kafka_error_string(error));
        }
        rd_kafka_error_destroy(error);
        return false;
}

/* Sends the records of stdin and waits until all are delivered. */
static void send_records(rd_kafka_t *rk, const char *topic) {
        Places *places = rd_kafka_opaque(rk);
        Head head;

        while (read_exactly(&head, sizeof(head))) {
                char *key = read_bytes(head.key_size);
                char *value = read_bytes(head.value_size);
                rd_kafka_headers_t *headers = read_headers(head.n_headers);
                size_t index = places_add(places);

                while (!produce_one(rk, topic, &head, key, value, headers, index)) {
                        rd_kafka_poll(rk, 100);
                }
                rd_kafka_poll(rk, 0);
                free(key);
                free(value);
        }
        check(rd_kafka_flush(rk, 6 * TIMEOUT_MS), "flush");
}

static void print_places(rd_kafka_t *rk) {
        const Places *places = rd_kafka_opaque(rk);

        putchar('[');
        for (size_t i = 0; i < places->n; i++) {
                if (places->data[i].partition < 0) {
                        die("record %zu was not delivered", i);
                }
                printf("%s[%" PRId32 ",%" PRId64 "]", i ? "," : "", places->data[i].partition,
                       places->data[i].offset);
        }
        puts("]");
}

static void produce(rd_kafka_t *rk, int argc, char **argv) {
        (void)argc;
        send_records(rk, argv[0]);
        print_places(rk);
}

/* `produce` as one transaction. One that is left open ends as aborted when the next one of the
 * topic begins, or by the broker after a minute. */
static void transact(rd_kafka_t *rk, int argc, char **argv) {
        const char *end = argv[1];

        (void)argc;
        check_error(rd_kafka_init_transactions(rk, TIMEOUT_MS), "init");
        check_error(rd_kafka_begin_transaction(rk), "begin");
        send_records(rk, argv[0]);
        if (strcmp(end, "commit") == 0) {
                check_error(rd_kafka_commit_transaction(rk, TIMEOUT_MS), end);
        } else if (strcmp(end, "abort") == 0) {
                check_error(rd_kafka_abort_transaction(rk, TIMEOUT_MS), end);
        } else if (strcmp(end, "leave") != 0) {
                die("'%s' is none of commit, abort, leave", end);
        }
        print_places(rk);
}

static void print_offset(const rd_kafka_message_t *message) {
        printf("%" PRId64, message->offset);
}

/* In hexadecimal; null. */
static void print_bytes(const void *data, size_t size) {
        const unsigned char *bytes = data;

        if (!data) {
                fputs("null", stdout);
                return;
        }
        putchar('"');
        for (size_t i = 0; i < size; i++) {
                printf("%02x", bytes[i]);
        }
        putchar('"');
}

/* {"offset": 0, "key": …, "value": …, "headers": [[name, value], …]} */
static void print_record(const rd_kafka_message_t *message) {
        rd_kafka_headers_t *headers;
        const char *name;
        const void *value;
        size_t size;

        printf("{\"offset\":%" PRId64 ",\"key\":", message->offset);
        print_bytes(message->key, message->key_len);
        fputs(",\"value\":", stdout);
        print_bytes(message->payload, message->len);
        fputs(",\"headers\":[", stdout);
        if (rd_kafka_message_headers(message, &headers) == 0) {
                for (size_t i = 0; rd_kafka_header_get_all(headers, i, &name, &value, &size) == 0;
                     i++) {
                        fputs(i ? ",[" : "[", stdout);
                        print_bytes(name, strlen(name));
                        putchar(',');
                        print_bytes(value, size);
                        putchar(']');
                }
        }
        fputs("]}", stdout);
}

/* {"0": [what @print makes of each, …], …}: what is there to read, without what compaction and
 * aborts took out. */
static void read_all(rd_kafka_t *rk, char **argv, void (*print)(const rd_kafka_message_t *)) {
        rd_kafka_topic_partition_list_t *list = partitions_of(rk, argv[0]);

        putchar('{');
        for (int i = 0; i < list->cnt; i++) {
                rd_kafka_topic_partition_list_t *one = rd_kafka_topic_partition_list_new(1);
                const char *separator = "";
                rd_kafka_message_t *message;

                rd_kafka_topic_partition_list_add(one, argv[0], i)->offset =
                        RD_KAFKA_OFFSET_BEGINNING;
                check(rd_kafka_assign(rk, one), "assign");
                rd_kafka_topic_partition_list_destroy(one);
                printf("%s\"%d\":[", i ? "," : "", i);
                while ((message = rd_kafka_consumer_poll(rk, TIMEOUT_MS)) != NULL &&
                       !message->err) {
                        fputs(separator, stdout);
                        print(message);
                        separator = ",";
                        rd_kafka_message_destroy(message);
                }
                if (!message) {
                        die("reading: no answer");
                }
                if (message->err != RD_KAFKA_RESP_ERR__PARTITION_EOF) {
                        check(message->err, "reading");
                }
                rd_kafka_message_destroy(message);
                putchar(']');
        }
        puts("}");
        rd_kafka_topic_partition_list_destroy(list);
}

static void offsets(rd_kafka_t *rk, int argc, char **argv) {
        (void)argc;
        read_all(rk, argv, print_offset);
}

static void records(rd_kafka_t *rk, int argc, char **argv) {
        (void)argc;
        read_all(rk, argv, print_record);
}

/* Nobody may write to a topic, or everybody again: with a broker that has an authorizer. */
static void forbid(rd_kafka_t *rk, int argc, char **argv) {
        rd_kafka_queue_t *queue = rd_kafka_queue_new(rk);
        rd_kafka_AclBinding_t *acl =
                rd_kafka_AclBinding_new(RD_KAFKA_RESOURCE_TOPIC, argv[0],
                                        RD_KAFKA_RESOURCE_PATTERN_LITERAL, "User:*", "*",
                                        RD_KAFKA_ACL_OPERATION_WRITE,
                                        RD_KAFKA_ACL_PERMISSION_TYPE_DENY, NULL, 0);
        const rd_kafka_acl_result_t **results;
        rd_kafka_event_t *event;
        size_t n;

        (void)argc;
        rd_kafka_CreateAcls(rk, &acl, 1, NULL, queue);
        event = admin_reply(queue, "forbid");
        results = rd_kafka_CreateAcls_result_acls(rd_kafka_event_CreateAcls_result(event), &n);
        check_error((rd_kafka_error_t *)rd_kafka_acl_result_error(results[0]), "forbid");
        rd_kafka_event_destroy(event);
        rd_kafka_AclBinding_destroy(acl);
        rd_kafka_queue_destroy(queue);
}

static void permit(rd_kafka_t *rk, int argc, char **argv) {
        rd_kafka_queue_t *queue = rd_kafka_queue_new(rk);
        rd_kafka_AclBindingFilter_t *filter =
                rd_kafka_AclBindingFilter_new(RD_KAFKA_RESOURCE_TOPIC, argv[0],
                                              RD_KAFKA_RESOURCE_PATTERN_LITERAL, NULL, NULL,
                                              RD_KAFKA_ACL_OPERATION_ANY,
                                              RD_KAFKA_ACL_PERMISSION_TYPE_ANY, NULL, 0);
        rd_kafka_event_t *event;

        (void)argc;
        rd_kafka_DeleteAcls(rk, &filter, 1, NULL, queue);
        event = admin_reply(queue, "permit");
        rd_kafka_event_destroy(event);
        rd_kafka_AclBinding_destroy(filter);
        rd_kafka_queue_destroy(queue);
}

/* {"0": [low, high], …} */
static void ends(rd_kafka_t *rk, int argc, char **argv) {
        rd_kafka_topic_partition_list_t *list = partitions_of(rk, argv[0]);

        (void)argc;
        putchar('{');
        for (int i = 0; i < list->cnt; i++) {
                int64_t low, high;

                check(rd_kafka_query_watermark_offsets(rk, argv[0], i, &low, &high, TIMEOUT_MS),
                      "ends");
                printf("%s\"%d\":[%" PRId64 ",%" PRId64 "]", i ? "," : "", i, low, high);
        }
        puts("}");
        rd_kafka_topic_partition_list_destroy(list);
}

/* A group's coordinator is being found, or has just begun: the first question of a new group. */
static bool is_passing(rd_kafka_resp_err_t err) {
        return err == RD_KAFKA_RESP_ERR_NOT_COORDINATOR ||
               err == RD_KAFKA_RESP_ERR_COORDINATOR_NOT_AVAILABLE ||
               err == RD_KAFKA_RESP_ERR_COORDINATOR_LOAD_IN_PROGRESS;
}

static void ask_committed(rd_kafka_t *rk, rd_kafka_topic_partition_list_t *list) {
        for (int left = TIMEOUT_MS / 100;; left--) {
                rd_kafka_resp_err_t err = rd_kafka_committed(rk, list, TIMEOUT_MS);
                for (int i = 0; err == 0 && i < list->cnt; i++) {
                        err = list->elems[i].err;
                }
                if (!is_passing(err) || left == 0) {
                        check(err, "committed");
                        return;
                }
                usleep(100 * 1000);
        }
}

/* {"0": {"offset": 5, "metadata": "ackd"}, …}; a partition without a commit is left out. */
static void committed(rd_kafka_t *rk, int argc, char **argv) {
        rd_kafka_topic_partition_list_t *list = partitions_of(rk, argv[1]);
        const char *separator = "";

        (void)argc;
        ask_committed(rk, list);
        putchar('{');
        for (int i = 0; i < list->cnt; i++) {
                const rd_kafka_topic_partition_t *p = &list->elems[i];
                if (p->offset >= 0) {
                        printf("%s\"%d\":{\"offset\":%" PRId64 ",\"metadata\":\"%.*s\"}", separator,
                               i, p->offset, (int)p->metadata_size,
                               p->metadata ? (const char *)p->metadata : "");
                        separator = ",";
                }
        }
        puts("}");
        rd_kafka_topic_partition_list_destroy(list);
}

/* As an operator's tool does; works only while the group has no member. */
static void commit(rd_kafka_t *rk, int argc, char **argv) {
        rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(1);
        rd_kafka_topic_partition_t *p =
                rd_kafka_topic_partition_list_add(list, argv[1], (int32_t)number(argv[2]));

        p->offset = number(argv[3]);
        if (argc > 4) {
                p->metadata = strdup(argv[4]);
                p->metadata_size = strlen(argv[4]);
        }
        check(rd_kafka_commit(rk, list, 0), "commit");
        check(p->err, "commit");
        rd_kafka_topic_partition_list_destroy(list);
}

/* A member that stays and does not answer to a rebalance, so that whoever joins after it waits.
 * Says "joined", and ends when stdin does. */
static void member(rd_kafka_t *rk, int argc, char **argv) {
        rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(1);
        rd_kafka_topic_partition_list_t *assigned = NULL;

        (void)argc;
        rd_kafka_topic_partition_list_add(list, argv[1], RD_KAFKA_PARTITION_UA);
        check(rd_kafka_subscribe(rk, list), "subscribe");
        rd_kafka_topic_partition_list_destroy(list);
        do {
                rd_kafka_message_t *message = rd_kafka_consumer_poll(rk, 100);

                if (message) {
                        rd_kafka_message_destroy(message);
                }
                if (assigned) {
                        rd_kafka_topic_partition_list_destroy(assigned);
                }
                check(rd_kafka_assignment(rk, &assigned), "assignment");
        } while (assigned->cnt == 0);
        rd_kafka_topic_partition_list_destroy(assigned);
        puts("joined");
        fflush(stdout);
        while (getchar() != EOF) {
        }
        /* An orderly end would answer the rebalance first. */
        _exit(0);
}

/* {"state": "Stable", "members": 1, "assignor": "range"} */
static void group(rd_kafka_t *rk, int argc, char **argv) {
        rd_kafka_queue_t *queue = rd_kafka_queue_new(rk);
        const rd_kafka_ConsumerGroupDescription_t **groups;
        rd_kafka_event_t *event;
        size_t n;

        (void)argc;
        for (int left = TIMEOUT_MS / 100;; left--) {
                const rd_kafka_error_t *error;
                rd_kafka_DescribeConsumerGroups(rk, (const char **)argv, 1, NULL, queue);
                event = admin_reply(queue, "group");
                groups = rd_kafka_DescribeConsumerGroups_result_groups(
                        rd_kafka_event_DescribeConsumerGroups_result(event), &n);
                error = rd_kafka_ConsumerGroupDescription_error(groups[0]);
                if (error == NULL) {
                        break;
                }
                if (!is_passing(rd_kafka_error_code(error)) || left == 0) {
                        die("group: %s", rd_kafka_error_string(error));
                }
                rd_kafka_event_destroy(event);
                usleep(100 * 1000);
        }
        printf("{\"state\":\"%s\",\"members\":%zu,\"assignor\":\"%s\"}\n",
               rd_kafka_consumer_group_state_name(
                       rd_kafka_ConsumerGroupDescription_state(groups[0])),
               rd_kafka_ConsumerGroupDescription_member_count(groups[0]),
               rd_kafka_ConsumerGroupDescription_partition_assignor(groups[0]));
        rd_kafka_event_destroy(event);
        rd_kafka_queue_destroy(queue);
}

static const Command commands[] = {
        {"commit", "GROUP TOPIC PARTITION OFFSET [METADATA]", 4, 5, RD_KAFKA_CONSUMER, false,
         commit},
        {"committed", "GROUP TOPIC", 2, 2, RD_KAFKA_CONSUMER, false, committed},
        {"create", "TOPIC PARTITIONS [NAME=VALUE...]", 2, 20, RD_KAFKA_PRODUCER, false, create},
        {"delete", "TOPIC", 1, 1, RD_KAFKA_PRODUCER, false, delete},
        {"ends", "TOPIC", 1, 1, RD_KAFKA_PRODUCER, false, ends},
        {"forbid", "TOPIC", 1, 1, RD_KAFKA_PRODUCER, false, forbid},
        {"forget", "GROUP TOPIC PARTITION", 3, 3, RD_KAFKA_PRODUCER, false, forget},
        {"group", "GROUP", 1, 1, RD_KAFKA_PRODUCER, false, group},
        {"grow", "TOPIC PARTITIONS", 2, 2, RD_KAFKA_PRODUCER, false, grow},
        {"member", "GROUP TOPIC", 2, 2, RD_KAFKA_CONSUMER, false, member},
        {"offsets", "TOPIC", 1, 1, RD_KAFKA_CONSUMER, false, offsets},
        {"permit", "TOPIC", 1, 1, RD_KAFKA_PRODUCER, false, permit},
        {"produce", "TOPIC <RECORDS", 1, 1, RD_KAFKA_PRODUCER, false, produce},
        {"records", "TOPIC", 1, 1, RD_KAFKA_CONSUMER, false, records},
        {"transact", "TOPIC commit|abort|leave <RECORDS", 2, 2, RD_KAFKA_PRODUCER, true, transact},
        {"trim", "TOPIC PARTITION OFFSET", 3, 3, RD_KAFKA_PRODUCER, false, trim},
};

int main(int argc, char **argv) {
        const size_t n = sizeof(commands) / sizeof(*commands);
        Places places = {0};

        for (size_t i = 0; argc > 2 && i < n; i++) {
                const Command *command = &commands[i];

                if (strcmp(command->name, argv[2]) == 0 && argc - 3 >= command->least &&
                    argc - 3 <= command->most) {
                        rd_kafka_t *rk = client(command, argv[1], argv[3], &places);

                        command->run(rk, argc - 3, argv + 3);
                        rd_kafka_destroy(rk);
                        free(places.data);
                        return 0;
                }
        }
        for (size_t i = 0; i < n; i++) {
                fprintf(stderr, "usage: kafka-tool SERVERS %s %s\n", commands[i].name,
                        commands[i].usage);
        }
        return 64;
}
