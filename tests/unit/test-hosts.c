/*
 * What waits for a host: what a retry is told with, when it is due, and how many retries hold up
 * what is fresh.
 */

#include "engine-world.h"

/* @n messages for hosts of their own; they are saved. */
static void fetch_hosts(World *world, Partition *partition, char letter, int n) {
        char host[16];
        for (int i = 0; i < n; i++) {
                snprintf(host, sizeof(host), "%c%d", letter, (int)partition->next);
                fetch(world, partition, partition->next, host);
        }
}

static Message *first_of(const Partition *partition) {
        return list_first(&partition->messages, Message, link);
}

/* Each attempt may wait twice as long; it is told when, and of whom. */
static void test_a_retry_is_told(void **state) {
        World *world = *state;
        static const Outcome outcomes[] = {OUTCOME_FAILED, OUTCOME_NOT_STARTED, OUTCOME_OUTAGE};
        world->config.attempts = 1000;
        Partition *partition = activate(world, 0, 0, 0);
        int64_t most = 0;
        fetch(world, partition, 0, "a");
        take(world);
        Run *run = only(world, ENGINE_RESTART)->run;
        saved(world, only(world, ENGINE_SAVE)->batch, BATCH_SAVED);
        for (int i = 0; i < 30; i++) {
                assert_int_equal(run->attempt, i + 1);
                assert_int_equal(run->again, i > 0);
                assert_int_equal(run->started_us, world->now);
                world->now += SECOND;
                restarted(world, run, outcomes[i % 3]);
                const EngineAction *note = only(world, ENGINE_NOTE);
                assert_int_equal(note->note, NOTE_RETRY);
                assert_ptr_equal(note->message, first_of(partition));
                assert_int_equal(note->handler, HANDLER_RESTART);
                assert_in_range(note->delay_us, 1, i < 6 ? SECOND << i : 60 * SECOND);
                assert_int_equal(engine_deadline(world->engine), world->now + note->delay_us);
                const HandlerTask *task = &note->message->handlers[HANDLER_RESTART];
                assert_int_equal(task->attempts, i + 1);
                assert_int_equal(task->charged, i + 1 - (i + 1) / 3);
                assert_int_equal(task->ended_us, world->now);
                assert_int_equal(engine_waiting(world->engine), 1);
                assert_int_equal(engine_in_flight(world->engine), 0);
                most = note->delay_us > most ? note->delay_us : most;
                int64_t delay = note->delay_us;
                tick(world, delay - 1);
                assert_int_equal(count(world, ENGINE_RESTART), 0);
                tick(world, 1);
                run = only(world, ENGINE_RESTART)->run;
        }
        assert_true(most > 30 * SECOND);
        restarted(world, run, OUTCOME_SUPPRESSED);
        assert_string_equal(world->finished, "A");
        const EngineTotals *totals = engine_totals(world->engine);
        assert_int_equal(totals->runs, 31);
        assert_int_equal(totals->outcomes[HANDLER_RESTART][OUTCOME_FAILED], 10);
        assert_int_equal(totals->outcomes[HANDLER_RESTART][OUTCOME_NOT_STARTED], 10);
        assert_int_equal(totals->outcomes[HANDLER_RESTART][OUTCOME_OUTAGE], 10);
        assert_int_equal(totals->outcomes[HANDLER_RESTART][OUTCOME_SUPPRESSED], 1);
        assert_int_equal(totals->outcomes[HANDLER_SAVE][OUTCOME_DONE], 1);
}

/* What becomes of a message: each outcome, charged or not, and what an unknown one means. */
static void test_what_becomes_of_a_message(void **state) {
        World *world = *state;
        static const struct {
                Outcome outcome;
                bool charged;
                OnUnknown on_unknown;
                char finish; /* '-': it is tried again */
                const char *reason;
        } rows[] = {
                {OUTCOME_DONE, true, ON_UNKNOWN_REJECT, 'A', NULL},
                {OUTCOME_SUPPRESSED, true, ON_UNKNOWN_REJECT, 'A', NULL},
                {OUTCOME_FAILED, true, ON_UNKNOWN_REJECT, 'J', "failed"},
                {OUTCOME_FAILED, false, ON_UNKNOWN_REJECT, '-', NULL},
                {OUTCOME_NOT_STARTED, true, ON_UNKNOWN_REJECT, 'J', "not_started"},
                {OUTCOME_NOT_STARTED, false, ON_UNKNOWN_REJECT, '-', NULL},
                {OUTCOME_UNKNOWN, true, ON_UNKNOWN_REJECT, 'J', "unknown"},
                {OUTCOME_UNKNOWN, true, ON_UNKNOWN_RETRY, 'J', "unknown"},
                {OUTCOME_UNKNOWN, false, ON_UNKNOWN_RETRY, '-', NULL},
                {OUTCOME_UNKNOWN, true, ON_UNKNOWN_DONE, 'A', NULL},
                {OUTCOME_OUTAGE, true, ON_UNKNOWN_REJECT, '-', NULL},
                {OUTCOME_POISON, true, ON_UNKNOWN_REJECT, 'J', "refused"},
                {OUTCOME_INTERNAL, true, ON_UNKNOWN_REJECT, 'J', "internal"},
                {OUTCOME_CANCELLED, true, ON_UNKNOWN_REJECT, 'L', NULL},
        };
        world->config.attempts = 1;
        for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
                world->config.on_unknown = rows[i].on_unknown;
                Partition *partition = activate(world, 0, 0, 0);
                memset(world->finished, 0, sizeof(world->finished));
                fetch(world, partition, 0, "a");
                take(world);
                Run *run = only(world, ENGINE_RESTART)->run;
                saved(world, only(world, ENGINE_SAVE)->batch, BATCH_SAVED);
                assert_int_equal(engine_restarted(world->engine, run, rows[i].outcome,
                                                  rows[i].charged, "why", world->now),
                                 0);
                take(world);
                assert_int_equal(noted(world, NOTE_RETRY) != NULL, rows[i].finish == '-');
                if (rows[i].reason != NULL) {
                        assert_string_equal(first_of(partition)->fault->reason, rows[i].reason);
                        assert_string_equal(first_of(partition)->fault->detail, "why");
                        assert_int_equal(first_of(partition)->fault_handler, HANDLER_RESTART);
                        saved(world, only(world, ENGINE_REJECT)->batch, BATCH_SAVED);
                }
                assert_int_equal(count(world, ENGINE_REJECT), 0);
                assert_int_equal(world->finished[0], rows[i].finish != '-' ? rows[i].finish : '\0');
                assert_int_equal(world->finished[1], '\0');
                EngineTotals totals = *engine_totals(world->engine);
                assert_int_equal(totals.outcomes[HANDLER_RESTART][rows[i].outcome], 1);
                assert_int_equal(totals.finished[FINISH_ACCEPTED], rows[i].finish == 'A');
                assert_int_equal(totals.finished[FINISH_REJECTED], rows[i].finish == 'J');
                assert_int_equal(totals.finished[FINISH_RELEASED], rows[i].finish == 'L');
                renew(world);
                world->config.attempts = 1;
        }
}

/* The first of what went wrong is the reason, and both handlers' outcomes count. */
static void test_the_first_fault_is_the_reason(void **state) {
        World *world = *state;
        Partition *partition = activate(world, 0, 0, 0);
        fetch(world, partition, 0, "a");
        take(world);
        Run *run = only(world, ENGINE_RESTART)->run;
        Batch *batch = only(world, ENGINE_SAVE)->batch;
        restarted(world, run, OUTCOME_POISON);
        saved(world, batch, BATCH_REFUSED);
        const RefusedRow refused = {.source = 1, .offset = 0, .detail = "22P05"};
        assert_int_equal(engine_saved_each(world->engine, batch, BATCH_SAVED, &refused, 1,
                                           world->now),
                         0);
        EngineAction action = {0};
        bool taken = true;
        while (taken && action.type != ENGINE_FINISHED) {
                assert_int_equal(engine_next_action(world->engine, &action, &taken), 0);
        }
        assert_true(taken);
        assert_string_equal(action.message->fault->detail, "detail");
        assert_int_equal(action.message->fault_handler, HANDLER_RESTART);
        assert_int_equal(action.finish, FINISH_REJECTED);
        message_free(action.message);
}

/* A detail is cut where it must be. An id is kept as it is; an empty one is none. */
static void test_what_is_kept_of_a_message(void **state) {
        World *world = *state;
        char detail[600];
        memset(detail, 'd', sizeof(detail) - 1);
        detail[sizeof(detail) - 1] = '\0';
        Partition *partition = activate(world, 0, 0, 10);
        fetch_bytes(world, partition, 0, "{\"host\":\"a\",\"id\":7}");
        fetch_bytes(world, partition, 1, "{\"host\":\"b\",\"id\":\"seven\"}");
        fetch_bytes(world, partition, 2, "{\"host\":\"c\",\"id\":\"\"}");
        take(world);
        static const char *const ids[] = {"7", "seven", NULL}, *const hosts[] = {"a", "b", "c"};
        int i = 0;
        list_for_each(link, &partition->messages) {
                const Message *message = container_of(link, Message, link);
                assert_string_equal(message->host, hosts[i]);
                if (ids[i] != NULL) {
                        assert_string_equal(message->id, ids[i]);
                } else {
                        assert_null(message->id);
                }
                assert_null(message->fault);
                assert_int_equal(message->fault_handler, HANDLER_COUNT);
                i++;
        }
        assert_int_equal(i, 3);
        Run *run = world->taken[0].run;
        assert_int_equal(world->taken[0].type, ENGINE_RESTART);
        assert_int_equal(engine_restarted(world->engine, run, OUTCOME_POISON, true, detail,
                                          world->now),
                         0);
        assert_int_equal(strlen(first_of(partition)->fault->detail), MESSAGE_DETAIL_MAX - 1);
        assert_memory_equal(first_of(partition)->fault->detail, detail, MESSAGE_DETAIL_MAX - 1);
        take(world);
}

/* Up to message_bytes all of it is kept, beyond it 64 KiB. A time that nobody told is none. */
static void test_how_much_of_a_value_is_kept(void **state) {
        enum { KEPT = 64 * 1024 };
        World *world = *state;
        static const struct {
                size_t limit, size, kept;
        } rows[] = {
                {KEPT + 10, KEPT + 10, KEPT + 10},
                {KEPT + 10, KEPT + 11, KEPT},
                {KEPT, KEPT, KEPT},
                {KEPT, KEPT + 1, KEPT},
                {10, KEPT - 1, KEPT - 1},
                {10, KEPT, KEPT},
                {10, KEPT + 1, KEPT},
        };
        static uint8_t value[KEPT + 11];
        world->config.in_flight_bytes = 1 << 30;
        memset(value, 'x', sizeof(value));
        Partition *partition = activate(world, 0, 0, 0);
        for (size_t i = 0; i <= sizeof(rows) / sizeof(rows[0]); i++) {
                bool none = i == sizeof(rows) / sizeof(rows[0]);
                world->config.message_bytes = rows[none ? 0 : i].limit;
                const Record record = {.offset = (int64_t)i,
                                       .timestamp_us = -1,
                                       .value = none ? NULL : value,
                                       .value_size = none ? 0 : rows[i].size};
                size_t before = engine_in_flight_bytes(world->engine);
                assert_int_equal(engine_fetched(world->engine, partition, &record, 1000,
                                                world->now),
                                 0);
                const Message *message = container_of(partition->messages.prev, Message, link);
                size_t kept = none ? 0 : rows[i].kept;
                assert_int_equal(message->body->value_size, kept);
                assert_int_equal(engine_in_flight_bytes(world->engine) - before, kept);
                assert_int_equal(message->requested_us, -1);
                assert_int_equal(message->tombstone, none);
                if (!none) {
                        bool large = rows[i].size > rows[i].limit;
                        assert_string_equal(message->fault->reason,
                                            large ? "too_large" : "not_json");
                }
        }
}

/* Why a host is never restarted here: the first of the two that says so. */
static void test_who_may_not_be_restarted(void **state) {
        World *world = *state;
        static const char *const allow[] = {"web-*", "bad-1", NULL};
        static const struct {
                const char *host, *reason, *detail;
        } rows[] = {
                {"db-1", "not_allowed",
                 "no pattern of handlers.restart-host.allow matches the host"},
                {"bad-2", "not_allowed",
                 "no pattern of handlers.restart-host.allow matches the host"},
                {"bad-1", "denied", "a pattern of handlers.restart-host.deny matches the host"},
        };
        world->config.allow = allow;
        Partition *partition = activate(world, 0, 0, 10);
        for (int i = 0; i < 3; i++) {
                fetch(world, partition, i, rows[i].host);
                take(world);
                const Message *message = first_of(partition);
                assert_string_equal(message->fault->reason, rows[i].reason);
                assert_string_equal(message->fault->detail, rows[i].detail);
                assert_int_equal(message->fault_handler, HANDLER_RESTART);
                assert_int_equal(message->handlers[HANDLER_RESTART].charged, 0);
                saved(world, only(world, ENGINE_REJECT)->batch, BATCH_SAVED);
        }
        assert_string_equal(world->finished, "JJJ");
        assert_int_equal(engine_totals(world->engine)->outcomes[HANDLER_RESTART][OUTCOME_POISON],
                         3);
        fetch(world, partition, 3, "web-1");
        take(world);
        only(world, ENGINE_RESTART);
}

/* 17 retries of 32 that may wait, and a fresh host that waits for a slot; three more run. */
static void crowd(World *world, Run **runs) {
        world->config.concurrency = 0;
        world->config.batch_rows = 100;
        world->config.waiting = 32;
        world->config.attempts = 1000;
        Partition *partition = activate(world, 0, 0, 0);
        size_t n = 0;
        fetch_hosts(world, partition, 'f', 20);
        take(world);
        for (size_t i = 0; i < world->n_taken; i++) {
                if (world->taken[i].type == ENGINE_RESTART) {
                        runs[n++] = world->taken[i].run;
                }
        }
        assert_int_equal(n, 20);
        saved(world, only(world, ENGINE_SAVE)->batch, BATCH_SAVED);
        world->config.concurrency = 1;
        fetch_hosts(world, partition, 'g', 1); /* waits for a slot */
        take(world);
        saved(world, only(world, ENGINE_SAVE)->batch, BATCH_SAVED);
        for (size_t i = 0; i < 17; i++) {
                restarted(world, runs[i], OUTCOME_FAILED);
                assert_int_equal(noted(world, NOTE_RETRIES_CROWD) != NULL, i == 16);
        }
}

/* The stop has nothing to say of it. */
static void test_a_crowd_that_is_stopped(void **state) {
        World *world = *state;
        Run *runs[20];
        crowd(world, runs);
        assert_int_equal(engine_stop(world->engine, world->now), 0);
        take(world);
        assert_int_equal(strlen(world->finished), 18);
        assert_int_equal(count(world, ENGINE_NOTE), 0);
}

/* When they have their share it is said, with how many there are; and when they have it no more. */
static void test_a_crowd_of_retries_is_told(void **state) {
        World *world = *state;
        Run *runs[20];
        crowd(world, runs);
        assert_int_equal(noted(world, NOTE_RETRIES_CROWD)->offset, 17);
        assert_null(noted(world, NOTE_RETRIES_CROWD)->partition);
        restarted(world, runs[17], OUTCOME_DONE);
        restarted(world, runs[18], OUTCOME_DONE);
        restarted(world, runs[19], OUTCOME_DONE);
        assert_int_equal(count(world, ENGINE_RESTART), 0);
        /* An eighth of 16 is free at 14. */
        tick(world, 10 * SECOND);
        for (size_t left = 17; left > 14; left--) {
                Run *run = only(world, ENGINE_RESTART)->run;
                assert_true(run->again);
                restarted(world, run, OUTCOME_DONE);
                assert_int_equal(noted(world, NOTE_RETRIES_THIN) != NULL, left == 15);
        }
        assert_int_equal(noted(world, NOTE_RETRIES_THIN)->offset, 14);
        assert_null(noted(world, NOTE_RETRIES_CROWD));
}

/* All that wait for one restart are told how it ended, and each by its own attempts. */
static void test_who_shares_a_restart(void **state) {
        World *world = *state;
        world->config.attempts = 2;
        world->config.batch_rows = 1;
        Partition *partition = activate(world, 0, 0, 0);
        fetch(world, partition, 0, "a");
        take(world);
        Run *run = only(world, ENGINE_RESTART)->run;
        saved(world, only(world, ENGINE_SAVE)->batch, BATCH_SAVED);
        restarted(world, run, OUTCOME_FAILED);
        tick(world, only(world, ENGINE_NOTE)->delay_us - 1);
        world->config.concurrency = 1;
        fetch(world, partition, 1, "b"); /* has the slot */
        take(world);
        Run *other = only(world, ENGINE_RESTART)->run;
        saved(world, only(world, ENGINE_SAVE)->batch, BATCH_SAVED);
        fetch(world, partition, 2, "a");
        const HandlerTask *task = &first_of(partition)->handlers[HANDLER_RESTART];
        assert_int_equal(task->state, HANDLER_WAITING);
        tick(world, 1);
        assert_int_equal(task->state, HANDLER_QUEUED);
        saved(world, only(world, ENGINE_SAVE)->batch, BATCH_SAVED);
        restarted(world, other, OUTCOME_DONE);
        run = only(world, ENGINE_RESTART)->run;
        assert_int_equal(run->attempt, 2);
        assert_true(run->again);
        assert_int_equal(task->state, HANDLER_RUNNING);
        restarted(world, run, OUTCOME_FAILED);
        assert_int_equal(task->state, HANDLER_ENDED);
        /* The first has had its two attempts, the other one. */
        assert_int_equal(only(world, ENGINE_NOTE)->message->offset, 2);
        assert_string_equal(first_of(partition)->fault->reason, "failed");
        assert_int_equal(engine_totals(world->engine)->outcomes[HANDLER_RESTART][OUTCOME_FAILED],
                         3);
        assert_int_equal(engine_totals(world->engine)->runs, 3);
}

/* The only slot is at a retry of f for @us, with a look at the clock in between; then fresh hosts
 * have it for 63 times as long. Fresh: g1 to g5, and with them another request for f. */
static void fail_again(World *world, Partition *partition, int64_t us) {
        world->config.concurrency = 1;
        world->config.attempts = 1000;
        world->config.backoff_max_us = world->config.backoff_us = SECOND;
        world->config.batch_rows = 200;
        world->config.waiting = world->config.in_flight = world->config.ack_gap = 1000;
        fetch(world, partition, 0, "f");
        take(world);
        Run *run = only(world, ENGINE_RESTART)->run;
        saved(world, only(world, ENGINE_SAVE)->batch, BATCH_SAVED);
        fetch(world, partition, 1, "g1");
        take(world);
        saved(world, only(world, ENGINE_SAVE)->batch, BATCH_SAVED);
        restarted(world, run, OUTCOME_FAILED);
        run = only(world, ENGINE_RESTART)->run;
        for (int i = 2; i <= 5; i++) {
                fetch(world, partition, i, (char[]){'g', (char)('0' + i), '\0'});
        }
        tick(world, SECOND);
        saved(world, only(world, ENGINE_SAVE)->batch, BATCH_SAVED);
        restarted(world, run, OUTCOME_DONE);
        run = only(world, ENGINE_RESTART)->run;
        assert_string_equal(run_host(run), "f");
        assert_true(run->again);
        fetch(world, partition, 6, "f");
        tick(world, us - 1);
        saved(world, only(world, ENGINE_SAVE)->batch, BATCH_SAVED);
        tick(world, 1);
        restarted(world, run, OUTCOME_FAILED);
}

/* A host that is waited for anew is fresh; when its retry is due it is no more, and stands behind
 * those who are owed the time that it took. */
static void test_a_retry_takes_its_host_along(void **state) {
        World *world = *state;
        Partition *partition = activate(world, 0, 0, 0);
        fail_again(world, partition, 10 * SECOND);
        Run *run = only(world, ENGINE_RESTART)->run;
        assert_string_equal(run_host(run), "g2");
        fetch(world, partition, 7, "h");
        tick(world, SECOND);
        static const char *const expected[] = {"g3", "g4", "g5", "h"};
        for (int i = 0; i < 4; i++) {
                restarted(world, run, OUTCOME_DONE);
                run = only(world, ENGINE_RESTART)->run;
                assert_string_equal(run_host(run), expected[i]);
                assert_false(run->again);
        }
        restarted(world, run, OUTCOME_DONE);
        run = only(world, ENGINE_RESTART)->run;
        assert_string_equal(run_host(run), "f");
        assert_true(run->again);
        restarted(world, run, OUTCOME_DONE);
        assert_int_equal(engine_waiting(world->engine), 0);
}

/* All of the time that it took while others waited, whatever came in between. */
static void test_a_retry_owes_all_of_its_time(void **state) {
        World *world = *state;
        char host[8];
        for (int enough = 0; enough < 2; enough++) {
                Partition *partition = activate(world, 0, 0, 0);
                fail_again(world, partition, 2 * SECOND);
                Run *run = only(world, ENGINE_RESTART)->run;
                for (int i = 0; i < 150; i++) {
                        snprintf(host, sizeof(host), "h%d", i);
                        fetch(world, partition, 7 + i, host);
                }
                take(world);
                /* 126 s: after the 126th, which takes a second, it may start. */
                for (int i = 1; i <= 126; i++) {
                        assert_false(run->again);
                        world->now += i < 126 || enough ? SECOND : SECOND - 1;
                        restarted(world, run, OUTCOME_DONE);
                        run = only(world, ENGINE_RESTART)->run;
                }
                assert_int_equal(run->again, enough);
                renew(world);
        }
}

/* When nobody waits, what is owed is forgotten: a retry has its turn again right away. */
static void test_nothing_is_owed_to_nobody(void **state) {
        World *world = *state;
        Partition *partition = activate(world, 0, 0, 0);
        fail_again(world, partition, 10 * SECOND);
        Run *run = only(world, ENGINE_RESTART)->run;
        for (int i = 2; i <= 5; i++) {
                assert_false(run->again);
                world->now += SECOND;
                restarted(world, run, OUTCOME_DONE);
                run = only(world, ENGINE_RESTART)->run;
        }
        assert_true(run->again);
        restarted(world, run, OUTCOME_DONE);
        assert_int_equal(engine_running(world->engine), 0);
        fetch(world, partition, 7, "k");
        take(world);
        run = only(world, ENGINE_RESTART)->run;
        saved(world, only(world, ENGINE_SAVE)->batch, BATCH_SAVED);
        restarted(world, run, OUTCOME_FAILED);
        for (int i = 0; i < 5; i++) {
                fetch(world, partition, 8 + i, (char[]){'m', (char)('0' + i), '\0'});
        }
        take(world);
        run = only(world, ENGINE_RESTART)->run;
        assert_string_equal(run_host(run), "m0");
        world->now += SECOND;
        restarted(world, run, OUTCOME_DONE);
        assert_string_equal(run_host(only(world, ENGINE_RESTART)->run), "k");
}

/* What waits for its retry has no host. */
static void test_a_retry_of_what_is_revoked(void **state) {
        World *world = *state;
        Partition *partition = activate(world, 0, 0, 10);
        fetch(world, partition, 0, "a");
        take(world);
        restarted(world, only(world, ENGINE_RESTART)->run, OUTCOME_FAILED);
        assert_int_equal(engine_revoked(world->engine, &partition, 1, false, world->now), 0);
        take(world);
        only(world, ENGINE_UNASSIGN);
        assert_string_equal(world->finished, "L");
        assert_int_equal(engine_deadline(world->engine), INT64_MAX);
        tick(world, 100 * SECOND);
        assert_int_equal(world->n_taken, 0);
}

/* A host that nobody waits for any more is not restarted, nor counted. */
static void test_a_host_that_nobody_waits_for(void **state) {
        World *world = *state;
        world->config.concurrency = 1;
        Partition *partitions[2];
        for (int i = 0; i < 2; i++) {
                partitions[i] = activate(world, i, 0, 10);
        }
        fetch(world, partitions[0], 0, "a");
        take(world);
        Run *run = only(world, ENGINE_RESTART)->run;
        fetch_hosts(world, partitions[1], 'x', 5);
        fetch(world, partitions[0], 1, "b");
        take(world);
        assert_int_equal(engine_revoked(world->engine, &partitions[1], 1, false, world->now), 0);
        take(world);
        assert_string_equal(world->finished, "LLLLL");
        restarted(world, run, OUTCOME_DONE);
        assert_string_equal(run_host(only(world, ENGINE_RESTART)->run), "b");
        restarted(world, only(world, ENGINE_RESTART)->run, OUTCOME_DONE);
        assert_int_equal(count(world, ENGINE_RESTART), 0);
        assert_int_equal(engine_totals(world->engine)->runs, 2);
        assert_int_equal(engine_running(world->engine), 0);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

/* Answers the claim that was taken last, and takes what follows. */
static void claimed(World *world, Run *run, const LedgerDecision *decision) {
        assert_int_equal(engine_claimed(world->engine, run, LEDGER_END_DONE, decision, world->now),
                         0);
        take(world);
}

/* The ledger looks for an earlier receipt only when it matters, so it is told that there may be one
 * until it has found it: max_wait is counted from there, also by who received the message early. */
static void test_an_earlier_receipt_is_asked_for_until_it_is_found(void **state) {
        World *world = *state;
        world->config.ledger = true;
        Partition *partition = activate(world, 0, 0, 1);
        fetch(world, partition, 0, "a");
        take(world);
        Run *run = only(world, ENGINE_CLAIM)->run;
        int64_t received = run->claim.received_us;
        assert_true(run->claim.redelivered);

        LedgerDecision wait = {.verdict = LEDGER_VERDICT_WAIT,
                               .reason = LEDGER_REASON_HOLD,
                               .again_us = SECOND,
                               .received_us = received};
        claimed(world, run, &wait); /* it did not look, since the request was young */
        tick(world, SECOND);
        run = only(world, ENGINE_CLAIM)->run;
        assert_true(run->claim.redelivered);
        assert_int_equal(run->claim.received_us, received);

        wait.received_us = received - 5 * SECOND;
        claimed(world, run, &wait);
        tick(world, SECOND);
        run = only(world, ENGINE_CLAIM)->run;
        assert_false(run->claim.redelivered);
        assert_int_equal(run->claim.received_us, received - 5 * SECOND);
        claimed(world, run, &(LedgerDecision){.verdict = LEDGER_VERDICT_DONE});
        assert_string_equal(world->finished, "A");
}

int main(void) {
        const struct CMUnitTest tests[] = {
                TEST(test_a_retry_is_told),
                TEST(test_what_becomes_of_a_message),
                TEST(test_the_first_fault_is_the_reason),
                TEST(test_what_is_kept_of_a_message),
                TEST(test_how_much_of_a_value_is_kept),
                TEST(test_who_may_not_be_restarted),
                TEST(test_a_crowd_that_is_stopped),
                TEST(test_a_crowd_of_retries_is_told),
                TEST(test_who_shares_a_restart),
                TEST(test_a_retry_takes_its_host_along),
                TEST(test_a_retry_owes_all_of_its_time),
                TEST(test_nothing_is_owed_to_nobody),
                TEST(test_a_retry_of_what_is_revoked),
                TEST(test_a_host_that_nobody_waits_for),
                TEST(test_an_earlier_receipt_is_asked_for_until_it_is_found),
        };
        return cmocka_run_group_tests(tests, NULL, NULL);
}
