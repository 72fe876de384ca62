/* ackd dead-letter show, and rows as JSON. */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "app/dead_letter.h"
#include "app/headers.h"
#include "util/utf8.h"

enum {
        VALUE_SHOWN = 4096, /* bytes of a value; --value writes all of them */
};

/* --- JSON --------------------------------------------------------------------------------- */

/* Text where it is text, as headers are kept. */
static void put_bytes(Json *json, const char *name, const uint8_t *data, size_t size) {
        json_key(json, name);
        if (data == NULL) {
                json_put_null(json);
        } else if (memchr(data, '\0', size) == NULL && utf8_is_valid((const char *)data, size)) {
                json_put_string(json, (const char *)data, size);
        } else {
                json_begin_object(json);
                json_key(json, "base64");
                json_put_base64(json, data, size);
                json_end_object(json);
        }
}

static void put_text(Json *json, const char *name, const char *text) {
        json_key(json, name);
        json_put_text(json, text);
}

/* "a,b" or "a, b"; "" and "nothing": none. */
static void put_words(Json *json, const char *name, const char *words) {
        json_key(json, name);
        json_begin_array(json);
        if (strcmp(words, "nothing") == 0) {
                words = "";
        }
        while (*words != '\0') {
                size_t n = strcspn(words, ",");
                json_put_string(json, words, n);
                words += n;
                words += strspn(words, ", ");
        }
        json_end_array(json);
}

static void put_number(Json *json, const char *name, int64_t number) {
        json_key(json, name);
        json_put_int(json, number);
}

void dead_letter_put_json(const DeadLetterCommand *command, Json *json, const DeadLetter *letter,
                          bool bytes) {
        char place[PLACE_TEXT], runs[64];
        put_text(json, "message", dead_letter_place_text(letter, place));
        put_text(json, "state", dead_letter_state(letter));
        put_number(json, "source", letter->key.source);
        put_text(json, "cluster_id", letter->cluster_id);
        put_text(json, "group_id", letter->group_id);
        put_text(json, "topic", letter->topic);
        put_number(json, "partition", letter->partition);
        put_number(json, "offset", letter->key.offset);
        json_key(json, "retired");
        json_put_bool(json, letter->retired);
        put_text(json, "host", letter->host);
        put_text(json, "handler", letter->handler);
        put_text(json, "reason", letter->reason);
        put_text(json, "detail", letter->detail);
        put_number(json, "attempts", letter->attempts);
        put_words(json, "handlers_done", letter->handlers_done);
        put_words(json, "runs", dead_letter_runs(command, letter, runs));
        put_text(json, "produced_at", letter->produced_at);
        put_text(json, "received_at", letter->received_at);
        put_text(json, "rejected_at", letter->rejected_at);
        json_key(json, "value_bytes");
        if (letter->value_size >= 0) {
                json_put_int(json, letter->value_size);
        } else {
                json_put_null(json);
        }
        put_text(json, "outbox", letter->outbox);
        put_text(json, "outbox_error", letter->outbox_error);
        put_text(json, "dead_lettered_at", letter->dead_lettered_at);
        put_text(json, "replayed_at", letter->replayed_at);
        put_text(json, "replayed_by", letter->replayed_by);
        put_text(json, "replayed_why", letter->replayed_why);
        put_text(json, "replayed_as", letter->taken);
        put_text(json, "dropped_at", letter->dropped_at);
        put_text(json, "dropped_by", letter->dropped_by);
        put_text(json, "dropped_why", letter->dropped_why);
        if (bytes) {
                put_bytes(json, "key", letter->message_key, letter->message_key_size);
                json_key(json, "headers");
                if (letter->headers != NULL) {
                        json_put_raw(json, letter->headers, letter->headers_size);
                } else {
                        json_put_null(json);
                }
                put_bytes(json, "value", letter->value,
                          letter->value_size > 0 ? (size_t)letter->value_size : 0);
        }
}

/* --- text --------------------------------------------------------------------------------- */

/* What a terminal acts on, or shows in another order than it stands there. */
static bool is_plain(const uint8_t *p, size_t n) {
        if (n == 1) {
                return p[0] >= ' ' && p[0] < 127;
        }
        if (n == 2) {
                return !(p[0] == 0xc2 && p[1] < 0xa0) && !(p[0] == 0xd8 && p[1] == 0x9c);
        }
        bool turns = n == 3 && ((p[0] == 0xe2 && p[1] == 0x80 &&
                                 (p[2] <= 0x8f || (p[2] >= 0xa8 && p[2] <= 0xae))) ||
                                (p[0] == 0xe2 && p[1] == 0x81 && p[2] >= 0xa0) ||
                                (p[0] == 0xef && p[1] == 0xbb && p[2] == 0xbf));
        return !turns;
}

void dead_letter_print_bytes(FILE *file, const uint8_t *data, size_t size) {
        for (size_t i = 0; i < size;) {
                bool valid = true;
                size_t n = utf8_next((const char *)data + i, size - i, &valid);
                if (data[i] == '\\') {
                        fputs("\\\\", file);
                } else if (valid && is_plain(data + i, n)) {
                        fwrite(data + i, 1, n, file);
                } else if (data[i] == '\n' || data[i] == '\t') {
                        fputs(data[i] == '\n' ? "\\n" : "\\t", file);
                } else {
                        for (size_t k = 0; k < n; k++) {
                                fprintf(file, "\\x%02x", data[i + k]);
                        }
                }
                i += n;
        }
}

void dead_letter_print(FILE *file, const char *text) {
        dead_letter_print_bytes(file, (const uint8_t *)text, strlen(text));
}

static void print_field(const char *name, const char *text) {
        if (text != NULL) {
                printf("  %-10s ", name);
                dead_letter_print(stdout, text);
                putchar('\n');
        }
}

/* "2026-… by jo@web1: why" */
static void print_act(const char *name, const char *at, const char *by, const char *why) {
        printf("  %-10s %s by ", name, at);
        dead_letter_print(stdout, by != NULL ? by : "?");
        if (why != NULL) {
                fputs(": ", stdout);
                dead_letter_print(stdout, why);
        }
        putchar('\n');
}

static void print_marks(const DeadLetter *letter) {
        if (letter->dead_lettered_at != NULL) {
                print_field("sent", letter->dead_lettered_at);
        } else if (strcmp(letter->outbox, "none") != 0) {
                print_field("to send", letter->outbox_error != NULL ? letter->outbox_error
                                                                    : "it waits for the "
                                                                      "dead-letter topic");
        }
        if (letter->replayed_at != NULL) {
                print_act("replayed", letter->replayed_at, letter->replayed_by,
                          letter->replayed_why);
        }
        print_field("taken as", letter->taken);
        if (letter->dropped_at != NULL) {
                print_act("dropped", letter->dropped_at, letter->dropped_by, letter->dropped_why);
        }
}

static void print_headers(const DeadLetter *letter) {
        Headers headers = {0};
        if (headers_read(&headers, letter->headers, letter->headers_size, NULL, 0) != 0) {
                print_field("headers", letter->headers); /* not as ackd writes them */
                return;
        }
        for (size_t i = 0; i < headers.n; i++) {
                const ProducerHeader *header = &headers.items[i];
                printf("  %-10s ", "header");
                dead_letter_print(stdout, header->name);
                fputs(header->value != NULL ? ": " : ": null", stdout);
                if (header->value != NULL) {
                        dead_letter_print_bytes(stdout, header->value, header->size);
                }
                putchar('\n');
        }
        headers_deinit(&headers);
}

static void print_message(const DeadLetter *letter) {
        size_t size = letter->value_size > 0 ? (size_t)letter->value_size : 0;
        size_t shown = size < VALUE_SHOWN ? size : VALUE_SHOWN;
        if (letter->message_key != NULL) {
                printf("  %-10s ", "key");
                dead_letter_print_bytes(stdout, letter->message_key, letter->message_key_size);
                putchar('\n');
        }
        print_headers(letter);
        if (letter->value == NULL) {
                print_field("value", "nothing of it is kept");
                return;
        }
        printf("  %-10s %zu bytes%s\n    ", "value", size,
               strcmp(letter->reason, "too_large") == 0 ? ", the first of it" : "");
        dead_letter_print_bytes(stdout, letter->value, shown);
        putchar('\n');
        if (shown < size) {
                printf("    … %zu more bytes; --value writes all of them\n", size - shown);
        }
}

/* What can be done with one that is open, and the command. */
static int print_next(const DeadLetterCommand *command, const DeadLetter *letter) {
        CLEANUP(buffer_deinit) Buffer out = BUFFER_INIT;
        bool whole = letter->value_size >= 0 && strcmp(letter->reason, "too_large") != 0;
        const char *path = command->config->file;
        const char *file = path != NULL && strcmp(path, CONFIG_FILE) != 0 ? path : NULL;
        char place[PLACE_TEXT], runs[64];
        int r;
        if (whole && letter->retired) {
                fputs("Its topic was made again since, so it cannot be replayed. As a new message, "
                      "of which every handler runs: ",
                      stdout);
                r = dead_letter_produce_append(&out, file, letter->topic, letter->key.source,
                                               letter->key.offset);
        } else if (whole) {
                printf("A replay runs %s: ", dead_letter_runs(command, letter, runs));
                r = dead_letter_command_append(&out, "dead-letter replay", file);
                r = r != 0 ? r : buffer_printf(&out, " %s", dead_letter_place_text(letter, place));
        } else {
                fputs("It cannot be replayed: not all of it is kept. When its producer has sent it "
                      "again: ",
                      stdout);
                r = dead_letter_command_append(&out, "dead-letter drop", file);
                r = r != 0 ? r
                           : buffer_printf(&out, " %d/%lld --why '...'", (int)letter->key.source,
                                           (long long)letter->key.offset);
        }
        r = r != 0 ? r : buffer_append_char(&out, '\n');
        if (r == 0) {
                fwrite(out.data, 1, out.size, stdout);
        }
        return r;
}

static int print_letter(const DeadLetterCommand *command, const DeadLetter *letter) {
        char place[PLACE_TEXT];
        bool open = strcmp(dead_letter_state(letter), "open") == 0;
        dead_letter_place_text(letter, place);
        printf("%s  %s\n  %-10s %d/%lld, cluster ", place, dead_letter_state(letter), "source",
               (int)letter->key.source, (long long)letter->key.offset);
        dead_letter_print(stdout, letter->cluster_id);
        fputs(", group ", stdout);
        dead_letter_print(stdout, letter->group_id);
        puts(letter->retired ? "; its topic was made again since" : "");
        print_field("rejected", letter->rejected_at);
        print_field("produced", letter->produced_at);
        print_field("received", letter->received_at);
        print_field("host", letter->host);
        printf("  %-10s %s, after %d attempt%s\n", "handler",
               letter->handler != NULL ? letter->handler : "none: the message itself is at fault",
               (int)letter->attempts, letter->attempts == 1 ? "" : "s");
        print_field("reason", letter->reason);
        print_field("detail", letter->detail);
        print_field("done", letter->handlers_done[0] != '\0' ? letter->handlers_done : "nothing");
        print_marks(letter);
        print_message(letter);
        return open ? print_next(command, letter) : 0;
}

/* --- the command -------------------------------------------------------------------------- */

static int print_json(const DeadLetterCommand *command, const DeadLetter *letter, uint64_t before) {
        CLEANUP(buffer_deinit) Buffer out = BUFFER_INIT;
        Json json;
        json_begin(&json, &out);
        json_begin_object(&json);
        dead_letter_put_json(command, &json, letter, true);
        json_end_object(&json);
        int r = json_end(&json);
        if (r == 0) {
                fputs(before > 0 ? ",\n" : "", stdout);
                fwrite(out.data, 1, out.size, stdout);
        }
        return r;
}

static int print_value(const DeadLetterCommand *command, const DeadLetter *letter, uint64_t n) {
        if (n > 1) {
                fprintf(stderr,
                        "ackd %s: its topic was made again, and %llu rows have this place: name "
                        "one by its source, such as %d/%lld\n",
                        command->name, (unsigned long long)n, (int)letter->key.source,
                        (long long)letter->key.offset);
                return EXIT_USAGE;
        }
        if (letter->value == NULL) {
                fprintf(stderr, "ackd %s: nothing of its value is kept\n", command->name);
                return EXIT_USAGE;
        }
        if (strcmp(letter->reason, "too_large") == 0) {
                fprintf(stderr, "ackd %s: note: this is not all of it: %s\n", command->name,
                        letter->detail != NULL ? letter->detail : "it was too large");
        }
        fwrite(letter->value, 1, (size_t)letter->value_size, stdout);
        return EXIT_OK;
}

static int print_page(const DeadLetterCommand *command, const DeadLetterPage *page,
                      uint64_t before) {
        for (size_t i = 0; i < page->n; i++) {
                int r;
                if (command->json) {
                        r = print_json(command, &page->items[i], before + i);
                } else {
                        fputs(before + i > 0 ? "\n" : "", stdout);
                        r = print_letter(command, &page->items[i]);
                }
                if (r != 0) {
                        return r;
                }
        }
        return 0;
}

int dead_letter_show(DeadLetterCommand *command) {
        uint64_t n = 0, shown = 0;
        char *error = NULL;
        int status = EXIT_OK;
        bool last = false;
        command->filter.which = DEAD_LETTERS_ALL;
        int r = dead_letters_select(command->desk, &command->filter, &n, &error);
        fputs(r == 0 && command->json ? "[" : "", stdout);
        while (r == 0 && !last) {
                DeadLetterPage page = {0};
                r = dead_letters_next(command->desk, PAGE_ROWS, PAGE_BYTES, true, &page, &error);
                last = page.n == 0 || command->value;
                if (r == 0 && command->value && page.n > 0) {
                        status = print_value(command, &page.items[0], n);
                } else if (r == 0) {
                        r = print_page(command, &page, shown);
                }
                shown += page.n;
                dead_letter_page_deinit(&page);
        }
        fputs(r == 0 && command->json ? "]\n" : "", stdout);
        return r != 0 ? dead_letter_fail(command, r, error) : status;
}
