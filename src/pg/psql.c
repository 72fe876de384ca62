#include "pg/psql.h"

#include <stdlib.h>
#include <string.h>

#include "pg/connection.h"
#include "pg/parameters.h"
#include "util/shell.h"

int pg_place(PgPlace *place, const char *dsn) {
        Parameters parameters;
        char *error = NULL;
        int r = parameters_init(&parameters, dsn, NULL, NULL, &error);
        free(error);
        if (r != 0) {
                return r > 0 ? PG_E_DSN : r;
        }
        const char *host = parameters_get(&parameters, "host");
        const char *port = parameters_get(&parameters, "port");
        if (host[0] == '\0') {
                host = parameters_get(&parameters, "hostaddr");
        }
        *place = (PgPlace){.host = strndup(host, strcspn(host, ",")),
                           .port = strndup(port, strcspn(port, ",")),
                           .dbname = strdup(parameters_get(&parameters, "dbname")),
                           .user = strdup(parameters_get(&parameters, "user"))};
        parameters_deinit(&parameters);
        if (place->host == NULL || place->port == NULL || place->dbname == NULL ||
            place->user == NULL) {
                pg_place_deinit(place);
                return error_origin(-ENOMEM);
        }
        return 0;
}

void pg_place_deinit(PgPlace *place) {
        free(place->host);
        free(place->port);
        free(place->dbname);
        free(place->user);
        *place = (PgPlace){0};
}

static int option(Buffer *out, const char *name, const char *value) {
        if (value == NULL || value[0] == '\0') {
                return 0;
        }
        int r = buffer_printf(out, " %s ", name);
        return r == 0 ? shell_append(out, value) : r;
}

int pg_place_options(const PgPlace *place, bool database, Buffer *out) {
        int r = option(out, "-h", place->host);
        r = r == 0 ? option(out, "-p", place->port) : r;
        return r == 0 && database ? option(out, "-d", place->dbname) : r;
}
