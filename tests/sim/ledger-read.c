/* What an operator does to a simulated ledger, and what a judge reads of it. */

#include "ledger.h"

#include <assert.h>

#include "ledger-table.h"

int64_t sim_ledger_hold(SimLedger *ledger, const char *pattern, int64_t now_us, int64_t until_us) {
        LedgerHold hold = {.pattern = table_text(ledger, pattern),
                           .since = now_us,
                           .until = until_us,
                           .lifted = SIM_LEDGER_NEVER};
        table_add_hold(ledger, &hold);
        return (int64_t)ledger->n_holds;
}

static LedgerHold *find_hold(const SimLedger *ledger, int64_t id) {
        assert(id > 0 && (uint64_t)id <= ledger->n_holds);
        return &ledger->holds[id - 1];
}

void sim_ledger_hold_until(SimLedger *ledger, int64_t id, int64_t until_us) {
        find_hold(ledger, id)->until = until_us;
}

void sim_ledger_unhold(SimLedger *ledger, int64_t id, int64_t now_us) {
        LedgerHold *hold = find_hold(ledger, id);
        if (hold->lifted == SIM_LEDGER_NEVER) {
                hold->lifted = now_us;
        }
}

int64_t sim_ledger_claimed(const SimLedger *ledger, int32_t source) {
        int64_t end = 0;
        for (size_t id = 1; id <= ledger->n_rows; id++) {
                const LedgerRow *row = table_row(ledger, (RowId)id);
                if (row->source == source && row->offset >= end) {
                        end = row->offset + 1;
                }
        }
        return end;
}

size_t sim_ledger_rows(const SimLedger *ledger) {
        return ledger->n_rows;
}

SimLedgerRow sim_ledger_row(const SimLedger *ledger, int64_t id) {
        assert(id > 0 && (uint64_t)id <= ledger->n_rows);
        const LedgerRow *row = table_row(ledger, (RowId)id);
        TextId group = row->group != 0 ? ledger->groups[row->group - 1].name : 0;
        return (SimLedgerRow){
                .id = id,
                .source = row->source,
                .offset = row->offset,
                .attempt = row->attempt,
                .host = table_text_of(ledger, ledger->hosts[row->host - 1].name),
                .group = table_text_of(ledger, group),
                .request_id = table_text_of(ledger, row->request_id),
                .requested_us = row->requested,
                .received_us = row->received,
                .state = row->state,
                .reason = table_text_of(ledger, row->reason),
                .shared_with = row->shared_with,
                .instance = row->instance,
                .before = table_text_of(ledger, row->before),
                .intended_us = row->intended,
                .held_until_us = row->held,
                .started_us = row->started,
                .acted_us = row->acted,
                .ended_us = row->ended,
                .exit_status = row->exit_status,
                .output = table_text_of(ledger, row->output),
        };
}

size_t sim_ledger_hosts(const SimLedger *ledger) {
        return ledger->n_hosts;
}

SimLedgerHost sim_ledger_host(const SimLedger *ledger, size_t i) {
        assert(i < ledger->n_hosts);
        const LedgerHost *host = &ledger->hosts[i];
        return (SimLedgerHost){
                .host = table_text_of(ledger, host->name),
                .open_id = host->open,
                .held_until_us = host->held,
                .last_id = host->last,
                .last_start_us = host->last_start,
                .done_id = host->done,
                .done_start_us = host->done_start,
                .covers_until_us = host->covers,
        };
}

bool sim_ledger_find_host(const SimLedger *ledger, const char *name, SimLedgerHost *host) {
        HostId id = table_find_host(ledger, name);
        if (id != 0) {
                *host = sim_ledger_host(ledger, id - 1);
        }
        return id != 0;
}

size_t sim_ledger_holds(const SimLedger *ledger) {
        return ledger->n_holds;
}

SimLedgerHold sim_ledger_hold_row(const SimLedger *ledger, int64_t id) {
        const LedgerHold *hold = find_hold(ledger, id);
        return (SimLedgerHold){
                .id = id,
                .pattern = table_text_of(ledger, hold->pattern),
                .fuse = hold->fuse,
                .since_us = hold->since,
                .until_us = hold->until,
                .lifted_us = hold->lifted,
        };
}

int32_t sim_ledger_attempts(const SimLedger *ledger, int32_t source, int64_t offset) {
        RowId newest = table_newest(ledger, source, offset);
        return newest != 0 ? table_row(ledger, newest)->attempt : 0;
}
