/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026, the Dropgate authors
 *
 * TCP segments as the relay sees them: where the parts of a frame are, and one segment made into
 * two. Written apart from the gateway's own parser and checksums, so that neither hides the other's
 * mistakes. Pure. */
#ifndef DROPGATE_TESTS_LAB_RELAY_SEGMENT_H
#define DROPGATE_TESTS_LAB_RELAY_SEGMENT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    RELAY_FRAME_MAX = 1600, /* an Ethernet frame with a tag, and some more */
    RELAY_FIN = 0x01,
    RELAY_SYN = 0x02,
    RELAY_RST = 0x04,
    RELAY_PSH = 0x08,
    RELAY_URG = 0x20,
    RELAY_CWR = 0x80,
};

/** Offsets from the frame's first byte; numbers in host order. */
struct relay_segment {
    uint16_t ip, tcp, payload, end; /* `end`: behind the payload; Ethernet's padding is not in it */
    bool v4;
    uint8_t flags;
    uint32_t seq;
    uint64_t connection; /* hash of addresses and ports, in this direction */
};

/** Whether `frame` (Ethernet, perhaps with one 802.1Q tag) is a whole TCP segment over IPv4 without
 * fragments, or over IPv6 without extension headers; then fills `segment`. */
bool relay_segment_parse(const uint8_t *frame, size_t length, struct relay_segment *segment);

/** Bytes of payload. */
static inline uint16_t relay_segment_payload(const struct relay_segment *segment)
{
    return (uint16_t)(segment->end - segment->payload);
}

/** Makes two segments of one: `first` has the payload's first `at` bytes, `second` the others. Both
 * have room for RELAY_FRAME_MAX bytes; lengths, sequence numbers, checksums are right if those of
 * `frame` were. FIN and PSH go with the second, CWR with the first (as hardware segmentation does).
 * False, with nothing written, when either would be empty, or the segment is a SYN or urgent. */
bool relay_segment_split(const uint8_t *frame, const struct relay_segment *segment, uint16_t at,
                         uint8_t *first, size_t *first_length, uint8_t *second,
                         size_t *second_length);

#endif
