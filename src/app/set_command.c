/*
 * ackd set: changes a setting of a daemon that runs.
 */

#include <getopt.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "app/commands.h"
#include "app/control_client.h"
#include "util/json.h"

static const char help[] =
        "Usage: ackd set [-i INSTANCE] KEY=VALUE\n\n"
        "Changes a setting of a daemon that runs, until it ends; its log says who did it. The\n"
        "configuration file stays as it is.\n\n"
        "  log.level=LEVEL         debug, info, warning or error\n"
        "  debug.checks=true       the daemon checks itself as it runs (docs/status.md); false\n\n"
        "  -i, --instance INSTANCE the daemon of that name; default: that of the configuration\n"
        "  -c, --config FILE       the configuration (default: $ACKD_CONFIG, else "
        "/etc/ackd/ackd.yaml)\n"
        "  -o, --option KEY=VALUE  override one key; can be repeated\n"
        "  -h, --help              this help\n\n"
        "Exit status 0; 64 usage, or the daemon does not take the value; 69 the daemon does not\n"
        "answer; 78 configuration.\n";

static const struct option long_options[] = {{"instance", required_argument, NULL, 'i'},
                                             {"config", required_argument, NULL, 'c'},
                                             {"option", required_argument, NULL, 'o'},
                                             {"help", no_argument, NULL, 'h'},
                                             {NULL, 0, NULL, 0}};

typedef struct SetCommand {
        const char *instance; /* NULL: that of the configuration */
        const char *key;      /* without its NUL: `key_size` bytes */
        size_t key_size;
        const char *value;
} SetCommand;

/* -1: go on; else the exit status. */
static int parse(SetCommand *command, CommonOptions *common, int argc, char **argv) {
        int option, status;
        opterr = 0;
        optind = 1;
        while ((option = getopt_long(argc, argv, ":c:o:i:h", long_options, NULL)) != -1) {
                if (option == 'i') {
                        command->instance = optarg;
                        continue;
                }
                status = common_options_take(common, option, argv, help);
                if (status >= 0) {
                        return status;
                }
        }
        if (optind != argc - 1) {
                return usage_error(argv[0], "one KEY=VALUE, such as log.level=debug");
        }
        const char *equals = strchr(argv[optind], '=');
        if (equals == NULL || equals == argv[optind]) {
                return usage_error(argv[0], "\"%s\" is no KEY=VALUE, such as log.level=debug",
                                   argv[optind]);
        }
        command->key = argv[optind];
        command->key_size = (size_t)(equals - argv[optind]);
        command->value = equals + 1;
        return -1;
}

static int make_request(const SetCommand *command, Buffer *request) {
        Json json;
        json_begin(&json, request);
        json_begin_object(&json);
        json_key(&json, "request");
        json_put_text(&json, "set");
        json_key(&json, "key");
        json_put_string(&json, command->key, command->key_size);
        json_key(&json, "value");
        json_put_text(&json, command->value);
        json_end_object(&json);
        int r = json_end(&json);
        return r == 0 && buffer_string(request) == NULL ? -ENOMEM : r;
}

/* The daemon's answer, for people. */
static int show(const Buffer *answer) {
        json_t *document = json_loadb((const char *)answer->data, answer->size, 0, NULL);
        const char *error = json_string_value(json_object_get(document, "error"));
        const char *key = json_string_value(json_object_get(document, "key"));
        const char *value = json_string_value(json_object_get(document, "value"));
        const char *was = json_string_value(json_object_get(document, "was"));
        int status = EXIT_OK;
        if (key != NULL && value != NULL && was != NULL) {
                printf("%s=%s (was %s); until the daemon ends\n", key, value, was);
        } else if (error != NULL) {
                fprintf(stderr, "ackd set: %s\n", error);
                status = EXIT_USAGE;
        } else {
                fputs("ackd set: what answered is no ackd of this version\n", stderr);
                status = EXIT_UNREACHABLE;
        }
        json_decref(document);
        return status;
}

static int set(const SetCommand *command, const Config *config) {
        CLEANUP(buffer_deinit) Buffer request = BUFFER_INIT;
        CLEANUP(buffer_deinit) Buffer answer = BUFFER_INIT;
        char *path = NULL, *error = NULL;
        int r = make_request(command, &request);
        r = r == 0 ? control_socket_path(config, command->instance, &path) : r;
        r = r == 0 ? control_ask(path, (const char *)request.data, &answer, NULL, &error) : r;
        free(path);
        if (r == 0) {
                return show(&answer);
        }
        fprintf(stderr, "ackd set: %s\n", error != NULL ? error : strerror(-r));
        free(error);
        return r > 0 ? EXIT_UNREACHABLE : EXIT_UNEXPECTED;
}

int command_set(int argc, char **argv) {
        CLEANUP(common_options_deinit) CommonOptions common = {0};
        SetCommand command = {0};
        int status = parse(&command, &common, argc, argv);
        if (status >= 0) {
                return status;
        }
        Config *config = load_config(&common, &status);
        if (config != NULL) {
                status = set(&command, config);
        }
        config_free(config);
        return status;
}
