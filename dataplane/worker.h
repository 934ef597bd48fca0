/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026, the Dropgate authors
 *
 * A worker: one lcore, its shard, and the plumbing between the shard, DPDK and the other workers.
 */
#ifndef DROPGATE_DATAPLANE_WORKER_H
#define DROPGATE_DATAPLANE_WORKER_H

#include <rte_mbuf.h>
#include <rte_ring.h>
#include <stdbool.h>
#include <stdint.h>

#include "dataplane/net/handover.h"
#include "dataplane/net/ports.h"
#include "dataplane/net/steer.h"
#include "dataplane/tcp/shard.h"

enum { WORKER_BURST = 64, WORKER_RING = 1024 };

/** What the control thread asks of a worker. */
struct command {
    struct rte_mbuf *mbuf; /* to send; the worker owns it from here on */
    uint64_t side;         /* enum port_side (a ring element's size is a multiple of 4) */
};

struct worker {
    struct shard *shard;              /* worker: rw, others read counters */
    const struct policy_slot *policy; /* builder: rw, worker: ro */
    const struct port *ports;         /* main: rw before start, worker: ro */
    const struct steer *steer;        /* whose frames are whose; NULL: this worker is alone */
    struct rte_mempool *pool;
    struct rte_ring *messages; /* worker → control, struct message */
    struct rte_ring *commands; /* control → worker, struct command */
    bool poll;                 /* never sleep */
    const bool *stop;          /* main: rw, worker: ro */
    unsigned lcore;
    struct {
        struct rte_mbuf *mbufs[WORKER_BURST];
        uint16_t count;
    } tx[PORT_SIDES]; /* worker: rw */
    struct handover handover;
    uint64_t epoch_ms; /* worker: rw; unix time less the monotonic clock */
    uint64_t epoch_read_ms;
    uint64_t busy_loops, idle_loops, received[PORT_SIDES],
        sent[PORT_SIDES];               /* worker: rw, others ro */
    uint8_t apart[RTE_CACHE_LINE_SIZE]; /* from what the next one in an array reads */
};

/** Connects a worker's shard to its ports and rings; `output` is what shard_new is to be given. */
struct shard_output worker_output(struct worker *worker);

/** The loop: runs on the worker's lcore until *stop. For rte_eal_remote_launch. */
int worker_run(void *worker);

/** One round of it: whatever has come, is due, or was handed over, and all that leaves. Returns 0
 * when there was nothing to do. The worker's thread, and for tests. */
uint32_t worker_round(struct worker *worker);

/** One received burst: what is ours goes through the shard, whose answers are queued for
 * worker_flush, and the rest to its owners. Policy and clock are those of the last shard_begin. The
 * worker's thread (or a bench that has none). */
void worker_burst(struct worker *worker, enum port_side side, struct rte_mbuf **mbufs,
                  uint16_t count);

/** What others have received for this worker, through the shard as if it had received it itself.
 * Returns how many frames. The worker's thread. */
uint32_t worker_take(struct worker *worker);

/** Sends what is queued, or passes it to the owner of the transmit queue; what the port does not
 * take is counted as TX_FULL, what the ring does not, as HANDOVER_FULL. The worker's thread. */
void worker_flush(struct worker *worker);

/** A millisecond clock that never goes back, from the TSC. Any thread. */
uint64_t worker_clock_ms(void);

#endif
