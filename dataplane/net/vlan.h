/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026, the Dropgate authors
 *
 * VLAN tags (IEEE 802.1Q, 802.1ad). A side of the gateway is untagged, or all of it is in one VLAN:
 * its tags are taken off before a frame is steered or parsed and put on when one leaves, so nothing
 * between knows of them. Pure: bytes in, a verdict out. Any thread.
 *
 * Frames leave with priority 0 (PCP and DEI), whatever came in with: priorities are between a host
 * and its network, the two sides are two networks, and a stranger must not choose how his answer is
 * queued. */
#ifndef DROPGATE_DATAPLANE_NET_VLAN_H
#define DROPGATE_DATAPLANE_NET_VLAN_H

#include <stdbool.h>
#include <stdint.h>

#include "dataplane/net/packet.h"
#include "dataplane/net/verdict.h"

enum { VLAN_TAGS = 2, VLAN_TAG = 4, VLAN_ID_MASK = 0xfff, VLAN_NONE_BESIDE = -1 };

/** The tags of one side, outermost first: one (0x8100), two (a service and a customer tag), or none
 * (`count` 0: untagged). */
struct vlan {
    uint16_t id[VLAN_TAGS]; /* 1..4094 */
    uint8_t count;
};

/** Reads "" or NULL (untagged), "7" or "100.7" (outer, inner). Returns 0 or -EINVAL. */
int vlan_parse(const char *text, struct vlan *out);

/** Whether the frame begins with a tag, of whatever kind. */
static inline bool vlan_tagged(const uint8_t *frame, uint32_t length)
{
    if (length < ETHERNET_HEADER)
        return false;
    uint16_t type = load16(frame + 12);
    return type == ETHERTYPE_VLAN || type == ETHERTYPE_QINQ;
}

/** Whether the frame carries exactly the tags of this side: VERDICT_FORWARDED, and *taken bytes
 * (0, 4 or 8) are to be cut from its front, whose addresses have been moved behind them. Else the
 * reason to drop it: TRUNCATED, VLAN, VLAN_MISSING, VLAN_OTHER or VLAN_DEPTH; then nothing was
 * written. `beside` is the TCI of the outermost tag where the port has taken it off already, or
 * VLAN_NONE_BESIDE. A lone tag with VID 0 says a priority and no VLAN: it counts as none. The outer
 * of two may be 0x88a8 or, from older switches, 0x8100; any other must be 0x8100. */
enum verdict vlan_take(const struct vlan *vlan, uint8_t *frame, uint32_t length, int beside,
                       uint32_t *taken);

/** Puts the tags on: `front` lies vlan->count * VLAN_TAG bytes before the frame, and is its first
 * byte afterwards. The outer of two is sent as 0x88a8. */
void vlan_put(const struct vlan *vlan, uint8_t *front);

#endif
