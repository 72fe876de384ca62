#pragma once

/*
 * Dead letters for the commands: rows of `rejected`, chosen by a filter, read in pages, and marked.
 * A row is open until it is replayed or dropped; its marks say who did that, when and why.
 *
 * A selection is fixed when it is made: its keys, oldest first, lie in a cursor of the server's
 * that outlives its transaction, so what is rejected meanwhile is not in it (a replay that is
 * rejected at once would never end), nothing is kept from being vacuumed, and memory is bounded
 * here: a page has so many rows and so many bytes.
 *
 * Whoever marks holds dead_letters_lock(), an advisory lock of the session, by group: two operators
 * at once would produce the same rows. It goes with the connection, so nobody waits for a lease of
 * somebody dead, and no row is locked while Kafka is waited for. What a connection that broke has
 * produced and not marked is produced again by the next one, and its daemon takes the row only
 * once.
 *
 * Everything here blocks, but no statement for longer than DEAD_LETTERS_LIMIT_MS: it is for a
 * command. *@errorp is a malloc'd sentence on a positive result, BLOCKING_E_… of pg/blocking.h;
 * -ENOMEM.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "util/error.h"

enum {
        DEAD_LETTERS_LIMIT_MS = 60 * 1000,
        DEAD_LETTERS_E_BUSY = 10, /* somebody else has the lock; *@errorp says who */
};

/* What `handler` is called where the message itself is at fault. */
#define DEAD_LETTERS_MESSAGE "message"
/* The reason of a restart of which nobody knows how it ended. */
#define DEAD_LETTERS_UNKNOWN "unknown"

/* A connection, and its selection. */
typedef struct DeadLetterDesk DeadLetterDesk;

/* The row of a message. */
typedef struct DeadLetterKey {
        int32_t source;
        int64_t offset;
} DeadLetterKey;

/* A row as people name it. */
typedef struct DeadLetterPlace {
        const char *topic; /* NULL: `number` is a source */
        int32_t number;    /* the partition */
        int64_t offset;
} DeadLetterPlace;

/* Texts of which one has to fit; n 0: any does. Borrowed. */
typedef struct DeadLetterWords {
        const char **items;
        size_t n;
} DeadLetterWords;

typedef enum DeadLetterWhich {
        DEAD_LETTERS_OPEN,  /* neither replayed nor dropped */
        DEAD_LETTERS_AGAIN, /* those, and what was replayed and no daemon has taken */
        DEAD_LETTERS_ALL,
} DeadLetterWhich;

/* All have to fit. */
typedef struct DeadLetterFilter {
        DeadLetterWords topics;
        DeadLetterWords hosts; /* globs in lower case */
        DeadLetterWords reasons;
        DeadLetterWords handlers; /* or DEAD_LETTERS_MESSAGE */
        int64_t age_us;           /* rejected since so long ago; 0: whenever */
        int64_t since_us;         /* rejected since, since 1970; 0: whenever */
        const DeadLetterPlace *places;
        size_t n_places; /* 0: any */
        DeadLetterWhich which;
        bool without_unknown; /* not those with the reason DEAD_LETTERS_UNKNOWN */
} DeadLetterFilter;

/* Texts are its page's, NULL where the column is null; times are as 2026-11-26T09:00:00Z. */
typedef struct DeadLetter {
        DeadLetterKey key;
        const char *cluster_id, *group_id, *topic;
        int32_t partition;
        bool retired; /* its topic was made again: the name is another topic now */
        const char *host, *handler, *reason, *detail, *handlers_done; /* "save,restart-host" */
        int32_t attempts;
        const char *produced_at, *received_at, *rejected_at;
        int64_t value_size; /* of what is kept; -1: nothing is */
        const char *outbox, *outbox_error, *dead_lettered_at;
        const char *replayed_at, *replayed_by, *replayed_why;
        const char *taken; /* the place of the message that stands for it now */
        const char *dropped_at, *dropped_by, *dropped_why;
        /* Only of a page with bytes: */
        const uint8_t *message_key, *value;
        size_t message_key_size;
        const char *headers; /* JSON, as in core/message.h */
        size_t headers_size;
} DeadLetter;

typedef struct DeadLetterPage {
        DeadLetter *items;
        size_t n;
        void *result; /* what their texts lie in */
} DeadLetterPage;

void dead_letter_page_deinit(DeadLetterPage *page); /* a zeroed one is allowed */

/* A word and how many rows have it. */
typedef struct DeadLetterCount {
        const char *word;
        int64_t n;
} DeadLetterCount;

typedef struct DeadLetterCounts {
        DeadLetterCount *items;
        size_t n;
        int64_t total;
        void *result;
} DeadLetterCounts;

void dead_letter_counts_deinit(DeadLetterCounts *counts); /* a zeroed one is allowed */

/* @schema is a checked name; @group: whose rows; both copied. @program as blocking_connect(). */
MUST_CHECK int dead_letters_open(DeadLetterDesk **deskp, const char *program, const char *dsn,
                                 const char *password, const char *schema, const char *group,
                                 char **errorp);
void dead_letters_close(DeadLetterDesk *desk); /* NULL is allowed */

/* Also asks whether we may mark. @who is shown to whoever comes second. DEAD_LETTERS_E_BUSY. */
MUST_CHECK int dead_letters_lock(DeadLetterDesk *desk, const char *who, char **errorp);

/* Makes a selection in place of the one before; *@np: how many rows. */
MUST_CHECK int dead_letters_select(DeadLetterDesk *desk, const DeadLetterFilter *filter,
                                   uint64_t *np, char **errorp);

/* The next rows of it, at most @rows and @bytes of messages (but one row at least); none: that was
 * the end. @with_bytes: key, value and headers too. */
MUST_CHECK int dead_letters_next(DeadLetterDesk *desk, size_t rows, size_t bytes, bool with_bytes,
                                 DeadLetterPage *page, char **errorp);

/* Of what the filter fits: how many by reason, the most first. */
MUST_CHECK int dead_letters_reasons(DeadLetterDesk *desk, const DeadLetterFilter *filter,
                                    DeadLetterCounts *counts, char **errorp);
/* The topics of these rows. */
MUST_CHECK int dead_letters_topics(DeadLetterDesk *desk, const DeadLetterFilter *filter,
                                   DeadLetterCounts *counts, char **errorp);
/* Open rows of other groups in this database, by group. */
MUST_CHECK int dead_letters_others(DeadLetterDesk *desk, DeadLetterCounts *counts, char **errorp);

/* Of the filter's places, those that are no row of this group: *@missing has room for all. */
MUST_CHECK int dead_letters_missing(DeadLetterDesk *desk, const DeadLetterFilter *filter,
                                    bool *missing, char **errorp);

/* They were produced and delivered. @why NULL: nothing was said. */
MUST_CHECK int dead_letters_mark(DeadLetterDesk *desk, const DeadLetterKey *keys, size_t n,
                                 const char *who, const char *why, char **errorp);
/* Those that are open are dropped; *@np: how many. */
MUST_CHECK int dead_letters_drop(DeadLetterDesk *desk, const DeadLetterKey *keys, size_t n,
                                 const char *who, const char *why, uint64_t *np, char **errorp);
/* They are open again. Who had dropped them, and why, stays. */
MUST_CHECK int dead_letters_undrop(DeadLetterDesk *desk, const DeadLetterKey *keys, size_t n,
                                   char **errorp);
