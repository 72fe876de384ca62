#include "config/groups.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "config/guards.h"
#include "config/value.h"
#include "util/duration.h"

enum {
        GROUPS_MAX = 100,
        CONCURRENCY_MAX = 1000000, /* the ledger's is an int32_t */
};

#define QUIET_MAX_US (INT64_C(366) * 24 * 3600 * 1000000)

#define MATCH_ALLOWED       "a glob on canonical names, such as \"etcd-*\""
#define CONCURRENCY_ALLOWED "a whole number, 0 to 1000000 (0: no limit)"
#define QUIET_ALLOWED       "a duration, 0s to 366d"

typedef enum Part {
        PART_MATCH,
        PART_CONCURRENCY,
        PART_QUIET_TIME,
        PARTS,
} Part;

static const char *const part_names[PARTS] = {
        [PART_MATCH] = "match",
        [PART_CONCURRENCY] = "concurrency",
        [PART_QUIET_TIME] = "quiet_time",
};

static const char *const part_allowed[PARTS] = {
        [PART_MATCH] = MATCH_ALLOWED,
        [PART_CONCURRENCY] = CONCURRENCY_ALLOWED,
        [PART_QUIET_TIME] = QUIET_ALLOWED,
};

void groups_free(ConfigGroups *groups) {
        for (size_t i = 0; i < groups->n; i++) {
                free(groups->items[i].match);
        }
        free(groups->items);
        *groups = (ConfigGroups){0};
}

/* In lower case: the pattern is the group's name in the ledger, and two instances that spell it in
 * two ways would count apart. */
static int set_match(ConfigGroup *group, const Key *key, const Source *source,
                     const YamlNode *node) {
        CLEANUP(buffer_deinit) Buffer why = BUFFER_INIT;
        int r = key_check_glob(node->text, 0, &why);
        const char *text = buffer_string(&why);
        if (r < 0 || text == NULL) {
                return error_origin(-ENOMEM);
        }
        if (r > 0) {
                return guards_refuse_value(key, source, node, text, MATCH_ALLOWED);
        }
        group->match = strdup(node->text);
        if (group->match == NULL) {
                return error_origin(-ENOMEM);
        }
        for (char *p = group->match; *p != '\0'; p++) {
                *p = (char)tolower((unsigned char)*p);
        }
        group->origin = source_origin(source, node);
        return 0;
}

static int get_number(int64_t *number, KeyType type, int64_t max, Part part, const Key *key,
                      const Source *source, const YamlNode *node) {
        const char *reason = NULL;
        int64_t value = 0;
        int r = value_parse_number(type, node, &value, &reason);
        if (r < 0) {
                return r;
        }
        if (r == 0 && value >= 0 && value <= max) {
                *number = value;
                return 0;
        }
        char why[200];
        snprintf(why, sizeof(why), "is nothing for %s: it %s", part_names[part],
                 r > 0 ? reason : "is out of range");
        return guards_refuse_value(key, source, node, why, part_allowed[part]);
}

static int set_part(void *entry, size_t part, const Key *key, const Source *source,
                    const YamlNode *node) {
        ConfigGroup *group = entry;
        int64_t concurrency = 0;
        int r = 0;
        if (node->type != YAML_TEXT) {
                char what[64];
                snprintf(what, sizeof(what), "%s %s", part_names[part], yaml_describe(node));
                return guards_refuse(key, source, node, what, part_allowed[part]);
        }
        switch ((Part)part) {
        case PART_MATCH:
                return set_match(group, key, source, node);
        case PART_CONCURRENCY:
                r = get_number(&concurrency, KEY_COUNT, CONCURRENCY_MAX, PART_CONCURRENCY, key,
                               source, node);
                group->concurrency = (size_t)concurrency;
                return r;
        case PART_QUIET_TIME:
                return get_number(&group->quiet_us, KEY_DURATION, QUIET_MAX_US, PART_QUIET_TIME,
                                  key, source, node);
        case PARTS:
                break;
        }
        return error_origin(-EINVAL);
}

/* concurrency has no default: with quiet_time alone all restarts of a group could begin at once,
 * until the first of them ends, and whoever wants that has to say so. */
static int set_group(ConfigGroup *group, const Key *key, const Source *source,
                     const YamlNode *node) {
        static const GuardsEntry parts = {.what = "a group",
                                          .names = part_names,
                                          .allowed = part_allowed,
                                          .n = PARTS,
                                          .required = PART_CONCURRENCY + 1,
                                          .set = set_part};
        int result = guards_set_entry(group, &parts, key, source, node);
        if (result == 0 && group->concurrency == 0 && group->quiet_us == 0) {
                return guards_refuse(key, source, node,
                                     "a group with neither a concurrency nor a quiet_time limits "
                                     "nothing",
                                     "a concurrency from 1 on, a quiet_time, or both");
        }
        return result;
}

static int refuse_twice(const ConfigGroups *groups, const Key *key, const Source *source) {
        const ConfigGroup *last = &groups->items[groups->n - 1];
        for (size_t i = 0; last->match != NULL && i + 1 < groups->n; i++) {
                char shown[PROBLEM_VALUE];
                if (groups->items[i].match == NULL ||
                    strcmp(groups->items[i].match, last->match) != 0) {
                        continue;
                }
                problem_add(&source->errors->errors, &last->origin,
                            "%s: %s stands in a group before this one, which could never match; "
                            "allowed: each pattern once",
                            key->path, problem_value(last->match, shown));
                return GUARDS_E_UNFIT;
        }
        return 0;
}

int groups_set(ConfigGroups *groups, const Key *key, const Source *source, const YamlNode *node) {
        if (node->type != YAML_LIST) {
                return guards_refuse(key, source, node, yaml_describe(node), NULL);
        }
        if (node->n > GROUPS_MAX) {
                return guards_refuse(key, source, node, "has over 100 groups", "fewer");
        }
        CLEANUP(groups_free)
        ConfigGroups made = {.items = calloc(node->n + 1, sizeof(*made.items))};
        if (made.items == NULL) {
                return error_origin(-ENOMEM);
        }
        int result = 0;
        for (size_t i = 0; i < node->n; i++) {
                int r = set_group(&made.items[made.n++], key, source, node->items[i]);
                if (r < 0) {
                        return r;
                }
                result = r != 0 ? r : result;
                r = refuse_twice(&made, key, source);
                result = r != 0 ? r : result;
        }
        if (result == 0) {
                ConfigGroups before = *groups;
                *groups = made;
                made = before;
        }
        return result;
}

int groups_print(const ConfigGroups *groups, Buffer *out) {
        int r = buffer_append_char(out, '[');
        for (size_t i = 0; i < groups->n && r == 0; i++) {
                const ConfigGroup *group = &groups->items[i];
                char quiet[DURATION_TEXT];
                r = buffer_append_string(out, i > 0 ? ", {match: " : "{match: ");
                r = r == 0 ? value_print_text(group->match, out) : r;
                r = r == 0 ? buffer_printf(out, ", concurrency: %zu", group->concurrency) : r;
                if (r == 0 && group->quiet_us > 0) {
                        r = buffer_printf(out, ", quiet_time: %s",
                                          duration_format(group->quiet_us, quiet));
                }
                r = r == 0 ? buffer_append_char(out, '}') : r;
        }
        return r == 0 ? buffer_append_char(out, ']') : r;
}

/* Whether @outer matches whatever @inner does: it has to match the pattern itself, where what
 * stands for many is taken only by what stands for as many. */
static bool covers(const char *outer, const char *inner) {
        const char *star = NULL;  /* behind the newest star of @outer */
        const char *taken = NULL; /* the first byte of @inner that it does not take */
        while (*inner != '\0') {
                if (*outer == '*') {
                        star = ++outer;
                        taken = inner;
                } else if (*inner != '*' && (*outer == '?' || *outer == *inner)) {
                        outer++;
                        inner++;
                } else if (star != NULL) {
                        outer = star;
                        inner = ++taken;
                } else {
                        return false;
                }
        }
        return outer[strspn(outer, "*")] == '\0';
}

const ConfigGroup *groups_shadow(const ConfigGroups *groups, size_t nth) {
        for (size_t i = 0; i < nth; i++) {
                if (covers(groups->items[i].match, groups->items[nth].match)) {
                        return &groups->items[i];
                }
        }
        return NULL;
}
