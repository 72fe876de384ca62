#include "config/config.h"

#include <ctype.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "config/check.h"
#include "config/keys.h"
#include "config/problems.h"
#include "config/value.h"
#include "config/yaml.h"

/*
 * Every source becomes a small tree that is walked along the table of keys: defaults, the file,
 * each variable, each option, in this order, so that the later one wins. A value that is refused
 * leaves the one before it, is marked bad, and the walk goes on.
 */

#define VARIABLE "ACKD__"

DEFINE_CLEANUP(Config *, config_free)

typedef struct Loader {
        Config *config;
        ConfigErrors *errors;
        bool *bad;
        bool unreadable; /* a source could not be read at all: nothing is said about what is missing
                          */
} Loader;

static int apply(const Loader *loader, const Source *source, const char *path,
                 const YamlNode *where, const YamlNode *node);

void config_free(Config *config) {
        if (config == NULL) {
                return;
        }
        for (size_t i = 0; i < n_keys; i++) {
                value_free(config, &keys[i]);
        }
        value_free_list(config->names);
        free(config->origins);
        free(config);
}

/* A copy that lives as long as the Config. */
static int keep_name(Config *config, const char *name, const char **keptp) {
        size_t n = 0;
        for (; config->names[n] != NULL; n++) {
        }
        char **names = reallocarray(config->names, n + 2, sizeof(*names));
        if (names == NULL) {
                return error_origin(-ENOMEM);
        }
        config->names = names;
        names[n + 1] = NULL;
        names[n] = strdup(name);
        *keptp = names[n];
        return names[n] == NULL ? error_origin(-ENOMEM) : 0;
}

static int report_unknown(const Source *source, const char *section, const YamlNode *name,
                          const char *path) {
        char shown[PROBLEM_VALUE];
        problem_value(path, shown);
        CLEANUP(buffer_deinit) Buffer nearest = BUFFER_INIT;
        CLEANUP(buffer_deinit) Buffer known = BUFFER_INIT;
        int r = key_nearest(section, name->text, &nearest);
        r = r == 0 ? key_names(section, &known) : r;
        const char *near = buffer_string(&nearest), *names = buffer_string(&known);
        if (r != 0 || near == NULL || names == NULL) {
                return error_origin(-ENOMEM);
        }
        if (strchr(name->text, '.') != NULL && (key_find(path) != NULL || key_is_section(path))) {
                source_error(source, name,
                             "unknown key %s; its parts are nested, not joined: %.*s:"
                             " and below it %s",
                             shown, (int)strcspn(name->text, "."), name->text,
                             strchr(name->text, '.') + 1);
                return 0;
        }
        if (!key_is_section(section)) {
                source_error(source, name, "unknown key %s; allowed: no key", shown);
                return 0;
        }
        source_error(source, name, "unknown key %s; %s%s%sknown %s%s: %s", shown,
                     *near != '\0' ? "did you mean \"" : "", near, *near != '\0' ? "\"? " : "",
                     *section != '\0' ? "in " : "here", section, names);
        return 0;
}

static int apply_pair(const Loader *loader, const Source *source, const char *section,
                      const YamlPair *pair) {
        CLEANUP(buffer_deinit) Buffer buffer = BUFFER_INIT;
        int r = buffer_printf(&buffer, "%s%s%s", section, *section != '\0' ? "." : "",
                              pair->key->text);
        const char *path = buffer_string(&buffer);
        if (r != 0 || path == NULL) {
                return error_origin(-ENOMEM);
        }
        bool known = strchr(pair->key->text, '.') == NULL &&
                     (key_find(path) != NULL || key_is_section(path));
        return known ? apply(loader, source, path, pair->key, pair->value)
                     : report_unknown(source, section, pair->key, path);
}

static int apply_section(const Loader *loader, const Source *source, const char *path,
                         const YamlNode *node) {
        if (node->type == YAML_NONE) {
                return 0; /* everything in it stands in comments */
        }
        if (node->type != YAML_MAP) {
                CLEANUP(buffer_deinit) Buffer known = BUFFER_INIT;
                int r = key_names(path, &known);
                const char *names = buffer_string(&known);
                if (r != 0 || names == NULL) {
                        return error_origin(-ENOMEM);
                }
                source_error(source, node, "%s: %s where a section is expected; known in it: %s",
                             *path != '\0' ? path : "the configuration",
                             node->type == YAML_LIST ? "a list" : "text", names);
                return 0;
        }
        for (size_t i = 0; i < node->n; i++) {
                int r = apply_pair(loader, source, path, &node->pairs[i]);
                if (r != 0) {
                        return r;
                }
        }
        return 0;
}

/* The order of the environment means nothing, so two variables for one value contradict. */
static bool is_twice(const Source *source, const ConfigOrigin *before, const char *path) {
        if (source->origin.kind != CONFIG_FROM_ENVIRONMENT ||
            before->kind != CONFIG_FROM_ENVIRONMENT) {
                return false;
        }
        source_error(source, NULL, "sets %s, and so does %s; allowed: one of them", path,
                     before->name);
        return true;
}

static int apply_setting(const Loader *loader, const Source *source, const char *name,
                         const YamlNode *where, const YamlNode *node) {
        const ConfigSetting *before = value_find_kafka(&loader->config->kafka, name);
        if (before != NULL && is_twice(source, &before->origin, name)) {
                return 0;
        }
        return value_set_kafka(&loader->config->kafka, name, source, where, node);
}

static int apply_kafka(const Loader *loader, const Source *source, const YamlNode *node) {
        if (node->type == YAML_NONE) {
                return 0;
        }
        if (node->type != YAML_MAP) {
                source_error(source, node,
                             "kafka: %s where settings of librdkafka are expected; "
                             "allowed: such as {bootstrap.servers: "
                             "\"localhost:9092\"}",
                             node->type == YAML_LIST ? "a list" : "text");
                return 0;
        }
        for (size_t i = 0; i < node->n; i++) {
                const YamlPair *pair = &node->pairs[i];
                int r = apply_setting(loader, source, pair->key->text, pair->key, pair->value);
                if (r != 0) {
                        return r;
                }
        }
        return 0;
}

/* A handler is there when anything below it is. */
static void enable_handlers(const Loader *loader, const Source *source, const char *path,
                            const YamlNode *where) {
        for (size_t i = 0; i < n_keys; i++) {
                size_t size = strlen(keys[i].path);
                if (keys[i].type != KEY_HANDLER || strncmp(path, keys[i].path, size) != 0 ||
                    (path[size] != '\0' && path[size] != '.')) {
                        continue;
                }
                bool *enabled = (bool *)((char *)loader->config + keys[i].offset);
                if (!*enabled) {
                        *enabled = true;
                        loader->config->origins[i] = source_origin(source, where);
                }
        }
}

/* @where: the name's node; NULL: the source has no place for it. */
static int apply(const Loader *loader, const Source *source, const char *path,
                 const YamlNode *where, const YamlNode *node) {
        enable_handlers(loader, source, path, where);
        const Key *key = key_find(path);
        if (key == NULL || key->type == KEY_HANDLER) {
                return apply_section(loader, source, path, node);
        }
        if (key->type == KEY_KAFKA) {
                return apply_kafka(loader, source, node);
        }
        if (is_twice(source, &loader->config->origins[key_index(key)], path)) {
                return 0;
        }
        size_t before = source->errors->errors.n + source->errors->errors.more;
        int r = value_set(loader->config, key, source, node);
        if (source->errors->errors.n + source->errors->errors.more != before) {
                loader->bad[key_index(key)] = true;
        }
        return r;
}

/* --- reading a source ------------------------------------------------------------------------ */

static void report_yaml(void *user, const YamlError *error) {
        const Source *source = user;
        YamlNode place = {.line = error->line, .column = error->column};
        bool value = source->origin.kind != CONFIG_FROM_FILE;
        source_error(source, &place, "%s%s", error->what,
                     value ? "; the value is YAML: text with special characters needs quotes in it"
                           : "");
}

/* @path "" applies a whole file. @setting NULL: not one of kafka's. */
static int apply_text(Loader *loader, Source *source, const char *path, const char *setting,
                      const char *text, size_t size) {
        YamlDocument document = {0};
        int r = yaml_read(&document, text, size, report_yaml, source);
        if (r != 0) {
                loader->unreadable = true;
                return r < 0 ? r : 0;
        }
        r = setting != NULL ? apply_setting(loader, source, setting, NULL, document.root)
                            : apply(loader, source, path, NULL, document.root);
        yaml_document_deinit(&document);
        return r;
}

static int load_defaults(Loader *loader) {
        Source source = {.origin = {.kind = CONFIG_FROM_DEFAULT}, .errors = loader->errors};
        for (size_t i = 0; i < n_keys; i++) {
                const char *text = keys[i].text;
                if (text == NULL) {
                        continue;
                }
                YamlDocument document = {0};
                int r = yaml_read(&document, text, strlen(text), report_yaml, &source);
                if (r == 0) {
                        r = keys[i].type == KEY_KAFKA
                                    ? apply_kafka(loader, &source, document.root)
                                    : value_set(loader->config, &keys[i], &source, document.root);
                        yaml_document_deinit(&document);
                }
                if (r < 0) {
                        return r;
                }
        }
        /* A default that the table itself refuses. */
        return loader->errors->errors.n > 0 ? error_origin(-EINVAL) : 0;
}

/* Adds the whole file, up to a byte more than is allowed; a negative errno is the file's. */
static int read_file(const char *file, Buffer *out) {
        int fd = open(file, O_RDONLY | O_CLOEXEC | O_NOCTTY);
        if (fd < 0) {
                return -errno;
        }
        int r = buffer_reserve(out, YAML_SIZE_MAX + 1);
        while (r == 0 && out->size <= YAML_SIZE_MAX) {
                ssize_t n = read(fd, out->data + out->size, YAML_SIZE_MAX + 1 - out->size);
                if (n == 0) {
                        break;
                }
                if (n > 0) {
                        out->size += (size_t)n;
                } else if (errno != EINTR) {
                        r = -errno;
                }
        }
        close(fd);
        return r;
}

static const char *remedy(int error) {
        switch (error) {
        case -ENOENT:
        case -ENOTDIR:
                return "-c FILE or ACKD_CONFIG names another; an example is installed with the "
                       "documentation";
        case -EACCES:
                return "let the user that runs ackd read it, and nobody else if it holds secrets";
        case -EISDIR:
                return "name the file in it";
        default:
                return "-c FILE or ACKD_CONFIG names another";
        }
}

static int load_file(Loader *loader, const char *file, bool optional, Source *source) {
        CLEANUP(buffer_deinit) Buffer text = BUFFER_INIT;
        int r = read_file(file, &text);
        if (r == -ENOENT && optional) {
                return 0; /* a container may be told everything by its environment */
        }
        if (r == -ENOMEM) {
                return r;
        }
        source->origin.kind = CONFIG_FROM_FILE;
        int kept = keep_name(loader->config, file, &source->origin.name);
        if (kept != 0) {
                return kept;
        }
        if (r != 0) {
                source_error(source, NULL, "cannot be read: %s; %s", strerror(-r), remedy(r));
                loader->unreadable = true;
                return 0;
        }
        return apply_text(loader, source, "", NULL, (const char *)text.data, text.size);
}

/* --- environment ----------------------------------------------------------------------------- */

/* Whether @name, a part of a variable, spells the first @size bytes of @path: `__` for a dot, `_`
 * for `_` and `-`. */
static bool spells(const char *name, const char *path, size_t size) {
        for (size_t i = 0; i < size; i++) {
                if (path[i] == '.') {
                        if (name[0] != '_' || name[1] != '_') {
                                return false;
                        }
                        name += 2;
                } else if (path[i] == '_' || path[i] == '-') {
                        if (*name++ != '_') {
                                return false;
                        }
                } else if (tolower((unsigned char)*name++) != path[i]) {
                        return false;
                }
        }
        return *name == '\0';
}

/* Adds the path of the key or section that @name spells, or nothing. */
static int find_spelled(const char *name, Buffer *out) {
        for (size_t i = 0; i < n_keys; i++) {
                const char *path = keys[i].path;
                for (size_t size = strcspn(path, ".");; size += 1 + strcspn(path + size + 1, ".")) {
                        if (spells(name, path, size)) {
                                return buffer_append(out, path, size);
                        }
                        if (path[size] == '\0') {
                                break;
                        }
                }
        }
        return 0;
}

static bool spells_setting(const char *name, const char *setting) {
        for (; *name != '\0' && *setting != '\0'; name++, setting++) {
                if (*name == '_'
                            ? strchr("_-.", *setting) == NULL
                            : tolower((unsigned char)*name) != tolower((unsigned char)*setting)) {
                        return false;
                }
        }
        return *name == *setting;
}

/* A setting of the file's that is spelled so; otherwise each `_` is a dot, as in nearly all of
 * librdkafka's names. Positive: it was an error. */
static int find_setting(const Loader *loader, const Source *source, const char *name, Buffer *out) {
        const ConfigSetting *found = NULL;
        for (size_t i = 0; i < loader->config->kafka.n; i++) {
                const ConfigSetting *setting = &loader->config->kafka.items[i];
                if (!spells_setting(name, setting->name)) {
                        continue;
                }
                if (found != NULL) {
                        source_error(source, NULL,
                                     "ambiguous: it spells kafka's %s and %s; "
                                     "-o kafka.%s=… is exact",
                                     found->name, setting->name, setting->name);
                        return CONFIG_E_INVALID;
                }
                found = setting;
        }
        if (found != NULL) {
                return buffer_append_string(out, found->name);
        }
        if (strstr(name, "__") != NULL) {
                source_error(source, NULL,
                             "under kafka a single _ stands for each dot, such as " VARIABLE
                             "KAFKA__GROUP_ID");
                return CONFIG_E_INVALID;
        }
        for (const char *p = name; *p != '\0'; p++) {
                int r = buffer_append_char(out, *p == '_' ? '.' : (char)tolower((unsigned char)*p));
                if (r != 0) {
                        return r;
                }
        }
        return 0;
}

/* ACKD__RETRY__ATEMPTS -> "; did you mean ACKD__RETRY__ATTEMPTS?". */
static int report_variable(const Source *source, const char *name) {
        CLEANUP(buffer_deinit) Buffer path = BUFFER_INIT;
        CLEANUP(buffer_deinit) Buffer nearest = BUFFER_INIT;
        CLEANUP(buffer_deinit) Buffer hint = BUFFER_INIT;
        int r = 0;
        for (const char *p = name; *p != '\0' && r == 0; p++) {
                bool dot = p[0] == '_' && p[1] == '_';
                r = buffer_append_char(&path, dot ? '.' : (char)tolower((unsigned char)*p));
                p += dot;
        }
        const char *text = buffer_string(&path);
        if (r != 0 || text == NULL) {
                return error_origin(-ENOMEM);
        }
        r = key_nearest_path(text, &nearest);
        if (r == 0 && nearest.size > 0) {
                r = buffer_append_string(&hint, " did you mean " VARIABLE);
                for (size_t i = 0; i < nearest.size && r == 0; i++) {
                        unsigned char c = nearest.data[i];
                        r = c == '.' ? buffer_append_string(&hint, "__")
                                     : buffer_append_char(&hint, c == '-' ? '_' : (char)toupper(c));
                }
                r = r == 0 ? buffer_append_char(&hint, '?') : r;
        }
        const char *did_you_mean = buffer_string(&hint);
        if (r != 0 || did_you_mean == NULL) {
                return error_origin(-ENOMEM);
        }
        source_error(source, NULL, "names no key;%s `ackd print-config --defaults` lists all",
                     did_you_mean);
        return 0;
}

/* As @path is written in a variable, but for the `__` of a dot, which is one `_` here. */
static bool nearly_spells(const char *name, const char *path) {
        for (; *name != '\0' && *path != '\0'; path++) {
                char c = *path == '.' || *path == '-' ? '_' : *path;
                if (tolower((unsigned char)*name) != c) {
                        return false;
                }
                name++;
                name += *path == '.' && *name == '_';
        }
        return *name == '\0' && *path == '\0';
}

/* ACKD_RETRY__ATTEMPTS and ACKD_RETRY_ATTEMPTS look like keys, and are none: variables of others
 * may begin so too. */
static int warn_variable(Loader *loader, const char *variable) {
        const char *name = variable + strlen("ACKD_");
        CLEANUP(buffer_deinit) Buffer full = BUFFER_INIT;
        CLEANUP(buffer_deinit) Buffer meant = BUFFER_INIT;
        int r = buffer_append(&full, name, strcspn(name, "="));
        const char *text = r == 0 ? buffer_string(&full) : NULL;
        if (text == NULL) {
                return error_origin(-ENOMEM);
        }
        for (size_t i = 0; r == 0 && i < n_keys && meant.size == 0; i++) {
                if (strchr(keys[i].path, '.') == NULL || !nearly_spells(text, keys[i].path)) {
                        continue;
                }
                for (const char *p = keys[i].path; *p != '\0' && r == 0; p++) {
                        r = *p == '.' ? buffer_append_string(&meant, "__")
                                      : buffer_append_char(&meant,
                                                           *p == '-' ? '_' : (char)toupper(*p));
                }
        }
        if (r == 0 && meant.size == 0 && strncasecmp(text, "kafka__", strlen("kafka__")) == 0) {
                r = buffer_append_string(&meant, text);
        }
        const char *right = r == 0 ? buffer_string(&meant) : NULL;
        if (right == NULL) {
                return error_origin(-ENOMEM);
        }
        if (*right != '\0') {
                ConfigOrigin origin = {.kind = CONFIG_FROM_ENVIRONMENT};
                CLEANUP(buffer_deinit) Buffer whole = BUFFER_INIT;
                r = buffer_printf(&whole, "ACKD_%s", text);
                const char *kept = r == 0 ? buffer_string(&whole) : NULL;
                if (kept == NULL) {
                        return error_origin(-ENOMEM);
                }
                r = keep_name(loader->config, kept, &origin.name);
                if (r == 0) {
                        problem_add(&loader->errors->warnings, &origin,
                                    "is ignored: keys are named with two _, as in " VARIABLE "%s",
                                    right);
                }
        }
        return r;
}

static int load_variable(Loader *loader, const char *variable) {
        const char *equals = strchr(variable, '=');
        CLEANUP(buffer_deinit) Buffer full = BUFFER_INIT;
        CLEANUP(buffer_deinit) Buffer path = BUFFER_INIT;
        Source source = {.origin = {.kind = CONFIG_FROM_ENVIRONMENT}, .errors = loader->errors};
        int r = buffer_append(&full, variable, (size_t)(equals - variable));
        const char *text = buffer_string(&full);
        if (r != 0 || text == NULL) {
                return error_origin(-ENOMEM);
        }
        r = keep_name(loader->config, text, &source.origin.name);
        if (r != 0) {
                return r;
        }
        const char *name = source.origin.name + strlen(VARIABLE);
        const char *value = equals + 1;
        bool setting = strncasecmp(name, "kafka__", strlen("kafka__")) == 0;
        r = setting ? find_setting(loader, &source, name + strlen("kafka__"), &path)
                    : find_spelled(name, &path);
        if (r != 0) {
                return r < 0 ? r : 0;
        }
        text = buffer_string(&path);
        if (text == NULL) {
                return error_origin(-ENOMEM);
        }
        if (*text == '\0') {
                return report_variable(&source, name);
        }
        return apply_text(loader, &source, text, setting ? text : NULL, value, strlen(value));
}

/* --- options --------------------------------------------------------------------------------- */

static int report_option(const Source *source, const char *what) {
        CLEANUP(buffer_deinit) Buffer nearest = BUFFER_INIT;
        int r = key_nearest_path(source->origin.name, &nearest);
        const char *near = buffer_string(&nearest);
        if (r != 0 || near == NULL) {
                return error_origin(-ENOMEM);
        }
        source_error(source, NULL, "%s;%s%s%s `ackd print-config --defaults` lists all", what,
                     *near != '\0' ? " did you mean " : "", near, *near != '\0' ? "?" : "");
        return 0;
}

static int load_option(Loader *loader, const char *option) {
        Source source = {.origin = {.kind = CONFIG_FROM_OPTION}, .errors = loader->errors};
        CLEANUP(buffer_deinit) Buffer buffer = BUFFER_INIT;
        size_t size = strcspn(option, "=");
        int r = buffer_append(&buffer, option, size);
        const char *text = buffer_string(&buffer);
        if (r != 0 || text == NULL) {
                return error_origin(-ENOMEM);
        }
        r = keep_name(loader->config, text, &source.origin.name);
        if (r != 0) {
                return r;
        }
        const char *path = source.origin.name;
        bool setting = strncmp(path, "kafka.", strlen("kafka.")) == 0;
        bool known = *path != '\0' && (setting || key_find(path) != NULL || key_is_section(path));
        if (!known) {
                return report_option(&source, option[size] == '\0'
                                                      ? "is not KEY=VALUE, such as retry.attempts=3"
                                                      : "names no key");
        }
        if (option[size] == '\0') {
                source_error(&source, NULL, "has no value; write -o %s=VALUE", path);
                return 0;
        }
        const char *value = option + size + 1;
        return apply_text(loader, &source, path, setting ? path + strlen("kafka.") : NULL, value,
                          strlen(value));
}

/* --- all of them ----------------------------------------------------------------------------- */

static const char *find_variable(const char *const *environment, const char *name) {
        size_t size = strlen(name);
        for (size_t i = 0; environment != NULL && environment[i] != NULL; i++) {
                if (strncmp(environment[i], name, size) == 0 && environment[i][size] == '=') {
                        return environment[i] + size + 1;
                }
        }
        return NULL;
}

/* What @name means from here, wherever it is used later: it is printed for people to paste. */
static int keep_path(Config *config, const char *name, const char **keptp) {
        CLEANUP(buffer_deinit) Buffer path = BUFFER_INIT;
        char *folder = name[0] == '/' ? NULL : getcwd(NULL, 0);
        if (folder == NULL) {
                return keep_name(config, name, keptp);
        }
        int r = buffer_printf(&path, "%s/%s", folder,
                              strncmp(name, "./", 2) == 0 ? name + 2 : name);
        free(folder);
        const char *text = r == 0 ? buffer_string(&path) : NULL;
        return text != NULL ? keep_name(config, text, keptp) : error_origin(-ENOMEM);
}

static int load_sources(Loader *loader, const ConfigSources *sources, Source *file) {
        int r = load_defaults(loader);
        if (r != 0) {
                return r;
        }
        const char *name = sources->file;
        if (name == NULL) {
                name = find_variable(sources->environment, "ACKD_CONFIG");
        }
        bool optional = name == NULL || *name == '\0';
        r = load_file(loader, optional ? CONFIG_FILE : name, optional, file);
        if (r == 0 && file->origin.kind == CONFIG_FROM_FILE) {
                r = keep_path(loader->config, optional ? CONFIG_FILE : name, &loader->config->file);
        }
        for (size_t i = 0;
             r == 0 && sources->environment != NULL && sources->environment[i] != NULL; i++) {
                const char *variable = sources->environment[i];
                if (strncmp(variable, VARIABLE, strlen(VARIABLE)) == 0 &&
                    strchr(variable, '=') != NULL) {
                        r = load_variable(loader, variable);
                } else if (strncmp(variable, "ACKD_", strlen("ACKD_")) == 0 &&
                           strchr(variable, '=') != NULL) {
                        r = warn_variable(loader, variable);
                }
        }
        for (size_t i = 0; r == 0 && sources->options != NULL && sources->options[i] != NULL; i++) {
                r = load_option(loader, sources->options[i]);
        }
        return r;
}

int config_load(Config **configp, const ConfigSources *sources, ConfigErrors *errors) {
        CLEANUP(cleanup_config_free) Config *config = calloc(1, sizeof(*config));
        if (config == NULL) {
                return error_origin(-ENOMEM);
        }
        config->names = calloc(1, sizeof(*config->names));
        config->origins = calloc(n_keys, sizeof(*config->origins));
        bool *bad = calloc(n_keys, sizeof(*bad));
        if (config->names == NULL || config->origins == NULL || bad == NULL) {
                free(bad);
                return error_origin(-ENOMEM);
        }
        Loader loader = {.config = config, .errors = errors, .bad = bad};
        Source file = {.origin = {.kind = CONFIG_FROM_DEFAULT}, .errors = errors};
        int r = load_sources(&loader, sources, &file);
        if (r == 0 && !loader.unreadable) {
                r = config_check(config, bad, &file.origin, sources->librdkafka, errors);
                r = r == 0 && sources->check != NULL ? sources->check(sources->user, config, errors)
                                                     : r;
        }
        free(bad);
        problems_sort(&errors->errors);
        problems_sort(&errors->warnings);
        if (r != 0) {
                return r;
        }
        if (errors->errors.n + errors->errors.more > 0) {
                return CONFIG_E_INVALID;
        }
        *configp = steal(config);
        return 0;
}
