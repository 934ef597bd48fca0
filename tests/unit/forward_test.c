/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026, the Dropgate authors
 *
 * Open flows, from either end: numbers, clocks, windows and SACK as the other end knows them; what
 * does not pass; and every way in which a flow ends. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
// clang-format off
#include <cmocka.h>
// clang-format on

#include "tests/unit/wire.h"

static enum direction other(enum direction from)
{
    return from == FROM_CLIENT ? FROM_BACKEND : FROM_CLIENT;
}

static enum port_side side_of(enum direction to)
{
    return to == FROM_CLIENT ? OUTSIDE : INSIDE;
}

/* ---- data ---- */

static void data_passes_both_ways_with_each_ends_own_numbers(void **state)
{
    struct wire *w = wire_of(state);
    struct wire_talk t = wire_talk(w);
    wire_open(w, &t);
    for (int i = 0; i < 40; i++) { /* sequence numbers and clocks wrap meanwhile */
        wire_pass(w, &t, FROM_BACKEND, TCP_ACK, "some bytes of the answer");
        wire_pass(w, &t, FROM_CLIENT, TCP_ACK, "");
        wire_pass(w, &t, FROM_CLIENT, TCP_ACK | TCP_PSH, "the next question");
        wire_pass(w, &t, FROM_BACKEND, TCP_ACK | TCP_PSH, "");
        t.client.clock += 100;
        t.server.clock += 0x8000000;
    }
    assert_true(t.client.next < t.client.isn);
}

static void the_other_end_sees_addresses_that_it_knows(void **state)
{
    struct wire *w = wire_of(state);
    struct wire_talk t = wire_talk(w);
    wire_open(w, &t);
    const struct wire_segment in = wire_pass(w, &t, FROM_CLIENT, TCP_ACK, "in");
    assert_true(addr_equal(&in.source, &t.client.at.addr));
    assert_true(addr_equal(&in.destination, &t.server.at.addr));
    assert_int_equal(in.source_port, t.client.at.port);
    assert_int_equal(in.destination_port, t.server.at.port);
    assert_memory_equal(&in.to, &t.server.mac, 6);
    assert_int_equal(in.ttl, 64); /* so that clients cannot trace the inside */
    const struct wire_segment out = wire_pass(w, &t, FROM_BACKEND, TCP_ACK, "out");
    assert_true(addr_equal(&out.source, &t.listen.addr));
    assert_true(addr_equal(&out.destination, &t.client.at.addr));
    assert_int_equal(out.source_port, t.listen.port);
    assert_int_equal(out.destination_port, t.client.at.port);
    assert_memory_equal(&out.to, &t.client.mac, 6);
    assert_int_equal(out.ttl, 56);
}

static void answers_follow_the_client_to_a_new_last_hop(void **state)
{
    struct wire *w = wire_of(state);
    struct wire_talk t = wire_talk(w);
    wire_open(w, &t);
    t.client.mac.bytes[5] = 0x77;
    wire_pass(w, &t, FROM_CLIENT, TCP_ACK, "by another router");
    assert_int_equal(wire_pass(w, &t, FROM_BACKEND, TCP_ACK, "hello").to.bytes[5], 0x77);
}

static void pitfall_06_timestamps_are_translated_both_ways(void **state)
{
    struct wire *w = wire_of(state);
    struct wire_talk t = wire_talk(w);
    wire_open(w, &t);
    const struct wire_segment out = wire_pass(w, &t, FROM_BACKEND, TCP_ACK, "a");
    assert_int_equal(out.options.tsval, t.server.clock - 1 + t.ts_delta);
    assert_int_equal(out.options.tsecr, t.server.echo); /* the client's own clock */
    const struct wire_segment in = wire_pass(w, &t, FROM_CLIENT, TCP_ACK, "b");
    assert_int_equal(in.options.tsval, t.client.clock - 1);
    assert_int_equal(in.options.tsecr, t.server.clock - 1); /* the backend's own */
}

static void paws_of_a_client_sees_no_step_at_the_splice(void **state)
{
    struct wire *w = wire_of(state);
    struct wire_talk t = wire_talk(w);
    const uint32_t promised = wire_handshake(w, &t).options.tsval;
    t.server.clock = 17; /* a backend that has just booted */
    wire_ask(w, &t, wire_request);
    wire_accept(w, &t);
    const struct wire_segment first = wire_pass(w, &t, FROM_BACKEND, TCP_ACK, "");
    assert_in_range(first.options.tsval - promised, 0, 20);
}

static void sack_edges_are_translated_towards_the_backend_only(void **state)
{
    struct wire *w = wire_of(state);
    struct wire_talk t = wire_talk(w);
    wire_open(w, &t);
    struct wire_segment s = wire_segment(&t, FROM_BACKEND, TCP_ACK);
    s.sack_edges = 6;
    for (uint32_t i = 0; i < 6; i++)
        s.sack[i] = t.server.expects - 40 + i;
    assert_int_equal(wire_send(w, &s, FROM_BACKEND), VERDICT_FORWARDED);
    struct wire_segment seen = wire_out(w, OUTSIDE);
    assert_int_equal(seen.sack_edges, 6);
    assert_memory_equal(seen.sack, s.sack, 24); /* the client's numbers are the same inside */
    s = wire_segment(&t, FROM_CLIENT, TCP_ACK);
    s.sack_edges = 4;
    for (uint32_t i = 0; i < 4; i++)
        s.sack[i] = t.client.expects + 1000 * i;
    assert_int_equal(wire_send(w, &s, FROM_CLIENT), VERDICT_FORWARDED);
    seen = wire_out(w, INSIDE);
    assert_int_equal(seen.sack_edges, 4);
    for (uint32_t i = 0; i < 4; i++)
        assert_int_equal(seen.sack[i], s.sack[i] - wire_delta(&t));
}

static void unknown_options_and_the_urgent_pointer_do_not_pass(void **state)
{
    struct wire *w = wire_of(state);
    struct wire_talk t = wire_talk(w);
    wire_open(w, &t);
    for (int from = 0; from < DIRECTIONS; from++) {
        struct wire_segment s = wire_data(&t, (enum direction)from, TCP_ACK | TCP_URG, "x");
        memcpy(s.extra, "\x1e\x08\x20\x01\1\2\3\4", 8); /* MPTCP, DSS */
        s.extra_length = 8;
        s.urgent = 1;
        assert_int_equal(wire_send(w, &s, (enum direction)from), VERDICT_FORWARDED);
        const struct wire_segment seen = wire_out(w, side_of(other((enum direction)from)));
        assert_int_equal(seen.flags, TCP_ACK);
        assert_int_equal(seen.urgent, 0);
    }
}

static void ethernet_padding_is_not_passed_on(void **state)
{
    struct wire *w = wire_of(state);
    struct wire_talk t = wire_talk(w);
    t.client.timestamps = false;
    wire_open(w, &t);
    const struct wire_segment ack = wire_segment(&t, FROM_CLIENT, TCP_ACK);
    assert_int_equal(wire_send(w, &ack, FROM_CLIENT), VERDICT_FORWARDED);
    uint8_t padded[128] = {0};
    const struct wire_frame *once = wire_out_frame(w, INSIDE);
    const uint32_t length = once->length;
    assert_int_equal(wire_send(w, &ack, FROM_CLIENT), VERDICT_FORWARDED); /* learn its bytes */
    struct frame_tcp t4 = {.v6 = w->family == WIRE_V6,
                           .source_port = ack.source_port,
                           .destination_port = ack.destination_port,
                           .seq = ack.seq,
                           .ack = ack.ack,
                           .flags = TCP_ACK,
                           .window = ack.window,
                           .ttl = 60};
    memcpy(t4.from, &ack.from, 6);
    memcpy(t4.to, &ack.to, 6);
    memcpy(t4.source, ack.source.bytes + (t4.v6 ? 0 : 12), t4.v6 ? 16 : 4);
    memcpy(t4.destination, ack.destination.bytes + (t4.v6 ? 0 : 12), t4.v6 ? 16 : 4);
    frame_write(padded, &t4);
    wire_forget_frames(w);
    assert_int_equal(wire_in_bytes(w, OUTSIDE, padded, 100), VERDICT_FORWARDED);
    assert_int_equal(wire_out_frame(w, INSIDE)->length, length);
}

/* ---- windows ---- */

static uint16_t window_told(uint16_t window, unsigned from, unsigned to)
{
    const uint64_t bytes = (uint64_t)window << from, units = bytes >> to;
    return units > 65535 ? 65535 : units == 0 && bytes > 0 ? 1 : (uint16_t)units;
}

static void pitfall_05_windows_are_rescaled_both_ways_and_never_become_zero(void **state)
{
    static const uint8_t scales[] = {0, 3, 7, 14};
    static const uint16_t windows[] = {0, 1, 2, 500, 32768, 65535};
    struct wire *w = wire_of(state);
    for (unsigned told = 0; told < 4; told++) {
        for (unsigned real = 0; real < 4; real++) {
            struct wire_talk t = wire_talk(w);
            wire_offer(w, t.service, 1460, scales[told], true, true);
            t.server.scale = scales[real];
            t.client.scale = scales[3 - real];
            wire_open(w, &t);
            for (unsigned i = 0; i < sizeof windows / sizeof windows[0]; i++) {
                t.server.window = windows[i];
                assert_int_equal(wire_pass(w, &t, FROM_BACKEND, TCP_ACK, "").window,
                                 window_told(windows[i], scales[real], scales[told]));
                t.client.window = windows[i]; /* the backend was told the client's own scale */
                assert_int_equal(wire_pass(w, &t, FROM_CLIENT, TCP_ACK, "").window, windows[i]);
            }
        }
    }
}

static void pitfall_05_without_agreed_scaling_windows_pass_as_they_are(void **state)
{
    struct wire *w = wire_of(state);
    for (int who = 0; who < 2; who++) {
        struct wire_talk t = wire_talk(w);
        if (who == 0)
            t.client.scale = COOKIE_NO_SCALE;
        else
            wire_offer(w, t.service, 1460, COOKIE_NO_SCALE, true, true);
        wire_open(w, &t);
        t.server.window = 12345;
        t.client.window = 54321;
        assert_int_equal(wire_pass(w, &t, FROM_BACKEND, TCP_ACK, "").window, 12345);
        assert_int_equal(wire_pass(w, &t, FROM_CLIENT, TCP_ACK, "").window, 54321);
    }
}

/* The backend's 50 bytes were told as one unit of 128: what is sent on that must reach it, or it
 * never says how much room there is. */
static void pitfall_05_a_window_below_one_unit_lets_a_whole_unit_pass(void **state)
{
    struct wire *w = wire_of(state);
    char unit[129] = {0};
    memset(unit, 'u', 128);
    struct wire_talk t = wire_talk(w);
    w->limits.window = 100;
    t.server.scale = 0;
    t.server.window = (uint16_t)strlen(wire_upload);
    wire_open(w, &t); /* the whole window is used up */
    t.server.window = 50;
    assert_int_equal(wire_pass(w, &t, FROM_BACKEND, TCP_ACK, "").window, 1);
    wire_pass(w, &t, FROM_CLIENT, TCP_ACK, "all that is left of the window before ...........");
    wire_pass(w, &t, FROM_BACKEND, TCP_ACK, "");
    wire_pass(w, &t, FROM_CLIENT, TCP_ACK, unit);
    const struct wire_segment beyond = wire_data(&t, FROM_CLIENT, TCP_ACK, "..");
    assert_int_equal(wire_send(w, &beyond, FROM_CLIENT), VERDICT_OUT_OF_WINDOW);
}

static void keep_alives_and_zero_window_probes_pass(void **state)
{
    struct wire *w = wire_of(state);
    struct wire_talk t = wire_talk(w);
    wire_open(w, &t);
    for (int from = 0; from < DIRECTIONS; from++) {
        const enum direction d = (enum direction)from;
        struct wire_segment probe = wire_segment(&t, d, TCP_ACK);
        probe.seq--; /* Linux: nothing, below what is expected */
        assert_int_equal(wire_send(w, &probe, d), VERDICT_FORWARDED);
        wire_out(w, side_of(other(d)));
        probe.payload = "";
        probe.length = 1; /* Windows: one byte there */
        assert_int_equal(wire_send(w, &probe, d), VERDICT_FORWARDED);
        wire_out(w, side_of(other(d)));
        struct wire_host *receiver = d == FROM_CLIENT ? &t.server : &t.client;
        receiver->window = 0; /* which is full now */
        wire_pass(w, &t, other(d), TCP_ACK, "");
        wire_pass(w, &t, d, TCP_ACK, "1"); /* BSD: one byte into a closed window */
    }
}

static void data_beyond_the_window_is_dropped(void **state)
{
    struct wire *w = wire_of(state);
    struct wire_talk t = wire_talk(w);
    wire_open(w, &t);
    wire_pass(w, &t, FROM_CLIENT, TCP_ACK, "");
    for (int from = 0; from < DIRECTIONS; from++) {
        const enum direction d = (enum direction)from;
        const uint32_t window = (d == FROM_CLIENT ? 509U : 501U) << 7;
        struct wire_segment s = wire_data(&t, d, TCP_ACK, "1234");
        s.seq += window - 4 + 2; /* two bytes beyond; one would be a probe */
        assert_int_equal(wire_send(w, &s, d), VERDICT_OUT_OF_WINDOW);
        s.seq--;
        assert_int_equal(wire_send(w, &s, d), VERDICT_FORWARDED);
        wire_out(w, side_of(other(d)));
    }
}

/* ---- what does not pass ---- */

static void pitfall_28_an_ack_for_bytes_that_were_never_sent_is_dropped(void **state)
{
    struct wire *w = wire_of(state);
    struct wire_talk t = wire_talk(w);
    wire_open(w, &t);
    wire_pass(w, &t, FROM_BACKEND, TCP_ACK, "ten bytes.");
    for (int from = 0; from < DIRECTIONS; from++) {
        struct wire_segment s = wire_segment(&t, (enum direction)from, TCP_ACK);
        s.ack++;
        assert_int_equal(wire_send(w, &s, (enum direction)from), VERDICT_ACK_UNSENT);
        wire_quiet(w);
    }
}

static void an_old_timestamp_is_dropped_and_an_old_number_too(void **state)
{
    struct wire *w = wire_of(state);
    struct wire_talk t = wire_talk(w);
    wire_open(w, &t);
    wire_pass(w, &t, FROM_CLIENT, TCP_ACK, "a");
    wire_pass(w, &t, FROM_BACKEND, TCP_ACK, "b");
    for (int from = 0; from < DIRECTIONS; from++) {
        const enum direction d = (enum direction)from;
        struct wire_segment s = wire_segment(&t, d, TCP_ACK);
        s.options.tsval -= 1000;
        assert_int_equal(wire_send(w, &s, d), VERDICT_PAWS);
        s.options.tsval += 1000;
        s.seq -= 100000;
        assert_int_equal(wire_send(w, &s, d), VERDICT_OUT_OF_WINDOW);
        wire_quiet(w);
    }
}

/* Its backend has those bytes, and takes such a FIN for an old duplicate. */
static void a_fin_before_bytes_that_the_client_has_sent_is_dropped(void **state)
{
    struct wire *w = wire_of(state);
    struct wire_talk t = wire_talk(w);
    wire_open(w, &t);
    wire_pass(w, &t, FROM_CLIENT, TCP_ACK, "some of a body");
    wire_pass(w, &t, FROM_BACKEND, TCP_ACK, "");
    struct wire_segment fin = wire_data(&t, FROM_CLIENT, TCP_FIN | TCP_ACK, "body");
    fin.seq -= 5;
    for (; fin.length > 0; fin.length--) { /* the last byte lacks, then more */
        assert_int_equal(wire_send(w, &fin, FROM_CLIENT), VERDICT_END_MOVED);
        assert_int_equal(flow_at(w->shard->flows, 0)->state, FLOW_ESTABLISHED);
    }
    fin = wire_segment(&t, FROM_CLIENT, TCP_FIN | TCP_ACK);
    fin.seq--;
    assert_int_equal(wire_send(w, &fin, FROM_CLIENT), VERDICT_END_MOVED);
    wire_quiet(w);
    wire_pass(w, &t, FROM_CLIENT, TCP_ACK, " and the rest");
    wire_close(w, &t, FROM_CLIENT);
}

static void nothing_passes_behind_a_clients_fin_and_no_other_fin(void **state)
{
    struct wire *w = wire_of(state);
    struct wire_talk t = wire_talk(w);
    wire_open(w, &t);
    struct wire_segment fin = wire_data(&t, FROM_CLIENT, TCP_FIN | TCP_ACK, "the end");
    fin.seq += 100; /* what lies before it is under way, or lost */
    for (int i = 0; i < 2; i++) {
        assert_int_equal(wire_send(w, &fin, FROM_CLIENT), VERDICT_FORWARDED);
        assert_int_equal(wire_out(w, INSIDE).flags, TCP_FIN | TCP_ACK);
        struct wire_segment s = wire_data(&t, FROM_CLIENT, TCP_ACK, "1");
        s.seq = fin.seq + fin.length; /* where the FIN is */
        assert_int_equal(wire_send(w, &s, FROM_CLIENT), VERDICT_FORWARDED);
        wire_out(w, INSIDE);
        s.seq++;
        assert_int_equal(wire_send(w, &s, FROM_CLIENT), VERDICT_END_MOVED);
        s.flags = TCP_FIN | TCP_ACK;
        assert_int_equal(wire_send(w, &s, FROM_CLIENT), VERDICT_END_MOVED);
        s.seq = t.client.next;
        assert_int_equal(wire_send(w, &s, FROM_CLIENT), VERDICT_END_MOVED);
        wire_quiet(w);
        s.flags = TCP_ACK;
        assert_int_equal(wire_send(w, &s, FROM_CLIENT), VERDICT_FORWARDED);
        wire_out(w, INSIDE);
    }
    struct wire_segment reset = wire_segment(&t, FROM_CLIENT, TCP_RST);
    reset.seq = fin.seq + fin.length + 2; /* in the window: that is for its receiver to say */
    assert_int_equal(wire_send(w, &reset, FROM_CLIENT), VERDICT_FORWARDED);
}

static void malformed_options_are_dropped(void **state)
{
    struct wire *w = wire_of(state);
    struct wire_talk t = wire_talk(w);
    wire_open(w, &t);
    for (int from = 0; from < DIRECTIONS; from++) {
        struct wire_segment s = wire_segment(&t, (enum direction)from, TCP_ACK);
        s.options.timestamps = false;
        memcpy(s.extra, "\x05\x07\1\2\3\4\5\6", 8); /* SACK of five bytes */
        s.extra_length = 8;
        assert_int_equal(wire_send(w, &s, (enum direction)from), VERDICT_BAD_OPTIONS);
        wire_quiet(w);
    }
}

static void a_syn_ack_from_the_client_is_dropped(void **state)
{
    struct wire *w = wire_of(state);
    struct wire_talk t = wire_talk(w);
    wire_open(w, &t);
    struct wire_segment s = wire_segment(&t, FROM_CLIENT, TCP_SYN | TCP_ACK);
    assert_int_equal(wire_send(w, &s, FROM_CLIENT), VERDICT_STATE);
    s = wire_segment(&t, FROM_BACKEND, TCP_SYN);
    assert_int_equal(wire_send(w, &s, FROM_BACKEND), VERDICT_STATE);
    wire_quiet(w);
}

/* ---- ends ---- */

static void an_exact_reset_is_passed_on_and_ends_the_flow(void **state)
{
    struct wire *w = wire_of(state);
    for (int from = 0; from < DIRECTIONS; from++) {
        struct wire_talk t = wire_talk(w);
        wire_open(w, &t);
        wire_pass(w, &t, (enum direction)from, TCP_RST | TCP_ACK, "");
        wire_quiet(w);
        wire_expect_tables(w, 0, 0);
    }
    assert_int_equal(w->shard->verdicts[VERDICT_FLOW_RESET], 2);
}

/* Two segments of an answer, of which the client gets the first, and a reset behind them. */
static void answer_lost_before_a_reset(struct wire *w, struct wire_talk *t)
{
    wire_pass(w, t, FROM_BACKEND, TCP_ACK, "arrives");
    const uint32_t has = t->client.expects;
    wire_pass(w, t, FROM_BACKEND, TCP_ACK | TCP_PSH, "is lost");
    t->client.expects = has;
    const struct wire_segment reset = wire_segment(t, FROM_BACKEND, TCP_RST | TCP_ACK);
    assert_int_equal(wire_send(w, &reset, FROM_BACKEND), VERDICT_FLOW_RESET);
    const struct wire_segment seen = wire_out(w, OUTSIDE);
    assert_true(seen.flags & TCP_RST);
    assert_int_equal(seen.seq, has + strlen("is lost"));
    wire_quiet(w);
}

/* It is in the client's window, and not where it expects it: RFC 5961 section 3.2. */
static void a_client_that_challenges_a_reset_behind_lost_bytes_is_answered(void **state)
{
    struct wire *w = wire_of(state);
    struct wire_talk t = wire_talk(w);
    wire_open(w, &t);
    answer_lost_before_a_reset(w, &t);
    assert_int_equal(clients_count(w->shard->clients).connections, 0);
    const struct wire_segment challenge = wire_segment(&t, FROM_CLIENT, TCP_ACK);
    assert_int_equal(wire_send(w, &challenge, FROM_CLIENT), VERDICT_FORWARDED);
    const struct wire_segment asked = wire_out(w, INSIDE);
    assert_int_equal(asked.ack + wire_delta(&t), t.client.expects);
    struct wire_segment reset = wire_segment(&t, FROM_BACKEND, TCP_RST);
    reset.seq = asked.ack; /* of a host that knows no such connection */
    reset.options.timestamps = false;
    assert_int_equal(wire_send(w, &reset, FROM_BACKEND), VERDICT_FORWARDED);
    const struct wire_segment seen = wire_out(w, OUTSIDE);
    assert_int_equal(seen.flags, TCP_RST);
    assert_int_equal(seen.seq, t.client.expects);
    wire_quiet(w);
    wire_expect_tables(w, 0, 0);
    assert_int_equal(w->shard->verdicts[VERDICT_FLOW_RESET], 1);
    assert_int_equal(tombstones_count(w->shard->tombstones), 1);
}

static void a_client_that_has_taken_a_reset_is_forgotten_soon(void **state)
{
    struct wire *w = wire_of(state);
    struct wire_talk t = wire_talk(w);
    wire_handshake(w, &t);
    const struct wire_segment first = wire_data(&t, FROM_CLIENT, TCP_ACK, wire_upload);
    wire_ask(w, &t, wire_upload);
    wire_accept(w, &t);
    wire_pass(w, &t, FROM_BACKEND, TCP_ACK, "");
    answer_lost_before_a_reset(w, &t);
    const struct wire_segment more = wire_data(&t, FROM_CLIENT, TCP_ACK, "under way by then");
    assert_int_equal(wire_send(w, &more, FROM_CLIENT), VERDICT_FORWARDED);
    const struct wire_segment asked = wire_out(w, INSIDE);
    assert_int_equal(asked.length, 0); /* none of it */
    assert_int_equal(asked.seq, more.seq);
    assert_int_equal(asked.ack + wire_delta(&t), t.client.expects);
    wire_quiet(w);
    const struct wire_segment reset = wire_segment(&t, FROM_BACKEND, TCP_RST | TCP_ACK);
    wire_wait(w, 2000);
    assert_int_equal(wire_send(w, &reset, FROM_BACKEND), VERDICT_FORWARDED); /* keeps nothing */
    wire_forget_frames(w);
    wire_expect_tables(w, 1, 0);
    wire_wait(w, 1100);
    wire_quiet(w);
    wire_expect_tables(w, 0, 0);
    assert_int_equal(w->shard->verdicts[VERDICT_FLOW_RESET], 1);
    assert_int_equal(w->shard->verdicts[VERDICT_FLOW_CLOSED], 0);
    assert_int_equal(wire_send(w, &first, FROM_CLIENT), VERDICT_TOMBSTONE_DROP);
}

static void what_was_being_delivered_ends_with_a_reset(void **state)
{
    struct wire *w = wire_of(state);
    struct wire_talk t = wire_talk(w);
    wire_handshake(w, &t);
    struct wire_segment piece = wire_data(&t, FROM_CLIENT, TCP_ACK, wire_request);
    piece.length = 10;
    assert_int_equal(wire_send(w, &piece, FROM_CLIENT), VERDICT_READING);
    wire_forget_frames(w);
    t.client.next += 10;
    wire_ask(w, &t, wire_request + 10);
    struct wire_segment s = wire_syn_ack(&t);
    s.window = 12; /* room for the first bytes only */
    assert_int_equal(wire_send(w, &s, FROM_BACKEND), VERDICT_BACKEND_ANSWERED);
    wire_forget_frames(w);
    s = wire_data(&t, FROM_BACKEND, TCP_ACK, "is lost");
    s.seq++;
    s.ack = t.client.isn + 1;
    assert_int_equal(wire_send(w, &s, FROM_BACKEND), VERDICT_FORWARDED);
    s.seq += s.length;
    s.length = 0;
    s.flags = TCP_RST | TCP_ACK;
    assert_int_equal(wire_send(w, &s, FROM_BACKEND), VERDICT_FLOW_RESET);
    wire_forget_frames(w);
    wire_expect_tables(w, 1, 0);
    wire_wait(w, 2000);
    wire_quiet(w); /* it is not sent again */
    const struct wire_segment challenge = wire_segment(&t, FROM_CLIENT, TCP_ACK);
    assert_int_equal(wire_send(w, &challenge, FROM_CLIENT), VERDICT_FORWARDED);
    assert_int_equal(wire_out(w, INSIDE).ack + wire_delta(&t), t.client.expects);
    wire_wait(w, 1100);
    wire_expect_tables(w, 0, 0);
}

static void pitfall_29_a_reset_merely_in_the_window_passes_and_ends_nothing(void **state)
{
    struct wire *w = wire_of(state);
    struct wire_talk t = wire_talk(w);
    wire_open(w, &t);
    for (int from = 0; from < DIRECTIONS; from++) {
        const enum direction d = (enum direction)from;
        struct wire_segment reset = wire_segment(&t, d, TCP_RST);
        reset.seq += 100; /* the receiver will challenge it (RFC 5961 section 3) */
        assert_int_equal(wire_send(w, &reset, d), VERDICT_FORWARDED);
        assert_int_equal(wire_out(w, side_of(other(d))).flags, TCP_RST);
        reset.seq += 1000000;
        assert_int_equal(wire_send(w, &reset, d), VERDICT_OUT_OF_WINDOW);
        wire_quiet(w);
        wire_expect_tables(w, 1, 0);
    }
    wire_pass(w, &t, FROM_CLIENT, TCP_ACK, "still here");
}

static void a_close_by_either_end_lingers_and_is_forgotten(void **state)
{
    struct wire *w = wire_of(state);
    for (int first = 0; first < DIRECTIONS; first++) {
        struct wire_talk t = wire_talk(w);
        wire_open(w, &t);
        wire_pass(w, &t, FROM_CLIENT, TCP_ACK, "");
        wire_close(w, &t, (enum direction)first);
        wire_wait(w, 2980);
        wire_expect_tables(w, 1, 0);
        wire_wait(w, 50);
        wire_expect_tables(w, 0, 0);
        wire_quiet(w); /* no reset to anybody */
    }
    assert_int_equal(w->shard->verdicts[VERDICT_FLOW_CLOSED], 2);
    assert_int_equal(tombstones_count(w->shard->tombstones), 2);
}

static void a_fin_sent_again_while_the_flow_lingers_is_passed_on(void **state)
{
    struct wire *w = wire_of(state);
    struct wire_talk t = wire_talk(w);
    wire_open(w, &t);
    wire_pass(w, &t, FROM_CLIENT, TCP_FIN | TCP_ACK, "");
    const struct wire_segment fin = wire_segment(&t, FROM_BACKEND, TCP_FIN | TCP_ACK);
    wire_pass(w, &t, FROM_BACKEND, TCP_FIN | TCP_ACK, "");
    wire_pass(w, &t, FROM_CLIENT, TCP_ACK, ""); /* lost behind us */
    for (int i = 0; i < 3; i++) {
        wire_wait(w, 2000); /* each keeps it a little longer */
        assert_int_equal(wire_send(w, &fin, FROM_BACKEND), VERDICT_FORWARDED);
        assert_int_equal(wire_out(w, OUTSIDE).flags, TCP_FIN | TCP_ACK);
        wire_pass(w, &t, FROM_CLIENT, TCP_ACK, "");
    }
    wire_wait(w, 3100);
    wire_expect_tables(w, 0, 0);
}

static void what_a_client_sends_again_does_not_keep_a_closed_flow(void **state)
{
    struct wire *w = wire_of(state);
    struct wire_talk t = wire_talk(w);
    wire_open(w, &t);
    wire_pass(w, &t, FROM_CLIENT, TCP_ACK, "");
    wire_close(w, &t, FROM_CLIENT);
    const struct wire_segment again = wire_segment(&t, FROM_CLIENT, TCP_ACK);
    for (int i = 0; i < 29; i++) {
        wire_wait(w, 100);
        assert_int_equal(wire_send(w, &again, FROM_CLIENT), VERDICT_FORWARDED);
        wire_forget_frames(w);
    }
    wire_wait(w, 150);
    wire_expect_tables(w, 0, 0);
}

static void a_simultaneous_close_ends_the_flow(void **state)
{
    struct wire *w = wire_of(state);
    struct wire_talk t = wire_talk(w);
    wire_open(w, &t);
    const struct wire_segment fins[] = {wire_segment(&t, FROM_CLIENT, TCP_FIN | TCP_ACK),
                                        wire_segment(&t, FROM_BACKEND, TCP_FIN | TCP_ACK)};
    for (int from = 0; from < DIRECTIONS; from++) { /* neither knows of the other's */
        assert_int_equal(wire_send(w, &fins[from], (enum direction)from), VERDICT_FORWARDED);
        wire_out(w, side_of(other((enum direction)from)));
    }
    t.client.next++, t.client.expects++, t.server.next++, t.server.expects++;
    wire_pass(w, &t, FROM_CLIENT, TCP_ACK, "");
    assert_int_equal(flow_at(w->shard->flows, 0)->state, FLOW_BOTH_BACKEND_ACKED);
    wire_pass(w, &t, FROM_BACKEND, TCP_ACK, "");
    assert_int_equal(flow_at(w->shard->flows, 0)->state, FLOW_CLOSED);
    wire_wait(w, 3100);
    wire_expect_tables(w, 0, 0);
}

static void after_a_half_close_the_other_end_goes_on_for_as_long_as_it_likes(void **state)
{
    struct wire *w = wire_of(state);
    for (int first = 0; first < DIRECTIONS; first++) {
        struct wire_talk t = wire_talk(w);
        const enum direction closed = (enum direction)first, open = other(closed);
        wire_open(w, &t);
        wire_pass(w, &t, FROM_CLIENT, TCP_ACK, "");
        wire_pass(w, &t, closed, TCP_FIN | TCP_ACK, "last words");
        for (int i = 0; i < 10; i++) {
            wire_pass(w, &t, open, TCP_ACK, "and another thing");
            wire_pass(w, &t, closed, TCP_ACK, "");
            wire_wait(w, 100000);
        }
        wire_pass(w, &t, open, TCP_FIN | TCP_ACK, "");
        wire_pass(w, &t, closed, TCP_ACK, "");
        wire_wait(w, 3100);
        wire_expect_tables(w, 0, 0);
        wire_quiet(w);
    }
}

/* ---- timers ---- */

static void expect_both_reset(struct wire *w, const struct wire_talk *t)
{
    const struct wire_segment inside = wire_out(w, INSIDE), outside = wire_out(w, OUTSIDE);
    assert_int_equal(inside.flags, TCP_RST | TCP_ACK);
    assert_int_equal(inside.seq, t->server.expects);
    assert_int_equal(inside.ack, t->server.next);
    assert_int_equal(outside.flags, TCP_RST | TCP_ACK);
    assert_int_equal(outside.seq, t->client.expects);
    assert_int_equal(outside.ack, t->client.next);
    assert_memory_equal(&inside.to, &t->server.mac, 6);
    assert_memory_equal(&outside.to, &t->client.mac, 6);
    wire_quiet(w);
    wire_expect_tables(w, 0, 0);
}

static void an_idle_flow_is_reset_on_both_sides_with_exact_numbers(void **state)
{
    struct wire *w = wire_of(state);
    struct wire_talk t = wire_talk(w);
    wire_open(w, &t);
    wire_pass(w, &t, FROM_BACKEND, TCP_ACK, "an answer");
    wire_pass(w, &t, FROM_CLIENT, TCP_ACK, "");
    wire_wait(w, 890000);
    wire_pass(w, &t, FROM_BACKEND, TCP_ACK, "not idle yet");
    wire_pass(w, &t, FROM_CLIENT, TCP_ACK, "");
    wire_wait(w, 899900);
    wire_quiet(w);
    wire_wait(w, 200);
    expect_both_reset(w, &t);
    assert_int_equal(w->shard->verdicts[VERDICT_FLOW_IDLE], 1);
}

static void a_half_closed_flow_has_its_own_time(void **state)
{
    struct wire *w = wire_of(state);
    for (int acked = 0; acked < 2; acked++) {
        for (int first = 0; first < DIRECTIONS; first++) {
            struct wire_talk t = wire_talk(w);
            const enum direction d = (enum direction)first;
            wire_open(w, &t);
            wire_pass(w, &t, FROM_CLIENT, TCP_ACK, "");
            wire_pass(w, &t, d, TCP_FIN | TCP_ACK, "");
            if (acked)
                wire_pass(w, &t, other(d), TCP_ACK, "");
            wire_wait(w, 299900);
            wire_expect_tables(w, 1, 0);
            wire_wait(w, 200);
            wire_forget_frames(w);
            wire_expect_tables(w, 0, 0);
        }
    }
    assert_int_equal(w->shard->verdicts[VERDICT_FLOW_IDLE], 4);
}

static void a_flow_whose_last_ack_never_comes_has_its_own_time(void **state)
{
    struct wire *w = wire_of(state);
    struct wire_talk t = wire_talk(w);
    wire_open(w, &t);
    wire_pass(w, &t, FROM_CLIENT, TCP_FIN | TCP_ACK, "");
    wire_pass(w, &t, FROM_BACKEND, TCP_FIN | TCP_ACK, "");
    wire_wait(w, 59900);
    wire_expect_tables(w, 1, 0);
    wire_wait(w, 200);
    wire_forget_frames(w);
    wire_expect_tables(w, 0, 0);
}

static void segments_that_are_dropped_do_not_keep_a_flow_alive(void **state)
{
    struct wire *w = wire_of(state);
    struct wire_talk t = wire_talk(w);
    wire_open(w, &t);
    wire_wait(w, 800000);
    struct wire_segment s = wire_segment(&t, FROM_CLIENT, TCP_ACK);
    s.ack++;
    assert_int_equal(wire_send(w, &s, FROM_CLIENT), VERDICT_ACK_UNSENT);
    wire_wait(w, 100100);
    assert_int_equal(w->shard->verdicts[VERDICT_FLOW_IDLE], 1);
}

/* Its first segment is sent again after the backend's answer: an answer of the backend's is due. */
static void the_first_data_sent_again_later_is_passed_on_once_each(void **state)
{
    struct wire *w = wire_of(state);
    struct wire_talk t = wire_talk(w);
    wire_handshake(w, &t);
    const struct wire_segment first = wire_data(&t, FROM_CLIENT, TCP_ACK, wire_request);
    wire_ask(w, &t, wire_request);
    wire_accept(w, &t);
    wire_pass(w, &t, FROM_BACKEND, TCP_ACK, "the answer");
    assert_int_equal(wire_send(w, &first, FROM_CLIENT), VERDICT_FORWARDED);
    assert_int_equal(wire_out(w, INSIDE).seq, t.client.isn + 1);
    wire_quiet(w);
    wire_expect_tables(w, 1, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        WIRE_TEST(data_passes_both_ways_with_each_ends_own_numbers),
        WIRE_TEST(the_other_end_sees_addresses_that_it_knows),
        WIRE_TEST(answers_follow_the_client_to_a_new_last_hop),
        WIRE_TEST(pitfall_06_timestamps_are_translated_both_ways),
        WIRE_TEST(paws_of_a_client_sees_no_step_at_the_splice),
        WIRE_TEST(sack_edges_are_translated_towards_the_backend_only),
        WIRE_TEST(unknown_options_and_the_urgent_pointer_do_not_pass),
        WIRE_TEST(ethernet_padding_is_not_passed_on),
        WIRE_TEST(pitfall_05_windows_are_rescaled_both_ways_and_never_become_zero),
        WIRE_TEST(pitfall_05_without_agreed_scaling_windows_pass_as_they_are),
        WIRE_TEST(pitfall_05_a_window_below_one_unit_lets_a_whole_unit_pass),
        WIRE_TEST(keep_alives_and_zero_window_probes_pass),
        WIRE_TEST(data_beyond_the_window_is_dropped),
        WIRE_TEST(pitfall_28_an_ack_for_bytes_that_were_never_sent_is_dropped),
        WIRE_TEST(an_old_timestamp_is_dropped_and_an_old_number_too),
        WIRE_TEST(a_fin_before_bytes_that_the_client_has_sent_is_dropped),
        WIRE_TEST(nothing_passes_behind_a_clients_fin_and_no_other_fin),
        WIRE_TEST(malformed_options_are_dropped),
        WIRE_TEST(a_syn_ack_from_the_client_is_dropped),
        WIRE_TEST(an_exact_reset_is_passed_on_and_ends_the_flow),
        WIRE_TEST(a_client_that_challenges_a_reset_behind_lost_bytes_is_answered),
        WIRE_TEST(a_client_that_has_taken_a_reset_is_forgotten_soon),
        WIRE_TEST(what_was_being_delivered_ends_with_a_reset),
        WIRE_TEST(pitfall_29_a_reset_merely_in_the_window_passes_and_ends_nothing),
        WIRE_TEST(a_close_by_either_end_lingers_and_is_forgotten),
        WIRE_TEST(a_fin_sent_again_while_the_flow_lingers_is_passed_on),
        WIRE_TEST(what_a_client_sends_again_does_not_keep_a_closed_flow),
        WIRE_TEST(a_simultaneous_close_ends_the_flow),
        WIRE_TEST(after_a_half_close_the_other_end_goes_on_for_as_long_as_it_likes),
        WIRE_TEST(an_idle_flow_is_reset_on_both_sides_with_exact_numbers),
        WIRE_TEST(a_half_closed_flow_has_its_own_time),
        WIRE_TEST(a_flow_whose_last_ack_never_comes_has_its_own_time),
        WIRE_TEST(segments_that_are_dropped_do_not_keep_a_flow_alive),
        WIRE_TEST(the_first_data_sent_again_later_is_passed_on_once_each),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
