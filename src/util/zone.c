/*
 * A file has its data twice: with times of 32 bits for readers of version 1, and behind that with
 * times of 64 bits, then the rule. Only the second part is read.
 *
 * Every number is checked before it is used, so that what is asked later needs no check: indices
 * lie in their tables, times rise, offsets are within a day or so, and the rule can be worked out
 * for any year.
 */

#include "util/zone.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

enum {
        MINUTE = 60,
        HOUR = 60 * MINUTE,
        DAY = 24 * HOUR,
        HEADER = 44,
        /* RFC 8536, 3.2: an offset is more than -25 and less than 26 hours. */
        OFFSET_MIN = -25 * HOUR + 1,
        OFFSET_MAX = 26 * HOUR - 1,
        RULE_HOURS = 167,   /* in a rule a time is within a week of its day (version 3) */
        YEAR_DAYS = 146097, /* of 400 years */
};

#define TIME_MAX INT64_C(10000000000000)

typedef enum DateKind {
        DATE_JULIAN, /* Jn: day 1 to 365, February 29th is never counted */
        DATE_ZERO,   /* n: day 0 to 365 */
        DATE_MONTH,  /* Mm.w.d: the w-th (5: last) of a day of the week, 0 is Sunday */
} DateKind;

typedef struct RuleDate {
        DateKind kind;
        int day, month, week;
        int32_t time; /* of the wall clock before the change, seconds from midnight */
} RuleDate;

typedef struct Rule {
        bool given;
        bool changes; /* there is daylight saving, between these: */
        RuleDate begins, ends;
        int32_t standard, saving; /* offsets */
} Rule;

typedef struct Change {
        int64_t time;
        int32_t offset; /* from then on */
} Change;

struct Zone {
        int32_t first; /* before the first change */
        Rule rule;     /* from the last one on */
        size_t n;
        Change changes[];
};

static const Zone utc;

const Zone *zone_utc(void) {
        return &utc;
}

void zone_free(Zone *zone) {
        if (zone != &utc) {
                free(zone);
        }
}

/* --- the calendar ------------------------------------------------------------------------- */

static bool is_leap(int64_t year) {
        return year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
}

/* Days from 1970-01-01 to January 1st of @year. */
static int64_t year_begins(int64_t year) {
        int64_t y = year - 1;
        int64_t cycles = y >= 0 ? y / 400 : -((399 - y) / 400);
        int64_t rest = y - cycles * 400;
        return cycles * YEAR_DAYS + rest * 365 + rest / 4 - rest / 100 - 719162;
}

static int64_t year_of(int64_t time) {
        int64_t days = time / DAY - (time % DAY < 0);
        int64_t year = 1970 + days / 366; /* near enough to be corrected below */
        year = days < 0 ? 1970 + days / 365 - 1 : year;
        while (year_begins(year + 1) <= days) {
                int64_t more = (days - year_begins(year + 1)) / 366;
                year += more > 0 ? more : 1;
        }
        while (year_begins(year) > days) {
                int64_t less = (year_begins(year) - days) / 366;
                year -= less > 0 ? less : 1;
        }
        return year;
}

/* The day of the year, from 0, on which the rule's date falls. */
static int rule_day(const RuleDate *date, int64_t year) {
        static const int before[] = {0, 31, 59, 90, 120, 151, 181, 212, 243, 273, 304, 334, 365};
        bool leap = is_leap(year);
        if (date->kind == DATE_JULIAN) {
                return date->day - 1 + (leap && date->day >= 60);
        }
        if (date->kind == DATE_ZERO) {
                return date->day;
        }
        int first = before[date->month - 1] + (leap && date->month > 2);
        int size = before[date->month] - before[date->month - 1] + (leap && date->month == 2);
        int64_t weekday = (year_begins(year) + first + 4) % 7; /* 1970-01-01 was a Thursday */
        weekday += weekday < 0 ? 7 : 0;
        int day = (date->day - (int)weekday + 7) % 7 + (date->week - 1) * 7;
        return first + (day < size ? day : day - 7);
}

/* When the rule's date comes in @year, with @offset in force before it. */
static int64_t rule_time(const RuleDate *date, int64_t year, int32_t offset) {
        return (year_begins(year) + rule_day(date, year)) * DAY + date->time - offset;
}

static int32_t rule_offset(const Rule *rule, int64_t time, int64_t *untilp) {
        int64_t newest = INT64_MIN;
        int32_t offset = rule->standard;
        *untilp = INT64_MAX;
        if (!rule->changes) {
                return offset;
        }
        /* A time may lie a week off its day, and the year is that of UTC. */
        int64_t year = year_of(time);
        for (int64_t y = year - 1; y <= year + 1; y++) {
                int64_t ends = rule_time(&rule->ends, y, rule->saving);
                int64_t begins = rule_time(&rule->begins, y, rule->standard);
                if (ends <= time && ends > newest) {
                        newest = ends;
                        offset = rule->standard;
                }
                /* Where one year's end is the next one's beginning, it never ends. */
                if (begins <= time && begins >= newest) {
                        newest = begins;
                        offset = rule->saving;
                }
                *untilp = ends > time && ends < *untilp ? ends : *untilp;
                *untilp = begins > time && begins < *untilp ? begins : *untilp;
        }
        return offset;
}

int32_t zone_offset(const Zone *zone, int64_t time, int64_t *untilp) {
        time = time > TIME_MAX ? TIME_MAX : time < -TIME_MAX ? -TIME_MAX : time;
        size_t from = 0, to = zone->n; /* the first change that is later */
        while (from < to) {
                size_t middle = from + (to - from) / 2;
                if (zone->changes[middle].time <= time) {
                        from = middle + 1;
                } else {
                        to = middle;
                }
        }
        if (from == zone->n && zone->rule.given) {
                int32_t offset = rule_offset(&zone->rule, time, untilp);
                *untilp = *untilp > TIME_MAX ? INT64_MAX : *untilp;
                return offset;
        }
        bool last = from == zone->n || zone->changes[from].time > TIME_MAX;
        *untilp = last ? INT64_MAX : zone->changes[from].time;
        return from > 0 ? zone->changes[from - 1].offset : zone->first;
}

/* --- the rule ----------------------------------------------------------------------------- */

typedef struct Text {
        const char *at, *end;
} Text;

static bool take(Text *text, char c) {
        bool there = text->at < text->end && *text->at == c;
        text->at += there;
        return there;
}

static bool is_digit(char c) {
        return c >= '0' && c <= '9';
}

static bool is_letter(char c) {
        return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

static bool take_number(Text *text, int least, int most, int *number) {
        int value = 0, digits = 0;
        for (; text->at < text->end && is_digit(*text->at) && digits < 4; text->at++, digits++) {
                value = value * 10 + (*text->at - '0');
        }
        *number = value;
        return digits > 0 && value >= least && value <= most;
}

/* [+-]hh[:mm[:ss]] */
static bool take_time(Text *text, int hours, int32_t *seconds) {
        bool minus = take(text, '-');
        int h = 0, m = 0, s = 0;
        if (!minus) {
                (void)take(text, '+');
        }
        if (!take_number(text, 0, hours, &h)) {
                return false;
        }
        if (take(text, ':')) {
                if (!take_number(text, 0, 59, &m) ||
                    (take(text, ':') && !take_number(text, 0, 59, &s))) {
                        return false;
                }
        }
        int32_t sum = h * HOUR + m * MINUTE + s;
        *seconds = minus ? -sum : sum;
        return true;
}

/* Letters, or anything between < and >: what it is called is nothing to us. */
static bool take_name(Text *text) {
        const char *from = text->at;
        if (take(text, '<')) {
                while (text->at < text->end && *text->at != '>') {
                        text->at++;
                }
                return text->at - from > 1 && take(text, '>');
        }
        while (text->at < text->end && is_letter(*text->at)) {
                text->at++;
        }
        return text->at - from >= 3;
}

static bool take_date(Text *text, RuleDate *date) {
        *date = (RuleDate){.time = 2 * HOUR};
        bool good;
        if (!take(text, ',')) {
                return false;
        }
        if (take(text, 'M')) {
                date->kind = DATE_MONTH;
                good = take_number(text, 1, 12, &date->month) && take(text, '.') &&
                       take_number(text, 1, 5, &date->week) && take(text, '.') &&
                       take_number(text, 0, 6, &date->day);
        } else if (take(text, 'J')) {
                date->kind = DATE_JULIAN;
                good = take_number(text, 1, 365, &date->day);
        } else {
                date->kind = DATE_ZERO;
                good = take_number(text, 0, 365, &date->day);
        }
        return good && (!take(text, '/') || take_time(text, RULE_HOURS, &date->time));
}

/* POSIX's TZ, as in CET-1CEST,M3.5.0,M10.5.0/3; its offsets are what is added to get UTC. */
static bool rule_parse(Rule *rule, Text text) {
        int32_t seconds = 0;
        *rule = (Rule){.given = text.at < text.end};
        if (!rule->given) {
                return true;
        }
        if (!take_name(&text) || !take_time(&text, 24, &seconds)) {
                return false;
        }
        rule->standard = rule->saving = -seconds;
        if (text.at == text.end) {
                return true;
        }
        rule->changes = true;
        rule->saving = rule->standard + HOUR;
        if (!take_name(&text)) {
                return false;
        }
        if (text.at < text.end && *text.at != ',') {
                if (!take_time(&text, 24, &seconds)) {
                        return false;
                }
                rule->saving = -seconds;
        }
        /* A file's rule always says when: what holds without it is each system's own. */
        return take_date(&text, &rule->begins) && take_date(&text, &rule->ends) &&
               text.at == text.end;
}

/* --- the file ----------------------------------------------------------------------------- */

static uint32_t read_u32(const uint8_t *p) {
        return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

static int64_t read_i64(const uint8_t *p) {
        return (int64_t)((uint64_t)read_u32(p) << 32 | read_u32(p + 4));
}

typedef struct Header {
        size_t isut, isstd, leaps, times, types, letters;
} Header;

/* The sizes of what follows a header at @p; false: it is none. */
static bool header_read(const uint8_t *p, Header *header) {
        if (memcmp(p, "TZif", 4) != 0) {
                return false;
        }
        *header = (Header){.isut = read_u32(p + 20),
                           .isstd = read_u32(p + 24),
                           .leaps = read_u32(p + 28),
                           .times = read_u32(p + 32),
                           .types = read_u32(p + 36),
                           .letters = read_u32(p + 40)};
        return true;
}

/* Bytes of the block behind a header, with times of @width bytes. Each count has 32 bits. */
static uint64_t block_size(const Header *header, unsigned width) {
        return (uint64_t)header->times * (width + 1) + (uint64_t)header->types * 6 +
               header->letters + (uint64_t)header->leaps * (width + 4) + header->isstd +
               header->isut;
}

static int invalid(const char **whyp, const char *why) {
        *whyp = why;
        return ZONE_E_INVALID;
}

/* @block has the size that its header says. */
static int changes_read(Zone *zone, const uint8_t *block, const Header *header, const char **whyp) {
        const uint8_t *types = block + header->times * 9;
        const uint8_t *indices = block + header->times * 8;
        for (size_t i = 0; i < header->types; i++) {
                int32_t offset = (int32_t)read_u32(types + i * 6);
                if (offset < OFFSET_MIN || offset > OFFSET_MAX) {
                        return invalid(whyp, "has an offset of more than a day");
                }
        }
        zone->first = (int32_t)read_u32(types);
        zone->n = header->times;
        for (size_t i = 0; i < header->times; i++) {
                if (indices[i] >= header->types) {
                        return invalid(whyp, "names an offset that it does not have");
                }
                zone->changes[i] =
                        (Change){.time = read_i64(block + i * 8),
                                 .offset = (int32_t)read_u32(types + (size_t)indices[i] * 6)};
                if (i > 0 && zone->changes[i].time <= zone->changes[i - 1].time) {
                        return invalid(whyp, "has changes that are out of order");
                }
        }
        return 0;
}

int zone_parse(Zone **zonep, const uint8_t *data, size_t size, const char **whyp) {
        Header header;
        if (size < HEADER || !header_read(data, &header)) {
                return invalid(whyp, "is no file of a time zone");
        }
        if (data[4] < '2') {
                return invalid(whyp, "is of version 1, which has no rule for the future");
        }
        uint64_t first = HEADER + block_size(&header, 4);
        if (first + HEADER > size) {
                return invalid(whyp, "is cut short");
        }
        const uint8_t *second = data + first;
        if (!header_read(second, &header)) {
                return invalid(whyp, "has no second part");
        }
        uint64_t rest = size - first - HEADER, block = block_size(&header, 8);
        if (block + 2 > rest) {
                return invalid(whyp, "is cut short");
        }
        if (header.types == 0) {
                return invalid(whyp, "has no offset");
        }
        if (header.leaps > 0) {
                return invalid(whyp, "counts leap seconds, which the system's clock does not");
        }
        const char *footer = (const char *)second + HEADER + block;
        const char *end = memchr(footer + 1, '\n', rest - block - 1);
        if (*footer != '\n' || end == NULL) {
                return invalid(whyp, "is cut short");
        }
        Zone *zone = calloc(1, sizeof(*zone) + header.times * sizeof(Change));
        if (zone == NULL) {
                return error_origin(-ENOMEM);
        }
        int r = changes_read(zone, second + HEADER, &header, whyp);
        if (r == 0 && !rule_parse(&zone->rule, (Text){.at = footer + 1, .end = end})) {
                r = invalid(whyp, "has a rule for the future that is not POSIX's");
        }
        if (r != 0) {
                zone_free(zone);
                return r;
        }
        *zonep = zone;
        return 0;
}
