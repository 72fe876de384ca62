/*
 * Hosts: the first line of the input is a host, the second a pattern. A canonical form is one of
 * itself and holds nothing that any reader of it could take for something else; a glob matches what
 * its definition says.
 */

#include <arpa/inet.h>
#include <assert.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "core/host.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_canonical(const char *host) {
        char again[HOST_SIZE];
        const char *why = NULL;
        size_t size = strlen(host);
        assert(size > 0 && size < HOST_SIZE);
        assert(host_canonical(host, size, again, &why) == 0);
        assert(strcmp(host, again) == 0);
        assert(strspn(host, "abcdefghijklmnopqrstuvwxyz0123456789-.:") == size);
        assert(host[0] != '-' && host[0] != '.' && host[size - 1] != '-' && host[size - 1] != '.');

        uint8_t address[16];
        struct in_addr legacy;
        bool v4 = inet_pton(AF_INET, host, address) == 1;
        bool v6 = inet_pton(AF_INET6, host, address) == 1;
        assert(host_is_address(host) == (v4 || v6));
        /* What resolvers take for an address is one to us as well. */
        assert(v4 || inet_aton(host, &legacy) == 0);

        assert(host_matches(host, host));
        assert(host_matches("*", host));
}

/* The definition, as a table of what each pair of prefixes does. */
static bool matches(const char *pattern, const char *host) {
        size_t n = strlen(host);
        bool *row = calloc(n + 1, sizeof(*row));
        assert(row != NULL);
        row[0] = true;
        for (const char *p = pattern; *p != '\0'; p++) {
                bool before = row[0]; /* the pattern without *p, the host without its last byte */
                row[0] = row[0] && *p == '*';
                for (size_t i = 1; i <= n; i++) {
                        bool without = row[i];
                        if (*p == '*') {
                                row[i] = row[i] || row[i - 1];
                        } else {
                                char a = *p >= 'A' && *p <= 'Z' ? (char)(*p + 32) : *p;
                                char b = host[i - 1];
                                b = b >= 'A' && b <= 'Z' ? (char)(b + 32) : b;
                                row[i] = before && (a == '?' || a == b);
                        }
                        before = without;
                }
        }
        bool result = row[n];
        free(row);
        return result;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
        const uint8_t *newline = size > 0 ? memchr(data, '\n', size) : NULL;
        size_t host_size = newline != NULL ? (size_t)(newline - data) : size;
        size_t rest = newline != NULL ? size - host_size - 1 : 0;

        char out[HOST_SIZE];
        const char *why = NULL;
        int r = host_canonical((const char *)data, host_size, out, &why);
        if (r == 0) {
                check_canonical(out);
        } else {
                assert(r == HOST_E_INVALID && why != NULL && *why != '\0');
        }

        /* On any text: the pattern is the configuration's, and `ackd hold` takes one. */
        char *host = strndup(size > 0 ? (const char *)data : "", host_size);
        char *pattern = strndup(rest > 0 ? (const char *)newline + 1 : "", rest);
        assert(host != NULL && pattern != NULL);
        pattern[strcspn(pattern, "\n")] = '\0';
        assert(host_matches(pattern, host) == matches(pattern, host));
        free(host);
        free(pattern);
        return 0;
}
