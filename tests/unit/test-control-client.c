#include "test.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "app/control_client.h"

typedef struct Fixture {
        char folder[64];
        char path[96];
        pid_t server; /* 0: none */
        Buffer answer;
        ControlPeer peer;
        char *error;
} Fixture;

static int setup(void **state) {
        Fixture *fixture = calloc(1, sizeof(*fixture));
        assert_non_null(fixture);
        snprintf(fixture->folder, sizeof(fixture->folder), "/tmp/test-client-XXXXXX");
        assert_non_null(mkdtemp(fixture->folder));
        snprintf(fixture->path, sizeof(fixture->path), "%s/a.sock", fixture->folder);
        *state = fixture;
        return 0;
}

static int teardown(void **state) {
        Fixture *fixture = *state;
        if (fixture->server > 0) {
                kill(fixture->server, SIGKILL);
                waitpid(fixture->server, NULL, 0);
        }
        unlink(fixture->path);
        assert_int_equal(rmdir(fixture->folder), 0);
        buffer_deinit(&fixture->answer);
        free(fixture->error);
        free(fixture);
        return 0;
}

static int listen_at(const char *path) {
        struct sockaddr_un address = {.sun_family = AF_UNIX};
        int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
        strcpy(address.sun_path, path);
        assert_int_equal(bind(fd, (struct sockaddr *)&address, sizeof(address)), 0);
        assert_int_equal(listen(fd, 4), 0);
        return fd;
}

/* A process that answers each request with @answer, in two pieces; NULL: it never does. */
static void serve(Fixture *fixture, const char *answer) {
        int ready[2];
        char c;
        assert_int_equal(pipe(ready), 0);
        fixture->server = fork();
        if (fixture->server == 0) {
                int fd = listen_at(fixture->path);
                assert_int_equal(write(ready[1], "x", 1), 1);
                for (;;) {
                        char request[256];
                        int client = answer != NULL ? accept(fd, NULL, NULL) : -1;
                        if (answer == NULL) {
                                pause();
                        }
                        if (recv(client, request, sizeof(request), 0) < 0) {
                                _exit(1);
                        }
                        size_t half = strlen(answer) / 2;
                        send(client, answer, half, MSG_NOSIGNAL);
                        poll(NULL, 0, 10);
                        send(client, answer + half, strlen(answer) - half, MSG_NOSIGNAL);
                        close(client);
                }
        }
        close(ready[1]);
        assert_int_equal(read(ready[0], &c, 1), 1);
        close(ready[0]);
}

static int ask(Fixture *fixture) {
        free(fixture->error);
        fixture->error = NULL;
        return control_ask(fixture->path, "{\"request\":\"status\"}", &fixture->answer,
                           &fixture->peer, &fixture->error);
}

static void test_answer(void **state) {
        Fixture *fixture = *state;
        serve(fixture, "{\"ok\":true}\n");
        assert_int_equal(ask(fixture), 0);
        assert_string_equal(buffer_string(&fixture->answer), "{\"ok\":true}");
        assert_int_equal(fixture->peer.pid, fixture->server);
}

static void test_cut(void **state) {
        Fixture *fixture = *state;
        serve(fixture, "{\"ok\":tr");
        assert_int_equal(ask(fixture), CONTROL_E_BROKEN);
        assert_int_equal(fixture->answer.size, 0);
}

static void test_absent(void **state) {
        Fixture *fixture = *state;
        char other[128];
        snprintf(other, sizeof(other), "%s/web-2.sock", fixture->folder);
        int fd = listen_at(other);
        assert_int_equal(ask(fixture), CONTROL_E_ABSENT);
        assert_non_null(strstr(fixture->error, fixture->path));
        assert_non_null(strstr(fixture->error, "control.none"));
        assert_non_null(strstr(fixture->error, "web-2; choose one with -i INSTANCE"));
        close(fd);
        unlink(other);
}

static void test_refused(void **state) {
        Fixture *fixture = *state;
        close(listen_at(fixture->path));
        assert_int_equal(ask(fixture), CONTROL_E_REFUSED);
        assert_non_null(strstr(fixture->error, "has ended"));
}

static void test_permission(void **state) {
        Fixture *fixture = *state;
        int fd = listen_at(fixture->path);
        chmod(fixture->path, 0);
        chmod(fixture->folder, 0755);
        pid_t child = fork();
        if (child == 0) {
                /* As root nothing is forbidden. */
                if (getuid() == 0 && (setgid(65534) != 0 || setuid(65534) != 0)) {
                        _exit(10);
                }
                int r = ask(fixture);
                _exit(r == CONTROL_E_PERMISSION && strstr(fixture->error, "group") != NULL ? 0 : 1);
        }
        int status;
        assert_int_equal(waitpid(child, &status, 0), child);
        assert_int_equal(status, 0);
        close(fd);
}

static void test_stopped(void **state) {
        Fixture *fixture = *state;
        char remedy[64];
        int status;
        serve(fixture, NULL);
        kill(fixture->server, SIGSTOP);
        assert_int_equal(waitpid(fixture->server, &status, WUNTRACED), fixture->server);
        assert_int_equal(ask(fixture), CONTROL_E_SILENT);
        assert_int_equal(fixture->peer.pid, fixture->server);
        assert_int_equal(fixture->peer.state, 'T');
        snprintf(remedy, sizeof(remedy), "kill -CONT %d", (int)fixture->server);
        assert_non_null(strstr(fixture->error, remedy));
}

static void test_stands(void **state) {
        Fixture *fixture = *state;
        serve(fixture, NULL);
        assert_int_equal(ask(fixture), CONTROL_E_SILENT);
        assert_int_equal(fixture->peer.state, 'S');
        assert_non_null(strstr(fixture->error, "or its loop stands"));
        assert_non_null(strstr(fixture->error, "Too many clients"));
}

static void test_paths(void **state) {
        Config config = {.instance = (char *)"web-1", .control = {.socket = (char *)""}};
        char *path = NULL;
        (void)state;
        unsetenv("RUNTIME_DIRECTORY");
        assert_int_equal(control_socket_path(&config, NULL, &path), 0);
        assert_string_equal(path, "/run/ackd/web-1.sock");
        free(path);
        setenv("RUNTIME_DIRECTORY", "/run/a:/run/b", 1);
        assert_int_equal(control_socket_path(&config, "web-2", &path), 0);
        assert_string_equal(path, "/run/a/web-2.sock");
        free(path);
        config.control.socket = (char *)"/srv/x.sock";
        assert_int_equal(control_socket_path(&config, NULL, &path), 0);
        assert_string_equal(path, "/srv/x.sock");
        free(path);
        assert_int_equal(control_socket_path(&config, "y", &path), 0);
        assert_string_equal(path, "/srv/y.sock");
        free(path);
        unsetenv("RUNTIME_DIRECTORY");
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test_setup_teardown(test_answer, setup, teardown),
                cmocka_unit_test_setup_teardown(test_cut, setup, teardown),
                cmocka_unit_test_setup_teardown(test_absent, setup, teardown),
                cmocka_unit_test_setup_teardown(test_refused, setup, teardown),
                cmocka_unit_test_setup_teardown(test_permission, setup, teardown),
                cmocka_unit_test_setup_teardown(test_stopped, setup, teardown),
                cmocka_unit_test_setup_teardown(test_stands, setup, teardown),
                cmocka_unit_test(test_paths),
        };
        return cmocka_run_group_tests(tests, NULL, NULL);
}
