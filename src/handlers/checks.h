#pragma once

/*
 * The checks of restart-host around its action: `precheck` asks before the claim whether a host
 * may be restarted now, and needs to be; `verify` tells afterwards whether it was.
 *
 * A verify is a comparison: the check runs before the action too, what it says (a boot id) is
 * `before`, and to pass is to succeed *and* to say something else. So the caller keeps `before`
 * with the intent, where also another owner finds it.
 *
 * Each check is a command or a request, run by the action `exec` or `http`. It is not to change
 * anything: it is repeated at will, killed without a second thought, and ackd's end does not wait
 * for it. Nothing is decided here: what a result leads to is the caller's affair.
 *
 * What a check says is compared, and handed out, as check_text() makes it.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "handlers/actions/action.h"
#include "handlers/check.h"
#include "telemetry/log.h"
#include "util/buffer.h"
#include "util/error.h"
#include "util/list.h"
#include "util/loop.h"

typedef struct Checks Checks;

/* Copied: nothing is borrowed after checks_new(). */
typedef struct ChecksOptions {
        CheckOptions precheck;
        CheckStatuses go, not_needed, wait; /* any other: wait, and it is logged as a failure */
        CheckOptions verify;
        CheckStatuses done;  /* that mean: verify's check succeeded */
        int64_t interval_us; /* from the end of a look to the next; above 0 */
} ChecksOptions;

enum {
        CHECKS_E_TEMPLATE = 1, /* a check cannot be made so; @why says it in a sentence */
};

/* @why: NULL: not wanted. 0, CHECKS_E_TEMPLATE, negative errno. */
MUST_CHECK int checks_new(Checks **checksp, Loop *loop, Log *log, const ChecksOptions *options,
                          Buffer *why);
/* Ends everything that runs and reports none of it. NULL is allowed. */
void checks_free(Checks *checks);

/* Whether there is such a check: without precheck the answer is always CHECKED_GO, and without
 * verify there is no `before` and checks_verify() must not be called. */
bool checks_has_precheck(const Checks *checks);
bool checks_has_verify(const Checks *checks);

/* --- before the claim ------------------------------------------------------------------------ */

typedef enum CheckedResult {
        CHECKED_GO,
        CHECKED_WAIT,       /* ask again later */
        CHECKED_NOT_NEEDED, /* the host needs no restart: suppressed */
        /* A template of precheck or verify can never be expanded for this request, as
         * {{host.label}} of an IP address. */
        CHECKED_POISON,
        CHECKED_CANCELLED, /* by checks_cancel() */
} CheckedResult;

/* Valid during the call of CheckedEnd. */
typedef struct Checked {
        CheckedResult result;
        /* With CHECKED_GO: what verify's check says now. NULL: there is no verify, or it did not
         * succeed or said nothing; the action may start all the same, but an unknown outcome can
         * never be verified to done. */
        const char *before;
        const char *detail; /* a line for people, never NULL: "precheck: exit status 75: on call" */
} Checked;

/* The receiver may start other checks and call checks_cancel(), but must not free. */
typedef void (*CheckedEnd)(void *user, const Checked *checked);

/*
 * Runs precheck and, when it says go, verify's check once. @end follows once, never during the
 * call, and within the timeouts of the two. Neither is configured: CHECKED_GO in the next turn.
 * @request is borrowed for the call, whatever steps there are. A check that failed here (no
 * descriptor, no process to be had) is one that did not succeed: CHECKED_WAIT. -ENOMEM, and then
 * there is no @end.
 */
MUST_CHECK int checks_before(Checks *checks, const ActionRequest *request, CheckedEnd end,
                             void *user);

/* --- after the action ------------------------------------------------------------------------ */

typedef enum VerifiedResult {
        VERIFIED_PASSED, /* it succeeded, and says something else than `before` */
        /* It succeeded, and there is no `before` to compare with. Alone that proves nothing: a host
         * that was not restarted answers too. */
        VERIFIED_PASSED_UNCOMPARED,
        VERIFIED_SAME,      /* it succeeded last, with the same output: up, and not restarted */
        VERIFIED_FAILED,    /* it did not succeed last: nobody knows */
        VERIFIED_CANCELLED, /* by checks_cancel(); nothing is said about the host */
} VerifiedResult;

/* Valid during the call of VerifiedEnd. */
typedef struct Verified {
        VerifiedResult result;
        const char *output; /* what the last look that succeeded said; NULL: none did */
        const char *detail; /* a line for people, never NULL: what the last look said, how many */
        unsigned looks;     /* that ended */
        /* With PASSED: it was seen to become so, a look before, at the pace of looks, did not pass.
         * Otherwise it may be so for long (this process may have been stopped), and what was
         * requested meanwhile may be about what happened since. */
        bool watched;
} Verified;

/* As for CheckedEnd. */
typedef void (*VerifiedEnd)(void *user, const Verified *verified);

/*
 * Looks every interval until the host passes, or @deadline_us, counted from now, is over. @end
 * follows once, never during the call.
 *
 * The first look comes after one interval: right after the action the host is still going down.
 * The last one begins before the deadline, early enough to end by its own timeout, or with half of
 * the time that is left; what still runs at the deadline did not succeed. So the end comes by the
 * deadline, and a deadline that goes into `held_until` needs no addition for it.
 *
 * @deadline_us of 0 or less: exactly one look, at once, which may take all its own time: for who
 * finds a restart whose time is over.
 *
 * @before: as Checked.before gave it; NULL: none. It and @request are borrowed for the call.
 * -ENOMEM, and then there is no @end.
 */
MUST_CHECK int checks_verify(Checks *checks, const ActionRequest *request, const char *before,
                             int64_t deadline_us, VerifiedEnd end, void *user);

/* --- all of them ----------------------------------------------------------------------------- */

/* For the shutdown: ends all that is under way. Each still gives its end, ..._CANCELLED: in the
 * next turn when it waits between two looks, otherwise when its command is killed and reaped,
 * which takes 1 s at most. What is started after it runs as ever. */
void checks_cancel(Checks *checks);

/* Those whose end is still to come. */
size_t checks_running(const Checks *checks);

typedef enum CheckStep {
        CHECK_PRECHECK,
        CHECK_BEFORE, /* verify's check, before the claim */
        CHECK_VERIFY,
} CheckStep;

typedef struct CheckRunning {
        CheckStep step;
        const char *host; /* canonical */
        int attempt;
        int64_t since_us;    /* CLOCK_MONOTONIC: when checks_before() or _verify() was called */
        int64_t deadline_us; /* CLOCK_MONOTONIC, of a verify; 0: none */
        unsigned looks;      /* of a verify, that ended */
        const char *detail;  /* what the last look said; "" before there was one */
} CheckRunning;

/* "precheck", "before", "verify". Static. */
const char *check_step_name(CheckStep step);

/* Those under way, the oldest first: *@cursor is NULL at first; false: there are no more. Nothing
 * may be started or end in between. */
bool checks_next(const Checks *checks, const List **cursor, CheckRunning *running);
