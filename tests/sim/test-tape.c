#include "../unit/test.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "app/tape.h"
#include "judge.h"
#include "tape-read.h"

/* --- written and read --------------------------------------------------------------------- */

typedef struct File {
        char name[64]; /* for tape_new() */
        char path[96]; /* what it makes of it */
} File;

static File file_name(void) {
        File file;
        snprintf(file.name, sizeof(file.name), "%s/ackd-test-tape-XXXXXX", P_tmpdir);
        int fd = mkstemp(file.name);
        assert_true(fd >= 0);
        close(fd);
        snprintf(file.path, sizeof(file.path), "%s.%d", file.name, (int)getpid());
        return file;
}

static void file_remove(const File *file) {
        unlink(file->name);
        unlink(file->path);
}

static File file_write(const EngineConfig *config, const Observation *seen, size_t n) {
        File file = file_name();
        Tape *tape = NULL;
        char *error = NULL;
        assert_int_equal(tape_new(&tape, file.name, config, &error), 0);
        for (size_t i = 0; i < n; i++) {
                tape_observe(tape, &seen[i]);
        }
        assert_int_equal(tape_free(tape), 0);
        return file;
}

static void assert_items_equal(const ObservedItem *a, const ObservedItem *b) {
        assert_int_equal(a->partition, b->partition);
        assert_true(a->epoch == b->epoch);
        assert_true(a->offset == b->offset);
        assert_true(a->a == b->a && a->b == b->b && a->c == b->c && a->d == b->d);
}

static void assert_observations_equal(const Observation *a, const Observation *b) {
        assert_int_equal(a->type, b->type);
        assert_int_equal(a->kind, b->kind);
        assert_int_equal(a->ok, b->ok);
        assert_true(a->now == b->now);
        assert_int_equal(a->partition, b->partition);
        assert_true(a->epoch == b->epoch);
        assert_true(a->offset == b->offset);
        assert_true(a->id == b->id);
        assert_true(a->a == b->a && a->b == b->b && a->c == b->c && a->d == b->d);
        assert_true((a->text == NULL) == (b->text == NULL));
        if (a->text != NULL) {
                assert_string_equal(a->text, b->text);
        }
        assert_memory_equal(a->numbers, b->numbers, sizeof(a->numbers));
        assert_int_equal(a->n_items, b->n_items);
        for (size_t i = 0; i < a->n_items; i++) {
                assert_items_equal(&a->items[i], &b->items[i]);
        }
}

static void assert_reads_as(const File *file, const Observation *seen, size_t n) {
        TapeReader reader;
        Observation found;
        assert_int_equal(tape_reader_init(&reader, fopen(file->path, "r")), TAPE_READ);
        for (size_t i = 0; i < n; i++) {
                if (tape_reader_next(&reader, &found) != TAPE_READ) {
                        fail_msg("line %zu: %s", reader.line, reader.why);
                }
                assert_observations_equal(&seen[i], &found);
        }
        assert_int_equal(tape_reader_next(&reader, &found), TAPE_END);
        assert_false(reader.cut);
        tape_reader_deinit(&reader);
}

static const ObservedItem items[] = {
        {.partition = 3, .epoch = 1, .offset = 7},
        {.partition = -1, .a = INT64_MAX, .b = INT64_MIN, .c = -1, .d = 1},
        {0},
        {.partition = INT32_MAX, .epoch = UINT64_MAX, .offset = -1, .a = 1},
};

/* Each type and each action: with everything, and with as little as there can be. */
static void test_what_is_written_is_read(void **state) {
        (void)state;
        Observation seen[2 * (OBSERVED_TYPES + TAPE_ACTIONS)];
        size_t n = 0;
        for (int i = 0; i < OBSERVED_TYPES + TAPE_ACTIONS - 1; i++) {
                bool action = i >= OBSERVED_ACTION && i < OBSERVED_ACTION + TAPE_ACTIONS;
                int type = i < OBSERVED_ACTION ? i : action ? OBSERVED_ACTION : OBSERVED_QUIET;
                Observation *one = &seen[n++];
                *one = (Observation){.type = (ObservationType)type,
                                     .kind = action ? i - OBSERVED_ACTION : i % 5,
                                     .ok = true,
                                     .now = INT64_MAX - i,
                                     .partition = i,
                                     .epoch = UINT64_MAX,
                                     .offset = INT64_MIN,
                                     .id = (uint64_t)1 << 63,
                                     .a = 1,
                                     .b = -2,
                                     .c = 3,
                                     .d = -4,
                                     .text = "a:b%[,] \x01\x7f\xff=",
                                     .items = items,
                                     .n_items = (size_t)i % 5};
                for (int k = 0; k < OBSERVED_NUMBERS; k++) {
                        one->numbers[k] = (k + i) % 3 == 0 ? 0 : INT64_MAX - k;
                }
                seen[n++] = (Observation){.type = one->type,
                                          .kind = action ? one->kind : 0,
                                          .partition = -1,
                                          .epoch = 1,
                                          .text = ""};
        }
        File file = file_write(&(EngineConfig){0}, seen, n);
        assert_reads_as(&file, seen, n);
        file_remove(&file);
}

static void test_the_header_is_read(void **state) {
        (void)state;
        const EngineConfig config = {.save = true,
                                     .on_unknown = ON_UNKNOWN_DONE,
                                     .in_flight = SIZE_MAX,
                                     .attempts = 7,
                                     .drain_us = INT64_MAX,
                                     .batch_rows = 1};
        TapeReader reader;
        File file = file_write(&config, NULL, 0);
        assert_int_equal(tape_reader_init(&reader, fopen(file.path, "r")), TAPE_READ);
        for (const TapeLimit *limit = tape_limits; limit->name != NULL; limit++) {
                assert_true(tape_limit_get(limit, &config) ==
                            tape_limit_get(limit, &reader.config));
        }
        assert_true(reader.config.save);
        assert_int_equal(reader.config.attempts, 7);
        tape_reader_deinit(&reader);
        file_remove(&file);
}

static void test_a_file_of_somebody_else_is_left_alone(void **state) {
        (void)state;
        const EngineConfig config = {.attempts = 1};
        Tape *tape = NULL;
        char *error = NULL;
        File file = file_write(&config, NULL, 0);
        assert_int_equal(tape_new(&tape, file.name, &config, &error), TAPE_E_OPEN);
        assert_non_null(strstr(error, "File exists"));
        free(error);
        assert_int_equal(tape_new(&tape, "/nowhere/at/all", &config, &error), TAPE_E_OPEN);
        assert_non_null(strstr(error, "ACKD_TAPE: cannot write /nowhere/at/all."));
        free(error);
        file_remove(&file);
}

/* A disk that is full, or nearly. */
static void test_what_is_lost_is_said(void **state) {
        (void)state;
        const EngineConfig config = {.attempts = 1};
        Tape *tape = NULL;
        char *error = NULL;
        File file = file_name();
        struct rlimit before, none = {0};
        assert_int_equal(getrlimit(RLIMIT_FSIZE, &before), 0);
        none.rlim_max = before.rlim_max;
        signal(SIGXFSZ, SIG_IGN);
        assert_int_equal(tape_new(&tape, file.name, &config, &error), 0);
        setrlimit(RLIMIT_FSIZE, &none);
        tape_observe(tape, &(Observation){.type = OBSERVED_QUIET, .now = 1000000});
        setrlimit(RLIMIT_FSIZE, &before);
        tape_observe(tape, &(Observation){.type = OBSERVED_STOP});
        assert_int_equal(tape_free(tape), EFBIG);
        file_remove(&file);
}

/* --- lines by hand ------------------------------------------------------------------------ */

#define LIMITS                                                                                     \
        "ackd-tape 1\n"                                                                            \
        "limits start_latest=0 save=1 restart=1 on_unknown=0 concurrency=2 in_flight=16 "          \
        "in_flight_bytes=4096 waiting=16 ack_gap=16 keep_payload=0 message_bytes=100 batches=1 "   \
        "batch_rows=2 batch_bytes=4096 attempts=3 backoff_us=500000 backoff_max_us=1000000 "       \
        "commit_interval_us=1000 drain_us=5000000 n_when=0 max_wait_us=0 "
#define HEADER LIMITS "ledger=0 check=0 verify=0 verify_deadline_us=0 cooldown_us=0\n"
#define LEDGER_HEADER                                                                              \
        LIMITS "ledger=1 check=1 verify=1 verify_deadline_us=60000000 "                            \
               "cooldown_us=400000\n"

/* Two messages, the second of which is restarted twice; and the shutdown. */
static const char good[] = HEADER "assigned 1000 p0 e1 tt\n"
                                  ">look-up 1000 p0 e1 tt\n"
                                  "looked-up 1001 + p0 e1 a-1 d2 tt\n"
                                  ">read-source 1001 p0 e1 tt\n"
                                  "source-read 1002 + p0 e1 a-1 tt\n"
                                  ">adopt 1002 p0 e1 tt\n"
                                  "adopted 1003 p0 e1 a1 tt\n"
                                  ">look-committed 1003 [0,1,0,3]\n"
                                  "committed-seen 1004 + [0,1,-1,1]\n"
                                  ">commit 1004 [0,1,0,3]\n"
                                  "committed 1005 + [0,1,0,1]\n"
                                  ">seek 1005 p0 e1 tt\n"
                                  "sought 1005 + p0 e1 tt\n"
                                  "quiet 1005 n0,0,0,0,0,1 [0,1,0,0,0,5]\n"
                                  "fetched 2000 p0 e1 a50 tt\n"
                                  "fetched 2000 p0 e1 o1 a50 tt\n"
                                  ">restart 2000 i1 ta.example.com [0,1]\n"
                                  ">restart 2000 i2 tb.example.com [0,1,1]\n"
                                  ">save 2000 i1 [0,1] [0,1,1] [0,1,0,0,2,0,1]\n"
                                  "quiet 2000 n2,100,0,2,1,1,0,2 [0,1,0,0,2,5]\n"
                                  "saved 3000 i1\n"
                                  "restarted 3001 k1 + i1\n"
                                  ">finished 3001 p0 e1 n4,1,4,1 tt\n"
                                  "restarted 3002 k3 + i2\n"
                                  ">note 3002 p0 e1 a14 b500000 c1 d1 tt\n"
                                  "quiet 3002 n0,0,1,0,0,1,503002,2,1 [0,1,1,0,1,5]\n"
                                  "tick 503002\n"
                                  ">restart 503002 i3 tb.example.com [0,1,1,1,1]\n"
                                  "quiet 503002 n1,50,0,1,0,1,0,2,1 [0,1,1,0,1,5]\n"
                                  "restarted 504000 k1 + i3\n"
                                  ">finished 504000 p0 e1 o1 n4,1,4,1,1 tt\n"
                                  ">look-committed 504000 [0,1,2,5]\n"
                                  "quiet 504000 n0,0,0,0,0,1,0,2,2 [0,1,2,0,0,5]\n"
                                  "committed-seen 505000 + [0,1,0,1,2]\n"
                                  ">commit 505000 [0,1,2,5]\n"
                                  "committed 506000 + [0,1,2,1,2]\n"
                                  "stop 600000\n"
                                  ">read 600000\n"
                                  "quiet 600000 n0,0,0,0,0,0,0,2,2 [0,1,2,2,0,5]\n"
                                  "release 600001\n"
                                  "flush 600002\n"
                                  "revoked 600003 + [0,1]\n"
                                  ">unassign 600003\n"
                                  "quiet 600003 n0,0,0,0,0,0,0,2,2\n";

/* With the ledger: a is restarted, whose claim's reply and whose end's reply are lost, and
 * verified; b has to wait, fails, and its cool-down passes; its second claim is granted too late,
 * its third leads to an unknown restart that verify says is done. */
static const char ledger[] =
        LEDGER_HEADER "assigned 1000 p0 e1 tt\n"
                      "looked-up 1001 + p0 e1 a-1 d2 tt\n"
                      "source-read 1002 + p0 e1 a1 tt\n"
                      ">seek 1005 p0 e1 tt\n"
                      "sought 1005 + p0 e1 tt\n"
                      "fetched 2000 p0 e1 a50 tt\n"
                      "fetched 2000 p0 e1 o1 a50 tt\n"
                      ">check 2000 i1 n1,0,1 ta.example.com [0,1]\n"
                      ">check 2000 i2 n1,1,1 tb.example.com [0,1,1]\n"
                      ">save 2000 i1 [0,1] [0,1,1] [0,1,0,0,2,0,1]\n"
                      "quiet 2000 n2,100,0,2,1,1,0,2 [0,1,0,0,2,5]\n"
                      "saved 3000 i1\n"
                      "checked 3001 + i1\n"
                      ">claim 3001 i1 n1,0,1 ta.example.com [0,1]\n"
                      "claimed 3002 k-1 i1 a3\n"
                      "checked 3002 i2\n"
                      ">claim 3002 i2 n1,1,1 tb.example.com [0,1,1]\n"
                      "claimed 3003 k4 i2 b12 d1000\n"
                      "quiet 3003 n0,0,2,1,0,1,4003,2 [0,1,0,0,2,5]\n"
                      "tick 5003\n"
                      ">claim 5003 i1 n1,0,1,0,1 ta.example.com [0,1]\n"
                      ">check 5003 i3 n1,1,1 tb.example.com [0,1,1]\n"
                      "quiet 5003 n0,0,2,2,0,1,0,2 [0,1,0,0,2,5]\n"
                      "claimed 6000 i1 c7\n"
                      ">restart 6000 i1 a7 n1,0,1 ta.example.com [0,1]\n"
                      "checked 6001 + i3\n"
                      ">claim 6001 i3 n1,1,1 tb.example.com [0,1,1]\n"
                      "claimed 6002 i3 c8\n"
                      ">restart 6002 i3 a8 n1,1,1 tb.example.com [0,1,1]\n"
                      "restarted 7000 k1 + i1\n"
                      ">acted 7000 i1 a7 d1 n1,0,1 ta.example.com [0,1]\n"
                      ">verify 7000 i1 a7 d1 n1,0,1,0,0,0,60000000 ta.example.com [0,1]\n"
                      "restarted 7001 k3 + i3\n"
                      ">conclude 7001 i3 a8 c4 d3 n1,1,1 tb.example.com [0,1,1]\n"
                      "quiet 7001 n2,0,0,2,0,1,0,2 [0,1,0,0,2,5]\n"
                      "acted 8000 i1\n"
                      "verified 8001 i1\n"
                      ">conclude 8001 i1 a7 c3 d1 n1,0,1,0,0,1 ta.example.com [0,1]\n"
                      "concluded 8002 k3 i1\n"
                      "quiet 8002 n2,0,0,2,0,1,9000,2 [0,1,0,0,2,5]\n"
                      "tick 9000\n"
                      ">conclude 9000 i1 a7 c3 d1 n1,0,1,0,0,1 ta.example.com [0,1]\n"
                      "concluded 9001 + i1 a3\n"
                      ">finished 9001 p0 e1 n4,1,4,1 tt\n"
                      "concluded 9002 + i3 a4\n"
                      ">note 9002 p0 e1 a14 b397000 c1 d1 tt\n"
                      "quiet 9002 n0,0,1,0,0,1,406002,2,1 [0,1,1,0,1,5]\n"
                      "tick 406002\n"
                      ">check 406002 i4 n1,1,2 tb.example.com [0,1,1,1,1]\n"
                      "checked 406003 + i4\n"
                      ">claim 406003 i4 n1,1,2 tb.example.com [0,1,1,1,1]\n"
                      "claimed 406004 i4 c9\n"
                      ">restart 406004 i4 a9 n1,1,2 tb.example.com [0,1,1,1,1]\n"
                      "too-late 406005 i4\n"
                      ">conclude 406005 i4 a9 b1 c5 n1,1,2 tb.example.com [0,1,1,1,1]\n"
                      "concluded 406006 + i4 a5\n"
                      ">check 406006 i5 n1,1,3 tb.example.com [0,1,1,1,1]\n"
                      "checked 406007 + i5\n"
                      ">claim 406007 i5 n1,1,3 tb.example.com [0,1,1,1,1]\n"
                      "claimed 406008 i5 c10\n"
                      ">restart 406008 i5 a10 n1,1,3 tb.example.com [0,1,1,1,1]\n"
                      "restarted 407000 k5 + i5\n"
                      ">verify 407000 i5 a10 d5 n1,1,3,0,0,0,60000000 tb.example.com [0,1,1,1,1]\n"
                      "verified 408000 i5\n"
                      ">conclude 408000 i5 a10 c3 d1 n1,1,3,0,0,1 tb.example.com [0,1,1,1,1]\n"
                      "quiet 408000 n1,0,0,1,0,1,0,2,1 [0,1,1,0,1,5]\n"
                      "concluded 409000 + i5 a3\n"
                      ">finished 409000 p0 e1 o1 n4,1,4,1,1 tt\n"
                      "quiet 409000 n0,0,0,0,0,1,0,2,2 [0,1,2,0,0,5]\n";

typedef struct Broken {
        bool rules[32];
        bool any;
} Broken;

static void on_broken(void *user, int invariant, const char *what) {
        Broken *broken = user;
        assert_non_null(what);
        broken->rules[invariant] = broken->any = true;
}

/* Judges the text; how many observations it has. */
static size_t judge_text(const char *text, size_t size, Broken *broken) {
        TapeReader reader;
        Observation seen;
        size_t n = 0;
        *broken = (Broken){0};
        TapeRead read = tape_reader_init(&reader, fmemopen((void *)(uintptr_t)text, size, "r"));
        if (read == TAPE_READ) {
                JudgeLimits limits = judge_limits(&reader.config);
                Judge *judge = judge_new(&limits, on_broken, broken);
                while ((read = tape_reader_next(&reader, &seen)) == TAPE_READ) {
                        judge_see(judge, &seen);
                        n++;
                }
                judge_free(judge);
        }
        if (read == TAPE_BAD) {
                fail_msg("line %zu: %s", reader.line, reader.why);
        }
        assert_int_equal(reader.cut, size > 0 && text[size - 1] != '\n');
        tape_reader_deinit(&reader);
        return n;
}

static void test_a_good_tape_breaks_no_rule(void **state) {
        (void)state;
        Broken broken;
        assert_int_equal(judge_text(good, strlen(good), &broken), 44);
        assert_false(broken.any);
        assert_int_equal(judge_text(ledger, strlen(ledger), &broken), 69);
        assert_false(broken.any);
}

/* The second message is a replay, whose row answers: ReplayVerdict, handlers that are done. */
#define FETCHED       "fetched 2000 p0 e1 o1 a50 tt\n"
#define REPLAY        "fetched 2000 p0 e1 o1 a50 b1 c9 d7 tt\n"
#define ASKS          ">ask-replays 2000 [-1,0,1,1,9,7]\n"
#define ANSWERS(what) "replays-read 2000 + [-1,0,1,1," what ",1]\n"

static char *changed(const char *tape, const char *from, const char *to);

/* A replay of what is not done, and what only looks like one. */
static void test_a_replay_breaks_no_rule(void **state) {
        static const char *const answers[] = {ANSWERS("0,0"), ANSWERS("5,0")};
        (void)state;
        for (size_t i = 0; i < sizeof(answers) / sizeof(answers[0]); i++) {
                char replay[256];
                Broken broken;
                snprintf(replay, sizeof(replay), REPLAY ASKS "%s", answers[i]);
                char *text = changed(good, FETCHED, replay);
                judge_text(text, strlen(text), &broken);
                assert_false(broken.any);
                free(text);
        }
}

/* Wherever kill -9 ends it. */
static void test_the_end_of_a_tape_may_be_missing(void **state) {
        (void)state;
        Broken broken;
        size_t before = 0;
        for (size_t size = 1; size <= strlen(good); size++) {
                size_t n = judge_text(good, size, &broken);
                assert_false(broken.any);
                assert_true(n == before || n == before + 1);
                before = n;
        }
        assert_int_equal(before, 44);
}

/* One change, and the rule that it breaks; it may break more. */
typedef struct Change {
        int invariant;
        const char *from, *to;
} Change;

static const Change changes[] = {
        /* 1 has a restart to come, and is committed */
        {1, ">finished 504000 p0 e1 o1 n4,1,4,1,1 tt\n", ""},
        /* the fence is at 0 */
        {2, "[0,1,0,0,2,0,1]", "[0,1,0,1,2,0,1]"},
        {2, "saved 3000 i1\n", ">save 2999 i2 [0,1,1] [0,1,0,0,2,0,1]\n"},
        {4, ">commit 505000 [0,1,2,5]", ">commit 505000 [0,1,0,5]"},
        {5, ">look-committed 504000 [0,1,2,5]\n", ""},
        {5, "committed 506000 + [0,1,2,1,2]\n", ">look-committed 505001 [0,1,2,5]\n"},
        {5, ">commit 505000 [0,1,2,5]", ">commit 505000 [9,9,2,5]"},
        {6, "[0,1] [0,1,1] [0,1,0,0,2,0,1]", "[0,1,1] [0,1] [0,1,0,0,2,0,1]"},
        {6, "[0,1,0,0,2,0,1]", "[0,1,0,0,1,0,1]"},
        {6, "[0,1,0,0,2,0,1]", "[0,1,0,0,0,0,1]"},
        {7, "i2 tb.example.com", "i2 ta.example.com"},
        {8, "ta.example.com [0,1]", "ta.example.com [0,1,7]"},
        {8, "[0,1,1,1,1]", "[0,1,0,1,1]"},
        {8, "tick 503002\n", "stop 503002\n"},
        {8, "restart=1", "restart=0"},
        {8, "tick 503002\n", ">note 503002 a18\n"}, /* no window is open */
        {9, "restarted 3002 k3", "restarted 3002 k5"},
        {10, "b500000", "b1000001"},
        {10, "max_wait_us=0", "max_wait_us=1000"},
        {10, "tick 503002\n>restart 503002", "tick 3003\n>restart 3003"},
        {11, "[0,1,1,1,1]", "[0,1,1,1,2]"},
        {11, "attempts=3", "attempts=1"},
        {12, "o1 n4,1,4,1,1 tt", "o1 n4,1,4,3,1 tt"},
        {12, "restarted 504000 k1", "restarted 504000 k3"},
        {12, ">finished 504000 p0 e1 o1", ">finished 504000 p0 e1 o1 a1"},
        {12, "saved 3000 i1", "saved 3000 k3 i1"},
        {13, "concurrency=2", "concurrency=1"},
        {13, "batch_rows=2", "batch_rows=1"},
        {13, "ack_gap=16", "ack_gap=1"},
        {13, "n2,100,", "n2,1000000,"},
        {14, "quiet 1005 n0,0,0,0,0,1", "quiet 1005 n0,0,0,0,0,0"},
        {14, "quiet 1005", ">read 1005\nquiet 1005"},
        {14, "quiet 504000", ">pause 504000 p0 e1 tt\nquiet 504000"},
        {15, "revoked 600003 + [0,1]\n", ""},
        {15, "quiet 600003 n0,0,0,0,0,0,0,2,2", "quiet 600003 n0,0,0,0,0,0,0,2,2 [0,1,2,2,0,7]"},
        {15, ">restart 2000 i1", "revoked 2000 [0,1]\n>restart 2000 i1"},
        {16, "stop 600000\n", ""},
        {16, "release 600001\n", ""},
        {16, "flush 600002\n", ">save 600002 i9 [0,1,2,2,3,0,1]\n"},
        {17, "committed-seen 1004", "committed-seen 1002"},
        {17, "tick 503002\n>restart 503002", "tick 503001\n>restart 503001"},
        {18, "quiet 2000 n2,100,0,2,1,1,0,2", "quiet 2000 n2,100,0,2,1,1,0,3"},
        {18, "quiet 2000 n2,100,0,2,1", "quiet 2000 n2,100,0,1,1"},
        {18, ">finished 3001 p0 e1 n4,1,4,1 tt\n", ""},
        {18, ">finished 3001 p0 e1 n", ">finished 3001 p0 e1 o7 n"},
        {19, "n0,0,1,0,0,1,503002,2,1", "n0,0,1,0,0,1,603002,2,1"},
        {20, FETCHED, REPLAY},
        {20, FETCHED, REPLAY ASKS ASKS ANSWERS("0,0")},
        {20, FETCHED, REPLAY ASKS ANSWERS("0,1")}, /* saved, */
        {20, FETCHED, REPLAY ASKS ANSWERS("0,2")}, /* restarted before */
        {20, FETCHED, REPLAY ASKS ANSWERS("1,0")}, /* taken by another message */
        {20, FETCHED, REPLAY ASKS ANSWERS("2,0")}, /* dropped */
        {20, FETCHED, REPLAY ASKS "replays-read 2000 [-1,0,1,1,-1]\n"},
        {20, ">finished 504000 p0 e1 o1", ">finished 504000 p0 e1 o1 a3"},
};

/* malloc'd */
static char *changed(const char *tape, const char *from, const char *to) {
        const char *at = strstr(tape, from);
        char *text = NULL;
        if (at == NULL) {
                fail_msg("\"%s\" is not there", from != NULL ? from : "(nothing)");
        }
        assert_true(asprintf(&text, "%.*s%s%s", (int)(at - tape), tape, to, at + strlen(from)) > 0);
        return text;
}

static void each_breaks(const char *tape, const Change *all, size_t n, bool seen[32]) {
        for (size_t i = 0; i < n; i++) {
                Broken broken;
                char *text = changed(tape, all[i].from, all[i].to);
                judge_text(text, strlen(text), &broken);
                if (!broken.rules[all[i].invariant]) {
                        fail_msg("\"%s\" -> \"%s\": %d is not broken", all[i].from, all[i].to,
                                 all[i].invariant);
                }
                seen[all[i].invariant] = true;
                free(text);
        }
}

static void test_what_is_broken_is_seen(void **state) {
        (void)state;
        bool seen[32] = {0};
        each_breaks(good, changes, sizeof(changes) / sizeof(changes[0]), seen);
        for (size_t i = 0; i < judge_n_rules; i++) {
                if (!seen[judge_rules[i].invariant]) {
                        fail_msg("nothing breaks %d", judge_rules[i].invariant);
                }
        }
}

#define A "ta.example.com [0,1]"
#define B "tb.example.com [0,1,1]"

static const Change ledger_changes[] = {
        {7, ">claim 5003 i1 n1,0,1,0,1 " A, ">check 5003 i9 n1,0,1 " A},
        {7, "cooldown_us=400000", "cooldown_us=600000"},
        /* the intent comes after the action, or its reply is not awaited */
        {8, ">claim 3001", ">restart 3001"},
        {8, "claimed 6000 i1 c7\n", ""},
        {8, "claimed 6000 i1 c7\n", "claimed 6000 k4 i1 b8 d1000\n"},
        {8, ">claim 5003 i1 n1,0,1,0,1", ">claim 5003 i1 n1,0,2,0,1"},
        {8,
         ">check 406002 i4 n1,1,2 tb.example.com [0,1,1,1,1]\n"
         "checked 406003 + i4\n",
         ""},
        {8, ">claim 406003 i4 n1,1,2", ">claim 406003 i4 n1,1,1"},
        {8, "tick 5003\n", "stop 5003\n"},
        {8, "claimed 406004 i4 c9\n", "claimed 406004 i4 c9\nstop 406004\n"},
        {8, "ledger=1", "ledger=0"},
        {15, "claimed 6000 i1 c7\n", "claimed 6000 i1 c7\nrevoked 6000 + [0,1]\n"},
        /* its end comes before the action's, twice, otherwise, not at all */
        {2, "restarted 7001 k3 + i3\n", ""},
        {2, "concluded 9002 + i3 a4\n",
         "concluded 9002 + i3 a4\n>conclude 9002 i3 a8 c4 d3 n1,1,1 " B "\n"},
        {2, ">conclude 7001 i3 a8 c4", ">conclude 7001 i3 a8 c3"},
        {2, ">conclude 7001 i3 a8 c4", ">conclude 7001 i3 a9 c4"},
        {2, ">conclude 7001 i3 a8 c4 d3 n1,1,1 " B "\n", ""},
        {2, "a7 c3 d1 n1,0,1,0,0,1", "a7 c3 d1 n1,0,1"},
        {2, ">restart 6000 i1 a7 n1,0,1 " A "\n", ""},
        {2, ">acted 7000 i1 a7 d1 n1,0,1 " A "\n", ""},
        {2, "verified 8001 i1\n", "verified 8001 k2 i1\n"},
        {2, "verified 8001 i1\n", "verified 8001 k3 i1\n"},
        {2, "acted 8000 i1\n", ""},
        {9, "verify_deadline_us=60000000", "verify_deadline_us=50000000"},
        {9, "restarted 407000 k5", "restarted 407000 k3"},
        /* acked before the end is written, or though it is not the one that was told */
        {12, "concluded 9001 + i1 a3\n", ""},
        {12, "concluded 9001 + i1 a3\n", "concluded 9001 i1 a4\n"},
        {10, "tick 406002\n>check 406002", "tick 406001\n>check 406001"},
        {11, ">check 406006 i5 n1,1,3 tb.example.com [0,1,1,1,1]",
         ">check 406006 i5 n1,1,3 tb.example.com [0,1,1,2,2]"},
        {13, "concurrency=2", "concurrency=1"},
        {17, "tick 5003\n", "tick 4002\n>check 4002 i3 n1,1,1 " B "\n"},
        {18, "quiet 8002 n2,0,0,2", "quiet 8002 n2,0,0,1"},
        {19, "quiet 8002 n2,0,0,2,0,1,9000", "quiet 8002 n2,0,0,2,0,1,6000000"},
        {19, "quiet 3003 n0,0,2,1,0,1,4003", "quiet 3003 n0,0,2,1,0,1,4000000"},
};

static void test_what_is_broken_of_the_ledger_is_seen(void **state) {
        (void)state;
        bool seen[32] = {0};
        each_breaks(ledger, ledger_changes, sizeof(ledger_changes) / sizeof(ledger_changes[0]),
                    seen);
}

/* Two topics have a partition of the same number. */
static void test_topics_are_not_mixed_up(void **state) {
        (void)state;
        static const char two[] = HEADER "assigned 1 p0 e1 ta\n"
                                         "assigned 1 p0 e2 tb\n"
                                         "source-read 2 + p0 e1 a1 ta\n"
                                         "source-read 2 + p0 e2 a2 tb\n"
                                         "sought 3 + p0 e1 ta\n"
                                         "sought 3 + p0 e2 tb\n"
                                         "fetched 4 p0 e1 a9 ta\n"
                                         "fetched 4 p0 e2 a9 tb\n"
                                         ">save 4 i1 [0,2] [0,2,0,0,1,0,1]\n"
                                         "vanished 5 p0 e1 ta\n"
                                         ">finished 5 p0 e3 a2 ta\n"
                                         ">look-up 5 p0 e3 ta\n"
                                         "saved 6 i1\n"
                                         ">restart 6 i1 tb.example.com [0,2]\n"
                                         "restarted 7 k1 + i1\n"
                                         ">finished 7 p0 e2 n4,1,4,1 tb\n"
                                         "revoked 8 + [0,3]\n"
                                         ">unassign 8\n"
                                         "quiet 8 n0,0,0,0,0,1,0,2,1,0,1 [0,2,1,1,0,5]\n";
        Broken broken;
        assert_int_equal(judge_text(two, strlen(two), &broken), 19);
        assert_false(broken.any);
}

static void test_what_makes_no_sense_is_refused(void **state) {
        (void)state;
        static const char *const lines[] = {
                "\n",
                "fetched\n",
                "fetched x\n",
                "fetchd 1\n",
                "save 1\n",
                ">fetched 1\n",
                "fetched 1 \n",
                "fetched 1 p\n",
                "fetched 1 x1\n",
                "fetched 1 p0 e1\n",
                "fetched 1 [1\n",
                "fetched 1 [1,]\n",
                "fetched 1 [1,2,3,4,5,6,7,8]\n",
                "fetched 1 n1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17\n",
                "fetched 1 t%4\n",
                "fetched 1 t%00\n",
                ">restart 1\n",
                ">claim 1\n",
                ">pause 1\n",
                ">finished 1 p0 e1 a9 tt\n",
        };
        TapeReader reader;
        Observation seen;
        for (size_t i = 0; i < sizeof(lines) / sizeof(lines[0]); i++) {
                char *text = NULL;
                assert_true(asprintf(&text, "%s%s", HEADER, lines[i]) > 0);
                assert_int_equal(tape_reader_init(&reader, fmemopen(text, strlen(text), "r")),
                                 TAPE_READ);
                if (tape_reader_next(&reader, &seen) != TAPE_BAD) {
                        fail_msg("%s", lines[i]);
                }
                assert_int_equal(reader.line, 3);
                tape_reader_deinit(&reader);
                free(text);
        }
        static const char *const headers[] = {
                "ackd-tape 2\n",
                "x\n",
                "ackd-tape 1\nstop 1\n",
                "ackd-tape 1\nlimits save=1\n",
                "ackd-tape 1\nlimits what=1\n",
                "ackd-tape 1\nlimits save\n",
        };
        for (size_t i = 0; i < sizeof(headers) / sizeof(headers[0]); i++) {
                char *text = strdup(headers[i]);
                if (tape_reader_init(&reader, fmemopen(text, strlen(text), "r")) != TAPE_BAD) {
                        fail_msg("%s", headers[i]);
                }
                tape_reader_deinit(&reader);
                free(text);
        }
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_what_is_written_is_read),
                cmocka_unit_test(test_the_header_is_read),
                cmocka_unit_test(test_a_file_of_somebody_else_is_left_alone),
                cmocka_unit_test(test_what_is_lost_is_said),
                cmocka_unit_test(test_a_good_tape_breaks_no_rule),
                cmocka_unit_test(test_a_replay_breaks_no_rule),
                cmocka_unit_test(test_the_end_of_a_tape_may_be_missing),
                cmocka_unit_test(test_what_is_broken_is_seen),
                cmocka_unit_test(test_what_is_broken_of_the_ledger_is_seen),
                cmocka_unit_test(test_topics_are_not_mixed_up),
                cmocka_unit_test(test_what_makes_no_sense_is_refused),
        };
        return cmocka_run_group_tests(tests, NULL, NULL);
}
