#include "test.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "telemetry/control.h"
#include "util/list.h"

/* The server runs in a thread, as the loop's thread of a daemon; the tests are its clients. */
typedef struct Fixture {
        char folder[64];
        char path[96];
        Loop loop;
        Control *control;
        LoopWake wake;
        LoopTimer keep; /* loop_run() ends when nothing is watched */
        pthread_t thread;
        size_t answer_bytes;
        ControlClient *kept; /* not answered yet */
        bool keep_clients;
        atomic_int asked, dropped;
        char request[CONTROL_REQUEST_MAX];
        size_t request_size;
        ControlAsker asker;
} Fixture;

static void answer(Fixture *fixture, ControlClient *client) {
        Buffer buffer = BUFFER_INIT;
        for (size_t i = 0; i + 1 < fixture->answer_bytes; i++) {
                assert_int_equal(buffer_append_char(&buffer, (char)('a' + i % 26)), 0);
        }
        assert_int_equal(buffer_append_char(&buffer, '\n'), 0);
        control_answer(client, &buffer);
        assert_null(buffer.data);
}

static void on_asked(void *user, ControlClient *client, const char *request, size_t size) {
        Fixture *fixture = user;
        memcpy(fixture->request, request, size);
        fixture->request_size = size;
        fixture->asker = *control_asker(client);
        if (fixture->keep_clients) {
                fixture->kept = client;
        } else {
                answer(fixture, client);
        }
        atomic_fetch_add(&fixture->asked, 1);
}

static void on_dropped(void *user, ControlClient *client) {
        Fixture *fixture = user;
        (void)client;
        fixture->kept = NULL;
        atomic_fetch_add(&fixture->dropped, 1);
}

static const ControlEvents events = {.asked = on_asked, .dropped = on_dropped};

static void on_wake(LoopWake *wake) {
        loop_stop(wake->loop);
}

static void on_keep(LoopTimer *timer) {
        loop_timer_set(timer, INT64_C(3600) * 1000000);
}

static void *serve(void *user) {
        Fixture *fixture = user;
        loop_run(&fixture->loop);
        return NULL;
}

static int setup(void **state) {
        Fixture *fixture = calloc(1, sizeof(*fixture));
        assert_non_null(fixture);
        fixture->answer_bytes = 8;
        snprintf(fixture->folder, sizeof(fixture->folder), "/tmp/test-control-XXXXXX");
        assert_non_null(mkdtemp(fixture->folder));
        snprintf(fixture->path, sizeof(fixture->path), "%s/a.sock", fixture->folder);
        assert_int_equal(loop_init(&fixture->loop), 0);
        loop_wake_init(&fixture->wake, &fixture->loop, "stop", on_wake);
        loop_timer_init(&fixture->keep, &fixture->loop, "keep", on_keep);
        *state = fixture;
        return 0;
}

static void start(Fixture *fixture) {
        char *error = NULL;
        loop_timer_set(&fixture->keep, 0);
        assert_int_equal(control_new(&fixture->control, &fixture->loop, NULL, fixture->path,
                                     &events, fixture, &error),
                         0);
        loop_wake_start(&fixture->wake);
        assert_int_equal(pthread_create(&fixture->thread, NULL, serve, fixture), 0);
}

static void stop(Fixture *fixture) {
        loop_wake_send(&fixture->wake);
        assert_int_equal(pthread_join(fixture->thread, NULL), 0);
        control_free(fixture->control);
        fixture->control = NULL;
}

static int teardown(void **state) {
        Fixture *fixture = *state;
        assert_null(fixture->control);
        loop_wake_stop(&fixture->wake);
        loop_timer_stop(&fixture->keep);
        loop_deinit(&fixture->loop);
        unlink(fixture->path);
        assert_int_equal(rmdir(fixture->folder), 0); /* nothing else was left in it */
        free(fixture);
        return 0;
}

static int dial(const char *path) {
        struct sockaddr_un address = {.sun_family = AF_UNIX};
        int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
        strcpy(address.sun_path, path);
        assert_int_equal(connect(fd, (struct sockaddr *)&address, sizeof(address)), 0);
        return fd;
}

static void say(int fd, const char *data, size_t size) {
        assert_int_equal(send(fd, data, size, MSG_NOSIGNAL), (ssize_t)size);
}

/* Everything up to the end; the number of bytes. */
static size_t hear(int fd, char *out, size_t room) {
        size_t size = 0;
        for (;;) {
                struct pollfd wait = {.fd = fd, .events = POLLIN};
                assert_int_equal(poll(&wait, 1, 20000), 1);
                ssize_t n = recv(fd, out + size, room - size, 0);
                assert_true(n >= 0);
                if (n == 0) {
                        break;
                }
                size += (size_t)n;
        }
        close(fd);
        return size;
}

static void test_asks(void **state) {
        Fixture *fixture = *state;
        char out[64];
        start(fixture);
        int fd = dial(fixture->path);
        say(fd, "{\"re", 4);
        say(fd, "quest\":1}\nrest", 14);
        assert_int_equal(hear(fd, out, sizeof(out)), 8);
        assert_memory_equal(out, "abcdefg\n", 8);
        stop(fixture);
        assert_int_equal(fixture->request_size, 13);
        assert_memory_equal(fixture->request, "{\"request\":1}", 13);
        assert_int_equal(fixture->asker.pid, getpid());
        assert_int_equal(fixture->asker.uid, getuid());
        assert_non_null(strstr(fixture->asker.user, "user "));
        assert_int_equal(access(fixture->path, F_OK), -1); /* removed */
}

/* nc -N and the like. */
static void test_end_of_side(void **state) {
        Fixture *fixture = *state;
        char out[64];
        start(fixture);
        int fd = dial(fixture->path);
        say(fd, "ping", 4);
        assert_int_equal(shutdown(fd, SHUT_WR), 0);
        assert_int_equal(hear(fd, out, sizeof(out)), 8);
        close(dial(fixture->path)); /* one that only looked */
        stop(fixture);
        assert_int_equal(fixture->request_size, 4);
        assert_int_equal(atomic_load(&fixture->asked), 1);
}

static void test_too_long(void **state) {
        Fixture *fixture = *state;
        char out[128], request[CONTROL_REQUEST_MAX];
        memset(request, 'x', sizeof(request));
        start(fixture);
        int fd = dial(fixture->path);
        say(fd, request, sizeof(request));
        size_t n = hear(fd, out, sizeof(out));
        assert_true(n > 0 && out[n - 1] == '\n');
        assert_non_null(memmem(out, n, "\"error\":", 8));
        fd = dial(fixture->path);
        request[sizeof(request) - 1] = '\n'; /* the longest that is taken */
        say(fd, request, sizeof(request));
        assert_int_equal(hear(fd, out, sizeof(out)), 8);
        stop(fixture);
        assert_int_equal(atomic_load(&fixture->asked), 1);
}

/* More than a socket's buffer holds, to 50 clients that all wait before one of them reads. */
static void test_many_and_large(void **state) {
        enum { N = 50, BYTES = 700 * 1024 };
        Fixture *fixture = *state;
        int fds[N];
        char *out = malloc(BYTES + 1);
        assert_non_null(out);
        fixture->answer_bytes = BYTES;
        start(fixture);
        for (int i = 0; i < N; i++) {
                fds[i] = dial(fixture->path);
                say(fds[i], "x\n", 2);
        }
        for (int i = 0; i < N; i++) {
                assert_int_equal(hear(fds[i], out, BYTES + 1), BYTES);
                assert_int_equal(out[BYTES - 1], '\n');
        }
        free(out);
        stop(fixture);
        assert_int_equal(atomic_load(&fixture->asked), N);
}

/* A client that leaves in the middle of its answer must not end the process by SIGPIPE. */
static void test_leaves(void **state) {
        Fixture *fixture = *state;
        char out[64];
        fixture->answer_bytes = 700 * 1024;
        signal(SIGPIPE, SIG_DFL);
        start(fixture);
        int fd = dial(fixture->path);
        say(fd, "x\n", 2);
        assert_int_equal(recv(fd, out, sizeof(out), 0), sizeof(out));
        close(fd);
        fd = dial(fixture->path);
        say(fd, "x\n", 2);
        close(fd);
        fd = dial(fixture->path); /* behind it in the queue */
        say(fd, "x\n", 2);
        char *all = malloc(700 * 1024 + 1);
        assert_int_equal(hear(fd, all, 700 * 1024 + 1), 700 * 1024);
        free(all);
        stop(fixture);
}

static void test_later_and_at_the_end(void **state) {
        Fixture *fixture = *state;
        char out[64];
        fixture->keep_clients = true;
        start(fixture);
        int fd = dial(fixture->path);
        say(fd, "x\n", 2);
        while (atomic_load(&fixture->asked) < 1) {
                poll(NULL, 0, 1);
        }
        loop_wake_send(&fixture->wake);
        assert_int_equal(pthread_join(fixture->thread, NULL), 0);
        assert_non_null(fixture->kept);
        answer(fixture, fixture->kept); /* a later turn */
        assert_int_equal(hear(fd, out, sizeof(out)), 8);
        assert_int_equal(atomic_load(&fixture->dropped), 0);

        assert_int_equal(pthread_create(&fixture->thread, NULL, serve, fixture), 0);
        fd = dial(fixture->path);
        say(fd, "x\n", 2);
        while (atomic_load(&fixture->asked) < 2) {
                poll(NULL, 0, 1);
        }
        stop(fixture);
        assert_int_equal(atomic_load(&fixture->dropped), 1);
        assert_int_equal(hear(fd, out, sizeof(out)), 0);
}

/* Clients that ask for nothing make way for one that asks, long before their deadline: before an
 * `ackd status --health` takes the daemon for dead. Not one more of them than is needed. */
static void test_idle_clients(void **state) {
        Fixture *fixture = *state;
        int fds[CONTROL_CLIENTS_MAX], gone = 0;
        char out[64];
        start(fixture);
        for (int i = 0; i < CONTROL_CLIENTS_MAX; i++) {
                fds[i] = dial(fixture->path);
                say(fds[i], "x", 1);
        }
        int fd = dial(fixture->path);
        say(fd, "x\n", 2);
        assert_int_equal(hear(fd, out, sizeof(out)), 8);
        for (int i = 0; i < CONTROL_CLIENTS_MAX; i++) {
                gone += recv(fds[i], out, sizeof(out), MSG_DONTWAIT) == 0;
        }
        assert_int_equal(gone, 1);
        /* Without others that wait each has its whole deadline. */
        for (int i = 1; i < CONTROL_CLIENTS_MAX; i++) {
                say(fds[i], "\n", 1);
                assert_int_equal(hear(fds[i], out, sizeof(out)), 8);
        }
        close(fds[0]);
        stop(fixture);
        assert_int_equal(atomic_load(&fixture->asked), CONTROL_CLIENTS_MAX);
}

/* One that asks for nothing is given up at its deadline also when nobody waits. */
static void test_deadline(void **state) {
        Fixture *fixture = *state;
        char out[64];
        start(fixture);
        int fd = dial(fixture->path);
        say(fd, "x", 1);
        assert_int_equal(hear(fd, out, sizeof(out)), 0);
        stop(fixture);
}

static void test_mode(void **state) {
        Fixture *fixture = *state;
        struct stat status;
        mode_t before = umask(022);
        start(fixture);
        assert_int_equal(stat(fixture->path, &status), 0);
        assert_int_equal(status.st_mode & 0777, 0660);
        assert_int_equal(umask(before), 022); /* as it was */
        stop(fixture);
}

static int open_again(Fixture *fixture, char **error) {
        Control *other = NULL;
        int r = control_new(&other, &fixture->loop, NULL, fixture->path, &events, fixture, error);
        control_free(other);
        return r;
}

static void test_in_use(void **state) {
        Fixture *fixture = *state;
        char *error = NULL, pid[32], out[64];
        start(fixture);
        assert_int_equal(open_again(fixture, &error), CONTROL_E_IN_USE);
        snprintf(pid, sizeof(pid), "process %d ", (int)getpid());
        assert_non_null(strstr(error, pid));
        free(error);
        int fd = dial(fixture->path); /* it is the first one's still */
        say(fd, "x\n", 2);
        assert_int_equal(hear(fd, out, sizeof(out)), 8);
        stop(fixture);
}

/* The socket of a process that was killed. */
static void test_stale(void **state) {
        Fixture *fixture = *state;
        char *error = NULL;
        pid_t child = fork();
        if (child == 0) {
                struct sockaddr_un address = {.sun_family = AF_UNIX};
                int fd = socket(AF_UNIX, SOCK_STREAM, 0);
                strcpy(address.sun_path, fixture->path);
                _exit(bind(fd, (struct sockaddr *)&address, sizeof(address)) != 0 ||
                      listen(fd, 1) != 0);
        }
        int ended;
        assert_int_equal(waitpid(child, &ended, 0), child);
        assert_int_equal(ended, 0);
        assert_int_equal(access(fixture->path, F_OK), 0);
        assert_int_equal(open_again(fixture, &error), 0);
        assert_int_equal(access(fixture->path, F_OK), -1);
}

/* What is no socket of ours is never removed. */
static void test_files(void **state) {
        Fixture *fixture = *state;
        char *error = NULL;
        int fd = open(fixture->path, O_CREAT | O_WRONLY, 0600);
        close(fd);
        assert_int_equal(open_again(fixture, &error), CONTROL_E_PATH);
        assert_non_null(strstr(error, "no socket"));
        free(error);
        assert_int_equal(access(fixture->path, F_OK), 0);
        unlink(fixture->path);

        start(fixture); /* somebody put another one in its place */
        unlink(fixture->path);
        fd = open(fixture->path, O_CREAT | O_WRONLY, 0600);
        close(fd);
        stop(fixture);
        assert_int_equal(access(fixture->path, F_OK), 0);
        unlink(fixture->path);

        snprintf(fixture->path, sizeof(fixture->path), "%s/none/a.sock", fixture->folder);
        assert_int_equal(open_again(fixture, &error), CONTROL_E_PATH);
        assert_non_null(strstr(error, "No such file"));
        free(error);
        memset(fixture->path, 'a', sizeof(fixture->path) - 1);
        fixture->path[0] = '/';
        char path[200];
        memset(path, 'a', sizeof(path));
        path[0] = '/';
        path[sizeof(path) - 1] = '\0';
        Control *other = NULL;
        assert_int_equal(control_new(&other, &fixture->loop, NULL, path, &events, fixture, &error),
                         CONTROL_E_PATH);
        assert_non_null(strstr(error, "longer than"));
        free(error);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test_setup_teardown(test_asks, setup, teardown),
                cmocka_unit_test_setup_teardown(test_end_of_side, setup, teardown),
                cmocka_unit_test_setup_teardown(test_too_long, setup, teardown),
                cmocka_unit_test_setup_teardown(test_many_and_large, setup, teardown),
                cmocka_unit_test_setup_teardown(test_leaves, setup, teardown),
                cmocka_unit_test_setup_teardown(test_later_and_at_the_end, setup, teardown),
                cmocka_unit_test_setup_teardown(test_idle_clients, setup, teardown),
                cmocka_unit_test_setup_teardown(test_deadline, setup, teardown),
                cmocka_unit_test_setup_teardown(test_mode, setup, teardown),
                cmocka_unit_test_setup_teardown(test_in_use, setup, teardown),
                cmocka_unit_test_setup_teardown(test_stale, setup, teardown),
                cmocka_unit_test_setup_teardown(test_files, setup, teardown),
        };
        return cmocka_run_group_tests(tests, NULL, NULL);
}
