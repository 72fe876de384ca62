#include <inttypes.h>
#include <stdio.h>

#include "world.h"

enum {
        STATES = PARTITION_GONE + 1,
        PHASES = DAEMON_LEAVING + 1,
};

static uint64_t reached[EVENTS][STATES][PHASES];

const char *event_name(Event event) {
        static const char *const names[EVENTS] = {
                [EVENT_ASSIGNED] = "assigned",
                [EVENT_LOOKED_UP] = "looked_up",
                [EVENT_LOOK_UP_FAILED] = "look_up_failed",
                [EVENT_SOURCE_READ] = "source_read",
                [EVENT_SOURCE_FAILED] = "source_failed",
                [EVENT_ADOPTED] = "adopted",
                [EVENT_ADOPT_CHANGED] = "adopt_changed",
                [EVENT_ADOPT_OUTAGE] = "adopt_outage",
                [EVENT_SOUGHT] = "sought",
                [EVENT_SEEK_FAILED] = "seek_failed",
                [EVENT_RESUMED] = "resumed",
                [EVENT_RESUME_FAILED] = "resume_failed",
                [EVENT_VANISHED] = "vanished",
                [EVENT_OUT_OF_RANGE] = "out_of_range",
                [EVENT_FETCHED] = "fetched",
                [EVENT_ENDED] = "ended",
                [EVENT_SAVED] = "saved",
                [EVENT_SAVE_REFUSED] = "save_refused",
                [EVENT_SAVE_FENCE] = "save_fence",
                [EVENT_SAVE_OUTAGE] = "save_outage",
                [EVENT_SAVE_UNKNOWN] = "save_unknown",
                [EVENT_SAVED_EACH] = "saved_each",
                [EVENT_EACH_REFUSED] = "each_refused",
                [EVENT_EACH_FENCE] = "each_fence",
                [EVENT_EACH_OUTAGE] = "each_outage",
                [EVENT_EACH_UNKNOWN] = "each_unknown",
                [EVENT_FENCES_READ] = "fences_read",
                [EVENT_FENCES_FAILED] = "fences_failed",
                [EVENT_REJECTED] = "rejected",
                [EVENT_REJECT_OUTAGE] = "reject_outage",
                [EVENT_REJECT_UNKNOWN] = "reject_unknown",
                [EVENT_RUN_DONE] = "run_done",
                [EVENT_RUN_FAILED] = "run_failed",
                [EVENT_RUN_NOT_STARTED] = "run_not_started",
                [EVENT_RUN_UNKNOWN] = "run_unknown",
                [EVENT_RUN_OUTAGE] = "run_outage",
                [EVENT_RUN_POISON] = "run_poison",
                [EVENT_RUN_INTERNAL] = "run_internal",
                [EVENT_RUN_SUPPRESSED] = "run_suppressed",
                [EVENT_CHECK_GO] = "check_go",
                [EVENT_CHECK_WAIT] = "check_wait",
                [EVENT_CHECK_NOT_NEEDED] = "check_not_needed",
                [EVENT_CHECK_POISON] = "check_poison",
                [EVENT_CHECK_CANCELLED] = "check_cancelled",
                [EVENT_CLAIM_START] = "claim_start",
                [EVENT_CLAIM_DONE] = "claim_done",
                [EVENT_CLAIM_VERIFY] = "claim_verify",
                [EVENT_CLAIM_UNKNOWN] = "claim_unknown",
                [EVENT_CLAIM_WAIT] = "claim_wait",
                [EVENT_CLAIM_REJECT] = "claim_reject",
                [EVENT_CLAIM_REFUSED] = "claim_refused",
                [EVENT_CLAIM_OUTAGE] = "claim_outage",
                [EVENT_CLAIM_LOST] = "claim_lost",
                [EVENT_TOO_LATE] = "too_late",
                [EVENT_ACTED] = "acted",
                [EVENT_ACTED_REFUSED] = "acted_refused",
                [EVENT_ACTED_OUTAGE] = "acted_outage",
                [EVENT_ACTED_LOST] = "acted_lost",
                [EVENT_VERIFY_PASSED] = "verify_passed",
                [EVENT_VERIFY_UNCOMPARED] = "verify_uncompared",
                [EVENT_VERIFY_SAME] = "verify_same",
                [EVENT_VERIFY_FAILED] = "verify_failed",
                [EVENT_VERIFY_CANCELLED] = "verify_cancelled",
                [EVENT_CONCLUDED] = "concluded",
                [EVENT_CONCLUDED_OTHERWISE] = "concluded_otherwise",
                [EVENT_CONCLUDE_REFUSED] = "conclude_refused",
                [EVENT_CONCLUDE_OUTAGE] = "conclude_outage",
                [EVENT_CONCLUDE_LOST] = "conclude_lost",
                [EVENT_HOLDS_CHANGED] = "holds_changed",
                [EVENT_SEEN] = "seen",
                [EVENT_SEEN_GONE] = "seen_gone",
                [EVENT_SEEN_FAILED] = "seen_failed",
                [EVENT_COMMITTED] = "committed",
                [EVENT_COMMIT_FAILED] = "commit_failed",
                [EVENT_REVOKED] = "revoked",
                [EVENT_LOST] = "lost",
                [EVENT_DATABASE_UP] = "database_up",
                [EVENT_REPLAYS_READ] = "replays_read",
                [EVENT_REPLAYS_FAILED] = "replays_failed",
                [EVENT_TICK] = "tick",
                [EVENT_STOP] = "stop",
                [EVENT_RELEASE] = "release",
                [EVENT_FLUSH] = "flush",
                [EVENT_CRASH] = "crash",
        };
        return names[event];
}

void cover(Event event, PartitionState state, DaemonPhase phase) {
        reached[event][state][phase]++;
}

void cover_all(const Daemon *daemon, Event event) {
        bool any = false;
        list_for_each(link, engine_partitions(daemon->engine)) {
                cover(event, container_of(link, Partition, link)->state, daemon->phase);
                any = true;
        }
        if (!any) {
                cover(event, PARTITION_GONE, daemon->phase);
        }
}

static uint64_t pair(Event event, PartitionState state, bool running) {
        uint64_t n = 0;
        for (int phase = 0; phase < PHASES; phase++) {
                n += (phase == DAEMON_RUNNING) == running ? reached[event][state][phase] : 0;
        }
        return n;
}

void coverage_print(void) {
        for (int event = 0; event < EVENTS; event++) {
                for (int state = 0; state < STATES; state++) {
                        printf("cover %s %s %" PRIu64 " %" PRIu64 "\n", event_name((Event)event),
                               partition_state_name((PartitionState)state),
                               pair((Event)event, (PartitionState)state, true),
                               pair((Event)event, (PartitionState)state, false));
                }
        }
}
