#include "kafka/query.h"

#include <librdkafka/rdkafka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "kafka/settings.h"

enum {
        QUERY_PAUSE_MS = 100,
};

/* What librdkafka would log is in the error that the command prints. */
static void ignore_line(const rd_kafka_t *rk, int level, const char *facility, const char *line) {
        (void)rk;
        (void)level;
        (void)facility;
        (void)line;
}

/* A group's coordinator is being found, or has just begun. */
static bool is_passing(rd_kafka_resp_err_t err) {
        return err == RD_KAFKA_RESP_ERR_NOT_COORDINATOR ||
               err == RD_KAFKA_RESP_ERR_COORDINATOR_NOT_AVAILABLE ||
               err == RD_KAFKA_RESP_ERR_COORDINATOR_LOAD_IN_PROGRESS;
}

static rd_kafka_resp_err_t ask_committed(rd_kafka_t *rk, const char *topic, int32_t partition,
                                         int limit_ms, QueryPartition *answer) {
        rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(1);
        const rd_kafka_topic_partition_t *one =
                rd_kafka_topic_partition_list_add(list, topic, partition);
        rd_kafka_resp_err_t err = RD_KAFKA_RESP_ERR_NOT_COORDINATOR;
        for (int left = limit_ms / QUERY_PAUSE_MS; is_passing(err) && left > 0; left--) {
                err = rd_kafka_committed(rk, list, limit_ms);
                err = err != 0 ? err : one->err;
                if (is_passing(err)) {
                        usleep(QUERY_PAUSE_MS * 1000);
                }
        }
        answer->committed = one->offset >= 0 ? one->offset : -1;
        answer->ours = one->metadata_size == strlen(CONSUMER_METADATA) &&
                       memcmp(one->metadata, CONSUMER_METADATA, one->metadata_size) == 0;
        rd_kafka_topic_partition_list_destroy(list);
        return err;
}

/* librdkafka has one error for both. */
static int no_such(rd_kafka_t *rk, const char *topic, int32_t partition, int limit_ms,
                   char **errorp) {
        const struct rd_kafka_metadata *metadata;
        int n_partitions = -1, n;
        if (rd_kafka_metadata(rk, 1, NULL, &metadata, limit_ms) == 0) {
                n_partitions = 0;
                for (int i = 0; i < metadata->topic_cnt; i++) {
                        if (strcmp(metadata->topics[i].topic, topic) == 0) {
                                n_partitions = metadata->topics[i].partition_cnt;
                        }
                }
                rd_kafka_metadata_destroy(metadata);
        }
        if (n_partitions > 0) {
                n = asprintf(errorp, "the topic %s has no partition %d: it has %d, from 0 on",
                             topic, (int)partition, n_partitions);
        } else {
                n = asprintf(errorp,
                             n_partitions == 0 ? "there is no topic %s"
                                               : "Kafka does not know this partition of %s",
                             topic);
        }
        return n < 0 ? error_origin(-ENOMEM) : QUERY_E_UNKNOWN;
}

static int ask(rd_kafka_t *rk, const char *topic, int32_t partition, int limit_ms,
               QueryPartition *answer, char **errorp) {
        rd_kafka_resp_err_t err =
                rd_kafka_query_watermark_offsets(rk, topic, partition, &answer->low, &answer->high,
                                                 limit_ms);
        if (err == RD_KAFKA_RESP_ERR__UNKNOWN_PARTITION ||
            err == RD_KAFKA_RESP_ERR__UNKNOWN_TOPIC ||
            err == RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART) {
                return no_such(rk, topic, partition, limit_ms, errorp);
        }
        if (err == 0) {
                err = ask_committed(rk, topic, partition, limit_ms, answer);
        }
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

/* Only the table that it prints for people has those without a value, and the aliases. */
void query_settings(void (*each)(void *user, const char *name), void *user) {
        char *text = NULL, *line, *rest;
        size_t size = 0;
        FILE *file = open_memstream(&text, &size);
        if (file == NULL) {
                return;
        }
        rd_kafka_conf_properties_show(file);
        if (fclose(file) == 0) {
                for (line = strtok_r(text, "\n", &rest); line != NULL;
                     line = strtok_r(NULL, "\n", &rest)) {
                        size_t n = strspn(line, "abcdefghijklmnopqrstuvwxyz0123456789._");
                        if (n > 0 && strncmp(line + n + strspn(line + n, " "), "|", 1) == 0) {
                                line[n] = '\0';
                                each(user, line);
                        }
                }
        }
        free(text);
}

/* A handle for questions. QUERY_E_CONFIG. */
static int open_handle(rd_kafka_t **rkp, const ConsumerSetting *settings, size_t n_settings,
                       char **errorp) {
        rd_kafka_conf_t *conf = NULL;
        int r = settings_new(&conf, RD_KAFKA_CONSUMER, settings, n_settings, errorp);
        if (r == 0) {
                rd_kafka_conf_set_log_cb(conf, ignore_line);
                r = settings_open(rkp, RD_KAFKA_CONSUMER, &conf, errorp);
        }
        if (r != 0 && conf != NULL) {
                rd_kafka_conf_destroy(conf);
        }
        return r > 0 ? QUERY_E_CONFIG : r;
}

/* It joined nothing. */
static void close_handle(rd_kafka_t *rk) {
        rd_kafka_destroy_flags(rk, RD_KAFKA_DESTROY_F_NO_CONSUMER_CLOSE);
}

int query_partition(const ConsumerSetting *settings, size_t n_settings, const char *topic,
                    int32_t partition, int64_t limit_us, QueryPartition *answer, char **errorp) {
        rd_kafka_t *rk = NULL;
        QueryPartition got = {0};
        int r = open_handle(&rk, settings, n_settings, errorp);
        if (r != 0) {
                return r;
        }
        r = ask(rk, topic, partition, (int)(limit_us / 1000), &got, errorp);
        close_handle(rk);
        if (r == 0) {
                *answer = got;
        }
        return r;
}

/* A consumer asks so that the topic is not made; a producer would make it. */
static rd_kafka_resp_err_t ask_topic(rd_kafka_t *rk, QueryTopic *topic, int limit_ms) {
        const struct rd_kafka_metadata *metadata;
        rd_kafka_topic_t *rkt = rd_kafka_topic_new(rk, topic->name, NULL);
        if (rkt == NULL) {
                return rd_kafka_last_error();
        }
        rd_kafka_resp_err_t err = rd_kafka_metadata(rk, 0, rkt, &metadata, limit_ms);
        if (err == 0 && metadata->topic_cnt == 1) {
                const struct rd_kafka_metadata_topic *found = &metadata->topics[0];
                bool none = found->err == RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART;
                topic->partitions = found->err == 0 ? found->partition_cnt : 0;
                topic->error = found->err == 0 || none ? NULL : rd_kafka_err2str(found->err);
        }
        if (err == 0) {
                rd_kafka_metadata_destroy(metadata);
        }
        rd_kafka_topic_destroy(rkt);
        return err;
}

int query_topics(const ConsumerSetting *settings, size_t n_settings, QueryTopic *topics, size_t n,
                 int64_t limit_us, char **cluster_idp, char **errorp) {
        rd_kafka_t *rk = NULL;
        rd_kafka_resp_err_t err = 0;
        int limit_ms = (int)(limit_us / 1000);
        int r = open_handle(&rk, settings, n_settings, errorp);
        if (r != 0) {
                return r;
        }
        for (size_t i = 0; i < n && err == 0; i++) {
                topics[i].partitions = 0;
                topics[i].error = NULL;
                err = ask_topic(rk, &topics[i], limit_ms);
        }
        char *cluster = err == 0 ? rd_kafka_clusterid(rk, limit_ms) : NULL;
        if (cluster == NULL) {
                const char *servers = settings_get(settings, n_settings, "bootstrap.servers");
                r = asprintf(errorp, "cannot ask Kafka (%s): %s", servers != NULL ? servers : "?",
                             err != 0 ? rd_kafka_err2str(err) : "no answer") < 0
                            ? error_origin(-ENOMEM)
                            : QUERY_E_UNREACHABLE;
        } else {
                *cluster_idp = strdup(cluster);
                rd_kafka_mem_free(rk, cluster);
                r = *cluster_idp != NULL ? 0 : error_origin(-ENOMEM);
        }
        close_handle(rk);
        return r;
}
