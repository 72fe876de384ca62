/* See convert.h. */

#include "kafka/convert.h"

#include <string.h>

#include "util/json.h"
#include "util/utf8.h"

/* Text where it is text, as it came; else its bytes. */
static void put_bytes(Json *json, const void *data, size_t size) {
        if (memchr(data, '\0', size) == NULL && utf8_is_valid(data, size)) {
                json_put_string(json, data, size);
                return;
        }
        json_begin_object(json);
        json_key(json, "base64");
        json_put_base64(json, data, size);
        json_end_object(json);
}

int convert_headers(const rd_kafka_headers_t *headers, Buffer *buffer) {
        Json json;
        const char *name;
        const void *value;
        size_t size;

        json_begin(&json, buffer);
        json_begin_array(&json);
        for (size_t i = 0; rd_kafka_header_get_all(headers, i, &name, &value, &size) == 0; i++) {
                json_begin_array(&json);
                put_bytes(&json, name, strlen(name));
                if (value == NULL) {
                        json_put_null(&json);
                } else {
                        put_bytes(&json, value, size);
                }
                json_end_array(&json);
        }
        json_end_array(&json);
        return json_end(&json);
}

int convert_record(Record *record, const rd_kafka_message_t *message, Buffer *headers) {
        rd_kafka_timestamp_type_t type;
        int64_t timestamp_ms = rd_kafka_message_timestamp(message, &type);
        rd_kafka_headers_t *all;

        *record = (Record){
                .offset = message->offset,
                .timestamp_us = -1,
                .key = message->key,
                .key_size = message->key_len,
                .value = message->payload,
                .value_size = message->len,
        };
        if (type != RD_KAFKA_TIMESTAMP_NOT_AVAILABLE && timestamp_ms >= 0 &&
            timestamp_ms <= INT64_MAX / 1000) {
                record->timestamp_us = timestamp_ms * 1000;
        }
        if (rd_kafka_message_headers(message, &all) == 0) {
                buffer_clear(headers);
                int r = convert_headers(all, headers);
                if (r < 0) {
                        return r;
                }
                record->headers = (const char *)headers->data;
                record->headers_size = headers->size;
        }
        return 0;
}
