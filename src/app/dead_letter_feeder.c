#include "app/dead_letter_feeder.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "app/commands.h"
#include "app/dead_letter_record.h"
#include "pg/sqlstate.h"
#include "util/list.h"

enum {
        ANSWER_SPARE_US = 5 * 1000000, /* librdkafka looks at its timeouts once a second */
        CLOSE_US = 200000,             /* of the shutdown's step, for reports that are due */
        MARK_AGAIN_US = 1000000,
        HANDLE_END_US = 200000,
};

#define REMIND_US (INT64_C(3600) * 1000000)

typedef enum LetterState {
        LETTER_OPEN, /* not answered */
        LETTER_DELIVERED,
        LETTER_FAILED,
} LetterState;

typedef struct Letter {
        LetterState state;
        bool omitted; /* it goes without its value */
        ProducerFault fault;
        const char *error; /* static */
} Letter;

typedef enum FeederState {
        FEEDER_STOPPED, /* not begun, or no more is taken */
        FEEDER_IDLE,    /* until the timer */
        FEEDER_TAKING,
        FEEDER_SENDING,
        FEEDER_MARKING, /* at the database, or until the timer */
} FeederState;

struct DeadLetterFeeder {
        DeadLetterFeederParts parts;
        DeadLetterFrom from;
        Outbox *outbox;
        Producer *producer; /* NULL until there is something to send */
        Feed feed;
        FeederState state;
        bool again;    /* rows were written while it was not idle */
        bool stopping; /* nothing more is taken */
        bool closing;
        bool troubled; /* the topic was said to be out of reach */
        LoopTimer timer;
        Reminder said;
        uintptr_t generation; /* of the take, 1 to …; see opaque_of() */
        int64_t asked_us;     /* for this take */
        const OutboxRow *rows;
        size_t n, unanswered;
        size_t unmarked; /* at the end; see dead_letter_feeder_open() */
        Letter letters[FEED_ROWS_MAX];
};

static void idle(DeadLetterFeeder *feeder, int64_t delay_us) {
        feeder->rows = NULL;
        feeder->n = feeder->unanswered = 0;
        if (feeder->stopping) {
                feeder->state = FEEDER_STOPPED;
                loop_timer_stop(&feeder->timer);
                feeder->parts.turned(feeder->parts.user);
                return;
        }
        feeder->state = FEEDER_IDLE;
        if (feeder->again && feed_is_awake(&feeder->feed)) {
                delay_us = 0;
        }
        feeder->again = false;
        loop_timer_set(&feeder->timer, delay_us);
}

static bool is_due(DeadLetterFeeder *feeder, const char *what) {
        return reminder_is_due_every(&feeder->said, what, loop_now(), REMIND_US);
}

/* --- what is said ------------------------------------------------------------------------- */

/* And what helps. */
static const char *cause_of(ProducerFault fault) {
        switch (fault) {
        case PRODUCER_FAULT_NO_TOPIC:
                return "it does not exist; make it (kafka-topics.sh --create), ackd makes no "
                       "topics";
        case PRODUCER_FAULT_FORBIDDEN:
                return "ackd has no right to write to it; give its user Describe and Write "
                       "(kafka-acls.sh --add --producer)";
        case PRODUCER_FAULT_AWAY:
                return "no broker took the record in time; look at the brokers, and at the "
                       "replicas "
                       "of the topic";
        case PRODUCER_FAULT_TOO_LARGE:
                return "the record is too large for it, even without its value; raise the topic's "
                       "max.message.bytes";
        case PRODUCER_FAULT_NONE:
        case PRODUCER_FAULT_OTHER:
                break;
        }
        return "Kafka does not take the record; look at the settings of the topic and at the "
               "brokers' log";
}

static bool is_of_topic(ProducerFault fault) {
        return fault == PRODUCER_FAULT_NO_TOPIC || fault == PRODUCER_FAULT_FORBIDDEN ||
               fault == PRODUCER_FAULT_AWAY;
}

/* "12", "10000 or more" */
static const char *pending_text(size_t pending, char out[32]) {
        snprintf(out, 32, "%zu%s", pending, pending >= REJECTED_COUNTED_MAX ? " or more" : "");
        return out;
}

static void say_failed(DeadLetterFeeder *feeder, size_t at, size_t pending) {
        const Letter *letter = &feeder->letters[at];
        const OutboxRow *row = &feeder->rows[at];
        char what[512], waiting[32];
        const char *topic = feeder->from.topic;
        /* librdkafka has several words for a topic that is missing. */
        snprintf(what, sizeof(what), "%d %s", (int)letter->fault,
                 is_of_topic(letter->fault) ? "" : letter->error);
        feeder->troubled = feeder->troubled || is_of_topic(letter->fault);
        if (!is_due(feeder, what)) {
                return;
        }
        log_warning(feeder->parts.log, "dead_letter.failed",
                    FIELDS(.topic = row->topic, .partition = (int32_t)atoi(row->partition),
                           .offset = row->offset, .host = row->host, .error = letter->error),
                    "a rejected message cannot be sent to the dead-letter topic %s: %s. It is kept "
                    "in the table rejected and tried again, as are all that wait (%s); nothing "
                    "else waits for it",
                    topic, cause_of(letter->fault), pending_text(pending, waiting));
}

static void say_works(DeadLetterFeeder *feeder, size_t pending) {
        char waiting[32];
        feeder->troubled = false;
        reminder_forget(&feeder->said);
        log_info(feeder->parts.log, "dead_letter.works", FIELDS(),
                 "the dead-letter topic %s takes rejected messages again; %s still wait",
                 feeder->from.topic, pending_text(pending, waiting));
}

/* That PostgreSQL is away, the pool has said. */
static void say_database(DeadLetterFeeder *feeder, const PgFailure *failure) {
        const char *remedy = sqlstate_remedy(failure->sqlstate);
        char waiting[32];
        if (sqlstate_is_alarm(failure->sqlstate) && is_due(feeder, failure->message)) {
                log_warning(feeder->parts.log, "dead_letter.failed",
                            FIELDS(.error = failure->message),
                            "the outbox of the dead-letter topic %s cannot be %s%s%s; trying again "
                            "(%s waited when they were counted last)",
                            feeder->from.topic, feeder->state == FEEDER_MARKING ? "marked" : "read",
                            remedy != NULL ? ": " : "", remedy != NULL ? remedy : "",
                            pending_text(feeder->parts.counter->counts.outbox_pending, waiting));
        }
}

/* --- marking ------------------------------------------------------------------------------ */

static FeedResult result_of(const DeadLetterFeeder *feeder) {
        FeedResult result = {.taken = feeder->n};
        for (size_t i = 0; i < feeder->n; i++) {
                const Letter *letter = &feeder->letters[i];
                result.delivered += letter->state == LETTER_DELIVERED;
                result.topic_faults +=
                        letter->state == LETTER_OPEN ||
                        (letter->state == LETTER_FAILED && is_of_topic(letter->fault));
        }
        return result;
}

static void finish(DeadLetterFeeder *feeder, size_t pending) {
        FeedResult result = result_of(feeder);
        for (size_t i = 0; i < feeder->n; i++) {
                if (feeder->letters[i].state == LETTER_FAILED) {
                        say_failed(feeder, i, pending);
                }
        }
        if (feeder->troubled && result.delivered > 0 && result.topic_faults == 0) {
                say_works(feeder, pending);
        }
        rejected_counter_wake(feeder->parts.counter);
        idle(feeder, feed_next(&feeder->feed, &result));
}

/* A row that was not answered is left to its lease: nobody knows whether it arrived. */
static size_t make_marks(DeadLetterFeeder *feeder, OutboxMark marks[FEED_ROWS_MAX]) {
        size_t n = 0;
        for (size_t i = 0; i < feeder->n; i++) {
                const Letter *letter = &feeder->letters[i];
                const OutboxRow *row = &feeder->rows[i];
                if (letter->state == LETTER_OPEN) {
                        continue;
                }
                marks[n++] =
                        (OutboxMark){.source = row->source,
                                     .offset = row->offset,
                                     .error = letter->state == LETTER_FAILED ? letter->error : NULL,
                                     .retry_us = letter->state == LETTER_FAILED
                                                         ? feed_retry(&feeder->feed, row->tries)
                                                         : 0};
        }
        return n;
}

/* What is not marked is sent again; @all: nothing of this take is. */
static void give_up(DeadLetterFeeder *feeder, bool all) {
        for (size_t i = 0; i < feeder->n && feeder->closing; i++) {
                LetterState state = feeder->letters[i].state;
                feeder->unmarked += state == LETTER_OPEN || (all && state == LETTER_DELIVERED);
        }
        if (all) {
                idle(feeder, feed_look(&feeder->feed));
        }
}

static void mark(DeadLetterFeeder *feeder) {
        OutboxMark marks[FEED_ROWS_MAX];
        size_t n = make_marks(feeder, marks);
        loop_timer_stop(&feeder->timer);
        feeder->state = FEEDER_MARKING;
        if (n == 0) {
                give_up(feeder, false);
                finish(feeder, feeder->parts.counter->counts.outbox_pending);
        } else if (outbox_mark(feeder->outbox, marks, n) != 0) {
                loop_timer_set(&feeder->timer, MARK_AGAIN_US);
        }
}

static void on_marked(void *user, PgEnd end, const PgFailure *failure, size_t pending) {
        DeadLetterFeeder *feeder = user;
        int64_t left = feeder->asked_us + FEED_LEASE_US - loop_now();
        if (end == PG_OK) {
                give_up(feeder, false);
                finish(feeder, pending);
        } else if (feeder->closing || left < MARK_AGAIN_US) {
                say_database(feeder, failure);
                give_up(feeder, true);
        } else {
                say_database(feeder, failure);
                loop_timer_set(&feeder->timer, MARK_AGAIN_US);
        }
}

/* --- sending ------------------------------------------------------------------------------ */

/* A report may come for a take that was given up. */
static void *opaque_of(const DeadLetterFeeder *feeder, size_t at) {
        return (void *)(feeder->generation * FEED_ROWS_MAX + at);
}

static void answer(DeadLetterFeeder *feeder, size_t at, ProducerFault fault, const char *error) {
        Letter *letter = &feeder->letters[at];
        letter->state = error == NULL ? LETTER_DELIVERED : LETTER_FAILED;
        letter->fault = fault;
        letter->error = error;
        feeder->unanswered--;
}

static int send_one(DeadLetterFeeder *feeder, size_t at) {
        Letter *letter = &feeder->letters[at];
        DeadLetterRecord record = {0};
        const char *error = NULL;
        int r = dead_letter_record_init(&record, &feeder->rows[at], &feeder->from, letter->omitted);
        if (r == 0) {
                r = producer_send(feeder->producer, &record.message, opaque_of(feeder, at), &error);
        }
        dead_letter_record_deinit(&record);
        if (r <= 0) {
                return r;
        }
        bool too_large = r == PRODUCER_E_FULL || /* more than librdkafka's memory by itself */
                         producer_fault(feeder->producer) == PRODUCER_FAULT_TOO_LARGE;
        if (too_large && !letter->omitted) {
                letter->omitted = true;
                return send_one(feeder, at);
        }
        answer(feeder, at,
               r == PRODUCER_E_FULL ? PRODUCER_FAULT_TOO_LARGE : producer_fault(feeder->producer),
               r == PRODUCER_E_FULL ? "more than the memory for what is to be sent" : error);
        return 0;
}

static void on_delivered(void *user, void *opaque, const char *error) {
        DeadLetterFeeder *feeder = user;
        size_t at = (uintptr_t)opaque % FEED_ROWS_MAX;
        ProducerFault fault = producer_fault(feeder->producer);
        if (feeder->state != FEEDER_SENDING || opaque_of(feeder, at) != opaque) {
                return;
        }
        Letter *letter = &feeder->letters[at];
        if (fault == PRODUCER_FAULT_TOO_LARGE && !letter->omitted &&
            feeder->rows[at].value != NULL && !feeder->closing) {
                letter->omitted = true;
                if (send_one(feeder, at) != 0) {
                        feeder->unanswered--; /* no memory: left to its lease */
                }
        } else {
                answer(feeder, at, fault, error);
        }
        if (feeder->unanswered == 0) {
                mark(feeder);
        }
}

/* What ackd needs of the producer stands behind what the section kafka says, and wins. */
static int make_producer(DeadLetterFeeder *feeder) {
        static const ProducerEvents events = {.delivered = on_delivered};
        static const ConsumerSetting ours[] = {
                /* The report is to mean that all replicas in sync have it; that a record may come
                 * twice is so anyway, and without idempotence no error is fatal. */
                {"enable.idempotence", "false"},
                {"acks", "all"},
                {"delivery.report.only.error", "false"},
                {"message.timeout.ms", "30000"}, /* FEED_DELIVERY_US */
                /* A record that is too large takes none with it. */
                {"batch.num.messages", "1"},
                /* A topic that is missing, and one that was made meanwhile, are noticed soon. */
                {"allow.auto.create.topics", "false"},
                {"topic.metadata.propagation.max.ms", "5000"},
                {"topic.metadata.refresh.interval.ms", "10000"},
        };
        const size_t n_ours = sizeof(ours) / sizeof(*ours);
        const Config *config = feeder->parts.config;
        char *error = NULL;
        ConsumerSetting *settings = calloc(config->kafka.n + n_ours, sizeof(*settings));
        ConsumerSetting *theirs = kafka_settings(config);
        int r = settings == NULL || theirs == NULL ? error_origin(-ENOMEM) : 0;
        if (r == 0) {
                memcpy(settings, theirs, config->kafka.n * sizeof(*settings));
                memcpy(settings + config->kafka.n, ours, sizeof(ours));
                r = producer_new(&feeder->producer, feeder->parts.loop, feeder->parts.log, settings,
                                 config->kafka.n + n_ours, &events, feeder, &error);
        }
        if (r > 0 && is_due(feeder, error)) {
                log_error(feeder->parts.log, "dead_letter.failed", FIELDS(.error = error),
                          "librdkafka refuses a setting, so nothing is sent to the dead-letter "
                          "topic %s: %s; mend the section kafka and start again",
                          feeder->from.topic, error);
        }
        free(error);
        free(theirs);
        free(settings);
        return r;
}

static void send_all(DeadLetterFeeder *feeder) {
        int r = 0;
        feeder->state = FEEDER_SENDING;
        feeder->generation++;
        feeder->unanswered = feeder->n;
        memset(feeder->letters, 0, sizeof(feeder->letters));
        for (size_t i = 0; r == 0 && i < feeder->n; i++) {
                r = send_one(feeder, i);
        }
        if (feeder->unanswered == 0) {
                mark(feeder);
                return;
        }
        /* Without memory for one the others are waited for, and it is left to its lease. */
        loop_timer_set(&feeder->timer, FEED_DELIVERY_US + ANSWER_SPARE_US);
}

static void on_taken(void *user, PgEnd end, const PgFailure *failure, const OutboxRow *rows,
                     size_t n) {
        DeadLetterFeeder *feeder = user;
        if (end != PG_OK) {
                say_database(feeder, failure);
        }
        /* An answer that came late leaves no time to deliver: the lease ends, and it comes again.
         */
        bool late = !feed_may_send(feeder->asked_us, loop_now());
        int r = 0;
        if (end == PG_OK && n > 0 && !late && !feeder->stopping && feeder->producer == NULL) {
                r = make_producer(feeder);
        }
        if (end != PG_OK || n == 0 || late || feeder->stopping || r != 0) {
                idle(feeder, feed_look(&feeder->feed));
                return;
        }
        feeder->rows = rows;
        feeder->n = n;
        send_all(feeder);
}

/* --- the timer ---------------------------------------------------------------------------- */

static void take(DeadLetterFeeder *feeder) {
        const char *cluster = consumer_cluster_id(feeder->parts.consumer);
        if (cluster == NULL || !pg_pool_is_up(feeder->parts.pool)) {
                idle(feeder, feed_look(&feeder->feed));
                return;
        }
        OutboxTake what = {.cluster = cluster,
                           .group = feeder->from.group,
                           .rows = feed_rows(&feeder->feed),
                           .bytes = FEED_BYTES_MAX,
                           .lease_us = FEED_LEASE_US};
        feeder->again = false;
        feeder->asked_us = loop_now();
        if (outbox_take(feeder->outbox, &what) != 0) {
                idle(feeder, feed_look(&feeder->feed));
                return;
        }
        feeder->state = FEEDER_TAKING;
}

static void on_timer(LoopTimer *timer) {
        DeadLetterFeeder *feeder = container_of(timer, DeadLetterFeeder, timer);
        switch (feeder->state) {
        case FEEDER_IDLE:
                take(feeder);
                break;
        case FEEDER_SENDING: /* what was not answered is left to its lease */
        case FEEDER_MARKING:
                mark(feeder);
                break;
        case FEEDER_STOPPED:
        case FEEDER_TAKING:
                break;
        }
}

/* --- life --------------------------------------------------------------------------------- */

int dead_letter_feeder_new(DeadLetterFeeder **feederp, const DeadLetterFeederParts *parts) {
        static const OutboxEvents events = {.taken = on_taken, .marked = on_marked};
        DeadLetterFeeder *feeder = calloc(1, sizeof(*feeder));
        if (feeder == NULL) {
                return error_origin(-ENOMEM);
        }
        feeder->parts = *parts;
        feeder->from = (DeadLetterFrom){.topic = parts->config->consume.dead_letter_topic,
                                        .group = config_group(parts->config),
                                        .instance = parts->config->instance};
        feeder->feed.random = (uint64_t)loop_wall() ^ (uint64_t)loop_now() << 20;
        loop_timer_init(&feeder->timer, parts->loop, "dead_letters", on_timer);
        int r = outbox_new(&feeder->outbox, parts->pool, parts->config->postgres.schema, &events,
                           feeder);
        if (r != 0) {
                free(feeder);
                return r;
        }
        *feederp = feeder;
        return 0;
}

void dead_letter_feeder_free(DeadLetterFeeder *feeder) {
        if (feeder == NULL) {
                return;
        }
        loop_timer_stop(&feeder->timer);
        producer_free_within(feeder->producer, HANDLE_END_US);
        outbox_free(feeder->outbox);
        free(feeder);
}

void dead_letter_feeder_start(DeadLetterFeeder *feeder) {
        if (feeder != NULL && feeder->state == FEEDER_STOPPED && !feeder->stopping) {
                idle(feeder, 0);
        }
}

void dead_letter_feeder_wake(DeadLetterFeeder *feeder) {
        if (feeder == NULL) {
                return;
        }
        if (feeder->state != FEEDER_IDLE) {
                feeder->again = true;
        } else if (feed_is_awake(&feeder->feed)) {
                loop_timer_set(&feeder->timer, 0);
        }
}

void dead_letter_feeder_stop(DeadLetterFeeder *feeder) {
        if (feeder == NULL) {
                return;
        }
        feeder->stopping = true;
        if (feeder->state == FEEDER_IDLE ||
            (feeder->state == FEEDER_TAKING && outbox_withdraw(feeder->outbox))) {
                feeder->state = FEEDER_STOPPED;
                loop_timer_stop(&feeder->timer);
        }
}

void dead_letter_feeder_close(DeadLetterFeeder *feeder) {
        if (feeder == NULL) {
                return;
        }
        dead_letter_feeder_stop(feeder);
        feeder->closing = true;
        if (feeder->state == FEEDER_SENDING) {
                loop_timer_set(&feeder->timer, CLOSE_US);
        } else if (feeder->state == FEEDER_MARKING && !outbox_is_busy(feeder->outbox)) {
                give_up(feeder, true);
        }
}

bool dead_letter_feeder_is_quiet(const DeadLetterFeeder *feeder) {
        return feeder == NULL || feeder->state == FEEDER_STOPPED;
}

size_t dead_letter_feeder_open(const DeadLetterFeeder *feeder) {
        return feeder == NULL ? 0 : feeder->n + feeder->unmarked;
}
