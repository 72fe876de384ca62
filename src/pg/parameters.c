#include "pg/parameters.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum {
        PASSWORD_MAX = 4096,
        PARAMETERS_MAX = 96, /* libpq 15 knows 45 */
};

#define HIDDEN                                                                                     \
        "libpq cannot read it, and what it says is not shown, since it may hold the password; "    \
        "a value with a space needs single quotes, and in a URI what is special is written as %XX"

static const struct {
        const char *keyword, *value;
} defaults[] = {
        {"client_encoding", "UTF8"},   {"gssencmode", "disable"},
        {"keepalives_count", "3"},     {"keepalives_idle", "5"},
        {"keepalives_interval", "3"},  {"target_session_attrs", "read-write"},
        {"tcp_user_timeout", "15000"},
};

static PQconninfoOption *find(PQconninfoOption *options, const char *keyword) {
        for (PQconninfoOption *option = options; option->keyword != NULL; option++) {
                if (strcmp(option->keyword, keyword) == 0) {
                        return option;
                }
        }
        return NULL;
}

static bool is_set(const PQconninfoOption *option) {
        return option != NULL && option->val != NULL && option->val[0] != '\0';
}

/* What libpq would take from the environment has to be known here, to be looked up. */
static int take_from_environment(PQconninfoOption *options) {
        static const char *const keywords[] = {"host", "hostaddr", "port"};
        for (size_t i = 0; i < sizeof(keywords) / sizeof(keywords[0]); i++) {
                PQconninfoOption *option = find(options, keywords[i]);
                if (option == NULL || is_set(option) || option->envvar == NULL) {
                        continue;
                }
                const char *value = getenv(option->envvar);
                if (value != NULL && value[0] != '\0') {
                        char *copy = strdup(value);
                        if (copy == NULL) {
                                return error_origin(-ENOMEM);
                        }
                        /* libpq frees it with free(): PQconninfoFree. */
                        free(option->val);
                        option->val = copy;
                }
        }
        return 0;
}

/* libpq repeats what it cannot read: a word of a password with a space in it, a whole URI. */
static bool may_hold_password(const char *dsn) {
        return strcasestr(dsn, "password") != NULL || strchr(dsn, '@') != NULL;
}

int parameters_init(Parameters *parameters, const char *dsn, const char *password_file,
                    const char *application_name, char **errorp) {
        char *why = NULL;
        PQconninfoOption *options = PQconninfoParse(dsn, &why);
        if (options == NULL) {
                if (why == NULL) {
                        return error_origin(-ENOMEM);
                }
                why[strcspn(why, "\n")] = '\0';
                int n = asprintf(errorp, "postgres.dsn: %s", may_hold_password(dsn) ? HIDDEN : why);
                PQfreemem(why);
                return n < 0 ? error_origin(-ENOMEM) : PARAMETERS_E_DSN;
        }
        if (is_set(find(options, "service"))) {
                PQconninfoFree(options);
                *errorp = strdup("postgres.dsn: service= is not supported; write host=, dbname= "
                                 "and so on here");
                return *errorp == NULL ? error_origin(-ENOMEM) : PARAMETERS_E_DSN;
        }
        int r = take_from_environment(options);
        if (r != 0) {
                PQconninfoFree(options);
                return r;
        }
        bool has_file = password_file != NULL && password_file[0] != '\0';
        *parameters = (Parameters){options, application_name, has_file ? password_file : NULL};
        return 0;
}

void parameters_deinit(Parameters *parameters) {
        PQconninfoFree(parameters->options);
        parameters->options = NULL;
}

const char *parameters_get(const Parameters *parameters, const char *keyword) {
        const PQconninfoOption *option = find(parameters->options, keyword);
        return is_set(option) ? option->val : "";
}

bool parameters_need_resolving(const Parameters *parameters) {
        const char *host = parameters_get(parameters, "host");
        struct in6_addr address; /* large enough for both */
        if (host[0] == '\0' || parameters_get(parameters, "hostaddr")[0] != '\0') {
                return false;
        }
        if (strchr(host, ',') != NULL) {
                return true;
        }
        return host[0] != '/' && host[0] != '@' && inet_pton(AF_INET, host, &address) != 1 &&
               inet_pton(AF_INET6, host, &address) != 1;
}

/* The content without its last newline. 0, or PARAMETERS_E_PASSWORD with errno. */
static int read_password(const char *path, char password[PASSWORD_MAX]) {
        int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
        if (fd < 0) {
                return PARAMETERS_E_PASSWORD;
        }
        ssize_t n;
        do {
                n = read(fd, password, PASSWORD_MAX - 1);
        } while (n < 0 && errno == EINTR);
        int error = errno;
        close(fd);
        if (n < 0) {
                errno = error;
                return PARAMETERS_E_PASSWORD;
        }
        if (n > 0 && password[n - 1] == '\n') {
                n--;
        }
        if (n > 0 && password[n - 1] == '\r') {
                n--;
        }
        password[n] = '\0';
        return 0;
}

typedef struct Pairs {
        const char *keywords[PARAMETERS_MAX];
        const char *values[PARAMETERS_MAX];
        size_t n;
} Pairs;

/* A later one of the same keyword counts: libpq takes the last. */
static void add_pair(Pairs *pairs, const char *keyword, const char *value) {
        if (pairs->n < PARAMETERS_MAX - 1) {
                pairs->keywords[pairs->n] = keyword;
                pairs->values[pairs->n] = value;
                pairs->n++;
        }
}

int parameters_connect(const Parameters *parameters, const ParametersPlace *place, bool blocking,
                       PGconn **connectionp) {
        Pairs pairs = {0};
        char password[PASSWORD_MAX];
        if (parameters->password_file != NULL) {
                int r = read_password(parameters->password_file, password);
                if (r != 0) {
                        return r;
                }
        }
        for (size_t i = 0; i < sizeof(defaults) / sizeof(defaults[0]); i++) {
                add_pair(&pairs, defaults[i].keyword, defaults[i].value);
        }
        add_pair(&pairs, "fallback_application_name", parameters->application_name);
        for (const PQconninfoOption *option = parameters->options; option->keyword != NULL;
             option++) {
                if (is_set(option)) {
                        add_pair(&pairs, option->keyword, option->val);
                }
        }
        if (place->hosts != NULL) {
                add_pair(&pairs, "host", place->hosts);
                add_pair(&pairs, "hostaddr", place->hostaddrs);
                add_pair(&pairs, "port", place->ports);
        }
        if (parameters->password_file != NULL) {
                add_pair(&pairs, "password", password);
        }
        PGconn *connection = blocking ? PQconnectdbParams(pairs.keywords, pairs.values, 0)
                                      : PQconnectStartParams(pairs.keywords, pairs.values, 0);
        if (parameters->password_file != NULL) {
                explicit_bzero(password, sizeof(password));
        }
        if (connection == NULL) {
                return error_origin(-ENOMEM);
        }
        *connectionp = connection;
        return 0;
}
