/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026, the Dropgate authors
 *
 * How long a refusal is worth it: what is lost is sent again, who reads too slowly or never closes
 * is reset in the end, and a flood meanwhile is dropped. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
// clang-format off
#include <cmocka.h>
// clang-format on

#include "tests/unit/flood.h"
#include "tests/unit/refuse_talk.h"

/* ---- what is lost ---- */

static void a_lost_refusal_is_sent_again_and_reset_after_ten_seconds(void **state)
{
    struct wire *w = wire_of(state);
    struct wire_talk t = pipelined(w);
    leaves(w, &t, "");
    told(w, &t, t.client.next);
    wire_quiet(w);
    static const uint32_t again[] = {500, 1500, 3500, 7500};
    uint32_t gone = 0;
    for (size_t i = 0; i < 4; i++) {
        wire_wait(w, again[i] - gone - 20);
        wire_quiet(w);
        wire_wait(w, 120);
        gone = again[i] + 100;
        told(w, &t, t.client.next);
        wire_quiet(w);
    }
    wire_wait(w, UNREAD_MS - gone - 50);
    wire_quiet(w);
    wire_wait(w, 200);
    struct wire_segment reset = wire_out(w, INSIDE);
    assert_true(reset.flags & TCP_RST);
    assert_int_equal(reset.seq, t.server.expects);
    reset = wire_out(w, OUTSIDE);
    assert_true(reset.flags & TCP_RST);
    assert_int_equal(reset.seq, t.client.expects);
    wire_quiet(w);
    wire_expect_tables(w, 0, 0);
    assert_int_equal(w->shard->verdicts[VERDICT_REFUSAL_UNREAD], 1);
}

static void a_client_that_does_not_close_is_reset_ten_seconds_later(void **state)
{
    struct wire *w = wire_of(state);
    struct wire_talk t = pipelined(w);
    leaves(w, &t, "");
    const struct wire_segment reply = told(w, &t, t.client.next);
    wire_wait(w, 400);
    reads(w, &t, &reply);
    fin_acked(w, &t);
    wire_wait(w, UNREAD_MS - 100);
    wire_quiet(w);
    wire_wait(w, 200);
    wire_expect_tables(w, 0, 0);
    assert_int_equal(w->shard->verdicts[VERDICT_REFUSAL_UNREAD], 1);
}

/* Takes some of what has come, a byte at each step, for so long. */
static void reads_byte_by_byte(struct wire *w, struct wire_talk *t, uint32_t step_ms, uint32_t ms)
{
    for (uint32_t gone = 0; gone < ms && flows_count(w->shard->flows) != 0; gone += step_ms) {
        wire_wait(w, step_ms);
        if (flows_count(w->shard->flows) == 0)
            return;
        t->client.expects++;
        from_client(w, t, 0, "", VERDICT_REFUSAL_TAKEN);
        wire_forget_frames(w);
    }
}

/* Its backend has so many answers for it that it has not read. */
static struct wire_talk behind(struct wire *w, int answers)
{
    struct wire_talk t = pipelined(w);
    w->limits.slow.window_ms = 60000;
    w->limits.slow.rate[SLOW_DRAIN] = 256;
    wire_begin(w);
    for (int i = 0; i < answers; i++)
        says(w, &t, ANSWER, t.client.next);
    t.client.expects -= (uint32_t)answers * ANSWER_LENGTH;
    return t;
}

static void a_client_that_hardly_reads_earlier_answers_is_slow(void **state)
{
    struct wire *w = wire_of(state);
    struct wire_talk t = behind(w, 30);
    reads_byte_by_byte(w, &t, 9000, 180000);
    assert_int_equal(w->shard->verdicts[VERDICT_SLOW_DRAIN], 1);
    wire_expect_tables(w, 0, 0);
}

static void and_also_behind_the_backends_end(void **state)
{
    struct wire *w = wire_of(state);
    struct wire_talk t = behind(w, 30);
    leaves(w, &t, "");
    wire_forget_frames(w);
    reads_byte_by_byte(w, &t, 400, 180000);
    assert_int_equal(w->shard->verdicts[VERDICT_SLOW_DRAIN], 1);
    wire_expect_tables(w, 0, 0);
}

/* The refusal itself has a time of its own, which a byte now and then does not extend. */
static void a_client_that_hardly_reads_its_refusal_is_reset(void **state)
{
    static const uint32_t steps[] = {9000, 400, 100};
    struct wire *w = wire_of(state);
    for (uint32_t i = 0; i < 3; i++) {
        w->shard->requests = 0;
        struct wire_talk t = pipelined(w);
        leaves(w, &t, "");
        told(w, &t, t.client.next);
        const uint64_t begun_ms = w->now_ms;
        reads_byte_by_byte(w, &t, steps[i], 4 * UNREAD_MS);
        assert_in_range(w->now_ms - begun_ms, UNREAD_MS - 100, 3 * UNREAD_MS);
        assert_int_equal(w->shard->verdicts[VERDICT_REFUSAL_UNREAD], i + 1);
        wire_expect_tables(w, 0, 0);
        wire_forget_frames(w);
    }
}

static void one_that_reads_it_in_small_parts_over_a_long_way_has_the_time(void **state)
{
    struct wire *w = wire_of(state);
    struct wire_talk t = wire_talk(w);
    t.client.scale = COOKIE_NO_SCALE;
    wire_handshake(w, &t);
    t.client.window = 100;
    from_client(w, &t, TCP_PSH, NO, VERDICT_RULE_RATE);
    for (bool last = false; !last;) {
        const struct wire_segment part = wire_out(w, OUTSIDE);
        last = (part.flags & TCP_FIN) != 0;
        wire_wait(w, 3000);
        wire_forget_frames(w);
        t.client.expects = part.seq + part.length + (uint32_t)last;
        from_client(w, &t, 0, "", VERDICT_REFUSAL_TAKEN);
    }
    wire_wait(w, UNREAD_MS - 500);
    goes(w, &t);
}

static void one_that_waits_long_for_its_backend_is_not(void **state)
{
    struct wire *w = wire_of(state);
    struct wire_talk t = behind(w, 0);
    for (int i = 0; i < 5; i++) {
        says(w, &t, ANSWER, t.client.next);
        from_client(w, &t, 0, "", VERDICT_REFUSAL_TAKEN);
        backend_acked(w, &t, t.server.next);
        wire_wait(w, w->limits.half_closed_ms - 1000);
        wire_quiet(w);
    }
    leaves(w, &t, "");
    const struct wire_segment reply = told(w, &t, t.client.next);
    reads(w, &t, &reply);
    fin_acked(w, &t);
    goes(w, &t);
}

static void a_lost_fin_is_sent_to_the_backend_again(void **state)
{
    struct wire *w = wire_of(state);
    struct wire_talk t = pipelined(w);
    static const uint32_t again[] = {200, 600, 1400, 3000, 6200};
    uint32_t gone = 0;
    for (size_t i = 0; i < 5; i++) {
        wire_wait(w, again[i] - gone - 20);
        wire_quiet(w);
        wire_wait(w, 120);
        gone = again[i] + 100;
        t.server.expects--;
        ended(w, &t);
    }
    says(w, &t, ANSWER, t.client.next);
    wire_wait(w, 10000); /* it has acknowledged the FIN, and takes its time */
    wire_quiet(w);
    wire_expect_tables(w, 1, 0);
}

static void a_backend_that_does_not_hear_it_ends_the_connection(void **state)
{
    struct wire *w = wire_of(state);
    pipelined(w);
    for (uint32_t i = 0, ms = 200; i < 6; i++, ms *= 2)
        wire_wait(w, ms + 20);
    wire_expect_tables(w, 0, 0);
    assert_int_equal(w->shard->verdicts[VERDICT_UNDELIVERED], 1);
}

static void an_answer_lost_towards_the_client_is_still_the_backends_to_repeat(void **state)
{
    struct wire *w = wire_of(state);
    struct wire_talk t = pipelined(w);
    const struct wire_segment lost = wire_data(&t, FROM_BACKEND, TCP_ACK, ANSWER);
    assert_int_equal(wire_send(w, &lost, FROM_BACKEND), VERDICT_FORWARDED);
    wire_forget_frames(w);
    t.server.next += lost.length;
    leaves(w, &t, "");
    const struct wire_segment early = wire_out(w, OUTSIDE);
    expect_reply(&early);
    assert_int_equal(early.seq, t.client.expects + lost.length);
    /* the client lacks what went before: the backend's FIN is not acknowledged */
    from_client(w, &t, 0, "", VERDICT_REFUSAL_TAKEN);
    backend_acked(w, &t, t.server.next - 1 - lost.length);
    wire_quiet(w);
    assert_int_equal(wire_send(w, &lost, FROM_BACKEND), VERDICT_FORWARDED);
    const struct wire_segment again = wire_out(w, OUTSIDE);
    assert_int_equal(again.seq, t.client.expects);
    assert_int_equal(again.flags, TCP_ACK);
    assert_int_equal(again.length, lost.length);
    t.client.expects += lost.length;
    reads(w, &t, &early);
    fin_acked(w, &t);
    wire_quiet(w);
    goes(w, &t);
}

static void a_fin_that_the_backend_repeats_is_acknowledged_again(void **state)
{
    struct wire *w = wire_of(state);
    struct wire_talk t = pipelined(w);
    says(w, &t, ANSWER, t.client.next);
    const struct wire_segment fin = wire_data(&t, FROM_BACKEND, TCP_ACK | TCP_FIN, "");
    leaves(w, &t, "");
    const struct wire_segment reply = told(w, &t, t.client.next);
    assert_int_equal(wire_send(w, &fin, FROM_BACKEND), VERDICT_REFUSAL_TAKEN);
    wire_quiet(w); /* the client has not got the answer yet */
    reads(w, &t, &reply);
    fin_acked(w, &t);
    assert_int_equal(wire_send(w, &fin, FROM_BACKEND), VERDICT_REFUSAL_TAKEN);
    backend_acked(w, &t, t.server.next);
    wire_quiet(w);
}

/* A FIN that has overtaken the data before it has the later time. A client that has both by then
 * refuses what is older. */
static void the_refusal_is_as_new_as_all_that_came_before(void **state)
{
    struct wire *w = wire_of(state);
    struct wire_talk t = pipelined(w);
    struct wire_segment late = wire_data(&t, FROM_BACKEND, TCP_ACK, ANSWER);
    t.server.next += late.length;
    t.server.clock += 50;
    leaves(w, &t, "");
    struct wire_segment seen = wire_out(w, OUTSIDE);
    expect_reply(&seen);
    assert_int_equal(seen.options.tsval, t.server.clock - 1 + t.ts_delta);
    late.options.tsval += 100; /* sent again */
    assert_int_equal(wire_send(w, &late, FROM_BACKEND), VERDICT_FORWARDED);
    wire_forget_frames(w);
    wire_wait(w, 620);
    seen = wire_out(w, OUTSIDE);
    expect_reply(&seen);
    assert_int_equal(seen.options.tsval, late.options.tsval + t.ts_delta);
}

/* ---- floods ---- */

/* So many copies of a client's segment arrive; returns how many were taken. */
static uint32_t flood(struct wire *w, const struct wire_segment *segment, uint32_t count)
{
    return flood_send(w, segment, count, 0, VERDICT_REFUSAL_TAKEN);
}

static void a_flood_while_its_backend_answers_is_dropped(void **state)
{
    struct wire *w = wire_of(state);
    struct wire_talk t = pipelined(w);
    says(w, &t, ANSWER, t.client.next);
    const struct wire_segment ack = wire_segment(&t, FROM_CLIENT, TCP_ACK);
    const uint32_t passed = flood(w, &ack, FLOOD);
    flood_expect_limited(passed, 0);
    assert_int_equal(w->shard->verdicts[VERDICT_EXCESS], FLOOD - passed);
    says(w, &t, ANSWER, t.client.next);
    from_client(w, &t, 0, "", VERDICT_REFUSAL_TAKEN);
    backend_acked(w, &t, t.server.next);
    leaves(w, &t, "");
    const struct wire_segment reply = told(w, &t, t.client.next);
    reads(w, &t, &reply);
    fin_acked(w, &t);
    goes(w, &t);
}

static void what_lies_behind_a_hole_buys_no_more_of_it(void **state)
{
    enum { ROUNDS = 20, AHEAD = 9000 };
    struct wire *w = wire_of(state);
    struct wire_talk t = pipelined(w);
    says(w, &t, ANSWER, t.client.next);
    const struct wire_segment ack = wire_segment(&t, FROM_CLIENT, TCP_ACK);
    struct wire_segment gap = wire_data(&t, FROM_CLIENT, TCP_ACK, "b");
    gap.seq += AHEAD;
    uint32_t passed = 0;
    for (int i = 0; i < ROUNDS; i++)
        passed += flood(w, &ack, FLOOD / ROUNDS) + flood(w, &gap, 1);
    flood_expect_limited(passed, 0);
}

static void a_flood_behind_a_hole_is_dropped_too(void **state)
{
    struct wire *w = wire_of(state);
    struct wire_talk t = pipelined(w);
    says(w, &t, ANSWER, t.client.next);
    struct wire_segment gap = wire_data(&t, FROM_CLIENT, TCP_ACK, "b");
    gap.seq++;
    flood_expect_limited(flood(w, &gap, FLOOD), 0);
    for (uint32_t i = 0; i < FLOOD / 10; i++) { /* what is new is taken for ever */
        from_client(w, &t, 0, "n", VERDICT_REFUSAL_TAKEN);
        wire_forget_frames(w);
    }
}

/* Nothing else comes meanwhile. */
static void expect_limited(struct wire *w, const struct wire_segment *segment)
{
    enum { STEP_MS = 1, COUNT = 8000, SECONDS = COUNT * STEP_MS / 1000 };
    flood_expect_limited(flood_send(w, segment, COUNT, STEP_MS, VERDICT_REFUSAL_TAKEN), SECONDS);
    wire_expect_tables(w, 1, 0);
}

static void and_so_is_a_flood_on_a_refused_body(void **state)
{
    struct wire *w = wire_of(state);
    struct wire_talk t = begun(w);
    const struct wire_segment once =
        from_client(w, &t, 0, NO_POST "Content-Length: 10\r\n\r\n01234", VERDICT_RULE_RATE);
    acknowledged(w, &t, t.client.next);
    expect_limited(w, &once);
}

static void and_one_by_a_client_that_has_its_answer(void **state)
{
    struct wire *w = wire_of(state);
    struct wire_talk t = pipelined(w);
    leaves(w, &t, ANSWER);
    assert_int_equal(wire_out(w, OUTSIDE).length, ANSWER_LENGTH);
    t.client.expects += ANSWER_LENGTH;
    const struct wire_segment reply = told(w, &t, t.client.next);
    reads(w, &t, &reply);
    const struct wire_segment ack = wire_segment(&t, FROM_CLIENT, TCP_ACK);
    wire_forget_frames(w);
    expect_limited(w, &ack);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        REFUSE_TEST(a_lost_refusal_is_sent_again_and_reset_after_ten_seconds),
        REFUSE_TEST(a_client_that_does_not_close_is_reset_ten_seconds_later),
        REFUSE_TEST(a_client_that_hardly_reads_earlier_answers_is_slow),
        REFUSE_TEST(and_also_behind_the_backends_end),
        REFUSE_TEST(a_client_that_hardly_reads_its_refusal_is_reset),
        REFUSE_TEST(one_that_reads_it_in_small_parts_over_a_long_way_has_the_time),
        REFUSE_TEST(one_that_waits_long_for_its_backend_is_not),
        REFUSE_TEST(a_lost_fin_is_sent_to_the_backend_again),
        REFUSE_TEST(a_backend_that_does_not_hear_it_ends_the_connection),
        REFUSE_TEST(an_answer_lost_towards_the_client_is_still_the_backends_to_repeat),
        REFUSE_TEST(a_fin_that_the_backend_repeats_is_acknowledged_again),
        REFUSE_TEST(the_refusal_is_as_new_as_all_that_came_before),
        REFUSE_TEST(a_flood_while_its_backend_answers_is_dropped),
        REFUSE_TEST(what_lies_behind_a_hole_buys_no_more_of_it),
        REFUSE_TEST(a_flood_behind_a_hole_is_dropped_too),
        REFUSE_TEST(and_so_is_a_flood_on_a_refused_body),
        REFUSE_TEST(and_one_by_a_client_that_has_its_answer),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
