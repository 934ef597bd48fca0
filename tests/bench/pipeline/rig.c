/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026, the Dropgate authors
 *
 * Rounds with and without the worker alternate, and the median of the differences counts: the
 * machine's moods hit both alike. net_null swallows what is sent. */
#include "rig.h"

#include <err.h>
#include <rte_cycles.h>
#include <rte_eal.h>
#include <rte_ethdev.h>
#include <stdio.h>
#include <stdlib.h>
#include <urcu/urcu-qsbr.h>

#include "dataplane/ops/settings.h"
#include "dataplane/worker.h"

enum { ROUNDS_MOST = 256, BUFFERS = 8192, SCALE = 7, MSS = 1460 };

struct rig {
    struct worker worker;
    struct port ports[PORT_SIDES];
    uint64_t next;  /* number of the load's next frame: a round goes on where the last one ended */
    uint64_t flags; /* of received mbufs: what the port says about their checksums */
    struct policy policy;
    struct policy_slot slot;
    struct services *services;
    struct limits *limits;
    struct balance *balance;
    struct offers *offers;
    struct neighbors *neighbors;
    struct cookie_keys keys;
    uint64_t now_ms;
};

static struct rte_mempool *pool;
static struct port ports[PORT_SIDES];

static const char configuration[] =
    "[outside]\ndevice = net_null0\naddresses = 198.18.0.1/17, 2001:db8::1/64\n"
    "[inside]\ndevice = net_null1\naddresses = 198.18.128.1/24, 2001:db8:0:1::1/64\n"
    "[backend four]\naddress = 198.18.128.2:8080\n"
    "[backend six]\naddress = [2001:db8:0:1::2]:8080\n"
    "[service shop]\nlisten = 198.18.0.80:80, [2001:db8::80]:80\nbackends = four, six\n";

void rig_start(const char *cores, uint32_t workers)
{
    rig_start_with(cores, workers, 256);
}

void rig_start_with(const char *cores, uint32_t workers, uint32_t mib)
{
    char memory[16];
    snprintf(memory, sizeof memory, "%u", mib);
    char *argv[] = {"pipeline",
                    "-l",
                    (char *)(uintptr_t)cores,
                    "--no-huge",
                    "-m",
                    memory,
                    "--no-pci",
                    "--no-shconf",
                    "--no-telemetry",
                    "--file-prefix",
                    "dropgate-bench",
                    "--log-level",
                    "error",
                    "--vdev",
                    "net_null0",
                    "--vdev",
                    "net_null1"};
    struct settings settings = {
        .gateway.buffers = BUFFERS,
        .port = {{.device = "net_null0", .rx_descriptors = 64, .tx_descriptors = 64},
                 {.device = "net_null1", .rx_descriptors = 64, .tx_descriptors = 64}}};
    if (rte_eal_init((int)(sizeof argv / sizeof *argv), argv) < 0)
        errx(1, "DPDK does not start");
    pool = ports_pool(&settings); /* the gateway's own: how buffers lie in memory counts */
    if (pool == NULL ||
        ports_open(&ports[OUTSIDE], &settings.port[OUTSIDE], "outside", pool, workers) != 0 ||
        ports_open(&ports[INSIDE], &settings.port[INSIDE], "inside", pool, workers) != 0)
        errx(1, "no memory for packet buffers");
}

/* What the backends' probes would have shown. */
static void make_offers(struct rig *rig)
{
    rig->offers =
        calloc(1, sizeof *rig->offers + rig->services->count * sizeof rig->offers->offer[0]);
    rig->neighbors = calloc(1, sizeof *rig->neighbors + rig->services->backend_count *
                                                            sizeof rig->neighbors->backend[0]);
    rig->offers->count = rig->services->count;
    for (uint32_t i = 0; i < rig->services->count; i++) {
        struct promise promise = {policy_cookie_service(&rig->services->service[i].listen, SCALE),
                                  SCALE};
        rig->offers->offer[i] = (struct offer){MSS, true, true, {promise, promise}};
    }
    for (uint32_t i = 0; i < rig->services->backend_count; i++)
        rig->neighbors->backend[i].known = true;
}

static void make_balance(struct rig *rig)
{
    static const struct siphash_key key = {4, 5};
    uint8_t *health = malloc(rig->services->backend_count);
    if (health != NULL)
        memset(health, HEALTH_UP, rig->services->backend_count);
    if (health == NULL || (rig->balance = balance_new(rig->services, health, &key)) == NULL)
        errx(1, "no memory for a table of backends");
    free(health);
}

struct rig *rig_new(uint32_t flows)
{
    const struct siphash_key secret = {1, 2};
    const uint8_t master[32] = {3};
    char why[CONF_WHY];
    struct rig *rig = calloc(1, sizeof *rig);
    struct settings *settings =
        conf_load_memory(&SETTINGS_SCHEMA, "rig", configuration, sizeof configuration - 1, why);
    if (rig == NULL || settings == NULL)
        errx(1, "%s", why);
    rig->services = settings_services(settings);
    rig->limits = settings_limits(settings);
    conf_free(&SETTINGS_SCHEMA, settings);
    make_offers(rig);
    make_balance(rig);
    rig->now_ms = 1000000;
    cookie_keys_derive(&rig->keys, master, rig->now_ms);
    rig->policy = (struct policy){.services = rig->services,
                                  .balance = rig->balance,
                                  .offers = rig->offers,
                                  .neighbors = rig->neighbors,
                                  .limits = rig->limits,
                                  .keys = &rig->keys};
    memcpy(rig->ports, ports, sizeof rig->ports);
    rig->slot.row = &rig->policy;
    rig->worker = (struct worker){.policy = &rig->slot, .ports = rig->ports, .pool = pool};
    struct shard_sizes sizes = {.flows = flows,
                                .tombstones = flows,
                                .held = 1024,
                                .backends = rig->services->backend_count,
                                .clients = flows,
                                .bans = 65536};
    struct mac macs[PORT_SIDES] = {{{2, 0, 0, 0, 0, 1}}, {{2, 0, 0, 0, 0, 2}}};
    struct shard_output output = worker_output(&rig->worker);
    rig->worker.shard = shard_new(&sizes, &secret, &output, macs, rig->now_ms);
    if (rig->worker.shard == NULL)
        errx(1, "no memory for %u flows", flows);
    shard_begin(rig->worker.shard, &rig->policy, rig->now_ms, rig->now_ms);
    return rig;
}

void rig_free(struct rig *rig)
{
    shard_free(rig->worker.shard);
    services_free(rig->services);
    free(rig->balance);
    free(rig->limits);
    free(rig->offers);
    free(rig->neighbors);
    free(rig);
}

void rig_port_checks(struct rig *rig)
{
    for (int side = 0; side < PORT_SIDES; side++) {
        rig->ports[side].ip_good = RTE_MBUF_F_RX_IP_CKSUM_GOOD;
        rig->ports[side].tcp_good = RTE_MBUF_F_RX_L4_CKSUM_GOOD;
    }
    rig->flags = RTE_MBUF_F_RX_IP_CKSUM_GOOD | RTE_MBUF_F_RX_L4_CKSUM_GOOD;
}

struct shard *rig_shard(struct rig *rig)
{
    return rig->worker.shard;
}

struct worker *rig_worker(struct rig *rig)
{
    return &rig->worker;
}

struct policy_slot *rig_policy(struct rig *rig)
{
    return &rig->slot;
}

void rig_begin(struct rig *rig)
{
    shard_begin(rig->worker.shard, rcu_dereference(rig->slot.row), rig->now_ms, rig->now_ms);
}

enum verdict rig_frame(struct rig *rig, enum port_side side, uint8_t *bytes, uint32_t *length)
{
    struct frame frame = {
        .bytes = bytes, .room = RIG_FRAME, .length = *length, .side = (uint8_t)side};
    enum verdict verdict = shard_packet(rig->worker.shard, &frame, 0);
    *length = frame.to == PORT_NONE ? 0 : frame.length;
    return verdict;
}

static void take_frames(struct rig *rig, struct rte_mbuf **mbufs, uint32_t count,
                        rig_writer *writer, void *context)
{
    if (rte_pktmbuf_alloc_bulk(pool, mbufs, count) != 0)
        errx(1, "packet buffers leak");
    for (unsigned i = 0; writer != NULL && i < count; i++) {
        mbufs[i]->data_len =
            (uint16_t)writer(context, rig->next++, rte_pktmbuf_mtod(mbufs[i], uint8_t *));
        mbufs[i]->pkt_len = mbufs[i]->data_len;
        mbufs[i]->ol_flags = rig->flags;
    }
}

static void work_on(struct rig *rig, enum port_side side, struct rte_mbuf **mbufs, uint32_t count)
{
    rig_begin(rig);
    worker_burst(&rig->worker, side, mbufs, (uint16_t)count);
    shard_tick(rig->worker.shard);
    worker_flush(&rig->worker);
}

void rig_burst(struct rig *rig, enum port_side side, rig_writer *writer, void *context,
               uint32_t count)
{
    struct rte_mbuf *mbufs[WORKER_BURST];
    take_frames(rig, mbufs, count, writer, context);
    work_on(rig, side, mbufs, count);
}

/* One round: bursts of written frames, given to the worker or straight back. Returns cycles per
 * frame. */
static double round_cycles(struct rig *rig, enum port_side side, rig_writer *writer, void *context,
                           uint64_t frames, bool work)
{
    struct rte_mbuf *mbufs[WORKER_BURST];
    uint64_t start = rte_rdtsc_precise();
    for (uint64_t n = 0; n < frames; n += WORKER_BURST) {
        take_frames(rig, mbufs, WORKER_BURST, writer, context);
        if (work)
            work_on(rig, side, mbufs, WORKER_BURST);
        else
            rte_eth_tx_burst(ports[side].id, 0, mbufs, WORKER_BURST);
    }
    return (double)(rte_rdtsc_precise() - start) / (double)frames;
}

static int ascending(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

double rig_median(double *values, int count)
{
    qsort(values, (size_t)count, sizeof *values, ascending);
    return values[count / 2];
}

struct rig_result rig_measure(struct rig *rig, enum port_side side, rig_writer *writer,
                              void *context, int rounds)
{
    double bare[ROUNDS_MOST], difference[ROUNDS_MOST], best = 1e9;
    round_cycles(rig, side, writer, context, RIG_WARM, true);
    for (int i = 0; i < rounds; i++) {
        bare[i] = round_cycles(rig, side, writer, context, RIG_ROUND, false);
        double worked = round_cycles(rig, side, writer, context, RIG_ROUND, true);
        difference[i] = worked - bare[i];
        best = worked < best ? worked : best;
    }
    double cycles = rig_median(difference, rounds);
    qsort(bare, (size_t)rounds, sizeof *bare, ascending);
    return (struct rig_result){cycles, best - bare[0], rig_hz() / cycles / 1e6};
}

double rig_io_cycles(struct rig *rig, int rounds)
{
    double all[ROUNDS_MOST];
    for (int i = 0; i < rounds; i++)
        all[i] = round_cycles(rig, OUTSIDE, NULL, NULL, RIG_ROUND, false);
    return rig_median(all, rounds);
}

double rig_hz(void)
{
    return (double)rte_get_tsc_hz();
}
