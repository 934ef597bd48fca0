/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026, the Dropgate authors
 *
 * How frames pass between workers: a single-producer ring for each ordered pair takes received
 * frames to the client's owner, and where a port has fewer transmit queues than there are workers,
 * another takes what is to be sent to the queue's owner. Frames of one flow come by one ring and
 * leave by one ring, so they stay in order. A ring that is full loses frames, and never waits; of
 * one for received frames, the outside never takes the last part, so no flood of clients' frames
 * loses what backends say, which is what their health is judged by. */
#ifndef DROPGATE_DATAPLANE_NET_HANDOVER_H
#define DROPGATE_DATAPLANE_NET_HANDOVER_H

#include <rte_mbuf.h>
#include <rte_ring.h>
#include <stdint.h>

#include "dataplane/net/ports.h"
#include "dataplane/net/steer.h"

enum {
    HANDOVER_BURST = 64,
    HANDOVER_RING = 2048, /* what a port of 1 Mpps brings while a worker naps, twice */
    HANDOVER_INSIDE = HANDOVER_RING / 4 /* of these only the inside's frames may take */
};

/** One worker's end. All fields: written before start, then ro, but for the counts. A worker alone
 * has no rings: all zero but the queues. */
struct handover {
    uint32_t index, workers;
    uint64_t staged; /* worker: rw; bit n: `to[n]` is not empty */
    struct {
        struct rte_ring *ring;
        uint16_t count; /* worker: rw */
        struct rte_mbuf *mbufs[HANDOVER_BURST];
    } to[STEER_WORKERS];                  /* received, on their way to their owners */
    struct rte_ring *from[STEER_WORKERS]; /* received by others, ours to decide about */
    struct {
        uint16_t rx_first;     /* receives from this queue, and each `workers`-th behind it */
        uint16_t queue;        /* what it sends leaves by this transmit queue */
        struct rte_ring *ring; /* to that queue's owner; NULL: it is our own */
        uint32_t from_count;
        struct rte_ring *from[STEER_WORKERS]; /* from those whose packets leave by our queue */
    } port[PORT_SIDES];
    uint64_t given, taken; /* worker: rw, others ro; received frames that changed hands */
};

/** Which worker has queue number `queue` of a side's port: the sides begin with different workers,
 * so that two workers share the work of two ports with one queue each. */
static inline uint32_t handover_queue_owner(uint32_t queue, enum port_side side, uint32_t workers)
{
    return (queue + (uint32_t)side) % workers;
}

/** Connects `count` ends over these ports. Returns 0 or -ENOMEM; then handover_disconnect is to be
 * called all the same. Main thread, before the workers start. */
int handover_connect(struct handover *const ends[], uint32_t count,
                     const struct port ports[PORT_SIDES]);

/** Frees the rings, with the frames that are still in them; after the workers have ended. */
void handover_disconnect(struct handover *const ends[], uint32_t count);

/** Stages a frame received on that side for its owner, another worker. Between two
 * handover_deliver at most HANDOVER_BURST. The worker, as the following. */
static inline void handover_stage(struct handover *end, uint32_t owner, enum port_side side,
                                  struct rte_mbuf *mbuf)
{
    mbuf->port = (uint16_t)side; /* until it is sent, this is all that the field means */
    end->to[owner].mbufs[end->to[owner].count++] = mbuf;
    end->staged |= UINT64_C(1) << owner;
}

/** Enqueues what is staged, all of it received on that side; returns how many frames were lost to
 * full rings, and freed. */
uint32_t handover_deliver(struct handover *end, enum port_side side);

/** Takes up to HANDOVER_BURST frames that worker `from` has handed to us; returns how many. */
uint16_t handover_take(struct handover *end, uint32_t from, struct rte_mbuf **mbufs);

/** Passes packets to the owner of the queue that they leave by, which is another worker; returns
 * how many were lost, and freed. */
uint32_t handover_send(struct handover *end, enum port_side side, struct rte_mbuf **mbufs,
                       uint16_t count);

#endif
