#include "tape-read.h"

#include <errno.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "app/tape.h"

__attribute__((format(printf, 2, 3))) static TapeRead bad(TapeReader *reader, const char *format,
                                                          ...) {
        va_list ap;
        va_start(ap, format);
        vsnprintf(reader->why, sizeof(reader->why), format, ap);
        va_end(ap);
        return TAPE_BAD;
}

/* The next line, without its end. */
static TapeRead next_line(TapeReader *reader) {
        ssize_t n = getline(&reader->text, &reader->capacity, reader->file);
        if (n < 0) {
                return feof(reader->file) ? TAPE_END : bad(reader, "%s", strerror(errno));
        }
        reader->line++;
        if (reader->text[n - 1] != '\n') {
                reader->cut = true;
                return TAPE_END;
        }
        reader->text[n - 1] = '\0';
        return TAPE_READ;
}

/* Moves *@at behind the number. */
static bool number(char **at, int64_t *value) {
        char *p = *at;
        bool minus = *p == '-';
        uint64_t sum = 0;
        p += minus;
        if (*p < '0' || *p > '9') {
                return false;
        }
        for (; *p >= '0' && *p <= '9'; p++) {
                sum = sum * 10 + (uint64_t)(*p - '0');
        }
        *value = (int64_t)(minus ? 0 - sum : sum);
        *at = p;
        return true;
}

/* Up to @max numbers with commas, perhaps none; the rest is 0. */
static bool list(char **at, int64_t *values, size_t max) {
        size_t n = 0;
        memset(values, 0, max * sizeof(*values));
        if ((**at < '0' || **at > '9') && **at != '-') {
                return true;
        }
        while (n < max && number(at, &values[n])) {
                n++;
                if (**at != ',') {
                        return true;
                }
                (*at)++;
        }
        return false;
}

static int hex(char c) {
        const char *digits = "0123456789ABCDEF";
        const char *at = c != '\0' ? strchr(digits, c) : NULL;
        return at != NULL ? (int)(at - digits) : -1;
}

/* Up to the next blank; *@text is where it stood, decoded. */
static bool text(char **at, const char **text_) {
        char *from = *at, *to = *at;
        *text_ = to;
        while (*from != '\0' && *from != ' ') {
                if (*from != '%') {
                        *to++ = *from++;
                        continue;
                }
                int high = hex(from[1]), low = high >= 0 ? hex(from[2]) : -1;
                if (low < 0 || high + low == 0) {
                        return false;
                }
                *to++ = (char)(high << 4 | low);
                from += 3;
        }
        *at = from + (*from != '\0'); /* *to may stand where the blank was */
        *to = '\0';
        return true;
}

static bool item_add(TapeReader *reader, Observation *seen, char **at) {
        int64_t values[7];
        if (!list(at, values, 7) || **at != ']') {
                return false;
        }
        (*at)++;
        if (seen->n_items == reader->items_capacity) {
                reader->items_capacity =
                        reader->items_capacity > 0 ? reader->items_capacity * 2 : 64;
                reader->items =
                        realloc(reader->items, reader->items_capacity * sizeof(*reader->items));
        }
        reader->items[seen->n_items++] = (ObservedItem){.partition = (int32_t)values[0],
                                                        .epoch = (uint64_t)values[1],
                                                        .offset = values[2],
                                                        .a = values[3],
                                                        .b = values[4],
                                                        .c = values[5],
                                                        .d = values[6]};
        return true;
}

static bool field(TapeReader *reader, Observation *seen, char **at) {
        char letter = **at;
        int64_t value = 0;
        *at += letter != '\0';
        switch (letter) {
        case '+':
                seen->ok = true;
                return true;
        case 't':
                return text(at, &seen->text);
        case 'n':
                return list(at, seen->numbers, OBSERVED_NUMBERS);
        case '[':
                return item_add(reader, seen, at);
        default:
                break;
        }
        if (!number(at, &value)) {
                return false;
        }
        switch (letter) {
        case 'k':
                seen->kind = (int)value;
                return true;
        case 'p':
                seen->partition = (int32_t)value;
                return true;
        case 'e':
                seen->epoch = (uint64_t)value;
                return true;
        case 'o':
                seen->offset = value;
                return true;
        case 'i':
                seen->id = (uint64_t)value;
                return true;
        case 'a':
                seen->a = value;
                return true;
        case 'b':
                seen->b = value;
                return true;
        case 'c':
                seen->c = value;
                return true;
        case 'd':
                seen->d = value;
                return true;
        default:
                return false;
        }
}

static bool find_word(Observation *seen, const char *word) {
        seen->type = OBSERVED_ACTION;
        for (int i = 0; word[0] == '>' && i < TAPE_ACTIONS; i++) {
                if (strcmp(tape_action_words[i], word + 1) == 0) {
                        seen->kind = i;
                        return true;
                }
        }
        for (int i = 0; i < OBSERVED_TYPES; i++) {
                if (tape_words[i] != NULL && strcmp(tape_words[i], word) == 0) {
                        seen->type = (ObservationType)i;
                        return true;
                }
        }
        return false;
}

/* What everybody who reads it counts on. */
static const char *missing(const Observation *seen) {
        bool action = seen->type == OBSERVED_ACTION;
        if (action && seen->text == NULL &&
            (seen->kind == ENGINE_RESTART || seen->kind == ENGINE_CHECK ||
             seen->kind == ENGINE_CLAIM || seen->kind == ENGINE_ACTED ||
             seen->kind == ENGINE_VERIFY || seen->kind == ENGINE_CONCLUDE)) {
                return "no host";
        }
        if (action && seen->kind == ENGINE_FINISHED && (seen->a < 0 || seen->a >= FINISH_COUNT)) {
                return "no such end";
        }
        if (seen->epoch != 0 && seen->text == NULL) {
                return "no topic";
        }
        if (action && seen->epoch == 0 &&
            (seen->kind == ENGINE_ADOPT || seen->kind == ENGINE_MOVE_FENCE ||
             seen->kind == ENGINE_SEEK || seen->kind == ENGINE_PAUSE)) {
                return "no partition";
        }
        return NULL;
}

TapeRead tape_reader_next(TapeReader *reader, Observation *seen) {
        TapeRead read = next_line(reader);
        *seen = (Observation){.partition = -1};
        if (read != TAPE_READ) {
                return read;
        }
        char *at = reader->text;
        const char *word = strsep(&at, " ");
        if (!find_word(seen, word)) {
                return bad(reader, "what is \"%.40s\"?", word);
        }
        if (at == NULL || !number(&at, &seen->now)) {
                return bad(reader, "no time");
        }
        while (*at != '\0') {
                at += *at == ' ';
                const char *from = at;
                if (!field(reader, seen, &at)) {
                        return bad(reader, "what is \"%.40s\"?", from);
                }
        }
        seen->items = reader->items;
        const char *what = missing(seen);
        return what != NULL ? bad(reader, "%s", what) : TAPE_READ;
}

/* Each of tape_limits, in any order, and nothing else. */
static TapeRead read_limits(TapeReader *reader) {
        char *at = reader->text;
        size_t found = 0, all = 0;
        strsep(&at, " ");
        while (at != NULL) {
                char *value = strsep(&at, " ");
                const char *name = strsep(&value, "=");
                const TapeLimit *limit = tape_limits;
                int64_t given = 0;
                while (limit->name != NULL && strcmp(limit->name, name) != 0) {
                        limit++;
                }
                if (limit->name == NULL || value == NULL || !number(&value, &given)) {
                        return bad(reader, "what is the limit \"%.40s\"?", name);
                }
                tape_limit_set(limit, &reader->config, given);
                found++;
        }
        while (tape_limits[all].name != NULL) {
                all++;
        }
        return found == all ? TAPE_READ : bad(reader, "%zu limits, not %zu", found, all);
}

TapeRead tape_reader_init(TapeReader *reader, FILE *file) {
        int format = 0;
        *reader = (TapeReader){.file = file};
        TapeRead read = next_line(reader);
        if (read == TAPE_READ &&
            (sscanf(reader->text, "ackd-tape %d", &format) != 1 || format != TAPE_FORMAT)) {
                return bad(reader, "no tape of format %d", TAPE_FORMAT);
        }
        if (read == TAPE_READ) {
                read = next_line(reader);
        }
        if (read == TAPE_READ && strncmp(reader->text, "limits ", 7) != 0) {
                return bad(reader, "no limits");
        }
        return read == TAPE_READ ? read_limits(reader) : read;
}

void tape_reader_deinit(TapeReader *reader) {
        if (reader->file != NULL) {
                fclose(reader->file);
        }
        free(reader->text);
        free(reader->items);
        *reader = (TapeReader){0};
}
