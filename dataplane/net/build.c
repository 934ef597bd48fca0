/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026, the Dropgate authors
 *
 * Headers are written word by word in wire order, and summed on the way: bytes that were just
 * stored are not loaded again in another width, for which a processor waits.
 */
#include "dataplane/net/build.h"

#include <endian.h>

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

/* Where the next 32-bit word goes, and the sum of those that were written. */
struct writer {
    uint8_t *at;
    uint64_t sum;
};

static inline void put(struct writer *w, uint32_t value)
{
    value = htobe32(value);
    memcpy(w->at, &value, 4);
    w->at += 4;
    w->sum += value;
}

/* DF is set and the identification 0: an atomic datagram (RFC 6864 section 4). */
static void write_v4(uint8_t *ip, const struct addr *source, const struct addr *destination,
                     uint32_t payload)
{
    struct writer w = {ip, (uint64_t)addr_v4(source) + addr_v4(destination)};
    put(&w, UINT32_C(0x45000000) | (IPV4_HEADER + payload));
    put(&w, UINT32_C(0x4000));
    put(&w, TTL << 24 | PROTOCOL_TCP << 16);
    uint16_t sum = (uint16_t)~checksum_fold(w.sum);
    memcpy(ip + 10, &sum, 2);
    memcpy(ip + 12, &source->words[3], 4);
    memcpy(ip + 16, &destination->words[3], 4);
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

/* In the order that Linux uses, padded to 4 bytes: MSS, SACK-permitted, timestamps, NOP, window
 * scale. */
static inline __attribute__((always_inline)) void put_options(struct writer *w,
                                                              const struct tcp_options *o)
{
    enum {
        NOPS = OPTION_NOP << 8 | OPTION_NOP,
        MAY_SACK = OPTION_SACK_OK << 8 | 2,
        TIMESTAMPS = OPTION_TIMESTAMPS << 8 | 10
    };
    if (o->mss)
        put(w, OPTION_MSS << 24 | 4 << 16 | o->mss);
    if (o->timestamps) {
        put(w, (o->sack_ok ? MAY_SACK : NOPS) << 16 | TIMESTAMPS);
        put(w, o->tsval);
        put(w, o->tsecr);
    } else if (o->sack_ok) {
        put(w, MAY_SACK << 16 | NOPS);
    }
    if (o->window_scale != 15)
        put(w, OPTION_NOP << 24 | OPTION_SCALE << 16 | 3 << 8 | o->window_scale);
}

static inline uint32_t options_length(const struct tcp_options *o)
{
    return (o->mss ? 4U : 0U) +
           (o->timestamps ? 12U
            : o->sack_ok  ? 4U
                          : 0U) +
           (o->window_scale != 15 ? 4U : 0U);
}

/* The fixed header but for its checksum; the writer stands behind it then, and has summed it. */
static inline void put_tcp(struct writer *w, uint32_t ports, uint32_t seq, uint32_t ack,
                           uint32_t header, uint8_t flags, uint16_t window)
{
    put(w, ports);
    put(w, seq);
    put(w, ack);
    put(w, header / 4 << 28 | (uint32_t)flags << 16 | window);
    put(w, 0); /* checksum, urgent pointer */
}

static inline void finish_tcp(uint8_t *tcp, const struct writer *w, uint64_t pseudo)
{
    uint16_t sum = (uint16_t)~checksum_fold(checksum_plus(pseudo, w->sum));
    memcpy(tcp + 16, &sum, 2);
}

uint16_t build_segment(uint8_t *frame, uint32_t room, const struct segment *s)
{
    bool v4 = addr_is_v4(&s->source);
    uint32_t l4 = ETHERNET_HEADER + (v4 ? IPV4_HEADER : IPV6_HEADER);
    if (room < l4 + TCP_HEADER + TCP_OPTIONS_MAX + s->length)
        return 0;
    uint32_t header = TCP_HEADER + options_length(&s->options), total = header + s->length;
    write_ethernet(frame, &s->to, &s->from, v4 ? ETHERTYPE_IPV4 : ETHERTYPE_IPV6);
    if (v4)
        write_v4(frame + ETHERNET_HEADER, &s->source, &s->destination, total);
    else
        write_v6(frame + ETHERNET_HEADER, &s->source, &s->destination, total, PROTOCOL_TCP, TTL);
    struct writer w = {frame + l4, 0};
    put_tcp(&w, (uint32_t)s->source_port << 16 | s->destination_port, s->seq, s->ack, header,
            s->flags, s->window);
    put_options(&w, &s->options);
    if (s->length) {
        memcpy(w.at, s->payload, s->length);
        w.sum = checksum_add(w.sum, s->payload, s->length);
    }
    finish_tcp(frame + l4, &w, checksum_pseudo(&s->source, &s->destination, PROTOCOL_TCP, total));
    return (uint16_t)(l4 + total);
}

static inline void turn_ethernet(uint8_t *frame)
{
    struct mac to, from;
    memcpy(&to, frame + 6, 6);
    memcpy(&from, frame, 6);
    memcpy(frame, &to, 6);
    memcpy(frame + 6, &from, 6);
}

uint16_t build_syn_ack(uint8_t *frame, uint32_t room, const struct packet *packet,
                       const struct syn_ack *answer)
{
    uint32_t l4 = ETHERNET_HEADER + (packet->v4 ? IPV4_HEADER : IPV6_HEADER);
    if (room < l4 + TCP_HEADER + TCP_OPTIONS_MAX)
        return 0;
    uint32_t header = TCP_HEADER + options_length(&answer->options);
    turn_ethernet(frame);
    if (packet->v4)
        write_v4(frame + ETHERNET_HEADER, &packet->destination, &packet->source, header);
    else
        write_v6(frame + ETHERNET_HEADER, &packet->destination, &packet->source, header,
                 PROTOCOL_TCP, TTL);
    store16(frame + 12, packet->v4 ? ETHERTYPE_IPV4 : ETHERTYPE_IPV6);
    struct writer w = {frame + l4, 0};
    put_tcp(&w, (uint32_t)packet->destination_port << 16 | packet->source_port, answer->seq,
            packet->seq + 1, header, TCP_SYN | TCP_ACK, answer->window);
    put_options(&w, &answer->options);
    finish_tcp(frame + l4, &w,
               checksum_pseudo(&packet->destination, &packet->source, PROTOCOL_TCP, header));
    return (uint16_t)(l4 + header);
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
