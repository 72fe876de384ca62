#include "core/timestamp.h"

#include <stdbool.h>
#include <string.h>

static bool take_digits(const char **pp, const char *end, int digits, int min, int max,
                        int *valuep) {
        int value = 0;
        for (int i = 0; i < digits; i++, (*pp)++) {
                if (*pp == end || **pp < '0' || **pp > '9') {
                        return false;
                }
                value = value * 10 + (**pp - '0');
        }
        *valuep = value;
        return value >= min && value <= max;
}

static bool take_char(const char **pp, const char *end, const char *allowed) {
        if (*pp == end || **pp == '\0' || strchr(allowed, **pp) == NULL) {
                return false;
        }
        (*pp)++;
        return true;
}

/* Days since 1970-01-01 in the proleptic Gregorian calendar. The year begins in March here, so
 * that the leap day comes last, and is never negative. */
static int64_t days_since_1970(int year, int month, int day) {
        int64_t y = month > 2 ? year : year - 1;
        int64_t era_day = (153 * (month > 2 ? month - 3 : month + 9) + 2) / 5 + day - 1;
        int64_t era = y >= 0 ? y / 400 : (y - 399) / 400;
        int64_t in_era = y - era * 400;
        return era * 146097 + in_era * 365 + in_era / 4 - in_era / 100 + era_day - 719468;
}

static int days_of_month(int year, int month) {
        static const int days[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
        bool leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
        return month == 2 && leap ? 29 : days[month - 1];
}

/* Digits behind the point count down to the microsecond; the rest is dropped. */
static bool take_fraction(const char **pp, const char *end, int *usp) {
        int us = 0, digits = 0;
        for (; *pp < end && **pp >= '0' && **pp <= '9'; (*pp)++, digits++) {
                us = digits < 6 ? us * 10 + (**pp - '0') : us;
        }
        for (int i = digits; i < 6; i++) {
                us *= 10;
        }
        *usp = us;
        return digits > 0;
}

static bool take_zone(const char **pp, const char *end, int *minutesp) {
        int hour, minute;
        *minutesp = 0;
        if (take_char(pp, end, "Zz")) {
                return true;
        }
        bool west = *pp < end && **pp == '-';
        if (!take_char(pp, end, "+-") || !take_digits(pp, end, 2, 0, 23, &hour) ||
            !take_char(pp, end, ":") || !take_digits(pp, end, 2, 0, 59, &minute)) {
                return false;
        }
        *minutesp = (hour * 60 + minute) * (west ? -1 : 1);
        return true;
}

int timestamp_parse(const char *text, size_t size, int64_t *time_us) {
        const char *p = text, *end = text + size;
        int year, month, day, hour, minute, second, us = 0, zone;
        if (!take_digits(&p, end, 4, 0, 9999, &year) || !take_char(&p, end, "-") ||
            !take_digits(&p, end, 2, 1, 12, &month) || !take_char(&p, end, "-") ||
            !take_digits(&p, end, 2, 1, days_of_month(year, month), &day) ||
            !take_char(&p, end, "Tt ") || !take_digits(&p, end, 2, 0, 23, &hour) ||
            !take_char(&p, end, ":") || !take_digits(&p, end, 2, 0, 59, &minute) ||
            !take_char(&p, end, ":") || !take_digits(&p, end, 2, 0, 60, &second)) {
                return TIMESTAMP_E_INVALID;
        }
        if (take_char(&p, end, ".") && !take_fraction(&p, end, &us)) {
                return TIMESTAMP_E_INVALID;
        }
        if (!take_zone(&p, end, &zone) || p != end) {
                return TIMESTAMP_E_INVALID;
        }
        int64_t minutes = days_since_1970(year, month, day) * 1440 + hour * 60 + minute - zone;
        /* A leap second ends a day of UTC; like everywhere in Unix time it is the next one's first.
         */
        if (second == 60 && (minutes + 1) % 1440 != 0) {
                return TIMESTAMP_E_INVALID;
        }
        *time_us = (minutes * 60 + second) * 1000000 + us;
        return 0;
}
