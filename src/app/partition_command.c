/*
 * ackd partition: what to do with a partition that stopped because Kafka and PostgreSQL disagree.
 *
 * It looks at both sides as a daemon does when the partition is assigned, and decides about nothing
 * that a daemon would not stop for: it would lie there and fire at the next dispute.
 *
 * The decision is written to PostgreSQL, never to Kafka: a group with members refuses commits from
 * outside, and the daemon that has the partition finds the row by itself.
 */

#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "app/commands.h"
#include "app/who.h"
#include "core/assignment.h"
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
        "What was saved, was never acked and is read no more is kept in the table rejected\n"
        "(restart-host, expired); what was replayed and never acked waits there again.\n\n"
        "Exit status 0; 64 when the partition is not stopped or cannot go on there (nothing is\n"
        "written, and what both sides say is printed), or there is none; 69 when Kafka or\n"
        "PostgreSQL cannot be reached.\n";

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
        int option, status;
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
                default:
                        status = common_options_take(common, option, argv, help);
                        if (status >= 0) {
                                return status;
                        }
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

static void print_sides(FILE *file, const PartitionFacts *facts) {
        fprintf(file, "  Kafka:      ");
        if (facts->committed < 0) {
                fprintf(file, "the group has no commit");
        } else {
                fprintf(file, "committed %lld by %s", (long long)facts->committed,
                        facts->ours ? "ackd" : "another program");
        }
        fprintf(file, ", the log holds %lld to %lld\n", (long long)facts->low,
                (long long)facts->high);
        if (facts->has_source) {
                fprintf(file, "  PostgreSQL: source %d, saved below %lld\n", (int)facts->source,
                        (long long)facts->fence);
        } else {
                fprintf(file, "  PostgreSQL: no row for it\n");
        }
}

/* Whether there is something to decide. If so says why, else what a daemon does by itself. */
static bool is_stopped(const PartitionCommand *command, const PartitionFacts *facts) {
        PartitionFacts undecided = *facts;
        undecided.is_decided = false;
        AssignmentPlan plan = assignment_plan(&undecided, false);
        if (plan.step == ASSIGNMENT_STOP) {
                printf("%s/%ld is stopped (%s): %s\n", command->topic, command->partition,
                       plan.stopped, assignment_explain(plan.stopped));
                print_sides(stdout, facts);
                return true;
        }
        if (facts->is_decided && assignment_plan(facts, false).decided) {
                printf("%s/%ld: it was decided that it goes on at offset %lld, and no daemon has "
                       "taken that up yet\n",
                       command->topic, command->partition, (long long)facts->decided);
                print_sides(stdout, facts);
                return true;
        }
        fprintf(stderr, "ackd partition: %s/%ld is not stopped; nothing is to be decided:\n",
                command->topic, command->partition);
        print_sides(stderr, facts);
        fprintf(stderr, "A daemon that is assigned it %s %lld by itself.\n",
                facts->has_source || facts->committed >= 0 ? "goes on at offset"
                                                           : "begins at (consume.start) offset",
                (long long)plan.offset);
        return false;
}

/* Whether it can go on there; if not, says why. */
static bool is_possible(const PartitionCommand *command, const PartitionFacts *facts,
                        int64_t from) {
        if (from < facts->low || from > facts->high) {
                fprintf(stderr, "ackd partition: offset %lld is not in %s/%ld\n", (long long)from,
                        command->topic, command->partition);
                return false;
        }
        if (!command->anew && facts->fence > facts->high) {
                fprintf(stderr,
                        "ackd partition: what is written to %s/%ld from now on would be taken for "
                        "saved, up to offset %lld: it needs --new-topic\n",
                        command->topic, command->partition, (long long)facts->fence);
                return false;
        }
        return true;
}

static void print_effect(const PartitionCommand *command, const PartitionFacts *facts, int64_t from,
                         int64_t kept) {
        long long fence = facts->fence, to = from;
        printf("It goes on at offset %lld, within seconds where a daemon has it.\n", to);
        if (command->anew && facts->has_source) {
                printf("  source %d is retired: everything in the log is saved and handled anew\n",
                       (int)facts->source);
        } else if (facts->has_source && to > fence) {
                printf("  skipped: %lld to %lld, which were never saved\n", fence, to - 1);
        } else if (facts->has_source && to < fence) {
                printf("  handled again: %lld to %lld, which are saved and not saved again; was "
                       "the topic made again, they are not the saved ones, and it needs "
                       "--new-topic\n",
                       to, fence - 1);
        }
        /* A new source has no past; otherwise only what was acked, and is read again, repeats. */
        long long acked = facts->committed < facts->high ? facts->committed : facts->high;
        if (acked > to) {
                printf("  repeated: %lld to %lld, %lld offsets that were acked; the hosts of their "
                       "messages are restarted again\n",
                       to, acked - 1, acked - to);
        }
        if (kept > 0) {
                printf("  kept in rejected: %lld that were saved and never acked (restart-host, "
                       "expired), or were replayed and never acked\n",
                       (long long)kept);
        }
        if (facts->has_source && facts->committed < 0) {
                printf("  with the commit gone, nobody knows which of the saved messages were "
                       "restarted\n");
        }
}

static int decide_with(Decider *decider, const Config *config, const PartitionCommand *command,
                       const QueryPartition *kafka) {
        PartitionFacts facts;
        char who[WHO_MAX];
        char *error = NULL;
        int64_t kept = 0;
        SourceName name = {kafka->cluster_id, command->topic, (int32_t)command->partition};
        if (decider_read(decider, &name, &facts, &error) != 0) {
                return fail(EXIT_UNREACHABLE, error);
        }
        facts.committed = kafka->committed;
        facts.ours = kafka->ours;
        facts.low = kafka->low;
        facts.high = kafka->high;
        int64_t from = command->anew ? facts.low : command->from;
        if (!is_stopped(command, &facts) || !is_possible(command, &facts, from)) {
                return EXIT_USAGE;
        }
        Decision decision = {.from = from,
                             .anew = command->anew,
                             .who = who_calls(who),
                             .why = command->why,
                             .expires = config->handlers.restart.enabled,
                             .dead_letters = config->consume.dead_letter_topic[0] != '\0'};
        if (decider_write(decider, &name, &facts, &decision, &kept, &error) != 0) {
                return fail(EXIT_UNREACHABLE, error);
        }
        print_effect(command, &facts, from, kept);
        return EXIT_OK;
}

static int decide_about(const Config *config, const PartitionCommand *command,
                        const QueryPartition *kafka) {
        char *error = NULL;
        bool failed = false;
        char *password = read_password(config->postgres.password_file, &failed);
        if (failed) {
                return EXIT_CONFIG;
        }
        Decider *decider = NULL;
        int r = decider_open(&decider, config->postgres.dsn, password, config->postgres.schema,
                             config_group(config), &error);
        free(password);
        if (r != 0) {
                return fail(EXIT_UNREACHABLE, error);
        }
        int status = decide_with(decider, config, command, kafka);
        decider_close(decider);
        return status;
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
                return fail(r == QUERY_E_CONFIG    ? EXIT_CONFIG
                            : r == QUERY_E_UNKNOWN ? EXIT_USAGE
                                                   : EXIT_UNREACHABLE,
                            error);
        }
        int status = decide_about(config, command, &kafka);
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
