/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026, the Dropgate authors
 *
 * Backends that leave requests without an answer: what counts against them, and what does not. */
#include "dataplane/tcp/watch.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
// clang-format off
#include <cmocka.h>
// clang-format on

#include "tests/unit/wire.h"

enum { PATIENCE_MS = 2000, NEEDED = 3 };

static struct wire *watching(void **state)
{
    struct wire *w = wire_of(state);
    for (uint32_t i = 0; i < w->services->count; i++)
        w->services->service[i].response_timeout_ms = PATIENCE_MS;
    w->limits.response_failures = NEEDED;
    wire_begin(w);
    return w;
}

/* A client of its own address: of a /48 of its own in IPv6. */
static struct wire_talk client(struct wire *w, uint8_t number)
{
    struct wire_talk t = wire_talk(w);
    t.client.at.addr.bytes[w->family == WIRE_V4 ? 15 : 5] ^= (uint8_t)(number << 1);
    return t;
}

/* Its request has been sent to its backend, and acknowledged. */
static struct wire_talk waiting(struct wire *w, uint8_t number)
{
    struct wire_talk t = client(w, number);
    wire_handshake(w, &t);
    wire_ask(w, &t, wire_request);
    wire_accept(w, &t);
    const struct wire_segment ack = wire_segment(&t, FROM_BACKEND, TCP_ACK);
    wire_send(w, &ack, FROM_BACKEND);
    wire_forget_frames(w);
    return t;
}

static void answer(struct wire *w, struct wire_talk *t)
{
    wire_pass(w, t, FROM_BACKEND, TCP_ACK | TCP_PSH, "HTTP/1.1 200 OK\r\n");
    wire_forget_frames(w);
}

static void wait_until(struct wire *w, uint32_t ms)
{
    wire_wait(w, ms);
    wire_forget_frames(w);
}

static uint64_t unanswered(const struct wire *w)
{
    return w->shard->openings[w->family].unanswered;
}

static void clients_that_wait_in_vain_are_told_of_once(void **state)
{
    struct wire *w = watching(state);
    for (uint8_t i = 0; i < NEEDED; i++)
        waiting(w, i);
    wait_until(w, PATIENCE_MS - 100);
    assert_int_equal(unanswered(w), 0);
    assert_int_equal(w->message_count, 0);
    wait_until(w, 200);
    assert_int_equal(unanswered(w), NEEDED);
    const struct message told = wire_told(w);
    assert_int_equal(told.kind, MESSAGE_BACKEND_UNANSWERED);
    assert_int_equal(told.backend, w->family);
    wait_until(w, 2 * PATIENCE_MS);
    assert_int_equal(w->message_count, 0);
}

static void one_client_counts_once_however_much_it_asks(void **state)
{
    struct wire *w = watching(state);
    for (int i = 0; i < 6; i++)
        waiting(w, 0);
    wait_until(w, PATIENCE_MS + 100);
    assert_int_equal(unanswered(w), 6);
    assert_int_equal(w->message_count, 0);
}

static void an_answer_to_anybody_says_that_it_is_alive(void **state)
{
    struct wire *w = watching(state);
    struct wire_talk quick = waiting(w, 9);
    for (uint8_t i = 0; i < NEEDED - 1; i++)
        waiting(w, i);
    wait_until(w, 1000);
    answer(w, &quick); /* too early to help those that wait longer */
    wait_until(w, PATIENCE_MS - 900);
    assert_int_equal(unanswered(w), NEEDED - 1);
    quick = waiting(w, 9);
    answer(w, &quick); /* slow requests beside others that are answered */
    waiting(w, NEEDED);
    wait_until(w, PATIENCE_MS + 100);
    assert_int_equal(unanswered(w), NEEDED);
    assert_int_equal(w->message_count, 0);
    assert_int_equal(w->shard->openings[w->family].answered, 2);
}

static void a_later_request_of_a_kept_alive_connection_is_watched_too(void **state)
{
    struct wire *w = watching(state);
    struct wire_talk t[NEEDED];
    for (uint8_t i = 0; i < NEEDED; i++) {
        t[i] = waiting(w, i);
        answer(w, &t[i]);
    }
    wait_until(w, PATIENCE_MS + 100);
    assert_int_equal(unanswered(w), 0);
    for (uint8_t i = 0; i < NEEDED; i++) {
        wire_pass(w, &t[i], FROM_CLIENT, TCP_ACK | TCP_PSH, wire_request);
        const struct wire_segment ack = wire_segment(&t[i], FROM_BACKEND, TCP_ACK);
        wire_send(w, &ack, FROM_BACKEND); /* its kernel has it: that is no answer */
        wire_forget_frames(w);
    }
    wait_until(w, PATIENCE_MS + 100);
    assert_int_equal(unanswered(w), NEEDED);
    assert_int_equal(wire_told(w).kind, MESSAGE_BACKEND_UNANSWERED);
}

static void a_body_that_is_still_coming_is_not_the_backends_fault(void **state)
{
    struct wire *w = watching(state);
    for (uint8_t i = 0; i < NEEDED; i++) {
        struct wire_talk t = client(w, i);
        wire_open(w, &t); /* an upload without end */
    }
    wait_until(w, 4 * PATIENCE_MS);
    assert_int_equal(unanswered(w), 0);
    assert_int_equal(w->message_count, 0);
}

static void a_hole_in_a_body_is_not_the_backends_fault(void **state)
{
    static const char upload[] = "PUT / HTTP/1.1\r\nHost: a.b\r\nContent-Length: 100\r\n\r\n";
    struct wire *w = watching(state);
    struct wire_talk t[NEEDED];
    for (uint8_t i = 0; i < NEEDED; i++) {
        t[i] = client(w, i);
        wire_handshake(w, &t[i]);
        wire_ask(w, &t[i], upload);
        wire_accept(w, &t[i]);
        wire_pass(w, &t[i], FROM_BACKEND, TCP_ACK, "");
        struct wire_segment last = wire_data(&t[i], FROM_CLIENT, TCP_ACK, "b");
        last.seq += 99;
        assert_int_equal(wire_send(w, &last, FROM_CLIENT), VERDICT_FORWARDED);
        wire_forget_frames(w);
    }
    wait_until(w, 4 * PATIENCE_MS);
    assert_int_equal(unanswered(w), 0);
    char missing[100] = {0};
    memset(missing, 'b', sizeof missing - 1);
    for (uint8_t i = 0; i < NEEDED; i++) { /* from now on it is its turn */
        wire_pass(w, &t[i], FROM_CLIENT, TCP_ACK, missing);
        t[i].server.expects++;
        wire_pass(w, &t[i], FROM_BACKEND, TCP_ACK, "");
    }
    wait_until(w, PATIENCE_MS - 100);
    assert_int_equal(unanswered(w), 0);
    wait_until(w, 200);
    assert_int_equal(unanswered(w), NEEDED);
    assert_int_equal(wire_told(w).kind, MESSAGE_BACKEND_UNANSWERED);
}

static void connections_that_have_ended_are_not_waited_for(void **state)
{
    struct wire *w = watching(state);
    for (uint8_t i = 0; i < NEEDED; i++) {
        struct wire_talk t = waiting(w, i);
        const struct wire_segment reset = wire_segment(&t, FROM_CLIENT, TCP_RST);
        wire_send(w, &reset, FROM_CLIENT);
        wire_forget_frames(w);
    }
    wait_until(w, PATIENCE_MS + 100);
    assert_int_equal(unanswered(w), 0);
}

static void nothing_is_expected_where_a_service_says_so(void **state)
{
    struct wire *w = watching(state);
    for (uint32_t i = 0; i < w->services->count; i++)
        w->services->service[i].response_timeout_ms = 0;
    for (uint8_t i = 0; i < NEEDED; i++)
        waiting(w, i);
    wait_until(w, 4 * PATIENCE_MS);
    assert_int_equal(unanswered(w), 0);
    assert_int_equal(w->message_count, 0);
}

/* A kept connection whose backend has been silent for a while: nothing new goes there. */
static void a_request_on_a_connection_to_a_mute_backend_is_sent_elsewhere_by_a_reset(void **state)
{
    struct wire *w = watching(state);
    struct wire_talk t = waiting(w, 0), other = waiting(w, 1);
    answer(w, &t);
    const struct wire_segment ack = wire_segment(&t, FROM_CLIENT, TCP_ACK);
    wire_send(w, &ack, FROM_CLIENT);
    wire_forget_frames(w);
    w->neighbors->backend[w->family].mute = true;
    wire_begin(w);
    wire_wait(w, 1500); /* two probes of a second each have found it so, but it has just answered */
    wire_pass(w, &t, FROM_CLIENT, TCP_ACK | TCP_PSH, wire_request);
    answer(w, &t);
    const struct wire_segment again = wire_segment(&t, FROM_CLIENT, TCP_ACK);
    wire_send(w, &again, FROM_CLIENT);
    wire_forget_frames(w);
    wire_wait(w, 2100);
    wire_forget_frames(w);
    const struct wire_segment request = wire_data(&t, FROM_CLIENT, TCP_ACK, wire_request);
    assert_int_equal(wire_send(w, &request, FROM_CLIENT), VERDICT_BACKEND_MUTE);
    bool told = false;
    while (wire_pending(w) > 0) {
        const struct wire_frame *frame = &w->frames[w->taken];
        const struct wire_segment reset = wire_out(w, frame->to);
        assert_true(reset.flags & TCP_RST);
        assert_int_equal(reset.length, 0); /* nothing of the request */
        told |= frame->to == OUTSIDE && reset.seq == t.client.expects;
    }
    assert_true(told);
    wire_expect_tables(w, 1, 0);
    /* One that waits for an answer goes on waiting: its request was delivered. */
    const struct wire_segment more = wire_data(&other, FROM_CLIENT, TCP_ACK, wire_request);
    assert_int_equal(wire_send(w, &more, FROM_CLIENT), VERDICT_FORWARDED);
    wire_forget_frames(w);
    w->message_count = 0;
}

/* More flows than places: those that find none are not watched, and places come back. */
static void what_is_watched_is_bounded(void **state)
{
    struct wire *w = watching(state);
    for (uint8_t i = 0; i < 3 * WATCH_FLOWS; i++) {
        struct wire_talk t = waiting(w, i);
        if (i % 2 == 0)
            answer(w, &t);
    }
    assert_int_equal(w->shard->watches[w->family].used, UINT8_MAX);
    wait_until(w, PATIENCE_MS + 100);
    assert_in_range(unanswered(w), WATCH_FLOWS / 2, WATCH_FLOWS);
    assert_int_equal(w->shard->watches[w->family].used, 0);
    w->message_count = 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        WIRE_TEST(clients_that_wait_in_vain_are_told_of_once),
        WIRE_TEST(one_client_counts_once_however_much_it_asks),
        WIRE_TEST(an_answer_to_anybody_says_that_it_is_alive),
        WIRE_TEST(a_later_request_of_a_kept_alive_connection_is_watched_too),
        WIRE_TEST(a_body_that_is_still_coming_is_not_the_backends_fault),
        WIRE_TEST(a_hole_in_a_body_is_not_the_backends_fault),
        WIRE_TEST(connections_that_have_ended_are_not_waited_for),
        WIRE_TEST(nothing_is_expected_where_a_service_says_so),
        WIRE_TEST(a_request_on_a_connection_to_a_mute_backend_is_sent_elsewhere_by_a_reset),
        WIRE_TEST(what_is_watched_is_bounded),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
