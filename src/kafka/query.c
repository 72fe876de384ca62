#include "kafka/query.h"

#include <librdkafka/rdkafka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "kafka/settings.h"

/* What librdkafka would log is in the error that the command prints. */
static void ignore_line(const rd_kafka_t *rk, int level, const char *facility, const char *line) {
        (void)rk;
        (void)level;
        (void)facility;
        (void)line;
}

static int ask(rd_kafka_t *rk, const char *topic, int32_t partition, int limit_ms,
               QueryPartition *answer, char **errorp) {
        rd_kafka_resp_err_t err =
                rd_kafka_query_watermark_offsets(rk, topic, partition, &answer->low, &answer->high,
                                                 limit_ms);
        char *cluster = err == 0 ? rd_kafka_clusterid(rk, limit_ms) : NULL;
        if (cluster == NULL) {
                const char *why = err != 0 ? rd_kafka_err2str(err) : "no answer";
                return asprintf(errorp, "cannot ask Kafka about partition %d of %s: %s",
                                (int)partition, topic, why) < 0
                               ? error_origin(-ENOMEM)
                               : QUERY_E_UNREACHABLE;
        }
        answer->cluster_id = strdup(cluster);
        rd_kafka_mem_free(rk, cluster);
        return answer->cluster_id != NULL ? 0 : error_origin(-ENOMEM);
}

int query_partition(const ConsumerSetting *settings, size_t n_settings, const char *topic,
                    int32_t partition, int64_t limit_us, QueryPartition *answer, char **errorp) {
        rd_kafka_conf_t *conf = NULL;
        rd_kafka_t *rk = NULL;
        QueryPartition got = {0};
        /* A producer joins no group. */
        int r = settings_new(&conf, RD_KAFKA_PRODUCER, settings, n_settings, errorp);
        if (r == 0) {
                rd_kafka_conf_set_log_cb(conf, ignore_line);
                r = settings_open(&rk, RD_KAFKA_PRODUCER, &conf, errorp);
        }
        if (r != 0) {
                if (conf != NULL) {
                        rd_kafka_conf_destroy(conf);
                }
                return r > 0 ? QUERY_E_CONFIG : r;
        }
        r = ask(rk, topic, partition, (int)(limit_us / 1000), &got, errorp);
        rd_kafka_destroy(rk);
        if (r == 0) {
                *answer = got;
        }
        return r;
}
