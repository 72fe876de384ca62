/*
 * What waits for a host.
 *
 * One restart of a host at a time, and at most `concurrency` of all hosts. Messages that ask for a
 * host while it waits share the next run; those that come while it runs wait for the one after it.
 * Hosts start in the order in which they became ready, so no host holds up another.
 *
 * What failed before stands in a queue of its own. While fresh hosts wait it gets one part in 64 of
 * the slots and of their time, so 10,000 restarts that keep failing cost the good ones next to
 * nothing. Time, since a command that fails may take its whole timeout to do so.
 *
 * The other way round, what is being retried may fill at most half of `waiting` and of
 * `in_flight_bytes`. With that much of it nothing fresh starts until some of it is resolved:
 * otherwise each restart that fails would add one, until nothing but failures was in memory and the
 * intake stood still.
 *
 * The table grows by a bucket at a time (linear hashing): doubling it with 65,536 hosts inside
 * would hold up the loop for 8 ms, and one that is large from the start misses the cache with every
 * host.
 *
 * Invariants: a host is in the table exactly while it has waiting messages or a run; it is in
 * Engine.fresh or Engine.again exactly while it has waiting messages and no run, in the second one
 * when a message that failed is among them.
 */

#include <stdlib.h>
#include <string.h>

#include "core/observe.h"
#include "core/state.h"

enum {
        BUCKETS_MIN = 64,
        AGAIN_SHARE = 64, /* one slot of so many, and of their time, is a retry's */
        CROWD_SHARE = 2,  /* one place of so many is the most that retries fill */
        RESUME_SHARE = 8, /* fresh work starts again when one place of so many of these is free */
};

/* FNV-1a: names are short, and a bucket's chain is compared by name anyway. */
static size_t host_hash(const char *name) {
        uint64_t hash = 14695981039346656037u;
        for (; *name != '\0'; name++) {
                hash = (hash ^ (uint8_t)*name) * 1099511628211u;
        }
        return (size_t)(hash ^ (hash >> 32));
}

static Host **bucket_of(Engine *engine, size_t hash) {
        size_t at = hash & engine->mask;
        return &engine->buckets[at < engine->n_buckets ? at : at & engine->mask >> 1];
}

int hosts_init(Engine *engine) {
        engine->n_buckets = BUCKETS_MIN;
        engine->mask = BUCKETS_MIN - 1;
        engine->buckets = calloc(BUCKETS_MIN, sizeof(*engine->buckets));
        return engine->buckets == NULL ? error_origin(-ENOMEM) : 0;
}

/* Adds one bucket, which takes its share of the hosts of one other. */
static int hosts_grow(Engine *engine) {
        if (engine->n_buckets > engine->mask) {
                Host **buckets = realloc(engine->buckets, 2 * engine->n_buckets * sizeof(*buckets));
                if (buckets == NULL) {
                        return error_origin(-ENOMEM);
                }
                engine->buckets = buckets;
                engine->mask = 2 * engine->n_buckets - 1;
        }
        Host **mine = &engine->buckets[engine->n_buckets];
        Host **from = &engine->buckets[engine->n_buckets & engine->mask >> 1];
        engine->n_buckets++;
        *mine = NULL;
        while (*from != NULL) {
                Host *host = *from;
                if (bucket_of(engine, host->hash) != mine) {
                        from = &host->next;
                        continue;
                }
                *from = host->next;
                host->next = *mine;
                *mine = host;
        }
        return 0;
}

static int host_find(Engine *engine, const char *name, Host **hostp) {
        size_t hash = host_hash(name);
        for (Host *host = *bucket_of(engine, hash); host != NULL; host = host->next) {
                if (host->hash == hash && strcmp(host->name, name) == 0) {
                        *hostp = host;
                        return 0;
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
        Host **bucket = bucket_of(engine, hash);
        host->next = *bucket;
        *bucket = host;
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
                        list_push_back(host->again ? &engine->again : &engine->fresh, &host->link);
                }
                return;
        }
        Host **at = bucket_of(engine, host->hash);
        while (*at != host) {
                at = &(*at)->next;
        }
        *at = host->next;
        engine->n_hosts--;
        list_unlink(&host->link);
        free(host);
}

/* The last place of those that wait for the host; before all others when it was there already. */
static void host_wait(Engine *engine, Host *host, Message *message, bool first) {
        message_set_state(message, HANDLER_RESTART, HANDLER_QUEUED);
        message->target = host;
        if (first) {
                list_push_front(&host->waiting, &message->host_link);
        } else {
                list_push_back(&host->waiting, &message->host_link);
        }
        host->n_waiting++;
        engine->n_hosted++;
        engine->n_behind += host->run != NULL;
}

int hosts_add(Message *message) {
        Engine *engine = message->partition->engine;
        Host *host = NULL;
        int r = host_find(engine, message->host, &host);
        if (r != 0) {
                return r;
        }
        host_wait(engine, host, message, false);
        if (message->handlers[HANDLER_RESTART].attempts > 0 && !host->again) {
                host->again = true;
                list_unlink(&host->link);
        }
        host_settle(engine, host);
        return 0;
}

void hosts_remove(Message *message) {
        Engine *engine = message->partition->engine;
        Host *host = message->target;
        list_unlink(&message->host_link);
        message->target = NULL;
        if (host == NULL) {
                return;
        }
        if (message->handlers[HANDLER_RESTART].state == HANDLER_QUEUED) {
                host->n_waiting--;
                engine->n_hosted--;
                engine->n_behind -= host->run != NULL;
        }
        host_settle(engine, host);
}

static int host_run(Engine *engine, Host *host) {
        Run *run = calloc(1, sizeof(*run));
        if (run == NULL) {
                return error_origin(-ENOMEM);
        }
        run->host = host;
        run->id = ++engine->run_ids;
        run->started_us = engine->now;
        run->again = host->again;
        host->again = false;
        list_init(&run->messages);
        list_splice_back(&run->messages, &host->waiting);
        list_unlink(&host->link);
        engine->n_hosted -= host->n_waiting;
        host->n_waiting = 0;
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
        engine->n_runs_again += run->again;
        engine->totals.runs++;
        return engine_act(engine, &(EngineAction){.type = ENGINE_RESTART, .run = run});
}

/* --- whose turn it is --------------------------------------------------------------------- */

void retries_count(Message *message, bool retries) {
        Engine *engine = message->partition->engine;
        if (message->retries == retries) {
                return;
        }
        message->retries = retries;
        engine->retrying += retries ? 1 : (size_t)-1;
        engine->retrying_bytes += retries ? message->bytes : -message->bytes;
}

static int crowd_dispatch(Engine *engine) {
        size_t most = engine->config->waiting / CROWD_SHARE;
        size_t most_bytes = engine->config->in_flight_bytes / CROWD_SHARE;
        if (engine->retries_crowd) {
                most -= most / RESUME_SHARE;
                most_bytes -= most_bytes / RESUME_SHARE;
        }
        bool crowd = (engine->retries_crowd || !list_is_empty(&engine->fresh)) &&
                     (engine->retrying > most || engine->retrying_bytes > most_bytes);
        if (crowd == engine->retries_crowd) {
                return 0;
        }
        engine->retries_crowd = crowd;
        return engine_act(engine,
                          &(EngineAction){.type = ENGINE_NOTE,
                                          .note = crowd ? NOTE_RETRIES_CROWD : NOTE_RETRIES_THIN,
                                          .offset = (int64_t)engine->retrying});
}

/* Also when nobody else waits, a quarter of the slots is kept for who comes next: what fails may
 * take its whole timeout to do so. */
static bool again_may_start(const Engine *engine, bool alone) {
        size_t limit = engine->config->concurrency;
        size_t slots = !alone       ? limit / AGAIN_SHARE
                       : limit == 0 ? SIZE_MAX
                                    : limit - (limit + 3) / 4;
        return (alone || engine->debt_us <= 0) && engine->n_runs_again < (slots > 0 ? slots : 1);
}

/* NULL: nobody's. */
static Host *next_host(Engine *engine) {
        Host *fresh = list_first(&engine->fresh, Host, link);
        Host *again = list_first(&engine->again, Host, link);
        if (fresh == NULL) {
                engine->debt_us = 0; /* nobody was kept waiting */
                return again_may_start(engine, true) ? again : NULL;
        }
        if (engine->retries_crowd) {
                return again;
        }
        return again != NULL && again_may_start(engine, false) ? again : fresh;
}

/* The slots' time that a run took while fresh hosts waited for a slot. Runs that ended together are
 * one debt: how many there are at once is bounded already. */
static void run_account(Engine *engine, const Run *run) {
        int64_t from =
                run->started_us > engine->no_fresh_us ? run->started_us : engine->no_fresh_us;
        int64_t took = engine->now > from ? engine->now - from : 1;
        int64_t debt = run->again ? took * (AGAIN_SHARE - 1) : engine->debt_us - took;
        if (!run->again || debt > engine->debt_us) {
                engine->debt_us = debt > 0 ? debt : 0;
        }
}

int hosts_dispatch(Engine *engine) {
        int r = waits_dispatch(engine);
        while (r == 0 && !engine->stopping) {
                HeapNode *first = heap_first(&engine->retries);
                if (first == NULL || first->key > engine->now) {
                        break;
                }
                heap_remove(&engine->retries, first);
                r = hosts_add(container_of(first, Message, retry));
        }
        size_t limit = engine->config->concurrency;
        bool open = true;
        r = r == 0 && !engine->stopping ? windows_dispatch(engine, &open) : r;
        if (!open || list_is_empty(&engine->fresh)) {
                engine->no_fresh_us = engine->now; /* no run keeps anybody waiting */
        }
        r = r == 0 && open && !engine->stopping ? crowd_dispatch(engine) : r;
        while (r == 0 && open && !engine->stopping && (limit == 0 || engine->n_runs < limit)) {
                Host *host = next_host(engine);
                if (host == NULL) {
                        break;
                }
                r = host_run(engine, host);
        }
        return r;
}

/* The one place that takes a run out of the engine. */
static void run_free(Engine *engine, Run *run) {
        Host *host = run->host;
        host->run = NULL;
        engine->n_behind -= host->n_waiting;
        list_unlink(&run->link);
        engine->n_runs--;
        engine->n_runs_again -= run->again;
        free(run);
        host_settle(engine, host);
}

void run_put_back(Engine *engine, Run *run) {
        Host *host = run->host;
        while (!list_is_empty(&run->messages)) {
                Message *message = container_of(run->messages.prev, Message, host_link);
                list_unlink(&message->host_link);
                message->shares = false;
                host_wait(engine, host, message, true); /* whoever came meanwhile, came later */
        }
        host->again = host->again || run->again;
        engine->totals.runs--;
        run_free(engine, run);
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
        if (observes(engine)) {
                observe_tell(engine, &(Observation){.type = OBSERVED_RESTARTED,
                                                    .partition = -1,
                                                    .id = run->id,
                                                    .kind = outcome,
                                                    .ok = charged,
                                                    .a = run->retry_after_us});
        }
        list_init(&messages);
        list_splice_back(&messages, &run->messages);
        /* The messages are the run's no longer: whatever settling one does to the others, it finds
         * them in this list, and their host stays until the run is freed. */
        while (!list_is_empty(&messages)) {
                Message *message = container_of(messages.next, Message, host_link);
                list_unlink(&message->host_link);
                message->target = NULL;
                message->shares = false;
                message->handlers[HANDLER_RESTART].not_before_us =
                        run->retry_after_us > 0 ? now + run->retry_after_us : 0;
                int one = message_outcome(message, HANDLER_RESTART, outcome, charged, detail);
                one = one == 0 ? message_settle(message) : one;
                r = r == 0 ? one : r; /* none may stay in this list */
        }
        run_account(engine, run);
        run_free(engine, run);
        return r;
}

void hosts_free(Engine *engine) {
        while (!list_is_empty(&engine->runs)) {
                Run *run = container_of(engine->runs.next, Run, link);
                run_free(engine, run);
        }
        free(engine->buckets);
}
