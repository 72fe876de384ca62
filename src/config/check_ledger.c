#include "config/checker.h"
#include "config/groups.h"
#include "config/problems.h"
#include "util/duration.h"

/*
 * The limits of the ledger, beside each other: what can never apply, and what rejects or restarts
 * more than its writer may have meant. All of it can be meant, so nothing here is an error.
 */

enum {
        AGE_MIN_US = 60 * 1000 * 1000, /* a crash is noticed after session.timeout.ms, 45 s */
};

static bool are_good(const Checker *checker, const char *a, const char *b) {
        return checker_is_good(checker, a) && checker_is_good(checker, b);
}

/* At @path; @format with what is said of it. */
#define WARN(path, ...)                                                                            \
        problem_add(&checker->errors->warnings, checker_origin(checker->config, path),             \
                    path ": " __VA_ARGS__)

/* What a request waits out, beside how long it may wait. */
static void warn_waits(const Checker *checker, const ConfigRestart *restart) {
        char wait[DURATION_TEXT], time[DURATION_TEXT];
        if (!checker_is_good(checker, RESTART ".max_wait")) {
                return;
        }
        duration_format(restart->max_wait_us, wait);
        if (restart->cooldown_us >= restart->max_wait_us &&
            checker_is_good(checker, RESTART ".cooldown")) {
                problem_add(&checker->errors->warnings,
                            checker_written(checker->config, RESTART ".cooldown",
                                            RESTART ".max_wait"),
                            "%s.cooldown: %s is not shorter than max_wait (%s): a restart that "
                            "failed waits it out before it is tried again, and is rejected before, "
                            "\"waited_too_long\"; a longer max_wait lets it be tried again",
                            RESTART, duration_format(restart->cooldown_us, time), wait);
        }
        for (size_t i = 0; i < restart->groups.n; i++) {
                const ConfigGroup *group = &restart->groups.items[i];
                char shown[PROBLEM_VALUE];
                if (group->quiet_us >= restart->max_wait_us) {
                        problem_add(&checker->errors->warnings, &group->origin,
                                    "%s.groups: the quiet_time of %s, %s, is not shorter than "
                                    "max_wait (%s): what comes right after a restart of the group "
                                    "is rejected, \"waited_too_long\"; a longer max_wait lets it "
                                    "wait",
                                    RESTART, problem_value(group->match, shown),
                                    duration_format(group->quiet_us, time), wait);
                }
        }
}

static void warn_shadows(const Checker *checker, const ConfigGroups *groups) {
        for (size_t i = 0; i < groups->n; i++) {
                const ConfigGroup *first = groups_shadow(groups, i);
                char shown[PROBLEM_VALUE], earlier[PROBLEM_VALUE];
                if (first != NULL) {
                        problem_add(&checker->errors->warnings, &groups->items[i].origin,
                                    "%s.groups: %s never applies: every host that it matches "
                                    "belongs to the group before it, %s; the narrower pattern has "
                                    "to come first",
                                    RESTART, problem_value(groups->items[i].match, shown),
                                    problem_value(first->match, earlier));
                }
        }
}

static void warn_fuse(const Checker *checker, const ConfigRestart *restart) {
        bool fleet = restart->fleet_concurrency > 0;
        size_t at_once = fleet ? restart->fleet_concurrency : restart->concurrency;
        const char *limit = fleet ? RESTART ".fleet_concurrency" : RESTART ".concurrency";
        if (restart->fuse.restarts == 0) {
                WARN(RESTART ".fuse.restarts",
                     "0: there is no fuse, so nothing stops a flood of requests before it has "
                     "restarted every host");
        } else if (restart->fuse.restarts < at_once &&
                   are_good(checker, RESTART ".fuse.restarts", limit)) {
                problem_add(&checker->errors->warnings,
                            checker_written(checker->config, RESTART ".fuse.restarts", limit),
                            "%s.fuse.restarts: %zu is fewer than %s (%zu): restarts that may run "
                            "at once blow the fuse, which stops all of them until a person lifts "
                            "its hold",
                            RESTART, restart->fuse.restarts,
                            fleet ? "fleet_concurrency" : "concurrency", at_once);
        }
}

/* Starts of a host are a cool-down apart, so only so many fit into a period. */
static void warn_per_host(const Checker *checker, const ConfigRestart *restart) {
        static const char restarts[] = RESTART ".per_host.restarts";
        static const char period[] = RESTART ".per_host.period";
        char length[DURATION_TEXT], cooldown[DURATION_TEXT];
        if (restart->cooldown_us == 0 || restart->per_host.restarts == 0) {
                return;
        }
        size_t fit = (size_t)((restart->per_host.period_us - 1) / restart->cooldown_us) + 1;
        if (restart->per_host.restarts < fit || !checker_is_good(checker, RESTART ".cooldown") ||
            !are_good(checker, restarts, period)) {
                return;
        }
        problem_add(&checker->errors->warnings, checker_written(checker->config, restarts, period),
                    "%s.per_host: %zu restarts in %s limit nothing: with a cool-down of %s a host "
                    "is restarted at most %zu times in it",
                    RESTART, restart->per_host.restarts,
                    duration_format(restart->per_host.period_us, length),
                    duration_format(restart->cooldown_us, cooldown), fit);
}

void check_ledger(const Checker *checker) {
        const ConfigRestart *restart = &checker->config->handlers.restart;
        char age[DURATION_TEXT];
        if (restart->cooldown_us == 0) {
                WARN(RESTART ".cooldown",
                     "0: a host may be restarted again at once, by a second request or by the next "
                     "attempt");
        }
        if (restart->max_age_us == 0) {
                WARN(RESTART ".max_age",
                     "0: no request is too old: what lay in the topic for days restarts its host");
        } else if (restart->max_age_us < AGE_MIN_US) {
                WARN(RESTART ".max_age",
                     "%s: requests get older than this while ackd is restarted or the group "
                     "rebalances, and are suppressed, \"stale\", and acked",
                     duration_format(restart->max_age_us, age));
        }
        warn_waits(checker, restart);
        warn_shadows(checker, &restart->groups);
        warn_fuse(checker, restart);
        warn_per_host(checker, restart);
}
