/*
 * The judge of the simulation over what real daemons wrote down: the files of ACKD_TAPE. Each file
 * is the life of one daemon, and is judged for itself.
 */

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "app/tape.h"
#include "judge.h"
#include "tape-read.h"

enum {
        MOST_BROKEN = 10, /* of one file: what is broken once breaks more */
};

typedef struct Case {
        const char *path;
        TapeReader reader;
        int broken;
} Case;

static void usage(FILE *out) {
        fprintf(out, "usage: sim-judge FILE...\n\n"
                     "Judges what daemons wrote down with ACKD_TAPE. Exit status 1 when a rule is "
                     "broken or a file is no tape.\n\n"
                     "The rules:\n");
        for (size_t i = 0; i < judge_n_rules; i++) {
                fprintf(out, "  %2d  %s\n", judge_rules[i].invariant, judge_rules[i].says);
        }
}

static const char *rule_says(int invariant) {
        for (size_t i = 0; i < judge_n_rules; i++) {
                if (judge_rules[i].invariant == invariant) {
                        return judge_rules[i].says;
                }
        }
        return "?";
}

static void on_broken(void *user, int invariant, const char *what) {
        Case *case_ = user;
        case_->broken++;
        printf("%s:%zu: invariant %d (%s): %s\n", case_->path, case_->reader.line, invariant,
               rule_says(invariant), what);
}

static void print_counts(const uint64_t *counts, const char *mark, const char *const *words,
                         int n) {
        for (int i = 0; i < n; i++) {
                if (counts[i] > 0) {
                        printf(", %" PRIu64 " %s%s", counts[i], mark, words[i]);
                }
        }
}

static void judge_lines(Case *case_) {
        TapeReader *reader = &case_->reader;
        uint64_t all = 0, types[OBSERVED_TYPES] = {0}, actions[TAPE_ACTIONS] = {0};
        JudgeLimits limits = judge_limits(&reader->config);
        Judge *judge = judge_new(&limits, on_broken, case_);
        Observation seen;
        TapeRead read = TAPE_READ;
        while (case_->broken < MOST_BROKEN) {
                read = tape_reader_next(reader, &seen);
                if (read != TAPE_READ) {
                        break;
                }
                judge_see(judge, &seen);
                all++;
                if (seen.type == OBSERVED_ACTION) {
                        actions[seen.kind]++;
                } else {
                        types[seen.type]++;
                }
        }
        judge_free(judge);
        if (read == TAPE_BAD) {
                case_->broken++;
                printf("%s:%zu: %s\n", case_->path, reader->line, reader->why);
                return;
        }
        printf("%s: %" PRIu64 " observations", case_->path, all);
        print_counts(types, "", tape_words, OBSERVED_TYPES);
        print_counts(actions, ">", tape_action_words, TAPE_ACTIONS);
        printf("%s: %s\n", reader->cut ? ", cut" : "",
               case_->broken > 0 ? "BROKEN" : "no rule broken");
}

static bool judge_file(const char *path) {
        Case case_ = {.path = path};
        FILE *file = fopen(path, "re");
        if (file == NULL) {
                printf("%s: %s\n", path, strerror(errno));
                return false;
        }
        switch (tape_reader_init(&case_.reader, file)) {
        case TAPE_READ:
                judge_lines(&case_);
                break;
        case TAPE_END:
                printf("%s: ends within its header: no rule broken\n", path);
                break;
        case TAPE_BAD:
                case_.broken++;
                printf("%s:%zu: %s\n", path, case_.reader.line, case_.reader.why);
                break;
        }
        tape_reader_deinit(&case_.reader);
        return case_.broken == 0;
}

int main(int argc, char **argv) {
        bool fine = true;
        if (argc < 2 || strcmp(argv[1], "--help") == 0) {
                usage(argc < 2 ? stderr : stdout);
                return argc < 2 ? 64 : 0;
        }
        for (int i = 1; i < argc; i++) {
                fine = judge_file(argv[i]) && fine;
        }
        return fine ? 0 : 1;
}
