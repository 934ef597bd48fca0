/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026, the Dropgate authors
 *
 * Golden packets: what the gateway itself sends, byte for byte as another implementation writes it.
 * Frames are built over remains of something else, so that a byte left unwritten would show. */
#include "dataplane/net/build.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
// clang-format off
#include <cmocka.h>
// clang-format on

#include "tests/unit/frames.h"
#include "tests/unit/random.h"

static const struct mac gateway = {{2, 0, 0, 0, 0, 1}}, client = {{2, 0, 0, 0, 0, 2}};

static struct addr address(const char *text)
{
    struct addr a;
    assert_int_equal(addr_parse(text, &a), 0);
    return a;
}

/* From the service to the client. */
static struct segment segment_of(bool v6, uint32_t seq, uint32_t ack, uint8_t flags,
                                 uint16_t window)
{
    return (struct segment){
        .from = gateway,
        .to = client,
        .source = address(v6 ? "2001:db8::80" : "198.18.0.80"),
        .destination = address(v6 ? "2001:db8:1000::1" : "198.18.64.1"),
        .source_port = 80,
        .destination_port = 40000,
        .seq = seq,
        .ack = ack,
        .window = window,
        .flags = flags,
        .options = NO_OPTIONS,
    };
}

static void is_golden(const struct segment *segment, const char *golden)
{
    uint8_t expected[FRAME_ROOM], frame[FRAME_ROOM];
    const size_t length = frame_hex(expected, golden);
    memset(frame, 0xee, sizeof frame);
    assert_int_equal(build_segment(frame, sizeof frame, segment), length);
    assert_memory_equal(frame, expected, length);
    assert_int_equal(frame[length], 0xee);
}

static void pitfall_01_a_syn_ack_with_all_options_is_golden(void **state)
{
    (void)state;
    static const char *const golden[] = {
        "020000000002 020000000001 0800 "                   /* Ethernet: to, from, type */
        "4500 003c 0000 4000 40 06 6e46 c6120050 c6124001 " /* IPv4: id 0, DF, TTL 64 */
        "0050 9c40 6ff9aa24 12345679 a0 12 2000 801c 0000 " /* TCP: SYN, ACK, window 8192 */
        "020405b4 0402 080aaabbccdd11223344 01 030309", /* MSS, SACK, timestamps, NOP, scale 9 */
        "020000000002 020000000001 86dd "               /* Ethernet */
        "60000000 0028 06 40 "                          /* IPv6: 64 hops */
        "20010db8000000000000000000000080 20010db8100000000000000000000001 "
        "0050 9c40 6ff9aa24 12345679 a0 12 2000 e09f 0000 " /* TCP */
        "020405b4 0402 080aaabbccdd11223344 01 030309",     /* options */
    };
    for (int v6 = 0; v6 < 2; v6++) {
        struct segment s = segment_of(v6, 0x6ff9aa24, 0x12345679, TCP_SYN | TCP_ACK, 8192);
        s.options = (struct tcp_options){1460, 9, true, true, 0xaabbccdd, 0x11223344};
        is_golden(&s, golden[v6]);
    }
}

static void a_syn_ack_with_mss_alone_is_golden(void **state)
{
    (void)state;
    static const char *const golden[] = {
        "020000000002 020000000001 0800 "                   /* Ethernet */
        "4500 002c 0000 4000 40 06 6e56 c6120050 c6124001 " /* IPv4 */
        "0050 9c40 6ff9aa24 12345679 60 12 2000 8c58 0000 " /* TCP: SYN, ACK */
        "020405a0",                                         /* MSS 1440 */
        "020000000002 020000000001 86dd "                   /* Ethernet */
        "60000000 0018 06 40 "                              /* IPv6 */
        "20010db8000000000000000000000080 20010db8100000000000000000000001 "
        "0050 9c40 6ff9aa24 12345679 60 12 2000 ecdb 0000 " /* TCP */
        "020405a0",                                         /* MSS 1440 */
    };
    for (int v6 = 0; v6 < 2; v6++) {
        struct segment s = segment_of(v6, 0x6ff9aa24, 0x12345679, TCP_SYN | TCP_ACK, 8192);
        s.options.mss = 1440;
        is_golden(&s, golden[v6]);
    }
}

static void options_are_padded_to_words_in_every_combination(void **state)
{
    (void)state;
    struct segment s = segment_of(false, 1, 2, TCP_SYN | TCP_ACK, 8192);
    s.options.mss = 1460;
    s.options.sack_ok = true;
    s.options.window_scale = 0;                     /* agreed, but no shift: the option is there */
    is_golden(&s, "020000000002 020000000001 0800 " /* Ethernet */
                  "4500 0034 0000 4000 40 06 6e4e c6120050 c6124001 " /* IPv4 */
                  "0050 9c40 00000001 00000002 80 12 2000 e5fe 0000 " /* TCP */
                  "020405b4 0402 0101 01 030300");                    /* MSS, SACK, NOPs, scale 0 */

    for (unsigned choice = 0; choice < 16; choice++) {
        uint8_t frame[FRAME_ROOM];
        struct packet p;
        struct tcp_options read, wanted = {.mss = choice & 1 ? 536 : 0,
                                           .window_scale = choice & 2 ? 14 : 15,
                                           .sack_ok = choice & 4,
                                           .timestamps = choice & 8};
        wanted.tsval = choice & 8 ? 0x01020304 : 0;
        wanted.tsecr = choice & 8 ? 0xfffefdfc : 0;
        s.options = wanted;
        const uint16_t length = build_segment(frame, sizeof frame, &s);
        assert_true(frame_checksums_good(frame));
        assert_int_equal(packet_parse(frame, length, 0, &p), VERDICT_FORWARDED);
        assert_true(packet_options(frame, &p, &read));
        assert_int_equal(read.mss, wanted.mss);
        assert_int_equal(read.window_scale, wanted.window_scale);
        assert_int_equal(read.sack_ok, wanted.sack_ok);
        assert_int_equal(read.timestamps, wanted.timestamps);
        assert_int_equal(read.tsval, wanted.tsval);
        assert_int_equal(read.tsecr, wanted.tsecr);
    }
}

static void pitfall_09_resets_are_golden(void **state)
{
    (void)state;
    static const struct {
        const char *golden;
        uint32_t ack;
        uint8_t flags;
        bool v6;
    } rows[] = {
        {"020000000002 020000000001 0800 "                   /* Ethernet */
         "4500 0028 0000 4000 40 06 6e5a c6120050 c6124001 " /* IPv4: 40 bytes in all */
         "0050 9c40 9abcdef0 00000000 50 04 0000 cd2c 0000", /* TCP: RST, no ACK */
         0, TCP_RST, false},
        {"020000000002 020000000001 0800 "                   /* Ethernet */
         "4500 0028 0000 4000 40 06 6e5a c6120050 c6124001 " /* IPv4 */
         "0050 9c40 9abcdef0 12345679 50 14 0000 646f 0000", /* TCP: RST, ACK */
         0x12345679, TCP_RST | TCP_ACK, false},
        {"020000000002 020000000001 86dd 60000000 0014 06 40 " /* Ethernet, IPv6: 20 bytes of TCP */
         "20010db8000000000000000000000080 20010db8100000000000000000000001 " /* addresses */
         "0050 9c40 9abcdef0 00000000 50 04 0000 2db0 0000",                  /* TCP */
         0, TCP_RST, true},
        {"020000000002 020000000001 86dd 60000000 0014 06 40 "                /* Ethernet, IPv6 */
         "20010db8000000000000000000000080 20010db8100000000000000000000001 " /* addresses */
         "0050 9c40 9abcdef0 12345679 50 14 0000 c4f2 0000",                  /* TCP */
         0x12345679, TCP_RST | TCP_ACK, true},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        const struct segment s = segment_of(rows[i].v6, 0x9abcdef0, rows[i].ack, rows[i].flags, 0);
        is_golden(&s, rows[i].golden);
    }
}

static void a_fin_ack_is_golden(void **state)
{
    (void)state;
    static const char *const golden[] = {
        "020000000002 020000000001 0800 "                                    /* Ethernet */
        "4500 0028 0000 4000 40 06 6e5a c6120050 c6124001 "                  /* IPv4 */
        "0050 9c40 9abcdef0 1234567a 50 11 0000 6471 0000",                  /* TCP: FIN, ACK */
        "020000000002 020000000001 86dd 60000000 0014 06 40 "                /* Ethernet, IPv6 */
        "20010db8000000000000000000000080 20010db8100000000000000000000001 " /* addresses */
        "0050 9c40 9abcdef0 1234567a 50 11 0000 c4f4 0000",                  /* TCP */
    };
    for (int v6 = 0; v6 < 2; v6++) {
        const struct segment s = segment_of(v6, 0x9abcdef0, 0x1234567a, TCP_FIN | TCP_ACK, 0);
        is_golden(&s, golden[v6]);
    }
}

static void data_of_odd_length_is_golden(void **state)
{
    (void)state;
    struct segment s = segment_of(false, 1, 2, TCP_ACK, 8192);
    s.options.timestamps = true;
    s.options.tsval = 3;
    s.options.tsecr = 4;
    s.payload = "abc";
    s.length = 3;
    is_golden(&s, "020000000002 020000000001 0800 "                   /* Ethernet */
                  "4500 0037 0000 4000 40 06 6e4b c6120050 c6124001 " /* IPv4 */
                  "0050 9c40 00000001 00000002 80 10 2000 2947 0000 " /* TCP */
                  "0101080a0000000300000004 616263"); /* NOP, NOP, timestamps; "abc" */
}

static void any_segment_has_right_checksums_and_comes_back_from_the_parser(void **state)
{
    (void)state;
    struct random random = {9};
    static uint8_t payload[1400];
    random_bytes(&random, payload, sizeof payload);
    for (int round = 0; round < 20000; round++) {
        struct segment s =
            segment_of(round & 1, random_32(&random), random_32(&random), TCP_ACK, 0);
        s.window = (uint16_t)random_32(&random);
        s.options.timestamps = random_below(&random, 2);
        s.options.tsval = random_32(&random);
        s.payload = payload;
        s.length = (uint16_t)random_below(&random, sizeof payload + 1);
        uint8_t frame[FRAME_ROOM];
        struct packet p;
        const uint16_t length = build_segment(frame, sizeof frame, &s);
        assert_true(length && frame_checksums_good(frame));
        assert_int_equal(packet_parse(frame, length, 0, &p), VERDICT_FORWARDED);
        assert_int_equal(p.end, length);
        assert_int_equal(p.seq, s.seq);
        assert_int_equal(p.ack, s.ack);
        assert_int_equal(p.window, s.window);
        assert_int_equal(p.length, s.length);
        assert_memory_equal(frame + p.payload, payload, s.length);
    }
}

/* A SYN of any length and with anything in it leaves no trace but its numbers. */
static void a_syn_turned_round_is_the_segment_that_answers_it(void **state)
{
    (void)state;
    struct random random = {4987};
    static const uint8_t payload[40];
    for (int round = 0; round < 20000; round++) {
        struct segment s = segment_of(round & 1, random_32(&random), random_32(&random),
                                      TCP_SYN | TCP_ACK, (uint16_t)random_32(&random));
        s.options = (struct tcp_options){
            .mss = random_below(&random, 2) ? (uint16_t)random_32(&random) : 0,
            .window_scale = (uint8_t)random_below(&random, 16),
            .sack_ok = random_below(&random, 2),
            .timestamps = random_below(&random, 2),
            .tsval = random_32(&random),
            .tsecr = random_32(&random),
        };
        struct segment syn = {.from = s.to,
                              .to = s.from,
                              .source = s.destination,
                              .destination = s.source,
                              .source_port = s.destination_port,
                              .destination_port = s.source_port,
                              .seq = s.ack - 1,
                              .ack = random_32(&random),
                              .window = 1,
                              .flags = TCP_SYN,
                              .options = NO_OPTIONS,
                              .payload = payload,
                              .length = (uint16_t)random_below(&random, sizeof payload)};
        struct syn_ack answer = {s.seq, s.window, s.options};
        uint8_t expected[FRAME_ROOM], frame[FRAME_ROOM];
        struct packet p;
        const uint16_t length = build_segment(expected, sizeof expected, &s);
        assert_int_equal(packet_parse(frame, build_segment(frame, sizeof frame, &syn), 0, &p),
                         VERDICT_FORWARDED);
        assert_int_equal(build_syn_ack(frame, sizeof frame, &p, &answer), length);
        assert_memory_equal(frame, expected, length);
        assert_int_equal(build_syn_ack(frame, length - 1U, &p, &answer), 0);
    }
}

static void what_does_not_fit_is_not_written(void **state)
{
    (void)state;
    struct segment s = segment_of(true, 1, 2, TCP_SYN | TCP_ACK, 8192);
    s.options = (struct tcp_options){1460, 9, true, true, 1, 2};
    s.payload = "GET /";
    s.length = 5;
    for (uint32_t room = 0; room < SEGMENT_HEADERS + 5; room++) {
        uint8_t *frame = malloc(room ? room : 1); /* its end is the sanitizer's to watch */
        assert_non_null(frame);
        assert_int_equal(build_segment(frame, room, &s), 0);
        free(frame);
    }
    uint8_t frame[SEGMENT_HEADERS + 5];
    assert_int_not_equal(build_segment(frame, sizeof frame, &s), 0);
}

static void arp_is_golden(void **state)
{
    (void)state;
    static const char *const golden[] = {
        "ffffffffffff 020000000001 0806 "                                   /* Ethernet: to all */
        "0001 0800 06 04 0001 020000000001 c6120001 000000000000 c6120002", /* who has .2? tell .1
                                                                             */
        "020000000002 020000000001 0806 " /* Ethernet: to the asker */
        "0001 0800 06 04 0002 020000000001 c6120001 020000000002 c6120002", /* .1 is at :01 */
    };
    static const struct mac everybody = {{0xff, 0xff, 0xff, 0xff, 0xff, 0xff}};
    const struct addr own = address("198.18.0.1"), other = address("198.18.0.2");
    for (int operation = 1; operation <= 2; operation++) {
        uint8_t expected[FRAME_ROOM], frame[FRAME_ROOM];
        const size_t length = frame_hex(expected, golden[operation - 1]);
        memset(frame, 0xee, sizeof frame);
        assert_int_equal(build_arp(frame, 41, operation, &gateway, &own, &client, &other), 0);
        assert_int_equal(build_arp(frame, 42, operation, &gateway, &own,
                                   operation == 1 ? &everybody : &client, &other),
                         length);
        assert_memory_equal(frame, expected, length);
    }
}

static void neighbour_discovery_is_golden(void **state)
{
    (void)state;
    static const struct mac all_nodes_mac = {{0x33, 0x33, 0, 0, 0, 1}};
    const struct addr own = address("2001:db8::1"), other = address("2001:db8::2"),
                      all_nodes = address("ff02::1");
    uint8_t expected[FRAME_ROOM], frame[FRAME_ROOM];
    size_t length =
        frame_hex(expected, "3333ff000002 020000000001 86dd "   /* Ethernet: solicited-node group */
                            "60000000 0020 3a ff "              /* IPv6: ICMPv6, 255 hops */
                            "20010db8000000000000000000000001 " /* own address */
                            "ff0200000000000000000001ff000002 " /* solicited-node group */
                            "87 00 1c27 00000000 "              /* solicitation */
                            "20010db8000000000000000000000002 " /* target */
                            "01 01 020000000001");              /* source link-layer address */
    memset(frame, 0xee, sizeof frame);
    assert_int_equal(build_solicitation(frame, 86, &gateway, &own, &other), length);
    assert_memory_equal(frame, expected, length);
    assert_int_equal(build_solicitation(frame, 85, &gateway, &own, &other), 0);

    length = frame_hex(expected, "020000000002 020000000001 86dd "   /* Ethernet */
                                 "60000000 0020 3a ff "              /* IPv6 */
                                 "20010db8000000000000000000000001 " /* own address */
                                 "20010db8000000000000000000000002 " /* the asker */
                                 "88 00 8a73 60000000 " /* advertisement: solicited, override */
                                 "20010db8000000000000000000000001 " /* target */
                                 "02 01 020000000001");              /* target link-layer address */
    memset(frame, 0xee, sizeof frame);
    assert_int_equal(build_advertisement(frame, 86, &gateway, &own, &client, &other, true), length);
    assert_memory_equal(frame, expected, length);
    assert_int_equal(build_advertisement(frame, 85, &gateway, &own, &client, &other, true), 0);

    length = frame_hex(expected, "333300000001 020000000001 86dd "   /* Ethernet: all nodes */
                                 "60000000 0020 3a ff "              /* IPv6 */
                                 "20010db8000000000000000000000001 " /* own address */
                                 "ff020000000000000000000000000001 " /* all nodes: answers "::" */
                                 "88 00 f92a 20000000 "              /* advertisement: override */
                                 "20010db8000000000000000000000001 " /* target */
                                 "02 01 020000000001");              /* target link-layer address */
    memset(frame, 0xee, sizeof frame);
    assert_int_equal(
        build_advertisement(frame, 86, &gateway, &own, &all_nodes_mac, &all_nodes, false), length);
    assert_memory_equal(frame, expected, length);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(pitfall_01_a_syn_ack_with_all_options_is_golden),
        cmocka_unit_test(a_syn_ack_with_mss_alone_is_golden),
        cmocka_unit_test(options_are_padded_to_words_in_every_combination),
        cmocka_unit_test(pitfall_09_resets_are_golden),
        cmocka_unit_test(a_fin_ack_is_golden),
        cmocka_unit_test(data_of_odd_length_is_golden),
        cmocka_unit_test(any_segment_has_right_checksums_and_comes_back_from_the_parser),
        cmocka_unit_test(a_syn_turned_round_is_the_segment_that_answers_it),
        cmocka_unit_test(what_does_not_fit_is_not_written),
        cmocka_unit_test(arp_is_golden),
        cmocka_unit_test(neighbour_discovery_is_golden),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
