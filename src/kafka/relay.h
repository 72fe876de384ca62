#pragma once

/*
 * What librdkafka has to say, for the log.
 *
 * During an outage it repeats the same error for each broker and each attempt. An error is logged
 * once, and again when it is still repeated a minute later.
 */

#include <librdkafka/rdkafka.h>
#include <stdint.h>

#include "telemetry/log.h"
#include "util/reminder.h"

typedef struct Relay {
        Log *log;
        Reminder said;
} Relay;

/* A line of librdkafka's own log: event `kafka.log`. */
void relay_line(Relay *relay, rd_kafka_event_t *event);

/* An error, with what happens @next. @topic NULL, @partition -1: not of one. @code: librdkafka's.
 */
void relay_error(Relay *relay, LogLevel level, const char *name, const char *topic,
                 int32_t partition, rd_kafka_resp_err_t code, const char *text, const char *next);

/* What was logged is forgotten: the state changed, the same error is news again. */
void relay_forget(Relay *relay);
