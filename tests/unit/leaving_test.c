/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026, the Dropgate authors
 *
 * Packets of services and backends that a reload has removed: who has begun goes on to the end, and
 * nobody new is led there. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
// clang-format off
#include <cmocka.h>
// clang-format on

#include "dataplane/tcp/census.h"
#include "tests/unit/wire.h"

/* As settings_services_at leaves it. */
static void remove_service(struct wire *w, uint16_t service)
{
    struct services *s = w->services;
    endpoints_free(s->by_listen);
    s->by_listen = endpoints_new(s->count);
    s->by_leaving = endpoints_new(1);
    s->service[service].presence = LEAVING;
    for (uint32_t i = 0; i < s->count; i++) {
        const struct endpoint *listen = &s->service[i].listen;
        endpoints_add(i == service ? s->by_leaving : s->by_listen, &listen->addr, listen->port,
                      (int32_t)i);
    }
    s->generation++;
    wire_begin(w);
}

/* The same of a backend: nobody is led to it. */
static void remove_backend(struct wire *w, uint16_t backend)
{
    w->services->backend[backend].presence = LEAVING;
    w->services->backend[backend].drain = true;
    w->services->generation++;
    wire_backends(w, WIRE_BACKENDS);
    wire_begin(w);
}

static void a_syn_to_a_removed_service_finds_none(void **state)
{
    struct wire *w = wire_of(state);
    struct wire_talk t = wire_talk(w);
    remove_service(w, (uint16_t)w->family);
    struct wire_segment syn = wire_segment(&t, FROM_CLIENT, TCP_SYN);
    assert_int_equal(wire_send(w, &syn, FROM_CLIENT), VERDICT_NO_SERVICE); /* in the lane */
    syn.options.sack_ok = false;
    assert_int_equal(wire_send(w, &syn, FROM_CLIENT), VERDICT_NO_SERVICE); /* beside it */
    wire_quiet(w);
}

static void connections_of_a_removed_service_go_on_to_their_end(void **state)
{
    struct wire *w = wire_of(state);
    struct wire_talk t = wire_talk(w);
    wire_open(w, &t);
    remove_service(w, (uint16_t)w->family);
    wire_pass(w, &t, FROM_CLIENT, TCP_ACK | TCP_PSH, "more of the body");
    wire_pass(w, &t, FROM_BACKEND, TCP_ACK | TCP_PSH, "HTTP/1.1 200 OK\r\n");
    wire_close(w, &t, FROM_CLIENT);
    wire_wait(w, 4000);
    wire_expect_tables(w, 0, 0);
}

static void a_cookie_of_before_opens_nothing_at_a_removed_service(void **state)
{
    struct wire *w = wire_of(state);
    struct wire_talk t = wire_talk(w);
    wire_handshake(w, &t);
    remove_service(w, (uint16_t)w->family);
    const struct wire_segment ask = wire_data(&t, FROM_CLIENT, TCP_ACK | TCP_PSH, wire_request);
    assert_int_equal(wire_send(w, &ask, FROM_CLIENT), VERDICT_NO_SERVICE);
    wire_quiet(w);
    wire_expect_tables(w, 0, 0);
}

static void connections_of_a_removed_backend_go_on_to_their_end(void **state)
{
    struct wire *w = wire_of(state);
    struct wire_talk t = wire_talk(w);
    wire_open(w, &t);
    remove_backend(w, (uint16_t)w->family);
    wire_pass(w, &t, FROM_CLIENT, TCP_ACK | TCP_PSH, "more of the body");
    wire_pass(w, &t, FROM_BACKEND, TCP_ACK | TCP_PSH, "HTTP/1.1 200 OK\r\n");
    wire_close(w, &t, FROM_BACKEND);
}

static void a_head_that_is_complete_later_goes_to_one_that_is_left(void **state)
{
    struct wire *w = wire_of(state);
    struct wire_talk t = wire_talk(w); /* with one backend, the first of its family */
    wire_handshake(w, &t);
    const struct wire_segment begin =
        wire_data(&t, FROM_CLIENT, TCP_ACK | TCP_PSH, "GET /v1/items/7 HTTP/1.1\r\n");
    assert_int_equal(wire_send(w, &begin, FROM_CLIENT), VERDICT_READING);
    wire_out(w, OUTSIDE);
    t.client.next += begin.length;
    remove_backend(w, (uint16_t)w->family);
    const struct wire_segment rest =
        wire_data(&t, FROM_CLIENT, TCP_ACK | TCP_PSH, "Host: shop.example\r\n\r\n");
    assert_int_equal(wire_send(w, &rest, FROM_CLIENT), VERDICT_OPENED);
    const struct wire_segment syn = wire_out(w, INSIDE);
    assert_int_equal(syn.flags, TCP_SYN);
    assert_int_not_equal(wire_backend_at(w, &syn.destination), w->family);
}

static void one_that_was_silent_is_not_asked_again_when_it_was_removed(void **state)
{
    struct wire *w = wire_of(state);
    struct wire_talk t = wire_talk(w);
    wire_backends(w, 2);
    wire_begin(w);
    wire_handshake(w, &t);
    const struct wire_segment first = wire_ask(w, &t, wire_request);
    const uint16_t silent = wire_backend_at(w, &first.destination);
    wire_wait(w, w->limits.syn_timeout_ms + 20);
    wire_out(w, INSIDE); /* the reset of the one that was silent */
    const struct wire_segment second = wire_out(w, INSIDE);
    assert_int_equal(second.flags, TCP_SYN);
    remove_backend(w, silent);
    for (uint16_t i = 0; i < 2 * WIRE_BACKENDS; i++) /* nor is there another */
        w->neighbors->backend[i].known =
            i == silent || i == wire_backend_at(w, &second.destination);
    wire_serve(w, &t, wire_backend_at(w, &second.destination));
    struct wire_segment refusal = wire_segment(&t, FROM_BACKEND, TCP_RST | TCP_ACK);
    refusal.seq = 0;
    wire_send(w, &refusal, FROM_BACKEND);
    wire_forget_frames(w);
    wire_wait(w, 4 * w->limits.syn_timeout_ms);
    while (wire_pending(w) > 0)
        if (w->frames[w->taken].to == INSIDE)
            fail_msg("the removed backend is asked");
        else
            wire_out(w, OUTSIDE);
}

/* Also when it was the one with the highest number, which the services then do not reach to. */
static void nothing_is_kept_of_a_backend_for_the_next_one_of_its_number(void **state)
{
    struct wire *w = wire_of(state);
    const uint32_t last = w->services->backend_count - 1;
    for (uint32_t gone = 0; gone <= last; gone += last) {
        w->shard->openings[gone].failures = 1;
        w->shard->openings[gone].refused = 1;
        w->shard->watches[gone].clients = 1;
        w->services->backend[gone].presence = ABSENT;
        w->services->backend_count = last + (gone != last);
        w->services->generation++;
        wire_wait(w, 1);
        assert_int_equal(w->shard->openings[gone].failures, 0);
        assert_int_equal(w->shard->openings[gone].refused, 0);
        assert_int_equal(w->shard->watches[gone].clients, 0);
    }
}

static void a_census_counts_whose_flows_there_are(void **state)
{
    enum { FLOWS = 100 }; /* more than are looked at in one tick */
    struct wire *w = wire_of(state);
    struct census *census = census_new(8, 2 * WIRE_BACKENDS);
    assert_non_null(census);
    for (int round = 0; round < 2; round++) { /* and again, from zero */
        for (int i = 0; i < FLOWS; i++) {
            struct wire_talk t = wire_talk(w);
            wire_open(w, &t);
        }
        assert_true(census_is_back(w->shard));
        census_begin(census, w->shard);
        assert_false(census_is_back(w->shard));
        for (int tick = 0; tick < 16 && !census_is_back(w->shard); tick++)
            shard_tick(w->shard);
        assert_true(census_is_back(w->shard));
        for (uint32_t i = 0; i < 8; i++)
            assert_int_equal(census->of_service[i],
                             i == w->family ? FLOWS * (unsigned)(round + 1) : 0);
        for (uint32_t i = 0; i < 2 * WIRE_BACKENDS; i++)
            assert_int_equal(census->of_backend[i],
                             i == w->family ? FLOWS * (unsigned)(round + 1) : 0);
    }
    free(census);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        WIRE_TEST(a_syn_to_a_removed_service_finds_none),
        WIRE_TEST(connections_of_a_removed_service_go_on_to_their_end),
        WIRE_TEST(a_cookie_of_before_opens_nothing_at_a_removed_service),
        WIRE_TEST(connections_of_a_removed_backend_go_on_to_their_end),
        WIRE_TEST(a_head_that_is_complete_later_goes_to_one_that_is_left),
        WIRE_TEST(one_that_was_silent_is_not_asked_again_when_it_was_removed),
        WIRE_TEST(nothing_is_kept_of_a_backend_for_the_next_one_of_its_number),
        WIRE_TEST(a_census_counts_whose_flows_there_are),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
