#include "pg/resolve.h"

#include <netdb.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

enum {
        ADDRESSES_MAX = 64, /* of all hosts together; more are left out */
};

/* What a thread and its resolver share. Until `done` all but the first three is the thread's. */
typedef struct Lookup {
        pthread_mutex_t mutex;
        unsigned references;
        LoopWake *wake; /* NULL: the resolver is gone */
        bool done;
        char *hosts, *ports; /* copies, cut at their commas */
        size_t n;
        ResolvedAddress addresses[ADDRESSES_MAX];
        char text[ADDRESSES_MAX][NI_MAXHOST];
        char why[256];
} Lookup;

struct Resolver {
        Loop *loop;
        LoopWake wake;
        char *hosts, *ports;
        Lookup *lookup; /* under way; NULL: none */
        List waiters;   /* ResolveWaiter.link */
};

static void lookup_unref(Lookup *lookup) {
        pthread_mutex_lock(&lookup->mutex);
        unsigned left = --lookup->references;
        pthread_mutex_unlock(&lookup->mutex);
        if (left > 0) {
                return;
        }
        pthread_mutex_destroy(&lookup->mutex);
        free(lookup->hosts);
        free(lookup->ports);
        free(lookup);
}

/* Cuts the next element off a list; "" past its end. */
static const char *next_element(char **listp) {
        char *element = strsep(listp, ",");
        return element != NULL ? element : "";
}

static void add_address(Lookup *lookup, const char *host, const char *address, const char *port) {
        if (lookup->n == ADDRESSES_MAX) {
                return;
        }
        char *text = lookup->text[lookup->n];
        snprintf(text, NI_MAXHOST, "%s", address);
        lookup->addresses[lookup->n++] = (ResolvedAddress){host, text, port};
}

static void look_up_host(Lookup *lookup, const char *host, const char *port) {
        struct addrinfo hints = {.ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM};
        struct addrinfo *found = NULL;
        if (host[0] == '\0' || host[0] == '/' || host[0] == '@') {
                add_address(lookup, host, "", port);
                return;
        }
        int r = getaddrinfo(host, NULL, &hints, &found);
        if (r != 0) {
                snprintf(lookup->why, sizeof(lookup->why), "host name \"%.100s\": %s", host,
                         gai_strerror(r));
                return;
        }
        for (const struct addrinfo *one = found; one != NULL; one = one->ai_next) {
                char address[NI_MAXHOST];
                if (getnameinfo(one->ai_addr, one->ai_addrlen, address, sizeof(address), NULL, 0,
                                NI_NUMERICHOST) == 0) {
                        add_address(lookup, host, address, port);
                }
        }
        freeaddrinfo(found);
}

static void *look_up(void *user) {
        Lookup *lookup = user;
        char *hosts = lookup->hosts, *ports = lookup->ports;
        /* One port stands for all hosts. */
        const char *one_port = strchr(ports, ',') == NULL ? ports : NULL;
        do {
                const char *host = next_element(&hosts);
                look_up_host(lookup, host, one_port != NULL ? one_port : next_element(&ports));
        } while (hosts != NULL);
        pthread_mutex_lock(&lookup->mutex);
        lookup->done = true;
        if (lookup->wake != NULL) {
                loop_wake_send(lookup->wake);
        }
        pthread_mutex_unlock(&lookup->mutex);
        lookup_unref(lookup);
        return NULL;
}

static void on_wake(LoopWake *wake) {
        Resolver *resolver = container_of(wake, Resolver, wake);
        Lookup *lookup = resolver->lookup;
        List waiters;
        if (lookup == NULL) {
                return;
        }
        pthread_mutex_lock(&lookup->mutex);
        bool done = lookup->done;
        pthread_mutex_unlock(&lookup->mutex);
        if (!done) {
                return;
        }
        resolver->lookup = NULL;
        list_init(&waiters);
        list_splice_back(&waiters, &resolver->waiters);
        while (!list_is_empty(&waiters)) {
                ResolveWaiter *waiter = container_of(waiters.next, ResolveWaiter, link);
                list_unlink(&waiter->link);
                waiter->answer(waiter, lookup->addresses, lookup->n,
                               lookup->why[0] != '\0' ? lookup->why : "no address was found");
        }
        lookup_unref(lookup);
}

int resolver_new(Resolver **resolverp, Loop *loop, const char *hosts, const char *ports) {
        Resolver *resolver = calloc(1, sizeof(*resolver));
        if (resolver == NULL) {
                return error_origin(-ENOMEM);
        }
        resolver->loop = loop;
        list_init(&resolver->waiters);
        resolver->hosts = strdup(hosts);
        resolver->ports = strdup(ports);
        if (resolver->hosts == NULL || resolver->ports == NULL) {
                resolver_free(resolver);
                return error_origin(-ENOMEM);
        }
        loop_wake_init(&resolver->wake, loop, "postgres.resolve", on_wake);
        loop_wake_start(&resolver->wake);
        *resolverp = resolver;
        return 0;
}

void resolver_free(Resolver *resolver) {
        if (resolver == NULL) {
                return;
        }
        while (!list_is_empty(&resolver->waiters)) {
                list_unlink(resolver->waiters.next);
        }
        if (resolver->lookup != NULL) {
                pthread_mutex_lock(&resolver->lookup->mutex);
                resolver->lookup->wake = NULL;
                pthread_mutex_unlock(&resolver->lookup->mutex);
                lookup_unref(resolver->lookup);
        }
        loop_wake_stop(&resolver->wake);
        free(resolver->hosts);
        free(resolver->ports);
        free(resolver);
}

/* Detached, with all signals blocked: they are the loop's. */
static int start_thread(Lookup *lookup) {
        pthread_attr_t attributes;
        pthread_t thread;
        sigset_t all, before;
        if (pthread_attr_init(&attributes) != 0) {
                return RESOLVE_E_THREAD;
        }
        pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
        sigfillset(&all);
        pthread_sigmask(SIG_SETMASK, &all, &before);
        int r = pthread_create(&thread, &attributes, look_up, lookup);
        pthread_sigmask(SIG_SETMASK, &before, NULL);
        pthread_attr_destroy(&attributes);
        return r != 0 ? RESOLVE_E_THREAD : 0;
}

void resolve_waiter_init(ResolveWaiter *waiter,
                         void (*answer)(ResolveWaiter *waiter, const ResolvedAddress *addresses,
                                        size_t n, const char *why)) {
        list_init(&waiter->link);
        waiter->answer = answer;
}

int resolver_ask(Resolver *resolver, ResolveWaiter *waiter) {
        if (resolver->lookup == NULL) {
                Lookup *lookup = calloc(1, sizeof(*lookup));
                if (lookup == NULL) {
                        return error_origin(-ENOMEM);
                }
                pthread_mutex_init(&lookup->mutex, NULL);
                lookup->references = 2;
                lookup->wake = &resolver->wake;
                lookup->hosts = strdup(resolver->hosts);
                lookup->ports = strdup(resolver->ports);
                bool copied = lookup->hosts != NULL && lookup->ports != NULL;
                int r = copied ? start_thread(lookup) : error_origin(-ENOMEM);
                if (r != 0) {
                        lookup->references = 1;
                        lookup_unref(lookup);
                        return r;
                }
                resolver->lookup = lookup;
        }
        list_push_back(&resolver->waiters, &waiter->link);
        return 0;
}

void resolve_waiter_cancel(ResolveWaiter *waiter) {
        list_unlink(&waiter->link);
}

static int join(Buffer *list, const char *element, bool first) {
        int r = first ? 0 : buffer_append_char(list, ',');
        return r != 0 ? r : buffer_append_string(list, element);
}

int resolved_join(const ResolvedAddress *addresses, size_t n, size_t first, Buffer *hosts,
                  Buffer *hostaddrs, Buffer *ports) {
        int r = 0;
        for (size_t i = 0; i < n && r == 0; i++) {
                const ResolvedAddress *address = &addresses[(first + i) % n];
                r = join(hosts, address->host, i == 0);
                r = r != 0 ? r : join(hostaddrs, address->address, i == 0);
                r = r != 0 ? r : join(ports, address->port, i == 0);
        }
        if (r == 0 && (buffer_string(hosts) == NULL || buffer_string(hostaddrs) == NULL ||
                       buffer_string(ports) == NULL)) {
                r = -ENOMEM;
        }
        return r;
}
