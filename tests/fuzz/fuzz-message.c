/*
 * Messages: any bytes are read or refused with a reason that can be shown. What is refused for its
 * grammar is refused by jansson too, and the fields that are found in the text are those of
 * jansson's tree.
 */

#include <assert.h>
#include <jansson.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/message.h"
#include "core/replay.h"
#include "util/utf8.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_fault(const MessageFault *fault) {
        size_t size = strnlen(fault->detail, sizeof(fault->detail));
        assert(fault->reason != NULL && *fault->reason != '\0');
        assert(size > 0 && size < sizeof(fault->detail));
        assert(utf8_is_valid(fault->detail, size));
        for (size_t i = 0; i < size; i++) {
                const uint8_t *p = (const uint8_t *)fault->detail + i;
                assert(p[0] >= ' ' && p[0] != 0x7f);
                assert(p[0] != 0xc2 || p[1] >= 0xa0); /* C1 */
        }
}

static bool is_about_fields(const char *reason) {
        return strcmp(reason, "no_host") == 0 || strncmp(reason, "bad_", 4) == 0;
}

static size_t depth_of(const json_t *json) {
        size_t deepest = 0;
        const char *key;
        json_t *value;
        size_t i;
        json_object_foreach((json_t *)json, key, value) {
                size_t depth = depth_of(value);
                deepest = depth > deepest ? depth : deepest;
        }
        json_array_foreach(json, i, value) {
                size_t depth = depth_of(value);
                deepest = depth > deepest ? depth : deepest;
        }
        return json_is_object(json) || json_is_array(json) ? deepest + 1 : 0;
}

static void check_request(const Request *request) {
        char again[HOST_SIZE];
        const char *why;
        assert(host_canonical(request->host, strlen(request->host), again, &why) == 0);
        assert(strcmp(request->host, again) == 0);
        assert(request->id_size <= MESSAGE_ID_MAX);
        assert(strlen(request->id) == request->id_size);
        assert(utf8_is_valid(request->id, request->id_size));
        assert(request->requested_us >= -1);
}

/* The longest key first, as the look-up does. */
static const json_t *find(const json_t *object, const char *path) {
        for (const char *dot = path + strlen(path); dot != NULL && dot > path;
             dot = memrchr(path, '.', (size_t)(dot - path))) {
                const json_t *value = json_object_getn(object, path, (size_t)(dot - path));
                if (value != NULL && *dot == '\0') {
                        return value;
                }
                value = json_is_object(value) ? find(value, dot + 1) : NULL;
                if (value != NULL) {
                        return value;
                }
        }
        return NULL;
}

static void check_lookup(const json_t *root, const uint8_t *data, size_t size, const char *path) {
        const json_t *value = find(root, path);
        Buffer out = BUFFER_INIT;
        int r = message_lookup(data, size, path, &out);
        bool scalar = json_is_string(value) || json_is_real(value) || json_is_boolean(value);
        assert(r == (scalar ? 0 : MESSAGE_E_POISON));
        const char *text = buffer_string(&out);
        assert(text != NULL);
        if (json_is_string(value)) {
                assert(out.size == json_string_length(value));
                assert(memcmp(text, json_string_value(value), out.size) == 0);
        } else if (json_is_boolean(value)) {
                assert(strcmp(text, json_is_true(value) ? "true" : "false") == 0);
        } else if (json_is_real(value)) {
                char *end;
                assert(strtod(text, &end) == json_real_value(value) && *end == '\0');
        }
        buffer_deinit(&out);
}

static void check_lookups(const json_t *root, const uint8_t *data, size_t size) {
        static const char *const paths[] = {"host", "id", "a.b", "a.b.c", "", ".", "a."};
        const char *key, *inner;
        json_t *value, *below;
        for (size_t i = 0; i < sizeof(paths) / sizeof(paths[0]); i++) {
                check_lookup(root, data, size, paths[i]);
        }
        json_object_foreach((json_t *)root, key, value) {
                check_lookup(root, data, size, key);
                json_object_foreach(value, inner, below) {
                        char path[512];
                        if (strlen(key) + strlen(inner) + 2 <= sizeof(path)) {
                                snprintf(path, sizeof(path), "%s.%s", key, inner);
                                check_lookup(root, data, size, path);
                        }
                }
        }
}

/* The bytes as the headers of a message. */
static void check_replay(const uint8_t *data, size_t size) {
        ReplayPlace place = {.source = -1, .offset = -1};
        ReplayHeader found = replay_header_read((const char *)data, size, &place);
        bool named = memmem(data, size, REPLAY_HEADER_NAME, strlen(REPLAY_HEADER_NAME)) != NULL;
        assert(found == REPLAY_HEADER_NONE || named);
        assert(found != REPLAY_HEADER_FOUND || (place.source >= 0 && place.offset >= 0));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
        static const MessageFormat format = {
                .host = "host",
                .id = "id",
                .requested_at = "requested_at",
        };
        Request request = {0};
        MessageFault fault = {0};
        check_replay(data, size);
        int r = message_decode(&format, data, size, &request, &fault);
        assert(r == 0 || r == MESSAGE_E_POISON);
        if (r == 0) {
                check_request(&request);
        } else {
                check_fault(&fault);
                assert(request.host[0] == '\0');
        }
        bool grammar = r == 0 || is_about_fields(fault.reason);

        json_t *root = json_loadb((const char *)data, size,
                                  JSON_REJECT_DUPLICATES | JSON_DECODE_INT_AS_REAL, NULL);
        /* jansson overlooks a NUL that follows a number or a word. */
        bool good = json_is_object(root) && json_object_size(root) > 0 &&
                    depth_of(root) <= MESSAGE_DEPTH_MAX && memchr(data, '\0', size) == NULL;
        assert(grammar == good);
        if (good) {
                check_lookups(root, data, size);
        } else {
                Buffer out = BUFFER_INIT;
                r = message_lookup(data, size, "a.b", &out);
                assert(r == 0 || r == MESSAGE_E_POISON);
                buffer_deinit(&out);
        }
        json_decref(root);
        return 0;
}
