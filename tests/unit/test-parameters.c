#include "test.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "pg/parameters.h"

static void expect_refused(const char *dsn, const char *part) {
        Parameters parameters;
        char *error = NULL;
        assert_int_equal(parameters_init(&parameters, dsn, NULL, "test", &error), PARAMETERS_E_DSN);
        assert_non_null(strstr(error, "postgres.dsn: "));
        assert_non_null(strstr(error, part));
        assert_null(strchr(error, '\n'));
        free(error);
}

static void test_bad_dsn(void **state) {
        (void)state;
        expect_refused("host", "missing \"=\"");
        expect_refused("hots=x", "hots");
        expect_refused("postgresql://[::1", "]");
        expect_refused("service=prod", "service= is not supported");
}

/* libpq's own words would repeat it. */
static void test_password_is_not_repeated(void **state) {
        (void)state;
        static const char *const dsns[] = {
                "host=x password=my hunter2",
                "host=x PassWord='hunter2",
                "postgresql://u:hunter2@[::1/d",
                "postgresql://u@h/d?hunter2=1&password=hunter2",
        };
        for (size_t i = 0; i < sizeof(dsns) / sizeof(dsns[0]); i++) {
                Parameters parameters;
                char *error = NULL;
                assert_int_equal(parameters_init(&parameters, dsns[i], NULL, "test", &error),
                                 PARAMETERS_E_DSN);
                assert_non_null(strstr(error, "postgres.dsn: libpq cannot read it"));
                assert_null(strstr(error, "hunter2"));
                free(error);
        }
}

static bool needs_resolving(const char *dsn) {
        Parameters parameters;
        char *error = NULL;
        assert_int_equal(parameters_init(&parameters, dsn, NULL, "test", &error), 0);
        bool needs = parameters_need_resolving(&parameters);
        parameters_deinit(&parameters);
        return needs;
}

static void test_resolving(void **state) {
        (void)state;
        unsetenv("PGHOST");
        assert_false(needs_resolving(""));
        assert_false(needs_resolving("host=/run/postgresql"));
        assert_false(needs_resolving("host=@abstract"));
        assert_false(needs_resolving("host=192.0.2.1"));
        assert_false(needs_resolving("host=2001:db8::1"));
        assert_false(needs_resolving("host=db.example.com hostaddr=192.0.2.1"));
        assert_true(needs_resolving("host=db.example.com"));
        assert_true(needs_resolving("postgresql://db.example.com/ackd"));
        assert_true(needs_resolving("host=192.0.2.1,192.0.2.2"));
        setenv("PGHOST", "db.example.com", 1);
        assert_true(needs_resolving(""));
        assert_false(needs_resolving("host=/run/postgresql"));
        unsetenv("PGHOST");
}

static const char *option(PGconn *connection, const char *keyword, char out[64]) {
        PQconninfoOption *options = PQconninfo(connection);
        out[0] = '\0';
        for (PQconninfoOption *one = options; one->keyword != NULL; one++) {
                if (strcmp(one->keyword, keyword) == 0 && one->val != NULL) {
                        strncpy(out, one->val, 63);
                        out[63] = '\0';
                }
        }
        PQconninfoFree(options);
        return out;
}

static PGconn *start(const char *dsn, const char *password_file) {
        Parameters parameters;
        ParametersPlace place = {0};
        PGconn *connection = NULL;
        char *error = NULL;
        assert_int_equal(parameters_init(&parameters, dsn, password_file, "ackd x", &error), 0);
        assert_int_equal(parameters_connect(&parameters, &place, false, &connection), 0);
        parameters_deinit(&parameters);
        return connection;
}

static void test_defaults_and_overrides(void **state) {
        (void)state;
        char out[64];
        PGconn *connection = start("host=/nowhere dbname=d", "");
        assert_string_equal(option(connection, "target_session_attrs", out), "read-write");
        assert_string_equal(option(connection, "gssencmode", out), "disable");
        assert_string_equal(option(connection, "tcp_user_timeout", out), "15000");
        assert_string_equal(option(connection, "fallback_application_name", out), "ackd x");
        PQfinish(connection);
        connection = start("host=/nowhere target_session_attrs=any application_name=mine", NULL);
        assert_string_equal(option(connection, "target_session_attrs", out), "any");
        assert_string_equal(option(connection, "application_name", out), "mine");
        PQfinish(connection);
}

static void test_place_replaces_hosts(void **state) {
        (void)state;
        Parameters parameters;
        ParametersPlace place = {"db,db", "127.0.0.1,127.0.0.2", "1,2"};
        PGconn *connection = NULL;
        char *error = NULL;
        char out[64];
        assert_int_equal(parameters_init(&parameters, "host=db port=5", NULL, "test", &error), 0);
        assert_int_equal(parameters_connect(&parameters, &place, false, &connection), 0);
        assert_string_equal(option(connection, "host", out), "db,db");
        assert_string_equal(option(connection, "hostaddr", out), "127.0.0.1,127.0.0.2");
        assert_string_equal(option(connection, "port", out), "1,2");
        PQfinish(connection);
        parameters_deinit(&parameters);
}

static void expect_password(const char *content, const char *expected) {
        char path[] = "/tmp/ackd-test-password.XXXXXX";
        int fd = mkstemp(path);
        assert_true(fd >= 0);
        assert_int_equal(write(fd, content, strlen(content)), (ssize_t)strlen(content));
        close(fd);
        PGconn *connection = start("host=/nowhere password=fromdsn", path);
        assert_string_equal(PQpass(connection), expected);
        PQfinish(connection);
        unlink(path);
}

static void test_password_file(void **state) {
        (void)state;
        expect_password("secret", "secret");
        expect_password("secret\n", "secret");
        expect_password("secret\r\n", "secret");
        expect_password("two words \n\n", "two words \n");
        Parameters parameters;
        ParametersPlace place = {0};
        PGconn *connection = NULL;
        char *error = NULL;
        assert_int_equal(parameters_init(&parameters, "", "/nowhere/secret", "test", &error), 0);
        assert_int_equal(parameters_connect(&parameters, &place, false, &connection),
                         PARAMETERS_E_PASSWORD);
        assert_int_equal(errno, ENOENT);
        assert_null(connection);
        parameters_deinit(&parameters);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_bad_dsn),
                cmocka_unit_test(test_resolving),
                cmocka_unit_test(test_defaults_and_overrides),
                cmocka_unit_test(test_place_replaces_hosts),
                cmocka_unit_test(test_password_file),
                cmocka_unit_test(test_password_is_not_repeated),
        };
        return cmocka_run_group_tests(tests, NULL, NULL);
}
