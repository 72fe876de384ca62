#pragma once

/*
 * The section `kafka` for librdkafka. It serves the consumer and the producer; what belongs to the
 * other one is left out here, since librdkafka warns of it at every start.
 */

#include <librdkafka/rdkafka.h>
#include <stdbool.h>
#include <stddef.h>

#include "kafka/consumer.h"
#include "util/error.h"

enum {
        SETTINGS_E_CONFIG = 1, /* librdkafka refuses a value; *@errorp says which and why */
};

/* Makes a conf of the user's settings. *@errorp: a malloc'd sentence on SETTINGS_E_CONFIG. The
 * caller destroys the conf. */
MUST_CHECK int settings_new(rd_kafka_conf_t **confp, rd_kafka_type_t type,
                            const ConsumerSetting *settings, size_t n_settings, char **errorp);

/* Sets what ackd owns or prefers. */
MUST_CHECK int settings_set(rd_kafka_conf_t *conf, const char *name, const char *value,
                            char **errorp);
MUST_CHECK int settings_set_int(rd_kafka_conf_t *conf, const char *name, long long value,
                                char **errorp);

/* What the user set, NULL: nothing. The newest wins. */
const char *settings_get(const ConsumerSetting *settings, size_t n_settings, const char *name);

/* Makes librdkafka's handle of *@confp, which it takes over on success. */
MUST_CHECK int settings_open(rd_kafka_t **rkp, rd_kafka_type_t type, rd_kafka_conf_t **confp,
                             char **errorp);
