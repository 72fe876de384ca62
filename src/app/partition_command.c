/*
 * ackd partition: what to do with a partition that stopped because Kafka and PostgreSQL disagree.
 *
 * The decision is written to PostgreSQL, never to Kafka: a group with members refuses commits from
 * outside, and the daemon that has the partition finds the row by itself.
 */

#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "app/commands.h"
#include "kafka/query.h"
#include "pg/decision.h"
#include "pg/schema.h"

enum {
        KAFKA_LIMIT_US = 10 * 1000000,
        NAME_MAX_BYTES = 256,
};

typedef struct PartitionCommand {
        char topic[NAME_MAX_BYTES];
        long partition;
        bool has_from, anew;
        long long from;
        const char *why;
} PartitionCommand;

static const char help[] =
        "Usage: ackd partition TOPIC/PARTITION --from OFFSET --why TEXT\n"
        "       ackd partition TOPIC/PARTITION --new-topic --why TEXT\n\n"
        "Says where a partition goes on that stopped because Kafka and PostgreSQL disagree\n"
        "(partition.stopped in the log). The daemon that has it finds the decision within\n"
        "seconds; who decided, when and why is kept in the table partitions.\n\n"
        "      --from OFFSET       read on from OFFSET. What was saved is not saved again; what\n"
        "                          lies between and was never read is skipped\n"
        "      --new-topic         the topic was made again: from its oldest message, and what "
        "was\n"
        "                          saved of the old one says nothing about it\n"
        "      --why TEXT          required\n"
        "  -c, --config FILE       the configuration (default: $ACKD_CONFIG, else "
        "/etc/ackd/ackd.yaml)\n"
        "  -o, --option KEY=VALUE  override one key; can be repeated\n"
        "  -h, --help              this help\n\n"
        "Exit status 0, or 69 when Kafka or PostgreSQL cannot be reached.\n";

static const struct option long_options[] = {{"from", required_argument, NULL, 'f'},
                                             {"new-topic", no_argument, NULL, 'n'},
                                             {"why", required_argument, NULL, 'w'},
                                             {"config", required_argument, NULL, 'c'},
                                             {"option", required_argument, NULL, 'o'},
                                             {"help", no_argument, NULL, 'h'},
                                             {NULL, 0, NULL, 0}};

/* "topic/3"; a topic's name holds no slash. Whether it is one. */
static bool parse_place(PartitionCommand *command, const char *text) {
        const char *slash = strrchr(text, '/');
        char *end = NULL;
        if (slash == NULL || slash == text || (size_t)(slash - text) >= NAME_MAX_BYTES) {
                return false;
        }
        command->partition = strtol(slash + 1, &end, 10);
        memcpy(command->topic, text, (size_t)(slash - text));
        command->topic[slash - text] = '\0';
        return end != slash + 1 && *end == '\0' && command->partition >= 0 &&
               command->partition <= INT32_MAX;
}

/* -1: go on; else the exit status. */
static int parse(PartitionCommand *command, CommonOptions *common, int argc, char **argv) {
        char *end = NULL;
        int option;
        opterr = 0;
        optind = 1;
        while ((option = getopt_long(argc, argv, ":c:o:h", long_options, NULL)) != -1) {
                switch (option) {
                case 'f':
                        command->has_from = true;
                        command->from = strtoll(optarg, &end, 10);
                        if (end == optarg || *end != '\0' || command->from < 0) {
                                return usage_error(argv[0], "--from takes an offset, 0 or more");
                        }
                        break;
                case 'n':
                        command->anew = true;
                        break;
                case 'w':
                        command->why = optarg;
                        break;
                case 'c':
                case 'o':
                        if (common_options_add(common, option, optarg) != 0) {
                                return EXIT_UNEXPECTED;
                        }
                        break;
                case 'h':
                        fputs(help, stdout);
                        return EXIT_OK;
                case ':':
                        return usage_error(argv[0], "%s needs a value", argv[optind - 1]);
                default:
                        return usage_error(argv[0], "there is no option %s", argv[optind - 1]);
                }
        }
        if (optind != argc - 1 || !parse_place(command, argv[optind])) {
                return usage_error(argv[0], "name one partition, such as host-restarts/3");
        }
        if (command->has_from == command->anew) {
                return usage_error(argv[0], "either --from OFFSET or --new-topic");
        }
        if (command->why == NULL || command->why[0] == '\0') {
                return usage_error(argv[0], "--why TEXT is required: it is kept");
        }
        return -1;
}

static int fail(int status, char *error) {
        fprintf(stderr, "ackd partition: %s\n", error != NULL ? error : strerror(ENOMEM));
        free(error);
        return status;
}

static int write_decision(const Config *config, const PartitionCommand *command,
                          const QueryPartition *kafka, int64_t from) {
        char who[NAME_MAX_BYTES], host[NAME_MAX_BYTES] = "?";
        const char *user = getlogin();
        char *error = NULL;
        bool failed = false;
        char *password = read_password(config->postgres.password_file, &failed);
        if (failed) {
                return EXIT_CONFIG;
        }
        gethostname(host, sizeof(host) - 1);
        if (user != NULL) {
                snprintf(who, sizeof(who), "%.100s@%.100s", user, host);
        } else {
                snprintf(who, sizeof(who), "uid %u@%.100s", (unsigned)getuid(), host);
        }
        Decision decision = {.cluster = kafka->cluster_id,
                             .group = config_group(config),
                             .topic = command->topic,
                             .partition = (int32_t)command->partition,
                             .from = from,
                             .anew = command->anew,
                             .who = who,
                             .why = command->why};
        int r = decision_write(config->postgres.dsn, password, config->postgres.schema, &decision,
                               &error);
        free(password);
        return r != 0 ? fail(EXIT_UNREACHABLE, error) : EXIT_OK;
}

static int decide(const Config *config, const PartitionCommand *command) {
        char *error = NULL;
        QueryPartition kafka = {0};
        ConsumerSetting *settings = kafka_settings(config);
        if (settings == NULL) {
                return fail(EXIT_UNEXPECTED, NULL);
        }
        int r = query_partition(settings, config->kafka.n, command->topic,
                                (int32_t)command->partition, KAFKA_LIMIT_US, &kafka, &error);
        free(settings);
        if (r != 0) {
                return fail(r == QUERY_E_CONFIG ? EXIT_CONFIG : EXIT_UNREACHABLE, error);
        }
        int64_t from = command->anew ? kafka.low : command->from;
        int status = EXIT_USAGE;
        if (from < kafka.low || from > kafka.high) {
                fprintf(stderr,
                        "ackd partition: offset %lld is not in %s/%ld, which holds %lld to %lld\n",
                        (long long)from, command->topic, command->partition, (long long)kafka.low,
                        (long long)kafka.high);
        } else {
                status = write_decision(config, command, &kafka, from);
        }
        if (status == EXIT_OK) {
                printf("%s/%ld goes on at offset %lld, within seconds where a daemon has it; it "
                       "holds %lld to %lld\n",
                       command->topic, command->partition, (long long)from, (long long)kafka.low,
                       (long long)kafka.high);
        }
        free(kafka.cluster_id);
        return status;
}

int command_partition(int argc, char **argv) {
        CLEANUP(common_options_deinit) CommonOptions common = {0};
        PartitionCommand command = {0};
        int status = parse(&command, &common, argc, argv);
        if (status >= 0) {
                return status;
        }
        Config *config = load_config(&common, &status);
        if (config != NULL && !schema_name_is_valid(config->postgres.schema)) {
                status = EXIT_CONFIG;
        } else if (config != NULL) {
                status = decide(config, &command);
        }
        config_free(config);
        return status;
}
