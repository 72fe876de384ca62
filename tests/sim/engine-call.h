#pragma once

/* An event: the engine is given memory that may run out; the world is not. */

#include "memory.h"
#include "world.h"

#define ENGINE(daemon, call)                                                                       \
        do {                                                                                       \
                memory_engine(daemon_memory(daemon->world));                                       \
                int r_ = (call);                                                                   \
                memory_world();                                                                    \
                daemon->world->events++;                                                           \
                if (r_ < 0) {                                                                      \
                        daemon_fails(daemon, r_, #call);                                           \
                }                                                                                  \
        } while (0)
