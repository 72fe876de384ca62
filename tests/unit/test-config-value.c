#include "config-load.h"

static void test_wrong_values(void **state) {
        (void)state;
        static const Wrong table[] = {
                {SAVE "retry: {attempts: three}\n",
                 "t.yaml:2:19: retry.attempts: \"three\" is not a whole number; allowed: a whole "
                 "number, 1 to 1000\n"},
                {SAVE "retry: {attempts: 0}\n",
                 "t.yaml:2:19: retry.attempts: \"0\" is out of range; allowed: a whole number, 1 "
                 "to 1000\n"},
                {SAVE "retry: {attempts: -1}\n",
                 "t.yaml:2:19: retry.attempts: \"-1\" is out of range; allowed: a whole number, 1 "
                 "to 1000\n"},
                {SAVE "retry: {attempts: 99999999999999999999}\n",
                 "t.yaml:2:19: retry.attempts: \"99999999999999999999\" is out of range; allowed: "
                 "a whole number, 1 to 1000\n"},
                {SAVE "retry: {attempts: 010}\n",
                 "t.yaml:2:19: retry.attempts: \"010\" is not a whole number; allowed: a whole "
                 "number, 1 to 1000\n"},
                {SAVE "retry: {attempts: 1e1}\n",
                 "t.yaml:2:19: retry.attempts: \"1e1\" is not a whole number; allowed: a whole "
                 "number, 1 to 1000\n"},
                {SAVE "retry: {attempts: \"3\"}\n",
                 "t.yaml:2:19: retry.attempts: \"3\" is text because of its quotes; allowed: a "
                 "whole number, 1 to 1000\n"},
                {SAVE "retry: {attempts: [3]}\n",
                 "t.yaml:2:19: retry.attempts: is a list; allowed: a whole number, 1 to 1000\n"},
                {SAVE "retry:\n  attempts:\n",
                 "t.yaml:3:12: retry.attempts: has no value; allowed: a whole number, 1 to 1000\n"},
                {SAVE "retry: {backoff: 5}\n",
                 "t.yaml:2:18: retry.backoff: \"5\" has no unit, such as 10s; allowed: a duration, "
                 "1ms to 1d\n"},
                {SAVE "retry: {backoff: 1.5s}\n",
                 "t.yaml:2:18: retry.backoff: \"1.5s\" has a fraction; use a smaller unit\n"},
                {SAVE "retry: {backoff: 5 min}\n",
                 "t.yaml:2:18: retry.backoff: \"5 min\" has an unknown unit; known: ms s m h d\n"},
                {SAVE "retry: {backoff: 2d}\n",
                 "t.yaml:2:18: retry.backoff: \"2d\" is out of range; allowed: a duration, 1ms to "
                 "1d\n"},
                {SAVE "retry: {backoff: 0}\n",
                 "t.yaml:2:18: retry.backoff: \"0\" is out of range; allowed: a duration, 1ms to "
                 "1d\n"},
                {SAVE "retry: {backoff: 200000000d}\n",
                 "t.yaml:2:18: retry.backoff: \"200000000d\" is too large; allowed: a duration, "
                 "1ms to 1d\n"},
                {SAVE "limits: {message_bytes: 1MB}\n",
                 "t.yaml:2:25: limits.message_bytes: \"1MB\" has an unknown unit; known: B KiB MiB "
                 "GiB TiB\n"},
                {SAVE "limits: {message_bytes: 1GiB}\n",
                 "t.yaml:2:25: limits.message_bytes: \"1GiB\" is out of range; allowed: a size, "
                 "1KiB to 256MiB\n"},
                {SAVE "limits: {message_bytes: 99999999TiB}\n",
                 "t.yaml:2:25: limits.message_bytes: \"99999999TiB\" is too large; allowed: a "
                 "size, "
                 "1KiB to 256MiB\n"},
                {SAVE "log: {level: warn}\n",
                 "t.yaml:2:14: log.level: \"warn\" is unknown; allowed: debug | info | warning | "
                 "error\n"},
                {SAVE "log: {level: eror}\n",
                 "t.yaml:2:14: log.level: \"eror\" is unknown, perhaps \"error\"; allowed: debug | "
                 "info | warning | error\n"},
                {SAVE "log: {format: journal}\n",
                 "t.yaml:2:15: log.format: \"journal\" is unknown; allowed: auto | text | json\n"},
                {SAVE "consume: {start: latst}\n",
                 "t.yaml:2:18: consume.start: \"latst\" is unknown, perhaps \"latest\"; allowed: "
                 "earliest | latest\n"},
                {SAVE "shutdown: {grace: never}\n",
                 "t.yaml:2:19: shutdown.grace: \"never\" does not begin with a number; allowed: "
                 "auto, or a duration up to 1d\n"},
                {SAVE "instance: a/b\n",
                 "t.yaml:2:11: instance: \"a/b\" may hold letters, digits and . _ @ : - only; "
                 "allowed: a name\n"},
                {SAVE "instance: [a]\n", "t.yaml:2:11: instance: is a list; allowed: a name\n"},
                {SAVE "message: {host: a..b}\n",
                 "t.yaml:2:17: message.host: \"a..b\" has an empty part between its dots; allowed: "
                 "a dotted path into the message, such as target.fqdn\n"},
                {SAVE "message: {id: \"\"}\n",
                 "t.yaml:2:15: message.id: \"\" is empty; allowed: a dotted path into the message, "
                 "such as target.fqdn\n"},
                {SAVE "metrics: {textfile: ackd.prom}\n",
                 "t.yaml:2:21: metrics.textfile: \"ackd.prom\" is not an absolute path; allowed: "
                 "an absolute path, or \"\" for none\n"},
                {SAVE "postgres: {schema: Ackd}\n",
                 "t.yaml:2:20: postgres.schema: \"Ackd\" is not a name for a schema; allowed: "
                 "lower-case letters, digits and _, at most 63\n"},
                {SAVE "postgres: {dsn: ''}\n",
                 "t.yaml:2:17: postgres.dsn: \"\" is empty; allowed: a connection string of "
                 "libpq's\n"},
                {SAVE "postgres: {dsn: {host: x}}\n",
                 "t.yaml:2:17: postgres.dsn: is a section where text is expected; text that holds "
                 "\": \" or begins with {{ needs quotes\n"},
                {SAVE "retry: 3\n", "t.yaml:2:8: retry: text where a section is expected; known in "
                                    "it: attempts backoff backoff_max\n"},
                {"[a]\n",
                 "t.yaml: no handlers: nothing would be done with a message; allowed: at "
                 "least one, such as handlers: {save: {}}\n"
                 "t.yaml:1:1: the configuration: a list where a section is expected; "
                 "known in it: consume control debug handlers instance kafka limits log message "
                 "metrics postgres retry shutdown\n"},
        };
        CHECK(table);
}

static void test_wrong_lists(void **state) {
        (void)state;
        static const Wrong table[] = {
                {SAVE "consume: {topics: host-restarts}\n",
                 "t.yaml:2:19: consume.topics: is not a list; allowed: a list of topics, such as "
                 "[host-restarts]\n"},
                {SAVE "consume: {topics: []}\n",
                 "t.yaml:2:19: consume.topics: is empty; allowed: a list of topics, such as "
                 "[host-restarts]\n"},
                {SAVE "consume: {topics: [a, 'b c', '']}\n",
                 "t.yaml:2:23: consume.topics: \"b c\" holds a byte that no name of a topic has; a "
                 "pattern begins with ^\n"
                 "t.yaml:2:30: consume.topics: \"\" is empty; allowed: a list of topics, such as "
                 "[host-restarts]\n"},
                {SAVE "consume: {topics: [a, [b]]}\n",
                 "t.yaml:2:23: consume.topics: is a list; allowed: a list of topics, such as "
                 "[host-restarts]\n"},
                {"handlers: {restart-host: {action: dry-run, allow: []}}\n",
                 "t.yaml:1:51: " R ".allow: is empty; allowed: a list of globs, such as "
                 "[\"*.prod.example.com\"]\n"},
                {"handlers: {restart-host: {action: dry-run, allow: ['web_1', 'a[1-9]', 'a.', "
                 "'x y', \"a\\tb\"]}}\n",
                 "t.yaml:1:52: " R ".allow: \"web_1\" holds a byte that no host name has; allowed: "
                 "a list of globs, such as [\"*.prod.example.com\"]\n"
                 "t.yaml:1:61: " R ".allow: \"a[1-9]\" holds a bracket or !; only * and ? are "
                 "special\n"
                 "t.yaml:1:71: " R ".allow: \"a.\" ends with a dot, which canonical names never "
                 "do; allowed: a list of globs, such as [\"*.prod.example.com\"]\n"
                 "t.yaml:1:77: " R ".allow: \"x y\" holds a byte that no host name has; allowed: a "
                 "list of globs, such as [\"*.prod.example.com\"]\n"
                 "t.yaml:1:84: " R ".allow: \"a?b\" holds a byte that no host name has; allowed: a "
                 "list of globs, such as [\"*.prod.example.com\"]\n"},
                {RESTART "      status: {done: 0}\n",
                 "t.yaml:7:22: " R ".exec.status.done: is not a list; allowed: a list of exit "
                 "statuses from 0 to 255, such as [0]\n"},
                {RESTART "      status: {done: [256, x]}\n",
                 "t.yaml:7:23: " R ".exec.status.done: \"256\" is out of range; allowed: a list of "
                 "exit statuses from 0 to 255, such as [0]\n"
                 "t.yaml:7:28: " R ".exec.status.done: \"x\" is not a whole number; allowed: a "
                 "list of exit statuses from 0 to 255, such as [0]\n"},
                {RESTART "      status: {done: [0, 255]}\n",
                 "t.yaml:7:22: " R ".exec.status.done: 255 is also in " R ".exec.status.unknown; "
                 "allowed: in one of them\n"},
        };
        CHECK(table);
}

#define BEGIN "handlers:\n  restart-host:\n    action: exec\n    allow: [a]\n    exec:\n"
#define KNOWN "known: {{host}}, {{host.label}}, {{id}}, {{message.PATH}}\n"

static void test_wrong_commands(void **state) {
        (void)state;
        static const Wrong table[] = {
                {BEGIN "      argv: []\n", "t.yaml:6:13: " R ".exec.argv: is empty" ARGV},
                {BEGIN "      argv: [ssh, '{{host}}']\n",
                 "t.yaml:6:14: " R
                 ".exec.argv: \"ssh\" is not the absolute path of a program" ARGV},
                {BEGIN "      argv: ['/bin/{{id}}', '{{host}}']\n",
                 "t.yaml:6:14: " R ".exec.argv: \"/bin/{{id}}\" must not have a placeholder: it is "
                 "the program" ARGV},
                {BEGIN "      argv: [/bin/x, '{{hots}}', 'a {{ id }}']\n",
                 "t.yaml:6:22: " R ".exec.argv: \"{{hots}}\" has an unknown placeholder {{hots}} "
                 "at byte 1; " KNOWN "t.yaml:6:34: " R ".exec.argv: \"a {{ id }}\" has an unknown "
                 "placeholder {{ id }} at byte 3; " KNOWN},
                {BEGIN "      argv: [/bin/x, '{{host']\n",
                 "t.yaml:6:22: " R ".exec.argv: \"{{host\" has an unclosed placeholder {{host at "
                 "byte 1; " KNOWN},
                {BEGIN "      argv: [/bin/x, {{host}}]\n",
                 "t.yaml:6:23: a key must be text; a placeholder is written in quotes: "
                 "\"{{host}}\"\n"},
                {BEGIN "      argv: /bin/x\n", "t.yaml:6:13: " R ".exec.argv: is not a list" ARGV},
        };
        CHECK(table);
}

static void test_kafka(void **state) {
        (void)state;
        static const Wrong table[] = {
                {SAVE "kafka: {enable.auto.commit: false}\n",
                 "t.yaml:2:9: kafka: \"enable.auto.commit\" is ackd's own and cannot be set; ackd "
                 "commits what is finished\n"},
                {SAVE "kafka:\n  auto.offset.reset: latest\n  queued.min.messages: 1\n"
                      "  queued.max.messages.kbytes: 1\n  fetch.max.bytes: 1\n  log.queue: true\n"
                      "  enable.partition.eof: true\n  enable.auto.offset.store: true\n",
                 "t.yaml:3:3: kafka: \"auto.offset.reset\" is ackd's own and cannot be set; see "
                 "consume.start\n"
                 "t.yaml:4:3: kafka: \"queued.min.messages\" is ackd's own and cannot be set; see "
                 "limits.in_flight_bytes\n"
                 "t.yaml:5:3: kafka: \"queued.max.messages.kbytes\" is ackd's own and cannot be "
                 "set; see limits.in_flight_bytes\n"
                 "t.yaml:6:3: kafka: \"fetch.max.bytes\" is ackd's own and cannot be set; see "
                 "limits.in_flight_bytes\n"
                 "t.yaml:7:3: kafka: \"log.queue\" is ackd's own and cannot be set; librdkafka's "
                 "log goes into ackd's\n"
                 "t.yaml:8:3: kafka: \"enable.partition.eof\" is ackd's own and cannot be set; "
                 "ackd has to know the end\n"
                 "t.yaml:9:3: kafka: \"enable.auto.offset.store\" is ackd's own and cannot be set; "
                 "ackd commits what is finished\n"},
                {SAVE "kafka: {bootstrap: {servers: x}}\n",
                 "t.yaml:2:20: kafka: \"bootstrap\" is a section; allowed: text or a number, under "
                 "the whole name with its dots, such as bootstrap.servers\n"},
                {SAVE "kafka: {client.id: }\n",
                 "t.yaml:2:20: kafka: \"client.id\" has no value; allowed: text or a number\n"},
                {SAVE "kafka: x\n", "t.yaml:2:8: kafka: text where settings of librdkafka are "
                                    "expected; allowed: such as {bootstrap.servers: "
                                    "\"localhost:9092\"}\n"},
                {SAVE "kafka: {'': x}\n", "t.yaml:2:9: kafka: a setting without a name\n"},
        };
        CHECK(table);
        Config *config =
                load(SAVE "kafka: {z: 1, a: true, group.id: g, y: '010'}\n", NULL, NULL, "");
        static const char *const names[] = {"bootstrap.servers", "group.id", "z", "a", "y"};
        static const char *const values[] = {"localhost:9092", "g", "1", "true", "010"};
        assert_int_equal(config->kafka.n, 5);
        for (size_t i = 0; i < 5; i++) {
                assert_string_equal(config->kafka.items[i].name, names[i]);
                assert_string_equal(config->kafka.items[i].value, values[i]);
        }
        config_free(config);
        /* The other name of bootstrap.servers: its default must not win. */
        config = load(SAVE "kafka: {metadata.broker.list: 'b:1'}\n", NULL, NULL, "");
        assert_int_equal(config->kafka.n, 2);
        assert_string_equal(config->kafka.items[0].name, "group.id");
        config_free(config);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_wrong_values),
                cmocka_unit_test(test_wrong_lists),
                cmocka_unit_test(test_wrong_commands),
                cmocka_unit_test(test_kafka),
        };
        return cmocka_run_group_tests(tests, set_up, tear_down);
}
