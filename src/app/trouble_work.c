/*
 * Troubles with the work itself: partitions that stand still, what keeps restarts from starting,
 * what was rejected, and the process' own.
 */

#include <stdlib.h>
#include <string.h>

#include "app/commands.h"
#include "app/hold_words.h"
#include "app/trouble_list.h"
#include "core/host.h"
#include "core/inspect.h"
#include "core/timestamp.h"
#include "util/duration.h"
#include "util/list.h"

static double seconds(int64_t us) {
        return (double)us / 1e6;
}

/* "42 s", "17 min", "5 h", "3 days". */
static const char *age_text(int64_t us, char out[32]) {
        long long s = us > 0 ? (long long)(us / 1000000) : 0;
        if (s < 120) {
                snprintf(out, 32, "%lld s", s);
        } else if (s < 2 * 3600) {
                snprintf(out, 32, "%lld min", s / 60);
        } else if (s < 48 * 3600) {
                snprintf(out, 32, "%lld h", s / 3600);
        } else {
                snprintf(out, 32, "%lld days", s / 86400);
        }
        return out;
}

static const char *bootstrap(const Config *config) {
        for (size_t i = 0; i < config->kafka.n; i++) {
                if (strcmp(config->kafka.items[i].name, "bootstrap.servers") == 0) {
                        return config->kafka.items[i].value;
                }
        }
        return "";
}

/* --- partitions --------------------------------------------------------------------------- */

/* Where it goes on without losing a message, as far as that is known; -1: as a new topic. */
static int64_t stopped_from(const Partition *partition) {
        const PartitionFacts *facts = &partition->facts;
        const char *why = partition->stopped;
        if (strcmp(why, "database_lost") == 0) {
                return facts->committed;
        }
        if (strcmp(why, "log_ends_below_fence") == 0 ||
            (facts->has_source && partition->fence > facts->high)) {
                return -1;
        }
        if (strcmp(why, "topic_recreated_or_offsets_expired") == 0) {
                /* A new topic that has grown past the old fence looks like the old one: from the
                 * fence on, what lies below it would never be read. Anew, nothing is lost. */
                return -1;
        }
        return facts->low; /* out_of_range, decided_out_of_range: retention was faster */
}

static void stopped_note(Troubles *troubles, Trouble *trouble, const Partition *partition) {
        const PartitionFacts *found = &partition->facts;
        int64_t from = found->low <= partition->fence ? partition->fence : found->low;
        if (strcmp(partition->stopped, "topic_recreated_or_offsets_expired") == 0) {
                TROUBLE_NOTE(
                        "--new-topic loses nothing: it is read from its oldest message, each is "
                        "handled anew, and the ledger suppresses what was done. --from %lld only "
                        "when it is the same topic and its committed offsets expired: in one that "
                        "was made again, what lies below is never read",
                        (long long)from);
        } else {
                TROUBLE_NOTE(
                        "--new-topic: the topic was made again; it is read from its oldest "
                        "message, and what was saved of the old one says nothing about it. --from "
                        "OFFSET: it is the same topic; what was saved is not saved again, and what "
                        "lies below OFFSET and was never read is skipped");
        }
        TROUBLE_NOTE("%s. Look when the topic was made before you decide",
                     strcmp(partition->stopped, "database_lost") == 0
                             ? ". Look first whether postgres.dsn is the right database: if not, "
                               "mend it and decide nothing"
                             : "");
}

static void stopped(Troubles *troubles, const TroubleFacts *facts, const Partition *partition) {
        const PartitionFacts *found = &partition->facts;
        int64_t from = stopped_from(partition);
        Trouble *trouble = trouble_add(troubles, "partition_stopped", true, 0);
        char place[300];
        snprintf(place, sizeof(place), "%s/%d", partition->topic, (int)partition->partition);
        TROUBLE_WHERE("%s", place);
        TROUBLE_TEXT("The partition %s stands still (%s): %s. Nothing of it is read until you "
                     "decide; other partitions go on. Kafka: ",
                     place, partition->stopped, assignment_explain(partition->stopped));
        if (found->committed >= 0) {
                TROUBLE_TEXT("committed %lld", (long long)found->committed);
        } else {
                TROUBLE_TEXT("no commit");
        }
        TROUBLE_TEXT(", log from %lld to %lld; PostgreSQL: ", (long long)found->low,
                     (long long)found->high);
        if (found->has_source) {
                TROUBLE_TEXT("saved below %lld.", (long long)partition->fence);
        } else {
                TROUBLE_TEXT("no row.");
        }
        trouble_ackd(troubles, trouble, facts, "partition");
        bool option = place[0] == '-'; /* it would be taken for one */
        if (trouble != NULL && !option) {
                trouble_word(troubles, &trouble->remedy, place);
        }
        if (from < 0) {
                TROUBLE_REMEDY(" --new-topic");
        } else {
                TROUBLE_REMEDY(" --from %lld", (long long)from);
        }
        TROUBLE_REMEDY(" --why 'stopped: %s'%s", partition->stopped, option ? " --" : "");
        if (trouble != NULL && option) {
                trouble_word(troubles, &trouble->remedy, place);
        }
        stopped_note(troubles, trouble, partition);
}

static void vanished(Troubles *troubles, const TroubleFacts *facts, const Partition *partition) {
        Trouble *trouble = trouble_add(troubles, "partition_vanished", true, 0);
        TROUBLE_WHERE("%s/%d", partition->topic, (int)partition->partition);
        TROUBLE_TEXT(
                "Kafka does not know the partition %s/%d any more: its topic was deleted, or a "
                "broker has not heard of it yet. Nothing of it is read.",
                partition->topic, (int)partition->partition);
        TROUBLE_REMEDY("kafka-topics.sh --bootstrap-server");
        if (trouble != NULL) {
                trouble_word(troubles, &trouble->remedy, bootstrap(facts->config));
                TROUBLE_REMEDY(" --describe");
                trouble_option(troubles, &trouble->remedy, "--topic", partition->topic);
        }
        TROUBLE_NOTE(
                "it shows whether the topic is there. One that is made again is noticed, and the "
                "partition stops then until you decide (partition_stopped)");
}

/* The remedy: the command that lifts this hold. */
static void remedy_lift(Troubles *troubles, Trouble *trouble, const TroubleFacts *facts,
                        const char *pattern, bool fuse) {
        trouble_ackd(troubles, trouble, facts, "unhold");
        int r = trouble != NULL && troubles->error == 0
                        ? hold_words(&trouble->remedy, pattern, fuse)
                        : 0;
        troubles->error = r != 0 ? r : troubles->error;
}

/* The hold that keeps the host, among those that are known; NULL: none. */
static const WatchedHold *hold_of(const TroubleFacts *facts, const char *host, bool fuse) {
        for (size_t i = 0; host != NULL && i < facts->n_holds; i++) {
                const WatchedHold *hold = &facts->holds[i];
                if (hold->pattern != NULL && hold->fuse == fuse &&
                    host_matches(hold->pattern, host)) {
                        return hold;
                }
        }
        return NULL;
}

static void pinned_by_hold(Troubles *troubles, const TroubleFacts *facts, Trouble *trouble,
                           const Message *message, bool fuse) {
        const WatchedHold *hold = hold_of(facts, message->host, fuse);
        if (hold == NULL) {
                TROUBLE_TEXT(" it waits for a hold to be lifted.");
                trouble_ackd(troubles, trouble, facts, "holds");
                return;
        }
        TROUBLE_TEXT(" it waits for the %s on %s, by %s since %s: %s.",
                     fuse ? "fuse's hold" : "hold", hold->pattern,
                     hold->who != NULL ? hold->who : "?", hold->since,
                     hold->why != NULL ? hold->why : "");
        remedy_lift(troubles, trouble, facts, hold->pattern, fuse);
        TROUBLE_NOTE("when its reason is over. ");
}

/* The remedy ends the command of a run, if it has one. */
static void remedy_end(Troubles *troubles, Trouble *trouble, const TroubleFacts *facts,
                       const Run *run) {
        int pid = facts->pid != NULL ? (int)facts->pid(facts->user, run->id) : 0;
        if (pid > 0) {
                TROUBLE_REMEDY("kill -TERM -- -%d", pid);
                TROUBLE_NOTE("it ends the command; whether the host was restarted is unknown then "
                             "(exec.timeout would end it too). ");
        }
}

static void pinned_by_run(Troubles *troubles, const TroubleFacts *facts, Trouble *trouble,
                          const InspectedHandler *is) {
        const ConfigRestart *restart = &facts->config->handlers.restart;
        char limit[DURATION_TEXT];
        double since = seconds(facts->now_us - is->since_us);
        if (is->run->phase == RUN_VERIFYING) {
                TROUBLE_TEXT(" its host was restarted, and verify has not seen yet that it is back "
                             "(for %.0f s; verify.deadline %s).",
                             since, duration_format(restart->verify.deadline_us, limit));
        } else if (is->run->phase == RUN_ENDING) {
                TROUBLE_TEXT(" its restart has ended, and PostgreSQL has not confirmed that it is "
                             "written down.");
        } else {
                TROUBLE_TEXT(" the restart of its host has been running for %.0f s.", since);
                remedy_end(troubles, trouble, facts, is->run);
        }
}

static void pinned_by_wait(Troubles *troubles, const TroubleFacts *facts, Trouble *trouble,
                           const Message *message, const InspectedHandler *is) {
        const ConfigRestart *restart = &facts->config->handlers.restart;
        char age[32];
        double again = is->again_us != INT64_MAX && is->again_us > facts->now_us
                               ? seconds(is->again_us - facts->now_us)
                               : 0;
        switch (is->waits_for) {
        case WAIT_HOLD:
        case WAIT_FUSE:
                pinned_by_hold(troubles, facts, trouble, message, is->waits_for == WAIT_FUSE);
                return;
        case WAIT_WINDOW:
                TROUBLE_TEXT(" it waits for a window to open (handlers.restart-host.windows).");
                break;
        case WAIT_SLOT:
                TROUBLE_TEXT(" it waits for a free slot: %zu restarts run (concurrency %zu).",
                             engine_running(facts->engine), restart->concurrency);
                break;
        case WAIT_HOST:
                TROUBLE_TEXT(" it waits for another restart of its host.");
                break;
        case WAIT_RETRY:
                TROUBLE_TEXT(" its restart failed %d time%s of %zu%s%s; the next attempt comes in "
                             "%.0f s.",
                             is->charged, is->charged == 1 ? "" : "s",
                             facts->config->retry.attempts,
                             is->outcome != OUTCOME_NONE ? ", the last one: " : "",
                             is->outcome != OUTCOME_NONE ? outcome_name(is->outcome) : "", again);
                break;
        case WAIT_POSTGRES:
                TROUBLE_TEXT(" it waits for PostgreSQL, which decides whether its host may be "
                             "restarted.");
                break;
        case WAIT_PRECHECK:
                TROUBLE_TEXT(" precheck says that its host may not be restarted yet.");
                break;
        case WAIT_RUNNING:
                TROUBLE_TEXT(
                        " another instance restarts its host, or did and has not said how that "
                        "ended.");
                break;
        case WAIT_COOLDOWN:
                TROUBLE_TEXT(" a restart of its host was tried before, and the host cools down for "
                             "%.0f s "
                             "more.",
                             again);
                break;
        case WAIT_GROUP:
                TROUBLE_TEXT(" other hosts of its group are being restarted (groups).");
                break;
        case WAIT_QUIET_TIME:
                TROUBLE_TEXT(" its group has its quiet time after a restart, %.0f s more (groups).",
                             again);
                break;
        case WAIT_FLEET:
                TROUBLE_TEXT(" fleet_concurrency (%zu) is reached by all instances together.",
                             restart->fleet_concurrency);
                break;
        case WAIT_NONE:
        case WAIT_REASONS:
                TROUBLE_TEXT(" it is being asked whether its host may be restarted.");
                break;
        }
        TROUBLE_TEXT(" It has waited so for %s.", age_text(facts->now_us - is->since_us, age));
}

static void pinned(Troubles *troubles, const TroubleFacts *facts, const Message *message) {
        const Partition *partition = message->partition;
        InspectedHandler save, restart;
        char age[32];
        Trouble *trouble = trouble_add(troubles, "partition_pinned", false, message->received_us);
        inspect_handler(message, HANDLER_SAVE, &save);
        inspect_handler(message, HANDLER_RESTART, &restart);
        TROUBLE_WHERE("%s/%d", partition->topic, (int)partition->partition);
        size_t others = (size_t)(offsets_gap(&partition->offsets) - 1);
        TROUBLE_TEXT("%zu message%s of %s/%d cannot be acked before offset %lld%s%s, which this "
                     "daemon received %s ago:",
                     others, others == 1 ? "" : "s", partition->topic, (int)partition->partition,
                     (long long)message->offset, message->host != NULL ? ", host " : "",
                     message->host != NULL ? message->host : "",
                     age_text(facts->now_us - message->received_us, age));
        bool saving = save.state == HANDLER_QUEUED || save.state == HANDLER_RUNNING;
        if (message->verdict == VERDICT_REJECT) {
                TROUBLE_TEXT(" it is rejected, and its row is not written yet.");
        } else if (restart.state == HANDLER_OFF || restart.state == HANDLER_ENDED) {
                TROUBLE_TEXT(saving ? " it is not saved yet." : " it is about to be acked.");
        } else if (restart.state == HANDLER_RUNNING && restart.run != NULL) {
                pinned_by_run(troubles, facts, trouble, &restart);
        } else {
                pinned_by_wait(troubles, facts, trouble, message, &restart);
        }
        TROUBLE_NOTE("its story: ackd status %s/%d/%lld. What is behind it is handled meanwhile; "
                     "nothing is lost, a crash would only repeat work that is known to be done",
                     partition->topic, (int)partition->partition, (long long)message->offset);
}

typedef struct Pins {
        const Message *oldest[TROUBLE_PINNED_MAX]; /* the oldest first */
        size_t n, all;
} Pins;

static void pins_add(Pins *pins, const Message *message) {
        size_t at = pins->n;
        pins->all++;
        while (at > 0 && pins->oldest[at - 1]->received_us > message->received_us) {
                if (at < TROUBLE_PINNED_MAX) {
                        pins->oldest[at] = pins->oldest[at - 1];
                }
                at--;
        }
        if (at < TROUBLE_PINNED_MAX) {
                pins->oldest[at] = message;
                pins->n += pins->n < TROUBLE_PINNED_MAX;
        }
}

static bool is_told(const Pins *pins, const Run *run) {
        for (size_t i = 0; i < pins->n; i++) {
                if (pins->oldest[i]->run == run) {
                        return true;
                }
        }
        return false;
}

static void long_run(Troubles *troubles, const TroubleFacts *facts, const Run *run) {
        const ConfigRestart *restart = &facts->config->handlers.restart;
        bool exec = restart->action == CONFIG_ACTION_EXEC;
        char limit[DURATION_TEXT];
        Trouble *trouble = trouble_add(troubles, "restart_long", false, run->acting_us);
        TROUBLE_WHERE("%s", run_host(run));
        TROUBLE_TEXT("The restart of %s has been running for %.0f s (%s.timeout %s).",
                     run_host(run), seconds(facts->now_us - run->acting_us), exec ? "exec" : "http",
                     duration_format(exec ? restart->exec.timeout_us : restart->http.timeout_us,
                                     limit));
        remedy_end(troubles, trouble, facts, run);
        if (trouble != NULL) {
                TROUBLE_NOTE("its story: ackd status");
                trouble_word(troubles, &trouble->note, run_host(run));
        }
}

/* Those that hang, also where another message pins their partition, or none does. */
static void long_runs(Troubles *troubles, const TroubleFacts *facts, const Pins *pins) {
        size_t told = 0, all = 0;
        list_for_each(link, engine_runs(facts->engine)) {
                const Run *run = container_of(link, Run, link);
                if (run->phase != RUN_ACTING || run->acting_us == 0 ||
                    facts->now_us - run->acting_us < TROUBLE_RUN_US || is_told(pins, run)) {
                        continue;
                }
                if (all++ < TROUBLE_RUNS_MAX) {
                        long_run(troubles, facts, run);
                        told++;
                }
        }
        if (all > told && troubles->n > 0) {
                Trouble *trouble = &troubles->items[troubles->n - 1];
                TROUBLE_NOTE(". %zu other restarts run for as long", all - told);
        }
}

void troubles_of_partitions(Troubles *troubles, const TroubleFacts *facts) {
        Pins pins = {0};
        if (facts->engine == NULL) {
                return;
        }
        list_for_each(link, engine_partitions(facts->engine)) {
                const Partition *partition = container_of(link, Partition, link);
                const Message *first = list_first(&partition->messages, Message, link);
                bool is_vanished =
                        partition->doubted || (partition->held && partition->held_for != NULL &&
                                               strcmp(partition->held_for, "vanished") == 0);
                if (partition->state == PARTITION_STOPPED && partition->stopped != NULL) {
                        stopped(troubles, facts, partition);
                } else if (partition->state == PARTITION_ACTIVE && is_vanished) {
                        vanished(troubles, facts, partition);
                }
                if (first != NULL && !first->gap && offsets_gap(&partition->offsets) > 1 &&
                    facts->now_us - first->received_us >= TROUBLE_PINNED_US) {
                        pins_add(&pins, first);
                }
        }
        for (size_t i = 0; i < pins.n; i++) {
                pinned(troubles, facts, pins.oldest[i]);
        }
        if (pins.all > pins.n && troubles->n > 0) {
                Trouble *trouble = &troubles->items[troubles->n - 1];
                TROUBLE_NOTE(". %zu other partitions are pinned too", pins.all - pins.n);
        }
        long_runs(troubles, facts, &pins);
}

/* --- holds -------------------------------------------------------------------------------- */

static void hold(Troubles *troubles, const TroubleFacts *facts, const WatchedHold *is) {
        int64_t since = 0, age = 0;
        char text[32];
        if (timestamp_parse(is->since, strlen(is->since), &since) == 0) {
                age = facts->wall_us - since;
        }
        bool forgotten = age > TROUBLE_FORGOTTEN_US;
        const char *pattern = is->pattern != NULL ? is->pattern : "*";
        Trouble *trouble = trouble_add(troubles, is->fuse ? "fuse" : "hold", is->fuse || forgotten,
                                       facts->now_us > age && age > 0 ? facts->now_us - age : 0);
        TROUBLE_WHERE("%s", pattern);
        if (is->fuse) {
                TROUBLE_TEXT(
                        "The fuse blew at %s: %s. No host is restarted by any instance; saving "
                        "goes on.",
                        is->since, is->why != NULL ? is->why : "");
                TROUBLE_NOTE("when you know why so many hosts were to be restarted at once: what "
                             "waits starts then, and the fuse counts anew");
        } else {
                TROUBLE_TEXT("%s on hosts %s for %s, by %s: %s. They are not restarted by any "
                             "instance; saving goes on.",
                             forgotten ? "A hold that somebody may have forgotten is" : "A hold is",
                             pattern, age_text(age, text), is->who != NULL ? is->who : "?",
                             is->why != NULL ? is->why : "");
                TROUBLE_NOTE(is->until[0] != '\0' ? "it ends by itself at %s"
                                                  : "when its reason is over%s",
                             is->until);
        }
        remedy_lift(troubles, trouble, facts, pattern, is->fuse);
}

static void holds(Troubles *troubles, const TroubleFacts *facts) {
        size_t told = 0;
        for (int fuse = 1; fuse >= 0; fuse--) {
                for (size_t i = 0; i < facts->n_holds && told < TROUBLE_HOLDS_MAX; i++) {
                        if (facts->holds[i].fuse == (fuse == 1)) {
                                hold(troubles, facts, &facts->holds[i]);
                                told++;
                        }
                }
        }
        if (told > 0 && facts->n_in_force > told && troubles->n > 0) {
                Trouble *trouble = &troubles->items[troubles->n - 1];
                TROUBLE_NOTE(". %zu more holds are in force: ackd holds", facts->n_in_force - told);
        }
}

/* --- rejected messages -------------------------------------------------------------------- */

static void rejected(Troubles *troubles, const TroubleFacts *facts) {
        const RejectedCounts *counts = facts->rejected;
        if (counts == NULL || counts->as_of_us == 0) {
                return;
        }
        const char *least = counts->capped ? "at least " : "";
        if (counts->unknown > 0) {
                Trouble *trouble = trouble_add(troubles, "unknown_restarts", true, 0);
                TROUBLE_TEXT("Of %s%zu restart%s nobody knows whether %s happened; %s rejected. "
                             "Look at the host%s.",
                             least, counts->unknown, counts->unknown == 1 ? "" : "s",
                             counts->unknown == 1 ? "it" : "they",
                             counts->unknown == 1 ? "it was" : "they were",
                             counts->unknown == 1 ? "" : "s");
                trouble_ackd(troubles, trouble, facts, "dead-letter list");
                TROUBLE_REMEDY(" --reason unknown");
                TROUBLE_NOTE(
                        "a host that was not restarted: ackd dead-letter replay PLACE asks "
                        "again, under the same guards; one that was: ackd dead-letter drop PLACE "
                        "--why TEXT");
        }
        if (counts->open > counts->unknown) {
                size_t others = counts->open - counts->unknown;
                Trouble *trouble = trouble_add(troubles, "dead_letters_open", false, 0);
                TROUBLE_TEXT("%s%zu rejected message%s wait%s for somebody to replay or drop %s.",
                             counts->capped ? "At least " : "", others, others == 1 ? "" : "s",
                             others == 1 ? "s" : "", others == 1 ? "it" : "them");
                trouble_ackd(troubles, trouble, facts, "dead-letter list");
                TROUBLE_NOTE("ackd dead-letter replay runs what is not done of them, ackd "
                             "dead-letter drop marks them as not to be handled; docs/rejected.md "
                             "says what each reason asks for");
        }
}

/* --- the work, and the process ------------------------------------------------------------ */

static void intake(Troubles *troubles, const TroubleFacts *facts) {
        const char *by = engine_paused_by(facts->engine);
        if (by == NULL || facts->intake_us == 0 || facts->now_us - facts->intake_us < 5 * 1000000) {
                return;
        }
        Trouble *trouble = trouble_add(troubles, "intake_paused", false, facts->intake_us);
        TROUBLE_WHERE("limits.%s", by);
        TROUBLE_TEXT("Nothing is read from Kafka: limits.%s is reached (%zu in flight, %zu bytes, "
                     "%zu waiting).",
                     by, engine_in_flight(facts->engine), engine_in_flight_bytes(facts->engine),
                     engine_waiting(facts->engine));
        TROUBLE_NOTE("%s",
                     strcmp(by, "waiting") == 0
                             ? "messages that are saved wait for their restarts: \"waits\" says "
                               "for what. It reads again by itself when an eighth is done"
                             : "PostgreSQL saves more slowly than messages come, or not at all; "
                               "it reads again by itself");
}

static void save(Troubles *troubles, const TroubleFacts *facts) {
        size_t rows;
        unsigned failures = engine_save_failures(facts->engine, &rows);
        bool told = false;
        for (size_t i = 0; i < troubles->n; i++) {
                told = told || strncmp(troubles->items[i].word, "postgres_", 9) == 0 ||
                       strncmp(troubles->items[i].word, "schema_", 7) == 0 ||
                       strcmp(troubles->items[i].word, "save_failing") == 0;
        }
        if (failures < 3 || told) {
                return; /* the cause is told already */
        }
        Trouble *trouble = trouble_add(troubles, "save_failing", true, 0);
        TROUBLE_TEXT(
                "%zu messages could not be saved %u times in a row; they are tried again every "
                "few seconds. Nothing is lost.",
                rows, failures);
        TROUBLE_NOTE("events save.* and postgres.* of the log say what PostgreSQL answered");
}

static void slow_callbacks(Troubles *troubles, const TroubleFacts *facts) {
        Trouble *trouble = NULL;
        for (size_t i = 0; i < facts->n_slow; i++) {
                const TroubleSlow *slow = &facts->slow[i];
                char age[32];
                if (facts->now_us - slow->last_us > TROUBLE_RECENT_US) {
                        continue;
                }
                if (trouble == NULL) {
                        trouble = trouble_add(troubles, "loop_slow", false, slow->last_us);
                        TROUBLE_TEXT("Callbacks held up the event loop for longer than "
                                     "debug.slow_callback:");
                } else {
                        TROUBLE_TEXT(";");
                }
                TROUBLE_TEXT(" %s (%llu times, at most %.3f s, last %s ago)", slow->callback,
                             (unsigned long long)slow->count, seconds(slow->longest_us),
                             age_text(facts->now_us - slow->last_us, age));
        }
        if (trouble != NULL) {
                TROUBLE_TEXT(".");
                TROUBLE_NOTE(
                        "a process that was stopped (SIGSTOP, a debugger, a machine that slept) "
                        "or a machine without CPU to spare looks the same; it is told for 10 "
                        "minutes");
        }
}

static void daemon_itself(Troubles *troubles, const TroubleFacts *facts) {
        const ConfigRestart *restart = &facts->config->handlers.restart;
        Trouble *trouble;
        if (restart->enabled && restart->action == CONFIG_ACTION_DRY_RUN) {
                trouble = trouble_add(troubles, "dry_run", false, 0);
                TROUBLE_TEXT("handlers.restart-host.action is dry-run: no host is restarted, and "
                             "messages are acked as if.");
                TROUBLE_NOTE("meant for trying it out; action: exec or http restarts hosts");
        }
        if (facts->log_dropped > 0) {
                trouble = trouble_add(troubles, "log_dropped", false, 0);
                TROUBLE_TEXT("%llu lines of the log were dropped in the last 10 minutes: whoever "
                             "reads the log is too slow, or its disk is full.",
                             (unsigned long long)facts->log_dropped);
                trouble_ackd(troubles, trouble, facts, "set log.level=warning");
                TROUBLE_NOTE("until the reader is well again; ackd itself never waits for it");
        }
}

void troubles_of_work(Troubles *troubles, const TroubleFacts *facts) {
        if (facts->engine != NULL) {
                if (!facts->stopping) {
                        save(troubles, facts);
                        intake(troubles, facts);
                }
                if (facts->config->handlers.restart.enabled && !facts->stopping &&
                    facts->postgres.connected > 0 && engine_ledger_is_away(facts->engine)) {
                        Trouble *trouble = trouble_add(troubles, "ledger_away", false, 0);
                        TROUBLE_TEXT(
                                "The ledger of restarts did not answer: no restart starts until "
                                "it does. It is asked again every few seconds.");
                        TROUBLE_NOTE("events ledger.* and postgres.* of the log say what it "
                                     "answered");
                }
                if (engine_commit_has_failed(facts->engine)) {
                        Trouble *trouble = trouble_add(troubles, "commit_failing", false, 0);
                        TROUBLE_TEXT("Kafka did not confirm the newest commit; the next one covers "
                                     "it. A crash now would only repeat work that is known to be "
                                     "done.");
                        TROUBLE_NOTE("events commit.* of the log say why");
                }
        }
        holds(troubles, facts);
        rejected(troubles, facts);
        slow_callbacks(troubles, facts);
        daemon_itself(troubles, facts);
}
