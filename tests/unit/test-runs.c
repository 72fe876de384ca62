/*
 * A restart and the ledger: each way through the states of runs.c, and what becomes of the
 * messages.
 */

#include "engine-world.h"

static int setup_ledger(void **state) {
        int r = setup(state);
        World *world = *state;
        world->config.ledger = true;
        world->config.cooldown_us = 900LL * SECOND;
        world->config.verify_deadline_us = 300LL * SECOND;
        return r;
}

/* Messages for these hosts, a letter each, that are saved; whatever they ask is among the taken. */
static Partition *begin(World *world, const char *hosts) {
        Partition *partition = activate(world, 0, 0, 0);
        char host[2] = "";
        for (; *hosts != '\0'; hosts++) {
                host[0] = *hosts;
                fetch(world, partition, partition->next, host);
        }
        take(world);
        EngineAction *save = only(world, ENGINE_SAVE);
        assert_int_equal(engine_saved(world->engine, save->batch, BATCH_SAVED, world->now), 0);
        return partition;
}

static Run *claims(World *world) {
        return only(world, ENGINE_CLAIM)->run;
}

/* Nothing is asked, started or told. */
static void is_still(const World *world) {
        assert_int_equal(count(world, ENGINE_CHECK) + count(world, ENGINE_CLAIM) +
                                 count(world, ENGINE_RESTART) + count(world, ENGINE_ACTED) +
                                 count(world, ENGINE_VERIFY) + count(world, ENGINE_CONCLUDE),
                         0);
}

static void checked(World *world, Run *run, CheckResult result, const char *before) {
        assert_int_equal(engine_checked(world->engine, run, result, before, "detail", world->now),
                         0);
        take(world);
}

static void claim_fails(World *world, Run *run, LedgerEnd end) {
        assert_int_equal(engine_claimed(world->engine, run, end, NULL, world->now), 0);
        take(world);
}

static void decided(World *world, Run *run, LedgerDecision decision) {
        decision.received_us = 1000;
        assert_int_equal(engine_claimed(world->engine, run, LEDGER_END_DONE, &decision, world->now),
                         0);
        take(world);
}

static void granted(World *world, Run *run, int64_t id) {
        decided(world, run, (LedgerDecision){.verdict = LEDGER_VERDICT_START, .id = id});
        assert_ptr_equal(only(world, ENGINE_RESTART)->run, run);
}

static void has_to_wait(World *world, Run *run, LedgerReason reason, int64_t again_us) {
        decided(world, run,
                (LedgerDecision){.verdict = LEDGER_VERDICT_WAIT,
                                 .reason = reason,
                                 .again_us = again_us});
}

/* Its end is told, so. */
static void tells(World *world, Run *run, LedgerState state) {
        assert_ptr_equal(only(world, ENGINE_CONCLUDE)->run, run);
        assert_int_equal(run->state, state);
}

static void end_answered(World *world, Run *run, LedgerEnd end, bool did, LedgerState state) {
        const LedgerResult result = {.id = run->ledger_id, .did = did, .state = state};
        assert_int_equal(engine_concluded(world->engine, run, end,
                                          end == LEDGER_END_DONE ? &result : NULL, world->now),
                         0);
        take(world);
}

static void concluded(World *world, Run *run) {
        end_answered(world, run, LEDGER_END_DONE, true, run->state);
}

static void acted(World *world, Run *run, LedgerEnd end) {
        assert_int_equal(engine_acted(world->engine, run, end, world->now), 0);
        take(world);
}

static void verified(World *world, Run *run, VerifyResult result) {
        assert_int_equal(engine_verified(world->engine, run, result, "detail", world->now), 0);
        take(world);
}

static const HandlerTask *restart_of(const Partition *partition) {
        return &list_first(&partition->messages, Message, link)->handlers[HANDLER_RESTART];
}

/* Why the only message that is to be rejected is. */
static const char *rejected_for(World *world) {
        const Batch *batch = only(world, ENGINE_REJECT)->batch;
        return list_first(&batch->messages, Message, lane_link)->fault->reason;
}

/* --- from the question to the end --------------------------------------------------------- */

static void test_nothing_starts_unasked_and_nobody_ends_before_it_is_written(void **state) {
        World *world = *state;
        begin(world, "a");
        Run *run = claims(world);
        assert_int_equal(run->claim.source, 1);
        assert_int_equal(run->claim.offset, 0);
        assert_int_equal(run->claim.attempt, 1);
        assert_int_equal(count(world, ENGINE_RESTART), 0);
        assert_int_equal(engine_running(world->engine), 1);
        assert_int_equal(engine_open_entries(world->engine), 1);
        granted(world, run, 7);
        restarted(world, run, OUTCOME_DONE);
        tells(world, run, LEDGER_STATE_DONE);
        assert_int_equal(run->ledger_id, 7);
        assert_false(run->verified);
        assert_string_equal(world->finished, "");
        assert_int_equal(engine_open_entries(world->engine), 1);
        concluded(world, run);
        assert_string_equal(world->finished, "A");
        assert_int_equal(engine_running(world->engine), 0);
        assert_int_equal(engine_open_entries(world->engine), 0);
        assert_int_equal(engine_totals(world->engine)->claims, 1);
        assert_int_equal(engine_totals(world->engine)->runs, 1);
}

static void test_what_comes_until_the_grant_joins(void **state) {
        World *world = *state;
        Partition *partition = begin(world, "a");
        Run *run = claims(world);
        fetch(world, partition, 1, "a");
        take(world);
        saved(world, only(world, ENGINE_SAVE)->batch, BATCH_SAVED);
        assert_int_equal(engine_waits(world->engine, WAIT_HOST), 1);
        granted(world, run, 7);
        assert_int_equal(engine_waits(world->engine, WAIT_HOST), 0);
        fetch(world, partition, 2, "a");
        take(world);
        saved(world, only(world, ENGINE_SAVE)->batch, BATCH_SAVED);
        restarted(world, run, OUTCOME_DONE);
        concluded(world, run);
        assert_string_equal(world->finished, "AA");
        assert_int_equal(claims(world)->claim.offset, 2);
}

static void test_a_slot_is_taken_from_the_question_to_the_end(void **state) {
        World *world = *state;
        world->config.concurrency = 1;
        begin(world, "ab");
        Run *run = claims(world);
        granted(world, run, 7);
        assert_int_equal(count(world, ENGINE_CLAIM), 0);
        restarted(world, run, OUTCOME_DONE);
        assert_int_equal(count(world, ENGINE_CLAIM), 0);
        concluded(world, run);
        assert_string_equal(run_host(claims(world)), "b");
}

/* --- precheck ----------------------------------------------------------------------------- */

static void test_a_check_comes_first(void **state) {
        World *world = *state;
        world->config.check = true;
        begin(world, "a");
        Run *run = only(world, ENGINE_CHECK)->run;
        assert_int_equal(count(world, ENGINE_CLAIM), 0);
        checked(world, run, CHECK_GO, "boot 1");
        assert_ptr_equal(claims(world), run);
        assert_string_equal(run->claim.before, "boot 1");
        assert_int_equal(run->claim.suppress, LEDGER_REASON_NONE);
}

static void test_what_is_not_needed_is_written_down(void **state) {
        World *world = *state;
        world->config.check = true;
        begin(world, "a");
        Run *run = only(world, ENGINE_CHECK)->run;
        checked(world, run, CHECK_NOT_NEEDED, NULL);
        assert_int_equal(claims(world)->claim.suppress, LEDGER_REASON_NOT_NEEDED);
        decided(world, run,
                (LedgerDecision){.verdict = LEDGER_VERDICT_DONE,
                                 .reason = LEDGER_REASON_NOT_NEEDED,
                                 .suppressed_now = true,
                                 .id = 7});
        assert_string_equal(noted(world, NOTE_SUPPRESSED)->reason, "not_needed");
        assert_string_equal(world->finished, "A");
        assert_int_equal(engine_totals(world->engine)->suppressed[LEDGER_REASON_NOT_NEEDED], 1);
}

/* The claim before it, with its number, was carried out late: it has an intent. */
/* A claim that nobody waits for any more was carried out late, or PostgreSQL has forgotten how the
 * restart of a claim before ended: nobody can tell, so it is unknown, with the number that it has.
 */
static void test_what_was_granted_before_is_unknown(void **state) {
        World *world = *state;
        world->config.check = true;
        begin(world, "a");
        Run *run = only(world, ENGINE_CHECK)->run;
        checked(world, run, CHECK_NOT_NEEDED, NULL);
        decided(world, run,
                (LedgerDecision){.verdict = LEDGER_VERDICT_START, .renewed = true, .id = 7});
        assert_non_null(noted(world, NOTE_GRANTED_BEFORE));
        tells(world, run, LEDGER_STATE_UNKNOWN);
        concluded(world, run);
        run = only(world, ENGINE_CHECK)->run;
        checked(world, run, CHECK_NOT_NEEDED, NULL);
        assert_int_equal(claims(world)->claim.attempt, 1);
        assert_int_equal(engine_totals(world->engine)->runs, 0);
}

/* Those that wait with it get no row, and keep their numbers. */
static void test_what_was_granted_before_numbers_nobody_else(void **state) {
        World *world = *state;
        Partition *partition = begin(world, "a");
        fetch(world, partition, 1, "a");
        Run *run = claims(world);
        decided(world, run,
                (LedgerDecision){.verdict = LEDGER_VERDICT_WAIT,
                                 .reason = LEDGER_REASON_COOLDOWN,
                                 .again_us = SECOND});
        tick(world, SECOND);
        run = claims(world);
        decided(world, run,
                (LedgerDecision){.verdict = LEDGER_VERDICT_START, .renewed = true, .id = 7});
        tells(world, run, LEDGER_STATE_UNKNOWN);
        concluded(world, run);
        list_for_each(link, &partition->messages) {
                assert_int_equal(container_of(link, Message, link)->claim, 1);
        }
}

static void test_a_check_may_hold_it_up(void **state) {
        World *world = *state;
        world->config.check = true;
        begin(world, "a");
        checked(world, only(world, ENGINE_CHECK)->run, CHECK_WAIT, NULL);
        assert_string_equal(noted(world, NOTE_RESTART_WAITS)->reason, "precheck");
        assert_int_equal(engine_waits(world->engine, WAIT_PRECHECK), 1);
        assert_int_equal(engine_running(world->engine), 0);
        tick(world, 10 * SECOND - 1);
        is_still(world);
        tick(world, 1);
        checked(world, only(world, ENGINE_CHECK)->run, CHECK_WAIT, NULL);
        assert_null(noted(world, NOTE_RESTART_WAITS)); /* it is no news */
        assert_string_equal(world->finished, "");
}

static void test_a_check_that_can_never_be_asked_rejects_the_leader(void **state) {
        World *world = *state;
        world->config.check = true;
        begin(world, "aa");
        checked(world, only(world, ENGINE_CHECK)->run, CHECK_POISON, NULL);
        assert_string_equal(rejected_for(world), "refused");
        assert_int_equal(only(world, ENGINE_CHECK)->run->claim.offset, 1);
}

/* --- what the ledger says of the leader --------------------------------------------------- */

static void test_done_is_of_the_leader_alone(void **state) {
        World *world = *state;
        begin(world, "aa");
        decided(world, claims(world),
                (LedgerDecision){.verdict = LEDGER_VERDICT_DONE,
                                 .reason = LEDGER_REASON_COOLDOWN,
                                 .suppressed_now = true,
                                 .id = 7});
        assert_string_equal(world->finished, "A");
        Run *run = claims(world);
        assert_int_equal(run->claim.offset, 1);
        decided(world, run, (LedgerDecision){.verdict = LEDGER_VERDICT_DONE, .id = 8});
        assert_null(noted(world, NOTE_SUPPRESSED)); /* it was restarted */
        assert_string_equal(world->finished, "AA");
        const EngineTotals *totals = engine_totals(world->engine);
        assert_int_equal(totals->suppressed[LEDGER_REASON_COOLDOWN], 1);
        assert_int_equal(totals->outcomes[HANDLER_RESTART][OUTCOME_SUPPRESSED], 1);
        assert_int_equal(totals->outcomes[HANDLER_RESTART][OUTCOME_DONE], 1);
        assert_int_equal(totals->runs, 0);
}

static void test_the_ledger_rejects(void **state) {
        World *world = *state;
        Partition *partition = begin(world, "a");
        decided(world, claims(world),
                (LedgerDecision){.verdict = LEDGER_VERDICT_REJECT,
                                 .reason = LEDGER_REASON_HOST_LIMIT,
                                 .detail = "3 restarts of this host in 6h"});
        assert_string_equal(rejected_for(world), "host_limit");
        assert_int_equal(restart_of(partition)->charged, 0);
        saved(world, only(world, ENGINE_REJECT)->batch, BATCH_SAVED);
        assert_string_equal(world->finished, "J");
}

static void test_what_waits_is_asked_for_again_and_charged_nothing(void **state) {
        World *world = *state;
        static const struct {
                LedgerReason reason;
                RestartWait wait;
        } rows[] = {{LEDGER_REASON_RUNNING, WAIT_RUNNING},
                    {LEDGER_REASON_COOLDOWN, WAIT_COOLDOWN},
                    {LEDGER_REASON_HOLD, WAIT_HOLD},
                    {LEDGER_REASON_GROUP, WAIT_GROUP},
                    {LEDGER_REASON_FLEET, WAIT_FLEET},
                    {LEDGER_REASON_FUSE, WAIT_FUSE},
                    {LEDGER_REASON_QUIET_TIME, WAIT_QUIET_TIME}};
        Partition *partition = begin(world, "a");
        for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
                Run *run = claims(world);
                assert_int_equal(run->claim.attempt, 1);
                has_to_wait(world, run, rows[i].reason, 2 * SECOND);
                is_still(world);
                assert_string_equal(noted(world, NOTE_RESTART_WAITS)->reason,
                                    restart_wait_name(rows[i].wait));
                assert_int_equal(engine_waits(world->engine, rows[i].wait), 1);
                assert_int_equal(engine_running(world->engine), 0);
                assert_int_equal(engine_deadline(world->engine), world->now + 2 * SECOND);
                assert_int_equal(restart_of(partition)->attempts, 0);
                assert_int_equal(restart_of(partition)->charged, 0);
                tick(world, 2 * SECOND - 1);
                is_still(world);
                tick(world, 1);
        }
        claims(world);
}

static void test_who_waits_holds_up_nobody_else(void **state) {
        World *world = *state;
        world->config.concurrency = 1;
        begin(world, "ab");
        has_to_wait(world, claims(world), LEDGER_REASON_HOLD, 5 * SECOND);
        assert_string_equal(run_host(claims(world)), "b");
}

static void test_a_blown_fuse_is_told(void **state) {
        World *world = *state;
        begin(world, "a");
        decided(world, claims(world),
                (LedgerDecision){.verdict = LEDGER_VERDICT_WAIT,
                                 .reason = LEDGER_REASON_FUSE,
                                 .fuse_blew = true,
                                 .again_us = SECOND});
        assert_non_null(noted(world, NOTE_FUSE_BLEW));
}

static void test_a_number_that_is_taken_is_passed(void **state) {
        World *world = *state;
        begin(world, "a");
        for (int i = 0; i < 5; i++) {
                Run *run = claims(world);
                assert_int_equal(run->claim.attempt, i == 0 ? 1 : 10 * i + 1);
                decided(world, run,
                        (LedgerDecision){.verdict = LEDGER_VERDICT_WAIT,
                                         .reason = LEDGER_REASON_ATTEMPT,
                                         .attempt = 10 * (i + 1)});
        }
        is_still(world); /* it does not go on so for ever */
        tick(world, SECOND);
        assert_int_equal(claims(world)->claim.attempt, 51);
}

/* --- no answer ---------------------------------------------------------------------------- */

static void test_a_claim_without_a_reply_is_asked_again(void **state) {
        World *world = *state;
        Partition *partition = begin(world, "a");
        Run *run = claims(world);
        claim_fails(world, run, LEDGER_END_UNKNOWN);
        is_still(world);
        assert_non_null(noted(world, NOTE_LEDGER_AWAY));
        tick(world, 5 * SECOND);
        assert_ptr_equal(claims(world), run);
        claim_fails(world, run, LEDGER_END_OUTAGE);
        /* Its message is gone, and what was granted would stay open. */
        assert_int_equal(engine_revoked(world->engine, &partition, 1, true, world->now), 0);
        take(world);
        assert_string_equal(world->finished, "L");
        assert_int_equal(engine_stop(world->engine, world->now), 0);
        take(world);
        assert_false(engine_is_quiet(world->engine));
        tick(world, 5 * SECOND);
        assert_ptr_equal(claims(world), run);
        assert_int_equal(run->claim.attempt, 1);
        decided(world, run,
                (LedgerDecision){.verdict = LEDGER_VERDICT_START, .renewed = true, .id = 7});
        assert_non_null(noted(world, NOTE_LEDGER_BACK));
        tells(world, run, LEDGER_STATE_NOT_STARTED);
        concluded(world, run);
        assert_true(engine_is_quiet(world->engine));
}

static void test_an_outage_charges_nothing_and_nothing_new_is_asked(void **state) {
        World *world = *state;
        Partition *partition = begin(world, "a");
        claim_fails(world, claims(world), LEDGER_END_OUTAGE);
        is_still(world);
        int64_t delay = noted(world, NOTE_LEDGER_AWAY)->delay_us;
        assert_int_equal(engine_running(world->engine), 0);
        assert_int_equal(engine_waits(world->engine, WAIT_POSTGRES), 1);
        fetch(world, partition, 1, "b");
        take(world);
        is_still(world);
        tick(world, delay);
        assert_int_equal(count(world, ENGINE_CLAIM), 2);
        assert_int_equal(restart_of(partition)->attempts, 0);
}

static void test_who_is_told_that_the_database_is_up_asks_at_once(void **state) {
        World *world = *state;
        begin(world, "a");
        claim_fails(world, claims(world), LEDGER_END_OUTAGE);
        assert_int_equal(engine_database_up(world->engine, world->now), 0);
        take(world);
        Run *run = claims(world);
        claim_fails(world, run, LEDGER_END_UNKNOWN);
        assert_int_equal(engine_database_up(world->engine, world->now), 0);
        take(world);
        assert_ptr_equal(claims(world), run);
}

/* The table's fault, since no message can bring it about. */
static void test_a_refused_claim_is_asked_alone_and_then_later(void **state) {
        World *world = *state;
        begin(world, "a");
        Run *run = claims(world);
        assert_false(run->alone);
        claim_fails(world, run, LEDGER_END_REFUSED);
        assert_ptr_equal(claims(world), run);
        assert_true(run->alone);
        claim_fails(world, run, LEDGER_END_REFUSED);
        assert_int_equal(count(world, ENGINE_CLAIM), 0);
        assert_int_equal(engine_waits(world->engine, WAIT_POSTGRES), 1);
        tick(world, 5 * SECOND);
        assert_int_equal(claims(world)->claim.attempt, 1);
        assert_string_equal(world->finished, "");
}

/* --- granted, and not started ------------------------------------------------------------- */

static void test_what_is_too_late_is_given_back_and_asked_for_anew(void **state) {
        World *world = *state;
        Partition *partition = begin(world, "a");
        Run *run = claims(world);
        granted(world, run, 7);
        assert_int_equal(engine_too_late(world->engine, run, world->now), 0);
        take(world);
        assert_string_equal(noted(world, NOTE_NOT_STARTED)->reason, "too_late");
        tells(world, run, LEDGER_STATE_NOT_STARTED);
        concluded(world, run);
        /* Not at once: each time would leave a row. */
        assert_int_equal(count(world, ENGINE_CLAIM), 0);
        assert_int_equal(engine_waits(world->engine, WAIT_POSTGRES), 1);
        tick(world, engine_deadline(world->engine) - world->now);
        assert_int_equal(claims(world)->claim.attempt, 2);
        assert_int_equal(restart_of(partition)->attempts, 0);
        assert_int_equal(restart_of(partition)->charged, 0);
        assert_int_equal(engine_totals(world->engine)->runs, 0);
}

static void test_what_is_granted_to_what_was_revoked_is_given_back(void **state) {
        World *world = *state;
        Partition *partition = begin(world, "a");
        Run *run = claims(world);
        assert_int_equal(engine_revoked(world->engine, &partition, 1, false, world->now), 0);
        decided(world, run, (LedgerDecision){.verdict = LEDGER_VERDICT_START, .id = 7});
        assert_string_equal(noted(world, NOTE_NOT_STARTED)->reason, "revoked");
        tells(world, run, LEDGER_STATE_NOT_STARTED);
        concluded(world, run);
        is_still(world);
        assert_string_equal(world->finished, "L");
}

/* Between the grant and the start. */
static void test_what_is_granted_and_stopped_is_given_back(void **state) {
        World *world = *state;
        begin(world, "a");
        Run *run = claims(world);
        const LedgerDecision decision = {.verdict = LEDGER_VERDICT_START, .id = 7};
        assert_int_equal(engine_claimed(world->engine, run, LEDGER_END_DONE, &decision, world->now),
                         0);
        assert_int_equal(engine_stop(world->engine, world->now), 0);
        take(world);
        assert_int_equal(count(world, ENGINE_RESTART), 0);
        assert_string_equal(noted(world, NOTE_NOT_STARTED)->reason, "shutdown");
        tells(world, run, LEDGER_STATE_NOT_STARTED);
        assert_false(engine_is_quiet(world->engine));
        concluded(world, run);
        assert_true(engine_is_quiet(world->engine));
        assert_int_equal(engine_release(world->engine, world->now), 0);
        take(world);
        assert_string_equal(world->finished, "L");
}

static void test_a_restart_that_was_cancelled_is_given_back(void **state) {
        World *world = *state;
        begin(world, "a");
        Run *run = claims(world);
        granted(world, run, 7);
        restarted(world, run, OUTCOME_CANCELLED);
        tells(world, run, LEDGER_STATE_NOT_STARTED);
        concluded(world, run);
        assert_int_equal(claims(world)->claim.attempt, 2);
        assert_string_equal(world->finished, "");
}

/* --- the end ------------------------------------------------------------------------------ */

static void test_each_outcome_in_the_ledgers_words(void **state) {
        static const struct {
                Outcome outcome;
                OnUnknown on_unknown;
                LedgerState state;
                char finish; /* '-': tried again */
        } rows[] = {
                {OUTCOME_DONE, ON_UNKNOWN_REJECT, LEDGER_STATE_DONE, 'A'},
                {OUTCOME_FAILED, ON_UNKNOWN_REJECT, LEDGER_STATE_FAILED, '-'},
                {OUTCOME_NOT_STARTED, ON_UNKNOWN_REJECT, LEDGER_STATE_NOT_STARTED, '-'},
                {OUTCOME_OUTAGE, ON_UNKNOWN_REJECT, LEDGER_STATE_NOT_STARTED, '-'},
                {OUTCOME_POISON, ON_UNKNOWN_REJECT, LEDGER_STATE_NOT_STARTED, 'J'},
                {OUTCOME_INTERNAL, ON_UNKNOWN_REJECT, LEDGER_STATE_NOT_STARTED, 'J'},
                {OUTCOME_UNKNOWN, ON_UNKNOWN_REJECT, LEDGER_STATE_UNKNOWN, 'J'},
                {OUTCOME_UNKNOWN, ON_UNKNOWN_RETRY, LEDGER_STATE_UNKNOWN, '-'},
                {OUTCOME_UNKNOWN, ON_UNKNOWN_DONE, LEDGER_STATE_DONE, 'A'},
        };
        World *world = *state;
        for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
                engine_free(world->engine);
                assert_int_equal(setup_ledger(state), 0);
                world->config.on_unknown = rows[i].on_unknown;
                begin(world, "a");
                Run *run = claims(world);
                granted(world, run, 7);
                restarted(world, run, rows[i].outcome);
                tells(world, run, rows[i].state);
                assert_string_equal(world->finished, "");
                concluded(world, run);
                if (count(world, ENGINE_REJECT) > 0) {
                        saved(world, only(world, ENGINE_REJECT)->batch, BATCH_SAVED);
                }
                char finish[2] = {rows[i].finish == '-' ? '\0' : rows[i].finish, '\0'};
                assert_string_equal(world->finished, finish);
                assert_int_equal(noted(world, NOTE_RETRY) != NULL, rows[i].finish == '-');
        }
}

static void test_a_retry_waits_out_the_cool_down_with_the_next_number(void **state) {
        World *world = *state;
        begin(world, "a");
        Run *run = claims(world);
        granted(world, run, 7);
        world->now += 100LL * SECOND;
        restarted(world, run, OUTCOME_FAILED);
        concluded(world, run);
        assert_int_equal(noted(world, NOTE_RETRY)->delay_us, 800LL * SECOND);
        tick(world, 800LL * SECOND - 1);
        is_still(world);
        tick(world, 1);
        assert_int_equal(claims(world)->claim.attempt, 2);
}

static void test_what_did_not_start_is_tried_again_soon(void **state) {
        World *world = *state;
        begin(world, "a");
        Run *run = claims(world);
        granted(world, run, 7);
        run->retry_after_us = 20LL * SECOND;
        restarted(world, run, OUTCOME_NOT_STARTED);
        concluded(world, run);
        assert_int_equal(noted(world, NOTE_RETRY)->delay_us, 20LL * SECOND);
}

static void test_an_end_is_told_until_it_is_written(void **state) {
        World *world = *state;
        begin(world, "a");
        Run *run = claims(world);
        granted(world, run, 7);
        restarted(world, run, OUTCOME_DONE);
        for (int i = 0; i < 10; i++) {
                end_answered(world, run, i % 2 == 0 ? LEDGER_END_OUTAGE : LEDGER_END_UNKNOWN, false,
                             LEDGER_STATE_NONE);
                is_still(world);
                assert_string_equal(world->finished, "");
                assert_true(engine_deadline(world->engine) <= world->now + 5 * SECOND);
                tick(world, 5 * SECOND);
                tells(world, run, LEDGER_STATE_DONE);
        }
        concluded(world, run);
        assert_string_equal(world->finished, "A");
}

static void test_an_end_that_is_refused_is_told_alone_then_without_its_output(void **state) {
        World *world = *state;
        begin(world, "a");
        Run *run = claims(world);
        granted(world, run, 7);
        run->output = strdup("what it said");
        restarted(world, run, OUTCOME_DONE);
        end_answered(world, run, LEDGER_END_REFUSED, false, LEDGER_STATE_NONE);
        assert_true(run->alone);
        assert_non_null(run->output);
        tells(world, run, LEDGER_STATE_DONE);
        end_answered(world, run, LEDGER_END_REFUSED, false, LEDGER_STATE_NONE);
        assert_null(run->output);
        tells(world, run, LEDGER_STATE_DONE);
        /* Its open intent would be taken for that of a claim that comes after it. */
        end_answered(world, run, LEDGER_END_REFUSED, false, LEDGER_STATE_NONE);
        assert_string_equal(world->finished, "");
        assert_int_equal(count(world, ENGINE_CONCLUDE), 0);
        tick(world, engine_deadline(world->engine) - world->now);
        tells(world, run, LEDGER_STATE_DONE);
        concluded(world, run);
        assert_string_equal(world->finished, "A");
}

static void test_the_ledger_has_another_end(void **state) {
        World *world = *state;
        begin(world, "a");
        Run *run = claims(world);
        granted(world, run, 7);
        restarted(world, run, OUTCOME_DONE);
        end_answered(world, run, LEDGER_END_DONE, false, LEDGER_STATE_FAILED);
        assert_string_equal(noted(world, NOTE_ENDED_OTHERWISE)->reason, "failed");
        assert_non_null(noted(world, NOTE_RETRY));
        assert_string_equal(world->finished, "");
}

/* --- verify ------------------------------------------------------------------------------- */

static void test_what_verify_finds(void **state) {
        static const struct {
                Outcome outcome;
                VerifyResult result;
                LedgerState state;
        } rows[] = {
                {OUTCOME_DONE, VERIFY_PASSED, LEDGER_STATE_DONE},
                {OUTCOME_DONE, VERIFY_UNCOMPARED, LEDGER_STATE_DONE},
                {OUTCOME_DONE, VERIFY_SAME, LEDGER_STATE_FAILED},
                {OUTCOME_DONE, VERIFY_FAILED, LEDGER_STATE_UNKNOWN},
                {OUTCOME_UNKNOWN, VERIFY_PASSED, LEDGER_STATE_DONE},
                {OUTCOME_UNKNOWN, VERIFY_UNCOMPARED, LEDGER_STATE_UNKNOWN},
                {OUTCOME_UNKNOWN, VERIFY_SAME, LEDGER_STATE_UNKNOWN},
                {OUTCOME_UNKNOWN, VERIFY_FAILED, LEDGER_STATE_UNKNOWN},
                {OUTCOME_UNKNOWN, VERIFY_CANCELLED, LEDGER_STATE_UNKNOWN},
        };
        World *world = *state;
        for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
                engine_free(world->engine);
                assert_int_equal(setup_ledger(state), 0);
                world->config.check = world->config.verify = true;
                begin(world, "a");
                Run *run = only(world, ENGINE_CHECK)->run;
                checked(world, run, CHECK_GO, "boot 1");
                granted(world, run, 7);
                restarted(world, run, rows[i].outcome);
                assert_int_equal(count(world, ENGINE_ACTED), rows[i].outcome == OUTCOME_DONE);
                assert_ptr_equal(only(world, ENGINE_VERIFY)->run, run);
                assert_int_equal(run->verify_us, 300LL * SECOND);
                if (rows[i].outcome == OUTCOME_DONE) {
                        acted(world, run, LEDGER_END_DONE);
                        is_still(world);
                }
                verified(world, run, rows[i].result);
                tells(world, run, rows[i].state);
                assert_int_equal(run->verified, rows[i].result == VERIFY_PASSED);
                assert_string_equal(world->finished, "");
        }
}

static void test_an_unknown_end_without_a_look_before_is_not_verified(void **state) {
        World *world = *state;
        world->config.check = world->config.verify = true;
        begin(world, "a");
        Run *run = only(world, ENGINE_CHECK)->run;
        checked(world, run, CHECK_GO, NULL);
        granted(world, run, 7);
        restarted(world, run, OUTCOME_UNKNOWN);
        tells(world, run, LEDGER_STATE_UNKNOWN);
}

static Run *acted_run(World *world) {
        world->config.check = world->config.verify = true;
        begin(world, "a");
        Run *run = only(world, ENGINE_CHECK)->run;
        checked(world, run, CHECK_GO, "boot 1");
        granted(world, run, 7);
        restarted(world, run, OUTCOME_DONE);
        assert_ptr_equal(only(world, ENGINE_ACTED)->run, run);
        return run;
}

static void test_that_it_acted_is_told_until_verify_has_spoken(void **state) {
        World *world = *state;
        Run *run = acted_run(world);
        acted(world, run, LEDGER_END_UNKNOWN);
        is_still(world);
        tick(world, 5 * SECOND);
        assert_ptr_equal(only(world, ENGINE_ACTED)->run, run);
        assert_int_equal(count(world, ENGINE_VERIFY), 0); /* which is under way */
        acted(world, run, LEDGER_END_OUTAGE);
        verified(world, run, VERIFY_PASSED);
        tells(world, run, LEDGER_STATE_DONE);
        concluded(world, run);
        assert_string_equal(world->finished, "A");
        tick(world, 10LL * SECOND);
        is_still(world);
}

static void test_the_end_waits_for_the_answer_that_it_acted(void **state) {
        World *world = *state;
        Run *run = acted_run(world);
        verified(world, run, VERIFY_SAME);
        is_still(world);
        acted(world, run, LEDGER_END_OUTAGE);
        tells(world, run, LEDGER_STATE_FAILED);
}

static void test_a_verification_that_is_cancelled_is_left_to_the_next_owner(void **state) {
        World *world = *state;
        Run *run = acted_run(world);
        assert_int_equal(engine_stop(world->engine, world->now), 0);
        take(world);
        acted(world, run, LEDGER_END_OUTAGE);
        verified(world, run, VERIFY_CANCELLED);
        is_still(world);
        assert_false(engine_is_quiet(world->engine)); /* who would not find it */
        assert_int_equal(engine_open_entries(world->engine), 1);
        tick(world, 5 * SECOND);
        assert_ptr_equal(only(world, ENGINE_ACTED)->run, run);
        acted(world, run, LEDGER_END_DONE);
        is_still(world);
        assert_true(engine_is_quiet(world->engine));
        assert_string_equal(world->finished, "L");
}

static void test_nothing_is_verified_after_the_stop(void **state) {
        World *world = *state;
        world->config.check = world->config.verify = true;
        begin(world, "a");
        Run *run = only(world, ENGINE_CHECK)->run;
        checked(world, run, CHECK_GO, "boot 1");
        granted(world, run, 7);
        assert_int_equal(engine_stop(world->engine, world->now), 0);
        take(world);
        restarted(world, run, OUTCOME_DONE);
        assert_ptr_equal(only(world, ENGINE_ACTED)->run, run);
        assert_int_equal(count(world, ENGINE_VERIFY), 0);
        acted(world, run, LEDGER_END_DONE);
        assert_true(engine_is_quiet(world->engine));
        assert_string_equal(world->finished, "L");
}

/* --- what an earlier process did ---------------------------------------------------------- */

static void test_what_acted_before_is_only_verified(void **state) {
        World *world = *state;
        world->config.verify = true;
        begin(world, "aa");
        Run *run = claims(world);
        decided(world, run,
                (LedgerDecision){.verdict = LEDGER_VERDICT_VERIFY,
                                 .id = 7,
                                 .attempt = 3,
                                 .acted_age_us = 100LL * SECOND,
                                 .before = "boot 1"});
        assert_int_equal(count(world, ENGINE_RESTART), 0);
        assert_ptr_equal(only(world, ENGINE_VERIFY)->run, run);
        assert_int_equal(run->verify_us, 200LL * SECOND);
        assert_string_equal(run->claim.before, "boot 1");
        assert_int_equal(engine_waits(world->engine, WAIT_HOST), 1); /* the other one's own */
        verified(world, run, VERIFY_PASSED);
        tells(world, run, LEDGER_STATE_DONE);
        concluded(world, run);
        assert_string_equal(world->finished, "A");
        assert_int_equal(claims(world)->claim.offset, 1);
        assert_int_equal(engine_totals(world->engine)->runs, 0);
}

static void test_where_nothing_verifies_any_more_it_is_done(void **state) {
        World *world = *state;
        begin(world, "a");
        Run *run = claims(world);
        decided(world, run,
                (LedgerDecision){.verdict = LEDGER_VERDICT_VERIFY, .id = 7, .attempt = 1});
        tells(world, run, LEDGER_STATE_DONE);
        concluded(world, run);
        assert_string_equal(world->finished, "A");
}

static void test_an_unknown_one_is_verified_when_there_was_a_look_before(void **state) {
        World *world = *state;
        world->config.verify = true;
        begin(world, "a");
        Run *run = claims(world);
        decided(world, run,
                (LedgerDecision){.verdict = LEDGER_VERDICT_UNKNOWN,
                                 .id = 7,
                                 .attempt = 1,
                                 .acted_age_us = -1,
                                 .before = "boot 1"});
        assert_ptr_equal(only(world, ENGINE_VERIFY)->run, run);
        assert_int_equal(run->verify_us, 300LL * SECOND);
        verified(world, run, VERIFY_SAME);
        is_still(world); /* the row says unknown already */
        assert_string_equal(rejected_for(world), "unknown");
}

/* They wait for what becomes of the leader, which can take long; but no longer than they may. */
static void test_who_waits_for_a_look_back_waits_no_longer_than_it_may(void **state) {
        World *world = *state;
        world->config.verify = true;
        world->config.max_wait_us = 60LL * SECOND;
        begin(world, "aa");
        Run *run = claims(world);
        tick(world, 60LL * SECOND);
        decided(world, run,
                (LedgerDecision){.verdict = LEDGER_VERDICT_VERIFY,
                                 .id = 7,
                                 .attempt = 1,
                                 .before = "boot 1"});
        only(world, ENGINE_VERIFY);
        assert_string_equal(rejected_for(world), "waited_too_long");
        assert_int_equal(engine_waits(world->engine, WAIT_HOST), 0);
}

static void unknown_before(World *world, OnUnknown on_unknown) {
        world->config.on_unknown = on_unknown;
        begin(world, "aa");
        decided(world, claims(world),
                (LedgerDecision){.verdict = LEDGER_VERDICT_UNKNOWN,
                                 .id = 7,
                                 .attempt = 4,
                                 .acted_age_us = -1,
                                 .detail = "by web1"});
}

static void test_an_unknown_one_is_rejected(void **state) {
        World *world = *state;
        unknown_before(world, ON_UNKNOWN_REJECT);
        const Batch *batch = only(world, ENGINE_REJECT)->batch;
        const Message *message = list_first(&batch->messages, Message, lane_link);
        assert_string_equal(message->fault->reason, "unknown");
        assert_non_null(strstr(message->fault->detail, "restarts.id 7"));
        assert_non_null(strstr(message->fault->detail, "by web1"));
        assert_int_equal(claims(world)->claim.offset, 1);
}

static void test_an_unknown_one_is_tried_again_with_the_next_number(void **state) {
        World *world = *state;
        unknown_before(world, ON_UNKNOWN_RETRY);
        assert_int_equal(noted(world, NOTE_RETRY)->delay_us, 900LL * SECOND);
        has_to_wait(world, claims(world), LEDGER_REASON_COOLDOWN, 1000LL * SECOND);
        tick(world, 900LL * SECOND);
        tick(world, 100LL * SECOND);
        Run *run = claims(world);
        assert_int_equal(run->claim.offset, 1);
        decided(world, run, (LedgerDecision){.verdict = LEDGER_VERDICT_DONE, .id = 9});
        assert_int_equal(claims(world)->claim.attempt, 5);
}

static void test_an_unknown_one_counts_as_done(void **state) {
        World *world = *state;
        unknown_before(world, ON_UNKNOWN_DONE);
        Run *run = only(world, ENGINE_CONCLUDE)->run;
        tells(world, run, LEDGER_STATE_DONE);
        assert_string_equal(run->reason, "on_unknown");
        concluded(world, run);
        assert_string_equal(world->finished, "A");
        assert_int_equal(claims(world)->claim.offset, 1);
}

/* --- suppressed without the database ------------------------------------------------------ */

static const MessageCondition nothing[] = {{.path = "unwanted", .type = MESSAGE_NULL}};

static void test_what_is_not_selected_is_written_down_without_a_slot(void **state) {
        World *world = *state;
        world->config.when = nothing;
        world->config.n_when = 1;
        world->config.concurrency = 1;
        Partition *partition = activate(world, 0, 0, 0);
        fetch(world, partition, 0, "a");
        take(world);
        Run *run = claims(world);
        saved(world, only(world, ENGINE_SAVE)->batch, BATCH_SAVED);
        fetch_bytes(world, partition, 1, "{\"host\":\"a\",\"unwanted\":1}");
        take(world);
        Run *aside = claims(world);
        assert_ptr_not_equal(aside, run);
        assert_null(aside->host);
        assert_string_equal(run_host(aside), "a");
        assert_int_equal(aside->claim.suppress, LEDGER_REASON_NOT_SELECTED);
        assert_int_equal(engine_running(world->engine), 1);
        saved(world, only(world, ENGINE_SAVE)->batch, BATCH_SAVED);
        has_to_wait(world, aside, LEDGER_REASON_RUNNING, 2 * SECOND);
        is_still(world);
        tick(world, 2 * SECOND);
        decided(world, claims(world),
                (LedgerDecision){.verdict = LEDGER_VERDICT_DONE,
                                 .reason = LEDGER_REASON_NOT_SELECTED,
                                 .suppressed_now = true,
                                 .id = 7});
        assert_string_equal(world->finished, "A");
        granted(world, run, 8);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup_ledger, teardown)

int main(void) {
        const struct CMUnitTest tests[] = {
                TEST(test_nothing_starts_unasked_and_nobody_ends_before_it_is_written),
                TEST(test_what_comes_until_the_grant_joins),
                TEST(test_a_slot_is_taken_from_the_question_to_the_end),
                TEST(test_a_check_comes_first),
                TEST(test_what_is_not_needed_is_written_down),
                TEST(test_what_was_granted_before_is_unknown),
                TEST(test_what_was_granted_before_numbers_nobody_else),
                TEST(test_a_check_may_hold_it_up),
                TEST(test_a_check_that_can_never_be_asked_rejects_the_leader),
                TEST(test_done_is_of_the_leader_alone),
                TEST(test_the_ledger_rejects),
                TEST(test_what_waits_is_asked_for_again_and_charged_nothing),
                TEST(test_who_waits_holds_up_nobody_else),
                TEST(test_a_blown_fuse_is_told),
                TEST(test_a_number_that_is_taken_is_passed),
                TEST(test_a_claim_without_a_reply_is_asked_again),
                TEST(test_an_outage_charges_nothing_and_nothing_new_is_asked),
                TEST(test_who_is_told_that_the_database_is_up_asks_at_once),
                TEST(test_a_refused_claim_is_asked_alone_and_then_later),
                TEST(test_what_is_too_late_is_given_back_and_asked_for_anew),
                TEST(test_what_is_granted_to_what_was_revoked_is_given_back),
                TEST(test_what_is_granted_and_stopped_is_given_back),
                TEST(test_a_restart_that_was_cancelled_is_given_back),
                TEST(test_each_outcome_in_the_ledgers_words),
                TEST(test_a_retry_waits_out_the_cool_down_with_the_next_number),
                TEST(test_what_did_not_start_is_tried_again_soon),
                TEST(test_an_end_is_told_until_it_is_written),
                TEST(test_an_end_that_is_refused_is_told_alone_then_without_its_output),
                TEST(test_the_ledger_has_another_end),
                TEST(test_what_verify_finds),
                TEST(test_an_unknown_end_without_a_look_before_is_not_verified),
                TEST(test_that_it_acted_is_told_until_verify_has_spoken),
                TEST(test_the_end_waits_for_the_answer_that_it_acted),
                TEST(test_a_verification_that_is_cancelled_is_left_to_the_next_owner),
                TEST(test_nothing_is_verified_after_the_stop),
                TEST(test_what_acted_before_is_only_verified),
                TEST(test_where_nothing_verifies_any_more_it_is_done),
                TEST(test_an_unknown_one_is_verified_when_there_was_a_look_before),
                TEST(test_who_waits_for_a_look_back_waits_no_longer_than_it_may),
                TEST(test_an_unknown_one_is_rejected),
                TEST(test_an_unknown_one_is_tried_again_with_the_next_number),
                TEST(test_an_unknown_one_counts_as_done),
                TEST(test_what_is_not_selected_is_written_down_without_a_slot),
        };
        return cmocka_run_group_tests(tests, NULL, NULL);
}
