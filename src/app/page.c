/*
 * The page of metrics: everything that is counted anywhere, written down at one instant, so that it
 * adds up: received = finished + in flight.
 */

#include <stdio.h>
#include <string.h>

#include "app/report.h"
#include "pg/connection.h"
#include "util/list.h"

static void page_messages(Report *report, MetricsPage *page) {
        const Config *config = report->config;
        const EngineTotals *totals = engine_totals(report->engine);

        for (size_t i = 0; i < report->n_topics; i++) {
                metrics_sample(page, METRICS_MESSAGES_RECEIVED, LABELS(report->topics[i].name),
                               (double)report->topics[i].received);
        }
        for (int i = 0; i < FINISH_COUNT; i++) {
                metrics_sample(page, METRICS_MESSAGES_FINISHED, LABELS(finish_name((Finish)i)),
                               (double)totals->finished[i]);
        }
        const bool enabled[HANDLER_COUNT] = {config->handlers.save.enabled,
                                             config->handlers.restart.enabled};
        for (int h = 0; h < HANDLER_COUNT; h++) {
                for (int o = OUTCOME_NONE + 1; enabled[h] && o < OUTCOME_COUNT; o++) {
                        metrics_sample(page, METRICS_HANDLER_OUTCOMES,
                                       LABELS(handler_name((HandlerId)h), outcome_name((Outcome)o)),
                                       (double)totals->outcomes[h][o]);
                }
        }
        for (int h = 0; h < HANDLER_COUNT; h++) {
                if (enabled[h]) {
                        metrics_sample_histogram(page, METRICS_HANDLER_DURATION,
                                                 LABELS(handler_name((HandlerId)h)),
                                                 &report->handler_duration[h]);
                }
        }
        metrics_sample_histogram(page, METRICS_ACK_DURATION, NULL, &report->ack_duration);
        metrics_sample(page, METRICS_IN_FLIGHT_MESSAGES, NULL,
                       (double)engine_in_flight(report->engine));
        metrics_sample(page, METRICS_WAITING_MESSAGES, NULL,
                       (double)engine_waiting(report->engine));
        metrics_sample(page, METRICS_IN_FLIGHT_BYTES, NULL,
                       (double)engine_in_flight_bytes(report->engine));
}

/*
 * How many messages are behind the watermark; what was never committed counts from the start.
 * False: nobody knows, which is not 0: Kafka is away, the topic is gone, or it was not looked at
 * yet.
 */
bool report_lag(const Report *report, const Partition *partition, double *lag) {
        const PartitionFacts *facts = &partition->facts;
        bool stopped = partition->state == PARTITION_STOPPED || partition->told_stopped != NULL;
        int64_t high, from;

        if (partition->state == PARTITION_GONE || partition->doubted ||
            !consumer_is_up(report->consumer)) {
                return false;
        }
        if (partition->state == PARTITION_ACTIVE || partition->state == PARTITION_DRAINING) {
                high = consumer_high(report->consumer, partition->handle);
                from = partition->offsets.watermark >= 0 ? partition->offsets.watermark
                                                         : partition->committed;
        } else {
                /* What librdkafka has seen may be the end of a log that is no more. */
                high = consumer_looked_high(partition->handle);
                from = partition->state == PARTITION_ADOPTING ||
                                       partition->state == PARTITION_COMMITTING ||
                                       partition->state == PARTITION_SEEKING
                               ? partition->start
                               : facts->committed;
        }
        if (stopped && (from < facts->low || from > high)) {
                from = facts->low; /* a commit that is not of this log, or none */
        }
        if (high < 0 || from < 0) {
                return false;
        }
        *lag = high > from ? (double)(high - from) : 0;
        return true;
}

static void page_paused(const List *partitions, MetricsPage *page) {
        static const char *const reasons[] = {"in_flight", "in_flight_bytes", "waiting", "ack_gap",
                                              "vanished",  "starting",        "stopped"};
        for (size_t i = 0; i < sizeof(reasons) / sizeof(*reasons); i++) {
                size_t n = 0;
                list_for_each(link, partitions) {
                        const char *by = partition_paused_by(container_of(link, Partition, link));
                        n += by != NULL && strcmp(by, reasons[i]) == 0;
                }
                metrics_sample(page, METRICS_PAUSED_PARTITIONS, LABELS(reasons[i]), (double)n);
        }
}

static void page_partitions(Report *report, MetricsPage *page) {
        const List *partitions = engine_partitions(report->engine);
        int64_t oldest_us = INT64_MAX;

        list_for_each(link, partitions) {
                const Partition *partition = container_of(link, Partition, link);
                double lag;
                if (report_lag(report, partition, &lag)) {
                        metrics_sample_partition(page, METRICS_PARTITION_LAG, partition->topic,
                                                 partition->partition, lag);
                }
        }
        list_for_each(link, partitions) {
                const Partition *partition = container_of(link, Partition, link);
                metrics_sample_partition(page, METRICS_PARTITION_ACK_GAP, partition->topic,
                                         partition->partition,
                                         (double)offsets_gap(&partition->offsets));
                if (!list_is_empty(&partition->messages)) {
                        const Message *first =
                                container_of(partition->messages.next, Message, link);
                        oldest_us = first->received_wall_us < oldest_us ? first->received_wall_us
                                                                        : oldest_us;
                }
        }
        page_paused(partitions, page);
        metrics_sample(page, METRICS_OLDEST_IN_FLIGHT, NULL,
                       oldest_us == INT64_MAX ? 0 : (double)oldest_us / 1e6);
        metrics_sample(page, METRICS_LAST_PROGRESS, NULL, (double)report->progress_wall_us / 1e6);
}

static void page_work(Report *report, MetricsPage *page) {
        const ConfigRestart *restart = &report->config->handlers.restart;
        const EngineTotals *totals = engine_totals(report->engine);

        metrics_sample(page, METRICS_COMMITS, LABELS("ok"), (double)totals->commits);
        metrics_sample(page, METRICS_COMMITS, LABELS("failed"), (double)totals->commits_failed);
        metrics_sample(page, METRICS_REBALANCES, NULL, (double)totals->rebalances);
        metrics_sample(page, METRICS_SAVED_ROWS, NULL, (double)totals->saved_rows);
        metrics_sample_histogram(page, METRICS_SAVE_BATCH_ROWS, NULL, &report->batch_rows);
        for (int o = OUTCOME_NONE + 1; restart->enabled && o < OUTCOME_COUNT; o++) {
                metrics_sample(page, METRICS_RESTARTS, LABELS(outcome_name((Outcome)o)),
                               (double)totals->restarts[o]);
        }
        metrics_sample_histogram(page, METRICS_RESTART_DURATION, NULL, &report->restart_duration);
        for (int i = LEDGER_REASON_DUPLICATE; restart->enabled && i <= LEDGER_REASON_OTHER; i++) {
                metrics_sample(page, METRICS_RESTARTS_SUPPRESSED,
                               LABELS(ledger_reason_name((LedgerReason)i)),
                               (double)totals->suppressed[i]);
        }
        for (int i = WAIT_NONE + 1; restart->enabled && i < WAIT_REASONS; i++) {
                metrics_sample(page, METRICS_RESTARTS_WAITING,
                               LABELS(restart_wait_name((RestartWait)i)),
                               (double)engine_waits(report->engine, (RestartWait)i));
        }
        metrics_sample(page, METRICS_RESTARTS_UNKNOWN, NULL, (double)report->rejected->unknown);
        metrics_sample(page, METRICS_DEAD_LETTERS_PENDING, NULL,
                       (double)report->rejected->outbox_pending);
        metrics_sample(page, METRICS_HOLDS, NULL, (double)report->holds->in_force);
        metrics_sample(page, METRICS_DRY_RUN, NULL,
                       restart->enabled && restart->action == CONFIG_ACTION_DRY_RUN);
}

static void page_daemon(Report *report, MetricsPage *page) {
        char libpq[32];

        if (!report->closed) {
                metrics_sample(page, METRICS_KAFKA_UP, NULL, consumer_is_up(report->consumer));
                metrics_sample(page, METRICS_POSTGRES_UP, NULL, report->postgres_up);
        }
        metrics_sample(page, METRICS_LOG_DROPPED, NULL, (double)log_dropped(report->log));
        for (size_t i = 0; i < REPORT_CALLBACKS_MAX && report->slow[i].name != NULL; i++) {
                metrics_sample(page, METRICS_LOOP_SLOW_CALLBACKS, LABELS(report->slow[i].name),
                               (double)report->slow[i].count);
        }
        metrics_sample(page, METRICS_LOOP_BUSY, NULL, (double)report->loop->busy_us / 1e6);
        snprintf(libpq, sizeof(libpq), "%d.%d", pg_library_version() / 10000,
                 pg_library_version() % 10000);
        metrics_sample(page, METRICS_BUILD_INFO,
                       LABELS(ACKD_VERSION, consumer_library_version(), libpq), 1);
        metrics_sample_process(page);
}

int report_page(Report *report) {
        MetricsPage *page = &report->page;
        metrics_page_begin(page);
        page_messages(report, page);
        page_partitions(report, page);
        page_work(report, page);
        page_daemon(report, page);
        return metrics_page_end(page);
}
