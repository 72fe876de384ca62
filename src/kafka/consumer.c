/*
 * The life of a consumer and what the application asks of it; what librdkafka tells is in events.c.
 *
 * Calls that wait for librdkafka's main thread (assign, pause, seek) are made on the loop: that
 * thread does no I/O that blocks and answers in microseconds. Everything that waits for a broker is
 * the helper thread's.
 */

#include "kafka/consumer.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "kafka/consumer_private.h"
#include "kafka/settings.h"

#define CONSUMER_TICK_US      INT64_C(1000000) /* also keeps max.poll.interval.ms quiet when idle */
#define CONSUMER_TICK_END_US  INT64_C(50000)
#define CONSUMER_LOOK_UP_US   INT64_C(10000000)
#define CONSUMER_PROBE_US     INT64_C(1000000)
#define CONSUMER_SEEK_MS      1000
#define CONSUMER_END_HELPER   INT64_C(1500000) /* more than a probe */
#define CONSUMER_END_HANDLE   INT64_C(2000000)
#define CONSUMER_VERSION_2_10 0x020a0000

static const char *state_name(ConsumerState state) {
        switch (state) {
        case CONSUMER_OPEN:
                return "open";
        case CONSUMER_UNSUBSCRIBING:
                return "unsubscribing";
        case CONSUMER_CLOSING:
                return "closing";
        case CONSUMER_CLOSED:
                return "closed";
        }
        return "?";
}

void consumer_set_state(Consumer *consumer, ConsumerState state) {
        log_debug(consumer->log, "kafka.state", FIELDS(), "consumer: %s, was %s", state_name(state),
                  state_name(consumer->state));
        consumer->state = state;
}

void consumer_fail(Consumer *consumer, bool fenced, const char *error) {
        if (consumer->fatal) {
                return;
        }
        consumer->fatal = true;
        consumer->events->fatal(consumer->user, fenced, error);
}

/* --- settings ----------------------------------------------------------------------------- */

/* Topics that a pattern must not match, as librdkafka wants them: one list of patterns. */
static int exclude_topics(rd_kafka_conf_t *conf, const ConsumerOptions *options, char **errorp) {
        CLEANUP(buffer_deinit) Buffer list = BUFFER_INIT;
        const char *own = settings_get(options->settings, options->n_settings, "topic.blacklist");
        int r = 0;

        if (options->exclude == NULL || options->exclude[0] == NULL) {
                return 0;
        }
        if (own != NULL && own[0] != '\0') {
                r = buffer_append_string(&list, own);
        }
        for (size_t i = 0; r == 0 && options->exclude[i] != NULL; i++) {
                r = buffer_append_string(&list, list.size > 0 ? ",^" : "^");
                for (const char *p = options->exclude[i]; r == 0 && *p != '\0'; p++) {
                        /* The only character of a topic's name that means something in a regex. */
                        r = *p == '.' ? buffer_append_string(&list, "\\.")
                                      : buffer_append_char(&list, *p);
                }
                if (r == 0) {
                        r = buffer_append_char(&list, '$');
                }
        }
        if (r < 0) {
                return r;
        }
        char *text = buffer_string(&list);
        if (text == NULL) {
                return error_origin(-ENOMEM);
        }
        return settings_set(conf, "topic.blacklist", text, errorp);
}

/* The prefetch: both limits cover all partitions, whose queues are forwarded to one. */
static int set_prefetch(rd_kafka_conf_t *conf, Consumer *consumer, const ConsumerOptions *options,
                        char **errorp) {
        char text[64];
        size_t size = sizeof(text);
        long long message_max = 1000000;
        long long queue_kbytes = (long long)(options->queue_bytes / 1024);
        long long fetch_max = (long long)(options->queue_bytes / 2);
        int r;

        if (rd_kafka_conf_get(conf, "message.max.bytes", text, &size) == RD_KAFKA_CONF_OK) {
                message_max = strtoll(text, NULL, 10);
        }
        /* librdkafka refuses a smaller one, and more than 50 MiB is never useful. */
        fetch_max = fetch_max > 50LL << 20 ? 50LL << 20 : fetch_max;
        fetch_max = fetch_max < message_max ? message_max : fetch_max;
        queue_kbytes = queue_kbytes < 1 ? 1 : queue_kbytes > 2097151 ? 2097151 : queue_kbytes;
        r = settings_set_int(conf, "queued.min.messages", CONSUMER_QUEUED_MIN, errorp);
        if (r == 0) {
                r = settings_set_int(conf, "queued.max.messages.kbytes", queue_kbytes, errorp);
        }
        if (r == 0) {
                r = settings_set_int(conf, "fetch.max.bytes", fetch_max, errorp);
        }
        /* From 2.2 on the fetcher's sleep can be set; before, it has to be woken. */
        consumer->wakes = false;
        if (settings_get(options->settings, options->n_settings, "fetch.queue.backoff.ms") ==
            NULL) {
                consumer->wakes = rd_kafka_conf_set(conf, "fetch.queue.backoff.ms", "10", text,
                                                    sizeof(text)) != RD_KAFKA_CONF_OK;
        }
        return r;
}

int consumer_set_owned(rd_kafka_conf_t *conf, Consumer *consumer, const ConsumerOptions *options,
                       char **errorp) {
        static const ConsumerSetting owned[] = {
                {"enable.auto.commit", "false"},
                {"enable.auto.offset.store", "false"},
                {"auto.offset.reset", "error"},   /* the default is largest, which loses messages */
                {"enable.partition.eof", "true"}, /* see on_end() */
                {"log.queue", "true"},
        };
        const char *protocol =
                settings_get(options->settings, options->n_settings, "group.protocol");
        int r = 0;

        for (size_t i = 0; r == 0 && i < sizeof(owned) / sizeof(*owned); i++) {
                r = settings_set(conf, owned[i].name, owned[i].value, errorp);
        }
        /* It is the default; said once more, librdkafka warns of every broker that cannot know. */
        if (r == 0 && settings_get(options->settings, options->n_settings,
                                   "allow.auto.create.topics") != NULL) {
                r = settings_set(conf, "allow.auto.create.topics", "false", errorp);
        }
        if (r == 0) {
                r = set_prefetch(conf, consumer, options, errorp);
        }
        if (r == 0) {
                r = exclude_topics(conf, options, errorp);
        }
        /* cooperative-sticky before 2.10 crashes, hangs on close, or rebalances for ever. The
         * protocol of KIP-848 takes no strategy of the client's. */
        if (r == 0 &&
            settings_get(options->settings, options->n_settings, "partition.assignment.strategy") ==
                    NULL &&
            (protocol == NULL || strcmp(protocol, "classic") == 0)) {
                r = settings_set(conf, "partition.assignment.strategy",
                                 rd_kafka_version() >= CONSUMER_VERSION_2_10 ? "cooperative-sticky"
                                                                             : "range,roundrobin",
                                 errorp);
        }
        return r;
}

/* The first is enough: whoever asks for a consumer has asked consumer_check() for all of them. */
static void keep_first(void *user, const char *setting, const char *error) {
        char **errorp = user;
        (void)setting;
        if (*errorp == NULL) {
                *errorp = strdup(error);
        }
}

static int open_handle(Consumer *consumer, const ConsumerOptions *options, char **errorp) {
        rd_kafka_conf_t *conf;
        char *first = NULL;
        int r = consumer_check(options, keep_first, &first);
        if (r != 0) {
                *errorp = r > 0 ? first : *errorp;
                return r > 0 && first == NULL ? error_origin(-ENOMEM) : r;
        }
        r = settings_new(&conf, RD_KAFKA_CONSUMER, options->settings, options->n_settings, errorp);
        if (r != 0) {
                return r;
        }
        r = consumer_set_owned(conf, consumer, options, errorp);
        if (r == 0) {
                rd_kafka_conf_set_events(conf, RD_KAFKA_EVENT_FETCH | RD_KAFKA_EVENT_REBALANCE |
                                                       RD_KAFKA_EVENT_ERROR | RD_KAFKA_EVENT_LOG |
                                                       RD_KAFKA_EVENT_OFFSET_COMMIT);
                r = settings_open(&consumer->rk, RD_KAFKA_CONSUMER, &conf, errorp);
        }
        if (conf != NULL) {
                rd_kafka_conf_destroy(conf);
        }
        return r;
}

/* --- a fetcher that has ended -------------------------------------------------------------- */

static Part *part_of(ConsumerPartition *partition) {
        return container_of(partition, Part, partition);
}

static rd_kafka_topic_partition_list_t *list_of_one(const Part *part, int64_t offset) {
        rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(1);
        rd_kafka_topic_partition_list_add(list, part->topic, part->partition.partition)->offset =
                offset;
        return list;
}

/* All partitions, each where it is. */
static rd_kafka_topic_partition_list_t *list_of_all(const Consumer *consumer) {
        rd_kafka_topic_partition_list_t *list =
                rd_kafka_topic_partition_list_new((int)consumer->parts.n);
        for (size_t i = 0; i < consumer->parts.n; i++) {
                const Part *part = consumer->parts.all[i];
                rd_kafka_topic_partition_list_add(list, part->topic, part->partition.partition)
                        ->offset = part->next;
        }
        return list;
}

/* Stopping a fetch clears the forward of its queue, some time after the assign has returned. The
 * answer to a seek comes behind the stop; a fetcher that has begun again seeks to where it is, one
 * that has not refuses, and both are right. */
static void gather(Consumer *consumer) {
        rd_kafka_topic_partition_list_t *list = list_of_all(consumer);
        rd_kafka_error_t *error = rd_kafka_seek_partitions(consumer->rk, list, CONSUMER_SEEK_MS);

        consumer->scattered = error != NULL; /* timed out: the timer gathers again */
        for (int i = 0; error == NULL && i < list->cnt; i++) {
                consumer_forward(consumer, &list->elems[i]);
        }
        if (error != NULL) {
                rd_kafka_error_destroy(error);
        }
        rd_kafka_topic_partition_list_destroy(list);
}

/*
 * Starts a fetcher that has ended. At an offset that is not in the log librdkafka ends it for good
 * (auto.offset.reset=error), and no seek moves it any more: the partition must leave the assignment
 * and come back. The eager protocol takes nothing smaller than the whole assignment; the others go
 * on where they are, and what was prefetched of them is fetched again.
 */
static void revive(Consumer *consumer, Part *part) {
        /* A rebalance that waits to be told is answered first: its answer is the next assign. */
        if (consumer->state != CONSUMER_OPEN || consumer->revoking != NULL ||
            rd_kafka_queue_length(consumer->main.queue) > 0) {
                return;
        }
        bool cooperative = consumer_is_cooperative(consumer);
        consumer_pause(consumer, &part->partition);
        part->next = 0; /* any number will do, see on_assign() */
        rd_kafka_topic_partition_list_t *list =
                cooperative ? list_of_one(part, part->next) : list_of_all(consumer);
        if (!cooperative ||
            consumer_went_well(consumer, rd_kafka_incremental_unassign(consumer->rk, list),
                               "cannot let go of a partition to read it again")) {
                consumer_went_well(consumer, consumer_assign(consumer, list),
                                   "cannot take a partition again");
        }
        rd_kafka_topic_partition_list_destroy(list);
        gather(consumer);
        log_info(consumer->log, "kafka.revived",
                 FIELDS(.topic = part->topic, .partition = part->partition.partition),
                 "librdkafka had given it up for its offset; it was assigned once more");
}

/* --- timers ------------------------------------------------------------------------------- */

void consumer_probe(Consumer *consumer) {
        if (consumer->probing || consumer->reach == CONSUMER_REACH_UP ||
            consumer->state != CONSUMER_OPEN) {
                return;
        }
        HelperRequest *request = helper_request_new(HELPER_PROBE, 0, CONSUMER_PROBE_US);
        if (request != NULL) {
                consumer->probing = true;
                helper_ask(consumer->helper, request);
        }
}

static void on_timer(LoopTimer *timer) {
        Consumer *consumer = container_of(timer, Consumer, timer);

        loop_timer_set(timer,
                       consumer->state == CONSUMER_OPEN ? CONSUMER_TICK_US : CONSUMER_TICK_END_US);
        consumer_probe(consumer);
        consumer_remind(consumer);
        if (consumer->scattered) {
                gather(consumer);
        }
        /* In case a descriptor was not made readable, and so that the consumer queue is polled
         * within max.poll.interval.ms when nothing happens. */
        queue_serve(&consumer->lines);
        queue_serve(&consumer->replies);
        queue_serve(&consumer->messages);
        queue_serve(&consumer->main);
        consumer_check_closed(consumer);
}

static void on_soon(LoopSoon *soon) {
        Consumer *consumer = container_of(soon, Consumer, soon);

        if (consumer->commit_error != 0) {
                rd_kafka_resp_err_t error = consumer->commit_error;
                consumer->commit_error = 0;
                consumer_reply(consumer, error, NULL);
        }
        consumer_take_early(consumer);
        if (consumer->scattered) {
                gather(consumer);
        }
        if (consumer->state == CONSUMER_CLOSED) {
                loop_timer_stop(&consumer->timer);
                /* Last: the application may free the consumer. */
                consumer->events->closed(consumer->user);
        }
}

static void on_main_served(Queue *queue) {
        consumer_check_closed(container_of(queue, Consumer, main));
}

/* --- life --------------------------------------------------------------------------------- */

static int start_queues(Consumer *consumer) {
        rd_kafka_t *rk = consumer->rk;
        Loop *loop = consumer->loop;
        rd_kafka_resp_err_t err;

        int r = queue_init(&consumer->lines, loop, "kafka log", rd_kafka_queue_new(rk),
                           consumer_on_line);
        if (r < 0) {
                return r;
        }
        err = rd_kafka_set_log_queue(rk, consumer->lines.queue);
        if (err == 0) {
                /* Errors and token refreshes come with the rebalances. */
                err = rd_kafka_poll_set_consumer(rk);
        }
        if (err != 0) {
                return error_origin(-EPROTO);
        }
        r = queue_init(&consumer->main, loop, "kafka events", rd_kafka_queue_get_consumer(rk),
                       consumer_on_main);
        if (r == 0) {
                r = queue_init(&consumer->messages, loop, "kafka messages", rd_kafka_queue_new(rk),
                               consumer_on_message);
        }
        if (r == 0) {
                r = queue_init(&consumer->replies, loop, "kafka commits", rd_kafka_queue_new(rk),
                               consumer_on_reply);
        }
        consumer->main.served = on_main_served;
        consumer->messages.served = consumer_on_messages_served;
        return r;
}

static int copy_topics(Consumer *consumer, const char *const *topics) {
        size_t n = 0;
        while (topics[n] != NULL) {
                n++;
        }
        consumer->topics = calloc(n + 1, sizeof(*consumer->topics));
        consumer->missing = calloc(n + 1, sizeof(*consumer->missing));
        if (consumer->missing == NULL) {
                return error_origin(-ENOMEM);
        }
        for (size_t i = 0; consumer->topics != NULL && i < n; i++) {
                consumer->topics[i] = strdup(topics[i]);
                if (consumer->topics[i] == NULL) {
                        return error_origin(-ENOMEM);
                }
        }
        return consumer->topics == NULL ? error_origin(-ENOMEM) : consumer_troubles_init(consumer);
}

int consumer_new(Consumer **consumerp, Loop *loop, Log *log, const ConsumerOptions *options,
                 const ConsumerEvents *events, void *user, char **errorp) {
        Consumer *consumer = calloc(1, sizeof(*consumer));

        if (consumer == NULL) {
                return error_origin(-ENOMEM);
        }
        consumer->loop = loop;
        consumer->log = log;
        consumer->events = events;
        consumer->user = user;
        consumer->relay.log = log;
        consumer->queue_bytes = options->queue_bytes;
        loop_timer_init(&consumer->timer, loop, "kafka timer", on_timer);
        loop_soon_init(&consumer->soon, loop, "kafka soon", on_soon);
        int r = copy_topics(consumer, options->topics);
        if (r == 0) {
                r = open_handle(consumer, options, errorp);
        }
        if (r == 0) {
                r = start_queues(consumer);
        }
        if (r == 0) {
                r = helper_new(&consumer->helper, loop, consumer->rk, consumer_on_answer, consumer);
        }
        if (r != 0) {
                consumer_free(consumer);
                return r;
        }
        loop_timer_set(&consumer->timer, CONSUMER_TICK_US);
        consumer_probe(consumer);
        *consumerp = consumer;
        return 0;
}

void consumer_free(Consumer *consumer) {
        if (consumer == NULL) {
                return;
        }
        bool closed = consumer->state == CONSUMER_CLOSED;
        loop_timer_stop(&consumer->timer);
        loop_soon_stop(&consumer->soon);
        /* A look-up that is still under way uses the handle: then that stays. */
        bool ended = helper_free(consumer->helper, closed ? CONSUMER_END_HELPER : 0);
        queue_deinit(&consumer->messages);
        queue_deinit(&consumer->replies);
        queue_deinit(&consumer->main);
        queue_deinit(&consumer->lines);
        if (closed && ended && consumer->rk != NULL) {
                helper_destroy_handle(consumer->rk, CONSUMER_END_HANDLE);
        }
        if (consumer->revoking != NULL) {
                rd_kafka_topic_partition_list_destroy(consumer->revoking);
        }
        if (consumer->early != NULL) {
                rd_kafka_topic_partition_list_destroy(consumer->early);
        }
        parts_deinit(&consumer->parts);
        buffer_deinit(&consumer->headers);
        for (size_t i = 0; consumer->topics != NULL && consumer->topics[i] != NULL; i++) {
                free((char *)consumer->topics[i]);
        }
        free(consumer->topics);
        free(consumer->missing);
        consumer_troubles_deinit(consumer);
        free(consumer->cluster_id);
        free(consumer);
}

int consumer_subscribe(Consumer *consumer, char **errorp) {
        rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(4);
        for (size_t i = 0; consumer->topics[i] != NULL; i++) {
                rd_kafka_topic_partition_list_add(list, consumer->topics[i], RD_KAFKA_PARTITION_UA);
        }
        rd_kafka_resp_err_t err = rd_kafka_subscribe(consumer->rk, list);
        rd_kafka_topic_partition_list_destroy(list);
        if (err == 0) {
                consumer->apart_us = loop_now();
                return 0;
        }
        if (asprintf(errorp,
                     "consume.topics: %s: every name must be a topic's or a regular "
                     "expression that starts with ^",
                     rd_kafka_err2str(err)) < 0) {
                *errorp = NULL;
                return error_origin(-ENOMEM);
        }
        return CONSUMER_E_CONFIG;
}

void consumer_close_queue(Consumer *consumer) {
        consumer_set_state(consumer, CONSUMER_CLOSING);
        rd_kafka_error_t *error = rd_kafka_consumer_close_queue(consumer->rk, consumer->main.queue);
        if (error == NULL) {
                return;
        }
        /* Refused after a fatal error, such as a fenced instance: there is nothing to leave. */
        log_info(consumer->log, "kafka.close", FIELDS(.error = rd_kafka_error_name(error)),
                 "the group is not left in order: %s; closing without it",
                 rd_kafka_error_string(error));
        rd_kafka_error_destroy(error);
        consumer_set_state(consumer, CONSUMER_CLOSED);
        loop_soon_set(&consumer->soon);
}

void consumer_check_closed(Consumer *consumer) {
        if (consumer->state == CONSUMER_CLOSING && rd_kafka_consumer_closed(consumer->rk)) {
                consumer_set_state(consumer, CONSUMER_CLOSED);
                loop_soon_set(&consumer->soon);
        }
}

void consumer_close(Consumer *consumer) {
        if (consumer->state != CONSUMER_OPEN) {
                return;
        }
        loop_timer_set(&consumer->timer, CONSUMER_TICK_END_US);
        /* After a fatal error librdkafka drops the assignment without telling. */
        if (consumer->parts.n == 0 || rd_kafka_fatal_error(consumer->rk, NULL, 0) != 0) {
                consumer_close_queue(consumer);
                return;
        }
        consumer_set_state(consumer, CONSUMER_UNSUBSCRIBING);
        rd_kafka_unsubscribe(consumer->rk);
}

/* --- what the application asks for -------------------------------------------------------- */

void consumer_read(Consumer *consumer, bool on) {
        queue_read(&consumer->messages, on);
}

static int look(Consumer *consumer, HelperKind kind, ConsumerPartition *const *partitions,
                size_t n) {
        HelperRequest *request = helper_request_new(kind, n, CONSUMER_LOOK_UP_US);
        if (request == NULL) {
                return error_origin(-ENOMEM);
        }
        for (size_t i = 0; i < n; i++) {
                const Part *part = part_of(partitions[i]);
                rd_kafka_topic_partition_list_add(request->partitions, part->topic,
                                                  part->partition.partition);
                request->ids[i] = part->id;
        }
        helper_ask(consumer->helper, request);
        return 0;
}

int consumer_look_up(Consumer *consumer, ConsumerPartition *const *partitions, size_t n) {
        return look(consumer, HELPER_LOOK_UP, partitions, n);
}

int consumer_look_committed(Consumer *consumer, ConsumerPartition *const *partitions, size_t n) {
        return look(consumer, HELPER_LOOK_COMMITTED, partitions, n);
}

int consumer_start(Consumer *consumer, ConsumerPartition *partition, int64_t offset) {
        Part *part = part_of(partition);
        if (part->revoked) {
                return CONSUMER_E_SEEK; /* it stands still until consumer_unassign() */
        }
        rd_kafka_topic_partition_list_t *list = list_of_one(part, offset);
        /* With a timeout of 0 a refusal (the fetcher has not started, or is stopping) would be
         * lost, and the partition would stand still for ever. The answer is the main thread's. */
        rd_kafka_error_t *error = rd_kafka_seek_partitions(consumer->rk, list, CONSUMER_SEEK_MS);
        rd_kafka_resp_err_t err = error != NULL ? rd_kafka_error_code(error) : list->elems[0].err;

        if (error != NULL) {
                rd_kafka_error_destroy(error);
        }
        if (err == RD_KAFKA_RESP_ERR__STATE && part->refused++ >= CONSUMER_REFUSED_MAX) {
                part->refused = 0;
                revive(consumer, part);
        }
        if (err == 0) {
                part->next = offset;
                part->refused = 0;
                /* Resuming what is not paused makes 2.0.2 deliver its prefetch a second time. */
                if (part->paused) {
                        rd_kafka_resume_partitions(consumer->rk, list);
                        err = list->elems[0].err;
                }
        }
        rd_kafka_topic_partition_list_destroy(list);
        if (err != 0) {
                log_debug(consumer->log, "kafka.seek",
                          FIELDS(.topic = part->topic, .partition = partition->partition,
                                 .offset = offset, .error = rd_kafka_err2name(err)),
                          "cannot seek now: %s; the application tries again",
                          rd_kafka_err2str(err));
                return CONSUMER_E_SEEK;
        }
        part->paused = false;
        return 0;
}

void consumer_pause(Consumer *consumer, ConsumerPartition *partition) {
        Part *part = part_of(partition);
        if (part->paused) {
                return;
        }
        rd_kafka_topic_partition_list_t *list = list_of_one(part, RD_KAFKA_OFFSET_INVALID);
        rd_kafka_pause_partitions(consumer->rk, list);
        rd_kafka_topic_partition_list_destroy(list);
        part->paused = true;
}

int consumer_commit(Consumer *consumer, const ConsumerOffset *offsets, size_t n) {
        /* Two in flight can reach the broker in the wrong order, and both report success. */
        assert(!consumer->committing && n > 0);
        rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new((int)n);

        for (size_t i = 0; i < n; i++) {
                Part *part = part_of(offsets[i].partition);
                rd_kafka_topic_partition_t *one =
                        rd_kafka_topic_partition_list_add(list, part->topic,
                                                          part->partition.partition);
                one->offset = offsets[i].offset;
                one->metadata = strdup(CONSUMER_METADATA);
                if (one->metadata == NULL) {
                        rd_kafka_topic_partition_list_destroy(list);
                        return error_origin(-ENOMEM);
                }
                one->metadata_size = strlen(CONSUMER_METADATA);
        }
        for (size_t i = 0; i < n; i++) {
                part_of(offsets[i].partition)->committing = offsets[i].offset;
        }
        consumer->committing = true;
        rd_kafka_resp_err_t err =
                rd_kafka_commit_queue(consumer->rk, list, consumer->replies.queue, NULL, NULL);
        rd_kafka_topic_partition_list_destroy(list);
        if (err != 0) {
                consumer->commit_error = err;
                loop_soon_set(&consumer->soon);
        }
        return 0;
}

int consumer_unassign(Consumer *consumer) {
        assert(consumer->revoking != NULL);
        return consumer_let_go(consumer);
}

int64_t consumer_high(const Consumer *consumer, const ConsumerPartition *partition) {
        const Part *part = container_of(partition, const Part, partition);
        int64_t low, high;
        if (rd_kafka_get_watermark_offsets(consumer->rk, part->topic, partition->partition, &low,
                                           &high) != 0 ||
            high < part->high) {
                return part->high;
        }
        return high;
}

int64_t consumer_looked_high(const ConsumerPartition *partition) {
        return container_of(partition, const Part, partition)->high;
}

const char *consumer_cluster_id(const Consumer *consumer) {
        return consumer->cluster_id;
}

bool consumer_is_up(const Consumer *consumer) {
        return consumer->reach == CONSUMER_REACH_UP || consumer->reach == CONSUMER_REACH_SUSPECT;
}

bool consumer_has_joined(const Consumer *consumer) {
        return consumer->joined;
}

const char *consumer_library_version(void) {
        return rd_kafka_version_str();
}
