/*
 * What is wrong, by word, and the command that helps: with an engine that is driven by hand and
 * with what Kafka and PostgreSQL said made up.
 */

#include "engine-world.h"

#include <stdlib.h>

#include "app/commands.h"
#include "app/troubles.h"

/* Of the command line's, which is not linked here. */
const char *config_group(const Config *config) {
        (void)config;
        return "restarters";
}

typedef struct Given {
        World *world;
        Config config;
        ConfigSetting settings[3];
        TroubleFacts facts;
        Troubles found;
} Given;

static Given given;

static int begin(void **state) {
        World *world = NULL;
        void *made = NULL;
        int r = setup(&made);
        world = made;
        given = (Given){.world = world};
        given.settings[0] = (ConfigSetting){.name = (char *)"bootstrap.servers",
                                            .value = (char *)"k1.example.com:9093,k2:9092"};
        given.config = (Config){.file = CONFIG_FILE,
                                .consume = {.dead_letter_topic = (char *)""},
                                .kafka = {.items = given.settings, .n = 1},
                                .postgres = {.password_file = (char *)"",
                                             .schema = (char *)"ackd",
                                             .connections = 2}};
        given.config.handlers.restart.enabled = true;
        given.config.handlers.restart.action = CONFIG_ACTION_EXEC;
        given.config.handlers.restart.concurrency = 2;
        given.config.retry.attempts = 3;
        given.facts = (TroubleFacts){.config = &given.config,
                                     .now_us = world->now,
                                     .wall_us = INT64_C(1800000000) * SECOND,
                                     .engine = world->engine,
                                     .place = {.host = (char *)"db.example.com",
                                               .port = (char *)"5433",
                                               .dbname = (char *)"my db",
                                               .user = (char *)"daemon"},
                                     .postgres = {.connections = 2, .connected = 2}};
        *state = &given;
        return r;
}

static int end(void **state) {
        (void)state;
        troubles_deinit(&given.found);
        void *world = given.world;
        return teardown(&world);
}

static void find(void) {
        troubles_deinit(&given.found);
        given.facts.now_us = given.world->now;
        assert_int_equal(troubles_find(&given.found, &given.facts), 0);
}

static const char *text_of(Buffer *part) {
        return part->size > 0 ? buffer_string(part) : NULL;
}

/* The only one of its word; NULL: there is none. */
static Trouble *found(const char *word) {
        Trouble *only_one = NULL;
        for (size_t i = 0; i < given.found.n; i++) {
                if (strcmp(given.found.items[i].word, word) == 0) {
                        assert_null(only_one);
                        only_one = &given.found.items[i];
                }
        }
        return only_one;
}

static Trouble *the(const char *word) {
        find();
        Trouble *trouble = found(word);
        if (trouble == NULL) {
                for (size_t i = 0; i < given.found.n; i++) {
                        print_message("there is: %s\n", given.found.items[i].word);
                }
        }
        assert_non_null(trouble);
        assert_non_null(text_of(&trouble->text));
        return trouble;
}

static void helps(const char *word, const char *remedy) {
        Trouble *trouble = the(word);
        if (remedy == NULL) {
                assert_null(text_of(&trouble->remedy));
        } else {
                assert_string_equal(text_of(&trouble->remedy), remedy);
        }
}

static void test_nothing(void **state) {
        (void)state;
        find();
        assert_int_equal(given.found.n, 0);
}

/* --- Kafka -------------------------------------------------------------------------------- */

static void test_kafka(void **state) {
        (void)state;
        ConsumerTrouble is = {.since_us = 90 * SECOND, .topic = "host-restarts", .error = "why"};
        const ConsumerTrouble *kafka[] = {&is, NULL};
        given.facts.kafka = kafka;
        is.kind = CONSUMER_DOWN;
        helps("kafka_down", "timeout 5 bash -c '</dev/tcp/$0/$1' k1.example.com 9093 && echo open");
        given.settings[0].value = (char *)"[2001:db8::1]:9094";
        helps("kafka_down", "timeout 5 bash -c '</dev/tcp/$0/$1' 2001:db8::1 9094 && echo open");
        given.settings[0].value = (char *)"k1.example.com:9093,k2:9092";
        assert_true(the("kafka_down")->error);
        assert_int_equal(the("kafka_down")->since_us, 90 * SECOND);
        is.kind = CONSUMER_AUTH;
        helps("kafka_auth", "ackd print-config");
        is.kind = CONSUMER_TOPIC_MISSING;
        helps("topic_missing", "kafka-topics.sh --bootstrap-server k1.example.com:9093,k2:9092 "
                               "--create --topic host-restarts");
        is.kind = CONSUMER_TOPIC_FORBIDDEN;
        helps("topic_forbidden",
              "kafka-acls.sh --bootstrap-server k1.example.com:9093,k2:9092 --add "
              "--allow-principal User:ANONYMOUS --operation Read --operation Describe --topic "
              "host-restarts");
        given.settings[1] =
                (ConfigSetting){.name = (char *)"sasl.username", .value = (char *)"x y"};
        given.config.kafka.n = 2;
        is.kind = CONSUMER_GROUP_FORBIDDEN;
        helps("group_forbidden",
              "kafka-acls.sh --bootstrap-server k1.example.com:9093,k2:9092 --add "
              "--allow-principal 'User:x y' --operation Read --operation Describe --group "
              "restarters");
        given.facts.stopping = true; /* the shutdown leaves them on purpose */
        find();
        assert_int_equal(given.found.n, 0);
}

/* --- PostgreSQL --------------------------------------------------------------------------- */

static void refused(const char *sqlstate, const char *operation) {
        PgTrouble *is = &given.facts.postgres.refused[0];
        *is = (PgTrouble){.operation = operation, .since_us = 95 * SECOND, .why = "why not?"};
        snprintf(is->sqlstate, sizeof(is->sqlstate), "%s", sqlstate);
        given.facts.postgres.n_refused = 1;
}

static void test_postgres_words(void **state) {
        static const struct {
                const char *sqlstate, *operation, *word;
        } table[] = {
                {"25006", "save", "postgres_read_only"},     {"53100", "save", "postgres_full"},
                {"53300", "save", "postgres_connections"},   {"28P01", NULL, "postgres_password"},
                {"28000", NULL, "postgres_password"},        {"3D000", NULL, "database_missing"},
                {"42501", "save", "schema_forbidden"},       {"3F000", "save", "schema_missing"},
                {"42P01", "schema_check", "schema_missing"}, {"AK003", "save", "schema_missing"},
                {"23514", "save", "schema_missing"},         {"AK002", "save", "save_failing"},
                {"57014", "save", "postgres_slow"},          {"55P03", "save", "postgres_slow"},
                {"XX000", "save", "postgres_refuses"},
        };
        (void)state;
        for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
                refused(table[i].sqlstate, table[i].operation);
                Trouble *trouble = the(table[i].word);
                assert_int_equal(given.found.n, 1);
                assert_int_equal(trouble->since_us, 95 * SECOND);
                assert_non_null(strstr(text_of(&trouble->text), "why not?"));
                assert_null(strstr(text_of(&trouble->text), "?."));
        }
}

static void test_postgres_remedies(void **state) {
        (void)state;
        refused("25006", "save");
        helps("postgres_read_only",
              "PGOPTIONS='-c default_transaction_read_only=off' psql -U postgres -h db.example.com "
              "-p 5433 -d "
              "'my db' -c 'ALTER DATABASE \"my db\" SET default_transaction_read_only = off'");
        given.facts.postgres.standby = true;
        helps("postgres_read_only",
              "psql -U postgres -h db.example.com -p 5433 -d 'my db' -c 'SELECT pg_promote()'");
        refused("42501", "save");
        helps("schema_forbidden",
              "psql -U postgres -h db.example.com -p 5433 -d 'my db' -c 'GRANT \"ackd_run\" "
              "TO \"daemon\"'");
        /* What the check of the rights found says more than the server's own words. */
        given.facts.schema = SCHEMA_FORBIDDEN;
        given.facts.schema_why =
                "role \"x\" lacks USAGE on schema ackd; in psql: GRANT fleet_run TO x";
        helps("schema_forbidden",
              "psql -U postgres -h db.example.com -p 5433 -d 'my db' -c 'GRANT fleet_run TO x'");
        given.facts.schema_why = "role \"x\" lacks EXECUTE on function ackd.y; run: ackd init-db";
        helps("schema_forbidden", "ackd init-db");
        given.facts.schema_why =
                "role \"x\" lacks USAGE on schema ackd; run: ackd init-db --roles, "
                "and then in psql: GRANT ackd_run TO x";
        helps("schema_forbidden", "ackd init-db --roles");
        assert_non_null(
                strstr(text_of(&found("schema_forbidden")->note), ": GRANT ackd_run TO x."));
        given.facts.schema = SCHEMA_OK;
        refused("3F000", "save");
        helps("schema_missing", "ackd init-db");
        given.config.file = "/srv/it's mine.yaml";
        helps("schema_missing", "ackd init-db -c '/srv/it'\\''s mine.yaml'");
        refused("28P01", NULL);
        helps("postgres_password", "ackd print-config -c '/srv/it'\\''s mine.yaml'");
        given.config.postgres.password_file = (char *)"/etc/ackd/password";
        helps("postgres_password", "printf '%s\\n' PASSWORD > /etc/ackd/password");
        refused("3D000", NULL);
        helps("database_missing", "createdb -U postgres -h db.example.com -p 5433 --encoding=UTF8 "
                                  "--template=template0 'my db'");
}

static Partition *stops_of(const char *topic, int number, PartitionFacts facts) {
        World *world = given.world;
        Partition *partition = NULL;
        facts.ours = true;
        assert_int_equal(engine_assigned(world->engine, topic, number, NULL, world->now,
                                         &partition),
                         0);
        take(world);
        assert_int_equal(engine_looked_up(world->engine, partition, &facts, world->now), 0);
        take(world);
        assert_int_equal(engine_source_read(world->engine, partition, &facts, world->now), 0);
        take(world);
        assert_int_equal(partition->state, PARTITION_STOPPED);
        return partition;
}

/* Names that would end what quotes them, or be taken for options. */
static void test_odd_names(void **state) {
        (void)state;
        given.facts.place.dbname = (char *)"a\"b";
        given.facts.place.user = (char *)"j\"o";
        refused("25006", "save");
        helps("postgres_read_only",
              "PGOPTIONS='-c default_transaction_read_only=off' psql -U postgres -h "
              "db.example.com -p 5433 -d 'a\"b' -c 'ALTER DATABASE \"a\"\"b\" SET "
              "default_transaction_read_only = off'");
        refused("42501", "save");
        helps("schema_forbidden", "psql -U postgres -h db.example.com -p 5433 -d 'a\"b' -c 'GRANT "
                                  "\"ackd_run\" TO \"j\"\"o\"'");
        given.facts.postgres.n_refused = 0;
        ConsumerTrouble is = {.kind = CONSUMER_TOPIC_MISSING, .topic = "-x.y", .error = "why"};
        const ConsumerTrouble *kafka[] = {&is, NULL};
        given.facts.kafka = kafka;
        helps("topic_missing", "kafka-topics.sh --bootstrap-server k1.example.com:9093,k2:9092 "
                               "--create --topic=-x.y");
        stops_of("-x", 3, (PartitionFacts){.committed = 5, .low = 0, .high = 90});
        helps("partition_stopped",
              "ackd partition --from 5 --why 'stopped: database_lost' -- -x/3");
}

static void test_postgres_down(void **state) {
        (void)state;
        given.facts.postgres.down = (PgTrouble){.since_us = SECOND, .why = "refused"};
        helps("postgres_connection", "pg_isready -h db.example.com -p 5433 -d 'my db'");
        assert_false(found("postgres_connection")->error);
        given.facts.postgres.connected = 0;
        helps("postgres_down", "pg_isready -h db.example.com -p 5433 -d 'my db'");
        assert_true(found("postgres_down")->error);
        /* The same cause is told once, whoever heard it. */
        snprintf(given.facts.postgres.down.sqlstate, 6, "25006");
        refused("25006", "save");
        the("postgres_read_only");
        assert_int_equal(given.found.n, 1);
}

static void test_schema_versions(void **state) {
        (void)state;
        given.facts.schema_why = "version 1, and this ackd needs 2";
        given.facts.schema = SCHEMA_OLD;
        helps("schema_old", "ackd init-db");
        given.facts.schema = SCHEMA_FORBIDDEN;
        given.facts.schema_why = "lacks USAGE on schema ackd; GRANT ackd_run TO daemon";
        helps("schema_forbidden",
              "psql -U postgres -h db.example.com -p 5433 -d 'my db' -c 'GRANT \"ackd_run\" "
              "TO \"daemon\"'");
        refused("42501", "schema_check"); /* the same cause is told once */
        assert_non_null(strstr(text_of(&the("schema_forbidden")->text), "lacks USAGE"));
        given.facts.schema_why = "lacks EXECUTE on function ackd.claim; run: ackd init-db";
        helps("schema_forbidden", "ackd init-db");
        given.facts.postgres.n_refused = 0;
        given.facts.schema = SCHEMA_NEWER;
        helps("schema_newer", NULL); /* init-db would not help */
        given.facts.schema = SCHEMA_ENCODING;
        helps("database_encoding", NULL);
}

/* --- partitions --------------------------------------------------------------------------- */

static Partition *stops(int number, PartitionFacts facts) {
        return stops_of("t", number, facts);
}

static void test_stopped(void **state) {
        static const struct {
                PartitionFacts facts;
                const char *reason, *remedy, *note;
        } table[] = {
                {{.committed = 5,
                  .low = 0,
                  .high = 5,
                  .has_source = true,
                  .source = 1,
                  .fence = 90},
                 "log_ends_below_fence",
                 "--new-topic",
                 NULL},
                {{.committed = 5,
                  .low = 50,
                  .high = 90,
                  .has_source = true,
                  .source = 1,
                  .fence = 6},
                 "out_of_range",
                 "--from 50",
                 NULL},
                {{.committed = 5, .low = 0, .high = 90}, "database_lost", "--from 5", NULL},
                {{.committed = -1,
                  .low = 0,
                  .high = 90,
                  .has_source = true,
                  .source = 1,
                  .fence = 40,
                  .fence_moved = true},
                 "topic_recreated_or_offsets_expired",
                 "--new-topic", /* also one that has grown past the old fence */
                 "--from 40 only when it is the same topic"},
                {{.committed = -1,
                  .low = 0,
                  .high = 9,
                  .has_source = true,
                  .source = 1,
                  .fence = 40,
                  .fence_moved = true},
                 NULL,
                 "--new-topic",
                 NULL},
        };
        for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
                char remedy[128];
                (void)end(state);
                (void)begin(state);
                const Partition *partition = stops(3, table[i].facts);
                if (table[i].reason != NULL) {
                        assert_string_equal(partition->stopped, table[i].reason);
                }
                snprintf(remedy, sizeof(remedy), "ackd partition t/3 %s --why 'stopped: %s'",
                         table[i].remedy, partition->stopped);
                helps("partition_stopped", remedy);
                Trouble *trouble = the("partition_stopped");
                assert_string_equal(text_of(&trouble->where), "t/3");
                assert_non_null(strstr(text_of(&trouble->note), "--new-topic"));
                const char *note = table[i].note != NULL ? table[i].note : "--from";
                assert_non_null(strstr(text_of(&trouble->note), note));
        }
}

static void test_vanished(void **state) {
        World *world = given.world;
        (void)state;
        Partition *partition = activate(world, 0, 0, 0);
        assert_int_equal(engine_vanished(world->engine, partition, world->now), 0);
        take(world);
        helps("partition_vanished", "kafka-topics.sh --bootstrap-server "
                                    "k1.example.com:9093,k2:9092 --describe --topic t");
}

static void has_to_wait(LedgerReason reason) {
        World *world = given.world;
        LedgerDecision decision = {.verdict = LEDGER_VERDICT_WAIT,
                                   .reason = reason,
                                   .again_us = 300 * SECOND,
                                   .received_us = 1000};
        assert_int_equal(engine_claimed(world->engine, only(world, ENGINE_CLAIM)->run,
                                        LEDGER_END_DONE, &decision, world->now),
                         0);
        take(world);
}

static pid_t pid_4711(void *user, uint64_t run_id) {
        assert_null(user);
        assert_int_equal(run_id, 1);
        return 4711;
}

static pid_t pid_of_run(void *user, uint64_t run_id) {
        assert_null(user);
        return 4000 + (pid_t)run_id;
}

/* A partition whose oldest message has come 61 s ago; "a" waits for what the test says. */
static void pin(bool ledger) {
        World *world = given.world;
        world->config.ledger = ledger;
        Partition *partition = activate(world, 2, 0, 0);
        fetch(world, partition, 0, "db1.example.com");
        take(world);
        fetch(world, partition, 1, "b.example.com");
}

static void test_pinned_by_a_run(void **state) {
        (void)state;
        pin(false);
        given.world->now += 59 * SECOND;
        find();
        assert_null(found("partition_pinned"));
        given.world->now += 2 * SECOND;
        given.facts.pid = pid_4711;
        helps("partition_pinned", "kill -TERM -- -4711");
        Trouble *trouble = found("partition_pinned");
        assert_string_equal(text_of(&trouble->where), "t/2");
        assert_non_null(strstr(text_of(&trouble->text), "db1.example.com"));
        assert_non_null(strstr(text_of(&trouble->text), "running for 61 s"));
        assert_non_null(strstr(text_of(&trouble->text), "1 message of t/2 cannot"));
        assert_non_null(strstr(text_of(&trouble->text), "which this daemon received 61 s ago"));
        assert_non_null(strstr(text_of(&trouble->note), "ackd status t/2/0"));
        given.facts.pid = NULL;
        helps("partition_pinned", NULL);
}

/* One that hangs is told also behind another message that pins its partition. */
static void test_long_runs(void **state) {
        (void)state;
        given.config.handlers.restart.exec.timeout_us = 600 * SECOND;
        pin(false);
        take(given.world);
        given.world->now += 59 * SECOND;
        find();
        assert_null(found("restart_long"));
        given.world->now += 2 * SECOND;
        find();
        Trouble *trouble = found("restart_long");
        assert_non_null(trouble);
        assert_string_equal(text_of(&trouble->where), "b.example.com");
        assert_non_null(strstr(text_of(&trouble->text), "running for 61 s (exec.timeout 10m)"));
        assert_non_null(strstr(text_of(&trouble->note), "ackd status b.example.com"));
        assert_null(text_of(&trouble->remedy));
        given.facts.pid = pid_of_run;
        find();
        assert_string_equal(text_of(&found("restart_long")->remedy), "kill -TERM -- -4002");
        assert_string_equal(text_of(&found("partition_pinned")->remedy), "kill -TERM -- -4001");
        assert_int_equal(given.found.n, 2);
}

static void test_pinned_by_a_hold(void **state) {
        (void)state;
        WatchedHold holds[] = {{.pattern = (char *)"web*", .since = "2026-11-26T12:00:00Z"},
                               {.pattern = (char *)"db*",
                                .who = (char *)"jo@web1",
                                .why = (char *)"storage is moved",
                                .since = "2026-11-26T12:00:00Z"}};
        pin(true);
        has_to_wait(LEDGER_REASON_HOLD);
        given.world->now += 61 * SECOND;
        helps("partition_pinned", "ackd holds"); /* whose is not known yet */
        given.facts.holds = holds;
        given.facts.n_holds = given.facts.n_in_force = 2;
        helps("partition_pinned", "ackd unhold 'db*'");
        assert_non_null(strstr(text_of(&found("partition_pinned")->text), "storage is moved"));
}

static void test_pinned_by_what_it_waits_for(void **state) {
        static const struct {
                LedgerReason reason;
                const char *says;
        } table[] = {{LEDGER_REASON_COOLDOWN,
                      "was tried before, and the host cools down for 239 s more"},
                     {LEDGER_REASON_FLEET, "fleet_concurrency"},
                     {LEDGER_REASON_GROUP, "of its group are being restarted"},
                     {LEDGER_REASON_QUIET_TIME, "quiet time"},
                     {LEDGER_REASON_RUNNING, "another instance restarts its host"}};
        for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
                (void)end(state);
                (void)begin(state);
                pin(true);
                has_to_wait(table[i].reason);
                given.world->now += 61 * SECOND;
                Trouble *trouble = the("partition_pinned");
                assert_non_null(strstr(text_of(&trouble->text), table[i].says));
                assert_non_null(strstr(text_of(&trouble->text), "waited so for 61 s"));
        }
}

/* Hundreds of partitions under one hold are told by a few. */
static void test_pinned_many(void **state) {
        enum { N = 40 };
        World *world = given.world;
        (void)state;
        for (int i = 0; i < N; i++) {
                Partition *partition = activate(world, i, 0, 0);
                char host[32];
                snprintf(host, sizeof(host), "h%d", i);
                fetch(world, partition, 0, host);
                fetch(world, partition, 1, host);
                world->now++;
        }
        world->now += 61 * SECOND;
        find();
        size_t n = 0;
        for (size_t i = 0; i < given.found.n; i++) {
                Trouble *trouble = &given.found.items[i];
                char where[16];
                if (strcmp(trouble->word, "partition_pinned") == 0) {
                        snprintf(where, sizeof(where), "t/%d", (int)n++); /* the oldest first */
                        assert_string_equal(text_of(&trouble->where), where);
                }
        }
        assert_int_equal(n, TROUBLE_PINNED_MAX);
        assert_non_null(
                strstr(text_of(&given.found.items[given.found.n - 1].note), "30 other partitions"));
}

/* --- the rest ----------------------------------------------------------------------------- */

static void test_holds(void **state) {
        (void)state;
        WatchedHold holds[] = {{.pattern = (char *)"web*",
                                .who = (char *)"jo",
                                .why = (char *)"moved",
                                .since = "2027-01-15T07:59:00Z"},
                               {.pattern = (char *)"*",
                                .who = (char *)"ackd",
                                .why = (char *)"31 restarts in 10 min",
                                .since = "2027-01-15T07:00:00Z",
                                .fuse = true}};
        given.facts.holds = holds;
        given.facts.n_holds = 2;
        given.facts.n_in_force = 3;
        helps("fuse", "ackd unhold --fuse");
        assert_true(found("fuse")->error);
        helps("hold", "ackd unhold 'web*'");
        Trouble *trouble = found("hold");
        assert_false(trouble->error); /* it began a minute ago */
        assert_int_equal(given.facts.now_us - trouble->since_us, 60 * SECOND);
        assert_non_null(strstr(text_of(&trouble->note), "1 more holds"));
        snprintf(holds[0].since, sizeof(holds[0].since), "2027-01-14T07:59:59Z");
        assert_true(the("hold")->error);
        assert_non_null(strstr(text_of(&found("hold")->text), "forgotten"));
        holds[0].pattern = (char *)"*"; /* not the fuse's */
        helps("hold", "ackd unhold --hold '*'");
        helps("fuse", "ackd unhold --fuse");
        holds[0].pattern = (char *)"-web*";
        helps("hold", "ackd unhold -- '-web*'");
        /* Errors come first. */
        given.facts.slow = NULL;
        find();
        for (size_t i = 1; i < given.found.n; i++) {
                assert_false(given.found.items[i].error && !given.found.items[i - 1].error);
        }
}

/* Whatever the finders find first; those of one kind in the order of their causes. */
static void test_errors_first(void **state) {
        (void)state;
        static const char *const words[] = {"unknown_restarts", "postgres_refuses", "postgres_slow",
                                            "dead_letters_open", "loop_slow"};
        RejectedCounts counts = {.open = 3, .unknown = 1, .as_of_us = 1};
        TroubleSlow slow = {"restart", 2, SECOND, given.world->now};
        refused("55P03", "save");
        given.facts.postgres.down = (PgTrouble){.since_us = SECOND, .why = "w", .operation = "x"};
        given.facts.rejected = &counts;
        given.facts.slow = &slow;
        given.facts.n_slow = 1;
        find();
        assert_int_equal(given.found.n, 5);
        for (size_t i = 0; i < given.found.n; i++) {
                assert_string_equal(given.found.items[i].word, words[i]);
        }
}

static void test_rejected(void **state) {
        (void)state;
        RejectedCounts counts = {.open = 3, .unknown = 1, .as_of_us = 1};
        given.facts.rejected = &counts;
        helps("unknown_restarts", "ackd dead-letter list --reason unknown");
        helps("dead_letters_open", "ackd dead-letter list");
        assert_null(found("dead_letters_stuck"));
        counts.outbox_pending = 2;
        snprintf(counts.outbox_error, sizeof(counts.outbox_error), "no such topic");
        given.config.consume.dead_letter_topic = (char *)"dead";
        helps("dead_letters_stuck", "ackd dead-letter list");
        assert_non_null(strstr(text_of(&found("dead_letters_stuck")->note), "of dead."));
        assert_true(the("dead_letters_stuck")->error);
        snprintf(counts.outbox_error, sizeof(counts.outbox_error),
                 "Broker: Unknown topic or partition");
        helps("dead_letters_stuck", "kafka-topics.sh --bootstrap-server "
                                    "k1.example.com:9093,k2:9092 --create --topic dead");
        snprintf(counts.outbox_error, sizeof(counts.outbox_error),
                 "Broker: Topic authorization failed");
        helps("dead_letters_stuck",
              "kafka-acls.sh --bootstrap-server k1.example.com:9093,k2:9092 --add "
              "--allow-principal User:ANONYMOUS --operation Write --operation Describe --topic "
              "dead");
        counts = (RejectedCounts){.open = 3};
        find();
        assert_int_equal(given.found.n, 0); /* not read yet */
}

static void test_process(void **state) {
        (void)state;
        TroubleSlow slow[] = {{"old", 1, SECOND, 1}, {"restart", 2, SECOND, 100 * SECOND}};
        given.facts.slow = slow;
        given.facts.n_slow = 2;
        given.world->now = 2 + TROUBLE_RECENT_US;
        Trouble *trouble = the("loop_slow");
        assert_null(strstr(text_of(&trouble->text), "old"));
        assert_non_null(strstr(text_of(&trouble->text), "restart (2 times, at most 1.000 s"));
        given.facts.log_dropped = 7;
        helps("log_dropped", "ackd set log.level=warning");
        given.config.handlers.restart.action = CONFIG_ACTION_DRY_RUN;
        helps("dry_run", NULL);
}

static void test_save_and_intake(void **state) {
        World *world = given.world;
        (void)state;
        world->config.in_flight = 1;
        Partition *partition = activate(world, 0, 0, 0);
        fetch(world, partition, 0, "a");
        take(world);
        Batch *batch = only(world, ENGINE_SAVE)->batch;
        for (int i = 0; i < 3; i++) {
                assert_int_equal(engine_saved(world->engine, batch, BATCH_OUTAGE, world->now), 0);
                take(world);
                tick(world, 10 * SECOND);
                if (count(world, ENGINE_READ_FENCES) > 0) {
                        int64_t fence = 0;
                        assert_int_equal(engine_fences_read(world->engine, batch, &fence, NULL, 0,
                                                            world->now),
                                         0);
                        take(world);
                }
        }
        assert_true(the("save_failing")->error);
        refused("53100", "save"); /* the cause is told in its place */
        find();
        assert_null(found("save_failing"));
        given.facts.intake_us = world->now - 6 * SECOND;
        Trouble *trouble = the("intake_paused");
        assert_string_equal(text_of(&trouble->where), "limits.in_flight");
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test_setup_teardown(test_nothing, begin, end),
                cmocka_unit_test_setup_teardown(test_kafka, begin, end),
                cmocka_unit_test_setup_teardown(test_postgres_words, begin, end),
                cmocka_unit_test_setup_teardown(test_postgres_remedies, begin, end),
                cmocka_unit_test_setup_teardown(test_odd_names, begin, end),
                cmocka_unit_test_setup_teardown(test_postgres_down, begin, end),
                cmocka_unit_test_setup_teardown(test_schema_versions, begin, end),
                cmocka_unit_test_setup_teardown(test_stopped, begin, end),
                cmocka_unit_test_setup_teardown(test_vanished, begin, end),
                cmocka_unit_test_setup_teardown(test_pinned_by_a_run, begin, end),
                cmocka_unit_test_setup_teardown(test_long_runs, begin, end),
                cmocka_unit_test_setup_teardown(test_pinned_by_a_hold, begin, end),
                cmocka_unit_test_setup_teardown(test_pinned_by_what_it_waits_for, begin, end),
                cmocka_unit_test_setup_teardown(test_pinned_many, begin, end),
                cmocka_unit_test_setup_teardown(test_holds, begin, end),
                cmocka_unit_test_setup_teardown(test_errors_first, begin, end),
                cmocka_unit_test_setup_teardown(test_rejected, begin, end),
                cmocka_unit_test_setup_teardown(test_process, begin, end),
                cmocka_unit_test_setup_teardown(test_save_and_intake, begin, end),
        };
        return cmocka_run_group_tests(tests, NULL, NULL);
}
