#include "app/dead_letter_place.h"

#include <string.h>

#include "core/timestamp.h"
#include "util/duration.h"
#include "util/shell.h"

static const char topic_bytes[] =
        "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-";

/* The @size bytes are digits and a number up to @max. */
static bool parse_number(const char *text, size_t size, int64_t max, int64_t *number) {
        int64_t value = 0;
        for (size_t i = 0; i < size; i++) {
                int digit = text[i] - '0';
                if (digit < 0 || digit > 9 || value > (max - digit) / 10) {
                        return false;
                }
                value = value * 10 + digit;
        }
        *number = value;
        return size > 0;
}

bool dead_letter_place_parse(const char *text, char topic[TOPIC_NAME_MAX], DeadLetterPlace *place) {
        const char *last = strrchr(text, '/');
        const char *middle = last != NULL ? memrchr(text, '/', (size_t)(last - text)) : NULL;
        const char *number = middle != NULL ? middle + 1 : text;
        size_t name = middle != NULL ? (size_t)(middle - text) : 0;
        int64_t first, offset;
        if (last == NULL || !parse_number(last + 1, strlen(last + 1), INT64_MAX, &offset) ||
            !parse_number(number, (size_t)(last - number), INT32_MAX, &first)) {
                return false;
        }
        if (middle != NULL &&
            (name == 0 || name >= TOPIC_NAME_MAX || strspn(text, topic_bytes) != name)) {
                return false;
        }
        memcpy(topic, text, name);
        topic[name] = '\0';
        *place = (DeadLetterPlace){.topic = middle != NULL ? topic : NULL,
                                   .number = (int32_t)first,
                                   .offset = offset};
        return true;
}

/* PostgreSQL's time begins in 4714 BC: what is before that it refuses. */
#define MAX_AGE_US (INT64_C(36500) * 86400 * 1000000)

bool dead_letter_since_parse(const char *text, int64_t *age_us, int64_t *since_us) {
        const char *why = NULL;
        int64_t us = 0;
        if (duration_parse(text, &us, &why) == 0 && us > 0 && us <= MAX_AGE_US) {
                *age_us = us;
                *since_us = 0;
                return true;
        }
        if (timestamp_parse(text, strlen(text), &us) == 0 && us > 0) {
                *since_us = us;
                *age_us = 0;
                return true;
        }
        return false;
}

int dead_letter_command_append(Buffer *out, const char *command, const char *file) {
        int r = buffer_printf(out, "ackd %s", command);
        if (r == 0 && file != NULL) {
                r = buffer_append_string(out, " -c ");
                r = r != 0 ? r : shell_append(out, file);
        }
        return r;
}

/* `produce` takes one JSON object a line; between its tokens a space is as good as a newline. */
int dead_letter_produce_append(Buffer *out, const char *file, const char *topic, int64_t source,
                               int64_t offset) {
        int r = dead_letter_command_append(out, "dead-letter show", file);
        r = r != 0 ? r
                   : buffer_printf(out, " %lld/%lld --value | tr '\\n' ' ' | ", (long long)source,
                                   (long long)offset);
        r = r != 0 ? r : dead_letter_command_append(out, "produce", file);
        r = r != 0 ? r : buffer_append_string(out, " --topic ");
        r = r != 0 ? r : shell_append(out, topic);
        return r != 0 ? r : buffer_append_string(out, " --file -");
}
