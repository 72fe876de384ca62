/* See parts.h. */

#include "kafka/parts.h"

#include <stdlib.h>
#include <string.h>

void parts_deinit(Parts *parts) {
        parts_remove(parts, true);
        free(parts->all);
        *parts = (Parts){0};
}

static int compare(const Part *part, const char *topic, int32_t partition) {
        int r = strcmp(part->topic, topic);
        if (r != 0) {
                return r;
        }
        return (part->partition.partition > partition) - (part->partition.partition < partition);
}

/* The place of the first that is not below. */
static size_t place(const Parts *parts, const char *topic, int32_t partition) {
        size_t low = 0, high = parts->n;
        while (low < high) {
                size_t middle = low + (high - low) / 2;
                if (compare(parts->all[middle], topic, partition) < 0) {
                        low = middle + 1;
                } else {
                        high = middle;
                }
        }
        return low;
}

int parts_add(Parts *parts, const char *topic, int32_t partition, Part **partp) {
        size_t at = place(parts, topic, partition);
        if (at < parts->n && compare(parts->all[at], topic, partition) == 0) {
                return -EEXIST;
        }
        if (parts->n == parts->capacity) {
                size_t capacity = parts->capacity > 0 ? 2 * parts->capacity : 16;
                Part **all = reallocarray(parts->all, capacity, sizeof(*all));
                if (all == NULL) {
                        return error_origin(-ENOMEM);
                }
                parts->all = all;
                parts->capacity = capacity;
        }
        size_t size = strlen(topic) + 1;
        Part *part = malloc(sizeof(*part) + size);
        if (part == NULL) {
                return error_origin(-ENOMEM);
        }
        *part = (Part){.id = ++parts->newest_id, .next = 0, .high = -1, .committing = -1};
        memcpy(part->topic, topic, size);
        part->partition.topic = part->topic;
        part->partition.partition = partition;
        memmove(&parts->all[at + 1], &parts->all[at], (parts->n - at) * sizeof(Part *));
        parts->all[at] = part;
        parts->n++;
        *partp = part;
        return 0;
}

Part *parts_find(const Parts *parts, const char *topic, int32_t partition) {
        size_t at = place(parts, topic, partition);
        if (at < parts->n && compare(parts->all[at], topic, partition) == 0) {
                return parts->all[at];
        }
        return NULL;
}

Part *parts_find_id(const Parts *parts, const char *topic, int32_t partition, uint64_t id) {
        Part *part = parts_find(parts, topic, partition);
        return part != NULL && part->id == id ? part : NULL;
}

Part *parts_find_message(Parts *parts, const rd_kafka_topic_t *rkt, int32_t partition) {
        Part *part = parts->last;
        if (part != NULL && part->rkt == rkt && part->partition.partition == partition) {
                return part;
        }
        part = parts_find(parts, rd_kafka_topic_name(rkt), partition);
        if (part != NULL) {
                part->rkt = rkt;
                parts->last = part;
        }
        return part;
}

void parts_remove(Parts *parts, bool all) {
        size_t n = 0;
        for (size_t i = 0; i < parts->n; i++) {
                if (all || parts->all[i]->revoked) {
                        free(parts->all[i]);
                } else {
                        parts->all[n++] = parts->all[i];
                }
        }
        parts->n = n;
        parts->last = NULL;
}
