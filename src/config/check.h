#pragma once

/*
 * What no single value can say: what is missing, what contradicts, what will hurt.
 */

#include "config/config.h"

/* @bad: the keys, by index, whose value was refused; nothing is said about them again. @whole: the
 * file. @librdkafka: as in ConfigSources. Works out `auto` and the instance's name. Negative only.
 */
MUST_CHECK int config_check(Config *config, const bool *bad, const ConfigOrigin *whole,
                            const char *librdkafka, ConfigErrors *errors);
