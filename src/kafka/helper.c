/*
 * Threads: the loop's and the helper's. `mutex` guards the lists and the flags. The helper's memory
 * is freed by whichever of the two leaves last: the loop's thread after a join, or the helper's own
 * when it was abandoned. The wake-up is the loop's, so it is only sent under the mutex and while
 * not abandoned.
 */

#include "kafka/helper.h"

#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

struct Helper {
        pthread_t thread;
        pthread_mutex_t mutex;
        pthread_cond_t work;   /* a request, or the end */
        pthread_cond_t exited; /* ended was set */
        List requests;         /* HelperRequest.link, to be made */
        List answers;          /* HelperRequest.link, for the loop */
        bool ending, ended, abandoned;
        rd_kafka_t *rk;
        HelperAnswered answered;
        void *user;
        LoopWake wake;
};

static void free_requests(List *list) {
        list_for_each_safe(link, list) {
                helper_request_free(container_of(link, HelperRequest, link));
        }
        list_init(list);
}

HelperRequest *helper_request_new(HelperKind kind, size_t n_partitions, int64_t limit_us) {
        HelperRequest *request = calloc(1, sizeof(*request));
        if (request == NULL) {
                return NULL;
        }
        list_init(&request->link);
        request->kind = kind;
        request->deadline_us = loop_now() + limit_us;
        request->partitions = rd_kafka_topic_partition_list_new((int)n_partitions);
        request->ids = calloc(n_partitions + 1, sizeof(*request->ids));
        request->low = calloc(n_partitions + 1, sizeof(*request->low));
        request->high = calloc(n_partitions + 1, sizeof(*request->high));
        if (request->partitions == NULL || request->ids == NULL || request->low == NULL ||
            request->high == NULL) {
                helper_request_free(request);
                return NULL;
        }
        return request;
}

void helper_request_free(HelperRequest *request) {
        if (request == NULL) {
                return;
        }
        if (request->partitions != NULL) {
                rd_kafka_topic_partition_list_destroy(request->partitions);
        }
        free(request->ids);
        free(request->low);
        free(request->high);
        free(request->cluster_id);
        free(request);
}

/* Milliseconds until the deadline, 0 when it has passed. */
static int left_ms(const HelperRequest *request) {
        int64_t left = (request->deadline_us - loop_now()) / 1000;
        return left > 0 ? (int)left : 0;
}

/* Asks for one end of the log of all of @partitions. */
static rd_kafka_resp_err_t ask_end(Helper *helper, HelperRequest *request,
                                   const rd_kafka_topic_partition_list_t *partitions, int64_t end,
                                   rd_kafka_topic_partition_list_t **resultp) {
        int limit_ms = left_ms(request);
        rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_copy(partitions);
        for (int i = 0; i < list->cnt; i++) {
                list->elems[i].offset = end; /* read as a time: -2 earliest, -1 latest */
        }
        rd_kafka_resp_err_t err = limit_ms == 0
                                          ? RD_KAFKA_RESP_ERR__TIMED_OUT
                                          : rd_kafka_offsets_for_times(helper->rk, list, limit_ms);
        if (err != 0) {
                rd_kafka_topic_partition_list_destroy(list);
                return err;
        }
        *resultp = list;
        return 0;
}

static rd_kafka_resp_err_t ask_ends(Helper *helper, HelperRequest *request,
                                    const rd_kafka_topic_partition_list_t *partitions, int first) {
        rd_kafka_topic_partition_list_t *low, *high;
        rd_kafka_resp_err_t err =
                ask_end(helper, request, partitions, RD_KAFKA_OFFSET_BEGINNING, &low);
        if (err != 0) {
                return err;
        }
        err = ask_end(helper, request, partitions, RD_KAFKA_OFFSET_END, &high);
        if (err != 0) {
                rd_kafka_topic_partition_list_destroy(low);
                return err;
        }
        for (int i = 0; i < partitions->cnt; i++) {
                bool ok = low->elems[i].err == 0 && high->elems[i].err == 0;
                request->low[first + i] = ok ? low->elems[i].offset : -1;
                request->high[first + i] = ok ? high->elems[i].offset : -1;
        }
        rd_kafka_topic_partition_list_destroy(low);
        rd_kafka_topic_partition_list_destroy(high);
        return 0;
}

static void look_up_ends(Helper *helper, HelperRequest *request) {
        const rd_kafka_topic_partition_list_t *all = request->partitions;
        rd_kafka_resp_err_t err = ask_ends(helper, request, all, 0);
        if (err == 0) {
                return;
        }
        request->error = err;
        for (int i = 0; i < all->cnt; i++) {
                request->low[i] = request->high[i] = -1;
        }
        /* One partition's error is the error of the whole call: then each is asked by itself, so
         * that a topic that is gone does not hold up the others. */
        for (int i = 0; all->cnt > 1 && i < all->cnt && err != RD_KAFKA_RESP_ERR__TIMED_OUT; i++) {
                rd_kafka_topic_partition_list_t *one = rd_kafka_topic_partition_list_new(1);
                rd_kafka_topic_partition_list_add(one, all->elems[i].topic,
                                                  all->elems[i].partition);
                err = ask_ends(helper, request, one, i);
                rd_kafka_topic_partition_list_destroy(one);
        }
}

static void look_up_committed(Helper *helper, HelperRequest *request) {
        rd_kafka_resp_err_t err = RD_KAFKA_RESP_ERR__TIMED_OUT;
        int limit_ms = left_ms(request);
        if (limit_ms > 0) {
                err = rd_kafka_committed(helper->rk, request->partitions, limit_ms);
        }
        for (int i = 0; i < request->partitions->cnt; i++) {
                rd_kafka_topic_partition_t *one = &request->partitions->elems[i];
                if (err != 0) {
                        one->err = err;
                }
                if (one->err != 0 && request->error == 0) {
                        request->error = one->err;
                }
        }
}

static void probe(Helper *helper, HelperRequest *request) {
        const struct rd_kafka_metadata *metadata;
        request->error = RD_KAFKA_RESP_ERR__TIMED_OUT;
        int limit_ms = left_ms(request);
        if (limit_ms == 0) {
                return;
        }
        request->error = rd_kafka_metadata(helper->rk, 0, NULL, &metadata, limit_ms);
        if (request->error == 0) {
                rd_kafka_metadata_destroy(metadata);
                request->cluster_id = rd_kafka_clusterid(helper->rk, 0);
        }
}

/* All that there are: what librdkafka has heard of a topic that it did not find, it keeps for long.
 */
static void look_up_topics(Helper *helper, HelperRequest *request) {
        const struct rd_kafka_metadata *metadata;
        int limit_ms = left_ms(request);
        request->error = limit_ms == 0
                                 ? RD_KAFKA_RESP_ERR__TIMED_OUT
                                 : rd_kafka_metadata(helper->rk, 1, NULL, &metadata, limit_ms);
        if (request->error != 0) {
                return;
        }
        for (int i = 0; i < request->partitions->cnt; i++) {
                rd_kafka_topic_partition_t *one = &request->partitions->elems[i];
                one->err = RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART;
                for (int j = 0; j < metadata->topic_cnt; j++) {
                        if (strcmp(metadata->topics[j].topic, one->topic) == 0) {
                                one->err = metadata->topics[j].err;
                        }
                }
        }
        rd_kafka_metadata_destroy(metadata);
}

static void make(Helper *helper, HelperRequest *request) {
        rd_kafka_topic_partition_list_t *ignored;
        switch (request->kind) {
        case HELPER_LOOK_UP:
                look_up_committed(helper, request);
                if (request->error != RD_KAFKA_RESP_ERR__TIMED_OUT) {
                        look_up_ends(helper, request);
                        request->cluster_id = rd_kafka_clusterid(helper->rk, left_ms(request));
                }
                break;
        case HELPER_LOOK_COMMITTED:
                look_up_committed(helper, request);
                break;
        case HELPER_WAKE:
                request->error = ask_end(helper, request, request->partitions, RD_KAFKA_OFFSET_END,
                                         &ignored);
                if (request->error == 0) {
                        rd_kafka_topic_partition_list_destroy(ignored);
                }
                break;
        case HELPER_PROBE:
                probe(helper, request);
                break;
        case HELPER_TOPICS:
                look_up_topics(helper, request);
                break;
        }
}

static void destroy(Helper *helper) {
        free_requests(&helper->requests);
        free_requests(&helper->answers);
        pthread_cond_destroy(&helper->exited);
        pthread_cond_destroy(&helper->work);
        pthread_mutex_destroy(&helper->mutex);
        free(helper);
}

static void *run(void *argument) {
        Helper *helper = argument;

        pthread_mutex_lock(&helper->mutex);
        while (!helper->ending) {
                HelperRequest *request = list_first(&helper->requests, HelperRequest, link);
                if (request == NULL) {
                        pthread_cond_wait(&helper->work, &helper->mutex);
                        continue;
                }
                list_unlink(&request->link);
                pthread_mutex_unlock(&helper->mutex);
                make(helper, request);
                pthread_mutex_lock(&helper->mutex);
                list_push_back(&helper->answers, &request->link);
                if (!helper->ending) {
                        loop_wake_send(&helper->wake);
                }
        }
        helper->ended = true;
        bool abandoned = helper->abandoned;
        pthread_cond_signal(&helper->exited);
        pthread_mutex_unlock(&helper->mutex);
        if (abandoned) {
                destroy(helper);
        }
        return NULL;
}

static void on_wake(LoopWake *wake) {
        Helper *helper = container_of(wake, Helper, wake);
        List answers;

        list_init(&answers);
        pthread_mutex_lock(&helper->mutex);
        list_splice_back(&answers, &helper->answers);
        pthread_mutex_unlock(&helper->mutex);
        list_for_each_safe(link, &answers) {
                HelperRequest *request = container_of(link, HelperRequest, link);
                list_unlink(link);
                helper->answered(helper->user, request);
                helper_request_free(request);
        }
}

/* Starts a thread that takes no signals. */
static int start_thread(pthread_t *thread, void *(*function)(void *), void *argument) {
        sigset_t all, before;
        sigfillset(&all);
        pthread_sigmask(SIG_SETMASK, &all, &before);
        int r = pthread_create(thread, NULL, function, argument);
        pthread_sigmask(SIG_SETMASK, &before, NULL);
        return -r;
}

static void init_condition(pthread_cond_t *condition) {
        pthread_condattr_t attributes;
        pthread_condattr_init(&attributes);
        pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
        pthread_cond_init(condition, &attributes);
        pthread_condattr_destroy(&attributes);
}

/* Waits for *@flag, at most @limit_us. Returns it. */
static bool wait_for(const bool *flag, pthread_cond_t *condition, pthread_mutex_t *mutex,
                     int64_t limit_us) {
        int64_t until = loop_now() + limit_us;
        struct timespec ts = {.tv_sec = until / 1000000, .tv_nsec = until % 1000000 * 1000};
        int r = 0;
        while (!*flag && r == 0) {
                r = pthread_cond_timedwait(condition, mutex, &ts);
        }
        return *flag;
}

int helper_new(Helper **helperp, Loop *loop, rd_kafka_t *rk, HelperAnswered answered, void *user) {
        Helper *helper = calloc(1, sizeof(*helper));
        if (helper == NULL) {
                return error_origin(-ENOMEM);
        }
        pthread_mutex_init(&helper->mutex, NULL);
        init_condition(&helper->work);
        init_condition(&helper->exited);
        list_init(&helper->requests);
        list_init(&helper->answers);
        helper->rk = rk;
        helper->answered = answered;
        helper->user = user;
        loop_wake_init(&helper->wake, loop, "kafka helper", on_wake);
        loop_wake_start(&helper->wake);
        int r = start_thread(&helper->thread, run, helper);
        if (r < 0) {
                loop_wake_stop(&helper->wake);
                destroy(helper);
                return error_origin(r);
        }
        *helperp = helper;
        return 0;
}

bool helper_free(Helper *helper, int64_t limit_us) {
        if (helper == NULL) {
                return true;
        }
        loop_wake_stop(&helper->wake);
        pthread_mutex_lock(&helper->mutex);
        helper->ending = true;
        pthread_cond_signal(&helper->work);
        bool ended = wait_for(&helper->ended, &helper->exited, &helper->mutex, limit_us);
        helper->abandoned = !ended;
        pthread_t thread = helper->thread;
        if (!ended) {
                pthread_detach(thread);
        }
        pthread_mutex_unlock(&helper->mutex);
        if (ended) {
                pthread_join(thread, NULL);
                destroy(helper);
        }
        return ended;
}

void helper_ask(Helper *helper, HelperRequest *request) {
        pthread_mutex_lock(&helper->mutex);
        list_push_back(&helper->requests, &request->link);
        pthread_cond_signal(&helper->work);
        pthread_mutex_unlock(&helper->mutex);
}

/* --- the end of a handle ------------------------------------------------------------------ */

typedef struct Disposal {
        pthread_mutex_t mutex;
        pthread_cond_t condition;
        rd_kafka_t *rk;
        bool done, abandoned;
} Disposal;

static void disposal_free(Disposal *disposal) {
        pthread_cond_destroy(&disposal->condition);
        pthread_mutex_destroy(&disposal->mutex);
        free(disposal);
}

static void *dispose(void *argument) {
        Disposal *disposal = argument;
        /* The consumer was closed before, or cannot be: nothing is to be waited for. */
        rd_kafka_destroy_flags(disposal->rk, RD_KAFKA_DESTROY_F_NO_CONSUMER_CLOSE);
        pthread_mutex_lock(&disposal->mutex);
        disposal->done = true;
        bool abandoned = disposal->abandoned;
        pthread_cond_signal(&disposal->condition);
        pthread_mutex_unlock(&disposal->mutex);
        if (abandoned) {
                disposal_free(disposal);
        }
        return NULL;
}

bool helper_destroy_handle(rd_kafka_t *rk, int64_t limit_us) {
        pthread_t thread;
        Disposal *disposal = calloc(1, sizeof(*disposal));
        if (disposal == NULL) {
                return false;
        }
        pthread_mutex_init(&disposal->mutex, NULL);
        init_condition(&disposal->condition);
        disposal->rk = rk;
        if (start_thread(&thread, dispose, disposal) < 0) {
                disposal_free(disposal);
                return false;
        }
        pthread_mutex_lock(&disposal->mutex);
        bool done = wait_for(&disposal->done, &disposal->condition, &disposal->mutex, limit_us);
        disposal->abandoned = !done;
        if (!done) {
                pthread_detach(thread);
        }
        pthread_mutex_unlock(&disposal->mutex);
        if (done) {
                pthread_join(thread, NULL);
                disposal_free(disposal);
        }
        return done;
}
