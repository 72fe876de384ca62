#include "app/machine.h"

#include <arpa/inet.h>
#include <ifaddrs.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "core/host.h"

enum {
        RESOLVER_SECONDS = 2,
};

typedef struct Names {
        char **items; /* ends with NULL */
        size_t n;
} Names;

void machine_names_free(char **names) {
        for (char **name = names; name != NULL && *name != NULL; name++) {
                free(*name);
        }
        free(names);
}

/* In its canonical form, unless it is there already or is no host's. */
static int add(Names *names, const char *text, size_t size) {
        char canonical[HOST_SIZE];
        const char *why = NULL;
        if (host_canonical(text, size, canonical, &why) != 0) {
                return 0;
        }
        for (size_t i = 0; i < names->n; i++) {
                if (strcmp(names->items[i], canonical) == 0) {
                        return 0;
                }
        }
        char **items = reallocarray(names->items, names->n + 2, sizeof(*items));
        if (items == NULL) {
                return error_origin(-ENOMEM);
        }
        names->items = items;
        items[names->n] = strdup(canonical);
        if (items[names->n] == NULL) {
                return error_origin(-ENOMEM);
        }
        items[++names->n] = NULL;
        return 0;
}

/* Whole, and its first label: whoever searches its domain means this machine by that. */
static int add_name(Names *names, const char *name) {
        size_t label = strcspn(name, ".");
        int r = add(names, name, strlen(name));
        return r == 0 && name[label] == '.' && !host_is_address(name) ? add(names, name, label) : r;
}

/* A name server that is away must not hold up the start for its half minute, so the question goes
 * to a thread of glibc's. What has no answer in time is left to it, with the memory. */
static int add_resolved(Names *names, const char hostname[HOST_SIZE], bool *completep) {
        struct question {
                struct gaicb request;
                struct addrinfo hints;
                char name[HOST_SIZE];
        } *question = calloc(1, sizeof(*question));
        const struct timespec limit = {.tv_sec = RESOLVER_SECONDS};
        if (question == NULL) {
                return error_origin(-ENOMEM);
        }
        memcpy(question->name, hostname, sizeof(question->name));
        question->hints.ai_flags = AI_CANONNAME;
        question->hints.ai_socktype = SOCK_STREAM;
        question->request.ar_name = question->name;
        question->request.ar_request = &question->hints;
        struct gaicb *list[] = {&question->request};
        const struct gaicb *const waited[] = {&question->request};
        *completep = false;
        if (getaddrinfo_a(GAI_NOWAIT, list, 1, NULL) != 0) {
                free(question);
                return 0;
        }
        while (gai_suspend(waited, 1, &limit) == EAI_INTR) {
                /* Whatever interrupts the start: the limit is not that exact. */
        }
        int error = gai_error(&question->request);
        if (error == EAI_INPROGRESS && gai_cancel(&question->request) != EAI_CANCELED) {
                return 0;
        }
        const struct addrinfo *result = question->request.ar_result;
        int r = 0;
        if (error == 0 && result != NULL && result->ai_canonname != NULL) {
                r = add_name(names, result->ai_canonname);
        }
        /* That there is no such name is an answer as well. */
        *completep = error == 0 || error == EAI_NONAME || error == EAI_NODATA;
        if (error == 0) {
                freeaddrinfo(question->request.ar_result);
        }
        free(question);
        return r;
}

static int add_addresses(Names *names) {
        struct ifaddrs *interfaces = NULL;
        int r = 0;
        if (getifaddrs(&interfaces) != 0) {
                return errno == ENOMEM ? error_origin(-ENOMEM) : 0;
        }
        for (const struct ifaddrs *one = interfaces; one != NULL && r == 0; one = one->ifa_next) {
                char text[INET6_ADDRSTRLEN] = "";
                if (one->ifa_addr == NULL) {
                        continue;
                }
                if (one->ifa_addr->sa_family == AF_INET) {
                        const struct sockaddr_in *v4 = (const void *)one->ifa_addr;
                        (void)inet_ntop(AF_INET, &v4->sin_addr, text, sizeof(text));
                } else if (one->ifa_addr->sa_family == AF_INET6) {
                        const struct sockaddr_in6 *v6 = (const void *)one->ifa_addr;
                        (void)inet_ntop(AF_INET6, &v6->sin6_addr, text, sizeof(text));
                }
                r = add(names, text, strlen(text));
        }
        freeifaddrs(interfaces);
        return r;
}

int machine_names(char ***namesp, bool *completep) {
        char hostname[HOST_SIZE] = "";
        Names names = {.items = calloc(1, sizeof(*names.items))};
        int r = names.items == NULL ? error_origin(-ENOMEM) : 0;
        *completep = true;
        if (r == 0 && gethostname(hostname, sizeof(hostname) - 1) == 0 && hostname[0] != '\0') {
                r = add_name(&names, hostname);
                r = r == 0 ? add_resolved(&names, hostname, completep) : r;
        }
        r = r == 0 ? add_addresses(&names) : r;
        if (r != 0) {
                machine_names_free(names.items);
                return r;
        }
        *namesp = names.items;
        return 0;
}
