#include "broker.h"

#include <assert.h>
#include <stdio.h>
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

void broker_skip(Broker *broker, int partition, int64_t n) {
        broker->logs[partition].high += n;
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

BrokerAnswer broker_expire(Broker *broker, int partition, int64_t low) {
        BrokerLog *log = &broker->logs[partition];
        size_t n = 0;
        if (low > log->high) {
                return BROKER_OUT_OF_RANGE;
        }
        while (n < log->n && log->records[n].offset < low) {
                n++;
        }
        if (n > 0) {
                memmove(log->records, log->records + n, (log->n - n) * sizeof(*log->records));
                log->n -= n;
        }
        log->low = low > log->low ? low : log->low;
        return BROKER_OK;
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
        log->metadata[0] = '\0';
        log->ours = false;
        log->incarnation = ++broker->incarnations;
}

/* --- the group ---------------------------------------------------------------------------- */

static void tell(BrokerMember *member, BrokerTellType type, unsigned partitions, int64_t at) {
        assert(member->n_inbox < BROKER_INBOX);
        member->inbox[member->n_inbox++] = (BrokerTell){type, member->id, partitions, at};
}

bool broker_is_empty(const Broker *broker) {
        for (int i = 0; i < BROKER_MEMBERS; i++) {
                if (broker->members[i].id != 0) {
                        return false;
                }
        }
        return true;
}

/* It speaks with the coordinator. It joins again once it has given back what it has to, and has
 * heard what it was told. */
static void rejoin(Broker *broker, BrokerMember *member) {
        if (broker->preparing && member->n_inbox == 0 && member->giving_back == 0 &&
            (broker->cooperative || member->owned == 0)) {
                member->rejoined = true;
        }
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
                member->rejoined = false;
                if (!broker->cooperative && member->owned != 0) {
                        tell(member, TELL_REVOKE, member->owned, now);
                }
        }
}

/* Whoever has gone: a group without a member begins a generation as well. */
static void go_on(Broker *broker, int64_t now) {
        if (!broker_is_empty(broker)) {
                rebalance(broker, now);
        } else {
                broker->preparing = false;
                broker->generation++;
        }
}

/* The one that died in @slot makes room; nobody will speak for it. */
static void set_aside(Broker *broker, int slot) {
        int to = BROKER_SLOTS;
        for (int i = BROKER_SLOTS; i < BROKER_MEMBERS; i++) {
                if (broker->members[i].id == 0) {
                        to = i;
                        break;
                }
                if (broker->members[i].id < broker->members[to].id) {
                        to = i;
                }
        }
        broker->members[to] = broker->members[slot];
        broker->members[slot] = (BrokerMember){0};
}

uint64_t broker_join(Broker *broker, int slot, int64_t now) {
        if (broker->members[slot].id != 0) {
                set_aside(broker, slot);
        }
        broker->members[slot] =
                (BrokerMember){.id = ++broker->ids, .generation = -1, .seen_us = now};
        broker->founded = true;
        rebalance(broker, now);
        broker->members[slot].rejoined = true;
        broker_tick(broker, now);
        return broker->members[slot].id;
}

void broker_leave(Broker *broker, int slot, int64_t now) {
        if (broker->members[slot].id != 0) {
                broker->members[slot] = (BrokerMember){0};
                go_on(broker, now);
        }
        broker_tick(broker, now);
}

void broker_add_partition(Broker *broker, int64_t now) {
        if (broker->n_partitions < BROKER_PARTITIONS) {
                BrokerLog *log = &broker->logs[broker->n_partitions++];
                *log = (BrokerLog){.committed = -1, .incarnation = ++broker->incarnations};
                if (!broker_is_empty(broker)) {
                        rebalance(broker, now);
                        broker_tick(broker, now);
                }
        }
}

void broker_heartbeat(Broker *broker, int slot, int64_t now) {
        BrokerMember *member = &broker->members[slot];
        bool was = member->rejoined;
        member->seen_us = now;
        rejoin(broker, member);
        if (member->rejoined && !was) {
                broker_tick(broker, now);
        }
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
        rejoin(broker, member);
        broker_tick(broker, now);
}

/* --- who has what ------------------------------------------------------------------------- */

/* The members as their ids sort; how many. */
static int members_in_order(const Broker *broker, int order[BROKER_MEMBERS]) {
        int n = 0;
        for (int i = 0; i < BROKER_MEMBERS; i++) {
                uint64_t id = broker->members[i].id;
                int at = n;
                if (id == 0) {
                        continue;
                }
                for (; !broker->by_slot && at > 0 && broker->members[order[at - 1]].id > id; at--) {
                        order[at] = order[at - 1];
                }
                order[at] = i;
                n++;
        }
        return n;
}

static int count(unsigned partitions) {
        return __builtin_popcount(partitions);
}

/* The place in @order of who has the fewest (most), of equals the first (last). */
static int poorest(const unsigned target[BROKER_MEMBERS], const int *order, int n) {
        int found = 0;
        for (int i = 1; i < n; i++) {
                found = count(target[order[i]]) < count(target[order[found]]) ? i : found;
        }
        return found;
}

static int richest(const unsigned target[BROKER_MEMBERS], const int *order, int n) {
        int found = 0;
        for (int i = 1; i < n; i++) {
                found = count(target[order[i]]) >= count(target[order[found]]) ? i : found;
        }
        return found;
}

/*
 * As librdkafka's cooperative-sticky: everybody keeps what it has; what nobody has goes to the
 * poorest, the highest first (in a group that has nothing yet, the lowest); then one after the
 * other goes from the rich to the poor.
 */
static void plan_sticky(const Broker *broker, const int *order, int n,
                        unsigned target[BROKER_MEMBERS]) {
        unsigned all = (1u << broker->n_partitions) - 1, left[BROKER_MEMBERS], taken = 0;
        int movable[BROKER_PARTITIONS], n_movable = 0;
        for (int i = 0; i < n; i++) {
                left[order[i]] = target[order[i]] = broker->members[order[i]].owned & all;
                taken |= target[order[i]];
        }
        for (int i = richest(left, order, n); left[order[i]] != 0; i = richest(left, order, n)) {
                movable[n_movable++] = __builtin_ctz(left[order[i]]);
                left[order[i]] &= left[order[i]] - 1;
        }
        for (int i = 0; i < broker->n_partitions; i++) {
                int p = taken == 0 ? i : broker->n_partitions - 1 - i;
                if ((taken & 1u << p) == 0) {
                        target[order[poorest(target, order, n)]] |= 1u << p;
                }
        }
        for (int i = 0; i < n_movable; i++) {
                int to = order[poorest(target, order, n)], from = to;
                for (int k = 0; k < n; k++) {
                        from = target[order[k]] & 1u << movable[i] ? order[k] : from;
                }
                if (count(target[from]) > count(target[to]) + 1) {
                        target[from] &= ~(1u << movable[i]);
                        target[to] |= 1u << movable[i];
                }
        }
}

/* What each member should have. */
static void plan(const Broker *broker, unsigned target[BROKER_MEMBERS]) {
        int order[BROKER_MEMBERS], n = members_in_order(broker, order);
        memset(target, 0, BROKER_MEMBERS * sizeof(*target));
        if (broker->cooperative) {
                plan_sticky(broker, order, n, target);
                return;
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

/* --- generations -------------------------------------------------------------------------- */

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

/* Who waits for the others is not asked for a heartbeat. */
static int64_t session_end(const Broker *broker, const BrokerMember *member) {
        return member->id == 0 || (broker->preparing && member->rejoined)
                       ? INT64_MAX
                       : member->seen_us + broker->session_us;
}

void broker_tick(Broker *broker, int64_t now) {
        bool overdue = broker->preparing && now >= broker->prepare_until_us;
        bool gone = false, all = true;
        for (int i = 0; i < BROKER_MEMBERS; i++) {
                BrokerMember *member = &broker->members[i];
                if (now >= session_end(broker, member) ||
                    (overdue && member->id != 0 && !member->rejoined)) {
                        kick(member, now);
                        gone = true;
                }
        }
        if (gone) {
                go_on(broker, now);
        }
        for (int i = 0; i < BROKER_MEMBERS; i++) {
                all = all && (broker->members[i].id == 0 || broker->members[i].rejoined);
        }
        if (broker->preparing && all) {
                generation_begin(broker, now);
        }
}

int64_t broker_deadline(const Broker *broker) {
        int64_t due = broker->preparing ? broker->prepare_until_us : INT64_MAX;
        for (int i = 0; i < BROKER_MEMBERS; i++) {
                int64_t end = session_end(broker, &broker->members[i]);
                due = end < due ? end : due;
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

static void log_commit(BrokerLog *log, int64_t offset, const char *metadata) {
        log->committed = offset;
        snprintf(log->metadata, sizeof(log->metadata), "%s", metadata);
        log->ours = strcmp(log->metadata, "ackd") == 0;
}

BrokerAnswer broker_commit_as(Broker *broker, uint64_t id, int64_t generation, int partition,
                              int64_t offset, const char *metadata) {
        for (int i = 0; id != 0 && i < BROKER_MEMBERS; i++) {
                const BrokerMember *member = &broker->members[i];
                if (member->id != id) {
                        continue;
                }
                if (member->generation != generation || generation != broker->generation) {
                        return BROKER_ILLEGAL_GENERATION;
                }
                log_commit(&broker->logs[partition], offset, metadata);
                return BROKER_OK;
        }
        return BROKER_UNKNOWN_MEMBER;
}

bool broker_commit(Broker *broker, int slot, uint64_t id, int64_t generation, int partition,
                   int64_t offset) {
        const BrokerMember *member = &broker->members[slot];
        if (member->id == id && broker->preparing && member->rejoined) {
                return false; /* behind its JoinGroup: another generation will have begun */
        }
        return broker_commit_as(broker, id, generation, partition, offset, "ackd") == BROKER_OK;
}

BrokerAnswer broker_alter(Broker *broker, int partition, int64_t offset, const char *metadata) {
        if (!broker_is_empty(broker)) {
                return BROKER_UNKNOWN_MEMBER;
        }
        broker->founded = true;
        log_commit(&broker->logs[partition], offset, metadata);
        return BROKER_OK;
}

BrokerAnswer broker_forget(Broker *broker, int partition) {
        if (!broker_is_empty(broker)) {
                return BROKER_SUBSCRIBED;
        }
        if (!broker->founded) {
                return BROKER_NO_GROUP;
        }
        log_commit(&broker->logs[partition], -1, "");
        return BROKER_OK;
}

bool broker_reset(Broker *broker, int partition, int64_t offset) {
        return broker_alter(broker, partition, offset, "") == BROKER_OK;
}
