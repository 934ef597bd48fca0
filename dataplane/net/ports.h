/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026, the Dropgate authors
 *
 * The two network ports: starting EAL with the devices that the configuration names, opening,
 * closing. What a port can do is read bit by bit; what it cannot do is done in software. Main
 * thread, before and after the workers. */
#ifndef DROPGATE_DATAPLANE_NET_PORTS_H
#define DROPGATE_DATAPLANE_NET_PORTS_H

#include <rte_mempool.h>
#include <stdint.h>

#include "dataplane/net/build.h"
#include "dataplane/net/vlan.h"
#include "dataplane/ops/settings.h"

struct port {
    uint16_t id; /* DPDK's */
    struct mac mac;
    uint16_t rx_queues, tx_queues; /* as many as there are workers, or what the port has */
    struct vlan vlan;              /* tags of all frames of this side */
    uint64_t ip_good,
        tcp_good; /* mbuf flags that mean "checksum verified"; 0 where the port cannot tell */
};

/** Starts EAL on the configured cores with the configured devices. Returns 0, or -1 after an error
 * was logged. */
int ports_start_eal(const struct settings *settings, const char *program);

/** The packet buffers of all ports. NULL when memory is short. After ports_start_eal. */
struct rte_mempool *ports_pool(const struct settings *settings);

/** Opens, configures and starts one port, with a queue in each direction per worker if it has so
 * many. It is not asked to steer: whatever queue a frame comes by, software finds its owner.
 * Returns 0, or -1 after an error was logged. */
int ports_open(struct port *port, const struct port_settings *settings, const char *name,
               struct rte_mempool *pool, uint32_t workers);

void ports_close(struct port *port);

#endif
