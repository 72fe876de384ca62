#pragma once

/*
 * Which endpoints are out. One host that cannot be restarted is that host's trouble; several hosts
 * in a row at the same endpoint are the endpoint's, and none of them is charged for it. An endpoint
 * that serves one host (a BMC) is so never out.
 *
 * Pure: no I/O and no clock.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
        ENDPOINTS_HOSTS = 3,      /* different ones in a row: two can be chance */
        ENDPOINTS_MAX = 64,       /* that are remembered; over it, the one longest not used goes */
        ENDPOINT_NAME_SIZE = 300, /* "https://", a host of 253 bytes, brackets, a port, a NUL */
};

typedef struct Endpoint {
        char name[ENDPOINT_NAME_SIZE];   /* "": unused */
        uint64_t hosts[ENDPOINTS_HOSTS]; /* hashes of those in the row */
        size_t n_hosts;
        bool out;
        uint64_t used;
} Endpoint;

/* Zeroed: nothing is known of any. */
typedef struct Endpoints {
        Endpoint endpoints[ENDPOINTS_MAX];
        uint64_t used;
} Endpoints;

typedef enum EndpointState {
        ENDPOINT_FINE, /* as far as is known */
        ENDPOINT_OUT,  /* nobody is charged */
        ENDPOINT_BACK, /* it was out until now */
} EndpointState;

/* The part of a URL that says which endpoint it is: scheme, host, port. Cut to fit. */
void endpoint_name(const char *url, char name[ENDPOINT_NAME_SIZE]);

/* A request for @host ended there: @not_started as the endpoint's or its network's doing (not
 * ours). What the endpoint is now. */
EndpointState endpoints_ended(Endpoints *endpoints, const char *name, const char *host,
                              bool not_started);
