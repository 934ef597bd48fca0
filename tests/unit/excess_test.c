/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026, the Dropgate authors
 *
 * Segments that move nothing: as many as honest stacks send pass, whatever is under way, and a
 * flood of them does not. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
// clang-format off
#include <cmocka.h>
// clang-format on

#include "tests/unit/flood.h"

enum { SECOND = 1000 };

static char block[1449];
static const char last_request[] = "GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";

static struct wire_talk open_talk(struct wire *w)
{
    struct wire_talk t = wire_talk(w);
    memset(block, 'd', sizeof block - 1);
    wire_open(w, &t);
    return t;
}

/* So many copies of a client's segment arrive; returns how many went on. */
static uint32_t flood(struct wire *w, const struct wire_segment *segment, uint32_t count)
{
    return flood_send(w, segment, count, 0, VERDICT_FORWARDED);
}

static void a_flood_of_duplicate_acknowledgements_is_dropped(void **state)
{
    struct wire *w = wire_of(state);
    struct wire_talk t = open_talk(w);
    const struct wire_segment ack = wire_segment(&t, FROM_CLIENT, TCP_ACK);
    flood_expect_limited(flood(w, &ack, FLOOD), 0);
    assert_int_equal(w->shard->verdicts[VERDICT_EXCESS],
                     FLOOD - (w->shard->verdicts[VERDICT_FORWARDED] - 1));
    wire_pass(w, &t, FROM_CLIENT, TCP_ACK, "what moves something goes on");
    wire_pass(w, &t, FROM_BACKEND, TCP_ACK, "and so does the backend");
    wire_pass(w, &t, FROM_CLIENT, TCP_ACK, "");
    wire_pass(w, &t, FROM_CLIENT, TCP_RST, "");
}

static void a_flood_of_old_data_is_dropped(void **state)
{
    struct wire *w = wire_of(state);
    struct wire_talk t = open_talk(w);
    const struct wire_segment old = wire_data(&t, FROM_CLIENT, TCP_ACK, block);
    wire_pass(w, &t, FROM_CLIENT, TCP_ACK, block);
    wire_pass(w, &t, FROM_BACKEND, TCP_ACK, "");
    flood_expect_limited(flood(w, &old, FLOOD), 0);
}

/* The kept-alive connection of `request`, which its backend has. */
static struct wire_talk open_http(struct wire *w, const char *request)
{
    struct wire_talk t = wire_talk(w);
    wire_handshake(w, &t);
    wire_ask(w, &t, request);
    wire_accept(w, &t);
    wire_pass(w, &t, FROM_BACKEND, TCP_ACK, "");
    wire_quiet(w);
    return t;
}

static void what_is_dropped_buys_nothing(void **state)
{
    enum { ROUNDS = 20, AHEAD = 9000 };
    struct wire *w = wire_of(state);
    struct wire_talk t = open_http(w, wire_request);
    const struct wire_segment ack = wire_segment(&t, FROM_CLIENT, TCP_ACK);
    struct wire_segment gap = wire_data(&t, FROM_CLIENT, TCP_ACK, "G");
    gap.seq += AHEAD;
    uint32_t passed = 0;
    for (int i = 0; i < ROUNDS; i++) {
        passed += flood(w, &ack, FLOOD / ROUNDS);
        assert_int_equal(wire_send(w, &gap, FROM_CLIENT), VERDICT_SCAN_GAP);
        wire_quiet(w);
    }
    flood_expect_limited(passed, 0);
}

static void a_byte_behind_a_hole_is_one_byte(void **state)
{
    enum { ROUNDS = 6, AHEAD = 9000 };
    struct wire *w = wire_of(state);
    struct wire_talk t = open_talk(w);
    const struct wire_segment ack = wire_segment(&t, FROM_CLIENT, TCP_ACK);
    struct wire_segment body = wire_data(&t, FROM_CLIENT, TCP_ACK, "b");
    uint32_t passed = 0;
    for (int i = 0; i < ROUNDS; i++) {
        passed += flood(w, &ack, FLOOD / ROUNDS);
        body.seq += AHEAD;
        assert_int_equal(flood(w, &body, 1), 1);
    }
    assert_in_range(passed, FLOOD_BURST / 2, 2 * (FLOOD_BURST + ROUNDS * 4 * 8));
}

/* Copies of a segment behind the last request arrive; returns how many of them were answered. */
static uint32_t flood_behind(struct wire *w, const struct wire_segment *segment, uint32_t count)
{
    return flood_send(w, segment, count, 0, VERDICT_AFTER_LAST);
}

static void behind_a_hole_after_the_last_request_neither(void **state)
{
    enum { ROUNDS = 20, AHEAD = 9000 };
    struct wire *w = wire_of(state);
    struct wire_talk t = open_http(w, last_request);
    const struct wire_segment ack = wire_segment(&t, FROM_CLIENT, TCP_ACK);
    struct wire_segment gap = wire_data(&t, FROM_CLIENT, TCP_ACK, "b");
    gap.seq += AHEAD;
    uint32_t passed = 0;
    for (int i = 0; i < ROUNDS; i++) {
        passed += flood(w, &ack, FLOOD / ROUNDS);
        flood_behind(w, &gap, 1);
    }
    flood_expect_limited(passed, 0);
}

static void a_flood_behind_a_hole_after_the_last_request_is_dropped(void **state)
{
    struct wire *w = wire_of(state);
    struct wire_talk t = open_http(w, last_request);
    struct wire_segment gap = wire_data(&t, FROM_CLIENT, TCP_ACK, "b");
    gap.seq++;
    flood_expect_limited(flood_behind(w, &gap, FLOOD), 0);
    for (uint16_t i = 0; i < FLOOD / 10; i++) { /* what is new is answered for ever */
        const struct wire_segment next = wire_data(&t, FROM_CLIENT, TCP_ACK, "n");
        assert_int_equal(flood_behind(w, &next, 1), 1);
        t.client.next++;
    }
}

static void moving_a_little_buys_little(void **state)
{
    struct wire *w = wire_of(state);
    struct wire_talk t = open_talk(w);
    uint32_t passed = 0;
    for (int i = 0; i < 20; i++) {
        const struct wire_segment ack = wire_segment(&t, FROM_CLIENT, TCP_ACK);
        passed += flood(w, &ack, FLOOD / 20);
        wire_pass(w, &t, FROM_CLIENT, TCP_ACK, "b");
        wire_pass(w, &t, FROM_BACKEND, TCP_ACK, "");
    }
    assert_in_range(passed, FLOOD_BURST / 2, 2 * (FLOOD_BURST + 20 * 4 * 8));
}

static void with_time_some_pass_again(void **state)
{
    struct wire *w = wire_of(state);
    struct wire_talk t = open_talk(w);
    const struct wire_segment ack = wire_segment(&t, FROM_CLIENT, TCP_ACK);
    flood(w, &ack, FLOOD);
    wire_wait(w, SECOND);
    assert_in_range(flood(w, &ack, FLOOD), 20, 120);
}

/* Nothing else comes of the connection meanwhile: its backend thinks. */
static void and_no_more_than_some_while_nothing_else_comes(void **state)
{
    enum { STEP = 1, SECONDS = FLOOD * STEP / SECOND };
    struct wire *w = wire_of(state);
    struct wire_talk t = open_http(w, last_request);
    const struct wire_segment more = wire_data(&t, FROM_CLIENT, TCP_ACK, "m");
    flood_expect_limited(flood_send(w, &more, FLOOD, STEP, VERDICT_AFTER_LAST), SECONDS);
}

static void nor_once_the_connection_has_closed(void **state)
{
    enum { STEP = 1, COUNT = 8000, SECONDS = COUNT * STEP / SECOND };
    struct wire *w = wire_of(state);
    struct wire_talk t = open_talk(w);
    w->limits.linger_ms = 2 * COUNT * STEP;
    wire_begin(w);
    wire_close(w, &t, FROM_CLIENT);
    const struct wire_segment ack = wire_segment(&t, FROM_CLIENT, TCP_ACK);
    const uint32_t passed = flood_send(w, &ack, COUNT, STEP, VERDICT_FORWARDED);
    wire_expect_tables(w, 1, 0);
    flood_expect_limited(passed, SECONDS);
}

static void the_backend_is_not_limited(void **state)
{
    struct wire *w = wire_of(state);
    struct wire_talk t = open_talk(w);
    for (int i = 0; i < 1000; i++)
        wire_pass(w, &t, FROM_BACKEND, TCP_ACK, "");
}

static void what_is_observed_is_counted_and_passes(void **state)
{
    struct wire *w = wire_of(state);
    struct wire_talk t = open_talk(w);
    w->limits.excess_observe = true;
    wire_begin(w);
    const struct wire_segment ack = wire_segment(&t, FROM_CLIENT, TCP_ACK);
    assert_int_equal(flood(w, &ack, FLOOD), FLOOD);
    assert_in_range(w->shard->verdicts[VERDICT_EXCESS_OBSERVED], FLOOD - 2 * FLOOD_BURST,
                    FLOOD - FLOOD_BURST / 2);
}

/* ---- honest ---- */

static void a_keep_alive_each_second_passes_for_ever(void **state)
{
    struct wire *w = wire_of(state);
    struct wire_talk t = open_talk(w);
    for (int i = 0; i < 3600; i++) {
        struct wire_segment probe = wire_segment(&t, FROM_CLIENT, TCP_ACK);
        probe.seq--;
        assert_int_equal(flood(w, &probe, 1), 1);
        wire_pass(w, &t, FROM_BACKEND, TCP_ACK, "");
        wire_wait(w, SECOND);
    }
}

static void probes_of_a_closed_window_pass(void **state)
{
    struct wire *w = wire_of(state);
    struct wire_talk t = open_talk(w);
    uint32_t wait = 200;
    for (int i = 0; i < 100; i++) {
        struct wire_segment probe = wire_segment(&t, FROM_CLIENT, TCP_ACK);
        probe.seq--;
        assert_int_equal(flood(w, &probe, 1), 1);
        wire_wait(w, wait);
        wait = wait < 30000 ? wait * 2 : wait;
    }
}

/* The first of a window's segments is lost; each of the others is answered by a duplicate, and so
 * is what is sent again twice over: before anything moves. */
static void recover(struct wire *w, struct wire_talk *t, uint32_t segments, uint32_t size)
{
    const uint32_t expects = t->client.expects;
    char text[1449];
    memset(text, 'd', size);
    text[size] = '\0';
    for (uint32_t i = 0; i < segments; i++)
        wire_pass(w, t, FROM_BACKEND, TCP_ACK, text);
    const uint32_t all = t->client.expects;
    t->client.expects = expects;
    const struct wire_segment duplicate = wire_segment(t, FROM_CLIENT, TCP_ACK);
    assert_int_equal(flood(w, &duplicate, 2 * segments), 2 * segments);
    t->client.expects = all;
    wire_pass(w, t, FROM_CLIENT, TCP_ACK, "");
}

static void recovery_over_a_large_window_is_never_cut(void **state)
{
    struct wire *w = wire_of(state);
    struct wire_talk t = wire_talk(w);
    memset(block, 'd', sizeof block - 1);
    t.client.scale = 10; /* 64 MB */
    wire_open(w, &t);
    t.client.window = 65535;
    wire_pass(w, &t, FROM_CLIENT, TCP_ACK, "");
    for (uint32_t segments = 8; segments <= 40000; segments *= 3)
        recover(w, &t, segments, 1448);
}

static void recovery_with_small_segments_is_never_cut(void **state)
{
    struct wire *w = wire_of(state);
    struct wire_talk t = open_talk(w);
    for (int i = 0; i < 100; i++)
        recover(w, &t, 400, 20);
}

static void a_window_of_data_sent_again_passes(void **state)
{
    struct wire *w = wire_of(state);
    struct wire_talk t = open_talk(w);
    uint32_t count = 0;
    const struct wire_segment first = wire_data(&t, FROM_CLIENT, TCP_ACK, block);
    while (count < 40) {
        wire_pass(w, &t, FROM_CLIENT, TCP_ACK, block);
        count++;
    }
    for (uint32_t i = 0; i < count; i++) { /* each once, and the first again by the timer */
        struct wire_segment again = first;
        again.seq += i * first.length;
        assert_int_equal(flood(w, &again, 2), 2);
    }
}

/* ---- acknowledgements of nothing ---- */

static enum verdict acknowledge(struct wire *w, const struct wire_talk *t, uint32_t ahead)
{
    struct wire_segment ack = wire_segment(t, FROM_CLIENT, TCP_ACK);
    ack.ack += ahead;
    return wire_send(w, &ack, FROM_CLIENT);
}

static void who_acknowledges_what_was_never_sent_is_struck_once_for_a_run(void **state)
{
    struct wire *w = wire_of(state);
    struct wire_talk t = open_talk(w);
    for (uint32_t i = 1; i <= 3; i++)
        assert_int_equal(acknowledge(w, &t, i * 1448), VERDICT_ACK_UNSENT);
    assert_int_equal(w->shard->verdicts[VERDICT_STRIKE], 0);
    for (uint32_t i = 4; i <= 40; i++)
        assert_int_equal(acknowledge(w, &t, i * 1448), VERDICT_ACK_UNSENT);
    assert_int_equal(w->shard->verdicts[VERDICT_STRIKE], 1);
    for (int i = 0; i < 8; i++)
        wire_pass(w, &t, FROM_CLIENT, TCP_ACK, "honest for a while");
    for (uint32_t i = 1; i <= 4; i++)
        assert_int_equal(acknowledge(w, &t, i * 1448), VERDICT_ACK_UNSENT);
    assert_int_equal(w->shard->verdicts[VERDICT_STRIKE], 2);
    wire_quiet(w);
}

static void strays_of_an_earlier_connection_are_no_offence(void **state)
{
    struct wire *w = wire_of(state);
    struct wire_talk t = open_talk(w);
    for (uint32_t i = 0; i < 20; i++) /* farther than the client ever had room for */
        assert_int_equal(acknowledge(w, &t, 70000 + i * 1448), VERDICT_ACK_UNSENT);
    t.client.clock -= 1000; /* from before what it sent last */
    for (uint32_t i = 0; i < 20; i++)
        assert_int_equal(acknowledge(w, &t, 1448), VERDICT_ACK_UNSENT);
    assert_int_equal(w->shard->verdicts[VERDICT_STRIKE], 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        WIRE_TEST(a_flood_of_duplicate_acknowledgements_is_dropped),
        WIRE_TEST(a_flood_of_old_data_is_dropped),
        WIRE_TEST(what_is_dropped_buys_nothing),
        WIRE_TEST(a_byte_behind_a_hole_is_one_byte),
        WIRE_TEST(behind_a_hole_after_the_last_request_neither),
        WIRE_TEST(a_flood_behind_a_hole_after_the_last_request_is_dropped),
        WIRE_TEST(moving_a_little_buys_little),
        WIRE_TEST(with_time_some_pass_again),
        WIRE_TEST(and_no_more_than_some_while_nothing_else_comes),
        WIRE_TEST(nor_once_the_connection_has_closed),
        WIRE_TEST(the_backend_is_not_limited),
        WIRE_TEST(what_is_observed_is_counted_and_passes),
        WIRE_TEST(a_keep_alive_each_second_passes_for_ever),
        WIRE_TEST(probes_of_a_closed_window_pass),
        WIRE_TEST(recovery_over_a_large_window_is_never_cut),
        WIRE_TEST(recovery_with_small_segments_is_never_cut),
        WIRE_TEST(a_window_of_data_sent_again_passes),
        WIRE_TEST(who_acknowledges_what_was_never_sent_is_struck_once_for_a_run),
        WIRE_TEST(strays_of_an_earlier_connection_are_no_offence),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
