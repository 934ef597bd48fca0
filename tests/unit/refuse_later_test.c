/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026, the Dropgate authors
 *
 * A later request of a connection is refused: behind earlier answers, when its head came in pieces,
 * when there is no room to keep them; and how such connections end. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
// clang-format off
#include <cmocka.h>
// clang-format on

#include "tests/unit/refuse_talk.h"

/* ---- on open connections ---- */

static void on_a_kept_connection_a_fin_takes_its_place(void **state)
{
    struct wire *w = wire_of(state);
    struct wire_talk t = idle(w);
    const uint64_t refused = w->shard->verdicts[VERDICT_RULE_RATE];
    says(w, &t, ANSWER, t.client.next);
    from_client(w, &t, TCP_PSH, NO, VERDICT_AFTER_LAST);
    assert_int_equal(w->shard->verdicts[VERDICT_RULE_RATE], refused + 1);
    ended_and_acknowledged(w, &t, t.client.next);
    leaves(w, &t, "");
    const struct wire_segment reply = told(w, &t, t.client.next);
    wire_quiet(w);
    reads(w, &t, &reply);
    fin_acked(w, &t);
    wire_quiet(w);
    goes(w, &t);
    assert_int_equal(w->shard->requests, 1);
}

static void behind_an_accepted_request_the_first_answer_arrives_whole(void **state)
{
    struct wire *w = wire_of(state);
    struct wire_talk t = pipelined(w);
    says(w, &t, ANSWER, t.client.next);
    says(w, &t, ANSWER, t.client.next);
    from_client(w, &t, 0, "", VERDICT_REFUSAL_TAKEN);
    backend_acked(w, &t, t.server.next);
    leaves(w, &t, ANSWER);
    const struct wire_segment last = wire_out(w, OUTSIDE);
    assert_int_equal(last.flags, TCP_ACK);
    assert_int_equal(last.length, ANSWER_LENGTH);
    t.client.expects += ANSWER_LENGTH;
    const struct wire_segment reply = told(w, &t, t.client.next);
    wire_quiet(w);
    reads(w, &t, &reply);
    fin_acked(w, &t);
    goes(w, &t);
}

static void in_the_first_segment_too(void **state)
{
    struct wire *w = wire_of(state);
    struct wire_talk t = begun(w);
    wire_ask(w, &t, GET NO);
    assert_int_equal(w->shard->verdicts[VERDICT_RULE_RATE], 1);
    const struct wire_segment held = wire_accept(w, &t);
    assert_int_equal(held.length, sizeof GET - 1);
    assert_int_equal(held.flags & TCP_FIN, 0);
    ended(w, &t);
    wire_quiet(w);
    says(w, &t, ANSWER, t.client.next - NO_LENGTH);
    t.client.next -= NO_LENGTH; /* it has to send that again */
    from_client(w, &t, 0, NO, VERDICT_REFUSAL_TAKEN);
    acknowledged(w, &t, t.client.next);
    backend_acked(w, &t, t.server.next);
    leaves(w, &t, "");
    const struct wire_segment reply = told(w, &t, t.client.next);
    reads(w, &t, &reply);
    fin_acked(w, &t);
    goes(w, &t);
}

static void while_the_backend_is_opened_too(void **state)
{
    struct wire *w = wire_of(state);
    struct wire_talk t = begun(w);
    wire_ask(w, &t, GET);
    from_client(w, &t, TCP_PSH, NO, VERDICT_HELD);
    from_client(w, &t, TCP_PSH, GET, VERDICT_HELD); /* too late to be judged */
    assert_int_equal(asked, 2);
    assert_int_equal(wire_accept(w, &t).length, sizeof GET - 1);
    ended(w, &t);
    wire_quiet(w);
}

/* What the gateway has acknowledged is delivered before the FIN follows it. */
static void behind_a_head_in_pieces_once_that_is_delivered(void **state)
{
    struct wire *w = wire_of(state);
    struct wire_talk t = begun(w);
    from_client(w, &t, TCP_PSH, "GET / HTT", VERDICT_READING);
    acknowledged(w, &t, t.client.next);
    wire_ask(w, &t, GET + 9);
    assert_int_equal(wire_accept(w, &t).length, sizeof GET - 1);
    from_client(w, &t, TCP_PSH, NO, VERDICT_AFTER_LAST);
    wire_forget_frames(w);
    const struct wire_segment s = wire_data(&t, FROM_BACKEND, TCP_ACK, "");
    wire_send(w, &s, FROM_BACKEND);
    ended_and_acknowledged(w, &t, t.client.next - NO_LENGTH);
    from_client(w, &t, 0, "", VERDICT_REFUSAL_TAKEN); /* its bytes are to come again */
    wire_forget_frames(w);
    leaves(w, &t, "");
    told(w, &t, t.client.next - NO_LENGTH);
}

static void a_backend_that_ends_before_that_has_the_last_word(void **state)
{
    struct wire *w = wire_of(state);
    struct wire_talk t = begun(w);
    from_client(w, &t, TCP_PSH, "GET / HTT", VERDICT_READING);
    acknowledged(w, &t, t.client.next);
    wire_ask(w, &t, GET + 9);
    wire_accept(w, &t);
    from_client(w, &t, TCP_PSH, NO, VERDICT_AFTER_LAST);
    wire_forget_frames(w);
    wire_pass(w, &t, FROM_BACKEND, TCP_ACK | TCP_FIN, ANSWER);
    wire_quiet(w); /* no FIN of ours */
    assert_int_equal(flow_at(w->shard->flows, 0)->state, FLOW_BACKEND_FIN);
}

static void a_head_whose_beginning_has_gone_on_ends_there(void **state)
{
    struct wire *w = wire_of(state);
    struct wire_talk t = idle(w);
    says(w, &t, ANSWER, t.client.next);
    wire_pass(w, &t, FROM_CLIENT, TCP_ACK, "GET /n");
    wire_expect_tables(w, 1, 1);
    wire_pass(w, &t, FROM_CLIENT, TCP_ACK, "o HTTP/1.1\r\n");
    wire_expect_tables(w, 1, 1);
    const struct wire_segment ack = wire_data(&t, FROM_BACKEND, TCP_ACK, "");
    assert_int_equal(wire_send(w, &ack, FROM_BACKEND), VERDICT_FORWARDED);
    wire_forget_frames(w);
    from_client(w, &t, TCP_PSH, "Host: abc\r\n\r\n", VERDICT_AFTER_LAST);
    assert_string_equal(last_path, "/no");
    assert_string_equal(last_host, "abc");
    ended_and_acknowledged(w, &t, t.client.next);
    wire_expect_tables(w, 1, 0);
    leaves(w, &t, "");
    const struct wire_segment reply = told(w, &t, t.client.next);
    reads(w, &t, &reply);
    fin_acked(w, &t);
    goes(w, &t);
}

static void a_head_in_pieces_that_may_pass_leaves_nothing_aside(void **state)
{
    struct wire *w = wire_of(state);
    struct wire_talk t = idle(w);
    wire_pass(w, &t, FROM_CLIENT, TCP_ACK, "GET / HT");
    wire_expect_tables(w, 1, 1);
    wire_pass(w, &t, FROM_CLIENT, TCP_ACK, "TP/1.1\r\nHost: b\r\n\r\nGET ");
    assert_string_equal(last_host, "b");
    wire_expect_tables(w, 1, 1); /* of the next */
    wire_pass(w, &t, FROM_CLIENT, TCP_ACK, "/c HTTP/1.1\r\nHost: b\r\n\r\n");
    assert_string_equal(last_path, "/c");
    wire_expect_tables(w, 1, 0);
    assert_int_equal(w->shard->requests, 3);
}

static void a_head_that_begins_with_the_first_request_is_kept_aside(void **state)
{
    struct wire *w = wire_of(state);
    struct wire_talk t = begun(w);
    wire_ask(w, &t, GET "GET /n");
    wire_accept(w, &t);
    wire_expect_tables(w, 1, 1);
    from_client(w, &t, TCP_PSH, "o HTTP/1.1\r\nHost: z\r\n\r\n", VERDICT_AFTER_LAST);
    assert_string_equal(last_path, "/no");
    assert_string_equal(last_host, "z");
    wire_expect_tables(w, 1, 0);
}

static void a_long_head_in_pieces_moves_to_a_larger_place(void **state)
{
    struct wire *w = wire_of(state);
    struct wire_talk t = idle(w);
    static char field[1201];
    snprintf(field, sizeof field, "X: %01194d\r\n", 0);
    wire_pass(w, &t, FROM_CLIENT, TCP_ACK, "GET /no HTTP/1.1\r\nHost: long\r\n");
    for (int i = 0; i < 4; i++)
        wire_pass(w, &t, FROM_CLIENT, TCP_ACK, field);
    wire_expect_tables(w, 1, 1);
    from_client(w, &t, TCP_PSH, "\r\n", VERDICT_AFTER_LAST);
    assert_string_equal(last_host, "long");
    wire_expect_tables(w, 1, 0);
}

/* ---- what there is no room for ---- */

static struct wire *tight_rig(void **state, uint32_t held)
{
    const struct shard_sizes sizes = {.flows = 8,
                                      .tombstones = 64,
                                      .held = held,
                                      .held_large = 1,
                                      .held_bytes = 8192,
                                      .clients = 64,
                                      .bans = 16};
    struct wire *w = wire_of(state);
    const enum wire_family family = w->family;
    wire_free(w);
    *state = w = wire_new(family, &sizes);
    return w;
}

/* Larger entries are there for none of these. */
static struct wire *small_rig(void **state)
{
    return tight_rig(state, 1);
}

static void a_head_that_finds_no_place_comes_again(void **state)
{
    struct wire *w = small_rig(state);
    struct wire_talk t = idle(w), other = begun(w);
    wire_ask(w, &other, GET); /* takes the only place, and cannot be moved */
    const struct wire_segment half = wire_data(&t, FROM_CLIENT, TCP_ACK | TCP_PSH, "GET /no");
    assert_int_equal(wire_send(w, &half, FROM_CLIENT), VERDICT_HELD_FULL);
    wire_quiet(w);
    wire_accept(w, &other);
    wire_forget_frames(w);
    assert_int_equal(wire_send(w, &half, FROM_CLIENT), VERDICT_FORWARDED);
    wire_forget_frames(w);
    wire_expect_tables(w, 2, 1);
}

/* What was complete before it goes on, and is asked for once. */
static void a_head_that_finds_no_place_keeps_back_nothing_before_it(void **state)
{
    static const char post[] = "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nxx";
    struct wire *w = small_rig(state);
    struct wire_talk t = idle(w), other = begun(w);
    wire_ask(w, &other, GET);
    const unsigned before = asked;
    char all[256];
    snprintf(all, sizeof all, "%s%s%s", GET, post, "GET /no");
    const uint16_t complete = sizeof GET - 1 + sizeof post - 1;
    const struct wire_segment s = wire_data(&t, FROM_CLIENT, TCP_ACK | TCP_PSH, all);
    assert_int_equal(wire_send(w, &s, FROM_CLIENT), VERDICT_FORWARDED);
    struct wire_segment seen = wire_out(w, INSIDE);
    assert_int_equal(seen.seq, t.server.expects);
    assert_int_equal(seen.length, complete);
    assert_memory_equal(seen.payload, all, complete);
    assert_int_equal(asked, before + 2);
    wire_accept(w, &other);
    wire_forget_frames(w);
    assert_int_equal(wire_send(w, &s, FROM_CLIENT), VERDICT_FORWARDED); /* all of it again */
    seen = wire_out(w, INSIDE);
    assert_int_equal(seen.length, strlen(all));
    assert_int_equal(asked, before + 2);
    t.client.next += (uint32_t)strlen(all);
    const struct wire_segment rest =
        wire_data(&t, FROM_CLIENT, TCP_ACK | TCP_PSH, " HTTP/1.1\r\nHost: a\r\n\r\n");
    wire_send(w, &rest, FROM_CLIENT);
    assert_int_equal(asked, before + 3);
    assert_string_equal(last_path, "/no");
}

/* A header field of so many bytes. */
static const char *long_field(uint32_t length)
{
    static char text[1401];
    snprintf(text, sizeof text, "X: %0*d\r\n", (int)length - 5, 0);
    return text;
}

/* Nor is anything of it kept: what is judged is the copy that goes on. */
static void a_head_that_finds_no_larger_place_comes_again(void **state)
{
    struct wire *w = tight_rig(state, 2);
    struct wire_talk t = idle(w), other = begun(w);
    from_client(w, &other, 0, "GET / HTTP/1.1\r\nHost: a\r\n", VERDICT_READING);
    from_client(w, &other, 0, long_field(1400), VERDICT_READING);
    from_client(w, &other, 0, long_field(200), VERDICT_READING);
    from_client(w, &other, 0, "\r\n", VERDICT_OPENED); /* takes the only large one */
    wire_forget_frames(w);
    wire_pass(w, &t, FROM_CLIENT, TCP_ACK, "GET /no HTTP/1.1\r\n");
    wire_pass(w, &t, FROM_CLIENT, TCP_ACK, long_field(1400));
    char more[1440];
    snprintf(more, sizeof more, "Host: one\r\n%s", long_field(700));
    struct wire_segment s = wire_data(&t, FROM_CLIENT, TCP_ACK, more);
    assert_int_equal(wire_send(w, &s, FROM_CLIENT), VERDICT_HELD_FULL);
    wire_quiet(w);
    struct wire_segment rst = wire_segment(&other, FROM_CLIENT, TCP_RST | TCP_ACK);
    assert_int_equal(wire_send(w, &rst, FROM_CLIENT), VERDICT_FLOW_RESET);
    wire_forget_frames(w);
    memcpy(more, "Host: two", 9);
    wire_pass(w, &t, FROM_CLIENT, TCP_ACK, more);
    from_client(w, &t, TCP_PSH, "\r\n", VERDICT_AFTER_LAST);
    assert_string_equal(last_host, "two");
}

/* Its backend has seen a part of it, so both ends are told, each at the number that it expects:
 * with what the client has not acknowledged yet. */
static void a_head_that_loses_its_place_ends_its_connection(void **state)
{
    struct wire *w = small_rig(state);
    struct wire_talk t = idle(w);
    wire_pass(w, &t, FROM_CLIENT, TCP_ACK, "GET /no");
    says(w, &t, ANSWER, t.server.expects);
    struct wire_talk other = begun(w);
    const struct wire_segment data = wire_data(&other, FROM_CLIENT, TCP_ACK | TCP_PSH, GET);
    assert_int_equal(wire_send(w, &data, FROM_CLIENT), VERDICT_OPENED);
    uint32_t inside = 0, outside = 0;
    while (wire_pending(w) > 1) {
        const bool in = w->frames[w->taken].to == INSIDE;
        const struct wire_segment seen = wire_out(w, in ? INSIDE : OUTSIDE);
        assert_true(seen.flags & TCP_RST);
        inside += in && seen.seq == t.server.expects;
        outside += !in && seen.seq == t.client.expects;
    }
    assert_true(inside > 0 && outside > 0);
    assert_int_equal(w->shard->verdicts[VERDICT_HELD_EVICTED], 1);
    wire_expect_tables(w, 1, 1);
}

/* ---- ends ---- */

static void a_client_that_ends_with_the_refused_request_is_acknowledged_by_us(void **state)
{
    struct wire *w = wire_of(state);
    struct wire_talk t = idle(w);
    says(w, &t, ANSWER, t.client.next);
    from_client(w, &t, TCP_PSH | TCP_FIN, NO, VERDICT_AFTER_LAST);
    ended_and_acknowledged(w, &t, t.client.next);
    leaves(w, &t, "");
    const struct wire_segment reply = told(w, &t, t.client.next);
    reads(w, &t, &reply);
    fin_acked(w, &t);
    gone(w);
}

static void behind_a_backend_that_has_ended_nothing_follows(void **state)
{
    struct wire *w = wire_of(state);
    struct wire_talk t = idle(w);
    wire_pass(w, &t, FROM_BACKEND, TCP_ACK | TCP_FIN, ANSWER);
    from_client(w, &t, TCP_PSH, NO, VERDICT_AFTER_LAST);
    wire_forget_frames(w);
    assert_int_equal(flow_at(w->shard->flows, 0)->refusal, REFUSAL_NONE);
    const struct wire_segment fin = wire_segment(&t, FROM_CLIENT, TCP_FIN | TCP_ACK);
    assert_int_equal(wire_send(w, &fin, FROM_CLIENT), VERDICT_FORWARDED);
    const struct wire_segment seen = wire_out(w, INSIDE);
    assert_int_equal(seen.flags, TCP_FIN | TCP_ACK);
    assert_int_equal(seen.seq, t.server.expects);
}

static void a_client_may_reset_it(void **state)
{
    struct wire *w = wire_of(state);
    struct wire_talk t = pipelined(w);
    struct wire_segment reset = wire_segment(&t, FROM_CLIENT, TCP_RST);
    reset.seq += 5;
    assert_int_equal(wire_send(w, &reset, FROM_CLIENT), VERDICT_STATE);
    reset.seq -= 5;
    assert_int_equal(wire_send(w, &reset, FROM_CLIENT), VERDICT_FLOW_RESET);
    bool exact = false;
    while (wire_pending(w) > 0)
        exact |= wire_out(w, INSIDE).seq == t.server.expects;
    assert_true(exact);
    wire_expect_tables(w, 0, 0);
}

static void a_backend_that_resets_takes_its_answers_along(void **state)
{
    struct wire *w = wire_of(state);
    struct wire_talk t = pipelined(w);
    const struct wire_segment reset = wire_segment(&t, FROM_BACKEND, TCP_RST | TCP_ACK);
    assert_int_equal(wire_send(w, &reset, FROM_BACKEND), VERDICT_FLOW_RESET);
    assert_true(wire_out(w, OUTSIDE).flags & TCP_RST);
    wire_expect_tables(w, 0, 0);
}

static void a_reset_behind_answers_that_are_lost_may_be_challenged(void **state)
{
    struct wire *w = wire_of(state);
    struct wire_talk t = pipelined(w);
    struct wire_segment s = wire_data(&t, FROM_BACKEND, TCP_ACK, ANSWER);
    assert_int_equal(wire_send(w, &s, FROM_BACKEND), VERDICT_FORWARDED);
    t.server.next += s.length;
    s = wire_segment(&t, FROM_BACKEND, TCP_RST | TCP_ACK);
    assert_int_equal(wire_send(w, &s, FROM_BACKEND), VERDICT_FLOW_RESET);
    wire_forget_frames(w);
    wire_wait(w, 1000);
    wire_quiet(w); /* nothing more of ours */
    const struct wire_segment challenge = wire_segment(&t, FROM_CLIENT, TCP_ACK);
    assert_int_equal(wire_send(w, &challenge, FROM_CLIENT), VERDICT_FORWARDED);
    s.seq = wire_out(w, INSIDE).ack;
    s.flags = TCP_RST;
    assert_int_equal(wire_send(w, &s, FROM_BACKEND), VERDICT_FORWARDED);
    assert_int_equal(wire_out(w, OUTSIDE).seq, t.client.expects);
    wire_expect_tables(w, 0, 0);
}

/* Its acknowledgement is under way, or it has none of it, or all but the refusal: a reset for
 * each. */
static void a_client_that_may_lack_answers_is_reset_with_the_backend_behind_its_end(void **state)
{
    struct wire *w = wire_of(state);
    struct wire_talk t = pipelined(w);
    const uint32_t before = t.client.expects;
    says(w, &t, ANSWER, t.client.next);
    leaves(w, &t, "");
    const struct wire_segment reply = told(w, &t, t.client.next);
    const struct wire_segment reset = wire_segment(&t, FROM_BACKEND, TCP_RST | TCP_ACK);
    assert_int_equal(wire_send(w, &reset, FROM_BACKEND), VERDICT_FLOW_RESET);
    bool none = false, all = false, answers = false;
    while (wire_pending(w) > 0) {
        const struct wire_segment seen = wire_out(w, OUTSIDE);
        assert_true(seen.flags & TCP_RST);
        none |= seen.seq == before;
        answers |= seen.seq == reply.seq;
        all |= seen.seq == reply.seq + reply.length + 1U;
    }
    assert_true(none && answers && all);
    wire_expect_tables(w, 0, 0);
}

static void a_backend_that_resets_once_all_is_said_changes_nothing(void **state)
{
    struct wire *w = wire_of(state);
    struct wire_talk t = pipelined(w);
    leaves(w, &t, "");
    const struct wire_segment reply = told(w, &t, t.client.next);
    const struct wire_segment reset = wire_segment(&t, FROM_BACKEND, TCP_RST | TCP_ACK);
    assert_int_equal(wire_send(w, &reset, FROM_BACKEND), VERDICT_REFUSAL_TAKEN);
    wire_quiet(w);
    reads(w, &t, &reply);
    goes(w, &t);
}

static void a_closed_window_gets_it_when_it_opens(void **state)
{
    struct wire *w = wire_of(state);
    struct wire_talk t = pipelined(w);
    t.client.window = 0;
    says(w, &t, ANSWER, t.client.next);
    from_client(w, &t, 0, "", VERDICT_REFUSAL_TAKEN);
    wire_forget_frames(w);
    leaves(w, &t, "");
    wire_forget_frames(w);
    t.client.window = 500;
    from_client(w, &t, 0, "", VERDICT_REFUSAL_TAKEN);
    wire_forget_frames(w);
    wire_wait(w, 600);
    told(w, &t, t.client.next);
}

/* An acknowledgement behind the backend's FIN may come before it. */
static void a_fin_that_was_overtaken_is_a_fin(void **state)
{
    struct wire *w = wire_of(state);
    struct wire_talk t = pipelined(w);
    struct wire_segment behind = wire_segment(&t, FROM_BACKEND, TCP_ACK);
    behind.seq += ANSWER_LENGTH + 1U;
    behind.options.tsval++;
    assert_int_equal(wire_send(w, &behind, FROM_BACKEND), VERDICT_FORWARDED);
    wire_forget_frames(w);
    leaves(w, &t, ANSWER);
    assert_int_equal(wire_out(w, OUTSIDE).length, ANSWER_LENGTH);
    t.client.expects += ANSWER_LENGTH;
    const struct wire_segment seen = wire_out(w, OUTSIDE);
    expect_reply(&seen);
    assert_int_equal(seen.seq, t.client.expects);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        REFUSE_TEST(on_a_kept_connection_a_fin_takes_its_place),
        REFUSE_TEST(behind_an_accepted_request_the_first_answer_arrives_whole),
        REFUSE_TEST(in_the_first_segment_too),
        REFUSE_TEST(while_the_backend_is_opened_too),
        REFUSE_TEST(behind_a_head_in_pieces_once_that_is_delivered),
        REFUSE_TEST(a_backend_that_ends_before_that_has_the_last_word),
        REFUSE_TEST(a_head_whose_beginning_has_gone_on_ends_there),
        REFUSE_TEST(a_head_in_pieces_that_may_pass_leaves_nothing_aside),
        REFUSE_TEST(a_head_that_begins_with_the_first_request_is_kept_aside),
        REFUSE_TEST(a_long_head_in_pieces_moves_to_a_larger_place),
        REFUSE_TEST(a_head_that_finds_no_place_comes_again),
        REFUSE_TEST(a_head_that_finds_no_place_keeps_back_nothing_before_it),
        REFUSE_TEST(a_head_that_finds_no_larger_place_comes_again),
        REFUSE_TEST(a_head_that_loses_its_place_ends_its_connection),
        REFUSE_TEST(a_client_that_ends_with_the_refused_request_is_acknowledged_by_us),
        REFUSE_TEST(behind_a_backend_that_has_ended_nothing_follows),
        REFUSE_TEST(a_client_may_reset_it),
        REFUSE_TEST(a_backend_that_resets_takes_its_answers_along),
        REFUSE_TEST(a_reset_behind_answers_that_are_lost_may_be_challenged),
        REFUSE_TEST(a_client_that_may_lack_answers_is_reset_with_the_backend_behind_its_end),
        REFUSE_TEST(a_backend_that_resets_once_all_is_said_changes_nothing),
        REFUSE_TEST(a_closed_window_gets_it_when_it_opens),
        REFUSE_TEST(a_fin_that_was_overtaken_is_a_fin),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
