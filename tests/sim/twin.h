#pragma once

/*
 * What a twin test is made of: a sequence of operations, all of it from its seed, given to a
 * simulation and to the real thing; the operation is told in words, so is what each side answers,
 * and the words are compared. One that differs ends the program with the command that shows it.
 */

#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/backoff.h"
#include "util/buffer.h"
#include "util/loop.h"

typedef enum Side {
        SIMULATED,
        REAL,
        SIDES,
} Side;

/* An operation, by how its name begins, and what its answer has: each must come up. */
typedef struct TwinReached {
        const char *what, *answer;
        uint64_t n;
} TwinReached;

static struct {
        const char *program; /* test-…-twin */
        const char *real;    /* "PostgreSQL" */
        TwinReached *reached;
        size_t n_reached;
        uint64_t enough; /* sequences for each to come up */
        bool trace;
        uint64_t sequences, first;
        uint64_t seed, random;
        uint64_t operations;
        int n;       /* of the operation */
        Buffer what; /* the operation, for people */
        Buffer said[SIDES];
} twin;

__attribute__((format(printf, 2, 3))) static inline void add(Buffer *to, const char *format, ...) {
        va_list ap;
        va_start(ap, format);
        if (buffer_vprintf(to, format, ap) != 0) {
                fprintf(stderr, "%s: no memory\n", twin.program);
                exit(1);
        }
        va_end(ap);
}

/* What a side answers. */
#define SAY(side, ...) add(&twin.said[side], __VA_ARGS__)

static inline const char *text_of(Buffer *buffer) {
        const char *text = buffer_string(buffer);
        return text != NULL ? text : "";
}

static inline uint64_t below(uint64_t n) {
        return random_next(&twin.random) % n;
}

static inline bool chance(unsigned percent) {
        return below(100) < percent;
}

/* Both have answered. */
static inline void compare(void) {
        const char *what = text_of(&twin.what);
        const char *simulated = text_of(&twin.said[SIMULATED]), *real = text_of(&twin.said[REAL]);
        bool same = strcmp(simulated, real) == 0;
        if (twin.trace || !same) {
                printf("%2d %s\n", twin.n, what);
                printf("   %s %s\n", same ? "=>" : "simulated:", simulated);
        }
        if (!same) {
                printf("   %s: %s\n"
                       "sequence %" PRIu64
                       ": they differ; replay: build/tests/sim/%s --first %" PRIu64
                       " --sequences 1 --trace\n",
                       twin.real, real, twin.seed, twin.program, twin.seed);
                exit(1);
        }
        for (size_t i = 0; i < twin.n_reached; i++) {
                TwinReached *one = &twin.reached[i];
                one->n += strncmp(what, one->what, strlen(one->what)) == 0 &&
                          strstr(simulated, one->answer) != NULL;
        }
        buffer_clear(&twin.what);
        buffer_clear(&twin.said[SIMULATED]);
        buffer_clear(&twin.said[REAL]);
}

/* @began: loop_now() when the first sequence did. */
static inline void twin_print_end(int64_t began) {
        printf("%" PRIu64 " sequences, %" PRIu64 " operations, %.1f s: no difference\n",
               twin.sequences, twin.operations, (double)(loop_now() - began) / 1e6);
}

static inline void twin_deinit(void) {
        buffer_deinit(&twin.what);
        buffer_deinit(&twin.said[SIMULATED]);
        buffer_deinit(&twin.said[REAL]);
}

/* False: one did not come up, in enough sequences. */
static inline bool twin_print_reached(void) {
        bool all = true;
        for (size_t i = 0; i < twin.n_reached; i++) {
                const TwinReached *one = &twin.reached[i];
                bool first = i == 0 || strcmp(one->what, twin.reached[i - 1].what) != 0;
                printf("%s%s \"%s\" %" PRIu64, first ? i > 0 ? "\n" : "" : ",",
                       first ? one->what : "", one->answer, one->n);
                all = all && one->n > 0;
        }
        putchar('\n');
        if (!all && twin.sequences >= twin.enough) {
                printf("an answer never came up\n");
                return false;
        }
        return true;
}

static inline void twin_usage(FILE *out) {
        fprintf(out,
                "usage: %s [--sequences N] [--first S] [--trace]\n\n"
                "Gives random sequences of operations to the simulation and to %s, and compares\n"
                "what they answer and what they hold.\n\n"
                "  --sequences N  so many; default %" PRIu64 "\n"
                "  --first S      from this one on; default 1\n"
                "  --trace        tells what is done\n",
                twin.program, twin.real, twin.sequences);
}

static inline uint64_t twin_number(const char *text, const char *option) {
        char *rest = NULL;
        errno = 0;
        uint64_t value = strtoull(text, &rest, 10);
        if (errno != 0 || rest == text || *rest != '\0') {
                fprintf(stderr, "%s: --%s: %s is no number\n", twin.program, option, text);
                exit(64);
        }
        return value;
}

/* Reads the options; ends the program when they say so. */
static inline void twin_options(int argc, char **argv) {
        static const struct option options[] = {{"sequences", required_argument, NULL, 'n'},
                                                {"first", required_argument, NULL, 'f'},
                                                {"trace", no_argument, NULL, 'T'},
                                                {"help", no_argument, NULL, 'h'},
                                                {NULL, 0, NULL, 0}};
        twin.first = 1;
        for (int c; (c = getopt_long(argc, argv, "h", options, NULL)) != -1;) {
                switch (c) {
                case 'n':
                        twin.sequences = twin_number(optarg, "sequences");
                        break;
                case 'f':
                        twin.first = twin_number(optarg, "first");
                        break;
                case 'T':
                        twin.trace = true;
                        break;
                case 'h':
                        twin_usage(stdout);
                        exit(0);
                default:
                        twin_usage(stderr);
                        exit(64);
                }
        }
        if (optind < argc) {
                twin_usage(stderr);
                exit(64);
        }
}
