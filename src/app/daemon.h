#pragma once

/*
 * `ackd run`: makes the parts, waits for what is not there yet, runs the loop, and ends with the
 * shutdown's exit status. The global handler for errors that belong to no message lives here.
 */

#include "config/config.h"

/* Runs until the shutdown is complete; returns the exit status. Signals are blocked before
 * (signals_block()). @warnings go to the log, which may be read by a program. */
int daemon_run(const Config *config, const ConfigProblems *warnings);
