/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026, the Dropgate authors
 *
 * A TCP packet costs its two lengths, its addresses and a slot; only ICMP is looked into. */
#include "dataplane/net/steer.h"

enum {
    PROTOCOL_ICMP = 1,
    PROTOCOL_TCP = 6,
    TCP_FLAGS = 13, /* offset into its header */
    PROTOCOL_ICMP6 = 58,
    ICMP_HEADER = 8,
    ICMP_UNREACHABLE = 3, /* RFC 792; "fragmentation needed" is one of it */
    ICMP6_ERROR_LAST = 4, /* RFC 4443: unreachable, too big, time exceeded, parameter problem */
    ICMP6_ND_FIRST = 133, /* RFC 4861: router solicitation to redirect */
    ICMP6_ND_LAST = 137,
    EXTENSIONS_MOST =
        8 /* headers walked on the way to ICMPv6; what has more is no ICMPv6 of anybody we know */
};

/* A bit of the input adds the 32 bits of the key that begin at its place. */
static uint32_t key_window(const uint8_t *key, uint32_t bit)
{
    uint64_t bytes = 0;
    for (uint32_t i = 0; i < 5; i++)
        bytes = bytes << 8 | key[bit / 8 + i];
    return (uint32_t)(bytes >> (8 - bit % 8));
}

void steer_init(struct steer *steer, const uint8_t key[STEER_KEY], uint32_t workers,
                const struct addr *own, uint32_t own_count)
{
    *steer = (struct steer){.own = own, .own_count = own_count};
    for (uint32_t byte = 0; byte < STEER_BYTES; byte++)
        for (uint32_t value = 0; value < 256; value++)
            for (uint32_t bit = 0; bit < 8; bit++)
                if (value & (0x80U >> bit))
                    steer->part[byte][value] ^= key_window(key, byte * 8 + bit);
    for (uint32_t i = 0; i < STEER_SLOTS; i++)
        steer->slot[i].owner = (uint8_t)(i % workers);
    for (uint32_t i = 0; i < own_count; i++) {
        const uint8_t *at = own[i].bytes;
        uint32_t hash = addr_is_v4(&own[i]) ? steer_hash4(steer, at + 12) : steer_hash6(steer, at);
        steer->slot[hash % STEER_SLOTS].own = true;
    }
}

static bool is_own(const struct steer *steer, const struct addr *addr)
{
    for (uint32_t i = 0; i < steer->own_count; i++)
        if (addr_equal(&steer->own[i], addr))
            return true;
    return false;
}

/* The owner of an address as it stands in a packet. */
static uint32_t owner(const struct steer *steer, enum port_side side, const uint8_t *at, bool v4)
{
    uint32_t hash = v4 ? steer_hash4(steer, at) : steer_hash6(steer, at);
    uint32_t slot = hash % STEER_SLOTS;
    if (side == INSIDE && steer->slot[slot].own) {
        uint32_t be;
        memcpy(&be, at, sizeof be);
        struct addr addr = v4 ? addr_from_v4(be) : addr_from_v6(at);
        if (is_own(steer, &addr))
            return 0;
    }
    return steer->slot[slot].owner;
}

uint32_t steer_client(const struct steer *steer, enum port_side side, const struct addr *client)
{
    bool v4 = addr_is_v4(client);
    return owner(steer, side, client->bytes + (v4 ? 12 : 0), v4);
}

/* The client of a packet is at the far end of the outside: it sent what comes from there, and gets
 * what comes from inside. An error quotes a packet that went the other way. */
static const uint8_t *client_of(const uint8_t *ip, bool v4, bool is_source)
{
    uint32_t source = v4 ? 12 : 8, size = v4 ? 4 : 16;
    return ip + source + (is_source ? 0 : size);
}

static uint32_t owner_of_quoted(const struct steer *steer, enum port_side side, const uint8_t *icmp,
                                const uint8_t *end, bool v4)
{
    const uint8_t *ip = icmp + ICMP_HEADER;
    if (end - icmp < ICMP_HEADER + (v4 ? IPV4_HEADER : IPV6_HEADER) || ip[0] >> 4 != (v4 ? 4 : 6))
        return STEER_NOBODY;
    return owner(steer, side, client_of(ip, v4, side == INSIDE), v4);
}

static uint32_t steer_v4(const struct steer *steer, enum port_side side, const uint8_t *ip,
                         const uint8_t *end)
{
    if (end - ip < IPV4_HEADER)
        return STEER_NOBODY;
    if (ip[9] == PROTOCOL_ICMP) {
        const uint8_t *icmp = ip + (ip[0] & 15) * 4;
        if (end - icmp < ICMP_HEADER)
            return STEER_NOBODY;
        if (icmp[0] == ICMP_UNREACHABLE)
            return owner_of_quoted(steer, side, icmp, end, true);
    }
    return owner(steer, side, client_of(ip, true, side == OUTSIDE), true);
}

/* Where ICMPv6 begins, or NULL if the packet is something else (RFC 8200 section 4: hop-by-hop and
 * destination options and routing headers may stand before it). */
static const uint8_t *find_icmp6(const uint8_t *ip, const uint8_t *end)
{
    const uint8_t *at = ip + IPV6_HEADER;
    uint8_t next = ip[6];
    for (int i = 0; i < EXTENSIONS_MOST && (next == 0 || next == 43 || next == 60); i++) {
        if (end - at < 8 || end - at < (at[1] + 1) * 8)
            return NULL;
        next = at[0];
        at += (at[1] + 1) * 8;
    }
    return next == PROTOCOL_ICMP6 && end - at >= ICMP_HEADER ? at : NULL;
}

static uint32_t steer_v6(const struct steer *steer, enum port_side side, const uint8_t *ip,
                         const uint8_t *end)
{
    if (end - ip < IPV6_HEADER)
        return STEER_NOBODY;
    const uint8_t *icmp = find_icmp6(ip, end);
    if (icmp != NULL) {
        if (icmp[0] >= 1 && icmp[0] <= ICMP6_ERROR_LAST)
            return owner_of_quoted(steer, side, icmp, end, false);
        if (icmp[0] >= ICMP6_ND_FIRST && icmp[0] <= ICMP6_ND_LAST)
            return 0;
    }
    return owner(steer, side, client_of(ip, false, side == OUTSIDE), false);
}

uint32_t steer_frame(const struct steer *steer, enum port_side side, const uint8_t *frame,
                     uint32_t length)
{
    if (length < ETHERNET_HEADER)
        return STEER_NOBODY;
    switch (load16(frame + 12)) {
    case ETHERTYPE_IPV4: return steer_v4(steer, side, frame + ETHERNET_HEADER, frame + length);
    case ETHERTYPE_IPV6: return steer_v6(steer, side, frame + ETHERNET_HEADER, frame + length);
    case ETHERTYPE_ARP: return 0;
    default: return STEER_NOBODY;
    }
}

const uint8_t *steer_syn_source(const uint8_t *frame, uint32_t length, bool *v4)
{
    const uint8_t *ip = frame + ETHERNET_HEADER, *end = frame + length;
    if (length < ETHERNET_HEADER + IPV4_HEADER + TCP_HEADER)
        return NULL;
    *v4 = load16(frame + 12) == ETHERTYPE_IPV4;
    if (!*v4 && load16(frame + 12) != ETHERTYPE_IPV6)
        return NULL;
    const uint32_t header = *v4 ? (uint32_t)(ip[0] & 15) * 4 : IPV6_HEADER;
    const uint8_t *tcp = ip + header;
    if (ip[*v4 ? 9 : 6] != PROTOCOL_TCP || end - tcp < TCP_HEADER)
        return NULL;
    return (tcp[TCP_FLAGS] & (TCP_SYN | TCP_ACK)) == TCP_SYN ? ip + (*v4 ? 12 : 8) : NULL;
}
