/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026, the Dropgate authors
 *
 * A request head that comes in pieces: what is kept, what the client is told, what ends it; and how
 * the bytes that the gateway has acknowledged get to the backend (tcp-pitfalls 3, 4, 23, 25 to 27).
 */
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

enum { WINDOW = 8192 };

static uint32_t first_of(const struct wire_talk *t)
{
    return t->client.isn + 1;
}

/* `length` bytes of `text` from `at` on, as the client would send them now. */
static struct wire_segment piece(const struct wire_talk *t, const char *text, uint32_t at,
                                 uint32_t length)
{
    struct wire_segment s = wire_segment(t, FROM_CLIENT, TCP_ACK);
    s.seq = first_of(t) + at;
    s.payload = text + at;
    s.length = (uint16_t)length;
    return s;
}

static enum verdict send_piece(struct wire *w, const struct wire_talk *t, const char *text,
                               uint32_t at, uint32_t length)
{
    const struct wire_segment s = piece(t, text, at, length);
    return wire_send(w, &s, FROM_CLIENT);
}

/* The gateway's own ACK: up to `end` bytes, with a window that still ends where the SYN-ACK's did.
 */
static struct wire_segment expect_ack(struct wire *w, const struct wire_talk *t, uint32_t end)
{
    const struct wire_segment ack = wire_out(w, OUTSIDE);
    assert_int_equal(ack.flags, TCP_ACK);
    assert_int_equal(ack.length, 0);
    assert_int_equal(ack.seq, t->cookie + 1);
    assert_int_equal(ack.ack, first_of(t) + end);
    assert_in_range((uint32_t)(ack.window << 7), WINDOW - end, WINDOW - end + 127);
    assert_true(ack.options.timestamps);
    assert_int_equal(ack.options.tsval, t->client.echo);
    assert_memory_equal(&ack.to, &t->client.mac, 6);
    assert_true(addr_equal(&ack.source, &t->listen.addr));
    assert_int_equal(ack.source_port, t->listen.port);
    return ack;
}

/* The first `length` bytes of a plain request have come and were acknowledged. */
static struct wire_talk begun(struct wire *w, uint32_t length)
{
    struct wire_talk t = wire_talk(w);
    wire_handshake(w, &t);
    assert_int_equal(send_piece(w, &t, wire_request, 0, length), VERDICT_READING);
    expect_ack(w, &t, length);
    wire_quiet(w);
    return t;
}

static void expect_syn(struct wire *w, struct wire_talk *t)
{
    const struct wire_segment syn = wire_out(w, INSIDE);
    assert_int_equal(syn.flags, TCP_SYN);
    assert_int_equal(syn.seq, t->client.isn);
    t->client.next = first_of(t) + (uint32_t)strlen(wire_request);
    t->server.expects = syn.seq + 1;
    t->server.echo = syn.options.tsval;
    wire_quiet(w);
}

/* A request in two pieces, the first of them owned; its backend is being asked. */
static struct wire_talk asked(struct wire *w, uint32_t owned)
{
    struct wire_talk t = begun(w, owned);
    assert_int_equal(send_piece(w, &t, wire_request, owned, (uint32_t)strlen(wire_request) - owned),
                     VERDICT_OPENED);
    expect_syn(w, &t);
    return t;
}

/* The backend acknowledges up to `bytes` of the request. */
static struct wire_segment backend_ack(const struct wire_talk *t, uint32_t bytes)
{
    struct wire_segment ack = wire_segment(t, FROM_BACKEND, TCP_ACK);
    ack.seq = t->server.isn + 1;
    ack.ack = first_of(t) + bytes;
    return ack;
}

/* ---- reading ---- */

static void a_head_in_pieces_is_acknowledged_and_asks_no_backend_before_it_is_whole(void **state)
{
    struct wire *w = wire_of(state);
    struct wire_talk t = wire_talk(w);
    const uint32_t all = (uint32_t)strlen(wire_request);
    wire_handshake(w, &t);
    for (uint32_t at = 0; at + 1 < all; at++) {
        assert_int_equal(send_piece(w, &t, wire_request, at, 1), VERDICT_READING);
        expect_ack(w, &t, at + 1);
        wire_quiet(w);
        wire_expect_tables(w, 1, 1);
    }
    assert_int_equal(send_piece(w, &t, wire_request, all - 1, 1), VERDICT_OPENED);
    expect_syn(w, &t);
    const struct wire_segment held = wire_accept(w, &t);
    assert_int_equal(held.length, all);
    assert_memory_equal(held.payload, wire_request, all);
    wire_pass(w, &t, FROM_BACKEND, TCP_ACK, "");
    wire_expect_tables(w, 1, 0);
    wire_close(w, &t, FROM_BACKEND);
    wire_wait(w, 3100);
    wire_expect_tables(w, 0, 0);
}

static void pitfall_23_pieces_out_of_order_are_put_in_order(void **state)
{
    struct wire *w = wire_of(state);
    struct wire_talk t = begun(w, 5);
    const uint32_t all = (uint32_t)strlen(wire_request);
    static const uint32_t at[] = {40, 10, 20, 15, 30, 5}; /* each of 5, but the first and last */
    for (size_t i = 0; i < sizeof at / sizeof at[0]; i++) {
        const uint32_t length = at[i] == 40 ? all - 40 : 5;
        assert_int_equal(send_piece(w, &t, wire_request, at[i], length), VERDICT_READING);
        expect_ack(w, &t, i < 5 ? 5 : 25); /* a repeated acknowledgement asks for what is missing */
    }
    assert_int_equal(send_piece(w, &t, wire_request, 25, 15), VERDICT_OPENED);
    expect_syn(w, &t);
    assert_memory_equal(wire_accept(w, &t).payload, wire_request, all);
}

static void pitfall_23_a_second_segment_that_comes_first_is_silently_dropped(void **state)
{
    struct wire *w = wire_of(state);
    struct wire_talk t = wire_talk(w);
    wire_handshake(w, &t);
    assert_int_equal(send_piece(w, &t, wire_request, 20, 10), VERDICT_MISS_SILENT);
    wire_quiet(w);
    assert_int_equal(send_piece(w, &t, wire_request, 0, 20), VERDICT_READING);
    expect_ack(w, &t, 20);
    assert_int_equal(send_piece(w, &t, wire_request, 20, (uint32_t)strlen(wire_request) - 20),
                     VERDICT_OPENED);
}

static void the_first_copy_of_a_byte_is_the_one_that_counts(void **state)
{
    struct wire *w = wire_of(state);
    struct wire_talk t = begun(w, 10);
    char other[64];
    memcpy(other, wire_request, strlen(wire_request));
    memset(other, 'X', 10);
    const uint32_t all = (uint32_t)strlen(wire_request);
    assert_int_equal(send_piece(w, &t, other, 0, 8), VERDICT_READING);
    expect_ack(w, &t, 10);
    assert_int_equal(send_piece(w, &t, other, 0, all), VERDICT_OPENED);
    expect_syn(w, &t);
    assert_memory_equal(wire_accept(w, &t).payload, wire_request, all);
}

static void pitfall_03_a_head_larger_than_a_small_entry_moves_to_a_large_one(void **state)
{
    struct wire *w = wire_of(state);
    struct wire_talk t = wire_talk(w);
    char request[5000];
    snprintf(request, sizeof request, "GET / HTTP/1.1\r\nHost: a\r\nX: %0*d\r\n\r\n", 4000, 7);
    const uint32_t all = (uint32_t)strlen(request);
    wire_handshake(w, &t);
    for (uint32_t at = 0; at < all; at += 1400) {
        const uint32_t length = all - at < 1400 ? all - at : 1400;
        const bool last = at + length == all;
        assert_int_equal(send_piece(w, &t, request, at, length),
                         last ? VERDICT_OPENED : VERDICT_READING);
        if (!last)
            expect_ack(w, &t, at + length);
        assert_int_equal(held_count_of(w->shard->held, HELD_LARGE), at + length > HELD_SMALL_BYTES);
    }
    expect_syn(w, &t);
    const struct wire_segment syn_ack = wire_syn_ack(&t);
    assert_int_equal(wire_send(w, &syn_ack, FROM_BACKEND), VERDICT_BACKEND_ANSWERED);
    wire_syn_again(w, &t);
    uint32_t at = 0;
    while (wire_pending(w)) {
        const struct wire_segment s = wire_out(w, INSIDE);
        assert_int_equal(s.seq, first_of(&t) + at);
        assert_memory_equal(s.payload, request + at, s.length);
        at += s.length;
    }
    assert_int_equal(at, all);
    const struct wire_segment ack = backend_ack(&t, all);
    assert_int_equal(wire_send(w, &ack, FROM_BACKEND), VERDICT_FORWARDED);
    wire_expect_tables(w, 1, 0);
}

static void a_head_that_no_window_holds_is_reset(void **state)
{
    struct wire *w = wire_of(state);
    char request[3000];
    memset(request, 'a', sizeof request);
    memcpy(request, "GET /", 5);
    w->limits.window = 2000;
    struct wire_talk t = wire_talk(w);
    wire_handshake(w, &t);
    assert_int_equal(send_piece(w, &t, request, 0, 1400), VERDICT_READING);
    wire_out(w, OUTSIDE);
    assert_int_equal(send_piece(w, &t, request, 1400, 602 + 127), VERDICT_OUT_OF_WINDOW);
    assert_int_equal(send_piece(w, &t, request, 1400, 600), VERDICT_HELD_TOO_LARGE);
    const struct wire_segment reset = wire_out(w, OUTSIDE);
    assert_int_equal(reset.flags, TCP_RST | TCP_ACK);
    assert_int_equal(reset.seq, t.cookie + 1);
    wire_quiet(w);
    wire_expect_tables(w, 0, 0);
}

static void a_head_that_turns_out_malformed_is_reset(void **state)
{
    struct wire *w = wire_of(state);
    struct wire_talk t = begun(w, 10);
    assert_int_equal(send_piece(w, &t, "GET /v1/it\1\2\3", 10, 3), VERDICT_HEAD_MALFORMED);
    const struct wire_segment reset = wire_out(w, OUTSIDE);
    assert_int_equal(reset.flags, TCP_RST | TCP_ACK);
    assert_int_equal(reset.seq, t.cookie + 1);
    wire_quiet(w); /* and no backend has heard of it */
    wire_expect_tables(w, 0, 0);
    assert_int_equal(send_piece(w, &t, wire_request, 0, 10), VERDICT_TOMBSTONE_DROP);
}

static void a_head_has_a_time_to_be_complete_and_bytes_do_not_extend_it(void **state)
{
    struct wire *w = wire_of(state);
    struct wire_talk t = begun(w, 1);
    for (uint32_t at = 1; at < 10; at++) {
        wire_wait(w, 1000);
        assert_int_equal(send_piece(w, &t, wire_request, at, 1), VERDICT_READING);
        expect_ack(w, &t, at + 1);
    }
    wire_wait(w, 980);
    wire_expect_tables(w, 1, 1);
    wire_quiet(w);
    wire_wait(w, 50);
    const struct wire_segment reset = wire_out(w, OUTSIDE);
    assert_int_equal(reset.flags, TCP_RST | TCP_ACK);
    assert_int_equal(reset.seq, t.cookie + 1);
    assert_int_equal(reset.ack, first_of(&t) + 10);
    wire_quiet(w);
    wire_expect_tables(w, 0, 0);
    assert_int_equal(w->shard->verdicts[VERDICT_HEAD_TIMEOUT], 1);
}

static void a_client_that_closes_before_its_head_is_whole_is_closed_in_answer(void **state)
{
    struct wire *w = wire_of(state);
    for (int with = 0; with < 3; with++) { /* FIN alone, with the last piece, with the only one */
        struct wire_talk t = wire_talk(w);
        wire_handshake(w, &t);
        if (with < 2) {
            assert_int_equal(send_piece(w, &t, wire_request, 0, 10), VERDICT_READING);
            expect_ack(w, &t, 10);
        }
        struct wire_segment fin = piece(&t, wire_request, with == 2 ? 0 : 10, with ? 5 : 0);
        fin.flags |= TCP_FIN;
        assert_int_equal(wire_send(w, &fin, FROM_CLIENT), VERDICT_HEAD_INCOMPLETE);
        const struct wire_segment answer = wire_out(w, OUTSIDE);
        assert_int_equal(answer.flags, TCP_FIN | TCP_ACK);
        assert_int_equal(answer.seq, t.cookie + 1);
        assert_int_equal(answer.ack, fin.seq + fin.length + 1);
        assert_int_equal(answer.options.tsval, t.client.echo);
        if (with < 2) /* again, should both answers be lost: no replay */
            assert_int_equal(send_piece(w, &t, wire_request, 0, 10), VERDICT_TOMBSTONE_DROP);
        assert_int_equal(w->shard->verdicts[VERDICT_STRIKE], 0);
        wire_quiet(w);
        wire_expect_tables(w, 0, 0);
    }
}

static void a_fin_that_overtakes_waits_for_what_is_before_it(void **state)
{
    struct wire *w = wire_of(state);
    const uint32_t all = (uint32_t)strlen(wire_request);
    struct wire_talk t = begun(w, 10);
    struct wire_segment fin = piece(&t, wire_request, all, 0);
    fin.flags |= TCP_FIN;
    assert_int_equal(wire_send(w, &fin, FROM_CLIENT), VERDICT_READING);
    expect_ack(w, &t, 10);
    assert_int_equal(send_piece(w, &t, wire_request, 10, all - 10), VERDICT_OPENED);
    expect_syn(w, &t);
    const struct wire_segment held = wire_accept(w, &t);
    assert_int_equal(held.length, all);
    assert_int_equal(held.flags, TCP_ACK | TCP_PSH | TCP_FIN);
}

static void a_client_that_resets_while_it_is_read_leaves_nothing(void **state)
{
    struct wire *w = wire_of(state);
    for (int exact = 0; exact < 2; exact++) {
        struct wire_talk t = begun(w, 10);
        struct wire_segment reset = wire_segment(&t, FROM_CLIENT, TCP_RST);
        reset.seq = first_of(&t) + 10 + !exact;
        assert_int_equal(wire_send(w, &reset, FROM_CLIENT),
                         exact ? VERDICT_FLOW_RESET : VERDICT_STATE);
        wire_quiet(w);
    }
    wire_expect_tables(w, 1, 1);
}

static void pitfall_27_cookie_valid_data_replaces_a_head_that_is_being_read(void **state)
{
    struct wire *w = wire_of(state);
    struct wire_talk t = begun(w, 10), again = t;
    again.client.isn += 500000;
    again.client.next = again.client.isn;
    again.client.window = 64240;
    wire_handshake(w, &again);
    wire_ask(w, &again, wire_request);
    wire_expect_tables(w, 1, 1);
    assert_int_equal(w->shard->verdicts[VERDICT_FLOW_REPLACED], 1);
    wire_accept(w, &again);
}

static void segments_that_cannot_be_the_clients_change_nothing(void **state)
{
    struct wire *w = wire_of(state);
    struct wire_talk t = begun(w, 10);
    struct wire_segment s = piece(&t, wire_request, 10, 5);
    s.ack++;
    assert_int_equal(wire_send(w, &s, FROM_CLIENT), VERDICT_ACK_UNSENT);
    s = piece(&t, wire_request, 10, 5);
    s.options.tsval -= 1000;
    assert_int_equal(wire_send(w, &s, FROM_CLIENT), VERDICT_PAWS);
    s = piece(&t, wire_request, 10, 5);
    s.seq = t.client.isn - 20;
    assert_int_equal(wire_send(w, &s, FROM_CLIENT), VERDICT_OUT_OF_WINDOW);
    s = piece(&t, wire_request, 10, 0); /* a bare ACK says nothing new */
    assert_int_equal(wire_send(w, &s, FROM_CLIENT), VERDICT_OPENING_BUSY);
    s = wire_segment(&t, FROM_BACKEND, TCP_ACK); /* no backend can know of it */
    assert_int_equal(wire_send(w, &s, FROM_BACKEND), VERDICT_STATE);
    wire_quiet(w);
    assert_int_equal(send_piece(w, &t, wire_request, 10, 5), VERDICT_READING);
    expect_ack(w, &t, 15);
}

/* ---- places ---- */

static void pitfall_25_a_full_slab_lets_the_oldest_unfinished_head_go(void **state)
{
    const struct shard_sizes sizes = {
        .flows = 16, .tombstones = 16, .held = 4, .held_bytes = WINDOW};
    struct wire *w = wire_new(wire_of(state)->family, &sizes);
    struct wire_talk half[5], whole = wire_talk(w);
    wire_handshake(w, &whole);
    wire_ask(w, &whole, wire_request);
    for (int i = 0; i < 3; i++)
        half[i] = begun(w, 10);
    for (int i = 3; i < 5; i++) {
        half[i] = wire_talk(w);
        wire_handshake(w, &half[i]);
        assert_int_equal(send_piece(w, &half[i], wire_request, 0, 10), VERDICT_READING);
        const struct wire_segment reset = wire_out(w, OUTSIDE);
        assert_int_equal(reset.flags, TCP_RST | TCP_ACK);
        assert_int_equal(reset.destination_port, half[i - 3].client.at.port);
        assert_int_equal(reset.seq, half[i - 3].cookie + 1);
        expect_ack(w, &half[i], 10);
        wire_quiet(w);
        wire_expect_tables(w, 4, 4);
    }
    assert_int_equal(w->shard->verdicts[VERDICT_HELD_EVICTED], 2);
    wire_accept(w, &whole); /* the finished one was never in danger */
    wire_free(w);
}

static void pitfall_25_a_client_has_a_limit_of_its_own(void **state)
{
    const struct shard_sizes sizes = {.flows = 16,
                                      .tombstones = 16,
                                      .held = 8,
                                      .held_per_client = 2,

                                      .held_bytes = WINDOW};
    struct wire *w = wire_new(wire_of(state)->family, &sizes);
    begun(w, 10);
    begun(w, 10);
    struct wire_talk third = wire_talk(w), fourth = wire_talk(w), fifth = wire_talk(w);
    wire_handshake(w, &third);
    wire_handshake(w, &fourth);
    wire_handshake(w, &fifth);
    wire_forget_frames(w);
    for (int i = 0; i < 2; i++) {
        const struct wire_segment whole =
            wire_data(i ? &fourth : &third, FROM_CLIENT, TCP_ACK, wire_request);
        assert_int_equal(wire_send(w, &whole, FROM_CLIENT), VERDICT_OPENED);
        wire_out(w, OUTSIDE); /* the reset of an unfinished one */
        wire_out(w, INSIDE);
        wire_expect_tables(w, 2, 2);
    }
    const struct wire_segment s = wire_data(&fifth, FROM_CLIENT, TCP_ACK, wire_request);
    assert_int_equal(wire_send(w, &s, FROM_CLIENT), VERDICT_HELD_PER_CLIENT);
    wire_quiet(w);
    wire_expect_tables(w, 2, 2);
    wire_free(w);
}

/* ---- while the backend is opened ---- */

static void data_behind_the_head_is_held_and_goes_with_it(void **state)
{
    struct wire *w = wire_of(state);
    struct wire_talk t = wire_talk(w);
    const uint32_t head = (uint32_t)strlen(wire_upload);
    char all[256];
    snprintf(all, sizeof all, "%sone two three", wire_upload);
    wire_handshake(w, &t);
    wire_ask(w, &t, wire_upload);
    assert_int_equal(send_piece(w, &t, all, head + 4, 9), VERDICT_HELD);
    for (int i = 0; i < 2; i++)
        assert_int_equal(send_piece(w, &t, all, head, 4), i ? VERDICT_OPENING_BUSY : VERDICT_HELD);
    assert_int_equal(send_piece(w, &t, all, 0, head), VERDICT_OPENING_BUSY);
    wire_quiet(w); /* none of it is acknowledged: the head was whole */
    const struct wire_segment held = wire_accept(w, &t);
    assert_int_equal(held.length, head + 13);
    assert_memory_equal(held.payload, all, head + 13);
    wire_quiet(w);
    wire_expect_tables(w, 1, 0);
}

static void a_request_behind_the_first_that_is_malformed_resets_both_sides(void **state)
{
    struct wire *w = wire_of(state);
    struct wire_talk t = wire_talk(w);
    wire_handshake(w, &t);
    wire_ask(w, &t, wire_request);
    const struct wire_segment bad = wire_data(&t, FROM_CLIENT, TCP_ACK, "\1\2\3");
    assert_int_equal(wire_send(w, &bad, FROM_CLIENT), VERDICT_REQUEST_MALFORMED);
    const struct wire_segment inside = wire_out(w, INSIDE), outside = wire_out(w, OUTSIDE);
    assert_int_equal(inside.flags, TCP_RST);
    assert_int_equal(inside.seq, first_of(&t));
    assert_int_equal(outside.flags, TCP_RST | TCP_ACK);
    assert_int_equal(outside.seq, t.cookie + 1);
    wire_expect_tables(w, 0, 0);
}

static void bytes_behind_the_last_request_are_not_delivered(void **state)
{
    struct wire *w = wire_of(state);
    struct wire_talk t = wire_talk(w);
    static const char last[] = "GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
    wire_handshake(w, &t);
    wire_ask(w, &t, last);
    const struct wire_segment more = wire_data(&t, FROM_CLIENT, TCP_ACK, "GET / HTTP");
    wire_send(w, &more, FROM_CLIENT);
    assert_int_equal(wire_accept(w, &t).length, strlen(last));
    wire_quiet(w);
    wire_expect_tables(w, 1, 0);
}

/* ---- delivering ---- */

static void pitfall_26_acknowledged_bytes_are_kept_until_the_backend_has_them(void **state)
{
    struct wire *w = wire_of(state);
    const uint32_t all = (uint32_t)strlen(wire_request);
    struct wire_talk t = asked(w, 20);
    wire_accept(w, &t); /* lost on its way */
    wire_expect_tables(w, 1, 1);
    uint32_t waited = 200;
    for (int i = 0; i < 2; i++, waited *= 2) {
        wire_wait(w, waited - 8);
        wire_quiet(w);
        wire_wait(w, 24);
        const struct wire_segment again = wire_out(w, INSIDE);
        assert_int_equal(again.seq, first_of(&t));
        assert_int_equal(again.length, all);
        assert_memory_equal(again.payload, wire_request, all);
        wire_quiet(w);
    }
    const struct wire_segment ack = backend_ack(&t, all);
    assert_int_equal(wire_send(w, &ack, FROM_BACKEND), VERDICT_FORWARDED);
    assert_int_equal(wire_out(w, OUTSIDE).ack, first_of(&t) + all);
    wire_expect_tables(w, 1, 0);
    wire_wait(w, 5000); /* and no more of it */
    wire_quiet(w);
}

static void pitfall_26_a_backend_that_never_takes_them_ends_in_exact_resets(void **state)
{
    struct wire *w = wire_of(state);
    struct wire_talk t = asked(w, 20);
    wire_accept(w, &t);
    for (int i = 0; i < 5; i++) {
        wire_wait(w, (200U << i) + 24);
        assert_int_equal(wire_out(w, INSIDE).seq, first_of(&t));
        wire_quiet(w);
    }
    wire_wait(w, (200U << 5) + 24);
    const struct wire_segment inside = wire_out(w, INSIDE), outside = wire_out(w, OUTSIDE);
    assert_int_equal(inside.flags, TCP_RST | TCP_ACK);
    assert_int_equal(inside.seq, first_of(&t)); /* what it expects */
    assert_int_equal(outside.flags, TCP_RST | TCP_ACK);
    assert_int_equal(outside.seq, t.cookie + 1);
    wire_quiet(w);
    wire_expect_tables(w, 0, 0);
    assert_int_equal(w->shard->verdicts[VERDICT_UNDELIVERED], 1);
}

static void pitfall_26_the_client_never_sees_that_the_backend_is_behind(void **state)
{
    struct wire *w = wire_of(state);
    struct wire_talk t = asked(w, 40);
    wire_accept(w, &t);
    struct wire_segment s = backend_ack(&t, 10);
    s.window = 10; /* ends before what we announced */
    assert_int_equal(wire_send(w, &s, FROM_BACKEND), VERDICT_ACK_COVERED);
    wire_quiet(w);
    s.payload = "early answer";
    s.length = 12;
    s.sack_edges = 2;
    s.sack[0] = first_of(&t) + 20;
    s.sack[1] = first_of(&t) + 30;
    assert_int_equal(wire_send(w, &s, FROM_BACKEND), VERDICT_FORWARDED);
    struct wire_segment told = wire_out(w, OUTSIDE);
    assert_int_equal(told.ack, first_of(&t) + 40);
    assert_int_equal(told.sack_edges, 0);
    assert_int_equal(told.length, 12);
    assert_in_range((uint32_t)(told.window << 7), WINDOW - 40, WINDOW - 40 + 127);
    s = backend_ack(&t, 10);
    s.seq += 12;
    s.window = 1000; /* 128,000 bytes: that is news */
    assert_int_equal(wire_send(w, &s, FROM_BACKEND), VERDICT_FORWARDED);
    told = wire_out(w, OUTSIDE);
    assert_int_equal(told.ack, first_of(&t) + 40);
    assert_in_range((uint32_t)(told.window << 7), 128000 - 30 - 127, 128000 - 30);
    assert_int_equal(wire_send(w, &s, FROM_BACKEND), VERDICT_ACK_COVERED); /* once */
    wire_quiet(w);
}

static void pitfall_26_owned_bytes_go_within_the_backends_window_and_mss(void **state)
{
    struct wire *w = wire_of(state);
    const uint32_t all = (uint32_t)strlen(wire_request);
    struct wire_talk t = asked(w, 40);
    struct wire_segment syn_ack = wire_syn_ack(&t);
    syn_ack.window = 30;
    syn_ack.options.mss = 48; /* 36 with timestamps */
    assert_int_equal(wire_send(w, &syn_ack, FROM_BACKEND), VERDICT_BACKEND_ANSWERED);
    wire_syn_again(w, &t);
    struct wire_segment s = wire_out(w, INSIDE);
    assert_int_equal(s.length, 30);
    wire_quiet(w);
    t.server.window = 0;
    s = backend_ack(&t, 30); /* closed: probed by the timer with a byte */
    assert_int_equal(wire_send(w, &s, FROM_BACKEND), VERDICT_ACK_COVERED);
    wire_quiet(w);
    wire_wait(w, 224);
    s = wire_out(w, INSIDE);
    assert_int_equal(s.seq, first_of(&t) + 30);
    assert_int_equal(s.length, 1);
    t.server.window = 100;
    s = backend_ack(&t, 30);
    wire_send(w, &s, FROM_BACKEND);
    s = wire_out(w, INSIDE); /* the probe may have been refused: it goes again with the rest */
    assert_int_equal(s.seq, first_of(&t) + 30);
    assert_int_equal(s.length, all - 30);
    wire_forget_frames(w);
    s = backend_ack(&t, all);
    assert_int_equal(wire_send(w, &s, FROM_BACKEND), VERDICT_FORWARDED);
    wire_expect_tables(w, 1, 0);
}

/* The backend has its window closed for long, says so whenever it is asked (once, that is lost),
 * and opens it; what it then gets may be lost like anything else. */
static void pitfall_26_a_window_that_opens_late_is_no_loss(void **state)
{
    struct wire *w = wire_of(state);
    struct wire_talk t = asked(w, 20);
    struct wire_segment syn_ack = wire_syn_ack(&t);
    syn_ack.window = 0;
    assert_int_equal(wire_send(w, &syn_ack, FROM_BACKEND), VERDICT_BACKEND_ANSWERED);
    wire_forget_frames(w);
    t.server.window = 0;
    struct wire_segment s = backend_ack(&t, 0);
    for (int probes = 0; probes < 20; probes++) {
        for (int ms = 0; wire_pending(w) == 0 && ms < 10000; ms += 100)
            wire_wait(w, 100);
        assert_int_equal(wire_out(w, INSIDE).length, 1);
        if (probes != 18)
            wire_send(w, &s, FROM_BACKEND);
    }
    t.server.window = 100;
    s = backend_ack(&t, 0);
    wire_send(w, &s, FROM_BACKEND);
    for (int i = 0; i < 5; i++) {
        assert_int_equal(wire_out(w, INSIDE).seq, first_of(&t));
        wire_forget_frames(w); /* the client hears of the window */
        wire_wait(w, (200U << i) + 24);
    }
    wire_expect_tables(w, 1, 1);
}

static void a_window_that_is_closed_at_first_gets_a_bare_ack(void **state)
{
    struct wire *w = wire_of(state);
    struct wire_talk t = asked(w, 20);
    struct wire_segment syn_ack = wire_syn_ack(&t);
    syn_ack.window = 0;
    assert_int_equal(wire_send(w, &syn_ack, FROM_BACKEND), VERDICT_BACKEND_ANSWERED);
    wire_syn_again(w, &t);
    const struct wire_segment ack = wire_out(w, INSIDE);
    assert_int_equal(ack.flags, TCP_ACK);
    assert_int_equal(ack.length, 0);
    assert_int_equal(ack.seq, first_of(&t));
    assert_int_equal(ack.ack, t.server.isn + 1);
    wire_quiet(w);
}

static void what_the_client_sends_again_meanwhile_is_acknowledged_again(void **state)
{
    struct wire *w = wire_of(state);
    struct wire_talk t = asked(w, 20);
    wire_accept(w, &t);
    assert_int_equal(send_piece(w, &t, wire_request, 0, 20), VERDICT_REPEATED);
    expect_ack(w, &t, 20);
    wire_quiet(w);
    const struct wire_segment next = wire_data(&t, FROM_CLIENT, TCP_ACK, wire_request);
    assert_int_equal(wire_send(w, &next, FROM_CLIENT), VERDICT_FORWARDED); /* a second request */
    wire_out(w, INSIDE);
}

/* Its number is what we have acknowledged, or all that it has sent; the backend is not there yet.
 */
static void a_client_that_resets_while_bytes_are_delivered_leaves_nothing(void **state)
{
    struct wire *w = wire_of(state);
    for (int all = 0; all < 2; all++) {
        struct wire_talk t = asked(w, 20);
        struct wire_segment syn_ack = wire_syn_ack(&t);
        syn_ack.window = 5;
        assert_int_equal(wire_send(w, &syn_ack, FROM_BACKEND), VERDICT_BACKEND_ANSWERED);
        wire_forget_frames(w);
        struct wire_segment reset = wire_segment(&t, FROM_CLIENT, TCP_RST | TCP_ACK);
        reset.seq = first_of(&t) + (all ? (uint32_t)strlen(wire_request) : 20);
        assert_int_equal(wire_send(w, &reset, FROM_CLIENT), VERDICT_FLOW_RESET);
        uint32_t exact = 0;
        while (wire_pending(w)) {
            const struct wire_segment s = wire_out(w, INSIDE);
            assert_int_equal(s.flags & TCP_RST, TCP_RST);
            exact |= s.seq == first_of(&t) ? 1 : s.seq == first_of(&t) + 5 ? 2 : 0;
        }
        assert_int_equal(exact, 3); /* whether the five bytes have arrived or not */
        wire_expect_tables(w, 0, 0);
    }
}

static void a_backend_that_resets_while_bytes_are_delivered_resets_the_client(void **state)
{
    struct wire *w = wire_of(state);
    struct wire_talk t = asked(w, 20);
    wire_accept(w, &t);
    struct wire_segment reset = backend_ack(&t, 0);
    reset.flags = TCP_RST | TCP_ACK;
    assert_int_equal(wire_send(w, &reset, FROM_BACKEND), VERDICT_FLOW_RESET);
    const struct wire_segment told = wire_out(w, OUTSIDE);
    assert_int_equal(told.flags, TCP_RST | TCP_ACK);
    assert_int_equal(told.seq, t.cookie + 1);
    wire_quiet(w);
    wire_expect_tables(w, 0, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        WIRE_TEST(a_head_in_pieces_is_acknowledged_and_asks_no_backend_before_it_is_whole),
        WIRE_TEST(pitfall_23_pieces_out_of_order_are_put_in_order),
        WIRE_TEST(pitfall_23_a_second_segment_that_comes_first_is_silently_dropped),
        WIRE_TEST(the_first_copy_of_a_byte_is_the_one_that_counts),
        WIRE_TEST(pitfall_03_a_head_larger_than_a_small_entry_moves_to_a_large_one),
        WIRE_TEST(a_head_that_no_window_holds_is_reset),
        WIRE_TEST(a_head_that_turns_out_malformed_is_reset),
        WIRE_TEST(a_head_has_a_time_to_be_complete_and_bytes_do_not_extend_it),
        WIRE_TEST(a_client_that_closes_before_its_head_is_whole_is_closed_in_answer),
        WIRE_TEST(a_fin_that_overtakes_waits_for_what_is_before_it),
        WIRE_TEST(a_client_that_resets_while_it_is_read_leaves_nothing),
        WIRE_TEST(pitfall_27_cookie_valid_data_replaces_a_head_that_is_being_read),
        WIRE_TEST(segments_that_cannot_be_the_clients_change_nothing),
        WIRE_TEST(pitfall_25_a_full_slab_lets_the_oldest_unfinished_head_go),
        WIRE_TEST(pitfall_25_a_client_has_a_limit_of_its_own),
        WIRE_TEST(data_behind_the_head_is_held_and_goes_with_it),
        WIRE_TEST(a_request_behind_the_first_that_is_malformed_resets_both_sides),
        WIRE_TEST(bytes_behind_the_last_request_are_not_delivered),
        WIRE_TEST(pitfall_26_acknowledged_bytes_are_kept_until_the_backend_has_them),
        WIRE_TEST(pitfall_26_a_backend_that_never_takes_them_ends_in_exact_resets),
        WIRE_TEST(pitfall_26_the_client_never_sees_that_the_backend_is_behind),
        WIRE_TEST(pitfall_26_owned_bytes_go_within_the_backends_window_and_mss),
        WIRE_TEST(pitfall_26_a_window_that_opens_late_is_no_loss),
        WIRE_TEST(a_window_that_is_closed_at_first_gets_a_bare_ack),
        WIRE_TEST(what_the_client_sends_again_meanwhile_is_acknowledged_again),
        WIRE_TEST(a_client_that_resets_while_bytes_are_delivered_leaves_nothing),
        WIRE_TEST(a_backend_that_resets_while_bytes_are_delivered_resets_the_client),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
