#pragma once

/*
 * The page of metrics, in Prometheus' text format (0.0.4).
 *
 * The counts live with whoever counts; at a scrape the application writes them down, family by
 * family. The table in metrics.c has all families with their types, help texts and labels, in the
 * order of the documentation, and nothing else can be written. Values of a label that are known
 * beforehand are written from the start, with 0: a series that appears with 1 has no rate. Never a
 * host as a label.
 *
 * Not for several threads: a page and a histogram belong to one.
 */

#include <stddef.h>
#include <stdint.h>

#include "util/buffer.h"

typedef enum MetricsFamily {
        METRICS_MESSAGES_RECEIVED, /* topic */
        METRICS_MESSAGES_FINISHED, /* result */
        METRICS_HANDLER_OUTCOMES,  /* handler, outcome */
        METRICS_HANDLER_DURATION,  /* handler; a histogram of seconds */
        METRICS_ACK_DURATION,      /* a histogram of seconds */
        METRICS_IN_FLIGHT_MESSAGES,
        METRICS_WAITING_MESSAGES,
        METRICS_IN_FLIGHT_BYTES,
        METRICS_PARTITION_LAG,     /* topic, partition */
        METRICS_PARTITION_ACK_GAP, /* topic, partition */
        METRICS_PAUSED_PARTITIONS, /* reason */
        METRICS_OLDEST_IN_FLIGHT,  /* seconds since 1970; 0: none */
        METRICS_LAST_PROGRESS,     /* seconds since 1970 */
        METRICS_COMMITS,           /* result */
        METRICS_REBALANCES,
        METRICS_SAVED_ROWS,
        METRICS_SAVE_BATCH_ROWS,     /* a histogram of rows */
        METRICS_RESTARTS,            /* result */
        METRICS_RESTART_DURATION,    /* a histogram of seconds */
        METRICS_RESTARTS_SUPPRESSED, /* reason */
        METRICS_RESTARTS_WAITING,    /* reason */
        METRICS_RESTARTS_UNKNOWN,
        METRICS_DEAD_LETTERS_PENDING,
        METRICS_HOLDS,
        METRICS_DRY_RUN,
        METRICS_KAFKA_UP,
        METRICS_POSTGRES_UP,
        METRICS_ERRORS, /* source, code */
        METRICS_LOG_DROPPED,
        METRICS_LOOP_SLOW_CALLBACKS, /* callback */
        METRICS_LOOP_BUSY,           /* seconds */
        METRICS_BUILD_INFO,          /* version, librdkafka, libpq; always 1 */
        METRICS_PROCESS_CPU,         /* this and the following: metrics_process() */
        METRICS_PROCESS_RESIDENT_MEMORY,
        METRICS_PROCESS_OPEN_FDS,
        METRICS_PROCESS_MAX_FDS,
        METRICS_PROCESS_START_TIME,
        METRICS_FAMILY_COUNT,
} MetricsFamily;

#define METRICS_LABELS_MAX  3
#define METRICS_BUCKETS_MAX 18

/* Upper bounds of buckets, as they are counted: µs, rows. */
typedef struct MetricsScale {
        size_t n;
        double unit; /* what a count of 1 is on the page: 1e-6 for µs */
        int64_t bounds[METRICS_BUCKETS_MAX];
} MetricsScale;

extern const MetricsScale metrics_scale_duration; /* µs; 1 ms to 4 h */
extern const MetricsScale metrics_scale_rows;     /* 1 to 10,000 */

/* Embedded. */
typedef struct MetricsHistogram {
        const MetricsScale *scale;
        uint64_t counts[METRICS_BUCKETS_MAX +
                        1]; /* not cumulated; the last one is over all bounds */
        int64_t sum;
} MetricsHistogram;

void metrics_histogram_init(MetricsHistogram *histogram, const MetricsScale *scale);

static inline void metrics_observe(MetricsHistogram *histogram, int64_t value) {
        size_t i = 0;
        while (i < histogram->scale->n && value > histogram->scale->bounds[i]) {
                i++;
        }
        histogram->counts[i]++;
        histogram->sum += value;
}

typedef struct MetricsPage {
        Buffer text;
        int family; /* the last one written; -1: none */
        int error;
        double started; /* this process; seconds since 1970; 0: /proc does not tell */
} MetricsPage;

/* The values of a family's labels, in the table's order. */
#define LABELS(...) ((const char *const[METRICS_LABELS_MAX + 1]){__VA_ARGS__})

void metrics_page_init(MetricsPage *page);
void metrics_page_deinit(MetricsPage *page);

/* Empties the page. Its memory is kept, so a page that is used again allocates nothing. */
void metrics_page_begin(MetricsPage *page);
/* 0, or the first failure since metrics_page_begin() (-ENOMEM); then the page is empty. */
MUST_CHECK int metrics_page_end(MetricsPage *page);

/* Adds a sample. Families come in the order of the enum, each in one piece; what is never named
 * does not appear. @labels: NULL for a family that has none. */
void metrics_sample(MetricsPage *page, MetricsFamily family, const char *const *labels,
                    double value);
/* For a family with the labels topic and partition. */
void metrics_sample_partition(MetricsPage *page, MetricsFamily family, const char *topic,
                              int32_t partition, double value);
void metrics_sample_histogram(MetricsPage *page, MetricsFamily family, const char *const *labels,
                              const MetricsHistogram *histogram);
/* All of process_*; what /proc does not tell is left out. */
void metrics_sample_process(MetricsPage *page);
