#include "test.h"

#include <stdio.h>
#include <string.h>

#include "pg/resolve.h"

enum {
        DEADLINE_US = 20 * 1000 * 1000,
};

typedef struct Asker {
        ResolveWaiter waiter;
        LoopTimer deadline;
        Loop *loop;
        int answers;
        size_t n;
        char first[64];
        char why[256];
        char joined[3][256];
        size_t rotation;
} Asker;

static void on_answer(ResolveWaiter *waiter, const ResolvedAddress *addresses, size_t n,
                      const char *why) {
        Asker *asker = container_of(waiter, Asker, waiter);
        Buffer lists[3] = {BUFFER_INIT, BUFFER_INIT, BUFFER_INIT};
        asker->answers++;
        asker->n = n;
        snprintf(asker->why, sizeof(asker->why), "%s", why);
        if (n > 0) {
                snprintf(asker->first, sizeof(asker->first), "%s", addresses[0].address);
                assert_int_equal(resolved_join(addresses, n, asker->rotation, &lists[0], &lists[1],
                                               &lists[2]),
                                 0);
                for (int i = 0; i < 3; i++) {
                        snprintf(asker->joined[i], sizeof(asker->joined[i]), "%s",
                                 (char *)lists[i].data);
                        buffer_deinit(&lists[i]);
                }
        }
        loop_stop(asker->loop);
}

static void on_deadline(LoopTimer *timer) {
        loop_stop(container_of(timer, Asker, deadline)->loop);
}

static void ask(Asker *asker, const char *hosts, const char *ports, size_t rotation) {
        Loop loop;
        Resolver *resolver;
        *asker = (Asker){.loop = &loop, .rotation = rotation};
        assert_int_equal(loop_init(&loop), 0);
        assert_int_equal(resolver_new(&resolver, &loop, hosts, ports), 0);
        resolve_waiter_init(&asker->waiter, on_answer);
        loop_timer_init(&asker->deadline, &loop, "deadline", on_deadline);
        loop_timer_set(&asker->deadline, DEADLINE_US);
        assert_int_equal(resolver_ask(resolver, &asker->waiter), 0);
        assert_int_equal(asker->answers, 0); /* never at once */
        loop_run(&loop);
        loop_timer_stop(&asker->deadline);
        resolver_free(resolver);
        loop_deinit(&loop);
        assert_int_equal(asker->answers, 1);
}

static void test_localhost(void **state) {
        (void)state;
        Asker asker;
        ask(&asker, "localhost", "", 0);
        assert_true(asker.n >= 1);
        assert_true(strcmp(asker.first, "127.0.0.1") == 0 || strcmp(asker.first, "::1") == 0);
}

static void test_sockets_and_literals(void **state) {
        (void)state;
        Asker asker;
        ask(&asker, "/run/pg,127.0.0.1,,192.0.2.7", "1,2,,4", 0);
        assert_int_equal(asker.n, 4);
        assert_string_equal(asker.joined[0], "/run/pg,127.0.0.1,,192.0.2.7");
        assert_string_equal(asker.joined[1], ",127.0.0.1,,192.0.2.7");
        assert_string_equal(asker.joined[2], "1,2,,4");
}

static void test_one_port_for_all_and_rotation(void **state) {
        (void)state;
        Asker asker;
        ask(&asker, "127.0.0.1,127.0.0.2,127.0.0.3", "77", 4);
        assert_string_equal(asker.joined[1], "127.0.0.2,127.0.0.3,127.0.0.1");
        assert_string_equal(asker.joined[2], "77,77,77");
}

/* A label over 63 bytes is refused without asking a name server. */
#define BAD_NAME "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"

static void test_unknown_name(void **state) {
        (void)state;
        Asker asker;
        ask(&asker, BAD_NAME, "", 0);
        assert_int_equal(asker.n, 0);
        assert_non_null(strstr(asker.why, BAD_NAME));
        /* The others are tried all the same. */
        ask(&asker, BAD_NAME ",127.0.0.9", "", 0);
        assert_int_equal(asker.n, 1);
        assert_string_equal(asker.first, "127.0.0.9");
}

static void test_freed_while_looking_up(void **state) {
        (void)state;
        for (int i = 0; i < 50; i++) {
                Loop loop;
                Resolver *resolver;
                Asker asker = {.loop = &loop};
                assert_int_equal(loop_init(&loop), 0);
                assert_int_equal(resolver_new(&resolver, &loop, "localhost", ""), 0);
                resolve_waiter_init(&asker.waiter, on_answer);
                assert_int_equal(resolver_ask(resolver, &asker.waiter), 0);
                resolver_free(resolver);
                assert_int_equal(asker.answers, 0);
                assert_false(list_is_linked(&asker.waiter.link));
                loop_deinit(&loop);
        }
}

static void test_waiters_share_and_cancel(void **state) {
        (void)state;
        Loop loop;
        Resolver *resolver;
        Asker first = {.loop = &loop}, second = {.loop = &loop};
        assert_int_equal(loop_init(&loop), 0);
        assert_int_equal(resolver_new(&resolver, &loop, "localhost", ""), 0);
        resolve_waiter_init(&first.waiter, on_answer);
        resolve_waiter_init(&second.waiter, on_answer);
        loop_timer_init(&second.deadline, &loop, "deadline", on_deadline);
        loop_timer_set(&second.deadline, DEADLINE_US);
        assert_int_equal(resolver_ask(resolver, &first.waiter), 0);
        assert_int_equal(resolver_ask(resolver, &second.waiter), 0);
        resolve_waiter_cancel(&first.waiter);
        loop_run(&loop);
        assert_int_equal(first.answers, 0);
        assert_int_equal(second.answers, 1);
        /* It can be asked again. */
        assert_int_equal(resolver_ask(resolver, &first.waiter), 0);
        loop_run(&loop);
        assert_int_equal(first.answers, 1);
        loop_timer_stop(&second.deadline);
        resolver_free(resolver);
        resolver_free(NULL);
        loop_deinit(&loop);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_localhost),
                cmocka_unit_test(test_sockets_and_literals),
                cmocka_unit_test(test_one_port_for_all_and_rotation),
                cmocka_unit_test(test_unknown_name),
                cmocka_unit_test(test_freed_while_looking_up),
                cmocka_unit_test(test_waiters_share_and_cancel),
        };
        return cmocka_run_group_tests(tests, NULL, NULL);
}
