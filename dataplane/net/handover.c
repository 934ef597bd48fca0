/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026, the Dropgate authors
 *
 * The rings lie in ordinary memory: DPDK's named zones are too few for the pairs of many workers.
 */
#include "dataplane/net/handover.h"

#include <errno.h>
#include <rte_common.h>
#include <stdlib.h>

static struct rte_ring *ring_new(void)
{
    ssize_t size = rte_ring_get_memsize(HANDOVER_RING);
    struct rte_ring *ring = NULL;
    if (size > 0)
        ring = aligned_alloc(RTE_CACHE_LINE_SIZE,
                             RTE_ALIGN_CEIL((size_t)size, (size_t)RTE_CACHE_LINE_SIZE));
    if (ring != NULL &&
        rte_ring_init(ring, "handover", HANDOVER_RING, RING_F_SP_ENQ | RING_F_SC_DEQ) != 0) {
        free(ring);
        return NULL;
    }
    return ring;
}

/* A worker's rank on a port is the queue that is its own, if there are so many. */
static uint32_t rank_of(uint32_t worker, enum port_side side, uint32_t workers)
{
    return (worker + workers - (uint32_t)side % workers) % workers;
}

static int connect_port(struct handover *const ends[], struct handover *end, enum port_side side,
                        const struct port *port)
{
    uint32_t rank = rank_of(end->index, side, end->workers);
    uint32_t queue = rank % port->tx_queues;
    uint32_t owner = handover_queue_owner(queue, side, end->workers);
    end->port[side].rx_first = (uint16_t)rank;
    end->port[side].queue = (uint16_t)queue;
    if (owner == end->index)
        return 0;
    struct rte_ring *ring = ring_new();
    if (ring == NULL)
        return -ENOMEM;
    end->port[side].ring = ring;
    struct handover *other = ends[owner];
    other->port[side].from[other->port[side].from_count++] = ring;
    return 0;
}

static int connect_pairs(struct handover *const ends[], struct handover *end)
{
    for (uint32_t i = 0; i < end->workers; i++) {
        if (i == end->index)
            continue;
        end->to[i].ring = ring_new();
        if (end->to[i].ring == NULL)
            return -ENOMEM;
        ends[i]->from[end->index] = end->to[i].ring;
    }
    return 0;
}

int handover_connect(struct handover *const ends[], uint32_t count,
                     const struct port ports[PORT_SIDES])
{
    for (uint32_t i = 0; i < count; i++)
        *ends[i] = (struct handover){.index = i, .workers = count};
    for (uint32_t i = 0; i < count; i++) {
        int error = connect_pairs(ends, ends[i]);
        for (int side = 0; side < PORT_SIDES && error == 0; side++)
            error = connect_port(ends, ends[i], (enum port_side)side, &ports[side]);
        if (error != 0)
            return error;
    }
    return 0;
}

static void ring_free(struct rte_ring *ring)
{
    struct rte_mbuf *mbuf;
    if (ring == NULL)
        return;
    while (rte_ring_sc_dequeue(ring, (void **)&mbuf) == 0)
        rte_pktmbuf_free(mbuf);
    free(ring);
}

void handover_disconnect(struct handover *const ends[], uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        for (uint32_t k = 0; k < STEER_WORKERS; k++)
            ring_free(ends[i]->to[k].ring);
        for (int side = 0; side < PORT_SIDES; side++)
            ring_free(ends[i]->port[side].ring);
        *ends[i] = (struct handover){0};
    }
}

/* What the ring does not take, or what is more than `room`, is freed. */
static uint32_t enqueue(struct rte_ring *ring, struct rte_mbuf **mbufs, uint32_t count,
                        uint32_t room)
{
    uint32_t done =
        rte_ring_sp_enqueue_burst(ring, (void *const *)mbufs, RTE_MIN(count, room), NULL);
    if (done < count)
        rte_pktmbuf_free_bulk(mbufs + done, count - done);
    return count - done;
}

/* How many received frames of that side a ring still takes. */
static uint32_t room_for(const struct rte_ring *ring, enum port_side side)
{
    const uint32_t room = rte_ring_free_count(ring), kept = side == OUTSIDE ? HANDOVER_INSIDE : 0;
    return room > kept ? room - kept : 0;
}

uint32_t handover_deliver(struct handover *end, enum port_side side)
{
    uint32_t lost = 0;
    while (end->staged != 0) {
        uint32_t owner = (uint32_t)__builtin_ctzll(end->staged);
        uint32_t count = end->to[owner].count;
        end->staged &= end->staged - 1;
        end->to[owner].count = 0;
        end->given += count;
        lost += enqueue(end->to[owner].ring, end->to[owner].mbufs, count,
                        room_for(end->to[owner].ring, side));
    }
    return lost;
}

uint16_t handover_take(struct handover *end, uint32_t from, struct rte_mbuf **mbufs)
{
    uint32_t count =
        rte_ring_sc_dequeue_burst(end->from[from], (void **)mbufs, HANDOVER_BURST, NULL);
    end->taken += count;
    return (uint16_t)count;
}

uint32_t handover_send(struct handover *end, enum port_side side, struct rte_mbuf **mbufs,
                       uint16_t count)
{
    return enqueue(end->port[side].ring, mbufs, count, HANDOVER_RING);
}
