/* See relay.h. */

#include "kafka/relay.h"

#include <string.h>

#include "util/loop.h"

#define RELAY_AGAIN_US (60 * INT64_C(1000000))

static LogLevel level_of_syslog(int level) {
        if (level <= 3) {
                return LOG_ERROR;
        }
        if (level == 4) {
                return LOG_WARNING;
        }
        return level < 7 ? LOG_INFO : LOG_DEBUG;
}

void relay_line(Relay *relay, rd_kafka_event_t *event) {
        const char *facility, *text;
        int level;
        if (rd_kafka_event_log(event, &facility, &text, &level) != 0) {
                return;
        }
        /* The failure of a connection comes as an error event as well. */
        LogLevel as = strcmp(facility, "FAIL") == 0 ? LOG_DEBUG : level_of_syslog(level);
        log_write(relay->log, as, "kafka.log", FIELDS(), "librdkafka: %s: %s", facility, text);
}

/* FNV-1a */
static uint64_t hash_text(uint64_t hash, const char *text) {
        for (const char *p = text; *p != '\0'; p++) {
                hash = (hash ^ (uint8_t)*p) * UINT64_C(1099511628211);
        }
        return hash;
}

/* Whether this one was not logged in the last minute; remembers it in place of the oldest. */
static bool is_news(Relay *relay, uint64_t hash) {
        int64_t now = loop_now();
        size_t oldest = 0;
        for (size_t i = 0; i < RELAY_SEEN; i++) {
                if (relay->seen[i].hash == hash) {
                        if (now - relay->seen[i].logged_us < RELAY_AGAIN_US) {
                                return false;
                        }
                        oldest = i;
                        break;
                }
                if (relay->seen[i].logged_us < relay->seen[oldest].logged_us) {
                        oldest = i;
                }
        }
        relay->seen[oldest].hash = hash;
        relay->seen[oldest].logged_us = now;
        return true;
}

void relay_error(Relay *relay, LogLevel level, const char *name, const char *topic,
                 int32_t partition, rd_kafka_resp_err_t code, const char *text, const char *next) {
        uint64_t hash = UINT64_C(14695981039346656037) ^ (uint64_t)(uint32_t)code;
        /* Errors of connections count attempts and milliseconds in their text: the broker at its
         * start tells them apart, the end would make each one news. */
        char start[48];
        strncpy(start, text, sizeof(start) - 1);
        start[sizeof(start) - 1] = '\0';
        start[strcspn(start, "(")] = '\0';
        hash = hash_text(hash, start);
        hash = hash_text(hash, topic != NULL ? topic : "");
        hash = (hash ^ (uint32_t)partition) * UINT64_C(1099511628211);
        if (!is_news(relay, hash)) {
                return;
        }
        log_write(relay->log, level, name,
                  FIELDS(.topic = topic, .partition = partition, .error = rd_kafka_err2name(code)),
                  "%s; %s", text, next);
}

void relay_forget(Relay *relay) {
        memset(relay->seen, 0, sizeof(relay->seen));
}
