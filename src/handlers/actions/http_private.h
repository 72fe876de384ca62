#pragma once

/*
 * What http.c (the life of a request) and http_request.c (what libcurl is told, and what it calls
 * while a request is on its way) share. For nobody else.
 */

#include <curl/curl.h>
#include <openssl/ssl.h>

#include "core/host.h"
#include "handlers/actions/endpoints.h"
#include "handlers/actions/http.h"
#include "handlers/actions/output.h"
#include "util/reminder.h"

enum {
        HTTP_STATUS_COUNT = 1000, /* three digits */
};

typedef enum HttpState {
        HTTP_CONNECTING, /* Http.transfers */
        HTTP_SENT,       /* Http.transfers */
        HTTP_ANSWERED,   /* Http.transfers */
        HTTP_ENDED,      /* Http.transfers */
} HttpState;

typedef struct Http {
        Action action;
        Loop *loop;
        Log *log;
        bool global; /* curl_global_init() was called */
        CURLM *multi;
        HttpTemplate template;
        int64_t timeout_us;
        int64_t connect_timeout_us;
        char *ca_file, *cert_file, *key_file, *user, *password_file, *bearer_file;
        size_t half;     /* bytes of a body kept from each end */
        LoopTimer timer; /* libcurl's */
        List sockets;    /* HttpSocket.link */
        List transfers;  /* HttpTransfer.link, in the order of their start */
        Endpoints endpoints;
        Reminder said; /* about what is wrong here */
        Buffer why;
        Buffer secret;
        Buffer output; /* of the one that is just being reported */
        Outcome outcomes[HTTP_STATUS_COUNT];
} Http;

typedef struct HttpSocket {
        Http *http;
        List link;
        int fd;
        LoopIo io;
} HttpSocket;

typedef struct HttpTransfer {
        Http *http;
        List link;
        HttpState state;
        ActionEnd end;
        void *user;
        CURL *easy; /* NULL: libcurl has let go of it, or never got it */
        struct curl_slist *headers;
        SSL_CTX *tls;     /* a reference; NULL: none yet */
        int alert;        /* the last fatal one that the server sent; -1: none */
        int socket_errno; /* of the newest socket that it wanted; 0: it got it */
        int64_t started_us;
        int64_t start_by_us; /* ActionRequest.start_by_us */
        bool late;           /* it was connected after that, and not sent */
        int64_t sent_us;     /* when the request may have left; 0: not yet */
        int status;          /* the final one; 0: no answer */
        size_t header_bytes;
        size_t body_bytes;
        Outcome outcome; /* of HTTP_ENDED, as is charged */
        bool charged;
        int64_t retry_after_us;
        LoopTimer deadline;
        LoopSoon soon;
        bool ours;  /* it was not sent for a reason that lies here */
        bool whole; /* libcurl ended it, and says that the body is complete */
        char host[HOST_SIZE];
        char endpoint[ENDPOINT_NAME_SIZE];
        char error[CURL_ERROR_SIZE];
        char detail[ACTION_DETAIL_MAX];
        Output written;
        uint8_t kept[]; /* of it */
} HttpTransfer;

/* Fills the detail; control characters are escaped, what is too long is cut. */
void http_transfer_say(HttpTransfer *transfer, const char *format, ...)
        __attribute__((format(printf, 2, 3)));

/* Makes the easy handle of the newest expansion of the template and gives it to libcurl. Positive:
 * it cannot be sent, for a reason that lies here and that the detail says. -ENOMEM. */
MUST_CHECK int http_transfer_set_up(HttpTransfer *transfer);
