#pragma once

/*
 * Holds, for the commands: stops that a person, or the fuse, has put on hosts. A hold is in force
 * until it is lifted or its time is over; its row stays and says who, when and why. A claim reads
 * the rows (ledger.sql), so a hold counts for every claim that is asked after its commit; whom it
 * kept waiting hears of the end of it by a notification (pg/holds_watch.h).
 *
 * Patterns are globs on canonical names (host_matches() of core/host.h), in lower case.
 *
 * Everything here blocks: it is for a command, not for a loop. *@errorp is a malloc'd sentence on a
 * positive result, BLOCKING_E_…; -ENOMEM.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "util/error.h"

/* A connection. */
typedef struct HoldsDesk HoldsDesk;

/* A row. Texts are its list's; times are as 2026-11-26T09:00:00Z. */
typedef struct Hold {
        int64_t id;
        const char *pattern, *why, *who;
        const char *since;
        const char *until;                 /* NULL: it does not end by itself */
        const char *lifted_at, *lifted_by; /* NULL: it was not lifted */
        bool fuse;                         /* ackd made it */
        int64_t hosts;                     /* that the ledger knows and it matches */
} Hold;

typedef struct HoldList {
        Hold *items;
        size_t n;
        void *result; /* what their texts lie in */
} HoldList;

void hold_list_deinit(HoldList *list); /* a zeroed one is allowed */

/* What a pattern stands for in the ledger, which knows every host that it was ever asked for. */
typedef struct HoldReach {
        int64_t hosts;   /* that it matches */
        int64_t known;   /* that there are */
        int64_t running; /* of those that it matches, restarts under way: they go on */
} HoldReach;

/* @schema is a checked name, borrowed; @program as blocking_connect() takes it. */
MUST_CHECK int holds_open(HoldsDesk **deskp, const char *program, const char *dsn,
                          const char *password, const char *schema, char **errorp);
void holds_close(HoldsDesk *desk); /* NULL is allowed */

/* Makes one; @for_us in µs, 0: until it is lifted. @made: that one. It is in force when this
 * returns. */
MUST_CHECK int holds_make(HoldsDesk *desk, const char *pattern, const char *who, const char *why,
                          int64_t for_us, HoldList *made, char **errorp);

MUST_CHECK int holds_reach(HoldsDesk *desk, const char *pattern, HoldReach *reach, char **errorp);

/* Those in force, oldest first. */
MUST_CHECK int holds_list(HoldsDesk *desk, HoldList *list, char **errorp);

/* Whose holds are lifted. */
typedef enum HoldsOf {
        HOLDS_OF_EITHER, /* nothing when a person's and the fuse's have the pattern */
        HOLDS_OF_PEOPLE,
        HOLDS_OF_FUSE,
} HoldsOf;

/* Lifts all that are in force, have this pattern and are @of; @lifted: those, perhaps none. */
MUST_CHECK int holds_lift(HoldsDesk *desk, const char *pattern, HoldsOf of, const char *who,
                          HoldList *lifted, char **errorp);

/* The newest one of this pattern that is not in force any more; perhaps none. */
MUST_CHECK int holds_last(HoldsDesk *desk, const char *pattern, HoldList *last, char **errorp);
