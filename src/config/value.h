#pragma once

/*
 * The value of one key: from YAML into its field, from its field to YAML, and away.
 */

#include "config/config.h"
#include "config/keys.h"
#include "config/problems.h"
#include "config/yaml.h"

/* Reads @node into the key's field and frees what it held; what is wrong with it becomes errors of
 * @source, and then the field stays. Not for KEY_HANDLER and KEY_KAFKA. Negative only. */
MUST_CHECK int value_set(Config *config, const Key *key, const Source *source,
                         const YamlNode *node);

/* The number that a node of text spells, in the unit of the type: KEY_COUNT, KEY_SIZE or
 * KEY_DURATION; positive: none, and *@why is a static sentence part. Its range is the caller's. */
MUST_CHECK int value_parse_number(KeyType type, const YamlNode *node, int64_t *number,
                                  const char **why);

/* Reads @node into a setting of librdkafka's; a setting that ackd owns is an error. @where: the
 * node of its name. Negative only. */
MUST_CHECK int value_set_kafka(ConfigSettings *settings, const char *name, const Source *source,
                               const YamlNode *where, const YamlNode *node);
const ConfigSetting *value_find_kafka(const ConfigSettings *settings, const char *name);
void value_remove_kafka(ConfigSettings *settings, const char *name);

/* Adds the value as YAML on one line, masked. Not for KEY_HANDLER and KEY_KAFKA. */
MUST_CHECK int value_print(const Config *config, const Key *key, Buffer *out);

/* Adds @text in double quotes as YAML reads them, or as it is where that is the same text. */
MUST_CHECK int value_print_text(const char *text, Buffer *out);

void value_free(Config *config, const Key *key);

void value_free_list(char **list); /* ends with NULL; NULL is allowed */
