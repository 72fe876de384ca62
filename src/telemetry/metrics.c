/* See metrics.h. The format: prometheus.io/docs/instrumenting/exposition_formats. */

#include "telemetry/metrics.h"

#include <assert.h>
#include <dirent.h>
#include <math.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

typedef enum FamilyType {
        FAMILY_COUNTER,
        FAMILY_GAUGE,
        FAMILY_HISTOGRAM,
} FamilyType;

typedef struct Family {
        const char *name;
        FamilyType type;
        const char *help;
        const char *labels[METRICS_LABELS_MAX + 1];
} Family;

static const char *const type_names[] = {
        [FAMILY_COUNTER] = "counter",
        [FAMILY_GAUGE] = "gauge",
        [FAMILY_HISTOGRAM] = "histogram",
};

static const Family families[METRICS_FAMILY_COUNT] = {
        [METRICS_MESSAGES_RECEIVED] = {"ackd_messages_received_total",
                                       FAMILY_COUNTER,
                                       "Messages fetched from Kafka.",
                                       {"topic"}},
        [METRICS_MESSAGES_FINISHED] = {"ackd_messages_finished_total",
                                       FAMILY_COUNTER,
                                       "Messages that ackd is done with, by what became of them.",
                                       {"result"}},
        [METRICS_HANDLER_OUTCOMES] = {"ackd_handler_outcomes_total",
                                      FAMILY_COUNTER,
                                      "How attempts of handlers ended.",
                                      {"handler", "outcome"}},
        [METRICS_HANDLER_DURATION] = {"ackd_handler_duration_seconds",
                                      FAMILY_HISTOGRAM,
                                      "How long attempts of handlers took.",
                                      {"handler"}},
        [METRICS_ACK_DURATION] = {"ackd_ack_duration_seconds",
                                  FAMILY_HISTOGRAM,
                                  "From receiving a message to its ack.",
                                  {NULL}},
        [METRICS_IN_FLIGHT_MESSAGES] = {"ackd_in_flight_messages",
                                        FAMILY_GAUGE,
                                        "Messages that are being worked on.",
                                        {NULL}},
        [METRICS_WAITING_MESSAGES] =
                {"ackd_waiting_messages",
                 FAMILY_GAUGE,
                 "Messages that are saved and wait: for a window, a slot or a retry.",
                 {NULL}},
        [METRICS_IN_FLIGHT_BYTES] = {"ackd_in_flight_bytes",
                                     FAMILY_GAUGE,
                                     "Memory of the messages that are being worked on.",
                                     {NULL}},
        [METRICS_PARTITION_LAG] = {"ackd_partition_lag",
                                   FAMILY_GAUGE,
                                   "Messages behind the committed offset that Kafka holds.",
                                   {"topic", "partition"}},
        [METRICS_PARTITION_ACK_GAP] = {"ackd_partition_ack_gap",
                                       FAMILY_GAUGE,
                                       "Offsets between the committed one and the newest received.",
                                       {"topic", "partition"}},
        [METRICS_PAUSED_PARTITIONS] = {"ackd_paused_partitions",
                                       FAMILY_GAUGE,
                                       "Partitions that are assigned and not read, by why.",
                                       {"reason"}},
        [METRICS_OLDEST_IN_FLIGHT] = {"ackd_oldest_in_flight_timestamp_seconds",
                                      FAMILY_GAUGE,
                                      "When the oldest message in flight was received; 0: none.",
                                      {NULL}},
        [METRICS_LAST_PROGRESS] = {"ackd_last_progress_timestamp_seconds",
                                   FAMILY_GAUGE,
                                   "When a message was finished last.",
                                   {NULL}},
        [METRICS_COMMITS] = {"ackd_commits_total",
                             FAMILY_COUNTER,
                             "Commits of offsets to Kafka.",
                             {"result"}},
        [METRICS_REBALANCES] = {"ackd_rebalances_total",
                                FAMILY_COUNTER,
                                "Rebalances that took partitions away.",
                                {NULL}},
        [METRICS_SAVED_ROWS] = {"ackd_saved_rows_total",
                                FAMILY_COUNTER,
                                "Rows of messages that are in PostgreSQL.",
                                {NULL}},
        [METRICS_SAVE_BATCH_ROWS] = {"ackd_save_batch_rows",
                                     FAMILY_HISTOGRAM,
                                     "Rows that went to PostgreSQL in one transaction.",
                                     {NULL}},
        [METRICS_RESTARTS] = {"ackd_restarts_total",
                              FAMILY_COUNTER,
                              "Restarts of hosts, by how they ended.",
                              {"result"}},
        [METRICS_RESTART_DURATION] = {"ackd_restart_duration_seconds",
                                      FAMILY_HISTOGRAM,
                                      "How long restarts of hosts took.",
                                      {NULL}},
        [METRICS_RESTARTS_SUPPRESSED] = {"ackd_restarts_suppressed_total",
                                         FAMILY_COUNTER,
                                         "Requests for a restart that needed none, by why.",
                                         {"reason"}},
        [METRICS_RESTARTS_WAITING] = {"ackd_restarts_waiting",
                                      FAMILY_GAUGE,
                                      "Requests for a restart that wait, by what they wait for.",
                                      {"reason"}},
        [METRICS_RESTARTS_UNKNOWN] =
                {"ackd_restarts_unknown",
                 FAMILY_GAUGE,
                 "Rejected requests of which nobody knows whether the host was restarted, neither "
                 "replayed nor dropped, of all instances; 10000: at least so many.",
                 {NULL}},
        [METRICS_DEAD_LETTERS_PENDING] =
                {"ackd_dead_letters_pending",
                 FAMILY_GAUGE,
                 "Rejected messages that are not in the dead-letter topic yet, of all instances; "
                 "10000: at least so many.",
                 {NULL}},
        [METRICS_HOLDS] = {"ackd_holds",
                           FAMILY_GAUGE,
                           "Holds in force: stops that persons, or the fuse, have put on hosts.",
                           {NULL}},
        [METRICS_DRY_RUN] = {"ackd_dry_run",
                             FAMILY_GAUGE,
                             "Whether hosts are not really restarted.",
                             {NULL}},
        [METRICS_KAFKA_UP] = {"ackd_kafka_up",
                              FAMILY_GAUGE,
                              "Whether a broker can be reached.",
                              {NULL}},
        [METRICS_POSTGRES_UP] = {"ackd_postgres_up",
                                 FAMILY_GAUGE,
                                 "Whether PostgreSQL can be reached.",
                                 {NULL}},
        [METRICS_ERRORS] = {"ackd_errors_total",
                            FAMILY_COUNTER,
                            "Errors, by where they came from.",
                            {"source", "code"}},
        [METRICS_LOG_DROPPED] = {"ackd_log_dropped_total",
                                 FAMILY_COUNTER,
                                 "Lines of the log that could not be written.",
                                 {NULL}},
        [METRICS_LOOP_SLOW_CALLBACKS] = {"ackd_loop_slow_callbacks_total",
                                         FAMILY_COUNTER,
                                         "Callbacks that held up the event loop for too long.",
                                         {"callback"}},
        [METRICS_LOOP_BUSY] = {"ackd_loop_busy_seconds_total",
                               FAMILY_COUNTER,
                               "Time that the event loop spent in callbacks.",
                               {NULL}},
        [METRICS_BUILD_INFO] = {"ackd_build_info",
                                FAMILY_GAUGE,
                                "Versions of ackd and of its libraries.",
                                {"version", "librdkafka", "libpq"}},
        [METRICS_PROCESS_CPU] = {"process_cpu_seconds_total",
                                 FAMILY_COUNTER,
                                 "User and system CPU time of all threads.",
                                 {NULL}},
        [METRICS_PROCESS_RESIDENT_MEMORY] = {"process_resident_memory_bytes",
                                             FAMILY_GAUGE,
                                             "Resident memory.",
                                             {NULL}},
        [METRICS_PROCESS_OPEN_FDS] = {"process_open_fds",
                                      FAMILY_GAUGE,
                                      "Open file descriptors.",
                                      {NULL}},
        [METRICS_PROCESS_MAX_FDS] = {"process_max_fds",
                                     FAMILY_GAUGE,
                                     "The limit of open file descriptors.",
                                     {NULL}},
        [METRICS_PROCESS_START_TIME] = {"process_start_time_seconds",
                                        FAMILY_GAUGE,
                                        "When the process started, since 1970.",
                                        {NULL}},
};

#define MS     INT64_C(1000)
#define SECOND INT64_C(1000000)

/* A save takes milliseconds, a restart minutes, and a message that waits for its retries hours. */
const MetricsScale metrics_scale_duration = {
        .n = 18,
        .unit = 1e-6,
        .bounds = {MS, 5 * MS, 10 * MS, 25 * MS, 50 * MS, 100 * MS, 250 * MS, 500 * MS, SECOND,
                   5 * SECOND / 2, 5 * SECOND, 10 * SECOND, 30 * SECOND, 60 * SECOND, 300 * SECOND,
                   900 * SECOND, 3600 * SECOND, 14400 * SECOND},
};

const MetricsScale metrics_scale_rows = {
        .n = 10,
        .unit = 1,
        .bounds = {1, 5, 10, 50, 100, 500, 1000, 2000, 5000, 10000},
};

void metrics_histogram_init(MetricsHistogram *histogram, const MetricsScale *scale) {
        *histogram = (MetricsHistogram){.scale = scale};
}

/* --- text ------------------------------------------------------------------------------------- */

static void page_text(MetricsPage *page, const char *text) {
        if (page->error == 0) {
                page->error = buffer_append_string(&page->text, text);
        }
}

static void page_number(MetricsPage *page, double value) {
        char text[32];
        if (isnan(value)) {
                page_text(page, "NaN");
                return;
        }
        if (isinf(value)) {
                page_text(page, value > 0 ? "+Inf" : "-Inf");
                return;
        }
        /* The shorter form when it reads back the same: 0.1, not 0.10000000000000001. */
        snprintf(text, sizeof(text), "%.15g", value);
        if (strtod(text, NULL) != value) {
                snprintf(text, sizeof(text), "%.17g", value);
        }
        page_text(page, text);
}

static void page_label(MetricsPage *page, bool first, const char *name, const char *value) {
        page_text(page, first ? "{" : ",");
        page_text(page, name);
        page_text(page, "=\"");
        for (const char *p = value; *p != '\0'; p++) {
                char piece[] = {*p, '\0'};
                page_text(page, *p == '\\'   ? "\\\\"
                                : *p == '"'  ? "\\\""
                                : *p == '\n' ? "\\n"
                                             : piece);
        }
        page_text(page, "\"");
}

/* @le: the bound of a bucket; NULL: it is none. */
static void page_sample(MetricsPage *page, const Family *family, const char *suffix,
                        const char *const *labels, const char *le, double value) {
        bool first = true;
        page_text(page, family->name);
        page_text(page, suffix);
        for (size_t i = 0; family->labels[i] != NULL; i++) {
                assert(labels != NULL && labels[i] != NULL);
                page_label(page, first, family->labels[i], labels[i]);
                first = false;
        }
        if (le != NULL) {
                page_label(page, first, "le", le);
                first = false;
        }
        page_text(page, first ? " " : "} ");
        page_number(page, value);
        page_text(page, "\n");
}

static const Family *page_family(MetricsPage *page, MetricsFamily id) {
        const Family *family = &families[id];
        assert((int)id >= page->family);
        if ((int)id != page->family) {
                page_text(page, "# HELP ");
                page_text(page, family->name);
                page_text(page, " ");
                page_text(page, family->help);
                page_text(page, "\n# TYPE ");
                page_text(page, family->name);
                page_text(page, " ");
                page_text(page, type_names[family->type]);
                page_text(page, "\n");
                page->family = (int)id;
        }
        return family;
}

void metrics_page_begin(MetricsPage *page) {
        buffer_clear(&page->text);
        page->family = -1;
        page->error = 0;
}

int metrics_page_end(MetricsPage *page) {
        if (page->error != 0) {
                buffer_clear(&page->text);
        }
        return page->error;
}

void metrics_sample(MetricsPage *page, MetricsFamily id, const char *const *labels, double value) {
        const Family *family = page_family(page, id);
        assert(family->type != FAMILY_HISTOGRAM);
        page_sample(page, family, "", labels, NULL, value);
}

void metrics_sample_partition(MetricsPage *page, MetricsFamily id, const char *topic,
                              int32_t partition, double value) {
        char digits[16];
        snprintf(digits, sizeof(digits), "%d", (int)partition);
        metrics_sample(page, id, LABELS(topic, digits), value);
}

void metrics_sample_histogram(MetricsPage *page, MetricsFamily id, const char *const *labels,
                              const MetricsHistogram *histogram) {
        const Family *family = page_family(page, id);
        const MetricsScale *scale = histogram->scale;
        uint64_t count = 0;
        assert(family->type == FAMILY_HISTOGRAM);
        for (size_t i = 0; i <= scale->n; i++) {
                char le[32] = "+Inf";
                if (i < scale->n) {
                        snprintf(le, sizeof(le), "%.15g", (double)scale->bounds[i] * scale->unit);
                }
                count += histogram->counts[i];
                page_sample(page, family, "_bucket", labels, le, (double)count);
        }
        page_sample(page, family, "_sum", labels, NULL, (double)histogram->sum * scale->unit);
        page_sample(page, family, "_count", labels, NULL, (double)count);
}

/* --- the process ------------------------------------------------------------------------------ */

/* Reads a small file of /proc. False: there is none. */
static bool read_proc(const char *path, char *text, size_t size) {
        FILE *file = fopen(path, "re");
        if (file == NULL) {
                return false;
        }
        size_t n = fread(text, 1, size - 1, file);
        fclose(file);
        text[n] = '\0';
        return n > 0;
}

static double clock_seconds(clockid_t id) {
        struct timespec ts;
        clock_gettime(id, &ts);
        return (double)ts.tv_sec + (double)ts.tv_nsec * 1e-9;
}

/* Asked once: it would move with every step of the wall clock, and look like a restart. */
static double process_started(void) {
        char text[1024];
        unsigned long long ticks;
        if (!read_proc("/proc/self/stat", text, sizeof(text))) {
                return 0;
        }
        /* Field 22, counted from behind the name, which may hold blanks and parentheses. */
        const char *p = strrchr(text, ')');
        for (int field = 2; p != NULL && field < 22; field++) {
                p = strchr(p + 1, ' ');
        }
        if (p == NULL || sscanf(p, "%llu", &ticks) != 1) {
                return 0;
        }
        double age = clock_seconds(CLOCK_BOOTTIME) - (double)ticks / (double)sysconf(_SC_CLK_TCK);
        return (double)(int64_t)((clock_seconds(CLOCK_REALTIME) - age) * 100) / 100;
}

/* -1: not known. */
static long count_fds(void) {
        DIR *folder = opendir("/proc/self/fd");
        if (folder == NULL) {
                return -1;
        }
        long n = 0;
        for (struct dirent *entry; (entry = readdir(folder)) != NULL;) {
                n += entry->d_name[0] != '.';
        }
        closedir(folder);
        return n - 1; /* the folder's own */
}

void metrics_page_init(MetricsPage *page) {
        *page = (MetricsPage){.family = -1, .started = process_started()};
}

void metrics_page_deinit(MetricsPage *page) {
        buffer_deinit(&page->text);
}

void metrics_sample_process(MetricsPage *page) {
        char text[256];
        unsigned long long resident;
        struct rlimit limit;
        metrics_sample(page, METRICS_PROCESS_CPU, NULL, clock_seconds(CLOCK_PROCESS_CPUTIME_ID));
        if (read_proc("/proc/self/statm", text, sizeof(text)) &&
            sscanf(text, "%*u %llu", &resident) == 1) {
                metrics_sample(page, METRICS_PROCESS_RESIDENT_MEMORY, NULL,
                               (double)resident * (double)sysconf(_SC_PAGESIZE));
        }
        long fds = count_fds();
        if (fds >= 0) {
                metrics_sample(page, METRICS_PROCESS_OPEN_FDS, NULL, (double)fds);
        }
        if (getrlimit(RLIMIT_NOFILE, &limit) == 0) {
                metrics_sample(page, METRICS_PROCESS_MAX_FDS, NULL,
                               limit.rlim_cur == RLIM_INFINITY ? (double)INFINITY
                                                               : (double)limit.rlim_cur);
        }
        if (page->started > 0) {
                metrics_sample(page, METRICS_PROCESS_START_TIME, NULL, page->started);
        }
}
