#pragma once

/*
 * The rights that a role needs in the schema. rights.sql is the one table of them: init-db grants
 * what it says, and here it is asked what the connected role lacks of it.
 */

#include <libpq-fe.h>

#include "util/buffer.h"
#include "util/error.h"

typedef enum RightsPart {
        RIGHTS_RUN,     /* what the daemon does */
        RIGHTS_READ,    /* commands that show */
        RIGHTS_OPERATE, /* commands that change: it includes reading */
} RightsPart;

/* Adds a query, without a semicolon, of one column: what the connected role lacks, as a sentence
 * that ends in what gives it; no row: nothing. It needs no right, not even to use the schema.
 * SCHEMA_E_NAME; -ENOMEM. Pure. */
MUST_CHECK int rights_append_query(Buffer *sql, const char *schema, RightsPart part);

/* Asks that; blocks. The sentence is the caller's to free; NULL: nothing lacks, or it could not be
 * asked. A transaction that failed is rolled back for it. */
char *rights_lacking(PGconn *connection, const char *schema, RightsPart part);
