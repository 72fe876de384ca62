/*
 * The simulated broker does what a real one did: the operations of the recorded traces (trace.h,
 * record-broker), and every answer compared.
 */

#include <dirent.h>
#include <inttypes.h>
#include <limits.h>
#include <stdarg.h>

#include "broker.h"
#include "trace.h"

enum {
        STEP_US = 1000,
        NAMES = 16,
        LATE = 8,
        ANSWER = 8192,
};

typedef struct Member {
        uint64_t id; /* 0: none (any more) */
        bool dead, cut;
        bool hold, held;
        BrokerTell keeps; /* HELD: what it is to give back */
        unsigned owned;
        char told[1024];
        size_t told_assign;       /* where its newest line begins */
        unsigned told_partitions; /* of it, if it is an assignment */
        TraceOp waits[LATE];      /* commits behind its JoinGroup */
        size_t n_waits;
        int64_t waits_of; /* generation */
} Member;

typedef struct Identity {
        char name[32];
        uint64_t id;
        int64_t generation;
} Identity;

static Broker broker;
static Member members[TRACE_MEMBERS];
static Identity identities[NAMES];
static size_t n_identities;
static int64_t now;
static char answer[ANSWER];

static void say(const char *format, ...) __attribute__((format(printf, 1, 2)));
static void say(const char *format, ...) {
        size_t size = strlen(answer);
        va_list ap;
        va_start(ap, format);
        vsnprintf(answer + size, sizeof(answer) - size, format, ap);
        va_end(ap);
}

static const char *answer_name(BrokerAnswer given) {
        switch (given) {
        case BROKER_OK:
                return "ok";
        case BROKER_UNKNOWN_MEMBER:
                return "UNKNOWN_MEMBER_ID";
        case BROKER_ILLEGAL_GENERATION:
                return "ILLEGAL_GENERATION";
        case BROKER_NO_GROUP:
                return "GROUP_ID_NOT_FOUND";
        case BROKER_SUBSCRIBED:
                return "GROUP_SUBSCRIBED_TO_TOPIC";
        case BROKER_OUT_OF_RANGE:
                return "OFFSET_OUT_OF_RANGE";
        }
        return "?";
}

/* --- members ------------------------------------------------------------------------------ */

/* As record-broker does. */
static void write_down(int slot, const char *what, unsigned partitions) {
        Member *member = &members[slot];
        char list[64];
        size_t size = strlen(member->told);
        bool assign = strcmp(what, "assign") == 0;
        if (partitions == 0) {
                return;
        }
        if (assign && member->told_partitions != 0) {
                size = member->told_assign;
                partitions |= member->told_partitions;
        }
        snprintf(member->told + size, sizeof(member->told) - size, "  %c %s %s\n", 'a' + slot, what,
                 trace_list(list, partitions));
        member->told_assign = size;
        member->told_partitions = assign ? partitions : 0;
}

static void join(int slot) {
        members[slot].id = broker_join(&broker, slot, now);
}

static void give_back(int slot) {
        Member *member = &members[slot];
        member->held = false;
        member->owned &= ~member->keeps.partitions;
        if (member->keeps.type == TELL_LOST) {
                member->id = 0;
                if (!member->cut) {
                        join(slot);
                }
        } else if (broker.members[slot].id == member->id) {
                broker_given_back(&broker, slot, member->keeps.partitions, now);
        }
}

/* True: it was told something. */
static bool hear(int slot) {
        Member *member = &members[slot];
        BrokerTell tell;
        if (member->id == 0 || member->dead || member->held ||
            !broker_told(&broker, slot, member->id, now, &tell)) {
                return false;
        }
        if (tell.type == TELL_ASSIGN) {
                member->owned |= tell.partitions;
                write_down(slot, "assign", tell.partitions);
                return true;
        }
        if (tell.type == TELL_LOST) {
                tell.partitions = member->owned;
        }
        write_down(slot, tell.type == TELL_LOST ? "lost" : "revoke", tell.partitions);
        member->keeps = tell;
        member->held = member->hold;
        if (!member->held) {
                give_back(slot);
        }
        return true;
}

/* Everybody speaks with the coordinator until there is nothing more to say. */
static void talk(void) {
        for (bool heard = true; heard;) {
                heard = false;
                now += STEP_US;
                for (int i = 0; i < TRACE_MEMBERS; i++) {
                        const Member *member = &members[i];
                        if (member->id != 0 && !member->dead && !member->cut &&
                            broker.members[i].id == member->id) {
                                broker_heartbeat(&broker, i, now);
                        }
                }
                broker_tick(&broker, now);
                for (int i = 0; i < TRACE_MEMBERS; i++) {
                        heard = hear(i) || heard;
                }
        }
}

static void expire(int slot) {
        Member *member = &members[slot];
        talk();
        while (member->id != 0 && broker.members[slot].id == member->id) {
                int64_t due = broker_deadline(&broker);
                if (due == INT64_MAX) {
                        return; /* never: the next answer will show it */
                }
                now = due > now + STEP_US ? due - STEP_US : now;
                talk();
        }
        if (member->dead) {
                *member = (Member){0};
        }
}

/* --- offsets ------------------------------------------------------------------------------ */

static void commit(const TraceOp *op, uint64_t id, int64_t generation) {
        for (size_t i = 2; i < op->n; i++) {
                TracePlace place = trace_place(op->words[i]);
                say("  %d %s\n", place.partition,
                    answer_name(broker_commit_as(&broker, id, generation, place.partition,
                                                 place.offset, place.metadata)));
        }
}

/* librdkafka sorts what it commits. */
static void sort_places(TraceOp *op) {
        for (size_t i = 3; i < op->n; i++) {
                for (size_t k = i; k > 2 && atoi(op->words[k - 1]) > atoi(op->words[k]); k--) {
                        char *word = op->words[k];
                        op->words[k] = op->words[k - 1];
                        op->words[k - 1] = word;
                }
        }
}

static void commit_now(TraceOp *op, int slot) {
        Member *member = &members[slot];
        const BrokerMember *known = &broker.members[slot];
        sort_places(op);
        if (known->id != member->id || !broker.preparing || !known->rejoined) {
                commit(op, member->id, known->generation);
                return;
        }
        trace_split(&member->waits[member->n_waits % LATE], op->line);
        sort_places(&member->waits[member->n_waits++ % LATE]);
        member->waits_of = known->generation;
        say("  waits\n");
}

/* The generation that it waited for has begun. */
static void answer_late(int slot) {
        Member *member = &members[slot];
        if (member->n_waits == 0 || broker.preparing) {
                return;
        }
        for (size_t i = 0; i < member->n_waits; i++) {
                for (size_t k = 2; k < member->waits[i].n; k++) {
                        TracePlace place = trace_place(member->waits[i].words[k]);
                        say("  %c committed %d %s\n", 'a' + slot, place.partition,
                            answer_name(broker_commit_as(&broker, member->id, member->waits_of,
                                                         place.partition, place.offset,
                                                         place.metadata)));
                }
        }
        member->n_waits = 0;
        /* librdkafka takes that for the loss of everything. In an eager group it is given the same
         * again, without a rebalance. */
        if (broker.cooperative) {
                broker_given_back(&broker, slot, member->owned, now);
                member->owned = 0;
                talk();
        }
}

static void late(const TraceOp *op) {
        for (size_t i = 0; i < n_identities; i++) {
                if (strcmp(identities[i].name, op->words[1]) == 0) {
                        commit(op, identities[i].id, identities[i].generation);
                }
        }
}

static void remember(const TraceOp *op, int slot) {
        Identity *identity = &identities[n_identities++ % NAMES];
        snprintf(identity->name, sizeof(identity->name), "%s", op->words[2]);
        identity->id = members[slot].id;
        identity->generation = broker.members[slot].generation;
        say("  generation %" PRId64 "\n", identity->generation);
}

static void committed(void) {
        for (int i = 0; i < broker.n_partitions; i++) {
                const BrokerLog *log = &broker.logs[i];
                if (log->committed >= 0) {
                        say("  %d %" PRId64 " %s\n", i, log->committed,
                            log->metadata[0] != '\0' ? log->metadata : "-");
                }
        }
}

static void tool(const TraceOp *op, bool forget) {
        for (size_t i = 1; i < op->n; i++) {
                TracePlace place = trace_place(op->words[i]);
                say("  %d %s\n", place.partition,
                    answer_name(forget ? broker_forget(&broker, place.partition)
                                       : broker_alter(&broker, place.partition, place.offset,
                                                      place.metadata)));
        }
}

/* --- the log ------------------------------------------------------------------------------ */

static void produce(const TraceOp *op) {
        int partition = (int)trace_number(op, 1);
        int64_t n = trace_number(op, 2);
        for (int64_t i = 0; i < n && !trace_is(op, "abort"); i++) {
                broker_produce(&broker, partition, 0, 0, 0);
        }
        /* The marker, and what was aborted. */
        if (!trace_is(op, "produce")) {
                broker_skip(&broker, partition, 1 + (trace_is(op, "abort") ? n : 0));
        }
}

static void delete_records(const TraceOp *op) {
        for (size_t i = 1; i < op->n; i++) {
                TracePlace place = trace_place(op->words[i]);
                const BrokerLog *log = &broker.logs[place.partition];
                int64_t low = place.offset < 0 ? log->high : place.offset;
                BrokerAnswer given = broker_expire(&broker, place.partition, low);
                if (given == BROKER_OK) {
                        say("  %d %" PRId64 "\n", place.partition, log->low);
                } else {
                        say("  %d %s\n", place.partition, answer_name(given));
                }
        }
}

static void read_all(int partition) {
        const char *separator = "  ";
        int64_t at = broker.logs[partition].low;
        for (const BrokerRecord *record; (record = broker_fetch(&broker, partition, at)) != NULL;
             at = record->offset + 1) {
                say("%s%" PRId64, separator, record->offset);
                separator = ",";
        }
        say("%s\n", separator[0] == ' ' ? "  -" : "");
}

/* --- operations --------------------------------------------------------------------------- */

static void begin(const TraceOp *op) {
        broker_init(&broker, (int)trace_number(op, 2));
        broker.cooperative = strcmp(op->words[1], "cooperative-sticky") == 0;
        broker.assignor =
                strcmp(op->words[1], "roundrobin") == 0 ? ASSIGNOR_ROUNDROBIN : ASSIGNOR_RANGE;
        broker.by_slot = true;
        broker.session_us = trace_option(op, "session", 6000) * 1000;
        broker.rebalance_us = trace_option(op, "poll", 120000) * 1000;
        memset(members, 0, sizeof(members));
        n_identities = 0;
        now = 0;
}

/* False: there is no such operation. */
static bool run_member(TraceOp *op) {
        int slot = trace_member(op, 1);
        if (slot < 0) {
                return false;
        }
        Member *member = &members[slot];
        if (trace_is(op, "join")) {
                *member = (Member){0};
                join(slot);
        } else if (trace_is(op, "leave")) {
                broker_leave(&broker, slot, now);
                *member = (Member){0};
        } else if (trace_is(op, "kill")) {
                member->dead = true;
        } else if (trace_is(op, "cut")) {
                member->cut = true;
        } else if (trace_is(op, "heal")) {
                member->cut = false;
                if (member->id == 0) {
                        join(slot);
                }
        } else if (trace_is(op, "expire")) {
                expire(slot);
        } else if (trace_is(op, "hold")) {
                member->hold = true;
        } else if (trace_is(op, "give-back")) {
                member->hold = false;
                if (member->held) {
                        give_back(slot);
                }
        } else if (trace_is(op, "remember")) {
                remember(op, slot);
        } else if (trace_is(op, "commit")) {
                commit_now(op, slot);
        } else {
                return false;
        }
        return true;
}

static void settle(bool owned) {
        talk();
        for (int i = 0; i < TRACE_MEMBERS; i++) {
                answer_late(i);
        }
        for (int i = 0; i < TRACE_MEMBERS; i++) {
                Member *member = &members[i];
                char list[64];
                if (!owned) {
                        say("%s", member->told);
                } else if (member->id != 0 && !member->dead && !member->cut) {
                        say("  %c has %s\n", 'a' + i, trace_list(list, member->owned));
                }
                member->told[0] = '\0';
                member->told_partitions = 0;
        }
}

static bool run(TraceOp *op) {
        if (trace_is(op, "group")) {
                begin(op);
        } else if (trace_is(op, "settle")) {
                settle(op->n > 1);
        } else if (trace_is(op, "late")) {
                late(op);
        } else if (trace_is(op, "committed")) {
                committed();
        } else if (trace_is(op, "alter") || trace_is(op, "forget")) {
                tool(op, trace_is(op, "forget"));
        } else if (trace_is(op, "produce") || trace_is(op, "abort") || trace_is(op, "txn")) {
                produce(op);
        } else if (trace_is(op, "delete-records")) {
                delete_records(op);
        } else if (trace_is(op, "ends")) {
                for (int i = 0; i < broker.n_partitions; i++) {
                        say("  %d %" PRId64 " %" PRId64 "\n", i, broker.logs[i].low,
                            broker.logs[i].high);
                }
        } else if (trace_is(op, "read")) {
                read_all((int)trace_number(op, 1));
        } else if (trace_is(op, "grow")) {
                while (broker.n_partitions < trace_number(op, 1)) {
                        broker_add_partition(&broker, now);
                }
        } else if (trace_is(op, "remake")) {
                for (int i = 0; i < broker.n_partitions; i++) {
                        broker_remake(&broker, i);
                }
        } else {
                return run_member(op);
        }
        return true;
}

/* --- traces ------------------------------------------------------------------------------- */

/* The differences. */
static size_t replay(const char *path) {
        char line[TRACE_LINE], real[ANSWER];
        size_t differences = 0, answers = 0;
        FILE *file = fopen(path, "r");
        bool more = file != NULL && fgets(line, sizeof(line), file) != NULL;
        if (!more) {
                fprintf(stderr, "%s: cannot be read\n", path);
                return 1;
        }
        for (int number = 1; more;) {
                TraceOp op;
                int at = number++;
                trace_split(&op, line);
                more = fgets(line, sizeof(line), file) != NULL;
                if (op.n == 0 || op.text[0] == '#') {
                        continue;
                }
                real[0] = answer[0] = '\0';
                for (; more && line[0] == ' '; number++) {
                        size_t size = strlen(real);
                        snprintf(real + size, sizeof(real) - size, "%s", line);
                        more = fgets(line, sizeof(line), file) != NULL;
                        answers++;
                }
                if (!run(&op)) {
                        fprintf(stderr, "%s:%d: %s is no operation\n", path, at, op.words[0]);
                        differences++;
                } else if (strcmp(real, answer) != 0) {
                        fprintf(stderr, "%s:%d: %s\n a real broker:\n%s the simulated one:\n%s",
                                path, at, op.words[0], real, answer);
                        differences++;
                }
        }
        fclose(file);
        broker_deinit(&broker);
        broker = (Broker){0};
        printf("%-40s %4zu answers, %zu differences\n", strrchr(path, '/') + 1, answers,
               differences);
        return differences;
}

static int is_trace(const struct dirent *entry) {
        size_t size = strlen(entry->d_name);
        return size > 6 && strcmp(entry->d_name + size - 6, ".trace") == 0;
}

int main(int argc, char **argv) {
        struct dirent **entries;
        char path[PATH_MAX];
        size_t differences = 0;
        int n = argc == 2 ? scandir(argv[1], &entries, is_trace, alphasort) : -1;
        if (n <= 0) {
                fputs("usage: test-broker-twin FOLDER-OF-TRACES\n", stderr);
                return 64;
        }
        for (int i = 0; i < n; i++) {
                snprintf(path, sizeof(path), "%s/%s", argv[1], entries[i]->d_name);
                differences += replay(path);
                free(entries[i]);
        }
        free(entries);
        return differences > 0;
}
