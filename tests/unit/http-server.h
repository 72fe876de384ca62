#pragma once

/*
 * An endpoint that misbehaves as it is told, for tests of what asks one: real sockets on 127.0.0.1,
 * a thread a connection. What it was sent is counted, so that a test can say "nothing" and "once".
 * And a resolver: names below .test are the loopback (slow.test is found after 100 ms),
 * missing.test is none, hang.test hangs until resolver_release().
 */

#include "test.h"

#include <arpa/inet.h>
#include <dlfcn.h>
#include <netdb.h>
#include <openssl/ssl.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum {
        SERVER_CONNECTIONS = 256, /* of one test */
        REQUEST_BYTES = 16384,    /* kept of a request */
};

typedef struct Server Server;

typedef struct Connection {
        Server *server;
        int number; /* from 0 */
        int fd;
        SSL *tls; /* NULL: plain */
        pthread_t thread;
        char request[REQUEST_BYTES]; /* with a NUL */
        size_t size;
} Connection;

struct Server {
        int listener;
        int port;
        SSL_CTX *tls;
        void (*serve)(Connection *connection);
        const char *answer; /* for serve */
        pthread_t thread;
        pthread_mutex_t mutex;
        pthread_cond_t news;
        bool stopping;
        int accepted;
        int requests;  /* that were read whole */
        size_t bytes;  /* of requests, decrypted */
        int wanted;    /* serve_answer: nobody is answered before so many have asked */
        bool answered; /* serve_half has written all that it will */
        Connection *connections[SERVER_CONNECTIONS];
};

/* Whether there was something to read. */
static inline bool server_read(Connection *connection) {
        char data[16384];
        ssize_t n = connection->tls != NULL ? SSL_read(connection->tls, data, sizeof(data))
                                            : recv(connection->fd, data, sizeof(data), 0);
        if (n <= 0) {
                return false;
        }
        size_t room = REQUEST_BYTES - 1 - connection->size;
        size_t kept = (size_t)n < room ? (size_t)n : room;
        memcpy(connection->request + connection->size, data, kept);
        connection->size += kept;
        connection->request[connection->size] = '\0';
        pthread_mutex_lock(&connection->server->mutex);
        connection->server->bytes += (size_t)n;
        pthread_mutex_unlock(&connection->server->mutex);
        return true;
}

/* Reads to the end of the headers, and the body that they announce, as far as it is kept. */
static inline bool server_read_request(Connection *connection) {
        Server *server = connection->server;
        for (;;) {
                const char *body = strstr(connection->request, "\r\n\r\n");
                const char *length = strcasestr(connection->request, "\r\nContent-Length:");
                size_t size = length != NULL ? (size_t)atol(length + 17) : 0;
                if (body != NULL &&
                    connection->size - (size_t)(body + 4 - connection->request) >= size) {
                        break;
                }
                if (!server_read(connection)) {
                        return false;
                }
        }
        pthread_mutex_lock(&server->mutex);
        server->requests++;
        pthread_cond_broadcast(&server->news);
        pthread_mutex_unlock(&server->mutex);
        return true;
}

/* Whether it could be written. */
static inline bool server_write(Connection *connection, const char *text, size_t size) {
        ssize_t n = connection->tls != NULL ? SSL_write(connection->tls, text, (int)size)
                                            : send(connection->fd, text, size, MSG_NOSIGNAL);
        return n == (ssize_t)size;
}

static inline bool server_say(Connection *connection, const char *text) {
        return server_write(connection, text, strlen(text));
}

/* Until the other side closes, or the test ends. */
static inline void server_hang(Connection *connection) {
        while (server_read(connection)) {
        }
}

/* The whole of Server.answer to a whole request; then the other side closes. */
static inline void serve_answer(Connection *connection) {
        Server *server = connection->server;
        if (!server_read_request(connection)) {
                return;
        }
        pthread_mutex_lock(&server->mutex);
        while (server->requests < server->wanted && !server->stopping) {
                pthread_cond_wait(&server->news, &server->mutex);
        }
        pthread_mutex_unlock(&server->mutex);
        (void)server_say(connection, server->answer);
        server_hang(connection);
}

static inline void serve_hang_unread(Connection *connection) {
        Server *server = connection->server;
        pthread_mutex_lock(&server->mutex);
        while (!server->stopping) {
                pthread_cond_wait(&server->news, &server->mutex);
        }
        pthread_mutex_unlock(&server->mutex);
}

static inline void serve_hang(Connection *connection) {
        if (server_read_request(connection)) {
                server_hang(connection);
        }
}

static inline void serve_close(Connection *connection) {
        (void)server_read_request(connection);
}

/* Server.answer, and nothing more until the other side closes. */
static inline void serve_half(Connection *connection) {
        Server *server = connection->server;
        if (server_read_request(connection) && server_say(connection, server->answer)) {
                pthread_mutex_lock(&server->mutex);
                server->answered = true;
                pthread_mutex_unlock(&server->mutex);
                server_hang(connection);
        }
}

/* On the loopback what was written has arrived. */
static inline bool server_answered(Server *server) {
        pthread_mutex_lock(&server->mutex);
        bool answered = server->answered;
        pthread_mutex_unlock(&server->mutex);
        return answered;
}

static inline void *connection_thread(void *user) {
        Connection *connection = user;
        Server *server = connection->server;
        bool ready = true;
        if (server->tls != NULL && server->serve != serve_hang_unread) {
                connection->tls = SSL_new(server->tls);
                SSL_set_fd(connection->tls, connection->fd);
                ready = SSL_accept(connection->tls) == 1;
        }
        if (ready) {
                server->serve(connection);
        } else {
                /* What is closed unread is reset, and an alert may be lost with that. */
                char data[4096];
                shutdown(connection->fd, SHUT_WR);
                while (recv(connection->fd, data, sizeof(data), 0) > 0) {
                }
        }
        if (connection->tls != NULL) {
                SSL_shutdown(connection->tls);
                SSL_free(connection->tls);
        }
        pthread_mutex_lock(&server->mutex);
        close(connection->fd);
        connection->fd = -1;
        pthread_cond_broadcast(&server->news);
        pthread_mutex_unlock(&server->mutex);
        return NULL;
}

static inline void *server_thread(void *user) {
        Server *server = user;
        for (;;) {
                int fd = accept4(server->listener, NULL, NULL, SOCK_CLOEXEC);
                if (fd < 0) {
                        return NULL;
                }
                Connection *connection = calloc(1, sizeof(*connection));
                connection->server = server;
                connection->fd = fd;
                pthread_mutex_lock(&server->mutex);
                connection->number = server->accepted;
                server->connections[server->accepted++] = connection;
                pthread_create(&connection->thread, NULL, connection_thread, connection);
                pthread_cond_broadcast(&server->news);
                pthread_mutex_unlock(&server->mutex);
        }
}

/* A port of the loopback; nobody listens yet. */
static inline int server_bind(int *port) {
        struct sockaddr_in address = {.sin_family = AF_INET,
                                      .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
        socklen_t size = sizeof(address);
        int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        assert_true(fd >= 0);
        assert_int_equal(bind(fd, (struct sockaddr *)&address, size), 0);
        assert_int_equal(getsockname(fd, (struct sockaddr *)&address, &size), 0);
        *port = ntohs(address.sin_port);
        return fd;
}

static inline void server_start(Server *server, void (*serve)(Connection *), const char *answer,
                                SSL_CTX *tls) {
        *server = (Server){.serve = serve, .answer = answer, .tls = tls};
        pthread_mutex_init(&server->mutex, NULL);
        pthread_cond_init(&server->news, NULL);
        server->listener = server_bind(&server->port);
        assert_int_equal(listen(server->listener, SERVER_CONNECTIONS), 0);
        assert_int_equal(pthread_create(&server->thread, NULL, server_thread, server), 0);
}

static inline void server_stop(Server *server) {
        if (server->serve == NULL) {
                return;
        }
        shutdown(server->listener, SHUT_RDWR);
        pthread_join(server->thread, NULL);
        close(server->listener);
        pthread_mutex_lock(&server->mutex);
        server->stopping = true;
        for (int i = 0; i < server->accepted; i++) {
                if (server->connections[i]->fd >= 0) {
                        shutdown(server->connections[i]->fd, SHUT_RDWR);
                }
        }
        pthread_cond_broadcast(&server->news);
        pthread_mutex_unlock(&server->mutex);
        for (int i = 0; i < server->accepted; i++) {
                pthread_join(server->connections[i]->thread, NULL);
                free(server->connections[i]);
        }
        pthread_cond_destroy(&server->news);
        pthread_mutex_destroy(&server->mutex);
        server->serve = NULL;
}

/* How many requests were read whole, and how many bytes of any. */
static inline int server_requests(Server *server) {
        pthread_mutex_lock(&server->mutex);
        int n = server->requests;
        pthread_mutex_unlock(&server->mutex);
        return n;
}

static inline size_t server_bytes(Server *server) {
        pthread_mutex_lock(&server->mutex);
        size_t n = server->bytes;
        pthread_mutex_unlock(&server->mutex);
        return n;
}

/* --- names ----------------------------------------------------------------------------------- */

static pthread_mutex_t resolver_mutex = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t resolver_news = PTHREAD_COND_INITIALIZER;
static int resolver_hanging;
static bool resolver_released;

/* In place of libc's, which libcurl's threads call. */
int getaddrinfo(const char *name, const char *service, const struct addrinfo *hints,
                struct addrinfo **result) {
        int (*real)(const char *, const char *, const struct addrinfo *, struct addrinfo **);
        *(void **)&real = dlsym(RTLD_NEXT, "getaddrinfo");
        if (strcmp(name, "missing.test") == 0) {
                return EAI_NONAME;
        }
        if (strcmp(name, "hang.test") == 0) {
                pthread_mutex_lock(&resolver_mutex);
                resolver_hanging++;
                pthread_cond_broadcast(&resolver_news);
                while (!resolver_released) {
                        pthread_cond_wait(&resolver_news, &resolver_mutex);
                }
                resolver_hanging--;
                pthread_cond_broadcast(&resolver_news);
                pthread_mutex_unlock(&resolver_mutex);
                return EAI_AGAIN;
        }
        if (strcmp(name, "slow.test") == 0) {
                usleep(100 * 1000);
        }
        size_t size = strlen(name);
        bool ours = size > 5 && strcmp(name + size - 5, ".test") == 0;
        struct addrinfo loopback = *hints;
        loopback.ai_family = AF_INET;
        return real(ours ? "127.0.0.1" : name, service, ours ? &loopback : hints, result);
}

/* How many look-ups hang. */
static inline int resolver_count(void) {
        pthread_mutex_lock(&resolver_mutex);
        int n = resolver_hanging;
        pthread_mutex_unlock(&resolver_mutex);
        return n;
}

/* Lets go of what hangs, and waits until all of it went. */
static inline void resolver_release(void) {
        pthread_mutex_lock(&resolver_mutex);
        resolver_released = true;
        pthread_cond_broadcast(&resolver_news);
        while (resolver_hanging > 0) {
                pthread_cond_wait(&resolver_news, &resolver_mutex);
        }
        resolver_released = false;
        pthread_mutex_unlock(&resolver_mutex);
}
