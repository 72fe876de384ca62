#pragma once

/*
 * A proxy between the pools of a stress run and the server that loses what is on its way: a
 * question, so that it never arrives; a reply, after the server committed; or everything behind a
 * question, which is then carried out for nobody.
 */

#include <stdbool.h>
#include <stdint.h>

typedef struct Proxy Proxy;

/* Listens on a Unix socket in a temporary folder and passes on to the server of @dsn, which has to
 * be on one too. One in @period pieces of data loses its connection, chosen by @seed; 0: none. Ends
 * the program on failure. */
Proxy *proxy_new(const char *dsn, unsigned period, uint64_t seed);
void proxy_free(Proxy *proxy);

/* What to connect to instead of host and port. */
const char *proxy_host(const Proxy *proxy);

/* Connections that it cut. */
unsigned proxy_cuts(const Proxy *proxy);
