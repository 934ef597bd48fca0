/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026, the Dropgate authors
 *
 * Reads a frame from the outside in: Ethernet, VLAN tags, IP, then TCP, ICMP or ARP. Every length
 * is checked against the bytes that are there before anything behind it is read. */
#include "dataplane/net/packet.h"

#include "dataplane/net/checksum.h"

enum {
    PROTOCOL_ICMP = 1,
    PROTOCOL_TCP = 6,
    PROTOCOL_ICMP6 = 58,
    VLAN_TAGS_MAX = 2,
    ARP_LENGTH = 28,
    ICMP_HEADER = 8
};

bool packet_bogon(const struct addr *a, bool v4)
{
    if (v4) {
        uint8_t first = a->bytes[12];
        return first == 0 || first == 127 || first >= 224;
    }
    if (a->bytes[0] == 0xff || addr_is_v4(a))
        return true;
    return a->quads[0] == 0 && a->words[2] == 0 && a->bytes[12] == 0 && a->bytes[13] == 0 &&
           a->bytes[14] == 0 && a->bytes[15] <= 1;
}

/* Flags that no honest stack sends together, or none at all (a null scan). */
static bool impossible_flags(uint8_t flags)
{
    if ((flags & (TCP_FIN | TCP_SYN | TCP_RST | TCP_ACK)) == TCP_ACK)
        return false;
    bool syn = flags & TCP_SYN, rst = flags & TCP_RST, fin = flags & TCP_FIN, ack = flags & TCP_ACK;
    return (syn & (fin | rst)) | (rst & fin) | !(syn | rst | ack);
}

static inline __attribute__((always_inline)) enum verdict
parse_tcp(const uint8_t *frame, unsigned checked, struct packet *p)
{
    const uint8_t *tcp = frame + p->l4;
    uint32_t room = (uint32_t)(p->end - p->l4);
    if (room < TCP_HEADER)
        return VERDICT_TRUNCATED;
    uint32_t header = (uint32_t)(tcp[12] >> 4) * 4;
    p->source_port = load16(tcp);
    p->destination_port = load16(tcp + 2);
    p->seq = load32(tcp + 4);
    p->ack = load32(tcp + 8);
    p->flags = tcp[13];
    p->window = load16(tcp + 14);
    if (header < TCP_HEADER || header > room || p->source_port == 0 || p->destination_port == 0 ||
        impossible_flags(p->flags))
        return VERDICT_BAD_TCP;
    p->payload = (uint16_t)(p->l4 + header);
    p->length = (uint16_t)(p->end - p->payload);
    if (!(checked & PACKET_TCP_CHECKED)) {
        uint64_t sum = checksum_pseudo(&p->source, &p->destination, PROTOCOL_TCP, room);
        if (!checksum_good(checksum_add_tcp(sum, tcp, room)))
            return VERDICT_TCP_CHECKSUM;
    }
    p->kind = PACKET_TCP;
    return VERDICT_FORWARDED;
}

static enum verdict parse_icmp(const uint8_t *frame, struct packet *p)
{
    uint32_t room = (uint32_t)(p->end - p->l4);
    if (room < ICMP_HEADER)
        return VERDICT_TRUNCATED;
    uint64_t sum = p->v4 ? 0 : checksum_pseudo(&p->source, &p->destination, PROTOCOL_ICMP6, room);
    if (!checksum_good(checksum_add(sum, frame + p->l4, room)))
        return VERDICT_BAD_ICMP;
    p->kind = p->v4 ? PACKET_ICMP4 : PACKET_ICMP6;
    return VERDICT_FORWARDED;
}

static enum verdict parse_protocol(const uint8_t *frame, unsigned checked, uint8_t protocol,
                                   struct packet *p)
{
    if (protocol == PROTOCOL_TCP)
        return parse_tcp(frame, checked, p);
    if (protocol == (p->v4 ? PROTOCOL_ICMP : PROTOCOL_ICMP6))
        return parse_icmp(frame, p);
    return VERDICT_UNSUPPORTED;
}

static enum verdict parse_v4(const uint8_t *frame, uint32_t length, unsigned checked,
                             struct packet *p)
{
    const uint8_t *ip = frame + p->l3;
    uint32_t room = length - p->l3;
    if (room < IPV4_HEADER)
        return VERDICT_TRUNCATED;
    uint32_t header = (uint32_t)(ip[0] & 15) * 4, total = load16(ip + 2);
    if (ip[0] >> 4 != 4 || header < IPV4_HEADER || total < header || (ip[6] & 0x80))
        return VERDICT_BAD_IP;
    if (total > room)
        return VERDICT_TRUNCATED;
    if (!(checked & PACKET_IP_CHECKED) && !checksum_good(checksum_add(0, ip, header)))
        return VERDICT_IP_CHECKSUM;
    if (load16(ip + 6) & 0x3fff) /* more fragments, or an offset */
        return VERDICT_FRAGMENT;
    if (header > IPV4_HEADER)
        return VERDICT_IP_OPTIONS;
    p->v4 = true;
    uint32_t v4;
    memcpy(&v4, ip + 12, 4);
    p->source = addr_from_v4(v4);
    memcpy(&v4, ip + 16, 4);
    p->destination = addr_from_v4(v4);
    p->l4 = (uint16_t)(p->l3 + IPV4_HEADER);
    p->end = (uint16_t)(p->l3 + total);
    return parse_protocol(frame, checked, ip[9], p);
}

static enum verdict parse_v6(const uint8_t *frame, uint32_t length, unsigned checked,
                             struct packet *p)
{
    const uint8_t *ip = frame + p->l3;
    uint32_t room = length - p->l3;
    if (room < IPV6_HEADER)
        return VERDICT_TRUNCATED;
    uint32_t total = IPV6_HEADER + (uint32_t)load16(ip + 4);
    if (ip[0] >> 4 != 6)
        return VERDICT_BAD_IP;
    if (total > room)
        return VERDICT_TRUNCATED;
    p->v4 = false;
    p->source = addr_from_v6(ip + 8);
    p->destination = addr_from_v6(ip + 24);
    /* Within this program it would be the IPv4 address itself, with its services. */
    if (addr_is_v4(&p->source) || addr_is_v4(&p->destination))
        return VERDICT_BOGON;
    p->l4 = (uint16_t)(p->l3 + IPV6_HEADER);
    p->end = (uint16_t)(p->l3 + total);
    if (ip[6] == PROTOCOL_TCP || ip[6] == PROTOCOL_ICMP6)
        return parse_protocol(frame, checked, ip[6], p);
    return VERDICT_IPV6_EXTENSION;
}

/* Whether this is what nearly every frame is: untagged, IPv4 without options, whole, TCP. One test
 * of several loads, since on a mixture of packets each branch more would be guessed wrong now and
 * then. */
static inline bool usual(const uint8_t *frame, uint32_t length)
{
    enum {
        TYPE_AND_HEADER = ETHERTYPE_IPV4 << 16 | 0x4500, /* whatever its type of service */
        LEAST = IPV4_HEADER + TCP_HEADER
    };
    const uint32_t fragment_and_protocol = 0xbfff00ff; /* whatever its DF and TTL */
    if (length < ETHERNET_HEADER + LEAST || length > UINT16_MAX)
        return false;
    uint32_t total = load16(frame + ETHERNET_HEADER + 2);
    int yes = (load32(frame + 12) & 0xffffff00) == TYPE_AND_HEADER;
    yes &= (load32(frame + ETHERNET_HEADER + 6) & fragment_and_protocol) == PROTOCOL_TCP;
    yes &= total - LEAST <= length - ETHERNET_HEADER - LEAST; /* neither more nor less */
    return yes;
}

static enum verdict parse_usual(const uint8_t *frame, unsigned checked, struct packet *p)
{
    const uint8_t *ip = frame + ETHERNET_HEADER;
    if (!(checked & PACKET_IP_CHECKED) && !checksum_good(checksum_add(0, ip, IPV4_HEADER)))
        return VERDICT_IP_CHECKSUM;
    uint32_t source, destination;
    memcpy(&source, ip + 12, 4);
    memcpy(&destination, ip + 16, 4);
    p->source = addr_from_v4(source);
    p->destination = addr_from_v4(destination);
    p->v4 = true;
    p->l3 = ETHERNET_HEADER;
    p->l4 = ETHERNET_HEADER + IPV4_HEADER;
    p->end = (uint16_t)(ETHERNET_HEADER + load16(ip + 2));
    return parse_tcp(frame, checked, p);
}

enum verdict packet_parse(const uint8_t *frame, uint32_t length, unsigned checked,
                          struct packet *out)
{
    if (usual(frame, length))
        return parse_usual(frame, checked, out);
    uint32_t at = ETHERNET_HEADER;
    if (length < ETHERNET_HEADER || length > UINT16_MAX)
        return VERDICT_TRUNCATED;
    uint16_t type = load16(frame + 12);
    int tags = 0;
    for (; type == ETHERTYPE_VLAN || type == ETHERTYPE_QINQ; tags++) {
        if (tags == VLAN_TAGS_MAX)
            return VERDICT_VLAN_DEPTH;
        if (length < at + 4)
            return VERDICT_TRUNCATED;
        type = load16(frame + at + 2);
        at += 4;
    }
    if (tags)
        return VERDICT_VLAN;
    out->l3 = (uint16_t)at;
    switch (type) {
    case ETHERTYPE_IPV4: return parse_v4(frame, length, checked, out);
    case ETHERTYPE_IPV6: return parse_v6(frame, length, checked, out);
    case ETHERTYPE_ARP:
        if (length < at + ARP_LENGTH)
            return VERDICT_TRUNCATED;
        out->kind = PACKET_ARP;
        return VERDICT_FORWARDED;
    default: return VERDICT_NOT_FOR_US;
    }
}

/* Notes one known option; false if its length is wrong. */
static bool note_option(const struct tcp_option *o, bool syn, struct tcp_options *out)
{
    switch (o->kind) {
    case OPTION_MSS:
        if (syn)
            out->mss = o->length == 2 ? load16(o->data) : 0;
        return o->length == 2;
    case OPTION_SCALE:
        if (syn && o->length == 1)
            out->window_scale = o->data[0] > 14 ? 14 : o->data[0];
        return o->length == 1;
    case OPTION_SACK_OK: out->sack_ok = syn; return o->length == 0;
    case OPTION_SACK: return o->length % 8 == 0 && o->length > 0;
    case OPTION_TIMESTAMPS:
        if (o->length != 8)
            return false;
        out->timestamps = true;
        out->tsval = load32(o->data);
        out->tsecr = load32(o->data + 4);
        return true;
    default: return true;
    }
}

/* The layouts that nearly all segments have: none at all, timestamps behind two NOPs, and a SYN's
 * as Linux and Android order them. False when it is another. */
static inline bool usual_options(const uint8_t *at, uint32_t length, bool syn,
                                 struct tcp_options *out)
{
    enum {
        TIMESTAMPS = OPTION_TIMESTAMPS << 8 | 10,
        NOPS_TIMESTAMPS = (OPTION_NOP << 8 | OPTION_NOP) << 16 | TIMESTAMPS,
        SACK_OK_TIMESTAMPS = (OPTION_SACK_OK << 8 | 2) << 16 | TIMESTAMPS,
        MSS_FIRST = OPTION_MSS << 8 | 4,
        NOP_SCALE = OPTION_NOP << 16 | OPTION_SCALE << 8 | 3
    };
    if (length == 0)
        return true;
    if (length == 12 && load32(at) == NOPS_TIMESTAMPS) {
        out->timestamps = true;
        out->tsval = load32(at + 4);
        out->tsecr = load32(at + 8);
        return true;
    }
    if (length != 20 || !syn || load16(at) != MSS_FIRST || load32(at + 4) != SACK_OK_TIMESTAMPS ||
        load32(at + 16) >> 8 != NOP_SCALE)
        return false;
    *out = (struct tcp_options){
        .mss = load16(at + 2),
        .window_scale = at[19] > 14 ? 14 : at[19],
        .sack_ok = true,
        .timestamps = true,
        .tsval = load32(at + 8),
        .tsecr = load32(at + 12),
    };
    return true;
}

static __attribute__((noinline)) bool any_options(const uint8_t *frame, const struct packet *packet,
                                                  bool syn, struct tcp_options *out)
{
    /* The iterator is shared with the translator, which writes; reading alone does not. */
    uint8_t *bytes = (uint8_t *)frame;
    struct tcp_option_iterator it = {bytes + packet->l4 + TCP_HEADER, bytes + packet->payload,
                                     false};
    struct tcp_option o;
    while (tcp_option_next(&it, &o))
        if (!note_option(&o, syn, out))
            return false;
    return !it.bad;
}

inline bool packet_options(const uint8_t *frame, const struct packet *packet,
                           struct tcp_options *out)
{
    bool syn = packet->flags & TCP_SYN;
    *out = (struct tcp_options){.window_scale = 15};
    return usual_options(frame + packet->l4 + TCP_HEADER,
                         (uint32_t)(packet->payload - packet->l4) - TCP_HEADER, syn, out) ||
           any_options(frame, packet, syn, out);
}
