/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026, the Dropgate authors
 *
 * What a second worker brings: SYNs of many clients written, steered, handed over where they are
 * the other's, and answered, by two threads on two processors against one on one, which needs no
 * steering. Beside it the same for two threads that only count: what the machine allows.
 *
 * A worker that has lost its processor to somebody else for a few milliseconds loses what is handed
 * to it meanwhile, and both rates say more about the scheduler than about us. So rounds are short,
 * and those in which a thread did not have its processor all the time are not counted. */
#include <err.h>
#include <rte_cycles.h>
#include <rte_ethdev.h>
#include <rte_launch.h>
#include <rte_lcore.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "dataplane/net/build.h"
#include "rig.h"

enum { WORKERS = 2, FRAMES = 4096, ROUNDS = 101, TRIES = 1500, ROUND_US = 1500, LEAST_ROUNDS = 5 };

static struct {
    uint32_t length;
    uint8_t bytes[RIG_FRAME];
} frames[FRAMES];

/* One side's part of a round. */
struct part {
    struct rig *rig;   /* NULL: only counts */
    uint64_t cycles;   /* how long */
    uint32_t *missing; /* threads that have not begun */
    uint64_t done;     /* SYNs answered, or counted */
    bool disturbed;    /* it did not have its processor all the time */
};

static void write_frames(void)
{
    for (uint32_t i = 0; i < FRAMES; i++) {
        struct segment syn = {
            .from = {{2, 0, 0, 0, 0, 9}},
            .to = {{2, 0, 0, 0, 0, 1}},
            .source = addr_from_v4(__builtin_bswap32(UINT32_C(0x0a000000) + i * 7919)),
            .source_port = 4000,
            .destination_port = 80,
            .seq = i,
            .window = 64240,
            .flags = TCP_SYN,
            .options = {
                .mss = 1460, .window_scale = 7, .sack_ok = true, .timestamps = true, .tsval = 1}};
        if (addr_parse("198.18.0.80", &syn.destination) != 0)
            errx(1, "the service has no address");
        frames[i].length = build_segment(frames[i].bytes, RIG_FRAME, &syn);
    }
}

static void receive_burst(struct rig *rig, uint32_t *next)
{
    struct rte_mbuf *mbufs[WORKER_BURST];
    struct worker *worker = rig_worker(rig);
    if (rte_pktmbuf_alloc_bulk(worker->pool, mbufs, WORKER_BURST) != 0)
        errx(1, "packet buffers leak");
    for (int i = 0; i < WORKER_BURST; i++) {
        uint32_t n = (*next)++ % FRAMES;
        memcpy(rte_pktmbuf_mtod(mbufs[i], void *), frames[n].bytes, RIG_FRAME);
        mbufs[i]->data_len = (uint16_t)frames[n].length;
        mbufs[i]->pkt_len = frames[n].length;
    }
    worker_burst(worker, OUTSIDE, mbufs, WORKER_BURST);
}

static uint64_t count_until(uint64_t until)
{
    volatile uint64_t count = 0;
    while (rte_rdtsc() < until)
        for (int i = 0; i < 100; i++)
            count = count + 1;
    return count;
}

static uint64_t answer_until(struct rig *rig, uint64_t until)
{
    uint32_t next = rte_lcore_id() * FRAMES / WORKERS;
    struct worker *worker = rig_worker(rig);
    uint64_t before = worker->shard->verdicts[VERDICT_SYN_COOKIE];
    while (rte_rdtsc() < until) {
        rig_begin(rig);
        receive_burst(rig, &next);
        worker_take(worker);
        shard_tick(worker->shard);
        worker_flush(worker);
    }
    return worker->shard->verdicts[VERDICT_SYN_COOKIE] - before;
}

static double processor_seconds(void)
{
    struct timespec t;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

/* Until the time is over, on the calling thread; all threads begin together. */
static int run_part(void *argument)
{
    const double ALL = 0.98;
    struct part *part = argument;
    __atomic_sub_fetch(part->missing, 1, __ATOMIC_ACQ_REL);
    while (__atomic_load_n(part->missing, __ATOMIC_ACQUIRE) > 0)
        rte_pause();
    uint64_t begin = rte_rdtsc(), until = begin + part->cycles;
    double had = processor_seconds();
    part->done = part->rig == NULL ? count_until(until) : answer_until(part->rig, until);
    had = processor_seconds() - had;
    part->disturbed = had < ALL * (double)(rte_rdtsc() - begin) / rig_hz();
    return 0;
}

/* Events per second of one thread, or of two on a processor each. */
static double run_round(struct rig *const rigs[], uint32_t threads, bool *disturbed)
{
    struct part parts[WORKERS] = {0};
    uint32_t missing = threads;
    uint64_t cycles = (uint64_t)(rig_hz() * ROUND_US / 1e6);
    unsigned other = rte_get_next_lcore(rte_get_main_lcore(), 1, 0);
    for (uint32_t i = 0; i < threads; i++)
        parts[i] = (struct part){.rig = rigs[i], .cycles = cycles, .missing = &missing};
    if (threads == 2 && rte_eal_remote_launch(run_part, &parts[1], other) != 0)
        errx(1, "the second processor is not ours");
    run_part(&parts[0]);
    rte_eal_wait_lcore(other);
    *disturbed = parts[0].disturbed || parts[1].disturbed;
    return (double)(parts[0].done + parts[1].done) * 1e6 / ROUND_US;
}

/* Rates of up to ROUNDS rounds, of the undisturbed ones unless `all` count. */
struct rates {
    double value[ROUNDS];
    int count;
};

static void play_round(struct rig *const rigs[], uint32_t threads, bool all, struct rates *rates)
{
    bool disturbed;
    if (rates->count == ROUNDS)
        return;
    double rate = run_round(rigs, threads, &disturbed);
    if (all || !disturbed)
        rates->value[rates->count++] = rate;
}

static double ratio(struct rig *const one[], struct rig *const two[], const char *what)
{
    struct rates alone, both;
    bool all = false;
    do {
        alone.count = both.count = 0;
        for (int i = 0; i < TRIES && (alone.count < ROUNDS || both.count < ROUNDS); i++) {
            play_round(one, 1, all, &alone);
            play_round(two, 2, all, &both);
        }
        all = !all;
    } while (all && (alone.count < LEAST_ROUNDS || both.count < LEAST_ROUNDS));
    double single = rig_median(alone.value, alone.count), pair = rig_median(both.value, both.count);
    printf("%-20s %12.2f times one thread's %.1f M/s%s\n", what, pair / single, single / 1e6,
           all ? "" : " (others were on the processors all the time)");
    return pair / single;
}

static void connect_pair(struct rig *const rigs[], struct steer *steer)
{
    struct handover *ends[WORKERS];
    uint8_t key[STEER_KEY];
    for (int i = 0; i < STEER_KEY; i++)
        key[i] = (uint8_t)(i * 89 + 17);
    steer_init(steer, key, WORKERS, NULL, 0);
    for (int i = 0; i < WORKERS; i++) {
        rig_worker(rigs[i])->steer = steer;
        ends[i] = &rig_worker(rigs[i])->handover;
    }
    if (handover_connect(ends, WORKERS, rig_worker(rigs[0])->ports) != 0)
        errx(1, "no memory for rings");
}

int main(int argc, char **argv)
{
    static struct steer steer;
    if (argc != 2)
        errx(2, "usage: workers FILE.json");
    FILE *json = fopen(argv[1], "w");
    if (json == NULL)
        err(1, "%s", argv[1]);
    rig_start("0,1", WORKERS);
    write_frames();
    struct rig *one[1] = {rig_new(1024)}, *two[WORKERS] = {rig_new(1024), rig_new(1024)};
    struct rig *nobody[WORKERS] = {NULL, NULL};
    connect_pair(two, &steer);
    double workers = ratio(one, two, "workers_2_over_1");
    double spin = ratio(nobody, nobody, "spin_2_over_1");
    const struct worker *pair[WORKERS] = {rig_worker(two[0]), rig_worker(two[1])};
    if (pair[0]->handover.given == 0 || pair[1]->handover.given == 0)
        errx(1, "nothing was handed over");
    fprintf(json, "{\"workers_2_over_1\": %.3f, \"spin_2_over_1\": %.3f}\n", workers, spin);
    return fclose(json) == 0 ? 0 : 1;
}
