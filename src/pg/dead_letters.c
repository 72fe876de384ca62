#include "pg/dead_letters.h"

#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "pg/blocking.h"
#include "pg/schema.h"
#include "util/buffer.h"

enum {
        KEYS_AT_ONCE = 500,
        ATTEMPTS = 5,
        FILTER_VALUES = 13,
        GRACE_MS =
                10 * 1000, /* behind its own limit the server has so long to say that it is over */
};

typedef struct Key {
        DeadLetterKey key;
        int64_t size;
} Key;

struct DeadLetterDesk {
        PGconn *connection;
        char *schema, *group;
        RightsPart part;        /* what the next statement takes */
        bool selected;          /* the cursor is open */
        Key keys[KEYS_AT_ONCE]; /* fetched, and in no page yet: */
        size_t next_key, n_keys;
};

/* --- asking ------------------------------------------------------------------------------- */

static int64_t now_ms(void) {
        struct timespec ts;
        clock_gettime(CLOCK_MONOTONIC, &ts);
        return (int64_t)ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}

/* The last result of what was sent; NULL: the connection is lost, or the server stands still, which
 * statement_timeout does not end. */
static PGresult *wait_result(PGconn *connection) {
        int64_t deadline = now_ms() + DEAD_LETTERS_LIMIT_MS + GRACE_MS;
        PGresult *last = NULL;
        for (;;) {
                while (PQisBusy(connection)) {
                        struct pollfd fd = {.fd = PQsocket(connection), .events = POLLIN};
                        int64_t left = deadline - now_ms();
                        if (left <= 0 ||
                            (poll(&fd, 1, (int)left) > 0 && PQconsumeInput(connection) == 0)) {
                                PQclear(last);
                                return NULL;
                        }
                }
                PGresult *result = PQgetResult(connection);
                if (result == NULL) {
                        return last;
                }
                PQclear(last);
                last = result;
        }
}

static int lost(DeadLetterDesk *desk, char **errorp) {
        const char *why = PQerrorMessage(desk->connection);
        int n = (int)strcspn(why, "\n");
        return asprintf(errorp, "%.*s", n > 0 ? n : 64,
                        n > 0 ? why : "PostgreSQL does not answer any more") < 0
                       ? error_origin(-ENOMEM)
                       : BLOCKING_E_CONNECT;
}

/* A statement is a transaction of its own: what lost against another one can be asked again. */
static bool is_passing(const PGresult *result) {
        const char *state = PQresultErrorField(result, PG_DIAG_SQLSTATE);
        return state != NULL && (strcmp(state, "40P01") == 0 || strcmp(state, "40001") == 0);
}

/* @resultp: the caller's, with tuples or none. Values come as text or as bytes (@binary: every
 * column has to be text or bytea, whose bytes are what they are). */
static int ask(DeadLetterDesk *desk, const char *sql, int n, const char *const *values, bool binary,
               PGresult **resultp, char **errorp) {
        PGresult *result = NULL;
        bool again = false;
        for (int attempt = 1; attempt == 1 || again; attempt++) {
                PQclear(result);
                result = NULL;
                if (PQsendQueryParams(desk->connection, sql, n, NULL, values, NULL, NULL, binary) ==
                    1) {
                        result = wait_result(desk->connection);
                }
                if (result == NULL) {
                        return lost(desk, errorp);
                }
                again = attempt < ATTEMPTS && is_passing(result);
        }
        int r = PQresultStatus(result) == PGRES_COMMAND_OK
                        ? 0
                        : blocking_check_rights(desk->connection, desk->schema, desk->part, result,
                                                errorp);
        if (r != 0) {
                PQclear(result);
                return r;
        }
        *resultp = result;
        return 0;
}

static int run(DeadLetterDesk *desk, const char *sql, int n, const char *const *values,
               uint64_t *np, char **errorp) {
        PGresult *result = NULL;
        int r = ask(desk, sql, n, values, false, &result, errorp);
        if (r == 0 && np != NULL) {
                *np = strtoull(PQcmdTuples(result), NULL, 10);
        }
        PQclear(result);
        return r;
}

static const char *text_at(const PGresult *result, int row, int column) {
        return PQgetisnull(result, row, column) ? NULL : PQgetvalue(result, row, column);
}

static int64_t number_at(const PGresult *result, int row, int column) {
        return strtoll(PQgetvalue(result, row, column), NULL, 10);
}

/* --- arrays ------------------------------------------------------------------------------- */

/* An element of an array as text; NULL: null. */
static int append_element(Buffer *array, const char *text) {
        int r = buffer_append_char(array, array->size == 0 ? '{' : ',');
        if (text == NULL) {
                return r != 0 ? r : buffer_append_string(array, "NULL");
        }
        r = r != 0 ? r : buffer_append_char(array, '"');
        for (; r == 0 && *text != '\0'; text++) {
                if (*text == '"' || *text == '\\') {
                        r = buffer_append_char(array, '\\');
                }
                r = r != 0 ? r : buffer_append_char(array, *text);
        }
        return r != 0 ? r : buffer_append_char(array, '"');
}

static int append_number(Buffer *array, int64_t number) {
        char text[24];
        snprintf(text, sizeof(text), "%" PRId64, number);
        return append_element(array, text);
}

/* With its end. NULL: no memory. */
static const char *array_text(Buffer *array) {
        int r = array->size == 0 ? buffer_append_char(array, '{') : 0;
        r = r != 0 ? r : buffer_append_char(array, '}');
        return r == 0 ? buffer_string(array) : NULL;
}

/* Two arrays of the same rows. */
typedef struct KeyArrays {
        Buffer sources, offsets;
        const char *values[6]; /* both; the rest is the caller's */
} KeyArrays;

static void key_arrays_deinit(KeyArrays *arrays) {
        buffer_deinit(&arrays->sources);
        buffer_deinit(&arrays->offsets);
}

static int key_arrays_init(KeyArrays *arrays, const DeadLetterKey *keys, size_t n) {
        int r = 0;
        for (size_t i = 0; r == 0 && i < n; i++) {
                r = append_number(&arrays->sources, keys[i].source);
                r = r != 0 ? r : append_number(&arrays->offsets, keys[i].offset);
        }
        arrays->values[0] = r == 0 ? array_text(&arrays->sources) : NULL;
        arrays->values[1] = r == 0 ? array_text(&arrays->offsets) : NULL;
        return arrays->values[0] != NULL && arrays->values[1] != NULL ? 0 : error_origin(-ENOMEM);
}

/* --- the filter --------------------------------------------------------------------------- */

/* The values of FITS, and what they lie in. */
typedef struct FilterValues {
        const char *values[FILTER_VALUES];
        Buffer words[4];
        Buffer places[4]; /* topics, partitions or null, offsets, sources or null */
        char age[24], since[24], which[4];
} FilterValues;

#define OPEN " (r.replayed_at IS NULL AND r.replay_source IS NULL AND r.dropped_at IS NULL)"

/* Of rejected r and partitions p. What was not asked for is null and folded away by the planner,
 * which knows the values. */
#define FITS                                                                                       \
        " p.group_id = $1"                                                                         \
        " AND ($2::text[] IS NULL OR p.topic = ANY($2))"                                           \
        " AND ($3::text[] IS NULL OR EXISTS (SELECT FROM unnest($3::text[]) g"                     \
        " WHERE glob_matches(g, r.host)))"                                                         \
        " AND ($4::text[] IS NULL OR r.reason = ANY($4))"                                          \
        " AND ($5::text[] IS NULL OR coalesce(r.handler, '" DEAD_LETTERS_MESSAGE "') = ANY($5))"   \
        " AND ($6::bigint IS NULL OR r.rejected_at >= now() - $6 * interval '1 microsecond')"      \
        " AND ($7::bigint IS NULL OR r.rejected_at >= timestamptz 'epoch' + $7"                    \
        " * interval '1 microsecond')"                                                             \
        " AND ($8::text = 'all' OR" OPEN " OR ($8::text = 'too' AND r.replay_source IS NULL"       \
        " AND r.dropped_at IS NULL))"                                                              \
        " AND ($9::text[] IS NULL OR EXISTS (SELECT FROM"                                          \
        " unnest($9::text[], $10::integer[], $11::bigint[], $12::integer[])"                       \
        " k(topic, partition, at, source) WHERE k.at = r.\"offset\" AND CASE"                      \
        " WHEN k.topic IS NULL THEN k.source = r.source"                                           \
        " ELSE k.topic = p.topic AND k.partition = p.partition END))"                              \
        " AND ($13::text IS NULL OR r.reason <> $13)"
#define FROM_BOTH " FROM rejected r JOIN partitions p ON p.id = r.source WHERE" FITS

static int words_init(Buffer *array, const DeadLetterWords *words, const char **valuep) {
        int r = 0;
        for (size_t i = 0; r == 0 && i < words->n; i++) {
                r = append_element(array, words->items[i]);
        }
        *valuep = r == 0 && words->n > 0 ? array_text(array) : NULL;
        return r == 0 && (words->n == 0 || *valuep != NULL) ? 0 : error_origin(-ENOMEM);
}

static int places_init(FilterValues *v, const DeadLetterFilter *filter) {
        int r = 0;
        for (size_t i = 0; r == 0 && i < filter->n_places; i++) {
                const DeadLetterPlace *place = &filter->places[i];
                char number[16];
                snprintf(number, sizeof(number), "%" PRId32, place->number);
                r = append_element(&v->places[0], place->topic);
                r = r != 0 ? r
                           : append_element(&v->places[1], place->topic != NULL ? number : NULL);
                r = r != 0 ? r : append_number(&v->places[2], place->offset);
                r = r != 0 ? r
                           : append_element(&v->places[3], place->topic == NULL ? number : NULL);
        }
        for (int i = 0; r == 0 && filter->n_places > 0 && i < 4; i++) {
                v->values[8 + i] = array_text(&v->places[i]);
                r = v->values[8 + i] != NULL ? 0 : error_origin(-ENOMEM);
        }
        return r;
}

static int filter_init(FilterValues *v, const DeadLetterDesk *desk,
                       const DeadLetterFilter *filter) {
        static const char *const which[] = {[DEAD_LETTERS_OPEN] = "no",
                                            [DEAD_LETTERS_AGAIN] = "too",
                                            [DEAD_LETTERS_ALL] = "all"};
        const DeadLetterWords *words[] = {&filter->topics, &filter->hosts, &filter->reasons,
                                          &filter->handlers};
        v->values[0] = desk->group;
        for (int i = 0; i < 4; i++) {
                int r = words_init(&v->words[i], words[i], &v->values[1 + i]);
                if (r != 0) {
                        return r;
                }
        }
        snprintf(v->age, sizeof(v->age), "%" PRId64, filter->age_us);
        snprintf(v->since, sizeof(v->since), "%" PRId64, filter->since_us);
        v->values[5] = filter->age_us > 0 ? v->age : NULL;
        v->values[6] = filter->since_us != 0 ? v->since : NULL;
        v->values[7] = which[filter->which];
        v->values[12] = filter->without_unknown ? DEAD_LETTERS_UNKNOWN : NULL;
        return places_init(v, filter);
}

static void filter_deinit(FilterValues *v) {
        for (int i = 0; i < 4; i++) {
                buffer_deinit(&v->words[i]);
                buffer_deinit(&v->places[i]);
        }
}

static int ask_filtered(DeadLetterDesk *desk, const char *sql, const DeadLetterFilter *filter,
                        PGresult **resultp, char **errorp) {
        CLEANUP(filter_deinit) FilterValues values = {0};
        int r = filter_init(&values, desk, filter);
        return r != 0 ? r : ask(desk, sql, FILTER_VALUES, values.values, false, resultp, errorp);
}

/* --- the connection ----------------------------------------------------------------------- */

/* A mark that was reported is on disk, whatever the database's own setting is. When this machine
 * vanishes the lock has to go: the server finds out by itself, in half a minute. */
static int set_up(DeadLetterDesk *desk, char **errorp) {
        CLEANUP(buffer_deinit) Buffer sql = BUFFER_INIT;
        int r = buffer_printf(&sql,
                              "SELECT set_config('synchronous_commit', 'on', false),"
                              " set_config('statement_timeout', '%d', false),"
                              " set_config('tcp_keepalives_idle', '10', false),"
                              " set_config('tcp_keepalives_interval', '5', false),"
                              " set_config('tcp_keepalives_count', '3', false),"
                              " set_config('search_path', '",
                              DEAD_LETTERS_LIMIT_MS);
        r = r != 0 ? r : schema_append_name(&sql, desk->schema);
        r = r != 0 ? r : buffer_append_string(&sql, ", pg_temp', false)");
        if (r != 0 || buffer_string(&sql) == NULL) {
                return error_origin(-ENOMEM);
        }
        return run(desk, (const char *)sql.data, 0, NULL, NULL, errorp);
}

int dead_letters_open(DeadLetterDesk **deskp, const char *program, const char *dsn,
                      const char *password, const char *schema, const char *group, char **errorp) {
        DeadLetterDesk *desk = calloc(1, sizeof(*desk));
        if (desk == NULL) {
                return error_origin(-ENOMEM);
        }
        desk->part = RIGHTS_READ;
        desk->schema = strdup(schema);
        desk->group = strdup(group);
        int r = desk->schema == NULL || desk->group == NULL
                        ? error_origin(-ENOMEM)
                        : blocking_connect(&desk->connection, program, dsn, password, errorp);
        r = r != 0 ? r : set_up(desk, errorp);
        if (r != 0) {
                dead_letters_close(desk);
                return r;
        }
        *deskp = desk;
        return 0;
}

void dead_letters_close(DeadLetterDesk *desk) {
        if (desk != NULL) {
                PQfinish(desk->connection);
                free(desk->schema);
                free(desk->group);
                free(desk);
        }
}

#define LOCK_KEY "hashtextextended('dead letters ' || $1 || ' ' || $2, 0)"

/* Who has it: the name that every session may see of every other one. */
static int busy(DeadLetterDesk *desk, const char *const *values, char **errorp) {
        PGresult *result = NULL;
        int r = ask(desk,
                    "SELECT a.application_name FROM pg_locks l JOIN pg_stat_activity a USING (pid)"
                    " WHERE l.locktype = 'advisory' AND l.granted AND l.objsubid = 1"
                    " AND a.datname = current_database()"
                    " AND (l.classid::bigint << 32 | l.objid::bigint) = " LOCK_KEY " LIMIT 1",
                    2, values, false, &result, errorp);
        if (r != 0) {
                return r;
        }
        bool known = PQntuples(result) == 1 && PQgetvalue(result, 0, 0)[0] != '\0';
        int n = asprintf(errorp,
                         "somebody else replays or drops messages of group %s at this moment%s%s; "
                         "try again when that has ended",
                         desk->group, known ? ": " : "", known ? PQgetvalue(result, 0, 0) : "");
        PQclear(result);
        return n < 0 ? error_origin(-ENOMEM) : DEAD_LETTERS_E_BUSY;
}

/* Whether we may mark: of no row, so that it is refused before anything is produced. */
static int ask_right(DeadLetterDesk *desk, char **errorp) {
        desk->part = RIGHTS_OPERATE;
        int r = run(
                desk,
                "UPDATE rejected SET replayed_at = NULL, replayed_by = NULL, replayed_why = NULL,"
                " dropped_at = NULL, dropped_by = NULL, dropped_why = NULL WHERE false",
                0, NULL, NULL, errorp);
        desk->part = RIGHTS_READ;
        return r;
}

int dead_letters_lock(DeadLetterDesk *desk, const char *who, char **errorp) {
        const char *values[] = {desk->schema, desk->group, who};
        PGresult *result = NULL;
        int r = ask(desk, "SELECT pg_try_advisory_lock(" LOCK_KEY ")", 2, values, false, &result,
                    errorp);
        bool have = r == 0 && PQgetvalue(result, 0, 0)[0] == 't';
        PQclear(result);
        if (r != 0 || !have) {
                return r != 0 ? r : busy(desk, values, errorp);
        }
        r = run(desk,
                "SELECT set_config('application_name',"
                " left('ackd dead-letter by ' || $1, 63), false)",
                1, &who, NULL, errorp);
        return r != 0 ? r : ask_right(desk, errorp);
}

/* --- the selection ------------------------------------------------------------------------ */

int dead_letters_select(DeadLetterDesk *desk, const DeadLetterFilter *filter, uint64_t *np,
                        char **errorp) {
        CLEANUP(filter_deinit) FilterValues values = {0};
        int r = filter_init(&values, desk, filter);
        if (r == 0 && desk->selected) {
                r = run(desk, "CLOSE letters", 0, NULL, NULL, errorp);
        }
        desk->selected = false;
        desk->next_key = desk->n_keys = 0;
        r = r != 0 ? r
                   : run(desk,
                         "DECLARE letters SCROLL CURSOR WITH HOLD FOR SELECT r.source,"
                         " r.\"offset\", coalesce(octet_length(r.value), 0)"
                         " + coalesce(octet_length(r.key), 0)"
                         " + coalesce(octet_length(r.headers::text), 0)" FROM_BOTH
                         " ORDER BY r.rejected_at, r.source, r.\"offset\"",
                         FILTER_VALUES, values.values, NULL, errorp);
        desk->selected = r == 0;
        r = r != 0 ? r : run(desk, "MOVE FORWARD ALL FROM letters", 0, NULL, np, errorp);
        return r != 0 ? r : run(desk, "MOVE ABSOLUTE 0 FROM letters", 0, NULL, NULL, errorp);
}

static int fetch_keys(DeadLetterDesk *desk, char **errorp) {
        char sql[64];
        PGresult *result = NULL;
        snprintf(sql, sizeof(sql), "FETCH %d FROM letters", KEYS_AT_ONCE);
        int r = ask(desk, sql, 0, NULL, false, &result, errorp);
        desk->next_key = desk->n_keys = 0;
        for (int i = 0; r == 0 && i < PQntuples(result); i++) {
                desk->keys[desk->n_keys++] =
                        (Key){.key = {.source = (int32_t)number_at(result, i, 0),
                                      .offset = number_at(result, i, 1)},
                              .size = number_at(result, i, 2)};
        }
        PQclear(result);
        return r;
}

/* In the order of read_page(); each is text or bytea. $3: with the bytes. */
static const char page_sql[] =
        "SELECT r.source::text, r.\"offset\"::text, p.cluster_id, p.group_id, p.topic,"
        " p.partition::text, (p.retired_at IS NOT NULL)::text, r.host, r.handler, r.reason,"
        " r.detail, array_to_string(r.handlers_done, ','), r.attempts::text,"
        " utc_text(r.produced_at), utc_text(r.received_at), utc_text(r.rejected_at),"
        " octet_length(r.value)::text, r.outbox, r.outbox_error, utc_text(r.dead_lettered_at),"
        " utc_text(r.replayed_at), r.replayed_by, r.replayed_why,"
        " coalesce(t.topic || '/' || t.partition, r.replay_source::text)"
        " || '/' || r.replay_offset, utc_text(r.dropped_at), r.dropped_by, r.dropped_why,"
        " CASE WHEN $3::boolean THEN r.key END, CASE WHEN $3::boolean THEN r.value END,"
        " CASE WHEN $3::boolean THEN r.headers::text END"
        " FROM unnest($1::integer[], $2::bigint[]) WITH ORDINALITY k(source, at, n)"
        " JOIN rejected r ON r.source = k.source AND r.\"offset\" = k.at"
        " JOIN partitions p ON p.id = r.source LEFT JOIN partitions t ON t.id = r.replay_source"
        " ORDER BY k.n";

static void read_letter(const PGresult *result, int i, DeadLetter *letter) {
        *letter = (DeadLetter){
                .key = {.source = (int32_t)number_at(result, i, 0),
                        .offset = number_at(result, i, 1)},
                .cluster_id = PQgetvalue(result, i, 2),
                .group_id = PQgetvalue(result, i, 3),
                .topic = PQgetvalue(result, i, 4),
                .partition = (int32_t)number_at(result, i, 5),
                .retired = PQgetvalue(result, i, 6)[0] == 't',
                .host = text_at(result, i, 7),
                .handler = text_at(result, i, 8),
                .reason = PQgetvalue(result, i, 9),
                .detail = text_at(result, i, 10),
                .handlers_done = PQgetvalue(result, i, 11),
                .attempts = (int32_t)number_at(result, i, 12),
                .produced_at = text_at(result, i, 13),
                .received_at = text_at(result, i, 14),
                .rejected_at = PQgetvalue(result, i, 15),
                .value_size = PQgetisnull(result, i, 16) ? -1 : number_at(result, i, 16),
                .outbox = PQgetvalue(result, i, 17),
                .outbox_error = text_at(result, i, 18),
                .dead_lettered_at = text_at(result, i, 19),
                .replayed_at = text_at(result, i, 20),
                .replayed_by = text_at(result, i, 21),
                .replayed_why = text_at(result, i, 22),
                .taken = text_at(result, i, 23),
                .dropped_at = text_at(result, i, 24),
                .dropped_by = text_at(result, i, 25),
                .dropped_why = text_at(result, i, 26),
                .message_key = (const uint8_t *)text_at(result, i, 27),
                .message_key_size = (size_t)PQgetlength(result, i, 27),
                .value = (const uint8_t *)text_at(result, i, 28),
                .headers = text_at(result, i, 29),
                .headers_size = (size_t)PQgetlength(result, i, 29),
        };
}

/* Takes the result over. */
static int read_page(PGresult *result, DeadLetterPage *page) {
        int n = PQntuples(result);
        DeadLetter *items = calloc((size_t)n + 1, sizeof(*items));
        if (items == NULL) {
                PQclear(result);
                return error_origin(-ENOMEM);
        }
        for (int i = 0; i < n; i++) {
                read_letter(result, i, &items[i]);
        }
        *page = (DeadLetterPage){.items = items, .n = (size_t)n, .result = result};
        return 0;
}

int dead_letters_next(DeadLetterDesk *desk, size_t rows, size_t bytes, bool with_bytes,
                      DeadLetterPage *page, char **errorp) {
        CLEANUP(key_arrays_deinit) KeyArrays arrays = {0};
        DeadLetterKey keys[KEYS_AT_ONCE];
        PGresult *result = NULL;
        size_t n = 0;
        int64_t total = 0;
        int r = desk->next_key == desk->n_keys ? fetch_keys(desk, errorp) : 0;
        if (r != 0) {
                return r;
        }
        while (desk->next_key < desk->n_keys && n < rows) {
                const Key *key = &desk->keys[desk->next_key];
                if (with_bytes && n > 0 && total + key->size > (int64_t)bytes) {
                        break;
                }
                total += key->size;
                keys[n++] = key->key;
                desk->next_key++;
        }
        if (n == 0) {
                *page = (DeadLetterPage){0};
                return 0;
        }
        r = key_arrays_init(&arrays, keys, n);
        arrays.values[2] = with_bytes ? "true" : "false";
        r = r != 0 ? r : ask(desk, page_sql, 3, arrays.values, true, &result, errorp);
        return r != 0 ? r : read_page(result, page);
}

void dead_letter_page_deinit(DeadLetterPage *page) {
        PQclear(page->result);
        free(page->items);
        *page = (DeadLetterPage){0};
}

/* --- counts ------------------------------------------------------------------------------- */

void dead_letter_counts_deinit(DeadLetterCounts *counts) {
        PQclear(counts->result);
        free(counts->items);
        *counts = (DeadLetterCounts){0};
}

/* Takes the result over: a word and a number a row. */
static int read_counts(int r, PGresult *result, DeadLetterCounts *counts) {
        size_t n = r == 0 ? (size_t)PQntuples(result) : 0;
        DeadLetterCount *items = r == 0 ? calloc(n + 1, sizeof(*items)) : NULL;
        if (items == NULL) {
                PQclear(result);
                return r != 0 ? r : error_origin(-ENOMEM);
        }
        *counts = (DeadLetterCounts){.items = items, .n = n, .result = result};
        for (size_t i = 0; i < n; i++) {
                items[i] = (DeadLetterCount){.word = PQgetvalue(result, (int)i, 0),
                                             .n = number_at(result, (int)i, 1)};
                counts->total += items[i].n;
        }
        return 0;
}

#define BY_WORD " GROUP BY 1 ORDER BY 2 DESC, 1"

int dead_letters_reasons(DeadLetterDesk *desk, const DeadLetterFilter *filter,
                         DeadLetterCounts *counts, char **errorp) {
        PGresult *result = NULL;
        int r = ask_filtered(desk, "SELECT r.reason, count(*)" FROM_BOTH BY_WORD, filter, &result,
                             errorp);
        return read_counts(r, result, counts);
}

int dead_letters_topics(DeadLetterDesk *desk, const DeadLetterFilter *filter,
                        DeadLetterCounts *counts, char **errorp) {
        PGresult *result = NULL;
        int r = ask_filtered(desk, "SELECT p.topic, count(*)" FROM_BOTH BY_WORD, filter, &result,
                             errorp);
        return read_counts(r, result, counts);
}

int dead_letters_others(DeadLetterDesk *desk, DeadLetterCounts *counts, char **errorp) {
        const char *values[] = {desk->group};
        PGresult *result = NULL;
        int r = ask(desk,
                    "SELECT p.group_id, count(*) FROM rejected r JOIN partitions p"
                    " ON p.id = r.source WHERE p.group_id <> $1 AND" OPEN BY_WORD,
                    1, values, false, &result, errorp);
        return read_counts(r, result, counts);
}

int dead_letters_missing(DeadLetterDesk *desk, const DeadLetterFilter *filter, bool *missing,
                         char **errorp) {
        CLEANUP(filter_deinit) FilterValues values = {.values = {desk->group}};
        PGresult *result = NULL;
        int r = places_init(&values, filter);
        const char *given[] = {desk->group, values.values[8], values.values[9], values.values[10],
                               values.values[11]};
        r = r != 0 ? r
                   : ask(desk,
                         "SELECT k.n FROM unnest($2::text[], $3::integer[], $4::bigint[],"
                         " $5::integer[]) WITH ORDINALITY k(topic, partition, at, source, n)"
                         " WHERE NOT EXISTS (SELECT FROM rejected r JOIN partitions p"
                         " ON p.id = r.source WHERE p.group_id = $1 AND r.\"offset\" = k.at"
                         " AND CASE WHEN k.topic IS NULL THEN k.source = r.source"
                         " ELSE k.topic = p.topic AND k.partition = p.partition END)",
                         5, given, false, &result, errorp);
        if (r != 0) {
                return r;
        }
        memset(missing, 0, filter->n_places * sizeof(*missing));
        for (int i = 0; i < PQntuples(result); i++) {
                missing[number_at(result, i, 0) - 1] = true;
        }
        PQclear(result);
        return 0;
}

/* --- marks -------------------------------------------------------------------------------- */

/* An UPDATE of the rows that $1 and $2 name; @more: $3 and $4. */
/* The rows are locked in the order of take_replays(): the daemons take the same ones, just
 * delivered, and the two would stop each other. */
static int update(DeadLetterDesk *desk, const char *set, const char *when,
                  const DeadLetterKey *keys, size_t n, const char *const more[2], uint64_t *np,
                  char **errorp) {
        CLEANUP(key_arrays_deinit) KeyArrays arrays = {0};
        CLEANUP(buffer_deinit) Buffer sql = BUFFER_INIT;
        int r = key_arrays_init(&arrays, keys, n);
        r = r != 0 ? r
                   : buffer_printf(&sql,
                                   "UPDATE rejected r SET %s FROM (SELECT x.source,"
                                   " x.\"offset\" AS at FROM unnest($1::integer[],"
                                   " $2::bigint[]) u(source, at) JOIN rejected x"
                                   " ON x.source = u.source AND x.\"offset\" = u.at"
                                   " ORDER BY 1, 2 FOR UPDATE OF x) k"
                                   " WHERE r.source = k.source AND r.\"offset\" = k.at%s",
                                   set, when);
        if (r != 0 || buffer_string(&sql) == NULL) {
                return error_origin(-ENOMEM);
        }
        arrays.values[2] = more != NULL ? more[0] : NULL;
        arrays.values[3] = more != NULL ? more[1] : NULL;
        desk->part = RIGHTS_OPERATE;
        r = run(desk, (const char *)sql.data, more != NULL ? 4 : 2, arrays.values, np, errorp);
        desk->part = RIGHTS_READ;
        return r;
}

int dead_letters_mark(DeadLetterDesk *desk, const DeadLetterKey *keys, size_t n, const char *who,
                      const char *why, char **errorp) {
        const char *more[] = {who, why};
        return update(desk,
                      "replayed_at = clock_timestamp(), replayed_by = $3::text,"
                      " replayed_why = $4::text",
                      "", keys, n, more, NULL, errorp);
}

int dead_letters_drop(DeadLetterDesk *desk, const DeadLetterKey *keys, size_t n, const char *who,
                      const char *why, uint64_t *np, char **errorp) {
        const char *more[] = {who, why};
        return update(desk,
                      "dropped_at = clock_timestamp(), dropped_by = $3::text,"
                      " dropped_why = $4::text",
                      " AND" OPEN, keys, n, more, np, errorp);
}

int dead_letters_undrop(DeadLetterDesk *desk, const DeadLetterKey *keys, size_t n, char **errorp) {
        return update(desk, "dropped_at = NULL", "", keys, n, NULL, NULL, errorp);
}
