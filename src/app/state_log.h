#pragma once

/* SIGUSR1: what `ackd status` shows, line by line in the log. */

#include "telemetry/log.h"
#include "util/buffer.h"

/* @document: that of app/status.h. Event `state`, info. -ENOMEM. */
MUST_CHECK int state_log(Log *log, const Buffer *document);
