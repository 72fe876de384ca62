/* See relay.h. */

#include "kafka/relay.h"

#include <stdio.h>
#include <string.h>

#include "util/loop.h"

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

void relay_error(Relay *relay, LogLevel level, const char *name, const char *topic,
                 int32_t partition, rd_kafka_resp_err_t code, const char *text, const char *next) {
        /* Errors of connections count attempts and milliseconds in their text: the broker at its
         * start tells them apart, the end would make each one news. */
        char what[384];
        int length = (int)strcspn(text, "(");
        snprintf(what, sizeof(what), "%d %s/%d %.*s", (int)code, topic != NULL ? topic : "",
                 (int)partition, length < 48 ? length : 48, text);
        if (!reminder_is_due(&relay->said, what, loop_now())) {
                return;
        }
        log_write(relay->log, level, name,
                  FIELDS(.topic = topic, .partition = partition, .error = rd_kafka_err2name(code)),
                  "%s; %s", text, next);
}

void relay_forget(Relay *relay) {
        reminder_forget(&relay->said);
}
