/*
 * The life of a command
 *
 *   REFUSED    there is no process; the outcome is known and told in the next turn
 *   RUNNING    until it ends, or its time is up
 *   ASKED      TERM was sent to its group
 *   KILLED     KILL was sent to its group
 *   ABANDONED  it does not end (it belongs to another user, or hangs in the kernel): its outcome
 *              was told as unknown, and it only waits here to be reaped
 *
 * A process is ours until it is reaped, so its number is not used again before: waiting for it and
 * signalling its group by number is safe as long as nobody else in the process waits for children.
 * That it ended is seen by a pidfd in the loop. The end of the pipe says nothing: a grandchild may
 * hold it for as long as it likes. The leader is reaped after what is left of its group was killed;
 * until then it keeps the group's number.
 *
 * The pidfd only wakes us. Without one (no descriptor left), or when it is readable and the process
 * cannot be reaped yet (a debugger holds it), a timer looks instead: a command that was started is
 * never given up for want of a descriptor.
 */

#include "handlers/actions/exec.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "handlers/actions/command.h"
#include "handlers/actions/output.h"
#include "handlers/actions/spawn.h"

enum {
        POLL_US = 20000,      /* how often a process without a pidfd is looked at */
        ABANDON_US = 1000000, /* after KILL: a process that can end has ended by then */
        FREE_US = 1000000,    /* how long exec_free() waits for what it killed */
        READ_SIZE = 16384,    /* of one read */
        READS_PER_TURN = 4,   /* together the default capacity of a pipe */
        READS_AT_END = 64,    /* 1 MiB, the most that a pipe can be made to hold */
        SAY_US = 10000000,    /* between two lines about spawns that fail */
        STATUS_COUNT = 256,   /* exit statuses */
        OUTPUT_HALF_MAX = 1 << 20,
        ERRORS_HALF = 1024, /* kept of stderr when it is apart: a line for people */
};

typedef enum ExecState {
        EXEC_REFUSED,   /* Exec.runs */
        EXEC_RUNNING,   /* Exec.runs */
        EXEC_ASKED,     /* Exec.runs */
        EXEC_KILLED,    /* Exec.runs */
        EXEC_ABANDONED, /* Exec.abandoned */
} ExecState;

/* Why it was signalled; the first reason stays. */
typedef enum ExecCause {
        CAUSE_NONE,
        CAUSE_TIMEOUT,
        CAUSE_STOP, /* by terminate or kill */
} ExecCause;

typedef struct Exec {
        Action action;
        Loop *loop;
        Log *log;
        Spawn spawn;
        Command command;
        int64_t timeout_us;
        int64_t kill_after_us;
        size_t half;        /* bytes of output kept from each end */
        size_t errors_half; /* the same of stderr; 0: it is in the output */
        int said; /* errno of the failed spawn that was logged; 0: none, or one worked since */
        int64_t said_us; /* when; 0: never */
        Buffer why;      /* of a request that can't be expanded */
        Buffer output;   /* of the run that is just being reported */
        Buffer errors;   /* likewise */
        List runs;
        List abandoned;
        Outcome outcomes[STATUS_COUNT];
} Exec;

typedef struct ExecPipe {
        int fd; /* -1: closed, or there is none */
        LoopIo readable;
        Output written;
} ExecPipe;

typedef struct ExecRun {
        Exec *exec;
        List link;
        ExecState state;
        ExecCause cause;
        ActionEnd end;
        void *user;
        Outcome outcome; /* of EXEC_REFUSED, as is charged */
        bool charged;
        pid_t pid; /* of the process and its group; -1: none */
        int pidfd; /* -1: none */
        ExecPipe output;
        ExecPipe errors;
        int kill_errno;
        int64_t started_us;
        LoopIo exited;
        LoopTimer deadline; /* of its state */
        LoopTimer poll;
        LoopSoon soon;
        char detail[ACTION_DETAIL_MAX];
        uint8_t kept[]; /* of output, and of errors */
} ExecRun;

/* How a process ended. */
typedef enum ExecEnd {
        END_EXITED,
        END_SIGNALLED,
        END_LOST, /* somebody else reaped it */
} ExecEnd;

static void on_exited(LoopIo *io, int events);
static void on_readable(LoopIo *io, int events);
static void on_deadline(LoopTimer *timer);
static void on_poll(LoopTimer *timer);
static void on_soon(LoopSoon *soon);

static double seconds(int64_t us) {
        return (double)us / 1e6;
}

static const char *error_text(int error) {
        const char *text = strerrordesc_np(error);
        return text != NULL ? text : "unknown error";
}

static const char *signal_text(int signal) {
        const char *text = sigabbrev_np(signal);
        return text != NULL ? text : "real-time";
}

static ExecRun *run_new(Exec *exec, ActionEnd end, void *user) {
        ExecRun *run = malloc(sizeof(*run) + 2 * exec->half + 2 * exec->errors_half);
        if (run == NULL) {
                return NULL;
        }
        *run = (ExecRun){
                .exec = exec,
                .end = end,
                .user = user,
                .pid = -1,
                .pidfd = -1,
                .output.fd = -1,
                .errors.fd = -1,
                .started_us = loop_now(),
        };
        list_init(&run->link);
        output_init(&run->output.written, run->kept, exec->half);
        output_init(&run->errors.written, run->kept + 2 * exec->half, exec->errors_half);
        loop_io_init(&run->exited, exec->loop, "exec.exited", on_exited);
        loop_io_init(&run->output.readable, exec->loop, "exec.output", on_readable);
        loop_io_init(&run->errors.readable, exec->loop, "exec.output", on_readable);
        loop_timer_init(&run->deadline, exec->loop, "exec.deadline", on_deadline);
        loop_timer_init(&run->poll, exec->loop, "exec.poll", on_poll);
        loop_soon_init(&run->soon, exec->loop, "exec.refused", on_soon);
        return run;
}

static void pipe_close(ExecPipe *pipe) {
        loop_io_stop(&pipe->readable);
        if (pipe->fd >= 0) {
                close(pipe->fd);
                pipe->fd = -1;
        }
}

static void run_close_pipes(ExecRun *run) {
        pipe_close(&run->output);
        pipe_close(&run->errors);
}

static void run_free(ExecRun *run) {
        if (run == NULL) {
                return;
        }
        list_unlink(&run->link);
        run_close_pipes(run);
        loop_io_stop(&run->exited);
        loop_timer_stop(&run->deadline);
        loop_timer_stop(&run->poll);
        loop_soon_stop(&run->soon);
        if (run->pidfd >= 0) {
                close(run->pidfd);
        }
        free(run);
}

/* Whether there may be more. */
static bool pipe_read(ExecPipe *pipe, int reads) {
        uint8_t data[READ_SIZE];
        while (reads-- > 0) {
                ssize_t n = read(pipe->fd, data, sizeof(data));
                if (n > 0) {
                        output_add(&pipe->written, data, (size_t)n);
                } else if (n == 0) {
                        return false;
                } else if (errno != EINTR) {
                        return errno == EAGAIN;
                }
        }
        return true;
}

static void on_readable(LoopIo *io, int events) {
        (void)events;
        ExecPipe *pipe = container_of(io, ExecPipe, readable);
        /* A command that floods keeps its turn short; the process is watched, not the pipe. */
        if (!pipe_read(pipe, READS_PER_TURN)) {
                pipe_close(pipe);
        }
}

/* What is left in the pipes of a process that has ended, or is given up. */
static void run_read_rest(ExecRun *run) {
        ExecPipe *pipes[] = {&run->output, &run->errors};
        for (int i = 0; i < 2; i++) {
                if (pipes[i]->fd >= 0) {
                        (void)pipe_read(pipes[i], READS_AT_END);
                }
        }
}

/* What a pipe brought, in @out; NULL: nothing. */
static const uint8_t *pipe_print(const ExecPipe *pipe, Buffer *out) {
        buffer_clear(out);
        return pipe->written.written > 0 && output_print(&pipe->written, out) == 0 ? out->data
                                                                                   : NULL;
}

/* Tells the outcome; run->detail says why. The run stays the caller's. */
static void run_report(ExecRun *run, Outcome outcome, bool charged, int status) {
        Exec *exec = run->exec;
        const uint8_t *output = pipe_print(&run->output, &exec->output);
        const uint8_t *errors = pipe_print(&run->errors, &exec->errors);
        ActionResult result = {
                .outcome = outcome,
                .charged = charged,
                .status = status,
                .detail = run->detail,
                .output = output,
                .output_size = output != NULL ? exec->output.size : 0,
                .whole = run->output.written.written <= 2 * exec->half,
                .errors = errors,
                .errors_size = errors != NULL ? exec->errors.size : 0,
                .duration_us = loop_now() - run->started_us,
        };
        exec->action.running--;
        run->end(run->user, &result);
}

static void on_soon(LoopSoon *soon) {
        ExecRun *run = container_of(soon, ExecRun, soon);
        list_unlink(&run->link);
        run_report(run, run->outcome, run->charged, -1);
        run_free(run);
}

/* It never became a process. */
static void run_refuse(ExecRun *run, Outcome outcome, bool charged) {
        run->state = EXEC_REFUSED;
        run->outcome = outcome;
        run->charged = charged;
        list_push_back(&run->exec->runs, &run->link);
        run->exec->action.running++;
        loop_soon_set(&run->soon);
}

/* "timed out after 60 s", "stopped". */
static void run_print_cause(const ExecRun *run, char *out, size_t size) {
        if (run->cause == CAUSE_TIMEOUT) {
                snprintf(out, size, "timed out after %g s", seconds(run->exec->timeout_us));
        } else {
                snprintf(out, size, "stopped");
        }
}

/* The outcome of a process that ended by itself or by us; fills run->detail. */
static Outcome run_judge(ExecRun *run, ExecEnd how, int status) {
        size_t size = sizeof(run->detail);
        char cause[64], last[64];
        run_print_cause(run, cause, sizeof(cause));
        Outcome outcome = how == END_EXITED ? run->exec->outcomes[status & 0xff] : OUTCOME_UNKNOWN;
        if (how == END_LOST) {
                snprintf(run->detail, size,
                         "its exit status was lost: another part of the process "
                         "waited for it");
                return OUTCOME_UNKNOWN;
        }
        if (how == END_EXITED) {
                snprintf(last, sizeof(last), "exit status %d", status);
        } else {
                snprintf(last, sizeof(last), "signal %d (%s)", status, signal_text(status));
        }
        if (run->cause == CAUSE_NONE) {
                snprintf(run->detail, size, how == END_EXITED ? "%s" : "killed by %s", last);
                return outcome;
        }
        /* The status of a command that was asked to end says how it took that, unless it says that
         * the work was done before. */
        if (outcome == OUTCOME_DONE) {
                snprintf(run->detail, size, "done late: %s, then %s", cause, last);
                return outcome;
        }
        snprintf(run->detail, size, "%s, ended by %s, %s", cause,
                 run->state == EXEC_ASKED ? "TERM" : "KILL", last);
        return OUTCOME_UNKNOWN;
}

/* The process is dead; it is still to be reaped unless it was lost. Frees the run. */
static void run_end(ExecRun *run, ExecEnd how, int status) {
        Exec *exec = run->exec;
        if (how != END_LOST) {
                siginfo_t info;
                (void)kill(-run->pid, SIGKILL);
                (void)waitid(P_PID, (id_t)run->pid, &info, WEXITED | WNOHANG);
        }
        run_read_rest(run);
        list_unlink(&run->link);
        if (run->state == EXEC_ABANDONED) {
                log_info(exec->log, "exec.abandoned_ended", FIELDS(),
                         "process %d, which was given up as unknown, has ended", (int)run->pid);
        } else {
                Outcome outcome = run_judge(run, how, status);
                /* Descriptors first: what the receiver starts may need them. */
                run_close_pipes(run);
                loop_io_stop(&run->exited);
                if (run->pidfd >= 0) {
                        close(run->pidfd);
                        run->pidfd = -1;
                }
                run_report(run, outcome, true,
                           how == END_EXITED      ? status
                           : how == END_SIGNALLED ? status + 128
                                                  : -1);
        }
        run_free(run);
}

/* Whether the process has ended, without reaping it; fills how and with what. */
static bool run_peek(const ExecRun *run, ExecEnd *how, int *status) {
        siginfo_t info = {0};
        int r;
        do {
                r = waitid(P_PID, (id_t)run->pid, &info, WEXITED | WNOHANG | WNOWAIT);
        } while (r != 0 && errno == EINTR);
        if (r == 0 && info.si_pid == 0) {
                return false;
        }
        *how = r != 0 ? END_LOST : info.si_code == CLD_EXITED ? END_EXITED : END_SIGNALLED;
        *status = r != 0 ? -1 : info.si_status;
        return true;
}

/* Ends the run if its process has ended; false: it has not. */
static bool run_look(ExecRun *run) {
        ExecEnd how;
        int status;
        if (!run_peek(run, &how, &status)) {
                return false;
        }
        run_end(run, how, status);
        return true;
}

static void on_exited(LoopIo *io, int events) {
        (void)events;
        ExecRun *run = container_of(io, ExecRun, exited);
        if (!run_look(run)) {
                /* Dead, but a debugger has not let go of it: the pidfd would wake us for ever. */
                loop_io_stop(&run->exited);
                loop_timer_set(&run->poll, POLL_US);
        }
}

static void on_poll(LoopTimer *timer) {
        ExecRun *run = container_of(timer, ExecRun, poll);
        if (!run_look(run)) {
                loop_timer_set(&run->poll, POLL_US);
        }
}

/* False: it has ended by itself, which is seen in its own time. After a stall of the loop timers
 * come before descriptors, and an end in time must not pass for a timeout. */
static bool run_signal(ExecRun *run, ExecState state, ExecCause cause, int signal) {
        ExecEnd how;
        int status;
        if (run_peek(run, &how, &status)) {
                return false;
        }
        run->state = state;
        run->cause = run->cause != CAUSE_NONE ? run->cause : cause;
        run->kill_errno = kill(-run->pid, signal) != 0 ? errno : 0;
        return true;
}

static void run_ask(ExecRun *run, ExecCause cause, int64_t kill_after_us) {
        if (run_signal(run, EXEC_ASKED, cause, SIGTERM)) {
                /* A stopped process takes the TERM when it goes on. */
                (void)kill(-run->pid, SIGCONT);
                loop_timer_set(&run->deadline, kill_after_us);
        }
}

static void run_kill(ExecRun *run, ExecCause cause) {
        if (run_signal(run, EXEC_KILLED, cause, SIGKILL)) {
                loop_timer_set(&run->deadline, ABANDON_US);
        }
}

static void run_abandon(ExecRun *run) {
        char cause[64];
        run_print_cause(run, cause, sizeof(cause));
        snprintf(run->detail, sizeof(run->detail),
                 "%s, and KILL does not end it%s%s: process %d is left behind", cause,
                 run->kill_errno != 0 ? ": " : "",
                 run->kill_errno != 0 ? error_text(run->kill_errno) : "", (int)run->pid);
        run->state = EXEC_ABANDONED;
        list_unlink(&run->link);
        list_push_back(&run->exec->abandoned, &run->link);
        run_read_rest(run);
        run_close_pipes(run);
        run_report(run, OUTCOME_UNKNOWN, true, -1);
}

static void on_deadline(LoopTimer *timer) {
        ExecRun *run = container_of(timer, ExecRun, deadline);
        switch (run->state) {
        case EXEC_RUNNING:
                run_ask(run, CAUSE_TIMEOUT, run->exec->kill_after_us);
                break;
        case EXEC_ASKED:
                run_kill(run, CAUSE_TIMEOUT);
                break;
        case EXEC_KILLED:
                if (!run_look(run)) {
                        run_abandon(run);
                }
                break;
        case EXEC_REFUSED:
        case EXEC_ABANDONED:
                break;
        }
}

static void exec_terminate(Action *action) {
        Exec *exec = container_of(action, Exec, action);
        list_for_each(link, &exec->runs) {
                ExecRun *run = container_of(link, ExecRun, link);
                if (run->state == EXEC_RUNNING) {
                        /* When to kill is the caller's to say; at the latest it is the timeout's.
                         */
                        int64_t spent = loop_now() - run->started_us;
                        run_ask(run, CAUSE_STOP, exec->timeout_us - spent + exec->kill_after_us);
                }
        }
}

static void exec_kill(Action *action) {
        Exec *exec = container_of(action, Exec, action);
        list_for_each(link, &exec->runs) {
                ExecRun *run = container_of(link, ExecRun, link);
                if (run->state == EXEC_RUNNING || run->state == EXEC_ASKED) {
                        run_kill(run, CAUSE_STOP);
                }
        }
}

static const char *remedy(int error) {
        switch (error) {
        case ENOENT:
        case ENOTDIR:
                return "install it (and a script's interpreter) or correct argv";
        case EACCES:
        case EPERM:
                return "let the user that ackd runs as execute it";
        case ENOEXEC:
                return "it is no program for this machine; a script begins with #!";
        case EAGAIN:
                return "raise TasksMax= or the user's limit of processes";
        case EMFILE:
                return "raise LimitNOFILE=";
        case ENFILE:
                return "raise fs.file-max";
        case ENOMEM:
                return "the machine is short of memory";
        default:
                return "see the error";
        }
}

/* Said once until a spawn works again or fails in another way, and not more often than every
 * SAY_US: at a limit every other spawn can fail. */
static void exec_say_refused(Exec *exec, ExecRun *run, int error) {
        const char *program = exec->command.argv[0];
        snprintf(run->detail, sizeof(run->detail), "could not start %s: %s", program,
                 error_text(error));
        if (exec->said == error ||
            (exec->said_us != 0 && run->started_us - exec->said_us < SAY_US)) {
                return;
        }
        exec->said = error;
        exec->said_us = run->started_us;
        log_error(exec->log, "exec.not_started", FIELDS(.error = error_text(error)),
                  "no command can be started: %s: %s; %s; the requests are tried again", program,
                  error_text(error), remedy(error));
}

static void exec_say_started(Exec *exec) {
        if (exec->said != 0) {
                exec->said = 0;
                log_info(exec->log, "exec.started_again", FIELDS(),
                         "commands can be started again");
        }
}

static void run_watch(ExecRun *run) {
        Exec *exec = run->exec;
        run->state = EXEC_RUNNING;
        list_push_back(&exec->runs, &run->link);
        exec->action.running++;
        loop_io_start(&run->output.readable, run->output.fd, LOOP_READ);
        if (run->errors.fd >= 0) {
                loop_io_start(&run->errors.readable, run->errors.fd, LOOP_READ);
        }
        loop_timer_set(&run->deadline, exec->timeout_us);
        run->pidfd = pidfd_open(run->pid, 0);
        if (run->pidfd >= 0) {
                loop_io_start(&run->exited, run->pidfd, LOOP_READ);
        } else {
                loop_timer_set(&run->poll, POLL_US);
        }
}

static int exec_start(Action *action, const ActionRequest *request, ActionEnd end, void *user) {
        Exec *exec = container_of(action, Exec, action);
        ExecRun *run = run_new(exec, end, user);
        if (run == NULL) {
                return error_origin(-ENOMEM);
        }
        int error = 0;
        int r = command_expand(&exec->command, request, &exec->why);
        if (r == COMMAND_E_POISON) {
                snprintf(run->detail, sizeof(run->detail), "%.*s", (int)exec->why.size,
                         (const char *)exec->why.data);
                run_refuse(run, OUTCOME_POISON, true);
                return 0;
        }
        r = r != 0 ? r
                   : spawn_start(&exec->spawn, exec->command.argv, request, &run->pid,
                                 &run->output.fd, exec->errors_half > 0 ? &run->errors.fd : NULL,
                                 &error);
        if (r < 0) {
                run_free(run);
                return r;
        }
        if (r == SPAWN_E_REFUSED) {
                exec_say_refused(exec, run, error);
                run_refuse(run, OUTCOME_NOT_STARTED, false);
                return 0;
        }
        exec_say_started(exec);
        run_watch(run);
        return 0;
}

/* Reaps what was killed; what has not ended by @deadline is init's when we are gone. */
static void run_reap(ExecRun *run, int64_t deadline) {
        siginfo_t info = {0};
        while (waitid(P_PID, (id_t)run->pid, &info, WEXITED | WNOHANG) == 0 && info.si_pid == 0 &&
               loop_now() < deadline) {
                nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
        }
}

static void exec_free(Action *action) {
        if (action == NULL) {
                return;
        }
        Exec *exec = container_of(action, Exec, action);
        int64_t deadline = loop_now() + FREE_US;
        list_splice_back(&exec->runs, &exec->abandoned);
        list_for_each(link, &exec->runs) {
                ExecRun *run = container_of(link, ExecRun, link);
                if (run->pid > 0) {
                        (void)kill(-run->pid, SIGKILL);
                }
        }
        list_for_each_safe(link, &exec->runs) {
                ExecRun *run = container_of(link, ExecRun, link);
                if (run->pid > 0) {
                        run_reap(run, deadline);
                }
                run_free(run);
        }
        spawn_deinit(&exec->spawn);
        command_deinit(&exec->command);
        buffer_deinit(&exec->why);
        buffer_deinit(&exec->output);
        buffer_deinit(&exec->errors);
        free(exec);
}

static pid_t exec_pid(const Action *action, const void *user) {
        const Exec *exec = container_of(action, Exec, action);
        list_for_each(link, &exec->runs) {
                const ExecRun *run = container_of(link, ExecRun, link);
                if (run->user == user && run->pid > 0) {
                        return run->pid;
                }
        }
        return 0;
}

static const ActionInterface exec_interface = {
        .name = "exec",
        .start = exec_start,
        .terminate = exec_terminate,
        .kill = exec_kill,
        .free = exec_free,
        .pid = exec_pid,
};

static void exec_map(Exec *exec, const ExecStatus *status, Outcome outcome) {
        for (size_t i = 0; i < status->n; i++) {
                if (status->values[i] >= 0 && status->values[i] < STATUS_COUNT) {
                        exec->outcomes[status->values[i]] = outcome;
                }
        }
}

static int keep_children(void) {
        struct sigaction action;
        if (sigaction(SIGCHLD, NULL, &action) != 0) {
                return error_origin(-errno);
        }
        if (action.sa_handler != SIG_IGN && (action.sa_flags & SA_NOCLDWAIT) == 0) {
                return 0;
        }
        action = (struct sigaction){.sa_handler = SIG_DFL};
        return sigaction(SIGCHLD, &action, NULL) != 0 ? error_origin(-errno) : 0;
}

static int exec_init(Exec *exec, const ExecOptions *options, Buffer *why) {
        int r = command_init(&exec->command, options->argv, why);
        if (r != 0) {
                return r > 0 ? EXEC_E_TEMPLATE : r;
        }
        r = keep_children();
        r = r != 0 ? r : spawn_init(&exec->spawn);
        r = r != 0 ? r : buffer_reserve(&exec->output, 2 * exec->half + OUTPUT_MARK);
        return r != 0 ? r : buffer_reserve(&exec->errors, 2 * exec->errors_half + OUTPUT_MARK);
}

int exec_new(Action **actionp, Loop *loop, Log *log, const ExecOptions *options, Buffer *why) {
        Exec *exec = calloc(1, sizeof(*exec));
        if (exec == NULL) {
                return error_origin(-ENOMEM);
        }
        exec->action.interface = &exec_interface;
        exec->loop = loop;
        exec->log = log;
        exec->timeout_us = options->timeout_us;
        exec->kill_after_us = options->kill_after_us;
        exec->half = options->output_bytes > 1 ? options->output_bytes / 2 : 1;
        exec->half = exec->half < OUTPUT_HALF_MAX ? exec->half : OUTPUT_HALF_MAX;
        exec->errors_half = options->errors_apart ? ERRORS_HALF : 0;
        exec->spawn.null_fd = -1;
        list_init(&exec->runs);
        list_init(&exec->abandoned);
        for (size_t i = 0; i < STATUS_COUNT; i++) {
                exec->outcomes[i] = OUTCOME_FAILED;
        }
        exec_map(exec, &options->done, OUTCOME_DONE);
        exec_map(exec, &options->not_started, OUTCOME_NOT_STARTED);
        exec_map(exec, &options->unknown, OUTCOME_UNKNOWN);
        int r = exec_init(exec, options, why);
        if (r != 0) {
                exec_free(&exec->action);
                return r;
        }
        *actionp = &exec->action;
        return 0;
}
