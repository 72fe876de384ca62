#include "config/keys.h"

#include <ctype.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "config/config.h"
#include "util/duration.h"
#include "util/http_template.h"
#include "util/template.h"

#define MS         INT64_C(1000)
#define SECOND     (1000 * MS)
#define MINUTE     (60 * SECOND)
#define HOUR       (60 * MINUTE)
#define DAY        (24 * HOUR)
#define KIB        INT64_C(1024)
#define MIB        (1024 * KIB)
#define GIB        (1024 * MIB)
#define LIST_ITEMS 1000
#define RESTARTS   INT64_C(1000000) /* a limit of the ledger: int32_t */

static int unfit(Buffer *why, const char *text) {
        int r = buffer_append_string(why, text);
        return r != 0 ? r : KEY_E_UNFIT;
}

static int check_not_empty(const char *text, size_t index, Buffer *why) {
        (void)index;
        return *text != '\0' ? 0 : unfit(why, "is empty");
}

/* It names the control socket and stands in every log line. */
static int check_instance(const char *text, size_t index, Buffer *why) {
        (void)index;
        if (strlen(text) > 64) {
                return unfit(why, "is longer than 64 bytes");
        }
        for (const char *p = text; *p != '\0'; p++) {
                if (!isalnum((unsigned char)*p) && strchr("._@:-", *p) == NULL) {
                        return unfit(why, "may hold letters, digits and . _ @ : - only");
                }
        }
        return *text == '.' ? unfit(why, "begins with a dot") : 0;
}

/* sun_path of a sockaddr_un, with its NUL. */
static int check_socket(const char *text, size_t index, Buffer *why) {
        (void)index;
        if (*text != '\0' && *text != '/') {
                return unfit(why, "is not an absolute path");
        }
        return strlen(text) < 108 ? 0 : unfit(why, "is longer than 107 bytes");
}

static int check_file(const char *text, size_t index, Buffer *why) {
        (void)index;
        return *text == '\0' || *text == '/' ? 0 : unfit(why, "is not an absolute path");
}

/* Kafka's grammar. @bad_byte: what is said of another byte. */
static int check_topic_name(const char *text, const char *bad_byte, Buffer *why) {
        if (*text == '\0') {
                return unfit(why, "is empty");
        }
        if (strlen(text) > 249) {
                return unfit(why, "is longer than 249 bytes");
        }
        if (strcmp(text, ".") == 0 || strcmp(text, "..") == 0) {
                return unfit(why, "is not a name of a topic");
        }
        for (const char *p = text; *p != '\0'; p++) {
                if (!isalnum((unsigned char)*p) && strchr("._-", *p) == NULL) {
                        return unfit(why, bad_byte);
                }
        }
        return 0;
}

/* The rest of a pattern is librdkafka's to judge. */
static int check_topic(const char *text, size_t index, Buffer *why) {
        (void)index;
        if (text[0] == '^') {
                return text[1] != '\0' ? 0 : unfit(why, "is an empty pattern");
        }
        return check_topic_name(text,
                                "holds a byte that no name of a topic has; a pattern begins with ^",
                                why);
}

/* Never a pattern: something is written to it. */
static int check_dead_letter_topic(const char *text, size_t index, Buffer *why) {
        (void)index;
        if (*text == '\0') {
                return 0;
        }
        return text[0] == '^'
                       ? unfit(why, "is a pattern")
                       : check_topic_name(text, "holds a byte that no name of a topic has", why);
}

static int check_field(const char *text, size_t index, Buffer *why) {
        (void)index;
        size_t size = strlen(text);
        if (size == 0) {
                return unfit(why, "is empty");
        }
        if (text[0] == '.' || text[size - 1] == '.' || strstr(text, "..") != NULL) {
                return unfit(why, "has an empty part between its dots");
        }
        return 0;
}

/* What can never match a canonical name is a mistake, and in `deny` a dangerous one. */
int key_check_glob(const char *text, size_t index, Buffer *why) {
        (void)index;
        size_t size = strlen(text);
        if (size == 0) {
                return unfit(why, "is empty");
        }
        if (size > 255) {
                return unfit(why, "is longer than 255 bytes");
        }
        for (const char *p = text; *p != '\0'; p++) {
                if (!isalnum((unsigned char)*p) && strchr(".-:*?", *p) == NULL) {
                        return unfit(why, strchr("[]{}!", *p) != NULL
                                                  ? "holds a bracket or !; only * and ? are special"
                                                  : "holds a byte that no host name has");
                }
        }
        return text[size - 1] == '.' ? unfit(why, "ends with a dot, which canonical names never do")
                                     : 0;
}

/* systemd and its likes give no PATH that one could rely on, and a program that a message chooses
 * is no longer the operator's choice. */
static int check_argument(const char *text, size_t index, Buffer *why) {
        Template *template = NULL;
        char *error = NULL;
        int r = template_new(&template, text, &error);
        if (r == TEMPLATE_E_SYNTAX) {
                r = buffer_printf(why, "has %s", error);
                free(error);
                return r != 0 ? r : KEY_E_UNFIT;
        }
        if (r != 0) {
                return r;
        }
        bool literal = template_is_literal(template);
        template_free(template);
        if (index > 0) {
                return 0;
        }
        if (text[0] != '/') {
                return unfit(why, "is not the absolute path of a program");
        }
        return literal ? 0 : unfit(why, "must not have a placeholder: it is the program");
}

static int check_url(const char *text, size_t index, Buffer *why) {
        UrlTemplate *template = NULL;
        (void)index;
        int r = url_template_new(&template, text, why);
        url_template_free(template);
        return r;
}

/* What it is to be depends on its type, and is checked with that. */
static int check_template(const char *text, size_t index, Buffer *why) {
        Template *template = NULL;
        char *error = NULL;
        (void)index;
        int r = template_new(&template, text, &error);
        if (r == TEMPLATE_E_SYNTAX) {
                r = buffer_printf(why, "has %s", error);
                free(error);
                return r != 0 ? r : KEY_E_UNFIT;
        }
        template_free(template);
        return r;
}

static int check_method(const char *text, size_t index, Buffer *why) {
        static const char *const methods[] = {"DELETE", "GET", "PATCH", "POST", "PUT"};
        (void)index;
        for (size_t i = 0; i < sizeof(methods) / sizeof(methods[0]); i++) {
                if (strcmp(text, methods[i]) == 0) {
                        return 0;
                }
        }
        return unfit(why, "is no method for this");
}

/* RFC 7617: the colon ends it. */
static int check_user(const char *text, size_t index, Buffer *why) {
        (void)index;
        for (const char *p = text; *p != '\0'; p++) {
                if ((unsigned char)*p < ' ' || *p == 0x7f || *p == ':') {
                        return unfit(why, "holds a colon or a control character");
                }
        }
        return 0;
}

static int check_schema(const char *text, size_t index, Buffer *why) {
        (void)index;
        if (*text == '\0' || strlen(text) > 63 || isdigit((unsigned char)*text) ||
            strncmp(text, "pg_", 3) == 0) {
                return unfit(why, "is not a name for a schema");
        }
        for (const char *p = text; *p != '\0'; p++) {
                if (!islower((unsigned char)*p) && !isdigit((unsigned char)*p) && *p != '_') {
                        return unfit(why, "is not a name for a schema");
                }
        }
        return 0;
}

#define FIELD(field) .offset = offsetof(Config, field)
#define TEXT(name, field, default_, check_, expected_, help_)                                      \
        {                                                                                          \
                .path = name, .type = KEY_TEXT, FIELD(field), .text = default_, .check = check_,   \
                .expected = expected_, .help = help_                                               \
        }
#define CHOICE(name, field, default_, choices_, help_)                                             \
        {                                                                                          \
                .path = name, .type = KEY_CHOICE, FIELD(field), .text = default_,                  \
                .choices = choices_, .help = help_                                                 \
        }
#define NUMBER(type_, name, field, default_, min_, max_, help_)                                    \
        {                                                                                          \
                .path = name, .type = type_, FIELD(field), .text = default_, .min = min_,          \
                .max = max_, .help = help_                                                         \
        }
#define COUNT(...)    NUMBER(KEY_COUNT, __VA_ARGS__)
#define SIZE(...)     NUMBER(KEY_SIZE, __VA_ARGS__)
#define DURATION(...) NUMBER(KEY_DURATION, __VA_ARGS__)
#define LIST(name, field, default_, min_, check_, expected_, help_)                                \
        {                                                                                          \
                .path = name, .type = KEY_LIST, FIELD(field), .text = default_, .min = min_,       \
                .max = LIST_ITEMS, .check = check_, .expected = expected_, .help = help_           \
        }
#define STATUSES(name, field, default_, help_)                                                     \
        {                                                                                          \
                .path = name, .type = KEY_STATUSES, FIELD(field), .text = default_, .max = 255,    \
                .help = help_                                                                      \
        }
#define HTTP_STATUSES(name, field, default_, help_)                                                \
        {                                                                                          \
                .path = name, .type = KEY_STATUSES, FIELD(field), .text = default_, .min = 200,    \
                .max = 599, .help = help_                                                          \
        }
#define SPECIAL(type_, name, field, default_, max_, help_)                                         \
        { .path = name, .type = type_, FIELD(field), .text = default_, .max = max_, .help = help_ }

#define CHECK_STATUSES(name, field, default_, help_)                                               \
        {                                                                                          \
                .path = name, .type = KEY_STATUSES, FIELD(field), .text = default_, .max = 599,    \
                .help = help_                                                                      \
        }

#define RESTART  "handlers.restart-host"
#define PRECHECK RESTART ".precheck"
#define VERIFY   RESTART ".verify"
#define GLOBS    "a list of globs, such as [\"*.prod.example.com\"]"
#define PATH     "a dotted path into the message, such as target.fqdn"
#define FILE_    "an absolute path, or \"\" for none"

/* What a command and a request are, of the action and of the checks alike. Only the action's have
 * statuses of their own, which stand between these by their names. */
#define EXEC_TO_STATUS(at, field)                                                                  \
        LIST(at ".exec.argv", field.exec.argv, NULL, 1, check_argument,                            \
             "a list that begins with the absolute path of a program, such as [/usr/bin/ssh, --, " \
             "\"{{host}}\", reboot]",                                                              \
             "The command and its arguments; no shell. Placeholders: " TEMPLATE_KNOWN              \
             "; a request that lacks one of them is rejected."),                                   \
                DURATION(at ".exec.kill_after", field.exec.kill_after_us, "5s", 0, HOUR,           \
                         "Time from TERM to KILL.")
#define EXEC_FROM_STATUS(at, field, default_, help_)                                               \
        DURATION(at ".exec.timeout", field.exec.timeout_us, default_, 10 * MS, DAY, help_)
#define HTTP_TO_STATUS(at, field, method_)                                                         \
        TEXT(at ".http.auth.bearer_file", field.http.auth.bearer_file, "\"\"", check_file, FILE_,  \
             "File with a bearer token, read at each request; empty: none."),                      \
                TEXT(at ".http.auth.password_file", field.http.auth.password_file, "\"\"",         \
                     check_file, FILE_, "File with the password of user, read at each request."),  \
                TEXT(at ".http.auth.user", field.http.auth.user, "\"\"", check_user,               \
                     "a name without a colon", "User of basic authentication; empty: none."),      \
                TEXT(at ".http.body", field.http.body, "\"\"", check_template,                     \
                     "text with placeholders: " TEMPLATE_KNOWN,                                    \
                     "What is sent. In JSON a placeholder stands between quotes, and is "          \
                     "escaped."),                                                                  \
                DURATION(at ".http.connect_timeout", field.http.connect_timeout_us, "10s",         \
                         10 * MS, HOUR,                                                            \
                         "Time for name, connection and TLS; after it surely nothing was sent."),  \
                SPECIAL(KEY_HEADERS, at ".http.headers", field.http.headers, "{}", 0,              \
                        "Headers of the request. A JSON body without a Content-Type gets "         \
                        "application/json."),                                                      \
                TEXT(at ".http.method", field.http.method, method_, check_method,                  \
                     "DELETE | GET | PATCH | POST | PUT", "Method of the request.")
#define HTTP_FROM_STATUS(at, field, help_)                                                         \
        DURATION(at ".http.timeout", field.http.timeout_us, "30s", 10 * MS, DAY, help_),           \
                TEXT(at ".http.tls.ca_file", field.http.tls.ca_file, "\"\"", check_file, FILE_,    \
                     "PEM file of the authorities to trust; empty: the system's."),                \
                TEXT(at ".http.tls.cert_file", field.http.tls.cert_file, "\"\"", check_file,       \
                     FILE_, "PEM file with a client certificate; empty: none."),                   \
                TEXT(at ".http.tls.key_file", field.http.tls.key_file, "\"\"", check_file, FILE_,  \
                     "PEM file with its key, without a passphrase; empty: it is in cert_file."),   \
                TEXT(at ".http.url", field.http.url, NULL, check_url,                              \
                     "an http or https URL, such as "                                              \
                     "https://{{host.label}}-bmc.example.com/reset",                               \
                     "Where to send the request. Placeholders: " TEMPLATE_KNOWN                    \
                     "; a request that lacks one of them is rejected.")
#define CHECK(at, field)                                                                           \
        EXEC_TO_STATUS(at, field),                                                                 \
                EXEC_FROM_STATUS(at, field, "30s",                                                 \
                                 "Time after which the command gets TERM; it has not succeeded."), \
                HTTP_TO_STATUS(at, field, "GET"),                                                  \
                HTTP_FROM_STATUS(at, field, "Time for all of it; after it, it has not succeeded.")

const Key keys[] = {
        DURATION("consume.commit_interval", consume.commit_interval_us, "1s", 10 * MS, HOUR,
                 "Time between two commits of a partition's watermark."),
        TEXT("consume.dead_letter_topic", consume.dead_letter_topic, "\"\"",
             check_dead_letter_topic, "the name of a topic, or \"\" for none",
             "Topic to which rejected messages are sent too; it has to be there. Empty: they are "
             "kept in PostgreSQL alone."),
        CHOICE("consume.start", consume.start, "earliest", "earliest latest",
               "Where a consumer group without a past begins."),
        LIST("consume.topics", consume.topics, "[host-restarts]", 1, check_topic,
             "a list of topics, such as [host-restarts]",
             "Topics to consume; ^... is a regular expression."),
        TEXT("control.socket", control.socket, "\"\"", check_socket,
             "an absolute path of at most 107 bytes, or \"\"",
             "Where ackd status and ackd set ask; empty: INSTANCE.sock in $RUNTIME_DIRECTORY, else "
             "/run/ackd."),
        CHOICE("debug.checks", debug.checks, "false", "false true",
               "Whether the daemon checks itself as it runs; ACKD_DEBUG=1 turns it on too."),
        DURATION("debug.slow_callback", debug.slow_callback_us, "100ms", 0, HOUR,
                 "A callback of the loop that takes longer is logged; 0: none is."),
        SPECIAL(KEY_HANDLER, RESTART, handlers.restart.enabled, NULL, 0,
                "Restarts the host that a message names."),
        CHOICE(RESTART ".action", handlers.restart.action, NULL, "exec http dry-run",
               "Required: how a host is restarted; dry-run only says what it would do."),
        LIST(RESTART ".allow", handlers.restart.allow, NULL, 1, key_check_glob, GLOBS,
             "Required: globs on canonical host names; all others are rejected."),
        CHOICE(RESTART ".allow_self", handlers.restart.allow_self, "false", "false true",
               "Whether it may restart the machine that ackd runs on."),
        COUNT(RESTART ".concurrency", handlers.restart.concurrency, "16", 1, 10000,
              "Restarts at once, of this instance."),
        DURATION(RESTART ".cooldown", handlers.restart.cooldown_us, "15m", 0, 366 * DAY,
                 "Time between two starts of one host; 0: none. A request within it is suppressed "
                 "after a restart that is done, and waits after any other."),
        LIST(RESTART ".deny", handlers.restart.deny, "[]", 0, key_check_glob, GLOBS,
             "Globs on host names that are rejected although allowed."),
        EXEC_TO_STATUS(RESTART, handlers.restart),
        STATUSES(RESTART ".exec.status.done", handlers.restart.exec.status.done, "[0]",
                 "Exit statuses that mean: restarted."),
        STATUSES(RESTART ".exec.status.not_started", handlers.restart.exec.status.not_started, "[]",
                 "Exit statuses that mean: surely without effect."),
        STATUSES(RESTART ".exec.status.unknown", handlers.restart.exec.status.unknown, "[255]",
                 "Exit statuses that mean: perhaps restarted (ssh ends with 255 when the host goes "
                 "down)."),
        EXEC_FROM_STATUS(RESTART, handlers.restart, "60s",
                         "Time after which the command gets TERM and its outcome is unknown."),
        COUNT(RESTART ".fleet_concurrency", handlers.restart.fleet_concurrency, "5", 0, RESTARTS,
              "Restarts at once, of all instances; 0: no limit."),
        DURATION(RESTART ".fuse.period", handlers.restart.fuse.period_us, "10m", SECOND, 366 * DAY,
                 "The period in which the fuse counts."),
        COUNT(RESTART ".fuse.restarts", handlers.restart.fuse.restarts, "30", 0, RESTARTS,
              "Starts of all instances in the period; one more puts a hold on every host, until a "
              "person lifts it. 0: no fuse."),
        SPECIAL(KEY_GROUPS, RESTART ".groups", handlers.restart.groups, "[]", 0,
                "Hosts that share a limit, over all instances; the first that matches a host is "
                "its group. concurrency: restarts at once, 0: no limit; quiet_time: time from the "
                "end of a restart to the next start, 0 without it."),
        HTTP_TO_STATUS(RESTART, handlers.restart, "POST"),
        HTTP_STATUSES(RESTART ".http.status.done", handlers.restart.http.status.done,
                      "[200, 202, 204]", "HTTP statuses that mean: restarted."),
        HTTP_STATUSES(RESTART ".http.status.failed", handlers.restart.http.status.failed, "[]",
                      "HTTP statuses from 500 on that mean: refused, and without effect. Below 500 "
                      "all that are in no list do."),
        HTTP_STATUSES(RESTART ".http.status.not_started", handlers.restart.http.status.not_started,
                      "[429, 503]",
                      "HTTP statuses that mean: surely without effect; try again later."),
        HTTP_STATUSES(RESTART ".http.status.unknown", handlers.restart.http.status.unknown, "[]",
                      "HTTP statuses that mean: perhaps restarted, as do all from 500 on that are "
                      "in no list."),
        HTTP_FROM_STATUS(RESTART, handlers.restart,
                         "Time for all of it; after it the outcome is unknown when it was sent."),
        DURATION(RESTART ".max_age", handlers.restart.max_age_us, "1h", 0, 366 * DAY,
                 "A request that was older when it was received is suppressed; 0: none is too "
                 "old."),
        DURATION(RESTART ".max_wait", handlers.restart.max_wait_us, "4h", SECOND, 366 * DAY,
                 "A request that waited this long since it was received is rejected."),
        CHOICE(RESTART ".on_unknown", handlers.restart.on_unknown, "reject", "reject retry done",
               "What becomes of a restart of which nobody knows whether it had an effect."),
        DURATION(RESTART ".per_host.period", handlers.restart.per_host.period_us, "6h", SECOND,
                 366 * DAY, "The period in which per_host counts."),
        COUNT(RESTART ".per_host.restarts", handlers.restart.per_host.restarts, "3", 0, RESTARTS,
              "Restarts of one host in the period that are done or unknown; a request beyond them "
              "is rejected. 0: no limit."),
        SPECIAL(KEY_HANDLER, PRECHECK, handlers.restart.precheck.check.enabled, NULL, 0,
                "A check before each restart, by exec or by http: whether it may start now, and "
                "is needed."),
        CHECK(PRECHECK, handlers.restart.precheck.check),
        CHECK_STATUSES(PRECHECK ".status.go", handlers.restart.precheck.status.go, "[0]",
                       "Statuses that mean: restart it. With http [200] by default."),
        CHECK_STATUSES(PRECHECK ".status.not_needed", handlers.restart.precheck.status.not_needed,
                       "[1]",
                       "Statuses that mean: it needs no restart. With http [404] by "
                       "default."),
        CHECK_STATUSES(PRECHECK ".status.wait", handlers.restart.precheck.status.wait, "[75]",
                       "Statuses that mean: not now; so does every other one, which is logged as "
                       "a failure. With http [503] by default."),
        SPECIAL(KEY_HANDLER, VERIFY, handlers.restart.verify.check.enabled, NULL, 0,
                "A check after each restart, by exec or by http: passed when it succeeds and says "
                "something else than before."),
        DURATION(VERIFY ".deadline", handlers.restart.verify.deadline_us, "10m", 10 * MS, DAY,
                 "Time after the action by which the check must have passed."),
        CHECK(VERIFY, handlers.restart.verify.check),
        DURATION(VERIFY ".interval", handlers.restart.verify.interval_us, "10s", 10 * MS, HOUR,
                 "Time before the first look, and between two."),
        CHECK_STATUSES(VERIFY ".status.done", handlers.restart.verify.status.done, "[0]",
                       "Statuses that mean: the check succeeded. With http [200] by default."),
        SPECIAL(KEY_WHEN, RESTART ".when", handlers.restart.when, "{}", 0,
                "Fields that a message must have for its host to be restarted; others are saved, "
                "and that is all."),
        SPECIAL(KEY_WINDOWS, RESTART ".windows", handlers.restart.windows, "[]", 0,
                "Times of the week in which restarts may start; none: always. A window belongs to "
                "the day on which it opens."),
        SPECIAL(KEY_HANDLER, "handlers.save", handlers.save.enabled, NULL, 0,
                "Saves every message in PostgreSQL."),
        TEXT("instance", instance, "\"\"", check_instance, "a name",
             "Name of this daemon in logs and tables; empty: the host name."),
        SPECIAL(KEY_KAFKA, "kafka", kafka,
                "{bootstrap.servers: \"localhost:9092\", group.id: ackd}", 0,
                "Settings of librdkafka, handed over as they are."),
        COUNT("limits.ack_gap", limits.ack_gap, "100000", 1, 100000000,
              "Messages of a partition beyond the oldest unfinished one; then it is read no "
              "further."),
        COUNT("limits.in_flight", limits.in_flight, "10000", 1, 10000000,
              "Messages worked on at once."),
        SIZE("limits.in_flight_bytes", limits.in_flight_bytes, "64MiB", 64 * KIB, 1024 * GIB,
             "Bytes of the messages worked on at once."),
        SIZE("limits.message_bytes", limits.message_bytes, "1MiB", KIB, 256 * MIB,
             "A larger message is rejected, its first 64 KiB kept."),
        COUNT("limits.waiting", limits.waiting, "100000", 1, 100000000,
              "Messages that are saved and wait: for a window, a slot or a retry."),
        CHOICE("log.format", log.format, "auto", "auto text json",
               "auto is text on a terminal, JSON otherwise."),
        CHOICE("log.level", log.level, "info", "debug info warning error",
               "The least that is logged."),
        TEXT("message.host", message.host, "host", check_field, PATH,
             "Where a message names its host."),
        TEXT("message.id", message.id, "id", check_field, PATH,
             "Where a message has its request id."),
        TEXT("message.requested_at", message.requested_at, "requested_at", check_field, PATH,
             "Where a message says when it was requested."),
        DURATION("metrics.interval", metrics.interval_us, "15s", 100 * MS, HOUR,
                 "Time between two writes of the textfile."),
        TEXT("metrics.textfile", metrics.textfile, "\"\"", check_file, FILE_,
             "File for Prometheus' node exporter, one for each instance; empty: none."),
        SIZE("postgres.batch_bytes", postgres.batch_bytes, "4MiB", 64 * KIB, GIB,
             "Bytes of the rows of one transaction."),
        COUNT("postgres.batch_rows", postgres.batch_rows, "2000", 1, 100000,
              "Rows of one transaction."),
        COUNT("postgres.connections", postgres.connections, "2", 1, 64,
              "Connections, each with one transaction at a time."),
        TEXT("postgres.dsn", postgres.dsn, "\"host=/run/postgresql dbname=ackd\"", check_not_empty,
             "a connection string of libpq's", "How to reach the database."),
        TEXT("postgres.password_file", postgres.password_file, "\"\"", check_file, FILE_,
             "File with the password, read at each connect; empty: none."),
        TEXT("postgres.schema", postgres.schema, "ackd", check_schema,
             "lower-case letters, digits and _, at most 63", "Schema of the tables."),
        DURATION("postgres.statement_timeout", postgres.statement_timeout_us, "30s", 100 * MS, HOUR,
                 "The server gives up a statement that takes longer."),
        COUNT("retry.attempts", retry.attempts, "5", 1, 1000,
              "Attempts of a handler before its message is rejected."),
        DURATION("retry.backoff", retry.backoff_us, "1s", MS, DAY,
                 "Delay of the first retry at most; doubled for each one that follows."),
        DURATION("retry.backoff_max", retry.backoff_max_us, "5m", MS, 7 * DAY,
                 "Delay of any retry at most."),
        SPECIAL(KEY_GRACE, "shutdown.grace", shutdown, "auto", DAY,
                "How long running work may go on at a shutdown; auto: the longest action with its "
                "kill_after, plus 10 s."),
};

const size_t n_keys = sizeof(keys) / sizeof(keys[0]);

static int compare_path(const void *path, const void *key) {
        return strcmp(path, ((const Key *)key)->path);
}

const Key *key_find(const char *path) {
        return bsearch(path, keys, n_keys, sizeof(keys[0]), compare_path);
}

/* The rest of the key's path below @section; NULL: it lies elsewhere. */
static const char *below(const Key *key, const char *section) {
        size_t size = strlen(section);
        if (size == 0) {
                return key->path;
        }
        if (strncmp(key->path, section, size) != 0 || key->path[size] != '.') {
                return NULL;
        }
        return key->path + size + 1;
}

bool key_is_section(const char *path) {
        for (size_t i = 0; i < n_keys; i++) {
                if (below(&keys[i], path) != NULL) {
                        return true;
                }
        }
        return false;
}

/* The @nth name below a section (from 0), copied; false: there are fewer. The table is sorted, so a
 * name that several keys begin with comes in one run. */
static bool nth_name(const char *section, size_t nth, char name[64]) {
        const char *last = NULL;
        size_t last_size = 0, found = 0;
        for (size_t i = 0; i < n_keys; i++) {
                const char *rest = below(&keys[i], section);
                size_t size = rest != NULL ? strcspn(rest, ".") : 0;
                if (rest == NULL ||
                    (last != NULL && size == last_size && memcmp(rest, last, size) == 0)) {
                        continue;
                }
                last = rest;
                last_size = size;
                if (found++ == nth) {
                        memcpy(name, rest, size);
                        name[size] = '\0';
                        return true;
                }
        }
        return false;
}

int key_names(const char *section, Buffer *out) {
        char name[64];
        for (size_t i = 0; nth_name(section, i, name); i++) {
                int r = buffer_printf(out, "%s%s", i > 0 ? " " : "", name);
                if (r != 0) {
                        return r;
                }
        }
        return 0;
}

static unsigned min3(unsigned a, unsigned b, unsigned c) {
        unsigned smaller = a < b ? a : b;
        return smaller < c ? smaller : c;
}

/* Restricted Damerau-Levenshtein, three rows at a time. */
unsigned key_distance(const char *a, const char *b) {
        enum { MOST = 64 };
        size_t m = strlen(a), n = strlen(b);
        if (m >= MOST || n >= MOST) {
                return UINT_MAX;
        }
        unsigned rows[3][MOST];
        for (size_t j = 0; j <= n; j++) {
                rows[0][j] = (unsigned)j;
        }
        for (size_t i = 1; i <= m; i++) {
                unsigned *row = rows[i % 3], *above = rows[(i + 2) % 3], *twice = rows[(i + 1) % 3];
                row[0] = (unsigned)i;
                for (size_t j = 1; j <= n; j++) {
                        int x = tolower((unsigned char)a[i - 1]);
                        int y = tolower((unsigned char)b[j - 1]);
                        row[j] = min3(above[j] + 1, row[j - 1] + 1, above[j - 1] + (x != y));
                        if (i > 1 && j > 1 && x == tolower((unsigned char)b[j - 2]) &&
                            y == tolower((unsigned char)a[i - 2]) && twice[j - 2] + 1 < row[j]) {
                                row[j] = twice[j - 2] + 1;
                        }
                }
        }
        return rows[m % 3][n];
}

/* A third of the letters may be wrong; two of a short word. */
static bool is_near(unsigned distance, const char *name) {
        size_t most = strlen(name) / 3;
        return distance <= (most > 2 ? most : 2) && distance < strlen(name);
}

int key_nearest(const char *section, const char *name, Buffer *out) {
        for (size_t i = 0; i < n_keys; i++) {
                const char *dot = strrchr(keys[i].path, '.');
                if (dot != NULL && strcmp(dot + 1, name) == 0) {
                        return buffer_append_string(out, keys[i].path);
                }
        }
        char candidate[64], best[64] = "";
        unsigned distance = UINT_MAX;
        for (size_t i = 0; nth_name(section, i, candidate); i++) {
                unsigned d = key_distance(candidate, name);
                if (d < distance) {
                        distance = d;
                        strcpy(best, candidate);
                }
        }
        return is_near(distance, name) ? buffer_append_string(out, best) : 0;
}

int key_nearest_path(const char *path, Buffer *out) {
        const char *best = NULL;
        unsigned distance = UINT_MAX;
        for (size_t i = 0; i < n_keys; i++) {
                unsigned d = key_distance(keys[i].path, path);
                if (d < distance) {
                        distance = d;
                        best = keys[i].path;
                }
        }
        return best != NULL && is_near(distance, path) ? buffer_append_string(out, best) : 0;
}

static int expect_choice(const char *choices, Buffer *out) {
        for (const char *p = choices; *p != '\0'; p++) {
                int r = *p == ' ' ? buffer_append_string(out, " | ") : buffer_append_char(out, *p);
                if (r != 0) {
                        return r;
                }
        }
        return 0;
}

int key_expected(const Key *key, Buffer *out) {
        char min[DURATION_TEXT], max[DURATION_TEXT];
        switch (key->type) {
        case KEY_HANDLER:
                return buffer_append_string(out, "a section, such as {}");
        case KEY_KAFKA:
                return buffer_append_string(out, "settings of librdkafka, such as "
                                                 "{bootstrap.servers: \"localhost:9092\"}");
        case KEY_TEXT:
        case KEY_LIST:
                return buffer_append_string(out, key->expected);
        case KEY_CHOICE:
                return expect_choice(key->choices, out);
        case KEY_COUNT:
                return buffer_printf(out, "a whole number, %lld to %lld", (long long)key->min,
                                     (long long)key->max);
        case KEY_SIZE:
                return buffer_printf(out, "a size, %s to %s", size_format((size_t)key->min, min),
                                     size_format((size_t)key->max, max));
        case KEY_DURATION:
                return buffer_printf(out, "a duration, %s to %s", duration_format(key->min, min),
                                     duration_format(key->max, max));
        case KEY_GRACE:
                return buffer_printf(out, "auto, or a duration up to %s",
                                     duration_format(key->max, max));
        case KEY_STATUSES:
                if (key->min == 0 && key->max > 255) {
                        return buffer_append_string(out, "a list of exit statuses (0 to 255) or, "
                                                         "with http, HTTP statuses (200 to 599)");
                }
                return buffer_printf(out, "a list of %s statuses from %lld to %lld, such as [%lld]",
                                     key->min > 0 ? "HTTP" : "exit", (long long)key->min,
                                     (long long)key->max, (long long)key->min);
        case KEY_HEADERS:
                return buffer_append_string(out, "a section of names and texts, such as "
                                                 "{Accept: application/json}");
        case KEY_WHEN:
                return buffer_append_string(out, "fields of a message and their values, such as "
                                                 "{type: restart}");
        case KEY_WINDOWS:
                return buffer_append_string(out, "a list of windows, such as [{days: mon-fri, "
                                                 "from: \"22:00\", to: \"05:00\", zone: "
                                                 "Europe/Berlin}]");
        case KEY_GROUPS:
                return buffer_append_string(out, "a list of groups, such as [{match: \"etcd-*\", "
                                                 "concurrency: 1, quiet_time: 5m}]");
        }
        return error_origin(-EINVAL);
}
