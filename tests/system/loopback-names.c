/*
 * Preloaded into a command of a test: every name below example.com is an address of the loopback,
 * by the first number in it: web-2.prod.example.com is 127.0.1.2. Names below it without a number
 * are not known.
 */

#include <arpa/inet.h>
#include <dlfcn.h>
#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int getaddrinfo(const char *name, const char *service, const struct addrinfo *hints,
                struct addrinfo **result) {
        static const char domain[] = ".example.com";
        int (*real)(const char *, const char *, const struct addrinfo *, struct addrinfo **);
        char address[INET_ADDRSTRLEN];
        size_t size = name != NULL ? strlen(name) : 0;

        *(void **)&real = dlsym(RTLD_NEXT, "getaddrinfo");
        if ((hints != NULL && (hints->ai_flags & AI_NUMERICHOST) != 0) || size < sizeof(domain) ||
            strcmp(name + size - (sizeof(domain) - 1), domain) != 0) {
                return real(name, service, hints, result);
        }
        name += strcspn(name, "0123456789");
        if (*name == '\0') {
                return EAI_NONAME;
        }
        snprintf(address, sizeof(address), "127.0.1.%d", atoi(name) & 0xff);
        return real(address, service, hints, result);
}
