#pragma once

/*
 * The judge: the invariants of a daemon, each a function with its number, over what was observed of
 * its engine. It keeps books of its own and believes nothing that the engine says of itself. The
 * simulation has one a life of a daemon; sim-judge reads the observations that a real daemon wrote
 * down (ACKD_TAPE).
 *
 * What needs more than one daemon to be seen (the database, the broker, other members) is judged by
 * the world: see world.c.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/engine.h"

/* The bounds that the daemon was given. */
typedef struct JudgeLimits {
        size_t concurrency; /* 0: none */
        size_t in_flight, in_flight_bytes, waiting, ack_gap, message_bytes, batches, batch_rows;
        int attempts;
        int64_t backoff_max_us, drain_us, max_wait_us;
        bool selects; /* some restarts are suppressed */
        bool save, restart;
        OnUnknown on_unknown;
        bool ledger, check, verify;
        int64_t verify_deadline_us, cooldown_us;
        bool steady; /* the clock that cool-downs run on goes as that of the daemon does */
} JudgeLimits;

JudgeLimits judge_limits(const EngineConfig *config);

typedef struct Judge Judge;

/* @broken: called with the number of the invariant; it does not return in the simulation. Where it
 * does, the judge goes on, with books that may be wrong from there on. */
typedef void (*JudgeBroken)(void *user, int invariant, const char *what);

Judge *judge_new(const JudgeLimits *limits, JudgeBroken broken, void *user);
void judge_free(Judge *judge); /* NULL is allowed */
void judge_see(Judge *judge, const Observation *observation);
/* How many invariants there are here, and what each says; for `--help` and sim-judge. */
typedef struct JudgeRule {
        int invariant;
        const char *says;
} JudgeRule;
extern const JudgeRule judge_rules[];
extern const size_t judge_n_rules;
