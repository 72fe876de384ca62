/*
 * ackd status: what a daemon does now, from its control socket; for one host or one message its
 * story, from PostgreSQL (app/story_command.c).
 */

#include <getopt.h>
#include <jansson.h>
#include <locale.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "app/commands.h"
#include "app/control_client.h"
#include "app/document.h"
#include "app/layout.h"
#include "app/status_text.h"
#include "app/story_command.h"
#include "app/terminal.h"
#include "app/watch.h"

/* Messages are told up to this many: a screen's worth, and some pages. */
#define REQUEST        "{\"request\":\"status\",\"messages\":100}"
#define REQUEST_HEALTH "{\"request\":\"status\",\"messages\":0}"

typedef struct StatusCommand {
        const char *instance; /* NULL: that of the configuration */
        bool json, watch, health;
        bool story; /* ... of: */
        StoryOperand operand;
} StatusCommand;

static const char help[] =
        "Usage: ackd status [-i INSTANCE] [--json] [--watch]\n"
        "       ackd status [-i INSTANCE] --health\n"
        "       ackd status [-i INSTANCE] [--json] HOST | TOPIC/PARTITION/OFFSET\n\n"
        "Says what a daemon does now: what is wrong, with the command that helps, what runs, what\n"
        "waits and why, its partitions and its oldest messages. It asks the daemon's control\n"
        "socket (control.socket), so it runs on the same machine, as root or in its group.\n\n"
        "Of a host (in any spelling) or a message it tells the story, from PostgreSQL, also when "
        "it\n"
        "is long over: received, each restart, rejected, replayed, dropped, the holds on it; then\n"
        "what the daemon has in hand of it, when one answers, and what comes next.\n\n"
        "  -i, --instance INSTANCE the daemon of that name; default: that of the configuration\n"
        "      --json              the document as the daemon wrote it, one line "
        "(docs/status.md);\n"
        "                          of a story its document (docs/stories.md)\n"
        "      --watch             every second: on a terminal the whole screen until q or "
        "Ctrl-C\n"
        "                          (arrows, j, k, page up and down, Home scroll);\n"
        "                          else a block of text each time, with --json a line. It goes on\n"
        "                          while the daemon does not answer\n"
        "      --health            one line, for a container's health check: 0 when the daemon\n"
        "                          answers, which says that its loop turns. An outage of Kafka or\n"
        "                          PostgreSQL is no fault of it: another container would have it "
        "too\n"
        "  -c, --config FILE       the configuration (default: $ACKD_CONFIG, else "
        "/etc/ackd/ackd.yaml)\n"
        "  -o, --option KEY=VALUE  override one key; can be repeated\n"
        "  -h, --help              this help\n\n"
        "No colours when stdout is no terminal, or with NO_COLOR.\n\n"
        "Exit status 0, also when the daemon has troubles, or nothing is known of the host or the\n"
        "message; 64 usage; 69 the daemon does not answer, or for a story PostgreSQL; 78\n"
        "configuration.\n";

static const struct option long_options[] = {
        {"instance", required_argument, NULL, 'i'}, {"json", no_argument, NULL, 'j'},
        {"watch", no_argument, NULL, 'w'},          {"health", no_argument, NULL, 'H'},
        {"config", required_argument, NULL, 'c'},   {"option", required_argument, NULL, 'o'},
        {"help", no_argument, NULL, 'h'},           {NULL, 0, NULL, 0}};

static int fail(int r, char *error) {
        fprintf(stderr, "ackd status: %s\n", error != NULL ? error : strerror(ENOMEM));
        free(error);
        return r < 0 ? EXIT_UNEXPECTED : EXIT_UNREACHABLE;
}

static int parse_operand(StatusCommand *command, int n, char **operands) {
        const char *why = NULL;
        if (n > 1) {
                return usage_error("status", "\"%s\" is one argument too many", operands[1]);
        }
        command->story = n == 1;
        if (n == 1 && !story_operand_parse(operands[0], &command->operand, &why)) {
                return usage_error("status", "\"%s\" %s%s", operands[0], why,
                                   strchr(operands[0], '/') == NULL ? ", and so is no host" : "");
        }
        return -1;
}

/* -1: go on; else the exit status. */
static int parse(StatusCommand *command, CommonOptions *common, int argc, char **argv) {
        int option, status;
        opterr = 0;
        optind = 1;
        while ((option = getopt_long(argc, argv, ":c:o:i:h", long_options, NULL)) != -1) {
                switch (option) {
                case 'i':
                        command->instance = optarg;
                        break;
                case 'j':
                        command->json = true;
                        break;
                case 'w':
                        command->watch = true;
                        break;
                case 'H':
                        command->health = true;
                        break;
                default:
                        status = common_options_take(common, option, argv, help);
                        if (status >= 0) {
                                return status;
                        }
                }
        }
        status = parse_operand(command, argc - optind, argv + optind);
        if (status >= 0) {
                return status;
        }
        if (command->health && (command->json || command->watch || command->story)) {
                return usage_error(argv[0], "--health stands alone");
        }
        if (command->watch && command->story) {
                return usage_error(argv[0], "--watch shows a daemon, not one host or message");
        }
        if (command->instance != NULL &&
            (command->instance[0] == '\0' || strchr(command->instance, '/') != NULL)) {
                return usage_error(argv[0], "-i takes an instance's name, not a path; "
                                            "-o control.socket=PATH names a socket");
        }
        return -1;
}

/* One answer. @answer keeps its text. 0, -ENOMEM, or positive with *@errorp. */
static int ask(const char *path, const char *request, Buffer *answer, json_t **documentp,
               char **errorp) {
        int r = control_ask(path, request, answer, NULL, errorp);
        return r != 0 ? r : document_parse(answer, documentp, errorp);
}

static const char *up_or_down(const json_t *document, const char *key) {
        return document_bool(json_object_get(document, key), "up") ? "up" : "DOWN";
}

static int print_health(const char *path) {
        CLEANUP(buffer_deinit) Buffer answer = BUFFER_INIT;
        char age[AGE_TEXT];
        json_t *document = NULL;
        char *error = NULL;
        int r = ask(path, REQUEST_HEALTH, &answer, &document, &error);
        if (r != 0) {
                return fail(r, error);
        }
        const char *instance = document_text(document, "instance");
        const char *state = document_text(document, "state");
        printf("ackd %s answers: pid %lld, %s, up %s; Kafka %s, PostgreSQL %s\n",
               instance != NULL ? instance : "?", document_int(document, "pid"),
               state != NULL ? state : "?", age_text(document_number(document, "uptime_s"), age),
               up_or_down(document, "kafka"), up_or_down(document, "postgres"));
        json_decref(document);
        return EXIT_OK;
}

static int print_once(const StatusCommand *command, const char *path) {
        CLEANUP(buffer_deinit) Buffer answer = BUFFER_INIT;
        CLEANUP(buffer_deinit) Buffer text = BUFFER_INIT;
        json_t *document = NULL;
        char *error = NULL;
        int r = ask(path, REQUEST, &answer, &document, &error);
        if (r == 0 && !command->json) {
                r = status_text(&text, document, terminal_columns(), terminal_wants_colours());
        }
        json_decref(document);
        if (r != 0) {
                return fail(r, error);
        }
        const Buffer *out = command->json ? &answer : &text;
        fwrite(out->data, 1, out->size, stdout);
        fputs(command->json ? "\n" : "", stdout);
        return EXIT_OK;
}

static int run(const StatusCommand *command, const Config *config) {
        char *path = NULL;
        int r = control_socket_path(config, command->instance, &path);
        if (r != 0) {
                return fail(r, NULL);
        }
        int status = command->health  ? print_health(path)
                     : command->story ? story_run(&command->operand, config, path, command->json)
                     : command->watch
                             ? watch_run(path, REQUEST, command->json, terminal_wants_colours())
                             : print_once(command, path);
        free(path);
        return status;
}

int command_status(int argc, char **argv) {
        CLEANUP(common_options_deinit) CommonOptions common = {0};
        StatusCommand command = {0};
        int status = parse(&command, &common, argc, argv);
        if (status >= 0) {
                return status;
        }
        /* Which characters the terminal takes. Numbers stay as they are in C. */
        setlocale(LC_CTYPE, "");
        Config *config = load_config_unwarned(&common, &status);
        if (config != NULL) {
                status = run(&command, config);
        }
        config_free(config);
        return status;
}
