#include "test.h"

#include <fcntl.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "telemetry/metrics.h"

static const char *finish(MetricsPage *page) {
        assert_int_equal(metrics_page_end(page), 0);
        const char *text = buffer_string(&page->text);
        assert_non_null(text);
        return text;
}

static void test_samples(void **state) {
        (void)state;
        MetricsPage page;
        metrics_page_init(&page);
        metrics_page_begin(&page);
        metrics_sample(&page, METRICS_MESSAGES_RECEIVED, LABELS("a"), 0);
        metrics_sample(&page, METRICS_MESSAGES_RECEIVED, LABELS("b\\\"\n"), 18014398509481984.0);
        metrics_sample_partition(&page, METRICS_PARTITION_LAG, "t", 11, 3);
        metrics_sample(&page, METRICS_LOOP_BUSY, NULL, 0.1);
        assert_string_equal(finish(&page),
                            "# HELP ackd_messages_received_total Messages fetched from Kafka.\n"
                            "# TYPE ackd_messages_received_total counter\n"
                            "ackd_messages_received_total{topic=\"a\"} 0\n"
                            "ackd_messages_received_total{topic=\"b\\\\\\\"\\n\"} "
                            "18014398509481984\n"
                            "# HELP ackd_partition_lag Messages behind the committed offset that "
                            "Kafka holds.\n"
                            "# TYPE ackd_partition_lag gauge\n"
                            "ackd_partition_lag{topic=\"t\",partition=\"11\"} 3\n"
                            "# HELP ackd_loop_busy_seconds_total Time that the event loop spent in "
                            "callbacks.\n"
                            "# TYPE ackd_loop_busy_seconds_total counter\n"
                            "ackd_loop_busy_seconds_total 0.1\n");
        /* The next page is another one, in the same memory. */
        uint8_t *memory = page.text.data;
        metrics_page_begin(&page);
        metrics_sample(&page, METRICS_DRY_RUN, NULL, (double)NAN);
        assert_non_null(strstr(finish(&page), "\nackd_dry_run NaN\n"));
        assert_ptr_equal(page.text.data, memory);
        metrics_page_deinit(&page);
}

static void test_histogram(void **state) {
        (void)state;
        MetricsPage page;
        MetricsHistogram rows, seconds;
        metrics_histogram_init(&rows, &metrics_scale_rows);
        metrics_histogram_init(&seconds, &metrics_scale_duration);
        metrics_observe(&rows, 1);
        metrics_observe(&rows, 2);
        metrics_observe(&rows, 5);
        metrics_observe(&rows, 10001);
        metrics_observe(&seconds, 0);
        metrics_observe(&seconds, 2500000);
        metrics_observe(&seconds, 2500001);
        metrics_page_init(&page);
        metrics_page_begin(&page);
        metrics_sample_histogram(&page, METRICS_HANDLER_DURATION, LABELS("save"), &seconds);
        metrics_sample_histogram(&page, METRICS_SAVE_BATCH_ROWS, NULL, &rows);
        const char *text = finish(&page);
        static const char *const expected[] = {
                "ackd_handler_duration_seconds_bucket{handler=\"save\",le=\"0.001\"} 1\n",
                "ackd_handler_duration_seconds_bucket{handler=\"save\",le=\"1\"} 1\n",
                "ackd_handler_duration_seconds_bucket{handler=\"save\",le=\"2.5\"} 2\n",
                "ackd_handler_duration_seconds_bucket{handler=\"save\",le=\"5\"} 3\n",
                "ackd_handler_duration_seconds_bucket{handler=\"save\",le=\"14400\"} 3\n",
                "ackd_handler_duration_seconds_bucket{handler=\"save\",le=\"+Inf\"} 3\n",
                "ackd_handler_duration_seconds_sum{handler=\"save\"} 5.000001\n",
                "ackd_handler_duration_seconds_count{handler=\"save\"} 3\n",
                "ackd_save_batch_rows_bucket{le=\"1\"} 1\n",
                "ackd_save_batch_rows_bucket{le=\"5\"} 3\n",
                "ackd_save_batch_rows_bucket{le=\"10000\"} 3\n",
                "ackd_save_batch_rows_bucket{le=\"+Inf\"} 4\n",
                "ackd_save_batch_rows_sum 10009\n",
                "ackd_save_batch_rows_count 4\n",
        };
        for (size_t i = 0; i < sizeof(expected) / sizeof(expected[0]); i++) {
                const char *found = strstr(text, expected[i]);
                if (found == NULL || found[-1] != '\n') {
                        fail_msg("not there: %s in\n%s", expected[i], text);
                }
        }
        metrics_page_deinit(&page);
}

static double value_of(const char *text, const char *name) {
        char start[128];
        snprintf(start, sizeof(start), "\n%s ", name);
        const char *found = strstr(text, start);
        if (found == NULL) {
                fail_msg("%s is not there", name);
        }
        return strtod(found + strlen(start), NULL);
}

static void test_process(void **state) {
        (void)state;
        MetricsPage page;
        metrics_page_init(&page);
        metrics_page_begin(&page);
        metrics_sample_process(&page);
        const char *text = finish(&page);
        double fds = value_of(text, "process_open_fds");
        double started = value_of(text, "process_start_time_seconds");
        assert_true(value_of(text, "process_cpu_seconds_total") > 0);
        assert_true(value_of(text, "process_resident_memory_bytes") > 100000);
        assert_true(value_of(text, "process_max_fds") >= fds);
        assert_true(started <= (double)time(NULL) + 1);
        assert_true(started > (double)time(NULL) - 300);
        int fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
        metrics_page_begin(&page);
        metrics_sample_process(&page);
        text = finish(&page);
        assert_true(value_of(text, "process_open_fds") == fds + 1);
        assert_true(value_of(text, "process_start_time_seconds") == started);
        close(fd);
        metrics_page_deinit(&page);
}

/* Every family of the table, once. */
static void write_all_families(MetricsPage *page) {
        MetricsHistogram histogram;
        metrics_histogram_init(&histogram, &metrics_scale_duration);
        metrics_observe(&histogram, 1);
        metrics_page_begin(page);
        for (int family = 0; family < METRICS_PROCESS_CPU; family++) {
                const char *const *labels = LABELS("a", "b", "c");
                if (family == METRICS_HANDLER_DURATION || family == METRICS_ACK_DURATION ||
                    family == METRICS_SAVE_BATCH_ROWS || family == METRICS_RESTART_DURATION) {
                        metrics_sample_histogram(page, (MetricsFamily)family, labels, &histogram);
                } else {
                        metrics_sample(page, (MetricsFamily)family, labels, family);
                }
        }
        metrics_sample_process(page);
}

static void test_table_is_complete(void **state) {
        (void)state;
        MetricsPage page;
        metrics_page_init(&page);
        write_all_families(&page);
        const char *text = finish(&page);
        size_t families = 0;
        for (const char *p = text; (p = strstr(p, "# TYPE ")) != NULL; p++) {
                families++;
        }
        assert_int_equal(families, METRICS_FAMILY_COUNT);
        metrics_page_deinit(&page);
}

static void test_promtool(void **state) {
        (void)state;
        if (system("command -v promtool >/dev/null 2>&1") != 0) {
                fail_msg("promtool is missing: scripts/install-packages test");
        }
        MetricsPage page;
        metrics_page_init(&page);
        write_all_families(&page);
        assert_int_equal(metrics_page_end(&page), 0);
        /* Its findings go where they don't disturb the test's own protocol. */
        FILE *promtool = popen("promtool check metrics >&2", "w");
        assert_non_null(promtool);
        assert_int_equal(fwrite(page.text.data, 1, page.text.size, promtool), page.text.size);
        int status = pclose(promtool);
        assert_true(WIFEXITED(status));
        assert_int_equal(WEXITSTATUS(status), 0);
        metrics_page_deinit(&page);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_samples),  cmocka_unit_test(test_histogram),
                cmocka_unit_test(test_process),  cmocka_unit_test(test_table_is_complete),
                cmocka_unit_test(test_promtool),
        };
        return cmocka_run_group_tests(tests, NULL, NULL);
}
