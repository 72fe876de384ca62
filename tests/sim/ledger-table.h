#pragma once

/*
 * What a simulated ledger (ledger.h) holds, and what finds it: rows by message, by host and by
 * moment. A text is kept once and is a number; a row is changed by putting another in its place,
 * which keeps every list right. Only ledger.c includes this.
 */

#include "ledger.h"

/* An index + 1 of texts, rows, hosts or groups; 0: none. */
typedef uint32_t TextId;
typedef uint32_t RowId;
typedef uint32_t HostId;
typedef uint32_t GroupId;

typedef struct LedgerRow {
        int32_t source, attempt, instance, exit_status;
        int64_t offset;
        HostId host;
        GroupId group;
        LedgerState state;
        TextId request_id, reason, before, output;
        RowId shared_with;
        int64_t requested, received, intended, held, started, acted, ended;
        /* Links, the table's own. */
        RowId older_of_message;
        RowId first_sharer, next_sharer;
} LedgerRow;

typedef struct LedgerHold {
        TextId pattern;
        bool fuse;
        int64_t since, until, lifted;
} LedgerHold;

typedef struct Moment {
        int64_t at;
        RowId row;
} Moment;

/* Rising by moment, then by row. */
typedef struct Moments {
        Moment *items;
        size_t n, capacity;
} Moments;

typedef struct LedgerHost {
        TextId name;
        RowId open, last, done;
        int64_t held, last_start, done_start, covers;
        Moments starts; /* of its restarts */
} LedgerHost;

typedef struct LedgerText {
        size_t at; /* in letters */
        HostId host;
        GroupId group;
} LedgerText;

typedef struct LedgerGroupEnds {
        TextId name;
        Moments ends; /* of its restarts: when each ended, or its hold does */
} LedgerGroupEnds;

/* Open addressing; 0 is a free place. */
typedef struct Map {
        uint64_t *hashes;
        uint32_t *values;
        size_t n, capacity;
} Map;

struct SimLedger {
        LedgerRow *rows;
        size_t n_rows, rows_capacity;
        LedgerHost *hosts;
        size_t n_hosts, hosts_capacity;
        LedgerGroupEnds *groups;
        size_t n_groups, groups_capacity;
        LedgerHold *holds;
        size_t n_holds, holds_capacity;
        LedgerText *texts;
        size_t n_texts, texts_capacity;
        char *letters;
        size_t n_letters, letters_capacity;
        Map text_ids;      /* by the text */
        Map newest;        /* rows by message: the one that was added last */
        Map done_requests; /* rows that are done, by host and request id: one each */
        Moments held;      /* rows that are intended, acted or unknown: until when */
        Moments starts;    /* of all restarts: when each started */
};

static inline int64_t earlier(int64_t a, int64_t b) {
        return a < b ? a : b;
}

static inline int64_t later(int64_t a, int64_t b) {
        return a > b ? a : b;
}

/* least(): a null is passed over. */
static inline int64_t least(int64_t a, int64_t b) {
        return a == SIM_LEDGER_NEVER ? b : b == SIM_LEDGER_NEVER ? a : earlier(a, b);
}

/* A time that comes from outside; literal_append_time() makes the same of it. */
static inline int64_t time_of(int64_t us) {
        return us < 0 ? SIM_LEDGER_NEVER : us;
}

TextId table_text(SimLedger *table, const char *text); /* NULL: 0 */
const char *table_text_of(const SimLedger *table, TextId id);
HostId table_host(SimLedger *table, const char *name);            /* made when it is missing */
GroupId table_group(SimLedger *table, const char *name);          /* so too; NULL: 0 */
HostId table_find_host(const SimLedger *table, const char *name); /* 0: it has no row */

/* Adds a row, its links empty; returns its id. */
RowId table_add_row(SimLedger *table, const LedgerRow *row);
/* Borrowed until the next row is added; changed only by table_put_row(). */
const LedgerRow *table_row(const SimLedger *table, RowId id);
/* @row: a changed copy of what table_row() gave; message, host, group, request id and shared_with
 * are the same. */
void table_put_row(SimLedger *table, RowId id, const LedgerRow *row);
void table_add_hold(SimLedger *table, const LedgerHold *hold);

RowId table_newest(const SimLedger *table, int32_t source, int64_t offset);
bool table_is_done(const SimLedger *table, HostId host, TextId request_id);
/* How many of @moments are after @at: the last ones. */
size_t moments_after(const Moments *moments, int64_t at);

/* Grows an array so that one more fits. */
void *table_grow(void *array, size_t n, size_t *capacity, size_t size);

/* The order of locks: by name as COLLATE "C" has it, those of one name as they came. */
void table_sort_by_name(const char *const *names, size_t n, size_t *order);
