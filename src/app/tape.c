#include "app/tape.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum {
        BUFFER_BYTES = 256 * 1024,
        FLUSH_US = 100000,
};

struct Tape {
        FILE *file;
        int error; /* errno; nothing more is written */
        int64_t flushed_us;
};

const char *const tape_words[OBSERVED_TYPES] = {
        [OBSERVED_TICK] = "tick",
        [OBSERVED_ASSIGNED] = "assigned",
        [OBSERVED_LOOKED_UP] = "looked-up",
        [OBSERVED_SOURCE_READ] = "source-read",
        [OBSERVED_ADOPTED] = "adopted",
        [OBSERVED_SOUGHT] = "sought",
        [OBSERVED_RESUMED] = "resumed",
        [OBSERVED_VANISHED] = "vanished",
        [OBSERVED_OUT_OF_RANGE] = "out-of-range",
        [OBSERVED_FETCHED] = "fetched",
        [OBSERVED_ENDED] = "ended",
        [OBSERVED_SAVED] = "saved",
        [OBSERVED_DATABASE_UP] = "database-up",
        [OBSERVED_FENCES_READ] = "fences-read",
        [OBSERVED_SAVED_EACH] = "saved-each",
        [OBSERVED_REPLAYS_READ] = "replays-read",
        [OBSERVED_CHECKED] = "checked",
        [OBSERVED_CLAIMED] = "claimed",
        [OBSERVED_TOO_LATE] = "too-late",
        [OBSERVED_RESTARTED] = "restarted",
        [OBSERVED_ACTED] = "acted",
        [OBSERVED_VERIFIED] = "verified",
        [OBSERVED_CONCLUDED] = "concluded",
        [OBSERVED_HOLDS_CHANGED] = "holds-changed",
        [OBSERVED_COMMITTED_SEEN] = "committed-seen",
        [OBSERVED_COMMITTED] = "committed",
        [OBSERVED_REVOKED] = "revoked",
        [OBSERVED_STOP] = "stop",
        [OBSERVED_RELEASE] = "release",
        [OBSERVED_FLUSH] = "flush",
        [OBSERVED_QUIET] = "quiet",
};

const char *const tape_action_words[TAPE_ACTIONS] = {
        [ENGINE_LOOK_UP] = "look-up",
        [ENGINE_READ_SOURCE] = "read-source",
        [ENGINE_ADOPT] = "adopt",
        [ENGINE_MOVE_FENCE] = "move-fence",
        [ENGINE_SEEK] = "seek",
        [ENGINE_PAUSE] = "pause",
        [ENGINE_RESUME] = "resume",
        [ENGINE_READ] = "read",
        [ENGINE_SAVE] = "save",
        [ENGINE_SAVE_EACH] = "save-each",
        [ENGINE_READ_FENCES] = "read-fences",
        [ENGINE_REJECT] = "reject",
        [ENGINE_ASK_REPLAYS] = "ask-replays",
        [ENGINE_CHECK] = "check",
        [ENGINE_CLAIM] = "claim",
        [ENGINE_RESTART] = "restart",
        [ENGINE_ACTED] = "acted",
        [ENGINE_VERIFY] = "verify",
        [ENGINE_CONCLUDE] = "conclude",
        [ENGINE_LOOK_COMMITTED] = "look-committed",
        [ENGINE_COMMIT] = "commit",
        [ENGINE_UNASSIGN] = "unassign",
        [ENGINE_FINISHED] = "finished",
        [ENGINE_NOTE] = "note",
};

#define LIMIT(field)                                                                               \
        { #field, offsetof(EngineConfig, field), sizeof(((EngineConfig *)NULL)->field) }

const TapeLimit tape_limits[] = {
        LIMIT(start_latest),
        LIMIT(save),
        LIMIT(restart),
        LIMIT(on_unknown),
        LIMIT(concurrency),
        LIMIT(in_flight),
        LIMIT(in_flight_bytes),
        LIMIT(waiting),
        LIMIT(ack_gap),
        LIMIT(keep_payload),
        LIMIT(message_bytes),
        LIMIT(batches),
        LIMIT(batch_rows),
        LIMIT(batch_bytes),
        LIMIT(attempts),
        LIMIT(backoff_us),
        LIMIT(backoff_max_us),
        LIMIT(commit_interval_us),
        LIMIT(drain_us),
        LIMIT(n_when),
        LIMIT(max_wait_us),
        LIMIT(ledger),
        LIMIT(check),
        LIMIT(verify),
        LIMIT(verify_deadline_us),
        LIMIT(cooldown_us),
        {0},
};

int64_t tape_limit_get(const TapeLimit *limit, const EngineConfig *config) {
        const char *at = (const char *)config + limit->at;
        int64_t value = 0;
        int32_t word = 0;
        if (limit->size == sizeof(bool)) {
                return *at != 0;
        }
        if (limit->size == sizeof(word)) {
                memcpy(&word, at, sizeof(word));
                return word;
        }
        memcpy(&value, at, sizeof(value));
        return value;
}

void tape_limit_set(const TapeLimit *limit, EngineConfig *config, int64_t value) {
        char *at = (char *)config + limit->at;
        int32_t word = (int32_t)value;
        if (limit->size == sizeof(bool)) {
                *at = value != 0;
        } else if (limit->size == sizeof(word)) {
                memcpy(at, &word, sizeof(word));
        } else {
                memcpy(at, &value, sizeof(value));
        }
}

/* --- a line ------------------------------------------------------------------------------- */

static void put_char(FILE *file, char c) {
        putc_unlocked(c, file);
}

static void put_string(FILE *file, const char *string) {
        fwrite_unlocked(string, 1, strlen(string), file);
}

static void put_number(FILE *file, int64_t value) {
        char digits[24];
        char *at = digits + sizeof(digits);
        uint64_t rest = value < 0 ? 0 - (uint64_t)value : (uint64_t)value;
        do {
                *--at = (char)('0' + rest % 10);
                rest /= 10;
        } while (rest > 0);
        if (value < 0) {
                *--at = '-';
        }
        fwrite_unlocked(at, 1, (size_t)(digits + sizeof(digits) - at), file);
}

static void put_field(FILE *file, char letter, int64_t value, int64_t none) {
        if (value != none) {
                put_char(file, ' ');
                put_char(file, letter);
                put_number(file, value);
        }
}

/* Those that are 0 at the end are left out. */
static void put_list(FILE *file, const int64_t *values, size_t n) {
        while (n > 0 && values[n - 1] == 0) {
                n--;
        }
        for (size_t i = 0; i < n; i++) {
                if (i > 0) {
                        put_char(file, ',');
                }
                put_number(file, values[i]);
        }
}

/* What would end a word, and the % itself, as %XX. */
static void put_text(FILE *file, const char *text) {
        put_string(file, " t");
        for (; *text != '\0'; text++) {
                unsigned char c = (unsigned char)*text;
                if (c <= ' ' || c == '%' || c >= 127) {
                        fprintf(file, "%%%02X", c);
                } else {
                        put_char(file, *text);
                }
        }
}

static void put_line(FILE *file, const Observation *seen) {
        bool action = seen->type == OBSERVED_ACTION;
        bool numbers = false;
        if (action) {
                put_char(file, '>');
        }
        put_string(file, action ? tape_action_words[seen->kind] : tape_words[seen->type]);
        put_char(file, ' ');
        put_number(file, seen->now);
        put_field(file, 'k', action ? 0 : seen->kind, 0);
        if (seen->ok) {
                put_string(file, " +");
        }
        put_field(file, 'p', seen->partition, -1);
        put_field(file, 'e', (int64_t)seen->epoch, 0);
        put_field(file, 'o', seen->offset, 0);
        put_field(file, 'i', (int64_t)seen->id, 0);
        put_field(file, 'a', seen->a, 0);
        put_field(file, 'b', seen->b, 0);
        put_field(file, 'c', seen->c, 0);
        put_field(file, 'd', seen->d, 0);
        for (int i = 0; i < OBSERVED_NUMBERS; i++) {
                numbers = numbers || seen->numbers[i] != 0;
        }
        if (numbers) {
                put_string(file, " n");
                put_list(file, seen->numbers, OBSERVED_NUMBERS);
        }
        if (seen->text != NULL) {
                put_text(file, seen->text);
        }
        for (size_t i = 0; i < seen->n_items; i++) {
                const ObservedItem *item = &seen->items[i];
                const int64_t values[] = {item->partition, (int64_t)item->epoch,
                                          item->offset,    item->a,
                                          item->b,         item->c,
                                          item->d};
                put_string(file, " [");
                put_list(file, values, sizeof(values) / sizeof(values[0]));
                put_char(file, ']');
        }
        put_char(file, '\n');
}

/* What failed once fails again, or leaves a hole. */
static void check(Tape *tape, bool failed) {
        if (failed && tape->error == 0) {
                tape->error = errno != 0 ? errno : EIO;
        }
}

void tape_observe(void *user, const Observation *seen) {
        Tape *tape = user;
        if (tape->error != 0) {
                return;
        }
        errno = 0;
        put_line(tape->file, seen);
        if (seen->type == OBSERVED_QUIET && seen->now - tape->flushed_us >= FLUSH_US) {
                tape->flushed_us = seen->now;
                (void)fflush_unlocked(tape->file);
        }
        check(tape, ferror_unlocked(tape->file));
}

/* --- life --------------------------------------------------------------------------------- */

static void put_header(Tape *tape, const EngineConfig *config) {
        fprintf(tape->file, "ackd-tape %d\nlimits", TAPE_FORMAT);
        for (const TapeLimit *limit = tape_limits; limit->name != NULL; limit++) {
                fprintf(tape->file, " %s=%" PRId64, limit->name, tape_limit_get(limit, config));
        }
        put_char(tape->file, '\n');
        check(tape, fflush(tape->file) != 0);
}

int tape_new(Tape **tapep, const char *name, const EngineConfig *config, char **errorp) {
        char *path = NULL;
        Tape *tape = calloc(1, sizeof(*tape));
        if (tape == NULL || asprintf(&path, "%s.%d", name, (int)getpid()) < 0) {
                free(tape);
                return error_origin(-ENOMEM);
        }
        int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
        tape->file = fd >= 0 ? fdopen(fd, "w") : NULL;
        if (tape->file != NULL) {
                (void)setvbuf(tape->file, NULL, _IOFBF, BUFFER_BYTES);
                errno = 0;
                put_header(tape, config);
        } else {
                check(tape, true);
        }
        if (tape->error == 0) {
                free(path);
                *tapep = tape;
                return 0;
        }
        if (asprintf(errorp, "ACKD_TAPE: cannot write %s: %s", path, strerror(tape->error)) < 0) {
                *errorp = NULL;
        }
        free(path);
        if (tape->file == NULL && fd >= 0) {
                close(fd);
        }
        (void)tape_free(tape);
        return TAPE_E_OPEN;
}

int tape_free(Tape *tape) {
        if (tape == NULL) {
                return 0;
        }
        errno = 0;
        if (tape->file != NULL) {
                check(tape, fclose(tape->file) != 0);
        }
        int error = tape->error;
        free(tape);
        return error;
}
