/*
 * What is wrong with Kafka, for the status: kept from the error that told it to the event that
 * shows that it is over.
 */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "kafka/consumer_private.h"

static size_t count_topics(const Consumer *consumer) {
        size_t n = 0;
        while (consumer->topics[n] != NULL) {
                n++;
        }
        return n;
}

int consumer_troubles_init(Consumer *consumer) {
        size_t n = CONSUMER_TOPIC_MISSING + count_topics(consumer);
        consumer->troubles = calloc(n, sizeof(*consumer->troubles));
        return consumer->troubles == NULL ? error_origin(-ENOMEM) : 0;
}

void consumer_troubles_deinit(Consumer *consumer) {
        free(consumer->troubles);
        consumer->troubles = NULL;
}

static void set(ConsumerTrouble *trouble, ConsumerTroubleKind kind, const char *error) {
        if (trouble->since_us == 0 || trouble->kind != kind) {
                trouble->since_us = loop_now();
        }
        trouble->kind = kind;
        snprintf(trouble->error, sizeof(trouble->error), "%s", error);
}

void consumer_trouble_set(Consumer *consumer, ConsumerTroubleKind kind, const char *error) {
        set(&consumer->troubles[kind], kind, error);
}

void consumer_trouble_clear(Consumer *consumer, ConsumerTroubleKind kind) {
        consumer->troubles[kind].since_us = 0;
}

/* Whether the text names the topic as a word of its own: "topic not available: NAME: Broker: …". */
static bool names(const char *text, const char *topic) {
        size_t size = strlen(topic);
        static const char more[] =
                "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-";
        for (const char *at = strstr(text, topic); at != NULL; at = strstr(at + 1, topic)) {
                bool begins = at == text || strchr(more, at[-1]) == NULL;
                if (begins && (at[size] == '\0' || strchr(more, at[size]) == NULL)) {
                        return true;
                }
        }
        return false;
}

static void note_topics(Consumer *consumer) {
        consumer->topic_trouble = false;
        for (size_t i = 0; consumer->topics[i] != NULL; i++) {
                consumer->topic_trouble =
                        consumer->topic_trouble ||
                        consumer->troubles[CONSUMER_TOPIC_MISSING + i].since_us != 0;
        }
}

void consumer_topic_trouble_set(Consumer *consumer, ConsumerTroubleKind kind, const char *topic,
                                const char *error) {
        for (size_t i = 0; consumer->topics[i] != NULL; i++) {
                ConsumerTrouble *trouble = &consumer->troubles[CONSUMER_TOPIC_MISSING + i];
                if (topic != NULL ? strcmp(topic, consumer->topics[i]) == 0
                                  : names(error, consumer->topics[i])) {
                        set(trouble, kind, error);
                        trouble->topic = consumer->topics[i];
                }
        }
        note_topics(consumer);
}

void consumer_topic_trouble_clear(Consumer *consumer, const char *topic) {
        for (size_t i = 0; consumer->topics[i] != NULL; i++) {
                if (strcmp(topic, consumer->topics[i]) == 0) {
                        consumer->troubles[CONSUMER_TOPIC_MISSING + i].since_us = 0;
                }
        }
        note_topics(consumer);
}

const ConsumerTrouble *consumer_next_trouble(const Consumer *consumer, size_t *cursor) {
        size_t n = CONSUMER_TOPIC_MISSING + count_topics(consumer);
        while (*cursor < n) {
                const ConsumerTrouble *trouble = &consumer->troubles[(*cursor)++];
                if (trouble->since_us != 0) {
                        return trouble;
                }
        }
        return NULL;
}

int64_t consumer_reach_since(const Consumer *consumer) {
        return consumer->reach_us;
}
