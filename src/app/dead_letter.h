#pragma once

/*
 * ackd dead-letter: what its subcommands share. Each is a function over a connection and what was
 * typed; dead_letter_command.c reads the command line.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "app/commands.h"
#include "app/dead_letter_place.h"
#include "app/who.h"
#include "pg/dead_letters.h"
#include "util/json.h"

typedef struct DeadLetterCommand {
        const char *name; /* "dead-letter list" */
        DeadLetterFilter filter;
        bool all, again, json, value, dry_run;
        uint64_t limit; /* NO_LIMIT: none; 0: not said */
        double rate;    /* a second; 0: as fast as possible */
        const char *why;
        char who[WHO_MAX];
        const Config *config;
        DeadLetterDesk *desk;
        DeadLetterPlace *places;        /* owned: filter.places, */
        char (*topics)[TOPIC_NAME_MAX]; /* what their topics point to, */
        char **patterns;                /* and filter.hosts */
        size_t n_patterns;
} DeadLetterCommand;

#define NO_LIMIT UINT64_MAX

enum {
        PLACE_TEXT = TOPIC_NAME_MAX + 40, /* bytes of a place as text, with its NUL */
        PAGE_ROWS = 500,
        PAGE_BYTES = 4 * 1024 * 1024,
};

/* Each returns the exit status. */
int dead_letter_list(DeadLetterCommand *command);
int dead_letter_show(DeadLetterCommand *command);
int dead_letter_replay(DeadLetterCommand *command);
int dead_letter_drop(DeadLetterCommand *command);

/* Says why PostgreSQL (or memory) failed; frees @error; the exit status. */
int dead_letter_fail(const DeadLetterCommand *command, int r, char *error);

/* "host-restarts/3/17". Yields @out. */
const char *dead_letter_place_text(const DeadLetter *letter, char out[PLACE_TEXT]);

/* "open", "replayed" (taken by a daemon, or on its way there) or "dropped"; static. */
const char *dead_letter_state(const DeadLetter *letter);

/* The handlers that run for it where this configuration is in force, as "save, restart-host";
 * "nothing": all are done. Yields @out. */
const char *dead_letter_runs(const DeadLetterCommand *command, const DeadLetter *letter,
                             char out[64]);

/* For a person: text as it is, every other byte as \xNN and a backslash as two, so that nothing
 * reaches a terminal raw and no byte is lost. */
void dead_letter_print_bytes(FILE *file, const uint8_t *data, size_t size);
void dead_letter_print(FILE *file, const char *text);

/* The members of an object for a row; @bytes: key, headers and value too, which its page has. */
void dead_letter_put_json(const DeadLetterCommand *command, Json *json, const DeadLetter *letter,
                          bool bytes);
