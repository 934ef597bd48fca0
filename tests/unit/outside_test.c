/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026, the Dropgate authors
 *
 * What clients get without a flow: cookies, silence, sparing answers; and what becomes of a flow
 * whose tuple a client uses again. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
// clang-format off
#include <cmocka.h>
// clang-format on

#include "tests/unit/wire.h"

/* ---- SYN ---- */

static void a_syn_gets_a_cookie_and_leaves_nothing_behind(void **state)
{
    struct wire *w = wire_of(state);
    struct wire_talk t = wire_talk(w);
    const struct wire_segment answer = wire_handshake(w, &t);
    assert_memory_equal(&answer.to, &t.client.mac, 6); /* by swapping, not by looking up */
    assert_true(addr_equal(&answer.source, &t.listen.addr));
    assert_true(addr_equal(&answer.destination, &t.client.at.addr));
    assert_int_equal(answer.source_port, t.listen.port);
    assert_int_equal(answer.destination_port, t.client.at.port);
    wire_expect_tables(w, 0, 0);
    assert_int_equal(w->shard->verdicts[VERDICT_SYN_COOKIE], 1);
}

/* What was offered, as bits, and what may be granted at most. */
enum { MSS = 1, SACK = 2, TIMESTAMPS = 4, SCALE = 8, ALL = 15 };

static void offer_bits(struct wire_talk *t, unsigned bits)
{
    if (!(bits & MSS))
        t->client.mss = 0;
    t->client.sack = bits & SACK;
    t->client.timestamps = bits & TIMESTAMPS;
    if (!(bits & SCALE))
        t->client.scale = COOKIE_NO_SCALE;
}

static unsigned granted_bits(const struct wire_segment *answer)
{
    const struct tcp_options *o = &answer->options;
    return (o->mss ? MSS : 0U) | (o->sack_ok ? SACK : 0U) | (o->timestamps ? TIMESTAMPS : 0U) |
           (o->window_scale != COOKIE_NO_SCALE ? SCALE : 0U);
}

static void pitfall_01_an_option_is_granted_only_if_it_was_offered(void **state)
{
    struct wire *w = wire_of(state);
    for (unsigned bits = 0; bits <= ALL; bits++) {
        struct wire_talk t = wire_talk(w);
        offer_bits(&t, bits);
        const struct wire_segment answer = wire_handshake(w, &t);
        assert_int_equal(granted_bits(&answer), bits | MSS);
        assert_int_equal(answer.options.mss, w->family == WIRE_V4 ? 1460 : 1440);
        assert_int_equal(answer.options.tsecr, bits & TIMESTAMPS ? 0xffffff00 : 0);
    }
}

static void pitfall_01_unknown_options_are_not_reflected(void **state)
{
    static const uint8_t strange[][12] = {
        {30, 12, 0x00, 0x81, 1, 2, 3, 4, 5, 6, 7, 8},       /* MPTCP, MP_CAPABLE */
        {34, 2, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1},              /* TCP Fast Open, cookie request */
        {34, 10, 1, 2, 3, 4, 5, 6, 7, 8, 1, 1},             /* … with a cookie */
        {254, 6, 0xe2, 0xd4, 0xc3, 0xd9, 1, 1, 1, 1, 1, 1}, /* SMC-R, experimental */
        {172, 11, 1, 2, 3, 4, 5, 6, 7, 8, 9, 1},            /* AccECN */
    };
    struct wire *w = wire_of(state);
    for (size_t i = 0; i < sizeof strange / sizeof strange[0]; i++) {
        struct wire_talk t = wire_talk(w);
        struct wire_segment syn = wire_segment(&t, FROM_CLIENT, TCP_SYN);
        memcpy(syn.extra, strange[i], sizeof strange[i]);
        syn.extra_length = sizeof strange[i];
        assert_int_equal(wire_send(w, &syn, FROM_CLIENT), VERDICT_SYN_COOKIE);
        const struct wire_segment answer = wire_out(w, OUTSIDE); /* fails on any other option */
        assert_int_equal(granted_bits(&answer), ALL);
    }
}

static void pitfall_02_a_syns_payload_is_neither_reflected_nor_acknowledged(void **state)
{
    struct wire *w = wire_of(state);
    struct wire_talk t = wire_talk(w);
    struct wire_segment syn = wire_data(&t, FROM_CLIENT, TCP_SYN, wire_request);
    assert_int_equal(wire_send(w, &syn, FROM_CLIENT), VERDICT_SYN_COOKIE);
    const struct wire_segment answer = wire_out(w, OUTSIDE);
    assert_int_equal(answer.length, 0);
    assert_int_equal(answer.ack, t.client.isn + 1);
    wire_expect_tables(w, 0, 0);
}

static void pitfall_02_a_malformed_syn_is_dropped_with_its_reason(void **state)
{
    static const uint8_t bad[][4] = {{2, 0, 5, 180}, {2, 40, 5, 180}, {2, 3, 5, 1},
                                     {3, 2, 1, 1},   {4, 3, 0, 1},    {8, 4, 0, 0}};
    struct wire *w = wire_of(state);
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        struct wire_talk t = wire_talk(w);
        offer_bits(&t, 0);
        struct wire_segment syn = wire_segment(&t, FROM_CLIENT, TCP_SYN);
        memcpy(syn.extra, bad[i], 4);
        syn.extra_length = 4;
        assert_int_equal(wire_send(w, &syn, FROM_CLIENT), VERDICT_BAD_OPTIONS);
        wire_quiet(w);
    }
}

static void pitfall_03_the_window_is_open_before_the_backend_answers(void **state)
{
    struct wire *w = wire_of(state);
    struct wire_talk t = wire_talk(w);
    assert_int_equal(wire_handshake(w, &t).window, 8192);
}

static void pitfall_12_syns_are_answered_while_the_backends_next_hop_is_unknown(void **state)
{
    struct wire *w = wire_of(state);
    struct wire_talk t = wire_talk(w);
    w->neighbors->backend[w->family].known = false;
    wire_handshake(w, &t);
    const struct wire_segment data = wire_data(&t, FROM_CLIENT, TCP_ACK, wire_request);
    assert_int_equal(wire_send(w, &data, FROM_CLIENT), VERDICT_BACKEND_UNRESOLVED);
    wire_quiet(w);
    wire_expect_tables(w, 0, 0);
    w->neighbors->backend[w->family].known = true;
    wire_ask(w, &t, wire_request); /* the client's retransmission */
}

static void pitfall_30_only_what_the_backend_supports_is_granted(void **state)
{
    struct wire *w = wire_of(state);
    for (unsigned bits = 0; bits <= ALL; bits++) {
        struct wire_talk t = wire_talk(w);
        wire_offer(w, t.service, 1300, bits & SCALE ? 5 : COOKIE_NO_SCALE, bits & SACK,
                   bits & TIMESTAMPS);
        const struct wire_segment answer = wire_handshake(w, &t);
        assert_int_equal(granted_bits(&answer), bits | MSS);
        assert_int_equal(answer.options.mss, 1300);
        if (bits & SCALE)
            assert_int_equal(answer.options.window_scale, 5);
        const struct wire_segment syn = wire_ask(w, &t, wire_request);
        assert_int_equal(granted_bits(&syn), bits | MSS);
    }
}

static void ecn_is_declined_and_the_syn_answered(void **state)
{
    enum { CWR = 0x80, ECE = 0x40 };
    struct wire *w = wire_of(state);
    struct wire_talk t = wire_talk(w);
    struct wire_segment syn = wire_segment(&t, FROM_CLIENT, TCP_SYN | CWR | ECE);
    assert_int_equal(wire_send(w, &syn, FROM_CLIENT), VERDICT_SYN_COOKIE);
    assert_int_equal(wire_out(w, OUTSIDE).flags, TCP_SYN | TCP_ACK);
}

static void timestamps_of_syn_acks_to_one_client_never_go_back(void **state)
{
    struct wire *w = wire_of(state);
    uint32_t last = 0;
    for (int i = 0; i < 50; i++) {
        struct wire_talk t = wire_talk(w);
        const uint32_t tsval = wire_handshake(w, &t).options.tsval;
        if (i > 0)
            assert_true((int32_t)(tsval - last) >= 7000);
        last = tsval;
        wire_wait(w, 7000);
    }
}

static void twenty_thousand_handshakes_without_data_leave_nothing(void **state)
{
    struct wire *w = wire_of(state);
    for (int i = 0; i < 20000; i++) {
        struct wire_talk t = wire_talk(w);
        t.client.at.port = (uint16_t)(i + 1024);
        t.client.at.addr.bytes[15] = (uint8_t)(i % 3 + 1);
        wire_handshake(w, &t);
        const struct wire_segment ack = wire_segment(&t, FROM_CLIENT, TCP_ACK);
        assert_int_equal(wire_send(w, &ack, FROM_CLIENT), VERDICT_ACK_NO_FLOW);
        wire_quiet(w);
    }
    wire_expect_tables(w, 0, 0);
    assert_int_equal(tombstones_count(w->shard->tombstones), 0);
    wire_wait(w, 1000);
    wire_quiet(w);
}

/* ---- cookies and promises ---- */

static void a_cookie_is_taken_until_it_expires(void **state)
{
    struct wire *w = wire_of(state);
    w->unix_ms -= w->unix_ms % COOKIE_EPOCH_MS; /* an epoch begins */
    struct wire_talk old = wire_talk(w), older = wire_talk(w);
    wire_handshake(w, &old);
    wire_handshake(w, &older);
    wire_wait(w, 2 * COOKIE_EPOCH_MS - 10);
    wire_ask(w, &old, wire_request);
    wire_wait(w, 10);
    wire_forget_frames(w);
    const struct wire_segment data = wire_data(&older, FROM_CLIENT, TCP_ACK, wire_request);
    assert_int_equal(wire_send(w, &data, FROM_CLIENT), VERDICT_MISS_SILENT);
}

static void a_cookie_fits_its_own_client_port_and_service_only(void **state)
{
    struct wire *w = wire_of(state);
    struct wire_talk good = wire_talk(w);
    wire_handshake(w, &good);
    for (int fault = 0; fault < 5; fault++) {
        struct wire_talk t = good;
        if (fault == 0)
            t.client.at.addr.bytes[15] ^= 1;
        if (fault == 1)
            t.client.at.port ^= 1;
        if (fault == 2)
            wire_talk_to(w, &t, (uint16_t)(t.service + 2));
        if (fault == 3)
            t.client.next ^= 1;
        if (fault == 4)
            t.client.expects ^= 1;
        const struct wire_segment data = wire_data(&t, FROM_CLIENT, TCP_ACK, wire_request);
        assert_int_equal(wire_send(w, &data, FROM_CLIENT), VERDICT_MISS_SILENT);
    }
    wire_ask(w, &good, wire_request);
}

static void a_changed_promise_keeps_cookies_of_the_one_before_valid(void **state)
{
    struct wire *w = wire_of(state);
    struct wire_talk before = wire_talk(w), between = wire_talk(w), outlived = wire_talk(w);
    wire_handshake(w, &outlived); /* under scale 7 */
    wire_handshake(w, &before);   /* alike */
    wire_offer(w, before.service, 1460, 9, true, true);
    wire_handshake(w, &between);
    wire_ask(w, &before, wire_request);
    struct flow *flow = flow_at(w->shard->flows, 0);
    assert_int_equal(flow->splice.scale_told_client, 7); /* what its client was told */
    wire_offer(w, before.service, 1460, 3, true, true);
    wire_ask(w, &between, wire_request);
    assert_int_equal(flow_at(w->shard->flows, 1)->splice.scale_told_client, 9);
    const struct wire_segment data = wire_data(&outlived, FROM_CLIENT, TCP_ACK, wire_request);
    assert_int_equal(wire_send(w, &data, FROM_CLIENT), VERDICT_MISS_SILENT);
}

static void a_promise_without_scaling_is_kept_when_scaling_is_learned(void **state)
{
    struct wire *w = wire_of(state);
    struct wire_talk t = wire_talk(w);
    wire_offer(w, t.service, 1460, COOKIE_NO_SCALE, false, false);
    wire_handshake(w, &t);
    wire_offer(w, t.service, 1460, 7, true, true);
    const struct wire_segment syn = wire_ask(w, &t, wire_request);
    assert_int_equal(granted_bits(&syn), MSS);
}

/* ---- without a flow ---- */

static void a_bare_ack_is_dropped_unread(void **state)
{
    struct wire *w = wire_of(state);
    struct wire_talk t = wire_talk(w);
    const struct wire_segment ack = wire_segment(&t, FROM_CLIENT, TCP_ACK);
    for (int i = 0; i < 5; i++) {
        assert_int_equal(wire_send(w, &ack, FROM_CLIENT), VERDICT_ACK_NO_FLOW);
        wire_wait(w, MISS_AGAIN_MS);
    }
    wire_quiet(w);
}

static void a_reset_or_syn_ack_without_a_flow_is_dropped(void **state)
{
    struct wire *w = wire_of(state);
    struct wire_talk t = wire_talk(w);
    struct wire_segment s = wire_segment(&t, FROM_CLIENT, TCP_RST);
    assert_int_equal(wire_send(w, &s, FROM_CLIENT), VERDICT_RST_NO_FLOW);
    s = wire_data(&t, FROM_CLIENT, TCP_RST | TCP_ACK, "why");
    assert_int_equal(wire_send(w, &s, FROM_CLIENT), VERDICT_RST_NO_FLOW);
    s = wire_segment(&t, FROM_CLIENT, TCP_SYN | TCP_ACK);
    assert_int_equal(wire_send(w, &s, FROM_CLIENT), VERDICT_SYN_ACK_NO_FLOW);
    wire_quiet(w);
}

static void pitfall_23_a_segment_that_overtakes_the_first_does_no_harm(void **state)
{
    struct wire *w = wire_of(state);
    struct wire_talk t = wire_talk(w);
    wire_handshake(w, &t);
    struct wire_segment second = wire_data(&t, FROM_CLIENT, TCP_ACK, "later");
    second.seq += (uint32_t)strlen(wire_request);
    assert_int_equal(wire_send(w, &second, FROM_CLIENT), VERDICT_MISS_SILENT);
    wire_quiet(w);
    wire_ask(w, &t, wire_request);
    wire_accept(w, &t);
    wire_pass(w, &t, FROM_CLIENT, TCP_ACK, "later"); /* sent again, in its place */
}

static void pitfall_23_the_same_tuple_again_a_second_later_is_reset(void **state)
{
    struct wire *w = wire_of(state);
    struct wire_talk t = wire_talk(w);
    t.client.expects = 0xfeedbeef;
    const struct wire_segment data = wire_data(&t, FROM_CLIENT, TCP_ACK, "x");
    assert_int_equal(wire_send(w, &data, FROM_CLIENT), VERDICT_MISS_SILENT);
    wire_wait(w, 999);
    assert_int_equal(wire_send(w, &data, FROM_CLIENT), VERDICT_MISS_SILENT);
    wire_wait(w, 1);
    wire_quiet(w);
    assert_int_equal(wire_send(w, &data, FROM_CLIENT), VERDICT_MISS_RESET);
    const struct wire_segment reset = wire_out(w, OUTSIDE);
    assert_int_equal(reset.flags, TCP_RST);
    assert_int_equal(reset.seq, 0xfeedbeef); /* exactly what the client expects */
    assert_int_equal(reset.length, 0);
    assert_int_equal(granted_bits(&reset), 0);
}

/* Whether it was the port's last connection or a forger's guess: it says nothing of this one. */
static void pitfall_23_another_connection_of_the_tuple_makes_no_second_time(void **state)
{
    struct wire *w = wire_of(state);
    struct wire_talk t = wire_talk(w);
    t.client.expects = 0xfeedbeef;
    const struct wire_segment old = wire_data(&t, FROM_CLIENT, TCP_ACK, "x");
    assert_int_equal(wire_send(w, &old, FROM_CLIENT), VERDICT_MISS_SILENT);
    wire_wait(w, 2000);
    wire_handshake(w, &t);
    struct wire_segment second = wire_data(&t, FROM_CLIENT, TCP_ACK, "later");
    second.seq += (uint32_t)strlen(wire_request);
    assert_int_equal(wire_send(w, &second, FROM_CLIENT), VERDICT_MISS_SILENT);
    wire_quiet(w);
}

/* The rest of a first flight, straggling in while its first segment is lost: that one comes again.
 */
static void pitfall_23_another_segment_of_the_connection_makes_no_second_time(void **state)
{
    struct wire *w = wire_of(state);
    struct wire_talk t = wire_talk(w);
    wire_handshake(w, &t);
    struct wire_segment later = wire_data(&t, FROM_CLIENT, TCP_ACK, "later");
    later.seq += (uint32_t)strlen(wire_request);
    assert_int_equal(wire_send(w, &later, FROM_CLIENT), VERDICT_MISS_SILENT);
    wire_wait(w, 1500);
    later.seq += later.length;
    assert_int_equal(wire_send(w, &later, FROM_CLIENT), VERDICT_MISS_SILENT);
    wire_quiet(w);
    wire_ask(w, &t, wire_request);
}

static void pitfall_09_the_reset_is_this_packet(void **state)
{
    static const char *const golden[WIRE_FAMILIES] = {
        "02000000 0c01 02000000 000a 0800"
        "45000028 00004000 40061a58 c6120050 c6124009"
        "00504e20 deadbeef 00000000 50040000 ffff0000",
        "02000000 0c01 02000000 000a 86dd"
        "60000000 00140640 20010db8 00000000 00000000 00000080 20010db8 10000000 00000000 00000009"
        "00504e20 deadbeef 00000000 50040000 ffff0000"};
    struct wire *w = wire_of(state);
    struct wire_talk t = wire_talk(w);
    uint8_t expected[FRAME_ROOM];
    t.client.expects = 0xdeadbeef;
    const struct wire_segment data = wire_data(&t, FROM_CLIENT, TCP_ACK, "x");
    wire_send(w, &data, FROM_CLIENT);
    wire_wait(w, MISS_AGAIN_MS);
    wire_send(w, &data, FROM_CLIENT);
    const size_t length = frame_hex(expected, golden[w->family]);
    const size_t sums = w->family == WIRE_V4 ? 50 : 70; /* the TCP checksum is checked by sum */
    const struct wire_frame *frame = wire_out_frame(w, OUTSIDE);
    assert_int_equal(frame->length, length);
    memcpy(expected + sums, frame->bytes + sums, 2);
    memcpy(expected + 24, frame->bytes + 24, w->family == WIRE_V4 ? 2 : 0);
    assert_memory_equal(frame->bytes, expected, length);
    assert_true(frame_checksums_good(frame->bytes));
}

static void pitfall_07_resets_come_from_a_budget(void **state)
{
    struct wire *w = wire_of(state);
    w->limits.per_second[LEASE_RESETS] = 3;
    struct wire_segment data[8];
    uint32_t resets = 0;
    for (int i = 0; i < 8; i++) {
        const struct wire_talk t = wire_talk(w);
        data[i] = wire_data(&t, FROM_CLIENT, TCP_ACK, "x");
        wire_send(w, &data[i], FROM_CLIENT);
    }
    wire_wait(w, 1000);
    for (int i = 0; i < 8; i++) {
        const enum verdict verdict = wire_send(w, &data[i], FROM_CLIENT);
        resets += verdict == VERDICT_MISS_RESET;
        assert_true(verdict == VERDICT_MISS_RESET || verdict == VERDICT_BUDGET);
    }
    assert_int_equal(resets, 3);
    assert_int_equal(wire_pending(w), 3);
}

static void the_fin_of_a_connection_that_said_nothing_is_answered_by_fin(void **state)
{
    struct wire *w = wire_of(state);
    struct wire_talk t = wire_talk(w);
    wire_handshake(w, &t);
    const struct wire_segment fin = wire_segment(&t, FROM_CLIENT, TCP_FIN | TCP_ACK);
    for (int i = 0; i < 2; i++) { /* and again, if the answer was lost */
        assert_int_equal(wire_send(w, &fin, FROM_CLIENT), VERDICT_FIN_ANSWERED);
        const struct wire_segment answer = wire_out(w, OUTSIDE);
        assert_int_equal(answer.flags, TCP_FIN | TCP_ACK);
        assert_int_equal(answer.seq, t.client.expects);
        assert_int_equal(answer.ack, t.client.next + 1);
        assert_true(answer.options.timestamps); /* some stacks drop what has none, once agreed */
        assert_int_equal(answer.options.tsval, t.client.echo);
        assert_int_equal(answer.options.tsecr, t.client.clock);
    }
    wire_expect_tables(w, 0, 0);
}

/* Its data may be what is missing: an ACK of the FIN would cover it, and it would be lost. */
static void pitfall_23_a_fin_that_overtakes_the_first_data_acknowledges_nothing(void **state)
{
    struct wire *w = wire_of(state);
    struct wire_talk t = wire_talk(w);
    wire_handshake(w, &t);
    struct wire_segment fin = wire_segment(&t, FROM_CLIENT, TCP_FIN | TCP_ACK);
    fin.seq += (uint32_t)strlen(wire_request);
    assert_int_equal(wire_send(w, &fin, FROM_CLIENT), VERDICT_MISS_SILENT);
    wire_quiet(w);
    wire_ask(w, &t, wire_request);
    wire_accept(w, &t);
    wire_pass(w, &t, FROM_CLIENT, TCP_FIN | TCP_ACK, "");
}

static void a_repeated_fin_of_a_forgotten_connection_gets_one_ack_and_never_a_reset(void **state)
{
    struct wire *w = wire_of(state);
    struct wire_talk t = wire_talk(w);
    t.client.expects = 0x12345678;
    const struct wire_segment fin = wire_segment(&t, FROM_CLIENT, TCP_FIN | TCP_ACK);
    assert_int_equal(wire_send(w, &fin, FROM_CLIENT), VERDICT_MISS_SILENT);
    wire_wait(w, MISS_AGAIN_MS);
    assert_int_equal(wire_send(w, &fin, FROM_CLIENT), VERDICT_FIN_ANSWERED);
    const struct wire_segment answer = wire_out(w, OUTSIDE);
    assert_int_equal(answer.flags, TCP_ACK);
    assert_int_equal(answer.seq, 0x12345678);
    assert_int_equal(answer.ack, t.client.next + 1);
}

static void answers_to_fins_come_from_a_budget(void **state)
{
    struct wire *w = wire_of(state);
    w->limits.per_second[LEASE_FINS] = 2;
    wire_wait(w, 1000);
    for (int i = 0; i < 4; i++) {
        struct wire_talk t = wire_talk(w);
        wire_handshake(w, &t);
        const struct wire_segment fin = wire_segment(&t, FROM_CLIENT, TCP_FIN | TCP_ACK);
        assert_int_equal(wire_send(w, &fin, FROM_CLIENT),
                         i < 2 ? VERDICT_FIN_ANSWERED : VERDICT_BUDGET);
        wire_forget_frames(w);
    }
}

/* ---- who may speak, and to whom ---- */

static void a_source_that_cannot_be_a_client_is_a_bogon(void **state)
{
    static const char *const bogons[WIRE_FAMILIES][10] = {
        {"0.0.0.1", "127.0.0.1", "224.0.0.1", "255.255.255.255", "198.18.0.1", "198.18.0.80",
         "198.18.128.1", "198.18.128.2", "198.18.128.77"},
        {"::", "::1", "ff02::1", "ff0e::7", "2001:db8::1", "2001:db8::80", "2001:db8:0:1::1",
         "2001:db8:0:1::2", "2001:db8:0:1::77"}};
    struct wire *w = wire_of(state);
    for (int i = 0; bogons[w->family][i]; i++) {
        const struct wire_talk t = wire_talk(w);
        struct wire_segment syn = wire_segment(&t, FROM_CLIENT, TCP_SYN);
        assert_int_equal(addr_parse(bogons[w->family][i], &syn.source), 0);
        assert_int_equal(wire_send(w, &syn, FROM_CLIENT), VERDICT_BOGON);
    }
    wire_quiet(w);
}

static void a_destination_is_a_service_or_ours_or_nobodys(void **state)
{
    struct wire *w = wire_of(state);
    const struct wire_talk t = wire_talk(w);
    struct wire_segment syn = wire_segment(&t, FROM_CLIENT, TCP_SYN);
    syn.destination_port = 443; /* the service's address, another port */
    assert_int_equal(wire_send(w, &syn, FROM_CLIENT), VERDICT_NO_SERVICE);
    syn.destination.bytes[15] = 1; /* the gateway's own */
    assert_int_equal(wire_send(w, &syn, FROM_CLIENT), VERDICT_NO_SERVICE);
    syn.destination.bytes[15] = 99;
    assert_int_equal(wire_send(w, &syn, FROM_CLIENT), VERDICT_NOT_FOR_US);
    wire_quiet(w);
}

static void a_segment_to_a_link_layer_group_is_not_answered(void **state)
{
    struct wire *w = wire_of(state);
    const struct wire_talk t = wire_talk(w);
    struct wire_segment syn = wire_segment(&t, FROM_CLIENT, TCP_SYN);
    memset(&syn.to, 0xff, 6);
    assert_int_equal(wire_send(w, &syn, FROM_CLIENT), VERDICT_NOT_FOR_US);
    wire_quiet(w);
}

/* ---- tombstones ---- */

static void pitfall_24_a_replayed_first_segment_is_acknowledged_not_executed(void **state)
{
    struct wire *w = wire_of(state);
    struct wire_talk t = wire_talk(w);
    wire_handshake(w, &t);
    const struct wire_segment first = wire_data(&t, FROM_CLIENT, TCP_ACK, wire_request);
    wire_ask(w, &t, wire_request);
    wire_accept(w, &t);
    wire_pass(w, &t, FROM_BACKEND, TCP_ACK, "HTTP/1.1 204 No Content\r\n\r\n");
    wire_close(w, &t, FROM_BACKEND);
    wire_wait(w, 3100);
    wire_expect_tables(w, 0, 0);
    for (int i = 0; i < 2; i++) {
        assert_int_equal(wire_send(w, &first, FROM_CLIENT), VERDICT_TOMBSTONE_ACK);
        const struct wire_segment answer = wire_out(w, OUTSIDE);
        assert_int_equal(answer.flags, TCP_ACK);
        assert_int_equal(answer.seq, t.client.expects);
        assert_int_equal(answer.ack, t.client.next);
        assert_int_equal(answer.options.tsval, first.options.tsecr);
        assert_int_equal(answer.options.tsecr, first.options.tsval);
        wire_wait(w, 60000);
    }
    assert_int_equal(w->shard->verdicts[VERDICT_STRIKE], 1); /* for both: nobody else can ban it */
    wire_expect_tables(w, 0, 0);
}

/* From the moment it was opened until long after its cookie has expired, open, closing and gone. */
static void pitfall_24_a_segment_replayed_for_ever_is_executed_once(void **state)
{
    struct wire *w = wire_of(state);
    struct wire_talk t = wire_talk(w);
    wire_handshake(w, &t);
    const struct wire_segment first = wire_data(&t, FROM_CLIENT, TCP_ACK, wire_request);
    wire_ask(w, &t, wire_request);
    for (int i = 0; i < 5 * 140; i++) {
        if (i == 5)
            wire_accept(w, &t);
        if (i == 10)
            wire_close(w, &t, FROM_BACKEND);
        wire_send(w, &first, FROM_CLIENT);
        wire_forget_frames(w);
        wire_wait(w, 200);
    }
    assert_int_equal(w->shard->verdicts[VERDICT_OPENED], 1);
    assert_int_equal(w->shard->verdicts[VERDICT_BACKEND_ANSWERED], 1);
    assert_in_range(w->shard->verdicts[VERDICT_TOMBSTONE_ACK], 300, 700);
    wire_expect_tables(w, 0, 0);
}

static void pitfall_24_acknowledgements_of_replays_come_from_a_budget(void **state)
{
    struct wire *w = wire_of(state);
    struct wire_talk t = wire_talk(w);
    wire_handshake(w, &t);
    const struct wire_segment first = wire_data(&t, FROM_CLIENT, TCP_ACK, wire_request);
    wire_ask(w, &t, wire_request);
    wire_accept(w, &t);
    wire_close(w, &t, FROM_CLIENT);
    w->limits.per_second[LEASE_FINS] = 1;
    wire_wait(w, 4000);
    assert_int_equal(wire_send(w, &first, FROM_CLIENT), VERDICT_TOMBSTONE_ACK);
    wire_out(w, OUTSIDE);
    assert_int_equal(wire_send(w, &first, FROM_CLIENT), VERDICT_BUDGET);
    wire_quiet(w);
}

/* A client whose RST was lost asks again: it learns at the second time, like any other miss. */
static void pitfall_24_a_replay_after_a_reset_is_dropped_then_reset_never_executed(void **state)
{
    struct wire *w = wire_of(state);
    struct wire_talk t = wire_talk(w);
    wire_handshake(w, &t);
    const struct wire_segment first = wire_data(&t, FROM_CLIENT, TCP_ACK, wire_request);
    wire_ask(w, &t, wire_request);
    wire_accept(w, &t);
    wire_pass(w, &t, FROM_CLIENT, TCP_RST | TCP_ACK, "");
    wire_expect_tables(w, 0, 0);
    assert_int_equal(wire_send(w, &first, FROM_CLIENT), VERDICT_TOMBSTONE_DROP);
    wire_wait(w, MISS_AGAIN_MS);
    assert_int_equal(wire_send(w, &first, FROM_CLIENT), VERDICT_MISS_RESET);
    const struct wire_segment reset = wire_out(w, OUTSIDE);
    assert_int_equal(reset.flags, TCP_RST);
    assert_int_equal(reset.seq, first.ack);
    wire_quiet(w);
}

static void tombstones_are_bounded_and_the_evicted_counted(void **state)
{
    const struct shard_sizes sizes = {.flows = 4, .tombstones = 2, .held = 4};
    struct wire *w = wire_new(wire_of(state)->family, &sizes);
    struct wire_segment first[3];
    for (int i = 0; i < 3; i++) {
        struct wire_talk t = wire_talk(w);
        wire_handshake(w, &t);
        first[i] = wire_data(&t, FROM_CLIENT, TCP_ACK, wire_request);
        wire_ask(w, &t, wire_request);
        wire_accept(w, &t);
        wire_close(w, &t, FROM_CLIENT);
        wire_wait(w, 4000);
    }
    assert_int_equal(tombstones_count(w->shard->tombstones), 2);
    assert_int_equal(w->shard->verdicts[VERDICT_TOMBSTONE_EVICTED], 1);
    assert_int_equal(wire_send(w, &first[2], FROM_CLIENT), VERDICT_TOMBSTONE_ACK);
    assert_int_equal(wire_send(w, &first[1], FROM_CLIENT), VERDICT_TOMBSTONE_ACK);
    assert_int_equal(wire_send(w, &first[0], FROM_CLIENT), VERDICT_OPENED); /* why it is alerted */
    wire_free(w);
}

static void tombstones_go_when_their_cookies_have_expired(void **state)
{
    struct wire *w = wire_of(state);
    struct wire_talk t = wire_talk(w);
    wire_open(w, &t);
    wire_close(w, &t, FROM_CLIENT);
    wire_wait(w, 4000);
    assert_int_equal(tombstones_count(w->shard->tombstones), 1);
    wire_wait(w, COOKIE_LIFE_MS + 1000);
    assert_int_equal(tombstones_count(w->shard->tombstones), 0);
}

/* ---- a tuple that is used again ---- */

/* The same client and port with a new ISN, as after a reboot. */
static struct wire_talk again(const struct wire *w, const struct wire_talk *old)
{
    struct wire_talk t = *old;
    t.client.isn = old->client.next + 0x40000000;
    t.client.next = t.client.isn;
    t.client.window = 64240;
    t.client.scale = 7;
    t.client.sack = t.client.timestamps = true;
    t.client.clock += 100000;
    t.client.echo = 0;
    t.server.isn = old->server.next + 0x30000000;
    t.server.next = t.server.isn;
    t.server.window = 65160;
    t.server.sack = t.server.timestamps = true;
    t.server.scale = 7;
    (void)w;
    return t;
}

static void a_syn_on_an_established_tuple_gets_a_cookie_and_changes_nothing(void **state)
{
    struct wire *w = wire_of(state);
    struct wire_talk t = wire_talk(w);
    wire_open(w, &t);
    struct wire_talk forged = again(w, &t);
    wire_handshake(w, &forged);
    wire_expect_tables(w, 1, 0);
    wire_pass(w, &t, FROM_CLIENT, TCP_ACK, "still here");
    wire_pass(w, &t, FROM_BACKEND, TCP_ACK, "so am I");
}

static void pitfall_27_data_with_a_new_cookie_replaces_the_old_flow(void **state)
{
    struct wire *w = wire_of(state);
    struct wire_talk old = wire_talk(w);
    wire_open(w, &old);
    struct wire_talk t = again(w, &old);
    wire_handshake(w, &t);
    const struct wire_segment data = wire_data(&t, FROM_CLIENT, TCP_ACK, wire_request);
    assert_int_equal(wire_send(w, &data, FROM_CLIENT), VERDICT_OPENED);
    const struct wire_segment reset = wire_out(w, INSIDE); /* the old backend side, exactly */
    assert_int_equal(reset.flags, TCP_RST | TCP_ACK);
    assert_int_equal(reset.seq, old.server.expects);
    assert_int_equal(reset.ack, old.server.next);
    const struct wire_segment syn = wire_out(w, INSIDE);
    assert_int_equal(syn.flags, TCP_SYN);
    assert_int_equal(syn.seq, t.client.isn);
    assert_int_equal(w->shard->verdicts[VERDICT_FLOW_REPLACED], 1);
    wire_expect_tables(w, 1, 1);
}

static void pitfall_27_a_flow_that_is_being_opened_is_replaced_too(void **state)
{
    struct wire *w = wire_of(state);
    struct wire_talk old = wire_talk(w);
    wire_handshake(w, &old);
    wire_ask(w, &old, wire_request);
    struct wire_talk t = again(w, &old);
    wire_handshake(w, &t);
    const struct wire_segment data = wire_data(&t, FROM_CLIENT, TCP_ACK, wire_request);
    assert_int_equal(wire_send(w, &data, FROM_CLIENT), VERDICT_OPENED);
    const struct wire_segment reset = wire_out(w, INSIDE);
    assert_int_equal(reset.flags, TCP_RST);
    assert_int_equal(reset.seq, old.client.isn + 1);
    assert_int_equal(wire_out(w, INSIDE).seq, t.client.isn);
    wire_expect_tables(w, 1, 1);
}

/* It keeps nothing of what it refuses, so a late copy carries a cookie that no tombstone knows. */
static void pitfall_27_a_late_copy_of_what_was_refused_replaces_nothing(void **state)
{
    struct wire *w = wire_of(state);
    struct wire_talk refused = wire_talk(w);
    wire_handshake(w, &refused);
    const struct wire_segment bad = wire_data(&refused, FROM_CLIENT, TCP_ACK, "no request\r\n\r\n");
    assert_int_equal(wire_send(w, &bad, FROM_CLIENT), VERDICT_HEAD_MALFORMED);
    wire_out(w, OUTSIDE);
    struct wire_talk t = again(w, &refused);
    refused.client.timestamps = t.client.timestamps = false; /* its age is known to an epoch only */
    wire_open(w, &t);
    struct wire_segment late = bad;
    late.options.timestamps = false;
    assert_int_equal(wire_send(w, &late, FROM_CLIENT), VERDICT_HEAD_MALFORMED);
    const struct wire_segment reset = wire_out(w, OUTSIDE);
    assert_int_equal(reset.seq, bad.ack); /* nothing to the connection that is there */
    wire_quiet(w);
    wire_pass(w, &t, FROM_CLIENT, TCP_ACK, "still here");
    wire_pass(w, &t, FROM_BACKEND, TCP_ACK, "so am I");
    assert_int_equal(w->shard->verdicts[VERDICT_FLOW_REPLACED], 0);
}

static void a_port_used_again_after_a_close_opens_at_once(void **state)
{
    struct wire *w = wire_of(state);
    struct wire_talk old = wire_talk(w);
    wire_open(w, &old);
    wire_close(w, &old, FROM_BACKEND);
    wire_expect_tables(w, 1, 0); /* it lingers */
    struct wire_talk t = again(w, &old);
    wire_handshake(w, &t);
    const struct wire_segment ack = wire_segment(&t, FROM_CLIENT, TCP_ACK);
    wire_send(w, &ack, FROM_CLIENT); /* the handshake's last ACK meets the old flow */
    wire_quiet(w);
    wire_ask(w, &t, wire_request);
    assert_int_equal(w->shard->verdicts[VERDICT_FLOW_CLOSED], 1);
    assert_int_equal(w->shard->verdicts[VERDICT_FLOW_REPLACED], 0);
    wire_accept(w, &t);
    wire_pass(w, &t, FROM_BACKEND, TCP_ACK, "welcome back");
}

static void data_without_a_new_cookie_never_replaces_a_flow(void **state)
{
    struct wire *w = wire_of(state);
    struct wire_talk t = wire_talk(w);
    wire_open(w, &t);
    struct wire_segment forged = wire_data(&t, FROM_CLIENT, TCP_ACK, wire_request);
    forged.seq += 0x40000000;
    assert_int_equal(wire_send(w, &forged, FROM_CLIENT), VERDICT_OUT_OF_WINDOW);
    wire_quiet(w);
    wire_pass(w, &t, FROM_CLIENT, TCP_ACK, "still here");
}

static void pitfall_24_a_replay_of_an_older_connection_does_not_end_the_newer_one(void **state)
{
    struct wire *w = wire_of(state);
    struct wire_talk old = wire_talk(w);
    wire_handshake(w, &old);
    const struct wire_segment first = wire_data(&old, FROM_CLIENT, TCP_ACK, wire_request);
    wire_ask(w, &old, wire_request);
    wire_accept(w, &old);
    wire_close(w, &old, FROM_CLIENT);
    wire_wait(w, 4000);
    struct wire_talk t = again(w, &old);
    wire_open(w, &t);
    assert_int_equal(wire_send(w, &first, FROM_CLIENT), VERDICT_OUT_OF_WINDOW);
    wire_quiet(w);
    wire_pass(w, &t, FROM_CLIENT, TCP_ACK, "still here");
}

/* Its SYN was sent again under another ISN before the first data arrived: the network was slow. */
static void
pitfall_27_a_late_first_segment_of_an_older_cookie_does_not_end_the_newer_flow(void **state)
{
    for (int timestamps = 0; timestamps < 2; timestamps++) {
        struct wire *w = wire_of(state);
        struct wire_talk old = wire_talk(w);
        old.client.timestamps = timestamps;
        wire_handshake(w, &old);
        const struct wire_segment late = wire_data(&old, FROM_CLIENT, TCP_ACK, wire_request);
        wire_wait(w, timestamps ? 100 : COOKIE_EPOCH_MS);
        struct wire_talk t = again(w, &old);
        t.client.timestamps = timestamps;
        wire_open(w, &t);
        assert_int_equal(wire_send(w, &late, FROM_CLIENT), VERDICT_OUT_OF_WINDOW);
        wire_quiet(w);
        wire_pass(w, &t, FROM_CLIENT, TCP_ACK, "still here");
    }
}

/* Of the flow's own epoch: what cannot be told is not held against the client. */
static void pitfall_27_a_client_that_echoes_nonsense_still_replaces_its_flow(void **state)
{
    struct wire *w = wire_of(state);
    struct wire_talk old = wire_talk(w);
    w->unix_ms += 30000 - w->unix_ms % COOKIE_EPOCH_MS;
    wire_open(w, &old);
    struct wire_talk t = again(w, &old);
    wire_handshake(w, &t);
    t.client.echo -= 100000000;
    const struct wire_segment data = wire_data(&t, FROM_CLIENT, TCP_ACK, wire_request);
    assert_int_equal(wire_send(w, &data, FROM_CLIENT), VERDICT_OPENED);
    assert_int_equal(w->shard->verdicts[VERDICT_FLOW_REPLACED], 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        WIRE_TEST(a_syn_gets_a_cookie_and_leaves_nothing_behind),
        WIRE_TEST(pitfall_01_an_option_is_granted_only_if_it_was_offered),
        WIRE_TEST(pitfall_01_unknown_options_are_not_reflected),
        WIRE_TEST(pitfall_02_a_syns_payload_is_neither_reflected_nor_acknowledged),
        WIRE_TEST(pitfall_02_a_malformed_syn_is_dropped_with_its_reason),
        WIRE_TEST(pitfall_03_the_window_is_open_before_the_backend_answers),
        WIRE_TEST(pitfall_12_syns_are_answered_while_the_backends_next_hop_is_unknown),
        WIRE_TEST(pitfall_30_only_what_the_backend_supports_is_granted),
        WIRE_TEST(ecn_is_declined_and_the_syn_answered),
        WIRE_TEST(timestamps_of_syn_acks_to_one_client_never_go_back),
        WIRE_TEST(twenty_thousand_handshakes_without_data_leave_nothing),
        WIRE_TEST(a_cookie_is_taken_until_it_expires),
        WIRE_TEST(a_cookie_fits_its_own_client_port_and_service_only),
        WIRE_TEST(a_changed_promise_keeps_cookies_of_the_one_before_valid),
        WIRE_TEST(a_promise_without_scaling_is_kept_when_scaling_is_learned),
        WIRE_TEST(a_bare_ack_is_dropped_unread),
        WIRE_TEST(a_reset_or_syn_ack_without_a_flow_is_dropped),
        WIRE_TEST(pitfall_23_a_segment_that_overtakes_the_first_does_no_harm),
        WIRE_TEST(pitfall_23_the_same_tuple_again_a_second_later_is_reset),
        WIRE_TEST(pitfall_23_another_connection_of_the_tuple_makes_no_second_time),
        WIRE_TEST(pitfall_23_another_segment_of_the_connection_makes_no_second_time),
        WIRE_TEST(pitfall_09_the_reset_is_this_packet),
        WIRE_TEST(pitfall_07_resets_come_from_a_budget),
        WIRE_TEST(the_fin_of_a_connection_that_said_nothing_is_answered_by_fin),
        WIRE_TEST(pitfall_23_a_fin_that_overtakes_the_first_data_acknowledges_nothing),
        WIRE_TEST(a_repeated_fin_of_a_forgotten_connection_gets_one_ack_and_never_a_reset),
        WIRE_TEST(answers_to_fins_come_from_a_budget),
        WIRE_TEST(a_source_that_cannot_be_a_client_is_a_bogon),
        WIRE_TEST(a_destination_is_a_service_or_ours_or_nobodys),
        WIRE_TEST(a_segment_to_a_link_layer_group_is_not_answered),
        WIRE_TEST(pitfall_24_a_replayed_first_segment_is_acknowledged_not_executed),
        WIRE_TEST(pitfall_24_a_segment_replayed_for_ever_is_executed_once),
        WIRE_TEST(pitfall_24_acknowledgements_of_replays_come_from_a_budget),
        WIRE_TEST(pitfall_24_a_replay_after_a_reset_is_dropped_then_reset_never_executed),
        WIRE_TEST(tombstones_are_bounded_and_the_evicted_counted),
        WIRE_TEST(tombstones_go_when_their_cookies_have_expired),
        WIRE_TEST(a_syn_on_an_established_tuple_gets_a_cookie_and_changes_nothing),
        WIRE_TEST(pitfall_27_data_with_a_new_cookie_replaces_the_old_flow),
        WIRE_TEST(pitfall_27_a_flow_that_is_being_opened_is_replaced_too),
        WIRE_TEST(pitfall_27_a_late_copy_of_what_was_refused_replaces_nothing),
        WIRE_TEST(pitfall_27_a_late_first_segment_of_an_older_cookie_does_not_end_the_newer_flow),
        WIRE_TEST(pitfall_27_a_client_that_echoes_nonsense_still_replaces_its_flow),
        WIRE_TEST(a_port_used_again_after_a_close_opens_at_once),
        WIRE_TEST(data_without_a_new_cookie_never_replaces_a_flow),
        WIRE_TEST(pitfall_24_a_replay_of_an_older_connection_does_not_end_the_newer_one),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
