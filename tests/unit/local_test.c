/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026, the Dropgate authors
 *
 * What a host answers for its own addresses: ARP, neighbour discovery and echo, as whole packets.
 */
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

static enum verdict in_hex(struct wire *w, enum port_side side, const char *hex)
{
    uint8_t bytes[FRAME_ROOM];
    const size_t length = frame_hex(bytes, hex);
    return wire_in_bytes(w, side, bytes, (uint32_t)length);
}

static void expect_hex(struct wire *w, enum port_side side, const char *hex)
{
    uint8_t expected[FRAME_ROOM];
    const size_t length = frame_hex(expected, hex);
    const struct wire_frame *frame = wire_out_frame(w, side);
    assert_int_equal(frame->length, length);
    assert_memory_equal(frame->bytes, expected, length);
    wire_quiet(w);
}

/* ---- ARP ---- */

#define ARP_ASKS(sender, target)                                               \
    "ffffffffffff 020000000c01 0806 0001 0800 06 04 0001 020000000c01 " sender \
    " 000000000000 " target

static void an_arp_request_for_an_own_address_is_answered(void **state)
{
    struct wire *w = wire_of(state);
    /* 198.18.0.1, and a service's */
    assert_int_equal(in_hex(w, OUTSIDE, ARP_ASKS("c6120002", "c6120001")), VERDICT_ARP_ANSWERED);
    expect_hex(w, OUTSIDE,
               "020000000c01 02000000000a 0806 0001 0800 06 04 0002 "
               "02000000000a c6120001 020000000c01 c6120002");
    assert_int_equal(in_hex(w, OUTSIDE, ARP_ASKS("c6120002", "c6120050")), VERDICT_ARP_ANSWERED);
    expect_hex(w, OUTSIDE,
               "020000000c01 02000000000a 0806 0001 0800 06 04 0002 "
               "02000000000a c6120050 020000000c01 c6120002");
    /* 198.18.128.1, on its own side */
    assert_int_equal(in_hex(w, INSIDE, ARP_ASKS("c6128002", "c6128001")), VERDICT_ARP_ANSWERED);
    expect_hex(w, INSIDE,
               "020000000c01 02000000000b 0806 0001 0800 06 04 0002 "
               "02000000000b c6128001 020000000c01 c6128002");
}

static void an_arp_request_is_answered_without_its_ethernet_padding(void **state)
{
    struct wire *w = wire_of(state);
    assert_int_equal(in_hex(w, OUTSIDE,
                            ARP_ASKS("c6120002", "c6120001") "000000000000000000000000"
                                                             "000000000000"),
                     VERDICT_ARP_ANSWERED);
    assert_int_equal(wire_out_frame(w, OUTSIDE)->length, 42);
}

static void an_arp_probe_from_nobody_is_answered(void **state) /* RFC 5227 section 2.1.1 */
{
    struct wire *w = wire_of(state);
    assert_int_equal(in_hex(w, OUTSIDE, ARP_ASKS("00000000", "c6120001")), VERDICT_ARP_ANSWERED);
    expect_hex(w, OUTSIDE,
               "020000000c01 02000000000a 0806 0001 0800 06 04 0002 "
               "02000000000a c6120001 020000000c01 00000000");
}

static void arp_about_others_or_of_another_kind_is_not_answered(void **state)
{
    static const char *const frames[] = {
        ARP_ASKS("c6120002", "c6120063"), /* 198.18.0.99 */
        ARP_ASKS("c6120002", "c6128001"), /* the other side's */
        "ffffffffffff 020000000c01 0806 0006 0800 06 04 0001 020000000c01 c6120002 000000000000 "
        "c6120001", /* not Ethernet */
        "ffffffffffff 020000000c01 0806 0001 86dd 06 04 0001 020000000c01 c6120002 000000000000 "
        "c6120001", /* not IPv4 */
        "ffffffffffff 020000000c01 0806 0001 0800 08 04 0001 020000000c01 c6120002 000000000000 "
        "c6120001",
        "ffffffffffff 020000000c01 0806 0001 0800 06 10 0001 020000000c01 c6120002 000000000000 "
        "c6120001",
        "ffffffffffff 020000000c01 0806 0001 0800 06 04 0003 020000000c01 c6120002 000000000000 "
        "c6120001", /* RARP */
        "ffffffffffff 020000000c01 0806 0001 0800 06 04 0001 ffffffffffff c6120002 000000000000 "
        "c6120001", /* would be answered to everybody */
    };
    struct wire *w = wire_of(state);
    for (size_t i = 0; i < sizeof frames / sizeof frames[0]; i++)
        assert_int_equal(in_hex(w, OUTSIDE, frames[i]), VERDICT_NOT_FOR_US);
    wire_quiet(w);
    assert_int_equal(w->message_count, 0);
}

static void an_arp_reply_is_handed_to_the_control_thread(void **state)
{
    struct wire *w = wire_of(state);
    assert_int_equal(in_hex(w, INSIDE,
                            "02000000000b 020000000b07 0806 0001 0800 06 04 0002 "
                            "020000000b07 c6128002 02000000000b c6128001"),
                     VERDICT_NEIGHBOR);
    const struct message told = wire_told(w);
    struct addr backend;
    assert_int_equal(addr_parse("198.18.128.2", &backend), 0);
    assert_int_equal(told.kind, MESSAGE_NEIGHBOR);
    assert_int_equal(told.side, INSIDE);
    assert_true(addr_equal(&told.addr, &backend));
    assert_int_equal(told.mac.bytes[4], 0x0b);
    assert_int_equal(told.mac.bytes[5], 0x07);
    wire_quiet(w);
}

/* ---- neighbour discovery ---- */

/* Writes the ICMPv6 checksum, and lets it in. */
static enum verdict in_icmp6(struct wire *w, enum port_side side, const char *hex)
{
    uint8_t bytes[FRAME_ROOM];
    const size_t length = frame_hex(bytes, hex);
    frame_put16(bytes + 56, 0);
    frame_put16(bytes + 56, 0xffff - frame_l4_sum(bytes));
    return wire_in_bytes(w, side, bytes, (uint32_t)length);
}

#define VIP6    "20010db8000000000000000000000080"
#define CLIENT6 "20010db8000000000000000000000002"
#define GROUP6  "ff0200000000000000000001ff000080"
#define ETHER6  "3333ff000080 020000000c01 86dd"

static void a_solicitation_for_an_own_address_is_answered(void **state)
{
    struct wire *w = wire_of(state);
    assert_int_equal(in_icmp6(w, OUTSIDE,
                              ETHER6 "60000000 0020 3a ff" CLIENT6 GROUP6 "87 00 0000 00000000" VIP6
                                     "01 01 020000000c01"),
                     VERDICT_ND_ANSWERED);
    const struct wire_frame *frame = &w->frames[w->taken];
    assert_int_equal(frame_l4_sum(frame->bytes), 0xffff);
    char golden[512];
    snprintf(golden, sizeof golden,
             "020000000c01 02000000000a 86dd 60000000 0020 3a ff" VIP6 CLIENT6
             "88 00 %02x%02x 60000000" VIP6 "02 01 02000000000a", /* solicited, override */
             frame->bytes[56], frame->bytes[57]);
    expect_hex(w, OUTSIDE, golden);
}

static void duplicate_address_detection_is_answered_to_all_nodes(void **state)
{
    struct wire *w = wire_of(state);
    assert_int_equal(in_icmp6(w, OUTSIDE,
                              ETHER6 "60000000 0018 3a ff 00000000000000000000000000000000" GROUP6
                                     "87 00 0000 00000000" VIP6),
                     VERDICT_ND_ANSWERED);
    const struct wire_frame *frame = &w->frames[w->taken];
    assert_int_equal(frame_l4_sum(frame->bytes), 0xffff);
    char golden[512];
    snprintf(golden, sizeof golden,
             "333300000001 02000000000a 86dd 60000000 0020 3a ff" VIP6
             "ff020000000000000000000000000001"
             "88 00 %02x%02x 20000000" VIP6 "02 01 02000000000a", /* override only */
             frame->bytes[56], frame->bytes[57]);
    expect_hex(w, OUTSIDE, golden);
}

static void a_solicitation_for_another_address_is_not_answered(void **state)
{
    struct wire *w = wire_of(state);
    assert_int_equal(in_icmp6(w, INSIDE, /* the other side's */
                              ETHER6 "60000000 0018 3a ff" CLIENT6 GROUP6
                                     "87 00 0000 00000000" VIP6),
                     VERDICT_NOT_FOR_US);
    assert_int_equal(in_icmp6(w, OUTSIDE,
                              ETHER6 "60000000 0018 3a ff" CLIENT6 GROUP6
                                     "87 00 0000 00000000 20010db8000000000000000000000099"),
                     VERDICT_NOT_FOR_US);
    wire_quiet(w);
}

static void a_solicitation_that_cannot_be_right_is_dropped(void **state)
{
    struct wire *w = wire_of(state);
    /* hop limit below 255: it has crossed a router (RFC 4861 section 7.1) */
    assert_int_equal(in_icmp6(w, OUTSIDE,
                              ETHER6 "60000000 0018 3a fe" CLIENT6 GROUP6
                                     "87 00 0000 00000000" VIP6),
                     VERDICT_BAD_ICMP);
    /* a code, and too short */
    assert_int_equal(in_icmp6(w, OUTSIDE,
                              ETHER6 "60000000 0018 3a ff" CLIENT6 GROUP6
                                     "87 01 0000 00000000" VIP6),
                     VERDICT_BAD_ICMP);
    assert_int_equal(in_icmp6(w, OUTSIDE,
                              ETHER6 "60000000 0010 3a ff" CLIENT6 GROUP6
                                     "87 00 0000 00000000 20010db800000000"),
                     VERDICT_BAD_ICMP);
    /* from a group: the answer would go to many */
    assert_int_equal(in_icmp6(w, OUTSIDE,
                              ETHER6 "60000000 0018 3a ff ff020000000000000000000000000001" GROUP6
                                     "87 00 0000 00000000" VIP6),
                     VERDICT_BOGON);
    wire_quiet(w);
}

#define BACKEND6 "20010db8000000010000000000000002"
#define INSIDE6  "20010db8000000010000000000000001"

static void an_advertisement_is_handed_to_the_control_thread(void **state)
{
    struct wire *w = wire_of(state);
    assert_int_equal(in_icmp6(w, INSIDE,
                              "02000000000b 020000000b07 86dd 60000000 0028 3a ff" BACKEND6 INSIDE6
                              "88 00 0000 60000000" BACKEND6
                              "0e 01 010203040506" /* another option first */
                              "02 01 020000000b07"),
                     VERDICT_NEIGHBOR);
    const struct message told = wire_told(w);
    struct addr backend;
    assert_int_equal(addr_parse("2001:db8:0:1::2", &backend), 0);
    assert_int_equal(told.kind, MESSAGE_NEIGHBOR);
    assert_int_equal(told.side, INSIDE);
    assert_true(addr_equal(&told.addr, &backend));
    assert_int_equal(told.mac.bytes[5], 0x07);
    wire_quiet(w);
}

static void an_advertisement_without_a_usable_link_address_is_dropped(void **state)
{
    static const char *const frames[] = {
        /* no option; one of length 0; one past the end; not to us */
        "02000000000b 020000000b07 86dd 60000000 0018 3a ff" BACKEND6 INSIDE6
        "88 00 0000 60000000" BACKEND6,
        "02000000000b 020000000b07 86dd 60000000 0020 3a ff" BACKEND6 INSIDE6
        "88 00 0000 60000000" BACKEND6 "02 00 020000000b07",
        "02000000000b 020000000b07 86dd 60000000 0020 3a ff" BACKEND6 INSIDE6
        "88 00 0000 60000000" BACKEND6 "02 02 020000000b07",
        "02000000000b 020000000b07 86dd 60000000 0020 3a ff" BACKEND6
        "ff020000000000000000000000000001"
        "88 00 0000 60000000" BACKEND6 "02 01 020000000b07",
    };
    struct wire *w = wire_of(state);
    for (size_t i = 0; i < sizeof frames / sizeof frames[0]; i++)
        assert_int_equal(in_icmp6(w, INSIDE, frames[i]), VERDICT_NOT_FOR_US);
    assert_int_equal(w->message_count, 0);
}

/* ---- news ---- */

#define MOVED "020000000b07" /* not where the backend was so far */
#define ARP_SAYS(as, mac, address)                                                         \
    "ffffffffffff " mac " 0806 0001 0800 06 04 000" as " " mac " " address " ffffffffffff" \
    " " address
#define ND_SAYS(flags, mac, address)                        \
    "333300000001 " mac " 86dd 60000000 0020 3a ff" address \
    "ff020000000000000000000000000001 88 00 0000" flags "000000" address " 02 01" mac

static void expect_news(struct wire *w, const char *text)
{
    struct addr backend;
    const struct message told = wire_told(w);
    assert_int_equal(addr_parse(text, &backend), 0);
    assert_int_equal(told.kind, MESSAGE_NEIGHBOR_NEWS);
    assert_int_equal(told.side, INSIDE);
    assert_true(addr_equal(&told.addr, &backend));
    assert_int_equal(told.mac.bytes[5], 7);
    assert_int_equal(w->message_count, 0);
}

static void a_next_hop_that_says_it_has_moved_is_news(void **state)
{
    struct wire *w = wire_of(state);
    assert_int_equal(in_hex(w, INSIDE, ARP_SAYS("1", MOVED, "c6128002")), VERDICT_NOT_FOR_US);
    expect_news(w, "198.18.128.2");
    assert_int_equal(in_hex(w, INSIDE, ARP_SAYS("2", MOVED, "c6128002")), VERDICT_NOT_FOR_US);
    expect_news(w, "198.18.128.2");
    assert_int_equal(in_icmp6(w, INSIDE, ND_SAYS("20", MOVED, BACKEND6)), VERDICT_NOT_FOR_US);
    expect_news(w, "2001:db8:0:1::2");
    wire_quiet(w);
}

/* For our own address, as kernels do before they send. */
#define ARP_ASKS_US(mac, address) \
    "ffffffffffff " mac " 0806 0001 0800 06 04 0001 " mac " " address " 000000000000 c6128001"
#define ND_ASKS_US(address, options, length)                          \
    "3333ff000001 " MOVED " 86dd 60000000 00" length " 3a ff" address \
    "ff0200000000000000000001ff000001 87 00 0000 00000000" INSIDE6 " " options

static void asks_us(struct wire *w, bool v4, const char *hex)
{
    enum verdict answered = v4 ? VERDICT_ARP_ANSWERED : VERDICT_ND_ANSWERED;
    assert_int_equal(v4 ? in_hex(w, INSIDE, hex) : in_icmp6(w, INSIDE, hex), answered);
    wire_out_frame(w, INSIDE);
    wire_quiet(w);
}

static void a_next_hop_that_asks_for_us_from_elsewhere_is_answered_and_news(void **state)
{
    struct wire *w = wire_of(state);
    asks_us(w, true, ARP_ASKS_US(MOVED, "c6128002"));
    expect_news(w, "198.18.128.2");
    asks_us(w, false, ND_ASKS_US(BACKEND6, "01 01" MOVED, "20"));
    expect_news(w, "2001:db8:0:1::2");
    asks_us(w, false, ND_ASKS_US(BACKEND6, "0e 01 000000000000 01 01" MOVED, "28"));
    expect_news(w, "2001:db8:0:1::2");
}

static void who_asks_for_us_and_says_nothing_new_is_only_answered(void **state)
{
    static const char *const arp[] = {
        ARP_ASKS_US("020000000b01", "c6128002"), /* where it is */
        ARP_ASKS_US(MOVED, "c6128063"),          /* nobody's next hop */
        ARP_ASKS_US(MOVED, "00000000"),
    };
    static const char *const nd[] = {
        ND_ASKS_US(BACKEND6, "01 01 020000000b01", "20"),
        ND_ASKS_US("20010db8000000010000000000000063", "01 01" MOVED, "20"),
        ND_ASKS_US("00000000000000000000000000000000", "", "18"),
        ND_ASKS_US(BACKEND6, "", "18"), /* a frame's own address is only where answers go */
        ND_ASKS_US(BACKEND6, "02 01" MOVED, "20"),
        ND_ASKS_US(BACKEND6, "01 00" MOVED, "20"),
        ND_ASKS_US(BACKEND6, "01 02" MOVED, "20"),
    };
    struct wire *w = wire_of(state);
    w->neighbors->backend[1].mac = wire_mac_of(0);
    for (size_t i = 0; i < sizeof arp / sizeof arp[0]; i++)
        asks_us(w, true, arp[i]);
    for (size_t i = 0; i < sizeof nd / sizeof nd[0]; i++)
        asks_us(w, false, nd[i]);
    assert_int_equal(w->message_count, 0);
}

static void what_is_no_news_of_a_next_hop_is_told_to_nobody(void **state)
{
    static const char *const arp[] = {
        ARP_SAYS("2", "020000000b01", "c6128002"), /* where it is */
        ARP_SAYS("2", MOVED, "c6128063"),          /* nobody's next hop */
        ARP_SAYS("1", MOVED, "c6128001"),          /* ours: it is told so */
    };
    static const char *const nd[] = {
        ND_SAYS("20", "020000000b01", BACKEND6),
        ND_SAYS("20", MOVED, "20010db8000000010000000000000063"),
        ND_SAYS("60", MOVED, BACKEND6), /* an answer, which is not sent to all (RFC 4861 7.1.2) */
    };
    struct wire *w = wire_of(state);
    const struct mac known = wire_mac_of(0);
    assert_memory_equal(&known, "\x02\0\0\0\x0b\x01", sizeof known);
    w->neighbors->backend[1].mac = known;
    for (size_t i = 0; i < sizeof arp / sizeof arp[0]; i++) {
        in_hex(w, INSIDE, arp[i]);
        in_icmp6(w, INSIDE, nd[i]);
    }
    in_hex(w, OUTSIDE, ARP_SAYS("2", MOVED, "c6128002"));
    in_icmp6(w, OUTSIDE, ND_SAYS("20", MOVED, BACKEND6));
    assert_int_equal(w->message_count, 0);
    w->neighbors->backend[0].known = w->neighbors->backend[1].known = false; /* is asked for */
    in_hex(w, INSIDE, ARP_SAYS("2", MOVED, "c6128002"));
    in_icmp6(w, INSIDE, ND_SAYS("20", MOVED, BACKEND6));
    assert_int_equal(w->message_count, 0);
}

static void however_much_is_said_so_much_news_is_told_in_a_second(void **state)
{
    enum { SAID = 1000, TOLD = 256 };
    struct wire *w = wire_of(state);
    uint32_t told = 0;
    for (int second = 1; second <= 2; second++) {
        for (int i = 0; i < SAID; i++) {
            in_hex(w, INSIDE, ARP_SAYS("1", MOVED, "c6128002"));
            for (; w->message_count != 0; told++)
                expect_news(w, "198.18.128.2");
        }
        assert_int_equal(told, second * TOLD);
        asks_us(w, true, ARP_ASKS_US(MOVED, "c6128002"));
        asks_us(w, false, ND_ASKS_US(BACKEND6, "01 01" MOVED, "20"));
        assert_int_equal(w->message_count, 0); /* and yet they are answered */
        wire_step(w, 1000);
    }
}

/* Whoever is there could fill the ring to the control thread, in which backends' probes go. */
static void what_neighbors_outside_answer_is_told_to_nobody(void **state)
{
    struct wire *w = wire_of(state);
    assert_int_equal(in_hex(w, OUTSIDE,
                            "02000000000a 020000000c01 0806 0001 0800 06 04 0002 "
                            "020000000c01 c6120002 02000000000a c6120001"),
                     VERDICT_NEIGHBOR);
    assert_int_equal(in_icmp6(w, OUTSIDE,
                              "02000000000a 020000000c01 86dd 60000000 0020 3a ff" CLIENT6 VIP6
                              "88 00 0000 60000000" CLIENT6 "02 01 020000000c01"),
                     VERDICT_NEIGHBOR);
    assert_int_equal(w->message_count, 0);
    wire_quiet(w);
}

/* ---- echo ---- */

/* Writes all checksums of an IPv4 ICMP frame, and lets it in. */
static enum verdict in_icmp4(struct wire *w, enum port_side side, const char *hex)
{
    uint8_t bytes[FRAME_ROOM];
    const size_t length = frame_hex(bytes, hex);
    const struct frame_map m = frame_map(bytes);
    frame_put16(bytes + 24, 0);
    frame_put16(bytes + 24, 0xffff - frame_sum(0, bytes + 14, m.l4 - 14));
    frame_put16(bytes + m.l4 + 2, 0);
    frame_put16(bytes + m.l4 + 2, 0xffff - frame_sum(0, bytes + m.l4, m.end - m.l4));
    return wire_in_bytes(w, side, bytes, (uint32_t)length);
}

#define ECHO4(destination, source, rest)                                        \
    destination " 020000000c01 0800 4500 0021 1234 4000 31 01 0000" source rest \
                " 08 00 0000 abcd 0007 68656c6c6f" /* "hello" */

static void an_echo_request_is_answered_in_full(void **state)
{
    struct wire *w = wire_of(state);
    assert_int_equal(in_icmp4(w, OUTSIDE, ECHO4("02000000000a", "c6120002", "c6120050")),
                     VERDICT_ECHO_ANSWERED);
    const struct wire_frame *frame = &w->frames[w->taken];
    assert_int_equal(frame_sum(0, frame->bytes + 14, 20), 0xffff);
    assert_int_equal(frame_sum(0, frame->bytes + 34, 13), 0xffff);
    char golden[512];
    snprintf(golden, sizeof golden,
             "020000000c01 02000000000a 0800 4500 0021 1234 4000 40 01 %02x%02x c6120050 c6120002"
             "00 00 %02x%02x abcd 0007 68656c6c6f",
             frame->bytes[24], frame->bytes[25], frame->bytes[36], frame->bytes[37]);
    expect_hex(w, OUTSIDE, golden);
}

static void an_ipv6_echo_request_is_answered_in_full(void **state)
{
    struct wire *w = wire_of(state);
    assert_int_equal(in_icmp6(w, OUTSIDE,
                              "02000000000a 020000000c01 86dd 60000000 000d 3a 31" CLIENT6 VIP6
                              "80 00 0000 abcd 0007 68656c6c6f"),
                     VERDICT_ECHO_ANSWERED);
    const struct wire_frame *frame = &w->frames[w->taken];
    assert_int_equal(frame_l4_sum(frame->bytes), 0xffff);
    char golden[512];
    snprintf(golden, sizeof golden,
             "020000000c01 02000000000a 86dd 60000000 000d 3a 40" VIP6 CLIENT6
             "81 00 %02x%02x abcd 0007 68656c6c6f",
             frame->bytes[56], frame->bytes[57]);
    expect_hex(w, OUTSIDE, golden);
}

static void an_echo_request_to_a_group_or_from_a_bogon_is_not_answered(void **state)
{
    static const char *const frames[] = {
        ECHO4("ffffffffffff", "c6120002", "c6120050"), /* link-layer broadcast */
        ECHO4("02000000000a", "7f000001", "c6120050"), /* 127.0.0.1 */
        ECHO4("02000000000a", "e0000001", "c6120050"), /* 224.0.0.1 */
        ECHO4("02000000000a", "c6120002", "c6120063"), /* 198.18.0.99 */
        ECHO4("02000000000a", "c6120002", "ffffffff"), /* broadcast: no smurf */
    };
    struct wire *w = wire_of(state);
    for (size_t i = 0; i < sizeof frames / sizeof frames[0]; i++)
        assert_int_equal(in_icmp4(w, OUTSIDE, frames[i]), VERDICT_NOT_FOR_US);
    wire_quiet(w);
}

static void a_denied_host_gets_no_echo_but_backends_are_in_no_list(void **state)
{
    struct wire *w = wire_of(state);
    struct prefix all;
    struct lists *lists;
    assert_int_equal(prefix_parse("0.0.0.0/0", &all, NULL), 0);
    const struct lists_source source = {.name = "all", .prefixes = &all, .count = 1};
    assert_int_equal(lists_build(&source, 1, NULL, 1, &lists), 0);
    w->policy.lists = lists;
    wire_begin(w);
    assert_int_equal(in_icmp4(w, OUTSIDE, ECHO4("02000000000a", "c6120002", "c6120050")),
                     VERDICT_DENIED);
    wire_quiet(w);
    assert_int_equal(in_icmp4(w, INSIDE, ECHO4("02000000000b", "c6128002", "c6128001")),
                     VERDICT_ECHO_ANSWERED);
    lists_free(lists);
}

static void pitfall_07_echoes_come_from_a_budget(void **state)
{
    struct wire *w = wire_of(state);
    w->limits.per_second[LEASE_ECHOES] = 4;
    for (int i = 0; i < 9; i++)
        assert_int_equal(in_icmp4(w, OUTSIDE, ECHO4("02000000000a", "c6120002", "c6120050")),
                         i < 4 ? VERDICT_ECHO_ANSWERED : VERDICT_BUDGET);
    wire_wait(w, 500);
    assert_int_equal(in_icmp4(w, OUTSIDE, ECHO4("02000000000a", "c6120002", "c6120050")),
                     VERDICT_ECHO_ANSWERED);
}

static void pitfall_29_other_icmp_changes_nothing(void **state)
{
    struct wire *w = wire_of(state);
    struct wire_talk t = wire_talk(w);
    wire_open(w, &t);
    /* "fragmentation needed", "packet too big" and a redirect, from anybody */
    assert_int_equal(
        in_icmp4(w, OUTSIDE,
                 "02000000000a 020000000c01 0800 4500 0038 1234 4000 31 01 0000"
                 "c6120002 c6120050 03 04 0000 0000 0244"
                 "4500 0028 0000 4000 40 06 0000 c6120050 c6124009 0050 4e20 00000000"),
        w->family == WIRE_V4 ? VERDICT_TOO_BIG_STALE : VERDICT_TOO_BIG_NO_FLOW);
    assert_int_equal(in_icmp4(w, INSIDE,
                              "02000000000b 020000000b01 0800 4500 001c 1234 4000 31 01 0000"
                              "c6128002 c6128001 05 01 0000 c6128063"),
                     VERDICT_ICMP_OTHER);
    assert_int_equal(in_icmp6(w, OUTSIDE,
                              "02000000000a 020000000c01 86dd 60000000 0008 3a 31" CLIENT6 VIP6
                              "02 00 0000 00000500"),
                     VERDICT_ICMP_QUOTE);
    assert_int_equal(in_icmp6(w, OUTSIDE, /* router advertisement */
                              "333300000001 020000000c01 86dd 60000000 0010 3a ff" CLIENT6
                              "ff020000000000000000000000000001 86 00 0000 40000708 00000000"
                              "00000000"),
                     VERDICT_ICMP_OTHER);
    wire_quiet(w);
    wire_pass(w, &t, FROM_BACKEND, TCP_ACK, "as before");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        WIRE_TEST_ONCE(an_arp_request_for_an_own_address_is_answered),
        WIRE_TEST_ONCE(an_arp_request_is_answered_without_its_ethernet_padding),
        WIRE_TEST_ONCE(an_arp_probe_from_nobody_is_answered),
        WIRE_TEST_ONCE(arp_about_others_or_of_another_kind_is_not_answered),
        WIRE_TEST_ONCE(an_arp_reply_is_handed_to_the_control_thread),
        WIRE_TEST_ONCE(a_solicitation_for_an_own_address_is_answered),
        WIRE_TEST_ONCE(duplicate_address_detection_is_answered_to_all_nodes),
        WIRE_TEST_ONCE(a_solicitation_for_another_address_is_not_answered),
        WIRE_TEST_ONCE(a_solicitation_that_cannot_be_right_is_dropped),
        WIRE_TEST_ONCE(an_advertisement_is_handed_to_the_control_thread),
        WIRE_TEST_ONCE(an_advertisement_without_a_usable_link_address_is_dropped),
        WIRE_TEST_ONCE(what_neighbors_outside_answer_is_told_to_nobody),
        WIRE_TEST_ONCE(a_next_hop_that_says_it_has_moved_is_news),
        WIRE_TEST_ONCE(a_next_hop_that_asks_for_us_from_elsewhere_is_answered_and_news),
        WIRE_TEST_ONCE(who_asks_for_us_and_says_nothing_new_is_only_answered),
        WIRE_TEST_ONCE(what_is_no_news_of_a_next_hop_is_told_to_nobody),
        WIRE_TEST_ONCE(however_much_is_said_so_much_news_is_told_in_a_second),
        WIRE_TEST_ONCE(an_echo_request_is_answered_in_full),
        WIRE_TEST_ONCE(an_ipv6_echo_request_is_answered_in_full),
        WIRE_TEST_ONCE(an_echo_request_to_a_group_or_from_a_bogon_is_not_answered),
        WIRE_TEST_ONCE(a_denied_host_gets_no_echo_but_backends_are_in_no_list),
        WIRE_TEST_ONCE(pitfall_07_echoes_come_from_a_budget),
        WIRE_TEST(pitfall_29_other_icmp_changes_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
