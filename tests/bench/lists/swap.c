/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026, the Dropgate authors
 *
 * The real worker, shard and builder. The worker's packets are SYNs, of random sources or of listed
 * ones; a hundred thousand open flows wait to be looked up again after each swap. */
#include "swap.h"

#include <err.h>
#include <pthread.h>
#include <rte_cycles.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <urcu/urcu-qsbr.h>

#include "dataplane/net/build.h"
#include "dataplane/ops/builder.h"
#include "tests/bench/pipeline/rig.h"
#include "tests/unit/random.h"

enum { SOURCES = 1 << 20, ROUNDS = 101, FLOWS = 100000 };

/* ---- SYNs ---- */

struct syns {
    uint8_t frame[RIG_FRAME];
    uint32_t length;
    struct addr *source;
};

static struct syns syns_new(void)
{
    struct segment syn = {
        .from = {{2, 0, 0, 0, 0, 9}},
        .to = {{2, 0, 0, 0, 0, 1}},
        .source_port = 40000,
        .destination_port = 80,
        .seq = 1000,
        .window = 64240,
        .flags = TCP_SYN,
        .options = {
            .mss = 1460, .window_scale = 7, .sack_ok = true, .timestamps = true, .tsval = 1}};
    struct syns syns = {.source = malloc(SOURCES * sizeof *syns.source)};
    if (syns.source == NULL || addr_parse("198.18.0.80", &syn.destination) != 0 ||
        addr_parse("192.0.2.1", &syn.source) != 0)
        errx(1, "no memory");
    syns.length = build_segment(syns.frame, sizeof syns.frame, &syn);
    return syns;
}

static void syns_from_anywhere(struct syns *syns)
{
    struct random random = {7};
    for (int i = 0; i < SOURCES; i++)
        syns->source[i] = addr_from_v4(htobe32(0x01000000 + random_below(&random, 120U << 24)));
}

static void syns_from_the_listed(struct syns *syns, const struct mix *mix)
{
    struct random random = {8};
    for (int i = 0; i < SOURCES; i++)
        syns->source[i] = mix->prefix[random_below(&random, mix->count)].base;
}

/* The port is said to have verified the checksums. */
static uint32_t write_syn(void *context, uint64_t n, uint8_t *frame)
{
    const struct syns *syns = context;
    const uint32_t source = addr_v4(&syns->source[n % SOURCES]);
    memcpy(frame, syns->frame, RIG_FRAME);
    memcpy(frame + ETHERNET_HEADER + 12, &source, sizeof source);
    return syns->length;
}

/* ---- lists ---- */

struct plan {
    struct lists_source source[2];
    const struct lists *previous;
    uint16_t generation;
};

static struct plan plan_of(const struct mix mix[2])
{
    return (struct plan){
        .source = {{.name = "v6", .prefixes = mix[0].prefix, .count = mix[0].count},
                   {.name = "v4", .prefixes = mix[1].prefix, .count = mix[1].count}},
        .generation = 1};
}

static void *build(const void *argument)
{
    const struct plan *plan = argument;
    struct lists *lists;
    if (lists_build(plan->source, 2, plan->previous, plan->generation, &lists) != 0)
        errx(1, "no lists");
    return lists;
}

/* ---- what a packet costs ---- */

static void put_walk(const char *name, struct rig *rig, struct syns *syns, put_figure *put)
{
    const struct rig_result result = rig_measure(rig, OUTSIDE, write_syn, syns, ROUNDS);
    printf("%-28s %8.1f cycles/packet (best %6.1f)\n", name, result.cycles, result.best);
    put(name, "cycles", result.cycles);
}

void bench_walk(const struct mix mix[2], put_figure *put)
{
    struct syns syns = syns_new();
    struct rig *rig = rig_new(1000);
    struct policy row = *rig_policy(rig)->row;
    const struct plan plan = plan_of(mix);
    struct lists *lists = build(&plan);
    rig_port_checks(rig);
    syns_from_anywhere(&syns);
    put_walk("syn_without_lists", rig, &syns, put);
    row.lists = lists;
    rig_policy(rig)->row = &row;
    put_walk("syn_with_lists", rig, &syns, put);
    syns_from_the_listed(&syns, &mix[1]);
    put_walk("syn_denied", rig, &syns, put);
    rig_free(rig);
    lists_free(lists);
    free(syns.source);
}

/* ---- swaps ---- */

/* Open flows, as far as their look-up goes; of clients in no list. */
static void fill_flows(struct shard *shard)
{
    struct random random = {9};
    for (int i = 0; i < FLOWS; i++) {
        struct flow *flow = flow_reserve(shard->flows);
        flow->client = addr_from_v4(htobe32(0xe0000000 + random_below(&random, 1 << 24)));
        flow->client_port = (uint16_t)(1 + i % 60000);
        flow->state = FLOW_ESTABLISHED;
        flow->account = CLIENT_NOBODY;
        flow->held = HELD_NONE;
        flow_publish(shard->flows, flow);
    }
}

static struct builder *start_builder(struct policy_slot *slot)
{
    cpu_set_t mine, other;
    pthread_getaffinity_np(pthread_self(), sizeof mine, &mine);
    CPU_ZERO(&other);
    CPU_SET(0, &other);
    pthread_setaffinity_np(pthread_self(), sizeof other, &other); /* the builder inherits it */
    struct builder *builder = builder_start(slot);
    pthread_setaffinity_np(pthread_self(), sizeof mine, &mine);
    if (builder == NULL)
        errx(1, "no builder");
    return builder;
}

/* What a worker went through. Packets come at a rate, and wait in a queue like a port's. */
struct run {
    double rate; /* packets per cycle; 0: as many as it can take */
    double waiting;
    uint64_t lost, served, longest, longer[3]; /* gaps of more than 20, 50 and 100 µs */
};

enum { QUEUE = 1024, PIECES = 10 };

static uint32_t arrivals(struct run *run, uint64_t gap)
{
    if (run->rate == 0)
        return WORKER_BURST;
    run->waiting += run->rate * (double)gap;
    if (run->waiting > QUEUE) {
        run->lost += (uint64_t)(run->waiting - QUEUE);
        run->waiting = QUEUE;
    }
    const uint32_t count = run->waiting < WORKER_BURST ? (uint32_t)run->waiting : WORKER_BURST;
    run->waiting -= count;
    return count;
}

static void note_gap(struct run *run, uint64_t gap)
{
    static const double limits_us[3] = {20, 50, 100};
    run->longest = gap > run->longest ? gap : run->longest;
    for (int i = 0; i < 3; i++)
        run->longer[i] += (double)gap > limits_us[i] * rig_hz() / 1e6;
}

#define PIECE_S 0.4 /* of a run, and what a swap has for itself */

/* A piece of a run, after a nap: a thread of real-time priority that never rests is made to (50 ms
 * in each second), and that would be the longest gap of all. */
static void run_piece(struct rig *rig, struct syns *syns, struct run *run)
{
    urcu_qsbr_thread_offline();
    usleep(60000);
    urcu_qsbr_thread_online();
    const uint64_t begin = rte_rdtsc(), end = begin + (uint64_t)(PIECE_S * rig_hz());
    for (uint64_t last = begin, now = begin; now < end; last = now) {
        now = rte_rdtsc();
        note_gap(run, now - last);
        const uint32_t count = arrivals(run, now - last);
        rig_burst(rig, OUTSIDE, write_syn, syns, count);
        run->served += count;
        urcu_qsbr_quiescent_state();
    }
}

static void show_run(const char *name, const struct run *run, put_figure *put)
{
    const double us = 1e6 / rig_hz(), seconds = PIECES * PIECE_S;
    printf("%-28s %6.2f Mpps, longest gap %8.1f us, gaps > 20/50/100 us: %lu/%lu/%lu, lost %lu\n",
           name, (double)run->served / seconds / 1e6, (double)run->longest * us, run->longer[0],
           run->longer[1], run->longer[2], run->lost);
    put(name, "mpps", (double)run->served / seconds / 1e6);
    put(name, "longest_gap_us", (double)run->longest * us);
    put(name, "lost", (double)run->lost);
}

/* A swap in each piece, by the builder; each frees the lists before. */
static void run_swaps(struct rig *rig, struct syns *syns, struct builder *builder,
                      const struct mix mix[2], struct run *run)
{
    static uint16_t generation = 1;
    for (int i = 0; i < PIECES; i++) {
        struct plan *plan = malloc(sizeof *plan);
        if (plan == NULL)
            errx(1, "no memory");
        *plan = plan_of(mix);
        plan->generation = generation = lists_next(generation);
        if (builder_build(builder, PART_LISTS, build, plan) != 0)
            errx(1, "no memory");
        run_piece(rig, syns, run);
        if (lists_generation(rig_policy(rig)->row->lists) != generation)
            warnx("a swap takes longer than its piece of the run");
    }
}

void bench_swap(const struct mix mix[2], put_figure *put)
{
    struct syns syns = syns_new();
    struct rig *rig = rig_new(2 * FLOWS);
    struct policy parts = *rig_policy(rig)->row;
    const struct plan plan = plan_of(mix);
    parts.lists = build(&plan);
    rig_policy(rig)->row = builder_first_row(&parts);
    rig_port_checks(rig);
    fill_flows(rig_shard(rig));
    syns_from_anywhere(&syns);
    urcu_qsbr_register_thread();
    struct builder *builder = start_builder(rig_policy(rig));
    struct run full = {0}, quiet = {0}, swapped = {0};
    for (int i = 0; i < PIECES; i++)
        run_piece(rig, &syns, &full);
    quiet.rate = swapped.rate = (double)full.served / (PIECES * PIECE_S) / rig_hz() / 2;
    for (int i = 0; i < PIECES; i++)
        run_piece(rig, &syns, &quiet);
    run_swaps(rig, &syns, builder, mix, &swapped);
    show_run("full_load", &full, put);
    show_run("half_load", &quiet, put);
    show_run("half_load_with_swaps", &swapped, put);
    urcu_qsbr_thread_offline();
    builder_stop(builder);
    urcu_qsbr_unregister_thread();
    free(syns.source);
}
