#pragma once

/*
 * Host names to addresses, off the loop: libpq would look them up inside PQconnectStart and block,
 * unless it is given `hostaddr`.
 *
 * A resolver knows the hosts of one pool. One thread at a time asks the system for all of them and
 * answers everybody who waits, so that a dead name server holds one thread and not one an attempt.
 * The thread can outlive the resolver: what both touch is freed by whoever comes last.
 */

#include <stdbool.h>
#include <stddef.h>

#include "util/buffer.h"
#include "util/error.h"
#include "util/list.h"
#include "util/loop.h"

typedef struct Resolver Resolver;

/* One place to connect to; all three are never NULL. */
typedef struct ResolvedAddress {
        const char *host;    /* as configured: what certificates and messages name */
        const char *address; /* numeric; "": a socket, or libpq's default */
        const char *port;    /* "": libpq's default */
} ResolvedAddress;

typedef struct ResolveWaiter ResolveWaiter;
struct ResolveWaiter {
        List link;
        /* @addresses is borrowed for the call; n 0: none was found, @why says it. */
        void (*answer)(ResolveWaiter *waiter, const ResolvedAddress *addresses, size_t n,
                       const char *why);
};

enum {
        RESOLVE_E_THREAD = 1, /* no thread to be had now */
};

/* @hosts and @ports: lists as libpq takes them, separated by commas; copied. */
MUST_CHECK int resolver_new(Resolver **resolverp, Loop *loop, const char *hosts, const char *ports);
/* Answers nobody any more. NULL is allowed. */
void resolver_free(Resolver *resolver);

void resolve_waiter_init(ResolveWaiter *waiter,
                         void (*answer)(ResolveWaiter *waiter, const ResolvedAddress *addresses,
                                        size_t n, const char *why));
/* Answered once, never at once. RESOLVE_E_THREAD, -ENOMEM: not asked. */
MUST_CHECK int resolver_ask(Resolver *resolver, ResolveWaiter *waiter);
/* Not answered any more; the look-up goes on. Harmless when it was not asked. */
void resolve_waiter_cancel(ResolveWaiter *waiter);

/* libpq's three lists, beginning with address @first (modulo @n): each buffer is a C string. */
MUST_CHECK int resolved_join(const ResolvedAddress *addresses, size_t n, size_t first,
                             Buffer *hosts, Buffer *hostaddrs, Buffer *ports);
