/*
 * ackd hold, unhold, holds: a stop that a person puts on restarts of some hosts, for every
 * instance.
 *
 * A hold is a row in PostgreSQL, which every claim reads, so it counts from its commit on; the
 * daemons are told of it by PostgreSQL (pg/holds_watch.h). Nothing here talks to a daemon.
 */

#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "app/commands.h"
#include "app/hold_pattern.h"
#include "app/hold_words.h"
#include "app/terminal.h"
#include "app/who.h"
#include "core/host.h"
#include "pg/blocking.h"
#include "pg/holds.h"
#include "pg/schema.h"
#include "util/duration.h"
#include "util/json.h"
#include "util/utf8.h"

enum {
        WHY_MAX_BYTES = 1000, /* it stands in a line of every daemon's log */
};

#define FOR_MAX_US (INT64_C(3650) * 24 * 3600 * 1000000)

typedef struct HoldCommand {
        const char *name; /* "hold", "unhold" or "holds" */
        const char *text; /* as it was typed */
        char pattern[HOLD_PATTERN_MAX];
        const char *why;
        int64_t for_us; /* 0: until it is lifted */
        HoldsOf of;     /* unhold */
        bool json;
        bool colours;
} HoldCommand;

#define COMMON_HELP                                                                                \
        "  -c, --config FILE       the configuration (default: $ACKD_CONFIG, else "                \
        "/etc/ackd/ackd.yaml)\n"                                                                   \
        "  -o, --option KEY=VALUE  override one key; can be repeated\n"                            \
        "  -h, --help              this help\n\n"

static const char hold_help[] =
        "Usage: ackd hold 'GLOB' [--for TIME] --why TEXT\n\n"
        "Stops restarts of these hosts on every instance, within a second. What is asked for them\n"
        "is saved and waits; restarts that are under way go on. Who made it, when and why is kept\n"
        "in the table holds.\n\n"
        "      'GLOB'              as in handlers.restart-host.allow: * any characters, ? one. In\n"
        "                          quotes, or the shell makes names of files of it\n"
        "      --for TIME          it ends by itself, such as 30m, 2h or 7d; otherwise when it is\n"
        "                          lifted: ackd unhold\n"
        "      --why TEXT          required; whoever finds a host held reads it\n" COMMON_HELP
        "A request that waited for handlers.restart-host.max_wait is rejected, also under a hold\n"
        "(waited_too_long); it is kept in the table rejected.\n\n"
        "Exit status 0: it is in force; 64 usage; 69 PostgreSQL cannot be reached or refuses; 78\n"
        "configuration.\n";

static const char unhold_help[] =
        "Usage: ackd unhold [--hold] 'GLOB'\n"
        "       ackd unhold --fuse\n\n"
        "Lifts the holds with this glob, which has to be that of `ackd hold`, not another one "
        "that\n"
        "matches the same hosts: `ackd holds` lists them. What waited is asked for at once.\n"
        "The hold of a blown fuse has the glob '*', which a person's may have too: while both are\n"
        "in force, one of the options has to say which.\n\n"
        "      --fuse              the hold of the blown fuse, which then counts anew\n"
        "      --hold              only holds that people made\n"
        "      'GLOB'              in quotes, or the shell makes names of files of "
        "it\n" COMMON_HELP
        "Exit status 0; 64 when there is no such hold in force, or usage; 69 PostgreSQL cannot be\n"
        "reached or refuses; 78 configuration.\n";

static const char holds_help[] =
        "Usage: ackd holds [--json]\n\n"
        "Lists the holds in force: the glob, who made it, since when and until when, why, and how\n"
        "many of the hosts that the ledger knows it matches. Times are UTC.\n\n"
        "      --json              an array of objects: id, pattern, who, why, since, until "
        "(null:\n"
        "                          until it is lifted), fuse (ackd made it: the fuse blew), "
        "hosts\n" COMMON_HELP
        "Exit status 0, also when there is none; 64 usage; 69 PostgreSQL cannot be reached or\n"
        "refuses; 78 configuration.\n";

/* --- the command line --------------------------------------------------------------------- */

static int fail(const HoldCommand *command, int r, char *error) {
        fprintf(stderr, "ackd %s: %s\n", command->name, error != NULL ? error : strerror(ENOMEM));
        free(error);
        return r < 0 ? EXIT_UNEXPECTED : EXIT_UNREACHABLE;
}

/* One line of text. -1: it is; else the exit status. */
static int check_why(const HoldCommand *command) {
        const char *why = command->why;
        if (why == NULL || why[strspn(why, " ")] == '\0') {
                return usage_error(command->name, "--why TEXT is required: it is kept, and shown "
                                                  "to whoever finds a host held");
        }
        size_t size = strlen(why);
        if (size > WHY_MAX_BYTES) {
                return usage_error(command->name, "--why takes at most %d bytes, not %zu",
                                   WHY_MAX_BYTES, size);
        }
        bool plain = utf8_is_valid(why, size);
        for (const char *c = why; *c != '\0'; c++) {
                plain = plain && (unsigned char)*c >= ' ' && *c != 127;
        }
        return plain ? -1
                     : usage_error(command->name, "--why takes one line of UTF-8 without control "
                                                  "characters");
}

static int parse_for(HoldCommand *command, const char *text) {
        const char *why = NULL;
        int64_t us = 0;
        if (duration_parse(text, &us, &why) != 0) {
                return usage_error(command->name,
                                   "--for takes a time such as 30m, 2h or 7d; \"%s\" %s", text,
                                   why);
        }
        if (us < 1000000 || us > FOR_MAX_US) {
                return usage_error(command->name, "--for takes 1s to 3650d");
        }
        command->for_us = us;
        return -1;
}

/* The operands, of which there has to be one: a glob. -1: there is; else the exit status. */
static int parse_pattern(HoldCommand *command, int n, char **operands) {
        CLEANUP(buffer_deinit) Buffer why = BUFFER_INIT;
        if (n == 0) {
                return usage_error(command->name,
                                   "name the hosts by one glob, such as 'db*.example.com'");
        }
        command->text = operands[0];
        if (n > 1) {
                bool file = access(operands[0], F_OK) == 0 && access(operands[1], F_OK) == 0;
                return usage_error(command->name, "one glob, and here are %d: \"%s\", \"%s\"%s%s",
                                   n, operands[0], operands[1], n > 2 ? ", …" : "",
                                   file ? ". They are files: the shell has put them in the place "
                                          "of a glob without quotes; write it as 'db*'"
                                        : ". When one of them is a glob, put it in quotes: 'db*'");
        }
        int r = hold_pattern(operands[0], command->pattern, &why);
        if (r < 0 || (r > 0 && buffer_string(&why) == NULL)) {
                return fail(command, -ENOMEM, NULL);
        }
        if (r > 0 && strcmp(command->name, "unhold") == 0) {
                /* By hand anything can be written there, and has to be lifted. */
                snprintf(command->pattern, sizeof(command->pattern), "%s", operands[0]);
                return -1;
        }
        if (r > 0) {
                return usage_error(command->name, "\"%s\" is no glob on host names: it %s",
                                   operands[0], (const char *)why.data);
        }
        if (strpbrk(operands[0], "*?") == NULL && access(operands[0], F_OK) == 0) {
                fprintf(stderr,
                        "ackd %s: note: a file \"%s\" is here; when the shell has put it in the "
                        "place of a glob, put the glob in quotes\n",
                        command->name, operands[0]);
        }
        return -1;
}

/* -1: go on; else the exit status. */
static int parse(HoldCommand *command, CommonOptions *common, const struct option *table,
                 const char *help, int argc, char **argv) {
        int option, status;
        opterr = 0;
        optind = 1;
        while ((option = getopt_long(argc, argv, ":c:o:h", table, NULL)) != -1) {
                switch (option) {
                case 'f':
                        status = parse_for(command, optarg);
                        if (status >= 0) {
                                return status;
                        }
                        break;
                case 'w':
                        command->why = optarg;
                        break;
                case 'F':
                case 'H':
                        if (command->of != HOLDS_OF_EITHER) {
                                return usage_error(command->name, "--fuse or --hold, once");
                        }
                        command->of = option == 'F' ? HOLDS_OF_FUSE : HOLDS_OF_PEOPLE;
                        break;
                case 'j':
                        command->json = true;
                        break;
                default:
                        status = common_options_take(common, option, argv, help);
                        if (status >= 0) {
                                return status;
                        }
                }
        }
        if (strcmp(command->name, "holds") == 0) {
                return optind < argc ? usage_error(argv[0], "\"%s\" is one argument too many",
                                                   argv[optind])
                                     : -1;
        }
        if (command->of == HOLDS_OF_FUSE) {
                snprintf(command->pattern, sizeof(command->pattern), "*");
                return optind < argc ? usage_error(command->name,
                                                   "--fuse takes no glob: it lifts the hold of the "
                                                   "blown fuse; \"%s\" is one argument too many",
                                                   argv[optind])
                                     : -1;
        }
        status = parse_pattern(command, argc - optind, argv + optind);
        return status >= 0 || strcmp(command->name, "unhold") == 0 ? status : check_why(command);
}

/* --- what is printed ---------------------------------------------------------------------- */

/* A row may have been written by hand, and this goes to a terminal. */
static void print_safely(FILE *file, const char *text) {
        size_t left = strlen(text);
        while (left > 0) {
                char out[256];
                size_t used = 0;
                size_t n = json_escape(out, sizeof(out), text, left, JSON_ESCAPE_CONTROL, &used);
                fwrite(out, 1, n, file);
                text += used;
                left -= used;
        }
}

static void print_hold(FILE *file, const HoldCommand *command, const Hold *hold) {
        bool colours = command->colours && file == stdout;
        fputs(colours ? hold->fuse ? "\033[1;31m" : "\033[1m" : "", file);
        print_safely(file, hold->pattern);
        fputs(colours ? "\033[0m" : "", file);
        fputs("  by ", file);
        print_safely(file, hold->who);
        fprintf(file, " since %s", hold->since);
        if (hold->until != NULL) {
                fprintf(file, " until %s", hold->until);
        }
        fputs(": ", file);
        print_safely(file, hold->why);
        fputs("\n", file);
}

/* The command that lifts this hold and no other's. */
static void print_remedy(FILE *file, const Hold *hold) {
        CLEANUP(buffer_deinit) Buffer words = BUFFER_INIT;
        int r = hold_words(&words, hold->pattern, hold->fuse);
        fputs("ackd unhold", file);
        print_safely(file, r == 0 && buffer_string(&words) != NULL ? buffer_string(&words) : "");
        fputs("\n", file);
}

/* Of the holds in force those that share hosts with the pattern, but not the one with this id. */
static size_t print_others(FILE *file, const HoldCommand *command, HoldsDesk *desk, int64_t but,
                           const char *head) {
        HoldList list = {0};
        char *error = NULL;
        size_t n = 0;
        if (holds_list(desk, &list, &error) != 0) {
                free(error);
                return 0;
        }
        for (size_t i = 0; i < list.n; i++) {
                const Hold *hold = &list.items[i];
                if (hold->id != but && host_patterns_meet(hold->pattern, command->pattern)) {
                        fputs(n++ == 0 ? head : "", file);
                        fputs("  ", file);
                        print_hold(file, command, hold);
                }
        }
        hold_list_deinit(&list);
        return n;
}

static void print_reach(const HoldCommand *command, HoldsDesk *desk) {
        HoldReach reach = {0};
        char *error = NULL;
        if (holds_reach(desk, command->pattern, &reach, &error) != 0) {
                fprintf(stderr,
                        "ackd hold: it is in force; how many hosts it matches is not known: "
                        "%s\n",
                        error != NULL ? error : strerror(ENOMEM));
                free(error);
                return;
        }
        if (reach.hosts == 0) {
                printf("It matches none of the %lld hosts that the ledger knows, only such as it "
                       "has "
                       "not met yet.\n",
                       (long long)reach.known);
                return;
        }
        printf("It matches %lld of the %lld hosts that the ledger knows", (long long)reach.hosts,
               (long long)reach.known);
        if (reach.running > 0) {
                printf("; %lld restart%s under way go%s on", (long long)reach.running,
                       reach.running == 1 ? "" : "s", reach.running == 1 ? "es" : "");
        }
        puts(".");
}

/* --- what is done ------------------------------------------------------------------------- */

static int make(const HoldCommand *command, HoldsDesk *desk) {
        HoldList made = {0};
        char who[WHO_MAX];
        char *error = NULL;
        int r = holds_make(desk, command->pattern, who_calls(who), command->why, command->for_us,
                           &made, &error);
        if (r != 0) {
                int status = fail(command, r, error);
                /* The connection may have gone after the commit. */
                fputs("Whether it is in force, ackd holds says.\n", stderr);
                return status;
        }
        const Hold *hold = &made.items[0];
        printf("%s is held%s%s: no restart of such a host starts, on any instance; saving goes "
               "on.\n",
               command->pattern, hold->until != NULL ? " until " : "",
               hold->until != NULL ? hold->until : "");
        /* It is in force: whoever reads this may go on. */
        fflush(stdout);
        print_reach(command, desk);
        print_others(stdout, command, desk, hold->id, "Also in force, for some of them:\n");
        fputs("Lift it: ", stdout);
        print_remedy(stdout, hold);
        hold_list_deinit(&made);
        return EXIT_OK;
}

/* Those of the glob that are in force and not of the kind that was to be lifted, each with the
 * command that lifts it. 0: there is none. */
static size_t explain_kinds(const HoldCommand *command, HoldsDesk *desk) {
        HoldList list = {0};
        char *error = NULL;
        size_t n = 0;
        if (holds_list(desk, &list, &error) != 0) {
                free(error);
                return 0;
        }
        for (size_t i = 0; i < list.n; i++) {
                const Hold *hold = &list.items[i];
                if (strcasecmp(hold->pattern, command->pattern) != 0) {
                        continue;
                }
                if (n++ == 0) {
                        fprintf(stderr, "ackd unhold: nothing was lifted%s\n",
                                command->of == HOLDS_OF_EITHER
                                        ? ": a person's hold and that of the blown fuse have this "
                                          "glob; say which"
                                : command->of == HOLDS_OF_FUSE
                                        ? ": the fuse holds nothing; these are people's"
                                        : ": no person's hold has this glob, the blown fuse's has");
                }
                fputs("  ", stderr);
                print_hold(stderr, command, hold);
                fputs("    lift it: ", stderr);
                print_remedy(stderr, hold);
        }
        hold_list_deinit(&list);
        return n;
}

/* Nothing was lifted. */
static int explain(const HoldCommand *command, HoldsDesk *desk) {
        HoldList last = {0};
        char *error = NULL;
        if (explain_kinds(command, desk) > 0) {
                return EXIT_USAGE;
        }
        int r = holds_last(desk, command->pattern, &last, &error);
        if (r != 0) {
                return fail(command, r, error);
        }
        fprintf(stderr, "ackd unhold: no hold on %s is in force", command->pattern);
        if (last.n > 0) {
                const Hold *hold = &last.items[0];
                bool lifted = hold->lifted_at != NULL;
                fprintf(stderr, "; the last one %s at %s",
                        lifted ? "was lifted" : "ended by itself",
                        lifted ? hold->lifted_at : hold->until);
                if (hold->lifted_by != NULL) {
                        fputs(" by ", stderr);
                        print_safely(stderr, hold->lifted_by);
                }
        }
        fputs("\n", stderr);
        hold_list_deinit(&last);
        print_others(stderr, command, desk, 0,
                     "Each is lifted by its own glob. These hold some of the same hosts:\n");
        return EXIT_USAGE;
}

static int lift(const HoldCommand *command, HoldsDesk *desk) {
        HoldList lifted = {0};
        char who[WHO_MAX];
        char *error = NULL;
        bool fuse = false;
        int r = holds_lift(desk, command->pattern, command->of, who_calls(who), &lifted, &error);
        if (r != 0) {
                return fail(command, r, error);
        }
        if (lifted.n == 0) {
                hold_list_deinit(&lifted);
                return explain(command, desk);
        }
        puts("Lifted:");
        for (size_t i = 0; i < lifted.n; i++) {
                fputs("  ", stdout);
                print_hold(stdout, command, &lifted.items[i]);
                fuse = fuse || lifted.items[i].fuse;
        }
        hold_list_deinit(&lifted);
        fflush(stdout);
        if (fuse) {
                puts("The fuse counts anew.");
        }
        if (print_others(stdout, command, desk, 0, "Still in force, for some of the hosts:\n") ==
            0) {
                puts("What waited for it is asked for now, on every instance.");
        }
        return EXIT_OK;
}

static int print_json(const HoldCommand *command, const HoldList *list) {
        CLEANUP(buffer_deinit) Buffer buffer = BUFFER_INIT;
        Json json;
        json_begin(&json, &buffer);
        json_begin_array(&json);
        for (size_t i = 0; i < list->n; i++) {
                const Hold *hold = &list->items[i];
                json_begin_object(&json);
                json_key(&json, "id");
                json_put_int(&json, hold->id);
                json_key(&json, "pattern");
                json_put_text(&json, hold->pattern);
                json_key(&json, "who");
                json_put_text(&json, hold->who);
                json_key(&json, "why");
                json_put_text(&json, hold->why);
                json_key(&json, "since");
                json_put_text(&json, hold->since);
                json_key(&json, "until");
                json_put_text(&json, hold->until);
                json_key(&json, "fuse");
                json_put_bool(&json, hold->fuse);
                json_key(&json, "hosts");
                json_put_int(&json, hold->hosts);
                json_end_object(&json);
        }
        json_end_array(&json);
        if (json_end(&json) != 0) {
                return fail(command, -ENOMEM, NULL);
        }
        fwrite(buffer.data, 1, buffer.size, stdout);
        fputs("\n", stdout);
        return EXIT_OK;
}

static int print_list(const HoldCommand *command, HoldsDesk *desk) {
        HoldList list = {0};
        char *error = NULL;
        int status = EXIT_OK;
        int r = holds_list(desk, &list, &error);
        if (r != 0) {
                return fail(command, r, error);
        }
        if (command->json) {
                status = print_json(command, &list);
        } else if (list.n == 0) {
                puts("No hold is in force.");
        }
        for (size_t i = 0; !command->json && i < list.n; i++) {
                const Hold *hold = &list.items[i];
                print_hold(stdout, command, hold);
                printf("    %lld host%s of the ledger; lift it: ", (long long)hold->hosts,
                       hold->hosts == 1 ? "" : "s");
                print_remedy(stdout, hold);
        }
        hold_list_deinit(&list);
        return status;
}

/* --- the commands ------------------------------------------------------------------------- */

static int run(const HoldCommand *command, const Config *config,
               int (*act)(const HoldCommand *command, HoldsDesk *desk)) {
        HoldsDesk *desk = NULL;
        char program[32];
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
        int r = holds_open(&desk, program, config->postgres.dsn, password, config->postgres.schema,
                           &error);
        free(password);
        if (r != 0) {
                return fail(command, r, error);
        }
        int status = act(command, desk);
        holds_close(desk);
        return status;
}

static int command_of(const struct option *table, const char *help, int argc, char **argv,
                      int (*act)(const HoldCommand *command, HoldsDesk *desk)) {
        CLEANUP(common_options_deinit) CommonOptions common = {0};
        HoldCommand command = {.name = argv[0], .colours = terminal_wants_colours()};
        int status = parse(&command, &common, table, help, argc, argv);
        if (status >= 0) {
                return status;
        }
        Config *config = load_config(&common, &status);
        if (config != NULL) {
                status = run(&command, config, act);
        }
        config_free(config);
        return status;
}

#define COMMON_OPTIONS                                                                             \
        {"config", required_argument, NULL, 'c'}, {"option", required_argument, NULL, 'o'},        \
                {"help", no_argument, NULL, 'h'}, {                                                \
                NULL, 0, NULL, 0                                                                   \
        }

int command_hold(int argc, char **argv) {
        static const struct option table[] = {{"for", required_argument, NULL, 'f'},
                                              {"why", required_argument, NULL, 'w'},
                                              COMMON_OPTIONS};
        return command_of(table, hold_help, argc, argv, make);
}

int command_unhold(int argc, char **argv) {
        static const struct option table[] = {{"fuse", no_argument, NULL, 'F'},
                                              {"hold", no_argument, NULL, 'H'},
                                              COMMON_OPTIONS};
        return command_of(table, unhold_help, argc, argv, lift);
}

int command_holds(int argc, char **argv) {
        static const struct option table[] = {{"json", no_argument, NULL, 'j'}, COMMON_OPTIONS};
        return command_of(table, holds_help, argc, argv, print_list);
}
