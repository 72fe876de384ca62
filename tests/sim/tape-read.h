#pragma once

/*
 * Reads a tape (app/tape.h) back into observations. The file is believed to be whole up to where it
 * ends, which may be anywhere: what killed the daemon took the rest. Any other line that does not
 * make sense is an error.
 */

#include <stdio.h>

#include "core/engine.h"

typedef struct TapeReader {
        FILE *file;
        EngineConfig config; /* what the header says of it */
        size_t line;         /* of the newest, the first is 1 */
        char *text;          /* its text, as far as it was not read */
        size_t capacity;
        ObservedItem *items;
        size_t items_capacity;
        bool cut; /* the last line is not complete, and was left out */
        char why[160];
} TapeReader;

typedef enum TapeRead {
        TAPE_READ,
        TAPE_END,
        TAPE_BAD, /* `why` */
} TapeRead;

/* Takes the file, to be closed by tape_reader_deinit(), and reads the header. TAPE_END: there is
 * none yet. */
TapeRead tape_reader_init(TapeReader *reader, FILE *file);
void tape_reader_deinit(TapeReader *reader);

/* What @seen points to is the reader's, until the next call. */
TapeRead tape_reader_next(TapeReader *reader, Observation *seen);
