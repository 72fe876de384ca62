/*
 * librdkafka's mock cluster in a process of its own: real TCP on loopback, for the demo and for
 * tests. Its first line on stdout is bootstrap.servers=HOST:PORT. It stays until SIGTERM or
 * SIGINT, or until its standard input ends, so that it need not outlive whoever holds the other
 * end. (/dev/null does not count: a shell gives that to what it starts in the background.)
 *
 * The mock chooses its ports itself, and keeps at most 5 MiB or 100,000 messages a partition.
 */

#include <errno.h>
#include <getopt.h>
#include <librdkafka/rdkafka.h>
#include <librdkafka/rdkafka_mock.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

enum {
        TOPICS_MAX = 64,
        EXIT_USAGE = 64,
};

typedef struct Options {
        const char *topics[TOPICS_MAX];
        int n_topics;
        int partitions;
        int brokers;
} Options;

static const char help[] = "Usage: mock-kafka [--topic NAME]... [--partitions N] [--brokers N]\n"
                           "A mock Kafka cluster on loopback; prints bootstrap.servers and stays "
                           "until SIGTERM, SIGINT\n"
                           "or the end of its standard input (/dev/null does not count).\n"
                           "\n"
                           "  --topic NAME       make this topic; may be given more than once\n"
                           "  --partitions N     of each topic, 1 to 1000 (default 1)\n"
                           "  --brokers N        1 to 9 (default 1)\n"
                           "  --help\n";

/* A number in [1, @max], or ends the program. */
static int parse_number(const char *name, const char *text, long max) {
        char *end;
        errno = 0;
        long value = strtol(text, &end, 10);
        if (errno != 0 || *end != '\0' || end == text || value < 1 || value > max) {
                fprintf(stderr, "mock-kafka: %s: a number from 1 to %ld, not \"%s\"\n", name, max,
                        text);
                exit(EXIT_USAGE);
        }
        return (int)value;
}

static void parse_options(int argc, char **argv, Options *options) {
        static const struct option known[] = {
                {"topic", required_argument, NULL, 't'},
                {"partitions", required_argument, NULL, 'p'},
                {"brokers", required_argument, NULL, 'b'},
                {"help", no_argument, NULL, 'h'},
                {NULL, 0, NULL, 0},
        };
        int c;

        *options = (Options){.partitions = 1, .brokers = 1};
        while ((c = getopt_long(argc, argv, "", known, NULL)) != -1) {
                if (c == 't' && options->n_topics < TOPICS_MAX) {
                        options->topics[options->n_topics++] = optarg;
                } else if (c == 'p') {
                        options->partitions = parse_number("--partitions", optarg, 1000);
                } else if (c == 'b') {
                        options->brokers = parse_number("--brokers", optarg, 9);
                } else if (c == 'h') {
                        fputs(help, stdout);
                        exit(EXIT_SUCCESS);
                } else {
                        fputs(help, stderr);
                        exit(EXIT_USAGE);
                }
        }
        if (optind < argc) {
                fputs(help, stderr);
                exit(EXIT_USAGE);
        }
}

/* Whether the end of standard input means something. */
static bool is_watched(int fd) {
        struct stat st;
        return fstat(fd, &st) == 0 && !(S_ISCHR(st.st_mode) && st.st_rdev == makedev(1, 3));
}

/* Until a signal comes or standard input ends. */
static void wait_for_end(int signals) {
        struct pollfd fds[2] = {
                {.fd = signals, .events = POLLIN},
                {.fd = is_watched(STDIN_FILENO) ? STDIN_FILENO : -1, .events = POLLIN},
        };
        char ignored[4096];

        while (poll(fds, 2, -1) >= 0 || errno == EINTR) {
                if (fds[0].revents != 0) {
                        return;
                }
                if (fds[1].revents != 0 && read(STDIN_FILENO, ignored, sizeof(ignored)) <= 0) {
                        return;
                }
        }
}

int main(int argc, char **argv) {
        Options options;
        sigset_t mask;
        char why[512];

        parse_options(argc, argv, &options);
        sigemptyset(&mask);
        sigaddset(&mask, SIGTERM);
        sigaddset(&mask, SIGINT);
        sigprocmask(SIG_BLOCK, &mask, NULL);
        int signals = signalfd(-1, &mask, SFD_CLOEXEC);
        rd_kafka_conf_t *conf = rd_kafka_conf_new();
        /* Or it warns that this handle, which only carries the cluster, knows no broker. */
        rd_kafka_conf_set(conf, "log_level", "3", NULL, 0);
        rd_kafka_t *rk = rd_kafka_new(RD_KAFKA_PRODUCER, conf, why, sizeof(why));
        if (rk == NULL || signals < 0) {
                fprintf(stderr, "mock-kafka: cannot start: %s\n",
                        rk == NULL ? why : strerror(errno));
                return EXIT_FAILURE;
        }
        rd_kafka_mock_cluster_t *cluster = rd_kafka_mock_cluster_new(rk, options.brokers);
        if (cluster == NULL) {
                fprintf(stderr, "mock-kafka: cannot listen on loopback\n");
                return EXIT_FAILURE;
        }
        for (int i = 0; i < options.n_topics; i++) {
                rd_kafka_resp_err_t err = rd_kafka_mock_topic_create(cluster, options.topics[i],
                                                                     options.partitions, 1);
                if (err != 0) {
                        fprintf(stderr, "mock-kafka: topic %s: %s\n", options.topics[i],
                                rd_kafka_err2str(err));
                        return EXIT_FAILURE;
                }
        }
        printf("bootstrap.servers=%s\n", rd_kafka_mock_cluster_bootstraps(cluster));
        fflush(stdout);
        wait_for_end(signals);
        rd_kafka_mock_cluster_destroy(cluster);
        rd_kafka_destroy(rk);
        close(signals);
        return EXIT_SUCCESS;
}
