#pragma once

/*
 * What a connection is made with: the DSN as libpq takes it, and our defaults for what it leaves
 * open. They are chosen so that nothing blocks for long and a dead peer is noticed:
 *
 *   target_session_attrs=read-write  always, with one host too: a daemon on a standby could not
 * save anything, and after a failover it has to find the new primary gssencmode=disable looking for
 * Kerberos tickets would ask a KDC and block keepalives, tcp_user_timeout     a peer that vanished
 * is noticed in about 15 s
 */

#include <libpq-fe.h>
#include <stdbool.h>
#include <stddef.h>

#include "util/error.h"

typedef struct Parameters {
        PQconninfoOption *options;
        const char *application_name; /* borrowed */
        const char *password_file;    /* borrowed; NULL: none */
} Parameters;

enum {
        PARAMETERS_E_DSN = 1,
        PARAMETERS_E_PASSWORD = 2,
};

/* PARAMETERS_E_DSN: *@errorp is a malloc'd sentence that never holds the password. */
MUST_CHECK int parameters_init(Parameters *parameters, const char *dsn, const char *password_file,
                               const char *application_name, char **errorp);
void parameters_deinit(Parameters *parameters);

/* The value in force, "" for none. */
const char *parameters_get(const Parameters *parameters, const char *keyword);

/* Whether the hosts are to be looked up before: a name, or several, so that an attempt can begin
 * with another one. */
bool parameters_need_resolving(const Parameters *parameters);

/* What replaces the DSN's; each NULL: it does not. */
typedef struct ParametersPlace {
        const char *hosts, *hostaddrs, *ports;
} ParametersPlace;

/*
 * PQconnectStartParams, or PQconnectdbParams when @blocking. The password file is read anew each
 * time. PARAMETERS_E_PASSWORD: it can't be read, errno says why; -ENOMEM.
 */
MUST_CHECK int parameters_connect(const Parameters *parameters, const ParametersPlace *place,
                                  bool blocking, PGconn **connectionp);
