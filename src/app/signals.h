#pragma once

/*
 * Signals, read from a descriptor in the loop: each comes with who sent it.
 *
 * Blocked in main() before the first thread exists, so that every thread inherits the mask and only
 * the loop ever sees one. SIGPIPE is ignored.
 */

#include <stdbool.h>
#include <sys/types.h>

#include "util/error.h"
#include "util/loop.h"

enum {
        SIGNAL_SENDER_MAX = 128,
};

/* @sender: "pid 123 (bash), user root"; valid during the call. */
typedef void (*SignalArrived)(void *user, int number, const char *sender);

typedef struct Signals {
        LoopIo io;
        int fd;           /* -1: closed */
        bool hup_ignored; /* inherited (nohup) and honoured */
        SignalArrived arrived;
        void *user;
} Signals;

/* Before any thread: blocks SIGHUP (unless it is ignored), SIGTERM, SIGINT and SIGUSR1, ignores
 * SIGPIPE. */
void signals_block(void);

MUST_CHECK int signals_init(Signals *signals, Loop *loop, SignalArrived arrived, void *user);
void signals_deinit(Signals *signals);

/* "SIGTERM"; "signal 12" is "?". Static. */
const char *signal_name(int number);
