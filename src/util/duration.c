#include "util/duration.h"

#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

typedef struct Unit {
        const char *name;
        uint64_t factor;
} Unit;

/* The largest first: that is how they are formatted. */
static const Unit durations[] = {
        {"d", UINT64_C(86400000000)},
        {"h", UINT64_C(3600000000)},
        {"m", UINT64_C(60000000)},
        {"s", UINT64_C(1000000)},
        {"ms", UINT64_C(1000)},
        {"us", UINT64_C(1)},
        {NULL, 0},
};

static const Unit sizes[] = {
        {"TiB", UINT64_C(1) << 40}, {"GiB", UINT64_C(1) << 30}, {"MiB", UINT64_C(1) << 20},
        {"KiB", UINT64_C(1) << 10}, {"B", UINT64_C(1)},         {NULL, 0},
};

/* Reads the digits; *@rest is what follows them. */
static int parse_number(const char *text, uint64_t *number, const char **rest, const char **why) {
        uint64_t n = 0;
        const char *p = text;
        bool fits = true;
        for (; *p >= '0' && *p <= '9'; p++) {
                fits = fits && !__builtin_mul_overflow(n, 10u, &n) &&
                       !__builtin_add_overflow(n, (uint64_t)(*p - '0'), &n);
        }
        if (p == text) {
                *why = *p == '-' ? "is negative" : "does not begin with a number";
                return DURATION_E_SYNTAX;
        }
        /* Octal to some readers, decimal to others. */
        if (text[0] == '0' && p - text > 1) {
                *why = "begins with a superfluous 0";
                return DURATION_E_SYNTAX;
        }
        if (*p == '.' || *p == ',') {
                *why = "has a fraction; use a smaller unit";
                return DURATION_E_SYNTAX;
        }
        if (!fits) {
                *why = "is too large";
                return DURATION_E_RANGE;
        }
        *number = n;
        *rest = p;
        return 0;
}

static const Unit *find_unit(const Unit *units, const char *name) {
        for (const Unit *unit = units; unit->name != NULL; unit++) {
                if (strcmp(unit->name, name) == 0) {
                        return unit;
                }
        }
        return NULL;
}

static const char *format(uint64_t value, const Unit *units, char out[DURATION_TEXT]) {
        const Unit *unit = units;
        while (unit->factor > 1 && (value == 0 || value % unit->factor != 0)) {
                unit++;
        }
        snprintf(out, DURATION_TEXT, "%" PRIu64 "%s", value / unit->factor, unit->name);
        return out;
}

int duration_parse(const char *text, int64_t *us, const char **why) {
        uint64_t number = 0;
        const char *rest = NULL;
        int r = parse_number(text, &number, &rest, why);
        if (r != 0) {
                return r;
        }
        if (*rest == '\0') {
                if (number == 0) {
                        *us = 0;
                        return 0;
                }
                *why = "has no unit, such as 10s";
                return DURATION_E_SYNTAX;
        }
        const Unit *unit = find_unit(durations, rest);
        if (unit == NULL) {
                *why = "has an unknown unit; known: ms s m h d";
                return DURATION_E_SYNTAX;
        }
        uint64_t value = 0;
        if (__builtin_mul_overflow(number, unit->factor, &value) || value > INT64_MAX) {
                *why = "is too large";
                return DURATION_E_RANGE;
        }
        *us = (int64_t)value;
        return 0;
}

const char *duration_format(int64_t us, char out[DURATION_TEXT]) {
        if (us == 0) {
                return strcpy(out, "0s");
        }
        return format((uint64_t)us, durations, out);
}

int size_parse(const char *text, size_t *bytes, const char **why) {
        uint64_t number = 0;
        const char *rest = NULL;
        int r = parse_number(text, &number, &rest, why);
        if (r != 0) {
                return r;
        }
        const Unit *unit = find_unit(sizes, *rest == '\0' ? "B" : rest);
        if (unit == NULL) {
                *why = "has an unknown unit; known: B KiB MiB GiB TiB";
                return DURATION_E_SYNTAX;
        }
        uint64_t value = 0;
        if (__builtin_mul_overflow(number, unit->factor, &value) || value > SIZE_MAX) {
                *why = "is too large";
                return DURATION_E_RANGE;
        }
        *bytes = (size_t)value;
        return 0;
}

const char *size_format(size_t bytes, char out[DURATION_TEXT]) {
        return format(bytes, sizes, out);
}
