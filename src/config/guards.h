#pragma once

/*
 * Two keys of restart-host that are tables of their own: `when` and `windows`. From YAML, back to
 * YAML, and away; value.h calls them for its keys. The third is in groups.h.
 */

#include "config/config.h"
#include "config/keys.h"
#include "config/problems.h"
#include "config/yaml.h"

enum {
        GUARDS_E_UNFIT = 1, /* said, as errors of the source */
};

/* What tables refuse, as errors at @node: GUARDS_E_UNFIT, or -ENOMEM. */
/* "PATH: WHAT; allowed: …", @what with what it is about; @allowed NULL: what the key allows. */
MUST_CHECK int guards_refuse(const Key *key, const Source *source, const YamlNode *node,
                             const char *what, const char *allowed);
/* The same of a value, in quotes, before @why. */
MUST_CHECK int guards_refuse_value(const Key *key, const Source *source, const YamlNode *node,
                                   const char *why, const char *allowed);
/* An unknown name in an entry, such as "a window", with the nearest of the @n known ones. */
MUST_CHECK int guards_refuse_name(const Key *key, const Source *source, const YamlNode *name,
                                  const char *entry, const char *const *names, size_t n);

/* An entry of a table, such as "a window": its parts by name, the first @required of which have to
 * be there. */
typedef struct GuardsEntry {
        const char *what;
        const char *const *names, *const *allowed;
        size_t n, required;
        /* One part. 0, GUARDS_E_UNFIT, -ENOMEM. */
        int (*set)(void *entry, size_t part, const Key *key, const Source *source,
                   const YamlNode *node);
} GuardsEntry;

/* Reads the parts of @entry, each of them also when another one is unfit. GUARDS_E_UNFIT, or
 * -ENOMEM. */
MUST_CHECK int guards_set_entry(void *entry, const GuardsEntry *parts, const Key *key,
                                const Source *source, const YamlNode *node);

/* Each replaces what was there, or leaves it and says why: GUARDS_E_UNFIT, or -ENOMEM. */
MUST_CHECK int guards_set_when(ConfigWhen *when, const Key *key, const Source *source,
                               const YamlNode *node);
MUST_CHECK int guards_set_windows(ConfigWindows *windows, const Key *key, const Source *source,
                                  const YamlNode *node);

/* On one line. */
MUST_CHECK int guards_print_when(const ConfigWhen *when, Buffer *out);
MUST_CHECK int guards_print_windows(const ConfigWindows *windows, Buffer *out);

void guards_free_when(ConfigWhen *when);
void guards_free_windows(ConfigWindows *windows);

/* The longest time of a week in which no window is open, in µs; what the clocks of their zones do
 * at a change is not counted. -1: they have several zones, nobody can say. 0: without windows. */
int64_t guards_longest_shut(const ConfigWindows *windows);
