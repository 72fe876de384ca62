/*
 * The delivery reports come by a queue with a descriptor; see queue.h. `pending` counts what
 * librdkafka owes an answer for; nothing else is kept of a message.
 */

#include "kafka/producer.h"

#include <librdkafka/rdkafka.h>
#include <stdlib.h>
#include <string.h>

#include "kafka/helper.h"
#include "kafka/queue.h"
#include "kafka/relay.h"
#include "kafka/settings.h"

#define PRODUCER_TICK_US    INT64_C(1000000)
#define PRODUCER_END_HANDLE INT64_C(2000000)

enum {
        PRODUCER_MAX_KBYTES = 32 * 1024, /* librdkafka's default is 1 GiB */
        PRODUCER_MAX_MESSAGES = 100000,
};

struct Producer {
        Log *log;
        const ProducerEvents *events;
        void *user;
        rd_kafka_t *rk;
        Queue reports; /* delivery reports and errors */
        Queue lines;   /* librdkafka's log */
        LoopTimer timer;
        LoopTimer flush_timer;
        LoopSoon flush_soon;
        Relay relay;
        size_t pending;
        size_t room_at; /* `room` is due when `pending` falls to it */
        bool full;      /* it said so, and `room` is due */
        bool flushing;
        bool fatal; /* told */
        ProducerFault fault;
};

static ProducerFault fault_of(rd_kafka_resp_err_t err) {
        static const struct {
                rd_kafka_resp_err_t err;
                ProducerFault fault;
        } known[] = {
                {RD_KAFKA_RESP_ERR_NO_ERROR, PRODUCER_FAULT_NONE},
                {RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE, PRODUCER_FAULT_TOO_LARGE},
                {RD_KAFKA_RESP_ERR_RECORD_LIST_TOO_LARGE, PRODUCER_FAULT_TOO_LARGE},
                {RD_KAFKA_RESP_ERR__UNKNOWN_TOPIC, PRODUCER_FAULT_NO_TOPIC},
                {RD_KAFKA_RESP_ERR__UNKNOWN_PARTITION, PRODUCER_FAULT_NO_TOPIC},
                {RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART, PRODUCER_FAULT_NO_TOPIC},
                {RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED, PRODUCER_FAULT_FORBIDDEN},
                {RD_KAFKA_RESP_ERR_CLUSTER_AUTHORIZATION_FAILED, PRODUCER_FAULT_FORBIDDEN},
                {RD_KAFKA_RESP_ERR__MSG_TIMED_OUT, PRODUCER_FAULT_AWAY},
                {RD_KAFKA_RESP_ERR__TIMED_OUT, PRODUCER_FAULT_AWAY},
                {RD_KAFKA_RESP_ERR__TRANSPORT, PRODUCER_FAULT_AWAY},
                {RD_KAFKA_RESP_ERR__ALL_BROKERS_DOWN, PRODUCER_FAULT_AWAY},
                {RD_KAFKA_RESP_ERR__AUTHENTICATION, PRODUCER_FAULT_AWAY},
                {RD_KAFKA_RESP_ERR_REQUEST_TIMED_OUT, PRODUCER_FAULT_AWAY},
                {RD_KAFKA_RESP_ERR_NETWORK_EXCEPTION, PRODUCER_FAULT_AWAY},
                {RD_KAFKA_RESP_ERR_LEADER_NOT_AVAILABLE, PRODUCER_FAULT_AWAY},
                {RD_KAFKA_RESP_ERR_NOT_LEADER_FOR_PARTITION, PRODUCER_FAULT_AWAY},
                {RD_KAFKA_RESP_ERR_NOT_ENOUGH_REPLICAS, PRODUCER_FAULT_AWAY},
                {RD_KAFKA_RESP_ERR_NOT_ENOUGH_REPLICAS_AFTER_APPEND, PRODUCER_FAULT_AWAY},
                {RD_KAFKA_RESP_ERR_KAFKA_STORAGE_ERROR, PRODUCER_FAULT_AWAY},
        };
        for (size_t i = 0; i < sizeof(known) / sizeof(*known); i++) {
                if (known[i].err == err) {
                        return known[i].fault;
                }
        }
        return PRODUCER_FAULT_OTHER;
}

static int set_owned(rd_kafka_conf_t *conf, const ConsumerSetting *settings, size_t n_settings,
                     char **errorp) {
        bool acks = settings_get(settings, n_settings, "acks") != NULL ||
                    settings_get(settings, n_settings, "request.required.acks") != NULL;
        bool idempotence = settings_get(settings, n_settings, "enable.idempotence") != NULL;
        int r = settings_set(conf, "log.queue", "true", errorp);

        if (r == 0) {
                r = settings_set_int(conf, "queue.buffering.max.kbytes", PRODUCER_MAX_KBYTES,
                                     errorp);
        }
        if (r == 0) {
                r = settings_set_int(conf, "queue.buffering.max.messages", PRODUCER_MAX_MESSAGES,
                                     errorp);
        }
        /* Idempotence asks for acks=all: who sets one of the two decides for both. */
        if (r == 0 && !acks) {
                r = settings_set(conf, "acks", "all", errorp);
        }
        if (r == 0 && !acks && !idempotence) {
                r = settings_set(conf, "enable.idempotence", "true", errorp);
        }
        /* The broker is the judge: librdkafka's own limit, 1 MB, is below that of brokers, and what
         * was consumed could not be produced again. But what is larger than the whole queue would
         * wait for room for ever. */
        return r != 0 ? r
                      : settings_set_int(conf, "message.max.bytes", PRODUCER_MAX_KBYTES * 1024,
                                         errorp);
}

static int open_handle(Producer *producer, const ConsumerSetting *settings, size_t n_settings,
                       char **errorp) {
        rd_kafka_conf_t *conf;
        int r = settings_new(&conf, RD_KAFKA_PRODUCER, settings, n_settings, errorp);
        if (r != 0) {
                return r;
        }
        r = set_owned(conf, settings, n_settings, errorp);
        if (r == 0) {
                rd_kafka_conf_set_events(conf, RD_KAFKA_EVENT_DR | RD_KAFKA_EVENT_ERROR |
                                                       RD_KAFKA_EVENT_LOG);
                r = settings_open(&producer->rk, RD_KAFKA_PRODUCER, &conf, errorp);
        }
        if (conf != NULL) {
                rd_kafka_conf_destroy(conf);
        }
        return r;
}

/* --- events ------------------------------------------------------------------------------- */

static void on_report(Producer *producer, rd_kafka_event_t *event) {
        const rd_kafka_message_t *message;
        while ((message = rd_kafka_event_message_next(event)) != NULL) {
                producer->pending--;
                producer->fault = fault_of(message->err);
                producer->events->delivered(producer->user, message->_private,
                                            message->err == 0 ? NULL
                                                              : rd_kafka_err2str(message->err));
        }
}

static void on_error(Producer *producer, rd_kafka_event_t *event) {
        rd_kafka_resp_err_t err = rd_kafka_event_error(event);
        const char *text = rd_kafka_event_error_string(event);

        if (rd_kafka_event_error_is_fatal(event) || err == RD_KAFKA_RESP_ERR__FATAL) {
                if (!producer->fatal && producer->events->fatal != NULL) {
                        producer->fatal = true;
                        producer->events->fatal(producer->user, text);
                }
                return;
        }
        relay_error(&producer->relay, LOG_WARNING, "kafka.error", NULL, -1, err, text,
                    "librdkafka tries again");
}

static void on_event(Queue *queue, rd_kafka_event_t *event) {
        Producer *producer = container_of(queue, Producer, reports);
        rd_kafka_event_type_t type = rd_kafka_event_type(event);

        if (type == RD_KAFKA_EVENT_DR) {
                on_report(producer, event);
        } else if (type == RD_KAFKA_EVENT_ERROR) {
                on_error(producer, event);
        }
}

static void on_served(Queue *queue) {
        Producer *producer = container_of(queue, Producer, reports);

        if (producer->full && producer->pending <= producer->room_at) {
                producer->full = false;
                if (producer->events->room != NULL) {
                        producer->events->room(producer->user);
                }
        }
        if (producer->flushing && producer->pending == 0) {
                loop_soon_set(&producer->flush_soon);
        }
}

static void on_line(Queue *queue, rd_kafka_event_t *event) {
        Producer *producer = container_of(queue, Producer, lines);
        if (rd_kafka_event_type(event) == RD_KAFKA_EVENT_LOG) {
                relay_line(&producer->relay, event);
        }
}

static void on_timer(LoopTimer *timer) {
        Producer *producer = container_of(timer, Producer, timer);
        loop_timer_set(timer, PRODUCER_TICK_US);
        queue_serve(&producer->lines);
        queue_serve(&producer->reports);
}

static void end_flush(Producer *producer) {
        producer->flushing = false;
        loop_timer_stop(&producer->flush_timer);
        loop_soon_stop(&producer->flush_soon);
        if (producer->events->flushed != NULL) {
                producer->events->flushed(producer->user, producer->pending);
        }
}

static void on_flush_limit(LoopTimer *timer) {
        end_flush(container_of(timer, Producer, flush_timer));
}

static void on_flush_soon(LoopSoon *soon) {
        Producer *producer = container_of(soon, Producer, flush_soon);
        if (producer->pending == 0) {
                end_flush(producer);
        }
}

/* --- life --------------------------------------------------------------------------------- */

static int start_queues(Producer *producer, Loop *loop) {
        int r = queue_init(&producer->lines, loop, "kafka log", rd_kafka_queue_new(producer->rk),
                           on_line);
        if (r < 0) {
                return r;
        }
        if (rd_kafka_set_log_queue(producer->rk, producer->lines.queue) != 0) {
                return error_origin(-EPROTO);
        }
        r = queue_init(&producer->reports, loop, "kafka reports",
                       rd_kafka_queue_get_main(producer->rk), on_event);
        producer->reports.served = on_served;
        return r;
}

int producer_new(Producer **producerp, Loop *loop, Log *log, const ConsumerSetting *settings,
                 size_t n_settings, const ProducerEvents *events, void *user, char **errorp) {
        Producer *producer = calloc(1, sizeof(*producer));

        if (producer == NULL) {
                return error_origin(-ENOMEM);
        }
        producer->log = log;
        producer->events = events;
        producer->user = user;
        producer->relay.log = log;
        loop_timer_init(&producer->timer, loop, "kafka timer", on_timer);
        loop_timer_init(&producer->flush_timer, loop, "kafka flush", on_flush_limit);
        loop_soon_init(&producer->flush_soon, loop, "kafka flush", on_flush_soon);
        int r = open_handle(producer, settings, n_settings, errorp);
        if (r == 0) {
                r = start_queues(producer, loop);
        }
        if (r != 0) {
                producer_free(producer);
                return r;
        }
        loop_timer_set(&producer->timer, PRODUCER_TICK_US);
        *producerp = producer;
        return 0;
}

void producer_free(Producer *producer) {
        producer_free_within(producer, PRODUCER_END_HANDLE);
}

void producer_free_within(Producer *producer, int64_t limit_us) {
        if (producer == NULL) {
                return;
        }
        loop_timer_stop(&producer->timer);
        loop_timer_stop(&producer->flush_timer);
        loop_soon_stop(&producer->flush_soon);
        if (producer->rk != NULL) {
                /* Or destroying waits for them until their own timeout. */
                rd_kafka_purge(producer->rk, RD_KAFKA_PURGE_F_QUEUE | RD_KAFKA_PURGE_F_INFLIGHT |
                                                     RD_KAFKA_PURGE_F_NON_BLOCKING);
        }
        queue_deinit(&producer->reports);
        queue_deinit(&producer->lines);
        if (producer->rk != NULL) {
                helper_destroy_handle(producer->rk, limit_us);
        }
        free(producer);
}

/* --- sending ------------------------------------------------------------------------------ */

/* As one object, and not as fields of the call: rd_kafka_produceva() frees those twice when the
 * topic is known not to exist (librdkafka 4627). NULL: no memory. */
static rd_kafka_headers_t *make_headers(const ProducerMessage *message) {
        rd_kafka_headers_t *headers = rd_kafka_headers_new(message->n_headers);
        for (size_t i = 0; headers != NULL && i < message->n_headers; i++) {
                const ProducerHeader *header = &message->headers[i];
                rd_kafka_header_add(headers, header->name, -1, header->value,
                                    header->value != NULL ? (ssize_t)header->size : 0);
        }
        return headers;
}

int producer_send(Producer *producer, const ProducerMessage *message, void *opaque,
                  const char **errorp) {
        rd_kafka_headers_t *headers = NULL;
        rd_kafka_vu_t fields[] = {
                {.vtype = RD_KAFKA_VTYPE_TOPIC, .u.cstr = message->topic},
                {.vtype = RD_KAFKA_VTYPE_PARTITION, .u.i32 = message->partition},
                {.vtype = RD_KAFKA_VTYPE_MSGFLAGS, .u.i = RD_KAFKA_MSG_F_COPY},
                {.vtype = RD_KAFKA_VTYPE_KEY,
                 .u.mem = {.ptr = (void *)message->key, .size = message->key_size}},
                {.vtype = RD_KAFKA_VTYPE_VALUE,
                 .u.mem = {.ptr = (void *)message->value, .size = message->value_size}},
                {.vtype = RD_KAFKA_VTYPE_OPAQUE, .u.ptr = opaque},
                {.vtype = RD_KAFKA_VTYPE_HEADERS},
        };
        size_t n = sizeof(fields) / sizeof(*fields);

        if (message->n_headers > 0) {
                headers = make_headers(message);
                if (headers == NULL) {
                        return error_origin(-ENOMEM);
                }
        }
        fields[n - 1].u.headers = headers;
        rd_kafka_error_t *error =
                rd_kafka_produceva(producer->rk, fields, headers != NULL ? n : n - 1);
        if (error == NULL) {
                producer->pending++;
                return 0;
        }
        if (headers != NULL) {
                rd_kafka_headers_destroy(headers);
        }
        rd_kafka_resp_err_t err = rd_kafka_error_code(error);
        rd_kafka_error_destroy(error);
        if (err == RD_KAFKA_RESP_ERR__QUEUE_FULL) {
                producer->full = true;
                producer->room_at = producer->pending / 2;
                return PRODUCER_E_FULL;
        }
        producer->fault = fault_of(err);
        *errorp = rd_kafka_err2str(err);
        return PRODUCER_E_REFUSED;
}

void producer_flush(Producer *producer, int64_t limit_us) {
        producer->flushing = true;
        loop_timer_set(&producer->flush_timer, limit_us);
        if (producer->pending == 0) {
                loop_soon_set(&producer->flush_soon);
        }
}

ProducerFault producer_fault(const Producer *producer) {
        return producer->fault;
}

size_t producer_pending(const Producer *producer) {
        return producer->pending;
}
