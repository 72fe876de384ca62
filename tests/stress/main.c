/*
 * The ledger under stress: sessions that claim, act and die, on connections that break, with every
 * limit on; a journal outside the database; and a judge that reads it at the end.
 */

#include <getopt.h>
#include <libpq-fe.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "pg/schema.h"
#include "proxy.h"
#include "random.h"
#include "world.h"

#define DATABASE "ackd_stress"

enum {
        MS = 1000,
        SECOND = 1000 * MS,
        SESSIONS_MAX = 64,
        GROUPED = 3, /* the first hosts are a group */
};

static const char usage[] =
        "usage: ledger-stress [option]...\n"
        "\n"
        "Runs the ledger's functions on the PostgreSQL that ACKD_TEST_DSN names, in a database of\n"
        "its own, and judges what really happened. scripts/ledger-stress starts a server for it.\n"
        "\n"
        "  --seconds N       how long (8)\n"
        "  --sessions N      instances at a time (12)\n"
        "  --hosts N         (15); the first three are a group\n"
        "  --fleet N         fleet_concurrency (3)\n"
        "  --cooldown MS     (400)\n"
        "  --fuse N          starts in 2 s (20)\n"
        "  --budget N        done and unknown restarts of a host in 5 s (8)\n"
        "  --lose N          one in N pieces of data loses its connection (150); 0: none\n"
        "  --kill MS         a backend is killed so often (200); 0: never\n"
        "  --seed N          (1); the threads' timing is their own\n"
        "  --plant SQL       run after the schema is made: to plant a bug, and see it found\n"
        "  --least N         fewer starts are a failure (1)\n"
        "\n"
        "Exit status 0: no promise was broken.\n";

typedef struct Options {
        int seconds, sessions, hosts, fleet, cooldown_ms, fuse, budget, lose, kill_ms, seed, least;
        const char *plant;
} Options;

static void die(const char *what) {
        perror(what);
        exit(1);
}

static int number(const char *text, int least, int most) {
        char *end;
        long value = strtol(text, &end, 10);
        if (*text == '\0' || *end != '\0' || value < least || value > most) {
                fprintf(stderr, "ledger-stress: %s is no number from %d to %d\n", text, least,
                        most);
                exit(64);
        }
        return (int)value;
}

static Options parse(int argc, char **argv) {
        enum { MANY = 1000 * 1000 };
        Options o = {.seconds = 8,
                     .sessions = 12,
                     .hosts = 15,
                     .fleet = 3,
                     .cooldown_ms = 400,
                     .fuse = 20,
                     .budget = 8,
                     .lose = 150,
                     .kill_ms = 200,
                     .seed = 1,
                     .least = 1};
        const struct {
                int *value;
                int least, most;
        } numbers[] = {{&o.seconds, 1, MANY},     {&o.sessions, 1, SESSIONS_MAX},
                       {&o.hosts, GROUPED, MANY}, {&o.fleet, 0, MANY},
                       {&o.cooldown_ms, 0, MANY}, {&o.fuse, 0, MANY},
                       {&o.budget, 0, MANY},      {&o.lose, 0, MANY},
                       {&o.kill_ms, 0, MANY},     {&o.seed, 1, MANY},
                       {&o.least, 0, MANY}};
        enum { PLANT = sizeof(numbers) / sizeof(numbers[0]), HELP };
        static const struct option known[] = {{"seconds", 1, NULL, 0},  {"sessions", 1, NULL, 1},
                                              {"hosts", 1, NULL, 2},    {"fleet", 1, NULL, 3},
                                              {"cooldown", 1, NULL, 4}, {"fuse", 1, NULL, 5},
                                              {"budget", 1, NULL, 6},   {"lose", 1, NULL, 7},
                                              {"kill", 1, NULL, 8},     {"seed", 1, NULL, 9},
                                              {"least", 1, NULL, 10},   {"plant", 1, NULL, PLANT},
                                              {"help", 0, NULL, HELP},  {NULL, 0, NULL, 0}};
        for (int c; (c = getopt_long(argc, argv, "", known, NULL)) != -1;) {
                if (c == HELP) {
                        fputs(usage, stdout);
                        exit(0);
                } else if (c == PLANT) {
                        o.plant = optarg;
                } else if (c < PLANT) {
                        *numbers[c].value = number(optarg, numbers[c].least, numbers[c].most);
                } else {
                        exit(64);
                }
        }
        if (optind < argc) {
                fputs(usage, stderr);
                exit(64);
        }
        return o;
}

/* --- the database ------------------------------------------------------------------------- */

static PGconn *connect_to(const char *dsn) {
        PGconn *connection = PQconnectdb(dsn);
        if (PQstatus(connection) != CONNECTION_OK) {
                fprintf(stderr, "%s", PQerrorMessage(connection));
                exit(1);
        }
        return connection;
}

/* The first value of a statement that must succeed; "" without one. Not kept. */
static const char *ask(PGconn *connection, const char *sql) {
        static _Thread_local char value[128];
        PGresult *result = PQexec(connection, sql);
        ExecStatusType status = PQresultStatus(result);
        if (status != PGRES_COMMAND_OK && status != PGRES_TUPLES_OK) {
                fprintf(stderr, "%s\n%s", sql, PQerrorMessage(connection));
                exit(1);
        }
        snprintf(value, sizeof(value), "%s", PQntuples(result) > 0 ? PQgetvalue(result, 0, 0) : "");
        PQclear(result);
        return value;
}

static void make_database(const char *server, const Options *o, char *dsn, size_t size) {
        char *error = NULL;
        PGconn *connection = connect_to(server);
        ask(connection, "SET client_min_messages = error");
        ask(connection, "DROP DATABASE IF EXISTS " DATABASE " WITH (FORCE)");
        ask(connection, "CREATE DATABASE " DATABASE);
        PQfinish(connection);
        snprintf(dsn, size, "%s dbname=" DATABASE, server);
        if (schema_init(dsn, NULL, "ackd", NULL, &error) != 0) {
                fprintf(stderr, "%s\n", error != NULL ? error : "no memory");
                exit(1);
        }
        if (o->plant != NULL) {
                connection = connect_to(dsn);
                ask(connection, "SET search_path = ackd");
                ask(connection, o->plant);
                PQfinish(connection);
        }
}

/* --- the troublemaker --------------------------------------------------------------------- */

typedef struct Trouble {
        World *world;
        const char *dsn;
        int kill_ms;
        uint64_t random;
        PGconn *connection;
        int64_t kill_at, hold_at, lift_at; /* CLOCK_BOOTTIME */
        size_t hold;                       /* in the journal */
        bool holding;
} Trouble;

static void kill_one(Trouble *trouble) {
        const char *killed = ask(
                trouble->connection,
                "SELECT count(pg_terminate_backend(pid)) FROM (SELECT pid FROM pg_stat_activity "
                "WHERE application_name = 'ackd stress' ORDER BY (state = 'active') DESC, "
                "random() LIMIT 1) a");
        if (strcmp(killed, "1") == 0) {
                world_count(trouble->world, FIGURE_KILLED);
        }
}

/* A person's hold on one host. */
static void hold_one(Trouble *trouble) {
        char name[HOST_NAME_SIZE], sql[256];
        int host = (int)random_below(&trouble->random, (unsigned)trouble->world->rules.hosts);
        world_host_name(host, name);
        snprintf(sql, sizeof(sql), "INSERT INTO holds (pattern, why, who) VALUES ('%s', 'x', 'x')",
                 name);
        ask(trouble->connection, sql);
        trouble->hold = journal_hold(&trouble->world->journal,
                                     &(JournalHold){.host = host, .began_us = ledger_clock()});
        trouble->holding = true;
        world_count(trouble->world, FIGURE_HOLDS);
}

static void lift_one(Trouble *trouble) {
        int64_t before = ledger_clock();
        ask(trouble->connection, "UPDATE holds SET lifted_at = clock_timestamp(), lifted_by = 'x' "
                                 "WHERE NOT fuse AND lifted_at IS NULL");
        journal_lift(&trouble->world->journal, trouble->hold, before, ledger_clock());
        trouble->holding = false;
}

/* The fuse's hold stands for a while, then a person lifts it. */
static void lift_the_fuse(Trouble *trouble) {
        if (strcmp(ask(trouble->connection,
                       "SELECT count(*) FROM holds WHERE fuse AND lifted_at IS NULL"),
                   "0") == 0) {
                return;
        }
        size_t hold =
                journal_hold(&trouble->world->journal,
                             &(JournalHold){.host = -1, .began_us = ledger_clock(), .fuse = true});
        usleep(150 * MS);
        int64_t before = ledger_clock();
        const char *lifted = ask(
                trouble->connection,
                "WITH l AS (UPDATE holds SET lifted_at = clock_timestamp(), lifted_by = 'x' WHERE "
                "fuse AND lifted_at IS NULL RETURNING 1) SELECT count(*) FROM l");
        if (strcmp(lifted, "1") != 0) {
                world_count(trouble->world, FIGURE_WRONG);
                printf("WRONG: the fuse made %s holds at a time\n", lifted);
        }
        journal_lift(&trouble->world->journal, hold, before, ledger_clock());
}

static void *trouble_run(void *user) {
        Trouble *trouble = user;
        trouble->connection = connect_to(trouble->dsn);
        ask(trouble->connection, "SET search_path = ackd");
        while (!atomic_load(&trouble->world->stop)) {
                int64_t now = ledger_clock();
                if (trouble->kill_ms > 0 && now >= trouble->kill_at) {
                        kill_one(trouble);
                        trouble->kill_at = now + (int64_t)trouble->kill_ms * MS;
                }
                if (!trouble->holding && now >= trouble->hold_at) {
                        hold_one(trouble);
                        trouble->lift_at = now + 400 * MS;
                } else if (trouble->holding && now >= trouble->lift_at) {
                        lift_one(trouble);
                        trouble->hold_at = now + 600 * MS;
                }
                lift_the_fuse(trouble);
                usleep(20 * MS);
        }
        PQfinish(trouble->connection);
        return NULL;
}

/* --- after it ----------------------------------------------------------------------------- */

/* Journal and ledger agree: each start has its row, which says that it started; a confirmed end is
 * the row's, but for an unknown that was corrected. */
static unsigned compare(const World *world, const char *dsn) {
        PGconn *connection = connect_to(dsn);
        unsigned wrong = 0;
        for (size_t i = 0; i < world->journal.n_starts; i++) {
                const JournalStart *start = &world->journal.starts[i];
                char sql[256], name[HOST_NAME_SIZE];
                world_host_name(start->host, name);
                snprintf(sql, sizeof(sql),
                         "SELECT state FROM ackd.restarts WHERE id = %lld AND host = '%s' AND "
                         "\"offset\" = %lld AND started_at IS NOT NULL",
                         (long long)start->id, name, (long long)start->offset);
                const char *state = ask(connection, sql);
                const char *told = ledger_state_name(start->outcome);
                bool corrected = start->outcome == LEDGER_STATE_UNKNOWN &&
                                 (strcmp(state, "done") == 0 || strcmp(state, "failed") == 0);
                if (state[0] == '\0' ||
                    (told[0] != '\0' && strcmp(told, state) != 0 && !corrected)) {
                        printf("BROKEN: restart %lld of host %d ended \"%s\", its row says "
                               "\"%s\"\n",
                               (long long)start->id, start->host, told, state);
                        wrong++;
                }
        }
        printf("%s rows of restarts, of them unknown: ",
               ask(connection, "SELECT count(*) FROM ackd.restarts"));
        printf("%s; granted and never used: ",
               ask(connection, "SELECT count(*) FROM ackd.restarts WHERE state = 'unknown'"));
        printf("%d; messages with two ends: ",
               atoi(ask(connection, "SELECT count(*) FROM ackd.restarts WHERE started_at IS NOT "
                                    "NULL AND shared_with IS NULL")) -
                       (int)world->journal.n_starts);
        const char *twice = ask(connection, "SELECT count(*) FROM (SELECT FROM ackd.restarts WHERE "
                                            "state = 'done' GROUP BY source, \"offset\" HAVING "
                                            "count(*) > 1) t");
        printf("%s\n", twice);
        PQfinish(connection);
        return wrong;
}

static void report(World *world, const Proxy *proxy, double seconds) {
        static const char *const names[FIGURE_COUNT] = {
                [FIGURE_STARTS] = "starts",
                [FIGURE_RENEWED] = "grants whose reply was lost, and that came again",
                [FIGURE_LOST] = "lost replies",
                [FIGURE_OUTAGES] = "outages",
                [FIGURE_KILLED] = "killed backends",
                [FIGURE_DIED_IN_CLAIM] = "deaths in a claim",
                [FIGURE_DIED_GRANTED] = "deaths between grant and start",
                [FIGURE_DIED_RUNNING] = "deaths between start and end",
                [FIGURE_DIED_ACTED] = "deaths between acted and verified",
                [FIGURE_TOO_LATE] = "grants that were too old",
                [FIGURE_DONE] = "done",
                [FIGURE_FAILED] = "failed",
                [FIGURE_NOT_STARTED] = "not started",
                [FIGURE_UNKNOWN] = "unknown",
                [FIGURE_VERIFIED_LATER] = "verified by a successor",
                [FIGURE_RESOLVED_UNKNOWN] = "unknowns that were decided",
                [FIGURE_SHARED] = "messages that shared",
                [FIGURE_SUPPRESSED] = "suppressed",
                [FIGURE_REJECTED] = "rejected",
                [FIGURE_WAITS] = "waits",
                [FIGURE_FUSE] = "blown fuses",
                [FIGURE_HOLDS] = "holds",
                [FIGURE_WRONG] = "wrong answers",
        };
        printf("%.1f s, seed %llu, %llu instances, %u connections cut\n", seconds,
               (unsigned long long)world->seed,
               (unsigned long long)atomic_load(&world->incarnations), proxy_cuts(proxy));
        for (int i = 0; i < FIGURE_COUNT; i++) {
                printf("%8u %s\n", atomic_load(&world->figures[i]), names[i]);
        }
        printf("reasons:");
        for (int i = 1; i < LEDGER_REASON_COUNT; i++) {
                printf(" %s %u", ledger_reason_name((LedgerReason)i),
                       atomic_load(&world->reasons[i]));
        }
        printf("\n");
}

static void set_rules(JournalRules *rules, const Options *o) {
        *rules = (JournalRules){
                .hosts = o->hosts,
                .grouped = GROUPED,
                .group = {"host[0-2]", 1, 100 * MS},
                .policy = {.action = "exec",
                           .cooldown_us = (int64_t)o->cooldown_ms * MS,
                           .max_age_us = 10 * SECOND,
                           .max_wait_us = 5 * SECOND,
                           .start_within_us = 80 * MS,
                           .hold_us = 200 * MS,
                           .host_restarts = o->budget,
                           .host_period_us = 5 * SECOND,
                           .fleet = o->fleet,
                           .fuse_restarts = o->fuse,
                           .fuse_period_us = 2 * SECOND},
                /* The wall clock may be slewed against CLOCK_BOOTTIME, by 0.05 % at most. */
                .tolerance_us = 2 * MS};
}

/* Everybody for so long. */
static void run(World *world, const Options *o, const char *dsn) {
        Trouble trouble = {.world = world,
                           .dsn = dsn,
                           .kill_ms = o->kill_ms,
                           .random = world->seed + 7};
        pthread_t threads[SESSIONS_MAX], troublemaker;
        if (pthread_create(&troublemaker, NULL, trouble_run, &trouble) != 0) {
                die("pthread_create");
        }
        for (int i = 0; i < o->sessions; i++) {
                SessionArguments *arguments = malloc(sizeof(*arguments));
                if (arguments == NULL) {
                        die("malloc");
                }
                *arguments = (SessionArguments){world, i};
                if (pthread_create(&threads[i], NULL, session_run, arguments) != 0) {
                        die("pthread_create");
                }
        }
        sleep((unsigned)o->seconds);
        atomic_store(&world->stop, true);
        for (int i = 0; i < o->sessions; i++) {
                pthread_join(threads[i], NULL);
        }
        pthread_join(troublemaker, NULL);
}

int main(int argc, char **argv) {
        Options o = parse(argc, argv);
        const char *server = getenv("ACKD_TEST_DSN");
        if (server == NULL || server[0] == '\0') {
                fprintf(stderr, "ACKD_TEST_DSN is not set; scripts/ledger-stress does it\n");
                return 1;
        }
        setvbuf(stdout, NULL, _IOLBF, 0);
        static World world;
        char dsn[512];
        make_database(server, &o, dsn, sizeof(dsn));
        Proxy *proxy = proxy_new(dsn, (unsigned)o.lose, (uint64_t)o.seed);
        world.seed = (uint64_t)o.seed;
        set_rules(&world.rules, &o);
        /* The last of two settings counts. */
        snprintf(world.dsn, sizeof(world.dsn), "%.300s host=%s port=5432", dsn, proxy_host(proxy));
        world_init(&world, (size_t)(4 * o.hosts));

        int64_t began = ledger_clock();
        run(&world, &o, dsn);
        double seconds = (double)(ledger_clock() - began) / SECOND;
        report(&world, proxy, seconds);
        proxy_free(proxy);

        unsigned broken = journal_judge(&world.journal, &world.rules) + compare(&world, dsn);
        unsigned wrong = atomic_load(&world.figures[FIGURE_WRONG]);
        bool idle = world.journal.n_starts < (size_t)o.least;
        printf("%u promises broken, %u wrong answers%s\n", broken, wrong,
               idle ? ", too few starts" : "");
        world_deinit(&world);
        return broken > 0 || wrong > 0 || idle;
}
