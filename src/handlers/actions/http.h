#pragma once

/*
 * The action `http`: a request to an endpoint that restarts the host, by libcurl's multi interface
 * in the loop. Nothing blocks; names are resolved by libcurl's threads.
 *
 * The outcome, when the final status and its headers have come: as the lists of the configuration
 * say, and otherwise `unknown` for 5xx and `failed` for the rest. What the body does after that
 * changes nothing: it is only kept (bounded) for people.
 *
 * Without an answer: `not_started` as long as nothing of the request was given to the connection
 * (refused, no address, TLS that fails, time that is up before), and `unknown` from then on. See
 * http.c for how that is known.
 *
 * `terminate` ends what has not been sent, as not_started and charged to nobody; what was sent goes
 * on, since a request cannot be asked to end. `kill` ends everything.
 */

#include "handlers/actions/action.h"
#include "util/buffer.h"
#include "util/http_template.h"

typedef struct HttpStatuses {
        const int *values; /* 200 to 599 */
        size_t n;
} HttpStatuses;

/* Files are absolute paths, "": none. Copied: nothing is borrowed after http_new(). */
typedef struct HttpOptions {
        HttpSource request;
        int64_t timeout_us;         /* of all of it */
        int64_t connect_timeout_us; /* of name, connection and TLS together */
        HttpStatuses done;
        HttpStatuses not_started;
        HttpStatuses unknown;
        HttpStatuses failed;
        const char *ca_file;              /* PEM; "": the system's authorities */
        const char *cert_file;            /* PEM, of the client */
        const char *key_file;             /* PEM, without a passphrase; "": it is in cert_file */
        const char *user, *password_file; /* basic */
        const char *bearer_file;
        size_t output_bytes; /* kept of a body: the first half and the last */
} HttpOptions;

enum {
        HTTP_E_TEMPLATE = 1, /* it cannot be used; @why says it in a sentence */

        HTTP_RESPONSE_BYTES_MAX = 1024 * 1024, /* of a body; then the transfer is ended */
        HTTP_HEADER_BYTES_MAX = 64 * 1024,     /* of all headers; over it there is no answer */
};

/*
 * When several hosts in a row are not_started at one endpoint (see endpoints.h), that is the
 * endpoint's trouble: none of them is charged, and it is logged once a minute.
 *
 * @why gets a sentence for people with HTTP_E_TEMPLATE; NULL: not wanted. SIGPIPE is ignored in the
 * process from then on when it had its default action: TLS writes to connections that may be gone.
 * Negative errno.
 */
MUST_CHECK int http_new(Action **actionp, Loop *loop, Log *log, const HttpOptions *options,
                        Buffer *why);

/* "Basic", "Bearer", or NULL: what the options put into the header Authorization. Static. */
const char *http_authorization(const HttpOptions *options);

/* "7.88.1 OpenSSL/3.0.19": libcurl's as it is loaded. Static. */
const char *http_library_version(void);
