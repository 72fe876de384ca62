#include "config/check.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "config/checker.h"
#include "config/guards.h"
#include "config/keys.h"
#include "config/problems.h"
#include "config/value.h"
#include "util/duration.h"

enum {
        GRACE_MORE_US = 10000000, /* interface: the longest action with its kill_after, and 10 s */
};

const ConfigOrigin *checker_origin(const Config *config, const char *path) {
        return &config->origins[key_index(key_find(path))];
}

bool checker_is_good(const Checker *checker, const char *path) {
        return !checker->bad[key_index(key_find(path))];
}

bool checker_is_given(const Checker *checker, const char *path) {
        return !checker_is_good(checker, path) ||
               checker_origin(checker->config, path)->kind != CONFIG_FROM_DEFAULT;
}

/* Of two that contradict, the one that somebody wrote. */
const ConfigOrigin *checker_written(const Config *config, const char *a, const char *b) {
        const ConfigOrigin *origin = checker_origin(config, a);
        return origin->kind != CONFIG_FROM_DEFAULT ? origin : checker_origin(config, b);
}

int checker_require(const Checker *checker, const char *path) {
        if (checker_is_given(checker, path)) {
                return 0;
        }
        CLEANUP(buffer_deinit) Buffer expected = BUFFER_INIT;
        int r = key_expected(key_find(path), &expected);
        const char *text = buffer_string(&expected);
        if (r != 0 || text == NULL) {
                return error_origin(-ENOMEM);
        }
        problem_add(&checker->errors->errors, checker_origin(checker->config, RESTART),
                    "%s is missing; allowed: %s", path, text);
        return 0;
}

bool checker_is_any_given(const Checker *checker, const char *section) {
        size_t size = strlen(section);
        for (size_t i = 0; i < n_keys; i++) {
                const char *path = keys[i].path;
                if (strncmp(path, section, size) == 0 && path[size] == '.' &&
                    checker_is_given(checker, path)) {
                        return true;
                }
        }
        return false;
}

static bool has_status(const ConfigStatuses *statuses, int status) {
        for (size_t i = 0; i < statuses->n; i++) {
                if (statuses->items[i] == status) {
                        return true;
                }
        }
        return false;
}

void checker_statuses(const Checker *checker, const CheckerStatuses *lists, size_t n) {
        for (size_t i = 0; i < n; i++) {
                for (size_t j = i + 1; j < n; j++) {
                        if (!checker_is_good(checker, lists[i].path) ||
                            !checker_is_good(checker, lists[j].path)) {
                                continue;
                        }
                        for (size_t k = 0; k < lists[i].statuses->n; k++) {
                                int status = lists[i].statuses->items[k];
                                if (has_status(lists[j].statuses, status)) {
                                        problem_add(&checker->errors->errors,
                                                    checker_written(checker->config, lists[i].path,
                                                                    lists[j].path),
                                                    "%s: %d is also in %s; allowed: in one of them",
                                                    lists[i].path, status, lists[j].path);
                                }
                        }
                }
        }
}

static void check_statuses(const Checker *checker) {
        const ConfigExec *exec = &checker->config->handlers.restart.exec;
        const ConfigHttp *http = &checker->config->handlers.restart.http;
        const CheckerStatuses exec_lists[] = {
                {RESTART ".exec.status.done", &exec->status.done},
                {RESTART ".exec.status.not_started", &exec->status.not_started},
                {RESTART ".exec.status.unknown", &exec->status.unknown},
        };
        const CheckerStatuses http_lists[] = {
                {RESTART ".http.status.done", &http->status.done},
                {RESTART ".http.status.failed", &http->status.failed},
                {RESTART ".http.status.not_started", &http->status.not_started},
                {RESTART ".http.status.unknown", &http->status.unknown},
        };
        checker_statuses(checker, exec_lists, 3);
        checker_statuses(checker, http_lists, 4);
}

void check_exec(const Checker *checker, const char *section, const ConfigExec *exec) {
        char path[KEY_PATH];
        bool names_host = exec->argv == NULL;
        for (size_t i = 0; exec->argv != NULL && exec->argv[i] != NULL; i++) {
                names_host = names_host || strstr(exec->argv[i], "{{") != NULL;
        }
        if (!names_host) {
                snprintf(path, sizeof(path), "%s.exec.argv", section);
                problem_add(&checker->errors->warnings, checker_origin(checker->config, path),
                            "%s: no {{host}} in it, so the command is the same for every host",
                            path);
        }
}

static void warn_restart(const Checker *checker) {
        const ConfigRestart *restart = &checker->config->handlers.restart;
        ConfigProblems *warnings = &checker->errors->warnings;
        for (size_t i = 0; restart->allow != NULL && restart->allow[i] != NULL; i++) {
                if (strspn(restart->allow[i], "*") == strlen(restart->allow[i])) {
                        problem_add(warnings, checker_origin(checker->config, RESTART ".allow"),
                                    "%s.allow: \"%s\" allows every host", RESTART,
                                    restart->allow[i]);
                }
        }
        if (restart->action == CONFIG_ACTION_EXEC) {
                check_exec(checker, RESTART, &restart->exec);
        }
}

/* Who comes too early before a window opens never sees it open. */
static void warn_windows(const Checker *checker) {
        const ConfigRestart *restart = &checker->config->handlers.restart;
        char wait[DURATION_TEXT], shut[DURATION_TEXT];
        int64_t longest = guards_longest_shut(&restart->windows);
        if (longest <= restart->max_wait_us || !checker_is_good(checker, RESTART ".max_wait") ||
            !checker_is_good(checker, RESTART ".windows")) {
                return;
        }
        problem_add(&checker->errors->warnings, checker_origin(checker->config, RESTART ".windows"),
                    "%s.windows: no window is open for up to %s, and after max_wait (%s) a request "
                    "is rejected, \"waited_too_long\"; a longer max_wait lets all of them wait",
                    RESTART, duration_format(longest, shut),
                    duration_format(restart->max_wait_us, wait));
}

static int check_restart(const Checker *checker) {
        const ConfigRestart *restart = &checker->config->handlers.restart;
        bool known = checker_is_given(checker, RESTART ".action") &&
                     checker_is_good(checker, RESTART ".action");
        int r = checker_require(checker, RESTART ".action");
        r = r == 0 ? checker_require(checker, RESTART ".allow") : r;
        if (r == 0 && known && restart->action == CONFIG_ACTION_EXEC) {
                r = checker_require(checker, RESTART ".exec.argv");
        }
        if (r == 0 && known && restart->action == CONFIG_ACTION_HTTP) {
                r = checker_require(checker, RESTART ".http.url");
        }
        if (r != 0) {
                return r;
        }
        check_statuses(checker);
        warn_restart(checker);
        warn_windows(checker);
        check_ledger(checker);
        check_code(checker, RESTART, &restart->exec);
        r = check_http(checker, RESTART, &restart->http);
        return r == 0 ? check_checks(checker) : r;
}

static void check_grace(const Checker *checker) {
        ConfigShutdown *shutdown = &checker->config->shutdown;
        const ConfigRestart *restart = &checker->config->handlers.restart;
        int64_t action = 0;
        /* The checks hold up no shutdown: a precheck is killed, a verify left to the next owner. */
        if (restart->enabled && restart->action == CONFIG_ACTION_EXEC) {
                action = restart->exec.timeout_us + restart->exec.kill_after_us;
        } else if (restart->enabled && restart->action == CONFIG_ACTION_HTTP) {
                action = restart->http.timeout_us;
        }
        if (shutdown->grace_auto) {
                shutdown->grace_us = action + GRACE_MORE_US;
                return;
        }
        if (shutdown->grace_us < action && checker_is_good(checker, RESTART ".exec.timeout") &&
            checker_is_good(checker, RESTART ".exec.kill_after") &&
            checker_is_good(checker, RESTART ".http.timeout") &&
            checker_is_good(checker, "shutdown.grace")) {
                char grace[DURATION_TEXT], longest[DURATION_TEXT];
                problem_add(&checker->errors->warnings,
                            checker_origin(checker->config, "shutdown.grace"),
                            "shutdown.grace: %s is shorter than a restart%s "
                            "(%s): a shutdown kills restarts, and their outcome is unknown",
                            duration_format(shutdown->grace_us, grace),
                            restart->action == CONFIG_ACTION_EXEC ? " with its kill_after" : "",
                            duration_format(action, longest));
        }
}

static void check_limits(const Checker *checker) {
        const Config *config = checker->config;
        ConfigProblems *errors = &checker->errors->errors;
        char a[DURATION_TEXT], b[DURATION_TEXT];
        if (config->limits.message_bytes > config->limits.in_flight_bytes &&
            checker_is_good(checker, "limits.message_bytes") &&
            checker_is_good(checker, "limits.in_flight_bytes")) {
                problem_add(errors,
                            checker_written(config, "limits.message_bytes",
                                            "limits.in_flight_bytes"),
                            "limits.message_bytes: %s is more than limits.in_flight_bytes, %s",
                            size_format(config->limits.message_bytes, a),
                            size_format(config->limits.in_flight_bytes, b));
        }
        if (config->retry.backoff_us > config->retry.backoff_max_us &&
            checker_is_good(checker, "retry.backoff") &&
            checker_is_good(checker, "retry.backoff_max")) {
                problem_add(errors, checker_written(config, "retry.backoff", "retry.backoff_max"),
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
        /* What cannot be read is masked as well, and need not hold one. */
        bool may_hold =
                strcasestr(postgres->dsn, "password") != NULL || strchr(postgres->dsn, '@') != NULL;
        if (may_hold && strcmp(text, postgres->dsn) != 0) {
                problem_add(&checker->errors->warnings,
                            checker_origin(checker->config, "postgres.dsn"),
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

void checker_warn_access(const Config *config, ConfigErrors *errors, const char *key,
                         const char *path, int mode, const char *follows) {
        if (access(path, mode) != 0) {
                problem_add(&errors->warnings, checker_origin(config, key), "%s: %s: %s; %s", key,
                            path, strerror(errno), follows);
        }
}

void check_exec_machine(const Config *config, ConfigErrors *errors, const char *section,
                        const ConfigExec *exec, const char *follows) {
        char path[KEY_PATH];
        struct stat status;
        const char *program = exec->argv[0];
        snprintf(path, sizeof(path), "%s.exec.argv", section);
        if (stat(program, &status) == 0 && S_ISDIR(status.st_mode)) {
                problem_add(&errors->warnings, checker_origin(config, path), "%s: %s: %s; %s", path,
                            program, strerror(EISDIR), follows);
        } else {
                checker_warn_access(config, errors, path, program, X_OK, follows);
        }
}

/* That of a file which is to be made; @path "": none is. */
static void warn_folder(const Config *config, ConfigErrors *errors, const char *key,
                        const char *path, const char *follows) {
        const char *slash = strrchr(path, '/');
        char *folder = slash == NULL   ? NULL
                       : slash == path ? strdup("/")
                                       : strndup(path, (size_t)(slash - path));
        if (path[0] != '\0') {
                checker_warn_access(config, errors, key, folder != NULL ? folder : ".", W_OK | X_OK,
                                    follows);
        }
        free(folder);
}

void config_check_machine(const Config *config, ConfigErrors *errors) {
        const ConfigRestart *restart = &config->handlers.restart;
        const char *textfile = config->metrics.textfile;

        if (restart->enabled && restart->action == CONFIG_ACTION_EXEC) {
                check_exec_machine(config, errors, RESTART, &restart->exec,
                                   "no host can be restarted");
        }
        if (restart->enabled && restart->action == CONFIG_ACTION_HTTP) {
                check_http_machine(config, errors, RESTART, &restart->http,
                                   "no host can be restarted");
        }
        if (restart->enabled) {
                check_checks_machine(config, errors);
        }
        if (config->postgres.password_file[0] != '\0') {
                checker_warn_access(config, errors, "postgres.password_file",
                                    config->postgres.password_file, R_OK,
                                    "PostgreSQL cannot be reached");
        }
        warn_folder(config, errors, "metrics.textfile", textfile, "no metrics can be written");
        warn_folder(config, errors, "control.socket", config->control.socket,
                    "the daemon cannot start");
}

int config_check(Config *config, const bool *bad, const ConfigOrigin *whole, const char *librdkafka,
                 ConfigErrors *errors) {
        Checker checker = {.config = config, .bad = bad, .errors = errors};
        if (!config->handlers.save.enabled && !config->handlers.restart.enabled) {
                problem_add(&errors->errors, whole, "%s",
                            whole->kind == CONFIG_FROM_FILE
                                    ? "no handlers: nothing would be done with a message; allowed: "
                                      "at least one, such as handlers: {save: {}}"
                                    : "no configuration: there is no " CONFIG_FILE
                                      ", and no handler is named elsewhere; write it, or name "
                                      "another with -c FILE or ACKD_CONFIG. ackd.yaml in "
                                      "share/doc/ackd/examples (in the sources: config) is one to "
                                      "copy, with every key");
        }
        int r = config->handlers.restart.enabled ? check_restart(&checker) : 0;
        r = r == 0 ? check_consume(&checker) : r;
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
