#include "broker.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

void broker_init(Broker *broker, int partitions) {
        *broker = (Broker){.n_partitions = partitions,
                           .session_us = 10 * 1000000,
                           .rebalance_us = 30 * 1000000};
        for (int i = 0; i < partitions; i++) {
                broker->logs[i].committed = -1;
                broker->logs[i].incarnation = ++broker->incarnations;
        }
}

void broker_deinit(Broker *broker) {
        for (int i = 0; i < broker->n_partitions; i++) {
                free(broker->logs[i].records);
        }
}

/* --- the log ------------------------------------------------------------------------------ */

void broker_produce(Broker *broker, int partition, int64_t gap, int32_t kind, int32_t host) {
        BrokerLog *log = &broker->logs[partition];
        if (log->n == log->capacity) {
                log->capacity = log->capacity > 0 ? log->capacity * 2 : 64;
                log->records = realloc(log->records, log->capacity * sizeof(*log->records));
        }
        log->high += gap;
        log->records[log->n++] = (BrokerRecord){log->high++, kind, host};
}

const BrokerRecord *broker_fetch(const Broker *broker, int partition, int64_t offset) {
        const BrokerLog *log = &broker->logs[partition];
        size_t from = 0, to = log->n;
        while (from < to) {
                size_t middle = (from + to) / 2;
                if (log->records[middle].offset < offset) {
                        from = middle + 1;
                } else {
                        to = middle;
                }
        }
        return from < log->n ? &log->records[from] : NULL;
}

bool broker_in_range(const Broker *broker, int partition, int64_t offset) {
        const BrokerLog *log = &broker->logs[partition];
        return log->low <= offset && offset <= log->high;
}

void broker_compact(Broker *broker, int partition, size_t index) {
        BrokerLog *log = &broker->logs[partition];
        if (index < log->n) {
                memmove(&log->records[index], &log->records[index + 1],
                        (log->n - index - 1) * sizeof(*log->records));
                log->n--;
        }
}

void broker_expire(Broker *broker, int partition, int64_t low) {
        BrokerLog *log = &broker->logs[partition];
        size_t n = 0;
        while (n < log->n && log->records[n].offset < low) {
                n++;
        }
        memmove(log->records, log->records + n, (log->n - n) * sizeof(*log->records));
        log->n -= n;
        log->low = low > log->low ? low : log->low;
}

void broker_truncate(Broker *broker, int partition, int64_t high) {
        BrokerLog *log = &broker->logs[partition];
        while (log->n > 0 && log->records[log->n - 1].offset >= high) {
                log->n--;
        }
        log->high = high < log->high ? high : log->high;
}

void broker_remake(Broker *broker, int partition) {
        BrokerLog *log = &broker->logs[partition];
        log->n = 0;
        log->low = log->high = 0;
        log->committed = -1;
        log->ours = false;
        log->incarnation = ++broker->incarnations;
}

/* --- the group ---------------------------------------------------------------------------- */

static void tell(BrokerMember *member, BrokerTellType type, unsigned partitions, int64_t at) {
        assert(member->n_inbox < BROKER_INBOX);
        member->inbox[member->n_inbox++] = (BrokerTell){type, member->id, partitions, at};
}

static bool anybody(const Broker *broker) {
        for (int i = 0; i < BROKER_MEMBERS; i++) {
                if (broker->members[i].id != 0) {
                        return true;
                }
        }
        return false;
}

static void rebalance(Broker *broker, int64_t now) {
        if (broker->preparing) {
                return;
        }
        broker->preparing = true;
        broker->prepare_until_us = now + broker->rebalance_us;
        for (int i = 0; i < BROKER_MEMBERS; i++) {
                BrokerMember *member = &broker->members[i];
                if (member->id == 0) {
                        continue;
                }
                member->rejoined = broker->cooperative || member->owned == 0;
                if (!member->rejoined) {
                        tell(member, TELL_REVOKE, member->owned, now);
                }
        }
}

uint64_t broker_join(Broker *broker, int slot, int64_t now) {
        broker->members[slot] =
                (BrokerMember){.id = ++broker->ids, .generation = -1, .seen_us = now};
        rebalance(broker, now);
        broker->members[slot].rejoined = true;
        broker_tick(broker, now);
        return broker->members[slot].id;
}

void broker_leave(Broker *broker, int slot, int64_t now) {
        broker->members[slot] = (BrokerMember){0};
        if (anybody(broker)) {
                rebalance(broker, now);
        }
        broker_tick(broker, now);
}

void broker_add_partition(Broker *broker, int64_t now) {
        if (broker->n_partitions < BROKER_PARTITIONS) {
                BrokerLog *log = &broker->logs[broker->n_partitions++];
                *log = (BrokerLog){.committed = -1, .incarnation = ++broker->incarnations};
                if (anybody(broker)) {
                        rebalance(broker, now);
                        broker_tick(broker, now);
                }
        }
}

void broker_heartbeat(Broker *broker, int slot, int64_t now) {
        broker->members[slot].seen_us = now;
}

void broker_given_back(Broker *broker, int slot, unsigned partitions, int64_t now) {
        BrokerMember *member = &broker->members[slot];
        if (member->id == 0) {
                return;
        }
        member->owned &= ~partitions;
        member->giving_back &= ~partitions;
        if (broker->cooperative) {
                rebalance(broker, now);
        }
        member->rejoined = true;
        broker_tick(broker, now);
}

/* What each member should have: members in the order of their ids, partitions in theirs. */
static void plan(const Broker *broker, unsigned target[BROKER_MEMBERS]) {
        int order[BROKER_MEMBERS], n = 0;
        for (int i = 0; i < BROKER_MEMBERS; i++) {
                target[i] = 0;
                if (broker->members[i].id == 0) {
                        continue;
                }
                int at = n++;
                for (; at > 0 && broker->members[order[at - 1]].id > broker->members[i].id; at--) {
                        order[at] = order[at - 1];
                }
                order[at] = i;
        }
        for (int p = 0; n > 0 && p < broker->n_partitions; p++) {
                int each = broker->n_partitions / n, more = broker->n_partitions % n;
                int who = p % n;
                if (broker->assignor == ASSIGNOR_RANGE) {
                        who = p < more * (each + 1) ? p / (each + 1)
                                                    : more + (p - more * (each + 1)) / each;
                }
                target[order[who]] |= 1u << p;
        }
}

static void generation_begin(Broker *broker, int64_t now) {
        unsigned target[BROKER_MEMBERS], taken = 0;
        broker->preparing = false;
        broker->generation++;
        plan(broker, target);
        for (int i = 0; i < BROKER_MEMBERS; i++) {
                taken |= broker->members[i].owned;
        }
        for (int i = 0; i < BROKER_MEMBERS; i++) {
                BrokerMember *member = &broker->members[i];
                if (member->id == 0) {
                        continue;
                }
                unsigned surplus = member->owned & ~target[i] & ~member->giving_back;
                unsigned fresh = target[i] & ~taken;
                member->generation = broker->generation;
                member->seen_us = now;
                if (surplus != 0) {
                        member->giving_back |= surplus;
                        tell(member, TELL_REVOKE, surplus, now);
                }
                member->owned |= fresh;
                if (fresh != 0) {
                        tell(member, TELL_ASSIGN, fresh, now);
                }
        }
}

static void kick(BrokerMember *member, int64_t now) {
        /* It learns of it when it speaks with the coordinator again. */
        member->n_inbox = 0;
        tell(member, TELL_LOST, member->owned, now);
        member->id = 0;
        member->owned = 0;
}

void broker_tick(Broker *broker, int64_t now) {
        bool gone = false;
        for (int i = 0; i < BROKER_MEMBERS; i++) {
                BrokerMember *member = &broker->members[i];
                if (member->id != 0 && now - member->seen_us >= broker->session_us) {
                        kick(member, now);
                        gone = true;
                }
        }
        if (gone && anybody(broker)) {
                rebalance(broker, now);
        }
        if (!broker->preparing) {
                return;
        }
        bool all = true;
        for (int i = 0; i < BROKER_MEMBERS; i++) {
                BrokerMember *member = &broker->members[i];
                if (member->id != 0 && !member->rejoined) {
                        if (now >= broker->prepare_until_us) {
                                kick(member, now);
                        } else {
                                all = false;
                        }
                }
        }
        if (all) {
                if (anybody(broker)) {
                        generation_begin(broker, now);
                }
                broker->preparing = false;
        }
}

int64_t broker_deadline(const Broker *broker) {
        int64_t due = broker->preparing ? broker->prepare_until_us : INT64_MAX;
        for (int i = 0; i < BROKER_MEMBERS; i++) {
                const BrokerMember *member = &broker->members[i];
                if (member->id != 0 && member->seen_us + broker->session_us < due) {
                        due = member->seen_us + broker->session_us;
                }
        }
        return due;
}

bool broker_told(Broker *broker, int slot, uint64_t id, int64_t now, BrokerTell *out) {
        BrokerMember *member = &broker->members[slot];
        if (member->n_inbox == 0 || member->inbox[0].at_us > now || member->inbox[0].member != id) {
                return false;
        }
        *out = member->inbox[0];
        memmove(member->inbox, member->inbox + 1, --member->n_inbox * sizeof(*member->inbox));
        return true;
}

bool broker_commit(Broker *broker, int slot, uint64_t id, int64_t generation, int partition,
                   int64_t offset) {
        const BrokerMember *member = &broker->members[slot];
        if (id == 0 || member->id != id || member->generation != generation ||
            generation != broker->generation) {
                return false;
        }
        broker->logs[partition].committed = offset;
        broker->logs[partition].ours = true;
        return true;
}

void broker_reset(Broker *broker, int partition, int64_t offset) {
        broker->logs[partition].committed = offset;
        broker->logs[partition].ours = false;
}
