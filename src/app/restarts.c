#include "app/restarts.h"

#include <stdio.h>
#include <string.h>

#include "app/action.h"

/* --- what happened ------------------------------------------------------------------------ */

static void on_restarted(void *user, Run *run, Outcome outcome, bool charged, const char *detail,
                         int64_t duration_us, int64_t retry_after_us) {
        Pipeline *pipeline = user;
        run->retry_after_us = retry_after_us;
        report_restart(pipeline->report, outcome, duration_us);
        pipeline_after(pipeline,
                       engine_restarted(pipeline->engine, run, outcome, charged, detail,
                                        loop_time(pipeline->loop)),
                       "restart");
}

static void on_claimed(void *user, Run *run, LedgerEnd end, const LedgerDecision *decision) {
        Pipeline *pipeline = user;
        pipeline_after(pipeline,
                       engine_claimed(pipeline->engine, run, end, decision,
                                      loop_time(pipeline->loop)),
                       "claim");
}

static void on_acted(void *user, Run *run, LedgerEnd end) {
        Pipeline *pipeline = user;
        pipeline_after(pipeline,
                       engine_acted(pipeline->engine, run, end, loop_time(pipeline->loop)),
                       "end of an action");
}

static void on_concluded(void *user, Run *run, LedgerEnd end, const LedgerResult *result) {
        Pipeline *pipeline = user;
        pipeline_after(pipeline,
                       engine_concluded(pipeline->engine, run, end, result,
                                        loop_time(pipeline->loop)),
                       "end of a restart");
}

static CheckResult check_result(CheckedResult result) {
        switch (result) {
        case CHECKED_GO:
                return CHECK_GO;
        case CHECKED_WAIT:
                return CHECK_WAIT;
        case CHECKED_NOT_NEEDED:
                return CHECK_NOT_NEEDED;
        case CHECKED_POISON:
                return CHECK_POISON;
        case CHECKED_CANCELLED:
                break;
        }
        return CHECK_CANCELLED;
}

static void on_checked(void *user, const Checked *checked) {
        Run *run = user;
        Pipeline *pipeline = run->driver;
        pipeline_after(pipeline,
                       engine_checked(pipeline->engine, run, check_result(checked->result),
                                      checked->before, checked->detail, loop_time(pipeline->loop)),
                       "precheck");
}

static VerifyResult verify_result(VerifiedResult result) {
        switch (result) {
        case VERIFIED_PASSED:
                return VERIFY_PASSED;
        case VERIFIED_PASSED_UNCOMPARED:
                return VERIFY_UNCOMPARED;
        case VERIFIED_SAME:
                return VERIFY_SAME;
        case VERIFIED_FAILED:
                return VERIFY_FAILED;
        case VERIFIED_CANCELLED:
                break;
        }
        return VERIFY_CANCELLED;
}

static void on_verified(void *user, const Verified *verified) {
        Run *run = user;
        Pipeline *pipeline = run->driver;
        run->unwatched = !verified->watched;
        run->action_ended_us = ledger_clock(); /* what was requested until now is superseded */
        pipeline_after(pipeline,
                       engine_verified(pipeline->engine, run, verify_result(verified->result),
                                       verified->detail, loop_time(pipeline->loop)),
                       "verify");
}

/* --- what is to be done ------------------------------------------------------------------- */

/* What goes wrong with one restart is the matter of its messages, which are rejected as `internal`.
 * With no memory nobody's work goes on. */
static int start_run(Pipeline *pipeline, Run *run) {
        if (pipeline->claims != NULL && !claims_may_start(pipeline->claims, run)) {
                return engine_too_late(pipeline->engine, run, loop_time(pipeline->loop));
        }
        int r = restart_start(pipeline->restart, run);
        if (r == 0 || r == -ENOMEM) {
                return r;
        }
        char detail[128];
        snprintf(detail, sizeof(detail), "the restart could not be begun: %s", strerror(-r));
        log_error(pipeline->log, "restart.internal",
                  FIELDS(.host = run_host(run), .handler = handler_name(HANDLER_RESTART),
                         .error = detail),
                  "an error that nobody expected, in the restart of %s alone: its messages are "
                  "rejected, the others go on",
                  run_host(run));
        return engine_restarted(pipeline->engine, run, OUTCOME_INTERNAL, false, detail,
                                loop_time(pipeline->loop));
}

static int start_check(Pipeline *pipeline, Run *run) {
        const ActionRequest request = restart_request(run);
        run->driver = pipeline;
        return checks_before(pipeline->checks, &request, on_checked, run);
}

static int start_verify(Pipeline *pipeline, Run *run) {
        const ActionRequest request = restart_request(run);
        run->driver = pipeline;
        return checks_verify(pipeline->checks, &request, run->claim.before, run->verify_us,
                             on_verified, run);
}

int restarts_carry_out(Pipeline *pipeline, const EngineAction *action) {
        if (action->type == ENGINE_CHECK) {
                return start_check(pipeline, action->run);
        }
        if (action->type == ENGINE_CLAIM) {
                return claims_claim(pipeline->claims, action->run);
        }
        if (action->type == ENGINE_RESTART) {
                return start_run(pipeline, action->run);
        }
        if (action->type == ENGINE_ACTED) {
                return claims_acted(pipeline->claims, action->run);
        }
        return action->type == ENGINE_VERIFY ? start_verify(pipeline, action->run)
                                             : claims_conclude(pipeline->claims, action->run);
}

int restarts_send(Pipeline *pipeline) {
        return pipeline->claims != NULL ? claims_send(pipeline->claims) : 0;
}

/* --- life --------------------------------------------------------------------------------- */

static const LedgerGroup *group_of(const void *data, const char *host) {
        return ledger_settings_group(data, host);
}

static int pipeline_claims(Pipeline *pipeline) {
        static const ClaimsEvents events = {.claimed = on_claimed,
                                            .acted = on_acted,
                                            .concluded = on_concluded};
        int r = ledger_settings_init(&pipeline->ledger, pipeline->config);
        const ClaimsOptions options = {.schema = pipeline->config->postgres.schema,
                                       .instance = pipeline->config->instance,
                                       .policy = &pipeline->ledger.policy,
                                       .group = group_of,
                                       .data = &pipeline->ledger};
        return r != 0 ? r
                      : claims_new(&pipeline->claims, pipeline->pool, pipeline->log, &options,
                                   &events, pipeline);
}

int restarts_init(Pipeline *pipeline, char **errorp) {
        Action *action = NULL;
        if (!pipeline->config->handlers.restart.enabled) {
                return 0;
        }
        int r = action_new(&action, pipeline->loop, pipeline->log,
                           &pipeline->config->handlers.restart, errorp);
        if (r != 0) {
                return r > 0 ? PIPELINE_E_CONFIG : r;
        }
        r = restart_new(&pipeline->restart, pipeline->log, action, on_restarted, pipeline);
        if (r != 0 || !ledger_settings_wanted(pipeline->config)) {
                return r;
        }
        r = pipeline_claims(pipeline);
        if (r == 0) {
                r = action_new_checks(&pipeline->checks, pipeline->loop, pipeline->log,
                                      &pipeline->config->handlers.restart, errorp);
        }
        return r > 0 ? PIPELINE_E_CONFIG : r;
}

void restarts_deinit(Pipeline *pipeline) {
        checks_free(pipeline->checks);
        restart_free(pipeline->restart);
        claims_free(pipeline->claims);
        ledger_settings_deinit(&pipeline->ledger);
}
