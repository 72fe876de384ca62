#include "app/ledger_settings.h"

#include <stdlib.h>

#include "core/host.h"

bool ledger_settings_wanted(const Config *config) {
        const ConfigRestart *restart = &config->handlers.restart;
        return restart->enabled && restart->action != CONFIG_ACTION_DRY_RUN;
}

static const char *action_name(ConfigAction action) {
        switch (action) {
        case CONFIG_ACTION_EXEC:
                return "exec";
        case CONFIG_ACTION_HTTP:
                return "http";
        case CONFIG_ACTION_DRY_RUN:
                return "dry-run";
        }
        return "";
}

/* The longest that an action goes on: a request has a timeout of its own for all of it. */
static int64_t action_us(const ConfigRestart *restart) {
        switch (restart->action) {
        case CONFIG_ACTION_EXEC:
                return restart->exec.timeout_us + restart->exec.kill_after_us;
        case CONFIG_ACTION_HTTP:
                return restart->http.timeout_us;
        case CONFIG_ACTION_DRY_RUN:
                return 0;
        }
        return 0;
}

/* The end of a verification comes by its deadline. */
static int64_t verify_us(const ConfigRestart *restart) {
        return restart->verify.check.enabled ? restart->verify.deadline_us : 0;
}

/* The numbers are in the ranges of int32_t: config/keys.c. */
static LedgerPolicy make_policy(const ConfigRestart *restart) {
        return (LedgerPolicy){
                .action = action_name(restart->action),
                .cooldown_us = restart->cooldown_us,
                .max_age_us = restart->max_age_us,
                .max_wait_us = restart->max_wait_us,
                .start_within_us = LEDGER_START_WITHIN_US,
                .hold_us = action_us(restart) + verify_us(restart),
                .host_restarts = (int32_t)restart->per_host.restarts,
                .host_period_us = restart->per_host.period_us,
                .fleet = (int32_t)restart->fleet_concurrency,
                .fuse_restarts = (int32_t)restart->fuse.restarts,
                .fuse_period_us = restart->fuse.period_us,
        };
}

int ledger_settings_init(LedgerSettings *settings, const Config *config) {
        const ConfigRestart *restart = &config->handlers.restart;
        *settings = (LedgerSettings){.policy = make_policy(restart)};
        settings->groups = calloc(restart->groups.n + 1, sizeof(*settings->groups));
        if (settings->groups == NULL) {
                return error_origin(-ENOMEM);
        }
        for (size_t i = 0; i < restart->groups.n; i++) {
                const ConfigGroup *group = &restart->groups.items[i];
                settings->groups[i] = (LedgerGroup){.name = group->match,
                                                    .concurrency = (int32_t)group->concurrency,
                                                    .quiet_us = group->quiet_us};
        }
        settings->n_groups = restart->groups.n;
        return 0;
}

void ledger_settings_deinit(LedgerSettings *settings) {
        free(settings->groups);
        *settings = (LedgerSettings){0};
}

const LedgerGroup *ledger_settings_group(const LedgerSettings *settings, const char *host) {
        for (size_t i = 0; i < settings->n_groups; i++) {
                if (host_matches(settings->groups[i].name, host)) {
                        return &settings->groups[i];
                }
        }
        return NULL;
}
