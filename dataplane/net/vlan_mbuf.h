/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026, the Dropgate authors
 *
 * A side's tags on DPDK's buffers: off when a frame is received, on when it is sent, whoever made
 * it. Costs an untagged side one comparison per frame. Never frees a buffer. The worker's thread.
 */
#ifndef DROPGATE_DATAPLANE_NET_VLAN_MBUF_H
#define DROPGATE_DATAPLANE_NET_VLAN_MBUF_H

#include <rte_mbuf.h>

#include "dataplane/net/vlan.h"

/** As vlan_take. Some drivers (AF_PACKET) take the outermost tag off by themselves and say so
 * beside the frame. */
static inline enum verdict vlan_take_mbuf(const struct vlan *vlan, struct rte_mbuf *mbuf)
{
    uint8_t *frame = rte_pktmbuf_mtod(mbuf, uint8_t *);
    bool beside = (mbuf->ol_flags & RTE_MBUF_F_RX_VLAN_STRIPPED) != 0;
    uint32_t taken;
    if (vlan->count == 0 && !beside && !vlan_tagged(frame, mbuf->data_len))
        return VERDICT_FORWARDED;
    enum verdict verdict =
        vlan_take(vlan, frame, mbuf->data_len, beside ? mbuf->vlan_tci : VLAN_NONE_BESIDE, &taken);
    if (verdict == VERDICT_FORWARDED && taken != 0)
        rte_pktmbuf_adj(mbuf, (uint16_t)taken);
    return verdict;
}

/** As vlan_put; false when the buffer has no room in front, which no buffer of ours lacks. */
static inline bool vlan_put_mbuf(const struct vlan *vlan, struct rte_mbuf *mbuf)
{
    if (vlan->count == 0)
        return true;
    void *front = rte_pktmbuf_prepend(mbuf, (uint16_t)(vlan->count * VLAN_TAG));
    if (front == NULL)
        return false;
    vlan_put(vlan, front);
    return true;
}

#endif
