/*
 * Troubles with Kafka and PostgreSQL: what they said last, what that means, and what mends it.
 */

#include <string.h>

#include "app/commands.h"
#include "app/trouble_list.h"
#include "pg/sqlstate.h"
#include "util/shell.h"

/* --- Kafka -------------------------------------------------------------------------------- */

static const char *setting(const Config *config, const char *name) {
        for (size_t i = 0; i < config->kafka.n; i++) {
                if (strcmp(config->kafka.items[i].name, name) == 0) {
                        return config->kafka.items[i].value;
                }
        }
        return NULL;
}

static const char *servers(const Config *config) {
        const char *value = setting(config, "bootstrap.servers");
        value = value != NULL ? value : setting(config, "metadata.broker.list");
        return value != NULL ? value : "";
}

/* Whether the first server's port is open, by what is on every machine with ackd. */
static void remedy_reach(Troubles *troubles, Trouble *trouble, const Config *config) {
        char first[256];
        const char *all = servers(config);
        const char *scheme = strstr(all, "://");
        all = scheme != NULL ? scheme + 3 : all;
        snprintf(first, sizeof(first), "%.*s", (int)strcspn(all, ", "), all);
        char *colon = strrchr(first, ':');
        const char *port = colon != NULL ? colon + 1 : "9092";
        if (colon != NULL) {
                *colon = '\0';
        }
        size_t size = strlen(first);
        bool brackets = first[0] == '[' && first[size - 1] == ']'; /* an IPv6 address */
        first[brackets ? size - 1 : size] = '\0';
        TROUBLE_REMEDY("timeout 5 bash -c '</dev/tcp/$0/$1'");
        trouble_word(troubles, &trouble->remedy, first + brackets);
        trouble_word(troubles, &trouble->remedy, port);
        TROUBLE_REMEDY(" && echo open");
}

/* @tool with --bootstrap-server. */
static void remedy_tool(Troubles *troubles, Trouble *trouble, const Config *config,
                        const char *tool) {
        TROUBLE_REMEDY("%s --bootstrap-server", tool);
        trouble_word(troubles, &trouble->remedy, servers(config));
}

static void remedy_create(Troubles *troubles, Trouble *trouble, const char *topic) {
        TROUBLE_REMEDY(" --create");
        if (trouble != NULL) {
                trouble_option(troubles, &trouble->remedy, "--topic", topic);
        }
}

/* Gives whoever ackd is the right to do @operation (--topic NAME, --group NAME). */
static void remedy_right(Troubles *troubles, Trouble *trouble, const Config *config,
                         const char *operation, const char *option, const char *name) {
        const char *user = setting(config, "sasl.username");
        const char *certificate = setting(config, "ssl.certificate.location");
        char principal[300];
        snprintf(principal, sizeof(principal), "User:%s",
                 user != NULL          ? user
                 : certificate != NULL ? "PRINCIPAL"
                                       : "ANONYMOUS");
        remedy_tool(troubles, trouble, config, "kafka-acls.sh");
        TROUBLE_REMEDY(" --add --allow-principal");
        trouble_word(troubles, &trouble->remedy, principal);
        TROUBLE_REMEDY(" --operation %s --operation Describe", operation);
        trouble_option(troubles, &trouble->remedy, option, name);
        TROUBLE_NOTE("run it with an administrator's --command-config; ackd notices within a "
                     "minute%s",
                     user == NULL && certificate != NULL
                             ? ". PRINCIPAL is the subject of the certificate of "
                               "kafka.ssl.certificate.location"
                             : "");
}

static void kafka_trouble(Troubles *troubles, const TroubleFacts *facts,
                          const ConsumerTrouble *is) {
        const Config *config = facts->config;
        const char *group = config_group(config);
        Trouble *trouble;
        switch (is->kind) {
        case CONSUMER_DOWN:
                trouble = trouble_add(troubles, "kafka_down", true, is->since_us);
                TROUBLE_TEXT(
                        "No broker of %s answers%s%s. Nothing is read or committed; what is in "
                        "flight goes on.",
                        servers(config), is->error[0] != '\0' ? ": " : "", is->error);
                remedy_reach(troubles, trouble, config);
                TROUBLE_NOTE("it shows whether the broker's port is open from here; ackd tries "
                             "again every second");
                break;
        case CONSUMER_AUTH:
                trouble = trouble_add(troubles, "kafka_auth", true, is->since_us);
                TROUBLE_TEXT("Kafka does not let ackd in: %s. Nothing is read or committed.",
                             is->error);
                trouble_ackd(troubles, trouble, facts, "print-config");
                TROUBLE_NOTE("look at security.protocol, sasl.* and ssl.* under kafka: where each "
                             "value comes from is shown, secrets are masked. A change needs a "
                             "restart of ackd");
                break;
        case CONSUMER_GROUP_FORBIDDEN:
                trouble = trouble_add(troubles, "group_forbidden", true, is->since_us);
                TROUBLE_WHERE("%s", group);
                TROUBLE_TEXT("ackd has no right to the consumer group %s: %s. Nothing is read.",
                             group, is->error);
                remedy_right(troubles, trouble, config, "Read", "--group", group);
                break;
        case CONSUMER_TOPIC_MISSING:
                trouble = trouble_add(troubles, "topic_missing", true, is->since_us);
                TROUBLE_WHERE("%s", is->topic);
                TROUBLE_TEXT("The topic %s of consume.topics does not exist, or ackd must not see "
                             "it: %s. Nothing of it is read.",
                             is->topic, is->error);
                remedy_tool(troubles, trouble, config, "kafka-topics.sh");
                remedy_create(troubles, trouble, is->topic);
                TROUBLE_NOTE(
                        "with the --partitions and --replication-factor that you want; a right "
                        "that is missing (Describe) looks the same. ackd notices within a "
                        "minute or two");
                break;
        case CONSUMER_TOPIC_FORBIDDEN:
                trouble = trouble_add(troubles, "topic_forbidden", true, is->since_us);
                TROUBLE_WHERE("%s", is->topic);
                TROUBLE_TEXT("ackd has no right to read the topic %s: %s. Nothing of it is read.",
                             is->topic, is->error);
                remedy_right(troubles, trouble, config, "Read", "--topic", is->topic);
                break;
        }
}

void troubles_of_kafka(Troubles *troubles, const TroubleFacts *facts) {
        for (size_t i = 0; facts->kafka != NULL && facts->kafka[i] != NULL; i++) {
                kafka_trouble(troubles, facts, facts->kafka[i]);
        }
}

/* What keeps rejected messages from the dead-letter topic, by librdkafka's words in their rows. */
void troubles_of_dead_letters(Troubles *troubles, const TroubleFacts *facts) {
        const RejectedCounts *counts = facts->rejected;
        const Config *config = facts->config;
        const char *topic = config->consume.dead_letter_topic;
        if (counts == NULL || counts->outbox_error[0] == '\0' || counts->outbox_pending == 0) {
                return;
        }
        Trouble *trouble = trouble_add(troubles, "dead_letters_stuck", true, 0);
        TROUBLE_WHERE("%s", topic);
        TROUBLE_TEXT("%s%zu rejected message%s could not be sent to the dead-letter topic %s: %s. "
                     "They are kept in PostgreSQL and sent later; acks do not wait for them.",
                     counts->capped ? "At least " : "", counts->outbox_pending,
                     counts->outbox_pending == 1 ? "" : "s", topic, counts->outbox_error);
        if (trouble == NULL) {
                return;
        }
        if (strcasestr(counts->outbox_error, "unknown topic") != NULL ||
            strcasestr(counts->outbox_error, "unknown partition") != NULL) {
                remedy_tool(troubles, trouble, config, "kafka-topics.sh");
                remedy_create(troubles, trouble, topic);
                TROUBLE_NOTE("with the --partitions and --replication-factor that you want");
        } else if (strcasestr(counts->outbox_error, "authorization") != NULL) {
                remedy_right(troubles, trouble, config, "Write", "--topic", topic);
        } else {
                trouble_ackd(troubles, trouble, facts, "dead-letter list");
                TROUBLE_NOTE("it shows which, and ackd dead-letter show PLACE why. One that is "
                             "larger than the topic takes: raise the max.message.bytes of %s. One "
                             "without a key does not fit a topic with cleanup.policy=compact",
                             topic);
        }
}

/* --- PostgreSQL --------------------------------------------------------------------------- */

static bool has_class(const char *sqlstate, const char *class) {
        return strncmp(sqlstate, class, strlen(class)) == 0;
}

/* The finders of one trouble each: what they add, or NULL. */
typedef void (*Finder)(Troubles *troubles, const TroubleFacts *facts, const PgTrouble *is);

static void down(Troubles *troubles, const TroubleFacts *facts, const PgTrouble *is) {
        bool some = facts->postgres.connected > 0;
        Trouble *trouble = trouble_add(troubles, some ? "postgres_connection" : "postgres_down",
                                       !some, is->since_us);
        if (some) {
                TROUBLE_TEXT("%zu of %zu connections to PostgreSQL are up, another cannot be made: "
                             "%s.",
                             facts->postgres.connected, facts->postgres.connections, is->why);
        } else {
                TROUBLE_TEXT(
                        "PostgreSQL cannot be reached: %s. Saving and restarts wait; nothing is "
                        "lost.",
                        is->why);
        }
        TROUBLE_REMEDY("pg_isready");
        int r = trouble != NULL && troubles->error == 0
                        ? pg_place_options(&facts->place, true, &trouble->remedy)
                        : 0;
        troubles->error = r != 0 ? r : troubles->error;
        TROUBLE_NOTE("it shows whether the server takes connections from here; ackd connects again "
                     "by itself");
}

static void password(Troubles *troubles, const TroubleFacts *facts, const PgTrouble *is) {
        const char *file = facts->config->postgres.password_file;
        Trouble *trouble = trouble_add(troubles, "postgres_password", true, is->since_us);
        TROUBLE_TEXT("PostgreSQL does not let ackd in: %s. Saving and restarts wait; nothing is "
                     "lost.",
                     is->why);
        if (file[0] != '\0' && trouble != NULL) {
                TROUBLE_REMEDY("printf '%%s\\n' PASSWORD >");
                trouble_word(troubles, &trouble->remedy, file);
                TROUBLE_NOTE(
                        "put the role's password for PASSWORD (a blank before the command keeps "
                        "it out of the shell's history); the file is read again at each "
                        "connect. If the password is right, look at the role's name in "
                        "postgres.dsn and at pg_hba.conf");
        } else {
                trouble_ackd(troubles, trouble, facts, "print-config");
                TROUBLE_NOTE("look at postgres.dsn and postgres.password_file, and at the server's "
                             "pg_hba.conf; a password in the file of postgres.password_file is "
                             "read again at each connect, one in the dsn needs a restart of ackd");
        }
}

static void read_only(Troubles *troubles, const TroubleFacts *facts, const PgTrouble *is) {
        const char *dbname = facts->place.dbname != NULL ? facts->place.dbname : "";
        Trouble *trouble = trouble_add(troubles, "postgres_read_only", true, is->since_us);
        if (facts->postgres.standby) {
                TROUBLE_TEXT("PostgreSQL is a standby and takes no writes: %s. Saving and restarts "
                             "wait; nothing is lost.",
                             is->why);
                trouble_psql(troubles, trouble, facts);
                TROUBLE_REMEDY(" -c 'SELECT pg_promote()'");
                TROUBLE_NOTE("promote it only if its primary is really gone; otherwise point "
                             "postgres.dsn at the primary (several hosts, "
                             "target_session_attrs=read-write), which needs a restart of ackd");
                return;
        }
        TROUBLE_TEXT(
                "PostgreSQL takes no writes (default_transaction_read_only is on, for the "
                "server, the database or the role): %s. Somebody may have meant it. Saving and "
                "restarts wait; nothing is lost.",
                is->why);
        TROUBLE_REMEDY("PGOPTIONS='-c default_transaction_read_only=off' ");
        trouble_psql(troubles, trouble, facts);
        CLEANUP(buffer_deinit) Buffer sql = BUFFER_INIT;
        trouble_say(troubles, &sql, "ALTER DATABASE ");
        trouble_identifier(troubles, &sql, dbname);
        trouble_say(troubles, &sql, " SET default_transaction_read_only = off");
        const char *text = troubles->error == 0 ? buffer_string(&sql) : NULL;
        TROUBLE_REMEDY(" -c");
        if (text != NULL && trouble != NULL) {
                trouble_word(troubles, &trouble->remedy, text);
        }
        TROUBLE_NOTE(
                "the database's owner may do it too. It overrides what the server "
                "says, and not what ALTER ROLE set; SELECT source, sourcefile FROM pg_settings "
                "WHERE name = 'default_transaction_read_only' says where it comes from");
}

static void full(Troubles *troubles, const TroubleFacts *facts, const PgTrouble *is) {
        Trouble *trouble = trouble_add(troubles, "postgres_full", true, is->since_us);
        TROUBLE_TEXT(
                "The disk of PostgreSQL is full: %s. Saving and restarts wait; nothing is lost.",
                is->why);
        trouble_psql(troubles, trouble, facts);
        TROUBLE_REMEDY(
                " -c 'SELECT datname, pg_size_pretty(pg_database_size(oid)) FROM pg_database "
                "ORDER BY pg_database_size(oid) DESC'");
        TROUBLE_NOTE("it shows what takes the room; make some on the server (df -h): a replication "
                     "slot that nobody reads, the archive, old partitions of %s.messages. Never "
                     "delete from pg_wal by hand",
                     facts->config->postgres.schema);
}

static void connections(Troubles *troubles, const TroubleFacts *facts, const PgTrouble *is) {
        Trouble *trouble = trouble_add(troubles, "postgres_connections",
                                       facts->postgres.connected == 0, is->since_us);
        TROUBLE_TEXT("PostgreSQL has no connection left for ackd (%zu of %zu are up): %s.",
                     facts->postgres.connected, facts->postgres.connections, is->why);
        trouble_psql(troubles, trouble, facts);
        TROUBLE_REMEDY(" -c 'SELECT usename, application_name, state, count(*) FROM "
                       "pg_stat_activity GROUP BY 1, 2, 3 ORDER BY 4 DESC'");
        TROUBLE_NOTE("for superusers some are reserved: it shows who has them. End those "
                     "that are idle, raise max_connections, or lower postgres.connections");
}

static void slow(Troubles *troubles, const TroubleFacts *facts, const PgTrouble *is) {
        Trouble *trouble = trouble_add(troubles, "postgres_slow", false, is->since_us);
        TROUBLE_TEXT("PostgreSQL does not end what ackd asks of it in time (%s): %s. It is tried "
                     "again.",
                     is->operation != NULL ? is->operation : "?", is->why);
        trouble_psql(troubles, trouble, facts);
        TROUBLE_REMEDY(" -c \"SELECT pid, usename, state, wait_event, pg_blocking_pids(pid), "
                       "left(query, 60) FROM pg_stat_activity WHERE state <> 'idle'\"");
        TROUBLE_NOTE("it shows who holds a lock that others wait for; SELECT "
                     "pg_terminate_backend(PID) ends one");
}

static void database_missing(Troubles *troubles, const TroubleFacts *facts, const PgTrouble *is) {
        Trouble *trouble = trouble_add(troubles, "database_missing", true, is->since_us);
        TROUBLE_TEXT("The database of postgres.dsn does not exist: %s. Nothing is consumed.",
                     is->why);
        TROUBLE_REMEDY("createdb -U postgres");
        int r = trouble != NULL && troubles->error == 0
                        ? pg_place_options(&facts->place, false, &trouble->remedy)
                        : 0;
        troubles->error = r != 0 ? r : troubles->error;
        TROUBLE_REMEDY(" --encoding=UTF8 --template=template0");
        if (trouble != NULL && facts->place.dbname != NULL) {
                trouble_word(troubles, &trouble->remedy, facts->place.dbname);
        }
        TROUBLE_NOTE(
                "then: ackd init-db. Look first whether postgres.dsn names the right server: a "
                "database that was there yesterday is not made anew");
}

#define IN_PSQL "in psql: " /* of missing.sql */

static void forbidden(Troubles *troubles, const TroubleFacts *facts, const PgTrouble *is) {
        const char *schema = facts->config->postgres.schema;
        bool named = facts->place.user != NULL && facts->place.user[0] != '\0';
        /* The check of the rights knows more: it has looked at the roles that there are. */
        const char *why = facts->schema == SCHEMA_FORBIDDEN && facts->schema_why != NULL
                                  ? facts->schema_why
                                  : is->why;
        Trouble *trouble = trouble_add(troubles, "schema_forbidden", true, is->since_us);
        CLEANUP(buffer_deinit) Buffer sql = BUFFER_INIT;
        TROUBLE_TEXT(
                "The role of ackd lacks a right in the schema %s%s%s: %s. What needs it waits.",
                schema, is->operation != NULL ? ", for " : "",
                is->operation != NULL ? is->operation : "", why);
        const char *known = strstr(why, IN_PSQL);
        if (strstr(why, "; run: ackd init-db --roles") != NULL) {
                trouble_ackd(troubles, trouble, facts, "init-db --roles");
                TROUBLE_NOTE("as a superuser or the schema's owner (-o postgres.dsn=...): it makes "
                             "the roles. Then, in psql%s%s. ackd looks again every 5 s",
                             known != NULL ? ": " : "",
                             known != NULL ? known + strlen(IN_PSQL) : "");
                return;
        }
        if (known == NULL && strstr(why, "; run: ackd init-db") != NULL) {
                trouble_ackd(troubles, trouble, facts, "init-db");
                TROUBLE_NOTE(
                        "as the schema's owner (-o postgres.dsn=...): it grants what an upgrade "
                        "brought. ackd looks again every 5 s");
                return;
        }
        trouble_psql(troubles, trouble, facts);
        if (known != NULL) {
                trouble_say(troubles, &sql, "%s", known + strlen(IN_PSQL));
        } else {
                trouble_say(troubles, &sql, "GRANT \"%s_run\" TO ", schema);
                trouble_identifier(troubles, &sql, named ? facts->place.user : "ROLE");
        }
        const char *text = troubles->error == 0 ? buffer_string(&sql) : NULL;
        TROUBLE_REMEDY(" -c");
        if (text != NULL && trouble != NULL) {
                trouble_word(troubles, &trouble->remedy, text);
        }
        TROUBLE_NOTE("whoever owns the role may do it too (-U). The role %s_run has the least "
                     "that ackd run needs; ackd init-db --roles makes it. %s",
                     schema,
                     named ? "ackd tries again within seconds"
                           : "ROLE is the one that ackd logs in as: the user that it runs as");
}

static void schema_trouble(Troubles *troubles, const TroubleFacts *facts, const char *word,
                           const char *what, const char *why, int64_t since_us) {
        Trouble *trouble = trouble_add(troubles, word, true, since_us);
        TROUBLE_TEXT("%s: %s. %s", what, why,
                     facts->schema != SCHEMA_OK ? "Nothing is consumed until then."
                                                : "What needs it waits; nothing is lost.");
        trouble_ackd(troubles, trouble, facts, "init-db");
        TROUBLE_NOTE(
                "it makes or upgrades the schema and is safe to repeat, also while daemons run; "
                "as the schema's owner (-o postgres.dsn=...). Look first whether postgres.dsn "
                "names the right database. ackd looks again every 5 s");
}

static void missing(Troubles *troubles, const TroubleFacts *facts, const PgTrouble *is) {
        schema_trouble(troubles, facts, "schema_missing",
                       "The schema, or a part of it, is not in the database", is->why,
                       is->since_us);
}

static void no_partition(Troubles *troubles, const TroubleFacts *facts, const PgTrouble *is) {
        schema_trouble(troubles, facts, "schema_missing",
                       "The table messages has no partition for this month", is->why, is->since_us);
}

static void all_refused(Troubles *troubles, const TroubleFacts *facts, const PgTrouble *is) {
        Trouble *trouble = trouble_add(troubles, "save_failing", true, is->since_us);
        TROUBLE_TEXT("PostgreSQL refuses every row that is to be saved: %s. It is no message's "
                     "fault, so all of them wait.",
                     is->why);
        trouble_psql(troubles, trouble, facts);
        TROUBLE_REMEDY(" -c '\\d+ \"%s\".messages'", facts->config->postgres.schema);
        TROUBLE_NOTE(
                "look for a column, a constraint or a trigger that was added to the table, and "
                "take it back");
}

static void refused(Troubles *troubles, const TroubleFacts *facts, const PgTrouble *is) {
        const char *remedy = sqlstate_remedy(is->sqlstate);
        Trouble *trouble = trouble_add(troubles, "postgres_refuses", false, is->since_us);
        (void)facts;
        TROUBLE_TEXT("PostgreSQL refuses what ackd asks of it (%s): %s%s%s. It is tried again.",
                     is->operation != NULL ? is->operation : "?", is->sqlstate,
                     is->sqlstate[0] != '\0' ? ": " : "", is->why);
        if (remedy != NULL) {
                TROUBLE_NOTE("%s", remedy);
        }
}

static Finder finder_of(const PgTrouble *is) {
        static const struct {
                const char *class; /* the beginning of the SQLSTATE */
                Finder find;
        } table[] = {
                {"25006", read_only},
                {"53100", full},
                {"53300", connections},
                {"28", password},
                {"3D000", database_missing},
                {"42501", forbidden},
                {"3F", missing},
                {"42", missing},
                {SQLSTATE_MISUSE, missing},
                {SQLSTATE_NO_PARTITION, no_partition},
                {SQLSTATE_ALL_REFUSED, all_refused},
                {"57014", slow}, /* the server's statement_timeout */
                {"55P03", slow}, /* lock_timeout */
        };
        for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
                if (has_class(is->sqlstate, table[i].class)) {
                        return table[i].find;
                }
        }
        bool no_password = strstr(is->why, "no password supplied") != NULL ||
                           strstr(is->why, "password_file") != NULL;
        return is->operation != NULL ? refused : no_password ? password : down;
}

static bool postgres_said(const Finder *found, size_t n, Finder finder) {
        for (size_t i = 0; i < n; i++) {
                if (found[i] == finder) {
                        return true;
                }
        }
        return false;
}

/* The newest words of each kind, whoever heard them. */
void troubles_of_postgres(Troubles *troubles, const TroubleFacts *facts) {
        const PgPoolStatus *postgres = &facts->postgres;
        Finder found[PG_REFUSED_MAX + 1];
        size_t n = 0;
        if (postgres->down.since_us != 0) {
                found[n] = finder_of(&postgres->down);
                found[n++](troubles, facts, &postgres->down);
        }
        for (size_t i = 0; i < postgres->n_refused; i++) {
                Finder finder = finder_of(&postgres->refused[i]);
                if (!postgres_said(found, n, finder)) {
                        found[n] = finder;
                        found[n++](troubles, facts, &postgres->refused[i]);
                }
        }
        if (facts->schema == SCHEMA_FORBIDDEN && !postgres_said(found, n, forbidden)) {
                PgTrouble is = {.operation = "schema_check", .since_us = facts->schema_us};
                snprintf(is.why, sizeof(is.why), "%s", facts->schema_why);
                forbidden(troubles, facts, &is);
        }
        if (facts->schema == SCHEMA_OLD || facts->schema == SCHEMA_NEWER ||
            facts->schema == SCHEMA_ENCODING) {
                schema_trouble(troubles, facts,
                               facts->schema == SCHEMA_OLD     ? "schema_old"
                               : facts->schema == SCHEMA_NEWER ? "schema_newer"
                                                               : "database_encoding",
                               "The schema does not fit this ackd", facts->schema_why,
                               facts->schema_us);
                if (facts->schema != SCHEMA_OLD && troubles->n > 0) {
                        /* init-db would change nothing: what helps stands in the text. */
                        Trouble *trouble = &troubles->items[troubles->n - 1];
                        buffer_clear(&trouble->remedy);
                        buffer_clear(&trouble->note);
                }
        }
}
