#include "handlers/restart.h"

#include <stdlib.h>
#include <string.h>

#include "handlers/actions/output.h"

struct Restart {
        Log *log;
        Action *action;
        RestartEnded ended;
        void *user;
        List tasks; /* RestartTask.link, in the order of their start */
        List spare; /* at most as many as ever ran at once */
};

typedef struct RestartTask {
        Restart *restart;
        Run *run;
        List link;
} RestartTask;

int restart_new(Restart **restartp, Log *log, Action *action, RestartEnded ended, void *user) {
        Restart *restart = calloc(1, sizeof(*restart));
        if (restart == NULL) {
                action->interface->free(action);
                return error_origin(-ENOMEM);
        }
        restart->log = log;
        restart->action = action;
        restart->ended = ended;
        restart->user = user;
        list_init(&restart->tasks);
        list_init(&restart->spare);
        *restartp = restart;
        return 0;
}

static void tasks_free(List *tasks) {
        list_for_each_safe(link, tasks) {
                free(container_of(link, RestartTask, link));
        }
}

void restart_free(Restart *restart) {
        if (restart == NULL) {
                return;
        }
        restart->action->interface->free(restart->action);
        tasks_free(&restart->tasks);
        tasks_free(&restart->spare);
        free(restart);
}

/* Of a run: " (restarts.id 44, 2 requests)"; "" when the ledger is not asked. */
static const char *row_text(const Run *run, char out[80]) {
        size_t n = 0;
        list_for_each(link, &run->messages) {
                n++;
        }
        out[0] = '\0';
        if (run->ledger_id != 0) {
                snprintf(out, 80, " (restarts.id %lld%s", (long long)run->ledger_id,
                         n > 1 ? "" : ")");
                size_t used = strlen(out);
                if (n > 1) {
                        snprintf(out + used, 80 - used, ", %zu requests share it)", n);
                }
        }
        return out;
}

static const char *end_event(Outcome outcome) {
        switch (outcome) {
        case OUTCOME_DONE:
        case OUTCOME_SUPPRESSED:
                return "restart.done";
        case OUTCOME_NOT_STARTED:
        case OUTCOME_OUTAGE:
        case OUTCOME_CANCELLED:
                return "restart.not_started";
        case OUTCOME_UNKNOWN:
                return "restart.unknown";
        case OUTCOME_NONE:
        case OUTCOME_FAILED:
        case OUTCOME_POISON:
        case OUTCOME_INTERNAL:
        case OUTCOME_COUNT:
                break;
        }
        return "restart.failed";
}

static void log_end(const Restart *restart, const Run *run, const ActionResult *result) {
        bool good = outcome_is_success(result->outcome);
        bool acted = good && run->verifies; /* and is done only when verify says so */
        char row[80];
        LogLevel level = good ? LOG_INFO : LOG_WARNING;
        char line[OUTPUT_LINE] = "";
        bool said = good ? restart->action->interface->pretends
                         : result->outcome == OUTCOME_NOT_STARTED && !result->charged;
        if (said) {
                level = LOG_DEBUG; /* the action has said it, once for all hosts */
        }
        if (!log_wants(restart->log, level)) {
                return;
        }
        if (!good) {
                output_last_line(result->output, result->output_size, line);
        }
        const char *outcome = acted ? "acted" : outcome_name(result->outcome);
        log_write(restart->log, level, acted ? "restart.acted" : end_event(result->outcome),
                  FIELDS(.host = run_host(run), .handler = handler_name(HANDLER_RESTART),
                         .attempt = run->attempt, .outcome = outcome),
                  "restart of %s: %s after %.3f s: %s%s%s%s%s", run_host(run), outcome,
                  (double)result->duration_us / 1e6, result->detail,
                  line[0] != '\0' ? "; last line of its output: " : "", line,
                  acted ? "; verify has still to tell" : "", row_text(run, row));
}

/* For the ledger. Without memory for it the row has none. */
static void keep(Run *run, const ActionResult *result) {
        run->action_started_us += result->begun_after_us;
        run->action_ended_us = ledger_clock();
        run->exit_status = result->status >= 0 ? result->status : LEDGER_NO_STATUS;
        free(run->output);
        run->output = result->output_size > 0
                              ? strndup((const char *)result->output, result->output_size)
                              : NULL;
}

static void on_end(void *user, const ActionResult *result) {
        RestartTask *task = user;
        Restart *restart = task->restart;
        Run *run = task->run;
        if (run->ledger_id != 0) {
                keep(run, result);
        }
        list_unlink(&task->link);
        list_push_front(&restart->spare, &task->link);
        log_end(restart, run, result);
        restart->ended(restart->user, run, result->outcome, result->charged, result->detail,
                       result->duration_us, result->retry_after_us);
}

ActionRequest restart_request(const Run *run) {
        const Message *message = list_first(&run->messages, Message, host_link);
        const MessageBody *body = message != NULL ? message->body : NULL;
        return (ActionRequest){
                .run = run->id,
                .host = run_host(run),
                .id = message != NULL ? message->id : run->claim.request_id,
                .payload = body != NULL ? body->value : NULL,
                .payload_size = body != NULL ? body->value_size : 0,
                .attempt = run->attempt,
                .start_by_us = run->start_by_us,
        };
}

/* The one step that cannot be undone. */
static void log_start(const Restart *restart, const Run *run) {
        const Message *message = list_first(&run->messages, Message, host_link);
        const Partition *partition = message != NULL ? message->partition : NULL;
        const char *id = message != NULL && message->id != NULL ? message->id : "";
        LogLevel level = restart->action->interface->pretends ? LOG_DEBUG : LOG_INFO;
        char row[80];
        log_write(restart->log, level, "restart.started",
                  FIELDS(.topic = partition != NULL ? partition->topic : NULL,
                         .partition = partition != NULL ? partition->partition : -1,
                         .offset = message != NULL ? message->offset : -1, .host = run_host(run),
                         .handler = handler_name(HANDLER_RESTART), .attempt = run->attempt),
                  "restart of %s: %s%s%s%s", run_host(run), restart->action->interface->name,
                  id[0] != '\0' ? ", request " : "", id, row_text(run, row));
}

int restart_start(Restart *restart, Run *run) {
        RestartTask *task = list_first(&restart->spare, RestartTask, link);
        if (task == NULL) {
                task = calloc(1, sizeof(*task));
                if (task == NULL) {
                        return error_origin(-ENOMEM);
                }
                list_init(&task->link);
                list_push_front(&restart->spare, &task->link);
        }
        const ActionRequest request = restart_request(run);
        task->restart = restart;
        task->run = run;
        int r = restart->action->interface->start(restart->action, &request, on_end, task);
        if (r != 0) {
                return r;
        }
        /* Not before: the cool-down counts from it, and the process may have been held up. */
        run->action_started_us = ledger_clock();
        list_unlink(&task->link);
        list_push_back(&restart->tasks, &task->link);
        log_start(restart, run);
        return 0;
}

void restart_terminate(Restart *restart) {
        restart->action->interface->terminate(restart->action);
}

void restart_kill(Restart *restart) {
        restart->action->interface->kill(restart->action);
}

pid_t restart_pid(const Restart *restart, uint64_t run_id) {
        const Action *action = restart->action;
        list_for_each(link, &restart->tasks) {
                const RestartTask *task = container_of(link, RestartTask, link);
                if (task->run->id == run_id && action->interface->pid != NULL) {
                        return action->interface->pid(action, task);
                }
        }
        return 0;
}

size_t restart_running(const Restart *restart) {
        return restart->action->running;
}

bool restart_next(const Restart *restart, const List **cursor, RestartRunning *running) {
        const List *link = *cursor != NULL ? (*cursor)->next : restart->tasks.next;
        if (link == &restart->tasks) {
                return false;
        }
        const RestartTask *task = container_of(link, const RestartTask, link);
        *cursor = link;
        *running = (RestartRunning){
                .host = run_host(task->run),
                .attempt = task->run->attempt,
                .since_us = task->run->started_us,
        };
        return true;
}
