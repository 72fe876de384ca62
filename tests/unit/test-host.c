#include "test.h"

#include <arpa/inet.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/backoff.h"
#include "core/host.h"

static void test_canonical_forms(void **state) {
        (void)state;
        static const char *const rows[][2] = {
                {"web1", "web1"},
                {"WEB1.Prod.Example.COM", "web1.prod.example.com"},
                {"web1.example.com.", "web1.example.com"},
                {"a", "a"},
                {"3com.com", "3com.com"},
                {"1a", "1a"},
                {"x--y", "x--y"},
                {"xn--bcher-kva.example", "xn--bcher-kva.example"},
                {"1.2.3.4.example", "1.2.3.4.example"},
                {"0xbeef.example.com", "0xbeef.example.com"},
                {"0xg", "0xg"},
                {"10.0.0.1", "10.0.0.1"},
                {"0.0.0.0", "0.0.0.0"},
                {"255.255.255.255", "255.255.255.255"},
                {"::", "::"},
                {"::1", "::1"},
                {"1::", "1::"},
                {"0:0:0:0:0:0:0:1", "::1"},
                {"2001:DB8::0001", "2001:db8::1"},
                {"2001:0db8:0:0:1:0:0:1", "2001:db8::1:0:0:1"},
                {"2001:db8:0:1:1:1:1:1", "2001:db8:0:1:1:1:1:1"},
                {"2001:0:0:1:0:0:0:1", "2001:0:0:1::1"},
                {"2001:db8::1:1:1:1:1", "2001:db8:0:1:1:1:1:1"},
                {"1:2:3:4:5:6:7:8", "1:2:3:4:5:6:7:8"},
                {"1:2:3:4:5:6:0:0", "1:2:3:4:5:6::"},
                {"0:0:3:4:5:6:7:8", "::3:4:5:6:7:8"},
                {"0:2:3:4:5:6:7:0", "0:2:3:4:5:6:7:0"},
                {"::ffff:192.0.2.1", "192.0.2.1"},
                {"::FFFF:c000:0201", "192.0.2.1"},
                {"0:0:0:0:0:ffff:a00:1", "10.0.0.1"},
                {"::1.2.3.4", "::102:304"},
                {"64:ff9b::192.0.2.33", "64:ff9b::c000:221"},
                {"ffff:ffff:ffff:ffff:ffff:ffff:255.255.255.255",
                 "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"},
        };
        for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
                char out[HOST_SIZE], again[HOST_SIZE];
                const char *why = "ok";
                if (host_canonical(rows[i][0], strlen(rows[i][0]), out, &why) != 0) {
                        fail_msg("%s %s", rows[i][0], why);
                }
                assert_string_equal(out, rows[i][1]);
                assert_int_equal(host_canonical(out, strlen(out), again, &why), 0);
                assert_string_equal(again, out);
        }
}

/* What follows the size is not part of it: a host stands inside a message. */
static void test_the_size_ends_it(void **state) {
        (void)state;
        static const struct {
                const char *text;
                size_t size;
                const char *host;
        } rows[] = {
                {"10.0.0.12", 8, "10.0.0.1"},
                {"10.0.0.1.", 8, "10.0.0.1"},
                {"web12", 4, "web1"},
                {"web1.", 4, "web1"},
                {"web1-", 4, "web1"},
                {"::12", 3, "::1"},
                {"::1:", 3, "::1"},
                {"1:2:3:4:5:6:7:89", 15, "1:2:3:4:5:6:7:8"},
                {"::ffff:10.0.0.12", 15, "10.0.0.1"},
        };
        for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
                char out[HOST_SIZE];
                const char *why = "ok";
                if (host_canonical(rows[i].text, rows[i].size, out, &why) != 0) {
                        fail_msg("%s %s", rows[i].text, why);
                }
                assert_string_equal(out, rows[i].host);
        }
}

#define TEN        "0123456789"
#define L63        TEN TEN TEN TEN TEN TEN "klm"
#define EMPTY      "has an empty label"
#define LONG_LABEL "has a label of more than 63 bytes"
#define HYPHEN     "has a label that begins or ends with a hyphen"
#define BYTE       "holds a byte that no host name has (letters, digits, hyphens and dots are allowed)"
#define IPV4                                                                                       \
        "looks like an IPv4 address and is none (four decimal numbers, no leading zeros, no "      \
        "final dot)"
#define IPV6 "is no IPv6 address, and a name holds no colon"

/* The whole of what is said, at both sides of each bound; NULL: it is a host. */
static void test_why_it_is_refused(void **state) {
        (void)state;
        static const char *const rows[][2] = {
                {"", "is empty"},
                {"a", NULL},
                {"a.", NULL},
                {".", EMPTY},
                {"a..", EMPTY},
                {"..", EMPTY},
                {".a", EMPTY},
                {"a..b", EMPTY},
                {L63, NULL},
                {L63 "a", LONG_LABEL},
                {"a." L63 "a", LONG_LABEL},
                {L63 "a.a", LONG_LABEL},
                {"a." L63 "a.a", LONG_LABEL},
                {L63 "." L63 "." L63 "." TEN TEN TEN TEN TEN TEN "a", NULL},
                {L63 "." L63 "." L63 "." TEN TEN TEN TEN TEN TEN "a.", NULL},
                {L63 "." L63 "." L63 "." TEN TEN TEN TEN TEN TEN "ab", "is longer than 253 bytes"},
                {L63 "." L63 "." L63 "." TEN TEN TEN TEN TEN TEN "ab.", "is longer than 253 bytes"},
                {"-", HYPHEN},
                {"-a", HYPHEN},
                {"a-", HYPHEN},
                {"a-.b", HYPHEN},
                {"a.-b", HYPHEN},
                {"a-b", NULL},
                {"a_b", BYTE},
                {"a/", BYTE},
                {"a@", BYTE},
                {"a[", BYTE},
                {"a`", BYTE},
                {"a{", BYTE},
                {"azAZ09", NULL},
                {"a;b", BYTE},
                {"a\177", BYTE},
                {"a\200", BYTE},
                {"0.0.0.0", NULL},
                {"255.255.255.255", NULL},
                {"1.2.3.4.", IPV4},
                {"256.1.1.1", IPV4},
                {"1.1.1.256", IPV4},
                {"1.1.1.1000", IPV4},
                {"1.1.1.00", IPV4},
                {"01.1.1.1", IPV4},
                {"1.1.1", IPV4},
                {"1.1.1.1.1", IPV4},
                {"1", IPV4},
                {"09", IPV4},
                {"0x", IPV4},
                {"0x9af", IPV4},
                {"0XAF", IPV4},
                {"0x9ag", NULL},
                {"0xG", NULL},
                {"a.0xf", IPV4},
                {"a.9", IPV4},
                {"a.9b", NULL},
                {"9.a", NULL},
                {"1x1", NULL},
                {"::", NULL},
                {":", IPV6},
                {":::", IPV6},
                {"1:2:3:4:5:6:7", IPV6},
                {"1:2:3:4:5:6:7:8", NULL},
                {"1:2:3:4:5:6:7:8:9", IPV6},
                {"1:2:3:4:5:6:7:8g", IPV6},
                {"1111:2222:3333:4444:5555:6666:123.123.123.123", NULL},
                {"1111:2222:3333:4444:5555:6666:123.123.123.1234", IPV6},
                {"1111:2222:3333:4444:5555:6666:7777:8888:9999:aaaa", IPV6},
                {"a:1", IPV6},
                {"fe80::1%1",
                 "is an address with a scope, which means something else on every machine"},
                {"[::1%1]",
                 "is an address with a scope, which means something else on every machine"},
                {"[::1]", "is an address in brackets, which belong to URLs only"},
        };
        for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
                char out[HOST_SIZE] = "untouched";
                const char *why = NULL;
                size_t size = strlen(rows[i][0]);
                char *text = malloc(size + (size == 0)); /* for the sanitizer: and no byte more */
                assert_non_null(text);
                memcpy(text, rows[i][0], size);
                int r = host_canonical(text, size, out, &why);
                free(text);
                if (rows[i][1] == NULL) {
                        if (r != 0) {
                                fail_msg("%s %s", rows[i][0], why);
                        }
                        continue;
                }
                assert_int_equal(r, HOST_E_INVALID);
                if (strcmp(why, rows[i][1]) != 0) {
                        fail_msg("%s %s", rows[i][0], why);
                }
                assert_string_equal(out, "untouched");
        }
        const char *why = NULL;
        char out[HOST_SIZE];
        assert_int_equal(host_canonical("::1\0:", 5, out, &why), HOST_E_INVALID);
        assert_string_equal(why, IPV6);
        assert_int_equal(host_canonical("a\0b", 3, out, &why), HOST_E_INVALID);
        assert_string_equal(why, BYTE);
}

static void test_refused(void **state) {
        (void)state;
        static const char *const rows[] = {
                "",
                ".",
                "..",
                "web1..example",
                ".web1",
                "web1.example..",
                "-oProxyCommand=reboot",
                "-web1",
                "web1-",
                "web1-.example",
                "web1.-example",
                "../etc/passwd",
                "web 1",
                " web1",
                "web1\n",
                "web1\t",
                "web_1",
                "web%31",
                "web1;reboot",
                "$(reboot)",
                "*",
                "b\303\274cher.example",
                "root@web1",
                "web1/24",
                "web1:22",
                "10.0.0.1:22",
                "[::1]",
                "[::1]:22",
                "fe80::1%eth0",
                "fe80::1%25eth0",
                ":",
                ":::",
                "1:2",
                "1::2::3",
                "1:2:3:4:5:6:7:8:9",
                "1:2:3:4:5:6:7:8::",
                "12345::",
                "::1.2.3",
                "::01.2.3.4",
                "::1.",
                "1",
                "127",
                "1.2.3",
                "1.2.3.4.5",
                "010.1.1.1",
                "10.0.0.01",
                "256.1.1.1",
                "1.2.3.1000",
                "10.0.0.1.",
                "0x7f000001",
                "0X7F000001",
                "0x7f.1",
                "127.0.0.0x1",
                "2130706433",
                "web.1",
        };
        for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
                char out[HOST_SIZE] = "untouched";
                const char *why = NULL;
                if (host_canonical(rows[i], strlen(rows[i]), out, &why) != HOST_E_INVALID) {
                        fail_msg("%s was taken as %s", rows[i], out);
                }
                assert_non_null(why);
                assert_string_equal(out, "untouched");
        }
}

static void test_nul_and_size(void **state) {
        (void)state;
        char out[HOST_SIZE];
        const char *why;
        assert_int_equal(host_canonical("web1\0x", 6, out, &why), HOST_E_INVALID);
        assert_int_equal(host_canonical("::1\0", 4, out, &why), HOST_E_INVALID);
        assert_int_equal(host_canonical("\0::1", 4, out, &why), HOST_E_INVALID);
        /* Bytes behind the size are not read. */
        assert_int_equal(host_canonical("web12", 4, out, &why), 0);
        assert_string_equal(out, "web1");
        assert_int_equal(host_canonical("::12", 3, out, &why), 0);
        assert_string_equal(out, "::1");
}

static void test_lengths(void **state) {
        (void)state;
        char name[400], out[HOST_SIZE];
        const char *why;
        memset(name, 'a', sizeof(name));
        assert_int_equal(host_canonical(name, 63, out, &why), 0);
        assert_int_equal(host_canonical(name, 64, out, &why), HOST_E_INVALID);
        for (size_t i = 9; i < sizeof(name); i += 10) {
                name[i] = '.';
        }
        assert_int_equal(host_canonical(name, 253, out, &why), 0);
        assert_int_equal(strlen(out), 253);
        assert_int_equal(host_canonical(name, 254, out, &why), HOST_E_INVALID);
        name[253] = '.';
        assert_int_equal(host_canonical(name, 254, out, &why), 0);
        assert_int_equal(strlen(out), 253);
        assert_int_equal(host_canonical(name, 300, out, &why), HOST_E_INVALID);
}

/* What the C library reads in our form is the address that we were given. */
static void test_addresses_against_the_library(void **state) {
        (void)state;
        uint64_t random = 3;
        for (int i = 0; i < 20000; i++) {
                uint8_t address[16], back[16];
                uint64_t zeros = random_next(&random) & random_next(&random);
                for (int j = 0; j < 16; j++) {
                        bool zero = (zeros >> (j / 2)) & 1;
                        address[j] = zero ? 0 : (uint8_t)random_next(&random);
                }
                address[0] |= 1; /* not a mapped one */
                char text[64], out[HOST_SIZE], ntop[64];
                snprintf(text, sizeof(text), "%02X%02X:%x:%X:%04x:%x:%x:%x:%x", address[0],
                         address[1], address[2] << 8 | address[3], address[4] << 8 | address[5],
                         address[6] << 8 | address[7], address[8] << 8 | address[9],
                         address[10] << 8 | address[11], address[12] << 8 | address[13],
                         address[14] << 8 | address[15]);
                const char *why;
                assert_int_equal(host_canonical(text, strlen(text), out, &why), 0);
                assert_int_equal(inet_pton(AF_INET6, out, back), 1);
                assert_memory_equal(address, back, 16);
                assert_string_equal(out, inet_ntop(AF_INET6, address, ntop, sizeof(ntop)));
        }
}

static void test_is_address(void **state) {
        (void)state;
        assert_true(host_is_address("10.0.0.1"));
        assert_true(host_is_address("::1"));
        assert_true(host_is_address("2001:db8::1"));
        assert_false(host_is_address("web1"));
        assert_false(host_is_address("10.0.0.1.example"));
        assert_false(host_is_address("1a"));
}

static void test_globs(void **state) {
        (void)state;
        struct {
                const char *pattern, *host;
                bool matches;
        } rows[] = {
                {"web1", "web1", true},
                {"web1", "web12", false},
                {"web12", "web1", false},
                {"", "web1", false},
                {"*", "web1", true},
                {"*", "2001:db8::1", true},
                {"**", "web1", true},
                {"*.prod.example.com", "web1.prod.example.com", true},
                {"*.prod.example.com", "a.b.prod.example.com", true},
                {"*.prod.example.com", "prod.example.com", false},
                {"*.prod.example.com", "web1.prod.example.com.evil.com", false},
                {"*.prod.example.com", "web1xprod.example.com", false},
                {"*.PROD.example.com", "web1.prod.example.com", true},
                {"web?", "web1", true},
                {"web?", "web", false},
                {"web?", "web12", false},
                {"web?*", "web12", true},
                {"web*?", "web", false},
                {"?", ".", true},
                {"*a*b*c", "xxaxxbxxc", true},
                {"*a*b*c", "xxaxxbxxcx", false},
                {"a*a", "a", false},
                {"a*a", "aa", true},
                {"*ab", "aab", true},
                {"*aab", "aaab", true},
                {"10.0.*", "10.0.3.4", true},
                {"[ab]", "a", false},
                {"\\*", "*", false},
        };
        for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
                if (host_matches(rows[i].pattern, rows[i].host) != rows[i].matches) {
                        fail_msg("%s on %s", rows[i].pattern, rows[i].host);
                }
        }
}

/* The plain definition; it would take for ever where the real one must not. */
static bool matches_slowly(const char *p, const char *h) {
        if (*p == '\0') {
                return *h == '\0';
        }
        if (*p == '*') {
                return matches_slowly(p + 1, h) || (*h != '\0' && matches_slowly(p, h + 1));
        }
        return *h != '\0' && (*p == '?' || *p == *h) && matches_slowly(p + 1, h + 1);
}

static void test_globs_against_the_definition(void **state) {
        (void)state;
        uint64_t random = 5;
        for (int i = 0; i < 50000; i++) {
                char pattern[8] = "", host[10] = "";
                size_t n = random_next(&random) % 8, m = random_next(&random) % 10;
                for (size_t j = 0; j < n; j++) {
                        pattern[j] = "ab*?*"[random_next(&random) % 5];
                }
                for (size_t j = 0; j < m; j++) {
                        host[j] = "ab"[random_next(&random) % 2];
                }
                if (host_matches(pattern, host) != matches_slowly(pattern, host)) {
                        fail_msg("%s on %s", pattern, host);
                }
        }
}

/* Whether a name of @room letters at most matches both. */
static bool meet_slowly(const char *one, const char *other, char *name, size_t size, size_t room) {
        name[size] = '\0';
        if (host_matches(one, name) && host_matches(other, name)) {
                return true;
        }
        for (char c = 'a'; c <= 'b' && size < room; c++) {
                name[size] = c;
                if (meet_slowly(one, other, name, size + 1, room)) {
                        return true;
                }
        }
        return false;
}

static void test_globs_that_meet(void **state) {
        (void)state;
        static const struct {
                const char *one, *other;
                bool meet;
        } rows[] = {
                {"*", "db1.example.com", true},
                {"*", "*", true},
                {"db*", "*1.example.com", true},
                {"db*.example.com", "web*", false},
                {"db?", "db", false},
                {"db?", "db*", true},
                {"DB1", "db1", true},
                {"a", "b", false},
                {"", "*", true},
                {"", "?", false},
        };
        for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
                assert_int_equal(host_patterns_meet(rows[i].one, rows[i].other), rows[i].meet);
                assert_int_equal(host_patterns_meet(rows[i].other, rows[i].one), rows[i].meet);
        }
        uint64_t random = 7;
        for (int i = 0; i < 4000; i++) {
                char globs[2][6] = {"", ""}, name[16];
                for (int k = 0; k < 2; k++) {
                        size_t n = random_next(&random) % 5;
                        for (size_t j = 0; j < n; j++) {
                                globs[k][j] = "ab*?*"[random_next(&random) % 5];
                        }
                }
                /* What both allow at least has no more letters than both have together. */
                if (host_patterns_meet(globs[0], globs[1]) !=
                    meet_slowly(globs[0], globs[1], name, 0, 8)) {
                        fail_msg("%s and %s", globs[0], globs[1]);
                }
        }
        char longest[257];
        memset(longest, '*', sizeof(longest) - 1);
        longest[256] = '\0';
        assert_true(host_patterns_meet(longest, "a"));
        longest[255] = '\0';
        longest[0] = 'b';
        assert_false(host_patterns_meet(longest, "a"));
        assert_true(host_patterns_meet(longest, longest));
}

/* Exponential or even cubic matching would not come back from this. */
static void test_no_glob_is_slow(void **state) {
        (void)state;
        char host[HOST_SIZE], pattern[512];
        memset(host, 'a', sizeof(host) - 1);
        host[sizeof(host) - 1] = '\0';
        for (size_t i = 0; i < sizeof(pattern) - 2; i++) {
                pattern[i] = i % 2 == 0 ? '*' : 'a';
        }
        strcpy(pattern + 300, "b");
        for (int i = 0; i < 1000; i++) {
                assert_false(host_matches(pattern, host));
        }
}

static void test_loopback(void **state) {
        (void)state;
        static const char *const yes[] = {"localhost",
                                          "localhost.localdomain",
                                          "a.localhost",
                                          "127.0.0.1",
                                          "127.255.0.7",
                                          "::1",
                                          "::",
                                          "0.0.0.0",
                                          "ip6-localhost",
                                          "ip6-loopback",
                                          "localhost4",
                                          "localhost6"};
        static const char *const no[] = {"localhos",        "localhost.example.com",
                                         "xlocalhost",      "128.0.0.1",
                                         "12.7.0.0",        "127.example.com",
                                         "0.example.com",   "::2",
                                         "10.0.0.1",        "1::",
                                         "127-0-0-1.local", "a"};
        for (size_t i = 0; i < sizeof(yes) / sizeof(yes[0]); i++) {
                if (!host_is_loopback(yes[i])) {
                        fail_msg("%s", yes[i]);
                }
        }
        for (size_t i = 0; i < sizeof(no) / sizeof(no[0]); i++) {
                if (host_is_loopback(no[i])) {
                        fail_msg("%s", no[i]);
                }
        }
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_canonical_forms),
                cmocka_unit_test(test_the_size_ends_it),
                cmocka_unit_test(test_why_it_is_refused),
                cmocka_unit_test(test_refused),
                cmocka_unit_test(test_nul_and_size),
                cmocka_unit_test(test_lengths),
                cmocka_unit_test(test_addresses_against_the_library),
                cmocka_unit_test(test_is_address),
                cmocka_unit_test(test_loopback),
                cmocka_unit_test(test_globs),
                cmocka_unit_test(test_globs_against_the_definition),
                cmocka_unit_test(test_globs_that_meet),
                cmocka_unit_test(test_no_glob_is_slow),
        };
        return cmocka_run_group_tests(tests, NULL, NULL);
}
