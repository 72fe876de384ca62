#pragma once

/*
 * The SQL that travels inside the binary: schema.sql, which takes ledger.sql and roles.sql in, and
 * missing.sql; the last two take rights.sql in, the one table of who may do what. @name@ in them is
 * filled here. Pure.
 */

#include "util/buffer.h"
#include "util/error.h"

typedef enum SchemaTextName {
        SCHEMA_TEXT_INIT,    /* schema.sql */
        SCHEMA_TEXT_MISSING, /* missing.sql */
} SchemaTextName;

/* What stands for the placeholders. */
typedef struct SchemaText {
        const char *schema; /* a valid name */
        const char *roles;  /* what the names of the roles begin with; "": those that are there */
        const char *part;   /* of rights.sql; only for SCHEMA_TEXT_MISSING */
} SchemaText;

/* Adds it with its placeholders filled; on failure nothing. -ENOMEM; -EINVAL: a placeholder that
 * nobody knows. */
MUST_CHECK int schema_text_append(const SchemaText *text, SchemaTextName name, Buffer *sql);
