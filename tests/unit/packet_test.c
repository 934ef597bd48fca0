/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026, the Dropgate authors
 *
 * The parser against golden frames and against every way to spoil one: what is odd has the verdict
 * that the table promises, and no byte behind the frame is read (each frame stands at the end of
 * its own allocation, for the address sanitizer). The option iterator is compared with a plain
 * reading of the RFC. */
#include "dataplane/net/packet.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
// clang-format off
#include <cmocka.h>
// clang-format on

#include "tests/unit/frames.h"
#include "tests/unit/random.h"

/* Written by another implementation. */
static const char syn_v4[] =
    "020000000001 020000000002 0800 "                   /* Ethernet: to, from, type */
    "4500 003c 1234 4000 40 06 5c12 c6124001 c6120050 " /* IPv4: 198.18.64.1 to 198.18.0.80, DF */
    "9c40 0050 12345678 00000000 a0 02 faf0 36f6 0000 " /* TCP: 40000 to 80, SYN, window 64240 */
    "020405b4 0402 080a1122334400000000 01 030307"; /* MSS 1460, SACK, timestamps, NOP, scale 7 */
static const char syn_v6[] = "020000000001 020000000002 86dd " /* Ethernet */
                             "60000000 0028 06 40 "            /* IPv6: 40 bytes of TCP, 64 hops */
                             "20010db8100000000000000000000001 " /* from 2001:db8:1000::1 */
                             "20010db8000000000000000000000080 " /* to 2001:db8::80 */
                             "9c40 0050 12345678 00000000 a0 02 faf0 9779 0000 " /* TCP: SYN */
                             "020405b4 0402 080a1122334400000000 01 030307"; /* the same options */
static const char data_v4[] =
    "020000000001 020000000002 0800 "                   /* Ethernet */
    "4500 0044 1234 4000 40 06 5c0a c6124001 c6120050 " /* IPv4 */
    "9c40 0050 12345679 9abcdef0 80 18 01f6 4662 0000 " /* TCP: PSH, ACK, window 502 */
    "0101080a1122334455667788"                          /* NOP, NOP, timestamps */
    "474554202f20485454502f312e310d0a";                 /* "GET / HTTP/1.1" and CR LF */

/* Parses a copy that ends where its allocation ends. */
static enum verdict parse(const uint8_t *frame, size_t length, unsigned checked,
                          struct packet *packet)
{
    uint8_t *copy = malloc(length ? length : 1);
    assert_non_null(copy);
    memcpy(copy, frame, length);
    memset(packet, 0xee, sizeof *packet);
    const enum verdict verdict = packet_parse(copy, (uint32_t)length, checked, packet);
    free(copy);
    return verdict;
}

static enum verdict verdict_of(const uint8_t *frame, size_t length)
{
    struct packet packet;
    return parse(frame, length, 0, &packet);
}

static struct frame_tcp plain(bool v6)
{
    struct frame_tcp t = {.v6 = v6,
                          .source_port = 40000,
                          .destination_port = 80,
                          .seq = 1,
                          .ack = 2,
                          .window = 3,
                          .flags = TCP_ACK,
                          .ttl = 64};
    frame_hex(t.source, v6 ? "20010db8100000000000000000000001" : "c6124001");
    frame_hex(t.destination, v6 ? "20010db8000000000000000000000080" : "c6120050");
    return t;
}

static enum verdict verdict_of_tcp(const struct frame_tcp *t)
{
    uint8_t frame[FRAME_ROOM];
    return verdict_of(frame, frame_write(frame, t));
}

static void a_syn_is_read_field_by_field(void **state)
{
    (void)state;
    for (int v6 = 0; v6 < 2; v6++) {
        uint8_t frame[FRAME_ROOM];
        struct packet p;
        const size_t length = frame_hex(frame, v6 ? syn_v6 : syn_v4);
        const uint16_t ip = v6 ? IPV6_HEADER : IPV4_HEADER;
        struct addr source, destination;
        addr_parse(v6 ? "2001:db8:1000::1" : "198.18.64.1", &source);
        addr_parse(v6 ? "2001:db8::80" : "198.18.0.80", &destination);

        assert_int_equal(parse(frame, length, 0, &p), VERDICT_FORWARDED);
        assert_int_equal(p.kind, PACKET_TCP);
        assert_int_equal(p.v4, !v6);
        assert_true(addr_equal(&p.source, &source) && addr_equal(&p.destination, &destination));
        assert_int_equal(p.source_port, 40000);
        assert_int_equal(p.destination_port, 80);
        assert_int_equal(p.seq, 0x12345678);
        assert_int_equal(p.ack, 0);
        assert_int_equal(p.flags, TCP_SYN);
        assert_int_equal(p.window, 64240);
        assert_int_equal(p.l3, 14);
        assert_int_equal(p.l4, 14 + ip);
        assert_int_equal(p.payload, 14 + ip + 40);
        assert_int_equal(p.length, 0);
        assert_int_equal(p.end, length);
    }
}

static void ethernet_padding_is_not_payload(void **state)
{
    (void)state;
    uint8_t frame[FRAME_ROOM] = {0};
    struct packet p;
    const size_t length = frame_hex(frame, data_v4);
    memset(frame + length, 0xab, 18);
    assert_int_equal(parse(frame, length + 18, 0, &p), VERDICT_FORWARDED);
    assert_int_equal(p.length, 16);
    assert_int_equal(p.end, length);
    assert_int_equal(p.payload + p.length, p.end);
}

static void a_frame_cut_anywhere_is_truncated(void **state)
{
    (void)state;
    static const char *const frames[] = {syn_v4, syn_v6, data_v4};
    for (size_t i = 0; i < 3; i++) {
        uint8_t frame[FRAME_ROOM];
        const size_t length = frame_hex(frame, frames[i]);
        for (size_t cut = 0; cut < length; cut++)
            assert_int_equal(verdict_of(frame, cut), VERDICT_TRUNCATED);
    }
}

static void pitfall_18_vlan_tags_have_their_own_verdicts(void **state)
{
    (void)state;
    static const char *const tags[] = {"8100 0005", "88a8 0005 8100 0006",
                                       "8100 0005 8100 0006 8100 0007"};
    static const enum verdict verdicts[] = {VERDICT_VLAN, VERDICT_VLAN, VERDICT_VLAN_DEPTH};
    uint8_t plain_frame[FRAME_ROOM], frame[FRAME_ROOM];
    const size_t length = frame_hex(plain_frame, syn_v4);
    for (size_t i = 0; i < 3; i++) {
        memcpy(frame, plain_frame, 12);
        const size_t extra = frame_hex(frame + 12, tags[i]);
        memcpy(frame + 12 + extra, plain_frame + 12, length - 12);
        assert_int_equal(verdict_of(frame, length + extra), verdicts[i]);
        assert_int_equal(verdict_of(frame, 12 + 3), VERDICT_TRUNCATED);
    }
}

static void pitfall_18_fragments_are_refused_and_packets_without_df_are_not(void **state)
{
    (void)state;
    static const struct {
        uint16_t field;
        enum verdict verdict;
    } rows[] = {
        {0x4000, VERDICT_FORWARDED}, /* DF */
        {0x0000, VERDICT_FORWARDED}, /* no DF, whole */
        {0x2000, VERDICT_FRAGMENT},  /* first fragment */
        {0x2001, VERDICT_FRAGMENT},  /* in the middle */
        {0x0001, VERDICT_FRAGMENT},  /* last */
        {0x1fff, VERDICT_FRAGMENT},  {0x6000, VERDICT_FRAGMENT},
        {0x8000, VERDICT_BAD_IP}, /* the reserved bit */
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        uint8_t frame[FRAME_ROOM];
        const size_t length = frame_hex(frame, syn_v4);
        frame_put16(frame + 20, rows[i].field);
        frame_fix_checksums(frame);
        assert_int_equal(verdict_of(frame, length), rows[i].verdict);
    }
}

static void pitfall_18_what_is_not_directly_behind_ipv6_is_left_to_the_walk(void **state)
{
    (void)state;
    for (unsigned next = 0; next < 256; next++) {
        uint8_t frame[FRAME_ROOM];
        const size_t length = frame_hex(frame, syn_v6);
        frame[20] = (uint8_t)next;
        if (next != 6 && next != 58)
            assert_int_equal(verdict_of(frame, length), VERDICT_IPV6_EXTENSION);
    }
}

static void ipv4_options_are_refused(void **state)
{
    (void)state;
    for (size_t words = 1; words <= 10; words++) {
        uint8_t frame[FRAME_ROOM];
        struct frame_tcp t = plain(false);
        t.ip_options_length = words * 4;
        memset(t.ip_options, 1, t.ip_options_length);
        const size_t length = frame_write(frame, &t);
        assert_int_equal(verdict_of(frame, length), VERDICT_IP_OPTIONS);
        for (size_t cut = 0; cut < length; cut++)
            assert_int_equal(verdict_of(frame, cut), VERDICT_TRUNCATED);
    }
}

static void a_spoilt_ip_header_is_bad_ip(void **state)
{
    (void)state;
    static const struct {
        const char *frame;
        size_t at;
        uint8_t value;
        enum verdict verdict;
    } rows[] = {
        {syn_v4, 14, 0x55, VERDICT_BAD_IP},    /* version 5 */
        {syn_v4, 14, 0x65, VERDICT_BAD_IP},    /* version 6 under IPv4's type */
        {syn_v4, 14, 0x44, VERDICT_BAD_IP},    /* a header of 16 bytes */
        {syn_v4, 14, 0x40, VERDICT_BAD_IP},    /* of none */
        {syn_v4, 17, 19, VERDICT_BAD_IP},      /* total less than the header */
        {syn_v4, 17, 0, VERDICT_BAD_IP},       /* total 0, as some offload engines write */
        {syn_v4, 17, 0x3d, VERDICT_TRUNCATED}, /* one more than there is */
        {syn_v4, 16, 0xff, VERDICT_TRUNCATED},  {syn_v4, 23, 17, VERDICT_UNSUPPORTED}, /* UDP */
        {syn_v4, 23, 58, VERDICT_UNSUPPORTED}, /* ICMPv6 within IPv4 */
        {syn_v6, 14, 0x40, VERDICT_BAD_IP},     {syn_v6, 19, 0x29, VERDICT_TRUNCATED},
        {syn_v6, 19, 0, VERDICT_TRUNCATED},     /* jumbogram, or no room for TCP */
        {syn_v4, 13, 0x01, VERDICT_NOT_FOR_US}, /* no Ethernet type that we know */
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        uint8_t frame[FRAME_ROOM];
        const size_t length = frame_hex(frame, rows[i].frame);
        frame[rows[i].at] = rows[i].value;
        if (rows[i].frame == syn_v4 && rows[i].value % 16 >= 5 && rows[i].at != 14) {
            frame_put16(frame + 24, 0);
            frame_put16(frame + 24, 0xffff - frame_sum(0, frame + 14, 20));
        }
        struct packet p;
        assert_int_equal(parse(frame, length, PACKET_IP_CHECKED, &p), rows[i].verdict);
    }
}

static void every_damaged_bit_is_noticed(void **state)
{
    (void)state;
    static const char *const frames[] = {syn_v4, syn_v6, data_v4};
    for (size_t i = 0; i < 3; i++) {
        uint8_t frame[FRAME_ROOM];
        const size_t length = frame_hex(frame, frames[i]);
        const bool v6 = frames[i] == syn_v6;
        for (size_t bit = (size_t)14 * 8; bit < length * 8; bit++) {
            const size_t byte = bit / 8;
            if (v6 && (byte == 15 || byte == 16 || byte == 17 || byte == 21 ||
                       (byte == 14 && bit % 8 < 4)))
                continue; /* traffic class, flow label, hop limit: IPv6 protects them by nothing */
            frame[byte] ^= (uint8_t)(1 << bit % 8);
            assert_int_not_equal(verdict_of(frame, length), VERDICT_FORWARDED);
            frame[byte] ^= (uint8_t)(1 << bit % 8);
        }
    }
}

static void a_wrong_checksum_says_which(void **state)
{
    (void)state;
    uint8_t frame[FRAME_ROOM];
    const size_t length = frame_hex(frame, data_v4);
    frame[24] ^= 1;
    assert_int_equal(verdict_of(frame, length), VERDICT_IP_CHECKSUM);
    frame[24] ^= 1;
    frame[14 + 20 + 16] ^= 1;
    assert_int_equal(verdict_of(frame, length), VERDICT_TCP_CHECKSUM);
}

static void pitfall_15_each_checksum_is_left_out_only_if_the_port_has_checked_it(void **state)
{
    (void)state;
    uint8_t frame[FRAME_ROOM];
    struct packet p;
    const size_t length = frame_hex(frame, data_v4);
    frame[24] ^= 1;
    frame[14 + 20 + 16] ^= 1;
    assert_int_equal(parse(frame, length, 0, &p), VERDICT_IP_CHECKSUM);
    assert_int_equal(parse(frame, length, PACKET_TCP_CHECKED, &p), VERDICT_IP_CHECKSUM);
    assert_int_equal(parse(frame, length, PACKET_IP_CHECKED, &p), VERDICT_TCP_CHECKSUM);
    assert_int_equal(parse(frame, length, PACKET_IP_CHECKED | PACKET_TCP_CHECKED, &p),
                     VERDICT_FORWARDED);
}

static void a_spoilt_tcp_header_is_bad_tcp(void **state)
{
    (void)state;
    for (int v6 = 0; v6 < 2; v6++) {
        struct frame_tcp t = plain(v6);
        assert_int_equal(verdict_of_tcp(&t), VERDICT_FORWARDED);
        t.source_port = 0;
        assert_int_equal(verdict_of_tcp(&t), VERDICT_BAD_TCP);
        t = plain(v6);
        t.destination_port = 0;
        assert_int_equal(verdict_of_tcp(&t), VERDICT_BAD_TCP);
        for (unsigned offset = 0; offset < 16; offset++) {
            uint8_t frame[FRAME_ROOM];
            t = plain(v6);
            t.options_length = 8;
            memset(t.options, OPTION_NOP, 8);
            const size_t length = frame_write(frame, &t);
            frame[(v6 ? 54 : 34) + 12] = (uint8_t)(offset << 4);
            frame_fix_checksums(frame);
            assert_int_equal(verdict_of(frame, length),
                             offset < 5 || offset > 7 ? VERDICT_BAD_TCP : VERDICT_FORWARDED);
        }
    }
}

/* RFC 9293: something must be SYN, RST or ACK; SYN goes with neither FIN nor RST, RST not with FIN.
 */
static void every_set_of_flags_is_allowed_or_bad_tcp(void **state)
{
    (void)state;
    for (unsigned flags = 0; flags < 256; flags++) {
        struct frame_tcp t = plain(false);
        const bool syn = flags & 2, fin = flags & 1, rst = flags & 4, ack = flags & 16;
        const bool good = (syn && !fin && !rst) || (!syn && rst && !fin) || (!syn && !rst && ack);
        t.flags = (uint8_t)flags;
        assert_int_equal(verdict_of_tcp(&t), good ? VERDICT_FORWARDED : VERDICT_BAD_TCP);
    }
}

static void a_syn_with_ecn_or_reserved_bits_is_a_syn(void **state)
{
    (void)state;
    struct frame_tcp t = plain(false);
    t.flags = TCP_SYN | 0xc0; /* ECE, CWR (RFC 3168); AccECN sets the third */
    t.reserved = 1;
    assert_int_equal(verdict_of_tcp(&t), VERDICT_FORWARDED);
}

static void bogons_are_known(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        bool bogon;
    } rows[] = {
        {"0.0.0.0", true},
        {"0.255.255.255", true},
        {"1.0.0.0", false},
        {"126.255.255.255", false},
        {"127.0.0.0", true},
        {"127.255.255.255", true},
        {"128.0.0.0", false},
        {"198.18.64.1", false},
        {"223.255.255.255", false},
        {"224.0.0.0", true},
        {"239.1.1.1", true},
        {"240.0.0.1", true},
        {"255.255.255.255", true},
        {"::", true},
        {"::1", true},
        {"::2", false},
        {"2001:db8::1", false},
        {"fe80::1", false},
        {"ff00::", true},
        {"ff02::1", true},
        {"feff::1", false},
        {"1::", false},
        {"0:0:1::", false},
        {"::1:0:0:0", false},
        {"::100", false},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct addr a;
        assert_int_equal(addr_parse(rows[i].text, &a), 0);
        if (packet_bogon(&a, addr_is_v4(&a)) != rows[i].bogon)
            fail_msg("%s", rows[i].text);
    }
    struct addr mapped;
    addr_parse("198.18.64.1", &mapped);
    assert_true(packet_bogon(&mapped, false));
}

/* Inside this program it would be the IPv4 address: it must not get in through the other family. */
static void a_v4_mapped_address_in_ipv6_is_a_bogon_in_either_place(void **state)
{
    (void)state;
    static const char mapped[] = "00000000000000000000ffff c6120050";
    struct frame_tcp t = plain(true);
    frame_hex(t.source, mapped);
    assert_int_equal(verdict_of_tcp(&t), VERDICT_BOGON);
    t = plain(true);
    frame_hex(t.destination, mapped);
    assert_int_equal(verdict_of_tcp(&t), VERDICT_BOGON);
}

/* clang-format off */
static const char arp_request[] =
    "ffffffffffff 020000000001 0806 "                           /* Ethernet: to all */
    "0001 0800 06 04 0001 "                                     /* ARP: request */
    "020000000001 c6120001 000000000000 c6120002";              /* sender, target */
static const char echo_v4[] =
    "020000000001 020000000002 0800 "                           /* Ethernet */
    "4500 001c 0000 4000 40 01 ae8c c6120002 c6120001 "         /* IPv4: ICMP; its checksum is set below */
    "08 00 f7fd 0001 0001";                                     /* echo request */
static const char solicitation[] =
    "3333ff000002 020000000001 86dd "                           /* Ethernet: solicited-node group */
    "60000000 0020 3a ff "                                      /* IPv6: ICMPv6 */
    "20010db8000000000000000000000001 ff0200000000000000000001ff000002 "
    "87 00 1c27 00000000 20010db8000000000000000000000002 "     /* solicitation of ::2 */
    "01 01 020000000001";                                       /* source link-layer address */
/* clang-format on */

static void arp_and_icmp_are_sorted_by_kind(void **state)
{
    (void)state;
    static const struct {
        const char *frame;
        enum packet_kind kind;
    } rows[] = {{arp_request, PACKET_ARP}, {echo_v4, PACKET_ICMP4}, {solicitation, PACKET_ICMP6}};
    for (size_t i = 0; i < 3; i++) {
        uint8_t frame[FRAME_ROOM];
        struct packet p;
        const size_t length = frame_hex(frame, rows[i].frame);
        if (rows[i].kind == PACKET_ICMP4) {
            frame_put16(frame + 24, 0);
            frame_put16(frame + 24, 0xffff - frame_sum(0, frame + 14, 20));
        }
        assert_int_equal(parse(frame, length, 0, &p), VERDICT_FORWARDED);
        assert_int_equal(p.kind, rows[i].kind);
        assert_int_equal(p.l3, 14);
        for (size_t cut = 0; cut < length; cut++)
            assert_int_equal(verdict_of(frame, cut), VERDICT_TRUNCATED);
        frame[length - 1] ^= 1;
        assert_int_equal(verdict_of(frame, length), i == 0 ? VERDICT_FORWARDED : VERDICT_BAD_ICMP);
    }
}

static void a_frame_larger_than_any_offset_is_refused(void **state)
{
    (void)state;
    enum { HUGE = 70000 };
    uint8_t *frame = calloc(1, HUGE);
    struct packet p;
    assert_non_null(frame);
    frame_hex(frame, syn_v4);
    assert_int_equal(packet_parse(frame, HUGE, 0, &p), VERDICT_TRUNCATED);
    free(frame);
}

/* Options of a segment with those flags, from an allocation that ends behind them. */
static bool read_options(const uint8_t *bytes, size_t length, uint8_t flags,
                         struct tcp_options *out)
{
    struct frame_tcp t = plain(false);
    uint8_t frame[FRAME_ROOM];
    struct packet p;
    t.flags = flags;
    t.options_length = length;
    memcpy(t.options, bytes, length);
    const size_t total = frame_write(frame, &t);
    uint8_t *copy = malloc(total);
    assert_non_null(copy);
    memcpy(copy, frame, total);
    assert_int_equal(packet_parse(copy, (uint32_t)total, 0, &p), VERDICT_FORWARDED);
    memset(out, 0xee, sizeof *out);
    const bool good = packet_options(copy, &p, out);
    assert_memory_equal(copy, frame, total); /* reading writes nothing */
    free(copy);
    return good;
}

static bool read_hex(const char *hex, uint8_t flags, struct tcp_options *out)
{
    uint8_t bytes[40];
    const size_t length = frame_hex(bytes, hex);
    assert_int_equal(length % 4, 0);
    return read_options(bytes, length, flags, out);
}

static void known_options_are_read_in_any_order(void **state)
{
    (void)state;
    static const char *const rows[] = {
        "020405b4 0402 080a1122334455667788 01 030307",           /* Linux */
        "020405b4 01 030307 0101 080a1122334455667788 0402 0000", /* BSD, macOS: ends by "end" */
        "01010402 030307 01 020405b4 0101 080a1122334455667788 ",
        "080a1122334455667788 0402 030307 01 020405b4",
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct tcp_options o;
        assert_true(read_hex(rows[i], TCP_SYN, &o));
        assert_int_equal(o.mss, 1460);
        assert_int_equal(o.window_scale, 7);
        assert_true(o.sack_ok);
        assert_true(o.timestamps);
        assert_int_equal(o.tsval, 0x11223344);
        assert_int_equal(o.tsecr, 0x55667788);
    }
}

/* What is recognised at a glance, damaged at random, against the same behind four NOPs, which the
 * iterator reads. */
static void usual_layouts_are_read_like_any_other(void **state)
{
    (void)state;
    static const char *const usual[] = {"0101080a1122334455667788",
                                        "020405b40402080a112233445566778801030307"};
    struct random random = {7323};
    for (int round = 0; round < 100000; round++) {
        uint8_t bytes[40] = {1, 1, 1, 1};
        size_t length = frame_hex(bytes + 4, usual[random_below(&random, 2)]);
        for (uint32_t damage = random_below(&random, 3); damage; damage--)
            bytes[4 + random_below(&random, (uint32_t)length)] = (uint8_t)random_below(&random, 16);
        uint8_t flags = random_below(&random, 2) ? TCP_SYN : TCP_ACK;
        struct tcp_options one, other;
        bool good = read_options(bytes + 4, length, flags, &one);
        assert_int_equal(good, read_options(bytes, length + 4, flags, &other));
        if (!good)
            continue;
        assert_int_equal(one.mss, other.mss);
        assert_int_equal(one.window_scale, other.window_scale);
        assert_int_equal(one.sack_ok, other.sack_ok);
        assert_int_equal(one.timestamps, other.timestamps);
        assert_int_equal(one.tsval, other.tsval);
        assert_int_equal(one.tsecr, other.tsecr);
    }
}

static void absent_options_have_their_defaults(void **state)
{
    (void)state;
    static const char *const rows[] = {"", "01010101", "00000000", "0002040b"};
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct tcp_options o;
        assert_true(read_hex(rows[i], TCP_SYN, &o));
        assert_int_equal(o.mss, 0);
        assert_int_equal(o.window_scale, 15);
        assert_false(o.sack_ok || o.timestamps);
        assert_int_equal(o.tsval | o.tsecr, 0);
    }
}

static void pitfall_01_unknown_options_are_skipped(void **state)
{
    (void)state;
    struct tcp_options o;
    assert_true(read_hex("1e0c0081 0102030405060708 " /* MPTCP MP_CAPABLE */
                         "2202 "                      /* TCP Fast Open: a cookie is asked for */
                         "fe06e2d4c3d9 "              /* SMC */
                         "05 0a 0000000100000002 "    /* SACK on a SYN: meaningless, well formed */
                         "0402 fd04f989",             /* SACK-permitted, an experiment */
                         TCP_SYN, &o));
    assert_true(o.sack_ok);
    assert_int_equal(o.mss, 0);
    assert_false(o.timestamps);
}

static void mss_scale_and_sack_permitted_count_only_with_syn(void **state)
{
    (void)state;
    struct tcp_options o;
    assert_true(read_hex("020405b4 0402 080a1122334455667788 01 030307", TCP_ACK, &o));
    assert_int_equal(o.mss, 0);
    assert_int_equal(o.window_scale, 15);
    assert_false(o.sack_ok);
    assert_true(o.timestamps);
}

static void a_scale_above_14_counts_as_14(void **state)
{
    (void)state;
    for (unsigned scale = 0; scale < 256; scale++) {
        const uint8_t bytes[4] = {OPTION_SCALE, 3, (uint8_t)scale, OPTION_NOP};
        struct tcp_options o;
        assert_true(read_options(bytes, 4, TCP_SYN, &o));
        assert_int_equal(o.window_scale, scale > 14 ? 14 : scale);
    }
}

static void malformed_options_are_refused(void **state)
{
    (void)state;
    static const char *const rows[] = {
        "02030100",                                   /* MSS of one byte */
        "0205010001010101",                           /* of three */
        "03020101",                                   /* scale of none */
        "03040101",                                   /* of two */
        "04030101",                                   /* SACK-permitted with a byte */
        "05020101",                                   /* SACK without an edge */
        "0506000000010101",                           /* with half a block */
        "050e000000010000000200000003 0101",          /* with a block and a half */
        "0809112233445566770101010101010101",         /* timestamps, a byte short */
        "080b11223344556677880101010101010101010101", /* a byte long */
        "02000000",                                   /* length 0 would stand still */
        "02010101",                                   /* length 1 */
        "fe000000",                                   /* also of an unknown one */
        "fe010000",                                   /* */
        "01010102",                                   /* a kind without a length */
        "010101fe",                                   /* */
        "020405b4fe050000",                           /* past the header by one */
        "feff0000",                                   /* by far */
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        uint8_t bytes[40];
        size_t length = frame_hex(bytes, rows[i]);
        while (length % 4)
            bytes[length++] = OPTION_NOP;
        struct tcp_options o;
        if (read_options(bytes, length, TCP_SYN, &o))
            fail_msg("accepted: %s", rows[i]);
    }
}

static void pitfall_11_the_iterator_never_leaves_the_header(void **state)
{
    (void)state;
    static const uint8_t likely[] = {0, 1, 1, 2,  3,  4,  5,  8,  10, 3,
                                     4, 2, 6, 18, 26, 34, 30, 34, 254};
    struct random random = {11};
    for (int round = 0; round < 200000; round++) {
        uint8_t bytes[40];
        const size_t length = (size_t)random_below(&random, 11) * 4;
        for (size_t i = 0; i < length; i++)
            bytes[i] = random_below(&random, 8) ? likely[random_below(&random, sizeof likely)]
                                                : (uint8_t)random_32(&random);
        struct tcp_options o;
        const uint8_t flags = random_below(&random, 2) ? TCP_SYN : TCP_ACK;
        assert_int_equal(read_options(bytes, length, flags, &o), frame_options_good(bytes, length));
    }
}

static void random_bytes_never_crash_the_parser(void **state)
{
    (void)state;
    struct random random = {18};
    static const char *const frames[] = {syn_v4, syn_v6, data_v4};
    for (int round = 0; round < 300000; round++) {
        uint8_t frame[FRAME_ROOM];
        struct packet p;
        size_t length = frame_hex(frame, frames[random_below(&random, 3)]);
        for (uint32_t damage = random_below(&random, 4); damage; damage--)
            frame[12 + random_below(&random, 44)] = (uint8_t)random_32(&random);
        if (random_below(&random, 4) == 0)
            length = random_below(&random, (uint32_t)length + 1);
        if (parse(frame, length, PACKET_IP_CHECKED | PACKET_TCP_CHECKED, &p) != VERDICT_FORWARDED ||
            p.kind != PACKET_TCP)
            continue;
        assert_true(p.l3 < p.l4 && p.l4 + TCP_HEADER <= p.payload && p.payload <= p.end &&
                    p.end <= length);
        assert_int_equal(p.payload + p.length, p.end);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_syn_is_read_field_by_field),
        cmocka_unit_test(ethernet_padding_is_not_payload),
        cmocka_unit_test(a_frame_cut_anywhere_is_truncated),
        cmocka_unit_test(pitfall_18_vlan_tags_have_their_own_verdicts),
        cmocka_unit_test(pitfall_18_fragments_are_refused_and_packets_without_df_are_not),
        cmocka_unit_test(pitfall_18_what_is_not_directly_behind_ipv6_is_left_to_the_walk),
        cmocka_unit_test(ipv4_options_are_refused),
        cmocka_unit_test(a_spoilt_ip_header_is_bad_ip),
        cmocka_unit_test(every_damaged_bit_is_noticed),
        cmocka_unit_test(a_wrong_checksum_says_which),
        cmocka_unit_test(pitfall_15_each_checksum_is_left_out_only_if_the_port_has_checked_it),
        cmocka_unit_test(a_spoilt_tcp_header_is_bad_tcp),
        cmocka_unit_test(every_set_of_flags_is_allowed_or_bad_tcp),
        cmocka_unit_test(a_syn_with_ecn_or_reserved_bits_is_a_syn),
        cmocka_unit_test(bogons_are_known),
        cmocka_unit_test(a_v4_mapped_address_in_ipv6_is_a_bogon_in_either_place),
        cmocka_unit_test(arp_and_icmp_are_sorted_by_kind),
        cmocka_unit_test(a_frame_larger_than_any_offset_is_refused),
        cmocka_unit_test(known_options_are_read_in_any_order),
        cmocka_unit_test(usual_layouts_are_read_like_any_other),
        cmocka_unit_test(absent_options_have_their_defaults),
        cmocka_unit_test(pitfall_01_unknown_options_are_skipped),
        cmocka_unit_test(mss_scale_and_sack_permitted_count_only_with_syn),
        cmocka_unit_test(a_scale_above_14_counts_as_14),
        cmocka_unit_test(malformed_options_are_refused),
        cmocka_unit_test(pitfall_11_the_iterator_never_leaves_the_header),
        cmocka_unit_test(random_bytes_never_crash_the_parser),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
