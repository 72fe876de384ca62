#include "app/story_text.h"

#include <stdio.h>
#include <string.h>

#include "app/document.h"
#include "app/layout.h"
#include "app/status_text.h"
#include "pg/story.h"

enum {
        INDENT = 2,
        DEEPER = 4,
};

static const char *word(const json_t *object, const char *key) {
        const char *text = document_text(object, key);
        return text != NULL ? text : "?";
}

static bool is_word(const json_t *object, const char *key, const char *what) {
        return strcmp(word(object, key), what) == 0;
}

static void place(Layout *layout, Style style, const json_t *object) {
        layout_item(layout, style, "%s/%lld/%lld", word(object, "topic"),
                    document_int(object, "partition"), document_int(object, "offset"));
}

/* Words behind a line, in lines of their own: what a person or a command wrote, which can be long.
 */
static void remark(Layout *layout, Style style, const char *name, const char *text) {
        if (text == NULL || text[0] == '\0') {
                return;
        }
        layout_line(layout, DEEPER, DEEPER);
        if (name != NULL) {
                layout_item(layout, STYLE_DIM, "%s:", name);
        }
        layout_words(layout, style, text);
}

/* --- events ------------------------------------------------------------------------------- */

static void received(Layout *layout, const json_t *event) {
        layout_item(layout, STYLE_PLAIN, "received");
        if (document_bool(event, "saved")) {
                layout_item(layout, STYLE_PLAIN, "saved");
        } else {
                layout_item(layout, STYLE_WARNING, "not saved");
        }
        if (document_has(event, "replay_of")) {
                layout_item(layout, STYLE_PLAIN, "a replay of");
                place(layout, STYLE_PLAIN, json_object_get(event, "replay_of"));
        }
        if (document_has(event, "id")) {
                layout_item(layout, STYLE_PLAIN, "id %s", word(event, "id"));
        }
        if (document_has(event, "requested_at")) {
                layout_item(layout, STYLE_DIM, "requested at %s", word(event, "requested_at"));
        }
}

/* Why nothing was to be done. */
static const struct {
        const char *reason;
        const char *text;
} suppressions[] = {
        {"duplicate", "the same request (its id) was done before"},
        {"superseded", "a restart that is done was after it had been requested"},
        {"stale", "older than handlers.restart-host.max_age"},
        {"cooldown", "a restart that is done was less than the cool-down ago"},
        {"not_selected", "handlers.restart-host.when does not want it"},
        {"not_needed", "precheck says that there is no need"},
        {"handled", "an earlier owner of the partition had handled it"},
};

static void suppressed(Layout *layout, const json_t *event) {
        layout_item(layout, STYLE_PLAIN, "restart suppressed: %s", word(event, "reason"));
        layout_item(layout, STYLE_DIM, "by %s", word(event, "instance"));
        for (size_t i = 0; i < sizeof(suppressions) / sizeof(suppressions[0]); i++) {
                if (is_word(event, "reason", suppressions[i].reason)) {
                        remark(layout, STYLE_DIM, NULL, suppressions[i].text);
                }
        }
}

static Style restart_style(const json_t *event) {
        return is_word(event, "state", "done") ? STYLE_GOOD
               : is_word(event, "state", "intended") || is_word(event, "state", "acted")
                       ? STYLE_STRONG
               : is_word(event, "state", "unknown") ? STYLE_ERROR
                                                    : STYLE_WARNING;
}

static void restart_facts(Layout *layout, const json_t *event) {
        char age[AGE_TEXT];
        bool open = is_word(event, "state", "intended") || is_word(event, "state", "acted");
        if (document_has(event, "exit_status")) {
                layout_item(layout, STYLE_PLAIN, "%s %lld",
                            is_word(event, "action", "http") ? "HTTP status" : "exit status",
                            document_int(event, "exit_status"));
        }
        if (document_has(event, "took_s")) {
                layout_item(layout, STYLE_PLAIN, "took %s",
                            age_text(document_number(event, "took_s"), age));
        }
        if (document_has(event, "acted_at")) {
                layout_item(layout, STYLE_PLAIN, "acted at %s", word(event, "acted_at"));
        }
        if (document_has(event, "ended_at")) {
                layout_item(layout, STYLE_DIM, "ended at %s", word(event, "ended_at"));
        }
        if (open || (is_word(event, "state", "unknown") && !document_has(event, "ended_at"))) {
                bool held = document_bool(event, "held");
                layout_item(layout, held ? STYLE_PLAIN : STYLE_WARNING, "%s %s",
                            held ? "held until" : "was held until", word(event, "held_until"));
        }
}

static void restart(Layout *layout, const json_t *event) {
        const json_t *shared = json_object_get(event, "shared_with");
        const char *reason = document_text(event, "reason");
        if (is_word(event, "state", "suppressed")) {
                suppressed(layout, event);
                return;
        }
        layout_item(layout, restart_style(event), "restart %s%s%s%s", word(event, "state"),
                    reason != NULL ? " (" : "", reason != NULL ? reason : "",
                    reason != NULL ? ")" : "");
        layout_item(layout, STYLE_PLAIN, "attempt %lld", document_int(event, "attempt"));
        layout_item(layout, STYLE_PLAIN, "%s by %s", word(event, "action"),
                    word(event, "instance"));
        layout_line(layout, DEEPER, DEEPER);
        if (json_is_object(shared)) {
                layout_item(layout, STYLE_PLAIN, "it shared the restart of");
                place(layout, STYLE_PLAIN, shared);
        }
        restart_facts(layout, event);
        if (document_int(event, "shared_by") > 0) {
                layout_item(layout, STYLE_PLAIN, "shared by %lld more",
                            document_int(event, "shared_by"));
        }
        remark(layout, STYLE_PLAIN, "before", document_text(event, "before"));
        remark(layout, STYLE_PLAIN, "output", document_text(event, "output"));
}

static void rejected(Layout *layout, const json_t *event) {
        const json_t *done = json_object_get(event, "handlers_done");
        const char *handler = document_text(event, "handler");
        size_t i;
        json_t *name;
        layout_item(layout, STYLE_ERROR, "rejected: %s", word(event, "reason"));
        layout_item(layout, STYLE_PLAIN, "%s%s", handler != NULL ? "by " : "the message itself",
                    handler != NULL ? handler : "");
        if (document_int(event, "attempts") > 0) {
                layout_item(layout, STYLE_PLAIN, "%lld attempt%s", document_int(event, "attempts"),
                            document_int(event, "attempts") == 1 ? "" : "s");
        }
        json_array_foreach(done, i, name) {
                layout_item(layout, STYLE_PLAIN, "%s%s", i == 0 ? "done: " : "",
                            json_string_value(name) != NULL ? json_string_value(name) : "?");
        }
        remark(layout, STYLE_PLAIN, NULL, document_text(event, "detail"));
        if (is_word(event, "outbox", "pending")) {
                layout_line(layout, DEEPER, DEEPER);
                layout_item(layout, STYLE_WARNING, "not sent to the dead-letter topic yet");
                if (document_has(event, "outbox_error")) {
                        layout_words(layout, STYLE_PLAIN, word(event, "outbox_error"));
                }
        }
}

static void decided(Layout *layout, const json_t *event) {
        const json_t *as = json_object_get(event, "as");
        layout_item(layout, STYLE_PLAIN, "%s by %s", word(event, "what"), word(event, "who"));
        if (json_is_object(as)) {
                layout_item(layout, STYLE_PLAIN, "as");
                place(layout, STYLE_PLAIN, as);
        }
        remark(layout, STYLE_PLAIN, NULL, document_text(event, "why"));
}

static void held(Layout *layout, const json_t *event) {
        bool fuse = document_bool(event, "fuse");
        layout_item(layout, fuse ? STYLE_ERROR : STYLE_WARNING, "%s held by %s",
                    word(event, "pattern"), word(event, "who"));
        if (document_has(event, "until")) {
                layout_item(layout, STYLE_PLAIN, "until %s", word(event, "until"));
        }
        remark(layout, STYLE_PLAIN, NULL, document_text(event, "why"));
}

static void lifted(Layout *layout, const json_t *event) {
        const char *who = document_text(event, "who");
        layout_item(layout, STYLE_PLAIN, "the hold on %s %s%s", word(event, "pattern"),
                    who != NULL ? "was lifted by " : "ended", who != NULL ? who : "");
}

static void event_line(Layout *layout, const json_t *of, const json_t *event) {
        static const struct {
                const char *what;
                void (*tell)(Layout *layout, const json_t *event);
        } tellers[] = {{"received", received}, {"restart", restart}, {"rejected", rejected},
                       {"replayed", decided},  {"dropped", decided}, {"held", held},
                       {"lifted", lifted}};
        layout_line(layout, 0, DEEPER);
        layout_item(layout, STYLE_DIM, "%s", word(event, "at"));
        /* The message is named where there can be several. */
        if (document_has(event, "source") && document_has(of, "host")) {
                place(layout, STYLE_STRONG, event);
        }
        if (document_has(event, "retired_at")) {
                layout_item(layout, STYLE_WARNING, "(topic made again since)");
        }
        for (size_t i = 0; i < sizeof(tellers) / sizeof(tellers[0]); i++) {
                if (is_word(event, "what", tellers[i].what)) {
                        tellers[i].tell(layout, event);
                        return;
                }
        }
        layout_item(layout, STYLE_PLAIN, "%s",
                    is_word(event, "what", "dead_lettered") ? "sent to the dead-letter topic"
                                                            : word(event, "what"));
}

static void events(Layout *layout, const json_t *document) {
        const json_t *of = json_object_get(document, "of");
        const json_t *list = json_object_get(document, "events");
        const json_t *rows = json_object_get(document, "rows");
        size_t i;
        json_t *event;
        static const char *const tables[] = {"restarts", "rejected"};
        for (i = 0; i < 2; i++) {
                long long n = document_int(rows, tables[i]);
                if (n > STORY_ROWS_MAX) {
                        layout_line(layout, 0, INDENT);
                        layout_item(layout, STYLE_WARNING,
                                    "the newest %d of %lld rows of %s:", STORY_ROWS_MAX, n,
                                    tables[i]);
                }
        }
        if (document_has(rows, "restarts") && !document_bool(document, "ledger_searched")) {
                layout_line(layout, 0, INDENT);
                layout_words(layout, STYLE_WARNING,
                             "The ledger could not be searched in the time it has: restarts that "
                             "never began, suppressed and shared ones may be missing.");
        }
        json_array_foreach(list, i, event) {
                event_line(layout, of, event);
        }
}

/* --- now ---------------------------------------------------------------------------------- */

static void host(Layout *layout, const json_t *object) {
        const json_t *open = json_object_get(object, "open");
        const char *cooldown = document_text(object, "cooldown_until");
        layout_line(layout, 0, DEEPER);
        layout_item(layout, STYLE_STRONG, "%s", word(object, "host"));
        if (document_has(object, "done_start_at")) {
                layout_item(layout, STYLE_PLAIN, "last restarted at %s",
                            word(object, "done_start_at"));
        } else {
                layout_item(layout, STYLE_PLAIN, "no restart of it was done");
        }
        if (cooldown != NULL) {
                layout_item(layout, STYLE_PLAIN, "cool-down until %s", cooldown);
        }
        if (json_is_object(open)) {
                bool still = document_bool(open, "held");
                layout_item(layout, still ? STYLE_STRONG : STYLE_WARNING,
                            "open: %s by %s since %s,", word(open, "state"), word(open, "instance"),
                            word(open, "intended_at"));
                layout_item(layout, still ? STYLE_PLAIN : STYLE_WARNING, "%s %s, for",
                            still ? "held until" : "was held until", word(open, "held_until"));
                place(layout, STYLE_PLAIN, open);
        }
}

static void daemon_part(Layout *layout, const json_t *document) {
        const json_t *daemon = json_object_get(document, "daemon");
        const json_t *list = json_object_get(daemon, "messages");
        const char *error = document_text(daemon, "error");
        size_t i;
        json_t *message;
        layout_line(layout, 0, INDENT);
        if (error != NULL) {
                layout_words(layout, STYLE_WARNING, "What a daemon has in hand is not known:");
                layout_words(layout, STYLE_PLAIN, error);
                return;
        }
        bool any = json_array_size(list) > 0, complete = document_bool(daemon, "complete");
        layout_words(layout, STYLE_PLAIN,
                     complete ? "The daemon"
                              : "Among the oldest messages, of which alone it tells,"
                                " the daemon");
        layout_words(layout, STYLE_STRONG, word(daemon, "instance"));
        layout_words(layout, STYLE_PLAIN, any ? "has this in hand:" : "has nothing of it in hand.");
        json_array_foreach(list, i, message) {
                status_text_message(layout, daemon, message);
        }
}

static void now(Layout *layout, const json_t *document) {
        size_t i;
        json_t *object;
        if (document_has(document, "postgres_error")) {
                layout_line(layout, 0, INDENT);
                layout_words(layout, STYLE_ERROR, "PostgreSQL could not be asked:");
                layout_words(layout, STYLE_PLAIN, word(document, "postgres_error"));
        }
        if (document_bool(document, "read_only")) {
                layout_line(layout, 0, INDENT);
                layout_words(layout, STYLE_WARNING,
                             "The server that was asked takes no writes: what "
                             "it says may be old.");
        }
        json_array_foreach(json_object_get(document, "hosts"), i, object) {
                host(layout, object);
        }
        daemon_part(layout, document);
}

int story_text(Buffer *out, const json_t *document, int columns, bool colour) {
        const json_t *of = json_object_get(document, "of");
        const json_t *next = json_object_get(document, "next");
        const char *command = document_text(next, "command");
        Layout layout;
        layout_begin(&layout, out, columns, colour);
        layout_line(&layout, 0, INDENT);
        if (document_has(of, "host")) {
                layout_item(&layout, STYLE_STRONG, "host %s", word(of, "host"));
        } else {
                layout_item(&layout, STYLE_STRONG, "message");
                place(&layout, STYLE_STRONG, of);
                layout_item(&layout, STYLE_PLAIN, "group %s", word(document, "group"));
        }
        if (json_array_size(json_object_get(document, "events")) > 0) {
                layout_blank(&layout);
                events(&layout, document);
        }
        layout_blank(&layout);
        now(&layout, document);
        layout_blank(&layout);
        layout_line(&layout, 0, INDENT);
        layout_words(&layout, STYLE_STRONG, word(next, "text"));
        if (command != NULL) {
                layout_verbatim(&layout, STYLE_STRONG, DEEPER, command);
        }
        return layout_end(&layout);
}
