#include "journal.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
        PRINTED_MAX = 20, /* broken promises told one by one */
};

static void *grow(void *data, size_t *capacity, size_t n, size_t size) {
        if (n < *capacity) {
                return data;
        }
        *capacity = *capacity > 0 ? 2 * *capacity : 1024;
        data = realloc(data, *capacity * size);
        if (data == NULL) {
                perror("realloc");
                exit(1);
        }
        return data;
}

void journal_init(Journal *journal) {
        *journal = (Journal){0};
        pthread_mutex_init(&journal->mutex, NULL);
}

void journal_deinit(Journal *journal) {
        free(journal->starts);
        free(journal->holds);
        pthread_mutex_destroy(&journal->mutex);
}

size_t journal_start(Journal *journal, const JournalStart *start) {
        pthread_mutex_lock(&journal->mutex);
        size_t index = journal->n_starts++;
        journal->starts =
                grow(journal->starts, &journal->starts_capacity, index, sizeof(*journal->starts));
        journal->starts[index] = *start;
        pthread_mutex_unlock(&journal->mutex);
        return index;
}

void journal_confirm(Journal *journal, size_t index, LedgerState outcome, int64_t now_us) {
        pthread_mutex_lock(&journal->mutex);
        journal->starts[index].outcome = outcome;
        journal->starts[index].confirmed_us = now_us;
        pthread_mutex_unlock(&journal->mutex);
}

void journal_confirm_id(Journal *journal, int64_t id, LedgerState outcome, int64_t now_us) {
        pthread_mutex_lock(&journal->mutex);
        for (size_t i = 0; i < journal->n_starts; i++) {
                if (journal->starts[i].id == id) {
                        journal->starts[i].outcome = outcome;
                        journal->starts[i].confirmed_us = now_us;
                }
        }
        pthread_mutex_unlock(&journal->mutex);
}

size_t journal_hold(Journal *journal, const JournalHold *hold) {
        pthread_mutex_lock(&journal->mutex);
        size_t index = journal->n_holds++;
        journal->holds =
                grow(journal->holds, &journal->holds_capacity, index, sizeof(*journal->holds));
        journal->holds[index] = *hold;
        pthread_mutex_unlock(&journal->mutex);
        return index;
}

void journal_lift(Journal *journal, size_t index, int64_t ended_us, int64_t lifted_us) {
        pthread_mutex_lock(&journal->mutex);
        journal->holds[index].ended_us = ended_us;
        journal->holds[index].lifted_us = lifted_us;
        pthread_mutex_unlock(&journal->mutex);
}

/* --- the judge ---------------------------------------------------------------------------- */

typedef struct Judge {
        const Journal *journal;
        const JournalRules *rules;
        unsigned broken;
} Judge;

static void broken(Judge *judge, const JournalStart *start, const char *format, ...)
        __attribute__((format(printf, 3, 4)));

static void broken(Judge *judge, const JournalStart *start, const char *format, ...) {
        va_list ap;
        if (judge->broken++ >= PRINTED_MAX) {
                return;
        }
        printf("BROKEN: restart %lld of host %d: ", (long long)start->id, start->host);
        va_start(ap, format);
        vprintf(format, ap);
        va_end(ap);
        printf("\n");
}

static bool is_grouped(const Judge *judge, const JournalStart *start) {
        return start->host < judge->rules->grouped;
}

/* 1. No two starts of a host overlap, none is inside the cool-down. Starts are sorted. */
static void judge_host(Judge *judge, size_t at) {
        const JournalStart *starts = judge->journal->starts, *start = &starts[at];
        const JournalRules *rules = judge->rules;
        for (size_t i = at; i-- > 0;) {
                if (starts[i].host != start->host) {
                        continue;
                }
                if (starts[i].end_us > start->start_us) {
                        broken(judge, start, "it began %lld us before %lld ended",
                               (long long)(starts[i].end_us - start->start_us),
                               (long long)starts[i].id);
                }
                int64_t gap = start->start_us - starts[i].start_us;
                if (gap + rules->tolerance_us < rules->policy.cooldown_us) {
                        broken(judge, start, "it began %lld us after %lld", (long long)gap,
                               (long long)starts[i].id);
                }
                return;
        }
}

/* 2. At most `fleet` at a time, and of the group its number, with its quiet time. */
static void judge_together(Judge *judge, size_t at) {
        const JournalStart *starts = judge->journal->starts, *start = &starts[at];
        const JournalRules *rules = judge->rules;
        int fleet = 1, group = 1;
        for (size_t i = at; i-- > 0;) {
                bool runs = starts[i].end_us > start->start_us;
                fleet += runs;
                if (!is_grouped(judge, start) || !is_grouped(judge, &starts[i])) {
                        continue;
                }
                group += runs;
                int64_t quiet = start->start_us - starts[i].end_us;
                if (!runs && quiet + rules->tolerance_us < rules->group.quiet_us) {
                        broken(judge, start, "it began %lld us after %lld of its group ended",
                               (long long)quiet, (long long)starts[i].id);
                }
        }
        if (rules->policy.fleet > 0 && fleet > rules->policy.fleet) {
                broken(judge, start, "%d run in the fleet", fleet);
        }
        if (rules->group.concurrency > 0 && is_grouped(judge, start) &&
            group > rules->group.concurrency) {
                broken(judge, start, "%d run in its group", group);
        }
}

/* How often the fuse was lifted before its claim; -1: meanwhile, so that nobody can tell. */
static int fuse_epoch(const Judge *judge, const JournalStart *start) {
        int epoch = 0;
        for (size_t i = 0; i < judge->journal->n_holds; i++) {
                const JournalHold *hold = &judge->journal->holds[i];
                if (!hold->fuse || hold->ended_us == 0 || hold->ended_us > start->granted_us) {
                        continue;
                }
                if (hold->lifted_us > start->asked_us) {
                        return -1;
                }
                epoch++;
        }
        return epoch;
}

/* 3. Never more than the fuse in its period, unless its hold was lifted in between (a grant that
 * came again may stem from before that); and of a host never more that are done than its budget. */
static void judge_periods(Judge *judge, size_t at) {
        const JournalStart *starts = judge->journal->starts, *start = &starts[at];
        const LedgerPolicy *policy = &judge->rules->policy;
        int fuse = 0, host = 0;
        int epoch = start->renewed ? -1 : fuse_epoch(judge, start);
        for (size_t i = at + 1; i-- > 0;) {
                int64_t age = start->start_us - starts[i].start_us + judge->rules->tolerance_us;
                if (age < policy->fuse_period_us && epoch >= 0 && !starts[i].renewed) {
                        fuse += fuse_epoch(judge, &starts[i]) == epoch;
                }
                if (age < policy->host_period_us && starts[i].host == start->host) {
                        host += starts[i].outcome == LEDGER_STATE_DONE;
                }
                if (age >= policy->fuse_period_us && age >= policy->host_period_us) {
                        break;
                }
        }
        if (policy->fuse_restarts > 0 && fuse > policy->fuse_restarts) {
                broken(judge, start, "%d starts within the fuse's period", fuse);
        }
        if (policy->host_restarts > 0 && host > policy->host_restarts) {
                broken(judge, start, "%d done restarts of the host within its period", host);
        }
}

/* 4. Nothing is claimed again that is done: no message, no request id on its host; and no id is
 * used twice. */
static void judge_reason(Judge *judge, size_t at) {
        const JournalStart *starts = judge->journal->starts, *start = &starts[at];
        for (size_t i = at; i-- > 0;) {
                const JournalStart *other = &starts[i];
                if (other->id == start->id) {
                        broken(judge, start, "its grant was used twice");
                }
                if (other->outcome != LEDGER_STATE_DONE || other->confirmed_us > start->asked_us) {
                        continue;
                }
                if (other->offset == start->offset) {
                        broken(judge, start, "its message was done by %lld", (long long)other->id);
                }
                if (start->request != 0 && other->request == start->request &&
                    other->host == start->host) {
                        broken(judge, start, "its request was done by %lld", (long long)other->id);
                }
        }
}

/* 5. Nothing is granted under a hold. A claim that had been granted before it may come again. */
static void judge_holds(Judge *judge, const JournalStart *start) {
        for (size_t i = 0; i < judge->journal->n_holds && !start->renewed; i++) {
                const JournalHold *hold = &judge->journal->holds[i];
                bool on = hold->host < 0 || hold->host == start->host;
                if (on && start->asked_us > hold->began_us &&
                    (hold->ended_us == 0 || start->granted_us < hold->ended_us)) {
                        broken(judge, start, "its host is held");
                }
        }
}

static int compare_starts(const void *a, const void *b) {
        const JournalStart *one = a, *two = b;
        return one->start_us < two->start_us ? -1 : one->start_us > two->start_us;
}

unsigned journal_judge(Journal *journal, const JournalRules *rules) {
        Judge judge = {.journal = journal, .rules = rules};
        if (journal->n_starts > 0) {
                qsort(journal->starts, journal->n_starts, sizeof(*journal->starts), compare_starts);
        }
        for (size_t i = 0; i < journal->n_starts; i++) {
                judge_host(&judge, i);
                judge_together(&judge, i);
                judge_periods(&judge, i);
                judge_reason(&judge, i);
                judge_holds(&judge, &journal->starts[i]);
        }
        if (judge.broken > PRINTED_MAX) {
                printf("... and %u more\n", judge.broken - PRINTED_MAX);
        }
        return judge.broken;
}
