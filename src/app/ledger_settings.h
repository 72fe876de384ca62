#pragma once

/*
 * What the ledger of restarts is asked with, made from the configuration: the limits, and which
 * group a host is in.
 */

#include <stdbool.h>
#include <stddef.h>

#include "config/config.h"
#include "pg/ledger.h"
#include "util/error.h"

typedef struct LedgerSettings {
        LedgerPolicy policy;
        LedgerGroup *groups; /* as in the configuration: the first that matches */
        size_t n_groups;
} LedgerSettings;

/* Whether restarts are asked of the ledger: hosts are restarted, and not only in words. */
bool ledger_settings_wanted(const Config *config);

/* When it is wanted. @config is borrowed for the life of @settings. -ENOMEM, and then it can be
 * deinitialized. */
MUST_CHECK int ledger_settings_init(LedgerSettings *settings, const Config *config);
void ledger_settings_deinit(LedgerSettings *settings);

/* Of a canonical host, for LedgerRequest.group; NULL: it is in none. */
const LedgerGroup *ledger_settings_group(const LedgerSettings *settings, const char *host);
