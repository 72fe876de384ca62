/*
 * The life of a task, which is one call of checks_before() or checks_verify()
 *
 *   TASK_RUNS     a check runs for it
 *   TASK_PAUSES   a verify between two looks
 *   TASK_ENDS     its result is known, and told in the next turn
 *   TASK_LEFT     its end was told at the deadline, while its last look still ran: it only waits
 *                 here for the action to be done with it
 *
 * What verify's check says counts only when all of it came. Half a boot id is another boot id than
 * the whole one, and a host that was not restarted would pass.
 *
 * Memory that cannot be had in the middle of a task makes the check one that did not succeed.
 */

#include "handlers/checks.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/engine.h"
#include "core/host.h"
#include "handlers/check_text.h"
#include "util/json.h"
#include "util/reminder.h"

enum {
        SHORT = 100, /* bytes of an output within a line, with its NUL */
        DETAIL = CHECK_DETAIL + 3 * SHORT,
        PACE_SLACK_US =
                500 * 1000, /* by which a look may be late and still follow the one before */
};

typedef enum TaskState {
        TASK_RUNS,   /* Checks.tasks */
        TASK_PAUSES, /* Checks.tasks */
        TASK_ENDS,   /* Checks.tasks */
        TASK_LEFT,   /* Checks.left */
} TaskState;

struct Checks {
        Loop *loop;
        Log *log;
        Check precheck;
        Check verify;
        CheckStatuses go, not_needed, wait, done; /* the values are ours */
        int64_t interval_us;
        List tasks; /* Task.link, in the order of their start */
        size_t running;
        List left;
        Reminder said; /* about prechecks that fail */
        Buffer text;   /* of the check that is just being looked at */
};

typedef struct Task {
        Checks *checks;
        List link;
        TaskState state;
        CheckStep step;
        CheckedEnd checked;   /* of a checks_before(); otherwise NULL */
        VerifiedEnd verified; /* of a checks_verify(); otherwise NULL */
        void *user;
        ActionRequest request; /* what it points to is the task's */
        char host[HOST_SIZE];
        char *id;
        uint8_t *payload;
        bool cancelled;
        int64_t since_us;
        int64_t deadline_us; /* CLOCK_MONOTONIC; 0: none */
        bool last;           /* the look that runs, or comes next, is the last */
        unsigned looks;      /* that ended */
        int64_t look_us;     /* when the one that runs began */
        int64_t unpassed_us; /* when the last one ended that did not pass; 0: none did */
        bool watched;        /* Verified.watched */
        char *before;
        char *output; /* of the last look that succeeded */
        CheckedResult checked_result;
        VerifiedResult verified_result;
        LoopTimer pause;
        LoopTimer deadline;
        LoopSoon soon;
        char detail[DETAIL];
} Task;

static void on_check_end(void *user, const ActionResult *result);
static void on_pause(LoopTimer *timer);
static void on_deadline(LoopTimer *timer);
static void on_soon(LoopSoon *soon);

const char *check_step_name(CheckStep step) {
        switch (step) {
        case CHECK_PRECHECK:
                return "precheck";
        case CHECK_BEFORE:
                return "before";
        case CHECK_VERIFY:
                return "verify";
        }
        return "?";
}

/* --- a task ---------------------------------------------------------------------------------- */

static void task_free(Task *task) {
        if (task == NULL) {
                return;
        }
        list_unlink(&task->link);
        loop_timer_stop(&task->pause);
        loop_timer_stop(&task->deadline);
        loop_soon_stop(&task->soon);
        free(task->id);
        free(task->payload);
        free(task->before);
        free(task->output);
        free(task);
}

/* A copy of what the templates can name: the caller's may be gone at the second step. */
static int task_copy(Task *task, const ActionRequest *request) {
        const Checks *checks = task->checks;
        bool payload = checks->precheck.reads_payload || checks->verify.reads_payload;
        snprintf(task->host, sizeof(task->host), "%s", request->host);
        task->request = *request;
        task->request.host = task->host;
        task->request.payload = NULL;
        task->request.payload_size = 0;
        if (request->id != NULL) {
                task->request.id = task->id = strdup(request->id);
                if (task->id == NULL) {
                        return error_origin(-ENOMEM);
                }
        }
        if (payload && request->payload != NULL) {
                task->payload = malloc(request->payload_size + 1);
                if (task->payload == NULL) {
                        return error_origin(-ENOMEM);
                }
                memcpy(task->payload, request->payload, request->payload_size);
                task->request.payload = task->payload;
                task->request.payload_size = request->payload_size;
        }
        return 0;
}

/* In Checks.tasks; -ENOMEM. */
static int task_new(Task **taskp, Checks *checks, const ActionRequest *request, void *user) {
        Task *task = calloc(1, sizeof(*task));
        if (task == NULL) {
                return error_origin(-ENOMEM);
        }
        task->checks = checks;
        task->user = user;
        task->since_us = loop_now();
        list_init(&task->link);
        loop_timer_init(&task->pause, checks->loop, "checks.pause", on_pause);
        loop_timer_init(&task->deadline, checks->loop, "checks.deadline", on_deadline);
        loop_soon_init(&task->soon, checks->loop, "checks.ends", on_soon);
        int r = task_copy(task, request);
        if (r != 0) {
                task_free(task);
                return r;
        }
        list_push_back(&checks->tasks, &task->link);
        *taskp = task;
        return 0;
}

static void task_say(Task *task, const char *format, ...) __attribute__((format(printf, 2, 3)));
static void task_say(Task *task, const char *format, ...) {
        va_list ap;
        va_start(ap, format);
        vsnprintf(task->detail, sizeof(task->detail), format, ap);
        va_end(ap);
}

/* A line for one task; what is said of the check stands in its detail. */
static void task_log(const Task *task, LogLevel level, const char *event, const char *what) {
        if (log_wants(task->checks->log, level)) {
                log_write(task->checks->log, level, event,
                          FIELDS(.host = task->host, .handler = handler_name(HANDLER_RESTART),
                                 .attempt = task->request.attempt),
                          "%s: %s: %s", task->host, what, task->detail);
        }
}

/* Tells the end, and frees the task unless its look still runs. */
static void task_tell(Task *task) {
        Checks *checks = task->checks;
        bool left = task->state == TASK_LEFT;
        loop_timer_stop(&task->pause);
        loop_timer_stop(&task->deadline);
        loop_soon_stop(&task->soon);
        list_unlink(&task->link);
        if (left) {
                list_push_back(&checks->left, &task->link);
        }
        checks->running--;
        if (task->checked != NULL) {
                Checked checked = {.result = task->checked_result,
                                   .before =
                                           task->checked_result == CHECKED_GO ? task->before : NULL,
                                   .detail = task->detail};
                task->checked(task->user, &checked);
        } else {
                Verified verified = {.result = task->verified_result,
                                     .output = task->output,
                                     .detail = task->detail,
                                     .watched = task->watched,
                                     .looks = task->looks};
                task->verified(task->user, &verified);
        }
        if (!left) {
                task_free(task);
        }
}

static void task_set_cancelled(Task *task) {
        task->checked_result = CHECKED_CANCELLED;
        task->verified_result = VERIFIED_CANCELLED;
        task_say(task, "%s: cancelled", check_step_name(task->step));
}

static void task_end_cancelled(Task *task) {
        task_set_cancelled(task);
        task_log(task, LOG_DEBUG, "check.cancelled", "the shutdown ends its check");
        task_tell(task);
}

/* --- what a check said ----------------------------------------------------------------------- */

static void task_say_result(Task *task, const char *prefix, const ActionResult *result) {
        char detail[CHECK_DETAIL];
        check_describe(result, detail);
        task_say(task, "%s%s", prefix, detail);
}

/* The beginning of an output, on one line. */
static const char *shorten(const char *text, char out[SHORT]) {
        size_t size = strlen(text), used = 0;
        size_t n = json_escape(out, SHORT - 4, text, size, JSON_ESCAPE_CONTROL, &used);
        memcpy(out + n, used < size ? "..." : "", used < size ? 4 : 1);
        return out;
}

/* Whether verify's check succeeded; what it said is then *@saidp, malloc'd, and "" when it said
 * nothing. The detail says how it ended. */
static bool task_read(Task *task, const char *prefix, const ActionResult *result, char **saidp) {
        Checks *checks = task->checks;
        task_say_result(task, prefix, result);
        if (!check_ended_with(result, &checks->done) || !result->whole) {
                return false;
        }
        buffer_clear(&checks->text);
        const char *text = NULL;
        if (check_text(result->output, result->output_size, &checks->text) == 0) {
                text = buffer_string(&checks->text);
        }
        *saidp = text != NULL ? strdup(text) : NULL;
        if (*saidp == NULL) {
                task_say(task, "%sno memory for its output", prefix);
        }
        return *saidp != NULL;
}

/* --- before the claim ------------------------------------------------------------------------ */

static void task_end_checked(Task *task, CheckedResult result) {
        task->checked_result = result;
        task_tell(task);
}

static int task_run(Task *task, const Check *check, CheckStep step) {
        task->state = TASK_RUNS;
        task->step = step;
        task->look_us = loop_now();
        return check->action->interface->start(check->action, &task->request, on_check_end, task);
}

static void task_end_without_before(Task *task) {
        task_log(task, LOG_INFO, "verify.no_before",
                 "the restart goes on, and cannot be verified to be done should its outcome be "
                 "unknown");
        task_end_checked(task, CHECKED_GO);
}

static void task_go(Task *task) {
        if (task->checks->verify.action == NULL) {
                task_end_checked(task, CHECKED_GO);
        } else if (task_run(task, &task->checks->verify, CHECK_BEFORE) != 0) {
                task_say(task, "before: no memory for the check");
                task_end_without_before(task);
        }
}

static void task_end_poison(Task *task, const ActionResult *result) {
        task_say(task, "%s: %s", task->step == CHECK_PRECHECK ? "precheck" : "verify",
                 result->detail);
        task_log(task, LOG_DEBUG, "check.poison", "a check can never be made for this request");
        task_end_checked(task, CHECKED_POISON);
}

/* It is asked again and again: what fails is said once a minute for all hosts. */
static void task_wait(Task *task, const ActionResult *result) {
        Checks *checks = task->checks;
        bool meant = check_ended_with(result, &checks->wait);
        if (!meant && reminder_is_due(&checks->said, result->detail, loop_now())) {
                task_log(task, LOG_WARNING, "precheck.failed",
                         "the check neither allows nor refuses a restart, which waits, and is "
                         "asked again");
        } else {
                task_log(task, LOG_DEBUG, "precheck.wait", "no restart now");
        }
        task_end_checked(task, CHECKED_WAIT);
}

static void on_precheck_end(Task *task, const ActionResult *result) {
        const Checks *checks = task->checks;
        task_say_result(task, "precheck: ", result);
        if (result->outcome == OUTCOME_POISON) {
                task_end_poison(task, result);
        } else if (check_ended_with(result, &checks->go)) {
                task_log(task, LOG_DEBUG, "precheck.go", "it may be restarted");
                task_go(task);
        } else if (check_ended_with(result, &checks->not_needed)) {
                task_log(task, LOG_INFO, "precheck.not_needed", "it needs no restart");
                task_end_checked(task, CHECKED_NOT_NEEDED);
        } else {
                task_wait(task, result);
        }
}

static void on_before_end(Task *task, const ActionResult *result) {
        char *said = NULL, text[SHORT];
        if (result->outcome == OUTCOME_POISON) {
                task_end_poison(task, result);
                return;
        }
        bool success = task_read(task, "before: ", result, &said);
        if (success && *said != '\0') {
                task->before = said;
                task_say(task, "before: it says \"%s\"", shorten(said, text));
                task_log(task, LOG_DEBUG, "verify.before", "what a restart is to change");
                task_end_checked(task, CHECKED_GO);
                return;
        }
        if (success) {
                task_say(task, "before: %s, and no output to compare with", result->detail);
        }
        free(said);
        task_end_without_before(task);
}

int checks_before(Checks *checks, const ActionRequest *request, CheckedEnd end, void *user) {
        Task *task;
        int r = task_new(&task, checks, request, user);
        if (r != 0) {
                return r;
        }
        task->checked = end;
        task->step = CHECK_PRECHECK;
        if (checks->precheck.action != NULL) {
                r = task_run(task, &checks->precheck, CHECK_PRECHECK);
        } else if (checks->verify.action != NULL) {
                r = task_run(task, &checks->verify, CHECK_BEFORE);
        } else {
                task->state = TASK_ENDS;
                task->checked_result = CHECKED_GO;
                task_say(task, "no check is configured");
                loop_soon_set(&task->soon);
        }
        if (r != 0) {
                task_free(task);
                return r;
        }
        checks->running++;
        return 0;
}

/* --- after the action ------------------------------------------------------------------------ */

static void task_end_verified(Task *task) {
        switch (task->verified_result) {
        case VERIFIED_PASSED:
                task_log(task, LOG_INFO, "verify.passed", "it was restarted");
                break;
        case VERIFIED_PASSED_UNCOMPARED:
                task_log(task, LOG_INFO, "verify.uncompared",
                         "it is up, and nothing shows whether it was restarted");
                break;
        case VERIFIED_SAME:
                task_log(task, LOG_WARNING, "verify.same", "it was not restarted");
                break;
        case VERIFIED_FAILED:
                task_log(task, LOG_WARNING, "verify.failed",
                         "nobody knows whether it was restarted");
                break;
        case VERIFIED_CANCELLED:
                break;
        }
        task_tell(task);
}

/* The next look after an interval. One that could not end by the deadline is made earlier, with the
 * time of its own that is left to it, and is the last. */
static void task_pause(Task *task) {
        const Checks *checks = task->checks;
        int64_t left = task->deadline_us - loop_now();
        int64_t longest = checks->verify.longest_us;
        int64_t latest = left - (longest < left / 2 ? longest : left / 2);
        task->state = TASK_PAUSES;
        task->last = latest < checks->interval_us;
        loop_timer_set(&task->pause, task->last ? latest : checks->interval_us);
}

static void task_look(Task *task) {
        if (task->deadline_us != 0 && loop_now() >= task->deadline_us) {
                /* The loop stood still for so long. One look is due all the same: without it a
                 * stall would make restarts unknown. */
                task->last = true;
                loop_timer_stop(&task->deadline);
        }
        if (task_run(task, &task->checks->verify, CHECK_VERIFY) != 0) {
                task->verified_result = VERIFIED_FAILED;
                task_say(task, "verify: no memory for the check");
                task_end_verified(task);
        }
}

static void on_pause(LoopTimer *timer) {
        task_look(container_of(timer, Task, pause));
}

static void on_deadline(LoopTimer *timer) {
        Task *task = container_of(timer, Task, deadline);
        if (task->state == TASK_PAUSES) {
                task->last = true;
                loop_timer_stop(&task->pause);
                task_look(task);
        } else {
                /* After a stall timers come before descriptors, and the look may have ended: that
                 * is told in this turn, and the soon only comes in the next. */
                loop_soon_set(&task->soon);
        }
}

/* The deadline is over and the look still runs. It goes on by itself, and nobody asks for it. */
static void task_cut_off(Task *task) {
        if (task->cancelled) {
                return; /* it was killed, and ends at once */
        }
        task->state = TASK_LEFT;
        task->verified_result = VERIFIED_FAILED;
        task_say(task, "look %u did not end by the deadline", task->looks + 1);
        task_end_verified(task);
}

/* What a look that succeeded means. */
static VerifiedResult task_compare(Task *task) {
        char before[SHORT], after[SHORT];
        shorten(task->output, after);
        if (task->before == NULL) {
                task_say(task, "look %u succeeded and says \"%s\"; nothing to compare with",
                         task->looks, after);
                return VERIFIED_PASSED_UNCOMPARED;
        }
        shorten(task->before, before);
        if (*task->output == '\0') {
                task_say(task, "look %u succeeded and says nothing; before: \"%s\"", task->looks,
                         before);
                return VERIFIED_FAILED;
        }
        if (strcmp(task->before, task->output) == 0) {
                task_say(task, "look %u says \"%s\", as before", task->looks, after);
                return VERIFIED_SAME;
        }
        task_say(task, "look %u says \"%s\", before: \"%s\"", task->looks, after, before);
        return VERIFIED_PASSED;
}

static void on_look_end(Task *task, const ActionResult *result) {
        char prefix[32], *said = NULL;
        if (task->state == TASK_LEFT) {
                task_free(task);
                return;
        }
        task->looks++;
        snprintf(prefix, sizeof(prefix), "look %u: ", task->looks);
        task->verified_result = VERIFIED_FAILED;
        if (task_read(task, prefix, result, &said)) {
                free(task->output);
                task->output = said;
                task->verified_result = task_compare(task);
        }
        task_log(task, LOG_DEBUG, "verify.look", "whether it was restarted");
        bool passed = task->verified_result == VERIFIED_PASSED ||
                      task->verified_result == VERIFIED_PASSED_UNCOMPARED;
        if (passed) {
                const Checks *checks = task->checks;
                task->watched =
                        task->unpassed_us > 0 &&
                        task->look_us - task->unpassed_us <= checks->interval_us + PACE_SLACK_US &&
                        loop_now() - task->look_us <= checks->verify.longest_us;
        } else {
                task->unpassed_us = loop_now();
        }
        /* What can't be expanded now never can. */
        bool over =
                task->last || result->outcome == OUTCOME_POISON || loop_now() >= task->deadline_us;
        if (passed || over) {
                task_end_verified(task);
        } else {
                task_pause(task);
        }
}

int checks_verify(Checks *checks, const ActionRequest *request, const char *before,
                  int64_t deadline_us, VerifiedEnd end, void *user) {
        Task *task;
        assert(checks->verify.action != NULL);
        int r = task_new(&task, checks, request, user);
        if (r != 0) {
                return r;
        }
        task->verified = end;
        task->step = CHECK_VERIFY;
        if (before != NULL) {
                task->before = strdup(before);
                r = task->before == NULL ? error_origin(-ENOMEM) : 0;
        }
        if (r == 0 && deadline_us > 0) {
                task->deadline_us = task->since_us + deadline_us;
                loop_timer_set(&task->deadline, deadline_us);
                task_pause(task);
        } else if (r == 0) {
                task->last = true;
                r = task_run(task, &checks->verify, CHECK_VERIFY);
        }
        if (r != 0) {
                task_free(task);
                return r;
        }
        checks->running++;
        return 0;
}

/* --- all of them ----------------------------------------------------------------------------- */

static void on_check_end(void *user, const ActionResult *result) {
        Task *task = user;
        if (task->cancelled && task->state != TASK_LEFT) {
                task_end_cancelled(task);
                return;
        }
        switch (task->step) {
        case CHECK_PRECHECK:
                on_precheck_end(task, result);
                break;
        case CHECK_BEFORE:
                on_before_end(task, result);
                break;
        case CHECK_VERIFY:
                on_look_end(task, result);
                break;
        }
}

static void on_soon(LoopSoon *soon) {
        Task *task = container_of(soon, Task, soon);
        if (task->state == TASK_RUNS) {
                task_cut_off(task);
        } else if (task->cancelled) {
                task_end_cancelled(task);
        } else if (task->verified != NULL) {
                /* Its last look ended in the turn of the deadline. */
                task_end_verified(task);
        } else {
                task_tell(task);
        }
}

void checks_cancel(Checks *checks) {
        const Check *both[] = {&checks->precheck, &checks->verify};
        list_for_each(link, &checks->tasks) {
                Task *task = container_of(link, Task, link);
                task->cancelled = true;
                loop_timer_stop(&task->pause);
                loop_timer_stop(&task->deadline);
                if (task->state != TASK_RUNS) {
                        task->state = TASK_ENDS;
                        loop_soon_set(&task->soon);
                }
        }
        for (int i = 0; i < 2; i++) {
                if (both[i]->action != NULL) {
                        both[i]->action->interface->kill(both[i]->action);
                }
        }
}

size_t checks_running(const Checks *checks) {
        return checks->running;
}

bool checks_next(const Checks *checks, const List **cursor, CheckRunning *running) {
        const List *link = *cursor != NULL ? (*cursor)->next : checks->tasks.next;
        if (link == &checks->tasks) {
                return false;
        }
        const Task *task = container_of(link, const Task, link);
        *cursor = link;
        *running = (CheckRunning){
                .step = task->step,
                .host = task->host,
                .attempt = task->request.attempt,
                .since_us = task->since_us,
                .deadline_us = task->deadline_us,
                .looks = task->looks,
                .detail = task->detail,
        };
        return true;
}

bool checks_has_precheck(const Checks *checks) {
        return checks->precheck.action != NULL;
}

bool checks_has_verify(const Checks *checks) {
        return checks->verify.action != NULL;
}

/* --- life ------------------------------------------------------------------------------------ */

void checks_free(Checks *checks) {
        if (checks == NULL) {
                return;
        }
        List *lists[] = {&checks->tasks, &checks->left};
        const CheckStatuses *statuses[] = {&checks->go, &checks->not_needed, &checks->wait,
                                           &checks->done};
        check_deinit(&checks->precheck);
        check_deinit(&checks->verify);
        for (int i = 0; i < 2; i++) {
                list_for_each_safe(link, lists[i]) {
                        task_free(container_of(link, Task, link));
                }
        }
        for (int i = 0; i < 4; i++) {
                free((int *)statuses[i]->values);
        }
        buffer_deinit(&checks->text);
        free(checks);
}

static int copy_statuses(CheckStatuses *to, const CheckStatuses *from) {
        int *values = calloc(from->n + 1, sizeof(*values));
        if (values == NULL) {
                return error_origin(-ENOMEM);
        }
        for (size_t i = 0; i < from->n; i++) {
                values[i] = from->values[i];
        }
        *to = (CheckStatuses){values, from->n};
        return 0;
}

static int make_checks(Checks *checks, const ChecksOptions *options, Buffer *why) {
        int r = check_init(&checks->precheck, checks->loop, checks->log, &options->precheck, false,
                           why);
        r = r == 0 ? check_init(&checks->verify, checks->loop, checks->log, &options->verify, true,
                                why)
                   : r;
        return r > 0 ? CHECKS_E_TEMPLATE : r;
}

int checks_new(Checks **checksp, Loop *loop, Log *log, const ChecksOptions *options, Buffer *why) {
        Checks *checks = calloc(1, sizeof(*checks));
        if (checks == NULL) {
                return error_origin(-ENOMEM);
        }
        checks->loop = loop;
        checks->log = log;
        checks->interval_us = options->interval_us;
        list_init(&checks->tasks);
        list_init(&checks->left);
        int r = copy_statuses(&checks->go, &options->go);
        r = r == 0 ? copy_statuses(&checks->not_needed, &options->not_needed) : r;
        r = r == 0 ? copy_statuses(&checks->wait, &options->wait) : r;
        r = r == 0 ? copy_statuses(&checks->done, &options->done) : r;
        r = r == 0 ? make_checks(checks, options, why) : r;
        if (r != 0) {
                checks_free(checks);
                return r;
        }
        *checksp = checks;
        return 0;
}
