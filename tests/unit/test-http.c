/* Real connections to an endpoint that does everything an endpoint can do wrong. */

#include "http-world.h"

static void begin(World *world, void (*serve)(Connection *), const char *answer) {
        server_start(&world->server, serve, answer, NULL);
        world_make(world, "http", "127.0.0.1");
}

/* One answer, one request. */
static void answer(World *world, const char *text) {
        begin(world, serve_answer, text);
        world_once(world);
        assert_int_equal(server_requests(&world->server), 1);
        assert_int_equal(world->server.accepted, 1);
}

static void test_statuses(void **state) {
        World *world = *state;
        static const struct {
                int status;
                Outcome outcome;
        } table[] = {
                {200, OUTCOME_DONE},    {202, OUTCOME_DONE},        {204, OUTCOME_DONE},
                {201, OUTCOME_FAILED},  {301, OUTCOME_FAILED},      {304, OUTCOME_FAILED},
                {400, OUTCOME_FAILED},  {401, OUTCOME_FAILED},      {404, OUTCOME_FAILED},
                {409, OUTCOME_FAILED},  {429, OUTCOME_NOT_STARTED}, {500, OUTCOME_UNKNOWN},
                {502, OUTCOME_UNKNOWN}, {503, OUTCOME_NOT_STARTED}, {504, OUTCOME_UNKNOWN},
                {599, OUTCOME_UNKNOWN}, {999, OUTCOME_UNKNOWN},
        };
        char text[128] = "", detail[32];
        begin(world, serve_answer, text);
        for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
                int status = table[i].status;
                bool bare = status == 204 || status == 304;
                snprintf(text, sizeof(text), "HTTP/1.1 %d Whatever\r\n%s", status,
                         bare ? "\r\n" : "Content-Length: 4\r\n\r\nbody");
                snprintf(detail, sizeof(detail), "HTTP %d", status);
                world_once(world);
                world_expect(world, table[i].outcome, true, status, detail);
                assert_string_equal(world->last.detail, detail);
                assert_string_equal(world->last.output, bare ? "" : "body");
                assert_int_equal(world->last.retry_after_us, 0);
                assert_int_equal(server_requests(&world->server), i + 1);
                assert_int_equal(world->server.accepted, i + 1); /* a connection each */
        }
}

static void test_listed_statuses(void **state) {
        World *world = *state;
        static const int done[] = {409, 500}, unknown[] = {404}, failed[] = {501, 503},
                         not_started[] = {423};
        static const struct {
                int status;
                Outcome outcome;
        } table[] = {{409, OUTCOME_DONE},   {500, OUTCOME_DONE},        {404, OUTCOME_UNKNOWN},
                     {501, OUTCOME_FAILED}, {423, OUTCOME_NOT_STARTED}, {503, OUTCOME_FAILED},
                     {200, OUTCOME_FAILED}, {502, OUTCOME_UNKNOWN}};
        char text[128] = "";
        world->options.done = (HttpStatuses){done, 2};
        world->options.unknown = (HttpStatuses){unknown, 1};
        world->options.failed = (HttpStatuses){failed, 2};
        world->options.not_started = (HttpStatuses){not_started, 1};
        begin(world, serve_answer, text);
        for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
                snprintf(text, sizeof(text), "HTTP/1.1 %d X\r\nContent-Length: 0\r\n\r\n",
                         table[i].status);
                world_once(world);
                world_expect(world, table[i].outcome, true, table[i].status, "");
        }
}

static void test_retry_after(void **state) {
        World *world = *state;
        static const struct {
                const char *text;
                int64_t seconds;
        } table[] = {
                {"HTTP/1.1 429 X\r\nRetry-After: 30\r\n", 30},
                {"HTTP/1.1 503 X\r\nretry-after:  7\r\n", 7},
                {"HTTP/1.1 503 X\r\nRetry-After: Fri, 01 Jan 2100 00:00:00 GMT\r\n", 86400},
                {"HTTP/1.1 503 X\r\nRetry-After: 99999999999\r\n", 86400},
                {"HTTP/1.1 503 X\r\nRetry-After: Fri, 01 Jan 1999 00:00:00 GMT\r\n", 0},
                {"HTTP/1.1 503 X\r\nRetry-After: -5\r\n", 0},
                {"HTTP/1.1 503 X\r\nRetry-After: soon\r\n", 0},
                {"HTTP/1.1 503 X\r\n", 0},
                /* Only what surely did not start is tried again by itself. */
                {"HTTP/1.1 500 X\r\nRetry-After: 30\r\n", 0},
                {"HTTP/1.1 200 X\r\nRetry-After: 30\r\n", 0},
        };
        char text[256] = "";
        begin(world, serve_answer, text);
        for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
                snprintf(text, sizeof(text), "%sContent-Length: 0\r\n\r\n", table[i].text);
                world_once(world);
                assert_int_equal(world->last.retry_after_us, table[i].seconds * SECOND);
        }
        time_t soon = time(NULL) + 100;
        struct tm utc;
        char date[64];
        strftime(date, sizeof(date), "%a, %d %b %Y %H:%M:%S GMT", gmtime_r(&soon, &utc));
        snprintf(text, sizeof(text),
                 "HTTP/1.1 429 X\r\nRetry-After: %s\r\nContent-Length: 0\r\n\r\n", date);
        world_once(world);
        assert_in_range(world->last.retry_after_us, 60 * SECOND, 100 * SECOND);
        world_expect(world, OUTCOME_NOT_STARTED, true, 429, "HTTP 429, try again after ");
}

static void test_refused(void **state) {
        World *world = *state;
        int fd = server_bind(&world->server.port);
        world_make(world, "http", "127.0.0.1");
        world_once(world);
        world_expect(world, OUTCOME_NOT_STARTED, true, -1, "Connection refused");
        close(fd);
}

static void test_no_such_name(void **state) {
        World *world = *state;
        begin(world, serve_answer, OK);
        world_free_action(world);
        world->options.request.url = "http://missing.test/";
        world_make(world, NULL, NULL);
        world_once(world);
        world_expect(world, OUTCOME_NOT_STARTED, true, -1, "Could not resolve host: missing.test");
}

/* The cool-down of a host counts from when the request left, not from when its name was asked for.
 */
static void test_when_it_left(void **state) {
        World *world = *state;
        char url[64];
        begin(world, serve_answer, OK);
        world_once(world);
        assert_in_range(world->last.begun_after_us, 0, world->last.duration_us);
        world_free_action(world);
        snprintf(url, sizeof(url), "http://slow.test:%d/", world->server.port);
        world->options.request.url = url;
        world_make(world, NULL, NULL);
        world_once(world);
        world_expect(world, OUTCOME_DONE, true, 200, "HTTP 200");
        assert_in_range(world->last.begun_after_us, 100 * MS, world->last.duration_us);
        world_free_action(world);
        world->options.request.url = "http://missing.test/";
        world_make(world, NULL, NULL);
        world_once(world);
        assert_int_equal(world->last.begun_after_us, 0);
}

static void test_name_that_hangs(void **state) {
        World *world = *state;
        world->options.request.url = "http://hang.test/";
        world->options.connect_timeout_us = 300 * MS;
        world_make(world, NULL, NULL);
        world_once(world);
        world_expect(world, OUTCOME_NOT_STARTED, true, -1, "timed out");
        assert_in_range(world->last.duration_us, 300 * MS, 5 * SECOND);
        world->options.connect_timeout_us = 10 * SECOND;
        world_free_action(world);
        assert_int_equal(resolver_count(), 1); /* still, and nobody waited for it */
        world->options.timeout_us = 300 * MS;
        world_make(world, NULL, NULL);
        world_once(world);
        world_expect(world, OUTCOME_NOT_STARTED, true, -1, "timed out after 0.3 s before");
        assert_true(world->slowest_us < SECOND);
}

static void test_hangs(void **state) {
        World *world = *state;
        world->options.timeout_us = 1 * SECOND;
        begin(world, serve_hang_unread, NULL);
        world_once(world);
        world_expect(world, OUTCOME_UNKNOWN, true, -1, "timed out after 1 s; the request was");
        server_stop(&world->server);
        world_free_action(world);
        begin(world, serve_hang, NULL);
        world_once(world);
        world_expect(world, OUTCOME_UNKNOWN, true, -1, "timed out after 1 s; the request was");
        assert_int_equal(server_requests(&world->server), 1);
}

static void test_closes_without_an_answer(void **state) {
        World *world = *state;
        begin(world, serve_close, NULL);
        world_once(world);
        world_expect(world, OUTCOME_UNKNOWN, true, -1,
                     "the request was sent, and no answer came: ");
        assert_int_equal(server_requests(&world->server), 1);
        assert_int_equal(world->server.accepted, 1); /* and not asked again */
}

static void serve_reset(Connection *connection) {
        const struct linger linger = {.l_onoff = 1};
        (void)server_read(connection);
        setsockopt(connection->fd, SOL_SOCKET, SO_LINGER, &linger, sizeof(linger));
}

static void test_resets(void **state) {
        World *world = *state;
        begin(world, serve_reset, NULL);
        world_once(world);
        world_expect(world, OUTCOME_UNKNOWN, true, -1, "reset");
        assert_int_equal(world->server.accepted, 1);
}

/* The larger part of the body finds no room, and then nobody. */
static void test_breaks_while_it_is_sent(void **state) {
        World *world = *state;
        char *body = malloc(1000001);
        memset(body, 'x', 1000000);
        body[1000000] = '\0';
        world->options.request.body = body;
        begin(world, serve_reset, NULL);
        world_once(world);
        world_expect(world, OUTCOME_UNKNOWN, true, -1,
                     "the request was sent, and no answer came: ");
        free(body);
}

/* A byte at a time, for as long as somebody reads. */
static void serve_trickle(Connection *connection) {
        if (!server_read_request(connection) ||
            !server_say(connection, connection->server->answer)) {
                return;
        }
        while (server_say(connection, "x")) {
                usleep(20 * MS); /* the pace, not a wait */
        }
}

static void test_trickles(void **state) {
        World *world = *state;
        world->options.timeout_us = 1 * SECOND;
        begin(world, serve_trickle, "HTTP/1.1 200 OK\r\nX-Slow: ");
        world_once(world);
        world_expect(world, OUTCOME_UNKNOWN, true, -1, "timed out");
        server_stop(&world->server);
        world_free_action(world);
        begin(world, serve_trickle, "HTTP/1.1 202 OK\r\nContent-Length: 99999\r\n\r\n");
        world_once(world);
        world_expect(world, OUTCOME_DONE, true, 202, "HTTP 202; its body did not end in 1 s");
        assert_int_equal(strspn(world->last.output, "x"), world->last.output_size);
}

static void serve_once(Connection *connection) {
        if (server_read_request(connection)) {
                (void)server_say(connection, connection->server->answer);
        }
}

static void test_lies_about_the_length(void **state) {
        World *world = *state;
        begin(world, serve_once, "HTTP/1.1 200 OK\r\nContent-Length: 999\r\n\r\nshort");
        world_once(world);
        world_expect(world, OUTCOME_DONE, true, 200, "HTTP 200; its body was cut off: ");
        assert_string_equal(world->last.output, "short");
        world->server.answer = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nlonger";
        world_once(world);
        world_expect(world, OUTCOME_DONE, true, 200, "HTTP 200");
        assert_string_equal(world->last.output, "lo");
        world->server.answer = "HTTP/1.1 500 X\r\nContent-Length: 999\r\n\r\nshort";
        world_once(world);
        world_expect(world, OUTCOME_UNKNOWN, true, 500, "HTTP 500; its body was cut off: ");
        world->server.answer = "HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n";
        world_once(world);
        world_expect(world, OUTCOME_UNKNOWN, true, -1, "Invalid Content-Length");
        world->server.answer = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n";
        world_once(world);
        world_expect(world, OUTCOME_DONE, true, 200, "HTTP 200; its body was cut off: ");
}

static void test_redirects(void **state) {
        World *world = *state;
        Server other;
        char text[128];
        server_start(&other, serve_answer, OK, NULL);
        snprintf(text, sizeof(text),
                 "HTTP/1.1 307 X\r\nLocation: http://127.0.0.1:%d/\r\nContent-Length: 0\r\n\r\n",
                 other.port);
        answer(world, text);
        world_expect(world, OUTCOME_FAILED, true, 307, "HTTP 307");
        assert_int_equal(other.accepted, 0);
        server_stop(&other);
}

static void serve_flood(Connection *connection) {
        char data[4096];
        memset(data, '\n', sizeof(data));
        memcpy(data, "X-Y: ", 5);
        memset(data + 5, 'z', sizeof(data) - 7);
        memcpy(data + sizeof(data) - 2, "\r\n", 2);
        if (server_read_request(connection) && server_say(connection, connection->server->answer)) {
                while (server_write(connection, data, sizeof(data))) {
                }
        }
}

static void test_floods(void **state) {
        World *world = *state;
        begin(world, serve_flood, "HTTP/1.1 200 OK\r\n\r\n");
        world_once(world);
        world_expect(world, OUTCOME_DONE, true, 200, "HTTP 200; its body is over 1 MiB");
        assert_in_range(world->last.output_size, 4096, 4096 + 64);
        assert_true(world->last.duration_us < 5 * SECOND);
        world->server.answer = "HTTP/1.1 200 OK\r\n";
        world_once(world);
        world_expect(world, OUTCOME_UNKNOWN, true, -1, "its headers do not end");
        world->server.answer = "HTTP/1.1 503 OK\r\n\r\n";
        world_once(world);
        world_expect(world, OUTCOME_NOT_STARTED, true, 503, "HTTP 503; its body is over 1 MiB");
}

static void test_garbage(void **state) {
        World *world = *state;
        static const char *const garbage[] = {
                "SSH-2.0-OpenSSH_9.2\r\n",
                "\x16\x03\x01\x02",
                "HTTP/9.9 200 OK\r\n\r\n",
                "HTTP/1.1 2x0 OK\r\n\r\n",
                "HTTP/1.1 200 OK", /* cut off before the headers' end */
                "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n",
                "HTTP/1.1 100 Continue\r\n\r\n",
                "\r\n\r\n",
        };
        begin(world, serve_once, NULL);
        for (size_t i = 0; i < sizeof(garbage) / sizeof(garbage[0]); i++) {
                world->server.answer = garbage[i];
                world_once(world);
                world_expect(world, OUTCOME_UNKNOWN, true, -1,
                             "the request was sent, and no answer");
        }
        assert_int_equal(world->server.accepted, 8);
        world->server.answer = "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Hints\r\n\r\n" OK;
        world_once(world);
        world_expect(world, OUTCOME_DONE, true, 200, "HTTP 200");
}

static void test_request(void **state) {
        World *world = *state;
        const HttpHeader headers[] = {{"X-Host", "{{host}}"}, {"X-Empty", ""}, {"X-Id", "{{id}}"}};
        world->options.request.headers = headers;
        world->options.request.n_headers = 3;
        world->options.request.body = "{\"host\": \"{{host.label}}\"}";
        server_start(&world->server, serve_answer, OK, NULL);
        char url[128];
        snprintf(url, sizeof(url), "http://{{host.label}}-bmc.test:%d/h/{{host}}?id={{id}}",
                 world->server.port);
        world->options.request.url = url;
        world_make(world, NULL, NULL);
        world_once(world);
        world_expect(world, OUTCOME_DONE, true, 200, "HTTP 200");
        char expected[512];
        snprintf(expected, sizeof(expected),
                 "POST /h/web1.example.com?id=r-1 HTTP/1.1\r\n"
                 "Host: web1-bmc.test:%d\r\n"
                 "User-Agent: ackd\r\n"
                 "Accept: */*\r\n"
                 "X-Host: web1.example.com\r\n"
                 "X-Empty:\r\n"
                 "X-Id: r-1\r\n"
                 "Content-Type: application/json\r\n"
                 "Content-Length: 16\r\n\r\n"
                 "{\"host\": \"web1\"}",
                 world->server.port);
        assert_string_equal(world->server.connections[0]->request, expected);
}

static void test_methods(void **state) {
        World *world = *state;
        static const struct {
                const char *method, *body, *begins, *has;
        } table[] = {{"POST", "", "POST /", "\r\nContent-Length: 0\r\n"},
                     {"PUT", "x", "PUT /", "\r\nContent-Length: 1\r\n\r\nx"},
                     {"PATCH", "x", "PATCH /", "\r\nContent-Length: 1\r\n\r\nx"},
                     {"DELETE", "", "DELETE /", "\r\nContent-Length: 0\r\n"},
                     {"GET", "", "GET /", "\r\nAccept: */*\r\n\r\n"}};
        server_start(&world->server, serve_answer, OK, NULL);
        for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
                world->options.request.method = table[i].method;
                world->options.request.body = table[i].body;
                world_make(world, "http", "127.0.0.1");
                world_once(world);
                world_expect(world, OUTCOME_DONE, true, 200, "HTTP 200");
                const char *request = world->server.connections[i]->request;
                assert_ptr_equal(strstr(request, table[i].begins), request);
                assert_non_null(strstr(request, table[i].has));
                assert_null(strcasestr(request, "Content-Type"));
                assert_null(strcasestr(request, "Expect"));
                world_free_action(world);
        }
}

static void test_poison(void **state) {
        World *world = *state;
        const ActionRequest address = {.host = "10.0.0.1", .attempt = 1};
        world->options.request.url = "http://{{host.label}}.test/";
        world_make(world, NULL, NULL);
        world->wanted = 1;
        world_start(world, &address);
        world_run(world, 1);
        world_expect(world, OUTCOME_POISON, true, -1,
                     "url: {{host.label}}: the host is an IP address, which has no label");
}

static void test_wrong_options(void **state) {
        World *world = *state;
        Buffer why = BUFFER_INIT;
        world->options.request.url = "http://{{hots}}/";
        assert_int_equal(http_new(&world->action, &world->loop, NULL, &world->options, &why),
                         HTTP_E_TEMPLATE);
        assert_null(world->action);
        assert_non_null(strstr(buffer_string(&why), "url: has an unknown placeholder {{hots}}"));
        buffer_deinit(&why);
}

static void test_fifty_at_once(void **state) {
        World *world = *state;
        begin(world, serve_answer, OK);
        world->server.wanted = 50; /* nobody is answered before all have asked */
        for (int i = 0; i < 50; i++) {
                world_start(world, &plain);
        }
        assert_int_equal(world->action->running, 50);
        world_run(world, 50);
        assert_int_equal(world->outcomes[OUTCOME_DONE], 50);
        assert_int_equal(server_requests(&world->server), 50);
        assert_int_equal(world->server.accepted, 50);
        assert_int_equal(world->action->running, 0);
}

static void test_no_proxy(void **state) {
        World *world = *state;
        setenv("http_proxy", "http://127.0.0.1:1", 1);
        setenv("all_proxy", "http://127.0.0.1:1", 1);
        answer(world, OK);
        world_expect(world, OUTCOME_DONE, true, 200, "HTTP 200");
        unsetenv("http_proxy");
        unsetenv("all_proxy");
}

static void test_secrets(void **state) {
        World *world = *state;
        char folder[] = "/tmp/test-http-XXXXXX", file[64];
        assert_non_null(mkdtemp(folder));
        snprintf(file, sizeof(file), "%s/secret", folder);
        world->options.user = "admin";
        world->options.password_file = file;
        begin(world, serve_answer, OK);
        write_text(file, "hunter2\n");
        world_once(world);
        assert_non_null(strstr(world->server.connections[0]->request,
                               "\r\nAuthorization: Basic YWRtaW46aHVudGVyMg==\r\n"));
        write_text(file, "other"); /* a new one counts at the next use */
        world_once(world);
        assert_non_null(strstr(world->server.connections[1]->request,
                               "\r\nAuthorization: Basic YWRtaW46b3RoZXI=\r\n"));
        static const struct {
                const char *text, *detail;
        } bad[] = {{"", "is empty"}, {"a\nb\n", "control character"}, {"\n", "is empty"}};
        for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
                write_text(file, bad[i].text);
                world_once(world);
                world_expect(world, OUTCOME_NOT_STARTED, false, -1, bad[i].detail);
        }
        unlink(file);
        world_once(world);
        world_expect(world, OUTCOME_NOT_STARTED, false, -1, "No such file");
        assert_non_null(strstr(world->last.detail, "auth.password_file: /tmp/"));
        assert_int_equal(mkfifo(file, 0600), 0); /* would hold up the loop */
        world_once(world);
        world_expect(world, OUTCOME_NOT_STARTED, false, -1, "is no regular file");
        unlink(file);
        assert_int_equal(world->server.accepted, 2);
        assert_int_equal(captured.n, 4); /* each reason once */
        assert_string_equal(captured.lines[0].event, "http.not_started");
        for (size_t i = 0; i < captured.n; i++) {
                assert_null(strstr(captured.lines[i].text, "hunter2"));
        }

        world_free_action(world);
        world->options.user = world->options.password_file = "";
        world->options.bearer_file = file;
        assert_string_equal(http_authorization(&world->options), "Bearer");
        write_text(file, "t0k3n\r\n");
        world_make(world, "http", "127.0.0.1");
        world_once(world);
        assert_non_null(strstr(world->server.connections[2]->request,
                               "\r\nAuthorization: Bearer t0k3n\r\n"));
        unlink(file);
        rmdir(folder);
}

static void test_terminate(void **state) {
        World *world = *state;
        server_start(&world->server, serve_hang, NULL, NULL);
        char url[64];
        snprintf(url, sizeof(url), "http://{{host}}:%d/", world->server.port);
        world->options.request.url = url;
        world->options.timeout_us = 1 * SECOND;
        world_make(world, NULL, NULL);
        const ActionRequest hanging = {.host = "hang.test", .attempt = 1},
                            sent = {.host = "127.0.0.1", .attempt = 1};
        world_start(world, &hanging);
        world_start(world, &sent);
        world_turn(world, 1, 1);
        world->wanted = 2;
        assert_int_equal(world->n, 0);
        world->action->interface->terminate(world->action);
        assert_int_equal(world->n, 0); /* never in the call */
        world_run(world, 2);
        assert_int_equal(world->outcomes[OUTCOME_NOT_STARTED], 1);
        assert_int_equal(world->outcomes[OUTCOME_UNKNOWN], 1); /* at its own timeout */
        world_expect(world, OUTCOME_UNKNOWN, true, -1, "timed out after 1 s");
}

static void test_kill(void **state) {
        World *world = *state;
        server_start(&world->server, serve_hang, NULL, NULL);
        char url[64];
        snprintf(url, sizeof(url), "http://{{host}}:%d/", world->server.port);
        world->options.request.url = url;
        world_make(world, NULL, NULL);
        const ActionRequest hanging = {.host = "hang.test", .attempt = 1},
                            sent = {.host = "127.0.0.1", .attempt = 1};
        world_start(world, &hanging);
        world_start(world, &sent);
        world_turn(world, 1, 1);
        int64_t began = loop_now();
        world->action->interface->kill(world->action);
        assert_int_equal(world->n, 0);
        world_run(world, 2);
        assert_true(loop_now() - began < 5 * SECOND);
        assert_int_equal(world->outcomes[OUTCOME_NOT_STARTED], 1);
        assert_int_equal(world->outcomes[OUTCOME_UNKNOWN], 1);
        world_expect(world, OUTCOME_UNKNOWN, true, -1, "stopped; the request was sent");
}

static void test_kill_behind_the_answer(void **state) {
        World *world = *state;
        begin(world, serve_half, "HTTP/1.1 200 OK\r\nContent-Length: 999\r\n\r\nx");
        world_start(world, &plain);
        while (!server_answered(&world->server)) {
                ev_run(world->loop.ev, EVRUN_NOWAIT);
        }
        for (int i = 0; i < 10; i++) {
                ev_run(world->loop.ev, EVRUN_NOWAIT); /* what has arrived is read */
        }
        world->action->interface->kill(world->action);
        world_run(world, 1);
        world_expect(world, OUTCOME_DONE, true, 200, "HTTP 200");
        assert_string_equal(world->last.output, "x");
}

static void test_free_while_it_runs(void **state) {
        World *world = *state;
        begin(world, serve_hang, NULL);
        world_start(world, &plain);
        world_start(world, &plain);
        world_turn(world, 2, 0);
        world_free_action(world);
        assert_int_equal(world->n, 0);
        world->options.request.url = "http://hang.test/";
        world_make(world, NULL, NULL);
        world_start(world, &plain);
        world_turn(world, 0, 1);
        world_free_action(world);
}

static void ask_for(World *world, const char *host) {
        const ActionRequest request = {.host = host, .attempt = 1};
        size_t n = world->n;
        world->wanted = n + 1;
        world_start(world, &request);
        world_run(world, n + 1);
}

static void test_endpoint_is_out(void **state) {
        World *world = *state;
        static const char busy[] = "HTTP/1.1 503 X\r\nContent-Length: 0\r\n\r\n";
        begin(world, serve_answer, busy);
        ask_for(world, "a");
        ask_for(world, "a"); /* again and again, the same host says nothing of the others */
        ask_for(world, "a");
        ask_for(world, "b");
        world_expect(world, OUTCOME_NOT_STARTED, true, 503, "HTTP 503");
        assert_int_equal(captured.n, 0);
        ask_for(world, "c");
        world_expect(world, OUTCOME_NOT_STARTED, false, 503, "HTTP 503");
        ask_for(world, "a");
        world_expect(world, OUTCOME_NOT_STARTED, false, 503, "HTTP 503");
        assert_int_equal(captured.n, 1); /* once a minute */
        assert_string_equal(captured.lines[0].event, "http.endpoint_out");
        world->server.answer = OK;
        ask_for(world, "a");
        assert_int_equal(captured.n, 2);
        assert_string_equal(captured.lines[1].event, "http.endpoint_back");
        world->server.answer = busy;
        ask_for(world, "d");
        world_expect(world, OUTCOME_NOT_STARTED, true, 503, "HTTP 503");
}

/* What is wrong here says nothing of the endpoint, and neither does our own stop. */
static void test_endpoint_is_not_to_blame(void **state) {
        World *world = *state;
        world->options.bearer_file = "/nonexistent";
        begin(world, serve_answer, "HTTP/1.1 503 X\r\nContent-Length: 0\r\n\r\n");
        for (int i = 0; i < 5; i++) {
                char host[] = {(char)('a' + i), '\0'};
                ask_for(world, host);
                world_expect(world, OUTCOME_NOT_STARTED, false, -1, "/nonexistent");
        }
        assert_int_equal(captured.n, 1);
        assert_string_equal(captured.lines[0].event, "http.not_started");
}

static void test_no_descriptor_left(void **state) {
        World *world = *state;
        begin(world, serve_answer, OK);
        world_once(world); /* everything that is opened once, is */
        world_expect(world, OUTCOME_DONE, true, 200, "HTTP 200");
        struct rlimit none = world->limit;
        none.rlim_cur = 0;
        setrlimit(RLIMIT_NOFILE, &none);
        for (int i = 0; i < 5; i++) {
                char host[] = {(char)('a' + i), '\0'};
                ask_for(world, host);
        }
        setrlimit(RLIMIT_NOFILE, &world->limit);
        world_expect(world, OUTCOME_NOT_STARTED, false, -1, "Too many open files");
        assert_int_equal(captured.n, 1); /* and the endpoint is not to blame */
        assert_string_equal(captured.lines[0].event, "http.not_started");
        world_once(world);
        world_expect(world, OUTCOME_DONE, true, 200, "HTTP 200");
}

int main(void) {
#define TEST(function) cmocka_unit_test_setup_teardown(function, world_setup, world_teardown)
        const struct CMUnitTest tests[] = {
                TEST(test_statuses),
                TEST(test_listed_statuses),
                TEST(test_retry_after),
                TEST(test_refused),
                TEST(test_no_such_name),
                TEST(test_when_it_left),
                TEST(test_name_that_hangs),
                TEST(test_hangs),
                TEST(test_closes_without_an_answer),
                TEST(test_resets),
                TEST(test_breaks_while_it_is_sent),
                TEST(test_trickles),
                TEST(test_lies_about_the_length),
                TEST(test_redirects),
                TEST(test_floods),
                TEST(test_garbage),
                TEST(test_request),
                TEST(test_methods),
                TEST(test_poison),
                TEST(test_wrong_options),
                TEST(test_fifty_at_once),
                TEST(test_no_proxy),
                TEST(test_secrets),
                TEST(test_terminate),
                TEST(test_kill),
                TEST(test_kill_behind_the_answer),
                TEST(test_free_while_it_runs),
                TEST(test_endpoint_is_out),
                TEST(test_endpoint_is_not_to_blame),
                TEST(test_no_descriptor_left),
        };
        return cmocka_run_group_tests(tests, NULL, NULL);
}
