/* TLS: who is trusted, who trusts us, and what a failure at each step says about the request. */

#include "http-world.h"

#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>

/* A certificate with its key. */
typedef struct Identity {
        X509 *certificate;
        EVP_PKEY *key;
} Identity;

enum {
        DAY = 24 * 3600, /* seconds */
};

static char folder[] = "/tmp/test-http-tls-XXXXXX";
static char ca_file[64], other_file[64], client_file[64], stranger_file[64], expired_file[64],
        locked_file[64];
static Identity ca, other, server, wrong, old, client, stranger, expired;

static void add_extension(Identity *identity, X509 *issuer, int nid, const char *value) {
        X509V3_CTX context;
        X509V3_set_ctx(&context, issuer, identity->certificate, NULL, NULL, 0);
        X509_EXTENSION *extension = X509V3_EXT_conf_nid(NULL, &context, nid, value);
        assert_non_null(extension);
        assert_int_equal(X509_add_ext(identity->certificate, extension, -1), 1);
        X509_EXTENSION_free(extension);
}

/* @issuer NULL: signed by itself. @days: how long it is still valid; negative: was, until then. */
static Identity identity_new(const char *name, const Identity *issuer, bool authority, int days) {
        static long serial = 1;
        Identity new = {.certificate = X509_new(), .key = EVP_EC_gen("P-256")};
        assert_non_null(new.certificate);
        assert_non_null(new.key);
        const Identity *by = issuer != NULL ? issuer : &new;
        char alternative[128];
        X509_set_version(new.certificate, 2);
        ASN1_INTEGER_set(X509_get_serialNumber(new.certificate), serial++);
        X509_gmtime_adj(X509_getm_notBefore(new.certificate), -10L * DAY);
        X509_gmtime_adj(X509_getm_notAfter(new.certificate), (long)days * DAY);
        X509_set_pubkey(new.certificate, new.key);
        X509_NAME_add_entry_by_txt(X509_get_subject_name(new.certificate), "CN", MBSTRING_ASC,
                                   (const unsigned char *)name, -1, -1, 0);
        X509_set_issuer_name(new.certificate, X509_get_subject_name(by->certificate));
        add_extension(&new, by->certificate, NID_basic_constraints,
                      authority ? "critical,CA:TRUE" : "CA:FALSE");
        snprintf(alternative, sizeof(alternative), "DNS:%s", name);
        add_extension(&new, by->certificate, NID_subject_alt_name, alternative);
        assert_true(X509_sign(new.certificate, by->key, EVP_sha256()) > 0);
        return new;
}

static void identity_free(Identity *identity) {
        X509_free(identity->certificate);
        EVP_PKEY_free(identity->key);
}

/* Certificate and key in one file; @passphrase locks the key. */
static void identity_write(const Identity *identity, bool key, char *passphrase, char path[64],
                           const char *name) {
        snprintf(path, 64, "%s/%s.pem", folder, name);
        FILE *file = fopen(path, "w");
        assert_non_null(file);
        assert_int_equal(PEM_write_X509(file, identity->certificate), 1);
        if (key) {
                assert_int_equal(PEM_write_PrivateKey(file, identity->key,
                                                      passphrase != NULL ? EVP_aes_128_cbc() : NULL,
                                                      NULL, 0, NULL, passphrase),
                                 1);
        }
        assert_int_equal(fclose(file), 0);
}

static int make_identities(void **state) {
        (void)state;
        char passphrase[] = "secret";
        if (mkdtemp(folder) == NULL) {
                return -1;
        }
        ca = identity_new("the authority", NULL, true, 10);
        other = identity_new("another authority", NULL, true, 10);
        server = identity_new("bmc.test", &ca, false, 10);
        wrong = identity_new("elsewhere.test", &ca, false, 10);
        old = identity_new("bmc.test", &ca, false, -1);
        client = identity_new("ackd", &ca, false, 10);
        stranger = identity_new("ackd", &other, false, 10);
        expired = identity_new("ackd", &ca, false, -1);
        identity_write(&ca, false, NULL, ca_file, "ca");
        identity_write(&other, false, NULL, other_file, "other");
        identity_write(&client, true, NULL, client_file, "client");
        identity_write(&stranger, true, NULL, stranger_file, "stranger");
        identity_write(&expired, true, NULL, expired_file, "expired");
        identity_write(&client, true, passphrase, locked_file, "locked");
        return 0;
}

static int drop_identities(void **state) {
        (void)state;
        Identity *all[] = {&ca, &other, &server, &wrong, &old, &client, &stranger, &expired};
        char *files[] = {ca_file,       other_file,   client_file,
                         stranger_file, expired_file, locked_file};
        for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++) {
                identity_free(all[i]);
        }
        for (size_t i = 0; i < sizeof(files) / sizeof(files[0]); i++) {
                unlink(files[i]);
        }
        return rmdir(folder);
}

/* An endpoint with this identity; @asks: it demands a certificate of the authority's. */
static SSL_CTX *context_new(const Identity *identity, bool asks, int version) {
        SSL_CTX *context = SSL_CTX_new(TLS_server_method());
        assert_non_null(context);
        SSL_CTX_set_min_proto_version(context, version);
        SSL_CTX_set_max_proto_version(context, version);
        assert_int_equal(SSL_CTX_use_certificate(context, identity->certificate), 1);
        assert_int_equal(SSL_CTX_use_PrivateKey(context, identity->key), 1);
        if (asks) {
                SSL_CTX_set_verify(context, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT,
                                   NULL);
                X509_STORE_add_cert(SSL_CTX_get_cert_store(context), ca.certificate);
        }
        return context;
}

/* One request to such an endpoint. */
static void ask(World *world, SSL_CTX *context, void (*serve)(Connection *)) {
        server_start(&world->server, serve, OK, context);
        world_make(world, "https", "bmc.test");
        world_once(world);
        world_free_action(world);
        server_stop(&world->server);
        SSL_CTX_free(context);
}

static void test_trusted(void **state) {
        World *world = *state;
        world->options.ca_file = ca_file;
        ask(world, context_new(&server, false, TLS1_2_VERSION), serve_answer);
        world_expect(world, OUTCOME_DONE, true, 200, "HTTP 200");
        ask(world, context_new(&server, false, TLS1_3_VERSION), serve_answer);
        world_expect(world, OUTCOME_DONE, true, 200, "HTTP 200");
}

static int choose_protocol(SSL *tls, const unsigned char **chosen, unsigned char *size,
                           const unsigned char *offered, unsigned int offered_size, void *user) {
        static const unsigned char http2[] = "\x02h2";
        bool *found = user;
        (void)tls;
        (void)chosen;
        (void)size;
        *found = memmem(offered, offered_size, http2, 3) != NULL;
        return SSL_TLSEXT_ERR_NOACK;
}

/* Which repeats requests by itself. */
static void test_no_http2(void **state) {
        World *world = *state;
        bool found = true;
        SSL_CTX *context = context_new(&server, false, TLS1_3_VERSION);
        SSL_CTX_set_alpn_select_cb(context, choose_protocol, &found);
        world->options.ca_file = ca_file;
        ask(world, context, serve_answer);
        world_expect(world, OUTCOME_DONE, true, 200, "HTTP 200");
        assert_false(found);
}

static void test_not_trusted(void **state) {
        World *world = *state;
        world->options.ca_file = ca_file;
        ask(world, context_new(&wrong, false, TLS1_3_VERSION), serve_answer);
        world_expect(world, OUTCOME_NOT_STARTED, true, -1,
                     "name matches target host name 'bmc.test'");
        ask(world, context_new(&old, false, TLS1_3_VERSION), serve_answer);
        world_expect(world, OUTCOME_NOT_STARTED, true, -1, "certificate has expired");
        ask(world, context_new(&other, false, TLS1_3_VERSION), serve_answer);
        world_expect(world, OUTCOME_NOT_STARTED, true, -1, "self-signed certificate");
        world->options.ca_file = other_file;
        ask(world, context_new(&server, false, TLS1_3_VERSION), serve_answer);
        world_expect(world, OUTCOME_NOT_STARTED, true, -1, "unable to get local issuer");
        world->options.ca_file = ""; /* the system's */
        ask(world, context_new(&server, false, TLS1_2_VERSION), serve_answer);
        world_expect(world, OUTCOME_NOT_STARTED, true, -1, "unable to get local issuer");
}

static void test_no_tls_there(void **state) {
        World *world = *state;
        world->options.ca_file = ca_file;
        world->options.connect_timeout_us = 300 * MS;
        ask(world, NULL, serve_hang_unread);
        world_expect(world, OUTCOME_NOT_STARTED, true, -1, "SSL connection timeout");
        world->options.connect_timeout_us = 10 * SECOND;
        world->options.timeout_us = 300 * MS;
        ask(world, NULL, serve_hang_unread);
        world_expect(world, OUTCOME_NOT_STARTED, true, -1, "timed out after 0.3 s before");
}

/* What it gets is no request, but what begins a TLS connection; so nothing of one was sent. */
static void serve_plain(Connection *connection) {
        char data[16];
        if (recv(connection->fd, data, sizeof(data), 0) > 0) {
                (void)server_say(connection, OK);
        }
}

static void serve_nothing(Connection *connection) {
        (void)connection;
}

static void test_speaks_plain(void **state) {
        World *world = *state;
        world->options.ca_file = ca_file;
        ask(world, NULL, serve_plain);
        world_expect(world, OUTCOME_NOT_STARTED, true, -1, "wrong version number");
        ask(world, NULL, serve_nothing);
        world_expect(world, OUTCOME_NOT_STARTED, true, -1, ""); /* an end or a reset */
}

static void test_old_tls(void **state) {
        World *world = *state;
        SSL_CTX *context = context_new(&server, false, TLS1_1_VERSION);
        SSL_CTX_set_security_level(context, 0);
        world->options.ca_file = ca_file;
        ask(world, context, serve_answer);
        world_expect(world, OUTCOME_NOT_STARTED, true, -1, "protocol version");
}

/* TLS 1.3 refuses a client only after its request was written: see http.c, 4. */
static void test_client_certificates(void **state) {
        World *world = *state;
        static const int versions[] = {TLS1_2_VERSION, TLS1_3_VERSION};
        world->options.ca_file = ca_file;
        for (size_t i = 0; i < 2; i++) {
                bool late = versions[i] == TLS1_3_VERSION;
                const struct {
                        const char *file, *detail;
                        Outcome outcome;
                } table[] = {
                        {"", late ? "certificate: certificate required" : "handshake failure",
                         OUTCOME_NOT_STARTED},
                        {stranger_file, "certificate: unknown CA", OUTCOME_NOT_STARTED},
                        {expired_file, "certificate: certificate expired", OUTCOME_NOT_STARTED},
                        {client_file, "HTTP 200", OUTCOME_DONE},
                };
                for (size_t j = 0; j < sizeof(table) / sizeof(table[0]); j++) {
                        bool done = table[j].outcome == OUTCOME_DONE;
                        world->options.cert_file = table[j].file;
                        ask(world, context_new(&server, true, versions[i]), serve_answer);
                        world_expect(world, table[j].outcome, true, done ? 200 : -1,
                                     table[j].detail);
                }
        }
}

/* Asks for a certificate when the request has been read, and refuses who has none. */
static void serve_late_demand(Connection *connection) {
        if (server_read_request(connection)) {
                SSL_set_verify(connection->tls, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT,
                               NULL);
                if (SSL_verify_client_post_handshake(connection->tls) == 1) {
                        SSL_do_handshake(connection->tls);
                        server_hang(connection);
                }
        }
}

static void test_late_demand(void **state) {
        World *world = *state;
        world->options.ca_file = ca_file;
        ask(world, context_new(&server, false, TLS1_3_VERSION), serve_late_demand);
        /* A request that was read: never "not started", whatever became of the demand. */
        world_expect(world, OUTCOME_UNKNOWN, true, -1, "the request was sent, and no answer came");
}

/* A break behind the handshake, and an alert that says nothing of certificates. */
static void serve_alert(Connection *connection) {
        static const char alert[] = "\x15\x03\x03\x00\x02\x02\x50";
        if (server_read_request(connection)) {
                (void)send(connection->fd, alert, sizeof(alert) - 1, MSG_NOSIGNAL);
        }
}

static void test_breaks_behind_the_handshake(void **state) {
        World *world = *state;
        world->options.ca_file = ca_file;
        ask(world, context_new(&server, false, TLS1_3_VERSION), serve_close);
        world_expect(world, OUTCOME_UNKNOWN, true, -1, "the request was sent, and no answer came");
        ask(world, context_new(&server, false, TLS1_2_VERSION), serve_alert);
        world_expect(world, OUTCOME_UNKNOWN, true, -1, "the request was sent, and no answer came");
        world->options.timeout_us = 1 * SECOND;
        ask(world, context_new(&server, false, TLS1_3_VERSION), serve_hang);
        world_expect(world, OUTCOME_UNKNOWN, true, -1, "timed out after 1 s; the request was");
}

/* Files that are ours to mend: charged to nobody, and said once. */
static void test_our_files(void **state) {
        World *world = *state;
        world->options.ca_file = "/nonexistent/ca.pem";
        ask(world, context_new(&server, false, TLS1_3_VERSION), serve_answer);
        world_expect(world, OUTCOME_NOT_STARTED, false, -1, "/nonexistent/ca.pem");
        assert_int_equal(captured.n, 1);
        assert_string_equal(captured.lines[0].event, "http.not_started");
        world->options.ca_file = ca_file;
        world->options.cert_file = "/nonexistent/client.pem";
        ask(world, context_new(&server, false, TLS1_3_VERSION), serve_answer);
        world_expect(world, OUTCOME_NOT_STARTED, false, -1, "/nonexistent/client.pem");
        /* A key with a passphrase: nobody is asked for it at the terminal. */
        world->options.cert_file = locked_file;
        ask(world, context_new(&server, false, TLS1_3_VERSION), serve_answer);
        world_expect(world, OUTCOME_NOT_STARTED, false, -1, "unable to set private key file");
        world->options.cert_file = client_file;
        world->options.key_file = expired_file; /* of another certificate */
        ask(world, context_new(&server, false, TLS1_3_VERSION), serve_answer);
        world_expect(world, OUTCOME_NOT_STARTED, false, -1, "key");
}

static void test_fifty_at_once(void **state) {
        World *world = *state;
        world->options.ca_file = ca_file;
        SSL_CTX *context = context_new(&server, false, TLS1_3_VERSION);
        server_start(&world->server, serve_answer, OK, context);
        world->server.wanted = 50;
        world_make(world, "https", "bmc.test");
        for (int i = 0; i < 50; i++) {
                world_start(world, &plain);
        }
        world_run(world, 50);
        assert_int_equal(world->outcomes[OUTCOME_DONE], 50);
        assert_int_equal(server_requests(&world->server), 50);
        world_free_action(world);
        server_stop(&world->server);
        SSL_CTX_free(context);
}

int main(void) {
#define TEST(function) cmocka_unit_test_setup_teardown(function, world_setup, world_teardown)
        const struct CMUnitTest tests[] = {
                TEST(test_trusted),
                TEST(test_no_http2),
                TEST(test_not_trusted),
                TEST(test_no_tls_there),
                TEST(test_speaks_plain),
                TEST(test_old_tls),
                TEST(test_client_certificates),
                TEST(test_late_demand),
                TEST(test_breaks_behind_the_handshake),
                TEST(test_our_files),
                TEST(test_fifty_at_once),
        };
        signal(SIGPIPE, SIG_IGN); /* of the endpoint's own writes */
        return cmocka_run_group_tests(tests, make_identities, drop_identities);
}
