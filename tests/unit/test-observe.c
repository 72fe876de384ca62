/*
 * What is told of each event and action: a story, and every line that it makes. The fields are
 * those of core/observation.h and of observe_action_().
 */

#include "engine-world.h"

static struct {
        char text[65536];
        size_t size;
        size_t items;  /* of the newest observation */
        int64_t delay; /* of the newest note that has one */
} told;

__attribute__((format(printf, 1, 2))) static void tell(const char *format, ...) {
        va_list ap;
        va_start(ap, format);
        told.size +=
                (size_t)vsnprintf(told.text + told.size, sizeof(told.text) - told.size, format, ap);
        va_end(ap);
        assert_true(told.size < sizeof(told.text));
}

static void tell_number(const char *name, int64_t value) {
        if (value != 0) {
                tell(" %s=%ld", name, (long)value);
        }
}

/* What is 0, -1 for none, or false is left out. */
static void on_observed(void *observer, const Observation *seen) {
        static const char *const types[OBSERVED_TYPES] = {
                "tick",         "assigned", "looked_up",   "source_read",   "adopted",
                "sought",       "resumed",  "vanished",    "out_of_range",  "fetched",
                "ended",        "saved",    "database_up", "fences_read",   "saved_each",
                "replays_read", "checked",  "claimed",     "too_late",      "restarted",
                "acted",        "verified", "concluded",   "holds_changed", "committed_seen",
                "committed",    "revoked",  "stop",        "release",       "flush",
                "action",       "quiet",
        };
        static const char *const actions[] = {
                "look-up",     "read-source",    "adopt",  "move-fence", "seek",        "pause",
                "resume",      "read",           "save",   "save-each",  "read-fences", "reject",
                "ask-replays", "check",          "claim",  "restart",    "acted",       "verify",
                "conclude",    "look-committed", "commit", "unassign",   "finished",    "note",
        };
        static const char *const notes[] = {
                "started",      "stopped",       "went-back",      "skipped",
                "decided",      "moot",          "look-up-failed", "batch-retry",
                "save-works",   "commit-failed", "intake-paused",  "intake-resumed",
                "held",         "resumed",       "retry",          "retries-crowd",
                "retries-thin", "drain-timeout", "windows-shut",   "windows-open",
                "waits",        "fuse",          "suppressed",     "ledger-away",
                "ledger-back",  "not-started",   "granted-before", "ended-otherwise",
                "replay",
        };
        const World *world = observer;
        assert_int_equal(seen->now, world->now);
        told.items = seen->n_items;
        if (seen->type == OBSERVED_ACTION) {
                tell("  %s", actions[seen->kind]);
        } else {
                tell("%s", types[seen->type]);
                tell_number("kind", seen->kind);
        }
        if (seen->partition != -1) {
                tell(" %d/%d", seen->partition, (int)seen->epoch);
        } else {
                assert_int_equal(seen->epoch, 0);
        }
        tell("%s%s%s", seen->text != NULL ? " " : "", seen->text != NULL ? seen->text : "",
             seen->ok ? " ok" : "");
        tell_number("id", (int64_t)seen->id);
        tell_number("offset", seen->offset);
        bool note = seen->type == OBSERVED_ACTION && seen->kind == ENGINE_NOTE;
        if (note) {
                told.delay = seen->b != 0 ? seen->b : told.delay;
                tell(" %s%s", notes[seen->a], seen->b != 0 ? " later" : "");
        } else {
                tell_number("a", seen->a);
                tell_number("b", seen->b);
        }
        tell_number("c", seen->c);
        tell_number("d", seen->d);
        for (size_t i = 0; i < seen->n_items && seen->n_items < 10; i++) {
                const ObservedItem *item = &seen->items[i];
                tell(" {%d/%d %ld: %ld %ld %ld %ld}", item->partition, (int)item->epoch,
                     (long)item->offset, (long)item->a, (long)item->b, (long)item->c,
                     (long)item->d);
        }
        bool numbers = false;
        for (int i = 0; i < OBSERVED_NUMBERS; i++) {
                numbers = numbers || seen->numbers[i] != 0;
        }
        for (int i = 0; numbers && i < OBSERVED_NUMBERS; i++) {
                if (seen->type == OBSERVED_QUIET && i == NUMBER_DEADLINE) {
                        assert_int_equal(seen->numbers[i], engine_deadline(world->engine));
                        tell(" %s", seen->numbers[i] < INT64_MAX ? "due" : "-");
                } else {
                        tell(i > 0 ? " %ld" : " [%ld", (long)seen->numbers[i]);
                }
        }
        tell(numbers ? "]\n" : "\n");
}

/* What was told since the last time. */
static void expect(const char *text) {
        assert_string_equal(told.text, text);
        told.size = 0;
        told.text[0] = '\0';
}

static int setup_observed(void **state) {
        int r = setup(state);
        World *world = *state;
        world->config.observe = on_observed;
        world->config.observer = world;
        told.size = 0;
        told.text[0] = '\0';
        return r;
}

static void test_an_assignment(void **state) {
        World *world = *state;
        Partition *partition = NULL;
        PartitionFacts facts = {.committed = 12, .ours = true, .low = 3, .high = 99};
        assert_int_equal(engine_assigned(world->engine, "topic", 7, NULL, world->now, &partition),
                         0);
        take(world);
        world->now += SECOND;
        assert_int_equal(engine_looked_up(world->engine, partition, &facts, world->now), 0);
        take(world);
        expect("assigned 7/1 topic\n"
               "  look-up 7/1 topic\n"
               "quiet {7/1 -1: -1 0 0 0} [0 0 0 0 0 1 - 0 0 0 0 0 0 0 0 0]\n"
               "looked_up 7/1 topic ok a=12 b=1 c=3 d=99\n"
               "  read-source 7/1 topic\n"
               "quiet {7/1 -1: -1 0 1 0} [0 0 0 0 0 1 - 0 0 0 0 0 0 0 0 0]\n");
        int64_t rejected[] = {12, 14};
        facts = (PartitionFacts){.has_source = true,
                                 .source = 5,
                                 .fence = 15,
                                 .fence_moved = true,
                                 .is_decided = true,
                                 .decided = 20,
                                 .rejected = rejected,
                                 .n_rejected = 2};
        world->now += SECOND;
        assert_int_equal(engine_source_read(world->engine, partition, &facts, world->now), 0);
        take(world);
        world->now += SECOND;
        assert_int_equal(engine_adopted(world->engine, partition, ADOPT_OUTAGE, 5, world->now), 0);
        take(world);
        expect("source_read 7/1 topic ok a=5 b=15 c=1 d=1 {0/0 12: 0 0 0 0} {0/0 14: 0 0 0 0}\n"
               "  note 7/1 topic offset=12 moot c=-1\n"
               "  move-fence 7/1 topic offset=15\n"
               "quiet {7/1 -1: 12 0 2 0} [0 0 0 0 0 1 - 0 0 0 0 0 0 0 0 0]\n"
               "adopted kind=2 7/1 topic a=5\n"
               "  note 7/1 topic offset=12 look-up-failed later c=-1\n"
               "quiet {7/1 -1: 12 0 2 0} [0 0 0 0 0 1 due 0 0 0 0 0 0 0 0 0]\n");
        tick(world, SECOND);
        assert_int_equal(engine_looked_up(world->engine, partition, NULL, world->now), 0);
        take(world);
        tick(world, SECOND);
        facts.committed = -1;
        assert_int_equal(engine_looked_up(world->engine, partition, &facts, world->now), 0);
        take(world);
        assert_int_equal(engine_source_read(world->engine, partition, NULL, world->now), 0);
        take(world);
        expect("tick\n"
               "  look-up 7/2 topic offset=12\n"
               "quiet {7/2 -1: 12 0 0 0} [0 0 0 0 0 1 - 0 0 0 0 0 0 0 0 0]\n"
               "looked_up 7/2 topic\n"
               "  note 7/2 topic offset=12 look-up-failed later c=-1\n"
               "quiet {7/2 -1: 12 0 0 0} [0 0 0 0 0 1 due 0 0 0 0 0 0 0 0 0]\n"
               "tick\n"
               "  look-up 7/3 topic offset=12\n"
               "quiet {7/3 -1: 12 0 0 0} [0 0 0 0 0 1 - 0 0 0 0 0 0 0 0 0]\n"
               "looked_up 7/3 topic ok a=-1\n"
               "  read-source 7/3 topic offset=12\n"
               "quiet {7/3 -1: 12 0 1 0} [0 0 0 0 0 1 - 0 0 0 0 0 0 0 0 0]\n"
               "source_read 7/3 topic\n"
               "  note 7/3 topic offset=12 look-up-failed later c=-1\n"
               "quiet {7/3 -1: 12 0 1 0} [0 0 0 0 0 1 due 0 0 0 0 0 0 0 0 0]\n");
        tick(world, SECOND);
        assert_int_equal(engine_looked_up(world->engine, partition,
                                          &(PartitionFacts){.committed = 12, .low = 3, .high = 99},
                                          world->now),
                         0);
        assert_int_equal(engine_source_read(world->engine, partition, &(PartitionFacts){0},
                                            world->now),
                         0);
        take(world);
        assert_int_equal(engine_adopted(world->engine, partition, ADOPT_OK, 9, world->now), 0);
        take(world);
        commit_answer(world, true, 12, true);
        world->now += SECOND;
        commit_answer(world, false, 0, true);
        expect("tick\n"
               "  look-up 7/4 topic offset=12\n"
               "quiet {7/4 -1: 12 0 0 0} [0 0 0 0 0 1 - 0 0 0 0 0 0 0 0 0]\n"
               "looked_up 7/4 topic ok a=12 c=3 d=99\n"
               "source_read 7/4 topic ok a=-1\n"
               "  read-source 7/4 topic offset=12\n"
               "  adopt 7/4 topic offset=12\n"
               "quiet {7/4 -1: 12 0 2 0} [0 0 0 0 0 1 - 0 0 0 0 0 0 0 0 0]\n"
               "adopted 7/4 topic a=9\n"
               "  look-committed {7/4 12: 3 0 0 0}\n"
               "quiet {7/4 -1: 12 0 3 0} [0 0 0 0 0 1 - 0 0 0 0 0 0 0 0 0]\n"
               "committed_seen ok {7/4 12: 1 12 0 0}\n"
               "  commit {7/4 12: 3 0 0 0}\n"
               "quiet {7/4 -1: 12 0 3 0} [0 0 0 0 0 1 - 0 0 0 0 0 0 0 0 0]\n"
               "committed ok {7/4 0: 1 12 0 0}\n"
               "  seek 7/4 topic offset=12\n"
               "quiet {7/4 -1: 12 0 4 0} [0 0 0 0 0 1 - 0 0 0 0 0 0 0 0 0]\n");
        assert_int_equal(engine_sought(world->engine, partition, true, world->now), 0);
        take(world);
        world->now += SECOND;
        assert_int_equal(engine_vanished(world->engine, partition, world->now), 0);
        take(world);
        world->now += SECOND;
        assert_int_equal(engine_out_of_range(world->engine, partition, world->now), 0);
        take(world);
        world->now += SECOND;
        assert_int_equal(engine_looked_up(world->engine, partition, &facts, world->now), 0);
        take(world);
        expect("sought 7/4 topic ok\n"
               "  note 7/4 topic offset=12 started c=-1\n"
               "quiet {7/4 12: 12 0 5 0} [0 0 0 0 0 1 - 0 0 0 0 0 0 0 0 0]\n"
               "vanished 7/4 topic\n"
               "  pause 7/4 topic\n"
               "  note 7/4 topic offset=12 held c=-1\n"
               "  look-up 7/4 topic\n"
               "quiet {7/4 12: 12 0 5 1} [0 0 0 0 0 1 - 0 0 0 0 0 0 0 0 0]\n"
               "out_of_range 7/4 topic\n"
               "quiet {7/4 12: 12 0 5 1} [0 0 0 0 0 1 - 0 0 0 0 0 0 0 0 0]\n"
               "looked_up 7/4 topic ok a=-1\n"
               "  look-up 7/5 topic offset=12\n"
               "quiet {7/5 -1: 12 0 0 1} [0 0 0 0 0 1 - 0 0 0 0 0 0 0 0 0]\n");
}

static void test_messages(void **state) {
        World *world = *state;
        world->config.ack_gap = 4;
        world->config.attempts = 2;
        Partition *partition = activate(world, 3, 10, 10);
        told.size = 0;
        world->now += SECOND;
        fetch(world, partition, 10, "a");
        fetch_bytes(world, partition, 11, NULL);
        fetch_bytes(world, partition, 12, "bad");
        world->now += SECOND;
        assert_int_equal(engine_ended(world->engine, partition, 15, 1000, world->now), 0);
        take(world);
        Run *run = only(world, ENGINE_RESTART)->run;
        Batch *batch = only(world, ENGINE_SAVE)->batch;
        expect("fetched 3/1 t offset=10 a=12\n"
               "fetched 3/1 t offset=11 a=-1\n"
               "fetched 3/1 t offset=12 a=3\n"
               "ended 3/1 t offset=15\n"
               "  pause 3/1 t\n"
               "  note 3/1 t offset=15 held c=-1\n"
               "  restart a id=1 {3/1 10: 0 0 0 0}\n"
               "  save id=1 {3/1 10: 0 0 0 0} {3/1 11: 0 0 2 0} {3/1 12: 0 0 1 0} {3/1 14: 0 0 2 "
               "0} {3/1 0: 10 15 0 1}\n"
               "quiet {3/1 10: 10 4 5 1} [3 15 0 1 1 1 - 3 0 0 0 0 0 0 0 0]\n");
        world->now += SECOND;
        assert_int_equal(engine_restarted(world->engine, run, OUTCOME_FAILED, true, NULL,
                                          world->now),
                         0);
        take(world);
        world->now += SECOND;
        saved(world, batch, BATCH_UNKNOWN);
        expect("restarted kind=3 ok id=1\n"
               "quiet {3/1 10: 10 4 5 1} [3 15 0 0 1 1 - 3 0 0 0 0 0 0 0 0]\n"
               "saved kind=4 id=1\n"
               "  note offset=4 batch-retry later c=-1\n"
               "quiet {3/1 10: 10 4 5 1} [3 15 0 0 0 1 due 3 0 0 0 0 0 0 0 0]\n");
        assert_int_equal(told.delay, noted(world, NOTE_BATCH_RETRY)->delay_us);
        tick(world, SECOND / 2);
        world->now += SECOND;
        assert_int_equal(engine_fences_read(world->engine, batch, NULL, NULL, 0, world->now), 0);
        take(world);
        expect("tick\n"
               "  read-fences id=1 {3/1 10: 1 1 0 0} {3/1 11: 0 0 2 0} {3/1 12: 0 0 1 0} {3/1 14: "
               "0 0 2 0} {3/1 0: 10 15 0 1}\n"
               "quiet {3/1 10: 10 4 5 1} [3 15 0 0 1 1 - 3 0 0 0 0 0 0 0 0]\n"
               "fences_read id=1\n"
               "  note offset=4 batch-retry later c=-1\n"
               "quiet {3/1 10: 10 4 5 1} [3 15 0 0 0 1 due 3 0 0 0 0 0 0 0 0]\n");
        tick(world, SECOND);
        assert_int_equal(engine_fences_read(world->engine, batch, (int64_t[]){11}, NULL, 0,
                                            world->now),
                         0);
        take(world);
        expect("tick\n"
               "  read-fences id=1 {3/1 10: 1 1 0 0} {3/1 11: 0 0 2 0} {3/1 12: 0 0 1 0} {3/1 14: "
               "0 0 2 0} {3/1 0: 10 15 0 1}\n"
               "quiet {3/1 10: 10 4 5 1} [3 15 0 0 1 1 - 3 0 0 0 0 0 0 0 0]\n"
               "fences_read ok id=1 {3/1 11: 0 0 0 0}\n"
               "  note 3/1 t retry later c=10 d=1\n"
               "  save id=1 {3/1 11: 0 0 2 0} {3/1 12: 0 0 1 0} {3/1 14: 0 0 2 0} {3/1 0: 11 15 0 "
               "1}\n"
               "quiet {3/1 10: 10 4 5 1} [2 15 1 0 1 1 due 3 0 0 0 0 0 0 0 0]\n");
        saved(world, batch, BATCH_REFUSED);
        const RefusedRow refused = {.source = 4, .offset = 12, .detail = "no"};
        world->now += SECOND;
        assert_int_equal(engine_saved_each(world->engine, batch, BATCH_SAVED, &refused, 1,
                                           world->now),
                         0);
        take(world);
        expect("saved kind=1 id=1\n"
               "  save-each id=1 {3/1 11: 0 0 2 0} {3/1 12: 0 0 1 0} {3/1 14: 0 0 2 0} {3/1 0: 11 "
               "15 0 1}\n"
               "quiet {3/1 10: 10 4 5 1} [2 15 1 0 1 1 due 3 0 0 0 0 0 0 0 0]\n"
               "saved_each id=1 {-1/0 12: 4 0 0 0}\n"
               "  finished 3/1 t offset=12 a=1 b=1 c=1 [4 7 0 0 0 0 0 0 0 0 0 0 0 0 0 0]\n"
               "  finished 3/1 t offset=11 a=4 c=2 [4 1 0 0 0 0 0 0 0 0 0 0 0 0 0 0]\n"
               "  finished 3/1 t offset=14 a=4 c=2 [4 1 0 0 0 1 0 0 0 0 0 0 0 0 0 0]\n"
               "  note save-works c=-1\n"
               "  restart a id=2 {3/1 10: 1 1 0 0}\n"
               "quiet {3/1 10: 10 4 5 1} [1 12 0 1 0 1 - 3 0 1 0 0 1 0 0 0]\n");
        run = started(world);
        assert_int_equal(engine_restarted(world->engine, run, OUTCOME_NOT_STARTED, true, NULL,
                                          world->now),
                         0);
        take(world);
        batch = only(world, ENGINE_REJECT)->batch;
        expect("restarted kind=4 ok id=2\n"
               "  reject id=2 {3/1 10: 2 2 0 0}\n"
               "quiet {3/1 10: 10 4 5 1} [0 12 1 0 1 1 - 3 0 1 0 0 1 0 0 0]\n");
        saved(world, batch, BATCH_SAVED);
        commit_answer(world, true, 10, true);
        commit_answer(world, false, 10, false);
        expect("saved id=2\n"
               "  finished 3/1 t offset=10 a=1 b=1 [4 1 4 4 2 0 0 0 0 0 0 0 0 0 0 0]\n"
               "  resume 3/1 t offset=15\n"
               "  look-committed {3/1 15: 5 0 0 0}\n"
               "quiet {3/1 15: 10 0 5 1} [0 0 0 0 0 1 - 3 0 2 0 0 1 0 0 0]\n"
               "committed_seen ok {3/1 10: 1 15 0 0}\n"
               "  commit {3/1 15: 5 0 0 0}\n"
               "quiet {3/1 15: 10 0 5 1} [0 0 0 0 0 1 - 3 0 2 0 0 1 0 0 0]\n"
               "committed ok {3/1 10: 0 15 0 0}\n"
               "  note 3/1 t offset=15 commit-failed c=-1\n"
               "quiet {3/1 15: 10 0 5 1} [0 0 0 0 0 1 due 3 0 2 0 0 1 0 0 0]\n");
        world->now += SECOND;
        assert_int_equal(engine_resumed(world->engine, partition, true, world->now), 0);
        take(world);
        assert_int_equal(engine_committed_seen(world->engine, NULL, world->now), 0);
        take(world);
        expect("resumed 3/1 t ok\n"
               "  note 3/1 t offset=15 resumed c=-1\n"
               "  look-committed {3/1 15: 5 0 0 0}\n"
               "quiet {3/1 15: 10 0 5 0} [0 0 0 0 0 1 - 3 0 2 0 0 1 0 0 0]\n"
               "committed_seen {3/1 -1: 0 15 0 0}\n"
               "  note commit-failed c=-1\n"
               "quiet {3/1 15: 10 0 5 0} [0 0 0 0 0 1 due 3 0 2 0 0 1 0 0 0]\n");
}

static void test_the_end(void **state) {
        World *world = *state;
        Partition *two[] = {activate(world, 1, 10, 10), activate(world, 2, 20, 20)};
        told.size = 0;
        fetch(world, two[0], 10, "a");
        take(world);
        told.size = 0;
        world->now += SECOND;
        assert_int_equal(engine_database_up(world->engine, world->now), 0);
        take(world);
        assert_int_equal(engine_revoked(world->engine, two, 2, true, world->now), 0);
        take(world);
        Partition *three = activate(world, 3, 30, 30);
        expect("database_up\n"
               "  read-fences id=2 {2/2 0: 20 20 0 1}\n"
               "quiet {2/2 20: 20 0 5 0} {1/1 10: 10 1 5 0} [1 12 0 1 2 1 - 1 0 0 0 0 0 0 0 0]\n"
               "revoked {1/1 0: 0 0 0 0} {2/2 0: 0 0 0 0}\n"
               "  finished 1/1 t offset=10 a=2 [4 9 4 9 0 0 0 0 0 0 0 0 0 0 0 0]\n"
               "  unassign\n"
               "quiet [0 0 0 1 2 1 - 1 0 0 1 0 0 0 0 0]\n"
               "assigned 3/3 t\n"
               "  look-up 3/3 t\n"
               "quiet {3/3 -1: -1 0 0 0} [0 0 0 1 2 1 - 1 0 0 1 0 0 0 0 0]\n"
               "looked_up 3/3 t ok a=30 b=1 d=1000000\n"
               "  read-source 3/3 t\n"
               "quiet {3/3 -1: -1 0 1 0} [0 0 0 1 2 1 - 1 0 0 1 0 0 0 0 0]\n"
               "source_read 3/3 t ok a=4 b=30 c=1\n"
               "  seek 3/3 t offset=30\n"
               "quiet {3/3 -1: 30 0 4 0} [0 0 0 1 2 1 - 1 0 0 1 0 0 0 0 0]\n"
               "sought 3/3 t ok\n"
               "  note 3/3 t offset=30 started c=-1\n"
               "quiet {3/3 30: 30 0 5 0} [0 0 0 1 2 1 - 1 0 0 1 0 0 0 0 0]\n");
        world->now += SECOND;
        assert_int_equal(engine_stop(world->engine, world->now), 0);
        world->now += SECOND;
        assert_int_equal(engine_release(world->engine, world->now), 0);
        world->now += SECOND;
        assert_int_equal(engine_flush(world->engine, world->now), 0);
        world->now += SECOND;
        assert_int_equal(engine_revoked(world->engine, &three, 1, false, world->now), 0);
        take(world);
        expect("stop\n"
               "release\n"
               "flush\n"
               "revoked ok {3/3 0: 0 0 0 0}\n"
               "  read\n"
               "  unassign\n"
               "quiet [0 0 0 1 2 0 - 1 0 0 1 0 0 0 0 0]\n");
}

/* What was ordered for an epoch is told with it, also when the partition has begun anew since. */
static void test_the_epoch_before(void **state) {
        World *world = *state;
        Partition *partition = activate(world, 0, 10, 10);
        told.size = 0;
        assert_int_equal(engine_database_up(world->engine, world->now), 0);
        assert_int_equal(engine_vanished(world->engine, partition, world->now), 0);
        assert_int_equal(engine_looked_up(world->engine, partition,
                                          &(PartitionFacts){.committed = -1}, world->now),
                         0);
        take(world);
        Batch *batch = only(world, ENGINE_READ_FENCES)->batch;
        assert_int_equal(engine_fences_read(world->engine, batch, (int64_t[]){11}, NULL, 0,
                                            world->now),
                         0);
        take(world);
        expect("database_up\n"
               "vanished 0/1 t\n"
               "looked_up 0/1 t ok a=-1\n"
               "  read-fences id=1 {0/1 0: 10 10 0 1}\n"
               "  pause 0/2 t\n"
               "  note 0/2 t offset=10 held c=-1\n"
               "  look-up 0/2 t\n"
               "  look-up 0/2 t offset=10\n"
               "quiet {0/2 -1: 10 0 0 1} [0 0 0 0 1 1 - 0 0 0 0 0 0 0 0 0]\n"
               "fences_read ok id=1 {0/1 11: 0 0 0 0}\n"
               "quiet {0/2 -1: 10 0 0 1} [0 0 0 0 0 1 - 0 0 0 0 0 0 0 0 0]\n");
}

/* However many there are. */
static void test_many_items(void **state) {
        enum { MANY = 200 };
        World *world = *state;
        world->config.batch_rows = world->config.ack_gap = world->config.in_flight = 1000;
        world->config.waiting = 1000;
        world->config.concurrency = 0;
        Partition *partition = activate(world, 0, 0, 0);
        for (int i = 0; i < MANY; i++) {
                fetch(world, partition, i, "a");
        }
        EngineAction action;
        bool taken = true;
        while (taken) {
                assert_int_equal(engine_next_action(world->engine, &action, &taken), 0);
                if (taken && action.type == ENGINE_RESTART) {
                        assert_int_equal(told.items, MANY);
                } else if (taken && action.type == ENGINE_SAVE) {
                        assert_int_equal(told.items, MANY + 1); /* and its part */
                }
        }
        assert_int_equal(told.items, 1);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup_observed, teardown)

int main(void) {
        const struct CMUnitTest tests[] = {
                TEST(test_an_assignment),    TEST(test_messages),   TEST(test_the_end),
                TEST(test_the_epoch_before), TEST(test_many_items),
        };
        return cmocka_run_group_tests(tests, NULL, NULL);
}
