/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026, the Dropgate authors
 *
 * The packet walk begins here. A burst goes through it in stages, each over all of its packets:
 *
 *   sort     plain SYNs are told apart, and in a flood of bare ACKs those (stray.c); all else is
 *            parsed, its service or backend found; bogons, strangers and the malformed go; tuples
 *            are hashed, side by side, and the buckets that they name are fetched
 *   judge    SYNs are looked up in the lists, and counted against their sources and networks
 *   lane     plain SYNs are answered, side by side (syn_lane.c)
 *   promise  cookies and timestamps for the other SYNs that may be answered, side by side
 *   fetch    the flows that the buckets name, a few packets ahead of the next stage
 *   decide   one after the other, in the order in which they came
 *
 * Only the last one changes anything, but for the counts of SYNs, so the outcome is that of single
 * packets; the others see to it that nobody waits for memory or for one long chain of operations.
 * A SYN has no need of flows: in whatever state its connection is, it gets a cookie and changes
 * nothing (states.c), so it does not matter whether it is answered before its turn.
 */
#include <assert.h>

#include "dataplane/net/extension.h"
#include "dataplane/net/steer.h"
#include "dataplane/tcp/shard.h"
#include "dataplane/tcp/stray.h"
#include "dataplane/tcp/syn_lane.h"

_Static_assert((int)SHARD_BURST <= (int)SIPHASH_BATCH, "a burst is hashed at once");

/* Beside the verdicts of a packet on its way: a bare ACK that most likely has no flow. */
enum { STRAY = VERDICT_COUNT };
_Static_assert(STRAY <= UINT8_MAX, "it stands where a verdict does");

/* A SYN to a service. */
struct syn {
    uint64_t source, network; /* hashes by which it is counted */
    uint8_t number;           /* of its packet in the burst */
    uint8_t general; /* and among those that go the general path, unless it is in the lane */
    uint8_t lane;    /* service in the lane; SYN_LANE_NONE: it goes the general path */
    bool asks;       /* its source may be listed or banned; only set where burst.asks is */
};

struct burst {
    uint32_t generals;            /* packets that go the general path, */
    uint8_t general[SHARD_BURST]; /* their numbers in the burst; and their descriptions, which
                                     need no look at the numbers to be found */
    struct sorted sorted[SHARD_BURST];
    uint32_t clients; /* of these are clients' and no SYNs */
    uint32_t asked;   /* so many of these have had the bucket of their flow asked for */
    struct flow_batch tuples;
    struct cookie_batch cookies;
    struct syn_lane lane;
    bool bans; /* there are some */
    bool asks; /* there are bans or lists */
    uint32_t syns;
    struct syn syn[SHARD_BURST]; /* in the order in which they came */
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

/* What can be said without looking at memory that may be cold. Inline, though called twice: the
 * second time is rare. */
static inline __attribute__((always_inline)) enum verdict
sort_frame(struct shard *shard, struct frame *frame, struct sorted *sorted)
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

#ifndef NDEBUG
/* Whether the client is this worker's: one with two owners would have two of every limit. */
static bool is_ours(const struct shard *shard, const struct frame *frame, const struct addr *client)
{
    return shard->steer == NULL ||
           steer_client(shard->steer, (enum port_side)frame->side, client) == shard->index;
}
#endif

static inline void add_syn(const struct shard *shard, struct burst *burst, uint32_t number,
                           uint32_t lane, const struct addr *source, bool v4)
{
    struct syn *syn = &burst->syn[burst->syns++];
    syn->source = guard_source_of(&shard->guard, source, v4);
    syn->network = guard_network_of(&shard->guard, source, v4);
    syn->number = (uint8_t)number;
    syn->lane = (uint8_t)lane;
    guard_fetch_source(&shard->guard, syn->source);
    guard_fetch_network(&shard->guard, syn->network);
    if (__builtin_expect(!burst->asks, true))
        return;
    if (shard->lists != NULL)
        lists_fetch(shard->lists, source, v4);
    if (burst->bans)
        clients_prefetch_ban(shard->clients, syn->source);
}

/* A client's packet: what it will be looked up and counted by. */
static void sort_client(const struct shard *shard, struct burst *burst, uint32_t k)
{
    struct sorted *sorted = &burst->sorted[k];
    const struct packet *packet = &sorted->packet;
    sorted->for_cookie = is_syn(packet);
    sorted->for_flow = !sorted->for_cookie;
    if (sorted->for_cookie) {
        burst->syn[burst->syns].general = (uint8_t)k;
        add_syn(shard, burst, burst->general[k], SYN_LANE_NONE, &packet->source, packet->v4);
        return;
    }
    burst->clients++;
    flow_batch_add(&burst->tuples, k, &packet->source, packet->source_port);
}

static void sort_general(struct shard *shard, struct burst *burst, struct frame *frame,
                         uint32_t number)
{
    const uint32_t k = burst->generals++;
    struct sorted *sorted = &burst->sorted[k];
    burst->general[k] = (uint8_t)number;
    sorted->verdict = (uint8_t)sort_frame(shard, frame, sorted);
    if (!sorted->for_flow)
        return;
    if (frame->side == OUTSIDE)
        sort_client(shard, burst, k);
    else
        flow_batch_add(&burst->tuples, k, &sorted->packet.destination,
                       sorted->packet.destination_port);
}

/* In a flood of bare ACKs: whether the frame is one, of which no more is known than its client. */
static __attribute__((noinline)) bool sort_stray(const struct shard *shard, struct burst *burst,
                                                 struct frame *frame, uint32_t number)
{
    struct addr client;
    uint16_t port;
    if (frame->side != OUTSIDE ||
        !stray_takes(shard->policy.services, burst->lane.to_us, frame, &client, &port))
        return false;
    assert(is_ours(shard, frame, &client));
    const uint32_t k = burst->generals++;
    struct sorted *sorted = &burst->sorted[k];
    burst->general[k] = (uint8_t)number;
    sorted->verdict = STRAY;
    sorted->for_flow = true;
    sorted->packet.length = 0;
    frame->to = PORT_NONE;
    burst->clients++;
    flow_batch_add(&burst->tuples, k, &client, port);
    return true;
}

/* Asks for the buckets of those up to `end`, which have been hashed. One at a time, between other
 * work: a bucket is a page that no translation is at hand for, and a processor walks few page
 * tables at once. */
static inline void ask_some(const struct shard *shard, struct burst *burst, uint32_t end)
{
    for (; burst->asked < end; burst->asked++)
        if (burst->sorted[burst->asked].for_flow)
            flow_prefetch(shard->flows, burst->sorted[burst->asked].hash);
}

/* Sorts the frames from `first` up to `end`, and lists the tuples whose flows are to be found. */
static void sort_some(struct shard *shard, struct burst *burst, struct frame *frames,
                      uint32_t first, uint32_t end)
{
    const uint32_t hashed = burst->generals;
    const bool strays = shard->strays;
    flow_batch_begin(&burst->tuples);
    for (uint32_t i = first; i < end; i++) {
        if (burst->asked < hashed)
            ask_some(shard, burst, burst->asked + 1);
        const uint32_t lane = frames[i].side == OUTSIDE
                                  ? syn_lane_takes(&burst->lane, shard, &frames[i])
                                  : SYN_LANE_NONE;
        if (lane == SYN_LANE_NONE) {
            if (!__builtin_expect(strays, false) || !sort_stray(shard, burst, &frames[i], i))
                sort_general(shard, burst, &frames[i], i);
            continue;
        }
        const bool v4 = burst->lane.service[lane].v4;
        const struct addr source = syn_lane_source(&frames[i], v4);
        assert(is_ours(shard, &frames[i], &source));
        add_syn(shard, burst, i, lane, &source, v4);
    }
}

static void hash_some(const struct shard *shard, struct burst *burst, uint32_t first)
{
    uint64_t hash[SIPHASH_BATCH];
    flow_batch_hash(shard->flows, &burst->tuples, hash);
    for (uint32_t k = first; k < burst->generals; k++) {
        if (!burst->sorted[k].for_flow)
            continue;
        burst->sorted[k].hash = hash[k];
    }
}

/* A few at a time, so that the buckets of some are asked for while the next are sorted. */
static void sort_burst(struct shard *shard, struct burst *burst, struct frame *frames,
                       uint32_t count)
{
    enum { AT_ONCE = 32 };
    burst->generals = 0;
    burst->clients = 0;
    burst->asked = 0;
    burst->syns = 0;
    burst->bans = shard->bans != 0;
    burst->asks = burst->bans || shard->lists != NULL;
    syn_lane_begin(&burst->lane, shard);
    for (uint32_t first = 0; first < count; first += AT_ONCE) {
        uint32_t end = first + AT_ONCE < count ? first + AT_ONCE : count;
        const uint32_t generals = burst->generals;
        sort_some(shard, burst, frames, first, end);
        hash_some(shard, burst, generals);
    }
}

/* What a short cut had taken, and leaves to the general path. */
static __attribute__((noinline, cold)) void sort_after_all(struct shard *shard, struct frame *frame,
                                                           struct sorted *sorted)
{
    sorted->verdict = (uint8_t)sort_frame(shard, frame, sorted);
    assert(sorted->verdict == VERDICT_FORWARDED); /* or it has taken what it must not */
}

/* A SYN of the lane that is only answered if it is a second try: the general path finds out. */
static __attribute__((noinline, cold)) void leave_lane(struct shard *shard, struct burst *burst,
                                                       struct frame *frame, struct syn *syn)
{
    struct sorted *sorted = &burst->sorted[burst->generals];
    sort_after_all(shard, frame, sorted);
    sorted->for_flow = false;
    sorted->for_cookie = true;
    syn->general = (uint8_t)burst->generals;
    burst->general[burst->generals++] = syn->number;
    syn->lane = SYN_LANE_NONE;
}

static void judge_general(struct shard *shard, struct sorted *sorted, enum verdict verdict)
{
    sorted->verdict = (uint8_t)verdict;
    if (verdict == VERDICT_REFLECTION_RATE)
        outside_fetch_again(shard, sorted);
}

static void judge_of_lane(struct shard *shard, struct burst *burst, struct frame *frame,
                          const struct syn *syn, enum verdict verdict)
{
    if (verdict == VERDICT_FORWARDED) {
        syn_lane_add(&burst->lane, syn->number, syn->lane);
        return;
    }
    frame->to = PORT_NONE;
    frame->verdict = (uint8_t)verdict;
    shard_count(shard, verdict);
}

static inline struct addr source_of(const struct burst *burst, const struct frame *frames,
                                    const struct syn *syn, bool *v4)
{
    if (syn->lane != SYN_LANE_NONE) {
        *v4 = burst->lane.service[syn->lane].v4;
        return syn_lane_source(&frames[syn->number], *v4);
    }
    const struct packet *packet = &burst->sorted[syn->general].packet;
    *v4 = packet->v4;
    return packet->source;
}

/* Which sources of SYNs have to be looked up; and fetches what that will read beyond what was
 * fetched when they were sorted. */
static __attribute__((noinline)) void list_burst(const struct shard *shard, struct burst *burst,
                                                 const struct frame *frames)
{
    for (uint32_t i = 0; i < burst->syns; i++) {
        bool v4;
        struct syn *syn = &burst->syn[i];
        const struct addr source = source_of(burst, frames, syn, &v4);
        const bool listed = shard->lists != NULL && lists_fetch_more(shard->lists, &source, v4);
        syn->asks = listed || burst->bans;
    }
}

/* A SYN's source: whether the lists and the bans let it in, and what the lists say of it. */
static __attribute__((noinline)) enum verdict judge_source(struct shard *shard,
                                                           const struct burst *burst,
                                                           const struct frame *frames,
                                                           const struct syn *syn, uint8_t *flags)
{
    bool v4;
    const struct addr source = source_of(burst, frames, syn, &v4);
    enum verdict verdict = VERDICT_FORWARDED;
    if (shard->lists != NULL)
        verdict = admission_source(shard, &source, v4, flags);
    if (verdict == VERDICT_FORWARDED && burst->bans)
        verdict = outside_banned(shard, syn->source, &source, v4);
    return verdict;
}

/* A SYN from a network over its limit whose source has been verified: that one is answered. */
static __attribute__((noinline)) bool is_known(struct shard *shard, const struct burst *burst,
                                               const struct frame *frames, const struct syn *syn)
{
    bool v4;
    const struct addr source = source_of(burst, frames, syn, &v4);
    return clients_know(shard->clients, &source) && guard_known(&shard->guard, syn->source);
}

static void judge_burst(struct shard *shard, struct burst *burst, struct frame *frames)
{
    if (__builtin_expect(burst->asks, false))
        list_burst(shard, burst, frames);
    for (uint32_t i = 0; i < burst->syns; i++) {
        struct syn *syn = &burst->syn[i];
        enum verdict verdict = VERDICT_FORWARDED;
        uint8_t flags = 0;
        if (__builtin_expect(burst->asks, false) && syn->asks)
            verdict = judge_source(shard, burst, frames, syn, &flags);
        if (verdict == VERDICT_FORWARDED)
            verdict = outside_judge(shard, syn->source, syn->network, flags);
        if (verdict == VERDICT_REFLECTION_RATE && is_known(shard, burst, frames, syn))
            verdict = VERDICT_FORWARDED;
        if (verdict == VERDICT_REFLECTION_RATE && syn->lane != SYN_LANE_NONE)
            leave_lane(shard, burst, &frames[syn->number], syn);
        if (syn->lane != SYN_LANE_NONE)
            judge_of_lane(shard, burst, &frames[syn->number], syn, verdict);
        else
            judge_general(shard, &burst->sorted[syn->general], verdict);
    }
}

static void promise_burst(struct shard *shard, struct burst *burst, const struct frame *frames)
{
    if (burst->syns == 0 || burst->generals == 0)
        return;
    cookie_batch_begin(&burst->cookies, shard->policy.keys, shard->unix_ms);
    for (uint32_t i = 0; i < burst->syns; i++) {
        const uint32_t number = burst->syn[i].number;
        if (burst->syn[i].lane != SYN_LANE_NONE)
            continue; /* it has no description */
        struct sorted *sorted = &burst->sorted[burst->syn[i].general];
        if (sorted->verdict == VERDICT_REFLECTION_RATE)
            sorted->verdict = (uint8_t)outside_again(shard, sorted);
        if (sorted->verdict == VERDICT_FORWARDED)
            outside_promise(shard, &frames[number], sorted, &burst->cookies);
    }
    cookie_batch_finish(&burst->cookies);
}

/* Fetches what the buckets point at, or what the lists say of data without a flow. */
static void fetch_some(const struct shard *shard, const struct burst *burst, uint32_t first,
                       uint32_t end)
{
    for (uint32_t k = first; k < end; k++) {
        const struct sorted *sorted = &burst->sorted[k];
        const struct packet *packet = &sorted->packet;
        if (!sorted->for_flow)
            continue;
        const bool found = flow_prefetch_found(shard->flows, sorted->hash, packet->length != 0);
        if (shard->lists != NULL && !found && packet->length != 0)
            lists_fetch(shard->lists, &packet->source, packet->v4);
    }
}

static enum verdict decide(struct shard *shard, struct frame *frame, const struct sorted *sorted)
{
    assert(sorted->packet.kind != PACKET_TCP ||
           is_ours(shard, frame,
                   frame->side == OUTSIDE ? &sorted->packet.source : &sorted->packet.destination));
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

/* Whether a packet is to be decided about. A bare ACK in a flood of such is if it may have a flow:
 * it goes the general path, from its beginning. */
static inline bool goes_on(struct shard *shard, struct frame *frame, struct sorted *sorted)
{
    if (__builtin_expect(sorted->verdict == VERDICT_FORWARDED, true))
        return true;
    if (sorted->verdict != STRAY)
        return false;
    if (__builtin_expect(flow_is_absent(shard->flows, sorted->hash), true))
        sorted->verdict = VERDICT_ACK_NO_FLOW;
    else
        sort_after_all(shard, frame, sorted);
    return sorted->verdict == VERDICT_FORWARDED;
}

static void decide_some(struct shard *shard, struct burst *burst, struct frame *frames,
                        uint32_t first, uint32_t end)
{
    for (uint32_t k = first; k < end; k++) {
        struct sorted *sorted = &burst->sorted[k];
        struct frame *frame = &frames[burst->general[k]];
        if (goes_on(shard, frame, sorted))
            sorted->verdict = (uint8_t)decide(shard, frame, sorted);
        frame->verdict = sorted->verdict;
        shard->verdicts[sorted->verdict]++;
    }
}

static uint32_t least(uint32_t a, uint32_t b)
{
    return a < b ? a : b;
}

/* Flows are fetched for a few packets at a time while those before them are decided: as many as a
 * processor can wait for at once, and not so many that they displace each other. Their buckets are
 * asked for well before that. */
static __attribute__((noinline)) void decide_burst(struct shard *shard, struct burst *burst,
                                                   struct frame *frames)
{
    enum { AT_ONCE = 8, AHEAD = 24 };
    const uint32_t count = burst->generals;
    ask_some(shard, burst, least(AHEAD, count));
    fetch_some(shard, burst, 0, least(AT_ONCE, count));
    for (uint32_t first = 0; first < count; first += AT_ONCE) {
        uint32_t end = least(first + AT_ONCE, count);
        ask_some(shard, burst, least(end + AHEAD, count));
        fetch_some(shard, burst, end, least(end + AT_ONCE, count));
        decide_some(shard, burst, frames, first, end);
    }
}

void shard_burst(struct shard *shard, struct frame *frames, uint32_t count)
{
    struct burst burst;
    sort_burst(shard, &burst, frames, count);
    judge_burst(shard, &burst, frames);
    syn_lane_answer(&burst.lane, shard, frames);
    promise_burst(shard, &burst, frames);
    const uint64_t before = shard->verdicts[VERDICT_ACK_NO_FLOW];
    decide_burst(shard, &burst, frames);
    if (burst.clients != 0) /* a burst of backends' packets, or of none, says nothing of that */
        shard->strays = 2 * (shard->verdicts[VERDICT_ACK_NO_FLOW] - before) > burst.clients;
}

enum verdict shard_packet(struct shard *shard, struct frame *frame, unsigned checked)
{
    frame->checked = (uint8_t)checked;
    shard_burst(shard, frame, 1);
    return (enum verdict)frame->verdict;
}
