/*
 * ackd dead-letter replay and drop: both choose rows, judge each, and act on those that may.
 *
 * A replay is produced and then marked, in batches, when its delivery was reported. Between the two
 * nothing is promised: whatever dies there, the row is open still and is produced once more, and of
 * all messages that name a row a daemon takes one (the row says which). To mark first would lose
 * messages instead. So the marks are for people, and for the next replay.
 *
 *      page of rows --> judged --> produced --> delivered --> marked
 *                          \-> refused: said, by reason, at the end
 */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "app/dead_letter.h"
#include "app/headers.h"
#include "app/sender.h"
#include "kafka/query.h"
#include "util/list.h"

#define REPLAY_HEADER "ackd-replay"

enum {
        KAFKA_LIMIT_US = 10 * 1000000,
        WINDOW = 1000, /* on their way: so many, and MARK_ROWS, may be produced and not marked */
        MARK_ROWS = 500,
        EXAMPLES = 3,
};

/* Why a row is left alone. */
typedef enum Refusal {
        REFUSAL_NONE,
        REFUSAL_DROPPED,
        REFUSAL_TAKEN,
        REFUSAL_REPLAYED,
        REFUSAL_CUT,
        REFUSAL_EMPTY,
        REFUSAL_RETIRED,
        REFUSAL_CLUSTER,
        REFUSAL_TOPIC,
        REFUSAL_PARTITION,
        REFUSAL_KAFKA,
        REFUSAL_HEADERS,
        REFUSALS,
} Refusal;

static const char *const refusals[REFUSALS] = {
        [REFUSAL_DROPPED] = "dropped already; --again replays one that is named by its place",
        [REFUSAL_TAKEN] = "replayed already, and a daemon has it or had it",
        [REFUSAL_REPLAYED] =
                "replayed already, and on the way to a daemon; --again produces once more",
        [REFUSAL_CUT] =
                "not whole: only the first 64 KiB were kept (too_large); the producer has to "
                "send it again",
        [REFUSAL_EMPTY] = "without a value: nothing of it is kept",
        [REFUSAL_RETIRED] =
                "of a topic that was made again since; ackd dead-letter show SOURCE/OFFSET "
                "--value writes its bytes, for ackd produce",
        [REFUSAL_CLUSTER] = "of another Kafka cluster than kafka.bootstrap.servers",
        [REFUSAL_TOPIC] = "of a topic that is gone",
        [REFUSAL_PARTITION] = "of a partition that its topic does not have any more",
        [REFUSAL_KAFKA] = "of a topic that Kafka does not let us see",
        [REFUSAL_HEADERS] = "with headers that ackd did not write",
};

typedef struct Refused {
        uint64_t n;
        char examples[EXAMPLES][PLACE_TEXT];
} Refused;

/* One that is on its way. */
typedef struct Sent {
        DeadLetterKey key;
        int32_t partition;
        const char *topic; /* of Replay.topics */
        struct Sent *next; /* the next free one */
} Sent;

typedef struct Replay {
        DeadLetterCommand *command;
        Sender sender;
        QueryTopic *topics; /* names: `counts` has them */
        size_t n_topics;
        char *cluster_id;
        DeadLetterCounts counts;
        uint64_t selected, taken; /* rows of the selection, and how many were looked at */
        uint64_t settled;         /* of them, by somebody else meanwhile */
        DeadLetterPage page;
        size_t at; /* the next of it */
        Headers headers;
        char header[48];
        Sent slots[WINDOW + 1], *free_slots; /* one more waits for librdkafka's room */
        DeadLetterKey unmarked[MARK_ROWS];
        size_t n_unmarked;
        uint64_t marked;
        Refused refused[REFUSALS], undelivered;
        bool postgres_failed;
} Replay;

/* --- judging ------------------------------------------------------------------------------ */

static Refusal judge_marks(const DeadLetterCommand *command, const DeadLetter *letter) {
        bool named = command->filter.n_places > 0;
        if (letter->taken != NULL) {
                return REFUSAL_TAKEN;
        }
        if (letter->dropped_at != NULL) {
                return command->again && named ? REFUSAL_NONE : REFUSAL_DROPPED;
        }
        return letter->replayed_at == NULL || command->again ? REFUSAL_NONE : REFUSAL_REPLAYED;
}

static const QueryTopic *find_topic(const Replay *replay, const char *name) {
        for (size_t i = 0; i < replay->n_topics; i++) {
                if (strcmp(replay->topics[i].name, name) == 0) {
                        return &replay->topics[i];
                }
        }
        return NULL;
}

static Refusal judge_topic(const Replay *replay, const DeadLetter *letter) {
        const QueryTopic *topic = find_topic(replay, letter->topic);
        if (letter->retired) {
                return REFUSAL_RETIRED;
        }
        if (strcmp(letter->cluster_id, replay->cluster_id) != 0) {
                return REFUSAL_CLUSTER;
        }
        if (topic == NULL || topic->error != NULL) {
                return REFUSAL_KAFKA;
        }
        return topic->partitions == 0                   ? REFUSAL_TOPIC
               : letter->partition >= topic->partitions ? REFUSAL_PARTITION
                                                        : REFUSAL_NONE;
}

/* Nobody asked for this very row, and it was open when the selection was made. */
static bool is_settled(const DeadLetterCommand *command, Refusal refusal) {
        return command->filter.n_places == 0 &&
               (refusal == REFUSAL_DROPPED || refusal == REFUSAL_TAKEN ||
                refusal == REFUSAL_REPLAYED);
}

static Refusal judge(const Replay *replay, const DeadLetter *letter) {
        Refusal refusal = judge_marks(replay->command, letter);
        if (refusal != REFUSAL_NONE) {
                return refusal;
        }
        if (letter->value_size < 0) {
                return REFUSAL_EMPTY;
        }
        return strcmp(letter->reason, "too_large") == 0 ? REFUSAL_CUT : judge_topic(replay, letter);
}

static void refuse(Refused *refused, const char *topic, int32_t partition, int64_t offset) {
        if (refused->n < EXAMPLES) {
                snprintf(refused->examples[refused->n], PLACE_TEXT, "%.*s/%d/%lld", TOPIC_NAME_MAX,
                         topic, (int)partition, (long long)offset);
        }
        refused->n++;
}

static void print_refused(const DeadLetterCommand *command, const Refused *refused,
                          const char *why) {
        fprintf(stderr, "ackd %s: %llu %s %s:", command->name, (unsigned long long)refused->n,
                refused->n == 1 ? "is" : "are", why);
        for (uint64_t i = 0; i < refused->n && i < EXAMPLES; i++) {
                fputs(i > 0 ? ", " : " ", stderr);
                dead_letter_print(stderr, refused->examples[i]);
        }
        fputs(refused->n > EXAMPLES ? ", …\n" : "\n", stderr);
}

/* The sum. */
static uint64_t print_refusals(const DeadLetterCommand *command, const Refused *refused) {
        uint64_t n = 0;
        for (int i = 0; i < REFUSALS; i++) {
                if (refused[i].n > 0) {
                        print_refused(command, &refused[i], refusals[i]);
                        n += refused[i].n;
                }
        }
        return n;
}

/* --- choosing ----------------------------------------------------------------------------- */

/* Who names a message is told why it is left alone: so all of them are looked at. */
static int select_rows(DeadLetterCommand *command, uint64_t *np, char **errorp) {
        command->filter.which = command->filter.n_places > 0 ? DEAD_LETTERS_ALL
                                : command->again             ? DEAD_LETTERS_AGAIN
                                                             : DEAD_LETTERS_OPEN;
        int r = command->dry_run ? 0 : dead_letters_lock(command->desk, command->who, errorp);
        r = r != 0 ? r : dead_letters_select(command->desk, &command->filter, np, errorp);
        if (r == 0 && *np > command->limit) {
                *np = command->limit;
        }
        return r;
}

/* A filter that is wide takes no host along of which nobody knows whether it was restarted: a
 * replay would perhaps restart it twice. Who has looked at it names the reason, or the message. */
static int leave_unknown(DeadLetterCommand *command, char **errorp) {
        static const char *reason = DEAD_LETTERS_UNKNOWN;
        DeadLetterFilter *filter = &command->filter;
        DeadLetterCounts counts = {0};
        if (filter->n_places + filter->reasons.n > 0) {
                return 0;
        }
        DeadLetterFilter unknown = *filter;
        unknown.reasons = (DeadLetterWords){.items = &reason, .n = 1};
        unknown.which = command->again ? DEAD_LETTERS_AGAIN : DEAD_LETTERS_OPEN;
        int r = dead_letters_reasons(command->desk, &unknown, &counts, errorp);
        if (r == 0 && counts.total > 0) {
                bool one = counts.total == 1;
                fprintf(stderr,
                        "ackd %s: %lld %s left out: with the reason unknown, nobody knows whether "
                        "%s host%s restarted. Look at %s; to restart %s, name the place, or add "
                        "--reason unknown\n",
                        command->name, (long long)counts.total, one ? "is" : "are",
                        one ? "its" : "their", one ? " was" : "s were", one ? "it" : "each of them",
                        one ? "it" : "one");
        }
        dead_letter_counts_deinit(&counts);
        filter->without_unknown = true;
        return r;
}

static int say_none(const DeadLetterCommand *command, const char *verb) {
        printf("Of group %s no rejected message that fits is open; nothing to %s\n",
               config_group(command->config), verb);
        return EXIT_OK;
}

/* The next page of what was selected, within the limit; empty: that was all. */
static int next_page(DeadLetterCommand *command, uint64_t selected, uint64_t *taken, bool bytes,
                     DeadLetterPage *page, char **errorp) {
        uint64_t left = selected - *taken;
        dead_letter_page_deinit(page);
        if (left == 0) {
                return 0;
        }
        int r = dead_letters_next(command->desk, left < PAGE_ROWS ? left : PAGE_ROWS, PAGE_BYTES,
                                  bytes, page, errorp);
        *taken += page->n;
        return r;
}

/* --- marking ------------------------------------------------------------------------------ */

static void postgres_failed(Replay *replay, int r, char *error) {
        replay->postgres_failed = true;
        sender_stop(&replay->sender, error != NULL ? error : strerror(r < 0 ? -r : EIO));
        free(error);
}

static void mark(Replay *replay) {
        char *error = NULL;
        if (replay->n_unmarked == 0 || replay->postgres_failed) {
                return;
        }
        int r = dead_letters_mark(replay->command->desk, replay->unmarked, replay->n_unmarked,
                                  replay->command->who, replay->command->why, &error);
        if (r != 0) {
                postgres_failed(replay, r, error);
                return;
        }
        replay->marked += replay->n_unmarked;
        replay->n_unmarked = 0;
}

/* See SenderSource. */
static void on_answered(void *user, void *opaque, const char *error) {
        Replay *replay = user;
        Sent *sent = opaque;
        if (error == NULL && replay->n_unmarked < MARK_ROWS) {
                replay->unmarked[replay->n_unmarked++] = sent->key;
        } else if (error != NULL) {
                refuse(&replay->undelivered, sent->topic, sent->partition, sent->key.offset);
        }
        sent->next = replay->free_slots;
        replay->free_slots = sent;
        if (replay->n_unmarked == MARK_ROWS) {
                mark(replay);
        }
}

/* See SenderSource. */
static void on_turn(void *user) {
        mark(user);
}

/* --- producing ---------------------------------------------------------------------------- */

/* Those that are dropped, and named, are open again before a daemon can see their messages. */
static int undrop(Replay *replay, char **errorp) {
        DeadLetterKey keys[PAGE_ROWS];
        size_t n = 0;
        for (size_t i = 0; i < replay->page.n; i++) {
                const DeadLetter *letter = &replay->page.items[i];
                if (letter->dropped_at != NULL && judge(replay, letter) == REFUSAL_NONE) {
                        keys[n++] = letter->key;
                }
        }
        return n == 0 ? 0 : dead_letters_undrop(replay->command->desk, keys, n, errorp);
}

static int fill(Replay *replay, const DeadLetter *letter, ProducerMessage *message, void **opaque) {
        Headers *headers = &replay->headers;
        headers_deinit(headers);
        int r = headers_read(headers, letter->headers, letter->headers_size, REPLAY_HEADER, 1);
        if (r != 0) {
                return r;
        }
        int n = snprintf(replay->header, sizeof(replay->header), "%d/%lld", (int)letter->key.source,
                         (long long)letter->key.offset);
        headers->items[headers->n++] =
                (ProducerHeader){.name = REPLAY_HEADER, .value = replay->header, .size = (size_t)n};
        Sent *sent = replay->free_slots;
        replay->free_slots = sent->next;
        *sent = (Sent){.key = letter->key,
                       .partition = letter->partition,
                       .topic = find_topic(replay, letter->topic)->name};
        *opaque = sent;
        *message = (ProducerMessage){.topic = sent->topic,
                                     .partition = letter->partition,
                                     .key = letter->message_key,
                                     .key_size = letter->message_key_size,
                                     .value = letter->value,
                                     .value_size = (size_t)letter->value_size,
                                     .headers = headers->items,
                                     .n_headers = headers->n};
        return 0;
}

/* See SenderSource. */
static int next_message(void *user, ProducerMessage *message, void **opaque, bool *more) {
        Replay *replay = user;
        for (;;) {
                if (replay->at == replay->page.n) {
                        char *error = NULL;
                        replay->at = 0;
                        int r = next_page(replay->command, replay->selected, &replay->taken, true,
                                          &replay->page, &error);
                        r = r != 0 ? r : undrop(replay, &error);
                        if (r != 0) {
                                postgres_failed(replay, r, error);
                        }
                        if (r != 0 || replay->page.n == 0) {
                                *more = false;
                                return 0;
                        }
                }
                const DeadLetter *letter = &replay->page.items[replay->at++];
                Refusal refusal = judge(replay, letter);
                int r = refusal == REFUSAL_NONE ? fill(replay, letter, message, opaque) : 0;
                if (refusal == REFUSAL_NONE && r == 0) {
                        return 0;
                }
                if (r < 0) {
                        return r;
                }
                if (is_settled(replay->command, refusal)) {
                        replay->settled++;
                } else {
                        refuse(&replay->refused[r > 0 ? REFUSAL_HEADERS : refusal], letter->topic,
                               letter->partition, letter->key.offset);
                }
                replay->sender.total--;
        }
}

/* Which topics there are. -1: go on; else the exit status. */
static int ask_kafka(Replay *replay) {
        const DeadLetterCommand *command = replay->command;
        char *error = NULL;
        int r = dead_letters_topics(command->desk, &command->filter, &replay->counts, &error);
        if (r != 0) {
                return dead_letter_fail(command, r, error);
        }
        replay->topics = calloc(replay->counts.n + 1, sizeof(*replay->topics));
        ConsumerSetting *settings = kafka_settings(command->config);
        if (replay->topics == NULL || settings == NULL) {
                free(settings);
                return dead_letter_fail(command, -ENOMEM, NULL);
        }
        replay->n_topics = replay->counts.n;
        for (size_t i = 0; i < replay->n_topics; i++) {
                replay->topics[i].name = replay->counts.items[i].word;
        }
        r = query_topics(settings, command->config->kafka.n, replay->topics, replay->n_topics,
                         KAFKA_LIMIT_US, &replay->cluster_id, &error);
        free(settings);
        if (r == 0) {
                return -1;
        }
        int status = dead_letter_fail(command, r, error);
        return r == QUERY_E_CONFIG ? EXIT_CONFIG : status;
}

/* What a run that came to its end has done. */
static int report(Replay *replay) {
        const DeadLetterCommand *command = replay->command;
        const Sender *sender = &replay->sender;
        printf("%llu message%s replayed in %.1f s\n", (unsigned long long)sender->delivered,
               sender->delivered == 1 ? "" : "s", sender_seconds(sender));
        fflush(stdout);
        uint64_t refused = print_refusals(command, replay->refused);
        if (replay->undelivered.n > 0) {
                print_refused(command, &replay->undelivered, "not delivered");
        }
        if (replay->postgres_failed) {
                fprintf(stderr,
                        "ackd %s: %s; %llu that were delivered are perhaps not marked: replayed "
                        "again, a daemon takes each once all the same\n",
                        command->name, sender->error,
                        (unsigned long long)(sender->delivered - replay->marked));
                return EXIT_UNREACHABLE;
        }
        if (!sender->done || sender->failed > 0) {
                uint64_t left = replay->selected - replay->settled - refused - sender->delivered;
                fprintf(stderr, "ackd %s: %llu of %llu %s left: %s\n", command->name,
                        (unsigned long long)left, (unsigned long long)replay->selected,
                        left == 1 ? "is" : "are", sender->error);
                return EXIT_UNREACHABLE;
        }
        return refused > 0 ? EXIT_USAGE : EXIT_OK;
}

static int produce_all(Replay *replay) {
        static const SenderSource source = {.next = next_message,
                                            .answered = on_answered,
                                            .turn = on_turn};
        DeadLetterCommand *command = replay->command;
        char *error = NULL;
        for (size_t i = 0; i <= WINDOW; i++) {
                replay->slots[i].next = replay->free_slots;
                replay->free_slots = &replay->slots[i];
        }
        replay->sender.name = "replay";
        replay->sender.source = &source;
        replay->sender.user = replay;
        replay->sender.rate = command->rate;
        replay->sender.total = replay->selected;
        replay->sender.window = WINDOW;
        fprintf(stderr, "Replaying %llu message%s of %zu topic%s\n",
                (unsigned long long)replay->selected, replay->selected == 1 ? "" : "s",
                replay->n_topics, replay->n_topics == 1 ? "" : "s");
        signals_block();
        int r = sender_run(&replay->sender, command->config, &error);
        if (r != 0) {
                fprintf(stderr, "ackd %s: %s\n", command->name,
                        error != NULL ? error : strerror(r < 0 ? -r : EINVAL));
                free(error);
                return r > 0 ? EXIT_CONFIG : EXIT_UNEXPECTED;
        }
        mark(replay);
        return report(replay);
}

/* --- dry runs ----------------------------------------------------------------------------- */

static void print_would(const DeadLetterCommand *command, const DeadLetter *letter, bool replays) {
        char place[PLACE_TEXT], runs[64];
        dead_letter_print(stdout, dead_letter_place_text(letter, place));
        fputs("  ", stdout);
        dead_letter_print(stdout, letter->host != NULL ? letter->host : "-");
        fputs("  ", stdout);
        dead_letter_print(stdout, letter->reason);
        if (replays) {
                printf("  runs %s", dead_letter_runs(command, letter, runs));
        }
        putchar('\n');
}

static int dry_run(Replay *replay) {
        DeadLetterCommand *command = replay->command;
        char *error = NULL;
        uint64_t would = 0;
        int r = 0;
        do {
                r = next_page(command, replay->selected, &replay->taken, false, &replay->page,
                              &error);
                for (size_t i = 0; r == 0 && i < replay->page.n; i++) {
                        const DeadLetter *letter = &replay->page.items[i];
                        Refusal refusal = judge(replay, letter);
                        if (refusal == REFUSAL_NONE) {
                                print_would(command, letter, true);
                                would++;
                        } else if (!is_settled(command, refusal)) {
                                refuse(&replay->refused[refusal], letter->topic, letter->partition,
                                       letter->key.offset);
                        }
                }
        } while (r == 0 && replay->page.n > 0);
        if (r != 0) {
                return dead_letter_fail(command, r, error);
        }
        printf("%llu message%s would be replayed; nothing was done\n", (unsigned long long)would,
               would == 1 ? "" : "s");
        fflush(stdout);
        return print_refusals(command, replay->refused) > 0 ? EXIT_USAGE : EXIT_OK;
}

static void replay_free(Replay *replay) {
        sender_deinit(&replay->sender);
        dead_letter_page_deinit(&replay->page);
        dead_letter_counts_deinit(&replay->counts);
        headers_deinit(&replay->headers);
        free(replay->topics);
        free(replay->cluster_id);
        free(replay);
}

int dead_letter_replay(DeadLetterCommand *command) {
        Replay *replay = calloc(1, sizeof(*replay));
        char *error = NULL;
        if (replay == NULL) {
                return dead_letter_fail(command, -ENOMEM, NULL);
        }
        replay->command = command;
        int r = leave_unknown(command, &error);
        r = r != 0 ? r : select_rows(command, &replay->selected, &error);
        int status = r != 0                  ? dead_letter_fail(command, r, error)
                     : replay->selected == 0 ? say_none(command, "replay")
                                             : ask_kafka(replay);
        if (status < 0) {
                status = command->dry_run ? dry_run(replay) : produce_all(replay);
        }
        replay_free(replay);
        return status;
}

/* --- drop --------------------------------------------------------------------------------- */

typedef struct Drop {
        DeadLetterPage page;
        uint64_t selected, taken, dropped;
        Refused refused[REFUSALS];
} Drop;

/* Of a page. */
static int drop_page(DeadLetterCommand *command, Drop *drop, char **errorp) {
        DeadLetterKey keys[PAGE_ROWS];
        uint64_t dropped = 0;
        size_t n = 0;
        for (size_t i = 0; i < drop->page.n; i++) {
                const DeadLetter *letter = &drop->page.items[i];
                Refusal refusal = letter->taken != NULL         ? REFUSAL_TAKEN
                                  : letter->dropped_at != NULL  ? REFUSAL_DROPPED
                                  : letter->replayed_at != NULL ? REFUSAL_REPLAYED
                                                                : REFUSAL_NONE;
                if (refusal != REFUSAL_NONE) {
                        if (!is_settled(command, refusal)) {
                                refuse(&drop->refused[refusal], letter->topic, letter->partition,
                                       letter->key.offset);
                        }
                        continue;
                }
                keys[n++] = letter->key;
                if (command->dry_run) {
                        print_would(command, letter, false);
                }
        }
        drop->dropped += command->dry_run ? n : 0;
        if (n == 0 || command->dry_run) {
                return 0;
        }
        int r = dead_letters_drop(command->desk, keys, n, command->who, command->why, &dropped,
                                  errorp);
        drop->dropped += dropped;
        return r;
}

int dead_letter_drop(DeadLetterCommand *command) {
        Drop *drop = calloc(1, sizeof(*drop));
        char *error = NULL;
        int status = EXIT_OK;
        if (drop == NULL) {
                return dead_letter_fail(command, -ENOMEM, NULL);
        }
        int r = select_rows(command, &drop->selected, &error);
        if (r == 0 && drop->selected == 0) {
                free(drop);
                return say_none(command, "drop");
        }
        do {
                r = r != 0 ? r
                           : next_page(command, drop->selected, &drop->taken, false, &drop->page,
                                       &error);
                r = r != 0 ? r : drop_page(command, drop, &error);
        } while (r == 0 && drop->page.n > 0);
        printf("%llu message%s %s\n", (unsigned long long)drop->dropped,
               drop->dropped == 1 ? "" : "s",
               command->dry_run ? "would be dropped; nothing was done"
                                : "dropped; ackd dead-letter list --all shows them still");
        fflush(stdout);
        if (r != 0) {
                status = dead_letter_fail(command, r, error);
        } else if (print_refusals(command, drop->refused) > 0) {
                status = EXIT_USAGE;
        }
        dead_letter_page_deinit(&drop->page);
        free(drop);
        return status;
}
