/*
 * The story of `ackd status HOST`: golden texts as in test-status-text.c (tests/unit/story), and
 * what comes next, rule by rule.
 */

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "app/layout.h"
#include "app/story_text.h"
#include "test.h"

static json_t *document_of(const char *name) {
        char path[512];
        json_error_t error;
        snprintf(path, sizeof(path), "%s/%s.json", getenv("STORY_DOCUMENTS"), name);
        json_t *document = json_load_file(path, 0, &error);
        if (document == NULL) {
                fail_msg("%s:%d: %s", path, error.line, error.text);
        }
        assert_int_equal(story_next(document), 0);
        return document;
}

static char *text_of(const json_t *document, int columns) {
        Buffer out = BUFFER_INIT;
        assert_int_equal(story_text(&out, document, columns, false), 0);
        assert_non_null(buffer_string(&out));
        return (char *)out.data;
}

static void check_golden(const char *name, int columns) {
        char path[512];
        char expected[32768];
        snprintf(path, sizeof(path), "%s/%s.%d.txt", getenv("STORY_DOCUMENTS"), name, columns);
        json_t *document = document_of(name);
        char *text = text_of(document, columns);
        FILE *file = fopen(path, "r");
        size_t n = file != NULL ? fread(expected, 1, sizeof(expected) - 1, file) : 0;
        if (file != NULL) {
                fclose(file);
        }
        expected[n] = '\0';
        if (strcmp(text, expected) != 0) {
                fail_msg("%s should be:\n%s", path, text);
        }
        free(text);
        json_decref(document);
}

static void test_golden(void **state) {
        (void)state;
        check_golden("host", 80);
        check_golden("host", 40);
        check_golden("past", 80);
}

static void test_every_width_fits(void **state) {
        (void)state;
        json_t *document = document_of("host");
        for (int columns = LAYOUT_NARROWEST; columns < 200; columns++) {
                char *text = text_of(document, columns);
                for (char *line = strtok(text, "\n"); line != NULL; line = strtok(NULL, "\n")) {
                        if (strlen(line) > (size_t)columns) {
                                fail_msg("%d columns: %s", columns, line);
                        }
                }
                free(text);
        }
        json_decref(document);
}

#define MESSAGE "'of':{'topic':'t','partition':0,'offset':7},'group':'g','restarts':true,"
#define HOST    "'of':{'host':'h'},'group':'g','restarts':true,"
#define PLACE   "'source':3,'topic':'t','partition':0,'offset':7,"
#define SAVED   "{" PLACE "'what':'received','saved':true}"
#define HELD    "'holds':[{'pattern':\"it's*\",'who':'jo','why':'move','until':null,'fuse':false}],"
#define IN_HAND(handler)                                                                           \
        "'daemon':{'messages':[{'topic':'t','partition':0,'offset':7,'handlers':["                 \
        "{'handler':'save','state':'done'},{'handler':'restart-host'," handler "}]}]}"

/* Quotes are written as '. */
typedef struct Case {
        const char *document;
        const char *text;    /* a part */
        const char *command; /* NULL: none */
} Case;

static const Case cases[] = {
        /* Nothing. */
        {"{" HOST "'messages_searched':true}", "and no message that was saved in the last day.",
         NULL},
        {"{" HOST "'messages_searched':false}", "as far as messages could be searched", NULL},
        {"{" MESSAGE "'sources':[]}", "knows no partition 0 of topic t for group g", NULL},
        {"{" MESSAGE "'sources':[{'next_offset':7,'retired_at':null}]}",
         "not saved yet: only what is below offset 7 is", NULL},
        {"{" MESSAGE "'messages_searched':true,'sources':[{'next_offset':8,'retired_at':null}]}",
         "It left no row: a tombstone", NULL},
        {"{" MESSAGE "'messages_searched':false,'sources':[{'next_offset':8,'retired_at':null}]}",
         "not found in the time that messages was searched", NULL},
        /* The partition of today counts, not the one that was made again. */
        {"{" MESSAGE "'sources':[{'next_offset':5,'retired_at':null},{'next_offset':9,"
         "'retired_at':'x'}]}",
         "below offset 5", NULL},
        /* Decided, or to be decided. */
        {"{" MESSAGE "'events':[{" PLACE "'what':'rejected','handler':'restart-host','reason':"
         "'failed','open':true}]}",
         "Nothing more happens by itself: mend the cause (failed), then replay it.",
         "ackd dead-letter replay t/0/7 --why '...'"},
        {"{" MESSAGE "'events':[{" PLACE "'what':'rejected','handler':'restart-host','reason':"
         "'unknown'}]}",
         "Nobody knows whether the host was restarted: look at it.",
         "ackd dead-letter replay t/0/7 --why '...'"},
        /* Its topic was made again: a replay would be refused. */
        {"{" MESSAGE "'config_file':'/a b','events':[{" PLACE "'what':'rejected','retired_at':'x',"
         "'handler':'restart-host','reason':'failed','open':true}]}",
         "(failed), then send it. Its topic was made again since, so it cannot be replayed",
         "ackd dead-letter show -c '/a b' 3/7 --value | tr '\\n' ' ' | "
         "ackd produce -c '/a b' --topic t --file -"},
        {"{" MESSAGE "'events':[{" PLACE "'what':'rejected','retired_at':'x','handler':null,"
         "'reason':'not_json'}]}",
         "cannot be handled (not_json)", "ackd dead-letter drop 3/7 --why '...'"},
        {"{" MESSAGE "'events':[{" PLACE "'what':'rejected','handler':null,'reason':'not_json'}]}",
         "cannot be handled (not_json)", "ackd dead-letter drop t/0/7 --why '...'"},
        {"{" MESSAGE "'events':[{" PLACE "'what':'rejected','handler':'save','reason':'refused'},"
         "{" PLACE "'what':'dropped','who':'jo'}]}",
         "It was dropped by jo: nothing more happens.", NULL},
        {"{" MESSAGE "'events':[{" PLACE "'what':'rejected','handler':'save','reason':'refused'},"
         "{" PLACE "'what':'replayed','who':'jo','as':null}]}",
         "It was replayed by jo: the daemon that reads the new message", NULL},
        {"{" MESSAGE "'events':[{" PLACE "'what':'rejected','handler':'save','reason':'refused'},"
         "{" PLACE "'what':'replayed','who':'jo','as':{'topic':'t','partition':1,'offset':9}}]}",
         "stands for it now", "ackd status t/1/9"},
        /* Over; then what a new request meets. */
        {"{" MESSAGE "'events':[" SAVED ",{" PLACE "'what':'restart','state':'failed','attempt':1},"
         "{" PLACE "'what':'restart','state':'done','attempt':2}]}",
         "It is over: the host was restarted.", NULL},
        {"{" MESSAGE "'events':[{" PLACE "'what':'restart','state':'suppressed','attempt':1,"
         "'reason':'stale'}]}",
         "It is over: there was nothing to do (stale).", NULL},
        {"{" MESSAGE HELD "'events':[{" PLACE "'what':'restart','state':'done','attempt':1}]}",
         "A new request waits while it's* is held by jo (move).", "ackd unhold 'it'\\''s*'"},
        {"{" MESSAGE "'hosts':[{'cooldown_until':'T','last_is_done':true}],"
         "'events':[{" PLACE "'what':'restart','state':'done','attempt':1}]}",
         "A new request is suppressed by the cool-down until T.", NULL},
        {"{" MESSAGE "'hosts':[{'cooldown_until':'T','last_is_done':false}],"
         "'events':[{" PLACE "'what':'restart','state':'done','attempt':1}]}",
         "A new request waits for the cool-down until T.", NULL},
        {"{" MESSAGE "'hosts':[{'open':{'held':true,'instance':'b','held_until':'T'}}],"
         "'events':[{" PLACE "'what':'restart','state':'done','attempt':1}]}",
         "A restart of the host is under way at b, until T at the latest.", NULL},
        {"{'of':{'topic':'t'},'restarts':false,'events':[" SAVED "]}",
         "restart-host is not configured", NULL},
        /* Under way. */
        {"{" MESSAGE HELD "'events':[{" PLACE "'what':'restart','state':'intended','attempt':1,"
         "'held':true,'held_until':'T','instance':'a'}]}",
         "Its restart is under way at a, until T at the latest.", NULL},
        {"{" MESSAGE "'events':[{" PLACE "'what':'restart','state':'acted','attempt':1,"
         "'held':false,'held_until':'T','instance':'a'}]}",
         "Its time was over at T and nobody told its end", NULL},
        /* It waits. */
        {"{" MESSAGE HELD "'events':[" SAVED
         "]," IN_HAND("'state':'waiting','waits_for':'hold'") "}",
         "No restart of it starts while it's* is held by jo (move).", "ackd unhold 'it'\\''s*'"},
        {"{" MESSAGE "'holds':[{'pattern':'*','who':'ackd','why':'w','fuse':true}],'events':[" SAVED
         "]}",
         "the fuse blew", "ackd unhold --fuse"},
        {"{" MESSAGE "'events':[" SAVED "]," IN_HAND("'state':'waiting','waits_for':'window'") "}",
         "It waits for the next of handlers.restart-host.windows.", NULL},
        {"{" MESSAGE "'events':[" SAVED "]," IN_HAND("'state':'waiting','waits_for':'new'") "}",
         "It waits for new.", NULL},
        {"{" MESSAGE IN_HAND("'state':'running','waits_for':null") "}",
         "The daemon has it in hand: its restart is running.", NULL},
        /* It comes again. */
        {"{" MESSAGE "'hosts':[{'cooldown_until':'T'}],'events':[{" PLACE
         "'what':'restart','state':'failed','attempt':1}]}",
         "tried again by the daemon that has its partition, not before the cool-down ends at T.",
         NULL},
        {"{" MESSAGE "'events':[{" PLACE "'what':'restart','state':'unknown','attempt':1}]}",
         "Nobody knows how its restart ended", NULL},
        {"{" MESSAGE "'events':[" SAVED "]}", "Its restart was not asked for yet.", "ackd status"},
        /* It does not, though its end is not known. */
        {"{" MESSAGE HELD "'config_file':'/c','events':[{" PLACE
         "'what':'restart','state':'failed',"
         "'attempt':1,'host':'h','retired_at':'R'}]}",
         "Its topic was made again at R, so nobody handles it any more. When",
         "ackd produce -c /c --topic t h"},
        {"{" MESSAGE "'events':[{" PLACE "'what':'restart','state':'acted','attempt':1,'host':'h',"
         "'held':false,'held_until':'T','retired_at':'R'}]}",
         "nobody knows how its restart ended: look at the host", "ackd produce --topic t h"},
        {"{" MESSAGE "'events':[{" PLACE "'what':'restart','state':'acted','attempt':1,'host':'h',"
         "'held':true,'instance':'a','held_until':'T','retired_at':'R'}]}",
         "under way at a, until T", NULL},
        {"{" MESSAGE "'events':[{" PLACE "'what':'restart','state':'failed','attempt':1,'host':'h',"
         "'decided_at':'D','decided_by':'jo','decided_why':'lost','decided_from':null}]}",
         "jo decided at D where its partition goes on (lost). If that is behind it, nobody",
         "ackd produce --topic t h"},
        {"{" MESSAGE "'events':[{" PLACE "'what':'received','saved':true,'host':'h',"
         "'decided_at':'D','decided_by':'jo','decided_why':'lost','decided_from':9}]}",
         "As that is behind it, nobody handles it any more", "ackd produce --topic t h"},
        {"{" MESSAGE "'events':[{" PLACE "'what':'received','saved':true,'host':'h',"
         "'decided_at':'D'}]," IN_HAND("'state':'waiting','waits_for':'window'") "}",
         "It waits for the next of handlers.restart-host.windows.", NULL},
        /* The newest message of a host, and the others. */
        {"{" HOST "'events':[{'source':3,'offset':6,'topic':'t','partition':0,'what':'rejected',"
         "'open':true,'handler':'restart-host','reason':'failed'},{" PLACE
         "'what':'restart','state':'done','attempt':1}]}",
         "was restarted. 1 other message of this host is rejected and open.", NULL},
        /* Of the same place before the topic was made again: over for good. */
        {"{" MESSAGE "'events':[{" PLACE "'what':'restart','state':'done','attempt':1},"
         "{'source':2,'topic':'t','partition':0,'offset':7,'retired_at':'x','what':'rejected',"
         "'handler':'restart-host','reason':'failed'}]}",
         "It is over: the host was restarted.", NULL},
        /* Another configuration than the usual one. */
        {"{" MESSAGE
         "'config_file':'/tmp/a b.yaml','holds':[{'pattern':'x','fuse':true}],'events':[" SAVED
         "]}",
         "the fuse blew", "ackd unhold -c '/tmp/a b.yaml' --fuse"},
        /* Without PostgreSQL. */
        {"{" MESSAGE "'postgres_error':'away'}", "PostgreSQL could not be asked", NULL},
        {"{" MESSAGE "'postgres_error':'away'," IN_HAND("'waits_for':'postgres'") "}",
         "It waits for PostgreSQL", NULL},
};

static void test_next(void **state) {
        (void)state;
        for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
                char json[2048];
                snprintf(json, sizeof(json), "%s", cases[i].document);
                for (char *c = json; *c != '\0'; c++) {
                        /* The one apostrophe that is meant stands in a string with real quotes. */
                        bool meant = c > json && c[-1] == 't' && c[1] == 's' && c[2] == '*';
                        *c = *c == '\'' && !meant ? '"' : *c;
                }
                json_error_t error;
                json_t *document = json_loads(json, 0, &error);
                if (document == NULL) {
                        fail_msg("%s: %s", json, error.text);
                }
                assert_int_equal(story_next(document), 0);
                json_t *next = json_object_get(document, "next");
                const char *text = json_string_value(json_object_get(next, "text"));
                const char *command = json_string_value(json_object_get(next, "command"));
                bool right = cases[i].command == NULL
                                     ? command == NULL
                                     : command != NULL && strcmp(command, cases[i].command) == 0;
                if (strstr(text, cases[i].text) == NULL || !right) {
                        fail_msg("%s\n  says: %s\n  command: %s\n  not: %s\n  command: %s", json,
                                 text, command, cases[i].text, cases[i].command);
                }
                /* And it is shown, with the command in one piece. */
                char *shown = text_of(document, 40);
                assert_null(strstr(shown, "(null)"));
                assert_true(command == NULL || strstr(shown, command) != NULL);
                free(shown);
                json_decref(document);
        }
}

static void test_what_could_not_be_searched_is_said(void **state) {
        (void)state;
        json_t *document = document_of("host");
        assert_int_equal(json_object_set_new(document, "ledger_searched", json_false()), 0);
        char *text = text_of(document, 0);
        assert_non_null(strstr(text, "The ledger could not be searched in the time it has"));
        free(text);
        json_decref(document);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_golden),
                cmocka_unit_test(test_every_width_fits),
                cmocka_unit_test(test_next),
                cmocka_unit_test(test_what_could_not_be_searched_is_said),
        };
        return cmocka_run_group_tests(tests, NULL, NULL);
}
