/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026, the Dropgate authors
 *
 * The lane of SYNs is a short cut: whatever it answers, the general path answers to the same bytes.
 * The other shard of these tests gets every frame with a byte of padding behind the packet, which
 * means nothing, but keeps it out of the lane (both.h). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
// clang-format off
#include <cmocka.h>
// clang-format on

#include "dataplane/tcp/syn_lane.h"
#include "tests/unit/both.h"
#include "tests/unit/random.h"

enum { PADDING = 1 };

/* A SYN with the options of Linux. */
static uint32_t write_syn(uint8_t *out, const struct wire_talk *t, uint16_t mss, uint8_t scale,
                          uint32_t tsval)
{
    struct wire_segment syn = wire_segment(t, FROM_CLIENT, TCP_SYN);
    const uint8_t options[20] = {2, 4, 0, 0, 4, 2, 8, 10, [16] = 1, 3, 3, scale};
    syn.options = NO_OPTIONS;
    memcpy(syn.extra, options, sizeof options);
    frame_put16(syn.extra + 2, mss);
    frame_put32(syn.extra + 8, tsval);
    syn.extra_length = sizeof options;
    return wire_segment_write(out, &syn);
}

static bool lane_takes(const struct wire *w, uint8_t *bytes, uint32_t length)
{
    struct syn_lane lane;
    const struct frame frame = both_frame(bytes, length);
    syn_lane_begin(&lane, w->shard);
    return syn_lane_takes(&lane, w->shard, &frame) != SYN_LANE_NONE;
}

static void the_lane_takes_the_syns_of_linux_and_nothing_longer(void **state)
{
    struct wire *w = wire_of(state);
    const struct wire_talk t = wire_talk(w);
    uint8_t bytes[FRAME_ROOM];
    const uint32_t length = write_syn(bytes, &t, 1460, 7, 1);
    wire_begin(w);
    assert_true(lane_takes(w, bytes, length));
    assert_false(lane_takes(w, bytes, length + PADDING));
    wire_offer(w, t.service, 1460, 7, true, false); /* which it may not be granted */
    wire_begin(w);
    assert_false(lane_takes(w, bytes, length));
}

/* ---- the same through both ---- */

/* A client of either service, anywhere; some networks and sources come often. */
static struct wire_talk some_talk(struct both *b, struct random *r)
{
    struct wire_talk t = wire_talk(b->short_cut);
    wire_talk_to(b->short_cut, &t, (uint16_t)(t.service + 2 * random_below(r, 2)));
    const bool v4 = addr_is_v4(&t.client.at.addr);
    uint8_t *at = t.client.at.addr.bytes + (v4 ? 12 : 0);
    if (random_below(r, 4) == 0) /* anything: also what nobody can have */
        random_bytes(r, at, v4 ? 4 : 16);
    else
        at[v4 ? 3 : 7] = (uint8_t)random_below(r, 4);
    t.client.at.port = (uint16_t)random_below(r, 65536);
    t.client.isn = t.client.next = random_32(r);
    return t;
}

static uint32_t last_of_length(uint32_t l4)
{
    return ETHERNET_HEADER + (l4 == ETHERNET_HEADER + IPV4_HEADER ? 3 : 5);
}

/* Most are plain; of others any bit differs from that, with or without right checksums. */
static void add_some_syn(struct both *b, struct random *r)
{
    uint8_t bytes[FRAME_ROOM] = {0};
    const struct wire_talk t = some_talk(b, r);
    const uint32_t length = write_syn(bytes, &t, (uint16_t)(530 + random_below(r, 1000)),
                                      (uint8_t)random_below(r, 17), random_32(r));
    const uint32_t odd = random_below(r, 4), l4 = length - 40;
    const uint32_t at = random_below(r, length);
    if (odd >= 2 && at != last_of_length(l4)) /* the padding would belong to the packet */
        bytes[at] ^= (uint8_t)(1U << random_below(r, 8));
    if (odd == 3 && frame_map(bytes).l4 == l4 && frame_map(bytes).end == length)
        frame_fix_checksums(bytes);
    both_add(b, bytes, length, PADDING, (uint8_t)random_below(r, 4));
}

static void a_flood_is_answered_by_the_lane_as_by_the_general_path(void **state)
{
    enum { BURSTS = 500 };
    struct both *b = both_of(state);
    struct random r = {77};
    for (int i = 0; i < BURSTS; i++) {
        both_begin(b, random_below(&r, 50));
        for (uint32_t n = 1 + random_below(&r, SHARD_BURST); n > 0; n--)
            add_some_syn(b, &r);
        both_decide(b);
    }
    const uint64_t *verdicts = b->short_cut->shard->verdicts;
    assert_true(verdicts[VERDICT_SYN_COOKIE] > BURSTS);
    assert_true(verdicts[VERDICT_BOGON] > 0 && verdicts[VERDICT_TCP_CHECKSUM] > 0);
    assert_true(verdicts[VERDICT_NO_SERVICE] > 0 && verdicts[VERDICT_NOT_FOR_US] > 0);
    both_free(b);
}

/* The limits are met within bursts: the same SYNs of the lane are refused, and answered when they
 * come again. */
static void limits_hold_in_the_lane_as_in_the_general_path(void **state)
{
    enum { BURSTS = 200, SOURCE_RATE = 40, NETWORK_RATE = 100 };
    struct both *b = both_of(state);
    b->short_cut->limits.source_rate = b->general->limits.source_rate = SOURCE_RATE;
    b->short_cut->limits.network_rate = b->general->limits.network_rate = NETWORK_RATE;
    for (int i = 0; i < BURSTS; i++) {
        both_begin(b, 30);
        struct random again = {(uint64_t)i % 40}; /* the same once more after 1.2 s */
        for (uint32_t n = 0; n < SHARD_BURST; n++)
            add_some_syn(b, &again);
        both_decide(b);
    }
    const uint64_t *verdicts = b->short_cut->shard->verdicts;
    assert_true(verdicts[VERDICT_SOURCE_RATE] > 0 && verdicts[VERDICT_REFLECTION_RATE] > 0);
    assert_true(verdicts[VERDICT_SYN_REMEMBERED] > 0);
    both_free(b);
}

/* One of the sources that come often is denied, one observed, one allowed inside denied: that one
 * may send as much as it likes. */
static struct lists *some_lists(enum wire_family family)
{
    static const char *const text[3][WIRE_FAMILIES] = {
        {"198.18.64.2/31", "2001:db8:1000:2::/63"},
        {"198.18.64.1/32", "2001:db8:1000:1::/64"},
        {"198.18.64.3/32", "2001:db8:1000:3::/64"},
    };
    static const struct lists_source feeds[3] = {
        {.name = "denied", .kind = LIST_DENY},
        {.name = "observed", .kind = LIST_DENY, .mode = LIST_OBSERVE},
        {.name = "allowed", .kind = LIST_ALLOW},
    };
    struct lists_source sources[3];
    struct prefix prefixes[3];
    struct lists *lists;
    for (int i = 0; i < 3; i++) {
        assert_int_equal(prefix_parse(text[i][family], &prefixes[i], NULL), 0);
        sources[i] = feeds[i];
        sources[i].prefixes = &prefixes[i];
        sources[i].count = 1;
    }
    assert_int_equal(lists_build(sources, 3, NULL, 1, &lists), 0);
    return lists;
}

static void lists_hold_in_the_lane_as_in_the_general_path(void **state)
{
    enum { BURSTS = 200, SOURCE_RATE = 40 };
    struct both *b = both_of(state);
    struct lists *lists = some_lists(b->short_cut->family);
    struct random r = {80};
    b->short_cut->policy.lists = b->general->policy.lists = lists;
    b->short_cut->limits.source_rate = b->general->limits.source_rate = SOURCE_RATE;
    for (int i = 0; i < BURSTS; i++) {
        both_begin(b, 30);
        for (uint32_t n = 0; n < SHARD_BURST; n++)
            add_some_syn(b, &r);
        both_decide(b);
        assert_memory_equal(&b->short_cut->shard->hits, &b->general->shard->hits,
                            sizeof b->short_cut->shard->hits);
    }
    const uint64_t *verdicts = b->short_cut->shard->verdicts;
    assert_true(verdicts[VERDICT_DENIED] > 0 && verdicts[VERDICT_DENIED_OBSERVED] > 0);
    assert_true(verdicts[VERDICT_SOURCE_RATE] > 0);
    for (uint32_t slot = 0; slot < 3; slot++)
        assert_true(lists_hits_of(lists, &b->short_cut->shard->hits, slot) > 0);
    both_free(b);
    lists_free(lists);
}

/* More services than the lane has room for: the others are answered by the general path. */
static void a_burst_may_be_to_all_services_and_grants_change(void **state)
{
    struct both *b = both_of(state);
    struct random r = {79};
    for (unsigned bits = 0; bits < 16; bits++) {
        for (int i = 0; i < 2; i++)
            for (uint16_t service = 0; service < 4; service++)
                wire_offer(i ? b->general : b->short_cut, service, bits & 8 ? 1460 : 0,
                           bits & 1 ? 7 : COOKIE_NO_SCALE, bits & 2, bits & 4);
        both_begin(b, 1);
        for (uint32_t n = 0; n < SHARD_BURST; n++)
            add_some_syn(b, &r);
        both_decide(b);
    }
    both_free(b);
}

/* Within this program such an address is the IPv4 one itself, with its services. */
static void a_service_is_not_spoken_to_by_its_v4_mapped_address(void **state)
{
    struct wire *w = wire_of(state);
    uint8_t bytes[2 * FRAME_ROOM];
    struct wire_talk t = wire_talk(w);
    const uint16_t v4_service = WIRE_V4;
    wire_begin(w);
    for (int after_another = 0; after_another < 2; after_another++) {
        struct frame frames[2];
        uint32_t count = 0;
        if (after_another) {
            struct wire_talk other = t;
            other.client.at.addr = addr_from_v4(htobe32(0xc6336407));
            other.listen = w->services->service[v4_service].listen;
            frames[count++] =
                both_frame(bytes + FRAME_ROOM, write_syn(bytes + FRAME_ROOM, &other, 1460, 7, 1));
        }
        struct wire_talk mapped = t;
        const uint32_t length = write_syn(bytes, &mapped, 1460, 7, 1);
        memcpy(bytes + ETHERNET_HEADER + 24, &w->services->service[v4_service].listen.addr, 16);
        frame_put16(bytes + length - 38, w->services->service[v4_service].listen.port);
        frame_fix_checksums(bytes);
        frames[count++] = both_frame(bytes, length);
        shard_burst(w->shard, frames, count);
        assert_int_equal(frames[count - 1].verdict, VERDICT_BOGON);
        assert_int_equal(frames[count - 1].to, PORT_NONE);
    }
}

static void pitfall_27_a_syn_of_the_lane_changes_no_flow(void **state)
{
    struct wire *w = wire_of(state);
    struct wire_talk t = wire_talk(w);
    uint8_t bytes[FRAME_ROOM];
    wire_open(w, &t);
    struct wire_talk again = t;
    again.client.isn = again.client.next = t.client.next + 1000000;
    const uint32_t length = write_syn(bytes, &again, 1460, 7, 1);
    assert_true(lane_takes(w, bytes, length));
    assert_int_equal(wire_in_bytes(w, OUTSIDE, bytes, length), VERDICT_SYN_COOKIE);
    wire_out(w, OUTSIDE);
    wire_pass(w, &t, FROM_BACKEND, TCP_ACK | TCP_PSH, "still there");
    wire_expect_tables(w, 1, 0);
}

/* Room for the answer is what the general path asks for. */
static void without_room_there_is_no_answer(void **state)
{
    struct wire *w = wire_of(state);
    const struct wire_talk t = wire_talk(w);
    uint8_t bytes[FRAME_ROOM];
    struct frame frame = both_frame(bytes, write_syn(bytes, &t, 1460, 7, 1));
    wire_begin(w);
    frame.room = frame.length;
    assert_int_equal(shard_packet(w->shard, &frame, 0), VERDICT_SYN_COOKIE);
    assert_int_equal(frame.to, PORT_NONE);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        WIRE_TEST(the_lane_takes_the_syns_of_linux_and_nothing_longer),
        WIRE_TEST(a_flood_is_answered_by_the_lane_as_by_the_general_path),
        WIRE_TEST(limits_hold_in_the_lane_as_in_the_general_path),
        WIRE_TEST(lists_hold_in_the_lane_as_in_the_general_path),
        WIRE_TEST(a_burst_may_be_to_all_services_and_grants_change),
        {"a_service_is_not_spoken_to_by_its_v4_mapped_address",
         a_service_is_not_spoken_to_by_its_v4_mapped_address, wire_setup_v6, wire_teardown, NULL},
        WIRE_TEST(pitfall_27_a_syn_of_the_lane_changes_no_flow),
        WIRE_TEST(without_room_there_is_no_answer),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
