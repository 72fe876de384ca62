#pragma once

/* What the tests of the configuration share: a folder with t.yaml, and a load of it whose findings
 * are compared whole. */

#include "test.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "config/config.h"

/* Every test runs in a folder of its own, so that the file is just "t.yaml" in messages. */

#define SAVE "handlers: {save: {}}\n"
#define RESTART                                                                                    \
        "handlers:\n"                                                                              \
        "  restart-host:\n"                                                                        \
        "    action: exec\n"                                                                       \
        "    allow: ['*.example.com']\n"                                                           \
        "    exec:\n"                                                                              \
        "      argv: [/bin/reboot-it, '{{host}}']\n"

static char folder[] = "/tmp/test-config-XXXXXX";
static char start[4096];

static inline int set_up(void **state) {
        (void)state;
        return getcwd(start, sizeof(start)) == NULL || mkdtemp(folder) == NULL || chdir(folder) != 0
                       ? -1
                       : 0;
}

static inline int tear_down(void **state) {
        (void)state;
        unlink("t.yaml");
        return chdir(start) != 0 || rmdir(folder) != 0 ? -1 : 0;
}

static inline void write_file(const char *text, size_t size) {
        FILE *file = fopen("t.yaml", "we");
        assert_non_null(file);
        assert_int_equal(fwrite(text, 1, size, file), size);
        assert_int_equal(fclose(file), 0);
}

/* All of them, a line each; warnings begin with "warning: ". */
static inline char *join(const ConfigErrors *errors) {
        Buffer out = BUFFER_INIT;
        for (size_t i = 0; i < errors->errors.n; i++) {
                assert_int_equal(buffer_printf(&out, "%s\n", errors->errors.items[i].text), 0);
        }
        for (size_t i = 0; i < errors->warnings.n; i++) {
                assert_int_equal(buffer_printf(&out, "warning: %s\n",
                                               errors->warnings.items[i].text),
                                 0);
        }
        char *text = buffer_string(&out);
        assert_non_null(text);
        return text;
}

/* Loads t.yaml with this text (NULL: as it is); the findings must be exactly these. */
static inline Config *load_for(const char *librdkafka, const char *text,
                               const char *const *environment, const char *const *options,
                               const char *expected) {
        if (text != NULL) {
                write_file(text, strlen(text));
        }
        ConfigSources sources = {.file = "t.yaml",
                                 .environment = environment,
                                 .options = options,
                                 .librdkafka = librdkafka};
        Config *config = NULL;
        ConfigErrors errors = {0};
        int r = config_load(&config, &sources, &errors);
        assert_int_equal(r, errors.errors.n > 0 ? CONFIG_E_INVALID : 0);
        assert_true((config == NULL) == (r != 0));
        char *findings = join(&errors);
        assert_string_equal(findings, expected);
        free(findings);
        config_errors_deinit(&errors);
        return config;
}

static inline Config *load(const char *text, const char *const *environment,
                           const char *const *options, const char *expected) {
        return load_for(NULL, text, environment, options, expected);
}

static inline char *print(const Config *config) {
        Buffer out = BUFFER_INIT;
        assert_int_equal(config_print(config, &out), 0);
        char *text = buffer_string(&out);
        assert_non_null(text);
        return text;
}

typedef struct Wrong {
        const char *text, *expected;
} Wrong;

static inline void check_all(const Wrong *wrong, size_t n) {
        for (size_t i = 0; i < n; i++) {
                config_free(load(wrong[i].text, NULL, NULL, wrong[i].expected));
        }
}

#define CHECK(table) check_all((table), sizeof(table) / sizeof((table)[0]))
#define R            "handlers.restart-host"
#define TOP                                                                                        \
        "known here: consume control debug handlers instance kafka limits log message metrics "    \
        "postgres "                                                                                \
        "retry shutdown\n"

#define ARGV                                                                                       \
        "; allowed: a list that begins with the absolute path of a program, such as "              \
        "[/usr/bin/ssh, --, \"{{host}}\", reboot]\n"
