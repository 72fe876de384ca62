#pragma once

/* Batches made by hand, as the engine makes them: partitions with a source, messages in offset
 * order, parts ordered by source. */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/engine.h"
#include "pg.h"

enum {
        TEST_PARTS = 4,
        TEST_MESSAGES = 256,
};

typedef struct TestBatch {
        Batch batch;
        BatchPart parts[TEST_PARTS];
        Partition *partitions[TEST_PARTS];
        Message *messages[TEST_MESSAGES];
        size_t n_messages;
} TestBatch;

static inline Partition *test_partition_new(const char *topic, int32_t number, int32_t source) {
        Partition *partition = calloc(1, sizeof(*partition) + strlen(topic) + 1);
        partition->partition = number;
        partition->source = source;
        memcpy(partition->topic, topic, strlen(topic) + 1);
        return partition;
}

static inline int32_t test_source_new(PgTest *test, const char *topic, int32_t number,
                                      int64_t next) {
        char sql[256];
        snprintf(sql, sizeof(sql), "SELECT ackd.adopt('c', 'g', '%s', %d, %lld, 'i')", topic,
                 (int)number, (long long)next);
        return (int32_t)atoi(pg_test_value(test->sql, sql));
}

static inline void test_batch_init(TestBatch *batch, BatchKind kind) {
        *batch = (TestBatch){0};
        batch->batch.kind = kind;
        batch->batch.parts = batch->parts;
        list_init(&batch->batch.messages);
        list_init(&batch->batch.link);
}

/* A part from @expected on; parts come in the order of their sources. Returns its index. */
static inline size_t test_batch_add_part(TestBatch *batch, Partition *partition, int64_t expected) {
        size_t i = batch->batch.n_parts++;
        batch->partitions[i] = partition;
        batch->parts[i] =
                (BatchPart){.partition = partition, .expected = expected, .next = expected};
        return i;
}

static inline MessageBody *test_body_new(const void *value, size_t size) {
        MessageBody *body = calloc(1, sizeof(*body) + size + 1);
        if (value != NULL) {
                memcpy(body->data, value, size);
        }
        body->value = value != NULL ? body->data : NULL;
        body->value_size = size;
        return body;
}

/* The next message of part @i. */
static inline Message *test_batch_add(TestBatch *batch, size_t i, MessageRecord record,
                                      const void *value, size_t size) {
        BatchPart *part = &batch->parts[i];
        Message *message = calloc(1, sizeof(*message) + 32);
        message->partition = part->partition;
        message->offset = part->next++;
        message->record = record;
        message->fault_handler = HANDLER_COUNT;
        message->produced_us = INT64_C(1700000000000000) + message->offset;
        message->received_wall_us = loop_wall();
        message->handlers[HANDLER_SAVE].state = HANDLER_RUNNING;
        message->handlers[HANDLER_RESTART].state = HANDLER_OFF;
        message->body = test_body_new(value, size);
        snprintf(message->text, 32, "web%lld", (long long)message->offset);
        message->host = message->text;
        list_init(&message->link);
        list_init(&message->host_link);
        list_push_back(&batch->batch.messages, &message->lane_link);
        batch->messages[batch->n_messages++] = message;
        part->rows++;
        batch->batch.rows++;
        return message;
}

static inline Message *test_batch_add_json(TestBatch *batch, size_t i, const char *json) {
        return test_batch_add(batch, i, MESSAGE_ROW, json, strlen(json));
}

static inline void test_message_set_fault(Message *message, const char *reason,
                                          const char *detail) {
        message->fault = calloc(1, sizeof(*message->fault));
        message->fault->reason = reason;
        snprintf(message->fault->detail, sizeof(message->fault->detail), "%s", detail);
}

/* Frees the messages, not the partitions. */
static inline void test_batch_deinit(TestBatch *batch) {
        for (size_t i = 0; i < batch->n_messages; i++) {
                list_unlink(&batch->messages[i]->lane_link);
                free(batch->messages[i]->body);
                free(batch->messages[i]->fault);
                free(batch->messages[i]);
        }
        batch->n_messages = 0;
}
