#include "config-load.h"

static void test_missing(void **state) {
        (void)state;
        static const char globs[] =
                "t.yaml:2:3: " R ".allow is missing; allowed: a list of globs, such as "
                "[\"*.prod.example.com\"]\n";
        char both[400];
        snprintf(both, sizeof(both),
                 "t.yaml:2:3: %s.action is missing; allowed: exec | http | dry-run\n%s", R, globs);
        const Wrong table[] = {
                {"", "t.yaml: no handlers: nothing would be done with a message; allowed: at least "
                     "one, such as handlers: {save: {}}\n"},
                {"# only a comment\n", "t.yaml: no handlers: nothing would be done with a message; "
                                       "allowed: at least one, such as handlers: {save: {}}\n"},
                {"handlers:\n", "t.yaml: no handlers: nothing would be done with a message; "
                                "allowed: at least one, such as handlers: {save: {}}\n"},
                {"handlers:\n  restart-host:\n", both},
                {"handlers:\n  restart-host: {action: dry-run}\n", globs},
                {"handlers:\n  restart-host: {action: exec, allow: [a]}\n",
                 "t.yaml:2:3: " R ".exec.argv is missing" ARGV},
                /* What was refused is not also missing. */
                {"handlers:\n  restart-host: {action: magic, allow: [a]}\n",
                 "t.yaml:2:26: " R ".action: \"magic\" is unknown; allowed: exec | http | "
                 "dry-run\n"},
                {"handlers:\n  restart-host: {action: http, allow: [a]}\n",
                 "t.yaml:2:3: " R ".http.url is missing; allowed: an http or https URL, such as "
                 "https://{{host.label}}-bmc.example.com/reset\n"},
        };
        CHECK(table);
}

static void test_contradictions(void **state) {
        (void)state;
        static const Wrong table[] = {
                {SAVE "limits: {in_flight_bytes: 512KiB}\n",
                 "t.yaml:2:27: limits.message_bytes: 1MiB is more than limits.in_flight_bytes, "
                 "512KiB\n"},
                {SAVE "retry: {backoff: 10m}\n",
                 "t.yaml:2:18: retry.backoff: 10m is more than retry.backoff_max, 5m\n"},
                {SAVE "retry: {backoff: 5, backoff_max: 500ms}\n",
                 "t.yaml:2:18: retry.backoff: \"5\" has no unit, such as 10s; allowed: a duration, "
                 "1ms to 1d\n"},
        };
        CHECK(table);
}

/* What ackd writes to a topic it must not read. */
static void test_dead_letter_topic(void **state) {
        (void)state;
#define CONSUMED "), and what is rejected would come again; allowed: a topic that is not consumed\n"
#define TOPIC    "; allowed: the name of a topic, or \"\" for none\n"
        static const Wrong table[] = {
                {SAVE "consume: {topics: [a, b.c], dead_letter_topic: b.d}\n", ""},
                {SAVE "consume: {topics: [a, b.c], dead_letter_topic: b.c}\n",
                 "t.yaml:2:48: consume.dead_letter_topic: \"b.c\" is consumed, as \"b.c\" of "
                 "consume.topics (t.yaml:2:19" CONSUMED},
                {SAVE "consume: {topics: ['^b', '^x', '^.*c$'], dead_letter_topic: b.c}\n",
                 "t.yaml:2:61: consume.dead_letter_topic: \"b.c\" is consumed, as \"^b\" of "
                 "consume.topics (t.yaml:2:19" CONSUMED
                 "t.yaml:2:61: consume.dead_letter_topic: \"b.c\" is consumed, as \"^.*c$\" of "
                 "consume.topics (t.yaml:2:19" CONSUMED},
                {SAVE "consume: {dead_letter_topic: host-restarts}\n",
                 "t.yaml:2:30: consume.dead_letter_topic: \"host-restarts\" is consumed, as "
                 "\"host-restarts\" of consume.topics (the default" CONSUMED},
                /* As Kafka's patterns are: not to the end. */
                {SAVE "consume: {topics: ['^b$', '^[', '^c(d|e)'], dead_letter_topic: b-dead}\n",
                 ""},
                {SAVE "consume: {topics: ['^b'], dead_letter_topic: '^b'}\n",
                 "t.yaml:2:46: consume.dead_letter_topic: \"^b\" is a pattern" TOPIC},
                {SAVE "consume: {dead_letter_topic: 'a b'}\n",
                 "t.yaml:2:30: consume.dead_letter_topic: \"a b\" holds a byte that no name of a "
                 "topic has" TOPIC},
                {SAVE "consume: {dead_letter_topic: ''}\n", ""},
        };
        CHECK(table);
}

static void test_warnings(void **state) {
        (void)state;
        static const Wrong table[] = {
                {RESTART "shutdown: {grace: 64s}\n",
                 "warning: t.yaml:7:19: shutdown.grace: 64s is shorter than a restart with its "
                 "kill_after (65s): a shutdown kills restarts, and their outcome is unknown\n"},
                {RESTART "shutdown: {grace: 65s}\n", ""},
                {SAVE "shutdown: {grace: 0}\n", ""},
                {"handlers: {restart-host: {action: exec, allow: ['*'], exec: {argv: [/bin/x]}}}\n",
                 "warning: t.yaml:1:48: " R ".allow: \"*\" allows every host\n"
                 "warning: t.yaml:1:68: " R ".exec.argv: no {{host}} in it, so the command is the "
                 "same for every host\n"},
                {SAVE "postgres: {dsn: 'host=h password=x'}\n",
                 "warning: t.yaml:2:17: postgres.dsn: holds a password; in postgres.password_file "
                 "it is out of sight, and can be changed without a restart\n"},
                {SAVE "postgres: {dsn: 'host=h nonsense'}\n", ""},
        };
        CHECK(table);
}

static void test_cooperative(void **state) {
        (void)state;
        static const char both[] =
                SAVE "kafka: {partition.assignment.strategy: 'cooperative-sticky,range'}\n";
        static const char old[] =
                "warning: t.yaml:2:40: kafka.partition.assignment.strategy: cooperative-sticky of "
                "librdkafka 2.0.2 may crash, hang at the close, or fall out of the group at a "
                "rebalance, which repeats restarts; write range,roundrobin until librdkafka is "
                "2.10\n";
        static const struct {
                const char *version, *text, *expected;
        } table[] = {
                {"2.0.2", both, old},
                {"2.0.2", SAVE "kafka: {partition.assignment.strategy: 'range,roundrobin'}\n", ""},
                {"2.0.2", SAVE, ""},
                {"2.10.0", both, ""},
                {"2.15.1-dev", both, ""},
                {"3.0.0", both, ""},
                {NULL, both, ""},
        };
        for (size_t i = 0; i < sizeof(table) / sizeof(*table); i++) {
                config_free(
                        load_for(table[i].version, table[i].text, NULL, NULL, table[i].expected));
        }
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_missing),           cmocka_unit_test(test_contradictions),
                cmocka_unit_test(test_dead_letter_topic), cmocka_unit_test(test_warnings),
                cmocka_unit_test(test_cooperative),
        };
        return cmocka_run_group_tests(tests, set_up, tear_down);
}
