/*
 * What waits for a host.
 *
 * One restart of a host at a time, and at most `concurrency` of all hosts. Messages that ask for a
 * host while it waits share the next run; those that come while it runs wait for the one after it.
 * Hosts start in the order in which they became ready, so no host holds up another.
 *
 * Invariants: a host is in the table exactly while it has waiting messages or a run; it is in
 * Engine.ready exactly while it has waiting messages and no run.
 */

#include <stdlib.h>
#include <string.h>

#include "core/state.h"

enum {
        BUCKETS_MIN = 64,
};

/* FNV-1a: names are short, and a bucket's chain is compared by name anyway. */
static size_t host_hash(const char *name) {
        uint64_t hash = 14695981039346656037u;
        for (; *name != '\0'; name++) {
                hash = (hash ^ (uint8_t)*name) * 1099511628211u;
        }
        return (size_t)(hash ^ (hash >> 32));
}

static int hosts_grow(Engine *engine) {
        size_t n = engine->n_buckets > 0 ? engine->n_buckets * 2 : BUCKETS_MIN;
        Host **buckets = calloc(n, sizeof(*buckets));
        if (buckets == NULL) {
                return error_origin(-ENOMEM);
        }
        for (size_t i = 0; i < engine->n_buckets; i++) {
                for (Host *host = engine->buckets[i], *next; host != NULL; host = next) {
                        next = host->next;
                        host->next = buckets[host->hash & (n - 1)];
                        buckets[host->hash & (n - 1)] = host;
                }
        }
        free(engine->buckets);
        engine->buckets = buckets;
        engine->n_buckets = n;
        return 0;
}

static int host_find(Engine *engine, const char *name, Host **hostp) {
        size_t hash = host_hash(name);
        if (engine->n_buckets > 0) {
                for (Host *host = engine->buckets[hash & (engine->n_buckets - 1)]; host != NULL;
                     host = host->next) {
                        if (host->hash == hash && strcmp(host->name, name) == 0) {
                                *hostp = host;
                                return 0;
                        }
                }
        }
        if (engine->n_hosts >= engine->n_buckets) {
                int r = hosts_grow(engine);
                if (r != 0) {
                        return r;
                }
        }
        size_t size = strlen(name) + 1;
        Host *host = calloc(1, sizeof(*host) + size);
        if (host == NULL) {
                return error_origin(-ENOMEM);
        }
        memcpy(host->name, name, size);
        host->hash = hash;
        list_init(&host->waiting);
        list_init(&host->link);
        host->next = engine->buckets[hash & (engine->n_buckets - 1)];
        engine->buckets[hash & (engine->n_buckets - 1)] = host;
        engine->n_hosts++;
        *hostp = host;
        return 0;
}

/* Frees the host when nothing waits for it and nothing runs on it. */
static void host_settle(Engine *engine, Host *host) {
        if (host->run != NULL) {
                return;
        }
        if (!list_is_empty(&host->waiting)) {
                if (!list_is_linked(&host->link)) {
                        list_push_back(&engine->ready, &host->link);
                }
                return;
        }
        Host **at = &engine->buckets[host->hash & (engine->n_buckets - 1)];
        while (*at != host) {
                at = &(*at)->next;
        }
        *at = host->next;
        engine->n_hosts--;
        list_unlink(&host->link);
        free(host);
}

int hosts_add(Message *message) {
        Engine *engine = message->partition->engine;
        Host *host = NULL;
        int r = host_find(engine, message->host, &host);
        if (r != 0) {
                return r;
        }
        message_set_state(message, HANDLER_RESTART, HANDLER_QUEUED);
        message->target = host;
        list_push_back(&host->waiting, &message->host_link);
        host_settle(engine, host);
        return 0;
}

void hosts_remove(Message *message) {
        Host *host = message->target;
        list_unlink(&message->host_link);
        message->target = NULL;
        if (host != NULL) {
                host_settle(message->partition->engine, host);
        }
}

static int host_run(Engine *engine, Host *host) {
        Run *run = calloc(1, sizeof(*run));
        if (run == NULL) {
                return error_origin(-ENOMEM);
        }
        run->host = host;
        run->id = ++engine->run_ids;
        run->started_us = engine->now;
        list_init(&run->messages);
        list_splice_back(&run->messages, &host->waiting);
        list_unlink(&host->link);
        list_for_each(link, &run->messages) {
                Message *message = container_of(link, Message, host_link);
                const HandlerTask *task = &message->handlers[HANDLER_RESTART];
                /* 10,000 requests for one host are one restart in flight, not the end of intake. */
                message->shares = link != run->messages.next;
                message_set_state(message, HANDLER_RESTART, HANDLER_RUNNING);
                if (task->attempts + 1 > run->attempt) {
                        run->attempt = task->attempts + 1;
                }
        }
        host->run = run;
        list_push_back(&engine->runs, &run->link);
        engine->n_runs++;
        engine->totals.runs++;
        return engine_act(engine, &(EngineAction){.type = ENGINE_RESTART, .run = run});
}

int hosts_dispatch(Engine *engine) {
        int r = 0;
        while (r == 0 && !engine->stopping) {
                HeapNode *first = heap_first(&engine->retries);
                if (first == NULL || first->key > engine->now) {
                        break;
                }
                heap_remove(&engine->retries, first);
                r = hosts_add(container_of(first, Message, retry));
        }
        size_t limit = engine->config->concurrency;
        while (r == 0 && !engine->stopping && !list_is_empty(&engine->ready) &&
               (limit == 0 || engine->n_runs < limit)) {
                r = host_run(engine, container_of(engine->ready.next, Host, link));
        }
        return r;
}

/* The one place that takes a run out of the engine. */
static void run_free(Engine *engine, Run *run) {
        Host *host = run->host;
        host->run = NULL;
        list_unlink(&run->link);
        engine->n_runs--;
        free(run);
        host_settle(engine, host);
}

const char *run_host(const Run *run) {
        return run->host->name;
}

bool run_is_wanted(const Run *run) {
        /* What was revoked may not be cancelled yet. */
        list_for_each(link, &run->messages) {
                const Message *message = container_of(link, Message, host_link);
                if (message->partition->state != PARTITION_DRAINING) {
                        return true;
                }
        }
        return false;
}

int engine_restarted(Engine *engine, Run *run, Outcome outcome, bool charged, const char *detail,
                     int64_t now) {
        List messages;
        int r = 0;
        engine->now = now;
        list_init(&messages);
        list_splice_back(&messages, &run->messages);
        /* The messages are the run's no longer: whatever settling one does to the others, it finds
         * them in this list, and their host stays until the run is freed. */
        while (!list_is_empty(&messages)) {
                Message *message = container_of(messages.next, Message, host_link);
                list_unlink(&message->host_link);
                message->target = NULL;
                message->shares = false;
                int one = message_outcome(message, HANDLER_RESTART, outcome, charged, detail);
                one = one == 0 ? message_settle(message) : one;
                r = r == 0 ? one : r; /* none may stay in this list */
        }
        run_free(engine, run);
        return r;
}

void hosts_free(Engine *engine) {
        while (!list_is_empty(&engine->runs)) {
                Run *run = container_of(engine->runs.next, Run, link);
                list_for_each_safe(link, &run->messages) {
                        list_unlink(link);
                }
                run_free(engine, run);
        }
        free(engine->buckets);
}
