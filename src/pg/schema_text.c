#include "pg/schema_text.h"

#include <string.h>

#include "pg/schema.h"

/* By scripts/embed. */
extern const char schema_sql_text[], ledger_sql_text[], roles_sql_text[], rights_sql_text[],
        missing_sql_text[];
extern const size_t schema_sql_text_size, ledger_sql_text_size, roles_sql_text_size,
        rights_sql_text_size, missing_sql_text_size;

static int append_text(const SchemaText *text, const char *from, size_t size, Buffer *sql);

static bool is(const char *name, size_t size, const char *wanted) {
        return size == strlen(wanted) && memcmp(name, wanted, size) == 0;
}

/* Adds what a placeholder stands for. */
static int append_placeholder(const SchemaText *text, const char *name, size_t size, Buffer *sql) {
        if (is(name, size, "schema")) {
                return schema_append_name(sql, text->schema);
        }
        if (is(name, size, "name")) {
                return buffer_append_string(sql, text->schema);
        }
        if (is(name, size, "prefix")) {
                return buffer_append_string(sql, text->roles);
        }
        if (is(name, size, "part")) {
                return buffer_append_string(sql, text->part);
        }
        if (is(name, size, "version")) {
                return buffer_printf(sql, "%d", SCHEMA_VERSION);
        }
        if (is(name, size, "months")) {
                return buffer_printf(sql, "%d", SCHEMA_MONTHS_AHEAD);
        }
        if (is(name, size, "ledger")) {
                return append_text(text, ledger_sql_text, ledger_sql_text_size, sql);
        }
        if (is(name, size, "roles")) {
                return append_text(text, roles_sql_text, roles_sql_text_size, sql);
        }
        if (is(name, size, "rights")) {
                return append_text(text, rights_sql_text, rights_sql_text_size, sql);
        }
        return error_origin(-EINVAL);
}

/* On failure a part of it. */
static int append_text(const SchemaText *text, const char *from, size_t size, Buffer *sql) {
        const char *at = from;
        const char *end = at + size;
        while (at < end) {
                const char *mark = memchr(at, '@', (size_t)(end - at));
                /* A comment names a parameter as "@ahead". */
                const char *close = mark == NULL ? NULL : mark + 1;
                while (close != NULL && close < end && *close >= 'a' && *close <= 'z') {
                        close++;
                }
                bool is_placeholder = close != NULL && close < end && *close == '@';
                const char *stop = close == NULL ? end : is_placeholder ? mark : close;
                int r = buffer_append(sql, at, (size_t)(stop - at));
                if (r == 0 && is_placeholder) {
                        r = append_placeholder(text, mark + 1, (size_t)(close - mark - 1), sql);
                        stop = close + 1;
                }
                if (r != 0) {
                        return r;
                }
                at = stop;
        }
        return 0;
}

int schema_text_append(const SchemaText *text, SchemaTextName name, Buffer *sql) {
        size_t before = sql->size;
        int r = 0;
        switch (name) {
        case SCHEMA_TEXT_INIT:
                r = append_text(text, schema_sql_text, schema_sql_text_size, sql);
                break;
        case SCHEMA_TEXT_MISSING:
                r = append_text(text, missing_sql_text, missing_sql_text_size, sql);
                break;
        }
        if (r != 0) {
                sql->size = before;
        }
        return r;
}
