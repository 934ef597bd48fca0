/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026, the Dropgate authors
 *
 * In a flood of bare ACKs most are dropped after little more than a look at who sent them. One rig
 * of these tests believes to be in such a flood, the other never does, and both come to the same.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
// clang-format off
#include <cmocka.h>
// clang-format on

#include "dataplane/tcp/stray.h"
#include "tests/unit/both.h"
#include "tests/unit/random.h"

static bool is_taken(const struct wire *w, uint8_t *bytes, uint32_t length)
{
    struct addr client;
    uint16_t port;
    const struct frame frame = both_frame(bytes, length);
    return stray_takes(w->shard->policy.services, shard_to_us(w->shard), &frame, &client, &port);
}

static uint32_t write_flags(uint8_t *bytes, const struct wire_talk *t, uint8_t flags,
                            const char *text)
{
    const struct wire_segment segment = wire_data(t, FROM_CLIENT, flags, text);
    return wire_segment_write(bytes, &segment);
}

static void a_bare_acknowledgement_is_taken_and_nothing_else(void **state)
{
    struct wire *w = wire_of(state);
    struct wire_talk t = wire_talk(w);
    uint8_t bytes[FRAME_ROOM] = {0};
    wire_begin(w);
    for (int timestamps = 0; timestamps < 2; timestamps++) {
        t.client.timestamps = timestamps;
        assert_true(is_taken(w, bytes, write_flags(bytes, &t, TCP_ACK, "")));
        assert_true(is_taken(w, bytes, write_flags(bytes, &t, TCP_ACK | TCP_PSH, "")));
        assert_false(is_taken(w, bytes, write_flags(bytes, &t, TCP_ACK, "x")));
        for (unsigned flag = TCP_FIN; flag <= TCP_RST; flag <<= 1)
            assert_false(is_taken(w, bytes, write_flags(bytes, &t, (uint8_t)(TCP_ACK | flag), "")));
        assert_false(is_taken(w, bytes, write_flags(bytes, &t, TCP_SYN, "")));
    }
}

static void one_of_the_least_length_is_padded_by_its_link(void **state)
{
    struct wire *w = wire_of(state);
    const struct wire_talk t = wire_talk(w);
    uint8_t bytes[FRAME_ROOM] = {0};
    wire_begin(w);
    const uint32_t length = write_flags(bytes, &t, TCP_ACK, "");
    for (uint32_t padding = 0; padding < 8; padding++)
        assert_true(is_taken(w, bytes, length + padding));
    for (uint32_t shorter = 0; shorter < length; shorter++)
        assert_false(is_taken(w, bytes, shorter));
}

/* What has a flow, and strays of the same few clients, of which any bit differs now and then, with
 * or without right checksums. */
static void add_some(struct both *b, struct random *r, struct wire_talk *open, uint32_t count)
{
    static const char more[] = "some more of the body";
    static const uint8_t flags[] = {TCP_ACK,           TCP_ACK, TCP_ACK, TCP_ACK | TCP_PSH,
                                    TCP_ACK | TCP_FIN, TCP_RST, TCP_SYN, 0};
    uint8_t bytes[FRAME_ROOM] = {0};
    struct wire_talk *from = &open[random_below(r, count)], t = *from;
    const bool stray = random_below(r, 3) != 0, data = random_below(r, 2);
    if (stray)
        t.client.at.port =
            random_below(r, 32) ? (uint16_t)random_below(r, t.client.at.port - count) : 0;
    else if (data)
        from->client.next += sizeof more - 1;
    if (random_below(r, 16) == 0)
        random_bytes(r, t.client.at.addr.bytes + 12, 4);
    struct wire_segment segment = wire_data(
        &t, FROM_CLIENT, stray ? flags[random_below(r, sizeof flags)] : TCP_ACK, data ? more : "");
    const uint32_t length = wire_segment_write(bytes, &segment);
    const uint32_t odd = stray ? random_below(r, 4) : 0, at = random_below(r, length);
    if (odd >= 2)
        bytes[at] ^= (uint8_t)(1U << random_below(r, 8));
    if (odd == 3 && frame_map(bytes).end == length)
        frame_fix_checksums(bytes);
    both_add(b, bytes, length, 0, (uint8_t)random_below(r, 4));
}

/* The same connection through both. */
static struct wire_talk open_both(struct both *b)
{
    struct wire_talk t = wire_talk(b->short_cut), same = wire_talk(b->general);
    wire_open(b->short_cut, &t);
    wire_open(b->general, &same);
    assert_int_equal(t.cookie, same.cookie);
    assert_int_equal(t.client.at.port, same.client.at.port);
    return t;
}

static void a_flood_comes_to_the_same_as_by_the_general_path(void **state)
{
    enum { OPEN = 8, BURSTS = 1000 };
    struct both *b = both_of(state);
    struct random r = {81};
    struct wire_talk open[OPEN];
    for (int i = 0; i < OPEN; i++)
        open[i] = open_both(b);
    for (int i = 0; i < BURSTS; i++) {
        both_begin(b, random_below(&r, 20));
        b->short_cut->shard->strays = true;
        b->general->shard->strays = false;
        for (uint32_t n = 1 + random_below(&r, SHARD_BURST); n > 0; n--)
            add_some(b, &r, open, OPEN);
        both_decide(b);
        wire_forget_frames(b->short_cut);
        wire_forget_frames(b->general);
    }
    const uint64_t *verdicts = b->short_cut->shard->verdicts;
    assert_true(verdicts[VERDICT_ACK_NO_FLOW] > BURSTS && verdicts[VERDICT_FORWARDED] > BURSTS);
    assert_true(verdicts[VERDICT_TCP_CHECKSUM] > 0 && verdicts[VERDICT_NO_SERVICE] > 0);
    assert_true(verdicts[VERDICT_NOT_FOR_US] > 0 && verdicts[VERDICT_BOGON] > 0);
    both_free(b);
}

/* The first data opens the flow within the same burst: what comes behind it has one. */
static void a_flow_that_its_own_burst_opens_is_found(void **state)
{
    struct both *b = both_of(state);
    struct wire_talk t = wire_talk(b->short_cut), same = wire_talk(b->general);
    uint8_t bytes[FRAME_ROOM];
    wire_handshake(b->short_cut, &t);
    wire_handshake(b->general, &same);
    both_begin(b, 1);
    b->short_cut->shard->strays = true;
    both_add(b, bytes, write_flags(bytes, &t, TCP_ACK, ""), 0, 0);
    both_add(b, bytes, write_flags(bytes, &t, TCP_ACK | TCP_PSH, wire_request), 0, 0);
    t.client.next += (uint32_t)strlen(wire_request);
    both_add(b, bytes, write_flags(bytes, &t, TCP_ACK, ""), 0, 0);
    both_decide(b);
    assert_int_equal(b->short_cut->shard->verdicts[VERDICT_ACK_NO_FLOW], 1);
    assert_int_equal(b->short_cut->shard->verdicts[VERDICT_OPENED], 1);
    both_free(b);
}

/* It is a flood when most of a burst were strays, and none when they were not. */
static void a_flood_is_told_by_the_burst_before(void **state)
{
    struct wire *w = wire_of(state);
    struct wire_talk t = wire_talk(w), open = wire_talk(w);
    wire_open(w, &open);
    assert_false(w->shard->strays);
    const struct wire_segment stray = wire_segment(&t, FROM_CLIENT, TCP_ACK);
    for (int i = 0; i < 2; i++) {
        assert_int_equal(wire_send(w, &stray, FROM_CLIENT), VERDICT_ACK_NO_FLOW);
        assert_true(w->shard->strays);
    }
    wire_pass(w, &open, FROM_CLIENT, TCP_ACK | TCP_PSH, "more of the body");
    assert_false(w->shard->strays);
}

/* Within this program such an address is the IPv4 one itself, with its services. */
static void a_service_is_not_spoken_to_by_its_v4_mapped_address(void **state)
{
    struct wire *w = wire_of(state);
    const struct wire_talk t = wire_talk(w);
    uint8_t bytes[FRAME_ROOM] = {0};
    wire_begin(w);
    const uint32_t length = write_flags(bytes, &t, TCP_ACK, "");
    const struct endpoint *four = &w->services->service[WIRE_V4].listen;
    memcpy(bytes + ETHERNET_HEADER + 24, &four->addr, sizeof four->addr);
    frame_put16(bytes + ETHERNET_HEADER + IPV6_HEADER + 2, four->port);
    frame_fix_checksums(bytes);
    assert_false(is_taken(w, bytes, length));
    w->shard->strays = true;
    assert_int_equal(wire_in_bytes(w, OUTSIDE, bytes, length), VERDICT_BOGON);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        WIRE_TEST(a_bare_acknowledgement_is_taken_and_nothing_else),
        WIRE_TEST(one_of_the_least_length_is_padded_by_its_link),
        WIRE_TEST(a_flood_comes_to_the_same_as_by_the_general_path),
        WIRE_TEST(a_flow_that_its_own_burst_opens_is_found),
        WIRE_TEST(a_flood_is_told_by_the_burst_before),
        {"a_service_is_not_spoken_to_by_its_v4_mapped_address",
         a_service_is_not_spoken_to_by_its_v4_mapped_address, wire_setup_v6, wire_teardown, NULL},
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
