#include "config/check.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "config/keys.h"
#include "config/problems.h"
#include "config/value.h"
#include "util/duration.h"

#define RESTART "handlers.restart-host"

enum {
        GRACE_MORE_US = 10000000, /* interface: the longest action with its kill_after, and 10 s */
};

typedef struct Checker {
        Config *config;
        const bool *bad;
        ConfigErrors *errors;
} Checker;

static const ConfigOrigin *origin_of(const Config *config, const char *path) {
        return &config->origins[key_index(key_find(path))];
}

static bool is_good(const Checker *checker, const char *path) {
        return !checker->bad[key_index(key_find(path))];
}

static bool is_given(const Checker *checker, const char *path) {
        return !is_good(checker, path) ||
               origin_of(checker->config, path)->kind != CONFIG_FROM_DEFAULT;
}

/* Of two that contradict, the one that somebody wrote. */
static const ConfigOrigin *written(const Config *config, const char *a, const char *b) {
        const ConfigOrigin *origin = origin_of(config, a);
        return origin->kind != CONFIG_FROM_DEFAULT ? origin : origin_of(config, b);
}

static int require(const Checker *checker, const char *path) {
        if (is_given(checker, path)) {
                return 0;
        }
        CLEANUP(buffer_deinit) Buffer expected = BUFFER_INIT;
        int r = key_expected(key_find(path), &expected);
        const char *text = buffer_string(&expected);
        if (r != 0 || text == NULL) {
                return error_origin(-ENOMEM);
        }
        problem_add(&checker->errors->errors, origin_of(checker->config, RESTART),
                    "%s is missing; allowed: %s", path, text);
        return 0;
}

static bool has_status(const ConfigStatuses *statuses, int status) {
        for (size_t i = 0; i < statuses->n; i++) {
                if (statuses->items[i] == status) {
                        return true;
                }
        }
        return false;
}

/* A status that means two things means nothing. */
static void check_statuses(const Checker *checker) {
        const ConfigExec *exec = &checker->config->handlers.restart.exec;
        const struct {
                const char *path;
                const ConfigStatuses *statuses;
        } lists[] = {
                {RESTART ".exec.status.done", &exec->status.done},
                {RESTART ".exec.status.not_started", &exec->status.not_started},
                {RESTART ".exec.status.unknown", &exec->status.unknown},
        };
        for (size_t i = 0; i < 3; i++) {
                for (size_t j = i + 1; j < 3; j++) {
                        if (!is_good(checker, lists[i].path) || !is_good(checker, lists[j].path)) {
                                continue;
                        }
                        for (size_t k = 0; k < lists[i].statuses->n; k++) {
                                int status = lists[i].statuses->items[k];
                                if (has_status(lists[j].statuses, status)) {
                                        problem_add(&checker->errors->errors,
                                                    written(checker->config, lists[i].path,
                                                            lists[j].path),
                                                    "%s: %d is also in %s; allowed: in one of them",
                                                    lists[i].path, status, lists[j].path);
                                }
                        }
                }
        }
}

static void warn_restart(const Checker *checker) {
        const ConfigRestart *restart = &checker->config->handlers.restart;
        ConfigProblems *warnings = &checker->errors->warnings;
        for (size_t i = 0; restart->allow != NULL && restart->allow[i] != NULL; i++) {
                if (strspn(restart->allow[i], "*") == strlen(restart->allow[i])) {
                        problem_add(warnings, origin_of(checker->config, RESTART ".allow"),
                                    "%s.allow: \"%s\" allows every host", RESTART,
                                    restart->allow[i]);
                }
        }
        char **argv = restart->exec.argv;
        bool names_host = argv == NULL || restart->action != CONFIG_ACTION_EXEC;
        for (size_t i = 0; argv != NULL && argv[i] != NULL; i++) {
                names_host = names_host || strstr(argv[i], "{{") != NULL;
        }
        if (!names_host) {
                problem_add(warnings, origin_of(checker->config, RESTART ".exec.argv"),
                            "%s.exec.argv: no {{host}} in it, so the command is the same for every "
                            "host",
                            RESTART);
        }
}

static int check_restart(const Checker *checker) {
        static const char *const required[] = {RESTART ".action", RESTART ".allow",
                                               RESTART ".exec.argv", NULL};
        const ConfigRestart *restart = &checker->config->handlers.restart;
        bool exec = restart->action == CONFIG_ACTION_EXEC && is_given(checker, RESTART ".action") &&
                    is_good(checker, RESTART ".action");
        for (size_t i = 0; required[i] != NULL && (i < 2 || exec); i++) {
                int r = require(checker, required[i]);
                if (r != 0) {
                        return r;
                }
        }
        check_statuses(checker);
        warn_restart(checker);
        return 0;
}

static void check_grace(const Checker *checker) {
        ConfigShutdown *shutdown = &checker->config->shutdown;
        const ConfigRestart *restart = &checker->config->handlers.restart;
        int64_t action = 0;
        if (restart->enabled && restart->action == CONFIG_ACTION_EXEC) {
                action = restart->exec.timeout_us + restart->exec.kill_after_us;
        }
        if (shutdown->grace_auto) {
                shutdown->grace_us = action + GRACE_MORE_US;
                return;
        }
        if (shutdown->grace_us < action && is_good(checker, RESTART ".exec.timeout") &&
            is_good(checker, RESTART ".exec.kill_after") && is_good(checker, "shutdown.grace")) {
                char grace[DURATION_TEXT], longest[DURATION_TEXT];
                problem_add(&checker->errors->warnings,
                            origin_of(checker->config, "shutdown.grace"),
                            "shutdown.grace: %s is shorter than a restart with its kill_after "
                            "(%s): a shutdown kills restarts, and their outcome is unknown",
                            duration_format(shutdown->grace_us, grace),
                            duration_format(action, longest));
        }
}

static void check_limits(const Checker *checker) {
        const Config *config = checker->config;
        ConfigProblems *errors = &checker->errors->errors;
        char a[DURATION_TEXT], b[DURATION_TEXT];
        if (config->limits.message_bytes > config->limits.in_flight_bytes &&
            is_good(checker, "limits.message_bytes") &&
            is_good(checker, "limits.in_flight_bytes")) {
                problem_add(errors,
                            written(config, "limits.message_bytes", "limits.in_flight_bytes"),
                            "limits.message_bytes: %s is more than limits.in_flight_bytes, %s",
                            size_format(config->limits.message_bytes, a),
                            size_format(config->limits.in_flight_bytes, b));
        }
        if (config->retry.backoff_us > config->retry.backoff_max_us &&
            is_good(checker, "retry.backoff") && is_good(checker, "retry.backoff_max")) {
                problem_add(errors, written(config, "retry.backoff", "retry.backoff_max"),
                            "retry.backoff: %s is more than retry.backoff_max, %s",
                            duration_format(config->retry.backoff_us, a),
                            duration_format(config->retry.backoff_max_us, b));
        }
}

static int check_dsn(const Checker *checker) {
        const ConfigPostgres *postgres = &checker->config->postgres;
        CLEANUP(buffer_deinit) Buffer masked = BUFFER_INIT;
        int r = config_mask_dsn(postgres->dsn, &masked);
        const char *text = buffer_string(&masked);
        if (r != 0 || text == NULL) {
                return error_origin(-ENOMEM);
        }
        if (strcmp(text, postgres->dsn) != 0) {
                problem_add(&checker->errors->warnings, origin_of(checker->config, "postgres.dsn"),
                            "postgres.dsn: holds a password; in postgres.password_file it is out "
                            "of sight, and can be changed without a restart");
        }
        return 0;
}

/* It crashes before its first assignment, hangs at the close, rebalances for ever, or loses what it
 * has when a commit crosses a rebalance, each until a version of its own; 2.10 is the first with
 * none of these. */
static void warn_cooperative(const Checker *checker, const char *librdkafka) {
        static const char name[] = "partition.assignment.strategy";
        const ConfigSetting *setting = value_find_kafka(&checker->config->kafka, name);
        char *rest;
        if (setting == NULL || librdkafka == NULL ||
            strstr(setting->value, "cooperative-sticky") == NULL) {
                return;
        }
        long major = strtol(librdkafka, &rest, 10);
        long minor = *rest == '.' ? strtol(rest + 1, NULL, 10) : 0;
        if (major < 2 || (major == 2 && minor < 10)) {
                problem_add(&checker->errors->warnings, &setting->origin,
                            "kafka.%s: cooperative-sticky of librdkafka %s may crash, hang at the "
                            "close, or fall out of the group at a rebalance, which repeats "
                            "restarts; write range,roundrobin until librdkafka is 2.10",
                            name, librdkafka);
        }
}

/* The host name, as far as it is fit to name a daemon. */
static int name_instance(Config *config) {
        if (*config->instance != '\0') {
                return 0;
        }
        char name[65] = "";
        CLEANUP(buffer_deinit) Buffer why = BUFFER_INIT;
        const Key *key = key_find("instance");
        bool fit = gethostname(name, sizeof(name) - 1) == 0 && *name != '\0' &&
                   key->check(name, 0, &why) == 0;
        char *copy = strdup(fit ? name : "ackd");
        if (copy == NULL) {
                return error_origin(-ENOMEM);
        }
        free(config->instance);
        config->instance = copy;
        return 0;
}

/* Of @what at @path: why it cannot be used so, or nothing. */
static void warn_access(const Config *config, ConfigErrors *errors, const char *key,
                        const char *path, int mode, const char *follows) {
        if (access(path, mode) != 0) {
                problem_add(&errors->warnings, origin_of(config, key), "%s: %s: %s; %s", key, path,
                            strerror(errno), follows);
        }
}

void config_check_machine(const Config *config, ConfigErrors *errors) {
        const ConfigRestart *restart = &config->handlers.restart;
        const char *textfile = config->metrics.textfile;
        struct stat stat_buffer;

        if (restart->enabled && restart->action == CONFIG_ACTION_EXEC) {
                const char *program = restart->exec.argv[0];
                if (stat(program, &stat_buffer) == 0 && S_ISDIR(stat_buffer.st_mode)) {
                        problem_add(&errors->warnings, origin_of(config, RESTART ".exec.argv"),
                                    "%s.exec.argv: %s: %s; no host can be restarted", RESTART,
                                    program, strerror(EISDIR));
                } else {
                        warn_access(config, errors, RESTART ".exec.argv", program, X_OK,
                                    "no host can be restarted");
                }
        }
        if (config->postgres.password_file[0] != '\0') {
                warn_access(config, errors, "postgres.password_file",
                            config->postgres.password_file, R_OK, "PostgreSQL cannot be reached");
        }
        const char *slash = strrchr(textfile, '/');
        char *folder = slash == NULL       ? NULL
                       : slash == textfile ? strdup("/")
                                           : strndup(textfile, (size_t)(slash - textfile));
        if (textfile[0] != '\0') {
                warn_access(config, errors, "metrics.textfile", folder != NULL ? folder : ".",
                            W_OK | X_OK, "no metrics can be written");
        }
        free(folder);
}

int config_check(Config *config, const bool *bad, const ConfigOrigin *whole, const char *librdkafka,
                 ConfigErrors *errors) {
        Checker checker = {.config = config, .bad = bad, .errors = errors};
        if (!config->handlers.save.enabled && !config->handlers.restart.enabled) {
                problem_add(&errors->errors, whole,
                            "no handlers: nothing would be done with a message; allowed: at least "
                            "one, such as handlers: {save: {}}%s",
                            whole->kind == CONFIG_FROM_FILE
                                    ? ""
                                    : " (no " CONFIG_FILE " here; -c or ACKD_CONFIG name another "
                                      "file)");
        }
        int r = config->handlers.restart.enabled ? check_restart(&checker) : 0;
        if (r == 0) {
                r = check_dsn(&checker);
        }
        if (r == 0) {
                r = name_instance(config);
        }
        check_limits(&checker);
        check_grace(&checker);
        warn_cooperative(&checker, librdkafka);
        /* One setting by its two names: the default must not override what was written. */
        const ConfigSetting *servers = value_find_kafka(&config->kafka, "bootstrap.servers");
        if (value_find_kafka(&config->kafka, "metadata.broker.list") != NULL && servers != NULL &&
            servers->origin.kind == CONFIG_FROM_DEFAULT) {
                value_remove_kafka(&config->kafka, "bootstrap.servers");
        }
        return r;
}
