/* settle(), finish() and acted() of src/pg/ledger.sql. */

#include "ledger.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "ledger-table.h"

/* How a restart ended, by the server's clock. */
typedef struct Ending {
        LedgerState state;
        bool verified;
        int64_t started, ended;
        int32_t exit_status;
        const char *reason, *output;
} Ending;

/* Nobody reported an end yet. */
static bool is_untold(const LedgerRow *row) {
        return row->state == LEDGER_STATE_INTENDED || row->state == LEDGER_STATE_ACTED ||
               (row->state == LEDGER_STATE_UNKNOWN && row->ended == SIM_LEDGER_NEVER);
}

static bool may_end(const LedgerRow *row, LedgerState state) {
        switch (state) {
        case LEDGER_STATE_ACTED:
        case LEDGER_STATE_UNKNOWN:
                return is_untold(row);
        case LEDGER_STATE_NOT_STARTED:
                return is_untold(row) && row->acted == SIM_LEDGER_NEVER;
        case LEDGER_STATE_DONE:
        case LEDGER_STATE_FAILED:
                return row->state == LEDGER_STATE_INTENDED || row->state == LEDGER_STATE_ACTED ||
                       row->state == LEDGER_STATE_UNKNOWN;
        case LEDGER_STATE_NONE:
        case LEDGER_STATE_INTENDED:
        case LEDGER_STATE_SUPPRESSED:
        case LEDGER_STATE_COUNT:
                break;
        }
        assert(false); /* a restart cannot end so */
        return false;
}

/* What verify sees after another start may be that one's work. */
static bool proves_nothing(const SimLedger *ledger, RowId id, const Ending *ending) {
        const LedgerRow *row = table_row(ledger, id);
        return ending->state == LEDGER_STATE_DONE && ending->verified &&
               row->state == LEDGER_STATE_UNKNOWN && ledger->hosts[row->host - 1].last != id;
}

/* The cool-down is that of the start before. */
static void find_last_start(LedgerHost *host) {
        const Moments *starts = &host->starts;
        bool any = starts->n > 0;
        host->last = any ? starts->items[starts->n - 1].row : 0;
        host->last_start = any ? starts->items[starts->n - 1].at : SIM_LEDGER_NEVER;
}

/* What follows for the host. @before: the row as it was. */
static void settle_host(SimLedger *ledger, RowId id, const LedgerRow *before, bool watched) {
        const LedgerRow *row = table_row(ledger, id);
        LedgerHost *host = &ledger->hosts[row->host - 1];
        if (row->state != LEDGER_STATE_ACTED && host->open == id) {
                host->open = 0;
                host->held = SIM_LEDGER_NEVER;
        }
        if (row->state == LEDGER_STATE_NOT_STARTED && host->last == id) {
                find_last_start(host);
        } else if (host->last == id) {
                host->last_start = row->started;
        }
        if (row->state == LEDGER_STATE_DONE) {
                host->covers = later(host->covers, watched ? row->ended : before->intended);
                if (host->done_start <= row->started) {
                        host->done = id;
                        host->done_start = row->started;
                }
        }
}

/* Returns `did`. */
static bool settle(SimLedger *ledger, RowId id, const Ending *ending, int64_t t) {
        const LedgerRow before = *table_row(ledger, id);
        bool same = before.state == ending->state &&
                    !(ending->state == LEDGER_STATE_UNKNOWN && is_untold(&before));
        if (same || !may_end(&before, ending->state) || proves_nothing(ledger, id, ending)) {
                return same;
        }
        int64_t ended = earlier(later(ending->ended, before.intended), t);
        int64_t started = ending->started != SIM_LEDGER_NEVER ? ending->started : before.started;
        LedgerRow row = before;
        row.state = ending->state;
        row.reason = table_text(ledger, ending->reason);
        row.started = ending->state == LEDGER_STATE_NOT_STARTED
                              ? SIM_LEDGER_NEVER
                              : earlier(later(started, before.intended), ended);
        row.acted = ending->state == LEDGER_STATE_ACTED ? ended : before.acted;
        row.ended = ending->state == LEDGER_STATE_ACTED ? SIM_LEDGER_NEVER : ended;
        if (ending->exit_status != LEDGER_NO_STATUS) {
                row.exit_status = ending->exit_status;
        }
        if (ending->output != NULL) {
                row.output = table_text(ledger, ending->output);
        }
        table_put_row(ledger, id, &row);
        /* A successor looks when it comes to it: the host may have been back for long. */
        bool watched = ending->verified && ending->started != SIM_LEDGER_NEVER;
        settle_host(ledger, id, &before, watched);
        /* All share its outcome, also one that comes to light later. */
        for (RowId sharer = row.first_sharer; sharer != 0;) {
                LedgerRow shared = *table_row(ledger, sharer);
                if (shared.state == LEDGER_STATE_UNKNOWN) {
                        shared.state = ending->state;
                        shared.reason = row.reason;
                        shared.ended = ended;
                        table_put_row(ledger, sharer, &shared);
                }
                sharer = shared.next_sharer;
        }
        return true;
}

/* Whether a message gets no row for sharing @main: it has one, or needs none. */
static bool has_its_end(const SimLedger *ledger, RowId main, const LedgerShared *shared) {
        LedgerState end = table_row(ledger, main)->state;
        bool came_to_nothing = end == LEDGER_STATE_FAILED || end == LEDGER_STATE_NOT_STARTED;
        for (RowId id = table_newest(ledger, shared->source, shared->offset); id != 0;) {
                const LedgerRow *row = table_row(ledger, id);
                if (row->shared_with == main || id == main || row->state == LEDGER_STATE_DONE ||
                    row->state == LEDGER_STATE_SUPPRESSED ||
                    (came_to_nothing &&
                     (row->state == LEDGER_STATE_INTENDED || row->state == LEDGER_STATE_ACTED ||
                      row->state == LEDGER_STATE_UNKNOWN))) {
                        return true;
                }
                id = row->older_of_message;
        }
        return false;
}

/* The rows of those that shared, in one statement, which sees none of its own rows. False: two of
 * them have one number. */
static bool add_sharers(SimLedger *ledger, RowId main, const LedgerFinish *item, int64_t t) {
        size_t n_before = ledger->n_rows;
        for (size_t i = 0; i < item->n_shared; i++) {
                const LedgerShared *shared = &item->shared[i];
                RowId newest = table_newest(ledger, shared->source, shared->offset);
                if (newest > n_before) {
                        return false;
                }
                if (has_its_end(ledger, main, shared)) {
                        continue;
                }
                LedgerRow row = *table_row(ledger, main);
                row.source = shared->source;
                row.offset = shared->offset;
                row.attempt = newest != 0 ? table_row(ledger, newest)->attempt + 1 : 1;
                row.request_id = table_text(ledger, shared->request_id);
                row.requested = time_of(shared->requested_us);
                row.received = shared->received_us >= 0 ? shared->received_us : t;
                row.shared_with = main;
                row.started = SIM_LEDGER_NEVER;
                row.output = 0;
                (void)table_add_row(ledger, &row);
        }
        return true;
}

/* The caller's clock said @clock_us at @t. */
static int64_t server_time(int64_t us, int64_t t, int64_t clock_us, int64_t none) {
        return us != 0 ? t - (clock_us - us) : none;
}

/* False: refused, in the middle. */
static bool finish_one(SimLedger *ledger, const LedgerFinish *item, int64_t t, int64_t clock_us,
                       LedgerResult *result) {
        *result = (LedgerResult){.id = item->id};
        if (item->id <= 0 || (uint64_t)item->id > ledger->n_rows) {
                return true;
        }
        const LedgerRow *row = table_row(ledger, (RowId)item->id);
        RowId main = row->shared_with != 0 ? row->shared_with : (RowId)item->id;
        Ending ending = {
                .state = item->state,
                .verified = item->verified,
                .started = server_time(item->started_us, t, clock_us, SIM_LEDGER_NEVER),
                .ended = server_time(item->ended_us, t, clock_us, t),
                .exit_status = item->exit_status,
                .reason = item->reason,
                .output = item->output,
        };
        result->did = settle(ledger, main, &ending, t);
        result->state = table_row(ledger, main)->state;
        return !result->did || item->state == LEDGER_STATE_ACTED ||
               add_sharers(ledger, main, item, t);
}

static bool finish_all(SimLedger *ledger, const LedgerFinish *items, size_t n, int64_t t,
                       int64_t clock_us, LedgerResult *results) {
        const char *names[LEDGER_BATCH_MAX] = {0};
        size_t order[LEDGER_BATCH_MAX];
        assert(n > 0 && n <= LEDGER_BATCH_MAX);
        for (size_t i = 0; i < n; i++) {
                bool there = items[i].id > 0 && (uint64_t)items[i].id <= ledger->n_rows;
                HostId host = there ? table_row(ledger, (RowId)items[i].id)->host : 0;
                names[i] = there ? table_text_of(ledger, ledger->hosts[host - 1].name) : "";
        }
        table_sort_by_name(names, n, order);
        for (size_t k = 0; k < n; k++) {
                if (!finish_one(ledger, &items[order[k]], t, clock_us, &results[order[k]])) {
                        return false;
                }
        }
        return true;
}

static int compare_shared(const void *a, const void *b) {
        const LedgerShared *x = *(const LedgerShared *const *)a;
        const LedgerShared *y = *(const LedgerShared *const *)b;
        if (x->source != y->source) {
                return x->source < y->source ? -1 : 1;
        }
        return x->offset < y->offset ? -1 : x->offset > y->offset;
}

/* Whether an item names a message twice. */
static bool repeats(const LedgerFinish *item) {
        bool found = false;
        if (item->n_shared < 2) {
                return false;
        }
        const LedgerShared **sorted = calloc(item->n_shared, sizeof(*sorted));
        for (size_t i = 0; i < item->n_shared; i++) {
                sorted[i] = &item->shared[i];
        }
        qsort(sorted, item->n_shared, sizeof(*sorted), compare_shared);
        for (size_t i = 1; i < item->n_shared; i++) {
                found = found || compare_shared(&sorted[i - 1], &sorted[i]) == 0;
        }
        free(sorted);
        return found;
}

LedgerEnd sim_ledger_finish(SimLedger *ledger, const LedgerFinish *items, size_t n, int64_t now_us,
                            int64_t clock_us, LedgerResult *results) {
        bool risky = false;
        for (size_t i = 0; i < n; i++) {
                risky = risky || repeats(&items[i]);
        }
        if (!risky) {
                bool whole = finish_all(ledger, items, n, now_us, clock_us, results);
                assert(whole);
                (void)whole;
                return LEDGER_END_DONE;
        }
        /* All or nothing: on a copy first. */
        SimLedger *copy = sim_ledger_copy(ledger);
        LedgerResult answers[LEDGER_BATCH_MAX];
        bool whole = finish_all(copy, items, n, now_us, clock_us, answers);
        if (whole) {
                SimLedger before = *ledger;
                *ledger = *copy;
                *copy = before;
                memcpy(results, answers, n * sizeof(*results));
        }
        sim_ledger_free(copy);
        return whole ? LEDGER_END_DONE : LEDGER_END_REFUSED;
}

LedgerEnd sim_ledger_acted(SimLedger *ledger, const LedgerActed *items, size_t n, int64_t now_us,
                           int64_t clock_us, LedgerResult *results) {
        LedgerFinish ends[LEDGER_BATCH_MAX];
        assert(n > 0 && n <= LEDGER_BATCH_MAX);
        for (size_t i = 0; i < n; i++) {
                ends[i] = (LedgerFinish){.id = items[i].id,
                                         .state = LEDGER_STATE_ACTED,
                                         .started_us = items[i].started_us,
                                         .ended_us = items[i].ended_us,
                                         .exit_status = items[i].exit_status,
                                         .output = items[i].output};
        }
        return sim_ledger_finish(ledger, ends, n, now_us, clock_us, results);
}
