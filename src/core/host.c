#include "core/host.h"

#include <arpa/inet.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

enum {
        NAME_MAX_BYTES = 253, /* RFC 1035: 255 on the wire, the root and the first length off */
        LABEL_MAX = 63,
        GROUPS = 8,        /* of an IPv6 address */
        PATTERN_MAX = 255, /* as config and the commands take it */
};

/* By hand, since the C library's depend on the locale. */
static bool is_digit(char c) {
        return c >= '0' && c <= '9';
}

static char to_lower(char c) {
        return c >= 'A' && c <= 'Z' ? (char)(c - 'A' + 'a') : c;
}

static bool is_hex(char c) {
        return is_digit(c) || (to_lower(c) >= 'a' && to_lower(c) <= 'f');
}

/*
 * RFC 5952: lower case, no leading zeros, the first of the longest runs of two or more zero groups
 * as "::". Not inet_ntop(), which writes part of ::/96 as IPv4. A NAT64 address is hexadecimal like
 * any other, as every tool prints it.
 */
static void format_ipv6(const uint8_t address[16], char out[HOST_SIZE]) {
        unsigned groups[GROUPS];
        int zeros_at = -1, zeros = 1;
        for (int i = 0, run = 0; i < GROUPS; i++) {
                groups[i] = (unsigned)address[2 * i] << 8 | address[2 * i + 1];
                run = groups[i] == 0 ? run + 1 : 0;
                if (run > zeros) {
                        zeros = run;
                        zeros_at = i + 1 - run;
                }
        }
        char *p = out;
        for (int i = 0; i < GROUPS; i++) {
                if (i == zeros_at) {
                        *p++ = ':';
                        *p++ = ':';
                        i += zeros - 1;
                        continue;
                }
                bool first = i == 0 || i == zeros_at + zeros;
                p += sprintf(p, first ? "%x" : ":%x", groups[i]);
        }
        *p = '\0';
}

static int canonical_ipv6(const char *text, size_t size, char out[HOST_SIZE], const char **why) {
        static const uint8_t mapped[12] = {[10] = 0xff, [11] = 0xff};
        char copy[INET6_ADDRSTRLEN];
        uint8_t address[16];
        if (memchr(text, '%', size) != NULL) {
                *why = "is an address with a scope, which means something else on every machine";
                return HOST_E_INVALID;
        }
        if (text[0] == '[') {
                *why = "is an address in brackets, which belong to URLs only";
                return HOST_E_INVALID;
        }
        if (size >= sizeof(copy)) {
                *why = "is no IPv6 address, and a name holds no colon";
                return HOST_E_INVALID;
        }
        memcpy(copy, text, size);
        copy[size] = '\0';
        /* A NUL inside would hide the rest from inet_pton(). */
        if (strlen(copy) != size || inet_pton(AF_INET6, copy, address) != 1) {
                *why = "is no IPv6 address, and a name holds no colon";
                return HOST_E_INVALID;
        }
        if (memcmp(address, mapped, sizeof(mapped)) == 0) {
                sprintf(out, "%u.%u.%u.%u", address[12], address[13], address[14], address[15]);
        } else {
                format_ipv6(address, out);
        }
        return 0;
}

/* Exactly four decimal numbers of one byte, without leading zeros: the only spelling of which every
 * reader thinks the same. */
static bool is_ipv4(const char *text, size_t size) {
        size_t at = 0;
        for (int part = 0; part < 4; part++) {
                if (part > 0 && (at == size || text[at++] != '.')) {
                        return false;
                }
                unsigned value = 0;
                size_t from = at;
                while (at < size && is_digit(text[at]) && at - from < 3) {
                        value = value * 10 + (unsigned)(text[at++] - '0');
                }
                if (at == from || value > 255 || (at - from > 1 && text[from] == '0')) {
                        return false;
                }
        }
        return at == size;
}

/*
 * Whether the last label is a number to somebody: resolvers take 0x7f000001 and 127.1 as addresses
 * (inet_aton), and no top-level domain looks like that (RFC 3696).
 */
static bool ends_in_number(const char *text, size_t size) {
        const char *dot = memrchr(text, '.', size);
        const char *label = dot != NULL ? dot + 1 : text;
        const char *end = text + size;
        bool (*is_part)(char) = is_digit;
        if (end - label >= 2 && label[0] == '0' && to_lower(label[1]) == 'x') {
                label += 2;
                is_part = is_hex;
        }
        while (label < end && is_part(*label)) {
                label++;
        }
        return label == end;
}

static int check_name(const char *text, size_t size, const char **why) {
        size_t label = 0; /* where the current one begins */
        for (size_t i = 0; i <= size; i++) {
                char c = i < size ? text[i] : '.';
                if (c == '.') {
                        if (i == label) {
                                *why = "has an empty label";
                                return HOST_E_INVALID;
                        }
                        if (i - label > LABEL_MAX) {
                                *why = "has a label of more than 63 bytes";
                                return HOST_E_INVALID;
                        }
                        if (text[label] == '-' || text[i - 1] == '-') {
                                *why = "has a label that begins or ends with a hyphen";
                                return HOST_E_INVALID;
                        }
                        label = i + 1;
                } else if (!is_digit(c) && !(to_lower(c) >= 'a' && to_lower(c) <= 'z') &&
                           c != '-') {
                        *why = "holds a byte that no host name has (letters, digits, hyphens and "
                               "dots are allowed)";
                        return HOST_E_INVALID;
                }
        }
        return 0;
}

int host_canonical(const char *text, size_t size, char out[HOST_SIZE], const char **why) {
        if (size == 0) {
                *why = "is empty";
                return HOST_E_INVALID;
        }
        if (memchr(text, ':', size) != NULL) {
                return canonical_ipv6(text, size, out, why);
        }
        size_t full = size;
        if (size > 1 && text[size - 1] == '.') {
                size--;
        }
        if (size > NAME_MAX_BYTES) {
                *why = "is longer than 253 bytes";
                return HOST_E_INVALID;
        }
        int r = check_name(text, size, why);
        if (r != 0) {
                return r;
        }
        if (ends_in_number(text, size) && (full != size || !is_ipv4(text, size))) {
                *why = "looks like an IPv4 address and is none (four decimal numbers, no leading "
                       "zeros, no final dot)";
                return HOST_E_INVALID;
        }
        for (size_t i = 0; i < size; i++) {
                out[i] = to_lower(text[i]);
        }
        out[size] = '\0';
        return 0;
}

bool host_is_address(const char *host) {
        /* A canonical name whose last label is a number can only be an address. */
        return strchr(host, ':') != NULL || ends_in_number(host, strlen(host));
}

bool host_is_loopback(const char *host) {
        static const char *const names[] = {"localhost",     "localhost.localdomain",
                                            "localhost4",    "localhost6",
                                            "ip6-localhost", "ip6-loopback",
                                            "::1",           "::"};
        static const char below[] = ".localhost";
        size_t size = strlen(host);
        if (size >= sizeof(below) &&
            memcmp(host + size - (sizeof(below) - 1), below, sizeof(below) - 1) == 0) {
                return true;
        }
        /* Every message is asked; few hosts begin like one of these. */
        if (strchr("li:", host[0]) != NULL) {
                for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
                        if (strcmp(names[i], host) == 0) {
                                return true;
                        }
                }
        }
        return is_digit(host[0]) && is_ipv4(host, size) &&
               (strncmp(host, "127.", 4) == 0 || strncmp(host, "0.", 2) == 0);
}

bool host_matches(const char *pattern, const char *host) {
        /* When a byte doesn't fit, the newest star takes one more and everything behind it is tried
         * again. Older stars need no second try: whatever they could take more, the newest one can
         * take as well. */
        const char *star = NULL;  /* behind the newest star */
        const char *taken = NULL; /* the first byte of @host that it does not take */
        while (*host != '\0') {
                if (*pattern == '*') {
                        star = ++pattern;
                        taken = host;
                } else if (*pattern == '?' ||
                           (*pattern != '\0' && to_lower(*pattern) == to_lower(*host))) {
                        pattern++;
                        host++;
                } else if (star != NULL) {
                        pattern = star;
                        host = ++taken;
                } else {
                        return false;
                }
        }
        while (*pattern == '*') {
                pattern++;
        }
        return *pattern == '\0';
}

/* From the ends on: row[j] says whether what is left of both, from i and j on, has a name. */
bool host_patterns_meet(const char *one, const char *other) {
        bool row[PATTERN_MAX + 1] = {false};
        size_t n = strlen(one), m = strlen(other);
        if (n > PATTERN_MAX || m > PATTERN_MAX) {
                return true;
        }
        for (size_t i = n + 1; i-- > 0;) {
                bool diagonal = false; /* of i + 1 and j + 1 */
                for (size_t j = m + 1; j-- > 0;) {
                        bool below = i < n && row[j];
                        bool right = j < m && row[j + 1];
                        bool meets;
                        if (i == n && j == m) {
                                meets = true;
                        } else if (one[i] == '*' || other[j] == '*') {
                                /* A star takes nothing, or one more of the other's. */
                                meets = below || right;
                        } else {
                                meets = i < n && j < m && diagonal &&
                                        (one[i] == '?' || other[j] == '?' ||
                                         to_lower(one[i]) == to_lower(other[j]));
                        }
                        diagonal = below;
                        row[j] = meets;
                }
        }
        return row[0];
}
