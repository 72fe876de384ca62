#pragma once

/*
 * What a sequence of test-ledger-twin draws: policies, messages, who asks for what, and times near
 * those that the ledger compares them with.
 */

#include "ledger-twin.h"

enum {
        HOSTS = 5,
        MESSAGES = 9,
        SOURCES = 2,
        GROUPS = 2,
        BATCH = 6, /* requests or ends in a call */
        SHARED = 4,
        RECEIPTS = 32,
};

enum {
        MS = 1000,
        SECOND = 1000 * 1000,
};

static const int64_t DAY_US = 86400 * INT64_C(1000000);

/* A message; what it asks for is settled when it is claimed first. */
typedef struct TestMessage {
        int32_t source;
        int64_t offset;
        int host;
        const char *request_id;
        bool met;
        int64_t requested, received;
} TestMessage;

typedef struct Receipt {
        int32_t source;
        int64_t offset;
        int64_t at;
} Receipt;

/* Texts outlive the sequence. */
typedef struct Call {
        enum {
                NO_CALL,
                CLAIM,
                ACTED,
                FINISH,
        } kind;
        int instance;
        size_t n;
        LedgerPolicy policy;
        LedgerRequest requests[BATCH];
        LedgerGroup groups[BATCH];
        LedgerActed acted[BATCH];
        LedgerFinish ends[BATCH];
        LedgerShared shared[BATCH][SHARED];
} Call;

static struct {
        SimLedger *ledger;
        SimLedger *kept; /* what was at an earlier moment; NULL: nothing was kept */
        LedgerPolicy policy;
        LedgerGroup groups[GROUPS];
        int group_of[HOSTS]; /* -1: none */
        TestMessage messages[MESSAGES];
        Receipt receipts[RECEIPTS];
        size_t n_receipts;
        Call last;
} own;

/* In the order of their bytes, which is not that of a dictionary. */
static const char *const host_names[HOSTS] = {"a-1", "a.1", "a1", "b1", "b2"};
static const char *const patterns[] = {"*", "a*",  "b?", "A1",  "?1",  "a.1", "a_1",
                                       "%", "a!1", "",   "*1*", "??*", "b2",  "\\*"};
static const char *const request_ids[] = {NULL, NULL, "id 1", "id '2\\", "id \xc3\xa4"};
static const char *const befores[] = {NULL, NULL, "boot 1", "boot '2'"};

#define ANY(array) ((array)[below(sizeof(array) / sizeof((array)[0]))])

/* --- times -------------------------------------------------------------------------------- */

/* 0 to @us, mostly whole seconds. */
static inline int64_t some_span(int64_t us) {
        return chance(70) ? (int64_t)below((uint64_t)us / SECOND + 1) * SECOND
                          : (int64_t)below((uint64_t)us + 1);
}

static inline int64_t beside(int64_t us) {
        return us + (int64_t)below(3) - 1;
}

/* A moment at which something ends or begins, perhaps; otherwise some moment. */
static inline int64_t some_moment_of_row(const SimLedgerRow *row) {
        const LedgerPolicy *policy = &own.policy;
        const LedgerGroup *group = &ANY(own.groups);
        int64_t end = row->ended_us != SIM_LEDGER_NEVER ? row->ended_us : row->held_until_us;
        switch (below(9)) {
        case 0:
        case 1:
                return row->held_until_us;
        case 2:
                return row->started_us + policy->cooldown_us;
        case 3:
                return row->started_us + policy->host_period_us;
        case 4:
                return row->started_us + policy->fuse_period_us;
        case 5:
                return end + group->quiet_us;
        case 6:
                return row->received_us + policy->max_wait_us;
        case 7:
                return end;
        default:
                return row->intended_us;
        }
}

static inline int64_t some_moment(void) {
        size_t n = sim_ledger_rows(own.ledger), holds = sim_ledger_holds(own.ledger);
        if (n > 0 && chance(65)) {
                SimLedgerRow row = sim_ledger_row(own.ledger, (int64_t)(n - below(n < 5 ? n : 5)));
                return some_moment_of_row(&row);
        }
        if (holds > 0 && chance(30)) {
                return sim_ledger_hold_row(own.ledger, 1 + (int64_t)below(holds)).until_us;
        }
        const TestMessage *message = &ANY(own.messages);
        return chance(70) ? message->received + own.policy.max_wait_us
                          : message->requested + own.policy.max_age_us;
}

/* --- claims ------------------------------------------------------------------------------- */

static inline int64_t some_limit_us(void) {
        static const int64_t limits[] = {0, 10 * SECOND, 20 * SECOND, 45 * SECOND, 60 * SECOND};
        return ANY(limits);
}

static inline int32_t some_count(unsigned percent, uint64_t most) {
        return chance(percent) ? 1 + (int32_t)below(most) : 0;
}

static inline void change_policy(void) {
        own.policy = (LedgerPolicy){
                .action = "exec",
                .cooldown_us = some_limit_us(),
                .max_age_us = chance(50) ? some_limit_us() : 0,
                .max_wait_us = chance(60) ? 2 * some_limit_us() : 0,
                .start_within_us = chance(80) ? LEDGER_START_WITHIN_US : SECOND,
                .hold_us = chance(80) ? 10 * SECOND : some_limit_us(),
                .host_restarts = some_count(30, 2),
                .host_period_us = 60 * SECOND + some_limit_us(),
                .fleet = some_count(40, 3),
                .fuse_restarts = some_count(35, 4),
                .fuse_period_us = 30 * SECOND + some_limit_us(),
        };
        own.groups[0] = (LedgerGroup){"a*", some_count(60, 2), some_limit_us()};
        own.groups[1] = (LedgerGroup){"*", some_count(60, 2), some_limit_us()};
}

/* Their times, near those that a claim compares them with. */
static inline void meet(TestMessage *message) {
        SimLedgerHost host;
        const LedgerPolicy *policy = &own.policy;
        bool known = sim_ledger_find_host(own.ledger, host_names[message->host], &host);
        message->met = true;
        message->received = real.now;
        if (chance(15)) {
                message->received -= some_span(20 * SECOND);
        } else if (chance(5)) {
                message->received += some_span(5 * SECOND);
        }
        message->requested = message->received - some_span(30 * SECOND);
        if (chance(10)) {
                message->requested = -1;
        } else if (chance(25)) {
                message->requested = beside(message->received - policy->max_age_us);
        } else if (known && host.covers_until_us != SIM_LEDGER_NEVER && chance(50)) {
                message->requested = beside(host.covers_until_us);
        }
        if (chance(3)) {
                message->received = (int64_t)below(2) - 1;
        }
}

static inline int32_t some_attempt(const TestMessage *message, int *instance) {
        int32_t attempts = sim_ledger_attempts(own.ledger, message->source, message->offset);
        *instance = (int)below(INSTANCES);
        for (int64_t id = (int64_t)sim_ledger_rows(own.ledger); id > 0; id--) {
                SimLedgerRow row = sim_ledger_row(own.ledger, id);
                if (row.source != message->source || row.offset != message->offset) {
                        continue;
                }
                if (chance(75)) {
                        *instance = row.instance;
                }
                bool over = row.state != LEDGER_STATE_INTENDED && row.state != LEDGER_STATE_ACTED;
                if (over && chance(80)) {
                        return attempts + 1;
                }
                break;
        }
        if (chance(8)) {
                return 1 + (int32_t)below((uint64_t)attempts + 2);
        }
        return attempts > 0 ? attempts : 1;
}

static inline void add_request(Call *call, TestMessage *message, int *instance) {
        size_t i = call->n++;
        LedgerRequest *request = &call->requests[i];
        int group = own.group_of[message->host];
        if (!message->met) {
                meet(message);
        }
        *request = (LedgerRequest){
                .source = message->source,
                .offset = message->offset,
                .attempt = some_attempt(message, instance),
                .host = host_names[message->host],
                .request_id = message->request_id,
                .requested_us = message->requested,
                .received_us = chance(90) ? message->received : real.now,
                .redelivered = chance(35),
                .before = ANY(befores),
        };
        if (chance(3)) {
                static const char *const words[] = {"not_selected", "not_needed", "odd"};
                request->suppress = ANY(words);
        }
        if (chance(15)) { /* a replay */
                request->first_us = chance(80) ? beside(message->requested + own.policy.max_age_us)
                                               : message->received - some_span(60 * SECOND);
        }
        if (chance(2)) {
                request->host = ANY(host_names); /* as no message does */
        }
        if (group >= 0) {
                call->groups[i] = own.groups[group];
                request->group = &call->groups[i];
        }
}

/* --- ends --------------------------------------------------------------------------------- */

/* Mostly one that is open, or was a moment ago. */
static inline int64_t some_id(void) {
        size_t n = sim_ledger_rows(own.ledger);
        if (n == 0 || chance(2)) {
                return chance(20) ? 0 : (int64_t)n + 1 + (int64_t)below(3);
        }
        for (int i = 0; i < 4; i++) {
                SimLedgerRow row = sim_ledger_row(own.ledger, 1 + (int64_t)below(n));
                if (row.state == LEDGER_STATE_INTENDED || row.state == LEDGER_STATE_ACTED ||
                    row.state == LEDGER_STATE_UNKNOWN) {
                        return row.id;
                }
        }
        return 1 + (int64_t)below(n);
}

/* A moment of CLOCK_BOOTTIME, or 0; about a row's. */
static inline int64_t some_clock(int64_t id) {
        if (id == 0 || (uint64_t)id > sim_ledger_rows(own.ledger) || chance(35)) {
                return 0;
        }
        SimLedgerRow row = sim_ledger_row(own.ledger, id);
        int64_t at = real.now - some_span(10 * SECOND);
        if (row.intended_us != SIM_LEDGER_NEVER && chance(50)) {
                at = beside(row.intended_us) + (chance(50) ? some_span(5 * SECOND) : 0);
        } else if (chance(10)) {
                at = real.now + some_span(3 * SECOND);
        } else if (chance(50)) { /* when another one started or ended */
                row = sim_ledger_row(own.ledger, 1 + (int64_t)below(sim_ledger_rows(own.ledger)));
                at = chance(70) ? row.started_us : row.ended_us;
                at = at != SIM_LEDGER_NEVER ? beside(at) : real.now;
        }
        return real.clock - (real.now - at);
}

static inline int32_t some_status(void) {
        return chance(50) ? LEDGER_NO_STATUS : (int32_t)below(256);
}

static const char *const outputs[] = {NULL, NULL, "said", "said 'more'\\"};
static const char *const reasons[] = {NULL, NULL, "timeout", "shutdown"};

/* Messages of the same host, mostly; hardly ever one twice. */
static inline void add_shared(LedgerFinish *item, LedgerShared *shared) {
        bool used[MESSAGES] = {false};
        const char *host = item->id != 0 && (uint64_t)item->id <= sim_ledger_rows(own.ledger)
                                   ? sim_ledger_row(own.ledger, item->id).host
                                   : "";
        item->shared = shared;
        for (int i = 0; i < 8 && item->n_shared < SHARED; i++) {
                size_t m = below(MESSAGES);
                TestMessage *message = &own.messages[m];
                bool fits = strcmp(host_names[message->host], host) == 0 || chance(4);
                if (!fits || (used[m] && !chance(15))) {
                        continue;
                }
                if (!message->met) {
                        meet(message);
                }
                used[m] = true;
                shared[item->n_shared++] = (LedgerShared){.source = message->source,
                                                          .offset = message->offset,
                                                          .request_id = message->request_id,
                                                          .requested_us = message->requested,
                                                          .received_us = message->received};
        }
}

static inline LedgerState some_end(void) {
        static const LedgerState states[] = {LEDGER_STATE_DONE,        LEDGER_STATE_DONE,
                                             LEDGER_STATE_DONE,        LEDGER_STATE_FAILED,
                                             LEDGER_STATE_NOT_STARTED, LEDGER_STATE_UNKNOWN,
                                             LEDGER_STATE_UNKNOWN};
        return ANY(states);
}

/* --- holds, messages ---------------------------------------------------------------------- */

static inline int64_t some_until(void) {
        if (chance(30)) {
                return SIM_LEDGER_NEVER;
        }
        return real.now + some_span(chance(60) ? 7 * SECOND : 30 * SECOND);
}

/* Few hosts, so that messages meet on them. */
static inline void make_messages(void) {
        int n_hosts = 1 + (int)below(HOSTS);
        for (int i = 0; i < HOSTS; i++) {
                own.group_of[i] = (int)below(GROUPS + 1) - 1;
        }
        for (size_t i = 0; i < MESSAGES; i++) {
                own.messages[i] = (TestMessage){
                        .source = 1 + (int32_t)(i % SOURCES),
                        .offset = (int64_t)(i / SOURCES),
                        .host = (int)below((uint64_t)n_hosts),
                        .request_id = ANY(request_ids),
                };
        }
}
