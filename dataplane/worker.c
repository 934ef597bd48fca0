/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026, the Dropgate authors
 *
 * The packet path begins here. One loop: read the policy and the clock once, take a burst from each
 * of its queues, hand the frames of others' clients over to them and take what they hand over, let
 * the shard decide about each frame, send what it decided, run timers, report a quiescent state.
 * Nothing in it blocks, locks, logs, allocates or makes a system call, but for the drivers, and for
 * the sleep when there is nothing to do. */
#include "dataplane/worker.h"

#include <rte_cycles.h>
#include <rte_ethdev.h>
#include <rte_lcore.h>
#include <rte_pause.h>
#include <time.h>
#include <urcu/urcu-qsbr.h>

#include "dataplane/net/vlan_mbuf.h"

/* From each ring of another worker in one round, more than it fills in one of its own: what was
 * received and steered already goes before what is new, so a worker that was away catches up, and
 * when all is too much it is the port that drops, which costs nothing. */
enum { BURSTS_OF_ANOTHER = 4 };

uint64_t worker_clock_ms(void)
{
    uint64_t hz = rte_get_tsc_hz(), tsc = rte_rdtsc();
    return tsc / hz * 1000 + tsc % hz * 1000 / hz;
}

static void send_burst(struct worker *worker, enum port_side side, struct rte_mbuf **mbufs,
                       uint16_t count)
{
    uint16_t sent =
        rte_eth_tx_burst(worker->ports[side].id, worker->handover.port[side].queue, mbufs, count);
    worker->sent[side] += sent;
    if (sent < count) {
        rte_pktmbuf_free_bulk(mbufs + sent, count - sent);
        worker->shard->verdicts[VERDICT_TX_FULL] += (uint64_t)(count - sent);
    }
}

static void flush(struct worker *worker, enum port_side side)
{
    uint16_t count = worker->tx[side].count;
    if (count == 0)
        return;
    if (worker->handover.port[side].ring == NULL)
        send_burst(worker, side, worker->tx[side].mbufs, count);
    else
        worker->shard->verdicts[VERDICT_HANDOVER_FULL] +=
            handover_send(&worker->handover, side, worker->tx[side].mbufs, count);
    worker->tx[side].count = 0;
}

/* What others decided and only our queue can send. */
static uint32_t send_for_others(struct worker *worker, enum port_side side)
{
    struct rte_mbuf *mbufs[WORKER_BURST];
    uint32_t work = 0;
    for (uint32_t i = 0; i < worker->handover.port[side].from_count; i++) {
        uint32_t count = WORKER_BURST;
        for (int burst = 0; burst < BURSTS_OF_ANOTHER && count == WORKER_BURST; burst++) {
            count = rte_ring_sc_dequeue_burst(worker->handover.port[side].from[i], (void **)mbufs,
                                              WORKER_BURST, NULL);
            if (count != 0)
                send_burst(worker, side, mbufs, (uint16_t)count);
            work += count;
        }
    }
    return work;
}

static inline __attribute__((always_inline)) void
transmit(struct worker *worker, enum port_side side, struct rte_mbuf *mbuf)
{
    if (!vlan_put_mbuf(&worker->ports[side].vlan, mbuf)) {
        shard_count(worker->shard, VERDICT_NO_BUFFER);
        rte_pktmbuf_free(mbuf);
        return;
    }
    if (worker->tx[side].count == WORKER_BURST)
        flush(worker, side);
    worker->tx[side].mbufs[worker->tx[side].count++] = mbuf;
}

/* A shard's frame beside the one in hand. */
static void output_send(void *context, enum port_side to, const uint8_t *bytes, uint32_t length)
{
    struct worker *worker = context;
    struct rte_mbuf *mbuf = rte_pktmbuf_alloc(worker->pool);
    char *room = mbuf != NULL ? rte_pktmbuf_append(mbuf, (uint16_t)length) : NULL;
    if (room == NULL) {
        rte_pktmbuf_free(mbuf);
        shard_count(worker->shard, VERDICT_NO_BUFFER);
        return;
    }
    memcpy(room, bytes, length);
    transmit(worker, to, mbuf);
}

static void output_tell(void *context, const struct message *message)
{
    struct worker *worker = context;
    if (rte_ring_sp_enqueue_elem(worker->messages, (void *)(uintptr_t)message, sizeof *message) !=
        0)
        shard_count(worker->shard, VERDICT_RING_FULL);
}

struct shard_output worker_output(struct worker *worker)
{
    return (struct shard_output){output_send, output_tell, worker};
}

static unsigned checked_by_port(const struct port *port, const struct rte_mbuf *mbuf)
{
    unsigned checked = 0;
    if (port->ip_good && (mbuf->ol_flags & RTE_MBUF_F_RX_IP_CKSUM_MASK) == port->ip_good)
        checked |= PACKET_IP_CHECKED;
    if (port->tcp_good && (mbuf->ol_flags & RTE_MBUF_F_RX_L4_CKSUM_MASK) == port->tcp_good)
        checked |= PACKET_TCP_CHECKED;
    return checked;
}

/* Field by field where it is read: a copy of the whole would wait for its parts. */
static void describe(struct frame *frame, const struct worker *worker, enum port_side side,
                     struct rte_mbuf *mbuf)
{
    frame->bytes = rte_pktmbuf_mtod(mbuf, uint8_t *);
    frame->room = (uint32_t)mbuf->buf_len - mbuf->data_off;
    frame->length = mbuf->data_len;
    frame->side = (uint8_t)side;
    frame->checked = (uint8_t)checked_by_port(&worker->ports[side], mbuf);
}

/* Whether nobody else holds the buffer, nor it another: it may go back to its pool as it is. */
static bool is_plain(const struct rte_mbuf *mbuf, const struct rte_mempool *pool)
{
    return mbuf->pool == pool && mbuf->nb_segs == 1 && rte_mbuf_refcnt_read(mbuf) == 1 &&
           RTE_MBUF_DIRECT(mbuf);
}

/* Frees buffers. Those that are plain, as nearly all are, go back side by side, and unlike in
 * rte_pktmbuf_free_bulk without a look at their second cache lines. */
static void drop(struct worker *worker, struct rte_mbuf **mbufs, unsigned count)
{
    unsigned plain = 0;
    for (unsigned i = 0; i < count; i++) {
        if (is_plain(mbufs[i], worker->pool))
            mbufs[plain++] = mbufs[i];
        else
            rte_pktmbuf_free(mbufs[i]);
    }
    if (plain != 0)
        rte_mempool_put_bulk(worker->pool, (void **)mbufs, plain);
}

/* Whether the lists say that a source may send as much as it likes. */
static bool is_uncounted(const struct lists *lists, const uint8_t *source, bool v4)
{
    uint32_t four;
    memcpy(&four, source, sizeof four);
    const struct addr addr = v4 ? addr_from_v4(four) : addr_from_v6(source);
    return lists_find(lists, &addr, v4).flags & LISTED_UNCOUNTED;
}

/* Whether another's frame is a SYN of a source that has sent us too many: that can be said here,
 * and saves both of us the hand-over. Its owner counts the others again, with what came to it by
 * other queues. */
static bool is_excess(struct worker *worker, enum port_side side, const struct rte_mbuf *mbuf)
{
    struct guard *guard = &worker->shard->guard;
    bool v4;
    const uint8_t *source =
        side == OUTSIDE
            ? steer_syn_source(rte_pktmbuf_mtod(mbuf, const uint8_t *), mbuf->data_len, &v4)
            : NULL;
    return source != NULL && !guard_source(guard, guard_source_hash(guard, source, v4)) &&
           !is_uncounted(worker->shard->lists, source, v4);
}

/* What becomes of a received frame here: FORWARDED, it is ours to decide about; STAGED, it is on
 * its way to its owner; else the reason to drop it. VLAN tags are off. */
enum { STAGED = VERDICT_COUNT };

static unsigned take_in(struct worker *worker, enum port_side side, struct rte_mbuf *mbuf)
{
    if (mbuf->nb_segs != 1)
        return VERDICT_MULTI_SEGMENT; /* the shard reads one piece of memory */
    enum verdict verdict = vlan_take_mbuf(&worker->ports[side].vlan, mbuf);
    if (verdict != VERDICT_FORWARDED || worker->steer == NULL)
        return verdict;
    uint32_t owner =
        steer_frame(worker->steer, side, rte_pktmbuf_mtod(mbuf, const uint8_t *), mbuf->data_len);
    if (owner == worker->handover.index || owner == STEER_NOBODY)
        return VERDICT_FORWARDED;
    if (is_excess(worker, side, mbuf))
        return VERDICT_SOURCE_RATE;
    handover_stage(&worker->handover, owner, side, mbuf);
    return STAGED;
}

/* The shard decides; `frames` describe the buffers. */
static void decide(struct worker *worker, struct frame *frames, struct rte_mbuf **mbufs,
                   uint16_t count)
{
    struct rte_mbuf *dropped[WORKER_BURST];
    unsigned drops = 0;
    shard_burst(worker->shard, frames, count);
    for (uint16_t i = 0; i < count; i++) {
        if (frames[i].to == PORT_NONE) {
            dropped[drops++] = mbufs[i];
            continue;
        }
        mbufs[i]->data_len = (uint16_t)frames[i].length;
        mbufs[i]->pkt_len = frames[i].length;
        mbufs[i]->ol_flags = 0;
        transmit(worker, frames[i].to, mbufs[i]);
    }
    drop(worker, dropped, drops);
}

void worker_burst(struct worker *worker, enum port_side side, struct rte_mbuf **mbufs,
                  uint16_t count)
{
    struct frame frames[WORKER_BURST];
    struct rte_mbuf *refused[WORKER_BURST];
    unsigned refusals = 0;
    uint16_t ours = 0;
    worker->received[side] += count;
    for (uint16_t i = 0; i < count; i++)
        rte_prefetch0(rte_pktmbuf_mtod(mbufs[i], void *));
    for (uint16_t i = 0; i < count; i++) {
        unsigned outcome = take_in(worker, side, mbufs[i]);
        if (outcome == VERDICT_FORWARDED) {
            describe(&frames[ours], worker, side, mbufs[i]);
            mbufs[ours++] = mbufs[i];
        } else if (outcome != STAGED) {
            shard_count(worker->shard, (enum verdict)outcome);
            refused[refusals++] = mbufs[i];
        }
    }
    drop(worker, refused, refusals);
    if (worker->steer != NULL)
        worker->shard->verdicts[VERDICT_HANDOVER_FULL] += handover_deliver(&worker->handover, side);
    decide(worker, frames, mbufs, ours);
}

/* A burst from another; returns how many frames. */
static uint16_t take_burst(struct worker *worker, uint32_t from)
{
    struct frame frames[WORKER_BURST];
    struct rte_mbuf *mbufs[WORKER_BURST];
    uint16_t count = handover_take(&worker->handover, from, mbufs);
    for (uint16_t i = 0; i < count; i++) /* all of it lies in another processor's cache */
        rte_prefetch0(mbufs[i]);
    for (uint16_t i = 0; i < count; i++)
        rte_prefetch0(rte_pktmbuf_mtod(mbufs[i], void *));
    for (uint16_t i = 0; i < count; i++)
        describe(&frames[i], worker, (enum port_side)mbufs[i]->port, mbufs[i]);
    decide(worker, frames, mbufs, count);
    return count;
}

uint32_t worker_take(struct worker *worker)
{
    uint32_t work = 0;
    for (uint32_t from = 0; from < worker->handover.workers; from++) {
        uint16_t count = worker->handover.from[from] != NULL ? WORKER_BURST : 0;
        for (int burst = 0; burst < BURSTS_OF_ANOTHER && count == WORKER_BURST; burst++) {
            count = take_burst(worker, from);
            work += count;
        }
    }
    return work;
}

static uint32_t receive(struct worker *worker, enum port_side side)
{
    struct rte_mbuf *mbufs[WORKER_BURST];
    const struct port *port = &worker->ports[side];
    uint32_t work = 0;
    for (uint32_t queue = worker->handover.port[side].rx_first; queue < port->rx_queues;
         queue += worker->handover.workers) {
        uint16_t count = rte_eth_rx_burst(port->id, (uint16_t)queue, mbufs, WORKER_BURST);
        worker_burst(worker, side, mbufs, count);
        work += count;
    }
    return work;
}

void worker_flush(struct worker *worker)
{
    flush(worker, OUTSIDE);
    flush(worker, INSIDE);
}

static void take_commands(struct worker *worker)
{
    struct command command;
    for (int i = 0; i < WORKER_BURST; i++) {
        if (rte_ring_sc_dequeue_elem(worker->commands, &command, sizeof command) != 0)
            return;
        transmit(worker, (enum port_side)command.side, command.mbuf);
    }
}

/* The policy and the clock, once per round. The wall clock is read once a second (through
 * the vDSO). */
static void begin(struct worker *worker)
{
    enum { EPOCH_MS = 1000 };
    uint64_t now = worker_clock_ms();
    if (worker->epoch_ms == 0 || now - worker->epoch_read_ms >= EPOCH_MS) {
        struct timespec wall;
        clock_gettime(CLOCK_REALTIME, &wall);
        worker->epoch_ms = (uint64_t)wall.tv_sec * 1000 + (uint64_t)wall.tv_nsec / 1000000 - now;
        worker->epoch_read_ms = now;
    }
    shard_begin(worker->shard, rcu_dereference(worker->policy->row), now, worker->epoch_ms + now);
}

/* Nothing came: spin a little, then sleep, longer the longer nothing comes, up to a millisecond. */
static void rest(const struct worker *worker, uint32_t idle)
{
    static const struct {
        uint32_t loops; /* idle loops before the next row */
        long sleep_ns;
    } rows[] = {{4000, 20000}, {8000, 250000}, {UINT32_MAX, 1000000}};
    enum { SPINS = 2000 };
    if (worker->poll || idle < SPINS) {
        rte_pause();
        return;
    }
    unsigned row = 0;
    while (idle >= rows[row].loops && row < 2)
        row++;
    struct timespec nap = {.tv_nsec = rows[row].sleep_ns};
    urcu_qsbr_thread_offline();
    nanosleep(&nap, NULL);
    urcu_qsbr_thread_online();
}

uint32_t worker_round(struct worker *worker)
{
    begin(worker);
    uint32_t work = receive(worker, OUTSIDE);
    work += receive(worker, INSIDE);
    work += worker_take(worker);
    work += shard_tick(worker->shard);
    take_commands(worker);
    worker_flush(worker);
    work += send_for_others(worker, OUTSIDE);
    work += send_for_others(worker, INSIDE);
    return work;
}

int worker_run(void *argument)
{
    struct worker *worker = argument;
    uint32_t idle = 0;
    urcu_qsbr_register_thread();
    while (!__atomic_load_n(worker->stop, __ATOMIC_RELAXED)) {
        uint32_t work = worker_round(worker);
        urcu_qsbr_quiescent_state();
        if (work) {
            worker->busy_loops++;
            idle = 0;
        } else {
            worker->idle_loops++;
            rest(worker, idle);
            idle += idle < UINT32_MAX;
        }
    }
    urcu_qsbr_unregister_thread();
    return 0;
}
