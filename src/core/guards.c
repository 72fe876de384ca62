/*
 * What may keep a restart from starting and needs no database: guards that say no for ever, those
 * that find that there is nothing to do, and those that let it wait.
 *
 * In this order, and the first one decides: `allow`, `deny`, self (rejected), `when` (suppressed:
 * counts as success), the windows (it waits). The host's grammar and its canonical form come before
 * them, when the message is read.
 *
 * A window is asked when a run is to start and once more when its action is taken, by the wall
 * clock of that moment; nothing is remembered of a message. So 100,000 of them that wait cost
 * nothing when a window opens, and a clock that was set needs no repair.
 */

#include <stdio.h>
#include <string.h>

#include "core/state.h"
#include "util/duration.h"

enum {
        /* The wall clock may be set meanwhile, and no timer of ours would notice. */
        ASK_AGAIN_US = 60 * 1000000,
        /* Messages whose wait ends between two looks at anything else. */
        EXPIRE_PIECE = 1000,
};

static const char *const wait_names[WAIT_REASONS] = {
        [WAIT_NONE] = "none",         [WAIT_WINDOW] = "window",   [WAIT_SLOT] = "slot",
        [WAIT_HOST] = "host",         [WAIT_RETRY] = "retry",     [WAIT_POSTGRES] = "postgres",
        [WAIT_PRECHECK] = "precheck", [WAIT_RUNNING] = "running", [WAIT_COOLDOWN] = "cooldown",
        [WAIT_HOLD] = "hold",         [WAIT_GROUP] = "group",     [WAIT_QUIET_TIME] = "quiet_time",
        [WAIT_FLEET] = "fleet",       [WAIT_FUSE] = "fuse",
};

const char *restart_wait_name(RestartWait wait) {
        return wait_names[wait];
}

static bool matches_any(const char *const *patterns, const char *host) {
        for (; patterns != NULL && *patterns != NULL; patterns++) {
                if (host_matches(*patterns, host)) {
                        return true;
                }
        }
        return false;
}

static bool is_self(const char *const *self, const char *host) {
        for (const char *const *name = self; name != NULL && *name != NULL; name++) {
                if ((*name)[0] == host[0] && strcmp(*name, host) == 0) {
                        return true;
                }
        }
        return self != NULL && host_is_loopback(host);
}

const char *guard_host(const EngineConfig *config, const char *host, const char **detail) {
        if (!matches_any(config->allow, host)) {
                *detail = "no pattern of handlers.restart-host.allow matches the host";
                return "not_allowed";
        }
        if (matches_any(config->deny, host)) {
                *detail = "a pattern of handlers.restart-host.deny matches the host";
                return "denied";
        }
        if (is_self(config->self, host)) {
                *detail =
                        "the host is the machine that ackd runs on, and a restart of it would end "
                        "ackd in the middle of its work; handlers.restart-host.allow_self: true "
                        "allows it";
                return "self";
        }
        return NULL;
}

/* --- windows ------------------------------------------------------------------------------ */

void engine_clock(Engine *engine, int64_t wall, int64_t now) {
        engine->now = now;
        engine->wall_ahead_us = wall - now;
        engine->clock_known = true;
}

bool windows_are_open(Engine *engine) {
        const EngineConfig *config = engine->config;
        if (config->n_windows == 0) {
                return true;
        }
        if (!engine->clock_known) {
                return false;
        }
        int64_t wall = engine->now + engine->wall_ahead_us;
        if (wall < engine->windows_from_us || wall >= engine->windows.until_us) {
                engine->windows = windows_at(config->windows, config->n_windows, wall);
                engine->windows_from_us = wall;
        }
        int64_t until = engine->windows.until_us;
        bool soon = until < wall + ASK_AGAIN_US;
        engine->windows_ask_us = engine->now + (soon ? until - wall : ASK_AGAIN_US);
        return engine->windows.open;
}

int windows_dispatch(Engine *engine, bool *openp) {
        *openp = windows_are_open(engine);
        if (*openp != engine->shut || (!*openp && !engine->clock_known)) {
                return 0;
        }
        engine->shut = !*openp;
        return engine_act(engine,
                          &(EngineAction){.type = ENGINE_NOTE,
                                          .note = *openp ? NOTE_WINDOWS_OPEN : NOTE_WINDOWS_SHUT,
                                          .offset = (int64_t)engine->n_waits[WAIT_SLOT]});
}

WindowsState engine_windows(const Engine *engine) {
        return (WindowsState){.open = !engine->shut, .until_us = engine->windows.until_us};
}

/* --- waiting ------------------------------------------------------------------------------ */

/* Of a host that has neither a run nor a reason of its own to wait. */
static RestartWait ready_waits_for(const Engine *engine) {
        return engine->shut ? WAIT_WINDOW : engine->ledger_failures > 0 ? WAIT_POSTGRES : WAIT_SLOT;
}

RestartWait message_waits_for(const Message *message) {
        const Engine *engine = message->partition->engine;
        const Host *host = message->target;
        HandlerState state = message->handlers[HANDLER_RESTART].state;
        if (state == HANDLER_WAITING) {
                return WAIT_RETRY;
        }
        if (state == HANDLER_UNDECIDED) {
                return message->replay->wait;
        }
        if (state != HANDLER_QUEUED) {
                return WAIT_NONE;
        }
        if (host == NULL) {
                return message->suppress != LEDGER_REASON_NONE ? WAIT_POSTGRES : WAIT_NONE;
        }
        return host->run != NULL         ? WAIT_HOST
               : host->wait != WAIT_NONE ? host->wait
                                         : ready_waits_for(engine);
}

size_t engine_waits(const Engine *engine, RestartWait wait) {
        size_t ready = ready_waits_for(engine) == wait ? engine->n_waits[WAIT_SLOT] : 0;
        switch (wait) {
        case WAIT_WINDOW:
        case WAIT_SLOT:
                return ready;
        case WAIT_RETRY:
                return engine->retries.size;
        case WAIT_NONE:
        case WAIT_REASONS:
                return 0;
        case WAIT_POSTGRES:
        case WAIT_HOST:
        case WAIT_PRECHECK:
        case WAIT_RUNNING:
        case WAIT_COOLDOWN:
        case WAIT_HOLD:
        case WAIT_GROUP:
        case WAIT_QUIET_TIME:
        case WAIT_FLEET:
        case WAIT_FUSE:
                break;
        }
        return ready + engine->n_waits[wait];
}

static bool has_waited(const Message *message) {
        const Engine *engine = message->partition->engine;
        int64_t max_wait = engine->config->max_wait_us;
        /* What is only to be written down as suppressed is no restart that waits. */
        return max_wait > 0 && message->suppress == LEDGER_REASON_NONE &&
               engine->now - message->received_us >= max_wait;
}

bool wait_is_over(const Message *message) {
        /* Its own restart ends by itself, and what became of it counts. */
        return has_waited(message) && !message->own_runs;
}

int wait_end(Message *message, RestartWait wait) {
        static const char *const words[WAIT_REASONS] = {
                [WAIT_NONE] = "its next attempt",
                [WAIT_WINDOW] = "a window to open",
                [WAIT_SLOT] = "a free slot (concurrency)",
                [WAIT_HOST] = "another restart of its host",
                [WAIT_RETRY] = "its next attempt",
                [WAIT_POSTGRES] = "PostgreSQL, which decides whether it may start",
                [WAIT_PRECHECK] = "precheck to let it start",
                [WAIT_RUNNING] = "another restart of its host, at another instance",
                [WAIT_COOLDOWN] = "the cool-down of its host to end (cooldown)",
                [WAIT_HOLD] = "a hold to be lifted",
                [WAIT_GROUP] = "another restart in its group to end (groups)",
                [WAIT_QUIET_TIME] = "the quiet time of its group to end (groups)",
                [WAIT_FLEET] = "another restart to end (fleet_concurrency)",
                [WAIT_FUSE] = "the fuse's hold to be lifted",
        };
        Engine *engine = message->partition->engine;
        wait = wait == WAIT_NONE ? ready_waits_for(engine) : wait;
        char detail[MESSAGE_DETAIL_MAX], limit[DURATION_TEXT];
        snprintf(detail, sizeof(detail),
                 "it was received %s ago (handlers.restart-host.max_wait) and still waited for %s",
                 duration_format(engine->config->max_wait_us, limit), words[wait]);
        hosts_remove(message);
        heap_remove(&engine->retries, &message->retry);
        int r = message_blame(message, HANDLER_RESTART, "waited_too_long", detail);
        r = r == 0 ? message_outcome(message, HANDLER_RESTART, OUTCOME_POISON, false, detail) : r;
        return r == 0 ? message_settle(message) : r;
}

int waits_dispatch(Engine *engine) {
        int r = 0;
        for (int i = 0; r == 0 && !engine->stopping && i < EXPIRE_PIECE; i++) {
                Message *first = list_first(&engine->received, Message, wait_link);
                if (first == NULL || !has_waited(first)) {
                        break;
                }
                HandlerState state = first->handlers[HANDLER_RESTART].state;
                list_unlink(&first->wait_link);
                /* What runs waits for nothing; should it fail, it is not tried again. */
                if (!first->own_runs && (state == HANDLER_QUEUED || state == HANDLER_WAITING)) {
                        r = wait_end(first, message_waits_for(first));
                }
        }
        return r;
}

int64_t waits_deadline(const Engine *engine) {
        const Message *first = list_first(&engine->received, Message, wait_link);
        int64_t due = INT64_MAX;
        if (first != NULL) {
                due = first->received_us + engine->config->max_wait_us;
        }
        if (engine->shut && engine->n_waits[WAIT_SLOT] > 0 && engine->windows_ask_us < due) {
                due = engine->windows_ask_us;
        }
        return due;
}
