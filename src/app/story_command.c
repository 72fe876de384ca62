#include "app/story_command.h"

#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "app/commands.h"
#include "app/control_client.h"
#include "app/document.h"
#include "app/story_text.h"
#include "app/terminal.h"
#include "pg/schema.h"
#include "util/json.h"

enum {
        MESSAGES_MAX = 1000, /* that a daemon tells at most */
};

/* --- what is asked for -------------------------------------------------------------------- */

/* Digits alone, to the end. */
static bool parse_number(const char *text, const char *end, int64_t max, int64_t *numberp) {
        int64_t number = 0;
        if (text == end || end - text > 18) {
                return false;
        }
        for (; text < end; text++) {
                if (*text < '0' || *text > '9') {
                        return false;
                }
                number = number * 10 + (*text - '0');
        }
        *numberp = number;
        return number <= max;
}

/* A topic's name holds no slash. */
static bool parse_message(const char *text, StoryOperand *operand) {
        const char *first = strchr(text, '/');
        const char *second = strchr(first + 1, '/');
        int64_t partition = 0;
        if (second == NULL || first == text || (size_t)(first - text) >= sizeof(operand->topic) ||
            !parse_number(first + 1, second, INT32_MAX, &partition) ||
            !parse_number(second + 1, second + strlen(second), INT64_MAX, &operand->offset)) {
                return false;
        }
        memcpy(operand->topic, text, (size_t)(first - text));
        operand->topic[first - text] = '\0';
        operand->partition = (int32_t)partition;
        return true;
}

bool story_operand_parse(const char *text, StoryOperand *operand, const char **whyp) {
        *operand = (StoryOperand){0};
        if (strchr(text, '/') != NULL) {
                *whyp = "names no message, such as host-restarts/0/17 (topic, partition, offset)";
                return parse_message(text, operand);
        }
        return host_canonical(text, strlen(text), operand->host, whyp) == 0;
}

/* --- the daemon --------------------------------------------------------------------------- */

static int write_request(const StoryOperand *operand, Buffer *request) {
        Json json;
        json_begin(&json, request);
        json_begin_object(&json);
        json_key(&json, "request");
        json_put_text(&json, "status");
        json_key(&json, "messages");
        json_put_int(&json, MESSAGES_MAX);
        json_key(&json, "of");
        json_begin_object(&json);
        if (operand->host[0] != '\0') {
                json_key(&json, "host");
                json_put_text(&json, operand->host);
        } else {
                json_key(&json, "topic");
                json_put_text(&json, operand->topic);
                json_key(&json, "partition");
                json_put_int(&json, operand->partition);
                json_key(&json, "offset");
                json_put_int(&json, operand->offset);
        }
        json_end_object(&json);
        json_end_object(&json);
        int r = json_end(&json);
        return r == 0 && buffer_string(request) == NULL ? error_origin(-ENOMEM) : r;
}

static bool is_of(const StoryOperand *operand, const json_t *message) {
        const char *host = document_text(message, "host");
        const char *topic = document_text(message, "topic");
        if (operand->host[0] != '\0') {
                return host != NULL && strcmp(host, operand->host) == 0;
        }
        return topic != NULL && strcmp(topic, operand->topic) == 0 &&
               document_int(message, "partition") == operand->partition &&
               document_int(message, "offset") == operand->offset;
}

/* What of the daemon's answer is about it. An ackd that knows no "of" tells its oldest messages. */
static json_t *pick(const StoryOperand *operand, const json_t *status) {
        const json_t *told = json_object_get(status, "messages");
        json_t *messages = json_array();
        bool filtered = document_has(status, "messages_matched");
        long long all = document_int(status, filtered ? "messages_matched" : "messages_total");
        size_t i;
        json_t *message;
        json_array_foreach(told, i, message) {
                if (is_of(operand, message)) {
                        json_array_append(messages, message);
                }
        }
        return json_pack("{s:n,s:O?,s:O?,s:o,s:b}", "error", "instance",
                         json_object_get(status, "instance"), "now", json_object_get(status, "now"),
                         "messages", messages, "complete", all <= (long long)json_array_size(told));
}

/* "daemon" of the document. -ENOMEM. */
static int ask_daemon(const StoryOperand *operand, const char *socket, json_t *document) {
        CLEANUP(buffer_deinit) Buffer request = BUFFER_INIT;
        CLEANUP(buffer_deinit) Buffer answer = BUFFER_INIT;
        json_t *status = NULL;
        char *error = NULL;
        int r = write_request(operand, &request);
        r = r != 0 ? r : control_ask(socket, (const char *)request.data, &answer, NULL, &error);
        r = r != 0 ? r : document_parse(&answer, &status, &error);
        if (r < 0) {
                return r;
        }
        if (r > 0) {
                /* The story is PostgreSQL's: the remedies in the next lines are for another day. */
                error[strcspn(error, "\n")] = '\0';
        }
        json_t *daemon =
                r == 0 ? pick(operand, status)
                       : json_pack("{s:s,s:[],s:b}", "error", error, "messages", "complete", 0);
        free(error);
        json_decref(status);
        return json_object_set_new(document, "daemon", daemon) == 0 ? 0 : error_origin(-ENOMEM);
}

/* --- PostgreSQL --------------------------------------------------------------------------- */

/* 0; positive: why not is "postgres_error" of the document, which has nothing else. */
static int ask_postgres(const StoryOperand *operand, const Config *config, const char *password,
                        json_t **documentp) {
        CLEANUP(buffer_deinit) Buffer answer = BUFFER_INIT;
        bool host = operand->host[0] != '\0';
        bool other = config->file != NULL && strcmp(config->file, CONFIG_FILE) != 0;
        char *error = NULL;
        StoryOf of = {.host = host ? operand->host : NULL,
                      .topic = operand->topic,
                      .group = config_group(config),
                      .partition = operand->partition,
                      .offset = operand->offset,
                      .cooldown_us = config->handlers.restart.cooldown_us};
        int r = story_read(&of, config->postgres.dsn, password, config->postgres.schema, &answer,
                           &error);
        if (r < 0) {
                return r;
        }
        json_t *document = r > 0 ? json_pack("{s:s}", "postgres_error", error)
                                 : json_loadb((const char *)answer.data, answer.size, 0, NULL);
        free(error);
        json_t *asked =
                host ? json_pack("{s:s}", "host", operand->host)
                     : json_pack("{s:s,s:i,s:I}", "topic", operand->topic, "partition",
                                 (int)operand->partition, "offset", (json_int_t)operand->offset);
        if (document == NULL || json_object_set_new(document, "of", asked) != 0 ||
            json_object_set_new(document, "group", json_string(of.group)) != 0 ||
            json_object_set_new(document, "config_file",
                                other ? json_string(config->file) : json_null()) != 0 ||
            json_object_set_new(document, "restarts",
                                json_boolean(config->handlers.restart.enabled)) != 0) {
                json_decref(document);
                return error_origin(-ENOMEM);
        }
        *documentp = document;
        return r;
}

/* --- the command -------------------------------------------------------------------------- */

static int print(const json_t *document, bool json) {
        CLEANUP(buffer_deinit) Buffer text = BUFFER_INIT;
        if (json) {
                if (json_dumpf(document, stdout, JSON_COMPACT) != 0) {
                        return 0; /* main() says what is wrong with stdout */
                }
                fputs("\n", stdout);
                return 0;
        }
        int r = story_text(&text, document, terminal_columns(), terminal_wants_colours());
        if (r == 0) {
                fwrite(text.data, 1, text.size, stdout);
        }
        return r;
}

int story_run(const StoryOperand *operand, const Config *config, const char *socket, bool json) {
        json_t *document = NULL;
        bool failed = false;
        if (!schema_name_is_valid(config->postgres.schema)) {
                fprintf(stderr, "ackd status: postgres.schema: \"%s\" is no plain identifier\n",
                        config->postgres.schema);
                return EXIT_CONFIG;
        }
        char *password = read_password(config->postgres.password_file, &failed);
        if (failed) {
                return EXIT_CONFIG;
        }
        int asked = ask_postgres(operand, config, password, &document);
        free(password);
        int r = asked < 0 ? asked : ask_daemon(operand, socket, document);
        r = r != 0 ? r : story_next(document);
        r = r != 0 ? r : print(document, json);
        if (r == 0 && asked > 0) {
                fprintf(stderr, "ackd status: %s\n", document_text(document, "postgres_error"));
        }
        json_decref(document);
        if (r < 0) {
                fprintf(stderr, "ackd status: %s\n", strerror(-r));
                return EXIT_UNEXPECTED;
        }
        return asked > 0 ? EXIT_UNREACHABLE : EXIT_OK;
}
