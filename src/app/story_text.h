#pragma once

/*
 * The story of one host or one message for people. The document is that of pg/story.h with
 *
 *  "of"             {"host"} or {"topic","partition","offset"}: what was asked for
 *  "group"          the consumer group of the configuration
 *  "config_file"    that of the configuration; null: the usual one
 *  "restarts"       whether restart-host is configured
 *  "postgres_error" why nothing of pg/story.h is there; null: it is
 *  "daemon"         {"error", "instance", "messages", "complete"}: what the daemon has in hand of
 * it, as in its status document; error: why it was not asked; complete false: it has more messages
 * in hand than it told "next"           {"text", "command"}: made by story_next()
 */

#include <jansson.h>
#include <stdbool.h>

#include "util/buffer.h"

/* Sets "next": one sentence, what will happen or what a person can do, and the command for that
 * (null: none). -ENOMEM. */
MUST_CHECK int story_next(json_t *document);

/* As status_text(). */
MUST_CHECK int story_text(Buffer *out, const json_t *document, int columns, bool colour);

/* "host-restarts/0/17", from topic, partition and offset of @object; adds to @out. -ENOMEM. */
MUST_CHECK int story_place(Buffer *out, const json_t *object);
