/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026, the Dropgate authors
 *
 * One header after the other, each within the packet before it is read. */
#include "dataplane/net/extension.h"

#include "dataplane/net/packet.h"

enum {
    PROTOCOL_TCP = 6,
    PROTOCOL_ICMP6 = 58,
    UNIT = 8, /* lengths count units of 8 bytes, the first not included */
    IP = ETHERNET_HEADER,
    FIRST = ETHERNET_HEADER + IPV6_HEADER,
};

/* How far a walk has come. */
struct walk {
    const uint8_t *at, *end; /* the next header, and behind the packet */
    uint8_t next;            /* what it is */
    uint32_t count, destinations, routings;
};

/* Options of a hop-by-hop or destination header (RFC 8200 section 4.2), behind its first two bytes.
 */
static enum verdict read_options(const uint8_t *at, const uint8_t *end)
{
    enum { PAD1 = 0, PADN = 1 };
    while (at < end) {
        if (*at == PAD1) {
            at++;
            continue;
        }
        if (*at != PADN)
            return VERDICT_IPV6_OPTIONS;
        if (end - at < 2 || end - at < 2 + at[1])
            return VERDICT_IPV6_CHAIN;
        at += 2 + at[1];
    }
    return VERDICT_FORWARDED;
}

/* Whether the packet is a fragment in truth (RFC 8200 section 4.5). */
static enum verdict read_fragment(const uint8_t *at)
{
    enum { OFFSET_AND_MORE = 0xfff9 };
    return load16(at + 2) & OFFSET_AND_MORE ? VERDICT_FRAGMENT : VERDICT_IPV6_ATOMIC;
}

/* What a header says, all of whose `bytes` are there. */
static enum verdict read_header(struct walk *walk, uint32_t bytes)
{
    switch (walk->next) {
    case EXTENSION_HOP_BY_HOP:
        if (walk->count != 0) /* only directly behind the IPv6 header */
            return VERDICT_IPV6_CHAIN;
        return read_options(walk->at + 2, walk->at + bytes);
    case EXTENSION_DESTINATION:
        if (walk->destinations++ == 2)
            return VERDICT_IPV6_CHAIN;
        return read_options(walk->at + 2, walk->at + bytes);
    case EXTENSION_ROUTING:
        if (walk->at[3] != 0) /* segments left */
            return VERDICT_IPV6_ROUTING;
        return walk->routings++ == 0 ? VERDICT_FORWARDED : VERDICT_IPV6_CHAIN;
    default: return VERDICT_IPV6_EXTENSION;
    }
}

/* One header further. */
static enum verdict step(struct walk *walk)
{
    if (walk->next == EXTENSION_ESP)
        return VERDICT_IPV6_ESP;
    if (walk->next == EXTENSION_AH)
        return VERDICT_IPV6_AH;
    if (walk->end - walk->at < UNIT)
        return VERDICT_TRUNCATED;
    if (walk->next == EXTENSION_FRAGMENT)
        return read_fragment(walk->at);
    uint32_t bytes = (walk->at[1] + 1U) * UNIT;
    if (walk->end - walk->at < bytes)
        return VERDICT_TRUNCATED;
    enum verdict verdict = read_header(walk, bytes);
    walk->next = walk->at[0];
    walk->at += bytes;
    walk->count++;
    return verdict;
}

static bool is_extension(uint8_t next)
{
    switch (next) {
    case EXTENSION_HOP_BY_HOP:
    case EXTENSION_ROUTING:
    case EXTENSION_FRAGMENT:
    case EXTENSION_ESP:
    case EXTENSION_AH:
    case EXTENSION_DESTINATION:
    case EXTENSION_MOBILITY:
    case EXTENSION_HIP:
    case EXTENSION_SHIM6: return true;
    default: return false;
    }
}

enum verdict extension_remove(uint8_t *frame, uint32_t *length)
{
    if (*length < FIRST || FIRST + (uint32_t)load16(frame + IP + 4) > *length)
        return VERDICT_TRUNCATED;
    struct walk walk = {
        .at = frame + FIRST, .end = frame + FIRST + load16(frame + IP + 4), .next = frame[IP + 6]};
    while (is_extension(walk.next)) {
        enum verdict verdict = step(&walk);
        if (verdict != VERDICT_FORWARDED)
            return verdict;
        if (walk.at - (frame + FIRST) > EXTENSION_BYTES)
            return VERDICT_IPV6_CHAIN;
    }
    if (walk.next != PROTOCOL_TCP)
        return walk.next == PROTOCOL_ICMP6 ? VERDICT_IPV6_ICMP : VERDICT_UNSUPPORTED;
    uint32_t removed = (uint32_t)(walk.at - (frame + FIRST));
    frame[IP + 6] = PROTOCOL_TCP;
    store16(frame + IP + 4, (uint16_t)(load16(frame + IP + 4) - removed));
    *length -= removed;
    memmove(frame + FIRST, frame + FIRST + removed, *length - FIRST);
    return VERDICT_FORWARDED;
}
