/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026, the Dropgate authors
 *
 * A client that sends more behind its connection's last request gets its whole answer and a
 * graceful end, in numbers that are right on either side; within bounds. */
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

#define LAST   "GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"
#define ANSWER "HTTP/1.1 204 No Content\r\n\r\n"
enum { LAST_LENGTH = sizeof LAST - 1, ANSWER_LENGTH = sizeof ANSWER - 1 };

/* A client that has sent its last request and `more`, in one segment; what the backend saw of it.
 */
static struct wire_segment ask_last(struct wire *w, struct wire_talk *t, const char *more,
                                    uint8_t flags)
{
    char text[256];
    snprintf(text, sizeof text, LAST "%s", more);
    *t = wire_talk(w);
    wire_handshake(w, t);
    wire_ask(w, t, wire_request);
    wire_accept(w, t);
    wire_pass(w, t, FROM_BACKEND, TCP_ACK, "");
    wire_quiet(w);
    const struct wire_segment s = wire_data(t, FROM_CLIENT, TCP_ACK | flags, text);
    assert_int_equal(wire_send(w, &s, FROM_CLIENT), VERDICT_FORWARDED);
    const struct wire_segment seen = wire_out(w, INSIDE);
    wire_quiet(w);
    assert_int_equal(seen.seq, s.seq);
    assert_int_equal(seen.length, LAST_LENGTH);
    assert_memory_equal(seen.payload, LAST, LAST_LENGTH);
    t->client.next += s.length + ((flags & TCP_FIN) != 0);
    t->server.expects += LAST_LENGTH + ((seen.flags & TCP_FIN) != 0);
    return seen;
}

/* What the backend says reaches the client, which knows by it that `ack` has arrived. */
static void answers(struct wire *w, struct wire_talk *t, uint8_t flags, const char *text,
                    uint32_t ack)
{
    const struct wire_segment s = wire_data(t, FROM_BACKEND, TCP_ACK | flags, text);
    assert_int_equal(wire_send(w, &s, FROM_BACKEND), VERDICT_FORWARDED);
    const struct wire_segment seen = wire_out(w, OUTSIDE);
    wire_quiet(w);
    assert_int_equal(seen.ack, ack);
    assert_int_equal(seen.seq, s.seq + wire_delta(t));
    assert_int_equal(seen.flags, TCP_ACK | flags);
    assert_int_equal(seen.length, s.length);
    assert_true(seen.window != 0);
    t->server.next += s.length + ((flags & TCP_FIN) != 0);
    t->client.expects = seen.seq + s.length + ((flags & TCP_FIN) != 0);
    t->client.echo = seen.options.tsval;
    t->server.clock++;
}

/* The client is answered by us. */
static void acknowledged_beside(struct wire *w, const struct wire_talk *t, uint32_t ack)
{
    const struct wire_segment seen = wire_out(w, OUTSIDE);
    assert_int_equal(seen.flags, TCP_ACK);
    assert_int_equal(seen.ack, ack);
    assert_int_equal(seen.seq, t->client.expects);
    assert_int_equal(seen.length, 0);
    assert_true(seen.window != 0);
    assert_int_equal(seen.options.timestamps, t->client.timestamps);
    assert_false(seen.options.timestamps && seq_before(seen.options.tsval, t->client.echo));
}

static void acknowledged(struct wire *w, const struct wire_talk *t, uint32_t ack)
{
    acknowledged_beside(w, t, ack);
    wire_quiet(w);
}

static struct wire_segment sends_on(struct wire *w, struct wire_talk *t, const char *text)
{
    t->client.clock++;
    const struct wire_segment s = wire_data(t, FROM_CLIENT, TCP_ACK, text);
    assert_int_equal(wire_send(w, &s, FROM_CLIENT), VERDICT_AFTER_LAST);
    t->client.next += s.length;
    return s;
}

static void says(struct wire *w, struct wire_talk *t, uint8_t flags, uint32_t seq)
{
    const struct wire_segment s = wire_segment(t, FROM_CLIENT, TCP_ACK | flags);
    assert_int_equal(wire_send(w, &s, FROM_CLIENT), VERDICT_FORWARDED);
    const struct wire_segment seen = wire_out(w, INSIDE);
    wire_quiet(w);
    assert_int_equal(seen.seq, seq);
    assert_int_equal(seen.ack, s.ack - wire_delta(t));
    assert_int_equal(seen.flags, TCP_ACK | flags);
    assert_int_equal(seen.length, 0);
}

static void what_follows_the_last_request_is_acknowledged_and_reaches_nobody(void **state)
{
    struct wire *w = wire_of(state);
    struct wire_talk t;
    assert_int_equal(ask_last(w, &t, "\r\n", TCP_PSH).flags, TCP_ACK | TCP_PSH);
    answers(w, &t, 0, ANSWER, t.client.next);
    sends_on(w, &t, "GET / HTTP/1.1\r\nHost: a\r\n\r\n"); /* and acknowledges the answer */
    acknowledged_beside(w, &t, t.client.next);
    const struct wire_segment seen = wire_out(w, INSIDE);
    wire_quiet(w);
    assert_int_equal(seen.length, 0);
    assert_int_equal(seen.seq, t.server.expects);
    assert_int_equal(seen.ack, t.server.next);
    assert_int_equal(w->shard->requests, 2);
    wire_expect_tables(w, 1, 0);
}

/* As it does when its acknowledgement was lost, and when it asks whether we are still there. A bare
 * duplicate would make the backend believe that something of its answer was lost. */
static void what_was_discarded_is_acknowledged_again(void **state)
{
    struct wire *w = wire_of(state);
    struct wire_talk t;
    ask_last(w, &t, "", 0);
    answers(w, &t, 0, "", t.client.next);
    const struct wire_segment once = sends_on(w, &t, "more");
    acknowledged(w, &t, t.client.next);
    assert_int_equal(wire_send(w, &once, FROM_CLIENT), VERDICT_AFTER_LAST);
    acknowledged(w, &t, t.client.next);
    struct wire_segment asks = wire_segment(&t, FROM_CLIENT, TCP_ACK);
    asks.seq--;
    assert_int_equal(wire_send(w, &asks, FROM_CLIENT), VERDICT_AFTER_LAST);
    acknowledged(w, &t, t.client.next);
    struct wire_segment longer = once; /* the same and more */
    longer.payload = "more and more";
    longer.length = 13;
    assert_int_equal(wire_send(w, &longer, FROM_CLIENT), VERDICT_AFTER_LAST);
    acknowledged(w, &t, once.seq + 13);
}

static void the_last_request_sent_again_passes_alone(void **state)
{
    struct wire *w = wire_of(state);
    struct wire_talk t;
    ask_last(w, &t, "more", 0);
    struct wire_segment again = wire_data(&t, FROM_CLIENT, TCP_ACK, LAST "more");
    again.seq -= LAST_LENGTH + 4;
    for (uint16_t longer = 0; longer < 5; longer++) {
        again.length = (uint16_t)(LAST_LENGTH + longer);
        assert_int_equal(wire_send(w, &again, FROM_CLIENT), VERDICT_FORWARDED);
        assert_int_equal(wire_out(w, INSIDE).length, LAST_LENGTH);
        wire_quiet(w);
    }
}

/* Else it would be told that what it has to send again has arrived. */
static void nothing_is_acknowledged_before_the_backend_has_the_request(void **state)
{
    struct wire *w = wire_of(state);
    struct wire_talk t;
    ask_last(w, &t, "more", 0);
    sends_on(w, &t, " and more");
    wire_quiet(w);
    const uint32_t all = t.server.expects;
    t.server.expects--; /* a byte is missing */
    answers(w, &t, 0, "", t.server.expects);
    t.server.expects = all;
    answers(w, &t, 0, "", t.client.next);
}

static void a_hole_is_seen_by_its_sender(void **state)
{
    struct wire *w = wire_of(state);
    struct wire_talk t;
    ask_last(w, &t, "", 0);
    answers(w, &t, 0, "", t.client.next);
    const uint32_t before = t.client.next;
    t.client.next += 10;
    sends_on(w, &t, "early");
    acknowledged(w, &t, before);
    struct wire_segment fin = wire_segment(&t, FROM_CLIENT, TCP_FIN | TCP_ACK);
    assert_int_equal(wire_send(w, &fin, FROM_CLIENT), VERDICT_AFTER_LAST);
    acknowledged(w, &t, before);
    t.client.next = before;
    sends_on(w, &t, "0123456789");
    acknowledged(w, &t, before + 10);
}

static void a_client_that_ends_behind_it_is_closed_gracefully(void **state)
{
    struct wire *w = wire_of(state);
    struct wire_talk t;
    ask_last(w, &t, "", 0);
    const uint32_t last = t.server.expects;
    answers(w, &t, TCP_FIN, ANSWER, t.client.next);
    const struct wire_segment more = sends_on(w, &t, "more");
    acknowledged_beside(w, &t, t.client.next);
    const struct wire_segment seen = wire_out(w, INSIDE); /* takes the answer and its end */
    wire_quiet(w);
    assert_int_equal(seen.seq, last);
    assert_int_equal(seen.ack, t.server.next);
    says(w, &t, TCP_FIN, last);
    says(w, &t, TCP_FIN, last); /* again */
    t.client.next++;
    t.server.expects++;
    struct wire_segment again = more; /* late */
    again.ack = t.client.expects;
    again.options.tsval = t.client.clock;
    assert_int_equal(wire_send(w, &again, FROM_CLIENT), VERDICT_AFTER_LAST);
    acknowledged(w, &t, t.client.next - 1);
    answers(w, &t, 0, "", t.client.next);
    wire_wait(w, w->limits.linger_ms + 1000);
    wire_expect_tables(w, 0, 0);
    assert_int_equal(w->shard->verdicts[VERDICT_FLOW_CLOSED], 1);
}

static void an_end_in_the_same_segment_passes_without_what_lies_before_it(void **state)
{
    struct wire *w = wire_of(state);
    struct wire_talk t;
    assert_int_equal(ask_last(w, &t, "\r\n", TCP_FIN).flags, TCP_ACK | TCP_FIN);
    t.server.expects--; /* has the bytes, not the FIN */
    answers(w, &t, 0, "", t.client.next - 1);
    t.server.expects++;
    answers(w, &t, 0, "", t.client.next);
    answers(w, &t, TCP_FIN, ANSWER, t.client.next);
    says(w, &t, 0, t.server.expects);
    wire_wait(w, w->limits.linger_ms + 1000);
    wire_expect_tables(w, 0, 0);
}

static void its_reset_is_exact_for_the_backend(void **state)
{
    struct wire *w = wire_of(state);
    struct wire_talk t;
    ask_last(w, &t, "more", 0);
    answers(w, &t, 0, "", t.client.next);
    const struct wire_segment s = wire_segment(&t, FROM_CLIENT, TCP_RST);
    assert_int_equal(wire_send(w, &s, FROM_CLIENT), VERDICT_FLOW_RESET);
    const struct wire_segment seen = wire_out(w, INSIDE);
    assert_int_equal(seen.flags, TCP_RST);
    assert_int_equal(seen.seq, t.server.expects);
    wire_expect_tables(w, 0, 0);
}

/* It is old for whoever has sent more since; only the very number that is expected ends a flow. */
static void a_reset_at_what_was_discarded_ends_nothing(void **state)
{
    struct wire *w = wire_of(state);
    struct wire_talk t;
    ask_last(w, &t, "more", 0);
    answers(w, &t, 0, "", t.client.next);
    for (uint32_t back = 1; back < 4; back++) {
        struct wire_segment s = wire_segment(&t, FROM_CLIENT, TCP_RST);
        s.seq -= back;
        assert_int_equal(wire_send(w, &s, FROM_CLIENT), VERDICT_FORWARDED);
        assert_true(seq_before(wire_out(w, INSIDE).seq, t.server.expects));
    }
    wire_expect_tables(w, 1, 0);
}

/* Its FIN would come before what it has sent already. */
static void an_end_within_what_was_discarded_is_none(void **state)
{
    struct wire *w = wire_of(state);
    struct wire_talk t;
    ask_last(w, &t, "", 0);
    answers(w, &t, 0, "", t.client.next);
    struct wire_segment s = sends_on(w, &t, "more");
    acknowledged(w, &t, t.client.next);
    s.length = 3;
    s.flags |= TCP_FIN;
    assert_int_equal(wire_send(w, &s, FROM_CLIENT), VERDICT_AFTER_LAST);
    acknowledged(w, &t, t.client.next);
}

static void nothing_is_behind_an_end(void **state)
{
    struct wire *w = wire_of(state);
    struct wire_talk t;
    ask_last(w, &t, "more", TCP_FIN);
    const uint32_t end = t.client.next;
    answers(w, &t, 0, "", end);
    sends_on(w, &t, "after all");
    acknowledged(w, &t, end);
    t.client.next = end - 1;
    sends_on(w, &t, "or in its place");
    acknowledged(w, &t, end);
}

/* A receiver drops what seems older than what it had before (RFC 7323 section 5). */
static void our_acknowledgement_is_as_new_as_what_the_client_has(void **state)
{
    struct wire *w = wire_of(state);
    struct wire_talk t;
    ask_last(w, &t, "", 0);
    const uint32_t next = t.client.next;
    answers(w, &t, 0, ANSWER, next);
    t.server.clock += 100;
    answers(w, &t, 0, ANSWER, next);
    sends_on(w, &t, "more");
    acknowledged_beside(w, &t, t.client.next);
}

/* Sends as much as may be discarded, up to `left` bytes of it. */
static void send_most(struct wire *w, struct wire_talk *t, uint32_t left)
{
    static char piece[1025];
    memset(piece, 'x', sizeof piece - 1);
    while (t->client.next - t->server.expects < SURPLUS_MOST - left) {
        sends_on(w, t, piece);
        wire_forget_frames(w);
    }
}

static void more_than_anyone_sends_unaware_is_reset_once_all_is_answered(void **state)
{
    struct wire *w = wire_of(state);
    struct wire_talk t;
    ask_last(w, &t, "", 0);
    answers(w, &t, 0, "", t.client.next);
    send_most(w, &t, 0);
    const uint32_t had = t.client.next;
    sends_on(w, &t, "!");
    acknowledged(w, &t, had); /* not before it can know */
    t.client.next = had;
    answers(w, &t, TCP_FIN, ANSWER, had);
    says(w, &t, 0, t.server.expects);
    const struct wire_segment s = wire_data(&t, FROM_CLIENT, TCP_ACK, "!");
    assert_int_equal(wire_send(w, &s, FROM_CLIENT), VERDICT_AFTER_LAST_RESET);
    const struct wire_segment inside = wire_out(w, INSIDE), outside = wire_out(w, OUTSIDE);
    assert_true(inside.flags & TCP_RST && outside.flags & TCP_RST);
    assert_int_equal(inside.seq, t.server.expects);
    assert_int_equal(outside.seq, t.client.expects);
    assert_int_equal(outside.ack, had);
    wire_quiet(w);
    wire_expect_tables(w, 0, 0);
}

static void a_client_that_stops_at_the_most_ends_gracefully(void **state)
{
    struct wire *w = wire_of(state);
    struct wire_talk t;
    ask_last(w, &t, "", 0);
    answers(w, &t, 0, "", t.client.next);
    send_most(w, &t, 0);
    answers(w, &t, TCP_FIN, ANSWER, t.client.next);
    says(w, &t, TCP_FIN, t.server.expects);
}

static void it_keeps_no_connection_alive(void **state)
{
    struct wire *w = wire_of(state);
    struct wire_talk t;
    ask_last(w, &t, "", 0);
    answers(w, &t, TCP_FIN, ANSWER, t.client.next);
    says(w, &t, 0, t.server.expects);
    for (uint32_t waited = 0; waited <= w->limits.half_closed_ms - 1000; waited += 1000) {
        sends_on(w, &t, "x");
        acknowledged(w, &t, t.client.next);
        wire_wait(w, 1000);
    }
    wire_wait(w, 1000);
    assert_true(wire_out(w, INSIDE).flags & TCP_RST);
    assert_true(wire_out(w, OUTSIDE).flags & TCP_RST);
    wire_expect_tables(w, 0, 0);
}

/* A tombstone speaks in the client's count. */
static void a_late_copy_of_the_first_segment_is_acknowledged_to_the_end(void **state)
{
    struct wire *w = wire_of(state);
    struct wire_talk t;
    ask_last(w, &t, "more", TCP_FIN);
    answers(w, &t, TCP_FIN, ANSWER, t.client.next);
    says(w, &t, 0, t.server.expects);
    wire_wait(w, w->limits.linger_ms + 1000);
    wire_expect_tables(w, 0, 0);
    struct wire_segment late = wire_data(&t, FROM_CLIENT, TCP_ACK, wire_request);
    late.seq = t.client.isn + 1;
    late.ack = t.cookie + 1;
    assert_int_equal(wire_send(w, &late, FROM_CLIENT), VERDICT_TOMBSTONE_ACK);
    assert_int_equal(wire_out(w, OUTSIDE).ack, t.client.next);
}

/* What was owned when the connection opened lies so far behind then that, as numbers, it seems to
 * lie ahead. */
static void a_request_of_more_than_two_gigabytes_may_be_the_last(void **state)
{
    static const char head[] = "PUT /v1/items/7 HTTP/1.1\r\nHost: shop.example\r\n"
                               "Connection: close\r\nContent-Length: 2500000000\r\n\r\n";
    const uint32_t body = 2500000000U;
    struct wire *w = wire_of(state);
    struct wire_talk t = wire_talk(w);
    wire_handshake(w, &t);
    wire_ask(w, &t, head);
    wire_accept(w, &t);
    t.server.window = UINT16_MAX; /* scaled */
    wire_pass(w, &t, FROM_BACKEND, TCP_ACK, "");
    wire_quiet(w);
    const uint32_t end = t.client.next + body, step = 1U << 20;
    while (t.client.next != end) { /* bodies pass unread, so the end of each window will do */
        const uint32_t left = end - t.client.next;
        struct wire_segment s = wire_data(&t, FROM_CLIENT, TCP_ACK, "!");
        s.seq += (left < step ? left : step) - 1;
        assert_int_equal(wire_send(w, &s, FROM_CLIENT), VERDICT_FORWARDED);
        wire_out(w, INSIDE);
        t.client.next = t.server.expects = s.seq + 1;
        answers(w, &t, 0, "", t.client.next);
    }
    sends_on(w, &t, "more");
    acknowledged(w, &t, t.client.next);
    answers(w, &t, TCP_FIN, ANSWER, t.client.next);
    says(w, &t, TCP_FIN, end);
    wire_expect_tables(w, 1, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        WIRE_TEST(what_follows_the_last_request_is_acknowledged_and_reaches_nobody),
        WIRE_TEST(what_was_discarded_is_acknowledged_again),
        WIRE_TEST(the_last_request_sent_again_passes_alone),
        WIRE_TEST(nothing_is_acknowledged_before_the_backend_has_the_request),
        WIRE_TEST(a_hole_is_seen_by_its_sender),
        WIRE_TEST(a_client_that_ends_behind_it_is_closed_gracefully),
        WIRE_TEST(an_end_in_the_same_segment_passes_without_what_lies_before_it),
        WIRE_TEST(its_reset_is_exact_for_the_backend),
        WIRE_TEST(a_reset_at_what_was_discarded_ends_nothing),
        WIRE_TEST(an_end_within_what_was_discarded_is_none),
        WIRE_TEST(nothing_is_behind_an_end),
        WIRE_TEST(our_acknowledgement_is_as_new_as_what_the_client_has),
        WIRE_TEST(more_than_anyone_sends_unaware_is_reset_once_all_is_answered),
        WIRE_TEST(a_client_that_stops_at_the_most_ends_gracefully),
        WIRE_TEST(it_keeps_no_connection_alive),
        WIRE_TEST(a_request_of_more_than_two_gigabytes_may_be_the_last),
        WIRE_TEST(a_late_copy_of_the_first_segment_is_acknowledged_to_the_end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
