#include <stdio.h>
#include <stdlib.h>

#include "config/checker.h"
#include "config/keys.h"
#include "config/problems.h"
#include "util/duration.h"

#define PRECHECK RESTART ".precheck"
#define VERIFY   RESTART ".verify"

enum {
        EXIT_STATUS_MAX = 255,
        HTTP_STATUS_MIN = 200,
};

/* Either is there, or the check is none of the two; what was refused is there. */
typedef struct Kind {
        bool exec, http;
} Kind;

static Kind kind_of(const Checker *checker, const char *section) {
        char argv[KEY_PATH], url[KEY_PATH];
        snprintf(argv, sizeof(argv), "%s.exec.argv", section);
        snprintf(url, sizeof(url), "%s.http.url", section);
        return (Kind){checker_is_given(checker, argv), checker_is_given(checker, url)};
}

/* Exactly one; *validp: so it is. -ENOMEM. */
static int check_kind(const Checker *checker, const char *section, const ConfigCheck *check,
                      bool *validp) {
        char url[KEY_PATH];
        Kind kind = kind_of(checker, section);
        *validp = kind.exec != kind.http;
        if (!kind.exec && !kind.http) {
                problem_add(&checker->errors->errors, checker_origin(checker->config, section),
                            "%s: there is neither an exec.argv nor an http.url in it; allowed: one "
                            "of the two, or {} for no check",
                            section);
        } else if (kind.exec && kind.http) {
                snprintf(url, sizeof(url), "%s.http.url", section);
                problem_add(&checker->errors->errors, checker_origin(checker->config, url),
                            "%s: there is an exec.argv too; allowed: one of the two", url);
        }
        check_exec(checker, section, &check->exec);
        check_code(checker, section, &check->exec);
        return check_http(checker, section, &check->http);
}

static int set_default(ConfigStatuses *statuses, int status) {
        int *items = calloc(1, sizeof(*items));
        if (items == NULL) {
                return error_origin(-ENOMEM);
        }
        items[0] = status;
        free(statuses->items);
        *statuses = (ConfigStatuses){.items = items, .n = 1};
        return 0;
}

/* The table has the defaults of exec, and one range for both. -ENOMEM. */
static int check_status(const Checker *checker, bool http, const char *path,
                        ConfigStatuses *statuses, int http_default) {
        const ConfigOrigin *origin = checker_origin(checker->config, path);
        if (!checker_is_given(checker, path)) {
                return http ? set_default(statuses, http_default) : 0;
        }
        for (size_t i = 0; checker_is_good(checker, path) && i < statuses->n; i++) {
                int status = statuses->items[i];
                if (http ? status < HTTP_STATUS_MIN : status > EXIT_STATUS_MAX) {
                        problem_add(&checker->errors->errors, origin,
                                    "%s: %d is no %s; allowed: %s", path, status,
                                    http ? "HTTP status" : "exit status",
                                    http ? "200 to 599" : "0 to 255");
                }
        }
        return 0;
}

static int check_precheck(const Checker *checker, ConfigPrecheck *precheck) {
        const CheckerStatuses lists[] = {
                {PRECHECK ".status.go", &precheck->status.go},
                {PRECHECK ".status.not_needed", &precheck->status.not_needed},
                {PRECHECK ".status.wait", &precheck->status.wait},
        };
        bool valid = false;
        int r = check_kind(checker, PRECHECK, &precheck->check, &valid);
        if (r != 0 || !valid) {
                return r;
        }
        bool http = kind_of(checker, PRECHECK).http;
        r = check_status(checker, http, lists[0].path, &precheck->status.go, 200);
        r = r == 0 ? check_status(checker, http, lists[1].path, &precheck->status.not_needed, 404)
                   : r;
        r = r == 0 ? check_status(checker, http, lists[2].path, &precheck->status.wait, 503) : r;
        if (r == 0) {
                checker_statuses(checker, lists, 3);
        }
        return r;
}

static void warn_deadline(const Checker *checker, const ConfigVerify *verify, bool http) {
        char deadline[DURATION_TEXT], other[DURATION_TEXT];
        ConfigProblems *warnings = &checker->errors->warnings;
        const ConfigOrigin *origin =
                checker_written(checker->config, VERIFY ".deadline", VERIFY ".interval");
        int64_t longest = http ? verify->check.http.timeout_us
                               : verify->check.exec.timeout_us + verify->check.exec.kill_after_us;
        duration_format(verify->deadline_us, deadline);
        if (!checker_is_good(checker, VERIFY ".deadline") ||
            !checker_is_good(checker, VERIFY ".interval")) {
                return;
        }
        if (verify->deadline_us < verify->interval_us) {
                problem_add(warnings, origin,
                            "%s.deadline: %s is shorter than interval (%s), so there is only one "
                            "look",
                            VERIFY, deadline, duration_format(verify->interval_us, other));
        }
        if (verify->deadline_us < longest && checker_is_good(checker, VERIFY ".exec.timeout") &&
            checker_is_good(checker, VERIFY ".exec.kill_after") &&
            checker_is_good(checker, VERIFY ".http.timeout")) {
                problem_add(warnings, checker_origin(checker->config, VERIFY ".deadline"),
                            "%s.deadline: %s is shorter than the timeout of the check%s (%s): a "
                            "look that hangs is given up, and the outcome of the restart is "
                            "unknown",
                            VERIFY, deadline, http ? "" : " with its kill_after",
                            duration_format(longest, other));
        }
}

static int check_verify(const Checker *checker, ConfigVerify *verify) {
        bool valid = false;
        int r = check_kind(checker, VERIFY, &verify->check, &valid);
        if (r != 0 || !valid) {
                return r;
        }
        bool http = kind_of(checker, VERIFY).http;
        warn_deadline(checker, verify, http);
        return check_status(checker, http, VERIFY ".status.done", &verify->status.done, 200);
}

int check_checks(const Checker *checker) {
        ConfigRestart *restart = &checker->config->handlers.restart;
        int r = 0;
        /* `precheck: {}` is none. */
        restart->precheck.check.enabled = checker_is_any_given(checker, PRECHECK);
        restart->verify.check.enabled = checker_is_any_given(checker, VERIFY);
        if (restart->precheck.check.enabled) {
                r = check_precheck(checker, &restart->precheck);
        }
        return r == 0 && restart->verify.check.enabled ? check_verify(checker, &restart->verify)
                                                       : r;
}

static void check_machine(const Config *config, ConfigErrors *errors, const char *section,
                          const ConfigCheck *check, const char *follows) {
        if (check->enabled && check->exec.argv != NULL) {
                check_exec_machine(config, errors, section, &check->exec, follows);
        } else if (check->enabled) {
                check_http_machine(config, errors, section, &check->http, follows);
        }
}

void check_checks_machine(const Config *config, ConfigErrors *errors) {
        const ConfigRestart *restart = &config->handlers.restart;
        check_machine(config, errors, PRECHECK, &restart->precheck.check, "every restart waits");
        check_machine(config, errors, VERIFY, &restart->verify.check, "no restart can be verified");
}
