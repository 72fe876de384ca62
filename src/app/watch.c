/*
 * The signals that would end the process are blocked from before the terminal is taken until after
 * it was given back, and read from a descriptor: there is no moment in which one could leave the
 * terminal as it is. (Ctrl-Z is ncurses' own.)
 */

#include "app/watch.h"

#include <jansson.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <time.h>
#include <unistd.h>

#include "app/control_client.h"
#include "app/document.h"
#include "app/exit_status.h"
#include "app/layout.h"
#include "app/screen.h"
#include "app/status_text.h"
#include "app/terminal.h"
#include "util/json.h"

enum {
        INTERVAL_MS = 1000,
};

typedef struct Watch {
        const char *path;
        const char *request;
        bool json, colour;
        int signals;
        Screen *screen; /* NULL: plain */
        Buffer answer;
        json_t *document;      /* the newest that came; NULL: none yet */
        int64_t answered_ms;   /* when it came */
        int64_t silent_ms;     /* since when nobody answers; 0: they do */
        char silent_since[32]; /* ... on the clock */
        char *error;           /* why not */
} Watch;

static int64_t now_ms(void) {
        struct timespec now;
        clock_gettime(CLOCK_MONOTONIC, &now);
        return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

static void clock_text(char *out, size_t size) {
        time_t now = time(NULL);
        struct tm tm;
        strftime(out, size, "%Y-%m-%dT%H:%M:%SZ", gmtime_r(&now, &tm));
}

/* --- asking ------------------------------------------------------------------------------- */

static void silent(Watch *watch, char *error) {
        free(watch->error);
        watch->error = error;
        if (watch->silent_ms == 0) {
                watch->silent_ms = now_ms();
                clock_text(watch->silent_since, sizeof(watch->silent_since));
        }
}

/* 0, or -ENOMEM. */
static int ask(Watch *watch) {
        char *error = NULL;
        buffer_clear(&watch->answer);
        int r = control_ask(watch->path, watch->request, &watch->answer, NULL, &error);
        json_t *document = NULL;
        if (r == 0) {
                r = document_parse(&watch->answer, &document, &error);
        }
        if (r < 0) {
                return r;
        }
        if (r > 0) {
                silent(watch, error);
                return 0;
        }
        json_decref(watch->document);
        watch->document = document;
        watch->answered_ms = now_ms();
        watch->silent_ms = 0;
        return 0;
}

/* --- showing ------------------------------------------------------------------------------ */

static int say_silence(const Watch *watch, Buffer *out, int columns) {
        char age[AGE_TEXT];
        Layout layout;
        layout_begin(&layout, out, columns, watch->colour);
        layout_line(&layout, 0, 2);
        layout_item(&layout, STYLE_ERROR, "no answer since %s (%s)", watch->silent_since,
                    age_text((double)(now_ms() - watch->silent_ms) / 1000, age));
        for (const char *line = watch->error, *end; *line != '\0';
             line = *end == '\0' ? end : end + 1) {
                char text[1024];
                end = line + strcspn(line, "\n");
                snprintf(text, sizeof(text), "%.*s", (int)(end - line), line);
                layout_line(&layout, 2, 2);
                layout_words(&layout, STYLE_PLAIN, text);
        }
        if (watch->document != NULL) {
                layout_blank(&layout);
                layout_line(&layout, 0, 2);
                layout_item(&layout, STYLE_WARNING, "The last answer, %s ago:",
                            age_text((double)(now_ms() - watch->answered_ms) / 1000, age));
        }
        return layout_end(&layout);
}

static int render(const Watch *watch, Buffer *out, int columns) {
        int r = watch->silent_ms != 0 ? say_silence(watch, out, columns) : 0;
        if (r == 0 && watch->document != NULL) {
                r = status_text(out, watch->document, columns, watch->colour);
        }
        return r;
}

static int show_json(const Watch *watch) {
        CLEANUP(buffer_deinit) Buffer line = BUFFER_INIT;
        Json json;
        if (watch->silent_ms == 0) {
                fwrite(watch->answer.data, 1, watch->answer.size, stdout);
                fputs("\n", stdout);
                return 0;
        }
        json_begin(&json, &line);
        json_begin_object(&json);
        json_key(&json, "error");
        json_put_text(&json, watch->error);
        json_key(&json, "no_answer_since");
        json_put_text(&json, watch->silent_since);
        json_end_object(&json);
        int r = json_end(&json);
        if (r == 0) {
                fwrite(line.data, 1, line.size, stdout);
                fputs("\n", stdout);
        }
        return r;
}

static int show(Watch *watch) {
        CLEANUP(buffer_deinit) Buffer out = BUFFER_INIT;
        char at[32];
        int r;
        if (watch->screen != NULL) {
                r = render(watch, &out, screen_columns(watch->screen));
                if (r == 0 && buffer_string(&out) == NULL) {
                        r = error_origin(-ENOMEM);
                }
                if (r == 0) {
                        screen_paint(watch->screen, (const char *)out.data);
                }
                return r;
        }
        if (watch->json) {
                r = show_json(watch);
        } else {
                clock_text(at, sizeof(at));
                r = render(watch, &out, terminal_columns());
                printf("--- %s\n", at);
                fwrite(out.data, 1, r == 0 ? out.size : 0, stdout);
                fputs("\n", stdout);
        }
        fflush(stdout);
        return r;
}

/* --- the loop ----------------------------------------------------------------------------- */

/* Whether it ends. */
static bool take_signals(Watch *watch, bool *resizedp) {
        struct signalfd_siginfo info;
        bool ends = false;
        while (read(watch->signals, &info, sizeof(info)) == (ssize_t)sizeof(info)) {
                if (info.ssi_signo == SIGWINCH) {
                        *resizedp = true;
                } else {
                        ends = true;
                }
        }
        return ends;
}

static bool take_keys(Watch *watch, bool *movedp) {
        int key;
        while ((key = screen_key(watch->screen)) != -1) {
                if (key == 'q' || key == 'Q') {
                        return true;
                }
                *movedp = screen_scroll(watch->screen, key) || *movedp;
        }
        return false;
}

/* Until the next interval. 1: it ends; 0; or a negative errno. */
static int linger(Watch *watch, int64_t until_ms) {
        struct pollfd fds[] = {{.fd = watch->signals, .events = POLLIN},
                               {.fd = watch->screen != NULL ? STDIN_FILENO : -1, .events = POLLIN}};
        for (int64_t left; (left = until_ms - now_ms()) > 0;) {
                bool resized = false, moved = false;
                if (poll(fds, 2, (int)left) < 0 && errno != EINTR) {
                        return error_origin(-errno);
                }
                if (take_signals(watch, &resized)) {
                        return 1;
                }
                if (watch->screen != NULL && take_keys(watch, &moved)) {
                        return 1;
                }
                if (fds[1].revents & (POLLHUP | POLLERR | POLLNVAL)) {
                        return 1; /* the terminal is gone */
                }
                if (resized && watch->screen != NULL) {
                        screen_resize(watch->screen);
                        moved = true;
                }
                if (moved) {
                        int r = show(watch);
                        if (r < 0) {
                                return r;
                        }
                }
        }
        return 0;
}

static int run(Watch *watch) {
        int r = 0;
        while (r == 0) {
                int64_t begun = now_ms();
                r = ask(watch);
                r = r == 0 ? show(watch) : r;
                if (ferror(stdout)) {
                        return 1; /* main() says it */
                }
                /* What took long, or was missed, is not caught up with. */
                int64_t now = now_ms();
                int64_t next = begun + INTERVAL_MS > now ? begun + INTERVAL_MS : now + 1;
                r = r == 0 ? linger(watch, next) : r;
        }
        return r;
}

int watch_run(const char *path, const char *request, bool json, bool colour) {
        Watch watch = {.path = path, .request = request, .json = json, .colour = colour};
        sigset_t set, before;
        sigemptyset(&set);
        sigaddset(&set, SIGINT);
        sigaddset(&set, SIGTERM);
        sigaddset(&set, SIGHUP);
        sigaddset(&set, SIGQUIT);
        sigaddset(&set, SIGWINCH);
        sigprocmask(SIG_BLOCK, &set, &before);
        watch.signals = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
        int r = watch.signals < 0 ? error_origin(-errno) : 0;
        if (r == 0 && !json) {
                r = screen_open(&watch.screen, colour);
                r = r > 0 ? 0 : r; /* no terminal: plain */
        }
        r = r == 0 ? run(&watch) : r;
        screen_close(watch.screen);
        if (r < 0) {
                fprintf(stderr, "ackd status: %s\n", strerror(-r));
        }
        if (watch.signals >= 0) {
                close(watch.signals);
        }
        sigprocmask(SIG_SETMASK, &before, NULL);
        buffer_deinit(&watch.answer);
        json_decref(watch.document);
        free(watch.error);
        return r < 0 ? EXIT_UNEXPECTED : EXIT_OK;
}
