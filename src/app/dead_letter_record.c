#include "app/dead_letter_record.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

enum {
        OURS_MAX = 20, /* headers of ours */
};

/* headers_read() has left room. @text NULL: nothing is added. */
static void add(DeadLetterRecord *record, const char *name, const char *text) {
        if (text != NULL) {
                record->headers.items[record->headers.n++] =
                        (ProducerHeader){.name = name, .value = text, .size = strlen(text)};
        }
}

static int add_value(DeadLetterRecord *record, const OutboxRow *row, bool omit) {
        char hash[SHA256_TEXT_SIZE];
        record->message.value = row->value;
        record->message.value_size = row->value_size;
        if (row->value != NULL && !omit) {
                return 0;
        }
        record->message.value = "";
        record->message.value_size = 0;
        if (row->value == NULL) {
                add(record, "ackd-value-omitted", "not known");
                return 0;
        }
        int r = sha256_text(row->value, row->value_size, hash);
        if (r != 0) {
                return r;
        }
        snprintf(record->omitted, sizeof(record->omitted), "size=%zu sha256=%s", row->value_size,
                 hash);
        add(record, "ackd-value-omitted", record->omitted);
        return 0;
}

static void add_ours(DeadLetterRecord *record, const OutboxRow *row, const DeadLetterFrom *from) {
        snprintf(record->offset, sizeof(record->offset), "%" PRId64, row->offset);
        snprintf(record->source, sizeof(record->source), "%" PRId32, row->source);
        bool cut = row->handler == NULL && row->reason != NULL &&
                   strcmp(row->reason, "too_large") == 0; /* the detail has its size and SHA-256 */
        const struct {
                const char *name, *text;
        } ours[] = {
                {"ackd-reason", row->reason},
                {"ackd-detail", row->detail},
                {"ackd-handler", row->handler},
                {"ackd-attempts", row->attempts},
                {"ackd-handlers-done", row->handlers_done},
                {"ackd-host", row->host},
                {"ackd-topic", row->topic},
                {"ackd-partition", row->partition},
                {"ackd-offset", record->offset},
                {"ackd-source", record->source},
                {"ackd-group", from->group},
                {"ackd-produced-at", row->produced_at},
                {"ackd-rejected-at", row->rejected_at},
                {"ackd-instance", from->instance},
                {"ackd-value-truncated", cut ? "true" : NULL},
        };
        static_assert(sizeof(ours) / sizeof(*ours) + 2 <= OURS_MAX, "room for two more");
        for (size_t i = 0; i < sizeof(ours) / sizeof(*ours); i++) {
                add(record, ours[i].name, ours[i].text);
        }
}

int dead_letter_record_init(DeadLetterRecord *record, const OutboxRow *row,
                            const DeadLetterFrom *from, bool omit) {
        int r = headers_read(&record->headers, row->headers, row->headers_size, NULL, OURS_MAX);
        bool unreadable = r > 0;
        if (unreadable) {
                r = headers_read(&record->headers, NULL, 0, NULL, OURS_MAX);
        }
        if (r != 0) {
                return r;
        }
        add_ours(record, row, from);
        if (unreadable) {
                add(record, "ackd-headers-omitted", "not readable");
        }
        r = add_value(record, row, omit);
        record->message.topic = from->topic;
        record->message.partition = -1;
        record->message.key = row->key;
        record->message.key_size = row->key_size;
        record->message.headers = record->headers.items;
        record->message.n_headers = record->headers.n;
        return r;
}

void dead_letter_record_deinit(DeadLetterRecord *record) {
        headers_deinit(&record->headers);
}
