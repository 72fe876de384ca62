/* ackd produce: sends restart requests, for a first try, a drill, and the tests. See sender.h. */

#include <ctype.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "app/commands.h"
#include "app/sender.h"
#include "core/host.h"
#include "util/json.h"

typedef struct Produce {
        Sender sender;
        const char *topic;
        char **hosts; /* of the command line */
        size_t n_hosts;
        FILE *file; /* --file */
        char *line;
        size_t line_capacity;
        uint64_t count; /* requests to send; 0: all of the file */
        uint64_t made;
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

/* See SenderSource. */
static int next_message(void *user, ProducerMessage *message, void **opaque, bool *more) {
        Produce *produce = user;
        int r = request_next(produce, more);
        if (r != 0 || !*more) {
                return r;
        }
        produce->made++;
        *opaque = NULL;
        *message = (ProducerMessage){.topic = produce->topic,
                                     .partition = -1,
                                     .key = produce->host[0] != '\0' ? produce->host : NULL,
                                     .key_size = strlen(produce->host),
                                     .value = produce->request.data,
                                     .value_size = produce->request.size};
        return 0;
}

/* --- the command -------------------------------------------------------------------------- */

static int produce_report(const Produce *produce) {
        const Sender *sender = &produce->sender;
        uint64_t missing = sender->made - sender->delivered;
        printf("%llu request%s sent to %s in %.1f s\n", (unsigned long long)sender->delivered,
               sender->delivered == 1 ? "" : "s", produce->topic, sender_seconds(sender));
        if (missing == 0 && sender->done) {
                return EXIT_OK;
        }
        fprintf(stderr, "ackd produce: %llu request%s not delivered: %s\n",
                (unsigned long long)missing, missing == 1 ? " was" : "s were", sender->error);
        return EXIT_UNREACHABLE;
}

static void produce_deinit(Produce *produce) {
        sender_deinit(&produce->sender);
        if (produce->file != NULL && produce->file != stdin) {
                fclose(produce->file);
        }
        free(produce->line);
        buffer_deinit(&produce->request);
}

/* A positive whole number; whether it is one. */
static bool parse_count(const char *text, uint64_t *count) {
        double number = 0;
        if (!sender_parse_rate(text, &number) || number != (double)(uint64_t)number) {
                return false;
        }
        *count = (uint64_t)number;
        return true;
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
        int option, status;
        opterr = 0;
        optind = 1;
        while ((option = getopt_long(argc, argv, ":n:f:r:t:c:o:h", long_options, NULL)) != -1) {
                switch (option) {
                case 'n':
                        if (!parse_count(optarg, &produce->count)) {
                                return usage_error(argv[0],
                                                   "--count takes a positive whole number");
                        }
                        break;
                case 'r':
                        if (!sender_parse_rate(optarg, &produce->sender.rate)) {
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

static int produce_run(Produce *produce, const Config *config) {
        static const SenderSource source = {.next = next_message};
        char *error = NULL;
        produce->sender.name = "produce";
        produce->sender.source = &source;
        produce->sender.user = produce;
        produce->sender.total = produce->count;
        signals_block();
        int r = sender_run(&produce->sender, config, &error);
        if (r == 0) {
                return produce_report(produce);
        }
        fprintf(stderr, "ackd produce: %s\n",
                error != NULL ? error : strerror(r < 0 ? -r : EINVAL));
        free(error);
        return r > 0 ? EXIT_CONFIG : EXIT_UNEXPECTED;
}

int command_produce(int argc, char **argv) {
        CLEANUP(common_options_deinit) CommonOptions common = {0};
        CLEANUP(produce_deinit) Produce produce = {0};
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
                status = produce_run(&produce, config);
        }
        config_free(config);
        return status;
}
