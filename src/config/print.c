#include "config/config.h"

#include <string.h>

#include "config/keys.h"
#include "config/value.h"

/*
 * The table, printed from top to bottom: since it is sorted, a section is opened once, when the
 * first of its keys comes.
 */

typedef struct Printer {
        Buffer *out;
        const char *open; /* the path up to here is open: the key before, or its section */
        size_t open_size;
        bool comment; /* everything is commented out */
} Printer;

static size_t depth(const char *path, size_t size) {
        size_t n = 0;
        for (size_t i = 0; i < size; i++) {
                n += path[i] == '.';
        }
        return n;
}

static int indent(const Printer *printer, size_t levels) {
        return buffer_printf(printer->out, "%s%*s", printer->comment ? "# " : "", (int)levels * 2,
                             "");
}

static bool is_open(const Printer *printer, const char *path, size_t size) {
        return size <= printer->open_size && memcmp(printer->open, path, size) == 0 &&
               (size == printer->open_size || printer->open[size] == '.');
}

/* Opens what sections are still closed, and begins the line: "    name:". */
static int begin_line(Printer *printer, const char *path, size_t *levels) {
        size_t size = 0;
        for (const char *dot = strchr(path, '.'); dot != NULL; dot = strchr(dot + 1, '.')) {
                size_t end = (size_t)(dot - path);
                if (!is_open(printer, path, end)) {
                        int r = indent(printer, depth(path, end));
                        r = r == 0 ? buffer_printf(printer->out, "%.*s:\n", (int)(end - size),
                                                   path + size)
                                   : r;
                        if (r != 0) {
                                return r;
                        }
                }
                size = end + 1;
        }
        *levels = depth(path, strlen(path));
        printer->open = path;
        printer->open_size = size > 0 ? size - 1 : 0;
        return 0;
}

static const char *last_name(const char *path) {
        const char *dot = strrchr(path, '.');
        return dot != NULL ? dot + 1 : path;
}

/* "  # /etc/ackd/ackd.yaml:3" and the end of the line. A name may hold what a comment must not. */
static int end_line(const Printer *printer, const ConfigOrigin *origin) {
        static const char *const kinds[] = {
                [CONFIG_FROM_DEFAULT] = "default",
                [CONFIG_FROM_FILE] = "",
                [CONFIG_FROM_ENVIRONMENT] = "environment ",
                [CONFIG_FROM_OPTION] = "-o ",
        };
        int r = buffer_printf(printer->out, "  # %s", kinds[origin->kind]);
        for (const char *p = origin->name; p != NULL && *p != '\0' && r == 0; p++) {
                r = buffer_append_char(printer->out, *p < ' ' || *p > '~' ? '?' : *p);
        }
        if (r == 0 && origin->kind == CONFIG_FROM_FILE) {
                r = buffer_printf(printer->out, ":%u", origin->line);
        }
        return r == 0 ? buffer_append_char(printer->out, '\n') : r;
}

static int print_kafka(const Printer *printer, const ConfigSettings *settings) {
        int r = buffer_append_string(printer->out, settings->n > 0 ? "kafka:\n" : "kafka: {}\n");
        for (size_t i = 0; i < settings->n && r == 0; i++) {
                const ConfigSetting *setting = &settings->items[i];
                bool masked = config_is_secret(setting->name) && *setting->value != '\0';
                r = buffer_append_string(printer->out, "  ");
                r = r == 0 ? value_print_text(setting->name, printer->out) : r;
                r = r == 0 ? buffer_append_string(printer->out, ": ") : r;
                r = r == 0 ? value_print_text(masked ? "******" : setting->value, printer->out) : r;
                r = r == 0 ? end_line(printer, &setting->origin) : r;
        }
        return r;
}

/* A handler is a section of its own; one without keys is `{}`. */
static int print_handler(Printer *printer, const Key *key, const ConfigOrigin *origin) {
        bool section = key_is_section(key->path);
        printer->open = key->path;
        printer->open_size = section ? strlen(key->path) : printer->open_size;
        int r = buffer_printf(printer->out, "%s:%s", last_name(key->path), section ? "" : " {}");
        return r == 0 ? end_line(printer, origin) : r;
}

static int print_key(Printer *printer, const Config *config, const Key *key) {
        const ConfigOrigin *origin = &config->origins[key_index(key)];
        size_t levels = 0;
        if (key->type == KEY_KAFKA) {
                return print_kafka(printer, &config->kafka);
        }
        int r = begin_line(printer, key->path, &levels);
        r = r == 0 ? indent(printer, levels) : r;
        if (r != 0 || key->type == KEY_HANDLER) {
                return r != 0 ? r : print_handler(printer, key, origin);
        }
        r = buffer_printf(printer->out, "%s: ", last_name(key->path));
        r = r == 0 ? value_print(config, key, printer->out) : r;
        return r == 0 ? end_line(printer, origin) : r;
}

/* Keys of a handler, or of a check, that does not run would make it run when they are read again.
 */
static bool is_off(const Config *config, const Key *key) {
        for (size_t i = 0; i < n_keys; i++) {
                size_t size = strlen(keys[i].path);
                if (keys[i].type == KEY_HANDLER && strncmp(key->path, keys[i].path, size) == 0 &&
                    (key->path[size] == '\0' || key->path[size] == '.') &&
                    !*(const bool *)((const char *)config + keys[i].offset)) {
                        return true;
                }
        }
        return false;
}

int config_print(const Config *config, Buffer *out) {
        Printer printer = {.out = out, .open = ""};
        size_t before = out->size;
        for (size_t i = 0; i < n_keys; i++) {
                const Key *key = &keys[i];
                bool missing = key->text == NULL && key->type != KEY_HANDLER &&
                               config->origins[i].kind == CONFIG_FROM_DEFAULT;
                int r = is_off(config, key) || missing ? 0 : print_key(&printer, config, key);
                if (r != 0) {
                        out->size = before;
                        return r;
                }
        }
        return 0;
}

static int print_help(const Printer *printer, const Key *key, size_t levels) {
        int r = indent(printer, levels);
        r = r == 0 ? buffer_printf(printer->out, "# %s", key->help) : r;
        if (r == 0 && key->type != KEY_HANDLER && key->type != KEY_KAFKA) {
                r = buffer_append_string(printer->out, " Allowed: ");
                r = r == 0 ? key_expected(key, printer->out) : r;
        }
        return r == 0 ? buffer_append_char(printer->out, '\n') : r;
}

static int print_default(Printer *printer, const Key *key) {
        size_t levels = 0;
        int r = begin_line(printer, key->path, &levels);
        r = r == 0 ? print_help(printer, key, levels) : r;
        r = r == 0 ? indent(printer, levels) : r;
        if (r != 0) {
                return r;
        }
        if (key->type == KEY_HANDLER && key_is_section(key->path)) {
                printer->open = key->path;
                printer->open_size = strlen(key->path);
        }
        bool section = key->type == KEY_HANDLER && !key_is_section(key->path);
        return buffer_printf(printer->out, "%s:%s%s\n", last_name(key->path),
                             key->text != NULL || section ? " " : "",
                             key->text != NULL ? key->text
                             : section         ? "{}"
                                               : "");
}

int config_print_defaults(Buffer *out) {
        Printer printer = {.out = out, .open = ""};
        size_t before = out->size;
        for (size_t i = 0; i < n_keys; i++) {
                /* No handler is a default. */
                printer.comment = strncmp(keys[i].path, "handlers.", strlen("handlers.")) == 0;
                int r = print_default(&printer, &keys[i]);
                if (r != 0) {
                        out->size = before;
                        return r;
                }
        }
        return 0;
}
