/*
 * Replays in the engine: nothing of one runs before its row has answered, and then what the row
 * does not have; whatever happens meanwhile.
 */

#include "engine-world.h"

static int setup_replays(void **state) {
        int r = setup(state);
        World *world = *state;
        world->config.ledger = true;
        world->config.cooldown_us = 900LL * SECOND;
        return r;
}

static void fetch_with(World *world, Partition *partition, int64_t offset, const char *value,
                       const char *headers) {
        Record record = {.offset = offset,
                         .timestamp_us = 700,
                         .value = (const uint8_t *)value,
                         .value_size = value != NULL ? strlen(value) : 0,
                         .headers = headers,
                         .headers_size = strlen(headers)};
        assert_int_equal(engine_fetched(world->engine, partition, &record, 1000, world->now), 0);
}

/* A replay of the message at @of of source 9. */
static void fetch_replay(World *world, Partition *partition, int64_t offset, const char *host,
                         int64_t of) {
        char value[128], headers[128];
        snprintf(value, sizeof(value), "{\"host\":\"%s\"}", host);
        snprintf(headers, sizeof(headers), "[[\"ackd-replay\",\"9/%lld\"]]", (long long)of);
        fetch_with(world, partition, offset, value, headers);
}

static ReplayQuestions *asked(World *world) {
        return only(world, ENGINE_ASK_REPLAYS)->replays;
}

static void answered(World *world, ReplayQuestions *questions, const ReplayAnswer *answers) {
        assert_int_equal(engine_replays_read(world->engine, questions, answers, world->now), 0);
        take(world);
}

static const ReplayAnswer ours = {.verdict = REPLAY_OURS,
                                  .first_us = 300,
                                  .produced_us = 200,
                                  .received_us = 900};

/* The answer to the only question. */
static void answer(World *world, ReplayQuestions *questions, ReplayVerdict verdict, unsigned done) {
        ReplayAnswer one = ours;
        one.verdict = verdict;
        one.done = done;
        snprintf(one.detail, sizeof(one.detail), "t/0/7 is another's");
        assert_int_equal(questions->n, 1);
        answered(world, questions, &one);
}

/* A replay at offset 0, asked for. */
static ReplayQuestions *begin(World *world, Partition **partitionp) {
        Partition *partition = activate(world, 0, 0, 0);
        fetch_replay(world, partition, 0, "a", 7);
        take(world);
        *partitionp = partition;
        return asked(world);
}

static Message *first_of(const Partition *partition) {
        return list_first(&partition->messages, Message, link);
}

static void save_all(World *world) {
        saved(world, only(world, ENGINE_SAVE)->batch, BATCH_SAVED);
}

static size_t under_way(const World *world) {
        return count(world, ENGINE_SAVE) + count(world, ENGINE_CLAIM) +
               count(world, ENGINE_RESTART) + count(world, ENGINE_REJECT);
}

/* Its restart, asked for in the ledger, ends well. */
static void restart_all(World *world, Run *run) {
        LedgerDecision start = {.verdict = LEDGER_VERDICT_START, .id = 5, .received_us = 900};
        LedgerResult result = {.id = 5, .did = true, .state = LEDGER_STATE_DONE};
        assert_int_equal(engine_claimed(world->engine, run, LEDGER_END_DONE, &start, world->now),
                         0);
        take(world);
        restarted(world, run, OUTCOME_DONE);
        assert_int_equal(engine_concluded(world->engine, run, LEDGER_END_DONE, &result, world->now),
                         0);
        take(world);
}

/* --- what the row says -------------------------------------------------------------------- */

static void test_nothing_runs_before_the_row_has_answered(void **state) {
        World *world = *state;
        Partition *partition;
        ReplayQuestions *questions = begin(world, &partition);
        assert_int_equal(under_way(world), 0);
        assert_int_equal(questions->n, 1);
        assert_int_equal(questions->questions[0].by.source, 1);
        assert_int_equal(questions->questions[0].by.offset, 0);
        assert_int_equal(questions->questions[0].of.source, 9);
        assert_int_equal(questions->questions[0].of.offset, 7);
        assert_string_equal(questions->questions[0].sha256,
                            "f624db42c3ba28b3014cd6148de38e24cd778600412596c8c2c99b8bf7107fb5");
        assert_int_equal(message_waits_for(first_of(partition)), WAIT_POSTGRES);
        assert_int_equal(engine_waits(world->engine, WAIT_POSTGRES), 1);
        tick(world, 3600LL * SECOND);
        assert_int_equal(under_way(world), 0);
        assert_int_equal(count(world, ENGINE_ASK_REPLAYS), 0);

        answer(world, questions, REPLAY_OURS, 0);
        assert_int_equal(engine_waits(world->engine, WAIT_POSTGRES), 0);
        Run *run = only(world, ENGINE_CLAIM)->run;
        save_all(world);
        assert_int_equal(engine_totals(world->engine)->saved_rows, 1);
        restart_all(world, run);
        assert_string_equal(world->finished, "A");
}

static void test_save_done_moves_the_fence_alone(void **state) {
        World *world = *state;
        Partition *partition;
        answer(world, begin(world, &partition), REPLAY_OURS, 1u << HANDLER_SAVE);
        Run *run = only(world, ENGINE_CLAIM)->run;
        Batch *batch = only(world, ENGINE_SAVE)->batch;
        assert_int_equal(first_of(partition)->record, MESSAGE_NO_ROW);
        assert_int_equal(batch->parts[0].next, 1);
        saved(world, batch, BATCH_SAVED);
        assert_int_equal(engine_totals(world->engine)->saved_rows, 0);
        /* It waits for its host like any, and holds up no reading: the row has what it is. */
        assert_null(first_of(partition)->body);
        assert_int_equal(engine_in_flight_bytes(world->engine), 0);
        restart_all(world, run);
        assert_string_equal(world->finished, "A");
        assert_int_equal(partition->offsets.watermark, 1);
}

static void test_restart_done_is_not_restarted(void **state) {
        World *world = *state;
        Partition *partition;
        answer(world, begin(world, &partition), REPLAY_OURS, 1u << HANDLER_RESTART);
        assert_int_equal(count(world, ENGINE_CLAIM), 0);
        save_all(world);
        assert_int_equal(engine_totals(world->engine)->saved_rows, 1);
        assert_int_equal(count(world, ENGINE_CLAIM), 0);
        assert_string_equal(world->finished, "A");
}

static void test_all_done(void **state) {
        World *world = *state;
        Partition *partition;
        answer(world, begin(world, &partition), REPLAY_OURS,
               1u << HANDLER_SAVE | 1u << HANDLER_RESTART);
        save_all(world);
        assert_int_equal(engine_totals(world->engine)->saved_rows, 0);
        assert_string_equal(world->finished, "A");
}

/* Taken by another message, or dropped. */
static void test_a_duplicate_is_passed(void **state) {
        static const ReplayVerdict verdicts[] = {REPLAY_TAKEN, REPLAY_DROPPED};
        World *world = *state;
        for (int i = 0; i < 2; i++) {
                Partition *partition;
                answer(world, begin(world, &partition), verdicts[i], 0);
                const EngineAction *note = noted(world, NOTE_REPLAY);
                assert_non_null(note);
                assert_string_equal(note->reason, i == 0 ? "taken" : "dropped");
                assert_int_equal(count(world, ENGINE_CLAIM), 0);
                save_all(world);
                assert_string_equal(world->finished, "D");
                assert_int_equal(engine_totals(world->engine)->saved_rows, 0);
                assert_int_equal(engine_totals(world->engine)->finished[FINISH_DUPLICATE], 1);
                assert_int_equal(partition->fence, 1);
                assert_int_equal(partition->offsets.watermark, 1);
                if (i == 0) {
                        renew(world);
                        world->config.ledger = true;
                }
        }
}

static void test_a_stray_header_changes_nothing(void **state) {
        World *world = *state;
        Partition *partition;
        answer(world, begin(world, &partition), REPLAY_STRAY, 3);
        assert_string_equal(noted(world, NOTE_REPLAY)->reason, "stray");
        Run *run = only(world, ENGINE_CLAIM)->run;
        assert_int_equal(run->claim.first_us, 0);
        assert_int_equal(run->claim.received_us, 1000);
        assert_int_equal(run->claim.requested_us, 700);
        save_all(world);
        assert_int_equal(engine_totals(world->engine)->saved_rows, 1);
        restart_all(world, run);
        assert_string_equal(world->finished, "A");
}

static void test_a_malformed_header_is_not_asked_for(void **state) {
        World *world = *state;
        Partition *partition = activate(world, 0, 0, 0);
        fetch_with(world, partition, 0, "{\"host\":\"a\"}", "[[\"ackd-replay\",\"9/x\"]]");
        take(world);
        assert_int_equal(count(world, ENGINE_ASK_REPLAYS), 0);
        assert_string_equal(noted(world, NOTE_REPLAY)->reason, "malformed");
        Run *run = only(world, ENGINE_CLAIM)->run;
        save_all(world);
        restart_all(world, run);
        assert_string_equal(world->finished, "A");
}

static void test_a_tombstone_is_one(void **state) {
        World *world = *state;
        Partition *partition = activate(world, 0, 0, 0);
        fetch_with(world, partition, 0, NULL, "[[\"ackd-replay\",\"9/7\"]]");
        take(world);
        assert_int_equal(count(world, ENGINE_ASK_REPLAYS), 0);
        save_all(world);
        assert_string_equal(world->finished, "T");
}

/* --- a restart before it whose end is open ------------------------------------------------ */

/* The rejected message's restart still runs: it is asked again, and the others are decided. */
static void test_later_is_asked_again(void **state) {
        World *world = *state;
        Partition *one = activate(world, 0, 0, 0);
        Partition *two = activate(world, 1, 0, 0);
        fetch_replay(world, one, 0, "a", 7);
        fetch_replay(world, two, 0, "b", 8);
        take(world);
        ReplayQuestions *questions = asked(world);
        ReplayAnswer answers[2] = {ours, ours};
        answers[0].verdict = REPLAY_LATER;
        answered(world, questions, answers);
        assert_string_equal(noted(world, NOTE_REPLAY)->reason, "later");
        assert_int_equal(message_waits_for(first_of(one)), WAIT_RUNNING);
        assert_int_equal(engine_waits(world->engine, WAIT_RUNNING), 1);
        assert_int_equal(engine_waits(world->engine, WAIT_POSTGRES), 0);
        assert_ptr_equal(only(world, ENGINE_CLAIM)->run->leader, first_of(two));
        assert_int_equal(only(world, ENGINE_SAVE)->batch->n_parts, 1);
        assert_int_equal(count(world, ENGINE_ASK_REPLAYS), 0);
        assert_true(engine_deadline(world->engine) <= world->now + 2LL * SECOND);

        /* Who comes meanwhile does not wait for it. */
        fetch_replay(world, two, 1, "c", 9);
        take(world);
        questions = asked(world);
        assert_int_equal(questions->questions[0].of.offset, 9);
        answer(world, questions, REPLAY_TAKEN, 0);

        tick(world, 2LL * SECOND);
        questions = asked(world);
        assert_int_equal(questions->questions[0].of.offset, 7);
        answer(world, questions, REPLAY_LATER, 0);
        assert_null(noted(world, NOTE_REPLAY)); /* it is said once */
        tick(world, 2LL * SECOND);
        answer(world, asked(world), REPLAY_OURS, 1u << HANDLER_RESTART);
        assert_int_equal(engine_waits(world->engine, WAIT_RUNNING), 0);
        assert_int_equal(count(world, ENGINE_CLAIM), 0);
        assert_int_equal(first_of(one)->handlers[HANDLER_RESTART].state, HANDLER_OFF);
}

static void test_the_second_reply_is_lost(void **state) {
        World *world = *state;
        Partition *partition;
        answer(world, begin(world, &partition), REPLAY_LATER, 0);
        tick(world, 2LL * SECOND);
        answered(world, asked(world), NULL);
        assert_int_equal(engine_waits(world->engine, WAIT_RUNNING), 1);
        tick(world, SECOND);
        answer(world, asked(world), REPLAY_OURS, 0);
        assert_int_equal(engine_waits(world->engine, WAIT_RUNNING), 0);
        only(world, ENGINE_CLAIM);
}

static void test_stop_while_later(void **state) {
        World *world = *state;
        Partition *partition;
        answer(world, begin(world, &partition), REPLAY_LATER, 0);
        assert_int_equal(engine_stop(world->engine, world->now), 0);
        take(world);
        assert_string_equal(world->finished, "L");
        assert_true(engine_is_quiet(world->engine));
        assert_int_equal(engine_waits(world->engine, WAIT_RUNNING), 0);
        assert_int_equal(partition->offsets.watermark, 0);
}

static void test_revoke_while_later(void **state) {
        World *world = *state;
        Partition *partition;
        answer(world, begin(world, &partition), REPLAY_LATER, 0);
        assert_int_equal(engine_revoked(world->engine, &partition, 1, false, world->now), 0);
        take(world);
        assert_string_equal(world->finished, "L");
        assert_int_equal(engine_waits(world->engine, WAIT_RUNNING), 0);
        tick(world, 2LL * SECOND);
        assert_int_equal(count(world, ENGINE_ASK_REPLAYS), 0);
}

/* Nothing is started; a person is to look at the host. */
static void test_unknown_is_not_restarted(void **state) {
        World *world = *state;
        Partition *partition;
        answer(world, begin(world, &partition), REPLAY_UNKNOWN, 0);
        assert_int_equal(count(world, ENGINE_CLAIM), 0);
        assert_true(replay_is_ours(first_of(partition)));
        save_all(world);
        Batch *batch = only(world, ENGINE_REJECT)->batch;
        const Message *message = list_first(&batch->messages, Message, lane_link);
        assert_string_equal(message->fault->reason, "unknown");
        assert_string_equal(message->fault->detail, "t/0/7 is another's");
        assert_int_equal(message->fault_handler, HANDLER_RESTART);
        saved(world, batch, BATCH_SAVED);
        assert_string_equal(world->finished, "J");
        assert_int_equal(engine_totals(world->engine)->saved_rows, 1);
}

static void test_unknown_where_on_unknown_says_otherwise(void **state) {
        World *world = *state;
        Partition *partition;
        world->config.on_unknown = ON_UNKNOWN_DONE;
        answer(world, begin(world, &partition), REPLAY_UNKNOWN, 0);
        assert_int_equal(count(world, ENGINE_CLAIM), 0);
        save_all(world);
        assert_string_equal(world->finished, "A");

        renew(world);
        world->config.ledger = true;
        world->config.cooldown_us = 900LL * SECOND;
        world->config.attempts = 2;
        world->config.on_unknown = ON_UNKNOWN_RETRY;
        answer(world, begin(world, &partition), REPLAY_UNKNOWN, 0);
        save_all(world);
        assert_int_equal(count(world, ENGINE_CLAIM), 0);
        assert_int_equal(message_waits_for(first_of(partition)), WAIT_RETRY);
        tick(world, 900LL * SECOND);
        restart_all(world, only(world, ENGINE_CLAIM)->run);
        assert_string_equal(world->finished, "A");
}

/* A guard comes first. */
static void test_unknown_of_a_denied_host(void **state) {
        World *world = *state;
        Partition *partition = activate(world, 0, 0, 0);
        fetch_replay(world, partition, 0, "bad-1", 7);
        take(world);
        answer(world, asked(world), REPLAY_UNKNOWN, 0);
        assert_string_equal(first_of(partition)->fault->reason, "denied");
}

/* --- how old it is ------------------------------------------------------------------------ */

/* Its age is that at the first receipt; max_wait counts from the receipt of the replay, also when
 * an earlier owner of the partition had it. */
static void test_ages(void **state) {
        World *world = *state;
        Partition *partition;
        answer(world, begin(world, &partition), REPLAY_OURS, 1u << HANDLER_SAVE);
        Run *run = only(world, ENGINE_CLAIM)->run;
        assert_int_equal(run->claim.first_us, 300);
        assert_int_equal(run->claim.received_us, 900);
        assert_int_equal(run->claim.requested_us, 200);
        assert_int_equal(first_of(partition)->produced_us, 200);
        assert_int_equal(first_of(partition)->received_wall_us, 1000);

        /* What the ledger knows of it is kept for the next time, and not taken for the row's. */
        LedgerDecision wait = {.verdict = LEDGER_VERDICT_WAIT,
                               .reason = LEDGER_REASON_HOLD,
                               .again_us = SECOND,
                               .received_us = 850};
        assert_int_equal(engine_claimed(world->engine, run, LEDGER_END_DONE, &wait, world->now), 0);
        take(world);
        tick(world, SECOND);
        run = only(world, ENGINE_CLAIM)->run;
        assert_int_equal(run->claim.received_us, 850);
        assert_int_equal(run->claim.first_us, 300);
        assert_int_equal(first_of(partition)->received_wall_us, 1000);
}

/* PostgreSQL was away for longer than max_wait: the answer comes, and the wait is over. */
static void test_it_waited_too_long_for_the_answer(void **state) {
        World *world = *state;
        world->config.max_wait_us = 60LL * SECOND;
        Partition *partition;
        ReplayQuestions *questions = begin(world, &partition);
        fetch(world, partition, 1, "b");
        tick(world, 61LL * SECOND);
        assert_int_equal(message_waits_for(first_of(partition)), WAIT_POSTGRES);
        answer(world, questions, REPLAY_OURS, 0);
        const Message *message = first_of(partition);
        assert_string_equal(message->fault->reason, "waited_too_long");
        assert_int_equal(message->fault_handler, HANDLER_RESTART);
        save_all(world);
        assert_int_equal(message->replay->done, 0);
}

/* --- lanes and questions ------------------------------------------------------------------ */

static void test_a_lane_forms_no_batch_beyond_it(void **state) {
        World *world = *state;
        world->config.batches = 2;
        world->config.restart = false;
        Partition *one = activate(world, 0, 0, 0);
        Partition *two = activate(world, 1, 0, 0);
        fetch(world, one, 0, "a");
        fetch_replay(world, one, 1, "b", 7);
        fetch(world, one, 2, "c");
        fetch_replay(world, two, 0, "d", 8);
        fetch(world, two, 1, "e");
        take(world);
        ReplayQuestions *questions = asked(world);
        assert_int_equal(questions->n, 2);
        Batch *batch = only(world, ENGINE_SAVE)->batch;
        assert_int_equal(batch->n_parts, 1);
        assert_int_equal(batch->parts[0].next, 1);
        saved(world, batch, BATCH_SAVED);
        assert_int_equal(under_way(world), 0);
        ReplayAnswer answers[2] = {ours, ours};
        answers[1].verdict = REPLAY_TAKEN;
        answered(world, questions, answers);
        batch = only(world, ENGINE_SAVE)->batch;
        assert_int_equal(batch->n_parts, 2);
        assert_int_equal(batch->rows, 4);
        saved(world, batch, BATCH_SAVED);
        assert_string_equal(world->finished, "ADAAA");
}

/* Those that come while a question is under way are asked for together after it. */
static void test_one_question_at_a_time(void **state) {
        World *world = *state;
        Partition *partition;
        ReplayQuestions *questions = begin(world, &partition);
        fetch_replay(world, partition, 1, "b", 8);
        fetch_replay(world, partition, 2, "c", 9);
        take(world);
        assert_int_equal(count(world, ENGINE_ASK_REPLAYS), 0);
        answer(world, questions, REPLAY_OURS, 0);
        questions = asked(world);
        assert_int_equal(questions->n, 2);
        assert_int_equal(questions->questions[0].of.offset, 8);
        assert_int_equal(questions->questions[1].of.offset, 9);
        const ReplayAnswer answers[2] = {ours, ours};
        answered(world, questions, answers);
        assert_int_equal(count(world, ENGINE_ASK_REPLAYS), 0);
}

static void test_a_question_is_bounded(void **state) {
        World *world = *state;
        const int more = 3;
        world->config.in_flight = world->config.ack_gap = 10 * REPLAY_QUESTIONS_MAX;
        Partition *partition = activate(world, 0, 0, 0);
        for (int i = 0; i < REPLAY_QUESTIONS_MAX + more; i++) {
                fetch_replay(world, partition, i, "a", i);
        }
        take(world);
        ReplayQuestions *questions = asked(world);
        assert_int_equal(questions->n, REPLAY_QUESTIONS_MAX);
        static ReplayAnswer answers[REPLAY_QUESTIONS_MAX];
        for (int i = 0; i < REPLAY_QUESTIONS_MAX; i++) {
                answers[i] = ours;
        }
        answered(world, questions, answers);
        questions = asked(world);
        assert_int_equal(questions->n, more);
        assert_int_equal(questions->questions[0].of.offset, REPLAY_QUESTIONS_MAX);
        answered(world, questions, answers);
}

/* No answer: it is asked again, later, in its old place; nobody is charged. */
static void test_an_outage_is_waited_out(void **state) {
        World *world = *state;
        Partition *partition;
        ReplayQuestions *questions = begin(world, &partition);
        fetch_replay(world, partition, 1, "b", 8);
        answered(world, questions, NULL);
        assert_int_equal(count(world, ENGINE_ASK_REPLAYS), 0);
        assert_true(engine_deadline(world->engine) <= world->now + SECOND);
        tick(world, SECOND);
        questions = asked(world);
        assert_int_equal(questions->n, 2);
        assert_int_equal(questions->questions[0].of.offset, 7);
        assert_int_equal(questions->questions[1].of.offset, 8);
        answered(world, questions, NULL);
        /* It is back. */
        assert_int_equal(engine_database_up(world->engine, world->now), 0);
        take(world);
        const ReplayAnswer answers[2] = {ours, ours};
        answered(world, asked(world), answers);
        const HandlerTask *restart = &first_of(partition)->handlers[HANDLER_RESTART];
        assert_int_equal(restart->attempts + restart->charged, 0);
        assert_int_equal(count(world, ENGINE_CLAIM), 2);
}

/* --- what happens meanwhile --------------------------------------------------------------- */

static void test_stop_while_undecided(void **state) {
        World *world = *state;
        Partition *partition;
        ReplayQuestions *questions = begin(world, &partition);
        fetch_replay(world, partition, 1, "b", 8); /* is not even asked for */
        assert_int_equal(engine_stop(world->engine, world->now), 0);
        take(world);
        assert_string_equal(world->finished, "LL");
        assert_true(engine_is_quiet(world->engine));
        assert_int_equal(engine_waits(world->engine, WAIT_POSTGRES), 0);
        answer(world, questions, REPLAY_OURS, 0);
        assert_int_equal(world->n_taken, 0);
        assert_int_equal(partition->offsets.watermark, 0);
}

static void test_the_engine_ends_while_undecided(void **state) {
        World *world = *state;
        Partition *partition;
        (void)begin(world, &partition); /* which a leak would betray */
        fetch_replay(world, partition, 1, "b", 8);
}

static void test_revoke_while_undecided(void **state) {
        World *world = *state;
        Partition *partition;
        ReplayQuestions *questions = begin(world, &partition);
        Partition *other = activate(world, 1, 0, 0);
        fetch_replay(world, other, 0, "b", 8);
        assert_int_equal(engine_revoked(world->engine, &partition, 1, false, world->now), 0);
        take(world);
        assert_string_equal(world->finished, "L");
        only(world, ENGINE_UNASSIGN);
        answer(world, questions, REPLAY_OURS, 0); /* of nobody */
        questions = asked(world);
        assert_int_equal(questions->questions[0].of.offset, 8);
        answer(world, questions, REPLAY_OURS, 0);
        only(world, ENGINE_CLAIM);
}

/* Its partition starts anew: the message that is fetched again is asked for again. */
static void test_postgresql_went_back_while_undecided(void **state) {
        World *world = *state;
        Partition *partition = activate(world, 0, 5, 5);
        fetch_replay(world, partition, 5, "a", 7);
        take(world);
        ReplayQuestions *questions = asked(world);
        assert_int_equal(engine_database_up(world->engine, world->now), 0);
        take(world);
        Batch *batch = only(world, ENGINE_READ_FENCES)->batch;
        const int64_t fence = 3;
        assert_int_equal(engine_fences_read(world->engine, batch, &fence, NULL, 0, world->now), 0);
        take(world);
        assert_string_equal(world->finished, "L");
        assert_int_equal(partition->state, PARTITION_LOOKING_UP);
        answer(world, questions, REPLAY_OURS, 0);
        assert_int_equal(under_way(world), 0);
}

/* An earlier owner's batch, still under way when this one looked, has saved it. */
static void test_the_fence_passes_it_while_undecided(void **state) {
        World *world = *state;
        Partition *partition;
        ReplayQuestions *questions = begin(world, &partition);
        assert_int_equal(engine_database_up(world->engine, world->now), 0);
        take(world);
        Batch *batch = only(world, ENGINE_READ_FENCES)->batch;
        const int64_t fence = 1;
        assert_int_equal(engine_fences_read(world->engine, batch, &fence, NULL, 0, world->now), 0);
        take(world);
        assert_int_equal(first_of(partition)->handlers[HANDLER_SAVE].state, HANDLER_ENDED);
        assert_int_equal(under_way(world), 0);
        answer(world, questions, REPLAY_OURS, 1u << HANDLER_SAVE);
        restart_all(world, only(world, ENGINE_CLAIM)->run);
        assert_string_equal(world->finished, "A");
}

/* After a crash: saved, and perhaps restarted. */
static void test_below_the_fence(void **state) {
        World *world = *state;
        Partition *partition = activate(world, 0, 0, 3);
        fetch_replay(world, partition, 0, "a", 7);
        fetch_replay(world, partition, 1, "b", 8);
        fetch_replay(world, partition, 2, "c", 9);
        take(world);
        ReplayQuestions *questions = asked(world);
        assert_int_equal(under_way(world), 0);
        ReplayAnswer answers[3] = {ours, ours, ours};
        answers[1].done = 1u << HANDLER_RESTART;
        answers[2].verdict = REPLAY_TAKEN;
        answered(world, questions, answers);
        assert_string_equal(world->finished, "AD");
        assert_int_equal(count(world, ENGINE_SAVE), 0);
        Run *run = only(world, ENGINE_CLAIM)->run;
        assert_false(run->claim.redelivered); /* the row knows when it was received first */
        restart_all(world, run);
        assert_string_equal(world->finished, "ADA");
}

static void test_what_is_rejected_already_is_passed(void **state) {
        World *world = *state;
        Partition *partition = NULL;
        int64_t rejected = 0;
        PartitionFacts facts = {.committed = 0,
                                .ours = true,
                                .high = 1000,
                                .has_source = true,
                                .source = 1,
                                .fence = 1,
                                .rejected = &rejected,
                                .n_rejected = 1};
        assert_int_equal(engine_assigned(world->engine, "t", 0, NULL, world->now, &partition), 0);
        assert_int_equal(engine_looked_up(world->engine, partition, &facts, world->now), 0);
        assert_int_equal(engine_source_read(world->engine, partition, &facts, world->now), 0);
        assert_int_equal(engine_sought(world->engine, partition, true, world->now), 0);
        fetch_replay(world, partition, 0, "a", 7);
        take(world);
        assert_int_equal(count(world, ENGINE_ASK_REPLAYS), 0);
        assert_int_equal(partition->offsets.watermark, 1);
}

/* --- guards, and a second rejection ------------------------------------------------------- */

static void test_guards_are_asked_as_for_any(void **state) {
        World *world = *state;
        Partition *partition = activate(world, 0, 0, 0);
        fetch_replay(world, partition, 0, "bad-1", 7);
        take(world);
        answer(world, asked(world), REPLAY_OURS, 1u << HANDLER_SAVE);
        assert_int_equal(count(world, ENGINE_CLAIM), 0);
        save_all(world);
        Batch *batch = only(world, ENGINE_REJECT)->batch;
        const Message *message = list_first(&batch->messages, Message, lane_link);
        assert_string_equal(message->fault->reason, "denied");
        assert_int_equal(message->replay->done, 1u << HANDLER_SAVE);
        saved(world, batch, BATCH_SAVED);
        assert_string_equal(world->finished, "J");
}

static void test_not_selected_does_not_hold_up_who_waits(void **state) {
        World *world = *state;
        const MessageCondition when = {.path = "type", .type = MESSAGE_TEXT, .text = "restart"};
        world->config.when = &when;
        world->config.n_when = 1;
        world->config.max_wait_us = 60LL * SECOND;
        Partition *partition;
        answer(world, begin(world, &partition), REPLAY_OURS, 1u << HANDLER_SAVE);
        Run *run = only(world, ENGINE_CLAIM)->run;
        assert_int_equal(run->claim.suppress, LEDGER_REASON_NOT_SELECTED);
        assert_false(list_is_linked(&first_of(partition)->wait_link));
}

/* What cannot be read is rejected again, once its row has answered; a second copy of it is not. */
static void test_what_cannot_be_read(void **state) {
        World *world = *state;
        Partition *partition = activate(world, 0, 0, 0);
        fetch_with(world, partition, 0, "{", "[[\"ackd-replay\",\"9/7\"]]");
        fetch_with(world, partition, 1, "{", "[[\"ackd-replay\",\"9/7\"]]");
        take(world);
        assert_int_equal(under_way(world), 0);
        ReplayAnswer answers[2] = {ours, ours};
        answers[1].verdict = REPLAY_TAKEN;
        answered(world, asked(world), answers);
        save_all(world);
        assert_string_equal(world->finished, "JD");
        assert_int_equal(engine_totals(world->engine)->saved_rows, 0);
}

static void test_without_restart_and_without_save(void **state) {
        World *world = *state;
        Partition *partition;
        world->config.restart = false;
        answer(world, begin(world, &partition), REPLAY_OURS, 1u << HANDLER_SAVE);
        save_all(world);
        assert_string_equal(world->finished, "A");
        renew(world);
        world->config.save = false;
        answer(world, begin(world, &partition), REPLAY_OURS, 0);
        Run *run = started(world);
        save_all(world);
        assert_int_equal(engine_totals(world->engine)->saved_rows, 0);
        restarted(world, run, OUTCOME_DONE);
        assert_string_equal(world->finished, "A");
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup_replays, teardown)

int main(void) {
        const struct CMUnitTest tests[] = {
                TEST(test_nothing_runs_before_the_row_has_answered),
                TEST(test_save_done_moves_the_fence_alone),
                TEST(test_restart_done_is_not_restarted),
                TEST(test_all_done),
                TEST(test_a_duplicate_is_passed),
                TEST(test_a_stray_header_changes_nothing),
                TEST(test_a_malformed_header_is_not_asked_for),
                TEST(test_a_tombstone_is_one),
                TEST(test_later_is_asked_again),
                TEST(test_the_second_reply_is_lost),
                TEST(test_stop_while_later),
                TEST(test_revoke_while_later),
                TEST(test_unknown_is_not_restarted),
                TEST(test_unknown_where_on_unknown_says_otherwise),
                TEST(test_unknown_of_a_denied_host),
                TEST(test_ages),
                TEST(test_it_waited_too_long_for_the_answer),
                TEST(test_a_lane_forms_no_batch_beyond_it),
                TEST(test_one_question_at_a_time),
                TEST(test_a_question_is_bounded),
                TEST(test_an_outage_is_waited_out),
                TEST(test_stop_while_undecided),
                TEST(test_the_engine_ends_while_undecided),
                TEST(test_revoke_while_undecided),
                TEST(test_postgresql_went_back_while_undecided),
                TEST(test_the_fence_passes_it_while_undecided),
                TEST(test_below_the_fence),
                TEST(test_what_is_rejected_already_is_passed),
                TEST(test_guards_are_asked_as_for_any),
                TEST(test_not_selected_does_not_hold_up_who_waits),
                TEST(test_what_cannot_be_read),
                TEST(test_without_restart_and_without_save),
        };
        return cmocka_run_group_tests(tests, NULL, NULL);
}
