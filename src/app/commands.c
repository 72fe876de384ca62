#include "app/commands.h"

#include <getopt.h>
#include <jansson.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "app/daemon.h"
#include "app/signals.h"
#include "config/keys.h"
#include "config/problems.h"
#include "config/yaml.h"
#include "handlers/actions/http.h"
#include "kafka/consumer.h"
#include "kafka/query.h"
#include "pg/connection.h"
#include "util/buffer.h"

extern char **environ;

#define COMMON_HELP                                                                                \
        "  -c, --config FILE       the configuration (default: $ACKD_CONFIG, else "                \
        "/etc/ackd/ackd.yaml)\n"                                                                   \
        "  -o, --option KEY=VALUE  override one key; can be repeated\n"                            \
        "  -h, --help              this help\n"

#define COMMON_SHORT "+:c:o:h"
#define COMMON_LONG                                                                                \
        {"config", required_argument, NULL, 'c'}, {"option", required_argument, NULL, 'o'}, {      \
                "help", no_argument, NULL, 'h'                                                     \
        }

void common_options_deinit(CommonOptions *options) {
        free(options->overrides);
        *options = (CommonOptions){0};
}

static int common_options_add(CommonOptions *options, int option, const char *argument) {
        if (option == 'c') {
                options->file = argument;
                return 0;
        }
        const char **overrides =
                realloc(options->overrides, (options->n_overrides + 2) * sizeof(*overrides));
        if (overrides == NULL) {
                return -1;
        }
        overrides[options->n_overrides++] = argument;
        overrides[options->n_overrides] = NULL;
        options->overrides = overrides;
        return 0;
}

int usage_error(const char *command, const char *format, ...) {
        va_list ap;
        fprintf(stderr, "ackd %s: ", command);
        va_start(ap, format);
        vfprintf(stderr, format, ap);
        va_end(ap);
        fprintf(stderr, "; ackd %s --help says what it takes\n", command);
        return EXIT_USAGE;
}

int common_options_take(CommonOptions *options, int option, char **argv, const char *help) {
        switch (option) {
        case 'c':
        case 'o':
                return common_options_add(options, option, optarg) != 0 ? EXIT_UNEXPECTED : -1;
        case 'h':
                fputs(help, stdout);
                return EXIT_OK;
        case ':':
                return usage_error(argv[0], "%s needs a value", argv[optind - 1]);
        default:
                return usage_error(argv[0], "there is no option %s", argv[optind - 1]);
        }
}

static void print_problems(const ConfigProblems *problems, const char *kind) {
        for (size_t i = 0; i < problems->n; i++) {
                fprintf(stderr, "%s%s\n", kind, problems->items[i].text);
        }
        if (problems->more > 0) {
                fprintf(stderr, "%s… and %zu more\n", kind, problems->more);
        }
}

/* A switch of a command's own: --connect, --defaults. */
typedef struct Switch {
        const char *name; /* NULL: the command has none */
        bool set;
} Switch;

/* Reads the arguments of a command that takes no operands. -1: go on; else the exit status. */
static int parse(int argc, char **argv, const char *help, CommonOptions *options, Switch *own) {
        struct option table[] = {COMMON_LONG,
                                 {own != NULL ? own->name : NULL, no_argument, NULL, 's'},
                                 {NULL, 0, NULL, 0}};
        int option;
        opterr = 0;
        optind = 1;
        while ((option = getopt_long(argc, argv, COMMON_SHORT, table, NULL)) != -1) {
                int status = -1;
                if (option == 's') {
                        own->set = true;
                } else {
                        status = common_options_take(options, option, argv, help);
                }
                if (status >= 0) {
                        return status;
                }
        }
        if (optind < argc) {
                return usage_error(argv[0], "\"%s\" is one argument too many", argv[optind]);
        }
        return -1;
}

/* The name of librdkafka's that is spelled most nearly so. */
typedef struct Nearest {
        const char *name;
        unsigned distance;
        char found[64];
} Nearest;

static void look_nearest(void *user, const char *name) {
        Nearest *nearest = user;
        unsigned distance = key_distance(nearest->name, name);
        if (distance < nearest->distance && strlen(name) < sizeof(nearest->found)) {
                nearest->distance = distance;
                strcpy(nearest->found, name);
        }
}

typedef struct Refusals {
        const Config *config;
        ConfigErrors *errors;
} Refusals;

static const ConfigOrigin *origin_of(const Config *config, const char *key) {
        return &config->origins[key_index(key_find(key))];
}

/* It gets the place of the setting, and the name that was perhaps meant. */
static void add_refusal(void *user, const char *setting, const char *error) {
        const Refusals *refusals = user;
        const Config *config = refusals->config;
        const ConfigOrigin *origin =
                origin_of(config, setting != NULL ? "kafka" : "consume.topics");
        Nearest nearest = {.name = setting, .distance = 4};
        for (size_t i = 0; setting != NULL && i < config->kafka.n; i++) {
                if (strcmp(config->kafka.items[i].name, setting) == 0) {
                        origin = &config->kafka.items[i].origin;
                        query_settings(look_nearest, &nearest);
                }
        }
        bool has = nearest.found[0] != '\0' && nearest.distance > 0;
        problem_add(&refusals->errors->errors, origin, "%s%s%s%s", error,
                    has ? "; did you mean \"" : "", has ? nearest.found : "", has ? "\"?" : "");
}

/* What only the libraries can tell of the sections kafka and postgres. */
static int check_libraries(void *user, const Config *config, ConfigErrors *errors) {
        char *error = NULL;
        Refusals refusals = {.config = config, .errors = errors};
        ConsumerOptions options = {.n_settings = config->kafka.n,
                                   .topics = (const char *const *)config->consume.topics,
                                   .queue_bytes = config->limits.in_flight_bytes};
        (void)user;
        ConsumerSetting *settings = kafka_settings(config);
        options.settings = settings;
        int r = settings == NULL ? -ENOMEM : consumer_check(&options, add_refusal, &refusals);
        free(settings);
        if (r < 0) {
                return r;
        }
        PgOptions postgres = {.dsn = config->postgres.dsn,
                              .password_file = config->postgres.password_file,
                              .application_name = config->instance};
        r = pg_check(&postgres, &error);
        if (r > 0) {
                problem_add(&errors->errors, origin_of(config, "postgres.dsn"), "%s", error);
        }
        free(error);
        return r < 0 ? r : 0;
}

/* As load_config(), with the warnings left in @errors for the caller; @whole: what the libraries
 * refuse is an error too. */
static Config *load_config_quietly(const CommonOptions *options, bool whole, ConfigErrors *errors,
                                   int *statusp) {
        ConfigSources sources = {.file = options->file,
                                 .environment = (const char *const *)environ,
                                 .options = (const char *const *)options->overrides,
                                 .check = whole ? check_libraries : NULL,
                                 .librdkafka = consumer_library_version()};
        Config *config = NULL;
        int r = config_load(&config, &sources, errors);
        print_problems(&errors->errors, "error: ");
        if (r < 0) {
                fprintf(stderr, "ackd: cannot read the configuration: %s\n", strerror(-r));
        }
        *statusp = r < 0 ? EXIT_UNEXPECTED : r > 0 ? EXIT_CONFIG : EXIT_OK;
        return config;
}

Config *load_config(const CommonOptions *options, int *statusp) {
        CLEANUP(config_errors_deinit) ConfigErrors errors = {0};
        Config *config = load_config_quietly(options, false, &errors, statusp);
        print_problems(&errors.warnings, "warning: ");
        return config;
}

Config *load_config_unwarned(const CommonOptions *options, int *statusp) {
        CLEANUP(config_errors_deinit) ConfigErrors errors = {0};
        return load_config_quietly(options, false, &errors, statusp);
}

int command_run(int argc, char **argv) {
        /* First of all, so that every thread inherits it: a signal from now on waits for the loop.
         */
        signals_block();
        CLEANUP(common_options_deinit) CommonOptions options = {0};
        int status = parse(argc, argv,
                           "Usage: ackd run [OPTION...]\n\n"
                           "Runs the daemon in the foreground until SIGTERM, SIGINT or SIGHUP. "
                           "What is not there\nyet (PostgreSQL, its schema, Kafka) is waited for. "
                           "The log goes to stderr.\n\n" COMMON_HELP,
                           &options, NULL);
        if (status >= 0) {
                return status;
        }
        CLEANUP(config_errors_deinit) ConfigErrors errors = {0};
        Config *config = load_config_quietly(&options, true, &errors, &status);
        if (config != NULL) {
                config_check_machine(config, &errors);
                status = daemon_run(config, &errors.warnings);
        } else {
                print_problems(&errors.warnings, "warning: ");
        }
        config_free(config);
        return status;
}

int command_check_config(int argc, char **argv) {
        CLEANUP(common_options_deinit) CommonOptions options = {0};
        int status = parse(
                argc, argv,
                "Usage: ackd check-config [OPTION...]\n\n"
                "Reports every error of the configuration, with its place and what is "
                "allowed, or ok.\nWarns of what will hurt. Exit status 0 or 78.\n\n" COMMON_HELP,
                &options, NULL);
        if (status >= 0) {
                return status;
        }
        CLEANUP(config_errors_deinit) ConfigErrors errors = {0};
        Config *config = load_config_quietly(&options, true, &errors, &status);
        if (config != NULL) {
                config_check_machine(config, &errors);
        }
        print_problems(&errors.warnings, "warning: ");
        if (status == EXIT_OK) {
                puts("ok");
        }
        config_free(config);
        return status;
}

int command_print_config(int argc, char **argv) {
        CLEANUP(common_options_deinit) CommonOptions options = {0};
        CLEANUP(buffer_deinit) Buffer out = BUFFER_INIT;
        Switch defaults = {.name = "defaults"};
        int status = parse(argc, argv,
                           "Usage: ackd print-config [OPTION...]\n\n"
                           "Prints what is in force, as YAML, and where each value came from; "
                           "secrets are masked.\n\n"
                           "      --defaults          every key with its help and default "
                           "instead\n" COMMON_HELP,
                           &options, &defaults);
        if (status >= 0) {
                return status;
        }
        Config *config = NULL;
        int r;
        if (defaults.set) {
                status = EXIT_OK;
                r = config_print_defaults(&out);
        } else {
                config = load_config(&options, &status);
                r = config != NULL ? config_print(config, &out) : 0;
        }
        if (r != 0) {
                status = EXIT_UNEXPECTED;
        } else if (out.size > 0) {
                fwrite(out.data, 1, out.size, stdout);
        }
        config_free(config);
        return status;
}

ConsumerSetting *kafka_settings(const Config *config) {
        ConsumerSetting *settings = calloc(config->kafka.n + 1, sizeof(*settings));
        for (size_t i = 0; settings != NULL && i < config->kafka.n; i++) {
                settings[i] = (ConsumerSetting){.name = config->kafka.items[i].name,
                                                .value = config->kafka.items[i].value};
        }
        return settings;
}

const char *config_group(const Config *config) {
        for (size_t i = 0; i < config->kafka.n; i++) {
                if (strcmp(config->kafka.items[i].name, "group.id") == 0) {
                        return config->kafka.items[i].value;
                }
        }
        return "ackd";
}

char *read_password(const char *path, bool *failed) {
        *failed = false;
        if (path == NULL || path[0] == '\0') {
                return NULL;
        }
        FILE *file = fopen(path, "re");
        char *line = NULL;
        size_t capacity = 0;
        ssize_t n = file != NULL ? getline(&line, &capacity, file) : -1;
        if (file == NULL || (n < 0 && ferror(file))) {
                fprintf(stderr, "ackd: cannot read postgres.password_file %s: %s\n", path,
                        strerror(errno));
                *failed = true;
        }
        if (file != NULL) {
                fclose(file);
        }
        if (n < 0) {
                free(line);
                return NULL;
        }
        line[strcspn(line, "\n")] = '\0';
        return line;
}

int command_version(int argc, char **argv) {
        CLEANUP(common_options_deinit) CommonOptions options = {0};
        int status = parse(argc, argv,
                           "Usage: ackd version\n\n"
                           "Prints the version, and those of the libraries that are loaded.\n\n"
                           "  -h, --help              this help\n",
                           &options, NULL);
        if (status >= 0) {
                return status;
        }
        printf("ackd " ACKD_VERSION "\n"
               "librdkafka %s\n"
               "libpq %d.%d\n"
               "libev %s\n"
               "jansson %s\n"
               "libyaml %s\n"
               "libcurl %s\n"
               "features: exec http dry-run\n",
               consumer_library_version(), pg_library_version() / 10000,
               pg_library_version() % 10000, loop_library_version(), jansson_version_str(),
               yaml_library_version(), http_library_version());
        return EXIT_OK;
}
