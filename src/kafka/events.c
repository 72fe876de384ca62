/*
 * What librdkafka and the helper thread tell the consumer.
 *
 * librdkafka sends a rebalance only after the one before was answered, but for one case (see
 * on_early_assign()), and its partitions stand still from then on; heartbeats go on meanwhile, so a
 * revoke can wait for a drain up to max.poll.interval.ms.
 */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "kafka/consumer_private.h"
#include "kafka/convert.h"

#define EVENTS_WAKE_US INT64_C(1000000)

#define EVENTS_TOPICS_US INT64_C(5000000)

enum {
        EVENTS_SILENT = 2, /* probes without an answer make an outage: a slow handshake makes one */
};

static void broker_answered(Consumer *consumer) {
        consumer_trouble_clear(consumer, CONSUMER_AUTH);
        if (consumer->reach == CONSUMER_REACH_UP) {
                return;
        }
        consumer_trouble_clear(consumer, CONSUMER_DOWN);
        if (consumer->reach != CONSUMER_REACH_SUSPECT) {
                consumer->reach_us = loop_now();
        }
        if (consumer->reach == CONSUMER_REACH_DOWN && consumer->away_us > 0) {
                log_info(consumer->log, "kafka.up", FIELDS(),
                         "Kafka answers again after %.1f s; going on",
                         (double)(loop_now() - consumer->away_us) / 1e6);
        } else if (consumer->reach != CONSUMER_REACH_SUSPECT) {
                log_info(consumer->log, "kafka.up", FIELDS(), "Kafka answers");
        }
        if (consumer->reach != CONSUMER_REACH_SUSPECT) {
                relay_forget(&consumer->relay);
        }
        consumer->reach = CONSUMER_REACH_UP;
        consumer->silent = 0;
}

static void no_broker_answered(Consumer *consumer) {
        if (consumer->reach == CONSUMER_REACH_DOWN || consumer->reach == CONSUMER_REACH_UP ||
            ++consumer->silent < EVENTS_SILENT) {
                return;
        }
        consumer->reach = CONSUMER_REACH_DOWN;
        consumer->reach_us = consumer->away_us > 0 ? consumer->away_us : loop_now();
        consumer_trouble_set(consumer, CONSUMER_DOWN, consumer->last_error);
        log_warning(consumer->log, "kafka.down", FIELDS(),
                    "no broker answers%s%s; trying again every second, what is in flight goes on",
                    consumer->last_error[0] != '\0' ? ": " : "", consumer->last_error);
}

/* --- rebalances --------------------------------------------------------------------------- */

bool consumer_is_cooperative(const Consumer *consumer) {
        return strcmp(rd_kafka_rebalance_protocol(consumer->rk), "COOPERATIVE") == 0;
}

bool consumer_went_well(Consumer *consumer, rd_kafka_error_t *error, const char *what) {
        if (error == NULL) {
                return true;
        }
        log_error(consumer->log, "kafka.rebalance", FIELDS(.error = rd_kafka_error_name(error)),
                  "%s: %s; waiting for the next rebalance", what, rd_kafka_error_string(error));
        rd_kafka_error_destroy(error);
        return false;
}

rd_kafka_error_t *consumer_assign(Consumer *consumer, const rd_kafka_topic_partition_list_t *list) {
        if (consumer_is_cooperative(consumer)) {
                return rd_kafka_incremental_assign(consumer->rk, list);
        }
        rd_kafka_resp_err_t err = rd_kafka_assign(consumer->rk, list);
        return err == 0 ? NULL : rd_kafka_error_new(err, "%s", rd_kafka_err2str(err));
}

void consumer_forward(Consumer *consumer, const rd_kafka_topic_partition_t *one) {
        rd_kafka_queue_t *queue =
                rd_kafka_queue_get_partition(consumer->rk, one->topic, one->partition);
        if (queue != NULL) {
                rd_kafka_queue_forward(queue, consumer->messages.queue);
                rd_kafka_queue_destroy(queue);
        }
}

static void on_assign(Consumer *consumer, rd_kafka_topic_partition_list_t *list) {
        size_t n = 0;
        ConsumerPartition **partitions = calloc((size_t)list->cnt + 1, sizeof(*partitions));
        int r = partitions == NULL ? -ENOMEM : 0;

        broker_answered(consumer);
        if (consumer->state != CONSUMER_OPEN) {
                /* It crossed our leaving. It must be answered all the same; what it brings is
                 * revoked at once, and its messages belong to no partition here. */
                consumer_went_well(consumer, consumer_assign(consumer, list),
                                   "an assignment while leaving");
                free(partitions);
                return;
        }
        for (int i = 0; r == 0 && i < list->cnt; i++) {
                rd_kafka_topic_partition_t *one = &list->elems[i];
                Part *part;
                r = parts_add(&consumer->parts, one->topic, one->partition, &part);
                if (r == -EEXIST) {
                        r = 0;
                        continue;
                }
                if (r == 0) {
                        consumer_topic_trouble_clear(consumer, one->topic);
                        part->paused = true;
                        partitions[n++] = &part->partition;
                        /* Before every assign: stopping a fetch cleared the forward, and the next
                         * assign does not set it again. */
                        consumer_forward(consumer, one);
                        /* Any number that is none of librdkafka's words: nothing is fetched from
                         * it. A stored offset would end in an error with auto.offset.reset=error.
                         * END is asked of the broker, and an answer that crosses the seek is asked
                         * again half a second later and then overrides the seek: the partition
                         * silently goes on at the end of its log (2.0.2 to 2.15). */
                        one->offset = 0;
                }
        }
        if (r < 0) {
                free(partitions);
                consumer_fail(consumer, false, "no memory for an assignment");
                return;
        }
        /* Before it is assigned, so that nothing is ever fetched from there. */
        rd_kafka_pause_partitions(consumer->rk, list);
        consumer->joined = consumer_went_well(consumer, consumer_assign(consumer, list),
                                              "cannot take an assignment");
        if (!consumer->joined) {
                for (size_t i = 0; i < n; i++) {
                        container_of(partitions[i], Part, partition)->revoked = true;
                }
                parts_remove(&consumer->parts, false);
        }
        consumer->apart_us = consumer->joined ? 0 : loop_now();
        if (consumer->joined) {
                consumer_trouble_clear(consumer, CONSUMER_GROUP_FORBIDDEN);
        }
        if (consumer->joined && n > 0) {
                rd_kafka_pause_partitions(consumer->rk, list);
                consumer->events->assigned(consumer->user, partitions, n);
        }
        free(partitions);
}

/* All that the newest revoke named, to the application. */
static void tell_revoked(Consumer *consumer, bool lost) {
        size_t n = 0;
        ConsumerPartition **partitions = calloc(consumer->parts.n + 1, sizeof(*partitions));

        if (partitions == NULL) {
                consumer_fail(consumer, false, "no memory for a revoke");
                return;
        }
        for (size_t i = 0; i < consumer->parts.n; i++) {
                if (consumer->parts.all[i]->revoked) {
                        partitions[n++] = &consumer->parts.all[i]->partition;
                }
        }
        if (n > 0) {
                consumer->events->revoked(consumer->user, partitions, n, lost);
        } else {
                consumer_let_go(consumer);
        }
        free(partitions);
}

static void forget_early(Consumer *consumer) {
        if (consumer->early != NULL) {
                rd_kafka_topic_partition_list_destroy(steal(consumer->early));
        }
}

/* With the eager protocol librdkafka (2.0.2 to 2.15) joins again without waiting for the answer to
 * a revoke when the topics' metadata change meanwhile, such as by new partitions. The group has
 * gone on then: what still drains is somebody else's, and the answer to the revoke would be taken
 * for one to this assignment. */
static void on_early_assign(Consumer *consumer, const rd_kafka_topic_partition_list_t *list) {
        forget_early(consumer);
        consumer->early = rd_kafka_topic_partition_list_copy(list);
        tell_revoked(consumer, true);
}

void consumer_take_early(Consumer *consumer) {
        if (consumer->early != NULL && consumer->revoking == NULL) {
                rd_kafka_topic_partition_list_t *list = steal(consumer->early);
                on_assign(consumer, list);
                /* It replaces the one before without an unassign in between, whose fetches end only
                 * now. */
                consumer->scattered = consumer->parts.n > 0;
                rd_kafka_topic_partition_list_destroy(list);
        }
}

int consumer_let_go(Consumer *consumer) {
        rd_kafka_topic_partition_list_t *list = steal(consumer->revoking);
        bool some = consumer_is_cooperative(consumer);

        parts_remove(&consumer->parts, !some);
        if (some) {
                consumer_went_well(consumer, rd_kafka_incremental_unassign(consumer->rk, list),
                                   "cannot let go of partitions");
        } else if (consumer->early != NULL) {
                loop_soon_set(&consumer->soon);
        } else {
                rd_kafka_resp_err_t err = rd_kafka_assign(consumer->rk, NULL);
                if (err != 0) {
                        consumer_went_well(consumer,
                                           rd_kafka_error_new(err, "%s", rd_kafka_err2str(err)),
                                           "cannot let go of partitions");
                }
        }
        rd_kafka_topic_partition_list_destroy(list);
        if (consumer->state == CONSUMER_UNSUBSCRIBING && consumer->parts.n == 0 &&
            consumer->early == NULL) {
                consumer_close_queue(consumer);
        }
        return 0;
}

static void on_revoke(Consumer *consumer, rd_kafka_topic_partition_list_t *list) {
        bool lost = rd_kafka_assignment_lost(consumer->rk);
        bool cooperative = consumer_is_cooperative(consumer);

        forget_early(consumer); /* it is among what is revoked */
        if (consumer->revoking != NULL) {
                /* Cannot come before the answer to the first; if it does, both are one. */
                rd_kafka_topic_partition_list_destroy(steal(consumer->revoking));
        }
        consumer->revoking = rd_kafka_topic_partition_list_copy(list);
        for (int i = 0; cooperative && i < list->cnt; i++) {
                Part *part = parts_find(&consumer->parts, list->elems[i].topic,
                                        list->elems[i].partition);
                if (part != NULL) {
                        part->revoked = true;
                }
        }
        for (size_t i = 0; !cooperative && i < consumer->parts.n; i++) {
                consumer->parts.all[i]->revoked = true;
        }
        if (!cooperative || lost || consumer->state != CONSUMER_OPEN) {
                consumer->joined = false;
                consumer->apart_us = loop_now();
        }
        tell_revoked(consumer, lost);
}

static void on_rebalance(Consumer *consumer, rd_kafka_event_t *event) {
        rd_kafka_resp_err_t err = rd_kafka_event_error(event);
        rd_kafka_topic_partition_list_t *list = rd_kafka_event_topic_partition_list(event);

        if (err == RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS) {
                if (consumer->revoking != NULL && !consumer_is_cooperative(consumer)) {
                        on_early_assign(consumer, list);
                        return;
                }
                forget_early(consumer);
                on_assign(consumer, list);
                return;
        }
        if (err != RD_KAFKA_RESP_ERR__REVOKE_PARTITIONS) {
                relay_error(&consumer->relay, LOG_ERROR, "kafka.rebalance", NULL, -1, err,
                            rd_kafka_err2str(err), "letting go of all partitions");
        }
        on_revoke(consumer, list);
}

/* --- errors ------------------------------------------------------------------------------- */

static void on_out_of_range(Consumer *consumer, const rd_kafka_topic_partition_t *one) {
        Part *part = parts_find(&consumer->parts, one->topic, one->partition);
        if (part != NULL) {
                part->refused = CONSUMER_REFUSED_MAX; /* its fetcher has ended, heard or not */
        }
        /* One from before a pause or a seek carries no version and is not dropped by librdkafka. */
        if (part == NULL || part->paused || part->revoked ||
            (one->offset >= 0 && one->offset < part->next)) {
                return;
        }
        consumer->events->out_of_range(consumer->user, &part->partition);
}

/* A fetch from @one->offset found nothing up to the end of the log (the last stable offset). It
 * comes behind the messages before it and carries their version: a pause or a seek drops it with
 * them. */
static void on_end(Consumer *consumer, const rd_kafka_topic_partition_t *one) {
        Part *part = parts_find(&consumer->parts, one->topic, one->partition);
        if (part == NULL || part->paused || part->revoked || one->offset <= part->next) {
                return;
        }
        part->next = one->offset;
        consumer->events->ended(consumer->user, &part->partition, one->offset);
}

static void on_vanished(Consumer *consumer, const rd_kafka_topic_partition_t *one) {
        Part *part = one != NULL ? parts_find(&consumer->parts, one->topic, one->partition) : NULL;
        if (part != NULL && !part->revoked) {
                consumer->events->vanished(consumer->user, &part->partition);
        }
}

static bool is_unknown(rd_kafka_resp_err_t err) {
        return err == RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART ||
               err == RD_KAFKA_RESP_ERR__UNKNOWN_TOPIC ||
               err == RD_KAFKA_RESP_ERR__UNKNOWN_PARTITION;
}

/* A topic that is subscribed to does not exist: librdkafka tells it once, and its name in the text
 * alone. So each is suspected until it was asked for. */
static void on_missing(Consumer *consumer) {
        for (size_t i = 0; consumer->topics[i] != NULL; i++) {
                consumer->missing[i] = consumer->topics[i][0] != '^';
                if (consumer->missing[i]) {
                        consumer->missing_us = loop_now();
                }
        }
}

static void on_topics(Consumer *consumer, const HelperRequest *request) {
        for (int i = 0; request->error == 0 && i < request->partitions->cnt; i++) {
                const rd_kafka_topic_partition_t *one = &request->partitions->elems[i];
                if (is_unknown(one->err)) {
                        consumer_topic_trouble_set(consumer, CONSUMER_TOPIC_MISSING, one->topic,
                                                   rd_kafka_err2str(one->err));
                        log_warning(consumer->log, "kafka.error",
                                    FIELDS(.topic = one->topic,
                                           .error = rd_kafka_err2name(one->err)),
                                    "the topic %s does not exist (consume.topics), or must not be "
                                    "seen; nothing of it "
                                    "is read until it does",
                                    one->topic);
                }
                for (size_t j = 0; one->err == 0 && consumer->topics[j] != NULL; j++) {
                        if (strcmp(consumer->topics[j], one->topic) == 0) {
                                consumer->missing[j] = false;
                                consumer_topic_trouble_clear(consumer, one->topic);
                        }
                }
        }
}

static bool ask_topics(Consumer *consumer) {
        size_t n = 0;
        for (size_t i = 0; consumer->topics[i] != NULL; i++) {
                n += consumer->missing[i];
        }
        HelperRequest *request =
                n > 0 ? helper_request_new(HELPER_TOPICS, n, EVENTS_TOPICS_US) : NULL;
        for (size_t i = 0; request != NULL && consumer->topics[i] != NULL; i++) {
                if (consumer->missing[i]) {
                        rd_kafka_topic_partition_list_add(request->partitions, consumer->topics[i],
                                                          0);
                }
        }
        if (request != NULL) {
                helper_ask(consumer->helper, request);
        }
        return n > 0;
}

void consumer_remind(Consumer *consumer) {
        int64_t now = loop_now();
        if (consumer->state != CONSUMER_OPEN || consumer->reach != CONSUMER_REACH_UP) {
                return;
        }
        if (consumer->missing_us > 0 && now - consumer->missing_us >= REMINDER_AGAIN_US) {
                consumer->missing_us = ask_topics(consumer) ? now : 0;
        }
        if (consumer->apart_us > 0 && now - consumer->apart_us >= REMINDER_AGAIN_US) {
                consumer->apart_us = now;
                if (consumer->missing_us == 0) {
                        log_warning(consumer->log, "kafka.not_joined", FIELDS(),
                                    "not in the consumer group yet, nothing is read: no topic "
                                    "matches consume.topics, or the group still rebalances");
                }
        }
}

static void on_connection_error(Consumer *consumer, rd_kafka_resp_err_t err, const char *text) {
        snprintf(consumer->last_error, sizeof(consumer->last_error), "%s", text);
        /* Whether any other broker answers is asked: librdkafka's own word that all are down does
         * not come in every case. */
        if (consumer->reach == CONSUMER_REACH_UP) {
                consumer->reach = CONSUMER_REACH_SUSPECT;
                consumer->away_us = loop_now();
        }
        consumer_probe(consumer);
        if (err == RD_KAFKA_RESP_ERR__ALL_BROKERS_DOWN) {
                return;
        }
        relay_error(&consumer->relay, LOG_INFO, "kafka.error", NULL, -1, err, text,
                    "librdkafka connects again");
}

/* Whether it is over is asked with the missing ones, once a minute. */
static void on_forbidden(Consumer *consumer, rd_kafka_resp_err_t err, const char *topic,
                         const char *text) {
        if (err == RD_KAFKA_RESP_ERR_GROUP_AUTHORIZATION_FAILED) {
                consumer_trouble_set(consumer, CONSUMER_GROUP_FORBIDDEN, text);
                return;
        }
        consumer_topic_trouble_set(consumer, CONSUMER_TOPIC_FORBIDDEN, topic, text);
        if (topic == NULL) {
                on_missing(consumer);
        }
}

static void on_error(Consumer *consumer, rd_kafka_event_t *event) {
        rd_kafka_resp_err_t err = rd_kafka_event_error(event);
        const char *text = rd_kafka_event_error_string(event);
        rd_kafka_topic_partition_t *one = rd_kafka_event_topic_partition(event);
        const char *topic = one != NULL ? one->topic : NULL;
        int32_t partition = one != NULL ? one->partition : -1;
        const char *next = "waiting for it";
        LogLevel level = LOG_WARNING;

        if (err == RD_KAFKA_RESP_ERR__PARTITION_EOF) {
                if (one != NULL) {
                        consumer_topic_trouble_clear(consumer, one->topic);
                        on_end(consumer, one);
                }
                goto out;
        }
        if (rd_kafka_event_error_is_fatal(event) || err == RD_KAFKA_RESP_ERR__FATAL) {
                consumer_fail(consumer, err == RD_KAFKA_RESP_ERR_FENCED_INSTANCE_ID, text);
                goto out;
        }
        /* librdkafka adds errors with every version: the rest is told in its words. */
        if (err == RD_KAFKA_RESP_ERR__AUTO_OFFSET_RESET ||
            err == RD_KAFKA_RESP_ERR_OFFSET_OUT_OF_RANGE) {
                if (one != NULL) {
                        on_out_of_range(consumer, one);
                }
                goto out;
        }
        if (err == RD_KAFKA_RESP_ERR__TRANSPORT || err == RD_KAFKA_RESP_ERR__RESOLVE ||
            err == RD_KAFKA_RESP_ERR__ALL_BROKERS_DOWN || err == RD_KAFKA_RESP_ERR__TIMED_OUT) {
                on_connection_error(consumer, err, text);
                goto out;
        }
        if (err == RD_KAFKA_RESP_ERR__AUTHENTICATION || err == RD_KAFKA_RESP_ERR__SSL) {
                snprintf(consumer->last_error, sizeof(consumer->last_error), "%s", text);
                consumer_trouble_set(consumer, CONSUMER_AUTH, text);
                level = LOG_ERROR;
                next = "trying again; look at security.protocol, sasl.* and ssl.* under kafka";
        } else if (err == RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED ||
                   err == RD_KAFKA_RESP_ERR_GROUP_AUTHORIZATION_FAILED) {
                level = LOG_ERROR;
                next = "waiting for the right to read";
                on_forbidden(consumer, err, topic, text);
        } else if (is_unknown(err)) {
                next = "waiting until it exists";
                if (one == NULL) {
                        on_missing(consumer);
                }
                consumer_topic_trouble_set(consumer, CONSUMER_TOPIC_MISSING, topic, text);
                on_vanished(consumer, one);
        } else if (err == RD_KAFKA_RESP_ERR__MAX_POLL_EXCEEDED) {
                next = "the partitions are lost, joining the group again";
        }
        relay_error(&consumer->relay, level, "kafka.error", topic, partition, err, text, next);
out:
        if (one != NULL) {
                rd_kafka_topic_partition_destroy(one);
        }
}

/* --- events of the queues ----------------------------------------------------------------- */

static void on_record(Consumer *consumer, const rd_kafka_message_t *message) {
        Record record;
        Part *part = parts_find_message(&consumer->parts, message->rkt, message->partition);

        /* Not ours (any more), or delivered before in this assignment: whatever librdkafka does
         * about a pause, offsets only rise. What is dropped here is read again from where
         * consumer_start() says. */
        if (part == NULL || part->paused || part->revoked || message->offset < part->next) {
                return;
        }
        if (convert_record(&record, message, &consumer->headers) < 0) {
                consumer_fail(consumer, false, "no memory for a message");
                return;
        }
        /* Offsets have gaps: the next is any higher one. */
        part->next = message->offset + 1;
        if (consumer->topic_trouble) {
                consumer_topic_trouble_clear(consumer, part->topic);
        }
        consumer->delivered += message->len + message->key_len;
        consumer->events->fetched(consumer->user, &part->partition, &record);
}

static void on_event(Consumer *consumer, rd_kafka_event_t *event) {
        rd_kafka_event_type_t type = rd_kafka_event_type(event);

        if (type == RD_KAFKA_EVENT_FETCH) {
                /* One event is one message. It is gone when this returns: a message that is held
                 * pins its whole fetch buffer. */
                const rd_kafka_message_t *message = rd_kafka_event_message_next(event);
                if (message != NULL && message->err == 0) {
                        on_record(consumer, message);
                }
        } else if (type == RD_KAFKA_EVENT_REBALANCE) {
                on_rebalance(consumer, event);
        } else if (type == RD_KAFKA_EVENT_ERROR) {
                on_error(consumer, event);
        } else if (type == RD_KAFKA_EVENT_LOG) {
                relay_line(&consumer->relay, event);
        }
}

void consumer_on_main(Queue *queue, rd_kafka_event_t *event) {
        on_event(container_of(queue, Consumer, main), event);
}

void consumer_on_message(Queue *queue, rd_kafka_event_t *event) {
        on_event(container_of(queue, Consumer, messages), event);
}

void consumer_on_line(Queue *queue, rd_kafka_event_t *event) {
        on_event(container_of(queue, Consumer, lines), event);
}

/* Above queued.min.messages, or the limit in bytes, 2.0.2's fetcher sleeps up to a second, and
 * nothing wakes it when the queue runs empty; an answer on the leader's connection does. */
void consumer_on_messages_served(Queue *queue) {
        Consumer *consumer = container_of(queue, Consumer, messages);

        if (!consumer->wakes || consumer->parts.n == 0) {
                return;
        }
        if (rd_kafka_queue_length(queue->queue) >= CONSUMER_QUEUED_MIN) {
                consumer->was_full = true;
                return;
        }
        if (consumer->waking ||
            (!consumer->was_full && consumer->delivered < consumer->queue_bytes / 2)) {
                return;
        }
        HelperRequest *request = helper_request_new(HELPER_WAKE, consumer->parts.n, EVENTS_WAKE_US);
        if (request == NULL) {
                return;
        }
        for (size_t i = 0; i < consumer->parts.n; i++) {
                const Part *part = consumer->parts.all[i];
                rd_kafka_topic_partition_list_add(request->partitions, part->topic,
                                                  part->partition.partition);
        }
        consumer->waking = true;
        consumer->was_full = false;
        consumer->delivered = 0;
        helper_ask(consumer->helper, request);
}

/* --- replies ------------------------------------------------------------------------------ */

void consumer_reply(Consumer *consumer, rd_kafka_resp_err_t error,
                    const rd_kafka_topic_partition_list_t *replies) {
        size_t n = 0;
        ConsumerOffset *results = calloc(consumer->parts.n + 1, sizeof(*results));

        if (results == NULL) {
                consumer_fail(consumer, false, "no memory for the reply to a commit");
                return;
        }
        for (size_t i = 0; i < consumer->parts.n; i++) {
                Part *part = consumer->parts.all[i];
                rd_kafka_resp_err_t err = error;
                if (part->committing < 0) {
                        continue;
                }
                if (replies != NULL) {
                        /* Each partition has its own result; the list may be in another order. */
                        const rd_kafka_topic_partition_t *one =
                                rd_kafka_topic_partition_list_find(replies, part->topic,
                                                                   part->partition.partition);
                        if (one != NULL && one->err != 0) {
                                err = one->err;
                        }
                }
                results[n++] = (ConsumerOffset){
                        .partition = &part->partition,
                        .offset = part->committing,
                        .ok = err == 0,
                        .error = err == 0 ? NULL : rd_kafka_err2str(err),
                };
                part->committing = -1;
        }
        consumer->committing = false;
        if (error == 0) {
                broker_answered(consumer);
        }
        consumer->events->committed(consumer->user, results, n);
        free(results);
}

void consumer_on_reply(Queue *queue, rd_kafka_event_t *event) {
        Consumer *consumer = container_of(queue, Consumer, replies);
        if (rd_kafka_event_type(event) == RD_KAFKA_EVENT_OFFSET_COMMIT) {
                consumer_reply(consumer, rd_kafka_event_error(event),
                               rd_kafka_event_topic_partition_list(event));
        }
}

static void take_cluster_id(Consumer *consumer, HelperRequest *request) {
        if (request->cluster_id != NULL && consumer->cluster_id == NULL) {
                consumer->cluster_id = steal(request->cluster_id);
        }
}

static void on_looked(Consumer *consumer, HelperRequest *request) {
        const rd_kafka_topic_partition_list_t *list = request->partitions;
        size_t n = 0;
        bool ends = request->kind == HELPER_LOOK_UP;
        ConsumerLookUp *results = calloc((size_t)list->cnt + 1, sizeof(*results));

        if (results == NULL) {
                consumer_fail(consumer, false, "no memory for the result of a look-up");
                return;
        }
        take_cluster_id(consumer, request);
        for (int i = 0; i < list->cnt; i++) {
                const rd_kafka_topic_partition_t *one = &list->elems[i];
                Part *part = parts_find_id(&consumer->parts, one->topic, one->partition,
                                           request->ids[i]);
                /* Of a revoked one too: its last commit is preceded by a look. */
                if (part == NULL) {
                        continue;
                }
                ConsumerLookUp *result = &results[n++];
                result->partition = &part->partition;
                result->ok = one->err == 0 && (!ends || request->high[i] >= 0);
                result->committed = one->offset >= 0 ? one->offset : -1;
                result->ours = one->metadata_size == strlen(CONSUMER_METADATA) &&
                               memcmp(one->metadata, CONSUMER_METADATA, one->metadata_size) == 0;
                result->low = ends ? request->low[i] : -1;
                result->high = ends ? request->high[i] : -1;
                if (ends) {
                        part->high = result->ok ? result->high : -1;
                }
        }
        if (request->error == 0) {
                broker_answered(consumer);
        } else {
                if (request->error == RD_KAFKA_RESP_ERR__TIMED_OUT ||
                    request->error == RD_KAFKA_RESP_ERR__TRANSPORT) {
                        /* It took the time of many probes, which waited behind it. */
                        consumer->silent = EVENTS_SILENT;
                        consumer_probe(consumer);
                }
                relay_error(&consumer->relay, LOG_WARNING, "kafka.look_up", NULL, -1,
                            request->error, rd_kafka_err2str(request->error),
                            ends ? "asked was where partitions stand (commits, both ends of "
                                   "their logs); asked again until it is answered"
                                 : "asked was what the group has committed, as before each "
                                   "commit; asked again until it is answered");
        }
        if (ends) {
                consumer->events->looked_up(consumer->user, results, n);
        } else {
                consumer->events->looked_committed(consumer->user, results, n);
        }
        free(results);
}

void consumer_on_answer(void *user, HelperRequest *request) {
        Consumer *consumer = user;
        switch (request->kind) {
        case HELPER_LOOK_UP:
        case HELPER_LOOK_COMMITTED:
                on_looked(consumer, request);
                break;
        case HELPER_WAKE:
                consumer->waking = false;
                break;
        case HELPER_TOPICS:
                on_topics(consumer, request);
                break;
        case HELPER_PROBE:
                consumer->probing = false;
                take_cluster_id(consumer, request);
                if (request->error == 0) {
                        broker_answered(consumer);
                } else {
                        no_broker_answered(consumer);
                }
                break;
        }
}
