/*
 * The yardsticks of `scripts/bench restarts`: what the machine does without ackd.
 *
 *     bare-restarts spawn N CONCURRENCY PROGRAM   runs it N times, so many at once
 *     bare-restarts http N CONCURRENCY URL        N POSTs, each over a connection of its own
 *     bare-restarts serve                         the endpoint: prints its port, answers 204 to
 *                                                 everything until its stdin ends, and prints how
 *                                                 many requests came
 *
 * The first two print the seconds that it took. Whatever fails ends it with 1.
 */

#include <arpa/inet.h>
#include <curl/curl.h>
#include <errno.h>
#include <inttypes.h>
#include <netinet/in.h>
#include <spawn.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum {
        CONNECTIONS_MAX = 1024,
        EVENTS = 64,
        REQUEST_MAX = 4096, /* ours have some 200 bytes */
        TIMEOUT_MS = 20000,
};

static void die(const char *format, ...) __attribute__((format(printf, 1, 2), noreturn));
static void die(const char *format, ...) {
        va_list ap;

        va_start(ap, format);
        fputs("bare-restarts: ", stderr);
        vfprintf(stderr, format, ap);
        fputc('\n', stderr);
        va_end(ap);
        exit(1);
}

static double now(void) {
        struct timespec time;

        clock_gettime(CLOCK_MONOTONIC, &time);
        return (double)time.tv_sec + (double)time.tv_nsec / 1e9;
}

/* --- commands ----------------------------------------------------------------------------- */

static void spawn_one(char *program) {
        extern char **environ;
        char *argv[] = {program, NULL};
        pid_t pid;
        int error = posix_spawn(&pid, program, NULL, NULL, argv, environ);

        if (error) {
                die("%s: %s", program, strerror(error));
        }
}

static void run_commands(int64_t n, int64_t concurrency, char *program) {
        int64_t begun = 0;

        for (int64_t ended = 0; ended < n; ended++) {
                int status;
                while (begun < n && begun - ended < concurrency) {
                        spawn_one(program);
                        begun++;
                }
                if (waitpid(-1, &status, 0) < 0 || status != 0) {
                        die("%s ended with status %d", program, status);
                }
        }
}

/* --- requests ----------------------------------------------------------------------------- */

static size_t drop(char *data, size_t size, size_t n, void *user) {
        (void)data;
        (void)user;
        return size * n;
}

/* As ackd sends one: a connection of its own, HTTP/1.1, no proxy. */
static void add_request(CURLM *multi, const char *url) {
        CURL *easy = curl_easy_init();

        if (!easy || curl_easy_setopt(easy, CURLOPT_URL, url) ||
            curl_easy_setopt(easy, CURLOPT_POSTFIELDS, "{\"ResetType\": \"GracefulRestart\"}") ||
            curl_easy_setopt(easy, CURLOPT_FRESH_CONNECT, 1L) ||
            curl_easy_setopt(easy, CURLOPT_FORBID_REUSE, 1L) ||
            curl_easy_setopt(easy, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1) ||
            curl_easy_setopt(easy, CURLOPT_PROXY, "") ||
            curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, drop) ||
            curl_easy_setopt(easy, CURLOPT_TIMEOUT_MS, (long)TIMEOUT_MS) ||
            curl_multi_add_handle(multi, easy)) {
                die("%s: it cannot be asked for", url);
        }
}

static int64_t take_ended(CURLM *multi) {
        int64_t n = 0;
        CURLMsg *message;
        int left;

        while ((message = curl_multi_info_read(multi, &left))) {
                CURL *easy = message->easy_handle;
                CURLcode code = message->data.result;
                long status = 0;
                curl_easy_getinfo(easy, CURLINFO_RESPONSE_CODE, &status);
                if (code || status != 204) {
                        die("HTTP %ld: %s", status, curl_easy_strerror(code));
                }
                curl_multi_remove_handle(multi, easy);
                curl_easy_cleanup(easy);
                n++;
        }
        return n;
}

static void run_requests(int64_t n, int64_t concurrency, const char *url) {
        CURLM *multi = curl_multi_init();
        int64_t begun = 0, ended = 0;

        if (!multi) {
                die("libcurl cannot begin");
        }
        while (ended < n) {
                int running;
                while (begun < n && begun - ended < concurrency) {
                        add_request(multi, url);
                        begun++;
                }
                if (curl_multi_perform(multi, &running)) {
                        die("libcurl cannot go on");
                }
                int64_t more = take_ended(multi);
                ended += more;
                if (more == 0 && curl_multi_poll(multi, NULL, 0, TIMEOUT_MS, NULL)) {
                        die("libcurl cannot wait");
                }
        }
        curl_multi_cleanup(multi);
}

/* --- the endpoint ------------------------------------------------------------------------- */

typedef struct Client {
        int fd;
        size_t size;
        char request[REQUEST_MAX + 1];
} Client;

static int listen_somewhere(void) {
        int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
        struct sockaddr_in address = {.sin_family = AF_INET,
                                      .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
        socklen_t size = sizeof(address);

        if (fd < 0 || bind(fd, (struct sockaddr *)&address, size) || listen(fd, CONNECTIONS_MAX) ||
            getsockname(fd, (struct sockaddr *)&address, &size)) {
                die("no port: %s", strerror(errno));
        }
        printf("%d\n", ntohs(address.sin_port));
        fflush(stdout);
        return fd;
}

static bool is_whole(const Client *client) {
        const char *head = strstr(client->request, "\r\n\r\n");
        const char *length = strcasestr(client->request, "\r\nContent-Length:");
        size_t body = length && head && length < head ? strtoul(length + 17, NULL, 10) : 0;

        return head && client->size >= (size_t)(head + 4 - client->request) + body;
}

/* Whether the client is done with. */
static bool serve_client(Client *client, int64_t *served) {
        static const char answer[] = "HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n";
        ssize_t n = read(client->fd, client->request + client->size, REQUEST_MAX - client->size);

        if (n < 0 && (errno == EAGAIN || errno == EINTR)) {
                return false;
        }
        if (n <= 0) {
                return true;
        }
        client->size += (size_t)n;
        client->request[client->size] = '\0';
        if (!is_whole(client)) {
                return client->size == REQUEST_MAX;
        }
        *served += write(client->fd, answer, sizeof(answer) - 1) == sizeof(answer) - 1;
        return true;
}

static void watch(int epoll, int fd, void *data) {
        struct epoll_event event = {.events = EPOLLIN, .data.ptr = data};

        if (epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event)) {
                die("epoll: %s", strerror(errno));
        }
}

static void accept_all(int epoll, int listener) {
        int fd;

        while ((fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0) {
                Client *client = calloc(1, sizeof(*client));
                if (!client) {
                        die("no memory");
                }
                client->fd = fd;
                watch(epoll, fd, client);
        }
}

static void serve(void) {
        int epoll = epoll_create1(EPOLL_CLOEXEC), listener = listen_somewhere();
        int64_t served = 0;

        watch(epoll, listener, &listener);
        watch(epoll, STDIN_FILENO, NULL);
        for (;;) {
                struct epoll_event events[EVENTS];
                int n = epoll_wait(epoll, events, EVENTS, -1);
                for (int i = 0; i < n; i++) {
                        void *data = events[i].data.ptr;
                        if (!data) {
                                printf("%" PRId64 "\n", served);
                                return;
                        }
                        if (data == &listener) {
                                accept_all(epoll, listener);
                        } else if (serve_client(data, &served)) {
                                close(((Client *)data)->fd);
                                free(data);
                        }
                }
        }
}

int main(int argc, char **argv) {
        if (argc == 2 && strcmp(argv[1], "serve") == 0) {
                serve();
                return 0;
        }
        if (argc != 5) {
                fputs("usage: bare-restarts spawn|http N CONCURRENCY PROGRAM|URL, or serve\n",
                      stderr);
                return 64;
        }
        int64_t n = strtoll(argv[2], NULL, 10), concurrency = strtoll(argv[3], NULL, 10);
        double began = now();
        if (strcmp(argv[1], "spawn") == 0) {
                run_commands(n, concurrency, argv[4]);
        } else {
                run_requests(n, concurrency, argv[4]);
        }
        printf("%.6f\n", now() - began);
        return 0;
}
