#pragma once

/*
 * The pipeline's part for restarts: what the engine asks about a run goes to the checks, the ledger
 * and the action, and what they answer goes to the engine. It decides nothing.
 */

#include "app/pipeline.h"

/* Makes what the configuration needs; Pipeline.engine is there. PIPELINE_E_CONFIG as
 * pipeline_init(), negative errno. */
MUST_CHECK int restarts_init(Pipeline *pipeline, char **errorp);
/* Takes half-built ones. */
void restarts_deinit(Pipeline *pipeline);

/* Carries out ENGINE_CHECK, CLAIM, RESTART, ACTED, VERIFY and CONCLUDE. Negative errno: fatal. */
MUST_CHECK int restarts_carry_out(Pipeline *pipeline, const EngineAction *action);
/* At the end of a turn: asks the ledger what was gathered. */
MUST_CHECK int restarts_send(Pipeline *pipeline);
