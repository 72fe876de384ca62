/* See sender.h. */

#include "app/sender.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "app/commands.h"

enum {
        REPORT_EVERY_US = 200000, /* the progress bar */
        STOP_US = 5 * 1000000,    /* what is on its way when a signal comes */
        BATCH = 1000,             /* messages made in one turn */
        BAR_WIDTH = 40,
        BAR_NUMBERS = 40, /* columns that the numbers beside the bar take */
};

/* --- progress ----------------------------------------------------------------------------- */

/* Of the bar itself: a line that wraps could not be written over. */
static int bar_width(void) {
        struct winsize size;
        if (ioctl(STDERR_FILENO, TIOCGWINSZ, &size) != 0 || size.ws_col == 0) {
                return BAR_WIDTH;
        }
        int left = (int)size.ws_col - BAR_NUMBERS;
        return left < 0 ? 0 : left < BAR_WIDTH ? left : BAR_WIDTH;
}

double sender_seconds(const Sender *sender) {
        int64_t end = sender->ended_us != 0 ? sender->ended_us : loop_now();
        return (double)(end - sender->began_us) / 1e6;
}

static void print_bar(const Sender *sender) {
        double seconds = sender_seconds(sender);
        double rate = seconds > 0 ? (double)sender->delivered / seconds : 0;
        if (!sender->bar) {
                return;
        }
        if (sender->total == 0) {
                fprintf(stderr, "\r%llu sent, %.0f/s ", (unsigned long long)sender->delivered,
                        rate);
                return;
        }
        double share = (double)sender->delivered / (double)sender->total;
        int width = bar_width(), full = (int)(share * width);
        if (width > 0) {
                fprintf(stderr, "\r[%.*s%*s]", full, "########################################",
                        width - full, "");
        }
        fprintf(stderr, "%s %3d %% %llu/%llu, %.0f/s ", width > 0 ? "" : "\r", (int)(share * 100),
                (unsigned long long)sender->delivered, (unsigned long long)sender->total, rate);
}

static void finish(Sender *sender) {
        if (sender->ended_us == 0) {
                sender->ended_us = loop_now();
        }
        loop_stop(&sender->loop);
}

static void keep_error(Sender *sender, const char *error) {
        if (sender->error[0] == '\0') {
                snprintf(sender->error, sizeof(sender->error), "%s", error);
        }
}

void sender_stop(Sender *sender, const char *why) {
        keep_error(sender, why);
        finish(sender);
}

static void on_report(LoopTimer *timer) {
        Sender *sender = container_of(timer, Sender, report);
        print_bar(sender);
        if (producer_pending(sender->producer) > 0 &&
            loop_now() - sender->progress_us > SENDER_PATIENCE_US) {
                snprintf(sender->error, sizeof(sender->error),
                         "nothing was delivered for %d s; look whether kafka.bootstrap.servers is "
                         "right and the topic exists",
                         SENDER_PATIENCE_US / 1000000);
                finish(sender);
                return;
        }
        loop_timer_set(timer, REPORT_EVERY_US);
}

/* --- sending ------------------------------------------------------------------------------ */

/* How many may have been made by now. */
static uint64_t allowed(const Sender *sender) {
        if (sender->rate <= 0) {
                return UINT64_MAX;
        }
        return (uint64_t)((double)(loop_now() - sender->began_us) / 1e6 * sender->rate) + 1;
}

static bool has_room(const Sender *sender) {
        return !sender->full &&
               (sender->window == 0 || producer_pending(sender->producer) < sender->window);
}

static void keep_failure(Sender *sender, const char *error) {
        char text[sizeof(sender->error)];
        if (producer_fault(sender->producer) != PRODUCER_FAULT_TOO_LARGE) {
                keep_error(sender, error);
                return;
        }
        snprintf(text, sizeof(text),
                 "%s: with its headers it is larger than the topic allows; raise the topic's "
                 "max.message.bytes (kafka-configs.sh --alter); over 32 MiB none is sent",
                 error);
        keep_error(sender, text);
}

static void answer(Sender *sender, void *opaque, const char *error) {
        if (error == NULL) {
                sender->delivered++;
        } else {
                sender->failed++;
                keep_failure(sender, error);
        }
        if (sender->source->answered != NULL) {
                sender->source->answered(sender->user, opaque, error);
        }
}

static int send_one(Sender *sender, bool *more) {
        const char *error = NULL;
        int r = 0;
        if (!sender->full) {
                r = sender->source->next(sender->user, &sender->message, &sender->opaque, more);
        }
        if (r != 0 || !*more) {
                return r;
        }
        if (producer_pending(sender->producer) == 0) {
                sender->progress_us = loop_now(); /* from here on something waits */
        }
        r = producer_send(sender->producer, &sender->message, sender->opaque, &error);
        sender->full = r == PRODUCER_E_FULL;
        if (r == PRODUCER_E_FULL) {
                return 0; /* what is kept is sent when there is room */
        }
        sender->made++;
        if (r == PRODUCER_E_REFUSED) {
                answer(sender, sender->opaque, error);
                return 0;
        }
        return r;
}

static void on_soon(LoopSoon *soon) {
        Sender *sender = container_of(soon, Sender, soon);
        uint64_t limit = allowed(sender);
        bool more = true;
        int r = 0;
        if (sender->source->turn != NULL) {
                sender->source->turn(sender->user);
        }
        if (sender->drained || sender->signal != 0) {
                return;
        }
        for (int i = 0; i < BATCH && r == 0 && more && has_room(sender) && sender->made < limit;
             i++) {
                r = send_one(sender, &more);
        }
        if (r != 0) {
                sender_stop(sender, strerror(-r));
        } else if (!more) {
                sender->drained = true;
                producer_flush(sender->producer, INT64_C(3600) * 1000000);
        } else if (sender->made >= limit) {
                loop_timer_set(&sender->timer, (int64_t)(1e6 / sender->rate));
        } else if (has_room(sender)) {
                loop_soon_set(soon);
        }
}

static void on_timer(LoopTimer *timer) {
        loop_soon_set(&container_of(timer, Sender, timer)->soon);
}

static void on_delivered(void *user, void *opaque, const char *error) {
        Sender *sender = user;
        sender->progress_us = loop_now();
        answer(sender, opaque, error);
        if (sender->window != 0 || sender->source->turn != NULL) {
                loop_soon_set(&sender->soon);
        }
}

static void on_room(void *user) {
        Sender *sender = user;
        bool more = true;
        if (sender->signal != 0) {
                return;
        }
        if (sender->full && send_one(sender, &more) == 0 && !sender->full) {
                loop_soon_set(&sender->soon);
        }
}

static void on_flushed(void *user, size_t left) {
        Sender *sender = user;
        sender->done = sender->drained && left == 0;
        finish(sender);
}

static void on_fatal(void *user, const char *error) {
        sender_stop(user, error);
}

static void on_signal(void *user, int number, const char *sent_by) {
        Sender *sender = user;
        (void)sent_by;
        if (number == SIGUSR1) {
                return;
        }
        if (sender->signal != 0) {
                finish(sender);
                return;
        }
        sender->signal = number;
        snprintf(sender->error, sizeof(sender->error), "stopped by %s", signal_name(number));
        producer_flush(sender->producer, STOP_US);
}

/* --- the run ------------------------------------------------------------------------------ */

static int open_producer(Sender *sender, const Config *config, char **errorp) {
        static const ProducerEvents events = {.delivered = on_delivered,
                                              .room = on_room,
                                              .flushed = on_flushed,
                                              .fatal = on_fatal};
        ConsumerSetting *settings = kafka_settings(config);
        int r = settings == NULL ? error_origin(-ENOMEM) : loop_init(&sender->loop);
        if (r == 0) {
                r = log_new(&sender->log, STDERR_FILENO, LOG_TEXT, LOG_WARNING, sender->name,
                            64 * 1024);
        }
        if (r == 0) {
                r = signals_init(&sender->signals, &sender->loop, on_signal, sender);
        }
        if (r == 0) {
                r = producer_new(&sender->producer, &sender->loop, sender->log, settings,
                                 config->kafka.n, &events, sender, errorp);
        }
        free(settings);
        return r;
}

int sender_run(Sender *sender, const Config *config, char **errorp) {
        int r = open_producer(sender, config, errorp);
        if (r != 0) {
                return r;
        }
        sender->bar = isatty(STDERR_FILENO) == 1;
        sender->began_us = sender->progress_us = loop_now();
        loop_soon_init(&sender->soon, &sender->loop, "send", on_soon);
        loop_timer_init(&sender->timer, &sender->loop, "send.rate", on_timer);
        loop_timer_init(&sender->report, &sender->loop, "send.report", on_report);
        loop_timer_set(&sender->report, REPORT_EVERY_US);
        loop_soon_set(&sender->soon);
        loop_run(&sender->loop);
        loop_timer_stop(&sender->report);
        loop_timer_stop(&sender->timer);
        loop_soon_stop(&sender->soon);
        print_bar(sender);
        if (sender->bar) {
                fputc('\n', stderr);
        }
        return 0;
}

void sender_deinit(Sender *sender) {
        producer_free(sender->producer);
        signals_deinit(&sender->signals);
        loop_deinit(&sender->loop);
        log_free(sender->log, 500000);
}

bool sender_parse_rate(const char *text, double *rate) {
        char *end = NULL;
        *rate = strtod(text, &end);
        return end != text && *end == '\0' && *rate > 0 && *rate < 1e15;
}
