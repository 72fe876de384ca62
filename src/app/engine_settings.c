#include "app/engine_settings.h"

#include <stdlib.h>
#include <string.h>

#include "app/action.h"
#include "app/ledger_settings.h"
#include "app/machine.h"
#include "util/buffer.h"

static OnUnknown on_unknown(ConfigOnUnknown value) {
        switch (value) {
        case CONFIG_ON_UNKNOWN_REJECT:
                return ON_UNKNOWN_REJECT;
        case CONFIG_ON_UNKNOWN_RETRY:
                return ON_UNKNOWN_RETRY;
        case CONFIG_ON_UNKNOWN_DONE:
                return ON_UNKNOWN_DONE;
        }
        return ON_UNKNOWN_REJECT;
}

static void configure(EngineConfig *engine, const Config *config) {
        const ConfigRestart *restart = &config->handlers.restart;
        *engine = (EngineConfig){
                .format = {.host = config->message.host,
                           .id = config->message.id,
                           .requested_at = config->message.requested_at},
                .start_latest = config->consume.start == CONFIG_START_LATEST,
                .save = config->handlers.save.enabled,
                .restart = restart->enabled,
                .allow = (const char *const *)restart->allow,
                .deny = (const char *const *)restart->deny,
                .max_wait_us = restart->max_wait_us,
                .on_unknown = on_unknown(restart->on_unknown),
                .ledger = ledger_settings_wanted(config),
                .check = restart->precheck.check.enabled || restart->verify.check.enabled,
                .verify = restart->verify.check.enabled,
                .verify_deadline_us = restart->verify.deadline_us,
                .cooldown_us = restart->cooldown_us,
                /* A dry run takes no time: a slot would only slow it down. */
                .concurrency = restart->action == CONFIG_ACTION_DRY_RUN ? 0 : restart->concurrency,
                .in_flight = config->limits.in_flight,
                .in_flight_bytes = config->limits.in_flight_bytes,
                .waiting = config->limits.waiting,
                .ack_gap = config->limits.ack_gap,
                .keep_payload = action_reads_payload(restart),
                .message_bytes = config->limits.message_bytes,
                .batches = config->postgres.connections,
                .batch_rows = config->postgres.batch_rows,
                .batch_bytes = config->postgres.batch_bytes,
                .attempts = (int)config->retry.attempts,
                .backoff_us = config->retry.backoff_us,
                .backoff_max_us = config->retry.backoff_max_us,
                .commit_interval_us = config->consume.commit_interval_us,
                .drain_us = 5 * 1000000, /* of max.poll.interval.ms, which a revoke may take */
        };
}

static MessageType message_type(ConfigWhenType type) {
        switch (type) {
        case CONFIG_WHEN_NULL:
                return MESSAGE_NULL;
        case CONFIG_WHEN_FALSE:
                return MESSAGE_FALSE;
        case CONFIG_WHEN_TRUE:
                return MESSAGE_TRUE;
        case CONFIG_WHEN_NUMBER:
                return MESSAGE_NUMBER;
        case CONFIG_WHEN_TEXT:
                return MESSAGE_TEXT;
        }
        return MESSAGE_TEXT;
}

static int make_tables(EngineSettings *settings, const ConfigRestart *restart) {
        settings->when = calloc(restart->when.n + 1, sizeof(*settings->when));
        settings->windows = calloc(restart->windows.n + 1, sizeof(*settings->windows));
        if (settings->when == NULL || settings->windows == NULL) {
                return error_origin(-ENOMEM);
        }
        for (size_t i = 0; i < restart->when.n; i++) {
                const ConfigCondition *item = &restart->when.items[i];
                settings->when[i] = (MessageCondition){.path = item->path,
                                                       .type = message_type(item->type),
                                                       .text = item->text};
        }
        for (size_t i = 0; i < restart->windows.n; i++) {
                const ConfigWindow *window = &restart->windows.items[i];
                settings->windows[i] = (Window){.days = window->days,
                                                .from = window->from_s,
                                                .to = window->to_s,
                                                .zone = window->data};
        }
        settings->engine.when = settings->when;
        settings->engine.n_when = restart->when.n;
        settings->engine.windows = settings->windows;
        settings->engine.n_windows = restart->windows.n;
        return 0;
}

static int find_self(EngineSettings *settings, Log *log) {
        CLEANUP(buffer_deinit) Buffer list = BUFFER_INIT;
        bool complete = true;
        int r = machine_names(&settings->self, &complete);
        if (r != 0) {
                return r;
        }
        settings->engine.self = (const char *const *)settings->self;
        for (char **name = settings->self; *name != NULL && r == 0; name++) {
                r = buffer_printf(&list, "%s%s", name == settings->self ? "" : ", ", *name);
        }
        const char *text = r == 0 ? buffer_string(&list) : NULL;
        if (text == NULL) {
                return error_origin(-ENOMEM);
        }
        log_info(log, "restart.self", FIELDS(),
                 "this machine is not restarted (allow_self: false): %s, and whatever means "
                 "localhost",
                 text);
        if (!complete) {
                log_warning(log, "restart.self", FIELDS(),
                            "the resolver does not say what this machine's full name is: a request "
                            "that names it so is not known to mean this machine; add the name to "
                            "handlers.restart-host.deny");
        }
        return 0;
}

int engine_settings_init(EngineSettings *settings, const Config *config, Log *log) {
        const ConfigRestart *restart = &config->handlers.restart;
        *settings = (EngineSettings){0};
        configure(&settings->engine, config);
        int r = restart->enabled ? make_tables(settings, restart) : 0;
        bool spare = restart->enabled && restart->allow_self == CONFIG_FALSE;
        return r == 0 && spare ? find_self(settings, log) : r;
}

void engine_settings_deinit(EngineSettings *settings) {
        machine_names_free(settings->self);
        free(settings->when);
        free(settings->windows);
        *settings = (EngineSettings){0};
}
