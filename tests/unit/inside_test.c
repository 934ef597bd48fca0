/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026, the Dropgate authors
 *
 * What comes from inside without a flow: spoofs are dropped, strays are reset, sparingly. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
// clang-format off
#include <cmocka.h>
// clang-format on

#include "tests/unit/wire.h"

static void pitfall_29_only_a_flows_own_backend_may_speak_for_it(void **state)
{
    struct wire *w = wire_of(state);
    struct wire_talk t = wire_talk(w);
    wire_open(w, &t);
    struct wire_segment spoof = wire_segment(&t, FROM_BACKEND, TCP_RST | TCP_ACK);
    spoof.source.bytes[15] = 77; /* a neighbour that is no backend */
    assert_int_equal(wire_send(w, &spoof, FROM_BACKEND), VERDICT_INSIDE_SPOOF);
    spoof = wire_segment(&t, FROM_BACKEND, TCP_RST | TCP_ACK);
    spoof.source_port = 22; /* the backend's host, another port */
    assert_int_equal(wire_send(w, &spoof, FROM_BACKEND), VERDICT_INSIDE_SPOOF);
    wire_quiet(w);
    wire_pass(w, &t, FROM_BACKEND, TCP_ACK, "the real one");
}

static void pitfall_29_a_reset_of_the_backend_outside_the_window_is_dropped(void **state)
{
    struct wire *w = wire_of(state);
    struct wire_talk t = wire_talk(w);
    wire_open(w, &t);
    struct wire_segment reset = wire_segment(&t, FROM_BACKEND, TCP_RST | TCP_ACK);
    reset.seq += 0x10000000;
    assert_int_equal(wire_send(w, &reset, FROM_BACKEND), VERDICT_OUT_OF_WINDOW);
    wire_quiet(w);
    wire_expect_tables(w, 1, 0);
}

static void a_flow_is_its_own_clients(void **state)
{
    struct wire *w = wire_of(state);
    struct wire_talk t = wire_talk(w), stranger;
    wire_open(w, &t);
    stranger = t;
    stranger.client.at.port++;
    const struct wire_segment s = wire_data(&stranger, FROM_BACKEND, TCP_ACK, "x");
    assert_int_equal(wire_send(w, &s, FROM_BACKEND), VERDICT_INSIDE_RESET);
    wire_out(w, INSIDE);
    wire_quiet(w);
}

static void a_stray_segment_with_ack_is_reset_at_its_ack(void **state)
{
    struct wire *w = wire_of(state);
    struct wire_talk t = wire_talk(w);
    t.server.expects = 0xabcdef01;
    static const uint8_t flags[] = {TCP_ACK, TCP_ACK | TCP_FIN, TCP_ACK | TCP_SYN};
    for (size_t i = 0; i < sizeof flags; i++) {
        const struct wire_segment s = wire_data(&t, FROM_BACKEND, flags[i], "data");
        assert_int_equal(wire_send(w, &s, FROM_BACKEND), VERDICT_INSIDE_RESET);
        const struct wire_segment reset = wire_out(w, INSIDE);
        assert_int_equal(reset.flags, TCP_RST);
        assert_int_equal(reset.seq, 0xabcdef01);
        assert_int_equal(reset.ack, 0);
        assert_int_equal(reset.length, 0);
        assert_memory_equal(&reset.to, &t.server.mac, 6);
        assert_true(addr_equal(&reset.source, &t.client.at.addr));
        assert_true(addr_equal(&reset.destination, &t.server.at.addr));
    }
}

static void pitfall_09_a_stray_segment_without_ack_is_reset_behind_its_end(void **state)
{
    struct wire *w = wire_of(state);
    struct wire_talk t = wire_talk(w);
    t.server.next = 1000;
    const struct wire_segment s = wire_data(&t, FROM_BACKEND, TCP_SYN, "data");
    assert_int_equal(wire_send(w, &s, FROM_BACKEND), VERDICT_INSIDE_RESET);
    const struct wire_segment reset = wire_out(w, INSIDE);
    assert_int_equal(reset.flags, TCP_RST | TCP_ACK);
    assert_int_equal(reset.seq, 0);
    assert_int_equal(reset.ack, 1005);
}

static void a_stray_reset_is_never_answered(void **state)
{
    struct wire *w = wire_of(state);
    struct wire_talk t = wire_talk(w);
    const struct wire_segment s = wire_segment(&t, FROM_BACKEND, TCP_RST | TCP_ACK);
    assert_int_equal(wire_send(w, &s, FROM_BACKEND), VERDICT_INSIDE_NO_FLOW);
    wire_quiet(w);
}

static void pitfall_07_resets_of_strays_come_from_a_budget(void **state)
{
    struct wire *w = wire_of(state);
    struct wire_talk t = wire_talk(w);
    w->limits.per_second[LEASE_INSIDE_RESETS] = 3;
    const struct wire_segment s = wire_data(&t, FROM_BACKEND, TCP_ACK, "x");
    for (int i = 0; i < 9; i++)
        assert_int_equal(wire_send(w, &s, FROM_BACKEND),
                         i < 3 ? VERDICT_INSIDE_RESET : VERDICT_BUDGET);
    assert_int_equal(wire_pending(w), 3);
}

static void a_backend_that_goes_on_after_a_flow_ended_is_reset(void **state)
{
    struct wire *w = wire_of(state);
    struct wire_talk t = wire_talk(w);
    wire_open(w, &t);
    wire_pass(w, &t, FROM_CLIENT, TCP_RST | TCP_ACK, "");
    const struct wire_segment s = wire_data(&t, FROM_BACKEND, TCP_ACK, "still talking");
    assert_int_equal(wire_send(w, &s, FROM_BACKEND), VERDICT_INSIDE_RESET);
    assert_int_equal(wire_out(w, INSIDE).seq, t.server.expects);
}

static void a_connection_to_the_gateway_itself_finds_no_service(void **state)
{
    struct wire *w = wire_of(state);
    struct wire_talk t = wire_talk(w);
    struct wire_segment s = wire_segment(&t, FROM_BACKEND, TCP_SYN);
    s.destination = w->services->backend[w->family].source;
    s.source.bytes[15] = 77;
    assert_int_equal(wire_send(w, &s, FROM_BACKEND), VERDICT_NO_SERVICE);
    wire_quiet(w);
}

/* Whoever is inside gets no cookies: services are for the outside. */
static void a_syn_from_inside_to_a_service_is_a_spoof(void **state)
{
    struct wire *w = wire_of(state);
    struct wire_talk t = wire_talk(w);
    struct wire_segment syn = wire_segment(&t, FROM_CLIENT, TCP_SYN);
    syn.to = w->shard->mac[INSIDE];
    assert_int_equal(wire_in(w, INSIDE, &syn), VERDICT_INSIDE_SPOOF);
    wire_quiet(w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        WIRE_TEST(pitfall_29_only_a_flows_own_backend_may_speak_for_it),
        WIRE_TEST(pitfall_29_a_reset_of_the_backend_outside_the_window_is_dropped),
        WIRE_TEST(a_flow_is_its_own_clients),
        WIRE_TEST(a_stray_segment_with_ack_is_reset_at_its_ack),
        WIRE_TEST(pitfall_09_a_stray_segment_without_ack_is_reset_behind_its_end),
        WIRE_TEST(a_stray_reset_is_never_answered),
        WIRE_TEST(pitfall_07_resets_of_strays_come_from_a_budget),
        WIRE_TEST(a_backend_that_goes_on_after_a_flow_ended_is_reset),
        WIRE_TEST(a_connection_to_the_gateway_itself_finds_no_service),
        WIRE_TEST(a_syn_from_inside_to_a_service_is_a_spoof),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
