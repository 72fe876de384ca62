#include "app/signals.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "util/list.h"
#include "util/user.h"

static bool hup_is_ignored(void) {
        struct sigaction action;
        return sigaction(SIGHUP, NULL, &action) == 0 && action.sa_handler == SIG_IGN;
}

static void signals_set(sigset_t *set) {
        sigemptyset(set);
        sigaddset(set, SIGTERM);
        sigaddset(set, SIGINT);
        sigaddset(set, SIGUSR1);
        if (!hup_is_ignored()) {
                sigaddset(set, SIGHUP);
        }
}

void signals_block(void) {
        sigset_t set;
        signals_set(&set);
        sigprocmask(SIG_BLOCK, &set, NULL);
        signal(SIGPIPE, SIG_IGN);
}

const char *signal_name(int number) {
        switch (number) {
        case SIGHUP:
                return "SIGHUP";
        case SIGTERM:
                return "SIGTERM";
        case SIGINT:
                return "SIGINT";
        case SIGUSR1:
                return "SIGUSR1";
        default:
                return "?";
        }
}

static void describe(const struct signalfd_siginfo *info, char out[SIGNAL_SENDER_MAX]) {
        char path[32], name[32] = "", user[USER_TEXT_MAX];
        if (info->ssi_code == SI_KERNEL || info->ssi_pid == 0) {
                snprintf(out, SIGNAL_SENDER_MAX, "the kernel or the terminal");
                return;
        }
        snprintf(path, sizeof(path), "/proc/%u/comm", info->ssi_pid);
        FILE *file = fopen(path, "re");
        if (file != NULL) {
                if (fgets(name, sizeof(name), file) != NULL) {
                        name[strcspn(name, "\n")] = '\0';
                }
                fclose(file);
        }
        snprintf(out, SIGNAL_SENDER_MAX, "pid %u (%s), %s", info->ssi_pid,
                 name[0] != '\0' ? name : "gone already", user_text(user, (uid_t)info->ssi_uid));
}

static void on_signal(LoopIo *io, int events) {
        (void)events;
        Signals *signals = container_of(io, Signals, io);
        struct signalfd_siginfo info;
        char sender[SIGNAL_SENDER_MAX];
        while (signals->fd >= 0 && read(signals->fd, &info, sizeof(info)) == sizeof(info)) {
                describe(&info, sender);
                signals->arrived(signals->user, (int)info.ssi_signo, sender);
        }
}

int signals_init(Signals *signals, Loop *loop, SignalArrived arrived, void *user) {
        sigset_t set;
        *signals = (Signals){.fd = -1, .arrived = arrived, .user = user};
        signals->hup_ignored = hup_is_ignored();
        signals_set(&set);
        signals->fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
        if (signals->fd < 0) {
                return error_origin(-errno);
        }
        loop_io_init(&signals->io, loop, "signal", on_signal);
        loop_io_start(&signals->io, signals->fd, LOOP_READ);
        return 0;
}

void signals_deinit(Signals *signals) {
        if (signals->io.loop == NULL) {
                return;
        }
        loop_io_stop(&signals->io);
        close(signals->fd);
        signals->fd = -1;
        signals->io.loop = NULL;
}
