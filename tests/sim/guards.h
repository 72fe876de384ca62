#pragma once

/* The guards of a simulated daemon, and what a record has to come to because of them. The world
 * knows the answers by its own reckoning, not by the code under test. */

#include "world.h"

/* Names of the machine that all daemons run on, where the world has them spared. */
extern const char *const guards_self[];
/* What `when` asks for, where the world selects: anything but UNWANTED fits. */
extern const MessageCondition guards_when[1];

/* Makes the daemon's windows for this life. */
void guards_make_windows(Daemon *daemon);
void guards_free_windows(Daemon *daemon);
/* Whether a restart may start now, by the daemon's own wall clock. */
bool guards_are_open(const Daemon *daemon);
/* In how many µs one is open, if nobody sets that clock; 0: now; @at_most: not before. */
int64_t guards_open_in(const Daemon *daemon, int64_t at_most);
/* Somebody does. */
void guards_set_clock(Daemon *daemon);
int64_t guards_max_wait(World *world);

/* The canonical host that the record means. */
const char *guards_meant(const Fate *fate, char out[16]);
/* Whether the record asks for the machine itself, which is spared. */
bool guards_is_self(const World *world, const Fate *fate);
/* Whether a restart for this record may ever start. */
bool guards_may_restart(const World *world, const Fate *fate);
