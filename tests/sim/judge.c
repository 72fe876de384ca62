#include "judge.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/backoff.h"
#include "judge-books.h"

void judge_broken(Judge *judge, int invariant, const char *format, ...) {
        char text[512];
        va_list ap;
        va_start(ap, format);
        vsnprintf(text, sizeof(text), format, ap);
        va_end(ap);
        judge->broken(judge->user, invariant, text);
}

static void *grow(void *array, size_t n, size_t *capacity, size_t size) {
        if (n < *capacity) {
                return array;
        }
        *capacity = *capacity > 0 ? *capacity * 2 : 16;
        return realloc(array, *capacity * size);
}

static void *copy_of(const void *from, size_t size) {
        void *to = malloc(size + 1);
        return size > 0 ? memcpy(to, from, size) : to;
}

JudgeLimits judge_limits(const EngineConfig *config) {
        return (JudgeLimits){.concurrency = config->concurrency,
                             .in_flight = config->in_flight,
                             .in_flight_bytes = config->in_flight_bytes,
                             .waiting = config->waiting,
                             .ack_gap = config->ack_gap,
                             .message_bytes = config->message_bytes,
                             .batches = config->batches,
                             .batch_rows = config->batch_rows,
                             .attempts = config->attempts,
                             .backoff_max_us = config->backoff_max_us,
                             .drain_us = config->drain_us,
                             .max_wait_us = config->max_wait_us,
                             .selects = config->n_when > 0,
                             .save = config->save,
                             .restart = config->restart,
                             .on_unknown = config->on_unknown,
                             .ledger = config->ledger,
                             .check = config->check,
                             .verify = config->verify,
                             .verify_deadline_us = config->verify_deadline_us,
                             .cooldown_us = config->cooldown_us,
                             .steady = true};
}

Judge *judge_new(const JudgeLimits *limits, JudgeBroken broken_, void *user) {
        Judge *judge = calloc(1, sizeof(*judge));
        judge->limits = *limits;
        judge->broken = broken_;
        judge->user = user;
        judge->reading = true;
        judge->revoked_us = judge->hurry_us = -1;
        judge->now = INT64_MIN;
        return judge;
}

void judge_free(Judge *judge) {
        if (judge == NULL) {
                return;
        }
        for (size_t i = 0; i < judge->n_epochs; i++) {
                free(judge->epochs[i].topic);
                free(judge->epochs[i].known);
                free(judge->epochs[i].passed);
        }
        runs_free(judge);
        for (size_t i = 0; i < judge->n_batches; i++) {
                free(judge->batches[i].items);
        }
        free(judge->retries);
        free(judge->epochs);
        free(judge->batches);
        free(judge->committed);
        free(judge);
}

/* --- books -------------------------------------------------------------------------------- */

/* How many epochs come before it. */
static size_t place_of(const Judge *judge, uint64_t epoch) {
        size_t from = 0, to = judge->n_epochs;
        while (from < to) {
                size_t middle = (from + to) / 2;
                if (judge->epochs[middle].epoch < epoch) {
                        from = middle + 1;
                } else {
                        to = middle;
                }
        }
        return from;
}

Epoch *judge_epoch(const Judge *judge, uint64_t epoch) {
        size_t at = place_of(judge, epoch);
        return at < judge->n_epochs && judge->epochs[at].epoch == epoch ? &judge->epochs[at] : NULL;
}

/* Whether it is an assignment of the partition that was observed. */
static bool is_of(const Epoch *epoch, int32_t partition, const char *topic) {
        return epoch->partition == partition && strcmp(epoch->topic, topic) == 0;
}

static Epoch *add_epoch(Judge *judge, const Observation *seen) {
        judge->epochs =
                grow(judge->epochs, judge->n_epochs, &judge->epochs_capacity, sizeof(Epoch));
        size_t at = place_of(judge, seen->epoch);
        Epoch *epoch = &judge->epochs[at];
        memmove(epoch + 1, epoch, (judge->n_epochs++ - at) * sizeof(Epoch));
        *epoch = (Epoch){.epoch = seen->epoch,
                         .partition = seen->partition,
                         .source = -1,
                         .topic = strdup(seen->text),
                         .looked = -1,
                         .confirmed = -1,
                         .fence = -1,
                         .saving = -1,
                         .start = -1,
                         .paused = true};
        return epoch;
}

/* The one that messages flow into or that is looked up; an epoch that nobody knows is new: the
 * partition starts anew while it is assigned. */
static Epoch *the_epoch(Judge *judge, const Observation *seen) {
        Epoch *epoch = judge_epoch(judge, seen->epoch);
        if (epoch != NULL) {
                return epoch;
        }
        for (size_t i = 0; i < judge->n_epochs; i++) {
                if (is_of(&judge->epochs[i], seen->partition, seen->text)) {
                        judge->epochs[i].dead = true;
                }
        }
        return add_epoch(judge, seen);
}

Known *judge_known(const Epoch *epoch, int64_t offset) {
        size_t from = 0, to = epoch->n;
        while (from < to) {
                size_t middle = (from + to) / 2;
                if (epoch->known[middle].offset < offset) {
                        from = middle + 1;
                } else {
                        to = middle;
                }
        }
        return from < epoch->n && epoch->known[from].offset == offset ? &epoch->known[from] : NULL;
}

Known *judge_known_of(const Judge *judge, const ObservedItem *item) {
        Epoch *epoch = judge_epoch(judge, item->epoch);
        return epoch != NULL ? judge_known(epoch, item->offset) : NULL;
}

static bool is_assigned(const Judge *judge, int32_t partition) {
        for (size_t i = 0; i < judge->n_epochs; i++) {
                if (judge->epochs[i].partition == partition &&
                    judge->epochs[i].phase != PHASE_GONE) {
                        return true;
                }
        }
        return false;
}

static int compare_offsets(const void *a, const void *b) {
        int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
        return x < y ? -1 : x > y;
}

static bool is_passed(const Epoch *epoch, int64_t offset) {
        return epoch->n_passed > 0 && bsearch(&offset, epoch->passed, epoch->n_passed,
                                              sizeof(offset), compare_offsets) != NULL;
}

/* --- the invariants ----------------------------------------------------------------------- */

static void invariant_1_committed_is_resolved(Judge *judge, const Observation *seen) {
        if (seen->type != OBSERVED_ACTION || seen->kind != ENGINE_COMMIT) {
                return;
        }
        for (size_t i = 0; i < seen->n_items; i++) {
                Epoch *epoch = judge_epoch(judge, seen->items[i].epoch);
                for (; epoch != NULL && epoch->checked < epoch->n; epoch->checked++) {
                        const Known *known = &epoch->known[epoch->checked];
                        if (known->offset >= seen->items[i].offset) {
                                break;
                        }
                        if (!known->resolved && !known->gap) {
                                judge_broken(judge, 1,
                                             "partition %d: commits %" PRId64 ", but %" PRId64
                                             " is not resolved",
                                             epoch->partition, seen->items[i].offset,
                                             known->offset);
                        }
                }
        }
}

/* What may be another log is not read on. */
static void invariant_1_doubt_is_not_read(Judge *judge, const Observation *seen) {
        if (seen->type == OBSERVED_ACTION && seen->kind == ENGINE_RESUME) {
                const Epoch *epoch = judge_epoch(judge, seen->epoch);
                if (epoch != NULL && epoch->doubted) {
                        judge_broken(judge, 1,
                                     "partition %d is read again before Kafka has said that it "
                                     "is the same one",
                                     seen->partition);
                }
        }
        for (size_t i = 0; seen->type == OBSERVED_QUIET && !judge->stopped && i < seen->n_items;
             i++) {
                const Epoch *epoch = judge_epoch(judge, seen->items[i].epoch);
                bool active = seen->items[i].c == PARTITION_ACTIVE;
                if (epoch != NULL && active && epoch->doubted && !seen->items[i].d) {
                        judge_broken(judge, 1, "partition %d is doubted, and not held",
                                     seen->items[i].partition);
                }
                if (epoch != NULL && active && epoch->out_of_range && !epoch->doubted) {
                        judge_broken(judge, 1,
                                     "partition %d goes on, and its position is not in its log",
                                     seen->items[i].partition);
                }
        }
}

static void invariant_4_commits_rise(Judge *judge, const Observation *seen) {
        if (seen->type != OBSERVED_ACTION || seen->kind != ENGINE_COMMIT) {
                return;
        }
        for (size_t i = 0; i < seen->n_items; i++) {
                const ObservedItem *item = &seen->items[i];
                const Epoch *epoch = judge_epoch(judge, item->epoch);
                if (epoch == NULL || epoch->starting) {
                        continue; /* a start: the operator's, or none was there */
                }
                int64_t least = epoch->confirmed > epoch->looked ? epoch->confirmed : epoch->looked;
                if (item->offset <= least && !epoch->decided) {
                        judge_broken(judge, 4, "partition %d: commits %" PRId64 " after %" PRId64,
                                     epoch->partition, item->offset, least);
                }
        }
}

static void invariant_5_one_commit_of_what_is_owned(Judge *judge, const Observation *seen) {
        if (seen->type != OBSERVED_ACTION ||
            (seen->kind != ENGINE_COMMIT && seen->kind != ENGINE_LOOK_COMMITTED)) {
                return;
        }
        if (judge->committing || judge->look_open) {
                judge_broken(judge, 5, "a second commit in flight");
        }
        if (seen->kind == ENGINE_COMMIT && !judge->looked) {
                judge_broken(judge, 5, "a commit without a look at what Kafka has");
        }
        for (size_t i = 0; i < seen->n_items; i++) {
                const Epoch *epoch = judge_epoch(judge, seen->items[i].epoch);
                /* It began anew since the look was ordered, or between it and the commit: what was
                 * resolved before, was. */
                bool anew = epoch == NULL && is_assigned(judge, seen->items[i].partition);
                if (epoch != NULL && seen->kind == ENGINE_COMMIT &&
                    (epoch->gone || epoch->unseen)) {
                        judge_broken(judge, 5, "partition %d is committed, and the look found %s",
                                     epoch->partition,
                                     epoch->gone ? "no commit of ours" : "nothing");
                }
                if (!anew && (epoch == NULL || epoch->phase == PHASE_GONE || epoch->lost_quiet ||
                              (epoch->dead && seen->kind == ENGINE_COMMIT))) {
                        judge_broken(judge, 5,
                                     "a %s of partition %d, epoch %" PRIu64
                                     ", which is not current%s%s",
                                     seen->kind == ENGINE_COMMIT ? "commit" : "look",
                                     seen->items[i].partition, seen->items[i].epoch,
                                     epoch != NULL && epoch->phase == PHASE_GONE ? ": gone" : "",
                                     epoch != NULL && epoch->lost_quiet ? ": lost" : "");
                }
        }
}

static void invariant_6_rows_rise(Judge *judge, const Observation *seen) {
        if (seen->type != OBSERVED_ACTION ||
            (seen->kind != ENGINE_SAVE && seen->kind != ENGINE_SAVE_EACH)) {
                return;
        }
        for (size_t i = 0; i < seen->n_items; i++) {
                const ObservedItem *part = &seen->items[i];
                const Epoch *epoch = judge_epoch(judge, part->epoch);
                int64_t last = -1;
                if (part->d == 0) {
                        continue;
                }
                if (epoch == NULL || part->b <= part->a) {
                        judge_broken(judge, 6, "a batch whose fence does not rise");
                        continue;
                }
                for (size_t k = 0; k < seen->n_items; k++) {
                        const ObservedItem *row = &seen->items[k];
                        if (row->d != 0 || row->epoch != part->epoch) {
                                continue;
                        }
                        if (row->offset <= last || row->offset < part->a ||
                            row->offset >= part->b) {
                                judge_broken(judge, 6,
                                             "partition %d: row %" PRId64 " after %" PRId64
                                             ", between the fences %" PRId64 " and %" PRId64,
                                             part->partition, row->offset, last, part->a, part->b);
                        }
                        last = row->offset;
                }
        }
}

bool judge_has_waited(const Judge *judge, int64_t since, int64_t now) {
        return judge->limits.max_wait_us > 0 && now - since >= judge->limits.max_wait_us;
}

/* What ended: of this epoch, or of the newest before, when the partition began anew meanwhile. */
static Known *find_ended(Judge *judge, const Observation *seen, Epoch **of) {
        Known *found = NULL;
        for (size_t i = 0; i < judge->n_epochs; i++) {
                Epoch *epoch = &judge->epochs[i];
                bool fits =
                        epoch->epoch <= seen->epoch && is_of(epoch, seen->partition, seen->text);
                Known *known = fits ? judge_known(epoch, seen->offset) : NULL;
                if (known != NULL && !known->resolved && !known->released &&
                    (found == NULL || epoch->epoch > (*of)->epoch)) {
                        found = known;
                        *of = epoch;
                }
        }
        return found;
}

static void invariant_10_retries_wait(Judge *judge, const Observation *seen) {
        if (seen->type != OBSERVED_ACTION) {
                return;
        }
        if (seen->kind == ENGINE_NOTE && seen->a == NOTE_RETRY) {
                const Epoch *epoch = judge_epoch(judge, seen->epoch);
                const Known *known = epoch != NULL ? judge_known(epoch, seen->c) : NULL;
                if (known != NULL && !known->aside &&
                    judge_has_waited(judge, known->fetched_last_us, known->ended_us)) {
                        judge_broken(judge, 10,
                                     "%" PRId64 " is to be tried again after its max_wait",
                                     known->offset);
                }
        }
        if (seen->kind == ENGINE_NOTE && seen->a == NOTE_RETRY) {
                /* It may have been said before its partition began anew. */
                Observation of = {.partition = seen->partition,
                                  .epoch = seen->epoch,
                                  .text = seen->text,
                                  .offset = seen->c};
                Epoch *epoch = NULL;
                const Known *known = find_ended(judge, &of, &epoch);
                int64_t most = judge->limits.backoff_max_us;
                if (known != NULL && known->after_us > most) {
                        most = known->after_us;
                }
                if (seen->b < BACKOFF_MIN_US || seen->b > most) {
                        judge_broken(judge, 10, "a retry after %" PRId64 " us", seen->b);
                }
        }
        bool batch = seen->kind == ENGINE_SAVE || seen->kind == ENGINE_REJECT ||
                     seen->kind == ENGINE_READ_FENCES;
        for (size_t i = 0; batch && i < FAILURES; i++) {
                if (judge->failures[i].batch == seen->id && seen->id != 0 &&
                    judge->now < judge->failures[i].us + BACKOFF_MIN_US) {
                        judge_broken(judge, 10,
                                     "a batch is sent again %" PRId64 " us after it failed",
                                     judge->now - judge->failures[i].us);
                }
        }
}

/* Whether what ended says of itself that it is done. */
static bool claims_done(int64_t state, int64_t outcome, OnUnknown on_unknown) {
        return state == HANDLER_OFF ||
               (state == HANDLER_ENDED &&
                (outcome_is_success((Outcome)outcome) ||
                 (outcome == OUTCOME_UNKNOWN && on_unknown == ON_UNKNOWN_DONE)));
}

/* A message that ended: its attempts are those that the judge counted, and it is rejected for a
 * failure only when there were enough of them. */
static void invariant_11_rejected_after_its_attempts(Judge *judge, const Observation *seen) {
        if (seen->type != OBSERVED_ACTION || seen->kind != ENGINE_FINISHED) {
                return;
        }
        Epoch *epoch = NULL;
        Known *known = find_ended(judge, seen, &epoch);
        if (known == NULL) {
                return;
        }
        judge_count_unknown(known, seen->numbers[4]);
        Outcome outcome = (Outcome)seen->numbers[3];
        bool counts = outcome == OUTCOME_FAILED || outcome == OUTCOME_NOT_STARTED;
        if (seen->a != FINISH_RELEASED && seen->numbers[4] != known->charged) {
                judge_broken(judge, 11, "%" PRId64 ": %" PRId64 " attempts charged, there were %d",
                             seen->offset, seen->numbers[4], known->charged);
        }
        bool other = seen->c == MESSAGE_FAULTY || seen->numbers[1] == OUTCOME_POISON;
        if (seen->a == FINISH_REJECTED && !other && seen->numbers[2] == HANDLER_ENDED &&
            (outcome == OUTCOME_OUTAGE || (counts && known->charged < judge->limits.attempts))) {
                judge_broken(judge, 11,
                             "%" PRId64 " is rejected after %d attempts, the last one %s",
                             seen->offset, known->charged, outcome_name(outcome));
        }
}

static void invariant_12_accepted_is_done(Judge *judge, const Observation *seen) {
        if (seen->type != OBSERVED_ACTION || seen->kind != ENGINE_FINISHED) {
                return;
        }
        Epoch *epoch = NULL;
        const Known *known = find_ended(judge, seen, &epoch);
        if (known == NULL) {
                judge_broken(judge, 18, "%" PRId64 " ends, which was never fetched, or has ended",
                             seen->offset);
                return;
        }
        if (seen->a != FINISH_RELEASED && runs_have(judge, known)) {
                judge_broken(judge, 12, "%" PRId64 " has ended, and its restart has not",
                             seen->offset);
        }
        if (seen->a == FINISH_REJECTED && !seen->b) {
                judge_broken(judge, 12, "%" PRId64 " is rejected without its row", seen->offset);
        }
        if (seen->a != FINISH_ACCEPTED && seen->a != FINISH_TOMBSTONE &&
            seen->a != FINISH_DUPLICATE) {
                return;
        }
        if (seen->offset >= epoch->fence) {
                judge_broken(judge, 12,
                             "%" PRId64 " is accepted, and the fence is known at %" PRId64,
                             seen->offset, epoch->fence);
        }
        if (seen->a == FINISH_ACCEPTED &&
            (!claims_done(seen->numbers[0], seen->numbers[1], judge->limits.on_unknown) ||
             !claims_done(seen->numbers[2], seen->numbers[3], judge->limits.on_unknown))) {
                judge_broken(judge, 12, "%" PRId64 " is accepted with a handler that is not done",
                             seen->offset);
        }
        /* `when` is asked first: what it suppresses was in no restart. */
        bool suppressed = judge->limits.selects && seen->numbers[2] == HANDLER_ENDED &&
                          seen->numbers[3] == OUTCOME_SUPPRESSED && known->ended_us < 0;
        bool before = (known->done & 1u << HANDLER_RESTART) != 0;
        if (seen->a == FINISH_ACCEPTED && judge->limits.restart && !known->restarted &&
            !suppressed && !before) {
                judge_broken(judge, 12, "%" PRId64 " is accepted, and no restart of it ended well",
                             seen->offset);
        }
}

/* A handler that its row says is done, or all of them when it is a duplicate, does not run; and
 * none does before the row has answered. */
static void invariant_20_replays_run_what_is_not_done(Judge *judge, const Observation *seen) {
        if (seen->type != OBSERVED_ACTION) {
                return;
        }
        bool save = seen->kind == ENGINE_SAVE || seen->kind == ENGINE_SAVE_EACH;
        bool restart = seen_is_towards_a_start(seen);
        for (size_t i = 0; (save || restart || seen->kind == ENGINE_REJECT) && i < seen->n_items;
             i++) {
                const ObservedItem *item = &seen->items[i];
                const Known *known = item->d == 0 ? judge_known_of(judge, item) : NULL;
                if (known == NULL || known->replay == REPLAYED_NOT) {
                        continue;
                }
                bool row = save && item->c == MESSAGE_ROW;
                HandlerId handler = restart ? HANDLER_RESTART : HANDLER_SAVE;
                bool done = (known->done & 1u << handler) != 0 && (row || restart);
                bool none =
                        known->replay == REPLAYED_DUPLICATE && (!save || item->c != MESSAGE_NO_ROW);
                if (known->replay == REPLAYED_OPEN || done || none) {
                        judge_broken(judge, 20, "the replay %" PRId64 " runs %s, and %s",
                                     known->offset, handler_name(handler),
                                     known->replay == REPLAYED_OPEN ? "its row has not answered"
                                     : none ? "another message stands for its row"
                                            : "its row says that it is done");
                }
        }
        if (seen->kind != ENGINE_FINISHED) {
                return;
        }
        Epoch *epoch = NULL;
        const Known *known = find_ended(judge, seen, &epoch);
        bool duplicate = known != NULL && known->replay == REPLAYED_DUPLICATE;
        bool odd =
                seen->a == FINISH_DUPLICATE ? !duplicate : seen->a == FINISH_ACCEPTED && duplicate;
        if (known != NULL && seen->a != FINISH_RELEASED &&
            (odd || (known->replay == REPLAYED_OPEN && !seen->b))) {
                judge_broken(judge, 20, "%" PRId64 " ends as %s, and %s", seen->offset,
                             finish_name((Finish)seen->a),
                             known->replay == REPLAYED_OPEN ? "its row has not answered"
                             : duplicate                    ? "is a duplicate"
                                                            : "is none");
        }
}

/* One question at a time. */
static void invariant_20_questions_of_replays(Judge *judge, const Observation *seen) {
        if (seen->type == OBSERVED_ACTION && seen->kind == ENGINE_ASK_REPLAYS &&
            judge->asking_replays) {
                judge_broken(judge, 20, "replays are asked for twice at once");
        }
        if (seen->type == OBSERVED_REPLAYS_READ && !judge->asking_replays && judge->replays_seen) {
                judge_broken(judge, 20, "an answer about replays that nobody has asked for");
        }
}

static void invariant_13_limits_hold(Judge *judge, const Observation *seen) {
        const JudgeLimits *limits = &judge->limits;
        if (seen->type == OBSERVED_ACTION && seen->kind == ENGINE_SAVE) {
                size_t rows = 0;
                for (size_t i = 0; i < seen->n_items; i++) {
                        rows += seen->items[i].d == 0;
                }
                if (rows > limits->batch_rows) {
                        judge_broken(judge, 13, "a batch of %zu rows", rows);
                }
                size_t busy = 0;
                for (size_t i = 0; i < judge->n_batches; i++) {
                        busy += judge->batches[i].kind != ENGINE_READ_FENCES;
                }
                if (busy >= limits->batches) {
                        judge_broken(judge, 13, "%zu batches at once", busy + 1);
                }
        }
        if (seen->type != OBSERVED_QUIET) {
                return;
        }
        /* What waited and runs now counts in `in_flight` again: all that share one run. */
        int64_t most = (int64_t)(limits->in_flight + limits->waiting + 64);
        if (seen->numbers[NUMBER_IN_FLIGHT] > most || seen->numbers[NUMBER_WAITING] > most) {
                judge_broken(judge, 13, "%" PRId64 " in flight, %" PRId64 " waiting",
                             seen->numbers[NUMBER_IN_FLIGHT], seen->numbers[NUMBER_WAITING]);
        }
        if (seen->numbers[NUMBER_BYTES] >
            (int64_t)(limits->in_flight_bytes + limits->message_bytes + 65536 + 4096)) {
                judge_broken(judge, 13, "%" PRId64 " bytes in flight", seen->numbers[NUMBER_BYTES]);
        }
        for (size_t i = 0; i < seen->n_items; i++) {
                if (seen->items[i].b > (int64_t)limits->ack_gap) {
                        judge_broken(judge, 13, "partition %d: an ack gap of %" PRId64,
                                     seen->items[i].partition, seen->items[i].b);
                }
        }
}

static void invariant_14_reading_goes_on(Judge *judge, const Observation *seen) {
        if (seen->type == OBSERVED_ACTION && seen->kind == ENGINE_RESUME) {
                const Epoch *epoch = judge_epoch(judge, seen->epoch);
                if (epoch == NULL || !epoch->paused) {
                        judge_broken(judge, 14, "partition %d is resumed and was not paused",
                                     seen->partition);
                }
        }
        if (seen->type != OBSERVED_QUIET || judge->stopped) {
                return;
        }
        const JudgeLimits *limits = &judge->limits;
        const int64_t *numbers = seen->numbers;
        bool room =
                numbers[NUMBER_IN_FLIGHT] < (int64_t)(limits->in_flight - limits->in_flight / 8) &&
                numbers[NUMBER_BYTES] <
                        (int64_t)(limits->in_flight_bytes - limits->in_flight_bytes / 8) &&
                numbers[NUMBER_WAITING] < (int64_t)(limits->waiting - limits->waiting / 8);
        if (!judge->reading && room) {
                judge_broken(judge, 14, "not reading with room for more");
        }
        if (judge->reading != (numbers[NUMBER_READING] != 0)) {
                judge_broken(judge, 14, "the engine thinks that it is %sread",
                             judge->reading ? "not " : "");
        }
        for (size_t i = 0; i < seen->n_items; i++) {
                const Epoch *epoch = judge_epoch(judge, seen->items[i].epoch);
                if (seen->items[i].c == PARTITION_ACTIVE && !seen->items[i].d && epoch != NULL &&
                    epoch->paused) {
                        judge_broken(judge, 14, "partition %d is active and paused",
                                     seen->items[i].partition);
                }
        }
}

/* Where the messages from the first one on are resolved to; -1: no further. */
static int64_t watermark_of(const Epoch *epoch) {
        int64_t watermark = -1;
        for (size_t i = 0; i < epoch->n && epoch->known[i].resolved; i++) {
                watermark = epoch->known[i].passed ? watermark : epoch->known[i].offset + 1;
        }
        return watermark;
}

/* One of its messages has ended, and its row in `rejected` waits for a connection. */
static bool waits_for_its_row(const Judge *judge, const Epoch *epoch) {
        for (size_t i = 0; epoch != NULL && i < epoch->n; i++) {
                const Known *known = &epoch->known[i];
                if (!known->resolved && !known->released && !known->gap &&
                    !runs_have(judge, known)) {
                        return true;
                }
        }
        return false;
}

/* A revoke waits for what is at the database and for its commit, and not for ever. */
static void invariant_16_drains(Judge *judge, const Observation *seen) {
        if (seen->type == OBSERVED_ACTION && seen->kind == ENGINE_UNASSIGN && judge->revoking &&
            !judge->revoke_failed && judge->hurry_us < 0 && !judge->released &&
            seen->now < judge->revoked_us + judge->limits.drain_us) {
                for (size_t i = 0; i < judge->n_epochs; i++) {
                        const Epoch *epoch = &judge->epochs[i];
                        int64_t watermark = epoch->phase == PHASE_REVOKED && !epoch->lost &&
                                                            !epoch->gone && !epoch->dead &&
                                                            !epoch->doubted
                                                    ? watermark_of(epoch)
                                                    : -1;
                        if (watermark > epoch->confirmed && watermark > epoch->looked) {
                                judge_broken(judge, 7,
                                             "partition %d is let go at %" PRId64
                                             ", committed %" PRId64,
                                             epoch->partition, watermark, epoch->confirmed);
                        }
                }
        }
        if (seen->type != OBSERVED_QUIET || !judge->revoking) {
                return;
        }
        if (judge->hurry_us >= 0 && seen->now >= judge->hurry_us + LAST_COMMIT_US) {
                judge_broken(judge, 16, "a revoke is not answered after %" PRId64 " us",
                             seen->now - judge->revoked_us);
        }
        bool waits = judge->look_open || judge->committing || judge->looked;
        for (size_t i = 0; i < judge->n_batches; i++) {
                for (size_t k = 0; k < judge->batches[i].n; k++) {
                        const Epoch *epoch = judge_epoch(judge, judge->batches[i].items[k].epoch);
                        waits = waits || (epoch != NULL && epoch->phase == PHASE_REVOKED);
                }
        }
        for (size_t i = 0; i < seen->n_items; i++) {
                const ObservedItem *item = &seen->items[i];
                waits = waits || (item->c == PARTITION_DRAINING &&
                                  (item->offset > item->a ||
                                   waits_for_its_row(judge, judge_epoch(judge, item->epoch))));
        }
        if (!waits) {
                judge_broken(judge, 16, "a revoke waits for nothing");
        }
}

static void invariant_16_the_last_commit(Judge *judge, const Observation *seen) {
        if (seen->type != OBSERVED_QUIET || !judge->flushed || judge->flush_failed ||
            judge->look_open || judge->looked || judge->committing) {
                return;
        }
        for (size_t i = 0; i < seen->n_items; i++) {
                if (seen->items[i].c == PARTITION_ACTIVE &&
                    seen->items[i].offset > seen->items[i].a) {
                        judge_broken(judge, 16, "partition %d: nothing commits %" PRId64,
                                     seen->items[i].partition, seen->items[i].offset);
                }
        }
}

static void invariant_19_nothing_is_forgotten(Judge *judge, const Observation *seen) {
        if (seen->type != OBSERVED_QUIET || judge->stopped) {
                return;
        }
        int64_t deadline = seen->numbers[NUMBER_DEADLINE];
        int64_t turns =
                ASK_TURN_US * (seen->numbers[NUMBER_IN_FLIGHT] + seen->numbers[NUMBER_WAITING]);
        for (size_t i = 0; i < judge->n_retries; i++) {
                int64_t due = judge->retries[i].us + (judge->retries[i].ask ? turns : 0);
                /* What was revoked, or stands still, is cancelled, though its batch may keep it. */
                const Epoch *epoch = judge_epoch(judge, judge->retries[i].epoch);
                bool owned = epoch != NULL && epoch->phase == PHASE_ASSIGNED && !epoch->dead &&
                             epoch->active;
                if (owned && judge->retries[i].from_us > seen->now && due < deadline) {
                        judge_broken(judge, 19, "%" PRId64 " is due, and nobody is told",
                                     judge->retries[i].offset);
                }
        }
}

static void invariant_15_nothing_of_what_was_let_go(Judge *judge, const Observation *seen) {
        if (seen->type == OBSERVED_ACTION && seen->kind == ENGINE_NOTE && seen->a == NOTE_RETRY) {
                const Epoch *epoch = judge_epoch(judge, seen->epoch);
                if (epoch != NULL && epoch->phase != PHASE_ASSIGNED && epoch->revoked_quiet) {
                        judge_broken(judge, 15,
                                     "partition %d was revoked, and %" PRId64
                                     " is to be tried again",
                                     epoch->partition, seen->c);
                }
        }
        if (seen->type == OBSERVED_ACTION && seen->kind == ENGINE_READ_SOURCE) {
                const Epoch *epoch = judge_epoch(judge, seen->epoch);
                if (epoch != NULL && epoch->flux) {
                        judge_broken(judge, 5,
                                     "partition %d starts from what a commit may have changed",
                                     epoch->partition);
                }
        }
        if (seen->type == OBSERVED_ACTION && seen->kind == ENGINE_SEEK) {
                const Epoch *epoch = judge_epoch(judge, seen->epoch);
                if (epoch != NULL && epoch->adopt_failed) {
                        judge_broken(judge, 12,
                                     "partition %d starts, and its row is somebody else's",
                                     epoch->partition);
                }
        }
        bool order = seen->type == OBSERVED_ACTION &&
                     (seen->kind == ENGINE_SAVE || seen->kind == ENGINE_RESTART ||
                      seen->kind == ENGINE_REJECT);
        for (size_t i = 0; order && i < seen->n_items; i++) {
                const Epoch *epoch = judge_epoch(judge, seen->items[i].epoch);
                if (epoch == NULL || epoch->phase == PHASE_GONE) {
                        judge_broken(judge, 15, "work for partition %d, which was let go",
                                     seen->items[i].partition);
                }
        }
        if (seen->type == OBSERVED_ACTION && seen->kind == ENGINE_UNASSIGN && !judge->revoking) {
                judge_broken(judge, 15, "unassign without a revoke");
        }
        for (size_t i = 0; seen->type == OBSERVED_QUIET && i < seen->n_items; i++) {
                const Epoch *epoch = judge_epoch(judge, seen->items[i].epoch);
                if (epoch != NULL && epoch->phase == PHASE_GONE) {
                        judge_broken(judge, 15,
                                     "partition %d was let go, and the engine has it still",
                                     seen->items[i].partition);
                }
        }
}

static void invariant_16_shutdown_in_order(Judge *judge, const Observation *seen) {
        if ((seen->type == OBSERVED_RELEASE && !judge->stopped) ||
            (seen->type == OBSERVED_FLUSH && !judge->released)) {
                judge_broken(judge, 16, "the steps of the shutdown are out of order");
        }
        /* What was ordered before the stop may be taken after it. */
        if (judge->stopped_quiet && seen->type == OBSERVED_ACTION &&
            (seen->kind == ENGINE_SAVE || seen->kind == ENGINE_ADOPT ||
             seen->kind == ENGINE_MOVE_FENCE || (seen->kind == ENGINE_READ && seen->ok))) {
                judge_broken(judge, 16, "action %d begins after the stop", seen->kind);
        }
        if (judge->released && seen->type == OBSERVED_QUIET &&
            seen->numbers[NUMBER_IN_FLIGHT] + seen->numbers[NUMBER_WAITING] != 0) {
                judge_broken(judge, 16, "%" PRId64 " in flight after the release",
                             seen->numbers[NUMBER_IN_FLIGHT] + seen->numbers[NUMBER_WAITING]);
        }
}

static void invariant_17_no_timer_fires_early(Judge *judge, const Observation *seen) {
        if (seen->now < judge->now) {
                judge_broken(judge, 17, "time goes back from %" PRId64 " to %" PRId64, judge->now,
                             seen->now);
        }
}

static void invariant_18_the_books_agree(Judge *judge, const Observation *seen) {
        if (seen->type != OBSERVED_QUIET) {
                return;
        }
        const int64_t *numbers = seen->numbers;
        int64_t sum = numbers[NUMBER_IN_FLIGHT] + numbers[NUMBER_WAITING];
        for (int i = 0; i < FINISH_COUNT; i++) {
                sum += numbers[NUMBER_FINISHED + i];
                if (i != FINISH_DUPLICATE &&
                    numbers[NUMBER_FINISHED + i] != (int64_t)judge->finished[i]) {
                        judge_broken(judge, 18, "%" PRId64 " %s are counted, %" PRIu64 " were seen",
                                     numbers[NUMBER_FINISHED + i], finish_name((Finish)i),
                                     judge->finished[i]);
                }
        }
        if (sum != numbers[NUMBER_RECEIVED]) {
                judge_broken(judge, 18,
                             "received %" PRId64
                             ", but finished, in flight and waiting are %" PRId64,
                             numbers[NUMBER_RECEIVED], sum);
        }
}

typedef struct Rule {
        void (*check)(Judge *judge, const Observation *seen);
} Rule;

static const Rule rules[] = {
        {invariant_1_committed_is_resolved},
        {invariant_1_doubt_is_not_read},
        {invariant_4_commits_rise},
        {invariant_5_one_commit_of_what_is_owned},
        {invariant_6_rows_rise},
        {runs_one_at_a_time},
        {runs_are_wanted},
        {runs_follow_the_ledger},
        {runs_repeat_nothing_unknown},
        {runs_wait},
        {runs_are_charged},
        {runs_fit_in},
        {runs_are_not_early},
        {runs_are_counted},
        {runs_are_not_forgotten},
        {invariant_10_retries_wait},
        {invariant_11_rejected_after_its_attempts},
        {invariant_12_accepted_is_done},
        {invariant_13_limits_hold},
        {invariant_14_reading_goes_on},
        {invariant_15_nothing_of_what_was_let_go},
        {invariant_16_drains},
        {invariant_16_the_last_commit},
        {invariant_16_shutdown_in_order},
        {invariant_17_no_timer_fires_early},
        {invariant_18_the_books_agree},
        {invariant_19_nothing_is_forgotten},
        {invariant_20_replays_run_what_is_not_done},
        {invariant_20_questions_of_replays},
};

const JudgeRule judge_rules[] = {
        {1, "what is below a commit is resolved, and what may be another log is not read on"},
        {2, "a partition has one batch at the database, which begins where the one before ended; "
            "what the ledger granted ends there, once, as it ended"},
        {4, "commits rise"},
        {5, "one commit in flight, after a look, of what is owned"},
        {6, "rows rise between their fences"},
        {7, "no two restarts of a host at once, nor within its cool-down"},
        {8,
         "only what is wanted and not done is restarted, when the ledger says so, in a window, and "
         "nothing after the stop"},
        {9, "an unknown end is not repeated unless on_unknown says so"},
        {10, "attempts wait as long as they should, and no longer than max_wait"},
        {11, "attempts are bounded, and charged as they should be"},
        {12, "accepted means done: the fence has moved, the restart ended well"},
        {13, "the limits hold"},
        {14, "what has room is read"},
        {15, "nothing is done for what was let go"},
        {16, "the shutdown's steps come in order, and nothing begins after the first"},
        {17, "no timer fires early"},
        {18, "received = finished + in flight + waiting"},
        {19, "what waits for its time is told of in time"},
        {20, "of a replay only what its row does not have runs, once the row has answered"},
};
const size_t judge_n_rules = sizeof(judge_rules) / sizeof(judge_rules[0]);

/* --- keeping the books -------------------------------------------------------------------- */

/* Of what stands before the end of the log, only the last place counts. */
static void book_fetched(Judge *judge, const Observation *seen) {
        Epoch *epoch = the_epoch(judge, seen);
        int64_t offset = seen->type == OBSERVED_ENDED ? seen->offset - 1 : seen->offset;
        if (!epoch->active || epoch->phase != PHASE_ASSIGNED || offset < epoch->start ||
            judge->stopped) {
                return;
        }
        Known *known = judge_known(epoch, offset);
        if (known != NULL) {
                known->fetched_last_us = seen->now;
                return;
        }
        epoch->known = grow(epoch->known, epoch->n, &epoch->capacity, sizeof(Known));
        size_t at = epoch->n++;
        for (; at > 0 && epoch->known[at - 1].offset > offset; at--) {
                epoch->known[at] = epoch->known[at - 1];
        }
        epoch->known[at] =
                (Known){.offset = offset,
                        .gap = seen->type == OBSERVED_ENDED,
                        .fetched_us = seen->now,
                        .fetched_last_us = seen->now,
                        .claim = 1,
                        .replay = seen->type == OBSERVED_FETCHED && seen->b ? REPLAYED_OPEN
                                                                            : REPLAYED_NOT,
                        .ended_us = -1,
                        .due_us = -1,
                        .passed = is_passed(epoch, offset) && offset < epoch->fence};
        epoch->known[at].resolved = epoch->known[at].passed;
}

static BatchKnown *find_batch(Judge *judge, uint64_t id) {
        for (size_t i = 0; i < judge->n_batches; i++) {
                if (judge->batches[i].id == id) {
                        return &judge->batches[i];
                }
        }
        return NULL;
}

static void book_order(Judge *judge, const Observation *seen) {
        BatchKnown *batch = find_batch(judge, seen->id);
        if (batch != NULL) {
                judge_broken(judge, 2, "batch %" PRIu64 " is under way twice", seen->id);
                return;
        }
        judge->batches = grow(judge->batches, judge->n_batches, &judge->batches_capacity,
                              sizeof(BatchKnown));
        batch = &judge->batches[judge->n_batches++];
        *batch = (BatchKnown){.id = seen->id, .kind = seen->kind, .n = seen->n_items};
        batch->items = copy_of(seen->items, seen->n_items * sizeof(ObservedItem));
        for (size_t i = 0; i < seen->n_items; i++) {
                const ObservedItem *part = &seen->items[i];
                Epoch *epoch = part->d != 0 ? judge_epoch(judge, part->epoch) : NULL;
                if (epoch == NULL || seen->kind == ENGINE_READ_FENCES) {
                        continue;
                }
                if (epoch->saving >= 0) {
                        judge_broken(judge, 2, "partition %d has two batches at the database",
                                     part->partition);
                }
                if (part->a != epoch->fence && !epoch->dead) {
                        judge_broken(judge, 2,
                                     "partition %d: a batch expects the fence at %" PRId64
                                     ", it is known at %" PRId64,
                                     part->partition, part->a, epoch->fence);
                }
                epoch->saving = part->b;
        }
}

static void book_batch_end(Judge *judge, const Observation *seen) {
        BatchKnown *batch = find_batch(judge, seen->id);
        bool fences = seen->type == OBSERVED_FENCES_READ;
        if (batch == NULL) {
                return; /* the judge came late, or it was empty */
        }
        bool saved = !fences && seen->kind == BATCH_SAVED;
        bool failed =
                fences ? !seen->ok : seen->kind == BATCH_OUTAGE || seen->kind == BATCH_UNKNOWN;
        if (failed) {
                judge->failures[judge->n_failures % FAILURES].batch = seen->id;
                judge->failures[judge->n_failures++ % FAILURES].us = seen->now;
        }
        for (size_t i = 0; i < batch->n; i++) {
                const ObservedItem *part = &batch->items[i];
                Epoch *epoch = part->d != 0 ? judge_epoch(judge, part->epoch) : NULL;
                if (epoch != NULL && batch->kind != ENGINE_READ_FENCES) {
                        epoch->saving = -1;
                        epoch->fence = saved ? part->b : epoch->fence;
                }
        }
        for (size_t i = 0; fences && seen->ok && i < seen->n_items; i++) {
                Epoch *epoch = judge_epoch(judge, seen->items[i].epoch);
                if (epoch != NULL && seen->items[i].offset > epoch->fence) {
                        epoch->fence = seen->items[i].offset;
                }
        }
        free(batch->items);
        *batch = judge->batches[--judge->n_batches];
}

void judge_due(Judge *judge, uint64_t epoch, int64_t offset, int64_t from_us, int64_t us,
               bool ask) {
        judge->retries = grow(judge->retries, judge->n_retries, &judge->retries_capacity,
                              sizeof(*judge->retries));
        judge->retries[judge->n_retries].epoch = epoch;
        judge->retries[judge->n_retries].offset = offset;
        judge->retries[judge->n_retries].from_us = from_us;
        judge->retries[judge->n_retries].ask = ask;
        judge->retries[judge->n_retries++].us = us;
}

static void book_retry(Judge *judge, const Epoch *epoch, const Observation *seen) {
        Known *known = judge_known(epoch, seen->c);
        if (known == NULL) {
                return;
        }
        known->due_us = known->ended_us + seen->b;
        known->held = false;
        if (judge_has_waited(judge, known->fetched_us, seen->now + seen->b)) {
                return; /* it is rejected before that, or in that moment */
        }
        /* It may have waited for its other handler first. */
        judge_due(judge, epoch->epoch, seen->c, known->due_us, seen->now + seen->b, false);
}

void judge_forget_due(Judge *judge, uint64_t epoch, int64_t offset) {
        for (size_t i = 0; i < judge->n_retries; i++) {
                if (judge->retries[i].epoch == epoch && judge->retries[i].offset == offset) {
                        judge->retries[i] = judge->retries[--judge->n_retries];
                        return;
                }
        }
}

static void book_finished(Judge *judge, const Observation *seen) {
        Epoch *epoch = NULL;
        Known *known = find_ended(judge, seen, &epoch);
        judge->finished[seen->a] += seen->numbers[5] == 0; /* what is no message is not counted */
        if (known != NULL) {
                judge_forget_due(judge, epoch->epoch, seen->offset);
                known->resolved = seen->a != FINISH_RELEASED;
                known->released = !known->resolved;
        }
}

/* Whether the partition, in whatever epoch, is part of the commit that is under way. */
static bool is_committing(const Judge *judge, const Epoch *epoch) {
        for (size_t i = 0; judge->committing && i < judge->n_committed; i++) {
                const Epoch *of = judge_epoch(judge, judge->committed[i]);
                if (of != NULL && is_of(of, epoch->partition, epoch->topic)) {
                        return true;
                }
        }
        return false;
}

static void book_partition(Judge *judge, const Observation *seen) {
        Epoch *epoch = the_epoch(judge, seen);
        if (seen->type == OBSERVED_LOOKED_UP && seen->ok && epoch->active) {
                epoch->doubted = false;
        } else if ((seen->type == OBSERVED_VANISHED || seen->type == OBSERVED_OUT_OF_RANGE) &&
                   epoch->active && epoch->phase == PHASE_ASSIGNED) {
                epoch->doubted = true;
                epoch->out_of_range = epoch->out_of_range || seen->type == OBSERVED_OUT_OF_RANGE;
        } else if (seen->type == OBSERVED_ADOPTED) {
                epoch->adopt_failed = seen->kind != ADOPT_OK;
                epoch->source = seen->kind == ADOPT_OK ? (int32_t)seen->a : epoch->source;
        } else if (seen->type == OBSERVED_LOOKED_UP && seen->ok && !epoch->active) {
                epoch->looked = seen->a;
                epoch->flux = is_committing(judge, epoch);
                epoch->adopt_failed = false;
        } else if (seen->type == OBSERVED_SOURCE_READ && seen->ok && !epoch->active) {
                epoch->fence = seen->a >= 0 ? seen->b : -1;
                epoch->source = (int32_t)seen->a;
                epoch->decided = seen->d != 0;
                free(epoch->passed);
                epoch->passed = malloc(seen->n_items * sizeof(int64_t) + 1);
                epoch->n_passed = seen->n_items;
                for (size_t i = 0; i < seen->n_items; i++) {
                        epoch->passed[i] = seen->items[i].offset;
                }
                qsort(epoch->passed, epoch->n_passed, sizeof(int64_t), compare_offsets);
        } else if (seen->type == OBSERVED_SOUGHT || seen->type == OBSERVED_RESUMED) {
                epoch->active = epoch->active || (seen->ok && seen->type == OBSERVED_SOUGHT);
                epoch->paused = epoch->paused && !seen->ok;
        }
}

static void book_action(Judge *judge, const Observation *seen) {
        Epoch *epoch = seen->epoch != 0 ? the_epoch(judge, seen) : NULL;
        switch ((EngineActionType)seen->kind) {
        case ENGINE_SAVE:
        case ENGINE_SAVE_EACH:
        case ENGINE_READ_FENCES:
        case ENGINE_REJECT:
                book_order(judge, seen);
                break;
        case ENGINE_FINISHED:
                book_finished(judge, seen);
                break;
        case ENGINE_ADOPT:
        case ENGINE_MOVE_FENCE:
                /* Its fence, when it is done. */
                epoch->fence = seen->offset > epoch->fence ? seen->offset : epoch->fence;
                break;
        case ENGINE_SEEK:
                epoch->start = seen->offset;
                break;
        case ENGINE_PAUSE:
                epoch->paused = true;
                break;
        case ENGINE_READ:
                judge->reading = seen->ok;
                break;
        case ENGINE_LOOK_COMMITTED:
                judge->look_open = true;
                judge->looked = false;
                for (size_t i = 0; i < seen->n_items; i++) {
                        epoch = judge_epoch(judge, seen->items[i].epoch);
                        if (epoch != NULL) {
                                epoch->starting = seen->items[i].a == PARTITION_COMMITTING;
                        }
                }
                break;
        case ENGINE_COMMIT:
                judge->looked = false;
                judge->committing = true;
                judge->n_committed = 0;
                for (size_t i = 0; i < seen->n_items; i++) {
                        judge->committed = grow(judge->committed, i, &judge->committed_capacity,
                                                sizeof(*judge->committed));
                        judge->committed[judge->n_committed++] = seen->items[i].epoch;
                }
                break;
        case ENGINE_UNASSIGN:
                judge->revoking = false;
                for (size_t i = 0; i < judge->n_epochs; i++) {
                        if (judge->epochs[i].phase == PHASE_REVOKED) {
                                judge->epochs[i].phase = PHASE_GONE;
                        }
                }
                break;
        case ENGINE_NOTE:
                if (seen->a == NOTE_RETRY && epoch != NULL) {
                        book_retry(judge, epoch, seen);
                } else if (seen->a == NOTE_WINDOWS_SHUT || seen->a == NOTE_WINDOWS_OPEN) {
                        judge->shut = seen->a == NOTE_WINDOWS_SHUT;
                } else if (seen->a == NOTE_PARTITION_STOPPED && epoch != NULL) {
                        epoch->active = epoch->out_of_range = epoch->doubted = false;
                }
                break;
        case ENGINE_ASK_REPLAYS:
                judge->asking_replays = judge->replays_seen = true;
                break;
        case ENGINE_LOOK_UP:
        case ENGINE_READ_SOURCE:
        case ENGINE_RESUME:
                break;
        case ENGINE_CHECK:
        case ENGINE_CLAIM:
        case ENGINE_RESTART:
        case ENGINE_ACTED:
        case ENGINE_VERIFY:
        case ENGINE_CONCLUDE:
                runs_book(judge, seen);
                break;
        }
}

/* An epoch of the partition that is revoked. When its newest one was not seen yet: the only one
 * with its number; NULL: several topics have it. */
static const Epoch *find_revoked(const Judge *judge, const ObservedItem *item) {
        const Epoch *found = judge_epoch(judge, item->epoch);
        if (found != NULL) {
                return found;
        }
        for (size_t i = 0; i < judge->n_epochs; i++) {
                const Epoch *epoch = &judge->epochs[i];
                if (epoch->partition != item->partition || epoch->phase != PHASE_ASSIGNED) {
                        continue;
                }
                if (found != NULL && strcmp(found->topic, epoch->topic) != 0) {
                        return NULL;
                }
                found = epoch;
        }
        return found;
}

static void book_revoked(Judge *judge, const Observation *seen) {
        judge->revoking = true;
        judge->revoked_us = seen->now;
        judge->hurry_us = -1;
        judge->revoke_failed = false;
        for (size_t i = 0; i < seen->n_items; i++) {
                const Epoch *revoked = find_revoked(judge, &seen->items[i]);
                for (size_t k = 0; revoked != NULL && k < judge->n_epochs; k++) {
                        Epoch *epoch = &judge->epochs[k];
                        if (epoch->phase == PHASE_ASSIGNED &&
                            is_of(epoch, revoked->partition, revoked->topic)) {
                                epoch->phase = PHASE_REVOKED;
                                epoch->lost = !seen->ok;
                        }
                }
        }
}

/* Whose message has left the engine meanwhile is asked for again by the epoch that has it now. */
static void book_replays(Judge *judge, const Observation *seen) {
        judge->asking_replays = false;
        for (size_t i = 0; seen->ok && i < seen->n_items; i++) {
                const ObservedItem *item = &seen->items[i];
                for (size_t k = 0; item->d && k < judge->n_epochs; k++) {
                        const Epoch *epoch = &judge->epochs[k];
                        Known *known =
                                epoch->source == item->a ? judge_known(epoch, item->offset) : NULL;
                        if (known == NULL || known->replay != REPLAYED_OPEN || epoch->dead) {
                                continue;
                        }
                        switch ((ReplayVerdict)item->b) {
                        case REPLAY_OURS:
                        case REPLAY_UNKNOWN:
                                known->replay = REPLAYED_OURS;
                                if (item->b == REPLAY_UNKNOWN) {
                                        known->unknown = true;
                                        known->outcome = OUTCOME_UNKNOWN;
                                        known->restarted =
                                                judge->limits.on_unknown == ON_UNKNOWN_DONE;
                                }
                                known->done = (unsigned)item->c;
                                break;
                        case REPLAY_TAKEN:
                        case REPLAY_DROPPED:
                                known->replay = REPLAYED_DUPLICATE;
                                break;
                        case REPLAY_LATER:
                                break;
                        case REPLAY_STRAY:
                        case REPLAY_VERDICTS:
                                known->replay = REPLAYED_NOT;
                                break;
                        }
                }
        }
}

static void book(Judge *judge, const Observation *seen) {
        judge->now = seen->now;
        switch (seen->type) {
        case OBSERVED_TICK:
        case OBSERVED_TYPES:
                break;
        case OBSERVED_HOLDS_CHANGED:
                runs_book(judge, seen);
                break;
        case OBSERVED_DATABASE_UP:
                memset(judge->failures, 0, sizeof(judge->failures));
                break;
        case OBSERVED_QUIET:
                runs_book(judge, seen);
                /* What was ordered before it may be taken after it, up to here. */
                judge->stopped_quiet = judge->stopped;
                if (judge->revoking && judge->hurry_us < 0 &&
                    seen->now >= judge->revoked_us + judge->limits.drain_us) {
                        judge->hurry_us = seen->now;
                }
                for (size_t i = 0; i < judge->n_epochs; i++) {
                        Epoch *epoch = &judge->epochs[i];
                        epoch->lost_quiet = epoch->lost;
                        epoch->revoked_quiet = epoch->phase == PHASE_REVOKED;
                }
                break;
        case OBSERVED_ASSIGNED:
                (void)add_epoch(judge, seen);
                break;
        case OBSERVED_LOOKED_UP:
        case OBSERVED_SOURCE_READ:
        case OBSERVED_ADOPTED:
        case OBSERVED_SOUGHT:
        case OBSERVED_RESUMED:
        case OBSERVED_VANISHED:
        case OBSERVED_OUT_OF_RANGE:
                book_partition(judge, seen);
                break;
        case OBSERVED_FETCHED:
        case OBSERVED_ENDED:
                book_fetched(judge, seen);
                break;
        case OBSERVED_SAVED:
        case OBSERVED_SAVED_EACH:
        case OBSERVED_FENCES_READ:
                book_batch_end(judge, seen);
                break;
        case OBSERVED_CHECKED:
        case OBSERVED_CLAIMED:
        case OBSERVED_TOO_LATE:
        case OBSERVED_RESTARTED:
        case OBSERVED_ACTED:
        case OBSERVED_VERIFIED:
        case OBSERVED_CONCLUDED:
                runs_book(judge, seen);
                break;
        case OBSERVED_REPLAYS_READ:
                book_replays(judge, seen);
                break;
        case OBSERVED_COMMITTED_SEEN:
                for (size_t i = 0; i < seen->n_items; i++) {
                        Epoch *epoch = judge_epoch(judge, seen->items[i].epoch);
                        bool answered = seen->ok && seen->items[i].a;
                        judge->revoke_failed = judge->revoke_failed || !answered;
                        judge->flush_failed = judge->flush_failed || !answered;
                        if (epoch != NULL) {
                                epoch->unseen = !answered;
                                epoch->gone =
                                        answered && seen->items[i].offset < 0 && !epoch->starting;
                        }
                }
                judge->looked = judge->look_open && seen->ok;
                judge->look_open = false;
                break;
        case OBSERVED_COMMITTED:
                judge->committing = false;
                for (size_t i = 0; i < seen->n_items; i++) {
                        Epoch *epoch = judge_epoch(judge, seen->items[i].epoch);
                        judge->revoke_failed =
                                judge->revoke_failed || !seen->ok || !seen->items[i].a;
                        judge->flush_failed = judge->flush_failed || !seen->ok || !seen->items[i].a;
                        if (epoch != NULL && seen->items[i].a) {
                                epoch->confirmed = seen->items[i].b;
                        }
                }
                break;
        case OBSERVED_REVOKED:
                book_revoked(judge, seen);
                break;
        case OBSERVED_STOP:
                judge->stopped = true;
                break;
        case OBSERVED_RELEASE:
                judge->released = true;
                break;
        case OBSERVED_FLUSH:
                judge->flushed = true;
                judge->flush_failed = judge->revoking;
                break;
        case OBSERVED_ACTION:
                book_action(judge, seen);
                break;
        }
}

void judge_see(Judge *judge, const Observation *seen) {
        for (size_t i = 0; i < sizeof(rules) / sizeof(rules[0]); i++) {
                rules[i].check(judge, seen);
        }
        book(judge, seen);
}
