#pragma once

/*
 * The key `groups` of restart-host: hosts that share a limit of the ledger. From YAML, back to
 * YAML, and away; value.h calls them for its key.
 */

#include "config/config.h"
#include "config/keys.h"
#include "config/problems.h"
#include "config/yaml.h"

/* Replaces what was there, or leaves it and says why: GUARDS_E_UNFIT, or -ENOMEM. */
MUST_CHECK int groups_set(ConfigGroups *groups, const Key *key, const Source *source,
                          const YamlNode *node);

/* On one line. */
MUST_CHECK int groups_print(const ConfigGroups *groups, Buffer *out);

void groups_free(ConfigGroups *groups);

/* The first group before the @nth whose pattern matches every host that the @nth one's does, as far
 * as can be seen; NULL: none. (That `*?` matches all that `a*` does is not seen.) */
const ConfigGroup *groups_shadow(const ConfigGroups *groups, size_t nth);
