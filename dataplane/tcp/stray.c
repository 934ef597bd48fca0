/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026, the Dropgate authors
 *
 * The same function serves both families: `v4` is a constant in each of its two callers. */
#include "dataplane/tcp/stray.h"

#include "dataplane/net/checksum.h"

#define INLINE static inline __attribute__((always_inline))

enum {
    PROTOCOL_TCP = 6,
    /* from the IP header on */
    AT_V4_FRAGMENT = 6,
    AT_V4_SOURCE = 12,
    AT_V6_PAYLOAD = 4,
    AT_V6_SOURCE = 8,
    /* from the TCP header on */
    AT_DESTINATION_PORT = 2,
    AT_OFFSET = 12,
    AT_FLAGS = 13,
};

/* Neither options nor extension headers nor a fragment; TCP. Whatever the traffic class, flow label
 * and hop limit. */
INLINE bool is_plain(const uint8_t *ip, bool v4)
{
    if (v4)
        return ip[0] == 0x45 &&
               (load32(ip + AT_V4_FRAGMENT) & 0xbfff00ff) == PROTOCOL_TCP; /* DF may be set */
    return ip[0] >> 4 == 6 && ip[AT_V6_PAYLOAD + 2] == PROTOCOL_TCP;
}

INLINE struct addr read_addr(const uint8_t *at, bool v4)
{
    uint32_t four;
    memcpy(&four, at, sizeof four);
    return v4 ? addr_from_v4(four) : addr_from_v6(at);
}

INLINE bool is_intact(const uint8_t *ip, uint32_t l4_length, unsigned checked, bool v4)
{
    const uint32_t header = v4 ? IPV4_HEADER : IPV6_HEADER;
    const uint32_t addresses = v4 ? AT_V4_SOURCE : AT_V6_SOURCE;
    if (v4 && !(checked & PACKET_IP_CHECKED) && !checksum_good(checksum_add(0, ip, IPV4_HEADER)))
        return false;
    if (checked & PACKET_TCP_CHECKED)
        return true;
    uint64_t sum = (uint64_t)htobe16(PROTOCOL_TCP) + htobe16((uint16_t)l4_length);
    sum = checksum_add(sum, ip + addresses, header - addresses);
    return checksum_good(checksum_add_tcp(sum, ip + header, l4_length));
}

/* Refusals are rare: what they cost does not matter. */
#define REFUSE_IF(condition)                    \
    do                                          \
        if (__builtin_expect(condition, false)) \
            return false;                       \
    while (0)

INLINE bool takes(const struct services *services, uint64_t to_us, const struct frame *frame,
                  struct addr *client, uint16_t *port, bool v4)
{
    const uint32_t header = v4 ? IPV4_HEADER : IPV6_HEADER, address_size = v4 ? 4 : 16;
    const uint8_t *ip = frame->bytes + ETHERNET_HEADER, *tcp = ip + header;
    REFUSE_IF(frame->length < ETHERNET_HEADER + header + TCP_HEADER || !is_plain(ip, v4));
    const uint32_t l4_length = v4 ? load16(ip + 2) - header : load16(ip + AT_V6_PAYLOAD);
    REFUSE_IF(l4_length < TCP_HEADER || l4_length != (uint32_t)(tcp[AT_OFFSET] >> 4) * 4);
    REFUSE_IF(ETHERNET_HEADER + header + l4_length > frame->length);
    REFUSE_IF((tcp[AT_FLAGS] & (TCP_FIN | TCP_SYN | TCP_RST | TCP_ACK)) != TCP_ACK);
    const struct addr source = read_addr(tcp - 2 * address_size, v4);
    const struct addr destination = read_addr(tcp - address_size, v4);
    REFUSE_IF(!frame_is_to(frame->bytes, to_us) || load16(tcp) == 0);
    REFUSE_IF((!v4 && addr_is_v4(&destination)) || policy_forged(services, &source, v4));
    REFUSE_IF(!is_intact(ip, l4_length, frame->checked, v4));
    REFUSE_IF(policy_service(services, &destination, load16(tcp + AT_DESTINATION_PORT)) < 0);
    *client = source;
    *port = load16(tcp);
    return true;
}

bool stray_takes_v4(const struct services *services, uint64_t to_us, const struct frame *frame,
                    struct addr *client, uint16_t *port)
{
    return takes(services, to_us, frame, client, port, true);
}

bool stray_takes_v6(const struct services *services, uint64_t to_us, const struct frame *frame,
                    struct addr *client, uint16_t *port)
{
    return takes(services, to_us, frame, client, port, false);
}
