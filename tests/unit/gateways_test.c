/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026, the Dropgate authors
 *
 * Two gateways side by side: whoever got a cookie from one is served by the other if they have the
 * same master, also while it is being changed. */
#include <stdlib.h>

#include "tests/unit/wire.h"
// clang-format off
#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>
// clang-format on

static const uint8_t rig_master[32] = {7, 1, 8, 2, 8, 1, 8, 2, 8}; /* of every rig */
static const uint8_t next_master[32] = {1};

/* A second gateway like the first, that knows nothing of it. */
static struct wire *neighbor_of(const struct wire *w)
{
    return wire_new(w->family, NULL);
}

static void a_client_that_shook_hands_with_one_is_served_by_the_other(void **state)
{
    struct wire *a = wire_of(state), *b = neighbor_of(a);
    struct wire_talk t = wire_talk(a);
    const struct wire_segment first = wire_handshake(a, &t);
    wire_wait(b, 500);
    wire_ask(b, &t, wire_request);
    wire_accept(b, &t);
    wire_pass(b, &t, FROM_BACKEND, TCP_ACK | TCP_PSH, "HTTP/1.1 204 No Content\r\n\r\n");
    wire_close(b, &t, FROM_CLIENT);

    struct wire_talk again = wire_talk(b); /* the same pair of addresses: the same clock */
    const struct wire_segment second = wire_handshake(b, &again);
    assert_int_equal(second.options.tsval - first.options.tsval, b->unix_ms - a->unix_ms);
    wire_free(b);
}

static void a_cookie_of_another_master_is_nobodys(void **state)
{
    struct wire *a = wire_of(state), *b = neighbor_of(a);
    struct wire_talk t = wire_talk(a);
    wire_handshake(a, &t);
    cookie_keys_derive(&b->keys, next_master, b->unix_ms);
    const struct wire_segment data = wire_data(&t, FROM_CLIENT, TCP_ACK | TCP_PSH, wire_request);
    assert_int_equal(wire_send(b, &data, FROM_CLIENT), VERDICT_MISS_SILENT);
    wire_quiet(b);
    wire_free(b);
}

static void a_gateway_that_changed_its_master_serves_who_shook_hands_before(void **state)
{
    struct wire *a = wire_of(state), *b = neighbor_of(a);
    struct wire_talk t = wire_talk(a), late = wire_talk(a);
    wire_handshake(a, &t);
    wire_handshake(a, &late);
    cookie_keys_derive(&b->keys, next_master, b->unix_ms);
    cookie_keys_overlap(&b->keys, rig_master, b->unix_ms + COOKIE_LIFE_MS);
    wire_ask(b, &t, wire_request);
    wire_accept(b, &t);

    b->keys.previous_until_ms = b->unix_ms; /* the overlap is over */
    const struct wire_segment data = wire_data(&late, FROM_CLIENT, TCP_ACK | TCP_PSH, wire_request);
    assert_int_equal(wire_send(b, &data, FROM_CLIENT), VERDICT_MISS_SILENT);
    wire_free(b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        WIRE_TEST(a_client_that_shook_hands_with_one_is_served_by_the_other),
        WIRE_TEST(a_cookie_of_another_master_is_nobodys),
        WIRE_TEST(a_gateway_that_changed_its_master_serves_who_shook_hands_before),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
