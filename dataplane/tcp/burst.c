/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026, the Dropgate authors
 *
 * The packet walk begins here. A burst goes through it in stages, each over all of its packets:
 *
 *   sort     parsed; its service or backend found; bogons, strangers and the malformed go; tuples
 *            are hashed, side by side, and the buckets that they name are fetched
 *   judge    SYNs are counted against their sources and networks
 *   promise  cookies and timestamps for all SYNs that may be answered, side by side
 *   fetch    the flows that the buckets name
 *   decide   one after the other, in the order in which they came
 *
 * Only the last one changes anything, but for the counts of SYNs, so the outcome is that of single
 * packets; the others see to it that nobody waits for memory or for one long chain of operations.
 * A SYN has no need of flows: whatever its connection is in, it gets a cookie (states.c).
 */
#include <assert.h>

#include "dataplane/net/extension.h"
#include "dataplane/net/steer.h"
#include "dataplane/tcp/shard.h"

_Static_assert((int)SHARD_BURST <= (int)SIPHASH_BATCH, "a burst is hashed at once");

struct burst {
    struct sorted sorted[SHARD_BURST];
    struct flow_batch tuples;
    struct cookie_batch cookies;
    uint32_t syns;
    uint8_t syn[SHARD_BURST]; /* which of the packets are SYNs to a service */
};

/* Reads the frame. What stands between IPv6 and TCP is removed, or names why the packet goes. */
static enum verdict parse(struct shard *shard, struct frame *frame, struct packet *packet)
{
    enum verdict verdict = packet_parse(frame->bytes, frame->length, frame->checked, packet);
    if (__builtin_expect(verdict != VERDICT_IPV6_EXTENSION, true))
        return verdict;
    verdict = extension_remove(frame->bytes, &frame->length);
    if (verdict != VERDICT_FORWARDED)
        return verdict;
    shard_count(shard, VERDICT_IPV6_PADDING);
    return packet_parse(frame->bytes, frame->length, 0, packet);
}

/* What can be said without looking at memory that may be cold. */
static enum verdict sort_frame(struct shard *shard, struct frame *frame, struct sorted *sorted)
{
    frame->to = PORT_NONE;
    sorted->for_flow = false;
    sorted->for_cookie = false;
    enum verdict verdict = parse(shard, frame, &sorted->packet);
    if (verdict == VERDICT_FORWARDED && (frame->bytes[6] & 1))
        return VERDICT_BOGON; /* from a group: an answer would go to everybody */
    if (verdict != VERDICT_FORWARDED || sorted->packet.kind != PACKET_TCP)
        return verdict;
    if (!shard_addressed(shard, frame))
        return VERDICT_NOT_FOR_US;
    return frame->side == OUTSIDE ? outside_sort(shard, sorted) : inside_sort(shard, sorted);
}

static bool is_syn(const struct packet *packet)
{
    return (packet->flags & (TCP_SYN | TCP_ACK)) == TCP_SYN;
}

/* A client's packet: what it will be looked up and counted by. */
static void sort_client(const struct shard *shard, struct burst *burst, uint32_t number)
{
    struct sorted *sorted = &burst->sorted[number];
    const struct packet *packet = &sorted->packet;
    sorted->source = guard_source_of(&shard->guard, &packet->source, packet->v4);
    if (!is_syn(packet)) {
        flow_batch_add(&burst->tuples, number, &packet->source, packet->source_port);
        return;
    }
    sorted->for_flow = false;
    sorted->for_cookie = true;
    sorted->network = guard_network_of(&shard->guard, &packet->source, packet->v4);
    guard_fetch_source(&shard->guard, sorted->source);
    guard_fetch_network(&shard->guard, sorted->network);
    burst->syn[burst->syns++] = (uint8_t)number;
}

/* Sorts the frames from `first` up to `end`, and lists the tuples whose flows are to be found. */
static void sort_some(struct shard *shard, struct burst *burst, struct frame *frames,
                      uint32_t first, uint32_t end)
{
    flow_batch_begin(&burst->tuples);
    for (uint32_t i = first; i < end; i++) {
        struct sorted *sorted = &burst->sorted[i];
        sorted->verdict = (uint8_t)sort_frame(shard, &frames[i], sorted);
        if (!sorted->for_flow)
            continue;
        if (frames[i].side == OUTSIDE)
            sort_client(shard, burst, i);
        else
            flow_batch_add(&burst->tuples, i, &sorted->packet.destination,
                           sorted->packet.destination_port);
    }
}

static void hash_some(const struct shard *shard, struct burst *burst, uint32_t first, uint32_t end)
{
    uint64_t hash[SIPHASH_BATCH];
    flow_batch_hash(shard->flows, &burst->tuples, hash);
    for (uint32_t i = first; i < end; i++) {
        if (!burst->sorted[i].for_flow)
            continue;
        burst->sorted[i].hash = hash[i];
        flow_prefetch(shard->flows, hash[i]);
    }
}

/* A few at a time, so that the buckets of some are on their way while the next are sorted. */
static void sort_burst(struct shard *shard, struct burst *burst, struct frame *frames,
                       uint32_t count)
{
    enum { AT_ONCE = 16 };
    burst->syns = 0;
    for (uint32_t first = 0; first < count; first += AT_ONCE) {
        uint32_t end = first + AT_ONCE < count ? first + AT_ONCE : count;
        sort_some(shard, burst, frames, first, end);
        hash_some(shard, burst, first, end);
    }
}

static void judge_burst(struct shard *shard, struct burst *burst)
{
    for (uint32_t i = 0; i < burst->syns; i++) {
        struct sorted *sorted = &burst->sorted[burst->syn[i]];
        sorted->verdict = (uint8_t)outside_judge(shard, sorted);
    }
}

static void promise_burst(struct shard *shard, struct burst *burst, const struct frame *frames)
{
    if (burst->syns == 0)
        return;
    cookie_batch_begin(&burst->cookies, shard->policy.keys, shard->unix_ms);
    for (uint32_t i = 0; i < burst->syns; i++) {
        struct sorted *sorted = &burst->sorted[burst->syn[i]];
        if (sorted->verdict == VERDICT_REFLECTION_RATE)
            sorted->verdict = (uint8_t)outside_again(shard, sorted);
        if (sorted->verdict == VERDICT_FORWARDED)
            outside_promise(shard, &frames[burst->syn[i]], sorted, &burst->cookies);
    }
    cookie_batch_finish(&burst->cookies);
}

static void fetch_burst(const struct shard *shard, const struct burst *burst,
                        const struct frame *frames, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        const struct sorted *sorted = &burst->sorted[i];
        if (sorted->for_flow &&
            !flow_prefetch_found(shard->flows, sorted->hash, sorted->packet.length != 0) &&
            frames[i].side == OUTSIDE)
            guard_fetch_source(&shard->guard, sorted->source);
    }
}

#ifndef NDEBUG
/* Whether the packet is this worker's: a client with two owners would have two of every limit. */
static bool is_ours(const struct shard *shard, const struct frame *frame,
                    const struct packet *packet)
{
    if (shard->steer == NULL || packet->kind != PACKET_TCP)
        return true;
    const struct addr *client = frame->side == OUTSIDE ? &packet->source : &packet->destination;
    return steer_client(shard->steer, (enum port_side)frame->side, client) == shard->index;
}
#endif

static enum verdict decide(struct shard *shard, struct frame *frame, const struct sorted *sorted)
{
    assert(is_ours(shard, frame, &sorted->packet));
    if (sorted->for_cookie)
        return outside_answer(frame, sorted);
    switch (sorted->packet.kind) {
    case PACKET_ARP: return local_arp(shard, frame, &sorted->packet);
    case PACKET_ICMP4:
    case PACKET_ICMP6: return local_icmp(shard, frame, &sorted->packet);
    default:
        return frame->side == OUTSIDE ? outside_packet(shard, frame, sorted)
                                      : inside_packet(shard, frame, sorted);
    }
}

void shard_burst(struct shard *shard, struct frame *frames, uint32_t count)
{
    struct burst burst;
    sort_burst(shard, &burst, frames, count);
    judge_burst(shard, &burst);
    promise_burst(shard, &burst, frames);
    fetch_burst(shard, &burst, frames, count);
    for (uint32_t i = 0; i < count; i++) {
        struct sorted *sorted = &burst.sorted[i];
        if (sorted->verdict == VERDICT_FORWARDED)
            sorted->verdict = (uint8_t)decide(shard, &frames[i], sorted);
        frames[i].verdict = sorted->verdict;
        shard->verdicts[sorted->verdict]++;
    }
}

enum verdict shard_packet(struct shard *shard, struct frame *frame, unsigned checked)
{
    frame->checked = (uint8_t)checked;
    shard_burst(shard, frame, 1);
    return (enum verdict)frame->verdict;
}
