/* See settings.h. The tables are those of librdkafka's CONFIGURATION.md, 2.0.2 to 2.15. */

#include "kafka/settings.h"

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "kafka/consumer.h"

static const char *const consumer_only[] = {
        "auto.commit.enable",
        "auto.commit.interval.ms",
        "auto.offset.reset",
        "check.crcs",
        "consume.callback.max.messages",
        "coordinator.query.interval.ms",
        "enable.auto.commit",
        "enable.auto.offset.store",
        "enable.partition.eof",
        "fetch.error.backoff.ms",
        "fetch.max.bytes",
        "fetch.message.max.bytes",
        "fetch.min.bytes",
        "fetch.queue.backoff.ms",
        "fetch.wait.max.ms",
        "group.id",
        "group.instance.id",
        "group.protocol",
        "group.protocol.type",
        "group.remote.assignor",
        "heartbeat.interval.ms",
        "isolation.level",
        "max.partition.fetch.bytes",
        "max.poll.interval.ms",
        "max.poll.records",
        "offset.store.method",
        "offset.store.path",
        "offset.store.sync.interval.ms",
        "partition.assignment.strategy",
        "queued.max.messages.kbytes",
        "queued.min.messages",
        "session.timeout.ms",
        "share.acknowledgement.mode",
};

static const char *const producer_only[] = {
        "acks",
        "batch.num.messages",
        "batch.size",
        "compression.codec",
        "compression.level",
        "compression.type",
        "delivery.report.only.error",
        "delivery.timeout.ms",
        "enable.gapless.guarantee",
        "enable.idempotence",
        "linger.ms",
        "message.send.max.retries",
        "message.timeout.ms",
        "partitioner",
        "produce.offset.report",
        "queue.buffering.backpressure.threshold",
        "queue.buffering.max.kbytes",
        "queue.buffering.max.messages",
        "queue.buffering.max.ms",
        "queuing.strategy",
        "request.required.acks",
        "request.timeout.ms",
        "retries",
        "retry.backoff.ms",
        "sticky.partitioning.linger.ms",
        "transaction.timeout.ms",
        "transactional.id",
};

#define ELEMENTS(array) (sizeof(array) / sizeof(*(array)))

static int compare_names(const void *a, const void *b) {
        return strcmp(*(const char *const *)a, *(const char *const *)b);
}

static bool is_of_the_other(rd_kafka_type_t type, const char *name) {
        if (type == RD_KAFKA_PRODUCER) {
                return bsearch(&name, consumer_only, ELEMENTS(consumer_only),
                               sizeof(*consumer_only), compare_names) != NULL;
        }
        return bsearch(&name, producer_only, ELEMENTS(producer_only), sizeof(*producer_only),
                       compare_names) != NULL;
}

/* SETTINGS_E_CONFIG with the sentence. */
static int refused(char **errorp, const char *format, const char *name, const char *why) {
        char *error;
        if (asprintf(&error, format, name, why) < 0) {
                return error_origin(-ENOMEM);
        }
        *errorp = error;
        return SETTINGS_E_CONFIG;
}

/* librdkafka reads the digits and drops the rest: 10 ms for "10s". Hexadecimal is understood. */
static bool is_cut(const char *value) {
        size_t digits = strspn(value, "0123456789");
        return digits > 0 && value[digits] != '\0' && strncmp(value, "0x", 2) != 0;
}

int settings_set(rd_kafka_conf_t *conf, const char *name, const char *value, char **errorp) {
        char why[512], taken[32];
        size_t size = sizeof(taken);
        if (rd_kafka_conf_set(conf, name, value, why, sizeof(why)) != RD_KAFKA_CONF_OK) {
                return refused(errorp, "kafka.%s: %s", name, why);
        }
        /* What is a number to it comes back as one; a name such as "10s" comes back whole. */
        if (is_cut(value) && rd_kafka_conf_get(conf, name, taken, &size) == RD_KAFKA_CONF_OK &&
            taken[strspn(taken, "-0123456789")] == '\0') {
                snprintf(why, sizeof(why),
                         "%s would be taken as %s: librdkafka's values are plain numbers, in the "
                         "unit that the name ends in",
                         value, taken);
                return refused(errorp, "kafka.%s: %s", name, why);
        }
        return 0;
}

int settings_set_int(rd_kafka_conf_t *conf, const char *name, long long value, char **errorp) {
        char text[32];
        snprintf(text, sizeof(text), "%lld", value);
        return settings_set(conf, name, text, errorp);
}

const char *settings_get(const ConsumerSetting *settings, size_t n_settings, const char *name) {
        const char *value = NULL;
        for (size_t i = 0; i < n_settings; i++) {
                if (strcmp(settings[i].name, name) == 0) {
                        value = settings[i].value;
                }
        }
        return value;
}

int settings_new(rd_kafka_conf_t **confp, rd_kafka_type_t type, const ConsumerSetting *settings,
                 size_t n_settings, char **errorp) {
        rd_kafka_conf_t *conf = rd_kafka_conf_new();
        int r = conf == NULL ? error_origin(-ENOMEM) : 0;

        if (r == 0 && settings_get(settings, n_settings, "client.id") == NULL) {
                r = settings_set(conf, "client.id", "ackd", errorp);
        }
        for (size_t i = 0; r == 0 && i < n_settings; i++) {
                if (!is_of_the_other(type, settings[i].name)) {
                        r = settings_set(conf, settings[i].name, settings[i].value, errorp);
                }
        }
        if (r != 0) {
                if (conf != NULL) {
                        rd_kafka_conf_destroy(conf);
                }
                return r;
        }
        *confp = conf;
        return 0;
}

int settings_open(rd_kafka_t **rkp, rd_kafka_type_t type, rd_kafka_conf_t **confp, char **errorp) {
        char why[512] = "";
        rd_kafka_t *rk = rd_kafka_new(type, *confp, why, sizeof(why));
        if (rk == NULL) {
                return refused(errorp, "%s: %s", "kafka", why);
        }
        *confp = NULL;
        *rkp = rk;
        return 0;
}
