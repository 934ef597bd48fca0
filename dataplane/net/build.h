/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026, the Dropgate authors
 *
 * Writes the packets that the gateway itself sends: SYN-ACK, RST, ACK, FIN|ACK, the backend's SYN,
 * held requests, ARP and neighbour discovery. Each is built whole from a description and never
 * reflects a byte that a peer chose. Pure: writes into the caller's bytes. Any thread. */
#ifndef DROPGATE_DATAPLANE_NET_BUILD_H
#define DROPGATE_DATAPLANE_NET_BUILD_H

#include <stdbool.h>
#include <stdint.h>

#include "common/addr.h"
#include "dataplane/net/packet.h"

struct mac {
    uint8_t bytes[6];
};

/** A TCP segment to write; numbers in host byte order. Option fields as in struct tcp_options: only
 * MSS, SACK-permitted, timestamps and window scale can be written (an allowlist, tcp-pitfalls 1).
 */
struct segment {
    struct mac from, to;
    struct addr source, destination;
    uint16_t source_port, destination_port;
    uint32_t seq, ack;
    uint16_t window; /* as it goes on the wire */
    uint8_t flags;
    struct tcp_options options;
    const void *payload; /* may be NULL */
    uint16_t length;     /* of the payload */
};

/** The options a segment without any has. */
#define NO_OPTIONS ((struct tcp_options){.window_scale = 15})

/** Bytes that any segment without payload needs at most. */
enum { SEGMENT_HEADERS = ETHERNET_HEADER + IPV6_HEADER + TCP_HEADER + TCP_OPTIONS_MAX };

/** Writes the frame with correct checksums, DF and TTL 64. `frame` has `room` bytes and may be the
 * packet that is being answered, if the payload lies elsewhere. Returns its length, or 0 if it does
 * not fit. */
uint16_t build_segment(uint8_t *frame, uint32_t room, const struct segment *segment);

/** What the answer to a SYN says; the rest of it is the SYN's, turned round. */
struct syn_ack {
    uint32_t seq; /* the cookie */
    uint16_t window;
    struct tcp_options options; /* as in struct segment */
};

/** Writes the SYN-ACK over the SYN that it answers, which `packet` was parsed from: build_segment
 * for the one segment that is built for every packet of a flood. Returns its length, or 0 if it
 * does not fit. */
uint16_t build_syn_ack(uint8_t *frame, uint32_t room, const struct packet *packet,
                       const struct syn_ack *answer);

/** Writes an ARP message (RFC 826): `operation` 1 asks, 2 answers. Returns 42, or 0 if it does not
 * fit. */
uint16_t build_arp(uint8_t *frame, uint32_t room, int operation, const struct mac *from,
                   const struct addr *sender, const struct mac *to, const struct addr *target);

/** Writes a neighbour solicitation for `target` to its solicited-node group (RFC 4861 section 4.3).
 * Returns its length, or 0 if it does not fit. */
uint16_t build_solicitation(uint8_t *frame, uint32_t room, const struct mac *from,
                            const struct addr *source, const struct addr *target);

/** Writes the advertisement (RFC 4861 section 4.4) of own address `target`, solicited unless `to`
 * is all-nodes. */
uint16_t build_advertisement(uint8_t *frame, uint32_t room, const struct mac *from,
                             const struct addr *target, const struct mac *to,
                             const struct addr *destination, bool solicited);

#endif
