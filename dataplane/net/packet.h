/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026, the Dropgate authors
 *
 * The bounded packet parser and the one TCP option iterator. A frame is read once, into a struct
 * packet; nothing behind `end` is ever looked at, and whatever is odd has a verdict of its own.
 * Pure: bytes in, a verdict out; no mbuf, no global. Any thread. */
#ifndef DROPGATE_DATAPLANE_NET_PACKET_H
#define DROPGATE_DATAPLANE_NET_PACKET_H

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include "common/addr.h"
#include "dataplane/net/verdict.h"

/** TCP flags, as in the header's 14th byte (RFC 9293 section 3.1). */
enum {
    TCP_FIN = 0x01,
    TCP_SYN = 0x02,
    TCP_RST = 0x04,
    TCP_PSH = 0x08,
    TCP_ACK = 0x10,
    TCP_URG = 0x20
};

enum {
    ETHERNET_HEADER = 14,
    IPV4_HEADER = 20,
    IPV6_HEADER = 40,
    TCP_HEADER = 20,
    TCP_OPTIONS_MAX = 40
};

enum ethertype {
    ETHERTYPE_IPV4 = 0x0800,
    ETHERTYPE_ARP = 0x0806,
    ETHERTYPE_VLAN = 0x8100,
    ETHERTYPE_IPV6 = 0x86dd,
    ETHERTYPE_QINQ = 0x88a8
};

/** What a frame is, once the parser has accepted it. */
enum packet_kind { PACKET_TCP, PACKET_ARP, PACKET_ICMP4, PACKET_ICMP6 };

/** Checksums that the port has verified already (each its own capability bit). */
enum { PACKET_IP_CHECKED = 1, PACKET_TCP_CHECKED = 2 };

/** One frame's facts, numbers in host byte order; offsets count from the frame's first byte. */
struct packet {
    struct addr source, destination;
    uint32_t seq, ack;
    uint16_t source_port, destination_port;
    uint16_t window;  /* as sent, not scaled */
    uint16_t l3, l4;  /* offsets of the IP (or ARP) and of the TCP (or ICMP) header */
    uint16_t payload; /* offset of the TCP payload */
    uint16_t length;  /* of the TCP payload */
    uint16_t end;     /* offset behind the IP packet: Ethernet padding is not part of it */
    uint8_t flags;    /* TCP */
    uint8_t kind;     /* enum packet_kind */
    bool v4;
};

/** Parses the frame of `length` bytes. Returns VERDICT_FORWARDED when it is well formed and may go
 * on, else the reason to drop it. `checked` names checksums that need not be computed again. A
 * v4-mapped address in an IPv6 header is a bogon here already, as source or destination: nothing
 * behind the parser could tell it from the IPv4 address. IPV6_EXTENSION: something else than TCP or
 * ICMPv6 follows the IPv6 header; extension_remove says what becomes of it. */
enum verdict packet_parse(const uint8_t *frame, uint32_t length, unsigned checked,
                          struct packet *out);

/** Whether `a` can never be the source of a packet from outside: 0/8, 127/8, 224/3, ::, ::1,
 * ff00::/8 and v4-mapped IPv6 (own addresses are the caller's business). `v4` says which protocol
 * carried it. */
bool packet_bogon(const struct addr *a, bool v4);

static inline uint16_t load16(const uint8_t *p)
{
    return (uint16_t)(p[0] << 8 | p[1]);
}

static inline uint32_t load32(const uint8_t *p)
{
    uint32_t v;
    memcpy(&v, p, 4);
    return __builtin_bswap32(v);
}

static inline void store16(uint8_t *p, uint16_t v)
{
    p[0] = (uint8_t)(v >> 8);
    p[1] = (uint8_t)v;
}

static inline void store32(uint8_t *p, uint32_t v)
{
    v = __builtin_bswap32(v);
    memcpy(p, &v, 4);
}

/** TCP option kinds (RFC 9293, 7323, 2018). */
enum {
    OPTION_END = 0,
    OPTION_NOP = 1,
    OPTION_MSS = 2,
    OPTION_SCALE = 3,
    OPTION_SACK_OK = 4,
    OPTION_SACK = 5,
    OPTION_TIMESTAMPS = 8
};

/** The one iterator over TCP options. Start with {first byte, byte behind the last}. */
struct tcp_option_iterator {
    uint8_t *at, *end;
    bool bad; /* set when an option runs past the header or is shorter than 2 */
};

/** One option: `data` are `length` bytes behind kind and length. */
struct tcp_option {
    uint8_t kind, length;
    uint8_t *data;
    uint8_t *start; /* its kind byte; it occupies length + 2 bytes from here */
};

/** The next option that is neither padding nor end; false at the end or when `bad`. */
static inline bool tcp_option_next(struct tcp_option_iterator *it, struct tcp_option *out)
{
    while (it->at < it->end) {
        uint8_t kind = *it->at;
        if (kind == OPTION_END)
            return false;
        if (kind == OPTION_NOP) {
            it->at++;
            continue;
        }
        if (it->end - it->at < 2 || it->at[1] < 2 || it->at[1] > it->end - it->at) {
            it->bad = true;
            return false;
        }
        *out = (struct tcp_option){kind, (uint8_t)(it->at[1] - 2), it->at + 2, it->at};
        it->at += it->at[1];
        return true;
    }
    return false;
}

/** What a segment's options say; absent ones have the value in brackets. */
struct tcp_options {
    uint16_t mss;          /* [0] */
    uint8_t window_scale;  /* [15]; RFC 7323: more than 14 counts as 14 */
    bool sack_ok;          /* [false] */
    bool timestamps;       /* [false] */
    uint32_t tsval, tsecr; /* [0] */
};

/** Reads the options of a TCP packet. Returns false when they are malformed: past the header, or a
 * known one of the wrong length. Unknown ones are skipped. MSS, scale and SACK-permitted only count
 * with SYN. */
bool packet_options(const uint8_t *frame, const struct packet *packet, struct tcp_options *out);

#endif
