#pragma once

/* Exit statuses: the contract with whoever runs ackd. The numbers are those of sysexits.h. */
enum {
        EXIT_OK = 0, /* of `run`: an orderly end, the final commit is confirmed */
        EXIT_USAGE = 64,
        EXIT_UNREACHABLE = 69, /* a command could not reach Kafka, PostgreSQL or the daemon; `run`
                                  waits instead */
        EXIT_UNEXPECTED = 70,  /* of `run`: the global handler */
        EXIT_UNCONFIRMED = 75, /* a commit is not confirmed, or running work was ended by force */
        EXIT_FENCED = 76,      /* by another member with the same group.instance.id */
        EXIT_CONFIG = 78,
};
