#include "test.h"

#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "pg.h"

/*
 * A server of this program's own, by scripts/local-postgres: it is stopped and started, listens on
 * the loopback, and asks for passwords.
 */

static PgTest test;
static PgTestOperation o;
static char directory[] = "/tmp/ackd-test-restart.XXXXXX";
static char dsn[512];  /* by the socket */
static char host[256]; /* "host=localhost port=N" */

static void run_script(const char *command, const char *options) {
        const char *script = getenv("ACKD_LOCAL_POSTGRES");
        char line[512], output[512];
        if (script == NULL) {
                pg_test_die("ACKD_LOCAL_POSTGRES is not set",
                            "it is the path of scripts/local-postgres; meson test sets it");
        }
        snprintf(line, sizeof(line), "'%s' %s --dir %s %s", script, command, directory, options);
        FILE *pipe = popen(line, "r");
        assert_non_null(pipe);
        while (fgets(output, sizeof(output), pipe) != NULL) {
                if (strncmp(output, "dsn=", 4) == 0) {
                        output[strcspn(output, "\n")] = '\0';
                        snprintf(dsn, sizeof(dsn), "%s", output + 4);
                }
        }
        int status = pclose(pipe);
        assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

static int setup(void **state) {
        (void)state;
        if (mkdtemp(directory) == NULL) {
                return -1;
        }
        run_script("start", "--port auto");
        snprintf(host, sizeof(host), "host=localhost %s", strstr(dsn, "port="));
        return 0;
}

static int teardown(void **state) {
        char line[128];
        (void)state;
        run_script("stop", "");
        snprintf(line, sizeof(line), "rm -rf %s", directory);
        return system(line);
}

static PgOptions options_of(const char *where) {
        return (PgOptions){.dsn = where,
                           .schema = "ackd",
                           .application_name = "ackd test",
                           .connections = 2,
                           .statement_timeout_us = 10 * 1000 * 1000};
}

static bool is_down(void *user) {
        return !pg_pool_is_up(user);
}

static bool is_logged(void *user) {
        for (size_t i = 0; i < captured.n && i < 16; i++) {
                if (strstr(captured.lines[i].text, user) != NULL) {
                        return true;
                }
        }
        return false;
}

static void test_stopped_and_started(void **state) {
        (void)state;
        PgOptions options = options_of(dsn);
        char port[64];
        pg_test_open(&test, &options);
        assert_true(pg_test_until(&test, pg_test_is_up, test.pool));
        run_script("stop", "");
        assert_true(pg_test_until(&test, is_down, test.pool));
        pg_test_operation_init(&o, "SELECT 5");
        pg_pool_submit(test.pool, &o.operation, false);
        assert_true(pg_test_until(&test, is_logged, "cannot reach PostgreSQL"));
        assert_int_equal(o.ends, 0); /* it waits */
        snprintf(port, sizeof(port), "--port %d", atoi(strstr(dsn, "port=") + 5));
        run_script("start", port);
        assert_true(pg_test_until(&test, pg_test_ended, &o));
        assert_int_equal(o.end, PG_OK);
        assert_string_equal(o.value, "5");
        assert_int_equal(test.ups, 2);
        assert_int_equal(test.downs, 1);
        assert_true(is_logged("PostgreSQL is back after"));
        pg_test_close(&test);
}

static void test_by_name(void **state) {
        (void)state;
        char where[600];
        snprintf(where, sizeof(where), "%s", host);
        PgOptions options = options_of(where);
        pg_test_open(&test, &options);
        assert_true(pg_test_until(&test, pg_test_is_up, test.pool));
        assert_true(pg_test_run(&test, &o, "SELECT inet_server_addr() IS NOT NULL"));
        assert_string_equal(o.value, "t");
        pg_test_close(&test);

        /* The second of two hosts is the one that answers. */
        int port = atoi(strstr(host, "port=") + 5);
        snprintf(where, sizeof(where),
                 "host=localhost,localhost port=1,%d user=postgres "
                 "dbname=postgres",
                 port);
        pg_test_open(&test, &options);
        assert_true(pg_test_until(&test, pg_test_is_up, test.pool));
        assert_true(pg_test_run(&test, &o, "SELECT 1"));
        assert_int_equal(o.end, PG_OK);
        pg_test_close(&test);

        /* A label over 63 bytes: no name server is asked. */
        snprintf(where, sizeof(where), "host=%070d.example.com", 0);
        pg_test_open(&test, &options);
        assert_true(pg_test_until(&test, is_logged, "host name \"000"));
        assert_false(pg_pool_is_up(test.pool));
        pg_test_close(&test);
}

static void write_file(const char *path, const char *mode, const char *text) {
        FILE *file = fopen(path, mode);
        assert_non_null(file);
        assert_true(fputs(text, file) >= 0);
        assert_int_equal(fclose(file), 0);
}

/* A backend that stands still: the pool's own deadline ends it, 5 s after statement_timeout. (It
 * would hold up each CREATE DATABASE of the server, so it is not done to the shared one.) */
static void test_backend_frozen(void **state) {
        (void)state;
        PgOptions options = options_of(dsn);
        options.connections = 1;
        options.statement_timeout_us = 500 * 1000;
        pg_test_open(&test, &options);
        assert_true(pg_test_until(&test, pg_test_is_up, test.pool));
        assert_true(pg_test_run(&test, &o, "SELECT pg_backend_pid()"));
        pid_t pid = (pid_t)atoi(o.value);
        assert_true(pid > 1);
        assert_int_equal(kill(pid, SIGSTOP), 0);
        int64_t began = loop_now();
        bool ended = pg_test_run(&test, &o, "SELECT 1");
        int64_t took = loop_now() - began;
        PgEnd end = o.end;
        bool told = strstr(o.message, "no answer") != NULL;
        /* Others go on while that one stands. */
        bool goes_on = pg_test_run(&test, &o, "SELECT 1") && o.end == PG_OK;
        assert_int_equal(kill(pid, SIGCONT), 0);
        assert_true(ended && told && goes_on);
        assert_int_equal(end, PG_LOST);
        assert_in_range(took, 5 * 1000 * 1000, 20 * 1000 * 1000);
        pg_test_close(&test);
}

/* Wrong, then right: the file is read at each attempt. */
static void test_password(void **state) {
        (void)state;
        char hba[4096], file[256], where[600];
        PGconn *sql = pg_test_connect(dsn);
        pg_test_exec(sql, "CREATE ROLE worker LOGIN PASSWORD 'a secret'");
        snprintf(hba, sizeof(hba), "%s", pg_test_value(sql, "SHOW hba_file"));
        write_file(hba, "w", "local all postgres trust\nhost all worker all scram-sha-256\n");
        pg_test_exec(sql, "SELECT pg_reload_conf()");
        snprintf(file, sizeof(file), "%s/password", directory);
        snprintf(where, sizeof(where), "host=127.0.0.1 %.60s user=worker dbname=postgres",
                 strstr(host, "port="));

        PgOptions options = options_of(where);
        pg_test_open(&test, &options);
        assert_true(pg_test_until(&test, is_logged, "set postgres.password_file"));
        assert_int_equal(captured.lines[0].level, LOG_ERROR);
        pg_test_close(&test);

        write_file(file, "w", "wrong\n");
        options.password_file = file;
        pg_test_open(&test, &options);
        assert_true(pg_test_until(&test, is_logged, "28P01"));
        assert_int_equal(captured.lines[0].level, LOG_ERROR);
        assert_true(is_logged("check user and password"));
        assert_false(is_logged("wrong"));
        write_file(file, "w", "a secret\n");
        assert_true(pg_test_until(&test, pg_test_is_up, test.pool));
        pg_test_close(&test);
        PQfinish(sql);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_stopped_and_started),
                cmocka_unit_test(test_by_name),
                cmocka_unit_test(test_backend_frozen),
                cmocka_unit_test(test_password),
        };
        return cmocka_run_group_tests(tests, setup, teardown);
}
