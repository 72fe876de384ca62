/*
 * Does the operations of a trace (trace.h) with a real broker and writes what it answers; with a
 * seed, operations that it thinks up. Every member is a consumer of its own in this process.
 *
 * Nothing here waits for a time: each operation is done when the coordinator, asked again and
 * again, says that it is.
 */

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <librdkafka/rdkafka.h>
#include <netdb.h>
#include <pthread.h>
#include <stdarg.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "trace.h"

enum {
        WAIT_MS = 30000,
        ASK_MS = 10000,
        POLL_MS = 20,
        SOCKETS = 32,
        NAMES = 16,
        RANDOM_OPS = 40,
};

typedef struct Member {
        char name;
        rd_kafka_t *rk; /* NULL: not a member */
        rd_kafka_queue_t *queue;
        bool dead;    /* killed: it still has its place at the coordinator */
        bool expired; /* cut off, and given up */
        char id[128];
        bool hold, held; /* will keep, keeps what it is to give back */
        unsigned held_partitions, owned;
        char told[2048];
        size_t told_assign;       /* where its newest line begins */
        unsigned told_partitions; /* of it, if it is an assignment */
        bool is_joining;          /* its JoinGroup is not answered yet */
        int64_t heard_ms;         /* when that was said */
        bool waits;               /* it was so when the group was at rest */
        rd_kafka_queue_t *commits;
        size_t n_commits; /* sent, and not answered */
        char answered[512];
        pthread_mutex_t lock; /* what follows is librdkafka's threads' too */
        bool cut;
        int sockets[SOCKETS];
        size_t n_sockets;
} Member;

/* As whom a member spoke. */
typedef struct Identity {
        char name[32];
        char id[128];
        int32_t generation;
} Identity;

typedef struct Described {
        rd_kafka_consumer_group_state_t state;
        size_t n;
        struct {
                char client, id[128];
                unsigned partitions;
        } members[2 * TRACE_MEMBERS];
} Described;

static const char *servers;
static char topic[64], group[64], assignor[64];
static int n_partitions;
static int64_t session_ms, poll_ms, refresh_ms;
static rd_kafka_t *admin, *producer, *transactions;
static Member members[TRACE_MEMBERS];
static Identity identities[NAMES];
static size_t n_identities;

static void die(const char *format, ...) __attribute__((format(printf, 1, 2), noreturn));
static void die(const char *format, ...) {
        va_list ap;
        va_start(ap, format);
        fputs("record-broker: ", stderr);
        vfprintf(stderr, format, ap);
        fputc('\n', stderr);
        va_end(ap);
        _exit(1);
}

static void check(rd_kafka_resp_err_t error, const char *what) {
        if (error) {
                die("%s: %s", what, rd_kafka_err2str(error));
        }
}

static void check_error(rd_kafka_error_t *error, const char *what) {
        if (error != NULL) {
                die("%s: %s", what, rd_kafka_error_string(error));
        }
}

static int64_t now_ms(void) {
        struct timespec t;
        clock_gettime(CLOCK_MONOTONIC, &t);
        return t.tv_sec * INT64_C(1000) + t.tv_nsec / 1000000;
}

static const char *error_name(rd_kafka_resp_err_t error) {
        return error == 0 ? "ok" : rd_kafka_err2name(error);
}

static Member *member_of(const TraceOp *op) {
        int i = trace_member(op, 1);
        if (i < 0) {
                die("%s: who?", op->words[0]);
        }
        return &members[i];
}

/* --- handles ------------------------------------------------------------------------------ */

static void set(rd_kafka_conf_t *conf, const char *name, const char *value) {
        char error[512];
        if (rd_kafka_conf_set(conf, name, value, error, sizeof(error)) != RD_KAFKA_CONF_OK) {
                die("%s", error);
        }
}

static void set_int(rd_kafka_conf_t *conf, const char *name, int64_t value) {
        char text[32];
        snprintf(text, sizeof(text), "%" PRId64, value);
        set(conf, name, text);
}

static rd_kafka_conf_t *conf_new(void) {
        rd_kafka_conf_t *conf = rd_kafka_conf_new();
        set(conf, "bootstrap.servers", servers);
        set(conf, "log_level", "0");
        set(conf, "reconnect.backoff.ms", "50");
        set(conf, "reconnect.backoff.max.ms", "100");
        return conf;
}

static rd_kafka_t *handle(rd_kafka_type_t type, rd_kafka_conf_t *conf) {
        char error[512];
        rd_kafka_t *rk = rd_kafka_new(type, conf, error, sizeof(error));
        if (rk == NULL) {
                die("%s", error);
        }
        return rk;
}

/* A member is cut off by its sockets: those it has are shut down, and it gets no others. */
static int on_socket(int domain, int type, int protocol, void *opaque) {
        Member *member = opaque;
        int fd = socket(domain, type | SOCK_CLOEXEC, protocol);
        pthread_mutex_lock(&member->lock);
        if (fd >= 0 && member->n_sockets < SOCKETS) {
                member->sockets[member->n_sockets++] = fd;
        }
        pthread_mutex_unlock(&member->lock);
        return fd;
}

static int on_connect(int fd, const struct sockaddr *address, int size, const char *id,
                      void *opaque) {
        Member *member = opaque;
        int r = ECONNREFUSED;
        (void)id;
        pthread_mutex_lock(&member->lock);
        if (!member->cut) {
                r = connect(fd, address, (socklen_t)size) < 0 && errno != EINPROGRESS ? errno : 0;
        }
        pthread_mutex_unlock(&member->lock);
        return r;
}

static int on_close(int fd, void *opaque) {
        Member *member = opaque;
        pthread_mutex_lock(&member->lock);
        for (size_t i = 0; i < member->n_sockets; i++) {
                if (member->sockets[i] == fd) {
                        member->sockets[i] = member->sockets[--member->n_sockets];
                        break;
                }
        }
        int r = close(fd);
        pthread_mutex_unlock(&member->lock);
        return r;
}

static void member_cut(Member *member) {
        pthread_mutex_lock(&member->lock);
        member->cut = true;
        for (size_t i = 0; i < member->n_sockets; i++) {
                shutdown(member->sockets[i], SHUT_RDWR);
        }
        pthread_mutex_unlock(&member->lock);
}

/* Its id and its generation, as it would say them in a commit. */
static int32_t member_identity(const Member *member, char id[128]) {
        rd_kafka_consumer_group_metadata_t *metadata = rd_kafka_consumer_group_metadata(member->rk);
        static const char magic[] = "CGMDv2:";
        const char *data;
        void *buffer;
        size_t size;
        int32_t generation;

        check_error(rd_kafka_consumer_group_metadata_write(metadata, &buffer, &size), "identity");
        data = buffer;
        if (size < sizeof(magic) - 1 + 4 || memcmp(data, magic, sizeof(magic) - 1) != 0) {
                die("librdkafka writes a group's metadata in another way now");
        }
        memcpy(&generation, data + sizeof(magic) - 1, sizeof(generation));
        data += sizeof(magic) - 1 + sizeof(generation);
        data += strlen(data) + 1;
        snprintf(id, 128, "%s", data);
        rd_kafka_mem_free(NULL, buffer);
        rd_kafka_consumer_group_metadata_destroy(metadata);
        return generation;
}

/* --- what a member is told ---------------------------------------------------------------- */

static unsigned bits(const rd_kafka_topic_partition_list_t *list) {
        unsigned partitions = 0;
        for (int i = 0; list != NULL && i < list->cnt; i++) {
                partitions |= 1u << list->elems[i].partition;
        }
        return partitions;
}

static rd_kafka_topic_partition_list_t *list_of(unsigned partitions) {
        rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(8);
        for (int i = 0; i < 32; i++) {
                if (partitions & 1u << i) {
                        rd_kafka_topic_partition_list_add(list, topic, i)->offset = 0;
                }
        }
        return list;
}

static void write_results(FILE *out, const rd_kafka_topic_partition_list_t *list,
                          rd_kafka_resp_err_t all) {
        for (int i = 0; i < list->cnt; i++) {
                rd_kafka_resp_err_t err = list->elems[i].err ? list->elems[i].err : all;
                fprintf(out, "  %d %s\n", list->elems[i].partition, error_name(err));
        }
}

static bool is_cooperative(void) {
        return strcmp(assignor, "cooperative-sticky") == 0;
}

/* Two assignments with nothing between them are written as one: whether they are is luck. */
static void write_down(Member *member, const char *what, unsigned partitions) {
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
        snprintf(member->told + size, sizeof(member->told) - size, "  %c %s %s\n", member->name,
                 what, trace_list(list, partitions));
        member->told_assign = size;
        member->told_partitions = assign ? partitions : 0;
}

static void give_back(Member *member) {
        if (is_cooperative()) {
                rd_kafka_topic_partition_list_t *list = list_of(member->held_partitions);
                check_error(rd_kafka_incremental_unassign(member->rk, list), "unassign");
                rd_kafka_topic_partition_list_destroy(list);
        } else {
                check(rd_kafka_assign(member->rk, NULL), "unassign");
        }
        member->owned &= ~member->held_partitions;
        member->held_partitions = 0;
        member->held = false;
}

static void on_rebalance(Member *member, rd_kafka_event_t *event) {
        rd_kafka_topic_partition_list_t *list = rd_kafka_event_topic_partition_list(event);
        unsigned partitions = bits(list);

        if (rd_kafka_event_error(event) == RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS) {
                for (int i = 0; i < list->cnt; i++) {
                        list->elems[i].offset = 0;
                }
                rd_kafka_pause_partitions(member->rk, list);
                if (is_cooperative()) {
                        check_error(rd_kafka_incremental_assign(member->rk, list), "assign");
                } else {
                        check(rd_kafka_assign(member->rk, list), "assign");
                }
                rd_kafka_pause_partitions(member->rk, list);
                member->owned |= partitions;
                write_down(member, "assign", partitions);
                return;
        }
        write_down(member, rd_kafka_assignment_lost(member->rk) ? "lost" : "revoke", partitions);
        member->held_partitions = partitions;
        member->held = member->hold;
        if (!member->held) {
                give_back(member);
        }
}

static void on_late_answer(Member *member, rd_kafka_event_t *event) {
        const rd_kafka_topic_partition_list_t *list = rd_kafka_event_topic_partition_list(event);
        size_t size = strlen(member->answered);
        member->n_commits--;
        for (int i = 0; i < list->cnt; i++) {
                rd_kafka_resp_err_t err =
                        list->elems[i].err ? list->elems[i].err : rd_kafka_event_error(event);
                size += (size_t)snprintf(member->answered + size, sizeof(member->answered) - size,
                                         "  %c committed %d %s\n", member->name,
                                         list->elems[i].partition, error_name(err));
        }
}

static void poll_members(void) {
        for (int i = 0; i < TRACE_MEMBERS; i++) {
                Member *member = &members[i];
                rd_kafka_event_t *event;
                if (member->rk == NULL || member->dead) {
                        continue;
                }
                while (member->n_commits > 0 &&
                       (event = rd_kafka_queue_poll(member->commits, 0)) != NULL) {
                        on_late_answer(member, event);
                        rd_kafka_event_destroy(event);
                }
                while ((event = rd_kafka_queue_poll(member->queue, 0)) != NULL) {
                        if (rd_kafka_event_type(event) == RD_KAFKA_EVENT_REBALANCE) {
                                on_rebalance(member, event);
                        } else if (rd_kafka_event_type(event) == RD_KAFKA_EVENT_STATS) {
                                member->heard_ms = now_ms();
                                member->is_joining =
                                        strstr(rd_kafka_event_stats(event),
                                               "\"join_state\": \"wait-join\"") != NULL;
                        }
                        rd_kafka_event_destroy(event);
                }
        }
}

/* --- asking ------------------------------------------------------------------------------- */

/* Members are served while an answer is waited for. */
static rd_kafka_event_t *answer(rd_kafka_queue_t *queue, const char *what) {
        int64_t until = now_ms() + WAIT_MS;
        rd_kafka_event_t *event = NULL;
        while (event == NULL) {
                poll_members();
                event = rd_kafka_queue_poll(queue, POLL_MS);
                if (event == NULL && now_ms() > until) {
                        die("%s: no answer", what);
                }
        }
        rd_kafka_queue_destroy(queue);
        return event;
}

static bool is_passing(rd_kafka_resp_err_t err) {
        return err == RD_KAFKA_RESP_ERR_NOT_COORDINATOR ||
               err == RD_KAFKA_RESP_ERR_COORDINATOR_NOT_AVAILABLE ||
               err == RD_KAFKA_RESP_ERR_COORDINATOR_LOAD_IN_PROGRESS;
}

/* False: the coordinator is being found. */
static bool describe(Described *out) {
        const char *groups[] = {group};
        rd_kafka_queue_t *queue = rd_kafka_queue_new(admin);
        const rd_kafka_ConsumerGroupDescription_t **results;
        size_t n;

        rd_kafka_DescribeConsumerGroups(admin, groups, 1, NULL, queue);
        rd_kafka_event_t *event = answer(queue, "group");
        check(rd_kafka_event_error(event), "group");
        results = rd_kafka_DescribeConsumerGroups_result_groups(
                rd_kafka_event_DescribeConsumerGroups_result(event), &n);
        const rd_kafka_error_t *error = rd_kafka_ConsumerGroupDescription_error(results[0]);
        *out = (Described){0};
        /* A group that nobody joined yet, or whose offsets are gone too, is not there at all. */
        if (error == NULL) {
                out->state = rd_kafka_ConsumerGroupDescription_state(results[0]);
                out->n = rd_kafka_ConsumerGroupDescription_member_count(results[0]);
                for (size_t i = 0; i < out->n && i < 2 * TRACE_MEMBERS; i++) {
                        const rd_kafka_MemberDescription_t *one =
                                rd_kafka_ConsumerGroupDescription_member(results[0], i);
                        const rd_kafka_MemberAssignment_t *assignment =
                                rd_kafka_MemberDescription_assignment(one);
                        out->members[i].client = rd_kafka_MemberDescription_client_id(one)[0];
                        snprintf(out->members[i].id, sizeof(out->members[i].id), "%s",
                                 rd_kafka_MemberDescription_consumer_id(one));
                        if (assignment != NULL) {
                                out->members[i].partitions =
                                        bits(rd_kafka_MemberAssignment_partitions(assignment));
                        }
                }
        }
        bool found = error == NULL || !is_passing(rd_kafka_error_code(error));
        rd_kafka_event_destroy(event);
        return found;
}

static bool knows(const Described *described, const Member *member) {
        for (size_t i = 0; i < described->n; i++) {
                if (strcmp(described->members[i].id, member->id) == 0) {
                        return true;
                }
        }
        return false;
}

/* The coordinator has @member, not by the id that it had before: that is noted. */
static bool has_joined(Member *member) {
        Described described;
        char id[128];
        if (!describe(&described)) {
                return false;
        }
        member_identity(member, id);
        if (strcmp(id, member->id) == 0) {
                return false;
        }
        for (size_t i = 0; i < described.n; i++) {
                if (strcmp(described.members[i].id, id) == 0) {
                        snprintf(member->id, sizeof(member->id), "%s", id);
                        return true;
                }
        }
        return false;
}

static bool is_gone(Member *member) {
        Described described;
        return describe(&described) && !knows(&described, member) &&
               (member->dead || !member->cut || member->held || member->owned == 0);
}

static bool is_live(const Member *member) {
        return member->rk != NULL && !member->dead && !member->cut;
}

/* Nobody will be told anything more; see trace.h. */
static bool is_settled(Member *unused) {
        static int64_t stopped_ms; /* since when it has been seen to wait for somebody */
        Described described;
        unsigned all = 0;
        bool stopped = false; /* somebody who has to speak does not */
        int32_t generation = -1;
        size_t live = 0, ghosts = 0;
        (void)unused;
        if (!describe(&described)) {
                return false;
        }
        for (int i = 0; i < TRACE_MEMBERS; i++) {
                const Member *member = &members[i];
                if (member->rk == NULL) {
                        continue;
                }
                if (is_live(member)) {
                        stopped = stopped || member->held;
                        live += knows(&described, member);
                } else if (knows(&described, member)) {
                        stopped = true;
                        ghosts++;
                }
        }
        bool waits = described.state == RD_KAFKA_CONSUMER_GROUP_STATE_PREPARING_REBALANCE &&
                     stopped && live + ghosts == described.n;
        stopped_ms = !waits ? 0 : stopped_ms != 0 ? stopped_ms : now_ms();
        for (int i = 0; i < TRACE_MEMBERS; i++) {
                Member *member = &members[i];
                member->waits = waits && is_live(member) && !member->held;
                if (member->waits && (!member->is_joining || member->heard_ms <= stopped_ms)) {
                        return false; /* it has yet to be told */
                }
                if (!waits && member->n_commits > 0 && is_live(member)) {
                        return false;
                }
        }
        if (waits) {
                stopped_ms = 0;
                return true;
        }
        if (described.n == 0) {
                for (int i = 0; i < TRACE_MEMBERS; i++) {
                        if (is_live(&members[i]) && !members[i].held) {
                                return false; /* it joins again */
                        }
                }
                return true;
        }
        if (described.state != RD_KAFKA_CONSUMER_GROUP_STATE_STABLE ||
            described.n != live + ghosts) {
                return false;
        }
        for (int i = 0; i < TRACE_MEMBERS; i++) {
                const Member *member = &members[i];
                char id[128];
                if (!is_live(member) || (member->held && !knows(&described, member))) {
                        continue;
                }
                int32_t its = member_identity(member, id);
                if (strcmp(id, member->id) != 0 || its < 0 ||
                    (generation >= 0 && its != generation)) {
                        return false;
                }
                generation = its;
        }
        for (size_t i = 0; i < described.n; i++) {
                const Member *member = &members[described.members[i].client - 'a'];
                unsigned has = member->owned & ~member->held_partitions;
                all |= described.members[i].partitions;
                if (is_live(member) && described.members[i].partitions != has) {
                        return false;
                }
        }
        return stopped || all == (1u << n_partitions) - 1;
}

static void wait_for(bool (*done)(Member *), Member *member, const char *what) {
        int64_t until = now_ms() + WAIT_MS;
        do {
                for (int i = 0; i < 4; i++) {
                        poll_members();
                        usleep(5000);
                }
                if (now_ms() > until) {
                        die("waited in vain: %s", what);
                }
        } while (!done(member));
}

/* --- the topic ---------------------------------------------------------------------------- */

static bool topic_is_ready(Member *unused) {
        rd_kafka_topic_t *rkt = rd_kafka_topic_new(admin, topic, NULL);
        const struct rd_kafka_metadata *metadata;
        (void)unused;
        check(rd_kafka_metadata(admin, 0, rkt, &metadata, ASK_MS), "metadata");
        bool ready =
                metadata->topics[0].err == 0 && metadata->topics[0].partition_cnt == n_partitions;
        for (int i = 0; ready && i < n_partitions; i++) {
                ready = metadata->topics[0].partitions[i].leader >= 0;
        }
        rd_kafka_metadata_destroy(metadata);
        rd_kafka_topic_destroy(rkt);
        for (int i = 0; ready && i < n_partitions; i++) {
                int64_t low, high;
                ready = rd_kafka_query_watermark_offsets(admin, topic, i, &low, &high, ASK_MS) == 0;
        }
        return ready;
}

static bool topic_is_gone(Member *unused) {
        rd_kafka_topic_t *rkt = rd_kafka_topic_new(admin, topic, NULL);
        const struct rd_kafka_metadata *metadata;
        (void)unused;
        check(rd_kafka_metadata(admin, 0, rkt, &metadata, ASK_MS), "metadata");
        bool gone = metadata->topics[0].err != 0;
        rd_kafka_metadata_destroy(metadata);
        rd_kafka_topic_destroy(rkt);
        return gone;
}

static void create_topic(void) {
        char error[512];
        rd_kafka_NewTopic_t *new =
                rd_kafka_NewTopic_new(topic, n_partitions, -1, error, sizeof(error));
        rd_kafka_queue_t *queue = rd_kafka_queue_new(admin);
        size_t n;
        if (new == NULL) {
                die("%s", error);
        }
        rd_kafka_CreateTopics(admin, &new, 1, NULL, queue);
        rd_kafka_event_t *event = answer(queue, "create");
        check(rd_kafka_event_error(event), "create");
        check(rd_kafka_topic_result_error(
                      rd_kafka_CreateTopics_result_topics(rd_kafka_event_CreateTopics_result(event),
                                                          &n)[0]),
              "create");
        rd_kafka_event_destroy(event);
        rd_kafka_NewTopic_destroy(new);
        wait_for(topic_is_ready, NULL, "the topic");
}

static rd_kafka_topic_partition_list_t *all_partitions(void) {
        return list_of((1u << n_partitions) - 1);
}

static void ask_committed(rd_kafka_topic_partition_list_t *list) {
        int64_t until = now_ms() + WAIT_MS;
        for (;;) {
                rd_kafka_resp_err_t err = rd_kafka_committed(admin, list, ASK_MS);
                for (int i = 0; err == 0 && i < list->cnt; i++) {
                        err = list->elems[i].err;
                }
                if (!is_passing(err) || now_ms() > until) {
                        check(err, "committed");
                        return;
                }
                poll_members();
        }
}

static bool nothing_is_committed(Member *unused) {
        rd_kafka_topic_partition_list_t *list = all_partitions();
        bool nothing = true;
        (void)unused;
        ask_committed(list);
        for (int i = 0; i < list->cnt; i++) {
                nothing = nothing && list->elems[i].offset < 0;
        }
        rd_kafka_topic_partition_list_destroy(list);
        return nothing;
}

static void do_remake(void) {
        rd_kafka_DeleteTopic_t *old = rd_kafka_DeleteTopic_new(topic);
        rd_kafka_queue_t *queue = rd_kafka_queue_new(admin);
        size_t n;
        rd_kafka_DeleteTopics(admin, &old, 1, NULL, queue);
        rd_kafka_event_t *event = answer(queue, "delete");
        check(rd_kafka_event_error(event), "delete");
        check(rd_kafka_topic_result_error(
                      rd_kafka_DeleteTopics_result_topics(rd_kafka_event_DeleteTopics_result(event),
                                                          &n)[0]),
              "delete");
        rd_kafka_event_destroy(event);
        rd_kafka_DeleteTopic_destroy(old);
        wait_for(topic_is_gone, NULL, "the end of the topic");
        create_topic();
        int64_t began = now_ms();
        wait_for(nothing_is_committed, NULL, "the end of the offsets");
        fprintf(stderr, "record-broker: the offsets were gone %" PRId64 " ms after the topic\n",
                now_ms() - began);
}

static void do_grow(const TraceOp *op) {
        char error[512];
        n_partitions = (int)trace_number(op, 1);
        rd_kafka_NewPartitions_t *more =
                rd_kafka_NewPartitions_new(topic, (size_t)n_partitions, error, sizeof(error));
        rd_kafka_queue_t *queue = rd_kafka_queue_new(admin);
        size_t n;
        if (more == NULL) {
                die("%s", error);
        }
        rd_kafka_CreatePartitions(admin, &more, 1, NULL, queue);
        rd_kafka_event_t *event = answer(queue, "grow");
        check(rd_kafka_event_error(event), "grow");
        check(rd_kafka_topic_result_error(rd_kafka_CreatePartitions_result_topics(
                      rd_kafka_event_CreatePartitions_result(event), &n)[0]),
              "grow");
        rd_kafka_event_destroy(event);
        rd_kafka_NewPartitions_destroy(more);
        wait_for(topic_is_ready, NULL, "the new partitions");
}

/* --- the log ------------------------------------------------------------------------------ */

static void on_delivery(rd_kafka_t *rk, const rd_kafka_message_t *message, void *user) {
        (void)rk;
        (void)user;
        /* Records of a transaction that is aborted may be purged, but those were flushed before. */
        check(message->err, "delivery");
}

static void send_records(rd_kafka_t *rk, int partition, int64_t n) {
        rd_kafka_topic_t *rkt = rd_kafka_topic_new(rk, topic, NULL);
        for (int64_t i = 0; i < n; i++) {
                if (rd_kafka_produce(rkt, partition, RD_KAFKA_MSG_F_COPY, "r", 1, NULL, 0, NULL) !=
                    0) {
                        die("produce: %s", rd_kafka_err2str(rd_kafka_last_error()));
                }
        }
        check(rd_kafka_flush(rk, WAIT_MS), "flush");
        rd_kafka_topic_destroy(rkt);
}

static rd_kafka_t *producer_new(bool transactional) {
        rd_kafka_conf_t *conf = conf_new();
        rd_kafka_conf_set_dr_msg_cb(conf, on_delivery);
        if (transactional) {
                set(conf, "transactional.id", topic);
        }
        rd_kafka_t *rk = handle(RD_KAFKA_PRODUCER, conf);
        if (transactional) {
                check_error(rd_kafka_init_transactions(rk, WAIT_MS), "transactions");
        }
        return rk;
}

/* A producer keeps what it knew of a topic that was deleted: a new one each time. */
static void do_produce(const TraceOp *op) {
        producer = producer_new(false);
        send_records(producer, (int)trace_number(op, 1), trace_number(op, 2));
        rd_kafka_destroy(producer);
}

static int64_t expected_high;
static int32_t expected_partition;

static bool has_its_marker(Member *unused) {
        int64_t low, high;
        (void)unused;
        check(rd_kafka_query_watermark_offsets(admin, topic, expected_partition, &low, &high,
                                               ASK_MS),
              "ends");
        return high == expected_high;
}

static void do_transaction(const TraceOp *op, bool commit) {
        int64_t low;
        expected_partition = (int32_t)trace_number(op, 1);
        check(rd_kafka_query_watermark_offsets(admin, topic, expected_partition, &low,
                                               &expected_high, ASK_MS),
              "ends");
        expected_high += trace_number(op, 2) + 1;
        transactions = producer_new(true);
        check_error(rd_kafka_begin_transaction(transactions), "begin");
        send_records(transactions, (int)trace_number(op, 1), trace_number(op, 2));
        check_error(commit ? rd_kafka_commit_transaction(transactions, WAIT_MS)
                           : rd_kafka_abort_transaction(transactions, WAIT_MS),
                    "the end of the transaction");
        rd_kafka_destroy(transactions);
        wait_for(has_its_marker, NULL, "the marker of a transaction");
}

static void do_ends(FILE *out) {
        for (int i = 0; i < n_partitions; i++) {
                int64_t low, high;
                check(rd_kafka_query_watermark_offsets(admin, topic, i, &low, &high, ASK_MS),
                      "ends");
                fprintf(out, "  %d %" PRId64 " %" PRId64 "\n", i, low, high);
        }
}

static void do_read(const TraceOp *op, FILE *out) {
        rd_kafka_conf_t *conf = conf_new();
        const char *separator = "  ";
        set(conf, "group.id", "reader");
        set(conf, "enable.auto.commit", "false");
        set(conf, "enable.partition.eof", "true");
        set(conf, "auto.offset.reset", "earliest");
        rd_kafka_t *rk = handle(RD_KAFKA_CONSUMER, conf);
        rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(1);
        rd_kafka_topic_partition_list_add(list, topic, (int32_t)trace_number(op, 1))->offset =
                RD_KAFKA_OFFSET_BEGINNING;
        check(rd_kafka_assign(rk, list), "assign");
        for (int64_t until = now_ms() + WAIT_MS;;) {
                rd_kafka_message_t *message = rd_kafka_consumer_poll(rk, POLL_MS);
                poll_members();
                rd_kafka_resp_err_t err = message != NULL ? message->err : 0;
                if (message != NULL && err == 0) {
                        fprintf(out, "%s%" PRId64, separator, message->offset);
                        separator = ",";
                }
                if (message != NULL) {
                        rd_kafka_message_destroy(message);
                }
                if (err == RD_KAFKA_RESP_ERR__PARTITION_EOF) {
                        break;
                }
                check(err, "read");
                if (now_ms() > until) {
                        die("read: no end");
                }
        }
        fprintf(out, "%s\n", separator[0] == ' ' ? "  -" : "");
        rd_kafka_topic_partition_list_destroy(list);
        rd_kafka_destroy(rk);
}

static void do_delete_records(const TraceOp *op, FILE *out) {
        rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(8);
        rd_kafka_queue_t *queue = rd_kafka_queue_new(admin);
        for (size_t i = 1; i < op->n; i++) {
                TracePlace place = trace_place(op->words[i]);
                rd_kafka_topic_partition_list_add(list, topic, place.partition)->offset =
                        place.offset < 0 ? RD_KAFKA_OFFSET_END : place.offset;
        }
        rd_kafka_DeleteRecords_t *records = rd_kafka_DeleteRecords_new(list);
        rd_kafka_DeleteRecords(admin, &records, 1, NULL, queue);
        rd_kafka_event_t *event = answer(queue, "delete-records");
        check(rd_kafka_event_error(event), "delete-records");
        const rd_kafka_topic_partition_list_t *results =
                rd_kafka_DeleteRecords_result_offsets(rd_kafka_event_DeleteRecords_result(event));
        for (int i = 0; i < results->cnt; i++) {
                const rd_kafka_topic_partition_t *one = &results->elems[i];
                if (one->err) {
                        fprintf(out, "  %d %s\n", one->partition, error_name(one->err));
                } else {
                        fprintf(out, "  %d %" PRId64 "\n", one->partition, one->offset);
                }
        }
        rd_kafka_event_destroy(event);
        rd_kafka_DeleteRecords_destroy(records);
        rd_kafka_topic_partition_list_destroy(list);
}

/* --- offsets ------------------------------------------------------------------------------ */

static rd_kafka_topic_partition_list_t *places(const TraceOp *op, size_t from) {
        rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(8);
        for (size_t i = from; i < op->n; i++) {
                TracePlace place = trace_place(op->words[i]);
                rd_kafka_topic_partition_t *one =
                        rd_kafka_topic_partition_list_add(list, topic, place.partition);
                one->offset = place.offset;
                if (place.metadata[0] != '\0') {
                        one->metadata = strdup(place.metadata);
                        one->metadata_size = strlen(place.metadata);
                }
        }
        return list;
}

/*
 * The broker takes one request after the other from a connection: a commit waits behind a JoinGroup
 * that is not answered before the others have joined, and is too late then.
 */
static void do_commit(const TraceOp *op, FILE *out) {
        Member *member = member_of(op);
        rd_kafka_topic_partition_list_t *list = places(op, 2);
        rd_kafka_queue_t *queue = member->waits ? member->commits : rd_kafka_queue_new(member->rk);
        check(rd_kafka_commit_queue(member->rk, list, queue, NULL, NULL), "commit");
        rd_kafka_topic_partition_list_destroy(list);
        if (member->waits) {
                member->n_commits++;
                fprintf(out, "  waits\n");
                return;
        }
        rd_kafka_event_t *event = answer(queue, "commit");
        write_results(out, rd_kafka_event_topic_partition_list(event), rd_kafka_event_error(event));
        rd_kafka_event_destroy(event);
}

static void do_committed(FILE *out) {
        rd_kafka_topic_partition_list_t *list = all_partitions();
        ask_committed(list);
        for (int i = 0; i < list->cnt; i++) {
                const rd_kafka_topic_partition_t *one = &list->elems[i];
                if (one->offset >= 0) {
                        fprintf(out, "  %d %" PRId64 " %.*s\n", one->partition, one->offset,
                                one->metadata_size > 0 ? (int)one->metadata_size : 1,
                                one->metadata_size > 0 ? (const char *)one->metadata : "-");
                }
        }
        rd_kafka_topic_partition_list_destroy(list);
}

static void do_alter(const TraceOp *op, FILE *out) {
        rd_kafka_topic_partition_list_t *list = places(op, 1);
        rd_kafka_queue_t *queue = rd_kafka_queue_new(admin);
        rd_kafka_AlterConsumerGroupOffsets_t *alter =
                rd_kafka_AlterConsumerGroupOffsets_new(group, list);
        size_t n;
        rd_kafka_AlterConsumerGroupOffsets(admin, &alter, 1, NULL, queue);
        rd_kafka_event_t *event = answer(queue, "alter");
        check(rd_kafka_event_error(event), "alter");
        const rd_kafka_group_result_t *result = rd_kafka_AlterConsumerGroupOffsets_result_groups(
                rd_kafka_event_AlterConsumerGroupOffsets_result(event), &n)[0];
        const rd_kafka_error_t *error = rd_kafka_group_result_error(result);
        const rd_kafka_topic_partition_list_t *results = rd_kafka_group_result_partitions(result);
        write_results(out, results != NULL && results->cnt > 0 ? results : list,
                      rd_kafka_error_code(error));
        rd_kafka_event_destroy(event);
        rd_kafka_AlterConsumerGroupOffsets_destroy(alter);
        rd_kafka_topic_partition_list_destroy(list);
}

static void do_forget(const TraceOp *op, FILE *out) {
        rd_kafka_topic_partition_list_t *list = places(op, 1);
        rd_kafka_queue_t *queue = rd_kafka_queue_new(admin);
        rd_kafka_DeleteConsumerGroupOffsets_t *offsets =
                rd_kafka_DeleteConsumerGroupOffsets_new(group, list);
        size_t n;
        rd_kafka_DeleteConsumerGroupOffsets(admin, &offsets, 1, NULL, queue);
        rd_kafka_event_t *event = answer(queue, "forget");
        rd_kafka_resp_err_t err = rd_kafka_event_error(event);
        const rd_kafka_topic_partition_list_t *results = NULL;
        if (err == 0) {
                const rd_kafka_group_result_t *result =
                        rd_kafka_DeleteConsumerGroupOffsets_result_groups(
                                rd_kafka_event_DeleteConsumerGroupOffsets_result(event), &n)[0];
                err = rd_kafka_error_code(rd_kafka_group_result_error(result));
                results = rd_kafka_group_result_partitions(result);
        }
        write_results(out, results != NULL && results->cnt > 0 ? results : list, err);
        rd_kafka_event_destroy(event);
        rd_kafka_DeleteConsumerGroupOffsets_destroy(offsets);
        rd_kafka_topic_partition_list_destroy(list);
}

/* --- a commit that was under way ---------------------------------------------------------- */

/*
 * No client sends a commit in the name of somebody it is no more, but a network delivers one:
 * OffsetCommit version 5, written by hand.
 */
typedef struct Wire {
        unsigned char data[2048];
        size_t size;
} Wire;

static void wire_number(Wire *wire, int64_t value, size_t bytes) {
        while (bytes-- > 0) {
                wire->data[wire->size++] = (unsigned char)(value >> (8 * bytes));
        }
}

static void wire_string(Wire *wire, const char *text) {
        size_t size = strlen(text);
        wire_number(wire, (int64_t)size, 2);
        memcpy(wire->data + wire->size, text, size);
        wire->size += size;
}

static int64_t wire_read(Wire *wire, size_t bytes) {
        int64_t value = bytes == 2 && wire->data[wire->size] & 0x80 ? -1 : 0;
        while (bytes-- > 0) {
                value = value * 256 + wire->data[wire->size++];
        }
        return value;
}

static int wire_connect(void) {
        char host[256];
        struct addrinfo hints = {.ai_family = AF_INET, .ai_socktype = SOCK_STREAM}, *found;
        snprintf(host, sizeof(host), "%s", servers);
        char *colon = strrchr(host, ':');
        if (colon == NULL) {
                die("%s: no port", servers);
        }
        *colon = '\0';
        if (getaddrinfo(host, colon + 1, &hints, &found) != 0) {
                die("%s: no such host", host);
        }
        int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        if (fd < 0 || connect(fd, found->ai_addr, found->ai_addrlen) < 0) {
                die("%s: %s", servers, strerror(errno));
        }
        freeaddrinfo(found);
        return fd;
}

static void wire_receive(int fd, unsigned char *data, size_t size) {
        while (size > 0) {
                ssize_t n = read(fd, data, size);
                if (n <= 0) {
                        die("late: the broker hangs up");
                }
                data += n;
                size -= (size_t)n;
        }
}

static void do_late(const TraceOp *op, FILE *out) {
        const Identity *identity = NULL;
        Wire wire = {.size = 4};
        int fd = wire_connect();
        for (size_t i = 0; i < n_identities; i++) {
                if (strcmp(identities[i].name, op->words[1]) == 0) {
                        identity = &identities[i];
                }
        }
        if (identity == NULL) {
                die("late: nobody is remembered as %s", op->words[1]);
        }
        wire_number(&wire, 8, 2); /* OffsetCommit */
        wire_number(&wire, 5, 2);
        wire_number(&wire, 1, 4);
        wire_string(&wire, "late");
        wire_string(&wire, group);
        wire_number(&wire, identity->generation, 4);
        wire_string(&wire, identity->id);
        wire_number(&wire, 1, 4);
        wire_string(&wire, topic);
        wire_number(&wire, (int64_t)op->n - 2, 4);
        for (size_t i = 2; i < op->n; i++) {
                TracePlace place = trace_place(op->words[i]);
                wire_number(&wire, place.partition, 4);
                wire_number(&wire, place.offset, 8);
                wire_string(&wire, place.metadata);
        }
        size_t size = wire.size;
        wire.size = 0;
        wire_number(&wire, (int64_t)size - 4, 4);
        if (write(fd, wire.data, size) != (ssize_t)size) {
                die("late: %s", strerror(errno));
        }
        wire_receive(fd, wire.data, 4);
        wire.size = 0;
        size = (size_t)wire_read(&wire, 4);
        if (size > sizeof(wire.data)) {
                die("late: an answer of %zu bytes", size);
        }
        wire_receive(fd, wire.data, size);
        close(fd);
        wire.size = 4 + 4 + 4; /* correlation, throttle, one topic */
        wire.size += (size_t)wire_read(&wire, 2);
        for (int64_t n = wire_read(&wire, 4); n > 0; n--) {
                int64_t partition = wire_read(&wire, 4);
                fprintf(out, "  %" PRId64 " %s\n", partition,
                        error_name((rd_kafka_resp_err_t)wire_read(&wire, 2)));
        }
}

/* --- the group ---------------------------------------------------------------------------- */

static void do_group(const TraceOp *op) {
        static int groups;
        struct timespec t;
        clock_gettime(CLOCK_REALTIME, &t);
        snprintf(topic, sizeof(topic), "trace-%lld-%ld-%d-%d", (long long)t.tv_sec, t.tv_nsec,
                 (int)getpid(), groups++);
        snprintf(group, sizeof(group), "%s", topic);
        snprintf(assignor, sizeof(assignor), "%s", op->words[1]);
        n_partitions = (int)trace_number(op, 2);
        session_ms = trace_option(op, "session", 6000);
        poll_ms = trace_option(op, "poll", 120000);
        refresh_ms = trace_option(op, "refresh", 300000);
        rd_kafka_conf_t *conf = conf_new();
        set(conf, "group.id", group);
        set(conf, "topic.metadata.refresh.interval.ms", "1000");
        set(conf, "isolation.level", "read_uncommitted"); /* or the end is that of what is read */
        admin = handle(RD_KAFKA_CONSUMER, conf);
        create_topic();
        for (int i = 0; i < TRACE_MEMBERS; i++) {
                members[i] = (Member){.name = (char)('a' + i)};
        }
}

static void do_join(const TraceOp *op) {
        Member *member = member_of(op);
        char name[2] = {member->name, '\0'};
        if (member->rk != NULL && !member->dead) {
                die("%s is a member already", name);
        }
        *member = (Member){.name = name[0], .lock = PTHREAD_MUTEX_INITIALIZER};
        rd_kafka_conf_t *conf = conf_new();
        set(conf, "group.id", group);
        set(conf, "client.id",
            name); /* the coordinator makes it the beginning of the member's id */
        set(conf, "partition.assignment.strategy", assignor);
        set(conf, "enable.auto.commit", "false");
        set(conf, "enable.auto.offset.store", "false");
        set(conf, "auto.offset.reset", "error");
        set_int(conf, "session.timeout.ms", session_ms);
        set_int(conf, "heartbeat.interval.ms", 200);
        set_int(conf, "max.poll.interval.ms", poll_ms);
        set_int(conf, "topic.metadata.refresh.interval.ms", refresh_ms);
        set_int(conf, "statistics.interval.ms", 100);
        rd_kafka_conf_set_opaque(conf, member);
        rd_kafka_conf_set_socket_cb(conf, on_socket);
        rd_kafka_conf_set_connect_cb(conf, on_connect);
        rd_kafka_conf_set_closesocket_cb(conf, on_close);
        rd_kafka_conf_set_events(conf, RD_KAFKA_EVENT_REBALANCE | RD_KAFKA_EVENT_ERROR |
                                               RD_KAFKA_EVENT_FETCH | RD_KAFKA_EVENT_STATS |
                                               RD_KAFKA_EVENT_OFFSET_COMMIT);
        member->rk = handle(RD_KAFKA_CONSUMER, conf);
        member->queue = rd_kafka_queue_get_consumer(member->rk);
        member->commits = rd_kafka_queue_new(member->rk);
        rd_kafka_poll_set_consumer(member->rk);
        rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(1);
        rd_kafka_topic_partition_list_add(list, topic, RD_KAFKA_PARTITION_UA);
        check(rd_kafka_subscribe(member->rk, list), "subscribe");
        rd_kafka_topic_partition_list_destroy(list);
        wait_for(has_joined, member, "a member that joins");
}

static void do_leave(const TraceOp *op) {
        Member *member = member_of(op);
        check(rd_kafka_consumer_close(member->rk), "close");
        member->owned = 0;
        wait_for(is_gone, member, "a member that leaves");
        rd_kafka_queue_destroy(member->queue);
        rd_kafka_queue_destroy(member->commits);
        rd_kafka_destroy(member->rk);
        *member = (Member){.name = member->name};
}

static void do_expire(const TraceOp *op) {
        Member *member = member_of(op);
        member->expired = true;
        wait_for(is_gone, member, "a member that is given up");
        if (member->dead) {
                *member = (Member){.name = member->name}; /* its handle stays: it is dead */
        }
}

static void do_heal(const TraceOp *op) {
        Member *member = member_of(op);
        Described described;
        pthread_mutex_lock(&member->lock);
        member->cut = member->expired = false;
        pthread_mutex_unlock(&member->lock);
        while (!describe(&described)) {
        }
        if (!knows(&described, member) && !member->held) {
                wait_for(has_joined, member, "a member that comes back");
        }
}

static void do_give_back(const TraceOp *op) {
        Member *member = member_of(op);
        Described described;
        member->hold = false;
        if (!member->held) {
                return;
        }
        while (!describe(&described)) {
        }
        give_back(member);
        if (!knows(&described, member) && !member->cut) {
                wait_for(has_joined, member, "a member that joins again");
        }
}

static void do_remember(const TraceOp *op, FILE *out) {
        if (n_identities == NAMES) {
                die("too many are remembered");
        }
        Identity *identity = &identities[n_identities++];
        snprintf(identity->name, sizeof(identity->name), "%s", op->words[2]);
        identity->generation = member_identity(member_of(op), identity->id);
        fprintf(out, "  generation %" PRId32 "\n", identity->generation);
}

static void do_settle(const TraceOp *op, FILE *out) {
        bool owned = op->n > 1;
        wait_for(is_settled, NULL, "a group that is at rest");
        for (int i = 0; i < TRACE_MEMBERS; i++) {
                fputs(members[i].answered, out);
                members[i].answered[0] = '\0';
        }
        for (int i = 0; i < TRACE_MEMBERS; i++) {
                Member *member = &members[i];
                char list[64];
                if (!owned) {
                        fputs(member->told, out);
                } else if (is_live(member)) {
                        fprintf(out, "  %c has %s\n", member->name,
                                trace_list(list, member->owned));
                }
                member->told[0] = '\0';
                member->told_partitions = 0;
        }
}

/* What a trace says of a member that is silent holds while its session lasts. */
static void check_silent(void) {
        Described described;
        for (int i = 0; i < TRACE_MEMBERS; i++) {
                const Member *member = &members[i];
                if (member->rk == NULL || is_live(member) || member->expired) {
                        continue;
                }
                while (!describe(&described)) {
                }
                if (!knows(&described, member)) {
                        die("too slow: the session of %c is over before its time", member->name);
                }
        }
}

/* --- operations --------------------------------------------------------------------------- */

static void run(const char *line, FILE *out) {
        TraceOp op;
        trace_split(&op, line);
        fprintf(out, "%s\n", line);
        if (trace_is(&op, "group")) {
                do_group(&op);
        } else if (trace_is(&op, "join")) {
                do_join(&op);
        } else if (trace_is(&op, "leave")) {
                do_leave(&op);
        } else if (trace_is(&op, "kill")) {
                member_of(&op)->dead = true;
                member_cut(member_of(&op));
        } else if (trace_is(&op, "cut")) {
                member_cut(member_of(&op));
        } else if (trace_is(&op, "heal")) {
                do_heal(&op);
        } else if (trace_is(&op, "expire")) {
                do_expire(&op);
        } else if (trace_is(&op, "hold")) {
                members[trace_member(&op, 1)].hold = true;
        } else if (trace_is(&op, "give-back")) {
                do_give_back(&op);
        } else if (trace_is(&op, "settle")) {
                do_settle(&op, out);
        } else if (trace_is(&op, "remember")) {
                do_remember(&op, out);
        } else if (trace_is(&op, "commit")) {
                do_commit(&op, out);
        } else if (trace_is(&op, "late")) {
                do_late(&op, out);
        } else if (trace_is(&op, "committed")) {
                do_committed(out);
        } else if (trace_is(&op, "alter")) {
                do_alter(&op, out);
        } else if (trace_is(&op, "forget")) {
                do_forget(&op, out);
        } else if (trace_is(&op, "produce")) {
                do_produce(&op);
        } else if (trace_is(&op, "abort")) {
                do_transaction(&op, false);
        } else if (trace_is(&op, "txn")) {
                do_transaction(&op, true);
        } else if (trace_is(&op, "delete-records")) {
                do_delete_records(&op, out);
        } else if (trace_is(&op, "ends")) {
                do_ends(out);
        } else if (trace_is(&op, "read")) {
                do_read(&op, out);
        } else if (trace_is(&op, "grow")) {
                do_grow(&op);
        } else if (trace_is(&op, "remake")) {
                do_remake();
        } else {
                die("'%s' is no operation", line);
        }
        check_silent();
        fflush(out);
}

static void run_file(FILE *in, FILE *out) {
        char line[TRACE_LINE];
        while (fgets(line, sizeof(line), in) != NULL) {
                line[strcspn(line, "\n")] = '\0';
                if (line[0] == '#') {
                        fprintf(out, "%s\n", line);
                } else if (line[0] != ' ' && line[0] != '\0') {
                        run(line, out);
                }
        }
}

/* --- operations that nobody wrote --------------------------------------------------------- */

static uint64_t seed;

static uint64_t below(uint64_t n) {
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        return (seed >> 11) % n;
}

static void say(FILE *out, const char *format, ...) __attribute__((format(printf, 2, 3)));
static void say(FILE *out, const char *format, ...) {
        char line[TRACE_LINE];
        va_list ap;
        va_start(ap, format);
        vsnprintf(line, sizeof(line), format, ap);
        va_end(ap);
        run(line, out);
}

/* One that is (not) a member; -1: none. */
static int pick(bool is_member) {
        int found[TRACE_MEMBERS], n = 0;
        for (int i = 0; i < TRACE_MEMBERS; i++) {
                if ((members[i].rk != NULL) == is_member) {
                        found[n++] = i;
                }
        }
        return n > 0 ? found[below((uint64_t)n)] : -1;
}

static int64_t some_offset(void) {
        return (int64_t)below(30);
}

static void random_commits(FILE *out, int member) {
        int partition = (int)below((uint64_t)n_partitions);
        say(out, "commit %c %d:%" PRId64 ":ackd %d:%" PRId64 ":other", 'a' + member, partition,
            some_offset(), (partition + 1) % n_partitions, some_offset());
        if (n_identities > 0 && below(2) == 0) {
                say(out, "late %s %d:%" PRId64 ":late", identities[below(n_identities)].name,
                    partition, some_offset());
        }
        say(out, "committed");
}

/* After a commit that came too late the member joins once more, sooner or later. */
static void random_settle(FILE *out) {
        bool late = false;
        for (int i = 0; i < TRACE_MEMBERS; i++) {
                late = late || members[i].n_commits > 0 || members[i].answered[0] != '\0';
        }
        say(out, late ? "settle owned" : "settle");
}

static void random_remember(FILE *out, int member) {
        if (n_identities < NAMES) {
                say(out, "remember %c %c%zu", 'a' + member, 'a' + member, n_identities);
        }
}

/* A member that keeps what it is asked for, while somebody comes or goes. */
static void random_hold(FILE *out, int holder) {
        int other = pick(false);
        random_remember(out, holder);
        say(out, "hold %c", 'a' + holder);
        if (other >= 0) {
                say(out, "join %c", 'a' + other);
        }
        random_settle(out);
        random_commits(out, holder);
        other = pick(false);
        if (other >= 0 && below(2) == 0) {
                say(out, "join %c", 'a' + other);
                random_settle(out);
                random_commits(out, holder);
        }
        say(out, "give-back %c", 'a' + holder);
        random_settle(out);
        random_commits(out, holder);
}

static void random_op(FILE *out) {
        int in = pick(true), outside = pick(false);
        int partition = (int)below((uint64_t)n_partitions);
        switch (below(14)) {
        case 0:
        case 1:
                if (outside >= 0) {
                        say(out, "join %c", 'a' + outside);
                        random_settle(out);
                }
                return;
        case 2:
                if (in >= 0) {
                        random_remember(out, in);
                        say(out, "leave %c", 'a' + in);
                        random_settle(out);
                }
                return;
        case 3:
                if (in >= 0) {
                        random_remember(out, in);
                        say(out, "kill %c", 'a' + in);
                        if (outside >= 0) {
                                say(out, "join %c", 'a' + outside);
                                random_settle(out);
                                random_commits(out, outside);
                        }
                        say(out, "expire %c", 'a' + in);
                        random_settle(out);
                }
                return;
        case 4:
                if (in >= 0) {
                        random_remember(out, in);
                        say(out, "cut %c", 'a' + in);
                        say(out, "expire %c", 'a' + in);
                        random_settle(out);
                        say(out, "heal %c", 'a' + in);
                        random_settle(out);
                }
                return;
        case 5:
        case 6:
                if (in >= 0) {
                        random_hold(out, in);
                }
                return;
        case 7:
        case 8:
                if (in >= 0) {
                        random_commits(out, in);
                }
                return;
        case 9:
                say(out, "alter %d:%" PRId64 ":tool", partition, some_offset());
                say(out, "committed");
                return;
        case 10:
                say(out, "forget %d", partition);
                say(out, "committed");
                return;
        case 11:
                say(out, "%s %d %d",
                    below(2) == 0   ? "produce"
                    : below(2) == 0 ? "abort"
                                    : "txn",
                    partition, 1 + (int)below(4));
                say(out, "read %d", partition);
                say(out, "ends");
                return;
        case 12:
                say(out, "delete-records %d:%d", partition, (int)below(6));
                say(out, "ends");
                return;
        case 13:
                if (in < 0) {
                        say(out, "remake");
                        say(out, "ends");
                        say(out, "committed");
                }
                return;
        }
}

static void run_random(uint64_t number, FILE *out) {
        static const char *const assignors[] = {"range", "roundrobin", "cooperative-sticky"};
        seed = number * UINT64_C(0x9e3779b97f4a7c15) + 1;
        for (int i = 0; i < 10; i++) {
                below(2);
        }
        say(out, "group %s %d session=6000", assignors[number % 3],
            2 + (int)below(TRACE_PARTITIONS - 1));
        for (int i = 0; i < RANDOM_OPS; i++) {
                random_op(out);
        }
}

int main(int argc, char **argv) {
        if (argc == 4 && strcmp(argv[2], "--seed") == 0) {
                servers = argv[1];
                run_random(strtoull(argv[3], NULL, 10), stdout);
        } else if (argc == 2) {
                servers = argv[1];
                run_file(stdin, stdout);
        } else {
                fputs("usage: record-broker SERVERS <TRACE\n"
                      "       record-broker SERVERS --seed N\n",
                      stderr);
                return 64;
        }
        fflush(stdout);
        /* The dead keep their handles: an orderly end would wait for them. */
        _exit(0);
}
