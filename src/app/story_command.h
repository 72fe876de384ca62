#pragma once

/* `ackd status HOST` and `ackd status TOPIC/PARTITION/OFFSET`. */

#include <stdbool.h>

#include "config/config.h"
#include "core/host.h"
#include "pg/story.h"

/* What was asked for, owned. */
typedef struct StoryOperand {
        char host[HOST_SIZE]; /* canonical; "": a message */
        char topic[256];
        int32_t partition;
        int64_t offset;
} StoryOperand;

/* Whether it names a host or a message; false: *@whyp is a static sentence. Pure. */
bool story_operand_parse(const char *text, StoryOperand *operand, const char **whyp);

/* Tells it, from PostgreSQL and the daemon at @socket. The exit status. */
int story_run(const StoryOperand *operand, const Config *config, const char *socket, bool json);
