#include "app/troubles.h"

#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "app/trouble_list.h"
#include "util/shell.h"

Trouble *trouble_add(Troubles *troubles, const char *word, bool error, int64_t since_us) {
        if (troubles->n == troubles->capacity) {
                size_t capacity = troubles->capacity > 0 ? troubles->capacity * 2 : 16;
                Trouble *items = reallocarray(troubles->items, capacity, sizeof(*items));
                if (items == NULL) {
                        troubles->error = error_origin(-ENOMEM);
                        return NULL;
                }
                troubles->items = items;
                troubles->capacity = capacity;
        }
        Trouble *trouble = &troubles->items[troubles->n++];
        *trouble = (Trouble){.word = word, .error = error, .since_us = since_us};
        return trouble;
}

/* Somebody else's sentence that ends by itself gets no full stop of ours. */
static void drop_second_stops(Buffer *part, size_t from) {
        size_t to = from;
        for (size_t i = from; i < part->size; i++) {
                bool ends = i + 1 == part->size || part->data[i + 1] == ' ';
                bool second = i > from && part->data[i] == '.' && ends &&
                              strchr(".?!", part->data[i - 1]) != NULL;
                if (!second || (i > from + 1 && part->data[i - 2] == '.')) {
                        part->data[to++] = part->data[i];
                }
        }
        part->size = to;
}

void trouble_say(Troubles *troubles, Buffer *part, const char *format, ...) {
        va_list ap;
        size_t from = part->size;
        va_start(ap, format);
        int r = troubles->error == 0 ? buffer_vprintf(part, format, ap) : 0;
        va_end(ap);
        drop_second_stops(part, from);
        troubles->error = r != 0 ? r : troubles->error;
}

void trouble_word(Troubles *troubles, Buffer *part, const char *word) {
        trouble_say(troubles, part, " ");
        int r = troubles->error == 0 ? shell_append(part, word) : 0;
        troubles->error = r != 0 ? r : troubles->error;
}

void trouble_ackd(Troubles *troubles, Trouble *trouble, const TroubleFacts *facts,
                  const char *command) {
        if (trouble == NULL) {
                return;
        }
        trouble_say(troubles, &trouble->remedy, "ackd %s", command);
        if (facts->config->file != NULL && strcmp(facts->config->file, CONFIG_FILE) != 0) {
                trouble_say(troubles, &trouble->remedy, " -c");
                trouble_word(troubles, &trouble->remedy, facts->config->file);
        }
}

void trouble_psql(Troubles *troubles, Trouble *trouble, const TroubleFacts *facts) {
        if (trouble == NULL) {
                return;
        }
        trouble_say(troubles, &trouble->remedy, "psql -U postgres");
        int r = troubles->error == 0 ? pg_place_options(&facts->place, true, &trouble->remedy) : 0;
        troubles->error = r != 0 ? r : troubles->error;
}

void trouble_identifier(Troubles *troubles, Buffer *part, const char *name) {
        int r = troubles->error == 0 ? buffer_append_char(part, '"') : 0;
        for (const char *c = name; r == 0 && troubles->error == 0 && *c != '\0'; c++) {
                r = *c == '"' ? buffer_append_string(part, "\"\"") : buffer_append_char(part, *c);
        }
        r = r == 0 && troubles->error == 0 ? buffer_append_char(part, '"') : r;
        troubles->error = r != 0 ? r : troubles->error;
}

void trouble_option(Troubles *troubles, Buffer *part, const char *option, const char *value) {
        CLEANUP(buffer_deinit) Buffer joined = BUFFER_INIT;
        if (value[0] != '-') {
                trouble_say(troubles, part, " %s", option);
                trouble_word(troubles, part, value);
                return;
        }
        trouble_say(troubles, &joined, "%s=%s", option, value);
        const char *text = troubles->error == 0 ? buffer_string(&joined) : NULL;
        trouble_word(troubles, part, text != NULL ? text : "");
}

static void swap(Trouble *a, Trouble *b) {
        Trouble other = *a;
        *a = *b;
        *b = other;
}

/* Errors before warnings, each in the order in which they were found: that of the causes. */
static void sort(Troubles *troubles) {
        size_t errors = 0;
        for (size_t i = 0; i < troubles->n; i++) {
                if (troubles->items[i].error) {
                        for (size_t j = i; j > errors; j--) {
                                swap(&troubles->items[j], &troubles->items[j - 1]);
                        }
                        errors++; /* it stands behind those before it */
                }
        }
}

int troubles_find(Troubles *troubles, const TroubleFacts *facts) {
        if (!facts->stopping) {
                troubles_of_kafka(troubles, facts);
                troubles_of_postgres(troubles, facts);
                troubles_of_dead_letters(troubles, facts);
        }
        troubles_of_partitions(troubles, facts);
        troubles_of_work(troubles, facts);
        sort(troubles);
        return troubles->error;
}

void troubles_deinit(Troubles *troubles) {
        for (size_t i = 0; i < troubles->n; i++) {
                Trouble *trouble = &troubles->items[i];
                buffer_deinit(&trouble->where);
                buffer_deinit(&trouble->text);
                buffer_deinit(&trouble->remedy);
                buffer_deinit(&trouble->note);
        }
        free(troubles->items);
        *troubles = (Troubles){0};
}
