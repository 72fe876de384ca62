#include "pg/sqlstate.h"

#include <stddef.h>
#include <string.h>

static bool has_class(const char *sqlstate, const char *class) {
        return sqlstate[0] == class[0] && sqlstate[1] == class[1];
}

bool sqlstate_is_row_fault(const char *sqlstate) {
        if (strcmp(sqlstate, SQLSTATE_NO_PARTITION) == 0) {
                return false;
        }
        return has_class(sqlstate, "22") || has_class(sqlstate, "23") || has_class(sqlstate, "54");
}

BatchEnd sqlstate_batch_end(PgEnd end, const char *sqlstate) {
        switch (end) {
        case PG_OK:
                return BATCH_SAVED;
        case PG_REFUSED:
                if (strcmp(sqlstate, SQLSTATE_FENCE) == 0) {
                        return BATCH_FENCE;
                }
                if (strcmp(sqlstate, SQLSTATE_ALL_REFUSED) == 0 ||
                    sqlstate_is_row_fault(sqlstate)) {
                        return BATCH_REFUSED;
                }
                return BATCH_OUTAGE;
        case PG_LOST:
                return BATCH_UNKNOWN;
        case PG_DROPPED:
                return BATCH_OUTAGE;
        }
        return BATCH_OUTAGE;
}

/* The first entry that the SQLSTATE begins with. */
static const struct {
        const char *prefix;
        const char *remedy;
} remedies[] = {
        {"23514", "this month's partition of messages is missing: run: ackd init-db"},
        {"25006", "the server is read-only: check the failover, or default_transaction_read_only"},
        {"28", "check user and password (postgres.password_file) and pg_hba.conf"},
        {"3D000", "make the database (createdb --encoding=UTF8), then run: ackd init-db"},
        {"3F", "run: ackd init-db"},
        {SQLSTATE_NO_RIGHT, "grant the daemon's role its rights: docs/roles.md"},
        {"42", "the schema does not fit this version: run: ackd init-db"},
        {"53100", "the server's disk is full"},
        {"53300", "raise max_connections, or lower postgres.connections"},
        {"AK002", "look at what all rows have in common: a column, a constraint, a trigger that "
                  "was added to the tables"},
        {"AK003", "the schema does not fit this version: run: ackd init-db"},
};

const char *sqlstate_guess(const char *message) {
        static const struct {
                const char *begin, *end;
                const char *sqlstate;
        } words[] = {
                {"password authentication failed", "", "28P01"},
                {"authentication failed", "", "28000"},
                {"no pg_hba.conf entry", "", "28000"},
                {"role \"", "\" does not exist", "28000"},
                {"database \"", "\" does not exist", "3D000"},
                {"session is read-only", "", SQLSTATE_READ_ONLY},
                {"too many clients", "", "53300"},
                {"too many connections", "", "53300"},
        };
        for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++) {
                const char *found = strstr(message, words[i].begin);
                if (found != NULL && strstr(found, words[i].end) != NULL) {
                        return words[i].sqlstate;
                }
        }
        return "";
}

const char *sqlstate_remedy(const char *sqlstate) {
        for (size_t i = 0; i < sizeof(remedies) / sizeof(remedies[0]); i++) {
                if (strncmp(sqlstate, remedies[i].prefix, strlen(remedies[i].prefix)) == 0) {
                        return remedies[i].remedy;
                }
        }
        return NULL;
}

bool sqlstate_is_alarm(const char *sqlstate) {
        return has_class(sqlstate, "28") || has_class(sqlstate, "3D") ||
               has_class(sqlstate, "3F") || has_class(sqlstate, "42") ||
               strcmp(sqlstate, SQLSTATE_ALL_REFUSED) == 0 ||
               strcmp(sqlstate, SQLSTATE_MISUSE) == 0 ||
               strcmp(sqlstate, SQLSTATE_NO_PARTITION) == 0 || strcmp(sqlstate, "53100") == 0;
}
