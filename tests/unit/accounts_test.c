/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026, the Dropgate authors
 *
 * Clients' limits within the packet walk: whose connection is taken and given back when, what is
 * said to who is over them, and what becomes of who is banned. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
// clang-format off
#include <cmocka.h>
// clang-format on

#include "tests/unit/wire.h"

static uint32_t open_now(const struct wire *w)
{
    return clients_count(w->shard->clients).connections;
}

static uint64_t counted(const struct wire *w, enum verdict verdict)
{
    return w->shard->verdicts[verdict];
}

static struct client_limits *limits_of(struct wire *w)
{
    return &w->limits.clients;
}

/* Another connection, up to its first data; the verdict of that. */
static enum verdict knock(struct wire *w, struct wire_talk *t, const char *text)
{
    wire_forget_frames(w);
    *t = wire_talk(w);
    wire_handshake(w, t);
    struct wire_segment s = wire_data(t, FROM_CLIENT, TCP_ACK | TCP_PSH, text);
    return wire_send(w, &s, FROM_CLIENT);
}

static void expect_reset(struct wire *w, const struct wire_talk *t)
{
    const struct wire_segment reset = wire_out(w, OUTSIDE);
    assert_int_equal(reset.flags & TCP_RST, TCP_RST);
    assert_int_equal(reset.seq, t->cookie + 1);
    wire_quiet(w);
}

static void one_over_the_limit_is_reset_and_leaves_nothing(void **state)
{
    struct wire *w = wire_of(state);
    struct wire_talk t[3];
    limits_of(w)->connections = 2;
    wire_begin(w);
    for (int i = 0; i < 2; i++) {
        assert_int_equal(knock(w, &t[i], "GET / HT"), VERDICT_READING); /* half a head counts */
        wire_forget_frames(w);
    }
    assert_int_equal(knock(w, &t[2], wire_request), VERDICT_CLIENT_CONNECTIONS);
    expect_reset(w, &t[2]);
    wire_expect_tables(w, 2, 2);
    assert_int_equal(open_now(w), 2);
    struct wire_segment rst = wire_segment(&t[0], FROM_CLIENT, TCP_RST);
    rst.seq = t[0].client.isn + 1 + 8;
    assert_int_equal(wire_send(w, &rst, FROM_CLIENT), VERDICT_FLOW_RESET);
    wire_forget_frames(w);
    assert_int_equal(open_now(w), 1);
    assert_int_equal(knock(w, &t[0], wire_request), VERDICT_OPENED);
}

static void a_closed_connection_that_lingers_is_open_no_longer(void **state)
{
    struct wire *w = wire_of(state);
    struct wire_talk t = wire_talk(w);
    limits_of(w)->connections = 1;
    wire_begin(w);
    wire_open(w, &t);
    assert_int_equal(open_now(w), 1);
    wire_close(w, &t, FROM_CLIENT);
    wire_expect_tables(w, 1, 0); /* it still passes what is sent again */
    assert_int_equal(open_now(w), 0);
    assert_int_equal(knock(w, &t, wire_request), VERDICT_OPENED);
    wire_wait(w, 10000);
    assert_int_equal(open_now(w), 1); /* given back once */
}

static void a_port_used_again_takes_its_own_place(void **state)
{
    struct wire *w = wire_of(state);
    struct wire_talk t = wire_talk(w);
    limits_of(w)->connections = 1;
    wire_begin(w);
    wire_open(w, &t);
    t.client.isn += 100000000; /* it has rebooted */
    t.client.next = t.client.isn;
    wire_wait(w, 1000);
    wire_forget_frames(w);
    wire_handshake(w, &t);
    struct wire_segment s = wire_data(&t, FROM_CLIENT, TCP_ACK | TCP_PSH, wire_request);
    assert_int_equal(wire_send(w, &s, FROM_CLIENT), VERDICT_OPENED);
    assert_int_equal(counted(w, VERDICT_FLOW_REPLACED), 1);
    assert_int_equal(open_now(w), 1);
}

static void what_finds_no_room_gives_its_connection_back(void **state)
{
    const struct shard_sizes sizes = {.flows = 1, .tombstones = 16, .held = 4};
    struct wire *w = wire_new(wire_of(state)->family, &sizes);
    struct wire_talk t;
    assert_int_equal(knock(w, &t, wire_request), VERDICT_OPENED);
    assert_int_equal(knock(w, &t, wire_request), VERDICT_FLOW_TABLE_FULL);
    assert_int_equal(open_now(w), 1);
    wire_free(w);
}

static void the_gateways_limit_resets_those_beyond_what_is_lent(void **state)
{
    struct wire *w = wire_of(state);
    struct quota_pool pool;
    struct wire_talk t;
    limits_of(w)->all_connections = 2;
    quota_pool_init(&pool);
    assert_int_equal(quota_pool_add(&pool, &w->shard->connections), 0);
    quota_pool_run(&pool, 2);
    wire_begin(w);
    for (int i = 0; i < 2; i++)
        assert_int_equal(knock(w, &t, wire_request), VERDICT_OPENED);
    wire_forget_frames(w);
    assert_int_equal(knock(w, &t, wire_request), VERDICT_CONNECTIONS_FULL);
    expect_reset(w, &t);
}

/* ---- bans ---- */

static void who_sends_no_requests_is_banned_and_its_connections_are_cut(void **state)
{
    struct wire *w = wire_of(state);
    struct wire_talk good = wire_talk(w), bad;
    *limits_of(w) = (struct client_limits){
        .strikes = 3, .strike_decay_ms = 60000, .ban_ms = 5000, .ban_most_ms = 5000};
    wire_begin(w);
    wire_open(w, &good);
    for (int i = 0; i < 3; i++) {
        assert_int_equal(knock(w, &bad, "no request at all\r\n\r\n"), VERDICT_HEAD_MALFORMED);
        wire_forget_frames(w);
    }
    assert_int_equal(counted(w, VERDICT_BAN), 1);
    wire_wait(w, 1);
    assert_int_equal(counted(w, VERDICT_BAN_CUT), 1);
    wire_expect_tables(w, 0, 0);
    assert_int_equal(open_now(w), 0);
    struct wire_segment reset = wire_out(w, INSIDE);
    assert_int_equal(reset.flags & TCP_RST, TCP_RST);
    assert_int_equal(reset.seq, good.server.expects);
    reset = wire_out(w, OUTSIDE);
    assert_int_equal(reset.flags & TCP_RST, TCP_RST);
    assert_int_equal(reset.seq, good.client.expects);
    wire_quiet(w);
    struct wire_segment syn = wire_segment(&bad, FROM_CLIENT, TCP_SYN);
    syn.seq = bad.client.isn;
    syn.ack = 0;
    assert_int_equal(wire_send(w, &syn, FROM_CLIENT), VERDICT_BANNED);
    struct wire_segment data = wire_data(&bad, FROM_CLIENT, TCP_ACK | TCP_PSH, wire_request);
    assert_int_equal(wire_send(w, &data, FROM_CLIENT), VERDICT_BANNED);
    wire_quiet(w);
    wire_wait(w, 5000);
    assert_int_equal(wire_send(w, &syn, FROM_CLIENT), VERDICT_SYN_COOKIE);
    assert_int_equal(w->shard->bans, 1); /* it is remembered for as long again */
    wire_wait(w, 5000);
    assert_int_equal(w->shard->bans, 0);
}

/* The closed connection is none that a ban cuts, and its cookie is good for two minutes. */
static void who_is_banned_opens_nothing_on_the_tuple_of_a_closed_connection(void **state)
{
    struct wire *w = wire_of(state);
    struct wire_talk old = wire_talk(w), bad;
    *limits_of(w) = (struct client_limits){.strikes = 1, .ban_ms = 5000, .ban_most_ms = 5000};
    wire_begin(w);
    wire_open(w, &old);
    wire_close(w, &old, FROM_CLIENT);
    struct wire_talk kept = old;
    kept.client.isn += 100000000;
    kept.client.next = kept.client.isn;
    wire_handshake(w, &kept);
    assert_int_equal(knock(w, &bad, "no request at all\r\n\r\n"), VERDICT_HEAD_MALFORMED);
    assert_int_equal(counted(w, VERDICT_BAN), 1);
    wire_forget_frames(w);
    wire_expect_tables(w, 1, 0); /* it lingers */
    const struct wire_segment data = wire_data(&kept, FROM_CLIENT, TCP_ACK | TCP_PSH, wire_request);
    assert_int_equal(wire_send(w, &data, FROM_CLIENT), VERDICT_BANNED);
    wire_quiet(w);
    assert_int_equal(open_now(w), 0);
}

static void a_ban_that_is_observed_drops_and_cuts_nothing(void **state)
{
    struct wire *w = wire_of(state);
    struct wire_talk good = wire_talk(w), bad;
    *limits_of(w) = (struct client_limits){
        .strikes = 1, .ban_ms = 5000, .ban_most_ms = 5000, .observe = {[CLIENT_LIMIT_BANS] = true}};
    wire_begin(w);
    wire_open(w, &good);
    assert_int_equal(knock(w, &bad, "no request at all\r\n\r\n"), VERDICT_HEAD_MALFORMED);
    wire_forget_frames(w);
    wire_wait(w, 10);
    wire_pass(w, &good, FROM_CLIENT, TCP_ACK | TCP_PSH, "more of its body");
    assert_int_equal(knock(w, &bad, wire_request), VERDICT_OPENED);
    assert_true(counted(w, VERDICT_BANNED_OBSERVED) >= 2);
}

static void a_later_request_that_is_none_is_a_strike_too(void **state)
{
    struct wire *w = wire_of(state);
    struct wire_talk t = wire_talk(w);
    limits_of(w)->strikes = 10;
    wire_begin(w);
    wire_handshake(w, &t);
    wire_ask(w, &t, wire_request);
    wire_accept(w, &t);
    wire_pass(w, &t, FROM_BACKEND, TCP_ACK | TCP_PSH,
              "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
    struct wire_segment s = wire_data(&t, FROM_CLIENT, TCP_ACK | TCP_PSH, "no request\r\n\r\n");
    assert_int_equal(wire_send(w, &s, FROM_CLIENT), VERDICT_REQUEST_MALFORMED);
    assert_int_equal(counted(w, VERDICT_STRIKE), 1);
    assert_int_equal(open_now(w), 0);
}

static void half_a_head_for_too_long_is_a_strike(void **state)
{
    struct wire *w = wire_of(state);
    struct wire_talk t;
    assert_int_equal(knock(w, &t, "GET / HT"), VERDICT_READING);
    wire_wait(w, 11000);
    assert_int_equal(counted(w, VERDICT_HEAD_TIMEOUT), 1);
    assert_int_equal(counted(w, VERDICT_STRIKE), 1);
    assert_int_equal(open_now(w), 0);
}

/* ---- requests ---- */

static void first_and_later_requests_are_charged_alike(void **state)
{
    struct wire *w = wire_of(state);
    struct wire_talk t = wire_talk(w);
    limits_of(w)->requests = 60;
    limits_of(w)->requests_burst = 3;
    wire_begin(w);
    wire_handshake(w, &t);
    wire_ask(w, &t, wire_request);
    wire_accept(w, &t);
    for (int i = 0; i < 2; i++) {
        wire_pass(w, &t, FROM_BACKEND, TCP_ACK | TCP_PSH,
                  "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
        wire_pass(w, &t, FROM_CLIENT, TCP_ACK | TCP_PSH, wire_request);
    }
    assert_int_equal(counted(w, VERDICT_REQUEST_RATE), 0);
    struct wire_segment s = wire_data(&t, FROM_CLIENT, TCP_ACK | TCP_PSH, wire_request);
    wire_send(w, &s, FROM_CLIENT);
    assert_int_equal(counted(w, VERDICT_REQUEST_RATE), 1);
    wire_forget_frames(w);
    assert_int_equal(knock(w, &t, wire_request), VERDICT_REQUEST_RATE);
    wire_forget_frames(w);
    wire_wait(w, 1000);
    assert_int_equal(knock(w, &t, wire_request), VERDICT_OPENED);
}

static struct wire_talk open_tcp(struct wire *w)
{
    struct wire_talk t = wire_talk(w);
    w->services->service[t.service].protocol = SERVICE_TCP;
    wire_handshake(w, &t);
    wire_ask(w, &t, "hello");
    wire_accept(w, &t);
    return t;
}

static void what_follows_the_servers_words_is_one_exchange(void **state)
{
    struct wire *w = wire_of(state);
    limits_of(w)->requests = 60;
    limits_of(w)->requests_burst = 3; /* of which the opening is one */
    wire_begin(w);
    struct wire_talk t = open_tcp(w);
    for (int i = 0; i < 10; i++) /* as long as the server says nothing it is the same one */
        wire_pass(w, &t, FROM_CLIENT, TCP_ACK | TCP_PSH, "and more");
    for (int exchange = 0; exchange < 2; exchange++) {
        for (int i = 0; i < 5; i++)
            wire_pass(w, &t, FROM_BACKEND, TCP_ACK | TCP_PSH, "an answer in pieces");
        for (int i = 0; i < 5; i++)
            wire_pass(w, &t, FROM_CLIENT, TCP_ACK | TCP_PSH, "a question in pieces");
    }
    wire_pass(w, &t, FROM_BACKEND, TCP_ACK | TCP_PSH, "an answer");
    struct wire_segment s = wire_segment(&t, FROM_CLIENT, TCP_ACK); /* says nothing */
    assert_int_equal(wire_send(w, &s, FROM_CLIENT), VERDICT_FORWARDED);
    s = wire_data(&t, FROM_CLIENT, TCP_ACK | TCP_PSH, "pieces");
    s.seq -= s.length; /* nothing new */
    assert_int_equal(wire_send(w, &s, FROM_CLIENT), VERDICT_FORWARDED);
    wire_forget_frames(w);
    s = wire_data(&t, FROM_CLIENT, TCP_ACK | TCP_PSH, "a question");
    assert_int_equal(wire_send(w, &s, FROM_CLIENT), VERDICT_REQUEST_RATE);
    wire_expect_tables(w, 0, 0);
    assert_int_equal(wire_out(w, INSIDE).flags & TCP_RST, TCP_RST);
    assert_int_equal(wire_out(w, OUTSIDE).flags & TCP_RST, TCP_RST);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        WIRE_TEST(one_over_the_limit_is_reset_and_leaves_nothing),
        WIRE_TEST(a_closed_connection_that_lingers_is_open_no_longer),
        WIRE_TEST(a_port_used_again_takes_its_own_place),
        WIRE_TEST(what_finds_no_room_gives_its_connection_back),
        WIRE_TEST(the_gateways_limit_resets_those_beyond_what_is_lent),
        WIRE_TEST(who_sends_no_requests_is_banned_and_its_connections_are_cut),
        WIRE_TEST(who_is_banned_opens_nothing_on_the_tuple_of_a_closed_connection),
        WIRE_TEST(a_ban_that_is_observed_drops_and_cuts_nothing),
        WIRE_TEST(a_later_request_that_is_none_is_a_strike_too),
        WIRE_TEST(half_a_head_for_too_long_is_a_strike),
        WIRE_TEST(first_and_later_requests_are_charged_alike),
        WIRE_TEST(what_follows_the_servers_words_is_one_exchange),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
