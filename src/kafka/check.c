/* Everything that is wrong with the section kafka and with the topics, at once. */

#include <regex.h>
#include <stdio.h>
#include <stdlib.h>

#include "kafka/consumer_private.h"
#include "kafka/settings.h"

typedef struct Check {
        const ConsumerOptions *options;
        ConsumerRefused refused;
        void *user;
        int result; /* 0 or CONSUMER_E_CONFIG */
} Check;

/* Of @r and the sentence that came with it, which is freed. Negative only. */
static int refuse(Check *check, const char *setting, int r, char *error) {
        if (r > 0) {
                check->refused(check->user, setting, error);
                check->result = CONSUMER_E_CONFIG;
                r = 0;
        }
        free(error);
        return r;
}

/* A setting that has no sensible default. */
static int need(Check *check, const char *name, const char *what) {
        char *error = NULL;
        const char *value =
                settings_get(check->options->settings, check->options->n_settings, name);
        if (value != NULL && value[0] != '\0') {
                return 0;
        }
        int n = asprintf(&error, "kafka.%s: it is needed; name %s", name, what);
        return n < 0 ? error_origin(-ENOMEM) : refuse(check, name, CONSUMER_E_CONFIG, error);
}

static int check_needed(Check *check) {
        const ConsumerOptions *options = check->options;
        bool brokers = settings_get(options->settings, options->n_settings,
                                    "metadata.broker.list") != NULL;
        int r = need(check, "group.id", "the consumer group");
        return r == 0 && !brokers ? need(check, "bootstrap.servers", "at least one broker") : r;
}

static int check_pattern(Check *check, const char *topic) {
        regex_t regex;
        char why[128], *message = NULL;
        int error = topic[0] == '^' ? regcomp(&regex, topic, REG_EXTENDED | REG_NOSUB) : 0;
        if (error == 0) {
                if (topic[0] == '^') {
                        regfree(&regex);
                }
                return 0;
        }
        regerror(error, &regex, why, sizeof(why));
        int n = asprintf(&message, "consume.topics: \"%s\" is no regular expression: %s", topic,
                         why);
        return n < 0 ? error_origin(-ENOMEM) : refuse(check, NULL, CONSUMER_E_CONFIG, message);
}

/* One after the other, on a conf that is thrown away. What ackd sets is looked at only when the
 * rest is right: it may follow from that. */
static int check_settings(Check *check) {
        const ConsumerOptions *options = check->options;
        Consumer scratch = {.queue_bytes = options->queue_bytes};
        rd_kafka_conf_t *conf = rd_kafka_conf_new();
        char *error = NULL;
        int r = conf == NULL ? error_origin(-ENOMEM) : 0;
        for (size_t i = 0; r == 0 && i < options->n_settings; i++) {
                const ConsumerSetting *setting = &options->settings[i];
                error = NULL;
                r = settings_set(conf, setting->name, setting->value, &error);
                r = refuse(check, setting->name, r, error);
        }
        if (r == 0 && check->result == 0) {
                error = NULL;
                r = consumer_set_owned(conf, &scratch, options, &error);
                r = refuse(check, "", r, error);
        }
        if (conf != NULL) {
                rd_kafka_conf_destroy(conf);
        }
        return r;
}

int consumer_check(const ConsumerOptions *options, ConsumerRefused refused, void *user) {
        Check check = {.options = options, .refused = refused, .user = user};
        int r = check_needed(&check);
        for (size_t i = 0; r == 0 && options->topics[i] != NULL; i++) {
                r = check_pattern(&check, options->topics[i]);
        }
        r = r == 0 ? check_settings(&check) : r;
        return r == 0 ? check.result : r;
}
