#include "pg/rights.h"

#include <string.h>

#include "pg/schema.h"
#include "pg/schema_text.h"

static const char *part_name(RightsPart part) {
        switch (part) {
        case RIGHTS_RUN:
                return "run";
        case RIGHTS_READ:
                return "read";
        case RIGHTS_OPERATE:
                return "operate";
        }
        return "";
}

int rights_append_query(Buffer *sql, const char *schema, RightsPart part) {
        SchemaText text = {.schema = schema, .roles = "", .part = part_name(part)};
        if (!schema_name_is_valid(schema)) {
                return SCHEMA_E_NAME;
        }
        return schema_text_append(&text, SCHEMA_TEXT_MISSING, sql);
}

char *rights_lacking(PGconn *connection, const char *schema, RightsPart part) {
        CLEANUP(buffer_deinit) Buffer sql = BUFFER_INIT;
        if (rights_append_query(&sql, schema, part) != 0 || buffer_string(&sql) == NULL) {
                return NULL;
        }
        if (PQtransactionStatus(connection) == PQTRANS_INERROR) {
                PQclear(PQexec(connection, "ROLLBACK")); /* before that nothing is answered */
        }
        PGresult *result = PQexec(connection, (const char *)sql.data);
        bool lacks = PQresultStatus(result) == PGRES_TUPLES_OK && PQntuples(result) == 1;
        char *sentence = lacks ? strdup(PQgetvalue(result, 0, 0)) : NULL;
        PQclear(result);
        return sentence;
}
