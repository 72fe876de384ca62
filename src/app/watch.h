#pragma once

/* `ackd status --watch`: asks again every second, until somebody ends it. */

#include <stdbool.h>

/*
 * @path, @request: as control_ask() takes them. On a terminal the whole screen, else a block of
 * text an interval, with @json one line of JSON. Goes on while nobody answers, and says so. Returns
 * the exit status, with q, SIGINT, SIGTERM or SIGHUP EXIT_OK; the terminal is then as it was.
 */
int watch_run(const char *path, const char *request, bool json, bool colour);
