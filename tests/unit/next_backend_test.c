/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026, the Dropgate authors
 *
 * Services with several backends: one that refuses, is silent or lacks an option is followed by the
 * next while nothing of the request has been sent, and never afterwards. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
// clang-format off
#include <cmocka.h>
// clang-format on

#include "tests/unit/wire.h"

/* The request goes in; the talk's server is the backend that got the SYN. */
static uint16_t ask(struct wire *w, struct wire_talk *t)
{
    wire_handshake(w, t);
    const struct wire_segment syn = wire_ask(w, t, wire_request);
    const uint16_t backend = wire_backend_at(w, &syn.destination);
    assert_int_equal(backend % 2, w->family);
    wire_serve(w, t, backend);
    return backend;
}

/* The SYN to another backend, which becomes the talk's server. */
static uint16_t next(struct wire *w, struct wire_talk *t, uint32_t tried)
{
    const struct wire_segment syn = wire_out(w, INSIDE);
    const uint16_t backend = wire_backend_at(w, &syn.destination);
    const struct mac mac = wire_mac_of(backend);
    assert_int_equal(syn.flags, TCP_SYN);
    assert_int_equal(syn.seq, t->client.isn);
    assert_memory_equal(&syn.to, &mac, 6);
    assert_int_equal(backend % 2, w->family);
    assert_false(tried >> backend & 1);
    wire_serve(w, t, backend);
    return backend;
}

static struct wire_segment refusal(const struct wire_talk *t)
{
    struct wire_segment s = wire_segment(t, FROM_BACKEND, TCP_RST | TCP_ACK);
    s.seq = 0;
    return s;
}

/* From the backend's SYN-ACK to an answer at the client. */
static void serve(struct wire *w, struct wire_talk *t)
{
    const struct wire_segment held = wire_accept(w, t);
    assert_memory_equal(held.payload, wire_request, strlen(wire_request));
    assert_true(addr_equal(&held.destination, &t->server.at.addr));
    wire_pass(w, t, FROM_BACKEND, TCP_ACK, "HTTP/1.1 204 No Content\r\n\r\n");
    wire_pass(w, t, FROM_CLIENT, TCP_ACK, "");
    wire_quiet(w);
}

static void connections_are_spread_over_the_backends(void **state)
{
    struct wire *w = wire_of(state);
    uint32_t met[2 * WIRE_BACKENDS] = {0};
    wire_backends(w, 3);
    for (int i = 0; i < 300; i++) {
        struct wire_talk t = wire_talk(w);
        met[ask(w, &t)]++;
        serve(w, &t);
    }
    for (int i = 0; i < 3; i++)
        assert_in_range(met[2 * i + (int)w->family], 60, 140);
}

static void a_request_sent_again_stays_with_its_backend(void **state)
{
    struct wire *w = wire_of(state);
    struct wire_talk t = wire_talk(w);
    wire_backends(w, 3);
    const uint16_t first = ask(w, &t);
    w->health[first] = HEALTH_DOWN; /* the table changes while it is being opened */
    wire_backends(w, 3);
    const struct wire_segment syn_ack = wire_syn_ack(&t);
    assert_int_equal(wire_send(w, &syn_ack, FROM_BACKEND), VERDICT_BACKEND_ANSWERED);
    const struct wire_segment held = wire_out(w, INSIDE);
    assert_true(addr_equal(&held.destination, &t.server.at.addr));
}

static void a_backend_that_refuses_is_followed_by_the_next_at_once(void **state)
{
    struct wire *w = wire_of(state);
    struct wire_talk t = wire_talk(w);
    wire_backends(w, 3);
    const uint16_t first = ask(w, &t);
    const struct wire_segment reset = refusal(&t);
    assert_int_equal(wire_send(w, &reset, FROM_BACKEND), VERDICT_BACKEND_NEXT);
    next(w, &t, UINT32_C(1) << first);
    wire_quiet(w); /* nobody is told anything */
    assert_int_equal(w->shard->openings[first].refused, 1);
    serve(w, &t);
    assert_int_equal(w->shard->openings[first].opened, 0);
}

static void a_silent_backend_is_followed_by_the_next_after_the_time_out(void **state)
{
    struct wire *w = wire_of(state);
    struct wire_talk t = wire_talk(w);
    wire_backends(w, 3);
    const uint16_t first = ask(w, &t);
    const struct endpoint abandoned = t.server.at;
    wire_wait(w, 950);
    wire_quiet(w);
    wire_wait(w, 70);
    const struct wire_segment reset = wire_out(w, INSIDE); /* in case only its SYN-ACK was lost */
    assert_int_equal(reset.flags, TCP_RST);
    assert_int_equal(reset.seq, t.client.isn + 1);
    assert_true(addr_equal(&reset.destination, &abandoned.addr));
    next(w, &t, UINT32_C(1) << first);
    wire_quiet(w);
    assert_int_equal(w->shard->openings[first].timeouts, 1);
    assert_int_equal(w->shard->verdicts[VERDICT_BACKEND_NEXT], 1);
    serve(w, &t);
}

static void one_that_fails_meanwhile_leaves_the_others_to_be_asked(void **state)
{
    struct wire *w = wire_of(state);
    struct wire_talk t = wire_talk(w);
    wire_backends(w, 2);
    const uint16_t first = ask(w, &t);
    w->health[first] = HEALTH_DOWN; /* others have found out, and the table has only one now */
    wire_backends(w, 2);
    wire_wait(w, 1020);
    assert_int_equal(wire_out(w, INSIDE).flags, TCP_RST);
    next(w, &t, UINT32_C(1) << first);
    wire_quiet(w);
    serve(w, &t);
}

static void a_late_answer_of_the_abandoned_backend_is_reset(void **state)
{
    struct wire *w = wire_of(state);
    struct wire_talk t = wire_talk(w);
    wire_backends(w, 2);
    ask(w, &t);
    const struct wire_segment late = wire_syn_ack(&t);
    wire_wait(w, 1020);
    wire_forget_frames(w);
    assert_int_equal(wire_send(w, &late, FROM_BACKEND), VERDICT_INSIDE_RESET);
    const struct wire_segment reset = wire_out(w, INSIDE);
    assert_int_equal(reset.flags, TCP_RST);
    assert_int_equal(reset.seq, late.ack);
    wire_quiet(w); /* the request went to nobody */
    wire_expect_tables(w, 1, 1);
}

static void when_all_refuse_the_client_is_told(void **state)
{
    struct wire *w = wire_of(state);
    struct wire_talk t = wire_talk(w);
    wire_backends(w, 3);
    uint32_t tried = UINT32_C(1) << ask(w, &t);
    for (int i = 0; i < 2; i++) {
        const struct wire_segment reset = refusal(&t);
        assert_int_equal(wire_send(w, &reset, FROM_BACKEND), VERDICT_BACKEND_NEXT);
        tried |= UINT32_C(1) << next(w, &t, tried);
    }
    const struct wire_segment last = refusal(&t);
    assert_int_equal(wire_send(w, &last, FROM_BACKEND), VERDICT_BACKEND_REFUSED);
    wire_unavailable(w, &t);
    wire_quiet(w);
    wire_expect_tables(w, 0, 0);
}

/* Its SYN or its answer may just have been lost. */
static void one_that_was_only_silent_is_asked_again_when_the_last_refuses(void **state)
{
    struct wire *w = wire_of(state);
    struct wire_talk t = wire_talk(w);
    wire_backends(w, 3);
    const uint16_t first = ask(w, &t);
    wire_wait(w, 1020);
    assert_int_equal(wire_out(w, INSIDE).flags, TCP_RST);
    uint32_t tried = UINT32_C(1) << first;
    for (int i = 0; i < 2; i++) {
        tried |= UINT32_C(1) << next(w, &t, tried);
        const struct wire_segment reset = refusal(&t);
        assert_int_equal(wire_send(w, &reset, FROM_BACKEND), VERDICT_BACKEND_NEXT);
    }
    wire_quiet(w); /* not at once: what it sent before it was reset may still be on its way */
    wire_wait(w, 950);
    wire_quiet(w);
    wire_wait(w, 70);
    assert_int_equal(next(w, &t, tried & ~(UINT32_C(1) << first)), first);
    wire_quiet(w);
    serve(w, &t);
}

static void one_that_was_silent_and_then_refuses_is_the_end(void **state)
{
    struct wire *w = wire_of(state);
    struct wire_talk t = wire_talk(w);
    wire_backends(w, 2);
    const uint16_t first = ask(w, &t);
    wire_wait(w, 1020);
    assert_int_equal(wire_out(w, INSIDE).flags, TCP_RST);
    next(w, &t, UINT32_C(1) << first);
    struct wire_segment reset = refusal(&t);
    assert_int_equal(wire_send(w, &reset, FROM_BACKEND), VERDICT_BACKEND_NEXT);
    assert_int_equal(wire_send(w, &reset, FROM_BACKEND), VERDICT_STATE); /* again */
    wire_wait(w, 1020);
    assert_int_equal(next(w, &t, 0), first);
    reset = refusal(&t);
    assert_int_equal(wire_send(w, &reset, FROM_BACKEND), VERDICT_BACKEND_REFUSED);
    wire_unavailable(w, &t);
    wire_quiet(w);
    wire_expect_tables(w, 0, 0);
}

static void no_more_are_asked_than_tries_are_allowed(void **state)
{
    struct wire *w = wire_of(state);
    struct wire_talk t = wire_talk(w);
    w->limits.syn_tries = 2;
    wire_backends(w, 4);
    const uint16_t first = ask(w, &t);
    const struct wire_segment one = refusal(&t);
    assert_int_equal(wire_send(w, &one, FROM_BACKEND), VERDICT_BACKEND_NEXT);
    next(w, &t, UINT32_C(1) << first);
    const struct wire_segment two = refusal(&t);
    assert_int_equal(wire_send(w, &two, FROM_BACKEND), VERDICT_BACKEND_REFUSED);
    wire_out(w, OUTSIDE);
    wire_quiet(w);
}

static void when_all_are_silent_the_last_is_asked_again_then_the_client_is_told(void **state)
{
    struct wire *w = wire_of(state);
    struct wire_talk t = wire_talk(w);
    wire_backends(w, 2);
    const uint16_t first = ask(w, &t);
    wire_wait(w, 1020);
    wire_out(w, INSIDE); /* RST to the first */
    next(w, &t, UINT32_C(1) << first);
    for (int try = 2; try < 4; try++) { /* four SYNs in all */
        wire_wait(w, (1000U << (try == 2 ? 0 : try - 1)) + 20);
        const struct wire_segment syn = wire_out(w, INSIDE);
        assert_int_equal(syn.flags, TCP_SYN);
        assert_true(addr_equal(&syn.destination, &t.server.at.addr));
    }
    wire_wait(w, 8020);
    assert_int_equal(wire_out(w, INSIDE).flags, TCP_RST);
    wire_unavailable(w, &t);
    wire_quiet(w);
    assert_int_equal(w->shard->verdicts[VERDICT_BACKEND_TIMEOUT], 1);
    wire_expect_tables(w, 0, 0);
}

/* A request may have been executed: nobody else may get it. */
static void after_a_byte_was_sent_a_reset_is_passed_on(void **state)
{
    struct wire *w = wire_of(state);
    struct wire_talk t = wire_talk(w);
    wire_backends(w, 3);
    ask(w, &t);
    wire_accept(w, &t);
    wire_pass(w, &t, FROM_BACKEND, TCP_RST | TCP_ACK, "");
    wire_wait(w, 20000);
    wire_quiet(w);
    wire_expect_tables(w, 0, 0);
}

static void after_a_byte_was_sent_silence_moves_nothing(void **state)
{
    struct wire *w = wire_of(state);
    struct wire_talk t = wire_talk(w);
    wire_backends(w, 3);
    ask(w, &t);
    wire_accept(w, &t);
    const uint64_t until = w->now_ms + 20000;
    while (w->now_ms < until) {
        wire_wait(w, 500);
        while (wire_pending(w) > 0) {
            const struct wire_segment s = wire_out(w, INSIDE);
            assert_int_not_equal(s.flags & TCP_SYN, TCP_SYN);
            assert_true(addr_equal(&s.destination, &t.server.at.addr));
        }
    }
}

/* A request in two pieces; the gateway has acknowledged the first, and so owes it to somebody. */
static uint16_t ask_in_pieces(struct wire *w, struct wire_talk *t)
{
    enum { FIRST = 20 };
    wire_handshake(w, t);
    struct wire_segment data = wire_data(t, FROM_CLIENT, TCP_ACK, wire_request);
    const uint32_t length = data.length;
    data.length = FIRST;
    assert_int_equal(wire_send(w, &data, FROM_CLIENT), VERDICT_READING);
    assert_int_equal(wire_out(w, OUTSIDE).ack, data.seq + FIRST);
    data.seq += FIRST;
    data.payload = wire_request + FIRST;
    data.length = (uint16_t)(length - FIRST);
    assert_int_equal(wire_send(w, &data, FROM_CLIENT), VERDICT_OPENED);
    const struct wire_segment syn = wire_out(w, INSIDE);
    const uint16_t backend = wire_backend_at(w, &syn.destination);
    t->client.next += length;
    t->server.expects = syn.seq + 1;
    t->server.echo = syn.options.tsval;
    wire_serve(w, t, backend);
    return backend;
}

static void pitfall_26_acknowledged_bytes_go_to_the_next_backend_whole(void **state)
{
    struct wire *w = wire_of(state);
    struct wire_talk t = wire_talk(w);
    wire_backends(w, 3);
    uint32_t tried = UINT32_C(1) << ask_in_pieces(w, &t);
    const struct wire_segment reset = refusal(&t);
    assert_int_equal(wire_send(w, &reset, FROM_BACKEND), VERDICT_BACKEND_NEXT);
    tried |= UINT32_C(1) << next(w, &t, tried);
    wire_wait(w, 1020);
    assert_int_equal(wire_out(w, INSIDE).flags, TCP_RST);
    next(w, &t, tried);
    const struct wire_segment held = wire_accept(w, &t);
    assert_int_equal(held.length, strlen(wire_request));
    assert_memory_equal(held.payload, wire_request, held.length);
    wire_pass(w, &t, FROM_BACKEND, TCP_ACK, "HTTP/1.1 204 No Content\r\n\r\n");
    wire_expect_tables(w, 1, 0);
}

static void pitfall_26_acknowledged_bytes_that_nobody_takes_are_answered_by_us(void **state)
{
    struct wire *w = wire_of(state);
    struct wire_talk t = wire_talk(w);
    wire_backends(w, 2);
    const uint16_t first = ask_in_pieces(w, &t);
    const struct wire_segment one = refusal(&t);
    assert_int_equal(wire_send(w, &one, FROM_BACKEND), VERDICT_BACKEND_NEXT);
    next(w, &t, UINT32_C(1) << first);
    const struct wire_segment two = refusal(&t);
    assert_int_equal(wire_send(w, &two, FROM_BACKEND), VERDICT_BACKEND_REFUSED);
    wire_unavailable(w, &t);
    wire_quiet(w);
    wire_expect_tables(w, 0, 0);
}

static void pitfall_30_a_backend_that_lacks_what_was_granted_is_followed_by_the_next(void **state)
{
    struct wire *w = wire_of(state);
    struct wire_talk t = wire_talk(w);
    wire_backends(w, 2);
    const uint16_t first = ask(w, &t);
    struct wire_segment lacking = wire_syn_ack(&t);
    lacking.options.sack_ok = false;
    assert_int_equal(wire_send(w, &lacking, FROM_BACKEND), VERDICT_BACKEND_OPTIONS);
    const struct message told = wire_told(w);
    assert_int_equal(told.kind, MESSAGE_BACKEND_OPTIONS);
    assert_int_equal(told.backend, first);
    assert_false(told.options.sack_ok);
    assert_true(told.options.timestamps);
    next(w, &t, UINT32_C(1) << first);
    assert_int_equal(wire_out(w, INSIDE).flags, TCP_RST); /* to the one that lacks it */
    wire_quiet(w);
    serve(w, &t);
}

static void pitfall_12_a_backend_without_a_next_hop_is_passed_over(void **state)
{
    struct wire *w = wire_of(state);
    wire_backends(w, 2);
    w->neighbors->backend[w->family].known = false;
    for (int i = 0; i < 20; i++) {
        struct wire_talk t = wire_talk(w);
        assert_int_equal(ask(w, &t), 2 + w->family);
        serve(w, &t);
    }
    w->neighbors->backend[2 + w->family].known = false;
    struct wire_talk t = wire_talk(w);
    wire_handshake(w, &t);
    const struct wire_segment data = wire_data(&t, FROM_CLIENT, TCP_ACK | TCP_PSH, wire_request);
    assert_int_equal(wire_send(w, &data, FROM_CLIENT), VERDICT_BACKEND_UNRESOLVED);
    wire_quiet(w);
}

static void a_tuple_that_another_service_has_there_leads_to_another_backend(void **state)
{
    struct wire *w = wire_of(state);
    struct wire_talk one = wire_talk(w), two = one;
    wire_backends(w, 2);
    const uint16_t first = ask(w, &one);
    wire_talk_to(w, &two, (uint16_t)(2 + w->family));
    assert_int_not_equal(ask(w, &two), first);
    const struct wire_segment reset = refusal(&two);
    assert_int_equal(wire_send(w, &reset, FROM_BACKEND), VERDICT_BACKEND_REFUSED);
    assert_int_equal(wire_out(w, OUTSIDE).source_port, two.listen.port);
    serve(w, &one); /* and the other connection never noticed */
}

static void openings_that_fail_in_a_row_are_told(void **state)
{
    struct wire *w = wire_of(state);
    w->limits.opening_failures = 3;
    for (int i = 0; i < 7; i++) {
        struct wire_talk t = wire_talk(w);
        ask(w, &t);
        if (i == 2) { /* one that succeeds begins the row anew */
            serve(w, &t);
            continue;
        }
        const struct wire_segment reset = refusal(&t);
        assert_int_equal(wire_send(w, &reset, FROM_BACKEND), VERDICT_BACKEND_REFUSED);
        wire_out(w, OUTSIDE);
        assert_int_equal(w->message_count, i >= 5);
    }
    const struct message told = wire_told(w);
    assert_int_equal(told.kind, MESSAGE_BACKEND_FAILED);
    assert_int_equal(told.backend, w->family);
    assert_int_equal(w->shard->openings[w->family].refused, 6);
    assert_int_equal(w->shard->openings[w->family].opened, 1);
}

/* No new ones, but what is open goes on: also when nobody else is left. */
static void a_kept_connection_to_a_backend_that_drains_goes_on(void **state)
{
    struct wire *w = wire_of(state);
    struct wire_talk t = wire_talk(w), late = wire_talk(w);
    wire_handshake(w, &t);
    wire_ask(w, &t, wire_request);
    wire_accept(w, &t);
    wire_pass(w, &t, FROM_BACKEND, TCP_ACK | TCP_PSH, "HTTP/1.1 204 No Content\r\n\r\n");
    w->services->backend[w->family].drain = true;
    wire_backends(w, 1); /* placed anew */
    wire_begin(w);
    wire_pass(w, &t, FROM_CLIENT, TCP_ACK | TCP_PSH, wire_request);
    wire_handshake(w, &late);
    const struct wire_segment request = wire_data(&late, FROM_CLIENT, TCP_ACK, wire_request);
    assert_int_equal(wire_send(w, &request, FROM_CLIENT), VERDICT_BACKENDS_DOWN);
    const struct wire_segment told = wire_out(w, OUTSIDE);
    assert_memory_equal(told.payload, "HTTP/1.1 503 ", 13);
    wire_expect_tables(w, 1, 0);
    w->services->backend[w->family].drain =
        false; /* down, not draining: a later one is told, too */
    w->health[w->family] = HEALTH_DOWN;
    wire_backends(w, 1);
    wire_begin(w);
    const struct wire_segment later = wire_data(&t, FROM_CLIENT, TCP_ACK, wire_request);
    wire_send(w, &later, FROM_CLIENT);
    assert_int_equal(w->shard->verdicts[VERDICT_BACKENDS_DOWN], 2);
    wire_forget_frames(w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        WIRE_TEST(connections_are_spread_over_the_backends),
        WIRE_TEST(a_request_sent_again_stays_with_its_backend),
        WIRE_TEST(a_backend_that_refuses_is_followed_by_the_next_at_once),
        WIRE_TEST(a_silent_backend_is_followed_by_the_next_after_the_time_out),
        WIRE_TEST(one_that_fails_meanwhile_leaves_the_others_to_be_asked),
        WIRE_TEST(a_late_answer_of_the_abandoned_backend_is_reset),
        WIRE_TEST(when_all_refuse_the_client_is_told),
        WIRE_TEST(one_that_was_only_silent_is_asked_again_when_the_last_refuses),
        WIRE_TEST(one_that_was_silent_and_then_refuses_is_the_end),
        WIRE_TEST(no_more_are_asked_than_tries_are_allowed),
        WIRE_TEST(when_all_are_silent_the_last_is_asked_again_then_the_client_is_told),
        WIRE_TEST(after_a_byte_was_sent_a_reset_is_passed_on),
        WIRE_TEST(after_a_byte_was_sent_silence_moves_nothing),
        WIRE_TEST(pitfall_26_acknowledged_bytes_go_to_the_next_backend_whole),
        WIRE_TEST(pitfall_26_acknowledged_bytes_that_nobody_takes_are_answered_by_us),
        WIRE_TEST(pitfall_30_a_backend_that_lacks_what_was_granted_is_followed_by_the_next),
        WIRE_TEST(pitfall_12_a_backend_without_a_next_hop_is_passed_over),
        WIRE_TEST(a_tuple_that_another_service_has_there_leads_to_another_backend),
        WIRE_TEST(openings_that_fail_in_a_row_are_told),
        WIRE_TEST(a_kept_connection_to_a_backend_that_drains_goes_on),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
