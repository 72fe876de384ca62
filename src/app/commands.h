#pragma once

/*
 * The commands beside `run`. Each takes its own arguments (argv[0] is the command's name) and
 * returns an exit status; results go to stdout, everything else to stderr.
 */

#include "app/exit_status.h"
#include "config/config.h"
#include "kafka/consumer.h"

int command_run(int argc, char **argv);
int command_check_config(int argc, char **argv);
int command_print_config(int argc, char **argv);
int command_init_db(int argc, char **argv);
int command_produce(int argc, char **argv);
int command_hold(int argc, char **argv);
int command_unhold(int argc, char **argv);
int command_holds(int argc, char **argv);
int command_partition(int argc, char **argv);
int command_dead_letter(int argc, char **argv);
int command_status(int argc, char **argv);
int command_set(int argc, char **argv);
int command_version(int argc, char **argv);

/*
 * What every command takes: -c FILE, -o KEY=VALUE, --help. Other options are the command's.
 */
typedef struct CommonOptions {
        const char *file;
        const char **overrides; /* NULL-terminated; owned */
        size_t n_overrides;
} CommonOptions;

void common_options_deinit(CommonOptions *options);

/* What getopt_long() gave that is not the command's own: -c, -o, --help (prints @help), and what is
 * no option or lacks its value. -1: go on; otherwise the exit status. */
int common_options_take(CommonOptions *options, int option, char **argv, const char *help);

/* Loads; every error and warning on stderr. NULL: the exit status is in *@statusp. */
Config *load_config(const CommonOptions *options, int *statusp);
/* Without the warnings, for commands that are run every second or in trouble: they are about what
 * the daemon does, and its log has them. */
Config *load_config_unwarned(const CommonOptions *options, int *statusp);

/* The password file's content, a final newline dropped; NULL without a file, or when it cannot be
 * read (then *@failed, and it was said). The caller's. */
char *read_password(const char *path, bool *failed);

/* The section kafka as the layer takes it: config->kafka.n of them, borrowing the strings; free()
 * the array. NULL: no memory. */
ConsumerSetting *kafka_settings(const Config *config);

/* group.id of the section kafka. */
const char *config_group(const Config *config);

/* Says on stderr what is wrong with the command line, and where the help is; EXIT_USAGE. */
int usage_error(const char *command, const char *format, ...) __attribute__((format(printf, 2, 3)));
