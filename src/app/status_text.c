/*
 * One function a section, in the order of the screen; sections without anything to tell are left
 * out. Names are those of the document, which are those of the metrics and of the log.
 */

#include "app/status_text.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

#include "app/document.h"
#include "app/layout.h"
#include "core/timestamp.h"
#include "util/duration.h"

enum {
        INDENT = 2,
        DEEPER = 4,
        CELL = 32,
        SINCE = CELL + AGE_TEXT + 16,
        PARTITION_COLUMNS = 6,
};

/* A section goes on with the block of the one before, or a line is left free before it: a daemon
 * with nothing to tell fits into 24 lines. */
static void section(Layout *layout, const char *text) {
        layout_line(layout, 0, INDENT);
        layout_item(layout, STYLE_STRONG, "%s", text);
}

static void title(Layout *layout, const char *text) {
        layout_blank(layout);
        section(layout, text);
}

/* What has to be there; an older ackd may not tell it. */
static const char *word(const json_t *object, const char *key) {
        const char *text = document_text(object, key);
        return text != NULL ? text : "?";
}

/* A time without the fraction of its second. */
static const char *moment(const json_t *object, const char *key, char out[CELL]) {
        const char *text = word(object, key);
        size_t whole = strcspn(text, ".");
        bool fraction = text[whole] == '.' && strlen(text) < CELL;
        snprintf(out, CELL, fraction ? "%.*sZ" : "%.*s", (int)whole, text);
        return out;
}

/* "(100 of 1234)" behind a title, when not all are told. */
static void title_of(Layout *layout, size_t told, long long total) {
        if (total > (long long)told) {
                layout_item(layout, STYLE_DIM, "(%zu of %lld)", told, total);
        }
}

/* "2026-11-26T02:11:05Z" @seconds before the document's time; the day only when it is another one.
 * Empty when it cannot be told. */
static const char *since_text(const json_t *document, double seconds, char out[CELL]) {
        const char *now = document_text(document, "now");
        int64_t us = 0;
        out[0] = '\0';
        if (now == NULL || timestamp_parse(now, strlen(now), &us) != 0 || !(seconds >= 0) ||
            seconds > 1e9) {
                return out;
        }
        time_t end = (time_t)(us / 1000000), start = (time_t)((double)us / 1e6 - seconds);
        struct tm e, s;
        if (gmtime_r(&end, &e) == NULL || gmtime_r(&start, &s) == NULL) {
                return out;
        }
        bool today = e.tm_yday == s.tm_yday && e.tm_year == s.tm_year;
        strftime(out, CELL, today ? "%H:%M:%SZ" : "%Y-%m-%d %H:%M:%SZ", &s);
        return out;
}

/* "since 02:11:05Z (4m12s)"; empty when it is not known. */
static const char *since_of(const json_t *document, const json_t *object, char out[SINCE]) {
        char age[AGE_TEXT], at[CELL];
        double s = document_number(object, "since_s");
        out[0] = '\0';
        if (document_has(object, "since_s")) {
                since_text(document, s, at);
                snprintf(out, SINCE, "since %s%s(%s)", at, at[0] != '\0' ? " " : "",
                         age_text(s, age));
        }
        return out;
}

static void since(Layout *layout, const json_t *document, Style style, const json_t *object) {
        char text[SINCE];
        if (since_of(document, object, text)[0] != '\0') {
                layout_item(layout, style, "%s", text);
        }
}

/* --- the head ----------------------------------------------------------------------------- */

static void head(Layout *layout, const json_t *document) {
        char age[AGE_TEXT], at[CELL];
        const char *state = document_text(document, "state");
        const char *waiting = document_text(document, "waiting_for");
        const json_t *shutdown = json_object_get(document, "shutdown");
        bool runs = state != NULL && strcmp(state, "running") == 0;
        layout_line(layout, 0, INDENT);
        layout_item(layout, STYLE_STRONG, "ackd %s", word(document, "instance"));
        layout_item(layout, STYLE_PLAIN, "version %s", word(document, "version"));
        layout_item(layout, STYLE_PLAIN, "pid %lld", document_int(document, "pid"));
        layout_item(layout, runs ? STYLE_GOOD : STYLE_WARNING, "%s", state != NULL ? state : "?");
        if (document_has(document, "started_at")) {
                layout_item(layout, STYLE_PLAIN, "up since %s (%s)",
                            moment(document, "started_at", at),
                            age_text(document_number(document, "uptime_s"), age));
        }
        if (document_text(document, "action") != NULL &&
            strcmp(document_text(document, "action"), "dry-run") == 0) {
                layout_item(layout, STYLE_WARNING, "dry run: no host is restarted");
        }
        if (waiting != NULL) {
                layout_line(layout, INDENT, DEEPER);
                layout_words(layout, STYLE_WARNING, "the start waits for:");
                layout_words(layout, STYLE_PLAIN, waiting);
        }
        if (json_is_object(shutdown)) {
                layout_line(layout, INDENT, DEEPER);
                layout_item(layout, STYLE_WARNING, "shutting down: %s", word(shutdown, "step"));
                since(layout, document, STYLE_PLAIN, shutdown);
        }
}

static void peer(Layout *layout, const json_t *document, const char *name, const char *key) {
        const json_t *object = json_object_get(document, key);
        bool up = document_bool(object, "up");
        char text[SINCE];
        if (up) {
                layout_item(layout, STYLE_GOOD, "%s up", name);
        } else if (json_is_object(object)) {
                layout_item(layout, STYLE_ERROR, "%s DOWN %s", name,
                            since_of(document, object, text));
        }
}

static void intake(Layout *layout, const json_t *document) {
        const json_t *object = json_object_get(document, "intake");
        const char *paused = document_text(object, "paused_by");
        char text[SINCE];
        if (!json_is_object(object)) {
                return;
        }
        const json_t *kafka = json_object_get(document, "kafka");
        if (document_bool(object, "reading")) {
                /* No limit stops it; but is there anything to read from? */
                if (document_bool(kafka, "up") && document_bool(kafka, "joined")) {
                        layout_item(layout, STYLE_GOOD, "reading");
                }
                return;
        }
        layout_item(layout, STYLE_WARNING, "not reading%s%s %s", paused != NULL ? ": limits." : "",
                    paused != NULL ? paused : "", since_of(document, object, text));
}

static void peer_error(Layout *layout, const json_t *document, const char *name, const char *key) {
        const json_t *object = json_object_get(document, key);
        const char *error = document_text(object, "error");
        const char *sqlstate = document_text(object, "sqlstate");
        if (error == NULL) {
                return;
        }
        layout_line(layout, INDENT, DEEPER);
        layout_item(layout, STYLE_ERROR, "%s:", name);
        layout_words(layout, STYLE_PLAIN, error);
        if (sqlstate != NULL) {
                layout_item(layout, STYLE_DIM, "SQLSTATE %s", sqlstate);
        }
}

static void peers(Layout *layout, const json_t *document) {
        layout_line(layout, 0, INDENT);
        peer(layout, document, "Kafka", "kafka");
        peer(layout, document, "PostgreSQL", "postgres");
        intake(layout, document);
        peer_error(layout, document, "Kafka", "kafka");
        peer_error(layout, document, "PostgreSQL", "postgres");
}

/* --- troubles ----------------------------------------------------------------------------- */

static void trouble(Layout *layout, const json_t *document, const json_t *object) {
        const char *severity = document_text(object, "severity");
        const char *where = document_text(object, "where");
        const char *text = document_text(object, "text");
        const char *note = document_text(object, "note");
        const char *remedy = document_text(object, "remedy");
        bool error = severity != NULL && strcmp(severity, "error") == 0;
        Style style = error ? STYLE_ERROR : STYLE_WARNING;
        layout_line(layout, 0, INDENT);
        layout_item(layout, style, "%s", error ? "ERROR" : "WARNING");
        layout_item(layout, style, "%s", word(object, "word"));
        if (where != NULL) {
                layout_item(layout, STYLE_STRONG, "%s", where);
        }
        since(layout, document, STYLE_PLAIN, object);
        if (text != NULL) {
                layout_line(layout, INDENT, INDENT);
                layout_words(layout, STYLE_PLAIN, text);
        }
        if (note != NULL) {
                layout_line(layout, INDENT, INDENT);
                layout_words(layout, STYLE_DIM, note);
        }
        if (remedy != NULL) {
                layout_verbatim(layout, STYLE_STRONG, DEEPER, remedy);
        }
}

static void troubles(Layout *layout, const json_t *document) {
        const json_t *list = json_object_get(document, "troubles");
        size_t i;
        json_t *object;
        bool runs = strcmp(word(document, "state"), "running") == 0 && json_is_array(list);
        layout_blank(layout);
        if (json_array_size(list) == 0) {
                layout_line(layout, 0, INDENT);
                layout_item(layout, runs ? STYLE_GOOD : STYLE_PLAIN,
                            runs ? "all is well" : "no trouble is known");
                return;
        }
        json_array_foreach(list, i, object) {
                trouble(layout, document, object);
        }
}

/* --- limits, and what waits ---------------------------------------------------------------- */

static void limits(Layout *layout, const json_t *document) {
        const json_t *object = json_object_get(document, "limits");
        const char *key;
        json_t *value;
        if (json_object_size(object) == 0) {
                return;
        }
        title(layout, "Limits");
        json_object_foreach((json_t *)object, key, value) {
                char used[DURATION_TEXT], limit[DURATION_TEXT];
                long long u = document_int(value, "used"), l = document_int(value, "limit");
                bool bytes = strstr(key, "bytes") != NULL;
                snprintf(used, sizeof(used), "%lld", u);
                snprintf(limit, sizeof(limit), "%lld", l);
                if (bytes && u >= 0 && l >= 0) {
                        /* The limit is as it was written; what is used has no round size. */
                        snprintf(used, sizeof(used), "%lld KiB", (u + 1023) / 1024);
                        size_format((size_t)l, limit);
                }
                layout_item(layout, l > 0 && u >= l ? STYLE_WARNING : STYLE_PLAIN, "%s %s%s%s", key,
                            used, l > 0 ? " of " : " (no limit)", l > 0 ? limit : "");
        }
}

static void connections(Layout *layout, const json_t *document) {
        const json_t *kafka = json_object_get(document, "kafka");
        const json_t *postgres = json_object_get(document, "postgres");
        if (json_is_object(kafka)) {
                bool joined = document_bool(kafka, "joined");
                section(layout, "Kafka");
                layout_item(layout, joined ? STYLE_PLAIN : STYLE_WARNING, "group %s%s",
                            word(kafka, "group"), joined ? "" : ", not joined");
                layout_item(layout, STYLE_DIM, "at %s", word(kafka, "servers"));
        }
        if (json_is_object(postgres)) {
                section(layout, "PostgreSQL");
                layout_item(layout, STYLE_PLAIN, "%lld of %lld connections",
                            document_int(postgres, "connected"),
                            document_int(postgres, "connections"));
                layout_item(layout, STYLE_PLAIN, "busy %lld", document_int(postgres, "busy"));
                layout_item(layout, STYLE_PLAIN, "queued %lld", document_int(postgres, "queued"));
        }
}

/* Those that are not 0; false: all are. */
static bool counts(Layout *layout, const char *name, const json_t *object) {
        const char *key;
        json_t *value;
        bool any = false;
        json_object_foreach((json_t *)object, key, value) {
                if (json_is_integer(value) && json_integer_value(value) != 0) {
                        if (!any && name != NULL) {
                                layout_line(layout, INDENT, DEEPER);
                                layout_item(layout, STYLE_PLAIN, "%s:", name);
                        }
                        any = true;
                        layout_item(layout, STYLE_PLAIN, "%s %lld", key,
                                    (long long)json_integer_value(value));
                }
        }
        return any;
}

static void work(Layout *layout, const json_t *document) {
        const json_t *windows = json_object_get(document, "windows");
        long long n = document_int(document, "messages_total");
        size_t i;
        json_t *handler;
        section(layout, "Work");
        layout_item(layout, STYLE_PLAIN, "%lld message%s in hand", n, n == 1 ? "" : "s");
        json_array_foreach(json_object_get(document, "handlers"), i, handler) {
                counts(layout, document_text(handler, "handler"), handler);
        }
        counts(layout, "restarts wait for", json_object_get(document, "waits"));
        if (json_is_object(windows)) {
                char at[CELL];
                bool has = document_has(windows, "until");
                const char *until = has ? moment(windows, "until", at) : NULL;
                bool open = document_bool(windows, "open");
                layout_line(layout, INDENT, DEEPER);
                layout_item(layout, open ? STYLE_PLAIN : STYLE_WARNING,
                            "the window for restarts is %s%s%s", open ? "open" : "closed",
                            until != NULL ? " until " : "", until != NULL ? until : "");
        }
}

/* --- partitions --------------------------------------------------------------------------- */

static const char *const partition_keys[PARTITION_COLUMNS] = {
        "watermark", "committed", "fence", "gap", "lag", "in_flight",
};
static const char *const partition_titles[PARTITION_COLUMNS] = {
        "watermark", "committed", "saved", "gap", "lag", "in flight",
};

static void partition_cell(const json_t *partition, int column, char out[CELL]) {
        const json_t *value = json_object_get(partition, partition_keys[column]);
        const char *text = json_string_value(value);
        if (json_is_integer(value) && !(column < 2 && json_integer_value(value) < 0)) {
                snprintf(out, CELL, "%lld", (long long)json_integer_value(value));
        } else {
                snprintf(out, CELL, "%s", text != NULL ? text : "-");
        }
}

static void partition_name(const json_t *partition, char *out, size_t size) {
        const char *topic = document_text(partition, "topic");
        snprintf(out, size, "%s/%lld", topic != NULL ? topic : "?",
                 document_int(partition, "partition"));
}

/* What it means and what helps is among the troubles. */
static void stopped(Layout *layout, const json_t *object) {
        layout_line(layout, INDENT, DEEPER);
        layout_item(layout, STYLE_ERROR, "stopped: %s", word(object, "reason"));
        layout_item(layout, STYLE_PLAIN, "the log holds %lld to %lld",
                    document_int(object, "log_low"), document_int(object, "log_high"));
}

static void pinned(Layout *layout, const json_t *document, const json_t *object) {
        char age[AGE_TEXT];
        const char *host = document_text(object, "host");
        const char *waits_for = document_text(object, "waits_for");
        layout_line(layout, INDENT, DEEPER);
        layout_item(layout, STYLE_PLAIN, "pinned by offset %lld", document_int(object, "offset"));
        if (host != NULL) {
                layout_item(layout, STYLE_STRONG, "%s", host);
        }
        layout_item(layout, STYLE_PLAIN, "age %s", age_text(document_number(object, "age_s"), age));
        layout_item(layout, STYLE_PLAIN, "%s %s%s%s", word(object, "handler"),
                    word(object, "state"), waits_for != NULL ? " for " : "",
                    waits_for != NULL ? waits_for : "");
        since(layout, document, STYLE_PLAIN, object);
}

static void partition_notes(Layout *layout, const json_t *document, const json_t *partition) {
        const json_t *stop = json_object_get(partition, "stopped");
        const json_t *pin = json_object_get(partition, "pinned_by");
        const char *paused = document_text(partition, "paused_by");
        if (strcmp(word(partition, "state"), "active") != 0 && !json_is_object(stop)) {
                layout_line(layout, INDENT, DEEPER);
                layout_item(layout, STYLE_WARNING, "state %s", word(partition, "state"));
        }
        if (paused != NULL) {
                layout_line(layout, INDENT, DEEPER);
                layout_item(layout, STYLE_WARNING, "nothing more of it is read: %s", paused);
        }
        if (json_is_object(stop)) {
                stopped(layout, stop);
        }
        if (json_is_object(pin)) {
                pinned(layout, document, pin);
        }
}

/* The widths of the columns; the name's comes first. Returns what all of them take. */
static int partition_widths(Layout *layout, const json_t *list, int widths[PARTITION_COLUMNS + 1]) {
        size_t i;
        json_t *partition;
        char name[512], cell[CELL];
        widths[0] = 0;
        for (int c = 0; c < PARTITION_COLUMNS; c++) {
                widths[c + 1] = (int)strlen(partition_titles[c]);
        }
        json_array_foreach(list, i, partition) {
                partition_name(partition, name, sizeof(name));
                int width = layout_width(layout, name);
                widths[0] = width > widths[0] ? width : widths[0];
                for (int c = 0; c < PARTITION_COLUMNS; c++) {
                        partition_cell(partition, c, cell);
                        width = layout_width(layout, cell);
                        widths[c + 1] = width > widths[c + 1] ? width : widths[c + 1];
                }
        }
        int all = widths[0];
        for (int c = 1; c <= PARTITION_COLUMNS; c++) {
                all += widths[c] + 2;
        }
        return all;
}

static void partition_row(Layout *layout, const json_t *partition, const int *widths) {
        char name[512], cell[CELL];
        partition_name(partition, name, sizeof(name));
        layout_line(layout, 0, INDENT);
        if (widths != NULL) {
                layout_cell(layout, STYLE_STRONG, widths[0], false, name);
        } else {
                layout_item(layout, STYLE_STRONG, "%s", name);
        }
        for (int c = 0; c < PARTITION_COLUMNS; c++) {
                partition_cell(partition, c, cell);
                if (widths != NULL) {
                        layout_cell(layout, STYLE_PLAIN, widths[c + 1], true, cell);
                } else {
                        layout_item(layout, STYLE_PLAIN, "%s %s", partition_titles[c], cell);
                }
        }
}

static void partitions(Layout *layout, const json_t *document) {
        const json_t *list = json_object_get(document, "partitions");
        int widths[PARTITION_COLUMNS + 1];
        size_t i;
        json_t *partition;
        title(layout, "Partitions");
        title_of(layout, json_array_size(list), document_int(document, "partitions_total"));
        if (json_array_size(list) == 0) {
                layout_item(layout, STYLE_PLAIN, "none is assigned");
                return;
        }
        bool table = partition_widths(layout, list, widths) <= layout->columns;
        if (table) {
                layout_line(layout, 0, INDENT);
                layout_cell(layout, STYLE_DIM, widths[0], false, "");
                for (int c = 0; c < PARTITION_COLUMNS; c++) {
                        layout_cell(layout, STYLE_DIM, widths[c + 1], true, partition_titles[c]);
                }
        }
        json_array_foreach(list, i, partition) {
                partition_row(layout, partition, table ? widths : NULL);
                partition_notes(layout, document, partition);
        }
}

/* --- messages ----------------------------------------------------------------------------- */

static void handler(Layout *layout, const json_t *document, const json_t *object) {
        char age[AGE_TEXT];
        const char *state = document_text(object, "state");
        const char *outcome = document_text(object, "outcome");
        const char *waits_for = document_text(object, "waits_for");
        const char *phase = document_text(object, "phase");
        const char *detail = document_text(object, "detail");
        long long attempts = document_int(object, "attempts");
        layout_line(layout, DEEPER, DEEPER + INDENT);
        layout_item(layout, STYLE_PLAIN, "%s %s%s%s%s%s%s", word(object, "handler"),
                    state != NULL ? state : "?", phase != NULL ? " (" : "",
                    phase != NULL ? phase : "", phase != NULL ? ")" : "",
                    waits_for != NULL ? " for " : "", waits_for != NULL ? waits_for : "");
        since(layout, document, STYLE_PLAIN, object);
        if (document_has(object, "pid")) {
                layout_item(layout, STYLE_PLAIN, "pid %lld", document_int(object, "pid"));
        }
        if (attempts > 0) {
                layout_item(layout, STYLE_PLAIN, "%lld attempt%s, %lld charged", attempts,
                            attempts == 1 ? "" : "s", document_int(object, "charged"));
        }
        if (outcome != NULL) {
                layout_item(layout, STYLE_PLAIN, "the last: %s", outcome);
        }
        if (document_has(object, "retry_in_s")) {
                layout_item(layout, STYLE_PLAIN, "again in %s",
                            age_text(document_number(object, "retry_in_s"), age));
        }
        if (detail != NULL) {
                layout_line(layout, DEEPER + INDENT, DEEPER + INDENT);
                layout_words(layout, STYLE_DIM, detail);
        }
}

/* It needs no line of its own. */
static bool is_done(const json_t *object) {
        const char *state = word(object, "state");
        return strcmp(state, "done") == 0 ||
               (strcmp(state, "ended") == 0 && strcmp(word(object, "outcome"), "done") == 0);
}

void status_text_message(Layout *layout, const json_t *document, const json_t *object) {
        char name[512], age[AGE_TEXT];
        const char *host = document_text(object, "host");
        const char *id = document_text(object, "id");
        size_t i;
        json_t *item;
        partition_name(object, name, sizeof(name));
        layout_line(layout, INDENT, DEEPER);
        layout_item(layout, STYLE_PLAIN, "%s/%lld", name, document_int(object, "offset"));
        layout_item(layout, STYLE_STRONG, "%s", host != NULL ? host : "(host unknown)");
        layout_item(layout, STYLE_PLAIN, "age %s", age_text(document_number(object, "age_s"), age));
        if (document_bool(object, "saved")) {
                layout_item(layout, STYLE_PLAIN, "saved");
        }
        /* An id is as long as a host's name, and says less. */
        if (id != NULL && layout_room(layout) >= layout_width(layout, id) + 5) {
                layout_item(layout, STYLE_DIM, "id %s", id);
        }
        json_array_foreach(json_object_get(object, "handlers"), i, item) {
                if (!is_done(item)) {
                        handler(layout, document, item);
                }
        }
}

static void messages(Layout *layout, const json_t *document) {
        const json_t *list = json_object_get(document, "messages");
        size_t i;
        json_t *object;
        if (json_array_size(list) == 0) {
                return;
        }
        title(layout, "Oldest messages");
        title_of(layout, json_array_size(list), document_int(document, "messages_total"));
        json_array_foreach(list, i, object) {
                status_text_message(layout, document, object);
        }
}

/* --- holds, what was rejected, totals ------------------------------------------------------- */

static void holds(Layout *layout, const json_t *document) {
        const json_t *list = json_object_get(document, "holds");
        size_t i;
        json_t *hold;
        bool fuse = false;
        if (json_array_size(list) == 0) {
                return;
        }
        title(layout, "Holds");
        title_of(layout, json_array_size(list), document_int(document, "holds_total"));
        json_array_foreach(list, i, hold) {
                char at[CELL];
                const char *why = document_text(hold, "why");
                fuse = fuse || document_bool(hold, "fuse");
                layout_line(layout, INDENT, DEEPER);
                layout_item(layout, document_bool(hold, "fuse") ? STYLE_ERROR : STYLE_STRONG, "%s",
                            word(hold, "pattern"));
                layout_item(layout, STYLE_PLAIN, "by %s", word(hold, "who"));
                layout_item(layout, STYLE_PLAIN, "since %s", moment(hold, "since", at));
                layout_item(layout, STYLE_PLAIN, "until %s",
                            document_has(hold, "until") ? moment(hold, "until", at)
                                                        : "it is lifted");
                if (why != NULL) {
                        layout_line(layout, DEEPER, DEEPER);
                        layout_words(layout, STYLE_PLAIN, why);
                }
        }
        layout_line(layout, INDENT, DEEPER);
        layout_words(layout, STYLE_DIM,
                     fuse ? "lift one: ackd unhold 'GLOB'; the fuse's: ackd unhold --fuse"
                          : "lift one: ackd unhold 'GLOB'");
}

static void rejected(Layout *layout, const json_t *document) {
        const json_t *object = json_object_get(document, "rejected");
        const char *error = document_text(object, "outbox_error");
        if (!json_is_object(object)) {
                return;
        }
        const char *more = document_bool(object, "capped") ? "at least " : "";
        bool none = document_int(object, "open") == 0 && document_int(object, "unknown") == 0 &&
                    document_int(object, "outbox_pending") == 0 && error == NULL;
        section(layout, "Rejected");
        if (none) {
                layout_item(layout, STYLE_PLAIN, "nothing that is open");
                return;
        }
        layout_item(layout, STYLE_PLAIN, "open %s%lld", more, document_int(object, "open"));
        layout_item(layout, STYLE_PLAIN, "whether restarted is unknown %s%lld", more,
                    document_int(object, "unknown"));
        layout_item(layout, STYLE_PLAIN, "to be sent to the dead-letter topic %s%lld", more,
                    document_int(object, "outbox_pending"));
        if (error != NULL) {
                layout_line(layout, INDENT, DEEPER);
                layout_words(layout, STYLE_WARNING, "not sent:");
                layout_words(layout, STYLE_PLAIN, error);
        }
}

static void slow(Layout *layout, const json_t *document) {
        const json_t *loop = json_object_get(document, "loop");
        char longest[AGE_TEXT], last[AGE_TEXT];
        size_t i;
        json_t *object;
        json_array_foreach(json_object_get(loop, "slow"), i, object) {
                layout_line(layout, INDENT, DEEPER);
                layout_item(layout, STYLE_WARNING, "slow callback %s", word(object, "callback"));
                layout_item(layout, STYLE_PLAIN, "%lld times", document_int(object, "count"));
                layout_item(layout, STYLE_PLAIN, "longest %s",
                            age_text(document_number(object, "longest_s"), longest));
                layout_item(layout, STYLE_PLAIN, "the last %s ago",
                            age_text(document_number(object, "last_s"), last));
        }
}

static void totals(Layout *layout, const json_t *document) {
        const json_t *object = json_object_get(document, "totals");
        const json_t *log = json_object_get(document, "log");
        section(layout, "Since the start");
        if (!counts(layout, NULL, object)) {
                layout_item(layout, STYLE_PLAIN, "nothing was received");
        }
        counts(layout, "restarts", json_object_get(object, "restarts"));
        counts(layout, "suppressed", json_object_get(object, "suppressed"));
        slow(layout, document);
        layout_line(layout, INDENT, DEEPER);
        if (document_text(log, "level") != NULL) {
                layout_item(layout, STYLE_DIM, "log.level %s", document_text(log, "level"));
        }
        if (document_int(log, "dropped") > 0) {
                layout_item(layout, STYLE_WARNING, "%lld log lines were dropped",
                            document_int(log, "dropped"));
        }
        if (document_bool(json_object_get(document, "debug"), "checks")) {
                layout_item(layout, STYLE_WARNING, "debug.checks on");
        }
        if (document_text(document, "config_file") != NULL) {
                layout_item(layout, STYLE_DIM, "%s", document_text(document, "config_file"));
        }
}

int status_text(Buffer *out, const json_t *document, int columns, bool colour) {
        Layout layout;
        layout_begin(&layout, out, columns, colour);
        head(&layout, document);
        peers(&layout, document);
        troubles(&layout, document);
        limits(&layout, document);
        connections(&layout, document);
        work(&layout, document);
        partitions(&layout, document);
        messages(&layout, document);
        holds(&layout, document);
        layout_blank(&layout);
        rejected(&layout, document);
        totals(&layout, document);
        return layout_end(&layout);
}
