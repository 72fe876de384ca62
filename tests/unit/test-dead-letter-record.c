/* A row of the outbox as a record: the headers as they came, and ours. */

#include "test.h"

#include <string.h>

#include "app/dead_letter_record.h"

static const DeadLetterFrom from = {.topic = "dead", .group = "g", .instance = "one"};

static OutboxRow row_of(const char *headers) {
        return (OutboxRow){.source = 3,
                           .offset = INT64_C(9000000000),
                           .key = (const uint8_t *)"k\0",
                           .key_size = 2,
                           .value = (const uint8_t *)"v",
                           .value_size = 1,
                           .headers = headers,
                           .headers_size = headers != NULL ? strlen(headers) : 0,
                           .topic = "t",
                           .partition = "7",
                           .reason = "not_json",
                           .attempts = "0",
                           .handlers_done = "",
                           .rejected_at = "2026-11-26T22:00:00Z",
                           .tries = 1};
}

static void assert_header(const ProducerHeader *header, const char *name, const void *value,
                          size_t size) {
        assert_string_equal(header->name, name);
        assert_int_equal(header->size, size);
        if (value == NULL) {
                assert_null(header->value);
        } else {
                assert_non_null(header->value);
                assert_memory_equal(header->value, value, size);
        }
}

/* The last of that name; NULL: none. */
static const char *find(const DeadLetterRecord *record, const char *name, char out[256]) {
        for (size_t i = record->message.n_headers; i > 0; i--) {
                const ProducerHeader *header = &record->message.headers[i - 1];
                if (strcmp(header->name, name) == 0) {
                        snprintf(out, 256, "%.*s", (int)header->size, (const char *)header->value);
                        return out;
                }
        }
        return NULL;
}

static void test_of_the_message_itself(void **state) {
        (void)state;
        DeadLetterRecord record = {0};
        char text[256];
        OutboxRow row =
                row_of("[[\"ackd-reason\",\"theirs\"],[\"a\",{\"base64\":\"AP8=\"}],[\"n\",null]]");
        row.detail = "byte 1";
        assert_int_equal(dead_letter_record_init(&record, &row, &from, false), 0);
        const ProducerMessage *message = &record.message;
        assert_string_equal(message->topic, "dead");
        assert_memory_equal(message->key, "k\0", 2);
        assert_int_equal(message->key_size, 2);
        assert_int_equal(message->value_size, 1);
        assert_header(&message->headers[0], "ackd-reason", "theirs", 6);
        assert_header(&message->headers[1], "a", "\0\xff", 2);
        assert_header(&message->headers[2], "n", NULL, 0);
        assert_int_equal(message->partition, -1);
        assert_string_equal(find(&record, "ackd-reason", text), "not_json");
        assert_string_equal(find(&record, "ackd-detail", text), "byte 1");
        assert_string_equal(find(&record, "ackd-topic", text), "t");
        assert_string_equal(find(&record, "ackd-partition", text), "7");
        assert_string_equal(find(&record, "ackd-offset", text), "9000000000");
        assert_string_equal(find(&record, "ackd-source", text), "3");
        assert_string_equal(find(&record, "ackd-group", text), "g");
        assert_string_equal(find(&record, "ackd-instance", text), "one");
        assert_string_equal(find(&record, "ackd-attempts", text), "0");
        assert_string_equal(find(&record, "ackd-handlers-done", text), "");
        assert_string_equal(find(&record, "ackd-rejected-at", text), "2026-11-26T22:00:00Z");
        /* What is not known is not there. */
        assert_null(find(&record, "ackd-handler", text));
        assert_null(find(&record, "ackd-host", text));
        assert_null(find(&record, "ackd-produced-at", text));
        assert_null(find(&record, "ackd-value-omitted", text));
        assert_null(find(&record, "ackd-value-truncated", text));
        dead_letter_record_deinit(&record);
}

static void test_of_a_handler(void **state) {
        (void)state;
        DeadLetterRecord record = {0};
        char text[256];
        OutboxRow row = row_of(NULL);
        row.handler = "restart-host";
        row.reason = "too_large"; /* a word of another kind of fault means nothing here */
        row.host = "web1.example.com";
        row.attempts = "5";
        row.handlers_done = "save";
        row.produced_at = "2026-11-26T21:00:00Z";
        row.key = NULL;
        row.key_size = 0;
        assert_int_equal(dead_letter_record_init(&record, &row, &from, false), 0);
        assert_null(record.message.key);
        assert_string_equal(find(&record, "ackd-handler", text), "restart-host");
        assert_string_equal(find(&record, "ackd-host", text), "web1.example.com");
        assert_string_equal(find(&record, "ackd-attempts", text), "5");
        assert_string_equal(find(&record, "ackd-handlers-done", text), "save");
        assert_string_equal(find(&record, "ackd-produced-at", text), "2026-11-26T21:00:00Z");
        assert_null(find(&record, "ackd-value-truncated", text));
        dead_letter_record_deinit(&record);
}

/* Empty, and not null, which would be a tombstone. */
static void test_without_its_value(void **state) {
        (void)state;
        DeadLetterRecord record = {0};
        char text[256];
        OutboxRow row = row_of(NULL);
        assert_int_equal(dead_letter_record_init(&record, &row, &from, true), 0);
        assert_non_null(record.message.value);
        assert_int_equal(record.message.value_size, 0);
        assert_string_equal(
                find(&record, "ackd-value-omitted", text),
                "size=1 sha256=4c94485e0c21ae6c41ce1dfe7b6bfaceea5ab68e40a2476f50208e526f506080");
        dead_letter_record_deinit(&record);
        record = (DeadLetterRecord){0};
        row.value = NULL;
        row.value_size = 0;
        assert_int_equal(dead_letter_record_init(&record, &row, &from, false), 0);
        assert_non_null(record.message.value);
        assert_string_equal(find(&record, "ackd-value-omitted", text), "not known");
        dead_letter_record_deinit(&record);
}

static void test_cut_and_unreadable(void **state) {
        (void)state;
        DeadLetterRecord record = {0};
        char text[256];
        OutboxRow row = row_of("{}");
        row.reason = "too_large";
        assert_int_equal(dead_letter_record_init(&record, &row, &from, false), 0);
        assert_string_equal(find(&record, "ackd-value-truncated", text), "true");
        assert_string_equal(find(&record, "ackd-headers-omitted", text), "not readable");
        assert_string_equal(find(&record, "ackd-topic", text), "t");
        dead_letter_record_deinit(&record);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_of_the_message_itself),
                cmocka_unit_test(test_of_a_handler),
                cmocka_unit_test(test_without_its_value),
                cmocka_unit_test(test_cut_and_unreadable),
        };
        return cmocka_run_group_tests(tests, NULL, NULL);
}
