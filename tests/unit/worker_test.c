/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026, the Dropgate authors
 *
 * Workers over ports that are rings: one or several of them, with as many queues or fewer, run
 * round by round on one thread. Every frame is decided by its client's worker, leaves in order, and
 * keeps what its port knew about it. */
#include "dataplane/worker.h"

#include <rte_eal.h>
#include <rte_eth_ring.h>
#include <rte_ethdev.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
// clang-format off
#include <cmocka.h>
// clang-format on

#include "dataplane/net/build.h"
#include "dataplane/ops/upkeep.h"
#include "tests/unit/frames.h"
#include "tests/unit/random.h"

enum { MOST = 4, PORT_RING = 8192, BUFFERS = 16383, CLIENTS = 500, PER_CLIENT = 4 };

static const char configuration[] =
    "[outside]\ndevice = net_null0\naddresses = 198.18.0.1/17, 2001:db8::1/64\n"
    "[inside]\ndevice = net_null1\naddresses = 198.18.128.1/24, 2001:db8:0:1::1/64\n"
    "[backend one]\naddress = 198.18.128.2:8080\n"
    "[backend two]\naddress = [2001:db8:0:1::2]:8080\n"
    "[service shop]\nlisten = 198.18.0.80:80, [2001:db8::80]:80\nbackends = one, two\n";
static const struct mac macs[PORT_SIDES] = {{{2, 0, 0, 0, 0, 0xa}}, {{2, 0, 0, 0, 0, 0xb}}};
static const struct addr own = {.bytes = {[10] = 0xff, 0xff, 198, 18, 128, 1}};

static struct rte_mempool *pool;
static struct rte_ring *commands; /* always empty: one does for all */
static struct rte_ring *in[PORT_SIDES][MOST], *out[PORT_SIDES][MOST];
static struct port ports[PORT_SIDES];

struct rig {
    uint32_t workers;
    struct worker *worker;
    struct handover *ends[MOST];
    struct port ports[PORT_SIDES];
    struct steer steer;
    struct policy_slot policy;
    struct limits *limits;
    struct upkeep upkeep;
};

static int open_port(enum port_side side)
{
    const struct rte_eth_conf conf = {0};
    char name[32];
    for (int i = 0; i < MOST; i++) {
        snprintf(name, sizeof name, "in%d.%d", side, i);
        in[side][i] = rte_ring_create(name, PORT_RING, SOCKET_ID_ANY, 0);
        snprintf(name, sizeof name, "out%d.%d", side, i);
        out[side][i] = rte_ring_create(name, PORT_RING, SOCKET_ID_ANY, 0);
        if (in[side][i] == NULL || out[side][i] == NULL)
            return -1;
    }
    int id = rte_eth_from_rings(side == OUTSIDE ? "o" : "i", in[side], MOST, out[side], MOST, 0);
    if (id < 0 || rte_eth_dev_configure((uint16_t)id, MOST, MOST, &conf) != 0)
        return -1;
    ports[side] = (struct port){.id = (uint16_t)id, .mac = macs[side]};
    for (uint16_t i = 0; i < MOST; i++)
        if (rte_eth_rx_queue_setup((uint16_t)id, i, 64, 0, NULL, pool) != 0 ||
            rte_eth_tx_queue_setup((uint16_t)id, i, 64, 0, NULL) != 0)
            return -1;
    return rte_eth_dev_start((uint16_t)id);
}

static int start_dpdk(void **state)
{
    (void)state;
    char *arguments[] = {"worker_test",
                         "-l",
                         "0",
                         "--no-huge",
                         "-m",
                         "128",
                         "--no-pci",
                         "--no-shconf",
                         "--no-telemetry",
                         "--file-prefix",
                         "dropgate-worker",
                         "--log-level",
                         "error"};
    if (rte_eal_init((int)(sizeof arguments / sizeof *arguments), arguments) < 0)
        return -1;
    pool = rte_pktmbuf_pool_create("pool", BUFFERS, 0, 0, RTE_MBUF_DEFAULT_BUF_SIZE, SOCKET_ID_ANY);
    commands = rte_ring_create_elem("commands", sizeof(struct command), 8, SOCKET_ID_ANY, 0);
    return pool == NULL || commands == NULL || open_port(OUTSIDE) != 0 || open_port(INSIDE) != 0
               ? -1
               : 0;
}

static struct rig *rig_new(uint32_t workers, uint16_t queues)
{
    static const struct siphash_key secret = {5, 6};
    static const struct shard_sizes sizes = {
        .flows = 64, .tombstones = 64, .held = 64, .backends = 2, .clients = 64, .bans = 16};
    char why[CONF_WHY];
    uint8_t key[STEER_KEY];
    struct random random = {3};
    struct rig *r = calloc(1, sizeof *r);
    struct settings *settings =
        conf_load_memory(&SETTINGS_SCHEMA, "rig", configuration, sizeof configuration - 1, why);
    assert_true(r != NULL && settings != NULL);
    random_bytes(&random, key, sizeof key);
    steer_init(&r->steer, key, workers, &own, 1);
    r->workers = workers;
    r->worker = calloc(workers, sizeof *r->worker);
    assert_non_null(r->worker);
    r->limits = settings_limits(settings);
    for (int side = 0; side < PORT_SIDES; side++) {
        r->ports[side] = ports[side];
        r->ports[side].rx_queues = r->ports[side].tx_queues = queues;
    }
    for (uint32_t i = 0; i < workers; i++) {
        struct worker *w = &r->worker[i];
        *w = (struct worker){.policy = &r->policy,
                             .ports = r->ports,
                             .pool = pool,
                             .steer = workers > 1 ? &r->steer : NULL,
                             .commands = commands};
        const struct shard_output output = worker_output(w);
        w->shard = shard_new(&sizes, &secret, &output, macs, worker_clock_ms());
        assert_non_null(w->shard);
        shard_steered(w->shard, w->steer, i);
        r->ends[i] = &w->handover;
    }
    assert_int_equal(handover_connect(r->ends, workers, r->ports), 0);
    assert_int_equal(upkeep_init(&r->upkeep, &r->policy, settings_services(settings), r->limits,
                                 r->worker, workers, NULL),
                     0);
    conf_free(&SETTINGS_SCHEMA, settings);
    assert_int_equal(upkeep_lend(&r->upkeep), 0);
    return r;
}

/* Nothing may be left anywhere: every buffer is back in the pool. */
static void rig_free(struct rig *r)
{
    handover_disconnect(r->ends, r->workers);
    for (uint32_t i = 0; i < r->workers; i++)
        shard_free(r->worker[i].shard);
    upkeep_end(&r->upkeep);
    free(r->worker);
    free(r);
    assert_int_equal(rte_mempool_avail_count(pool), BUFFERS);
}

static struct addr client_of(uint32_t n)
{
    return addr_from_v4(__builtin_bswap32(0x0a000000 + n * 7919));
}

/* Bytes that a queue has received. */
static struct rte_mbuf *receive(enum port_side side, uint32_t queue, const uint8_t *bytes,
                                size_t length)
{
    struct rte_mbuf *mbuf = rte_pktmbuf_alloc(pool);
    assert_non_null(mbuf);
    memcpy(rte_pktmbuf_append(mbuf, (uint16_t)length), bytes, length);
    assert_int_equal(rte_ring_enqueue(in[side][queue], mbuf), 0);
    return mbuf;
}

static size_t write_syn(uint8_t *bytes, uint32_t n, uint32_t seq)
{
    struct frame_tcp t = {.to = {2, 0, 0, 0, 0, 0xa},
                          .from = {2, 0, 0, 0, 0xc, 1},
                          .destination = {198, 18, 0, 80},
                          .source_port = 4000,
                          .destination_port = 80,
                          .seq = seq,
                          .window = 1000,
                          .flags = TCP_SYN,
                          .ttl = 60};
    const struct addr client = client_of(n);
    memcpy(t.source, client.bytes + 12, 4);
    return frame_write(bytes, &t);
}

/* A SYN of client n, received by that queue of the outside. */
static struct rte_mbuf *push(uint32_t n, uint32_t seq, uint32_t queue)
{
    uint8_t bytes[FRAME_ROOM];
    return receive(OUTSIDE, queue, bytes, write_syn(bytes, n, seq));
}

static void run(struct rig *r, int rounds)
{
    while (rounds-- > 0)
        for (uint32_t i = 0; i < r->workers; i++)
            worker_round(&r->worker[i]);
}

static uint64_t counted(const struct rig *r, enum verdict verdict)
{
    uint64_t sum = 0;
    for (uint32_t i = 0; i < r->workers; i++)
        sum += r->worker[i].shard->verdicts[verdict];
    return sum;
}

/* What a backend says to a client of that worker who has no flow, received by the inside's second
 * queue. */
static void push_answer(const struct rig *r, bool v6, uint32_t worker)
{
    struct frame_tcp t = {.v6 = v6,
                          .to = {2, 0, 0, 0, 0, 0xb},
                          .from = {2, 0, 0, 0, 0xc, 2},
                          .source_port = 8080,
                          .destination_port = 4000,
                          .flags = TCP_ACK,
                          .ttl = 60};
    uint8_t bytes[FRAME_ROOM];
    struct addr client;
    memcpy(t.source, v6 ? "\x20\x01\x0d\xb8\0\0\0\1\0\0\0\0\0\0\0\2" : "\xc6\x12\x80\2",
           v6 ? 16 : 4);
    memcpy(t.destination, "\x24", 1);
    do {
        t.destination[v6 ? 4 : 3]++;
        client = v6 ? addr_from_v6(t.destination)
                    : addr_from_v4(__builtin_bswap32(0x24000000U + t.destination[3]));
    } while (steer_client(&r->steer, INSIDE, &client) != worker);
    receive(INSIDE, 1, bytes, frame_write(bytes, &t));
}

static void forget_sent(void)
{
    struct rte_mbuf *mbuf;
    for (int side = 0; side < PORT_SIDES; side++)
        for (uint32_t queue = 0; queue < MOST; queue++)
            while (rte_ring_dequeue(out[side][queue], (void **)&mbuf) == 0)
                rte_pktmbuf_free(mbuf);
}

/* Takes the SYN-ACKs that have left by `queues` queues: each client's are as many as it sent, and
 * in the order in which it did. */
static void expect_answers(uint32_t queues)
{
    uint32_t next[CLIENTS] = {0};
    for (uint32_t queue = 0; queue < MOST; queue++) {
        struct rte_mbuf *mbuf;
        while (rte_ring_dequeue(out[OUTSIDE][queue], (void **)&mbuf) == 0) {
            const uint8_t *frame = rte_pktmbuf_mtod(mbuf, const uint8_t *);
            assert_true(queue < queues && frame_checksums_good(frame));
            const uint32_t n = (frame_get32(frame + 30) - 0x0a000000) / 7919;
            assert_int_equal(frame_get32(frame + 42), n * 100 + next[n] + 1);
            next[n]++;
            rte_pktmbuf_free(mbuf);
        }
    }
    for (uint32_t n = 0; n < CLIENTS; n++)
        assert_int_equal(next[n], PER_CLIENT);
}

static void every_frame_is_decided_by_its_clients_worker_and_leaves_in_order(void **state)
{
    (void)state;
    for (uint32_t workers = 1; workers <= MOST; workers++)
        for (uint16_t queues = 1; queues <= workers; queues++) {
            struct rig *r = rig_new(workers, queues);
            uint64_t owned[MOST] = {0};
            for (uint32_t k = 0; k < PER_CLIENT; k++)
                for (uint32_t n = 0; n < CLIENTS; n++) {
                    const struct addr client = client_of(n);
                    push(n, n * 100 + k, n % queues);
                    owned[steer_client(&r->steer, OUTSIDE, &client)]++;
                }
            run(r, CLIENTS * PER_CLIENT / WORKER_BURST + 4);
            for (uint32_t i = 0; i < workers; i++)
                assert_int_equal(r->worker[i].shard->verdicts[VERDICT_SYN_COOKIE], owned[i]);
            assert_int_equal(counted(r, VERDICT_HANDOVER_FULL), 0);
            expect_answers(queues);
            rig_free(r);
        }
}

static void two_workers_share_two_ports_with_one_queue_each(void **state)
{
    (void)state;
    struct rig *r = rig_new(2, 1);
    assert_int_equal(handover_queue_owner(0, OUTSIDE, 2), 0);
    assert_int_equal(handover_queue_owner(0, INSIDE, 2), 1);
    assert_true(r->worker[0].handover.port[OUTSIDE].ring == NULL);
    assert_true(r->worker[0].handover.port[INSIDE].ring != NULL);
    assert_true(r->worker[1].handover.port[INSIDE].ring == NULL);
    assert_true(r->worker[1].handover.port[OUTSIDE].ring != NULL);
    rig_free(r);
}

static void with_a_queue_for_each_worker_nothing_is_sent_by_others(void **state)
{
    (void)state;
    struct rig *r = rig_new(MOST, MOST);
    bool taken[PORT_SIDES][MOST] = {{false}};
    for (uint32_t i = 0; i < MOST; i++)
        for (int side = 0; side < PORT_SIDES; side++) {
            assert_null(r->worker[i].handover.port[side].ring);
            const uint16_t queue = r->worker[i].handover.port[side].queue;
            assert_false(taken[side][queue]);
            taken[side][queue] = true;
            assert_int_equal(handover_queue_owner(queue, (enum port_side)side, MOST), i);
        }
    rig_free(r);
}

/* A client whose packets the second of two workers decides about. */
static uint32_t client_of_second(const struct rig *r)
{
    uint32_t client = 0;
    struct addr addr = client_of(client);
    while (steer_client(&r->steer, OUTSIDE, &addr) != 1)
        addr = client_of(++client);
    return client;
}

static void what_a_full_ring_does_not_take_is_counted_and_freed(void **state)
{
    (void)state;
    enum { MORE = 200, SENT = HANDOVER_RING - 1 - HANDOVER_INSIDE + MORE };
    struct rig *r = rig_new(2, 1);
    const uint32_t client = client_of_second(r);
    for (uint32_t i = 0; i < SENT; i++)
        push(client, i, 0);
    for (int i = 0; i < SENT / WORKER_BURST + 1; i++) /* the other one is away */
        worker_round(&r->worker[0]);
    assert_int_equal(counted(r, VERDICT_HANDOVER_FULL), MORE);
    assert_int_equal(r->worker[0].handover.given, SENT);
    rig_free(r); /* what still waits is freed with the ring */
}

/* The first worker receives, for one client of the second's, a flood outside, and inside what its
 * backend of that family says to it. */
static void a_flood_outside_loses_nothing_that_backends_send_to_the_same_worker(void **state)
{
    (void)state;
    enum { FLOOD = 2 * HANDOVER_RING, ANSWERS = HANDOVER_INSIDE };
    for (int v6 = 0; v6 < 2; v6++) {
        struct rig *r = rig_new(2, 2); /* the inside's second queue is the first worker's, too */
        for (uint32_t i = 0; i < FLOOD; i++)
            push(client_of_second(r), i, 0);
        for (int i = 0; i < FLOOD / WORKER_BURST + 1; i++) /* the other one is away */
            worker_round(&r->worker[0]);
        const uint64_t lost = counted(r, VERDICT_HANDOVER_FULL);
        assert_in_range(lost, 1, FLOOD - 1);
        for (uint32_t i = 0; i < ANSWERS; i++)
            push_answer(r, v6, 1);
        for (int i = 0; i < ANSWERS / WORKER_BURST + 1; i++)
            worker_round(&r->worker[0]);
        assert_int_equal(counted(r, VERDICT_HANDOVER_FULL), lost);
        run(r, FLOOD / WORKER_BURST + 2);
        assert_int_equal(r->worker[1].shard->verdicts[VERDICT_INSIDE_RESET], ANSWERS);
        forget_sent();
        rig_free(r);
    }
}

/* The clock is the real one: where a second ends meanwhile, twice the rate passes. */
static void syns_over_their_sources_rate_are_dropped_before_they_are_handed_over(void **state)
{
    (void)state;
    enum { SENT = 1000, RATE = 100 };
    struct rig *r = rig_new(2, 1);
    uint32_t client = 0;
    struct addr addr = client_of(client);
    r->limits->source_rate = RATE;
    while (steer_client(&r->steer, OUTSIDE, &addr) != 1)
        addr = client_of(++client);
    for (uint32_t i = 0; i < SENT; i++)
        push(client, i, 0);
    for (int i = 0; i < SENT / WORKER_BURST + 1; i++)
        worker_round(&r->worker[0]);
    const uint64_t given = r->worker[0].handover.given;
    assert_in_range(given, RATE, 2 * RATE);
    assert_int_equal(r->worker[0].shard->verdicts[VERDICT_SOURCE_RATE], SENT - given);
    push(client + 1, 1, 0); /* another source, whoever has it */
    run(r, 2 * RATE / WORKER_BURST + 2);
    assert_in_range(counted(r, VERDICT_SYN_COOKIE), RATE + 1, given + 1);
    struct rte_mbuf *mbuf;
    while (rte_ring_dequeue(out[OUTSIDE][0], (void **)&mbuf) == 0)
        rte_pktmbuf_free(mbuf);
    rig_free(r);
}

static void an_allowed_source_is_handed_over_however_much_it_sends(void **state)
{
    (void)state;
    enum { SENT = 1000, RATE = 100 };
    struct rig *r = rig_new(2, 1);
    uint32_t client = 0;
    struct addr addr = client_of(client);
    r->limits->source_rate = RATE;
    while (steer_client(&r->steer, OUTSIDE, &addr) != 1)
        addr = client_of(++client);
    const struct prefix alone = {addr, 128};
    const struct lists_source source = {
        .name = "partner", .kind = LIST_ALLOW, .prefixes = &alone, .count = 1};
    struct lists *lists;
    assert_int_equal(lists_build(&source, 1, NULL, 1, &lists), 0);
    ((struct policy *)(uintptr_t)r->policy.row)->lists = lists; /* which owns it from here on */
    for (uint32_t i = 0; i < SENT; i++)
        push(client, i, 0);
    for (int i = 0; i < SENT / WORKER_BURST + 1; i++)
        worker_round(&r->worker[0]);
    assert_int_equal(r->worker[0].handover.given, SENT);
    run(r, SENT / WORKER_BURST + 2);
    assert_int_equal(counted(r, VERDICT_SYN_COOKIE), SENT);
    struct rte_mbuf *mbuf;
    while (rte_ring_dequeue(out[OUTSIDE][0], (void **)&mbuf) == 0)
        rte_pktmbuf_free(mbuf);
    rig_free(r);
}

static void what_the_port_has_verified_stays_verified(void **state)
{
    (void)state;
    for (int verified = 0; verified < 2; verified++) {
        struct rig *r = rig_new(2, 1);
        for (int side = 0; side < PORT_SIDES; side++) {
            r->ports[side].ip_good = RTE_MBUF_F_RX_IP_CKSUM_GOOD;
            r->ports[side].tcp_good = RTE_MBUF_F_RX_L4_CKSUM_GOOD;
        }
        for (uint32_t n = 0; n < 100; n++) {
            struct rte_mbuf *mbuf = push(n, 1, 0);
            rte_pktmbuf_mtod(mbuf, uint8_t *)[50] ^= 1; /* the TCP checksum */
            mbuf->ol_flags =
                verified ? RTE_MBUF_F_RX_IP_CKSUM_GOOD | RTE_MBUF_F_RX_L4_CKSUM_GOOD : 0;
        }
        run(r, 6);
        assert_in_range(r->worker[0].handover.given, 20, 80);
        assert_int_equal(counted(r, verified ? VERDICT_SYN_COOKIE : VERDICT_TCP_CHECKSUM), 100);
        struct rte_mbuf *mbuf;
        while (rte_ring_dequeue(out[OUTSIDE][0], (void **)&mbuf) == 0)
            rte_pktmbuf_free(mbuf);
        rig_free(r);
    }
}

/* The same bytes are a stranger's on one side and a backend's on the other. */
static void a_frame_is_of_the_side_where_it_was_received(void **state)
{
    (void)state;
    struct rig *r = rig_new(2, 1);
    for (uint32_t n = 0; n < 100; n++) {
        struct rte_mbuf *mbuf = push(n, 1, 0);
        uint8_t *frame = rte_pktmbuf_mtod(mbuf, uint8_t *);
        assert_int_equal(rte_ring_dequeue(in[OUTSIDE][0], (void **)&mbuf), 0);
        memcpy(frame, &macs[INSIDE], 6);
        memcpy(frame + 30, frame + 26, 4); /* to the client */
        frame_put32(frame + 26, 0xc6128002);
        frame_put16(frame + 34, 8080);
        frame[47] = TCP_ACK;
        frame_fix_checksums(frame);
        assert_int_equal(rte_ring_enqueue(in[INSIDE][0], mbuf), 0);
    }
    run(r, 6);
    assert_int_equal(counted(r, VERDICT_INSIDE_RESET), 100);
    assert_in_range(r->worker[1].handover.given, 20, 80);
    struct rte_mbuf *mbuf;
    uint32_t resets = 0;
    while (rte_ring_dequeue(out[INSIDE][0], (void **)&mbuf) == 0) {
        rte_pktmbuf_free(mbuf);
        resets++;
    }
    assert_int_equal(resets, 100);
    rig_free(r);
}

/* ---- tags, errors and extension headers on their way to the owner ---- */

enum { SOME = 100, OUTER = 100, INNER = 7 };

static struct rig *tagged_rig(uint16_t queues)
{
    struct rig *r = rig_new(2, queues);
    for (int side = 0; side < PORT_SIDES; side++)
        assert_int_equal(vlan_parse("100.7", &r->ports[side].vlan), 0);
    return r;
}

static size_t tag(uint8_t *bytes, size_t length)
{
    length = frame_tag(bytes, length, 0x8100, INNER);
    return frame_tag(bytes, length, 0x88a8, OUTER);
}

/* Takes what has left on that side, tagged, each of `type`; returns how many. */
static uint32_t take_tagged(enum port_side side, uint16_t type)
{
    struct rte_mbuf *mbuf;
    uint32_t count = 0;
    for (uint32_t queue = 0; queue < MOST; queue++)
        for (; rte_ring_dequeue(out[side][queue], (void **)&mbuf) == 0; count++) {
            uint8_t *frame = rte_pktmbuf_mtod(mbuf, uint8_t *);
            assert_int_equal(frame_get32(frame + 12), 0x88a80000U + OUTER);
            assert_int_equal(frame_get32(frame + 16), 0x81000000U + INNER);
            frame_untag(frame, frame_untag(frame, mbuf->data_len));
            assert_int_equal(frame_get16(frame + 12), type);
            assert_true(type == 0x0806 || frame_checksums_good(frame));
            rte_pktmbuf_free(mbuf);
        }
    return count;
}

static void a_tagged_frame_goes_to_its_clients_worker_and_the_answer_is_tagged(void **state)
{
    (void)state;
    struct rig *r = tagged_rig(1);
    uint64_t owned[2] = {0};
    for (uint32_t n = 0; n < SOME; n++) {
        uint8_t bytes[FRAME_ROOM];
        const struct addr client = client_of(n);
        receive(OUTSIDE, 0, bytes, tag(bytes, write_syn(bytes, n, n)));
        owned[steer_client(&r->steer, OUTSIDE, &client)]++;
    }
    push(0, 1, 0); /* without tags */
    run(r, 6);
    for (int i = 0; i < 2; i++) {
        assert_in_range(owned[i], SOME / 4, SOME);
        assert_int_equal(r->worker[i].shard->verdicts[VERDICT_SYN_COOKIE], owned[i]);
    }
    assert_int_equal(counted(r, VERDICT_VLAN_MISSING), 1);
    assert_int_equal(take_tagged(OUTSIDE, 0x0800), SOME);
    rig_free(r);
}

/* A router's too-big about a packet between client n and the service, or its backend. */
static size_t write_too_big(uint8_t *bytes, enum port_side side, bool v6, uint32_t n)
{
    static const uint8_t services[PORT_SIDES][2][16] = {
        [OUTSIDE] = {{198, 18, 0, 80}, {0x20, 1, 0xd, 0xb8, [15] = 0x80}},
        [INSIDE] = {{198, 18, 128, 2}, {0x20, 1, 0xd, 0xb8, 0, 0, 0, 1, [15] = 2}}};
    struct frame_tcp outer = {.v6 = v6, .ttl = 60}, inner = {.v6 = v6, .ttl = 60};
    uint8_t quoted[FRAME_ROOM];
    uint8_t client[16] = {0x24};
    memcpy(client + (v6 ? 4 : 0), client_of(n).bytes + 12, 4);
    memcpy(outer.to, &macs[side], 6);
    outer.from[5] = 9;
    memcpy(outer.source, v6 ? "\x20\x01\x0d\xb8\0\7\0\0\0\0\0\0\0\0\0\7" : "\xc6\x13\0\7",
           v6 ? 16 : 4);
    memcpy(side == OUTSIDE ? inner.source : inner.destination, services[side][v6], 16);
    memcpy(side == OUTSIDE ? inner.destination : inner.source, client, 16);
    memcpy(outer.destination, inner.source, 16);
    inner.source_port = side == OUTSIDE ? 80 : 4000;
    inner.destination_port = side == OUTSIDE ? 4000 : 8080;
    inner.flags = TCP_ACK;
    outer.payload = quoted + 14;
    outer.length = frame_write(quoted, &inner) - 14;
    size_t length = frame_write(bytes, &outer) - 12; /* 8 bytes of ICMP in place of 20 of TCP */
    uint8_t *ip = bytes + 14, *icmp = ip + (v6 ? 40 : 20);
    memset(icmp, 0, 8);
    memcpy(icmp + 8, outer.payload, outer.length);
    icmp[0] = v6 ? 2 : 3;
    icmp[1] = v6 ? 0 : 4;
    frame_put16(icmp + 6, 1300);
    if (v6) {
        ip[6] = 58;
        frame_put16(ip + 4, (uint32_t)(8 + outer.length));
        frame_put16(icmp + 2, 0xffff - frame_l4_sum(bytes));
        return length;
    }
    ip[9] = 1;
    frame_put16(ip + 2, (uint32_t)(28 + outer.length));
    frame_put16(ip + 10, 0);
    frame_put16(ip + 10, 0xffff - frame_sum(0, ip, 20));
    frame_put16(icmp + 2, 0xffff - frame_sum(0, icmp, 8 + outer.length));
    return length;
}

static void an_error_goes_to_the_worker_of_the_client_that_it_quotes(void **state)
{
    (void)state;
    for (int side = 0; side < PORT_SIDES; side++)
        for (int v6 = 0; v6 < 2; v6++) {
            struct rig *r = tagged_rig(1);
            uint64_t owned[2] = {0};
            for (uint32_t n = 0; n < SOME; n++) {
                uint8_t bytes[FRAME_ROOM];
                size_t length = write_too_big(bytes, (enum port_side)side, v6, n);
                struct addr client = client_of(n);
                if (v6)
                    client = addr_from_v6(bytes + 62 + (side == OUTSIDE ? 24 : 8));
                owned[steer_client(&r->steer, (enum port_side)side, &client)]++;
                receive((enum port_side)side, 0, bytes, tag(bytes, length));
            }
            run(r, 6);
            for (int i = 0; i < 2; i++) {
                assert_in_range(owned[i], SOME / 4, SOME);
                assert_int_equal(r->worker[i].shard->verdicts[VERDICT_TOO_BIG_NO_FLOW], owned[i]);
            }
            rig_free(r);
        }
}

/* The first worker speaks for the gateway itself, whoever is asked. */
static void neighbors_are_answered_by_the_first_worker_within_the_vlan(void **state)
{
    (void)state;
    static const struct mac asker = {{2, 0, 0, 0, 0xc, 1}};
    struct addr host, vip;
    uint8_t bytes[FRAME_ROOM];
    struct rig *r = tagged_rig(2);
    addr_parse("198.18.0.2", &host);
    addr_parse("198.18.0.80", &vip);
    size_t length = build_arp(bytes, sizeof bytes, 1, &asker, &host, &macs[OUTSIDE], &vip);
    receive(OUTSIDE, 1, bytes, tag(bytes, length));
    run(r, 3);
    assert_int_equal(r->worker[0].shard->verdicts[VERDICT_ARP_ANSWERED], 1);
    assert_int_equal(take_tagged(OUTSIDE, 0x0806), 1);
    addr_parse("2001:db8::2", &host);
    addr_parse("2001:db8::80", &vip);
    length = build_solicitation(bytes, sizeof bytes, &asker, &host, &vip);
    receive(OUTSIDE, 1, bytes, tag(bytes, length));
    run(r, 3);
    assert_int_equal(r->worker[0].shard->verdicts[VERDICT_ND_ANSWERED], 1);
    assert_int_equal(take_tagged(OUTSIDE, 0x86dd), 1);
    rig_free(r);
}

static void extension_headers_lead_no_client_to_another_worker(void **state)
{
    (void)state;
    static const uint8_t padding[8] = {6, 0, 1, 4}; /* TCP follows; PadN of four bytes */
    struct rig *r = rig_new(2, 1);
    uint64_t owned[2] = {0};
    for (uint32_t n = 0; n < SOME; n++) {
        struct frame_tcp t = {.v6 = true,
                              .to = {2, 0, 0, 0, 0, 0xa},
                              .from = {2, 0, 0, 0, 0xc, 1},
                              .source = {0x24, [4] = (uint8_t)n, [15] = 1},
                              .destination = {0x20, 1, 0xd, 0xb8, [15] = 0x80},
                              .source_port = 4000,
                              .destination_port = 80,
                              .flags = TCP_SYN,
                              .ttl = 60};
        uint8_t bytes[FRAME_ROOM];
        size_t length = frame_write(bytes, &t);
        const struct addr client = addr_from_v6(t.source);
        owned[steer_client(&r->steer, OUTSIDE, &client)]++;
        if (n % 2) {
            memmove(bytes + 54 + sizeof padding, bytes + 54, length - 54);
            memcpy(bytes + 54, padding, sizeof padding);
            frame_put16(bytes + 18, (uint32_t)(length - 54 + sizeof padding));
            bytes[20] = 60;
            length += sizeof padding;
        }
        receive(OUTSIDE, 0, bytes, length);
    }
    run(r, 6);
    assert_int_equal(counted(r, VERDICT_IPV6_PADDING), SOME / 2);
    for (int i = 0; i < 2; i++) {
        assert_in_range(owned[i], SOME / 4, SOME);
        assert_int_equal(r->worker[i].shard->verdicts[VERDICT_SYN_COOKIE], owned[i]);
    }
    struct rte_mbuf *mbuf;
    while (rte_ring_dequeue(out[OUTSIDE][0], (void **)&mbuf) == 0)
        rte_pktmbuf_free(mbuf);
    rig_free(r);
}

/* Frames that are for nobody, in buffers of which only the first is like those that ports give. */
static void what_is_dropped_goes_back_to_its_pool_unless_somebody_else_holds_it(void **state)
{
    (void)state;
    enum { OTHERS = 7 };
    static const uint8_t nothing[ETHERNET_HEADER + IPV4_HEADER];
    struct rig *r = rig_new(1, 1);
    struct rte_mempool *other =
        rte_pktmbuf_pool_create("other", OTHERS, 0, 0, RTE_MBUF_DEFAULT_BUF_SIZE, SOCKET_ID_ANY);
    struct rte_mbuf *foreign = rte_pktmbuf_alloc(other), *rest = rte_pktmbuf_alloc(pool);
    assert_true(foreign != NULL && rest != NULL);
    receive(OUTSIDE, 0, nothing, sizeof nothing);
    struct rte_mbuf *held = receive(OUTSIDE, 0, nothing, sizeof nothing);
    rte_mbuf_refcnt_update(held, 1);
    struct rte_mbuf *chained = receive(OUTSIDE, 0, nothing, sizeof nothing);
    assert_int_equal(rte_pktmbuf_chain(chained, rest), 0);
    assert_non_null(rte_pktmbuf_append(foreign, sizeof nothing));
    memset(rte_pktmbuf_mtod(foreign, void *), 0, sizeof nothing);
    assert_int_equal(rte_ring_enqueue(in[OUTSIDE][0], foreign), 0);
    run(r, 1);
    assert_int_equal(counted(r, VERDICT_NOT_FOR_US), 3);
    assert_int_equal(counted(r, VERDICT_MULTI_SEGMENT), 1);
    assert_int_equal(rte_mempool_avail_count(other), OTHERS);
    assert_int_equal(rte_mempool_avail_count(pool), BUFFERS - 1);
    assert_int_equal(rte_mbuf_refcnt_read(held), 1);
    rte_pktmbuf_free(held);
    rte_mempool_free(other);
    rig_free(r);
}

/* What the inside receives, and that nothing comes, says nothing of a flood outside. */
static void a_flood_of_strays_stays_one_over_rounds_that_bring_nothing(void **state)
{
    (void)state;
    static const uint8_t nothing[ETHERNET_HEADER + IPV4_HEADER];
    uint8_t bytes[FRAME_ROOM];
    struct rig *r = rig_new(2, 1);
    const struct shard *shard = r->worker[0].shard;
    for (uint32_t n = 0; n < CLIENTS; n++) {
        const size_t length = write_syn(bytes, n, n);
        bytes[ETHERNET_HEADER + IPV4_HEADER + 13] = TCP_ACK;
        frame_fix_checksums(bytes);
        receive(OUTSIDE, 0, bytes, length);
    }
    run(r, 20);
    receive(INSIDE, 0, nothing, sizeof nothing);
    run(r, 2);
    assert_int_equal(counted(r, VERDICT_ACK_NO_FLOW), CLIENTS);
    assert_true(shard->strays && r->worker[1].shard->strays);
    for (uint32_t n = 0; n < CLIENTS; n++)
        push(n, n, 0); /* nor do SYNs */
    run(r, 20);
    assert_true(shard->strays && r->worker[1].shard->strays);
    for (uint32_t n = 0; n < CLIENTS; n++) {
        const size_t length = write_syn(bytes, n, n);
        bytes[ETHERNET_HEADER + IPV4_HEADER + 13] = TCP_ACK | TCP_FIN;
        frame_fix_checksums(bytes);
        receive(OUTSIDE, 0, bytes, length);
    }
    run(r, 20);
    assert_false(shard->strays || r->worker[1].shard->strays);
    for (struct rte_mbuf *answer; rte_ring_dequeue(out[OUTSIDE][0], (void **)&answer) == 0;)
        rte_pktmbuf_free(answer);
    rig_free(r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_frame_is_decided_by_its_clients_worker_and_leaves_in_order),
        cmocka_unit_test(two_workers_share_two_ports_with_one_queue_each),
        cmocka_unit_test(with_a_queue_for_each_worker_nothing_is_sent_by_others),
        cmocka_unit_test(what_a_full_ring_does_not_take_is_counted_and_freed),
        cmocka_unit_test(a_flood_outside_loses_nothing_that_backends_send_to_the_same_worker),
        cmocka_unit_test(syns_over_their_sources_rate_are_dropped_before_they_are_handed_over),
        cmocka_unit_test(an_allowed_source_is_handed_over_however_much_it_sends),
        cmocka_unit_test(what_the_port_has_verified_stays_verified),
        cmocka_unit_test(a_frame_is_of_the_side_where_it_was_received),
        cmocka_unit_test(a_tagged_frame_goes_to_its_clients_worker_and_the_answer_is_tagged),
        cmocka_unit_test(an_error_goes_to_the_worker_of_the_client_that_it_quotes),
        cmocka_unit_test(neighbors_are_answered_by_the_first_worker_within_the_vlan),
        cmocka_unit_test(extension_headers_lead_no_client_to_another_worker),
        cmocka_unit_test(what_is_dropped_goes_back_to_its_pool_unless_somebody_else_holds_it),
        cmocka_unit_test(a_flood_of_strays_stays_one_over_rounds_that_bring_nothing),
    };
    return cmocka_run_group_tests(tests, start_dpdk, NULL);
}
