/*
 * What comes next. The tables say what happened last, the daemon what it waits for; the first rule
 * that fits is told.
 */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "app/dead_letter_place.h"
#include "app/document.h"
#include "app/hold_words.h"
#include "app/story_text.h"
#include "util/shell.h"

typedef struct Next {
        const json_t *document;
        const json_t *about;   /* an event of the message that this is about; NULL: none is known */
        const json_t *restart; /* its last row in the ledger */
        const json_t *rejected;           /* its row in `rejected` ... */
        const json_t *replayed, *dropped; /* ... and what became of that */
        const json_t *handler; /* its restart in the daemon's hands; NULL: it is in nobody's */
        const json_t *hold;    /* that stops its host */
        const json_t *host;    /* its row in `hosts` */
        Buffer text, command;
        int error;
} Next;

static void say(Next *next, const char *format, ...) __attribute__((format(printf, 2, 3)));
static void say(Next *next, const char *format, ...) {
        va_list ap;
        va_start(ap, format);
        int r = next->error == 0 ? buffer_vprintf(&next->text, format, ap) : 0;
        va_end(ap);
        next->error = r < 0 ? r : next->error;
}

static const char *word(const json_t *object, const char *key) {
        const char *text = document_text(object, key);
        return text != NULL ? text : "?";
}

int story_place(Buffer *out, const json_t *object) {
        return buffer_printf(out, "%s/%lld/%lld", word(object, "topic"),
                             document_int(object, "partition"), document_int(object, "offset"));
}

/* "ackd COMMAND", with the configuration when it is not the usual one. */
static void advise(Next *next, const char *command) {
        const char *file = document_text(next->document, "config_file");
        next->error = next->error != 0 ? next->error
                                       : dead_letter_command_append(&next->command, command, file);
}

static void advise_word(Next *next, const char *word_) {
        int r = next->error;
        r = r != 0 ? r : buffer_append_char(&next->command, ' ');
        next->error = r != 0 ? r : shell_append(&next->command, word_);
}

static void advise_text(Next *next, const char *text) {
        next->error = next->error != 0 ? next->error : buffer_append_string(&next->command, text);
}

/* Its topic was made again: the place may name a message of the new topic too. */
static bool is_retired(const json_t *place) {
        return document_has(place, "retired_at");
}

static void advise_place(Next *next, const char *command, const json_t *place) {
        CLEANUP(buffer_deinit) Buffer text = BUFFER_INIT;
        bool row = is_retired(place) && strncmp(command, "dead-letter", 11) == 0;
        advise(next, command);
        int r = row ? buffer_printf(&text, "%lld/%lld", document_int(place, "source"),
                                    document_int(place, "offset"))
                    : story_place(&text, place);
        if (r != 0 || buffer_string(&text) == NULL) {
                next->error = error_origin(-ENOMEM);
                return;
        }
        advise_word(next, (const char *)text.data);
}

/* It is kept with somebody's name, so somebody has to say it. */
static void advise_why(Next *next) {
        advise_text(next, " --why '...'");
}

static void advise_again(Next *next, const json_t *rejected) {
        if (!is_retired(rejected)) {
                advise_place(next, "dead-letter replay", rejected);
                advise_why(next);
                return;
        }
        say(next,
            " Its topic was made again since, so it cannot be replayed: produce it as a new "
            "message, "
            "of which every handler runs, and then ackd dead-letter drop %lld/%lld.",
            document_int(rejected, "source"), document_int(rejected, "offset"));
        if (next->error == 0) {
                next->error =
                        dead_letter_produce_append(&next->command,
                                                   document_text(next->document, "config_file"),
                                                   word(rejected, "topic"),
                                                   document_int(rejected, "source"),
                                                   document_int(rejected, "offset"));
        }
}

/* --- what is known ------------------------------------------------------------------------ */

static bool is_what(const json_t *event, const char *what) {
        return strcmp(word(event, "what"), what) == 0;
}

static bool is_same(const json_t *one, const json_t *other) {
        return document_int(one, "source") == document_int(other, "source") &&
               document_int(one, "offset") == document_int(other, "offset");
}

/* The newest event of a message; of one whose partition is not over, when there is such a one. */
static const json_t *newest(const json_t *events) {
        const json_t *found = NULL;
        size_t i;
        json_t *event;
        json_array_foreach(events, i, event) {
                bool over = document_has(event, "retired_at");
                if (document_has(event, "source") &&
                    (found == NULL || !over || document_has(found, "retired_at"))) {
                        found = event;
                }
        }
        return found;
}

static const json_t *restart_in_hand(const json_t *document, const json_t *about) {
        size_t i, h;
        json_t *message, *handler;
        json_array_foreach(json_object_get(json_object_get(document, "daemon"), "messages"), i,
                           message) {
                if (about != NULL &&
                    (document_int(message, "offset") != document_int(about, "offset") ||
                     document_int(message, "partition") != document_int(about, "partition") ||
                     strcmp(word(message, "topic"), word(about, "topic")) != 0)) {
                        continue;
                }
                json_array_foreach(json_object_get(message, "handlers"), h, handler) {
                        if (strcmp(word(handler, "handler"), "restart-host") == 0) {
                                return handler;
                        }
                }
        }
        return NULL;
}

static void find(Next *next) {
        const json_t *events = json_object_get(next->document, "events");
        size_t i;
        json_t *event;
        next->about = newest(events);
        json_array_foreach(events, i, event) {
                if (next->about == NULL || !document_has(event, "source") ||
                    !is_same(event, next->about)) {
                        continue;
                }
                if (is_what(event, "restart") &&
                    (next->restart == NULL ||
                     document_int(event, "attempt") >= document_int(next->restart, "attempt"))) {
                        next->restart = event;
                } else if (is_what(event, "rejected")) {
                        next->rejected = event;
                } else if (is_what(event, "replayed")) {
                        next->replayed = event;
                } else if (is_what(event, "dropped")) {
                        next->dropped = event;
                }
        }
        next->handler = restart_in_hand(next->document, next->about);
        next->hold = json_array_get(json_object_get(next->document, "holds"), 0);
        next->host = json_array_get(json_object_get(next->document, "hosts"), 0);
}

static bool is_state(const json_t *restart, const char *state) {
        return restart != NULL && strcmp(word(restart, "state"), state) == 0;
}

/* --- the rules ---------------------------------------------------------------------------- */

/* 1. A person has decided about it, or has to. */
static bool next_rejected(Next *next) {
        const json_t *rejected = next->rejected;
        if (next->dropped != NULL) {
                say(next, "It was dropped by %s: nothing more happens.",
                    word(next->dropped, "who"));
                return true;
        }
        if (next->replayed != NULL) {
                const json_t *as = json_object_get(next->replayed, "as");
                say(next, "It was replayed by %s: ", word(next->replayed, "who"));
                if (json_is_object(as)) {
                        say(next, "the message below stands for it now.");
                        advise_place(next, "status", as);
                } else {
                        say(next,
                            "the daemon that reads the new message does what is not done yet.");
                }
                return true;
        }
        if (rejected == NULL) {
                return false;
        }
        if (!document_has(rejected, "handler")) {
                say(next,
                    "The message cannot be handled (%s): when its producer is mended and has "
                    "asked again, drop it.",
                    word(rejected, "reason"));
                advise_place(next, "dead-letter drop", rejected);
                advise_why(next);
                return true;
        }
        if (strcmp(word(rejected, "reason"), "unknown") == 0) {
                say(next,
                    "Nobody knows whether the host was restarted: look at it. When it was not, "
                    "%s the message; when it was, ackd dead-letter drop.",
                    is_retired(rejected) ? "send" : "replay");
        } else {
                say(next, "Nothing more happens by itself: mend the cause (%s), then %s it.",
                    word(rejected, "reason"), is_retired(rejected) ? "send" : "replay");
        }
        advise_again(next, rejected);
        return true;
}

/* 2. It is over. What a new request for the host would meet is told by next_host(). */
static bool next_over(Next *next) {
        if (is_state(next->restart, "done")) {
                say(next, "It is over: the host was restarted.");
        } else if (is_state(next->restart, "suppressed")) {
                say(next, "It is over: there was nothing to do (%s).",
                    word(next->restart, "reason"));
        } else if (next->about != NULL && !document_bool(next->document, "restarts")) {
                say(next, "It is saved, and nothing else is to be done: restart-host is not "
                          "configured.");
        } else {
                return false;
        }
        return true;
}

/* 3. Its restart is under way, or its end is not known. */
static bool next_under_way(Next *next) {
        const json_t *restart = next->restart;
        if (!is_state(restart, "intended") && !is_state(restart, "acted")) {
                return false;
        }
        if (document_bool(restart, "held")) {
                say(next, "Its restart is under way at %s, until %s at the latest.",
                    word(restart, "instance"), word(restart, "held_until"));
        } else if (is_retired(restart)) {
                return false;
        } else {
                say(next,
                    "Its time was over at %s and nobody told its end: the daemon that has its "
                    "partition makes it unknown; then verify finds out, or on_unknown "
                    "decides.",
                    word(restart, "held_until"));
        }
        return true;
}

static void advise_new_request(Next *next) {
        const char *host = document_text(next->about, "host");
        if (host != NULL) {
                advise(next, "produce");
                advise_text(next, " --topic");
                advise_word(next, word(next->about, "topic"));
                advise_word(next, host);
        }
}

/* 4. No daemon receives it again: its topic was made again. */
static bool next_retired(Next *next) {
        if (next->about == NULL || !is_retired(next->about)) {
                return false;
        }
        say(next,
            "Its topic was made again at %s, so nobody handles it any more%s. When its host still "
            "needs a restart, ask for it again.",
            word(next->about, "retired_at"),
            is_state(next->restart, "intended") || is_state(next->restart, "acted") ||
                            is_state(next->restart, "unknown")
                    ? ", and nobody knows how its restart ended: look at the host"
                    : "");
        advise_new_request(next);
        return true;
}

static void advise_unhold(Next *next) {
        advise(next, "unhold");
        int r = next->error != 0 ? next->error
                                 : hold_words(&next->command, word(next->hold, "pattern"),
                                              document_bool(next->hold, "fuse"));
        next->error = r;
}

/* 5. A hold stops it. */
static bool next_hold(Next *next) {
        if (next->hold == NULL) {
                return false;
        }
        const char *pattern = word(next->hold, "pattern");
        const char *until = document_text(next->hold, "until");
        if (document_bool(next->hold, "fuse")) {
                say(next, "No restart starts: the fuse blew. When the cause is known, lift it.");
        } else {
                say(next, "No restart of it starts while %s is held by %s (%s)%s%s.", pattern,
                    word(next->hold, "who"), word(next->hold, "why"),
                    until != NULL ? ", until " : "", until != NULL ? until : "");
        }
        advise_unhold(next);
        return true;
}

/* What a restart waits for, by the daemon's words. */
static const struct {
        const char *waits_for;
        const char *text;
} waits[] = {
        {"window", "It waits for the next of handlers.restart-host.windows."},
        {"slot",
         "It waits until one of handlers.restart-host.concurrency restarts here has ended."},
        {"host", "It waits until another restart of its host, here, has ended."},
        {"retry", "It failed, and is tried again by itself."},
        {"postgres", "It waits for PostgreSQL: without the ledger no host is restarted."},
        {"precheck", "It waits for precheck, which says that it may not start yet."},
        {"running", "It waits until another instance has restarted the host."},
        {"cooldown", "It waits for the cool-down of its host."},
        {"group", "It waits until one of its group's restarts has ended "
                  "(handlers.restart-host.groups)."},
        {"quiet_time", "It waits for the quiet time of its group (handlers.restart-host.groups)."},
        {"fleet", "It waits until one of handlers.restart-host.fleet_concurrency restarts has "
                  "ended."},
};

/* 6. The daemon has it in hand. */
static bool next_in_hand(Next *next) {
        const char *waits_for = document_text(next->handler, "waits_for");
        if (next->handler == NULL) {
                return false;
        }
        for (size_t i = 0; waits_for != NULL && i < sizeof(waits) / sizeof(waits[0]); i++) {
                if (strcmp(waits[i].waits_for, waits_for) == 0) {
                        say(next, "%s", waits[i].text);
                        return true;
                }
        }
        if (waits_for != NULL) {
                say(next, "It waits for %s.", waits_for);
        } else {
                say(next, "The daemon has it in hand: its restart is %s.",
                    word(next->handler, "state"));
        }
        return true;
}

/* 7. An operator moved its partition on since anything happened to it. */
static bool next_skipped(Next *next) {
        if (next->about == NULL || !document_has(next->about, "decided_at")) {
                return false;
        }
        say(next, "%s decided at %s where its partition goes on (%s). ",
            word(next->about, "decided_by"), word(next->about, "decided_at"),
            word(next->about, "decided_why"));
        say(next,
            "%s, nobody handles it any more: look at the host, and when it still needs a "
            "restart, ask for it again.",
            document_has(next->about, "decided_from") ? "As that is behind it"
                                                      : "If that is behind it");
        advise_new_request(next);
        return true;
}

/* 8. It comes again, from the daemon that has its partition. */
static bool next_again(Next *next) {
        const char *until = document_text(next->host, "cooldown_until");
        if (next->restart != NULL && is_state(next->restart, "unknown")) {
                say(next,
                    "Nobody knows how its restart ended: the daemon that has its partition asks "
                    "verify, or on_unknown decides.");
        } else if (next->restart != NULL) {
                say(next, "It is tried again by the daemon that has its partition%s%s.",
                    until != NULL ? ", not before the cool-down ends at " : "",
                    until != NULL ? until : "");
        } else if (next->about != NULL) {
                say(next,
                    "Its restart was not asked for yet. The daemon that has its partition knows "
                    "what it waits for; it is told here when it runs on this machine.");
                advise(next, "status");
        } else {
                return false;
        }
        return true;
}

/* 9. Nothing is known of it. */
static void next_unknown(Next *next) {
        const json_t *of = json_object_get(next->document, "of");
        const json_t *sources = json_object_get(next->document, "sources");
        const json_t *source = NULL;
        bool searched = document_bool(next->document, "messages_searched");
        if (document_has(of, "host")) {
                say(next,
                    "Nothing is known of this host: nothing in the ledger and in rejected, and no "
                    "message that was saved in the last day%s.",
                    searched ? "" : " (as far as messages could be searched in its time)");
                return;
        }
        size_t i;
        json_t *each;
        json_array_foreach(sources, i, each) {
                source = source == NULL || !document_has(each, "retired_at") ? each : source;
        }
        if (source == NULL) {
                say(next,
                    "PostgreSQL knows no partition %lld of topic %s for group %s: no daemon was "
                    "ever assigned it.",
                    document_int(of, "partition"), word(of, "topic"),
                    word(next->document, "group"));
        } else if (document_int(of, "offset") >= document_int(source, "next_offset")) {
                say(next,
                    "It is not saved yet: only what is below offset %lld is. The daemon reads it "
                    "when it comes to it, if the log has it.",
                    document_int(source, "next_offset"));
        } else {
                say(next, "It was passed: everything below offset %lld is saved. %s",
                    document_int(source, "next_offset"),
                    searched ? "It left no row: a tombstone, a gap in the log, a message from "
                               "when save was not configured, or its row was deleted."
                             : "Its row was not found in the time that messages was searched.");
        }
}

/* What a new request for the host meets, behind what became of the last one. */
static void next_host(Next *next) {
        const json_t *open = json_object_get(next->host, "open");
        const char *until = document_text(next->host, "cooldown_until");
        if (document_bool(open, "held")) {
                say(next, " A restart of the host is under way at %s, until %s at the latest.",
                    word(open, "instance"), word(open, "held_until"));
        } else if (next->hold != NULL) {
                say(next, " A new request waits while %s is held by %s (%s).",
                    word(next->hold, "pattern"), word(next->hold, "who"), word(next->hold, "why"));
                advise_unhold(next);
        } else if (until != NULL && document_bool(next->host, "last_is_done")) {
                say(next, " A new request is suppressed by the cool-down until %s.", until);
        } else if (until != NULL) {
                say(next, " A new request waits for the cool-down until %s.", until);
        }
}

/* Of a host's other messages those that a person has to decide about. */
static void next_others(Next *next) {
        int n = 0;
        size_t i;
        json_t *event;
        json_array_foreach(json_object_get(next->document, "events"), i, event) {
                n += is_what(event, "rejected") && document_bool(event, "open") &&
                     event != next->rejected;
        }
        if (n > 0 && document_has(json_object_get(next->document, "of"), "host")) {
                say(next, " %d other message%s of this host %s rejected and open.", n,
                    n == 1 ? "" : "s", n == 1 ? "is" : "are");
        }
}

static void decide(Next *next) {
        if (document_has(next->document, "postgres_error")) {
                if (!next_in_hand(next)) {
                        say(next, "PostgreSQL could not be asked, and nothing else knows.");
                }
        } else if (next_rejected(next)) {
                return;
        } else if (next_over(next)) {
                next_host(next);
        } else if (next->about == NULL && next->handler == NULL) {
                next_unknown(next);
                next_host(next);
        } else if (!next_under_way(next) && !next_retired(next) && !next_hold(next) &&
                   !next_in_hand(next) && !next_skipped(next)) {
                next_again(next);
        }
}

int story_next(json_t *document) {
        Next next = {.document = document};
        find(&next);
        decide(&next);
        next_others(&next);
        const char *text = buffer_string(&next.text), *command = buffer_string(&next.command);
        int r = next.error;
        if (r == 0 && (text == NULL || command == NULL ||
                       json_object_set_new(document, "next",
                                           json_pack("{s:s,s:s?}", "text", text, "command",
                                                     *command != '\0' ? command : NULL)) != 0)) {
                r = error_origin(-ENOMEM);
        }
        buffer_deinit(&next.text);
        buffer_deinit(&next.command);
        return r;
}
