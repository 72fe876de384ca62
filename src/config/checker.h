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

/* The limits of restart-host that the ledger keeps: warnings only. */
void check_ledger(const Checker *checker);

/* Placeholders of exec.argv that become code: warnings only. */
void check_code(const Checker *checker);

/* handlers.restart-host.http. -ENOMEM. */
MUST_CHECK int check_http(const Checker *checker);
void check_http_machine(const Config *config, ConfigErrors *errors);
