#pragma once

/*
 * What PostgreSQL knows of one host or one message: a JSON document, made by the database.
 *
 * {"sources":[{source, group, topic, partition, next_offset, retired_at}] | null,
 *  "ledger_searched":bool, "messages_searched":bool, "now", "read_only":bool,
 *  "events":[{what, at, topic, partition, offset, source, host, …}], "rows":{restarts, rejected},
 *  "hosts":[{host, last_start_at, done_start_at, covers_until, last_is_done, cooldown_until,
 * open}], "holds":[{pattern, who, why, since, until, fuse}]}
 *
 * sources: the partitions that a message can be of, null for a host. read_only: the server takes no
 * writes, and may be behind. holds: those in force. Times are as 2026-11-26T09:00:00Z.
 *
 * An event's `what` is received, restart, rejected, dead_lettered, replayed, dropped, held or
 * lifted; they come in the order of time. Of more than STORY_ROWS_MAX rows of a table the newest
 * are told; events_total counts all.
 *
 * `messages` has no index but that on the time of the receipt: rows are found near the receipt that
 * the ledger or `rejected` tells. For what neither of them knows it is read, for at most
 * STORY_SCAN_MS: the last day of it for a host, all of it for a message. The ledger has no index on
 * the host either, but for restarts that began, and is read for as long. messages_searched and
 * ledger_searched are false when that was not long enough.
 *
 * Everything here blocks: it is for a command.
 */

#include <stdbool.h>
#include <stdint.h>

#include "util/buffer.h"
#include "util/error.h"

enum {
        STORY_ROWS_MAX = 50,
        STORY_LIMIT_MS = 30 * 1000, /* of a statement */
        STORY_SCAN_MS = 5 * 1000,
};

typedef struct StoryOf {
        const char *host;  /* canonical; NULL: */
        const char *topic; /* the message, of this group */
        const char *group;
        int32_t partition;
        int64_t offset;
        int64_t cooldown_us; /* of the configuration */
} StoryOf;

/* Adds the document to @out. A server that takes no writes will do when there is no other. 0;
 * BLOCKING_E_… with a malloc'd sentence in *@errorp; -ENOMEM. */
MUST_CHECK int story_read(const StoryOf *of, const char *dsn, const char *password,
                          const char *schema, Buffer *out, char **errorp);
