#pragma once

/*
 * What a daemon answers at its control socket: its status, and the settings that can be changed
 * while it runs. Who asked is logged: `control.request`, info for a change, debug for a look.
 *
 * A request is one line of JSON:
 *
 *      {"request":"status","messages":100}
 *      {"request":"set","key":"log.level","value":"debug"}
 *      anything else -> {"error":"a sentence"}
 */

#include "app/status.h"
#include "telemetry/control.h"

enum {
        CONTROL_SERVICE_E_CONFIG = 1, /* the socket is configured, or in use, and cannot be made */
};

typedef struct ControlService {
        Loop *loop;
        Log *log;
        Status *status;
        void (*checks)(void *user, bool on); /* debug.checks was set */
        void *user;
        char *path;
        Control *control; /* NULL: there is none */
        struct ControlJob {
                struct ControlService *service;
                ControlClient *client; /* NULL: unused */
                StatusJob *job;
        } jobs[CONTROL_CLIENTS_MAX];
} ControlService;

/*
 * Opens the socket. One that is named by nobody and cannot be made is a warning, and the daemon
 * goes on without: it must not fail to restart hosts for want of it. One that the configuration
 * names is CONTROL_SERVICE_E_CONFIG with a malloc'd sentence in *@errorp: whoever names it relies
 * on it (a health check, a volume), and learns of a mistake when it is deployed, not at night. So
 * is one that a living process has. Negative: fatal.
 */
MUST_CHECK int control_service_start(ControlService *service, Status *status,
                                     void (*checks)(void *user, bool on), void *user,
                                     char **errorp);
/* Before the status is freed. Takes a zeroed one. */
void control_service_stop(ControlService *service);
