#include "util/json_syntax.h"

#include <string.h>

/* Recursive descent, no deeper than JSON_SYNTAX_DEPTH; on failure `p` stands where it is. */
typedef struct Scan {
        const char *p, *end;
        int depth;
} Scan;

static bool scan_value(Scan *scan);

static void skip_blanks(Scan *scan) {
        while (scan->p < scan->end && *scan->p != '\0' && strchr(" \t\r\n", *scan->p) != NULL) {
                scan->p++;
        }
}

static bool take(Scan *scan, char c) {
        if (scan->p == scan->end || *scan->p != c) {
                return false;
        }
        scan->p++;
        return true;
}

static bool take_word(Scan *scan, const char *word) {
        size_t size = strlen(word);
        if ((size_t)(scan->end - scan->p) < size || memcmp(scan->p, word, size) != 0) {
                return false;
        }
        scan->p += size;
        return true;
}

static bool take_digits(Scan *scan) {
        const char *before = scan->p;
        while (scan->p < scan->end && *scan->p >= '0' && *scan->p <= '9') {
                scan->p++;
        }
        return scan->p > before;
}

static bool scan_number(Scan *scan) {
        (void)take(scan, '-');
        if (!take(scan, '0') && !take_digits(scan)) {
                return false;
        }
        if (take(scan, '.') && !take_digits(scan)) {
                return false;
        }
        if (take(scan, 'e') || take(scan, 'E')) {
                (void)(take(scan, '+') || take(scan, '-'));
                return take_digits(scan);
        }
        return true;
}

static bool scan_escape(Scan *scan) {
        static const char hex[] = "0123456789abcdefABCDEF";
        if (!take(scan, 'u')) {
                bool known = scan->p < scan->end && *scan->p != '\0' &&
                             strchr("\"\\/bfnrt", *scan->p) != NULL;
                scan->p += known;
                return known;
        }
        for (int i = 0; i < 4; i++) {
                if (scan->p == scan->end || *scan->p == '\0' || strchr(hex, *scan->p) == NULL) {
                        return false;
                }
                scan->p++;
        }
        return true;
}

/* Behind its first quote. */
static bool scan_string(Scan *scan) {
        while (scan->p < scan->end && (unsigned char)*scan->p >= ' ') {
                char c = *scan->p++;
                if (c == '"') {
                        return true;
                }
                if (c == '\\' && !scan_escape(scan)) {
                        return false;
                }
        }
        return false;
}

static bool scan_member(Scan *scan, char close) {
        if (close == '}') {
                skip_blanks(scan);
                if (!take(scan, '"') || !scan_string(scan)) {
                        return false;
                }
                skip_blanks(scan);
                if (!take(scan, ':')) {
                        return false;
                }
        }
        return scan_value(scan);
}

/* Behind its opening bracket. */
static bool scan_members(Scan *scan, char close) {
        skip_blanks(scan);
        if (take(scan, close)) {
                return true;
        }
        while (scan_member(scan, close)) {
                skip_blanks(scan);
                if (take(scan, close)) {
                        return true;
                }
                if (!take(scan, ',')) {
                        return false;
                }
        }
        return false;
}

static bool scan_value(Scan *scan) {
        skip_blanks(scan);
        if (take(scan, '"')) {
                return scan_string(scan);
        }
        if (scan->p < scan->end && (*scan->p == '{' || *scan->p == '[')) {
                if (scan->depth == JSON_SYNTAX_DEPTH) {
                        return false;
                }
                scan->depth++;
                bool valid = scan_members(scan, *scan->p++ == '{' ? '}' : ']');
                scan->depth--;
                return valid;
        }
        return take_word(scan, "true") || take_word(scan, "false") || take_word(scan, "null") ||
               scan_number(scan);
}

bool json_syntax_is_valid(const char *text, size_t size, size_t *at) {
        Scan scan = {.p = text, .end = text + size};
        bool valid = scan_value(&scan);
        if (valid) {
                skip_blanks(&scan);
                valid = scan.p == scan.end;
        }
        if (!valid) {
                *at = (size_t)(scan.p - text);
        }
        return valid;
}
