#pragma once

/*
 * The engine's configuration, made from the daemon's: what is only known here (the names of this
 * machine), and in the core's own types, since the core knows no configuration files.
 */

#include "config/config.h"
#include "core/engine.h"
#include "telemetry/log.h"
#include "util/error.h"

typedef struct EngineSettings {
        EngineConfig engine;
        /* What it points to, beside the Config. */
        char **self;
        MessageCondition *when;
        Window *windows;
} EngineSettings;

/* @config is borrowed for its life. May wait for the resolver, 2 s at most. Before the loop runs.
 * -ENOMEM, and then it can be deinitialized. */
MUST_CHECK int engine_settings_init(EngineSettings *settings, const Config *config, Log *log);
void engine_settings_deinit(EngineSettings *settings);
