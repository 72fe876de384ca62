#pragma once

/*
 * Sends messages to Kafka for a command, one after the other: while librdkafka has room and
 * `window` allows, so that memory stays bounded however many there are; at `rate` a second; with a
 * progress bar on a terminal. A delivery report answers each, and only what was reported delivered
 * counts.
 *
 * It ends when all are answered; when nothing was delivered for SENDER_PATIENCE_US although
 * something waits; when sender_stop() says so; and with a signal: then nothing more is sent, and
 * what is on its way gets some seconds, but for a second signal.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "app/signals.h"
#include "config/config.h"
#include "kafka/producer.h"
#include "telemetry/log.h"
#include "util/loop.h"

enum {
        SENDER_PATIENCE_US = 20 * 1000000, /* without any delivery, Kafka cannot be reached */
};

typedef struct SenderSource {
        /* The next message and the @opaque of its report; it stays valid until the next call.
         * *@more false: there is none. Negative: fatal, ends the run. */
        int (*next)(void *user, ProducerMessage *message, void **opaque, bool *more);
        /* What became of one; @error NULL: it is delivered. Also of one that librdkafka refused.
         * NULL is allowed. */
        void (*answered)(void *user, void *opaque, const char *error);
        /* Soon after some were answered: what they ask for can be done for all of them at once. Not
         * after the last ones. NULL is allowed. */
        void (*turn)(void *user);
} SenderSource;

/* A zeroed one, with what stands first filled in, is ready for sender_run(). */
typedef struct Sender {
        const char *name; /* of the command, for librdkafka's warnings */
        const SenderSource *source;
        void *user;
        double rate;    /* a second; 0: as fast as possible */
        uint64_t total; /* for the bar; 0: not known */
        size_t window;  /* unanswered at once; 0: as many as librdkafka takes */

        /* To be read afterwards: */
        uint64_t made, delivered, failed;
        bool done;        /* the source had no more, and all were answered */
        int signal;       /* that ended it; 0: none */
        char error[1024]; /* the first */
        int64_t began_us, ended_us;

        Loop loop;
        Log *log;
        Producer *producer;
        ProducerMessage message; /* that librdkafka had no room for, while `full` */
        void *opaque;
        bool full, drained, bar;
        int64_t progress_us;
        LoopSoon soon;
        LoopTimer timer, report;
        Signals signals;
} Sender;

/* Sends; signals must be blocked before (signals_block()). 0: it ran, see the fields;
 * PRODUCER_E_CONFIG, *@errorp as in producer_new(); negative: fatal. Prints no result. */
MUST_CHECK int sender_run(Sender *sender, const Config *config, char **errorp);

/* Ends the run at once, from a callback of the source; @why: copied, kept when it is the first. */
void sender_stop(Sender *sender, const char *why);

void sender_deinit(Sender *sender); /* a zeroed one is allowed */

double sender_seconds(const Sender *sender); /* that the run took */

/* --rate: a positive number; whether it is one. */
bool sender_parse_rate(const char *text, double *rate);
