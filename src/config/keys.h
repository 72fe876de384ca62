#pragma once

/*
 * The one table of all keys: path, type, range, default, help, and the field it fills.
 *
 * A key is a line in keys.c and a field in config.h; reading, checking, printing and the help
 * follow from that. Sections are not listed: a prefix of a key is one. Sorted by path, so the keys
 * of a section stand together.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "util/buffer.h"
#include "util/error.h"

typedef enum KeyType {
        KEY_HANDLER,  /* bool: a section whose presence says that a handler, or its check, runs */
        KEY_KAFKA,    /* ConfigSettings: names that are librdkafka's */
        KEY_TEXT,     /* char * */
        KEY_CHOICE,   /* an enum, in the order of `choices` */
        KEY_COUNT,    /* size_t */
        KEY_SIZE,     /* size_t, bytes */
        KEY_DURATION, /* int64_t, µs */
        KEY_GRACE,    /* ConfigShutdown: a duration or `auto` */
        KEY_LIST,     /* char **, ends with NULL */
        KEY_STATUSES, /* ConfigStatuses */
        KEY_HEADERS,  /* ConfigHeaders */
        KEY_WHEN,     /* ConfigWhen */
        KEY_WINDOWS,  /* ConfigWindows */
        KEY_GROUPS,   /* ConfigGroups */
} KeyType;

/* Whether a text, or the @index-th of a list, is fit: 0; positive, and @why got a sentence part
 * ("is not an absolute path"); or negative. */
typedef int (*KeyCheck)(const char *text, size_t index, Buffer *why);

enum {
        KEY_E_UNFIT = 1,

        KEY_PATH = 64, /* bytes of a path, with its NUL */
};

typedef struct Key {
        const char *path;
        KeyType type;
        size_t offset;        /* in Config */
        const char *text;     /* the default, as YAML; NULL: none */
        int64_t min, max;     /* of a number; of the items of a list */
        const char *choices;  /* separated by spaces */
        KeyCheck check;       /* NULL: any text */
        const char *expected; /* "text", for messages; NULL: made from the type */
        const char *help;     /* one line */
} Key;

extern const Key keys[];
extern const size_t n_keys;

/* Exactly this path; NULL: none. */
const Key *key_find(const char *path);
static inline size_t key_index(const Key *key) {
        return (size_t)(key - keys);
}

/* Whether some key lies below @path; "" is the root. */
bool key_is_section(const char *path);

/* Adds the names directly below a section, separated by spaces. */
MUST_CHECK int key_names(const char *section, Buffer *out);

/* What @name in @section was perhaps meant to be: a name in the section that is spelled nearly so,
 * or the full path of a key of that name elsewhere. Adds it to @out, or nothing. */
MUST_CHECK int key_nearest(const char *section, const char *name, Buffer *out);

/* The path that is spelled most nearly like @path, for those given as a whole; or nothing. */
MUST_CHECK int key_nearest_path(const char *path, Buffer *out);

/* Of a host pattern, a KeyCheck. */
MUST_CHECK int key_check_glob(const char *text, size_t index, Buffer *why);

/* Adds what is allowed: "a duration, 10ms to 1h". */
MUST_CHECK int key_expected(const Key *key, Buffer *out);

/* How many letters must be put in, left out, changed or swapped with a neighbour to make one word
 * of the other; names over 63 bytes are infinitely far. Case counts for nothing. */
unsigned key_distance(const char *a, const char *b);
