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
 * A host whose restart may not start (the ledger, or precheck, says wait) stands aside until it is
 * asked for again. All that stand so are asked in turn, with some milliseconds between two of them:
 * 100,000 hosts under one hold are no load, and whichever limit opens, one that it kept waiting
 * asks soon. When a hold was lifted, those that it held are asked for first.
 *
 * Invariants: a host is in the table exactly while it has waiting messages or a run; while it has
 * waiting messages and no run it is either in Engine.asks (it has to wait) or in Engine.fresh or
 * Engine.again, in the last one when a message that failed is among them.
 */

#include <stdlib.h>
#include <string.h>

#include "core/host.h"
#include "core/observe.h"
#include "core/state.h"

enum {
        BUCKETS_MIN = 64,
        AGAIN_SHARE = 64, /* one slot of so many, and of their time, is a retry's */
        CROWD_SHARE = 2,  /* one place of so many is the most that retries fill */
        RESUME_SHARE = 8, /* fresh work starts again when one place of so many of these is free */
        ASK_SPACING_US = 4000, /* between two hosts that are asked for again */
        ASIDE_MAX = 256,       /* suppressed ones at the ledger at once: one call */
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
        heap_node_init(&host->ask);
        Host **bucket = bucket_of(engine, hash);
        host->next = *bucket;
        *bucket = host;
        engine->n_hosts++;
        *hostp = host;
        return 0;
}

/* What those that wait for it wait for. */
static RestartWait host_waits_for(const Host *host) {
        return host->run != NULL ? WAIT_HOST : host->wait != WAIT_NONE ? host->wait : WAIT_SLOT;
}

static void host_count(Engine *engine, Host *host, size_t more) {
        host->n_waiting += more;
        engine->n_waits[host_waits_for(host)] += more;
}

/* The one place that changes what its messages wait for. */
static void host_set(Engine *engine, Host *host, Run *run, RestartWait wait) {
        size_t n = host->n_waiting;
        host_count(engine, host, -n);
        host->run = run;
        host->wait = wait;
        host_count(engine, host, n);
        heap_remove(&engine->asks, &host->ask);
}

/* Frees the host when nothing waits for it and nothing runs on it. */
static void host_settle(Engine *engine, Host *host) {
        if (host->run != NULL) {
                return;
        }
        if (!list_is_empty(&host->waiting)) {
                if (host->wait == WAIT_NONE && !list_is_linked(&host->link)) {
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
        heap_remove(&engine->asks, &host->ask);
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
        host_count(engine, host, 1);
}

static void aside_add(Engine *engine, Message *message, bool first) {
        message_set_state(message, HANDLER_RESTART, HANDLER_QUEUED);
        if (first) {
                list_push_front(&engine->aside, &message->host_link);
        } else {
                list_push_back(&engine->aside, &message->host_link);
        }
        engine->n_waits[WAIT_POSTGRES]++;
}

int hosts_add(Message *message) {
        Engine *engine = message->partition->engine;
        Host *host = NULL;
        if (message->suppress != LEDGER_REASON_NONE) {
                aside_add(engine, message, false);
                return 0;
        }
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
        bool queued = message->handlers[HANDLER_RESTART].state == HANDLER_QUEUED &&
                      list_is_linked(&message->host_link);
        if (message->run != NULL && message->run->leader == message) {
                message->run->leader = NULL;
        }
        message->run = NULL;
        list_unlink(&message->host_link);
        message->target = NULL;
        if (host == NULL) {
                engine->n_waits[WAIT_POSTGRES] -= queued;
                return;
        }
        if (queued) {
                host_count(engine, host, (size_t)-1);
        }
        host_settle(engine, host);
}

static void run_take(Run *run, Message *message) {
        message->run = run;
        list_push_back(&run->messages, &message->host_link);
        const HandlerTask *task = &message->handlers[HANDLER_RESTART];
        if (task->attempts + 1 > run->attempt) {
                run->attempt = task->attempts + 1;
        }
}

void host_begin(Engine *engine, Run *run, Message *aside) {
        if (aside != NULL) {
                engine->n_aside++;
                run_take(run, aside);
                return;
        }
        engine->n_runs++;
        host_set(engine, run->host, run, WAIT_NONE);
        host_join(engine, run);
}

void host_join(Engine *engine, Run *run) {
        Host *host = run->host;
        engine->n_runs_again += host->again && !run->again;
        run->again = run->again || host->again;
        host->again = false;
        list_for_each_safe(link, &host->waiting) {
                Message *message = container_of(link, Message, host_link);
                /* What became of it before is asked for it alone: it may be done, and what becomes
                 * of this run must not change that. */
                if (message->asks && !list_is_empty(&run->messages)) {
                        host->again =
                                host->again || message->handlers[HANDLER_RESTART].attempts > 0;
                        continue;
                }
                host_count(engine, host, (size_t)-1);
                list_unlink(&message->host_link);
                run_take(run, message);
        }
}

void host_take_back(Engine *engine, Run *run, Message *message) {
        list_unlink(&message->host_link);
        message->run = NULL;
        message->shares = false;
        if (run->leader == message) {
                run->leader = NULL;
        }
        if (run->host == NULL) {
                aside_add(engine, message, true);
                return;
        }
        host_wait(engine, run->host, message, true); /* whoever came meanwhile, came later */
        run->host->again = run->host->again || run->again;
}

/* The run gives back its slot. */
static void host_leave(Engine *engine, const Run *run, RestartWait wait) {
        Host *host = run->host;
        if (host == NULL) {
                engine->n_aside--;
                return;
        }
        if (wait != WAIT_NONE && wait != host->since_wait) {
                host->since_wait = wait;
                host->since_us = engine->now;
        }
        engine->n_runs--;
        engine->n_runs_again -= run->again;
        host_set(engine, host, NULL, list_is_empty(&host->waiting) ? WAIT_NONE : wait);
}

int host_release(Engine *engine, Run *run, RestartWait wait, int64_t delay) {
        Host *host = run->host;
        host_leave(engine, run, wait);
        if (host == NULL) {
                return 0;
        }
        run->host = NULL;
        int r = 0;
        if (host->wait != WAIT_NONE) {
                int64_t turn = delay > 0 ? (int64_t)engine->asks.size * ASK_SPACING_US : 0;
                r = heap_insert(&engine->asks, &host->ask,
                                engine->now + (delay > turn ? delay : turn));
        }
        host_settle(engine, host);
        return r;
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

/* Runs that ended together are one debt: how many there are at once is bounded already. */
void host_account(Engine *engine, const Run *run) {
        int64_t from =
                run->started_us > engine->no_fresh_us ? run->started_us : engine->no_fresh_us;
        int64_t took = engine->now > from ? engine->now - from : 1;
        int64_t debt = run->again ? took * (AGAIN_SHARE - 1) : engine->debt_us - took;
        if (!run->again || debt > engine->debt_us) {
                engine->debt_us = debt > 0 ? debt : 0;
        }
}

/* What waited for its next attempt, or to be asked for again, is ready. */
static int hosts_wake(Engine *engine) {
        int r = 0;
        while (r == 0) {
                HeapNode *first = heap_first(&engine->retries);
                if (first == NULL || first->key > engine->now) {
                        break;
                }
                heap_remove(&engine->retries, first);
                r = hosts_add(container_of(first, Message, retry));
        }
        while (r == 0) {
                HeapNode *first = heap_first(&engine->asks);
                if (first == NULL || first->key > engine->now) {
                        break;
                }
                Host *host = container_of(first, Host, ask);
                host_set(engine, host, NULL, WAIT_NONE);
                host_settle(engine, host);
        }
        return r;
}

static int aside_dispatch(Engine *engine) {
        int r = 0;
        while (r == 0 && engine->n_aside < ASIDE_MAX && !list_is_empty(&engine->aside)) {
                Message *message = list_first(&engine->aside, Message, host_link);
                list_unlink(&message->host_link);
                engine->n_waits[WAIT_POSTGRES]--;
                r = run_start(engine, NULL, message);
        }
        return r;
}

int hosts_dispatch(Engine *engine) {
        size_t limit = engine->config->concurrency;
        bool open = true;
        int r = runs_dispatch(engine);
        if (r != 0 || engine->stopping) {
                return r;
        }
        r = waits_dispatch(engine);
        r = r == 0 ? hosts_wake(engine) : r;
        r = r == 0 ? windows_dispatch(engine, &open) : r;
        if (!open || list_is_empty(&engine->fresh)) {
                engine->no_fresh_us = engine->now; /* no run keeps anybody waiting */
        }
        if (engine->ledger_us > engine->now) {
                return r;
        }
        r = r == 0 ? aside_dispatch(engine) : r;
        r = r == 0 && open ? crowd_dispatch(engine) : r;
        while (r == 0 && open && (limit == 0 || engine->n_runs < limit)) {
                Host *host = next_host(engine);
                if (host == NULL) {
                        break;
                }
                list_unlink(&host->link);
                r = run_start(engine, host, NULL);
        }
        return r;
}

int64_t hosts_deadline(const Engine *engine) {
        const HeapNode *ask = heap_first(&engine->asks);
        int64_t due = ask != NULL ? ask->key : INT64_MAX;
        bool waits = engine->n_waits[WAIT_SLOT] > 0 || !list_is_empty(&engine->aside);
        return waits && engine->ledger_us > engine->now && engine->ledger_us < due
                       ? engine->ledger_us
                       : due;
}

/* Decreasing keys from the front of the heap on moves none behind a place that is still to come, so
 * each is met once. The turn is that of the order in the heap, which is nearly that of their keys.
 */
int engine_holds_changed(Engine *engine, const char *pattern, int64_t now) {
        int64_t turn = now;
        engine->now = now;
        engine->holds++;
        observe(engine, OBSERVED_HOLDS_CHANGED);
        for (size_t i = 0; i < engine->asks.size; i++) {
                HeapNode *node = engine->asks.nodes[i];
                const Host *host = container_of(node, Host, ask);
                if ((host->wait != WAIT_HOLD && host->wait != WAIT_FUSE) ||
                    (pattern != NULL && !host_matches(pattern, host->name))) {
                        continue;
                }
                if (turn < node->key) {
                        heap_update(&engine->asks, node, turn);
                }
                turn += ASK_SPACING_US;
        }
        return 0;
}

void hosts_ledger_is_back(Engine *engine) {
        engine->ledger_us = engine->now;
        list_for_each(link, &engine->runs) {
                Run *run = container_of(link, Run, link);
                if (heap_node_is_linked(&run->retry)) {
                        heap_update(&engine->run_retries, &run->retry, engine->now);
                }
        }
}

void hosts_free(Engine *engine) {
        while (!list_is_empty(&engine->runs)) {
                Run *run = container_of(engine->runs.next, Run, link);
                Host *host = run->host;
                host_leave(engine, run, WAIT_NONE);
                run_free(engine, run);
                if (host != NULL) {
                        host_settle(engine, host);
                }
        }
        heap_deinit(&engine->asks);
        heap_deinit(&engine->run_retries);
        free(engine->buckets);
}
