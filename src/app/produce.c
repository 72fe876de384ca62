/*
 * ackd produce: sends restart requests, for a first try, a drill, and the tests.
 *
 * Requests are made one by one while librdkafka has room, so memory stays bounded whatever --count
 * says; a delivery report answers each, and only what was reported delivered counts.
 */

#include <ctype.h>
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "app/commands.h"
#include "app/signals.h"
#include "core/host.h"
#include "kafka/producer.h"
#include "util/json.h"
#include "util/list.h"

enum {
        REPORT_EVERY_US = 200000,   /* the progress bar */
        DELIVERY_US = 20 * 1000000, /* without any delivery, Kafka cannot be reached */
        BATCH = 1000,               /* requests made in one turn */
        BAR_WIDTH = 40,
        LINE_BYTES_MAX = 1 << 20,
};

typedef struct Produce {
        Loop loop;
        Log *log;
        Producer *producer;
        const char *topic;
        char **hosts; /* of the command line */
        size_t n_hosts;
        FILE *file; /* --file */
        char *line;
        size_t line_capacity;
        uint64_t count; /* requests to send; 0: all of the file */
        double rate;    /* a second; 0: as fast as possible */
        uint64_t made, delivered, failed;
        bool full, done, stopped, bar;
        char error[256]; /* the first */
        int64_t began_us, progress_us;
        LoopSoon soon;
        LoopTimer timer, report;
        Signals signals;
        Buffer request;
        char host[512]; /* of the request, its key: what is asked of one host stays in order */
} Produce;

/* --- the requests ------------------------------------------------------------------------- */

/* "node%d" with its number; at most one %d. */
static void host_number(const char *pattern, uint64_t number, char *out, size_t size) {
        const char *at = strstr(pattern, "%d");
        if (at == NULL) {
                snprintf(out, size, "%s", pattern);
        } else {
                snprintf(out, size, "%.*s%llu%s", (int)(at - pattern), pattern,
                         (unsigned long long)number, at + 2);
        }
}

static int request_for_host(Produce *produce) {
        const char *host = produce->host;
        char id[64], now[40];
        struct timespec ts;
        struct tm tm;
        clock_gettime(CLOCK_REALTIME, &ts);
        gmtime_r(&ts.tv_sec, &tm);
        strftime(now, sizeof(now), "%Y-%m-%dT%H:%M:%S", &tm);
        snprintf(now + strlen(now), sizeof(now) - strlen(now), ".%03ldZ", ts.tv_nsec / 1000000);
        snprintf(id, sizeof(id), "produce-%lld-%d-%llu", (long long)ts.tv_sec, (int)getpid(),
                 (unsigned long long)produce->made);
        buffer_clear(&produce->request);
        int r = buffer_append_string(&produce->request, "{\"host\":");
        r = r != 0 ? r : json_append_string(&produce->request, host, strlen(host));
        r = r != 0 ? r
                   : buffer_printf(&produce->request,
                                   ",\"id\":\"%s\",\"requested_at\":\"%s\",\"reason\":\"ackd "
                                   "produce\"}",
                                   id, now);
        return r;
}

/* The next request into Produce.request; *@more false: there is none. */
static int request_next(Produce *produce, bool *more) {
        *more = produce->count == 0 || produce->made < produce->count;
        if (!*more) {
                return 0;
        }
        if (produce->file == NULL) {
                host_number(produce->hosts[produce->made % produce->n_hosts], produce->made,
                            produce->host, sizeof(produce->host));
                return request_for_host(produce);
        }
        ssize_t n;
        do {
                n = getline(&produce->line, &produce->line_capacity, produce->file);
                while (n > 0 && isspace((unsigned char)produce->line[n - 1])) {
                        produce->line[--n] = '\0';
                }
        } while (n == 0);
        if (n < 0) {
                *more = false;
                return 0;
        }
        if (produce->line[0] != '{') {
                snprintf(produce->host, sizeof(produce->host), "%s", produce->line);
                return request_for_host(produce);
        }
        produce->host[0] = '\0';
        buffer_clear(&produce->request);
        return buffer_append(&produce->request, produce->line, (size_t)n);
}

/* --- progress ----------------------------------------------------------------------------- */

static void print_bar(const Produce *produce) {
        double seconds = (double)(loop_now() - produce->began_us) / 1e6;
        double rate = seconds > 0 ? (double)produce->delivered / seconds : 0;
        if (!produce->bar) {
                return;
        }
        if (produce->count == 0) {
                fprintf(stderr, "\r%llu sent, %.0f/s ", (unsigned long long)produce->delivered,
                        rate);
                return;
        }
        double share = (double)produce->delivered / (double)produce->count;
        int full = (int)(share * BAR_WIDTH);
        fprintf(stderr, "\r[%.*s%*s] %3d %% %llu/%llu, %.0f/s ", full,
                "########################################", BAR_WIDTH - full, "",
                (int)(share * 100), (unsigned long long)produce->delivered,
                (unsigned long long)produce->count, rate);
}

static void finish(Produce *produce) {
        produce->stopped = true;
        loop_stop(&produce->loop);
}

static void on_report(LoopTimer *timer) {
        Produce *produce = container_of(timer, Produce, report);
        print_bar(produce);
        if (loop_now() - produce->progress_us > DELIVERY_US) {
                snprintf(produce->error, sizeof(produce->error),
                         "nothing was delivered for %d s; look whether kafka.bootstrap.servers is "
                         "right and the topic exists",
                         DELIVERY_US / 1000000);
                finish(produce);
                return;
        }
        loop_timer_set(timer, REPORT_EVERY_US);
}

/* --- sending ------------------------------------------------------------------------------ */

/* How many may have been made by now. */
static uint64_t allowed(const Produce *produce) {
        if (produce->rate <= 0) {
                return UINT64_MAX;
        }
        return (uint64_t)((double)(loop_now() - produce->began_us) / 1e6 * produce->rate) + 1;
}

static int send_one(Produce *produce, bool *more) {
        const char *error = NULL;
        int r = produce->full ? 0 : request_next(produce, more);
        if (r != 0 || !*more) {
                return r;
        }
        ProducerMessage message = {.topic = produce->topic,
                                   .key = produce->host[0] != '\0' ? produce->host : NULL,
                                   .key_size = strlen(produce->host),
                                   .value = produce->request.data,
                                   .value_size = produce->request.size};
        r = producer_send(produce->producer, &message, NULL, &error);
        produce->full = r == PRODUCER_E_FULL;
        if (r == PRODUCER_E_FULL) {
                return 0; /* what is in the buffer is sent when there is room */
        }
        produce->made++;
        if (r == PRODUCER_E_REFUSED) {
                produce->failed++;
                if (produce->error[0] == '\0') {
                        snprintf(produce->error, sizeof(produce->error), "%s", error);
                }
                return 0;
        }
        return r;
}

static void on_soon(LoopSoon *soon) {
        Produce *produce = container_of(soon, Produce, soon);
        uint64_t limit = allowed(produce);
        bool more = true;
        int r = 0;
        for (int i = 0; i < BATCH && r == 0 && more && !produce->full && produce->made < limit;
             i++) {
                r = send_one(produce, &more);
        }
        if (r != 0) {
                snprintf(produce->error, sizeof(produce->error), "%s", strerror(-r));
                finish(produce);
        } else if (!more) {
                produce->done = true;
                producer_flush(produce->producer, INT64_C(3600) * 1000000);
        } else if (produce->made >= limit) {
                loop_timer_set(&produce->timer, (int64_t)(1e6 / produce->rate));
        } else if (!produce->full) {
                loop_soon_set(soon);
        }
}

static void on_timer(LoopTimer *timer) {
        loop_soon_set(&container_of(timer, Produce, timer)->soon);
}

static void on_delivered(void *user, void *opaque, const char *error) {
        Produce *produce = user;
        (void)opaque;
        produce->progress_us = loop_now();
        if (error == NULL) {
                produce->delivered++;
                return;
        }
        produce->failed++;
        if (produce->error[0] == '\0') {
                snprintf(produce->error, sizeof(produce->error), "%s", error);
        }
}

static void on_room(void *user) {
        Produce *produce = user;
        bool more = true;
        if (!produce->full || send_one(produce, &more) != 0 || produce->full) {
                return;
        }
        loop_soon_set(&produce->soon);
}

static void on_flushed(void *user, size_t left) {
        (void)left;
        finish(user);
}

static void on_fatal(void *user, const char *error) {
        Produce *produce = user;
        snprintf(produce->error, sizeof(produce->error), "%s", error);
        finish(produce);
}

static void on_signal(void *user, int number, const char *sender) {
        Produce *produce = user;
        (void)sender;
        snprintf(produce->error, sizeof(produce->error), "stopped by %s", signal_name(number));
        finish(produce);
}

/* --- the command -------------------------------------------------------------------------- */

static int produce_run(Produce *produce, const Config *config, char **errorp) {
        static const ProducerEvents events = {.delivered = on_delivered,
                                              .room = on_room,
                                              .flushed = on_flushed,
                                              .fatal = on_fatal};
        ConsumerSetting *settings = kafka_settings(config);
        int r = settings == NULL ? error_origin(-ENOMEM) : loop_init(&produce->loop);
        if (r == 0) {
                r = log_new(&produce->log, STDERR_FILENO, LOG_TEXT, LOG_WARNING, "produce",
                            64 * 1024);
        }
        if (r == 0) {
                r = signals_init(&produce->signals, &produce->loop, on_signal, produce);
        }
        if (r == 0) {
                r = producer_new(&produce->producer, &produce->loop, produce->log, settings,
                                 config->kafka.n, &events, produce, errorp);
        }
        free(settings);
        if (r != 0) {
                return r;
        }
        produce->began_us = produce->progress_us = loop_now();
        loop_soon_init(&produce->soon, &produce->loop, "produce", on_soon);
        loop_timer_init(&produce->timer, &produce->loop, "produce.rate", on_timer);
        loop_timer_init(&produce->report, &produce->loop, "produce.report", on_report);
        loop_timer_set(&produce->report, REPORT_EVERY_US);
        loop_soon_set(&produce->soon);
        loop_run(&produce->loop);
        loop_timer_stop(&produce->report);
        loop_timer_stop(&produce->timer);
        loop_soon_stop(&produce->soon);
        return 0;
}

static int produce_report(const Produce *produce) {
        double seconds = (double)(loop_now() - produce->began_us) / 1e6;
        uint64_t missing = produce->made - produce->delivered;
        print_bar(produce);
        if (produce->bar) {
                fputc('\n', stderr);
        }
        printf("%llu request%s sent to %s in %.1f s\n", (unsigned long long)produce->delivered,
               produce->delivered == 1 ? "" : "s", produce->topic, seconds);
        if (missing == 0 && produce->done) {
                return EXIT_OK;
        }
        fprintf(stderr, "ackd produce: %llu request%s not delivered: %s\n",
                (unsigned long long)missing, missing == 1 ? " was" : "s were", produce->error);
        return EXIT_UNREACHABLE;
}

static void produce_deinit(Produce *produce) {
        producer_free(produce->producer);
        signals_deinit(&produce->signals);
        loop_deinit(&produce->loop);
        log_free(produce->log, 500000);
        if (produce->file != NULL && produce->file != stdin) {
                fclose(produce->file);
        }
        free(produce->line);
        buffer_deinit(&produce->request);
}

/* A positive number; whether it is one. */
static bool parse_number(const char *text, double *out) {
        char *end = NULL;
        *out = strtod(text, &end);
        return end != text && *end == '\0' && *out > 0 && *out < 1e15;
}

static const char help[] =
        "Usage: ackd produce [OPTION...] HOST...\n"
        "       ackd produce [OPTION...] --file FILE\n\n"
        "Sends one restart request for each host to the first of consume.topics.\n\n"
        "  -n, --count N           send N requests, over the hosts in turn; a %d in HOST is\n"
        "                          replaced by the running number\n"
        "  -f, --file FILE         one host or one JSON object a line; - is the standard input\n"
        "  -r, --rate N            at most N requests a second\n"
        "  -t, --topic TOPIC       instead of the configured one\n"
        "  -c, --config FILE       the configuration (default: $ACKD_CONFIG, else "
        "/etc/ackd/ackd.yaml)\n"
        "  -o, --option KEY=VALUE  override one key; can be repeated\n"
        "  -h, --help              this help\n\n"
        "Exit status 0 when every request was delivered, 69 when one was not.\n";

static const struct option long_options[] = {
        {"count", required_argument, NULL, 'n'},  {"file", required_argument, NULL, 'f'},
        {"rate", required_argument, NULL, 'r'},   {"topic", required_argument, NULL, 't'},
        {"config", required_argument, NULL, 'c'}, {"option", required_argument, NULL, 'o'},
        {"help", no_argument, NULL, 'h'},         {NULL, 0, NULL, 0}};

/* -1: go on; else the exit status. */
static int produce_parse(Produce *produce, CommonOptions *common, int argc, char **argv) {
        double number;
        int option, status;
        opterr = 0;
        optind = 1;
        while ((option = getopt_long(argc, argv, ":n:f:r:t:c:o:h", long_options, NULL)) != -1) {
                switch (option) {
                case 'n':
                        if (!parse_number(optarg, &number) || number != (double)(uint64_t)number) {
                                return usage_error(argv[0],
                                                   "--count takes a positive whole number");
                        }
                        produce->count = (uint64_t)number;
                        break;
                case 'r':
                        if (!parse_number(optarg, &produce->rate)) {
                                return usage_error(argv[0], "--rate takes a positive number");
                        }
                        break;
                case 'f':
                        produce->file = strcmp(optarg, "-") == 0 ? stdin : fopen(optarg, "re");
                        if (produce->file == NULL) {
                                fprintf(stderr, "ackd produce: cannot read %s: %s\n", optarg,
                                        strerror(errno));
                                return EXIT_USAGE;
                        }
                        break;
                case 't':
                        produce->topic = optarg;
                        break;
                default:
                        status = common_options_take(common, option, argv, help);
                        if (status >= 0) {
                                return status;
                        }
                }
        }
        produce->hosts = argv + optind;
        produce->n_hosts = (size_t)(argc - optind);
        if ((produce->n_hosts == 0) == (produce->file == NULL)) {
                return usage_error(argv[0], "name hosts, or a --file, and not both");
        }
        for (size_t i = 0; i < produce->n_hosts; i++) {
                char host[sizeof(produce->host)], canonical[HOST_SIZE];
                const char *why = NULL;
                host_number(produce->hosts[i], 0, host, sizeof(host));
                if (host_canonical(host, strlen(host), canonical, &why) != 0) {
                        return usage_error(argv[0], "the host \"%s\" %s (--file sends anything)",
                                           produce->hosts[i], why);
                }
        }
        if (produce->file == NULL && produce->count == 0) {
                produce->count = produce->n_hosts;
        }
        return -1;
}

int command_produce(int argc, char **argv) {
        CLEANUP(common_options_deinit) CommonOptions common = {0};
        CLEANUP(produce_deinit) Produce produce = {0};
        char *error = NULL;
        int status = produce_parse(&produce, &common, argc, argv);
        if (status >= 0) {
                return status;
        }
        Config *config = load_config(&common, &status);
        if (config == NULL) {
                return status;
        }
        if (produce.topic == NULL) {
                produce.topic = config->consume.topics[0];
        }
        if (produce.topic[0] == '^') {
                status = usage_error(argv[0],
                                     "consume.topics begins with a pattern; name a --topic");
        } else {
                produce.bar = isatty(STDERR_FILENO) == 1;
                signals_block();
                int r = produce_run(&produce, config, &error);
                if (r == 0) {
                        status = produce_report(&produce);
                } else {
                        fprintf(stderr, "ackd produce: %s\n",
                                error != NULL ? error : strerror(r < 0 ? -r : EINVAL));
                        status = r > 0 ? EXIT_CONFIG : EXIT_UNEXPECTED;
                }
                free(error);
        }
        config_free(config);
        return status;
}
