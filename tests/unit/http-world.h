#pragma once

/* What the tests of the action http share: a loop, an action, what ended, and no descriptor that
 * stays behind. */

#include "http-server.h"

#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <time.h>

#include "capture.h"
#include "fds.h"
#include "handlers/actions/http.h"

enum {
        MS = 1000,
        SECOND = 1000000,
        DEADLINE = 30 * SECOND, /* of a test that hangs */
};

#define OK "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"

typedef struct Ended {
        Outcome outcome;
        bool charged;
        int status;
        char detail[ACTION_DETAIL_MAX];
        char output[8192]; /* with a NUL */
        size_t output_size;
        int64_t duration_us;
        int64_t begun_after_us;
        int64_t retry_after_us;
} Ended;

typedef struct World {
        Loop loop;
        Action *action;
        HttpOptions options;
        char url[256];
        Server server;
        LoopTimer deadline;
        size_t wanted;
        size_t n;
        size_t outcomes[OUTCOME_COUNT];
        size_t fds;
        int64_t slowest_us;
        struct rlimit limit;
        Ended last;
} World;

static const ActionRequest plain = {.run = 1,
                                    .host = "web1.example.com",
                                    .id = "r-1",
                                    .attempt = 1};
static const int status_done[] = {200, 202, 204}, status_not_started[] = {429, 503};

static inline void on_world_deadline(LoopTimer *timer) {
        (void)timer;
        fail_msg("the loop did not stop");
}

static inline void on_world_slow(void *user, const char *name, int64_t duration_us) {
        World *world = user;
        (void)name;
        world->slowest_us = duration_us > world->slowest_us ? duration_us : world->slowest_us;
}

static inline int world_setup(void **state) {
        static World world;
        world = (World){.options = {.request = {.method = "POST", .body = ""},
                                    .timeout_us = 10 * SECOND,
                                    .connect_timeout_us = 10 * SECOND,
                                    .done = {status_done, 3},
                                    .not_started = {status_not_started, 2},
                                    .ca_file = "",
                                    .cert_file = "",
                                    .key_file = "",
                                    .user = "",
                                    .password_file = "",
                                    .bearer_file = "",
                                    .output_bytes = 4096}};
        memset(&captured, 0, sizeof(captured));
        getrlimit(RLIMIT_NOFILE, &world.limit);
        world.fds = count_fds();
        *state = &world;
        if (loop_init(&world.loop) != 0) {
                return -1;
        }
        world.loop.slow = on_world_slow;
        world.loop.slow_user = &world;
        world.loop.slow_us = 1;
        loop_timer_init(&world.deadline, &world.loop, "deadline", on_world_deadline);
        return 0;
}

static inline void world_free_action(World *world) {
        if (world->action != NULL) {
                world->action->interface->free(world->action);
                world->action = NULL;
        }
}

static inline int world_teardown(void **state) {
        World *world = *state;
        setrlimit(RLIMIT_NOFILE, &world->limit);
        world_free_action(world);
        server_stop(&world->server);
        resolver_release();
        loop_timer_stop(&world->deadline);
        loop_deinit(&world->loop);
        /* The thread of a look-up that was given up closes its own when it ends. */
        int64_t until = loop_now() + 10 * SECOND;
        while (count_fds() != world->fds && loop_now() < until) {
                usleep(MS);
        }
        return count_fds() == world->fds ? 0 : -1;
}

/* The action for the server (or a name in front of its port). */
static inline void world_make(World *world, const char *scheme, const char *name) {
        if (scheme != NULL) {
                snprintf(world->url, sizeof(world->url), "%s://%s:%d/reset", scheme, name,
                         world->server.port);
                world->options.request.url = world->url;
        }
        Buffer why = BUFFER_INIT;
        assert_int_equal(http_new(&world->action, &world->loop, NULL, &world->options, &why), 0);
        buffer_deinit(&why);
        assert_string_equal(world->action->interface->name, "http");
}

static inline void on_world_end(void *user, const ActionResult *result) {
        World *world = user;
        Ended *last = &world->last;
        *last = (Ended){.outcome = result->outcome,
                        .charged = result->charged,
                        .status = result->status,
                        .output_size = result->output_size,
                        .duration_us = result->duration_us,
                        .begun_after_us = result->begun_after_us,
                        .retry_after_us = result->retry_after_us};
        snprintf(last->detail, sizeof(last->detail), "%s", result->detail);
        assert_true(result->output_size < sizeof(last->output));
        memcpy(last->output, result->output != NULL ? result->output : (const uint8_t *)"",
               result->output_size);
        world->outcomes[result->outcome]++;
        world->n++;
        /* Whatever happened: what "did not start" has shown nothing to anybody, unless the endpoint
         * says so itself. */
        if (result->outcome == OUTCOME_NOT_STARTED && result->status < 0 &&
            world->server.serve != NULL && world->wanted == 1) {
                assert_int_equal(server_bytes(&world->server), 0);
        }
        if (world->n >= world->wanted) {
                loop_stop(&world->loop);
        }
}

static inline void world_start(World *world, const ActionRequest *request) {
        size_t before = world->n;
        assert_int_equal(world->action->interface->start(world->action, request, on_world_end,
                                                         world),
                         0);
        assert_int_equal(world->n, before);
}

static inline void world_run(World *world, size_t wanted) {
        world->wanted = wanted;
        loop_timer_set(&world->deadline, DEADLINE);
        loop_run(&world->loop);
        loop_timer_stop(&world->deadline);
        assert_int_equal(world->n, wanted);
}

/* One request to its end. */
static inline void world_once(World *world) {
        size_t n = world->n;
        world->wanted = n + 1;
        world_start(world, &plain);
        world_run(world, n + 1);
        assert_int_equal(world->action->running, 0);
}

/* Turns the loop until the endpoint has read so many requests, and so many look-ups hang. */
static inline void world_turn(World *world, int requests, int hanging) {
        int64_t until = loop_now() + DEADLINE;
        while (server_requests(&world->server) < requests || resolver_count() < hanging) {
                ev_run(world->loop.ev, EVRUN_NOWAIT);
                assert_true(loop_now() < until);
        }
}

/* What the operator and the engine see of it. */
static inline void world_expect(World *world, Outcome outcome, bool charged, int status,
                                const char *detail) {
        const Ended *last = &world->last;
        if (last->outcome != outcome || last->status != status ||
            strstr(last->detail, detail) == NULL) {
                fail_msg("%s, status %d: \"%s\"; expected %s, %d: \"%s\"",
                         outcome_name(last->outcome), last->status, last->detail,
                         outcome_name(outcome), status, detail);
        }
        assert_int_equal(last->charged, charged);
}

static inline void write_text(const char *path, const char *text) {
        FILE *file = fopen(path, "w");
        assert_non_null(file);
        assert_true(fputs(text, file) >= 0);
        assert_int_equal(fclose(file), 0);
}
