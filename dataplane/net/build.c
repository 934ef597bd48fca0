/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026, the Dropgate authors
 *
 * Headers are written field by field in wire order; checksums are computed over what was written.
 */
#include "dataplane/net/build.h"

#include "dataplane/net/checksum.h"

enum {
    PROTOCOL_TCP = 6,
    PROTOCOL_ICMP6 = 58,
    TTL = 64,
    TTL_ND = 255,
    ARP_FRAME = 42,
    ND_MESSAGE = 32
};

static void write_ethernet(uint8_t *frame, const struct mac *to, const struct mac *from,
                           uint16_t type)
{
    memcpy(frame, to, 6);
    memcpy(frame + 6, from, 6);
    store16(frame + 12, type);
}

/* DF is set and the identification 0: an atomic datagram (RFC 6864 section 4). */
static void write_v4(uint8_t *ip, const struct addr *source, const struct addr *destination,
                     uint32_t payload)
{
    static const uint8_t fixed[IPV4_HEADER] = {0x45, 0, 0, 0, 0, 0, 0x40, 0, TTL, PROTOCOL_TCP};
    memcpy(ip, fixed, sizeof fixed);
    store16(ip + 2, (uint16_t)(IPV4_HEADER + payload));
    memcpy(ip + 12, &source->words[3], 4);
    memcpy(ip + 16, &destination->words[3], 4);
    uint16_t sum = (uint16_t)~checksum_fold(checksum_add(0, ip, IPV4_HEADER));
    memcpy(ip + 10, &sum, 2);
}

static void write_v6(uint8_t *ip, const struct addr *source, const struct addr *destination,
                     uint32_t payload, uint8_t next, uint8_t hops)
{
    store32(ip, 0x60000000);
    store16(ip + 4, (uint16_t)payload);
    ip[6] = next;
    ip[7] = hops;
    memcpy(ip + 8, source, 16);
    memcpy(ip + 24, destination, 16);
}

static void write_timestamps(uint8_t *at, const struct tcp_options *o)
{
    at[0] = OPTION_TIMESTAMPS;
    at[1] = 10;
    store32(at + 2, o->tsval);
    store32(at + 6, o->tsecr);
}

/* In the order that Linux uses, padded to 4 bytes: MSS, SACK-permitted, timestamps, NOP, window
 * scale. */
static uint32_t write_options(uint8_t *at, const struct tcp_options *o)
{
    uint8_t *start = at;
    if (o->mss) {
        at[0] = OPTION_MSS;
        at[1] = 4;
        store16(at + 2, o->mss);
        at += 4;
    }
    if (o->sack_ok) {
        *at++ = OPTION_SACK_OK;
        *at++ = 2;
    }
    if (o->timestamps) {
        if (!o->sack_ok) {
            *at++ = OPTION_NOP;
            *at++ = OPTION_NOP;
        }
        write_timestamps(at, o);
        at += 10;
    } else if (o->sack_ok) {
        *at++ = OPTION_NOP;
        *at++ = OPTION_NOP;
    }
    if (o->window_scale != 15) {
        *at++ = OPTION_NOP;
        *at++ = OPTION_SCALE;
        *at++ = 3;
        *at++ = o->window_scale;
    }
    return (uint32_t)(at - start);
}

uint16_t build_segment(uint8_t *frame, uint32_t room, const struct segment *s)
{
    bool v4 = addr_is_v4(&s->source);
    uint32_t l4 = ETHERNET_HEADER + (v4 ? IPV4_HEADER : IPV6_HEADER);
    if (room < l4 + TCP_HEADER + TCP_OPTIONS_MAX + s->length)
        return 0;
    uint8_t *tcp = frame + l4;
    uint32_t header = TCP_HEADER + write_options(tcp + TCP_HEADER, &s->options),
             total = header + s->length;
    write_ethernet(frame, &s->to, &s->from, v4 ? ETHERTYPE_IPV4 : ETHERTYPE_IPV6);
    if (v4)
        write_v4(frame + ETHERNET_HEADER, &s->source, &s->destination, total);
    else
        write_v6(frame + ETHERNET_HEADER, &s->source, &s->destination, total, PROTOCOL_TCP, TTL);
    store16(tcp, s->source_port);
    store16(tcp + 2, s->destination_port);
    store32(tcp + 4, s->seq);
    store32(tcp + 8, s->ack);
    tcp[12] = (uint8_t)(header / 4 << 4);
    tcp[13] = s->flags;
    store16(tcp + 14, s->window);
    memset(tcp + 16, 0, 4); /* checksum, urgent pointer */
    if (s->length)
        memcpy(tcp + header, s->payload, s->length);
    uint64_t sum = checksum_pseudo(&s->source, &s->destination, PROTOCOL_TCP, total);
    uint16_t checksum = (uint16_t)~checksum_fold(checksum_add(sum, tcp, total));
    memcpy(tcp + 16, &checksum, 2);
    return (uint16_t)(l4 + total);
}

uint16_t build_arp(uint8_t *frame, uint32_t room, int operation, const struct mac *from,
                   const struct addr *sender, const struct mac *to, const struct addr *target)
{
    static const struct mac nobody = {{0}};
    if (room < ARP_FRAME)
        return 0;
    write_ethernet(frame, to, from, ETHERTYPE_ARP);
    uint8_t *arp = frame + ETHERNET_HEADER;
    store16(arp, 1); /* Ethernet */
    store16(arp + 2, ETHERTYPE_IPV4);
    arp[4] = 6;
    arp[5] = 4;
    store16(arp + 6, (uint16_t)operation);
    memcpy(arp + 8, from, 6);
    memcpy(arp + 14, &sender->words[3], 4);
    memcpy(arp + 18, operation == 1 ? &nobody : to, 6);
    memcpy(arp + 24, &target->words[3], 4);
    return ARP_FRAME;
}

/* An ND message with one link-layer address option: 24 bytes and 8. */
static uint16_t write_nd(uint8_t *frame, uint32_t room, const struct mac *from,
                         const struct mac *to, const struct addr *source,
                         const struct addr *destination, uint8_t type, uint32_t flags,
                         const struct addr *target, uint8_t option)
{
    if (room < ETHERNET_HEADER + IPV6_HEADER + ND_MESSAGE)
        return 0;
    uint8_t *icmp = frame + ETHERNET_HEADER + IPV6_HEADER;
    write_ethernet(frame, to, from, ETHERTYPE_IPV6);
    write_v6(frame + ETHERNET_HEADER, source, destination, ND_MESSAGE, PROTOCOL_ICMP6, TTL_ND);
    store32(icmp, (uint32_t)type << 24);
    store32(icmp + 4, flags);
    memcpy(icmp + 8, target, 16);
    icmp[24] = option;
    icmp[25] = 1; /* in units of 8 bytes */
    memcpy(icmp + 26, from, 6);
    uint64_t sum = checksum_pseudo(source, destination, PROTOCOL_ICMP6, ND_MESSAGE);
    uint16_t checksum = (uint16_t)~checksum_fold(checksum_add(sum, icmp, ND_MESSAGE));
    memcpy(icmp + 2, &checksum, 2);
    return ETHERNET_HEADER + IPV6_HEADER + ND_MESSAGE;
}

uint16_t build_solicitation(uint8_t *frame, uint32_t room, const struct mac *from,
                            const struct addr *source, const struct addr *target)
{
    enum { TYPE = 135, SOURCE_LINK_ADDRESS = 1 };
    struct addr group = {.bytes = {0xff, 0x02, [11] = 1, 0xff}}; /* RFC 4291 section 2.7.1 */
    struct mac to = {{0x33, 0x33, 0xff, target->bytes[13], target->bytes[14], target->bytes[15]}};
    memcpy(group.bytes + 13, target->bytes + 13, 3);
    return write_nd(frame, room, from, &to, source, &group, TYPE, 0, target, SOURCE_LINK_ADDRESS);
}

uint16_t build_advertisement(uint8_t *frame, uint32_t room, const struct mac *from,
                             const struct addr *target, const struct mac *to,
                             const struct addr *destination, bool solicited)
{
    enum { TYPE = 136, TARGET_LINK_ADDRESS = 2 };
    const uint32_t SOLICITED = UINT32_C(1) << 30, OVERRIDE = UINT32_C(1) << 29;
    return write_nd(frame, room, from, to, target, destination, TYPE,
                    (solicited ? SOLICITED : 0) | OVERRIDE, target, TARGET_LINK_ADDRESS);
}
