/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026, the Dropgate authors
 *
 * Who is too slow, at what, and after how long; and who is not, however bad his network: against
 * the default settings, on a clock of the test's own. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
// clang-format off
#include <cmocka.h>
// clang-format on

#include "tests/unit/wire.h"

enum { SECOND = 1000, MINUTE = 60 * SECOND };

/* As ops/settings.c has them. */
static const struct slow_limits defaults = {
    .window_ms = MINUTE,
    .rate = {[SLOW_BODY] = 256, [SLOW_DRAIN] = 256},
    .most_ms = {[SLOW_HEAD] = 10 * SECOND,
                [SLOW_BODY] = 60 * MINUTE,
                [SLOW_DRAIN] = 120 * MINUTE,
                [SLOW_IDLE] = 6 * MINUTE,
                [SLOW_ANSWER] = 15 * MINUTE},
};

static char kilobyte[1025];

static int setup(void **state, enum wire_family family)
{
    int error = family == WIRE_V4 ? wire_setup_v4(state) : wire_setup_v6(state);
    if (error == 0)
        wire_of(state)->limits.slow = defaults;
    memset(kilobyte, 'k', sizeof kilobyte - 1);
    return error;
}

static int setup_v4(void **state)
{
    return setup(state, WIRE_V4);
}

static int setup_v6(void **state)
{
    return setup(state, WIRE_V6);
}

static uint64_t counted(const struct wire *w, enum verdict verdict)
{
    return w->shard->verdicts[verdict];
}

static uint64_t evictions(const struct wire *w)
{
    return counted(w, VERDICT_SLOW_HEAD) + counted(w, VERDICT_SLOW_BODY) +
           counted(w, VERDICT_SLOW_DRAIN) + counted(w, VERDICT_SLOW_IDLE) +
           counted(w, VERDICT_SLOW_ANSWER);
}

/* An open connection whose request is complete, and which its backend has not answered. */
static struct wire_talk asked(struct wire *w)
{
    struct wire_talk t = wire_talk(w);
    wire_handshake(w, &t);
    wire_ask(w, &t, wire_request);
    wire_accept(w, &t);
    wire_pass(w, &t, FROM_BACKEND, TCP_ACK, "");
    return t;
}

/* The same, answered and acknowledged. */
static struct wire_talk answered(struct wire *w)
{
    struct wire_talk t = asked(w);
    wire_pass(w, &t, FROM_BACKEND, TCP_ACK | TCP_PSH, "HTTP/1.1 204 No Content\r\n\r\n");
    wire_pass(w, &t, FROM_CLIENT, TCP_ACK, "");
    return t;
}

/* Waits up to `most` ms for the next frame; returns after how many it left. */
static uint32_t wait_for_frame(struct wire *w, uint32_t most)
{
    const uint64_t from = w->now_ms;
    while (wire_pending(w) == 0 && w->now_ms - from < most)
        wire_wait(w, 50);
    return (uint32_t)(w->now_ms - from);
}

/* Both ends are reset, each at the number that it expects next. */
static void expect_reset(struct wire *w, const struct wire_talk *t, enum verdict reason)
{
    assert_int_equal(counted(w, reason), 1);
    assert_int_equal(evictions(w), 1);
    assert_int_equal(counted(w, VERDICT_STRIKE),
                     reason != VERDICT_SLOW_IDLE && reason != VERDICT_SLOW_ANSWER);
    const struct wire_segment inside = wire_out(w, INSIDE);
    assert_int_equal(inside.flags, TCP_RST | TCP_ACK);
    assert_int_equal(inside.seq, t->server.expects);
    const struct wire_segment outside = wire_out(w, OUTSIDE);
    assert_int_equal(outside.flags, TCP_RST | TCP_ACK);
    assert_int_equal(outside.seq, t->client.expects);
    wire_quiet(w);
    wire_expect_tables(w, 0, 0);
}

/* ---- heads ---- */

static void a_later_head_that_drips_is_reset_in_time(void **state)
{
    struct wire *w = wire_of(state);
    struct wire_talk t = answered(w);
    wire_wait(w, 90 * SECOND); /* quiet meanwhile */
    const uint64_t begun = w->now_ms;
    for (int i = 0; i < 9; i++) {
        const char byte[] = {wire_request[i], '\0'};
        wire_pass(w, &t, FROM_CLIENT, TCP_ACK | TCP_PSH, byte);
        wire_pass(w, &t, FROM_BACKEND, TCP_ACK, "");
        wire_wait(w, SECOND);
    }
    wait_for_frame(w, 5 * SECOND);
    assert_in_range(w->now_ms - begun, 10 * SECOND - SLOW_UNIT_MS, 10 * SECOND + SLOW_UNIT_MS);
    expect_reset(w, &t, VERDICT_SLOW_HEAD);
}

static void a_head_that_ends_in_time_makes_room_for_the_next(void **state)
{
    struct wire *w = wire_of(state);
    struct wire_talk t = answered(w);
    for (int i = 0; i < 20; i++) {
        wire_pass(w, &t, FROM_CLIENT, TCP_ACK | TCP_PSH, "GET / HTT");
        wire_pass(w, &t, FROM_BACKEND, TCP_ACK, "");
        wire_wait(w, 9 * SECOND);
        wire_pass(w, &t, FROM_CLIENT, TCP_ACK | TCP_PSH, "P/1.1\r\nHost: shop.example\r\n\r\n");
        wire_pass(w, &t, FROM_BACKEND, TCP_ACK | TCP_PSH, "HTTP/1.1 204 No Content\r\n\r\n");
        wire_pass(w, &t, FROM_CLIENT, TCP_ACK, "");
    }
    assert_int_equal(evictions(w), 0);
    wire_pass(w, &t, FROM_CLIENT, TCP_ACK | TCP_PSH, "GET / HTT");
    wire_pass(w, &t, FROM_BACKEND, TCP_ACK, "");
    assert_in_range(wait_for_frame(w, 11 * SECOND), 10 * SECOND - SLOW_UNIT_MS,
                    10 * SECOND + SLOW_UNIT_MS);
    expect_reset(w, &t, VERDICT_SLOW_HEAD);
}

/* As of one that pipelines requests to a backend that has been stopped, whether or not the kernel
 * of that still acknowledges. */
static void a_head_that_the_backend_has_no_room_for_is_not_its_clients_fault(void **state)
{
    struct wire *w = wire_of(state);
    for (int silent = 0; silent < 2; silent++) {
        struct wire_talk t = answered(w);
        struct flow *flow = flow_find_outside(
            w->shard->flows, flow_hash(w->shard->flows, &t.client.at.addr, t.client.at.port),
            &t.client.at.addr, t.client.at.port, t.service);
        const uint16_t open = t.server.window;
        flow->from_client.limit = t.client.next + 9;
        t.server.window = 0;
        wire_pass(w, &t, FROM_CLIENT, TCP_ACK | TCP_PSH, "GET / HTT");
        for (int i = 0; i < 18; i++) {
            if (!silent)
                wire_pass(w, &t, FROM_BACKEND, TCP_ACK, "");
            wire_wait(w, 10 * SECOND);
        }
        assert_int_equal(evictions(w), silent);
        assert_int_equal(counted(w, VERDICT_STRIKE), silent);
        t.server.window = open;
        wire_pass(w, &t, FROM_BACKEND, TCP_ACK, "");
        assert_in_range(wait_for_frame(w, MINUTE), 0, 20 * SECOND + SLOW_UNIT_MS);
        assert_int_equal(counted(w, VERDICT_SLOW_HEAD), silent + 1);
        assert_int_equal(counted(w, VERDICT_STRIKE), silent + 1);
        wire_forget_frames(w);
    }
}

/* ---- bodies ---- */

static void an_upload_at_2_kb_per_second_is_left_alone(void **state)
{
    struct wire *w = wire_of(state);
    struct wire_talk t = wire_talk(w);
    wire_open(w, &t);
    for (int i = 0; i < 1024; i++) { /* a megabyte */
        wire_pass(w, &t, FROM_CLIENT, TCP_ACK, kilobyte);
        wire_pass(w, &t, FROM_BACKEND, TCP_ACK, "");
        wire_wait(w, SECOND / 2);
    }
    assert_int_equal(evictions(w), 0);
    wire_quiet(w);
}

static void an_upload_through_a_tunnel_is_left_alone(void **state)
{
    struct wire *w = wire_of(state);
    struct wire_talk t = wire_talk(w);
    wire_open(w, &t);
    for (int i = 0; i < 10; i++) {
        wire_wait(w, 40 * SECOND); /* not a byte */
        for (int k = 0; k < 20; k++) {
            wire_pass(w, &t, FROM_CLIENT, TCP_ACK, kilobyte);
            wire_pass(w, &t, FROM_BACKEND, TCP_ACK, "");
            wire_wait(w, SECOND);
        }
    }
    assert_int_equal(evictions(w), 0);
    wire_quiet(w);
}

static void a_body_that_drips_is_reset_behind_a_window(void **state)
{
    struct wire *w = wire_of(state);
    struct wire_talk t = wire_talk(w);
    wire_open(w, &t);
    const uint64_t begun = w->now_ms;
    while (wire_pending(w) == 0 && w->now_ms - begun < 5 * MINUTE) { /* a byte every 9 s */
        wire_pass(w, &t, FROM_CLIENT, TCP_ACK | TCP_PSH, "b");
        wire_pass(w, &t, FROM_BACKEND, TCP_ACK, "");
        wait_for_frame(w, 9 * SECOND);
    }
    assert_in_range(w->now_ms - begun, MINUTE - SLOW_UNIT_MS, MINUTE + SLOW_UNIT_MS);
    expect_reset(w, &t, VERDICT_SLOW_BODY);
}

/* Its backend has had that number, and takes it for an old duplicate. */
static void a_fin_that_ends_nothing_does_not_stop_the_clock_of_a_body(void **state)
{
    struct wire *w = wire_of(state);
    struct wire_talk t = wire_talk(w);
    wire_open(w, &t);
    const uint64_t begun = w->now_ms;
    struct wire_segment fin = wire_segment(&t, FROM_CLIENT, TCP_FIN | TCP_ACK);
    fin.seq--;
    wire_send(w, &fin, FROM_CLIENT);
    wire_forget_frames(w);
    wire_pass(w, &t, FROM_BACKEND, TCP_ACK, "");
    while (wire_pending(w) == 0 && w->now_ms - begun < 60 * MINUTE) {
        wire_pass(w, &t, FROM_CLIENT, TCP_ACK | TCP_PSH, "b");
        wire_pass(w, &t, FROM_BACKEND, TCP_ACK, "");
        wait_for_frame(w, 50 * SECOND);
    }
    assert_in_range(w->now_ms - begun, MINUTE - SLOW_UNIT_MS, MINUTE + SLOW_UNIT_MS);
    expect_reset(w, &t, VERDICT_SLOW_BODY);
}

/* An open connection whose upload is there but for 99 bytes in its middle. */
static struct wire_talk but_for_a_hole(struct wire *w, uint8_t flags)
{
    struct wire_talk t = wire_talk(w);
    wire_handshake(w, &t);
    wire_ask(w, &t, "PUT / HTTP/1.1\r\nHost: a.b\r\nContent-Length: 100\r\n\r\n");
    wire_accept(w, &t);
    wire_pass(w, &t, FROM_BACKEND, TCP_ACK, "");
    struct wire_segment last = wire_data(&t, FROM_CLIENT, TCP_ACK | TCP_PSH | flags, "b");
    last.seq += 99;
    assert_int_equal(wire_send(w, &last, FROM_CLIENT), VERDICT_FORWARDED);
    wire_out(w, INSIDE);
    wire_pass(w, &t, FROM_BACKEND, TCP_ACK, "");
    return t;
}

static void a_body_is_not_complete_as_long_as_it_has_a_hole(void **state)
{
    struct wire *w = wire_of(state);
    for (int fin = 0; fin < 2; fin++) {
        struct wire_talk t = but_for_a_hole(w, fin ? TCP_FIN : 0);
        const uint64_t begun = w->now_ms;
        while (wire_pending(w) == 0 && w->now_ms - begun < 60 * MINUTE) {
            wire_pass(w, &t, FROM_CLIENT, TCP_ACK | TCP_PSH, "b");
            wire_pass(w, &t, FROM_BACKEND, TCP_ACK, "");
            wait_for_frame(w, 45 * SECOND);
        }
        assert_in_range(w->now_ms - begun, MINUTE - SLOW_UNIT_MS, MINUTE + SLOW_UNIT_MS);
        assert_int_equal(counted(w, VERDICT_SLOW_BODY), fin + 1);
        assert_int_equal(counted(w, VERDICT_STRIKE), fin + 1);
        wire_forget_frames(w);
    }
}

static void a_body_whose_hole_has_been_filled_is_complete(void **state)
{
    struct wire *w = wire_of(state);
    w->limits.idle_ms = w->limits.half_closed_ms = 60 * MINUTE;
    for (int fin = 0; fin < 2; fin++) {
        struct wire_talk t = but_for_a_hole(w, fin ? TCP_FIN : 0);
        char missing[100] = {0};
        memset(missing, 'b', sizeof missing - 1);
        wire_wait(w, 50 * SECOND); /* its network was away */
        wire_pass(w, &t, FROM_CLIENT, TCP_ACK, missing);
        t.client.next += 1U + (uint32_t)fin; /* and its backend is slow to acknowledge */
        wire_wait(w, SECOND / 2);
        t.server.expects = t.client.next;
        wire_pass(w, &t, FROM_BACKEND, TCP_ACK, "");
        wire_wait(w, 10 * MINUTE);
        assert_int_equal(evictions(w), 0);
        wire_pass(w, &t, FROM_CLIENT, TCP_RST | TCP_ACK, "");
    }
}

static void no_rate_makes_a_body_last_for_ever(void **state)
{
    struct wire *w = wire_of(state);
    struct wire_talk t = wire_talk(w);
    w->limits.slow.most_ms[SLOW_BODY] = 5 * MINUTE;
    wire_open(w, &t);
    const uint64_t begun = w->now_ms;
    while (wire_pending(w) == 0 && w->now_ms - begun < 10 * MINUTE) {
        wire_pass(w, &t, FROM_CLIENT, TCP_ACK, kilobyte);
        wire_pass(w, &t, FROM_BACKEND, TCP_ACK, "");
        wait_for_frame(w, SECOND);
    }
    assert_in_range(w->now_ms - begun, 5 * MINUTE - SLOW_UNIT_MS, 5 * MINUTE + SLOW_UNIT_MS);
    expect_reset(w, &t, VERDICT_SLOW_BODY);
}

static void a_backend_without_room_is_not_its_clients_fault(void **state)
{
    struct wire *w = wire_of(state);
    struct wire_talk t = wire_talk(w);
    wire_open(w, &t);
    t.server.window = 0;
    while (w->shard->verdicts[VERDICT_OUT_OF_WINDOW] == 0) { /* all that it had granted */
        struct wire_segment more = wire_data(&t, FROM_CLIENT, TCP_ACK, kilobyte);
        if (wire_send(w, &more, FROM_CLIENT) != VERDICT_FORWARDED)
            break;
        t.server.expects = wire_out(w, INSIDE).seq + 1024;
        t.client.next += 1024;
    }
    for (int i = 0; i < 60; i++) {
        wire_pass(w, &t, FROM_BACKEND, TCP_ACK, "");
        wire_wait(w, 10 * SECOND);
    }
    assert_int_equal(evictions(w), 0);
}

/* ---- answers ---- */

/* The backend sends as long as the client's window has room. */
static void fill_window(struct wire *w, struct wire_talk *t, uint32_t limit)
{
    const uint32_t delta = wire_delta(t);
    while ((int32_t)(limit - (t->server.next + delta)) >= 1024) {
        const uint32_t expects = t->client.expects;
        wire_pass(w, t, FROM_BACKEND, TCP_ACK, kilobyte);
        t->client.expects = expects; /* nobody reads it yet */
    }
}

/* The client reads so many bytes, and says so. */
static void read_some(struct wire *w, struct wire_talk *t, uint32_t bytes)
{
    t->client.expects += bytes;
    wire_pass(w, t, FROM_CLIENT, TCP_ACK, "");
}

static uint32_t room_of(const struct wire_talk *t)
{
    return (uint32_t)t->client.window << t->client.scale;
}

static void a_reader_that_pauses_for_5_seconds_is_left_alone(void **state)
{
    struct wire *w = wire_of(state);
    struct wire_talk t = asked(w);
    for (int i = 0; i < 200; i++) {
        fill_window(w, &t, t.client.expects + room_of(&t));
        wire_wait(w, 5 * SECOND);
        read_some(w, &t, t.server.next + wire_delta(&t) - t.client.expects);
    }
    assert_int_equal(evictions(w), 0);
}

static void a_reader_of_2_kb_per_second_is_left_alone(void **state)
{
    struct wire *w = wire_of(state);
    struct wire_talk t = asked(w);
    for (int i = 0; i < 1000; i++) {
        fill_window(w, &t, t.client.expects + room_of(&t));
        wire_wait(w, SECOND);
        read_some(w, &t, 2048);
    }
    assert_int_equal(evictions(w), 0);
}

/* The last bytes that the backend sent are on their way still: a reset at either end of them. */
static void expect_reset_of_reader(struct wire *w, const struct wire_talk *t)
{
    assert_int_equal(counted(w, VERDICT_SLOW_DRAIN), 1);
    assert_int_equal(counted(w, VERDICT_STRIKE), 1);
    assert_int_equal(wire_out(w, INSIDE).seq, t->server.expects);
    const struct wire_segment near = wire_out(w, OUTSIDE), far = wire_out(w, OUTSIDE);
    assert_int_equal(near.flags, TCP_RST | TCP_ACK);
    assert_int_equal(near.seq, t->client.expects);
    assert_int_equal(far.seq, t->server.next + wire_delta(t));
    wire_expect_tables(w, 0, 0);
}

static void a_reader_of_10_bytes_per_second_is_reset(void **state)
{
    struct wire *w = wire_of(state);
    struct wire_talk t = asked(w);
    const uint64_t begun = w->now_ms;
    fill_window(w, &t, t.client.expects + room_of(&t));
    while (counted(w, VERDICT_SLOW_DRAIN) == 0 && w->now_ms - begun < 10 * MINUTE) {
        read_some(w, &t, 10);
        wait_for_frame(w, SECOND);
    }
    assert_in_range(w->now_ms - begun, MINUTE, 2 * MINUTE + SECOND);
    expect_reset_of_reader(w, &t);
}

static void a_tiny_window_opened_again_and_again_does_not_help(void **state)
{
    struct wire *w = wire_of(state);
    struct wire_talk t = wire_talk(w);
    t.client.window = 128;
    t.client.scale = COOKIE_NO_SCALE;
    wire_handshake(w, &t);
    wire_ask(w, &t, wire_request);
    wire_accept(w, &t);
    wire_pass(w, &t, FROM_BACKEND, TCP_ACK, "");
    char piece[129] = {0};
    memset(piece, 'p', sizeof piece - 1);
    const uint64_t begun = w->now_ms;
    while (counted(w, VERDICT_SLOW_DRAIN) == 0 && w->now_ms - begun < 10 * MINUTE) {
        wire_pass(w, &t, FROM_BACKEND, TCP_ACK, piece); /* all that fits, taken at once */
        wire_pass(w, &t, FROM_CLIENT, TCP_ACK, "");
        wire_pass(w, &t, FROM_BACKEND, TCP_ACK, piece);
        t.client.expects -= 128;
        wait_for_frame(w, 10 * SECOND);
        if (wire_pending(w) == 0)
            read_some(w, &t, 128);
    }
    assert_in_range(w->now_ms - begun, MINUTE, 3 * MINUTE);
    expect_reset_of_reader(w, &t);
}

static void a_client_that_never_opens_its_window_is_reset(void **state)
{
    struct wire *w = wire_of(state);
    struct wire_talk t = wire_talk(w);
    wire_handshake(w, &t);
    t.client.window = 0;
    wire_ask(w, &t, wire_request);
    wire_accept(w, &t);
    for (int i = 0; i < 30 && evictions(w) == 0; i++) {
        if (wire_pending(w) == 0)
            wire_pass(w, &t, FROM_BACKEND, TCP_ACK, "");
        wire_wait(w, 5 * SECOND);
    }
    assert_int_equal(counted(w, VERDICT_SLOW_DRAIN), 1);
}

static void a_stream_of_few_events_is_left_alone(void **state)
{
    struct wire *w = wire_of(state);
    struct wire_talk t = asked(w);
    for (int i = 0; i < 360; i++) { /* an event each 10 s, acknowledged 2 s later: an hour */
        wire_pass(w, &t, FROM_BACKEND, TCP_ACK | TCP_PSH, "data: sold 17\n\n");
        wire_wait(w, 2 * SECOND);
        wire_pass(w, &t, FROM_CLIENT, TCP_ACK, "");
        wire_wait(w, 8 * SECOND);
    }
    assert_int_equal(evictions(w), 0);
}

static void a_download_at_full_speed_may_last(void **state)
{
    struct wire *w = wire_of(state);
    struct wire_talk t = asked(w);
    w->limits.slow.most_ms[SLOW_DRAIN] = 5 * MINUTE;
    for (int i = 0; i < 1200; i++) { /* 20 minutes with never more than half a window under way */
        const uint32_t before = t.client.expects;
        for (int k = 0; k < 20; k++)
            wire_pass(w, &t, FROM_BACKEND, TCP_ACK, kilobyte);
        t.client.expects = before;
        wire_wait(w, SECOND);
        read_some(w, &t, 20 * 1024);
    }
    assert_int_equal(evictions(w), 0);
}

static void a_client_that_has_closed_must_still_read(void **state)
{
    struct wire *w = wire_of(state);
    struct wire_talk t = asked(w);
    wire_pass(w, &t, FROM_CLIENT, TCP_FIN | TCP_ACK, "");
    fill_window(w, &t, t.client.expects + room_of(&t));
    assert_in_range(wait_for_frame(w, 5 * MINUTE), MINUTE, 2 * MINUTE + SECOND);
    expect_reset_of_reader(w, &t);
}

static void an_answer_behind_a_long_wait_must_be_read_too(void **state)
{
    struct wire *w = wire_of(state);
    struct wire_talk t = asked(w);
    wire_wait(w, 5 * MINUTE);
    fill_window(w, &t, t.client.expects + room_of(&t));
    assert_in_range(wait_for_frame(w, 5 * MINUTE), MINUTE, 2 * MINUTE + SECOND);
    expect_reset_of_reader(w, &t);
}

static void requests_in_pieces_do_not_hide_who_does_not_read(void **state)
{
    struct wire *w = wire_of(state);
    struct wire_talk t = asked(w);
    const uint64_t begun = w->now_ms;
    fill_window(w, &t, t.client.expects + room_of(&t));
    while (counted(w, VERDICT_SLOW_DRAIN) == 0 && w->now_ms - begun < 10 * MINUTE) {
        wire_pass(w, &t, FROM_CLIENT, TCP_ACK | TCP_PSH, "GET / HTT");
        wire_wait(w, SECOND);
        if (wire_pending(w) == 0)
            wire_pass(w, &t, FROM_CLIENT, TCP_ACK | TCP_PSH, "P/1.1\r\nHost: a.b\r\n\r\n");
        wait_for_frame(w, 4 * SECOND);
    }
    assert_in_range(w->now_ms - begun, MINUTE, 2 * MINUTE + 5 * SECOND);
    assert_int_equal(counted(w, VERDICT_SLOW_DRAIN), 1);
}

static void who_uploads_must_read_as_well(void **state)
{
    struct wire *w = wire_of(state);
    struct wire_talk t = wire_talk(w);
    wire_open(w, &t);
    fill_window(w, &t, t.client.expects + room_of(&t)); /* and so the backend reads no more */
    t.server.window = 0;
    while (counted(w, VERDICT_OUT_OF_WINDOW) == 0) {
        struct wire_segment more = wire_data(&t, FROM_CLIENT, TCP_ACK, kilobyte);
        if (wire_send(w, &more, FROM_CLIENT) != VERDICT_FORWARDED)
            break;
        t.server.expects = wire_out(w, INSIDE).seq + 1024;
        t.client.next += 1024;
    }
    struct wire_segment full = wire_segment(&t, FROM_BACKEND, TCP_ACK);
    assert_int_equal(wire_send(w, &full, FROM_BACKEND), VERDICT_FORWARDED);
    wire_out(w, OUTSIDE);
    assert_in_range(wait_for_frame(w, 10 * MINUTE), MINUTE, 3 * MINUTE);
    assert_int_equal(counted(w, VERDICT_SLOW_DRAIN), 1);
}

/* ---- nothing ---- */

static void a_browsers_idle_connection_is_left_alone(void **state)
{
    struct wire *w = wire_of(state);
    struct wire_talk t = answered(w);
    for (int i = 0; i < 5; i++) {
        wire_wait(w, 5 * MINUTE);
        wire_pass(w, &t, FROM_CLIENT, TCP_ACK | TCP_PSH, wire_request);
        wire_pass(w, &t, FROM_BACKEND, TCP_ACK | TCP_PSH, "HTTP/1.1 204 No Content\r\n\r\n");
        wire_pass(w, &t, FROM_CLIENT, TCP_ACK, "");
    }
    assert_int_equal(evictions(w), 0);
    wire_quiet(w);
}

static void keep_alives_do_not_extend_an_idle_connection(void **state)
{
    struct wire *w = wire_of(state);
    struct wire_talk t = answered(w);
    const uint64_t begun = w->now_ms;
    while (evictions(w) == 0 && w->now_ms - begun < 20 * MINUTE) {
        struct wire_segment probe = wire_segment(&t, FROM_CLIENT, TCP_ACK);
        probe.seq--;
        probe.payload = "\0"; /* as old stacks do: with a byte of garbage, which wakes the flow */
        probe.length = 1;
        assert_int_equal(wire_send(w, &probe, FROM_CLIENT), VERDICT_FORWARDED);
        wire_out(w, INSIDE);
        wire_pass(w, &t, FROM_BACKEND, TCP_ACK, "");
        wait_for_frame(w, 45 * SECOND);
    }
    assert_in_range(w->now_ms - begun, 6 * MINUTE, 7 * MINUTE + SECOND);
    expect_reset(w, &t, VERDICT_SLOW_IDLE);
}

static void a_long_poll_is_waited_for(void **state)
{
    struct wire *w = wire_of(state);
    struct wire_talk t = answered(w);
    wire_wait(w, 2 * MINUTE);
    wire_pass(w, &t, FROM_CLIENT, TCP_ACK | TCP_PSH, wire_request);
    wire_pass(w, &t, FROM_BACKEND, TCP_ACK, "");
    wire_wait(w, 14 * MINUTE);
    wire_pass(w, &t, FROM_BACKEND, TCP_ACK | TCP_PSH, "HTTP/1.1 204 No Content\r\n\r\n");
    wire_pass(w, &t, FROM_CLIENT, TCP_ACK, "");
    assert_int_equal(evictions(w), 0);
    wire_quiet(w);
}

static void but_not_for_ever(void **state)
{
    struct wire *w = wire_of(state);
    struct wire_talk t = asked(w);
    const uint64_t begun = w->now_ms;
    w->limits.idle_ms = 60 * MINUTE;
    wait_for_frame(w, 20 * MINUTE);
    assert_in_range(w->now_ms - begun, 15 * MINUTE - SLOW_UNIT_MS, 15 * MINUTE + SECOND);
    expect_reset(w, &t, VERDICT_SLOW_ANSWER);
}

static void a_quiet_flow_costs_no_looks(void **state)
{
    struct wire *w = wire_of(state);
    answered(w);
    wire_wait(w, 2 * MINUTE); /* it has been seen to be quiet */
    uint32_t fired = 0;
    for (int i = 0; i < 180; i++) {
        w->now_ms += SECOND;
        w->unix_ms += SECOND;
        wire_begin(w);
        fired += shard_tick(w->shard);
    }
    assert_int_equal(fired, 0);
}

/* ---- observed ---- */

static void what_is_observed_is_counted_once_and_lives(void **state)
{
    struct wire *w = wire_of(state);
    struct wire_talk t = wire_talk(w);
    w->limits.slow.observe = true;
    wire_open(w, &t);
    for (int i = 0; i < 60; i++) {
        wire_pass(w, &t, FROM_CLIENT, TCP_ACK | TCP_PSH, "b");
        wire_pass(w, &t, FROM_BACKEND, TCP_ACK, "");
        wire_wait(w, 9 * SECOND);
    }
    assert_int_equal(counted(w, VERDICT_SLOW_BODY_OBSERVED), 1);
    assert_int_equal(evictions(w), 0);
    wire_pass(w, &t, FROM_CLIENT, TCP_ACK, kilobyte);
}

static void the_head_behind_an_observed_one_is_looked_at(void **state)
{
    struct wire *w = wire_of(state);
    struct wire_talk t = answered(w);
    w->limits.slow.observe = true;
    for (int i = 0; i < 3; i++) {
        wire_pass(w, &t, FROM_CLIENT, TCP_ACK | TCP_PSH, "GET / HTT");
        wire_pass(w, &t, FROM_BACKEND, TCP_ACK, "");
        wire_wait(w, 3 * MINUTE);
        wire_pass(w, &t, FROM_CLIENT, TCP_ACK | TCP_PSH, "P/1.1\r\nHost: shop.example\r\n\r\n");
        wire_pass(w, &t, FROM_BACKEND, TCP_ACK | TCP_PSH, "HTTP/1.1 204 No Content\r\n\r\n");
        wire_pass(w, &t, FROM_CLIENT, TCP_ACK, "");
    }
    assert_int_equal(counted(w, VERDICT_SLOW_HEAD_OBSERVED), 3);
}

#define SLOW_TEST(f)                                  \
    {#f "[IPv4]", f, setup_v4, wire_teardown, NULL},  \
    {                                                 \
#f "[IPv6]", f, setup_v6, wire_teardown, NULL \
    }

int main(void)
{
    const struct CMUnitTest tests[] = {
        SLOW_TEST(a_later_head_that_drips_is_reset_in_time),
        SLOW_TEST(a_head_that_ends_in_time_makes_room_for_the_next),
        SLOW_TEST(a_head_that_the_backend_has_no_room_for_is_not_its_clients_fault),
        SLOW_TEST(an_upload_at_2_kb_per_second_is_left_alone),
        SLOW_TEST(an_upload_through_a_tunnel_is_left_alone),
        SLOW_TEST(a_body_that_drips_is_reset_behind_a_window),
        SLOW_TEST(a_fin_that_ends_nothing_does_not_stop_the_clock_of_a_body),
        SLOW_TEST(a_body_is_not_complete_as_long_as_it_has_a_hole),
        SLOW_TEST(a_body_whose_hole_has_been_filled_is_complete),
        SLOW_TEST(no_rate_makes_a_body_last_for_ever),
        SLOW_TEST(a_backend_without_room_is_not_its_clients_fault),
        SLOW_TEST(a_reader_that_pauses_for_5_seconds_is_left_alone),
        SLOW_TEST(a_reader_of_2_kb_per_second_is_left_alone),
        SLOW_TEST(a_reader_of_10_bytes_per_second_is_reset),
        SLOW_TEST(a_tiny_window_opened_again_and_again_does_not_help),
        SLOW_TEST(a_client_that_never_opens_its_window_is_reset),
        SLOW_TEST(a_stream_of_few_events_is_left_alone),
        SLOW_TEST(a_download_at_full_speed_may_last),
        SLOW_TEST(a_client_that_has_closed_must_still_read),
        SLOW_TEST(an_answer_behind_a_long_wait_must_be_read_too),
        SLOW_TEST(requests_in_pieces_do_not_hide_who_does_not_read),
        SLOW_TEST(who_uploads_must_read_as_well),
        SLOW_TEST(a_browsers_idle_connection_is_left_alone),
        SLOW_TEST(keep_alives_do_not_extend_an_idle_connection),
        SLOW_TEST(a_long_poll_is_waited_for),
        SLOW_TEST(but_not_for_ever),
        SLOW_TEST(a_quiet_flow_costs_no_looks),
        SLOW_TEST(what_is_observed_is_counted_once_and_lives),
        SLOW_TEST(the_head_behind_an_observed_one_is_looked_at),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
