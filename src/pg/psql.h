#pragma once

/* How a person reaches the server that a connection string means: for remedies. */

#include <stdbool.h>

#include "util/buffer.h"

/* What a connection string says, as far as it says it: "" for what is left to libpq. */
typedef struct PgPlace {
        char *host, *port, *dbname, *user; /* malloc'd; several hosts: the first */
} PgPlace;

/* -ENOMEM; PG_E_DSN: it cannot be read. */
MUST_CHECK int pg_place(PgPlace *place, const char *dsn);
void pg_place_deinit(PgPlace *place);

/* Adds " -h HOST -p PORT", then " -d DBNAME" with @database, quoted for a shell; never a user or a
 * password. -ENOMEM. */
MUST_CHECK int pg_place_options(const PgPlace *place, bool database, Buffer *out);
