#include "app/control_service.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "app/control_client.h"
#include "core/inspect.h"
#include "util/json.h"

typedef struct ControlJob ControlJob;

static void log_request(const ControlService *service, const ControlClient *client, LogLevel level,
                        const char *what) {
        const ControlAsker *asker = control_asker(client);
        if (log_wants(service->log, level)) {
                log_write(service->log, level, "control.request", FIELDS(), "pid %d, %s: %s",
                          (int)asker->pid, asker->user, what);
        }
}

static void answer_error(ControlClient *client, const char *error) {
        CLEANUP(buffer_deinit) Buffer answer = BUFFER_INIT;
        Json json;
        json_begin(&json, &answer);
        json_begin_object(&json);
        json_key(&json, "error");
        json_put_text(&json, error);
        json_end_object(&json);
        if (json_end(&json) != 0 || buffer_append_char(&answer, '\n') != 0) {
                buffer_clear(&answer); /* it is closed without an answer */
        }
        control_answer(client, &answer);
}

/* --- status ------------------------------------------------------------------------------- */

static void on_document(void *user, Buffer *document) {
        ControlJob *job = user;
        ControlClient *client = steal(job->client);
        job->job = NULL;
        if (document != NULL) {
                control_answer(client, document);
        } else {
                answer_error(client, "out of memory");
        }
}

static void answer_status(ControlService *service, ControlClient *client, const json_t *request) {
        const json_t *wanted = json_object_get(request, "messages");
        json_int_t n = json_is_integer(wanted) ? json_integer_value(wanted) : -1;
        if (wanted != NULL && (n < 0 || n > INSPECT_MESSAGES_MAX)) {
                answer_error(client, "\"messages\" is a number from 0 to 1000");
                return;
        }
        log_request(service, client, LOG_DEBUG, "status");
        for (size_t i = 0; i < CONTROL_CLIENTS_MAX; i++) {
                ControlJob *job = &service->jobs[i];
                if (job->client != NULL) {
                        continue;
                }
                job->service = service;
                job->client = client;
                if (status_make(&job->job, service->status,
                                wanted != NULL ? (size_t)n : STATUS_MESSAGES_DEFAULT, on_document,
                                job) != 0) {
                        job->client = NULL;
                        answer_error(client, "out of memory");
                }
                return;
        }
        answer_error(client, "too many requests at once"); /* as many as there are clients */
}

static void on_dropped(void *user, ControlClient *client) {
        ControlService *service = user;
        for (size_t i = 0; i < CONTROL_CLIENTS_MAX; i++) {
                ControlJob *job = &service->jobs[i];
                if (job->client == client) {
                        status_cancel(steal(job->job));
                        job->client = NULL;
                }
        }
}

/* --- set ---------------------------------------------------------------------------------- */

static const char *level_name(const Log *log) {
        int level = LOG_DEBUG;
        while (level < LOG_ERROR && !log_wants(log, (LogLevel)level)) {
                level++;
        }
        return log_level_name((LogLevel)level);
}

static void answer_set_done(ControlClient *client, const char *key, const char *value,
                            const char *was) {
        CLEANUP(buffer_deinit) Buffer answer = BUFFER_INIT;
        Json json;
        json_begin(&json, &answer);
        json_begin_object(&json);
        json_key(&json, "ok");
        json_put_bool(&json, true);
        json_key(&json, "key");
        json_put_text(&json, key);
        json_key(&json, "value");
        json_put_text(&json, value);
        json_key(&json, "was");
        json_put_text(&json, was);
        json_end_object(&json);
        if (json_end(&json) != 0 || buffer_append_char(&answer, '\n') != 0) {
                buffer_clear(&answer);
        }
        control_answer(client, &answer);
}

static void answer_set(ControlService *service, ControlClient *client, const json_t *request) {
        const char *key = json_string_value(json_object_get(request, "key"));
        const char *value = json_string_value(json_object_get(request, "value"));
        const char *was = NULL;
        char line[128];
        if (key == NULL || value == NULL) {
                answer_error(client, "set takes \"key\" and \"value\", both strings");
                return;
        }
        bool level = strcmp(key, "log.level") == 0;
        if (!level && strcmp(key, "debug.checks") != 0) {
                answer_error(client, "only log.level and debug.checks can be set while the daemon "
                                     "runs; the rest needs a restart");
                return;
        }
        if (level && log_level_parse(value) < 0) {
                answer_error(client, "log.level is one of: debug info warning error");
                return;
        }
        if (!level && strcmp(value, "true") != 0 && strcmp(value, "false") != 0) {
                answer_error(client, "debug.checks is one of: false true");
                return;
        }
        was = level ? level_name(service->log) : service->status->checks ? "true" : "false";
        snprintf(line, sizeof(line), "set %s=%s, it was %s; until the daemon ends", key, value,
                 was);
        /* Told with the level that shows more, so that both ends of a change are in the log. */
        bool before = log_wants(service->log, LOG_INFO);
        if (before) {
                log_request(service, client, LOG_INFO, line);
        }
        if (level) {
                log_set_level(service->log, (LogLevel)log_level_parse(value));
        } else {
                service->checks(service->user, strcmp(value, "true") == 0);
        }
        if (!before) {
                log_request(service, client, LOG_INFO, line);
        }
        answer_set_done(client, key, value, was);
}

/* --- requests ----------------------------------------------------------------------------- */

static void on_asked(void *user, ControlClient *client, const char *request, size_t size) {
        ControlService *service = user;
        json_error_t error;
        json_t *document = json_loadb(request, size, JSON_REJECT_DUPLICATES, &error);
        const char *what = json_string_value(json_object_get(document, "request"));
        if (!json_is_object(document)) {
                answer_error(client, "a request is one line with a JSON object, such as "
                                     "{\"request\":\"status\"}");
        } else if (what != NULL && strcmp(what, "status") == 0) {
                answer_status(service, client, document);
        } else if (what != NULL && strcmp(what, "set") == 0) {
                answer_set(service, client, document);
        } else {
                answer_error(client, "\"request\" is one of: status set");
        }
        json_decref(document);
}

/* --- life --------------------------------------------------------------------------------- */

int control_service_start(ControlService *service, Status *status,
                          void (*checks)(void *user, bool on), void *user, char **errorp) {
        static const ControlEvents events = {.asked = on_asked, .dropped = on_dropped};
        const Config *config = status->config;
        char *error = NULL;
        *service = (ControlService){.loop = status->loop,
                                    .log = status->log,
                                    .status = status,
                                    .checks = checks,
                                    .user = user};
        int r = control_socket_path(config, NULL, &service->path);
        if (r != 0) {
                return r;
        }
        r = control_new(&service->control, service->loop, service->log, service->path, &events,
                        service, &error);
        if (r == CONTROL_E_PATH && config->control.socket[0] == '\0') {
                log_warning(service->log, "control.none", FIELDS(.error = error),
                            "%s; going on without: ackd status and ackd set cannot ask this "
                            "daemon. RuntimeDirectory=ackd in its unit makes the directory, or "
                            "control.socket names another",
                            error);
                free(error);
                return 0;
        }
        if (r > 0) {
                *errorp = error;
                return CONTROL_SERVICE_E_CONFIG;
        }
        return r;
}

void control_service_stop(ControlService *service) {
        control_free(service->control);
        free(service->path);
        *service = (ControlService){0};
}
