#include "config/guards.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "config/value.h"
#include "config/zones.h"

enum {
        WHEN_MAX = 100,
        WINDOWS_MAX = 100,
        MINUTE = 60,
        HOUR = 60 * MINUTE,
        DAY_MINUTES = 24 * 60,
        WEEK_DAYS = 7,
        WEEK_MINUTES = WEEK_DAYS * DAY_MINUTES,
};

static const char *const day_names[WEEK_DAYS] = {"mon", "tue", "wed", "thu", "fri", "sat", "sun"};

/* --- errors ------------------------------------------------------------------------------- */

/* "PATH: WHAT; allowed: …", @what with what it is about. */
int guards_refuse(const Key *key, const Source *source, const YamlNode *node, const char *what,
                  const char *allowed) {
        CLEANUP(buffer_deinit) Buffer expected = BUFFER_INIT;
        int r = allowed != NULL ? buffer_append_string(&expected, allowed)
                                : key_expected(key, &expected);
        const char *text = r == 0 ? buffer_string(&expected) : NULL;
        if (text == NULL) {
                return error_origin(-ENOMEM);
        }
        source_error(source, node, "%s: %s; allowed: %s", key->path, what, text);
        return GUARDS_E_UNFIT;
}

/* The same of a value, in quotes. */
int guards_refuse_value(const Key *key, const Source *source, const YamlNode *node, const char *why,
                        const char *allowed) {
        char what[PROBLEM_VALUE + 200], shown[PROBLEM_VALUE];
        snprintf(what, sizeof(what), "%s %s", problem_value(node->text, shown), why);
        return guards_refuse(key, source, node, what, allowed);
}

int guards_refuse_name(const Key *key, const Source *source, const YamlNode *name,
                       const char *entry, const char *const *names, size_t n) {
        CLEANUP(buffer_deinit) Buffer known = BUFFER_INIT;
        const char *near = NULL;
        unsigned least = 3; /* a slip or two */
        int r = 0;
        for (size_t i = 0; i < n && r == 0; i++) {
                unsigned distance = key_distance(names[i], name->text);
                if (distance < least && distance < strlen(name->text)) {
                        least = distance;
                        near = names[i];
                }
                r = buffer_printf(&known, " %s", names[i]);
        }
        const char *list = r == 0 ? buffer_string(&known) : NULL;
        if (list == NULL) {
                return error_origin(-ENOMEM);
        }
        char shown[PROBLEM_VALUE];
        source_error(source, name, "%s: unknown key %s; %s%s%sknown in %s:%s", key->path,
                     problem_value(name->text, shown), near != NULL ? "did you mean \"" : "",
                     near != NULL ? near : "", near != NULL ? "\"? " : "", entry, list);
        return GUARDS_E_UNFIT;
}

/* --- entries ------------------------------------------------------------------------------ */

static int require_parts(const GuardsEntry *parts, const YamlNode *node, const Key *key,
                         const Source *source) {
        int result = 0;
        for (size_t part = 0; part < parts->required; part++) {
                char what[64];
                bool given = false;
                for (size_t i = 0; i < node->n; i++) {
                        given = given || strcmp(parts->names[part], node->pairs[i].key->text) == 0;
                }
                snprintf(what, sizeof(what), "%s without %s", parts->what, parts->names[part]);
                int r = given ? 0 : guards_refuse(key, source, node, what, parts->allowed[part]);
                if (r < 0) {
                        return r;
                }
                result = r != 0 ? r : result;
        }
        return result;
}

int guards_set_entry(void *entry, const GuardsEntry *parts, const Key *key, const Source *source,
                     const YamlNode *node) {
        int result = 0;
        if (node->type != YAML_MAP) {
                return guards_refuse(key, source, node, yaml_describe(node), NULL);
        }
        for (size_t i = 0; i < node->n; i++) {
                const YamlPair *pair = &node->pairs[i];
                size_t part = 0;
                while (part < parts->n && strcmp(parts->names[part], pair->key->text) != 0) {
                        part++;
                }
                int r = part == parts->n ? guards_refuse_name(key, source, pair->key, parts->what,
                                                              parts->names, parts->n)
                                         : parts->set(entry, part, key, source, pair->value);
                if (r < 0) {
                        return r;
                }
                result = r != 0 ? r : result;
        }
        int r = require_parts(parts, node, key, source);
        return r != 0 ? r : result;
}

/* --- when --------------------------------------------------------------------------------- */

void guards_free_when(ConfigWhen *when) {
        for (size_t i = 0; i < when->n; i++) {
                free(when->items[i].path);
                free(when->items[i].text);
        }
        free(when->items);
        *when = (ConfigWhen){0};
}

/* JSON's grammar; any other text in a message is no number. */
static bool is_number(const char *p) {
        size_t digits;
        p += *p == '-';
        digits = strspn(p, "0123456789");
        if (digits == 0 || (*p == '0' && digits > 1)) {
                return false;
        }
        p += digits;
        if (*p == '.') {
                digits = strspn(p + 1, "0123456789");
                p += digits + 1;
                if (digits == 0) {
                        return false;
                }
        }
        if (*p == 'e' || *p == 'E') {
                p += 1 + (p[1] == '+' || p[1] == '-');
                digits = strspn(p, "0123456789");
                p += digits;
                return digits > 0 && *p == '\0';
        }
        return *p == '\0';
}

static ConfigWhenType type_of(const YamlNode *node) {
        if (node->type == YAML_NONE) {
                return CONFIG_WHEN_NULL;
        }
        if (node->quoted) {
                return CONFIG_WHEN_TEXT;
        }
        return strcmp(node->text, "true") == 0    ? CONFIG_WHEN_TRUE
               : strcmp(node->text, "false") == 0 ? CONFIG_WHEN_FALSE
               : is_number(node->text)            ? CONFIG_WHEN_NUMBER
                                                  : CONFIG_WHEN_TEXT;
}

static int set_condition(ConfigCondition *item, const Key *key, const Source *source,
                         const YamlPair *pair) {
        const char *path = pair->key->text;
        size_t size = strlen(path);
        if (size == 0 || path[0] == '.' || path[size - 1] == '.' || strstr(path, "..") != NULL) {
                return guards_refuse_value(key, source, pair->key,
                                           "is no dotted path into a message", NULL);
        }
        if (pair->value->type == YAML_LIST || pair->value->type == YAML_MAP) {
                char what[PROBLEM_VALUE + 60], shown[PROBLEM_VALUE];
                snprintf(what, sizeof(what), "%s %s", problem_value(path, shown),
                         yaml_describe(pair->value));
                return guards_refuse(
                        key, source, pair->value, what,
                        "text, a number, true, false or null; a field below another is "
                        "named by a dotted path, such as target.type");
        }
        item->path = strdup(path);
        item->type = type_of(pair->value);
        item->text = strdup(pair->value->type == YAML_TEXT ? pair->value->text : "");
        return item->path == NULL || item->text == NULL ? error_origin(-ENOMEM) : 0;
}

int guards_set_when(ConfigWhen *when, const Key *key, const Source *source, const YamlNode *node) {
        if (node->type != YAML_MAP) {
                return guards_refuse(key, source, node, yaml_describe(node), NULL);
        }
        if (node->n > WHEN_MAX) {
                return guards_refuse(key, source, node, "has over 100 fields", "fewer");
        }
        CLEANUP(guards_free_when)
        ConfigWhen made = {.items = calloc(node->n + 1, sizeof(*made.items))};
        if (made.items == NULL) {
                return error_origin(-ENOMEM);
        }
        int result = 0;
        for (size_t i = 0; i < node->n; i++) {
                int r = set_condition(&made.items[made.n++], key, source, &node->pairs[i]);
                if (r < 0) {
                        return r;
                }
                result = r != 0 ? r : result;
        }
        if (result == 0) {
                ConfigWhen before = *when;
                *when = made;
                made = before;
        }
        return result;
}

int guards_print_when(const ConfigWhen *when, Buffer *out) {
        int r = buffer_append_char(out, '{');
        for (size_t i = 0; i < when->n && r == 0; i++) {
                const ConfigCondition *item = &when->items[i];
                r = i > 0 ? buffer_append_string(out, ", ") : 0;
                r = r == 0 ? value_print_text(item->path, out) : r;
                r = r == 0 ? buffer_append_string(out, ": ") : r;
                if (r != 0) {
                        break;
                }
                switch (item->type) {
                case CONFIG_WHEN_NULL:
                        r = buffer_append_string(out, "null");
                        break;
                case CONFIG_WHEN_FALSE:
                case CONFIG_WHEN_TRUE:
                case CONFIG_WHEN_NUMBER:
                        r = buffer_append_string(out, item->text);
                        break;
                case CONFIG_WHEN_TEXT:
                        r = value_print_text(item->text, out);
                        break;
                }
        }
        return r == 0 ? buffer_append_char(out, '}') : r;
}

/* --- windows ------------------------------------------------------------------------------ */

#define DAYS_ALLOWED  "days of the week, such as mon-fri or sat,sun"
#define TIMES_ALLOWED "a time of the day, 00:00 to 23:59"
#define TO_ALLOWED    "a time of the day, 00:00 to 24:00"
#define ZONE_ALLOWED  "a zone, such as Europe/Berlin or UTC"

static void free_window(ConfigWindow *window) {
        free(window->zone);
        zone_free(window->data);
}

void guards_free_windows(ConfigWindows *windows) {
        for (size_t i = 0; i < windows->n; i++) {
                free_window(&windows->items[i]);
        }
        free(windows->items);
        *windows = (ConfigWindows){0};
}

/* The day that @text begins with; -1: none. */
static int day_at(const char *text) {
        for (int i = 0; i < WEEK_DAYS; i++) {
                if (strncasecmp(text, day_names[i], 3) == 0) {
                        return i;
                }
        }
        return -1;
}

/* mon-fri | sat,sun | fri-mon,wed */
static bool parse_days(const char *p, unsigned *days) {
        unsigned found = 0;
        for (;;) {
                p += strspn(p, " ");
                int first = day_at(p), last = first;
                if (first < 0) {
                        return false;
                }
                p += 3;
                if (*p == '-') {
                        last = day_at(p + 1);
                        p += 4;
                }
                if (last < 0) {
                        return false;
                }
                for (int day = first;; day = (day + 1) % WEEK_DAYS) {
                        found |= 1u << day;
                        if (day == last) {
                                break;
                        }
                }
                p += strspn(p, " ");
                if (*p == '\0') {
                        *days = found;
                        return true;
                }
                if (*p++ != ',') {
                        return false;
                }
        }
}

/* 22:00, in seconds. */
static bool parse_time(const char *p, bool may_be_24, int32_t *seconds) {
        if (strlen(p) != 5 || p[2] != ':' || !isdigit((unsigned char)p[0]) ||
            !isdigit((unsigned char)p[1]) || !isdigit((unsigned char)p[3]) ||
            !isdigit((unsigned char)p[4])) {
                return false;
        }
        int hours = (p[0] - '0') * 10 + p[1] - '0', minutes = (p[3] - '0') * 10 + p[4] - '0';
        *seconds = hours * HOUR + minutes * MINUTE;
        return minutes < 60 && (hours < 24 || (may_be_24 && hours == 24 && minutes == 0));
}

typedef enum Part {
        PART_DAYS,
        PART_FROM,
        PART_TO,
        PART_ZONE,
        PARTS,
} Part;

static const char *const part_names[PARTS] = {
        [PART_DAYS] = "days",
        [PART_FROM] = "from",
        [PART_TO] = "to",
        [PART_ZONE] = "zone",
};

static const char *const part_allowed[PARTS] = {
        [PART_DAYS] = DAYS_ALLOWED,
        [PART_FROM] = TIMES_ALLOWED,
        [PART_TO] = TO_ALLOWED,
        [PART_ZONE] = ZONE_ALLOWED,
};

static int set_zone(ConfigWindow *window, const Key *key, const Source *source,
                    const YamlNode *node) {
        CLEANUP(buffer_deinit) Buffer why = BUFFER_INIT;
        int r = zones_load(&window->data, node->text, &why);
        const char *text = buffer_string(&why);
        if (r < 0 || text == NULL) {
                return error_origin(-ENOMEM);
        }
        if (r > 0) {
                return guards_refuse_value(key, source, node, text, ZONE_ALLOWED);
        }
        window->zone = strdup(node->text);
        return window->zone == NULL ? error_origin(-ENOMEM) : 0;
}

static int set_part(void *entry, size_t part, const Key *key, const Source *source,
                    const YamlNode *node) {
        ConfigWindow *window = entry;
        bool good = false;
        if (node->type != YAML_TEXT) {
                char what[64];
                snprintf(what, sizeof(what), "%s %s", part_names[part], yaml_describe(node));
                return guards_refuse(key, source, node, what, part_allowed[part]);
        }
        switch ((Part)part) {
        case PART_DAYS:
                good = parse_days(node->text, &window->days);
                break;
        case PART_FROM:
                good = parse_time(node->text, false, &window->from_s);
                break;
        case PART_TO:
                good = parse_time(node->text, true, &window->to_s);
                break;
        case PART_ZONE:
                return set_zone(window, key, source, node);
        case PARTS:
                break;
        }
        char why[64];
        snprintf(why, sizeof(why), "is nothing for %s", part_names[part]);
        return good ? 0 : guards_refuse_value(key, source, node, why, part_allowed[part]);
}

static int set_window(ConfigWindow *window, const Key *key, const Source *source,
                      const YamlNode *node) {
        static const GuardsEntry parts = {.what = "a window",
                                          .names = part_names,
                                          .allowed = part_allowed,
                                          .n = PARTS,
                                          .required = PARTS,
                                          .set = set_part};
        int result = guards_set_entry(window, &parts, key, source, node);
        if (result == 0 && window->from_s == window->to_s) {
                return guards_refuse(key, source, node, "a window whose from and to are the same",
                                     "two times; a whole day is from: \"00:00\", to: \"24:00\"");
        }
        return result;
}

int guards_set_windows(ConfigWindows *windows, const Key *key, const Source *source,
                       const YamlNode *node) {
        if (node->type != YAML_LIST) {
                return guards_refuse(key, source, node, yaml_describe(node), NULL);
        }
        if (node->n > WINDOWS_MAX) {
                return guards_refuse(key, source, node, "has over 100 windows", "fewer");
        }
        CLEANUP(guards_free_windows)
        ConfigWindows made = {.items = calloc(node->n + 1, sizeof(*made.items))};
        if (made.items == NULL) {
                return error_origin(-ENOMEM);
        }
        int result = 0;
        for (size_t i = 0; i < node->n; i++) {
                int r = set_window(&made.items[made.n++], key, source, node->items[i]);
                if (r < 0) {
                        return r;
                }
                result = r != 0 ? r : result;
        }
        if (result == 0) {
                ConfigWindows before = *windows;
                *windows = made;
                made = before;
        }
        return result;
}

/* mon-wed,fri */
static int print_days(unsigned days, Buffer *out) {
        const char *comma = "";
        for (int day = 0; day < WEEK_DAYS; day++) {
                int last = day;
                if ((days >> day & 1) == 0) {
                        continue;
                }
                while (last + 1 < WEEK_DAYS && (days >> (last + 1) & 1) != 0) {
                        last++;
                }
                int r = buffer_printf(out, "%s%s%s%s", comma, day_names[day], last > day ? "-" : "",
                                      last > day ? day_names[last] : "");
                if (r != 0) {
                        return r;
                }
                comma = ",";
                day = last;
        }
        return 0;
}

int guards_print_windows(const ConfigWindows *windows, Buffer *out) {
        int r = buffer_append_char(out, '[');
        for (size_t i = 0; i < windows->n && r == 0; i++) {
                const ConfigWindow *window = &windows->items[i];
                r = buffer_append_string(out, i > 0 ? ", {days: \"" : "{days: \"");
                r = r == 0 ? print_days(window->days, out) : r;
                r = r == 0 ? buffer_printf(out,
                                           "\", from: \"%02d:%02d\", to: \"%02d:%02d\", zone: ",
                                           window->from_s / HOUR, window->from_s / MINUTE % 60,
                                           window->to_s / HOUR, window->to_s / MINUTE % 60)
                           : r;
                r = r == 0 ? value_print_text(window->zone, out) : r;
                r = r == 0 ? buffer_append_char(out, '}') : r;
        }
        return r == 0 ? buffer_append_char(out, ']') : r;
}

int64_t guards_longest_shut(const ConfigWindows *windows) {
        bool open[WEEK_MINUTES] = {false};
        int longest = 0, shut = 0;
        for (size_t i = 0; i < windows->n; i++) {
                const ConfigWindow *window = &windows->items[i];
                int minutes = (window->to_s - window->from_s) / MINUTE;
                minutes += minutes < 0 ? DAY_MINUTES : 0;
                if (strcmp(window->zone, windows->items[0].zone) != 0) {
                        return -1;
                }
                for (int day = 0; day < WEEK_DAYS; day++) {
                        int from = day * DAY_MINUTES + window->from_s / MINUTE;
                        for (int m = 0; (window->days >> day & 1) != 0 && m < minutes; m++) {
                                open[(from + m) % WEEK_MINUTES] = true;
                        }
                }
        }
        /* Twice, for what lasts over the week's end. */
        for (int m = 0; windows->n > 0 && m < 2 * WEEK_MINUTES; m++) {
                shut = open[m % WEEK_MINUTES] ? 0 : shut + 1;
                longest = shut > longest ? shut : longest;
        }
        return (int64_t)longest * MINUTE * 1000000;
}
