#include "handlers/actions/endpoints.h"

#include <stdio.h>
#include <string.h>

/* FNV-1a */
static uint64_t hash_text(const char *text) {
        uint64_t hash = UINT64_C(14695981039346656037);
        for (const char *p = text; *p != '\0'; p++) {
                hash = (hash ^ (uint8_t)*p) * UINT64_C(1099511628211);
        }
        return hash;
}

void endpoint_name(const char *url, char name[ENDPOINT_NAME_SIZE]) {
        const char *authority = strstr(url, "://");
        authority = authority != NULL ? authority + 3 : url;
        size_t size = (size_t)(authority - url) + strcspn(authority, "/?");
        size = size < ENDPOINT_NAME_SIZE ? size : ENDPOINT_NAME_SIZE - 1;
        memcpy(name, url, size);
        name[size] = '\0';
}

/* @make: one that is not there takes the place of the one longest not used. */
static Endpoint *find(Endpoints *endpoints, const char *name, bool make) {
        Endpoint *oldest = &endpoints->endpoints[0];
        for (size_t i = 0; i < ENDPOINTS_MAX; i++) {
                Endpoint *endpoint = &endpoints->endpoints[i];
                if (strcmp(endpoint->name, name) == 0) {
                        endpoint->used = ++endpoints->used;
                        return endpoint;
                }
                if (endpoint->used < oldest->used) {
                        oldest = endpoint;
                }
        }
        if (!make) {
                return NULL;
        }
        *oldest = (Endpoint){.used = ++endpoints->used};
        snprintf(oldest->name, sizeof(oldest->name), "%s", name);
        return oldest;
}

static void add_host(Endpoint *endpoint, uint64_t host) {
        for (size_t i = 0; i < endpoint->n_hosts; i++) {
                if (endpoint->hosts[i] == host) {
                        return;
                }
        }
        if (endpoint->n_hosts < ENDPOINTS_HOSTS) {
                endpoint->hosts[endpoint->n_hosts++] = host;
        }
}

EndpointState endpoints_ended(Endpoints *endpoints, const char *name, const char *host,
                              bool not_started) {
        Endpoint *endpoint = find(endpoints, name, not_started);
        if (endpoint == NULL) {
                return ENDPOINT_FINE; /* one that works needs not be remembered */
        }
        if (!not_started) {
                bool before = endpoint->out;
                endpoint->out = false;
                endpoint->n_hosts = 0;
                return before ? ENDPOINT_BACK : ENDPOINT_FINE;
        }
        add_host(endpoint, hash_text(host));
        endpoint->out = endpoint->out || endpoint->n_hosts == ENDPOINTS_HOSTS;
        return endpoint->out ? ENDPOINT_OUT : ENDPOINT_FINE;
}
