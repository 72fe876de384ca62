#pragma once

/*
 * The configuration: everything that was asked for, checked, with the place it came from.
 *
 * Sources in order, the later one wins: defaults, the file, the environment (ACKD__RETRY__ATTEMPTS
 * =3), options (-o retry.attempts=3). Sections and `kafka` are merged, lists are replaced. All
 * errors of all sources are collected before the load fails. A Config is never changed once it is
 * loaded, and any thread may read it. The keys themselves are in config/keys.c.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "util/buffer.h"
#include "util/error.h"
#include "util/zone.h"

#define CONFIG_FILE "/etc/ackd/ackd.yaml"

typedef enum ConfigStart {
        CONFIG_START_EARLIEST,
        CONFIG_START_LATEST,
} ConfigStart;

typedef enum ConfigAction {
        CONFIG_ACTION_EXEC,
        CONFIG_ACTION_HTTP,
        CONFIG_ACTION_DRY_RUN,
} ConfigAction;

typedef enum ConfigOnUnknown {
        CONFIG_ON_UNKNOWN_REJECT,
        CONFIG_ON_UNKNOWN_RETRY,
        CONFIG_ON_UNKNOWN_DONE,
} ConfigOnUnknown;

typedef enum ConfigBool {
        CONFIG_FALSE,
        CONFIG_TRUE,
} ConfigBool;

typedef enum ConfigLogLevel {
        CONFIG_LOG_DEBUG,
        CONFIG_LOG_INFO,
        CONFIG_LOG_WARNING,
        CONFIG_LOG_ERROR,
} ConfigLogLevel;

typedef enum ConfigLogFormat {
        CONFIG_LOG_AUTO,
        CONFIG_LOG_TEXT,
        CONFIG_LOG_JSON,
} ConfigLogFormat;

typedef enum ConfigOriginKind {
        CONFIG_FROM_DEFAULT,
        CONFIG_FROM_FILE,
        CONFIG_FROM_ENVIRONMENT,
        CONFIG_FROM_OPTION,
} ConfigOriginKind;

/* Where a value came from. */
typedef struct ConfigOrigin {
        ConfigOriginKind kind;
        const char *name;      /* file, variable, or the path of -o; the Config's */
        unsigned line, column; /* from 1, of a file; otherwise 0 */
} ConfigOrigin;

/* A setting of librdkafka, as it is handed over. */
typedef struct ConfigSetting {
        char *name, *value;
        ConfigOrigin origin;
} ConfigSetting;

typedef struct ConfigSettings {
        ConfigSetting *items; /* in the order of the file */
        size_t n;
} ConfigSettings;

typedef struct ConfigHeader {
        char *name, *value; /* the value is a template, and may be a secret */
} ConfigHeader;

typedef struct ConfigHeaders {
        ConfigHeader *items; /* in the order of the file */
        size_t n;
} ConfigHeaders;

/* Exit statuses, 0 to 255, or HTTP statuses, 200 to 599. */
typedef struct ConfigStatuses {
        int *items;
        size_t n;
} ConfigStatuses;

/* What a field of a message is compared with. */
typedef enum ConfigWhenType {
        CONFIG_WHEN_NULL, /* also: there is no such field */
        CONFIG_WHEN_FALSE,
        CONFIG_WHEN_TRUE,
        CONFIG_WHEN_NUMBER, /* as it is written */
        CONFIG_WHEN_TEXT,
} ConfigWhenType;

typedef struct ConfigCondition {
        char *path; /* dotted */
        char *text; /* "": null */
        ConfigWhenType type;
} ConfigCondition;

typedef struct ConfigWhen {
        ConfigCondition *items; /* all of them have to hold */
        size_t n;
} ConfigWhen;

typedef struct ConfigWindow {
        unsigned days;        /* bit 0: it opens on Mondays, … bit 6: on Sundays */
        int32_t from_s, to_s; /* seconds of the day; `to` up to 24:00, before `from`: of the next */
        char *zone;
        Zone *data; /* of that zone's file, as it was when it was loaded */
} ConfigWindow;

typedef struct ConfigWindows {
        ConfigWindow *items;
        size_t n; /* 0: restarts may start at any time */
} ConfigWindows;

typedef struct ConfigGroup {
        char *match;         /* a glob on canonical names, in lower case */
        ConfigOrigin origin; /* of `match` */
        size_t concurrency;  /* 0: no limit */
        int64_t quiet_us;    /* 0: none */
} ConfigGroup;

typedef struct ConfigGroups {
        ConfigGroup *items; /* the first that matches a host is its group */
        size_t n;
} ConfigGroups;

typedef struct ConfigConsume {
        char **topics; /* lists of strings end with NULL */
        ConfigStart start;
        int64_t commit_interval_us;
        char *dead_letter_topic; /* "": none */
} ConfigConsume;

/* Dotted paths into the message. */
typedef struct ConfigMessage {
        char *host, *id, *requested_at;
} ConfigMessage;

typedef struct ConfigExec {
        char **argv; /* templates; the first is an absolute path */
        int64_t timeout_us;
        int64_t kill_after_us; /* from TERM to KILL */
        struct {
                ConfigStatuses done, not_started, unknown; /* any other: failed */
        } status;
} ConfigExec;

typedef struct ConfigHttp {
        char *url;    /* a template, as are the headers and the body */
        char *method; /* "POST" */
        ConfigHeaders headers;
        char *body; /* "": none */
        int64_t timeout_us;
        int64_t connect_timeout_us;
        struct {
                ConfigStatuses done, failed, not_started, unknown;
        } status;
        struct {
                char *ca_file, *cert_file, *key_file; /* "": none */
        } tls;
        struct {
                char *user, *password_file, *bearer_file; /* "": none */
        } auth;
} ConfigHttp;

/* A command or a request that asks something: the lists of statuses in exec and http are empty. */
typedef struct ConfigCheck {
        bool enabled;    /* the rest means nothing without it */
        ConfigExec exec; /* argv is NULL, or url is: exactly one of the two is there */
        ConfigHttp http;
} ConfigCheck;

typedef struct ConfigPrecheck {
        ConfigCheck check;
        struct {
                ConfigStatuses go, not_needed, wait; /* any other: wait */
        } status;
} ConfigPrecheck;

typedef struct ConfigVerify {
        ConfigCheck check;
        struct {
                ConfigStatuses done; /* the check succeeded */
        } status;
        int64_t interval_us;
        int64_t deadline_us; /* from the end of the action */
} ConfigVerify;

typedef struct ConfigSave {
        bool enabled;
} ConfigSave;

typedef struct ConfigRestart {
        bool enabled; /* the rest means nothing without it */
        ConfigAction action;
        char **allow; /* globs on canonical names */
        char **deny;
        ConfigBool allow_self; /* whether it may restart the machine that it runs on */
        ConfigWhen when;
        ConfigWindows windows;
        int64_t max_wait_us; /* from the first receipt */
        int64_t max_age_us;  /* from the request to the first receipt; 0: never too old */
        int64_t cooldown_us; /* from a start of a host to its next one; 0: none */
        ConfigExec exec;     /* argv is NULL when the action is another and it was not given; */
        ConfigHttp http;     /* so is url */
        ConfigPrecheck precheck;
        ConfigVerify verify;
        ConfigOnUnknown on_unknown;
        size_t concurrency;       /* of this instance */
        size_t fleet_concurrency; /* of all instances; 0: no limit */
        ConfigGroups groups;
        struct {
                size_t restarts; /* 0: no limit */
                int64_t period_us;
        } per_host;
        struct {
                size_t restarts; /* 0: there is no fuse */
                int64_t period_us;
        } fuse;
} ConfigRestart;

typedef struct ConfigHandlers {
        ConfigSave save;
        ConfigRestart restart;
} ConfigHandlers;

typedef struct ConfigPostgres {
        char *dsn;           /* may hold a password: never print it, see config_mask_dsn() */
        char *password_file; /* "": none */
        char *schema;
        size_t connections;
        size_t batch_rows;
        size_t batch_bytes;
        int64_t statement_timeout_us;
} ConfigPostgres;

typedef struct ConfigLimits {
        size_t in_flight;
        size_t in_flight_bytes;
        size_t waiting;
        size_t ack_gap;
        size_t message_bytes;
} ConfigLimits;

typedef struct ConfigRetry {
        size_t attempts;
        int64_t backoff_us;
        int64_t backoff_max_us;
} ConfigRetry;

typedef struct ConfigShutdown {
        int64_t grace_us; /* `auto` is worked out */
        bool grace_auto;
} ConfigShutdown;

typedef struct ConfigLog {
        ConfigLogLevel level;
        ConfigLogFormat format;
} ConfigLog;

typedef struct ConfigMetrics {
        char *textfile; /* "": none */
        int64_t interval_us;
} ConfigMetrics;

typedef struct ConfigControl {
        char *socket; /* "": see control_socket_path() */
} ConfigControl;

typedef struct ConfigDebug {
        ConfigBool checks;
        int64_t slow_callback_us; /* 0: never reported */
} ConfigDebug;

typedef struct Config {
        const char *file; /* that was read; NULL: none */
        char *instance;   /* never empty */
        ConfigSettings kafka;
        ConfigConsume consume;
        ConfigMessage message;
        ConfigHandlers handlers;
        ConfigPostgres postgres;
        ConfigLimits limits;
        ConfigRetry retry;
        ConfigShutdown shutdown;
        ConfigLog log;
        ConfigMetrics metrics;
        ConfigControl control;
        ConfigDebug debug;

        ConfigOrigin *origins; /* one for each key, in the order of the table */
        char **names;          /* what origins point to; ends with NULL */
} Config;

typedef struct ConfigErrors ConfigErrors;

/* All borrowed for the call. */
typedef struct ConfigSources {
        const char *file; /* -c; NULL: ACKD_CONFIG, else CONFIG_FILE, which may be missing */
        const char *const *environment; /* NAME=value as in environ, ends with NULL; NULL: none */
        const char *const *options;     /* the arguments of -o, ends with NULL; NULL: none */
        /* What only the libraries can tell, added to @errors; negative only. It is asked even when
         * there are other errors: what was refused has its value from before, so there is always
         * one. NULL: nobody is asked. */
        int (*check)(void *user, const Config *config, ConfigErrors *errors);
        void *user;             /* of check */
        const char *librdkafka; /* its version, such as "2.0.2", to warn of what it gets wrong;
                                   NULL: not known */
} ConfigSources;

/* One finding: a whole line for people, without a newline. */
typedef struct ConfigProblem {
        char *text;
        ConfigOrigin origin; /* only for sorting; its name may be gone */
} ConfigProblem;

typedef struct ConfigProblems {
        ConfigProblem *items;
        size_t n;
        size_t more; /* beyond the 100 that are kept */
} ConfigProblems;

/* Embedded by the caller, {0} at first. */
struct ConfigErrors {
        ConfigProblems errors; /* FILE:LINE:COLUMN: what is wrong; nearest name; what is allowed */
        ConfigProblems warnings; /* what will hurt; also after a load that went well */
};

void config_errors_deinit(ConfigErrors *errors);

enum {
        CONFIG_E_INVALID = 1, /* every error is in ConfigErrors: exit status 78 */
};

/* Reads one file and those of the zones that it names, no other I/O; before any thread is started.
 */
MUST_CHECK int config_load(Config **configp, const ConfigSources *sources, ConfigErrors *errors);
void config_free(Config *config); /* NULL is allowed */

/* Warns of what is not there on this machine, for the user of this process: the command, the
 * password file, the folder of the textfile. Not an error: the daemon may run elsewhere, or later.
 */
void config_check_machine(const Config *config, ConfigErrors *errors);

/* Adds what is in force, as YAML that can be fed back, each line with where it came from; secrets
 * are masked. */
MUST_CHECK int config_print(const Config *config, Buffer *out);

/* Adds every key with its help and its default, as YAML. Keys without one stand in comments. */
MUST_CHECK int config_print_defaults(Buffer *out);

/* Adds a connection string of libpq's with its passwords masked, for messages. */
MUST_CHECK int config_mask_dsn(const char *dsn, Buffer *out);

/* Whether the setting of librdkafka's holds a secret: a password, a key. */
bool config_is_secret(const char *name);
