/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026, the Dropgate authors
 *
 * A connection's first request is refused: answered in its place, in pieces, with bodies and
 * without, where there is little room; and nothing is left behind. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
// clang-format off
#include <cmocka.h>
// clang-format on

#include "tests/unit/refuse_talk.h"

/* ---- without a flow ---- */

static void a_first_request_is_answered_in_its_place(void **state)
{
    struct wire *w = wire_of(state);
    struct wire_talk t = begun(w);
    from_client(w, &t, TCP_PSH, NO, VERDICT_RULE_RATE);
    const struct wire_segment seen = told(w, &t, t.client.next);
    assert_int_equal(seen.window, 8192 >> 7);
    assert_int_equal(seen.options.tsecr, t.client.clock);
    assert_non_null(strstr((const char *)seen.payload, "Retry-After: 7\r\n"));
    assert_string_equal(last_path, "/no");
    assert_string_equal(last_host, "a");
    wire_quiet(w);
    wire_expect_tables(w, 0, 0);
    assert_int_equal(tombstones_count(w->shard->tombstones), 0);
    assert_int_equal(w->shard->requests, 0);
}

static void the_same_again_is_answered_again(void **state)
{
    struct wire *w = wire_of(state);
    struct wire_talk t = begun(w);
    const struct wire_segment s = wire_data(&t, FROM_CLIENT, TCP_ACK | TCP_PSH, NO);
    uint8_t first[REPLY_MOST];
    assert_int_equal(wire_send(w, &s, FROM_CLIENT), VERDICT_RULE_RATE);
    struct wire_segment seen = wire_out(w, OUTSIDE);
    const uint16_t length = seen.length;
    memcpy(first, seen.payload, length);
    assert_int_equal(wire_send(w, &s, FROM_CLIENT), VERDICT_RULE_RATE);
    seen = wire_out(w, OUTSIDE);
    assert_int_equal(seen.length, length);
    assert_memory_equal(seen.payload, first, length);
    wire_expect_tables(w, 0, 0);
}

static void what_the_client_says_to_its_answer_needs_no_flow(void **state)
{
    struct wire *w = wire_of(state);
    struct wire_talk t = begun(w);
    from_client(w, &t, TCP_PSH, NO, VERDICT_RULE_RATE);
    const struct wire_segment reply = told(w, &t, t.client.next);
    t.client.expects = reply.seq + reply.length + 1U;
    from_client(w, &t, 0, "", VERDICT_ACK_NO_FLOW);
    const struct wire_segment fin = wire_segment(&t, FROM_CLIENT, TCP_FIN | TCP_ACK);
    assert_int_equal(wire_send(w, &fin, FROM_CLIENT), VERDICT_FIN_ANSWERED);
    const struct wire_segment seen = wire_out(w, OUTSIDE);
    assert_int_equal(seen.flags, TCP_ACK);
    assert_int_equal(seen.seq, t.client.expects);
    assert_int_equal(seen.ack, fin.seq + 1);
    wire_quiet(w);
    wire_expect_tables(w, 0, 0);
}

/* Of a connection that nothing was kept of: no reset may destroy the answer. */
static void what_else_it_sends_is_acknowledged_too(void **state)
{
    struct wire *w = wire_of(state);
    struct wire_talk t = begun(w);
    from_client(w, &t, TCP_PSH, NO, VERDICT_RULE_RATE);
    const struct wire_segment reply = told(w, &t, t.client.next);
    t.client.expects = reply.seq + reply.length + 1U;
    from_client(w, &t, TCP_PSH, GET "GET", VERDICT_REFUSAL_TAKEN);
    acknowledged(w, &t, t.client.next);
    from_client(w, &t, TCP_PSH | TCP_FIN, " /", VERDICT_REFUSAL_TAKEN);
    acknowledged(w, &t, t.client.next);
    wire_expect_tables(w, 0, 0);
}

/* Its old connection may still be there: what is refused replaces nothing. */
static void a_port_that_is_used_again_is_refused_and_closed_beside_its_old_flow(void **state)
{
    struct wire *w = wire_of(state);
    struct wire_talk old = idle(w), t = wire_talk(w);
    t.client.at.port = old.client.at.port;
    t.client.isn = t.client.next = old.client.next + 1000000;
    t.client.clock = old.client.clock + 1000;
    wire_handshake(w, &t);
    from_client(w, &t, TCP_PSH, NO, VERDICT_RULE_RATE);
    const struct wire_segment reply = told(w, &t, t.client.next);
    t.client.expects = reply.seq + reply.length + 1U;
    from_client(w, &t, TCP_FIN, "", VERDICT_REFUSAL_TAKEN);
    acknowledged(w, &t, t.client.next);
    wire_expect_tables(w, 1, 0);
}

static void a_request_with_its_fin_is_answered_whole(void **state)
{
    struct wire *w = wire_of(state);
    struct wire_talk t = begun(w);
    from_client(w, &t, TCP_PSH | TCP_FIN, NO, VERDICT_RULE_RATE);
    told(w, &t, t.client.next);
    wire_expect_tables(w, 0, 0);
}

static void a_body_in_the_same_segment_needs_no_flow(void **state)
{
    struct wire *w = wire_of(state);
    struct wire_talk t = begun(w);
    from_client(w, &t, TCP_PSH, NO_POST "Content-Length: 4\r\n\r\nbody", VERDICT_RULE_RATE);
    told(w, &t, t.client.next);
    t = begun(w);
    from_client(w, &t, TCP_PSH, NO_POST "Transfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\n\r\n",
                VERDICT_RULE_RATE);
    told(w, &t, t.client.next);
    t = begun(w);
    from_client(w, &t, TCP_PSH, NO GET NO, VERDICT_RULE_RATE); /* all are refused by closing */
    told(w, &t, t.client.next);
    wire_quiet(w);
    wire_expect_tables(w, 0, 0);
}

static void a_client_that_waits_to_be_told_to_go_on_is_told_at_once(void **state)
{
    struct wire *w = wire_of(state);
    struct wire_talk t = begun(w);
    from_client(w, &t, TCP_PSH, NO_POST "Expect: 100-continue\r\nContent-Length: 4\r\n\r\n",
                VERDICT_RULE_RATE);
    told(w, &t, t.client.next);
    wire_quiet(w);
    wire_expect_tables(w, 0, 0);
}

static void head_is_answered_without_a_body_and_browsers_by_a_page(void **state)
{
    struct wire *w = wire_of(state);
    struct wire_talk t = begun(w);
    from_client(w, &t, TCP_PSH, "HEAD /no HTTP/1.1\r\nHost: a\r\nAccept: text/html\r\n\r\n",
                VERDICT_RULE_RATE);
    const struct wire_segment seen = told(w, &t, t.client.next);
    char text[REPLY_MOST + 1];
    snprintf(text, sizeof text, "%.*s", seen.length, (const char *)seen.payload);
    assert_non_null(strstr(text, "Content-Type: text/html"));
    assert_string_equal(strstr(text, "\r\n\r\n"), "\r\n\r\n");
}

static void clients_with_the_smallest_segments_and_no_options_get_it_in_one(void **state)
{
    struct wire *w = wire_of(state);
    struct wire_talk t = wire_talk(w);
    t.client.mss = 0;
    t.client.scale = COOKIE_NO_SCALE;
    t.client.timestamps = t.client.sack = false;
    wire_handshake(w, &t);
    from_client(w, &t, TCP_PSH, NO, VERDICT_RULE_RATE);
    const struct wire_segment seen = told(w, &t, t.client.next);
    assert_int_equal(seen.window, 8192);
    assert_true(seen.length <= 536);
}

static void what_is_not_http_is_refused_by_a_reset(void **state)
{
    struct wire *w = wire_of(state);
    struct wire_talk t = wire_talk(w);
    w->services->service[t.service].protocol = SERVICE_TCP;
    wire_handshake(w, &t);
    refuses_all = true;
    from_client(w, &t, TCP_PSH, "x", VERDICT_RULE_RATE);
    assert_int_equal(asked, 1);
    assert_string_equal(last_path, "");
    assert_string_equal(last_host, "");
    const struct wire_segment reset = wire_out(w, OUTSIDE);
    assert_int_equal(reset.flags, TCP_RST);
    assert_int_equal(reset.seq, t.client.expects);
    wire_quiet(w);
    wire_expect_tables(w, 0, 0);
}

/* ---- in pieces ---- */

static void a_head_in_pieces_is_refused_when_it_is_complete(void **state)
{
    struct wire *w = wire_of(state);
    struct wire_talk t = begun(w);
    from_client(w, &t, TCP_PSH, "GET /no HTT", VERDICT_READING);
    acknowledged(w, &t, t.client.next);
    assert_int_equal(asked, 0);
    from_client(w, &t, TCP_PSH, NO + 11, VERDICT_RULE_RATE);
    assert_int_equal(asked, 1);
    const struct wire_segment reply = told(w, &t, t.client.next);
    wire_quiet(w); /* no backend */
    wire_expect_tables(w, 1, 0);
    reads(w, &t, &reply);
    wire_quiet(w);
    goes(w, &t);
    assert_int_equal(tombstones_count(w->shard->tombstones), 1);
}

static void a_body_on_its_way_is_waited_for(void **state)
{
    struct wire *w = wire_of(state);
    struct wire_talk t = begun(w);
    from_client(w, &t, 0, NO_POST "Content-Length: 10\r\n\r\n01234", VERDICT_RULE_RATE);
    acknowledged(w, &t, t.client.next);
    from_client(w, &t, 0, "567", VERDICT_REFUSAL_TAKEN);
    acknowledged(w, &t, t.client.next);
    from_client(w, &t, TCP_PSH, "89", VERDICT_REFUSAL_TAKEN);
    const struct wire_segment reply = told(w, &t, t.client.next);
    wire_quiet(w);
    reads(w, &t, &reply);
    goes(w, &t);
}

/* Room that it gives meanwhile asks for nothing. */
static void a_window_that_opens_before_the_body_has_come_changes_nothing(void **state)
{
    struct wire *w = wire_of(state);
    struct wire_talk t = begun(w);
    from_client(w, &t, 0, NO_POST "Content-Length: 10\r\n\r\n01234", VERDICT_RULE_RATE);
    acknowledged(w, &t, t.client.next);
    t.client.window++;
    from_client(w, &t, 0, "", VERDICT_REFUSAL_TAKEN);
    wire_quiet(w);
    from_client(w, &t, 0, "56789", VERDICT_REFUSAL_TAKEN);
    const struct wire_segment reply = told(w, &t, t.client.next);
    reads(w, &t, &reply);
    goes(w, &t);
}

static void a_body_that_does_not_come_is_waited_for_as_long_as_a_head(void **state)
{
    struct wire *w = wire_of(state);
    struct wire_talk t = begun(w);
    from_client(w, &t, 0, NO_POST "Content-Length: 10\r\n\r\n", VERDICT_RULE_RATE);
    acknowledged(w, &t, t.client.next);
    wire_wait(w, w->limits.head_timeout_ms - 100);
    wire_quiet(w);
    wire_wait(w, 200);
    const struct wire_segment reply = told(w, &t, t.client.next);
    wire_quiet(w);
    reads(w, &t, &reply);
    goes(w, &t);
}

static void a_body_that_has_to_be_asked_for_is_not_waited_for(void **state)
{
    struct wire *w = wire_of(state);
    struct wire_talk t = begun(w);
    from_client(w, &t, 0, NO_POST "Expect: 100-cont", VERDICT_READING);
    acknowledged(w, &t, t.client.next);
    from_client(w, &t, 0, "inue\r\nContent-Length: 10\r\n\r\n", VERDICT_RULE_RATE);
    told(w, &t, t.client.next);
    wire_quiet(w);
}

/* It may be about to send more of them. */
static void what_follows_a_last_request_needs_a_flow(void **state)
{
    struct wire *w = wire_of(state);
    struct wire_talk t = begun(w);
    from_client(w, &t, 0, "GET /no HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\nGET",
                VERDICT_RULE_RATE);
    const struct wire_segment reply = told(w, &t, t.client.next);
    wire_expect_tables(w, 1, 0);
    reads(w, &t, &reply);
    goes(w, &t);
}

static void a_client_that_has_ended_is_not_waited_for(void **state)
{
    struct wire *w = wire_of(state);
    struct wire_talk t = begun(w);
    from_client(w, &t, 0, NO_POST "Content-Length: 10\r\n\r\n", VERDICT_RULE_RATE);
    acknowledged(w, &t, t.client.next);
    from_client(w, &t, TCP_FIN, "012", VERDICT_REFUSAL_TAKEN);
    const struct wire_segment reply = told(w, &t, t.client.next);
    reads(w, &t, &reply); /* and that is all */
    gone(w);
}

/* Larger than can be held, or of unknown length: answered first, discarded then, so that no reset
 * destroys the answer. */
static void a_large_body_is_discarded_behind_its_answer(void **state)
{
    static const char *const heads[] = {NO_POST "Content-Length: 100000\r\n\r\n",
                                        NO_POST "Transfer-Encoding: chunked\r\n\r\n"};
    static char piece[1001];
    memset(piece, 'x', sizeof piece - 1);
    for (size_t i = 0; i < 2; i++) {
        struct wire *w = wire_of(state);
        struct wire_talk t = begun(w);
        from_client(w, &t, 0, heads[i], VERDICT_RULE_RATE);
        const struct wire_segment reply = told(w, &t, t.client.next);
        for (int n = 0; n < 100; n++) {
            from_client(w, &t, 0, piece, VERDICT_REFUSAL_TAKEN);
            const struct wire_segment seen = wire_out(w, OUTSIDE);
            assert_int_equal(seen.ack, t.client.next);
            assert_true(seen.window >= 8192 >> 7);
        }
        reads(w, &t, &reply);
        goes(w, &t);
    }
}

static void a_gap_in_a_discarded_body_is_not_acknowledged(void **state)
{
    struct wire *w = wire_of(state);
    struct wire_talk t = begun(w);
    from_client(w, &t, 0, NO_POST "Content-Length: 10\r\n\r\n", VERDICT_RULE_RATE);
    acknowledged(w, &t, t.client.next);
    t.client.next += 4;
    from_client(w, &t, TCP_FIN, "456789", VERDICT_REFUSAL_TAKEN);
    acknowledged(w, &t, t.client.next - 11);
    t.client.next -= 11;
    from_client(w, &t, 0, "0123", VERDICT_REFUSAL_TAKEN);
    acknowledged(w, &t, t.client.next);
    from_client(w, &t, TCP_FIN, "456789", VERDICT_REFUSAL_TAKEN);
    told(w, &t, t.client.next);
    wire_quiet(w);
}

/* ---- with little room, or none ---- */

/* As small as it may be: a part of the answer at a time, and the FIN with the last. */
static void a_client_with_little_room_gets_it_in_parts(void **state)
{
    struct wire *w = wire_of(state);
    struct wire_talk t = wire_talk(w);
    t.client.scale = COOKIE_NO_SCALE;
    wire_handshake(w, &t);
    t.client.window = 100;
    from_client(w, &t, TCP_PSH, NO, VERDICT_RULE_RATE);
    wire_expect_tables(w, 1, 0);
    uint32_t length = 0;
    for (bool last = false; !last; length += 100) {
        const struct wire_segment part = wire_out(w, OUTSIDE);
        last = (part.flags & TCP_FIN) != 0;
        assert_int_equal(part.seq, t.client.expects);
        assert_int_equal(part.ack, t.client.next);
        assert_true(last ? part.length < 100 : part.length == 100);
        wire_quiet(w);
        t.client.expects += part.length + (uint32_t)last;
        from_client(w, &t, 0, "", VERDICT_REFUSAL_TAKEN);
    }
    assert_true(length > 100);
    goes(w, &t);
}

static void and_nothing_where_no_flow_can_keep_the_rest_of_it(void **state)
{
    struct wire *w = wire_of(state);
    w->limits.clients.connections = 1;
    wire_begin(w);
    idle(w);
    struct wire_talk t = wire_talk(w);
    t.client.scale = COOKIE_NO_SCALE;
    wire_handshake(w, &t);
    t.client.window = 100;
    from_client(w, &t, TCP_PSH, NO, VERDICT_FLOW_TABLE_FULL);
    wire_quiet(w);
}

/* A flow for no more than a refusal is a connection like any other. */
static void a_client_that_has_all_its_connections_is_refused_without_one(void **state)
{
    struct wire *w = wire_of(state);
    w->limits.clients.connections = 1;
    wire_begin(w);
    idle(w);
    struct wire_talk t = begun(w);
    from_client(w, &t, 0, NO_POST "Content-Length: 10\r\n\r\n01234", VERDICT_RULE_RATE);
    told(w, &t, t.client.next);
    wire_expect_tables(w, 1, 0);
}

static void nothing_of_a_hundred_thousand_is_left(void **state)
{
    struct wire *w = wire_of(state);
    for (uint32_t i = 0; i < 100000; i++) {
        struct wire_talk t = wire_talk(w);
        t.client.at.port = (uint16_t)(1024 + i % 60000);
        wire_handshake(w, &t);
        const struct wire_segment s = wire_data(&t, FROM_CLIENT, TCP_ACK | TCP_PSH, NO);
        assert_int_equal(wire_send(w, &s, FROM_CLIENT), VERDICT_RULE_RATE);
        wire_forget_frames(w);
        if (i % 4000 == 0)
            wire_wait(w, 1000);
    }
    wire_expect_tables(w, 0, 0);
    assert_int_equal(tombstones_count(w->shard->tombstones), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        REFUSE_TEST(a_first_request_is_answered_in_its_place),
        REFUSE_TEST(the_same_again_is_answered_again),
        REFUSE_TEST(what_the_client_says_to_its_answer_needs_no_flow),
        REFUSE_TEST(what_else_it_sends_is_acknowledged_too),
        REFUSE_TEST(a_port_that_is_used_again_is_refused_and_closed_beside_its_old_flow),
        REFUSE_TEST(a_request_with_its_fin_is_answered_whole),
        REFUSE_TEST(a_body_in_the_same_segment_needs_no_flow),
        REFUSE_TEST(a_client_that_waits_to_be_told_to_go_on_is_told_at_once),
        REFUSE_TEST(head_is_answered_without_a_body_and_browsers_by_a_page),
        REFUSE_TEST(clients_with_the_smallest_segments_and_no_options_get_it_in_one),
        REFUSE_TEST(what_is_not_http_is_refused_by_a_reset),
        REFUSE_TEST(a_head_in_pieces_is_refused_when_it_is_complete),
        REFUSE_TEST(a_body_on_its_way_is_waited_for),
        REFUSE_TEST(a_window_that_opens_before_the_body_has_come_changes_nothing),
        REFUSE_TEST(a_body_that_does_not_come_is_waited_for_as_long_as_a_head),
        REFUSE_TEST(a_body_that_has_to_be_asked_for_is_not_waited_for),
        REFUSE_TEST(what_follows_a_last_request_needs_a_flow),
        REFUSE_TEST(a_client_that_has_ended_is_not_waited_for),
        REFUSE_TEST(a_large_body_is_discarded_behind_its_answer),
        REFUSE_TEST(a_gap_in_a_discarded_body_is_not_acknowledged),
        REFUSE_TEST(a_client_with_little_room_gets_it_in_parts),
        REFUSE_TEST(and_nothing_where_no_flow_can_keep_the_rest_of_it),
        REFUSE_TEST(a_client_that_has_all_its_connections_is_refused_without_one),
        REFUSE_TEST(nothing_of_a_hundred_thousand_is_left),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
