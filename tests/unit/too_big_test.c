/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026, the Dropgate authors
 *
 * Path MTU discovery through the gateway: what a router on either side says about a packet in
 * flight reaches the packet's sender as a message about the packet that it sent; whatever else
 * claims to be one is dropped by its name. Messages are written and read by code of the test. */
#include <stdlib.h>

#include "tests/unit/wire.h"
// clang-format off
#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>
// clang-format on

enum { BULK = 1200, QUOTE_MAX = 528 };

/* An open connection with a large segment of each end in flight, as it went in and as it came out.
 */
struct scene {
    struct wire *w;
    struct wire_talk talk;
    bool v6;
    struct packet_bytes {
        uint8_t bytes[FRAME_ROOM];
        uint32_t length;
    } sent[2], passed[2]; /* by enum direction */
};

/* A too-big as a router writes it; tests change what they are about. */
struct icmp {
    enum port_side side; /* where the router is */
    struct addr router, to;
    uint32_t mtu;
    uint8_t type, code;
    uint8_t quoted[FRAME_ROOM]; /* from the IP header on */
    uint32_t length;            /* of it */
};

static struct addr addr_of(const char *text)
{
    struct addr a;
    assert_int_equal(addr_parse(text, &a), 0);
    return a;
}

static void pass_bulk(struct scene *s, enum direction from)
{
    static char bulk[BULK + 1];
    memset(bulk, 'x', BULK);
    struct wire_segment segment = wire_data(&s->talk, from, TCP_ACK | TCP_PSH, bulk);
    s->sent[from].length = wire_segment_write(s->sent[from].bytes, &segment);
    assert_int_equal(wire_send(s->w, &segment, from), VERDICT_FORWARDED);
    const struct wire_frame *f = wire_out_frame(s->w, from == FROM_CLIENT ? INSIDE : OUTSIDE);
    memcpy(s->passed[from].bytes, f->bytes, f->length);
    s->passed[from].length = f->length;
    (from == FROM_CLIENT ? &s->talk.client : &s->talk.server)->next += BULK;
}

static struct scene scene_of(void **state)
{
    struct scene s = {.w = wire_of(state)};
    s.v6 = s.w->family == WIRE_V6;
    s.talk = wire_talk(s.w);
    wire_open(s.w, &s.talk);
    pass_bulk(&s, FROM_CLIENT);
    pass_bulk(&s, FROM_BACKEND);
    return s;
}

/* A router on that side about the segment that went there. */
static struct icmp message_of(const struct scene *s, enum port_side side)
{
    const enum direction from = side == OUTSIDE ? FROM_BACKEND : FROM_CLIENT;
    const struct packet_bytes *p = &s->passed[from];
    struct icmp m = {
        .side = side,
        .router = addr_of(s->v6 ? "2001:db8:ffff::9" : "198.18.99.9"),
        .to = side == OUTSIDE ? s->talk.listen.addr : s->talk.client.at.addr,
        .mtu = s->v6 ? 1280 : 1000,
        .type = s->v6 ? 2 : 3,
        .code = s->v6 ? 0 : 4,
        .length = p->length - 14 < QUOTE_MAX ? p->length - 14 : QUOTE_MAX,
    };
    memcpy(m.quoted, p->bytes + 14, m.length);
    if (s->v6) /* so that the packet is larger than IPv6's least MTU */
        frame_put16(m.quoted + 4, 1400);
    return m;
}

static void put_addr(uint8_t *at, const struct addr *a, bool v6)
{
    memcpy(at, a->bytes + (v6 ? 0 : 12), v6 ? 16 : 4);
}

static void fix_icmp(uint8_t *frame, bool v6)
{
    const struct frame_map m = frame_map(frame);
    frame_put16(frame + m.l4 + 2, 0);
    frame_put16(frame + m.l4 + 2,
                0xffff - (v6 ? frame_l4_sum(frame) : frame_sum(0, frame + m.l4, m.end - m.l4)));
}

static uint32_t write_message(uint8_t *frame, const struct scene *s, const struct icmp *m)
{
    const uint32_t ip = s->v6 ? 40 : 20, total = ip + 8 + m->length;
    static const uint8_t router_mac[6] = {2, 0, 0, 0, 9, 9};
    memset(frame, 0, 14 + ip + 8);
    memcpy(frame, &s->w->mac[m->side], 6);
    memcpy(frame + 6, router_mac, 6);
    frame_put16(frame + 12, s->v6 ? 0x86dd : 0x0800);
    if (s->v6) {
        frame[14] = 0x60;
        frame_put16(frame + 18, 8 + m->length);
        frame[20] = 58;
        frame[21] = 60;
        put_addr(frame + 22, &m->router, true);
        put_addr(frame + 38, &m->to, true);
    } else {
        frame[14] = 0x45;
        frame_put16(frame + 16, total);
        frame[22] = 60;
        frame[23] = 1;
        put_addr(frame + 26, &m->router, false);
        put_addr(frame + 30, &m->to, false);
        frame_put16(frame + 24, 0xffff - frame_sum(0, frame + 14, 20));
    }
    uint8_t *icmp = frame + 14 + ip;
    icmp[0] = m->type;
    icmp[1] = m->code;
    if (s->v6)
        frame_put32(icmp + 4, m->mtu);
    else
        frame_put16(icmp + 6, m->mtu);
    memcpy(icmp + 8, m->quoted, m->length);
    fix_icmp(frame, s->v6);
    return 14 + total;
}

static enum verdict arrive(const struct scene *s, const struct icmp *m)
{
    uint8_t frame[FRAME_ROOM];
    const uint32_t length = write_message(frame, s, m);
    return wire_in_bytes(s->w, m->side, frame, length);
}

static void expect(const struct scene *s, const struct icmp *m, enum verdict verdict)
{
    const enum verdict seen = arrive(s, m);
    if (seen != verdict)
        fail_msg("%s instead of %s", verdict_name(seen), verdict_name(verdict));
    if (verdict != VERDICT_TOO_BIG)
        wire_quiet(s->w);
    wire_forget_frames(s->w);
}

/* What left is a well-formed message with this MTU from `source` to `to`, about the packet that was
 * sent, of which it quotes `tcp` bytes of TCP. */
static void check_passed(const struct scene *s, const struct icmp *m, uint32_t tcp)
{
    const bool outside = m->side == OUTSIDE;
    const struct wire_frame *f = wire_out_frame(s->w, outside ? INSIDE : OUTSIDE);
    const uint8_t *sent = s->sent[outside ? FROM_BACKEND : FROM_CLIENT].bytes;
    const struct frame_map map = frame_map(f->bytes);
    const uint32_t ip = s->v6 ? 40 : 20;
    const struct addr own = addr_of(s->v6 ? "2001:db8:0:1::1" : "198.18.128.1");
    const struct addr *source = outside ? &own : &s->talk.listen.addr;
    const struct addr *to = outside ? &s->talk.server.at.addr : &s->talk.client.at.addr;
    assert_memory_equal(f->bytes, sent + 6, 6); /* to whom the packet came from */
    assert_int_equal(map.protocol, s->v6 ? 58 : 1);
    assert_int_equal(f->length, map.end);
    assert_int_equal(map.end - map.l4, 8 + ip + tcp);
    if (s->v6) {
        assert_int_equal(frame_l4_sum(f->bytes), 0xffff);
        assert_memory_equal(f->bytes + 22, source->bytes, 16);
        assert_memory_equal(f->bytes + 38, to->bytes, 16);
    } else {
        assert_int_equal(frame_sum(0, f->bytes + map.l4, map.end - map.l4), 0xffff);
        assert_int_equal(frame_sum(0, f->bytes + 14, 20), 0xffff);
        assert_memory_equal(f->bytes + 26, source->bytes + 12, 4);
        assert_memory_equal(f->bytes + 30, to->bytes + 12, 4);
    }
    const uint8_t *icmp = f->bytes + map.l4, *quoted = icmp + 8;
    assert_int_equal(icmp[0], s->v6 ? 2 : 3);
    assert_int_equal(icmp[1], s->v6 ? 0 : 4);
    assert_int_equal(s->v6 ? frame_get32(icmp + 4) : frame_get16(icmp + 6), m->mtu);
    /* addresses, ports, numbers as they were sent */
    assert_memory_equal(quoted + (s->v6 ? 8 : 12), sent + 14 + (s->v6 ? 8 : 12), s->v6 ? 32 : 8);
    assert_memory_equal(quoted + ip, sent + 14 + ip, tcp == 20 ? 12 : 8);
    if (!s->v6)
        assert_int_equal(frame_sum(0, quoted, 20), 0xffff);
    wire_quiet(s->w);
}

static void a_router_towards_the_client_reaches_the_backend(void **state)
{
    const struct scene s = scene_of(state);
    struct icmp m = message_of(&s, OUTSIDE);
    assert_int_equal(arrive(&s, &m), VERDICT_TOO_BIG);
    check_passed(&s, &m, 20);
    m.length = (s.v6 ? 40 : 20) + 8; /* an old router quotes no more */
    assert_int_equal(arrive(&s, &m), VERDICT_TOO_BIG);
    check_passed(&s, &m, 8);
    m.length += 11;
    assert_int_equal(arrive(&s, &m), VERDICT_TOO_BIG);
    check_passed(&s, &m, 8);
}

static void a_router_towards_the_backend_reaches_the_client(void **state)
{
    const struct scene s = scene_of(state);
    struct icmp m = message_of(&s, INSIDE);
    assert_int_equal(arrive(&s, &m), VERDICT_TOO_BIG);
    check_passed(&s, &m, 20);
    m.length = (s.v6 ? 40 : 20) + 8;
    assert_int_equal(arrive(&s, &m), VERDICT_TOO_BIG);
    check_passed(&s, &m, 8);
}

/* The sum over the quoted header moves by exactly what its words move by: a receiver with the whole
 * packet at hand finds it as right or wrong as it was. */
static void the_quoted_checksum_follows_what_is_translated(void **state)
{
    const struct scene s = scene_of(state);
    const uint32_t ip = s.v6 ? 40 : 20;
    for (int side = 0; side < PORT_SIDES; side++) {
        const struct icmp m = message_of(&s, (enum port_side)side);
        assert_int_equal(arrive(&s, &m), VERDICT_TOO_BIG);
        const struct wire_frame *f = wire_out_frame(s.w, side == OUTSIDE ? INSIDE : OUTSIDE);
        const uint8_t *quoted = f->bytes + frame_map(f->bytes).l4 + 8;
        const size_t at = s.v6 ? 8 : 12, size = s.v6 ? 32 : 8;
        const uint32_t before = frame_sum(frame_sum(0, m.quoted + at, size), m.quoted + ip, 20);
        const uint32_t after = frame_sum(frame_sum(0, quoted + at, size), quoted + ip, 20);
        assert_int_equal(before % 0xffff, after % 0xffff);
    }
}

static void pitfall_29_bytes_that_are_not_in_flight_are_stale(void **state)
{
    const struct scene s = scene_of(state);
    for (int side = 0; side < PORT_SIDES; side++) {
        struct icmp m = message_of(&s, (enum port_side)side);
        uint8_t *seq = m.quoted + (s.v6 ? 40 : 20) + 4;
        const uint32_t first = frame_get32(seq);
        static const struct {
            uint32_t offset;
            enum verdict verdict;
        } rows[] = {
            {0, VERDICT_TOO_BIG},
            {BULK - 1, VERDICT_TOO_BIG},
            {BULK, VERDICT_TOO_BIG_STALE},
            {UINT32_MAX, VERDICT_TOO_BIG_STALE}, /* acknowledged */
            {0x80000000, VERDICT_TOO_BIG_STALE},
            {0x7fffffff, VERDICT_TOO_BIG_STALE},
            {0x12345678, VERDICT_TOO_BIG_STALE},
        };
        for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
            frame_put32(seq, first + rows[i].offset);
            expect(&s, &m, rows[i].verdict);
        }
    }
}

static void bytes_that_were_acknowledged_are_no_longer_in_flight(void **state)
{
    struct scene s = scene_of(state);
    const struct icmp from_outside = message_of(&s, OUTSIDE), from_inside = message_of(&s, INSIDE);
    s.talk.client.expects += BULK;
    s.talk.server.expects += BULK;
    const struct wire_segment client = wire_segment(&s.talk, FROM_CLIENT, TCP_ACK);
    assert_int_equal(wire_send(s.w, &client, FROM_CLIENT), VERDICT_FORWARDED);
    const struct wire_segment server = wire_segment(&s.talk, FROM_BACKEND, TCP_ACK);
    assert_int_equal(wire_send(s.w, &server, FROM_BACKEND), VERDICT_FORWARDED);
    wire_forget_frames(s.w);
    expect(&s, &from_outside, VERDICT_TOO_BIG_STALE);
    expect(&s, &from_inside, VERDICT_TOO_BIG_STALE);
}

static void pitfall_29_a_packet_of_no_flow_is_nobodys(void **state)
{
    const struct scene s = scene_of(state);
    const uint32_t ip = s.v6 ? 40 : 20;
    for (int side = 0; side < PORT_SIDES; side++) {
        const struct icmp good = message_of(&s, (enum port_side)side);
        const uint32_t tuple[] = {(s.v6 ? 8 : 12) + 3,
                                  s.v6 ? 23 : 15,
                                  s.v6 ? 24 + 3 : 17,
                                  ip - 1,
                                  ip,
                                  ip + 1,
                                  ip + 2,
                                  ip + 3};
        for (size_t i = 0; i < sizeof tuple / sizeof tuple[0]; i++) {
            struct icmp m = good;
            m.quoted[tuple[i]] ^= 1;
            expect(&s, &m, VERDICT_TOO_BIG_NO_FLOW);
        }
        struct icmp m = good; /* sent to somebody else than the packet's sender */
        m.to.bytes[15] ^= 1;
        expect(&s, &m, VERDICT_TOO_BIG_NO_FLOW);
        m = message_of(&s, side == OUTSIDE ? INSIDE : OUTSIDE); /* from the wrong side */
        m.side = (enum port_side)side;
        expect(&s, &m, VERDICT_TOO_BIG_NO_FLOW);
        expect(&s, &good, VERDICT_TOO_BIG);
    }
}

static void pitfall_29_an_mtu_that_no_link_may_have_is_refused(void **state)
{
    const struct scene s = scene_of(state);
    const uint32_t least = s.v6 ? 1280 : 576, total = s.v6 ? 1440 : s.passed[0].length - 14;
    const struct {
        uint32_t mtu;
        enum verdict verdict;
    } rows[] = {
        {0, VERDICT_TOO_BIG_MTU},         {1, VERDICT_TOO_BIG_MTU},    {68, VERDICT_TOO_BIG_MTU},
        {least - 1, VERDICT_TOO_BIG_MTU}, {least, VERDICT_TOO_BIG},    {total - 1, VERDICT_TOO_BIG},
        {total, VERDICT_TOO_BIG_MTU},     {1500, VERDICT_TOO_BIG_MTU}, {65535, VERDICT_TOO_BIG_MTU},
    };
    for (int side = 0; side < PORT_SIDES; side++)
        for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
            struct icmp m = message_of(&s, (enum port_side)side);
            m.mtu = rows[i].mtu;
            expect(&s, &m, rows[i].verdict);
        }
    struct icmp m = message_of(&s, OUTSIDE);
    if (s.v6) {
        m.mtu = 65536 + 1300; /* all 32 bits count */
        expect(&s, &m, VERDICT_TOO_BIG_MTU);
    }
}

static void a_quote_that_is_no_tcp_packet_is_refused(void **state)
{
    const struct scene s = scene_of(state);
    const uint32_t ip = s.v6 ? 40 : 20;
    for (int side = 0; side < PORT_SIDES; side++) {
        const struct icmp good = message_of(&s, (enum port_side)side);
        for (uint32_t length = 0; length < ip + 8; length++) {
            struct icmp m = good;
            m.length = length;
            expect(&s, &m, VERDICT_ICMP_QUOTE);
        }
        struct icmp m = good;
        m.quoted[0] ^= 0x20; /* the other family's version */
        expect(&s, &m, VERDICT_ICMP_QUOTE);
        m = good;
        m.quoted[s.v6 ? 6 : 9] = 17;
        expect(&s, &m, VERDICT_ICMP_QUOTE);
        if (!s.v6) {
            m = good;
            m.quoted[0] = 0x46; /* options, which we never send */
            expect(&s, &m, VERDICT_ICMP_QUOTE);
            m = good;
            m.quoted[7] = 1; /* a later fragment has no ports */
            expect(&s, &m, VERDICT_ICMP_QUOTE);
        }
    }
}

static void other_icmp_errors_are_dropped_by_name(void **state)
{
    const struct scene s = scene_of(state);
    static const uint8_t types_v4[][2] = {{3, 0}, {3, 1},  {3, 3}, {3, 13},
                                          {4, 0}, {11, 0}, {12, 0}};
    static const uint8_t types_v6[][2] = {{1, 0}, {1, 4}, {3, 0}, {4, 1}, {100, 0}, {127, 0}};
    const size_t count = s.v6 ? 6 : 7;
    for (int side = 0; side < PORT_SIDES; side++)
        for (size_t i = 0; i < count; i++) {
            struct icmp m = message_of(&s, (enum port_side)side);
            m.type = s.v6 ? types_v6[i][0] : types_v4[i][0];
            m.code = s.v6 ? types_v6[i][1] : types_v4[i][1];
            expect(&s, &m, VERDICT_ICMP_ERROR);
        }
}

static void pitfall_29_a_router_that_cannot_be_one_is_a_bogon(void **state)
{
    const struct scene s = scene_of(state);
    struct icmp m = message_of(&s, OUTSIDE);
    m.router = addr_of(s.v6 ? "ff02::1" : "224.0.0.1");
    expect(&s, &m, VERDICT_BOGON);
    m.router = s.talk.server.at.addr; /* from outside, and claims to be the backend */
    expect(&s, &m, VERDICT_BOGON);
    m.side = INSIDE;
    m = message_of(&s, INSIDE);
    m.router = addr_of(s.v6 ? "::1" : "127.0.0.1");
    expect(&s, &m, VERDICT_BOGON);
    m.router = s.talk.server.at.addr; /* the backend itself may have the smaller link */
    expect(&s, &m, VERDICT_TOO_BIG);
}

static void a_message_to_another_link_address_is_not_for_us(void **state)
{
    const struct scene s = scene_of(state);
    const struct icmp m = message_of(&s, OUTSIDE);
    uint8_t frame[FRAME_ROOM];
    const uint32_t length = write_message(frame, &s, &m);
    frame[5] ^= 1;
    assert_int_equal(wire_in_bytes(s.w, OUTSIDE, frame, length), VERDICT_NOT_FOR_US);
    frame[5] ^= 1;
    frame[length - 1] ^= 1;
    assert_int_equal(wire_in_bytes(s.w, OUTSIDE, frame, length), VERDICT_BAD_ICMP);
    wire_quiet(s.w);
}

static void messages_have_a_budget(void **state)
{
    const struct scene s = scene_of(state);
    const struct icmp m = message_of(&s, OUTSIDE);
    s.w->limits.per_second[LEASE_TOO_BIGS] = 3;
    wire_wait(s.w, 5000);
    for (int i = 0; i < 3; i++)
        expect(&s, &m, VERDICT_TOO_BIG);
    expect(&s, &m, VERDICT_BUDGET);
    wire_wait(s.w, 1000);
    expect(&s, &m, VERDICT_TOO_BIG);
}

static void without_the_backends_link_address_nothing_is_sent_there(void **state)
{
    const struct scene s = scene_of(state);
    const struct icmp m = message_of(&s, OUTSIDE);
    for (uint32_t i = 0; i < s.w->neighbors->count; i++)
        s.w->neighbors->backend[i].known = false;
    wire_begin(s.w);
    expect(&s, &m, VERDICT_BACKEND_UNRESOLVED);
}

/* ---- bytes that the gateway has acknowledged ---- */

enum { HEAD = 2600, OWNED = 1400 };

/* A head in two segments, the first of which is owned; the backend has got both and said nothing.
 * Returns a router's message about the first of them. */
static struct icmp owned_scene(struct scene *s, char request[HEAD + 1])
{
    struct wire *w = s->w;
    memset(request, 'x', HEAD);
    memcpy(request, "GET / HTTP/1.1\r\nHost: a\r\nX: ", 28);
    memcpy(request + HEAD - 4, "\r\n\r\n", 5);
    s->v6 = w->family == WIRE_V6;
    s->talk = wire_talk(w);
    wire_handshake(w, &s->talk);
    struct wire_segment piece = wire_segment(&s->talk, FROM_CLIENT, TCP_ACK);
    piece.payload = request;
    piece.length = OWNED;
    assert_int_equal(wire_send(w, &piece, FROM_CLIENT), VERDICT_READING);
    wire_out(w, OUTSIDE);
    piece.seq += OWNED;
    piece.payload = request + OWNED;
    piece.length = HEAD - OWNED;
    assert_int_equal(wire_send(w, &piece, FROM_CLIENT), VERDICT_OPENED);
    const struct wire_segment syn = wire_out(w, INSIDE);
    s->talk.server.expects = syn.seq + 1;
    s->talk.server.echo = syn.options.tsval;
    const struct wire_segment syn_ack = wire_syn_ack(&s->talk);
    assert_int_equal(wire_send(w, &syn_ack, FROM_BACKEND), VERDICT_BACKEND_ANSWERED);
    wire_syn_again(w, &s->talk);
    const struct wire_frame *f = wire_out_frame(w, INSIDE);
    s->passed[FROM_CLIENT].length = f->length;
    memcpy(s->passed[FROM_CLIENT].bytes, f->bytes, f->length);
    wire_forget_frames(w);
    return message_of(s, INSIDE);
}

static void pitfall_26_owned_bytes_are_sent_again_in_smaller_segments(void **state)
{
    struct scene s = {.w = wire_of(state)};
    char request[HEAD + 1];
    const struct icmp m = owned_scene(&s, request);
    const uint32_t first = s.talk.client.isn + 1, most = m.mtu - (s.v6 ? 40 : 20) - 20 - 12;
    assert_int_equal(arrive(&s, &m), VERDICT_TOO_BIG_OURS);
    uint32_t end = first;
    while (wire_pending(s.w) > 0) { /* to the backend only: the client could do nothing */
        const struct wire_segment again = wire_out(s.w, INSIDE);
        assert_int_equal(again.seq, end);
        assert_in_range(again.length, 1, most);
        assert_memory_equal(again.payload, request + (again.seq - first), again.length);
        end += again.length;
    }
    assert_int_equal(end, first + OWNED);
    expect(&s, &m, VERDICT_TOO_BIG_OURS); /* about another one of the same flight */

    wire_wait(s.w, 224); /* what the timer sends is no larger */
    assert_in_range(wire_out(s.w, INSIDE).length, 1, most);
}

/* While nothing has gone to the backend there is nothing to complain of. */
static void a_flow_whose_backend_has_not_answered_has_nothing_in_flight(void **state)
{
    struct scene s = {.w = wire_of(state)};
    char request[HEAD + 1];
    struct icmp m = owned_scene(&s, request);
    uint8_t *tcp = m.quoted + (s.v6 ? 40 : 20);
    s.talk = wire_talk(s.w);
    s.talk.client.isn = s.talk.client.next = 1000; /* above the 0 of numbers not filled in yet */
    wire_handshake(s.w, &s.talk);
    frame_put16(tcp, s.talk.client.at.port);
    m.to = s.talk.client.at.addr;
    put_addr(m.quoted + (s.v6 ? 8 : 12), &m.to, s.v6);
    for (uint32_t sent = 0; sent < HEAD; sent += OWNED) { /* reading, then opening */
        struct wire_segment piece = wire_segment(&s.talk, FROM_CLIENT, TCP_ACK);
        piece.seq += sent;
        piece.payload = request + sent;
        piece.length = (uint16_t)(sent ? HEAD - OWNED : OWNED);
        assert_int_equal(wire_send(s.w, &piece, FROM_CLIENT),
                         sent ? VERDICT_OPENED : VERDICT_READING);
        wire_forget_frames(s.w);
        for (uint32_t at = 0; at < HEAD; at += 100) {
            frame_put32(tcp + 4, s.talk.client.isn + at);
            expect(&s, &m, VERDICT_TOO_BIG_STALE);
        }
    }
}

static void the_client_hears_of_bytes_that_only_it_can_send_again(void **state)
{
    struct scene s = {.w = wire_of(state)};
    char request[HEAD + 1];
    struct icmp m = owned_scene(&s, request);
    uint8_t *seq = m.quoted + (s.v6 ? 40 : 20) + 4;
    const uint32_t first = frame_get32(seq);
    frame_put32(seq, first + OWNED - 1);
    assert_int_equal(arrive(&s, &m), VERDICT_TOO_BIG_OURS);
    wire_forget_frames(s.w);
    frame_put32(seq, first + OWNED);
    assert_int_equal(arrive(&s, &m), VERDICT_TOO_BIG);
    const struct wire_frame *f = wire_out_frame(s.w, OUTSIDE);
    assert_int_equal(frame_map(f->bytes).protocol, s.v6 ? 58 : 1);
    wire_quiet(s.w);
    frame_put32(seq, first + HEAD);
    expect(&s, &m, VERDICT_TOO_BIG_STALE);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        WIRE_TEST(a_router_towards_the_client_reaches_the_backend),
        WIRE_TEST(a_router_towards_the_backend_reaches_the_client),
        WIRE_TEST(the_quoted_checksum_follows_what_is_translated),
        WIRE_TEST(pitfall_29_bytes_that_are_not_in_flight_are_stale),
        WIRE_TEST(bytes_that_were_acknowledged_are_no_longer_in_flight),
        WIRE_TEST(pitfall_29_a_packet_of_no_flow_is_nobodys),
        WIRE_TEST(pitfall_29_an_mtu_that_no_link_may_have_is_refused),
        WIRE_TEST(a_quote_that_is_no_tcp_packet_is_refused),
        WIRE_TEST(other_icmp_errors_are_dropped_by_name),
        WIRE_TEST(pitfall_29_a_router_that_cannot_be_one_is_a_bogon),
        WIRE_TEST(a_message_to_another_link_address_is_not_for_us),
        WIRE_TEST(messages_have_a_budget),
        WIRE_TEST(pitfall_26_owned_bytes_are_sent_again_in_smaller_segments),
        WIRE_TEST(a_flow_whose_backend_has_not_answered_has_nothing_in_flight),
        WIRE_TEST(the_client_hears_of_bytes_that_only_it_can_send_again),
        WIRE_TEST(without_the_backends_link_address_nothing_is_sent_there),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
