/*
 * ackd dead-letter list, show, replay, drop: the messages that were rejected, in an operator's
 * hands.
 *
 * The rows are those of the configuration's group: a replay goes back to that group's topics, so
 * whoever has several groups in one database has a configuration for each, or names another group
 * by -o kafka.group.id=NAME. `list` says when others have open ones.
 */

#include <getopt.h>
#include <limits.h>
#include <locale.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "app/dead_letter.h"
#include "app/hold_pattern.h"
#include "app/sender.h"
#include "config/keys.h"
#include "core/engine.h"
#include "pg/blocking.h"
#include "pg/schema.h"
#include "util/utf8.h"

enum {
        WHY_MAX_BYTES = 1000,
        LIST_LIMIT = 100,
};

#define FILTER_HELP                                                                                \
        "  -t, --topic TOPIC       of this topic\n"                                                \
        "      --host 'GLOB'       of these hosts: * any characters, ? one, in quotes\n"           \
        "  -r, --reason WORD       rejected for this reason, such as failed or unknown\n"          \
        "      --handler NAME      by save or restart-host; message: the message itself is at\n"   \
        "                          fault. Each of these can be repeated: one has to fit\n"         \
        "      --since TIME        rejected since: 2h ago, or 2026-11-26T09:00:00Z\n"

#define COMMON_HELP                                                                                \
        "  -c, --config FILE       the configuration (default: $ACKD_CONFIG, else "                \
        "/etc/ackd/ackd.yaml)\n"                                                                   \
        "  -o, --option KEY=VALUE  override one key; can be repeated\n"                            \
        "  -h, --help              this help\n\n"

#define PLACE_HELP                                                                                 \
        "A message is named by its place, TOPIC/PARTITION/OFFSET, or by SOURCE/OFFSET when its\n"  \
        "topic was made again and a place would name several. "

static const char help[] =
        "Usage: ackd dead-letter list|show|replay|drop [OPTION...]\n\n"
        "The messages that were rejected: rows of the table rejected, of the configuration's\n"
        "group. docs/rejected.md says what each reason asks for.\n\n"
        "  list      those that are open: neither replayed nor dropped\n"
        "  show      all of one, or its bytes\n"
        "  replay    produces them again; the daemon runs only the handlers that are not done\n"
        "  drop      marks them as not to be handled; no row is deleted\n\n"
        "ackd dead-letter list --help, and so on, say more.\n";

static const char list_help[] =
        "Usage: ackd dead-letter list [OPTION...] [PLACE...]\n\n"
        "Lists rejected messages that are open (neither replayed nor dropped), oldest first, and\n"
        "how many there are by reason.\n\n" FILTER_HELP
        "  -a, --all               also those that were replayed or dropped\n"
        "  -n, --limit N           at most N (default: 100; all with --json); 0: all\n"
        "      --json              an array of objects, with everything but the bytes\n" COMMON_HELP
                PLACE_HELP "Times are UTC.\n"
        "OUTBOX, where consume.dead_letter_topic is or was set: sent, pending, or failing (show "
        "has\n"
        "the error).\n\n"
        "Exit status 0, also when there is none; 64 usage; 69 PostgreSQL cannot be reached or\n"
        "refuses; 78 configuration.\n";

static const char show_help[] =
        "Usage: ackd dead-letter show [OPTION...] PLACE...\n\n"
        "Everything that is kept of a message; bytes that are no plain text are escaped.\n\n"
        "      --value             its value alone, byte for byte, to the standard output\n"
        "      --json              an array of objects; bytes that are no text as "
        "base64\n" COMMON_HELP PLACE_HELP "\n\n"
        "Exit status 0; 64 when there is no such row, or usage; 69 PostgreSQL cannot be reached\n"
        "or refuses; 78 configuration.\n";

static const char replay_help[] =
        "Usage: ackd dead-letter replay [OPTION...] [PLACE...]\n\n"
        "Produces messages again, oldest first, each into the partition that it came from, with\n"
        "its key and headers and the header ackd-replay. The daemon that gets one runs only the\n"
        "handlers that its row does not have as done, under the same guards (windows, holds,\n"
        "cool-down); it takes each row once, however often it is produced. Other consumer groups "
        "of\n"
        "the topic get it as a new message: what they do with it is theirs to "
        "decide.\n\n" FILTER_HELP
        "  -a, --all               all that are open, where nothing else says which\n"
        "                          Of restarts whose end nobody knows (the reason unknown) no\n"
        "                          filter but --reason unknown takes one along: the host would\n"
        "                          perhaps be restarted twice. How many are left out is said\n"
        "      --again             also what was produced before and no daemon has taken; what "
        "was\n"
        "                          dropped too, when it is named by its place\n"
        "  -n, --limit N           at most the N oldest\n"
        "      --rate N            at most N a second\n"
        "      --why TEXT          kept with each row, beside who and when\n"
        "      --dry-run           list them, and what a daemon with this configuration would "
        "run;\n"
        "                          nothing is produced or written\n" COMMON_HELP PLACE_HELP
        "A row\n"
        "of which not everything is kept, or whose topic was made again or is gone, is refused\n"
        "and said, and the others go on. SIGINT ends it: what was delivered is marked.\n\n"
        "Exit status 0: all were replayed; 64 some were refused, or usage; 69 Kafka or PostgreSQL\n"
        "cannot be reached or refuses, it was stopped, or somebody else replays at this moment; "
        "78\n"
        "configuration.\n";

static const char drop_help[] =
        "Usage: ackd dead-letter drop --why TEXT [OPTION...] [PLACE...]\n\n"
        "Marks messages as not to be handled any more. Their rows stay, with who, when and why;\n"
        "ackd dead-letter list --all shows them.\n\n"
        "      --why TEXT          required\n" FILTER_HELP
        "  -a, --all               all that are open, where nothing else says which\n"
        "  -n, --limit N           at most the N oldest\n"
        "      --dry-run           list them; nothing is written\n" COMMON_HELP PLACE_HELP "One\n"
        "that was dropped by mistake: ackd dead-letter replay --again PLACE.\n\n"
        "Exit status 0; 64 some were refused (they are not open), or usage; 69 PostgreSQL cannot\n"
        "be reached or refuses, or somebody else drops or replays at this moment; 78\n"
        "configuration.\n";

/* --- what the others use ------------------------------------------------------------------ */

int dead_letter_fail(const DeadLetterCommand *command, int r, char *error) {
        fprintf(stderr, "ackd %s: %s\n", command->name, error != NULL ? error : strerror(ENOMEM));
        free(error);
        return r < 0 ? EXIT_UNEXPECTED : EXIT_UNREACHABLE;
}

const char *dead_letter_place_text(const DeadLetter *letter, char out[PLACE_TEXT]) {
        snprintf(out, PLACE_TEXT, "%.*s/%d/%lld", TOPIC_NAME_MAX, letter->topic,
                 (int)letter->partition, (long long)letter->key.offset);
        return out;
}

const char *dead_letter_state(const DeadLetter *letter) {
        return letter->dropped_at != NULL                             ? "dropped"
               : letter->replayed_at != NULL || letter->taken != NULL ? "replayed"
                                                                      : "open";
}

static bool is_done(const DeadLetter *letter, const char *handler) {
        size_t size = strlen(handler);
        for (const char *at = letter->handlers_done; *at != '\0';) {
                size_t n = strcspn(at, ",");
                if (n == size && memcmp(at, handler, n) == 0) {
                        return true;
                }
                at += n + (at[n] == ',' ? 1 : 0);
        }
        return false;
}

const char *dead_letter_runs(const DeadLetterCommand *command, const DeadLetter *letter,
                             char out[64]) {
        const char *save = handler_name(HANDLER_SAVE), *restart = handler_name(HANDLER_RESTART);
        bool saves = command->config->handlers.save.enabled && !is_done(letter, save);
        bool restarts = command->config->handlers.restart.enabled && !is_done(letter, restart);
        snprintf(out, 64, "%s%s%s%s", saves ? save : "", saves && restarts ? ", " : "",
                 restarts ? restart : "", saves || restarts ? "" : "nothing");
        return out;
}

/* --- the command line --------------------------------------------------------------------- */

/* Of options without a letter. */
enum {
        OPTION_HOST = 256,
        OPTION_HANDLER,
        OPTION_SINCE,
        OPTION_JSON,
        OPTION_VALUE,
        OPTION_AGAIN,
        OPTION_RATE,
        OPTION_WHY,
        OPTION_DRY_RUN,
};

#define COMMON_OPTIONS                                                                             \
        {"config", required_argument, NULL, 'c'}, {"option", required_argument, NULL, 'o'},        \
                {"help", no_argument, NULL, 'h'}, {                                                \
                NULL, 0, NULL, 0                                                                   \
        }
#define FILTER_OPTIONS                                                                             \
        {"topic", required_argument, NULL, 't'}, {"host", required_argument, NULL, OPTION_HOST},   \
                {"reason", required_argument, NULL, 'r'},                                          \
                {"handler", required_argument, NULL, OPTION_HANDLER},                              \
                {"since", required_argument, NULL, OPTION_SINCE}, {"all", no_argument, NULL, 'a'}, \
        {                                                                                          \
                "limit", required_argument, NULL, 'n'                                              \
        }

static const struct option list_options[] = {FILTER_OPTIONS,
                                             {"json", no_argument, NULL, OPTION_JSON},
                                             COMMON_OPTIONS};
static const struct option show_options[] = {{"json", no_argument, NULL, OPTION_JSON},
                                             {"value", no_argument, NULL, OPTION_VALUE},
                                             COMMON_OPTIONS};
static const struct option replay_options[] = {FILTER_OPTIONS,
                                               {"again", no_argument, NULL, OPTION_AGAIN},
                                               {"rate", required_argument, NULL, OPTION_RATE},
                                               {"why", required_argument, NULL, OPTION_WHY},
                                               {"dry-run", no_argument, NULL, OPTION_DRY_RUN},
                                               COMMON_OPTIONS};
static const struct option drop_options[] = {FILTER_OPTIONS,
                                             {"why", required_argument, NULL, OPTION_WHY},
                                             {"dry-run", no_argument, NULL, OPTION_DRY_RUN},
                                             COMMON_OPTIONS};

typedef struct Subcommand {
        const char *name;
        char *full; /* for argv[0], and so for the errors of getopt's options */
        const char *help;
        const char *letters;
        const struct option *options;
        int (*run)(DeadLetterCommand *command);
} Subcommand;

static char list_name[] = "dead-letter list", show_name[] = "dead-letter show",
            replay_name[] = "dead-letter replay", drop_name[] = "dead-letter drop";

static const Subcommand subcommands[] = {
        {"list", list_name, list_help, ":t:r:an:c:o:h", list_options, dead_letter_list},
        {"show", show_name, show_help, ":c:o:h", show_options, dead_letter_show},
        {"replay", replay_name, replay_help, ":t:r:an:c:o:h", replay_options, dead_letter_replay},
        {"drop", drop_name, drop_help, ":t:r:an:c:o:h", drop_options, dead_letter_drop},
};

static int add_word(DeadLetterWords *words, const char *word) {
        const char **items = realloc(words->items, (words->n + 1) * sizeof(*items));
        if (items == NULL) {
                return EXIT_UNEXPECTED;
        }
        words->items = items;
        words->items[words->n++] = word;
        return -1;
}

/* In the one form that the table has. */
static int add_host(DeadLetterCommand *command, const char *text) {
        CLEANUP(buffer_deinit) Buffer why = BUFFER_INIT;
        char pattern[HOLD_PATTERN_MAX];
        int r = hold_pattern(text, pattern, &why);
        if (r > 0 && buffer_string(&why) != NULL) {
                return usage_error(command->name, "\"%s\" is no glob on host names: it %s", text,
                                   (const char *)why.data);
        }
        char **patterns = realloc(command->patterns, (command->n_patterns + 1) * sizeof(*patterns));
        if (r != 0 || patterns == NULL) {
                return EXIT_UNEXPECTED;
        }
        command->patterns = patterns;
        patterns[command->n_patterns] = strdup(pattern);
        if (patterns[command->n_patterns] == NULL) {
                return EXIT_UNEXPECTED;
        }
        return add_word(&command->filter.hosts, patterns[command->n_patterns++]);
}

static int add_handler(DeadLetterCommand *command, const char *name) {
        if (strcmp(name, DEAD_LETTERS_MESSAGE) != 0 &&
            strcmp(name, handler_name(HANDLER_SAVE)) != 0 &&
            strcmp(name, handler_name(HANDLER_RESTART)) != 0) {
                return usage_error(command->name,
                                   "--handler takes %s, %s or " DEAD_LETTERS_MESSAGE ", not \"%s\"",
                                   handler_name(HANDLER_SAVE), handler_name(HANDLER_RESTART), name);
        }
        return add_word(&command->filter.handlers, name);
}

static int take_limit(DeadLetterCommand *command, const char *text) {
        char *end = NULL;
        errno = 0;
        unsigned long long n = strtoull(text, &end, 10);
        if (text[0] < '0' || text[0] > '9' || *end != '\0' || errno != 0) {
                return usage_error(command->name, "--limit takes a number, 0 for no limit");
        }
        command->limit = n == 0 ? NO_LIMIT : n;
        return -1;
}

/* An option of a subcommand's own. -1: go on; -2: it is none; else the exit status. */
static int take_option(DeadLetterCommand *command, int option) {
        switch (option) {
        case 't':
                return add_word(&command->filter.topics, optarg);
        case 'r':
                return add_word(&command->filter.reasons, optarg);
        case OPTION_HOST:
                return add_host(command, optarg);
        case OPTION_HANDLER:
                return add_handler(command, optarg);
        case OPTION_SINCE:
                return dead_letter_since_parse(optarg, &command->filter.age_us,
                                               &command->filter.since_us)
                               ? -1
                               : usage_error(command->name,
                                             "--since takes 30m, 2h or 7d, 36500d at most, or a "
                                             "time such as "
                                             "2026-11-26T09:00:00Z, not \"%s\"",
                                             optarg);
        case 'n':
                return take_limit(command, optarg);
        case OPTION_RATE:
                return sender_parse_rate(optarg, &command->rate)
                               ? -1
                               : usage_error(command->name, "--rate takes a positive number");
        case OPTION_WHY:
                command->why = optarg;
                return -1;
        default:
                return -2;
        }
}

static bool take_switch(DeadLetterCommand *command, int option) {
        bool *flag = option == 'a'              ? &command->all
                     : option == OPTION_JSON    ? &command->json
                     : option == OPTION_VALUE   ? &command->value
                     : option == OPTION_AGAIN   ? &command->again
                     : option == OPTION_DRY_RUN ? &command->dry_run
                                                : NULL;
        if (flag != NULL) {
                *flag = true;
        }
        return flag != NULL;
}

static int parse_places(DeadLetterCommand *command, int n, char **operands) {
        command->places = calloc((size_t)n + 1, sizeof(*command->places));
        command->topics = calloc((size_t)n + 1, sizeof(*command->topics));
        if (command->places == NULL || command->topics == NULL) {
                return EXIT_UNEXPECTED;
        }
        for (int i = 0; i < n; i++) {
                if (!dead_letter_place_parse(operands[i], command->topics[i],
                                             &command->places[i])) {
                        return usage_error(command->name,
                                           "\"%s\" names no message; TOPIC/PARTITION/OFFSET does, "
                                           "such as host-restarts/3/17",
                                           operands[i]);
                }
        }
        command->filter.places = command->places;
        command->filter.n_places = (size_t)n;
        return -1;
}

static bool is_narrowed(const DeadLetterFilter *filter) {
        return filter->n_places + filter->topics.n + filter->hosts.n + filter->reasons.n +
                               filter->handlers.n >
                       0 ||
               filter->age_us > 0 || filter->since_us > 0;
}

/* One line of text. -1: it is; else the exit status. */
static int check_why(const DeadLetterCommand *command) {
        const char *why = command->why;
        bool plain = true;
        for (const char *c = why; *c != '\0'; c++) {
                plain = plain && (unsigned char)*c >= ' ' && *c != 127;
        }
        if (why[strspn(why, " ")] == '\0' || strlen(why) > WHY_MAX_BYTES || !plain ||
            !utf8_is_valid(why, strlen(why))) {
                return usage_error(command->name,
                                   "--why takes one line of UTF-8 without control characters, of "
                                   "1 to %d bytes",
                                   WHY_MAX_BYTES);
        }
        return -1;
}

/* What is required, and what does not go together. -1: it is well; else the exit status. */
static int check(const DeadLetterCommand *command, const Subcommand *subcommand) {
        bool acts = subcommand->run == dead_letter_replay || subcommand->run == dead_letter_drop;
        if (subcommand->run == dead_letter_show && command->filter.n_places == 0) {
                return usage_error(command->name, "name a message, such as host-restarts/3/17");
        }
        if (command->value && (command->json || command->filter.n_places != 1)) {
                return usage_error(command->name, "--value writes one message's, and no JSON");
        }
        if (acts && !command->all && !is_narrowed(&command->filter)) {
                return usage_error(command->name,
                                   "say which messages, by filters or places, or --all");
        }
        if (subcommand->run == dead_letter_drop && command->why == NULL) {
                return usage_error(command->name, "--why TEXT is required: it is kept, and shown "
                                                  "to whoever finds the row");
        }
        return command->why != NULL ? check_why(command) : -1;
}

static int parse(DeadLetterCommand *command, const Subcommand *subcommand, CommonOptions *common,
                 int argc, char **argv) {
        int option;
        opterr = 0;
        optind = 1;
        while ((option = getopt_long(argc, argv, subcommand->letters, subcommand->options, NULL)) !=
               -1) {
                int status = take_switch(command, option) ? -1 : take_option(command, option);
                if (status == -2) {
                        status = common_options_take(common, option, argv, subcommand->help);
                }
                if (status >= 0) {
                        return status;
                }
        }
        for (int i = 1; i < argc; i++) {
                if (!utf8_is_valid(argv[i], strlen(argv[i]))) {
                        return usage_error(command->name, "an argument is no UTF-8");
                }
        }
        int status = parse_places(command, argc - optind, argv + optind);
        return status >= 0 ? status : check(command, subcommand);
}

/* --- the run ------------------------------------------------------------------------------ */

/* Whoever names a row that is not there has perhaps mistyped it: nothing is done. */
static int check_places(DeadLetterCommand *command) {
        char *error = NULL;
        size_t n = command->filter.n_places, found = 0;
        bool *missing = n > 0 ? calloc(n, sizeof(*missing)) : NULL;
        if (n == 0) {
                return -1;
        }
        int r = missing == NULL
                        ? -ENOMEM
                        : dead_letters_missing(command->desk, &command->filter, missing, &error);
        for (size_t i = 0; r == 0 && i < n; i++) {
                const DeadLetterPlace *place = &command->places[i];
                if (missing[i] && found++ < 5) {
                        fprintf(stderr, "ackd %s: no rejected message of group %s is at ",
                                command->name, config_group(command->config));
                        if (place->topic != NULL) {
                                fprintf(stderr, "%s/", place->topic);
                        }
                        fprintf(stderr, "%d/%lld\n", (int)place->number, (long long)place->offset);
                }
        }
        free(missing);
        if (found > 5) {
                fprintf(stderr, "ackd %s: … and %zu more\n", command->name, found - 5);
        }
        return r != 0 ? dead_letter_fail(command, r, error) : found > 0 ? EXIT_USAGE : -1;
}

/* Those of this version, docs/rejected.md; one that another wrote stands in the table. */
static const char *const reasons[] = {
        "not_json",    "trailing_bytes",     "duplicate_key",   "number_overflow",
        "nul",         "not_utf8",           "too_deep",        "empty",
        "not_object",  "too_large",          "no_host",         "bad_host",
        "bad_id",      "bad_requested_at",   "not_allowed",     "denied",
        "self",        "host_limit",         "waited_too_long", "failed",
        "not_started", DEAD_LETTERS_UNKNOWN, "refused",         "internal",
        "expired",
};

static bool is_known(const char *reason, const char **nearest) {
        unsigned distance = UINT_MAX;
        for (size_t i = 0; i < sizeof(reasons) / sizeof(reasons[0]); i++) {
                unsigned d = key_distance(reasons[i], reason);
                if (strcmp(reasons[i], reason) == 0) {
                        return true;
                }
                if (d < distance) {
                        distance = d;
                        *nearest = reasons[i];
                }
        }
        return false;
}

static bool has_word(const DeadLetterCounts *counts, const char *word) {
        for (size_t i = 0; i < counts->n; i++) {
                if (strcmp(counts->items[i].word, word) == 0) {
                        return true;
                }
        }
        return false;
}

/* A reason that is mistyped would fit nothing, and look like all being well. */
static int check_reasons(DeadLetterCommand *command) {
        const DeadLetterWords *words = &command->filter.reasons;
        for (size_t i = 0; i < words->n; i++) {
                const DeadLetterFilter any = {.which = DEAD_LETTERS_ALL};
                const char *nearest = "";
                DeadLetterCounts counts = {0};
                char *error = NULL;
                if (is_known(words->items[i], &nearest)) {
                        continue;
                }
                int r = dead_letters_reasons(command->desk, &any, &counts, &error);
                bool there = r == 0 && has_word(&counts, words->items[i]);
                dead_letter_counts_deinit(&counts);
                if (r != 0) {
                        return dead_letter_fail(command, r, error);
                }
                if (!there) {
                        return usage_error(command->name,
                                           "--reason: there is no \"%s\"; did you mean \"%s\"? "
                                           "docs/rejected.md has all of them",
                                           words->items[i], nearest);
                }
        }
        return -1;
}

static int run(DeadLetterCommand *command, const Subcommand *subcommand) {
        const Config *config = command->config;
        char program[40];
        char *error = NULL;
        bool failed = false;
        if (!schema_name_is_valid(config->postgres.schema)) {
                fprintf(stderr, "ackd %s: postgres.schema: \"%s\" is no plain identifier\n",
                        command->name, config->postgres.schema);
                return EXIT_CONFIG;
        }
        char *password = read_password(config->postgres.password_file, &failed);
        if (failed) {
                return EXIT_CONFIG;
        }
        snprintf(program, sizeof(program), "ackd %s", command->name);
        int r = dead_letters_open(&command->desk, program, config->postgres.dsn, password,
                                  config->postgres.schema, config_group(config), &error);
        free(password);
        if (r != 0) {
                return dead_letter_fail(command, r, error);
        }
        int status = check_reasons(command);
        status = status >= 0 ? status : check_places(command);
        return status >= 0 ? status : subcommand->run(command);
}

static void command_deinit(DeadLetterCommand *command) {
        dead_letters_close(command->desk);
        for (size_t i = 0; i < command->n_patterns; i++) {
                free(command->patterns[i]);
        }
        free(command->patterns);
        free(command->places);
        free(command->topics);
        free(command->filter.topics.items);
        free(command->filter.hosts.items);
        free(command->filter.reasons.items);
        free(command->filter.handlers.items);
}

static int run_subcommand(const Subcommand *subcommand, int argc, char **argv) {
        CLEANUP(common_options_deinit) CommonOptions common = {0};
        CLEANUP(command_deinit) DeadLetterCommand command = {.name = subcommand->full};
        argv[0] = subcommand->full;
        int status = parse(&command, subcommand, &common, argc, argv);
        if (status >= 0) {
                return status;
        }
        if (command.limit == 0) {
                bool page = subcommand->run == dead_letter_list && !command.json;
                command.limit = page ? LIST_LIMIT : NO_LIMIT;
        }
        setlocale(LC_CTYPE, "");
        who_calls(command.who);
        Config *config = load_config(&common, &status);
        if (config != NULL) {
                command.config = config;
                status = run(&command, subcommand);
        }
        config_free(config);
        return status;
}

int command_dead_letter(int argc, char **argv) {
        const char *name = argc > 1 ? argv[1] : "";
        if (strcmp(name, "--help") == 0 || strcmp(name, "-h") == 0) {
                fputs(help, stdout);
                return EXIT_OK;
        }
        for (size_t i = 0; i < sizeof(subcommands) / sizeof(subcommands[0]); i++) {
                if (strcmp(name, subcommands[i].name) == 0) {
                        return run_subcommand(&subcommands[i], argc - 1, argv + 1);
                }
        }
        if (name[0] == '\0') {
                return usage_error(argv[0], "say what: list, show, replay or drop");
        }
        return usage_error(argv[0], "it has list, show, replay and drop, not \"%s\"", name);
}
