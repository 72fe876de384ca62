#include "config/config.h"

#include <ctype.h>
#include <string.h>
#include <strings.h>

/*
 * Secrets are recognised generously: what is masked without need costs a look into the file, what
 * is not masked ends in a ticket. What cannot be parsed is masked to its end.
 */

#define MASK "******"

static bool ends_with(const char *text, size_t size, const char *end) {
        size_t n = strlen(end);
        return size >= n && strncasecmp(text + size - n, end, n) == 0;
}

bool config_is_secret(const char *name) {
        static const char *const ends[] = {"password", "passphrase", "secret", "key.pem", NULL};
        for (size_t i = 0; ends[i] != NULL; i++) {
                if (ends_with(name, strlen(name), ends[i])) {
                        return true;
                }
        }
        return strcmp(name, "sasl.oauthbearer.config") == 0;
}

/* "user:PASSWORD@host": to the last @, since a password may hold one that should have been escaped.
 * *@pp stands behind the scheme, and then before what is still to be added. */
static int mask_user(const char **pp, Buffer *out) {
        const char *colon = strchr(*pp, ':'), *at = strrchr(*pp, '@');
        if (colon == NULL || at == NULL || at < colon) {
                return 0;
        }
        int r = buffer_append(out, *pp, (size_t)(colon + 1 - *pp));
        *pp = at;
        return r == 0 ? buffer_append_string(out, MASK) : r;
}

/* "?name=value&…"; a name with % may spell anything. */
static int mask_uri(const char *dsn, size_t scheme, Buffer *out) {
        const char *p = dsn + scheme;
        int r = buffer_append(out, dsn, scheme);
        r = r == 0 ? mask_user(&p, out) : r;
        const char *query = strchr(p, '?');
        if (r != 0 || query == NULL) {
                return r != 0 ? r : buffer_append_string(out, p);
        }
        r = buffer_append(out, p, (size_t)(query - p));
        for (p = query; *p != '\0' && r == 0;) {
                size_t size = 1 + strcspn(p + 1, "&");
                const char *equals = memchr(p, '=', size);
                size_t name = equals != NULL ? (size_t)(equals - p) : size;
                if (equals != NULL &&
                    (ends_with(p, name, "password") || memchr(p, '%', name) != NULL)) {
                        r = buffer_append(out, p, name + 1);
                        r = r == 0 ? buffer_append_string(out, MASK) : r;
                } else {
                        r = buffer_append(out, p, size);
                }
                p += size;
        }
        return r;
}

static const char *skip_spaces(const char *p) {
        while (isspace((unsigned char)*p)) {
                p++;
        }
        return p;
}

/* Behind the value that begins at @p, as libpq reads it; NULL: its quote is not closed. */
static const char *skip_value(const char *p) {
        bool quoted = *p == '\'';
        for (p += quoted; *p != '\0'; p++) {
                if (quoted ? *p == '\'' : isspace((unsigned char)*p) != 0) {
                        return p + quoted;
                }
                if (*p == '\\' && p[1] != '\0') {
                        p++;
                }
        }
        return quoted ? NULL : p;
}

static int mask_pairs(const char *dsn, Buffer *out) {
        for (const char *p = dsn; *p != '\0';) {
                const char *name = skip_spaces(p);
                if (*name == '\0') {
                        return 0;
                }
                size_t size = strcspn(name, "= \t\n\v\f\r");
                const char *equals = skip_spaces(name + size);
                const char *value = *equals == '=' ? skip_spaces(equals + 1) : NULL;
                const char *end = value != NULL ? skip_value(value) : NULL;
                if (end == NULL) {
                        int r = buffer_append(out, p, (size_t)(name - p));
                        return r == 0 ? buffer_append_string(out, MASK) : r;
                }
                /* dbname may itself be a connection string. */
                bool secret = ends_with(name, size, "password") ||
                              memmem(value, (size_t)(end - value), "://", 3) != NULL;
                int r = buffer_append(out, p, (size_t)((secret ? value : end) - p));
                r = r == 0 && secret ? buffer_append_string(out, MASK) : r;
                if (r != 0) {
                        return r;
                }
                p = end;
        }
        return 0;
}

int config_mask_dsn(const char *dsn, Buffer *out) {
        static const char *const schemes[] = {"postgresql://", "postgres://", NULL};
        size_t before = out->size;
        size_t scheme = 0;
        for (size_t i = 0; schemes[i] != NULL; i++) {
                if (strncmp(dsn, schemes[i], strlen(schemes[i])) == 0) {
                        scheme = strlen(schemes[i]);
                }
        }
        int r = scheme > 0 ? mask_uri(dsn, scheme, out) : mask_pairs(dsn, out);
        if (r != 0) {
                out->size = before;
        }
        return r;
}
