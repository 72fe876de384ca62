/*
 * The simulation: the engine in a seeded world, see world.h.
 *
 * A seed is a world; the same seed is the same world, on every machine. A broken rule prints the
 * command that shows it.
 */

#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "world.h"

static void usage(FILE *out) {
        fprintf(out, "usage: sim [--seeds N] [--first S] [--seed S] [--steps N] [--trace] [--oom] "
                     "[--hash]\n"
                     "           [--cover]\n\n"
                     "Runs the engine in a simulated world, once a seed, and checks the invariants "
                     "after "
                     "every step.\n\n"
                     "  --seeds N     so many worlds; default 200\n"
                     "  --first S     from this seed on; default 1\n"
                     "  --seed S      this one alone\n"
                     "  --steps N     of each world, before it heals; default 1000\n"
                     "  --trace       tells what happens\n"
                     "  --oom         allocations of the engine fail now and then\n"
                     "  --hash        prints the hash of each world: same seed, same hash\n"
                     "  --cover       prints how often each event met each state\n\n"
                     "The invariants that each daemon is judged by:\n");
        for (size_t i = 0; i < judge_n_rules; i++) {
                fprintf(out, "  %2d  %s\n", judge_rules[i].invariant, judge_rules[i].says);
        }
        fprintf(out, "\nand the world:\n"
                     "   1  what is below a committed offset is resolved, whoever committed it\n"
                     "   2  a fence that says saved: the row is there, once\n"
                     "   3  what was not resolved is handled again, until it is\n"
                     "   4  a committed offset goes down only when somebody resets it\n"
                     "   5  only the owner commits\n"
                     "  16  a shutdown that says committed has committed, and it ends\n"
                     "  19  once faults stop, the lag reaches 0, and nothing spins\n");
}

static uint64_t number(const char *text, const char *option) {
        char *end = NULL;
        errno = 0;
        uint64_t value = strtoull(text, &end, 10);
        if (errno != 0 || end == text || *end != '\0') {
                fprintf(stderr, "sim: --%s: %s is no number\n", option, text);
                exit(64);
        }
        return value;
}

static int compare(const void *a, const void *b) {
        uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
        return x < y ? -1 : x > y;
}

int main(int argc, char **argv) {
        static const struct option options[] = {
                {"seeds", required_argument, NULL, 'n'}, {"first", required_argument, NULL, 'f'},
                {"seed", required_argument, NULL, 's'},  {"steps", required_argument, NULL, 't'},
                {"trace", no_argument, NULL, 'T'},       {"oom", no_argument, NULL, 'o'},
                {"hash", no_argument, NULL, 'x'},        {"cover", no_argument, NULL, 'c'},
                {"help", no_argument, NULL, 'h'},        {NULL, 0, NULL, 0}};
        uint64_t seeds = 200, first = 1, total = 0;
        WorldOptions world = {.steps = 1000};
        bool hash = false, covers = false;
        for (int c; (c = getopt_long(argc, argv, "h", options, NULL)) != -1;) {
                switch (c) {
                case 'n':
                        seeds = number(optarg, "seeds");
                        break;
                case 'f':
                        first = number(optarg, "first");
                        break;
                case 's':
                        first = number(optarg, "seed");
                        seeds = 1;
                        break;
                case 't':
                        world.steps = number(optarg, "steps");
                        break;
                case 'T':
                        world.trace = true;
                        break;
                case 'o':
                        world.oom = true;
                        break;
                case 'x':
                        hash = true;
                        break;
                case 'c':
                        covers = true;
                        break;
                case 'h':
                        usage(stdout);
                        return 0;
                default:
                        usage(stderr);
                        return 64;
                }
        }
        if (optind < argc) {
                usage(stderr);
                return 64;
        }
        uint64_t *counts = calloc(seeds + 1, sizeof(*counts));
        uint64_t all = 0;
        for (uint64_t i = 0; i < seeds; i++) {
                world.seed = first + i;
                uint64_t of = world_run(&world, &counts[i]);
                total += counts[i];
                all = all * 31 + of;
                if (hash) {
                        printf("%" PRIu64 " %016" PRIx64 "\n", world.seed, of);
                }
        }
        qsort(counts, seeds, sizeof(*counts), compare);
        printf("%" PRIu64 " seeds, %" PRIu64 " events (median %" PRIu64 " a seed), hash %016" PRIx64
               ": no rule broken\n",
               seeds, total, seeds > 0 ? counts[seeds / 2] : 0, all);
        free(counts);
        if (covers) {
                coverage_print();
        }
        return 0;
}
