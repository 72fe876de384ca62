/* Checks that are requests. */

#include "http-server.h"

#include "checks-world.h"

#define ANSWER(status, body) "HTTP/1.1 " status "\r\nConnection: close\r\n\r\n" body

static Server server;
static HttpOptions http;
static char url[128];

static int setup(void **state) {
        http = (HttpOptions){.request = {.method = "GET", .url = url, .body = ""},
                             .timeout_us = 10 * SECOND,
                             .connect_timeout_us = 10 * SECOND,
                             .ca_file = "",
                             .cert_file = "",
                             .key_file = "",
                             .user = "",
                             .password_file = "",
                             .bearer_file = ""};
        server = (Server){0};
        return world_setup(state);
}

static int teardown(void **state) {
        World *world = *state;
        checks_free(world->checks);
        world->checks = NULL;
        server_stop(&server);
        resolver_release();
        /* The thread of a look-up that was given up closes its own when it ends. */
        int64_t until = loop_now() + 10 * SECOND;
        while (count_fds() > world->fds + 3 && loop_now() < until) {
                usleep(MS);
        }
        return world_teardown(state);
}

static void serve(void (*how)(Connection *), const char *answer) {
        server_stop(&server);
        server_start(&server, how, answer, NULL);
        snprintf(url, sizeof(url), "http://{{host}}:%d/boot-id", server.port);
}

static const ActionRequest loopback = {.run = 1, .host = "web1.test", .id = "r-1", .attempt = 1};

static const End *before(World *world) {
        world_before(world, &loopback);
        world_run(world, world->n + 1);
        return &world->ends[world->n - 1];
}

static const End *verify(World *world, const char *text, int64_t deadline_us) {
        assert_int_equal(checks_verify(world->checks, &loopback, text, deadline_us, on_verified,
                                       world),
                         0);
        world_run(world, world->n + 1);
        return &world->ends[world->n - 1];
}

/* The end of the connection is that of the body. */
static void serve_to_the_end(Connection *connection) {
        if (server_read_request(connection)) {
                (void)server_say(connection, connection->server->answer);
        }
}

/* The port is new with each server, so are the checks. */
static void make(World *world) {
        checks_free(world->checks);
        world_make(world);
}

static void test_precheck(void **state) {
        static const int go[] = {200}, not_needed[] = {404}, wait[] = {503};
        static const struct {
                void (*how)(Connection *);
                const char *answer;
                int result;
                const char *detail, *event;
        } cases[] = {
                {serve_to_the_end, ANSWER("200 OK", ""), CHECKED_GO, "precheck: HTTP 200",
                 "precheck.go"},
                /* It is the status that counts here. */
                {serve_to_the_end,
                 "HTTP/1.1 200 OK\r\nContent-Length: 9\r\nConnection: close\r\n\r\nx", CHECKED_GO,
                 "precheck: HTTP 200; its body was cut off: ", "precheck.go"},
                {serve_to_the_end, ANSWER("404 Not Found", "gone\n"), CHECKED_NOT_NEEDED,
                 "precheck: HTTP 404; last line of its output: gone", "precheck.not_needed"},
                {serve_to_the_end, ANSWER("503 Busy", "on call"), CHECKED_WAIT,
                 "precheck: HTTP 503; last line of its output: on call", "precheck.wait"},
                {serve_to_the_end, ANSWER("500 Oops", ""), CHECKED_WAIT, "precheck: HTTP 500",
                 "precheck.failed"},
                {serve_to_the_end, ANSWER("302 Found", ""), CHECKED_WAIT, "precheck: HTTP 302",
                 "precheck.failed"},
                {serve_to_the_end, ANSWER("700 What", ""), CHECKED_WAIT, "precheck: HTTP 700",
                 "precheck.failed"},
                {serve_close, "", CHECKED_WAIT,
                 "precheck: the request was sent, and no answer came: ", "precheck.failed"},
        };
        World *world = *state;
        captured.level = LOG_DEBUG;
        world->options.precheck.http = &http;
        world->options.go = (CheckStatuses){go, 1};
        world->options.not_needed = (CheckStatuses){not_needed, 1};
        world->options.wait = (CheckStatuses){wait, 1};
        for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
                serve(cases[i].how, cases[i].answer);
                make(world);
                captured.n = 0;
                const End *end = before(world);
                assert_int_equal(end->result, cases[i].result);
                if (strncmp(end->detail, cases[i].detail, strlen(cases[i].detail)) != 0) {
                        fail_msg("\"%s\"; expected \"%s\"", end->detail, cases[i].detail);
                }
                assert_string_equal(captured.lines[captured.n - 1].event, cases[i].event);
        }
}

static void test_nobody_answers(void **state) {
        World *world = *state;
        world->options.precheck.http = &http;
        serve(serve_answer, "");
        server_stop(&server);
        make(world);
        const End *end = before(world);
        assert_int_equal(end->result, CHECKED_WAIT);
        assert_non_null(strstr(end->detail, "Connection refused"));
}

static const int status_200[] = {200};

/* Only a body that came to its end can be compared: a part of the same one differs from it. */
static void test_verify(void **state) {
        static const struct {
                void (*how)(Connection *);
                const char *answer;
                int result;
        } cases[] = {
                {serve_answer, "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n5d2c\n", VERIFIED_SAME},
                {serve_answer, "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n77aa\n",
                 VERIFIED_PASSED},
                {serve_answer,
                 "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\n77aa\r\n0\r\n\r\n",
                 VERIFIED_PASSED},
                {serve_half, "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n5d", VERIFIED_FAILED},
                {serve_half, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n5d\r\n",
                 VERIFIED_FAILED},
                {serve_half, "HTTP/1.1 200 OK\r\n\r\n5d", VERIFIED_FAILED},
                {serve_to_the_end, "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\n5d",
                 VERIFIED_FAILED},
                {serve_to_the_end, "HTTP/1.1 200 OK\r\n\r\n5d2c", VERIFIED_SAME},
                {serve_answer, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", VERIFIED_FAILED},
                {serve_answer, "HTTP/1.1 503 Busy\r\nContent-Length: 4\r\n\r\nbusy",
                 VERIFIED_FAILED},
                {serve_hang, "", VERIFIED_FAILED},
        };
        World *world = *state;
        http.timeout_us = 300 * MS;
        world->options.verify.http = &http;
        world->options.done = (CheckStatuses){status_200, 1};
        for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
                serve(cases[i].how, cases[i].answer);
                make(world);
                const End *end = verify(world, "5d2c", 0);
                if (end->result != cases[i].result) {
                        fail_msg("%zu: %d: %s", i, end->result, end->detail);
                }
        }
}

/* Cut off by the server's close, before the length that it announced. */
static void test_a_body_that_is_cut_off(void **state) {
        World *world = *state;
        world->options.verify.http = &http;
        world->options.done = (CheckStatuses){status_200, 1};
        serve(serve_answer, "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n5d2c");
        http.timeout_us = 200 * MS;
        make(world);
        const End *end = before(world);
        assert_int_equal(end->result, CHECKED_GO);
        assert_false(end->has_text);
        assert_non_null(strstr(end->detail, "before: HTTP 200; its body did not end in 0.2 s"));
}

static void serve_boot_id(Connection *connection) {
        connection->server->answer = connection->number < 2
                                             ? "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nold"
                                             : "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nnew";
        serve_answer(connection);
}

static void test_the_boot_id_changes(void **state) {
        World *world = *state;
        world->options.verify.http = &http;
        world->options.done = (CheckStatuses){status_200, 1};
        serve(serve_boot_id, "");
        make(world);
        const End *end = before(world);
        expect(end, CHECKED_GO, "old", "before: it says \"old\"");
        end = verify(world, end->text, 20 * SECOND);
        expect(end, VERIFIED_PASSED, "new", "look 2 says \"new\", before: \"old\"");
}

static void test_cancel(void **state) {
        World *world = *state;
        world->options.precheck.http = &http;
        world->options.verify.http = &http;
        serve(serve_hang, "");
        make(world);
        world_before(world, &loopback);
        assert_int_equal(checks_verify(world->checks, &loopback, "x", 0, on_verified, world), 0);
        int64_t until = loop_now() + DEADLINE;
        while (server_requests(&server) < 2) {
                ev_run(world->loop.ev, EVRUN_NOWAIT);
                assert_true(loop_now() < until);
        }
        checks_cancel(world->checks);
        assert_int_equal(world->n, 0);
        world_run(world, 2);
        for (size_t i = 0; i < 2; i++) {
                assert_int_equal(world->ends[i].result, world->ends[i].verify
                                                                ? (int)VERIFIED_CANCELLED
                                                                : (int)CHECKED_CANCELLED);
        }
}

static void test_cut_off_at_the_deadline_and_freed(void **state) {
        World *world = *state;
        world->options.verify.http = &http;
        serve(serve_hang, "");
        make(world);
        const End *end = verify(world, "x", 300 * MS);
        expect(end, VERIFIED_FAILED, NULL, "look 1 did not end by the deadline");
}

int main(void) {
#define TEST(function) cmocka_unit_test_setup_teardown(function, setup, teardown)
        const struct CMUnitTest tests[] = {
                TEST(test_precheck),
                TEST(test_nobody_answers),
                TEST(test_verify),
                TEST(test_a_body_that_is_cut_off),
                TEST(test_the_boot_id_changes),
                TEST(test_cancel),
                TEST(test_cut_off_at_the_deadline_and_freed),
        };
        return cmocka_run_group_tests(tests, NULL, NULL);
}
