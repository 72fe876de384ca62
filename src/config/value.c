#include "config/value.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "config/groups.h"
#include "config/guards.h"
#include "util/duration.h"
#include "util/http_template.h"

DEFINE_CLEANUP(char **, value_free_list)

static void *field(const Config *config, const Key *key) {
        return (char *)config + key->offset;
}

void value_free_list(char **list) {
        for (size_t i = 0; list != NULL && list[i] != NULL; i++) {
                free(list[i]);
        }
        free(list);
}

/* "PATH: WHAT; allowed: …". What already says how it should be has a semicolon. */
static int refuse(const Key *key, const Source *source, const YamlNode *node, const char *what) {
        CLEANUP(buffer_deinit) Buffer expected = BUFFER_INIT;
        int r = strchr(what, ';') == NULL ? buffer_append_string(&expected, "; allowed: ") : 0;
        if (r == 0 && expected.size > 0) {
                r = key_expected(key, &expected);
        }
        const char *text = buffer_string(&expected);
        if (r != 0 || text == NULL) {
                return error_origin(-ENOMEM);
        }
        source_error(source, node, "%s: %s%s", key->path, what, text);
        return KEY_E_UNFIT;
}

static int refuse_type(const Key *key, const Source *source, const YamlNode *node) {
        if (node->type == YAML_MAP && (key->type == KEY_TEXT || key->type == KEY_LIST)) {
                return refuse(key, source, node,
                              "is a section where text is expected; text that holds \": \" or "
                              "begins with {{ needs quotes");
        }
        return refuse(key, source, node, yaml_describe(node));
}

/* The value, in quotes, before @why. */
static int refuse_value(const Key *key, const Source *source, const YamlNode *node,
                        const char *why) {
        CLEANUP(buffer_deinit) Buffer what = BUFFER_INIT;
        char shown[PROBLEM_VALUE];
        int r = buffer_printf(&what, "%s %s", problem_value(node->text, shown), why);
        const char *text = buffer_string(&what);
        if (r != 0 || text == NULL) {
                return error_origin(-ENOMEM);
        }
        return refuse(key, source, node, text);
}

static int check_text(const Key *key, const Source *source, const YamlNode *node, const char *text,
                      size_t index) {
        if (key->check == NULL) {
                return 0;
        }
        CLEANUP(buffer_deinit) Buffer why = BUFFER_INIT;
        int r = key->check(text, index, &why);
        if (r <= 0) {
                return r;
        }
        const char *reason = buffer_string(&why);
        if (reason == NULL) {
                return error_origin(-ENOMEM);
        }
        return node->type == YAML_NONE ? refuse(key, source, node, reason)
                                       : refuse_value(key, source, node, reason);
}

static int set_text(Config *config, const Key *key, const Source *source, const YamlNode *node) {
        /* ACKD__INSTANCE= is how an environment says "empty". */
        bool empty = node->type == YAML_NONE && source->origin.kind != CONFIG_FROM_FILE;
        if (node->type != YAML_TEXT && !empty) {
                return refuse_type(key, source, node);
        }
        const char *text = empty ? "" : node->text;
        int r = check_text(key, source, node, text, 0);
        if (r != 0) {
                return r;
        }
        char *copy = strdup(text);
        if (copy == NULL) {
                return error_origin(-ENOMEM);
        }
        char **slot = field(config, key);
        free(*slot);
        *slot = copy;
        return 0;
}

static int set_choice(Config *config, const Key *key, const Source *source, const YamlNode *node) {
        if (node->type != YAML_TEXT) {
                return refuse_type(key, source, node);
        }
        int value = 0;
        size_t size = strlen(node->text);
        for (const char *p = key->choices; *p != '\0'; value++) {
                size_t length = strcspn(p, " ");
                if (length == size && memcmp(p, node->text, size) == 0) {
                        *(int *)field(config, key) = value;
                        return 0;
                }
                p += length + strspn(p + length, " ");
        }
        char choices[128], *state = NULL;
        const char *best = NULL;
        unsigned distance = 3; /* a slip or two */
        snprintf(choices, sizeof(choices), "%s", key->choices);
        for (const char *p = strtok_r(choices, " ", &state); p != NULL;
             p = strtok_r(NULL, " ", &state)) {
                unsigned d = key_distance(p, node->text);
                if (d < distance && d < size) {
                        distance = d;
                        best = p;
                }
        }
        CLEANUP(buffer_deinit) Buffer why = BUFFER_INIT;
        int r = best != NULL ? buffer_printf(&why, "is unknown, perhaps \"%s\"", best)
                             : buffer_append_string(&why, "is unknown");
        const char *text = buffer_string(&why);
        return r != 0 || text == NULL ? error_origin(-ENOMEM)
                                      : refuse_value(key, source, node, text);
}

/* Decimal, no sign but -, no leading 0 (octal to YAML 1.1). Saturates. */
static int parse_count(const YamlNode *node, int64_t *number, const char **why) {
        const char *p = node->text + (node->text[0] == '-');
        if (node->quoted) {
                *why = "is text because of its quotes";
                return KEY_E_UNFIT;
        }
        if (*p == '\0' || strspn(p, "0123456789") != strlen(p) || (*p == '0' && p[1] != '\0')) {
                *why = "is not a whole number";
                return KEY_E_UNFIT;
        }
        *number = strtoll(node->text, NULL, 10);
        return 0;
}

int value_parse_number(KeyType type, const YamlNode *node, int64_t *number, const char **why) {
        size_t size = 0;
        int r = 0;
        switch (type) {
        case KEY_COUNT:
        case KEY_STATUSES:
                return parse_count(node, number, why);
        case KEY_SIZE:
                r = size_parse(node->text, &size, why);
                *number = size > INT64_MAX ? INT64_MAX : (int64_t)size;
                return r;
        case KEY_DURATION:
        case KEY_GRACE:
                return duration_parse(node->text, number, why);
        case KEY_HANDLER:
        case KEY_KAFKA:
        case KEY_TEXT:
        case KEY_CHOICE:
        case KEY_LIST:
        case KEY_HEADERS:
        case KEY_WHEN:
        case KEY_WINDOWS:
        case KEY_GROUPS:
                break;
        }
        return error_origin(-EINVAL);
}

static int get_number(const Key *key, const Source *source, const YamlNode *node, int64_t *number) {
        if (node->type != YAML_TEXT) {
                return refuse_type(key, source, node);
        }
        const char *why = NULL;
        int64_t value = 0;
        int r = value_parse_number(key->type, node, &value, &why);
        if (r < 0) {
                return r;
        }
        if (r > 0) {
                return refuse_value(key, source, node, why);
        }
        if (value < key->min || value > key->max) {
                return refuse_value(key, source, node, "is out of range");
        }
        *number = value;
        return 0;
}

static int set_number(Config *config, const Key *key, const Source *source, const YamlNode *node) {
        int64_t number = 0;
        int r = get_number(key, source, node, &number);
        if (r != 0) {
                return r;
        }
        if (key->type == KEY_DURATION) {
                *(int64_t *)field(config, key) = number;
        } else {
                *(size_t *)field(config, key) = (size_t)number;
        }
        return 0;
}

static int set_grace(Config *config, const Key *key, const Source *source, const YamlNode *node) {
        ConfigShutdown *shutdown = field(config, key);
        if (node->type == YAML_TEXT && strcmp(node->text, "auto") == 0) {
                shutdown->grace_auto = true;
                return 0;
        }
        int64_t grace = 0;
        int r = get_number(key, source, node, &grace);
        if (r == 0) {
                *shutdown = (ConfigShutdown){.grace_us = grace};
        }
        return r;
}

static int set_list(Config *config, const Key *key, const Source *source, const YamlNode *node) {
        if (node->type != YAML_LIST) {
                return refuse(key, source, node,
                              node->type == YAML_NONE ? "has no value" : "is not a list");
        }
        if ((int64_t)node->n < key->min) {
                return refuse(key, source, node, "is empty");
        }
        if ((int64_t)node->n > key->max) {
                return refuse(key, source, node, "has over 1000 items; allowed are fewer");
        }
        CLEANUP(cleanup_value_free_list) char **list = calloc(node->n + 1, sizeof(*list));
        if (list == NULL) {
                return error_origin(-ENOMEM);
        }
        int result = 0;
        for (size_t i = 0; i < node->n; i++) {
                const YamlNode *item = node->items[i];
                int r = item->type == YAML_TEXT ? check_text(key, source, item, item->text, i)
                                                : refuse_type(key, source, item);
                list[i] = strdup(item->type == YAML_TEXT ? item->text : "");
                if (r < 0 || list[i] == NULL) {
                        return r < 0 ? r : error_origin(-ENOMEM);
                }
                result = r != 0 ? r : result;
        }
        if (result == 0) {
                char ***slot = field(config, key);
                value_free_list(*slot);
                *slot = steal(list);
        }
        return result;
}

static int set_statuses(Config *config, const Key *key, const Source *source,
                        const YamlNode *node) {
        if (node->type != YAML_LIST) {
                return refuse(key, source, node,
                              node->type == YAML_NONE ? "has no value" : "is not a list");
        }
        if (node->n > (size_t)(key->max - key->min) + 1) {
                return refuse(key, source, node, "has more items than there are statuses");
        }
        int *items = calloc(node->n + 1, sizeof(*items));
        if (items == NULL) {
                return error_origin(-ENOMEM);
        }
        int result = 0;
        for (size_t i = 0; i < node->n; i++) {
                int64_t status = 0;
                int r = get_number(key, source, node->items[i], &status);
                items[i] = (int)status;
                result = r != 0 && result >= 0 ? r : result;
        }
        if (result != 0) {
                free(items);
                return result;
        }
        ConfigStatuses *slot = field(config, key);
        free(slot->items);
        *slot = (ConfigStatuses){.items = items, .n = node->n};
        return 0;
}

static void free_headers(ConfigHeaders *headers) {
        for (size_t i = 0; i < headers->n; i++) {
                free(headers->items[i].name);
                free(headers->items[i].value);
        }
        free(headers->items);
        *headers = (ConfigHeaders){0};
}

/* A finding is at the value, and names the header. */
static int check_header(const Key *key, const Source *source, const YamlPair *pair) {
        CLEANUP(buffer_deinit) Buffer why = BUFFER_INIT;
        char shown[PROBLEM_VALUE];
        int r = buffer_printf(&why, "%s ", problem_value(pair->key->text, shown));
        if (r == 0 && pair->value->type != YAML_TEXT) {
                r = buffer_append_string(&why, yaml_describe(pair->value));
                r = r == 0 ? HTTP_TEMPLATE_E_INVALID : r;
        } else if (r == 0) {
                r = http_header_check(pair->key->text, pair->value->text, &why);
        }
        if (r <= 0) {
                return r;
        }
        const char *reason = buffer_string(&why);
        return reason != NULL ? refuse(key, source, pair->value, reason) : error_origin(-ENOMEM);
}

static int set_headers(Config *config, const Key *key, const Source *source, const YamlNode *node) {
        bool empty = node->type == YAML_NONE;
        if (node->type != YAML_MAP && !empty) {
                return refuse(key, source, node, yaml_describe(node));
        }
        size_t n = empty ? 0 : node->n;
        ConfigHeaders headers = {.items = calloc(n + 1, sizeof(*headers.items))};
        int result = headers.items == NULL ? error_origin(-ENOMEM) : 0;
        for (size_t i = 0; i < n && result >= 0; i++) {
                const YamlPair *pair = &node->pairs[i];
                int r = check_header(key, source, pair);
                result = r != 0 ? r : result;
                if (r == 0) {
                        ConfigHeader *header = &headers.items[headers.n++];
                        header->name = strdup(pair->key->text);
                        header->value = strdup(pair->value->text);
                        result = header->name == NULL || header->value == NULL
                                         ? error_origin(-ENOMEM)
                                         : result;
                }
        }
        if (result != 0) {
                free_headers(&headers);
                return result;
        }
        ConfigHeaders *slot = field(config, key);
        free_headers(slot);
        *slot = headers;
        return 0;
}

int value_set(Config *config, const Key *key, const Source *source, const YamlNode *node) {
        int r = -EINVAL;
        switch (key->type) {
        case KEY_TEXT:
                r = set_text(config, key, source, node);
                break;
        case KEY_CHOICE:
                r = set_choice(config, key, source, node);
                break;
        case KEY_COUNT:
        case KEY_SIZE:
        case KEY_DURATION:
                r = set_number(config, key, source, node);
                break;
        case KEY_GRACE:
                r = set_grace(config, key, source, node);
                break;
        case KEY_LIST:
                r = set_list(config, key, source, node);
                break;
        case KEY_STATUSES:
                r = set_statuses(config, key, source, node);
                break;
        case KEY_HEADERS:
                r = set_headers(config, key, source, node);
                break;
        case KEY_WHEN:
                r = guards_set_when(field(config, key), key, source, node);
                break;
        case KEY_WINDOWS:
                r = guards_set_windows(field(config, key), key, source, node);
                break;
        case KEY_GROUPS:
                r = groups_set(field(config, key), key, source, node);
                break;
        case KEY_HANDLER:
        case KEY_KAFKA:
                return error_origin(-EINVAL);
        }
        if (r == 0) {
                config->origins[key_index(key)] = source_origin(source, node);
        }
        return r < 0 ? r : 0;
}

/* What the daemon stands on; an operator who sets one would be ignored or lose messages. */
static const char *owned(const char *name) {
        static const struct {
                const char *name, *instead;
        } settings[] = {
                {"auto.commit.enable", "ackd commits what is finished"}, /* its older name */
                {"auto.offset.reset", "see consume.start"},
                {"enable.auto.commit", "ackd commits what is finished"},
                {"enable.auto.offset.store", "ackd commits what is finished"},
                {"enable.partition.eof", "ackd has to know the end"},
                {"fetch.max.bytes", "see limits.in_flight_bytes"},
                {"log.queue", "librdkafka's log goes into ackd's"},
        };
        for (size_t i = 0; i < sizeof(settings) / sizeof(settings[0]); i++) {
                if (strcmp(settings[i].name, name) == 0) {
                        return settings[i].instead;
                }
        }
        return strncmp(name, "queued.", strlen("queued.")) == 0 ? "see limits.in_flight_bytes"
                                                                : NULL;
}

const ConfigSetting *value_find_kafka(const ConfigSettings *settings, const char *name) {
        for (size_t i = 0; i < settings->n; i++) {
                if (strcmp(settings->items[i].name, name) == 0) {
                        return &settings->items[i];
                }
        }
        return NULL;
}

void value_remove_kafka(ConfigSettings *settings, const char *name) {
        const ConfigSetting *found = value_find_kafka(settings, name);
        if (found == NULL) {
                return;
        }
        size_t index = (size_t)(found - settings->items);
        free(settings->items[index].name);
        free(settings->items[index].value);
        memmove(&settings->items[index], &settings->items[index + 1],
                (settings->n - index - 1) * sizeof(*settings->items));
        settings->n--;
}

static int add_kafka(ConfigSettings *settings, const char *name, const char *value,
                     const ConfigOrigin *origin) {
        ConfigSetting *items =
                reallocarray(settings->items, settings->n + 1, sizeof(*settings->items));
        if (items == NULL) {
                return error_origin(-ENOMEM);
        }
        settings->items = items;
        ConfigSetting setting = {.name = strdup(name), .value = strdup(value), .origin = *origin};
        if (setting.name == NULL || setting.value == NULL) {
                free(setting.name);
                free(setting.value);
                return error_origin(-ENOMEM);
        }
        settings->items[settings->n++] = setting;
        return 0;
}

int value_set_kafka(ConfigSettings *settings, const char *name, const Source *source,
                    const YamlNode *where, const YamlNode *node) {
        char shown[PROBLEM_VALUE];
        const char *instead = owned(name);
        if (instead != NULL) {
                source_error(source, where, "kafka: %s is ackd's own and cannot be set; %s",
                             problem_value(name, shown), instead);
                return 0;
        }
        bool empty = node->type == YAML_NONE && source->origin.kind != CONFIG_FROM_FILE;
        if (*name == '\0') {
                source_error(source, where, "kafka: a setting without a name");
                return 0;
        }
        if (node->type != YAML_TEXT && !empty) {
                source_error(source, node, "kafka: %s %s; allowed: text or a number%s",
                             problem_value(name, shown), yaml_describe(node),
                             node->type == YAML_MAP ? ", under the whole name with its dots, such "
                                                      "as bootstrap.servers"
                                                    : "");
                return 0;
        }
        ConfigOrigin origin = source_origin(source, node);
        const char *value = empty ? "" : node->text;
        const ConfigSetting *found = value_find_kafka(settings, name);
        if (found == NULL) {
                return add_kafka(settings, name, value, &origin);
        }
        char *copy = strdup(value);
        if (copy == NULL) {
                return error_origin(-ENOMEM);
        }
        ConfigSetting *setting = &settings->items[found - settings->items];
        free(setting->value);
        setting->value = copy;
        setting->origin = origin;
        return 0;
}

#define LETTERS "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"

/* What no reader of YAML takes for anything but text, also between brackets. */
static bool is_plain(const char *text) {
        static const char *const words[] = {"null", "true", "false", "yes", "no",
                                            "on",   "off",  "y",     "n",   NULL};
        size_t size = strlen(text);
        if (size == 0 || strchr(LETTERS "/", *text) == NULL || text[size - 1] == ':' ||
            strspn(text, LETTERS "0123456789_./-=:") != size) {
                return false;
        }
        for (size_t i = 0; words[i] != NULL; i++) {
                if (strcasecmp(words[i], text) == 0) {
                        return false;
                }
        }
        return true;
}

/* One character of valid UTF-8, as YAML's reader takes it raw: no control, no line break, no BOM,
 * no surrogate. */
static size_t decode(const char *text, uint32_t *point) {
        const unsigned char *p = (const unsigned char *)text;
        if (p[0] < 0x80) {
                *point = p[0];
                return 1;
        }
        size_t size = p[0] >= 0xf0 ? 4 : p[0] >= 0xe0 ? 3 : 2;
        uint32_t c = p[0] & (0xffu >> (size + 1));
        for (size_t i = 1; i < size; i++) {
                if ((p[i] & 0xc0) != 0x80) {
                        *point = 0xfffd; /* cannot be: libyaml has checked it */
                        return i;
                }
                c = c << 6 | (p[i] & 0x3fu);
        }
        *point = c;
        return size;
}

int value_print_text(const char *text, Buffer *out) {
        if (is_plain(text)) {
                return buffer_append_string(out, text);
        }
        int r = buffer_append_char(out, '"');
        while (*text != '\0' && r == 0) {
                uint32_t c = 0;
                size_t size = decode(text, &c);
                if (c == '"' || c == '\\') {
                        r = buffer_printf(out, "\\%c", (char)c);
                } else if ((c >= ' ' && c < 0x7f) || (c >= 0xa0 && c != 0x2028 && c != 0x2029 &&
                                                      c != 0xfeff && (c < 0xfffe || c > 0xffff))) {
                        r = buffer_append(out, text, size);
                } else {
                        r = buffer_printf(out, "\\u%04x", (unsigned)c);
                }
                text += size;
        }
        return r == 0 ? buffer_append_char(out, '"') : r;
}

static int print_choice(const Key *key, int value, Buffer *out) {
        const char *p = key->choices;
        for (int i = 0; i < value; i++) {
                p += strcspn(p, " ");
                p += strspn(p, " ");
        }
        return buffer_append(out, p, strcspn(p, " "));
}

static int print_list(char *const *list, Buffer *out) {
        int r = buffer_append_char(out, '[');
        for (size_t i = 0; list != NULL && list[i] != NULL && r == 0; i++) {
                r = i > 0 ? buffer_append_string(out, ", ") : 0;
                r = r == 0 ? value_print_text(list[i], out) : r;
        }
        return r == 0 ? buffer_append_char(out, ']') : r;
}

static int print_statuses(const ConfigStatuses *statuses, Buffer *out) {
        int r = buffer_append_char(out, '[');
        for (size_t i = 0; i < statuses->n && r == 0; i++) {
                r = buffer_printf(out, "%s%d", i > 0 ? ", " : "", statuses->items[i]);
        }
        return r == 0 ? buffer_append_char(out, ']') : r;
}

static int print_headers(const ConfigHeaders *headers, Buffer *out) {
        int r = buffer_append_char(out, '{');
        for (size_t i = 0; i < headers->n && r == 0; i++) {
                const ConfigHeader *header = &headers->items[i];
                r = i > 0 ? buffer_append_string(out, ", ") : 0;
                r = r == 0 ? value_print_text(header->name, out) : r;
                r = r == 0 ? buffer_append_string(out, ": ") : r;
                r = r == 0 ? value_print_text(http_header_is_secret(header->name) ? "******"
                                                                                  : header->value,
                                              out)
                           : r;
        }
        return r == 0 ? buffer_append_char(out, '}') : r;
}

static int print_dsn(const char *dsn, Buffer *out) {
        CLEANUP(buffer_deinit) Buffer masked = BUFFER_INIT;
        int r = config_mask_dsn(dsn, &masked);
        const char *text = buffer_string(&masked);
        return r != 0 || text == NULL ? error_origin(-ENOMEM) : value_print_text(text, out);
}

int value_print(const Config *config, const Key *key, Buffer *out) {
        const void *value = field(config, key);
        const ConfigShutdown *shutdown = value;
        char text[DURATION_TEXT];
        switch (key->type) {
        case KEY_TEXT:
                return value == (const void *)&config->postgres.dsn
                               ? print_dsn(config->postgres.dsn, out)
                               : value_print_text(*(char *const *)value, out);
        case KEY_CHOICE:
                return print_choice(key, *(const int *)value, out);
        case KEY_COUNT:
                return buffer_printf(out, "%zu", *(const size_t *)value);
        case KEY_SIZE:
                return buffer_append_string(out, size_format(*(const size_t *)value, text));
        case KEY_DURATION:
                return buffer_append_string(out, duration_format(*(const int64_t *)value, text));
        case KEY_GRACE:
                return buffer_append_string(out,
                                            shutdown->grace_auto
                                                    ? "auto"
                                                    : duration_format(shutdown->grace_us, text));
        case KEY_LIST:
                return print_list(*(char *const *const *)value, out);
        case KEY_STATUSES:
                return print_statuses(value, out);
        case KEY_HEADERS:
                return print_headers(value, out);
        case KEY_WHEN:
                return guards_print_when(value, out);
        case KEY_WINDOWS:
                return guards_print_windows(value, out);
        case KEY_GROUPS:
                return groups_print(value, out);
        case KEY_HANDLER:
        case KEY_KAFKA:
                break;
        }
        return error_origin(-EINVAL);
}

void value_free(Config *config, const Key *key) {
        void *value = field(config, key);
        switch (key->type) {
        case KEY_TEXT:
                free(*(char **)value);
                break;
        case KEY_LIST:
                value_free_list(*(char ***)value);
                break;
        case KEY_STATUSES:
                free(((ConfigStatuses *)value)->items);
                break;
        case KEY_HEADERS:
                free_headers(value);
                break;
        case KEY_WHEN:
                guards_free_when(value);
                break;
        case KEY_WINDOWS:
                guards_free_windows(value);
                break;
        case KEY_GROUPS:
                groups_free(value);
                break;
        case KEY_KAFKA:
                while (config->kafka.n > 0) {
                        value_remove_kafka(&config->kafka, config->kafka.items[0].name);
                }
                free(config->kafka.items);
                break;
        case KEY_HANDLER:
        case KEY_CHOICE:
        case KEY_COUNT:
        case KEY_SIZE:
        case KEY_DURATION:
        case KEY_GRACE:
                break;
        }
}
