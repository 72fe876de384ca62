#pragma once

/*
 * Host names: RFC 1123 names and IP addresses, and one canonical form of each, which is all that
 * the ledger, the cool-down and the commands ever see.
 *
 * Canonical: lower case, no final dot; an address as RFC 5952 writes it (an IPv4-mapped IPv6
 * address as IPv4). Refused: an empty name, over 253 bytes, a label that is empty, over 63 bytes or
 * begins or ends with a hyphen, any byte beside letters, digits, hyphen and dot, a last label that
 * is a number, decimal or hexadecimal, when the whole is no plain IPv4 address (010.1.1.1, 1.2.3,
 * 0x7f000001, 10.0.0.1. with a final dot: what they mean depends on who reads them), an address
 * with a scope or in brackets.
 */

#include <stdbool.h>
#include <stddef.h>

#include "util/error.h"

enum {
        HOST_SIZE = 254, /* bytes of a canonical name with its NUL: RFC 1035's 253 and one */
};

enum {
        HOST_E_INVALID = 1,
};

/* @out gets the canonical form; 0 or HOST_E_INVALID with *@why a static sentence part such as
 * "is empty". @text needs no NUL and may hold any bytes. The canonical form of a canonical form is
 * itself. Pure. */
MUST_CHECK int host_canonical(const char *text, size_t size, char out[HOST_SIZE], const char **why);

/* Whether a canonical name is an IP address (which has no first label). */
bool host_is_address(const char *host);

/* Whether every machine is itself under this canonical name: localhost and what lies below it (RFC
 * 6761), Debian's names of ::1, loopback addresses, and the unspecified ones, which connect to it
 * as well. */
bool host_is_loopback(const char *host);

/*
 * Globs on canonical names: `*` any run of bytes, dots included, `?` one byte; everything else
 * itself, letters compared without case. At worst the product of both lengths in steps, and a host
 * has at most 253 bytes, so no pattern can hold up the loop.
 */
bool host_matches(const char *pattern, const char *host);

/* Whether some name could match both globs. Globs of more than 255 bytes, which nobody can have
 * written, count as if. */
bool host_patterns_meet(const char *one, const char *other);
