#include "core/replay.h"

#include <stdbool.h>
#include <string.h>

/* How a header begins in Record.headers. In JSON, where a quote inside a text is escaped, these
 * bytes can be nothing else. */
static const char header_start[] = "[\"" REPLAY_HEADER_NAME "\",";

static bool take(const char **at, const char *end, char c) {
        if (*at == end || **at != c) {
                return false;
        }
        (*at)++;
        return true;
}

static bool take_number(const char **at, const char *end, int64_t max, int64_t *number) {
        const char *from = *at;
        int64_t value = 0;
        for (; *at < end && **at >= '0' && **at <= '9'; (*at)++) {
                int digit = **at - '0';
                if (value > (max - digit) / 10) {
                        return false;
                }
                value = value * 10 + digit;
        }
        *number = value;
        return *at > from;
}

/* The value of the header, from behind the comma on. */
static bool place_read(const char *at, const char *end, ReplayPlace *place) {
        int64_t source, offset;
        if (!take(&at, end, '"') || !take_number(&at, end, INT32_MAX, &source) ||
            !take(&at, end, '/') || !take_number(&at, end, INT64_MAX, &offset) ||
            !take(&at, end, '"') || !take(&at, end, ']')) {
                return false;
        }
        *place = (ReplayPlace){.source = (int32_t)source, .offset = offset};
        return true;
}

ReplayHeader replay_header_read(const char *headers, size_t size, ReplayPlace *place) {
        const size_t start = sizeof(header_start) - 1;
        ReplayHeader found = REPLAY_HEADER_NONE;
        if (headers == NULL) {
                return found;
        }
        const char *end = headers + size;
        const char *at = memmem(headers, size, header_start, start);
        while (at != NULL) {
                at += start;
                found = place_read(at, end, place) ? REPLAY_HEADER_FOUND : REPLAY_HEADER_MALFORMED;
                at = memmem(at, (size_t)(end - at), header_start, start);
        }
        return found;
}

const char *replay_verdict_name(ReplayVerdict verdict) {
        switch (verdict) {
        case REPLAY_OURS:
                return "ours";
        case REPLAY_TAKEN:
                return "taken";
        case REPLAY_DROPPED:
                return "dropped";
        case REPLAY_LATER:
                return "later";
        case REPLAY_UNKNOWN:
                return "unknown";
        case REPLAY_STRAY:
                return "stray";
        case REPLAY_VERDICTS:
                break;
        }
        return "?";
}
