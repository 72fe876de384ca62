#pragma once

/*
 * A trace of a broker, for a person and for test-broker-twin: one operation a line, and below it,
 * two blanks in, what was answered. # begins a comment. record-broker writes them with a real
 * broker; given a trace, it does the same operations once more and writes the answers of today.
 *
 * Members are a, b, c and d, and their ids sort like that. P is a partition, and LIST some of them.
 *
 *   group ASSIGNOR N [session=MS] [poll=MS] [refresh=MS]
 *                          a new topic of N partitions, and a group: range, roundrobin or
 *                          cooperative-sticky; nothing answers before
 *   join M                 a new member; done when the coordinator knows it
 *   leave M                in good order
 *   kill M                 without a word: the coordinator still counts on it
 *   cut M, heal M          it lives, and is cut off; what it has when it is back is its own
 *   expire M               waits until the coordinator has given M up, for its session or because
 *                          it did not answer to a rebalance in time
 *   hold M, give-back M    M keeps what it is to give back; it gives it back
 *   settle                 waits until nobody will be told anything more:
 *                            M assign LIST | M revoke LIST | M lost LIST
 *                          an assignment of nothing is not written, nor is its loss,
 *                          and two assignments with nothing between them are one
 *   settle owned           the same, where how often they are told is left to luck: M has LIST
 *   remember M NAME        as whom M speaks now:  generation N
 *   commit M P:OFFSET:METADATA...     by M as it is now:  P ok | P ERROR
 *                          waits: behind its JoinGroup; settle says then M committed P ...
 *   late NAME P:OFFSET:METADATA...    as the remembered one, as if it had been under way since
 *   committed              P OFFSET METADATA of each that has one
 *   alter P:OFFSET:METADATA...        a tool's, as an administrator:  P ok | P ERROR
 *   forget P...                       a tool's:  P ok | P ERROR
 *   produce P N, abort P N, txn P N   records; in a transaction that is aborted; that is committed
 *   delete-records P:OFFSET...        P LOW | P ERROR; -1 is up to the end
 *   ends                   P LOW HIGH of each
 *   read P                 the offsets of the records that a consumer sees
 *   grow N                 the topic has N partitions now
 *   remake                 deleted and made again, and the group's offsets are gone
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
        TRACE_LINE = 1024,
        TRACE_WORDS = 16,
        TRACE_MEMBERS = 4,
        TRACE_PARTITIONS = 6,
};

typedef struct TraceOp {
        char line[TRACE_LINE], text[TRACE_LINE];
        char *words[TRACE_WORDS + 1]; /* into @text; NULL at the end */
        size_t n;
} TraceOp;

/* P:OFFSET:METADATA; what is left out is 0 and "". */
typedef struct TracePlace {
        int partition;
        int64_t offset;
        char metadata[64];
} TracePlace;

static inline void trace_split(TraceOp *op, const char *line) {
        char *rest = op->text;
        snprintf(op->line, sizeof(op->line), "%s", line);
        snprintf(op->text, sizeof(op->text), "%s", line);
        op->n = 0;
        for (char *word; op->n < TRACE_WORDS && (word = strtok_r(rest, " \n", &rest)) != NULL;) {
                op->words[op->n++] = word;
        }
        op->words[op->n] = NULL;
}

static inline bool trace_is(const TraceOp *op, const char *name) {
        return op->n > 0 && strcmp(op->words[0], name) == 0;
}

/* The member that word @i names; -1: none. */
static inline int trace_member(const TraceOp *op, size_t i) {
        const char *word = i < op->n ? op->words[i] : "";
        return word[0] >= 'a' && word[0] < 'a' + TRACE_MEMBERS && word[1] == '\0' ? word[0] - 'a'
                                                                                  : -1;
}

static inline int64_t trace_number(const TraceOp *op, size_t i) {
        return i < op->n ? strtoll(op->words[i], NULL, 10) : 0;
}

/* The value of NAME=VALUE; @otherwise when it is not there. */
static inline int64_t trace_option(const TraceOp *op, const char *name, int64_t otherwise) {
        size_t size = strlen(name);
        for (size_t i = 1; i < op->n; i++) {
                if (strncmp(op->words[i], name, size) == 0 && op->words[i][size] == '=') {
                        return strtoll(op->words[i] + size + 1, NULL, 10);
                }
        }
        return otherwise;
}

static inline TracePlace trace_place(const char *word) {
        TracePlace place = {0};
        char *end;
        place.partition = (int)strtol(word, &end, 10);
        if (*end == ':') {
                place.offset = strtoll(end + 1, &end, 10);
        }
        if (*end == ':') {
                snprintf(place.metadata, sizeof(place.metadata), "%s", end + 1);
        }
        return place;
}

/* "0,1,5"; "-" when there is none. */
static inline const char *trace_list(char text[64], unsigned partitions) {
        size_t size = 0;
        snprintf(text, 64, "-");
        for (int i = 0; i < 32; i++) {
                if (partitions & 1u << i) {
                        size += (size_t)snprintf(text + size, 64 - size, "%s%d",
                                                 size > 0 ? "," : "", i);
                }
        }
        return text;
}
