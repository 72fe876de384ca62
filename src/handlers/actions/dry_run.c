/*
 * What is started waits in `started` for the next turn, in which one callback ends all of it. What
 * its receivers start meanwhile waits for the turn after, so the loop is never held up. An ended
 * object goes to `spare`, which so holds at most as many as ever ran at once.
 */

#include "handlers/actions/dry_run.h"

#include <stdlib.h>
#include <string.h>

#include "handlers/actions/command.h"
#include "handlers/actions/lookup.h"

typedef struct DryRun {
        Action action;
        Log *log;
        Command command;
        bool has_command;
        HttpTemplate request;
        bool has_request;
        const char *authorization; /* of the request; NULL: none */
        Buffer text;               /* of the line for the log, or of why there is none */
        List started;              /* DryRunItem.link */
        List spare;
        LoopSoon soon;
} DryRun;

typedef struct DryRunItem {
        List link;
        ActionEnd end;
        void *user;
        int64_t started_us;
        char *poison; /* why the request can never be carried out; NULL: it can */
} DryRunItem;

static void list_free(List *list) {
        list_for_each_safe(link, list) {
                DryRunItem *item = container_of(link, DryRunItem, link);
                free(item->poison);
                free(item);
        }
        list_init(list);
}

static void dry_run_free(Action *action) {
        if (action == NULL) {
                return;
        }
        DryRun *dry_run = container_of(action, DryRun, action);
        loop_soon_stop(&dry_run->soon);
        list_free(&dry_run->started);
        list_free(&dry_run->spare);
        command_deinit(&dry_run->command);
        http_template_deinit(&dry_run->request);
        buffer_deinit(&dry_run->text);
        free(dry_run);
}

static void item_end(DryRun *dry_run, DryRunItem *item) {
        ActionEnd end = item->end;
        void *user = item->user;
        char *poison = steal(item->poison);
        ActionResult result = {
                .outcome = poison != NULL ? OUTCOME_POISON : OUTCOME_DONE,
                .charged = true,
                .status = -1,
                .detail = poison != NULL ? poison : "dry run: nothing was done",
                .duration_us = loop_time(dry_run->soon.loop) - item->started_us,
        };
        list_unlink(&item->link);
        list_push_front(&dry_run->spare, &item->link);
        dry_run->action.running--;
        end(user, &result);
        free(poison);
}

static void on_soon(LoopSoon *soon) {
        DryRun *dry_run = container_of(soon, DryRun, soon);
        List ending;
        list_init(&ending);
        list_splice_back(&ending, &dry_run->started);
        while (!list_is_empty(&ending)) {
                item_end(dry_run, container_of(ending.next, DryRunItem, link));
        }
}

enum {
        DRY_RUN_E_POISON = 1, /* the reason is in DryRun.text */
};

/* 0, DRY_RUN_E_POISON, -ENOMEM. */
static int dry_run_expand(DryRun *dry_run, const ActionRequest *request) {
        int r = dry_run->has_command ? command_expand(&dry_run->command, request, &dry_run->text)
                                     : http_template_expand(&dry_run->request, action_look_up,
                                                            (void *)request, &dry_run->text);
        return r > 0 ? DRY_RUN_E_POISON : r;
}

static int dry_run_print(DryRun *dry_run) {
        buffer_clear(&dry_run->text);
        return dry_run->has_command ? command_print(&dry_run->command, &dry_run->text)
                                    : http_template_print(&dry_run->request, dry_run->authorization,
                                                          &dry_run->text);
}

/* As dry_run_expand(). */
static int dry_run_say(DryRun *dry_run, const ActionRequest *request) {
        const LogFields *fields = FIELDS(.host = request->host, .attempt = request->attempt);
        if (!dry_run->has_command && !dry_run->has_request) {
                log_info(dry_run->log, "restart.dry_run", fields, "would restart %s",
                         request->host);
                return 0;
        }
        int r = dry_run_expand(dry_run, request);
        if (r != 0 || !log_wants(dry_run->log, LOG_INFO)) {
                return r;
        }
        r = dry_run_print(dry_run);
        if (r == 0) {
                log_info(dry_run->log, "restart.dry_run", fields, "would restart %s with %.*s",
                         request->host, (int)dry_run->text.size, (const char *)dry_run->text.data);
        }
        return r;
}

static int dry_run_start(Action *action, const ActionRequest *request, ActionEnd end, void *user) {
        DryRun *dry_run = container_of(action, DryRun, action);
        DryRunItem *item = list_first(&dry_run->spare, DryRunItem, link);
        if (item == NULL) {
                item = calloc(1, sizeof(*item));
                if (item == NULL) {
                        return error_origin(-ENOMEM);
                }
                list_init(&item->link);
                list_push_front(&dry_run->spare, &item->link);
        }
        int r = dry_run_say(dry_run, request);
        if (r < 0) {
                return r;
        }
        if (r == DRY_RUN_E_POISON) {
                const char *why = buffer_string(&dry_run->text);
                item->poison = why != NULL ? strdup(why) : NULL;
                if (item->poison == NULL) {
                        return error_origin(-ENOMEM);
                }
        }
        item->end = end;
        item->user = user;
        item->started_us = loop_time(dry_run->soon.loop);
        list_unlink(&item->link);
        list_push_back(&dry_run->started, &item->link);
        dry_run->action.running++;
        loop_soon_set(&dry_run->soon);
        return 0;
}

/* Everything ends in the next turn anyway. */
static void dry_run_hurry(Action *action) {
        (void)action;
}

static const ActionInterface dry_run_interface = {
        .name = "dry-run",
        .pretends = true,
        .start = dry_run_start,
        .terminate = dry_run_hurry,
        .kill = dry_run_hurry,
        .free = dry_run_free,
};

static int dry_run_init(DryRun *dry_run, const char *const *argv, const HttpOptions *http,
                        Buffer *why) {
        HttpPart part;
        int r = 0;
        if (argv != NULL) {
                r = command_init(&dry_run->command, argv, why);
                dry_run->has_command = r == 0;
        } else if (http != NULL) {
                r = http_template_init(&dry_run->request, &http->request, &part, why);
                dry_run->has_request = r == 0;
                dry_run->authorization = http_authorization(http);
        }
        return r > 0 ? DRY_RUN_E_TEMPLATE : r;
}

int dry_run_new(Action **actionp, Loop *loop, Log *log, const char *const *argv,
                const HttpOptions *http, Buffer *why) {
        DryRun *dry_run = calloc(1, sizeof(*dry_run));
        if (dry_run == NULL) {
                return error_origin(-ENOMEM);
        }
        dry_run->action.interface = &dry_run_interface;
        dry_run->log = log;
        list_init(&dry_run->started);
        list_init(&dry_run->spare);
        loop_soon_init(&dry_run->soon, loop, "dry_run.ended", on_soon);
        int r = dry_run_init(dry_run, argv, http, why);
        if (r != 0) {
                dry_run_free(&dry_run->action);
                return r;
        }
        *actionp = &dry_run->action;
        return 0;
}
