/*
 * ackd: consumes host-restart requests from Kafka. To read the program, begin with core/engine.h,
 * app/pipeline.c and app/shutdown.c.
 */

#include <stdio.h>
#include <string.h>

#include "app/commands.h"

typedef struct CommandEntry {
        const char *name;
        const char *summary;
        int (*run)(int argc, char **argv);
} CommandEntry;

static const CommandEntry commands[] = {
        {"run", "run the daemon in the foreground", command_run},
        {"check-config", "report every error of the configuration, or ok", command_check_config},
        {"print-config", "print what is in force and where each value came from",
         command_print_config},
        {"init-db", "make or upgrade the schema in PostgreSQL; safe to repeat", command_init_db},
        {"status", "what runs, what waits and why, and the command that helps", command_status},
        {"produce", "send restart requests to Kafka", command_produce},
        {"hold", "stop restarts of hosts, on every instance", command_hold},
        {"unhold", "let them go on", command_unhold},
        {"holds", "list the holds in force", command_holds},
        {"partition", "say where a partition goes on that stopped", command_partition},
        {"dead-letter", "list, show, replay or drop what was rejected", command_dead_letter},
        {"set", "change log.level or debug.checks of a running daemon", command_set},
        {"version", "print the version and those of the libraries", command_version},
};

enum {
        COMMANDS = sizeof(commands) / sizeof(commands[0]),
};

static void print_help(FILE *out) {
        fputs("Usage: ackd COMMAND [OPTION...]\n\n"
              "Consumes host-restart requests from Kafka: saves each one in PostgreSQL, restarts "
              "its host,\nand acknowledges it when both are done.\n\nCommands:\n",
              out);
        for (size_t i = 0; i < COMMANDS; i++) {
                fprintf(out, "  %-14s %s\n", commands[i].name, commands[i].summary);
        }
        fputs("\nEvery command takes:\n"
              "  -c, --config FILE      the configuration (default: $ACKD_CONFIG, else "
              "/etc/ackd/ackd.yaml)\n"
              "  -o, --option KEY=VALUE override one key, for example -o retry.attempts=3\n"
              "  -h, --help             the command's own help\n\n"
              "Exit status: 0 ok, 64 usage, 69 Kafka, PostgreSQL or the daemon cannot be reached,\n"
              "70 unexpected error, 75 stopped but not confirmed, 76 fenced, 78 configuration.\n",
              out);
}

/* A result that could not be written is no success: a full disk, a closed pipe. */
static int finish(int status) {
        if ((fflush(stdout) != 0 || ferror(stdout)) && status == EXIT_OK) {
                perror("ackd: cannot write the result");
                return EXIT_UNEXPECTED;
        }
        return status;
}

int main(int argc, char **argv) {
        if (argc < 2) {
                print_help(stderr);
                return EXIT_USAGE;
        }
        const char *name = argv[1];
        if (strcmp(name, "--help") == 0 || strcmp(name, "-h") == 0 || strcmp(name, "help") == 0) {
                print_help(stdout);
                return EXIT_OK;
        }
        if (strcmp(name, "--version") == 0) {
                name = "version";
        }
        for (size_t i = 0; i < COMMANDS; i++) {
                if (strcmp(commands[i].name, name) == 0) {
                        return finish(commands[i].run(argc - 1, argv + 1));
                }
        }
        if (name[0] == '-') {
                fprintf(stderr,
                        "ackd: options come behind the command: ackd COMMAND %s ...; ackd "
                        "--help lists the commands\n",
                        name);
                return EXIT_USAGE;
        }
        fprintf(stderr, "ackd: there is no command \"%s\"; ackd --help lists them\n", name);
        return EXIT_USAGE;
}
