#include "ledger-table.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

/* --- memory ------------------------------------------------------------------------------- */

static void *need(void *memory) {
        if (memory == NULL) {
                abort();
        }
        return memory;
}

void *table_grow(void *array, size_t n, size_t *capacity, size_t size) {
        if (n < *capacity) {
                return array;
        }
        *capacity = *capacity > 0 ? *capacity * 2 : 16;
        return need(realloc(array, *capacity * size));
}

static void *copy_of(const void *from, size_t size) {
        void *to = need(malloc(size + 1));
        return size > 0 ? memcpy(to, from, size) : to;
}

static Moments moments_copy(const Moments *from) {
        Moments to = *from;
        to.items = copy_of(from->items, from->capacity * sizeof(*from->items));
        return to;
}

static Map map_copy(const Map *from) {
        Map to = *from;
        to.hashes = copy_of(from->hashes, from->capacity * sizeof(*from->hashes));
        to.values = copy_of(from->values, from->capacity * sizeof(*from->values));
        return to;
}

static void map_deinit(Map *map) {
        free(map->hashes);
        free(map->values);
}

SimLedger *sim_ledger_new(void) {
        return need(calloc(1, sizeof(SimLedger)));
}

void sim_ledger_free(SimLedger *ledger) {
        if (ledger == NULL) {
                return;
        }
        for (size_t i = 0; i < ledger->n_groups; i++) {
                free(ledger->groups[i].ends.items);
        }
        for (size_t i = 0; i < ledger->n_hosts; i++) {
                free(ledger->hosts[i].starts.items);
        }
        map_deinit(&ledger->text_ids);
        map_deinit(&ledger->newest);
        map_deinit(&ledger->done_requests);
        free(ledger->rows);
        free(ledger->hosts);
        free(ledger->groups);
        free(ledger->holds);
        free(ledger->texts);
        free(ledger->letters);
        free(ledger->held.items);
        free(ledger->starts.items);
        free(ledger);
}

#define COPY_ARRAY(to, from, field, capacity)                                                      \
        ((to)->field = copy_of((from)->field, (from)->capacity * sizeof(*(from)->field)))

SimLedger *sim_ledger_copy(const SimLedger *ledger) {
        SimLedger *to = copy_of(ledger, sizeof(*ledger));
        COPY_ARRAY(to, ledger, rows, rows_capacity);
        COPY_ARRAY(to, ledger, hosts, hosts_capacity);
        COPY_ARRAY(to, ledger, groups, groups_capacity);
        COPY_ARRAY(to, ledger, holds, holds_capacity);
        COPY_ARRAY(to, ledger, texts, texts_capacity);
        COPY_ARRAY(to, ledger, letters, letters_capacity);
        for (size_t i = 0; i < ledger->n_groups; i++) {
                to->groups[i].ends = moments_copy(&ledger->groups[i].ends);
        }
        for (size_t i = 0; i < ledger->n_hosts; i++) {
                to->hosts[i].starts = moments_copy(&ledger->hosts[i].starts);
        }
        to->text_ids = map_copy(&ledger->text_ids);
        to->newest = map_copy(&ledger->newest);
        to->done_requests = map_copy(&ledger->done_requests);
        to->held = moments_copy(&ledger->held);
        to->starts = moments_copy(&ledger->starts);
        return to;
}

/* --- maps --------------------------------------------------------------------------------- */

/* Of SplitMix64. */
static uint64_t mix(uint64_t z) {
        z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9U;
        z = (z ^ (z >> 27)) * 0x94d049bb133111ebU;
        return z ^ (z >> 31);
}

static uint64_t hash_pair(uint64_t a, uint64_t b) {
        return mix(mix(a + 0x9e3779b97f4a7c15U) + b);
}

static uint64_t hash_text(const char *text) {
        uint64_t hash = 0xcbf29ce484222325U; /* FNV-1a */
        for (; *text != '\0'; text++) {
                hash = (hash ^ (unsigned char)*text) * 0x100000001b3U;
        }
        return mix(hash);
}

typedef bool (*MapIs)(const SimLedger *table, uint32_t value, const void *key);

/* The place of the key, or the free one where it belongs; the map has one. */
static size_t map_place(const Map *map, uint64_t hash, MapIs is, const SimLedger *table,
                        const void *key) {
        size_t at = hash & (map->capacity - 1);
        while (map->values[at] != 0 &&
               !(map->hashes[at] == hash && is(table, map->values[at], key))) {
                at = (at + 1) & (map->capacity - 1);
        }
        return at;
}

static uint32_t map_find(const Map *map, uint64_t hash, MapIs is, const SimLedger *table,
                         const void *key) {
        return map->capacity > 0 ? map->values[map_place(map, hash, is, table, key)] : 0;
}

static void map_widen(Map *map) {
        Map wide = {.n = map->n, .capacity = map->capacity > 0 ? map->capacity * 2 : 64};
        wide.hashes = need(calloc(wide.capacity, sizeof(*wide.hashes)));
        wide.values = need(calloc(wide.capacity, sizeof(*wide.values)));
        for (size_t i = 0; i < map->capacity; i++) {
                size_t at = map->hashes[i] & (wide.capacity - 1);
                while (map->values[i] != 0 && wide.values[at] != 0) {
                        at = (at + 1) & (wide.capacity - 1);
                }
                if (map->values[i] != 0) {
                        wide.hashes[at] = map->hashes[i];
                        wide.values[at] = map->values[i];
                }
        }
        map_deinit(map);
        *map = wide;
}

/* Returns what stood there before, or 0. */
static uint32_t map_set(Map *map, uint64_t hash, MapIs is, const SimLedger *table, const void *key,
                        uint32_t value) {
        if (map->n * 2 >= map->capacity) {
                map_widen(map);
        }
        size_t at = map_place(map, hash, is, table, key);
        uint32_t before = map->values[at];
        map->n += before == 0;
        map->hashes[at] = hash;
        map->values[at] = value;
        return before;
}

/* --- texts, hosts, groups ----------------------------------------------------------------- */

const char *table_text_of(const SimLedger *table, TextId id) {
        return id == 0 ? NULL : table->letters + table->texts[id - 1].at;
}

static bool is_text(const SimLedger *table, uint32_t value, const void *key) {
        return strcmp(table_text_of(table, value), key) == 0;
}

TextId table_text(SimLedger *table, const char *text) {
        if (text == NULL) {
                return 0;
        }
        uint64_t hash = hash_text(text);
        TextId id = map_find(&table->text_ids, hash, is_text, table, text);
        if (id != 0) {
                return id;
        }
        size_t size = strlen(text) + 1, at = table->n_letters;
        while (table->letters_capacity < at + size) {
                table->letters = table_grow(table->letters, table->letters_capacity,
                                            &table->letters_capacity, 1);
        }
        memcpy(table->letters + at, text, size);
        table->n_letters += size;
        table->texts = table_grow(table->texts, table->n_texts, &table->texts_capacity,
                                  sizeof(*table->texts));
        table->texts[table->n_texts++] = (LedgerText){.at = at};
        id = (TextId)table->n_texts;
        (void)map_set(&table->text_ids, hash, is_text, table, text, id);
        return id;
}

HostId table_host(SimLedger *table, const char *name) {
        TextId text = table_text(table, name);
        if (table->texts[text - 1].host == 0) {
                table->hosts = table_grow(table->hosts, table->n_hosts, &table->hosts_capacity,
                                          sizeof(*table->hosts));
                table->hosts[table->n_hosts++] = (LedgerHost){.name = text,
                                                              .held = SIM_LEDGER_NEVER,
                                                              .last_start = SIM_LEDGER_NEVER,
                                                              .done_start = SIM_LEDGER_NEVER,
                                                              .covers = SIM_LEDGER_NEVER};
                table->texts[text - 1].host = (HostId)table->n_hosts;
        }
        return table->texts[text - 1].host;
}

HostId table_find_host(const SimLedger *table, const char *name) {
        TextId text = map_find(&table->text_ids, hash_text(name), is_text, table, name);
        return text != 0 ? table->texts[text - 1].host : 0;
}

GroupId table_group(SimLedger *table, const char *name) {
        TextId text = table_text(table, name);
        if (text == 0) {
                return 0;
        }
        if (table->texts[text - 1].group == 0) {
                table->groups = table_grow(table->groups, table->n_groups, &table->groups_capacity,
                                           sizeof(*table->groups));
                table->groups[table->n_groups++] = (LedgerGroupEnds){.name = text};
                table->texts[text - 1].group = (GroupId)table->n_groups;
        }
        return table->texts[text - 1].group;
}

/* --- moments ------------------------------------------------------------------------------ */

/* How many come before @moment. */
static size_t moments_place(const Moments *moments, Moment moment) {
        size_t from = 0, to = moments->n;
        while (from < to) {
                size_t middle = (from + to) / 2;
                const Moment *item = &moments->items[middle];
                if (item->at < moment.at || (item->at == moment.at && item->row < moment.row)) {
                        from = middle + 1;
                } else {
                        to = middle;
                }
        }
        return from;
}

size_t moments_after(const Moments *moments, int64_t at) {
        return moments->n - moments_place(moments, (Moment){at, UINT32_MAX});
}

static void moments_add(Moments *moments, Moment moment) {
        moments->items =
                table_grow(moments->items, moments->n, &moments->capacity, sizeof(*moments->items));
        size_t at = moments_place(moments, moment);
        memmove(&moments->items[at + 1], &moments->items[at],
                (moments->n - at) * sizeof(*moments->items));
        moments->items[at] = moment;
        moments->n++;
}

static void moments_remove(Moments *moments, Moment moment) {
        size_t at = moments_place(moments, moment);
        assert(at < moments->n && moments->items[at].row == moment.row);
        moments->n--;
        memmove(&moments->items[at], &moments->items[at + 1],
                (moments->n - at) * sizeof(*moments->items));
}

/* --- rows --------------------------------------------------------------------------------- */

typedef struct MessageKey {
        int32_t source;
        int64_t offset;
} MessageKey;

static bool is_message(const SimLedger *table, uint32_t value, const void *key) {
        const LedgerRow *row = table_row(table, value);
        const MessageKey *message = key;
        return row->source == message->source && row->offset == message->offset;
}

static uint64_t hash_message(const MessageKey *message) {
        return hash_pair((uint64_t)message->source, (uint64_t)message->offset);
}

typedef struct RequestKey {
        HostId host;
        TextId request_id;
} RequestKey;

static bool is_request(const SimLedger *table, uint32_t value, const void *key) {
        const LedgerRow *row = table_row(table, value);
        const RequestKey *request = key;
        return row->host == request->host && row->request_id == request->request_id;
}

static uint64_t hash_request(const RequestKey *request) {
        return hash_pair(request->host, request->request_id);
}

const LedgerRow *table_row(const SimLedger *table, RowId id) {
        return &table->rows[id - 1];
}

typedef void (*MomentsDo)(Moments *moments, Moment moment);

/* Every list of moments that the row is in. */
static void list_row(SimLedger *table, RowId id, MomentsDo act) {
        const LedgerRow *row = table_row(table, id);
        if (row->shared_with != 0) {
                return;
        }
        if (row->state == LEDGER_STATE_INTENDED || row->state == LEDGER_STATE_ACTED ||
            row->state == LEDGER_STATE_UNKNOWN) {
                act(&table->held, (Moment){row->held, id});
        }
        if (row->started != SIM_LEDGER_NEVER) {
                act(&table->starts, (Moment){row->started, id});
                act(&table->hosts[row->host - 1].starts, (Moment){row->started, id});
        }
        if (row->started != SIM_LEDGER_NEVER && row->group != 0) {
                int64_t end = row->ended != SIM_LEDGER_NEVER ? row->ended : row->held;
                act(&table->groups[row->group - 1].ends, (Moment){end, id});
        }
}

static void note_done(SimLedger *table, RowId id) {
        const LedgerRow *row = table_row(table, id);
        if (row->state == LEDGER_STATE_DONE && row->request_id != 0) {
                RequestKey key = {row->host, row->request_id};
                (void)map_set(&table->done_requests, hash_request(&key), is_request, table, &key,
                              id);
        }
}

RowId table_add_row(SimLedger *table, const LedgerRow *row) {
        table->rows =
                table_grow(table->rows, table->n_rows, &table->rows_capacity, sizeof(*table->rows));
        LedgerRow *added = &table->rows[table->n_rows++];
        RowId id = (RowId)table->n_rows;
        MessageKey key = {row->source, row->offset};
        *added = *row;
        added->first_sharer = added->next_sharer = 0;
        added->older_of_message =
                map_set(&table->newest, hash_message(&key), is_message, table, &key, id);
        if (row->shared_with != 0) {
                LedgerRow *main = &table->rows[row->shared_with - 1];
                added->next_sharer = main->first_sharer;
                main->first_sharer = id;
        }
        list_row(table, id, moments_add);
        note_done(table, id);
        return id;
}

void table_put_row(SimLedger *table, RowId id, const LedgerRow *row) {
        list_row(table, id, moments_remove);
        table->rows[id - 1] = *row;
        list_row(table, id, moments_add);
        note_done(table, id);
}

void table_add_hold(SimLedger *table, const LedgerHold *hold) {
        table->holds = table_grow(table->holds, table->n_holds, &table->holds_capacity,
                                  sizeof(*table->holds));
        table->holds[table->n_holds++] = *hold;
}

RowId table_newest(const SimLedger *table, int32_t source, int64_t offset) {
        MessageKey key = {source, offset};
        return map_find(&table->newest, hash_message(&key), is_message, table, &key);
}

bool table_is_done(const SimLedger *table, HostId host, TextId request_id) {
        RequestKey key = {host, request_id};
        return map_find(&table->done_requests, hash_request(&key), is_request, table, &key) != 0;
}

/* --- locks -------------------------------------------------------------------------------- */

void table_sort_by_name(const char *const *names, size_t n, size_t *order) {
        for (size_t i = 0; i < n; i++) {
                size_t at = i;
                for (; at > 0 && strcmp(names[order[at - 1]], names[i]) > 0; at--) {
                        order[at] = order[at - 1];
                }
                order[at] = i;
        }
}
