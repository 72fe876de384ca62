#include "test.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "handlers/save.h"
#include "pg-batch.h"

#define DATABASE "ackd_test_lost"

/*
 * A proxy between the pool and the server that loses exactly what a test wants lost.
 */

typedef enum ProxyMode {
        PROXY_PASS,
        PROXY_CUT_REPLY, /* closes when the server says that the fence moved, and says nothing */
        PROXY_CUT_QUERY, /* closes when the client sends the end of the COPY, and passes nothing */
        PROXY_SWALLOW,   /* passes nothing from the server any more */
} ProxyMode;

typedef struct Proxy {
        char directory[64];
        struct sockaddr_un here, server;
        int listener;
        pthread_t thread;
        atomic_int mode;
        atomic_int client; /* of the pair that is served now */
        atomic_bool stop;
} Proxy;

static Proxy proxy;

static bool contains(const char *data, ssize_t size, const char *part, size_t part_size) {
        return memmem(data, (size_t)size, part, part_size) != NULL;
}

/* False: the pair is to be closed. */
static bool proxy_pass(int from, int to, bool from_server) {
        char data[65536];
        ssize_t n = recv(from, data, sizeof(data), 0);
        if (n <= 0) {
                return false;
        }
        ProxyMode mode = (ProxyMode)atomic_load(&proxy.mode);
        /* CommandComplete of the SELECT comes after the commit; CopyDone is the last that the
         * client sends. */
        if (mode == PROXY_CUT_REPLY && from_server && contains(data, n, "SELECT 1", 9)) {
                return false;
        }
        if (mode == PROXY_CUT_QUERY && !from_server && n >= 5 &&
            memcmp(data + n - 5, "c\0\0\0\x04", 5) == 0) {
                return false;
        }
        if (mode == PROXY_SWALLOW && from_server) {
                return true;
        }
        return send(to, data, (size_t)n, MSG_NOSIGNAL) == n;
}

static void proxy_serve(int client) {
        int server = socket(AF_UNIX, SOCK_STREAM, 0);
        atomic_store(&proxy.client, client);
        bool open = connect(server, (struct sockaddr *)&proxy.server, sizeof(proxy.server)) == 0;
        while (open && !atomic_load(&proxy.stop)) {
                struct pollfd fds[] = {{client, POLLIN, 0}, {server, POLLIN, 0}};
                if (poll(fds, 2, 50) <= 0) {
                        continue;
                }
                if (fds[0].revents != 0) {
                        open = proxy_pass(client, server, false);
                }
                if (open && fds[1].revents != 0) {
                        open = proxy_pass(server, client, true);
                }
        }
        close(server);
        close(client);
}

static void *proxy_run(void *user) {
        (void)user;
        while (!atomic_load(&proxy.stop)) {
                struct pollfd fds = {proxy.listener, POLLIN, 0};
                if (poll(&fds, 1, 50) > 0) {
                        int client = accept(proxy.listener, NULL, NULL);
                        if (client >= 0) {
                                proxy_serve(client);
                        }
                }
        }
        return NULL;
}

static void proxy_start(const char *server_directory, const char *port) {
        strcpy(proxy.directory, "/tmp/ackd-test-proxy.XXXXXX");
        assert_non_null(mkdtemp(proxy.directory));
        proxy.here.sun_family = proxy.server.sun_family = AF_UNIX;
        snprintf(proxy.here.sun_path, sizeof(proxy.here.sun_path), "%s/.s.PGSQL.5432",
                 proxy.directory);
        snprintf(proxy.server.sun_path, sizeof(proxy.server.sun_path), "%.80s/.s.PGSQL.%s",
                 server_directory, port);
        proxy.listener = socket(AF_UNIX, SOCK_STREAM, 0);
        assert_int_equal(bind(proxy.listener, (struct sockaddr *)&proxy.here, sizeof(proxy.here)),
                         0);
        assert_int_equal(listen(proxy.listener, 8), 0);
        assert_int_equal(pthread_create(&proxy.thread, NULL, proxy_run, NULL), 0);
}

static void proxy_stop(void) {
        atomic_store(&proxy.stop, true);
        pthread_join(proxy.thread, NULL);
        close(proxy.listener);
        unlink(proxy.here.sun_path);
        rmdir(proxy.directory);
}

/* --- the tests ---------------------------------------------------------------------------- */

static PgTest test;
static Save *save;
static TestBatch batch;
static Partition *partition;
static int answers;
static BatchEnd saved_end;
static int64_t fence;

static void on_saved(void *user, Batch *ended, BatchEnd end) {
        (void)user;
        assert_ptr_equal(ended, &batch.batch);
        answers++;
        saved_end = end;
}

static void on_saved_each(void *user, Batch *ended, BatchEnd end, const RefusedRow *refused,
                          size_t n_refused) {
        (void)refused;
        assert_int_equal(n_refused, 0);
        on_saved(user, ended, end);
}

static size_t lost; /* rows that were refused before the reply was lost */
static RefusedRow lost_first;

static void on_fences_read(void *user, Batch *ended, const int64_t *fences,
                           const RefusedRow *refused, size_t n_refused) {
        assert_non_null(fences);
        fence = fences[0];
        lost = n_refused;
        lost_first = n_refused > 0 ? refused[0] : (RefusedRow){0};
        on_saved(user, ended, BATCH_SAVED);
}

static const SaveEvents events = {on_saved, on_saved_each, on_fences_read};

static bool is_answered(void *user) {
        (void)user;
        return answers > 0;
}

static void run(int (*call)(Save *, Batch *)) {
        answers = 0;
        assert_int_equal(call(save, &batch.batch), 0);
        assert_true(pg_test_until(&test, is_answered, NULL));
        assert_int_equal(answers, 1);
}

static int setup(void **state) {
        (void)state;
        pg_test_init(&test, DATABASE);
        proxy_start(PQhost(test.sql), PQport(test.sql));
        return 0;
}

static int teardown(void **state) {
        (void)state;
        proxy_stop();
        pg_test_deinit(&test, DATABASE);
        return 0;
}

static int begin(void **state) {
        static char dsn[1024];
        PgOptions options = {.dsn = dsn,
                             .schema = "ackd",
                             .application_name = "ackd test",
                             .connections = 1,
                             .statement_timeout_us = 1000 * 1000};
        (void)state;
        atomic_store(&proxy.mode, PROXY_PASS);
        snprintf(dsn, sizeof(dsn), "%s host=%s port=5432", test.run_dsn, proxy.directory);
        pg_test_exec(test.sql, "TRUNCATE messages, rejected, partitions RESTART IDENTITY");
        partition = test_partition_new("t", 0, test_source_new(&test, "t", 0, 0));
        test_batch_init(&batch, BATCH_SAVE);
        test_batch_add_part(&batch, partition, 0);
        for (int i = 0; i < 100; i++) {
                test_batch_add_json(&batch, 0, "{\"host\":\"web\"}");
        }
        pg_test_open(&test, &options);
        assert_true(pg_test_until(&test, pg_test_is_up, test.pool));
        return save_new(&save, test.pool, NULL, "ackd", false, &events, NULL);
}

static int end(void **state) {
        (void)state;
        pg_test_close(&test);
        save_free(save);
        test_batch_deinit(&batch);
        free(partition);
        return 0;
}

static void expect_rows(const char *rows) {
        assert_string_equal(pg_test_value(test.sql, "SELECT count(*) FROM messages"), rows);
}

/* It was committed, and only the fence tells. Sending it again does not double a row. */
static void test_reply_lost(void **state) {
        (void)state;
        atomic_store(&proxy.mode, PROXY_CUT_REPLY);
        run(save_batch);
        assert_int_equal(saved_end, BATCH_UNKNOWN);
        atomic_store(&proxy.mode, PROXY_PASS);
        run(save_read_fences);
        assert_int_equal(fence, 100);
        expect_rows("100");
        run(save_batch);
        assert_int_equal(saved_end, BATCH_FENCE);
        run(save_batch_each);
        assert_int_equal(saved_end, BATCH_FENCE);
        expect_rows("100");
}

/* So it went row by row, and the table tells which were refused. */
static void test_reply_lost_row_by_row(void **state) {
        (void)state;
        test_batch_add_json(&batch, 0, "nonsense");
        test_batch_add_json(&batch, 0, "{}");
        atomic_store(&proxy.mode, PROXY_CUT_REPLY);
        run(save_batch_each);
        assert_int_equal(saved_end, BATCH_UNKNOWN);
        atomic_store(&proxy.mode, PROXY_PASS);
        run(save_read_fences);
        assert_int_equal(fence, 102);
        assert_int_equal(lost, 1);
        assert_int_equal(lost_first.source, partition->source);
        assert_int_equal(lost_first.offset, 100);
        assert_memory_equal(lost_first.detail, "22P02: invalid", 14);
        expect_rows("101");
}

/* It never arrived whole, and the fence tells that as well. */
static void test_query_lost(void **state) {
        (void)state;
        atomic_store(&proxy.mode, PROXY_CUT_QUERY);
        run(save_batch);
        assert_int_equal(saved_end, BATCH_UNKNOWN);
        atomic_store(&proxy.mode, PROXY_PASS);
        run(save_read_fences);
        assert_int_equal(fence, 0);
        expect_rows("0");
        run(save_batch);
        assert_int_equal(saved_end, BATCH_SAVED);
        expect_rows("100");
}

/* A network that goes silent: the pool's own deadline ends it, 5 s after statement_timeout. */
static void test_reply_swallowed(void **state) {
        (void)state;
        int64_t began = loop_now();
        atomic_store(&proxy.mode, PROXY_SWALLOW);
        run(save_batch);
        assert_in_range(loop_now() - began, 6 * 1000 * 1000, 20 * 1000 * 1000);
        assert_int_equal(saved_end, BATCH_UNKNOWN);
        atomic_store(&proxy.mode, PROXY_PASS);
        run(save_read_fences);
        assert_true(fence == 0 || fence == 100);
        run(save_batch);
        assert_int_equal(saved_end, fence == 0 ? BATCH_SAVED : BATCH_FENCE);
        expect_rows("100");
}

static bool is_down(void *user) {
        return !pg_pool_is_up(user);
}

static bool gave_up(void *user) {
        (void)user;
        for (size_t i = 0; i < captured.n && i < 16; i++) {
                if (strstr(captured.lines[i].text, "connecting takes longer than 10 s") != NULL) {
                        return true;
                }
        }
        return false;
}

/* The server does not answer while connecting: the pool gives up after 10 s and tries again. */
static void test_silent_while_connecting(void **state) {
        (void)state;
        atomic_store(&proxy.mode, PROXY_SWALLOW);
        shutdown(atomic_load(&proxy.client), SHUT_RDWR);
        assert_true(pg_test_until(&test, is_down, test.pool));
        answers = 0;
        assert_int_equal(save_read_fences(save, &batch.batch), 0);
        assert_true(pg_test_until(&test, gave_up, NULL));
        assert_int_equal(answers, 0);
        atomic_store(&proxy.mode, PROXY_PASS);
        assert_true(pg_test_until(&test, is_answered, NULL));
        assert_int_equal(fence, 0);
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, begin, end)

int main(void) {
        const struct CMUnitTest tests[] = {
                TEST(test_reply_lost),
                TEST(test_reply_lost_row_by_row),
                TEST(test_query_lost),
                TEST(test_reply_swallowed),
                TEST(test_silent_while_connecting),
        };
        return cmocka_run_group_tests(tests, setup, teardown);
}
