#pragma once

/* What people type to name rejected messages. */

#include <stdbool.h>
#include <stdint.h>

#include "pg/dead_letters.h"
#include "util/buffer.h"

enum {
        TOPIC_NAME_MAX = 250, /* bytes with the NUL: Kafka's limit */
};

/* "host-restarts/3/17", a message's place in Kafka, which may be several rows when the topic was
 * made again; or "12/17", source and offset, which is one. @topic gets what the place points to.
 * Whether it is one of the two. Pure. */
bool dead_letter_place_parse(const char *text, char topic[TOPIC_NAME_MAX], DeadLetterPlace *place);

/* "2h", so long ago (100 years at most), into *@age_us, or a time of RFC 3339 into *@since_us,
 * since 1970; the other one becomes 0. Whether it is one of the two. Pure. */
bool dead_letter_since_parse(const char *text, int64_t *age_us, int64_t *since_us);

/* Adds "ackd COMMAND", with -c FILE where @file is not NULL, for a shell. -ENOMEM. */
MUST_CHECK int dead_letter_command_append(Buffer *out, const char *command, const char *file);

/* Adds the command that produces a row's bytes as a new message: for one whose topic was made
 * again, which a replay cannot send. -ENOMEM. */
MUST_CHECK int dead_letter_produce_append(Buffer *out, const char *file, const char *topic,
                                          int64_t source, int64_t offset);
