/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026, the Dropgate authors
 *
 * Backends that answer by SYN cookies of their own, as Linux does when too many connections to it
 * are half-open, and know nothing afterwards of what was agreed. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
// clang-format off
#include <cmocka.h>
// clang-format on

#include "tests/unit/wire.h"

static uint64_t cookies(const struct wire *w)
{
    return w->shard->openings[w->family].cookies;
}

/* The client's window as it is, in a field of 16 bits. */
static uint16_t unscaled(const struct wire_talk *t)
{
    const uint32_t bytes = (uint32_t)t->client.window
                           << (t->client.scale == COOKIE_NO_SCALE ? 0 : t->client.scale);
    return bytes > UINT16_MAX ? UINT16_MAX : (uint16_t)bytes;
}

/* The backend has the request; its next segment is the first behind its SYN-ACK. */
static void request(struct wire *w, struct wire_talk *t)
{
    wire_handshake(w, t);
    wire_ask(w, t, wire_upload);
    wire_accept(w, t);
    wire_quiet(w);
}

/* From here on, its clock as the client has seen it last goes on from what it is. */
static void clock_moves(struct wire_talk *t, uint32_t by)
{
    t->server.clock += by;
    t->ts_delta = t->client.echo - t->server.clock;
}

/* What the backend is told of the client's window once it has spoken. */
static void expect_window_told(struct wire *w, const struct wire_talk *t)
{
    const struct wire_segment update = wire_out(w, INSIDE);
    assert_int_equal(update.flags, TCP_ACK);
    assert_int_equal(update.length, 0);
    assert_int_equal(update.seq, t->server.expects); /* else it would be taken for an old one */
    assert_int_equal(update.window, unscaled(t));
}

static void a_backend_that_agrees_to_nothing_is_spliced_without_scales(void **state)
{
    struct wire *w = wire_of(state);
    struct wire_talk t = wire_talk(w);
    t.client.timestamps = false;
    t.server.sack = false;
    wire_handshake(w, &t);
    const struct wire_segment syn = wire_ask(w, &t, wire_upload);
    assert_true(syn.options.sack_ok);
    assert_int_not_equal(syn.options.window_scale, COOKIE_NO_SCALE);
    t.server.scale = COOKIE_NO_SCALE;
    t.server.window = 6400;
    const struct wire_segment held = wire_accept(w, &t);
    assert_int_equal(held.window, unscaled(&t));
    assert_int_equal(w->message_count, 0); /* nothing is wrong with it */
    assert_int_equal(cookies(w), 1);
    const struct wire_segment answer = wire_pass(w, &t, FROM_BACKEND, TCP_ACK, "HTTP/1.1 ");
    assert_int_equal(answer.window, 6400 >> w->offers->offer[t.service].promise[0].window_scale);
    assert_int_equal(wire_pass(w, &t, FROM_CLIENT, TCP_ACK, "").window, unscaled(&t));
    wire_quiet(w);
}

static void a_backend_whose_clock_begins_anew_is_heard_all_the_same(void **state)
{
    static const uint32_t jumps[] = {0x60000000, 0xa0000000, 0x00800000, 0xff800000};
    struct wire *w = wire_of(state);
    for (size_t i = 0; i < sizeof jumps / sizeof jumps[0]; i++) {
        struct wire_talk t = wire_talk(w);
        request(w, &t);
        clock_moves(&t, jumps[i]);
        const struct wire_segment ack = wire_segment(&t, FROM_BACKEND, TCP_ACK);
        assert_int_equal(wire_send(w, &ack, FROM_BACKEND), VERDICT_FORWARDED);
        expect_window_told(w, &t);
        const struct wire_segment seen = wire_out(w, OUTSIDE);
        assert_int_equal(seen.options.tsval, t.client.echo); /* for its client it goes on */
        assert_int_equal(cookies(w), i + 1);
        const uint32_t clock = t.server.clock += 3;
        wire_pass(w, &t, FROM_BACKEND, TCP_ACK | TCP_PSH, "HTTP/1.1 100 Continue\r\n\r\n");
        const struct wire_segment body = wire_pass(w, &t, FROM_CLIENT, TCP_ACK, "a body");
        assert_int_equal(body.options.tsecr, clock);
        assert_int_equal(body.window, unscaled(&t));
        wire_quiet(w);
        assert_int_equal(cookies(w), i + 1);
    }
}

static void its_answer_may_be_the_first_that_is_heard(void **state)
{
    struct wire *w = wire_of(state);
    struct wire_talk t = wire_talk(w);
    request(w, &t);
    clock_moves(&t, 0x80000001);
    const struct wire_segment answer =
        wire_data(&t, FROM_BACKEND, TCP_ACK | TCP_PSH, "HTTP/1.1 100 Continue\r\n\r\n");
    assert_int_equal(wire_send(w, &answer, FROM_BACKEND), VERDICT_FORWARDED);
    expect_window_told(w, &t);
    assert_int_equal(wire_out(w, OUTSIDE).length, answer.length);
}

/* Of the echo it reads that its client's scale is 0, and so its own windows are scaled. */
static void where_no_scale_was_agreed_its_windows_come_with_one(void **state)
{
    struct wire *w = wire_of(state);
    struct wire_talk t = wire_talk(w);
    t.client.scale = COOKIE_NO_SCALE;
    request(w, &t);
    t.server.window = 7;
    clock_moves(&t, 0x70000000);
    const struct wire_segment ack = wire_pass(w, &t, FROM_BACKEND, TCP_ACK, "");
    assert_int_equal(ack.window, 7 << w->offers->offer[t.service].promise[0].window_scale);
    wire_quiet(w); /* it had the client's window */
    assert_int_equal(cookies(w), 1);
}

static void a_clock_that_goes_on_as_clocks_do_is_no_cookies(void **state)
{
    static const uint32_t ticks[] = {0, 1, 400000};
    struct wire *w = wire_of(state);
    for (size_t i = 0; i < sizeof ticks / sizeof ticks[0]; i++) {
        struct wire_talk t = wire_talk(w);
        request(w, &t);
        wire_step(w, 100); /* some clocks count microseconds */
        t.server.clock += ticks[i];
        const uint16_t scaled = t.client.window;
        wire_pass(w, &t, FROM_BACKEND, TCP_ACK, "");
        assert_int_equal(wire_pass(w, &t, FROM_CLIENT, TCP_ACK, "").window, scaled);
        wire_quiet(w);
    }
    assert_int_equal(cookies(w), 0);
}

static void a_clock_jumps_no_more_once_something_was_acknowledged(void **state)
{
    struct wire *w = wire_of(state);
    struct wire_talk t = wire_talk(w);
    request(w, &t);
    wire_pass(w, &t, FROM_BACKEND, TCP_ACK, "");
    t.server.clock -= 0x60000000;
    const struct wire_segment old = wire_data(&t, FROM_BACKEND, TCP_ACK, "HTTP/1.1 ");
    assert_int_equal(wire_send(w, &old, FROM_BACKEND), VERDICT_PAWS);
    wire_quiet(w);
    assert_int_equal(cookies(w), 0);
}

static void what_is_of_another_connection_moves_no_clock(void **state)
{
    struct wire *w = wire_of(state);
    struct wire_talk t = wire_talk(w);
    request(w, &t);
    for (int kind = 0; kind < 3; kind++) {
        struct wire_segment stray = wire_data(&t, FROM_BACKEND, TCP_ACK, "of another");
        stray.options.tsval += 0x60000000;
        if (kind == 0)
            stray.seq += 0x40000000;
        if (kind == 1)
            stray.ack += 1000;
        if (kind == 2)
            stray.flags = TCP_SYN | TCP_ACK;
        wire_send(w, &stray, FROM_BACKEND);
        wire_forget_frames(w);
    }
    assert_int_equal(cookies(w), 0);
    wire_pass(w, &t, FROM_BACKEND, TCP_ACK, "");
    wire_quiet(w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        WIRE_TEST(a_backend_that_agrees_to_nothing_is_spliced_without_scales),
        WIRE_TEST(a_backend_whose_clock_begins_anew_is_heard_all_the_same),
        WIRE_TEST(its_answer_may_be_the_first_that_is_heard),
        WIRE_TEST(where_no_scale_was_agreed_its_windows_come_with_one),
        WIRE_TEST(a_clock_that_goes_on_as_clocks_do_is_no_cookies),
        WIRE_TEST(a_clock_jumps_no_more_once_something_was_acknowledged),
        WIRE_TEST(what_is_of_another_connection_moves_no_clock),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
