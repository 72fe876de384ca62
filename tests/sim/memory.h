#pragma once

/* Memory that runs out for the engine, and never for the world. */

#include <stdint.h>

/* From here on allocations are the engine's: @after of them succeed, then one fails; -1: none does.
 */
void memory_engine(int64_t after);
/* From here on they are the world's; returns what was left for memory_engine(). */
int64_t memory_world(void);
