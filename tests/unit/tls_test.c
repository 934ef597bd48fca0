/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026, the Dropgate authors
 *
 * Services that do not speak HTTP: what of a ClientHello, or of anything, has to have come before a
 * backend is asked, which are refused and how, and that nothing is read afterwards. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
// clang-format off
#include <cmocka.h>
// clang-format on

#include "tests/unit/hello_build.h"
#include "tests/unit/wire.h"

static struct wire_talk begin(struct wire *w, enum service_protocol protocol, struct names *names)
{
    struct wire_talk t = wire_talk(w);
    w->services->service[t.service].protocol = (uint8_t)protocol;
    w->services->service[t.service].names = names;
    wire_handshake(w, &t);
    return t;
}

static enum verdict send_bytes(struct wire *w, const struct wire_talk *t, const void *bytes,
                               uint32_t at, uint32_t length)
{
    struct wire_segment s = wire_segment(t, FROM_CLIENT, TCP_ACK | TCP_PSH);
    s.seq = t->client.isn + 1 + at;
    s.payload = (const uint8_t *)bytes + at;
    s.length = (uint16_t)length;
    return wire_send(w, &s, FROM_CLIENT);
}

static void expect_ack(struct wire *w, const struct wire_talk *t, uint32_t end)
{
    const struct wire_segment ack = wire_out(w, OUTSIDE);
    assert_int_equal(ack.flags, TCP_ACK);
    assert_int_equal(ack.ack, t->client.isn + 1 + end);
    wire_quiet(w);
}

/* The backend is asked, answers, and gets exactly these bytes. */
static void expect_delivered(struct wire *w, struct wire_talk *t, const void *bytes,
                             uint32_t length)
{
    const struct wire_segment syn = wire_out(w, INSIDE);
    assert_int_equal(syn.flags, TCP_SYN);
    t->client.next = t->client.isn + 1 + length;
    t->server.expects = syn.seq + 1;
    t->server.echo = syn.options.tsval;
    const struct wire_segment held = wire_accept(w, t);
    assert_int_equal(held.length, length);
    assert_memory_equal(held.payload, bytes, length);
}

static void a_hello_in_one_segment_opens_a_backend_and_is_delivered(void **state)
{
    struct wire *w = wire_of(state);
    struct wire_talk t = begin(w, SERVICE_TLS, NULL);
    const struct built hello = built_hello();
    assert_int_equal(send_bytes(w, &t, hello.bytes, 0, hello.length), VERDICT_OPENED);
    expect_delivered(w, &t, hello.bytes, hello.length);
    assert_int_equal(w->shard->requests, 0);
}

static void a_hello_in_pieces_asks_no_backend_before_it_is_whole(void **state)
{
    struct wire *w = wire_of(state);
    const struct built hello = built_hello();
    static const uint32_t sizes[] = {1, 7, 100};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        struct wire_talk t = begin(w, SERVICE_TLS, NULL);
        uint32_t at = 0;
        for (; at + sizes[i] < hello.length; at += sizes[i]) {
            assert_int_equal(send_bytes(w, &t, hello.bytes, at, sizes[i]), VERDICT_READING);
            expect_ack(w, &t, at + sizes[i]);
        }
        assert_int_equal(send_bytes(w, &t, hello.bytes, at, hello.length - at), VERDICT_OPENED);
        expect_delivered(w, &t, hello.bytes, hello.length);
    }
}

static void pitfall_23_a_hellos_second_segment_may_overtake_the_first(void **state)
{
    struct wire *w = wire_of(state);
    struct wire_talk t = begin(w, SERVICE_TLS, NULL);
    const struct built hello = built_hello();
    const uint32_t half = hello.length / 2, rest = hello.length - half;
    assert_int_equal(send_bytes(w, &t, hello.bytes, half, rest), VERDICT_MISS_SILENT);
    wire_quiet(w);
    assert_int_equal(send_bytes(w, &t, hello.bytes, 0, half), VERDICT_READING);
    expect_ack(w, &t, half);
    assert_int_equal(send_bytes(w, &t, hello.bytes, half, rest), VERDICT_OPENED);
    expect_delivered(w, &t, hello.bytes, hello.length);
}

static void what_is_no_hello_is_reset(void **state)
{
    struct wire *w = wire_of(state);
    struct wire_talk t = begin(w, SERVICE_TLS, NULL);
    assert_int_equal(send_bytes(w, &t, wire_request, 0, (uint32_t)strlen(wire_request)),
                     VERDICT_TLS_MALFORMED);
    assert_int_equal(wire_out(w, OUTSIDE).flags & TCP_RST, TCP_RST);
    wire_quiet(w);
    struct built hello = built_hello();
    hello.bytes[9] = 9; /* the version's first byte */
    t = begin(w, SERVICE_TLS, NULL);
    assert_int_equal(send_bytes(w, &t, hello.bytes, 0, 100), VERDICT_READING);
    expect_ack(w, &t, 100);
    assert_int_equal(send_bytes(w, &t, hello.bytes, 100, hello.length - 100),
                     VERDICT_TLS_MALFORMED);
    assert_int_equal(wire_out(w, OUTSIDE).flags & TCP_RST, TCP_RST);
    wire_forget_frames(w);
    wire_expect_tables(w, 0, 0);
}

/* unrecognized_name, and the end. */
static void expect_alert(struct wire *w, const struct wire_talk *t, uint32_t end)
{
    static const uint8_t alert[] = {0x15, 3, 3, 0, 2, 2, 0x70};
    const struct wire_segment s = wire_out(w, OUTSIDE);
    assert_int_equal(s.flags, TCP_PSH | TCP_FIN | TCP_ACK);
    assert_int_equal(s.seq, t->cookie + 1);
    assert_int_equal(s.ack, t->client.isn + 1 + end);
    assert_int_equal(s.length, sizeof alert);
    assert_memory_equal(s.payload, alert, sizeof alert);
    wire_quiet(w);
    wire_expect_tables(w, 0, 0);
}

static void a_name_that_is_not_served_is_told_so(void **state)
{
    struct wire *w = wire_of(state);
    char *const others[] = {"other.example", "*.shop.example"};
    struct names *names = names_new(others, 2);
    const struct built hello = built_hello(); /* for shop.example */
    struct wire_talk t = begin(w, SERVICE_TLS, names);
    for (int i = 0; i < 2; i++) { /* and again, should the answer be lost */
        assert_int_equal(send_bytes(w, &t, hello.bytes, 0, hello.length), VERDICT_TLS_NAME);
        expect_alert(w, &t, hello.length);
    }
    t = begin(w, SERVICE_TLS, names);
    assert_int_equal(send_bytes(w, &t, hello.bytes, 0, 50), VERDICT_READING);
    expect_ack(w, &t, 50);
    assert_int_equal(send_bytes(w, &t, hello.bytes, 50, hello.length - 50), VERDICT_TLS_NAME);
    expect_alert(w, &t, hello.length);
    names_free(names);
}

/* Its first segment comes again because our acknowledgement of it was lost, too: no replay. */
static void a_client_that_loses_the_alert_is_reset_and_has_no_strike(void **state)
{
    struct wire *w = wire_of(state);
    char *const others[] = {"other.example"};
    struct names *names = names_new(others, 1);
    const struct built hello = built_hello();
    struct wire_talk t = begin(w, SERVICE_TLS, names);
    assert_int_equal(send_bytes(w, &t, hello.bytes, 0, 50), VERDICT_READING);
    assert_int_equal(send_bytes(w, &t, hello.bytes, 50, hello.length - 50), VERDICT_TLS_NAME);
    wire_forget_frames(w);
    assert_int_equal(send_bytes(w, &t, hello.bytes, 0, 50), VERDICT_TOMBSTONE_DROP);
    wire_quiet(w); /* it could have been on its way for long */
    wire_wait(w, 1000);
    assert_int_equal(send_bytes(w, &t, hello.bytes, 0, 50), VERDICT_MISS_RESET);
    const struct wire_segment reset = wire_out(w, OUTSIDE);
    assert_int_equal(reset.flags, TCP_RST);
    assert_int_equal(reset.seq, t.client.expects);
    assert_int_equal(w->shard->verdicts[VERDICT_STRIKE], 0);
    wire_expect_tables(w, 0, 0);
    names_free(names);
}

static void a_name_on_the_list_is_served(void **state)
{
    struct wire *w = wire_of(state);
    char *const own[] = {"other.example", "Shop.Example"};
    struct names *names = names_new(own, 2);
    const struct built hello = built_hello();
    struct wire_talk t = begin(w, SERVICE_TLS, names);
    assert_int_equal(send_bytes(w, &t, hello.bytes, 0, hello.length), VERDICT_OPENED);
    expect_delivered(w, &t, hello.bytes, hello.length);
    names_free(names);
}

static void clients_are_counted_by_their_fingerprint(void **state)
{
    struct wire *w = wire_of(state);
    const struct built hello = built_hello();
    for (int i = 0; i < 3; i++) {
        struct wire_talk t = begin(w, SERVICE_TLS, NULL);
        assert_int_equal(send_bytes(w, &t, hello.bytes, 0, hello.length), VERDICT_OPENED);
        wire_forget_frames(w);
    }
    uint32_t found = 0;
    for (int i = 0; i < JA4_TABLE; i++)
        if (w->shard->hellos->slot[i].count == 3 &&
            strcmp(w->shard->hellos->slot[i].text, "t13d1516h2_8daaf6152771_e5627efa2ab1") == 0)
            found++;
    assert_int_equal(found, 1);
}

/* What follows is the ends' business: nothing in it is read, not even out of order. */
static void expect_unread(struct wire *w, struct wire_talk *t)
{
    const char noise[] = "\xff\xfeGET / HTTP/9.9\r\n\n\n\r\rX";
    wire_pass(w, t, FROM_CLIENT, TCP_ACK | TCP_PSH, noise);
    struct wire_segment later = wire_data(t, FROM_CLIENT, TCP_ACK, noise);
    later.seq += 10;
    assert_int_equal(wire_send(w, &later, FROM_CLIENT), VERDICT_FORWARDED);
    wire_forget_frames(w);
    assert_int_equal(w->shard->requests, 0);
}

static void nothing_is_read_behind_the_hello(void **state)
{
    struct wire *w = wire_of(state);
    struct wire_talk t = begin(w, SERVICE_TLS, NULL);
    const struct built hello = built_hello();
    send_bytes(w, &t, hello.bytes, 0, hello.length);
    expect_delivered(w, &t, hello.bytes, hello.length);
    expect_unread(w, &t);
}

static void any_byte_opens_raw_tcp_and_none_is_read(void **state)
{
    struct wire *w = wire_of(state);
    struct wire_talk t = begin(w, SERVICE_TCP, NULL);
    assert_int_equal(send_bytes(w, &t, "\0", 0, 1), VERDICT_OPENED);
    expect_delivered(w, &t, "\0", 1);
    expect_unread(w, &t);
}

static void raw_bytes_that_come_while_the_backend_is_asked_are_delivered_too(void **state)
{
    struct wire *w = wire_of(state);
    struct wire_talk t = begin(w, SERVICE_TCP, NULL);
    assert_int_equal(send_bytes(w, &t, "abcdef", 0, 2), VERDICT_OPENED);
    const struct wire_segment syn = wire_out(w, INSIDE);
    assert_int_equal(send_bytes(w, &t, "abcdef", 4, 2), VERDICT_HELD);
    assert_int_equal(send_bytes(w, &t, "abcdef", 2, 2), VERDICT_HELD);
    t.client.next = t.client.isn + 1 + 6;
    t.server.expects = syn.seq + 1;
    t.server.echo = syn.options.tsval;
    const struct wire_segment held = wire_accept(w, &t);
    assert_int_equal(held.length, 6);
    assert_memory_equal(held.payload, "abcdef", 6);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        WIRE_TEST(a_hello_in_one_segment_opens_a_backend_and_is_delivered),
        WIRE_TEST(a_hello_in_pieces_asks_no_backend_before_it_is_whole),
        WIRE_TEST(pitfall_23_a_hellos_second_segment_may_overtake_the_first),
        WIRE_TEST(what_is_no_hello_is_reset),
        WIRE_TEST(a_name_that_is_not_served_is_told_so),
        WIRE_TEST(a_client_that_loses_the_alert_is_reset_and_has_no_strike),
        WIRE_TEST(a_name_on_the_list_is_served),
        WIRE_TEST(clients_are_counted_by_their_fingerprint),
        WIRE_TEST(nothing_is_read_behind_the_hello),
        WIRE_TEST(any_byte_opens_raw_tcp_and_none_is_read),
        WIRE_TEST(raw_bytes_that_come_while_the_backend_is_asked_are_delivered_too),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
