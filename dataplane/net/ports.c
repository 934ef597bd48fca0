/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026, the Dropgate authors
 *
 * A device is a PCI address or a virtual device with arguments; both are handed to EAL, then found
 * by name. */
#include "dataplane/net/ports.h"

#include <rte_eal.h>
#include <rte_errno.h>
#include <rte_ethdev.h>
#include <rte_mbuf.h>
#include <rte_pci.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/log.h"

/* What stands before a device's arguments: the name that EAL gives it. */
static void device_name(const char *device, char name[RTE_ETH_NAME_MAX_LEN])
{
    size_t length = strcspn(device, ",");
    if (length >= RTE_ETH_NAME_MAX_LEN)
        length = RTE_ETH_NAME_MAX_LEN - 1;
    memcpy(name, device, length);
    name[length] = '\0';
}

static bool is_pci(const char *device)
{
    char name[RTE_ETH_NAME_MAX_LEN];
    struct rte_pci_addr address;
    device_name(device, name);
    return rte_pci_addr_parse(name, &address) == 0;
}

/* "0@CORE,1@CORE,…": a thread for each, on the processor named at its place, which EAL's plain list
 * of processors could not repeat. */
static void print_lcores(const struct settings *settings, char *out, size_t size)
{
    uint16_t cores[SETTINGS_CORES];
    int count = settings_cores(settings, cores);
    size_t at = 0;
    for (int i = 0; i < count && at < size; i++)
        at += (size_t)snprintf(out + at, size - at, "%s%d@%u", i ? "," : "", i, cores[i]);
}

int ports_start_eal(const struct settings *settings, const char *program)
{
    enum { ARGUMENTS = 24 };
    char memory[32], lcores[SETTINGS_CORES * 8], *argv[ARGUMENTS];
    int argc = 0;
    bool pci = false;
    /* AF_XDP: one program per device is all that is wanted; libxdp's dispatcher would need a
     * mounted bpffs. */
    setenv("LIBXDP_SKIP_DISPATCHER", "1", 0);
    snprintf(memory, sizeof memory, "%lld", (long long)(settings->gateway.memory >> 20));
    argv[argc++] =
        (char *)(uintptr_t)program; /* EAL's prototype is not const, but it does not write them */
    print_lcores(settings, lcores, sizeof lcores);
    argv[argc++] = "--lcores";
    argv[argc++] = lcores;
    argv[argc++] = "--file-prefix";
    argv[argc++] = settings->gateway.instance;
    argv[argc++] = "-m";
    argv[argc++] = memory;
    argv[argc++] = "--log-level";
    argv[argc++] = settings->gateway.log_level == LOG_LEVEL_DEBUG ? "info" : "warning";
    if (settings->gateway.hugepages) {
        argv[argc++] = "--in-memory"; /* no file of ours stays behind */
    } else {
        argv[argc++] = "--no-huge";
        argv[argc++] = "--no-shconf";
    }
    for (int side = 0; side < PORT_SIDES; side++) {
        char *device = settings->port[side].device;
        pci |= is_pci(device);
        argv[argc++] = is_pci(device) ? "-a" : "--vdev";
        argv[argc++] = device;
    }
    if (!pci)
        argv[argc++] = "--no-pci";
    if (rte_eal_init(argc, argv) < 0) {
        log_error(
            "eal_start",
            "DPDK did not start: %s. Check [gateway] cores, memory and hugepages, and the devices; "
            "log_level = debug shows more",
            rte_strerror(rte_errno));
        return -1;
    }
    return 0;
}

/* For devices that read memory by themselves DPDK lets no buffer cross the end of a page, which
 * leaves gaps between buffers. AF_XDP's driver does not count on gaps when it tells the kernel how
 * long the pool is: buffers behind that length would be lost to the port one by one, until it
 * receives nothing. So only real devices get a pool with gaps. */
struct rte_mempool *ports_pool(const struct settings *settings)
{
    enum { CACHE = 256 };
    bool pci = is_pci(settings->port[OUTSIDE].device) || is_pci(settings->port[INSIDE].device);
    struct rte_mempool *pool =
        rte_mempool_create_empty("packets", (unsigned)settings->gateway.buffers,
                                 (unsigned)(sizeof(struct rte_mbuf) + RTE_MBUF_DEFAULT_BUF_SIZE),
                                 CACHE, sizeof(struct rte_pktmbuf_pool_private),
                                 (int)rte_socket_id(), pci ? 0 : RTE_MEMPOOL_F_NO_IOVA_CONTIG);
    if (pool == NULL)
        return NULL;
    rte_pktmbuf_pool_init(pool, NULL);
    if (rte_mempool_populate_default(pool) < 0) {
        rte_mempool_free(pool);
        return NULL;
    }
    rte_mempool_obj_iter(pool, rte_pktmbuf_init, NULL);
    return pool;
}

static uint16_t queue_count(uint32_t workers, uint16_t most)
{
    return workers < most ? (uint16_t)workers : most;
}

static int set_up_queues(const struct port *port, uint16_t rx, uint16_t tx,
                         struct rte_mempool *pool)
{
    unsigned socket = (unsigned)rte_eth_dev_socket_id(port->id);
    int error = 0;
    for (uint16_t i = 0; i < port->rx_queues && error == 0; i++)
        error = rte_eth_rx_queue_setup(port->id, i, rx, socket, NULL, pool);
    for (uint16_t i = 0; i < port->tx_queues && error == 0; i++)
        error = rte_eth_tx_queue_setup(port->id, i, tx, socket, NULL);
    return error;
}

static int start_queues(struct port *port, const struct port_settings *settings,
                        struct rte_mempool *pool, const struct rte_eth_dev_info *info)
{
    struct rte_eth_conf conf = {.rxmode = {.offloads = 0}};
    uint16_t rx = (uint16_t)settings->rx_descriptors, tx = (uint16_t)settings->tx_descriptors;
    if (info->rx_offload_capa & RTE_ETH_RX_OFFLOAD_IPV4_CKSUM) {
        conf.rxmode.offloads |= RTE_ETH_RX_OFFLOAD_IPV4_CKSUM;
        port->ip_good = RTE_MBUF_F_RX_IP_CKSUM_GOOD;
    }
    if (info->rx_offload_capa & RTE_ETH_RX_OFFLOAD_TCP_CKSUM) {
        conf.rxmode.offloads |= RTE_ETH_RX_OFFLOAD_TCP_CKSUM;
        port->tcp_good = RTE_MBUF_F_RX_L4_CKSUM_GOOD;
    }
    int error = rte_eth_dev_configure(port->id, port->rx_queues, port->tx_queues, &conf);
    if (error == 0)
        error = rte_eth_dev_adjust_nb_rx_tx_desc(port->id, &rx, &tx);
    if (error == 0)
        error = set_up_queues(port, rx, tx, pool);
    return error == 0 ? rte_eth_dev_start(port->id) : error;
}

int ports_open(struct port *port, const struct port_settings *settings, const char *name,
               struct rte_mempool *pool, uint32_t workers)
{
    struct rte_eth_dev_info info;
    struct rte_ether_addr mac;
    char device[RTE_ETH_NAME_MAX_LEN];
    *port = (struct port){0};
    vlan_parse(settings->vlan, &port->vlan); /* was checked with the settings */
    device_name(settings->device, device);
    if (rte_eth_dev_get_port_by_name(device, &port->id) != 0) {
        log_error("port_missing", "[%s] device = %s: DPDK has no such port", name,
                  settings->device);
        return -1;
    }
    int error = rte_eth_dev_info_get(port->id, &info);
    if (error == 0)
        error = rte_eth_macaddr_get(port->id, &mac);
    if (error == 0) {
        port->rx_queues = queue_count(workers, info.max_rx_queues);
        port->tx_queues = queue_count(workers, info.max_tx_queues);
        error = start_queues(port, settings, pool, &info);
    }
    if (error != 0) {
        log_error("port_start", "[%s] device = %s: %s", name, settings->device,
                  rte_strerror(-error));
        return -1;
    }
    memcpy(&port->mac, &mac, sizeof port->mac);
    /* Neighbour solicitations come to a group. Drivers that receive everything anyhow do not know
     * the call. */
    error = rte_eth_allmulticast_enable(port->id);
    if (error != 0 && error != -ENOTSUP)
        log_warn("port_multicast",
                 "[%s] device = %s: cannot receive multicast (%s): IPv6 clients may not find us",
                 name, settings->device, rte_strerror(-error));
    log_info("port_up",
             "[%s] %s, driver %s, queues: %u in, %u out; checksums verified by the port: IPv4 %s, "
             "TCP %s",
             name, settings->device, info.driver_name, port->rx_queues, port->tx_queues,
             port->ip_good ? "yes" : "no", port->tcp_good ? "yes" : "no");
    return 0;
}

void ports_close(struct port *port)
{
    if (rte_eth_dev_stop(port->id) == 0)
        rte_eth_dev_close(port->id);
}
