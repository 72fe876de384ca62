#include "proxy.h"

#include <libpq-fe.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "random.h"

enum {
        PAIRS_MAX = 128,
        HANDSHAKE = 6, /* pieces of data at the start of a connection that are never lost */
};

typedef struct Pair {
        int fds[2]; /* client, server; -1: free */
        unsigned pieces;
} Pair;

struct Proxy {
        char directory[64];
        struct sockaddr_un here, server;
        int listener;
        unsigned period;
        uint64_t random;
        Pair pairs[PAIRS_MAX];
        pthread_t thread;
        atomic_bool stop;
        atomic_uint cuts;
};

static void die(const char *what) {
        perror(what);
        exit(1);
}

static void pair_close(Pair *pair) {
        close(pair->fds[0]);
        close(pair->fds[1]);
        pair->fds[0] = pair->fds[1] = -1;
}

static void proxy_accept(Proxy *proxy) {
        int client = accept(proxy->listener, NULL, NULL);
        for (size_t i = 0; client >= 0 && i < PAIRS_MAX; i++) {
                Pair *pair = &proxy->pairs[i];
                if (pair->fds[0] >= 0) {
                        continue;
                }
                int server = socket(AF_UNIX, SOCK_STREAM, 0);
                if (connect(server, (struct sockaddr *)&proxy->server, sizeof(proxy->server)) !=
                    0) {
                        die("connect");
                }
                *pair = (Pair){{client, server}, 0};
                return;
        }
        close(client);
}

/* A reply that grants a start is rare, and its loss is what hurts: it is lost ten times as often.
 */
static unsigned find_period(const Proxy *proxy, int from, const char *data, ssize_t n) {
        static const char start[] = "\0\0\0\5start"; /* a column: its length, its text */
        bool grants = from == 1 && memmem(data, (size_t)n, start, sizeof(start) - 1) != NULL;
        return grants ? (proxy->period + 9) / 10 : proxy->period;
}

/* Passes one piece of data on, or loses it. */
static void proxy_pass(Proxy *proxy, Pair *pair, int from) {
        char data[65536];
        ssize_t n = recv(pair->fds[from], data, sizeof(data), 0);
        if (n <= 0) {
                pair_close(pair);
                return;
        }
        bool cut = proxy->period > 0 && ++pair->pieces > HANDSHAKE &&
                   random_below(&proxy->random, find_period(proxy, from, data, n)) == 0;
        bool pass = !cut || (from == 0 && random_below(&proxy->random, 3) > 0);
        if (pass && send(pair->fds[1 - from], data, (size_t)n, MSG_NOSIGNAL) != n) {
                cut = true;
        }
        if (cut) {
                atomic_fetch_add(&proxy->cuts, 1);
                pair_close(pair);
        }
}

static void *proxy_run(void *user) {
        Proxy *proxy = user;
        while (!atomic_load(&proxy->stop)) {
                struct pollfd fds[1 + 2 * PAIRS_MAX] = {{proxy->listener, POLLIN, 0}};
                for (size_t i = 0; i < PAIRS_MAX; i++) {
                        for (size_t side = 0; side < 2; side++) {
                                fds[1 + 2 * i + side] =
                                        (struct pollfd){proxy->pairs[i].fds[side], POLLIN, 0};
                        }
                }
                if (poll(fds, 1 + 2 * PAIRS_MAX, 50) <= 0) {
                        continue;
                }
                for (size_t i = 0; i < PAIRS_MAX; i++) {
                        Pair *pair = &proxy->pairs[i];
                        for (int side = 0; side < 2 && pair->fds[0] >= 0; side++) {
                                if (fds[1 + 2 * i + (size_t)side].revents != 0) {
                                        proxy_pass(proxy, pair, side);
                                }
                        }
                }
                /* Last, so that a new pair is not taken for the one that was polled. */
                if (fds[0].revents != 0) {
                        proxy_accept(proxy);
                }
        }
        return NULL;
}

/* The server's socket. */
static void find_server(Proxy *proxy, const char *dsn) {
        PGconn *connection = PQconnectdb(dsn);
        if (PQstatus(connection) != CONNECTION_OK || PQhost(connection)[0] != '/') {
                fprintf(stderr, "a server on a Unix socket is needed: %s",
                        PQerrorMessage(connection));
                exit(1);
        }
        proxy->server.sun_family = AF_UNIX;
        snprintf(proxy->server.sun_path, sizeof(proxy->server.sun_path), "%.80s/.s.PGSQL.%.8s",
                 PQhost(connection), PQport(connection));
        PQfinish(connection);
}

Proxy *proxy_new(const char *dsn, unsigned period, uint64_t seed) {
        Proxy *proxy = calloc(1, sizeof(*proxy));
        if (proxy == NULL) {
                die("calloc");
        }
        find_server(proxy, dsn);
        proxy->period = period;
        proxy->random = seed;
        for (size_t i = 0; i < PAIRS_MAX; i++) {
                proxy->pairs[i].fds[0] = proxy->pairs[i].fds[1] = -1;
        }
        const char *temporary = getenv("TMPDIR");
        snprintf(proxy->directory, sizeof(proxy->directory), "%.40s/ackd-stress.XXXXXX",
                 temporary != NULL && temporary[0] != '\0' ? temporary : "/tmp");
        if (mkdtemp(proxy->directory) == NULL) {
                die("mkdtemp");
        }
        proxy->here.sun_family = AF_UNIX;
        snprintf(proxy->here.sun_path, sizeof(proxy->here.sun_path), "%.64s/.s.PGSQL.5432",
                 proxy->directory);
        proxy->listener = socket(AF_UNIX, SOCK_STREAM, 0);
        if (bind(proxy->listener, (struct sockaddr *)&proxy->here, sizeof(proxy->here)) != 0 ||
            listen(proxy->listener, PAIRS_MAX) != 0) {
                die("listen");
        }
        if (pthread_create(&proxy->thread, NULL, proxy_run, proxy) != 0) {
                die("pthread_create");
        }
        return proxy;
}

void proxy_free(Proxy *proxy) {
        atomic_store(&proxy->stop, true);
        pthread_join(proxy->thread, NULL);
        for (size_t i = 0; i < PAIRS_MAX; i++) {
                if (proxy->pairs[i].fds[0] >= 0) {
                        pair_close(&proxy->pairs[i]);
                }
        }
        close(proxy->listener);
        unlink(proxy->here.sun_path);
        rmdir(proxy->directory);
        free(proxy);
}

const char *proxy_host(const Proxy *proxy) {
        return proxy->directory;
}

unsigned proxy_cuts(const Proxy *proxy) {
        return atomic_load(&((Proxy *)proxy)->cuts);
}
