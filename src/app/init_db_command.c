/*
 * ackd init-db: makes or upgrades the schema, and the roles of those who use it. docs/roles.md
 */

#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "app/commands.h"
#include "pg/schema.h"
#include "util/buffer.h"

typedef struct InitCommand {
        bool print;
        bool makes_roles;
        const char *roles; /* what their names begin with; NULL: the schema's name */
} InitCommand;

static const char help[] =
        "Usage: ackd init-db [--roles[=PREFIX]] [--print]\n\n"
        "Makes or upgrades the schema in the database of postgres.dsn. Safe to repeat, and while\n"
        "daemons run. Everything belongs to the role that runs it.\n\n"
        "      --roles[=PREFIX]    makes roles to be granted to those who log in, and gives the\n"
        "                          schema to the first of them:\n"
        "                            PREFIX_owner    owns everything, runs init-db\n"
        "                            PREFIX_run      the least that `ackd run` needs\n"
        "                            PREFIX_read     reads: what shows\n"
        "                            PREFIX_operate  reads, and what operators do: hold, unhold,\n"
        "                                            partition, dead-letter replay and drop\n"
        "                          PREFIX: the schema's name. Once made, each init-db grants them\n"
        "                          what it brings; --roles is for once\n"
        "      --print             print the SQL and change nothing\n"
        "  -c, --config FILE       the configuration (default: $ACKD_CONFIG, else "
        "/etc/ackd/ackd.yaml)\n"
        "  -o, --option KEY=VALUE  override one key; can be repeated\n"
        "  -h, --help              this help\n\n"
        "Roles are made by one that has CREATEROLE; otherwise it says what a superuser runs once.\n"
        "Then, in psql: GRANT PREFIX_run TO the role that the daemons log in as.\n\n"
        "Exit status 0; 64 usage; 69 PostgreSQL cannot be reached or refuses; 78 configuration.\n";

/* -1: go on; else the exit status. */
static int parse(InitCommand *command, CommonOptions *common, int argc, char **argv) {
        static const struct option table[] = {{"print", no_argument, NULL, 'p'},
                                              {"roles", optional_argument, NULL, 'r'},
                                              {"config", required_argument, NULL, 'c'},
                                              {"option", required_argument, NULL, 'o'},
                                              {"help", no_argument, NULL, 'h'},
                                              {NULL, 0, NULL, 0}};
        int option;
        opterr = 0;
        optind = 1;
        while ((option = getopt_long(argc, argv, "+:c:o:h", table, NULL)) != -1) {
                int status = -1;
                if (option == 'p') {
                        command->print = true;
                } else if (option == 'r') {
                        command->makes_roles = true;
                        command->roles = optarg;
                } else {
                        status = common_options_take(common, option, argv, help);
                }
                if (status >= 0) {
                        return status;
                }
        }
        if (optind < argc) {
                bool value = command->makes_roles && command->roles == NULL;
                return usage_error(argv[0], "\"%s\" is one argument too many%s%s", argv[optind],
                                   value ? "; a prefix is given as --roles=" : "",
                                   value ? argv[optind] : "");
        }
        return -1;
}

/* -1: they have one; else the exit status. */
static int choose_prefix(InitCommand *command, const Config *config) {
        if (!command->makes_roles) {
                return -1;
        }
        if (command->roles == NULL) {
                command->roles = config->postgres.schema;
        }
        return schema_roles_are_valid(command->roles)
                       ? -1
                       : usage_error("init-db",
                                     "roles can't be called \"%s_run\": --roles=PREFIX takes "
                                     "letters, digits and underscores, no digit first, at most %d, "
                                     "and not pg_…",
                                     command->roles, SCHEMA_ROLES_MAX);
}

static int print(const InitCommand *command, const Config *config) {
        CLEANUP(buffer_deinit) Buffer sql = BUFFER_INIT;
        int r = schema_sql(config->postgres.schema, command->roles, &sql);
        if (r == 0) {
                fwrite(sql.data, 1, sql.size, stdout);
        }
        return r == 0 ? EXIT_OK : r > 0 ? EXIT_CONFIG : EXIT_UNEXPECTED;
}

static void print_roles(const char *roles) {
        printf("everything in it belongs to the role %s_owner. Grant the others in psql to those "
               "who log in:\n"
               "  GRANT \"%s_run\" TO …      the daemons: ackd run\n"
               "  GRANT \"%s_read\" TO …     who looks\n"
               "  GRANT \"%s_operate\" TO …  who looks and operates\n",
               roles, roles, roles, roles);
}

static int init(const InitCommand *command, const Config *config) {
        bool failed;
        char *error = NULL;
        const char *schema = config->postgres.schema;
        char *password = read_password(config->postgres.password_file, &failed);
        if (failed) {
                return EXIT_CONFIG;
        }
        int r = schema_init(config->postgres.dsn, password, schema, command->roles, &error);
        free(password);
        if (r == 0) {
                printf("schema \"%s\" is ready (version %d)\n", schema, SCHEMA_VERSION);
                if (command->roles != NULL) {
                        print_roles(command->roles);
                }
                return EXIT_OK;
        }
        fprintf(stderr, "ackd init-db: %s\n", error != NULL ? error : strerror(-r));
        free(error);
        return r == SCHEMA_E_NAME ? EXIT_CONFIG : r > 0 ? EXIT_UNREACHABLE : EXIT_UNEXPECTED;
}

int command_init_db(int argc, char **argv) {
        CLEANUP(common_options_deinit) CommonOptions options = {0};
        InitCommand command = {0};
        int status = parse(&command, &options, argc, argv);
        if (status >= 0) {
                return status;
        }
        Config *config = load_config(&options, &status);
        if (config == NULL) {
                return status;
        }
        status = choose_prefix(&command, config);
        if (status < 0) {
                status = command.print ? print(&command, config) : init(&command, config);
        }
        config_free(config);
        return status;
}
