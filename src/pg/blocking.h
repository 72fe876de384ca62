#pragma once

/*
 * A connection for a command: everything here blocks, so it is not for a loop. *@errorp is a
 * malloc'd sentence, with its remedy, on a positive result; -ENOMEM.
 */

#include <libpq-fe.h>

#include "pg/rights.h"
#include "util/error.h"

enum {
        BLOCKING_E_CONNECT = 1, /* PostgreSQL can't be reached, or does not let us in */
        BLOCKING_E_REFUSED = 2, /* it said no */
};

/* To a server that takes writes. @program: what the server calls us, such as "ackd hold"; @password
 * NULL: what libpq finds. PQfinish() closes it. */
MUST_CHECK int blocking_connect(PGconn **connectionp, const char *program, const char *dsn,
                                const char *password, char **errorp);

/* The same, to a server that may be one that takes no writes: a standby, or a primary that was made
 * read-only. */
MUST_CHECK int blocking_connect_reader(PGconn **connectionp, const char *program, const char *dsn,
                                       const char *password, char **errorp);

/* Whether it has the tuples that were asked for: 0 or BLOCKING_E_REFUSED. @result stays the
 * caller's. */
MUST_CHECK int blocking_check(const PGresult *result, char **errorp);

/* As blocking_check(). When a right lacks, the sentence says which of those of @part in @schema,
 * and what gives it: @connection, where @result comes from, is asked for that. */
MUST_CHECK int blocking_check_rights(PGconn *connection, const char *schema, RightsPart part,
                                     const PGresult *result, char **errorp);
