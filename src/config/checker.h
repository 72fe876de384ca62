#pragma once

/* What the checks of more than one key share; check.c has them, and those of a section of its own
 * stand in a file of its own. */

#include "config/config.h"

#define RESTART "handlers.restart-host"

typedef struct Checker {
        Config *config;
        const bool *bad; /* of each key: it was refused, and this is not said again */
        ConfigErrors *errors;
} Checker;

const ConfigOrigin *checker_origin(const Config *config, const char *path);
bool checker_is_good(const Checker *checker, const char *path);
/* Somebody wrote it, even if it was refused. */
bool checker_is_given(const Checker *checker, const char *path);
/* Of two that contradict, the one that somebody wrote. */
const ConfigOrigin *checker_written(const Config *config, const char *a, const char *b);
/* An error when it is not given. -ENOMEM. */
MUST_CHECK int checker_require(const Checker *checker, const char *path);

typedef struct CheckerStatuses {
        const char *path;
        const ConfigStatuses *statuses;
} CheckerStatuses;

/* A status that means two things means nothing: an error. */
void checker_statuses(const Checker *checker, const CheckerStatuses *lists, size_t n);

/* Warns when @path, the value of @key, cannot be used so (R_OK, …), and of what follows. */
void checker_warn_access(const Config *config, ConfigErrors *errors, const char *key,
                         const char *path, int mode, const char *follows);

/* The topics: none may be the one that dead letters go to. -ENOMEM. */
MUST_CHECK int check_consume(const Checker *checker);

/* The limits of restart-host that the ledger keeps: warnings only. */
void check_ledger(const Checker *checker);

/* Placeholders of an exec.argv that become code: warnings only. As check_exec(). */
void check_code(const Checker *checker, const char *section, const ConfigExec *exec);

/* What is given below a section. */
bool checker_is_any_given(const Checker *checker, const char *section);

/* A command, that of the action or of a check; @section: its path without the ".exec". The second
 * is for config_check_machine(), @follows: what comes of it when it cannot be run. */
void check_exec(const Checker *checker, const char *section, const ConfigExec *exec);
void check_exec_machine(const Config *config, ConfigErrors *errors, const char *section,
                        const ConfigExec *exec, const char *follows);

/* The same for a request. -ENOMEM. */
MUST_CHECK int check_http(const Checker *checker, const char *section, const ConfigHttp *http);
void check_http_machine(const Config *config, ConfigErrors *errors, const char *section,
                        const ConfigHttp *http, const char *follows);

/* precheck and verify of restart-host; works out what statuses are by default. -ENOMEM. */
MUST_CHECK int check_checks(const Checker *checker);
void check_checks_machine(const Config *config, ConfigErrors *errors);
