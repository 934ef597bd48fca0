/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026, the Dropgate authors
 *
 * From the first data with a valid cookie to an open flow: what the backend is sent and when, what
 * the client hears when it goes wrong, and that nothing is left behind. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
// clang-format off
#include <cmocka.h>
// clang-format on

#include "tests/unit/wire.h"

static void the_backend_gets_the_clients_own_isn_and_what_it_was_granted(void **state)
{
    struct wire *w = wire_of(state);
    struct wire_talk t = wire_talk(w);
    wire_handshake(w, &t);
    t.client.clock = 777;
    const struct wire_segment syn = wire_ask(w, &t, wire_request);
    assert_int_equal(syn.flags, TCP_SYN);
    assert_int_equal(syn.seq, t.client.isn);
    assert_int_equal(syn.ack, 0);
    assert_int_equal(syn.length, 0);
    assert_int_equal(syn.window, 501 << 7); /* not scaled in a SYN (RFC 7323 section 2.2) */
    assert_int_equal(syn.options.mss, w->family == WIRE_V4 ? 1460 : 1440);
    assert_int_equal(syn.options.window_scale, 7);
    assert_true(syn.options.sack_ok);
    assert_true(syn.options.timestamps);
    assert_int_equal(syn.options.tsval, 777);
    assert_int_equal(syn.options.tsecr, 0);
    assert_true(addr_equal(&syn.source, &t.client.at.addr));
    assert_int_equal(syn.source_port, t.client.at.port);
    assert_true(addr_equal(&syn.destination, &t.server.at.addr));
    assert_int_equal(syn.destination_port, t.server.at.port);
    assert_memory_equal(&syn.to, &t.server.mac, 6);
    wire_quiet(w); /* and the client nothing: the request is not acknowledged */
    wire_expect_tables(w, 1, 1);
}

static void the_syns_window_is_clamped_to_what_fits(void **state)
{
    struct wire *w = wire_of(state);
    struct wire_talk t = wire_talk(w);
    wire_handshake(w, &t);
    t.client.window = 60000; /* 7.7 MB */
    assert_int_equal(wire_ask(w, &t, wire_request).window, 65535);
}

static void the_mss_towards_the_backend_is_the_clients_class(void **state)
{
    static const struct {
        uint16_t offered, told;
    } rows[] = {{0, 536},     {1, 536},     {536, 536},   {1219, 536},  {1220, 1220},
                {1439, 1220}, {1440, 1440}, {1459, 1440}, {1460, 1460}, {8960, 1460}};
    struct wire *w = wire_of(state);
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct wire_talk t = wire_talk(w);
        t.client.mss = rows[i].offered;
        wire_handshake(w, &t);
        assert_int_equal(wire_ask(w, &t, wire_request).options.mss, rows[i].told);
    }
}

static void data_may_come_with_the_handshakes_last_ack(void **state)
{
    struct wire *w = wire_of(state);
    struct wire_talk with = wire_talk(w), before = wire_talk(w);
    wire_handshake(w, &with);
    wire_ask(w, &with, wire_request); /* no bare ACK went before */
    wire_handshake(w, &before);
    const struct wire_segment ack = wire_segment(&before, FROM_CLIENT, TCP_ACK);
    assert_int_equal(wire_send(w, &ack, FROM_CLIENT), VERDICT_ACK_NO_FLOW);
    wire_ask(w, &before, wire_request);
}

static void the_held_request_goes_out_when_the_backend_answers(void **state)
{
    struct wire *w = wire_of(state);
    struct wire_talk t = wire_talk(w);
    wire_handshake(w, &t);
    wire_ask(w, &t, wire_request);
    const struct wire_segment held = wire_accept(w, &t);
    assert_int_equal(held.flags, TCP_ACK | TCP_PSH);
    assert_int_equal(held.length, strlen(wire_request));
    assert_memory_equal(held.payload, wire_request, strlen(wire_request));
    assert_int_equal(held.window, 501);
    assert_int_equal(held.options.tsecr, 0); /* see the next test */
    wire_quiet(w);
    wire_expect_tables(w, 1, 0);
    wire_pass(w, &t, FROM_BACKEND, TCP_ACK | TCP_PSH, "HTTP/1.1 204 No Content\r\n\r\n");
}

/* Its first sample would be the way to the gateway, not to the client. */
static void a_backend_measures_no_round_trip_by_its_handshake(void **state)
{
    struct wire *w = wire_of(state);
    struct wire_talk t = wire_talk(w);
    wire_handshake(w, &t);
    const struct wire_segment syn = wire_ask(w, &t, wire_request);
    const struct wire_segment syn_ack = wire_syn_ack(&t);
    assert_int_equal(wire_send(w, &syn_ack, FROM_BACKEND), VERDICT_BACKEND_ANSWERED);
    const struct wire_segment again = wire_out(w, INSIDE); /* before the data, or it is too late */
    assert_int_equal(again.flags, TCP_SYN);
    assert_int_equal(again.seq, syn.seq);
    assert_int_equal(again.window, syn.window);
    assert_memory_equal(&again.options, &syn.options, sizeof syn.options);
    const struct wire_segment data = wire_out(w, INSIDE);
    assert_true(data.options.timestamps);
    assert_int_equal(data.options.tsecr, 0);
    wire_quiet(w);
    assert_int_equal(wire_send(w, &syn_ack, FROM_BACKEND), VERDICT_FORWARDED); /* its answer */
    assert_int_equal(wire_out(w, INSIDE).flags, TCP_ACK);
    wire_quiet(w);
}

static void pitfall_26_a_request_in_one_segment_is_acknowledged_by_the_backend_alone(void **state)
{
    struct wire *w = wire_of(state);
    struct wire_talk t = wire_talk(w);
    wire_handshake(w, &t);
    const struct wire_segment request = wire_data(&t, FROM_CLIENT, TCP_ACK, wire_request);
    wire_ask(w, &t, wire_request);
    wire_accept(w, &t); /* lost on its way to the backend */
    wire_quiet(w);
    /* … and so the client sends it again, and it passes. */
    assert_int_equal(wire_send(w, &request, FROM_CLIENT), VERDICT_FORWARDED);
    const struct wire_segment repeated = wire_out(w, INSIDE);
    assert_int_equal(repeated.seq, t.client.isn + 1);
    assert_int_equal(repeated.length, strlen(wire_request));
    wire_pass(w, &t, FROM_BACKEND, TCP_ACK, "");
}

static void a_request_sent_again_while_the_backend_is_opened_is_not_doubled(void **state)
{
    struct wire *w = wire_of(state);
    struct wire_talk t = wire_talk(w);
    wire_handshake(w, &t);
    const struct wire_segment request = wire_data(&t, FROM_CLIENT, TCP_ACK, wire_request);
    wire_ask(w, &t, wire_request);
    for (int i = 0; i < 3; i++)
        assert_int_equal(wire_send(w, &request, FROM_CLIENT), VERDICT_OPENING_BUSY);
    wire_quiet(w);
    wire_expect_tables(w, 1, 1);
    wire_accept(w, &t);
    wire_quiet(w); /* once */
}

static void pitfall_25_the_request_is_copied_out_of_the_receive_buffer(void **state)
{
    struct wire *w = wire_of(state);
    struct wire_talk t = wire_talk(w);
    wire_handshake(w, &t);
    wire_ask(w, &t, wire_request);
    memset(w->in, 0xee, sizeof w->in);
    const struct wire_segment held = wire_accept(w, &t);
    assert_memory_equal(held.payload, wire_request, strlen(wire_request));
}

static void a_fin_with_the_first_data_reaches_the_backend_with_it(void **state)
{
    struct wire *w = wire_of(state);
    struct wire_talk t = wire_talk(w);
    wire_handshake(w, &t);
    const struct wire_segment data =
        wire_data(&t, FROM_CLIENT, TCP_ACK | TCP_FIN | TCP_PSH, wire_request);
    assert_int_equal(wire_send(w, &data, FROM_CLIENT), VERDICT_OPENED);
    t.client.next += data.length + 1U;
    t.server.expects = wire_out(w, INSIDE).seq + 1;
    const struct wire_segment held = wire_accept(w, &t);
    assert_int_equal(held.flags, TCP_ACK | TCP_PSH | TCP_FIN);
    wire_pass(w, &t, FROM_BACKEND, TCP_ACK, "the answer, after the client's FIN");
    wire_pass(w, &t, FROM_BACKEND, TCP_ACK | TCP_FIN, "");
    wire_pass(w, &t, FROM_CLIENT, TCP_ACK, "");
    wire_wait(w, 3100);
    wire_expect_tables(w, 0, 0);
    assert_int_equal(w->shard->verdicts[VERDICT_FLOW_CLOSED], 1);
}

static void a_flow_that_opens_half_closed_is_given_the_time_of_half_closed_ones(void **state)
{
    struct wire *w = wire_of(state);
    w->limits.half_closed_ms = 2000;
    struct wire_talk t = wire_talk(w);
    wire_handshake(w, &t);
    const struct wire_segment data = wire_data(&t, FROM_CLIENT, TCP_ACK | TCP_FIN, wire_request);
    assert_int_equal(wire_send(w, &data, FROM_CLIENT), VERDICT_OPENED);
    t.server.expects = wire_out(w, INSIDE).seq + 1;
    wire_accept(w, &t);
    wire_wait(w, 1990);
    wire_expect_tables(w, 1, 0);
    wire_wait(w, 30);
    wire_expect_tables(w, 0, 0);
}

static void the_urgent_pointer_of_the_first_data_is_dropped_and_its_byte_kept(void **state)
{
    struct wire *w = wire_of(state);
    struct wire_talk t = wire_talk(w);
    wire_handshake(w, &t);
    struct wire_segment data = wire_data(&t, FROM_CLIENT, TCP_ACK | TCP_URG, wire_request);
    data.urgent = 5;
    assert_int_equal(wire_send(w, &data, FROM_CLIENT), VERDICT_OPENED);
    t.server.expects = wire_out(w, INSIDE).seq + 1;
    const struct wire_segment held = wire_accept(w, &t);
    assert_int_equal(held.flags & TCP_URG, 0);
    assert_int_equal(held.urgent, 0);
    assert_memory_equal(held.payload, wire_request, strlen(wire_request));
}

/* ---- cutting at the backend's MSS ---- */

static void expect_pieces(struct wire *w, const struct wire_talk *t, uint16_t piece, bool fin)
{
    size_t at = 0;
    const size_t all = strlen(wire_request);
    while (at < all) {
        const struct wire_segment s = wire_out(w, INSIDE);
        const size_t length = all - at < piece ? all - at : piece;
        const bool last = at + length == all;
        assert_int_equal(s.length, length);
        assert_memory_equal(s.payload, wire_request + at, length);
        assert_int_equal(s.seq, t->client.isn + 1 + at);
        assert_int_equal(s.ack, t->server.isn + 1);
        assert_int_equal(s.flags, last ? TCP_ACK | TCP_PSH | (fin ? TCP_FIN : 0) : TCP_ACK);
        at += length;
    }
    wire_quiet(w);
}

static void a_held_request_is_cut_at_the_backends_mss(void **state)
{
    struct wire *w = wire_of(state);
    for (unsigned kind = 0; kind < 4; kind++) {
        const bool fin = kind & 1, timestamps = kind & 2;
        struct wire_talk t = wire_talk(w);
        t.client.timestamps = timestamps;
        wire_handshake(w, &t);
        const struct wire_segment data =
            wire_data(&t, FROM_CLIENT, (uint8_t)(TCP_ACK | (fin ? TCP_FIN : 0)), wire_request);
        assert_int_equal(wire_send(w, &data, FROM_CLIENT), VERDICT_OPENED);
        t.server.expects = wire_out(w, INSIDE).seq + 1;
        t.server.mss = 88;
        const struct wire_segment syn_ack = wire_syn_ack(&t);
        assert_int_equal(wire_send(w, &syn_ack, FROM_BACKEND), VERDICT_BACKEND_ANSWERED);
        wire_syn_again(w, &t);
        expect_pieces(w, &t, timestamps ? 76 : 88, fin); /* options count (RFC 6691) */
    }
}

static void a_backend_without_an_mss_gets_pieces_of_536(void **state)
{
    struct wire *w = wire_of(state);
    struct wire_talk t = wire_talk(w);
    char request[1200];
    snprintf(request, sizeof request, "GET / HTTP/1.1\r\nHost: a\r\nX: %0*d\r\n\r\n", 1000, 7);
    t.client.timestamps = false;
    wire_handshake(w, &t);
    wire_ask(w, &t, request);
    t.server.mss = 0;
    const struct wire_segment syn_ack = wire_syn_ack(&t);
    assert_int_equal(wire_send(w, &syn_ack, FROM_BACKEND), VERDICT_BACKEND_ANSWERED);
    wire_syn_again(w, &t);
    assert_int_equal(wire_out(w, INSIDE).length, 536);
    assert_int_equal(wire_out(w, INSIDE).length, strlen(request) - 536);
    wire_quiet(w);
}

static void an_absurd_mss_does_not_make_a_packet_of_every_byte(void **state)
{
    struct wire *w = wire_of(state);
    for (uint16_t mss = 1; mss < 48; mss++) {
        struct wire_talk t = wire_talk(w);
        wire_handshake(w, &t);
        wire_ask(w, &t, wire_request);
        t.server.mss = mss;
        const struct wire_segment syn_ack = wire_syn_ack(&t);
        assert_int_equal(wire_send(w, &syn_ack, FROM_BACKEND), VERDICT_BACKEND_ANSWERED);
        wire_syn_again(w, &t);
        expect_pieces(w, &t, 36, false); /* 48, as the least that Linux takes, less timestamps */
    }
}

/* ---- no answer, or a bad one ---- */

static void pitfall_13_the_syn_is_built_again_from_the_flow_each_time(void **state)
{
    struct wire *w = wire_of(state);
    struct wire_talk t = wire_talk(w);
    wire_handshake(w, &t);
    const struct wire_segment data = wire_data(&t, FROM_CLIENT, TCP_ACK, wire_request);
    assert_int_equal(wire_send(w, &data, FROM_CLIENT), VERDICT_OPENED);
    const struct wire_frame first = *wire_out_frame(w, INSIDE);
    static const uint32_t waits[] = {1000, 2000, 4000};
    uint64_t due = w->now_ms;
    for (int i = 0; i < 3; i++) {
        wire_wait(w, waits[i] + 16);
        due += waits[i];
        const struct wire_frame *again = wire_out_frame(w, INSIDE);
        wire_quiet(w);
        assert_int_equal(again->length, first.length);
        assert_memory_equal(again->bytes, first.bytes, first.length);
        assert_in_range(again->at_ms, due, due + 32); /* a tick late at most, each */
    }
    wire_expect_tables(w, 1, 1);
}

static void a_silent_backend_is_reset_exactly_and_its_client_told(void **state)
{
    struct wire *w = wire_of(state);
    struct wire_talk t = wire_talk(w);
    wire_handshake(w, &t);
    wire_ask(w, &t, wire_request);
    wire_wait(w, 14900);
    wire_expect_tables(w, 1, 1);
    for (int i = 0; i < 3; i++)
        assert_int_equal(wire_out(w, INSIDE).flags, TCP_SYN);
    wire_quiet(w);
    wire_wait(w, 200);
    const struct wire_segment inside = wire_out(w, INSIDE);
    assert_int_equal(inside.flags, TCP_RST);
    assert_int_equal(inside.seq, t.client.isn + 1);
    wire_unavailable(w, &t);
    wire_quiet(w);
    wire_expect_tables(w, 0, 0);
    assert_int_equal(w->shard->verdicts[VERDICT_BACKEND_TIMEOUT], 1);
}

static void one_try_means_one_syn(void **state)
{
    struct wire *w = wire_of(state);
    w->limits.syn_tries = 1;
    struct wire_talk t = wire_talk(w);
    wire_handshake(w, &t);
    wire_ask(w, &t, wire_request);
    wire_wait(w, 1100);
    assert_int_equal(wire_out(w, INSIDE).flags, TCP_RST);
    wire_unavailable(w, &t);
    wire_expect_tables(w, 0, 0);
}

/* The request is in our hands, and nobody has got a byte of it. */
static void a_client_of_http_is_told_when_nobody_will_have_its_request(void **state)
{
    struct wire *w = wire_of(state);
    struct wire_talk t = wire_talk(w);
    wire_handshake(w, &t);
    const struct wire_segment data = wire_data(&t, FROM_CLIENT, TCP_ACK, wire_request);
    wire_ask(w, &t, wire_request);
    struct wire_segment reset = wire_segment(&t, FROM_BACKEND, TCP_RST | TCP_ACK);
    reset.seq = 0;
    reset.options = NO_OPTIONS;
    assert_int_equal(wire_send(w, &reset, FROM_BACKEND), VERDICT_BACKEND_REFUSED);
    wire_expect_tables(w, 1, 0); /* what was held is not any more */
    wire_unavailable(w, &t);
    wire_quiet(w);
    wire_expect_tables(w, 0, 0);
    assert_int_equal(wire_send(w, &data, FROM_CLIENT), VERDICT_TOMBSTONE_ACK);
}

/* HEAD gets no body, a browser a page; a body that is still coming is let come. */
static void it_is_told_in_the_way_that_it_wants(void **state)
{
    struct wire *w = wire_of(state);
    static const struct {
        const char *request, *has;
        bool body;
    } rows[] = {
        {"HEAD / HTTP/1.1\r\nHost: a\r\n\r\n", "problem+json", false},
        {"GET / HTTP/1.1\r\nHost: a\r\nAccept: text/html\r\n\r\n", "text/html", true},
        {"GET / HTTP/1.1\r\nHost: a\r\nAccept: */*\r\n\r\n", "problem+json", true},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        char text[1024];
        struct wire_talk t = wire_talk(w);
        wire_handshake(w, &t);
        wire_ask(w, &t, rows[i].request);
        struct wire_segment reset = wire_segment(&t, FROM_BACKEND, TCP_RST | TCP_ACK);
        assert_int_equal(wire_send(w, &reset, FROM_BACKEND), VERDICT_BACKEND_REFUSED);
        const struct wire_segment told = wire_out(w, OUTSIDE);
        snprintf(text, sizeof text, "%.*s", told.length, (const char *)told.payload);
        assert_non_null(strstr(text, rows[i].has));
        assert_non_null(strstr(text, "Retry-After: "));
        assert_int_equal(strlen(strstr(text, "\r\n\r\n")) > 4, rows[i].body);
    }
    struct wire_talk t = wire_talk(w);
    wire_handshake(w, &t);
    wire_ask(w, &t, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\n12");
    struct wire_segment reset = wire_segment(&t, FROM_BACKEND, TCP_RST | TCP_ACK);
    assert_int_equal(wire_send(w, &reset, FROM_BACKEND), VERDICT_BACKEND_REFUSED);
    assert_int_equal(wire_out(w, OUTSIDE).flags, TCP_ACK);
    const struct wire_segment rest = wire_data(&t, FROM_CLIENT, TCP_ACK, "34");
    t.client.next += 2;
    assert_int_equal(wire_send(w, &rest, FROM_CLIENT), VERDICT_REFUSAL_TAKEN);
    wire_unavailable(w, &t);
}

static void a_client_of_another_protocol_is_reset(void **state)
{
    struct wire *w = wire_of(state);
    struct wire_talk t = wire_talk(w);
    w->services->service[t.service].protocol = SERVICE_TCP;
    wire_handshake(w, &t);
    wire_ask(w, &t, "x");
    struct wire_segment reset = wire_segment(&t, FROM_BACKEND, TCP_RST | TCP_ACK);
    assert_int_equal(wire_send(w, &reset, FROM_BACKEND), VERDICT_BACKEND_REFUSED);
    const struct wire_segment told = wire_out(w, OUTSIDE);
    assert_int_equal(told.flags, TCP_RST | TCP_ACK);
    assert_int_equal(told.seq, t.client.expects);
    wire_quiet(w);
    wire_expect_tables(w, 0, 0);
}

static void a_reset_that_does_not_answer_our_syn_is_ignored(void **state)
{
    struct wire *w = wire_of(state);
    struct wire_talk t = wire_talk(w);
    wire_handshake(w, &t);
    wire_ask(w, &t, wire_request);
    for (int kind = 0; kind < 3; kind++) {
        struct wire_segment reset = wire_segment(&t, FROM_BACKEND, TCP_RST | TCP_ACK);
        reset.ack += kind == 0 ? 1U : 0xffffffffU;
        if (kind == 2)
            reset.flags = TCP_RST;
        assert_int_equal(wire_send(w, &reset, FROM_BACKEND), VERDICT_STATE);
    }
    wire_quiet(w);
    wire_expect_tables(w, 1, 1);
    wire_accept(w, &t);
}

static void pitfall_30_a_backend_that_refuses_a_granted_option_is_reported(void **state)
{
    struct wire *w = wire_of(state);
    for (int option = 0; option < 3; option++) {
        struct wire_talk t = wire_talk(w);
        wire_handshake(w, &t);
        wire_ask(w, &t, wire_request);
        struct wire_segment syn_ack = wire_syn_ack(&t);
        if (option == 0)
            syn_ack.options.window_scale = COOKIE_NO_SCALE;
        if (option == 1)
            syn_ack.options.sack_ok = false;
        if (option == 2)
            syn_ack.options.timestamps = false;
        assert_int_equal(wire_send(w, &syn_ack, FROM_BACKEND), VERDICT_BACKEND_OPTIONS);
        const struct message told = wire_told(w);
        assert_int_equal(told.kind, MESSAGE_BACKEND_OPTIONS);
        assert_int_equal(told.backend, w->family);
        t.client.expects += wire_out(w, OUTSIDE).length + 1U; /* HTTP 503 */
        const struct wire_segment inside = wire_out(w, INSIDE);
        assert_int_equal(inside.flags, TCP_RST);
        assert_int_equal(inside.seq, t.client.isn + 1);
        wire_quiet(w);
        const struct wire_segment fin = wire_segment(&t, FROM_CLIENT, TCP_FIN | TCP_ACK);
        wire_send(w, &fin, FROM_CLIENT);
        wire_out(w, OUTSIDE);
        wire_wait(w, w->limits.linger_ms + 200);
        wire_expect_tables(w, 0, 0);
    }
}

/* Else any client could have a backend without timestamps taken for one that refuses them. */
static void pitfall_30_timestamps_that_were_not_granted_are_not_asked_of_the_backend(void **state)
{
    struct wire *w = wire_of(state);
    struct wire_talk t = wire_talk(w);
    wire_offer(w, t.service, 1460, 7, true, false);
    wire_handshake(w, &t);
    assert_false(t.client.timestamps);
    t.client.timestamps = true; /* all the same */
    const struct wire_segment syn = wire_ask(w, &t, wire_request);
    assert_false(syn.options.timestamps);
    t.client.timestamps = false;
    assert_false(wire_accept(w, &t).options.timestamps);
    assert_int_equal(w->message_count, 0);
}

/* A backend without timestamps has come in the meantime: this connection needs one that has them.
 */
static void pitfall_30_timestamps_that_were_granted_are_not_taken_back(void **state)
{
    struct wire *w = wire_of(state);
    struct wire_talk t = wire_talk(w);
    wire_handshake(w, &t);
    assert_true(t.client.timestamps);
    wire_offer(w, t.service, 1460, 7, true, false);
    assert_true(wire_ask(w, &t, wire_request).options.timestamps);
    assert_true(wire_accept(w, &t).options.timestamps);
}

static void a_syn_ack_with_malformed_options_opens_nothing(void **state)
{
    struct wire *w = wire_of(state);
    struct wire_talk t = wire_talk(w);
    wire_handshake(w, &t);
    wire_ask(w, &t, wire_request);
    struct wire_segment syn_ack = wire_syn_ack(&t);
    syn_ack.options.mss = 0;
    memcpy(syn_ack.extra, "\x02\x03\x05", 3);
    syn_ack.extra_length = 3;
    assert_int_equal(wire_send(w, &syn_ack, FROM_BACKEND), VERDICT_BAD_OPTIONS);
    wire_quiet(w);
    wire_accept(w, &t);
}

/* The backend's new connection was asked something by a straggler of the old one, and its answer
 * overtakes the SYN-ACK. */
static void pitfall_27_an_acknowledgement_of_our_syn_is_no_old_connection(void **state)
{
    struct wire *w = wire_of(state);
    struct wire_talk t = wire_talk(w);
    wire_handshake(w, &t);
    wire_ask(w, &t, wire_request);
    struct wire_segment ack = wire_segment(&t, FROM_BACKEND, TCP_ACK);
    ack.seq = t.server.isn + 1;
    assert_int_equal(wire_send(w, &ack, FROM_BACKEND), VERDICT_STATE);
    wire_quiet(w);
    wire_accept(w, &t);
}

static void pitfall_27_an_ack_to_our_syn_is_reset_and_the_syn_sent_again(void **state)
{
    struct wire *w = wire_of(state);
    for (int kind = 0; kind < 3; kind++) {
        struct wire_talk t = wire_talk(w);
        wire_handshake(w, &t);
        const struct wire_segment syn = wire_ask(w, &t, wire_request);
        struct wire_segment stale = wire_segment(&t, FROM_BACKEND, TCP_ACK);
        stale.ack = 0x5eed0000;
        if (kind == 1)
            stale.flags |= TCP_FIN;
        if (kind == 2)
            stale.flags |= TCP_SYN; /* for a SYN of long ago */
        assert_int_equal(wire_send(w, &stale, FROM_BACKEND), VERDICT_FORWARDED);
        const struct wire_segment reset = wire_out(w, INSIDE), again = wire_out(w, INSIDE);
        assert_int_equal(reset.flags, TCP_RST);
        assert_int_equal(reset.seq, 0x5eed0000);
        assert_int_equal(again.flags, TCP_SYN);
        assert_int_equal(again.seq, syn.seq);
        wire_quiet(w);
        wire_accept(w, &t);
    }
}

/* A backend that heeds no reset would be asked and answer as fast as the wire can. */
static void answers_to_stale_connections_come_from_a_budget(void **state)
{
    struct wire *w = wire_of(state);
    w->limits.per_second[LEASE_INSIDE_RESETS] = 5;
    struct wire_talk t = wire_talk(w);
    wire_handshake(w, &t);
    wire_ask(w, &t, wire_request);
    struct wire_segment stale = wire_segment(&t, FROM_BACKEND, TCP_ACK);
    stale.ack = 0x5eed0000;
    for (int i = 0; i < 20; i++)
        assert_int_equal(wire_send(w, &stale, FROM_BACKEND),
                         i < 5 ? VERDICT_FORWARDED : VERDICT_BUDGET);
    assert_int_equal(wire_pending(w), 10);
    wire_forget_frames(w);
    wire_wait(w, 1100); /* the SYN's own timer goes on */
    assert_int_equal(wire_out(w, INSIDE).flags, TCP_SYN);
}

static void a_syn_without_ack_from_the_backend_is_dropped(void **state)
{
    struct wire *w = wire_of(state);
    struct wire_talk t = wire_talk(w);
    wire_handshake(w, &t);
    wire_ask(w, &t, wire_request);
    const struct wire_segment syn = wire_segment(&t, FROM_BACKEND, TCP_SYN);
    assert_int_equal(wire_send(w, &syn, FROM_BACKEND), VERDICT_STATE);
    wire_quiet(w);
}

static void a_repeated_syn_ack_is_acknowledged_as_the_client_would(void **state)
{
    struct wire *w = wire_of(state);
    struct wire_talk t = wire_talk(w);
    wire_handshake(w, &t);
    wire_ask(w, &t, wire_request);
    const struct wire_segment syn_ack = wire_syn_ack(&t);
    wire_accept(w, &t);
    assert_int_equal(wire_send(w, &syn_ack, FROM_BACKEND), VERDICT_FORWARDED);
    const struct wire_segment ack = wire_out(w, INSIDE);
    assert_int_equal(ack.flags, TCP_ACK);
    assert_int_equal(ack.seq, t.client.isn + 1);
    assert_int_equal(ack.ack, t.server.isn + 1);
    assert_int_equal(ack.length, 0);
    assert_int_equal(ack.options.tsecr, syn_ack.options.tsval);
    wire_quiet(w); /* the client hears nothing of it */
    wire_pass(w, &t, FROM_BACKEND, TCP_ACK, "goes on");
}

/* ---- the client gives up ---- */

static void a_client_that_resets_while_the_backend_is_opened_ends_both(void **state)
{
    struct wire *w = wire_of(state);
    for (int at = 0; at < 2; at++) { /* before or behind what it sent */
        struct wire_talk t = wire_talk(w);
        wire_handshake(w, &t);
        wire_ask(w, &t, wire_request);
        struct wire_segment reset = wire_segment(&t, FROM_CLIENT, TCP_RST);
        reset.seq = at ? t.client.next : t.client.isn + 1;
        assert_int_equal(wire_send(w, &reset, FROM_CLIENT), VERDICT_FLOW_RESET);
        const struct wire_segment inside = wire_out(w, INSIDE);
        assert_int_equal(inside.flags, TCP_RST);
        assert_int_equal(inside.seq, t.client.isn + 1);
        wire_quiet(w);
        wire_expect_tables(w, 0, 0);
    }
}

static void pitfall_29_a_reset_with_another_number_does_not(void **state)
{
    struct wire *w = wire_of(state);
    struct wire_talk t = wire_talk(w);
    wire_handshake(w, &t);
    wire_ask(w, &t, wire_request);
    struct wire_segment reset = wire_segment(&t, FROM_CLIENT, TCP_RST);
    reset.seq = t.client.next + 1;
    assert_int_equal(wire_send(w, &reset, FROM_CLIENT), VERDICT_STATE);
    wire_quiet(w);
    wire_accept(w, &t);
}

static void a_syn_while_the_backend_is_opened_changes_nothing(void **state)
{
    struct wire *w = wire_of(state);
    struct wire_talk t = wire_talk(w);
    wire_handshake(w, &t);
    wire_ask(w, &t, wire_request);
    const struct wire_segment s = wire_segment(&t, FROM_CLIENT, TCP_SYN);
    assert_int_equal(wire_send(w, &s, FROM_CLIENT), VERDICT_SYN_COOKIE);
    wire_out(w, OUTSIDE);
    wire_quiet(w);
    wire_accept(w, &t);
    wire_pass(w, &t, FROM_CLIENT, TCP_ACK, "");
}

/* ---- what is not opened ---- */

static void a_malformed_head_is_reset_at_once_and_exactly(void **state)
{
    struct wire *w = wire_of(state);
    static const char *const heads[] = {
        "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "\x16\x03\x01\x02", "GET / HTTP/1.1\nHost: a\n\n",
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n"};
    for (size_t i = 0; i < sizeof heads / sizeof heads[0]; i++) {
        struct wire_talk t = wire_talk(w);
        wire_handshake(w, &t);
        const struct wire_segment data = wire_data(&t, FROM_CLIENT, TCP_ACK, heads[i]);
        assert_int_equal(wire_send(w, &data, FROM_CLIENT), VERDICT_HEAD_MALFORMED);
        const struct wire_segment reset = wire_out(w, OUTSIDE);
        assert_int_equal(reset.flags, TCP_RST);
        assert_int_equal(reset.seq, t.client.expects);
        wire_quiet(w);
    }
    wire_expect_tables(w, 0, 0);
}

static void a_body_of_any_size_may_follow_the_head(void **state)
{
    struct wire *w = wire_of(state);
    struct wire_talk t = wire_talk(w);
    wire_handshake(w, &t);
    wire_ask(w, &t, "PUT /f HTTP/1.1\r\nHost: a\r\nContent-Length: 99999999999\r\n\r\nfirst");
    assert_int_equal(wire_accept(w, &t).length, strlen("PUT /f HTTP/1.1\r\nHost: a\r\n"
                                                       "Content-Length: 99999999999\r\n\r\nfirst"));
    wire_pass(w, &t, FROM_CLIENT, TCP_ACK, "second");
}

static void a_first_segment_that_no_window_allows_is_reset(void **state)
{
    struct wire *w = wire_of(state);
    char request[HELD_SMALL_BYTES + 200];
    w->limits.window = HELD_SMALL_BYTES + 100; /* held in a large entry, as far as allowed */
    for (int over = 0; over < 2; over++) {
        struct wire_talk t = wire_talk(w);
        const int digits =
            w->limits.window + over - (int)strlen("GET / HTTP/1.1\r\nHost: a\r\nX: \r\n\r\n");
        snprintf(request, sizeof request, "GET / HTTP/1.1\r\nHost: a\r\nX: %0*d\r\n\r\n", digits,
                 7);
        wire_handshake(w, &t);
        const struct wire_segment data = wire_data(&t, FROM_CLIENT, TCP_ACK, request);
        assert_int_equal(data.length, w->limits.window + over);
        assert_int_equal(wire_send(w, &data, FROM_CLIENT),
                         over ? VERDICT_HELD_TOO_LARGE : VERDICT_OPENED);
        if (over)
            assert_int_equal(wire_out(w, OUTSIDE).flags, TCP_RST);
        else
            assert_int_equal(wire_out(w, INSIDE).flags, TCP_SYN);
        wire_quiet(w);
    }
    wire_expect_tables(w, 1, 1);
    assert_int_equal(held_count_of(w->shard->held, HELD_LARGE), 1);
}

static void malformed_options_of_the_first_data_open_nothing(void **state)
{
    struct wire *w = wire_of(state);
    struct wire_talk t = wire_talk(w);
    wire_handshake(w, &t);
    struct wire_segment data = wire_data(&t, FROM_CLIENT, TCP_ACK, wire_request);
    data.options.timestamps = false;
    memcpy(data.extra, "\x08\x09\1\2\3\4\5\6\7", 9);
    data.extra_length = 9;
    assert_int_equal(wire_send(w, &data, FROM_CLIENT), VERDICT_BAD_OPTIONS);
    wire_quiet(w);
    wire_expect_tables(w, 0, 0);
}

/* A client port may speak to one backend through one service at a time. */
static void a_tuple_that_another_service_has_at_the_backend_is_not_opened_twice(void **state)
{
    struct wire *w = wire_of(state);
    struct wire_talk first = wire_talk(w), second = first;
    wire_open(w, &first);
    wire_talk_to(w, &second, (uint16_t)(first.service + 2));
    wire_handshake(w, &second);
    const struct wire_segment data = wire_data(&second, FROM_CLIENT, TCP_ACK, wire_request);
    assert_int_equal(wire_send(w, &data, FROM_CLIENT), VERDICT_TUPLE_CONFLICT);
    wire_quiet(w);
    wire_pass(w, &first, FROM_CLIENT, TCP_ACK, "still here");
    wire_close(w, &first, FROM_CLIENT);
    wire_ask(w, &second, wire_request); /* a closed one makes room at once */
    wire_expect_tables(w, 1, 1);
}

/* The opening that turns to its backend at the very tick at which it would have gone. */
static void a_closed_flow_that_makes_room_as_its_time_is_over_goes_once(void **state)
{
    struct wire *w = wire_of(state);
    struct wire_talk first = wire_talk(w), second = first;
    wire_backends(w, 2);
    wire_handshake(w, &first);
    const struct wire_segment asked = wire_ask(w, &first, wire_request);
    wire_serve(w, &first, wire_backend_at(w, &asked.destination));
    wire_accept(w, &first);
    wire_talk_to(w, &second, (uint16_t)(first.service + 2));
    wire_handshake(w, &second);
    wire_ask(w, &second, wire_request); /* the other backend, which is silent */
    wire_close(w, &first, FROM_CLIENT);
    wire_step(w, 3200);
    assert_int_equal(wire_out(w, INSIDE).flags, TCP_RST);
    const struct wire_segment syn = wire_out(w, INSIDE);
    assert_int_equal(syn.flags, TCP_SYN);
    assert_true(addr_equal(&syn.destination, &first.server.at.addr));
    wire_quiet(w);
    assert_int_equal(w->shard->verdicts[VERDICT_FLOW_CLOSED], 1);
    wire_expect_tables(w, 1, 1);
}

static void a_client_that_stays_with_a_taken_tuple_is_told_a_second_later(void **state)
{
    struct wire *w = wire_of(state);
    struct wire_talk first = wire_talk(w), second = first;
    wire_open(w, &first);
    wire_talk_to(w, &second, (uint16_t)(first.service + 2));
    wire_handshake(w, &second);
    const struct wire_segment data = wire_data(&second, FROM_CLIENT, TCP_ACK, wire_request);
    for (int i = 0; i < 4; i++) {
        assert_int_equal(wire_send(w, &data, FROM_CLIENT), VERDICT_TUPLE_CONFLICT);
        wire_wait(w, 245);
    }
    wire_quiet(w);
    wire_wait(w, 20);
    assert_int_equal(wire_send(w, &data, FROM_CLIENT), VERDICT_TUPLE_RESET);
    const struct wire_segment reset = wire_out(w, OUTSIDE);
    assert_int_equal(reset.flags, TCP_RST);
    assert_int_equal(reset.seq, data.ack);
    assert_int_equal(reset.source_port, second.listen.port);
    wire_quiet(w);
    wire_pass(w, &first, FROM_CLIENT, TCP_ACK, "still here");
}

static void what_was_told_of_a_taken_tuple_is_opened_by_no_late_copy(void **state)
{
    struct wire *w = wire_of(state);
    struct wire_talk first = wire_talk(w), second = first;
    wire_open(w, &first);
    wire_talk_to(w, &second, (uint16_t)(first.service + 2));
    wire_handshake(w, &second);
    const struct wire_segment data = wire_data(&second, FROM_CLIENT, TCP_ACK, wire_request);
    assert_int_equal(wire_send(w, &data, FROM_CLIENT), VERDICT_TUPLE_CONFLICT);
    wire_wait(w, 1000);
    assert_int_equal(wire_send(w, &data, FROM_CLIENT), VERDICT_TUPLE_RESET);
    wire_out(w, OUTSIDE);
    wire_close(w, &first, FROM_CLIENT);
    wire_wait(w, 10000); /* the tuple is free */
    assert_int_equal(wire_send(w, &data, FROM_CLIENT), VERDICT_TOMBSTONE_DROP);
    wire_quiet(w);
    wire_expect_tables(w, 0, 0);
}

/* ---- full tables ---- */

static void pitfall_10_a_full_flow_table_opens_nothing_and_loses_nothing(void **state)
{
    const struct shard_sizes sizes = {.flows = 2, .tombstones = 16, .held = 8};
    struct wire *w = wire_new(wire_of(state)->family, &sizes);
    struct wire_talk t[3];
    for (int i = 0; i < 3; i++) {
        t[i] = wire_talk(w);
        wire_handshake(w, &t[i]);
    }
    wire_ask(w, &t[0], wire_request);
    wire_ask(w, &t[1], wire_request);
    const struct wire_segment data = wire_data(&t[2], FROM_CLIENT, TCP_ACK, wire_request);
    for (int i = 0; i < 10; i++)
        assert_int_equal(wire_send(w, &data, FROM_CLIENT), VERDICT_FLOW_TABLE_FULL);
    wire_quiet(w);
    wire_expect_tables(w, 2, 2);
    wire_accept(w, &t[0]);
    wire_pass(w, &t[0], FROM_CLIENT, TCP_RST, "");
    wire_ask(w, &t[2], wire_request); /* its client tried again */
    wire_expect_tables(w, 2, 2);
    wire_free(w);
}

/* A closed flow only waits for what is sent again: a new client is worth more. */
static void of_a_full_table_the_flow_that_closed_first_makes_room(void **state)
{
    const struct shard_sizes sizes = {.flows = 3, .tombstones = 16, .held = 8};
    struct wire *w = wire_new(wire_of(state)->family, &sizes);
    struct wire_talk t[3], more[4];
    for (int i = 0; i < 3; i++) {
        t[i] = wire_talk(w);
        wire_open(w, &t[i]);
    }
    wire_close(w, &t[1], FROM_CLIENT);
    wire_wait(w, 100);
    wire_close(w, &t[0], FROM_BACKEND);
    for (int i = 0; i < 4; i++) {
        more[i] = wire_talk(w);
        wire_handshake(w, &more[i]);
    }
    wire_ask(w, &more[0], wire_request);
    const struct wire_segment late = wire_segment(&t[1], FROM_CLIENT, TCP_ACK);
    assert_int_equal(wire_send(w, &late, FROM_CLIENT), VERDICT_ACK_NO_FLOW); /* it has gone */
    wire_pass(w, &t[0], FROM_CLIENT, TCP_ACK, "");                           /* this one has not */
    wire_ask(w, &more[1], wire_request);
    assert_int_equal(w->shard->verdicts[VERDICT_FLOW_CLOSED], 2);
    const struct wire_segment data = wire_data(&more[2], FROM_CLIENT, TCP_ACK, wire_request);
    assert_int_equal(wire_send(w, &data, FROM_CLIENT), VERDICT_FLOW_TABLE_FULL); /* t[2] is open */
    wire_accept(w, &more[0]);
    wire_accept(w, &more[1]);
    wire_pass(w, &t[2], FROM_BACKEND, TCP_ACK, "still here");
    wire_expect_tables(w, 3, 0);
    wire_free(w);
}

/* Many more closes than flows: what is kept about them neither grows nor goes astray. */
static void flows_close_and_make_room_for_ever(void **state)
{
    const struct shard_sizes sizes = {.flows = 3, .tombstones = 16, .held = 8};
    struct wire *w = wire_new(wire_of(state)->family, &sizes);
    for (int i = 0; i < 200; i++) {
        struct wire_talk t = wire_talk(w);
        wire_open(w, &t);
        if (i % 3 == 0)
            wire_pass(w, &t, FROM_CLIENT, TCP_RST, "");
        else
            wire_close(w, &t, i % 2 ? FROM_CLIENT : FROM_BACKEND);
        if (i % 7 == 0)
            wire_wait(w, 3100);
    }
    wire_wait(w, 3100);
    wire_expect_tables(w, 0, 0);
    wire_free(w);
}

static void pitfall_10_a_full_slab_of_held_requests_opens_nothing_and_loses_nothing(void **state)
{
    const struct shard_sizes sizes = {.flows = 8, .tombstones = 16, .held = 2};
    struct wire *w = wire_new(wire_of(state)->family, &sizes);
    struct wire_talk t[3];
    for (int i = 0; i < 3; i++) {
        t[i] = wire_talk(w);
        wire_handshake(w, &t[i]);
    }
    wire_ask(w, &t[0], wire_request);
    wire_ask(w, &t[1], wire_request);
    const struct wire_segment data = wire_data(&t[2], FROM_CLIENT, TCP_ACK, wire_request);
    for (int i = 0; i < 10; i++)
        assert_int_equal(wire_send(w, &data, FROM_CLIENT), VERDICT_HELD_FULL);
    wire_quiet(w);
    wire_expect_tables(w, 2, 2);
    wire_accept(w, &t[0]);
    wire_ask(w, &t[2], wire_request);
    wire_expect_tables(w, 3, 2);
    wire_free(w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        WIRE_TEST(the_backend_gets_the_clients_own_isn_and_what_it_was_granted),
        WIRE_TEST(the_syns_window_is_clamped_to_what_fits),
        WIRE_TEST(the_mss_towards_the_backend_is_the_clients_class),
        WIRE_TEST(data_may_come_with_the_handshakes_last_ack),
        WIRE_TEST(the_held_request_goes_out_when_the_backend_answers),
        WIRE_TEST(a_backend_measures_no_round_trip_by_its_handshake),
        WIRE_TEST(pitfall_26_a_request_in_one_segment_is_acknowledged_by_the_backend_alone),
        WIRE_TEST(a_request_sent_again_while_the_backend_is_opened_is_not_doubled),
        WIRE_TEST(pitfall_25_the_request_is_copied_out_of_the_receive_buffer),
        WIRE_TEST(a_fin_with_the_first_data_reaches_the_backend_with_it),
        WIRE_TEST(a_flow_that_opens_half_closed_is_given_the_time_of_half_closed_ones),
        WIRE_TEST(the_urgent_pointer_of_the_first_data_is_dropped_and_its_byte_kept),
        WIRE_TEST(a_held_request_is_cut_at_the_backends_mss),
        WIRE_TEST(a_backend_without_an_mss_gets_pieces_of_536),
        WIRE_TEST(an_absurd_mss_does_not_make_a_packet_of_every_byte),
        WIRE_TEST(pitfall_13_the_syn_is_built_again_from_the_flow_each_time),
        WIRE_TEST(a_silent_backend_is_reset_exactly_and_its_client_told),
        WIRE_TEST(one_try_means_one_syn),
        WIRE_TEST(a_client_of_http_is_told_when_nobody_will_have_its_request),
        WIRE_TEST(it_is_told_in_the_way_that_it_wants),
        WIRE_TEST(a_client_of_another_protocol_is_reset),
        WIRE_TEST(a_reset_that_does_not_answer_our_syn_is_ignored),
        WIRE_TEST(pitfall_30_a_backend_that_refuses_a_granted_option_is_reported),
        WIRE_TEST(pitfall_30_timestamps_that_were_not_granted_are_not_asked_of_the_backend),
        WIRE_TEST(pitfall_30_timestamps_that_were_granted_are_not_taken_back),
        WIRE_TEST(a_syn_ack_with_malformed_options_opens_nothing),
        WIRE_TEST(pitfall_27_an_acknowledgement_of_our_syn_is_no_old_connection),
        WIRE_TEST(pitfall_27_an_ack_to_our_syn_is_reset_and_the_syn_sent_again),
        WIRE_TEST(answers_to_stale_connections_come_from_a_budget),
        WIRE_TEST(a_syn_without_ack_from_the_backend_is_dropped),
        WIRE_TEST(a_repeated_syn_ack_is_acknowledged_as_the_client_would),
        WIRE_TEST(a_client_that_resets_while_the_backend_is_opened_ends_both),
        WIRE_TEST(pitfall_29_a_reset_with_another_number_does_not),
        WIRE_TEST(a_syn_while_the_backend_is_opened_changes_nothing),
        WIRE_TEST(a_malformed_head_is_reset_at_once_and_exactly),
        WIRE_TEST(a_body_of_any_size_may_follow_the_head),
        WIRE_TEST(a_first_segment_that_no_window_allows_is_reset),
        WIRE_TEST(malformed_options_of_the_first_data_open_nothing),
        WIRE_TEST(a_tuple_that_another_service_has_at_the_backend_is_not_opened_twice),
        WIRE_TEST(a_closed_flow_that_makes_room_as_its_time_is_over_goes_once),
        WIRE_TEST(a_client_that_stays_with_a_taken_tuple_is_told_a_second_later),
        WIRE_TEST(what_was_told_of_a_taken_tuple_is_opened_by_no_late_copy),
        WIRE_TEST(pitfall_10_a_full_flow_table_opens_nothing_and_loses_nothing),
        WIRE_TEST(of_a_full_table_the_flow_that_closed_first_makes_room),
        WIRE_TEST(flows_close_and_make_room_for_ever),
        WIRE_TEST(pitfall_10_a_full_slab_of_held_requests_opens_nothing_and_loses_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
